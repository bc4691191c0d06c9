"""Chapter 18, there and back, exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise


@exercise("ex-inversion-contraction", "derive", stars=2, minutes=20, skill="ode")
def contraction(answer: Any) -> None:
    """On Gaussian data the fixed point is found at every step size; the guesses all come from one side."""

    def truth(v: Tensor, nu_t: Tensor, nu_s: Tensor) -> Tensor:
        return (nu_t - nu_s) * nu_t / (v + nu_t**2)

    agree(
        answer,
        "factor(v, nu_t, nu_s)",
        truth,
        [(0.3, 1.0, 0.4), (1.0, 2.0, 0.1), (0.05, 0.2, 0.1), (0.5, 8.0, 2.0)],
        "Write the noise of N(0, v) as a multiple of the rescaled state. What does one iteration multiply a gap by?",
        (lambda *x: -truth(*x), "The size is right; the gap keeps its side, so no minus sign."),
        (lambda v, a, b: (a - b) / a, "This is the factor without the data's variance, its limit for v = 0."),
        (lambda v, a, b: (a - b) * b / (v + b**2), "The prediction is made at the level that is looked for, not at s."),
        (lambda v, a, b: (a - b) * a / (v**2 + a**2), "v is the variance of the data, not its standard deviation."),
        (lambda v, a, b: a / (v + a**2), "This is how the noise changes with the state. And the length of the step?"),
        (lambda v, a, b: 1 - (a - b) * a / (v + a**2), "This is the factor of the step itself, not of the iteration."),
    )


@exercise("ex-inversion-gap", "derive", stars=1, minutes=15, skill="samplers")
def gap(answer: Any) -> None:
    """Mixing shrinks the gap of EDICT's pair on the way down; on the way up it is blown up as much."""

    def truth(p: Tensor, S: Tensor) -> Tensor:
        return p ** (-2 * S)

    agree(
        answer,
        "growth(p, S)",
        truth,
        [(0.93, 10.0), (0.9, 3.0), (0.6, 2.0), (0.99, 50.0)],
        "Put x = y + d into the two lines of mixing and follow d. How often is it done?",
        (lambda p, S: p ** (2 * S), "This is the way down. Upwards the lines are undone."),
        (lambda p, S: p ** (-S), "There are two lines of mixing a step. What does the second do to the gap?"),
        (lambda p, S: p**-2 + 0 * S, "This is one step."),
        (lambda p, S: (2 * p - 1) ** (-S), "The second line uses the x that the first line has mixed already."),
        (lambda p, S: p**S, "This is one line of mixing, and on the way down."),
    )


@exercise("ex-inversion-bits", "code", stars=2, minutes=25, skill="samplers")
def bits(answer: Any) -> None:
    """What is added is a multiple of the grid, and can be taken off again: not one bit is lost, in any precision."""

    def truth(before: Tensor, down: Tensor, up: Tensor, grid: Tensor) -> Tensor:
        return before + grid * ((down - up) / grid).round()

    grid = 2.0**-10
    before, down, up = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = (before / grid).round() * grid
    agree(
        answer,
        "step(before, down, up, grid)",
        truth,
        [(before, down, up, grid), (before.flip(0), up, down, grid / 2), (before, -up, down, grid)],
        "The inverse has to take off the same number. It knows the middle state, and so down and up, but not yet what "
        "they were added to.",
        (lambda b, d, u, g: b + d - u, "This is the recurrence. On which grid does the sum lie?"),
        (lambda b, d, u, g: b - g * ((d - u) / g).round(), "This is the way up."),
        (lambda b, d, u, g: b + ((d - u) / g).round(), "These are steps of the grid; how long is one?"),
        (lambda b, d, u, g: b + g * ((d - u) / g).floor(), "The grid is right; take the nearest multiple."),
        (lambda b, d, u, g: g * ((d - u) / g).round(), "This is the change. What is it added to?"),
        rtol=1e-9,
    )
