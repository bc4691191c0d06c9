import math

import pytest
import torch

from ddim_edu.exact import Gaussian
from ddim_edu.forward import (
    eps_to_score,
    eps_to_v,
    mix,
    predict,
    q_sample,
    q_step,
    score_to_eps,
    unmix_eps,
    unmix_x0,
    v_to_eps,
)  # fmt: skip
from ddim_edu.schedule import NoiseSchedule

LINEAR = NoiseSchedule.linear()
SHAPES = [(5,), (5, 2), (5, 3, 4, 4)]


@pytest.fixture
def schedule():
    return NoiseSchedule.linear()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("per_image", [False, True])
def test_mix_and_its_two_inverses(shape, per_image, schedule):
    """Equations: eq:closed-form, eq:unmix, eq:found-noise"""
    g = torch.Generator().manual_seed(0)
    x_0, eps = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    abar = schedule.alpha_bar[torch.tensor([1, 10, 300, 700, 1000])] if per_image else 0.37
    x_t = mix(x_0, eps, abar)
    for b in range(5):
        a = float(abar[b]) if per_image else abar
        assert torch.allclose(x_t[b], math.sqrt(a) * x_0[b] + math.sqrt(1 - a) * eps[b], rtol=1e-14)
    assert torch.allclose(unmix_x0(x_t, eps, abar), x_0, atol=1e-12)
    assert torch.allclose(unmix_eps(x_t, x_0, abar), eps, atol=1e-12)


def test_float32_stays_float32(schedule):
    x = torch.randn(4, 3)
    for abar in (0.5, torch.tensor(0.5, dtype=torch.float64), schedule.alpha_bar[1:5]):
        assert mix(x, x, abar).dtype == unmix_x0(x, x, abar).dtype == unmix_eps(x, x, abar).dtype == torch.float32


def test_q_sample_uses_each_examples_level(schedule):
    """Equations: eq:closed-form"""
    x_0 = torch.ones(3, 2, dtype=torch.float64)
    t = torch.tensor([1, 500, 1000])
    x_t = q_sample(x_0, t, schedule, torch.zeros_like(x_0))
    assert torch.allclose(x_t[:, 0], schedule.alpha_bar[t].sqrt())


@pytest.mark.parametrize("t", [1, 50, 1000])
def test_q_sample_moments_within_four_standard_errors(t, schedule):
    """Equations: eq:closed-form"""
    n, x_0 = 200_000, 0.8
    g = torch.Generator().manual_seed(t)
    eps = torch.randn(n, 1, generator=g, dtype=torch.float64)
    x_t = q_sample(torch.full_like(eps, x_0), t, schedule, eps)
    abar = schedule.alpha_bar[t].item()
    se_mean, se_var = math.sqrt((1 - abar) / n), (1 - abar) * math.sqrt(2 / (n - 1))
    assert abs(x_t.mean().item() - math.sqrt(abar) * x_0) < 4 * se_mean
    assert abs(x_t.var().item() - (1 - abar)) < 4 * se_var


def test_many_single_steps_are_one_jump(schedule):
    """Chapter 2's theorem by coefficients: the chain is linear in x_0 and in each step's noise.

    Equations: eq:closed-form
    """
    T = 40
    x = torch.zeros(T + 1, T + 1, dtype=torch.float64)  # row i: the response to the i-th input alone
    x[0, 0] = 1
    for t in range(1, T + 1):
        noise = torch.zeros_like(x)
        noise[t, t] = 1
        x = q_step(x, t, schedule, noise)
        weights = x.diagonal()
        assert math.isclose(weights[0], math.sqrt(schedule.alpha_bar[t]), rel_tol=1e-12)
        assert math.isclose((weights[1:] ** 2).sum(), 1 - schedule.alpha_bar[t], rel_tol=1e-9)


