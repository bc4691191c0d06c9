"""The best variance, levels by dynamic programming, and fitted weights, against closed forms and brute force."""

import math
import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import torch

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.line import output_cdf, w1
from ddim_edu.models import load
from ddim_edu.sampler import ddim_path, decode
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import dpm_solver_2m, dpm_solver_2m_path, heun
from ddim_edu.steps import cheapest, fit_weights, states_at, step_errors, weighted
from ddim_edu.variance import best_path, best_sigma, best_variance, unknown_variance

LINEAR = NoiseSchedule.linear()
PEAKS = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], LINEAR)
PLANE = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, LINEAR)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_peaks(t):
    """E Var(x_0 | x_t) of the mixture on the line, by a sum over a grid: the posterior is a mixture of two."""
    abar = LINEAR.alpha_bar[t].item()
    x = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
    m, v = PEAKS.means[:, 0], PEAKS.covs[:, 0, 0]
    total = abar * v + 1 - abar
    parts = PEAKS.weights * torch.exp(-((x[:, None] - abar**0.5 * m) ** 2) / (2 * total)) / total.sqrt()
    shares, mean = parts / parts.sum(1, keepdim=True), m + abar**0.5 * v / total * (x[:, None] - abar**0.5 * m)
    second = (shares * (v * (1 - abar) / total + mean**2)).sum(1)
    variance = second - (shares * mean).sum(1) ** 2
    return ((parts.sum(1) * variance).sum() / parts.sum()).item()


# --- the best variance


def test_what_is_unknown_of_a_gaussian_has_a_closed_form():
    v, n, tau = 0.3, 40_000, [0, 50, 400, 1000]
    data, g = Gaussian(torch.tensor([0.5]), v, LINEAR), torch.Generator().manual_seed(0)
    found = unknown_variance(data.eps, data.sample(n, g), LINEAR, tau, g)
    abar = LINEAR.alpha_bar[tau]
    true = v * (1 - abar) / (abar * v + 1 - abar)
    assert found[0] == 0 and ((found - true).abs() <= 5 * true * (2 / n) ** 0.5).all()


def test_what_is_unknown_of_a_mixture_and_what_a_wrong_mean_adds():
    g, n = torch.Generator().manual_seed(1), 40_000
    x_0 = PEAKS.sample(n, g)
    (_, found) = unknown_variance(PEAKS.eps, x_0, LINEAR, [0, 300], g)
    assert abs(found - of_peaks(300)) < 0.01 * of_peaks(300) + 0.002
    (_, wrong) = unknown_variance(lambda x, t: PEAKS.eps(x, t) + 0.5, x_0, LINEAR, [0, 300], g)
    assert abs(wrong - found - 0.25 * LINEAR.nsr[300] ** 2) < 0.02  # the square of what x0_hat is off by


def test_the_best_variance_is_the_true_one_for_gaussian_data():
    """Of two levels of a Gaussian chain, with eta = 1: var(x_s) - cov^2 / var(x_t).

    Equations: eq:best-variance
    """
    v, tau = 0.3, [0, 1, 30, 500, 1000]
    abar = LINEAR.alpha_bar[tau]
    var = abar * v + 1 - abar
    unknown = v * (1 - abar) / var
    found = best_sigma(LINEAR, tau, unknown)
    for i, (s, t) in enumerate(pairwise(range(5))):
        cov = (abar[t] / abar[s]).sqrt() * var[s]
        assert found[i] ** 2 == pytest.approx((var[s] - cov**2 / var[t]).item(), rel=1e-9)
    assert found[0] ** 2 == pytest.approx(unknown[1].item())


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_best_variance_keeps_the_variance_of_every_level(eta):
    """Gaussian data, four long steps: a Gaussian step with the right mean and variance loses nothing.

    Equations: eq:lost-variance
    """
    v, n, tau = 0.3, 100_000, [0, 50, 200, 500, 1000]
    data, g = Gaussian(torch.tensor([0.5]), v, LINEAR), torch.Generator().manual_seed(2)
    abar = LINEAR.alpha_bar[tau]
    unknown = v * (1 - abar) / (abar * v + 1 - abar)
    x_T = abar[-1].sqrt() * 0.5 + (abar[-1] * v + 1 - abar[-1]).sqrt() * normal(n, 1, seed=3)
    for step in best_path(data.eps, x_T, LINEAR, tau, unknown, eta=eta, generator=g):
        a = LINEAR.alpha_bar[step.s].item()
        if step.s > 0:
            assert step.x_s.var().item() == pytest.approx(a * v + 1 - a, rel=5 * (2 / n) ** 0.5)
    plain = decode(data.eps, x_T, LINEAR, tau, eta=eta, generator=g)
    assert plain.var() < 0.8 * step.x_s.var()  # the last step loses in both


