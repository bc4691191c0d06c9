"""Chapter 17, fewer calls."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise


@exercise("ex-calls-middle", "derive", stars=2, minutes=20, skill="ode")
def middle(answer: Any) -> None:
    """The middle is right to the order that counts; for long steps the end of the step weighs more."""

    def truth(h: Tensor) -> Tensor:
        return h / (1 - torch.exp(-h)) - 1

    agree(
        answer,
        "place(h)",
        truth,
        [(0.1,), (1.0,), (3.0,), (0.5,)],
        "It is a mean of u with the weight e^u: two integrals, one by parts. What is divided by what?",
        (lambda h: h / 2, "This is the middle, 2M's choice. What does the weight e^u change?"),
        (lambda h: truth(h) / h, "This is the place as a share of the step. u itself is asked for."),
        (lambda h: h - truth(h), "This counts from the end of the step. u is 0 at its beginning."),
        (lambda h: h * torch.exp(h) - torch.exp(h) + 1, "This is the integral of u e^u. A mean divides by a weight."),
        (lambda h: h / 2 + h**2 / 12, "These are the first two terms of it. The whole is asked for."),
    )


@exercise("ex-calls-gaussian", "derive", stars=2, minutes=20, skill="variances")
def gaussian(answer: Any) -> None:
    """With the best variance a step of any length is the true one for Gaussian data: only other data ask for short
    steps.
    """

    def variance(v: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        V_t, V_s = (a * v + 1 - a for a in (abar_t, abar_s))
        return V_s - abar_t / abar_s * V_s**2 / V_t

    def posterior(v: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        return (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)

    agree(
        answer,
        "sigma(v, abar_t, abar_s)",
        lambda v, t, s: variance(v, t, s).sqrt(),
        [(0.3, 0.1, 0.6), (1.0, 0.4, 0.5), (2.0, 0.01, 0.9), (0.05, 0.3, 0.98)],
        "How is x_t made of x_s? That gives their covariance, and with it what x_t leaves open of x_s.",
        (variance, "This is the variance. Its root is asked for."),
        (lambda v, t, s: posterior(v, t, s).sqrt() + 0 * v, "This is eta = 1's. It is right for a single point."),
        (lambda v, t, s: (1 - t / s).sqrt() + 0 * v, "This is DDPM's larger noise. It is right for v = 1."),
        (
            lambda v, t, s: (variance(v, t, s) - posterior(v, t, s)).clamp(min=0).sqrt(),
            "This is what the step loses. Its own noise comes on top.",
        ),
        (
            lambda v, t, s: (v * (1 - t) / (t * v + 1 - t)).sqrt() + 0 * s,
            "This is how uncertain x_0 is, given x_t. How much of that arrives at level s?",
        ),
    )


@exercise("ex-calls-cheapest", "code", stars=2, minutes=25, skill="levels")
def cheapest(answer: Any) -> None:
    """The best of all choices, in a time that grows with the square of the places and not with the number of ways."""

    def total(cost: Tensor, way: tuple[int, ...]) -> float:
        return sum(cost[i, j].item() for i, j in pairwise(way))

    def all_ways(cost: Tensor, S: int) -> list[tuple[int, ...]]:
        last = len(cost) - 1
        return [(0, *inner, last) for inner in combinations(range(1, last), S - 1)]

    def best(cost: Tensor, S: int) -> Tensor:
        return torch.tensor(min(all_ways(cost, S), key=lambda way: total(cost, way)), dtype=torch.float64)

    def worst(cost: Tensor, S: int) -> Tensor:
        return torch.tensor(max(all_ways(cost, S), key=lambda way: total(cost, way)), dtype=torch.float64)

    def greedy(cost: Tensor, S: int) -> Tensor:
        way = [len(cost) - 1]
        for left in range(S - 1, -1, -1):
            choices = range(left, way[-1]) if left else [0]
            way.append(min(choices, key=lambda i: cost[i, way[-1]].item()))
        return torch.tensor(way[::-1], dtype=torch.float64)

    cost = torch.rand(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    agree(
        answer,
        "way(cost, S)",
        best,
        [(cost, 3), (cost.T.contiguous(), 2), (cost.square(), 4), (cost, 6)],
        "Each step is from a column to a row, and every place down from the last is a place to start from.",
        (lambda cost, S: best(cost, S).flip(0), "Right, but falling. Return it rising, from 0."),
        (worst, "This is the dearest way."),
        (greedy, "This takes the cheapest step each time. What does it cost later?"),
        (lambda cost, S: best(cost.T, S), "cost[i, j] is a step from j to i, so from a column to a row."),
    )
