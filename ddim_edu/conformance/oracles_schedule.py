"""What the kit looks at in a noise schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from ddim_edu.conformance.catalogue import BY_ID, Mistake, of_kind
from ddim_edu.conformance.contract import SIGNATURES, array, first_of, one_line, quiet
from ddim_edu.conformance.judging import accuse
from ddim_edu.conformance.reference import FAMILIES, schedule
from ddim_edu.conformance.report import Verdict

T = 1000
LEAST = 1e-12  # a smaller alpha_bar is a zero for all who divide by its root
SHORT = ("schedule-float32", "schedule-float16")
NO_EPS = "(A schedule of zero terminal SNR is right for a network that predicts v or x_0, not for one of eps.)"


@dataclass
class Given:
    """What the function answered.

    Attributes:
        abar: at T = 1000, as it came: from level 0 or from level 1 on.
        dtype: its type.
        count: how many numbers there are at T = 100.
    """

    abar: np.ndarray
    dtype: str
    count: int

    @property
    def from_1(self) -> bool:
        """Whether the data's level is left out."""
        return len(self.abar) == T

    @property
    def whole(self) -> np.ndarray:
        """``(T+1,)`` with the data's level."""
        return np.concatenate([[1.0], self.abar]) if self.from_1 else self.abar

    @property
    def short(self) -> bool:
        """Whether its numbers have sixteen bits."""
        return self.dtype in ("float16", "bfloat16")

    @property
    def valid(self) -> bool:
        """Whether it falls from 1 and stays above 0."""
        whole = self.whole
        return bool(
            (self.from_1 or abs(whole[0] - 1) < 1e-12)
            and np.isfinite(whole).all()
            and np.all(np.diff(whole) < 0)
            and whole[-1] > LEAST
        )

    def near(self, candidate: np.ndarray, tight: bool) -> bool:
        """Whether it is the same as a schedule ``(T+1,)``, to the rounding of float64 or of float32."""
        if len(candidate) != T + 1:
            return False
        a, b = candidate[self.from_1 :], self.whole[self.from_1 :]
        ok = np.isfinite(a)
        if not np.array_equal(ok, np.isfinite(b)):
            return False
        a, b = a[ok], b[ok]
        off = np.abs(a - b)
        if tight:
            return bool(np.all(off <= 1e-9 * np.abs(a) + 1e-15) and np.all(off <= 1e-9 * np.abs(1 - a)))
        return bool(np.all(off <= 2e-4 * np.abs(a) + 1e-12) and np.all(off <= 5e-3 * np.abs(1 - a) + 1e-7))


def schedule_kind(verdict: Verdict, f: Callable) -> None:
    """A noise schedule."""
    given = _called(verdict, f)
    if given is None:
        return
    _see(verdict, given)
    named = _named(given)
    if named:
        verdict.saw("known schedule", False, "it equals a known mistake, " + " and ".join(m.id for m in named))
        accuse(verdict, [m.id for m in named])
    elif not _ends_are_wrong(verdict, given) and not _tail_is_rounded(verdict, given):
        _rest(verdict, given)


def _called(verdict: Verdict, f: Callable) -> Given | None:
    """The function's answers, if they are lists of numbers; if not, the verdict."""
    got = {}
    for size in (T, 100):
        try:
            with quiet():
                value = first_of(f(size))
                dtype = str(getattr(value, "dtype", "float64")).removeprefix("torch.")
                got[size] = array(value)
        except Exception as error:
            verdict.saw("runs", False, one_line(error))
            said = f"The schedule failed at T = {size}: {one_line(error)} (it is called as {SIGNATURES['schedule']})"
            verdict.wrong(None, said)
            return None
    abar = got[T]
    count = len(abar) if abar.ndim == 1 else abar.shape
    verdict.saw("runs", abar.ndim == 1, f"{count} numbers at T = {T}, of type {dtype}")
    if abar.ndim == 1 and len(abar) in (T, T + 1):
        return Given(abar, dtype, got[100].size)
    said = f"alpha_bar has shape {abar.shape} at T = {T}; it has T + 1 = {T + 1} numbers"
    verdict.wrong(None, f"{said}, the first of them 1, the data.")
    return None


def _see(verdict: Verdict, given: Given) -> None:
    """What shows in the numbers, whatever the schedule."""
    whole = given.whole
    verdict.saw("finite", bool(np.isfinite(whole).all()), "no NaN, no infinity")
    verdict.saw("starts at 1", given.from_1 or abs(whole[0] - 1) < 1e-12, f"alpha_bar[0] = {given.abar[0]:.6g}")
    verdict.saw("falls", bool(np.all(np.diff(whole) < 0)), "at every level")
    verdict.saw("in (0, 1)", bool(np.all((whole[1:] > 0) & (whole[1:] < 1))), f"alpha_bar_T = {whole[-1]:.6g}")
    if 0 <= whole[-1] <= LEAST:
        verdict.saw("can be divided by", False, f"alpha_bar_T = {whole[-1]:.3g} is below {LEAST:g}: 0 but for rounding")


