# %% [markdown]
# (ch-fewer-steps)=
# # Fewer steps
#
# **Question.** A network was trained with $T = 1000$ levels. Must sampling call the network 1000 times?

# %% tags=["hide-input"]
import json
import time
from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ddim_edu.data.named import digits
from ddim_edu.data.pictures import from_text
from ddim_edu.exact import GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import q_sample, unmix_x0
from ddim_edu.losses import eps_error
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, sample
from ddim_edu.schedule import SPACINGS, NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Four starts, one in each row. The same noise becomes nearly the same face with 1,000 calls of the network, with 100, with 20. Drawn by `benchmarks/strips.py`, without fresh noise, with the model of faces that comes with the package. (Faces after Pablo Stanley and, under CC BY 4.0, Micah Lanier, Johan Melin and Draftbit; see {doc}`/using`.)", "name": "fig-fewer-faces"}, "image": {"alt": "Four rows of six drawn faces each, for 1,000, 100, 50, 20, 10 and 5 steps. In every row it is the same face throughout: shape and features stay. Down to 20 steps hardly anything changes; at 10 edges are softer and some hair is paler, at 5 the face is blurred and some colours are off."}} tags=["hide-input"]
stored = json.loads(in_repository("results/strips.json").read_text(encoding="utf8"))["rows"]
faces = {}
for row in stored:
    faces[row["eta"], row["S"]] = from_text(row["pictures"], 3, 32, 32)
calls = (1000, 100, 50, 20, 10, 5)
rows = {f"start {i + 1}": torch.stack([faces[0.0, S][i] for S in calls]) for i in range(4)}
picture_rows(rows, [f"S = {S}" for S in calls], width=7);

# %% [markdown]
# No. Read a row from left to right: down to 20 calls, 50 times fewer, the face stays. Below that it blurs. The network is the same in all columns, and nobody told it how many steps would be taken.
#
# What is at stake stands at the beginning of the DDIM paper: drawing 50,000 pictures of 32 × 32 pixels took a DDPM about 20 hours on a 2080 Ti graphics card, and a GAN (a network that
# makes a picture in one call) less than a minute {cite}`song2021ddim`. Nearly all of those hours go into network calls, a thousand for each picture. At the end of this
# chapter you will have checked
#
# - that the family of chapter 4 exists on any sub-sequence of the levels, and why training does not notice which one;
# - what five ways of choosing the levels cost, against an exact truth, and why the best choice differs between schedules;
# - three surprises in widely used code, by arithmetic;
# - how the error falls with the number of calls, on an exact problem and on a trained network;
# - that at $\eta = 0$ one $x_T$ becomes nearly the same picture whatever the number of steps, and at $\eta = 1$ it does not.
#
# The word for this is often "acceleration". Nothing runs faster: the network and the cost of one call stay what they were.
#
# The chapter opens {py:mod}`ddim_edu.schedule` ({py:func}`~ddim_edu.schedule.make_tau`) and {py:mod}`ddim_edu.sampler`.

# %%
generator = torch.Generator().manual_seed(0)
linear, cosine = NoiseSchedule.linear(), NoiseSchedule.cosine()

# %% [markdown]
# ## A process that visits few levels
#
# Choose levels $0 = \tau_0 < \tau_1 < \dots < \tau_S \le T$. The paper (section 4.2 and appendix C.1) writes down a joint distribution of all $x_1, \dots, x_T$ given $x_0$ in
# which only the chosen levels form a chain. All others hang directly on $x_0$:
#
# $$
# \begin{aligned}
# q_{\sigma,\tau}(x_{1:T} \mid x_0) &= q(x_{\tau_S} \mid x_0) \\
# &\;\cdot \prod_{i=2}^{S} q_\sigma(x_{\tau_{i-1}} \mid x_{\tau_i}, x_0) \\
# &\;\cdot \prod_{t \notin \tau} q(x_t \mid x_0) .
# \end{aligned}
# $$ (eq:fewer-joint)
#
# The factors $q_\sigma$ are chapter 4's, with $t = \tau_i$ and $s = \tau_{i-1}$. The mean puts $x_0$ where it belongs at
# level $s$, adds the noise found in $x_t$ scaled to variance $1 - \bar\alpha_s - \sigma^2$, and fresh noise makes up the rest. So if $x_t$ has the marginal
# $\mathcal N(\sqrt{\bar\alpha_t}\, x_0, (1 - \bar\alpha_t) I)$, then $x_s$ has that of level $s$, for a jump of any length, and by induction every level of the chain has.
# The levels outside $\tau$ have it by definition. The next cell makes nine jumps of 100 levels and checks the marginals by sampling (within four standard errors):

# %%
# checks eq:fewer-joint
n, tau = 100_000, make_tau(1000, 10, "trailing").tolist()
x_0 = torch.full((n,), 0.8, dtype=torch.float64)
x = q_sample(x_0, tau[-1], linear, draw(x_0, generator))
for s, t in reversed(list(pairwise(tau))[1:]):
    sigma = linear.sigma(t, s, 0.5)  # eta = 0.5; any other would do
    mean, std = q_sigma(x, x_0, linear.alpha_bar[t], linear.alpha_bar[s], sigma)
    x = mean + std * draw(x, generator)
    variance = 1 - linear.alpha_bar[s]
    off = x.mean() - linear.alpha_bar[s].sqrt() * 0.8
    assert abs(off) < 4 * (variance / n) ** 0.5
    assert abs(x.var() / variance - 1) < 4 * (2 / n) ** 0.5

# %% [markdown]
# ### Why training does not notice
#
# The objective that belongs to this joint has, as in chapter 5, one KL divergence for each step of the chain, and the computation there did not need $s = t - 1$. Take $\sigma > 0$. Both Gaussians of a step have variance $\sigma^2$. Their means differ because the model puts $\hat x_0$ in the place of $x_0$. Write $k = \sqrt{\bar\alpha_s} - \sqrt{1 - \bar\alpha_s - \sigma^2}\,\sqrt{\bar\alpha_t/(1 - \bar\alpha_t)}$ for the factor on $x_0$ in the
# mean. Since $x_0 - \hat x_0 = \sqrt{(1-\bar\alpha_t)/\bar\alpha_t}\,(\hat\epsilon - \epsilon)$,
#
# $$
# \begin{gathered}
# \operatorname{KL} = \gamma_{t \to s}\, \lVert \epsilon - \epsilon_\theta(x_t, t) \rVert^2, \\
# \gamma_{t \to s} = \frac{k^2}{2\sigma^2} \cdot \frac{1 - \bar\alpha_t}{\bar\alpha_t} .
# \end{gathered}
# $$ (eq:fewer-kl)
#
# The last step, to $x_0$, contributes a squared error of $\epsilon$ with a weight too. A level outside $\tau$ contributes nothing, if the model leaves it as the process has it:
#
# ```{prf:theorem} Levels outside tau cancel
# :label: thm-fewer-cancel
# Let $p_\theta(x_t \mid x_0) = q(x_t \mid x_0)$ for $t \notin \tau$. Then the variational bound on $\ln p_\theta(x_0)$ is that of the chain $x_{\tau_S}, \dots, x_{\tau_1}, x_0$ alone.
# ```
#
# ```{prf:proof}
# The model $p_\theta(x_{0:T}) = p_\theta(x_{\tau_S}, \dots, x_{\tau_1}, x_0) \prod_{t \notin \tau} q(x_t \mid x_0)$ is a distribution of all levels, since each factor is a distribution given the variables of the factors before it. Its $x_0$ is distributed like the sampler's. In
# $\ln \bigl(q_{\sigma,\tau}(x_{1:T} \mid x_0) / p_\theta(x_{0:T})\bigr)$ the product over $t \notin \tau$ stands above, by {eq}`eq:fewer-joint`, and below, and cancels. What is left is the quotient of the chain.
# ```
#
# (The paper's appendix C.1 has a factor $p_\theta(x_0 \mid x_t)$ in its place. Such a product has several densities of $x_0$ and is no distribution of all levels, and the divergence of $q(x_t \mid x_0)$ from it compares laws of different variables. What this factor adds is no part of a bound, as the page of {doc}`sources </sources>` shows with numbers.)
#
# So $\tau$ decides which levels count and with which weights, and nothing else. Each term needs only the pair $(x_0, x_t)$, that is, a marginal, and the marginals are the same for every $\tau$. The best prediction at level $t$
# is $E[\epsilon \mid x_t]$ whatever the positive weights are. A network trained with $L_{\text{simple}}$ on all levels has therefore been trained for every sub-sequence: **on $\tau$, the
# loss is $L_{\text{simple}}$ restricted to $t \in \tau$, up to weights.** (A network too small to be right everywhere would care about the weights.)
#
# The check uses a deliberately bad predictor, so that there is an error to weigh. (`eps_error` is a mean over the three coordinates, hence the 3.)

