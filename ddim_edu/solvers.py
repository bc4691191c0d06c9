r"""Other solvers of the sampler's differential equation (chapters 7 and 8).

A deterministic DDIM step is Euler's method for :math:`d\bar x/d\nu = \epsilon_\theta`, with the rescaled state
:math:`\bar x = x/\sqrt{\bar\alpha}` and the clock :math:`\nu = \sqrt{(1-\bar\alpha)/\bar\alpha}` (chapter 7). Here are
methods of order 2 on the same callable, and steps whose length is chosen by an estimate of their error. All are
deterministic, and all visit whole levels, so that any trained network will do.

**A solver is a function** ``solver(eps_theta, x_T, schedule, tau) -> x_0``: from ``x_T (B, ...)`` at level ``tau[-1]``
down the levels of tau to the data, of the same shape. :func:`heun` and :func:`dpm_solver_2m` are two, and so is
:func:`ddim_edu.sampler.decode`; whatever else they take has a default and is named. Each is the end of a path, which
takes the same arguments and yields a :class:`~ddim_edu.sampler.Step` at a time: :func:`heun_path`,
:func:`dpm_solver_2m_path`, :func:`ddim_edu.sampler.ddim_path`. :func:`adaptive_ddim` finds its levels itself and has no
use for a tau; with ``t_start=int(tau[-1])`` its ``x_0`` begins where the others do.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, mix, per_sample, predict, unmix_eps, unmix_x0
from ddim_edu.sampler import Step, ddim_step, end_of
from ddim_edu.schedule import NoiseSchedule, check_tau


def heun_path(
    eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int], *, reuse: bool = False
) -> Iterator[Step]:
    r"""Heun's method in the clock of DDIM, one step at a time.

    A DDIM step from t to s finds where to ask for the noise a second time; then the step is made again from x_t with
    the mean of the two: :math:`\bar x_s = \bar x_t + (\nu_s - \nu_t)\, \tfrac12 (\epsilon_t + \epsilon_s)`. The last
    step, to the data, is plain DDIM: no network knows level 0. This is the sampler of Karras et al. 2022 (Algorithm 1)
    on the levels of tau.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        tau: ``(S+1,)`` strictly increasing levels from 0; see :func:`ddim_edu.schedule.make_tau`.
        reuse: False calls the network twice a step, 2S - 1 times in all. True takes the noise that was predicted at the
            end of a step (at the point of the DDIM step, which is near the corrected one) for the beginning of the
            next: S calls, and still order 2.

    Yields:
        Each step, with the noise and the data it was made with: the mean of the two predictions, and what that makes of
        x_t.

    Warns where the first step is so long in the clock that the mean of two noises is none for the step, as from T on a
    cosine schedule.

    Raises:
        ValueError: if tau is out of range.
    """
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()
    _warn_of_the_first_step(schedule, levels)

    def walk(x_t: Tensor) -> Iterator[Step]:
        eps_s = None
        for t, s in pairwise(levels):
            eps_hat = eps_t = predict(eps_theta, x_t, t) if eps_s is None or not reuse else eps_s
            if s > 0:
                eps_s = predict(eps_theta, ddim_step(x_t, eps_t, abar[t], abar[s]), s)
                eps_hat = (eps_t + eps_s) / 2
            x0_hat = unmix_x0(x_t, eps_hat, abar[t])
            x_s = mix(x0_hat, eps_hat, abar[s])
            yield Step(t, s, x_t, eps_hat, x0_hat, x_s)
            x_t = x_s

    return walk(x_T)  # a generator of its own, so that what is wrong with the arguments is said at the call


def _warn_of_the_first_step(schedule: NoiseSchedule, levels: list[int]) -> None:
    """Say so where Heun's first step is too long; ``levels`` fall.

    For data of variance v the noise is nu xbar / (v + nu^2): all of its change from nu_t down to nu_s happens near
    nu_s, and is of size v / nu_s^2. Heun's method spreads half of it over the whole step.
    """
    t, s = levels[:2]
    above, below = schedule.nsr[t].item(), schedule.nsr[s].item()
    if s > 0 and above - below > 5 * max(below, 1.0) ** 2:
        warnings.warn(
            f"heun: the first step, from level {t} to {s}, takes the clock sqrt((1 - abar)/abar) from {above:.3g} to "
            f"{below:.3g}, too far for a mean of two noises: samples will be far off. Solver dpm-solver-2m has no such "
            "limit; or start below T, as spacing leading does",
            stacklevel=3,
        )


def dpm_solver_2m_path(
    eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int]
) -> Iterator[Step]:
    r"""DPM-Solver++(2M) of Lu et al. 2022 (Algorithm 2), one step at a time: order 2 with one call a step.

    A step of DDIM whose predicted data is carried on, along the line through this and the last prediction, to the
    middle of the step. Where that is, is counted in :math:`-\ln \nu`, half the logarithm of the SNR. The first step has
    no last prediction, and the step to the data no middle (it is infinitely long): both are plain DDIM.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        tau: ``(S+1,)`` strictly increasing levels from 0.

    Yields:
        Each step, with the noise and the data it was made with: the data carried on, and the noise that agrees with it.

    Raises:
        ValueError: if tau is out of range.
    """
    levels, abar, nsr = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist(), schedule.nsr.tolist()

    def walk(x_t: Tensor) -> Iterator[Step]:
        x0_last, length_last = None, math.nan
        for t, s in pairwise(levels):
            x0_here = x0_hat = unmix_x0(x_t, predict(eps_theta, x_t, t), abar[t])
            if s > 0:
                length = math.log(nsr[t] / nsr[s])
                if x0_last is not None:
                    x0_hat = x0_here + length / (2 * length_last) * (x0_here - x0_last)
                x0_last, length_last = x0_here, length
            eps_hat = unmix_eps(x_t, x0_hat, abar[t])
            x_s = mix(x0_hat, eps_hat, abar[s])
            yield Step(t, s, x_t, eps_hat, x0_hat, x_s)
            x_t = x_s

    return walk(x_T)


@torch.no_grad()
def heun(
    eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int], *, reuse: bool = False
) -> Tensor:
    """The end of :func:`heun_path`, x_0 ``(B, ...)``; arguments and errors are its."""
    return end_of(heun_path(eps_theta, x_T, schedule, tau, reuse=reuse))


@torch.no_grad()
def dpm_solver_2m(eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int]) -> Tensor:
    """The end of :func:`dpm_solver_2m_path`, x_0 ``(B, ...)``; arguments and errors are its."""
    return end_of(dpm_solver_2m_path(eps_theta, x_T, schedule, tau))


@dataclass(frozen=True, eq=False)
class AdaptiveRun:
    """What :func:`adaptive_ddim` returns: the result, and every step that was tried, N in all, in order.

    Attributes:
        x_0: ``(B, ...)``.
        calls: ``(B,)`` int64, how often the network was asked about each image: once at the start and once for each
            step tried.
        image: ``(N,)`` int64, whose step it was.
        t: ``(N,)`` int64, the level left.
        s: ``(N,)`` int64, the level tried, at least 1. The move from level 1 to the data needs no call and is not
            listed.
        error: ``(N,)`` float64, the estimated error of the step in units of the tolerance.
        kept: ``(N,)`` bool, whether the step was made: ``error <= 1``, or no shorter step existed.
    """

    x_0: Tensor
    calls: Tensor
    image: Tensor
    t: Tensor
    s: Tensor
    error: Tensor
    kept: Tensor

    @property
    def accepted(self) -> Tensor:
        """``(B,)`` int64, the number of steps made (without the last, to the data)."""
        return torch.bincount(self.image[self.kept], minlength=len(self.calls))

    @property
    def rejected(self) -> Tensor:
        """``(B,)`` int64, the number of steps tried in vain."""
        return torch.bincount(self.image[~self.kept], minlength=len(self.calls))

    def tau(self, image: int) -> Tensor:
        """The levels that an image visited, rising from 0, as :func:`~ddim_edu.schedule.make_tau` would give them.

        Raises:
            ValueError: if there is no image of this number.
        """
        if not 0 <= image < len(self.calls):
            raise ValueError(f"image = {image}: the run has 0..{len(self.calls) - 1}")
        s = self.s[self.kept & (self.image == image)]
        t = self.t[self.kept & (self.image == image)]
        start = t[:1] if len(t) else s.new_ones(1)
        return torch.cat([start, s, s.new_zeros(1)]).flip(0)


@torch.no_grad()
def adaptive_ddim(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    *,
    atol: float = 0.05,
    rtol: float = 0.0,
    order: int = 1,
    per_image: bool = True,
    t_start: int | None = None,
    first: float = 0.3,
    safety: float = 0.8,
    shrink: float = 0.2,
    grow: float = 2.0,
) -> AdaptiveRun:
    r"""DDIM with steps as long as an estimate of their error allows (:func:`step_and_error`, :func:`next_length`).

    If the error is at most 1, the step is kept; otherwise a shorter one is tried from the same x_t. The angle reached
    is rounded to the nearest level, at least one below t; a step of a single level is always kept. Each step tried
    costs one call, whether it is kept or not: the prediction at the end of a kept step begins the next.

    Args:
        eps_theta: the noise predictor. With ``per_image`` it is called with the images that are not finished, each at a
            level of its own.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        atol: error allowed in each step, in units of x_t. Positive.
        rtol: error allowed in proportion to x_t, element by element. At least 0.
        order: 1 keeps DDIM's step: with what :meth:`AdaptiveRun.tau` returns, :func:`~ddim_edu.sampler.ddim_path` makes
            the same x_0. 2 keeps Heun's instead (local extrapolation) as :func:`heun_path` with ``reuse``, at no cost.
        per_image: True chooses steps for each image alone, so that a result does not depend on its batch. False takes
            the root mean square of the error over the batch and the same steps for all.
        t_start: level of ``x_T``; the schedule's T if None.
        first: length of the first step tried, an angle.
        safety, shrink, grow: as for :func:`next_length`.

    Raises:
        ValueError: if an argument is out of range, or ``eps_theta`` returns another shape or what is not finite.
    """
    _check_adaptive(x_T, schedule, atol, rtol, order, t_start, first, safety, shrink, grow)
    schedule = schedule.to("cpu")
    abar, angle = schedule.alpha_bar, torch.atan(schedule.nsr)
    on = _Images.starting(eps_theta, x_T, schedule.T if t_start is None else t_start, first)
    x_0, calls = torch.empty_like(x_T), torch.ones_like(on.t)
    log: list[tuple[Tensor, ...]] = []
    while True:
        on = on.put_finished(x_0, abar)
        if len(on.t) == 0:
            return _finished(x_0, calls, log)
        s = on.level_to_try(angle)
        x_s, eps_s, error = step_and_error(eps_theta, on.x, on.eps, on.t, s, abar, atol, rtol, order)
        error = _root_mean_square(error, per_image, s)
        calls[on.image] += 1
        kept = (error <= 1) | (on.t - s == 1)
        log.append((on.image, on.t, s, error, kept))
        length = next_length(angle[on.t] - angle[s], error, safety, shrink, grow)
        on = on.moved(kept, s, x_s, eps_s, length)


def step_and_error(
    eps_theta: EpsTheta,
    x_t: Tensor,
    eps_t: Tensor,
    t: Tensor,
    s: Tensor,
    abar: Tensor,
    atol: float,
    rtol: float = 0.0,
    order: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""A step from t to s, with an estimate of its error in units of what is allowed.

    The step is DDIM's, and the network is asked at its end. Heun's step from the same two predictions is an order
    better, so the difference of the two, :math:`\tfrac12 \sqrt{\bar\alpha_s}\, (\nu_s - \nu_t)(\epsilon_s -
    \epsilon_t)`, estimates DDIM's error. It is taken in the units of x_s, where every level has about the same size,
    and divided by ``atol + rtol * max(|x_t|, |x_s|)``.

    Args:
        eps_theta: the noise predictor.
        x_t: ``(B, ...)``.
        eps_t: the noise predicted in it, same shape.
        t: ``(B,)`` int64, the level of each.
        s: ``(B,)`` int64, the level to try for each, at least 1.
        abar: ``(T+1,)`` of all levels, on the device of t and s.
        atol, rtol: the error allowed, absolute and in proportion to x.
        order: which of the two steps to return: 1 for DDIM's, 2 for Heun's.

    Returns:
        The state at s, the noise predicted at the end of DDIM's step, and the error, each ``(B, ...)``.

    Equations: eq:clock-step, eq:clock-ode, eq:step-estimate
    """
    x_euler = ddim_step(x_t, eps_t, abar[t], abar[s])
    eps_s = predict(eps_theta, x_euler, s.to(x_t.device))
    x_heun = ddim_step(x_t, (eps_t + eps_s) / 2, abar[t], abar[s])
    allowed = atol + rtol * torch.maximum(x_t.abs(), x_euler.abs())
    return x_euler if order == 1 else x_heun, eps_s, (x_heun - x_euler) / allowed


