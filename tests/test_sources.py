"""The page of sources: each formula that a source got wrong is shown failing, and the right one holding.

What the sources say is read from book/quotes.yml, and their formulas are run from there. The page is held to that file,
and the numbers on the page come from here: a test asserts that what it measured stands there, digit for digit. Monte
Carlo checks allow four standard errors.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import runpy
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch.distributions import Normal, kl_divergence

from ddim_edu.adaptive import adaptive_step_loss, adaptive_step_size, complexity
from ddim_edu.data.named import digits
from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import mix, q_sample, unmix_x0
from ddim_edu.losses import gamma_of_sigma
from ddim_edu.measuring.tables import PAPER_TABLE1, PAPER_TABLE2
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.posterior import ddpm_posterior, q_sigma, q_sigma_forward, step_coefficients
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, sample
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.recipes import Recipe

ROOT = Path(__file__).parent.parent
QUOTES = yaml.safe_load((ROOT / "book" / "quotes.yml").read_text(encoding="utf-8"))
SLIPS = QUOTES["slips"] | QUOTES["paper"]
RAW = (ROOT / "book" / "sources.md").read_text(encoding="utf-8")
PAGE = " ".join(RAW.split())
LINEAR = NoiseSchedule.linear()
ABAR = LINEAR.alpha_bar
ONE, ZERO = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)


def printed(*sentences: str) -> None:
    """Each of these must stand on the page."""
    for sentence in sentences:
        assert sentence in PAGE, f"book/sources.md does not say: {sentence}"


def published(name: str, **values):
    """The formula of that slip, as its source prints it, at these values."""
    return eval(SLIPS[name]["code"], {"__builtins__": {}, "sqrt": torch.sqrt, "norm": torch.linalg.vector_norm}, values)


def says(name: str, *words: str) -> None:
    """The source says this much in words."""
    for word in words:
        assert word in " ".join(SLIPS[name]["says"].split())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_like(x, seed: int = 0):
    return torch.randn(x.shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def images():
    """Real handwritten digits, (1597, 1, 8, 8) in [-1, 1]."""
    data = digits()
    return data.floats(data.train).double()


# ---------------------------------------------------------------- the step to the data (S0, S1)


def test_x0_from_the_noise(images):
    """Equations: eq:unmix"""
    t, s = 500, 400
    eps = noise_like(images)
    x_t = q_sample(images, t, LINEAR, eps)
    assert (unmix_x0(x_t, eps, ABAR[t]) - images).abs().max() < 1e-12
    error = published("x0", x_t=x_t, eps=eps, abar_t=ABAR[t], abar_s=ABAR[s]) - images
    factor = ((1 - ABAR[t]) / ABAR[t]).sqrt() - 1 / ABAR[s].sqrt()
    assert torch.allclose(error, factor * eps, atol=1e-12)
    printed(f"${factor:.2f}\\, \\epsilon$", f"off by {error.square().mean().sqrt():.2f} in the root mean square")

    # Given x_t the error has a mean, even with the best prediction of the noise.
    exact = Gaussian(torch.zeros(1), 1.0, LINEAR)
    x_0 = exact.sample(100_000, generator(1))
    x_t = q_sample(x_0, t, LINEAR, draw(x_0, generator(2)))
    eps_star, above = exact.eps(x_t, t), x_t > 1
    ours = unmix_x0(x_t, eps_star, ABAR[t]) - x_0
    theirs = published("x0", x_t=x_t, eps=eps_star, abar_t=ABAR[t], abar_s=ABAR[s]) - x_0
    standard_error = (x_0[above].std() / above.sum() ** 0.5).item()
    assert abs(ours[above].mean()) < 4 * standard_error < 0.05 < theirs[above].mean()
    printed(f"too large by {theirs[above].mean():.1f} on average")


def test_sampling_with_the_published_x0():
    data, tau = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR), make_tau(1000, 1000)
    x = x_T = torch.randn(1000, 1, generator=generator(3), dtype=torch.float64)
    for s, t in reversed(list(pairwise(tau.tolist()))):
        eps = data.eps(x, t)
        x = mix(published("x0", x_t=x, eps=eps, abar_t=ABAR[t], abar_s=ABAR[s]), eps, ABAR[s])
    *_, last = ddim_path(data.eps, x_T, LINEAR, tau)
    of_data = data.sample(100_000, generator(4)).std().item()
    assert x.std() < 1e-6 and last.x_s.std() == pytest.approx(of_data, rel=0.05)
    printed(f"all 1,000 samples at the same point, {x.mean():.2f}")
    printed(f"standard deviation {last.x_s.std():.2f}, as the data has")


# ---------------------------------------------------------------- the noise of a step (S4)


def test_sigma_is_the_root_and_not_its_square():
    t = torch.arange(2, 1001)
    abar_t, abar_s = ABAR[t], ABAR[t - 1]
    root = published("square", abar_t=abar_t, abar_s=abar_s)
    nothing = torch.zeros(999, 1, dtype=torch.float64)
    ddpm = ddpm_posterior(nothing, nothing, abar_t, abar_s).std
    assert torch.allclose(root, ddpm, rtol=1e-9) and torch.allclose(LINEAR.sigma(t, t - 1, 1.0), ddpm, rtol=1e-9)

    as_variance = root.sqrt()  # the standard deviation, if the root were the variance
    factor = as_variance / ddpm
    printed(f"{ddpm[498]:.2f} at level 500, and the slip makes {as_variance[498]:.2f} of it")
    printed(f"{factor.min():.1f} to {factor.max():.1f} times as large")
    too_much = t[as_variance**2 > 1 - abar_s]
    assert too_much.tolist() == list(range(2, int(too_much.max()) + 1))  # the first levels hold less noise than that
    printed(f"levels 2 to {too_much.max()}")
    with pytest.raises(ValueError, match="more fresh noise than level s holds"):
        step_coefficients(ABAR[too_much.max() - 1], as_variance[too_much.max() - 2], ONE)
    printed(f"a variance of {as_variance[0] ** 2:.4f}, where level 1 holds {1 - abar_s[0]:.4f}")

    # Samples, as a witness: from x_0 = 0.7 to level 200 and on to level 500. What does x_500 leave open of x_200?
    n, t, s = 200_000, 500, 200
    x_s = q_sample(torch.full((n, 1), 0.7, dtype=torch.float64), s, LINEAR, noise_like(torch.empty(n, 1), 13))
    x_t = mix(x_s, noise_like(x_s, 14), ABAR[t] / ABAR[s])
    left = x_s.var() * (1 - torch.corrcoef(torch.cat([x_s, x_t], 1).T)[0, 1] ** 2)
    right, slip = LINEAR.sigma(t, s, 1.0) ** 2, published("square", abar_t=ABAR[t], abar_s=ABAR[s])
    assert abs(left / right - 1) < 4 * (2 / n) ** 0.5 and slip > 1.5 * left
    printed(f"samples have the variance {left:.2f}, the formula gives {right:.2f}, and its root is {slip:.2f}")


def test_a_code_that_goes_on_with_too_much_noise():
    data, tau, rms = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], 0.03**2, LINEAR), make_tau(1000, 100, "leading"), {}
    for name in ("right", "square"):
        x = torch.randn(2000, 1, generator=generator(0), dtype=torch.float64)
        fresh = generator(1)
        for s, t in reversed(list(pairwise(tau.tolist()))):
            eps, sigma = data.eps(x, t), published("square", abar_t=ABAR[t], abar_s=ABAR[s])
            sigma = sigma if name == "right" else sigma.sqrt()
            x = (
                ABAR[s].sqrt() * unmix_x0(x, eps, ABAR[t])
                + (1 - ABAR[s] - sigma**2).clamp(min=0).sqrt() * eps
                + sigma * draw(x, fresh)
            )
        rms[name] = (x - data.means[:, 0]).abs().min(1).values.square().mean().sqrt().item()
    assert rms["square"] > 2 * rms["right"] and rms["right"] < 0.035
    printed(
        f"leaves the samples {rms['square']:.2f} from the peak they belong to in the root mean square, "
        f"and the right one {rms['right']:.2f}"
    )


def test_it_is_x_0_that_is_seen_at_each_step():
    def coefficients(t, eta):
        sigma = LINEAR.sigma(t, t - 1, eta)
        return [
            q_sigma_forward(x_s, x_0, ABAR[t], ABAR[t - 1], sigma).mean.item()
            for x_s, x_0 in ((ONE, ZERO), (ZERO, ONE))
        ]

    says("injecting", "keeps injecting itself")
    for t in (2, 10, 500, 1000):
        assert abs(coefficients(t, 1.0)[1]) < 1e-9  # DDPM's chain is Markov: x_0 plays no part
        assert coefficients(t, 0.0)[1] < coefficients(t, 0.5)[1] < -1e-5
    on_x1, on_x0 = coefficients(2, 0.0)
    printed(f"${on_x1:.2f}\\, x_1 - {-on_x0:.2f}\\, x_0$")


# ---------------------------------------------------------------- indices (S2)


def test_the_index_of_the_forward_step():
    """Equations: eq:alpha-bar"""
    schedule = NoiseSchedule.cosine(T=10)
    x, slipped = ONE[0, 0], schedule.alpha_step[:-1].prod()  # alpha_0 ... alpha_{T-1}, with alpha_0 = 1
    for i in range(1, 11):
        x = published("forward-index", x=x, eps=ZERO[0, 0], alpha_before=schedule.alpha_step[i - 1])
    assert torch.isclose(x, slipped.sqrt())
    assert (
        torch.isclose(schedule.alpha_step[1:].prod(), schedule.alpha_bar[-1]) and slipped > 900 * schedule.alpha_bar[-1]
    )
    printed(f"at the end is {schedule.alpha_bar[-1].sqrt():.3f}", f"with the slip it is {slipped.sqrt():.3f}")


def test_the_index_of_the_variance(images):
    """Equations: eq:variance-of-xt"""
    t, variance = 100, images.var()
    for i in range(1, t + 1):
        variance = LINEAR.alpha_step[i] * variance + 1 - LINEAR.alpha_step[i]  # with X_{i-1} on the right
    assert variance.item() == pytest.approx((ABAR[t] * images.var() + 1 - ABAR[t]).item(), rel=1e-12)
    measured = q_sample(images, t, LINEAR, noise_like(images, 5)).var()
    for guess in (ONE, measured):  # the printed line is an equation for Var(X_i), and only 1 solves it
        assert (published("variance-index", alpha=LINEAR.alpha_step[t], var_here=guess) == guess).all() == (
            guess == 1
        ).all()
    late = int((ABAR * (1 - images.var()) < 0.05).nonzero()[0])
    printed(f"more than 5% below 1 up to level {late - 1}")
    assert abs(measured - variance) < 4 * 0.005 and 1 - measured > 0.3  # the slip says 1
    printed(f"from {images.var():.2f} to {measured:.2f} at level 100", f"the recursion gives {variance:.2f}")


def test_without_noise_the_forward_process_is_still_random():
    says("deterministic", "the forward process becomes deterministic", "deterministic, non-Markovian diffusion process")
    n, t = 100_000, 500
    x_0 = torch.full((n, 1), 0.8, dtype=torch.float64)
    x = q_sample(x_0, 1, LINEAR, noise_like(x_0, 6))
    for i in range(2, t + 1):
        mean, std = q_sigma_forward(x, x_0, ABAR[i], ABAR[i - 1], 0.0)
        assert std == 0
        x = mean
    assert abs(x.var() / (1 - ABAR[t]) - 1) < 4 * (2 / n) ** 0.5
    printed(f"variance {x.var():.2f} at level 500; $1 - \\bar\\alpha_{{500}}$ is {1 - ABAR[t]:.2f}")


def test_two_meanings_of_alpha(images):
    """Equations: eq:closed-form"""
    t = 500
    says("alphas", "S2 uses $\\alpha_t$ for both", "S3 has no formula")
    printed(f"the two are {LINEAR.alpha_step[t]:.2f} and {ABAR[t]:.2f}")
    correlations = []
    for share in (LINEAR.alpha_step[t], ABAR[t]):
        x_t = mix(images, noise_like(images, 7), share)
        correlations.append(torch.corrcoef(torch.stack([x_t.flatten(), images.flatten()]))[0, 1].item())
        expected = (share * images.var() / (share * images.var() + 1 - share)).sqrt()
        assert abs(correlations[-1] - expected) < 4 / images.numel() ** 0.5
    printed(f"correlation {correlations[0]:.2f} with the picture in place of {correlations[1]:.2f}")


# ---------------------------------------------------------------- the adaptive step (S1, S3)


def smooth_images(n: int):
    """Colour pictures of 32 x 32 in [-1, 1] without fine detail: random 8 x 8 grids, enlarged."""
    coarse = torch.rand(n, 3, 8, 8, generator=generator(8), dtype=torch.float64) * 2 - 1
    return F.interpolate(coarse, size=32, mode="bicubic", align_corners=False).clamp(-1, 1)


def published_term(x, error):
    """What S1 adds to the mean squared error."""
    return adaptive_step_loss(error, torch.zeros_like(error), x) - error.square().mean()


def test_the_weight_shrinks_with_the_batch(images):
    sizes = torch.tensor([1.0, 4, 16, 64, 256, 1024])
    for name, x in (("digits", images), ("smooth pictures", smooth_images(1024))):
        weights = torch.stack([complexity(x[: int(n)]).mean() for n in sizes])
        log_n, log_w = sizes.double().log(), weights.log()
        slope = ((log_n - log_n.mean()) * (log_w - log_w.mean())).sum() / (log_n - log_n.mean()).square().sum()
        assert abs(slope + 0.5) < 0.02
        printed(f"{slope:.2f} for {name}".replace("-", "−"))
    one = images[:1]
    weight, ours = published("batch", g=torch.tensor([3.0, 4.0])), torch.tensor([0.6, 0.8])
    assert torch.allclose(weight, ours) and weight.square().sum() == pytest.approx(1)
    alone, among = complexity(one), complexity(one.expand(100, -1, -1, -1))[:1]
    assert torch.allclose(among, alone / 10, rtol=1e-6)


def test_the_step_sits_on_its_limit(images):
    for name, x in (("digits", images[:64]), ("smooth pictures", smooth_images(64))):
        quotient = published("limit", b=1.0, c=complexity(x))  # infinite where the picture is flat
        limit = math.floor(quotient.min())
        assert (adaptive_step_size(complexity(x), max_step=limit) == limit).all()
        printed(f"above {limit} for {name} (median about {round(quotient.median().item(), -1):.0f})")


def test_the_term_is_too_small_to_explain_the_loss(images):
    says("gain", "falls from 0.03–0.04 to 0.02–0.03")
    for name, source in (("digits, 8 × 8", images), ("smooth pictures, 3 × 32 × 32", smooth_images(100))):
        shares = []
        for n in (1, 16, 64, 100):
            x = source[:n]
            error = 0.029**0.5 * noise_like(x, 9)
            term, mse = published_term(x, error), error.square().mean()
            assert 0 < term < 0.05 * mse
            shares.append(term / mse)
        printed(f"| {name} | " + " | ".join(f"{100 * share:.2g}%" for share in shares) + " |")
        assert shares[3] < shares[2] < shares[1] < shares[0] / 2
    assert all(share < 0.002 for share in shares[1:])  # of what would be needed, about 0.01 of 0.035


def test_ddims_step_has_no_adaptive_size(images):
    """A matter of documents. What can be run: to the step it is all one where a pixel stands, and to complexity not."""
    says("whose", "adaptive step size")
    order = torch.randperm(64, generator=generator(10))

    def shuffle(x):
        return x.flatten(2)[..., order].reshape(x.shape)

    x_t, eps, z = images[:50], noise_like(images[:50], 11), noise_like(images[:50], 12)
    step = ddim_step(x_t, eps, ABAR[500], ABAR[400], 0.1, z)
    assert torch.equal(ddim_step(shuffle(x_t), shuffle(eps), ABAR[500], ABAR[400], 0.1, shuffle(z)), shuffle(step))
    plain, shuffled = complexity(x_t), complexity(shuffle(x_t))
    assert not torch.allclose(plain.flatten(2).sort().values, shuffled.flatten(2).sort().values, atol=1e-3)


# ---------------------------------------------------------------- arguments and indices (S0, S1, S2)


def test_the_network_needs_the_level():
    says("arguments", "$\\epsilon_\\theta(x_t)$", "ends at $x_{t-1}$")
    exact = Gaussian(torch.zeros(1), 1.0, LINEAR)
    low, high = (exact.eps(ONE, t).item() for t in (100, 900))
    assert low < high / 2
    printed(f"at $x = 1$ the best prediction is {low:.2f} at level 100 and {high:.2f} at level 900")
    tau = make_tau(1000, 10, "trailing")
    # Of the noise, the part that a step with sigma = 0 keeps.
    share = [((1 - ABAR[s]) / (1 - ABAR[300])).sqrt().item() for s in (299, int(tau[2]))]
    assert tau[3] == 300 and share[0] > 0.99 and share[1] < 0.8
    printed(f"keeps {share[1]:.2f} of the noise's size; $x_{{299}}$ would have {share[0]:.3f} of it")


def test_the_noise_of_two_steps():
    alpha_1, alpha_2 = LINEAR.alpha_step[1:3]
    n = 100_000
    x_1 = (1 - alpha_1).sqrt() * noise_like(torch.empty(n), 15)
    x_2 = alpha_2.sqrt() * x_1 + (1 - alpha_2).sqrt() * noise_like(x_1, 16)  # from x_0 = 0
    right = alpha_2 * (1 - alpha_1) + 1 - alpha_2
    slip = published("two-steps", alpha_1=alpha_1, alpha_2=alpha_2) ** 2 + 1 - alpha_2
    assert (
        torch.isclose(right, 1 - ABAR[2], rtol=1e-9)
        and abs(x_2.var() / right - 1) < 4 * (2 / n) ** 0.5
        and slip < 0.6 * right
    )
    printed(
        f"variance {1e4 * x_2.var():.1f}, the right formula gives {1e4 * right:.1f} "
        f"and the printed one {1e4 * slip:.1f} (all $\\times 10^{{-4}}$)"
    )


def test_the_variance_of_a_sum():
    n = 100_000
    x_499 = (1 - ABAR[499]).sqrt() * noise_like(torch.empty(n), 17)  # from x_0 = 0, so x_t is noise alone
    x_500 = LINEAR.alpha_step[500].sqrt() * x_499 + (1 - LINEAR.alpha_step[500]).sqrt() * noise_like(x_499, 18)
    eps, later = x_499 / (1 - ABAR[499]).sqrt(), x_500 / (1 - ABAR[500]).sqrt()
    theirs, covariance = (
        published("sum-of-variances", var_x=eps.var(), var_y=later.var()),
        ((eps - eps.mean()) * (later - later.mean())).mean(),
    )
    assert (eps + later).var() == pytest.approx((theirs + 2 * covariance).item(), rel=1e-4) and theirs < 2.05
    fresh = noise_like(eps, 19)
    assert abs((eps + fresh).var() - published("sum-of-variances", var_x=eps.var(), var_y=fresh.var())) < 4 * 2 / n**0.5
    printed(
        f"the sum of $\\epsilon_{{499}}$ and $\\epsilon_{{500}}$ has the variance {(eps + later).var():.2f}; "
        f"the printed line gives {theirs:.2f}"
    )


# ---------------------------------------------------------------- the bound (S2)

SHORT = NoiseSchedule.linear(T=10, beta_start=0.02, beta_end=0.6)


def bound_of(shift: float, n: int = 100_000):
    """E log p(x_T), E of the sum of log q/p, and E log of the data's density, for data N(0, 1/4) and ten levels.

    Each mean of p is off by ``shift`` of its standard deviations.
    """
    v, fresh = 0.25, generator(20)
    x = v**0.5 * torch.randn(n, generator=fresh, dtype=torch.float64)
    truth, ratio = Normal(0.0, v**0.5).log_prob(x).mean().item(), 0.0
    for t in range(1, 11):
        alpha = SHORT.alpha_step[t]
        later = alpha.sqrt() * x + (1 - alpha).sqrt() * torch.randn(n, generator=fresh, dtype=torch.float64)
        here, there = (SHORT.alpha_bar[i] * v + 1 - SHORT.alpha_bar[i] for i in (t - 1, t))
        slope = alpha.sqrt() * here / there  # the true reverse step of Gaussian data
        std = (here - slope**2 * there).sqrt()
        q, p = Normal(alpha.sqrt() * x, (1 - alpha).sqrt()), Normal(slope * later + shift * std, std)
        ratio += (q.log_prob(later) - p.log_prob(x)).mean().item()
        x = later
    return Normal(0.0, 1.0).log_prob(x).mean().item(), ratio, truth


def test_the_sign_in_the_bound():
    right, theirs, minus = [], [], []
    for shift in (0.0, 0.5, 1.0):
        prior, ratio, truth = bound_of(shift)
        right.append(prior - ratio)
        theirs.append(published("bound-sign", prior=prior, log_q_over_p=ratio))
        minus.append(-theirs[-1])
        assert right[-1] < truth + 0.01  # a bound from below, met by the exact model but for p(x_T)
    assert (
        right[0] > truth - 0.01
        and right == sorted(right, reverse=True)
        and theirs == sorted(theirs)
        and minus[0] > truth + 2
    )
    row = ", ".join(f"{value:.2f}" for value in right).replace("-", "−")
    printed(f"{row}, below the data's own {truth:.2f}".replace("-", "−"))
    printed("to " + ", ".join(f"{value:.2f}" for value in theirs).replace("-", "−"))
    printed(f"with the minus it is {minus[0]:.2f} for the exact model, above the {truth:.2f}".replace("-", "−"))


def test_where_the_sum_of_divergences_starts():
    says("first-divergence", "starts at $t = 1$")
    assert ddpm_posterior(ONE, ONE, ABAR[1], ABAR[0]).std == 0 and ddpm_posterior(ONE, ONE, ABAR[2], ABAR[1]).std > 0
    model, widths = Normal(0.0, 0.01), (1e-3, 1e-6, 1e-9)
    found = [kl_divergence(Normal(0.0, width), model).item() for width in widths]
    for a, b in pairwise(found):
        assert b - a == pytest.approx(math.log(1000), abs=0.01)
    printed(
        "of width "
        + ", ".join(f"$10^{{{math.log10(w):.0f}}}$" for w in widths)
        + " has the divergence "
        + ", ".join(f"{v:.1f}" for v in found)
    )


# ---------------------------------------------------------------- what the family is (S4)


def test_the_range_of_the_product():
    says("product", "for all $1 < t < T$")
    masses = []
    for half in (5, 10):  # T = 2: does the density of (x_1, x_2) given x_0 = 0.7 have the mass 1?
        grid = torch.linspace(-half, half, 801, dtype=torch.float64)
        x_1, x_2 = grid[:, None], grid[None, :]
        last = Normal(SHORT.alpha_bar[2].sqrt() * 0.7, (1 - SHORT.alpha_bar[2]).sqrt()).log_prob(x_2).exp()
        mean = q_sigma(x_2, torch.full_like(x_2, 0.7), SHORT.alpha_bar[2], SHORT.alpha_bar[1], 0.1).mean
        step, cell = Normal(mean, 0.1).log_prob(x_1).exp(), (grid[1] - grid[0]) ** 2
        masses.append(((last * step).sum() * cell, last.expand(801, 801).sum() * cell))
    for with_T, without in masses:
        assert with_T == pytest.approx(1, abs=1e-3) and without > 9
    printed(
        f"the mass {masses[0][1]:.0f} on $[-5, 5]^2$ and {masses[1][1]:.0f} on $[-10, 10]^2$; "
        f"with the factor of $t = T$ it is {masses[1][0]:.3f}"
    )


def test_one_member_that_is_ddpm_is_not_enough():
    """Another family with DDPM in it: DDPM's mean, and c times its noise. Only c = 1 has the marginals of training."""
    says("shared", "one choice of $\\sigma$ gives DDPM back")
    variance = {}
    for c in (1.0, 0.0):
        v = 1 - ABAR[1000]  # given x_0
        for s, t in reversed(list(pairwise(range(500, 1001)))):
            on_x_t = ddpm_posterior(ONE, ZERO, ABAR[t], ABAR[s])
            v = on_x_t.mean.item() ** 2 * v + (c * on_x_t.std) ** 2
        variance[c] = v.item()
    v = 1 - ABAR[1000]
    for s, t in reversed(list(pairwise(range(500, 1001)))):
        v = q_sigma(ONE, ZERO, ABAR[t], ABAR[s], 0.0).mean.item() ** 2 * v
    assert variance[1.0] == pytest.approx((1 - ABAR[500]).item(), rel=1e-9) == v.item() and variance[0.0] < 0.001
    printed(f"at level 500 the variance {variance[0.0]:.4f} given $x_0$, where training shows {variance[1.0]:.2f}")


