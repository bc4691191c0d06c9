"""What a folder of images holds, by the names in it: files, classes, and what is held out.

Three layouts are known::

    folder/train/cat/1.png  folder/train/dog/2.jpg  folder/test/cat/3.png     parts, with classes or without
    folder/cat/1.png        folder/dog/2.jpg                                  classes
    folder/1.png            folder/2.jpg                                      neither

Beside ``train`` the held-out part is ``heldout``, ``test`` or ``val``, the first of these that is there; no other
folder beside ``train`` is read. Without a held-out part, every 50th image of the sorted names is held out, the first of
them included (of more than 500,000, evenly spaced ones: at most 10,000). Classes are the sub-folders' names, sorted:
label 0 is the first. What lies deeper belongs to the class above it. Names that start with a dot are passed over, as
are files whose ending no image format of Pillow has; the latter are counted.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

HELDOUT_EVERY = 50
HELDOUT_MOST = 10_000
HELDOUT_NAMES = ("heldout", "test", "val")

# Formats that Pillow can name but not read by itself, or that are no still images.
_NOT_IMAGES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}


class File(NamedTuple):
    """A file below a folder.

    Attributes:
        name: Its name below the folder, with "/".
        size: In bytes.
        mtime_ns: When it was last changed.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Attributes:
        folder: The folder.
        files: Those to train on first, then those held out.
        labels: Class of each.
        n_train: How many are to train on.
        classes: Names of the labels.
        ignored: How many other files there are, by ending.
    """

    folder: Path
    files: list[File]
    labels: list[int]
    n_train: int
    classes: tuple[str, ...]
    ignored: Counter[str]


def list_images(folder: Path) -> Listing:
    """The images of a folder, without opening one.

    Raises:
        ValueError: One line, if there is no such folder, no image in it, or its layout is unclear.
        OSError: If the folder can't be listed.
    """
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
        others = f" (but {counts(ignored)})" if ignored else ""
        raise ValueError(
            f"{folder} holds no images{others}: name a folder with image files, or with sub-folders of them"
        )
    files.sort()  # by name, first of all
    parts: dict[str, list[File]] = {}
    for file in files:
        parts.setdefault(file.name.partition("/")[0] if "/" in file.name else "", []).append(file)
    held_name = next((name for name in HELDOUT_NAMES if name in parts), None)
    if "train" in parts and held_name is not None:
        return _in_parts(folder, parts["train"], parts[held_name], held_name, ignored)
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
    return Listing(folder, [files[i] for i in order], [labels[i] for i in order], n_train, classes, ignored)


def _in_parts(folder: Path, train: list[File], heldout: list[File], held_name: str, ignored: Counter[str]) -> Listing:
    """The listing of a folder that has a part to train on and one held out."""
    classes, labels = _label(folder, train, depth=1)
    held_classes, held_labels = _label(folder, heldout, depth=1)
    if (train[0].name.count("/") == 1) != (heldout[0].name.count("/") == 1):
        raise ValueError(f"{folder} has classes in only one of 'train' and {held_name!r}: give both the same layout")
    unknown = sorted(set(held_classes) - set(classes))
    if unknown:
        raise ValueError(
            f"{folder / held_name} has the class {unknown[0]!r}, which {folder / 'train'} has no images of"
        )
    labels += [classes.index(held_classes[label]) for label in held_labels]
    return Listing(folder, train + heldout, labels, len(train), classes, ignored)


def _label(folder: Path, files: list[File], depth: int) -> tuple[tuple[str, ...], list[int]]:
    """Classes and labels of files, whose class is the part of the name at ``depth``; one class if none has it."""
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


def _walk(folder: Path) -> list[File]:
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
                files.append(File(prefix + name, found.st_size, found.st_mtime_ns))
    return files


def _endings() -> set[str]:
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if name in Image.OPEN and name not in _NOT_IMAGES
    }


def counts(endings: Counter[str]) -> str:
    """How many files of which ending, in words."""
    shown = ", ".join(f"{ending} ({count:,})" for ending, count in endings.most_common(3))
    return f"{endings.total():,} other files: {shown}{', ...' if len(endings) > 3 else ''}"
