"""What a folder of images holds, by the names in it: files, classes, and what is held out.

Three layouts are known::

    folder/train/cat/1.png  folder/train/dog/2.jpg  folder/test/cat/3.png     parts, with classes or without
    folder/cat/1.png        folder/dog/2.jpg                                  classes
    folder/1.png            folder/2.jpg                                      neither

**The rule.** A folder at the top is *for training* if it is called train or training, and *held out* if it is called
heldout, test, testing, val, valid, validation, dev, eval or evaluation; upper and lower case are alike, and set, data,
images, imgs, split or a number may follow (``Train``, ``test-set``, ``val2017``).

- With one folder for training and one held out, the folder is in parts. Of several held out the first in the order
  above counts. No other folder is read.
- With a folder for training and nothing else, what is held out is drawn from it.
- Without either, the top folders are the classes; without folders there is one class.
- All else can be read in two ways, and is refused until the option ``layout`` says which: ``parts`` or ``classes``.
  So are parts inside of classes (``cat/train``, ``cat/test``), and names that only hint at parts (``seg_train`` beside
  ``seg_test``).

**Held out by lot.** Where no folder is held out, a 50th of the images of each class is, rounded up (of more than
500,000 images a smaller share: about 10,000 in all). The lot is a hash of the file's name: the same everywhere,
whatever is added. A class of one image keeps it for training.

**Classes** are sorted by name, and numbers in names as numbers: label 0 is the first. What lies deeper belongs to the
class above it. Names that start with a dot are passed over, as are files whose ending none of
``decoding.FORMATS`` has; the latter are counted.

``layout = "old"`` is how version 0.1.0 read, for runs that were begun so: names of parts in lower case only (train;
heldout, test, val), every 50th image of the sorted names held out, classes sorted as text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddim_edu.data.decoding import endings
from ddim_edu.data.walk import File, walk

HELDOUT_EVERY = 50
HELDOUT_MOST = 10_000
LAYOUTS = ("auto", "parts", "classes", "old")
TRAIN_NAMES = ("train", "training")
HELDOUT_NAMES = (
    ("heldout", "held-out", "held_out"),
    ("test", "testing"),
    ("val", "valid", "validation"),
    ("dev",),
    ("eval", "evaluation"),
)
OLD_HELDOUT_NAMES = ("heldout", "test", "val")
_FOLLOWS = re.compile(r"[-_ .]?(set|data|images|imgs|split|\d+)?")


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
        unreadable: Folders that can't be listed, and why.
        taken_as: What was taken as parts and as classes, in words.
    """

    folder: Path
    files: list[File]
    labels: list[int]
    n_train: int
    classes: tuple[str, ...]
    ignored: Counter[str]
    unreadable: list[tuple[str, str]]
    taken_as: str


@dataclass(frozen=True)
class _Parts:
    """A reading of a folder's top: what is to train on, and what is held out (None: drawn by lot)."""

    train: str
    heldout: str | None


def list_images(folder: Path, layout: str = "auto") -> Listing:
    """The images of a folder, without opening one.

    Args:
        folder: The folder.
        layout: One of ``LAYOUTS``, see above.

    Raises:
        ValueError: One line, if there is no such folder, no image in it, or its layout is unclear.
        OSError: If the folder can't be listed.
    """
    if not folder.is_dir():
        if folder.exists():
            raise ValueError(f"{folder} is a file: unpack it if it is an archive, and name the folder of the images")
        raise ValueError(f"there is no folder {folder}")
    found, known = walk(folder), endings()
    ignored: Counter[str] = Counter()
    files = []
    for file in found.files:
        _, dot, ending = file.name.lower().rpartition(".")
        if dot + ending in known:
            files.append(file)
        else:
            ignored[dot + ending if dot and "/" not in ending else "no ending"] += 1
    if not files:
        raise ValueError(_nothing(folder, ignored, found.unreadable))
    files.sort()  # by name, first of all
    top = _by_top(files)
    parts = _old_parts(folder, top) if layout == "old" else _read_top(folder, top, layout)
    read = files if parts is None else [file for name in (parts.train, parts.heldout) for file in top.get(name, ())]
    if layout == "auto":
        _refuse_inner_parts(folder, files if parts is None else top[parts.train], 0 if parts is None else 1)
    in_order = sorted if layout == "old" else sorted_names
    if parts is not None and parts.heldout is not None:
        files, labels, n_train, classes = _in_parts(folder, top[parts.train], top[parts.heldout], parts, in_order)
    else:
        depth = 0 if parts is None else 1
        classes, labels = _label(folder, read, depth, in_order)
        held = set(_every_50th(len(read)) if layout == "old" else _by_lot(read, labels, len(classes)))
        order = [i for i in range(len(read)) if i not in held] + sorted(held)
        files, labels, n_train = [read[i] for i in order], [labels[i] for i in order], len(read) - len(held)
    said = [_in_words(parts, files[0].name.count("/"), layout)]
    passed = {name: len(those) for name, those in top.items() if parts and name not in (parts.train, parts.heldout)}
    if passed:
        said.append("not read: " + _some(f"{name or 'images beside them'} ({n:,})" for name, n in passed.items()))
    empty = _empty(found.folders, files, parts, passed)
    if empty:
        said.append("no images in " + _some(empty))
    if found.again:
        said.append("read once: " + _some(f"{name} is {first}" for name, first in found.again))
    return Listing(folder, files, labels, n_train, classes, ignored, found.unreadable, "; ".join(said))


