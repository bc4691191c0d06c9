r"""The forward process: data to noise (chapters 1 and 2).

One line of algebra, :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon`, used three ways:
:func:`mix` computes x_t, :func:`unmix_x0` solves it for x_0 and :func:`unmix_eps` for the noise. Posterior and sampler
are built from these three.

Here ``abar`` is a number, a 0-d tensor, or a ``(B,)`` tensor with a value for each member of the batch. Coefficients
are computed in float64 and then given the type and device of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ddim_edu.schedule import NoiseSchedule

EpsTheta = Callable[[Tensor, Tensor], Tensor]
"""What every model is here, ``eps_theta(x_t, t) -> eps``, with x_t ``(B, ...)``, t ``(B,)`` int64 in 1..T, and eps of
the shape of x_t.
"""

Prediction = Literal["eps", "v", "x0"]
"""What a network may say, which is the noise, the velocity v of Salimans and Ho (2022), or the data."""


def predict(eps_theta: EpsTheta, x_t: Tensor, t: int | Tensor) -> Tensor:
    """Ask a model for the noise in x_t: ``eps_theta(x_t, t)`` in the type of x_t, after a check of its shape.

    Args:
        eps_theta: the noise predictor.
        x_t: ``(B, ...)``.
        t: a level for all, or ``(B,)`` int64, one each.

    Raises:
        ValueError: if the answer is no tensor, or has not the shape of ``x_t``. Where it can be broadcast to it,
            nothing else would notice.
    """
    if not isinstance(t, Tensor):
        t = torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device)
    eps = eps_theta(x_t, t)
    if not isinstance(eps, Tensor):
        raise ValueError(f"eps_theta returned {_kind(eps)}: it is to return the noise alone, a tensor like x_t")
    if eps.shape != x_t.shape:
        raise ValueError(f"eps_theta returned {tuple(eps.shape)} for x of shape {tuple(x_t.shape)}")
    return eps.to(x_t.dtype)


def _kind(value: object) -> str:
    """What a model returned in place of a tensor, and what may be meant by it."""
    if isinstance(getattr(value, "sample", None), Tensor):
        return f"an object of {type(value).__name__}, whose .sample is a tensor"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"an object of {type(value).__name__}"


def mix(x_0: Tensor, eps: Tensor, abar: float | Tensor) -> Tensor:
    r"""Signal and noise in the proportions of one level: :math:`\sqrt{\bar\alpha}\, x_0 + \sqrt{1 - \bar\alpha}\,
    \epsilon`.

    Source: DDPM eq. 4; DDIM eq. 4 (whose alpha is our alpha-bar).

    Args:
        x_0: ``(B, ...)`` the data.
        eps: noise, same shape.
        abar: in [0, 1].

    Returns:
        x_t, same shape as ``x_0``.

    Equations: eq:closed-form
    """
    signal, noise = _roots(abar, x_0)
    return add_scaled(signal * x_0, (noise, eps))


def unmix_x0(x_t: Tensor, eps: Tensor, abar: float | Tensor) -> Tensor:
    r"""The data that gave x_t with noise eps: :math:`(x_t - \sqrt{1 - \bar\alpha}\, \epsilon)/\sqrt{\bar\alpha}` (DDIM
    eq. 9).

    Args:
        x_t: ``(B, ...)``.
        eps: the noise in x_t, or a prediction of it; same shape.
        abar: in (0, 1].

    Equations: eq:unmix
    """
    signal, noise = _roots(abar, x_t, above=True)
    return add_scaled(x_t, (-noise, eps)) / signal


def unmix_eps(x_t: Tensor, x_0: Tensor, abar: float | Tensor) -> Tensor:
    r"""The noise that led from x_0 to x_t: :math:`(x_t - \sqrt{\bar\alpha}\, x_0)/\sqrt{1 - \bar\alpha}`.

    Args:
        x_t: ``(B, ...)``.
        x_0: the data, or a prediction of it; same shape.
        abar: in [0, 1).

    Equations: eq:found-noise
    """
    signal, noise = _roots(abar, x_t, below=True)
    return add_scaled(x_t, (-signal, x_0)) / noise


def q_sample(x_0: Tensor, t: int | Tensor, schedule: NoiseSchedule, eps: Tensor) -> Tensor:
    r"""A draw from :math:`q(x_t \mid x_0)` in one jump (DDPM eq. 4): :func:`mix` at level t.

    Args:
        x_0: ``(B, ...)`` data.
        t: level in 1..T, one for all (int) or ``(B,)`` int64, one each.
        schedule: the noise schedule.
        eps: standard normal noise, same shape as ``x_0``; the caller draws it.

    Raises:
        ValueError: if a t is outside 1..T.

    Equations: eq:closed-form
    """
    return mix(x_0, eps, schedule.abar(t))


def q_step(x_s: Tensor, t: int | Tensor, schedule: NoiseSchedule, noise: Tensor) -> Tensor:
    r"""One Markov step from s = t - 1 to t: :math:`\sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, z` (DDPM eq. 2).

    It is :func:`mix` too, with the share of variance that a single step keeps in place of the product of all.

    Args:
        x_s: ``(B, ...)`` the state at t - 1.
        t: level to reach, 1..T, an int or ``(B,)`` int64.
        schedule: the noise schedule.
        noise: fresh standard normal noise, same shape.

    Raises:
        ValueError: if a t is outside 1..T.

    Equations: eq:forward-step
    """
    schedule.abar(t)  # the check
    return mix(x_s, noise, schedule.alpha_step[torch.as_tensor(t).to(schedule.beta.device, torch.int64)])


def eps_to_score(eps: Tensor, abar: float | Tensor) -> Tensor:
    r"""The score :math:`\nabla_x \log q_t(x_t) = -\epsilon^*(x_t)/\sqrt{1 - \bar\alpha}` that a noise prediction stands
    for.

    Equations: eq:tweedie
    """
    return -eps / _roots(abar, eps, below=True)[1]


def score_to_eps(score: Tensor, abar: float | Tensor) -> Tensor:
    r"""The noise prediction :math:`-\sqrt{1 - \bar\alpha}\, \nabla \log q_t`; undoes :func:`eps_to_score`."""
    return -score * _roots(abar, score)[1]


def eps_to_v(eps: Tensor, x_t: Tensor, abar: float | Tensor) -> Tensor:
    r"""Velocity :math:`v = \sqrt{\bar\alpha}\, \epsilon - \sqrt{1 - \bar\alpha}\, x_0` (Salimans and Ho 2022) from eps
    and x_t.

    With :math:`\bar\alpha = \cos^2\phi`, x_t moves on an ellipse spanned by x_0 and eps, and v is its derivative in
    phi.
    """
    signal, noise = _roots(abar, x_t, above=True)
    return (eps - noise * x_t) / signal  # x_0 eliminated with unmix_x0


def v_to_eps(v: Tensor, x_t: Tensor, abar: float | Tensor) -> Tensor:
    r"""The noise in x_t from its velocity: :math:`\sqrt{\bar\alpha}\, v + \sqrt{1 - \bar\alpha}\, x_t`; undoes
    :func:`eps_to_v`.
    """
    signal, noise = _roots(abar, x_t)
    return signal * v + noise * x_t


def v_to_x0(v: Tensor, x_t: Tensor, abar: float | Tensor) -> Tensor:
    r"""The data in x_t from its velocity: :math:`\sqrt{\bar\alpha}\, x_t - \sqrt{1 - \bar\alpha}\, v`."""
    signal, noise = _roots(abar, x_t)
    return add_scaled(signal * x_t, (-noise, v))


def said_to_eps(said: Tensor, x_t: Tensor, abar: float | Tensor, prediction: Prediction) -> Tensor:
    """The noise in x_t that a network's words stand for: the one place where v and x_0 become eps.

    The conversion is done in the type of x_t, whatever the network computed in: float32 also under bf16.

    Args:
        said: ``(B, ...)`` what the network gave for ``x_t``.
        x_t: ``(B, ...)``.
        abar: in [0, 1); with ``"eps"`` it is not used.
        prediction: what ``said`` is.

    Raises:
        ValueError: if the prediction is unknown, or the shapes differ.
    """
    said = _checked(said, x_t, prediction)
    if prediction == "eps":
        return said
    return v_to_eps(said, x_t, abar) if prediction == "v" else unmix_eps(x_t, said, abar)


def said_to_x0(said: Tensor, x_t: Tensor, abar: float | Tensor, prediction: Prediction) -> Tensor:
    r"""The data in x_t that a network's words stand for; errors as for :func:`said_to_eps`.

    At :math:`\bar\alpha = 1` the data from v is x_t itself, whatever the network says: the boundary condition of a
    consistency model. At 0, where noise says nothing of the data, only v and x_0 do.

    Args:
        said: ``(B, ...)`` what the network gave for ``x_t``.
        x_t: ``(B, ...)``.
        abar: in [0, 1]; for ``"eps"`` above 0.
        prediction: what ``said`` is.

    Equations: eq:boundary
    """
    said = _checked(said, x_t, prediction)
    if prediction == "x0":
        return said
    return v_to_x0(said, x_t, abar) if prediction == "v" else unmix_x0(x_t, said, abar)


def eps_to_said(eps: Tensor, x_t: Tensor, abar: float | Tensor, prediction: Prediction) -> Tensor:
    """What a network would have said that predicts eps, v or x_0; undoes :func:`said_to_eps`."""
    eps = _checked(eps, x_t, prediction)
    if prediction == "eps":
        return eps
    return eps_to_v(eps, x_t, abar) if prediction == "v" else unmix_x0(x_t, eps, abar)


def _checked(said: Tensor, x_t: Tensor, prediction: str) -> Tensor:
    """A network's words in the type of x_t, after a check that they are words of this kind."""
    if not isinstance(said, Tensor):
        raise ValueError(f"the network returned {_kind(said)}: it is to return one tensor like x_t")
    if said.shape != x_t.shape:
        raise ValueError(f"the network returned {tuple(said.shape)} for x of shape {tuple(x_t.shape)}")
    if prediction not in get_args(Prediction):
        raise ValueError(f"prediction = {prediction!r}: a network predicts eps, v or x0")
    return said.to(x_t.dtype)


