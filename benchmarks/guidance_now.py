"""Guidance as it is done now, on the shipped models of clothes and faces. Chapter 19 shows the results.

    python benchmarks/guidance_now.py [fashion-mnist] [faces] [--out results/guidance_now.json]
    python benchmarks/guidance_now.py fashion-mnist --check       one way again, one seed, held against the file

Every way has the same number of calls of a network for an image, CALLS: the class alone takes as many steps; plain
guidance, CFG++, rescaling and autoguidance half as many; an interval so many that the steps within it, which cost two,
and those outside come to it. Image i of seed k starts from one noise in all ways. DDIM, eta 0, trailing from 0.99 T,
no clipping; saved as 8-bit images, as everything is that a classifier sees.

``accuracy``: share that the package's classifier takes for the class asked for. ``precision``, ``recall``: k = 3, in
its features, against as many real held-out images. ``spread``: variance of the pixels within a class over that of the
training images. ``beyond``: share of pixel values outside [-1.1, 1.1] before saving. No Frechet distance: so few
pictures don't give one. ``value`` is of all seeds together, ``pseudo`` has the
pseudo-values of a jackknife over the seeds (Tukey 1958), whose mean and interval are those of the value.

``pictures`` has the first of seed 0, one of each class, as bytes in base64.

The weaker models of autoguidance are not shipped: they are trained first, by the command that the file names, into
runs/guidance_now. Seeds that are drawn already are kept there too; delete that folder to measure anew.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.guidance import decode_cfgpp
from ddim_edu.guides import guide_named
from ddim_edu.measuring.metrics import precision_recall
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import Checkpoint, load, load_classifier
from ddim_edu.randomness import draw, generator_for, image_generators
from ddim_edu.sampler import decode
from ddim_edu.sampling import check_weaker
from ddim_edu.schedule import make_tau

CALLS = 16  # of a network, for an image
SEEDS = 5
MODELS = {"fashion-mnist": "fashion-mnist-v", "faces": "faces"}  # of the pictures that are named
IMAGES = {"fashion-mnist": 40, "faces": 8}  # a seed
INTERVAL = "interval:200-700"
RUNS = Path("runs/guidance_now")
WEAKER = {
    "fashion-mnist": "fashion-mnist --unet.ch 8 --steps 800 --prediction v --ema 0.99 --warmup 50 --threads 1",
    "faces": "faces --unet.ch 8 --unet.groups 8 --steps 250 --ema 0.99 --warmup 50 --threads 1",
}
WAYS = {
    "class": (1,),
    "plain": (2, 5),
    INTERVAL: (2, 5),
    "cfg++": (0.2, 0.5),
    "auto": (1.5, 3),
    "rescale:0.7": (5,),
}
SHOWN = ("class 1", "plain 5", "rescale:0.7 5", f"{INTERVAL} 5")  # ways of which some pictures are kept
NAMES = ("accuracy", "precision", "recall", "spread")


def weaker(name: str) -> Checkpoint:
    """The weaker model of a data set, trained where it is not yet."""
    folder = RUNS / f"weaker-{name}"
    if not folder.exists():
        words = [sys.executable, "-m", "ddim_edu.train", *WEAKER[name].split(), "--out", str(folder)]
        subprocess.run(words, check=True)
    return load(folder)


def tau_of(way: str, T: int) -> list[int]:
    """The levels of a way, so that it costs CALLS calls, or as few less as there are steps for."""
    top = T - T // 100
    if way == "class":
        return make_tau(top, CALLS, "trailing").tolist()
    if way != INTERVAL:
        return make_tau(top, CALLS // 2, "trailing").tolist()
    low, high = guide_named(way).interval
    grids = [make_tau(top, S, "trailing").tolist() for S in range(CALLS // 2, CALLS + 1)]
    return max((tau for tau in grids if calls_of(tau, low, high) <= CALLS), key=len)


def calls_of(tau: list[int], low: int, high: int) -> int:
    """Calls of an image by guidance between two levels."""
    return sum(2 if low <= t <= high else 1 for t in tau[1:])


@torch.no_grad()
def drawn(model: Checkpoint, other: Checkpoint | None, way: str, scale: float, seed: int, n: int) -> Tensor:
    """``(n, C, H, W)`` images of one way, not clipped; the class asked for goes round."""
    labels, schedule = torch.arange(n) % model.config.classes, model.schedule
    tau = tau_of(way, schedule.T)
    x_T = draw(torch.empty(n, *model.image_shape), image_generators(seed, 0, n))
    told, every = model.eps_theta(labels), model.eps_theta()
    if way == "cfg++":
        return decode_cfgpp(told, every, x_T, schedule, tau, scale=scale)
    if way == "auto":
        return decode(
            guide_named("plain").predictor(told, other.eps_theta(labels), scale, schedule), x_T, schedule, tau
        )
    guide = guide_named("plain" if way == "class" else way)
    return decode(guide.predictor(told, every, scale, schedule), x_T, schedule, tau)


def pieces() -> list[tuple[str, float]]:
    return [(way, float(scale)) for way, scales in WAYS.items() for scale in scales]


class Judge:
    """The classifier of a data set, and what it says of the real images."""

    def __init__(self, name: str, classes: int) -> None:
        self.net, data = load_classifier(name), load_data(name)
        training, self.labels = data.floats(data.train[:10_000]), data.train_labels[:10_000]
        self.classes = classes
        self.spread = within(to_uint8(training), self.labels)
        order = torch.randperm(len(data.heldout), generator=generator_for(0, 14))
        self.real = self.seen(to_uint8(data.floats(data.heldout[order[: IMAGES[name] * SEEDS]])))[0]

    @torch.no_grad()
    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class of saved images."""
        parts = [from_uint8(part) for part in images.split(500)]
        features = torch.cat([self.net.model.features(x) for x in parts])
        return features, torch.cat([self.net.model(x).argmax(1) for x in parts])

    def all_of(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        features, classes = self.seen(images)
        precision, recall = precision_recall(self.real, features)
        return {
            "accuracy": (classes == labels).double().mean().item(),
            "precision": precision,
            "recall": recall,
            "spread": (within(images, labels) / self.spread).item(),
        }


def within(images: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels of the variance within a class, averaged over the classes."""
    x = images.double().flatten(1) / 127.5
    return torch.stack([x[labels == c].var(0).mean() for c in labels.unique()]).mean()


def judged(judge: Judge, parts: list[Tensor]) -> dict:
    """All measures of the seeds' images, with their pseudo-values."""
    n, G = len(parts[0]), len(parts)
    saved, labels = [to_uint8(part) for part in parts], torch.arange(n) % judge.classes
    found = judge.all_of(torch.cat(saved), labels.repeat(G))
    less = [judge.all_of(torch.cat([*saved[:g], *saved[g + 1 :]]), labels.repeat(G - 1)) for g in range(G)]
    result = {k: {"value": v, "pseudo": [G * v - (G - 1) * part[k] for part in less]} for k, v in found.items()}
    beyond = (torch.cat(parts).abs() > 1.1).double().mean().item()
    return result | {"beyond": beyond, "means": [part.mean().item() for part in parts]}


def pack(images: Tensor) -> str:
    """Images as text: bytes in base64."""
    return base64.b64encode(to_uint8(images).numpy().tobytes()).decode()


def images_of(name: str, model: Checkpoint) -> dict[str, list[Tensor]]:
    """The images of every way and seed; what lies in RUNS already is taken from there."""
    store, other, n = RUNS / f"{name}.pt", weaker(name), IMAGES[name]
    check_weaker(model, other)
    about = json.dumps(model_about(model), sort_keys=True)
    kept = torch.load(store) if store.exists() else {}
    images = kept["images"] if kept.get("model") == about else {}
    for seed in range(SEEDS):
        for way, scale in pieces():
            key = f"{way} {scale:g} {seed}"
            if key not in images:
                images[key] = drawn(model, other, way, scale, seed, n)
        torch.save({"model": about, "images": images}, store)
        print(f"{name}: seed {seed} drawn", flush=True)
    return {f"{w} {s:g}": [images[f"{w} {s:g} {seed}"] for seed in range(SEEDS)] for w, s in pieces()}


def measure(name: str) -> dict:
    began, model = time.process_time(), load(MODELS[name])
    images, judge = images_of(name, model), Judge(name, model.config.classes)
    steps = {way: len(tau_of(way, model.schedule.T)) - 1 for way in WAYS}
    low, high = guide_named(INTERVAL).interval
    protocol = {
        "model": model_about(model),
        "weaker": {
            "command": f"ddim-edu train {WEAKER[name]}",
            "parameters": sum(p.numel() for p in weaker(name).model.parameters()),
        },
        "classifier": {"data": judge.net.data, "accuracy": judge.net.accuracy},
        "calls": CALLS,
        "interval_calls": calls_of(tau_of(INTERVAL, model.schedule.T), low, high),
        "steps": steps,
        "n": IMAGES[name],
        "seeds": SEEDS,
        "eta": 0.0,
        "top": model.schedule.T - model.schedule.T // 100,
        "spacing": "trailing",
        "clip": None,
        "real": IMAGES[name] * SEEDS,
        "k": 3,
    }
    rows = {key: judged(judge, parts) for key, parts in images.items()}
    pictures = {key: pack(images[key][0][: judge.classes]) for key in SHOWN}
    about = versions() | {"python": platform.python_version()}
    seconds = round(time.process_time() - began)
    return {"protocol": protocol, "pieces": rows, "pictures": pictures, "versions": about, "cpu_seconds": seconds}


def check(name: str, stored: dict, key: str = "plain 2") -> float:
    """By how much the mean pixel of seed 0 in one way differs from the file's."""
    way, scale = key.split()
    images = drawn(load(MODELS[name]), None, way, float(scale), 0, IMAGES[name])
    return abs(images.mean().item() - stored["models"][name]["pieces"][key]["means"][0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(IMAGES))
    parser.add_argument("--out", type=Path, default=Path("results/guidance_now.json"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    out = check_writable(args.out)
    RUNS.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name in args.models:
        if args.check:
            off = check(name, json.loads(out.read_text(encoding="utf8")))
            print(f"{name}: seed 0 is {off:.4f} off", flush=True)
            wrong += off > 0.02
            continue
        found = measure(name)
        everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {"models": {}}
        everything = {"command": "python benchmarks/guidance_now.py"} | everything
        everything["models"][name] = found
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
        for key, row in found["pieces"].items():
            print(f"{name}: {key:20s} " + "  ".join(f"{k} {row[k]['value']:.3f}" for k in NAMES))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
