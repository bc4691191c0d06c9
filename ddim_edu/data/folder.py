"""A folder of images as one array of whole numbers, decoded once.

A folder is read in one of three layouts::

    folder/train/cat/1.png  folder/train/dog/2.jpg  folder/test/cat/3.png     parts, with classes or without
    folder/cat/1.png        folder/dog/2.jpg                                  classes
    folder/1.png            folder/2.jpg                                      neither

Beside ``train`` the held-out part is ``heldout``, ``test`` or ``val``, the first of these that is there; no other
folder beside ``train`` is read. Without a held-out part, every 50th image of the sorted names is held out, the first of
them included (of more than 500,000, evenly spaced ones: at most 10,000). Classes are the sub-folders' names, sorted:
label 0 is the first. What lies deeper belongs to the class above it. Names that start with a dot are passed over, as
are files whose ending no image format of Pillow has; the latter are counted in a line on stderr.

**What becomes of an image.** It is turned as its EXIF orientation says; of an animation the first frame is taken;
transparent parts show white; 16-bit greys are scaled to 8 bits (Pillow's own conversion may clip them); palettes, CMYK
and other colour spaces become RGB, embedded colour profiles are ignored. Grey images become RGB with three equal
channels, and colours become grey by ITU-R BT.601's luma where one channel is asked for. Then the central square is
resized, see :func:`fit`.

**The cache.** The pixels are kept in a file of the folder ``$DDIM_EDU_CACHE``, or else ``~/.cache/ddim_edu`` (below
``$XDG_CACHE_HOME`` if that is set), with a JSON file that says what they are. They are used again while the images'
names, sizes and times of modification are the same, none that could not be read can be now, and the checksum of all
pixels is right; otherwise they are decoded anew, over the old file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import sys
import time
import warnings
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from ddim_edu.files import check_writable, replacing

FORMAT = 1  # of the cache and of the pixels in it: whoever changes what becomes of an image raises it
HELDOUT_EVERY = 50
HELDOUT_MOST = 10_000
HELDOUT_NAMES = ("heldout", "test", "val")
IN_MEMORY = 2**30  # bytes of pixels that are read whole; more are mapped, and read where they are needed

# Formats that Pillow can name but not read by itself, or that are no still images.
_NOT_IMAGES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
# The official DDIM code's part of an aligned CelebA image, 178 x 218: 64 pixels to each side of (89, 121).
CROPS = {"celeba": ((178, 218), (25, 57, 153, 185))}  # (width, height), (left, upper, right, lower)


class FolderImages(NamedTuple):
    """What a folder holds.

    Attributes:
        pixels: ``(N, C, size, size)`` uint8, the part to train on before the held-out part. Mapped from the cache, and
            then not to be written, if it is large.
        labels: ``(N,)`` int64.
        n_train: Number of images to train on; the others are held out.
        classes: Names of the labels.
    """

    pixels: np.ndarray
    labels: np.ndarray
    n_train: int
    classes: tuple[str, ...]


class _File(NamedTuple):
    name: str  # below the folder, with "/"
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _Listing:
    folder: Path
    files: list[_File]  # to train on first, then held out
    labels: list[int]
    n_train: int
    classes: tuple[str, ...]
    ignored: Counter[str]


def read_folder(
    folder: Path | str,
    *,
    size: int,
    channels: int = 3,
    crop: str | None = None,
    max_bad: float = 0.0,
    cache_dir: Path | str | None = None,
) -> FolderImages:
    """All images of a folder, from the cache if they have been decoded before.

    Args:
        folder: The folder.
        size: Width and height of the result, in pixels.
        channels: 3 for RGB, 1 for grey.
        crop: None for the central square, or ``"celeba"``: see :func:`fit`.
        max_bad: Largest share of images that may be unreadable, in [0, 1). They are left out, and a line on stderr says
            so.
        cache_dir: Where to keep the decoded pixels, if not where this module's description says.

    Raises:
        ValueError: One line, if there is no such folder, nothing in it to train on or to hold out, its layout is
            unclear, too many of its images are unreadable (a file beside the cache then names them all), or the cache
            can't be written.
        OSError: If the folder can't be listed.
    """
    _check_how(size, channels, crop)
    if not 0 <= max_bad < 1:
        raise ValueError(f"max_bad = {max_bad}: give a share in [0, 1), such as 0.001")
    listing = _list(Path(folder).expanduser())
    cache = _Cache(listing, size, channels, crop, Path(cache_dir) if cache_dir is not None else default_cache_dir())
    found = cache.read() or cache.build()
    pixels, bad = found
    n = len(listing.files)
    if bad:
        first = ", ".join(f"{listing.files[i].name} ({reason})" for i, reason in bad[:3])
        what = (
            f"{len(bad):,} of {n:,} images in {listing.folder} can't be read: {first}{', ...' if len(bad) > 3 else ''}"
        )
        if len(bad) > max_bad * n:
            remedy = (
                "repair or remove them"
                if len(bad) == n
                else f"repair or remove them, or allow max_bad = {_round_up(len(bad) / n)}"
            )
            raise ValueError(f"{what}; {cache.bad_list} names them all: {remedy}")
        print(f"{what}; left out, {cache.bad_list} names them all", file=sys.stderr)
    dropped = {i for i, _ in bad}
    labels = np.array([label for i, label in enumerate(listing.labels) if i not in dropped], dtype=np.int64)
    n_train = listing.n_train - sum(i < listing.n_train for i in dropped)
    for part, count in (("to train on", n_train), ("to hold out", len(labels) - n_train)):
        if not count:
            raise ValueError(
                f"{listing.folder} holds {len(labels)} readable images, and none {part}: give at least two images"
            )
    return FolderImages(pixels, labels, n_train, listing.classes)


def read_image(path: Path | str, *, size: int, channels: int = 3, crop: str | None = None) -> np.ndarray:
    """One image file, treated as those of a folder are.

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If it has no 8 or 16-bit pixels, or the crop does not fit it.
        OSError: If there is no such file, it is no image, or it ends too early. Pillow may raise others on damaged
            files.
    """
    return _read(Path(path), size, channels, crop)[0]


def fit(pixels: np.ndarray, size: int, channels: int, crop: str | None = None) -> np.ndarray:
    """Cut an image to a square and resize it.

    Without ``crop``, the largest central square becomes ``size`` x ``size``: the shorter side is resized to ``size``,
    and what the longer side has more is cut off evenly. The filter is Pillow's bicubic one, which is widened by the
    factor of the reduction, so that each pixel is a weighted mean of all those that it stands for (resampling without
    that makes patterns that aren't in the image, and makes FIDs hard to compare: Parmar, Zhang and Zhu, CVPR 2022).
    Smaller images are enlarged by the same filter.

    With ``crop="celeba"``, the part of an aligned CelebA image that the DDIM paper trains on, columns 25..152 and rows
    57..184, is cut out and then resized with Pillow's bilinear filter, widened likewise: both are the official code's
    choices.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)`` uint8.
        size: Width and height of the result.
        channels: 3 for RGB, 1 for grey.
        crop: None or ``"celeba"``.

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If the image has not the size that the crop is made for.
    """
    return _fit(Image.fromarray(pixels), size, channels, crop)


def default_cache_dir() -> Path:
    """Where decoded pixels are kept: ``$DDIM_EDU_CACHE``, or else the folder ``ddim_edu`` in the user's folder for
    caches.
    """
    own = os.environ.get("DDIM_EDU_CACHE")
    return (
        Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddim_edu"
    )


def _check_how(size: int, channels: int, crop: str | None) -> None:
    if size < 1:
        raise ValueError(f"size = {size}: give the width of the images in pixels, such as 64")
    if channels not in (1, 3):
        raise ValueError(f"channels = {channels}: images have 1 (grey) or 3 (red, green, blue)")
    if crop is not None and crop not in CROPS:
        raise ValueError(f"there is no crop {crop!r}; known: {', '.join(CROPS)}")


# ---- what the folder holds


def _list(folder: Path) -> _Listing:
    if not folder.is_dir():
        if folder.exists():
            raise ValueError(f"{folder} is a file: unpack it if it is an archive, and name the folder of the images")
        raise ValueError(f"there is no folder {folder}")
    endings = _endings()
    ignored: Counter[str] = Counter()
    files = []
    for file in _walk(folder):
        _, dot, ending = file.name.lower().rpartition(".")
        if dot + ending in endings:
            files.append(file)
        else:
            ignored[dot + ending if dot and "/" not in ending else "no ending"] += 1
    if not files:
        others = f" (but {_counts(ignored)})" if ignored else ""
        raise ValueError(
            f"{folder} holds no images{others}: name a folder with image files, or with sub-folders of them"
        )
    files.sort()  # by name, first of all
    parts: dict[str, list[_File]] = {}
    for file in files:
        parts.setdefault(file.name.partition("/")[0] if "/" in file.name else "", []).append(file)
    held_name = next((name for name in HELDOUT_NAMES if name in parts), None)
    if "train" in parts and held_name is not None:
        train, heldout = parts["train"], parts[held_name]
        classes, labels = _label(folder, train, depth=1)
        held_classes, held_labels = _label(folder, heldout, depth=1)
        if (train[0].name.count("/") == 1) != (heldout[0].name.count("/") == 1):
            raise ValueError(
                f"{folder} has classes in only one of 'train' and {held_name!r}: give both the same layout"
            )
        unknown = sorted(set(held_classes) - set(classes))
        if unknown:
            raise ValueError(
                f"{folder / held_name} has the class {unknown[0]!r}, which {folder / 'train'} has no images of"
            )
        labels += [classes.index(held_classes[label]) for label in held_labels]
        return _Listing(folder, train + heldout, labels, len(train), classes, ignored)
    if "train" in parts:
        files, depth = parts["train"], 1
    elif held_name is not None:
        raise ValueError(f"{folder} has a folder {held_name!r} but none named 'train': name the part to train on so")
    else:
        depth = 0
    classes, labels = _label(folder, files, depth)
    every = max(HELDOUT_EVERY, math.ceil(len(files) / HELDOUT_MOST))
    order = [i for i in range(len(files)) if i % every] + list(range(0, len(files), every))
    n_train = len(files) - len(range(0, len(files), every))
    return _Listing(folder, [files[i] for i in order], [labels[i] for i in order], n_train, classes, ignored)


def _label(folder: Path, files: list[_File], depth: int) -> tuple[tuple[str, ...], list[int]]:
    """Classes and labels of files, whose class is the part of the name at ``depth``; one class if none has such a part."""
    where = [file.name.split("/")[depth:] for file in files]
    flat = [len(parts) == 1 for parts in where]
    if all(flat):
        return (folder.resolve().name,), [0] * len(files)
    if any(flat):
        loose, inner = files[flat.index(True)].name, files[flat.index(False)].name
        raise ValueError(
            f"{folder} holds images beside folders of images ({loose} and {inner}): put all in folders, or none"
        )
    classes = tuple(sorted({parts[0] for parts in where}))
    numbers = {name: i for i, name in enumerate(classes)}
    return classes, [numbers[parts[0]] for parts in where]


def _walk(folder: Path) -> list[_File]:
    """All files below a folder; links are followed, but not in circles."""
    files = []
    todo: list[tuple[str | Path, str, frozenset[tuple[int, int]]]] = [(folder, "", frozenset())]
    while todo:
        place, prefix, above = todo.pop()
        status = os.stat(place)
        own = (status.st_dev, status.st_ino)
        if own in above:
            continue
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if entry.is_dir():
                    todo.append((entry.path, f"{prefix}{name}/", above | {own}))
                    continue
                try:
                    found = entry.stat()
                except OSError:  # a link to nothing: reading it will say so
                    found = entry.stat(follow_symlinks=False)
                files.append(_File(prefix + name, found.st_size, found.st_mtime_ns))
    return files


def _endings() -> set[str]:
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if name in Image.OPEN and name not in _NOT_IMAGES
    }


def _counts(endings: Counter[str]) -> str:
    shown = ", ".join(f"{ending} ({count:,})" for ending, count in endings.most_common(3))
    return f"{endings.total():,} other files: {shown}{', ...' if len(endings) > 3 else ''}"


def _round_up(share: float) -> float:
    """A share, rounded up to one digit that isn't 0."""
    digits = -math.floor(math.log10(share))
    return math.ceil(share * 10**digits - 1e-9) / 10**digits


