# %% [markdown]
# (ch-fewer-calls)=
# # Fewer calls
#
# **Question.** A trained network is given, and each call of it costs the same. Chapter 6 went from a thousand calls to twenty by leaving levels out. How good can the pictures of five calls become, without training the network again?

# %% tags=["hide-input"]
import json
import math
import warnings
from itertools import pairwise

import numpy as np
import torch

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import unmix_x0
from ddim_edu.line import output_cdf, w1
from ddim_edu.measuring.statistics import paired, summary
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, decode
from ddim_edu.sampling import clipped
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import dpm_solver_2m, dpm_solver_2m_path, heun, heun_path
from ddim_edu.steps import cheapest, fit_weights, states_at, step_errors, weighted
from ddim_edu.variance import best_sigma, unknown_variance

# %%
generator = torch.Generator().manual_seed(0)
linear = NoiseSchedule.linear()
nsr, alpha_bar = linear.nsr, linear.alpha_bar
measured = json.loads(in_repository("results/fewer_calls.json").read_text())["models"]

# %% mystnb={"figure": {"caption": "Eight pieces of clothing from eight starts: DDIM with 5 calls of the network, a fitted solver with 5, DDIM with 20, and the ends of the network's exact paths. The solver was fitted to twenty other starts.", "name": "fig-calls-teaser"}, "image": {"alt": "Four rows of eight grey pictures of clothes. DDIM with 5 calls: soft, grey pieces without patterns. The other three rows are nearly the same: bright, with the pattern of a jacket, the folds of a dress, the straps of a sandal."}} tags=["hide-input"]
trained = load("fashion-mnist-v")
starts = draw(torch.empty(8, 1, 28, 28), torch.Generator().manual_seed(17))
net = clipped(trained.eps_theta(torch.arange(8)), 1.0, trained.schedule)
learned = measured["fashion-mnist-v"]["learned"]["levels, weights 5"]
with torch.no_grad():
    rows = {"DDIM, 5": decode(net, starts, trained.schedule, make_tau(1000, 5))}
    rows["fitted, 5"] = weighted(net, starts, trained.schedule, **learned)
    rows["DDIM, 20"] = decode(net, starts, trained.schedule, make_tau(1000, 20))
    rows["exact"] = true = dpm_solver_2m(net, starts, trained.schedule, make_tau(1000, 100))
picture_rows(rows);

# %% [markdown]
# Five calls of DDIM make soft pictures: the jacket has lost its pattern, and a shirt (the seventh) has become a dress. A solver that was fitted once makes, with five calls, nearly the pictures that DDIM makes with twenty. Nothing in the network was changed.
#
# At the end of this chapter you will have checked, by running it,
#
# - which part of the ODE a DDIM step solves exactly, and how a method of order 2 grows out of the rest;
# - that the best amount of fresh noise is neither $\eta = 0$ nor $\eta = 1$, and can be measured;
# - that the best list of levels can be found by dynamic programming, from one call for each level;
# - what a solver is when all of it is fitted, so that five calls do about what twenty did;
# - why a method of order 2 can fail where DDIM does not.
#
# You need chapters 5 to 7.
#
# The chapter opens {py:mod}`ddim_edu.solvers`, {py:mod}`ddim_edu.variance` and {py:mod}`ddim_edu.steps`.

# %%
apart = {name: (x - true).square().mean().sqrt().item() for name, x in rows.items()}
assert apart["fitted, 5"] < 0.6 * apart["DDIM, 5"]
of_rows = {f"{name} calls": f"{a:.3f}" for name, a in apart.items() if a}
what = "root mean square distance to the exact row (grey from −1 to 1)"
Table(["", *of_rows], [[what, *of_rows.values()]])

# %% [markdown]
# ## What a DDIM step solves exactly
#
# Chapter 7's units: $\bar x = x/\sqrt{\bar\alpha} = \hat x_0 + \nu\,\hat\epsilon$ and $d\bar x = \hat\epsilon\, d\nu$. Divide by $\nu$ and see how $\bar x/\nu$ moves:
#
# $$
# d\Bigl(\frac{\bar x}{\nu}\Bigr) = \frac{\hat\epsilon\, d\nu}{\nu} - \frac{\hat x_0 + \nu\,\hat\epsilon}{\nu^2}\, d\nu = \hat x_0\; d\Bigl(\frac 1\nu\Bigr) .
# $$
#
# The noise has cancelled. Write $\lambda = -\ln \nu$, half the logarithm of the SNR, so that $1/\nu = e^\lambda$. From level $t$ down to $s$, exactly,
#
# $$
# \frac{\bar x_s}{\nu_s} = \frac{\bar x_t}{\nu_t} + \int_{\lambda_t}^{\lambda_s} e^{\lambda}\; \hat x_0(\lambda)\, d\lambda .
# $$ (eq:exact-step)
#
# This is still exact. The part that is linear in the state has been solved, and only the prediction stands under the integral. Methods that do this are called **exponential integrators** {cite}`zhang2023deis,lu2022dpm`. The simplest takes $\hat x_0$ for constant:
#
# $$
# \frac{\bar x_s}{\nu_s} = \frac{\bar x_t}{\nu_t} + \bigl(e^{\lambda_s} - e^{\lambda_t}\bigr)\; \hat x_0 .
# $$ (eq:exponential-step)
#
# This is DDIM's step. Chapter 7 found the same step by keeping $\hat\epsilon$ constant in $d\bar x = \hat\epsilon\, d\nu$. Both are right, since $\bar x_t = \hat x_0 + \nu_t\,\hat\epsilon$ fixes one prediction by the other. At higher order the two ways lead to different methods.

