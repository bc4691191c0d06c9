"""Chapter 7, the ODE inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, numbers


@exercise("ex-ode-jacobian", "derive", stars=3, minutes=30, skill="ode")
def jacobian(answer: Any) -> None:
    """How far a change of x-bar moves the expected data is how uncertain the data is there, in units of the noise's
    variance.
    """

    def truth(y: Tensor, points: Tensor, nu: Tensor, power: int = 2, centred: bool = True) -> Tensor:
        w = (-((y - points) ** 2).sum(1) / (2 * nu**2)).softmax(0)
        away = points - w @ points if centred else points
        return (w[:, None] * away).T @ away / nu**power

    g = torch.Generator().manual_seed(0)
    points = torch.randn(30, 2, generator=g, dtype=torch.float64)
    y = torch.tensor([0.3, -0.2], dtype=torch.float64)
    agree(
        answer,
        "jacobian(y, points, nu)",
        truth,
        [(y, points, 0.7), (-y, points[:5], 0.4), (2 * y, points, 1.5)],
        "Compare with differences: the expected data at y + h minus that at y - h, over 2h.",
        (lambda *a: truth(*a, power=0), "This is the covariance. What divides it?"),
        (lambda *a: truth(*a, power=1), "The covariance is right, and the power of nu is not."),
        (
            lambda *a: 2 * truth(*a),
            "The exponent of a weight has 2 nu^2 below; what becomes of the 2 in its derivative?",
        ),
        (
            lambda *a: -truth(*a),
            "The sign is wrong: where x-bar is further to the right, so is the data that is expected.",
        ),
        (
            lambda *a: truth(*a, power=4),
            "The covariance is right, and the power of nu is not. Only the weights depend on x-bar.",
        ),
        (
            lambda *a: truth(*a, centred=False),
            "The second moment is taken about 0. Where does the weights' sum of 1 come in?",
        ),
        (
            lambda y, p, nu: p.T.cov(correction=0) / nu**2,
            "The points have equal weights here. How likely is each of them, given y?",
        ),
    )


@exercise("ex-ode-lost-variance", "derive", stars=2, minutes=25, skill="ode")
def lost_variance(answer: Any) -> None:
    """Each step is a multiplication, so the variance that few steps lose is a product, and it is not small."""

    def truth(v: Tensor, nu: Tensor, power: int = 2, start: bool = True) -> Tensor:
        factor = (1 + (nu[:-1] - nu[1:]) * nu[1:] / (v + nu[1:] ** 2)).prod()
        return factor**power * ((1 + nu[-1] ** 2) if start else 1)

    ten = torch.tensor([0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 9.0, 20.0, 60.0, 158.0], dtype=torch.float64)
    agree(
        answer,
        "variance(v, nu)",
        truth,
        [(1.0, ten), (0.05, ten), (0.3, ten[:6]), (2.0, ten[[0, 10]])],
        "With one step, nu = (0, nu_T), the factor is v / (v + nu_T^2). Which variance does x-bar have at the start?",
        (
            lambda v, nu: truth(v, nu, start=False),
            "The factor is there; what does it multiply? x_T has variance 1, x-bar does not.",
        ),
        (lambda v, nu: truth(v, nu, power=1), "By which factor does a number in front of x-bar change the variance?"),
        (
            lambda v, nu: truth(v, nu, power=2, start=False) * nu[-1] ** 2,
            "Nearly. What exactly is 1/abar_T in terms of nu_T?",
        ),
        (lambda v, nu: v - truth(v, nu), "This is what is lost. The variance of the samples is asked for."),
        (lambda v, nu: truth(v, nu.flip(0)), "The levels are in the other order: nu rises, from 0 for the data."),
        (lambda v, nu: truth(v, nu).sqrt(), "This is the standard deviation. The variance is asked for."),
        (lambda v, nu: truth(v**2, nu), "v is the variance of the data, not its standard deviation."),
        (lambda v, nu: truth(v, nu) / v, "This is the share that is left. The variance itself is asked for."),
    )


@exercise("ex-ode-record", "code", stars=3, minutes=40, skill="samplers")
def record(answer: Any) -> None:
    """The noise that leads from one state to another can be solved for, so DDPM too has a latent: all of its noises."""
    g = torch.Generator().manual_seed(0)
    a, b, e = torch.randn(3, 4, 2, generator=g, dtype=torch.float64)

    def x0_hat(x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return (x_t - (1 - t).sqrt() * eps) / t.sqrt()

    def truth(x_t: Tensor, x_s: Tensor, eps: Tensor, t: Tensor, s: Tensor, sigma: Tensor, room: float = 1) -> Tensor:
        mean = s.sqrt() * x0_hat(x_t, eps, t) + (1 - s - (room * sigma) ** 2).sqrt() * eps
        return (x_s - mean) / sigma

    agree(
        answer,
        "noise_of(x_t, x_s, eps, abar_t, abar_s, sigma)",
        truth,
        [(a, b, e, 0.2, 0.5, 0.3), (b, a, e, 0.6, 0.65, 0.3), (e, a, b, 0.01, 0.02, 0.9)],
        "Write down the step from x_t to x_s with z in it, and solve for z. Put your z into ddim_step: it has to "
        "arrive at x_s.",
        (lambda *x: truth(*x) * x[-1], "This is sigma times z."),
        (lambda *x: -truth(*x) * x[-1], "This is sigma times z, with the wrong sign."),
        (lambda *x: -truth(*x), "The size is right and the sign is not: the noise leads from the mean to x_s."),
        (
            lambda *x: truth(*x) / x[-1],
            "It is divided by sigma twice, or by its square. Sigma is a standard deviation.",
        ),
        (
            lambda a, b, e, t, s, sigma: (b - s.sqrt() * x0_hat(a, e, t) - (1 - s - sigma).sqrt() * e) / sigma,
            "What is subtracted under the root: sigma or its square?",
        ),
        (lambda a, b, e, t, s, sigma: truth(b, a, e, t, s, sigma), "Are x_t and x_s in each other's place?"),
        (
            lambda a, b, e, t, s, sigma: truth(a, b, e, s, t, sigma.clamp(max=0.1)) * sigma.clamp(max=0.1) / sigma,
            "Are t and s swapped?",
        ),
        (
            lambda *x: truth(*x, room=0),
            "This z belongs to the mean of DDIM. Where there is fresh noise, less of the found noise is used.",
        ),
    )


@exercise("ex-ode-equal-steps", "break", stars=2, minutes=25, skill="ode")
def equal_steps(answer: Any) -> None:
    """The ODE's own clock is a bad ruler for steps: what matters is where the paths bend, and that is near the data."""
    equal, seventh, trailing = numbers(answer, "equal", "seventh", "trailing")
    said = f"equal = {equal:.3g}, seventh = {seventh:.3g}, trailing = {trailing:.3g}: "
    if equal < 0.05 and seventh > 0.4:
        raise Wrong(said + "the first two are swapped: is it nu that rises in equal steps, or a root of it?")
    if min(equal, seventh, trailing) < 0:
        raise Wrong(said + "errors are distances, and not negative.")
    if equal < 0.05 and seventh < 0.05 and trailing > 0.4:
        raise Wrong(said + "the first and the last are swapped: equal steps of nu come first.")
    if not 0.015 < trailing < 0.033:  # 0.022 to 0.025 in four measurements
        raise Wrong(
            said + "look at the last. Median distance between 50 trailing levels and 1000 levels, both of the linear "
            "schedule."
        )
    if not 0.5 < equal < 1.1:  # 0.73 to 0.85
        raise Wrong(
            said + "look at the first. Does the exact predictor know the new schedule, and do the steps of nu have one "
            "length?"
        )
    if not 0.015 < seventh < 0.033:  # 0.022 to 0.024
        raise Wrong(
            said + "look at the second. Equal steps of nu^(1/7): raise to the power 7 after dividing, and then to abar."
        )
