"""The runs of a sampler or an inversion, and the levels that they walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import Mistake, of_kind
from ddim_edu.conformance.contract import Move, Network, Run, record
from ddim_edu.conformance.judging import alike, some
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import Sheet, build, schedule
from ddim_edu.schedule import SPACINGS, make_tau

LevelsOf = Callable[[Run], "Sequence[int] | None"]


class Seen:
    """What the runs of a sampler showed, and its steps as moves.

    Args:
        runs: at eta = 0 the first of them, one for each number of steps.
        abar: alpha-bar, ``(T+1,)``.
        moved: whether two seeds gave two pictures at eta = 1.

    Attributes:
        quiet: the runs at eta = 0.
        hidden: it draws where torch and numpy can't be heard.
        ways: of each run, by its ``id``: the ways in which the noise drawn can have been used, and what is wrong with
            it.
    """

    def __init__(self, runs: Sequence[Run], abar: np.ndarray, moved: bool) -> None:
        self.runs, self.abar = runs, abar
        self.quiet = [r for r in runs if r.eta == 0]
        self.hidden = moved and not any(r.draws for r in runs if r.eta)
        self.ways = {id(r): naming.noise_of(r) for r in runs}

    def as_asked(self, r: Run) -> list[int] | None:
        """The levels of a run, if they are those that it asks about; None if these are no levels."""
        whole = all(t == int(t) and 0 <= t <= 1000 for t in r.asked)
        return [int(t) for t in r.asked] + [0] if whole else None

    def noises(self, r: Run) -> list[list[np.ndarray]]:
        """The ways in which the noise of a run can have been used."""
        if r.eta and not r.draws:  # whatever is put here must not matter, unless noise is missing
            other = np.random.default_rng(5)
            return [[other.standard_normal(r.start.shape) for _ in r.asked], [r.start] * len(r.asked)]
        return self.ways[id(r)][0]

    def moves(self, levels_of: LevelsOf, way: int = 0) -> list[Move] | None:
        """The steps between given levels, with the noise used in one of the ways; None if there are not as many levels
        as steps.
        """
        made = []
        for r in self.quiet if self.hidden else self.runs:
            levels = levels_of(r)
            if levels is None or len(levels) != len(r.asked) + 1:
                return None
            listed = self.noises(r)
            made += some(naming.moves_of(r, levels, listed[min(way, len(listed) - 1)]))
        return made

    def right(self, levels_of: LevelsOf) -> tuple[Guess | None, str]:
        """Whether every step is right between given levels, and how the noise was used: "fresh",
        "reused", "x_T", or "skipped" in a step before the last.
        """
        for way in range(max((len(self.noises(r)) for r in self.runs), default=1)):
            made = self.moves(levels_of, way)
            if made and (guess := naming.is_right(made, self.abar, "sampler")):
                noisy = [self.noises(r) for r in self.runs if r.eta and len(r.asked) > 1]
                used = [w[min(way, len(w) - 1)] for w in noisy]
                if any(m.eta and 0 < m.s < m.t and not np.abs(m.noise).max() for m in made):
                    return guess, "skipped"  # it fits only if the room made for noise stays empty
                reused = bool(noisy) and all(len(w) > 1 and all(z is u[0] for z in u) for w, u in zip(noisy, used))
                return guess, "x_T" if reused and used[0][0] is self.runs[0].start else "reused" if reused else "fresh"
        return None, ""

    def named(self, levels_of: LevelsOf, most: int = 1) -> Guess | None:
        """The mistakes of the catalogue, at most so many, that the steps between given levels make."""
        ways = max((len(self.noises(r)) for r in self.runs), default=1)
        tried = set()
        for way in range(ways if most == 1 else min(ways, 2)):
            made = self.moves(levels_of, way)
            if not made:
                continue
            key = hash(b"".join(m.noise.tobytes() for m in made))
            if key in tried:
                continue
            tried.add(key)
            if guess := naming.name(made, self.abar, "sampler", most=most):
                return guess
        return None

    def fitted(self, guess: Guess, levels_of: LevelsOf) -> list[Move]:
        """The moves with the noise used in the way that fits the guess, for the table of coefficients."""
        for way in range(8):
            made = self.moves(levels_of, way)
            if made and naming.fit_all(
                made, naming.formulas_of("sampler", guess.mistakes), self.abar, guess.root, guess.precision
            ):
                return made
        return []


def falling_asked(levels: Sequence[float]) -> list[float]:
    """Levels visited, without the data at their end."""
    levels = list(levels)
    return levels[:-1] if levels and levels[-1] == 0 else levels


def read_levels(run: Run, abar: np.ndarray) -> list[int] | None:
    """The levels between which a deterministic run really goes, read off its coefficients, up or down."""
    if run.result is None or not 0 < len(run.asked) <= 100:
        return None
    noises = [np.zeros_like(run.start)] * len(run.asked)
    pairs = [naming.levels_in(m, abar) for m in naming.moves_of(run, [0] * (len(run.asked) + 1), noises)]
    if None in pairs or any(a[1] != b[0] for a, b in zip(pairs, pairs[1:])):
        return None
    return [pairs[0][0], *(s for _, s in pairs)]


def replayed(runs: Sequence[Run], network: Network, abar: np.ndarray, kind: str) -> str | None:
    """The mistake of the catalogue that shows in no single step, if a walk with it is the walk seen; by its id."""
    grids = [{r.S: _grid(r.S, spacing, rising=kind == "invert") for r in runs} for spacing in SPACINGS]
    if kind == "sampler" and all(t == int(t) for r in runs for t in r.asked):
        grids.append({r.S: [*map(int, r.asked), 0] for r in runs})
    for mistake in of_kind(kind):
        if not mistake.change.keys() & {"eps", "shown"}:
            continue
        for grid in grids:
            again = build(kind, {**mistake.change, "tau": lambda v, grid=grid: grid[v.S]})
            if all(_same_walk(r, record(again, network, r.start, r.S, _eta(kind), abar)) for r in runs):
                return mistake.id
    return None


def _eta(kind: str) -> float | None:
    return None if kind == "invert" else 0.0


def _same_walk(a: Run, b: Run) -> bool:
    return a.asked == b.asked and alike(a.result, b.result, 1e-5)


def relation_of(runs: Sequence[Run], read: dict[int, list[int]], kind: str = "sampler") -> str | None:
    """The mistake of the catalogue by which a network is asked about other levels than those walked; "" if it is asked
    about those.
    """
    for mistake in of_kind(kind):
        if "asked" in mistake.change and all(_asks(mistake, r, read[r.S]) for r in runs):
            return mistake.id
    return None


def _asks(mistake: Mistake, run: Run, grid: Sequence[int]) -> bool:
    """Whether a run asked at those levels that a mistake makes of a grid (kept within 1..T, perhaps)."""
    if len(run.asked) != len(grid) - 1:
        return False
    made = [
        mistake.change["asked"](Sheet({}, t=t, s=s, i=i, S=run.S, T=1000))
        for i, (t, s) in enumerate(zip(grid, grid[1:]))
    ]
    return np.allclose(run.asked, made) or np.allclose(run.asked, np.clip(made, 1, 1000))


def grids_behind(runs: Sequence[Run], mistake: Mistake, kind: str = "sampler") -> list[dict[int, list[int]]]:
    """The usual grids from which a mistake in asking makes the levels asked, which may be several: an index tells
    nothing of the levels.
    """
    grids = [{r.S: _grid(r.S, spacing, rising=kind == "invert") for r in runs} for spacing in SPACINGS]
    return [g for g in grids if all(_asks(mistake, r, g[r.S]) for r in runs)]


def usual(grids: dict[int, list[int]]) -> bool:
    """Whether levels are one of the usual grids, but for rounding, which does not shift all of them by one."""
    usual = [{S: _grid(S, spacing, rising=grid[0] < grid[-1]) for S, grid in grids.items()} for spacing in SPACINGS]

    def near(a: list[int], b: list[int]) -> bool:
        return len(a) == len(b) and a[0] == b[0] and a[-1] == b[-1] and abs(np.mean(np.subtract(a, b)[1:-1])) < 0.6

    return any(all(near(u[S], grid) for S, grid in grids.items()) for u in usual)


def _grid(S: int, spacing: str, rising: bool = False) -> list[int]:
    tau = make_tau(1000, S, spacing).tolist()
    return tau if rising else tau[::-1]


def started(runs: Sequence[Run]) -> str | None:
    """What is wrong with the state that the first call shows."""
    first = [(r.states[0], r.start) for r in runs if r.states]
    if not first or all(alike(x, start, 1e-6) for x, start in first):
        return None
    last = schedule(1000)[-1]
    if all(alike(x, start * np.sqrt(1 - last), 1e-6) for x, start in first):
        return "start-scaled"
    if all(any(z.shape == r.start.shape and alike(r.states[0], z, 1e-6) for _, z in r.draws) for r in runs if r.states):
        return "start-ignored"
    return "start-changed"