# %%
# checks eq:exact-step
m, v, t, s = 0.5, 0.3, 600, 200
gaussian = Gaussian([m], v, linear)
nu = torch.linspace(nsr[t], nsr[s], 20_001, dtype=torch.float64)
xbar = m + (2.0 - m) * ((v + nu**2) / (v + nu[0] ** 2)).sqrt()  # the exact path
abar = 1 / (1 + nu**2)
eps = gaussian.eps_at((xbar * abar.sqrt())[:, None], abar)[:, 0]
gained = torch.trapezoid(xbar - nu * eps, 1 / nu)
assert torch.isclose(xbar[-1] / nu[-1], xbar[0] / nu[0] + gained, atol=1e-6)

# checks eq:exponential-step
x_t, eps = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
x0_hat = unmix_x0(x_t, eps, alpha_bar[t])
ratio = x_t / alpha_bar[t].sqrt() / nsr[t] + (1 / nsr[s] - 1 / nsr[t]) * x0_hat
by_hand = ratio * nsr[s] * alpha_bar[s].sqrt()
assert torch.allclose(by_hand, ddim_step(x_t, eps, alpha_bar[t], alpha_bar[s]), atol=1e-12)


# %% [markdown]
# DDIM's step is good where $\hat x_0$ is nearly constant, as it is once the network knows what the picture will be. For a single point one step is exact. Where the data is smooth, $\hat x_0$ follows the state all the way and little is won: for $\mathcal N(0, I)$ nothing moves in the units of $x$, Euler in $t$ is exact, and DDIM loses 31% of the variance in ten steps ({ref}`ex-ode-lost-variance`). That is what chapter 7 found without a reason.
#
# ### The next order
#
# During the step, let $\hat x_0$ go on as it went from the last level to this one. With $h = \lambda_s - \lambda_t$ and $h_{\text{last}}$ the length of the last step,
#
# $$
# \hat x_0(\lambda) \approx \hat x_0 + (\lambda - \lambda_t)\; \frac{\hat x_0 - \hat x_0^{\text{last}}}{h_{\text{last}}} .
# $$
#
# Take its value in the middle of the step for the whole step. To the order in question that is the integral of the line ({ref}`ex-calls-middle` finds the exact one). So a step is DDIM's, with
#
# $$
# \hat x_0 + \frac{h}{2\, h_{\text{last}}}\; \bigl(\hat x_0 - \hat x_0^{\text{last}}\bigr)
# $$ (eq:two-m)
#
# in the place of $\hat x_0$: **DPM-Solver++(2M)** of {cite:t}`lu2022dpmpp`. It solves the ODE of {ref}`chapter 16 <ch-continuous>`, as DDIM does, and keeps the prediction of the step before. So the higher order costs no further call. A step of **Heun's method**, which {cite:t}`karras2022edm` use, asks at both ends and takes the mean of the two noises; the noise at the end can be used again for the next step (`heun-reuse`), so that this costs one call a step, too.

# %%
# checks eq:two-m
plane = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, linear)
x_T, tau = draw(torch.empty(400, 2).double(), generator), make_tau(1000, 12).tolist()
x, last, h_last = x_T, None, None
for t, s in pairwise(tau[::-1]):
    x0_hat = now = unmix_x0(x, plane.eps(x, t), alpha_bar[t])
    if s > 0:
        h = (nsr[t] / nsr[s]).log()
        if last is not None:
            x0_hat = now + h / (2 * h_last) * (now - last)
        last, h_last = now, h
    eps = (x - alpha_bar[t].sqrt() * x0_hat) / (1 - alpha_bar[t]).sqrt()
    x = alpha_bar[s].sqrt() * x0_hat + (1 - alpha_bar[s]).sqrt() * eps
assert torch.allclose(x, dpm_solver_2m(plane.eps, x_T, linear, tau), atol=1e-12)

# %% [markdown]
# A method has **order** $p$ if its error falls as the $p$-th power of the step: with steps half as long, order 1 halves it and order 2 quarters it. On logarithmic axes that is a slope. The cell halves the steps on Gaussian data, where {eq}`eq:gaussian-flow` knows the answer, between two levels of a schedule so fine that rounding to levels does not count. (Tests hold DPM-Solver++(2M) against `diffusers`' own on the mixture, to 1e-5.)

# %%
fine = NoiseSchedule.linear(T=16000, beta_start=1e-4 / 16, beta_end=0.02 / 16)
exact, angle = Gaussian([m], v, fine), torch.atan(fine.nsr)
start = draw(torch.empty(64, 1).double(), generator)

# %%
PATHS = {
    "DDIM": ddim_path,
    "Heun": heun_path,
    "Heun, reused": lambda *a: heun_path(*a, reuse=True),
    "2M": dpm_solver_2m_path,
}
halved = {name: [] for name in PATHS}
for S in (20, 40, 80, 160):
    levels = torch.searchsorted(angle, torch.linspace(0.1, 1.5, S + 1).double()).tolist()
    low, high = levels[0], levels[-1]
    grown = ((v + fine.nsr[low] ** 2) / (v + fine.nsr[high] ** 2)).sqrt()
    truth = (m + (start / fine.alpha_bar[high].sqrt() - m) * grown) * fine.alpha_bar[low].sqrt()
    for name, path in PATHS.items():
        end = states_at(path(exact.eps, start, fine, [0, *levels]), [low])[low]
        halved[name].append((end - truth).square().mean().sqrt().item())

# %%
rows = []
for name, errors in halved.items():
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    rows.append((name, f"{errors[0]:.1e}", f"{errors[-1]:.1e}", *(f"{order:.2f}" for order in orders)))
    assert abs(orders[-1] - (1 if name == "DDIM" else 2)) < 0.15
heads = "error, 20 steps", "160 steps", "order, 20 to 40", "40 to 80", "80 to 160"
Table(["Gaussian data", *heads], rows)

# %% [markdown]
# Now the mixture in the plane at equal *calls*, on two lists of levels. The error is the distance from 1,000 steps of Heun's method; bars are 95% intervals {eq}`eq:t-interval` from four groups of a hundred starts.

