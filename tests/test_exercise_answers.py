"""A table for every exercise: right answers in different forms pass, and typical mistakes are refused with a hint that fits them.

Forms: ints and floats, fractions and decimals, SymPy's numbers, NumPy's and PyTorch's of both precisions, lists, tuples, arrays, columns
and dicts; where a function is asked for, different ways to write it, and results of different forms. Mistakes: s and t swapped, a variance
for a standard deviation, off by one level, an alpha for a product of them, a wrong sign, a factor of 2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from ddim_edu.apps.operators import Operator
from ddim_edu.exercises import check, registry
from ddim_edu.forward import eps_to_v, mix, unmix_eps, unmix_x0, v_to_eps
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.posterior import place, q_sigma
from ddim_edu.sampler import ddim_path, ddim_step, draw
from ddim_edu.schedule import NoiseSchedule

NORMAL = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))

# ---------------------------------------------------------------- forms of an answer


def numbers(*values: float, names: tuple[str, ...] = ()) -> list:
    """Numbers in all forms that a reader may have them in."""
    exact, forms = [Fraction(v) for v in values], []
    forms += [tuple(map(float, values)), [torch.tensor(v, dtype=torch.float64) for v in values], tuple(exact)]
    forms += [
        tuple(Decimal(str(float(v))) for v in values),
        tuple(sympy.Float(float(v)) for v in values),
        tuple(map(np.float32, values)),
    ]
    values = tuple(map(float, values))
    forms += [np.array(values, dtype=np.float32), np.array(values), torch.tensor(values), np.array(exact, dtype=object)]
    forms += [torch.tensor(values, dtype=torch.float64, requires_grad=True)]
    if len(values) > 1:
        forms += [np.array(values)[:, None], torch.tensor(values)[None], sympy.Matrix(values), [[v] for v in values]]
    else:
        forms += [value for (value,) in forms[:6]] + [
            sympy.Rational(exact[0].numerator, exact[0].denominator),
            np.array(values[0]),
            torch.tensor(values[0]),
        ]
    if all(float(v).is_integer() for v in values):
        whole = [int(v) for v in values]
        forms += [np.array(whole), torch.tensor(whole), whole if len(values) > 1 else whole[0]]
    return forms + ([dict(zip(names, values))] if names else [])


def tables(rows: list) -> list:
    """A table in all forms."""
    exact = [[Fraction(v) for v in row] for row in rows]
    forms = [
        rows,
        [tuple(row) for row in rows],
        np.array(rows),
        np.array(rows, dtype=np.float32),
        torch.tensor(rows),
        exact,
    ]
    return [
        *forms,
        [torch.tensor(row) for row in rows],
        np.array(exact, dtype=object),
        sympy.Matrix(exact),
        np.array(rows).T,
    ]


def convert(value, kind: Callable):
    if isinstance(value, Tensor) and value.is_floating_point():
        return kind(value)
    return value


def taking(kind: Callable, f: Callable) -> Callable:
    """The function with its arguments converted first."""
    return lambda *args: f(*(convert(value, kind) for value in args))


def giving(kind: Callable, f: Callable) -> Callable:
    """The function with its result converted."""
    return lambda *args: kind(f(*args))


def scalar_functions(f: Callable, *others: Callable, rational: bool = False) -> list:
    """A formula made of operators, in all forms of its arguments and results, and other ways to write it."""
    forms = [
        f,
        taking(float, f),
        taking(lambda v: v.float(), f),
        taking(lambda v: v.numpy(), f),
        taking(lambda v: np.float32(v), f),
    ]
    forms += [
        giving(lambda v: [float(v)], f),
        giving(lambda v: np.array([float(v)]), f),
        giving(lambda v: Fraction(float(v)), f),
    ]
    forms += [
        giving(lambda v: Decimal(float(v)), f),
        giving(lambda v: torch.tensor(float(v)), f),
        taking(lambda v: sympy.Float(float(v)), f),
    ]
    forms += [functools.partial(f)] + ([taking(lambda v: Fraction(float(v)), f)] if rational else [])
    return forms + list(others)


def array_functions(f: Callable, *others: Callable) -> list:
    """A function of tensors, with results of all forms."""
    forms = [
        f,
        taking(lambda v: v.float(), f),
        giving(lambda v: torch.as_tensor(v).tolist(), f),
        giving(lambda v: torch.as_tensor(v).numpy(), f),
    ]
    forms += [
        giving(lambda v: torch.as_tensor(v).float().numpy(), f),
        giving(lambda v: torch.as_tensor(v).requires_grad_(), f),
    ]
    return forms + list(others)


# ---------------------------------------------------------------- what the tables below are made of


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
        x = place(unmix_x0(x, eps, schedule.alpha_bar[t]), eps, schedule.alpha_bar[s], sigma) + sigma * draw(
            x, generator
        )
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


DIVISORS = [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000]


def jacobian(y, points, nu, power=2, factor=1.0, centre=True):
    w = (-((y - points) ** 2).sum(1) / (2 * nu**2)).softmax(0)
    away = points - w @ points if centre else points
    return factor * torch.einsum("n,ni,nj->ij", w, away, away) / nu**power


def jacobian_by_autograd(y, points, nu):
    mean = lambda x: (-((x - points) ** 2).sum(1) / (2 * nu**2)).softmax(0) @ points  # noqa: E731
    return torch.autograd.functional.jacobian(mean, y)


def jacobian_by_moments(y, points, nu):
    w = (-(y - points).square().sum(1) / 2 / nu**2).exp()
    w = w / w.sum()
    return (points.T @ (w[:, None] * points) - torch.outer(w @ points, w @ points)) / nu**2


def jacobian_by_numpy(y, points, nu):
    y, points, nu = y.numpy(), points.numpy(), float(nu)
    w = np.exp(-((y - points) ** 2).sum(1) / (2 * nu**2))
    return np.cov(points.T, aweights=w, ddof=0) / nu**2


def lost(v, nu, power=2, start=lambda nu: 1 + nu**2):
    factor = 1.0
    for s, t in pairwise(nu):
        factor = factor * (1 + (s - t) * t / (v + t**2))
    return factor**power * start(nu[-1])


def lost_by_torch(v, nu):
    s, t = nu[:-1], nu[1:]
    return ((v + s * t) / (v + t**2)).prod() ** 2 * (1 + nu[-1] ** 2)


def noise_of(x_t, x_s, eps, abar_t, abar_s, sigma, sign=1, room=1, by=lambda sigma: sigma):
    x0_hat = (x_t - (1 - abar_t) ** 0.5 * eps) / abar_t**0.5
    mean = abar_s**0.5 * x0_hat + (1 - abar_s - room * sigma**2) ** 0.5 * eps
    return sign * (x_s - mean) / by(sigma)


def noise_by_step(x_t, x_s, eps, abar_t, abar_s, sigma):
    return (x_s - ddim_step(x_t, eps, abar_t, abar_s, sigma, torch.zeros_like(x_t))) / sigma


def sight(o, left=3, middle=10, add=0, pad=2):
    return 2 * ((o - 6) // 2 - middle) - left, 2 * ((o + 6) // 2 + middle) + pad + 3 + add


def sight_by_steps(o):
    seen = {o + d for d in range(-6, 7)}
    for wide, move in ((0, lambda p: p // 2), (10, None), (0, None)):
        seen = {move(p) for p in seen} if move else seen
        seen = {p + d for p in seen for d in range(-wide, wide + 1)}
    seen = {2 * p + d for p in seen for d in range(3)}
    return [min(seen) - 3, max(seen) + 3]


@functools.cache
def parameters(size, ch, mult, without=""):
    with torch.device("meta"):
        net = UNet(UNetConfig(image_size=size, ch=ch, ch_mult=mult))
    return sum(p.numel() for name, p in net.named_parameters() if not without or without not in name)


def permutation(kind: Callable, reduce: Callable = lambda d: d.abs().max(), channels=False, one_side=False):
    def gap(layer):
        x = torch.randn(2, 8, 7, 7)
        order = kind(8 if channels else 49)
        move = (lambda v: v[:, order]) if channels else (lambda v: v.flatten(2)[..., order].view_as(v))
        return reduce(layer(move(x)) - (layer(x) if one_side else move(layer(x))))

    return gap


def by_flipping(layer):
    x = torch.randn(1, 8, 7, 7)
    return (layer(x.flip(2, 3)) - layer(x).flip(2, 3)).abs().max()


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


# ---------------------------------------------------------------- the table

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
    "ex-fewer-one": (
        array_functions(
            lambda x, e, a: (x - (1 - a) ** 0.5 * e) / a**0.5,
            unmix_x0,
            lambda x, e, a: ddim_step(x, e, a, 1.0),
            lambda x, e, a: x / a.sqrt() - ((1 - a) / a).sqrt() * e,
        ),
        [
            ("still shrunk", lambda x, e, a: x - (1 - a) ** 0.5 * e, "The noise is gone, but the data is still shrunk"),
            ("variance", lambda x, e, a: (x - (1 - a) * e) / a**0.5, "Is 1 - abar the factor of the noise, or its"),
            (
                "alpha-bar for its root",
                lambda x, e, a: (x - (1 - a) ** 0.5 * e) / a,
                "By which factor was the data shrunk",
            ),
            ("sign", lambda x, e, a: (x + (1 - a) ** 0.5 * e) / a**0.5, "The noise has to be taken away"),
            (
                "swapped",
                lambda x, e, a: (e - (1 - a) ** 0.5 * x) / a**0.5,
                "State and predicted noise are in each other's place",
            ),
            (
                "factors swapped",
                lambda x, e, a: (x - a**0.5 * e) / (1 - a) ** 0.5,
                "The factors of data and noise are in each other's place",
            ),
            ("times 2", lambda x, e, a: 2 * unmix_x0(x, e, a), "It is off by a simple factor"),
        ],
    ),
    "ex-fewer-official": (
        [
            DIVISORS,
            tuple(DIVISORS),
            set(DIVISORS),
            np.array(DIVISORS),
            torch.tensor(DIVISORS),
            DIVISORS[::-1],
            [float(S) for S in DIVISORS],
        ]
        + [
            {S: 1000 // S for S in DIVISORS}.keys(),
            np.array(DIVISORS)[:, None],
            sympy.divisors(1000),
            [Fraction(S) for S in DIVISORS],
        ],
        [
            ("without 1000", DIVISORS[:-1], "All but one are there"),
            ("at least S", list(range(1, 1001)), "is their number exactly S there, or at least S?"),
            ("some", [1, 2, 5, 10], "What is in the list is right, but it is not"),
            ("times 2", [2 * S for S in DIVISORS], "S = 16 is in the list, but with it the"),
            ("sign", [-S for S in DIVISORS], "-1000 is in the list"),
            ("with 0", [0, *DIVISORS], "0 is in the list"),
            ("twice", DIVISORS + DIVISORS, "Some S is in the list more than once"),
        ],
    ),
    "ex-fewer-logsnr": (
        numbers(0.0546, 0.0285, names=("even", "quadratic")) + [(0.05, torch.tensor(0.03))],
        [
            ("swapped", (0.0285, 0.0546), "each is the other's"),
            ("sign", (-0.0546, -0.0285), "a mean distance is positive"),
            ("times 2", (0.1092, 0.057), "their ratio is right, and both are off by one factor"),
            ("half", (0.0273, 0.01425), "their ratio is right, and both are off by one factor"),
            ("the same", (0.0285, 0.0285), "the two are nearly the same"),
            ("the first alone", (0.2, 0.0285), "Are its steps equal in the logarithm, from level 1 to"),
        ],
    ),
    "ex-fewer-index": (
        numbers(1.37) + [1.365, torch.tensor(1.379)],
        [
            ("eta 1", 1.135, "this is what comes out with fresh noise, eta = 1"),
            ("variance", 1.88, "this is the variance"),
            ("off by one down", 1.432, "is the index one too low?"),
            ("off by one up", 1.309, "is the index one too high?"),
            ("the data", 0.76, "this is the data's own"),
            ("the index in the step", 0.91, "here the whole step uses the index"),
            ("sign", -1.37, "the size is right and the sign is not"),
            ("times 2", 2.74, "it is off by a simple factor"),
        ],
    ),
    "ex-ode-jacobian": (
        array_functions(jacobian, jacobian_by_autograd, jacobian_by_moments, jacobian_by_numpy),
        [
            ("covariance", functools.partial(jacobian, power=0), "This is the covariance"),
            (
                "standard deviation",
                functools.partial(jacobian, power=1),
                "The covariance is right, and the power of nu is not",
            ),
            (
                "squared twice",
                functools.partial(jacobian, power=4),
                "The covariance is right, and the power of nu is not. Only",
            ),
            ("about 0", functools.partial(jacobian, centre=False), "The second moment is taken about 0"),
            (
                "times 2",
                functools.partial(jacobian, factor=2),
                "The exponent of a weight has 2 nu^2 below; what becomes",
            ),
            ("half", functools.partial(jacobian, factor=0.5), "It is off by a simple factor"),
            ("sign", functools.partial(jacobian, factor=-1), "The sign is wrong"),
        ],
    ),
    "ex-ode-lost-variance": (
        array_functions(
            lost_by_torch,
            lost,
            lambda v, nu: float(lost(v, nu)),
            lambda v, nu: lost(float(v), nu.tolist()),
            lambda v, nu: np.float64(lost(float(v), nu.numpy())),
        ),
        [
            ("standard deviation", lambda v, nu: lost(v, nu) ** 0.5, "This is the standard deviation"),
            ("one factor", functools.partial(lost, power=1), "By which factor does a number in front of x-bar change"),
            ("start of 1", functools.partial(lost, start=lambda nu: 1), "The factor is there; what does it multiply?"),
            ("levels reversed", lambda v, nu: lost(v, nu.flip(0)), "The levels are in the other order"),
            ("what is lost", lambda v, nu: v - lost(v, nu), "This is what is lost"),
            ("the share", lambda v, nu: lost(v, nu) / v, "This is the share that is left"),
            ("sign", lambda v, nu: -lost(v, nu), "The size is right and the sign is not"),
            ("times 2", lambda v, nu: 2 * lost(v, nu), "It is off by a simple factor"),
        ],
    ),
    "ex-ode-record": (
        array_functions(
            noise_of,
            noise_by_step,
            lambda x, y, e, t, s, o: (y - place(unmix_x0(x, e, t), e, s, o)) / o,
        ),
        [
            ("sigma times z", functools.partial(noise_of, by=lambda sigma: 1), "This is sigma times z"),
            (
                "variance for sigma",
                functools.partial(noise_of, by=lambda sigma: sigma**2),
                "It is divided by sigma twice, or by its square",
            ),
            ("DDIM's mean", functools.partial(noise_of, room=0), "This z belongs to the mean of DDIM"),
            ("sign", functools.partial(noise_of, sign=-1), "The size is right and the sign is not"),
            ("times 2", functools.partial(noise_of, sign=2), "It is off by a simple factor"),
            (
                "x_t and x_s swapped",
                lambda x, y, *rest: noise_of(y, x, *rest),
                "Are x_t and x_s in each other's place?",
            ),
            ("no step", lambda x, y, e, t, s, o: (y - x) / o, "Write down the step from x_t to x_s with z in"),
        ],
    ),
    "ex-ode-equal-steps": (
        numbers(0.78, 0.0233, 0.0232, names=("equal", "seventh", "trailing")) + [(0.85, 0.024, 0.025)],
        [
            ("first two swapped", (0.0233, 0.78, 0.0232), "the first two are swapped"),
            ("order reversed", (0.0232, 0.0233, 0.78), "the first and the last are swapped"),
            ("times 2", (1.56, 0.0466, 0.0464), "Median distance between 50 trailing levels and 1000 levels, both of"),
            ("half", (0.39, 0.0117, 0.0116), "Median distance between 50 trailing levels and 1000 levels, both of"),
            ("sign", (-0.78, 0.0233, 0.0232), "errors are distances, and not negative"),
            ("first not made", (0.0233, 0.0233, 0.0232), "Does the exact predictor know the new schedule, and do the"),
        ],
    ),
    "ex-adaptive-parts": (
        numbers(2, 1, names=("published", "mended")),
        [
            ("swapped", (1, 2), "the two losses are swapped"),
            ("upside down", (0.5, 1), "which is the value in four parts over that of the"),
            ("added", (4, 1), "The four parts' values are averaged, not added, as their losses"),
            ("both added", (2, 4), "The four parts' values are averaged, not added, as their losses"),
            ("with the MSE", (1.3, 1), "Was the MSE, which is the same in both, taken away"),
            ("both double", (2, 2), "Its weights are made picture by picture"),
            ("sign", (-2, -1), "both losses are positive"),
        ],
    ),
    "ex-adaptive-tilt": (
        array_functions(
            lambda q: 1 / q,
            lambda q: 1 / q / (1 / q).sum(),
            lambda q: [1 / float(share) for share in q],
            lambda q: [Fraction(1) / Fraction(float(share)) for share in q],
            lambda q: (-q.log()).exp(),
            lambda q: q.min() / q,
            lambda q: 2 / q,
        ),
        [
            ("the shares", lambda q: q, "This makes the common peak commoner"),
            ("equal", lambda q: torch.ones_like(q), "Equal weights leave the shares as they are"),
            ("squared", lambda q: q**-2, "That is too much"),
            ("root", lambda q: q**-0.5, "Not enough"),
            ("1 minus", lambda q: 1 - q, "Right for two peaks, not for three"),
            ("logarithm", lambda q: -q.log(), "The rare peak weighs more, but not in proportion"),
            ("the other's", lambda q: q.flip(0), "Right for two peaks"),
            ("sign", lambda q: -1 / q, "A weight came out that is not positive"),
        ],
    ),
    "ex-adaptive-only": (
        numbers(0, 1, names=("flat", "ratio")) + [(torch.zeros(()), torch.ones(())), (0.0, 1.001)],
        [
            ("swapped", (1, 0), "the two are swapped"),
            ("the square's", (0, 100), "that is how the gradient of a square behaves"),
            ("upside down", (0, 0.01), "that is how the gradient of a square behaves"),
            ("the column beside", (0.2, 1), "The weight is 0 where a pixel equals its neighbours, so"),
            ("with the MSE", (0, 60), "the size of the term's gradient at an error of 1"),
            ("sign", (0, -1), "the second is a ratio of sizes and not negative"),
            ("times 2", (0, 2), "is one picture in the numerator and another, or another number"),
        ],
    ),
    "ex-adaptive-paired": (
        numbers(0.847, 0.022, names=("paired", "unpaired")) + [(Fraction(1697, 2000), Fraction(43, 2000))],
        [
            ("swapped", (0.022, 0.847), "the two are swapped, or the other test is the paired"),
            ("counts", (1697, 43), "these are counts or percentages"),
            ("the same", (0.05, 0.05), "there is no difference"),
            ("one-sided or larger effect", (0.99, 0.022), "Are there five seeds, and is the effect 0.5?"),
            ("half", (0.42, 0.011), "Is the remainder drawn for each run, with standard deviation 0.2"),
            ("no unpaired", (0.847, 0), "it is small, but some of 2,000 unpaired experiments find it"),
            ("sign", (0.847, -0.022), "shares are not negative"),
        ],
    ),
    "ex-unet-sight": (
        [
            sight,
            lambda o: list(sight(o)),
            lambda o: torch.tensor(sight(o)),
            lambda o: np.array(sight(o), dtype=np.float32),
            lambda o: tuple(Fraction(v) for v in sight(o)),
            sight_by_steps,
            lambda o: (2 * math.floor((o - 6) / 2) - 23, 2 * math.floor((o + 6) / 2) + 25),
        ],
        [
            ("swapped", lambda o: sight(o)[::-1], "The first row comes first"),
            ("half-open", lambda o: sight(o, add=1), "The last row is that which is still seen, not the"),
            ("both sides alike", lambda o: (o - 30, o + 30), "The width is right"),
            ("distances", lambda o: tuple(v - o for v in sight(o)), "These are distances from row o"),
            ("blocks missing", lambda o: sight(o, middle=6), "At half resolution blocks are missing"),
            ("one pixel from Downsample", lambda o: sight(o, pad=0), "Downsample reads more than one pixel, too"),
            ("times 2", lambda o: tuple(2 * v for v in sight(o)), "It is off by a simple factor"),
        ],
    ),
    "ex-unet-count": (
        [
            parameters,
            lambda size, ch, mult: float(parameters(size, ch, mult)),
            lambda size, ch, mult: torch.tensor(parameters(size, ch, mult)),
            lambda size, ch, mult: np.int64(parameters(size, ch, mult)),
            lambda size, ch, mult: Fraction(parameters(size, ch, mult)),
            lambda size, ch, mult: sympy.Integer(parameters(size, ch, mult)),
        ],
        [
            (
                "no biases",
                lambda size, ch, mult: parameters(size, ch, mult, "bias"),
                "Every layer has a bias as well, one for each output",
            ),
            (
                "no norms",
                lambda size, ch, mult: parameters(size, ch, mult, "norm"),
                "The norms have parameters as well, a scale and a shift",
            ),
            ("one too many", lambda size, ch, mult: parameters(size, ch, mult) + 1, "That is too many"),
            ("one too few", lambda size, ch, mult: parameters(size, ch, mult) - 1, "That is too few"),
            ("times 2", lambda size, ch, mult: 2 * parameters(size, ch, mult), "Is everything counted once?"),
        ],
    ),
    "ex-unet-permutation": (
        [
            permutation(torch.randperm),
            permutation(torch.randperm, lambda d: d.abs().max().item()),
            permutation(torch.randperm, lambda d: d.detach().abs().double().numpy().max()),
            permutation(lambda n: torch.from_numpy(np.random.default_rng(0).permutation(n))),
            permutation(lambda n: torch.arange(n).flip(0)),
            by_flipping,
        ],
        [
            (
                "one side only",
                permutation(torch.randperm, one_side=True),
                "Is one permutation of the positions applied to input and output?",
            ),
            (
                "channels",
                permutation(torch.randperm, channels=True),
                "Is one permutation of the positions applied to input and output?",
            ),
            (
                "no permutation",
                permutation(torch.arange),
                "It knows its places; are positions permuted, and not channels or",
            ),
            (
                "mean",
                permutation(torch.randperm, lambda d: d.abs().mean()),
                "and no two values differ by that. Is it the",
            ),
            (
                "square",
                permutation(torch.randperm, lambda d: d.square().max()),
                "It looks like the square of a difference",
            ),
            (
                "sign",
                permutation(torch.randperm, lambda d: -d.abs().max()),
                "It is a largest absolute difference, so never negative",
            ),
            (
                "times 2",
                permutation(torch.randperm, lambda d: 2 * d.abs().max()),
                "and no two values differ by that. Is it counted",
            ),
        ],
    ),
    "ex-unet-batch-norm": (
        numbers(0.0, 0.9, names=("group", "batch")) + [(1e-6, 1.5), (torch.tensor(2e-7), torch.tensor(0.83))],
        [
            ("swapped", (0.9, 0.0), "the two are swapped"),
            ("not replaced", (0.0, 0.0), "Are both norms replaced, and is the block in training mode?"),
            ("the louder maps", (12.0, 12.0), "Is it the output for the same map in both batches"),
            ("batch norm's louder maps", (0.0, 15.0), "Is it the change for the one map that is the"),
            ("sign", (0.0, -0.9), "the size of a change is not negative"),
        ],
    ),
    "ex-training-span": (
        scalar_functions(
            lambda d: d / (1 - d),
            lambda d: 1 / (1 - d) - 1,
            lambda d: -d / (d - 1),
            lambda d: sum((1 - d) * d**j * j for j in range(1, 400)) if d < 0.95 else d / (1 - d),
            rational=True,
        ),
        [
            ("the newest is 1 step old", lambda d: 1 / (1 - d), "Nearly"),
            ("not normalised", lambda d: d / (1 - d) ** 2, "The weights have to sum to 1"),
            ("sign", lambda d: -d / (1 - d), "The sign is wrong"),
            ("times 2", lambda d: 2 * d / (1 - d), "The form is right and a factor is not"),
            ("its weight", lambda d: 1 - d, "This is the weight of the newest"),
            (
                "reciprocal of it plus one",
                lambda d: (1 - d) / (d + 1e-9),
                "It looks like the reciprocal of what is asked for",
            ),
        ],
    ),
    "ex-training-fresh": (
        [
            lambda n, D: (2 / (n * D)) ** 0.5,
            lambda n, D: math.sqrt(2 / n / D),
            lambda n, D: np.sqrt(2 / np.float32(n * D)),
            lambda n, D: torch.tensor(2.0).div(n * D).sqrt(),
            lambda n, D: sympy.sqrt(sympy.Rational(2, n * D)),
            lambda n, D: Decimal(2 / (n * D)).sqrt(),
            lambda n, D: [2**0.5 / (n * D) ** 0.5],
        ],
        [
            ("variance", lambda n, D: 2 / (n * D), "This is the variance"),
            (
                "variance of a square taken for 1",
                lambda n, D: (1 / (n * D)) ** 0.5,
                "The square of a standard normal has mean 1",
            ),
            (
                "fourth power",
                lambda n, D: (3 / (n * D)) ** 0.5,
                "What is to be subtracted for the variance of the square?",
            ),
            ("images only", lambda n, D: (2 / n) ** 0.5, "An image has many pixels, and each has a noise of"),
            ("pixels only", lambda n, D: (2 / D) ** 0.5, "A batch has many images, and each has noises of its"),
            ("sign", lambda n, D: -((2 / (n * D)) ** 0.5), "The size is right and the sign is not"),
            ("times 2", lambda n, D: 2 * (2 / (n * D)) ** 0.5, "It is off by a simple factor"),
        ],
    ),
    "ex-training-batch": (
        array_functions(
            lambda losses, sizes: (losses * sizes).sum() / sizes.sum(),
            lambda losses, sizes: losses @ sizes / sizes.sum(),
            lambda losses, sizes: np.average(losses, weights=sizes),
            lambda losses, sizes: sum(a * b for a, b in zip(losses.tolist(), sizes.tolist())) / sum(sizes.tolist()),
            lambda losses, sizes: Fraction(float((losses * sizes).sum())) / int(sizes.sum()),
        ),
        [
            (
                "equal weights",
                lambda losses, sizes: losses.mean(),
                "Every part counts the same here, whatever its size",
            ),
            ("sum of the means", lambda losses, sizes: losses.sum(), "This is the sum of the means"),
            ("sum over images", lambda losses, sizes: (losses * sizes).sum(), "This is the sum over all images"),
            (
                "the smaller counts more",
                lambda losses, sizes: (losses / sizes).sum() / (1 / sizes).sum(),
                "The larger part has to count more, not less",
            ),
            (
                "by the number of parts",
                lambda losses, sizes: (losses * sizes).mean(),
                "This is divided by the number of parts",
            ),
            (
                "for 64 only",
                lambda losses, sizes: (losses * sizes).sum() / 64,
                "Right for 64 images, not for other batches",
            ),
            ("times 2", lambda losses, sizes: 2 * (losses * sizes).sum() / sizes.sum(), "It is off by a simple factor"),
        ],
    ),
    "ex-training-same-noise": (
        numbers(0.0004, 0.95, 0.3, names=("own", "unseen", "honest")) + [(5e-7, 0.94, 0.303)],
        [
            ("first two swapped", (0.95, 0.0004, 0.3), "the first is larger than the second"),
            ("last two swapped", (0.0004, 0.3, 0.95), "the last two are swapped"),
            ("not the same noise", (0.29, 0.3, 0.3), "Are points, levels and noises the same in every step, and"),
            ("on its own batch", (0.0004, 0.31, 0.3), "the first two runs differ less than they should"),
            ("sign", (-0.0004, 0.95, 0.3), "a mean square is not negative"),
            ("times 2", (0.0008, 1.9, 0.6), "the run with a key for each step, on thousands of"),
            ("sums", (0.04, 128.0, 0.3), "is it a mean over points and coordinates, not a sum?"),
        ],
    ),
    "ex-training-tell": (
        numbers(1330) + [1312.4, torch.tensor(1359)],
        [
            ("one standard error", 333, "one standard error for the difference, but two are asked for?"),
            ("one model", 665, "both losses are measured with chance, not one of them"),
            ("images", 85_120, "that would be images"),
            ("times 2", 2660, "twice the standard error is to be 1%"),
            ("sign", -1330, "a number of batches is not negative"),
            ("root", 36, "that would do for a network that predicts 0, where only"),
        ],
    ),
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


def rows(which: int) -> list:
    return [
        pytest.param(label, row, id=f"{label}-{i}")
        for label, parts in ANSWERS.items()
        for i, row in enumerate(parts[which])
    ]


@pytest.mark.parametrize(("label", "answer"), rows(0))
def test_a_right_answer_passes_in_every_form(label, answer):
    verdict = check(label, answer)
    assert verdict, verdict.message


@pytest.mark.parametrize(("label", "row"), rows(1))
def test_a_typical_mistake_gets_the_hint_that_fits_it(label, row):
    mistake, answer, words = row
    verdict = check(label, answer)
    assert not verdict and verdict.reason == "wrong", f"{mistake}: {verdict.message}"
    assert words in verdict.message, f"{mistake}: {verdict.message}"


def test_every_exercise_has_three_right_answers_and_three_mistakes():
    assert set(ANSWERS) == set(registry())
    for label, (right, wrong) in ANSWERS.items():
        assert len(right) >= 3 and len(wrong) >= 3, label
        assert len({words for _, _, words in wrong}) >= 2, f"{label}: one hint cannot fit all mistakes"
        assert len({mistake for mistake, _, _ in wrong}) == len(wrong), label


# Where a multiple of a right answer is right, too, and why.
FREE = {
    ("ex-adaptive-tilt", 2.0): "weights are asked for up to a common factor",
    ("ex-adaptive-tilt", 0.5): "weights are asked for up to a common factor",
    ("ex-family-upwards", -1.0): "the negatives of such noises are such noises",
    ("ex-unet-batch-norm", 2.0): "the change depends on the weights of the reader's network",
    ("ex-unet-batch-norm", 0.5): "the change depends on the weights of the reader's network",
    ("ex-interpolation-how-far", 0.5): "with 100 latents half of 35 degrees lies within five standard errors",
}


def times(answer, factor: float):
    if callable(answer):
        return lambda *args: times(answer(*args), factor)
    if isinstance(answer, SimpleNamespace):
        return SimpleNamespace(forward=answer.forward, pseudo_inverse=times(answer.pseudo_inverse, factor))
    return [times(value, factor) for value in answer] if isinstance(answer, list | tuple) else answer * factor


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0])
@pytest.mark.parametrize("label", ANSWERS)
def test_a_factor_makes_a_right_answer_wrong(label, factor):
    right = operator(in_order, back) if label == "ex-restoration-both" else ANSWERS[label][0][0]
    assert check(label, times(right, 1))
    verdict = check(label, times(right, factor))
    assert bool(verdict) == ((label, factor) in FREE), verdict.message
    assert verdict or verdict.reason == "wrong", verdict.message


@pytest.mark.parametrize(
    "answer",
    [
        "11.05",
        b"11.05",
        np.array("11.05"),
        np.array(["11.05"]),
        True,
        np.bool_(True),
        torch.tensor(True),
        11.05 + 0j,
        np.complex128(11.05),
        torch.tensor(11.05 + 0j),
        sympy.Symbol("v"),
        sympy.I,
        sympy.Symbol("v") + 1,
        {11.05},
        {"v": 11.05},
        [],
        [[11.05], [1, 2]],
        [None],
        None,
    ],
    ids=repr,
)
def test_what_is_no_real_number_is_said_to_be_none(answer):
    verdict = check("ex-forward-no-shrink", answer)
    assert verdict.reason == "unfit", verdict


@pytest.mark.parametrize(
    "answer",
    [10**400, Fraction(10) ** 400, Decimal("1e400"), -(10**400), math.inf, Decimal("nan"), sympy.oo, sympy.nan],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_not_finite_is_said_to_be_so(answer):
    verdict = check("ex-forward-no-shrink", answer)
    assert verdict.reason == "wrong" and ("inf" in verdict.message or "nan" in verdict.message)


def test_a_set_has_no_order():
    verdict = check("ex-sound-overlap", {2, 1.5})
    assert verdict.reason == "unfit" and "A set has none" in verdict.message


@pytest.mark.parametrize("label", ANSWERS)
def test_a_table_with_another_shape_is_told_the_one_that_is_asked_for(label):
    verdict = check(label, torch.zeros(2, 3, 5))
    assert verdict.reason == "unfit", verdict
