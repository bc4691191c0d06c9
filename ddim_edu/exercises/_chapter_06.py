"""Chapter 6, fewer steps."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch

from ddim_edu.exercises.comparing import agree, expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Unfit, Wrong, number, numbers, tensor
from ddim_edu.forward import unmix_x0


@exercise("ex-fewer-one", "derive", stars=1, minutes=10, skill="samplers")
def one(answer: Any) -> None:
    """A single step returns the predicted data, whatever eta is; and from pure noise that is the average of all
    data.
    """
    g = torch.Generator().manual_seed(0)
    x_T, eps = torch.randn(2, 3, 2, generator=g, dtype=torch.float64)
    agree(
        answer,
        "one_step(x_T, eps, abar_T)",
        unmix_x0,
        [(x_T, eps, 4e-5), (x_T, eps, 0.3), (eps, x_T, 0.9)],
        "Write down the step for s = 0: what are abar_s and sigma there?",
        (lambda x, e, a: x - (1 - a).sqrt() * e, "The noise is gone, but the data is still shrunk."),
        (lambda x, e, a: (x - (1 - a) * e) / a.sqrt(), "Is 1 - abar the factor of the noise, or its square?"),
        (lambda x, e, a: (x - (1 - a).sqrt() * e) / a, "By which factor was the data shrunk: abar, or its root?"),
        (lambda x, e, a: (x + (1 - a).sqrt() * e) / a.sqrt(), "The noise has to be taken away."),
        (
            lambda x, e, a: (x - a.sqrt() * e) / (1 - a).sqrt(),
            "The factors of data and noise are in each other's place.",
        ),
        (lambda x, e, a: (e - (1 - a).sqrt() * x) / a.sqrt(), "State and predicted noise are in each other's place."),
    )


@exercise("ex-fewer-official", "code", stars=1, minutes=10, skill="levels")
def official(answer: Any) -> None:
    """Only divisors of 1000 get the number of steps that was asked for; all others get more."""
    good = [S for S in range(1, 1001) if 1000 % S == 0]
    if isinstance(answer, Set):  # a dict's keys, too
        answer = list(answer)
    values = tensor(answer)
    if values.ndim == 0:
        raise Unfit(
            f"The list of all such S is asked for, and the answer is one number, {number(answer):g}: their count?"
        )
    given = sorted(tensor(values, (None,)).tolist())
    if given and given[0] < 0:
        raise Wrong(f"{given[0]:g} is in the list. S runs from 1 to 1000.")
    if 0 in given:
        raise Wrong("0 is in the list. S runs from 1 to 1000.")
    missing, extra = [S for S in good if S not in given], [S for S in given if S not in good]
    if missing == [1000] and not extra:
        raise Wrong("All but one are there. Does your search include its upper end?")
    if len(given) > 500 and not missing:
        raise Wrong(
            f"S = {extra[0]:g} is in the list. Count the elements once more: is their number exactly S there, or "
            "at least S?"
        )
    if extra:
        raise Wrong(
            f"S = {extra[0]:g} is in the list, but with it the range does not have exactly {extra[0]:g} elements."
        )
    if missing:
        raise Wrong("What is in the list is right, but it is not all of them. Try every S from 1 to 1000.")
    if len(given) != len(good):
        raise Wrong("Some S is in the list more than once.")


@exercise("ex-fewer-logsnr", "measure", stars=3, minutes=30, skill="ode")
def logsnr(answer: Any) -> None:
    """Equal steps in log SNR lose here: they visit many levels whose noise is narrower than the peaks, where nothing
    bends.
    """
    even, quadratic = numbers(answer, "even", "quadratic")
    said = f"even = {even:.3g}, quadratic = {quadratic:.3g}: "
    if not (even > 0 and quadratic > 0):
        raise Wrong(said + "a mean distance is positive. Is there an absolute value, taken before the mean?")
    if (
        0 < even < 0.0546 * 0.75
        and abs(quadratic / even - 0.523) < 0.1
        or even > 0.0546 * 1.25
        and abs(quadratic / even - 0.523) < 0.02
    ):
        raise Wrong(
            said + "their ratio is right, and both are off by one factor. The mean over the 400 points is asked for."
        )
    if abs(even / 0.0285 - 1) < 0.25 and abs(quadratic / 0.0546 - 1) < 0.25:
        raise Wrong(said + "each is the other's. Hand in that of equal steps in log SNR first.")
    if not abs(quadratic / 0.0285 - 1) < 0.25:  # over starts at other quantiles it varies by some percent
        raise Wrong(
            said + 'look at the second. make_tau(1000, 20, "quadratic"), from the same starts as the 1000 steps.'
        )
    if abs(even / quadratic - 1) < 0.1:
        raise Wrong(said + "the two are nearly the same. Is the first run on levels of its own?")
    if not abs(even / 0.0546 - 1) < 0.25:
        raise Wrong(
            said
            + "look at the first. Are its steps equal in the logarithm, from level 1 to 1000, and does it end at 0?"
        )


@exercise("ex-fewer-index", "break", stars=1, minutes=15, skill="samplers")
def index(answer: Any) -> None:
    """A predictor that is told too low a level leaves the noise in, and a test with S = T would not have seen it."""
    expect(
        number(answer),
        1.37,
        "Is the predictor called with the place of the level in tau, 1 to 50, while the step itself uses the level?",
        (
            1.432,
            "is the index one too low? The lowest level of tau that the predictor is asked at, tau_1, has index 1.",
        ),
        (
            1.309,
            "is the index one too high? The lowest level of tau that the predictor is asked at, tau_1, has index 1.",
        ),
        (1.137, "this is what comes out with fresh noise, eta = 1. Take the sampler without, eta = 0."),
        (1.27, "this is what comes out with some fresh noise. Take the sampler without, eta = 0."),
        (0.76, "this is the data's own. Is the predictor called with the index?"),
        (
            0.91,
            "here the whole step uses the index. Only the predictor is told the index; the step itself uses the level.",
        ),
        (1.0, "these are not samples yet: that is the spread of x_T. Or are the levels quadratic?"),
        (1.88, "this is the variance. A standard deviation is asked for."),
        rtol=0.016,  # five draws of 2,000 starts gave 1.365 to 1.379
    )