# %%
hundreds = x_T.split(100)
ends = [heun(plane.eps, x, linear, range(0, 1001), reuse=True) for x in hundreds]
SOLVERS = {
    "DDIM": decode,
    "2M": dpm_solver_2m,
    "Heun, reused": lambda *a: heun(*a, reuse=True),
}


def errors_of(solve, tau):
    """Mean distance from the true ends, a number for each hundred."""
    found = [solve(plane.eps, x, linear, tau) for x in hundreds]
    return [(x - end).norm(dim=1).mean().item() for x, end in zip(found, ends)]


# %%
counts, at_equal = (5, 10, 20, 40), {}
for spacing in ("trailing", "quadratic-full"):
    for name, solve in SOLVERS.items():
        with warnings.catch_warnings(action="ignore"):  # Heun's, of five calls; see "What breaks"
            row = [summary(errors_of(solve, make_tau(1000, S, spacing))) for S in counts]
        at_equal[spacing, name] = row

# %% mystnb={"figure": {"caption": "Error against calls. Left: Gaussian data against its closed form; the dotted lines have slopes −1 and −2. Middle and right: the mixture in the plane on two lists of levels, with 95% intervals.", "name": "fig-calls-order"}, "image": {"alt": "Three log-log plots. Left: the line of DDIM falls with slope one, those of three other methods with slope two. Middle, trailing levels: the three lines lie close together up to 10 calls, and at 40 Heun's is at half of DDIM's. Right, quadratic levels: they part, and at 40 calls DDIM lies far above the two methods of order two."}} tags=["hide-input"]
fig, axes = figure(3, height=2.8)
for (name, errors), marker in zip(halved.items(), "osv^"):
    axes[0].plot((20, 40, 80, 160), errors, marker + "-", markersize=4, label=name)
for order, scale in ((1, 2.0), (2, 2.5)):
    axes[0].plot(
        (20, 160),
        [scale * halved["DDIM" if order == 1 else "2M"][0] * (20 / S) ** order for S in (20, 160)],
        ":",
        color="gray",
    )
axes[0].set(title="Gaussian", xlabel="steps", ylabel="error")
axes[0].legend(fontsize=7)
colours = dict(zip(("DDIM", "Heun", "Heun, reused", "2M"), COLOURS))
for ax, spacing in zip(axes[1:], ("trailing", "quadratic-full")):
    for name in SOLVERS:
        row = at_equal[spacing, name]
        ax.errorbar(counts, [r.mean for r in row], [r.half for r in row], fmt="o-", markersize=4, color=colours[name])
    ax.set(title=f"plane, {spacing}", xlabel="calls")
for ax in axes:
    ax.set(xscale="log", yscale="log")
    ax.minorticks_off()
axes[0].set(ylim=(3e-6, 0.1))
axes[1].set_yticks((0.02, 0.05, 0.1, 0.2), (0.02, 0.05, 0.1, 0.2))
axes[0].set_xticks((20, 40, 80, 160), (20, 40, 80, 160))
for ax in axes[1:]:
    ax.set_xticks(counts, counts)

# %%
good = {name: at_equal["quadratic-full", name][2].mean for name in SOLVERS}
assert good["2M"] < 0.5 * good["DDIM"] and good["Heun, reused"] < 0.5 * good["DDIM"]
even = {name: at_equal["trailing", name][2].mean for name in SOLVERS}
assert even["2M"] > 0.7 * even["DDIM"]
rows = [(f"{spacing}, {name}", *(f"{r.mean:.3f} ± {r.half:.3f}" for r in row))
        for (spacing, name), row in at_equal.items()]  # fmt: skip
Table(["error in the plane", *(f"{S} calls" for S in counts)], rows)

# %% [markdown]
# With levels that suit the data, order 2 more than halves the error at 20 calls. With `trailing` levels, whose last step passes over the bend of the path, it gains less: at 20 calls 2M nothing, Heun a quarter. For the step to the data is DDIM's in both. **The order says how the error falls when steps are short, and nothing about long steps.** So with few calls the levels matter first. They are chosen two sections below, once the noise is settled.
#
# ## The best variance
#
# A step replaces $x_0$ by $\hat x_0$ and so loses the variance $k^2 \operatorname{Var}(x_0 \mid x_t)$, {eq}`eq:lost-variance`, where $k$ is the weight of $\hat x_0$ in the step's mean. As in chapter 3, the best variance for a given mean puts back what is lost on average. For the mean of any $\eta$,
#
# $$
# \sigma_*^2 = \sigma_{t \to s}(\eta)^2 + k^2\; E\, \operatorname{Var}(x_0 \mid x_t) .
# $$ (eq:best-variance)
#
# {cite:t}`bao2022analytic` made a sampler of it (Analytic-DPM). Compare $\hat\sigma$ of chapter 5: it adds $k^2(1 - \bar\alpha_t)$, which is right for standard normal data only, where $\operatorname{Var}(x_0 \mid x_t) = 1 - \bar\alpha_t$. On chapter 5's peaks $E \operatorname{Var}(x_0 \mid x_t)$ is a sum over a grid, and the distance ($W_1$) of the samples from the data is computed without samples, as there. As in every sampler here, the last step adds no noise.

# %%
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], linear)
line = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
square = 0.3 * 1.02 + 0.7 * 0.41  # E x_0^2


def unknown(t):
    """E Var(x_0 | x_t) = E x_0^2 - E x0_hat^2."""
    density, eps = peaks.log_prob(line, t).exp(), peaks.eps(line, torch.full((4001,), t))
    x0_hat = unmix_x0(line, eps, alpha_bar[t])[:, 0]
    return (square - (density * x0_hat**2).sum() / density.sum()).item()


def with_best(S, eta, spacing):
    """Distance of what the best variance makes of the peaks."""
    tau = make_tau(1000, S, spacing).tolist()
    sigma = best_sigma(linear, tau, [0] + [unknown(t) for t in tau[1:]], eta)
    of = {t: sigma[i].item() * (i > 0) for i, t in enumerate(tau[1:])}
    return w1(peaks, *output_cdf(peaks.eps, linear, tau, eta, noise=lambda t, s: of[t]))


