r"""From what a function did to the mistake that it makes: the search through the catalogue.

A formula is tried on every move that was seen. It fits if it gives each of their ends to rounding: that of float64
first, then that of float32, for which the formula itself is worked out in float32 to see how much its rounding matters
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from ddim_edu.conformance.catalogue import Mistake, of_kind
from ddim_edu.conformance.contract import Move, Run
from ddim_edu.conformance.reference import INVERT, ROOTS, STEP, Formulas, Sheet

PRECISIONS = {"float64": np.float64, "float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class Guess:
    """What a function computes: the right formula (no mistakes), or one with one or two lines replaced."""

    mistakes: tuple[Mistake, ...]
    root: str = "nan"
    precision: str = "float64"

    @property
    def id(self) -> str | None:
        """The mistakes' ids, joined by ``+``; None without any."""
        return "+".join(m.id for m in self.mistakes) or None


def formulas_of(kind: str, mistakes: Iterable[Mistake] = ()) -> Formulas:
    """The lines of a step, of a sampler or an inversion, with those of some mistakes replaced."""
    made = {**STEP, **({key: INVERT[key] for key in ("sigma",)} if kind == "invert" else {})}
    for mistake in mistakes:
        made.update(mistake.change)
    return made


def work_out(
    move: Move, formulas: Formulas, abar: np.ndarray, root: str = "nan", dtype: type = np.float64
) -> np.ndarray | None:
    """x_s by some formulas; None if they need what the move does not have."""
    given = dict(x=move.x, eps=move.eps, noise=move.noise)
    if dtype is not np.float64:
        abar, given = abar.astype(dtype), {key: value.astype(dtype) for key, value in given.items()}
    if move.S is not None:
        given["S"] = move.S
    try:
        with np.errstate(all="ignore"):
            sheet = Sheet(
                formulas, root=ROOTS[root], abar=abar, T=len(abar) - 1, t=move.t, s=move.s, eta=move.eta, **given
            )
            return np.broadcast_to(np.asarray(sheet.x_s, dtype=np.float64), move.x.shape)
    except (AttributeError, IndexError, ZeroDivisionError):
        return None


def fits(move: Move, formulas: Formulas, abar: np.ndarray, root: str, precision: str) -> bool:
    """Whether some formulas give the end of a move, to the rounding of ``precision``."""
    expected = work_out(move, formulas, abar, root)
    if expected is None:
        return False
    finite = np.isfinite(expected)
    size = max(1.0, float(np.abs(expected[finite]).max(initial=0.0)))
    rounding = 1e-9 * size
    if precision != "float64":
        short = work_out(move, formulas, abar, root, PRECISIONS[precision])
        with np.errstate(all="ignore"):
            off = np.abs(short - expected)[finite]
        if not np.isfinite(off).all():
            off = off[np.isfinite(off)] if precision == "float32" else np.full(1, 0.1 * size)
        rounding = 10 * float(off.max(initial=0.0)) + (2e-5 if precision == "float32" else 5e-3) * size
    return bool(np.allclose(move.x_s, expected, rtol=0, atol=rounding, equal_nan=True))


def fit_all(moves: Sequence[Move], formulas: Formulas, abar: np.ndarray, root: str, precision: str) -> bool:
    """Whether some formulas give the ends of all moves."""
    return all(fits(move, formulas, abar, root, precision) for move in moves)


def is_right(moves: Sequence[Move], abar: np.ndarray, kind: str) -> Guess | None:
    """The right formula, if it fits."""
    for precision in ("float64", "float32"):
        for root in ("nan", "clamped"):
            if fit_all(moves, formulas_of(kind), abar, root, precision):
                return Guess((), root, precision)
    return None


