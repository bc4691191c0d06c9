"""Data sets, batches of them, and pictures of what comes out.

A data set is decoded once and kept as whole numbers: on the device that trains on it where it fits, otherwise in a file
that is mapped into memory. A batch becomes floats in [-1, 1] only when it is drawn.

Data sets with a name are looked for in a folder, ``data_dir``, and downloaded there if they are not in it:
``$DDIM_EDU_DATA``, or else ``data`` in the working directory. A folder of images is read where it is;
:mod:`ddim_edu.data.folder` says how.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ddim_edu.data.faces import STYLES, read_faces
from ddim_edu.data.folder import fit, read_folder
from ddim_edu.data.recordings import holds_sounds, read_sounds
from ddim_edu.files import check_writable, replacing
from ddim_edu.models import SavedAutoencoder
from ddim_edu.randomness import Stream, generator_for


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
            columns and values are those of :func:`ddim_edu.data.faces.attributes`.
        heldout_attributes: ``(M, A)`` int16, or None.
    """

    train: Tensor
    heldout: Tensor
    train_labels: Tensor
    heldout_labels: Tensor
    top: int = 255
    classes: tuple[str, ...] = ()
    train_attributes: Tensor | None = None
    heldout_attributes: Tensor | None = None

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
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
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
    parts = [
        torch.cat([autoencoder.encode(data.floats(part)) for part in x.split(250)]) for x in (data.train, data.heldout)
    ]
    return LatentData(
        *parts, data.train_labels, data.heldout_labels, classes=data.classes, train_attributes=data.train_attributes,
        heldout_attributes=data.heldout_attributes, autoencoder=autoencoder,
    )  # fmt: skip


def _room(device: torch.device) -> int:
    if device.type == "cpu":
        return sys.maxsize
    return torch.cuda.mem_get_info(device)[0] // 3 if device.type == "cuda" else 2**31


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


def digits() -> ImageData:
    """The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, grey values 0..16, labels 0..9.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
        1998.

    Every ninth image, starting with the first, is held out: 200 images, and 1,597 to train on. The file lists the
    digits writer by writer, so that this takes some from each writer and needs no random numbers.
    """
    from sklearn.datasets import load_digits  # a second of imports that only training should pay for

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    held = torch.arange(len(images)) % 9 == 0
    return ImageData(images[~held], images[held], labels[~held], labels[held], top=16, classes=tuple("0123456789"))


def fashion_mnist(data_dir: Path | str | None = None, *, size: int = 28, channels: int = 1) -> ImageData:
    """Fashion-MNIST: 60,000 grey images of clothes to train on and 10,000 held out, 28 x 28, labels 0..9.

    Source: H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
        Algorithms*,
    arXiv 1708.07747, 2017.

    The four files, as published (.gz) or unpacked, are looked for in ``data_dir``, in its sub-folders
    ``fashion-mnist``, ``FashionMNIST`` and ``FashionMNIST/raw`` (where torchvision puts them), and where Debian's
    package dataset-fashion-mnist puts them. If they are nowhere, torchvision downloads them.

    Args:
        data_dir: The folder of data sets.
        size: Width and height; other than 28, images are resized by :func:`ddim_edu.data.folder.fit`.
        channels: 1, or 3 for the same grey in three channels.

    Raises:
        ValueError: If the files are damaged, or are not there and can't be downloaded.
    """
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    root = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    downloaded = root / "FashionMNIST" / "raw"
    places = [root, root / "fashion-mnist", root / "FashionMNIST", downloaded, DEBIAN_FASHION_MNIST]

    def files() -> list[Path] | None:
        for place in places:
            for ending in ("", ".gz"):
                found = [
                    place / f"{part}-{kind}-ubyte{ending}"
                    for part in ("train", "t10k")
                    for kind in ("images-idx3", "labels-idx1")
                ]
                if all(file.is_file() for file in found):
                    return found
        return None

    found = files()
    if found is None:
        with _download("fashion-mnist", root, "the four files *-ubyte.gz"):
            FashionMNIST(str(root), download=True)
        found = files() or []
    parts: list[Tensor] = []
    for file, read in zip(found, (read_image_file, read_label_file) * 2):
        try:
            with tempfile.TemporaryDirectory() as folder:
                if file.suffix == ".gz":
                    unpacked = Path(folder) / file.stem
                    unpacked.write_bytes(gzip.decompress(file.read_bytes()))
                    parts.append(read(str(unpacked)))
                else:
                    parts.append(read(str(file)))
        except Exception as error:  # the reader asserts, indexes and reshapes
            raise ValueError(f"{file} is damaged ({_line(error)}): delete it, and it will be downloaded") from None
    train, train_labels, heldout, heldout_labels = parts
    shapes = tuple(tuple(part.shape) for part in parts)
    if shapes != FASHION_MNIST_SHAPES:
        raise ValueError(
            f"the files in {found[0].parent} are not those of Fashion-MNIST, 60,000 + 10,000 images of 28 x 28"
        )
    images = [_fit_all(part.numpy(), size, channels) for part in (train, heldout)]
    return ImageData(*images, train_labels, heldout_labels, classes=tuple(FashionMNIST.classes))


