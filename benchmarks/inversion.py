"""Editing under another class by nine ways of going up and down, at one price. Chapter 18 shows the results.

    python benchmarks/inversion.py [digits] [fashion-mnist] [faces] [--out results/inversion.json]

Rows that are in the file already are left alone, so that a run that was stopped goes on; rows of other weights are
measured anew. Every way costs CALLS calls of the network for a picture: a step down under guidance costs two, a step
up, under the picture's own class without guidance, one; EDICT costs twice that, and the fixed point three calls a step
up. So the ways differ in their number of steps. (BDIA saves one step down, and has 58 calls.)
Nothing is clipped on the way. ``top`` is the level that a way goes up to. Held-out picture i goes from its class to
(its class + 1 + i mod (classes - 1)).

``success``: the shipped classifier sees the target. ``identity``: cosine between the features of the classifier before
and after, each less the mean of its class over training pictures (features alone say the class). ``outside``: PSNR in
dB over the half of a picture's pixels where the predictions for the two classes differ least, over four levels, one
noise each: the same half for all ways. All are per picture.

``pictures``: the first four as they came out, of the ways SHOWN at the highest level.

``back``: BACK pictures up and down under their own class with one scale both ways, S = 20 whatever that costs, in
float32: root mean square error of each, in the range [-1, 1], and the first four as they came back (bytes in base64).
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.apps.edit import renoise, translate
from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta, q_sample
from ddim_edu.guidance import guided
from ddim_edu.inversion import (
    bdia_decode,
    bdia_encode,
    edict_decode,
    edict_encode,
    fixed_point_invert,
    record,
    replay,
)
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import load, load_classifier
from ddim_edu.models.small import classifier_features
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import decode
from ddim_edu.schedule import NoiseSchedule, make_tau

CALLS = 60
SCALE = 2.0
MODELS = {"digits": "digits", "fashion-mnist": "fashion-mnist-v", "faces": "faces"}
PICTURES = {"digits": 200, "fashion-mnist": 80, "faces": 16}
TOPS = {"digits": (500, 700, 900), "fashion-mnist": (700, 900), "faces": (700, 900)}
SEED, BATCH, BACK = 0, 50, 8
STEPS = {
    "noise": 30, "naive": 20, "fixed point": 12, "EDICT": 10, "EDICT 0.93": 10, "BDIA": 20, "BDIA 0.9": 20,
    "DDPM inversion": 20, "CycleDiffusion": 20,
}  # fmt: skip
SHOWN = ("naive", "BDIA", "BDIA 0.9")  # ways whose first four pictures, from the highest level, are kept


class Problem:
    """A shipped model, pictures to edit, and the classifier that judges."""

    def __init__(self, name: str) -> None:
        self.name, self.model, self.judge, data = name, load(MODELS[name]), load_classifier(name), load_data(name)
        n, classes = PICTURES[name], self.model.config.classes
        self.images, self.labels = data.floats(data.heldout[:n]), data.heldout_labels[:n]
        self.targets = (self.labels + 1 + torch.arange(n) % (classes - 1)) % classes
        known, of = data.floats(data.train[:1500]), data.train_labels[:1500]
        features = classifier_features(known, self.judge)
        self.means = torch.stack([features[of == c].mean(0) for c in range(classes)])

    @torch.no_grad()
    def quiet(self, part: slice) -> Tensor:
        """``(B, 1, H, W)`` bool: the half of the pixels where the two classes' predictions differ least."""
        x, total = self.images[part], 0.0
        ways = [self.model.eps_theta(c[part]) for c in (self.labels, self.targets)]
        generators = image_generators(SEED + 1, part.start, part.start + len(x))
        for t in (200, 400, 600, 800):
            x_t, levels = q_sample(x, t, self.model.schedule, draw(x, generators)), torch.full((len(x),), t)
            total = total + (ways[0](x_t, levels) - ways[1](x_t, levels)).abs().mean(1, keepdim=True)
        # By rank: on a plain ground the median itself may stand there often.
        rank = total.flatten(1).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        return (rank < rank.shape[1] // 2).view_as(total)


def there_and_back(
    way: str, own: EpsTheta, other: EpsTheta, x: Tensor, schedule: NoiseSchedule, tau: Tensor, start: int
) -> Tensor:
    """One way up by ``own`` and down by ``other``."""
    walk, generators = (schedule, tau), image_generators(SEED, start, start + len(x))
    if way == "noise":
        return renoise(other, x, *walk, 1.0, generator=generators)
    if way == "naive":
        return translate(own, other, x, *walk)
    if way == "fixed point":
        return decode(other, fixed_point_invert(own, x, *walk, iterations=2), *walk)
    if way.startswith("EDICT"):
        p = 0.93 if "0.93" in way else None
        return edict_decode(other, edict_encode(own, x, *walk, p), *walk, p).x
    if way.startswith("BDIA"):
        gamma = 0.9 if "0.9" in way else 1.0
        return bdia_decode(other, bdia_encode(own, x, *walk, gamma), *walk, gamma)
    notes = record(own, x, *walk, chained=way == "CycleDiffusion", generator=generators)
    return replay(other, notes, *walk)


@torch.no_grad()
def edit(p: Problem, way: str, top: int, n: int | None = None) -> dict:
    """A row of the file: all pictures, or the first n."""
    tau, calls, rows, first = make_tau(top, STEPS[way], "trailing"), 0, [], p.images[:0]

    def counted(f: EpsTheta) -> EpsTheta:
        def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
            nonlocal calls
            calls += len(x_t)
            return f(x_t, t)

        return eps_theta

    n = n or len(p.images)
    for start in range(0, n, BATCH):
        part = slice(start, min(start + BATCH, n))
        x, labels, targets = p.images[part], p.labels[part], p.targets[part]
        own = counted(p.model.eps_theta(labels))
        other = guided(counted(p.model.eps_theta(targets)), counted(p.model.eps_theta()), SCALE)
        found = from_uint8(to_uint8(there_and_back(way, own, other, x, p.model.schedule, tau, start)))
        first = found[:4] if start == 0 else first
        before, after = (classifier_features(y, p.judge) for y in (x, found))
        same = torch.cosine_similarity(before - p.means[labels], after - p.means[targets])
        quiet = p.quiet(part).expand_as(x).double()
        error = ((found - x).double() / 2).square().mul(quiet).sum((1, 2, 3)) / quiet.sum((1, 2, 3))
        won = p.judge.model(found).argmax(1) == targets
        rows.append(torch.stack([won.double(), same.double(), -10 * error.clamp(min=1e-10).log10()]))
    success, identity, outside = torch.cat(rows, 1).tolist()
    assert CALLS - 2 <= calls / n <= CALLS, f"{way}: {calls / n} calls"
    pictures = {"pictures": pack(first)} if way in SHOWN and top == max(TOPS[p.name]) else {}
    return pictures | {
        "way": way,
        "top": top,
        "S": STEPS[way],
        "calls": calls // n,
        "success": [int(v) for v in success],
        "identity": [round(v, 4) for v in identity],
        "outside": [round(v, 3) for v in outside],
    }


def pack(images: Tensor) -> str:
    """Images as text: bytes in base64."""
    return base64.b64encode(to_uint8(images).numpy().tobytes()).decode()


@torch.no_grad()
def back(p: Problem) -> dict:
    """There and back under the own class."""
    x, labels, tau = p.images[:BACK], p.labels[:BACK], make_tau(900, 20, "trailing")
    found: dict = {"S": 20, "top": 900, "n": BACK, "pictures": pack(x[:4]), "rows": []}
    for scale in (1.0, 7.5):
        f = guided(p.model.eps_theta(labels), p.model.eps_theta(), scale)
        for way in ("naive", "fixed point", "EDICT", "BDIA"):
            y = there_and_back(way, f, f, x, p.model.schedule, tau, 0)
            error = (y - x).square().mean((1, 2, 3)).sqrt()
            row = {"way": way, "scale": scale, "error": [float(f"{e:.3g}") for e in error], "pictures": pack(y[:4])}
            found["rows"].append(row)
    return found


def protocol(p: Problem) -> dict:
    return {
        "model": model_about(p.model),
        "classifier": {"data": p.judge.data, "accuracy": p.judge.accuracy},
        "n": PICTURES[p.name],
        "calls": CALLS,
        "scale": SCALE,
        "spacing": "trailing",
        "clip": None,
        "seed": SEED,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(PICTURES))
    parser.add_argument("--out", type=Path, default=Path("results/inversion.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out: Path = check_writable(args.out)
    for name in args.models:
        p = Problem(name)
        file = json.loads(out.read_text(encoding="utf8")) if out.exists() else {"models": {}}
        mine = file["models"].get(name, {})
        if mine.get("protocol") != protocol(p) or "back" not in mine:
            file["models"][name] = {"protocol": protocol(p), "back": back(p), "rows": []}
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(file, indent=1) + "\n", encoding="utf8")
        for top in sorted(TOPS[name], reverse=True):
            for way in STEPS:
                file = json.loads(out.read_text(encoding="utf8")) if out.exists() else {"models": {}}
                file["command"] = "python benchmarks/inversion.py"
                mine = file["models"][name]
                if any((row["way"], row["top"]) == (way, top) for row in mine["rows"]):
                    continue
                began = time.process_time()
                mine["rows"].append(edit(p, way, top))
                mine["rows"].sort(key=lambda row: (-row["top"], [*STEPS].index(row["way"])))
                mine["versions"] = versions() | {"python": platform.python_version()}
                mine["cpu_seconds"] = round(mine.get("cpu_seconds", 0) + time.process_time() - began)
                with replacing(out) as temporary:
                    temporary.write_text(json.dumps(file, indent=1) + "\n", encoding="utf8")
                shown = {k: sum(v) / len(v) for k, v in mine["rows"][-1].items() if isinstance(v, list)}
                print(name, top, way, {k: f"{v:.3g}" for k, v in shown.items()}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
