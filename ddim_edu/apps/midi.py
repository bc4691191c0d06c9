"""Tunes from MIDI files, for :mod:`ddim_edu.apps.melody`; needs the extra ``midi``: ``pip install "ddim_edu[midi]"``.

A tune has one note at a time. A file's part, the notes of one channel in one track, is read if it is such a tune:
chords are refused and not thinned out. How loud a note is, pedals and instruments are not read, and channel 10, which
plays drums, is left out. Changes of tempo are kept, as longer and shorter notes.

Source: the format is that of the Standard MIDI Files Specification 1.0 (MIDI Manufacturers Association, 1996); the
package mido reads its bytes.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddim_edu.apps.melody import MOST_BEATS, MOST_NOTES, Tone
from ddim_edu.data.notes import pitch_name
from ddim_edu.strangers import open_regular

ENDINGS = (".mid", ".midi")
MOST_BYTES = 2**20  # of a file
RUN = re.compile(rb"[\x80-\xff]{4096}")  # no number, and no text that one reads, has as many such bytes in a row
LONGEST = 2**28  # ticks from a message to the next that the format can say
DRUMS = 9  # the channel that is called 10
TEMPO = 500_000  # microseconds a beat, where a file says nothing
SLOWEST, FASTEST = 20, 400  # beats a minute
REST = 1 / 8  # of a beat: what is shorter between two notes is how they are played
OVERLAP = 1 / 4  # of a beat, at most, by which a note may reach into the next; more is two notes at once


class Event(NamedTuple):
    """A note as the file has it, in ticks."""

    start: int
    end: int
    pitch: int


class Part(NamedTuple):
    """What one channel plays in one track."""

    name: str
    events: list[Event]


class Tune(NamedTuple):
    """A tune of a MIDI file."""

    tones: list[Tone]
    """Its notes and rests, from the first note on; their beats are those of its first tempo."""
    tempo: float
    """Its first tempo, beats a minute."""


def read_tune(path: Path | str, part: int | None = None, shift: int = 0, lowest: int = 0, highest: int = 127) -> Tune:
    """The tune of a MIDI file of type 0 or 1.

    Args:
        path: The file.
        part: Which of its parts, from 1; None if it has one.
        shift: Semitones to move it by.
        lowest, highest: The range of MIDI numbers that can be played.

    Raises:
        ValueError: In one line that names file and place, if it is none, is cut off, has several parts or none, or a
            part that is no tune of single notes, or one that can't be played.
        OSError: If it can't be opened.
    """
    try:
        return _read_tune(Path(path), part, shift, (lowest, highest))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_tune(path: Path, number: int | None, shift: int, within: tuple[int, int]) -> Tune:
    file = _parsed(path)
    per_beat, parts = file.ticks_per_beat, _parts(file)
    part = parts[_chosen(parts, number)]
    events = sorted(part.events)
    if len(events) > MOST_NOTES:
        raise ValueError(f"a tune of {len(events):,} notes: give at most {MOST_NOTES:,}")
    clock = Clock(file)
    events = [Event(start, end, pitch + shift) for start, end, pitch in events]
    _check_pitches(events, per_beat, shift, within)
    tones, ends = [], [event.start for event in events[1:]]
    for i, (event, following) in enumerate(zip(events, [*ends, None], strict=True), 1):
        end = event.end if following is None else _end(event, following, events[i], per_beat)
        tones.append(Tone(event.pitch, clock.beats(event.start, end)))
        if following is not None and following > end:
            tones.append(Tone(None, clock.beats(end, following)))
        for tone in tones[-2:]:
            if not 0 < tone.beats <= MOST_BEATS:
                what = "a rest after it" if tone.midi is None else f"{pitch_name(event.pitch)}"
                raise ValueError(
                    f"note {i} of {len(events)}: {what} lasts {tone.beats:.6g} beats: give more than 0 and at most "
                    f"{MOST_BEATS}"
                )
    return Tune(tones, clock.tempo)


def _parsed(path: Path) -> Any:
    """What mido makes of a file that is not too large.

    Raises:
        ValueError: Without the file's name.
    """
    try:
        from mido import MidiFile
    except ImportError:
        raise ValueError('MIDI files are read by a package that is not there: pip install "ddim_edu[midi]"') from None
    with open_regular(path) as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"a MIDI file of more than {MOST_BYTES:,} bytes: give a smaller one")
    if not content.startswith(b"MThd") or RUN.search(content):
        raise ValueError("it is no MIDI file")
    stream = io.BytesIO(content)
    try:
        file = MidiFile(file=stream)
    except EOFError:
        raise ValueError("the MIDI file is cut off") from None
    except Exception as error:  # whatever mido trips over in somebody's bytes
        why = " ".join(str(error).split())[:80]
        raise ValueError(f"it is no MIDI file that can be read{f' ({why})' if why else ''}") from None
    if (left := stream.read()).strip(b"\0\x1a"):  # padding is usual
        raise ValueError(f"it says less than it holds: {len(left):,} bytes stand after its last track")
    if any(message.time >= LONGEST for track in file.tracks for message in track):
        raise ValueError("it is no MIDI file that can be read (a pause of more than four bytes can say)")
    if file.type == 2:
        raise ValueError("it is of type 2, whose tracks are tunes of their own: save it as type 0 or 1")
    if file.type not in (0, 1):
        raise ValueError(f"it is of type {file.type}: there are types 0, 1 and 2, and 0 and 1 are read")
    if file.ticks_per_beat <= 0:
        raise ValueError("it counts in frames of film and not in beats: save it with ticks per quarter note")
    return file


def _parts(file: Any) -> list[Part]:
    """The parts of a file, in the order of its tracks and channels."""
    found = []
    for number, track in enumerate(file.tracks, 1):
        name = "".join(c for c in track.name if c.isprintable()).strip()[:20]
        channels = _events(track)
        for channel in sorted(channels):
            where = f"track {number}" + (f", channel {channel + 1}" if len(channels) > 1 else "")
            found.append(Part(f"{where} {name!r}" if name else where, channels[channel]))
    return found


def _events(track: Any) -> dict[int, list[Event]]:
    """The notes of a track by channel: each lasts to the first message that ends it, or to the end of the track."""
    found: dict[int, list[Event]] = {}
    sounding: dict[tuple[int, int], list[int]] = {}
    now = 0
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        key = message.channel, message.note
        if message.type == "note_on" and message.velocity > 0:
            sounding.setdefault(key, []).append(now)
        elif sounding.get(key):
            found.setdefault(key[0], []).append(Event(sounding[key].pop(0), now, key[1]))
    for (channel, pitch), starts in sounding.items():
        found.setdefault(channel, []).extend(Event(start, now, pitch) for start in starts)
    return {channel: events for channel, events in found.items() if events}


def _chosen(parts: Sequence[Part], number: int | None) -> int:
    """The place of the part that is asked for, or of the only one."""
    if not parts:
        raise ValueError("there is no note in it (drums, channel 10, are not read)")
    if number is None and len(parts) == 1:
        return 0
    if number is None or not 1 <= number <= len(parts):
        each = "; ".join(f"{i}: {part.name}, {len(part.events)} notes" for i, part in enumerate(parts[:4], 1))
        more = "" if len(parts) <= 4 else f"; and {len(parts) - 4} more"
        many = f"{len(parts)} parts" if len(parts) > 1 else "one part"
        raise ValueError(f"it has {many}, name one with --part ({each}{more})")
    return number - 1


def _check_pitches(events: Sequence[Event], per_beat: int, shift: int, within: tuple[int, int]) -> None:
    low, high = within
    pitches = [event.pitch for event in events]
    for i, event in enumerate(events, 1):
        if low <= event.pitch <= high:
            continue
        name = pitch_name(event.pitch)
        remedy = "its notes span more than that"
        if max(pitches) - min(pitches) <= high - low:  # by octaves, if these do
            by = next((by for by in _moves(high - low) if low <= min(pitches) + by and max(pitches) + by <= high), 0)
            remedy = f"--transpose {shift + by} brings all of it there" if by else remedy
        raise ValueError(
            f"note {i} of {len(events)}, {name} at beat {event.start / per_beat + 1:.6g}, is out of range: give "
            f"{pitch_name(low)} to {pitch_name(high)} ({remedy})"
        )


def _moves(most: int) -> Iterator[int]:
    """Semitones to try: octaves first, then the smallest."""
    octaves = [12 * k * sign for k in range(1, 11) for sign in (-1, 1)]
    yield from octaves
    yield from (by * sign for by in range(1, 128) for sign in (-1, 1))


def _end(event: Event, following: int, after: Event, per_beat: int) -> int:
    """Where a note ends that is followed by another: there, if it is nearly so.

    Raises:
        ValueError: If both sound at once.
    """
    if event.start == following or event.end - following > OVERLAP * per_beat:
        names = f"{pitch_name(event.pitch)} and {pitch_name(after.pitch)}"
        raise ValueError(
            f"{names} sound together at beat {following / per_beat + 1:.6g}: a tune has one note at a time"
        )
    return event.end if following - event.end >= REST * per_beat else following


class Clock:
    """From ticks to time, by the tempos of a file.

    Args:
        file: From mido.

    Raises:
        ValueError: If a tempo is out of range.
    """

    def __init__(self, file: Any) -> None:
        self.per_beat: int = file.ticks_per_beat
        changes = {0: TEMPO}
        for track in file.tracks:
            now = 0
            for message in track:
                now += message.time
                if message.type == "set_tempo":
                    changes[now] = message.tempo
        self.starts = sorted(changes)
        self.speeds = [changes[start] for start in self.starts]
        for start, speed in zip(self.starts, self.speeds, strict=True):
            if not SLOWEST <= 6e7 / max(speed, 1) <= FASTEST:
                raise ValueError(
                    f"the tempo at beat {start / self.per_beat + 1:.6g} is {6e7 / max(speed, 1):.4g} beats a minute: "
                    f"give {SLOWEST} to {FASTEST}"
                )
        self.times = [0.0]  # microseconds at each change
        for i in range(1, len(self.starts)):
            self.times.append(
                self.times[-1] + (self.starts[i] - self.starts[i - 1]) / self.per_beat * self.speeds[i - 1]
            )

    @property
    def tempo(self) -> float:
        """The first, beats a minute."""
        return 6e7 / self.speeds[0]

    def beats(self, start: int, end: int) -> float:
        """How long it is from one tick to another, in beats of the first tempo."""
        return (self._time(end) - self._time(start)) / self.speeds[0]

    def _time(self, tick: int) -> float:
        i = bisect_right(self.starts, tick) - 1
        return self.times[i] + (tick - self.starts[i]) / self.per_beat * self.speeds[i]