# %%
# checks eq:best-variance
x_0, noise = peaks.sample(100_000, generator), torch.Generator().manual_seed(1)
_, found = unknown_variance(peaks.eps, x_0, linear, [0, 300], noise)
assert abs(found - unknown(300)) < 0.003
t, s = 300, 200
x_t, rows = alpha_bar[t].sqrt() * x_0 + (1 - alpha_bar[t]).sqrt() * draw(x_0, noise), []
for eta in (0.0, 1.0):
    sigma, eps = linear.sigma(t, s, eta), peaks.eps(x_t, t)
    k = alpha_bar[s].sqrt() - ((1 - alpha_bar[s] - sigma**2) * alpha_bar[t] / (1 - alpha_bar[t])).sqrt()
    best = (sigma**2 + k**2 * unknown(t)).sqrt()
    ours = best_sigma(linear, [0, s, t], [0, unknown(s), unknown(t)], eta)[1]
    mean = ddim_step(x_t, eps, alpha_bar[t], alpha_bar[s], sigma, 0 * x_t)
    wanted = alpha_bar[s] * x_0.var() + 1 - alpha_bar[s]
    rows.append((f"η = {eta:g}", f"{sigma:.3f}", f"{best:.3f}"))
    assert torch.isclose(best, ours) and abs((mean.var() + best**2) / wanted - 1) < 0.02
Table([f"step from {t} to {s}, mean of", "its own σ", "best σ"], rows)

# %% tags=["hide-input"]
sizes, table = (10, 20, 50, 100), {}
for spacing in ("leading", "trailing"):
    for name in (0.0, 1.0):
        walks = [output_cdf(peaks.eps, linear, make_tau(1000, S, spacing), name, centre=-0.5) for S in sizes]
        table[spacing, f"eta {name:g}"] = [w1(peaks, *walk) for walk in walks]
    for eta in (0.0, 1.0):
        table[spacing, f"best, mean of eta {eta:g}"] = [with_best(S, eta, spacing) for S in sizes]
rows = [(f"{spacing}, {name.replace('eta', 'η =')}", *(f"{d:.3f}" for d in row))
        for (spacing, name), row in table.items()]  # fmt: skip
Table(["distance W₁ from the peaks", *(f"S = {S}" for S in sizes)], rows)

# %%
for spacing in ("leading", "trailing"):
    ddim, ddpm = table[spacing, "eta 0"], table[spacing, "eta 1"]
    for eta in (0, 1):
        best = table[spacing, f"best, mean of eta {eta}"]
        assert all(b < 0.8 * a < c for a, b, c in list(zip(ddim, best, ddpm))[1:])

# %% [markdown]
# From 20 steps on the best variance is well ahead of both ends of the family, and on the `trailing` levels at ten as well. So **$\eta = 0$ is best for few steps only within the $\eta$ family**, where the one way to lose less variance is to add less noise. If the lost variance is put back, fresh noise does no harm. (Even DDIM's mean gains by it.)
#
# For a network no density is needed. $x_0 - \hat x_0$ is $\nu$ times the error $\hat\epsilon - \epsilon$ of the noise, so $E\operatorname{Var}(x_0 \mid x_t)$ is $\nu_t^2$ times *the training loss at that level*: one pass over some data. A network's own error is counted in, as it should be, because around a mean that is off the best variance is larger. (Bao and colleagues use $\nu_t^2\,(1 - E\,\epsilon_\theta^2)$, which is the same for an exact predictor, and can turn negative for a network.)

# %%
level, n = 300, 100_000
eps = draw(x_0[:n], noise)
x_t = alpha_bar[level].sqrt() * x_0 + (1 - alpha_bar[level]).sqrt() * eps
predicted = peaks.eps(x_t, level)
by_loss = nsr[level] ** 2 * (predicted - eps).square().mean()
by_norm = nsr[level] ** 2 * (1 - predicted.square().mean())
row = ["E Var(x₀ | x₃₀₀)", *(f"{v:.3f}" for v in (by_loss, by_norm, unknown(level)))]
assert max(abs(by_loss - unknown(level)), abs(by_norm - unknown(level))) < 0.01
Table(["", "by the loss", "by the norm", "exact"], [row])

# %% [markdown]
# ## Levels by dynamic programming
#
# Which $S$ levels are the best? Follow a few paths in many short steps, and at each of $N$ levels ask the network once. With this answer a single DDIM step *to any lower level* can be computed, and the path says where that step should have ended. So $N$ calls give the errors $c(s, t)$ of all $N^2/2$ steps. Take their sum for the cost of a list. The cheapest list is found exactly: the cheapest way of $j$ steps from $t$ to 0 costs, with $V_0(0) = 0$ and no other way of 0 steps,
#
# $$
# V_j(t) = \min_{s < t}\, \bigl(c(s, t) + V_{j-1}(s)\bigr) .
# $$ (eq:cheapest)
#
# That is **dynamic programming**. {cite:t}`watson2021steps` fed it terms of the bound, {cite:t}`chen2024gits` errors of steps. (The sum of the single errors is not the error at the end: on the way down an early error grows or shrinks.)

# %%
candidates = make_tau(1000, 50).tolist()
x = draw(torch.empty(200, 2).double(), generator)  # other starts than those that judge
right = states_at(dpm_solver_2m_path(plane.eps, x, linear, make_tau(1000, 500).tolist()), candidates)
cost = step_errors(plane.eps, right, linear)

# %%
# checks eq:cheapest
V = {0: {0: 0.0}}
for j in range(1, 6):
    V[j] = {}
    for t in range(1, 51):
        ways = [cost[s, t].item() + V[j - 1][s] for s in range(t) if s in V[j - 1]]
        if ways:
            V[j][t] = min(ways)