def role(name: str) -> int | None:
    """What a folder's name says: 0 for training, 1, 2, ... held out in the order of ``HELDOUT_NAMES``, or None."""
    text = name.casefold()
    for number, words in enumerate([TRAIN_NAMES, *HELDOUT_NAMES]):
        if any(text.startswith(word) and _FOLLOWS.fullmatch(text[len(word) :]) for word in words):
            return number
    return None


def sorted_names(names: Iterable[str]) -> list[str]:
    """Names in order, numbers in them as numbers: 2 before 10, -1 before 0.5, frame2 before frame10."""
    names = list(names)
    if all(re.fullmatch(r"[-+]?\d+([.]\d+)?", name, re.ASCII) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    # Split so, every second piece is a number, whatever the name.
    pieces = {name: re.split(r"([0-9]+)", name) for name in names}
    return sorted(names, key=lambda name: ([int(p) if i % 2 else p for i, p in enumerate(pieces[name])], name))


def _by_top(files: list[File]) -> dict[str, list[File]]:
    """Files by the folder at the top that they lie in; "" for none."""
    top: dict[str, list[File]] = {}
    for file in files:
        top.setdefault(file.name.partition("/")[0] if "/" in file.name else "", []).append(file)
    return top


def _read_top(folder: Path, top: dict[str, list[File]], layout: str) -> _Parts | None:
    """The parts of a folder; None if there are none.

    Raises:
        ValueError: If it can be read in two ways, and ``layout`` does not say which; or not as it says.
    """
    names = sorted_names(name for name in top if name)
    train = [name for name in names if role(name) == 0]
    heldout = sorted((name for name in names if role(name)), key=lambda name: role(name) or 0)
    if layout == "classes" or (layout == "auto" and not train and not heldout and not _hints(names)):
        return None
    if not train and not heldout and layout == "auto":
        raise ValueError(
            f"{folder} can be read in two ways: {_some(_hints(names))} are parts (call them train and test then), "
            "or classes (--layout classes)"
        )
    if not train:
        held = f"the folder {heldout[0]!r} to be held out, and " if heldout else ""
        raise ValueError(
            f"{folder} has {held}no images in a folder for training: call that 'train', "
            f"or take {_some(names) or 'them'} as classes with --layout classes"
        )
    rivals = train if len(train) > 1 else [name for name in heldout if role(name) == role(heldout[0])]
    if len(rivals) > 1:
        raise ValueError(
            f"{folder} has both {_some(rivals)} for the same part: leave one under such a name, "
            "or take all as classes with --layout classes"
        )
    if layout == "auto" and not heldout and len(top) > 1:
        others = _some([name for name in names if name not in train] or ["the images beside it"])
        raise ValueError(
            f"{folder} can be read in two ways: {train[0]!r} is the part to train on and {others} is not read "
            f"(--layout parts), or all are classes (--layout classes)"
        )
    return _Parts(train[0], heldout[0] if heldout else None)


def _hints(names: Sequence[str]) -> list[str]:
    """Names in which a word says train, or held out, if there are some of both: seg_train and seg_test, trainA and
    testA.
    """
    found: dict[bool, list[str]] = {}
    for name in names:
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name):
            if role(word) is not None:
                found.setdefault(role(word) == 0, []).append(name)
                break
    return [name for names in found.values() for name in names] if len(found) == 2 else []


def _refuse_inner_parts(folder: Path, files: list[File], depth: int) -> None:
    """A check that no class is in parts, of which one would be trained on and should not."""
    inner: dict[str, set[str]] = {}
    as_they_are = "parts" if depth else "classes"
    for file in files:
        levels = file.name.split("/")[:-1]
        for at in range(depth, min(depth + 2, len(levels))):  # beside the classes, and in them
            if at:
                inner.setdefault("/".join(levels[:at]), set()).add(levels[at])
    for above, names in inner.items():
        roles = {role(name): name for name in names}
        if 0 in roles and any(roles):
            held = next(name for number, name in roles.items() if number)
            raise ValueError(
                f"{folder} has parts inside of {above} ({roles[0]}, {held}): put the parts above the classes, name "
                f"{folder / above} if that is all, or take them as they are with --layout {as_they_are}"
            )


