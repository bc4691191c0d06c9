r"""What a sampler makes of data on a line, computed without drawing a sample (chapter 5).

The state of a sampler is followed by its distribution function. The noiseless part of a step moves points, and leaves
the share of mass to the left of each as it is, as long as the points keep their order. Fresh noise makes of each
value an average of those around it, a convolution with a Gaussian: on a grid that is a product after a Fourier
transform. A transform takes what it is given for periodic, and a distribution function rises from 0 to 1; so the
normal one, whose convolution is known, is taken off first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.interpolate import CubicSpline, PchipInterpolator
from torch import Tensor

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import EpsTheta
from ddim_edu.sampler import ddim_step
from ddim_edu.schedule import NoiseSchedule, check_eta

REACH, POINTS = 5.0, 2000  # the grid, on which fresh noise is added, spans -REACH to REACH

_ndtr = torch.special.ndtr


def output_cdf(
    eps_theta: EpsTheta,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    eta: float | str | Callable[[int], float | str] = 0.0,
    *,
    start: float = 0.0,
    centre: float = 0.0,
    noise: Callable[[int, int], float] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The distribution function of a sampler's output.

    Args:
        eps_theta: the noise predictor, for points ``(B, 1)``.
        schedule: the noise schedule.
        tau: rising levels from 0, as :func:`ddim_edu.schedule.make_tau` makes them.
        eta: 0 is DDIM, 1 DDPM, ``"hat"`` DDPM with its larger noise; or a function that gives one of these for the
            level t that a step leaves.
        start: the mean of the starts, which are drawn from :math:`\mathcal N(\text{start}, 1)`.
        centre: where the starts are closest together if no noise is ever added. Points then stay points, and where a
            deterministic sampler parts its starts it takes many to see how much mass goes either way.
        noise: ``noise(t, s)`` is the standard deviation of the fresh noise of a step in place of eta's, whose mean
            the step keeps; 0 adds none.

    Returns:
        Rising points ``(N,)`` and the share of the output to the left of each ``(N,)``, float64. On Gaussian data,
        where a recursion knows the answer, twelve steps are right to 5e-5.

    Raises:
        ValueError: if a step changes the order of the points or, where noise is added, moves mass beyond -REACH to
            REACH, or the predictor's answer has another shape.
    """
    levels, abar = [int(t) for t in tau], schedule.alpha_bar
    eta_at = eta if callable(eta) else lambda t: eta
    grid = torch.linspace(-REACH, REACH, POINTS + 1, dtype=torch.float64)[:-1]
    x = centre + 0.05 * torch.sinh(torch.linspace(-5.4, 5.4, 4001, dtype=torch.float64))
    if noise is not None or any(eta_at(t) != 0 for t in levels[1:]):
        x = grid
    cdf = _ndtr(x - start)
    for s, t in reversed(list(zip(levels, levels[1:], strict=False))):
        larger = eta_at(t) == "hat"
        sigma = schedule.sigma(t, s, 1.0 if larger else check_eta(eta_at(t))).item()
        eps_hat = eps_theta(x[:, None], torch.full((len(x),), t))
        if eps_hat.shape != (len(x), 1):
            raise ValueError(f"the predictor gave {tuple(eps_hat.shape)} for {(len(x), 1)}: this is for data on a line")
        x = ddim_step(x, eps_hat[:, 0], abar[t].item(), abar[s].item(), sigma, 0 * x)
        if not bool((x.diff() > 0).all()):
            raise ValueError(f"the step from level {t} to {s} changes the order of the points: take more steps")
        fresh = noise(t, s) if noise is not None else schedule.sigma_hat(t, s).item() if larger and sigma > 0 else sigma
        if fresh > 0:
            x, cdf = grid, _convolved(grid, x, cdf, fresh)
    return x, cdf


def w1(mixture: GaussianMixture, x: Tensor, cdf: Tensor) -> float:
    """Wasserstein-1 distance from a mixture on the line: the area between two distribution functions.

    It is the mean distance that the mass of one distribution has to travel to become the other.

    Args:
        mixture: the truth, of dimension 1, with variances above 0.
        x: rising points, as from :func:`output_cdf`.
        cdf: the share of mass to the left of each.

    Raises:
        ValueError: if the mixture is not on a line, or one of the two has mass beyond -REACH to REACH.
    """
    if mixture.dim != 1:
        raise ValueError(f"the mixture has dimension {mixture.dim}: give one on a line")
    fine = torch.linspace(-REACH, REACH, 10 * POINTS + 1, dtype=torch.float64)
    truth = _ndtr((fine[:, None] - mixture.means[:, 0]) / mixture.covs[:, 0, 0].sqrt()) @ mixture.weights
    found = torch.from_numpy(PchipInterpolator(x, cdf)(fine.clamp(x[0].item(), x[-1].item())))
    _check_within(truth, "the mixture")
    _check_within(found, "the output")
    return torch.trapezoid((found - truth).abs(), fine).item()


def _check_within(cdf: Tensor, what: str) -> None:
    """A check of a distribution function on the grid: what lies beyond it is not seen."""
    beyond = max(cdf[0].item(), 1 - cdf[-1].item())
    if beyond > 1e-3:
        raise ValueError(f"{what} has a share of {beyond:.2g} beyond -{REACH:g} to {REACH:g}: bring the data to size")


def _convolved(grid: Tensor, x: Tensor, cdf: Tensor, std: float) -> Tensor:
    """The distribution function plus noise of this standard deviation, on the grid."""
    frequency = 2 * math.pi * np.fft.rfftfreq(POINTS, 2 * REACH / POINTS)
    moved = CubicSpline(x, cdf)(grid.clamp(x[0].item(), x[-1].item()))
    _check_within(torch.from_numpy(moved), "the state")
    gap = moved - _ndtr(grid).numpy()
    gap = np.fft.irfft(np.fft.rfft(gap) * np.exp(-0.5 * (std * frequency) ** 2), POINTS)
    return torch.from_numpy(gap) + _ndtr(grid / (1 + std**2) ** 0.5)
