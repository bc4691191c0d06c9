"""The applications, against truths in closed form: Gaussians, mixtures and finite sets of points."""

import math

import numpy as np
import pytest
import torch

from ddim_edu.apps.edit import first_steps, renoise, translate
from ddim_edu.apps.interpolate import angle, between, direction, lerp, move, slerp, square, triangle
from ddim_edu.apps.operators import BT601, AveragePool, Grey, Mask
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import mix
from ddim_edu.guidance import Tilted, guided, of_class
from ddim_edu.sampler import decode, invert, sample
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
TAU = make_tau(1000, 50, "trailing")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# ---------------------------------------------------------------- operators

KNOWN = torch.rand(6, 6, generator=generator(1)) < 0.4
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


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Mask(torch.ones(2, 2)), "bool"),
        (lambda: Mask(KNOWN).forward(torch.zeros(1, 1, 5, 6)), "(6, 6)"),
        (lambda: Mask(KNOWN).forward(torch.zeros(6, 6)), "(6, 6)"),
        (lambda: AveragePool(1), "factor = 1"),
        (lambda: AveragePool(2.5), "factor = 2.5"),
        (lambda: AveragePool(4).forward(torch.zeros(1, 1, 6, 8)), "6 x 8"),
        (lambda: Grey((1, 0)), "three"),
        (lambda: Grey((1, -1, 0)), "weights"),
        (lambda: Grey().forward(torch.zeros(1, 1, 4, 4)), "no colour"),
        (lambda: restore(None, Mask(KNOWN), torch.zeros(1, 1, 6, 6), LINEAR, TAU, travel=0), "travel = 0"),
        (lambda: restore(None, Mask(KNOWN), torch.zeros(1, 1, 6, 6), LINEAR, TAU, jump=0), "jump = 0"),
        (lambda: guided(None, None, math.nan), "scale = nan"),
        (lambda: of_class(ONE, 5), "components = 5"),
        (lambda: of_class(ONE, []), "components"),
        (lambda: Tilted(PLANE, 0, 1.0), "2 dimensions"),
        (lambda: slerp(torch.ones(1, 3), -torch.ones(1, 3), 0.5), "opposite"),
        (lambda: slerp(torch.ones(1, 3), torch.zeros(1, 3), 0.5), "zero"),
        (lambda: slerp(torch.ones(1, 3), torch.full((1, 3), math.nan), 0.5), "not a number"),
        (lambda: slerp(torch.ones(1, 3), torch.ones(1, 4), 0.5), "(1, 4)"),
        (lambda: slerp(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3)), "batch of 2"),
        (lambda: triangle(*torch.eye(3), 1), "n = 1"),
        (lambda: first_steps(TAU, 1.1), "strength = 1.1"),
        (lambda: renoise(None, torch.zeros(1, 2), LINEAR, TAU, -0.1), "strength = -0.1"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------- restoration

RHO = 0.8
PAIR = Gaussian(torch.zeros(2), torch.tensor([[1.0, RHO], [RHO, 1.0]]), LINEAR)
FIRST = Mask(torch.tensor([True, False]))
PLANE = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, LINEAR)


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


# ---------------------------------------------------------------- interpolation


def test_slerp_keeps_the_norm_and_the_speed():
    a, b = normal(5, 3, 4), normal(5, 3, 4, seed=1)
    b = b * (a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).view(-1, 1, 1)
    theta = angle(a, b)
    assert torch.allclose(theta, torch.arccos((a * b).flatten(1).sum(1) / a.flatten(1).square().sum(1)))
    for u in (0.0, 0.2, 0.5, 0.9, 1.0):
        c = slerp(a, b, u)
        assert torch.allclose(c.flatten(1).norm(dim=1), a.flatten(1).norm(dim=1), rtol=1e-12)
        assert torch.allclose(angle(a, c), u * theta, atol=1e-7)
    assert torch.allclose(slerp(a, b, 0.0), a) and torch.allclose(slerp(a, b, 1.0), b)
    middle = lerp(a, b, 0.5).flatten(1).norm(dim=1)
    assert torch.allclose(middle, a.flatten(1).norm(dim=1) * (theta / 2).cos())  # how far in the line passes


