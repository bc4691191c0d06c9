"""What the kit looks at in an inversion: it is recorded through the network that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID, of_kind
from ddim_edu.conformance.contract import Move, Network, Run, record
from ddim_edu.conformance.judging import STEPS, accuse, alike, all_ran, listing, some, unnamed
from ddim_edu.conformance.reference import build, schedule
from ddim_edu.conformance.report import Verdict
from ddim_edu.conformance.walks import grids_behind, read_levels, relation_of, replayed, usual

ELSEWHERE = "asked-elsewhere"  # not in the catalogue: what is asked about has no rule


def invert(verdict: Verdict, f: Callable) -> None:
    """An inversion, recorded through the network that it is given."""
    abar = schedule(1000)
    network = Network(abar)
    start = _pictures(network, 5, seed=3)
    runs = [record(f, network, start, S, None, abar) for S in STEPS]
    if not all_ran(verdict, runs, "inversion"):
        return
    deterministic = alike(runs[0].result, record(f, network, start, 10, None, abar, seed=1).result)
    verdict.saw("deterministic", deterministic, "two seeds, one x_T")
    counts = ", ".join(f"{len(r.asked)} at S = {r.S}" for r in runs)
    enough = verdict.saw("network calls", all(len(r.asked) == r.S for r in runs), counts)
    verdict.saw("levels asked", True, listing(runs[0].asked))
    if not all(r.asked for r in runs):
        accuse(verdict, ["invert-noise"], "The network is never asked: x_0 is noised, not inverted.")
        return
    chains = {r.S: read_levels(r, abar) for r in runs}
    read = deterministic and all(chains.values())
    if not (read and enough) and (whole := replayed(runs, network, abar, "invert")):
        verdict.saw("network", False, BY_ID[whole].yours)
        accuse(verdict, [whole])
    elif read:
        said = "each is DDIM eq. 12 with sigma = 0, from level to level: " + listing(chains[10])
        verdict.saw("steps upwards", True, said)
        if _levels_are_right(verdict, runs, chains, abar):
            _round_trip(verdict, f, network, start, abar)
            _invert_elsewhere(verdict, f, abar)
    else:
        _name_steps(verdict, runs, abar, deterministic)


def _pictures(network: Network, n: int, seed: int) -> np.ndarray:
    return network.data.sample(n, torch.Generator().manual_seed(seed)).numpy().reshape(n, 1, 2, 2)


def _levels_are_right(verdict: Verdict, runs: Sequence[Run], chains: dict[int, list[int]], abar: np.ndarray) -> bool:
    """Whether an inversion whose steps are right also goes by the right levels; if not, the verdict."""
    if all(chain[0] > chain[-1] for chain in chains.values()) and all(r.asked[0] > r.asked[-1] for r in runs):
        verdict.saw("levels walked", False, listing(chains[10]))
        accuse(verdict, ["invert-downwards"])
        return False
    begun = _start_fault(chains)
    asked, convention = _asked_fault(runs, chains, begun)
    grid = _grid_fault(chains, begun)
    if convention:
        verdict.convention("first-level-asked", convention)
    blamed = [b for b in (begun, asked, grid) if b]
    # The same moves may be one known mistake between the levels that it asks about.
    strange = {ELSEWHERE, "starts-elsewhere", grid} - {None, "invert-stops-short"}
    if strange & set(blamed) or (asked and not usual(chains)):
        blamed = _invert_guess(runs, abar, most=1) or blamed
    stand = listing(chains[10][:-1])
    if any("asked" in b for b in blamed):
        verdict.saw("levels asked", False, f"{listing(runs[0].asked)}, of states at {stand}")
    known = [b for b in blamed if b in BY_ID]
    verdict.saw("levels walked", all("asked" in b for b in blamed), listing(chains[10]))
    if known:
        accuse(verdict, known)
    elif blamed:
        asked_at = f"The network is asked at {listing(runs[0].asked)}"
        verdict.wrong(None, f"{asked_at}, but the states that it is shown stand at {stand}.")
    elif reason := naming.grid_convention(chains[10][:0:-1], 10, 1000):
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
    return not blamed


def _start_fault(chains: dict[int, list[int]]) -> str | None:
    """The mistake in the first level left, which should be the data."""
    if all(chain[0] > 0 and len(chain) == S for S, chain in chains.items()):
        return "invert-starts-late"
    if all(chain[0] == 1 for chain in chains.values()):
        return "invert-starts-at-abar-1"
    return "starts-elsewhere" if any(chain[0] != 0 for chain in chains.values()) else None


def _asked_fault(runs: Sequence[Run], chains: dict[int, list[int]], begun: str | None) -> tuple[str | None, str]:
    """The mistake in the levels asked about, and what is a convention in them."""
    if all(a == max(t, 1) or a == t == 0 for r in runs for a, t in zip(r.asked, chains[r.S])):
        return None, ""
    later = all(r.asked[1:] == chains[r.S][1:-1] for r in runs)
    if begun == "invert-starts-at-abar-1" and later and all(r.asked[0] <= 1 for r in runs):
        return None, ""
    relation = relation_of(runs, chains, "invert")
    # Only the first level is another. At t = 0 no network knows the level, and any low one is a choice.
    if relation is None and later and all(0 <= r.asked[0] <= chains[r.S][1] for r in runs):
        return None, f"At the data the network is asked at level {runs[0].asked[0]:g}; this project asks it at 1."
    return relation or ELSEWHERE, ""


def _grid_fault(chains: dict[int, list[int]], begun: str | None) -> str | None:
    """The mistake in the levels reached."""
    first = 0 if begun == "invert-starts-late" else 1
    grid = next((g for S, c in chains.items() if (g := naming.grid_fault(c[first:][::-1], S, 1000))), None)
    if begun == "invert-starts-at-abar-1" and all(0 <= 1000 - c[-1] < 1000 // S for S, c in chains.items()):
        grid = None if grid == "grid-starts-below-T" else grid  # 1 + T//S, 1 + 2 (T//S), ...
    return "invert-stops-short" if grid and all(len(c) == S for S, c in chains.items()) and first else grid


def _name_steps(verdict: Verdict, runs: Sequence[Run], abar: np.ndarray, deterministic: bool) -> None:
    """Some step is not right between any two levels: what may its levels be, and which mistake makes it?"""
    verdict.saw("steps upwards", False, "they are not DDIM eq. 12 with sigma = 0 between any two levels")
    if guess := _invert_guess(runs, abar, most=2):
        accuse(verdict, guess)
    elif not deterministic:
        accuse(verdict, ["invert-noise"])
    else:
        unnamed(verdict, next((made for _, made in _invert_moves(runs)), []), abar, "invert")


def _invert_moves(runs: Sequence[Run]) -> list[tuple[str, list[Move]]]:
    """The moves of an inversion between the levels that it may be going by: those asked about are left, or reached, or
    neither.
    """
    hypotheses = [("left", lambda r, top=top: [0, *r.asked[1:], top(r)]) for top in (
        lambda r: 1000, lambda r: 1 + (r.S - 1) * (1000 // r.S), lambda r: r.asked[-1] + 1000 // r.S)]  # fmt: skip
    hypotheses.append(("invert-asked-at-end", lambda r: [0, *r.asked]))
    for mistake in of_kind("invert"):
        if "asked" in mistake.change:
            grids = grids_behind(runs, mistake, "invert")
            hypotheses += [(mistake.id, lambda r, grid=grid: grid[r.S]) for grid in grids]
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
        chain = read_levels(run, abar)
        if chain is None:
            return
        back = build("sampler", {"tau": lambda v, grid=chain[::-1]: grid})
        decoded = record(back, network, run.result, S, 0.0, abar)
        errors.append(float(np.mean((decoded.result - start) ** 2)))
    verdict.saw(
        "round trip",
        errors[1] < errors[0] or errors[0] < 1e-6,
        f"mean square error {errors[0]:.2g} with 10 steps, {errors[1]:.2g} with 100",
    )


def _invert_elsewhere(verdict: Verdict, f: Callable, abar: np.ndarray) -> None:
    """Data beyond [-1, 1], and another schedule."""
    wide = Network(abar, spread=3.0)
    start = _pictures(wide, 5, seed=4)
    fine = read_levels(record(f, wide, start, 10, None, abar), abar) is not None
    if not verdict.saw("data beyond [-1, 1]", fine, "x_0 up to 3 in size"):
        accuse(verdict, ["invert-clip"])
        return
    other = schedule(200, "cosine")[:191]  # without the end, where the clock explodes
    run = record(f, Network(other), start[:3], 5, None, other)
    chain = read_levels(run, other)
    fine = chain is not None and len(chain) == 6 and chain[-1] <= 190
    fine = fine and all(a == max(t, 1) or t == 0 for a, t in zip(run.asked, chain))
    if not verdict.saw("other schedule", fine, "a cosine of T = 190"):
        said = "It does not use the alpha_bar that it is given: it is right for the linear schedule of T = 1000 only."
        verdict.convention("schedule-bound", said)