def name(moves: Sequence[Move], abar: np.ndarray, kind: str, *, most: int = 2) -> Guess | None:
    """The mistake that the moves show: none, one, or two of the catalogue; None if nothing fits.

    Exact fits come before those to float32's rounding, and few mistakes before many.
    """
    known = [move for move in moves if np.isfinite(move.x).all() and np.isfinite(move.eps).all()]
    if not any(np.isfinite(move.x_s).any() for move in known):
        return None  # NaN equals NaN, which names nothing
    moves = sorted(
        known, key=lambda m: (m.eta not in (0, 1) and m.s > 1, m.eta > 0), reverse=True
    )  # what tells most, first
    singles = of_kind("invert") if kind == "invert" else of_kind("step")
    if kind in ("sampler", "scheduler"):
        singles += [m for m in of_kind("sampler") if "step" not in m.kinds]
    singles = [m for m in singles if m.change.keys() & STEP.keys()]
    one = [(m,) for m in singles]
    two = [
        pair
        for pair in combinations([m for m in singles if m.verdict == "wrong"], 2)
        if not pair[0].change.keys() & pair[1].change.keys()
    ]
    rounds = [([()], "float64"), (one, "float64"), ([()], "float32"), (one, "float32")]
    if most > 1:
        rounds += [(two, "float64"), (two, "float32")]
    if all(_is_short(move.x_s) for move in moves):
        rounds += [([()], "float16")]
    for candidates, precision in rounds:
        for root in (
            ("nan", "clamped") if candidates is two else ROOTS
        ):  # a root that is never of a negative number, if it fits
            for mistakes in candidates:
                if fit_all(moves, formulas_of(kind, mistakes), abar, root, precision):
                    return Guess(mistakes, root, precision)
    return None


def _is_short(values: np.ndarray) -> bool:
    """Whether numbers have no more digits than float16 or bfloat16 can hold."""
    long = values.astype(np.float32)
    with np.errstate(all="ignore"):
        return bool(
            np.array_equal(long.astype(np.float16), long, equal_nan=True) or not (long.view(np.uint32) & 0xFFFF).any()
        )


# -- what a move says of itself, whatever the formula


def coefficients(move: Move) -> tuple[np.ndarray, float]:
    """a, b, c of the nearest ``x_s = a x_t + b eps + c z``, and the largest remainder: 0 where the step is linear, as
    it should be.
    """
    columns = [array.ravel() for array in (move.x, move.eps, move.noise)]
    used = [i for i in range(3) if np.abs(columns[i]).max() > 0]
    if not used or not np.isfinite(move.x_s).all() or not all(np.isfinite(column).all() for column in columns):
        return np.full(3, np.nan), np.nan
    matrix = np.stack([columns[i] for i in used], axis=1)
    solution = np.linalg.lstsq(matrix, move.x_s.ravel(), rcond=None)[0]
    found = np.zeros(3)
    found[used] = solution
    return found, float(np.abs(matrix @ solution - move.x_s.ravel()).max())


def told_apart(move: Move) -> bool:
    """Whether a move's state, noise and fresh noise differ enough for its coefficients to mean something."""
    columns = [a.ravel() / np.linalg.norm(a) for a in (move.x, move.eps, move.noise) if np.abs(a).max() > 0]
    if not columns or not all(np.isfinite(column).all() for column in columns):
        return False
    return bool(np.linalg.svd(np.stack(columns), compute_uv=False)[-1] > 1e-4)


def right_coefficients(move: Move, abar: np.ndarray, kind: str = "step") -> np.ndarray:
    """a, b, c of the right formula at the levels of a move."""
    one, nought = np.ones((1, 1)), np.zeros((1, 1))
    return np.array([
        work_out(replace(move, x=x, eps=e, noise=z), formulas_of(kind), abar)[0, 0]
        for x, e, z in ((one, nought, nought), (nought, one, nought), (nought, nought, one))
    ])  # fmt: skip


TERMS = (
    "the first, sqrt(abar_s) x_0",
    "the second, the direction sqrt(1 - abar_s - sigma^2) eps",
    "the third, the fresh noise sigma z",
)