def test_the_markov_member_skips_as_well():
    says("skipping", "non-Markovian path")
    data, tau = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR), make_tau(1000, 100, "trailing")
    for s, t in pairwise(tau.tolist()[1:]):  # eta = 1 on tau: given x_s, the next x_t does not look at x_0
        assert abs(q_sigma_forward(ZERO, ONE, ABAR[t], ABAR[s], LINEAR.sigma(t, s, 1.0)).mean) < 1e-9
    x = sample(data.eps, (4000, 1), LINEAR, tau, eta=1.0, generator=generator(21), dtype=torch.float64)
    of_data = data.sample(100_000, generator(4)).std().item()
    assert x.std().item() == pytest.approx(of_data, rel=0.05) and (x < -0.3).double().mean().item() == pytest.approx(
        0.3, abs=4 * (0.21 / 4000) ** 0.5
    )
    printed(
        "in 100 steps in place of 1,000 the samples of $\\eta = 1$ "
        f"have the standard deviation {x.std():.2f}, the data {of_data:.2f}"
    )


def test_one_noise_one_picture():
    says("one-to-one", "1-to-1 map")
    data = EmpiricalData(torch.tensor([[-1.0], [0.6]], dtype=torch.float64), LINEAR)
    x_T = torch.randn(1000, 1, generator=generator(3), dtype=torch.float64).sort(dim=0).values
    *_, before, last = ddim_path(data.eps, x_T, LINEAR, make_tau(1000, 1000))
    assert before.s == 1 and (before.x_s.diff(dim=0) > 0).all()  # at level 1 all are different, and still in order
    ends = last.x_s.unique()
    assert len(ends) == 2 and (ends - data.x.flatten()).abs().max() < 1e-12
    printed(f"1,000 noises are 1,000 states at level 1, in the same order, and {len(ends)} pictures at level 0")

    def steep(x, t):  # nothing in a network's form keeps it from this
        return 3 * torch.sin(4 * x)

    folded = ddim_step(x_T, steep(x_T, 500), ABAR[500], ABAR[400], 0.0)
    assert (folded.diff(dim=0) < 0).any()


