"""Right answers and mistakes for the exercises of chapters 11 to 15."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import sympy
import torch

from ddim_edu.apps.operators import Operator
from exercise_answers.forms import array_functions, numbers, scalar_functions

NORMAL = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))


def operator(forward: Callable, backward: Callable) -> Callable:
    def both(one, two):
        return SimpleNamespace(forward=lambda x: forward(one, two, x), pseudo_inverse=lambda y: backward(one, two, y))

    return both


def in_order(one, two, x):
    return two.forward(one.forward(x))


def back(one, two, y):
    return one.pseudo_inverse(two.pseudo_inverse(y))


class Both(Operator):
    def __init__(self, one, two):
        self.one, self.two = one, two

    def forward(self, x):
        return self.two.forward(self.one.forward(x))

    def pseudo_inverse(self, y):
        return self.one.pseudo_inverse(self.two.pseudo_inverse(y))


def ddpm(v, v_c, s):
    return v_c * (v / v_c - (v / v_c) ** (2 - 2 * s)) / ((2 * s - 1) * (v / v_c - 1))


def ddpm_by_integral(v, v_c, s):
    v, v_c, s = float(v), float(v_c), float(s)
    u = (np.arange(400_000) + 0.5) / 400_000  # w = u/(1 - u)
    w = u / (1 - u)
    h = lambda w: (v + w) ** ((1 - s) / 2) * (v_c + w) ** (s / 2)  # noqa: E731
    return h(0.0) ** 4 * np.mean(h(w) ** -4 / (1 - u) ** 2)


def frechet(mu_1, mu_2, lam, kappa, root=lambda v: v**0.5, cross=2.0, power=2):
    return (abs(mu_1 - mu_2) ** power).sum() + (lam + kappa - cross * root(lam) * root(kappa)).sum()


# For each exercise: its right answers, and its wrong ones with the mistake and words of the hint that fits it.
ANSWERS: dict[str, tuple[list, list[tuple[str, object, str]]]] = {
    "ex-measuring-commute": (
        array_functions(
            lambda a, b, x, y: ((a - b) ** 2).sum() + ((x**0.5 - y**0.5) ** 2).sum(),
            frechet,
            lambda a, b, x, y: float(
                np.sum((a - b).numpy() ** 2) + np.sum((np.sqrt(x.numpy()) - np.sqrt(y.numpy())) ** 2)
            ),
            lambda a, b, x, y: torch.linalg.vector_norm(torch.cat([a - b, x.sqrt() - y.sqrt()])) ** 2,
            lambda a, b, x, y: (
                sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist()))
                + sum((p**0.5 - q**0.5) ** 2 for p, q in zip(x.tolist(), y.tolist()))
            ),
        ),
        [
            (
                "variances for standard deviations",
                lambda a, b, x, y: ((a - b) ** 2 + (x - y) ** 2).sum(),
                "Eigenvalues are variances",
            ),
            ("no means", lambda a, b, x, y: ((x**0.5 - y**0.5) ** 2).sum(), "Right for equal means"),
            (
                "root of the sum",
                lambda a, b, x, y: frechet(a, b, x, y) ** 0.5,
                "It looks like the square root of what is asked for",
            ),
            (
                "mean over axes",
                lambda a, b, x, y: ((a - b) ** 2 + (x**0.5 - y**0.5) ** 2).mean(),
                "Norm and trace are sums over the axes, not means",
            ),
            ("cross term not doubled", functools.partial(frechet, cross=1.0), "The cross term has a factor"),
            ("means not squared", functools.partial(frechet, power=1), "Is the distance of the means squared?"),
            ("sign", lambda *a: -frechet(*a), "The size is right and the sign is not"),
            ("times 2", lambda *a: 2 * frechet(*a), "It is off by a simple factor"),
        ],
    ),
    "ex-measuring-bias": (
        [
            lambda sigma, N: (sigma**2 / N, sigma**2 / (2 * N)),
            lambda sigma, N: [float(sigma) ** 2 / N, float(sigma) ** 2 / N / 2],
            lambda sigma, N: torch.stack([sigma**2, sigma**2 / 2]) / N,
            lambda sigma, N: np.array([2, 1], dtype=np.float32) * float(sigma) ** 2 / (2 * N),
            lambda sigma, N: (Fraction(float(sigma)) ** 2 / N, Fraction(float(sigma)) ** 2 / (2 * N)),
            lambda sigma, N: (sigma.float() ** 2 / N, sigma.float() ** 2 / (2 * N)),
        ],
        [
            ("swapped", lambda sigma, N: (sigma**2 / (2 * N), sigma**2 / N), "The two are swapped"),
            ("standard errors", lambda sigma, N: (sigma / N**0.5, sigma / (2 * N) ** 0.5), "These are standard errors"),
            (
                "variance of the variance",
                lambda sigma, N: (sigma**2 / N, 2 * sigma**4 / N),
                "The second is about the standard deviation, and this is the",
            ),
            (
                "second times 2",
                lambda sigma, N: (sigma**2 / N, sigma**2 / N),
                "how does a root change, if what is under it does?",
            ),
            (
                "sign",
                lambda sigma, N: (-(sigma**2) / N, -(sigma**2) / (2 * N)),
                "The size is right and the sign is not",
            ),
            ("times 2", lambda sigma, N: (2 * sigma**2 / N, sigma**2 / N), "It is off by a simple factor"),
        ],
    ),
    "ex-measuring-kid": (
        scalar_functions(
            lambda same, other, n: 2 * (same - other) / n,
            lambda same, other, n: 2 * ((same + (n - 1) * other) / n - other),
            lambda same, other, n: (n * same + n * (n - 1) * other) / n**2 * 2 - 2 * other,
            rational=True,
        ),
        [
            ("one set", lambda same, other, n: (same - other) / n, "There are two sets"),
            (
                "nothing taken away",
                lambda same, other, n: 2 * same / n,
                "These terms take the place of others, since the sum is",
            ),
            ("n squared", lambda same, other, n: 2 * (same - other) / n**2, "There are more terms with i = j than one"),
            ("n - 1", lambda same, other, n: 2 * (same - other) / (n - 1), "Nearly"),
            ("sign", lambda same, other, n: 2 * (other - same) / n, "The sign is wrong"),
            ("times 2", lambda same, other, n: 4 * (same - other) / n, "It is off by a simple factor"),
        ],
    ),
    "ex-measuring-best": (
        [
            lambda k: k / (k + 1),
            lambda k: 1 - 1 / (k + 1),
            lambda k: Fraction(k, k + 1),
            lambda k: sympy.Rational(k, k + 1),
            lambda k: torch.tensor(k / (k + 1)),
            lambda k: np.float32(k / (k + 1)),
            lambda k: Decimal(k) / (k + 1),
        ],
        [
            ("off by one down", lambda k: 1 - 1 / k, "How many runs are there in all?"),
            ("off by one up", lambda k: (k + 1) / (k + 2), "That is one run too many"),
            ("independent duels", lambda k: 1 - 0.5**k, "Each duel is even, but they are not independent"),
            ("the competitor", lambda k: 1 / (k + 1), "This is how often the competitor wins"),
            ("sign", lambda k: -k / (k + 1), "The size is right and the sign is not"),
            ("times 2", lambda k: 2 * k / (k + 1), "It is off by a simple factor"),
        ],
    ),
    "ex-interpolation-middle": (
        array_functions(
            lambda w: 1 / w.norm(),
            lambda w: (w**2).sum() ** -0.5,
            lambda w: 1 / math.sqrt(sum(v * v for v in w.tolist())),
            lambda w: 1 / np.linalg.norm(w.numpy()),
            lambda w: torch.rsqrt(w @ w),
        ),
        [
            ("variance", lambda w: 1 / (w**2).sum(), "This makes up for the variance"),
            ("upside down", lambda w: w.norm(), "It looks like the reciprocal of what is asked for"),
            ("equal weights", lambda w: len(w) ** 0.5, "Right for equal weights only"),
            (
                "standard deviations added",
                lambda w: 1 / w.abs().sum(),
                "Variances of independent terms add up, not standard deviations",
            ),
            (
                "mean for sum",
                lambda w: 1 / (w**2).mean() ** 0.5,
                "Variances of independent terms are added here, not averaged",
            ),
            ("sign", lambda w: -1 / w.norm(), "The size is right and the sign is not"),
            ("times 2", lambda w: 2 / w.norm(), "It is off by a simple factor"),
        ],
    ),
    "ex-interpolation-two-points": (
        scalar_functions(
            lambda a, b: a / (a - b),
            lambda a, b: -a / (b - a),
            lambda a, b: (0 - a) / (b - a),
            lambda a, b: 1 - b / (b - a),
            rational=True,
        ),
        [
            ("the other point", lambda a, b: b / (b - a), "This is the share that shows the other point"),
            ("of all latents", lambda a, b: 0.5, "Half of all latents become -1"),
            (
                "drawn latents",
                lambda a, b: (NORMAL.cdf(torch.zeros_like(a)) - NORMAL.cdf(a)) / (NORMAL.cdf(b) - NORMAL.cdf(a)),
                "This is a share of drawn latents, but the film visits",
            ),
            ("ratio of the parts", lambda a, b: -a / b, "A share of the whole film is asked for"),
            ("sign", lambda a, b: a / (b - a), "A share is not negative"),
            ("times 2", lambda a, b: 2 * a / (a - b), "Twice the share"),
        ],
    ),
    "ex-interpolation-how-far": (
        numbers(35) + [33.4, torch.tensor(30), 40],
        [
            ("radians", 0.61, "that would be a tiny step"),
            ("cosine", 0.82, "that would be a tiny step"),
            ("latents half alike", 60, "there a quarter is left of the digits"),
            ("times 2", 70, "there a quarter is left of the digits"),
            ("half", 17.5, "that is not it"),
            ("a right angle", 90, "nothing of the first latent is left there, and one digit"),
            ("sign", -35, "the angle of a step is not negative"),
            ("a small step", 5, "that is not it"),
        ],
    ),
    "ex-interpolation-straight-noise": (
        numbers(0.5, 1.0, names=("line", "arc")) + [(0.497, 0.995), (torch.tensor(0.503), 1)],
        [
            ("swapped", (1.0, 0.5), "the two are swapped"),
            ("standard deviation", (0.707, 1.0), "this is a ratio of standard deviations"),
            ("the start alone", (0.99, 1.0), "Is each step's noise interpolated, or the start alone, which is"),
            ("arc as the line", (0.5, 0.5), "it fades as the line does"),
            ("arc times 2", (0.5, 2.0), "here the noises were added, with weights that are too large"),
            ("sign", (-0.5, 1.0), "shares of a variance are not negative"),
        ],
    ),
    "ex-restoration-both": (
        [
            Both,
            operator(in_order, back),
            operator(in_order, lambda one, two, y: back(one, two, y.float())),
            operator(lambda one, two, x: in_order(one, two, x).numpy(), lambda one, two, y: back(one, two, y).numpy()),
            lambda one, two: type(
                "Two",
                (),
                {"forward": lambda self, x: in_order(one, two, x), "pseudo_inverse": lambda self, y: back(one, two, y)},
            )(),
        ],
        [
            (
                "forward times 2",
                operator(lambda one, two, x: 2 * in_order(one, two, x), back),
                "Grey and then AveragePool: forward",
            ),
            (
                "inverse times 2",
                operator(in_order, lambda one, two, y: 2 * back(one, two, y)),
                "Grey and then AveragePool: A A^+ y is a",
            ),
            (
                "inverse's half",
                operator(in_order, lambda one, two, y: back(one, two, y) / 2),
                "Grey and then AveragePool: A A^+ y is a",
            ),
            (
                "sign",
                operator(in_order, lambda one, two, y: -back(one, two, y)),
                "Grey and then AveragePool: A A^+ y is minus",
            ),
            (
                "not the smallest",
                operator(in_order, lambda one, two, y: one.show(two.pseudo_inverse(y))),
                "Grey and then AveragePool: pseudo_inverse",
            ),
            (
                "squared",
                operator(in_order, lambda one, two, y: back(one, two, y) ** 2),
                "Grey and then AveragePool: A A^+ y is not",
            ),
        ],
    ),
    "ex-restoration-weak": (
        numbers(9, 18, names=("with eta = 1", "with eta = 0")),
        [
            ("swapped", (18, 9), "which of the two follows the pull further in one walk?"),
            ("off by one", (10, 20), "1 - 1/kappa is not the share, though it is close"),
            ("both alike", (9, 9), "without fresh noise a walk counts less"),
            ("times 2", (18, 36), "kappa has the factor 1 + eta^2"),
            ("half", (4.5, 9), "is the share solved for kappa, and kappa for n?"),
            ("the share", (0.9, 1.8), "that is the share"),
            ("sign", (-9, -18), "numbers of walks are not negative"),
        ],
    ),
    "ex-restoration-transpose": (
        [
            lambda f: 1 - 1 / f**2,
            lambda f: (f**2 - 1) / f**2,
            lambda f: 1 - Fraction(1, f * f),
            lambda f: torch.tensor(1 - f**-2),
            lambda f: np.float32(1 - 1 / f**2),
            lambda f: 1 - sympy.Integer(1) / f**2,
            lambda f: 1 - Decimal(1) / f**2,
        ],
        [
            ("what it takes away", lambda f: 1 / f**2, "This is the share that the correction takes away"),
            ("side for area", lambda f: 1 - 1 / f, "How many pixels has a square of side f?"),
            ("squared again", lambda f: 1 - 1 / f**4, "A row of A has f^2 entries of 1/f^2"),
            ("the right inverse", lambda f: 0.0, "That would be so with the right inverse"),
            ("sign", lambda f: 1 + 1 / f**2, "The correction makes the disagreement smaller, not larger"),
            ("times 2", lambda f: 2 - 2 / f**2, "It is off by a simple factor"),
        ],
    ),
    "ex-restoration-stop": (
        numbers(0.73) + [0.716, torch.tensor(0.738)],
        [
            ("upside down", 1.37, "an average has no more noise than what it is made"),
            ("mean squares", 0.533, "this is a ratio of mean squares"),
            ("not stopped", 1.0, "the answers err alike, as they do where the last steps"),
            ("level of a pixel", 0.82, "they err more alike than they need to"),
            ("half", 0.365, "half of what it could be"),
            ("sign", -0.73, "a root mean square is not negative"),
            ("independent errors", 0.2, "less than the chapter's network can do"),
        ],
    ),
    "ex-guide-ddpm": (
        scalar_functions(
            ddpm,
            lambda v, v_c, s: v_c * ((v / v_c) ** (2 - 2 * s) - v / v_c) / ((1 - 2 * s) * (v / v_c - 1)),
            lambda v, v_c, s: (v - v_c * (v / v_c) ** (2 - 2 * s)) / ((2 * s - 1) * (v / v_c - 1)),
        )
        + [
            lambda v, v_c, s: ddpm(v, v_c, s) if s != 0 else ddpm_by_integral(v, v_c, s),
            lambda *a: ddpm(*map(np.float32, a)),
            ddpm_by_integral,
        ],
        [
            ("DDIM", lambda v, v_c, s: v ** (1 - s) * v_c**s, "This is where the sampler without fresh noise ends"),
            (
                "tilted density",
                lambda v, v_c, s: 1 / ((1 - s) / v + s / v_c),
                "This is the tilted density's variance, which no sampler of the",
            ),
            ("v and v_c swapped", lambda v, v_c, s: ddpm(v_c, v, s), "The class and all data are swapped"),
            ("standard deviation", lambda v, v_c, s: ddpm(v, v_c, s) ** 0.5, "This is the standard deviation"),
            (
                "scale counted from 0",
                lambda v, v_c, s: ddpm(v, v_c, s + 1),
                "Is the scale counted from 0, where the class is taken",
            ),
            ("sign", lambda v, v_c, s: -ddpm(v, v_c, s), "The size is right and the sign is not"),
            ("times 2", lambda v, v_c, s: 2 * ddpm(v, v_c, s), "It is off by a simple factor"),
        ],
    ),
    "ex-guide-langevin": (
        numbers(0.24, 0.51, names=("before", "after")) + [(0.25, 0.5), (torch.tensor(0.235), 0.533)],
        [
            ("swapped", (0.51, 0.24), "the two are swapped"),
            ("standard deviations", (0.49, 0.71), "these are standard deviations"),
            ("not walked", (0.24, 0.25), "it has not changed"),
            ("noise times 2", (0.24, 1.0), "Is the walk guided, too, and is the noise's variance delta"),
            ("sign", (-0.24, 0.51), "variances are not negative"),
            ("runs away", (0.24, 30.0), "the walk runs away"),
        ],
    ),
    "ex-guide-classifier": (
        numbers(1.0) + numbers(Fraction(29, 30)) + [29 / 30],
        [
            ("count", 29, "this is a count, or a percentage"),
            ("percent", 96.7, "this is a count, or a percentage"),
            ("chance", 0.1, "this is chance"),
            ("the worst label", 0.0, "worse than chance"),
            ("half", 0.5, "better is possible"),
            ("sign", -0.97, "a share is not negative"),
        ],
    ),
    "ex-guide-sign": (
        numbers(0.206, 0.0002, names=("at 1", "at 1.5")) + [(0.2167, torch.tensor(2.1e-4))],
        [
            ("swapped", (0.0002, 0.206), "the two are swapped"),
            ("variance", (0.0424, 4e-8), "this is a variance"),
            ("times 2", (0.412, 0.0004), "is it the root of the mean square about the mean"),
            ("half", (0.103, 0.0001), "is it the root of the mean square about the mean"),
            ("the chapter's minus", (0.206, 0.17), "much of the class is left"),
            ("all data", (0.76, 0.0002), "which is wider than a peak"),
            ("sign", (-0.206, -0.0002), "standard deviations are not negative"),
            ("variance of the second", (0.206, 4e-8), "it is very small, and not 0"),
        ],
    ),
    "ex-sound-overlap": (
        numbers(2, 1.5, names=("sum", "squares")),
        [
            ("swapped", (1.5, 2), "weights below 1 become smaller when they are squared"),
            ("means", (0.5, 0.375), "that is the mean over the frames that hold a sample"),
            ("half the frames", (1, 0.75), "with a hop of 256 it would be so"),
            ("times 2", (4, 3), "that is their number"),
            ("the sum twice", (2, 2), "this is the sum"),
            ("along a window", (256, 192), "that is the sum along one window"),
            ("sign", (-2, 1.5), "squares of sines are not negative, nor are their sums"),
        ],
    ),
    "ex-sound-random": (
        numbers(0.63, 1.6, names=("error", "decibels")) + [(0.6647, 1.936)],
        [
            ("swapped", (1.6, 0.63), "the two are swapped"),
            ("after the turns", (0.064, 0.17), "These are the magnitudes after some turns; the first sound of"),
            ("square", (0.4, 1.6), "this is its square"),
            ("picture's units", (0.63, 0.053), "which is in the picture's own units"),
            ("times 2", (0.63, 3.2), "which is about twice too large"),
            ("half", (0.63, 0.8), "which is about half"),
            ("sign", (0.63, -1.6), "neither a relative error nor a mean absolute difference is negative"),
        ],
    ),
    "ex-sound-scale": (
        numbers(497, 874, names=("k = 1", "k = 5")) + [(496, 873)],
        [
            ("swapped", (874, 497), "the two are swapped"),
            ("k for its square", (497, 731), "is the signal's variance k times as large, or more?"),
            ("shares", (0.497, 0.874), "levels are whole numbers up to T = 1000"),
            ("downwards", (497, 126), "Does a stronger signal drown earlier or later?"),
            ("linear schedule", (260, 479), "where are signal and noise of the cosine schedule equally strong?"),
            ("sign", (-497, 874), "levels are not negative"),
            ("times 2", (994, 1748), "where are signal and noise of the cosine schedule equally strong?"),
        ],
    ),
    "ex-sound-mean": (
        numbers(0.6576) + [{"off": 0.66}, 0.64],
        [
            ("not halved", 5.73, "the mean halves each sound"),
            ("mean of the two", 2.72, "is the power halved where the amplitude is, or is it"),
            ("different norms", 7.4, "is it the louder one at each place, and are both"),
            ("times 2", 1.315, "about twice too large"),
            ("half", 0.329, "about half"),
            ("sign", -0.66, "a median of absolute differences is not negative"),
            ("compared with itself", 0.0, "that is too near"),
        ],
    ),
}
