"""Chapter 14, conditioning, guidance and editing."""

from __future__ import annotations

from typing import Any

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, number, numbers, show


@exercise("ex-guide-ddpm", "derive", stars=3, minutes=45, skill="ode")
def ddpm(answer: Any) -> None:
    """Fresh noise forgets part of the early push, so DDPM ends wider than DDIM, and nearer to the tilted density, at
    the same scale.
    """

    def truth(v: Any, v_c: Any, s: Any) -> Any:
        r = v / v_c
        return v_c * (r - r ** (2 - 2 * s)) / ((2 * s - 1) * (r - 1))

    agree(
        answer,
        "variance(v, v_c, s)",
        truth,
        [(2.0, 1.0, 3.0), (1.0, 0.5, 2.0), (3.0, 0.6, 1.5), (2.0, 1.0, 1.0), (2.0, 1.0, 0.0)],
        "In a step down, the variance is multiplied by 1 - 2k dw and gains dw. Scales 0 and 1 have to give v and v_c.",
        (lambda v, v_c, s: v ** (1 - s) * v_c**s, "This is where the sampler without fresh noise ends."),
        (
            lambda v, v_c, s: 1 / ((1 - s) / v + s / v_c),
            "This is the tilted density's variance, which no sampler of the chapter reaches.",
        ),
        (
            lambda v, v_c, s: truth(v, v_c, s) / v_c,
            "Right where the class has variance 1. What is the unit of a variance?",
        ),
        (lambda v, v_c, s: truth(v, v_c, s) / 2, "Half of it: in the limit scale 1 has to give v_c."),
        (
            lambda v, v_c, s: truth(v, v_c, s + 1),
            "Is the scale counted from 0, where the class is taken as trained? In the chapter scale 1 is that.",
        ),
        (
            lambda v, v_c, s: truth(v, v_c, s - 1),
            "Is the scale counted from 2? In the chapter scale 1 takes the class as trained.",
        ),
        (lambda v, v_c, s: truth(v, v_c, s) ** 0.5, "This is the standard deviation. The variance is asked for."),
        (lambda v, v_c, s: truth(v_c, v, s), "The class and all data are swapped."),
    )


@exercise("ex-guide-langevin", "code", stars=2, minutes=30, skill="samplers")
def langevin(answer: Any) -> None:
    """At one level the guided prediction is a score, of the tilted density; it is the way down through the levels that
    leads elsewhere.
    """
    before, after = numbers(answer, "before", "after")
    said = f"before = {show(before)}, after = {show(after)}: "
    if before < 0 or after < 0:
        raise Wrong(said + "variances are not negative.")
    if abs(before - 0.5) < 0.03 and abs(after - 0.71) < 0.05:
        raise Wrong(said + "these are standard deviations. The variances are asked for.")
    if abs(before - 0.5) < 0.06 and abs(after - 0.25) < 0.03:
        raise Wrong(said + "the two are swapped: look at the first, which is before the walk.")
    if abs(before - 0.25) > 0.05:
        raise Wrong(
            said
            + "look at the first. The walk starts from samples of DDIM with eta = 0, guided with s = 3 at every level."
        )
    if abs(after - before) < 0.06:
        raise Wrong(
            said + "it has not changed. Are there enough steps, and is the score taken half as often as the noise's "
            "variance?"
        )
    if 0.8 < after < 1.3:
        raise Wrong(
            said + "look at the second. Is the walk guided, too, and is the noise's variance delta, not twice that?"
        )
    if after > 1.3:
        raise Wrong(
            said
            + "look at the second: the walk runs away. The score is minus the prediction over the root of 1 - abar."
        )
    if not 0.42 <= after <= 0.6:  # 0.51 at delta = 0.05; 4,000 samples know it to 0.011
        raise Wrong(
            said + "look at the second. Is the walk over, or is its step too large or too small for this many steps?"
        )


@exercise("ex-guide-classifier", "code", stars=2, minutes=25, skill="losses")
def classifier(answer: Any) -> None:
    """A network that was trained to draw digits can read them: a label is worth something to the loss, and the right
    one most.
    """
    right = number(answer)
    said = f"{show(right)}: "
    if right < 0:
        raise Wrong(said + "a share is not negative.")
    if right > 1:
        raise Wrong(said + "this is a count, or a percentage. Hand in a share between 0 and 1.")
    if right < 0.05:
        raise Wrong(said + "worse than chance. Is it the label with the least error that wins?")
    if right < 0.2:
        raise Wrong(
            said
            + "this is chance. Does each label reach the network, and is each error that of one picture, not of all?"
        )
    if right < 0.8:  # 30 of 30, and 28 at one good level alone
        raise Wrong(
            said + "better is possible. Are all labels tried on the same noises, and are errors of middle levels added?"
        )


@exercise("ex-guide-sign", "break", stars=2, minutes=25, skill="ode")
def sign(answer: Any) -> None:
    """Noise that is subtracted twice takes the data with it: every sample is the same picture, and nothing
    complains.
    """
    one, more = numbers(answer, "at 1", "at 1.5")
    said = f"{show(one)} at s = 1, {show(more)} at 1.5: "
    if one < 0 or more < 0:
        raise Wrong(said + "standard deviations are not negative.")
    if min(abs(one - 0.0161), abs(one - 0.0435)) < 0.005:
        raise Wrong(said + "look at the first: this is a variance. Standard deviations are asked for.")
    if one < 0.02 < more:
        raise Wrong(said + "the two are swapped.")
    if one > 0.5:
        raise Wrong(
            said + "look at the first, which is wider than a peak. At s = 1 the formula is the class's own prediction."
        )
    if min(abs(one - 0.105), abs(one - 0.07)) < 0.008 or 0.3 < one:
        raise Wrong(
            said
            + "look at the first: is it the root of the mean square about the mean, of the samples of one class alone?"
        )
    if more > 0.4 * one:
        raise Wrong(
            said + "look at the second: much of the class is left. Is there a plus in the formula, and not the "
            "chapter's minus?"
        )
    if more < 1e-5:
        raise Wrong(said + "look at the second: it is very small, and not 0. Is this its square?")
    # In six measurements for each class 0.202 to 0.218 and 0.0002, or 0.123 to 0.133 and 0.0001.
    if not ((0.112 < one < 0.145 or 0.175 < one < 0.25) and more < 0.0006):
        raise Wrong(said + "that is not it. Sample one class by 100 steps of DDIM, with a start of variance 1.")
