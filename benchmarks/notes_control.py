"""Chapter 21's measurements: what the judges of notes are worth, whether notes come out as asked, and what a note keeps
when it changes its instrument.

    python benchmarks/notes_control.py [PIECE ...] [--model NAME]

Pieces (by default those that the result lacks): truth, gaussians, control, transfer, between, speech; all but the first
two need the model. Each is written to results/notes_control.json when it is done. A model that is shipped anew is
measured by naming the last four. Held-out notes throughout. Pitch, level and onset are measured on sounds (YIN and
energies of ddim_edu/measuring/notes.py; spectrograms have gone through Griffin and Lim's method first, with what is
within 3 dB of the floor taken for silence, as the commands do), the instrument by a classifier of spectrograms. Noise
is a function of the seed, 0, and the note's number.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

import ddim_edu
from ddim_edu.apps.edit import translate
from ddim_edu.apps.interpolate import slerp
from ddim_edu.apps.melody import parse_tune
from ddim_edu.apps.playing import Player, silenced
from ddim_edu.data.note_set import sounds_of
from ddim_edu.data.notes import (
    CLASSES,
    INSTRUMENTS,
    PITCHES,
    RATE,
    SAMPLES,
    Note,
    draw_note,
    label_of,
    picture,
    render,
    sound_of,
)
from ddim_edu.data.recordings import SHIPPED
from ddim_edu.data.registry import load_data
from ddim_edu.data.spectrograms import RANGE_DB, read_wav
from ddim_edu.files import check_writable, replacing, sha256_of
from ddim_edu.inversion import record, replay
from ddim_edu.measuring.notes import fold, level_of, onset_of, pitch_of
from ddim_edu.models import load, load_autoencoder, load_classifier
from ddim_edu.randomness import generator_for
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

SEED = 0
N = len(CLASSES)  # one of each
EVERY = 2  # of these, asked of the model
S_CHANGES = 20
TUNE = "E4 E4 F4 G4 G4 F4 E4 D4"  # Beethoven 1824, two bars
FLOOR = 1e-3  # added to the variance of a pixel, which may be 0 in silence
CLOSE = 50.0  # cents: half a semitone, beyond which a note is another


class Lab:
    """The notes, the judges, and the model where it is needed.

    Args:
        name: The model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ear = load_classifier("notes-instrument").model
        self.notes = [draw_note(i, "heldout") for i in range(N)]

    @cached_property
    def player(self) -> Player:
        return Player(load(self.name))

    @cached_property
    def real(self) -> Tensor:
        """Sounds of the held-out notes, ``(N, SAMPLES)``."""
        return sounds_of(range(N), "heldout")

    def again(self, pictures: Tensor) -> Tensor:
        """Sounds of pictures, without what a decoder leaves near the floor, the onset of soft notes else."""
        parts = silenced(pictures).split(50)
        parts = [sound_of(part, generator=generator_for(SEED, 1, i)) for i, part in enumerate(parts)]
        return torch.cat(parts)

    def coded(self, pictures: Tensor) -> Tensor:
        """What the shipped autoencoder makes of pictures."""
        first = load_autoencoder("notes")
        return first.decode(first.encode(pictures))

    def generators(self, n: int, stream: int = 2) -> list[torch.Generator]:
        return [generator_for(SEED, stream, i) for i in range(n)]

    def judge(self, pictures: Tensor, notes: Sequence[Note], sounds: Tensor | None = None) -> dict:
        """What is heard in pictures, or in sounds that they are of, against what was asked for."""
        sounds = self.again(pictures) if sounds is None else sounds
        with torch.no_grad():
            heard = torch.cat([self.ear(part).argmax(1) for part in pictures.split(100)])
        asked = torch.tensor([INSTRUMENTS.index(note.instrument) for note in notes])
        pitch = pitch_of(sounds)
        cents = 100 * (pitch.midi - torch.tensor([note.pitch for note in notes]))
        level = level_of(sounds) - torch.tensor([note.loudness for note in notes])
        onset = 1000 * (onset_of(sounds) - torch.tensor([note.onset for note in notes]))
        bell = asked == INSTRUMENTS.index("bell")
        close = torch.where(bell, fold(cents), cents).abs() <= CLOSE
        return {
            "instrument": share(heard == asked),
            "pitch": share(close[~bell]),
            "cents": spread(cents[~bell & close]),
            "bell": {"pitch": share(cents[bell].abs() <= CLOSE), "up to octaves": share(close[bell])},
            "loudness": spread(level),
            "onset": spread(onset),
            "each": {
                "instrument": heard.tolist(),
                "cents": rounded(cents, 1),
                "loudness": rounded(level, 2),
                "onset": rounded(onset, 1),
            },
        }


