"""Chapter 16, time without steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree, expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, numbers


@exercise("ex-continuous-velocity", "derive", stars=1, minutes=15, skill="ode")
def velocity(answer: Any) -> None:
    """On Gaussian data the velocity is a multiple of the state, and it changes sign where data and noise balance."""

    def truth(y: Tensor, r: Tensor, v: Tensor) -> Tensor:
        return (r - (1 - r) * v) / ((1 - r) ** 2 * v + r**2) * y

    y = torch.tensor([-1.5, 0.2, 2.0], dtype=torch.float64)
    agree(
        answer,
        "velocity(y, r, v)",
        truth,
        [(y, 0.3, 0.05), (y, 0.9, 1.0), (-y, 0.5, 0.4), (y, 0.1, 2.0)],
        "For jointly Gaussian numbers with mean 0 the best guess is the state times a covariance over a variance. "
        "Which covariance, which variance?",
        (lambda y, r, v: -truth(y, r, v), "This points from noise to data. Here r rises from data to noise."),
        (lambda y, r, v: truth(y, r, v**2), "v is the variance of the data, not its standard deviation."),
        (lambda y, r, v: truth(y, r, v**0.5), "v is the variance of the data; no root is needed."),
        (lambda y, r, v: truth(y, 1 - r, v), "At r = 0 stands the data, at r = 1 the noise. Are they swapped?"),
        (lambda y, r, v: r / ((1 - r) ** 2 * v + r**2) * y, "This is the expected noise. The velocity takes x_0 off."),
        (
            lambda y, r, v: (1 - r) * v / ((1 - r) ** 2 * v + r**2) * y,
            "This is the expected data. The velocity is the noise without it.",
        ),
        (
            lambda y, r, v: (r - (1 - r) * v) * y,
            "This is the covariance times y. What is it divided by?",
        ),
        (
            lambda y, r, v: (r + (1 - r) * v) / ((1 - r) ** 2 * v + r**2) * y,
            "The data comes with the wrong sign: the velocity is noise minus data.",
        ),
    )


@exercise("ex-continuous-angle", "code", stars=2, minutes=20, skill="samplers")
def angle(answer: Any) -> None:
    """In the angle a DDIM step is a turn, and Euler's step its tangent: that the two agree depends on the units."""

    def truth(x: Tensor, v: Tensor, h: Tensor) -> Tensor:
        return x * torch.cos(h) - v * torch.sin(h)

    x, v = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    agree(
        answer,
        "step(x, v, h)",
        truth,
        [(x, v, 0.4), (v, x, 1.1), (x, -v, 0.05)],
        "Write cos(phi - h) and sin(phi - h) out, and collect x = cos(phi) x_0 + sin(phi) eps and v.",
        (lambda x, v, h: x - h * v, "This is Euler's step. Where does DDIM put the predicted data and noise?"),
        (lambda x, v, h: x + h * v, "This is Euler's step, upwards. Where does DDIM put the predicted data and noise?"),
        (lambda x, v, h: truth(x, -v, h), "This turns upwards, to phi + h."),
        (
            lambda x, v, h: x * torch.sin(h) - v * torch.cos(h),
            "Sine and cosine are in each other's place: with h = 0 nothing moves.",
        ),
        (
            lambda x, v, h: x - v * torch.sin(h),
            "The state itself is turned, too. What is the step for v = 0, which is x_0 : eps = cos : sin?",
        ),
        (lambda x, v, h: x - v * torch.tan(h), "Right up to a factor that depends on h: is the length kept?"),
    )


