"""Chapter 12, interpolation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, number, numbers, show


@exercise("ex-interpolation-middle", "derive", stars=2, minutes=20, skill="variances")
def middle(answer: Any) -> None:
    """Any mixture of drawn latents becomes a drawn latent again when it is divided by the length of its weights."""
    cases = [[0.25] * 4, [0.4, 0.3, 0.2, 0.1], [1.2, -0.2, 0.0, 0.0], [0.5, 0.5], [1.0]]
    agree(
        answer,
        "multiple(w)",
        lambda w: 1 / w.norm(),
        [(torch.tensor(case, dtype=torch.float64),) for case in cases],
        "Find the variance of the mixture first. By what has a vector to be multiplied for its variance to become 1?",
        (
            lambda w: 1 / w.square().sum(),
            "This makes up for the variance. What does a factor of the vector do to it?",
        ),
        (lambda w: w.square().sum(), "This is the variance of the mixture. Which multiple makes it 1?"),
        (lambda w: torch.tensor(float(len(w))).sqrt(), "Right for equal weights only."),
        (lambda w: 1 / w.abs().sum(), "Variances of independent terms add up, not standard deviations."),
        (lambda w: 2 / w.norm(), "It is off by a simple factor. With one weight of 1 nothing has to be done."),
        (lambda w: 1 / w.square().mean().sqrt(), "Variances of independent terms are added here, not averaged."),
        (lambda w: 1 / w.sum(), "The weights sum to 1 already. What has to become 1 is another sum."),
    )


@exercise("ex-interpolation-two-points", "derive", stars=2, minutes=15, skill="ode")
def two_points(answer: Any) -> None:
    """Where there is no data no time is spent: the film jumps from one point to the other in the middle of the
    latents.
    """
    agree(
        answer,
        "share(a, b)",
        lambda a, b: a / (a - b),
        [(-2.0, 1.0), (-0.5, 1.5), (-1.0, 1.0)],
        "Which latents become -1? D is increasing, and half of all latents become each point. The film has a "
        "constant speed.",
        (lambda a, b: b / (b - a), "This is the share that shows the other point."),
        (lambda a, b: torch.tensor(0.5), "Half of all latents become -1. Of those in this film?"),
        (
            lambda a, b: (_cdf(torch.zeros(())) - _cdf(a)) / (_cdf(b) - _cdf(a)),
            "This is a share of drawn latents, but the film visits its own evenly.",
        ),
        (lambda a, b: -a / (b - a) + 0.5, "Where does the film start: at the middle of the latents, or at a?"),
        (lambda a, b: -a / (b - a) * 2, "Twice the share: with a = -1, b = 1 all of the film would show -1."),
        (lambda a, b: a / (b - a), "A share is not negative."),
        (lambda a, b: -a / b, "A share of the whole film is asked for. How long is that?"),
    )


def _cdf(x: Tensor) -> Tensor:
    return torch.special.ndtr(x.double())


@exercise("ex-interpolation-how-far", "measure", stars=2, minutes=25, skill="samplers")
def how_far(answer: Any) -> None:
    """Latents that are still much alike often stand for different digits: a small step can change what a picture is
    of.
    """
    phi = number(answer)
    said = f"{show(phi)} degrees: "
    if phi < 0:
        raise Wrong(said + "the angle of a step is not negative.")
    if 18 <= phi <= 52:  # with 100 latents nine seeds gave 28 to 39, 33 on average, with a standard deviation of 3
        return
    if 0.2 < phi < 1:
        raise Wrong(said + "that would be a tiny step. Are these radians, or a cosine?")
    if 56 <= phi <= 75:
        raise Wrong(said + "there a quarter is left of the digits. Are the latents half alike there, or the digits?")
    if 80 <= phi <= 100:
        raise Wrong(said + "nothing of the first latent is left there, and one digit in ten or so agrees by chance.")
    raise Wrong(
        said
        + "that is not it. Compare the classifier's word for a latent with that for the same latent after its step."
    )


@exercise("ex-interpolation-straight-noise", "break", stars=2, minutes=25, skill="samplers")
def straight_noise(answer: Any) -> None:
    """All the noises together are one long latent, which wants its length kept as the short one does."""
    line, arc = numbers(answer, "line", "arc")
    said = f"line = {show(line)}, arc = {show(arc)}: "
    if abs(line - 1) < 0.1 and abs(arc - 0.5) < 0.1:
        raise Wrong(said + "the two are swapped.")
    if line < 0 or arc < 0:
        raise Wrong(said + "shares of a variance are not negative.")
    if abs(line - 0.5) < 0.06 and abs(arc - 0.5) < 0.06:
        raise Wrong(
            said + "look at the second: it fades as the line does. Which weights has slerp half-way, if the ends "
            "are at a right angle?"
        )
    if abs(line - 1) < 0.1:
        raise Wrong(
            said
            + "look at the first. Is each step's noise interpolated, or the start alone, which is nearly forgotten?"
        )
    if abs(line - 0.707) < 0.05:
        raise Wrong(said + "look at the first: this is a ratio of standard deviations.")
    if abs(line - 0.5) > 0.06:
        raise Wrong(
            said + "look at the first. Do both ends start from noises of their own, and is the middle their mean at "
            "every step?"
        )
    if abs(arc - 2) < 0.2:
        raise Wrong(said + "look at the second: here the noises were added, with weights that are too large.")
    if abs(arc - 1) > 0.1:
        raise Wrong(
            said + "look at the second. Half-way, at a right angle, slerp's weights are equal; what do their squares "
            "add up to?"
        )
