r"""Noise predictors in closed form: the truth that networks and samplers are held against.

The best noise predictor in mean square is
:math:`\epsilon^*(x_t, t) = E[\epsilon \mid x_t] = -\sqrt{1 - \bar\alpha_t}\, \nabla \log q_t(x_t)`. Where the data is a
Gaussian, a mixture of Gaussians or a finite set of points, q_t is a mixture of Gaussians and the gradient has a
formula. The method ``eps`` of each class can stand wherever a network can.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddim_edu.forward import per_sample, unmix_eps
from ddim_edu.schedule import NoiseSchedule


class GaussianMixture:
    r"""Data from a mixture of Gaussians, :math:`q(x_0) = \sum_k w_k\, \mathcal N(m_k, C_k)`.

    Noise keeps it one: :math:`q_t = \sum_k w_k\, \mathcal N(\sqrt{\bar\alpha_t}\, m_k,\; \bar\alpha_t C_k + (1 -
    \bar\alpha_t) I)`.

    Args:
        weights: ``(K,)`` positive; they are divided by their sum.
        means: ``(K, D)``.
        covs: ``(K, D, D)`` covariances; or ``(K, D)`` variances of independent coordinates; or ``(K,)`` one variance
            for all coordinates of a component; or a number for all. Zero variance is allowed: a point.
        schedule: the noise schedule.

    Attributes:
        weights: ``(K,)`` float64, sum 1.
        means: ``(K, D)`` float64.
        covs: ``(K, D, D)`` float64.

    Raises:
        ValueError: if shapes don't fit, something is not finite, a weight is not positive, or a covariance is, beyond
            rounding, not symmetric with eigenvalues >= 0.
    """

    def __init__(self, weights: Tensor, means: Tensor, covs: Tensor | float, schedule: NoiseSchedule) -> None:
        weights, means, covs = (torch.as_tensor(a, dtype=torch.float64) for a in (weights, means, covs))
        if means.ndim != 2 or weights.shape != means.shape[:1]:
            raise ValueError(
                f"weights {tuple(weights.shape)} and means {tuple(means.shape)} don't fit; they are (K,) and (K, D)"
            )
        if len(weights) == 0 or not bool((weights > 0).all()):
            raise ValueError(f"weights {weights.tolist()}: give at least one, all positive")
        if not all(bool(a.isfinite().all()) for a in (weights, means, covs)):
            raise ValueError("a weight, a mean or a covariance is not a finite number")
        K, D = means.shape
        if covs.ndim < 3:  # a number, (K,) or (K, D): variances on the diagonal
            covs = torch.diag_embed((covs if covs.ndim == 2 else covs.reshape(-1, 1)).expand(K, D))
        if covs.shape != (K, D, D):
            raise ValueError(f"covs has shape {tuple(covs.shape)}; with means {(K, D)} it should be {(K, D, D)}")
        rounding = 1e-5 * covs.abs().amax((1, 2))  # of covariances that were computed, perhaps in float32
        uneven = (covs - covs.mT).abs().amax((1, 2))
        covs = (covs + covs.mT) / 2
        variances, axes = torch.linalg.eigh(covs)
        if bool(((uneven > rounding) | (variances[:, 0] < -rounding)).any()):
            raise ValueError("a covariance is not symmetric with eigenvalues >= 0")
        self.schedule = schedule
        self.weights, self.means, self.covs = weights / weights.sum(), means, covs
        # In the axes of C_k, abar C_k + (1 - abar) I is diagonal at every level: one decomposition serves all t.
        self._variances, self._axes = variances.clamp(min=0), axes

    @property
    def dim(self) -> int:
        """D, the number of coordinates."""
        return self.means.shape[1]

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw data.

        Args:
            n: how many.
            generator: where randomness comes from; torch's own if None.

        Returns:
            ``(n, D)`` float64.
        """
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.dim, dtype=torch.float64, generator=generator)
        return self.means[k] + torch.einsum("nde,ne->nd", self._axes[k], self._variances[k].sqrt() * z)

    def log_prob(self, x: Tensor, t: int | Tensor = 0) -> Tensor:
        """Log density of q_t at x; t = 0 is the data's own.

        Args:
            x: ``(B, D)``.
            t: level in 0..T, an int or ``(B,)`` int64.

        Returns:
            ``(B,)`` float64.

        Raises:
            ValueError: if a t is outside 0..T, the shapes don't fit, or t = 0 and a component is a point or flat, which
                has no density.
        """
        abar = self.schedule.abar(t, lowest=0)
        per_sample(abar, x)  # the check of their number
        if bool((abar == 1).any()) and not bool((self._variances > 0).all()):
            raise ValueError("at t = 0 a component without variance has no density")
        return torch.logsumexp(self._components(x, abar)[0], 1)

    def eps(self, x_t: Tensor, t: int | Tensor) -> Tensor:
        r"""The exact :math:`\epsilon^*(x_t, t)`.

        Args:
            x_t: ``(B, D)``.
            t: level in 1..T, an int or ``(B,)`` int64.

        Returns:
            ``(B, D)``, of the type of ``x_t``.

        Raises:
            ValueError: if a t is outside 1..T, or the shapes don't fit.

        Equations: eq:tweedie
        """
        return self.eps_at(x_t, self.schedule.abar(t))

    def eps_at(self, x: Tensor, abar: float | Tensor) -> Tensor:
        r""":math:`\epsilon^*` between the levels too, where a level is named by its :math:`\bar\alpha`: what a solver
        of the ODE asks for.

        Args:
            x: ``(B, D)``.
            abar: in [0, 1), a number or ``(B,)``. At level t it is ``schedule.alpha_bar[t]``, and this is :meth:`eps`.

        Returns:
            ``(B, D)``, of the type of ``x``.

        Raises:
            ValueError: if an abar is outside [0, 1), or the shapes don't fit.
        """
        abar = _inside(abar, x)
        log_parts, pull = self._components(x, abar)
        score = torch.einsum("bk,bkd->bd", log_parts.softmax(1), pull)
        return (-per_sample((1 - abar).sqrt(), score) * score).to(x.dtype)

    def _components(self, x: Tensor, abar: Tensor) -> tuple[Tensor, Tensor]:
        """Log of each component's share of the density (B, K), and the gradient of each one's log density (B, K, D)."""
        x = x.to(torch.float64)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"points of shape {tuple(x.shape)}; this distribution needs (B, {self.dim})")
        abar = abar.reshape(-1, 1, 1)
        variances = abar * self._variances + (1 - abar)  # (B or 1, K, D)
        away = torch.einsum("kde,bkd->bke", self._axes, x[:, None] - abar.sqrt() * self.means)
        log_parts = self.weights.log() - 0.5 * (away**2 / variances + variances.log() + math.log(2 * math.pi)).sum(2)
        return log_parts, torch.einsum("kde,bke->bkd", self._axes, -away / variances)