# ---------------------------------------------------------------- S1's map


def test_padding_of_the_map():
    says("padding", "padding to maintain input dimensions")
    high, wide = complexity(torch.rand(1, 3, 32, 32, generator=generator(22))).shape[-2:]
    assert (high, wide) == (33, 33)
    printed(f"32 × 32 becomes {high} × {wide}")


# ---------------------------------------------------------------- the paper's own


def test_terms_outside_tau_are_no_bound():
    """In x_0's own Gaussian data, where the best model is known and every term has a closed form."""
    says("outside-tau", "p_\\theta^{(t)}(x_0 \\mid x_t)")
    inside = set(make_tau(1000, 10).tolist())
    outside = torch.tensor([t for t in range(1, 1001) if t not in inside])
    v, a = 0.25, ABAR[outside]
    # E[log p(x_0 given x_t) - log q(x_t given x_0)] with the exact p: what a level outside tau adds to the lower bound.
    left = v * (1 - a) / (a * v + 1 - a)  # the variance of x_0 given x_t
    extra = 0.5 * ((1 - a) / left).log()
    assert torch.allclose(extra, 0.5 * ((a * v + 1 - a) / v).log()) and (extra > 0).all()
    printed(f"these {len(outside)} levels raise it by {extra.sum():.0f} nats for one number")

    # A product of two densities of x_0 is no density of x_0.
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    two = (Normal(0.2, 0.5).log_prob(grid) + Normal(0.4, 0.5).log_prob(grid)).exp().sum() * (grid[1] - grid[0])
    assert two == pytest.approx(Normal(0.2, 0.5**0.5).log_prob(torch.tensor(0.4)).exp().item(), rel=1e-6)
    printed(f"two densities of $x_0$ of width 0.5 and means 0.2 and 0.4 has the mass {two:.2f}")

    # The divergence as printed is least for sqrt(abar_t) x_0, and not for x_0.
    t, x_0 = 500, torch.full((1,), 0.8, dtype=torch.float64)
    guess = torch.linspace(0, 1, 1001, dtype=torch.float64)
    q = Normal(ABAR[t].sqrt() * x_0, (1 - ABAR[t]).sqrt())
    best = guess[kl_divergence(q, Normal(guess * x_0, 0.1)).argmin()]
    assert best == pytest.approx(ABAR[t].sqrt().item(), abs=1e-3)
    printed(f"at level {t} it is least where the model predicts {best:.2f} $x_0$")

    # What holds: with p(x_t given x_0) = q(x_t given x_0) outside tau = (2, 5) these levels drop out, sample by sample.
    bar, fresh = SHORT.alpha_bar, generator(23)
    x_0 = 0.5 * torch.randn(1000, 1, generator=fresh, dtype=torch.float64)
    exact, sigma = Gaussian(torch.zeros(1), v, SHORT), SHORT.sigma(5, 2, 1.0)

    def at(t):
        return Normal(bar[t].sqrt() * x_0, (1 - bar[t]).sqrt())

    x_5 = bar[5].sqrt() * x_0 + (1 - bar[5]).sqrt() * draw(x_0, fresh)
    down = Normal(*q_sigma(x_5, x_0, bar[5], bar[2], sigma))
    x_2 = down.mean + down.stddev * draw(x_0, fresh)
    model = Normal(*q_sigma(x_5, unmix_x0(x_5, exact.eps(x_5, 5), bar[5]), bar[5], bar[2], sigma))
    last = Normal(unmix_x0(x_2, exact.eps(x_2, 2), bar[2]), (v * (1 - bar[2]) / (bar[2] * v + 1 - bar[2])).sqrt())
    chain_p = Normal(0.0, 1.0).log_prob(x_5) + model.log_prob(x_2) + last.log_prob(x_0)
    chain_q = at(5).log_prob(x_5) + down.log_prob(x_2)
    outside_p, outside_q, alleged, expected = 0.0, 0.0, 0.0, 0.0
    for t in (1, 3, 4):
        x_t = bar[t].sqrt() * x_0 + (1 - bar[t]).sqrt() * draw(x_0, fresh)
        outside_p, outside_q = outside_p + at(t).log_prob(x_t), outside_q + at(t).log_prob(x_t)
        left = (v * (1 - bar[t]) / (bar[t] * v + 1 - bar[t])).sqrt()
        alleged = alleged + Normal(unmix_x0(x_t, exact.eps(x_t, t), bar[t]), left).log_prob(x_0)
        expected += 0.5 * ((bar[t] * v + 1 - bar[t]) / v).log().item()
    chain = chain_p - chain_q
    assert torch.allclose(chain_p + outside_p - chain_q - outside_q, chain, atol=1e-9)
    assert chain.mean() < exact.log_prob(x_0).mean()  # a bound
    raised = alleged - outside_q  # by the printed terms, as in the closed form above
    assert abs(raised.mean() - expected) < 4 * raised.std() / 1000**0.5 < expected