def wrong_term(moves: Sequence[Move], abar: np.ndarray, kind: str) -> str:
    """Of linear steps of which one term alone is wrong, or whose eps is scaled: that, in words; else nothing."""
    found, right, at = [], [], []
    for m in moves:
        if not told_apart(m) or not np.abs(m.noise).max() or m.t == m.s:
            continue
        abc, off = coefficients(m)
        if not off < 1e-5 * max(1.0, float(np.abs(m.x_s).max())):
            return ""
        r, n = np.sqrt(abar[m.t]), np.sqrt(1 - abar[m.t])
        for rows, (a, b, c) in ((found, abc), (right, right_coefficients(m, abar, kind))):
            rows.append((a * r, b + a * n, c, b))
        at.append(m)
    if not found:
        return ""
    found, right = np.array(found), np.array(right)
    off = np.abs(found - right) > 2e-4 * (1 + np.abs(right))
    wrong = np.flatnonzero(off[:, :3].any(0))
    if len(wrong) != 1:
        return ""
    ratio = found[:, 3] / right[:, 3]
    if wrong[0] == 1 and np.ptp(ratio) < 1e-3 * np.abs(ratio).max():
        return f"In every step the coefficient of eps is {ratio[0]:.4g} times the right one: is the answer scaled?"
    k = int(wrong[0])
    i = int((np.abs(found - right)[:, k]).argmax())
    where = f"from t = {at[i].t} to s = {at[i].s} at eta = {at[i].eta:g}"
    said = f"its coefficient is {found[i, k]:.4g} {where}, and should be {right[i, k]:.4g}"
    return f"Of the three terms of DDIM eq. 12 one alone is wrong, {TERMS[k]}: {said}."


def levels_in(move: Move, abar: np.ndarray) -> tuple[int, int] | None:
    """The levels t and s between which a deterministic move really goes, read off its two coefficients; None if there
    are none such.

    With the clock n = sqrt((1 - abar)/abar), a right step has a = sqrt(abar_s/abar_t) and b = sqrt(abar_s) (n_s - n_t).
    """
    (a, b, _), off = coefficients(move)
    size = max(1.0, float(np.abs(move.x_s).max()))
    if not np.isfinite(a) or off > 1e-5 * size:
        return None
    clock = np.sqrt((1 - abar) / abar)
    left = clock - b / np.sqrt(abar)  # n_t, for each s
    gap = np.abs(np.log(np.maximum(1 + left**2, 1e-300) * abar) - 2 * np.log(max(a, 1e-300)))
    for s in np.argsort(gap)[:12]:
        t = int(np.argmin(np.abs(clock - left[s])))
        if any(
            fits(replace(move, t=t, s=int(s), eta=0.0), formulas_of("invert"), abar, "nan", p)
            for p in ("float64", "float32")
        ):
            return t, int(s)
    return None


# -- the levels visited


def grid_fault(levels: Sequence[float], S: int, T: int) -> str | None:
    """The mistake in a falling list of noisy levels (without the data), by its id; None if it is one of S distinct
    levels from T on.

    Honest differences are not mistakes: see :func:`grid_convention`.
    """
    levels = list(levels)
    falls = all(a > b for a, b in pairwise(levels))
    if not levels or any(t != int(t) for t in levels):
        return "grid-not-whole"
    if len(levels) == T and S < T:
        return "grid-ignores-S"
    if max(levels) > T:
        return "grid-beyond-T"
    if len(levels) > 2 and all(a < b for a, b in pairwise(levels)):
        return "grid-rises"
    if len(levels) == S + 1 and len(set(levels)) == S and not falls and all(a >= b for a, b in pairwise(levels)):
        return "grid-repeats"
    if min(levels) < 1:
        return "grid-zero-based" if len(levels) == S else "grid-too-many" if len(levels) > S else "grid-too-few"
    if len(set(levels)) < len(levels) and all(a >= b for a, b in pairwise(levels)):
        return "grid-repeats"
    if len(levels) > S:
        return "grid-too-many"
    if len(levels) < S:
        return "grid-too-few"
    if not falls:
        return "grid-not-monotone"
    if levels[0] == T or grid_convention(levels, S, T):
        bunched = S > 3 and levels[1:] == list(range(S - 1, 0, -1)) and T > 3 * S
        return "grid-cut-by-int" if bunched else None
    return "grid-starts-at-T-minus-1" if levels[0] == T - 1 else "grid-starts-below-T"