way = cheapest(cost, 5)
assert math.isclose(sum(cost[s, t].item() for s, t in pairwise(way)), V[5][50])
chosen = [candidates[i] for i in way]
print("five calls, at the levels", *chosen[:0:-1])

# %% mystnb={"figure": {"caption": "The error of a single DDIM step from one level to another, on the mixture in the plane. The steps of the cheapest list are marked, and those of `trailing`: its last step, from 200 to 0, is by far its dearest.", "name": "fig-calls-levels"}, "image": {"alt": "A triangle of colours: level left along the bottom, level reached upwards. Steps that cross the levels below about 200 are bright, short steps dark. Circles of the chosen list are dense at low levels and lie in darker places than the squares of the even list."}} tags=["hide-input"]
fig, ax = figure(height=3.2)
shown = cost.clone()
shown[shown.isinf()] = torch.nan
mesh = ax.pcolormesh(candidates, candidates, shown, cmap="viridis", shading="nearest")
fig.colorbar(mesh, label="error of the step")
for name, levels, marker in (("trailing", make_tau(1000, 5).tolist(), "s"), ("cheapest", chosen, "o")):
    ax.plot(
        levels[1:],
        levels[:-1],
        marker,
        markersize=7,
        markerfacecolor="none",
        markeredgewidth=1.8,
        label=name,
        color={"trailing": "#ff9f80", "cheapest": "white"}[name],
    )
ax.set(xlabel="level left, t", ylabel="level reached, s")
ax.grid(False)
_ = ax.legend(facecolor="#444444", labelcolor="white", loc="upper left")
# %% [markdown]
# ## All that a solver can be
#
# A solver with one call a step chooses the levels at which it calls the network, and the weights with which it adds up the predictions:
#
# $$
# x_{s_k} = w_{k0}\; x_T + \sum_{j=1}^{k} w_{kj}\; \hat x_0^{(j)} ,
# $$ (eq:any-solver)
#
# where $s_k$ is the level that the $k$-th step reaches and $\hat x_0^{(j)}$ the $j$-th prediction. DDIM, 2M and Heun with reused noise are rows of such numbers: at $S = 5$ twenty in all, $2 + 3 + 4 + 5 + 6$. So fit them. Go down step by step, and choose each row by least squares so that its state comes nearest to the right one; the next prediction is then asked at *that* state. The network is only called, never differentiated, and twenty numbers cannot learn twenty pictures by heart: each row is fitted to all their pixels at once.

# %%
# checks eq:any-solver
tau = make_tau(1000, 5, "quadratic-full").tolist()
known, row, by_hand = [x_T], torch.eye(6, dtype=torch.float64)[0], []
for k, (t, s) in enumerate(pairwise(tau[::-1])):  # DDIM as rows of weights
    r = ((1 - alpha_bar[s]) / (1 - alpha_bar[t])).sqrt()
    row = r * row
    row[k + 1] = alpha_bar[s].sqrt() - r * alpha_bar[t].sqrt()
    by_hand.append(row)
found = weighted(plane.eps, x_T, linear, tau, torch.stack(by_hand))
assert torch.allclose(found, decode(plane.eps, x_T, linear, tau), atol=1e-12)


# %%
def fitted_to(levels):
    """Weights for these levels, from the 200 starts."""
    every = sorted({*make_tau(1000, 500).tolist(), *levels})
    right = states_at(dpm_solver_2m_path(plane.eps, x, linear, every), levels)
    return fit_weights(plane.eps, x, linear, levels, right)


# %% tags=["hide-input"]
lists = {"trailing": make_tau(1000, 5).tolist(), "quadratic-full": tau, "cheapest": chosen}
five_calls, rows = {}, []
for name, levels in lists.items():
    weights = fitted_to(levels)
    five_calls[name] = {
        "DDIM": errors_of(decode, levels),
        "2M": errors_of(dpm_solver_2m, levels),
        "fitted": errors_of(lambda *a, w=weights: weighted(*a, w), levels),
    }
    shown = [summary(errors) for errors in five_calls[name].values()]
    rows.append((name, *(f"{r.mean:.3f} ± {r.half:.3f}" for r in shown)))
Table(["error of five calls, levels", "DDIM", "2M", "fitted"], rows)

# %%
mean = {name: {k: np.mean(v) for k, v in row.items()} for name, row in five_calls.items()}
gain = paired(five_calls["cheapest"]["DDIM"], five_calls["quadratic-full"]["DDIM"])
print(f"DDIM, cheapest less quadratic-full: {gain.mean:.3f} ± {gain.half:.3f}")
assert gain.mean + gain.half < 0 and mean["cheapest"]["DDIM"] < 0.6 * mean["trailing"]["DDIM"]
assert all(row["fitted"] < min(row["DDIM"], row["2M"]) for row in mean.values())
assert mean["quadratic-full"]["fitted"] < 0.7 * at_equal["quadratic-full", "DDIM"][2].mean
assert mean["cheapest"]["fitted"] > mean["quadratic-full"]["fitted"]

# %% [markdown]
# Five calls each, on starts that nothing was fitted to. For DDIM the cheapest list is ahead of both others. Fitted sums gain on every list, and on `quadratic-full` most of all: there five calls make about half the error of DDIM's twenty. The list that is cheapest for single DDIM steps is *not* the best for fitted sums, which correct just those errors that the list was chosen to avoid. **The best levels for one solver are not the best for another.**
#
# ## On the shipped networks
#
# The same for pictures ({py:func}`~ddim_edu.steps.fit_weights` on twenty paths of 40 steps). The measure is chapter 11's classifier distance, for pictures from other starts, a value a seed; `benchmarks/fewer_calls.py` makes the table again. "Best" is {eq}`eq:best-variance` with the mean of $\eta = 1$, measured on 200 training pictures.