# %%
# checks eq:fewer-kl
def bad(x_t, t):
    return 0.7 * x_t

x_0, eps = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
for s, t in list(pairwise(tau))[1:]:
    abar_t, abar_s, sigma = *linear.alpha_bar[[t, s]], linear.sigma(t, s, 0.5)
    x_t = q_sample(x_0, t, linear, eps)
    x0_hat = unmix_x0(x_t, bad(x_t, t), abar_t)
    true, ours = (q_sigma(x_t, x, abar_t, abar_s, sigma) for x in (x_0, x0_hat))
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(*true), normal(*ours)).sum(1)
    root = (1 - abar_s - sigma**2).sqrt() * (abar_t / (1 - abar_t)).sqrt()
    gamma = (abar_s.sqrt() - root) ** 2 / (2 * sigma**2) * (1 - abar_t) / abar_t
    squared = 3 * eps_error(bad, x_0, torch.full((50,), t), eps, linear)
    assert torch.allclose(kl, gamma * squared, rtol=1e-9)

# %% [markdown]
# So sampling may use any $\tau$. Whether it *should* is another matter: the step puts $\hat x_0$, a prediction, where the derivation had $x_0$. Over a long jump that hurts more. The rest of this chapter measures how much, and where.
#
# ## Where the path bends
#
# Take $\eta = 0$. Divide the step $x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sqrt{1 - \bar\alpha_s}\, \hat\epsilon$ by $\sqrt{\bar\alpha_s}$, do the same at
# level $t$, where $\hat x_0$ and $\hat\epsilon$ make $x_t$, and subtract: $\hat x_0$ cancels. With $\nu_t = \sqrt{(1-\bar\alpha_t)/\bar\alpha_t}$ ("nu", `schedule.nsr`) this is equation 13 of the paper:
#
# $$
# \frac{x_s}{\sqrt{\bar\alpha_s}} = \frac{x_t}{\sqrt{\bar\alpha_t}} + (\nu_s - \nu_t)\, \epsilon_\theta(x_t, t) .
# $$ (eq:fewer-straight)
#
# In the coordinates $\nu$ and $x/\sqrt{\bar\alpha}$ a step is a piece of a straight line with slope $\hat\epsilon$. If the predicted noise did not change on the way, one step from $T$ to 0
# would be exact. **The error of a step comes from the change of $\hat\epsilon$ along it.** Short steps are needed where $\hat\epsilon$ changes fast, and long ones do where it hardly changes.

# %%
# checks eq:fewer-straight
x_t, eps = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
for s, t in pairwise(tau):
    x_s = ddim_step(x_t, eps, linear.alpha_bar[t], linear.alpha_bar[s])
    left = x_s / linear.alpha_bar[s].sqrt()
    run = linear.nsr[s] - linear.nsr[t]
    right = x_t / linear.alpha_bar[t].sqrt() + run * eps
    assert torch.allclose(left, right, rtol=1e-9)

# %% [markdown]
# ### A truth to compare with
#
# On a line the result of infinitely many steps is known. Let $Q_t(u)$ be the $u$-quantile of $q_t$: the share $u$ of the probability lies below it. Take the exact predictor, $\eta = 0$ and ever shorter steps. Then paths on a line cannot cross, and the points keep the distribution $q_t$ at every level (chapter 5 measured that they come near; chapter 7 proves both). So a point that starts at the $u$-quantile stays at the $u$-quantile and ends at $Q_0(u)$. We start 200 points at the quantiles of $\mathcal N(0, 1)$, $u = 0.0025, 0.0075, \dots, 0.9975$, walk, and take the mean of
# $|x_0 - Q_0(u)|$. This mean is also the Wasserstein-1 distance of chapter 5, and no random number is involved. The data is this book's mixture on a line, whose standard deviation is 0.76.

# %%
share_below = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
fine = torch.linspace(-6, 6, 4001, dtype=torch.float64)
standard = torch.special.ndtri(share_below)  # quantiles of N(0, 1)


def quantiles(mixture, t):
    """Q_t(u) for the 200 values of u, from the exact distribution function."""
    abar = mixture.schedule.alpha_bar[t]
    std = (abar * mixture.covs[:, 0, 0] + 1 - abar).sqrt()
    z = (fine[:, None] - abar.sqrt() * mixture.means[:, 0]) / std
    cdf = (mixture.weights * torch.special.ndtr(z)).sum(1)
    return torch.from_numpy(np.interp(share_below, cdf, fine))

# %%
peaks = {
    name: GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
    for name, schedule in (("linear", linear), ("cosine", cosine))
}
truth = quantiles(peaks["linear"], 0)


def error_of(mixture, tau, start=standard):
    """Mean distance from the truth of a deterministic walk down tau."""
    *_, last = ddim_path(mixture.eps, start[:, None], mixture.schedule, tau)
    return (last.x_s[:, 0].sort().values - truth).abs().mean().item()

# %% [markdown]
# ### A spacing made to measure
#
# Now "where the path bends" can be computed. In the coordinates of {eq}`eq:fewer-straight`, a step of length $h$ misses by $\tfrac12 h^2\, |d\epsilon^*/d\nu|$ to leading order. What a miss at level $t$ does to $x_0$ is the derivative $dx_0/d(x_t/\sqrt{\bar\alpha_t})$, and along quantiles that is a quotient of differences. Let $c$ be the product of $|d\epsilon^*/d\nu|$ and this derivative, averaged over the points. The whole error is at most about $\tfrac12 \sum c\, h^2$. Put $r = 1/h$ for the number of steps per unit of $\nu$. Each term $c\, h^2 = (c/r)\, h$ is the height $c/r$ times the length $h$ of its step, so the sum is close to the integral $\int c/r\; d\nu$. The number of steps is $\int r\; d\nu = S$. By
# Cauchy–Schwarz
#
# $$
# \begin{gathered}
# \Bigl(\int \sqrt c\; d\nu\Bigr)^2 \le \int \frac{c}{r}\, d\nu \cdot \int r\; d\nu, \\
# \text{with equality for } r \propto \sqrt c .
# \end{gathered}
# $$ (eq:fewer-density)
#
# The left-hand side does not depend on $r$, so $r \propto \sqrt c$ costs least: a spacing made for this data. This spacing needs the truth: it is no recipe but a ruler for the five practical spacings.

# %%
levels = torch.arange(0, 1001, 5).clamp(min=1)  # 1, 5, 10, ..., 1000


