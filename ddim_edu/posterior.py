r"""Where x_s can have been, given x_t and x_0 (chapters 3 and 4).

All of these are Gaussians with independent coordinates, so each is a mean (a tensor) and one standard deviation. Levels
are named by their :math:`\bar\alpha`: ``abar_t`` is the noisier end, ``abar_s`` the cleaner (``abar_t < abar_s``).
Numbers, 0-d tensors or ``(B,)`` tensors will do, as in :mod:`ddim_edu.forward`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ddim_edu.forward import add_scaled, in_float64, mix, per_sample, root_per_sample, unmix_eps


class Normal(NamedTuple):
    """A Gaussian with independent coordinates."""

    mean: Tensor
    """``(B, ...)``."""
    std: Tensor
    """``(B,)`` or 0-d, float64; the same for every coordinate."""


def q_sigma(x_t: Tensor, x_0: Tensor, abar_t: float | Tensor, abar_s: float | Tensor, sigma: float | Tensor) -> Normal:
    r"""The non-Markovian posterior :math:`q_\sigma(x_s \mid x_t, x_0)` (DDIM eq. 7).

    .. math:: \mathcal N\Bigl(\sqrt{\bar\alpha_s}\, x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\;
              \frac{x_t - \sqrt{\bar\alpha_t}\, x_0}{\sqrt{1 - \bar\alpha_t}},\; \sigma^2 I\Bigr)

    Put x_0 where it belongs at level s, add the noise found in x_t scaled down, and fill what is missing of the
    variance :math:`1 - \bar\alpha_s` with fresh noise.

    Args:
        x_t: ``(B, ...)``.
        x_0: the data it came from, same shape.
        abar_t: level of x_t, in [0, 1).
        abar_s: level of x_s, in (0, 1].
        sigma: standard deviation of the fresh noise, with ``0 <= sigma**2 <= 1 - abar_s``.

    Raises:
        ValueError: if sigma is negative or too large for the level s, or abar_t is outside [0, 1).

    Equations: eq:q-sigma-step, eq:reuse-noise
    """
    eps = unmix_eps(x_t, x_0, abar_t)
    signal, reused, _ = step_coefficients(abar_s, sigma, x_t)
    return Normal(add_scaled(signal * x_0, (reused, eps)), *_float64(sigma))


def step_coefficients(
    abar_s: float | Tensor, sigma: float | Tensor, x: Tensor
) -> tuple[float | Tensor, float | Tensor, float | Tensor]:
    r"""What a step to level s multiplies the data, the noise found and fresh noise by, ready to multiply the batch x.

    They are :math:`\sqrt{\bar\alpha_s}`, :math:`\sqrt{1 - \bar\alpha_s - \sigma^2}` and :math:`\sigma`, computed in
    float64; their squares add up to 1.

    Args:
        abar_s: level to reach, in [0, 1].
        sigma: standard deviation of the fresh noise, ``0 <= sigma**2 <= 1 - abar_s``.
        x: ``(B, ...)``.

    Raises:
        ValueError: if sigma is outside that range.

    Equations: eq:sigma-range
    """
    room = _room_beside(sigma, abar_s)
    return root_per_sample(abar_s, x), root_per_sample(room, x), per_sample(sigma, x)


def q_sigma_forward(
    x_s: Tensor, x_0: Tensor, abar_t: float | Tensor, abar_s: float | Tensor, sigma: float | Tensor
) -> Normal:
    r"""The forward step :math:`q_\sigma(x_t \mid x_s, x_0)` that belongs to :func:`q_sigma`, by Bayes' rule (DDIM eq.
    8).

    .. math::
       \mathcal N\Bigl(&\sqrt{\bar\alpha_t}\, x_0 + \frac{\sqrt{(1 - \bar\alpha_t)(1 - \bar\alpha_s - \sigma^2)}}{1 -
       \bar\alpha_s} \\ &\cdot (x_s - \sqrt{\bar\alpha_s}\, x_0),\; \frac{(1 - \bar\alpha_t)\, \sigma^2}{1 -
       \bar\alpha_s}\, I\Bigr)

    It looks at x_0 as well as at x_s: the forward process of the family is not Markovian, but for one sigma (DDPM's).

    Args:
        x_s: ``(B, ...)`` the cleaner state, s >= 1 (``abar_s < 1``).
        x_0: the data, same shape.
        abar_t: level to reach, ``abar_t < abar_s``.
        abar_s: level of ``x_s``.
        sigma: standard deviation in :func:`q_sigma`, ``0 <= sigma**2 <= 1 - abar_s``.

    Raises:
        ValueError: if sigma is outside that range, or not ``abar_t < abar_s < 1``.

    Equations: eq:q-sigma-forward
    """
    room = _room_beside(sigma, abar_s)
    abar_t, abar_s, sigma, room = _float64(abar_t, abar_s, sigma, room)
    _check_order(abar_t, abar_s)
    rho = (room / (1 - abar_s)).sqrt()  # correlation of the noise in x_s with the noise in x_t
    mean = mix(x_0, per_sample(rho, x_s) * unmix_eps(x_s, x_0, abar_s), abar_t)
    return Normal(mean, ((1 - abar_t) / (1 - abar_s)).sqrt() * sigma)


def ddpm_posterior(x_t: Tensor, x_0: Tensor, abar_t: float | Tensor, abar_s: float | Tensor) -> Normal:
    r"""The posterior :math:`q(x_s \mid x_t, x_0)` of the Markov chain, in DDPM's own form (DDPM eq. 6 and 7).

    With :math:`\alpha = \bar\alpha_t/\bar\alpha_s` (which is :math:`\alpha_t` for s = t - 1) and :math:`\beta = 1 -
    \alpha`:

    .. math:: \mathcal N\Bigl(\frac{\sqrt{\bar\alpha_s}\, \beta}{1 - \bar\alpha_t}\, x_0
              + \frac{\sqrt{\alpha}\,(1 - \bar\alpha_s)}{1 - \bar\alpha_t}\, x_t,\;
              \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}\, \beta\, I\Bigr)

    It equals :func:`q_sigma` with sigma at eta = 1; it is written out on its own so that the equality is a theorem with
    a test.

    Args:
        x_t: ``(B, ...)``.
        x_0: the data, same shape.
        abar_t: level of ``x_t``.
        abar_s: level of x_s, ``abar_t < abar_s <= 1``.

    Raises:
        ValueError: if ``abar_s`` is not above ``abar_t``.

    Equations: eq:posterior-given-x0
    """
    abar_t, abar_s = _float64(abar_t, abar_s)
    _check_order(abar_t, abar_s)
    alpha_step = abar_t / abar_s
    on_x0 = abar_s.sqrt() * (1 - alpha_step) / (1 - abar_t)
    on_xt = alpha_step.sqrt() * (1 - abar_s) / (1 - abar_t)
    variance = (1 - abar_s) / (1 - abar_t) * (1 - alpha_step)
    return Normal(per_sample(on_x0, x_0) * x_0 + per_sample(on_xt, x_t) * x_t, variance.sqrt())


def _float64(*values: float | Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.as_tensor(value, dtype=torch.float64) for value in values)


def _check_order(abar_t: Tensor, abar_s: Tensor) -> None:
    if abar_t.device.type == "cpu" and not bool((abar_t < abar_s).all()):
        raise ValueError(f"abar_t = {_show(abar_t)} is not below abar_s = {_show(abar_s)}; t is the noisier level")


def _room_beside(sigma: float | Tensor, abar_s: float | Tensor) -> float | Tensor:
    """The variance 1 - abar_s - sigma^2 that fresh noise leaves to the noise found in x_t, in float64."""
    # What came in a shorter type is that much uncertain.
    rounding = 1e-12
    for v in (sigma, abar_s):
        if isinstance(v, Tensor) and v.is_floating_point():
            rounding = max(rounding, 4 * torch.finfo(v.dtype).eps)
    sigma, abar_s = in_float64(sigma), in_float64(abar_s)
    found = 1 - abar_s - sigma**2
    fits = (sigma >= 0) & (found > -rounding)
    if not (bool(fits.all()) if isinstance(fits, Tensor) else fits):  # written so that nan fails too
        raise ValueError(
            f"sigma = {_show(sigma)} is outside 0..{_show((1 - abar_s) ** 0.5)}, the square root of 1 - abar_s: "
            "more fresh noise than level s holds"
        )
    return found.clamp(min=0) if isinstance(found, Tensor) else max(found, 0.0)  # rounding may leave -1e-17


def _show(value: float | Tensor) -> str:
    values = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
    return f"{values[0]:.6g}" if len(values) == 1 else f"{[round(v, 6) for v in values[:4]]}"
