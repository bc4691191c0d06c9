# %% [markdown]
# (ch-one-step)=
# # One step
#
# **Question.** Twenty calls of a network make a picture, and one call makes a blur. But without noise the picture is a *function* of its latent. Can one network learn that function whole, so that one call is enough? And what is lost with the path that it leaves out?

# %% tags=["hide-input"]
import copy
import json
from itertools import pairwise

import numpy as np
import torch

from ddim_edu.apps.interpolate import slerp
from ddim_edu.data.named import digits
from ddim_edu.distillation import (
    consistency_path,
    consistency_target,
    jump_target,
    mean_velocity,
    progressive_target,
    step_by_x0,
)
from ddim_edu.exact import GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import said_to_x0, unmix_x0
from ddim_edu.models import load
from ddim_edu.plotting import Table, figure
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_step, decode, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% tags=["hide-input"]
generator = torch.Generator().manual_seed(0)
teacher, student = load("digits-v"), load("digits-distill")
cosine, labels = teacher.schedule, torch.arange(10)
x_T = draw(torch.empty(10, 1, 8, 8), generator)


# %% tags=["hide-input"]
def draw_by(model, x_T, S, labels=labels):
    tau = make_tau(1000, S)
    return decode(model.eps_theta(labels), x_T, cosine, tau, clip=1.0)


def show(rows):
    """Rows of pictures by their names."""
    fig, axes = figure(1, len(rows), height=0.65 * len(rows))
    for ax, (name, images) in zip(np.atleast_1d(axes), rows.items()):
        ax.imshow(torch.cat([*images[:, 0]], 1), cmap="gray", vmin=-1, vmax=1)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)


# %% mystnb={"figure": {"caption": "Ten latents, one for each digit, and what becomes of them: by one call of the teacher, a network that says $v$; by ten calls of it; and by one call of its student, which nearly repeats the row above it.", "name": "fig-one-step-digits"}, "image": {"alt": "Four rows of ten small grey pictures. The first row is noise, the second holds blurred digits; third and fourth hold clear digits, 0 to 9, and each picture of the fourth looks nearly like the one above it."}} tags=["hide-input"]
ways = {"teacher, 1 call": draw_by(teacher, x_T, 1), "teacher, 10 calls": draw_by(teacher, x_T, 10)}
ways["student, 1 call"] = draw_by(student, x_T, 1)
show({"noise": x_T / 2, **ways})

# %% [markdown]
# Yes: a network of the same size, trained to say where the path ends, draws in one call nearly what took ten. What it has lost is the path itself, and with it some of what made DDIM useful.
#
# At the end of this chapter you will have checked, by running it,
#
# - that one step of DDIM from pure noise can only make the mean, and what a network would have to predict there instead;
# - that this target, found by two steps of a teacher, makes one step land where the two do, up to rounding, on an exact predictor and on the shipped network;
# - that asking for one answer along each path leads to the same function, with a boundary condition that a network which says $v$ meets by itself;
# - what is missed without a teacher, and why MeanFlow's target does not miss it;
# - how good one call of a shipped student is, and which of the uses in chapters 7 and 12 to 14 are lost with the path.
#
# You need chapter 7, and $v$ from chapter 3.
#
# The chapter opens {py:mod}`ddim_edu.distillation`.

# %%
blurred, ten, one = ways.values()
print(f"student from teacher's ten: {(one - ten).square().mean().sqrt():.2f}")
print(f"teacher's one from its ten: {(blurred - ten).square().mean().sqrt():.2f}")
assert (one - ten).square().mean() < (blurred - ten).square().mean() / 2

# %% [markdown]
# ## A map and its pieces
#
# Write $\Phi_{t \to s}(x)$ for the state at level $s$ on the path of chapter 7's equation {eq}`eq:clock-ode` that is at $x$ at level $t$. Going on from the middle is the same as going at once:
#
# $$
# \Phi_{t \to t}(x) = x, \qquad \Phi_{m \to s}\bigl(\Phi_{t \to m}(x)\bigr) = \Phi_{t \to s}(x) .
# $$ (eq:flow-map)
#
# Sampling is $\Phi_{T \to 0}$. A noise predictor says only in which direction the path leaves a state: $S$ steps follow $S$ tangents. On the line we can see what that makes of the map.

# %% tags=["hide-input"]
linear = NoiseSchedule.linear()
alpha_bar, nsr = linear.alpha_bar, linear.nsr
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], linear)
starts = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
maps = {S: decode(peaks.eps, starts, linear, make_tau(1000, S)) for S in (1, 2, 4, 16, 1000)}

