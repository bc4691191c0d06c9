"""The data sets with a name: how each is found or downloaded, and what is known of it.

They are looked for in a folder, ``data_dir``, and downloaded there if they are not in it: ``$DDIM_EDU_DATA``, or else
``data`` in the working directory. A new one is a class here and its line in ``SOURCES``.
"""

from __future__ import annotations

import contextlib
import gzip
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddim_edu.data.decoding import cut_and_resize
from ddim_edu.data.faces.dataset import read_faces
from ddim_edu.data.faces.styles import STYLES
from ddim_edu.data.folder import read_folder
from ddim_edu.data.note_set import read_notes
from ddim_edu.data.notes import CLASSES as NOTES
from ddim_edu.data.recordings import read_sounds
from ddim_edu.data.source import Form, ImageData, Source
from ddim_edu.files import first_line
from ddim_edu.models import Checkpoint
from ddim_edu.processes import progress

FASHION_MNIST_SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
# Whether data sets that are not there are downloaded: not into a folder that a file names.
DOWNLOADS: ContextVar[bool] = ContextVar("downloads", default=True)
CIFAR10_COUNTS = (50_000, 10_000, 10)  # to train on, held out, classes
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


class Digits(Source):
    """The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, grey values 0..16, labels 0..9.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
    1998.

    Every ninth image, starting with the first, is held out: 200 images, and 1,597 to train on. The file lists the
    digits writer by writer, so that this takes some from each writer and needs no random numbers.
    """

    size, channels = 8, 1
    classes = tuple("0123456789")
    judge = "digits"
    about = (
        "the 1,797 handwritten digits of 8x8 pixels that come with scikit-learn, from UCI's *Optical Recognition of "
        "Handwritten Digits* (Alpaydin and Kaynak, 1998)"
    )
    licence = "CC BY 4.0"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        from sklearn.datasets import load_digits  # a second of imports that only training should pay for

        bunch = load_digits()
        images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
        labels = torch.from_numpy(bunch.target.astype(np.int64))
        held = torch.arange(len(images)) % 9 == 0
        return ImageData(images[~held], images[held], labels[~held], labels[held], top=16, classes=self.classes)


class FashionMNIST(Source):
    """Fashion-MNIST: 60,000 grey images of clothes to train on and 10,000 held out, 28 x 28, labels 0..9.

    Source: H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms*, arXiv 1708.07747, 2017.

    The four files, as published (.gz) or unpacked, are looked for in ``data_dir``, in its sub-folders
    ``fashion-mnist``, ``FashionMNIST`` and ``FashionMNIST/raw`` (where torchvision puts them), and where Debian's
    package dataset-fashion-mnist puts them. If they are nowhere, torchvision downloads them.
    """

    size, channels, resizable = 28, 1, True
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    judge = "fashion-mnist"
    about = "Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), 60,000 pictures of clothes of 28x28 pixels"
    licence = "MIT"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        from torchvision.datasets import FashionMNIST as Published
        from torchvision.datasets.mnist import read_image_file, read_label_file

        found = _fashion_files(data_dir)
        if found is None:
            with _download("fashion-mnist", data_dir, "the four files *-ubyte.gz"):
                Published(str(data_dir), download=True)
            found = _fashion_files(data_dir) or []
        parts = [_unzipped(file, read) for file, read in zip(found, (read_image_file, read_label_file) * 2)]
        if tuple(tuple(part.shape) for part in parts) != FASHION_MNIST_SHAPES:
            raise ValueError(
                f"the files in {found[0].parent} are not those of Fashion-MNIST, 60,000 + 10,000 images of 28 x 28"
            )
        train, train_labels, heldout, heldout_labels = parts
        images, heldout_images = (_resized(part.numpy(), form) for part in (train, heldout))
        return ImageData(images, heldout_images, train_labels, heldout_labels, classes=self.classes)


class CIFAR10(Source):
    """CIFAR-10: 50,000 colour photographs to train on and 10,000 held out, 32 x 32, labels 0..9.

    Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.

    In ``data_dir`` either of two layouts is taken: ``cifar10/{train,test}/<class>/`` with image files in any lossless
    format, or ``cifar-10-batches-py`` as published. If neither is there, torchvision downloads the second. They hold
    the same images in a different order, so that the same seed trains on different batches.
    """

    size, channels, resizable = 32, 3, True
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    about = "CIFAR-10 (Krizhevsky, 2009), 50,000 photographs of ten kinds"
    licence = "none is stated by its authors, who ask to be cited"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        folder = data_dir / "cifar10"
        if (folder / "train").is_dir():
            data = ImageData.split(*read_folder(folder, **{**vars(form), "layout": "parts"}))
            found = (len(data.train), len(data.heldout), len(data.classes))
            if found != CIFAR10_COUNTS:
                raise ValueError(
                    f"{folder} holds {found[0]:,} + {found[1]:,} images of {found[2]} classes, and CIFAR-10 has "
                    f"{CIFAR10_COUNTS[0]:,} + {CIFAR10_COUNTS[1]:,} of {CIFAR10_COUNTS[2]}: unpack all of it there"
                )
            return data
        from torchvision.datasets import CIFAR10 as Published

        with _download("cifar10", data_dir, "cifar-10-batches-py or cifar10/{train,test}/<class>/"):
            parts = Published(str(data_dir), train=True, download=True), Published(str(data_dir), train=False)
        train, heldout = (_resized(part.data, form) for part in parts)
        labels, heldout_labels = (torch.tensor(part.targets) for part in parts)
        return ImageData(train, heldout, labels, heldout_labels, classes=self.classes)


