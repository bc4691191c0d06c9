"""What guidance trades, and what editing keeps, on the shipped models. Chapter 14 shows the results.

    python benchmarks/conditioning.py [digits] [fashion-mnist] [--out results/conditioning.json]
    python benchmarks/conditioning.py --check                       one row of each kind again, held against the file

Pieces that are in the file already are left alone: a run that was stopped goes on. Delete the file to measure anew.

**guidance**, for each scale: n samples by DDIM, the class asked for going round, image i from the noise of (seed 0, i)
for all scales; saved as 8-bit images, as everything is that a classifier sees. ``accuracy``: share that the package's
classifier takes for the class asked for. ``distance``: Frechet distance in its features to those of the training images
(not FID). ``precision``, ``recall``: with k = 3, against n real images; the row ``real`` is n other real images in the
samples' place. ``spread``: variance of the pixels within a class, over that of the training images. ``beyond``: share
of pixel values outside [-1.1, 1.1] before saving. Each with the pseudo-values of a jackknife by 10 groups of images
(Tukey 1958): G f(all) - (G - 1) f(all but group g), whose mean and interval are those of f.

**edit**: held-out images, image i to the class (its own + 1 + i mod 9), by noise (``renoise``) or by inversion
(``translate``, from the image's own class). ``success``: the classifier sees the target. ``change``: squared distance
to the original, over the mean squared distance of the originals to real images of their targets (1: as far as
unrelated). ``ink``, ``slant``, ``width``: correlation over the images of that property before and after, both less
their class's mean. ``changes`` and ``successes`` are per image.

**equal**: inversion of digits again at the price of noise with scale 2 at 0.6, 60 calls of the network an image.

**back**, for 100 digits: encode and decode under the image's own class. ``same``: one scale both ways; ``from 1``:
encoded at 1; and ``cycle``: to the target class and back at scale 1. Errors per image, as
``lab.metrics.reconstruction_error``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.apps.edit import renoise, translate
from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta
from ddim_edu.guidance import guided
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov, precision_recall, reconstruction_error
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import load, load_classifier
from ddim_edu.randomness import draw, generator_for, image_generators
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import make_tau

GROUPS = 10  # of the jackknife
BATCH = 100
SCALES = {"digits": (0, 0.5, 1, 1.5, 2, 3, 5, 10), "fashion-mnist": (0, 1, 3, 10)}
SAMPLES = {"digits": (750, 20), "fashion-mnist": (240, 20)}  # how many, S
EDITS = {"digits": (200, 50), "fashion-mnist": (40, 20)}  # how many, S
STRENGTHS = {"digits": (0.2, 0.4, 0.6, 0.8, 1.0), "fashion-mnist": (0.4, 0.6, 0.8, 1.0)}
WAYS = {
    "digits": [("noise", 1.0), ("noise", 2.0), ("invert", 1.0), ("invert", 2.0)],
    "fashion-mnist": [("noise", 2.0), ("invert", 1.0), ("invert", 2.0)],
}
BACK = (0.0, 1.0, 2.0, 3.0, 5.0)
EQUAL = {
    1.0: (0.8, 0.85, 0.9),
    2.0: (0.65, 0.7, 0.75),
}  # scale -> strengths of inversion, each in 60 calls: as noise, scale 2, at 0.6
CALLS = 60


class Problem:
    """A shipped model, its data, and the classifier that judges."""

    def __init__(self, name: str) -> None:
        self.name, self.model, self.judge = name, load(name), load_classifier(name)
        self.data = load_data(name)
        self.training = to_uint8(self.data.floats(self.data.train))
        self.heldout = self.data.floats(self.data.heldout)

    def top(self, encodes: bool) -> int:
        """The highest level, as the command line has it: T less a hundredth, or a tenth where images are encoded."""
        T = self.model.schedule.T
        return T - (T // 10 if encodes else T // 100)

    def network(self, labels: Tensor, scale: float) -> EpsTheta:
        return guided(self.model.eps_theta(labels), self.model.eps_theta(), scale)

    @cached_property
    def reference(self) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Mean and covariance of the training images' features, and their pixels' variance within a class."""
        return mean_and_cov(self.seen(self.training)[0]), within(self.training, self.data.train_labels)

    @torch.no_grad()
    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class of saved images."""
        parts = [from_uint8(part) for part in images.split(500)]
        return torch.cat([self.judge.model.features(x) for x in parts]), torch.cat(
            [self.judge.model(x).argmax(1) for x in parts]
        )


def jackknife(value, n: int) -> dict[str, dict]:
    """f of all images, and its pseudo-values; ``value(indices)`` gives several f by name. A group is made of whole
    rounds of classes.
    """
    everything = torch.arange(n)
    all_of = value(everything)
    less = [value(everything[everything // 10 % GROUPS != g]) for g in range(GROUPS)]
    return {
        k: {"value": v, "pseudo": [GROUPS * v - (GROUPS - 1) * part[k] for part in less]} for k, v in all_of.items()
    }


def within(images: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels of the variance within a class, averaged over the classes."""
    x = images.double().flatten(1) / 127.5
    return torch.stack([x[labels == c].var(0).mean() for c in labels.unique()]).mean()