# %% mystnb={"figure": {"caption": "The map from noise (across) to data (up) on the line, by $S$ steps of DDIM with the exact predictor. One step gives every start the mean of the data. A thousand steps give the peak at −1 the lowest 30% of the starts, and the rest to the peak at 0.6.", "name": "fig-one-step-maps"}, "image": {"alt": "Five curves. For S = 1 a horizontal line at 0.12; for 2 and 4 slanted curves; for 16 and 1000, which lie close together, a step from −1 to 0.6 near the start −0.5, with gentle slopes on both sides."}} tags=["hide-input"]
fig, ax = figure(1, height=2.8)
for S, x_0 in maps.items():
    ax.plot(starts, x_0, label=f"S = {S}", linewidth=1.2)
ax.set(xlabel="$x_T$", ylabel="$x_0$")
_ = ax.legend(fontsize=9)
# %%
# checks eq:flow-map
fine = maps[1000]
for S, x_0 in maps.items():
    print(f"S {S:4d}: {(x_0 - fine).square().mean().sqrt():.3f} from a thousand steps")
upper, lower = make_tau(1000, 1000)[500:], make_tau(1000, 1000)[:501]
x = starts
for t, s in pairwise(upper.tolist()[::-1]):  # from the top to the middle
    x = ddim_step(x, peaks.eps(x, t), alpha_bar[t], alpha_bar[s])
assert torch.allclose(decode(peaks.eps, x, linear, lower), fine, rtol=0, atol=1e-12)
assert (maps[1] - peaks.weights @ peaks.means[:, 0]).abs().max() < 0.05

# %% [markdown]
# Asked at pure noise for its $x_0$, a network trained in squared error answers the mean, since many pictures belong to one noise. But to one $x_T$ belongs *one* $\Phi_{T \to 0}(x_T)$. A network asked for that in squared error has nothing to average. {cite:t}`luhman2021distillation` did just this, by pairs $(x_T, \Phi_{T \to 0}(x_T))$ from the teacher; each pair costs a whole path. The pieces of {eq}`eq:flow-map` are cheaper.
#
# ## Two steps in one
#
# Let the teacher take two steps from $x_t$, by $x_m$ to $x_s$. In the units of chapter 7 each step is $\bar x_s = \bar x_t + (\nu_s - \nu_t)\,\hat\epsilon$ {eq}`eq:clock-step`. So the student, to arrive there in one, must say
#
# $$
# \tilde\epsilon = \frac{\bar x_t - \bar x_s}{\nu_t - \nu_s} = \frac{(\nu_t - \nu_m)\,\hat\epsilon_t + (\nu_m - \nu_s)\,\hat\epsilon_m}{\nu_t - \nu_s} .
# $$ (eq:two-in-one)
#
# The teacher says the tangent and the student the *chord*, a weighted mean of two tangents. For its predicted data, solve the step {eq}`eq:generative-step` at $\sigma = 0$ for $x_0$; with $k = \sqrt{(1-\bar\alpha_s)/(1-\bar\alpha_t)}$,
#
# $$
# \tilde x_0 = \frac{x_s - k\, x_t}{\sqrt{\bar\alpha_s} - k \sqrt{\bar\alpha_t}} .
# $$ (eq:jump-target)
#
# This is **progressive distillation** {cite}`salimans2022distillation`. The student begins with the teacher's weights, and is trained to say $\tilde x_0$ at the levels of $S/2$ steps, where the teacher takes $S$. Then it is the teacher of the next, and $S/2$ becomes $S/4$.

# %%
# checks eq:two-in-one, eq:jump-target
t, m, s = 1000, 750, 500
x_m = ddim_step(starts, peaks.eps(starts, t), alpha_bar[t], alpha_bar[m])
x_s = ddim_step(x_m, peaks.eps(x_m, m), alpha_bar[m], alpha_bar[s])
target = jump_target(starts, x_s, alpha_bar[t], alpha_bar[s])
landed = step_by_x0(starts, target, alpha_bar[t], alpha_bar[s])
assert torch.allclose(landed, x_s, rtol=0, atol=1e-12)

bar_t, bar_s = starts / alpha_bar[t].sqrt(), x_s / alpha_bar[s].sqrt()
chord = mean_velocity(bar_t, bar_s, nsr[t], nsr[s])
tangents = (nsr[t] - nsr[m]) * peaks.eps(starts, t) + (nsr[m] - nsr[s]) * peaks.eps(x_m, m)
assert torch.allclose(chord, tangents / (nsr[t] - nsr[s]), rtol=0, atol=1e-12)
assert torch.allclose(unmix_x0(starts, chord, alpha_bar[t]), target, rtol=0, atol=1e-9)