def test_the_weights_of_theorem_1():
    sigma = torch.cat(
        [
            torch.tensor([0.0, 0.01], dtype=torch.float64),
            LINEAR.sigma(torch.arange(2, 1001), torch.arange(1, 1000), 1.0),
        ]
    )
    right, d = gamma_of_sigma(LINEAR, sigma), 3
    for t in (2, 500, 1000):  # against torch's divergence, in 3 dimensions
        x_0, eps, eps_hat = (noise_like(torch.empty(1, d), seed) for seed in (24, 25, 26))
        x_t = q_sample(x_0, t, LINEAR, eps)
        steps = [q_sigma(x_t, x, ABAR[t], ABAR[t - 1], sigma[t]) for x in (x_0, unmix_x0(x_t, eps_hat, ABAR[t]))]
        divergence = kl_divergence(*(Normal(*step) for step in steps)).sum()
        assert divergence == pytest.approx((right[t] * (eps - eps_hat).square().sum()).item(), rel=1e-6)
    ratio = published("weights", d=1, sigma=sigma[1:], abar_t=ABAR[1:]) / right[1:]
    k = (right[2:] * 2 * sigma[2:] ** 2 * ABAR[2:] / (1 - ABAR[2:])).sqrt()
    assert torch.allclose(ratio[1:], 1 / (k**2 * (1 - ABAR[2:])), rtol=1e-9) and ratio.max() > 1000 * ratio.min()
    powers = [math.log10(value) for value in (ratio.min(), ratio.max())]
    printed(f"from $10^{{{powers[0]:.1f}}}$ times the right one to $10^{{{powers[1]:.1f}}}$ times")