def as_eps(network: EpsTheta, prediction: Prediction, schedule: NoiseSchedule) -> EpsTheta:
    """A network that says v or x_0 as a noise predictor, which is what samplers and losses here take.

    Args:
        network: called as ``network(x_t, t)``, with t ``(B,)`` int64 in 1..T.
        prediction: what it says.
        schedule: the noise schedule that it was trained with.

    Returns:
        ``eps_theta(x_t, t) -> eps``, in the type of x_t.
    """
    return lambda x_t, t: said_to_eps(network(x_t, t), x_t, schedule.abar(t), prediction)


def add_scaled(x: Tensor, *terms: tuple[float | Tensor, Tensor | None]) -> Tensor:
    """``x + c * y`` and so on for every ``(c, y)`` of ``terms``, in one pass over memory each where c is a number.

    A term whose y is None adds nothing.
    """
    for c, y in terms:
        if y is not None:
            x = x + c * y if isinstance(c, Tensor) else torch.add(x, y, alpha=c)
    return x


def per_sample(coefficient: float | Tensor, x: Tensor) -> float | Tensor:
    """A coefficient made ready to multiply the batch x: its type and device, and singleton axes after the first.

    Args:
        coefficient: a number, which stays one (no tensor is made, which is what keeps the sampler's own work small); or
            a tensor, 0-d or ``(B,)`` with a value for each member of the batch.
        x: ``(B, ...)``.

    Raises:
        ValueError: if the number of coefficients is neither 1 nor B, or they have more axes than the batch.
    """
    if not isinstance(coefficient, Tensor):
        return coefficient
    if coefficient.ndim > 1 and not (coefficient.ndim == x.ndim and coefficient.shape[1:].numel() == 1):
        raise ValueError(
            f"levels of shape {tuple(coefficient.shape)} for a batch of {len(x)}; give one for all or one for each"
        )
    if coefficient.ndim == 1 and x.ndim > 0:
        if len(coefficient) not in (1, len(x)):
            raise ValueError(f"{len(coefficient)} levels for a batch of {len(x)}; give one for all or one for each")
        coefficient = coefficient.view(-1, *[1] * (x.ndim - 1))
    return coefficient.to(x.dtype).to(x.device)  # cast before moving: some devices have no float64


