r"""Classes, and guidance as it began and as it is done now, in one convention (chapters 14 and 19).

.. math:: \hat\epsilon = \epsilon_\theta(x_t) + s\, \bigl(\epsilon_\theta(x_t \mid c) - \epsilon_\theta(x_t)\bigr)

With scale s = 0 that is the unconditional prediction, with 1 the conditional one, and beyond 1 it goes on in the same
direction (Ho and Salimans 2022). The same knob has other numbers elsewhere:

============================================  ================================  ==========================
where                                         its name                          our scale
============================================  ================================  ==========================
Ho and Salimans 2022, eq. 6                   w                                 1 + w
CompVis latent-diffusion, Stable Diffusion    ``unconditional_guidance_scale``  the same
diffusers, pipelines                          ``guidance_scale``                the same above 1
diffusers, guiders with the original formula  ``guidance_scale``                1 + theirs
labml, code                                   ``uncond_scale``                  the same
============================================  ================================  ==========================

At 1 and below, diffusers' pipelines are conditional. The formula in labml's text has a wrong sign.

**What it samples.** In each level by itself, the guided prediction is the score of :math:`q_t(x)\, q_t(c \mid x)^s`. It
is tempting to conclude that the samples follow the tilted density :math:`p(x)\, p(c \mid x)^s`. They don't, for s other
than 0 and 1: tilting and adding noise don't commute, so that these scores of different levels belong to no one process.
For two Gaussians of one mean with variances v (all) and :math:`v_c` (the class), the deterministic sampler reaches the
variance :math:`v^{1-s}\, v_c^s`, while the tilted density has :math:`1/((1-s)/v + s/v_c)` (Bradley and Nakkiran 2024).
:class:`Tilted` is the density to hold samples against, and :func:`tilting_weights` says what the samples lack.

**As it is done now.** Guidance at some of the levels only is :func:`guided_between`; with its size put back to that of
the conditional prediction, :func:`rescaled`. Both are noise predictors, as is autoguidance (Karras et al. 2024), which
is :func:`guided` with a weaker model of the same class in the place of the unconditional one. CFG++ takes two
different noises in one step, and so has a path of its own, :func:`cfgpp_path`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import EpsTheta, Prediction, add_scaled, eps_to_said, predict, said_to_eps, unmix_x0
from ddim_edu.sampler import Step, check_clip, clip_data, ddim_path, ddim_step, end_of, walk
from ddim_edu.schedule import NoiseSchedule, check_tau

MOST_SCALE = 1e6  # float32 overflows further on


def press(eps: Tensor, eps_of_class: Tensor, scale: float) -> Tensor:
    """From a prediction for any class towards, and beyond, that for one class: the formula of guidance.

    Equations: eq:guidance
    """
    return add_scaled(eps, (scale, eps_of_class - eps))


def guided(conditional: EpsTheta, unconditional: EpsTheta, scale: float) -> EpsTheta:
    """A noise predictor with classifier-free guidance.

    Args:
        conditional: the predictor with its class bound, such as ``model.eps_theta(3)``.
        unconditional: the predictor for any class, such as ``model.eps_theta()``; for autoguidance, that of a weaker
            model with the same class bound.
        scale: 0 is unconditional, 1 conditional; at these two only one of them is called, otherwise both.

    Raises:
        ValueError: if the scale is not a finite number.

    Equations: eq:guidance
    """
    _check_scale(scale)
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        eps = unconditional(x_t, t)
        return press(eps, conditional(x_t, t), scale)

    return eps_theta


def check_interval(low: int, high: int, T: int | None = None) -> None:
    """A check of an interval of levels, of 1..T or, where no T is known yet, of 1 and above.

    Raises:
        ValueError: if it is empty, or goes beyond 1..T.
    """
    if low > high:
        raise ValueError(f"interval {low}-{high}: it is empty, give the lower level first")
    if low < 1 or (T is not None and high > T):
        raise ValueError(f"interval {low}-{high}: levels {'begin at 1' if T is None else f'are 1..{T}'}")


def guided_between(
    conditional: EpsTheta, unconditional: EpsTheta, scale: float, interval: tuple[int, int], schedule: NoiseSchedule
) -> EpsTheta:
    r"""Guidance in an interval of levels, and the class as trained elsewhere.

    .. math:: s(t) = s \text{ for } l \le t \le h, \qquad s(t) = 1 \text{ elsewhere}

    Outside, only the conditional predictor is called. A step from t to a lower level is guided if t lies within.

    Source: Kynkaanniemi et al. (2024), whose interval is one of sigma = ``schedule.nsr``.

    Args:
        conditional: the predictor with its class bound.
        unconditional: the predictor for any class.
        scale: inside the interval.
        interval: (l, h), both guided, ``1 <= l <= h <= T``.
        schedule: whose levels are meant.

    Raises:
        ValueError: if the interval is empty or beyond 1..T, or the scale is not a finite number.

    Equations: eq:guide-interval
    """
    low, high = interval
    check_interval(low, high, schedule.T)
    inside = guided(conditional, unconditional, scale)
    if inside is conditional:
        return conditional

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        within = (t >= low) & (t <= high)
        if bool(within.all()):
            return inside(x_t, t)
        eps = conditional(x_t, t)
        if bool(within.any()):  # a batch of several levels
            eps = torch.where(within.view(-1, *[1] * (x_t.ndim - 1)), inside(x_t, t), eps)  # labels are for all
        return eps

    return eps_theta


def rescaled(
    conditional: EpsTheta,
    unconditional: EpsTheta,
    scale: float,
    share: float,
    schedule: NoiseSchedule,
    of: Prediction = "v",
) -> EpsTheta:
    r"""Guidance whose size is put back to that of the conditional prediction.

    .. math:: \hat y = \bigl(\varphi\, \mathrm{sd}(y_c)/\mathrm{sd}(y_s) + 1 - \varphi\bigr)\, y_s

    Here y is what is rescaled, :math:`y_s` guided and :math:`y_c` conditional; the standard deviations are taken over
    the elements of each member of the batch.

    Source: Lin et al. (2023), section 3.4, for a network that predicts v. diffusers rescales whatever its network says.

    Args:
        conditional: the predictor with its class bound.
        unconditional: the predictor for any class.
        scale: of guidance.
        share: :math:`\varphi` from 0, plain guidance, to 1.
        schedule: to convert with.
        of: what is rescaled. The size of ``"eps"`` is nearly that of the noise, guided or not, so little is put back.

    Raises:
        ValueError: if the share is outside 0..1, the scale is not a finite number, or a member of the batch has a
            single element.

    Equations: eq:guide-rescale
    """
    if not 0 <= share <= 1:
        raise ValueError(f"rescale share = {share}: give a number from 0, plain guidance, to 1")
    _check_scale(scale)
    if scale == 1:
        return conditional
    if share == 0:
        return guided(conditional, unconditional, scale)

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        if x_t[0].numel() < 2:
            raise ValueError("rescaling needs at least two elements a sample: one has no standard deviation")
        abar = schedule.abar(t)
        eps = unconditional(x_t, t)
        y_c = eps_to_said(conditional(x_t, t), x_t, abar, of)
        y_u = eps_to_said(eps, x_t, abar, of)
        y_s = press(y_u, y_c, scale)
        sd_c, sd_s = (y.flatten(1).std(1).view(-1, *[1] * (y.ndim - 1)) for y in (y_c, y_s))
        ratio = torch.where(sd_s > 0, sd_c / sd_s, 1)  # what is constant has no size to put back
        return said_to_eps((share * ratio + 1 - share) * y_s, x_t, abar, of)

    return eps_theta


def cfgpp_path(
    conditional: EpsTheta,
    unconditional: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    scale: float,
    clip: float | None = None,
) -> Iterator[Step]:
    r"""CFG++, one step after another: the data is predicted with guidance, and noised again without.

    .. math:: x_s = \sqrt{\bar\alpha_s}\, \hat x_0(\hat\epsilon) + \sqrt{1 - \bar\alpha_s}\; \epsilon_\theta(x_t)

    With :math:`\hat\epsilon` guided by ``scale``. Plain guidance has :math:`\hat\epsilon` at both places. One noise
    predictor can't say two noises, hence a path of its own. A step of it equals one of plain guidance with another
    scale, :func:`cfgpp_scale`, which depends on both ends of the step.

    Source: Chung et al. (2024).

    Args:
        conditional: the predictor with its class bound.
        unconditional: the predictor for any class.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule.
        tau: levels to visit.
        scale: the paper's lambda, from 0 to 1 there. 0 is unconditional; 1 is not the class as trained.
        clip: if given, predicted data is clamped to [-clip, clip]; the noise stays.

    Raises:
        ValueError: if tau or clip is out of range, or the scale is not a finite number.

    Equations: eq:guide-cfgpp
    """
    _check_scale(scale)
    check_clip(clip)
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()

    def move(x_t: Tensor, t: int, s: int) -> Step:
        eps = predict(unconditional, x_t, t)
        pressed = press(eps, predict(conditional, x_t, t), scale)
        x0_hat = clip_data(unmix_x0(x_t, pressed, abar[t]), clip)
        return Step(t, s, x_t, eps, x0_hat, ddim_step(x_t, eps, abar[t], abar[s], x0_hat=x0_hat))

    return walk(move, x_T, levels)


@torch.no_grad()
def decode_cfgpp(
    conditional: EpsTheta,
    unconditional: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    scale: float,
    clip: float | None = None,
) -> Tensor:
    """Where :func:`cfgpp_path` ends, ``(B, ...)``; arguments and errors as there."""
    return end_of(cfgpp_path(conditional, unconditional, x_T, schedule, tau, scale=scale, clip=clip))


def cfgpp_scale(scale: float, t: int, s: int, schedule: NoiseSchedule) -> float:
    r"""The scale of plain guidance that moves x_t by the same step as CFG++ does: :math:`\lambda\, \nu_t/(\nu_t -
    \nu_s)`, with :math:`\nu` = ``schedule.nsr``. It is lambda for the last step, and grows without bound as steps
    become short.

    Args:
        scale: lambda.
        t: the level left, 1..T.
        s: the level reached, below t.
        schedule: the noise schedule.

    Raises:
        ValueError: if not ``0 <= s < t <= T``.

    Equations: eq:guide-cfgpp-scale
    """
    if not 0 <= s < t <= schedule.T:
        raise ValueError(f"t = {t}, s = {s}: give 0 <= s < t <= {schedule.T}")
    nu_t, nu_s = schedule.nsr[t].item(), schedule.nsr[s].item()
    return scale * nu_t / (nu_t - nu_s)


@torch.no_grad()
def tilting_weights(
    conditional: EpsTheta,
    unconditional: EpsTheta,
    scale: float,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
) -> tuple[Tensor, Tensor]:
    r"""Guided samples, and the weights that turn them into samples of the tilted density.

    .. math:: \ln W = s\,(s - 1) \int \bigl|\epsilon_c(x_t) - \epsilon_u(x_t)\bigr|^2\, d \ln \nu

    along the way down, for exact predictors and ever shorter steps (chapter 19). Here the integral is a sum over the
    steps, by the trapezoidal rule; at the data the difference is 0.

    Args:
        conditional: the predictor with its class bound.
        unconditional: the predictor for any class.
        scale: s.
        x_T: ``(B, ...)`` starts.
        schedule: the noise schedule.
        tau: levels to visit; many.

    Returns:
        ``(B, ...)`` samples of the deterministic sampler, and ``(B,)`` logarithms of their weights, but for a constant.

    Raises:
        ValueError: as :func:`guided` and :func:`ddim_edu.sampler.ddim_path`.

    Equations: eq:guide-weight
    """
    _check_scale(scale)
    apart: list[Tensor] = []

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        eps = unconditional(x_t, t)
        difference = conditional(x_t, t) - eps
        apart.append(difference.flatten(1).square().sum(1))
        return add_scaled(eps, (scale, difference))

    x_0 = end_of(ddim_path(eps_theta, x_T, schedule, tau))
    clock = schedule.nsr[list(reversed(check_tau(tau, schedule.T)))].log().tolist()
    total = apart[-1] / 2  # from the lowest level to the data, where the difference is in proportion to nu
    for before, after, above, below in zip(clock, clock[1:], apart, apart[1:]):
        total = total + (before - after) * (above + below) / 2
    return x_0, scale * (scale - 1) * total


def _check_scale(scale: float) -> None:
    if not abs(scale) <= MOST_SCALE:  # nan neither
        raise ValueError(f"scale = {scale}: give a number up to {MOST_SCALE:g}; 1 is the class as trained")


def of_class(mixture: GaussianMixture, components: int | Sequence[int]) -> GaussianMixture:
    """The class of some components of an exact mixture: what is left when the class is known. Its ``eps`` is the exact
    conditional.

    Args:
        mixture: all classes together.
        components: which of its components make the class.

    Raises:
        ValueError: if there is no such component, or one is named twice.
    """
    chosen = torch.as_tensor(components).flatten().tolist()
    if not chosen or len({*chosen}) < len(chosen) or not all(0 <= k < len(mixture.weights) for k in chosen):
        raise ValueError(f"components = {components}: the mixture has 0..{len(mixture.weights) - 1}, each once")
    return GaussianMixture(mixture.weights[chosen], mixture.means[chosen], mixture.covs[chosen], mixture.schedule)


class Tilted:
    r"""The density :math:`p(x)\, p(c \mid x)^s / Z` of a one-dimensional exact mixture, by quadrature: what guidance is
    said to sample.

    Args:
        mixture: all classes together, of one dimension.
        components: which of its components make the class c.
        scale: s.
        reach: how many standard deviations of the widest component to integrate beyond the outermost means.
        points: of the quadrature.

    Attributes:
        x: ``(points,)`` float64, the places.
        density: ``(points,)`` at these places.
        mean: of the tilted density.
        variance: of the tilted density.

    Raises:
        ValueError: if the mixture is not one-dimensional, the scale not a finite number, or the density doesn't fall
            off within reach, as for most scales below 0, or is too narrow for the points.

    Equations: eq:guide-tilted
    """

    def __init__(
        self,
        mixture: GaussianMixture,
        components: int | Sequence[int],
        scale: float,
        *,
        reach: float = 12.0,
        points: int = 20_001,
    ) -> None:
        if mixture.dim != 1:
            raise ValueError(f"the mixture has {mixture.dim} dimensions; the quadrature is for 1")
        _check_scale(scale)
        inside = of_class(mixture, components)
        margin = reach * mixture.covs.max().sqrt()
        lowest, highest = (mixture.means.min() - margin).item(), (mixture.means.max() + margin).item()
        self.x = torch.linspace(lowest, highest, points, dtype=torch.float64)
        places = self.x[:, None]
        log_all, log_class = mixture.log_prob(places), inside.log_prob(places)
        log_density = log_all + scale * (log_class - log_all)  # but for the class's share of p, which is a constant
        density = (log_density - log_density.max()).exp()
        if max(density[0], density[-1]) > 1e-6 or (density > 0.5).sum() < 5:
            raise ValueError(f"scale = {scale}: the density does not fall off within reach, or has too few points")
        self.density = density / torch.trapezoid(density, self.x)
        self.mean = torch.trapezoid(self.density * self.x, self.x).item()
        self.variance = torch.trapezoid(self.density * (self.x - self.mean) ** 2, self.x).item()

    def below(self, x: float) -> float:
        """The share of the tilted density below x."""
        return float(np.interp(x, self.x[1:], torch.cumulative_trapezoid(self.density, self.x), left=0.0))