def wanted(mixture):
    """Integral of sqrt(c) up to each level; over the last, the share of steps."""
    n = mixture.schedule.nsr[levels]
    scale = mixture.schedule.alpha_bar[levels].sqrt()
    x = torch.stack([quantiles(mixture, t) for t in levels])
    eps = [mixture.eps(row[:, None], t)[:, 0] for row, t in zip(x, levels)]
    eps = torch.stack(eps)
    bend = (eps.diff(dim=0) / n.diff()[:, None]).abs()
    reach = truth.diff() / (x / scale[:, None]).diff(dim=1)  # dx_0 per miss
    c = (bend[:, 1:] * reach[1:]).mean(1)
    return torch.cat([torch.zeros(1), (c.sqrt() * n.diff()).cumsum(0)])

# %%
def made_to_measure(S, below):
    """S levels up to T, spread as `below` wants."""
    parts = np.arange(S + 1) / S * below[-1].item()
    tau = np.interp(parts, below, levels).round()
    tau[0] = 0
    for i in range(1, S):  # each level once
        tau[i] = max(tau[i], tau[i - 1] + 1)
    return torch.from_numpy(tau).long()


below = {name: wanted(mixture) for name, mixture in peaks.items()}

# %%
for name, b in below.items():
    middle = np.interp(0.5 * b[-1].item(), b, levels)
    snr = peaks[name].schedule.snr[int(middle)]
    assert round(middle) == {"linear": 167, "cosine": 329}[name] and 2.85 < snr < 3.05

# %% tags=["hide-input"]
# checks eq:fewer-density
rows = []
for name, b in below.items():
    dn = peaks[name].schedule.nsr[levels].diff()
    root_c = b.diff() / dn
    for power in (0.5, 0.75, 1.0):  # the last is r = sqrt(c)
        r = root_c**power
        cost = (root_c**2 / r * dn).sum() * (r * dn).sum() / b[-1] ** 2
        rows.append([name, f"√c to the power {power:g}", f"{cost:.1f}"])
        assert cost > 1.1 if power < 1 else abs(cost - 1) < 1e-9
    for S in (50, 100):  # the least cost is half of (integral of sqrt(c))^2 / S
        actual = error_of(peaks[name], made_to_measure(S, b))
        share = actual / (0.5 * b[-1].item() ** 2 / S)
        assert 0.58 < share < 0.75
Table(["schedule", "density r", "cost, over the least"], rows)

# %% [markdown]
# In the coordinates $\nu$ and $x/\sqrt{\bar\alpha}$ the path of a quantile is the same curve for every schedule. So the schedules put the bends at different levels and at nearly the same SNR: half the steps belong below level 167 with the linear schedule, SNR 2.9, and below 329 with the cosine, SNR 3.0. The bends belong to the data, the labels to the schedule. The table is {eq}`eq:fewer-density`: other densities cost more. At $S = 50$ and 100 the actual error is 0.59 to 0.74 of the bound.
#
# ## Five spacings
#
# The package has five, by name: `make_tau(T, S, "leading")`, and so on. When none is named, the package takes `"trailing"`. What its start at $T$ is worth is measured {ref}`below <sec-fewer-start>`.
#
# | name | levels |
# |---|---|
# | `"trailing"` | $T, T - T/S, \dots$, rounded {cite}`lin2024flawed` |
# | `"leading"` | $1, 1 + m, 1 + 2m, \dots$ with $m = \lfloor T/S \rfloor$; the official code's "uniform"; for $S = 10$ it starts at 901 |
# | `"linspace"` | equal steps from 1 to $T$, both included |
# | `"quadratic"` | squares of equal steps, up to $0.8\, T$: dense near the data; the official code's other choice |
# | `"quadratic-full"` | the same shape up to $T$ |

# %% mystnb={"figure": {"caption": "Ten levels of each spacing, and of the one made to measure, for the linear schedule. Left by t, right by the logarithm of the SNR. The shaded curve is the density of the wanted steps along each axis.", "name": "fig-fewer-spacings"}, "image": {"alt": "Two panels with six rows of ten dots. By t, leading, linspace and trailing are even, the two quadratic rows and the made-to-measure row crowd towards the data at small t. By log SNR, the even spacings have at most one dot above log SNR 3, where a quarter of the shaded hill lies, while the quadratic rows have several."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=3.7, sharey=True)
rows = {name: make_tau(1000, 10, name)[1:] for name in SPACINGS}
rows["made to measure"] = made_to_measure(10, below["linear"])[1:]
for row, chosen in enumerate(rows.values()):
    left.plot(chosen, [-row] * 10, "o", markersize=4)
    right.plot(linear.snr[chosen].log(), [-row] * 10, "o", markersize=4)
wants = below["linear"].diff()
for ax, place in ((left, levels.double()), (right, linear.snr[levels].log())):
    height = wants / place.diff().abs()
    middle = (place[1:] + place[:-1]) / 2
    top = -5.5 + 5.5 * height / height.max()
    ax.fill_between(middle, -5.5, top, color="0.85", zorder=0)
left.set(xlabel="level t", yticks=range(0, -6, -1), yticklabels=rows)
right.set(xlabel="log SNR, data to the right");

# %% tags=["hide-input"]
near = {name: int((linear.snr[chosen] > 1).sum()) for name, chosen in rows.items()}
assert near["quadratic"] == 6 and near["trailing"] == 2
lines = [[name, int(rows[name][-1]), near[name]] for name in rows]
Table(["spacing", "starts at level", "of ten levels, with SNR above 1"], lines)

# %% [markdown]
# Now the error, for five numbers of steps, on both schedules.

# %%
steps = (5, 10, 20, 50, 100)
errors = {
    (name, spacing, S): error_of(mixture, make_tau(1000, S, spacing))
    for name, mixture in peaks.items()
    for spacing in SPACINGS
    for S in steps
}
for name, b in below.items():
    for S in steps:
        tau = made_to_measure(S, b)
        errors[name, "made to measure", S] = error_of(peaks[name], tau)

# %% tags=["hide-input"]
lines = [
    [spacing, name, *(f"{errors[name, spacing, S]:.4f}" for S in steps)]
    for name in peaks
    for spacing in (*SPACINGS, "made to measure")
]
Table(["spacing", "schedule", *(f"S = {S}" for S in steps)], lines)

# %%
for S in steps:
    rest = [errors["linear", spacing, S] for spacing in SPACINGS]
    assert errors["linear", "made to measure", S] < min(rest)
    assert errors["linear", "quadratic", S] == min(rest) < 0.75 * min(rest[:3])
for S in steps:
    for other in ("linspace", "trailing", "quadratic-full"):  # they start at T
        measured = errors["cosine", "made to measure", S]
        assert measured < errors["cosine", other, S]
for S in (20, 50, 100):
    rest = {spacing: errors["cosine", spacing, S] for spacing in SPACINGS}
    assert min(rest, key=rest.get) == "leading"
assert errors["cosine", "quadratic", 100] > 5 * errors["cosine", "leading", 100]

# %% [markdown]
# On the **linear** schedule the order is as predicted. The bends lie at small $t$. The even spacings (the first three) step over them. Quadratic spacing does not, and its error is less than three quarters of theirs. The paper indeed used quadratic spacing for CIFAR-10 (appendix D.2), and a linear schedule. The spacing made to measure is best in every column.
#
# On the **cosine** schedule even spacing in $t$ is already close to what the data wants. The squares have little to mend: up to $S = 20$ `quadratic-full` is behind `trailing`. Two rows surprise. Leading beats even the spacing made to measure, up to $S = 50$; and quadratic stops improving at $S = 20$. Both surprises have the same cause: these two spacings start below $T$.
#
# ### Starting below $T$
#
# The sampler draws its start from $\mathcal N(0, I)$ at level $\tau_S$. If $\tau_S < T$, the right distribution there is another one: $q_{\tau_S}$ still holds data. We measure the distance of $\mathcal N(0,1)$
# from $q_{\tau_S}$, and then repeat the walk from the right start, the quantiles of $q_{\tau_S}$.

