"""A folder of recordings as one array of whole numbers.

Each wav file becomes a log-mel spectrogram of :mod:`ddim_edu.data.spectrograms`, kept as a grey image of 64 x 64 pixels
with 8 bits: a step is a quarter of a decibel. Recordings are brought to the rate and length of a clip first; how many
were trimmed is said on stderr. Which files are read says :mod:`ddim_edu.data.sound_files`; their classes and what is
held out say their names. Of these layouts the first that fits is taken::

    folder/3_george_0.wav          word_speaker_number, as in the Free Spoken Digit Dataset; folders don't matter
    folder/yes/a1b2c3d4_nohash_0.wav    the folder is the class, as in Speech Commands; or any other names in folders
    folder/anything.wav            one class

A class of words and speakers is the pair: label ``word * speakers + speaker``, both sorted by name, numbers as numbers,
and class names such as ``"3 george"``. A space within a word, a speaker or a folder's name is ``_`` in the name of the
class.

Held out is, again the first that fits: what lies in folders ``test``, ``testing``, ``heldout``, ``val``, ``valid``,
``validation`` or ``dev`` beside ``train`` or ``training``, the classes within them; what ``testing_list.txt`` and
``validation_list.txt`` name; of Speech Commands without these lists, the fifth of the speakers that their rule (Warden
2018: a hash of the speaker) sets aside for validation and test; of words and speakers, numbers 0 to 4, which is that
data set's own test set; otherwise every 50th file of each class that has two.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ddim_edu.data.folder import FolderImages, or_allow
from ddim_edu.data.layout import HELDOUT_EVERY
from ddim_edu.data.pictures import to_uint8
from ddim_edu.data.sound_files import SoundFiles, ending_of, images, sound_files, walk
from ddim_edu.data.spectrograms import log_mel, pad_or_trim, read_wav
from ddim_edu.processes import progress
from ddim_edu.streams import say

NAMED = re.compile(r"(?P<word>[^_]+)_(?P<speaker>[^_]+)_(?P<number>\d+)\.wav", re.IGNORECASE)
NOHASH = re.compile(r"(?P<speaker>.+)_nohash_(?P<number>\d+)\.wav", re.IGNORECASE)  # Speech Commands' names
HELDOUT_NUMBERS = 5  # recordings 0 to 4 of each word by each speaker
TRAIN_NAMES = {"train", "training"}
HELDOUT_NAMES = {"heldout", "test", "testing", "val", "valid", "validation", "dev"}
LISTS = ("validation_list.txt", "testing_list.txt")
SHIPPED = Path(__file__).parent.parent / "recordings"  # a few that come with the package, all of them held out
_LOOK = 10_000  # files that are looked at to tell sounds from images


class _Layout(NamedTuple):
    """What the names of recordings say: labels and whether held out, of each; and the names of the classes."""

    labels: list[int]
    held: list[bool]
    classes: tuple[str, ...]
    said: str  # by what, in words; nothing where the names alone say all


def holds_sounds(path: Path) -> bool:
    """Whether a path is one of recordings: a folder with wav files somewhere in it, a zip archive, or a wav file.

    Raises:
        ValueError: In one line, if it holds images as well, and neither are a few among the others.
    """
    if not path.is_dir():
        return path.is_file() and (path.suffix.lower() in (".wav", ".zip") or zipfile.is_zipfile(path))
    endings = Counter(ending_of(name) for name in walk(path, _LOOK))
    wavs, pictures = endings[".wav"], images(endings)
    few, many = sorted((wavs, pictures))
    if few and 10 * few > many and (few > 1 or many == 1):
        raise ValueError(f"{path} holds {wavs:,} wav files and {pictures:,} images: give each a folder of their own")
    return wavs > pictures


def read_sounds(path: Path | str, *, max_bad: float = 0.0) -> FolderImages:
    """The recordings of a folder, or of a zip archive of one.

    Args:
        path: The folder or archive.
        max_bad: Largest share of recordings that may be unreadable or silent. They are left out, and a line on stderr
            says so.

    Raises:
        ValueError: In one line, if there are no recordings, their names don't agree with each other, or too many are
            bad.
    """
    path = Path(path)
    files = sound_files(path)
    layout = _layout(files)  # what is wrong with it is said before the work
    pixels, bad = _listen(files)
    n = len(files.names)
    if bad:
        what = f"{len(bad):,} of {n:,} recordings in {path} can't be used: {bad[0]}"
        what += ", ..." if len(bad) > 1 else ""
        if len(bad) > max_bad * n:
            raise ValueError(f"{what}; remove them{or_allow(len(bad), n)}")
        say(f"{what}; left out", file=sys.stderr)
    if len(pixels) < n:
        files.names = [name for name in files.names if name in pixels]
        layout = _layout(files)
    n_train = _check(path, layout)
    order = np.argsort(layout.held, kind="stable")
    array = np.stack([pixels[files.names[i]] for i in order])
    return FolderImages(array, np.array(layout.labels, dtype=np.int64)[order], n_train, layout.classes)


def _check(path: Path, layout: _Layout) -> int:
    """How many are to train on, after saying what was taken as what where more than the names decides."""
    n, held = len(layout.held), sum(layout.held)
    if not 0 < held < n:
        raise ValueError(f"{path} holds {n} recordings: it takes at least one to train on and one to hold out")
    counted = Counter(label for label, out in zip(layout.labels, layout.held) if not out)
    if layout.said:
        shown = [f"{name} {counted[i]:,}" for i, name in enumerate(layout.classes)]
        shown = [*shown[:6], *(["..."] if len(shown) > 6 else [])]
        classes = f"{len(layout.classes):,} class{'es' if len(layout.classes) > 1 else ''}"
        say(
            f"{path}: {n - held:,} recordings to train on in {classes} ({', '.join(shown)}), {held:,} held out; "
            f"{layout.said}",
            file=sys.stderr,
        )
    empty = [name for i, name in enumerate(layout.classes) if not counted[i]]
    if empty:
        first = ", ".join([*empty[:6], *(["..."] if len(empty) > 6 else [])])
        say(f"{path}: no recording to train on for {len(empty):,} of the classes: {first}", file=sys.stderr)
    return n - held


def _listen(files: SoundFiles) -> tuple[dict[str, np.ndarray], list[str]]:
    """The pictures of recordings by name, and what is wrong with those that have none."""
    n, trimmed = len(files.names), 0
    pixels: dict[str, np.ndarray] = {}
    bad: list[str] = []
    batch: dict[str, torch.Tensor] = {}

    def flush() -> None:
        if batch:
            pixels.update(zip(batch, to_uint8(log_mel(torch.stack(list(batch.values())))).numpy()))
            batch.clear()

    with progress(n, "file", "listening") as bar:
        for name in files.names:
            bar.update()
            try:
                with files.open(name) as file:
                    clip = pad_or_trim(read_wav(file, name=name))
            except ValueError as error:
                bad.append(f"{name} ({error})" if name not in str(error) else str(error))
                continue
            trimmed += "trimmed" in " ".join(clip.notes)
            batch[name] = clip.sound
            if len(batch) == 100:
                flush()
    flush()
    if trimmed:
        say(f"{trimmed:,} of {n:,} recordings in {files.path} are too long, and were trimmed", file=sys.stderr)
    return pixels, bad


def split_classes(classes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words and the speakers of class names such as ``"3 george"``, in the order of the labels.

    Names without a space are words by one speaker without a name, ``""``. Two empty tuples for others.
    """
    pairs = [name.split(" ") for name in classes]
    if classes and all(len(pair) == 1 for pair in pairs):
        return tuple(classes), ("",)
    if not all(len(pair) == 2 for pair in pairs):
        return (), ()
    words, speakers = (tuple(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    if [[w, s] for w in words for s in speakers] != pairs:
        return (), ()
    return tuple(word.replace("_", " ") for word in words), tuple(name.replace("_", " ") for name in speakers)


def find_recording(name_or_path: Path | str) -> Path:
    """The file of a recording that comes with the package, such as ``"3_nicolas_0"``, or else the path itself."""
    shipped = SHIPPED / f"{name_or_path}.wav"
    return shipped if shipped.is_file() and "/" not in str(name_or_path) else Path(name_or_path)


def _layout(files: SoundFiles) -> _Layout:
    """What the names of the recordings say.

    Raises:
        ValueError: In one line, if they say two things.
    """
    held, names = _parts(files)
    folders = [name.rpartition("/")[0].partition("/")[0] for name in names]
    named = [NAMED.fullmatch(name.rpartition("/")[2]) for name in names]
    spoken = [NOHASH.fullmatch(name.rpartition("/")[2]) for name in names]
    pairs = Counter((match["word"], match["speaker"]) for match in named if match)
    path, by_folder = files.path, any(folders)
    if by_folder and not all(folders):
        loose, inner = names[folders.index("")], next(name for name, folder in zip(names, folders) if folder)
        raise ValueError(
            f"{path} holds recordings beside folders of them ({loose} and {inner}): put all in folders, or none"
        )
    if all(named) and not all(spoken):
        if by_folder and len(pairs) < len(set(folders)):
            raise ValueError(
                f"{path} holds {names[0]}: by its name the class is {' '.join(next(iter(pairs)))}, by its folder "
                f"{folders[0]}; rename the files, or put all in one folder"
            )
        labels, classes = _pairs([match for match in named if match])
        said = "by word and speaker in their names" if by_folder or held else ""
    elif by_folder:
        labels, classes = _by_folder(path, folders)
        said = "by folder"
    else:
        if any(named) and not all(named):
            raise ValueError(
                f"{path} holds {names[named.index(None)]} beside {next(m for m in named if m)[0]}: "
                "name all as word_speaker_number.wav, or none"
            )
        labels, classes, said = [0] * len(names), (files.top.replace(" ", "_"),), ""
    if held:
        return _Layout(labels, held, classes, f"classes {said or 'none'}, held out by folder{_also(files)}")
    held, how = _held_out(files, labels, None if all(spoken) else named, spoken)
    return _Layout(labels, held, classes, f"classes {said}, held out {how}{_also(files)}" if said else "")


def _parts(files: SoundFiles) -> tuple[list[bool], list[str]]:
    """Which recordings lie in a folder for what is held out, nothing if there is none such; and the names within."""
    tops = {name.partition("/")[0] for name in files.names if "/" in name}
    train, held = ({top for top in tops if top.lower() in known} for known in (TRAIN_NAMES, HELDOUT_NAMES))
    if not held or not (train or held == tops):
        return [], files.names
    if not train or train | held != tops or any("/" not in name for name in files.names):
        beside = f" beside {min(tops - held - train)!r}" if tops - held - train else ""
        raise ValueError(
            f"{files.path} has a folder {min(held)!r}{beside}, which may be a class or a part: for parts, put the "
            "classes into folders train and test; for classes, rename it"
        )
    return [name.partition("/")[0] in held for name in files.names], [name.partition("/")[2] for name in files.names]


def _pairs(named: list[re.Match]) -> tuple[list[int], tuple[str, ...]]:
    """Labels and classes by word and speaker. No part of a name holds ``_``, so that a space can become one."""
    words, speakers = (sorted({match[part] for match in named}, key=_in_order) for part in ("word", "speaker"))
    labels = [words.index(match["word"]) * len(speakers) + speakers.index(match["speaker"]) for match in named]
    return labels, tuple(f"{w.replace(' ', '_')} {s.replace(' ', '_')}" for w in words for s in speakers)


def _by_folder(path: Path, folders: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels and classes by folder."""
    classes = sorted(set(folders), key=_in_order)
    named = [name.replace(" ", "_") for name in classes]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise ValueError(f"{path} has two folders that the class {twice} could mean: rename one")
    number = {name: i for i, name in enumerate(classes)}
    return [number[folder] for folder in folders], tuple(named)


def _held_out(
    files: SoundFiles, labels: list[int], named: list[re.Match | None] | None, spoken: list[re.Match | None]
) -> tuple[list[bool], str]:
    """Which recordings are held out, and by what rule."""
    listed = {name for text in LISTS if text in files.texts for name in files.lines(text)}
    choices = [
        ([name in listed for name in files.names], "by " + " and ".join(text for text in LISTS if text in files.texts))
    ]
    if all(spoken):
        choices.append(([set_aside(match["speaker"]) for match in spoken if match], "by the hash of the speaker"))
    elif named and all(named):
        choices.append(([int(match["number"]) < HELDOUT_NUMBERS for match in named if match], "by number"))
    for held, how in choices:
        if 0 < sum(held) < len(held):
            return held, how
    sizes, held = Counter(labels), []
    rank: Counter[int] = Counter()
    for label in labels:
        held.append(rank[label] % HELDOUT_EVERY == 0 and sizes[label] > 1)
        rank[label] += 1
    return held, f"every {HELDOUT_EVERY}th of a class"


def set_aside(speaker: str, share: float = 20.0) -> bool:
    """Whether Speech Commands' rule sets a speaker aside for validation or test: 10% each, by the SHA-1 of the name.

    Source: P. Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*, 2018, arXiv 1804.03209,
    and the README of the data set.
    """
    most = 2**27 - 1
    number = int(hashlib.sha1(speaker.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest(), 16)
    return number % (most + 1) * (100 / most) < share


def _also(files: SoundFiles) -> str:
    """What was passed over, for the end of a line."""
    pictures = images(files.others)
    found = [*files.skipped, *([f"{pictures:,} image{'s' if pictures > 1 else ''}"] if pictures else [])]
    return f"; passed over: {', '.join(found)}" if found else ""


def _in_order(name: str) -> tuple[bool, int, str]:
    """A key that sorts numbers as numbers, before other names."""
    number = name.isascii() and name.isdigit() and len(name) < 20
    return not number, int(name) if number else 0, name
