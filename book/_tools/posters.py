"""Two pictures of the book that no chapter makes, the same at every run: the one on its first page,
book/images/front.png, and the one that stands in for the live sampler where no scripts run, book/images/live.png.

    python book/_tools/posters.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from ddim_edu.data.pictures import save_grid
from ddim_edu.models import load
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import make_tau

IMAGES = Path(__file__).resolve().parents[1] / "images"


def live() -> None:
    """Ten steps to a three: the states above, the predicted pictures below."""
    saved = load("digits")
    x_T = draw(torch.empty(1, *saved.image_shape), image_generators(0, 0, 1))
    steps = list(ddim_path(saved.eps_theta(3), x_T, saved.schedule, make_tau(saved.schedule.T, 10), clip=1.0))
    states = torch.cat([step.x_t for step in steps] + [steps[-1].x_s])
    guesses = torch.cat([step.x0_hat for step in steps] + [steps[-1].x_s])
    save_grid(torch.cat([states, guesses]), IMAGES / "live.png", columns=11, side=64)


def front() -> None:
    """Three latents on their way to clothes in 20 steps, eight states of each."""
    saved = load("fashion-mnist")
    x_T = draw(torch.empty(3, *saved.image_shape), image_generators(0, 0, 3))
    labels = torch.tensor([9, 3, 8])  # an ankle boot, a dress, a bag
    steps = list(ddim_path(saved.eps_theta(labels), x_T, saved.schedule, make_tau(saved.schedule.T, 20), clip=1.0))
    states = [step.x_t for step in steps] + [steps[-1].x_s]
    shown = torch.stack([states[i] for i in (0, 6, 9, 12, 14, 16, 18, 20)], 1)  # (3, 8, C, H, W)
    save_grid(shown.flatten(0, 1), IMAGES / "front.png", columns=8, side=84)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    live()
    front()
