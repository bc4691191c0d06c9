"""Students' targets: against the teacher's steps written out in numpy, closed forms for Gaussians, and the sampler."""

import numpy as np
import pytest
import torch

from ddim_edu.distillation import (
    consistency,
    consistency_path,
    consistency_target,
    jump_target,
    mean_velocity,
    progressive_target,
    step_by_x0,
)
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import said_to_eps, said_to_x0, unmix_x0
from ddim_edu.models import load
from ddim_edu.sampler import ddim_step, decode
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
V = 0.3


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def levels(n, *values):
    return [torch.full((n,), value) for value in values]


def exact_answer(x_t, t):
    """Phi from t to the data, for data N(0, V): the state keeps its rank."""
    abar = LINEAR.alpha_bar[t][:, None]
    return x_t * (V / (V * abar + 1 - abar)).sqrt()


def by_hand(x, eps, abar_t, abar_s):
    """A step of DDIM in numpy: data and noise, mixed anew."""
    x_0 = (x - np.sqrt(1 - abar_t) * eps) / np.sqrt(abar_t)
    return np.sqrt(abar_s) * x_0 + np.sqrt(1 - abar_s) * eps


@pytest.mark.parametrize("t, m, s", [(1000, 500, 0), (1000, 750, 500), (63, 62, 61), (2, 1, 0)])
def test_one_step_of_the_student_ends_where_two_of_the_teacher_do(t, m, s):
    """Equations: eq:jump-target, eq:two-in-one"""
    mixture = GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [0.6, 0.0]], 0.05, LINEAR)
    x, abar = normal(20, 2), LINEAR.alpha_bar.numpy()
    x_m = by_hand(x.numpy(), mixture.eps(x, t).numpy(), abar[t], abar[m])
    x_s = by_hand(x_m, mixture.eps(torch.from_numpy(x_m), m).numpy(), abar[m], abar[s])

    def teacher(x_t, at):
        return unmix_x0(x_t, mixture.eps(x_t, at), LINEAR.abar(at))

    target = progressive_target(teacher, x, *levels(20, t, m, s), LINEAR).numpy()
    eps = (x.numpy() - np.sqrt(abar[t]) * target) / np.sqrt(1 - abar[t])
    landed = np.sqrt(abar[s]) * target + np.sqrt(1 - abar[s]) * eps
    np.testing.assert_allclose(landed, x_s, rtol=0, atol=1e-10)


def test_the_shipped_teachers_two_steps():
    """To 1e-6, in float64, clipped as in sampling; each picture at levels of its own."""
    model = load("digits-v")
    network, abar = model.network.double(), model.schedule.alpha_bar
    labels, x = torch.arange(4), normal(4, 1, 8, 8)
    t, m, s = torch.tensor([[900, 700, 400], [500, 450, 400], [100, 50, 0], [2, 1, 0]]).T

    def teacher(x_t, at):
        return said_to_x0(network(x_t, at, labels), x_t, model.schedule.abar(at), model.prediction)

    target = progressive_target(teacher, x, t, m, s, model.schedule, clip=1.0)
    where = x
    for a, b in ((t, m), (m, s)):
        A, B = (abar[level][:, None, None, None] for level in (a, b))
        x_0 = teacher(where, a).clamp(-1, 1)
        where = B.sqrt() * x_0 + ((1 - B) / (1 - A)).sqrt() * (where - A.sqrt() * x_0)
    A, B = (abar[level][:, None, None, None] for level in (t, s))
    landed = ddim_step(x, (x - A.sqrt() * target) / (1 - A).sqrt(), abar[t], abar[s])
    torch.testing.assert_close(landed, where, rtol=0, atol=1e-6)


