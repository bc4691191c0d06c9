r"""Noise schedules and the steps that a sampler takes on them (chapters 1 and 6).

A schedule is one array: :math:`\bar\alpha_t` for t = 0..T, where index 0 is the data (:math:`\bar\alpha_0 = 1`). All
else is a function of it. Everything here is float64: coefficients are computed once and cost nothing, and errors in
them don't average out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Spacing = Literal["leading", "linspace", "trailing", "quadratic", "quadratic-full"]
"""Where the levels lie that a sampler visits; see :func:`make_tau`."""
SPACINGS = get_args(Spacing)


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    r"""The numbers :math:`\beta_1, \dots, \beta_T` and what follows from them.

    Make one with :meth:`linear`, :meth:`cosine`, :meth:`scaled_linear` or :meth:`from_betas`.

    Attributes:
        beta: ``(T+1,)`` float64, the variance added at step t; ``beta[0] == 0`` (the data).
        alpha_bar: ``(T+1,)`` float64, the cumulative product of ``1 - beta`` (DDPM's alpha-bar; the DDIM paper's
            :math:`\alpha_t`); ``alpha_bar[0] == 1``.

    Equations: eq:alpha-bar
    """

    beta: Tensor
    alpha_bar: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha_bar", torch.cumprod(1 - self.beta, 0))

    def __repr__(self) -> str:
        return f"NoiseSchedule(T={self.T}, beta_1={self.beta[1]:.3g}, beta_T={self.beta[-1]:.3g})"

    @classmethod
    def from_betas(cls, beta: Tensor | Sequence[float]) -> NoiseSchedule:
        r"""The schedule with :math:`\beta_1, \dots, \beta_T` as given.

        Args:
            beta: ``(T,)`` numbers, each strictly between 0 and 1. ``beta[0]`` is :math:`\beta_1`.

        Raises:
            ValueError: if ``beta`` is empty, not one-dimensional, or holds a number outside (0, 1), or if alpha-bar, in
                float64, does not fall at every level or reaches 0.
        """
        beta = torch.as_tensor(beta, dtype=torch.float64)
        if beta.ndim != 1 or len(beta) == 0:
            raise ValueError(f"beta has shape {tuple(beta.shape)}; give one number for each t = 1..T")
        bad = ~((beta > 0) & (beta < 1))  # written so that nan is bad too
        if bad.any():
            t = int(bad.nonzero()[0, 0])
            raise ValueError(
                f"beta_{t + 1} = {beta[t]:g} is outside (0, 1); every beta must lie strictly between 0 and 1"
            )
        schedule = cls(torch.cat([beta.new_zeros(1), beta]))
        lost = ~((schedule.alpha_bar.diff() < 0) & (schedule.alpha_bar[1:] > 0))
        if lost.any():
            t = int(lost.nonzero()[0, 0]) + 1
            raise ValueError(
                f"alpha_bar_{t} = {schedule.alpha_bar[t]:g}: in float64, alpha_bar must fall at every level and stay "
                "above 0"
            )
        return schedule

    @classmethod
    def linear(cls, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """Beta rises in equal steps from ``beta_start`` to ``beta_end``: DDPM's schedule, section 4, and this book's
        default.

        The two ends were chosen for T = 1000. With fewer levels the same ends leave signal in x_T; see chapter 1.
        """
        return cls.from_betas(torch.linspace(beta_start, beta_end, _levels(T), dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, T: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> NoiseSchedule:
        """The square root of beta rises in equal steps: the schedule of latent diffusion models."""
        for name, value in (("beta_start", beta_start), ("beta_end", beta_end)):
            if not 0 < value < 1:
                raise ValueError(f"{name} = {value:g} is outside (0, 1)")
        roots = torch.linspace(beta_start**0.5, beta_end**0.5, _levels(T), dtype=torch.float64)
        return cls.from_betas(roots**2)

    @classmethod
    def cosine(cls, T: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> NoiseSchedule:
        r""":math:`\bar\alpha_t` follows a squared cosine (Nichol and Dhariwal 2021, eq. 17), with beta cut at
        ``beta_max``.

        The cut matters at the last step only, where the cosine would reach :math:`\bar\alpha_T = 0` and division by it
        fails.
        """
        u = torch.arange(_levels(T) + 1, dtype=torch.float64) / T
        f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls.from_betas((1 - f[1:] / f[:-1]).clamp(max=beta_max))

    @property
    def T(self) -> int:
        """Number of noise levels; t runs over 0..T."""
        return len(self.beta) - 1

    @property
    def alpha_step(self) -> Tensor:
        r"""``(T+1,)`` what one step keeps of the variance, DDPM's :math:`\alpha_t = 1 - \beta_t = \bar\alpha_t /
        \bar\alpha_{t-1}`.

        Equations: eq:alpha-bar
        """
        return 1 - self.beta

    @cached_property
    def snr(self) -> Tensor:
        r"""``(T+1,)`` signal-to-noise ratio :math:`\bar\alpha_t / (1 - \bar\alpha_t)`; infinite at t = 0.

        Equations: eq:snr
        """
        return self.alpha_bar / (1 - self.alpha_bar)

    @cached_property
    def nsr(self) -> Tensor:
        r"""``(T+1,)`` :math:`\sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}`, the ODE's clock (DDIM eq. 14; sigma in EDM); 0 at
        t = 0.
        """
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def sigma(self, t: int | Tensor, s: int | Tensor, eta: float) -> Tensor:
        r"""Standard deviation of the noise added on the way from t down to s (DDIM eq. 16).

        .. math:: \sigma_{t \to s}(\eta) = \eta \sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}}
                  \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}

        Args:
            t: level to leave, an int or an integer tensor, in 1..T.
            s: level to reach, 0 <= s < t.
            eta: at least 0. 0 is DDIM (deterministic), 1 is DDPM.

        Returns:
            A float64 tensor, 0-d for ints. For s = 0 it is 0 whatever eta is, so the last step adds no noise.

        Raises:
            ValueError: if eta < 0, or not 0 <= s < t <= T.

        Equations: eq:sigma-eta, eq:ddpm-sigma
        """
        check_eta(eta)
        abar_t, abar_s = self._pair(t, s)
        return eta * ((1 - abar_s) / (1 - abar_t)).sqrt() * (1 - abar_t / abar_s).sqrt()

    def sigma_hat(self, t: int | Tensor, s: int | Tensor) -> Tensor:
        r"""DDPM's larger noise :math:`\hat\sigma_{t \to s} = \sqrt{1 - \bar\alpha_t/\bar\alpha_s}` (DDIM, section 5).

        For s = t - 1 this is :math:`\sqrt{\beta_t}`. Arguments and errors as for :meth:`sigma`.
        """
        abar_t, abar_s = self._pair(t, s)
        return (1 - abar_t / abar_s).sqrt()

    def to(self, device: torch.device | str) -> NoiseSchedule:
        """The same schedule with its arrays on ``device`` (which must know float64)."""
        return NoiseSchedule(self.beta.to(device))

    def abar(self, t: int | Tensor, lowest: int = 1) -> Tensor:
        r""":math:`\bar\alpha_t` looked up, after a check that t is a level.

        Args:
            t: an int or an integer tensor of any shape.
            lowest: the smallest t allowed, 1 (a noisy level, what a network is called with) or 0 (the data too).

        Raises:
            ValueError: if t is not of an integer type, or outside ``lowest``..T. (On a GPU the second is not looked
                at.)
        """
        t = torch.as_tensor(t)
        if t.is_floating_point() or t.dtype == torch.bool:
            raise ValueError(f"t has type {t.dtype}; levels are integers in {lowest}..{self.T}")
        # On a GPU the check would wait for the device at every step; indexing there fails by itself for t > T.
        if t.device.type == "cpu" and t.numel() and not (lowest <= int(t.min()) and int(t.max()) <= self.T):
            wrong = int(t.min()) if int(t.min()) < lowest else int(t.max())
            raise ValueError(f"t = {wrong} is outside {lowest}..{self.T}, the levels of this schedule")
        return self.alpha_bar[t.to(self.alpha_bar.device, torch.int64)]  # as an index, uint8 would be a mask

    def _pair(self, t: int | Tensor, s: int | Tensor) -> tuple[Tensor, Tensor]:
        abar_t, abar_s = self.abar(t), self.abar(s, lowest=0)
        if bool((torch.as_tensor(s) >= torch.as_tensor(t)).any()):
            raise ValueError(f"s = {_show(s)} is not below t = {_show(t)}; a step goes from t down to s")
        return abar_t, abar_s


def check_eta(eta: float | str) -> float:
    """``eta`` itself if it is a finite number of at least 0; ValueError otherwise."""
    if not isinstance(eta, (int, float, np.number, Tensor)) or not (math.isfinite(eta) and eta >= 0):
        raise ValueError(f"eta = {eta} is not a number >= 0; use 0 for DDIM, 1 for DDPM, or something between")
    return eta


def make_tau(T: int, S: int, spacing: str = "trailing") -> Tensor:
    r"""The sub-sequence :math:`\tau` of levels that a sampler with S steps visits (DDIM, section 4.2 and appendix D.2).

    The sampler goes from ``tau[S]`` down to ``tau[0] == 0``. Exactly S distinct steps, for every S in 1..T: where
    rounding would repeat a level, the repeat moves up to the next free one (and, at the top, those below it make room).

    Args:
        T: number of levels of the schedule.
        S: number of steps, 1..T.
        spacing: where the steps are.

            - ``"trailing"``, the default: T, T - T/S, T - 2T/S, ... rounded. Sampling hands the network pure noise
              first, and level T is where training showed it what is nearest to that (Lin, Liu, Li and Yang 2024).
            - ``"leading"``: 1, 1 + k, 1 + 2k, ... with k = T // S, as in the official code and in diffusers. Starts
              below T, where training saw data under the noise: at 901 for T = 1000, S = 10, and with S = 1 at level 1,
              where nothing but the data is expected. (Nor can ``"quadratic"`` make anything of noise in one step.)
            - ``"linspace"``: equal steps from 1 to T, both included. S = 1 gives T.
            - ``"quadratic"``: the official code's, dense near the data, up to 0.8 T where S leaves room.
            - ``"quadratic-full"``: the same shape up to T.

    Returns:
        ``(S+1,)`` int64, strictly increasing, from 0 to at most T.

    Raises:
        ValueError: if S is not in 1..T, or the spacing is unknown.
    """
    _levels(T)
    if isinstance(S, bool) or not isinstance(S, (int, np.integer)) or not 1 <= S <= T:
        raise ValueError(f"S = {S} is outside 1..{T}; a sampler takes at least 1 step and at most T = {T}")
    top = T - 1  # the official formulas count levels from 0, so 1 is added below
    if spacing == "leading":
        steps = np.arange(S) * (T // S)
    elif spacing == "linspace":
        steps = np.round(np.linspace(0, top, S)) if S > 1 else np.array([top])
    elif spacing == "trailing":
        steps = np.round(T - np.arange(S)[::-1] * (T / S)) - 1
    elif spacing == "quadratic":
        steps = np.floor(np.linspace(0, np.sqrt(0.8 * T), S) ** 2)
    elif spacing == "quadratic-full":
        steps = np.floor(np.linspace(0, np.sqrt(top), S) ** 2 + 1e-9) if S > 1 else np.array([top])
    else:
        raise ValueError(f"spacing {spacing!r} is unknown; choose one of {', '.join(SPACINGS)}")
    tau = steps.astype(np.int64) + 1
    for i in range(1, S):  # a repeat moves up to the next free level
        tau[i] = max(tau[i], tau[i - 1] + 1)
    tau = np.minimum(tau, T - np.arange(S)[::-1])  # and none is pushed beyond T
    return torch.from_numpy(np.concatenate([[0], tau]))


def check_tau(tau: Tensor | Sequence[int], T: int) -> list[int]:
    """``tau`` as a list of ints if it rises strictly from 0 to at most T; ValueError otherwise."""
    given = [*tau]
    for value in given:
        if not math.isfinite(value) or int(value) != value:
            raise ValueError(f"tau holds {value}, which is no whole number")
    levels = [int(t) for t in given]
    if len(levels) < 2 or levels[0] != 0 or any(a >= b for a, b in pairwise(levels)):
        raise ValueError("tau must rise strictly from 0, the data; make it with make_tau(T, S)")
    if levels[-1] > T:
        raise ValueError(f"tau ends at {levels[-1]}, beyond the schedule's T = {T}")
    return levels


def _levels(T: int) -> int:
    if isinstance(T, bool) or not isinstance(T, (int, np.integer)) or T < 1:
        raise ValueError(f"T = {T} is not a whole number of levels >= 1")
    return int(T)


def _show(t: int | Tensor) -> object:
    return t.tolist() if isinstance(t, Tensor) else t