def root_per_sample(value: float | Tensor, x: Tensor) -> float | Tensor:
    """The square root of a coefficient, taken in float64 and ready to multiply the batch x; see :func:`per_sample`."""
    return per_sample(value.double().sqrt(), x) if isinstance(value, Tensor) else math.sqrt(value)


def in_float64(value: float | Tensor) -> float | Tensor:
    """A coefficient in double precision: a tensor becomes float64, a number is."""
    return value.to(torch.float64) if isinstance(value, Tensor) else value


def _roots(
    abar: float | Tensor, x: Tensor, *, above: bool = False, below: bool = False
) -> tuple[float | Tensor, float | Tensor]:
    """sqrt(abar) and sqrt(1 - abar), the shares of signal and noise, ready to multiply the batch x.

    ``above``: abar may not be 0; ``below``: nor 1.
    """
    if not x.is_floating_point():
        raise ValueError(f"data of type {x.dtype}: give floating-point numbers, such as images in [-1, 1]")
    abar = in_float64(abar)
    # On a GPU a look at the values would wait for the device at every call.
    if not isinstance(abar, Tensor) or abar.device.type == "cpu":
        inside = ((abar > 0) if above else (abar >= 0)) & ((abar < 1) if below else (abar <= 1))  # False for nan
        if not (bool(inside.all()) if isinstance(inside, Tensor) else inside):
            wrong = f"{abar[~inside].flatten()[0]:g}" if isinstance(abar, Tensor) else abar
            raise ValueError(f"abar = {wrong} is outside {'(' if above else '['}0, 1{')' if below else ']'}")
    return root_per_sample(abar, x), root_per_sample(1 - abar, x)