# %% tags=["hide-input"]
lines = []
for name, mixture in peaks.items():
    for t in (801, 901, 1000):
        kept = mixture.schedule.alpha_bar[t].sqrt()
        off = (standard - quantiles(mixture, t)).abs().mean()
        lines.append([name, t, f"{kept:.3f}", f"{off:.4f}"])
Table(["schedule", "start at level", "left of the data, √ᾱ", "start off by"], lines)

# %% tags=["hide-input"]
right_start = {}
for name, spacing, S in [("cosine", "quadratic", 100), ("cosine", "leading", 10)]:
    mixture, tau = peaks[name], make_tau(1000, S, spacing)
    start = quantiles(mixture, int(tau[-1]))
    right_start[spacing] = error_of(mixture, tau, start)
assert right_start["quadratic"] < errors["cosine", "quadratic", 100] / 5
assert right_start["leading"] > errors["cosine", "leading", 10]
keys = ("quadratic", 100), ("leading", 10)
lines = [
    [f"{k}, S = {S}", f"{errors['cosine', k, S]:.4f}", f"{right_start[k]:.4f}"]
    for k, S in keys
]
Table(["cosine", "error", "error from the right start"], lines)

# %% [markdown]
# The official code uses its factor 0.8 with the linear schedule, where $\sqrt{\bar\alpha_{801}} = 0.039$ and the wrong start costs little. On the cosine schedule $\sqrt{\bar\alpha_{801}} = 0.305$: the start is
# wrong by 0.04, no later step mends it, and this is the floor in the table of errors. A spacing belongs to its schedule.
#
# The last line is less comfortable. With `"leading"` and $S = 10$ (a start at 901), the *wrong* start gives the *smaller* error. Two errors of opposite sign cancel in part: at $S = 10$ the whole lead of leading over the ruler (0.0505) in
# the cosine table is luck on this data. A benchmark that looks only at the end cannot tell.
#
# **Try it.** The same errors for other numbers of steps, and where they come from. The height of a bar is what one step costs when all else is exact: points that sit at the quantiles of $q_t$
# make this step of DDIM and are then carried to the data without error, and the bar is their mean distance from where they should be. A purple bar is the cost of the start. Change
# the schedule: by the level $t$ the expensive places move, by $\nu$ (the clock, as chapter 7 will call it) they stay nearly where they were. Then look at what the start costs each spacing under the cosine.
#
# <div class="explore" data-explore="spacings">
#
# On the book's web pages a picture stands here that moves with a slider for $S$ and a choice of the schedule. {numref}`fig-fewer-spacings` shows the levels for $S = 10$.
#
# </div>
#
# ## Three surprises in other people's code
#
# **Asking for $S$ and getting another number.** The official code's uniform spacing is `range(0, T, T // S)`. It has $S$ levels only if the division is kind.
#
# **Repeats.** The official code's quadratic spacing rounds $S$ squares down, and near 0 they collide. The sampler then steps from a level to itself, which changes nothing and costs a call.

