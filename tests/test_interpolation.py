"""Interpolation between latents, against truths in closed form."""

import math

import pytest
import torch
from apps_cases import LINEAR, PAIR, PLANE, TAU, generator, normal

from ddim_edu.apps.interpolate import angle, between, direction, lerp, move, slerp, square, triangle
from ddim_edu.exact import Gaussian
from ddim_edu.sampler import decode, invert, sample
from ddim_edu.schedule import make_tau


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


def test_fractions_are_not_rounded_to_float32():
    a, b = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(lerp(a, b, 0.3), 0.7 * a + 0.3 * b, rtol=1e-14)
    c = a - 2 * b
    middle = slerp(slerp(a, b, 2 / 3), slerp(a, c, 2 / 3), 0.5)  # of the third row, whose points stand at 0, 1/2, 1
    assert torch.allclose(triangle(a[0], b[0], c[0], 4)[4], middle[0], rtol=1e-12)
