r"""The right formulas, a line each, and the loops that use them.

A :class:`Sheet` works out one step as one would on paper: some quantities are given, each other has a formula, and a
formula is looked up by its name when the quantity is first needed. A mistake of the catalogue replaces one line of
these; nothing else is ever written twice. The formulas use operators only, so that they run on numpy arrays (to
compare) and on torch tensors (to build a function).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

Formulas = Mapping[str, Callable[["Sheet"], object]]

# One step from level t to level s (DDIM eq. 12), by the pieces in which people get it wrong.
STEP: Formulas = {
    "abar_t": lambda v: v.abar[v.t],
    "abar_s": lambda v: v.abar[v.s],
    "sigma": lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s),  # DDIM eq. 16
    "x0_hat": lambda v: (v.x - v.root(1 - v.abar_t) * v.eps) / v.root(v.abar_t),  # DDIM eq. 9
    "x0": lambda v: v.x0_hat,  # where clipping happens
    "eps_hat": lambda v: v.eps,
    "signal": lambda v: v.root(v.abar_s),
    "along": lambda v: v.root(1 - v.abar_s - v.sigma**2),
    "fresh": lambda v: v.sigma,
    "z": lambda v: v.noise,
    "x_s": lambda v: v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z,
}
# How a loop asks its network: in each step, about the state reached.
NETWORK: Formulas = {
    "shown": lambda v: v.x,
    "answer": lambda v: v.eps_theta(v.shown, torch.full((len(v.x),), v.asked)),
    "eps": lambda v: v.answer,
    "noise": lambda v: v.draw,
}
# What a sampler adds to the step. `tau` falls from the first level visited to 0, the data.
LOOP: Formulas = {
    "tau": lambda v: [*np.round(v.T - np.arange(v.S) * (v.T / v.S)).astype(int), 0],
    "asked": lambda v: v.t,
    **NETWORK,
    "draw": lambda v: torch.randn_like(v.x),
    "start": lambda v: v.x_T,
    "end": lambda v: v.x,
}
# An inversion is the step with sigma = 0 from t up to s > t. At t = 0, where a network knows no level, it is asked for
# level 1.
INVERT: Formulas = {
    "tau": lambda v: [0, *np.round(v.T - np.arange(v.S)[::-1] * (v.T / v.S)).astype(int)],
    "asked": lambda v: max(v.t, 1),
    **NETWORK,
    "sigma": lambda v: 0.0,
    "draw": lambda v: torch.zeros_like(v.x),
    "start": lambda v: v.x_T,
    "end": lambda v: v.x,
}
# A schedule: beta_1..beta_T by family, what each step keeps, what all have kept, and the data's level in front.
SCHEDULE: Formulas = {
    "root_ends": lambda v: (0.00085**0.5, 0.012**0.5),
    "cosine": lambda v: (
        np.cos((np.arange(v.T + 1) / v.T + 0.008) / 1.008 * np.pi / 2) ** 2
    ),  # Nichol and Dhariwal eq. 17
    "cut": lambda v: np.minimum(1 - v.cosine[1:] / v.cosine[:-1], 0.999),
    "ramp": lambda v: {
        "linear": lambda: np.linspace(1e-4, 0.02, v.T),
        "scaled-linear": lambda: np.linspace(*v.root_ends, v.T) ** 2,
        "cosine": lambda: v.cut,
    }[v.family](),
    "beta": lambda v: v.ramp,
    "alpha": lambda v: 1 - v.beta,
    "kept": lambda v: np.cumprod(v.alpha),
    "first": lambda v: 1.0,
    "alpha_bar": lambda v: v.first * np.concatenate([[1.0], v.kept]),
}
FAMILIES = ("linear", "scaled-linear", "cosine")
ROOTS: Mapping[str, Callable] = {  # what becomes of the root of a negative number, which wrong formulas can have
    "nan": np.sqrt,
    "clamped": lambda a: np.sqrt(np.maximum(a, 0)),
    "absolute": lambda a: np.sqrt(np.abs(a)),
}


class Sheet:
    """Given quantities, and others worked out by formula on first use.

    Args:
        formulas: name -> function of the sheet.
        given: name -> value. What is given wins over what has a formula.
    """

    def __init__(self, formulas: Formulas, /, **given: object) -> None:
        self.__dict__.update(given, _formulas=formulas)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or name not in self._formulas:
            raise AttributeError(f"nothing here is called {name!r}")
        value = self._formulas[name](self)
        setattr(self, name, value)
        return value


def schedule(T: int, family: str = "linear", change: Formulas | None = None) -> np.ndarray:
    """``(T+1,)`` alpha-bar of one of ``FAMILIES``, with lines of ``SCHEDULE`` replaced by those of ``change``."""
    with np.errstate(all="ignore"):
        return np.asarray(Sheet({**SCHEDULE, **(change or {})}, T=T, family=family).alpha_bar)


def build(kind: str, change: Formulas | None = None, *, root: str = "clamped", family: str = "linear") -> Callable:
    """A function that keeps the contract of ``kind``, with some lines replaced: right where ``change`` is empty.

    Args:
        kind: ``step``, ``sampler``, ``invert``, ``sigma``, ``tau`` or ``schedule``.
        change: what stands in the place of which line.
        root: what becomes of roots of negative numbers, a key of ``ROOTS``.
        family: of the schedule.
    """
    change = dict(change or {})
    formulas = {**STEP, **(INVERT if kind == "invert" else LOOP), **change}
    given = {"root": ROOTS[root]}

    def step(x_t, eps, t, s, eta, noise, alpha_bar):
        with np.errstate(all="ignore"):
            abar = np.asarray(alpha_bar, dtype=np.float64)
            return Sheet(
                formulas, **given, x=x_t, eps=eps, t=t, s=s, eta=eta, noise=noise, abar=abar, T=len(abar) - 1
            ).x_s

    def sigma(t, s, eta, alpha_bar):
        with np.errstate(all="ignore"):
            abar = np.asarray(alpha_bar, dtype=np.float64)
            return float(Sheet(formulas, **given, t=t, s=s, eta=eta, abar=abar, T=len(abar) - 1).sigma)

    def tau(T, S):
        return [int(t) for t in Sheet(formulas, T=T, S=S).tau]

    def sampler(eps_theta, x_T, S, eta, alpha_bar):
        abar = np.asarray(alpha_bar, dtype=np.float64)
        fixed = dict(given, abar=abar, T=len(abar) - 1, S=S, eta=eta, x_T=x_T, kept={}, eps_theta=eps_theta)
        x = Sheet(formulas, **fixed, x=x_T).start
        levels = tau(len(abar) - 1, S)
        with np.errstate(all="ignore"):
            for i, (t, s) in enumerate(pairwise(levels)):
                here = Sheet(formulas, **fixed, x=x, t=t, s=s, i=i)
                _ = here.eps, here.noise  # asked and drawn in this order, whether the step needs them or not
                x = here.x_s
        return Sheet(formulas, **fixed, x=x, t=levels[-2], s=levels[-1]).end

    def invert(eps_theta, x_0, S, alpha_bar):
        return sampler(eps_theta, x_0, S, 0.0, alpha_bar)

    def alpha_bar(T):
        return schedule(T, family, change)

    made = {"step": step, "sigma": sigma, "tau": tau, "sampler": sampler, "invert": invert, "schedule": alpha_bar}
    return made[kind]


def falling(levels: Sequence[int]) -> list[int]:
    """Levels in the order of a sampler, from the noisiest down, without the data."""
    levels = [int(t) for t in levels]
    rising = len(levels) > 1 and levels[0] < levels[-1]
    levels = levels[::-1] if rising else levels
    return levels[:-1] if levels and levels[-1] == 0 else levels
