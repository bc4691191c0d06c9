"""What the kit looks at in a sampler: it is recorded through the network that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID, of_kind
from ddim_edu.conformance.contract import Move, Network, Run, record
from ddim_edu.conformance.flow import by_moments, elsewhere, whole
from ddim_edu.conformance.judging import (
    ETAS,
    STEPS,
    accuse,
    alike,
    all_ran,
    first_states,
    listing,
    see_coefficients,
    see_precision,
    unnamed,
)
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import build, falling, schedule
from ddim_edu.conformance.report import Verdict
from ddim_edu.conformance.walks import (
    Seen,
    falling_asked,
    grids_behind,
    read_levels,
    relation_of,
    replayed,
    started,
    usual,
)


@dataclass
class Found:
    """What the search among levels and mistakes has found so far.

    Attributes:
        levels_of: the levels of a run.
        guess: what its steps are between them; None as long as nothing fits.
        used: how the noise was used, see :meth:`~ddim_edu.conformance.walks.Seen.right`.
        asked_wrong: the mistake by which the network is asked about other levels.
        short: whether the walk ends above the data.
    """

    levels_of: Callable[[Run], Sequence[int] | None]
    guess: Guess | None = None
    used: str = ""
    asked_wrong: str | None = None
    short: bool = False


def sampler(verdict: Verdict, f: Callable) -> None:
    """A sampler, recorded through the network that it is given."""
    abar = schedule(1000)
    network = Network(abar)
    start = first_states(5)

    def run(
        S: int, eta: float, seed: int = 0, x: np.ndarray = start, net: Network = network, bar: np.ndarray = abar
    ) -> Run:
        return record(f, net, x, S, eta, bar, seed)

    first = run(10, 0.0)
    if len(first.asked) > 50:
        fault = _same_grid([first]) or naming.grid_fault(first.asked, 10, 1000) or "grid-too-many"
        verdict.saw("network calls", False, f"{len(first.asked)} at S = 10")
        accuse(verdict, [fault])
        return
    runs = [first] + [run(S, 0.0) for S in STEPS[1:]] + [run(10, 0.3), run(10, 1.0), run(7, 1.0)]
    if not all_ran(verdict, runs, "sampler"):
        return
    deterministic = alike(runs[0].result, run(10, 0.0, seed=1).result)
    verdict.saw("deterministic at eta = 0", deterministic, "two seeds, one picture")
    moved = not alike(runs[4].result, run(10, 1.0, seed=1).result)
    verdict.saw("random at eta = 1", moved, "two seeds, two pictures")
    seen = Seen(runs, abar, moved)
    begun = started(runs)
    notes = _see_walk(verdict, seen, begun)
    # Where each step is right between the levels asked about, the walk as a whole can't hide anything.
    if not seen.right(seen.as_asked)[0] and (mistake := replayed(seen.quiet, network, abar, "sampler")):
        verdict.saw("network", False, BY_ID[mistake].yours)
        accuse(verdict, [mistake])
        return
    found = _search(seen)
    moves = _see_steps(verdict, seen, found)
    blamed = _blamed(seen, found, begun, deterministic)
    if found.guess is None:
        _besides(verdict, seen, moves, blamed)
    elif blamed:
        _accuse(verdict, found, blamed, runs[0])
    elif not seen.hidden or by_moments(verdict, f, network, abar, seen.as_asked):
        see_precision(verdict, found.guess)
        _conventions(verdict, found.guess, runs[0], begun, notes)
        elsewhere(verdict, run, found.guess)
        # What clips or is bound to a schedule may fail here, rightly.
        if all(oracle["passed"] for oracle in verdict.oracles.values()):
            whole(verdict, f)


def _accuse(verdict: Verdict, found: Found, blamed: list[str], run: Run) -> None:
    """The verdict on mistakes that are known, and the oracles that see them."""
    for id in blamed:
        if id in BY_ID and "draw" in BY_ID[id].change:
            verdict.saw("fresh noise", False, BY_ID[id].yours)
    facts = ""
    levels = found.levels_of(run)
    if found.short:
        verdict.saw("ends at the data", False, f"it ends at level {levels[-1]} at S = {run.S}")
        facts = f"At S = {run.S} it ends at level {levels[-1]}."
    if "asked-elsewhere" in blamed:
        facts = f"The network is asked at {listing(run.asked)}, but the states that it is shown stand at "
        facts += f"{listing(levels[:-1])} (eq. 12; the contract)."
    accuse(verdict, blamed, facts)


def _see_walk(verdict: Verdict, seen: Seen, begun: str | None) -> list[str]:
    """What the walk looks like; what the contract does not foresee in how the network is asked."""
    runs, quiet_runs = seen.runs, seen.quiet
    verdict.saw(
        "starts from x_T", begun in (None, "start-scaled"), "the first state shown to the network is the x_T given"
    )
    counts = ", ".join(f"{len(r.asked)} at S = {r.S}" for r in quiet_runs)
    verdict.saw("network calls", all(len(r.asked) == r.S for r in runs), counts)
    fault = next((g for r in quiet_runs if (g := naming.grid_fault(r.asked, r.S, 1000))), None)
    verdict.saw("levels asked", fault is None, listing(runs[0].asked))
    notes = sorted({n for r in runs for n in r.notes})
    verdict.saw("form of the levels", not notes, "; ".join(notes) or "an int tensor of shape (B,)")
    return notes


def _search(seen: Seen) -> Found:
    """Which steps, between which levels, the runs show: the simplest reading that fits."""
    # 1. the levels are those that it asks about, and each step is right
    found = Found(seen.as_asked)
    whole_levels = seen.as_asked(seen.runs[0]) is not None
    found.guess, found.used = seen.right(seen.as_asked)
    read: dict[int, list[int] | None] = {}
    if found.guess is None:
        # 2. each deterministic step is right, between other levels than those that it asks about
        read = {r.S: read_levels(r, seen.abar) for r in seen.quiet}
        _search_read(seen, found, read)
    if found.guess is None and whole_levels:
        # 3. one known mistake in each step, between the levels that it asks about
        found.levels_of, found.asked_wrong, found.short = seen.as_asked, None, False
        found.guess = seen.named(seen.as_asked)
    if found.guess is None and _is_elsewhere(seen, read):
        found.asked_wrong, found.levels_of = "asked-elsewhere", lambda r: read[r.S]
        found.guess, found.used = seen.right(found.levels_of)
    if found.guess is None:
        _search_both(seen, found)
    if found.guess is None and whole_levels:
        # 5. two in each step
        found.levels_of = seen.as_asked
        found.guess = seen.named(seen.as_asked, most=2)
    return found


Read = dict[int, "list[int] | None"]


def _search_read(seen: Seen, found: Found, read: Read) -> None:
    """The levels read off the steps: they end above the data, or a known mistake makes those asked about of them."""
    if _is_short(seen, read):
        found.short, found.levels_of = True, lambda r: read[r.S]
        found.guess, found.used = seen.right(found.levels_of)
        found.guess = found.guess or seen.named(found.levels_of)
    elif _is_a_walk(read) and (relation := relation_of(seen.quiet, read)) is not None:
        if usual(read) or not seen.named(seen.as_asked):
            found.asked_wrong, found.levels_of = relation, lambda r: read[r.S]
            found.guess, found.used = seen.right(found.levels_of)
            found.guess = found.guess or seen.named(found.levels_of)


def _is_a_walk(read: Read) -> bool:
    """Whether levels read off the steps are those of a sampler, down to the data."""
    return all(chain and chain[-1] == 0 and not naming.grid_fault(chain[:-1], S, 1000) for S, chain in read.items())


def _is_elsewhere(seen: Seen, read: Read) -> bool:
    """Whether the network is asked about other levels than those walked, by no rule that is known."""
    if not read or not _is_a_walk(read) or relation_of(seen.quiet, read) is not None:
        return False
    return any(r.asked != read[r.S][:-1] for r in seen.quiet)


def _is_short(seen: Seen, read: Read) -> bool:
    """Whether deterministic runs walk right between the levels asked about, and end above the data.

    To end at level 1 after S steps is a mistake of the last step's alpha-bar, which the catalogue has.
    """
    return all(read.values()) and all(
        read[r.S][-1] > (0 if len(r.asked) < r.S else 1) and r.asked == read[r.S][:-1] for r in seen.quiet
    )


def _same_grid(runs: Sequence[Run]) -> str | None:
    """The mistake of the catalogue whose levels are those asked about."""
    for m in of_kind("sampler"):
        if "tau" in m.change and m.id not in ("grid-stops-at-1", "grid-stops-short"):
            if all(falling(build("tau", m.change)(1000, r.S)) == r.asked for r in runs):
                return m.id
    return None


def _search_both(seen: Seen, found: Found) -> None:
    """4. One known mistake in the levels and one in the step."""
    for mistake in of_kind("sampler"):
        if "asked" not in mistake.change:
            continue
        for grid in grids_behind(seen.quiet, mistake):
            if guess := seen.named(lambda r, grid=grid: grid[r.S]):
                found.guess, found.asked_wrong, found.levels_of = guess, mistake.id, lambda r, grid=grid: grid[r.S]
                return


def _see_steps(verdict: Verdict, seen: Seen, found: Found) -> list[Move]:
    """The coefficients of the steps, by eta; the moves in which they were seen."""
    if not found.levels_of(seen.runs[0]):
        return []
    moves = [m for m in (seen.moves(found.levels_of) or []) if np.isfinite(m.x_s).all()]
    fitted = seen.fitted(found.guess, found.levels_of) if found.guess and not seen.hidden else []
    for eta in ETAS:
        here = [m for m in moves if m.eta == eta]
        if here and not seen.hidden:
            see_coefficients(
                verdict, here, seen.abar, f"steps at eta = {eta:g}", [n for n in fitted if n.eta == eta] or None
            )
    return moves


def _blamed(seen: Seen, found: Found, begun: str | None, deterministic: bool) -> list[str]:
    """The mistakes, by their ids: in the start, the levels, the steps, the noise."""
    guess, levels_of, quiet_runs = found.guess, found.levels_of, seen.quiet
    blamed = [begun] if begun and begun != "start-scaled" else []
    grid = next(
        (g for r in quiet_runs if (g := naming.grid_fault(falling_asked(levels_of(r) or r.asked), r.S, 1000))), None
    )
    if found.short:
        ends = {levels_of(r)[-1] for r in quiet_runs}
        blamed.append("grid-stops-at-1" if ends == {1} else "grid-stops-short")
    elif found.asked_wrong:
        blamed.append(found.asked_wrong)
    elif grid:
        same = (
            m.id
            for m in of_kind("sampler")
            if "tau" in m.change
            and all(build("tau", m.change)(1000, r.S)[: len(r.asked)] == r.asked for r in quiet_runs)
        )
        blamed.append(grid if grid in ("grid-too-few", "grid-too-many") else next(same, grid))
    if guess is not None:
        blamed += [m.id for m in guess.mistakes if m.verdict == "wrong"]
    noise_fault = next((w[1] for r in seen.runs if r.eta and (w := seen.ways[id(r)])[1]), None) if not begun else None
    if noise_fault and guess is not None and not any(m.id in ("sigma-zero", "noise-missing") for m in guess.mistakes):
        blamed.append(noise_fault)
    elif guess is not None and guess.id is None and not seen.hidden and found.used == "reused":
        blamed.append("noise-reused")
    elif guess is not None and guess.id is None and found.used == "skipped":
        blamed.append("noise-skipped")
    elif guess is not None and guess.id is None and found.used == "x_T":
        blamed.append("noise-is-x-T")
    if "last-step-abar-1" in blamed and "grid-too-few" in blamed:
        blamed = ["grid-stops-at-1"] + [b for b in blamed if b not in ("last-step-abar-1", "grid-too-few")]
    if "noise-reused" in blamed and len(blamed) > 1 and noise_fault:
        blamed.remove("noise-reused")
    if not deterministic and not blamed:
        blamed.append("sigma-eta-ignored")
    return blamed


def _besides(verdict: Verdict, seen: Seen, moves: list[Move], blamed: list[str]) -> None:
    """Steps that the catalogue does not know, and what was found besides."""

    def kept(r: Run) -> list[int]:
        return [*[int(np.clip(round(t), 0, 1000)) for t in r.asked], 0]

    facts = " ".join(BY_ID[b].sentence for b in blamed if b in BY_ID)
    unnamed(verdict, moves or seen.moves(kept) or [], seen.abar, "sampler", before=facts)
    if blamed:
        verdict.mistake = "+".join(blamed[:2]) if len(blamed) > 1 else None
        verdict.explanation = (
            "Besides what is named, the steps are wrong in a way that the catalogue does not know. "
            + verdict.explanation
        )


def _conventions(verdict: Verdict, guess: Guess, run: Run, begun: str | None, notes: list[str]) -> None:
    """Honest differences of a right sampler."""
    for mistake in [*guess.mistakes, *([BY_ID["start-scaled"]] if begun else [])]:
        verdict.convention(mistake.id, mistake.sentence)
    reason = naming.grid_convention([int(t) for t in run.asked], 10, 1000)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
    if notes:
        verdict.convention("form-of-levels", f"The network is called in another form: {'; '.join(notes)}.")
