r"""Several runs compared fairly: means with intervals, differences paired by seed, and a correction for many tests
(chapter 8).

Training is random, and a table with one run a row compares luck. What is needed for less is small: several seeds, an
interval beside every mean, and, where two methods were run from the same seeds, the interval of their *differences*, in
which what the seed does to both cancels. With five seeds the normal distribution is too narrow; Student's t is meant
for this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats


class Summary(NamedTuple):
    """A mean and its interval, ``mean - half`` to ``mean + half``."""

    n: int
    mean: float
    half: float  # nan for a single value, which has no spread


class Paired(NamedTuple):
    """A mean difference, its interval, and the p of a two-sided t-test against "no difference"."""

    n: int
    mean: float
    half: float
    p: float


def summary(values: Sequence[float], level: float = 0.95) -> Summary:
    r"""The mean of n independent values, with its interval by Student's t.

    .. math:: \bar v \pm t_{n-1}\, \frac{s}{\sqrt n}, \qquad s^2 = \frac{1}{n-1} \sum_i (v_i - \bar v)^2,

    where a t-distributed variable with n - 1 degrees of freedom stays within :math:`\pm t_{n-1}` with the probability
    ``level``.

    Args:
        values: one for each run.
        level: of confidence, between 0 and 1.

    Raises:
        ValueError: If there are no values, one is not finite, or the level is not between 0 and 1.

    Equations: eq:t-interval
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: give a number between 0 and 1, such as 0.95")
    values = [float(value) for value in values]
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"values {values}: give at least one, all of them finite")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Summary(1, mean, math.nan)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Summary(n, mean, float(stats.t.ppf((1 + level) / 2, n - 1)) * spread / math.sqrt(n))


def paired(values: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Paired:
    """The :func:`summary` of ``values[i] - baseline[i]``, and the p of the paired t-test.

    Args:
        values: of one method, one for each seed.
        baseline: of the other, for the same seeds in the same order.
        level: of the interval.

    Returns:
        With p = 1 where all differences are 0, and nan for a single pair.

    Raises:
        ValueError: If the lengths differ, or :func:`summary` refuses the differences.

    Equations: eq:t-interval
    """
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values and {len(baseline)} of the baseline can't be paired")
    n, mean, half = summary([float(a) - float(b) for a, b in zip(values, baseline, strict=True)], level)
    if n == 1:
        return Paired(n, mean, half, math.nan)
    if half == 0:
        return Paired(n, mean, half, float(mean == 0))
    t = mean / half * float(stats.t.ppf((1 + level) / 2, n - 1))
    return Paired(n, mean, half, 2 * float(stats.t.sf(abs(t), n - 1)))


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    r"""Holm's correction of the p of several tests, so that the chance of one false alarm among all of them stays below
    the level.

    The smallest p is multiplied by the number of tests m, the second smallest by m - 1, and so on; a corrected p is
    never smaller than the one before it, nor larger than 1.

    Args:
        ps: the p of each test, by name.

    Returns:
        The corrected ones, in the order of ``ps``.

    Raises:
        ValueError: If a p is not between 0 and 1.
    """
    if not all(0 <= p <= 1 for p in ps.values()):
        raise ValueError(f"p values {dict(ps)}: each lies between 0 and 1")
    corrected, last = {}, 0.0
    for i, name in enumerate(sorted(ps, key=ps.__getitem__)):
        corrected[name] = last = max(last, min(1.0, (len(ps) - i) * ps[name]))
    return {name: corrected[name] for name in ps}
