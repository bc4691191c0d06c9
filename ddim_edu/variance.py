r"""The best variance of a step: fresh noise that makes up for what the prediction does not know (chapter 17).

A step puts the number :math:`\hat x_0` where a random :math:`x_0` belongs, and so loses the variance :math:`k^2
\operatorname{Var}(x_0 \mid x_t)`, with k the weight of :math:`x_0` in the step's mean (chapter 5). Averaged over
:math:`x_t` it is one number a level, which can be measured once and given back as noise. Of all Gaussian steps with
the same mean and one variance for all, this one is closest to the true step (chapter 3; Bao, Li, Zhu and Zhang 2022,
*Analytic-DPM*).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, predict, q_sample, unmix_x0
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import Generators, draw
from ddim_edu.sampler import Step, clip_then_edit, ddim_step, end_of, estimate, walk
from ddim_edu.schedule import NoiseSchedule, check_tau


@torch.no_grad()
def unknown_variance(
    eps_theta: EpsTheta,
    x_0: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    generator: Generators = None,
) -> Tensor:
    r"""How far the predicted data is from the data, at each level of tau: the mean square of :math:`\hat x_0 - x_0`.

    For the exact predictor it is :math:`E \operatorname{Var}(x_0 \mid x_t)`. For a network its own error comes on top,
    as it should: around a mean that is off, the best variance is that much larger. One call for each image and level.

    Args:
        eps_theta: the noise predictor; with labels, it is asked about all of x_0 at once, in this order.
        x_0: ``(N, ...)`` data.
        schedule: the noise schedule.
        tau: ``(S+1,)`` levels from 0.
        generator: where the noise comes from.

    Returns:
        ``(S+1,)`` float64, a mean over data and coordinates; 0 at level 0.

    Raises:
        ValueError: if tau is out of range.

    Equations: eq:best-variance
    """
    found = [0.0]
    for t in check_tau(tau, schedule.T)[1:]:
        x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
        x0_hat = unmix_x0(x_t, predict(eps_theta, x_t, t), schedule.alpha_bar[t].item())
        found.append((x0_hat - x_0).double().square().mean().item())
    return torch.tensor(found, dtype=torch.float64)


def best_sigma(
    schedule: NoiseSchedule, tau: Tensor | Sequence[int], unknown: Tensor | Sequence[float], eta: float = 1.0
) -> Tensor:
    r"""The noise of each step that loses no variance on average.

    .. math:: \sigma_*^2 = \sigma_{t \to s}(\eta)^2 + k^2\, E \operatorname{Var}(x_0 \mid x_t)

    Args:
        schedule: the noise schedule.
        tau: ``(S+1,)`` levels from 0.
        unknown: ``(S+1,)`` :math:`E \operatorname{Var}(x_0 \mid x_t)` at these levels, as from
            :func:`unknown_variance`.
        eta: whose mean the step has. 1 is DDPM's, of chapter 3's formula; 0 is DDIM's.

    Returns:
        ``(S,)`` float64, for the step from ``tau[i + 1]`` to ``tau[i]``. For the last step, to the data (``[0]``), it
        is the root of ``unknown[1]``; samplers leave that noise out, since it would be seen.

    Raises:
        ValueError: if tau is out of range, or ``unknown`` is of another length or negative.

    Equations: eq:best-variance
    """
    levels = torch.tensor(check_tau(tau, schedule.T))
    unknown = torch.as_tensor(unknown, dtype=torch.float64)
    if unknown.shape != levels.shape:
        raise ValueError(f"unknown has shape {tuple(unknown.shape)}; give a number for each of {len(levels)} levels")
    if not bool((unknown >= 0).all()):  # written so that nan fails too
        raise ValueError(f"unknown = {unknown.tolist()}: a variance is at least 0")
    schedule, t, s = schedule.to("cpu"), levels[1:], levels[:-1]
    sigma, one = schedule.sigma(t, s, eta), torch.ones(len(t), dtype=torch.float64)
    k = q_sigma(0 * one, one, schedule.alpha_bar[t], schedule.alpha_bar[s], sigma).mean
    return (sigma**2 + k**2 * unknown[1:]).sqrt()


def best_path(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    unknown: Tensor | Sequence[float],
    *,
    eta: float = 1.0,
    generator: Generators = None,
    clip: float | None = None,
) -> Iterator[Step]:
    """The sampler with the best variance, one step at a time: the mean of eta's step, the noise of :func:`best_sigma`.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        tau: ``(S+1,)`` strictly increasing levels from 0.
        unknown: ``(S+1,)`` from :func:`unknown_variance`.
        eta: whose mean the steps have.
        generator: where fresh noise comes from, as in :func:`ddim_edu.sampler.ddim_path`.
        clip: if given, predicted data is clamped to [-clip, clip].

    Yields:
        Each step. The last adds no noise.

    Raises:
        ValueError: if an argument is out of range.

    Equations: eq:best-variance
    """
    levels, abar, edit = check_tau(tau, schedule.T), schedule.alpha_bar.tolist(), clip_then_edit(clip)
    best = dict(zip(levels, best_sigma(schedule, levels, unknown, eta).tolist()))  # of the step to each level

    def move(x_t: Tensor, t: int, s: int) -> Step:
        eps_hat, x0_hat = estimate(eps_theta, x_t, t, abar[t], edit)
        sigma = schedule.sigma(t, s, eta).item()
        mean = ddim_step(x_t, eps_hat, abar[t], abar[s], sigma, torch.zeros_like(x_t), x0_hat=x0_hat)
        return Step(t, s, x_t, eps_hat, x0_hat, mean + best[s] * draw(mean, generator) if s > 0 else mean)

    return walk(move, x_T, levels[::-1])


@torch.no_grad()
def best_variance(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    unknown: Tensor | Sequence[float],
    *,
    eta: float = 1.0,
    generator: Generators = None,
    clip: float | None = None,
) -> Tensor:
    """The end of :func:`best_path`, x_0 ``(B, ...)``; arguments and errors are its."""
    return end_of(best_path(eps_theta, x_T, schedule, tau, unknown, eta=eta, generator=generator, clip=clip))
