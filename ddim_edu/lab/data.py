"""Data sets, batches of them, and pictures of what comes out (floor 4).

A data set is decoded once and kept whole, as whole numbers, on the device that trains on it; a batch becomes floats in [-1, 1]
only when it is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddim_edu.files import check_writable, replacing
from ddim_edu.sampler import generator_for


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels, in a part to train on and a part held out.

    Attributes:
        train: ``(N, C, H, W)`` uint8, values in 0..``top``.
        heldout: ``(M, C, H, W)`` uint8; never trained on.
        train_labels: ``(N,)`` int64.
        heldout_labels: ``(M,)`` int64.
        top: The value of white: 255 for most images, 16 for the digits.
    """

    train: Tensor
    heldout: Tensor
    train_labels: Tensor
    heldout_labels: Tensor
    top: int = 255

    def floats(self, images: Tensor) -> Tensor:
        """Images of this data set as float32 in [-1, 1]: what every network here takes."""
        return images.float() * (2 / self.top) - 1

    def to(self, device: torch.device | str) -> ImageData:
        """The same data on another device."""
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)


def digits() -> ImageData:
    """The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, grey values 0..16, labels 0..9.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.

    Every ninth image, starting with the first, is held out: 200 images, and 1,597 to train on. The file lists the digits writer by
    writer, so that this takes some from each writer and needs no random numbers.
    """
    from sklearn.datasets import load_digits  # a second of imports that only training should pay for

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    held = torch.arange(len(images)) % 9 == 0
    return ImageData(images[~held], images[held], labels[~held], labels[held], top=16)


DATA = {"digits": digits}


def load_data(name: str) -> ImageData:
    """A data set by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in DATA:
        raise ValueError(f"there is no data set {name!r}; known: {', '.join(DATA)}")
    return DATA[name]()


class Shuffle:
    """Which images the batch of a step holds: a function of (seed, step), with every image once an epoch.

    Epochs follow each other without a gap: a batch may end one and begin the next, so that all batches are full, no image is left
    out, and batches may be larger than the data set. (Drawing with replacement would be simpler still, but in a run of 100 epochs
    the images would then be seen between about 70 and 130 times each.)

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
            order = torch.randperm(self.n, generator=generator_for(self.seed, 0, epoch))
            self._epoch, self._order = epoch, order
        return self._order


PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def check_picture(path: Path | str) -> Path:
    """Make sure that a picture can be written at ``path``, before the work of making it.

    Returns:
        ``path`` as a Path.

    Raises:
        ValueError: If its ending names no kind of picture, or its folder is missing or can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise ValueError(f"{path} does not end like a picture: use one of {' '.join(PICTURE_ENDINGS)}")
    return check_writable(path)


def save_grid(images: Tensor, path: Path | str, *, side: int = 56, smooth: bool = True) -> None:
    """Write images as one picture, in a grid that is about square.

    Args:
        images: ``(N, C, H, W)`` in [-1, 1], C = 1 or 3; values outside are clipped.
        path: The picture; its ending names the format.
        side: Images narrower than this are enlarged by the least whole factor that makes them as wide.
        smooth: Enlarge by bicubic interpolation; False shows each pixel as a square. An 8x8 digit in squares is hard to read: the
            eye sees the edges of the squares before the stroke.
    """
    from torchvision.utils import make_grid, save_image  # a second of imports

    path = check_picture(path)
    factor = max(1, math.ceil(side / images.shape[-1]))
    pixels = images.detach().float().cpu()
    if factor > 1:
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bicubic" if smooth else "nearest")
    pixels = (pixels.clamp(-1, 1) + 1) / 2
    grid = make_grid(pixels, nrow=math.ceil(math.sqrt(len(pixels))), padding=2, pad_value=0.3)
    with replacing(path) as temporary:
        save_image(grid, temporary)