# %% tags=["hide-input"]
asked = []
for S in (10, 300, 600):
    uniform = range(0, 1000, 1000 // S)
    asked.append(["uniform", S, len(uniform), uniform[-1] + 1])
    assert len(make_tau(1000, S, "leading")) == S + 1
for S in (50, 100, 1000):
    square = [int(v) for v in np.linspace(0, np.sqrt(0.8 * 1000), S) ** 2]
    asked.append(["quadratic", S, len(set(square)), square[-1] + 1])
    ours = make_tau(1000, S, "quadratic")
    assert len(set(ours.tolist())) == S + 1 and len(ours) == S + 1
Table(["official code", "asked for S", "different levels", "the top"], asked)

# %% [markdown]
# {py:func}`~ddim_edu.schedule.make_tau` gives exactly $S$ distinct levels for every $S$ from 1 to $T$: for `"leading"` it takes the first $S$, and for the squares a repeat moves up to the next free level.
#
# **Two sources for one list.** The library `diffusers` makes a list of timesteps, counted from 0, and walks down it. But, at the time of writing, its DDIM step does not look up where the walk goes next: it
# recomputes the target as $t - \lfloor T/S \rfloor$ (issues 9261, 11347 and 12633 of its repository). With `"leading"` list and recomputed target agree. With `"linspace"` they do not, since the gaps there are not $\lfloor T/S \rfloor$.

# %%
S = 10
visits = np.linspace(0, 999, S).round().astype(int)[::-1]  # counted from 0
listed = [*visits[1:].tolist(), -1]  # -1 is the data
recomputed = [max(int(t) - 1000 // S, -1) for t in visits]
print("called at ", visits.tolist())
print("walks to  ", recomputed)
print("labels it ", listed)
assert [a - b for a, b in zip(recomputed, listed)] == 9 * [11] + [0]

# %% tags=["hide-input"]
outcome, lines = {}, []
for name, targets in (("listed", listed), ("recomputed", recomputed)):
    x = standard[:, None]
    for t, s in zip(visits.tolist(), targets):  # + 1: our level 0 is the data
        eps = peaks["linear"].eps(x, t + 1)
        x = ddim_step(x, eps, linear.alpha_bar[t + 1], linear.alpha_bar[s + 1])
    outcome[name] = (x[:, 0].sort().values - truth).abs().mean().item()
    lines.append([name, f"{outcome[name]:.3f}", f"{x.std():.3f}"])
assert abs(outcome["listed"] - errors["linear", "linspace", 10]) < 1e-6
assert outcome["recomputed"] < outcome["listed"]
Table(["target", "error", "standard deviation"], lines)

# %% [markdown]
# Nine of ten targets are off by 11 levels: a state made for level 899 (counted from 0) is handed to the network as level 888. The state holds more noise than its label says. On this problem the error is
# *smaller* than with the right list. The standard deviations suggest why: few steps leave the cloud too narrow (the data has 0.76), and the surplus noise gives some width back. So this is
# no evidence that the fault is harmless, but that an end result can hide a fault, and that a step should be tested by itself.
#
# ## Cost against quality
#
# How fast does the error fall? A step of length $h$ misses by something proportional to $h^2$. There are $S \propto 1/h$ steps, so the whole error should fall like $1/S$: slope $-1$ on logarithmic axes. At $\eta = 1$ the
# walk is random, so there we draw 5,000 samples, sort them and compare with quantiles. The same distance for 5,000 true draws is the floor of that measurement.

# %%
n = 5_000
ranks = (torch.arange(n, dtype=torch.float64) + 0.5) / n
exact_n = torch.from_numpy(np.interp(ranks, share_below, truth))
def distance(x):
    return (x.flatten().sort().values - exact_n).abs().mean().item()


mixture = peaks["linear"]
floor = np.mean([distance(mixture.sample(n, generator)) for _ in range(5)])
noisy = {}
for S in steps:
    tau = make_tau(1000, S)
    x = sample(mixture.eps, (n, 1), linear, tau, eta=1.0, generator=generator)
    noisy[S] = distance(x.double())

# %%
quiet = [errors["linear", "trailing", S] for S in steps]
slope = np.polyfit(np.log(steps[1:]), np.log(quiet[1:]), 1)[0]
assert abs(slope + 0.97) < 0.01  # from S = 10 on
assert all(noisy[S] > 1.2 * errors["linear", "trailing", S] for S in (10, 20, 50))

# %% [markdown]
# At $\eta = 0$ the error falls as predicted, with a slope of $-0.97$ from $S = 10$ on. At $\eta = 1$ the error is larger at the same number of calls: a Gaussian of preset width is a poor stand-in for what lies behind a long jump (chapter 1), and the
# more fresh noise a step takes, the more variance it loses (chapter 5; {ref}`ch-fewer-calls`).
#
# ### A promise of chapter 1
#
# Chapter 1 ran a chain of 100 steps at $\eta = 1$ on data with a tenth of the points in its left peak. It found 9.3% there, three standard errors short, and said that a hundred steps are a little coarse. Was the lack coarseness, or chance? We compute the share without sampling. Let $f_s(x)$ be the probability that a walk which is at $x$ at level $s$ ends in
# the left peak, that is, below $-0.3$. At level 0, $f_0$ is 1 or 0. One step up the probability is an average over the noise of the step, $f_t(x) = E\,[f_s(\text{mean}(x) + \sigma z)]$, which a sum over 24 well-chosen
# points (Gauss–Hermite quadrature) gives on a grid. At the top, average over $\mathcal N(0,1)$.

# %%
grid = np.linspace(-7.01, 6.99, 701)  # -0.3 is half-way between two points
nodes, node_weights = np.polynomial.hermite_e.hermegauss(24)
node_weights = node_weights / node_weights.sum()
start_weights = np.exp(-(grid**2) / 2)
start_weights = start_weights / start_weights.sum()

# %%
def share_left(mixture, tau, eta):
    """The probability that a walk ends below -0.3."""
    schedule, f = mixture.schedule, (grid < -0.3).astype(float)
    for s, t in pairwise(tau.tolist()):
        x = torch.from_numpy(grid)[:, None]
        sigma = schedule.sigma(t, s, eta).item()
        abar = schedule.alpha_bar[t], schedule.alpha_bar[s]
        mean = ddim_step(x, mixture.eps(x, t), *abar, sigma, 0 * x).numpy()
        to = mean + sigma * nodes if sigma > 0 else mean
        weights = node_weights if sigma > 0 else np.ones(1)
        f = CubicSpline(grid, f)(to.clip(grid[0], grid[-1])) @ weights
    return float(f @ start_weights)

# %% tags=["hide-input"]
def rare(made):
    return GaussianMixture([0.1, 0.9], [[-1.2], [0.65]], 0.03, made)

counts = (5, 10, 20, 50, 100, 200)
share = {
    (S, eta): share_left(rare(linear), make_tau(1000, S, "trailing"), eta)
    for S in counts
    for eta in (0.0, 1.0)
}
chain = NoiseSchedule.linear(T=100, beta_start=1e-3, beta_end=0.2)  # chapter 1's
hundred = share_left(rare(chain), make_tau(100, 100), 1.0)
assert abs(100 * hundred - 9.42) < 0.01  # in percent
assert 0.09 < hundred < 0.097
assert abs(share[200, 0.0] - 0.1) < abs(share[200, 1.0] - 0.1) < 0.005
lines = [[S, f"{share[S, 0.0]:.1%}", f"{share[S, 1.0]:.1%}"] for S in counts]
Table(["steps S", "in the rare peak, η = 0", "η = 1"], lines)

# %%
tau = make_tau(1000, 10, "trailing")  # and by sampling, within four standard errors
x = sample(rare(linear).eps, (20_000, 1), linear, tau, eta=1.0, generator=generator)
off = (x < -0.3).double().mean() - share[10, 1.0]
assert abs(off) < 4 * (share[10, 1.0] * (1 - share[10, 1.0]) / 20_000) ** 0.5

# %% mystnb={"figure": {"caption": "Cost against quality on exact problems. Left: distance of the samples from the data, linear schedule. The dotted line is how far 5,000 true draws lie from the data, so the sampled curve, η = 1, can hardly fall below it; the curve of η = 0 is computed without draws and can. Right, in the same colours: the share of the samples in a peak that holds a tenth of the data (dotted); the diamond is the chain of chapter 1.", "name": "fig-fewer-cost"}, "image": {"alt": "Two plots against the number of network calls on a logarithmic axis. Left: the error for eta 0 falls in a nearly straight line from about 0.2 at 5 calls to 0.01 at 100; eta 1 stays above it, and above a dotted floor that eta 0 falls below. Right: the share rises towards 10 percent for both, from below, and faster for eta 0."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=3.5)
left.loglog(steps, quiet, "o-", label=r"$\eta = 0$")
left.loglog(steps, list(noisy.values()), "s-", label=r"$\eta = 1$")
left.axhline(floor, color="gray", linestyle=":", label="5,000 true draws")
left.set(xlabel="network calls S", ylabel="distance")
left.legend(fontsize=8)
for eta, marker in ((0.0, "o-"), (1.0, "s-")):
    right.semilogx(counts, [100 * share[S, eta] for S in counts], marker)
right.axhline(10, color="gray", linestyle=":")
right.semilogx([100], [100 * hundred], "D", color=COLOURS[2], label="chapter 1")
right.set(xlabel="network calls S", ylabel="share in the peak, %")
right.legend(fontsize=8);

# %%
missing = {eta: 0.1 - share[10, eta] for eta in (0.0, 1.0)}
assert 0 < missing[0.0] < missing[1.0]

# %% [markdown]
# The lack was coarseness. With its hundred steps the chain of chapter 1 gives 9.42% and cannot give 10%, however many samples one draws. Few steps starve the rare peak at either $\eta$, and at $\eta = 1$ more. On this data, the rare kind is
# what fewer steps lose.
#
# ## A trained network
#
# The digits model that comes with the package has $T = 1000$ levels on the cosine schedule. A trained network adds a trap that no exact predictor shows. The next cell starts at $t = T$ without precaution:

# %%
digits_model, data = load("digits"), digits()
model, schedule = digits_model.model, digits_model.schedule
real = data.floats(data.train).flatten(1).double()


def walk(x_T, S, eta=0.0, spacing="trailing", clip=1.0, noise_seed=1):
    """x_0 of the trained model from a given x_T."""
    fresh = torch.Generator().manual_seed(noise_seed)
    tau = make_tau(1000, S, spacing)
    options = dict(eta=eta, generator=fresh, clip=clip)
    with torch.no_grad():
        *_, last = ddim_path(model, x_T, schedule, tau, **options)
    return last.x_s

# %%
x_T = torch.randn(384, 1, 8, 8, generator=generator)
loose = walk(x_T[:16], 10, clip=None)
held = walk(x_T[:16], 10, clip=1.0)
assert 20_000 < schedule.alpha_bar[-1] ** -0.5 < 21_000
assert loose.abs().mean() > 50 and held.abs().max() < 1.1
below_T = walk(x_T[:16], 10, spacing="leading", clip=None)  # from 901
assert below_T.abs().mean() < 1.1

# %% [markdown]
# The prediction $\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \hat\epsilon)/\sqrt{\bar\alpha_t}$ multiplies the network's error by $1/\sqrt{\bar\alpha_T} \approx 20{,}000$ there: the pixels, which should lie in $[-1, 1]$, come out with a mean size above 50. Clipping $\hat x_0$ to $[-1, 1]$ at every step avoids the worst. So does starting below $T$, but then the start is wrong.
#
# (sec-fewer-start)=
# ### Which start
#
# `leading` with $S = 10$ starts at 901. In training, every $x_t$ that the network saw at that level held a picture, times $\sqrt{\bar\alpha_{901}} = 0.15$. The sampler hands the network pure noise. `trailing` asks the network at level $T$ first, where training did show pure noise, up to one part in 20,000 {cite}`lin2024flawed`. Which matters more, the wrong start or the network's error at $T$? The larger model, of clothes (Fashion-MNIST), was measured with both, clipped: three seeds of 250 pictures for
# each number, in the classifier distance of chapter 11 (smaller is better).

# %% tags=["hide-input"]
measured = json.loads(in_repository("results/table1_fashion-mnist.json").read_text())
assert measured["protocol"]["clip"] == 1.0
cells = {}
for row in measured["rows"]:
    if row["eta"] == 0 and row["steps"] <= 20:
        key = row["spacing"], row["steps"]
        cells.setdefault(key, []).append(row["value"])
lines = []
for S in (5, 10, 20):
    lead, trail = cells["leading", S], cells["trailing", S]
    lines.append([S, f"{np.mean(lead):.1f}", f"{np.mean(trail):.1f}"])
    assert len(lead) == len(trail) == 3
    assert all(a < b for a, b in zip(trail, lead))  # seed by seed
assert np.mean(cells["leading", 5]) > 8 * np.mean(cells["trailing", 5])
Table(["steps S", "distance, leading", "distance, trailing"], lines)

# %% [markdown]
# On clothes the start matters more, and most where steps are few: with five steps `trailing` has less than an eighth of the distance of `leading`. From here on: `"trailing"` and `clip=1.0`, the package's defaults.
#
# A network that says $v$ errs less at $T$ ({eq}`eq:error-scale`). The digits' recipe, trained three times with each target ({doc}`chapter 11's </chapters/11_measuring>` distance, $S = 20$; `benchmarks/digits_choices.py`):

# %% tags=["hide-input"]
trained = json.loads(in_repository("results/digits_choices.json").read_text())
far = {}
for row in trained["rows"]:
    for eta in (0, 1):
        value = row[f"eta {eta}"]["distance"]
        far.setdefault((row["choice"], eta), []).append(value)
assert len(trained["rows"]) == 9  # three are of bf16
assert max(far["v", 0]) < 0.7 * min(far["eps", 0])
assert max(far["v", 0]) < min(far["v", 1])  # in every run
assert max(far["eps", 1]) < min(far["eps", 0])
lines = [[k, *(f"{np.mean(far[k, eta]):.2f}" for eta in (0, 1))] for k in ("eps", "v")]
Table(["the network says", "distance, η = 0", "distance, η = 1"], lines)

# %% [markdown]
# With $\epsilon$, fresh noise helps: without it the error made at $T$ stays. With $v$, DDIM is ahead. On clothes one can see why:

# %% mystnb={"figure": {"caption": "Ten starts, one of each kind, ten steps of DDIM by two networks that learned from the same pictures: one says $\\epsilon$, the other $v$. Above, for each, its first guess of $x_0$, at level $T$; below, where its path ends.", "name": "fig-fewer-torn"}, "image": {"alt": "Four rows of ten pieces of clothing. The first guess of the network that says epsilon is black and white speckle; some of its pieces end torn into black and white patches. The first guess of the network that says v is a soft grey mean of the kind, and its pieces end whole."}} tags=["hide-input"]
starts = torch.randn(10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
rows, black_or_white = {}, {}
for name, says in (("fashion-mnist", "ε"), ("fashion-mnist-v", "v")):
    clothes = load(name)
    ten = make_tau(clothes.schedule.T, 10, "trailing")
    eps_theta = clothes.eps_theta(torch.arange(10))
    with torch.no_grad():
        path = list(ddim_path(eps_theta, starts, clothes.schedule, ten, clip=1.0))
    rows[f"{says}, first"], rows[f"{says}, end"] = path[0].x0_hat, path[-1].x_s
    black_or_white[says] = (path[0].x0_hat.abs() >= 1).double().mean()
assert black_or_white["ε"] > 0.99 and black_or_white["v"] < 0.2
picture_rows(rows, width=7);

# %% [markdown]
# There is nothing to see at $T$: the best guess is the mean of the kind. The network that says $v$ gives it. For the one that says $\epsilon$, an error of 0.01 becomes one of 200 in $\hat x_0$, and clipping makes it black or white. Later steps mend most of it, not all.
#
# ### How good are the samples?
#
# We need one number, cheap and honest. For independent draws $X, X'$ from the model and $Y, Y'$ from the data, the **energy distance** $2E\lVert X - Y\rVert - E\lVert X - X'\rVert - E\lVert Y - Y'\rVert$ is never
# negative, and 0 only if both distributions are the same {cite}`szekely2013energy`. Estimated from pairs of *different* images it is unbiased, so its floor is 0, up to its standard error; the estimate may dip below.
# The norm is taken on the 64 pixels. This is **not FID**, compares with nothing outside this chapter, and sees what pixel distances see. (Chapter 11 is about FID.)

# %%
among_real = torch.cdist(real, real).sum() / len(real) / (len(real) - 1)


def energy(images):
    """Energy distance to the training images, and its standard error."""
    x = images.flatten(1).double()
    to_real = torch.cdist(x, real).mean(1)
    among = torch.cdist(x, x).sum(1) / (len(x) - 1)
    error = 2 * (to_real - among).std() / len(x) ** 0.5
    return (2 * to_real - among).mean().item() - among_real.item(), error.item()

# %% tags=["hide-input"]
few = (5, 10, 20)
quality = {(eta, S): energy(walk(x_T, S, eta)) for eta in (0.0, 1.0) for S in few}
for S in few:
    quality[f"leading, S = {S}"] = energy(walk(x_T, S, spacing="leading"))
quality["held-out digits"] = energy(data.floats(data.heldout))
lines = []
for key, (value, error) in quality.items():
    name = key if isinstance(key, str) else f"η = {key[0]:.0f}, S = {key[1]}"
    lines.append([name, f"{1000 * value:.0f} ± {1000 * error:.0f}"])
Table(["", "energy distance, thousandths"], lines)

# %% mystnb={"figure": {"caption": "Energy distance of 384 samples of the digits model to the training images, with two standard errors. The band is the same for 200 held-out real digits; with 20 calls both curves have come down to it. All runs share their starts.", "name": "fig-fewer-quality"}, "image": {"alt": "Plot of energy distance against 5, 10 and 20 network calls. At 5 calls the points of eta 0 and eta 1 lie close together and far above the grey band around zero of the held-out digits, at 10 near its upper edge, at 20 within it."}} tags=["hide-input"]
fig, ax = figure(height=3.4)
for eta, marker, shift in ((0.0, "o", 0.97), (1.0, "s", 1.03)):
    values, bars = zip(*(quality[eta, S] for S in few))
    ax.errorbar(
        [S * shift for S in few], values, [2 * bar for bar in bars],
        marker=marker, linestyle="-", capsize=3, label=rf"$\eta = {eta:.0f}$",
    )
value, bar = quality["held-out digits"]
band = (value - 2 * bar, value + 2 * bar)
ax.axhspan(*band, color="0.88", zorder=0, label="held-out digits")
ax.set(xscale="log", xticks=few, xticklabels=few, xlabel="network calls S")
ax.minorticks_off()
ax.set_ylabel("energy distance")
ax.legend();

# %%
value, error = quality["held-out digits"]
assert abs(value) < 4 * error
for S in few:
    (a, a_error), (b, b_error) = quality[0.0, S], quality[1.0, S]
    ahead = (b - a) / (a_error**2 + b_error**2) ** 0.5
    assert abs(ahead) < 0.6  # standard errors
    assert quality["leading, S = 5"][0] < quality[0.0, 5][0] - 2 * quality[0.0, 5][1]
assert abs(quality[0.0, 20][0]) < 2 * quality[0.0, 20][1]
assert abs(quality[0.0, 20][0] - quality["leading, S = 20"][0]) < 10e-3
assert all(quality[eta, 5][0] > 5 * quality[eta, 5][1] for eta in (0.0, 1.0))

# %% [markdown]
# The two lines differ by at most 0.6 standard errors. This statistic with this many images cannot tell $\eta = 0$ from $\eta = 1$; a finer claim would need more images. But it answers this chapter's question for these digits: at $\eta = 0$, it cannot tell images of twenty calls from real ones. Five calls are too few. With so few `leading` does better, unlike on the clothes: here the network's error at $T$ seems to cost more. At twenty calls no difference is seen. The paper's Table 1 makes the finer claim, with 50,000
# images at each setting: on CIFAR-10 at $S = 10$, FID (smaller is better) 13.36 for $\eta = 0$ and 41.07 for $\eta = 1$; at $S = 1000$, 4.04 and 4.73.
#
# ## The same start, other numbers of steps
#
# At $\eta = 0$ all walks, long or short, approximate the same curve. So one $x_T$ should become the same picture, roughly at small $S$ and better as $S$ grows (the paper's section 5.2 calls it
# *consistency*). At $\eta = 1$ fresh noise enters, and which picture comes out is decided on the way. The faces of {numref}`fig-fewer-faces`, and beside two of them the same starts with fresh noise:

# %% mystnb={"figure": {"caption": "Two starts, each without fresh noise (η = 0) and with it (η = 1). Without it a row shows one face. With it the face changes with S: other hair, other skin, other clothes.", "name": "fig-fewer-consistency"}, "image": {"alt": "Four rows of six drawn faces for 5, 10, 20, 50, 100 and 1,000 steps. First and third row, eta 0: one face each, blurred at 5 steps and clear from 20 on. Second and fourth row, eta 1: clear faces with other hair, glasses, skin and clothes from column to column."}} tags=["hide-input"]
rows = {}
for i, name in ((0, "start 1"), (3, "start 4")):
    for eta in (0.0, 1.0):
        label = f"{name}\nη = {eta:.0f}"
        rows[label] = torch.stack([faces[eta, S][i] for S in reversed(calls)])
picture_rows(rows, [f"S = {S}" for S in reversed(calls)], width=7);

# %% [markdown]
# In numbers, for 32 starts of the digits model: root-mean-square differences per pixel, on a scale from $-1$ to 1.

# %%
sizes, from_one = (5, 10, 20, 50, 100), x_T[:32]
calm = {S: walk(from_one, S) for S in sizes}
shaken = {S: walk(from_one, S, eta=1.0, noise_seed=S) for S in (20, 50)}
def apart(a, b):
    return (a - b).square().flatten(1).mean(1).sqrt().mean().item()


to_longest = {S: apart(calm[S], calm[100]) for S in sizes[:-1]}
other = apart(shaken[20], shaken[50])
falling = list(to_longest.values())
assert falling[0] > falling[1] > falling[2] > falling[3]
assert other > 2 * apart(calm[20], calm[50])

# %% tags=["hide-input"]
unrelated = apart(calm[100], calm[100].roll(1, 0))
assert falling[3] < 0.3 * unrelated and other > 0.7 * unrelated
lines = [[f"η = 0, S = {S} against 100", f"{d:.2f}"] for S, d in to_longest.items()]
lines += [["η = 1, S = 20 against 50", f"{other:.2f}"]]
lines += [["different starts, η = 0, S = 100", f"{unrelated:.2f}"]]
Table(["two samples", "distance"], lines)

# %% [markdown]
# At $\eta = 1$ two runs from the same start are about as far apart as samples from different starts: $x_T$ decides little there. At $\eta = 0$ the start $x_T$ decides everything. The curve that the steps approximate leads from each $x_T$ to one $x_0$: a code of the picture.
# Chapter 7 runs it backwards and chapter 12 moves about in it.
#
# ## Counting calls, and seconds
#
# We compare DDPM with all 1000 steps and DDIM with 10, 20 and 50, one picture each, by the same network. The calls are counted exactly, by a predictor that counts. Seconds depend on the
# machine, so we assert only that they follow the calls within a factor of four.

# %%
calls = 0


def counting(x_t, t):
    global calls
    calls += 1
    return model(x_t, t)

# %%
seconds = {}
for S, eta in ((10, 0.0), (20, 0.0), (50, 0.0), (1000, 1.0)):
    tau, took = make_tau(1000, S), []
    for _ in range(3 if S < 1000 else 2):
        calls, clock = 0, time.perf_counter()
        sample(counting, (1, 1, 8, 8), schedule, tau, eta=eta, clip=1.0)
        took.append(time.perf_counter() - clock)
        assert calls == S
    seconds[S] = min(took)
for S in (10, 20, 50):
    fewer, faster = 1000 / S, seconds[1000] / seconds[S]
    assert fewer / 4 < faster < fewer * 4

# %% [markdown]
# If calls are all that costs, twenty per picture make twenty-four minutes of the twenty hours. A GAN's minute stays out of reach.
#
# ## What breaks: one-step formulas on long jumps
#
# DDPM's sampler is usually printed for $s = t - 1$:
#
# $$
# x_s = \frac{1}{\sqrt{\alpha}} \Bigl( x_t - \frac{1 - \alpha}{\sqrt{1 - \bar\alpha_t}}\, \epsilon_\theta \Bigr) + \sqrt{\tfrac{1 - \bar\alpha_s}{1 - \bar\alpha_t} (1 - \alpha)}\; z
# $$ (eq:fewer-ddpm-step)
#
# with $\alpha = \alpha_t$. A tempting shortcut to fewer steps is to keep the formula and call it only at the levels of $\tau$. No shape is wrong and no value is out of range. But $\alpha_t$ says what **one** level keeps. A
# jump from $t$ to $s$ needs the product of all levels in between, $\alpha = \bar\alpha_t/\bar\alpha_s$; with that, the formula is the step at $\eta = 1$, for any jump.

# %%
# checks eq:fewer-ddpm-step
mixture, tau = peaks["linear"], make_tau(1000, 50, "trailing").tolist()
spread, wrong = {}, {}
for name in ("one level", "product"):
    x = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    for s, t in reversed(list(pairwise(tau))):
        abar_t, abar_s = linear.alpha_bar[t], linear.alpha_bar[s]
        alpha = linear.alpha_step[t] if name == "one level" else abar_t / abar_s
        eps, z = mixture.eps(x, t), draw(x, generator)
        std = ((1 - abar_s) / (1 - abar_t) * (1 - alpha)).sqrt()
        mean = (x - (1 - alpha) / (1 - abar_t).sqrt() * eps) / alpha.sqrt()
        same = ddim_step(x, eps, abar_t, abar_s, linear.sigma(t, s, 1.0), z)
        x = mean + std * z
        assert name == "one level" or torch.allclose(x, same, atol=1e-9)
    spread[name], wrong[name] = x.std().item(), distance(x)

# %% tags=["hide-input"]
assert wrong["one level"] > 4 * wrong["product"]
lines = [[k, f"{spread[k]:.2f}", f"{wrong[k]:.2f}"] for k in spread]
lines += [["the data", f"{truth.std():.2f}", "0"]]
Table(["α of", "standard deviation", "distance"], lines)

# %%
(abar_t, abar_s), ratio = linear.alpha_bar[[100, 80]], {}
for name, alpha in (("one level", linear.alpha_step[100]), ("product", abar_t / abar_s)):
    on_eps = (alpha - abar_t) / ((1 - abar_t) * alpha).sqrt()  # factor of the true eps
    variance = on_eps**2 + (1 - abar_s) / (1 - abar_t) * (1 - alpha)
    ratio[name] = variance / (1 - abar_s)
assert abs(ratio["one level"] - 1.47) < 0.005 and abs(ratio["product"] - 1) < 1e-9

# %% [markdown]
# With 50 of 1000 levels, the shortcut makes the change of one level for every twenty that it passes, and then treats the state as if it had made the change of all twenty. Nothing warns. The last
# cell is the test that catches it: start from $x_t$ with known $x_0$, put the true $\epsilon$ in the place of $\epsilon_\theta$, and compare the variance of $x_s$ with $1 - \bar\alpha_s$, here for the step from 100 to 80: the shortcut leaves 1.47 times that variance.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: a single step
# :label: ex-fewer-one
# *Derive · one star · 10 minutes*
#
# What does the sampler return for $S = 1$, $\tau = (0, T)$? Show that it does not depend on $\eta$, and that for an exact predictor all samples are close to the mean of the data.
# Hand in a function `one_step(x_T, eps, abar_T)` that returns what the sampler does: `check("ex-fewer-one", one_step)`.
# ```
#
# ````{solution} ex-fewer-one
# :class: dropdown
# At $s = 0$, $\bar\alpha_s = 1$ and $\sigma_{T \to 0}(\eta) = 0$, so $x_0 = \hat x_0 = E[x_0 \mid x_T]$. Since $x_T$ says almost nothing about $x_0$, this is nearly $E[x_0]$. One call gives the average of the data: not a
# sample at all.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule
#
# def one_step(x_T, eps, abar_T):
#     return (x_T - (1 - abar_T).sqrt() * eps) / abar_T.sqrt()
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# g = torch.Generator().manual_seed(0)
# options = dict(generator=g, dtype=torch.float64)
# for eta in (0.0, 1.0):
#     assert schedule.sigma(1000, 0, eta) == 0
#     x = sample(peaks.eps, (5000, 1), schedule, [0, 1000], eta=eta, **options)
#     assert abs(x.mean() - 0.12) < 0.01 and x.std() < 0.01  # the data's mean is 0.12
# assert check("ex-fewer-one", one_step)
# ```
# ````
#
# ```{exercise} Code: when the division is kind
# :label: ex-fewer-official
# *Code · one star · 10 minutes*
#
# For which $S$ between 1 and 1000 does `range(0, 1000, 1000 // S)` have exactly $S$ elements? How many such $S$ are there?
# Hand in all of them, as a list: `check("ex-fewer-official", good)`.
# ```
#
# ````{solution} ex-fewer-official
# :class: dropdown
# Those that divide 1000, and there are 16. With $m = \lfloor 1000/S \rfloor \le 1000/S$ the list has $\lceil 1000/m \rceil \ge 1000/m \ge S$ elements. All three are equal only if $m = 1000/S$, which is then whole. In
# every other case there are too many, never too few.
#
# ```python
# from ddim_edu.exercises import check
#
# good = [S for S in range(1, 1001) if len(range(0, 1000, 1000 // S)) == S]
# assert good == [S for S in range(1, 1001) if 1000 % S == 0]
# assert len(good) == 16
# assert check("ex-fewer-official", good)
# ```
# ````
#
# ```{exercise} Measure: equal steps in log SNR
# :label: ex-fewer-logsnr
# *Measure · three stars · 30 minutes*
#
# Place 20 levels so that the logarithm of the SNR falls in equal steps from level 1 to level $T$ (round to levels). Compare with `"quadratic"` by the mean distance of 400 points from the truth; a run with
# 1000 steps may stand for the truth. Who wins on the linear schedule?
# Hand in the two distances, for the mixture on the line with its peaks at $-1$ and 0.6: `check("ex-fewer-logsnr", (even, quadratic))`.
# ```
#
# ````{solution} ex-fewer-logsnr
# :class: dropdown
# Quadratic, by almost a factor of two. Equal steps in log SNR spend many levels very close to the data, where the SNR is far above $1/0.02$: there the noise is narrower than the peaks, $\hat\epsilon$ hardly changes and
# nothing bends. Data with finer detail would want those levels.
#
# ```python
# import numpy as np
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import ddim_path
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# x_T = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400)
#
# def run(tau):
#     *_, last = ddim_path(peaks.eps, x_T[:, None], schedule, tau)
#     return last.x_s
#
# log_snr = -schedule.snr[1:].log().numpy()  # rising with t
# wanted = np.linspace(log_snr[0], log_snr[-1], 20)
# even = np.unique(np.interp(wanted, log_snr, np.arange(1, 1001)).round().astype(int))
# truth = run(make_tau(1000, 1000))
# ours = (run([0, *even]) - truth).abs().mean()
# theirs = (run(make_tau(1000, 20, "quadratic")) - truth).abs().mean()
# assert len(even) == 20 and ours > 1.5 * theirs
# assert check("ex-fewer-logsnr", (ours, theirs))
# ```
# ````
#
# ```{exercise} Break: the index for the level
# :label: ex-fewer-index
# *Break · one star · 15 minutes*
#
# A sampler that walks down $\tau$ has an index $i$ and a level $\tau_i$ at hand. Call the predictor with $i$ by mistake, for $S = 50$ (trailing), $\eta = 0$ and the mixture on the line. What comes out? Hand in the standard deviation of the samples: `check("ex-fewer-index", std)`.
# ```
#
# ````{solution} ex-fewer-index
# :class: dropdown
# The predictor is told that there is hardly any noise (levels 1 to 50), so its $\hat\epsilon$ is wrong throughout. What comes out is far too wide: a standard deviation of 1.37, where the data has 0.76. At $S = T$ index and
# level agree: a test at full length cannot see this.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# tau = make_tau(1000, 50, "trailing")
# index = {int(t): i for i, t in enumerate(tau)}
# by_index = lambda x_t, t: peaks.eps(x_t, torch.full_like(t, index[int(t[0])]))
#
# spread = {}
# for name, eps in (("level", peaks.eps), ("index", by_index)):
#     g = torch.Generator().manual_seed(0)
#     x = sample(eps, (2000, 1), schedule, tau, generator=g, dtype=torch.float64)
#     spread[name] = x.std().item()
# assert abs(spread["level"] - 0.76) < 0.06
# assert abs(spread["index"] - 1.37) < 0.1
# assert check("ex-fewer-index", spread["index"])
# ```
# ````

#
# ## Summary
#
# 1. The family $q_\sigma$ exists on every sub-sequence $\tau$, with the same marginals; its loss is the same squared error, on the levels of $\tau$, with other weights. So one training serves all.
# 2. A deterministic step is a straight line in $x/\sqrt{\bar\alpha}$ against $\sqrt{(1-\bar\alpha)/\bar\alpha}$; it errs where $\hat\epsilon$ changes, so levels belong where the path bends.
# 3. Which of the five spacings is best depends on the schedule. On the linear one it is quadratic. On the cosine one, spacings that start at $T$ differ little from 20 steps on, and quadratic's start at $0.8\, T$ leaves a floor.
# 4. At $\eta = 0$ the error on a line falls about as $1/S$, and one $x_T$ keeps its picture. At $\eta = 1$ few steps hurt more on a line; on the shipped digits our statistic sees no difference, and twenty calls do. Few steps starve a rare peak at either $\eta$.
# 5. A jump needs $\bar\alpha_t/\bar\alpha_s$, the network needs the level, and the sampler needs one list: three places where code goes wrong in silence.
#
# **Next.** Chapter 7 takes the limit of ever shorter steps and finds a differential equation. In the package, read {py:func}`~ddim_edu.schedule.make_tau`, then
# {py:func}`~ddim_edu.sampler.ddim_path`.
