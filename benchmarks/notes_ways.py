"""From a note to its picture, through the networks, and back to sound: what costs what? The measurements of chapter 21.

    python benchmarks/notes_ways.py [PIECE ...] [--out results/notes_ways.json]

Each piece takes its place in the file when it is done. All are of held-out notes, of every instrument and all pitches.

- ways: sounds as they were made, and what is left of them: with the true magnitudes and found phases; through 64 bands;
  through the autoencoder; from the sampler, asked for the same instrument, pitch, loudness and onset. Since a sampled
  note is another note, it is held against what a new draw of the same four is, with its own attack, decay, vibrato,
  length and noise ("another note"), directly and through the bands. "Silenced" is with what the decoder leaves near the
  floor taken away.
- turns: how far the phases come in so many turns, from random first phases and from those of partials that run on.

The multi-resolution distance is the mean over windows of 256, 512, 1,024 and 2,048 samples (a quarter of it a hop) of
the mean difference of magnitudes in decibels, what lies 60 dB below the note's loudest place being raised to there;
all places count, and where both are silent they agree. Pitch is that of the autocorrelation from 0.12 s after the
onset, for 0.2 s, of all but bells, whose partials have no common period. Intervals are Student's, of 95%, over notes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ddim_edu
from ddim_edu.apps.playing import Player, loudness_of, onset_of, silenced
from ddim_edu.data.note_set import sounds_of
from ddim_edu.data.notes import (
    BRIGHTEST,
    CLASSES,
    RATE,
    Note,
    draw_note,
    hertz,
    label_of,
    loudness,
    picture,
    render,
    sound_of,
)
from ddim_edu.data.phases import running_phases
from ddim_edu.data.spectrograms import griffin_lim, griffin_lim_path, magnitude, spectral_convergence, stft
from ddim_edu.files import check_writable, replacing, sha256_of
from ddim_edu.measuring.statistics import summary
from ddim_edu.models import load
from ddim_edu.randomness import generator_for

SEED, STEPS, N, N_TURNS = 21, 20, 40, 12
WINDOWS = (256, 512, 1024, 2048)
TURNS = (0, 5, 15, 30, 60)


@dataclass
class Bench:
    """Some held-out notes, their sounds and pictures, and a player."""

    player: Player
    n: int = N

    def __post_init__(self) -> None:
        self.numbers = [(21 * i + 4) % 2000 for i in range(self.n)]  # every instrument, pitch and draw
        self.notes = [draw_note(i, "heldout") for i in self.numbers]
        self.sounds = sounds_of(self.numbers, "heldout")
        self.pictures = picture(self.sounds)

    def others(self) -> Tensor:
        """New draws of the same instruments, pitches, loudnesses and onsets."""
        made = []
        for i, note in zip(self.numbers, self.notes):
            drawn = draw_note(i + len(CLASSES), "heldout")  # of the same class
            made.append(render(replace(drawn, loudness=note.loudness, onset=note.onset), [SEED, i]))
        return torch.from_numpy(np.stack(made))

    def sampled(self) -> Tensor:
        """Pictures from the sampler, asked for the same four."""
        labels = torch.tensor([label_of(note) for note in self.notes])
        loud, onset = (torch.tensor([getattr(note, name) for note in self.notes]) for name in ("loudness", "onset"))
        noise = [generator_for(SEED, i) for i in self.numbers]
        return self.player.play(labels, STEPS, loudness=loud, onset=onset, generator=noise)

    def row(self, sounds: Tensor) -> dict:
        """What is to be told of some sounds, each in the place of a note."""
        apart, found = distance(self.sounds, sounds), picture(sounds)
        cents = [cents_off(x, n) for x, n in zip(sounds.numpy(), self.notes) if n.instrument != "bell"]
        loud = torch.tensor([loudness(x) - n.loudness for x, n in zip(sounds.numpy(), self.notes)])
        onset = 1000 * (onset_of(found) - onset_of(self.pictures))
        return {
            "distance_db": mean(apart) | {"first": [round(v, 3) for v in apart[:8].tolist()]},
            "cents": spread(torch.tensor(cents)),
            "loudness_db": spread(loud),
            "onset_ms": spread(onset),
            **heard(sounds, self.notes),
        }


def distance(one: Tensor, other: Tensor) -> Tensor:
    """The multi-resolution distance, ``(B,)``."""
    found = []
    for window in WINDOWS:
        a, b = stft(one, window).abs(), stft(other, window).abs()
        floor = 1e-3 * a.amax((1, 2), keepdim=True)
        found.append(20 * (a.maximum(floor) / b.maximum(floor)).log10().abs().mean((1, 2)))
    return torch.stack(found).mean(0)


def cents_off(sound: np.ndarray, note: Note) -> float:
    """How far the period of a sound is from that of its note."""
    start, wanted = round((note.onset + 0.12) * RATE), RATE / hertz(note.pitch)
    x = sound[start : start + 3200].astype(float)
    r = np.fft.irfft(np.abs(np.fft.rfft(x, 8192)) ** 2)[:400] / (len(x) - np.arange(400))
    low = int(0.85 * wanted)
    k = low + int(np.argmax(r[low : int(1.18 * wanted) + 2]))
    shift = 0.5 * (r[k - 1] - r[k + 1]) / (r[k - 1] - 2 * r[k] + r[k + 1])
    return float(1200 * np.log2(wanted / (k + shift)))


def heard(sounds: Tensor, notes: list[Note]) -> dict:
    """Peaks, clicks and noise: the largest sample; the largest jump between samples as a share of it, and where the
    spectrum can't account for it, which is beyond 7.5 kHz, the largest 4 ms against the loudest 4 ms; and the level
    before the onset, which should be silent."""
    x = sounds.double().numpy()
    peak, jump = np.abs(x).max(1), np.abs(np.diff(x)).max(1)
    before = [v[: round((note.onset - 0.04) * RATE)] for v, note in zip(x, notes)]
    floor = [10 * np.log10((v**2).mean() + 1e-12) for v in before if len(v) > 160]
    ends = np.abs(x[:, -16:]).max(1)
    return {
        "largest_sample": round(float(peak.max()), 4),
        "jump_over_peak": {
            "median": round(float(np.median(jump / peak)), 3),
            "largest": round(float((jump / peak).max()), 3),
        },
        "click_db": spread(torch.tensor([clicks(v) for v in x])),
        "noise_floor_db": spread(torch.tensor(floor)),
        "end_over_peak": round(float((ends / peak).max()), 4),
    }


def clicks(x: np.ndarray) -> float:
    """The loudest 4 ms above 7.5 kHz, where no note has partials and a click has as much as anywhere, in dB below the
    loudest 4 ms of all."""
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    high = np.fft.irfft(np.fft.rfft(x) * (f > 7500), len(x))
    power = [np.convolve(v**2, np.ones(64) / 64, "valid").max() for v in (high, x)]
    return float(10 * np.log10(power[0] / power[1] + 1e-12))


def mean(values: Tensor) -> dict:
    """Mean and interval."""
    found = summary(values.double().tolist())
    return {"mean": round(found.mean, 4), "half_width": round(found.half, 4), "n": len(values)}


def spread(values: Tensor) -> dict:
    """Median, median of absolute values, and the absolute value that nine of ten stay below."""
    size, of = values.double().abs(), values.double()
    return {
        "median": round(of.median().item(), 3),
        "median_abs": round(size.median().item(), 3),
        "nine_of_ten": round(size.quantile(0.9).item(), 3),
        "n": len(values),
    }


def ways(b: Bench) -> dict:
    """Every way, a row each."""
    true = stft(b.sounds, 1024).abs()
    coded = b.player.autoencoder.decode(b.player.autoencoder.encode(b.pictures))
    sampled, others = b.sampled(), b.others()
    sounds = {
        "as made": b.sounds,
        "true magnitudes": griffin_lim(true, start=running_phases(true)),
        "bands": sound_of(b.pictures),
        "autoencoder": sound_of(coded),
        "autoencoder, silenced": sound_of(silenced(coded)),
        "sampler": sound_of(sampled),
        "sampler, silenced": sound_of(silenced(sampled)),
        "another note": others,
        "another note, bands": sound_of(picture(others)),
    }
    rows = {name: b.row(x) for name, x in sounds.items()}
    rows["autoencoder"]["picture_db"] = mean(30 * (coded - b.pictures).square().mean((1, 2, 3)).sqrt())
    asked = torch.tensor([note.loudness for note in b.notes])
    rows["sampler"]["asked_minus_picture_db"] = spread(loudness_of(sampled) - asked)
    return {"rows": rows}


def turns(b: Bench) -> dict:
    """Spectral convergence, multi-resolution distance and pitch against the number of turns."""
    few = replace(b, n=N_TURNS)
    wanted = {
        "true magnitudes": stft(few.sounds, 1024).abs(),
        "bands": BRIGHTEST**0.5 * magnitude(few.pictures, rate=RATE),
    }
    rows = []
    for what, a in wanted.items():
        for first, start in (("random", None), ("running", running_phases(a))):
            for momentum in (0.0, 0.99):
                path = griffin_lim_path(a, TURNS[-1], momentum, generator_for(SEED, 3), start)
                for i, x in enumerate(path):
                    if i in TURNS:
                        cents = [cents_off(v, n) for v, n in zip(x.numpy(), few.notes) if n.instrument != "bell"]
                        row = {"magnitudes": what, "first": first, "momentum": momentum, "turns": i}
                        row |= {"convergence": mean(spectral_convergence(x, a)), "cents": spread(torch.tensor(cents))}
                        rows.append(row | {"distance_db": mean(distance(few.sounds, x))})
    return {"rows": rows}


PIECES = {"turns": turns, "ways": ways}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", default=[])
    parser.add_argument("--out", type=Path, default=Path("results/notes_ways.json"))
    args = parser.parse_args()
    unknown = [name for name in args.pieces if name not in PIECES]
    if unknown:
        parser.error(f"there is no piece {unknown[0]} (known: {', '.join(PIECES)})")
    out = check_writable(args.out)
    everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
    bench = Bench(Player(load("notes")))
    for name in args.pieces or list(PIECES):
        began = time.perf_counter()
        found = PIECES[name](bench)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "ddim_edu": ddim_edu.__version__}
        about = {"seed": SEED, "threads": torch.get_num_threads(), "versions": versions}
        everything[name] = found | {"about": about | {"seconds": round(time.perf_counter() - began)}}
        model = bench.player.model
        everything["command"] = "python benchmarks/notes_ways.py"
        everything["protocol"] = {
            "notes": f"{N} held out, numbers 21 i + 4 modulo 2,000; {N_TURNS} of them for the turns",
            "S": STEPS,
            "eta": 0,
            "scale": 1,
            "turns": 60,
            "model": {"name": "notes", "step": model.step, "sha256": sha256_of(model.path)},
        }
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
