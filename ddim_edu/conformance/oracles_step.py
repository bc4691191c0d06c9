"""What the kit looks at in a step and in a sigma: is it right to rounding, and if not, which mistake is it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import Mistake, of_kind
from ddim_edu.conformance.contract import SIGNATURES, Move, Refused, array, first_of, one_line, quiet, step_moves
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
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import ROOTS, Sheet, schedule
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
        verdict.wrong("noise-not-given", "The same arguments give another step each time: it draws noise of its own, not the "
            "z that it is given "
                      "(eq. 12, third term).")  # fmt: skip
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


def sigma(verdict: Verdict, f: Callable) -> None:
    """A function of sigma."""
    abar = schedule(1000)
    import torch

    cases = [(t, s, eta) for t, s in PAIRS for eta in (0.0, 0.3, 0.7, 1.0)]
    for given in (torch.from_numpy(abar.copy()), abar.copy()):
        try:
            with quiet():
                got = [float(array(first_of(f(t, s, eta, given))).reshape(())) for t, s, eta in cases]
            break
        except Exception as error:
            failed = one_line(error)
            got = None
    if not verdict.saw("runs", got is not None, f"on {len(cases)} pairs of levels"):
        verdict.wrong(None, f"sigma failed: {failed} (it is called as {SIGNATURES['sigma']})")
        return

    def values(mistakes: Sequence[Mistake], root: str, dtype: type) -> np.ndarray:
        formulas = naming.formulas_of("step", mistakes)
        with np.errstate(all="ignore"):
            return np.array(
                [
                    float(Sheet(formulas, root=ROOTS[root], abar=abar.astype(dtype), T=1000, t=t, s=s, eta=eta).sigma)
                    for t, s, eta in cases
                ]
            )

    def fit(mistakes: Sequence[Mistake], root: str, precision: str) -> bool:
        expected = values(mistakes, root, np.float64)
        close = (
            1e-10
            if precision == "float64"
            else 2e-5 + 10 * np.nan_to_num(np.abs(values(mistakes, root, np.float32) - expected), nan=0, posinf=0)
        )
        return bool(
            np.all(
                np.isclose(
                    got,
                    expected,
                    rtol=0,
                    atol=close * np.maximum(1, np.nan_to_num(np.abs(expected), posinf=1)),
                    equal_nan=True,
                )
            )
        )

    expected = values((), "nan", np.float64)
    verdict.saw("finite", bool(np.isfinite(got).all()), "no NaN, no infinity")
    zero = [abs(g) < 1e-6 for g, (_, _, eta) in zip(got, cases) if eta == 0]
    verdict.saw("eta = 0", all(zero), "no fresh noise")
    last = [abs(g) < 1e-6 for g, (_, s, _) in zip(got, cases) if s == 0]
    verdict.saw("last step", all(last), "no fresh noise on the way to the data")
    room = [g <= np.sqrt(1 - abar[s]) + 1e-6 for g, (_, s, _) in zip(got, cases)]
    verdict.saw("room", all(room), "sigma^2 is at most 1 - abar_s")
    right = any(fit((), "nan", p) for p in ("float64", "float32"))
    off = np.nan_to_num(np.abs(got - expected), nan=np.inf)
    t, s, eta = cases[
        worst := 7 if right else int(off.argmax())
    ]  # where all is right any will do, and where not the one that shows it
    if verdict.saw(
        "DDIM eq. 16", right, f"sigma({t}, {s}, {eta:g}) = {got[worst]:.6g}, should be {expected[worst]:.6g}"
    ):
        return
    singles = [(m,) for m in of_kind("sigma")] + [
        (m,) for m in of_kind("step") if m.change.keys() <= {"abar_t", "abar_s"}
    ]
    pairs = [(a, b) for (a,) in singles for (b,) in singles if a.id < b.id and not a.change.keys() & b.change.keys()]
    for precision in ("float64", "float32"):
        for candidates in (singles, pairs):
            for root in ROOTS:
                for mistakes in candidates:
                    if fit(mistakes, root, precision):
                        blame(verdict, Guess(tuple(mistakes)), [], abar, "sigma")
                        return
    i = int(np.argmax(~np.isclose(got, expected, rtol=1e-5, atol=1e-6)))
    t, s, eta = cases[i]
    verdict.wrong(None, f"No known mistake gives these values. The first that is off: sigma({t}, {s}, {eta:g}) is {got[i]:.6g}, should be "
                  f"{expected[i]:.6g} (DDIM eq. 16).")  # fmt: skip