def test_the_clock_of_equation_15():
    """Data N(0, 1): the flow leaves every point where it is, and so does Euler in t, whose right-hand side is 0."""
    nu, found = LINEAR.nsr, {}
    for t, s in ((1000, 900), (500, 400)):
        eps = (1 - ABAR[t]).sqrt() * ONE  # the best prediction at x = 1
        fifteen = ABAR[s].sqrt() * published("clock", x=ONE, eps=eps, abar_t=ABAR[t], abar_s=ABAR[s])
        in_square = ABAR[s].sqrt() * (
            ONE / ABAR[t].sqrt() + (nu[s] ** 2 - nu[t] ** 2) * eps / (2 * nu[t])
        )  # dx = eps d(nu^2) / (2 nu)
        in_t = ONE + 0.5 * (t - s) * LINEAR.beta[t] * (ONE - eps / (1 - ABAR[t]).sqrt())
        assert torch.allclose(fifteen, in_square, rtol=1e-12) and torch.allclose(in_t, ONE, atol=1e-12)
        found[t] = fifteen.item(), ddim_step(ONE, eps, ABAR[t], ABAR[s], 0.0).item()
        assert found[t][0] > 1.1 and abs(found[t][1] - 1) < 0.02
    printed(
        f"from level 1000 to 900 equation 15 makes {found[1000][0]:.2f} of 1, and from 500 to 400 {found[500][0]:.2f}"
    )
    printed(f"DDIM's step makes {found[1000][1]:.4f} and {found[500][1]:.4f}")