def judged(
    p: Problem, images: Tensor, labels: Tensor, real: Tensor, reference: tuple[Tensor, Tensor], spread: Tensor
) -> dict:
    features, classes = p.seen(images)

    def value(i: Tensor) -> dict[str, float]:
        precision, recall = precision_recall(real, features[i])
        return {
            "accuracy": (classes[i] == labels[i]).double().mean().item(),
            "distance": frechet_distance(*mean_and_cov(features[i]), *reference),
            "precision": precision,
            "recall": recall,
            "spread": (within(images[i], labels[i]) / spread).item(),
        }

    return jackknife(value, len(images))


def guidance(p: Problem, scale: float | str) -> dict:
    n, S = SAMPLES[p.name]
    reference, spread = p.reference
    # Real images that nothing else uses: from those held out, or of the digits, which hold out few, from those trained
    # on.
    pool, of = (p.training, p.data.train_labels) if p.name == "digits" else (to_uint8(p.heldout), p.data.heldout_labels)
    order = torch.randperm(len(pool), generator=generator_for(0, 14))
    real = p.seen(pool[order[:n]])[0]
    if scale == "real":
        # In rounds of the classes, so that the groups of the jackknife are like those of samples.
        left = order[n:]
        rank = torch.stack([(of[left[: i + 1]] == of[left[i]]).sum() for i in range(len(left))])
        others = left[rank.argsort(stable=True)][:n]
        return judged(p, pool[others], of[others], real, reference, spread)
    parts, labels, tau = [], torch.arange(n) % 10, make_tau(p.top(False), S, "trailing")
    for i in range(0, n, BATCH):
        noise = draw(torch.empty(min(BATCH, n - i), *p.model.image_shape), image_generators(0, i, min(i + BATCH, n)))
        parts.append(decode(p.network(labels[i : i + BATCH], float(scale)), noise, p.model.schedule, tau))
    x = torch.cat(parts)
    found = judged(p, to_uint8(x), labels, real, reference, spread)
    return found | {"beyond": (x.abs() > 1.1).double().mean().item()}


def properties(images: Tensor) -> dict[str, Tensor]:
    """Ink; the slant and the width of where it lies: regression of the column on the row, and standard deviation of the
    column.
    """
    ink = ((images.clamp(-1, 1) + 1) / 2).double().mean(1)
    total = ink.sum((1, 2)).clamp(min=1e-6)
    place = torch.arange(ink.shape[1], dtype=torch.float64)
    rows, columns = ink.sum(2) @ place / total, ink.sum(1) @ place / total
    down, along = place[None] - rows[:, None], place[None] - columns[:, None]
    cov = torch.einsum("nij,ni,nj->n", ink, down, along) / total
    tall, wide = (torch.einsum("nij,ni->n", m, d**2) / total for m, d in ((ink, down), (ink.mT, along)))
    return {"ink": ink.mean((1, 2)), "slant": cov / tall.clamp(min=1e-6), "width": wide.sqrt()}


def centred(values: Tensor, labels: Tensor) -> Tensor:
    return values - torch.stack([values[labels == c].mean() for c in range(10)])[labels]


