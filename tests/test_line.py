import math

import pytest
import torch

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.line import output_cdf, w1
from ddim_edu.sampler import sample
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
PEAKS = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR)
ETAS = [0.0, 0.4, 1.0, "hat", lambda t: "hat" if t <= 200 else 0.3]


def by_recursion(v, tau, eta, start):
    """Mean and standard deviation after the walk for data N(0, v), where a step is linear: x_s = a x_t + sigma z."""
    mean, variance, abar, levels = start, 1.0, LINEAR.alpha_bar.tolist(), tau.tolist()
    for s, t in reversed(list(zip(levels, levels[1:]))):
        kind = eta(t) if callable(eta) else eta
        sigma = LINEAR.sigma(t, s, 1.0 if kind == "hat" else kind).item()
        e = math.sqrt(1 - abar[t]) / (abar[t] * v + 1 - abar[t])  # eps* = e x_t
        a = math.sqrt(abar[s] / abar[t]) * (1 - math.sqrt(1 - abar[t]) * e) + math.sqrt(1 - abar[s] - sigma**2) * e
        added = LINEAR.sigma_hat(t, s).item() if kind == "hat" and s else sigma
        mean, variance = a * mean, a**2 * variance + added**2
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("eta", ETAS, ids=["0", "0.4", "1", "hat", "both"])
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_gaussian_data_have_a_recursion(eta, start):
    data, tau = Gaussian([0.0], 0.3, LINEAR), make_tau(1000, 12)
    x, cdf = output_cdf(data.eps, LINEAR, tau, eta, start=start)
    mean, std = by_recursion(0.3, tau, eta, start)
    expected = torch.special.ndtr((x - mean) / std)
    assert torch.allclose(cdf, expected, rtol=0, atol=5e-5)  # the first long step cuts the tails at 5
    assert w1(Gaussian([mean], std**2, LINEAR), x, cdf) < 2e-4
    assert abs(w1(Gaussian([mean + 0.2], std**2, LINEAR), x, cdf) - 0.2) < 1e-3  # moved by 0.2


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_two_peaks_as_plain_sampling_has_them(eta):
    n, tau = 20_000, make_tau(1000, 10)
    x, cdf = output_cdf(PEAKS.eps, LINEAR, tau, eta)
    g = torch.Generator().manual_seed(0)
    drawn = sample(PEAKS.eps, (n, 1), LINEAR, tau, eta=eta, generator=g, dtype=torch.float64)
    share = torch.searchsorted(drawn[:, 0].sort().values, x) / n
    assert (share - cdf).abs().max() < 1.95 / n**0.5  # Kolmogorov-Smirnov: 999 of 1000 true ones pass


def test_what_it_refuses():
    with pytest.raises(ValueError, match="changes the order"):
        output_cdf(lambda x, t: 5 * torch.sin(9 * x), LINEAR, make_tau(1000, 5))
    with pytest.raises(ValueError, match="on a line"):
        output_cdf(lambda x, t: x[:, 0], LINEAR, make_tau(1000, 5))
    x = torch.linspace(-4, 4, 50, dtype=torch.float64)
    with pytest.raises(ValueError, match="dimension 2"):
        w1(Gaussian([0.0, 0.0], 1.0, LINEAR), x, torch.special.ndtr(x))


def test_data_beyond_the_grid_is_refused():
    near, far, tau = Gaussian([0.0], 0.3, LINEAR), Gaussian([8.0], 0.1, LINEAR), make_tau(1000, 12)
    with pytest.raises(ValueError, match="the state has a share of .* beyond -5 to 5"):
        output_cdf(far.eps, LINEAR, tau, 1.0)
    with pytest.raises(ValueError, match="the mixture has a share of 1 beyond"):
        w1(far, *output_cdf(near.eps, LINEAR, tau))
    with pytest.raises(ValueError, match="the output has a share of 1 beyond"):
        w1(near, *output_cdf(far.eps, LINEAR, tau))
