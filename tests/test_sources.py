"""The page of sources: each formula that a source got wrong is shown failing, and the right one holding.

The numbers on the page come from here: a test asserts that what it measured stands there, digit for digit. Monte Carlo checks allow
four standard errors.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ddim_edu.adaptive import adaptive_step_loss, adaptive_step_size, complexity
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import mix, q_sample, unmix_x0
from ddim_edu.lab.data import digits
from ddim_edu.posterior import ddpm_posterior, place, q_sigma_forward
from ddim_edu.sampler import ddim_path, ddim_step, draw
from ddim_edu.schedule import NoiseSchedule, make_tau

PAGE = " ".join((Path(__file__).parent.parent / "book" / "sources.md").read_text(encoding="utf-8").split())
LINEAR = NoiseSchedule.linear()
ABAR = LINEAR.alpha_bar
ONE, ZERO = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)


def printed(*sentences: str) -> None:
    """Each of these must stand on the page."""
    for sentence in sentences:
        assert sentence in PAGE, f"book/sources.md does not say: {sentence}"


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


def published_x0(x_t, eps, abar_t, abar_s):
    """Equation 2 of S0 and S1."""
    return x_t / abar_t.sqrt() - eps / abar_s.sqrt()


def test_x0_from_the_noise(images):
    """Equations: eq:unmix"""
    t, s = 500, 400
    eps = noise_like(images)
    x_t = q_sample(images, t, LINEAR, eps)
    assert (unmix_x0(x_t, eps, ABAR[t]) - images).abs().max() < 1e-12
    error = published_x0(x_t, eps, ABAR[t], ABAR[s]) - images
    factor = ((1 - ABAR[t]) / ABAR[t]).sqrt() - 1 / ABAR[s].sqrt()
    assert torch.allclose(error, factor * eps, atol=1e-12)
    printed(f"${factor:.2f}\\, \\epsilon$", f"off by {error.square().mean().sqrt():.2f} in the root mean square")

    # Given x_t the error has a mean, even with the best prediction of the noise.
    exact = Gaussian(torch.zeros(1), 1.0, LINEAR)
    x_0 = exact.sample(100_000, generator(1))
    x_t = q_sample(x_0, t, LINEAR, draw(x_0, generator(2)))
    eps_star, above = exact.eps(x_t, t), x_t > 1
    ours, theirs = unmix_x0(x_t, eps_star, ABAR[t]) - x_0, published_x0(x_t, eps_star, ABAR[t], ABAR[s]) - x_0
    standard_error = (x_0[above].std() / above.sum() ** 0.5).item()
    assert abs(ours[above].mean()) < 4 * standard_error < 0.05 < theirs[above].mean()
    printed(f"too large by {theirs[above].mean():.1f} on average")


def test_sampling_with_the_published_x0():
    data, tau = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR), make_tau(1000, 1000)
    x = x_T = torch.randn(1000, 1, generator=generator(3), dtype=torch.float64)
    for s, t in reversed(list(pairwise(tau.tolist()))):
        eps = data.eps(x, t)
        x = mix(published_x0(x, eps, ABAR[t], ABAR[s]), eps, ABAR[s])
    *_, last = ddim_path(data.eps, x_T, LINEAR, tau)
    of_data = data.sample(100_000, generator(4)).std().item()
    assert x.std() < 1e-6 and last.x_s.std() == pytest.approx(of_data, rel=0.05)
    printed(f"all 1,000 samples at the same point, {x.mean():.2f}")
    printed(f"standard deviation {last.x_s.std():.2f}, as the data has")


# ---------------------------------------------------------------- the noise of a step (S4)


def test_sigma_is_the_root_and_not_its_square():
    t = torch.arange(2, 1001)
    abar_t, abar_s = ABAR[t], ABAR[t - 1]
    root = ((1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)).sqrt()  # the right-hand side that S4 prints
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
        place(ONE, ONE, ABAR[too_much.max() - 1], as_variance[too_much.max() - 2])


def test_it_is_x_0_that_is_seen_at_each_step():
    def coefficients(t, eta):
        sigma = LINEAR.sigma(t, t - 1, eta)
        return [q_sigma_forward(x_s, x_0, ABAR[t], ABAR[t - 1], sigma).mean.item() for x_s, x_0 in ((ONE, ZERO), (ZERO, ONE))]

    for t in (2, 10, 500, 1000):
        assert abs(coefficients(t, 1.0)[1]) < 1e-9  # DDPM's chain is Markov: x_0 plays no part
        assert coefficients(t, 0.0)[1] < coefficients(t, 0.5)[1] < -1e-5
    on_x1, on_x0 = coefficients(2, 0.0)
    printed(f"${on_x1:.2f}\\, x_1 - {-on_x0:.2f}\\, x_0$")


# ---------------------------------------------------------------- indices (S2)


def test_the_index_of_the_forward_step():
    """Equations: eq:alpha-bar"""
    schedule = NoiseSchedule.cosine(T=10)
    slipped = schedule.alpha_step[:-1].prod()  # alpha_0 ... alpha_{T-1}, with alpha_0 = 1
    assert torch.isclose(schedule.alpha_step[1:].prod(), schedule.alpha_bar[-1]) and slipped > 900 * schedule.alpha_bar[-1]
    printed(f"at the end is {schedule.alpha_bar[-1].sqrt():.3f}", f"with the slip it is {slipped.sqrt():.3f}")


def test_the_index_of_the_variance(images):
    """Equations: eq:variance-of-xt"""
    t, variance = 100, images.var()
    for i in range(1, t + 1):
        variance = LINEAR.alpha_step[i] * variance + 1 - LINEAR.alpha_step[i]  # with X_{i-1} on the right
    assert variance.item() == pytest.approx((ABAR[t] * images.var() + 1 - ABAR[t]).item(), rel=1e-12)
    measured = q_sample(images, t, LINEAR, noise_like(images, 5)).var()
    assert abs(measured - variance) < 4 * 0.005 and 1 - measured > 0.3  # the slip says 1
    printed(f"from {images.var():.2f} to {measured:.2f} at level 100", f"the recursion gives {variance:.2f}")


def test_without_noise_the_forward_process_is_still_random():
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
    alone, among = complexity(one), complexity(one.expand(100, -1, -1, -1))[:1]
    assert torch.allclose(among, alone / 10, rtol=1e-6)


def test_the_step_sits_on_its_limit(images):
    for name, x in (("digits", images[:64]), ("smooth pictures", smooth_images(64))):
        quotient = 1.0 / complexity(x)  # infinite where the picture is flat
        limit = math.floor(quotient.min())
        assert (adaptive_step_size(complexity(x), max_step=limit) == limit).all()
        printed(f"above {limit} for {name} (median about {round(quotient.median().item(), -1):.0f})")


def test_the_term_is_too_small_to_explain_the_loss(images):
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
    """A documentary matter; what can be run is that the step treats a pixel without regard to where it stands, and complexity does not."""
    order = torch.randperm(64, generator=generator(10))

    def shuffle(x):
        return x.flatten(2)[..., order].reshape(x.shape)

    x_t, eps, z = images[:50], noise_like(images[:50], 11), noise_like(images[:50], 12)
    step = ddim_step(x_t, eps, ABAR[500], ABAR[400], 0.1, z)
    assert torch.equal(ddim_step(shuffle(x_t), shuffle(eps), ABAR[500], ABAR[400], 0.1, shuffle(z)), shuffle(step))
    plain, shuffled = complexity(x_t), complexity(shuffle(x_t))
    assert not torch.allclose(plain.flatten(2).sort().values, shuffled.flatten(2).sort().values, atol=1e-3)


# ---------------------------------------------------------------- the page itself


def test_each_erratum_names_its_test():
    checks = {name for name in globals() if name.startswith("test_")} - {"test_each_erratum_names_its_test", "test_quotations"}
    assert set(re.findall(r"`(test_\w+)`", PAGE)) == checks


def test_quotations():
    """What a slip of the pen would break: every row of the paper's two tables falls with the number of steps."""
    tables = (Path(__file__).parent.parent / "book" / "sources.md").read_text(encoding="utf-8").partition("## Quoted results")[2]
    rows = [[float(n) for n in row.split("|")] for row in re.findall(r"^\| \$\\.*?\$ \|([\d.| ]+)\|$", tables, flags=re.MULTILINE)]
    assert [len(row) for row in rows] == [5] * 10
    rows.append([float(n) for n in re.findall(r"^\| \d+ \| ([\d.]+) \|$", tables, flags=re.MULTILINE)])
    assert len(rows[-1]) == 7 and all(a >= b for row in rows for a, b in pairwise(row))
