"""Whether a run is still sound: loss and gradient between two lines of the log, and weights before they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor


class NonFiniteLoss(ValueError):
    """Training blew up: the loss, or a weight, is not a finite number any more."""


class Watch:
    """The steps since the last line of the log.

    Args:
        reduce: What makes the mean over all processes of a tensor that each of them has.
        checkpoint: The file that keeps the last good weights.
        lr: The learning rate, of which a part is recommended when training blows up.

    Attributes:
        saved_step: The step that the checkpoint keeps; None before the first.
    """

    def __init__(self, reduce: Callable[[Tensor], Tensor], checkpoint: Path, lr: float) -> None:
        self.reduce, self.checkpoint, self.lr = reduce, checkpoint, lr
        self.saved_step: int | None = None
        self._window: list[tuple[Tensor, Tensor]] = []

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """A step was done, with this loss and this norm of the gradient, both 0-d. Nothing waits for the device."""
        self._window.append((loss, norm))

    def means(self, step: int) -> tuple[float, float]:
        """Means of loss and gradient norm since the last line, after ``step`` steps of the run; nan if there was none.

        Raises:
            NonFiniteLoss: If one of them is not finite, in every process alike.
        """
        if not self._window:
            return float("nan"), float("nan")
        window = torch.stack([torch.stack([v.float() for v in pair]) for pair in self._window])
        losses, norms = self.reduce(window).double().cpu().T  # every process decides the same
        for name, values in (("loss", losses), ("gradient", norms)):
            if not values.isfinite().all():
                raise self._blown_up(f"the {name} is {values[~values.isfinite()][0]:g}", step)
        return float(losses.mean()), float(norms.mean())

    def begin_line(self) -> None:
        """A line was written: the next means begin after it."""
        self._window.clear()

    def check(self, weights: Iterable[Tensor], step: int) -> None:
        """A check of weights that are to be kept, after ``step`` steps.

        Raises:
            NonFiniteLoss: If one is not finite.
        """
        if not all(bool(w.isfinite().all()) for w in weights):
            raise self._blown_up("a weight is not a finite number", step)

    def _blown_up(self, what: str, step: int) -> NonFiniteLoss:
        if self.saved_step is None:
            kept = "no checkpoint had been written"
        else:
            kept = f"{self.checkpoint} keeps step {self.saved_step}"
        return NonFiniteLoss(
            f"{what} near step {step}, so training stopped; {kept}. "
            f"Try a lower learning rate, such as --lr {self.lr / 4:g}"
        )
