"""Noise schedules."""

import numpy as np

from ddim_edu.conformance.catalogue.mistake import SCHEDULE, row, table

COSINE = ("cosine",)

# fmt: off
SCHEDULES = table(
    SCHEDULE, "alpha_bar_t = prod_{i <= t} (1 - beta_i), alpha_bar_0 = 1", "DDPM eq. 4",
    row("schedule-alpha", "alpha_t = 1 - beta_t, not multiplied up",
        "x_T keeps nearly all signal: the network never learns from noise.",
        kept=lambda v: v.alpha),
    row("schedule-cumprod-of-beta", "the cumulative product of beta",
        "No signal from the first level on.",
        kept=lambda v: np.cumprod(v.beta)),
    row("schedule-beta", "beta itself",
        "It rises where alpha_bar falls.",
        kept=lambda v: v.beta),
    row("schedule-cumsum", "1 - the cumulative sum of beta",
        "It falls below 0.",
        kept=lambda v: 1 - np.cumsum(v.beta)),
    row("schedule-root", "sqrt(alpha_bar)",
        "A root too many: half of the signal's decibels stay at T.",
        kept=lambda v: np.sqrt(np.cumprod(v.alpha))),
    row("schedule-squared", "alpha_bar^2: squared twice",
        "Signal is lost twice as fast.",
        kept=lambda v: np.cumprod(v.alpha) ** 2),
    row("schedule-noise", "1 - alpha_bar",
        "It rises where alpha_bar falls.",
        kept=lambda v: 1 - np.cumprod(v.alpha)),
    row("schedule-reversed", "alpha_bar in the reverse order",
        "It rises where alpha_bar falls.",
        kept=lambda v: np.cumprod(v.alpha)[::-1]),
    row("schedule-cumprod-twice", "the cumulative product of alpha_bar",
        "No signal after a few levels.",
        kept=lambda v: np.cumprod(np.cumprod(v.alpha))),
    row("schedule-beta-reversed", "beta falls from its last value to its first",
        "Nearly all signal is gone after the first levels.",
        beta=lambda v: v.ramp[::-1]),
    row("schedule-shifted", "alpha_bar of the level before: 1 twice, or T numbers that begin with 1",
        "Every level is taken for the one below; alpha_bar_T is missing.",
        kept=lambda v: np.concatenate([[1.0], np.cumprod(v.alpha)[:-1]])),
    row("schedule-no-data-level", "alpha_bar[0] is not 1: the first of T + 1 noisy levels",
        "The last step ends at a level that still has noise.",
        alpha_bar=lambda v: np.cumprod(1 - type(v)(v._formulas, T=v.T + 1, family=v.family).beta)),
    row("schedule-zero-end", "alpha_bar_T is 0, or so near to 0 (below 1e-12) that nothing is left to divide by",
        "The first step divides by sqrt(alpha_bar_T): NaN, or a picture blown up without bound.",
        alpha_bar=lambda v: 1 - np.arange(v.T + 1) / v.T),
    row("schedule-log", "the sum of log(1 - beta), without exp",
        "log alpha_bar, which is negative, in the place of alpha_bar: NaN in every root.",
        kept=lambda v: np.cumsum(np.log(v.alpha))),
    row("schedule-beta-squared", "the product of 1 - beta^2",
        "x_T keeps nearly all signal.",
        families=("linear", "cosine"),  # in the third it is schedule-beta-squared-twice
        kept=lambda v: np.cumprod(1 - v.beta**2)),
    row("schedule-float16", "computed in float16",
        "Digits are lost: levels coincide.",
        alpha_bar=lambda v: _rounded(np.float16, v)),
)

SCALED = table(
    SCHEDULE, "beta = linspace(sqrt(beta_1), sqrt(beta_T), T)^2", "latent diffusion's schedule",
    row("schedule-beta-not-squared", "the roots of beta are not squared",
        "All signal is gone after a tenth of the levels.",
        families=("scaled-linear",), beta=lambda v: np.linspace(*v.root_ends, v.T)),
    row("schedule-beta-squared-twice", "beta squared twice",
        "x_T keeps nearly all signal.",
        families=("scaled-linear",), beta=lambda v: np.linspace(*v.root_ends, v.T) ** 4),
    row("schedule-linear-squared", "linspace(beta_1, beta_T, T)^2: squared, but the roots of the ends were not taken",
        "x_T keeps nearly all signal.",
        families=("scaled-linear",), beta=lambda v: np.linspace(0.00085, 0.012, v.T) ** 2),
)

COSINES = table(
    SCHEDULE, "f_t = cos^2((t/T + 0.008)/1.008 pi/2)", "Nichol and Dhariwal 2021, eq. 17",
    row("cosine-without-cut", "the cosine goes to 0 at T: beta is not cut at 0.999",
        "The first step divides by sqrt(alpha_bar_T), which is 0 but for rounding: NaN, or a picture blown up 10^16 "
        "times.",
        families=COSINE, right="beta_t = min(1 - f_t/f_{t-1}, 0.999)",
        cut=lambda v: 1 - v.cosine[1:] / v.cosine[:-1]),
    row("cosine-not-squared", "f = cos, not cos^2",
        "The root of the schedule: too much signal at every level.",
        families=COSINE, right="f_t = cos^2(...)",
        cosine=lambda v: np.cos((np.arange(v.T + 1) / v.T + 0.008) / 1.008 * np.pi / 2)),
    row("cosine-no-denominator", "cos^2((t/T + 0.008) pi/2), not divided by 1.008",
        "The angle passes pi/2 before T: alpha_bar reaches 0 too early and rises again.",
        families=COSINE, right="f_t = cos^2((t/T + 0.008)/1.008 pi/2)",
        cosine=lambda v: np.cos((np.arange(v.T + 1) / v.T + 0.008) * np.pi / 2) ** 2),
    row("cosine-not-halved", "cos^2(pi ...) without the half",
        "It falls to 0 at T/2 and rises again.",
        families=COSINE, right="f_t = cos^2((t/T + 0.008)/1.008 pi/2)",
        alpha_bar=lambda v: (lambda f: f / f[0])(np.cos((np.arange(v.T + 1) / v.T + 0.008) / 1.008 * np.pi) ** 2)),
    row("cosine-not-normalised", "f_t without the division by f_0",
        "alpha_bar_0 is not 1: the data is taken for a noisy level.",
        families=COSINE, right="alpha_bar_t = f_t/f_0",
        first=lambda v: v.cosine[0]),
    row("schedule-float32", "computed in float32, which the tail of the cosine does not bear",
        "The last levels, which divide by sqrt(alpha_bar), are off.",
        families=COSINE, right="alpha_bar_t = prod_{i <= t} (1 - beta_i), alpha_bar_0 = 1, in float64",
        where="chapter 1",
        alpha_bar=lambda v: _rounded(np.float32, v)),
)
# fmt: on


def _rounded(dtype, v):
    """alpha-bar with every intermediate result rounded to a shorter type."""
    if v.family == "cosine":
        u = (np.arange(v.T + 1, dtype=dtype) / dtype(v.T) + dtype(0.008)) / dtype(1.008) * dtype(np.pi / 2)
        f = np.cos(u) ** 2
        beta = np.minimum(dtype(1) - f[1:] / f[:-1], dtype(0.999))
    else:
        beta = np.asarray(v.beta, dtype=dtype)
    return np.concatenate([[1.0], np.cumprod(dtype(1) - beta, dtype=dtype)]).astype(np.float64)
