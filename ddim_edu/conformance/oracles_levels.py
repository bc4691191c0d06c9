"""What the kit looks at in a grid of levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import of_kind
from ddim_edu.conformance.contract import SIGNATURES, array, first_of, one_line, quiet
from ddim_edu.conformance.judging import accuse, listing
from ddim_edu.conformance.reference import build, falling
from ddim_edu.conformance.report import Verdict

CASES = [(1000, 10), (1000, 7), (1000, 13), (200, 10), (60, 7), (50, 50)]  # T and S


def tau(verdict: Verdict, f: Callable) -> None:
    """A grid of levels."""
    answers = []
    for T, S in CASES:
        try:
            with quiet():
                answers.append([float(t) for t in array(first_of(f(T, S))).ravel()])
        except Exception as error:
            verdict.saw("runs", False, one_line(error))
            verdict.wrong(None, f"tau({T}, {S}) failed: {one_line(error)} (it is called as {SIGNATURES['tau']})")
            return
    verdict.saw("runs", True, f"on {len(CASES)} pairs of T and S")
    for (T, S), given in zip(CASES, answers):
        if not given or any(t != int(t) for t in given):
            verdict.saw("whole numbers", False, listing(given))
            verdict.wrong(None, f"tau({T}, {S}) is {listing(given)}: levels are whole numbers in 1..{T}.")
            return
        fault = _fault(given, T, S)
        if fault == "grid-repeats" and S == T:
            count = len(set(falling(given)))
            said = f"With S = T = {T} it names {count} different levels: the other calls are wasted."
            verdict.convention("repeats-at-T", said)
        elif fault:
            fault = _same(answers) or fault
            verdict.saw("levels", False, f"T = {T}, S = {S}: {listing(given)}")
            accuse(verdict, [fault], f"tau({T}, {S}) = {listing(given)}.")
            return
    verdict.saw("levels", True, listing(answers[0]))
    reason = naming.grid_convention(falling(answers[0]), 10, 1000)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")


def _fault(given: list[float], T: int, S: int) -> str | None:
    """The mistake in a list of levels, by its id."""
    if len(given) == S and min(given) == 0:  # S numbers with the data among them
        if max(given) == T:
            return "grid-too-few"
        return "grid-zero-based-leading" if np.all(np.diff(sorted(given)) == T // S) else "grid-zero-based"
    fault = naming.grid_fault(falling(given), S, T)
    return "grid-not-monotone" if fault == "grid-rises" else fault


def _same(answers: list[list[float]]) -> str | None:
    """The mistake of the catalogue that gives the same lists."""
    for m in of_kind("tau"):
        if all(falling(build("tau", m.change)(*case)) == falling(a) for case, a in zip(CASES[:3], answers)):
            return m.id
    return None