def test_the_line_between_two_draws_passes_at_half_the_variance():
    a, b = normal(200, 784), normal(200, 784, seed=1)
    for go, variance in ((lerp, 0.5), (slerp, 1.0)):
        assert go(a, b, 0.5).square().mean() == pytest.approx(variance, rel=0.02)


def test_half_way_the_arc_and_the_line_differ_in_length_only():
    a, b = normal(20, 784), normal(20, 784, seed=1)
    cosine = (angle(a, b) / 2).cos()[:, None]
    assert torch.allclose(slerp(a, b, 0.5) * cosine, lerp(a, b, 0.5), rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_for_gaussian_data_decoding_is_affine(steps):
    a, b, tau = normal(5, 2), normal(5, 2, seed=1), make_tau(1000, steps, "trailing")
    D = {x: decode(PAIR.eps, x, LINEAR, tau) for x in (a, b)}
    zero = decode(PAIR.eps, torch.zeros_like(a), LINEAR, tau)
    for p, q in ((0.5, 0.5), (0.8, 0.6), (-1.0, 3.0)):
        expected = zero + p * (D[a] - zero) + q * (D[b] - zero)
        assert torch.allclose(decode(PAIR.eps, p * a + q * b, LINEAR, tau), expected, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_at_eta_1_and_one_noise_two_latents_come_as_close_as_the_forward_process_says(steps):
    """For data N(0, 1): sqrt(abar_T) times as close, whatever the steps."""
    data, tau = Gaussian(torch.zeros(1), 1.0, LINEAR), make_tau(1000, steps, "trailing")
    a, b = normal(9, 1), normal(9, 1, seed=1)
    ends = [decode(data.eps, x, LINEAR, tau, eta=1.0, generator=generator(2)) for x in (a, b)]
    assert torch.allclose(ends[0] - ends[1], LINEAR.alpha_bar[1000].sqrt() * (a - b), rtol=1e-9)


def test_slerp_of_nearly_parallel_vectors_is_the_line():
    a = normal(3, 50).float()
    for b in (a, a + 1e-6 * normal(3, 50, seed=1).float(), a * 2):
        for u in (0.0, 0.3, 1.0, torch.tensor([0.0, 0.5, 1.0])):
            found = slerp(a, b, u)
            assert found.dtype == torch.float32 and torch.allclose(found, lerp(a, b, u), atol=1e-5)
    assert angle(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-7]])).item() == pytest.approx(1e-7)
    tiny = slerp(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1e-9]]).double(), 0.5)
    assert tiny[0, 1] == pytest.approx(0.5e-9)  # where the arc cosine of the angle would be 0


def test_a_fraction_for_each_member():
    a, b, u = normal(3, 4), normal(3, 4, seed=1), torch.tensor([0.1, 0.5, 0.7])
    for go in (slerp, lerp):
        assert torch.allclose(
            go(a, b, u), torch.cat([go(a[i : i + 1], b[i : i + 1], float(u[i])) for i in range(3)]), atol=1e-7
        )


def test_square_and_triangle_have_their_corners_and_sides():
    a, b, c, d = normal(4, 3, 5)
    grid = square(a, b, c, d, 4)
    assert grid.shape == (4, 4, 3, 5)
    for place, corner in (((0, 0), a), ((0, 3), b), ((3, 0), c), ((3, 3), d)):
        assert torch.allclose(grid[place], corner)
    assert torch.allclose(grid[0, 1], slerp(a[None], b[None], 1 / 3)[0]) and torch.allclose(
        grid[2, 0], slerp(a[None], c[None], 2 / 3)[0]
    )
    found = triangle(a, b, c, 4)
    assert found.shape == (10, 3, 5)
    for place, corner in ((0, a), (6, b), (9, c)):
        assert torch.allclose(found[place], corner)
    assert torch.allclose(found[1], slerp(a[None], b[None], 1 / 3)[0]) and torch.allclose(
        found[8], slerp(b[None], c[None], 2 / 3)[0]
    )


