"""What the digits recipe owes to predicting v, and what bf16 would change: each choice with three seeds.

    python benchmarks/digits_choices.py [--seeds 0 1 2] [--out results/digits_choices.json]

A run is the recipe's 1,500 steps, about a hundred processor seconds. Judged by the held-out error of what is predicted,
and on 1,000 samples, S = 20, trailing, classes in turn, by the shipped classifier: the share that it reads as what was
asked for, and the distance in its features to the training images. bf16 is asked for by name here; ``--precision auto``
leaves a network of this size in float32. Rows that are in the file already are kept.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from ddim_edu import __version__
from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.files import replacing
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov
from ddim_edu.models import load, load_classifier
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.trainer import Trainer

CHOICES = {"eps": {"prediction": "eps"}, "v": {"prediction": "v"}, "v, bf16": {"prediction": "v", "precision": "bf16"}}
N, STEPS = 1000, 20


def judged(x: torch.Tensor, train: torch.Tensor) -> dict[str, float]:
    """Share of the images that are read as what was asked for, and their distance to the training images."""
    judge = load_classifier("digits").model
    said = torch.cat([judge(part) for part in x.split(250)]).argmax(1)
    features = [torch.cat([judge.features(part) for part in images.split(250)]).double() for images in (x, train)]
    share = (said == torch.arange(len(x)) % 10).double().mean().item()
    return {
        "read_as_asked": share,
        "distance": float(frechet_distance(*(m for f in features for m in mean_and_cov(f)))),
    }


def measure(choice: str, seed: int) -> dict[str, object]:
    """Train, draw and judge."""
    recipe = replace(RECIPES["digits"], **CHOICES[choice], seed=seed)
    recipe = replace(recipe, sample_every=recipe.steps, save_every=recipe.steps)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trainer = Trainer.start(recipe, folder)
        for _ in trainer.run():
            pass
        seconds = time.process_time() - began
        sampler = Sampler(load(folder), 250, "float32")
        row = {
            "choice": choice,
            "seed": seed,
            "processor_seconds": round(seconds, 1),
            "heldout": trainer.heldout_loss(),
        }
        for eta in (0.0, 1.0):
            images = to_uint8(sampler.draw(Sampling(N, STEPS, eta, "trailing", seed=0)))
            with torch.no_grad():
                row[f"eta {eta:g}"] = judged(from_uint8(images), trainer.data.floats(trainer.data.train))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/digits_choices.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(options.out.read_text(encoding="utf8"))["rows"] if options.out.exists() else []
    for seed in options.seeds:
        for choice in CHOICES:
            if any((row["choice"], row["seed"]) == (choice, seed) for row in rows):
                continue
            rows.append(measure(choice, seed))
            print(json.dumps(rows[-1]), flush=True)
            result = {
                "command": shlex.join(["python", "benchmarks/digits_choices.py", *sys.argv[1:]]),
                "protocol": {
                    "samples": N,
                    "steps": STEPS,
                    "spacing": "trailing",
                    "label": "turn",
                    "seed": 0,
                    "sampling": "float32",
                },
                "versions": {"ddim_edu": __version__, "torch": torch.__version__},
                "rows": rows,
            }
            with replacing(options.out) as temporary:
                temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
