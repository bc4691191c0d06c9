"""How many CPU threads a step is quickest with, found out by trying."""

from __future__ import annotations

import torch

from ddim_edu.nets.unet import UNet
from ddim_edu.precision import Precision, gradient_seconds


class Threads:
    """Keeps the number of CPU threads at which a step is quickest.

    More threads are not always faster. The layers of a small network take microseconds, after each of which all threads
    wait for the slowest: on two cores of which another program wants one, two threads were measured at a tenth of the
    speed of one.

    Args:
        network: What is trained; it is left as it is.
        precision: The arithmetic to time it in.
        batch: Images that are worked off at once.
        most: The most threads to use, by default those that torch would.
    """

    def __init__(self, network: UNet, precision: Precision, batch: int, most: int | None = None) -> None:
        self.network, self.precision, self.batch = network, precision, batch
        self.most = most or torch.get_num_threads()
        self.number, self.seconds = 1, 0.0
        self._steps, self._patience = 0, 100  # since the latest trial; until the next while fewer than all run
        self.pick()

    def pick(self) -> int:
        """Time 1, 2, 4, ... threads and keep the best number.

        Returns:
            That number.
        """
        best, before = float("inf"), self.number
        for number in sorted({*(2**i for i in range(self.most.bit_length())), self.most}):
            torch.set_num_threads(number)
            seconds = self._time(give_up=2 * best)
            if seconds < 0.9 * best:  # a thread more should be worth it
                best, self.number = seconds, number
        torch.set_num_threads(self.number)
        self.seconds, self._steps = best, 0
        self._patience = 2 * self._patience if self.number == before else 100
        return self.number

    def after_step(self, seconds: float) -> None:
        """Try again if a step was far slower than it should be, and now and then while fewer than all threads run.

        Args:
            seconds: How long the latest step took.
        """
        self._steps += 1
        slow = seconds > 4 * self.seconds and self._steps >= 10
        if self.most > 1 and (slow or (self.number < self.most and self._steps >= self._patience)):
            self.pick()

    def _time(self, give_up: float) -> float:
        """Seconds for the gradient of a batch: the better of two after a first, unless that already takes too long."""
        first = gradient_seconds(self.network, self.precision, self.batch)
        if first > give_up and self.network._compiled_call_impl is None:  # else it was compiling
            return first
        return min(gradient_seconds(self.network, self.precision, self.batch) for _ in range(2))