def test_between_two_images_lie_their_reconstructions_at_the_ends():
    a, b = PLANE.sample(6, generator(1)), PLANE.sample(6, generator(2))
    tau = make_tau(1000, 200, "trailing")
    found = between(PLANE.eps, a, b, LINEAR, tau, [0.0, 0.5, 1.0])
    assert found.shape == (3, 6, 2)
    for end, x_0 in ((0, a), (2, b)):
        assert torch.allclose(found[end], decode(PLANE.eps, invert(PLANE.eps, x_0, LINEAR, tau), LINEAR, tau))
        assert (found[end] - x_0).abs().median() < 0.02
    straight = between(PLANE.eps, a, b, LINEAR, tau, [0.5], along=lerp)
    assert (straight[0] - found[1]).abs().max() > 0.05


def test_decoding_is_a_function_of_the_latent_unless_eta():
    x_T = normal(3, 2)
    assert torch.equal(decode(PLANE.eps, x_T, LINEAR, TAU), decode(PLANE.eps, x_T, LINEAR, TAU))
    g = generator(1)
    assert torch.equal(
        decode(PLANE.eps, torch.randn(3, 2, generator=generator(5)), LINEAR, TAU),
        sample(PLANE.eps, (3, 2), LINEAR, TAU, generator=generator(5)),
    )
    assert not torch.allclose(
        decode(PLANE.eps, x_T, LINEAR, TAU, eta=1.0, generator=g),
        decode(PLANE.eps, x_T, LINEAR, TAU, eta=1.0, generator=g),
    )


def test_a_direction_leads_from_those_without_to_those_with():
    x_T = normal(400, 6)
    has = x_T[:, 2] > 0
    way = direction(x_T[has], x_T[~has])
    # Half-normals: the means are at +-sqrt(2 / pi).
    assert way[2] == pytest.approx(2 * math.sqrt(2 / math.pi), abs=0.2) and way[[0, 1, 3, 4, 5]].abs().max() < 0.4
    moved = move(x_T, way, 1.0)
    assert torch.allclose(moved.norm(dim=1), x_T.norm(dim=1)) and (moved[:, 2] > 0).double().mean() > 0.8
    assert torch.allclose(move(x_T, way, -0.5, keep_norm=False), x_T - 0.5 * way)
    each = move(x_T[:2], way, torch.tensor([0.0, 2.0]))
    assert torch.allclose(each[0], x_T[0]) and not torch.allclose(each[1], x_T[1])


# ---------------------------------------------------------------- guidance

ONE = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.2], LINEAR)


def test_scales_0_and_1_are_the_two_predictors_themselves():
    calls = []

    def model(name):
        return lambda x, t: calls.append(name) or (x if name == "c" else 2 * x)

    x, t = normal(2, 3), torch.tensor([5, 5])
    for scale, answer, called in (
        (0, 2 * x, ["u"]),
        (1, x, ["c"]),
        (3.0, -x, ["u", "c"]),
        (-1.0, 3 * x, ["u", "c"]),
        (0.5, 1.5 * x, ["u", "c"]),
    ):
        calls.clear()
        assert torch.allclose(guided(model("c"), model("u"), scale)(x, t), answer) and calls == called


def test_the_guided_prediction_is_the_score_of_the_tilted_level():
    """At one level: -sqrt(1 - abar) times the gradient of log q_t(x) + s log q_t(c | x), by central differences."""
    x, t, s, h = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None], 300, 2.5, 1e-5
    inside = of_class(ONE, 1)

    def log_tilted(x):
        return ONE.log_prob(x, t) + s * (inside.log_prob(x, t) - ONE.log_prob(x, t))

    score = (log_tilted(x + h) - log_tilted(x - h)) / (2 * h)
    expected = -(1 - LINEAR.alpha_bar[t]).sqrt() * score[:, None]
    assert torch.allclose(guided(inside.eps, ONE.eps, s)(x, torch.full((9,), t)), expected, atol=1e-6)