def cifar10(
    data_dir: Path | str | None = None, *, size: int = 32, channels: int = 3, cache_dir: Path | str | None = None
) -> ImageData:
    """CIFAR-10: 50,000 colour photographs to train on and 10,000 held out, 32 x 32, labels 0..9.

    Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.

    In ``data_dir`` either of two layouts is taken: ``cifar10/{train,test}/<class>/`` with image files in any lossless
    format, or ``cifar-10-batches-py`` as published. If neither is there, torchvision downloads the second. They hold
    the same images in a different order, so that the same seed trains on different batches.

    Args:
        data_dir: The folder of data sets.
        size: Width and height; other than 32, images are resized by :func:`ddim_edu.data.folder.fit`.
        channels: 3, or 1 for grey.
        cache_dir: See :func:`ddim_edu.data.folder.read_folder`; of the first layout only.

    Raises:
        ValueError: If files are damaged or missing, or are not there and can't be downloaded.
    """
    root = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    if (root / "cifar10" / "train").is_dir():
        data = image_folder(root / "cifar10", size=size, channels=channels, cache_dir=cache_dir)
        found = (len(data.train), len(data.heldout), len(data.classes))
        if found != CIFAR10_COUNTS:
            raise ValueError(
                f"{root / 'cifar10'} holds {found[0]:,} + {found[1]:,} images of {found[2]} classes, and CIFAR-10 has "
                f"{CIFAR10_COUNTS[0]:,} + {CIFAR10_COUNTS[1]:,} of {CIFAR10_COUNTS[2]}: unpack all of it there"
            )
        return data
    from torchvision.datasets import CIFAR10

    with _download("cifar10", root, "cifar-10-batches-py or cifar10/{train,test}/<class>/"):
        train = CIFAR10(str(root), train=True, download=True)
        heldout = CIFAR10(str(root), train=False)
    images = [_fit_all(part.data, size, channels) for part in (train, heldout)]
    return ImageData(*images, torch.tensor(train.targets), torch.tensor(heldout.targets), classes=tuple(train.classes))


def image_folder(
    path: Path | str,
    *,
    size: int,
    channels: int = 3,
    crop: str | None = None,
    max_bad: float = 0.0,
    cache_dir: Path | str | None = None,
) -> ImageData:
    """Any folder of images; layouts, conversion and the cache are those of :func:`ddim_edu.data.folder.read_folder`.

    A set of more than 1 GiB is a mapped file. Each batch then reads its images from there, which costs little while the
    operating system keeps the file in free memory, and a read from the disk for each image when it doesn't.
    """
    found = read_folder(path, size=size, channels=channels, crop=crop, max_bad=max_bad, cache_dir=cache_dir)
    n = found.n_train
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # a mapped file: nothing here writes to its images
        images = torch.from_numpy(found.pixels)
    labels = torch.from_numpy(found.labels)
    return ImageData(images[:n], images[n:], labels[:n], labels[n:], classes=found.classes)