# %% [markdown]
# Chord and tangent differ by little where $\nu$ is large, and that is where a student of few steps begins. On the cosine schedule of the digits $\nu_T$ is about 20,000: to move $x_0$ by 0.01, the predicted noise has to change by $5 \cdot 10^{-7}$, a few times the spacing of float32 near 1. So teacher and student here say $v = \sqrt{\bar\alpha}\,\epsilon - \sqrt{1-\bar\alpha}\,x_0$, which at pure noise is $-x_0$. (A recipe for a student that says $\epsilon$ is refused.) The same check on the shipped network, with its labels, for the jump from the top to level 500:

# %%
network = copy.deepcopy(teacher.network).double()


def x0_theta(x_t, t):
    return said_to_x0(network(x_t, t, labels), x_t, cosine.abar(t), teacher.prediction)


levels = [torch.full((10,), level) for level in (1000, 750, 500)]
x, abar = x_T.double(), cosine.alpha_bar
target = progressive_target(x0_theta, x, *levels, cosine)
x_m = step_by_x0(x, x0_theta(x, levels[0]), abar[1000], abar[750])
x_s = step_by_x0(x_m, x0_theta(x_m, levels[1]), abar[750], abar[500])
gap = (step_by_x0(x, target, abar[1000], abar[500]) - x_s).abs().max()
assert gap < 1e-6
print(f"one step with the target ends {gap:.0e} from two of the teacher")

# %% [markdown]
# And to the end, on the line. A perfect student is a table of answers there, on a fine grid of states at each of its levels. Four halvings turn a teacher of 16 steps into a student of one.

# %%
grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)[:, None]


def table(values):
    """A function on the line, by its values on the grid."""
    return lambda x: torch.from_numpy(np.interp(x[:, 0], grid[:, 0], values[:, 0]))[:, None]


def says(answers):
    """A model by its tables, one for each level."""
    return lambda x, t: answers[int(t[0])](x)


def all_at(*levels):
    return [level.expand(len(grid)) for level in levels]


# %%
tau16 = tau = make_tau(1000, 16)
first = {t: table(unmix_x0(grid, peaks.eps(grid, t), alpha_bar[t])) for t in tau[1:].tolist()}
answers = first
while len(tau) > 2:
    taught = {}
    for s, m, t in zip(tau[:-2:2], tau[1::2], tau[2::2]):
        taught[int(t)] = table(progressive_target(says(answers), grid, *all_at(t, m, s), linear))
    answers, tau = taught, tau[::2]
by_halving = answers[1000](starts)
print(f"one call from sixteen steps: {(by_halving - maps[16]).abs().max():.1e}")
assert (by_halving - maps[16]).abs().max() < 1e-3

# %% [markdown]
# A perfect student inherits its teacher's error, and adds none: it is as good as the 16 steps it learned from, no better. A trained one adds its own at each halving.
#
# ## One answer along a path
#
# The other way is to ask for the end at once. Call $f(x_t, t) = \Phi_{t \to 0}(x_t)$. By {eq}`eq:flow-map` all states of one path have one answer, and the data answer themselves:
#
# $$
# f(x_t, t) = f(x_s, s), \qquad f(x_0, 0) = x_0 .
# $$ (eq:consistency)
#
# A **consistency model** {cite}`song2023consistency` is a network trained to do so. Its target at $x_t$ is its own answer, by an average of its weights, one step of a teacher further down. The second half of the condition, at the boundary, is needed: without it a network that gives one answer to everything would do. {cite:t}`song2023consistency` mix state and network with two factors that are 1 and 0 at the end. A network that says $v$ has such factors already:
#
# $$
# f_\theta(x_t, t) = \sqrt{\bar\alpha_t}\, x_t - \sqrt{1-\bar\alpha_t}\, v_\theta(x_t, t) .
# $$ (eq:boundary)
#
# At $\bar\alpha = 1$ this is $x_0$, whatever the network says. On the line, from the bottom up, with the same teacher of 16 steps:

# %%
# checks eq:consistency, eq:boundary
f = {}
for s, t in pairwise(tau16):
    own = says(f) if s else says({1: torch.clone})  # not used at the data
    target = consistency_target(says(first), own, grid, *all_at(t, s), linear)
    f[int(t)] = table(target)
print(f"one answer from four halvings: {(f[1000](starts) - by_halving).abs().max():.1e}")
assert (f[1000](starts) - by_halving).abs().max() < 2e-3

anything = torch.full_like(starts, 7.0)
assert said_to_x0(anything, starts, 1.0, "v").equal(starts)

