import math

import pytest
import torch

from ddim_edu.exact import Gaussian
from ddim_edu.losses import draw_t, eps_error, gamma_of_sigma, loss_gamma, loss_simple, min_snr_gamma, weight_at
from ddim_edu.posterior import q_sigma
from ddim_edu.schedule import NoiseSchedule

LINEAR = NoiseSchedule.linear()


@pytest.mark.parametrize("antithetic", [False, True])
def test_t_is_uniform_over_1_to_T(antithetic):
    n, T = 100_000, 10
    t = draw_t(n, T, generator=torch.Generator().manual_seed(0), antithetic=antithetic)
    assert t.dtype == torch.int64 and t.shape == (n,)
    counts = torch.bincount(t, minlength=T + 1)
    assert counts[0] == 0 and len(counts) == T + 1
    assert ((counts[1:] / n - 0.1).abs() < 5 * math.sqrt(0.09 / n) * (2 if antithetic else 1)).all()


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_training_asks_the_network_at_level_T_too(antithetic, seed):
    """The level at which sampling starts, and level 1: both are met within a few thousand draws, in batches as training
    takes them.
    """
    g = torch.Generator().manual_seed(seed)
    t = torch.cat([draw_t(64, 1000, generator=g, antithetic=antithetic) for _ in range(125)])
    assert {1, 1000} <= set(t.tolist()) <= set(range(1, 1001))  # of 8,000 draws, both by chance but for 7 in 10,000


def test_antithetic_levels_are_mirror_images():
    t = draw_t(9, 1000, generator=torch.Generator().manual_seed(1), antithetic=True)
    assert (t[:4] + t[5:] == 1001).all()


def test_mirrored_levels_cancel_in_a_batch():
    """Of what is linear in t, with correlation -1 between a level and its image, only the two levels without a partner
    are left.

    Equations: eq:mirrored
    """
    n, rounds, g = 64, 4000, torch.Generator().manual_seed(7)
    means = {antithetic: torch.empty(rounds, dtype=torch.float64) for antithetic in (False, True)}
    for antithetic, found in means.items():
        for i in range(rounds):
            found[i] = draw_t(n, 1000, generator=g, antithetic=antithetic).double().mean()
    variance = (1000**2 - 1) / 12
    pairs, rho = n // 2 - 1, -1.0
    with_pairs = (pairs * 2 * variance * (1 + rho) + 2 * variance) / n**2
    for antithetic, expected in ((False, variance / n), (True, with_pairs)):
        assert abs(means[antithetic].var() / expected - 1) < 5 * math.sqrt(2 / rounds)


def test_a_perfect_predictor_has_no_loss_and_zero_has_one():
    """Equations: eq:l-simple"""
    g = torch.Generator().manual_seed(2)
    x_0, eps = torch.randn(4000, 3, generator=g), torch.randn(4000, 3, generator=g)
    t = draw_t(4000, 1000, generator=g)
    assert loss_simple(lambda x, t: eps, x_0, t, eps, LINEAR) == 0
    assert loss_simple(lambda x, t: torch.zeros_like(x), x_0, t, eps, LINEAR) == pytest.approx(1, abs=0.05)


def test_the_exact_predictors_loss_is_the_conditional_variance():
    """For N(0, 1) data, Var(eps | x_t) = abar_t: the floor under any predictor.

    Equations: eq:best-error
    """
    g = torch.Generator().manual_seed(3)
    n = 200_000
    exact = Gaussian(torch.zeros(1), 1.0, LINEAR)
    x_0, eps = torch.randn(n, 1, generator=g), torch.randn(n, 1, generator=g)
    for t in (50, 300, 900):
        error = eps_error(exact.eps, x_0, torch.full((n,), t), eps, LINEAR)
        assert abs(error.mean() - LINEAR.alpha_bar[t]) < 4 * error.std() / math.sqrt(n)


def test_eps_error_is_a_mean_for_each_image():
    x_0 = torch.zeros(2, 1, 2, 2)
    eps = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    error = eps_error(lambda x, t: torch.zeros_like(x), x_0, torch.tensor([1, 2]), eps, LINEAR)
    assert error.tolist() == [1.0, 9.0]


def test_loss_gamma_weighs_by_level():
    gamma = torch.zeros(1001, dtype=torch.float64)
    gamma[7], gamma[9] = 2.0, 10.0
    x_0, eps = torch.zeros(2, 3), torch.ones(2, 3)
    loss = loss_gamma(lambda x, t: torch.zeros_like(x), x_0, torch.tensor([7, 9]), eps, LINEAR, gamma)
    assert loss == pytest.approx((2 + 10) / 2)
    ones = torch.ones(1001)
    args = (lambda x, t: 0.5 * x, torch.randn(5, 2), draw_t(5, 1000), torch.randn(5, 2), LINEAR)
    assert loss_gamma(*args, ones) == pytest.approx(loss_simple(*args).item(), rel=1e-6)


