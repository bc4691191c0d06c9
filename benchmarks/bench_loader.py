"""What the loader costs: the share of a training step that goes into fetching the images, in CPU time (CUDA: waiting
included).

    python benchmarks/bench_loader.py [--recipe digits fashion-mnist cifar10-tiny cifar10-64] [--data-dir DIR] [--device
    auto]

Goal: below 5% of a step. Fetching is what a step does before it draws noise: the shuffle, gathering the batch,
mirroring and turning whole numbers into floats. (Reading and decoding happen once, before training; see
ddim_edu/data/folder.py.)
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ddim_edu.data.batches import mirror
from ddim_edu.processes import pick_device
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.trainer import Trainer


def main() -> int:
    """Print the shares.

    Returns:
        0, or 1 if one is above the goal.
    """
    parser = argparse.ArgumentParser(description="The loader's share of a training step.")
    parser.add_argument("--recipe", nargs="+", default=["digits", "fashion-mnist", "cifar10-tiny", "cifar10-64"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device, missed = pick_device(options.device), False
    clock = time.perf_counter if device.type == "cuda" else time.process_time

    def seconds(call: object) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - began

    for name in options.recipe:
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer.start(RECIPES[name], folder, device, data_dir=options.data_dir)
            some = torch.rand(RECIPES[name].batch, device=device) < 0.5

            def fetch(trainer: Trainer = trainer, some: torch.Tensor = some) -> torch.Tensor:
                images = trainer.data.batch(trainer.shuffle(trainer.step), device)
                return trainer.data.floats(mirror(images, some) if trainer.recipe.flip else images)

            def step(trainer: Trainer = trainer) -> None:
                trainer.train_step()
                trainer.step += 1

            seconds(step), seconds(fetch)
            pairs = [(seconds(fetch), seconds(step)) for _ in range(options.rounds)]
            loader, whole = (statistics.median(times) for times in zip(*pairs))
            print(
                f"{name:16s} step {1e3 * whole:9.2f} ms   loader {1e3 * loader:7.3f} ms   {loader / whole:.2%}",
                flush=True,
            )
            missed |= loader > 0.05 * whole
            trainer.close()
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
