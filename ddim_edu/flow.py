r"""Flow matching in this book's words: one change of units (chapter 16).

Flow matching mixes data and noise along a line, :math:`y = (1 - r)\, x_0 + r\, \epsilon` with r from 0 (data) to 1
(noise), and trains a network to say the velocity :math:`u = \epsilon - x_0`. At every r this is the state of some level
in other units, :math:`y = x_t / (\sqrt{\bar\alpha_t} + \sqrt{1 - \bar\alpha_t})`, and a velocity stands for a noise. So
one network serves both, and Euler's method in r is the deterministic step of :func:`ddim_edu.sampler.ddim_step`. With
:func:`schedule_on` and :func:`velocity_to_eps` whatever else this package does with a noise predictor, it does with a
network that was trained by flow matching.

Papers and libraries differ in the direction of time: where theirs has noise at 0 and data at 1, r is 1 minus it, and
the velocity has the other sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, add_scaled, in_float64, per_sample, root_per_sample
from ddim_edu.schedule import NoiseSchedule

Velocity = Callable[[Tensor, Tensor], Tensor]
"""A network of flow matching, ``u_theta(y, r) -> u``, with y ``(B, ...)``, r ``(B,)`` of the type of y, in [0, 1]."""


def r_of(abar: float | Tensor) -> Tensor:
    r"""The time r of a level: the share of the noise, :math:`r = \sqrt{1 - \bar\alpha}/(\sqrt{\bar\alpha} + \sqrt{1 -
    \bar\alpha})`.

    It is :math:`\nu/(1 + \nu)` of the clock :math:`\nu` of chapter 7.

    Args:
        abar: in [0, 1], a number or a tensor of any shape.

    Returns:
        float64, the shape of ``abar``; 0 at abar = 1 and 1 at abar = 0.

    Raises:
        ValueError: if an abar is outside [0, 1].

    Equations: eq:flow-units
    """
    abar = _within(abar, "abar")
    noise = (1 - abar).sqrt()
    return noise / (abar.sqrt() + noise)


def abar_of(r: float | Tensor) -> Tensor:
    r"""The level of a time r, :math:`\bar\alpha = (1 - r)^2/((1 - r)^2 + r^2)`; undoes :func:`r_of`.

    Args:
        r: in [0, 1], a number or a tensor of any shape.

    Returns:
        float64, the shape of ``r``.

    Raises:
        ValueError: if an r is outside [0, 1].

    Equations: eq:flow-units
    """
    r = _within(r, "r")
    return (1 - r) ** 2 / ((1 - r) ** 2 + r**2)


def to_flow(x_t: Tensor, abar: float | Tensor) -> Tensor:
    r"""A state in the units of flow matching: :math:`y = x_t/(\sqrt{\bar\alpha} + \sqrt{1 - \bar\alpha})`.

    Args:
        x_t: ``(B, ...)``.
        abar: its level, a number, 0-d or ``(B,)``, in [0, 1].

    Returns:
        ``(B, ...)``, y at r = ``r_of(abar)``.

    Equations: eq:flow-units
    """
    return x_t / _size(abar, x_t)


def from_flow(y: Tensor, abar: float | Tensor) -> Tensor:
    r"""The state :math:`x_t` of a level in the units of this book; undoes :func:`to_flow`, whose arguments it takes.

    Equations: eq:flow-units
    """
    return y * _size(abar, y)


def eps_to_velocity(eps: Tensor, y: Tensor, r: float | Tensor) -> Tensor:
    r"""The velocity that a noise stands for, :math:`u = (\epsilon - y)/(1 - r)`.

    It is :math:`\epsilon - x_0` with the data eliminated. At r = 1 the state says nothing of the data, and there is no
    such velocity.

    Args:
        eps: ``(B, ...)`` the noise in y, or a prediction of it.
        y: ``(B, ...)`` the state in flow matching's units.
        r: in [0, 1), a number, 0-d or ``(B,)``.

    Raises:
        ValueError: if an r is outside [0, 1).

    Equations: eq:flow-velocity
    """
    if bool((_within(r, "r") == 1).any()):
        raise ValueError("r = 1 is pure noise: an eps stands for no velocity there")
    return (eps - y) / per_sample(1 - in_float64(r), y)


def velocity_to_eps(u: Tensor, y: Tensor, r: float | Tensor) -> Tensor:
    r"""The noise that a velocity stands for, :math:`\epsilon = y + (1 - r)\, u`; undoes :func:`eps_to_velocity`.

    Args:
        u: ``(B, ...)`` the velocity at y, or a prediction of it.
        y: ``(B, ...)`` the state in flow matching's units.
        r: in [0, 1], a number, 0-d or ``(B,)``.

    Raises:
        ValueError: if an r is outside [0, 1].

    Equations: eq:flow-velocity
    """
    _within(r, "r")
    return add_scaled(y, (per_sample(1 - in_float64(r), y), u))


def as_eps_theta(u_theta: Velocity, schedule: NoiseSchedule) -> EpsTheta:
    """A network of flow matching as a noise predictor of this book, on any schedule.

    Args:
        u_theta: called as ``u_theta(y, r)``.
        schedule: whose levels are asked for; ``u_theta`` is asked at the r that has the same share of noise.

    Returns:
        ``eps_theta(x_t, t) -> eps``, for samplers, inversion, guidance and losses.

    Equations: eq:flow-velocity
    """

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        abar = schedule.abar(t)
        y, r = to_flow(x_t, abar), r_of(abar)
        return velocity_to_eps(u_theta(y, r.to(x_t.dtype).to(x_t.device).expand(len(x_t))), y, r)

    return eps_theta


def as_velocity(eps_at: Callable[[Tensor, Tensor], Tensor]) -> Velocity:
    r"""A noise predictor that knows its level by :math:`\bar\alpha` as a velocity.

    Args:
        eps_at: ``eps_at(x, abar) -> eps``, such as :meth:`ddim_edu.exact.GaussianMixture.eps_at`.

    Returns:
        ``u_theta(y, r) -> u`` for r in [0, 1).

    Equations: eq:flow-velocity
    """

    def u_theta(y: Tensor, r: Tensor) -> Tensor:
        abar = abar_of(r)
        return eps_to_velocity(eps_at(from_flow(y, abar), abar), y, r)

    return u_theta


def schedule_on(r: Tensor | Sequence[float]) -> NoiseSchedule:
    """The schedule whose levels 1..T are the times r: a grid of flow matching, for everything that takes a schedule.

    Args:
        r: ``(T,)`` times that rise strictly, all in (0, 1). (At r = 1 there is no data left, and a chain has no step
            that leads there; r = 0 is level 0.)

    Raises:
        ValueError: if the times do not rise, or one is outside (0, 1).

    Equations: eq:flow-units
    """
    r = _within(r, "r")
    if r.ndim != 1 or len(r) == 0 or not bool((r.diff() > 0).all()) or not 0 < r[0] <= r[-1] < 1:
        raise ValueError("give at least one time r; they rise strictly, between 0 and 1 and without these two")
    abar = torch.cat([r.new_ones(1), abar_of(r)])
    return NoiseSchedule.from_betas(1 - abar[1:] / abar[:-1])


def gamma_of_flow(schedule: NoiseSchedule) -> Tensor:
    r"""The weights for which :math:`L_\gamma`, a loss of the noise, is the squared error of the velocity:
    :math:`\gamma_t = 1/(1 - r_t)^2`.

    Beside :func:`ddim_edu.losses.gamma_of_prediction`, which has those of eps, v and x_0.

    Args:
        schedule: the noise schedule.

    Returns:
        ``(T+1,)`` float64, ``gamma[0] == 0``.

    Equations: eq:flow-loss
    """
    gamma = 1 / (1 - r_of(schedule.alpha_bar[1:])) ** 2
    return torch.cat([gamma.new_zeros(1), gamma])


def _size(abar: float | Tensor, x: Tensor) -> float | Tensor:
    """sqrt(abar) + sqrt(1 - abar), by which a state of this book is larger than one of flow matching."""
    _within(abar, "abar")
    return root_per_sample(abar, x) + root_per_sample(1 - in_float64(abar), x)


def _within(value: float | Tensor | Sequence[float], name: str) -> Tensor:
    """As float64, after a check that it is in [0, 1]."""
    value = torch.as_tensor(value, dtype=torch.float64)
    # On a GPU the check would wait for the device at every step, as in NoiseSchedule.abar.
    if value.device.type == "cpu" and not bool(((value >= 0) & (value <= 1)).all()):  # nan is outside too
        wrong = value[~((value >= 0) & (value <= 1))].flatten()[0].item()
        raise ValueError(f"{name} = {wrong:g} is outside [0, 1]")
    return value
