"""Right answers and mistakes for the exercises of chapters 1 to 5."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ddim_edu.forward import eps_to_v, mix, unmix_eps, v_to_eps
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import NoiseSchedule
from exercise_answers.forms import array_functions, numbers, scalar_functions, tables


def snr(abar):
    return abar / (1 - abar)


def cosine(T: int, module=torch, dtype=torch.float64):
    f = module.cos((module.arange(T + 1, dtype=dtype) / T + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clip(max=0.999)


def cosine_by_loop(T: int) -> list[float]:
    f = [math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(T + 1)]
    return [min(1 - after / before, 0.999) for before, after in pairwise(f)]


def nearest(schedule, wanted, shift: int = 0, quantity: Callable = snr, scale: Callable = torch.log):
    distance = (scale(quantity(schedule.alpha_bar[1:])) - scale(torch.as_tensor(wanted, dtype=torch.float64))).abs()
    return 1 + shift + int(distance.argmin())


def nearest_by_loop(schedule, wanted):
    return min(range(1, schedule.T + 1), key=lambda t: abs(math.log(schedule.snr[t].item()) - math.log(wanted)))


def nearest_by_numpy(schedule, wanted):
    return np.abs(np.log(schedule.snr[1:].numpy()) - np.log(float(wanted))).argmin() + 1


GAPS = [[0.512, 0.216], [0.653, 0.061], [0.529, 0.0157]]


def scaled(table: list, factor: float) -> list:
    return [[factor * v for v in row] for row in table]


def wrapped(a: Callable, b: Callable) -> Callable:
    """A predictor of the noise, as a x_t + b v with a and b of alpha-bar."""

    def wrap(v_network, schedule):
        def eps_theta(x_t, t):
            abar = schedule.abar(t)[:, None]
            return a(abar) * x_t + b(abar) * v_network(x_t, t)

        return eps_theta

    return wrap


class ByMethod:
    """A predictor as an object."""

    def __init__(self, v_network, schedule):
        self.v_network, self.schedule = v_network, schedule

    def __call__(self, x_t, t):
        return v_to_eps(self.v_network(x_t, t), x_t, self.schedule.abar(t))


def noises(rho: float, n: int = 100_000) -> tuple[Tensor, Tensor]:
    first, fresh = torch.randn(2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return first, rho * first + (1 - rho**2) ** 0.5 * fresh


FIRST, LAST = noises(0.8**9)


def mean_by_lerp(x_t, x_0, abar_t, abar_s, sigma):
    ratio = ((1 - abar_s - sigma**2) / (1 - abar_t)) ** 0.5
    return (abar_s**0.5 + ratio * abar_t**0.5) * x_0 - ratio * x_t


def mean_by_reflection(x_t, x_0, abar_t, abar_s, sigma):
    return 2 * abar_s.sqrt() * x_0 - q_sigma(x_t, x_0, abar_t, abar_s, sigma).mean


def other_mean(x_t, x_0, t, s, sigma):
    return s**0.5 * x_0 - (1 - s - sigma**2) ** 0.5 * unmix_eps(x_t, x_0, t)


def by_levels(levels, eta: Callable, mistake: float = 1.0):
    """The chapter's own loop, with eta a function of the two levels of a step."""

    def sampler(eps_theta, x_T, schedule, tau, generator):
        x, abar, tau = x_T, schedule.alpha_bar, levels(tau)
        for i in reversed(range(len(tau) - 1)):
            t, s = tau[i + 1], tau[i]
            eps_hat = eps_theta(x, torch.full((len(x),), int(t)))
            sigma = schedule.sigma(t, s, eta(t, s)).item() * mistake
            z = draw(x, generator) if sigma > 0 else None
            x = ddim_step(x, eps_hat, abar[t], abar[s], sigma, z)
        return x

    return sampler


def above(t, s):
    return 1.0 if t > 500 else 0.0


