r"""Up and down again so that the picture comes back: four ways to invert a deterministic sampler (chapter 18).

A DDIM step with its noise held fixed is undone by :func:`~ddim_edu.sampler.ddim_step` with the levels exchanged. What
makes inversion hard is that the noise is predicted in the state that is being looked for. The ways around it:

- :func:`fixed_point_invert` looks for that state by iteration; :func:`~ddim_edu.sampler.invert` is its first guess.
- :func:`edict_encode`, :func:`edict_decode`: two states, each predicting the noise for the other (Wallace et al. 2023).
- :func:`bdia_encode`, :func:`bdia_decode`: each step starts from the last two states (Zhang et al. 2023).
- :func:`record`, :func:`replay`: any states will do if what each step misses is written down (Huberman-Spiegelglas et
  al. 2024; Wu and De la Torre 2023).

The last three return to the start up to rounding, whatever the network is. By how much they magnify rounding is
another matter, and a subject of the chapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, mix, predict
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import Generators, draw
from ddim_edu.sampler import ddim_step
from ddim_edu.schedule import NoiseSchedule, check_eta, check_tau

Tau = Tensor | Sequence[int]


class Pair(NamedTuple):
    """Two states ``(B, ...)``: EDICT's x and y at one level, or BDIA's last one and the one before it."""

    x: Tensor
    y: Tensor


def fixed_point_iterates(eps_theta: EpsTheta, x_s: Tensor, schedule: NoiseSchedule, t: int, s: int) -> Iterator[Tensor]:
    r"""Ever better guesses of the x_t that one step down, from t to s, leads to ``x_s``; without end.

    .. math:: x_t^{(0)} = \mathrm{step}_{s \to t}\bigl(x_s, \epsilon_\theta(x_s, s)\bigr), \qquad
              x_t^{(k+1)} = \mathrm{step}_{s \to t}\bigl(x_s, \epsilon_\theta(x_t^{(k)}, t)\bigr)

    Each costs a call. They converge where the length of the step in the clock of chapter 7, times the derivative of
    the noise by the rescaled state, has all eigenvalues below 1 in size (chapter 18).

    Args:
        eps_theta: the noise predictor.
        x_s: ``(B, ...)`` the cleaner state.
        schedule: the noise schedule.
        t: the level to reach, above s.
        s: the level of ``x_s``; at 0 the first guess asks for level 1, as :func:`~ddim_edu.sampler.invert` does.

    Equations: eq:fixed-point
    """
    abar_t, abar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    x_t = ddim_step(x_s, predict(eps_theta, x_s, max(s, 1)), abar_s, abar_t)
    while True:
        yield x_t
        x_t = ddim_step(x_s, predict(eps_theta, x_t, t), abar_s, abar_t)


@torch.no_grad()
def fixed_point_invert(
    eps_theta: EpsTheta, x_0: Tensor, schedule: NoiseSchedule, tau: Tau, iterations: int = 3
) -> Tensor:
    """Encode data by solving each step of the sampler for its start (implicit inversion).

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        schedule: the noise schedule.
        tau: levels to visit, as for sampling.
        iterations: of each step, beyond the first guess. 0 is :func:`~ddim_edu.sampler.invert`. A step costs
            ``iterations + 1`` calls.

    Returns:
        ``(B, ...)`` x at level ``tau[-1]``. It decodes to ``x_0`` as far as the iterations have converged; where they
        diverge it may not be finite.

    Raises:
        ValueError: if tau does not fit the schedule, or the iterations are negative.

    Source: Pan et al. 2023, *Effective Real Image Editing with Accelerated Iterative Diffusion Inversion*.

    Equations: eq:fixed-point
    """
    if iterations < 0:
        raise ValueError(f"iterations = {iterations}: give at least 0, which is the first guess alone")
    x = x_0
    for s, t in pairwise(check_tau(tau, schedule.T)):
        guesses = fixed_point_iterates(eps_theta, x, schedule, t, s)
        for _ in range(iterations + 1):
            x = next(guesses)
    return x


@torch.no_grad()
def edict_encode(
    eps_theta: EpsTheta, x_0: Tensor | Pair, schedule: NoiseSchedule, tau: Tau, mixing: float | None = None
) -> Pair:
    r"""Encode data as EDICT's pair: :func:`edict_decode` line by line backwards.

    .. math::
       \begin{aligned}
       y' &= \bigl(y_s - (1 - p)\, x_s\bigr)/p, & x' &= \bigl(x_s - (1 - p)\, y'\bigr)/p, \\
       y_t &= \mathrm{step}_{s \to t}\bigl(y', \epsilon_\theta(x', t)\bigr), &
       x_t &= \mathrm{step}_{s \to t}\bigl(x', \epsilon_\theta(y_t, t)\bigr)
       \end{aligned}

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data, which both states start from; or a pair.
        schedule: the noise schedule.
        tau: levels to visit. A step costs two calls.
        mixing: p, in (0, 1]; :func:`balanced_mixing` if None. The paper takes 0.93.

    Returns:
        The pair at level ``tau[-1]``.

    Raises:
        ValueError: if tau does not fit the schedule, or p is not in (0, 1].

    Equations: eq:edict-inverse
    """
    p, (x, y) = _mixing(mixing, schedule, tau), x_0 if isinstance(x_0, Pair) else Pair(x_0, x_0)
    abar = schedule.alpha_bar.tolist()
    for s, t in pairwise(check_tau(tau, schedule.T)):
        y = (y - (1 - p) * x) / p
        x = (x - (1 - p) * y) / p
        y = ddim_step(y, predict(eps_theta, x, t), abar[s], abar[t])
        x = ddim_step(x, predict(eps_theta, y, t), abar[s], abar[t])
    return Pair(x, y)


@torch.no_grad()
def edict_decode(
    eps_theta: EpsTheta, x_T: Tensor | Pair, schedule: NoiseSchedule, tau: Tau, mixing: float | None = None
) -> Pair:
    r"""EDICT: two coupled states walk down, and each is moved by the noise predicted in the other.

    .. math::
       \begin{aligned}
       x' &= \mathrm{step}_{t \to s}\bigl(x_t, \epsilon_\theta(y_t, t)\bigr), &
       y' &= \mathrm{step}_{t \to s}\bigl(y_t, \epsilon_\theta(x', t)\bigr), \\
       x_s &= p\, x' + (1 - p)\, y', & y_s &= p\, y' + (1 - p)\, x_s
       \end{aligned}

    Args:
        eps_theta: the noise predictor.
        x_T: the pair at level ``tau[-1]``; or ``(B, ...)``, from which both states start.
        schedule, tau, mixing: as for :func:`edict_encode`.

    Returns:
        The pair at level 0. Both are pictures, and equal up to rounding if the pair was encoded from one picture by the
        same predictor.

    Raises:
        ValueError: as :func:`edict_encode`.

    The order is the same at every step; in the authors' code x and y change places at every other one.

    Source: Wallace, Gokul and Naik 2023, *EDICT: Exact Diffusion Inversion via Coupled Transformations*.

    Equations: eq:edict
    """
    p, (x, y) = _mixing(mixing, schedule, tau), x_T if isinstance(x_T, Pair) else Pair(x_T, x_T)
    abar = schedule.alpha_bar.tolist()
    for t, s in pairwise(check_tau(tau, schedule.T)[::-1]):
        x = ddim_step(x, predict(eps_theta, y, t), abar[t], abar[s])
        y = ddim_step(y, predict(eps_theta, x, t), abar[t], abar[s])
        x = p * x + (1 - p) * y
        y = p * y + (1 - p) * x
    return Pair(x, y)


@torch.no_grad()
def bdia_encode(eps_theta: EpsTheta, x_0: Tensor, schedule: NoiseSchedule, tau: Tau, gamma: float = 1.0) -> Pair:
    r"""Encode data as BDIA's pair: the recurrence of :func:`bdia_decode`, solved for the noisier state.

    .. math:: x_{i+1} = \mathrm{step}_{i \to i+1}(x_i, \epsilon_i)
              + \bigl(x_{i-1} - \mathrm{step}_{i \to i-1}(x_i, \epsilon_i)\bigr)/\gamma

    The first step, which has no state before it, is that of :func:`~ddim_edu.sampler.invert`.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        schedule: the noise schedule.
        tau: levels to visit. A step costs one call.
        gamma: in (0, 1].

    Returns:
        The states at ``tau[-1]`` and at ``tau[-2]``.

    Raises:
        ValueError: if tau does not fit the schedule, or gamma is not in (0, 1].

    Equations: eq:bdia-inverse
    """
    _check_gamma(gamma)
    levels, abar = check_tau(tau, schedule.T), schedule.alpha_bar.tolist()
    before = x_0
    x = ddim_step(x_0, predict(eps_theta, x_0, 1), abar[levels[0]], abar[levels[1]])
    for s, t, u in zip(levels, levels[1:], levels[2:]):  # s < t < u: the state at t is the middle one
        eps = predict(eps_theta, x, t)
        missed = before - ddim_step(x, eps, abar[t], abar[s])
        before, x = x, ddim_step(x, eps, abar[t], abar[u]) + missed / gamma
    return Pair(x, before)


@torch.no_grad()
def bdia_decode(
    eps_theta: EpsTheta, x_T: Tensor | Pair, schedule: NoiseSchedule, tau: Tau, gamma: float = 1.0
) -> Tensor:
    r"""BDIA: steps down from the last two states. The noise predicted in the lower one gives the step down, and what
    the same noise misses on the way back to the upper one.

    .. math:: x_{i-1} = \mathrm{step}_{i \to i-1}(x_i, \epsilon_i)
              + \gamma\, \bigl(x_{i+1} - \mathrm{step}_{i \to i+1}(x_i, \epsilon_i)\bigr)

    Args:
        eps_theta: the noise predictor.
        x_T: the pair of :func:`bdia_encode`; or ``(B, ...)`` at level ``tau[-1]`` alone, from which a DDIM step finds
            the other.
        schedule, tau, gamma: as for :func:`bdia_encode`.

    Returns:
        ``(B, ...)`` x_0.

    Raises:
        ValueError: as :func:`bdia_encode`.

    Source: Zhang, Lewis and Kleijn 2023, *Exact Diffusion Inversion via Bi-directional Integration Approximation*.

    Equations: eq:bdia
    """
    _check_gamma(gamma)
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()
    if not isinstance(x_T, Pair):
        x_T = Pair(x_T, ddim_step(x_T, predict(eps_theta, x_T, levels[0]), abar[levels[0]], abar[levels[1]]))
    before, x = x_T
    for u, t, s in zip(levels, levels[1:], levels[2:]):  # u > t > s
        eps = predict(eps_theta, x, t)
        missed = before - ddim_step(x, eps, abar[t], abar[u])
        before, x = x, ddim_step(x, eps, abar[t], abar[s]) + gamma * missed
    return x


class Record(NamedTuple):
    """What :func:`record` writes down."""

    x_T: Tensor
    """``(B, ...)`` the state at ``tau[-1]``."""
    missed: list[Tensor]
    """``(B, ...)`` for each step from the top: what was added to the step's mean."""