def test_how_large_the_noise_may_be():
    says("upper-bound", "\\mathbb R_{\\ge 0}^T", "$\\eta \\in \\mathbb R_{\\ge 0}$")
    t = torch.arange(2, 1001)
    most = (1 - ABAR[t - 1]).sqrt() / LINEAR.sigma(
        t, t - 1, 1.0
    )  # the largest eta that leaves no negative number under the root
    assert torch.allclose(most, ((1 - ABAR[t]) / LINEAR.beta[t]).sqrt(), rtol=1e-9)
    for room, fits in ((0.999, True), (1.001, False)):
        sigma = room * most[0] * LINEAR.sigma(2, 1, 1.0)
        if fits:
            step_coefficients(ABAR[1], sigma, ONE)
        else:
            with pytest.raises(ValueError, match="more fresh noise than level s holds"):
                step_coefficients(ABAR[1], sigma, ONE)
    printed(
        f"$\\eta \\le {most.min():.2f}$, which level {int(t[most.argmin()])} asks for; "
        f"at level 500 up to {most[498]:.1f} would do"
    )


# ---------------------------------------------------------------- the page itself

NOT_AN_ENTRY = {
    "test_each_erratum_names_its_test",
    "test_the_page_quotes_what_the_file_holds",
    "test_quotations",
    "test_quoted_json_is_made_of_the_file",
}
NOT_AN_ENTRY |= {
    "test_every_result_says_the_command_that_makes_it",
    "test_settings_are_counted",
    "test_what_comes_back",
}