def in_two_parts(eps_theta, x_T, schedule, tau, generator):
    x = x_T
    for step in ddim_path(eps_theta, x_T, schedule, tau, eta=1.0, generator=generator):
        if step.t <= 500:
            break
        x = step.x_s
    *_, last = ddim_path(eps_theta, x, schedule, tau[tau <= 500])
    return last.x_s


def in_two_loops(eps_theta, x_T, schedule, tau, generator):
    x, steps = x_T, list(pairwise(tau.tolist()))[::-1]
    for s, t in [step for step in steps if step[1] > 500]:
        x = ddim_step(
            x,
            eps_theta(x, torch.full((len(x),), t)),
            schedule.alpha_bar[t],
            schedule.alpha_bar[s],
            schedule.sigma(t, s, 1.0),
            draw(x, generator),
        )
    for s, t in [step for step in steps if step[1] <= 500]:
        x = ddim_step(x, eps_theta(x, torch.full((len(x),), t)), schedule.alpha_bar[t], schedule.alpha_bar[s])
    return x


def from_a_list(eps_theta, x_T, schedule, tau, generator):
    down = tau[::-1]
    x = x_T
    for t, s in zip(down, down[1:]):
        eps, sigma = eps_theta(x, torch.full((len(x),), t)), schedule.sigma(t, s, above(t, s))
        x = ddim_step(x, eps, schedule.alpha_bar[t], schedule.alpha_bar[s], sigma, draw(x, generator))
    return x


def in_float32(eps_theta, x_T, schedule, tau, generator):
    x = x_T.float()
    for s, t in reversed(list(pairwise(tau.tolist()))):
        eps = eps_theta(x, torch.full((len(x),), t)).float()
        sigma = schedule.sigma(t, s, above(t, s)).float()
        x = ddim_step(x, eps, schedule.alpha_bar[t], schedule.alpha_bar[s], sigma, draw(x, generator))
    return x


def same_draw(eps_theta, x_T, schedule, tau, generator):
    x, z = x_T, draw(x_T, generator)
    for s, t in reversed(list(pairwise(tau.tolist()))):
        eps = eps_theta(x, torch.full((len(x),), t))
        x = ddim_step(x, eps, schedule.alpha_bar[t], schedule.alpha_bar[s], schedule.sigma(t, s, above(t, s)), z)
    return x


def room_forgotten(eps_theta, x_T, schedule, tau, generator):
    x = x_T
    for s, t in reversed(list(pairwise(tau.tolist()))):
        eps, sigma = eps_theta(x, torch.full((len(x),), t)), schedule.sigma(t, s, above(t, s))
        x = ddim_step(x, eps, schedule.alpha_bar[t], schedule.alpha_bar[s]) + sigma * draw(x, generator)
    return x


