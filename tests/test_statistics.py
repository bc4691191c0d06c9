import math

import numpy as np
import pytest
from scipy import stats

from ddim_edu.measuring.statistics import holm, paired, summary

VALUES = [1.0, 2.0, 3.0, 4.0, 5.0]


def test_summary_by_hand():
    """Mean 3, variance 10/4; t of 4 degrees of freedom at 97.5% is 2.776 in every table.

    Equations: eq:t-interval
    """
    found = summary(VALUES)
    assert (found.n, found.mean) == (5, 3.0)
    assert found.half == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)


def test_against_scipy():
    """Equations: eq:t-interval"""
    rng = np.random.default_rng(0)
    for n in (2, 5, 30):
        a, b = rng.normal(size=(2, n)) + [[0.5], [0.0]]
        low, high = stats.t.interval(0.9, n - 1, a.mean(), stats.sem(a))
        mean, half = summary(a, 0.9)[1:]
        assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9)
        test = stats.ttest_rel(a, b)
        low, high = test.confidence_interval(0.95)
        found = paired(a, b)
        assert found.n == n and found.p == pytest.approx(test.pvalue, rel=1e-9)
        assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), rel=1e-9)


def test_the_interval_covers_as_often_as_it_says():
    """4,000 experiments of five values: 95% of the intervals hold the truth, within four standard errors. The normal's
    1.96 would give 88%.
    """
    rng = np.random.default_rng(1)
    inside = np.mean([abs(s.mean) < s.half for s in map(summary, rng.normal(size=(4000, 5)))])
    assert abs(inside - 0.95) < 4 * (0.95 * 0.05 / 4000) ** 0.5


def test_pairing_removes_what_the_seed_does_to_both():
    seed, change = np.array([0.0, 10, -7, 3, 5]), np.array([0.9, 1.1, 1.0, 1.2, 0.8])
    found = paired(seed + change, seed)
    assert found.mean == pytest.approx(1.0) and found.half < 0.3 and found.p < 0.001
    assert stats.ttest_ind(seed + change, seed).pvalue > 0.5


def test_one_value_and_none():
    assert summary([4.0])[:2] == (1, 4.0) and math.isnan(summary([4.0]).half)
    assert math.isnan(paired([4.0], [3.0]).p) and paired([4.0], [3.0]).mean == 1.0
    assert paired(VALUES, VALUES) == (5, 0.0, 0.0, 1.0)
    assert paired([2.0, 3.0], [1.0, 2.0]) == (2, 1.0, 0.0, 0.0)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.4 become 0.04, 0.06, max(0.06, 0.06) and 0.4."""
    ps = {"c": 0.03, "a": 0.01, "d": 0.4, "b": 0.02}
    found = holm(ps)
    assert list(found) == list(ps)
    assert found == pytest.approx({"c": 0.06, "a": 0.04, "d": 0.4, "b": 0.06})
    assert holm({"x": 0.3, "y": 0.4}) == pytest.approx({"x": 0.6, "y": 0.6})  # never below the one before
    assert holm({"x": 0.9, "y": 0.8})["y"] == 1.0 and holm({}) == {}


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: summary([]), "give at least one"),
        (lambda: summary([1.0, math.nan]), "finite"),
        (lambda: summary(VALUES, 1.0), "level = 1.0"),
        (lambda: paired(VALUES, VALUES[:4]), "5 values and 4"),
        (lambda: holm({"a": 1.5}), "between 0 and 1"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
