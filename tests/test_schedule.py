import math
import re

import numpy as np
import pytest
import torch

from ddim_edu.schedule import SPACINGS, NoiseSchedule, check_eta, check_tau, make_tau

SCHEDULES = [
    NoiseSchedule.linear(),
    NoiseSchedule.linear(T=17),
    NoiseSchedule.cosine(T=1000),
    NoiseSchedule.cosine(T=3),
    NoiseSchedule.scaled_linear(T=1000),
    NoiseSchedule.from_betas([0.1, 0.9, 0.5]),
    NoiseSchedule.from_betas([0.3]),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_alpha_bar_is_the_product(schedule):
    """Equations: eq:alpha-bar, eq:snr"""
    for array in (schedule.beta, schedule.alpha_bar, schedule.alpha_step, schedule.snr, schedule.nsr):
        assert array.shape == (schedule.T + 1,) and array.dtype == torch.float64
    product = 1.0
    assert schedule.beta[0] == 0 and schedule.alpha_bar[0] == 1
    for t in range(1, schedule.T + 1):
        product *= 1 - schedule.beta[t].item()
        assert math.isclose(schedule.alpha_bar[t], product, rel_tol=1e-12)
        assert math.isclose(schedule.snr[t], product / (1 - product), rel_tol=1e-9)
        assert math.isclose(schedule.nsr[t], math.sqrt((1 - product) / product), rel_tol=1e-9)
    assert (schedule.alpha_bar.diff() < 0).all() and schedule.nsr[0] == 0


def test_the_published_constants():
    linear = NoiseSchedule.linear()
    assert linear.T == 1000 and linear.beta[1] == 1e-4 and linear.beta[1000] == 0.02
    assert math.isclose(linear.beta[500].item(), 1e-4 + 499 / 999 * (0.02 - 1e-4), rel_tol=1e-12)
    assert math.isclose(linear.alpha_bar[1000].item(), 4.0358e-05, rel_tol=1e-4)  # DDPM's x_T: sqrt is 0.00635
    scaled = NoiseSchedule.scaled_linear()
    assert math.isclose(scaled.beta[1].item(), 0.00085, rel_tol=1e-12)
    assert math.isclose(scaled.beta[1000].item(), 0.012, rel_tol=1e-12)


def test_cosine_is_the_cosine_below_the_cut():
    schedule = NoiseSchedule.cosine(T=1000)
    u = torch.arange(1000, dtype=torch.float64) / 1000
    f = torch.cos((u + 0.008) / 1.008 * torch.pi / 2) ** 2
    assert torch.allclose(schedule.alpha_bar[:-1], f / f[0], rtol=1e-9, atol=0)
    assert schedule.beta[-1] == 0.999


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_sigma_is_equation_16(schedule, eta):
    """Equations: eq:sigma-eta"""
    abar = schedule.alpha_bar.tolist()
    for t in range(1, schedule.T + 1, max(1, schedule.T // 7)):
        for s in range(0, t, max(1, t // 3)):
            expected = eta * math.sqrt((1 - abar[s]) / (1 - abar[t])) * math.sqrt(1 - abar[t] / abar[s])
            assert math.isclose(schedule.sigma(t, s, eta).item(), expected, rel_tol=1e-12, abs_tol=1e-15)
            assert math.isclose(schedule.sigma_hat(t, s).item(), math.sqrt(1 - abar[t] / abar[s]), rel_tol=1e-12)


def test_sigma_takes_tensors_and_sigma_hat_is_root_beta():
    schedule = NoiseSchedule.linear()
    t = torch.arange(1, 1001)
    assert torch.allclose(schedule.sigma_hat(t, t - 1), schedule.beta[1:].sqrt(), rtol=1e-9)
    assert schedule.sigma(t, t - 1, 0.5)[41] == schedule.sigma(42, 41, 0.5)
    assert schedule.sigma(1, 0, 1.0) == 0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_tau_has_exactly_S_distinct_steps(spacing):
    for T in (1000, 1, 2, 3, 5, 7, 13, 101):
        for S in range(1, T + 1):
            tau = make_tau(T, S, spacing)
            assert tau.dtype == torch.int64 and tau.shape == (S + 1,)
            assert tau[0] == 0 and tau[1] >= 1 and tau[-1] <= T
            assert (tau.diff() > 0).all(), (T, S)
            if spacing in ("linspace", "trailing", "quadratic-full"):
                assert tau[-1] == T, (T, S)


def test_leading_is_the_official_uniform_and_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000)
    for S in (1, 2, 7, 10, 20, 50, 100, 300, 600, 1000):
        scheduler.set_timesteps(S)
        assert make_tau(1000, S, "leading")[1:].flip(0).tolist() == [t + 1 for t in scheduler.timesteps.tolist()]
    assert make_tau(1000, 10, "leading")[1:].tolist() == [t + 1 for t in range(0, 1000, 1000 // 10)]


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
def test_even_spacings_equal_diffusers(spacing):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000, timestep_spacing=spacing)
    for S in (2, 7, 10, 50, 300, 999, 1000):
        scheduler.set_timesteps(S)
        assert make_tau(1000, S, spacing)[1:].flip(0).tolist() == [t + 1 for t in scheduler.timesteps.tolist()]


def test_quadratic_is_the_official_formula_with_repeats_mended():
    for S in (5, 10, 20, 50, 100, 500, 1000):
        official = [int(v) for v in np.linspace(0, np.sqrt(1000 * 0.8), S) ** 2]
        tau = (make_tau(1000, S, "quadratic")[1:] - 1).tolist()
        if len(set(official)) == S:
            assert tau == official
        else:  # the smallest strictly increasing sequence above the official one, cut at T - 1
            assert all(a <= b or b >= 1000 - S + i for i, (a, b) in enumerate(zip(official, tau, strict=True)))
            assert len(set(tau)) == S > len(set(official))
    assert make_tau(1000, 10, "quadratic")[-1] == 801
    assert make_tau(1000, 50, "quadratic")[:4].tolist() == [0, 1, 2, 3]  # the official code visits index 0 twice


def test_the_default_is_trailing_and_says_so_first():
    for S in (1, 10, 300):
        assert (
            make_tau(1000, S).tolist()
            == make_tau(1000, S, "trailing").tolist()
            != make_tau(1000, S, "leading").tolist()
        )
    assert make_tau(1000, 10)[-1] == 1000 and make_tau(1000, 10, "leading")[-1] == 901
    named = re.findall(r'``"([a-z-]+)"``', make_tau.__doc__)
    assert named[0] == "trailing" and set(named) == set(SPACINGS)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: make_tau(1000, 1001), "S = 1001"),
        (lambda: make_tau(1000, 0), "S = 0"),
        (lambda: make_tau(1000, -3), "S = -3"),
        (lambda: make_tau(1000, 2.5), "S = 2.5"),
        (lambda: make_tau(0, 1), "T = 0"),
        (lambda: make_tau(1000, 10, "uniform"), "'uniform'"),
        (lambda: NoiseSchedule.from_betas([0.1, 0.0]), "beta_2 = 0"),
        (lambda: NoiseSchedule.from_betas([1.0]), "beta_1 = 1"),
        (lambda: NoiseSchedule.from_betas([0.1, float("nan")]), "beta_2 = nan"),
        (lambda: NoiseSchedule.from_betas([]), "shape (0,)"),
        (lambda: NoiseSchedule.from_betas([[0.1]]), "shape (1, 1)"),
        (lambda: NoiseSchedule.linear(T=0), "T = 0"),
        (lambda: NoiseSchedule.linear(beta_end=1.5), "outside (0, 1)"),
        (lambda: NoiseSchedule.scaled_linear(beta_start=-1e-3), "beta_start = -0.001"),
        (lambda: NoiseSchedule.linear().sigma(10, 5, -0.1), "eta = -0.1"),
        (lambda: NoiseSchedule.linear().sigma(10, 5, float("nan")), "eta = nan"),
        (lambda: NoiseSchedule.linear().sigma(5, 10, 1.0), "s = 10 is not below t = 5"),
        (lambda: NoiseSchedule.linear().sigma(10, 10, 1.0), "s = 10 is not below t = 10"),
        (lambda: NoiseSchedule.linear().sigma(1001, 10, 1.0), "t = 1001"),
        (lambda: NoiseSchedule.linear().sigma(10, -1, 1.0), "t = -1"),
        (lambda: NoiseSchedule.linear().abar(torch.tensor([3, 0])), "t = 0"),
        (lambda: NoiseSchedule.linear().abar(0.5), "integers"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("beta", [[1e-17, 0.1], [0.999] * 120])
def test_a_schedule_that_float64_cannot_hold(beta):
    with pytest.raises(ValueError, match="alpha_bar_"):
        NoiseSchedule.from_betas(beta)


@pytest.mark.parametrize("tau", [[0, 1.9, 3.2], torch.tensor([0.0, 1.5])])
def test_levels_are_not_rounded(tau):
    with pytest.raises(ValueError, match="whole number"):
        check_tau(tau, 1000)


def test_eta_is_a_number():
    for eta in (None, [0.5], "0.5"):
        with pytest.raises(ValueError, match="eta"):
            check_eta(eta)
