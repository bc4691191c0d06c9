import math
import warnings
from itertools import pairwise

import pytest
import torch

from ddim_edu.commands.sample import main
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import mix
from ddim_edu.models import load
from ddim_edu.sampler import ddim_path, decode, invert, sample
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import adaptive_ddim, dpm_solver_2m, dpm_solver_2m_path, heun, heun_path

LINEAR = NoiseSchedule.linear()
FINE = NoiseSchedule.linear(
    T=16000, beta_start=1e-4 / 16, beta_end=0.02 / 16
)  # levels so close that rounding to them hardly counts
MEAN, COV = torch.tensor([0.5, -0.3], dtype=torch.float64), torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
PLANE = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, LINEAR)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian_flow(x_t, abar_t, abar_s=1.0):
    """Closed-form solution of the ODE between two levels, for the data N(MEAN, COV): whiten at the one, colour at the
    other.
    """
    variances, axes = torch.linalg.eigh(COV)
    z = ((x_t - abar_t**0.5 * MEAN) @ axes) / (abar_t * variances + 1 - abar_t).sqrt()
    return abar_s**0.5 * MEAN + (z * (abar_s * variances + 1 - abar_s).sqrt()) @ axes.T


def a_model(x, t):
    """Any function of x and t, in float64: not a good predictor, so that mistakes don't cancel."""
    t = t.to(torch.float64).reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(1.3 * x + 0.2 * torch.sin(t / 50)) - 0.1 * x.roll(1, -1)


def states(path):
    """The states of a path by their level."""
    return {step.s: step.x_s for step in path}


def rms(x):
    return x.double().flatten(1).square().mean(1).sqrt()