# %% [markdown]
# Two roads, one function. A network in training errs, and the roads differ in how errors travel. Progressive distillation finishes each halving before the next begins. Here every level learns at the same time, and what is wrong below is copied upwards until it is mended.
#
# **Without a teacher.** The teacher's step could be replaced by the pair that training has at hand: $x_t$ and $x_s$ mixed from the *same* data and noise. That is right on average: $E[\bar x_s \mid x_t] = \bar x_t + (\nu_s - \nu_t)\,\epsilon^*$, which is the step of a perfect teacher. But a squared error makes $f$ the mean of the answers, not the answer at the mean, and by Taylor
#
# $$
# E[f(\bar x_s) \mid \bar x_t] - f(E\,\bar x_s) \approx \tfrac12 f''\, \Bigl(1 - \frac{\nu_s}{\nu_t}\Bigr)^2 \operatorname{Var}[x_0 \mid x_t] .
# $$ (eq:training-gap)
#
# With $N$ levels each gap is of order $1/N^2$, and $N$ of them add up to $1/N$, if $f$ bends gently. Where $f$ is a straight line there is none ({ref}`ex-one-step-alone`). On the mixture the mean over $x_0$ given $x_t$ can be computed:

# %%
nodes, weights = np.polynomial.hermite_e.hermegauss(24)
nodes, weights = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
means, variances = peaks.means[:, 0], peaks.covs[:, 0, 0]


def mean_answer(f, nu_t, nu_s, bar):
    """E[f(bar x_s) | bar x_t]: over two peaks, and over x_0 within each."""
    total = variances + nu_t**2
    share = torch.softmax(peaks.weights.log() - total.log() / 2 - (bar[:, None] - means) ** 2 / (2 * total), 1)
    centre = means + variances / total * (bar[:, None] - means)
    x_0 = centre[..., None] + (variances * nu_t**2 / total).sqrt()[:, None] * nodes
    found = f((1 - nu_s / nu_t) * x_0 + nu_s / nu_t * bar[:, None, None])
    return ((found @ weights) * share).sum(1)


# %%
# checks eq:training-gap
nu_t, bar = nsr[400], torch.linspace(-2, 2, 9).double()
mean, square = (mean_answer(g, nu_t, 0 * nu_t, bar) for g in (torch.clone, torch.square))
for share in (0.1, 0.01):  # for f = sin, and levels 10% and 1% apart
    nu_s = (1 - share) * nu_t
    centre = mean_answer(torch.clone, nu_t, nu_s, bar)
    gap = mean_answer(torch.sin, nu_t, nu_s, bar) - centre.sin()
    by_taylor = -centre.sin() / 2 * share**2 * (square - mean**2)
    print(f"gap {gap.abs().max():.1e}, and Taylor misses {(gap - by_taylor).abs().max():.0e}")
assert (gap - by_taylor).abs().max() < 0.05 * gap.abs().max()

# %%
def between(at, values):
    return lambda x: torch.from_numpy(np.interp(x.numpy(), at, values))


off = {}
for N in (4, 16, 64, 256):
    nu = torch.logspace(nsr[1000].log10().item(), -2, N, dtype=torch.float64).flip(0)
    f_s, x = torch.clone, starts[:, 0] / alpha_bar[1000].sqrt()
    for nu_s, nu_t in pairwise([nsr[0], *nu]):
        bar = (1 + nu_t**2).sqrt() * torch.linspace(-4, 4, 3001).double()
        f_s = between(bar, mean_answer(f_s, nu_t, nu_s, bar))
    alone = f_s(x)
    for nu_s, nu_t in reversed([*pairwise([nsr[0], *nu])]):  # with a teacher: DDIM at these levels
        x = mean_answer(torch.clone, nu_t, nu_s, x)
    off[N] = (alone - x).abs()
    print(f"{N:4d} levels: gap to DDIM at the same levels: median {off[N].median():.5f}, mean {off[N].mean():.3f}")
assert all(a.median() > 4 * b.median() and 1.7 < a.mean() / b.mean() < 2.6 for a, b in pairwise([*off.values()][1:]))

# %% [markdown]
# At most starts the gap falls at least as fast as $1/N$. Its mean falls more slowly, by half for four times the levels. Why? The true map has a cliff between its peaks, where Taylor's formula fails. There each of $N$ averages blurs $f$ by a width of order $1/N$, and $N$ such blurs, being independent, add up to a width of order $1/\sqrt N$: near a cliff a mean of answers is no answer.