@exercise("ex-continuous-spread", "break", stars=2, minutes=30, skill="variances")
def spread(answer: Any) -> None:
    """Noise that no drift takes back is not harmless: the variance grows with the logarithm of the way."""

    def truth(v: Tensor, nu_T: Tensor) -> Tensor:
        return v * (1 + torch.log((v + nu_T**2) / v))

    agree(
        answer,
        "variance(v, nu_T)",
        truth,
        [(0.05, 158.0), (1.0, 10.0), (0.5, 2.0), (2.0, 40.0)],
        "Write down how the variance changes in a small step: a factor from the drift, and 2 nu h from the noise. "
        "Then take v + nu^2 for the time.",
        (lambda v, n: v + 0 * n, "This is what the right drift gives. Here half of it is missing."),
        (lambda v, n: v * (1 - torch.log((v + n**2) / v)), "The noise makes the variance larger, not smaller."),
        (lambda v, n: v * torch.log((v + n**2) / v), "How large is the variance at the start, in units of v + nu^2?"),
        (lambda v, n: truth(v, n) / v, "This is how many times it is too large. The variance itself is asked for."),
        (lambda v, n: truth(v, n).sqrt(), "This is the standard deviation. The variance is asked for."),
        (lambda v, n: v * (1 + torch.log(n**2 / v)), "Nearly. What is v + nu^2 at the start?"),
        (lambda v, n: v + n**2, "The drift brings the start's variance down to v. What does the noise add?"),
        (
            lambda v, n: v * (1 + 0.5 * torch.log((v + n**2) / v)),
            "The noise of a step has variance 2 nu h. Is the 2 there?",
        ),
    )


@exercise("ex-continuous-memory", "derive", stars=3, minutes=40, skill="ode")
def memory(answer: Any) -> None:
    """All eta agree on each moment, and only eta = 1 also on how moments hang together: it is the time reversal."""

    def truth(a: Tensor, b: Tensor, v: Tensor, eta: Tensor) -> Tensor:
        return ((v + a**2) / (v + b**2)) ** (eta**2 / 2)

    agree(
        answer,
        "correlation(a, b, v, eta)",
        truth,
        [(0.2, 1.0, 0.5, 1.0), (0.1, 3.0, 0.05, 0.5), (1.0, 2.0, 1.0, 0.3), (0.3, 0.5, 0.2, 1.4)],
        "Given the state at b, how does the mean move? It is a straight-line differential equation. Then divide by the "
        "standard deviations at both ends.",
        (
            lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** ((1 + eta**2) / 2),
            "This is the factor of the mean. A correlation divides by both standard deviations.",
        ),
        (
            lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** (eta**2),
            "This is the share of the variance that is explained, the square of a correlation.",
        ),
        (lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** 0.5 + 0 * eta, "This is the forward process's. And eta?"),
        (lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** (eta / 2), "The noise enters with the power 2 of eta."),
        (lambda a, b, v, eta: truth(b, a, v, eta), "It is larger than 1: are a and b swapped?"),
        (lambda a, b, v, eta: (a / b) ** (eta**2), "This forgets the data's own variance, v."),
        (lambda a, b, v, eta: truth(a, b, v, eta) * (v + b**2), "This is not yet divided by the standard deviations."),
    )


@exercise("ex-continuous-reflow", "measure", stars=2, minutes=25, skill="ode")
def reflow(answer: Any) -> None:
    """Straight lines between independent pairs say nothing of the flow's own paths; a second round straightens them,
    and then one step is enough.
    """
    first, second = numbers(answer, "first", "second")
    variance = 0.3 * 1.02 + 0.7 * 0.41 - 0.12**2
    if min(first, second) < 0:
        raise Wrong(f"first = {first:.3g}, second = {second:.3g}: a mean squared distance is not negative.")
    if abs(first) < 1e-3 and abs(second / variance - 1) < 0.03:
        raise Wrong("The two are swapped: independent pairs come first.")
    expect(
        first,
        variance,
        "At r = 1 the state holds no data. Which x_0 is expected there, and how far is Q from it?",
        (variance**0.5, "The distance is right, and its mean square is asked for."),
        (2 * variance, "This is the distance of two unrelated draws. All starts land on one point here."),
        (1 + 0.3 * 1.02 + 0.7 * 0.41, "This is the mean square of the velocity, not of the miss."),
        rtol=0.02,
        what="first",
    )
    if second > 1e-3:
        raise Wrong(f"second = {second:.3g}: that is not it. With these pairs, which x_0 belongs to a noise?")