# --- fixed steps
# -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [heun_path, lambda *a: heun_path(*a, reuse=True), dpm_solver_2m_path],
    ids=["heun", "heun, noise reused", "dpm-solver++(2m)"],
)
def test_order_2_against_the_closed_form(path):
    """Halving the steps quarters the error, at the lowest level above the data (the last step is plain DDIM).

    Equations: eq:gaussian-flow
    """
    exact, angle, x, errors = Gaussian(MEAN, COV, FINE), torch.atan(FINE.nsr), normal(64, 2, seed=1), []
    for S in (40, 80, 160):
        tau = torch.searchsorted(angle, torch.linspace(0.1, 1.5, S + 1, dtype=torch.float64)).tolist()
        found = states(path(exact.eps, x, FINE, [0, *tau]))
        truth = gaussian_flow(x, FINE.alpha_bar[tau[-1]], FINE.alpha_bar[tau[0]])
        errors.append(rms(found[tau[0]] - truth).mean().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert errors[-1] < 2e-3 and all(1.75 < order < 2.25 for order in orders), (errors, orders)


def test_heun_is_the_trapezoid_in_the_clock():
    """Two steps and the last by hand, in x / sqrt(abar) and nsr.

    Equations: eq:clock-ode
    """
    x, tau = normal(3, 4, seed=2), [0, 100, 500, 900]
    nu, scale = LINEAR.nsr, LINEAR.alpha_bar.sqrt()

    def slope(xbar, t):
        return a_model(xbar * scale[t], torch.full((3,), t))

    xbar, found = x / scale[900], states(heun_path(a_model, x, LINEAR, tau))
    for t, s in ((900, 500), (500, 100)):
        k = slope(xbar, t)
        xbar = xbar + (nu[s] - nu[t]) * (k + slope(xbar + (nu[s] - nu[t]) * k, s)) / 2
        assert torch.allclose(found[s], xbar * scale[s], atol=1e-12)
    assert torch.allclose(found[0], xbar - nu[100] * slope(xbar, 100), atol=1e-12) and list(found) == [500, 100, 0]


def test_reuse_starts_a_step_with_the_noise_from_the_end_of_the_last():
    x, asked = normal(2, 3, seed=3), []

    def model(x, t):
        asked.append((t[0].item(), x, a_model(x, t)))
        return asked[-1][2]

    path = states(heun_path(model, x, LINEAR, [0, 100, 500, 900], reuse=True))
    assert [t for t, *_ in asked] == [900, 500, 100]
    (_, _, e900), (_, at500, e500), (_, at100, e100) = asked
    nu, scale = LINEAR.nsr, LINEAR.alpha_bar.sqrt()
    assert torch.allclose(at500 / scale[500], x / scale[900] + (nu[500] - nu[900]) * e900, atol=1e-12)
    assert torch.allclose(at100 / scale[100], path[500] / scale[500] + (nu[100] - nu[500]) * e500, atol=1e-12)
    assert torch.allclose(path[0], path[100] / scale[100] - nu[100] * e100, atol=1e-12)


@pytest.mark.parametrize(
    "path",
    [ddim_path, heun_path, lambda *a: heun_path(*a, reuse=True), dpm_solver_2m_path],
    ids=["ddim", "heun", "heun, noise reused", "dpm-solver++(2m)"],
)
def test_every_path_yields_steps_that_agree_with_themselves(path):
    """Data and noise of a step make the state it leaves and the one it reaches, and the next leaves from there."""
    tau, x_t = make_tau(1000, 7), normal(3, 4, seed=5)
    for step, (t, s) in zip(path(a_model, x_t, LINEAR, tau), pairwise(tau.tolist()[::-1]), strict=True):
        assert (step.t, step.s) == (t, s) and torch.equal(step.x_t, x_t)
        assert torch.allclose(mix(step.x0_hat, step.eps_hat, LINEAR.alpha_bar[t]), step.x_t, atol=1e-12)
        assert torch.allclose(mix(step.x0_hat, step.eps_hat, LINEAR.alpha_bar[s]), step.x_s, atol=1e-12)
        x_t = step.x_s


def test_every_solver_is_called_alike_and_reaches_the_end_of_its_path():
    tau, x = make_tau(1000, 7), normal(3, 4, seed=5)
    for solve, path in ((decode, ddim_path), (heun, heun_path), (dpm_solver_2m, dpm_solver_2m_path)):
        *_, last = path(a_model, x, LINEAR, tau)
        assert torch.equal(solve(a_model, x, LINEAR, tau), last.x_s)
    run = adaptive_ddim(a_model, x, LINEAR, t_start=int(tau[-1]))
    assert run.x_0.shape == x.shape and int(run.tau(0)[-1]) == int(tau[-1])


@pytest.mark.parametrize("solve, calls", [(heun, 17), (lambda *a: heun(*a, reuse=True), 9), (dpm_solver_2m, 9)])
def test_calls_of_nine_steps(solve, calls):
    seen = []

    def model(x, t):
        assert t.dtype == torch.int64 and t.shape == (3,) and int(t.min()) >= 1
        seen.append(t[0].item())
        return x

    tau = make_tau(1000, 9, "trailing")
    solve(model, normal(3, 2), LINEAR, tau)
    assert len(seen) == calls and set(seen) == set(tau[1:].tolist())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dpm_solver_2m_equals_diffusers():
    diffusers = pytest.importorskip("diffusers")
    their = diffusers.DPMSolverMultistepScheduler(
        1000, 1e-4, 0.02, "linear", solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint",
        final_sigmas_type="zero", timestep_spacing="leading", steps_offset=0,
    )  # fmt: skip
    their.set_timesteps(12)
    tau = [0, *sorted(int(t) + 1 for t in their.timesteps)]
    their_x = normal(2, 3, 4, 4, seed=4)
    ours = dpm_solver_2m_path(a_model, their_x, LINEAR, tau)
    for step, their_t in zip(ours, their.timesteps, strict=True):
        assert step.s < step.t == their_t + 1
        their_x = their.step(a_model(their_x, (their_t + 1).repeat(2)), their_t, their_x).prev_sample
        assert torch.allclose(step.x_s, their_x, rtol=1e-4, atol=1e-4)  # theirs keeps its sigmas in float32
    assert step.s == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("S", [5, 20])
def test_dpm_solver_2m_equals_diffusers_on_the_mixture(S):
    """The exact predictor and the same levels: the ends agree to 1e-5. Their float32 numbers are made anew in
    float64.
    """
    diffusers = pytest.importorskip("diffusers")
    their = diffusers.DPMSolverMultistepScheduler(
        1000, 1e-4, 0.02, "linear", solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint",
        final_sigmas_type="zero", timestep_spacing="trailing", lower_order_final=False,
    )  # fmt: skip
    their.set_timesteps(S)
    levels = [int(t) + 1 for t in their.timesteps]
    assert len(set(levels)) == S and levels == sorted(levels, reverse=True)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    sigmas = ((1 - abar) / abar).sqrt()[torch.tensor(levels) - 1]
    their.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    x = their_x = normal(50, 2, seed=16)
    for t, level in zip(their.timesteps, levels, strict=True):
        their_x = their.step(PLANE.eps(their_x, level), t, their_x).prev_sample.double()
    ours = dpm_solver_2m(PLANE.eps, x, LINEAR, [0, *levels[::-1]])
    assert torch.allclose(ours, their_x, rtol=0, atol=1e-5)


def mixture_on(schedule):
    return GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)