def test_the_best_variance_is_ahead_of_both_ends_of_the_family_from_20_steps_on():
    """Chapter 5's mixture, without samples: the Wasserstein-1 distance. Measured: .030 .011 .0055 at 20, 50, 100."""
    for S in (20, 50, 100):
        tau = make_tau(1000, S).tolist()
        noise = best_sigma(LINEAR, tau, [0] + [of_peaks(t) for t in tau[1:]])
        of_step = {(t, s): sigma.item() * (s > 0) for (s, t), sigma in zip(pairwise(tau), noise, strict=True)}
        best = w1(PEAKS, *output_cdf(PEAKS.eps, LINEAR, tau, 1.0, noise=lambda t, s, of=of_step: of[t, s]))
        ddim, ddpm = (w1(PEAKS, *output_cdf(PEAKS.eps, LINEAR, tau, eta, centre=-0.5)) for eta in (0.0, 1.0))
        assert best < 0.7 * ddim < ddpm


def test_noise_given_to_output_cdf_takes_the_place_of_etas():
    tau = make_tau(1000, 8)
    x, cdf = output_cdf(PEAKS.eps, LINEAR, tau, 1.0)
    _, given = output_cdf(PEAKS.eps, LINEAR, tau, 1.0, noise=lambda t, s: LINEAR.sigma(t, s, 1.0).item())
    assert torch.equal(cdf, given)
    _, none = output_cdf(PEAKS.eps, LINEAR, tau, 1.0, noise=lambda t, s: 0.0)
    assert (none - cdf).abs().max() > 0.01


def test_the_path_agrees_with_itself_and_noise_belongs_to_the_picture():
    tau, unknown = [0, 100, 500, 1000], [0.0, 0.1, 0.3, 0.5]

    def generators(*seeds):
        return [torch.Generator().manual_seed(s) for s in seeds]

    x = normal(3, 2, seed=4)
    whole = best_variance(PLANE.eps, x, LINEAR, tau, unknown, generator=generators(1, 2, 3), clip=0.5)
    alone = best_variance(PLANE.eps, x[1:2], LINEAR, tau, unknown, generator=generators(2), clip=0.5)
    assert torch.allclose(whole[1:2], alone, atol=1e-12) and whole.abs().max() <= 0.5
    zero = [0.0] * 4
    for step, other in zip(best_path(PLANE.eps, x, LINEAR, tau, zero, eta=0.0), ddim_path(PLANE.eps, x, LINEAR, tau)):
        assert torch.allclose(step.x_s, other.x_s, atol=1e-12) and (step.t, step.s) == (other.t, other.s)


# --- levels


def test_the_cheapest_way_is_the_best_of_all_ways():
    g = torch.Generator().manual_seed(5)
    for _ in range(20):
        cost = torch.rand(9, 9, generator=g, dtype=torch.float64)
        for S in (1, 2, 4, 8):
            ways = [(0, *middle, 8) for middle in combinations(range(1, 8), S - 1)]
            found = cheapest(cost, S)
            sums = [sum(cost[i, j] for i, j in pairwise(way)) for way in ways]
            assert len(found) == S + 1 and tuple(found) == ways[min(range(len(ways)), key=sums.__getitem__)]


def test_step_errors_of_gaussian_data_have_a_closed_form():
    v, levels = 0.3, [0, 100, 400, 700, 1000]
    data, x = Gaussian(torch.zeros(1), v, LINEAR), normal(500, 1, seed=6)
    nu, scale = LINEAR.nsr, LINEAR.alpha_bar.sqrt()
    root = (v + nu**2).sqrt()
    right = {t: x / scale[1000] * root[t] / root[1000] * scale[t] for t in levels}
    errors = step_errors(data.eps, right, LINEAR)
    for i, s in enumerate(levels):
        for j, t in enumerate(levels):
            if i >= j:
                assert errors[i, j] == math.inf
                continue
            straight = 1 + (nu[s] - nu[t]) * nu[t] / (v + nu[t] ** 2)  # DDIM's factor in x / sqrt(abar)
            off = (straight - root[s] / root[t]).abs() * scale[s] / scale[t] * right[t].square().mean().sqrt()
            assert errors[i, j] == pytest.approx(off.item(), rel=1e-9)


def test_levels_by_single_errors_beat_even_levels_on_starts_they_were_not_chosen_on():
    candidates = make_tau(1000, 50).tolist()
    right = states_at(heun_fine(normal(200, 2, seed=7)), candidates)
    place = cheapest(step_errors(PLANE.eps, right, LINEAR), 8)
    x, tau = normal(200, 2, seed=8), [candidates[i] for i in place]
    truth = heun(PLANE.eps, x, LINEAR, range(0, 1001, 5), reuse=True)

    def error(tau):
        return (decode(PLANE.eps, x, LINEAR, tau) - truth).norm(dim=1).median()

    assert error(tau) < 0.8 * error(make_tau(1000, 8))


def heun_fine(x):
    return dpm_solver_2m_path(PLANE.eps, x, LINEAR, make_tau(1000, 200).tolist())


# --- weights


