"""A folder of images as one array of whole numbers, decoded once.

Which images are read, and what their classes are, says :mod:`ddim_edu.data.layout`; what becomes of each,
:mod:`ddim_edu.data.decoding`; where the pixels are kept, :mod:`ddim_edu.data.cache`. They are used again while the
images' names, sizes and times of modification are the same, none that could not be read can be now, and the checksum of
all pixels is right; otherwise they are decoded anew, over the old file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddim_edu.data import decoding
from ddim_edu.data.cache import PixelCache, cores
from ddim_edu.data.layout import File, Listing, counts, list_images
from ddim_edu.files import at_home, replacing
from ddim_edu.processes import progress
from ddim_edu.streams import printable, say

FORMAT = 1  # of the cache and of the pixels in it: whoever changes what becomes of an image raises it
# The same for folders with files of these endings: greys, signs and transparent colours are read otherwise since.
FORMAT_OF = {".png": 2, ".tif": 2, ".tiff": 2}


class FolderImages(NamedTuple):
    """What a folder holds.

    Attributes:
        pixels: ``(N, C, size, size)`` uint8, the part to train on before the held-out part. Mapped from the cache, and
            then not to be written, if it is large.
        labels: ``(N,)`` int64.
        n_train: Number of images to train on; the others are held out.
        classes: Names of the labels.
        taken_as: What was taken as parts and as classes, in words.
    """

    pixels: np.ndarray
    labels: np.ndarray
    n_train: int
    classes: tuple[str, ...]
    taken_as: str = ""


def read_folder(
    folder: Path | str,
    *,
    size: int,
    channels: int = 3,
    crop: str | None = None,
    max_bad: float = 0.0,
    cache_dir: Path | str | None = None,
    layout: str = "auto",
) -> FolderImages:
    """All images of a folder, from the cache if they have been decoded before.

    Args:
        folder: The folder.
        size: Width and height of the result, in pixels.
        channels: 3 for RGB, 1 for grey.
        crop: None for the central square, or ``"celeba"``: see :func:`ddim_edu.data.decoding.cut_and_resize`.
        max_bad: Largest share of images that may be unreadable, in [0, 1). They are left out, and a line on stderr says
            so. A folder that can't be listed counts as one.
        cache_dir: Where to keep the decoded pixels; by default where :mod:`ddim_edu.data.cache` says.
        layout: What the folders in it are: see :mod:`ddim_edu.data.layout`.

    Raises:
        ValueError: One line, if there is no such folder, nothing in it or in a class of it to train on, nothing to
            hold out, its layout is unclear, too many of its images are unreadable (a file beside the cache then names
            them all), or the cache can't be written.
        OSError: If the folder can't be listed.
    """
    listing = list_images(at_home(folder), layout)
    decoded = _Decoded(listing, size, channels, crop, cache_dir)
    pixels, bad = decoded.read() or decoded.build()
    if bad or listing.unreadable:
        _allow(listing, bad, max_bad, decoded.bad_list)
    dropped = {i for i, _ in bad}
    labels = np.array([label for i, label in enumerate(listing.labels) if i not in dropped], dtype=np.int64)
    n_train = listing.n_train - sum(i < listing.n_train for i in dropped)
    for part, count, listed in (
        ("to train on", n_train, listing.n_train),
        ("to hold out", len(labels) - n_train, len(listing.files) - listing.n_train),
    ):
        if listed and not count:
            raise ValueError(
                f"no image {part} in {listing.folder} can be read: repair or remove what {decoded.bad_list} names"
            )
        if not count:
            of = "one class at least two images" if len(listing.classes) > 1 else "at least two images"
            raise ValueError(f"{listing.folder} holds {len(labels)} readable images, and none {part}: give {of}")
    empty = np.flatnonzero(np.bincount(labels[:n_train], minlength=len(listing.classes)) == 0)
    if len(empty) and layout != "old":
        name = listing.classes[empty[0]]
        raise ValueError(
            f"no image of the class {name!r} to train on can be read in {listing.folder}: repair one, or take the "
            "class away"
        )
    return FolderImages(pixels, labels, n_train, listing.classes, listing.taken_as)


def _allow(listing: Listing, bad: list[tuple[int, str]], max_bad: float, bad_list: Path) -> None:
    """Say which images are left out, or that they are too many."""
    named = [(f"{name}/", reason) for name, reason in listing.unreadable]
    named += [(listing.files[i].name, reason) for i, reason in bad]
    n = len(listing.files) + len(listing.unreadable)
    first = ", ".join(f"{name} ({reason})" for name, reason in named[:3])
    what = f"{len(named):,} of {n:,} images in {listing.folder} can't be read: {first}"
    what += ", ..." if len(named) > 3 else ""
    if len(named) > max_bad * n:
        raise ValueError(f"{what}; {bad_list} names them all: repair or remove them{or_allow(len(named), n)}")
    say(f"{what}; left out, {bad_list} names them all", file=sys.stderr)


def or_allow(bad: int, n: int) -> str:
    """The end of a line that names the share of bad files to allow, rounded up but below 1; empty if all are bad."""
    digits, share = -math.floor(math.log10(bad / n)), 1.0
    while bad < n and share >= 1:
        share = math.ceil(bad / n * 10**digits - 1e-9) / 10**digits
        digits += 1
    return f", or allow max_bad = {share} (--max-bad {share})" if bad < n else ""


class _Decoded:
    """The decoded pixels of a folder, and beside them a list of what can't be read."""

    def __init__(
        self, listing: Listing, size: int, channels: int, crop: str | None, cache_dir: Path | str | None
    ) -> None:
        self.listing, self.size, self.channels, self.crop = listing, size, channels, crop
        how = json.dumps([size, channels, crop])
        whole = listing.folder.resolve()
        place = hashlib.sha256(f"{how}{whole}".encode(errors="surrogateescape")).hexdigest()[:10]
        name = re.sub(r"[^\w-]", "_", whole.name)[:40] or "images"
        self.cache = PixelCache(
            cache_dir, "-".join([name, f"{size}x{size}x{channels}", *([crop] if crop else []), place])
        )
        self.bad_list = self.cache.pixels.with_suffix(".bad.txt")
        form = max(FORMAT, *(FORMAT_OF.get(Path(file.name).suffix.lower(), 0) for file in listing.files))
        key = hashlib.sha256(f"{form}{how}{listing.n_train}".encode())
        lines = "".join([f"{name}\0{size}\0{mtime_ns}\n" for name, size, mtime_ns in listing.files])
        key.update(lines.encode(errors="surrogateescape"))
        self.key = key.hexdigest()

    def read(self) -> tuple[np.ndarray, list[tuple[int, str]]] | None:
        """Pixels ``(N, C, size, size)`` and the numbers of unreadable files with the reasons; None if they must be
        decoded.
        """
        found = self.cache.read(self._shape_of, "decoding the images again")
        if found is None:
            return None
        bad = _bad(found[1])
        with decoding.quietly():
            mended = any(self._decode(self.listing.files[i])[0] is not None for i, _ in bad)  # permissions, a disk: no
        return None if mended else (found[0], bad)  # new time

    def build(self) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Decode all images into the cache, and return the same."""
        folder, files = self.listing.folder, self.listing.files
        bad, colours, threads = [], 0, cores()
        if self.listing.ignored:
            say(f"{folder} also holds {counts(self.listing.ignored)}; not read as images", file=sys.stderr)
        with (
            self.cache.writing(len(files) * self.channels * self.size**2, "the decoded images") as add,
            ThreadPoolExecutor(threads) as pool,
            decoding.quietly(),
            progress(len(files), "image", f"decoding {folder.resolve().name}") as bar,
        ):
            together = 32 * threads  # no more than these wait in memory to be written
            for start in range(0, len(files), together):
                part = files[start : start + together]
                for i, (pixels, found) in enumerate(pool.map(self._decode, part), start):
                    if pixels is None:
                        bad.append((i, found))
                        continue
                    colours += found
                    add(pixels)
                bar.update(len(part))
        if self.channels == 1 and colours:
            say(
                f"{colours:,} of {len(files):,} images of {folder} are stored in colour; read as grey (luma)",
                file=sys.stderr,
            )
        self._name(bad)
        about = {"source": str(folder.resolve()), "key": self.key, "bad": bad}
        self.cache.vouch(about)
        return self.cache.map(self._shape_of(about)), bad

    def _name(self, bad: list[tuple[int, str]]) -> None:
        """Write the list of what can't be read, if there is any."""
        if not bad and not self.listing.unreadable:
            self.bad_list.unlink(missing_ok=True)
            return
        with replacing(self.bad_list) as temporary:
            named = [(f"{name}/", reason) for name, reason in self.listing.unreadable]
            named += [(self.listing.files[i].name, reason) for i, reason in bad]
            lines = [f"{printable(name)}\t{printable(reason)}\n" for name, reason in named]
            temporary.write_text("".join(lines), encoding="utf8", errors="surrogateescape")

    def _shape_of(self, about: dict[str, Any]) -> tuple[int, ...] | None:
        """The shape of the pixels that the cache says it has; None if they are of other images."""
        if about["key"] != self.key:
            return None
        return len(self.listing.files) - len(_bad(about)), self.channels, self.size, self.size

    def _decode(self, file: File) -> tuple[np.ndarray, bool] | tuple[None, str]:
        path = self.listing.folder / file.name
        try:
            return decoding.decode(path, self.size, self.channels, self.crop)
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return None, decoding.reason(path, error)


def _bad(about: dict[str, Any]) -> list[tuple[int, str]]:
    return [(int(i), str(reason)) for i, reason in about["bad"]]
