r"""A sampler as a whole, against what is known of its result, where each of its steps was found right.

At eta = 0 samplers follow the flow of an ordinary differential equation, and DDIM is of first order: twice the steps,
half the error. At eta = 1 a Gaussian stays one, and its mean and variance after each step have a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch

from ddim_edu.conformance import naming
from ddim_edu.conformance.contract import Move, Network, record
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
