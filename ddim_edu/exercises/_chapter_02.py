"""Chapter 2, the variance derivation."""

from __future__ import annotations

from typing import Any

import torch

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, function, number, numbers
from ddim_edu.schedule import NoiseSchedule

LEVELS = [(0.05, 0.6), (0.5, 0.9), (0.01, 0.02), (0.3, 0.95)]  # pairs (abar_t, abar_s), t above s


@exercise("ex-variance-s-to-t", "derive", stars=2, minutes=15, skill="variances")
def s_to_t(answer: Any) -> None:
    """Between any two levels the chain is one Gaussian, with the quotient of the two alpha-bars in the place of
    alpha-bar.
    """
    agree(
        answer,
        "variance(abar_t, abar_s)",
        lambda t, s: 1 - t / s,
        [*LEVELS, (0.4, 1.0)],
        "With s = 0, where abar_s = 1, the formula of the chapter has to come out.",
        (
            lambda t, s: 1 - s / t,
            "Are s and t in their places? abar_t is the smaller one, and a variance is not negative.",
        ),
        (lambda t, s: (1 - t / s).sqrt(), "This is the standard deviation. The variance is asked for."),
        (lambda t, s: 1 - t, "This is the noise in x_t given x_0. Some of it is in x_s already."),
        (lambda t, s: s - t, "This is what x_0 loses on the way. What does x_s lose, relative to what it has?"),
        (lambda t, s: 1 - (t / s).sqrt(), "Is the factor of x_s the share of the variance that is kept, or its root?"),
        (lambda t, s: t / s, "This is the share of the variance that is kept, not the one that is new."),
        (
            lambda t, s: 1 - t * s,
            "Is one product of alphas within the other, or beside it? Which steps lead from s to t?",
        ),
        (
            lambda t, s: (1 - t) / (1 - s),
            "Noise variances of the two levels are divided here. Which part of the signal is kept from s to t?",
        ),
    )


@exercise("ex-variance-covariance", "derive", stars=2, minutes=20, skill="variances")
def covariance(answer: Any) -> None:
    """The noise of two levels is neither the same nor independent: its correlation is the root of a quotient of
    SNRs.
    """

    def snr(abar: torch.Tensor) -> torch.Tensor:
        return abar / (1 - abar)

    agree(
        answer,
        "correlation(abar_t, abar_s)",
        lambda t, s: (snr(t) / snr(s)).sqrt(),
        LEVELS,
        "Divide the covariance by the standard deviations of x_s and x_t, both given x_0.",
        (
            lambda t, s: (t / s).sqrt() * (1 - s),
            "This is the covariance. A correlation is divided by both standard deviations.",
        ),
        (lambda t, s: snr(t) / snr(s), "Nearly. Was it divided by standard deviations or by variances?"),
        (lambda t, s: (snr(s) / snr(t)).sqrt(), "Are s and t in their places? A correlation is at most 1."),
        (
            lambda t, s: (t / s).sqrt(),
            "This is the factor of x_s in x_t. The two noises have different standard deviations, too.",
        ),
        (lambda t, s: (t / s).sqrt() * (1 - s) / (1 - t), "Of the two levels, only one has been divided out."),
        (lambda t, s: ((1 - s) / (1 - t)).sqrt(), "x_s is shrunk on its way to x_t, and that is missing."),
        (
            lambda t, s: 1 - (snr(t) / snr(s)).sqrt(),
            "This is 1 minus what is asked for: neighbouring levels are nearly 1.",
        ),
    )


