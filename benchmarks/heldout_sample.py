"""What a model's held-out loss is on the first images of the test set, and on as many of each class; for chapter 10.

    python benchmarks/heldout_sample.py [cifar10-tiny] [--data-dir data]

CIFAR-10 as image folders is sorted by class: its first 400 test images are airplanes. Both losses are the trainer's,
of the shipped weights, with the same levels and noise, on 400 images, five times each; the error is that of the images.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.data.batches import fair_sample
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.result import model_about
from ddim_edu.models import Checkpoint, load
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.training.heldout import DRAWS, MOST, HeldOut


def loss(model: Checkpoint, data: ImageData, chosen: Tensor) -> dict[str, float]:
    """The trainer's held-out loss on the chosen of the held-out images, and its standard error over them."""
    heldout = HeldOut(data, model.schedule.T, chosen=chosen)
    errors = heldout.errors(model.eps_theta, model.recipe.get("prediction", "eps"), model.schedule)
    each = torch.cat(errors).view(DRAWS, -1).mean(0)
    return {"loss": each.mean().item(), "standard_error": each.std().item() / math.sqrt(len(each))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="cifar10-tiny")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    out = check_writable(Path("results/heldout_sample.json"))
    model = load(options.model)
    data = load_data(model.recipe["data"], data_dir=options.data_dir, size=model.config.image_size)
    fair = fair_sample(data.heldout_labels, MOST, generator_for(0, Stream.HELDOUT, 0))
    command = f"python benchmarks/heldout_sample.py {options.model}"
    result = {"command": command, "model": model_about(model), "images": MOST}
    for name, chosen in {"first": torch.arange(MOST), "fair": fair}.items():
        found = result[name] = {"classes": len(data.heldout_labels[chosen].unique())} | loss(model, data, chosen)
        print(f"{name}, classes {found['classes']}: {found['loss']:.4f}, error {found['standard_error']:.4f}")
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
