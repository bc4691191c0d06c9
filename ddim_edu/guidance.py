r"""Classes, and classifier-free guidance, in one convention (chapter 14).

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
:class:`Tilted` is the density to hold samples against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import EpsTheta, add_scaled


def guided(conditional: EpsTheta, unconditional: EpsTheta, scale: float) -> EpsTheta:
    """A noise predictor with classifier-free guidance.

    Args:
        conditional: the predictor with its class bound, such as ``model.eps_theta(3)``.
        unconditional: the predictor for any class, such as ``model.eps_theta()``.
        scale: 0 is unconditional, 1 conditional; at these two only one of them is called, otherwise both.

    Raises:
        ValueError: if the scale is not a finite number.

    Equations: eq:guidance
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale = {scale}: give a finite number; 1 is no guidance beyond the class itself")
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        eps = unconditional(x_t, t)
        return add_scaled(eps, (scale, conditional(x_t, t) - eps))

    return eps_theta


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
        ValueError: if the mixture is not one-dimensional.

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
        inside = of_class(mixture, components)
        margin = reach * mixture.covs.max().sqrt()
        lowest, highest = (mixture.means.min() - margin).item(), (mixture.means.max() + margin).item()
        self.x = torch.linspace(lowest, highest, points, dtype=torch.float64)
        places = self.x[:, None]
        log_all, log_class = mixture.log_prob(places), inside.log_prob(places)
        log_density = log_all + scale * (log_class - log_all)  # but for the class's share of p, which is a constant
        density = (log_density - log_density.max()).exp()
        self.density = density / torch.trapezoid(density, self.x)
        self.mean = torch.trapezoid(self.density * self.x, self.x).item()
        self.variance = torch.trapezoid(self.density * (self.x - self.mean) ** 2, self.x).item()

    def below(self, x: float) -> float:
        """The share of the tilted density below x."""
        return torch.trapezoid(torch.where(self.x < x, self.density, 0), self.x).item()