def _old_parts(folder: Path, top: dict[str, list[File]]) -> _Parts | None:
    """The parts by the rule of version 0.1.0."""
    heldout = next((name for name in OLD_HELDOUT_NAMES if name in top), None)
    if heldout is not None and "train" not in top:
        raise ValueError(f"{folder} has a folder {heldout!r} but none named 'train': name the part to train on so")
    return _Parts("train", heldout) if "train" in top else None


def _in_parts(
    folder: Path, train: list[File], heldout: list[File], parts: _Parts, in_order: Callable[[set[str]], list[str]]
) -> tuple[list[File], list[int], int, tuple[str, ...]]:
    """Files, labels, how many are to train on, and the classes, of a folder that has a part held out."""
    classes, labels = _label(folder, train, 1, in_order)
    held_classes, held_labels = _label(folder, heldout, 1, in_order)
    if (train[0].name.count("/") == 1) != (heldout[0].name.count("/") == 1):
        raise ValueError(
            f"{folder} has classes in only one of {parts.train!r} and {parts.heldout!r}: give both the same layout"
        )
    unknown = [name for name in held_classes if name not in classes]
    if unknown:
        raise ValueError(
            f"{folder / parts.heldout} has the class {unknown[0]!r}, which {folder / parts.train} has no images of"
        )
    labels += [classes.index(held_classes[label]) for label in held_labels]
    return train + heldout, labels, len(train), classes


def _label(
    folder: Path, files: list[File], depth: int, in_order: Callable[[set[str]], list[str]]
) -> tuple[tuple[str, ...], list[int]]:
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
    classes = tuple(in_order({parts[0] for parts in where}))
    numbers = {name: i for i, name in enumerate(classes)}
    return classes, [numbers[parts[0]] for parts in where]


def _share(n: int) -> int:
    """Of how many images one is held out."""
    return max(HELDOUT_EVERY, math.ceil(n / HELDOUT_MOST))


def _every_50th(n: int) -> range:
    return range(0, n, _share(n))


def _by_lot(files: list[File], labels: list[int], classes: int) -> list[int]:
    """Which files are held out: of each class those whose names have the smallest hashes."""
    lots = [hashlib.blake2b(file.name.encode(errors="surrogateescape")).digest() for file in files]
    members: list[list[int]] = [[] for _ in range(classes)]
    for i in sorted(range(len(files)), key=lots.__getitem__):
        members[labels[i]].append(i)
    every = _share(len(files))
    return [i for those in members if len(those) > 1 for i in those[: math.ceil(len(those) / every)]]


def _in_words(parts: _Parts | None, depth: int, layout: str) -> str:
    """What was taken as what."""
    lot = f"every {HELDOUT_EVERY}th image held out" if layout == "old" else "held out by lot"
    if parts is None:
        return f"a class for each folder, {lot}" if depth else f"one class, {lot}"
    held = lot if parts.heldout is None else f"{parts.heldout!r} held out"
    classes = "a class for each folder in them" if depth > 1 else "one class"
    return f"{parts.train!r} to train on, {held}, {classes}"


def _empty(folders: list[str], files: list[File], parts: _Parts | None, passed: Mapping[str, int]) -> list[str]:
    """Folders that would be classes, or parts, if they held images."""
    full = {name for file in files for name in _above(file.name)}
    if parts is None:
        would_be = [name for name in folders if "/" not in name]
    else:
        would_be = [name for name in folders if name.count("/") == 1 and name.split("/")[0] == parts.train]
        would_be += [name for name in folders if "/" not in name and role(name) is not None and name not in passed]
    return sorted_names(name for name in would_be if name not in full)


def _above(name: str) -> list[str]:
    levels = name.split("/")[:-1]
    return ["/".join(levels[: i + 1]) for i in range(min(2, len(levels)))]


def _nothing(folder: Path, ignored: Counter[str], unreadable: list[tuple[str, str]]) -> str:
    """What to say of a folder without images."""
    others = [counts(ignored)] if ignored else []
    others += [f"{name} can't be listed, {why}" for name, why in unreadable[:1]]
    but = f" (but {'; '.join(others)})" if others else ""
    said = f"{folder} holds no images{but}: "
    if ignored[".wav"]:
        return said + "its wav files are read if they lie in the folder that is named, or one below"
    if any(ignored[ending] for ending in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")):
        return said + "unpack the archive"
    return said + "name a folder with image files, or with sub-folders of them"


def counts(endings: Counter[str]) -> str:
    """How many files of which ending, in words."""
    shown = ", ".join(f"{ending} ({count:,})" for ending, count in endings.most_common(3))
    return f"{endings.total():,} other files: {shown}{', ...' if len(endings) > 3 else ''}"


def _some(names: Iterable[str], most: int = 4) -> str:
    """The first few names, and that there are more."""
    names = list(names)
    return ", ".join(names[:most]) + (f", ... ({len(names):,} in all)" if len(names) > most else "")
