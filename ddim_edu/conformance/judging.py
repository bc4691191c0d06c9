"""What all the oracles share: what is looked at on any moves, and how a finding becomes the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.contract import Move, Run
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.report import Verdict

ETAS = (0.0, 0.3, 1.0)
PAIRS = [(1000, 901), (640, 500), (333, 332), (120, 30), (7, 3), (2, 1), (60, 0), (1, 0)]
STEPS = (10, 7, 13)  # 7 and 13 do not divide 1000


def first_states(n: int, seed: int = 1) -> np.ndarray:
    """``n`` states of (1, 2, 2), standard normal."""
    return np.random.default_rng(seed).standard_normal((n, 1, 2, 2))


def alike(a: np.ndarray | None, b: np.ndarray | None, within: float = 1e-9) -> bool:
    """Whether two arrays are the same to rounding; not where one is missing."""
    return a is not None and b is not None and bool(np.allclose(a, b, rtol=within, atol=within, equal_nan=True))


def some(moves: list[Move], most: int = 40) -> list[Move]:
    """A few of many moves, the first and the last among them."""
    if len(moves) <= most:
        return moves
    return [moves[i] for i in np.linspace(0, len(moves) - 1, most).round().astype(int)]


def same_ends(a: Sequence[Move], b: Sequence[Move]) -> bool:
    """Whether two lists of moves end in the same states."""
    return all(alike(m.x_s, n.x_s) for m, n in zip(a, b))


def listing(levels: Sequence[float]) -> str:
    """Levels in a line, the middle of many left out."""
    shown = [f"{t:g}" for t in levels]
    return "[" + ", ".join(shown if len(shown) <= 14 else [*shown[:5], "...", *shown[-4:]]) + "]"


def all_ran(verdict: Verdict, runs: Sequence[Run], what: str) -> bool:
    """Whether all runs came to an end; if not, the verdict."""
    failed = next((r for r in runs if r.result is None), None)
    if failed is None:
        verdict.saw("runs", True, "with S = " + ", ".join(str(r.S) for r in runs[:3]))
        return True
    verdict.saw("runs", False, failed.error)
    beyond = max(failed.asked, default=0) > 1000
    said = f"The {what} failed at S = {failed.S}, eta = {failed.eta:g}: {failed.error}."
    known = "grid-beyond-T" if beyond or failed.error.startswith("IndexError") else None
    verdict.wrong(known, f"{said} Until then it had asked at {listing(failed.asked)}.")
    return False


def see_finite(verdict: Verdict, moves: Sequence[Move]) -> None:
    """Look for numbers that are not finite."""
    bad = next((m for m in moves if not np.isfinite(m.x_s).all()), None)
    verdict.saw(
        "finite",
        bad is None,
        "no NaN, no infinity" if bad is None else f"not at t = {bad.t}, s = {bad.s}, eta = {bad.eta:g}",
    )


def see_last_step(verdict: Verdict, moves: Sequence[Move]) -> None:
    """Look at the moves that reach the data: they should reach the predicted x_0."""
    from ddim_edu.conformance.reference import schedule as known

    abar = known(1000)
    off = 0.0
    for m in moves:
        if m.s == 0:
            x_0 = (m.x - np.sqrt(1 - abar[m.t]) * m.eps) / np.sqrt(abar[m.t])
            off = max(off, float(np.nan_to_num(np.abs(m.x_s - x_0), nan=np.inf).max()))
    verdict.saw("last step", off < 1e-3, f"is at most {off:.2g} from the predicted x_0")


def see_coefficients(
    verdict: Verdict,
    moves: Sequence[Move],
    abar: np.ndarray,
    label: str,
    instead: Sequence[Move] | None = None,
    kind: str = "step",
) -> None:
    """The algebra: a, b, c of x_s = a x_t + b eps + c z, against eq. 12."""
    worst, said = 0.0, ""
    for move in instead or moves:
        if move.t == move.s or not 0 <= move.s <= len(abar) - 1 or not 0 <= move.t <= len(abar) - 1:
            continue
        gap, words = _off_by(move, abar, "invert" if move.s > move.t or kind == "invert" else "step")
        if not said or gap > worst:
            worst, said = gap, words
    verdict.saw(
        f"coefficients, {label}" if "steps" not in label else label,
        worst < 2e-4,
        said if worst >= 2e-4 else f"off by at most {worst:.1g}",
    )


def _off_by(move: Move, abar: np.ndarray, kind: str) -> tuple[float, str]:
    """How far a move's coefficients are from the right ones, relative to these, and both in words.

    Where x_t, eps and z are too much alike for coefficients to mean anything, the ends of the move are compared.
    """
    if not naming.told_apart(move):
        right = naming.work_out(move, naming.formulas_of(kind), abar)
        off = np.nan_to_num(np.abs(move.x_s - right), nan=np.inf)
        i = np.unravel_index(off.argmax(), off.shape)
        said = f"t = {move.t}, s = {move.s}: {move.x_s[i]:.4g} from x_t = {move.x[i]:.4g}, should be {right[i]:.4g}"
        return float(off.max()) / (1 + float(np.abs(right).max())), said
    found, _ = naming.coefficients(move)
    right = naming.right_coefficients(move, abar, kind)
    if move.eta == 0 or not np.abs(move.noise).max():
        right = np.where([False, False, True], found, right)
    gap = float(np.abs(found - right).max()) if np.isfinite(found).all() else np.inf
    said = f"t = {move.t}, s = {move.s}: {three(found)}, should be {three(right)}"
    return gap / (1 + float(np.abs(right[:2]).max())), said


def three(abc: np.ndarray) -> str:
    """Three coefficients as a formula."""
    a, b, c = (f"{value:.4g}" for value in abc)
    return f"{a} x_t + {b} eps + {c} z".replace("+ -", "- ")


def see_precision(verdict: Verdict, guess: Guess) -> None:
    """Say to which rounding a right function agrees."""
    verdict.saw("precision", True, f"agrees to the rounding of {guess.precision}")
    if guess.precision == "float16":
        verdict.wrong(
            "float16",
            "Right but for the rounding of float16: coefficients are to be computed in float64, which costs nothing.",
        )


def blame(verdict: Verdict, guess: Guess | None, moves: Sequence[Move], abar: np.ndarray, kind: str) -> None:
    """Turn a guess into the verdict."""
    if guess is None:
        unnamed(verdict, moves, abar, kind)
    elif not guess.mistakes:
        see_precision(verdict, guess)
    elif all(m.verdict == "convention" for m in guess.mistakes):
        for mistake in guess.mistakes:
            verdict.convention(mistake.id, mistake.sentence)
    else:
        accuse(verdict, [m.id for m in guess.mistakes])


def accuse(verdict: Verdict, ids: Sequence[str], facts: str = "") -> None:
    """A verdict of wrong, by known mistakes; ``facts`` are said first."""
    known = [BY_ID[id] for id in ids if id in BY_ID]
    # What each does to a picture holds for it alone: of two, only what they are is said.
    words = " ".join(m.sentence if len(known) == 1 else f"{i}. {m.line}" for i, m in enumerate(known, 1))
    words = f"{len(known)} mistakes at once. {words}" if len(known) > 1 else words
    words = f"{facts} {words}".strip()
    if "start-changed" in ids:
        words = "The first state that the network is shown is not the x_T that was given. " + words
    verdict.wrong("+".join(m.id for m in known) or None, words)


def unnamed(verdict: Verdict, moves: Sequence[Move], abar: np.ndarray, kind: str, before: str = "") -> None:
    """No known mistake: the smallest failing case, to be pasted into a debugger."""
    failing = next((name for name, oracle in verdict.oracles.items() if not oracle["passed"]), "steps")
    kind_of = "invert" if kind == "invert" else "step"
    bad = [
        m
        for m in moves
        if not any(naming.fits(m, naming.formulas_of(kind_of), abar, r, "float32") for r in ("nan", "clamped"))
    ]
    if not bad:
        verdict.wrong(None, f"{before} No known mistake fits; the oracle that failed is: {failing}.".strip())
        return
    m = min(bad, key=lambda m: (m.eta, m.t - m.s))
    text = f"{before} No known mistake fits; the oracle that failed first is: {failing}. "
    text += f"{naming.wrong_term(moves, abar, kind_of)} "
    text += f"From t = {m.t} to s = {m.s} at eta = {m.eta:g} {_yours(m, abar, kind_of)} (DDIM eq. 12)."
    text = " ".join(text.split())
    i = (0,) * m.x.ndim
    verdict.wrong(None, text.strip() + "\n" + "\n".join([
        "import torch",
        f"t, s, eta = {m.t}, {m.s}, {m.eta:g}  # alpha_bar[t] = {abar[m.t]:.12g}, alpha_bar[s] = {abar[m.s]:.12g}",
        f"x_t, eps, noise = torch.tensor([{m.x[i]:.12g}, {m.eps[i]:.12g}, {m.noise[i]:.12g}], dtype=torch.float64)"
        ".reshape(3, 1, 1, 1, 1)",
        f"# yours: {m.x_s[i]:.12g}   right: {naming.work_out(m, naming.formulas_of(kind_of), abar, 'clamped')[i]:.12g}",
    ]))  # fmt: skip


def _yours(m: Move, abar: np.ndarray, kind: str) -> str:
    """What a move is and what it should be: its coefficients, where these can be told apart."""
    right = three(naming.right_coefficients(m, abar, kind))
    if not np.isfinite(m.x_s).all():
        return f"yours is not finite, and should be {right}"
    if not naming.told_apart(m):
        return f"yours is another number than the right one, which is {right}"
    found, off = naming.coefficients(m)
    return f"yours is {three(found)}" + (f" (and is not linear: {off:.2g} remains)" if off > 1e-4 else "") + (
        f", and should be {right}"
    )  # fmt: skip
