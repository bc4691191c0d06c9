"""The picture that stands in for the live sampler where no scripts run: book/images/live.png, the same at every run.

python book/_tools/live_poster.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from ddim_edu.lab.checkpoint import load
from ddim_edu.lab.data import save_grid
from ddim_edu.sampler import ddim_path, draw, image_generators
from ddim_edu.schedule import make_tau


def main() -> None:
    saved = load("digits")
    x_T = draw(torch.empty(1, *saved.image_shape), image_generators(0, 0, 1))
    steps = list(ddim_path(saved.eps_theta(3), x_T, saved.schedule, make_tau(saved.schedule.T, 10), clip=1.0))
    states = torch.cat([step.x_t for step in steps] + [steps[-1].x_s])
    guesses = torch.cat([step.x0_hat for step in steps] + [steps[-1].x_s])
    out = Path(__file__).resolve().parents[1] / "images" / "live.png"
    out.parent.mkdir(exist_ok=True)
    save_grid(torch.cat([states, guesses]), out, columns=11, side=64)


if __name__ == "__main__":
    main()