@torch.no_grad()
def record(
    eps_theta: EpsTheta,
    x_0: Tensor,
    schedule: NoiseSchedule,
    tau: Tau,
    *,
    eta: float = 1.0,
    chained: bool = False,
    generator: Generators = None,
) -> Record:
    r"""Encode data by states that are drawn, and by what each step misses of the next.

    .. math:: m_s = x_s - \mu_\theta(x_t), \qquad
              \mu_\theta(x_t) = \mathrm{step}_{t \to s}\text{ with this } \eta \text{ and no fresh noise}

    For a stochastic sampler :math:`m_s/\sigma` plays the part of the fresh noise. At the last step, which has none, it
    is what the prediction misses of the picture.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        schedule: the noise schedule.
        tau: levels to visit. A step costs one call, and all of them could be made at once.
        eta: of the sampler, up to 1.
        chained: False draws the state of each level by itself, with noise of its own (DDPM inversion); True draws the
            highest, and the others one after the other from :math:`q_\sigma(x_s \mid x_t, x_0)` (CycleDiffusion).
        generator: one for all, or one for each of the B.

    Raises:
        ValueError: if tau or eta is out of range.

    Source: Huberman-Spiegelglas, Kulikov and Michaeli 2024; Wu and De la Torre 2023.

    Equations: eq:record
    """
    abar, missed = schedule.alpha_bar.tolist(), []
    steps = _stochastic(schedule, tau, eta)
    x_T = x_t = mix(x_0, draw(x_0, generator), abar[steps[0][0]])
    for t, s, sigma in steps:
        if chained:
            mean, _ = q_sigma(x_t, x_0, abar[t], abar[s], sigma)
            x_s = mean + sigma * draw(x_0, generator)
        else:
            x_s = mix(x_0, draw(x_0, generator), abar[s])
        missed.append(x_s - _mean(eps_theta, x_t, abar, t, s, sigma))
        x_t = x_s
    return Record(x_T, missed)


