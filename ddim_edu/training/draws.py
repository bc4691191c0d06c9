"""All that is random at a step of training, as a function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddim_edu.data.batches import Shuffle
from ddim_edu.losses import draw_t
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.training.recipes import Recipe


@dataclass(frozen=True)
class Draws:
    """All that is random at a step but dropout, for the whole batch: the same in every process.

    Attributes:
        images: ``(B,)`` int64, which images to train on.
        t: ``(B,)`` int64, the level of each.
        eps: ``(B, C, H, W)``, the noise of each.
        hidden: ``(B,)`` bool, whose label is hidden; None for networks without classes.
        mirrored: ``(B,)`` bool, which are mirrored; None if none is to be.
    """

    images: Tensor
    t: Tensor
    eps: Tensor
    hidden: Tensor | None
    mirrored: Tensor | None


def draws_at(
    step: int, recipe: Recipe, shuffle: Shuffle, shape: tuple[int, ...], device: torch.device, process: int = 0
) -> Draws:
    """Draw for a step.

    Args:
        step: The step, from 0.
        recipe: The recipe; its seed decides.
        shuffle: The order of the images.
        shape: ``(C, H, W)`` of an image.
        device: Where to draw the noise: a GPU's is another than a CPU's.
        process: Which process this is: each drops its own, if the network has dropout.
    """
    generator = generator_for(recipe.seed, Stream.STEP, step, device=device)

    def coins(share: float) -> Tensor:
        return torch.rand(recipe.batch, generator=generator, device=device) < share

    if recipe.unet.dropout:  # which draws from torch's own generator and can't be given another
        torch.manual_seed(generator.initial_seed() + process)
    return Draws(  # in this order: one generator draws all but the first
        images=shuffle(step),
        t=draw_t(recipe.batch, recipe.T, generator=generator, antithetic=recipe.antithetic, device=device),
        eps=torch.randn((recipe.batch, *shape), generator=generator, device=device),
        hidden=coins(recipe.label_dropout) if recipe.unet.classes else None,
        mirrored=coins(0.5) if recipe.flip else None,
    )
