"""Random numbers as a function of a seed and a key, so that work can be stopped, resumed, split and batched at will.

Who draws from which key stands in :class:`Stream`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One generator for all, or one for each member of the batch; None is torch's own."""


class Stream(IntEnum):
    """The first word of a key. Every stored result depends on these numbers: they stay."""

    ORDER = 0
    """The order of a loader, with the epoch."""
    STEP = 1
    """Batch, levels and noise of a training step."""
    INIT = 2
    """The weights that training begins with."""
    HELDOUT = 3
    """The noise of the held-out loss, and which images it is measured on."""
    GRID = 4
    """The samples that training shows."""
    KID = 901
    """The subsets of the kernel distance."""
    REAL_ORDER = 902
    """The order in which real images are compared."""
    IMAGE = 1000
    """Image i of a seed."""
    APPLY = 2000
    """The answers of an application, with the image's number and the answer's."""
    MASK = 2001
    """A random mask."""
    SOUND = 3000
    """Spoken samples."""


def generator_for(seed: int, *key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator that is a function of the seed and a few more whole numbers, such as (stream, step).

    What is drawn from it depends on nothing that was drawn before, so that work can be stopped, resumed, split and
    batched at will.

    Args:
        seed: at least 0.
        key: whole numbers at least 0. Different keys give unrelated streams: they are hashed, not added.
        device: where the generator lives; the CPU's gives the same numbers on every machine.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative; use 0 or more")
    # As a spawn key: in a plain list of words a 0 at the end would not count.
    (hashed,) = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(hashed >> np.uint64(1)))


def image_generators(seed: int, start: int, stop: int, device: torch.device | str = "cpu") -> list[torch.Generator]:
    """A generator for each image index in ``start..stop-1``: noise becomes a function of (seed, index) alone.

    The same images come out whatever the batch size, the number of processes, or how many were asked for.

    Args:
        seed: at least 0.
        start: first index.
        stop: one past the last.
        device: where the generators live.

    Raises:
        ValueError: if the seed is negative.
    """
    return [generator_for(seed, Stream.IMAGE, i, device=device) for i in range(start, stop)]


def draw(like: Tensor, generator: Generators = None) -> Tensor:
    """Standard normal noise with the shape, type and device of ``like``, from one generator or from one for each
    member.

    Raises:
        ValueError: if there are not as many generators as members of the batch.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return _normal(like.shape, like, generator)
    if len(generator) != len(like):
        raise ValueError(f"{len(generator)} generators for a batch of {len(like)}; give one, or one for each")
    return torch.stack([_normal(like.shape[1:], like, g) for g in generator])


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    # Drawn where the generator lives, then moved: a CPU generator gives a GPU the noise that a CPU would have had.
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device).to(like.device)
