"""The pictures of samples that training shows: the same noise and the same classes at every look."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddim_edu.data.source import ImageData
from ddim_edu.forward import EpsTheta
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampler import sample
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.recipes import Recipe

IMAGES = 64  # 16 of images beyond 64 pixels, whose grids cost more than the training between them
STEPS = 20  # S, with eta = 0


def draw_grid(
    eps_theta_of: Callable[[Tensor | None], EpsTheta],
    recipe: Recipe,
    schedule: NoiseSchedule,
    data: ImageData,
    device: torch.device,
    n: int | None = None,
    S: int = STEPS,
) -> Tensor:
    """Draw images, DDIM (eta = 0), a row of each class where the grid has eight rows.

    Args:
        eps_theta_of: Of images with these labels, or of any class, the network as a noise predictor.
        recipe: What is trained.
        schedule: The schedule of the run.
        data: What it trains on, which says how pictures are made of what the network makes.
        device: Where to draw.
        n: How many; by default 64, or 16 of large images.
        S: Sampling steps.

    Returns:
        ``(n, C, H, W)`` in [-1, 1].
    """
    n = n or (IMAGES if recipe.unet.image_size <= 64 else IMAGES // 4)
    classes = min(8, recipe.unet.classes)
    labels = torch.arange(n, device=device) * classes // n if classes else None
    clip = 1.0 if recipe.autoencoder is None else None  # latents have no bounds
    shape, tau = (n, *data.train.shape[1:]), make_tau(schedule.T, min(S, schedule.T))
    generator = generator_for(recipe.seed, Stream.GRID)
    x = sample(eps_theta_of(labels), shape, schedule, tau, generator=generator, device=device, clip=clip)
    return data.pictures(x)