def test_the_chord_is_a_weighted_mean_of_tangents_and_no_tangent():
    """Equations: eq:mean-velocity, eq:two-in-one"""
    exact, x, nu = Gaussian(torch.zeros(1), V, LINEAR), normal(5, 1), LINEAR.nsr
    t, m, s = 800, 600, 300
    eps_t = exact.eps(x, t)
    x_m = ddim_step(x, eps_t, LINEAR.alpha_bar[t], LINEAR.alpha_bar[m])
    eps_m = exact.eps(x_m, m)
    x_s = ddim_step(x_m, eps_m, LINEAR.alpha_bar[m], LINEAR.alpha_bar[s])
    root = LINEAR.alpha_bar.sqrt()
    chord = mean_velocity(x / root[t], x_s / root[s], nu[t], nu[s])
    mean = ((nu[t] - nu[m]) * eps_t + (nu[m] - nu[s]) * eps_m) / (nu[t] - nu[s])
    torch.testing.assert_close(chord, mean, rtol=0, atol=1e-12)
    assert (chord - eps_t).abs().max() > 1e-3
    target = jump_target(x, x_s, LINEAR.alpha_bar[t], LINEAR.alpha_bar[s])
    torch.testing.assert_close(target, unmix_x0(x, chord, LINEAR.alpha_bar[t]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_said_to_x0_agrees_with_said_to_eps(prediction):
    x, said, abar = normal(6, 3), normal(6, 3, seed=1), torch.linspace(0.1, 0.9, 6).double()
    by_eps = unmix_x0(x, said_to_eps(said, x, abar, prediction), abar)
    torch.testing.assert_close(said_to_x0(said, x, abar, prediction), by_eps, rtol=0, atol=1e-12)


def test_v_fulfils_the_boundary_condition_and_stays_exact_at_pure_noise():
    """Equations: eq:boundary"""
    x, said = normal(4, 3), 1e3 * normal(4, 3, seed=1)
    assert said_to_x0(said, x, 1.0, "v").equal(x)
    assert said_to_x0(said, x, 0.0, "v").equal(-said)
    with pytest.raises(ValueError, match="prediction = 'u'"):
        said_to_x0(said, x, 0.5, "u")


def test_consistency_target_of_exact_models_is_the_answer_itself():
    """Equations: eq:consistency"""
    exact, x = Gaussian(torch.zeros(1), V, LINEAR), normal(30, 1)
    t = torch.arange(1, 31) * 33
    x_t = x * (V * LINEAR.alpha_bar[t] + 1 - LINEAR.alpha_bar[t]).sqrt()[:, None]

    def teacher(x_t, at):
        return unmix_x0(x_t, exact.eps(x_t, at), LINEAR.abar(at))

    found = consistency_target(teacher, exact_answer, x_t, t, t - 1, LINEAR)
    torch.testing.assert_close(found, exact_answer(x_t, t), rtol=0, atol=2e-4)  # the teacher's error in one level

    def nonsense(x_t, at):
        return torch.full_like(x_t, 9.0)

    ends = consistency_target(teacher, nonsense, x_t, t, torch.zeros_like(t), LINEAR)
    torch.testing.assert_close(ends, teacher(x_t, t), rtol=0, atol=1e-10)  # at the data the student isn't asked


def test_the_solver_is_the_sigma_family_at_its_largest_noise():
    """Equations: eq:consistency-step"""
    exact, x = Gaussian(torch.zeros(2), V, LINEAR), normal(7, 2)
    first, second = consistency_path(exact.eps, x, LINEAR, [0, 300, 1000], generator=torch.Generator().manual_seed(5))
    z, abar = normal(7, 2, seed=5), LINEAR.alpha_bar
    same = ddim_step(x, exact.eps(x, 1000), abar[1000], abar[300], (1 - abar[300]).sqrt(), z)
    torch.testing.assert_close(first.x_s, same, rtol=0, atol=1e-9)
    assert second.s == 0 and second.x_s.equal(second.x0_hat)
    one = consistency(exact.eps, x, LINEAR, [0, 1000])
    torch.testing.assert_close(one, decode(exact.eps, x, LINEAR, [0, 1000]), rtol=0, atol=1e-9)
    assert consistency(exact.eps, 9 * x, LINEAR, [0, 900], clip=0.5).abs().max() <= 0.5
    with pytest.raises(ValueError, match="eta = 0.5"):
        consistency(exact.eps, x, LINEAR, [0, 1000], eta=0.5)


def test_an_exact_student_keeps_the_datas_variance_however_often_it_is_asked():
    n = 40_000

    def eps_theta(x_t, t):
        abar = LINEAR.abar(t)[:, None]
        return (x_t - abar.sqrt() * exact_answer(x_t, t)) / (1 - abar).sqrt()

    x_T, ends = normal(n, 1), {}
    for S in (1, 4):
        ends[S] = consistency(eps_theta, x_T, LINEAR, make_tau(1000, S), generator=torch.Generator().manual_seed(1))
        assert abs(ends[S].var() / V - 1) < 5 * (2 / n) ** 0.5
    kept = 1.0
    for t in make_tau(1000, 4)[1:-1].tolist():
        abar = LINEAR.alpha_bar[t]
        kept *= (V * abar / (V * abar + 1 - abar)).sqrt().item()
    found = torch.corrcoef(torch.cat([ends[1], ends[4]], 1).T)[0, 1].item()
    assert abs(found - kept) < 5 / n**0.5


def test_step_by_x0_is_ddims():
    x, x_0 = normal(4, 2), normal(4, 2, seed=1)
    t, s = torch.tensor([1000, 500, 20, 3]), torch.tensor([990, 20, 0, 2])
    a, b = LINEAR.alpha_bar[t], LINEAR.alpha_bar[s]
    eps = (x - a.sqrt()[:, None] * x_0) / (1 - a).sqrt()[:, None]
    torch.testing.assert_close(step_by_x0(x, x_0, a, b), ddim_step(x, eps, a, b, x0_hat=x_0), rtol=0, atol=1e-12)