def next_length(length: Tensor, error: Tensor, safety: float = 0.8, shrink: float = 0.2, grow: float = 2.0) -> Tensor:
    r"""How long a step to try next: the last length times ``safety / sqrt(error)``, as a step of DDIM errs by the
    square of its length.

    Lengths are angles, :math:`\arctan \nu`: there the step's error on standard normal data is the same at every level
    (half the angle squared), while in :math:`\nu` lengths range over orders of magnitude.

    Args:
        length: ``(B,)`` of the last step, kept or not.
        error: ``(B,)`` its error in units of what is allowed, at least 0.
        safety: factor on the length that the estimate allows, below 1.
        shrink: the smallest factor from one length to the next.
        grow: the largest.
    """
    return length * (safety * error.clamp(min=1e-12).rsqrt()).clamp(shrink, grow)


@dataclass(frozen=True, eq=False)
class _Images:
    """The images that are not finished. What decides lives on the CPU: all but x and eps are ``(B,)`` or shorter."""

    image: Tensor
    x: Tensor
    eps: Tensor
    t: Tensor
    length: Tensor
    nearest: Tensor  # the lowest level that may be tried

    @classmethod
    def starting(cls, eps_theta: EpsTheta, x_T: Tensor, t_start: int, first: float) -> _Images:
        t = torch.full((len(x_T),), t_start)
        length = torch.full((len(x_T),), first, dtype=torch.float64)
        return cls(torch.arange(len(t)), x_T, predict(eps_theta, x_T, t.to(x_T.device)), t, length, torch.ones_like(t))

    def put_finished(self, x_0: Tensor, abar: Tensor) -> _Images:
        """Write the data of those at level 1, where no further call is needed; those that are left."""
        done = self.t == 1
        x_0[self.image[done]] = unmix_x0(self.x[done], self.eps[done], abar[1])
        return _Images(*(getattr(self, field.name)[~done] for field in fields(self)))

    def level_to_try(self, angle: Tensor) -> Tensor:
        s = _nearest_level(angle, angle[self.t] - self.length)
        return torch.minimum(torch.maximum(s, self.nearest), self.t - 1)

    def moved(self, kept: Tensor, s: Tensor, x_s: Tensor, eps_s: Tensor, length: Tensor) -> _Images:
        """Those whose step is kept at its end, the others where they were."""
        chosen = torch.as_tensor(per_sample(kept, self.x)).bool()
        x, eps = torch.where(chosen, x_s, self.x), torch.where(chosen, eps_s, self.eps)
        nearest = torch.where(kept, 1, s + 1)  # rounding must not try the same level again
        return _Images(self.image, x, eps, torch.where(kept, s, self.t), length, nearest)


