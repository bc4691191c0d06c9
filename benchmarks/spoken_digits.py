"""Chapter 15's measurements: what is lost on the way from sound to latent and back, and whether words and voices come
out as asked.

    python benchmarks/spoken_digits.py [PIECE ...] [--data-dir DIR] [--model NAME]

Pieces (by default those that the result lacks): autoencoder, phases, judges, spoken, changes. All recordings are held
out, but for those that "recited" decodes; where clips go through sound (Griffin and Lim), every third of them does.
Each piece is written to results/spoken_digits.json when it is done. Noise is a function of the seed, 0, and the clip's
number.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor

import ddim_edu
from ddim_edu.apps.voices import Voices, listen
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import default_data_dir
from ddim_edu.data.spectrograms import (
    RANGE_DB,
    griffin_lim_path,
    log_mel,
    magnitude,
    pad_or_trim,
    read_wav,
    spectral_convergence,
    stft,
    to_sound,
)
from ddim_edu.files import check_writable, replacing
from ddim_edu.models import load
from ddim_edu.randomness import generator_for

SEED = 0
S_CHANGES = 20


class Bench:
    """The model, the data and what is measured of both.

    Args:
        name: The model.
        data_dir: Where the recordings are.
    """

    def __init__(self, name: str, data_dir: Path) -> None:
        self.voices, self.folder = Voices(load(name)), data_dir
        self.data = load_data("spoken-digits", data_dir=data_dir)
        self.real, self.labels = self.data.floats(self.data.heldout), self.data.heldout_labels
        self.n, self.speakers = len(self.real), len(self.voices.speakers)

    def judge(self, pictures: Tensor, labels: Tensor) -> dict:
        """Shares of clips with the right word, the right speaker and both, with 95% intervals (Wilson's)."""
        words, speakers = listen(pictures)
        right = {"word": words == labels // self.speakers, "speaker": speakers == labels % self.speakers}
        right["both"] = right["word"] & right["speaker"]
        return {name: share(values) for name, values in right.items()}

    def again(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of the sounds of every third picture, and their labels."""
        parts = [to_sound(part, generator=generator_for(SEED, 1, i)) for i, part in enumerate(pictures[::3].split(50))]
        return log_mel(torch.cat(parts)), labels[::3]

    def generators(self) -> list[torch.Generator]:
        return [generator_for(SEED, 2, i) for i in range(self.n)]


def share(values: Tensor) -> dict:
    k, n = int(values.sum()), len(values)
    low, high = binomtest(k, n).proportion_ci(0.95, "wilson")
    return {"right": k, "n": n, "share": k / n, "low": low, "high": high}


def rms(x: Tensor) -> Tensor:
    return x.flatten(1).double().square().mean(1).sqrt()


def duration(pictures: Tensor) -> Tensor:
    """Frames from the first to the last that comes within 40 dB of the loudest place."""
    loud = pictures[:, 0].amax(1) > 1 - 2 * 40 / RANGE_DB
    number = torch.arange(1, loud.shape[1] + 1)
    first = torch.where(loud, number, 10**6).amin(1)
    return ((number * loud).amax(1) - first + 1).clamp(min=0).double()


def mean(values: Tensor) -> dict:
    return {"n": len(values), "mean": values.mean().item(), "se": (values.std() / len(values) ** 0.5).item()}


# --- the pieces


def autoencoder(b: Bench) -> dict:
    """Error on held-out pictures, beside that of as many principal components; and the statistics of the latents."""
    first, train = b.voices.autoencoder, b.data.floats(b.data.train)
    latents, own = first.encode(b.real), first.encode(train)
    k = latents[0].numel()
    flat, middle = train.flatten(1), train.flatten(1).mean(0)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        basis = torch.pca_lowrank(flat, k, niter=4)[2]
    centred = b.real.flatten(1) - middle
    return {
        "numbers": {"picture": b.real[0].numel(), "latent": k},
        "parameters": sum(p.numel() for p in first.model.parameters()),
        "rmse": mean(rms(first.decode(latents) - b.real)),
        "rmse_on_training": mean(rms(first.decode(own[::9]) - train[::9])),
        "rmse_components": mean(rms(centred @ basis @ basis.T - centred)),
        "rmse_mean_picture": mean(rms(centred)),
        "decibels_per_unit": RANGE_DB / 2,
        "latent_mean_std": {
            "training": [own.mean().item(), own.std().item()],
            "held out": [latents.mean().item(), latents.std().item()],
        },
        "round_trip": mean(rms(first.encode(first.decode(latents)) - latents)),
    }


def phases(b: Bench) -> dict:
    """Spectral convergence against turns, from the true magnitudes of a recording of every second class, and after the
    bands.
    """
    files = [
        b.folder / "spoken-digits" / f"{w}_{s}_0.wav"
        for w in b.voices.words
        for s in b.voices.speakers[int(w) % 2 :: 2]
    ]
    sounds = torch.stack([pad_or_trim(read_wav(file)).sound for file in files])
    looks, found = (0, 1, 2, 5, 10, 20, 40, 60), {}
    for name, wanted in (("true magnitudes", stft(sounds).abs()), ("from 64 bands", magnitude(log_mel(sounds)))):
        for momentum in (0.0, 0.99):
            path = griffin_lim_path(wanted, looks[-1], momentum, generator_for(SEED, 3))
            rows = [
                mean(spectral_convergence(x, wanted).double()) | {"turns": i} for i, x in enumerate(path) if i in looks
            ]
            found[f"{name}, momentum {momentum:g}"] = rows
    return found


def judges(b: Bench) -> dict:
    """The classifiers on recordings as they are, and on what the stages make of them."""
    coded = b.voices.autoencoder.decode(b.voices.autoencoder.encode(b.real))
    ways = {
        "real": (b.real, b.labels),
        "real, through sound": b.again(b.real, b.labels),
        "autoencoder": (coded, b.labels),
    }
    ways["autoencoder, through sound"] = b.again(coded, b.labels)
    return {
        name: b.judge(*way) | {"rmse": mean(rms(way[0] - b.real[:: b.n // len(way[0])]))} for name, way in ways.items()
    }


def spoken(b: Bench) -> dict:
    """New sounds, five of each class: right word and speaker, spread within a class, distance to the nearest training
    recording.

    Samples have passed the decoder, which blurs. What they are compared with has passed it too: "coded" are the
    held-out recordings, encoded and decoded, and "recited" as many training recordings of the same classes, as a model
    would make that knew nothing else.
    """
    train, first, rows = b.data.floats(b.data.train), b.voices.autoencoder, []

    def spread(pictures: Tensor) -> dict:
        within = [
            torch.pdist(pictures[b.labels == c].flatten(1).double()).mean() for c in range(int(b.labels.max()) + 1)
        ]
        each = torch.stack(within) / pictures[0].numel() ** 0.5
        return mean(each) | {"each": [round(value, 4) for value in each.tolist()]}

    def nearest(pictures: Tensor) -> dict:
        near = [rms(train[b.data.train_labels == label] - picture).min() for picture, label in zip(pictures, b.labels)]
        return mean(torch.stack(near))

    for S, eta, scale in (
        (5, 0, 1),
        (10, 0, 1),
        (20, 0, 1),
        (50, 0, 1),
        (10, 1, 1),
        (50, 1, 1),
        (20, 0, 2),
        (20, 0, 4),
    ):
        pictures = b.voices.speak(b.labels, b.n, S, scale=scale, eta=eta, generator=b.generators())
        row = {"S": S, "eta": eta, "scale": scale} | b.judge(pictures, b.labels)
        row |= {"spread": spread(pictures), "nearest": nearest(pictures)}
        if (S, eta, scale) == (50, 0, 1):
            row["through sound"] = b.judge(*b.again(pictures, b.labels))
        rows.append(row)
        print(
            f"  S {S}, eta {eta}, scale {scale}: word {row['word']['share']:.3f}, "
            f"speaker {row['speaker']['share']:.3f}",
            flush=True,
        )
    own = [(b.data.train_labels == c).nonzero()[:, 0] for c in range(int(b.labels.max()) + 1)]
    taken = torch.stack([own[label][int((b.labels[:i] == label).sum())] for i, label in enumerate(b.labels)])
    kinds = {
        "real": b.real,
        "coded": first.decode(first.encode(b.real)),
        "recited": first.decode(first.encode(train[taken])),
    }
    return {"rows": rows} | {name: {"spread": spread(x), "nearest": nearest(x)} for name, x in kinds.items()}


def changes(b: Bench) -> dict:
    """Each held-out recording made into another word (five further on) and into another voice (the next), and into
    itself.
    """
    words, speakers = len(b.voices.words), b.speakers
    word, speaker = b.labels // speakers, b.labels % speakers
    targets = {
        "none": b.labels,
        "word": (word + 5) % words * speakers + speaker,
        "voice": word * speakers + (speaker + 1) % speakers,
    }
    rows, own = [], duration(b.real)

    def row(change: str, way: str, scale: float, pictures: Tensor) -> dict:
        long = duration(pictures)
        found = {"change": change, "way": way, "scale": scale, "S": S_CHANGES} | b.judge(pictures, targets[change])
        found["duration_correlation"] = torch.corrcoef(torch.stack([own, long]))[0, 1].item()
        found["distance_to_source"] = mean(rms(pictures - b.real))
        print(
            f"  {change}, {way}, scale {scale:g}: both {found['both']['share']:.3f}, "
            f"r {found['duration_correlation']:.2f}",
            flush=True,
        )
        return found

    for change, target in targets.items():
        for scale in (1.0, 2.0) if change != "none" else (1.0,):
            pictures = b.voices.change(b.real, b.labels, target, S_CHANGES, scale=scale)
            rows.append(row(change, "inverted", scale, pictures))
            if (change, scale) != ("none", 1.0) and scale == 1:
                rows[-1]["through sound"] = b.judge(*b.again(pictures, target))
        fresh = b.voices.speak(target, b.n, S_CHANGES, generator=b.generators())
        rows.append(row(change, "new noise", 1.0, fresh))
    half = b.voices.change(b.real, b.labels, targets["word"], S_CHANGES, strength=0.6)
    rows.append(row("word", "inverted, strength 0.6", 1.0, half))
    return {"rows": rows, "targets": "word: five further on; voice: the next of the six; both cyclic"}


PIECES = {"autoencoder": autoencoder, "phases": phases, "judges": judges, "spoken": spoken, "changes": changes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", default=[])
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--model", default="spoken-digits")
    parser.add_argument("--out", type=Path, default=Path("results/spoken_digits.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
    bench = Bench(args.model, args.data_dir)
    for name in args.pieces or [name for name in PIECES if name not in everything]:
        began = time.perf_counter()
        print(f"{name} ...", flush=True)
        with torch.no_grad():
            found = PIECES[name](bench)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "ddim_edu": ddim_edu.__version__}
        model = bench.voices.model
        about = {
            "model": args.model,
            "step": model.step,
            "seed": SEED,
            "threads": torch.get_num_threads(),
            "versions": versions,
        }
        everything[name] = found | {"about": about | {"seconds": round(time.perf_counter() - began)}}
        everything["command"] = "python benchmarks/spoken_digits.py"
        everything["recordings"] = "the 300 held out: numbers 0 to 4 of each of 60 classes"
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