def share(values: Tensor) -> dict:
    """A share with its 95% interval (Wilson's)."""
    k, n = int(values.sum()), len(values)
    low, high = binomtest(k, n).proportion_ci(0.95, "wilson") if n else (0.0, 1.0)
    return {"right": k, "n": n, "share": k / n if n else None, "low": low, "high": high}


def spread(values: Tensor) -> dict:
    """Mean error with its standard error, mean absolute error, and the middle 80%."""
    values = values[values.isfinite()].double()
    if not len(values):
        return {"n": 0}
    low, high = values.quantile(torch.tensor([0.1, 0.9], dtype=torch.float64)).tolist()
    return {
        "n": len(values),
        "mean": values.mean().item(),
        "se": (values.std() / len(values) ** 0.5).item(),
        "mean_absolute": values.abs().mean().item(),
        "low": low,
        "high": high,
    }


def rounded(values: Tensor, digits: int) -> list[float | None]:
    return [round(v, digits) if np.isfinite(v) else None for v in values.tolist()]


def correlation(one: Tensor, other: Tensor) -> dict:
    """Correlation with its 95% interval (Fisher's), of those that both could be measured of."""
    fine = one.isfinite() & other.isfinite()
    r = torch.corrcoef(torch.stack([one[fine].double(), other[fine].double()]))[0, 1].item()
    half = 1.96 / max(1, int(fine.sum()) - 3) ** 0.5
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half])).tolist()
    return {"n": int(fine.sum()), "r": r, "low": low, "high": high}


# --- the pieces


def truth(lab: Lab) -> dict:
    """The judges on real notes, all they know being true; and on what is left of these after the spectrogram."""
    pictures = picture(lab.real)
    ways = {"real": lab.judge(pictures, lab.notes, lab.real)}
    ways["real, through spectrogram"] = lab.judge(pictures, lab.notes)
    coded = lab.coded(pictures)
    off = RANGE_DB / 2 * (coded - pictures).square().mean((1, 2, 3)).sqrt()
    ways["real, through autoencoder and spectrogram"] = lab.judge(coded, lab.notes) | {"error_db": spread(off)}
    pitch = pitch_of(lab.real)
    each = {}
    for name in INSTRUMENTS:
        which = torch.tensor([note.instrument == name for note in lab.notes])
        each[name] = {"aperiodicity": pitch.aperiodicity[which].median().item()}
    return {"ways": ways, "each": each}


ROWS = [(S, eta, 1.0, True) for S in (10, 20, 50) for eta in (0.0, 1.0)]
ROWS += [(20, 0.0, 2.0, True), (20, 0.0, 1.0, False)]


def control(lab: Lab) -> dict:
    """Notes asked for as the held-out ones are, in all four respects."""
    wanted = lab.notes[::EVERY]
    loudness = torch.tensor([note.loudness for note in wanted])
    onset = torch.tensor([note.onset for note in wanted])
    rows = []
    for S, eta, scale, asked in ROWS:
        more = {"loudness": loudness, "onset": onset} if asked else {}
        noise = lab.generators(len(wanted))
        pictures = lab.player.play(labels_of(wanted), S, scale=scale, eta=eta, generator=noise, **more)
        rows.append({"S": S, "eta": eta, "scale": scale, "asked": asked} | lab.judge(pictures.cpu(), wanted))
        say_row(rows[-1], f"S {S}, eta {eta:g}, scale {scale:g}, loudness and onset {'' if asked else 'not '}asked")
    return {"rows": rows}


def labels_of(notes: Sequence[Note]) -> Tensor:
    return torch.tensor([label_of(note) for note in notes])


def say_row(row: dict, name: str) -> None:
    at, on = row["loudness"], row["onset"]
    print(
        f"  {name}: instrument {row['instrument']['share']:.2f}, pitch {row['pitch']['share']:.2f}, "
        f"{row['cents'].get('mean_absolute', float('nan')):.1f} cents, {at['mean_absolute']:.1f} dB, "
        f"{on['mean_absolute']:.0f} ms",
        flush=True,
    )


def tunes() -> tuple[list[Note], list[Note]]:
    """The tune on each instrument, each note a little out of tune and of its own level and onset; and the same notes as
    two other instruments would play them.
    """
    given, wanted = [], []
    for i, name in enumerate(INSTRUMENTS):
        for other in (INSTRUMENTS[(i + k) % len(INSTRUMENTS)] for k in (3, 5)):
            for tone in parse_tune(TUNE):
                u = np.random.default_rng([SEED, 3, len(given)]).random(4)
                note = Note(
                    name, tone.midi + 0.8 * (u[0] - 0.5), loudness=-30 + 12 * u[1], onset=0.06 + 0.2 * u[2], length=0.45
                )
                given.append(note)
                wanted.append(replace(note, instrument=other))
    return given, wanted


