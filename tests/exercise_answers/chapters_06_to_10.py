"""Right answers and mistakes for the exercises of chapters 6 to 10."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import sympy
import torch

from ddim_edu.forward import unmix_x0
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.posterior import q_sigma
from ddim_edu.sampler import ddim_step
from exercise_answers.forms import array_functions, numbers, scalar_functions

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


# For each exercise: its right answers, and its wrong ones with the mistake and words of the hint that fits it.
ANSWERS: dict[str, tuple[list, list[tuple[str, object, str]]]] = {
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
            lambda x, y, e, t, s, o: (y - q_sigma(x, unmix_x0(x, e, t), t, s, o).mean) / o,
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
}