def _finished(x_0: Tensor, calls: Tensor, log: list[tuple[Tensor, ...]]) -> AdaptiveRun:
    if not bool(x_0.isfinite().all()):
        raise ValueError("eps_theta returned a value that is not finite at level 1")
    nothing = calls[:0], calls[:0], calls[:0], torch.empty(0, dtype=torch.float64), torch.empty(0, dtype=torch.bool)
    return AdaptiveRun(x_0, calls, *(torch.cat(column) for column in zip(*log or [nothing])))


def _root_mean_square(error: Tensor, per_image: bool, s: Tensor) -> Tensor:
    """``(B,)`` float64 on the CPU: over the elements of each image, or of all images together; s is for the message."""
    square = error.flatten(1).to("cpu", torch.float64).square().mean(1)
    found = (square if per_image else square.mean().expand_as(square)).sqrt()
    if not bool(found.isfinite().all()):
        at = int(s[~found.isfinite()][0])
        raise ValueError(f"eps_theta returned a value that is not finite on the way to level {at}")
    return found


def _nearest_level(angle: Tensor, wanted: Tensor) -> Tensor:
    """The level whose angle is nearest to each wanted one; angles rise with the level."""
    above = torch.searchsorted(angle, wanted).clamp(1, len(angle) - 1)
    return torch.where(angle[above] - wanted < wanted - angle[above - 1], above, above - 1)


