"""Which images make a batch, and what is changed in them."""

from __future__ import annotations

import torch
from torch import Tensor

from ddim_edu.randomness import Stream, generator_for


class Shuffle:
    """Which images the batch of a step holds: a function of (seed, step), with every image once an epoch.

    Epochs follow each other without a gap: a batch may end one and begin the next, so that all batches are full, no
    image is left out, and batches may be larger than the data set. (Drawing with replacement would be simpler still,
    but in a run of 100 epochs the images would then be seen between about 70 and 130 times each.)

    Args:
        n: Number of images, at least 1.
        batch: Images per batch, at least 1.
        seed: At least 0.
    """

    def __init__(self, n: int, batch: int, seed: int) -> None:
        if n < 1 or batch < 1:
            raise ValueError(f"{n} images in batches of {batch}: give at least 1 of each")
        self.n, self.batch, self.seed = n, batch, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> Tensor:
        """Indices of the images in the batch of ``step`` (0, 1, ...): ``(batch,)`` int64 in 0..n-1."""
        start, parts, left = step * self.batch, [], self.batch
        while left:
            epoch, offset = divmod(start, self.n)
            part = self._permutation(epoch)[offset : offset + left]
            parts.append(part)
            start, left = start + len(part), left - len(part)
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = torch.randperm(self.n, generator=generator_for(self.seed, Stream.ORDER, epoch))
            self._epoch, self._order = epoch, order
        return self._order


def fair_sample(labels: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Which images to take when not all are looked at: drawn at random, and as many of each class as can be.

    Folders list one class after another, so that their first images are of one kind.

    Args:
        labels: ``(N,)`` int64.
        n: How many at most.
        generator: Decides which.

    Returns:
        ``(min(n, N),)`` int64, indices in rising order.
    """
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[labels.cpu()[order].argsort(stable=True)]
    _, counts = labels.cpu().unique(return_counts=True)
    turn = (
        torch.cat([torch.arange(count) for count in counts.tolist()]) if len(labels) else order
    )  # first of each class, second, ...
    return by_class[turn.argsort(stable=True)[:n]].sort().values


def mirror(images: Tensor, which: Tensor) -> Tensor:
    """Mirror some images left to right.

    Args:
        images: ``(B, C, H, W)``, of any type and on any device.
        which: ``(B,)`` bool, the ones to mirror.

    Returns:
        ``(B, C, H, W)``, a new tensor.
    """
    return torch.where(which[:, None, None, None], images.flip(-1), images)


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by whole pixels; what comes in from outside is black, -1.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        down: ``(B,)`` int64, pixels; negative is up.
        right: ``(B,)`` int64, pixels; negative is left.

    Returns:
        ``(B, C, H, W)``, a new tensor.
    """
    b, c, h, w = images.shape
    rows, columns = torch.arange(h) - down[:, None], torch.arange(w) - right[:, None]
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
    i, j = torch.arange(b)[:, None, None, None], torch.arange(c)[None, :, None, None]
    moved = images[i, j, rows.clamp(0, h - 1)[:, None, :, None], columns.clamp(0, w - 1)[:, None, None, :]]
    return torch.where(inside, moved, -1.0)
