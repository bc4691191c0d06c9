"""A folder of recordings as one array of whole numbers.

Each wav file becomes a log-mel spectrogram of :mod:`ddim_edu.data.spectrograms`, kept as a grey image of 64 x 64 pixels
with 8 bits: a step is a quarter of a decibel. Recordings are brought to the rate and length of a clip first; how many
were trimmed is said on stderr.

Where files are named ``{word}_{speaker}_{number}.wav``, as in the Free Spoken Digit Dataset, the class is the pair:
label ``word * speakers + speaker``, both sorted by name, and class names such as ``"3 george"``. The recordings with
numbers 0 to 4 are held out, which is that data set's own test set. Other names give one class, and every 50th file is
held out.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ddim_edu.data.folder import FolderImages
from ddim_edu.data.layout import HELDOUT_EVERY
from ddim_edu.data.pictures import to_uint8
from ddim_edu.data.spectrograms import log_mel, pad_or_trim, read_wav
from ddim_edu.processes import progress
from ddim_edu.streams import say

NAMED = re.compile(r"(?P<word>[^_]+)_(?P<speaker>[^_]+)_(?P<number>\d+)\.wav", re.IGNORECASE)
HELDOUT_NUMBERS = 5  # recordings 0 to 4 of each word by each speaker
SHIPPED = Path(__file__).parent.parent / "recordings"  # a few that come with the package, all of them held out


def holds_sounds(path: Path) -> bool:
    """Whether a path is a folder with wav files in it, or a zip archive."""
    if path.is_dir():
        return any(_is_wav(entry.name) for entry in path.iterdir())
    return path.is_file() and zipfile.is_zipfile(path)


def read_sounds(path: Path | str, *, max_bad: float = 0.0) -> FolderImages:
    """The recordings of a folder, or of a zip archive of one.

    Args:
        path: The folder, whose own files are read, or the archive, all of whose files are.
        max_bad: Largest share of recordings that may be unreadable or silent. They are left out, and a line on stderr
            says so.

    Raises:
        ValueError: In one line, if there are no recordings, some are named with word and speaker and some not, or too
            many are bad.
    """
    path = Path(path)
    names = sorted(name for name, _ in _files(path, read=False))
    if not names:
        raise ValueError(f"{path} holds no wav files")
    found = [NAMED.fullmatch(name) for name in names]
    if any(found) and not all(found):
        raise ValueError(
            f"{path} holds {names[found.index(None)]} beside {next(m for m in found if m)[0]}: "
            "name all as word_speaker_number.wav, or none"
        )
    pixels, bad = _listen(path, len(names))
    if bad:
        what = f"{len(bad):,} of {len(names):,} recordings in {path} can't be used: {bad[0]}"
        what += ", ..." if len(bad) > 1 else ""
        if len(bad) > max_bad * len(names):
            raise ValueError(f"{what}; remove them, or allow max_bad = {len(bad) / len(names):.2g}")
        say(f"{what}; left out", file=sys.stderr)
    names = [name for name in names if name in pixels]
    labels, held, classes = _label(path, names)
    order = [i for i in range(len(names)) if not held[i]] + [i for i in range(len(names)) if held[i]]
    n_train = len(names) - sum(held)
    if not 0 < n_train < len(names):
        raise ValueError(f"{path} holds {len(names)} recordings: it takes at least one to train on and one to hold out")
    array = np.stack([pixels[names[i]] for i in order])
    return FolderImages(array, np.array([labels[i] for i in order], dtype=np.int64), n_train, classes)


def _listen(path: Path, n: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """The pictures of n recordings by name, and what is wrong with those that have none."""
    pixels, bad, trimmed = {}, [], 0
    batch: dict[str, torch.Tensor] = {}

    def flush() -> None:
        if batch:
            pixels.update(zip(batch, to_uint8(log_mel(torch.stack(list(batch.values())))).numpy()))
            batch.clear()

    with progress(n, "file", "listening") as bar:
        for name, content in _files(path, read=True):
            bar.update()
            try:
                clip = pad_or_trim(read_wav(io.BytesIO(content), name=name))
            except ValueError as error:
                bad.append(f"{name} ({error})" if name not in str(error) else str(error))
                continue
            trimmed += "trimmed" in " ".join(clip.notes)
            batch[name] = clip.sound
            if len(batch) == 100:
                flush()
    flush()
    if trimmed:
        say(f"{trimmed:,} of {n:,} recordings in {path} are too long, and were trimmed", file=sys.stderr)
    return pixels, bad


def split_classes(classes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words and the speakers of class names such as ``"3 george"``, in the order of the labels; two empty tuples
    for others.
    """
    pairs = [name.split(" ") for name in classes]
    if not all(len(pair) == 2 for pair in pairs):
        return (), ()
    words, speakers = (tuple(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    return (words, speakers) if [[w, s] for w in words for s in speakers] == pairs else ((), ())


def find_recording(name_or_path: Path | str) -> Path:
    """The file of a recording that comes with the package, such as ``"3_nicolas_0"``, or else the path itself."""
    shipped = SHIPPED / f"{name_or_path}.wav"
    return shipped if shipped.is_file() and "/" not in str(name_or_path) else Path(name_or_path)


def _label(path: Path, names: list[str]) -> tuple[list[int], list[bool], tuple[str, ...]]:
    """Labels, which are held out, and the names of the classes."""
    every = [i % HELDOUT_EVERY == 0 for i in range(len(names))]
    found = [NAMED.fullmatch(name) for name in names]
    if not all(found):
        return [0] * len(names), every, (path.resolve().stem,)
    words, speakers = (sorted({match[part] for match in found}) for part in ("word", "speaker"))
    labels = [words.index(match["word"]) * len(speakers) + speakers.index(match["speaker"]) for match in found]
    held = [int(match["number"]) < HELDOUT_NUMBERS for match in found]
    return labels, held if 0 < sum(held) < len(held) else every, tuple(f"{w} {s}" for w in words for s in speakers)


def _files(path: Path, *, read: bool) -> Iterator[tuple[str, bytes]]:
    """Names of the wav files and what they hold, in the order of the names; a name that comes twice in an archive
    counts once.
    """
    if path.is_dir():
        for file in sorted(path.iterdir(), key=lambda file: file.name):
            if _is_wav(file.name):
                yield file.name, file.read_bytes() if read else b""
        return
    with zipfile.ZipFile(path) as archive:
        inside = {Path(name).name: name for name in archive.namelist() if _is_wav(Path(name).name)}
        for name in sorted(inside):
            yield name, archive.read(inside[name]) if read else b""


def _is_wav(name: str) -> bool:
    return name.lower().endswith(".wav") and not name.startswith(".")
