r"""What a student is taught that makes several steps of its teacher in one (chapter 20).

The deterministic sampler is a map: a state at level t leads to one state at every lower level s. A teacher finds it by
many small steps. A *student* is taught to jump: its own single step of DDIM from t is to end where two steps of the
teacher end (progressive distillation, Salimans and Ho 2022), or its answer at t is to be the answer that it gives one
step of the teacher further down (consistency, Song, Dhariwal, Chen and Sutskever 2023). Both targets are predicted
data, since a step of DDIM to level 0 is a prediction of x_0.

Models are called here as ``x0_theta(x_t, t) -> x_0``, with x_t ``(B, ...)`` and t ``(B,)`` int64 in 1..T: at the last
levels, where students begin, a prediction of the noise says nothing of the data (:func:`ddim_edu.forward.said_to_x0`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ddim_edu.forward import (
    EpsTheta,
    add_scaled,
    in_float64,
    mix,
    per_sample,
    predict,
    unmix_eps,
    unmix_x0,
)
from ddim_edu.randomness import Generators, draw
from ddim_edu.sampler import Step, clip_data, end_of, walk
from ddim_edu.schedule import NoiseSchedule, check_tau

DataPredictor = Callable[[Tensor, Tensor], Tensor]
"""A model that says the data, ``x0_theta(x_t, t) -> x_0``; all shapes as for a noise predictor."""


def step_by_x0(x_t: Tensor, x0_hat: Tensor, abar_t: float | Tensor, abar_s: float | Tensor) -> Tensor:
    """The deterministic step of DDIM from t to s, of predicted data: :func:`ddim_edu.sampler.ddim_step` at sigma = 0.

    Args:
        x_t: ``(B, ...)``.
        x0_hat: the data predicted in it, same shape.
        abar_t: level of ``x_t``, in [0, 1); a number, 0-d or ``(B,)``.
        abar_s: level to reach, in [0, 1].
    """
    return mix(x0_hat, unmix_eps(x_t, x0_hat, abar_t), abar_s)


def jump_target(x_t: Tensor, x_s: Tensor, abar_t: float | Tensor, abar_s: float | Tensor) -> Tensor:
    r"""The data that a model has to predict at t for its one step of DDIM to end in x_s.

    The step, :math:`x_s = \sqrt{\bar\alpha_s}\, x_0 + k\,(x_t - \sqrt{\bar\alpha_t}\, x_0)` with :math:`k =
    \sqrt{(1 - \bar\alpha_s)/(1 - \bar\alpha_t)}`, solved for x_0:

    .. math:: \tilde x_0 = \frac{x_s - k\, x_t}{\sqrt{\bar\alpha_s} - k \sqrt{\bar\alpha_t}} .

    The noise that belongs to it is the slope of the chord, :math:`(\bar x_t - \bar x_s)/(\nu_t - \nu_s)`, where the
    teacher's is the slope of the tangent.

    Source: Salimans and Ho 2022, where the data are found in the same way.

    Args:
        x_t: ``(B, ...)`` where the jump begins.
        x_s: where it is to end, same shape.
        abar_t: level of ``x_t``, in [0, 1); a number, 0-d or ``(B,)``.
        abar_s: level of ``x_s``, in (abar_t, 1].

    Equations: eq:jump-target
    """
    abar_t, abar_s = in_float64(abar_t), in_float64(abar_s)
    k = ((1 - abar_s) / (1 - abar_t)) ** 0.5
    share = abar_s**0.5 - k * abar_t**0.5
    return add_scaled(x_s, (-per_sample(k, x_s), x_t)) / per_sample(share, x_s)


def progressive_target(
    teacher: DataPredictor,
    x_t: Tensor,
    t: Tensor,
    m: Tensor,
    s: Tensor,
    schedule: NoiseSchedule,
    *,
    clip: float | None = None,
) -> Tensor:
    """What a student of progressive distillation is to predict at x_t: two steps of its teacher, t to m to s, in one.

    Args:
        teacher: the teacher, as a predictor of data.
        x_t: ``(B, ...)``.
        t: ``(B,)`` int64, the level of each.
        m: ``(B,)`` int64, where the teacher's first step ends; below t.
        s: ``(B,)`` int64, where its second ends; below m, at least 0.
        schedule: the noise schedule of both.
        clip: the teacher's predicted data is kept within [-clip, clip], as in sampling; None for no bound.

    Returns:
        ``(B, ...)``, from :func:`jump_target`.

    Equations: eq:jump-target, eq:two-in-one
    """
    abar_t, abar_m, abar_s = schedule.abar(t), schedule.abar(m), schedule.abar(s, lowest=0)
    x_m = step_by_x0(x_t, clip_data(teacher(x_t, t), clip), abar_t, abar_m)
    x_s = step_by_x0(x_m, clip_data(teacher(x_m, m), clip), abar_m, abar_s)
    return jump_target(x_t, x_s, abar_t, abar_s)


def consistency_target(
    teacher: DataPredictor,
    student: DataPredictor,
    x_t: Tensor,
    t: Tensor,
    s: Tensor,
    schedule: NoiseSchedule,
    *,
    clip: float | None = None,
) -> Tensor:
    """What a student of consistency distillation is to predict at x_t: what it predicts one step of its teacher down.

    At s = 0 there is nothing left to predict: the target is the state itself, which is the boundary condition.

    Args:
        teacher: the teacher, as a predictor of data.
        student: the student, or an average of its weights; no gradient is to flow here.
        x_t: ``(B, ...)``.
        t: ``(B,)`` int64, the level of each.
        s: ``(B,)`` int64, the level below; at least 0.
        schedule: the noise schedule of both.
        clip: as for :func:`progressive_target`.

    Returns:
        ``(B, ...)``.

    Equations: eq:consistency
    """
    x_s = step_by_x0(x_t, clip_data(teacher(x_t, t), clip), schedule.abar(t), schedule.abar(s, lowest=0))
    ends = s.view(-1, *[1] * (x_t.ndim - 1)) == 0
    return torch.where(ends, x_s, student(x_s, s.clamp(min=1)))


def consistency_path(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    generator: Generators = None,
    clip: float | None = None,
) -> Iterator[Step]:
    r"""Sampling with a consistency model: predict the data, add *fresh* noise of a lower level, predict again.

    It is the step of :func:`ddim_edu.sampler.ddim_step` at its largest noise, :math:`\sigma^2 = 1 - \bar\alpha_s`:
    nothing of the predicted noise is used again. One step is the same as one of DDIM.

    Source: Song et al. 2023, where it is called multistep consistency sampling.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        tau: ``(S+1,)`` strictly increasing levels from 0.
        generator: where the noise comes from; a sequence gives each member of the batch its own.
        clip: predicted data is kept within [-clip, clip]; None for no bound.

    Yields:
        Each step, with the noise that was predicted (not the one that was put in its place).

    Raises:
        ValueError: if tau is out of range.

    Equations: eq:consistency-step
    """
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()

    def move(x_t: Tensor, t: int, s: int) -> Step:
        x0_hat = clip_data(unmix_x0(x_t, predict(eps_theta, x_t, t), abar[t]), clip)
        x_s = mix(x0_hat, draw(x_t, generator), abar[s]) if s else x0_hat
        return Step(t, s, x_t, unmix_eps(x_t, x0_hat, abar[t]), x0_hat, x_s)

    return walk(move, x_T, levels)


@torch.no_grad()
def consistency(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float = 0.0,
    generator: Generators = None,
    clip: float | None = None,
) -> Tensor:
    """The end of :func:`consistency_path`, x_0 ``(B, ...)``: a solver, whose other arguments and errors are its.

    Args:
        eps_theta, x_T, schedule, tau, generator, clip: as there.
        eta: 0; this walk has no dial on its noise.

    Raises:
        ValueError: as there, and for another eta.
    """
    if eta != 0:
        raise ValueError(f"eta = {eta}: solver consistency renews all of the noise, give 0")
    return end_of(consistency_path(eps_theta, x_T, schedule, tau, generator=generator, clip=clip))


def mean_velocity(x_t: Tensor, x_s: Tensor, nu_t: float | Tensor, nu_s: float | Tensor) -> Tensor:
    r"""The mean slope of a path between two levels, :math:`(\bar x_t - \bar x_s)/(\nu_t - \nu_s)`, in the clock of
    chapter 7: what a network of MeanFlow (Geng et al. 2025) says, in this book's units.

    Args:
        x_t: ``(B, ...)`` the *rescaled* state, x over the root of abar, at the clock ``nu_t``.
        x_s: the rescaled state of the same path at ``nu_s``.
        nu_t: a number or ``(B,)``.
        nu_s: another than ``nu_t``.

    Equations: eq:mean-velocity
    """
    return (x_t - x_s) / per_sample(nu_t - nu_s, x_t)
