"""The picture that stands in for the live sampler where no scripts run, book/images/live.png, the same at every run.

python book/_tools/posters.py
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from hero import normals

from ddim_edu.data.pictures import save_grid
from ddim_edu.models import load
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import make_tau

IMAGES = Path(__file__).resolve().parents[1] / "images"
SEED, LABEL = 1, 1


def live() -> None:
    """Ten steps to the face that the live page opens with: the states above, the predicted pictures below."""
    saved = load("faces")
    x_T = torch.from_numpy(normals(2 * SEED, math.prod(saved.image_shape))).view(1, *saved.image_shape)
    steps = list(ddim_path(saved.eps_theta(LABEL), x_T, saved.schedule, make_tau(saved.schedule.T, 10), clip=1.0))
    states = torch.cat([step.x_t for step in steps] + [steps[-1].x_s])
    guesses = torch.cat([step.x0_hat for step in steps] + [steps[-1].x_s])
    save_grid(torch.cat([states, guesses]), IMAGES / "live.png", columns=11, side=64)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    live()
