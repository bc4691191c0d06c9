"""Restoration and its operators, against truths in closed form."""

import math

import pytest
import torch
from apps_cases import KNOWN, LINEAR, PAIR, RHO, TAU, generator, normal

from ddim_edu.apps.operators import BT601, AveragePool, Grey, Mask
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.exact import EmpiricalData, Gaussian
from ddim_edu.forward import mix
from ddim_edu.sampler import decode, sample
from ddim_edu.schedule import make_tau

OPERATORS = {
    "mask": Mask(KNOWN),
    "pool 2": AveragePool(2),
    "pool 3": AveragePool(3),
    "grey": Grey(),
    "thirds": Grey((1, 1, 1)),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


def test_operators_are_linear_with_a_moore_penrose_inverse(operator):
    """All four of Penrose's conditions, on the matrix that the operator is."""
    basis = torch.eye(3 * 36, dtype=torch.float64).view(-1, 3, 6, 6)
    A = operator.forward(basis).flatten(1).T
    A_plus = (
        operator.pseudo_inverse(torch.eye(len(A), dtype=torch.float64).view(-1, *operator.forward(basis).shape[1:]))
        .flatten(1)
        .T
    )
    x = normal(2, 3, 6, 6)
    assert torch.allclose(operator.forward(x).flatten(1).T, A @ x.flatten(1).T)
    assert torch.allclose(A @ A_plus @ A, A, atol=1e-12) and torch.allclose(A_plus @ A @ A_plus, A_plus, atol=1e-12)
    assert torch.allclose(A_plus @ A, (A_plus @ A).T) and torch.allclose(A @ A_plus, (A @ A_plus).T)
    assert torch.allclose(A_plus, torch.linalg.pinv(A), atol=1e-12)
    assert torch.linalg.matrix_rank(A) < 3 * 36  # something is taken away


def test_operators_in_float32(operator):
    x = normal(4, 3, 6, 6).float()
    y = operator.forward(x)
    assert y.dtype == torch.float32
    again = operator.forward(operator.pseudo_inverse(y))
    assert (again - y).abs().max() < 1e-6
    corrected = operator.correct(normal(4, 3, 6, 6, seed=1).float(), y)
    assert (operator.forward(corrected) - y).abs().max() < 1e-6
    assert operator.show(y).shape == x.shape


def test_correction_is_the_nearest_image_that_agrees(operator):
    x, y = normal(3, 3, 6, 6), operator.forward(normal(3, 3, 6, 6, seed=1))
    moved = operator.correct(x, y) - x
    within = normal(3, 3, 6, 6, seed=2)  # any other image that agrees differs from it by something in the null space
    within = within - operator.pseudo_inverse(operator.forward(within))
    assert torch.allclose((moved * within).flatten(1).sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-10)
    assert torch.equal(operator.correct(moved + x, y).round(decimals=9), (moved + x).round(decimals=9))


def test_what_the_operators_mean():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert AveragePool(2).forward(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert AveragePool(4).pseudo_inverse(torch.ones(1, 1, 1, 1)).shape == x.shape
    assert Mask(torch.eye(4, dtype=torch.bool)).forward(x).sum() == 0 + 5 + 10 + 15
    rgb = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert Grey().forward(rgb).item() == pytest.approx(BT601[0]) and sum(BT601) == pytest.approx(1)
    assert Grey().show(Grey().forward(rgb)).flatten().tolist() == pytest.approx([BT601[0]] * 3)
    assert Grey().forward(torch.full((1, 3, 2, 2), 0.7)).flatten().tolist() == pytest.approx(
        [0.7] * 4
    )  # grey stays what it is


FIRST = Mask(torch.tensor([True, False]))


def predicted(y, tau, eta, travel, jump):
    """Mean and covariance of what restore gives for PAIR with its first coordinate known: all steps are affine, so no
    sampling.
    """
    abar, C, eye = LINEAR.alpha_bar, PAIR.covs[0], torch.eye(2, dtype=torch.float64)
    free, fixed = torch.diag(torch.tensor([0.0, 1.0], dtype=torch.float64)), torch.tensor([y, 0.0], dtype=torch.float64)
    mean, cov = torch.zeros(2, dtype=torch.float64), eye
    for end in reversed(range(0, len(tau) - 1, jump)):
        top = min(end + jump, len(tau) - 1)
        for again in range(travel):
            if again:
                keep = abar[tau[top]] / abar[tau[end]]
                mean, cov = keep.sqrt() * mean, keep * cov + (1 - keep) * eye
            for i in range(top, end, -1):
                t, s = tau[i], tau[i - 1]
                sigma = LINEAR.sigma(t, s, eta)
                X = free @ (
                    abar[t].sqrt() * C @ torch.linalg.inv(abar[t] * C + (1 - abar[t]) * eye)
                )  # x0_hat = X x + fixed
                on_eps = (1 - abar[s] - sigma**2).clamp(min=0).sqrt() / (1 - abar[t]).sqrt()
                M = (abar[s].sqrt() - on_eps * abar[t].sqrt()) * X + on_eps * eye
                mean = M @ mean + (abar[s].sqrt() - on_eps * abar[t].sqrt()) * fixed
                cov = M @ cov @ M.T + sigma**2 * eye
    return mean, cov


@pytest.mark.parametrize("eta, travel, jump", [(0.0, 1, 5), (1.0, 1, 5), (0.5, 2, 3), (1.0, 3, 4)])
def test_restored_samples_follow_the_affine_recursion(eta, travel, jump):
    n, tau = 3000, make_tau(1000, 10, "trailing")
    y = torch.tensor([[1.5, 0.0]], dtype=torch.float64).expand(n, 2)
    x = restore(PAIR.eps, FIRST, y, LINEAR, tau, eta=eta, generator=generator(3), travel=travel, jump=jump)
    mean, cov = predicted(1.5, tau, eta, travel, jump)
    assert (x[:, 0] - 1.5).abs().max() < 1e-9 and mean[0] == pytest.approx(1.5)
    assert abs(x[:, 1].mean() - mean[1]) < 4 * (cov[1, 1] / n).sqrt()
    assert abs(x[:, 1].var() - cov[1, 1]) < 4 * cov[1, 1] * math.sqrt(2 / n)


def test_the_bias_is_there_and_time_travel_lessens_it():
    """The posterior has mean 1.2 and variance 0.36; the recursion above, which the samples follow, says what restore
    has.
    """
    truth = RHO * 1.5
    for eta, first in ((0.0, 0.51), (1.0, 0.72)):
        means = [predicted(1.5, TAU, eta, travel, 5)[0][1].item() for travel in (1, 2, 3, 5, 10)]
        assert means[0] == pytest.approx(first, abs=0.03)
        assert all(a < b < truth for a, b in zip(means, means[1:])) and truth - means[-1] < 0.2 * truth


@pytest.mark.parametrize("eta, travel", [(0.0, 1), (0.0, 2), (1.0, 1)])
def test_the_bias_has_a_closed_form_in_the_limit_of_short_steps(eta, travel):
    """Chapter 13: the share of the truth that the mean reaches depends on eta and travel by kappa = travel (1 + eta^2)
    / 2 only.
    """
    kappa, w = travel * (1 + eta**2) / 2, torch.linspace(0, 1, 100_001, dtype=torch.float64)
    integral = torch.trapezoid(w**kappa * (1 - (RHO * w) ** 2) ** (-kappa / 2 - 1), w).item()
    share = kappa * (1 - RHO**2) ** (kappa / 2) * integral
    if kappa == 1:
        assert share == pytest.approx((1 - math.sqrt(1 - RHO**2)) / RHO**2, rel=1e-5)
    assert predicted(1.5, range(1001), eta, travel, 1)[0][1] == pytest.approx(RHO * 1.5 * share, rel=0.01)


def test_coordinates_that_know_nothing_of_each_other_are_not_disturbed():
    n, variance = 4000, torch.tensor([0.5, 0.3])
    alone = Gaussian(torch.tensor([0.2, -0.4]), variance, LINEAR)
    y = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(n, 2)
    x = restore(alone.eps, FIRST, y, LINEAR, make_tau(1000, 100, "trailing"), eta=0.0, generator=generator(4))[:, 1]
    assert abs(x.mean() + 0.4) < 4 * math.sqrt(0.3 / n) + 0.01 and x.var() == pytest.approx(0.3, rel=0.1)


def test_several_answers_where_the_truth_has_several():
    """Three points share their first coordinate; given it, the second has three values, and all of them come up."""
    points = torch.tensor([[0.5, -1.0], [0.5, 0.0], [0.5, 1.0], [-0.5, 0.3]], dtype=torch.float64)
    data = EmpiricalData(points, LINEAR)
    y = torch.tensor([[0.5, 0.0]], dtype=torch.float64).expand(300, 2)
    x = restore(data.eps, FIRST, y, LINEAR, TAU, generator=generator(5), travel=3)
    near = torch.cdist(x, points)
    assert (near.min(1).values < 0.02).double().mean() > 0.95
    counts = torch.bincount(near.argmin(1), minlength=4)
    assert counts[3] <= 15 and counts[:3].min() > 60


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("travel", [1, 2])
def test_the_result_gives_the_observation(operator, eta, travel):
    images = normal(8, 3, 6, 6).tanh().float()
    data = EmpiricalData(images, LINEAR)
    y = operator.forward(normal(4, 3, 6, 6, seed=1).tanh().float())
    tau = make_tau(1000, 10, "trailing")
    x = restore(data.eps, operator, y, LINEAR, tau, eta=eta, generator=generator(), travel=travel, jump=3, clip=1.0)
    assert x.shape == images[:4].shape and x.dtype == torch.float32
    assert (operator.forward(x) - y).abs().max() < 1e-4


def test_time_travel_walks_every_stretch_again():
    called = []

    def eps_theta(x, t):
        called.append(int(t[0]))
        return PAIR.eps(x, t)

    y = torch.zeros(1, 2, dtype=torch.float64)
    restore(eps_theta, FIRST, y, LINEAR, [0, 10, 20, 30, 40, 50, 60, 70], travel=2, jump=3, generator=generator())
    assert called == [70, 70, 60, 50, 40, 60, 50, 40, 30, 20, 10, 30, 20, 10]


def test_travel_goes_back_up_by_the_forward_process():
    """At every call the known coordinate has the mean sqrt(abar_t) y, however often the stretch has been walked."""
    tau, off = make_tau(1000, 12, "trailing"), []

    def eps_theta(x, t):
        off.append((x[:, 0].mean() - 20 * LINEAR.alpha_bar[t[0]].sqrt()).abs().item())
        return PAIR.eps(x, t)

    y = torch.tensor([[20.0, 0.0]], dtype=torch.float64).expand(500, 2)
    restore(eps_theta, FIRST, y, LINEAR, tau, travel=3, jump=4, generator=generator(12))
    assert len(off) == 36 and max(off) < 0.3


def test_without_travel_it_is_the_sampler_with_one_hook():
    y = normal(5, 2, seed=6)
    plain = sample(
        PAIR.eps,
        (5, 2),
        LINEAR,
        TAU,
        eta=1.0,
        generator=generator(7),
        dtype=torch.float64,
        edit_x0=lambda x, t: FIRST.correct(x, FIRST.forward(y)),
    )
    assert torch.allclose(
        restore(PAIR.eps, FIRST, FIRST.forward(y), LINEAR, TAU, generator=generator(7), jump=50), plain, atol=1e-12
    )


def test_an_answer_depends_on_its_own_generator_only():
    y = FIRST.forward(normal(3, 2, seed=8))
    for method in (restore, replace_known):
        three = method(PAIR.eps, FIRST, y, LINEAR, TAU, generator=[generator(i) for i in range(3)])
        last = method(PAIR.eps, FIRST, y[2:], LINEAR, TAU, generator=[generator(2)])
        assert torch.allclose(three[2:], last, atol=1e-9)
        same = method(PAIR.eps, FIRST, y[:1].expand(2, 2), LINEAR, TAU, generator=[generator(0), generator(1)])
        assert abs(same[0, 1] - same[1, 1]) > 1e-3 and same[0, 0] == pytest.approx(same[1, 0].item())


def test_the_naive_method_keeps_the_known_pixels_and_is_biased_alike():
    n = 3000
    y = torch.tensor([[1.5, 7.0]], dtype=torch.float64).expand(n, 2)  # the 7 is not to be looked at
    x = replace_known(PAIR.eps, FIRST, y, LINEAR, TAU, eta=1.0, generator=generator(9))
    assert torch.equal(x[:, 0], y[:, 0])
    assert 0.6 < x[:, 1].mean() < 0.85  # the truth is 1.2; measured 0.72, as restore without time travel


def test_for_a_mask_at_eta_0_restoring_is_replacing_with_the_noise_of_x_T():
    """The one difference between the two methods, by an independent loop: known pixels with one noise on all levels."""
    y, eps = FIRST.forward(normal(4, 2, seed=10)), normal(4, 2, seed=11)

    def seen(x, t):
        return PAIR.eps(torch.where(FIRST.known, mix(y, eps, LINEAR.abar(t)), x), t)

    x = torch.where(FIRST.known, y, decode(seen, eps, LINEAR, TAU))
    assert torch.allclose(restore(PAIR.eps, FIRST, y, LINEAR, TAU, eta=0.0, generator=generator(11)), x, atol=5e-2)
    # Not to rounding: at level T restore has noise alone at the known pixels, and the loop sqrt(abar_T) y = 0.006 y
    # more.
