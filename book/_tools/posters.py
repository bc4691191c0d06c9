"""The pictures that stand in for the live sampler and for the playground where no scripts run, book/images/live.png and
plane.png, the same at every run.

python book/_tools/posters.py
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from hero import normals

from ddim_edu.data.pictures import save_grid
from ddim_edu.exact import GaussianMixture
from ddim_edu.models import load
from ddim_edu.plotting import figure
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import NoiseSchedule, make_tau

IMAGES = Path(__file__).resolve().parents[1] / "images"
SEED, LABEL = 1, 1


def live() -> None:
    """Ten steps to the face that the live page opens with: the states above, the predicted pictures below."""
    saved = load("faces")
    x_T = torch.from_numpy(normals(2 * SEED, math.prod(saved.image_shape))).view(1, *saved.image_shape)
    steps = list(ddim_path(saved.eps_theta(LABEL), x_T, saved.schedule, make_tau(saved.schedule.T, 10), clip=1.0))
    states = torch.cat([step.x_t for step in steps] + [steps[-1].x_s])
    guesses = torch.cat([step.x0_hat for step in steps] + [steps[-1].x_s])
    save_grid(torch.cat([states, guesses]), IMAGES / "live.png", columns=11, side=32)


def plane() -> None:
    """What the playground shows, in three settings: 300 ways without noise, with it, and from a wrong start."""
    schedule = NoiseSchedule.linear()
    mix = GaussianMixture([0.5, 0.3, 0.2], [[-1.1, -0.6], [1.1, -0.5], [0.2, 1.1]], 0.17**2, schedule)
    generator = torch.Generator().manual_seed(0)
    x_T = torch.randn(300, 2, generator=generator, dtype=torch.float64)
    shifted = x_T + torch.tensor([0.8, 0.0])
    fig, axes = figure(3, height=3.4, sharex=True, sharey=True)
    panels = (
        ("without noise, η = 0", x_T, 0.0),
        ("with fresh noise, η = 1", x_T, 1.0),
        ("a wrong start, η = 0", shifted, 0.0),
    )
    for ax, (title, start, eta) in zip(axes, panels, strict=True):
        steps = list(ddim_path(mix.eps, start, schedule, make_tau(1000, 50), eta=eta, generator=generator))
        path = torch.stack([start] + [step.x_s for step in steps])  # (51, 300, 2)
        cluster = torch.cdist(path[-1], mix.means).argmin(1)
        for k, colour in enumerate(("#0072b2", "#c24e00", "#007e5c")):
            shown = path[-12 if eta else 0 :, cluster == k]  # with noise, whole ways hide each other
            ax.plot(*shown.permute(2, 0, 1), color=colour, linewidth=0.5, alpha=0.25)
            ax.plot(*shown[-1].T, ".", color=colour, markersize=3)
        ax.set(title=title, xlim=(-2.8, 2.8), ylim=(-2.6, 2.6), aspect="equal")
        ax.axis("off")
    fig.savefig(IMAGES / "plane.png", dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    live()
    plane()
