r"""What the kit looks at, a function for each kind of thing under test (floor 4).

Each takes a :class:`~ddim_edu.conformance.report.Verdict` to fill. The order is the same everywhere: does it run, is it right to rounding,
and if not, which mistake of the catalogue is it; then what only shows elsewhere: other shapes, data beyond [-1, 1], other schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID, Mistake, of_kind
from ddim_edu.conformance.contract import (
    SIGNATURES,
    Move,
    Network,
    Refused,
    Run,
    array,
    first_of,
    one_line,
    overhear,
    quiet,
    record,
    step_moves,
)  # fmt: skip
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import FAMILIES, ROOTS, Sheet, build, falling, schedule
from ddim_edu.conformance.report import Verdict

ETAS = (0.0, 0.3, 1.0)
PAIRS = [(1000, 901), (640, 500), (333, 332), (120, 30), (7, 3), (2, 1), (60, 0), (1, 0)]
STEPS = (10, 7, 13)  # 7 and 13 do not divide 1000


# -- a step ------------------------------------------------------------------------------------------------------------------------------


def random_moves(
    abar: np.ndarray, pairs: Sequence[tuple[int, int]], shape: tuple[int, ...], spread: float, etas=ETAS, seed: int = 0
) -> list[Move]:
    """Moves without an end: states that come from data within ``spread``, each with the noise that is in it and fresh noise."""
    rng, made = np.random.default_rng(seed), []
    for t, s in pairs:
        for eta in etas:
            x_0, eps, noise = rng.uniform(-spread, spread, shape), rng.standard_normal(shape), rng.standard_normal(shape)
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
    verdict.saw("runs", True, f"on {len(moves)} random steps of pictures {shape}" + ("" if how == "ints" else f", with {how}"))
    _finite(verdict, moves)
    if not verdict.saw("deterministic", _same(moves, ends(abar, PAIRS, shape, 0.9)[0]), "the same arguments give the same step"):
        verdict.wrong("noise-not-given", "The same arguments give another step each time: it draws noise of its own, not the "
            "z that it is given "
                      "(eq. 12, third term).")  # fmt: skip
        return
    guess = naming.is_right(moves, abar, "step")
    for eta in ETAS:
        _coefficients(verdict, [m for m in moves if m.eta == eta], abar, f"eta = {eta:g}")
    _last_step(verdict, moves)
    if guess is None:
        _blame(verdict, naming.name(moves, abar, "step"), moves, abar, "step")
        return
    _precision(verdict, guess)
    # data beyond [-1, 1], where clipping shows
    wide, _ = ends(abar, PAIRS, shape, 4.0)
    if not verdict.saw("data beyond [-1, 1]", naming.is_right(wide, abar, "step") is not None, "x_0 up to 4 in size"):
        _blame(verdict, naming.name(wide, abar, "step"), wide, abar, "step")
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
            "schedule-bound", "It does not use the alpha_bar that it is given: it is right for the linear schedule of T = 1000 only."
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
                [float(Sheet(formulas, root=ROOTS[root], abar=abar.astype(dtype), T=1000, t=t, s=s, eta=eta).sigma) for t, s, eta in cases]
            )

    def fit(mistakes: Sequence[Mistake], root: str, precision: str) -> bool:
        expected = values(mistakes, root, np.float64)
        close = (
            1e-10
            if precision == "float64"
            else 2e-5 + 10 * np.nan_to_num(np.abs(values(mistakes, root, np.float32) - expected), nan=0, posinf=0)
        )
        return bool(
            np.all(np.isclose(got, expected, rtol=0, atol=close * np.maximum(1, np.nan_to_num(np.abs(expected), posinf=1)), equal_nan=True))
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
    if verdict.saw("DDIM eq. 16", right, f"sigma(640, 500, 1) = {got[7]:.6g}, should be {expected[7]:.6g}"):
        return
    singles = [(m,) for m in of_kind("sigma")] + [(m,) for m in of_kind("step") if m.change.keys() <= {"abar_t", "abar_s"}]
    pairs = [(a, b) for (a,) in singles for (b,) in singles if a.id < b.id and not a.change.keys() & b.change.keys()]
    for precision in ("float64", "float32"):
        for candidates in (singles, pairs):
            for root in ROOTS:
                for mistakes in candidates:
                    if fit(mistakes, root, precision):
                        _blame(verdict, Guess(tuple(mistakes)), [], abar, "sigma")
                        return
    i = int(np.argmax(~np.isclose(got, expected, rtol=1e-5, atol=1e-6)))
    t, s, eta = cases[i]
    verdict.wrong(None, f"No known mistake gives these values. The first that is off: sigma({t}, {s}, {eta:g}) is {got[i]:.6g}, should be "
                  f"{expected[i]:.6g} (DDIM eq. 16).")  # fmt: skip


# -- a sampler ---------------------------------------------------------------------------------------------------------------------------


def sampler(verdict: Verdict, f: Callable) -> None:
    """A sampler, recorded through the network that it is given."""
    abar = schedule(1000)
    network = Network(abar)
    start = _start(5)

    def run(S: int, eta: float, seed: int = 0, x: np.ndarray = start, net: Network = network, bar: np.ndarray = abar) -> Run:
        return record(f, net, x, S, eta, bar, seed)

    first = run(10, 0.0)
    if len(first.asked) > 50:
        fault = naming.grid_fault(first.asked, 10, 1000) or "grid-too-many"
        verdict.saw("network calls", False, f"{len(first.asked)} at S = 10")
        _accuse(verdict, [fault])
        return
    runs = [first] + [run(S, 0.0) for S in STEPS[1:]] + [run(10, 0.3), run(10, 1.0), run(7, 1.0)]
    if not _runs(verdict, runs, "sampler"):
        return
    quiet_runs = runs[: len(STEPS)]
    deterministic = _close(runs[0].result, run(10, 0.0, seed=1).result)
    verdict.saw("deterministic at eta = 0", deterministic, "two seeds, one picture")
    drawn = any(r.draws for r in runs[len(STEPS) :])
    moved = not _close(runs[4].result, run(10, 1.0, seed=1).result)
    verdict.saw("random at eta = 1", moved, "two seeds, two pictures")

    ways = {id(r): naming.noise_of(r) for r in runs}
    hidden = moved and not drawn  # it draws where torch and numpy can't be heard

    def noises(r: Run) -> list[list[np.ndarray]]:
        listed = ways[id(r)][0]
        if r.eta and not r.draws:  # whatever is put here must not matter, unless noise is missing
            other = np.random.default_rng(5)
            listed = [[other.standard_normal(start.shape) for _ in r.asked], [start] * len(r.asked)]
        return listed

    def moves(
        levels_of: Callable[[Run], Sequence[int] | None], pick: Callable[[list[list[np.ndarray]]], list] = lambda w: w[0]
    ) -> list[Move] | None:
        made = []
        for r in quiet_runs if hidden else runs:
            levels = levels_of(r)
            if levels is None or len(levels) != len(r.asked) + 1:
                return None
            made += _some(naming.moves_of(r, levels, pick(noises(r))))
        return made

    def as_asked(r: Run) -> list[int] | None:
        whole = all(t == int(t) and 0 <= t <= 1000 for t in r.asked)
        return [int(t) for t in r.asked] + [0] if whole else None

    # what the walk looks like
    begun = _started(runs)
    verdict.saw("starts from x_T", begun in (None, "start-scaled"), "the first state shown to the network is the x_T given")
    counts = ", ".join(f"{len(r.asked)} at S = {r.S}" for r in quiet_runs)
    verdict.saw("network calls", all(len(r.asked) == r.S for r in runs), counts)
    fault = next((g for r in quiet_runs if (g := naming.grid_fault(r.asked, r.S, 1000))), None)
    verdict.saw("levels asked", fault is None, _show(runs[0].asked))
    verdict.saw(
        "form of the levels", not (notes := sorted({n for r in runs for n in r.notes})), "; ".join(notes) or "an int tensor of shape (B,)"
    )

    # 1. the levels are those that it asks about, and each step is right
    guess, used = _first_guess(moves, as_asked, noises, runs, abar, "right")
    levels_of, read = as_asked, {}
    asked_wrong: str | None = None
    elsewhere = False
    if guess is None:
        # 2. each deterministic step is right, between other levels than those that it asks about
        read = {r.S: _chain(quiet_runs[i], abar) for i, r in enumerate(quiet_runs)}
        if all(read.values()) and all(not naming.grid_fault(chain[:-1], S, 1000) for S, chain in read.items()):
            relation = _relation(quiet_runs, read)
            elsewhere = relation is None and any(r.asked != read[r.S][:-1] for r in quiet_runs)
            if relation is not None and (_usual(read) or not _named(moves, as_asked, noises, runs, abar)):
                asked_wrong, levels_of = relation, lambda r: read[r.S]
                guess, used = _first_guess(moves, levels_of, noises, runs, abar, "right")
                guess = guess or (named[0] if (named := _named(moves, levels_of, noises, runs, abar)) else None)
    if guess is None and as_asked(runs[0]) is not None:
        # 3. one known mistake in each step, between the levels that it asks about
        levels_of, asked_wrong = as_asked, None
        named = _named(moves, as_asked, noises, runs, abar)
        guess = named[0] if named else None
    if guess is None and elsewhere:
        asked_wrong, levels_of = "asked-elsewhere", lambda r: read[r.S]
        guess, used = _first_guess(moves, levels_of, noises, runs, abar, "right")
    if guess is None:
        # 4. one known mistake in the levels and one in the step
        for mistake in of_kind("sampler"):
            if "asked" not in mistake.change:
                continue
            grid = _grid_behind(quiet_runs, mistake)
            if grid is not None:
                named = _named(moves, lambda r, grid=grid: grid[r.S], noises, runs, abar)
                if named:
                    guess, asked_wrong, levels_of = named[0], mistake.id, lambda r, grid=grid: grid[r.S]
                    break
    if guess is None and as_asked(runs[0]) is not None:
        levels_of = as_asked
        named = _named(moves, as_asked, noises, runs, abar, most=2)
        guess = named[0] if named else None
    seen = [m for m in (moves(levels_of) or []) if np.isfinite(m.x_s).all()] if levels_of(runs[0]) else []
    for eta in ETAS:
        here = [m for m in seen if m.eta == eta]
        if here and not hidden:
            fitted = _fitted(guess, noises, moves, levels_of, abar) if guess else []
            _coefficients(verdict, here, abar, f"steps at eta = {eta:g}", [n for n in fitted if n.eta == eta] or None)

    blamed: list[str] = []
    if begun and begun != "start-scaled":
        blamed.append(begun)
    grid = next((g for r in quiet_runs if (g := naming.grid_fault(falling_asked(levels_of(r) or r.asked), r.S, 1000))), None)
    if asked_wrong:
        blamed.append(asked_wrong)
    elif grid:
        same = (
            m.id
            for m in of_kind("sampler")
            if "tau" in m.change and all(build("tau", m.change)(1000, r.S)[: len(r.asked)] == r.asked for r in quiet_runs)
        )
        blamed.append(grid if grid in ("grid-too-few", "grid-too-many") else next(same, grid))
    if guess is not None:
        blamed += [m.id for m in guess.mistakes if m.verdict == "wrong"]
    noise_fault = next((w[1] for r in runs if r.eta and (w := ways[id(r)])[1]), None) if not begun else None
    if noise_fault and guess is not None and not any(m.id in ("sigma-zero", "noise-missing") for m in guess.mistakes):
        blamed.append(noise_fault)
    elif guess is not None and guess.id is None and not hidden and used == "reused":
        blamed.append("noise-reused")
    elif guess is not None and guess.id is None and used == "x_T":
        blamed.append("noise-is-x-T")
    if "last-step-abar-1" in blamed and "grid-too-few" in blamed:
        blamed = ["grid-stops-at-1"] + [b for b in blamed if b not in ("last-step-abar-1", "grid-too-few")]
    if "noise-reused" in blamed and len(blamed) > 1 and noise_fault:
        blamed.remove("noise-reused")
    if not deterministic and not blamed:
        blamed.append("sigma-eta-ignored")
    if guess is None:
        where = seen or [m for m in (moves(lambda r: [*[int(np.clip(round(t), 0, 1000)) for t in r.asked], 0]) or [])]
        facts = " ".join(BY_ID[b].sentence for b in blamed if b in BY_ID)
        _unnamed(verdict, where, abar, "sampler", before=facts)
        if blamed:
            verdict.mistake = "+".join(blamed[:2]) if len(blamed) > 1 else None
            verdict.explanation = (
                "Besides what is named, the steps are wrong in a way that the catalogue does not know. " + verdict.explanation
            )
        return
    if blamed:
        _accuse(verdict, blamed)
        if "asked-elsewhere" in blamed:
            verdict.explanation = (f"The network is asked at {_show(runs[0].asked)}, but the states that it is shown stand at "
                                   f"{_show(levels_of(runs[0])[:-1])} (eq. 12; the contract). {verdict.explanation}")  # fmt: skip
        return
    if hidden and not _by_moments(verdict, f, network, abar, as_asked):
        return
    _precision(verdict, guess)
    for mistake in [*guess.mistakes, *([BY_ID["start-scaled"]] if begun else [])]:  # conventions
        verdict.convention(mistake.id, mistake.sentence)
    reason = naming.grid_convention([int(t) for t in runs[0].asked], 10, 1000)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
    if notes:
        verdict.convention("form-of-levels", f"The network is called in another form: {'; '.join(notes)}.")
    _elsewhere(verdict, run, guess)


def _first_guess(moves, levels_of, noises, runs, abar, what) -> tuple[Guess | None, str]:
    """Whether every step is right between given levels, with the noise used in one of the ways in which it can have been."""
    most = max((len(noises(r)) for r in runs), default=1)
    for way in range(most):
        made = moves(levels_of, lambda w, way=way: w[min(way, len(w) - 1)])
        if made and (guess := naming.is_right(made, abar, "sampler")):
            noisy = [noises(r) for r in runs if r.eta and len(r.asked) > 1]
            reused = bool(noisy) and all(
                len(w) > 1 and all(z is w[min(way, len(w) - 1)][0] for z in w[min(way, len(w) - 1)]) for w in noisy
            )
            start = runs[0].start
            return guess, "x_T" if reused and noisy[0][min(way, len(noisy[0]) - 1)][0] is start else "reused" if reused else "fresh"
    return None, ""


def _named(moves, levels_of, noises, runs, abar, most: int = 1) -> tuple[Guess, str] | None:
    """The same with the mistakes of the catalogue."""
    ways = max((len(noises(r)) for r in runs), default=1)
    tried = set()
    for way in range(ways if most == 1 else min(ways, 2)):
        made = moves(levels_of, lambda w, way=way: w[min(way, len(w) - 1)])
        if not made:
            continue
        key = hash(b"".join(m.noise.tobytes() for m in made))
        if key in tried:
            continue
        tried.add(key)
        if guess := naming.name(made, abar, "sampler", most=most):
            return guess, ""
    return None


def _fitted(guess, noises, moves, levels_of, abar) -> list[Move]:
    """The moves with the noise used in the way that fits the guess, for the table of coefficients."""
    for way in range(8):
        made = moves(levels_of, lambda w, way=way: w[min(way, len(w) - 1)])
        if made and naming.fit_all(made, naming.formulas_of("sampler", guess.mistakes), abar, guess.root, guess.precision):
            return made
    return []


def falling_asked(levels: Sequence[float]) -> list[float]:
    """Levels visited, without the data at their end."""
    levels = list(levels)
    return levels[:-1] if levels and levels[-1] == 0 else levels


def _chain(run: Run, abar: np.ndarray) -> list[int] | None:
    """The levels between which a deterministic run really goes, read off its coefficients."""
    if len(run.asked) > 100:
        return None
    noises = [np.zeros_like(run.start)] * len(run.asked)
    pairs = [naming.levels_in(m, abar) for m in naming.moves_of(run, [0] * (len(run.asked) + 1), noises)]
    if not pairs or None in pairs or any(a[1] != b[0] for a, b in zip(pairs, pairs[1:])) or pairs[-1][1] != 0:
        return None
    return [pairs[0][0], *(s for _, s in pairs)]


def _relation(runs: Sequence[Run], read: dict[int, list[int]], kind: str = "sampler") -> str | None:
    """The mistake of the catalogue by which a network is asked about other levels than those walked; "" if it is asked about those."""
    for mistake in of_kind(kind):
        if "asked" in mistake.change and all(_asks(mistake, r, read[r.S]) for r in runs):
            return mistake.id
    return None


def _asks(mistake: Mistake, run: Run, grid: Sequence[int]) -> bool:
    """Whether a run asked at those levels that a mistake makes of a grid (kept within 1..T, perhaps)."""
    if len(run.asked) != len(grid) - 1:
        return False
    made = [mistake.change["asked"](Sheet({}, t=t, s=s, i=i, S=run.S, T=1000)) for i, (t, s) in enumerate(zip(grid, grid[1:]))]
    return np.allclose(run.asked, made) or np.allclose(run.asked, np.clip(made, 1, 1000))


def _grid_behind(runs: Sequence[Run], mistake: Mistake, kind: str = "sampler") -> dict[int, list[int]] | None:
    """A usual grid from which a mistake in asking makes the levels asked, if there is one."""
    for spacing in ("trailing", "leading", "linspace", "quadratic"):
        grids = {r.S: _grid(r.S, spacing, rising=kind == "invert") for r in runs}
        if _relation(runs, grids, kind) == mistake.id:
            return grids
    return None


def _usual(grids: dict[int, list[int]]) -> bool:
    """Whether levels are one of the usual grids, but for rounding, which does not shift all of them by one."""
    usual = [
        {S: _grid(S, spacing, rising=grid[0] < grid[-1]) for S, grid in grids.items()}
        for spacing in ("trailing", "leading", "linspace", "quadratic")
    ]

    def near(a: list[int], b: list[int]) -> bool:
        return len(a) == len(b) and a[0] == b[0] and a[-1] == b[-1] and abs(np.mean(np.subtract(a, b)[1:-1])) < 0.6

    return any(all(near(u[S], grid) for S, grid in grids.items()) for u in usual)


def _grid(S: int, spacing: str, rising: bool = False) -> list[int]:
    from ddim_edu.schedule import make_tau

    tau = make_tau(1000, S, spacing).tolist()
    return tau if rising else tau[::-1]


def _started(runs: Sequence[Run]) -> str | None:
    """What is wrong with the state that the first call shows."""
    first = [(r.states[0], r.start) for r in runs if r.states]
    if not first or all(_close(x, start, 1e-6) for x, start in first):
        return None
    last = schedule(1000)[-1]
    if all(_close(x, start * np.sqrt(1 - last), 1e-6) for x, start in first):
        return "start-scaled"
    if all(any(z.shape == r.start.shape and _close(r.states[0], z, 1e-6) for _, z in r.draws) for r in runs if r.states):
        return "start-ignored"
    return "start-changed"


def _by_moments(verdict: Verdict, f: Callable, network: Network, abar: np.ndarray, as_asked: Callable) -> bool:
    """Noise that could not be overheard, judged by its moments: what remains of each step must be standard normal, and of its own."""
    start = _start(1500, seed=9)
    for eta in (0.3, 1.0):
        run = record(f, network, start, 10, eta, abar)
        nought = [np.zeros(start.shape)] * len(run.asked)
        left = []
        for move in naming.moves_of(run, as_asked(run), nought):
            formulas = naming.formulas_of("sampler")
            mean, one = naming.work_out(move, formulas, abar), naming.work_out(replace(move, noise=np.ones(start.shape)), formulas, abar)
            fresh = float((one - mean).flat[0])
            if fresh > 1e-9:
                left.append((move.x_s - mean) / fresh)
            elif not _close(move.x_s, mean, 1e-5):
                verdict.saw(f"noise at eta = {eta:g}", False, "the last step adds noise")
                verdict.wrong("noise-at-the-end", BY_ID["noise-at-the-end"].sentence)
                return False
        z = np.stack(left)
        n = z[0].size
        mean, std = np.abs(z.mean((1, 2, 3, 4))).max(), z.std((1, 2, 3, 4))
        again = max(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(z, z[1:]))
        alone = z.std(1).mean()  # across the batch: 0 where all members share their noise
        said = f"mean {mean:.3f}, deviation {std.min():.3f} to {std.max():.3f}, correlation of two steps {again:.3f}"
        fine = mean < 6 / np.sqrt(n) and np.abs(std - 1).max() < 6 / np.sqrt(2 * n) and again < 6 / np.sqrt(n)
        if alone < 0.5:
            verdict.saw(f"noise at eta = {eta:g}", False, said)
            verdict.wrong("noise-per-batch", BY_ID["noise-per-batch"].sentence)
            return False
        if not verdict.saw(f"noise at eta = {eta:g}", fine, said):
            if again > 0.5:
                verdict.wrong("noise-reused", BY_ID["noise-reused"].sentence)
            else:
                verdict.wrong(None, f"At eta = {eta:g} what a step adds to the right mean should be sigma z (DDIM eq. 12); "
                    f"divided by sigma it has "
                              f"{said}, where mean 0, deviation 1 and correlation 0 are expected.")  # fmt: skip
            return False
    return True


def _elsewhere(verdict: Verdict, run: Callable, guess: Guess) -> None:
    """A sampler whose steps are right: data beyond [-1, 1], a batch of one, all T steps, another schedule."""
    abar = schedule(1000)
    start = _start(5)
    whole, part = run(10, 0.0), run(10, 0.0, x=start[:1])
    if part.result is None or not _close(whole.result[:1], part.result, 1e-5):
        verdict.saw("batch of one", False, part.error or "the first picture depends on the others of its batch")
        verdict.wrong(
            "batch-matters",
            "At eta = 0 a picture comes out differently when it is drawn alone: something is computed over the whole batch.",
        )
        return
    verdict.saw("batch of one", True, "a picture does not depend on its batch")
    wide = run(10, 0.0, net=Network(abar, spread=3.0))
    if wide.result is not None and len(wide.asked) == 10:
        moves = naming.moves_of(wide, [*(int(t) for t in wide.asked), 0], [np.zeros(start.shape)] * 10)
        if not verdict.saw("data beyond [-1, 1]", _still(guess, moves, abar), "x_0 up to 3 in size"):
            _blame(verdict, naming.name(moves, abar, "sampler", most=1), moves, abar, "sampler")
            if not verdict.ok:
                return
    every = run(1000, 0.0, x=start[:1])
    fault = every.error or ("not finite" if not np.isfinite(every.result).all() else "")
    if not fault and max(every.asked) > 1000:
        fault = f"the network is asked at {max(every.asked):g}"
    if not verdict.saw("S = T", not fault, fault or f"{len(every.asked)} calls, {len(set(every.asked))} different levels"):
        verdict.wrong("grid-beyond-T", f"With S = T = 1000 steps it fails: {fault}. " + BY_ID["grid-beyond-T"].sentence)
        return
    if len(set(every.asked)) < len(every.asked):
        verdict.convention(
            "repeats-at-T",
            f"With S = T it visits {len(set(every.asked))} different levels in {len(every.asked)} calls: the others are wasted.",
        )
    other = schedule(200, "cosine")[:191]  # without the end, where the clock explodes
    seen = run(5, 0.0, net=Network(other), x=_start(3), bar=other)
    fine = seen.result is not None and len(seen.asked) == 5 and all(t == int(t) and 0 < t <= 190 for t in seen.asked)
    fine = fine and _still(guess, naming.moves_of(seen, [*(int(t) for t in seen.asked), 0], [np.zeros((3, 1, 2, 2))] * 5), other)
    said = "a cosine of T = 190" + ("" if fine else f": {seen.error or 'levels ' + _show(seen.asked)}")
    if not verdict.saw("other schedule", fine, said):
        verdict.convention(
            "schedule-bound",
            "It does not use the alpha_bar that it is given, or not its length: it is right for the linear schedule of T = 1000 only.",
        )


def _still(guess: Guess, moves: Sequence[Move], abar: np.ndarray) -> bool:
    """Whether what was found of some moves holds for others too."""
    return any(
        naming.fit_all(moves, naming.formulas_of("sampler", guess.mistakes), abar, root, p)
        for p in ("float64", "float32")
        for root in ("nan", "clamped")
    )


# -- an inversion ------------------------------------------------------------------------------------------------------------------------


def invert(verdict: Verdict, f: Callable) -> None:
    """An inversion, recorded through the network that it is given."""
    abar = schedule(1000)
    network = Network(abar)
    import torch

    start = network.data.sample(5, torch.Generator().manual_seed(3)).numpy().reshape(5, 1, 2, 2)
    runs = [record(f, network, start, S, None, abar) for S in STEPS]
    if not _runs(verdict, runs, "inversion"):
        return
    again = record(f, network, start, 10, None, abar, seed=1)
    deterministic = _close(runs[0].result, again.result)
    verdict.saw("deterministic", deterministic, "two seeds, one x_T")
    verdict.saw("network calls", all(len(r.asked) == r.S for r in runs), ", ".join(f"{len(r.asked)} at S = {r.S}" for r in runs))
    verdict.saw("levels asked", True, _show(runs[0].asked))
    if not all(r.asked for r in runs):
        verdict.wrong("invert-noise", "The network is never asked: x_0 is noised, not inverted. " + BY_ID["invert-noise"].sentence)
        return

    def read(r: Run) -> list[int] | None:
        pairs = [naming.levels_in(m, abar) for m in naming.moves_of(r, [0] * (len(r.asked) + 1), [np.zeros_like(start)] * len(r.asked))]
        if None in pairs or any(a[1] != b[0] for a, b in zip(pairs, pairs[1:])):
            return None
        return [pairs[0][0], *(s for _, s in pairs)]

    chains = {r.S: read(r) for r in runs}
    blamed: list[str] = []
    if all(chains.values()) and deterministic:
        if all(chain[0] > chain[-1] for chain in chains.values()) and all(r.asked[0] > r.asked[-1] for r in runs):
            _accuse(verdict, ["invert-downwards"])
            return
        if all(chain[0] == 1 for chain in chains.values()):
            blamed.append("invert-starts-at-abar-1")
        elif any(chain[0] != 0 for chain in chains.values()):
            blamed.append("invert-starts-elsewhere")
        steps = [list(zip(chains[r.S], chains[r.S][1:])) for r in runs]
        left = all(all(a == max(t, 1) or (t == 0 and a == 0) for a, (t, _) in zip(r.asked, pairs)) for r, pairs in zip(runs, steps))
        if "invert-starts-at-abar-1" in blamed and all(r.asked[1:] == c[1:-1] and r.asked[0] <= 1 for r, c in zip(runs, chains.values())):
            left = True
        if not left:
            relation = _relation(runs, chains, "invert")
            if relation is None and all(r.asked[1:] == chains[r.S][1:-1] for r in runs):
                # Only the first level is another. At t = 0 no network knows the level, and any low one is a choice.
                if all(0 <= r.asked[0] <= chains[r.S][1] for r in runs):
                    verdict.convention(
                        "first-level-asked", f"At the data the network is asked at level {runs[0].asked[0]:g}; this project asks it at 1."
                    )
                    left = True
            if not left:
                blamed.append(relation or "invert-asked-elsewhere")
        grid = next((g for r in runs if (g := naming.grid_fault(chains[r.S][:0:-1], r.S, 1000))), None)
        if grid:
            short = all(len(c) - 1 == S - 1 for S, c in chains.items())
            blamed.append("invert-stops-short" if short else grid)
        strange = {"invert-asked-elsewhere", "invert-starts-elsewhere", grid} - {None}
        if strange & set(blamed) or (
            blamed and not _usual(chains)
        ):  # the same moves may be one known mistake between the levels that it asks about
            if guess := _invert_guess(runs, abar, most=1):
                blamed = guess
        if any(b.startswith("invert-asked") for b in blamed):
            verdict.saw("levels asked", False, f"{_show(runs[0].asked)}, of states at {_show(chains[10][:-1])}")
        verdict.saw("steps upwards", True, "each is DDIM eq. 12 with sigma = 0, from level to level: " + _show(chains[10]))
        if blamed:
            if not any(b in BY_ID for b in blamed):
                r = runs[0]
                verdict.wrong(
                    None, f"The network is asked at {_show(r.asked)}, but the states that it is shown stand at {_show(chains[10][:-1])}."
                )
            else:
                _accuse(verdict, [b for b in blamed if b in BY_ID])
            return
        reason = naming.grid_convention(chains[10][:0:-1], 10, 1000)
        if reason:
            verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
        _round_trip(verdict, f, network, start, abar)
        _invert_elsewhere(verdict, f, abar)
        return
    # Some step is not right between any two levels: what may its levels be, and which mistake makes it?
    verdict.saw("steps upwards", False, "they are not DDIM eq. 12 with sigma = 0 between any two levels")
    if guess := _invert_guess(runs, abar, most=2):
        _accuse(verdict, guess)
        return
    if not deterministic:
        _accuse(verdict, ["invert-noise"])
        return
    _unnamed(verdict, next((made for _, made in _invert_moves(runs)), []), abar, "invert")


def _invert_moves(runs: Sequence[Run]) -> list[tuple[str, list[Move]]]:
    """The moves of an inversion between the levels that it may be going by: those asked about are left, or reached, or neither."""
    hypotheses = [("left", lambda r, top=top: [0, *r.asked[1:], top(r)]) for top in (
        lambda r: 1000, lambda r: 1 + (r.S - 1) * (1000 // r.S), lambda r: r.asked[-1] + 1000 // r.S)]  # fmt: skip
    hypotheses.append(("invert-asked-at-end", lambda r: [0, *r.asked]))
    for mistake in of_kind("invert"):
        if "asked" in mistake.change and (grid := _grid_behind(runs, mistake, "invert")):
            hypotheses.append((mistake.id, lambda r, grid=grid: grid[r.S]))
    found = []
    for label, levels_of in hypotheses:
        grids = [levels_of(r)[: len(r.asked) + 1] for r in runs]
        if all(len(g) == len(r.asked) + 1 and all(t == int(t) and 0 <= t <= 1000 for t in g) for g, r in zip(grids, runs)):
            found.append((label, [m for g, r in zip(grids, runs) for m in _some(naming.moves_of(r, g, naming.noise_of(r)[0][0]))]))
    return found


def _invert_guess(runs: Sequence[Run], abar: np.ndarray, most: int) -> list[str]:
    """The mistakes, by their ids, that an inversion with steps between no two levels makes."""
    for count in range(1, most + 1):
        for label, made in _invert_moves(runs)[: 2 if count == 2 or most == 1 else None]:
            guess = naming.name(made, abar, "invert", most=count)
            if guess and (guess.mistakes or label != "left"):
                return [m.id for m in guess.mistakes] + ([label] if label != "left" else [])
    return []


def _round_trip(verdict: Verdict, f: Callable, network: Network, start: np.ndarray, abar: np.ndarray) -> None:
    """Invert, then decode with the right sampler on the same levels: the error must fall with the number of steps."""
    errors = []
    for S in (10, 100):
        run = record(f, network, start, S, None, abar)
        pairs = (
            [naming.levels_in(m, abar) for m in naming.moves_of(run, [0] * (len(run.asked) + 1), [np.zeros_like(start)] * len(run.asked))]
            if run.result is not None
            else [None]
        )
        if None in pairs:
            return
        grid = [pairs[0][0], *(s for _, s in pairs)][::-1]
        back = build("sampler", {"tau": lambda v, grid=grid: grid})
        decoded = record(back, network, run.result, S, 0.0, abar)
        errors.append(float(np.mean((decoded.result - start) ** 2)))
    verdict.saw(
        "round trip",
        errors[1] < errors[0] or errors[0] < 1e-6,
        f"mean square error {errors[0]:.2g} with 10 steps, {errors[1]:.2g} with 100",
    )


def _invert_elsewhere(verdict: Verdict, f: Callable, abar: np.ndarray) -> None:
    import torch

    wide = Network(abar, spread=3.0)
    start = wide.data.sample(5, torch.Generator().manual_seed(4)).numpy().reshape(5, 1, 2, 2)
    run = record(f, wide, start, 10, None, abar)
    pairs = (
        [naming.levels_in(m, abar) for m in naming.moves_of(run, [0] * (len(run.asked) + 1), [np.zeros_like(start)] * len(run.asked))]
        if run.result is not None
        else [None]
    )
    if not verdict.saw("data beyond [-1, 1]", None not in pairs, "x_0 up to 3 in size"):
        _accuse(verdict, ["invert-clip"])
        return
    other = schedule(200, "cosine")[:191]
    net = Network(other)
    run = record(f, net, start[:3], 5, None, other)
    fine = run.result is not None and len(run.asked) == 5
    if fine:
        pairs = [naming.levels_in(m, other) for m in naming.moves_of(run, [0] * 6, [np.zeros((3, 1, 2, 2))] * 5)]
        fine = None not in pairs and pairs[-1][1] <= 190 and all(a == max(t, 1) or t == 0 for a, (t, _) in zip(run.asked, pairs))
    if not verdict.saw("other schedule", fine, "a cosine of T = 190"):
        verdict.convention(
            "schedule-bound", "It does not use the alpha_bar that it is given: it is right for the linear schedule of T = 1000 only."
        )


# -- levels and schedules ----------------------------------------------------------------------------------------------------------------


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
            verdict.saw("whole numbers", False, _show(given))
            verdict.wrong(None, f"tau({T}, {S}) is {_show(given)}: levels are whole numbers in 1..{T}.")
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
                "repeats-at-T", f"With S = T = {T} it names {len(set(levels))} different levels: the other calls are wasted."
            )
            continue
        if fault:
            same = [
                m.id for m in of_kind("tau") if all(falling(build("tau", m.change)(*c)) == falling(a) for c, a in zip(cases[:3], answers))
            ]
            fault = same[0] if same else fault
            verdict.saw("levels", False, f"T = {T}, S = {S}: {_show(given)}")
            sentence = BY_ID[fault].sentence if fault in BY_ID else ""
            verdict.wrong(fault if fault in BY_ID else None, f"tau({T}, {S}) = {_show(given)}. {sentence}")
            return
    verdict.saw("levels", True, _show(answers[0]))
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
            verdict.wrong(None, f"The schedule failed at T = {T}: {one_line(error)} (it is called as {SIGNATURES['schedule']})")
            return
    abar, T = got[1000], 1000
    verdict.saw("runs", abar.ndim == 1, f"{len(abar) if abar.ndim == 1 else abar.shape} numbers at T = 1000, of type {dtype}")
    if abar.ndim != 1 or len(abar) not in (T, T + 1):
        verdict.wrong(None, f"alpha_bar has shape {abar.shape} at T = 1000; it has T + 1 = 1001 numbers, the first of them 1, the data.")
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
    family = family or next((name for name, known in right.items() if near(known, False)), None) if named is None else None
    if named is None and len(abar) == T and abs(abar[0] - 1) < 1e-12:
        named = BY_ID["schedule-shifted"]
    if short and named is None:
        named = BY_ID["schedule-float16"]
    if named is not None:
        verdict.saw("known schedule", False, f"it equals a known mistake, {named.id}")
        verdict.wrong(named.id, named.sentence)
        return
    if len(abar) == T + 1 and abs(abar[0] - 1) >= 1e-12:
        verdict.wrong("schedule-no-data-level", f"alpha_bar[0] = {abar[0]:.6g}. " + BY_ID["schedule-no-data-level"].sentence)
        return
    if finite and falls and 0 <= whole[-1] <= 1e-12:
        extra = " (A schedule of zero terminal SNR is right for a network that predicts v or x_0, not for one that predicts eps.)"
        verdict.wrong("schedule-zero-end", f"alpha_bar_T = {whole[-1]:.3g}. " + BY_ID["schedule-zero-end"].sentence + extra)
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
                f"alpha_bar_{bad} = {whole[bad]:.6g} is not below alpha_bar_{bad - 1}. " + BY_ID["schedule-float32"].sentence,
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
            f"alpha_bar_{at} = {whole[at]:.6g}, should be {right['cosine'][at]:.6g}. " + BY_ID["schedule-float32"].sentence,
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
            f"alpha_bar_T = {whole[-1]:.3g}: most of the signal is still in x_T. Is it multiplied up? " + BY_ID["schedule-alpha"].sentence,
        )
        return
    if whole[-1] > 0.05:
        verdict.convention(
            "signal-left", f"alpha_bar_T = {whole[-1]:.3g}: x_T still has signal, and sampling from pure noise starts elsewhere."
        )
    if len(abar) == T:
        verdict.convention(
            "schedule-from-level-1", "T numbers that begin at level 1, as in most libraries; this project puts the data, 1, in front."
        )
    if dtype == "float32" or (family and not near(right[family], True)):
        verdict.convention(
            "schedule-in-float32",
            "The numbers have float32's rounding: 1 - alpha_bar_1 keeps three digits. Coefficients cost nothing in float64.",
        )


# -- a scheduler object ------------------------------------------------------------------------------------------------------------------


def scheduler(verdict: Verdict, f: Callable) -> None:
    """An object with set_timesteps and step, as diffusers has them; timesteps count levels from 0."""
    import inspect

    import torch

    from ddim_edu.forward import eps_to_v, unmix_x0

    with quiet():
        it = f if hasattr(f, "set_timesteps") else f()
    for name in ("set_timesteps", "step", "alphas_cumprod"):
        if not hasattr(it, name):
            raise Refused(f"{type(it).__name__} has no {name}; --kind scheduler takes {SIGNATURES['scheduler']}")
    if getattr(it, "order", 1) != 1 or hasattr(it, "sigmas") or hasattr(it, "lambda_t"):
        raise Refused(
            f"{type(it).__name__} is a solver of its own; --kind scheduler takes DDIM-like ones, with one call and one formula a step"
        )
    abar = np.concatenate([[1.0], array(it.alphas_cumprod)])
    T = len(abar) - 1
    config = getattr(it, "config", None)
    predicts = getattr(config, "prediction_type", "epsilon")
    takes = inspect.signature(it.step).parameters
    verdict.saw(
        "is",
        True,
        f"{type(it).__name__}, T = {T}, predicts {predicts}"
        + (f", {config.timestep_spacing}" if hasattr(config, "timestep_spacing") else ""),
    )

    def output(move: Move) -> torch.Tensor:
        """What the network gives that stands for eps."""
        eps, x = torch.from_numpy(move.eps), torch.from_numpy(move.x)
        if predicts == "v_prediction":
            return eps_to_v(eps, x, float(abar[move.t])) if abar[move.t] > 0 else eps
        return unmix_x0(x, eps, float(abar[move.t])) if predicts == "sample" and abar[move.t] > 0 else eps

    def walk(S: int, eta: float, spread: float) -> list[Move]:
        rng = np.random.default_rng(S)
        it.set_timesteps(S)
        listed = [int(t) + 1 for t in it.timesteps]
        levels = [0, *listed] if listed[0] < listed[-1] else [*listed, 0]
        shape, made = (3, 2, 4, 5), []
        for index, (t, s) in enumerate(zip(levels, levels[1:])):
            x_0, eps, noise = rng.uniform(-spread, spread, shape), rng.standard_normal(shape), rng.standard_normal(shape)
            x = np.sqrt(abar[min(t, T)]) * x_0 + np.sqrt(1 - abar[min(t, T)]) * eps
            move = Move(x, eps, t, s, eta, noise, x, S)
            more = {key: value for key, value in (("eta", eta), ("variance_noise", torch.from_numpy(noise))) if key in takes}
            if eta == 0:
                more.pop("variance_noise", None)
            drawn: list[tuple[str, np.ndarray]] = []
            with quiet(), overhear(drawn):
                got = array(first_of(it.step(output(move), it.timesteps[index], torch.from_numpy(x), **more)))
            if "variance_noise" not in more and drawn and drawn[-1][1].shape == shape:
                move = replace(move, noise=drawn[-1][1])
            made.append(replace(move, x_s=got))
        return made

    upwards = False
    etas = (0.0, 0.3, 1.0) if "eta" in takes else (1.0,)  # without an eta: DDPM
    try:
        it.set_timesteps(10)
        upwards = bool(it.timesteps[0] < it.timesteps[-1])
        etas = (0.0,) if upwards else etas
        listed = {S: (it.set_timesteps(S), [int(t) + 1 for t in it.timesteps])[1] for S in STEPS}
        for S in STEPS:
            fault = naming.grid_fault(listed[S][::-1] if upwards else listed[S], S, T)
            if not verdict.saw(f"levels at S = {S}", fault is None, _show(listed[S])):
                _accuse(verdict, [fault] if fault in BY_ID else [])
                verdict.explanation = f"At S = {S} the levels are {_show(listed[S])}. " + verdict.explanation
                return
        moves = [m for S in STEPS for eta in etas for m in walk(S, eta, 0.9)]
    except IndexError as error:
        verdict.saw("runs", False, one_line(error))
        verdict.wrong("grid-beyond-T", f"{one_line(error)}. " + BY_ID["grid-beyond-T"].sentence)
        return
    except Exception as error:
        raise Refused(f"{type(it).__name__} failed: {one_line(error)}") from None
    kind = "invert" if upwards else "scheduler"
    guess = naming.is_right(moves, abar, "invert" if upwards else "step")
    for eta in etas:
        _coefficients(verdict, [m for m in moves if m.eta == eta], abar, f"steps at eta = {eta:g}", kind="invert" if upwards else "step")
    if guess is None:
        if upwards:
            stride = [replace(m, t=max(m.s - T // m.S, 0)) for m in moves]
            if naming.is_right(stride, abar, "invert"):
                _accuse(verdict, ["invert-stride-recomputed"])
                return
        _blame(verdict, naming.name(moves, abar, kind), moves, abar, "invert" if upwards else "step")
        return
    verdict.saw("data within [-1, 1]", True, "every step is DDIM eq. 12")
    wide = [m for eta in etas for m in walk(10, eta, 4.0)]
    if not verdict.saw(
        "data beyond [-1, 1]", naming.is_right(wide, abar, "invert" if upwards else "step") is not None, "x_0 up to 4 in size"
    ):
        found = naming.name(wide, abar, kind, most=1)
        option = f"{type(it).__name__} clips (clip_sample or thresholding): right for pictures in [-1, 1]"
        option += ", with eps left as it was unless use_clipped_model_output is set" if found and found.id == "clip-without-eps" else ""
        verdict.convention("clip", option + ".")
    if upwards:
        verdict.convention("invert-asked-at-end", "Its timesteps are the levels reached: a pipeline asks the network there, with "
            "the state left. "
                           "This project asks at the level left. Both are of first order.")  # fmt: skip
    top = listed[10][::-1] if upwards else listed[10]
    reason = naming.grid_convention(top, 10, T)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")


# -- what all of them share --------------------------------------------------------------------------------------------------------------


def _start(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 1, 2, 2))


def _close(a: np.ndarray | None, b: np.ndarray | None, within: float = 1e-9) -> bool:
    return a is not None and b is not None and bool(np.allclose(a, b, rtol=within, atol=within, equal_nan=True))


def _some(moves: list[Move], most: int = 40) -> list[Move]:
    """A few of many moves, the first and the last among them."""
    if len(moves) <= most:
        return moves
    return [moves[i] for i in np.linspace(0, len(moves) - 1, most).round().astype(int)]


def _same(a: Sequence[Move], b: Sequence[Move]) -> bool:
    return all(_close(m.x_s, n.x_s) for m, n in zip(a, b))


def _show(levels: Sequence[float]) -> str:
    shown = [f"{t:g}" for t in levels]
    return "[" + ", ".join(shown if len(shown) <= 14 else [*shown[:5], "...", *shown[-4:]]) + "]"


def _runs(verdict: Verdict, runs: Sequence[Run], what: str) -> bool:
    failed = next((r for r in runs if r.result is None), None)
    if failed is None:
        verdict.saw("runs", True, "with S = " + ", ".join(str(r.S) for r in runs[:3]))
        return True
    verdict.saw("runs", False, failed.error)
    beyond = max(failed.asked, default=0) > 1000
    verdict.wrong("grid-beyond-T" if beyond or failed.error.startswith("IndexError") else None,
                  f"The {what} failed at S = {failed.S}, eta = {failed.eta:g}: {failed.error}. Until then it had asked at "
                      f"{_show(failed.asked)}.")  # fmt: skip
    return False


def _finite(verdict: Verdict, moves: Sequence[Move]) -> None:
    bad = next((m for m in moves if not np.isfinite(m.x_s).all()), None)
    verdict.saw("finite", bad is None, "no NaN, no infinity" if bad is None else f"not at t = {bad.t}, s = {bad.s}, eta = {bad.eta:g}")


def _last_step(verdict: Verdict, moves: Sequence[Move]) -> None:
    from ddim_edu.conformance.reference import schedule as known

    abar = known(1000)
    off = 0.0
    for m in moves:
        if m.s == 0:
            x_0 = (m.x - np.sqrt(1 - abar[m.t]) * m.eps) / np.sqrt(abar[m.t])
            off = max(off, float(np.nan_to_num(np.abs(m.x_s - x_0), nan=np.inf).max()))
    verdict.saw("last step", off < 1e-3, f"is at most {off:.2g} from the predicted x_0")


def _coefficients(
    verdict: Verdict, moves: Sequence[Move], abar: np.ndarray, label: str, instead: Sequence[Move] | None = None, kind: str = "step"
) -> None:
    """The algebra: a, b, c of x_s = a x_t + b eps + c z, against eq. 12."""
    worst, said = 0.0, ""
    for move in instead or moves:
        if move.t == move.s or not 0 <= move.s <= len(abar) - 1 or not 0 <= move.t <= len(abar) - 1:
            continue
        upwards = move.s > move.t
        found, off = naming.coefficients(move)
        right = naming.right_coefficients(move, abar, "invert" if upwards or kind == "invert" else "step")
        if move.eta == 0 or not np.abs(move.noise).max():
            right = np.where([False, False, True], found, right)
        gap = float(np.abs(found - right).max()) if np.isfinite(found).all() else np.inf
        scale = 1 + float(np.abs(right[:2]).max())
        if not said or gap / scale > worst:
            worst = gap / scale
            said = f"t = {move.t}, s = {move.s}: {_three(found)}, should be {_three(right)}"
    verdict.saw(
        f"coefficients, {label}" if "steps" not in label else label, worst < 2e-4, said if worst >= 2e-4 else f"off by at most {worst:.1g}"
    )


def _three(abc: np.ndarray) -> str:
    a, b, c = (f"{value:.4g}" for value in abc)
    return f"{a} x_t + {b} eps + {c} z".replace("+ -", "- ")


def _precision(verdict: Verdict, guess: Guess) -> None:
    verdict.saw("precision", True, f"agrees to the rounding of {guess.precision}")
    if guess.precision == "float16":
        verdict.wrong("float16", "Right but for the rounding of float16: coefficients are to be computed in float64, which costs nothing.")


def _blame(verdict: Verdict, guess: Guess | None, moves: Sequence[Move], abar: np.ndarray, kind: str) -> None:
    """Turn a guess into the verdict."""
    if guess is None:
        _unnamed(verdict, moves, abar, kind)
    elif not guess.mistakes:
        _precision(verdict, guess)
    elif all(m.verdict == "convention" for m in guess.mistakes):
        for mistake in guess.mistakes:
            verdict.convention(mistake.id, mistake.sentence)
    else:
        _accuse(verdict, [m.id for m in guess.mistakes])


def _accuse(verdict: Verdict, ids: Sequence[str]) -> None:
    known = [BY_ID[id] for id in ids if id in BY_ID]
    words = " And: ".join(m.sentence for m in known)
    if "start-changed" in ids:
        words = "The first state that the network is shown is not the x_T that was given. " + words
    verdict.wrong("+".join(m.id for m in known) or None, words)


def _unnamed(verdict: Verdict, moves: Sequence[Move], abar: np.ndarray, kind: str, before: str = "") -> None:
    """No known mistake: the smallest failing case, to be pasted into a debugger."""
    failing = next((name for name, oracle in verdict.oracles.items() if not oracle["passed"]), "steps")
    kind_of = "invert" if kind == "invert" else "step"
    bad = [m for m in moves if not any(naming.fits(m, naming.formulas_of(kind_of), abar, r, "float32") for r in ("nan", "clamped"))]
    if not bad:
        verdict.wrong(None, f"{before} No known mistake fits; the oracle that failed is: {failing}.".strip())
        return
    m = min(bad, key=lambda m: (m.eta, m.t - m.s))
    found, off = naming.coefficients(m)
    right = naming.right_coefficients(m, abar, kind_of)
    text = f"{before} No known mistake fits; the oracle that failed first is: {failing}. "
    text += f"From t = {m.t} to s = {m.s} at eta = {m.eta:g} yours is "
    text += (
        f"{_three(found)}"
        + (f" (and is not linear: {off:.2g} remains)" if off > 1e-4 else "")
        + f", and should be {_three(right)} (DDIM eq. 12)."
    )
    i = (0,) * m.x.ndim
    verdict.wrong(None, text.strip() + "\n" + "\n".join([
        "import torch",
        f"t, s, eta = {m.t}, {m.s}, {m.eta:g}  # alpha_bar[t] = {abar[m.t]:.12g}, alpha_bar[s] = {abar[m.s]:.12g}",
        f"x_t, eps, noise = torch.tensor([{m.x[i]:.12g}, {m.eps[i]:.12g}, {m.noise[i]:.12g}], dtype=torch.float64).reshape(3, 1, 1, 1, 1)",
        f"# yours: {m.x_s[i]:.12g}   right: {naming.work_out(m, naming.formulas_of(kind_of), abar, 'clamped')[i]:.12g}",
    ]))  # fmt: skip
