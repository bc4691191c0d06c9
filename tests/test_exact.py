import math

import pytest
import torch

from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import q_sample
from ddim_edu.schedule import NoiseSchedule

LINEAR = NoiseSchedule.linear()


def mixture(seed=0, K=4, D=3):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(K, D, D, generator=g, dtype=torch.float64) * 0.4
    return GaussianMixture(
        torch.rand(K, generator=g) + 0.1, torch.randn(K, D, generator=g, dtype=torch.float64), root @ root.mT, LINEAR
    )


def log_q_t(gm, x, t):
    """The density written with torch.distributions: another road to the same number."""
    abar = LINEAR.alpha_bar[t]
    parts = torch.distributions.MultivariateNormal(
        abar.sqrt() * gm.means, abar * gm.covs + (1 - abar) * torch.eye(gm.dim, dtype=torch.float64)
    )
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(gm.weights), parts).log_prob(x)


@pytest.mark.parametrize("t", [1, 30, 500, 1000])
def test_mixture_eps_is_the_gradient_of_log_q_t(t):
    """Equations: eq:tweedie"""
    gm = mixture()
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    log_q = log_q_t(gm, x, t)
    assert torch.allclose(gm.log_prob(x, t), log_q, rtol=1e-9)
    (score,) = torch.autograd.grad(log_q.sum(), x)
    expected = -(1 - LINEAR.alpha_bar[t]).sqrt() * score
    assert torch.allclose(gm.eps(x.detach(), t), expected, rtol=1e-7, atol=1e-9)


def test_mixture_takes_a_level_for_each_point():
    gm, x, t = mixture(), torch.randn(3, 3, dtype=torch.float64), torch.tensor([1, 400, 1000])
    each = torch.cat([gm.eps(x[i : i + 1], int(t[i])) for i in range(3)])
    assert torch.allclose(gm.eps(x, t), each, rtol=1e-12)
    assert torch.allclose(gm.log_prob(x, t)[1], gm.log_prob(x[1:2], 400)[0])


@pytest.mark.parametrize(
    "make", [mixture, lambda: EmpiricalData(mixture().sample(6, torch.Generator().manual_seed(6)), LINEAR)]
)
def test_eps_at_is_eps_at_the_levels(make):
    exact, x = make(), torch.randn(5, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    t = torch.tensor([1, 2, 400, 999, 1000])
    assert torch.equal(exact.eps_at(x, LINEAR.alpha_bar[t]), exact.eps(x, t))
    assert torch.equal(exact.eps_at(x, LINEAR.alpha_bar[77].item()), exact.eps(x, 77))
    assert exact.eps_at(x.float(), 0.5).dtype == torch.float32
    assert torch.allclose(exact.eps_at(x, 0.0), x)  # no data left: all of it is noise


@pytest.mark.parametrize("abar", [0.99971, 0.6, 0.0123])  # between the levels
def test_eps_at_is_a_gradient_of_a_log_density(abar):
    """By central differences of densities written with torch.distributions."""
    gm, eye, h = mixture(), torch.eye(3, dtype=torch.float64), 1e-4
    points = gm.sample(6, torch.Generator().manual_seed(6))
    x = abar**0.5 * gm.sample(9, torch.Generator().manual_seed(8)) + (1 - abar) ** 0.5 * torch.randn(
        9, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )

    def gradient(weights, means, covs):
        parts = torch.distributions.MultivariateNormal(abar**0.5 * means, abar * covs + (1 - abar) * eye)
        log_q = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), parts).log_prob
        return torch.stack([(log_q(x + h * e) - log_q(x - h * e)) / (2 * h) for e in eye], 1)

    expected = -((1 - abar) ** 0.5) * gradient(gm.weights, gm.means, gm.covs)
    assert torch.allclose(gm.eps_at(x, abar), expected, rtol=1e-4, atol=1e-5)
    expected = -((1 - abar) ** 0.5) * gradient(torch.ones(6, dtype=torch.float64), points, 0 * eye.expand(6, 3, 3))
    found = EmpiricalData(points.reshape(6, 1, 3), LINEAR).eps_at(x.reshape(9, 1, 3), abar)  # any shape
    assert torch.allclose(found, expected.reshape(9, 1, 3), rtol=1e-3, atol=1e-4)


def test_mixture_log_prob_at_0_is_the_datas():
    gm = mixture()
    x = gm.sample(20, torch.Generator().manual_seed(2))
    parts = torch.distributions.MultivariateNormal(gm.means, gm.covs)
    truth = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(gm.weights), parts)
    assert torch.allclose(gm.log_prob(x), truth.log_prob(x), rtol=1e-8)