def error_on_the_mixture(solve, schedule, tau):
    """From the end of a thousand steps, one from every level."""
    data, x = mixture_on(schedule), normal(200, 1, seed=26)
    truth = dpm_solver_2m(data.eps, x, schedule, range(int(tau[-1]) + 1))
    return (solve(data.eps, x, schedule, tau) - truth).abs().mean()


@pytest.mark.parametrize(
    "schedule, tau",
    [(NoiseSchedule.cosine(), make_tau(1000, S)) for S in (2, 5, 10, 20, 50)]
    + [(s, make_tau(1000, 3, "quadratic-full")) for s in (LINEAR, NoiseSchedule.cosine())],
)
@pytest.mark.parametrize("reuse", [False, True])
def test_heun_says_that_its_first_step_is_too_long(schedule, tau, reuse):
    """It says so where it is far behind DDIM, and what it advises is good."""
    with pytest.warns(UserWarning, match="dpm-solver-2m.*spacing leading") as told:
        off = error_on_the_mixture(lambda *a: heun(*a, reuse=reuse), schedule, tau)
    ddim = error_on_the_mixture(decode, schedule, tau)
    assert len(told) == 1 and "\n" not in str(told[0].message) and off > 3 * ddim
    assert error_on_the_mixture(dpm_solver_2m, schedule, tau) < 1.1 * ddim
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lower = make_tau(1000, len(tau) - 1, "leading")
        assert error_on_the_mixture(lambda *a: heun(*a, reuse=reuse), schedule, lower) < 1.0


@pytest.mark.parametrize(
    "schedule, tau",
    [(NoiseSchedule.cosine(), make_tau(top, S)) for top in (900, 990) for S in (10, 20)]
    + [(NoiseSchedule.cosine(), make_tau(1000, S, "leading")) for S in (10, 50)]
    + [(LINEAR, make_tau(1000, S, spacing)) for S in (10, 20, 1000) for spacing in ("trailing", "quadratic-full")],
)
def test_heun_is_silent_where_it_is_ahead_of_ddim(schedule, tau):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        off = error_on_the_mixture(heun, schedule, tau)
    assert off < error_on_the_mixture(decode, schedule, tau)


def test_the_command_warns_of_heun_in_one_line(tmp_path, capsys):
    words = ["digits", "--n", "2", "--steps", "5", "--out", f"{tmp_path}/x.png", "--device", "cpu", "--solver"]
    said = []
    for more in (["heun"], ["heun-reuse"], ["heun", "--spacing", "leading"], ["dpm-solver-2m"]):
        assert main([*words, *more]) == 0
        said.append([line for line in capsys.readouterr().err.splitlines() if "arning" in line])
    for lines in said[:2]:
        assert len(lines) == 1 and lines[0].startswith("warning: heun: the first step, from level 1000 to 800")
    assert said[2:] == [[], []]