class SpokenDigits(Source):
    """The Free Spoken Digit Dataset: 3,000 recordings of ten words by six speakers, as log-mel spectrograms of 64 x 64.

    Source: Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas and A. Thite, *Free Spoken Digit Dataset*, version 1.0.8,
    2018, CC BY-SA 4.0.

    Of the 50 recordings of each word by each speaker, those with the numbers 0 to 4 are held out: 300, and 2,700 to
    train on. They are looked for in ``data_dir``: the folder ``spoken-digits`` or
    ``free-spoken-digit-dataset/recordings``, or ``spoken-digits.zip``.
    """

    size, channels, sounds = 64, 1, True
    about = "the Free Spoken Digit Dataset (Jackson and others, 2018), 3,000 recordings of ten words by six speakers"
    licence = "CC BY-SA 4.0"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        for place in ("spoken-digits", "free-spoken-digit-dataset/recordings", "spoken-digits.zip"):
            if (data_dir / place).exists():
                return ImageData.split(*read_sounds(data_dir / place))
        raise ValueError(
            f"spoken-digits is not in {data_dir}: clone https://github.com/Jakobovski/free-spoken-digit-dataset there, "
            "or name the folder that holds it"
        )


class Notes(Source):
    """Notes of nine instruments over two octaves, made by formulas: 20,000 to train on and 2,000 held out, as log-mel
    spectrograms of 64 x 64; the classes are pairs of instrument and pitch (:mod:`ddim_edu.data.notes`)."""

    size, channels, sounds = 64, 1, True
    classes = NOTES
    about = "22,000 notes of nine instruments over two octaves, made by formulas"
    licence = "none is needed: they are made by this package"

    def load(self, data_dir: Path, form: Form) -> ImageData:
        found, attributes = read_notes(cache_dir=form.cache_dir)
        return ImageData.split(*found, attributes=attributes)


class Faces(Source):
    """Drawn faces: 30,000 to train on and 3,000 held out, in four styles, which are the classes; every attribute is
    known (:mod:`ddim_edu.data.faces.dataset`).

    Sources and licences: :func:`ddim_edu.data.faces.styles.credits`.
    """

    size, channels, resizable = 32, 3, True
    classes = tuple(STYLES)
    about = "faces drawn from four styles of DiceBear"
    licence = (
        "open-peeps by Pablo Stanley: CC0 1.0; micah by Micah Lanier, toon-head by Johan Melin and personas by "
        "Draftbit: CC BY 4.0, so whoever shows such faces names them"
    )

    def load(self, data_dir: Path, form: Form) -> ImageData:
        found = read_faces(form.size, form.channels, cache_dir=form.cache_dir)
        return ImageData.split(found.pixels, found.labels, found.n_train, self.classes, attributes=found.attributes)


SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "fashion-mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "spoken-digits": SpokenDigits,
    "faces": Faces,
    "notes": Notes,
}


def class_names(model: Checkpoint) -> tuple[str, ...]:
    """Names of a model's labels: as its file says, or else as its data set has them; empty if they are not known."""
    data = model.recipe.get("data")
    found = model.classes or (SOURCES[data].classes if isinstance(data, str) and data in SOURCES else ())
    return found if len(found) == model.config.classes else ()


def digits() -> ImageData:
    """The data set :class:`Digits`, which needs no folder."""
    return Digits().load(Path(), Form(8, 1))


def _fashion_files(root: Path) -> list[Path] | None:
    """The four files of Fashion-MNIST, images and labels to train on and held out, in the first place that has all."""
    downloaded = root / "FashionMNIST" / "raw"
    for place in (root, root / "fashion-mnist", root / "FashionMNIST", downloaded, DEBIAN_FASHION_MNIST):
        for ending in ("", ".gz"):
            found = [
                place / f"{part}-{kind}-ubyte{ending}"
                for part in ("train", "t10k")
                for kind in ("images-idx3", "labels-idx1")
            ]
            if all(file.is_file() for file in found):
                return found
    return None


def _unzipped(file: Path, read: Callable[[str], Tensor]) -> Tensor:
    """What one of torchvision's readers makes of a file that may be zipped."""
    try:
        if file.suffix != ".gz":
            return read(str(file))
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / file.stem
            unpacked.write_bytes(gzip.decompress(file.read_bytes()))
            return read(str(unpacked))
    except Exception as error:  # the reader asserts, indexes and reshapes
        raise ValueError(f"{file} is damaged ({first_line(error)}): delete it, and it will be downloaded") from None


def _resized(images: np.ndarray, form: Form) -> Tensor:
    """``(N, H, W)`` or ``(N, H, W, 3)`` uint8 as ``(N, channels, size, size)``."""
    size, channels, own = form.size, form.channels, 1 if images.ndim == 3 else images.shape[-1]
    if images.shape[1:3] == (size, size) and channels == own:
        return torch.from_numpy(images.reshape(len(images), size, size, own)).permute(0, 3, 1, 2).contiguous()
    result = np.empty((len(images), channels, size, size), np.uint8)
    with progress(len(images), "image", f"resizing to {size}") as bar:
        for i, image in enumerate(images):
            result[i] = cut_and_resize(image, size, channels)
            bar.update()
    return torch.from_numpy(result)


@contextlib.contextmanager
def _download(name: str, root: Path, what: str) -> Iterator[None]:
    """What torchvision prints while it downloads goes to stderr; what goes wrong becomes one line."""
    if not DOWNLOADS.get() and not (root / "cifar-10-batches-py").is_dir():
        raise ValueError(f"{name} is not in {root}: name the folder that holds it, or is to, with --data-dir")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # of the network, the archive, the disk, or pickles that hold something else
        raise ValueError(
            f"{name} is not in {root} and can't be downloaded ({first_line(error)}): put {what} there, "
            "or name the folder that holds it"
        ) from None