def test_of_class_is_the_mixture_without_the_others():
    inside = of_class(PLANE, [0, 2])
    assert torch.allclose(inside.weights, torch.tensor([5 / 7, 2 / 7], dtype=torch.float64)) and torch.equal(
        inside.means, PLANE.means[[0, 2]]
    )
    x = normal(5, 2)
    posterior = (
        PLANE.weights[1] * of_class(PLANE, 1).log_prob(x, 400).exp()
        + (1 - PLANE.weights[1]) * inside.log_prob(x, 400).exp()
    )
    assert torch.allclose(posterior.log(), PLANE.log_prob(x, 400))


def test_tilted_is_the_density_it_says():
    plain, full = Tilted(ONE, 1, 0.0), Tilted(ONE, 1, 1.0)
    assert (
        plain.mean == pytest.approx(0, abs=1e-6)
        and plain.variance == pytest.approx(1 + 0.35, rel=1e-6)
        and plain.below(0) > 0.4
    )
    assert full.mean == pytest.approx(1, abs=1e-6) and full.variance == pytest.approx(0.2, rel=1e-6)
    assert full.below(1.0) == pytest.approx(0.5, abs=1e-3)
    # Two Gaussians of one mean: the precisions add up.
    both = GaussianMixture([0.5, 0.5], [[0.3], [0.3]], [0.5, 0.5], LINEAR)
    assert Tilted(both, 0, 3.0).variance == pytest.approx(0.5)


def test_guidance_does_not_sample_the_tilted_distribution():
    """In one dimension; as a control the same measurement at scale 1, where it does."""
    n, tau = 4000, make_tau(1000, 100, "trailing")
    inside = of_class(ONE, 1)
    for scale in (1.0, 3.0):
        truth = Tilted(ONE, 1, scale)
        x = sample(
            guided(inside.eps, ONE.eps, scale), (n, 1), LINEAR, tau, generator=generator(1), dtype=torch.float64
        )[:, 0]
        off = (x.mean() - truth.mean) / math.sqrt(truth.variance / n)  # in standard errors
        ratio = x.var() / truth.variance
        if scale == 1:
            assert abs(off) < 4 and abs(ratio - 1) < 4 * math.sqrt(2 / n) + 0.02
        else:
            assert abs(off) > 20 and abs(ratio - 1) > 0.3


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 4.0])
def test_guided_variance_between_two_gaussians(scale):
    """The deterministic sampler ends at v^(1-s) v_c^s, the tilted density has the harmonic mean: for s = 2, 0.5 and 2/3
    of v_c.
    """
    v, v_c = 2.0, 1.0
    everything, inside = Gaussian(torch.zeros(1), v, LINEAR), Gaussian(torch.zeros(1), v_c, LINEAR)
    x_T = normal(50, 1, seed=2)
    x = decode(guided(inside.eps, everything.eps, scale), x_T, LINEAR, make_tau(1000, 1000))
    # Linear, so that the variance is the square of one factor.
    assert ((x / x_T) ** 2).max() == pytest.approx(v ** (1 - scale) * v_c**scale, rel=0.02)
    if scale > 1:
        assert ((x / x_T) ** 2).max() < 0.95 / ((1 - scale) / v + scale / v_c)


# ---------------------------------------------------------------- editing


def test_strength_is_a_share_of_the_steps():
    assert [len(first_steps(TAU, s)) - 1 for s in (0, 0.01, 0.5, 0.99, 1)] == [0, 0, 25, 50, 50]
    assert torch.equal(first_steps(TAU, 1), TAU) and first_steps([0, 3, 9], 0.5).tolist() == [0, 3]


def test_editing_at_no_strength_changes_nothing():
    x_0 = PLANE.sample(5, generator())
    assert torch.equal(renoise(PLANE.eps, x_0, LINEAR, TAU, 0.0), x_0) and torch.equal(
        translate(PLANE.eps, PLANE.eps, x_0, LINEAR, TAU, 0.0), x_0
    )