@pytest.mark.parametrize("path, solver", [(ddim_path, decode), (dpm_solver_2m_path, dpm_solver_2m)])
def test_a_solver_is_found_again_from_its_own_states(path, solver):
    """Fitted to the path of a solver of this form, the weights are the solver: on other starts too.

    Equations: eq:any-solver
    """
    tau, x = make_tau(1000, 6).tolist(), normal(40, 2, seed=9)
    right = states_at(path(PLANE.eps, x, LINEAR, tau), tau)
    weights = fit_weights(PLANE.eps, x, LINEAR, tau, right)
    other = normal(10, 2, seed=10)
    found = weighted(PLANE.eps, other, LINEAR, tau, weights)
    assert torch.allclose(found, solver(PLANE.eps, other, LINEAR, tau), atol=1e-7)


def test_ddim_written_as_weights():
    """x_s = r x_t + (sqrt(abar_s) - r sqrt(abar_t)) x0_hat, with r the quotient of the noises: row after row."""
    tau, abar = [0, 200, 600, 1000], LINEAR.alpha_bar
    weights, row = torch.zeros(3, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)[0]
    for k, (t, s) in enumerate(pairwise(tau[::-1])):
        r = ((1 - abar[s]) / (1 - abar[t])).sqrt()
        row = r * row
        row[k + 1] = abar[s].sqrt() - r * abar[t].sqrt()
        weights[k] = row
    x = normal(5, 2, seed=11)
    found = weighted(PLANE.eps, x, LINEAR, tau, weights)
    assert torch.allclose(found, decode(PLANE.eps, x, LINEAR, tau), atol=1e-12)


def test_fitted_weights_are_ahead_of_the_known_solvers_on_other_starts():
    tau = make_tau(1000, 5, "quadratic-full").tolist()
    fine = sorted({*make_tau(1000, 200).tolist(), *tau})
    x = normal(400, 2, seed=12)
    right = states_at(dpm_solver_2m_path(PLANE.eps, x, LINEAR, fine), tau)
    weights = fit_weights(PLANE.eps, x, LINEAR, tau, right)
    x = normal(400, 2, seed=13)
    truth = heun(PLANE.eps, x, LINEAR, range(0, 1001, 5), reuse=True)

    def error(found):
        return (found - truth).norm(dim=1).square().mean().sqrt()

    ours = error(weighted(PLANE.eps, x, LINEAR, tau, weights))
    assert ours < 0.9 * error(decode(PLANE.eps, x, LINEAR, tau))
    assert ours < 0.9 * error(dpm_solver_2m(PLANE.eps, x, LINEAR, tau))


# --- errors


X = torch.zeros(2, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: best_sigma(LINEAR, [0, 5], [0.0]), "each of 2 levels"),
        (lambda: best_sigma(LINEAR, [0, 5], [0.0, -1.0]), "at least 0"),
        (lambda: best_sigma(LINEAR, [0, 5], [0.0, math.nan]), "at least 0"),
        (lambda: best_path(PLANE.eps, X, LINEAR, [1, 5], [0.0, 0.1]), "from 0"),
        (lambda: best_path(PLANE.eps, X, LINEAR, [0, 5], [0.0, 0.1], clip=-1.0), "clip = -1.0"),
        (lambda: unknown_variance(PLANE.eps, X, LINEAR, [0, 2000]), "2000"),
        (lambda: cheapest(torch.zeros(3, 3), 3), "S = 3"),
        (lambda: cheapest(torch.zeros(3, 2), 1), "(3, 2)"),
        (lambda: weighted(PLANE.eps, X, LINEAR, [0, 5], torch.zeros(2, 2)), "(2, 2)"),
        (lambda: states_at(ddim_path(PLANE.eps, X, LINEAR, [0, 5]), [0, 3, 5]), "level 3"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


# --- from a file, as the command line takes it


def test_the_chapters_file_of_solvers_draws(tmp_path, monkeypatch):
    """The file that chapter 17 shows: fitted weights, and the best variance, by --solver."""
    chapter = (Path(__file__).parents[1] / "chapters" / "17_fewer_calls.py").read_text(encoding="utf8")
    block = re.search(r"```\{code-block\} python\n# :caption: mine\.py\n#\n(.*?)# ```", chapter, re.DOTALL)[1]
    code = re.sub(r"^# ?", "", block, flags=re.MULTILINE)
    (tmp_path / "mine_of_17.py").write_text(code, encoding="utf8")
    monkeypatch.chdir(tmp_path)
    sampler = Sampler(load("digits"), batch=10)
    for name, eta in (("fitted", 0.0), ("best", 1.0)):
        asked = Sampling(n=10, steps=5, solver=f"mine_of_17:{name}", eta=eta)
        asked.check_with(sampler.model)
        images = sampler.draw(asked)
        assert images.shape == (10, 1, 8, 8) and images.abs().max() < 1.5 and images.std() > 0.4
        assert torch.allclose(images[3:4], sampler.draw(asked, 3, 4), atol=1e-3)
        assert sampler.calls_per_image(asked) == 5