def transfer(lab: Lab) -> dict:
    """A tune from each instrument to two others, note by note."""
    given, wanted = tunes()
    sounds = torch.from_numpy(np.stack([render(note, [SEED, i]) for i, note in enumerate(given)]))
    pictures, source, target = picture(sounds), labels_of(given), labels_of(wanted)
    player, schedule = lab.player, lab.player.model.schedule
    z = player.autoencoder.encode(pictures)
    tau = make_tau(player.top(0.9), S_CHANGES, "trailing")
    n = len(given)

    def recorded(scale: float, eta: float = 1.0) -> Tensor:
        kept = record(player.eps_theta(source), z, schedule, tau, eta=eta, generator=lab.generators(n, 4))
        return replay(player.eps_theta(target, scale), kept, schedule, tau, eta=eta)

    def inverted(scale: float) -> Tensor:
        return translate(player.eps_theta(source), player.eps_theta(target, scale), z, schedule, tau, 1.0)

    same = {"loudness": torch.tensor([x.loudness for x in given]), "onset": torch.tensor([x.onset for x in given])}
    ways = {
        "inverted, scale 1": lambda: player.autoencoder.decode(inverted(1.0)),
        "inverted, scale 2": lambda: player.autoencoder.decode(inverted(2.0)),
        "recorded, scale 2": lambda: player.autoencoder.decode(recorded(2.0)),
        "recorded, scale 1": lambda: player.autoencoder.decode(recorded(1.0)),
        "new noise": lambda: player.play(target, S_CHANGES, generator=lab.generators(n)),
        "new noise, loudness and onset asked": lambda: player.play(
            target, S_CHANGES, generator=lab.generators(n), **same
        ),
    }
    rows = []
    for name, make in ways.items():
        rows.append({"way": name} | heard(lab, make().cpu(), given, wanted, name))
    return {"rows": rows, "tune": TUNE, "S": S_CHANGES}


def heard(lab: Lab, pictures: Tensor, given: Sequence[Note], wanted: Sequence[Note], name: str) -> dict:
    """The judges on changed notes, and whether a note that was a little out of tune still is: the correlation of the
    cents above the key, before and after; likewise of level and onset. The label knows none of these.
    """
    row = lab.judge(pictures, wanted)
    detuned = torch.tensor([100 * (note.pitch - round(note.pitch)) for note in given])
    level, onset = torch.tensor([note.loudness for note in given]), torch.tensor([note.onset for note in given])
    each = {key: torch.tensor([float("nan") if v is None else v for v in row["each"][key]]) for key in row["each"]}
    off = each["cents"] + detuned
    pitched = torch.tensor(["bell" not in (a.instrument, b.instrument) for a, b in zip(given, wanted, strict=True)])
    pitched &= off.abs() <= 100
    row["kept"] = {
        "detuning": correlation(detuned[pitched], off[pitched]),
        "loudness": correlation(level, level + each["loudness"]),
        "onset": correlation(onset, onset + each["onset"] / 1000),
    }
    say_row(row, name)
    print("    kept: " + ", ".join(f"{key} r {found['r']:.2f}" for key, found in row["kept"].items()), flush=True)
    return row


def gaussians(lab: Lab) -> dict:
    """The same tunes by exact predictors: each class a Gaussian, with a mean and a variance for every pixel, found from
    its 88 or 89 notes to train on. No network, no autoencoder.
    """
    data = load_data("notes")
    given, wanted = tunes()
    source, target = labels_of(given), labels_of(wanted)
    means, variances = torch.zeros(2, len(CLASSES), 1, 64, 64)
    for c in set(source.tolist()) | set(target.tolist()):
        x = data.floats(data.train[data.train_labels == c])
        means[c], variances[c] = x.mean(0), x.var(0) + FLOOR
    schedule = NoiseSchedule.cosine(1000)
    tau = make_tau(900, 50, "trailing")

    def eps_theta(labels: Tensor):
        def eps(x: Tensor, t: Tensor) -> Tensor:
            abar = schedule.abar(t).view(-1, 1, 1, 1).float()
            off = x - abar.sqrt() * means[labels]
            return (1 - abar).sqrt() * off / (abar * variances[labels] + 1 - abar)

        return eps

    pictures = picture(torch.from_numpy(np.stack([render(note, [SEED, i]) for i, note in enumerate(given)])))
    made = translate(eps_theta(source), eps_theta(target), pictures, schedule, tau, 1.0)
    drawn = means[target] + variances[target].sqrt() * torch.randn(pictures.shape, generator=generator_for(SEED, 6))
    ways = {"inverted": made, "mean of the class": means[target], "drawn": drawn, "the notes themselves": pictures}
    rows = [{"way": name} | heard(lab, x.clamp(-1, 1), given, wanted, name) for name, x in ways.items()]
    return {"rows": rows, "floor": FLOOR, "S": 50, "top": 900, "tune": TUNE}