# ---- one image


def _read(path: Path, size: int, channels: int, crop: str | None) -> tuple[np.ndarray, bool]:
    """The pixels as :func:`fit` returns them, and whether the file is one of colours."""
    with Image.open(path) as image:
        image.load()
        form, is_colour = image.format, image.mode not in ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            image = _eight_bits(image, is_png=form == "PNG")
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return _fit(image, size, channels, crop), is_colour


def _fit(image: Image.Image, size: int, channels: int, crop: str | None) -> np.ndarray:
    image = image.convert("L" if channels == 1 else "RGB")
    if crop is not None:
        expected, box = CROPS[crop]
        if image.size != expected:
            raise ValueError(
                f"{image.width} x {image.height} pixels, where crop {crop!r} needs {expected[0]} x {expected[1]}"
            )
        image, box, resampling = image.crop(box), None, Image.Resampling.BILINEAR
    else:
        side, resampling = min(image.size), Image.Resampling.BICUBIC
        left, upper = (image.width - side) / 2, (image.height - side) / 2
        box = (left, upper, left + side, upper + side)
        if side == size:  # cut at whole pixels: there is nothing to resample
            box = (image.width - side) // 2, (image.height - side) // 2
            image, box = image.crop((*box, box[0] + side, box[1] + side)), None
    if image.size != (size, size):
        image = image.resize((size, size), resampling, box=box)
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image, *, is_png: bool) -> Image.Image:
    """16-bit grey values 0..65535 as 0..255. Some versions of Pillow open a 16-bit PNG as if it had 32."""
    if image.mode in ("I", "F") and not is_png:
        raise ValueError("32-bit pixels, whose range is not known: convert it to 8 or 16 bits")
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "empty" if not path.stat().st_size else "not an image that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return ((str(error) or type(error).__name__).splitlines()[0])[:100]