@torch.no_grad()
def replay(eps_theta: EpsTheta, recorded: Record, schedule: NoiseSchedule, tau: Tau, *, eta: float = 1.0) -> Tensor:
    r"""Walk down and add to each step what was written down: :math:`x_s = \mu_\theta(x_t) + m_s`.

    By the predictor that :func:`record` had this passes through its states, up to rounding. By another, of another
    class say, it is an edit.

    Args:
        eps_theta: the noise predictor.
        recorded: what :func:`record` returned.
        schedule, tau, eta: as for :func:`record`.

    Returns:
        ``(B, ...)`` x_0.

    Raises:
        ValueError: if tau or eta is out of range, or the record is of another number of steps.

    Equations: eq:record
    """
    x, abar = recorded.x_T, schedule.alpha_bar.tolist()
    steps = _stochastic(schedule, tau, eta)
    if len(recorded.missed) != len(steps):
        raise ValueError(f"a record of {len(recorded.missed)} steps can't be replayed in {len(steps)}")
    for (t, s, sigma), missed in zip(steps, recorded.missed, strict=True):
        x = _mean(eps_theta, x, abar, t, s, sigma) + missed
    return x


def _stochastic(schedule: NoiseSchedule, tau: Tau, eta: float) -> list[tuple[int, int, float]]:
    """The steps down, (t, s, sigma) each."""
    levels, cpu = check_tau(tau, schedule.T)[::-1], schedule.to("cpu")
    if not check_eta(eta) <= 1:
        raise ValueError(f"eta = {eta}: give a number from 0 to 1")
    return [(t, s, float(cpu.sigma(t, s, eta))) for t, s in pairwise(levels)]


