"""Guidance, against Gaussians and mixtures whose classes are known."""

import math

import numpy as np
import pytest
import torch
from apps_cases import LINEAR, ONE, PLANE, generator, normal

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.guidance import Tilted, guided, of_class
from ddim_edu.sampler import decode, sample
from ddim_edu.schedule import make_tau


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
    assert Tilted(both, 0, 3.0).below(0.3) == pytest.approx(0.5, abs=1e-9)
    assert Tilted(both, 0, 3.0).below(0.3 + 0.5**0.5) == pytest.approx(0.841345, abs=1e-6)


@pytest.mark.parametrize("variances, scale", [([1.0, 0.2], -1.0), ([1.0, 1e-10], 1.0), ([1.0, 0.2], math.inf)])
def test_a_tilted_density_that_is_none_is_refused(variances, scale):
    mixture = GaussianMixture([0.5, 0.5], [[0.0], [0.0]], variances, LINEAR)
    with pytest.raises(ValueError, match=f"scale = {scale}"):
        Tilted(mixture, 1, scale)


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


@pytest.mark.parametrize("components", [1, np.int64(1), torch.tensor([1]), [1]])
def test_components_may_be_named_in_any_way(components):
    assert of_class(GaussianMixture([1, 1], [[0.0], [1.0]], 1.0, LINEAR), components).means.item() == 1