def grid_convention(levels: Sequence[int], S: int, T: int) -> str | None:
    """The honest reason to start below T, in words: a leading grid, or the official quadratic one."""
    levels, k = list(levels), T // S
    if levels[0] == T or len(levels) != S:
        return None
    if S > 1 and all(a - b == k for a, b in pairwise(levels)) and 1 <= levels[-1] <= k:
        return f"leading: every {k}th level from {levels[-1]}, and so it starts at {levels[0]}, below T = {T}"
    roots = np.sqrt(np.maximum(np.array(levels[::-1]) - 1, 0))  # equal steps of the root, but for rounding
    ideal = np.linspace(0, np.sqrt(levels[0] - 1), S)
    if S > 2 and 0.79 * T <= levels[0] <= 0.82 * T and np.all(np.abs(roots**2 - ideal**2) <= 2 + 0.1 * S):
        return f"quadratic up to 0.8 T, as in the official code: it starts at {levels[0]}, below T = {T}"
    return None


# -- the noise drawn


def noise_of(run: Run) -> tuple[list[list[np.ndarray]], str | None]:
    """The ways in which what was drawn can have been used by the steps of a run, likeliest first, and what is wrong
    with the draws.
    """
    shape, n = run.start.shape, len(run.asked)
    drawn, labels = [], []
    for label, z in [(label, part) for label, whole in run.draws for part in _parts(whole, shape)]:
        if z.size > 1:
            try:
                drawn.append(np.broadcast_to(z, shape))
                labels.append(label)
            except ValueError:
                continue
    nought = np.zeros(shape)
    if not drawn or not n:
        return [[nought] * n], None
    fault = None
    used = drawn[-n:] if len(drawn) >= n else drawn
    if all(label == "uniform" for label in labels):
        fault = "noise-uniform"
    elif shape[0] > 1 and all(np.all(z == z[:1]) for z in used):
        fault = "noise-per-batch"
    elif all(np.all(z.reshape(shape[0], -1) == z.reshape(shape[0], -1)[:, :1]) for z in used):
        fault = "noise-per-image"
    elif any(len(np.unique(z)) < 0.9 * z.size for z in used):
        fault = "noise-shared"
    elif len({z.tobytes() for z in used}) < len(used):
        fault = "noise-reseeded"
    ways = []
    if len(drawn) >= n:
        ways += [drawn[:n], drawn[-n:]]
    if len(drawn) >= n - 1:
        ways += [[*drawn[: n - 1], nought], [*drawn[len(drawn) - n + 1 :], nought]]
    if len(drawn) < n:
        ways += [[*drawn, *[nought] * (n - len(drawn))], [*[nought] * (n - len(drawn)), *drawn]]
    ways += [[drawn[0]] * n, [drawn[-1]] * n]
    return ways, fault


def _parts(z: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """What was drawn, step by step where the noise of all steps was drawn at once."""
    for axis in range(z.ndim):
        if z.shape[:axis] + z.shape[axis + 1 :] == shape:
            return list(np.moveaxis(z, axis, 0))
    return [z]


def moves_of(run: Run, levels: Sequence[int], noises: Sequence[np.ndarray]) -> list[Move]:
    """The steps of a run between given levels: one more of them than calls."""
    ends = [*run.states[1:], run.result]
    return [
        Move(x, eps, int(t), int(s), run.eta, z, x_s, run.S)
        for x, eps, t, s, z, x_s in zip(run.states, run.answers, levels[:-1], levels[1:], noises, ends, strict=True)
    ]
