"""The data set of notes: 20,000 to train on and 2,000 held out, as log-mel spectrograms, with what is known of each.

A note of :mod:`ddim_edu.data.notes` becomes a grey image of 64 x 64 pixels with 8 bits: a step is a quarter of a
decibel. They are made once, in some minutes of one core, and kept (:mod:`ddim_edu.data.cache`). The truth is not kept:
it is a function of the numbers, as the notes are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddim_edu.data.cache import PixelCache
from ddim_edu.data.folder import FolderImages
from ddim_edu.data.notes import (
    CLASSES,
    HELDOUT,
    INSTRUMENTS,
    PARTS,
    RATE,
    SAMPLES,
    TRAIN,
    Note,
    draw_note,
    label_of,
    picture,
    render,
)  # fmt: skip
from ddim_edu.data.pictures import to_uint8
from ddim_edu.data.spectrograms import BANDS, FRAMES
from ddim_edu.processes import progress

FORMAT = 2  # whoever changes what a number becomes raises it
BLOCK = 100  # notes that become pictures at once
# Columns of the attributes and their units, int16: the number of the instrument, cents above MIDI number 0, hundredths
# of a decibel, and so on.
ATTRIBUTES = {
    "instrument": 1.0, "pitch": 0.01, "loudness": 0.01, "attack": 1e-4, "decay": 1e-3, "vibrato": 0.01, "onset": 1e-4,
    "length": 1e-4,
}  # fmt: skip


def sounds_of(indices: Sequence[int], part: str = "train") -> torch.Tensor:
    """The sounds of some notes of a part, ``(N, SAMPLES)`` float32; that of a note is the same in every selection.

    Args:
        indices: Their numbers.
        part: ``train`` or ``heldout``.
    """
    sounds = [render(draw_note(i, part), [PARTS[part], i, 1]) for i in indices]
    return torch.from_numpy(np.stack(sounds)) if sounds else torch.zeros(0, SAMPLES)


def attributes_of(note: Note) -> list[int]:
    """A row of the table of attributes; see ``ATTRIBUTES``."""
    values = vars(note) | {"instrument": INSTRUMENTS.index(note.instrument)}
    return [round(values[name] / unit) for name, unit in ATTRIBUTES.items()]


def read_notes(
    *, n_train: int = TRAIN, n_heldout: int = HELDOUT, cache_dir: Path | str | None = None
) -> tuple[FolderImages, np.ndarray]:
    """The data set, from the cache if it has been made before.

    Args:
        n_train: Notes to train on, numbers 0, 1, ...
        n_heldout: Held-out notes.
        cache_dir: Where to keep the pixels; by default where :mod:`ddim_edu.data.cache` says.

    Returns:
        Pixels ``(N, 1, 64, 64)`` uint8, labels and names of the classes, as of a folder; and the attributes ``(N, A)``
        int16.

    Raises:
        ValueError: One line, if the cache can't be written.
    """
    which = [(i, "train") for i in range(n_train)] + [(i, "heldout") for i in range(n_heldout)]
    notes = [draw_note(*one) for one in which]
    shape = (len(notes), 1, BANDS, FRAMES)
    about = {"format": FORMAT, "rate": RATE, "instruments": list(INSTRUMENTS), "train": n_train, "heldout": n_heldout}
    cache = PixelCache(cache_dir, f"notes-{FORMAT}-{n_train}-{n_heldout}")

    def shape_of(said: dict[str, Any]) -> tuple[int, ...] | None:
        return shape if {key: value for key, value in said.items() if key != "crc32"} == about else None

    found = cache.read(shape_of, "making the notes again")
    if found is None:
        with (
            cache.writing(math.prod(shape), "the notes") as add,
            progress(len(notes), "note", "making notes") as bar,
        ):
            for start in range(0, len(which), BLOCK):
                block = which[start : start + BLOCK]
                parts = {part: [i for i, p in block if p == part] for part in PARTS}
                sounds = torch.cat([sounds_of(indices, part) for part, indices in parts.items()])
                add(to_uint8(picture(sounds)).numpy())
                bar.update(len(block))
        cache.vouch(about)
    labels = np.array([label_of(note) for note in notes], np.int64)
    table = np.array([attributes_of(note) for note in notes], np.int16)
    return FolderImages(found[0] if found else cache.map(shape), labels, n_train, CLASSES), table
