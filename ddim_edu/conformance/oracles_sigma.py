"""What the kit looks at in a function of sigma."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import Mistake, of_kind
from ddim_edu.conformance.contract import SIGNATURES, array, first_of, one_line, quiet
from ddim_edu.conformance.judging import PAIRS, blame
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import ROOTS, Sheet, schedule
from ddim_edu.conformance.report import Verdict

CASES = [(t, s, eta) for t, s in PAIRS for eta in (0.0, 0.3, 0.7, 1.0)]


def sigma(verdict: Verdict, f: Callable) -> None:
    """A function of sigma."""
    abar = schedule(1000)
    got, failed = _called(f, abar)
    if not verdict.saw("runs", got is not None, f"on {len(CASES)} pairs of levels"):
        verdict.wrong(None, f"sigma failed: {failed} (it is called as {SIGNATURES['sigma']})")
        return
    _see(verdict, got, abar)
    expected = _values((), "nan", np.float64, abar)
    right = any(_fits(got, (), "nan", p, abar) for p in ("float64", "float32"))
    off = np.nan_to_num(np.abs(got - expected), nan=np.inf)
    # Where all is right any case will do, and where not the one that shows it.
    worst = 7 if right else int(off.argmax())
    if verdict.saw("DDIM eq. 16", right, _said(worst, got, expected).replace(" is ", " = ")):
        return
    if guess := _name(got, abar):
        blame(verdict, guess, [], abar, "sigma")
        return
    first = int(np.argmax(~np.isclose(got, expected, rtol=1e-5, atol=1e-6)))
    said = f"No known mistake gives these values. The first that is off: {_said(first, got, expected)}"
    verdict.wrong(None, f"{said} (DDIM eq. 16).")


def _called(f: Callable, abar: np.ndarray) -> tuple[np.ndarray | None, str]:
    """The values in all cases, or how the function failed with a numpy array."""
    for given in (torch.from_numpy(abar.copy()), abar.copy()):
        try:
            with quiet():
                return np.array([float(array(first_of(f(*case, given))).reshape(())) for case in CASES]), ""
        except Exception as error:
            failed = one_line(error)
    return None, failed


def _see(verdict: Verdict, got: np.ndarray, abar: np.ndarray) -> None:
    """What shows in the values alone."""
    verdict.saw("finite", bool(np.isfinite(got).all()), "no NaN, no infinity")
    none = np.abs(got) < 1e-6
    verdict.saw("eta = 0", all(none[i] for i, (_, _, eta) in enumerate(CASES) if eta == 0), "no fresh noise")
    last = all(none[i] for i, (_, s, _) in enumerate(CASES) if s == 0)
    verdict.saw("last step", last, "no fresh noise on the way to the data")
    room = [value <= np.sqrt(1 - abar[s]) + 1e-6 for value, (_, s, _) in zip(got, CASES)]
    verdict.saw("room", all(room), "sigma^2 is at most 1 - abar_s")


def _said(i: int, got: np.ndarray, expected: np.ndarray) -> str:
    t, s, eta = CASES[i]
    return f"sigma({t}, {s}, {eta:g}) is {got[i]:.6g}, should be {expected[i]:.6g}"


def _values(mistakes: Sequence[Mistake], root: str, dtype: type, abar: np.ndarray) -> np.ndarray:
    """Sigma in all cases, with mistakes."""
    formulas = naming.formulas_of("step", mistakes)
    fixed = dict(root=ROOTS[root], abar=abar.astype(dtype), T=len(abar) - 1)
    with np.errstate(all="ignore"):
        return np.array([float(Sheet(formulas, **fixed, t=t, s=s, eta=eta).sigma) for t, s, eta in CASES])


def _fits(got: np.ndarray, mistakes: Sequence[Mistake], root: str, precision: str, abar: np.ndarray) -> bool:
    """Whether sigma with some mistakes gives these values, to the rounding of ``precision``."""
    expected, close = _values(mistakes, root, np.float64, abar), 1e-10
    if precision == "float32":
        with np.errstate(invalid="ignore"):
            off = np.abs(_values(mistakes, root, np.float32, abar) - expected)
        close = 2e-5 + 10 * np.nan_to_num(off, nan=0, posinf=0)
    size = np.maximum(1, np.nan_to_num(np.abs(expected), posinf=1))
    return bool(np.all(np.isclose(got, expected, rtol=0, atol=close * size, equal_nan=True)))


def _name(got: np.ndarray, abar: np.ndarray) -> Guess | None:
    """The mistake, or the two, that give these values."""
    singles = [(m,) for m in of_kind("sigma")]
    singles += [(m,) for m in of_kind("step") if m.change.keys() <= {"abar_t", "abar_s"}]
    pairs = [(a, b) for (a,) in singles for (b,) in singles if a.id < b.id and not a.change.keys() & b.change.keys()]
    for precision in ("float64", "float32"):
        for candidates in (singles, pairs):
            for root in ROOTS:
                for mistakes in candidates:
                    if _fits(got, mistakes, root, precision, abar):
                        return Guess(tuple(mistakes))
    return None
