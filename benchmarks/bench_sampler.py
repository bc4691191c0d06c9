"""The share of sampling that is spent outside the network. The goal is under 2%.

    python benchmarks/bench_sampler.py [CHECKPOINT]

20 DDIM steps with the network of the digits recipe, batch 64 (weights don't change the time, so that none need to be
trained). The time inside the network is summed over its calls, and the share is what is left of the whole; both are
taken in the same run, so that a busy machine slows them together. On a GPU every call is waited for.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import Tensor

from ddim_edu.models import load
from ddim_edu.nets.unet import UNet
from ddim_edu.processes import pick_device
from ddim_edu.randomness import image_generators
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.training.recipes import RECIPES

BATCH, STEPS, RUNS = 64, 20, 15


def main() -> int:
    """Print the figures.

    Returns:
        0, or 1 if a share missed the goal.
    """
    device = pick_device()
    if len(sys.argv) > 1:
        loaded = load(sys.argv[1], device)
        model, schedule, config = loaded.model, loaded.schedule, loaded.config
    else:
        recipe = RECIPES["digits"]
        config, schedule = recipe.unet, recipe.noise_schedule()
        model = UNet(config).eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    tau = make_tau(schedule.T, STEPS)
    shape = (BATCH, config.image_channels, config.image_size, config.image_size)
    inside = 0.0

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(x_t: Tensor, t: Tensor) -> Tensor:
        nonlocal inside
        start = now()
        eps = model(x_t, t)
        inside += now() - start
        return eps

    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, batch {BATCH}, S = {STEPS}, {device}, {torch.get_num_threads()} threads")
    missed = False
    for name, eta, clip, per_image in (
        ("eta 0", 0.0, None, True),
        ("eta 0, clipped", 0.0, 1.0, True),
        ("eta 1", 1.0, None, False),
        ("eta 1, a generator per image", 1.0, None, True),
    ):
        shares, totals = [], []
        for run in range(RUNS + 2):
            inside, start = 0.0, now()
            generator = image_generators(0, 0, BATCH) if per_image else torch.Generator().manual_seed(0)
            sample(timed, shape, schedule, tau, eta=eta, generator=generator, device=device, clip=clip)
            total = now() - start
            if run >= 2:  # the first runs warm up
                shares.append(1 - inside / total)
                totals.append(total)
        share = statistics.median(shares)
        missed |= share >= 0.02
        print(
            f"{name:29} {share:6.2%} outside the network (goal < 2%; runs: {min(shares):.2%} to {max(shares):.2%}); "
            f"{statistics.median(totals) * 1e3:.0f} ms in all"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