# %% tags=["hide-input"]
NAMES = {"ddim": "DDIM", "eta 1": "η = 1", "best": "best variance", "dpm-solver-2m": "2M"}
NAMES |= {"levels": "cheapest levels", "weights": "fitted", "levels, weights": "fitted, cheapest levels"}
values = {name: {row["way"]: row["value"] for row in found["rows"]} for name, found in measured.items()}


def way_of(name):
    """The solver, and its number of calls."""
    solver, _, S = name.rpartition(" ")
    return solver, int(S)


# %% tags=["hide-input"]
lines, every = [], sorted({way_of(way)[1] for rows in values.values() for way in rows})
for name, rows in values.items():
    print(f"{name}: {measured[name]['protocol']['n']} pictures a seed, {len(rows['ddim 5'])} seeds")
    for solver, title in NAMES.items():
        cells = {way_of(way)[1]: summary(v) for way, v in rows.items() if way_of(way)[0] == solver}
        shown = (f"{cells[S].mean:.2f} ± {cells[S].half:.2f}" if S in cells else "" for S in every)
        if cells:
            lines.append((f"{name}, {title}", *shown))
Table(["classifier distance", *(f"{S} calls" for S in every)], lines)

# %% mystnb={"figure": {"caption": "Classifier distance against calls: means over seeds, and bars from the least to the largest. Seeds differ by more than ways do, and in the same direction; the differences below are what counts.", "name": "fig-calls-models"}, "image": {"alt": "Distance against 3 to 20 calls on logarithmic axes, a panel for each model. On the digits the lines of DDIM and of two noises fall from the upper left to about 0.3 at 20 calls, 2M lies below them, and two fitted solvers lie lowest: at 5 calls they are below DDIM at 20."}} tags=["hide-input"]
fig, axes = figure(len(values), height=3.0)
for ax, (name, rows) in zip(np.atleast_1d(axes), values.items()):
    for (solver, title), marker, colour in zip(NAMES.items(), "os^vxDP", COLOURS + COLOURS):
        cells = sorted(
            (split[1], v) for split, v in ((way_of(way), v) for way, v in rows.items()) if split[0] == solver
        )
        if cells and solver != "levels":
            at, found = [S for S, _ in cells], [v for _, v in cells]
            x = np.array(at) * 1.02 ** (list(NAMES).index(solver) - 3)
            middle = np.array([np.mean(v) for v in found])
            bars = [middle - [min(v) for v in found], [max(v) for v in found] - middle]
            ax.errorbar(x, middle, bars, fmt=marker + "-", ms=5, color=colour, label=title, lw=1)
    ax.set(title=name, xlabel="calls", xscale="log", yscale="log", xlim=(2.7, 45))
    ax.minorticks_off()
    ax.set_xticks((3, 5, 10, 20), (3, 5, 10, 20))
    ax.legend(fontsize=7, loc="upper right")
np.atleast_1d(axes)[0].set_yticks((0.2, 0.3, 0.5, 0.8), (0.2, 0.3, 0.5, 0.8))
if len(values) > 1:
    axes[1].set_yticks((3, 4, 5, 6), (3, 4, 5, 6))
_ = np.atleast_1d(axes)[0].set(ylabel="classifier distance")
# %% [markdown]
# Pictures of one seed have the same starts for every way of sampling, so differences are taken seed by seed. The table has each way's distance minus that of DDIM with twenty calls; below 0 it is better:

# %%
less, lines = {}, []
for name, rows in values.items():
    for way in ("weights 5", "levels, weights 5", "dpm-solver-2m 10", "best 20"):
        if way in rows:
            n = min(len(rows[way]), len(rows["ddim 20"]))
            found = less[name, way] = paired(rows[way][:n], rows["ddim 20"][:n])
            solver, S = way_of(way)
            lines.append((f"{name}, {NAMES[solver]}, {S}", f"{found.mean:+.3f} ± {found.half:.3f}"))
even = less["fashion-mnist-v", "levels, weights 5"]
assert abs(even.mean) < even.half
ahead = less["digits-v", "levels, weights 5"]
assert ahead.mean + ahead.half < 0 and less["digits-v", "weights 5"].mean < 0
Table(["model, way, calls", "distance minus DDIM's, 20 calls"], lines)

# %%
for rows in values.values():
    for S in (5, 10):
        assert all(b < a for b, a in zip(rows[f"best {S}"], rows[f"eta 1 {S}"], strict=True))
digits_rows = {row["way"]: row for row in measured["digits-v"]["rows"]}
error = {way: np.mean(digits_rows[way]["error"]) for way in ("levels, weights 5", "ddim 20", "ddim 5")}
assert error["levels, weights 5"] < error["ddim 20"] < error["ddim 5"]
ways = ("fitted, cheapest levels, 5 calls", "DDIM, 20", "DDIM, 5")
row = ["root mean square distance to the path's end", *(f"{e:.3f}" for e in error.values())]
Table(["digits", *ways], [row])