def test_conversions(schedule):
    """Equations: eq:tweedie"""
    g = torch.Generator().manual_seed(1)
    x_0, eps = (torch.randn(6, 2, generator=g, dtype=torch.float64) for _ in range(2))
    abar = schedule.alpha_bar[torch.tensor([1, 2, 30, 400, 900, 1000])]
    x_t = mix(x_0, eps, abar)
    a = abar[:, None]
    assert torch.allclose(eps_to_v(eps, x_t, abar), a.sqrt() * eps - (1 - a).sqrt() * x_0, atol=1e-10)
    assert torch.allclose(v_to_eps(eps_to_v(eps, x_t, abar), x_t, abar), eps, atol=1e-10)
    assert torch.allclose(score_to_eps(eps_to_score(eps, abar), abar), eps, atol=1e-12)
    # The score of N(0, 1) data is -x at every level: the sign and the root are right.
    exact = Gaussian(torch.zeros(2), 1.0, schedule)
    t = torch.tensor([1, 2, 30, 400, 900, 1000])
    assert torch.allclose(eps_to_score(exact.eps(x_t, t), abar), -x_t, atol=1e-10)


@pytest.mark.parametrize("t", [0, -1, 1001, torch.tensor([5, 0, 7]), 2.0])
@pytest.mark.parametrize("jump", [q_sample, q_step])
def test_levels_outside_the_schedule(t, jump, schedule):
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="1..1000"):
        jump(x, t, schedule, x)


def test_wrong_number_of_levels(schedule):
    with pytest.raises(ValueError, match="2 levels for a batch of 3"):
        mix(torch.zeros(3, 2), torch.zeros(3, 2), torch.tensor([0.1, 0.2]))


@pytest.mark.parametrize("abar", [-0.1, 1.5, float("nan")])
def test_a_level_that_is_no_share(abar):
    with pytest.raises(ValueError, match="abar = "):
        mix(torch.zeros(3, 2), torch.zeros(3, 2), abar)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: q_sample(torch.full((2, 2), 200, dtype=torch.uint8), 1, LINEAR, torch.zeros(2, 2)),
            "uint8",
        ),  # not images of zeros
        (lambda: mix(torch.ones(2, 2), torch.ones(2, 2), torch.tensor(1.5)), "abar = 1.5"),
        (lambda: mix(torch.ones(2, 2), torch.ones(2, 2), torch.tensor([0.5, float("nan")])), "nan"),
        (lambda: unmix_x0(torch.ones(2, 2), torch.ones(2, 2), 0.0), "(0, 1]"),
        (lambda: unmix_eps(torch.ones(2, 2), torch.ones(2, 2), torch.tensor(1.0)), "[0, 1)"),
        (
            lambda: q_sample(torch.ones(2, 2), torch.tensor([[1, 1000]]), LINEAR, torch.zeros(2, 2)),
            "(1, 2)",
        ),  # not a level a coordinate
    ],
)
def test_what_would_pass_unseen_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_levels_of_every_integer_type(dtype):
    t = torch.tensor([5, 7], dtype=dtype)
    assert torch.equal(LINEAR.abar(t), LINEAR.alpha_bar[[5, 7]])
    assert LINEAR.abar(t[0]).ndim == 0
    x, z = torch.ones(2, 3), torch.zeros(2, 3)
    assert torch.equal(q_step(x, t, LINEAR, z), q_step(x, t.long(), LINEAR, z))


def test_a_model_is_asked_in_one_place():
    x = torch.zeros(4, 3)
    seen = []
    assert predict(lambda x, t: seen.append(t) or x.double(), x, 7).dtype == x.dtype
    assert seen[0].tolist() == [7] * 4 and seen[0].dtype == torch.int64
    for wrong in (lambda x, t: x[:, :1], lambda x, t: x[:1], lambda x, t: x.sum(1)):  # all of them would be broadcast
        with pytest.raises(ValueError, match="eps_theta returned"):
            predict(wrong, x, 7)
