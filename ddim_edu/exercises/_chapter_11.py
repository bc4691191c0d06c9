"""Chapter 11, measuring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise


def _vectors(*rows: list[float]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


@exercise("ex-measuring-commute", "derive", stars=2, minutes=20, skill="statistics")
def commute(answer: Any) -> None:
    """Along common axes the distance is an ordinary one, between means and standard deviations."""
    agree(
        answer,
        "distance(mu_1, mu_2, lam, kappa)",
        lambda a, b, lam, kappa: (a - b).square().sum() + (lam.sqrt() - kappa.sqrt()).square().sum(),
        [
            _vectors([0.0, 1.0, 2.0], [0.5, 1.0, 0.0], [0.4, 1.0, 2.0], [0.1, 3.0, 2.0]),
            _vectors([0.0, 0.0], [0.0, 0.0], [0.25, 4.0], [1.0, 1.0]),
            _vectors([1.0], [-1.0], [4.0], [9.0]),
        ],
        "In common axes all matrices are diagonal. What is the root of a diagonal matrix, and what is its trace?",
        (
            lambda a, b, lam, kappa: (a - b).square().sum() + (lam - kappa).square().sum(),
            "Eigenvalues are variances. What is compared?",
        ),
        (
            lambda a, b, lam, kappa: (a - b).abs().sum() + (lam.sqrt() - kappa.sqrt()).square().sum(),
            "Is the distance of the means squared?",
        ),
        (
            lambda a, b, lam, kappa: (a - b).square().sum() + (lam + kappa).sum() - (lam * kappa).sqrt().sum(),
            "The cross term has a factor. With equal eigenvalues nothing may remain of the second part.",
        ),
        (
            lambda a, b, lam, kappa: (lam.sqrt() - kappa.sqrt()).square().sum(),
            "Right for equal means. What do the means add?",
        ),
        (
            lambda a, b, lam, kappa: (a - b).square().sum() + (lam + kappa).sum() - 2 * (lam * kappa).sum().sqrt(),
            "The trace is a sum of roots, not the root of a sum.",
        ),
        (
            lambda a, b, lam, kappa: (a - b).square().mean() + (lam.sqrt() - kappa.sqrt()).square().mean(),
            "Norm and trace are sums over the axes, not means.",
        ),
    )


@exercise("ex-measuring-bias", "derive", stars=2, minutes=20, skill="statistics")
def bias(answer: Any) -> None:
    """Two thirds of the bias are the mean's, one third is the standard deviation's, and both shrink as one over the
    number of samples.
    """
    agree(
        answer,
        "parts(sigma, N)",
        lambda sigma, N: torch.stack([sigma**2 / N, sigma**2 / (2 * N)]),
        [(1.0, 100), (3.0, 50), (0.5, 1000)],
        "Two expectations are asked for, of the mean's part and of the standard deviation's, and their sum stands "
        "in the exercise.",
        (lambda sigma, N: torch.stack([sigma**2 / (2 * N), sigma**2 / N]), "The two are swapped."),
        (
            lambda sigma, N: torch.stack([sigma**2 / N, 2 * sigma**4 / N]),
            "The second is about the standard deviation, and this is the variance of the variance.",
        ),
        (
            lambda sigma, N: torch.stack([sigma / N**0.5, sigma / (2 * N) ** 0.5]),
            "These are standard errors. Their squares are asked for.",
        ),
        (
            lambda sigma, N: torch.stack([sigma**2 / N, sigma**2 / N]),
            "Look at the second: how does a root change, if what is under it does?",
        ),
        (
            lambda sigma, N: torch.stack([sigma**2 / N, 2 * sigma**2 / N]),
            "Look at the second: how does a root change, if what is under it does?",
        ),
        (lambda sigma, N: torch.stack([0 * sigma, 1.5 * sigma**2 / N]), "The mean is estimated, too."),
        (
            lambda sigma, N: torch.stack([sigma**2, sigma**2 / 2]) / N**2,
            "How does the variance of a mean depend on the number of samples?",
        ),
    )


@exercise("ex-measuring-kid", "code", stars=2, minutes=25, skill="statistics")
def kid(answer: Any) -> None:
    """A sample is more like itself than like another of its kind, and counting it beside itself looks like a
    distance.
    """
    agree(
        answer,
        "bias(same, other, n)",
        lambda same, other, n: 2 * (same - other) / n,
        [(3.0, 1.2, 50), (2.0, 1.0, 10), (5.0, 4.0, 4)],
        "Of the n^2 terms within a set, how many have i = j? What do they contribute more than the others?",
        (lambda same, other, n: (same - other) / n, "There are two sets."),
        (
            lambda same, other, n: 2 * same / n,
            "These terms take the place of others, since the sum is divided by n^2 now.",
        ),
        (lambda same, other, n: 2 * (same - other) / n**2, "There are more terms with i = j than one."),
        (lambda same, other, n: 2 * (other - same) / n, "The sign is wrong: which of the two is larger?"),
        (
            lambda same, other, n: 2 * same / n + 2 * other * (n - 1) / n,
            "This is the mean of two sets; the cross term goes off it.",
        ),
        (lambda same, other, n: 2 * (same - other), "Most terms are as before."),
        (
            lambda same, other, n: 2 * (same - other) / (n - 1),
            "Nearly: the sum is divided by n^2 and not by n (n - 1).",
        ),
    )


@exercise("ex-measuring-best", "break", stars=1, minutes=15, skill="statistics")
def best(answer: Any) -> None:
    """The least of several equal things looks like progress, in most cases: the number of tries belongs to the
    protocol.
    """
    agree(
        answer,
        "wins(k)",
        lambda k: torch.tensor(k / (k + 1)),
        [(10,), (1,), (3,)],
        "All values have the same distribution. How likely is it that a certain one of them is the least?",
        (lambda k: torch.tensor(1 / (k + 1)), "This is how often the competitor wins."),
        (
            lambda k: torch.tensor(1 - 0.5**k),
            "Each duel is even, but they are not independent: the competitor's run is the same in all.",
        ),
        (lambda k: torch.tensor((k + 1) / (k + 2)), "That is one run too many. How many are there in all?"),
        (lambda k: torch.tensor(k / (k + 1) / 2), "Half of that: is a win counted in one of two cases only?"),
        (lambda k: torch.tensor(1 - 1 / k), "How many runs are there in all?"),
        (
            lambda k: torch.tensor(0.5),
            "The single runs are equally good, but the best of k is chosen after they were measured.",
        ),
    )
