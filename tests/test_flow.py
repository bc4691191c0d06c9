"""Flow matching's units against formulas written out here, and its Euler method against the sampler."""

import numpy as np
import pytest
import torch

from ddim_edu.exact import GaussianMixture
from ddim_edu.flow import (
    abar_of,
    as_eps_theta,
    as_velocity,
    eps_to_velocity,
    from_flow,
    gamma_of_flow,
    r_of,
    schedule_on,
    to_flow,
    velocity_to_eps,
)
from ddim_edu.forward import mix
from ddim_edu.losses import loss_gamma
from ddim_edu.sampler import ddim_path, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
WEIGHTS, MEANS, VARIANCE = [0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plane(schedule=LINEAR):
    return GaussianMixture(WEIGHTS, MEANS, VARIANCE, schedule)


def velocity_by_hand(y, r):
    """E[eps - x_0 | y] where y = (1 - r) x_0 + r eps, by Bayes' rule in these units; NumPy, nothing of ours."""
    means, weights = np.array(MEANS), np.array(WEIGHTS)
    variance = (1 - r) ** 2 * VARIANCE + r**2
    away = y[:, None] - (1 - r) * means
    log = np.log(weights) - (away**2).sum(2) / (2 * variance)
    given = np.exp(log - log.max(1, keepdims=True))
    given /= given.sum(1, keepdims=True)
    # within a component eps - x_0 and y are jointly Gaussian, with covariance r - (1 - r) VARIANCE
    within = -means + (r - (1 - r) * VARIANCE) / variance * away
    return (given[..., None] * within).sum(1)


def euler_by_hand(y, times):
    """Flow matching's sampler, from times[0] near 1 down to 0."""
    for here, there in zip(times, times[1:]):
        y = y + (there - here) * velocity_by_hand(y, here)
    return y


@pytest.mark.parametrize("name", ["even", "random", "trailing"])
def test_euler_in_r_is_the_ddim_step(name):
    """Equations: eq:flow-euler, eq:linear-path"""
    if name == "trailing":
        levels = make_tau(1000, 12)
        times = torch.sqrt(1 - LINEAR.alpha_bar[levels])
        times = (times / (times + LINEAR.alpha_bar[levels].sqrt())).tolist()
        schedule, tau = LINEAR, levels
    else:
        inner = torch.linspace(0, 0.99, 13)[1:].double()
        if name == "random":
            inner = torch.rand(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).sort().values
        times, schedule, tau = [0.0, *inner.tolist()], schedule_on(inner), range(13)
    start, top = normal(200, 2), times[-1]
    y = start.numpy() / ((1 - top) ** 2 + top**2) ** 0.5 * ((1 - top) ** 2 + top**2)  # x_T in the units of y
    *_, last = ddim_path(plane(schedule).eps, start, schedule, tau)
    assert np.abs(euler_by_hand(y, times[::-1]) - last.x_s.numpy()).max() < 1e-9


@pytest.mark.parametrize("r", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_the_velocity_is_the_one_of_bayes(r):
    """Equations: eq:flow-velocity"""
    y = normal(50, 2)
    if r > 0:
        assert np.allclose(as_velocity(plane().eps_at)(y, r), velocity_by_hand(y.numpy(), r), rtol=0, atol=1e-9)
    u = normal(50, 2, seed=1)
    eps = velocity_to_eps(u, y, r)
    assert torch.allclose(eps_to_velocity(eps, y, r), u, rtol=0, atol=1e-11)
    x_0 = y - r * u  # what eps and u say the data is
    assert torch.allclose((1 - r) * x_0 + r * eps, y, rtol=0, atol=1e-12)


def test_the_units_are_those_of_the_line():
    """Equations: eq:flow-units"""
    r = torch.linspace(0, 1, 41, dtype=torch.float64)
    x_0, eps = normal(2, 41, 3)
    y = (1 - r)[:, None] * x_0 + r[:, None] * eps
    abar = abar_of(r)
    assert torch.allclose(to_flow(mix(x_0, eps, abar), abar), y, rtol=0, atol=1e-12)
    assert torch.allclose(from_flow(y, abar), mix(x_0, eps, abar), rtol=0, atol=1e-12)
    assert torch.allclose(r_of(abar), r, rtol=0, atol=1e-12)
    assert torch.allclose(r_of(LINEAR.alpha_bar), LINEAR.nsr / (1 + LINEAR.nsr), rtol=1e-12, atol=0)
    assert r_of(0.5) == 0.5 and r_of(1) == 0 and r_of(0) == 1 and abar_of(0.5) == 0.5
    assert to_flow(y.float(), abar).dtype == torch.float32


def test_a_grid_of_times_is_a_schedule():
    times = torch.tensor([0.01, 0.2, 0.5, 0.95], dtype=torch.float64)
    schedule = schedule_on(times)
    assert schedule.T == 4 and torch.allclose(r_of(schedule.alpha_bar)[1:], times, rtol=1e-12)
    assert schedule_on([0.5]).alpha_bar.tolist() == [1.0, 0.5]
    assert torch.equal(schedule_on(times.tolist()).alpha_bar, schedule.alpha_bar)  # not rounded to float32


@pytest.mark.parametrize("times", [[0.5, 0.2], [0.2, 0.2], [0.0, 0.5], [0.5, 1.0], [], [[0.1, 0.2]], [0.1, 1.2]])
def test_a_grid_that_is_none_is_refused(times):
    with pytest.raises(ValueError, match="rise strictly|outside"):
        schedule_on(times)


def test_a_velocity_network_serves_as_a_noise_predictor():
    """As the exact one, one level for all or one each; and what was translated to and fro is what it was."""
    eps_theta = as_eps_theta(as_velocity(plane().eps_at), LINEAR)
    x, t = normal(60, 2), torch.arange(1, 1000, 17)[:59]
    x = x[: len(t)]
    assert torch.allclose(eps_theta(x, t), plane().eps(x, t), rtol=0, atol=1e-9)
    tau = make_tau(900, 10)
    assert torch.allclose(invert(eps_theta, x, LINEAR, tau), invert(plane().eps, x, LINEAR, tau), rtol=0, atol=1e-9)


def test_a_network_is_asked_in_its_own_type_and_units():
    asked = []

    def u_theta(y, r):
        asked.append((y, r))
        return torch.zeros_like(y)

    x = normal(5, 2).float()
    eps = as_eps_theta(u_theta, LINEAR)(x, torch.full((5,), 400))
    ((y, r),) = asked
    assert y.dtype == r.dtype == eps.dtype == torch.float32 and r.shape == (5,)
    abar = LINEAR.alpha_bar[400]
    assert torch.allclose(r.double(), r_of(abar).expand(5), rtol=1e-6)
    assert torch.allclose(y, x / (abar.sqrt() + (1 - abar).sqrt()).float()) and torch.equal(eps, y)


def test_the_loss_of_the_velocity_is_a_loss_of_the_noise():
    """Equations: eq:flow-loss"""
    times = torch.linspace(0, 0.99, 201, dtype=torch.float64)[1:]
    schedule, x_0, eps = schedule_on(times), plane().sample(300, torch.Generator().manual_seed(0)), normal(300, 2)
    t = torch.randint(1, 201, (300,), generator=torch.Generator().manual_seed(2))
    r = times[t - 1][:, None]
    y = (1 - r) * x_0 + r * eps
    wrong = as_velocity(lambda x, abar: plane().eps_at(x, abar) + 0.1 * torch.sin(3 * x))
    velocity = (wrong(y, r[:, 0]) - (eps - x_0)).square().mean()
    noise = loss_gamma(as_eps_theta(wrong, schedule), x_0, t, eps, schedule, gamma_of_flow(schedule))
    assert torch.isclose(velocity, noise, rtol=1e-10)
    gamma = gamma_of_flow(schedule)
    assert gamma[0] == 0 and torch.allclose(gamma[1:], (1 + schedule.nsr[1:]) ** 2, rtol=1e-10)


@pytest.mark.parametrize(
    "call",
    [
        lambda: r_of(1.1),
        lambda: abar_of(-0.1),
        lambda: abar_of(float("nan")),
        lambda: to_flow(normal(3, 2), 2.0),
        lambda: from_flow(normal(3, 2), torch.tensor([0.1, 0.2, -1.0])),
        lambda: eps_to_velocity(normal(3, 2), normal(3, 2), 1.0),
        lambda: eps_to_velocity(normal(3, 2), normal(3, 2), torch.tensor([0.2, 1.0, 0.1])),
        lambda: velocity_to_eps(normal(3, 2), normal(3, 2), 1.5),
    ],
)
def test_what_is_out_of_range_is_said(call):
    with pytest.raises(ValueError, match=r"outside \[0, 1\]|pure noise"):
        call()