def test_mixture_sample_has_its_moments():
    gm, n = mixture(), 100_000
    x = gm.sample(n, torch.Generator().manual_seed(3))
    mean = gm.weights @ gm.means
    centred = gm.means - mean
    cov = torch.einsum("k,kij->ij", gm.weights, gm.covs + centred[:, :, None] * centred[:, None])
    assert ((x.mean(0) - mean).abs() < 4 * (cov.diagonal() / n).sqrt()).all()
    assert torch.allclose(x.T.cov(), cov, atol=0.03)


@pytest.mark.parametrize("t", [1, 100, 1000])
def test_eps_is_the_conditional_mean_of_the_noise(t):
    """E[eps* . f(x_t)] = E[eps . f(x_t)] for test functions f: what "best predictor" means, by Monte Carlo.

    Equations: eq:tweedie
    """
    gm, n = mixture(D=2), 200_000
    g = torch.Generator().manual_seed(4)
    x_0 = gm.sample(n, g)
    eps = torch.randn(n, 2, generator=g, dtype=torch.float64)
    x_t = q_sample(x_0, t, LINEAR, eps)
    left = eps - gm.eps(x_t, t)
    for f in (torch.ones_like(x_t), x_t, x_t.sin(), x_t.flip(1)):
        product = left * f
        assert (product.mean(0).abs() < 4 * product.std(0) / math.sqrt(n)).all()


def test_gaussian_eps_is_linear():
    mean, cov = (
        torch.tensor([0.5, -1.0], dtype=torch.float64),
        torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64),
    )
    exact, x, t = Gaussian(mean, cov, LINEAR), torch.randn(9, 2, dtype=torch.float64), 321
    abar = LINEAR.alpha_bar[t]
    inverse = torch.linalg.inv(abar * cov + (1 - abar) * torch.eye(2, dtype=torch.float64))
    assert torch.allclose(exact.eps(x, t), (1 - abar).sqrt() * (x - abar.sqrt() * mean) @ inverse, rtol=1e-10)


def test_the_best_multiple_of_x_t_is_a_gaussians():
    """No other multiple of x_t has a smaller error, and that error is the formula's.

    Equations: eq:best-multiple
    """
    g, m, t = torch.Generator().manual_seed(0), 0.3, 400
    n, abar = 50_000, LINEAR.alpha_bar[t]
    x_0 = math.sqrt(3 * m) * (2 * torch.rand(n, 4, generator=g, dtype=torch.float64) - 1)  # uniform, of mean square m
    eps = torch.randn(n, 4, generator=g, dtype=torch.float64)
    x_t = abar.sqrt() * x_0 + (1 - abar).sqrt() * eps
    best = Gaussian(torch.zeros(4), m, LINEAR).eps(x_t, t)
    c = (1 - abar).sqrt() / (abar * m + 1 - abar)
    assert torch.allclose(best, c * x_t, rtol=1e-12)
    error = (best - eps).square().mean(1)
    assert abs(error.mean() - abar * m / (abar * m + 1 - abar)) < 5 * error.std() / math.sqrt(n)
    fitted = (x_t * eps).sum() / x_t.square().sum()  # least squares
    assert abs(fitted / c - 1) < 0.01


def test_covariance_shorthands_agree():
    means, x = torch.zeros(2, 3), torch.randn(5, 3, dtype=torch.float64)
    full = GaussianMixture([1, 1], means, torch.eye(3).expand(2, 3, 3) * 0.2, LINEAR).eps(x, 77)
    for covs in (0.2, [0.2, 0.2], torch.full((2, 3), 0.2)):
        assert torch.allclose(GaussianMixture([1, 1], means, covs, LINEAR).eps(x, 77), full, atol=1e-7)
    for cov in (0.2, torch.full((3,), 0.2), 0.2 * torch.eye(3)):
        assert torch.allclose(Gaussian(torch.zeros(3), cov, LINEAR).eps(x, 77), full, atol=1e-7)


@pytest.mark.parametrize("t", [1, 60, 1000])
def test_empirical_data_is_a_mixture_of_points(t):
    g = torch.Generator().manual_seed(5)
    points = torch.randn(7, 2, generator=g, dtype=torch.float64)
    gm = GaussianMixture(torch.ones(7), points, 0.0, LINEAR)
    data = EmpiricalData(points, LINEAR)
    x = q_sample(data.sample(40, g), t, LINEAR, torch.randn(40, 2, generator=g, dtype=torch.float64))
    assert torch.allclose(data.eps(x, t), gm.eps(x, t), rtol=1e-6, atol=1e-8)
    assert torch.allclose(data.log_prob(x, t), gm.log_prob(x, t), rtol=1e-8)


