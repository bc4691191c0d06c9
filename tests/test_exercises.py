"""The checks of the exercises: each refuses its typical mistakes, none gives its answer away, and registry and chapters
agree.

That right answers pass is tested with the chapters: every folded solution ends in its check, and tests/test_chapters.py
runs it.
"""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ddim_edu import exercises
from ddim_edu.exercises import KINDS, SKILLS, check, comparing, core, registry
from ddim_edu.forward import mix, unmix_eps
from ddim_edu.nets.unet import Attention, UNet, UNetConfig
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_step
from ddim_edu.schedule import NoiseSchedule

ROOT = Path(__file__).parent.parent
LATER = set()  # chapters whose checks are still to be written; one that has them leaves this set


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"book_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


exercise_list = load(ROOT / "book" / "_ext" / "exercise_list.py")


def snr(abar):
    return abar / (1 - abar)


def cosine_beta(T, power=2, offset=0.008, cut=0.999):
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + offset) / (1 + offset) * torch.pi / 2) ** power
    return (1 - f[1:] / f[:-1]).clamp(max=cut)


def over(schedule, t, x):
    return (1 - schedule.abar(t)).sqrt().view(-1, *[1] * (x.ndim - 1))


def noises(rho, n=100_000):
    first, fresh = torch.randn(2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return first, rho * first + (1 - rho**2) ** 0.5 * fresh


def sampler(above, below):
    def run(eps_theta, x, schedule, tau, generator):
        levels = [int(t) for t in tau]
        for s, t in reversed(list(pairwise(levels))):
            sigma = schedule.sigma(t, s, above if t > 500 else below)
            eps = eps_theta(x, torch.full((len(x),), t))
            x = ddim_step(x, eps, schedule.alpha_bar[t], schedule.alpha_bar[s], sigma, draw(x, generator))
        return x

    return run


def weighted_cov(y, points, nu, about=None):
    w = (-((y - points) ** 2).sum(1) / (2 * nu**2)).softmax(0)
    away = points - (w @ points if about is None else about)
    return (w[:, None] * away).T @ away


def product(v, nu):
    return (1 + (nu[:-1] - nu[1:]) * nu[1:] / (v + nu[1:] ** 2)).prod()


def parameters(size, ch, mult, without):
    with torch.device("meta"):
        net = UNet(UNetConfig(image_size=size, ch=ch, ch_mult=mult))
    attention = [name for name, module in net.named_modules() if isinstance(module, Attention)]
    named = [(n, p) for n, p in net.named_parameters() if not (without in ("bias", "norm") and without in n)]
    return sum(p.numel() for n, p in named if without != "attn" or not any(n.startswith(f"{a}.") for a in attention))


def one_sided_gap(layer):
    x, order = torch.randn(2, 8, 7, 7), torch.randperm(49)
    return (layer(x.flatten(2)[..., order].view_as(x)) - layer(x)).abs().max().item()


def cdf(x):
    return torch.special.ndtr(x)


def stacked(backward, forward=lambda one, two, x: two.forward(one.forward(x))):
    def both(one, two):
        return SimpleNamespace(forward=lambda x: forward(one, two, x), pseudo_inverse=lambda y: backward(one, two, y))

    return both


def ddpm_variance(r, s):
    return (r - r ** (2 - 2 * s)) / ((2 * s - 1) * (r - 1))


# Label, a wrong answer, and words of the feedback that only this mistake gets: a row cannot pass because something else
# is wrong with it.
def dearest(cost, S):
    """Of all ways with S steps the one that costs most."""
    ways = [[0, *inner, len(cost) - 1] for inner in combinations(range(1, len(cost) - 1), S - 1)]
    return max(ways, key=lambda way: sum(cost[i, j].item() for i, j in pairwise(way)))


WRONG = [
    ("ex-forward-no-shrink", 10.05, "added noise alone"),
    ("ex-forward-no-shrink", 11.05**0.5, "square root of what is asked for"),
    ("ex-forward-no-shrink", 1.0, "variance with the shrinking"),
    ("ex-forward-no-shrink", 21.0, "number of terms times its last one"),
    ("ex-forward-no-shrink", 31.0, "when the terms are independent"),
    ("ex-forward-forget", lambda v, a: a * v, "left of the data's variance"),
    ("ex-forward-forget", lambda v, a: 1 + a**0.5 * (v - 1), "by the factor of x, or of its variance"),
    ("ex-forward-forget", lambda v, a: v + a * (1 - v), "two ends are swapped"),
    ("ex-forward-forget", lambda v, a: (1 + a * (v - 1)) ** 0.5, "square root of what is asked for"),
    ("ex-forward-cosine", lambda T: cosine_beta(T, cut=1.0), "All others are right"),
    ("ex-forward-cosine", lambda T: cosine_beta(T, power=1), "Is the cosine squared"),
    ("ex-forward-cosine", lambda T: cosine_beta(T, offset=0), "small offset"),
    ("ex-forward-cosine", lambda T: NoiseSchedule.cosine(T).beta, "beta_1 to beta_T are T"),
    ("ex-forward-cosine", lambda T: NoiseSchedule.cosine(T).alpha_bar[1:], "These are the alpha-bars"),
    ("ex-forward-roots", lambda b: torch.ones(()), "where the step with its roots leads"),
    ("ex-forward-roots", lambda b: (b / (2 - b)) ** 0.5, "square root of what is asked for"),
    ("ex-forward-roots", lambda b: b**2, "the noise of one step"),
    ("ex-forward-lineup", 260, "where noise outweighs data"),
    ("ex-forward-lineup", 150, "still recognised there"),
    ("ex-forward-lineup", 500, "more than half were mistaken"),
    ("ex-forward-lineup", 0.5, "is a share"),
    ("ex-variance-s-to-t", lambda t, s: 1 - s / t, "s and t in their places"),
    ("ex-variance-s-to-t", lambda t, s: (1 - t / s) ** 0.5, "This is the standard deviation"),
    ("ex-variance-s-to-t", lambda t, s: 1 - t, "in x_s already"),
    ("ex-variance-s-to-t", lambda t, s: t / s - 1, "the sign is not"),
    ("ex-variance-covariance", lambda t, s: (t / s) ** 0.5 * (1 - s), "This is the covariance"),
    ("ex-variance-covariance", lambda t, s: snr(t) / snr(s), "standard deviations or by variances"),
    ("ex-variance-covariance", lambda t, s: (snr(s) / snr(t)) ** 0.5, "A correlation is at most 1"),
    (
        "ex-variance-wanted-snr",
        lambda schedule, w: int((schedule.snr[1:].log() - w.log()).abs().argmin()),
        "off by one everywhere",
    ),
    (
        "ex-variance-wanted-snr",
        lambda schedule, w: 1 + int((schedule.snr[1:] - w).abs().argmin()),
        "nearest on a linear scale",
    ),
    ("ex-variance-wanted-snr", lambda schedule, w: 7, "a level nearer to the wanted one exists"),
    ("ex-variance-shape", (1.0, 1.0), "noise of the shape (B, C, H, W)"),
    ("ex-variance-shape", (2e-5, 1.0), "the two are swapped"),
    ("ex-variance-shape", {"across": 1.0, "within": 0.5}, "variance of a constant"),
    ("ex-reverse-snr", lambda t, s: snr(s) - snr(t), "a factor missing"),
    ("ex-reverse-snr", lambda t, s: 0.5 * (snr(t) - snr(s)), "the sign is not"),
    ("ex-reverse-snr", lambda t, s: 0.5 * (snr(s) / snr(t) - 1), "weight of the error of the noise"),
    ("ex-reverse-gap", [[-0.9, -0.8], [-0.6, -0.3], [-0.5, -0.1]], "They are negative"),
    ("ex-reverse-gap", [[0.8, 0.9], [0.3, 0.6], [0.1, 0.5]], "in the order that is asked for"),
    ("ex-reverse-gap", [[0.9, 0.9], [0.6, 0.8], [0.5, 0.7]], "Look at the second column"),
    ("ex-reverse-gap", [[0.4, 0.3], [0.2, 0.1], [0.1, 0.05]], "Look at the first column"),
    ("ex-reverse-v", lambda net, schedule: net, "It returned v itself"),
    (
        "ex-reverse-v",
        lambda net, sch: lambda x, t: -over(sch, t, x) * x - sch.abar(t).sqrt()[:, None] * net(x, t),
        "wrong sign",
    ),
    (
        "ex-reverse-v",
        lambda net, sch: lambda x, t: sch.abar(t).sqrt()[:, None] * x - over(sch, t, x) * net(x, t),
        "the predicted data",
    ),
    ("ex-reverse-v", lambda net, sch: lambda x, t: x + net(x, t), "eliminate x_0"),
    ("ex-reverse-root", (1.0, 0.0), "this is the right walk"),
    ("ex-reverse-root", (3.0, -8.0), "which of the two walks"),
    ("ex-reverse-root", (9.0, 8.0), "look at the width"),
    ("ex-family-distance", lambda f, n: (1 - f**2) ** n, "or its root"),
    ("ex-family-distance", lambda f, n: (1 - f) ** n, "do not add up to 1"),
    ("ex-family-distance", lambda f, n: f**n, "follows the fresh noise"),
    ("ex-family-distance", lambda f, n: (1 - f**2) ** 0.5, "This is one step"),
    ("ex-family-minus", lambda x, x_0, t, s, sigma: q_sigma(x, x_0, t, s, sigma).mean, "chapter's own mean"),
    (
        "ex-family-minus",
        lambda x, x_0, t, s, sigma: mix(x_0, -unmix_eps(x, x_0, t), s),
        "room that fresh noise needs",
    ),
    (
        "ex-family-minus",
        lambda x, x_0, t, s, o: s**0.5 * x_0 - (1 - s - o) ** 0.5 * unmix_eps(x, x_0, t),
        "sigma or its square",
    ),
    ("ex-family-upwards", noises(0.8**10), "one step too many"),
    ("ex-family-upwards", noises(0.0), "so the two are independent"),
    ("ex-family-upwards", noises(0.64**9), "a standard deviation"),
    ("ex-family-upwards", [2 * noises(0.8**9)[0], noises(0.8**9)[1]], "Are they noises, or states x"),
    ("ex-family-looks", (0.0, 1.0), "a sigma that looks at x_0"),
    ("ex-family-looks", (0.399, 0.841), "sign of the mean"),
    ("ex-family-looks", (-0.798, 0.36), "the kept noises alone"),
    ("ex-family-looks", (-0.399, 1.0), "is the mean square"),
    ("ex-sigma-hat-gaussian", lambda t, s: 1.0, "what the larger noise"),
    ("ex-sigma-hat-gaussian", lambda t, s: s / t + (1 - t) / (1 - s) * (1 - s / t), "s and t were swapped"),
    ("ex-sigma-hat-gaussian", lambda t, s: t / s, "This is the variance of the mean"),
    ("ex-sigma-hat-gaussian", lambda t, s: (t / s) ** 0.5 + (1 - s) / (1 - t) * (1 - t / s), "in front of x_t"),
    ("ex-sigma-hat-gaussian", lambda t, s: t / s + ((1 - s) / (1 - t) * (1 - t / s)) ** 0.5, "Is sigma squared"),
    ("ex-sigma-loss", lambda s: 1 - s, "Sigma is a standard deviation"),
    ("ex-sigma-loss", lambda s: s**0.5, "the value of k"),
    ("ex-sigma-loss", lambda s: 0.0, "Look at the other end"),
    ("ex-sigma-both", sampler(0.0, 0.0), "this is pure DDIM"),
    ("ex-sigma-both", sampler(1.0, 1.0), "noise is added below level 500"),
    ("ex-sigma-both", sampler(0.2, 0.0), "is the noise of eta = 1 added"),
    ("ex-sigma-same-noise", 1.0, "the walk with fresh noise"),
    ("ex-sigma-same-noise", 290.0, "square of what is asked for"),
    ("ex-sigma-same-noise", 24.0, "is z the same tensor"),
    ("ex-sigma-half", 0.5, "not half of the effect"),
    ("ex-sigma-half", 0.2, "most of the error is still left"),
    ("ex-sigma-half", 1.0, "at which eta is it half of that at 0"),
    ("ex-fewer-one", lambda x, eps, a: x - (1 - a) ** 0.5 * eps, "still shrunk"),
    ("ex-fewer-one", lambda x, eps, a: (x - (1 - a) * eps) / a**0.5, "factor of the noise, or its square"),
    ("ex-fewer-one", lambda x, eps, a: (x + (1 - a) ** 0.5 * eps) / a**0.5, "has to be taken away"),
    ("ex-fewer-official", [S for S in range(1, 1000) if 1000 % S == 0], "include its upper end"),
    ("ex-fewer-official", list(range(1, 1001)), "exactly S there, or at least S"),
    ("ex-fewer-official", [1, 2, 4, 5, 8, 10], "not all of them"),
    ("ex-fewer-official", [1, 3], "does not have exactly 3 elements"),
    ("ex-fewer-logsnr", (0.0285, 0.0546), "each is the other's"),
    ("ex-fewer-logsnr", (0.0285, 0.0285), "levels of its own"),
    ("ex-fewer-logsnr", (0.3, 0.0285), "Are its steps equal in the logarithm"),
    ("ex-fewer-logsnr", (0.0546, 0.1), "look at the second"),
    ("ex-fewer-index", 0.76, "Is the predictor called with the index"),
    ("ex-fewer-index", 1.0, "not samples yet"),
    ("ex-fewer-index", 3.0, "while the step itself uses the level"),
    ("ex-ode-jacobian", lambda y, p, nu: weighted_cov(y, p, nu), "What divides it"),
    ("ex-ode-jacobian", lambda y, p, nu: weighted_cov(y, p, nu) / nu, "the power of nu is not"),
    ("ex-ode-jacobian", lambda y, p, nu: weighted_cov(y, p, nu, about=0.0) / nu**2, "taken about 0"),
    ("ex-ode-jacobian", lambda y, p, nu: p.T.cov(correction=0) / nu**2, "How likely is each"),
    ("ex-ode-lost-variance", lambda v, nu: product(v, nu) ** 2, "x-bar does not"),
    ("ex-ode-lost-variance", lambda v, nu: product(v, nu) * (1 + nu[-1] ** 2), "change the variance"),
    ("ex-ode-lost-variance", lambda v, nu: v - product(v, nu) ** 2 * (1 + nu[-1] ** 2), "This is what is lost"),
    (
        "ex-ode-record",
        lambda x_t, x_s, eps, t, s, sigma: x_s - ddim_step(x_t, eps, t, s, sigma, 0 * x_t),
        "This is sigma times z.",
    ),
    ("ex-ode-record", lambda x_t, x_s, eps, t, s, sigma: (x_s - ddim_step(x_t, eps, t, s)) / sigma, "the mean of DDIM"),
    ("ex-ode-record", lambda x_t, x_s, eps, t, s, sigma: (x_s - x_t) / sigma, "it has to arrive at x_s"),
    (
        "ex-ode-record",
        lambda x, y, e, t, s, o: (y - s**0.5 * (x - (1 - t) ** 0.5 * e) / t**0.5 - (1 - s - o) ** 0.5 * e) / o,
        "sigma or its square",
    ),
    ("ex-ode-record", lambda x_t, x_s, eps, t, s, sigma: (s - 1) ** 0.5 * x_s, "a root of a negative number"),
    ("ex-ode-equal-steps", (0.02, 0.7, 0.02), "first two are swapped"),
    ("ex-ode-equal-steps", (0.02, 0.02, 0.02), "look at the first"),
    ("ex-ode-equal-steps", (0.7, 0.3, 0.02), "look at the second"),
    ("ex-ode-equal-steps", (0.7, 0.02, 0.7), "look at the last"),
    ("ex-adaptive-parts", (0.5, 1.0), "in four parts over that of the whole"),
    ("ex-adaptive-parts", (1.0, 2.0), "the two losses are swapped"),
    ("ex-adaptive-parts", (4.0, 1.0), "averaged, not added"),
    ("ex-adaptive-parts", (1.3, 1.0), "Was the MSE"),
    ("ex-adaptive-parts", (2.0, 2.0), "made picture by picture"),
    ("ex-adaptive-tilt", lambda q: q, "commoner"),
    ("ex-adaptive-tilt", lambda q: 1 / q**2, "That is too much"),
    ("ex-adaptive-tilt", lambda q: 1 / q**0.5, "Not enough"),
    ("ex-adaptive-tilt", lambda q: 1 - q, "Right for two peaks, not for three"),
    ("ex-adaptive-tilt", lambda q: -1 / q, "not positive"),
    ("ex-adaptive-only", (0.1, 1.0), "leave the column next to the other half out"),
    ("ex-adaptive-only", (0.0, 100.0), "the gradient of a square"),
    ("ex-adaptive-only", (0.0, 60.0), "Is the MSE taken away"),
    ("ex-adaptive-paired", (0.02, 0.85), "the two are swapped"),
    ("ex-adaptive-paired", (1697, 43), "counts or percentages"),
    ("ex-adaptive-paired", (0.05, 0.05), "there is no difference"),
    ("ex-adaptive-paired", (0.6, 0.02), "look at the first"),
    ("ex-adaptive-paired", (0.85, 0.3), "look at the second"),
    ("ex-unet-sight", lambda o: (o - 30, o + 30), "does a pixel of an even position"),
    ("ex-unet-sight", lambda o: (2 * ((o - 6) // 2 - 10) - 4, 2 * ((o + 6) // 2 + 10) + 4), "the place is not"),
    ("ex-unet-sight", lambda o: (2 * ((o - 6) // 2 - 6) - 3, 2 * ((o + 6) // 2 + 6) + 5), "blocks are missing"),
    ("ex-unet-sight", lambda o: (o - 12, o + 12), "Count again"),
    ("ex-unet-count", lambda size, ch, mult: parameters(size, ch, mult, "attn"), "Attention has parameters as well"),
    ("ex-unet-count", lambda size, ch, mult: parameters(size, ch, mult, "bias"), "Every layer has a bias"),
    ("ex-unet-count", lambda size, ch, mult: parameters(size, ch, mult, "norm"), "The norms have parameters"),
    ("ex-unet-count", lambda size, ch, mult: 10**6, "which blocks need a shortcut"),
    ("ex-unet-permutation", lambda layer: one_sided_gap(layer), "Is one permutation of the positions applied"),
    ("ex-unet-permutation", lambda layer: 0.0, "It knows its places"),
    ("ex-unet-permutation", lambda layer: -1.0, "never negative"),
    ("ex-unet-batch-norm", (2.0, 0.0), "the two are swapped"),
    ("ex-unet-batch-norm", (0.0, 0.0), "Are both norms replaced"),
    ("ex-unet-batch-norm", (3.0, 3.0), "the one that was not made louder"),
    ("ex-training-span", lambda d: 1 / (1 - d), "0 steps or 1"),
    ("ex-training-span", lambda d: d / (1 - d) ** 2, "have to sum to 1"),
    ("ex-training-span", lambda d: 1 - d, "the weight of the newest"),
    ("ex-training-fresh", lambda n, D: (1 / (n * D)) ** 0.5, "Is its variance 1"),
    ("ex-training-fresh", lambda n, D: 2 / (n * D), "This is the variance"),
    ("ex-training-fresh", lambda n, D: (2 / n) ** 0.5, "An image has many pixels"),
    ("ex-training-batch", lambda losses, sizes: losses.mean(), "Every part counts the same"),
    ("ex-training-batch", lambda losses, sizes: losses.sum(), "sum of the means"),
    ("ex-training-batch", lambda losses, sizes: (losses * sizes).sum(), "sum over all images"),
    ("ex-training-same-noise", (1.3, 0.0006, 0.3), "seen at every step"),
    ("ex-training-same-noise", (0.28, 0.3, 0.3), "in every step"),
    ("ex-training-same-noise", (0.001, 0.31, 0.3), "not in its batch"),
    ("ex-training-same-noise", (0.001, 1.3, 0.2), "cannot be below the floor"),
    ("ex-training-tell", 335, "one standard error"),
    ("ex-training-tell", 670, "variance of a difference"),
    ("ex-training-tell", 85_000, "that would be images"),
    ("ex-training-tell", 39, "a network that predicts 0"),
    ("ex-training-tell", 5_000, "Begin with the standard deviation"),
    ("ex-measuring-commute", lambda a, b, x, y: ((a - b) ** 2 + (x - y) ** 2).sum(), "Eigenvalues are variances"),
    ("ex-measuring-commute", lambda a, b, x, y: ((x**0.5 - y**0.5) ** 2).sum(), "What do the means add"),
    (
        "ex-measuring-commute",
        lambda a, b, x, y: ((a - b) ** 2 + x + y).sum() - 2 * (x * y).sum() ** 0.5,
        "not the root of a sum",
    ),
    ("ex-measuring-commute", lambda a, b, x, y: ((a - b) ** 2 + (x**0.5 - y**0.5) ** 2).mean(), "not means"),
    (
        "ex-measuring-commute",
        lambda a, b, x, y: ((a - b) ** 2 + (x**0.5 - y**0.5) ** 2).sum() ** 0.5,
        "square root of what",
    ),
    ("ex-measuring-bias", lambda sigma, N: (sigma**2 / (2 * N), sigma**2 / N), "The two are swapped"),
    ("ex-measuring-bias", lambda sigma, N: (sigma**2 / N, 2 * sigma**4 / N), "variance of the variance"),
    ("ex-measuring-bias", lambda sigma, N: (0.0, 1.5 * sigma**2 / N), "The mean is estimated"),
    ("ex-measuring-bias", lambda sigma, N: (sigma**2 / N**2, sigma**2 / (2 * N**2)), "depend on the number of samples"),
    ("ex-measuring-kid", lambda same, other, n: (same - other) / n, "There are two sets"),
    ("ex-measuring-kid", lambda same, other, n: 2 * same / n, "take the place of others"),
    ("ex-measuring-kid", lambda same, other, n: 2 * (same - other) / n**2, "than one"),
    ("ex-measuring-kid", lambda same, other, n: 2 * (same - other), "Most terms are as before"),
    ("ex-measuring-kid", lambda same, other, n: 2 * (same - other) / (n - 1), "Nearly"),
    ("ex-measuring-best", lambda k: 1 / (k + 1), "how often the competitor wins"),
    ("ex-measuring-best", lambda k: 1 - 0.5**k, "they are not independent"),
    ("ex-measuring-best", lambda k: 1 - 1 / k, "How many runs are there in all"),
    ("ex-measuring-best", lambda k: 0.5, "chosen after they were measured"),
    ("ex-interpolation-middle", lambda w: 1 / w.square().sum(), "This makes up for the variance"),
    ("ex-interpolation-middle", lambda w: w.square().sum(), "the variance of the mixture"),
    ("ex-interpolation-middle", lambda w: len(w) ** 0.5, "equal weights only"),
    ("ex-interpolation-middle", lambda w: 1 / w.abs().sum(), "not standard deviations"),
    ("ex-interpolation-middle", lambda w: 1 / w.sum(), "sum to 1 already"),
    ("ex-interpolation-middle", lambda w: w.norm(), "reciprocal of what is asked for"),
    ("ex-interpolation-two-points", lambda a, b: b / (b - a), "shows the other point"),
    ("ex-interpolation-two-points", lambda a, b: 0.5, "Of those in this film"),
    ("ex-interpolation-two-points", lambda a, b: (0.5 - cdf(a)) / (cdf(b) - cdf(a)), "visits its own evenly"),
    ("ex-interpolation-two-points", lambda a, b: -a / b, "share of the whole film"),
    ("ex-interpolation-how-far", 0.61, "Are these radians, or a cosine"),
    ("ex-interpolation-how-far", 60, "half alike there, or the digits"),
    ("ex-interpolation-how-far", 90, "agrees by chance"),
    ("ex-interpolation-how-far", 5, "for the same latent after its step"),
    ("ex-interpolation-straight-noise", (1.0, 0.5), "the two are swapped"),
    ("ex-interpolation-straight-noise", (0.99, 1.0), "the start alone"),
    ("ex-interpolation-straight-noise", (0.71, 1.0), "ratio of standard deviations"),
    ("ex-interpolation-straight-noise", (0.25, 1.0), "noises of their own"),
    ("ex-interpolation-straight-noise", (0.5, 2.0), "weights that are too large"),
    ("ex-interpolation-straight-noise", (0.5, 0.7), "what do their squares add up to"),
    (
        "ex-restoration-both",
        stacked(lambda one, two, y: y, forward=lambda one, two, x: 2 * two.forward(one.forward(x))),
        "one after the other",
    ),
    (
        "ex-restoration-both",
        stacked(lambda one, two, y: one.pseudo_inverse(two.pseudo_inverse(y)) / 4),
        "Which factors",
    ),
    ("ex-restoration-both", stacked(lambda one, two, y: one.show(two.pseudo_inverse(y))), "not the smallest picture"),
    (
        "ex-restoration-both",
        stacked(lambda one, two, y: one.pseudo_inverse(two.pseudo_inverse(y)) ** 2),
        "In which order",
    ),
    ("ex-restoration-weak", (18, 9), "follows the pull further in one walk"),
    ("ex-restoration-weak", (10, 20), "1 - 1/kappa is not the share"),
    ("ex-restoration-weak", (18, 18), "What is it here"),
    ("ex-restoration-weak", (9, 9), "without fresh noise a walk counts less"),
    ("ex-restoration-weak", (0.9, 1.8), "that is the share"),
    ("ex-restoration-weak", (3, 6), "set the share itself to 0.9"),
    ("ex-restoration-transpose", lambda f: 1 / f**2, "takes away"),
    ("ex-restoration-transpose", lambda f: 1 - 1 / f, "How many pixels"),
    ("ex-restoration-transpose", lambda f: 1 - 1 / f**4, "sum of their squares"),
    ("ex-restoration-transpose", lambda f: 0.0, "with the right inverse"),
    ("ex-restoration-stop", 1.0, "where the last steps are corrected"),
    ("ex-restoration-stop", 0.825, "that of a mean of four"),
    ("ex-restoration-stop", 1.37, "Which is divided by which"),
    ("ex-restoration-stop", 0.24, "less than the chapter's network can do"),
    ("ex-guide-ddpm", lambda v, v_c, s: v ** (1 - s) * v_c**s, "without fresh noise ends"),
    ("ex-guide-ddpm", lambda v, v_c, s: 1 / ((1 - s) / v + s / v_c), "no sampler of the chapter reaches"),
    ("ex-guide-ddpm", lambda v, v_c, s: ddpm_variance(v / v_c, s), "What is the unit of a variance"),
    ("ex-guide-ddpm", lambda v, v_c, s: v * ddpm_variance(v_c / v, s), "class and all data are swapped"),
    ("ex-guide-langevin", (0.25, 0.25), "it has not changed"),
    ("ex-guide-langevin", (0.5, 0.25), "look at the first"),
    ("ex-guide-langevin", (0.25, 1.0), "not twice that"),
    ("ex-guide-langevin", (0.25, 7.0), "the walk runs away"),
    ("ex-guide-langevin", (0.25, 0.35), "Is the walk over"),
    ("ex-guide-classifier", 29, "this is a count"),
    ("ex-guide-classifier", 0.0, "worse than chance"),
    ("ex-guide-classifier", 0.1, "this is chance"),
    ("ex-guide-classifier", 0.37, "better is possible"),
    ("ex-guide-sign", (0.0002, 0.21), "the two are swapped"),
    ("ex-guide-sign", (0.21, 0.174), "not the chapter's minus"),
    ("ex-guide-sign", (0.0435, 4e-8), "this is a variance"),
    ("ex-guide-sign", (0.75, 0.0002), "wider than a peak"),
    ("ex-guide-sign", (0.21, 0.05), "that is not it"),
    ("ex-sound-overlap", (1.5, 2.0), "become smaller when they are squared"),
    ("ex-sound-overlap", (0.5, 0.375), "Their sum is asked for"),
    ("ex-sound-overlap", (1.0, 0.75), "with a hop of 256"),
    ("ex-sound-overlap", (256, 192), "along one window"),
    ("ex-sound-overlap", (2.0, 1.0), "sin^4 is not a half"),
    ("ex-sound-random", (0.064, 0.17), "after some turns"),
    ("ex-sound-random", (0.42, 1.5), "this is its square"),
    ("ex-sound-random", (0.9, 1.5), "look at the first: the norm"),
    ("ex-sound-random", (0.65, 0.05), "in the picture's own units"),
    ("ex-sound-random", (0.65, 0.17), "picture of the first sound of the path"),
    ("ex-sound-random", (0.65, 12.0), "over all of the picture"),
    ("ex-sound-scale", (0.5, 0.87), "whole numbers"),
    ("ex-sound-scale", (300, 874), "look at the first"),
    ("ex-sound-scale", (497, 119), "earlier or later"),
    ("ex-sound-scale", (497, 731), "k times as large, or more"),
    ("ex-sound-scale", (497, 950), "1 divided by the factor"),
    ("ex-sound-mean", 5.73, "What does that do to its power"),
    ("ex-sound-mean", 2.72, "is the power halved"),
    ("ex-sound-mean", 7.4, "both sounds of one norm"),
    ("ex-sound-mean", 0.0, "too near"),
    ("ex-sound-mean", -0.3, "not negative"),
    ("ex-continuous-velocity", lambda y, r, v: r / ((1 - r) ** 2 * v + r**2) * y, "This is the expected noise"),
    (
        "ex-continuous-velocity",
        lambda y, r, v: (1 - r) * v / ((1 - r) ** 2 * v + r**2) * y,
        "This is the expected data",
    ),
    ("ex-continuous-angle", lambda x, v, h: x - h * v, "Where does DDIM put"),
    ("ex-continuous-angle", lambda x, v, h: x * torch.cos(h) + v * torch.sin(h), "to phi + h"),
    ("ex-continuous-spread", lambda v, n: v * torch.log((v + n**2) / v), "at the start, in units"),
    ("ex-continuous-spread", lambda v, n: v + n**2, "brings the start's variance down"),
    ("ex-continuous-memory", lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** 0.5, "And eta?"),
    ("ex-continuous-memory", lambda a, b, v, eta: ((v + a**2) / (v + b**2)) ** eta**2, "square of a correlation"),
    ("ex-continuous-reflow", (0.0, 0.579), "independent pairs come first"),
    ("ex-continuous-reflow", (0.579, 0.579), "With these pairs"),
    ("ex-calls-middle", lambda h: h / 2, "2M's choice"),
    ("ex-calls-gaussian", lambda v, t, s: (1 - t / s) ** 0.5, "right for v = 1"),
    ("ex-calls-cheapest", dearest, "dearest"),
    ("ex-inversion-contraction", lambda v, a, b: (a - b) / a, "without the data's variance"),
    ("ex-inversion-gap", lambda p, S: p**-S, "two lines of mixing"),
    ("ex-inversion-bits", lambda b, d, u, g: b + d - u, "On which grid"),
    ("ex-guidance-blur", lambda v, v_1, v_2: (v_2 - v) / (v_2 - v_1), "in a straight line"),
    ("ex-guidance-ratio", lambda s, a, b, S: s / (1 - (b / a) ** (1 / S)), "Solved for the other"),
    ("ex-guidance-calls", lambda tau, low, high: 2 * (len(tau) - 1), "at all levels"),
    ("ex-guidance-infinite", 2.0, "from another zero"),
    ("ex-one-step-chord", lambda x, n, m, v: x * n / (v + n**2), "what the teacher says"),
    ("ex-one-step-alone", lambda v, nu: v / (v + nu[-1] ** 2), "right for one step. And more?"),
    ("ex-one-step-renewed", lambda v, a: a**0.5, "Which variance has the state"),
    ("ex-music-difference", lambda a, f, r, tau: a**2 * math.cos(2 * math.pi * f * tau / r), "a sound equals itself"),
    ("ex-music-string", lambda k, N, r, s: math.cos(math.pi * k / N) ** (s * r / N), "delays by something"),
    ("ex-music-transfer", lambda x, m, v, n, w, abar: n + (w / v) ** 0.5 * (x - m), "from the very top"),
    ("ex-music-move", lambda x, w, b, y: x + (y - w @ x - b) * w, "what is w times w"),
]


@pytest.mark.parametrize(("label", "answer", "words"), WRONG, ids=[f"{row[0]}-{i}" for i, row in enumerate(WRONG)])
def test_a_typical_mistake_is_refused_with_a_direction(label, answer, words, capsys):
    verdict = check(label, answer)
    assert not verdict and verdict.reason == "wrong", verdict
    assert words in verdict.message
    assert capsys.readouterr().out == verdict.message + "\n"


def test_every_exercise_has_a_mistake_in_the_table():
    assert {label for label, _, _ in WRONG} == set(registry())


@pytest.mark.parametrize(
    ("label", "answer"), [row[:2] for row in WRONG], ids=[f"{row[0]}-{i}" for i, row in enumerate(WRONG)]
)
def test_the_feedback_does_not_say_the_answer(label, answer, monkeypatch):
    truths, compare = [], comparing.close

    def close(value, truth, rtol):
        truths.append((value, truth))
        return compare(value, truth, rtol)

    monkeypatch.setattr(comparing, "close", close)
    message = check(label, answer).message
    assert "Traceback" not in message and "exercises/" not in message and ".py" not in message
    for value, truth in truths[:1]:  # the first comparison is with the truth, the others are with mistakes
        value, truth = torch.as_tensor(value), torch.as_tensor(truth)
        if truth.numel() == 1 and not torch.isclose(value.double(), truth.double(), rtol=1e-2):
            said = re.findall(r"-?\d+\.\d+", message)
            assert not any(abs(float(number) - truth.item()) < 2e-3 * abs(truth.item()) for number in said), message


@pytest.mark.parametrize("label", registry())
def test_what_is_no_answer_is_said_plainly(label):
    for answer in (None, "an answer", object(), {}, torch.zeros(2, 3, 5), [None, "x"], float("nan"), True):
        verdict = check(label, answer)
        assert not verdict and verdict.reason in ("unfit", "wrong"), verdict
        assert verdict.reason == "unfit" or not isinstance(answer, str | dict | None), verdict


@pytest.mark.parametrize("label", registry())
def test_an_error_in_the_readers_function_is_called_the_readers(label, capsys):
    def broken(*args):
        return {}["missing"]

    verdict = check(label, broken)
    said = capsys.readouterr().out
    if verdict.reason == "raised":
        assert "KeyError: 'missing'" in said and "inside your function" in said and "with" in said
    else:
        assert verdict.reason == "unfit" and "is a function" in said


@pytest.mark.parametrize("label", registry())
def test_a_function_with_other_arguments_is_told_how_it_is_called(label):
    verdict = check(label, lambda one, two, three, four, five, six, seven, eight: 0)
    assert verdict.reason == "unfit" and ("is called as" in verdict.message or "is a function" in verdict.message)
    verdict = check(label, lambda *args: None)
    assert verdict.reason == "unfit" and ("returned None" in verdict.message or "function" in verdict.message)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ex-forward-root", "Did you mean ex-forward-roots?"),
        ("ex-forwrd-forget", "ex-forward-forget"),
        ("something else", "The label stands in the exercise's last sentence"),
        (3, "no exercise 3"),
    ],
)
def test_an_unknown_label_leads_to_the_known_ones(label, words, capsys):
    assert check(label, 1.0).reason == "unknown"
    assert words in capsys.readouterr().out


def test_a_right_answer_is_told_what_it_shows(capsys):
    verdict = check("ex-forward-forget", lambda v, a: 1 + a * (v - 1))
    assert verdict and capsys.readouterr().out.startswith(
        "ex-forward-forget: right. The distance of the variance from 1"
    )
    assert verdict._ipython_display_() is None  # a cell that ends in check(...) says it once


def test_a_check_that_fails_itself_does_not_stop_the_notebook(monkeypatch):
    class Odd(dict):
        def __len__(self):
            raise RuntimeError("nobody thought of this")

    verdict = check("ex-variance-shape", Odd())
    assert verdict.reason in ("unfit", "stumbled") and "Traceback" not in verdict.message


def test_randomness_is_repeated_and_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = torch.rand(1)
    messages = {check("ex-reverse-v", lambda net, schedule: lambda x, t: x + net(x, t)).message for _ in range(2)}
    assert len(messages) == 1
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_a_function_may_work_in_place():
    def one_step(x_T, eps, abar_T):
        x_T -= (1 - abar_T).sqrt() * eps
        return x_T.div_(abar_T.sqrt())

    assert check("ex-fewer-one", one_step)


def test_numbers_of_all_kinds_are_taken():
    import numpy as np

    for answer in (
        11.05,
        np.float32(11.05),
        torch.tensor(11.05),
        torch.tensor([11.05], requires_grad=True),
        np.array(11.05),
    ):
        assert check("ex-forward-no-shrink", answer)
    assert check("ex-forward-forget", lambda v, a: np.float64(1 + float(a) * (float(v) - 1)))
    assert check("ex-variance-shape", {"within": 2.3e-5, "across": torch.tensor(1.0)})


def test_the_registry_refuses_what_the_teachers_page_could_not_show():
    def judge(answer):
        """Established."""

    good = dict(stars=1, minutes=5, skill="levels")
    for label, kind, change in [
        ("ex-new", "guess", {}),
        ("ex-new", "code", {"stars": 4}),
        ("ex-new", "code", {"skill": "juggling"}),
        ("ex-new", "code", {"minutes": 0}),
        ("ex-forward-roots", "code", {}),
    ]:
        with pytest.raises(ValueError, match=label):
            core.exercise(label, kind, **{**good, **change})(judge)
    judge.__doc__ = None
    with pytest.raises(ValueError, match="docstring"):
        core.exercise("ex-new", "code", **good)(judge)
    assert "ex-new" not in registry()


# ---------------------------------------------------------------- registry, chapters and the teacher's page


def test_registry_and_chapters_agree():
    chapters = exercise_list.scan(ROOT)
    assert exercise_list.problems(chapters, registry()) == []
    numbers = {int(chapter.stem[:2]) for chapter in chapters}
    with_checks = {entry.chapter for entry in registry().values()}
    assert numbers - LATER == with_checks == {int(module.__name__[-2:]) for module in exercises.CHAPTERS}


def test_every_kind_and_every_skill_is_practised():
    entries = registry().values()
    assert {entry.kind for entry in entries} == set(KINDS) and {entry.skill for entry in entries} <= set(SKILLS)
    assert {entry.stars for entry in entries} == {1, 2, 3}


TEXT = """(ch-x)=
# A title

```{exercise} Derive: one
:label: ex-one
*Derive · two stars · 15 minutes*

Hand in: `check("ex-one", f)`.
```

````{solution} ex-one
```python
assert check("ex-one", f)
```
````
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", "", None),
        (
            "15 minutes",
            "20 minutes",
            "says ('derive', 'two stars', 20) below its title, the registry ('derive', 'two stars', 15)",
        ),
        ("two stars", "three stars", "three stars"),
        ("*Derive · two stars · 15 minutes*\n", "", "says ('', '', 0)"),
        ("} Derive: one", "} Code: one", "should begin with 'Derive: '"),
        ('Hand in: `check("ex-one", f)`.', "", "does not say how to hand the answer in"),
        ('assert check("ex-one", f)', "assert f", "its solution has no assert check"),
        ("ex-one", "ex-two", "ex-two has no check"),
    ],
)
def test_a_disagreement_is_a_problem_of_one_line(tmp_path, old, new, problem):
    import nbformat

    (tmp_path / "chapters").mkdir()
    cells = [nbformat.v4.new_markdown_cell(TEXT.replace(old, new) if old else TEXT)]
    (tmp_path / "chapters" / "01_x.ipynb").write_text(
        nbformat.writes(nbformat.v4.new_notebook(cells=cells)), encoding="utf-8"
    )
    entry = core.Exercise("ex-one", 1, "derive", 2, 15, "levels", "Established.", print)
    found = exercise_list.problems(exercise_list.scan(tmp_path), {"ex-one": entry})
    assert (found == []) if problem is None else any(problem in line for line in found), found
    page = exercise_list.markdown(exercise_list.scan(tmp_path), {"ex-one": entry})
    if problem is None:
        stars = '<span class="stars" role="img" aria-label="two stars of three">★★☆</span>'
        row = f"| {{ref}}`one <ex-one>` | Levels and SNR | derive | {stars} | 15 |"
        assert row in page and "### 1 · A title" in page and "There are 1 exercises" in page


def test_the_page_has_the_place():
    assert (ROOT / "book" / f"{exercise_list.PAGE}.md").read_text(encoding="utf-8").count(exercise_list.MARK) == 1
