"""Chapter 20, one step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise


@exercise("ex-one-step-chord", "derive", stars=1, minutes=15, skill="ode")
def chord(answer: Any) -> None:
    """On Gaussian data the chord is known in closed form: what a student of any jump has to say."""

    def truth(x: Tensor, nu_t: Tensor, nu_s: Tensor, v: Tensor) -> Tensor:
        return x * (1 - ((v + nu_s**2) / (v + nu_t**2)).sqrt()) / (nu_t - nu_s)

    x = torch.tensor([-1.5, 0.2, 2.0], dtype=torch.float64)
    agree(
        answer,
        "chord(x, nu_t, nu_s, v)",
        truth,
        [(x, 2.0, 0.5, 0.3), (x, 10.0, 0.0, 1.0), (-x, 0.7, 0.6, 2.0), (x, 3.0, 1.0, 0.05)],
        "Along a path the rescaled state keeps its rank, so it grows as the standard deviation does. Which is it?",
        (lambda x, n, m, v: x * n / (v + n**2), "This is the tangent at nu_t, what the teacher says."),
        (lambda x, n, m, v: -truth(x, n, m, v), "The sign: a step down goes from nu_t to nu_s, which is smaller."),
        (
            lambda x, n, m, v: x * (1 - (v + m**2) / (v + n**2)) / (n - m),
            "The variance grows from v + nu_s^2 to v + nu_t^2. By which factor does a state grow?",
        ),
        (
            lambda x, n, m, v: truth(x, n, m, v) * (n - m),
            "This is how far the state moves. A slope is divided by the time.",
        ),
        (
            lambda x, n, m, v: x * (((v + n**2) / (v + m**2)).sqrt() - 1) / (n - m),
            "This is the chord of the path that is at x at nu_s. Here x is the state at nu_t.",
        ),
        (lambda x, n, m, v: x * (1 - m / n) / (n - m), "This forgets the data's own variance, v."),
        (lambda x, n, m, v: truth(x, n, m, v**2), "v is the variance of the data, not its standard deviation."),
    )


@exercise("ex-one-step-alone", "derive", stars=2, minutes=30, skill="losses")
def alone(answer: Any) -> None:
    """Where the answer is a straight line, training without a teacher learns DDIM in as many steps: the gap is the
    curvature's.
    """

    def truth(v: Tensor, nu: Tensor) -> Tensor:
        return ((v + nu[:-1] * nu[1:]) / (v + nu[1:] ** 2)).prod()

    def levels(*values: float) -> Tensor:
        return torch.tensor([0.0, *values], dtype=torch.float64)

    agree(
        answer,
        "factor(v, nu)",
        truth,
        [(0.5, levels(2.0)), (0.3, levels(0.5, 1.0, 3.0)), (1.0, levels(1.0, 10.0)), (2.0, levels(0.1, 0.4, 1.5, 6.0))],
        "The answer at a level is a multiple of the state. By which factor is the expected state one level down other "
        "than the state?",
        (
            lambda v, nu: (v / (v + nu[-1] ** 2)).sqrt(),
            "This is the true map. What does the student learn with so few levels?",
        ),
        (
            lambda v, nu: v / (v + nu[-1] ** 2),
            "This is the expected data at the top level (or factors that give it): right for one step. And more?",
        ),
        (lambda v, nu: 1 / truth(v, nu), "Upside down: from noise to data the state shrinks."),
        (lambda v, nu: truth(v**2, nu), "v is the variance of the data, not its standard deviation."),
        (lambda v, nu: (v + nu[-2] * nu[-1]) / (v + nu[-1] ** 2), "This is the first step only. What follows it?"),
    )


@exercise("ex-one-step-renewed", "derive", stars=2, minutes=20, skill="variances")
def renewed(answer: Any) -> None:
    """A second call with fresh noise keeps of the first picture what the level lets through, even if all is exact."""

    def truth(v: Tensor, abar: Tensor) -> Tensor:
        return (v * abar / (v * abar + 1 - abar)).sqrt()

    agree(
        answer,
        "correlation(v, abar)",
        truth,
        [(0.3, 0.5), (1.0, 0.1), (2.0, 0.9), (0.05, 0.97)],
        "The second answer is a fixed multiple of the state that it is asked about. So which correlation is it?",
        (lambda v, a: truth(v, a) ** 2, "This is the share of the variance that is kept, the square of a correlation."),
        (lambda v, a: a.sqrt() + 0 * v, "Right for v = 1. Which variance has the state in general?"),
        (lambda v, a: a + 0 * v, "This is how much of the variance is signal if v = 1. Take the root, and mind v."),
        (lambda v, a: ((1 - a) / (v * a + 1 - a)).sqrt(), "This is the share of the noise."),
        (lambda v, a: v * a.sqrt() / (v * a + 1 - a).sqrt(), "A correlation is divided by both standard deviations."),
        (lambda v, a: truth(v**2, a), "v is the variance of the data, not its standard deviation."),
    )