# --- error-controlled steps
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_the_error_follows_the_tolerance(order):
    """Order p takes n ~ tol^(-1/2) steps, each wrong by about tol^((p+1)/2): the end is wrong by tol^(p/2), against the
    closed form.
    """
    exact, x, errors, calls = Gaussian(MEAN, COV, FINE), normal(50, 2, seed=5), [], []
    for atol in (0.008, 0.002, 0.0005):
        run = adaptive_ddim(exact.eps, x, FINE, atol=atol, order=order, t_start=12000)
        errors.append(rms(run.x_0 - gaussian_flow(x, FINE.alpha_bar[12000])).mean().item())
        calls.append(run.accepted.double().mean().item())
    for big, small in pairwise(errors):
        assert 0.65 * 4 ** (order / 2) < big / small < 1.5 * 4 ** (order / 2), errors
    for few, many in pairwise(calls):
        assert 1.6 < many / few < 2.4, calls
    assert errors[0] < (0.15 if order == 1 else 0.02), errors


def test_the_error_of_a_mixture_falls_with_the_tolerance():
    x = normal(40, 2, seed=6)
    truth = heun(PLANE.eps, x, LINEAR, range(0, 1001, 2), reuse=True)
    found = {order: [] for order in (1, 2)}
    for order in found:
        for atol in (0.2, 0.05, 0.0125):
            found[order].append(
                rms(adaptive_ddim(PLANE.eps, x, LINEAR, atol=atol, order=order).x_0 - truth).median().item()
            )
    assert found[1][0] > 1.5 * found[1][1] > 2.2 * found[1][2], found
    assert found[2][0] > 2.0 * found[2][1] > 4.0 * found[2][2] and found[2][2] < 0.5 * found[1][2], found


@pytest.mark.parametrize("order", [1, 2])
def test_the_fixed_sampler_repeats_what_was_kept(order):
    """The levels that an image visited, given to the sampler with fixed steps, give the same image.

    Equations: eq:clock-step
    """
    x = normal(6, 2, seed=7)
    run = adaptive_ddim(PLANE.eps, x, LINEAR, atol=0.05, order=order)
    assert len({tuple(run.tau(i).tolist()) for i in range(6)}) > 1  # each its own
    for i in range(6):
        tau = run.tau(i)
        if order == 1:
            *_, last = ddim_path(PLANE.eps, x[i : i + 1], LINEAR, tau)
            end = last.x_s
        else:
            end = heun(PLANE.eps, x[i : i + 1], LINEAR, tau, reuse=True)
        assert tau[0] == 0 and tau[1] == 1 and tau[-1] == 1000 and len(tau) == run.accepted[i] + 2
        assert torch.allclose(end, run.x_0[i : i + 1], atol=1e-11)


def test_every_error_is_half_the_change_of_the_noise_times_the_way():
    """Recomputed from the definition, for steps that were kept and steps that weren't.

    Equations: eq:step-estimate
    """
    x, seen = normal(4, 5, seed=8), []

    def model(x, t):
        seen.append((x, t, a_model(x, t)))
        return seen[-1][2]

    atol, rtol = 0.03, 0.2
    run = adaptive_ddim(model, x, LINEAR, atol=atol, rtol=rtol, t_start=800)
    at = {i: (x[i], 800, seen[0][2][i]) for i in range(4)}
    rows = ((xs[j], int(t[j]), eps[j]) for xs, t, eps in seen[1:] for j in range(len(t)))
    kept_and_not = set()
    for n, (x_s, s, eps_s) in enumerate(rows):
        i = int(run.image[n])
        x_t, t, eps_t = at[i]
        assert (int(run.t[n]), int(run.s[n])) == (t, s)
        way = (LINEAR.nsr[s] - LINEAR.nsr[t]) * LINEAR.alpha_bar[s].sqrt()
        error = (
            (0.5 * way * (eps_s - eps_t) / (atol + rtol * torch.maximum(x_t.abs(), x_s.abs()))).square().mean().sqrt()
        )
        assert torch.isclose(run.error[n], error, rtol=1e-9) and bool(run.kept[n]) == bool(error <= 1 or t - s == 1)
        kept_and_not.add(bool(run.kept[n]))
        if run.kept[n]:
            at[i] = (x_s, s, eps_s)
    assert n + 1 == len(run.kept) and kept_and_not == {True, False} and all(t == 1 for _, t, _ in at.values())


