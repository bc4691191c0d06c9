"""What the kit looks at in a grid of levels and in a schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID, of_kind
from ddim_edu.conformance.contract import SIGNATURES, array, first_of, one_line, quiet
from ddim_edu.conformance.judging import listing
from ddim_edu.conformance.reference import FAMILIES, build, falling, schedule
from ddim_edu.conformance.report import Verdict


def tau(verdict: Verdict, f: Callable) -> None:
    """A grid of levels."""
    cases = [(1000, 10), (1000, 7), (1000, 13), (200, 10), (60, 7), (50, 50)]
    answers = []
    for T, S in cases:
        try:
            with quiet():
                answers.append([float(t) for t in array(first_of(f(T, S)) if not isinstance(f, tuple) else f).ravel()])
        except Exception as error:
            verdict.saw("runs", False, one_line(error))
            verdict.wrong(None, f"tau({T}, {S}) failed: {one_line(error)} (it is called as {SIGNATURES['tau']})")
            return
    verdict.saw("runs", True, f"on {len(cases)} pairs of T and S")
    for (T, S), given in zip(cases, answers):
        if not given or any(t != int(t) for t in given):
            verdict.saw("whole numbers", False, listing(given))
            verdict.wrong(None, f"tau({T}, {S}) is {listing(given)}: levels are whole numbers in 1..{T}.")
            return
        levels = falling(given)
        fault = naming.grid_fault(levels, S, T)
        if len(given) == S and min(given) == 0:  # S numbers with the data among them
            fault = (
                "grid-too-few"
                if max(given) == T
                else "grid-zero-based-leading"
                if np.all(np.diff(sorted(given)) == T // S)
                else "grid-zero-based"
            )
        if fault == "grid-zero-based" and max(given) == T - 1 and S == T:
            fault = "grid-zero-based"
        if fault == "grid-rises":
            fault = "grid-not-monotone"
        if fault == "grid-repeats" and S == T:
            verdict.convention(
                "repeats-at-T",
                f"With S = T = {T} it names {len(set(levels))} different levels: the other calls are wasted.",
            )
            continue
        if fault:
            same = [
                m.id
                for m in of_kind("tau")
                if all(falling(build("tau", m.change)(*c)) == falling(a) for c, a in zip(cases[:3], answers))
            ]
            fault = same[0] if same else fault
            verdict.saw("levels", False, f"T = {T}, S = {S}: {listing(given)}")
            sentence = BY_ID[fault].sentence if fault in BY_ID else ""
            verdict.wrong(fault if fault in BY_ID else None, f"tau({T}, {S}) = {listing(given)}. {sentence}")
            return
    verdict.saw("levels", True, listing(answers[0]))
    reason = naming.grid_convention(falling(answers[0]), 10, 1000)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")


def schedule_kind(verdict: Verdict, f: Callable) -> None:
    """A noise schedule."""
    got = {}
    for T in (1000, 100):
        try:
            with quiet():
                value = first_of(f(T))
                dtype = str(getattr(value, "dtype", "float64")).removeprefix("torch.")
                got[T] = array(value)
        except Exception as error:
            verdict.saw("runs", False, one_line(error))
            verdict.wrong(
                None, f"The schedule failed at T = {T}: {one_line(error)} (it is called as {SIGNATURES['schedule']})"
            )
            return
    abar, T = got[1000], 1000
    verdict.saw(
        "runs", abar.ndim == 1, f"{len(abar) if abar.ndim == 1 else abar.shape} numbers at T = 1000, of type {dtype}"
    )
    if abar.ndim != 1 or len(abar) not in (T, T + 1):
        verdict.wrong(
            None,
            f"alpha_bar has shape {abar.shape} at T = 1000; it has T + 1 = 1001 numbers, the first of them 1, the data.",
        )
        return
    whole = abar if len(abar) == T + 1 else np.concatenate([[1.0], abar])  # a list from level 1 on
    finite = bool(np.isfinite(abar).all())
    verdict.saw("finite", finite, "no NaN, no infinity")
    verdict.saw("starts at 1", len(abar) == T or abs(abar[0] - 1) < 1e-12, f"alpha_bar[0] = {abar[0]:.6g}")
    falls = bool(np.all(np.diff(whole) < 0))
    verdict.saw("falls", falls, "at every level")
    verdict.saw("in (0, 1)", bool(np.all((whole[1:] > 1e-12) & (whole[1:] < 1))), f"alpha_bar_T = {whole[-1]:.6g}")

    def near(candidate: np.ndarray, tight: bool) -> bool:
        if len(candidate) != len(whole):
            return False
        if not np.array_equal(np.isfinite(candidate), np.isfinite(whole)):
            return False
        ok = np.isfinite(candidate)
        a, b = candidate[ok], whole[ok]
        rel = 1e-9 if tight else 2e-4
        return bool(
            np.all(np.abs(a - b) <= rel * np.abs(a) + (1e-15 if tight else 1e-12))
            and np.all(np.abs(a - b) <= (1e-9 if tight else 5e-3) * np.abs(1 - a) + 1e-7 * (not tight))
        )

    right = {family: schedule(T, family) for family in FAMILIES}
    short = dtype in ("float16", "bfloat16")
    mutants = [(m, schedule(T, family, m.change)) for m in of_kind("schedule") for family in m.families]
    family = next((name for name, known in right.items() if near(known, True)), None)
    named = None
    if family is None:
        named = next((m for m, wrong in mutants if near(wrong, True)), None)
        named = named or next((m for m, wrong in mutants if m.id not in ("schedule-float32", "schedule-float16") and near(wrong, False)
                               and not any(near(known, False) for known in right.values())), None)  # fmt: skip
    family = (
        family or next((name for name, known in right.items() if near(known, False)), None) if named is None else None
    )
    if named is None and len(abar) == T and abs(abar[0] - 1) < 1e-12:
        named = BY_ID["schedule-shifted"]
    if short and named is None:
        named = BY_ID["schedule-float16"]
    if named is not None:
        verdict.saw("known schedule", False, f"it equals a known mistake, {named.id}")
        verdict.wrong(named.id, named.sentence)
        return
    if len(abar) == T + 1 and abs(abar[0] - 1) >= 1e-12:
        verdict.wrong(
            "schedule-no-data-level", f"alpha_bar[0] = {abar[0]:.6g}. " + BY_ID["schedule-no-data-level"].sentence
        )
        return
    if finite and falls and 0 <= whole[-1] <= 1e-12:
        extra = " (A schedule of zero terminal SNR is right for a network that predicts v or x_0, not for one that predicts eps.)"
        verdict.wrong(
            "schedule-zero-end", f"alpha_bar_T = {whole[-1]:.3g}. " + BY_ID["schedule-zero-end"].sentence + extra
        )
        return
    if not (finite and falls and np.all((whole[1:] > 0) & (whole[1:] < 1))):
        bad = np.flatnonzero(~(np.diff(whole) < 0) | ~(whole[1:] > 0) | ~(whole[1:] < 1))[0] + 1
        digits = (
            len(np.unique(whole.astype(np.float32))) < len(whole)
            and np.array_equal(whole.astype(np.float32), whole)
            and np.all(np.diff(whole) <= 0)
        )
        if digits and dtype in ("float32", "float16", "bfloat16"):
            verdict.wrong(
                "schedule-float32",
                f"alpha_bar_{bad} = {whole[bad]:.6g} is not below alpha_bar_{bad - 1}. "
                + BY_ID["schedule-float32"].sentence,
            )
            return
        verdict.wrong(
            None,
            f"alpha_bar_{bad} = {whole[bad]:.6g} after alpha_bar_{bad - 1} = {whole[bad - 1]:.6g}: it falls strictly from 1, and "
            f"stays above 0.",
        )
        return
    if near(right["cosine"], False) is False and whole[-1] < 1e-7 and np.all(np.abs(whole - right["cosine"]) < 1e-5):
        verdict.saw("known schedule", False, "the cosine, but for its tail")
        at = int(np.argmax(np.abs(whole / right["cosine"] - 1)))
        verdict.wrong(
            "schedule-float32",
            f"alpha_bar_{at} = {whole[at]:.6g}, should be {right['cosine'][at]:.6g}. "
            + BY_ID["schedule-float32"].sentence,
        )
        return
    if len(got[100]) not in (100, 101):
        verdict.saw("T = 100", False, f"{len(got[100])} numbers")
        verdict.wrong(None, f"T is ignored: at T = 100 there are {len(got[100])} numbers, not 101.")
        return
    verdict.saw("T = 100", True, f"{len(got[100])} numbers")
    verdict.saw(
        "known schedule",
        True,
        f"{family}, {'to rounding' if near(right[family], True) else 'to the rounding of float32'}"
        if family
        else "none of the usual ones, and a valid one",
    )
    if whole[-1] > 0.5:
        verdict.wrong(
            "schedule-alpha",
            f"alpha_bar_T = {whole[-1]:.3g}: most of the signal is still in x_T. Is it multiplied up? "
            + BY_ID["schedule-alpha"].sentence,
        )
        return
    if whole[-1] > 0.05:
        verdict.convention(
            "signal-left",
            f"alpha_bar_T = {whole[-1]:.3g}: x_T still has signal, and sampling from pure noise starts elsewhere.",
        )
    if len(abar) == T:
        verdict.convention(
            "schedule-from-level-1",
            "T numbers that begin at level 1, as in most libraries; this project puts the data, 1, in front.",
        )
    if dtype == "float32" or (family and not near(right[family], True)):
        verdict.convention(
            "schedule-in-float32",
            "The numbers have float32's rounding: 1 - alpha_bar_1 keeps three digits. Coefficients cost nothing in float64.",
        )