def test_noising_all_the_way_is_a_new_sample():
    x_0 = torch.tensor([[5.0, -5.0]], dtype=torch.float64).expand(2000, 2)
    found = renoise(PLANE.eps, x_0, LINEAR, TAU, 1.0, generator=generator(3))
    fresh = sample(PLANE.eps, (2000, 2), LINEAR, TAU, generator=generator(3), dtype=torch.float64)
    # The same noise, and of x_0 only sqrt(alpha_bar_T) = 0.006 is left.
    assert (found - fresh).abs().median() < 0.05


def test_noising_less_keeps_more():
    x_0 = PLANE.sample(500, generator(4))
    kept = []
    for strength in (0.1, 0.3, 0.5, 0.8, 1.0):
        found = renoise(PLANE.eps, x_0, LINEAR, TAU, strength, generator=generator(5))
        kept.append(((found - x_0).norm(dim=1) < 0.7).double().mean().item())  # stayed with its component
    assert kept[0] > 0.95 and all(a >= b for a, b in zip(kept, kept[1:])) and kept[-1] < 0.6


def test_renoised_data_is_data_again():
    """From q_t of its own data the sampler leads back to the data: with the exact predictor the distribution does not
    change.
    """
    x_0 = PAIR.sample(4000, generator(6))
    found = renoise(PAIR.eps, x_0, LINEAR, make_tau(1000, 200, "trailing"), 0.5, generator=generator(7))
    assert torch.allclose(found.T.cov(), PAIR.covs[0], atol=0.08) and not torch.allclose(found, x_0, atol=0.1)


def test_translation_between_gaussians_is_the_map_in_closed_form():
    """m2 + (s2 / s1) (x - m1) in one dimension: each point keeps its place among its kind (Su et al. 2023)."""
    one, other = Gaussian(torch.tensor([-0.5]), 0.3, LINEAR), Gaussian(torch.tensor([1.0]), 0.05, LINEAR)
    x_0 = one.sample(200, generator(8))
    tau = make_tau(1000, 500, "trailing")
    found = translate(one.eps, other.eps, x_0, LINEAR, tau)
    assert torch.allclose(found, 1.0 + math.sqrt(0.05 / 0.3) * (x_0 + 0.5), atol=0.02)
    back = translate(other.eps, one.eps, found, LINEAR, tau)
    assert torch.allclose(back, x_0, atol=0.05)
    half = translate(one.eps, other.eps, x_0, LINEAR, tau, 0.5)
    assert abs(half.mean() - x_0.mean()) < abs(found.mean() - x_0.mean())
    cosine = NoiseSchedule.cosine()
    top = make_tau(990, 495, "trailing")
    found = translate(
        one.eps, Gaussian(torch.tensor([1.0]), 0.05, cosine).eps, x_0, LINEAR, top, decoder_schedule=cosine
    )
    assert torch.allclose(found, 1.0 + math.sqrt(0.05 / 0.3) * (x_0 + 0.5), atol=0.05)


def test_translation_on_the_line_keeps_the_order_and_the_shares():
    """From two peaks to one, by the quantile maps: the monotone transport.

    Equations: eq:bridge-line
    """
    one, other = (
        GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR),
        Gaussian(torch.tensor([0.2]), 0.5, LINEAR),
    )
    x_0 = one.sample(300, generator(10))
    found = translate(one.eps, other.eps, x_0, LINEAR, make_tau(1000, 300, "trailing"))
    assert (found[x_0[:, 0].argsort()].diff(dim=0) > 0).all()
    share = (one.weights * torch.special.ndtr((x_0 - one.means[:, 0]) / one.covs[:, 0, 0].sqrt())).sum(1)
    assert torch.allclose(torch.special.ndtr((found[:, 0] - 0.2) / 0.5**0.5), share, atol=0.02)