def spoken_digits(data_dir: Path | str | None = None) -> ImageData:
    """The Free Spoken Digit Dataset: 3,000 recordings of ten words by six speakers, as log-mel spectrograms of 64 x 64.

    Source: Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas and A. Thite, *Free Spoken Digit Dataset*, version 1.0.8,
        2018,
    CC BY-SA 4.0.

    Of the 50 recordings of each word by each speaker, those with the numbers 0 to 4 are held out: 300, and 2,700 to
    train on. They are looked for in ``data_dir``: the folder ``spoken-digits`` or
    ``free-spoken-digit-dataset/recordings``, or ``spoken-digits.zip``.

    Args:
        data_dir: The folder of data sets.

    Raises:
        ValueError: If the recordings are not there, or some can't be read.
    """
    root = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    places = [root / place for place in ("spoken-digits", "free-spoken-digit-dataset/recordings", "spoken-digits.zip")]
    for place in places:
        if place.exists():
            return sound_folder(place)
    raise ValueError(
        f"spoken-digits is not in {root}: clone https://github.com/Jakobovski/free-spoken-digit-dataset there, "
        "or name the folder that holds it"
    )


def faces(*, size: int = 32, channels: int = 3, cache_dir: Path | str | None = None) -> ImageData:
    """Drawn faces: 30,000 to train on and 3,000 held out, in four styles, which are the classes; every attribute is
    known.

    Sources and licences: :func:`ddim_edu.data.faces.credits`.

    They are drawn once, into the cache, by the packages of ``pip install "ddim_edu[faces]"``.

    Args:
        size: Width and height, 16 to 256.
        channels: 3, or 1 for grey.
        cache_dir: Where to keep them, if not where :mod:`ddim_edu.data.folder` says.

    Raises:
        ValueError: If the packages are not there, or faces can't be had in that size.
    """
    found = read_faces(size, channels, cache_dir=cache_dir)
    n = found.n_train
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # as of folders
        images = torch.from_numpy(found.pixels)
    labels, attributes = torch.from_numpy(found.labels), torch.from_numpy(found.attributes)
    return ImageData(
        images[:n], images[n:], labels[:n], labels[n:], classes=tuple(STYLES), train_attributes=attributes[:n],
        heldout_attributes=attributes[n:],
    )  # fmt: skip


def sound_folder(path: Path | str, *, max_bad: float = 0.0) -> ImageData:
    """Any folder of wav files, as log-mel spectrograms; names and classes are those of
    :func:`ddim_edu.data.recordings.read_sounds`.
    """
    found = read_sounds(path, max_bad=max_bad)
    images, labels, n = torch.from_numpy(found.pixels), torch.from_numpy(found.labels), found.n_train
    return ImageData(images[:n], images[n:], labels[:n], labels[n:], classes=found.classes)


DATA = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "spoken-digits": spoken_digits,
    "faces": faces,
}
FASHION_MNIST_SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
CIFAR10_COUNTS = (50_000, 10_000, 10)  # to train on, held out, classes
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def default_data_dir() -> Path:
    """Where data sets with a name are looked for and downloaded to: ``$DDIM_EDU_DATA``, or else ``data``."""
    return Path(os.environ.get("DDIM_EDU_DATA") or "data").expanduser()


