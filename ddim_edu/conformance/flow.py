r"""A sampler as a whole, against what is known of its result, where each of its steps was found right.

At eta = 0 samplers follow the flow of an ordinary differential equation, and DDIM is of first order: twice the steps,
half the error. At eta = 1 a Gaussian stays one, and its mean and variance after each step have a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.contract import Move, Network, record
from ddim_edu.conformance.judging import alike, blame, first_states, listing
from ddim_edu.conformance.naming import Guess
from ddim_edu.conformance.reference import build, schedule
from ddim_edu.conformance.report import Verdict

SHAPE = (1, 1, 2)
FEW, MANY = 25, 50
RATIO = (1.6, 2.6)  # of the errors: 2 in the limit of many steps


def whole(verdict: Verdict, f: Callable) -> bool:
    """Order of convergence and moments of a sampler, on the linear schedule; whether both are as they should be."""
    return order(verdict, f) and moments(verdict, f)


def order(verdict: Verdict, f: Callable) -> bool:
    """At eta = 0, on a mixture in two dimensions: twice the steps, half the error against all 1,000 steps."""
    errors = []
    for S in (FEW, MANY):
        run = record(f, _mixture(), _states(32), S, 0.0, schedule(1000))
        if run.result is None or not run.asked or not 1 <= run.asked[0] <= 1000:
            return _wrong(verdict, "order", f"with S = {S} it fails: {run.error or 'it asks at no level'}")
        errors.append(float(np.abs(run.result - _flow(int(run.asked[0]))).mean()))
    ratio = errors[0] / errors[1] if errors[1] else float("inf")
    said = f"mean error {errors[0]:.3g} with {FEW} steps, {errors[1]:.3g} with {MANY}: a ratio of {ratio:.2f}"
    said += ", where first order has 2"
    if RATIO[0] <= ratio <= RATIO[1]:
        return verdict.saw("order", True, said)
    return _wrong(verdict, "order", said)


def moments(verdict: Verdict, f: Callable, n: int = 4000) -> bool:
    """At eta = 1, on a Gaussian in two dimensions: mean and variance of ``n`` samples, against those that the levels
    asked give.
    """
    abar, S = schedule(1000), 10
    network = Network(abar, shape=SHAPE, std=0.3, weights=(1.0,))
    run = record(f, network, _states(n), S, 1.0, abar)
    if run.result is None or len(run.asked) != S:
        return _wrong(
            verdict,
            "moments at eta = 1",
            f"with a batch of {n} it fails: {run.error or f'{len(run.asked)} calls at S = {S}'}",
        )
    mean, variance = _gaussian(network, [*(int(t) for t in run.asked), 0], abar)
    samples = run.result.reshape(n, -1)
    off = np.abs(samples.mean(0) - mean) / np.sqrt(variance / n)
    wide = np.abs(samples.var(0) / variance - 1) / np.sqrt(2 / n)
    worst = float(max(off.max(), wide.max()))
    if worst > 5:
        found = f"mean {_show(samples.mean(0))}, variance {_show(samples.var(0))}"
        said = f"{found}; should be {_show(mean)} and {_show(variance)}, {worst:.1f} standard errors away"
        return _wrong(verdict, "moments at eta = 1", said)
    said = f"mean and variance of {n} samples are within {worst:.1f} standard errors of the formula; up to 5 is chance"
    return verdict.saw("moments at eta = 1", True, said)


def _wrong(verdict: Verdict, oracle: str, said: str) -> bool:
    verdict.saw(oracle, False, said)
    verdict.wrong(None, f"Every step that was looked at is right, but not the whole walk ({oracle}): {said}.")
    return False


def _states(n: int) -> np.ndarray:
    return np.random.default_rng(8).standard_normal((n, *SHAPE))


def _show(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


@lru_cache(maxsize=1)
def _mixture() -> Network:
    return Network(schedule(1000), shape=SHAPE, std=0.4)


@lru_cache(maxsize=8)
def _flow(top: int) -> np.ndarray:
    """Where the flow takes the states from level ``top``: as many steps as there are levels."""
    every = build("sampler", {"tau": lambda v: [*range(top, 0, -1), 0]})
    return record(every, _mixture(), _states(32), top, 0.0, schedule(1000)).result


def _gaussian(network: Network, levels: Sequence[int], abar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, by coordinate, of what right steps at eta = 1 make of standard normal noise: each step is
    affine in the state.
    """
    mean, variance = np.zeros(2), np.ones(2)
    for t, s in zip(levels, levels[1:]):
        ends = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
        at_0, at_1 = network.data.eps(ends, torch.full((2,), t)).numpy()
        a, b, c = naming.right_coefficients(Move(*[np.zeros((1, 1))] * 2, t, s, 1.0, *[np.zeros((1, 1))] * 2), abar)
        slope = a + b * (at_1 - at_0)
        mean, variance = slope * mean + b * at_0, slope**2 * variance + c**2
    return mean, variance