def _check_adaptive(
    x_T: Tensor,
    schedule: NoiseSchedule,
    atol: float,
    rtol: float,
    order: int,
    t_start: int | None,
    first: float,
    safety: float,
    shrink: float,
    grow: float,
) -> None:
    if x_T.ndim < 2 or len(x_T) == 0 or not x_T.is_floating_point():
        raise ValueError(f"x_T of shape {tuple(x_T.shape)} and type {x_T.dtype}; give floats (B, ...) with B >= 1")
    if not (math.isfinite(atol) and atol > 0):
        raise ValueError(f"atol = {atol} is not a finite number > 0")
    if not (math.isfinite(rtol) and rtol >= 0):
        raise ValueError(f"rtol = {rtol} is not a finite number >= 0")
    if order not in (1, 2):
        raise ValueError(f"order = {order}; use 1 to keep DDIM's step, 2 to keep Heun's")
    if t_start is not None and (
        isinstance(t_start, bool) or not isinstance(t_start, int) or not 1 <= t_start <= schedule.T
    ):
        raise ValueError(f"t_start = {t_start} is not a level in 1..{schedule.T}")
    if not 0 < first < math.inf:
        raise ValueError(f"first = {first} is not an angle > 0")
    if not (0 < safety < 1 and 0 < shrink < 1 < grow):
        raise ValueError(f"safety = {safety}, shrink = {shrink}, grow = {grow}; needed: 0 < safety, shrink < 1 < grow")