# %% [markdown]
# **On the digits five fitted calls are ahead of DDIM's twenty** in every seed, on the cheapest levels with an interval that leaves 0 out; there they are nearer to the end of the true path, too. Three fitted calls do about what DDIM does with ten. 2M with ten calls is at DDIM's twenty, or a hair ahead. The best variance is the best of the three noises at twenty calls, in each seed, though three seeds are too few for the interval to say so; at five calls it is behind $\eta = 0$.
#
# On Fashion-MNIST the same five calls, on the cheapest levels, come out even with DDIM's twenty, and far ahead of DDIM's five. We had hoped for an interval that lies below 0, but it contains 0: with three seeds the difference could have either sign. (With only 250 pictures all distances are too large by about the same amount; only the differences mean something.) The best variance is ahead of $\eta = 1$ at five calls and at ten in every seed, as on the digits; against DDIM the seeds disagree. The weights were fitted to come near the end of the true path, to which DDIM with many calls comes as well. So a fit of this kind cannot get far ahead of DDIM with many calls.
#
# To draw with either from the command line, write them into a file (a solver is any function of this form) and name it: `python -m ddim_edu.sample digits-v --solver mine:fitted --steps 5`, or `--solver mine:best --eta 1 --steps 10`.
#
# ```{code-block} python
# :caption: mine.py
#
# import json
# from ddim_edu.files import in_repository
# from ddim_edu.steps import weighted
# from ddim_edu.variance import best_variance
#
# path = in_repository("results/fewer_calls.json")
# found = json.loads(path.read_text())["models"]["digits-v"]["learned"]
#
# def fitted(eps_theta, x_T, schedule, tau):
#     learned = found[f"weights {len(tau) - 1}"]
#     return weighted(eps_theta, x_T, schedule, **learned)
#
# def best(eps_theta, x_T, schedule, tau, eta=1.0, generator=None, clip=None):
#     unknown = found[f"best {len(tau) - 1}"]["unknown"]
#     how = {"eta": eta, "generator": generator, "clip": clip}
#     return best_variance(eps_theta, x_T, schedule, tau, unknown, **how)
# ```
#
# ## What the adaptive solver lost to
#
# Chapter 8's controller chose the length of each step by an estimate of its error, and with DDIM's steps was behind plain `trailing` on both networks. Here are its results again, beside the solvers of this chapter, at about ten calls (starts below $T$; the error is the distance to a path of many short steps):

# %%
adaptive = json.loads(in_repository("results/adaptive_steps.json").read_text())["problems"]
ROWS = {
    "adaptive, DDIM": ("adaptive, order 1", "per image", 0.05),
    "adaptive, Heun": ("adaptive, order 2", "per image", 0.05),
    "DDIM": ("ddim", "trailing", 10),
    "DDIM, fitted levels": ("ddim", "fitted", 10),
    "2M": ("dpm-solver++(2m)", "trailing", 10),
    "Heun, reused": ("heun, noise reused", "trailing", 10),
}

# %%
lines = []
for name in ("digits", "fashion-mnist"):
    rows = adaptive[name]["error_against_calls"]["rows"]
    rows = {(r["method"], r["variant"], r["setting"]): r for r in rows}
    for title, key in ROWS.items():
        r = rows[key]
        lines.append((f"{name}, {title}", f"{r['calls']:.1f}", f"{r['mean']:.3f} ± {2 * r['mean_se']:.3f}"))
    one, two = rows[ROWS["adaptive, DDIM"]], rows[ROWS["adaptive, Heun"]]
    assert rows[ROWS["2M"]]["mean"] < one["mean"] and rows[ROWS["Heun, reused"]]["mean"] < two["mean"]
    assert rows[ROWS["DDIM, fitted levels"]]["mean"] < rows[ROWS["DDIM"]]["mean"] < one["mean"]
Table(["model, solver", "calls", "error"], lines)

# %% [markdown]
# (± is two standard errors.) The controller has three disadvantages. A step that is tried and rejected costs a call, and up to a quarter of the calls were rejected. It looks one step ahead, while one list of levels, fitted once to other paths, suits every start: pictures hardly differ in where they need short steps. And at order 1 it does not use the earlier predictions, which it has paid for. At a much smaller tolerance, as users of ODE libraries ask for, the comparison may come out differently; with ten calls there are none to spare for rejected steps.
#
# ## What breaks: order 2 from $T$
#
# The cosine schedule, `trailing` levels, the exact predictor of the peaks: three solvers, ten calls.

# %%
cosine = NoiseSchedule.cosine()
data = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], cosine)
x = draw(torch.empty(500, 1).double(), generator)
off = {}
for top in (1000, 990):
    tau = make_tau(top, 10)
    truth = dpm_solver_2m(data.eps, x, cosine, torch.arange(top + 1))
    with warnings.catch_warnings(action="ignore"):  # Heun's says what is seen below
        ends = {name: solve(data.eps, x, cosine, tau) for name, solve in SOLVERS.items()}
    off |= {(name, top): (end - truth).abs().mean().item() for name, end in ends.items()}
print(f"the first step takes ν from {cosine.nsr[1000]:.0f} to {cosine.nsr[900]:.1f}")
assert off["Heun, reused", 1000] > 20 * off["DDIM", 1000]
assert off["Heun, reused", 990] < off["DDIM", 990]
rows = [(name, *(f"{off[name, top]:.3f}" for top in (1000, 990))) for name in SOLVERS]
Table(["mean error, ten calls", "from level 1000", "from level 990"], rows)

# %%
with torch.no_grad(), warnings.catch_warnings(action="ignore"):
    for name, solve in SOLVERS.items():
        end = solve(net, starts, trained.schedule, make_tau(1000, 5))
        off[name] = (end - true).square().mean().sqrt().item()
assert off["Heun, reused"] > 10 > 50 * off["2M"]
row = ["root mean square distance to the exact ends", *(f"{off[name]:.2f}" for name in SOLVERS)]
Table(["clothes, five calls", *SOLVERS], [row])

