"""Right answers and mistakes for the exercises of chapters 16 to 20."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from ddim_edu.exact import Gaussian
from ddim_edu.flow import as_velocity
from ddim_edu.sampler import ddim_step
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.steps import cheapest
from exercise_answers.forms import array_functions, giving, numbers, scalar_functions


def velocity(y, r, v, data=-1, at=1.0):
    return (r + data * (1 - r) * v) / ((1 - r) ** 2 * v + at * r**2) * y


def velocity_by_package(y, r, v):
    exact = Gaussian(torch.zeros(1), v, NoiseSchedule.linear())
    return as_velocity(exact.eps_at)(y.double()[:, None], r)[:, 0]


def turn(x, v, h):
    h = float(h)
    return x * math.cos(h) - v * math.sin(h)


def turn_by_step(x, v, h):
    phi = 0.9  # any angle will do
    s = math.cos(phi - float(h)) ** 2
    eps = math.sin(phi) * x + math.cos(phi) * v
    if 0 <= phi - float(h):
        return ddim_step(x, eps, math.cos(phi) ** 2, s)
    return turn(x, v, h)


def spread(v, nu_T):
    return v * (1 + math.log((v + nu_T**2) / v))


def spread_by_steps(v, nu_T):
    w = torch.logspace(math.log10(v), math.log10(v + nu_T**2), 200_001, dtype=torch.float64)
    return v * (1 + torch.trapezoid(1 / w, w))


def chord(x, nu_t, nu_s, v):
    return x * (1 - math.sqrt((v + nu_s**2) / (v + nu_t**2))) / (nu_t - nu_s)


def chord_by_steps(x, nu_t, nu_s, v, n=20_000):
    nu = np.linspace(float(nu_t), float(nu_s), n + 1)
    growth = np.prod(1 + np.diff(nu) * (nu[1:] + nu[:-1]) / 2 / (float(v) + ((nu[1:] + nu[:-1]) / 2) ** 2))
    return x * (1 - growth) / (nu_t - nu_s)


def alone(v, nu):
    found = 1.0
    for k in range(1, len(nu)):
        found = found * (v + nu[k - 1] * nu[k]) / (v + nu[k] ** 2)
    return found


def renewed(v, abar):
    return math.sqrt(v * abar / (v * abar + 1 - abar))


def memory(a, b, v, eta):
    return ((v + a**2) / (v + b**2)) ** (eta**2 / 2)


VARIANCE = 0.3 * 1.02 + 0.7 * 0.41 - 0.12**2


def place(h):
    return h / (1 - math.exp(-h)) - 1


def best_of_gaussian(v, abar_t, abar_s):
    V_t, V_s = (a * v + 1 - a for a in (abar_t, abar_s))
    return (V_s - abar_t / abar_s * V_s**2 / V_t) ** 0.5


def best_by_hand(v, abar_t, abar_s):
    fresh = (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
    k = abar_s**0.5 * (1 - abar_t / abar_s) / (1 - abar_t)
    return (fresh + k**2 * v * (1 - abar_t) / (abar_t * v + 1 - abar_t)) ** 0.5


def least_way(cost, S, best=min):
    last = len(cost) - 1
    ways = [(0, *inner, last) for inner in itertools.combinations(range(1, last), S - 1)]
    return list(best(ways, key=lambda way: sum(float(cost[i][j]) for i, j in itertools.pairwise(way))))


# For each exercise: its right answers, and its wrong ones with the mistake and words of the hint that fits it.
ANSWERS: dict[str, tuple[list, list[tuple[str, object, str]]]] = {
    "ex-continuous-velocity": (
        array_functions(velocity, velocity_by_package),
        [
            ("other direction", lambda y, r, v: -velocity(y, r, v), "points from noise to data"),
            ("standard deviation", lambda y, r, v: velocity(y, r, v**2), "not its standard deviation"),
            ("times swapped", lambda y, r, v: velocity(y, 1 - r, v), "Are they swapped?"),
            ("noise alone", lambda y, r, v: velocity(y, r, v, data=0) * 1.0, "This is the expected noise"),
            ("plus", lambda y, r, v: velocity(y, r, v, data=1), "wrong sign"),
            ("not divided", lambda y, r, v: (r - (1 - r) * v) * y, "What is it divided by?"),
        ],
    ),
    "ex-continuous-angle": (
        array_functions(turn, turn_by_step, lambda x, v, h: (x - v * torch.tan(h)) * torch.cos(h)),
        [
            ("Euler", lambda x, v, h: x - h * v, "This is Euler's step. Where"),
            ("upwards", lambda x, v, h: turn(x, -v, h), "upwards, to phi + h"),
            ("Euler upwards", lambda x, v, h: x + h * v, "Euler's step, upwards"),
            ("swapped", lambda x, v, h: x * torch.sin(h) - v * torch.cos(h), "in each other's place"),
            ("state not turned", lambda x, v, h: x - v * torch.sin(h), "The state itself is turned"),
            ("length", lambda x, v, h: x - v * torch.tan(h), "is the length kept?"),
        ],
    ),
    "ex-continuous-spread": (
        [
            spread,
            spread_by_steps,
            lambda v, n: v + v * np.log1p(n.numpy() ** 2 / v.numpy()),
            lambda v, n: [float(v * (1 + torch.log1p(n**2 / v)))],
            lambda v, n: spread(float(v), float(n)),
        ],
        [
            ("as if right", lambda v, n: v, "what the right drift gives"),
            ("sign", lambda v, n: 2 * v - spread(v, n), "not smaller"),
            ("start forgotten", lambda v, n: spread(v, n) - v, "at the start, in units"),
            ("ratio", lambda v, n: spread(v, n) / v, "how many times it is too large"),
            ("root", lambda v, n: spread(v, n) ** 0.5, "standard deviation"),
            ("half the noise", lambda v, n: (v + spread(v, n)) / 2, "Is the 2 there?"),
        ],
    ),
    "ex-continuous-memory": (
        scalar_functions(
            memory,
            lambda a, b, v, eta: math.exp(eta**2 / 2 * (math.log(v + a**2) - math.log(v + b**2))),
            lambda a, b, v, eta: ((v + a * a) / (v + b * b)).sqrt() ** (eta * eta),
        ),
        [
            ("mean", lambda a, b, v, eta: memory(a, b, v, (1 + eta**2) ** 0.5), "the factor of the mean"),
            ("square", lambda a, b, v, eta: memory(a, b, v, eta) ** 2, "the square of a correlation"),
            ("forward", lambda a, b, v, eta: memory(a, b, v, 1.0), "And eta?"),
            ("eta, not its square", lambda a, b, v, eta: memory(a, b, v, eta**0.5), "power 2 of eta"),
            ("swapped", lambda a, b, v, eta: memory(b, a, v, eta), "are a and b swapped"),
            ("data's variance", lambda a, b, v, eta: (a / b) ** (eta**2), "forgets the data's own variance"),
        ],
    ),
    "ex-continuous-reflow": (
        numbers(0.579, 0.0, names=("first", "second")),
        [
            ("swapped", (0.0, 0.579), "independent pairs come first"),
            ("root", (VARIANCE**0.5, 0.0), "its mean square is asked for"),
            ("two draws", (2 * VARIANCE, 0.0), "two unrelated draws"),
            ("velocity", (1.593, 0.0), "mean square of the velocity"),
            ("no second round", (VARIANCE, VARIANCE), "With these pairs"),
        ],
    ),
    "ex-calls-middle": (
        scalar_functions(place, lambda h: (h * h.exp() - h.exp() + 1) / (h.exp() - 1)),
        [
            ("middle", lambda h: h / 2, "2M's choice"),
            ("share", lambda h: place(h) / h, "as a share of the step"),
            ("from the end", lambda h: h - place(h), "from the end of the step"),
            ("not divided", lambda h: h * h.exp() - h.exp() + 1, "A mean divides"),
            ("two terms", lambda h: h / 2 + h**2 / 12, "first two terms"),
        ],
    ),
    "ex-calls-gaussian": (
        scalar_functions(best_of_gaussian, best_by_hand),
        [
            ("variance", lambda v, t, s: best_of_gaussian(v, t, s) ** 2, "Its root is asked for"),
            ("eta 1", lambda v, t, s: ((1 - s) / (1 - t) * (1 - t / s)) ** 0.5, "right for a single point"),
            ("hat", lambda v, t, s: (1 - t / s) ** 0.5, "right for v = 1"),
            ("data", lambda v, t, s: (v * (1 - t) / (t * v + 1 - t)) ** 0.5, "arrives at level s"),
        ],
    ),
    "ex-calls-cheapest": (
        [least_way, cheapest, lambda cost, S: tuple(least_way(cost.tolist(), S)), giving(torch.tensor, least_way)],
        [
            ("falling", lambda cost, S: least_way(cost, S)[::-1], "Return it rising"),
            ("dearest", lambda cost, S: least_way(cost, S, max), "dearest"),
            ("turned", lambda cost, S: least_way(cost.T, S), "from a column to a row"),
        ],
    ),
}


def contraction(v, nu_t, nu_s):
    return (nu_t - nu_s) * nu_t / (v + nu_t**2)


def bits(before, down, up, grid):
    return before + grid * torch.round((down - up) / grid)


ANSWERS |= {
    "ex-inversion-contraction": (
        scalar_functions(contraction, lambda v, a, b: (1 - b / a) / (1 + v / (a * a))),
        [
            ("sign", lambda v, a, b: -contraction(v, a, b), "the gap keeps its side"),
            ("no data", lambda v, a, b: 1 - b / a, "without the data's variance"),
            ("level s", lambda v, a, b: (a - b) * b / (v + b**2), "not at s"),
            ("standard deviation", lambda v, a, b: contraction(v**2, a, b), "not its standard deviation"),
            ("no step", lambda v, a, b: a / (v + a**2), "the length of the step"),
            ("step", lambda v, a, b: 1 - contraction(v, a, b), "of the step itself"),
        ],
    ),
    "ex-inversion-gap": (
        scalar_functions(lambda p, S: p ** (-2 * S), lambda p, S: math.exp(-2 * S * math.log(p))),
        [
            ("down", lambda p, S: p ** (2 * S), "the way down"),
            ("one line", lambda p, S: p ** (-S), "two lines of mixing"),
            ("one step", lambda p, S: p**-2.0, "This is one step"),
            ("unmixed x", lambda p, S: (2 * p - 1) ** (-S), "mixed already"),
        ],
    ),
    "ex-inversion-bits": (
        [
            bits,
            lambda b, d, u, g: g * torch.round(b / g) + g * torch.round((d - u) / g),
            lambda b, d, u, g: g * (b / g + ((d - u) / g).round()),
        ],
        [
            ("no grid", lambda b, d, u, g: b + d - u, "On which grid"),
            ("up", lambda b, d, u, g: b - g * torch.round((d - u) / g), "This is the way up"),
            ("steps", lambda b, d, u, g: b + torch.round((d - u) / g), "how long is one"),
            ("floor", lambda b, d, u, g: b + g * torch.floor((d - u) / g), "nearest multiple"),
            ("change alone", lambda b, d, u, g: g * torch.round((d - u) / g), "What is it added to"),
        ],
    ),
    "ex-one-step-chord": (
        array_functions(chord, chord_by_steps),
        [
            ("tangent", lambda x, n, m, v: x * n / (v + n**2), "what the teacher says"),
            ("sign", lambda x, n, m, v: -chord(x, n, m, v), "The sign"),
            ("no root", lambda x, n, m, v: x * (1 - (v + m**2) / (v + n**2)) / (n - m), "By which factor"),
            ("not divided", lambda x, n, m, v: chord(x, n, m, v) * (n - m), "divided by the time"),
            ("v forgotten", lambda x, n, m, v: x / n, "the data's own variance"),
        ],
    ),
    "ex-one-step-alone": (
        [
            alone,
            lambda v, nu: ((v + nu[:-1] * nu[1:]) / (v + nu[1:] ** 2)).prod(),
            lambda v, nu: np.prod((float(v) + nu[:-1].numpy() * nu[1:].numpy()) / (float(v) + nu[1:].numpy() ** 2)),
            lambda v, nu: [float(alone(v, nu))],
        ],
        [
            ("true map", lambda v, nu: (v / (v + nu[-1] ** 2)) ** 0.5, "This is the true map"),
            ("one step", lambda v, nu: v / (v + nu[-1] ** 2), "right for one step. And more?"),
            ("upside down", lambda v, nu: 1 / alone(v, nu), "Upside down"),
            ("first step", lambda v, nu: (v + nu[-2] * nu[-1]) / (v + nu[-1] ** 2), "the first step only"),
        ],
    ),
    "ex-one-step-renewed": (
        scalar_functions(
            renewed, lambda v, a: 1 / math.sqrt(1 + (1 - a) / (a * v)), lambda v, a: (1 + (1 / a - 1) / v) ** -0.5
        ),
        [
            ("square", lambda v, a: renewed(v, a) ** 2, "the square of a correlation"),
            ("v = 1", lambda v, a: a**0.5, "Which variance has the state"),
            ("noise", lambda v, a: ((1 - a) / (v * a + 1 - a)) ** 0.5, "the share of the noise"),
            ("covariance", lambda v, a: v * a**0.5 / (v * a + 1 - a) ** 0.5, "both standard deviations"),
        ],
    ),
}