def test_the_controller_lengthens_and_shortens_by_the_estimate():
    run = adaptive_ddim(a_model, normal(8, 3, seed=9), LINEAR, atol=0.01, first=0.7, safety=0.8, shrink=0.3, grow=1.6)
    angle, checked = torch.atan(LINEAR.nsr), set()
    for i in range(8):
        t, s, error, kept = (a[run.image == i] for a in (run.t, run.s, run.error, run.kept))
        assert angle[s[0]] == angle[(angle - (angle[-1] - 0.7)).abs().argmin()]
        for n in range(1, len(t)):
            assert t[n] == (s[n - 1] if kept[n - 1] else t[n - 1]) and (kept[n - 1] or s[n] > s[n - 1])
            factor = float((0.8 / error[n - 1].sqrt()).clamp(0.3, 1.6))
            wanted = angle[t[n]] - factor * (angle[t[n - 1]] - angle[s[n - 1]])
            lowest, highest = 1 if kept[n - 1] else s[n - 1] + 1, t[n] - 1
            nearest = int((angle - wanted).abs().argmin())
            assert s[n] == min(max(nearest, lowest), highest)
            checked.add("grow" if factor == 1.6 else "shrink" if factor == 0.3 else "between")
    assert checked == {"grow", "shrink", "between"}


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("order", [1, 2])
def test_calls_are_counted(per_image, order):
    """Rows of the network's batches, one for the start and one for each step tried; finished images are left out."""
    rows, x = 0, normal(7, 2, seed=10)

    def model(x, t):
        nonlocal rows
        assert t.dtype == torch.int64 and t.shape == (len(x),) and int(t.min()) >= 1
        rows += len(x)
        return PLANE.eps(x, t)

    run = adaptive_ddim(model, x, LINEAR, order=order, per_image=per_image)
    assert torch.equal(run.calls, torch.bincount(run.image, minlength=7) + 1) and int(run.calls.sum()) == rows
    assert torch.equal(run.accepted + run.rejected + 1, run.calls) and int(run.rejected.sum()) > 0
    assert (len(run.calls.unique()) > 1) == per_image


def test_one_step_for_the_batch_obeys_the_root_mean_square():
    x = normal(5, 2, seed=11)
    run = adaptive_ddim(PLANE.eps, x, LINEAR, per_image=False)
    assert all(torch.equal(run.tau(i), run.tau(0)) for i in range(5))
    alone = adaptive_ddim(PLANE.eps, x, LINEAR)
    first = alone.error[:5]  # the first step tried is the same
    assert torch.allclose(run.error[:5], first.square().mean().sqrt().expand(5)) and first.max() > 1.01 * first.min()


@pytest.mark.parametrize("order", [1, 2])
def test_an_image_does_not_depend_on_its_batch(order):
    x = normal(9, 2, seed=12)
    whole = adaptive_ddim(PLANE.eps, x, LINEAR, order=order)
    for i in range(9):
        alone = adaptive_ddim(PLANE.eps, x[i : i + 1], LINEAR, order=order)
        assert torch.allclose(alone.x_0, whole.x_0[i : i + 1], atol=1e-10) and torch.equal(alone.tau(0), whole.tau(i))
        assert alone.calls == whole.calls[i]


def test_a_trained_network():
    trained = load("digits")
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(13))
    start = x.clone()
    truth = heun(trained.model, x, trained.schedule, torch.linspace(0, 900, 101).round().long(), reuse=True)
    few, many = (adaptive_ddim(trained.model, x, trained.schedule, atol=a, order=2, t_start=900) for a in (0.2, 0.02))
    assert few.x_0.dtype == torch.float32 and few.x_0.shape == x.shape and torch.equal(x, start)
    assert rms(many.x_0 - truth).mean() < 0.5 * rms(few.x_0 - truth).mean() and many.calls.min() > few.calls.max()
    assert all(int(run.tau(2)[-1]) == 900 for run in (few, many))


def test_a_tolerance_that_nothing_meets_takes_every_level_and_ends():
    schedule = NoiseSchedule.linear(T=30)
    run = adaptive_ddim(lambda x, t: a_model(x, t) * (1 + t[:, None] % 2), normal(2, 3), schedule, atol=1e-12)
    assert run.tau(1).tolist() == list(range(31)) and bool((run.error[run.kept] > 1).all())