# %% [markdown]
# ## Any two times
#
# Progressive distillation learns $\Phi_{t \to s}$ for a few pairs of levels, consistency for $s = 0$, and a noise predictor for $s$ next to $t$. A network that is told *both* times could learn all of them; such are called flow maps {cite}`boffi2024flowmap`. **MeanFlow** {cite}`geng2025meanflow` lets it say the mean velocity over the time between. That is our chord; here it is in chapter 7's units (the paper's path is flow matching's straight line):
#
# $$
# u(\bar x_t, \nu_t, \nu_s) = \frac{1}{\nu_t - \nu_s} \int_{\nu_s}^{\nu_t} \epsilon^*\, d\nu = \frac{\bar x_t - \bar x_s}{\nu_t - \nu_s} .
# $$ (eq:mean-velocity)
#
# Multiply by $\nu_t - \nu_s$ and differentiate along the path, on which $\bar x_s$ does not change:
#
# $$
# u = \epsilon^* - (\nu_t - \nu_s) \Bigl(\frac{\partial u}{\partial \nu_t} + \frac{\partial u}{\partial \bar x_t}\, \epsilon^*\Bigr) .
# $$ (eq:meanflow)
#
# The integral is gone: on the right stand the network's own derivatives and the velocity *here*. In training the right side is the target, with the network of the moment held fixed. And it is **linear in $\epsilon^*$**. So put a drawn $\epsilon$ in its place: the mean of the target is right, without any gap like {eq}`eq:training-gap`. Thus a flow map can be trained from nothing but data. We check both on Gaussian data of variance $v$, where $\bar x_s = \bar x_t \sqrt{(v + \nu_s^2)/(v + \nu_t^2)}$, with the derivatives by torch.

# %%
v, nu_s = 0.3, torch.tensor(0.4).double()


def u(bar, nu):
    return mean_velocity(bar, bar * ((v + nu_s**2) / (v + nu**2)).sqrt(), nu, nu_s)


def right_side(bar, nu, eps):
    slope = torch.autograd.functional.jvp(u, (bar, nu), (eps, torch.ones_like(nu)))[1]
    return eps - (nu - nu_s) * slope


# %%
# checks eq:meanflow, eq:mean-velocity
nu, bar = torch.tensor(2.5).double(), torch.linspace(-4, 4, 9).double()
tangent = bar * nu / (v + nu**2)
assert torch.allclose(right_side(bar, nu, tangent), u(bar, nu), rtol=0, atol=1e-12)
apart = torch.stack([right_side(bar, nu, tangent + d) for d in (-1.0, 1.0)])
assert torch.allclose(apart.mean(0), u(bar, nu), rtol=0, atol=1e-12)

# %% [markdown]
# | the network says | for which times | what teaches it |
# |---|---|---|
# | $\epsilon$, $v$ or $x_0$ | $s$ next to $t$ | the noise that was drawn |
# | chord, progressive | the steps of $S/2$ | two steps of a teacher |
# | end, consistency | $s = 0$ | one step, and its own answer there |
# | chord, MeanFlow | all pairs | the noise, and its own derivatives |
#
# ## One call, measured
#
# `python -m ddim_edu.train digits-distill` trains the student of the first figure, by the same loop, recipe, average and log as every model here; only its loss has a teacher ({py:mod}`ddim_edu.training.teaching`). It halves 16 steps four times; `digits-consistency` learns from the same 16 steps by {eq}`eq:consistency`, in as many batches. `benchmarks/one_step.py` drew 1,000 digits from each of five seeds, all methods from the same noise. Columns: calls; classifier distance (chapter 11; smaller is better) with half of its 95% interval; its difference from the teacher's ten steps, with half of *that* interval, which pairs the seeds; then precision and recall (chapter 11 too).

# %%
found = json.loads(in_repository("results/one_step.json").read_text(encoding="utf8"))
rows = {(row["model"], row["solver"], row["steps"]): row for row in found["tables"]["digits"]}
print("calls  distance       minus 10 steps  prec. recall")
for (name, solver, _), row in rows.items():
    d, gap = row["distance"], row["minus_teacher"]
    numbers = f"{d['mean']:6.3f} ±{d['half']:.3f} {gap['mean']:+8.3f} ±{gap['half']:.3f}"
    shares = f"{row['precision']['mean']:.2f}  {row['recall']['mean']:.2f}"
    print(f"{row['calls']:5g} {numbers}   {shares}  {name}, {solver}")

# %%
pupils = [rows["digits-distill", "ddim", 1], rows["digits-consistency", "consistency", 1]]
twice = rows["digits-consistency", "consistency", 2]
ten_steps, twenty = (rows["digits-v", "ddim", S] for S in (10, 20))
for pupil in pupils:
    gap = pupil["minus_teacher"]
    assert abs(gap["mean"]) < gap["half"] < 0.05  # ten steps and one call: not told apart
    assert pupil["precision"]["mean"] < ten_steps["precision"]["mean"] - 0.02
    assert abs(pupil["recall"]["mean"] - ten_steps["recall"]["mean"]) < 0.02
    assert all(pupil[k]["mean"] < twenty[k]["mean"] for k in ("precision", "recall"))
    assert gap["mean"] - gap["half"] > twenty["minus_teacher"]["mean"] + twenty["minus_teacher"]["half"]