def by_moments(verdict: Verdict, f: Callable, network: Network, abar: np.ndarray, as_asked: Callable) -> bool:
    """Noise that could not be overheard, judged by its moments: what remains of each step must be standard normal, and
    of its own.
    """
    start = first_states(1500, seed=9)
    for eta in (0.3, 1.0):
        run = record(f, network, start, 10, eta, abar)
        nought = [np.zeros(start.shape)] * len(run.asked)
        left = []
        for move in naming.moves_of(run, as_asked(run), nought):
            formulas = naming.formulas_of("sampler")
            mean, one = (
                naming.work_out(move, formulas, abar),
                naming.work_out(replace(move, noise=np.ones(start.shape)), formulas, abar),
            )
            fresh = float((one - mean).flat[0])
            if fresh > 1e-9:
                left.append((move.x_s - mean) / fresh)
            elif not alike(move.x_s, mean, 1e-5):
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
                words = (
                    f"At eta = {eta:g} what a step adds to the right mean should be sigma z (DDIM eq. 12); divided by"
                )
                words += f" sigma it has {said}, where mean 0, deviation 1 and correlation 0 are expected."
                verdict.wrong(None, words)
            return False
    return True


def elsewhere(verdict: Verdict, run: Callable, guess: Guess) -> None:
    """A sampler whose steps are right: data beyond [-1, 1], a batch of one, all T steps, another schedule."""
    abar = schedule(1000)
    start = first_states(5)
    whole, part = run(10, 0.0), run(10, 0.0, x=start[:1])
    if part.result is None or not alike(whole.result[:1], part.result, 1e-5):
        verdict.saw("batch of one", False, part.error or "the first picture depends on the others of its batch")
        said = "At eta = 0 a picture comes out differently when it is drawn alone"
        verdict.wrong("batch-matters", f"{said}: something is computed over the whole batch.")
        return
    verdict.saw("batch of one", True, "a picture does not depend on its batch")
    wide = run(10, 0.0, net=Network(abar, spread=3.0))
    if wide.result is not None and len(wide.asked) == 10:
        moves = naming.moves_of(wide, [*(int(t) for t in wide.asked), 0], [np.zeros(start.shape)] * 10)
        if not verdict.saw("data beyond [-1, 1]", _still(guess, moves, abar), "x_0 up to 3 in size"):
            blame(verdict, naming.name(moves, abar, "sampler", most=1), moves, abar, "sampler")
            if not verdict.ok:
                return
    every = run(1000, 0.0, x=start[:1])
    fault = every.error or ("not finite" if not np.isfinite(every.result).all() else "")
    if not fault and max(every.asked) > 1000:
        fault = f"the network is asked at {max(every.asked):g}"
    if not verdict.saw(
        "S = T", not fault, fault or f"{len(every.asked)} calls, {len(set(every.asked))} different levels"
    ):
        verdict.wrong("grid-beyond-T", f"With S = T = 1000 steps it fails: {fault}. " + BY_ID["grid-beyond-T"].sentence)
        return
    if len(set(every.asked)) < len(every.asked):
        said = f"With S = T it visits {len(set(every.asked))} different levels in {len(every.asked)} calls"
        verdict.convention("repeats-at-T", f"{said}: the others are wasted.")
    other = schedule(200, "cosine")[:191]  # without the end, where the clock explodes
    seen = run(5, 0.0, net=Network(other), x=first_states(3), bar=other)
    fine = seen.result is not None and len(seen.asked) == 5 and all(t == int(t) and 0 < t <= 190 for t in seen.asked)
    fine = fine and _still(
        guess, naming.moves_of(seen, [*(int(t) for t in seen.asked), 0], [np.zeros((3, 1, 2, 2))] * 5), other
    )
    said = "a cosine of T = 190" + ("" if fine else f": {seen.error or 'levels ' + listing(seen.asked)}")
    if not verdict.saw("other schedule", fine, said):
        said = (
            "It does not use the alpha_bar that it is given, or not its length: it is right for the linear schedule of"
        )
        verdict.convention("schedule-bound", f"{said} T = 1000 only.")


def _still(guess: Guess, moves: Sequence[Move], abar: np.ndarray) -> bool:
    """Whether what was found of some moves holds for others too."""
    return any(
        naming.fit_all(moves, naming.formulas_of("sampler", guess.mistakes), abar, root, p)
        for p in ("float64", "float32")
        for root in ("nan", "clamped")
    )