def test_a_step_tried_in_vain_is_not_tried_again():
    """With few levels, a length that shrinks a little rounds to the same level: it must go up by one at least."""
    schedule, calls = NoiseSchedule.linear(T=12, beta_end=0.5), 0

    def model(x, t):
        nonlocal calls
        calls += 1
        assert calls < 5000, "never ends"
        return a_model(x, t)

    for atol in torch.logspace(-3, -0.5, 12).tolist():
        run = adaptive_ddim(model, normal(6, 3, seed=15), schedule, atol=atol, safety=0.95)
        for i in range(6):
            s, kept = run.s[run.image == i], run.kept[run.image == i]
            assert bool((s[1:] > s[:-1])[~kept[:-1]].all())


def test_from_level_1_one_call_is_left():
    x = normal(3, 2, seed=14)
    run = adaptive_ddim(PLANE.eps, x, LINEAR, t_start=1)
    *_, last = ddim_path(PLANE.eps, x, LINEAR, [0, 1])
    assert torch.equal(run.x_0, last.x_s) and run.calls.tolist() == [1, 1, 1] and run.tau(2).tolist() == [0, 1]
    assert run.accepted.tolist() == run.rejected.tolist() == [0, 0, 0]


X = torch.zeros(2, 2)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: heun_path(a_model, X, LINEAR, [1, 5]), "from 0"),
        (lambda: heun(a_model, X, LINEAR, [0, 5, 5]), "rise strictly"),
        (lambda: dpm_solver_2m_path(a_model, X, LINEAR, [0, 2000]), "2000"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, atol=0.0), "atol = 0.0"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, atol=math.nan), "atol = nan"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, rtol=-0.1), "rtol = -0.1"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, rtol=math.inf), "rtol = inf"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, order=3), "order = 3"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, t_start=0), "t_start = 0"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, t_start=1001), "1..1000"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, first=0.0), "first = 0.0"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, safety=1.0), "safety = 1.0"),
        (lambda: adaptive_ddim(a_model, X, LINEAR, grow=1.0), "grow = 1.0"),
        (lambda: adaptive_ddim(a_model, X[:0], LINEAR), "(0, 2)"),
        (lambda: adaptive_ddim(a_model, torch.zeros(3), LINEAR), "(3,)"),
        (lambda: adaptive_ddim(a_model, X.long(), LINEAR), "int64"),
        (lambda: adaptive_ddim(lambda x, t: x[:, :1], X, LINEAR), "(2, 1)"),
        (lambda: adaptive_ddim(lambda x, t: x / 0, X, LINEAR), "not finite"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("other", [torch.float32, torch.float64])
def test_every_solver_keeps_the_type_of_x(dtype, other):
    x, tau = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).to(dtype), [0, 5, 500, 1000]

    def eps_theta(x, t):
        return (0.5 * x).to(other)

    for solve in (decode, heun, dpm_solver_2m, invert):
        assert solve(eps_theta, x, LINEAR, tau).dtype == dtype
    assert sample(eps_theta, (3, 2), LINEAR, tau, eta=1.0, dtype=dtype).dtype == dtype
    assert adaptive_ddim(eps_theta, x, LINEAR).x_0.dtype == dtype


def test_no_solver_takes_an_answer_of_another_shape():
    x, tau = torch.zeros(4, 3), [0, 500, 1000]
    for solve in (heun, dpm_solver_2m, invert, lambda e, x, s, tau: sample(e, x.shape, s, tau)):
        with pytest.raises(ValueError, match="eps_theta returned"):
            solve(lambda x, t: x[:, :1], x, LINEAR, tau)


def test_an_adaptive_run_of_one_level():
    with pytest.raises(ValueError, match="finite"):
        adaptive_ddim(lambda x, t: x * float("nan"), torch.zeros(2, 3), LINEAR, t_start=1)
    run = adaptive_ddim(lambda x, t: x, torch.zeros(2, 3), LINEAR, t_start=1)
    assert run.tau(1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="0..1"):
        run.tau(2)
