"""Editing and translation, against truths in closed form: Gaussians and mixtures."""

import math

import torch
from apps_cases import LINEAR, PAIR, PLANE, TAU, generator

from ddim_edu.apps.edit import first_steps, renoise, translate
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.sampler import sample
from ddim_edu.schedule import NoiseSchedule, make_tau


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


def test_an_edit_of_strength_0_is_a_copy():
    x = torch.zeros(2, 3)
    for copy in (
        renoise(lambda x, t: x, x, LINEAR, [0, 500], 0.0),
        translate(lambda x, t: x, lambda x, t: x, x, LINEAR, [0, 500], 0.0),
    ):
        assert torch.equal(copy, x) and copy.data_ptr() != x.data_ptr()