for better in (twice, twenty):
    assert better["minus_teacher"]["mean"] + better["minus_teacher"]["half"] < 0
assert rows["digits-v", "dpm-solver-2m", 4]["minus_teacher"]["mean"] > 0.2

# %% [markdown]
# By this distance one call of either student and ten of the teacher can't be told apart: the intervals of the differences contain 0. No solver comes near with four calls. But the teacher's 20 steps, near the 16 that were taught, are better than both students: that much was lost in training. Precision and recall say what kind of loss it is. Against ten steps the students cover as much of the real digits (recall), and more of their own are like no real one (precision: 0.92 and 0.91 against 0.95). Against 20 steps both are a little lower. The consistency model's second call (below) wins part of it back: two calls are better than ten steps, beyond chance.
#
# Clothes are harder, and there the student is one of two steps: it was taught, from `fashion-mnist-v`, to do in two what DDIM does in sixteen.

# %% tags=["hide-input"]
clothes = {(row["model"], row["solver"], row["steps"]): row for row in found["tables"]["fashion-mnist"]}
Table(
    ["by", "calls", "distance", "minus ten steps", "precision", "recall"],
    [
        [
            f"{name}, {solver}", f"{row['calls']:g}", *(f"{v['mean']:.2f} ± {v['half']:.2f}" for v in
            (row["distance"], row["minus_teacher"])), *(f"{row[k]['mean']:.2f}" for k in ("precision", "recall")),
        ]
        for (name, solver, _), row in clothes.items()
    ],
)  # fmt: skip

# %% mystnb={"figure": {"caption": "One noise in each column: two calls of the teacher, blurred; ten calls of it; and two calls of its student, with much the same folds and prints.", "name": "fig-one-step-clothes"}, "image": {"alt": "Three rows of ten articles of clothing. The first row, two calls of the teacher, is blurred; the second, ten calls, and the third, two calls of the student, show much the same articles with folds and prints."}} tags=["hide-input"]
wearer, learner = load("fashion-mnist-v"), load("fashion-mnist-distill")
start = draw(torch.empty(10, 1, 28, 28), generator)
tries = {"teacher, 2 calls": (wearer, 2), "teacher, 10 calls": (wearer, 10), "student, 2 calls": (learner, 2)}
show({name: draw_by(model, start, S) for name, (model, S) in tries.items()})

# %%
two, teachers_two = clothes["fashion-mnist-distill", "ddim", 2], clothes["fashion-mnist-v", "ddim", 2]
teachers_four = clothes["fashion-mnist-v", "ddim", 4]
gap = two["minus_teacher"]
assert abs(gap["mean"]) < gap["half"] < 0.2  # ten steps and two calls: not told apart
assert two["distance"]["mean"] < 0.6 * teachers_four["distance"]["mean"] < 0.3 * teachers_two["distance"]["mean"]
assert abs(two["recall"]["mean"] - clothes["fashion-mnist-v", "ddim", 10]["recall"]["mean"]) < 0.03

# %% [markdown]
# By this distance two calls of the student and ten of its teacher can't be told apart, 0.04 ± 0.13, after two and a half hours of one core for the student. They are far ahead of the teacher's own two calls, and of its four. Again recall is that of ten steps; precision is 0.02 lower, within its intervals.

# %% [markdown]
# ## What breaks
#
# **A student is no noise predictor.** At the end it was taught at one level, the top. Its file says so, and the commands and {py:meth}`~ddim_edu.models.checkpoint.Checkpoint.sample` refuse to take it for one. (The file has its teacher's former name, `digits`, for `digits-v`.)

# %%
try:
    student.sample(4, steps=20)
except ValueError as refused:
    print(refused)

# %% [markdown]
# Whoever insists can call the sampler itself; the last row below shows what comes of it. And without a path, how does one find the latent of a picture? Go up by the teacher, and come back by the student's one call: that works, for the two share their latents. If the student goes up alone, asked at levels that it no longer knows, a blur of the right class comes back, and the class is known from the label.

# %%
data, up = digits(), make_tau(990, 40)
real, real_labels = data.floats(data.heldout[:10]), data.heldout_labels[:10]
x_up = {m: invert(m.eps_theta(real_labels), real, cosine, up) for m in (teacher, student)}
back = {"up 40, down 40, teacher": decode(teacher.eps_theta(real_labels), x_up[teacher], cosine, up, clip=1.0)}
back["up by teacher, student"] = draw_by(student, x_up[teacher], 1, real_labels)
back["student alone"] = draw_by(student, x_up[student], 1, real_labels)
back["20 steps of student"] = draw_by(student, x_T, 20)

