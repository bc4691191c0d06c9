"""What the kit looks at in a step: is it right to rounding, and if not, which mistake is it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.contract import Move, Refused, step_moves
from ddim_edu.conformance.judging import (
    ETAS,
    PAIRS,
    blame,
    same_ends,
    see_coefficients,
    see_finite,
    see_last_step,
    see_precision,
)
from ddim_edu.conformance.reference import schedule
from ddim_edu.conformance.report import Verdict


def random_moves(
    abar: np.ndarray, pairs: Sequence[tuple[int, int]], shape: tuple[int, ...], spread: float, etas=ETAS, seed: int = 0
) -> list[Move]:
    """Moves without an end: states that come from data within ``spread``, each with the noise that is in it and fresh
    noise.
    """
    rng, made = np.random.default_rng(seed), []
    for t, s in pairs:
        for eta in etas:
            x_0, eps, noise = (
                rng.uniform(-spread, spread, shape),
                rng.standard_normal(shape),
                rng.standard_normal(shape),
            )
            x = np.sqrt(abar[t]) * x_0 + np.sqrt(1 - abar[t]) * eps
            made.append(Move(x, eps, t, s, eta, noise, x))
    return made


def step(verdict: Verdict, f: Callable) -> None:
    """A step function, on random levels and states."""
    abar = schedule(1000)

    def ends(abar, pairs, shape, spread, **more):
        return step_moves(f, random_moves(abar, pairs, shape, spread, **more), abar)

    shape = (3, 2, 4, 5)
    try:
        moves, how = ends(abar, PAIRS, shape, 0.9)
    except Refused as error:
        verdict.saw("runs", False, str(error))
        verdict.wrong(None, str(error))
        return
    verdict.saw(
        "runs", True, f"on {len(moves)} random steps of pictures {shape}" + ("" if how == "ints" else f", with {how}")
    )
    see_finite(verdict, moves)
    if not verdict.saw(
        "deterministic", same_ends(moves, ends(abar, PAIRS, shape, 0.9)[0]), "the same arguments give the same step"
    ):
        said = "The same arguments give another step each time: it draws noise of its own, not the z that it is given"
        verdict.wrong("noise-not-given", f"{said} (eq. 12, third term).")
        return
    guess = naming.is_right(moves, abar, "step")
    for eta in ETAS:
        see_coefficients(verdict, [m for m in moves if m.eta == eta], abar, f"eta = {eta:g}")
    see_last_step(verdict, moves)
    if guess is None:
        blame(verdict, naming.name(moves, abar, "step"), moves, abar, "step")
        return
    see_precision(verdict, guess)
    # data beyond [-1, 1], where clipping shows
    wide, _ = ends(abar, PAIRS, shape, 4.0)
    if not verdict.saw("data beyond [-1, 1]", naming.is_right(wide, abar, "step") is not None, "x_0 up to 4 in size"):
        blame(verdict, naming.name(wide, abar, "step"), wide, abar, "step")
    _elsewhere(verdict, ends, abar)


def _elsewhere(verdict: Verdict, ends: Callable, abar: np.ndarray) -> None:
    """A right step: other shapes, another schedule."""
    shape = (3, 2, 4, 5)
    try:
        flat, _ = ends(abar, PAIRS[:3], (4, 2), 0.9)
        alone, _ = ends(abar, PAIRS[:3], (1, 3, 2, 2), 0.9)
        fine = naming.is_right(flat + alone, abar, "step") is not None
    except Refused:
        fine = False
    if not verdict.saw("other shapes", fine, "points of shape (4, 2), one picture of (1, 3, 2, 2)"):
        verdict.convention("pictures-only", "It takes pictures of shape (B, C, H, W) only.")
    other = schedule(300, "cosine")
    try:
        moves, _ = ends(other, [(290, 200), (150, 149), (40, 0)], shape, 0.9)
        fine = naming.is_right(moves, other, "step") is not None
    except Refused:
        fine = False
    if not verdict.saw("other schedule", fine, "the cosine schedule with T = 300"):
        verdict.convention(
            "schedule-bound",
            "It does not use the alpha_bar that it is given: it is right for the linear schedule of T = 1000 only.",
        )