@lru_cache(maxsize=1)
def _mutants() -> tuple[list[tuple[tuple[Mistake, ...], np.ndarray]], ...]:
    """The schedules that one mistake makes, and those that two make."""

    def made(together: tuple[Mistake, ...]) -> list[tuple[tuple[Mistake, ...], np.ndarray]]:
        change = {line: formula for m in together for line, formula in m.change.items()}
        families = set.intersection(*(set(m.families) for m in together))
        return [(together, schedule(T, family, change)) for family in FAMILIES if family in families]

    known = of_kind("schedule")
    pairs = [p for p in combinations(known, 2) if not p[0].change.keys() & p[1].change.keys()]
    return [x for m in known for x in made((m,))], [x for pair in pairs for x in made(pair)]


def _named(given: Given) -> tuple[Mistake, ...]:
    """The mistakes, at most two, that make these numbers; none if a right schedule does, or nothing known."""
    right = [schedule(T, family) for family in FAMILIES]
    if any(given.near(known, True) for known in right):
        return ()
    one, two = _mutants()
    loosely = not any(given.near(known, False) for known in right)
    rounds = [(one, True), (one, False), (two, True), (two, False)]
    for candidates, tight in rounds:
        if not tight and (not loosely or (candidates is two and given.valid)):
            continue
        for mistakes, wrong in candidates:
            if (tight or not any(m.id in SHORT for m in mistakes)) and given.near(wrong, tight):
                return mistakes
    if given.from_1 and abs(given.abar[0] - 1) < 1e-12:
        return (BY_ID["schedule-shifted"],)
    return (BY_ID["schedule-float16"],) if given.short else ()


def _ends_are_wrong(verdict: Verdict, given: Given) -> bool:
    """Whether an unknown schedule does not fall from 1 to above 0; then the verdict."""
    whole = given.whole
    if not given.from_1 and abs(whole[0] - 1) >= 1e-12:
        accuse(verdict, ["schedule-no-data-level"], f"alpha_bar[0] = {whole[0]:.6g}.")
        return True
    falls = bool(np.isfinite(whole).all() and np.all(np.diff(whole) < 0))
    if falls and 0 <= whole[-1] <= LEAST:
        accuse(verdict, ["schedule-zero-end"], f"alpha_bar_T = {whole[-1]:.3g}.")
        verdict.explanation += f" {NO_EPS}"
        return True
    if falls and np.all((whole[1:] > 0) & (whole[1:] < 1)):
        return False
    bad = np.flatnonzero(~(np.diff(whole) < 0) | ~(whole[1:] > 0) | ~(whole[1:] < 1))[0] + 1
    short = whole.astype(np.float32)
    digits = len(np.unique(short)) < len(whole) and np.array_equal(short, whole) and np.all(np.diff(whole) <= 0)
    if digits and (given.dtype == "float32" or given.short):
        accuse(verdict, ["schedule-float32"], f"alpha_bar_{bad} = {whole[bad]:.6g} is not below alpha_bar_{bad - 1}.")
        return True
    said = f"alpha_bar_{bad} = {whole[bad]:.6g} after alpha_bar_{bad - 1} = {whole[bad - 1]:.6g}"
    verdict.wrong(None, f"{said}: it falls strictly from 1, and stays above 0.")
    return True


def _tail_is_rounded(verdict: Verdict, given: Given) -> bool:
    """Whether it is the cosine schedule but for float32's rounding where that matters; then the verdict."""
    whole, cosine = given.whole, schedule(T, "cosine")
    if given.near(cosine, False) or whole[-1] >= 1e-7 or np.any(np.abs(whole - cosine) >= 1e-5):
        return False
    verdict.saw("known schedule", False, "the cosine, but for its tail")
    at = int(np.argmax(np.abs(whole / cosine - 1)))
    accuse(verdict, ["schedule-float32"], f"alpha_bar_{at} = {whole[at]:.6g}, should be {cosine[at]:.6g}.")
    return True


def _rest(verdict: Verdict, given: Given) -> None:
    """A schedule that falls as it should: its other T, its name, its end and its conventions."""
    if not verdict.saw("T = 100", given.count in (100, 101), f"{given.count} numbers"):
        verdict.wrong(None, f"T is ignored: at T = 100 there are {given.count} numbers, not 101.")
        return
    exact = next((family for family in FAMILIES if given.near(schedule(T, family), True)), None)
    family = exact or next((family for family in FAMILIES if given.near(schedule(T, family), False)), None)
    said = f"{family}, to {'rounding' if exact else 'the rounding of float32'}"
    verdict.saw("known schedule", True, said if family else "none of the usual ones, and a valid one")
    end = given.whole[-1]
    if end > 0.9:  # one beta is small, and many of them are not
        said = f"alpha_bar_T = {end:.3g}: nearly all signal is still in x_T. Is it multiplied up?"
        accuse(verdict, ["schedule-alpha"], said)
        return
    if end > 0.5:
        verdict.wrong(None, f"alpha_bar_T = {end:.3g}: most of the signal is still in x_T, which is to be noise.")
        return
    if end > 0.05:
        said = f"alpha_bar_T = {end:.3g}: x_T still has signal, and sampling from pure noise starts elsewhere."
        verdict.convention("signal-left", said)
    if given.from_1:
        said = "T numbers that begin at level 1, as in most libraries; this project puts the data, 1, in front."
        verdict.convention("schedule-from-level-1", said)
    if given.dtype == "float32" or (family and not exact):
        said = "The numbers have float32's rounding: 1 - alpha_bar_1 keeps three digits."
        verdict.convention("schedule-in-float32", f"{said} Coefficients cost nothing in float64.")