def _mean(eps_theta: EpsTheta, x_t: Tensor, abar: list[float], t: int, s: int, sigma: float) -> Tensor:
    """A stochastic step without its fresh noise."""
    return ddim_step(x_t, predict(eps_theta, x_t, t), abar[t], abar[s], sigma, torch.zeros_like(x_t))


def balanced_mixing(schedule: NoiseSchedule, tau: Tau) -> float:
    r"""The p for which a walk of EDICT neither swells nor shrinks the volume of its pairs.

    .. math:: p = \bar\alpha_T^{\,1/(2S)}, \qquad T = \tau_S

    A larger p magnifies rounding on the way down, a smaller one on the way up (chapter 18).

    Args:
        schedule: the noise schedule.
        tau: levels to visit, of which the highest and the number of steps S count.

    Raises:
        ValueError: if tau does not fit the schedule.

    Equations: eq:edict-balance
    """
    levels = check_tau(tau, schedule.T)
    return float(schedule.alpha_bar[levels[-1]]) ** (0.5 / (len(levels) - 1))


def _mixing(p: float | None, schedule: NoiseSchedule, tau: Tau) -> float:
    if p is None:
        return balanced_mixing(schedule, tau)
    if not 0 < p <= 1:
        raise ValueError(f"mixing = {p}: give a number above 0 and up to 1, which mixes nothing")
    return p


def _check_gamma(gamma: float) -> None:
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma = {gamma}: give a number above 0 and up to 1; at 0 it is DDIM, which has no inverse")