def load_data(
    name: Path | str,
    *,
    data_dir: Path | str | None = None,
    size: int | None = None,
    channels: int | None = None,
    crop: str | None = None,
    max_bad: float = 0.0,
    cache_dir: Path | str | None = None,
) -> ImageData:
    """A data set by its name, or a folder of images by its path.

    Args:
        name: A key of ``DATA``, or a path. A folder called like a data set is named with ``./``.
        data_dir: Where data sets with a name are, or are downloaded to; by default ``$DDIM_EDU_DATA``, or else
            ``data``.
        size: Width and height of the images in pixels; None takes the data set's own. A folder needs one.
        channels: 1 for grey, 3 for RGB; None takes the data set's own, and 3 for a folder.
        crop: ``"celeba"`` cuts out the part of CelebA's aligned images that the DDIM paper trains on; folders only.
        max_bad: Largest share of unreadable images to put up with, in [0, 1); folders only.
        cache_dir: Where decoded folders and drawn faces are kept; see :mod:`ddim_edu.data.folder`.

    Raises:
        ValueError: One line, if there is nothing of that name, or it can't be had in that form.
    """
    if name in DATA and crop is not None:
        raise ValueError(f"crop {crop!r} is for folders of images; {name} has none")
    for what, value in (("size", size), ("channels", channels)):
        if value is not None and value < 1:
            raise ValueError(f"{what} = {value}: give at least 1")
    form = {key: value for key, value in (("size", size), ("channels", channels)) if value is not None}
    if form.get("channels", 1) not in (1, 3):
        raise ValueError(f"channels = {channels}: images have 1 (grey) or 3 (red, green, blue)")
    if name == "digits":
        if form.get("size", 8) != 8 or form.get("channels", 1) != 1:
            raise ValueError(
                f"the digits are 8 x 8 in grey, and can't be had with size = {size}, channels = {channels}"
            )
        return digits()
    if name == "fashion-mnist":
        return fashion_mnist(data_dir, **form)
    if name == "cifar10":
        return cifar10(data_dir, **form, cache_dir=cache_dir)
    if name == "spoken-digits":
        return _only_so(spoken_digits(data_dir), name, form)
    if name == "faces":
        return faces(**form, cache_dir=cache_dir)
    path = Path(name).expanduser()
    if not str(name) or not path.exists():
        raise ValueError(
            f"there is no data set {str(name)!r}, and no such folder (--data names one); known: {', '.join(DATA)}"
        )
    if holds_sounds(path):
        return _only_so(sound_folder(path, max_bad=max_bad), str(path), form)
    if size is None:
        raise ValueError(f"to which size are the images in {path} to be brought? give one, such as size = 64")
    return image_folder(path, **form, crop=crop, max_bad=max_bad, cache_dir=cache_dir)


def _only_so(data: ImageData, name: str, form: dict[str, int]) -> ImageData:
    """Spectrograms, if they were asked for in the one form that they have."""
    channels, side = data.train.shape[1:3]
    if form.get("size", side) != side or form.get("channels", channels) != channels:
        raise ValueError(f"the sounds of {name} become pictures of {side} x {side} in grey, and can't be had as {form}")
    return data


def _fit_all(images: np.ndarray, size: int, channels: int) -> Tensor:
    """``(N, H, W)`` or ``(N, H, W, 3)`` uint8 as ``(N, channels, size, size)``."""
    own = 1 if images.ndim == 3 else images.shape[-1]
    if images.shape[1:3] == (size, size) and channels == own:
        return torch.from_numpy(images.reshape(len(images), size, size, own)).permute(0, 3, 1, 2).contiguous()
    result = np.empty((len(images), channels, size, size), np.uint8)
    for i, image in enumerate(tqdm(images, desc=f"resizing to {size}", unit=" images", disable=None)):
        result[i] = fit(image, size, channels)
    return torch.from_numpy(result)


@contextlib.contextmanager
def _download(name: str, root: Path, what: str) -> Iterator[None]:
    """What torchvision prints while it downloads goes to stderr; what goes wrong becomes one line."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # of the network, the archive, the disk, or pickles that hold something else
        raise ValueError(
            f"{name} is not in {root} and can't be downloaded ({_line(error)}): put {what} there, or name the folder that holds it"
        ) from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]


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


def save_grid(
    images: Tensor, path: Path | str, *, columns: int | None = None, side: int = 56, smooth: bool = True
) -> None:
    """Write images as one picture, in a grid that is about square or has a given number of columns.

    Args:
        images: ``(N, C, H, W)`` in [-1, 1], C = 1 or 3; values outside are clipped.
        path: The picture; its ending names the format.
        columns: Images in a row; by default about as many as there are rows.
        side: Images narrower than this are enlarged by the least whole factor that makes them as wide.
        smooth: Enlarge by bicubic interpolation; False shows each pixel as a square. An 8x8 digit in squares is hard to
            read: the eye sees the edges of the squares before the stroke.
    """
    from torchvision.utils import make_grid, save_image  # a second of imports

    path = check_picture(path)
    factor = max(1, math.ceil(side / images.shape[-1]))
    pixels = images.detach().float().cpu()
    if factor > 1:
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bicubic" if smooth else "nearest")
    pixels = (pixels.clamp(-1, 1) + 1) / 2
    grid = make_grid(pixels, nrow=columns or math.ceil(math.sqrt(len(pixels))), padding=2, pad_value=0.3)
    with replacing(path) as temporary:
        save_image(grid, temporary)