# ---- the cache


class _Cache:
    """The decoded pixels of a folder: a file of raw uint8, the JSON that describes it, and a list of what can't be
    read.
    """

    def __init__(self, listing: _Listing, size: int, channels: int, crop: str | None, cache_dir: Path) -> None:
        self.listing, self.size, self.channels, self.crop, self.folder = listing, size, channels, crop, cache_dir
        how = json.dumps([size, channels, crop])
        whole = listing.folder.resolve()
        place = hashlib.sha256(f"{how}{whole}".encode(errors="surrogateescape")).hexdigest()[:10]
        stem = "-".join(
            [
                re.sub(r"[^\w-]", "_", whole.name)[:40] or "images",
                f"{size}x{size}x{channels}",
                *([crop] if crop else []),
                place,
            ]
        )
        self.pixels, self.about, self.bad_list = (
            cache_dir / f"{stem}.{ending}" for ending in ("pixels", "json", "bad.txt")
        )
        key = hashlib.sha256(f"{FORMAT}{how}{listing.n_train}".encode())
        lines = "".join([f"{name}\0{size}\0{mtime_ns}\n" for name, size, mtime_ns in listing.files])
        key.update(lines.encode(errors="surrogateescape"))
        self.key = key.hexdigest()

    def read(self) -> tuple[np.ndarray, list[tuple[int, str]]] | None:
        """Pixels ``(N, C, size, size)`` and the numbers of unreadable files with the reasons; None if they must be
        decoded.
        """
        try:
            about = json.loads(self.about.read_text(encoding="utf8"))
            if about["key"] != self.key:
                return None
            bad = [(int(i), str(reason)) for i, reason in about["bad"]]
            shape = (len(self.listing.files) - len(bad), self.channels, self.size, self.size)
            if self.pixels.stat().st_size == math.prod(shape):
                pixels = self._map(shape)
                if zlib.crc32(pixels.reshape(-1)) == about["crc32"]:
                    mended = any(
                        self._decode(self.listing.files[i])[0] is not None for i, _ in bad
                    )  # permissions, a disk: no new time
                    return None if mended else (pixels, bad)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        print(f"the cache {self.pixels} is damaged: decoding the images again", file=sys.stderr)
        return None

    def build(self) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Decode all images into the cache, and return the same."""
        files, crc, bad, colours = self.listing.files, 0, [], 0
        self._prepare()
        threads = _cpus()
        if self.listing.ignored:
            print(
                f"{self.listing.folder} also holds {_counts(self.listing.ignored)}; not read as images", file=sys.stderr
            )
        bar = tqdm(
            total=len(files), desc=f"decoding {self.listing.folder.resolve().name}", unit=" images", disable=None
        )
        with (
            replacing(self.pixels) as temporary,
            open(temporary, "wb") as out,
            ThreadPoolExecutor(threads) as pool,
            warnings.catch_warnings(),
            bar,
        ):
            warnings.simplefilter("ignore", UserWarning)  # of odd metadata, where the pixels are fine
            together = 32 * threads  # no more than these wait in memory to be written
            for start in range(0, len(files), together):
                part = files[start : start + together]
                for i, (pixels, found) in enumerate(pool.map(self._decode, part), start):
                    if pixels is None:
                        bad.append((i, found))
                        continue
                    colours += found
                    crc = zlib.crc32(pixels, crc)
                    out.write(pixels)
                bar.update(len(part))
        if self.channels == 1 and colours:
            print(
                f"{colours:,} of {len(files):,} images of {self.listing.folder} are stored in colour; read as grey (luma)",
                file=sys.stderr,
            )
        if bad:
            with replacing(self.bad_list) as temporary:
                lines = [f"{files[i].name}\t{reason}\n" for i, reason in bad]
                temporary.write_text("".join(lines), encoding="utf8", errors="surrogateescape")
        else:
            self.bad_list.unlink(missing_ok=True)
        about = {"source": str(self.listing.folder.resolve()), "key": self.key, "crc32": crc, "bad": bad}
        with replacing(self.about) as temporary:  # last: it vouches for the pixels
            temporary.write_text(json.dumps(about) + "\n", encoding="utf8")
        return self._map((len(files) - len(bad), self.channels, self.size, self.size)), bad

    def _decode(self, file: _File) -> tuple[np.ndarray, bool] | tuple[None, str]:
        path = self.listing.folder / file.name
        try:
            return _read(path, self.size, self.channels, self.crop)
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return None, _reason(path, error)

    def _map(self, shape: tuple[int, ...]) -> np.ndarray:
        if not shape[0]:
            return np.empty(shape, np.uint8)
        if math.prod(shape) <= IN_MEMORY:
            return np.fromfile(self.pixels, np.uint8).reshape(shape)
        return np.memmap(self.pixels, np.uint8, mode="r", shape=shape)

    def _prepare(self) -> None:
        """Make the folder, clear away what killed runs have left in it, and see that there is room."""
        remedy = "choose another folder with the environment variable DDIM_EDU_CACHE"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_writable(self.pixels)
            for left in self.folder.glob(f".{self.pixels.stem}.*.tmp.*"):
                if time.time() - left.stat().st_mtime > 86_400:
                    left.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"can't write the cache folder {self.folder} ({reason}): {remedy}") from None
        need, free = len(self.listing.files) * self.channels * self.size**2, shutil.disk_usage(self.folder).free
        if need > free:
            raise ValueError(
                f"the decoded images need {need / 1e9:.1f} GB in {self.folder}, where {free / 1e9:.1f} are free: {remedy}"
            )


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
