"""Tunes as words, ``"C4 E4 G4:2"``, and notes joined to tunes (chapter 21).

A note is a letter, sharps or flats, an octave, and after a colon how many beats it lasts, one if nothing is said:
``C4``, ``F#4:1/2``, ``Bb3:1.5``. Middle C is C4, MIDI number 60. ``R`` is a rest. Spaces or commas stand between notes,
and bars ``|`` are for the eye.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from ddim_edu.data.notes import pitch_name
from ddim_edu.measuring.notes import onset_of

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # semitones above C
SIGNS = {"#": 1, "♯": 1, "b": -1, "♭": -1}
NOTE = re.compile(r"(?P<letter>[A-Za-z])(?P<signs>[#♯b♭]*)(?P<octave>-?\d+)?(?::(?P<beats>.*))?", re.DOTALL)
MOST_NOTES = 1000
MOST_BEATS = 64  # of one note
MOST_SECONDS = 600  # of a tune
FADE = 0.03  # seconds in which a note ends where the next begins


class Tone(NamedTuple):
    """A note of a tune."""

    midi: int | None
    """Its MIDI number; None of a rest."""
    beats: float
    """How long it lasts."""


def parse_tune(text: str, lowest: int = 0, highest: int = 127) -> list[Tone]:
    """The notes of a tune in words.

    Args:
        text: See the head of this module.
        lowest, highest: The range of MIDI numbers that can be played.

    Raises:
        ValueError: In one line that names the note, if one can't be read or played, or there is none.
    """
    words = [word for word in re.split(r"[\s,|]+", text) if word]
    if len(words) > MOST_NOTES:
        raise ValueError(f"a tune of {len(words):,} notes: give at most {MOST_NOTES:,}")
    tones = []
    for i, word in enumerate(words, 1):
        try:
            tones.append(_tone(word, lowest, highest))
        except ValueError as error:
            raise ValueError(f"note {i} of {len(words)}: {error}") from None
    if not any(tone.midi is not None for tone in tones):
        raise ValueError("there is no note in the tune: give some, such as 'C4 E4 G4:2'")
    return tones


def midi_of(name: str) -> int:
    """The MIDI number of a name without a duration, such as ``"F#4"``.

    Raises:
        ValueError: In one line, if it is none.
    """
    found = _tone(name, 0, 127) if ":" not in name else None
    if found is None or found.midi is None:
        raise ValueError(f"{name!r} is not the name of one note: write it as C4, F#4 or Bb3")
    return found.midi


def _tone(word: str, lowest: int, highest: int) -> Tone:
    match = NOTE.fullmatch(word)
    if match is None:
        raise ValueError(f"{word[:20]!r} is no note: write a letter, sharps or flats, and an octave, as C4, F#4 or Bb3")
    letter, signs, octave = match["letter"].upper(), match["signs"], match["octave"]
    beats = _beats(word, match["beats"])
    if letter == "R" and not signs and octave is None:
        return Tone(None, beats)
    if letter not in LETTERS:
        also = " (H in German is B)" if letter == "H" else ""
        raise ValueError(f"{word[:20]!r} has no letter from A to G{also}")
    if octave is None:
        raise ValueError(f"{word[:20]!r} has no octave: {letter}{signs}4 is the one above middle C")
    midi = 12 * (int(octave[:4]) + 1) + LETTERS[letter] + sum(SIGNS[sign] for sign in signs)
    if not lowest <= midi <= highest:
        raise ValueError(f"{word[:20]!r} is out of range: give {pitch_name(lowest)} to {pitch_name(highest)}")
    return Tone(midi, beats)


def _beats(word: str, text: str | None) -> float:
    if text is None:
        return 1.0
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}|/\d{1,4})?", text) or re.search(r"/0+$", text):
        raise ValueError(f"{word[:20]!r} lasts {text[:12]!r} beats: give a number, such as 2, 1.5 or 1/2")
    beats = float(Fraction(text))
    if not 0 < beats <= MOST_BEATS:
        raise ValueError(f"{word[:20]!r} lasts {text[:12]} beats: give more than 0 and at most {MOST_BEATS}")
    return beats


def join(sounds: Tensor, tones: Sequence[Tone], tempo: float, rate: int, lead: float = 0.0) -> Tensor:
    """Notes, one after the other, each begun on its beat and faded out where the next begins.

    A note that is shorter than its beats is followed by silence.

    Args:
        sounds: ``(N, L)``, one for each tone that is no rest, in order.
        tones: From :func:`parse_tune`.
        tempo: Beats a minute.
        rate: Samples a second.
        lead: Seconds of each sound before its note begins. They are laid before the beat, so that the notes and not the
            sounds are in time; the result begins with them too.

    Returns:
        ``(M,)`` of the sounds' type.

    Raises:
        ValueError: If the numbers don't match, or the tune is too long.
    """
    if len(sounds) != sum(tone.midi is not None for tone in tones):
        raise ValueError(f"{len(sounds)} sounds for {sum(tone.midi is not None for tone in tones)} notes")
    if tempo <= 0 or float(sum(tone.beats for tone in tones)) * 60 / tempo > MOST_SECONDS:
        raise ValueError(f"at {tempo:g} beats a minute the tune is longer than {MOST_SECONDS} s: give a faster tempo")
    ahead, fade = round(lead * rate), round(FADE * rate)
    ends = torch.tensor([0.0, *[float(tone.beats) for tone in tones]], dtype=torch.float64).cumsum(0) * 60 / tempo
    beats = [round(end) for end in (ends * rate).tolist()]
    result = sounds.new_zeros(beats[-1] + ahead + fade)
    left = iter(sounds)
    for tone, start, stop in zip(tones, beats, beats[1:]):
        if tone.midi is None:
            continue
        sound = next(left)[: stop - start + ahead + fade].clone()
        last = min(len(sound), fade)
        sound[len(sound) - last :] *= torch.linspace(1, 0, last, dtype=sound.dtype)
        result[start : start + len(sound)] += sound
    return result


def aligned(sounds: Tensor, rate: int, lead: float) -> Tensor:
    """Sounds moved so that all begin at one time, as :func:`ddim_edu.measuring.notes.onset_of` hears it.

    Args:
        sounds: ``(N, L)``; a silent one stays as it is.
        rate: Samples a second.
        lead: Seconds of silence before the notes.

    Returns:
        ``(N, L)``: what moves beyond an end is lost, and silence comes in.
    """
    moved = torch.zeros_like(sounds)
    for sound, onset, result in zip(sounds, onset_of(sounds, rate).nan_to_num(lead).tolist(), moved):
        by = round((lead - onset) * rate)
        if by >= 0:
            result[by:] = sound[: len(sound) - by]
        else:
            result[:by] = sound[-by:]
    return moved
