"""What a data set is: images in two parts (:class:`ImageData`), and a source that loads them (:class:`Source`).

A data set is decoded once and kept as whole numbers: on the device that trains on it where it fits, otherwise in a file
that is mapped into memory. A batch becomes floats in [-1, 1] only when it is drawn.

A new data set is one class, which says in which form its images come and loads them; see
:mod:`ddim_edu.data.registry` for where it may stand::

    class Stripes(Source):
        size, channels, classes = 8, 1, ("across", "down")

        def load(self, data_dir, form):
            ...
            return ImageData(train, heldout, train_labels, heldout_labels, classes=self.classes)
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddim_edu.data.decoding import CROPS
from ddim_edu.data.layout import LAYOUTS
from ddim_edu.files import at_home
from ddim_edu.models import SavedAutoencoder
from ddim_edu.ranges import Checked, Positive

SHOWN = 12  # classes at most that a line names


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels, in a part to train on and a part held out.

    Attributes:
        train: ``(N, C, H, W)`` uint8, values in 0..``top``. Only to be read: it may be a file mapped into memory.
        heldout: ``(M, C, H, W)`` uint8; never trained on.
        train_labels: ``(N,)`` int64.
        heldout_labels: ``(M,)`` int64.
        top: The value of white: 255 for most images, 16 for the digits.
        classes: Names of the labels 0, 1, ...; empty if they have none.
        train_attributes: ``(N, A)`` int16, what is known to be in each image; None if nothing is. Of the drawn faces,
            columns and values are those of :func:`ddim_edu.data.faces.attributes.attributes`.
        heldout_attributes: ``(M, A)`` int16, or None.
        taken_as: How a folder was read, in words: what as parts, what as classes.
    """

    train: Tensor
    heldout: Tensor
    train_labels: Tensor
    heldout_labels: Tensor
    top: int = 255
    classes: tuple[str, ...] = ()
    train_attributes: Tensor | None = None
    heldout_attributes: Tensor | None = None
    taken_as: str = ""

    @classmethod
    def split(
        cls,
        pixels: np.ndarray,
        labels: np.ndarray,
        n_train: int,
        classes: tuple[str, ...],
        taken_as: str = "",
        attributes: np.ndarray | None = None,
    ) -> ImageData:
        """Images in one array, of which the first ``n_train`` are to train on and the others are held out."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")  # a mapped file: nothing here writes to it
            parts = [torch.from_numpy(part) for part in (pixels, labels, attributes) if part is not None]
        (train, heldout), of, *known = [(part[:n_train], part[n_train:]) for part in parts]
        return cls(train, heldout, *of, 255, classes, *(known[0] if known else (None, None)), taken_as)

    def check(self, name: str) -> None:
        """A check of what a source loaded: wrong labels or numbers would train in silence.

        Args:
            name: The source's, for messages.

        Raises:
            ValueError: In one line, if the images are not whole numbers in 0..``top``, a part is empty, or the labels
                are not one for each image, in 0, 1, ..., of those that have names.
        """
        parts = (("train", self.train, self.train_labels), ("heldout", self.heldout, self.heldout_labels))
        for part, images, labels in parts:
            if images.dtype != torch.uint8 or images.ndim != 4:
                raise ValueError(
                    f"{part} of {name} is {images.dtype} of shape {tuple(images.shape)}: give torch.uint8, (N, C, H, W)"
                )
            if not len(images):
                raise ValueError(f"{part} of {name} holds no images: give at least one")
            if self.top < 255 and int(images.max()) > self.top:
                raise ValueError(f"{part} of {name} goes up to {int(images.max())}, beyond top = {self.top}")
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{part}_labels of {name} are {labels.dtype} of shape {tuple(labels.shape)}: give torch.int64, "
                    f"({len(images)},)"
                )
            least, most = int(labels.min()), int(labels.max())
            if least < 0 or (self.classes and most >= len(self.classes)):
                to = f"..{len(self.classes) - 1}" if self.classes else " and above"
                raise ValueError(f"{part}_labels of {name} are {least}..{most}: give 0{to}")

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each class, how many images there are to train on and how many are held out."""
        parts = (self.train_labels, self.heldout_labels)
        found = [torch.bincount(labels.cpu(), minlength=len(self.classes)).tolist() for labels in parts]
        return dict(zip(self.classes, zip(*found)))

    def about(self) -> str:
        """What was taken as parts and as classes, and how many images each, in one line."""
        counts = self.counts()
        each = [f"{name} {train:,} + {held:,}" for name, (train, held) in counts.items()]
        said = [f"{len(self.train):,} images to train on + {len(self.heldout):,} held out"]
        if len(each) > 1:
            shown = each if len(each) <= SHOWN else [*each[: SHOWN - 1], "...", each[-1]]
            said.append(f"{len(each):,} classes: {', '.join(shown)}")
        return "; ".join([*([self.taken_as] if self.taken_as else []), *said])

    def floats(self, images: Tensor) -> Tensor:
        """Images of this data set as float32 in [-1, 1]: what every network here takes."""
        return images.float() * (2 / self.top) - 1

    def to(self, device: torch.device | str, limit: int | None = None) -> ImageData:
        """The same data on another device if they fit there; otherwise these, where they are.

        Args:
            device: Where to.
            limit: The most bytes of images that may be moved there. By default a third of the memory that is free on a
                CUDA device (training needs the rest), 2 GiB on other accelerators, and any number on the CPU.
        """
        device = torch.device(device)
        if limit is None:
            limit = _room(device)
        if self.train.nbytes + self.heldout.nbytes > limit:
            return self
        tensors: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)

    def pictures(self, x: Tensor) -> Tensor:
        """What a network made, as images in about [-1, 1] to look at: here, the same."""
        return x

    def batch(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        """Some of the images to train on, gathered where they lie and then moved.

        On the way from the CPU to a CUDA device this does not wait for the device.

        Args:
            indices: ``(B,)`` int64 in 0..N-1, on any device.
            device: Where the batch is wanted; where the images lie if None.

        Returns:
            ``(B, C, H, W)`` uint8 on ``device``.
        """
        images = self.train[indices.to(self.train.device)]
        if device is None:
            return images
        if images.device.type == "cpu" and torch.device(device).type == "cuda":
            images = images.pin_memory()
        return images.to(device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class LatentData(ImageData):
    """What an autoencoder makes of a data set: floats of any size, where others have images.

    ``train`` and ``heldout`` are ``(N, C, H, W)`` float32 with mean 0 and variance 1, and so need not be scaled.

    Attributes:
        autoencoder: What they were encoded with.
    """

    autoencoder: SavedAutoencoder = None

    def floats(self, images: Tensor) -> Tensor:
        """The latents as they are."""
        return images

    def pictures(self, x: Tensor) -> Tensor:
        """Latents, decoded."""
        return self.autoencoder.decode(x)


def encoded(data: ImageData, autoencoder: SavedAutoencoder) -> LatentData:
    """A data set in the latent space of an autoencoder.

    Args:
        data: The data set.
        autoencoder: From :func:`ddim_edu.models.small.load_autoencoder`.
    """
    train, heldout = (
        torch.cat([autoencoder.encode(data.floats(part)) for part in x.split(250)]) for x in (data.train, data.heldout)
    )
    return LatentData(
        train,
        heldout,
        data.train_labels,
        data.heldout_labels,
        classes=data.classes,
        train_attributes=data.train_attributes,
        heldout_attributes=data.heldout_attributes,
        taken_as=data.taken_as,
        autoencoder=autoencoder,
    )


def _room(device: torch.device) -> int:
    if device.type == "cpu":
        return sys.maxsize
    return torch.cuda.mem_get_info(device)[0] // 3 if device.type == "cuda" else 2**31


@dataclass(frozen=True)
class Form(Checked):
    """The form in which images are wanted.

    Attributes:
        size: Width and height in pixels.
        channels: 1 for grey, 3 for RGB.
        crop: ``"celeba"`` cuts out the part of CelebA's aligned images that the DDIM paper trains on.
        max_bad: Largest share of unreadable files to put up with, in [0, 1).
        cache_dir: Where pixels are kept; by default where :mod:`ddim_edu.data.cache` says.
        layout: What the folders in a folder are: one of ``layout.LAYOUTS``.

    Raises:
        ValueError: In one line, if a value is out of range.
    """

    size: Positive
    channels: Positive
    crop: str | None = None
    max_bad: float = 0.0
    cache_dir: Path | str | None = None
    layout: str = "auto"

    def check(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels = {self.channels}: images have 1 (grey) or 3 (red, green, blue)")
        if self.crop is not None and self.crop not in CROPS:
            raise ValueError(f"there is no crop {self.crop!r}; known: {', '.join(CROPS)}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"there is no layout {self.layout!r}; known: {', '.join(LAYOUTS)}")
        if not 0 <= self.max_bad < 1:
            raise ValueError(f"max_bad = {self.max_bad}: give a share in [0, 1), such as 0.001")


class Source:
    """A data set that can be loaded, and what is known of it before.

    Attributes:
        size: Width and height of its images in pixels; None, of a resizable one, if they have none of their own and one
            must be asked for.
        channels: 1 for grey, 3 for RGB, unless another form is asked for.
        resizable: Whether it can be had in other sizes and channels.
        crops: Whether its images can be cropped.
        sounds: Whether its images are spectrograms.
        classes: Names of its labels; empty if they are not known before it is loaded.
        judge: The classifier that samples are judged by where nothing else is asked for, one that comes with the
            package; None for the Inception network.
        about: What it is, for the card of an exported model; of which licence its data are.
    """

    size: ClassVar[int | None] = None
    channels: ClassVar[int] = 3
    resizable: ClassVar[bool] = False
    crops: ClassVar[bool] = False
    sounds: ClassVar[bool] = False
    classes: ClassVar[tuple[str, ...]] = ()
    judge: ClassVar[str | None] = None
    about: ClassVar[str] = ""
    licence: ClassVar[str] = "not known"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        """The data set; every source has to say how.

        Args:
            data_dir: The folder of data sets with a name.
            form: The form that is wanted: its own, unless it is ``resizable``.

        Raises:
            ValueError: One line, if it is not to be had.
        """
        raise NotImplementedError


def default_data_dir() -> Path:
    """Where data sets with a name are looked for and downloaded to: ``$DDIM_EDU_DATA``, or else ``data``."""
    return at_home(os.environ.get("DDIM_EDU_DATA") or "data")