@pytest.mark.parametrize("eta", [0.2, 0.7, 1.0])
def test_gamma_of_sigma_turns_eps_error_into_the_kl_divergence(eta):
    """KL between q_sigma with the true x_0 and with the x_0 that a wrong eps implies, against gamma_t |eps -
    eps_hat|^2.

    Equations: eq:gamma-of-sigma, eq:kl-to-mse
    """
    schedule = NoiseSchedule.linear(T=30)
    t_all = torch.arange(1, 31)
    sigma = torch.cat([torch.ones(1).double(), schedule.sigma(t_all, t_all - 1, eta)])
    sigma[1] = 0.1  # the last step's is free
    gamma = gamma_of_sigma(schedule, sigma)
    g = torch.Generator().manual_seed(4)
    x_0, eps, eps_hat = (torch.randn(1, 5, generator=g, dtype=torch.float64) for _ in range(3))
    for t in range(2, 31):
        a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
        x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
        x0_hat = (x_t - (1 - a_t).sqrt() * eps_hat) / a_t.sqrt()
        p, q = (torch.distributions.Normal(q_sigma(x_t, x, a_t, a_s, sigma[t]).mean, sigma[t]) for x in (x_0, x0_hat))
        kl = torch.distributions.kl_divergence(p, q).sum()
        assert kl.item() == pytest.approx((gamma[t] * (eps - eps_hat).square().sum()).item(), rel=1e-8)
    a_1 = schedule.alpha_bar[1]
    assert gamma[1].item() == pytest.approx(((1 - a_1) / a_1 / (2 * 0.1**2)).item()) and gamma[0] == 0


def test_bad_weights():
    x = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="1001 weights"):
        loss_gamma(lambda x, t: x, x, torch.tensor([1, 2]), x, LINEAR, torch.ones(1000))
    with pytest.raises(ValueError, match="none negative"):
        loss_gamma(lambda x, t: x, x, torch.tensor([1, 2]), x, LINEAR, -torch.ones(1001))
    with pytest.raises(ValueError, match="positive"):
        gamma_of_sigma(LINEAR, torch.zeros(1001))
    with pytest.raises(ValueError, match="t = 0"):
        loss_simple(lambda x, t: x, x, torch.tensor([0, 2]), x, LINEAR)


def test_min_snr_caps_the_weight_of_clean_levels():
    """Equations: eq:min-snr"""
    gamma = min_snr_gamma(LINEAR, 5.0)
    assert gamma.shape == LINEAR.beta.shape and gamma[0] == 0
    for t in (1, 50, 500, 1000):
        snr = (LINEAR.alpha_bar[t] / (1 - LINEAR.alpha_bar[t])).item()
        assert gamma[t].item() == pytest.approx(min(snr, 5.0) / snr, rel=1e-12)
    assert (gamma[1:][LINEAR.snr[1:] <= 5] == 1).all() and gamma[1] < 1e-3
    # on the prediction of x_0, whose error is that of eps over the SNR, the weight is min(SNR, 5): the paper's name
    assert torch.allclose(gamma[1:] * LINEAR.snr[1:], LINEAR.snr[1:].clamp(max=5))
    with pytest.raises(ValueError, match="cap = 0"):
        min_snr_gamma(LINEAR, 0)


def test_shapes_that_broadcast_are_no_loss():
    x_0, t = torch.ones(4, 1), torch.tensor([1, 5, 500, 1000])
    with pytest.raises(ValueError, match="eps_theta returned"):
        loss_simple(lambda x, t: (x / 2).squeeze(1), x_0, t, torch.zeros(4, 1), LINEAR)
    with pytest.raises(ValueError, match="noise of shape"):
        loss_simple(lambda x, t: x, torch.ones(4, 3), t, torch.zeros(1, 3), LINEAR)


def test_data_without_axes_of_its_own():
    x_0, t, eps = torch.zeros(4), torch.tensor([1, 5, 500, 1000]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert torch.equal(eps_error(lambda x, t: torch.zeros_like(x), x_0, t, eps, LINEAR), eps**2)


def test_a_sigma_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match="T . 1 values"):
        gamma_of_sigma(LINEAR, torch.full((1000,), 0.001))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_levels_of_any_whole_type_are_levels(dtype):
    """As an index, uint8 would be a mask: of T + 1 levels it would pick weights in silence."""
    gamma, t = torch.tensor([0.0, 2.0, 3.0]), torch.tensor([1, 2, 1], dtype=dtype)
    assert weight_at(gamma, t, torch.zeros(3)).tolist() == [2.0, 3.0, 2.0]