# For each exercise: its right answers, and its wrong ones with the mistake and words of the hint that fits it.
ANSWERS: dict[str, tuple[list, list[tuple[str, object, str]]]] = {
    "ex-forward-no-shrink": (
        [*numbers(11.05), NoiseSchedule.linear().beta.sum() + 1, 11, 11.1],
        [
            ("the data left out", 10.05, "this is the variance of the added noise alone"),
            ("standard deviation", 3.324, "it looks like the square root of what is asked for"),
            ("sign", -11.05, "the size is right and the sign is not"),
            ("times 2", 22.1, "it is off by a simple factor"),
            (
                "standard deviations added",
                1 + NoiseSchedule.linear().beta.sqrt().sum(),
                "here standard deviations were added",
            ),
            ("with the shrinking", 1, "that is the variance with the shrinking"),
        ],
    ),
    "ex-forward-forget": (
        scalar_functions(
            lambda v, a: 1 + a * (v - 1),
            lambda v, a: a * v + 1 - a,
            lambda v, a: 1 - (1 - v) * a,
            lambda v, a: torch.lerp(torch.ones_like(v), v, a),
            rational=True,
        ),
        [
            (
                "root of alpha-bar",
                lambda v, a: 1 + a**0.5 * (v - 1),
                "Does one step change the distance by the factor of x",
            ),
            ("square of alpha-bar", lambda v, a: 1 + a**2 * (v - 1), "alpha-bar was squared on the way"),
            ("sign", lambda v, a: 1 - a * (v - 1), "From which side does the variance come"),
            (
                "the distance only",
                lambda v, a: a * (v - 1),
                "This is the distance of the variance from 1; the variance",
            ),
            (
                "standard deviation",
                lambda v, a: (1 + a * (v - 1)) ** 0.5,
                "It looks like the square root of what is asked for",
            ),
            ("times 2", lambda v, a: 2 + 2 * a * (v - 1), "It is off by a simple factor"),
            ("swapped ends", lambda v, a: v + a * (1 - v), "The two ends are swapped"),
        ],
    ),
    "ex-forward-cosine": (
        [
            cosine,
            lambda T: cosine(T, dtype=torch.float32),
            lambda T: cosine(T, np, np.float32),
            lambda T: cosine(T, np, np.float64),
            cosine_by_loop,
            lambda T: tuple(cosine_by_loop(T)),
            lambda T: NoiseSchedule.cosine(T).beta[1:],
            lambda T: NoiseSchedule.cosine(T).beta[1:].float()[:, None],
            lambda T: [Fraction(b) for b in cosine_by_loop(T)],
        ],
        [
            ("one too many", lambda T: NoiseSchedule.cosine(T).beta, "one for each step"),
            ("alpha-bar", lambda T: NoiseSchedule.cosine(T).alpha_bar[1:].float(), "These are the alpha-bars"),
            ("alpha", lambda T: 1 - cosine(T), "These are the shares that a step keeps; beta is what"),
            ("off by one", lambda T: torch.cat([torch.zeros(1), cosine(T)[:-1]]), "They stand one place too late"),
            ("roots", lambda T: cosine(T) ** 0.5, "These are the factors of the noise"),
            ("sign", lambda T: -cosine(T), "The size is right and the sign is not"),
            ("times 2", lambda T: 2 * cosine(T), "It is off by a simple factor, of every beta"),
            ("reversed", lambda T: cosine(T).flip(0), "The order is reversed"),
            ("cap of 0.9999", lambda T: cosine(T).where(cosine(T) < 0.999, 0.9999), "All others are right"),
            (
                "1 minus alpha-bar",
                lambda T: 1 - NoiseSchedule.cosine(T).alpha_bar[1:],
                "This is what all steps up to t take away",
            ),
        ],
    ),
    "ex-forward-roots": (
        scalar_functions(
            lambda b: b / (2 - b),
            lambda b: b**2 / (1 - (1 - b) ** 2),
            lambda b: 1 / (2 / b - 1),
            lambda b: functools.reduce(lambda v, _: (1 - b) ** 2 * v + b**2, range(2000), torch.ones_like(b)),
            rational=True,
        ),
        [
            ("noise of one step", lambda b: b**2, "That is the noise of one step"),
            (
                "standard deviation",
                lambda b: (b / (2 - b)) ** 0.5,
                "It looks like the square root of what is asked for",
            ),
            ("sign", lambda b: b / (2 + b), "Nearly"),
            ("for small beta", lambda b: b / 2, "Nearly"),
            ("times 2", lambda b: 2 * b / (2 - b), "It is off by a simple factor"),
            ("with the roots", lambda b: 1.0, "That is where the step with its roots leads"),
            ("reciprocal", lambda b: (2 - b) / b, "It looks like the reciprocal of what is asked for"),
        ],
    ),
    "ex-forward-lineup": (
        numbers(240) + [np.int64(238), torch.tensor(233), 250],
        [
            ("a share", 0.24, "0.24 is a share"),
            ("times 2", 480, "well before it more than half were mistaken"),
            ("half", 120, "the pictures were still recognised there more often"),
            ("noise equal to data", 260, "that is where noise outweighs data of variance 1"),
            ("sign", -240, "-240 is negative"),
        ],
    ),
    "ex-variance-s-to-t": (
        scalar_functions(
            lambda t, s: 1 - t / s,
            lambda t, s: (s - t) / s,
            lambda t, s: (1 - t) - t / s * (1 - s),
            lambda t, s: -torch.expm1(t.log() - s.log()),
            rational=True,
        ),
        [
            ("s and t swapped", lambda t, s: 1 - s / t, "Are s and t in their places?"),
            ("standard deviation", lambda t, s: (1 - t / s) ** 0.5, "This is the standard deviation"),
            ("from 0", lambda t, s: 1 - t, "This is the noise in x_t given x_0"),
            (
                "alpha-bars multiplied",
                lambda t, s: 1 - t * s,
                "Is one product of alphas within the other, or beside it?",
            ),
            ("root", lambda t, s: 1 - (t / s) ** 0.5, "Is the factor of x_s the share of the variance that"),
            ("sign", lambda t, s: t / s - 1, "The size is right and the sign is not"),
            ("times 2", lambda t, s: 2 - 2 * t / s, "It is off by a simple factor"),
            ("what is kept", lambda t, s: t / s, "This is the share of the variance that is kept, not"),
        ],
    ),
    "ex-variance-covariance": (
        scalar_functions(
            lambda t, s: (snr(t) / snr(s)) ** 0.5,
            lambda t, s: (t / s) ** 0.5 * (1 - s) / ((1 - s) * (1 - t)) ** 0.5,
            lambda t, s: math.sqrt(t * (1 - s) / s / (1 - t)),
            lambda t, s: (0.5 * (torch.logit(t) - torch.logit(s))).exp(),
        ),
        [
            ("s and t swapped", lambda t, s: (snr(s) / snr(t)) ** 0.5, "Are s and t in their places?"),
            ("covariance", lambda t, s: (t / s) ** 0.5 * (1 - s), "This is the covariance"),
            ("without the root", lambda t, s: snr(t) / snr(s), "Nearly"),
            ("sign", lambda t, s: -((snr(t) / snr(s)) ** 0.5), "The size is right and the sign is not"),
            ("times 2", lambda t, s: 2 * (snr(t) / snr(s)) ** 0.5, "It is off by a simple factor"),
            ("signal only", lambda t, s: (t / s) ** 0.5, "This is the factor of x_s in x_t"),
            ("noise only", lambda t, s: ((1 - s) / (1 - t)) ** 0.5, "x_s is shrunk on its way to x_t, and that is"),
        ],
    ),
    "ex-variance-wanted-snr": (
        [
            nearest,
            nearest_by_loop,
            nearest_by_numpy,
            lambda schedule, wanted: float(nearest(schedule, wanted)),
            lambda schedule, wanted: torch.tensor([nearest(schedule, wanted)]),
            lambda schedule, wanted: int((schedule.snr[1:] / wanted).log2().abs().argmin()) + 1,
        ],
        [
            ("off by one down", lambda schedule, wanted: nearest(schedule, wanted, -1), "It is off by one everywhere"),
            ("off by one up", lambda schedule, wanted: nearest(schedule, wanted, 1), "It is one too high"),
            (
                "linear scale",
                lambda schedule, wanted: nearest(schedule, wanted, scale=lambda v: v),
                "This is the nearest on a linear scale; the exercise asks",
            ),
            (
                "alpha-bar for SNR",
                lambda schedule, wanted: nearest(schedule, wanted, quantity=lambda a: a, scale=lambda v: v),
                "There alpha-bar is the wanted number",
            ),
            (
                "standard deviations",
                lambda schedule, wanted: nearest(schedule, wanted, quantity=lambda a: snr(a) ** 0.5, scale=lambda v: v),
                "There the root of the SNR is the wanted number",
            ),
            ("sign", lambda schedule, wanted: -nearest(schedule, wanted), "Levels run from 1 to T = 1000"),
            ("between levels", lambda schedule, wanted: nearest(schedule, wanted) + 0.4, "A level is a whole number"),
            ("level 0", lambda schedule, wanted: 0, "Level 0 is the data, whose SNR is infinite"),
        ],
    ),
    "ex-variance-shape": (
        numbers(1.03, 2.3e-5, names=("across", "within")) + [(torch.tensor(0.97), 2.34e-5)],
        [
            ("swapped", (2.3e-5, 1.03), "the two are swapped"),
            ("nothing is left", (1.03, 0), "it is small and not 0"),
            ("standard deviation", (1.015, 0.0048), "this is a standard deviation"),
            ("alpha-bar itself", (1.03, 4.04e-5), "the picture's pixels do not have variance 1"),
            ("all pixels of all images", (1.03, 1.03), "this is what noise of the shape (B, C, H, W)"),
            ("sign", (1.03, -2.3e-5), "a variance is not negative"),
            ("times 2", (2.06, 4.6e-5), "Take one pixel of x_T, over the images; at level T"),
        ],
    ),
    "ex-reverse-snr": (
        scalar_functions(
            lambda t, s: 0.5 * (snr(s) - snr(t)),
            lambda t, s: (s / (1 - s) - t / (1 - t)) / 2,
            lambda t, s: (s - t) / ((1 - s) * (1 - t)) / 2,
            lambda t, s: s * (1 - t / s) ** 2 / (1 - t) ** 2 / (2 * (1 - s) / (1 - t) * (1 - t / s)),
            rational=True,
        ),
        [
            ("times 2", lambda t, s: snr(s) - snr(t), "There is a factor missing"),
            ("half", lambda t, s: (snr(s) - snr(t)) / 4, "There is a factor too many"),
            ("s and t swapped", lambda t, s: (snr(t) - snr(s)) / 2, "The size is right and the sign is not"),
            ("alpha-bars", lambda t, s: (s - t) / 2, "These are alpha-bars"),
            ("of the noise", lambda t, s: (snr(s) / snr(t) - 1) / 2, "This is the weight of the error of the noise"),
            (
                "standard deviation",
                lambda t, s: ((snr(s) - snr(t)) / 2) ** 0.5,
                "Is the squared distance of the means divided by a variance",
            ),
        ],
    ),
    "ex-reverse-gap": (
        [*tables(GAPS), dict(zip((16, 64, 256), GAPS)), [[0.54, 0.235], [0.67, 0.07], [0.55, 0.03]]],
        [
            ("not measured", [[5, 900], [5, 30], [5, 1]], "Look at the first column"),
            ("bits", scaled(GAPS, 1 / math.log(2)), "These are bits"),
            ("times 2", scaled(GAPS, 2), "They are all off by one simple factor"),
            ("half", scaled(GAPS, 0.5), "They are all off by one simple factor"),
            ("sign", scaled(GAPS, -1), "They are negative"),
            ("columns swapped", [row[::-1] for row in GAPS], "The first column is the one that closes"),
            ("rows swapped", GAPS[::-1], "The rows are in the other order"),
            ("linear schedule", [[6.2, 0.21], [1.79, 0.053], [0.743, 0.016]], "Look at the first column"),
            ("second column doubled", [[a, 2 * b] for a, b in GAPS], "Look at the second column"),
            ("first column doubled", [[2 * a, b] for a, b in GAPS], "Look at the first column"),
            ("chance", [[0.51, 0.21], [0.65, 0.06], [0.52, -0.004]], "One is negative, but the bound lies below"),
        ],
    ),
    "ex-reverse-v": (
        [
            wrapped(lambda a: (1 - a).sqrt(), lambda a: a.sqrt()),
            lambda net, schedule: lambda x, t: v_to_eps(net(x, t), x, schedule.abar(t)),
            lambda net, schedule: lambda x, t: v_to_eps(net(x, t).float(), x.float(), schedule.abar(t)),
            lambda net, schedule: (
                lambda x, t: (
                    (1 - schedule.abar(t)[:, None]) ** 0.5 * x + schedule.abar(t)[:, None] ** 0.5 * net(x, t)
                ).tolist()
            ),
            ByMethod,
        ],
        [
            ("v itself", lambda net, schedule: net, "It returned v itself"),
            ("the data", wrapped(lambda a: a.sqrt(), lambda a: -(1 - a).sqrt()), "It returned the predicted data"),
            (
                "sign",
                wrapped(lambda a: -(1 - a).sqrt(), lambda a: -a.sqrt()),
                "It returned the noise with the wrong sign",
            ),
            ("one sign", wrapped(lambda a: -(1 - a).sqrt(), lambda a: a.sqrt()), "A sign is wrong, or two"),
            (
                "no roots",
                wrapped(lambda a: 1 - a, lambda a: a),
                "The factors are not alpha-bar and 1 minus alpha-bar, but their",
            ),
            (
                "roots swapped",
                wrapped(lambda a: a.sqrt(), lambda a: (1 - a).sqrt()),
                "The two roots are in each other's place",
            ),
            (
                "times 2",
                wrapped(lambda a: 2 * (1 - a).sqrt(), lambda a: 2 * a.sqrt()),
                "It is off by a simple factor at every level",
            ),
            (
                "the other way",
                lambda net, schedule: lambda x, t: eps_to_v(net(x, t), x, schedule.abar(t)),
                "It went from noise to v once more",
            ),
        ],
    ),
    "ex-reverse-root": (
        numbers(3.01, 11.6, names=("widest", "lost")) + [(torch.tensor(2.95), np.float32(12.4))],
        [
            ("sign", (3.01, -11.6), "which of the two walks ends where the data is likelier?"),
            ("anything large", (3.01, 1e6), "the mean over the samples, not their sum, of one logarithm"),
            ("variance", (9.06, 11.6), "this is a variance, and a standard deviation is asked for"),
            ("swapped", (11.6, 3.01), "the two are swapped"),
            ("bits", (3.01, 16.7), "are these bits?"),
            ("half", (3.01, 5.8), "the mean log density of the final samples"),
            ("the right walk", (1.03, 0.0), "this is the right walk"),
            ("sum", (3.01, 23_200), "the mean over the samples, not their sum, of one logarithm"),
        ],
    ),
    "ex-family-distance": (
        scalar_functions(
            lambda f, n: (1 - f**2) ** (n / 2),
            lambda f, n: ((1 - f**2) ** 0.5) ** n,
            lambda f, n: math.prod([math.sqrt(1 - float(f) ** 2)] * n),
            lambda f, n: (n / 2 * torch.log1p(-(f**2))).exp(),
        ),
        [
            (
                "variance",
                lambda f, n: (1 - f**2) ** n,
                "Is the correlation of neighbours the share of the variance that",
            ),
            (
                "standard deviations added",
                lambda f, n: (1 - f) ** n,
                "Standard deviations of fresh and found noise do not add up",
            ),
            ("one step too few", lambda f, n: (1 - f**2) ** ((n - 1) / 2), "That is one step too few"),
            ("one step too many", lambda f, n: (1 - f**2) ** ((n + 1) / 2), "That is one step too many"),
            ("the fresh noise", lambda f, n: f**n, "This follows the fresh noise"),
            ("sign", lambda f, n: -((1 - f**2) ** (n / 2)), "The size is right and the sign is not"),
            ("times 2", lambda f, n: 2 * (1 - f**2) ** (n / 2), "It is off by a simple factor"),
        ],
    ),
    "ex-family-minus": (
        array_functions(
            other_mean,
            mean_by_lerp,
            mean_by_reflection,
            lambda x, x_0, t, s, o: mix(x_0, -unmix_eps(x, x_0, t) * ((1 - s - o**2) / (1 - s)).sqrt(), s),
        ),
        [
            (
                "the chapter's mean",
                lambda x, x_0, t, s, o: q_sigma(x, x_0, t, s, o).mean,
                "This is the chapter's own mean",
            ),
            ("both signs", lambda x, x_0, t, s, o: -q_sigma(x, x_0, t, s, o).mean, "Everything has changed its sign"),
            (
                "sigma for its square",
                lambda x, x_0, t, s, o: s**0.5 * x_0 - (1 - s - o).clamp(min=0) ** 0.5 * unmix_eps(x, x_0, t),
                "What is subtracted under the root",
            ),
            (
                "no room for noise",
                lambda x, x_0, t, s, o: other_mean(x, x_0, t, s, 0 * o),
                "Where is the room that fresh noise needs?",
            ),
            (
                "x_t and x_0 swapped",
                lambda x, x_0, t, s, o: other_mean(x_0, x, t, s, o),
                "Are x_t and x_0 in each other's place?",
            ),
            (
                "no root of abar_s",
                lambda x, x_0, t, s, o: other_mean(x, x_0, t, s, o) + (s - s**0.5) * x_0,
                "By which factor is x_0 shrunk at level s?",
            ),
            ("times 2", lambda x, x_0, t, s, o: 2 * other_mean(x, x_0, t, s, o), "It is off by a simple factor"),
        ],
    ),
    "ex-family-upwards": (
        [
            (FIRST, LAST),
            [FIRST.float(), LAST.float()],
            (FIRST.numpy(), LAST.numpy()),
            torch.stack([FIRST, LAST]),
            torch.stack([FIRST, LAST]).numpy(),
            torch.stack([FIRST, LAST], 1),
            np.stack([FIRST, LAST], 1),
            {"first": FIRST, "last": LAST},
            (FIRST[:, None], LAST[:, None]),
            (FIRST.tolist(), LAST.tolist()),
        ],
        [
            ("one step too many", noises(0.8**10), "one step too many"),
            (
                "variance for standard deviation",
                noises(0.4**4.5),
                "is each sigma_t 60% of the largest that its level allows",
            ),
            ("independent", noises(0.0), "so the two are independent"),
            ("sign", (FIRST, -LAST), "its size is right and its sign is not"),
            ("times 2", (2 * FIRST, 2 * LAST), "Are they noises, or states x?"),
            ("states", (FIRST + 0.8, LAST), "Are they noises, or states x?"),
            ("the same", (FIRST, FIRST), "both are the same noise"),
        ],
    ),
    "ex-family-looks": (
        numbers(-0.399, 0.841, names=("mean", "variance")) + [(-1 / math.sqrt(2 * math.pi), 1 - 1 / (2 * math.pi))],
        [
            ("swapped", (0.841, -0.399), "the two are swapped"),
            ("sign", (0.399, 0.841), "look at the sign of the mean"),
            ("standard deviation", (-0.399, 0.917), "the mean is right. The second number is the standard"),
            ("mean square", (-0.399, 1.0), "the mean is right. The second number is the mean"),
            ("times 2", (-0.798, 0.841), "this is the mean of the kept noises alone"),
            ("looks at x_0", (0.0, 1.0), "nothing is broken here"),
        ],
    ),
    "ex-sigma-hat-gaussian": (
        scalar_functions(
            lambda t, s: t / s + (1 - s) / (1 - t) * (1 - t / s),
            lambda t, s: 1 - (1 - t / s) * (s - t) / (1 - t),
            lambda t, s: ((t / s) ** 0.5) ** 2 + (((1 - s) / (1 - t) * (1 - t / s)) ** 0.5) ** 2,
            lambda t, s: (
                ((s * t) ** 0.5 + ((1 - s - (1 - s) / (1 - t) * (1 - t / s)) * (1 - t)) ** 0.5) ** 2
                + (1 - s) / (1 - t) * (1 - t / s)
            ),
            rational=True,
        ),
        [
            (
                "s and t swapped",
                lambda t, s: s / t + (1 - t) / (1 - s) * (1 - s / t),
                "It looks as if s and t were swapped",
            ),
            (
                "standard deviation",
                lambda t, s: (t / s + (1 - s) / (1 - t) * (1 - t / s)) ** 0.5,
                "It looks like the square root of what is asked for",
            ),
            (
                "sigma not squared",
                lambda t, s: t / s + ((1 - s) / (1 - t) * (1 - t / s)) ** 0.5,
                "Is sigma squared, where variances are added?",
            ),
            (
                "alpha-bar for alpha",
                lambda t, s: t + (1 - s) / (1 - t) * (1 - t / s),
                "From s to t the signal shrinks by the quotient of",
            ),
            ("sigma-hat", lambda t, s: 1, "This is what the larger noise, sigma-hat, does"),
            ("the noise alone", lambda t, s: (1 - s) / (1 - t) * (1 - t / s), "This is the fresh noise alone"),
            ("sign", lambda t, s: -(t / s + (1 - s) / (1 - t) * (1 - t / s)), "The size is right and the sign is not"),
            ("times 2", lambda t, s: 2 * (t / s + (1 - s) / (1 - t) * (1 - t / s)), "It is off by a simple factor"),
        ],
    ),
    "ex-sigma-loss": (
        scalar_functions(
            lambda s: (1 - s) ** 0.5,
            lambda s: math.sqrt(1 - s),
            lambda s: torch.sqrt(1 - s),
            lambda s: (1 - s) / (1 - s) ** 0.5,
        ),
        [
            ("variance", lambda s: 1 - s, "This is the variance"),
            ("the value of k", lambda s: s**0.5, "This is the value of k that is asked for, not"),
            ("the other end", lambda s: 0, "At sigma = 0 all of the found noise is used"),
            ("sign", lambda s: -((1 - s) ** 0.5), "A standard deviation is not negative"),
            ("root first", lambda s: 1 - s**0.5, "Is the root of abar_s subtracted, or abar_s under the root?"),
            ("times 2", lambda s: 2 * (1 - s) ** 0.5, "It is off by a simple factor"),
        ],
    ),
    "ex-sigma-both": (
        [
            by_levels(lambda tau: tau.tolist(), above),
            by_levels(lambda tau: tau, above),
            by_levels(lambda tau: [int(t) for t in tau], above),
            in_two_parts,
            in_two_loops,
            from_a_list,
            in_float32,
        ],
        [
            ("eta 0 everywhere", by_levels(list, lambda t, s: 0.0), "this is pure DDIM"),
            ("eta 1 everywhere", by_levels(list, lambda t, s: 1.0), "noise is added below level 500 as well"),
            (
                "the wrong side",
                by_levels(list, lambda t, s: 1.0 - above(t, s)),
                "noise is added below level 500 as well",
            ),
            ("off by one up", by_levels(list, lambda t, s: 1.0 if t >= 500 else 0.0), "eta is 0 there already"),
            (
                "off by one down",
                by_levels(list, lambda t, s: 1.0 if s > 500 else 0.0),
                "the step that leaves level 510 has no noise",
            ),
            (
                "half of eta",
                by_levels(list, lambda t, s: 0.5 * above(t, s)),
                "is the noise of eta = 1 added above level 500",
            ),
            ("one draw for all", same_draw, "Above level 500 the noise of one step is like that"),
            ("no room for the noise", room_forgotten, "Above level 500 all of the found noise is used, and"),
        ],
    ),
    "ex-sigma-same-noise": (
        numbers(17.05) + [17, 16.8, torch.tensor([17.2])],
        [
            ("variance", 290.7, "it looks like the square of what is asked for"),
            ("fresh noise", 1.0, "this is the walk with fresh noise"),
            ("times 2", 34.1, "it is off by a simple factor"),
            ("sign", -17.05, "the size is right and the sign is not"),
            ("half", 8.5, "it is off by a simple factor"),
        ],
    ),
    "ex-sigma-half": (
        numbers(0.41) + [0.4, 0.43],
        [
            ("half of eta", 0.5, "half of eta is not half of the effect"),
            ("half of that", 0.2, "there most of the error is still left"),
            ("times 2", 0.82, "there most of the error is gone"),
            ("sign", -0.41, "eta is not negative"),
            ("no noise", 0, "that is not it"),
        ],
    ),
}