@exercise("ex-variance-wanted-snr", "code", stars=1, minutes=10, skill="levels")
def wanted_snr(answer: Any) -> None:
    """The level of a given SNR is found on any schedule, so that two schedules can be compared at equal noise."""
    call = function(answer, "level_of(schedule, snr)")
    few = NoiseSchedule.cosine(10)
    schedules = [("linear(1000)", NoiseSchedule.linear()), ("cosine(1000)", NoiseSchedule.cosine())]
    off, cases = (
        [],
        [(name, schedule, wanted) for name, schedule in schedules for wanted in (30.0, 2.0, 0.6, 0.05, 0.004)],
    )
    for t in (2, 5, 8):  # between two levels, nearer to the one in the logarithm and to the other in the difference
        a, b = few.snr[t].item(), few.snr[t + 1].item()
        cases.append(("cosine(10)", few, 0.5 * ((a * b) ** 0.5 + (a + b) / 2)))

    def truth(schedule: NoiseSchedule, wanted: float) -> int:
        return 1 + int((schedule.snr[1:].log() - torch.tensor(wanted, dtype=torch.float64).log()).abs().argmin())

    for name, schedule, wanted in cases:
        level = number(call(schedule, torch.tensor(wanted, dtype=torch.float64)), "what your function returned")
        if level != truth(schedule, wanted):
            off.append((name, schedule, wanted, level))
    if not off:
        return
    name, schedule, wanted, level = off[0]
    said = f"On {name} with snr = {wanted:.4g} your function returned {level:g}. "
    if len(off) == len(cases) and all(level == truth(schedule, wanted) - 1 for _, schedule, wanted, level in off):
        raise Wrong(
            said
            + "It is off by one everywhere. Which level does the first entry of the array that you search belong to?"
        )
    if all(level == 1 + int((schedule.snr[1:] - wanted).abs().argmin()) for _, schedule, wanted, level in off):
        raise Wrong(said + "This is the nearest on a linear scale; the exercise asks for a logarithmic one.")
    if all(level == truth(schedule, wanted) + 1 for _, schedule, wanted, level in off):
        raise Wrong(said + "It is one too high. snr[0] belongs to level 0 already: is 1 added once too often?")
    if not level == int(level):
        raise Wrong(said + "A level is a whole number.")
    if level < 0 or level > schedule.T:
        raise Wrong(f"{said}Levels run from 1 to T = {schedule.T}. Does the index count from the end?")
    if all(level == 1 + int((schedule.alpha_bar[1:] - wanted).abs().argmin()) for _, schedule, wanted, level in off):
        raise Wrong(said + "There alpha-bar is the wanted number. The SNR is alpha-bar over 1 minus alpha-bar.")
    if all(level == 1 + int((schedule.snr[1:].sqrt() - wanted).abs().argmin()) for _, schedule, wanted, level in off):
        raise Wrong(said + "There the root of the SNR is the wanted number. The SNR is a ratio of variances.")
    if level == 0:
        raise Wrong(said + "Level 0 is the data, whose SNR is infinite. Levels of noise begin at 1.")
    there = schedule.snr[min(max(int(level), 1), schedule.T)]
    raise Wrong(f"{said}The SNR there is {there:.3g}, and a level nearer to the wanted one exists.")


@exercise("ex-variance-shape", "break", stars=1, minutes=10, skill="statistics")
def shape(answer: Any) -> None:
    """Each pixel by itself has the right variance, and the picture is still not noise: what a test of single
    coordinates cannot see.
    """
    across, within = numbers(answer, "across", "within")
    schedule = NoiseSchedule.linear()
    said = f"across = {across:.3g}, within = {within:.3g}: "
    if across < 0 or within < 0:
        raise Wrong(said + "a variance is not negative.")
    if 0.8 < across < 1.2 and abs(within - 0.0048) < 0.001:
        raise Wrong(said + "look at the second: this is a standard deviation.")
    if across < 0.01 and 0.8 < within < 1.2:
        raise Wrong(
            said + "the two are swapped. Across is one pixel over all images, within is all pixels of one image."
        )
    if 0.8 < across < 1.2 and 0.8 < within < 1.2:
        raise Wrong(said + "this is what noise of the shape (B, C, H, W) gives. Was one number drawn for each image?")
    if across < 0.01:
        raise Wrong(said + "look at the first. Take one pixel of x_T over the images, not over its own picture.")
    if not 0.8 < across < 1.2:
        raise Wrong(
            said + "look at the first. Take one pixel of x_T, over the images; at level T hardly anything of the data "
            "is left."
        )
    if within > 1e-3:
        raise Wrong(
            said
            + "look at the second. Within an image every pixel got the same number. What is the variance of a constant?"
        )
    if within < 1e-8:
        raise Wrong(
            said + "look at the second: it is small and not 0. At level 1000 of the linear schedule something of "
            "the picture is left."
        )
    if abs(within / schedule.alpha_bar[-1] - 1) < 0.1:
        raise Wrong(said + "look at the second: the picture's pixels do not have variance 1.")
    if not 1.95e-5 < within < 2.65e-5:  # 2.30e-5 for the digits to train with, 2.31e-5 for those held out
        raise Wrong(
            said + "look at the second: the mean over the images of each one's variance, at level 1000 of the "
            "linear schedule."
        )
