"""Chapter 4, the non-Markovian family."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Unfit, Wrong, numbers, show, tensors
from ddim_edu.forward import unmix_eps


@exercise("ex-family-distance", "derive", stars=2, minutes=20, skill="variances")
def distance(answer: Any) -> None:
    """Correlations multiply along the walk, and with a constant share of fresh noise the schedule does not matter."""
    agree(
        answer,
        "correlation(fraction, n)",
        lambda f, n: (1 - f**2) ** (n / 2),
        [(0.5, 17), (0.5, 1), (0.2, 4), (0.9, 3), (0.0, 5)],
        "Begin with one step: which part of the variance of the noise at level s is the found noise?",
        (
            lambda f, n: (1 - f**2) ** n,
            "Is the correlation of neighbours the share of the variance that is kept, or its root?",
        ),
        (lambda f, n: (1 - f) ** n, "Standard deviations of fresh and found noise do not add up to 1. What does?"),
        (lambda f, n: f**n, "This follows the fresh noise. The correlation comes from the noise that is kept."),
        (lambda f, n: (1 - f**2) ** 0.5 * n**0, "This is one step. How do the correlations of n steps combine?"),
        (lambda f, n: (1 - f ** (2 * n)) ** 0.5, "One step is right. How do the correlations of n steps combine?"),
        (
            lambda f, n: (1 - f**2) ** ((n - 1) / 2),
            "That is one step too few: over one step the correlation is below 1 already.",
        ),
        (lambda f, n: (1 - f**2) ** ((n + 1) / 2), "That is one step too many: over no step the correlation is 1."),
        (lambda f, n: 1 - (1 - f**2) ** (n / 2), "This is what is lost. The correlation is what is left."),
    )


@exercise("ex-family-minus", "derive", stars=2, minutes=15, skill="posteriors")
def minus(answer: Any) -> None:
    """The other root has the same marginals: training cannot tell this family from the chapter's either."""

    def other(x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor, sigma: Tensor, sign: float = -1) -> Tensor:
        return s.sqrt() * x_0 + sign * (1 - s - sigma**2).sqrt() * unmix_eps(x_t, x_0, t)

    g = torch.Generator().manual_seed(0)
    x_t, x_0 = torch.randn(2, 3, 2, generator=g, dtype=torch.float64)
    agree(
        answer,
        "mean(x_t, x_0, abar_t, abar_s, sigma)",
        other,
        [(x_t, x_0, 0.3, 0.6, 0.2), (x_0, x_t, 0.1, 0.95, 0.0), (x_t, x_0, 0.5, 0.55, 0.4)],
        "Which of the two terms has the root that is replaced? The place of x_0 at level s stays as it is.",
        (lambda *a: other(*a, sign=1), "This is the chapter's own mean. One of its roots was to change its sign."),
        (lambda *a: -other(*a, sign=1), "Everything has changed its sign. The data's share stays."),
        (lambda a, b, t, s, sigma: other(a, b, t, s, 0 * sigma), "Where is the room that fresh noise needs?"),
        (
            lambda a, b, t, s, sigma: s.sqrt() * b - (1 - s - sigma).sqrt() * unmix_eps(a, b, t),
            "What is subtracted under the root: sigma or its square?",
        ),
        (lambda a, b, t, s, sigma: other(b, a, t, s, sigma), "Are x_t and x_0 in each other's place?"),
        (
            lambda a, b, t, s, sigma: s * b - (1 - s - sigma**2).sqrt() * unmix_eps(a, b, t),
            "By which factor is x_0 shrunk at level s?",
        ),
    )


@exercise("ex-family-upwards", "code", stars=2, minutes=20, skill="posteriors")
def upwards(answer: Any) -> None:
    """Walking up gives the same joint as walking down: right marginals, and the correlation that the product of the
    rhos foretells.
    """
    first, last = tensors(answer, "first", "last", shape=(None,))
    if len(first) != len(last) or len(first) < 100_000:
        raise Unfit(
            f"There are {len(first)} first noises and {len(last)} last ones. Take the same walks for both, at "
            "least 100,000."
        )
    n = len(first)
    for values, name in ((first, "first"), (last, "last")):
        mean, variance = values.mean().item(), values.var().item()
        if abs(mean) > 5 / n**0.5 or abs(variance - 1) > 5 * (2 / n) ** 0.5:
            raise Wrong(
                f"The noises in {name} have mean {mean:.3f} and variance {variance:.3f}. Are they noises, or "
                "states x? Noises have mean 0 and variance 1."
            )
    found = torch.corrcoef(torch.stack([first, last]))[0, 1].item()
    said = f"The marginals are right. The correlation of first and last is {found:.3f}: "
    if abs(found - 0.8**9) <= 5 / n**0.5:
        return
    if abs(found + 0.8**9) <= 5 / n**0.5:
        raise Wrong(
            said + "its size is right and its sign is not. Is the noise x minus the data's share, at both levels?"
        )
    if abs(found) > 0.99:
        raise Wrong(said + "both are the same noise. Is the last one taken from x at level 10?")
    if abs(found - 0.8**10) <= 3 / n**0.5:
        raise Wrong(said + "one step too many. How many steps lead from level 1 to level 10?")
    if abs(found) <= 5 / n**0.5:
        raise Wrong(
            said + "so the two are independent. Are they of the same walks, and does x follow from step to step?"
        )
    raise Wrong(said + "is each sigma_t 60% of the largest that its level allows, a standard deviation?")


@exercise("ex-family-looks", "break", stars=2, minutes=15, skill="variances")
def looks(answer: Any) -> None:
    """A sigma that looks at the state breaks the marginals; one that looks at the data alone would not."""
    mean, variance = numbers(answer, "mean", "variance")
    truth, spread = -((2 * torch.pi) ** -0.5), 1 - 1 / (2 * torch.pi)
    said = f"mean = {show(mean)}, variance = {show(variance)}: "
    if abs(mean - spread) < 0.02 and abs(variance - truth) < 0.02:
        raise Wrong(said + "the two are swapped. The mean comes first, and a variance is not negative.")
    if abs(mean) < 0.03 and abs(variance - 1) < 0.03:
        raise Wrong(said + "nothing is broken here. That is a sigma that looks at x_0; which one looks at the state?")
    if abs(mean + truth) < 0.03:
        raise Wrong(said + "look at the sign of the mean. Which noises are kept, and which are replaced?")
    if abs(mean - 2 * truth) < 0.04:
        raise Wrong(said + "this is the mean of the kept noises alone. The others are drawn afresh, with mean 0.")
    if abs(mean - truth) > 0.02:
        raise Wrong(said + "look at the mean: half of the noises are fresh, and the others are those below 0.")
    if abs(variance - spread**0.5) < 0.02:
        raise Wrong(said + "the mean is right. The second number is the standard deviation; the variance is asked for.")
    if abs(variance - 1) < 0.02:
        raise Wrong(
            said + "the mean is right. The second number is the mean square; a variance is taken about the mean."
        )
    if abs(variance - spread) > 0.03:
        raise Wrong(said + "the mean is right. For the variance begin with the mean square.")
