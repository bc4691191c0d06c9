"""What the kit looks at in an inversion: it is recorded through the network that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID, of_kind
from ddim_edu.conformance.contract import Move, Network, Run, record
from ddim_edu.conformance.judging import STEPS, accuse, alike, all_ran, listing, some, unnamed
from ddim_edu.conformance.reference import build, schedule
from ddim_edu.conformance.report import Verdict
from ddim_edu.conformance.walks import grid_behind, relation_of, usual


def invert(verdict: Verdict, f: Callable) -> None:
    """An inversion, recorded through the network that it is given."""
    abar = schedule(1000)
    network = Network(abar)
    import torch

    start = network.data.sample(5, torch.Generator().manual_seed(3)).numpy().reshape(5, 1, 2, 2)
    runs = [record(f, network, start, S, None, abar) for S in STEPS]
    if not all_ran(verdict, runs, "inversion"):
        return
    again = record(f, network, start, 10, None, abar, seed=1)
    deterministic = alike(runs[0].result, again.result)
    verdict.saw("deterministic", deterministic, "two seeds, one x_T")
    verdict.saw(
        "network calls", all(len(r.asked) == r.S for r in runs), ", ".join(f"{len(r.asked)} at S = {r.S}" for r in runs)
    )
    verdict.saw("levels asked", True, listing(runs[0].asked))
    if not all(r.asked for r in runs):
        verdict.wrong(
            "invert-noise", "The network is never asked: x_0 is noised, not inverted. " + BY_ID["invert-noise"].sentence
        )
        return

    def read(r: Run) -> list[int] | None:
        pairs = [
            naming.levels_in(m, abar)
            for m in naming.moves_of(r, [0] * (len(r.asked) + 1), [np.zeros_like(start)] * len(r.asked))
        ]
        if None in pairs or any(a[1] != b[0] for a, b in zip(pairs, pairs[1:])):
            return None
        return [pairs[0][0], *(s for _, s in pairs)]

    chains = {r.S: read(r) for r in runs}
    blamed: list[str] = []
    if all(chains.values()) and deterministic:
        if all(chain[0] > chain[-1] for chain in chains.values()) and all(r.asked[0] > r.asked[-1] for r in runs):
            accuse(verdict, ["invert-downwards"])
            return
        if all(chain[0] == 1 for chain in chains.values()):
            blamed.append("invert-starts-at-abar-1")
        elif any(chain[0] != 0 for chain in chains.values()):
            blamed.append("invert-starts-elsewhere")
        steps = [list(zip(chains[r.S], chains[r.S][1:])) for r in runs]
        left = all(
            all(a == max(t, 1) or (t == 0 and a == 0) for a, (t, _) in zip(r.asked, pairs))
            for r, pairs in zip(runs, steps)
        )
        if "invert-starts-at-abar-1" in blamed and all(
            r.asked[1:] == c[1:-1] and r.asked[0] <= 1 for r, c in zip(runs, chains.values())
        ):
            left = True
        if not left:
            relation = relation_of(runs, chains, "invert")
            if relation is None and all(r.asked[1:] == chains[r.S][1:-1] for r in runs):
                # Only the first level is another. At t = 0 no network knows the level, and any low one is a choice.
                if all(0 <= r.asked[0] <= chains[r.S][1] for r in runs):
                    verdict.convention(
                        "first-level-asked",
                        f"At the data the network is asked at level {runs[0].asked[0]:g}; this project asks it at 1.",
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
            blamed and not usual(chains)
        ):  # the same moves may be one known mistake between the levels that it asks about
            if guess := _invert_guess(runs, abar, most=1):
                blamed = guess
        if any(b.startswith("invert-asked") for b in blamed):
            verdict.saw("levels asked", False, f"{listing(runs[0].asked)}, of states at {listing(chains[10][:-1])}")
        verdict.saw(
            "steps upwards", True, "each is DDIM eq. 12 with sigma = 0, from level to level: " + listing(chains[10])
        )
        if blamed:
            if not any(b in BY_ID for b in blamed):
                r = runs[0]
                verdict.wrong(
                    None,
                    f"The network is asked at {listing(r.asked)}, but the states that it is shown stand at {listing(chains[10][:-1])}.",
                )
            else:
                accuse(verdict, [b for b in blamed if b in BY_ID])
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
        accuse(verdict, guess)
        return
    if not deterministic:
        accuse(verdict, ["invert-noise"])
        return
    unnamed(verdict, next((made for _, made in _invert_moves(runs)), []), abar, "invert")


def _invert_moves(runs: Sequence[Run]) -> list[tuple[str, list[Move]]]:
    """The moves of an inversion between the levels that it may be going by: those asked about are left, or reached, or
    neither.
    """
    hypotheses = [("left", lambda r, top=top: [0, *r.asked[1:], top(r)]) for top in (
        lambda r: 1000, lambda r: 1 + (r.S - 1) * (1000 // r.S), lambda r: r.asked[-1] + 1000 // r.S)]  # fmt: skip
    hypotheses.append(("invert-asked-at-end", lambda r: [0, *r.asked]))
    for mistake in of_kind("invert"):
        if "asked" in mistake.change and (grid := grid_behind(runs, mistake, "invert")):
            hypotheses.append((mistake.id, lambda r, grid=grid: grid[r.S]))
    found = []
    for label, levels_of in hypotheses:
        grids = [levels_of(r)[: len(r.asked) + 1] for r in runs]
        if all(
            len(g) == len(r.asked) + 1 and all(t == int(t) and 0 <= t <= 1000 for t in g) for g, r in zip(grids, runs)
        ):
            found.append(
                (label, [m for g, r in zip(grids, runs) for m in some(naming.moves_of(r, g, naming.noise_of(r)[0][0]))])
            )
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
            [
                naming.levels_in(m, abar)
                for m in naming.moves_of(run, [0] * (len(run.asked) + 1), [np.zeros_like(start)] * len(run.asked))
            ]
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
        [
            naming.levels_in(m, abar)
            for m in naming.moves_of(run, [0] * (len(run.asked) + 1), [np.zeros_like(start)] * len(run.asked))
        ]
        if run.result is not None
        else [None]
    )
    if not verdict.saw("data beyond [-1, 1]", None not in pairs, "x_0 up to 3 in size"):
        accuse(verdict, ["invert-clip"])
        return
    other = schedule(200, "cosine")[:191]
    net = Network(other)
    run = record(f, net, start[:3], 5, None, other)
    fine = run.result is not None and len(run.asked) == 5
    if fine:
        pairs = [naming.levels_in(m, other) for m in naming.moves_of(run, [0] * 6, [np.zeros((3, 1, 2, 2))] * 5)]
        fine = (
            None not in pairs
            and pairs[-1][1] <= 190
            and all(a == max(t, 1) or t == 0 for a, (t, _) in zip(run.asked, pairs))
        )
    if not verdict.saw("other schedule", fine, "a cosine of T = 190"):
        verdict.convention(
            "schedule-bound",
            "It does not use the alpha_bar that it is given: it is right for the linear schedule of T = 1000 only.",
        )