def entries() -> dict[str, str]:
    """The page's entries: what stands under each heading that has a definition list."""
    parts = re.split(r"^### (.+)$", RAW.partition("## Quoted results")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_quotes_what_the_file_holds():
    """Word for word in both directions, with the texts that say it."""
    found = {}
    for heading, text in entries().items():
        title, _, texts = heading.rpartition(" (")
        body = re.search(r"^It says\n:(.*?)^What holds\n:", text, flags=re.MULTILINE | re.DOTALL)[1]
        body, _, perhaps = body.partition("(Perhaps")
        found[title] = texts.rstrip(")"), " ".join(body.split()), "(Perhaps " + perhaps.split()[0] if perhaps else ""
    assert found == {
        slip["title"]: (
            " and ".join([", ".join(slip["texts"][:-1]), slip["texts"][-1]])
            if len(slip["texts"]) > 1
            else slip["texts"][0],
            " ".join(slip["says"].split()),
            "(Perhaps the" if "perhaps" in slip else "",
        )
        for slip in SLIPS.values()
    }


def test_each_erratum_names_its_test():
    checks = {name for name in globals() if name.startswith("test_")} - NOT_AN_ENTRY
    assert set(re.findall(r"`(test_\w+)`", PAGE)) == checks
    by_title = {slip["title"]: name for name, slip in SLIPS.items()}
    for heading, text in entries().items():  # and the test asks the file for what that source says
        named = re.findall(r"`(test_\w+)`", text)
        name = by_title[heading.rpartition(" (")[0]]
        assert any(f'"{name}"' in inspect.getsource(globals()[test]) for test in named), (
            f"no test of {heading} reads {name}"
        )


def test_quotations():
    """The tables on the page, in the package and in the file are the same; and every row falls with S."""
    tables = RAW.partition("## Quoted results")[2]
    rows = [
        [float(n) for n in row.split("|")]
        for row in re.findall(r"^\| \$\\.*?\$ \|([\d.| ]+)\|$", tables, flags=re.MULTILINE)
    ]
    table1 = QUOTES["table1"]
    assert rows == [row for data in list(table1)[1:] for row in table1[data].values()] and len(rows) == 10
    assert {eta: list(row.values()) for eta, row in PAPER_TABLE1.items()} == table1["CIFAR-10"]
    assert all(list(row) == table1["steps"] for row in PAPER_TABLE1.values())
    last = {int(S): float(error) for S, error in re.findall(r"^\| (\d+) \| ([\d.]+) \|$", tables, flags=re.MULTILINE)}
    assert last == QUOTES["table2"] == PAPER_TABLE2
    for row in [*rows, list(last.values())]:  # what a slip of the pen would break
        assert all(a >= b for a, b in pairwise(row))


def test_quoted_json_is_made_of_the_file():
    made = runpy.run_path(str(ROOT / "benchmarks" / "quoted.py"))["quoted"]()
    assert json.loads((ROOT / "results" / "quoted.json").read_text(encoding="utf-8")) == made


# What chapters ran with is no measurement: book/_tools/execute.py keeps it.
RESULTS = sorted(p for p in (ROOT / "results").glob("*.json") if p.stem != "chapter_hashes")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_says_the_command_that_makes_it(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    command = result.get("command") or result["protocol"]["command"]
    script = re.match(r"python (?:-m )?(\S+)", command)[1]
    assert (ROOT / script).is_file() or (ROOT / (script.replace(".", "/") + ".py")).is_file()


# ---------------------------------------------------------------- numbers on the first page


def test_settings_are_counted():
    """The fields of a recipe, with those of its network in place of the field that holds the network."""
    count = len(fields(Recipe)) - 1 + len(fields(UNetConfig))
    assert f"which of its {count} settings matter" in (ROOT / "book" / "index.md").read_text(encoding="utf-8")


def test_what_comes_back():
    """Chapter 7 prints both round trips; the pages promise only the one that closes."""
    notebook = nbformat.read(ROOT / "chapters" / "07_ode.ipynb", as_version=4)
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    noise, picture = map(float, re.search(r"S = 50: noise to noise (\S+), picture to picture (\S+)", said).groups())
    assert picture < 0.01 and noise > 0.3  # unrelated noise would give 2
    for page, words in (
        ("index.md", "a picture can be taken to a noise-like start, its *latent*, and, nearly, back"),
        ("parts/use.md", "from which that picture nearly comes back"),
    ):
        text = " ".join((ROOT / "book" / page).read_text(encoding="utf-8").split())
        assert words in text and "back to its noise" not in text