# %% [markdown]
# Heun's method takes the mean of two noises and multiplies it by the length of the step in $\nu$, which here is about 20,000. The two noises are almost the same, but multiplied by 20,000 their difference moves the samples away by several times the data's width. For data of variance $v$ the noise is $\nu\bar x/(v + \nu^2)$: all of its change between the two ends happens near the lower one, and the mean spreads half of it over the whole step. In the data's form, {eq}`eq:exact-step`, the same difference is one of two bounded predictions. So on a schedule that ends in pure noise, start Heun below $T$ (or take one DDIM step first), or use 2M. It is also the reason why {eq}`eq:any-solver` sums predicted *data*. From the command line, `--solver heun` on the default levels runs into just this with the shipped models, and says so in a line; `--spacing leading` and `--solver dpm-solver-2m` don't.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the middle of a step
# :label: ex-calls-middle
# *Derive · two stars · 20 minutes*
#
# DPM-Solver++(2M) takes the straight line through two predictions at the middle of the step, $u = h/2$. The integral {eq}`eq:exact-step` weighs the line by $e^{u}$, $0 \le u \le h$. At which $u$ has the line its weighted mean?
# Hand in a function `place(h)`: `check("ex-calls-middle", place)`.
# ```
#
# ````{solution} ex-calls-middle
# :class: dropdown
# $\int_0^h u\, e^u du \big/ \int_0^h e^u du = (h e^h - e^h + 1)/(e^h - 1) = h/(1 - e^{-h}) - 1 = h/2 + h^2/12 + \dots$ The middle is right to the order in question; for long steps the weight lies near the end.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def place(h):
#     return h / (1 - (-h).exp()) - 1
#
# for h in torch.tensor([0.01, 0.5, 2.0], dtype=torch.float64):
#     u = torch.linspace(0, h.item(), 100_001, dtype=torch.float64)
#     mean = torch.trapezoid(u * u.exp(), u) / torch.trapezoid(u.exp(), u)
#     assert torch.isclose(mean, place(h), rtol=1e-6)
#     assert abs(place(h) - h / 2 - h**2 / 12) < h**4
# assert check("ex-calls-middle", place)
# ```
# ````
#
# ```{exercise} Derive: the best variance of a Gaussian
# :label: ex-calls-gaussian
# *Derive · two stars · 20 minutes*
#
# Let the data be $\mathcal N(0, v)$. Find $\sigma_*$ for a step from $\bar\alpha_t$ to $\bar\alpha_s$ with the mean of $\eta = 1$. (Either by {eq}`eq:best-variance`, or in one line from the joint distribution of $x_s$ and $x_t$.)
# Hand in a function `sigma(v, abar_t, abar_s)`: `check("ex-calls-gaussian", sigma)`.
# ```
#
# ````{solution} ex-calls-gaussian
# :class: dropdown
# With $V = \bar\alpha v + 1 - \bar\alpha$ at each level, the covariance is $\sqrt{\bar\alpha_t/\bar\alpha_s}\, V_s$, and what $x_t$ leaves open of $x_s$ is $V_s - (\bar\alpha_t/\bar\alpha_s)\, V_s^2/V_t$. A Gaussian step with this variance is the true one, however long.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
# from ddim_edu.variance import best_sigma
#
# def sigma(v, abar_t, abar_s):
#     V_t, V_s = (a * v + 1 - a for a in (abar_t, abar_s))
#     return (V_s - abar_t / abar_s * V_s**2 / V_t) ** 0.5
#
# linear, v, tau = NoiseSchedule.linear(), 0.4, [0, 50, 400, 900]
# abar = linear.alpha_bar[tau]
# unknown = v * (1 - abar) / (abar * v + 1 - abar)
# ours = sigma(v, abar[1:], abar[:-1])
# assert torch.allclose(ours, best_sigma(linear, tau, unknown))
# assert check("ex-calls-gaussian", sigma)
# ```
# ````
#
# ```{exercise} Code: the cheapest way
# :label: ex-calls-cheapest
# *Code · two stars · 25 minutes*
#
# Given a square table of costs, `cost[i, j]` for a step from place $j$ down to $i < j$ (the rest of the table means nothing), find the way of exactly $S$ steps from the last place to place 0 with the least sum. Trying all ways is allowed for small tables; {eq}`eq:cheapest` is better.
# Hand in a function `way(cost, S)` that returns the places visited, rising, from 0: `check("ex-calls-cheapest", way)`.
# ```
#
# ````{solution} ex-calls-cheapest
# :class: dropdown
# Keep, for each number of steps, the least cost from every place and the place to go to. At the end, walk.
#
# ```python
# from itertools import combinations, pairwise
# import torch
# from ddim_edu.exercises import check
#
# def way(cost, S):
#     n = len(cost)
#     least, goes = {0: 0.0}, []
#     for _ in range(S):
#         best = {}
#         for j in range(1, n):
#             ways = [(least[i] + float(cost[i, j]), i) for i in range(j) if i in least]
#             if ways:
#                 best[j] = min(ways)
#         goes.append({j: i for j, (_, i) in best.items()})
#         least = {j: value for j, (value, _) in best.items()}
#     path = [n - 1]
#     for to in reversed(goes):
#         path.append(to[path[-1]])
#     return path[::-1]
#
# g = torch.Generator().manual_seed(0)
# cost = torch.rand(8, 8, generator=g, dtype=torch.float64)
# for S in (1, 3, 7):
#     every = [(0, *middle, 7) for middle in combinations(range(1, 7), S - 1)]
#     total = lambda w: sum(cost[i, j].item() for i, j in pairwise(w))
#     assert tuple(way(cost, S)) == min(every, key=total)
# assert check("ex-calls-cheapest", way)
# ```
# ````

#
# ## Summary
#
# 1. A DDIM step solves the linear part of the ODE exactly and takes the predicted data for constant. Let it follow a line through the last two predictions, and the order is 2 at one call a step: DPM-Solver++(2M), DDIM with a memory.
# 2. The order of a method says how its error falls when steps are short. At five to twenty calls the levels matter more, and a higher order pays most on levels that suit the data.
# 3. The best variance gives back what a step loses, and is the training loss in other units. With it a stochastic sampler is ahead of DDIM from 20 steps on where the predictor is exact: $\eta = 0$ is best for few steps only within the $\eta$ family.
# 4. Dynamic programming finds the best levels for a sum of single errors from one call a level; least squares finds the best sums. Five fitted calls are ahead of DDIM's twenty on the digits, and even with them on Fashion-MNIST.
# 5. Heun's method in $\nu$ multiplies an error of the noise by the length of its step: from the top of the cosine schedule it fails, and the data's form does not.
#
# **Next.** Read {py:func}`~ddim_edu.steps.fit_weights` and {py:func}`~ddim_edu.variance.best_path`; then train a network for few calls, which chapter 20 does.
