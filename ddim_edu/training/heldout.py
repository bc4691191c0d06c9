"""The held-out loss: one number for how good the average is, comparable between runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddim_edu.data.batches import fair_sample
from ddim_edu.data.source import ImageData
from ddim_edu.forward import EpsTheta, Prediction
from ddim_edu.losses import eps_error, gamma_of_prediction, weight_at
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.schedule import NoiseSchedule

MOST = 400  # held-out images in the loss: a look at it should cost seconds
DRAWS = 5  # (t, eps) pairs per held-out image


class HeldOut:
    """Held-out images, each at several levels that together cover 1..T evenly, with their noise.

    They are the same in all runs on the same data, whose losses are to be compared.

    Args:
        data: Where the images come from.
        T: The number of levels.
        device: Where to compute.
        chosen: ``(n,)`` int64, which of the held-out images to take; by default at most ``MOST``, as many of
            each class.

    Attributes:
        x_0: ``(5 n, C, H, W)`` float32.
        t: ``(5 n,)`` int64.
        eps: Like ``x_0``.
        labels: ``(5 n,)`` int64.
    """

    def __init__(
        self, data: ImageData, T: int, device: torch.device | str = "cpu", chosen: Tensor | None = None
    ) -> None:
        if chosen is None:
            chosen = fair_sample(data.heldout_labels, MOST, generator_for(0, Stream.HELDOUT, 0))
        x_0 = data.floats(data.heldout[chosen].to(device))
        self.x_0 = x_0.repeat(DRAWS, *[1] * (x_0.ndim - 1))
        self.labels = data.heldout_labels[chosen].repeat(DRAWS).to(device)
        generator = generator_for(0, Stream.HELDOUT)  # not the recipe's seed
        n = len(self.x_0)
        self.t = torch.linspace(1, T, n).round().long()[torch.randperm(n, generator=generator)].to(device)
        self.eps = torch.randn(self.x_0.shape, generator=generator).to(device)

    @torch.no_grad()
    def errors(
        self, eps_theta_of: Callable[[Tensor], EpsTheta], prediction: Prediction, schedule: NoiseSchedule
    ) -> list[Tensor]:
        """Squared errors of what a network predicts (eps, v or x0), a mean over the values of each image.

        Args:
            eps_theta_of: Of images with these labels, the network as a noise predictor.
            prediction: What it predicts.
            schedule: The schedule of the run.

        Returns:
            ``(5 n,)``, in parts of at most 512.
        """
        own, errors = gamma_of_prediction(schedule, prediction), []
        for i in range(0, len(self.x_0), 512):
            part = slice(i, i + 512)
            eps_theta = eps_theta_of(self.labels[part])
            error = eps_error(eps_theta, self.x_0[part], self.t[part], self.eps[part], schedule)
            errors.append(weight_at(own, self.t[part], error) * error)
        return errors

    def loss(self, eps_theta_of: Callable[[Tensor], EpsTheta], prediction: str, schedule: NoiseSchedule) -> float:
        """The mean of :meth:`errors`, all levels alike."""
        return sum(part.sum().item() for part in self.errors(eps_theta_of, prediction, schedule)) / len(self.x_0)