def test_empirical_data_keeps_image_shape_and_type():
    images = torch.rand(6, 1, 4, 4) * 2 - 1
    data = EmpiricalData(images, LINEAR)
    eps = data.eps(torch.randn(3, 1, 4, 4), torch.tensor([1, 500, 1000]))
    assert eps.shape == (3, 1, 4, 4) and eps.dtype == torch.float32
    assert data.sample(5).shape == (5, 1, 4, 4)
    # At t = 1 the point that a noisy image came from is the only one near it.
    noisy = q_sample(images, 1, LINEAR, torch.randn_like(images))
    assert torch.allclose(data.x0_mean(noisy, 1), images, atol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: mixture().eps(torch.zeros(2, 3), 0), "t = 0"),
        (lambda: mixture().eps(torch.zeros(2, 3), 1001), "t = 1001"),
        (lambda: mixture().eps(torch.zeros(2, 2), 5), "(2, 2)"),
        (lambda: mixture().eps_at(torch.zeros(2, 3), 1.0), "abar = 1 "),
        (lambda: mixture().eps_at(torch.zeros(2, 3), torch.tensor([0.5, -0.5])), "abar = -0.5"),
        (lambda: mixture().eps_at(torch.zeros(2, 3), torch.tensor([0.5, 0.5, 0.5])), "3 levels"),
        (lambda: EmpiricalData(torch.zeros(3, 2), LINEAR).eps_at(torch.zeros(1, 2), float("nan")), "abar = nan"),
        (lambda: GaussianMixture([1, 1], torch.zeros(3, 2), 1.0, LINEAR), "don't fit"),
        (lambda: GaussianMixture([1, -1], torch.zeros(2, 2), 1.0, LINEAR), "positive"),
        (lambda: GaussianMixture([1], torch.zeros(1, 2), [[[1.0, 0.5], [0.0, 1.0]]], LINEAR), "symmetric"),
        (lambda: Gaussian(torch.zeros(2), -1.0, LINEAR), "eigenvalues"),
        (lambda: EmpiricalData(torch.zeros(0, 2), LINEAR), "N >= 1"),
        (lambda: EmpiricalData(torch.zeros(3, 2), LINEAR).eps(torch.zeros(1, 4), 5), "(1, 4)"),
        (
            lambda: EmpiricalData(torch.zeros(3, 1, 4, 5), LINEAR).eps(torch.zeros(2, 1, 5, 4), 5),
            "(1, 4, 5)",
        ),  # as many numbers
        (lambda: mixture().eps(torch.zeros(2, 3, dtype=torch.int64), 5), "int64"),
        (lambda: mixture().log_prob(torch.zeros(2, 3), torch.tensor([1, 2, 3])), "3 levels"),
        (lambda: GaussianMixture([1, 1], [[0.0], [1.0]], 0.0, LINEAR).log_prob(torch.zeros(1, 1)), "density"),
        (lambda: GaussianMixture([], torch.zeros(0, 2), 1.0, LINEAR), "at least one"),
        (lambda: GaussianMixture([1.0], [[float("nan")]], 1.0, LINEAR), "finite"),
        (lambda: EmpiricalData(torch.zeros(3, 2), LINEAR).log_prob(torch.zeros(1, 2), 0), "t = 0"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_measured_covariances_of_few_points_are_taken(dtype):
    """Their smallest eigenvalues are rounding: below 0 by about as much as the type resolves of the largest."""
    for seed in range(5):
        x = 255 * torch.rand(10, 64, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        found = Gaussian(x.mean(0), torch.cov(x.T), LINEAR)
        assert float(found.covs[0].trace()) == pytest.approx(float(x.var(0).sum()), rel=1e-5)


@pytest.mark.parametrize("dtype, off", [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_exact_predictors_lose_nothing_next_to_the_data(dtype, off):
    """At t = 1 the noise is a hundredth of x: rounding x_0's mean on the way would be a hundred times as visible."""
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = EmpiricalData(points, LINEAR)
    x = (points + 0.01 * torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).to(dtype)
    found, expected = data.eps(x, 1), data.eps(x.double(), 1)
    assert found.dtype == dtype
    assert float((found.double() - expected).abs().max()) <= off * float(expected.abs().max())
