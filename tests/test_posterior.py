"""The non-Markovian family. Coefficients are read off by putting 0 and 1 in, so that nothing here is a random
comparison.
"""

import math
import random

import pytest
import torch

from ddim_edu.posterior import ddpm_posterior, q_sigma, q_sigma_forward, step_coefficients
from ddim_edu.schedule import NoiseSchedule

ONE, ZERO = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)


def cases(n=200):
    """Random schedules, pairs of levels and etas."""
    r = random.Random(0)
    for _ in range(n):
        schedule = NoiseSchedule.from_betas([r.uniform(1e-4, 0.5) for _ in range(r.randint(2, 60))])
        t = r.randint(2, schedule.T)
        s = r.randint(1, t - 1)
        yield schedule, t, s, r.choice([0.0, 1.0, r.random()])


def coefficients(mean):
    """What a mean, linear in its two arguments, multiplies the first and the second by."""
    return mean(ONE, ZERO).item(), mean(ZERO, ONE).item()


def test_lemma_1_the_marginals_do_not_depend_on_sigma():
    """x_t = sqrt(abar_t) x_0 + noise of variance 1 - abar_t, then x_s by q_sigma: the same form at s, for every sigma.

    Equations: eq:same-marginals, eq:reuse-noise, eq:q-sigma-step
    """
    for schedule, t, s, eta in cases():
        abar_t, abar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
        sigma = schedule.sigma(t, s, eta)
        on_xt, on_x0 = coefficients(lambda x, y, a=abar_t, b=abar_s, c=sigma: q_sigma(x, y, a, b, c).mean)
        assert math.isclose(on_x0 + on_xt * math.sqrt(abar_t), math.sqrt(abar_s), rel_tol=1e-10)
        assert math.isclose(on_xt**2 * (1 - abar_t) + sigma.item() ** 2, 1 - abar_s, rel_tol=1e-10)


def test_eta_1_is_ddpms_posterior():
    """Equations: eq:ddpm-sigma, eq:sigma-eta"""
    for schedule, t, s, _ in cases():
        abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        sigma = schedule.sigma(t, s, 1.0)
        ours = coefficients(lambda x, y, a=abar_t, b=abar_s, c=sigma: q_sigma(x, y, a, b, c).mean)
        ddpm = coefficients(lambda x, y, a=abar_t, b=abar_s: ddpm_posterior(x, y, a, b).mean)
        assert ours == pytest.approx(ddpm, rel=1e-8, abs=1e-12)
        assert math.isclose(ddpm_posterior(ONE, ONE, abar_t, abar_s).std, sigma, rel_tol=1e-10)


def test_ddpms_posterior_is_the_chain_conditioned():
    """Against Gaussian conditioning by linear algebra, with a chain of single steps built from beta alone.

    Equations: eq:posterior-given-x0, eq:bayes-step
    """
    schedule = NoiseSchedule.from_betas([0.02, 0.1, 0.3, 0.05, 0.4])
    T = schedule.T
    W = torch.zeros(T + 1, T + 1, dtype=torch.float64)  # x_t = W[t, 0] x_0 + sum of W[t, i] z_i
    W[0, 0] = 1
    for t in range(1, T + 1):
        W[t] = (1 - schedule.beta[t]).sqrt() * W[t - 1]
        W[t, t] = schedule.beta[t].sqrt()
    cov = W[:, 1:] @ W[:, 1:].T  # given x_0
    for t in range(2, T + 1):
        for s in range(1, t):
            gain = cov[s, t] / cov[t, t]
            expected = (gain, W[s, 0] - gain * W[t, 0])
            got = coefficients(
                lambda x, y, t=t, s=s: ddpm_posterior(x, y, schedule.alpha_bar[t], schedule.alpha_bar[s]).mean
            )
            assert got == pytest.approx([float(e) for e in expected], rel=1e-10)
            std = ddpm_posterior(ONE, ONE, schedule.alpha_bar[t], schedule.alpha_bar[s]).std
            assert math.isclose(std**2, cov[s, s] - gain * cov[s, t], rel_tol=1e-10)


def test_forward_by_bayes():
    """log q(x_s|x_t,x_0) + log q(x_t|x_0) - log q(x_s|x_0) is the log density of q_sigma_forward, at any points.

    Equations: eq:q-sigma-forward, eq:q-sigma-bayes
    """
    r = random.Random(1)

    def log_normal(x, mean, std):
        return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)

    for schedule, t, s, eta in cases(60):
        eta = max(eta, 0.05)
        abar_t, abar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
        sigma = schedule.sigma(t, s, eta).item()
        x_0, x_s, x_t = (r.gauss(0, 1) for _ in range(3))
        back = q_sigma(x_t * ONE, x_0 * ONE, abar_t, abar_s, sigma)
        ahead = q_sigma_forward(x_s * ONE, x_0 * ONE, abar_t, abar_s, sigma)
        expected = (
            log_normal(x_s, back.mean.item(), back.std.item())
            + log_normal(x_t, math.sqrt(abar_t) * x_0, math.sqrt(1 - abar_t))
            - log_normal(x_s, math.sqrt(abar_s) * x_0, math.sqrt(1 - abar_s))
        )
        assert math.isclose(log_normal(x_t, ahead.mean.item(), ahead.std.item()), expected, rel_tol=1e-7, abs_tol=1e-9)