def to_edit(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    n = EDITS[p.name][0]
    labels = p.data.heldout_labels[:n]
    return p.heldout[:n], labels, (labels + 1 + torch.arange(n) % 9) % 10


def edit(p: Problem, by: str, scale: float, strength: float, S: int | None = None) -> dict:
    images, labels, targets = to_edit(p)
    n, S = len(images), S or EDITS[p.name][1]
    tau, parts = make_tau(p.top(by == "invert"), S, "trailing"), []
    for i in range(0, n, BATCH):
        part = slice(i, i + BATCH)
        x, down = images[part], p.network(targets[part], scale)
        if by == "noise":
            parts.append(
                renoise(
                    down, x, p.model.schedule, tau, strength, generator=image_generators(1, i, i + len(x)), clip=1.0
                )
            )
        else:
            parts.append(translate(p.model.eps_theta(labels[part]), down, x, p.model.schedule, tau, strength, clip=1.0))
    found = from_uint8(to_uint8(torch.cat(parts)))
    success = p.seen(to_uint8(found))[1] == targets
    training, of = from_uint8(p.training), p.data.train_labels
    # The mean over real images r of a class of |x - r|^2 is |x - mean|^2 + the variance about it, for each pixel.
    mean = torch.stack([training[of == c].mean(0) for c in range(10)])
    around = torch.stack([training[of == c].var(0).mean() for c in range(10)])
    unrelated = ((images - mean[targets]).square().mean((1, 2, 3)) + around[targets]).mean()
    change = (found - images).square().mean((1, 2, 3)) / unrelated
    before, after = properties(images), properties(found)
    kept = {
        k: torch.corrcoef(torch.stack([centred(before[k], labels), centred(after[k], targets)]))[0, 1].item()
        for k in before
    }
    # For three decimals, as many as say something.
    each = {"changes": [round(c, 3) for c in change.tolist()], "successes": [int(s) for s in success]}
    return (
        {
            "by": by,
            "scale": scale,
            "strength": strength,
            "success": success.double().mean().item(),
            "change": change.mean().item(),
        }
        | kept
        | each
    )


def equal(p: Problem, scale: float, strength: float) -> dict:
    """Inversion in CALLS calls: one a step up; down one a step at scale 1, else two."""
    steps = CALLS // (2 if scale == 1 else 3)
    S = round(steps / strength)
    assert round(strength * S) == steps
    return edit(p, "invert", scale, strength, S) | {"S": S, "calls": CALLS}


def back(p: Problem, kind: str, scale: float) -> dict:
    images, labels, targets = (a[:BATCH] for a in to_edit(p))
    tau, errors = make_tau(p.top(True), EDITS[p.name][1], "trailing"), []
    for i in range(0, len(images), BATCH):
        part = slice(i, i + BATCH)
        own, x = p.network(labels[part], 1.0), images[part]
        if kind == "cycle":
            there = translate(own, p.network(targets[part], 1.0), x, p.model.schedule, tau)
            found = translate(p.network(targets[part], 1.0), own, there, p.model.schedule, tau)
        else:
            down = p.network(labels[part], scale)
            latent = invert(down if kind == "same" else own, x, p.model.schedule, tau)
            found = decode(down, latent, p.model.schedule, tau)
        errors.append(reconstruction_error(found, x))
    return {"kind": kind, "scale": scale, "errors": [float(f"{e:.3g}") for e in torch.cat(errors).tolist()]}


def pieces(name: str) -> dict[str, tuple]:
    """What is measured of a model: name of the piece -> function and arguments."""
    found = {f"guidance {s}": (guidance, s) for s in ("real", *SCALES[name])}
    found |= {
        f"edit {by} {s:g} {strength:g}": (edit, by, s, strength) for by, s in WAYS[name] for strength in STRENGTHS[name]
    }
    if name == "digits":
        found |= {
            f"equal invert {s:g} {strength:g}": (equal, s, strength)
            for s, strengths in EQUAL.items()
            for strength in strengths
        }
        found |= {
            f"back {kind} {s:g}": (back, kind, s)
            for kind in ("same", "from 1")
            for s in BACK
            if (kind, s) != ("from 1", 1.0)
        }
        found["back cycle 1"] = (back, "cycle", 1.0)
    return found


def protocol(p: Problem) -> dict:
    (n, S), (m, steps) = SAMPLES[p.name], EDITS[p.name]
    return {
        "model": model_about(p.model),
        "classifier": {"data": p.judge.data, "accuracy": p.judge.accuracy},
        "guidance": {
            "n": n,
            "S": S,
            "eta": 0.0,
            "top": p.top(False),
            "spacing": "trailing",
            "clip": None,
            "seed": 0,
            "real": n,
            "k": 3,
        },
        "edit": {
            "n": m,
            "S": steps,
            "eta": 0.0,
            "top": {"noise": p.top(False), "invert": p.top(True)},
            "clip": 1.0,
            "seed": 1,
        },
    }


def differ(a, b) -> bool:
    """Whether two results differ by more than rounding on another machine may make them."""
    if isinstance(a, dict):
        return a.keys() != b.keys() or any(differ(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) != len(b) or sum(differ(x, y) for x, y in zip(a, b)) > 0.05 * len(a)
    return a != b if isinstance(a, str) else abs(a - b) > 0.02 * max(1, abs(a))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["digits", "fashion-mnist"])
    parser.add_argument("--out", type=Path, default=Path("results/conditioning.json"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out, wrong = check_writable(args.out), 0
    for name in args.models:
        p = Problem(name)
        for piece, (measure, *arguments) in pieces(name).items():
            everything = (
                json.loads(out.read_text(encoding="utf8"))
                if out.exists()
                else {"command": "python benchmarks/conditioning.py"}
            )
            mine = everything.setdefault("models", {}).setdefault(name, {"protocol": protocol(p), "pieces": {}})
            if args.check:
                if piece in ("guidance 3", "edit invert 1 1", "equal invert 1 0.85", "back from 1 2"):
                    off = differ(mine["pieces"][piece], measure(p, *arguments))
                    wrong += off
                    print(f"{name}: {piece}: {'differs' if off else 'as in the file'}", flush=True)
                continue
            if piece in mine["pieces"]:
                continue
            began = time.process_time()
            found = measure(p, *arguments)
            mine["pieces"][piece] = found
            mine["versions"] = versions() | {"python": platform.python_version()}
            mine["cpu_seconds"] = round(mine.get("cpu_seconds", 0) + time.process_time() - began)
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
            shown = {
                k: v["value"] if isinstance(v, dict) else v for k, v in found.items() if not isinstance(v, (list, str))
            }
            if "errors" in found:
                shown["error"] = sum(found["errors"]) / len(found["errors"])
            print(f"{name}: {piece}: " + "  ".join(f"{k} {v:.3g}" for k, v in shown.items()), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
