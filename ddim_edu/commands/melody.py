"""A tune, note by note: ``python -m ddim_edu.apps melody "C4 E4 G4:2" --instrument flute`` (chapter 21).

Each note is one sound, and they are laid on their beats. ``--truth`` makes the notes by their formulas, without a
model. In place of the notes may stand a MIDI file, ``tune.mid`` (:mod:`ddim_edu.apps.midi`). Exit codes: as for the
other applications.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from ddim_edu.apps.melody import Tone, aligned, join, parse_tune
from ddim_edu.apps.midi import ENDINGS, read_tune
from ddim_edu.apps.playing import Player
from ddim_edu.commands.options import carry_out, distinct, parse
from ddim_edu.data.notes import (
    HIGHEST,
    INSTRUMENTS,
    LOUDEST,
    LOWEST,
    QUIETEST,
    RATE,
    Note,
    render,
)
from ddim_edu.data.spectrograms import write_wav
from ddim_edu.files import check_writable
from ddim_edu.models import load
from ddim_edu.processes import pick_device, progress
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.ranges import Checked, NotNegative, Positive, Range, Share, closest
from ddim_edu.streams import say

PROG = "python -m ddim_edu.apps melody"
LEAD = 0.05  # seconds of silence before each note
ONSET = 0.1  # asked of a model, whose notes are brought to LEAD after that


@dataclasses.dataclass(frozen=True)
class MelodyOptions(Checked):
    """A tune on one instrument, written as a wav file: "C4 E4 G4:2" is three notes, the last of two beats."""

    # The tune: notes as C4, F#4 or Bb3, from C3 to C5; how many beats, as C4:2 or C4:1/2; R for a rest. Or a MIDI file.
    tune: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TUNE", help_behavior_hint="(required)")] = ""
    # Who plays: string, bar, bell, flute, brass, epiano, bowed, voice or organ.
    instrument: str = "string"
    # Beats a minute; by default 120, or as the MIDI file says.
    tempo: Annotated[float | None, Range(20, 400)] = None
    # Semitones up, or down if negative.
    transpose: Annotated[int, Range(-120, 120)] = 0
    # Which part of a MIDI file, from 1; by default the only one.
    part: Positive | None = None
    # Make the notes by their formulas instead of a model's samples.
    truth: bool = False
    # How loud: root mean square of the loudest 50 ms in dB, -36 to -16.
    loudness: Annotated[float, Range(QUIETEST, LOUDEST)] = -20.0
    # A run folder, a checkpoint file, or the name of a shipped model of notes.
    model: str = "notes"
    # The file of its autoencoder; by default what the checkpoint says, if that lies where it lay.
    autoencoder: str = ""
    # The sound to write: a .wav file with 16,000 samples a second.
    out: Path = Path("melody.wav")
    # Number of sampling steps S.
    steps: Positive = 20
    # Classifier-free guidance: 1 takes the note as trained, more presses it.
    scale: float = 2.0
    # 0 is DDIM, 1 is DDPM.
    eta: Share = 0.0
    # Noise is a function of the seed and of the note's place in the tune.
    seed: NotNegative = 0
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def check(self) -> None:
        """What depends on a name, and on the ending of a file."""
        if self.out.suffix.lower() != ".wav":
            raise ValueError(f"{self.out} does not end like a sound: use .wav")
        if self.instrument not in INSTRUMENTS:
            near = closest(self.instrument, INSTRUMENTS)
            raise ValueError(f"there is no instrument {self.instrument!r}{near} (known: {', '.join(INSTRUMENTS)})")
        if self.part is not None and not self.is_file:
            raise ValueError("--part is of a MIDI file: name one that ends in .mid")

    @property
    def is_file(self) -> bool:
        """Whether the tune is in a MIDI file."""
        return Path(self.tune).suffix.lower() in ENDINGS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``melody``; those of the process if None.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return carry_out(lambda: _run(parse(MelodyOptions(), words, prog=PROG, description=MelodyOptions.__doc__ or "")))


def _run(options: MelodyOptions) -> None:
    if not options.tune.strip():
        raise ValueError(f"which tune? {PROG} 'C4 E4 G4:2'")
    tones, tempo = tune_of(options)
    check_writable(options.out)
    distinct([options.out])
    began = time.perf_counter()
    sounds = by_formula(tones, tempo, options) if options.truth else by_model(tones, options)
    tune = join(sounds, tones, tempo, RATE, LEAD)
    write_wav(options.out, tune, RATE, peak=0.9 if tune.abs().max() > 1 else None)
    how = "by formula" if options.truth else f"S = {options.steps}"
    n, seconds = len(sounds), len(tune) / RATE
    say(
        f"{options.out}: {n} note{'s' if n > 1 else ''} on the {options.instrument}, {seconds:.1f} s of sound; {how}, "
        f"{time.perf_counter() - began:.1f} s"
    )


def tune_of(options: MelodyOptions) -> tuple[Sequence[Tone], float]:
    """The tune that is asked for, in words or as a file, and its tempo.

    Raises:
        ValueError: One line, if it can't be read or played.
    """
    if options.is_file:
        tune = read_tune(options.tune, options.part, options.transpose, LOWEST, HIGHEST)
        return tune.tones, options.tempo or tune.tempo
    tones = parse_tune(options.tune, LOWEST - options.transpose, HIGHEST - options.transpose)
    moved = [tone if tone.midi is None else Tone(tone.midi + options.transpose, tone.beats) for tone in tones]
    return moved, options.tempo or 120.0


def by_formula(tones: Sequence[Tone], tempo: float, options: MelodyOptions) -> Tensor:
    """The true notes of a tune, ``(N, SAMPLES)``, each held for its beats as far as a clip is long."""
    sounds = []
    for i, tone in enumerate(tones):
        if tone.midi is not None:
            length = min(0.8, max(0.1, 0.9 * float(tone.beats) * 60 / tempo))
            note = Note(options.instrument, tone.midi, options.loudness, onset=LEAD, length=length, decay=0.4)
            sounds.append(torch.from_numpy(render(note, [options.seed, i])))
    return torch.stack(sounds)


def by_model(tones: Sequence[Tone], options: MelodyOptions) -> Tensor:
    """Sampled notes of a tune, ``(N, SAMPLES)``, each with the same silence before it.

    Raises:
        ValueError: One line, if there is no such model, or it doesn't play this instrument.
    """
    player = Player(load(options.model, pick_device(options.device)), options.autoencoder)
    pitches = [tone.midi for tone in tones if tone.midi is not None]
    labels = torch.tensor([player.class_of(options.instrument, pitch) for pitch in pitches], device=player.device)
    noise = [generator_for(options.seed, Stream.SOUND, 0, i) for i in range(len(labels))]
    with progress(options.steps, "step") as bar:
        how = partial(player.play, loudness=options.loudness, onset=ONSET, scale=options.scale, eta=options.eta)
        pictures = how(labels, options.steps, generator=noise, tick=bar.update)
    return aligned(player.sounds(pictures, generator_for(options.seed, Stream.SOUND, 1)), RATE, LEAD)