def test_forward_is_markov_at_eta_1_only():
    """Equations: eq:forward-step, eq:no-pull"""
    schedule, t = NoiseSchedule.linear(T=50), 20
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    for eta, markov in [(1.0, True), (0.5, False), (0.0, False)]:
        sigma = schedule.sigma(t, t - 1, eta)
        on_xs, on_x0 = coefficients(lambda x, y, c=sigma: q_sigma_forward(x, y, abar_t, abar_s, c).mean)
        assert (abs(on_x0) < 1e-10) == markov
        if markov:
            assert math.isclose(on_xs, (1 - schedule.beta[t]).sqrt(), rel_tol=1e-10)
            assert math.isclose(
                q_sigma_forward(ONE, ONE, abar_t, abar_s, sigma).std ** 2, schedule.beta[t], rel_tol=1e-10
            )
    assert q_sigma_forward(ONE, ONE, abar_t, abar_s, 0.0).std == 0  # given x_0 and x_s, for s >= 1


def test_levels_per_image_equal_one_at_a_time():
    schedule = NoiseSchedule.linear()
    g = torch.Generator().manual_seed(0)
    x_t, x_0 = (torch.randn(3, 2, 2, generator=g, dtype=torch.float64) for _ in range(2))
    t, s = torch.tensor([900, 20, 500]), torch.tensor([700, 1, 499])
    sigma = schedule.sigma(t, s, 0.5)
    for function, extra in ((q_sigma, (sigma,)), (q_sigma_forward, (sigma,)), (ddpm_posterior, ())):
        whole = function(x_t, x_0, schedule.alpha_bar[t], schedule.alpha_bar[s], *extra)
        for b in range(3):
            part = function(
                x_t[b : b + 1],
                x_0[b : b + 1],
                schedule.alpha_bar[t[b]],
                schedule.alpha_bar[s[b]],
                *(e[b] for e in extra),
            )
            assert torch.equal(whole.mean[b], part.mean[0]) and whole.std[b] == part.std


@pytest.mark.parametrize("sigma", [-0.1, 0.7072, 5.0, float("nan"), torch.tensor([0.1, 0.9])])
def test_sigma_that_does_not_fit(sigma):
    x = torch.zeros(2, 1)
    for call in (
        lambda: step_coefficients(0.5, sigma, x),
        lambda: q_sigma(x, x, 0.2, 0.5, sigma),
        lambda: q_sigma_forward(x, x, 0.2, 0.5, sigma),
    ):
        with pytest.raises(ValueError, match="sigma = .* is outside"):
            call()


def test_sigma_may_fill_the_whole_room():
    """Equations: eq:sigma-range"""
    signal, reused, fresh = step_coefficients(0.5, math.sqrt(0.5), ONE)
    assert reused == pytest.approx(0, abs=1e-7) and signal == fresh == math.sqrt(0.5)


def test_coefficients_are_the_same_from_numbers_and_tensors_and_float32_levels_lose_nothing_more():
    """Equations: eq:sigma-range"""
    x = torch.zeros(4, 2, 3, dtype=torch.float64)
    expected = (0.6**0.5, (1 - 0.6 - 0.09) ** 0.5, 0.3)
    for make, shape in (
        (float, ()),
        (lambda v: torch.tensor(v, dtype=torch.float64), ()),
        (lambda v: torch.full((4,), v, dtype=torch.float64), (4, 1, 1)),
    ):
        for found, true in zip(step_coefficients(make(0.6), make(0.3), x), expected, strict=True):
            found = torch.as_tensor(found, dtype=torch.float64)
            assert found.shape == shape and torch.allclose(found, torch.full_like(found, true), rtol=1e-14, atol=0)
    nearly_one = torch.tensor(0.9999, dtype=torch.float32)  # the difference 1 - abar is taken in float64
    reused = step_coefficients(nearly_one, 0.0, x)[1]
    assert reused.item() == pytest.approx(step_coefficients(nearly_one.item(), 0.0, x)[1], rel=1e-14)


def test_the_largest_sigma_is_inside_also_in_float32():
    o = torch.zeros(2, 3)
    for seed in range(50):
        abar_s = torch.rand(2, generator=torch.Generator().manual_seed(seed))
        step = q_sigma(o, o, abar_s * 0.5, abar_s, (1 - abar_s).sqrt())
        assert bool(step.mean.isfinite().all())
    with pytest.raises(ValueError, match="sigma"):
        q_sigma(o, o, abar_s * 0.5, abar_s, (1 - abar_s).sqrt() * (1 + 1e-5))


def test_levels_in_the_wrong_order():
    o = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="noisier"):
        ddpm_posterior(o, o, 0.5, 0.3)
    with pytest.raises(ValueError):
        q_sigma_forward(o, o, 0.5, 1.0, 0.0)
