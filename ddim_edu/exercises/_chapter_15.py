"""Chapter 15, sound."""

from __future__ import annotations

from typing import Any

from ddim_edu.exercises.comparing import expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, numbers, show


@exercise("ex-sound-overlap", "derive", stars=1, minutes=15, skill="variances")
def overlap(answer: Any) -> None:
    """Every sample is heard by four frames, with weights that sum to the same everywhere, and so do their squares:
    nothing hums.
    """
    total, squares = numbers(answer, "sum", "squares")
    if 0 < total < squares:
        raise Wrong(
            f"sum = {show(total)}, squares = {show(squares)}: weights below 1 become smaller when they are squared."
        )
    if total < 0 or squares < 0:
        raise Wrong(
            f"sum = {show(total)}, squares = {show(squares)}: squares of sines are not negative, nor are their sums."
        )
    look = (
        "Write the window with cosines of multiples of the angle. Which of them cancel over the frames that "
        "hold a sample?"
    )
    mean = "that is the mean over the frames that hold a sample. Their sum is asked for."
    expect(
        total,
        2,
        look,
        (0.5, mean),
        (1, "with a hop of 256 it would be so."),
        (4, "that is their number."),
        (256, "that is the sum along one window."),
        what="sum",
    )
    expect(
        squares,
        1.5,
        look,
        (0.375, mean),
        (2, "this is the sum. Of the squares the constant part is smaller."),
        (1, "sin^4 is not a half on average: the square of a cosine has a constant part, too."),
        (0.75, "with a hop of 256 it would be so, on average."),
        (3, "with a hop of 64 it would be so."),
        (192, "that is the sum along one window."),
        what="squares",
    )


@exercise("ex-sound-random", "measure", stars=2, minutes=25, skill="statistics")
def random(answer: Any) -> None:
    """Magnitudes that are far off make a picture that is nearly right: what averages over bands sees, it cannot hear
    phases.
    """
    error, decibels = numbers(answer, "error", "decibels")
    said = f"error = {show(error)}, decibels = {show(decibels)}: "
    if error < 0 or decibels < 0:
        raise Wrong(said + "neither a relative error nor a mean absolute difference is negative.")
    if 1 < error < 3 and 0.5 < decibels < 0.8:
        raise Wrong(said + "the two are swapped.")
    if error < 0.2:
        raise Wrong(
            said
            + "look at the first. These are the magnitudes after some turns; the first sound of the path has had none."
        )
    if 0.33 < error < 0.48:
        raise Wrong(said + "look at the first: this is its square. Norms are divided, not their squares.")
    if not 0.5 < error < 0.8:  # 0.61 to 0.66 in nine measurements, three of this recording
        raise Wrong(
            said + "look at the first: the norm of the difference of the magnitudes, over the norm of the wanted ones."
        )
    if 0.02 < decibels < 0.12:
        raise Wrong(said + "look at the second, which is in the picture's own units. How many decibels is one of them?")
    if decibels < 0.5:
        raise Wrong(said + "look at the second. Is it the picture of the first sound of the path, too?")
    if 2.6 < decibels < 4.5:
        raise Wrong(
            said + "look at the second, which is about twice too large. A unit of the picture is how many decibels?"
        )
    if 0.65 < decibels < 0.95:
        raise Wrong(said + "look at the second, which is about half. A unit of the picture is how many decibels?")
    if not 0.95 < decibels < 2.6:  # 1.44 to 1.94 in nine measurements
        raise Wrong(said + "look at the second: the mean absolute difference over all of the picture, in decibels.")


@exercise("ex-sound-scale", "derive", stars=2, minutes=20, skill="levels")
def scale(answer: Any) -> None:
    """Latents five times too large keep their lead over the noise for most of the way: the schedule is used for its
    last tenths only.
    """
    one, five = numbers(answer, "k = 1", "k = 5")
    said = f"{show(one)} for k = 1, {show(five)} for k = 5: "
    if one < 0 or five < 0:
        raise Wrong(said + "levels are not negative.")
    if one < 1.001 and five < 1.001:
        raise Wrong(said + "levels are whole numbers up to T = 1000.")
    if abs(one - 873.5) < 6 and abs(five - 497) < 6:
        raise Wrong(said + "the two are swapped.")
    if abs(one - 497) > 6:
        raise Wrong(said + "look at the first: where are signal and noise of the cosine schedule equally strong?")
    if five < one:
        raise Wrong(said + "look at the second. Does a stronger signal drown earlier or later?")
    if abs(five - 731) < 6:
        raise Wrong(said + "look at the second: is the signal's variance k times as large, or more?")
    if abs(five - 873.5) > 5:
        raise Wrong(said + "look at the second: the level whose own ratio is 1 divided by the factor.")


@exercise("ex-sound-mean", "break", stars=2, minutes=30, skill="statistics")
def mean(answer: Any) -> None:
    """Where two sounds are added the louder one wins nearly everywhere: half-way between two people are two people."""
    (off,) = numbers(answer if isinstance(answer, list | tuple | dict) else [answer], "off")
    said = f"{show(off)} decibels: "
    if 1.1 < off < 1.6:
        raise Wrong(
            said
            + "about twice too large: 10 times the logarithm of powers makes decibels, and 20 times that of amplitudes."
        )
    if 0.2 < off < 0.45:
        raise Wrong(
            said + "about half: 10 times the logarithm of powers makes decibels, and 20 times that of amplitudes."
        )
    if off < 0:
        raise Wrong(said + "a median of absolute differences is not negative.")
    if 5 < off < 6.5:
        raise Wrong(said + "the mean halves each sound. What does that do to its power?")
    if 2.3 < off < 3.3:
        raise Wrong(
            said + "is the power halved where the amplitude is, or is it the mean of the two instead of the louder?"
        )
    if off > 0.9:  # 0.66: nothing is drawn here
        raise Wrong(said + "is it the louder one at each place, and are both sounds of one norm before they are added?")
    if off < 0.1:
        raise Wrong(said + "that is too near. Are the samples added, and the powers taken from their sum?")