# %% mystnb={"figure": {"caption": "Ten held-out digits and three round trips: by the teacher both ways; up by the teacher and down by the student, nearly as good; and by the student both ways, a blur. Last row: twenty DDIM steps of the student from fresh noise, torn shapes.", "name": "fig-one-step-breaks"}, "image": {"alt": "Five rows of ten small pictures: real digits; the same digits after the teacher's round trip; nearly the same from the student at the teacher's latents; blurred digits of the same classes; torn shapes of black and white."}} tags=["hide-input"]
show({"real": real, **back})
# %%
for name, images in list(back.items())[:3]:
    print(f"{name:24s} {(images - real).square().mean().sqrt():.2f}")

# %% [markdown]
# So with a student of one step all that has to stop on the way is lost: inversion (chapter 7), restoration at every step (chapter 13), edits that start from a middle level (chapter 14), and the noise of chapter 5 ($\eta > 0$). What needs only the two ends is kept. The map is still continuous, so latents can be interpolated (chapter 12):

# %% mystnb={"figure": {"caption": "An arc between two latents of a 3, one call of the student for each frame.", "name": "fig-one-step-arc"}, "image": {"alt": "A row of ten small pictures of a 3 whose shape changes little by little."}} tags=["hide-input"]
ends, three = draw(torch.empty(2, 1, 8, 8), generator), torch.full((10,), 3)
arc = torch.cat([slerp(ends[:1], ends[1:], u) for u in torch.linspace(0, 1, 10).tolist()])
show({"student": draw_by(student, arc, 1, three)})
# %%
frames = draw_by(student, arc, 1, three)
step = (frames[1:] - frames[:-1]).square().mean((1, 2, 3)).sqrt()
whole = (frames[-1] - frames[0]).square().mean().sqrt()
print(f"from frame to frame at most {step.max():.2f}; from first to last {whole:.2f}")

# %% [markdown]
# **More calls.** A consistency model knows all levels, and can be asked again: add *fresh* noise of a lower level to its answer, and ask there.
#
# $$
# x_s = \sqrt{\bar\alpha_s}\, f(x_t, t) + \sqrt{1 - \bar\alpha_s}\; z
# $$ (eq:consistency-step)
#
# Since it answers at every level, it can also edit and restore on the way {cite}`song2023consistency`. The step {eq}`eq:consistency-step` is {eq}`eq:generative-step` at its largest noise, $\sigma^2 = 1 - \bar\alpha_s$: the far end of chapter 5's family, where nothing of the predicted noise is used again. The command has it as `--solver consistency`. On the digits the second call pays, as the table says, and two more bring nothing that could be told from chance. The price is what DDIM is about: after the second call the picture is no function of $x_T$ ({ref}`ex-one-step-renewed`).

# %%
# checks eq:consistency-step
walk = consistency_path(peaks.eps, starts, linear, [0, 400, 1000], generator=torch.Generator().manual_seed(1))
upper_step, _ = walk
z = draw(starts, torch.Generator().manual_seed(1))
largest = (1 - alpha_bar[400]).sqrt()
same = ddim_step(starts, peaks.eps(starts, 1000), alpha_bar[1000], alpha_bar[400], largest, z)
assert torch.allclose(upper_step.x_s, same, rtol=0, atol=1e-9)