def test_translation_between_gaussians_that_do_not_commute():
    """The product of roots, which is not symmetric, and so not the optimal transport.

    Equations: eq:bridge-gaussian
    """
    C_A, C_B = (torch.tensor(C, dtype=torch.float64) for C in ([[1.0, 0.0], [0.0, 0.1]], [[0.5, 0.3], [0.3, 0.4]]))
    A, B = (Gaussian(torch.tensor(m), C, LINEAR) for m, C in (([0.3, 0.0], C_A), ([-0.5, 1.0], C_B)))
    values, vectors = torch.linalg.eigh(C_B)
    matrix = vectors * values.sqrt() @ vectors.T @ C_A.diagonal().rsqrt().diag()
    x_0 = A.sample(200, generator(11))
    expected = B.means + (x_0 - A.means) @ matrix.T
    assert (translate(A.eps, B.eps, x_0, LINEAR, make_tau(1000, 500, "trailing")) - expected).norm(dim=1).mean() < 0.02
    assert abs(matrix[0, 1] - matrix[1, 0]) > 0.1


def test_translation_to_the_same_is_reconstruction():
    x_0 = PLANE.sample(200, generator(9))
    errors = [
        (translate(PLANE.eps, PLANE.eps, x_0, LINEAR, make_tau(1000, S, "trailing")) - x_0).abs().median()
        for S in (25, 100)
    ]
    assert errors[1] < 0.4 * errors[0] and errors[1] < 0.03


def test_fractions_are_not_rounded_to_float32():
    a, b = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(lerp(a, b, 0.3), 0.7 * a + 0.3 * b, rtol=1e-14)
    c = a - 2 * b
    middle = slerp(slerp(a, b, 2 / 3), slerp(a, c, 2 / 3), 0.5)  # of the third row, whose points stand at 0, 1/2, 1
    assert torch.allclose(triangle(a[0], b[0], c[0], 4)[4], middle[0], rtol=1e-12)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x, e: lerp(x, x[:1], 0.5), "shapes"),
        (lambda x, e: between(e, x, x[:1], LINEAR, [0, 500], [0.5]), "shapes"),
        (lambda x, e: between(e, x, x, LINEAR, [0, 500], []), "fractions"),
        (lambda x, e: direction(x, x[:0]), "0 that lack"),
        (lambda x, e: move(torch.ones(1, 2), torch.ones(2), -1.0), "zero"),
        (lambda x, e: restore(e, Mask(torch.ones(1, dtype=torch.bool)), x, LINEAR, [0]), "tau"),
        (lambda x, e: restore(e, Mask(torch.ones(1, dtype=torch.bool)), x, LINEAR, []), "tau"),
        (lambda x, e: renoise(e, x, LINEAR, [3, 2], 0.0), "tau"),
        (lambda x, e: renoise(e, x, LINEAR, [0, 500], 0.0, eta=-1.0), "eta"),
        (lambda x, e: translate(e, e, x, LINEAR, [3, 2], 0.0), "tau"),
        (lambda x, e: Grey((0.1, 0.2, -0.3)), "three numbers"),
        (lambda x, e: Grey((1.0, float("inf"), 0.0)), "three numbers"),
        (lambda x, e: of_class(GaussianMixture([1, 1], [[0.0], [1.0]], 1.0, LINEAR), [0, 0]), "once"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call(torch.zeros(2, 3), lambda x, t: torch.zeros_like(x))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_edit_of_strength_0_is_a_copy():
    x = torch.zeros(2, 3)
    for copy in (
        renoise(lambda x, t: x, x, LINEAR, [0, 500], 0.0),
        translate(lambda x, t: x, lambda x, t: x, x, LINEAR, [0, 500], 0.0),
    ):
        assert torch.equal(copy, x) and copy.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("components", [1, np.int64(1), torch.tensor([1]), [1]])
def test_components_may_be_named_in_any_way(components):
    assert of_class(GaussianMixture([1, 1], [[0.0], [1.0]], 1.0, LINEAR), components).means.item() == 1