class Gaussian(GaussianMixture):
    r"""Data from one Gaussian :math:`\mathcal N(m, C)`: a mixture of one.

    Here :math:`\epsilon^*` is linear in x_t, and the deterministic sampler has a closed-form solution.

    Args:
        mean: ``(D,)``.
        cov: ``(D, D)``; or ``(D,)`` variances; or a number.
        schedule: the noise schedule.

    Equations: eq:best-error, eq:best-multiple
    """

    def __init__(self, mean: Tensor, cov: Tensor | float, schedule: NoiseSchedule) -> None:
        mean, cov = (torch.as_tensor(a, dtype=torch.float64) for a in (mean, cov))
        super().__init__(torch.ones(1), mean.reshape(1, -1), cov[None] if cov.ndim else cov, schedule)


class EmpiricalData:
    r"""Data that is a finite set of points, each as likely: what a network would learn that fitted its training set
    perfectly.

    Its :math:`E[x_0 \mid x_t]` is an average of the points weighted by how near each, scaled by
    :math:`\sqrt{\bar\alpha_t}`, is to x_t.

    Args:
        x: ``(N, ...)`` the points: vectors, images, anything.
        schedule: the noise schedule.

    Raises:
        ValueError: if there are no points, or x has fewer than two axes.
    """

    def __init__(self, x: Tensor, schedule: NoiseSchedule) -> None:
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"points of shape {tuple(x.shape)}; give (N, ...) with N >= 1")
        self.x, self.schedule = x, schedule
        self._flat = x.reshape(len(x), -1).to(torch.float64)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``(n, ...)`` points drawn with replacement."""
        return self.x[torch.randint(len(self.x), (n,), generator=generator)]

    def log_prob(self, x: Tensor, t: int | Tensor) -> Tensor:
        """Log density of q_t at x, for t in 1..T: at t = 0 points have no density.

        Args:
            x: ``(B, ...)``.
            t: level in 1..T, an int or ``(B,)`` int64.

        Returns:
            ``(B,)`` float64.

        Raises:
            ValueError: if a t is outside 1..T, or the shapes don't fit.
        """
        abar = self.schedule.abar(t)
        per_sample(abar, x)  # the check of their number
        abar, flat = abar.reshape(-1, 1), self._flattened(x)
        d = flat.shape[1]
        outside = (flat**2).sum(1) / (2 * (1 - abar[:, 0])) + 0.5 * d * (2 * math.pi * (1 - abar[:, 0])).log()
        return torch.logsumexp(self._logits(flat, abar), 1) - math.log(len(self.x)) - outside

    def x0_mean(self, x_t: Tensor, t: int | Tensor) -> Tensor:
        r""":math:`E[x_0 \mid x_t]`, ``(B, ...)``; arguments as for :meth:`eps`."""
        abar = self.schedule.abar(t)
        per_sample(abar, x_t)  # the check of their number
        return self._x0_mean_at(x_t, abar).to(x_t.dtype)

    def eps(self, x_t: Tensor, t: int | Tensor) -> Tensor:
        r"""The exact :math:`\epsilon^*(x_t, t)`.

        Args:
            x_t: ``(B, ...)``, each of the shape of a point.
            t: level in 1..T, an int or ``(B,)`` int64.

        Returns:
            ``(B, ...)``, of the type of ``x_t``.

        Raises:
            ValueError: if a t is outside 1..T, or the shapes don't fit.
        """
        return self.eps_at(x_t, self.schedule.abar(t))

    def eps_at(self, x: Tensor, abar: float | Tensor) -> Tensor:
        r""":math:`\epsilon^*` between the levels too, as :meth:`GaussianMixture.eps_at`.

        Args:
            x: ``(B, ...)``, each of the shape of a point.
            abar: in [0, 1), a number or ``(B,)``.

        Returns:
            ``(B, ...)``, of the type of ``x``.

        Raises:
            ValueError: if an abar is outside [0, 1), or the shapes don't fit.
        """
        abar = _inside(abar, x)
        # In float64 to the end: near the data, x_0's rounding would be divided by a small number.
        return unmix_eps(x.to(torch.float64), self._x0_mean_at(x, abar), abar).to(x.dtype)

    def _x0_mean_at(self, x: Tensor, abar: Tensor) -> Tensor:
        near = self._logits(self._flattened(x), abar.reshape(-1, 1)).softmax(1)
        return (near @ self._flat).reshape(x.shape)

    def _flattened(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.x.shape[1:]:
            raise ValueError(f"x has shape {tuple(x.shape)}; points of this data have {tuple(self.x.shape[1:])}")
        return x.reshape(len(x), -1).to(torch.float64)

    def _logits(self, flat: Tensor, abar: Tensor) -> Tensor:
        """(B, N): -|x - sqrt(abar) x_i|^2 / (2 (1 - abar)) but for the part that all points share."""
        norms = (self._flat**2).sum(1)
        return (abar.sqrt() * (flat @ self._flat.T) - 0.5 * abar * norms) / (1 - abar)


def _inside(abar: float | Tensor, x: Tensor) -> Tensor:
    """An abar as float64, after a check that it fits the batch and that there is noise at it to predict."""
    if not x.is_floating_point():
        raise ValueError(f"x of type {x.dtype}: give floating-point numbers")
    abar = torch.as_tensor(abar, dtype=torch.float64)
    # On a GPU the check would wait for the device at every step, as in NoiseSchedule.abar.
    if abar.device.type == "cpu" and not bool(((abar >= 0) & (abar < 1)).all()):  # written so that nan is outside too
        wrong = abar[~((abar >= 0) & (abar < 1))].flatten()[0].item()
        raise ValueError(f"abar = {wrong:g} is outside [0, 1); at 1, the data, there is no noise to predict")
    per_sample(abar, x)  # the check of their number
    return abar