def between(lab: Lab) -> dict:
    """From a flute to brass at every third pitch, in five frames: along the arc, and by a mean of spectrograms."""
    player, schedule = lab.player, lab.player.model.schedule
    ends = [[Note(name, p, -24, onset=0.1, length=0.45) for p in PITCHES[::3]] for name in ("flute", "brass")]
    pictures = [picture(torch.from_numpy(np.stack([render(x, [SEED, 5]) for x in notes]))) for notes in ends]
    labels = [labels_of(notes) for notes in ends]
    tau = make_tau(player.top(0.9), S_CHANGES, "trailing")
    first = player.autoencoder
    up = [invert(player.eps_theta(c), first.encode(x), schedule, tau) for c, x in zip(labels, pictures, strict=True)]
    one, other = (player.eps_theta(c) for c in labels)
    frames = []
    for a in (0.0, 0.25, 0.5, 0.75, 1.0):

        def mixed(x: Tensor, t: Tensor, a: float = a) -> Tensor:
            return (1 - a) * one(x, t) + a * other(x, t)

        made = first.decode(decode(mixed, slerp(*up, a), schedule, tau)).cpu()
        faded = (1 - a) * pictures[0] + a * pictures[1]
        for way, x in (("arc", made), ("mean of spectrograms", faded)):
            with torch.no_grad():
                p = lab.ear(x).softmax(1)
            cents = 100 * (pitch_of(lab.again(x)).midi - torch.tensor([float(p) for p in PITCHES[::3]]))
            frames.append(
                {
                    "a": a,
                    "way": way,
                    "flute": p[:, INSTRUMENTS.index("flute")].mean().item(),
                    "brass": p[:, INSTRUMENTS.index("brass")].mean().item(),
                    "pitch": share(cents.abs() <= CLOSE),
                    "bright": x[:, 0, 24:].mean().item(),
                }
            )
    return {"frames": frames, "n": len(PITCHES[::3])}


def speech(lab: Lab) -> dict:
    """Eight spoken words, up under no class and down as a note: outside what the model knows."""
    files = sorted(SHIPPED.glob("*.wav"))
    sounds = torch.zeros(len(files), SAMPLES)
    for sound, file in zip(sounds, files, strict=True):
        own = read_wav(file, RATE).sound[: SAMPLES - 1600]
        sound[1600 : 1600 + len(own)] = own
    sounds *= 10 ** ((-20 - level_of(sounds)) / 20)[:, None].float()
    pictures, player = picture(sounds), lab.player
    target = torch.full((len(files),), player.class_of("flute", "C4"))
    made = player.change(pictures, None, target, S_CHANGES, scale=2.0).cpu()
    asked = [Note("flute", 60, -20, onset=0.1)] * len(files)
    row = lab.judge(made, asked)
    aperiodicity = rounded(pitch_of(lab.again(made)).aperiodicity, 3)
    return {"files": [file.stem for file in files], "made": row, "aperiodicity": aperiodicity}


BY_MODEL = (control, transfer, between, speech)
PIECES = {
    "truth": truth,
    "gaussians": gaussians,
    "control": control,
    "transfer": transfer,
    "between": between,
    "speech": speech,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", default=[])
    parser.add_argument("--model", default="notes")
    parser.add_argument("--out", type=Path, default=Path("results/notes_control.json"))
    args = parser.parse_args()
    unknown = [name for name in args.pieces if name not in PIECES]
    if unknown:
        parser.error(f"there is no piece {unknown[0]!r} (known: {', '.join(PIECES)})")
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
    lab = Lab(args.model)
    for name in args.pieces or [name for name in PIECES if name not in everything]:
        began = time.perf_counter()
        print(f"{name} ...", flush=True)
        with torch.no_grad():
            found = PIECES[name](lab)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "ddim_edu": ddim_edu.__version__}
        about = {"seed": SEED, "threads": torch.get_num_threads(), "versions": versions}
        if PIECES[name] in BY_MODEL:
            model = lab.player.model
            about |= {"model": args.model, "sha256": sha256_of(model.path), "step": model.step}
        everything[name] = found | {"about": about | {"seconds": round(time.perf_counter() - began)}}
        everything["command"] = "python benchmarks/notes_control.py " + " ".join(PIECES)
        everything["notes"] = (
            f"the first {N} held out, one of each of {len(INSTRUMENTS)} instruments at 25 pitches; control asks for "
            "every second"
        )
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