# %% [markdown]
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the chord of a Gaussian
# :label: ex-one-step-chord
# *Derive · one star · 15 minutes*
#
# Let the data be $\mathcal N(0, v)$. What does a perfect student say, as the noise {eq}`eq:two-in-one`, at the rescaled state $x = \bar x_t$ for the jump from $\nu_t$ to $\nu_s$ of a teacher with infinitely many steps?
# Hand in a function `chord(x, nu_t, nu_s, v)`: `check("ex-one-step-chord", chord)`.
# ```
#
# ````{solution} ex-one-step-chord
# :class: dropdown
# The path keeps $\bar x/\sqrt{v + \nu^2}$, so $\bar x_s = x\sqrt{(v + \nu_s^2)/(v + \nu_t^2)}$. Put it into {eq}`eq:two-in-one`. For $\nu_s \to \nu_t$ it becomes the tangent $x\,\nu_t/(v + \nu_t^2)$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def chord(x, nu_t, nu_s, v):
#     return x * (1 - ((v + nu_s**2) / (v + nu_t**2)) ** 0.5) / (nu_t - nu_s)
#
# x, nu, v, path = 1.5, 3.0, 0.4, []
# for k in range(100_000):  # the path down to 1, by small steps at the middle of each
#     h = 2.0 / 100_000
#     half = x - h / 2 * x * nu / (v + nu**2)
#     x, nu = x - h * half * (nu - h / 2) / (v + (nu - h / 2) ** 2), nu - h
# assert abs((1.5 - x) / 2.0 - chord(1.5, 3.0, 1.0, v)) < 1e-8
# assert check("ex-one-step-chord", chord)
# ```
# ````
#
# ```{exercise} Derive: alone on a straight line
# :label: ex-one-step-alone
# *Derive · two stars · 30 minutes*
#
# A model is trained for consistency without a teacher on data $\mathcal N(0, v)$, at the levels $0 = \nu_0 < \nu_1 < \dots < \nu_N$, perfectly and in squared error. Its answer at the top is a multiple of the rescaled state, $f(\bar x, \nu_N) = a\,\bar x$. Find $a$. Which sampler has the same?
# Hand in a function `factor(v, nu)`, where `nu` is a tensor of all $N + 1$ levels: `check("ex-one-step-alone", factor)`.
# ```
#
# ````{solution} ex-one-step-alone
# :class: dropdown
# $f_k$ is the mean of $f_{k-1}(\bar x_{k-1})$ given $\bar x_k$. As $f_{k-1}$ is linear, that is $a_{k-1}$ times $E[\bar x_{k-1} \mid \bar x_k] = \bar x_k\,\operatorname{Cov}/\operatorname{Var}$, with the covariance $v + \nu_{k-1}\nu_k$ (same data, same noise). So $a = \prod_k (v + \nu_{k-1}\nu_k)/(v + \nu_k^2)$: exactly DDIM in $N$ steps. No gap, as $f'' = 0$.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.sampler import decode
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def factor(v, nu):
#     return ((v + nu[:-1] * nu[1:]) / (v + nu[1:] ** 2)).prod()
#
# schedule, tau = NoiseSchedule.linear(), make_tau(1000, 7)
# x_T = torch.ones(1, 1, dtype=torch.float64)
# by_ddim = decode(Gaussian(torch.zeros(1), 0.3, schedule).eps, x_T, schedule, tau)
# ours = factor(0.3, schedule.nsr[tau]) / schedule.alpha_bar[1000].sqrt()
# assert torch.allclose(by_ddim[0, 0], ours, rtol=1e-9)
# assert check("ex-one-step-alone", factor)
# ```
# ````
#
# ```{exercise} Derive: what a second call keeps
# :label: ex-one-step-renewed
# *Derive · two stars · 20 minutes*
#
# An exact consistency model for data $\mathcal N(0, v)$ has answered. Fresh noise is added as in {eq}`eq:consistency-step`, at a level with $\bar\alpha$, and it answers again. How are the two answers correlated? (That the second has the right variance whatever $\bar\alpha$ is, follows on the way.)
# Hand in a function `correlation(v, abar)`: `check("ex-one-step-renewed", correlation)`.
# ```
#
# ````{solution} ex-one-step-renewed
# :class: dropdown
# The state $\sqrt{\bar\alpha}\,x_0 + \sqrt{1-\bar\alpha}\,z$ has variance $v\bar\alpha + 1 - \bar\alpha$, and the answer is that state times $\sqrt{v/(v\bar\alpha + 1 - \bar\alpha)}$: its variance is $v$. Its covariance with $x_0$ is $\sqrt{\bar\alpha}\,v$ times the same factor.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def correlation(v, abar):
#     return (v * abar / (v * abar + 1 - abar)) ** 0.5
#
# g = torch.Generator().manual_seed(0)
# x, z = 0.3**0.5 * torch.randn(200_000, generator=g), torch.randn(200_000, generator=g)
# again = (0.5**0.5 * x + 0.5**0.5 * z) * (0.3 / (0.15 + 0.5)) ** 0.5
# found = torch.corrcoef(torch.stack([x, again]))[0, 1].item()
# assert abs(found - correlation(0.3, 0.5)) < 0.01 and abs(again.var().item() - 0.3) < 0.01
# assert check("ex-one-step-renewed", correlation)
# ```
# ````
#
# ## Summary
#
# 1. At $\eta = 0$ the picture is a function of its latent, and a function can be learned whole: squared error blurs where many answers belong to one question, and here only one does.
# 2. Progressive distillation asks for the chord of two of the teacher's steps, again and again; consistency for one answer along each path. Perfect students of both are the teacher's steps in one call.
# 3. Without a teacher, consistency has a gap, of order $1/N$ where the map bends gently and $1/\sqrt N$ at a cliff. MeanFlow's target is linear in the noise and has none.
# 4. On the digits one call of a student can't be told from ten DDIM steps of its teacher, and is not as good as twenty; two calls of the consistency model are better than ten steps.
# 5. A student of one step has no path, and so no inversion of its own, no edits and no restoration on the way. Interpolation of latents is kept, and inversion by the teacher.
#
# **Next.** Read {py:mod}`ddim_edu.training.teaching`, then train one: `python -m ddim_edu.train digits-distill`.
