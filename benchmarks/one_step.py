"""How good is a picture of one call? The table of chapter 20.

    python benchmarks/one_step.py [MODEL ...] [--again] [--out results/one_step.json]

For each model that is named the teacher draws pictures from each of five seeds, 1,000 digits or 400 clothes, by DDIM
and by DPM-Solver++(2M) in several numbers of steps, and each student draws from the same noise. Every row is measured
once and takes its place in the file when it is done; a stopped run goes on where it was, and a row of a model that has
changed since is measured anew. Rows of students that are not shipped are left out.

- distance: the Frechet distance in the features of the small classifier, against all training pictures (chapter 11).
- precision, recall: in the same features, with three neighbours, against the training pictures (of Fashion-MNIST
  against the first 2,000).
- minus_teacher: the distance minus that of the teacher's ten steps of DDIM from the same seeds.

Intervals are Student's, of 95%, over the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.data.pictures import to_uint8
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.features import small
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov, precision_recall
from ddim_edu.measuring.reference import real_images
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.measuring.statistics import summary
from ddim_edu.models import load
from ddim_edu.models.checkpoint import UNET
from ddim_edu.sampling import Sampler, Sampling

SEEDS = 5
N = {"digits": 1000, "fashion-mnist": 400}  # pictures of each
MANIFOLD = 2000  # real pictures that precision and recall compare with, at most
# Model, solver and steps of each row; the first is the yardstick.
ROWS = {
    "digits": [
        ("digits-v", "ddim", 10),
        *(("digits-v", "ddim", S) for S in (1, 2, 4, 20)),
        *(("digits-v", "dpm-solver-2m", S) for S in (2, 4, 10)),
        ("digits-distill", "ddim", 1),
        *(("digits-consistency", "consistency", S) for S in (1, 2, 4)),
    ],
    "fashion-mnist": [
        ("fashion-mnist-v", "ddim", 10),
        *(("fashion-mnist-v", "ddim", S) for S in (2, 4)),
        ("fashion-mnist-distill", "ddim", 2),
    ],
}


class Bench:
    """The classifier's view of one data set."""

    def __init__(self, data: str) -> None:
        self.n, self.features = N[data], small(data)
        found = self.features.in_batches(real_images(data, "train"))
        self.reference, self.real = mean_and_cov(found), found[:MANIFOLD]

    def look(self, images: Tensor) -> tuple[float, float, float]:
        """Distance, precision and recall of pictures in [-1, 1]."""
        found = self.features.in_batches(to_uint8(images))
        precision, recall = precision_recall(self.real, found)
        return frechet_distance(*mean_and_cov(found), *self.reference), precision, recall

    def row(self, name: str, solver: str, steps: int, seeds: int = SEEDS) -> dict[str, Any]:
        """One row of the table, of the shipped model of a name."""
        model = load(name)
        sampler, looks = Sampler(model, 250, "float32", compile=False), []
        for seed in range(seeds):
            sampling = Sampling(self.n, steps, seed=seed, solver=solver)
            sampling.check_with(model)
            looks.append(self.look(sampler.draw(sampling)))
        distance, precision, recall = ([look[i] for look in looks] for i in range(3))
        return {
            "model": name,
            "sha256": model_about(model)["sha256"],
            "solver": solver,
            "steps": steps,
            "calls": sampler.calls_per_image(sampling),
            "distance": interval(distance) | {"each": distance},
            "precision": interval(precision),
            "recall": interval(recall) | {"each": recall},
        }


def interval(values: list[float]) -> dict[str, float]:
    """Mean and half-width of the interval of 95%."""
    found = summary(values)
    return {"mean": found.mean, "half": found.half}


def measure(data: str, known: list[dict[str, Any]], save: Any) -> None:
    """Add the rows that are missing, or whose model is another now; ``save()`` after each."""
    bench, shipped = Bench(data), UNET.shipped()
    for name, solver, steps in ROWS[data]:
        if name not in shipped:
            print(f"{name} is not shipped: no row of it", flush=True)
            continue
        key = {"model": name, "solver": solver, "steps": steps}
        same = [row for row in known if all(row[k] == v for k, v in key.items())]
        if same and same[0]["sha256"] == model_about(load(name))["sha256"]:
            continue
        known[:] = [row for row in known if row not in same]
        began = time.process_time()
        known.append(bench.row(name, solver, steps))
        first = [row for row in known if (row["model"], row["solver"], row["steps"]) == ROWS[data][0]]
        for row in known if first else ():
            pairs = zip(row["distance"]["each"], first[0]["distance"]["each"], strict=True)
            row["minus_teacher"] = interval([a - b for a, b in pairs])
        order = [*ROWS[data]]
        known.sort(key=lambda row: order.index((row["model"], row["solver"], row["steps"])))
        save()
        print(f"{name} {solver} {steps}: {time.process_time() - began:.0f} s", flush=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=["digits"], choices=[*ROWS], metavar="MODEL")
    parser.add_argument("--again", action="store_true", help="measure also what is in the file")
    parser.add_argument("--out", type=Path, default=Path("results/one_step.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    everything = json.loads(out.read_text(encoding="utf8")) if out.exists() and not args.again else {}

    def save() -> None:
        everything["command"] = "python benchmarks/one_step.py " + " ".join(everything["tables"])
        everything["protocol"] = {"n": N, "seeds": SEEDS, "clip": 1.0, "spacing": "trailing", "eta": 0, "neighbours": 3}
        everything["intervals"] = "of 95%, Student's, over the seeds"
        everything["versions"] = versions()
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")

    with torch.no_grad():
        for data in args.models:
            measure(data, everything.setdefault("tables", {}).setdefault(data, []), save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
