# %% [markdown]
# (ch-adaptive)=
# # The adaptive-step loss
#
# **Question.** One of the texts that this book grew from adds a term to DDIM's training loss. The text says that thanks to the term the loss falls from 0.03–0.04 to 0.02–0.03. Can the term do that?

# %% tags=["hide-input"]
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.stats import linregress

# %% tags=["hide-input"]
from ddim_edu.adaptive import (
    adaptive_step_loss,
    adaptive_step_size,
    complexity,
    mended_loss,
    pixel_complexity,
)

# %% tags=["hide-input"]
from ddim_edu.data.named import digits
from ddim_edu.exact import EmpiricalData, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import q_sample, unmix_eps
from ddim_edu.losses import draw_t
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import adaptive_ddim, heun_path

# %% mystnb={"figure": {"caption": "Left: the fall of the loss that the text claims for its term, and what the term did to the loss on held-out pictures in ten trainings with it and ten without, half of them on digits and half on clothes, that is, Fashion-MNIST (95% intervals, narrower than the dots). Right: steps that do adapt, each to its own error: a row for each of twelve starts, a dot at each level of its path. Above them, even steps.", "name": "fig-adaptive-answer"}, "image": {"alt": "Two plots. Left, a long orange bar from 0 to minus 29 percent for the claim, and two blue dots exactly at 0 for digits and clothes. Right, thirteen rows of dots over the level: the top row is even; in the others dots stand close together at low levels and far apart at high ones, differently in each row."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.9)
left.barh([0], [100 * (0.025 / 0.035 - 1)], height=0.45, color=COLOURS[5])
for place, name in ((-1, "digits"), (-2, "fashion-mnist")):
    runs = in_repository(f"results/adaptive_ablation_{name}.json").read_text(encoding="utf8")
    runs = sorted(json.loads(runs)["rows"], key=lambda row: row["seed"])
    with_it, without = ([r["heldout_mse"] for r in runs if r["loss"] == k] for k in ("published", "mse"))
    found, scale = paired(with_it, without), 100 / np.mean(without)
    left.errorbar(found.mean * scale, place, xerr=found.half * scale, fmt="o", color=COLOURS[0], ms=8, capsize=4)
left.axvline(0, color="black", linewidth=1)
left.set(yticks=(0, -1, -2), yticklabels=("claimed", "digits,\nmeasured", "clothes,\nmeasured"), ylim=(-2.6, 0.6))
left.set(xlabel="change of the loss by the term, %", xlim=(-33, 5))
flat = NoiseSchedule.linear()
three = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, flat)
x_T = draw(torch.empty(12, 2, dtype=torch.float64), torch.Generator().manual_seed(0))
steps = adaptive_ddim(three.eps, x_T, flat, atol=0.05)
right.plot(make_tau(1000, 14)[1:], [1] * 14, "s", color="0.6", ms=4)
for row, start in enumerate(steps.calls.argsort().tolist()):
    levels = steps.tau(start)[1:]
    right.plot(levels, [-row] * len(levels), "o", color=COLOURS[0], ms=4)
right.set(xlabel="level t", yticks=(1, -5.5), yticklabels=("even", "adapted,\n12 starts"), xlim=(1030, -20))
right.grid(False);

# %% [markdown]
# No. The term is far too small: measured with the same pictures, levels and noises, the loss with it and without it differ by less than 0.01% (± 0.03%), where a fall by 29% was claimed. A step that adapts to its own error is another matter. It is short where the path bends, near the data, and no two starts take the same steps.
#
# The first half of this chapter is for everyone. You will have checked
#
# - that at the text's picture size and losses, in batches of 64, the published term is at most 0.16% of the loss, whatever the network;
# - what five seeds of seven losses say, by a protocol written before the first run.
#
# The second half is for those who want proofs:
#
# - where a larger term moves the best prediction, and what a sampler does with that;
# - for which weights the best prediction stays where it belongs, and what such weights did in the experiment;
# - how a step can adapt to something that matters, its own error.
#
# The chapter opens {py:mod}`ddim_edu.adaptive`, {py:mod}`ddim_edu.measuring.statistics` and {py:mod}`ddim_edu.solvers`.

# %% [markdown]
# ## The claim
#
# The text is called S1 on the page {doc}`/sources`, where its words are quoted and compared. S1 trained on CIFAR-10. S1's table has one row, the last one here; the other rows stand in S0 and S3. FID is a distance between samples and real pictures; smaller is better (chapter 11):
#
# | model | FID | "reconstruction loss" |
# |---|---|---|
# | 64 channels | 11.81 | 0.03–0.04 |
# | 128 channels | 8.31 | 0.02–0.03 |
# | 64 channels, adaptive step | 21.87 | 0.02–0.03 |
#
# The fall from the first row to the last is what S1 credits to the new term.
#
# The loss is the training MSE of $\epsilon$, the $L_\text{simple}$ of {eq}`eq:l-simple`; no picture is reconstructed. S1 does not say whether its loss includes the new term, nor how many batches or runs are behind a range. Nor does such a loss judge samples: the last two rows have the same loss, and FIDs of 8.31 and 21.87. How much does the loss depend on the batch? For the shipped digits model:

# %%
generator = torch.Generator().manual_seed(0)
data, net = digits(), load("digits")
training, heldout = data.floats(data.train), data.floats(data.heldout)

# %%
def batch_loss(x_0, labels):
    """The MSE of one batch, with levels drawn in mirrored pairs as in training."""
    t = draw_t(len(x_0), 1000, generator=generator, antithetic=True)
    eps = draw(x_0, generator)
    x_t = q_sample(x_0, t, net.schedule, eps)
    return (net.model(x_t, t, labels) - eps).square().mean()


with torch.no_grad():
    some = torch.randint(len(training), (144, 64), generator=generator)
    losses = [batch_loss(training[i], data.train_labels[i]) for i in some]
losses = torch.stack(losses).view(12, 12)  # twelve times twelve batches
spread = (losses.amax(1) - losses.amin(1)) / losses.mean(1)
low, middle, high = spread.quantile(torch.tensor([0.0, 0.5, 1.0])).tolist()
assert 0.17 < low < 0.3 < middle < 0.32 < high < 0.53

# %% [markdown]
# For one network the range of twelve batches is 31% of their mean (the median of twelve ranges). The claimed fall, from 0.035 to 0.025, is 29%. To compare two losses, one needs the plain MSE on **held-out** pictures, at the same $(x_0, t, \epsilon)$, from **several seeds**, and a measure of the samples.
#
# ## Three formulas, as published
#
# S1 wants a picture's busy regions to count differently from flat ones. In each channel let $d_x$ and $d_y$ be the differences between a pixel and its right and its lower neighbour, with zeros around the picture, so that $H \times W$ pixels
# give a map of $(H + 1) \times (W + 1)$. The **complexity** is
#
# $$
# c = \frac{g}{\lVert g \rVert_2 + 10^{-8}}, \qquad g = \sqrt{d_x^2 + d_y^2},
# $$ (eq:published-complexity)
#
# with the norm over *all* elements of the batch. S1 uses $c$ twice: for a **step size**, with a base step $b$ and two limits,
#
# $$
# \text{step} = \min\bigl(\max(b/c,\; s_{\min}),\; s_{\max}\bigr),
# $$ (eq:published-step)
#
# and in the **loss**. With $e = \hat\epsilon - \epsilon$ and $\lambda = 0.1$,
#
# $$
# L = \operatorname{mean}(e^2) + \lambda\, \operatorname{mean}\bigl(w\, \lvert e \rvert\bigr),
# $$ (eq:published-loss)
#
# where $w$ is $c$ of the picture (we take the clean one), resized bilinearly to $H \times W$. By hand:

# %%
# checks eq:published-complexity, eq:published-step, eq:published-loss
x = training[:64].double()
framed = F.pad(x, (1, 1, 1, 1))
here, right = framed[..., :-1, :-1], framed[..., :-1, 1:]
below = framed[..., 1:, :-1]
g = ((right - here) ** 2 + (below - here) ** 2).sqrt()
c = g / (g.square().sum().sqrt() + 1e-8)
assert torch.allclose(c, complexity(x))

step = (0.05 / c).clamp(0.1, 3.0)
assert torch.allclose(step, adaptive_step_size(c, 0.05, 0.1, 3.0))

w = F.interpolate(c, size=(8, 8), mode="bilinear")
eps, eps_hat = draw(x, generator), draw(x, generator)
e = eps_hat - eps
by_hand = e.square().mean() + 0.1 * (w * e.abs()).mean()
assert torch.isclose(by_hand, adaptive_step_loss(eps_hat, eps, x, lam=0.1))

# %% mystnb={"figure": {"caption": "A digit, its published complexity, and the map of the mended loss further down (from black, the least, to white, the most); and a picture of one grey with its published complexity, for which the frame is the only edge there is.", "name": "fig-adaptive-maps"}, "image": {"alt": "Five small grey pictures: a handwritten digit; a 9 by 9 map in which the whole frame is grey and edges within the digit are bright; an 8 by 8 map, dark in the corners and along the sides, bright where the digit's strokes begin and end; a uniformly grey square; and a map that is black except for a bright frame."}} tags=["hide-input"]
flat = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
one, shown = x[3:4], {}
shown["digit"], shown["published c"] = one, complexity(one)
shown["mended"], shown["one grey"] = pixel_complexity(one), flat
shown["its c"] = complexity(flat)
fig, axes = figure(5, height=1.7)
for ax, (name, picture) in zip(axes, shown.items()):
    limits = {"vmin": -1, "vmax": 1} if name == "one grey" else {}
    ax.imshow(picture[0, 0], cmap="gray", **limits)
    ax.set_title(name, fontsize=10)
[ax.set_axis_off() for ax in axes];

# %%
on_frame = 1 - complexity(flat)[..., 1:-1, 1:-1].sum() / complexity(flat).sum()
dot = torch.zeros(1, 1, 5, 5)
dot[..., 2, 2] = 1
assert on_frame == 1
assert complexity(dot)[0, 0].nonzero().tolist() == [[2, 3], [3, 2], [3, 3]]
assert pixel_complexity(dot)[0, 0].nonzero().tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]

# %% [markdown]
# The published map leans to the upper left: a dot's own entry lies one further right and down. And a background that is not 0 is an edge at the frame. Dividing by the norm is worse.
#
# ## Why the term can do nothing
#
# Dividing by the norm makes the squares of $c$ add up to 1, over the whole batch. Let $N$ be the number of elements of $c$. Then the mean of $c^2$ is $1/N$, and a typical $c$ is $1/\sqrt N$. In a batch of 64 colour pictures of 32 × 32 pixels, $N$ is 209,088 and a typical weight is 0.002. The term multiplies this weight by $\lambda = 0.1$ and by $\lvert e \rvert$, which at an MSE of 0.029 is about 0.14 on average. So the term is about 0.00003, a thousandth of the MSE.
#
# The second half proves bounds for every network and all pictures ({prf:ref}`thm-small-term`). Here we measure, on digits and on random colour pictures of 32 × 32 pixels without fine detail ("smooth"), a stand-in for photographs.

# %%
coarse = torch.rand(256, 3, 8, 8, generator=generator, dtype=torch.float64)
smooth = F.interpolate(2 * coarse - 1, size=32, mode="bicubic").clamp(-1, 1)
sets = {"digits": training.double(), "smooth": smooth}
sizes, share, mse = (1, 4, 16, 64, 256), {}, 0.029


def term_of(e, x):
    return adaptive_step_loss(e, torch.zeros_like(e), x) - e.square().mean()


# %% tags=["hide-input"]
# checks eq:mean-weight, eq:term-bound
rows = []
for name, pictures in sets.items():
    share[name], weights = [], []
    for size in sizes:
        x = pictures[:size]
        e, c = draw(x, generator) * mse**0.5, complexity(x)
        ratio = c.mean() * c.numel() ** 0.5  # mean(g) / rms(g)
        bound = 0.1 / (e.numel() * e.square().mean()) ** 0.5
        share[name].append((term_of(e, x) / e.square().mean()).item())
        weights.append(c.mean().item())
        assert 0.75 < ratio < 0.9 and 0.5 * bound < share[name][-1] < bound
    slope = linregress(np.log(sizes), np.log(weights)).slope
    rows.append([name, *(f"{100 * part:.2f}%" for part in share[name])])
    assert abs(slope + 0.5) < 0.02
Table(["term / MSE, in batches of", *map(str, sizes)], rows)

# %% [markdown]
# How hard does the term pull at a prediction?

# %%
x = smooth[:64]
e = (draw(x, generator) * mse**0.5).requires_grad_()
(of_mse,) = torch.autograd.grad(e.square().mean(), e)
(of_term,) = torch.autograd.grad(term_of(e, x), e)
(ratio,), n = (of_term.norm() / of_mse.norm())[None], e.numel()
bound = 0.1 / (n * e.square().mean().item()) ** 0.5
c, size = complexity(x), e.abs().mean().item()
assert c.numel() == 209_088 and abs(bound - 0.0013) < 5e-5
assert 0.9 * bound / 2 < ratio < bound / 2 < 1e-3
for side in (8, 32):  # how much of each entry enters w, in one direction
    each = F.interpolate(torch.eye(side + 1)[None], size=side, mode="linear")
    assert each.sum(2).max() < 1 + 1e-5

# %% mystnb={"figure": {"caption": "The published term as a share of the MSE, for a Gaussian error of MSE 0.029, against the batch size (dots). Lines: the bound of the theorem for each picture size. Crosses: real CIFAR-10 pictures, means of 40 batches, measured with the same functions.", "name": "fig-adaptive-share"}, "image": {"alt": "Log-log plot of a share in percent against batch size from 1 to 256. Dots for digits fall from 4 to 0.3 percent, dots for smooth pictures from 0.7 to 0.04 percent, each below and parallel to its bound of slope minus one half. Four crosses for CIFAR-10 lie on the dots of the smooth pictures, slightly lower."}} tags=["hide-input"]
fig, ax = figure(height=2.7)
labels = ("digits, 8 × 8", "smooth, 3 × 32 × 32")
for found, n, label in zip(share.values(), (64, 3072), labels):
    (line,) = ax.plot(sizes, [100 * s for s in found], "o", ms=5, label=label)
    bounds = [10 / (n * size * mse) ** 0.5 for size in sizes]
    ax.plot(sizes, bounds, "-", lw=1, color=line.get_color())
path = in_repository("results/published_share.json")  # benchmarks/published_share.py
photos = [list(row.values())[:2] for row in json.loads(path.read_text())["rows"]]
ax.plot(*zip(*((size, 100 * part) for size, part in photos)), "kx", label="CIFAR-10")
ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="term / MSE in %")
ax.set(xticks=sizes, xticklabels=sizes, yticks=(0.01, 0.1, 1, 10))
ax.set_yticklabels(("0.01", "0.1", "1", "10"))
ax.minorticks_off()
ax.legend();

# %%
for found in share.values():
    fall = linregress(np.log(sizes), np.log(found)).slope
    assert abs(fall + 0.5) < 0.05

# %% [markdown]
# So at S1's pictures and losses (0.02 and above), in batches of 64 (our assumption), the term is at most 0.16% of the MSE, and it pulls at the network's output with less than a thousandth of the MSE's strength.
#
# Can a small steady pull add up? Compare two networks of one shape. Let $A$ have the least MSE, and $B$ the least sum of MSE and term. $B$'s sum is at most $A$'s sum, so $\text{MSE}_B \le \text{MSE}_A + \text{term}_A$. And $A$ has the least MSE of all, so $\text{MSE}_B \ge \text{MSE}_A$. The term can only *raise* the least MSE, by 0.13% at most. A fall by 29% has another cause.
#
# The step size suffers from the same norm: $b/c$ is about $b\sqrt N$. The share of the map that sits on the upper limit, for a batch of 64:

# %% tags=["hide-input"]
limits = (1, 10, 28, 100, 1000)
rows = []
for name, pictures in sets.items():
    c, cells = complexity(pictures[:64]), []
    for limit in limits:
        step = adaptive_step_size(c, base_step=1.0, max_step=limit)
        cells.append((step == limit).double().mean().item())
    rows.append([name, *(f"{s:.0%}" for s in cells)])
    assert cells[2] == 1 and cells[-1] < 0.7
Table(["on the limit, if limit / b is", *map(str, limits)], rows)

# %% [markdown]
# With a limit of up to 28 (digits) or 100 (smooth pictures) times $b$, every pixel gets the same step: nothing adapts. With a larger limit the size of the batch decides: among 64 copies of itself, a picture takes steps eight times as long as alone. The size of the batch decides the loss, too. One network, one set of errors on the 200 held-out digits:

# %% tags=["hide-input"]
t = torch.linspace(1, 1000, 200).round().long()
t = t[torch.randperm(200, generator=generator)]
eps = draw(heldout, generator)
with torch.no_grad():
    eps_hat = net.model(q_sample(heldout, t, net.schedule, eps), t)
mse_here, value = (eps_hat - eps).square().mean().item(), {}
for size in (1, 10, 200):
    parts = [slice(i, i + size) for i in range(0, 200, size)]
    each = [adaptive_step_loss(eps_hat[p], eps[p], heldout[p]) for p in parts]
    value[size] = torch.stack(each).mean().item() / mse_here - 1
assert value[1] > 2.5 * value[10] > 9 * value[200] > 0
rows = [[size, f"{v:.2%}"] for size, v in value.items()]
Table(["size of the batches", "loss above the MSE"], rows)

# %% [markdown]
# ## The experiment, decided beforehand
#
# Losses, budgets, outcomes and tests were written down before the first run, in `results/adaptive_ablation.md`. Runs of one seed start from the same weights and see the same pictures, levels and noises in the same order. Seven losses get five seeds each:
#
# - `mse`, the baseline, and `published`, with S1's $\lambda = 0.1$;
# - `placebo`, the published loss with $\lambda = 10^{-6}$, which changes nothing but roundings;
# - `mended-0.3`, `mended-1` and `mended-10`, which give busy pixels a larger weight in the *square*. The second half derives them, {eq}`eq:mended-loss`;
# - `min-snr`, a known weight that depends on the level alone, $\min(\operatorname{SNR}, 5)/\operatorname{SNR}$ {cite}`hang2023minsnr`.
#
# Two outcomes decide: the plain MSE on held-out pictures, at the same $(x_0, t, \epsilon)$ for all runs, and the distance of samples from training pictures in the features of a small classifier (a Fréchet distance, like FID). Digits get 1,500 steps of 64 pictures; Fashion-MNIST a small network and 500 steps, far from finished.
#
# For $r$ values with mean $\bar v$ and standard deviation $s$, the 95% interval of the mean by Student's t is
#
# $$
# \bar v \pm t_{r-1}\, \frac{s}{\sqrt r}, \qquad t_4 = 2.78 .
# $$ (eq:t-interval)
#
# Since seeds are shared, we take the interval of the five **differences** to `mse`: what a seed does to both cancels. Let $p$ be the probability that equal losses show so large a mean difference. Below, each outcome on each data set compares six losses with `mse`. If all six were equal to `mse`, and independent, some $p$ would fall below 0.05 with the probability $1 - 0.95^6 = 0.26$.
# **Holm's correction** prevents that. For each outcome and data set it multiplies the smallest $p$ by 6, the next by 5, and so on. We call a loss better or worse if its corrected $p$ is below 0.05.

# %%
# checks eq:t-interval
five = torch.tensor([0.31, 0.28, 0.33, 0.30, 0.29], dtype=torch.float64)
half = 2.776 * five.std() / 5**0.5
assert abs(summary(five.tolist()).half - half) < 1e-4
for known in ([0.31, 0.28, 0.33], [0.30, 0.35, 0.29, 0.31, 0.36, 0.28]):
    low, high = stats.t.interval(
        0.95, len(known) - 1, np.mean(known), stats.sem(known)
    )
    found = summary(known)
    ours = found.mean - found.half, found.mean + found.half
    assert np.allclose(ours, (low, high), rtol=1e-9)

# %%
def read(name):
    path = in_repository(f"results/{name}.json")
    return json.loads(path.read_text(encoding="utf8"))


values, losses = {}, ["mse", "placebo", "published"]
losses += ["mended-0.3", "mended-1", "mended-10", "min-snr"]
for name in ("digits", "fashion-mnist"):
    rows = read(f"adaptive_ablation_{name}")["rows"]
    for row in sorted(rows, key=lambda row: row["seed"]):
        values.setdefault((name, row["loss"]), []).append(row)
    for k in losses:
        assert [row["seed"] for row in values[name, k]] == [0, 1, 2, 3, 4]

# %%
def of(name, loss, outcome):
    return [row[outcome] for row in values[name, loss]]

# %%
def table(name, outcome, f):
    base = of(name, "mse", outcome)
    tests = {k: paired(of(name, k, outcome), base) for k in losses[1:]}
    corrected = holm({k: test.p for k, test in tests.items()})
    rows = []
    for k in losses:
        _, mean, half = summary(of(name, k, outcome))
        rows.append([k, f"{mean:{f}} ± {half:{f}}", "", ""])
        if k in tests:
            _, change, half, _ = tests[k]
            difference = f"{round(change, 5) + 0.0:+{f}} ± {half:{f}}"
            rows[-1][2:] = difference, f"{corrected[k]:.3f}"
    scale = 100 / summary(base).mean
    return {k: tests[k].mean * scale for k in tests if corrected[k] < 0.05}, rows

# %% tags=["hide-input"]
called, both = {}, []
for name in ("digits", "fashion-mnist"):
    called[name, "heldout_mse"], rows = table(name, "heldout_mse", ".5f")
    both.append(rows)
beside = [one + two[1:] for one, two in zip(*both)]
parts = [(f"{what}, MSE", "difference to mse", "Holm's p") for what in ("digits", "clothes")]
Table(["loss", *parts[0], *parts[1]], beside)

# %% tags=["hide-input"]
both = []
for name in ("digits", "fashion-mnist"):
    called[name, "distance"], rows = table(name, "classifier_distance", ".3f")
    both.append(rows)
beside = [one + two[1:] for one, two in zip(*both)]
parts = [(f"{what}, distance", *part[1:]) for what, part in zip(("digits", "clothes"), parts)]
Table(["loss", *parts[0], *parts[1]], beside)

# %% mystnb={"figure": {"caption": "Differences of each loss to the plain MSE, in percent of the latter's mean, over five seeds, with 95% intervals (uncorrected). Left of the dotted line is better. The placebo shows what a difference of nothing looks like.", "name": "fig-adaptive-ablation"}, "image": {"alt": "Four panels, of held-out MSE and distance of samples for digits and Fashion-MNIST, with six points with bars each. Placebo and published stand on the dotted line at 0. The mended losses lie to its right, further out for larger lambda. Min-SNR lies far to the right in held-out MSE and to the left in distance of samples."}} tags=["hide-input"]
outcomes = {"heldout_mse": "held-out MSE"}
outcomes["classifier_distance"] = "distance of samples"
fig, axes = figure(2, 2, height=4.0, sharey=True)
for row, name in zip(axes, ("digits", "fashion-mnist")):
    for ax, (outcome, title) in zip(row, outcomes.items()):
        base = of(name, "mse", outcome)
        scale = 100 / summary(base).mean
        for place, k in enumerate(losses[1:]):
            found = paired(of(name, k, outcome), base)
            style = {"fmt": "o", "ms": 4, "capsize": 3}
            style["color"] = "gray" if k == "placebo" else "C0"
            mean, half = found.mean * scale, found.half * scale
            ax.errorbar(mean, -place, xerr=half, **style)
        ax.axvline(0, ls=":", color="black", lw=1)
        ax.set(yticks=range(0, -6, -1), yticklabels=losses[1:])
        ax.set_title(f"{name}: {title}")
        ax.title.set_fontsize(9.5)
[ax.set_xlabel("difference to mse in %") for ax in axes[1]];

# %%
pvalues = {}
for name in ("digits", "fashion-mnist"):
    for outcome in outcomes:
        base = of(name, "mse", outcome)
        for k in losses[1:]:
            pvalues[name, outcome, k] = paired(of(name, k, outcome), base).p
one_family = {key for key, p in holm(pvalues).items() if p < 0.05}
short = {"heldout_mse": "heldout_mse", "classifier_distance": "distance"}
apart = {(n, short[o], k) for n, o, k in one_family}
four = {(*key, k) for key, found in called.items() for k in found}
assert four - apart == {(n, "distance", "min-snr") for n, _ in called}

# %%
for found in called.values():
    assert not {"placebo", "published"} & set(found)
for name in ("digits", "fashion-mnist"):
    worse = called[name, "heldout_mse"]
    assert min(worse[k] for k in ("mended-1", "mended-10", "min-snr")) > 0
    for outcome in outcomes:
        base = of(name, "mse", outcome)
        found, scale = paired(of(name, "published", outcome), base), 100 / np.mean(base)
        mean, half = found.mean * scale, found.half * scale
        limit = 0.04 if outcome == "heldout_mse" else {"digits": 2.5}.get(name, 0.1)
        assert abs(mean) + half < limit  # in percent

# %% [markdown]
# The **placebo**'s differences are 0 in every digit that the tables print. **The published term does nothing that counts.** No difference survives the correction; for the held-out MSE the intervals end within a few hundredths of a percent, for the distance of samples within 2.5% (digits) and 0.1%. (On Fashion-MNIST one uncorrected interval misses 0, by a hair.)
#
# ## Second half: proofs, and what a weight can do
#
# ```{note}
# Who came for the answer has it, and can go on to {ref}`chapter 9 <ch-unet>`.
# ```
#
# ### Why the term is small
#
# Let $N$ be the number of elements of $c$, as before, and $n$ the number of pixel values in the batch.
#
# ```{prf:theorem} The published term is small
# :label: thm-small-term
# For every batch of pictures that are not all 0, and every error $e$ of mean square $\text{MSE}$ (without the $10^{-8}$, which makes $c$ smaller still),
#
# $$
# \operatorname{mean}(c) = \frac{\operatorname{mean}(g)}{\operatorname{rms}(g)} \cdot \frac{1}{\sqrt N} \;\le\; \frac{1}{\sqrt N},
# $$ (eq:mean-weight)
#
# $$
# \frac{\lambda\, \operatorname{mean}(w \lvert e \rvert)}{\text{MSE}} \;\le\; \frac{\lambda}{\sqrt{n\, \text{MSE}}},
# $$ (eq:term-bound)
#
# and with respect to $\hat\epsilon$ the gradient of the term is at most $\lambda/(2\sqrt{n\, \text{MSE}})$ times as long as the MSE's.
# ```
#
# ```{prf:proof}
# $\lVert g \rVert_2 = \sqrt N \operatorname{rms}(g)$, and a mean is at most the root of the mean square (Cauchy–Schwarz). Each value of $w$ is a weighted mean of values of $c$, so its square is at
# most the same mean of their squares. The map is read at points more than one entry apart, so the weights with which one value of $c$ enters all of $w$ add up to at most 1. Hence $\sum w^2 \le \sum c^2 = 1$, and again by Cauchy–Schwarz
# $\sum w \lvert e \rvert \le \lVert w \rVert\, \lVert e \rVert \le \sqrt{n\, \text{MSE}}$. Multiply by $\lambda/(n\, \text{MSE})$. The two gradients are $\lambda\, w \operatorname{sign}(e)/n$ and $2e/n$, of lengths at most $\lambda/n$ and exactly
# $2\sqrt{n\, \text{MSE}}/n$.
# ```

# %% [markdown]
# ### If the term were large: from the mean to the median
#
# Suppose someone mends the norm, so that $c$ is near 1. Take one pixel, one $x_t$ and one $c$; write $\kappa = \lambda c$. Let the noise given $x_t$ have mean $m$ and
# distribution function $F$. A prediction $e$ (now a number, not an error) costs $E[(e - \epsilon)^2] + \kappa\, E\lvert e - \epsilon \rvert$. The derivative of $\lvert e - \epsilon \rvert$ is $+1$ if $\epsilon < e$ and $-1$ if $\epsilon > e$, with mean $F(e) - (1 - F(e))$. So at the minimum
#
# $$
# 2\,(e - m) + \kappa\, \bigl(2 F(e) - 1\bigr) = 0 .
# $$ (eq:mean-to-median)
#
# The left side rises with $e$, so there is one solution. At $\kappa = 0$ the solution is the mean; for $\kappa \to \infty$ it becomes the **median**, where $F = \tfrac12$. The solution lies away from the mean by at most
#
# $$
# \lvert e - m \rvert \le \kappa/2 , \qquad \text{MSE} - \text{MSE}_{\min} \le \kappa^2/4 ,
# $$ (eq:shift-bound)
#
# since $\lvert 2F - 1 \rvert \le 1$, and by {eq}`eq:error-split`. Averaged over a batch the published $\kappa^2/4$ is at most $\lambda^2/(4n)$, since $\sum w^2 \le 1$: about $10^{-8}$ for 64 pictures of CIFAR-10, if nothing limits the network.
#
# For this book's mixture on the line, $\epsilon$ given $x_t$ is again a mixture of two Gaussians; its mean is $\epsilon^*$, and bisection solves {eq}`eq:mean-to-median`.

# %%
schedule = NoiseSchedule.linear()
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)


def noise_given(x_t, abar):
    """Shares, means and standard deviations of the two parts of eps given x_t."""
    m, v = peaks.means[:, 0], peaks.covs[:, 0, 0]
    total, away = abar * v + 1 - abar, x_t - abar.sqrt() * m
    log_parts = peaks.weights.log() - (away**2 / total + total.log()) / 2
    eps = unmix_eps(x_t, m + abar.sqrt() * v / total * away, abar)
    return log_parts.softmax(1), eps, (abar * v / total).sqrt()


# %%
def shifted(kappa):
    """The predictor that minimises E(e - eps)^2 + kappa E|e - eps|."""
    def eps_theta(x_t, t):
        abar = schedule.alpha_bar[t[0]]
        shares, parts, std = noise_given(x_t, abar)
        mean = (shares * parts).sum(1, keepdim=True)
        low, high = (parts.amin(1) - 9)[:, None], (parts.amax(1) + 9)[:, None]
        for _ in range(40):
            e = (low + high) / 2
            below = torch.special.ndtr((e - parts) / std)
            F_e = (shares * below).sum(1, keepdim=True)
            rising = 2 * (e - mean) + kappa * (2 * F_e - 1) > 0
            low, high = torch.where(rising, low, e), torch.where(rising, e, high)
        return e
    return eps_theta

# %% tags=["hide-input"]
# checks eq:mean-to-median, eq:shift-bound
x_t, t = torch.tensor([[-0.2]]).double(), torch.tensor([500])
shares, parts, std = noise_given(x_t, schedule.alpha_bar[500])
fine = torch.linspace(-6, 6, 6001, dtype=torch.float64)
bells = torch.exp(-(((fine[:, None] - parts) / std) ** 2) / 2)
chance = (shares / std * bells).sum(1)
chance = chance / chance.sum()
mean = peaks.eps(x_t, 500).item()
assert 1e-8 < 0.1**2 / (4 * 64 * 3072) < 2e-8
rows = []
for kappa in (0.0, 0.1, 1.0, 10.0):
    e = torch.linspace(-0.5, 0, 501, dtype=torch.float64)[:, None]
    cost = ((e - fine) ** 2 + kappa * (e - fine).abs()) @ chance
    best, ours = e[cost.argmin()].item(), shifted(kappa)(x_t, t).item()
    off = abs(ours - mean)
    rows.append([f"{kappa:g}", f"{ours:.3f}", f"{off:.3f}"])
    assert abs(ours - best) < 0.0011 and abs(ours - mean) <= kappa / 2 + 1e-9
Table(["κ", "best prediction", "from the mean"], rows)

# %% [markdown]
# What does a sampler make of such a predictor? DDIM with 60 steps from 400 starts at equally spaced quantiles of $\mathcal N(0, 1)$; three tenths of the data lie in the left peak.

# %%
quantile = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
starts = torch.special.ndtri(quantile)[:, None]
cifar = 0.1 / (64 * 3 * 33**2) ** 0.5  # lambda / sqrt(N): batch 64, 3 x 32 x 32
kappas, left = (0.0, cifar, 0.1, 1.0, 10.0, 1e6), {}
for kappa in kappas:
    *_, last = ddim_path(
        shifted(kappa), starts, schedule, make_tau(1000, 60, "trailing")
    )
    left[kappa] = (last.x_s < -0.2).double().mean().item()
median = left[1e6]
assert abs(left[0.0] - 0.3) < 0.015 and abs(left[cifar] - left[0.0]) < 0.003
assert left[0.0] > left[0.1] > left[1.0] > left[10.0] > median and median < 0.17

# %% mystnb={"figure": {"caption": "Left: the best prediction at level 300 for three weights κ of the L1 term; the median (κ → ∞) falls from one line to another where the mean passes over smoothly. Right: the share of DDIM samples that land in the left peak. The dotted line is the data's 0.3, the arrow the size that the published term has for 64 pictures of CIFAR-10.", "name": "fig-adaptive-median"}, "image": {"alt": "Two plots. Left: three rising curves of predicted noise against x at level 300. The mean rises smoothly; the median follows a higher line up to about x = -0.65, falls there from -0.3 to -1 and goes on along a lower line; kappa 1 lies between. Right: the share of the left peak against kappa on a logarithmic axis, falling from just below 0.3 at 0.0002, which an arrow marks as the published size, over 0.28 at 0.1 to 0.15 at infinity."}} tags=["hide-input"]
fig, (a, b) = figure(2, height=2.6)
line = torch.linspace(-1.6, 1.6, 321, dtype=torch.float64)[:, None]
level = torch.full((321,), 300)
for kappa, name in ((0.0, "mean"), (1.0, "κ = 1"), (1e6, "median")):
    a.plot(line, shifted(kappa)(line, level), label=name)
a.set(xlabel="$x_t$ at level 300", ylabel="best prediction")
a.legend()
shown = {k: s for k, s in left.items() if k > 0}
xs = [min(k, 100) for k in shown]
b.plot(xs, list(shown.values()), "o-", ms=4)
b.axhline(0.3, ls=":", color="gray")
arrow = {"arrowstyle": "->"}
b.annotate("published", (cifar, 0.295), (cifar, 0.22), arrowprops=arrow)
b.set(xscale="log", ylim=(0.1, 0.34), xlabel="κ", ylabel="share of the left peak")
b.set_xticks((1e-3, 1e-1, 10, 100), ("0.001", "0.1", "10", "∞"));

# %%
change = shifted(1e6)(line, level).diff(dim=0).min().item()
assert change < -0.3 and shifted(0.0)(line, level).diff(dim=0).min() > 0

# %% [markdown]
# A median votes with the majority, here for the right peak. In the limit half of the rare peak is lost; at the published size, none. 
# **The norm hides the fault of the absolute value: on this mixture the term does harm as soon as it is large enough to do anything.**
#
# ### A weight that leaves the optimum alone
#
# Can a square with a weight $w > 0$ meet S1's wish without leaving the mean?
#
# ```{prf:theorem} The optimum of a weighted square
# :label: thm-weighted-optimum
# Let $w > 0$ depend on $x_0$, $\epsilon$ and $x_t$ in any way. In each coordinate, $E\bigl[w\, (e - \epsilon)^2 \mid x_t\bigr]$ is least at
#
# $$
# \begin{aligned}
# e^* &= \frac{E[w\, \epsilon \mid x_t]}{E[w \mid x_t]} \\
#     &= E[\epsilon \mid x_t] + \frac{\operatorname{Cov}(w, \epsilon \mid x_t)}{E[w \mid x_t]} .
# \end{aligned}
# $$ (eq:weighted-optimum)
#
# This $e^*$ is $E[\epsilon \mid x_t]$ if and only if $w$ and $\epsilon$ are uncorrelated given $x_t$. For a weight that is a function of $x_t$ they always are.
# ```
#
# ```{prf:proof}
# The expectation is a parabola in $e$, with derivative $2\,(e\, E[w \mid x_t] - E[w\, \epsilon \mid x_t])$ and leading coefficient $E[w \mid x_t] > 0$. The second form is the definition of the covariance. Given $x_t$, a function of $x_t$ is a constant.
# ```
#
# The complexity of the clean picture $x_0$ is **not** allowed: given $x_t$, picture and noise determine each other, so weight and noise are correlated as a rule. We take the complexity of the network's own prediction
# $\hat x_0$, a function of $x_t$, and let no gradient through it: the network shall not lower the loss by drawing busy places where its errors are small. Now let $d_x, d_y$ be central differences, with the outermost pixels repeated beyond the border, and
#
# $$
# w = \frac{g}{\operatorname{mean}(g)}, \qquad g = \sqrt{\textstyle\sum_{\text{channels}} (d_x^2 + d_y^2)} ,
# $$ (eq:pixel-complexity)
#
# with the mean over *one* picture ($w = 1$ if it is constant).  The **mended loss** is
#
# $$
# L = \operatorname{mean}\Bigl(\frac{1 + \lambda\, w(\hat x_0)}{1 + \lambda}\, (\hat\epsilon - \epsilon)^2\Bigr) .
# $$ (eq:mended-loss)
#
# We check the theorem on 40 digits as all the data: given $x_t$ only 40 noises are possible. With $w$ of $\hat x_0$ the slope of the loss at $E[\epsilon \mid x_t]$ is 0; with $w$ of the clean $x_0$ it is not, and the optimum moves by up to 0.06.

# %%
# checks eq:pixel-complexity
x = training[:64].double()
framed = F.pad(x, (1, 1, 1, 1), mode="replicate")
along = (framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]) / 2
down = (framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]) / 2
g = (along**2 + down**2).sum(1, keepdim=True).sqrt()
assert torch.allclose(g / g.mean((2, 3), keepdim=True), pixel_complexity(x))

# %%
album, t, lam = x[:40], 500, 3.0
exact, abar = EmpiricalData(album, schedule), schedule.alpha_bar[t]
x_t = q_sample(album[:1], t, schedule, draw(album[:1], generator))
noises = unmix_eps(x_t.expand_as(album), album, abar)
chance = (-noises.square().sum((1, 2, 3)) / 2).softmax(0)
eps_star, x0_hat = exact.eps(x_t, t), exact.x0_mean(x_t, t)
assert torch.allclose(torch.einsum("k,kchw->chw", chance, noises), eps_star[0])


def slope_at(e, picture):
    """Length of the gradient of the expected mended loss at the prediction e."""
    e = e.clone().requires_grad_()
    each = [mended_loss(e, noises[k : k + 1], picture(k), lam) for k in range(40)]
    (slope,) = torch.autograd.grad((chance * torch.stack(each)).sum(), e)
    return slope.norm().item()

# %%
# checks eq:weighted-optimum, eq:mended-loss
clean = (1 + lam * pixel_complexity(album)) / (1 + lam)
e_clean = torch.einsum("k,kchw->chw", chance, clean * noises)[None]
e_clean = e_clean / torch.einsum("k,kchw->chw", chance, clean)
assert (chance > 0.01).sum() == 21  # of 40
for name, picture in (
    ("w of x0_hat", lambda k: x0_hat),
    ("w of the clean x_0", lambda k: album[k : k + 1]),
):
    at_mean, at_formula = slope_at(eps_star, picture), slope_at(e_clean, picture)
    assert (at_mean < 1e-12) == (name == "w of x0_hat") == (at_formula > 1e-6)
moved = (e_clean - eps_star).abs().max().item()
assert 0.05 < moved < 0.07

# %% [markdown]
# So with a weight of $\hat x_0$ the best prediction is $E[\epsilon \mid x_t]$ for every $\lambda$. Given unlimited capacity, data and training, such a weight changes **nothing**. It can change where a limited network is wrong. The smallest example predicts a pixel's noise at level 300 as a linear function of the 3 × 3 pixels around it, by least squares with weights of the exact $\hat x_0$.

# %% tags=["hide-input"]
every = EmpiricalData(training.double(), schedule)
x_0 = training[torch.randint(len(training), (600,), generator=generator)].double()
eps = draw(x_0, generator)
x_t = q_sample(x_0, 300, schedule, eps)
w = pixel_complexity(every.x0_mean(x_t, 300))
around = F.unfold(x_t, 3, padding=1).mT.reshape(-1, 9)
target, busy, errors, rows = eps.reshape(-1, 1), w.flatten() > 1, {}, []
for lam in (0.0, 1.0, 10.0):
    root = ((1 + lam * w) / (1 + lam)).sqrt().reshape(-1, 1)
    nine = torch.linalg.lstsq(around * root, target * root).solution
    e2 = (around @ nine - target).square().flatten()
    errors[lam] = [part.mean().item() for part in (e2[busy], e2[~busy], e2)]
    rows.append([f"λ = {lam:g}", *(f"{error:.4f}" for error in errors[lam])])

least = (every.eps(x_t, 300) - eps).square().mean().item()
rows.append(["exact prediction", "", "", f"{least:.4f}"])
Table(["MSE", "busy pixels", "quiet pixels", "all"], rows)

# %%
assert errors[10.0][0] < errors[0.0][0] and errors[10.0][1] > errors[0.0][1]
assert least < errors[0.0][2] < errors[1.0][2] < errors[10.0][2]

# %% [markdown]
# The weight moves error from busy to quiet places, and the total can only rise, since $\lambda = 0$ has minimised it.
#
# ### What the other losses did
#
# **The mended loss does not help.** The held-out MSE is called worse at $\lambda = 1$ and 10 on both data sets. Of the six distances of samples all are larger, but only one passes the test: on the digits, by 61% at $\lambda = 10$. 
#
# **Min-SNR divides the judges.** Its held-out MSE is worse by 9% (digits) and 13% (Fashion-MNIST). Its samples are closer to the data, by 22% and 7%. All four pass the test. (Corrected for all 24 tests together the last two would miss 0.05; the others stand.) The differences in each tenth of the levels, in percent of the MSE of `mse` there, may say why:

# %% tags=["hide-input"]
rows = []
for name in ("digits", "fashion-mnist"):
    for k in losses[1:]:
        rows.append([f"{name}: {k}"])
        both = [of(name, j, "heldout_mse_bins") for j in (k, "mse")]
        for ours, theirs in zip(*(zip(*bins) for bins in both)):
            change, scale = paired(ours, theirs), 100 / summary(theirs).mean
            star = "*" if abs(change.mean) > change.half else ""
            rows[-1].append(f"{round(change.mean * scale, 1) + 0.0:+.1f}{star}")
    bins = np.mean(of(name, "mse", "heldout_mse_bins"), axis=0)
    assert bins[0] > bins.sum() / 3
Table(["levels up to", *(str(100 * i) for i in range(1, 11))], rows)

# %%
assert (make_tau(1000, 20, "leading")[1:] <= 100).sum() == 2

# %% [markdown]
# (A star: the uncorrected 95% interval of that bin leaves out 0; of the table's 120 cells six would by chance. The placebo has one.) Min-SNR gives up the lowest levels, where its weight $5/\operatorname{SNR}$ is small, and predicts the noise better in the eight bins above level 200. The lowest bin makes up more than a third of the plain MSE, but only two of the sampler's twenty levels lie in it. 
#
# **Sharpness** is the mean square of the discrete **Laplacian** of a picture (its four neighbours minus four times the pixel): detail raises it, blur lowers it. The table has the ratio of sharpness, samples over data. **KID** compares two sets of pictures by a similarity of features: the mean similarity over pairs of the first set, plus that over pairs of the second, minus twice that over mixed pairs. The last column is the loss trained on, in its own units:

# %% tags=["hide-input"]
formats = {"kid": ".4f", "sharpness_ratio": ".3f", "training_loss": ".4f"}
rows = []
for k in losses:
    rows.append([k])
    for name in ("digits", "fashion-mnist"):
        for outcome, f in formats.items():
            _, mean, half = summary(of(name, k, outcome))
            rows[-1].append(f"{mean:{f}} ± {half:{f}}")
what = "sharpness", "training loss"
Table(["loss", "digits: KID", *what, "clothes: KID", *what], rows)

# %% tags=["hide-input"]
nearer, rows = {}, []
for name in ("digits", "fashion-mnist"):
    for k in losses[1:]:
        pair = [(of(name, k, o), of(name, "mse", o)) for o in list(formats)[:2]]
        kid, sharp = (paired(*values) for values in pair)
        nearer[name, k] = sharp
        of_kid = f"{round(kid.mean, 4) + 0.0:+.4f} ± {kid.half:.4f}"
        of_sharp = f"{round(sharp.mean, 3) + 0.0:+.3f} ± {sharp.half:.3f}"
        rows.append([k, of_kid, of_sharp])
for k in losses[3:]:  # the digits' ratio is below 1, the clothes' above
    assert nearer["digits", k].mean < -nearer["digits", k].half
    clear = abs(nearer["fashion-mnist", k].mean) > nearer["fashion-mnist", k].half
    assert clear == (k == "min-snr")
beside = [one + two[1:] for one, two in zip(rows[:6], rows[6:])]
Table(["difference to mse", "digits: KID", "sharpness", "clothes: KID", "sharpness"], beside)

# %% [markdown]
# The last column of the first table is the quantity of S1's claim. **Min-SNR's training loss is about half of the MSE's, while its plain MSE went up.** Weights below 1 make the sum smaller. The published term adds 0.2% on the digits and less on Fashion-MNIST, so a training loss that contains it can only look larger. As for sharpness: the digits' samples are softer than the data (ratio below 1), and every weight makes them a little softer. The clothes' samples are too sharp, and there only min-SNR changes the ratio clearly, towards 1.
#
# What the experiment does not say: networks are small, budgets short, and no loss was tuned anew. All samples come from one set of starts, at level 951, so the intervals are over training, given these starts.

# %% [markdown]
# ### Steps that adapt to their own error
#
# What should a step size adapt to? By chapter 7, DDIM is Euler's method in the clock $\nu$, and a step errs by the change of $\hat\epsilon$ along it. That change can be measured: take the step, and ask the network at the step's end. Let $\epsilon_t$ and $\epsilon_s$ be the predictions at the start and at the end. Heun's step, with the mean of both, is better by an order, so its difference from DDIM's step estimates DDIM's error. In the units of $x_s$ that is
#
# $$
# \text{error} \approx \tfrac12 \sqrt{\bar\alpha_s}\; (\nu_t - \nu_s)\; \operatorname{rms}(\epsilon_s - \epsilon_t) .
# $$ (eq:step-estimate)
#
# The second call is not lost: its prediction starts the next step. If the estimate is above a tolerance, {py:func}`~ddim_edu.solvers.adaptive_ddim` tries a shorter step, at the price of a call. The next length (in $\arctan \nu$) is the last, times $0.8/\sqrt{\text{error}/\text{tolerance}}$, because the error goes with the square of the length. The next cell compares it, on the mixture in the plane, with the distance from Heun's steps of one level:

# %% tags=["hide-input"]
# checks eq:step-estimate
plane = GaussianMixture(
    [0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule
)
t, x_0 = 400, plane.sample(200, generator)
x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
rows = []
for s in (350, 390):
    x_s = ddim_step(x_t, plane.eps(x_t, t), *schedule.alpha_bar[[t, s]])
    *_, true, _ = heun_path(plane.eps, x_t, schedule, [0, *range(s, t + 1)])
    change = (plane.eps(x_s, s) - plane.eps(x_t, t)).square().mean(1).sqrt()
    way = schedule.nsr[t] - schedule.nsr[s]
    estimate = 0.5 * schedule.alpha_bar[s].sqrt() * way * change
    ratio = estimate / (x_s - true.x_s).square().mean(1).sqrt()
    low, high = ratio.quantile(torch.tensor([0.05, 0.95]).double())
    rows.append([f"{t} to {s}", f"{low:.2f} to {high:.2f}"])
    assert (1.1 if s == 350 else 0.9) < low < high < (1.4 if s == 350 else 1.1)
Table(["step", "estimate over error, 90% of the starts"], rows)

# %%
x_T = draw(torch.empty(200, 2, dtype=torch.float64), generator)
run = adaptive_ddim(plane.eps, x_T, schedule, atol=0.05)
low, mean, high = run.calls.min(), run.calls.double().mean(), run.calls.max()
assert (low, high) == (10, 18) and 13 < mean < 14
*_, last = ddim_path(plane.eps, x_T[:1], schedule, run.tau(0))
assert torch.allclose(last.x_s, run.x_0[:1])  # it is DDIM, on levels of its own

# %% [markdown]
# With a tolerance of 0.05 a start took 10 to 18 calls ({numref}`fig-adaptive-answer`). Errors are compared at equal numbers of calls, rejected tries included. The error of a picture is the root mean square distance from where hundreds of Heun's steps take the same start. The networks start at level 900. `quadratic` starts far below, at level 721, which explains its error there: it is a rival on the mixture only. The rivals are DDIM on fixed levels: `trailing`, `quadratic`, `quadratic-full`, and **fitted**, the best levels that a search on other starts found for each problem and $S$. `benchmarks/adaptive_steps.py` took four batches, in all 1000 starts for the mixture, 64 for the digits and 32 for Fashion-MNIST. At the tolerances 0.1 and 0.02:

# %% tags=["hide-input"]
study, shown = read("adaptive_steps")["problems"], (0.1, 0.02)
counts, rows = {"mixture": 1000, "digits": 64, "fashion-mnist": 32}, []
for name, images in counts.items():
    assert study[name]["images"] == images and study[name]["batches"] == 4
    for row in study[name]["error_against_calls"]["ratios"]:
        key = row["method"], row["variant"]
        if name != "mixture" and row["against"] == "quadratic":
            continue  # see the next cell
        if key == ("adaptive, order 1", "per image") and row["atol"] in shown:
            ci = math.exp(3.18 * row["log_se"])  # t of 3 degrees of freedom
            ratio = row["ratio"]
            about = name, f"{row['calls']:.1f}", row["against"]
            rows.append([*about, f"{ratio:.2f}", f"{ratio / ci:.2f} to {ratio * ci:.2f}"])
Table(["problem", "calls", "against", "error of adaptive DDIM over it", "95%"], rows)

# %%
for name in list(counts)[1:]:
    start = study[name]["quadratic_starts_at"]
    rows = study[name]["error_against_calls"]["rows"]
    (ten,) = (row for row in rows if row["method"] == "ddim"
              and row["variant"] == "quadratic" and row["setting"] == 10)
    assert start["level"] == 721  # the errors agree: it is the start's
    assert start["mean"] > 0.8 * ten["mean"]

# %% mystnb={"figure": {"caption": "Mean error against network calls. Fixed levels in grey tones, steps that adapt for each image in colour. The dashed lines keep Heun's step in place of DDIM's, at the same price in calls. Bars: one standard error.", "name": "fig-adaptive-steps"}, "image": {"alt": "Three log-log plots of error against calls from 5 to 40. Mixture: adaptive DDIM lies between trailing above and fitted below, close to quadratic-full; adaptive Heun lies between the dashed lines of Heun's step on trailing and on quadratic-full. Digits and clothes: adaptive DDIM lies above trailing; the dashed line of Heun on trailing lies below adaptive Heun, which meets it at the right. In all, Heun's step on fitted levels is lowest from ten calls on."}} tags=["hide-input"]
fig, axes = figure(3, height=3.3)
styles = {
    ("ddim", "trailing"): ("s-", "0.45", "trailing"),
    ("ddim", "quadratic-full"): ("v-", "0.7", "quadratic-full"),
    ("ddim", "fitted"): ("D-", "0.0", "fitted"),
    ("heun, noise reused", "trailing"): ("s--", "0.45", "Heun, trailing"),
    ("heun, noise reused", "quadratic-full"): ("v--", "0.7", "Heun, quadratic-full"),
    ("heun, noise reused", "fitted"): ("D--", "0.0", "Heun, fitted"),
    ("adaptive, order 1", "per image"): ("o-", "C0", "adaptive DDIM"),
    ("adaptive, order 2", "per image"): ("o--", "C1", "adaptive Heun"),
}
for ax, name in zip(axes, counts):
    for key, (style, colour, label) in styles.items():
        rows = study[name]["error_against_calls"]["rows"]
        rows = [row for row in rows if (row["method"], row["variant"]) == key]
        names = ("calls", "mean", "mean_se")
        x, y, bar = ([row[k] for row in rows] for k in names)
        look = {"ms": 3.5, "lw": 1.2, "color": colour, "label": label}
        ax.errorbar(x, y, bar, fmt=style, **look)
    ax.set(xscale="log", yscale="log", title=name, xlabel="network calls")
    ax.set_xticks((5, 10, 20, 40), (5, 10, 20, 40))
    ax.minorticks_off()
    ax.set_ylim(top=1)
axes[0].set_ylabel("error of $x_0$ (rms)")
handles = axes[0].get_legend_handles_labels()
fig.legend(*handles, loc="outside lower center", ncols=4, fontsize=9);

# %%
ratio = {}  # for each problem, order and rival, by rising calls
for name in counts:
    for row in study[name]["error_against_calls"]["ratios"]:
        if row["variant"] == "per image":
            key = name, int(row["method"][-1]), row["against"]
            ratio.setdefault(key, []).append(row["ratio"])

# %%
assert ratio["mixture", 1, "trailing"][3] < 0.7
assert 0.95 < ratio["mixture", 1, "quadratic-full"][3] < 1.05
assert ratio["mixture", 1, "quadratic"][3] > 1.1
assert all(0.8 < ratio[name, 1, "quadratic-full"][3] < 1.1 for name in counts)
for name in ("digits", "fashion-mnist"):
    assert min(ratio[name, 1, "trailing"]) > 1.15
    assert max(ratio[name, 1, "trailing"]) < 1.43
    assert ratio[name, 2, "trailing"][3] > 1
assert ratio["digits", 2, "trailing"][4] > 1 > ratio["fashion-mnist", 2, "trailing"][4]
assert min(ratio["mixture", 2, "quadratic-full"]) > 1.6
assert all(1.4 < ratio[name, 1, "fitted"][3] < 1.6 for name in counts)

# %% tags=["hide-input"]
lines = []
for name in counts:
    rows = study[name]["error_against_calls"]["rows"]
    rows = {(r["method"], r["variant"], r["setting"]): r for r in rows}
    one, two = (rows[f"adaptive, order {k}", "per image", 0.01] for k in (1, 2))
    for label, row in (("DDIM", one), ("Heun", two)):
        spent = f"{row['calls']:.1f}", f"{row['rejected']:.1f}"
        lines.append([f"{name}, {label}", f"{row['mean']:.3f}", *spent])
    assert two["mean"] < 0.6 * one["mean"]
Table(["tolerance 0.01", "error", "calls", "of them in vain"], lines)

# %% [markdown]
# On the mixture, at 19 calls, the error of adaptive DDIM is a third below that of `trailing` and about that of `quadratic-full`; with fewer calls it does less well. On both networks plain `trailing` is better: at every tolerance the adaptive error is larger, by 18 to 42%. Against `quadratic-full` the adaptive error is about the same on the digits and smaller on the clothes. At the tolerance 0.02 a fitted list has about two thirds of the adaptive error. Keeping Heun's step at least halves the error (last table), but that is Heun's merit: Heun's steps on the better of `trailing` and `quadratic-full` are ahead of the adaptive Heun, but for the last point on the clothes.
#
# A fifth to a quarter of the calls are tries in vain. And do pictures need different steps? The next cell has the rank correlation of five quantities with the error of a picture in a step, averaged over a path of ten.

# %% tags=["hide-input"]
names = ("complexity of x0_hat", "complexity of x0_hat, alone")
names += ("size of x0_hat", "last change of eps", "estimate")
found, rows = {}, []
for problem in ("digits", "fashion-mnist"):
    found[problem] = study[problem]["complexity"][0]["correlations"]
    for k in names:
        low, high = found[problem][k]["mean_95"]
        mean = found[problem][k]["mean"]
        rows.append([k, f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"])
    low, high = found[problem]["complexity of x0_hat"]["mean_95"]
    assert low < 0.05 and found[problem]["estimate"]["mean"] > 0.9
beside = [one + two[1:] for one, two in zip(rows[:5], rows[5:])]
Table(["quantity", "digits", "95%", "clothes", "95%"], beside)

# %% [markdown]
# (*Alone*: each picture normalised as a batch of one.) The last change of the network's prediction tells much of the error of the next step; almost all is told by the estimate {eq}`eq:step-estimate`, which costs a call. The published complexity of $\hat x_0$ tells little on either data set; normalised picture by picture, the complexity tells something on the clothes. Does knowing it help? Let half of the pictures get 12 steps and the others 8. (The complexity comes from an extra sampling in five steps, which are not counted.) The last row knows the truth: its half gains most from 12 steps instead of 8.

# %% tags=["hide-input"]
rows = []
for problem in found:
    split = study[problem]["steps_by_complexity"][0]
    rows.append(["error with ten steps for all", f"{split['same_for_all']:.4f}"])
    for k, change in split["change_of_mean_error"].items():
        text = f"{change['change']:+.4f} ± {2 * change['se']:.4f}"
        rows.append([f"12 steps for: {k}", text])
        assert change["change"] > -2 * change["se"]
    best = change["change"] / split["same_for_all"]
    assert best == min(c["change"] for c in split["change_of_mean_error"].values()) / (
        split["same_for_all"]) and -0.05 < best < 0
beside = [one + two[1:] for one, two in zip(rows[:8], rows[8:])]
Table(["change of the error", "digits", "clothes"], beside)

# %% [markdown]
# (± is two standard errors.) **There is next to nothing to gain by dealing out 12 and 8 steps.** The best half that exists lowers the mean error by 1.3% on the digits and 3.9% on the clothes. Complexity gains nothing on the digits; on the clothes its gain is well within chance.
#
# ## What breaks: a weight that looks at the answer
#
# If the weight of a clean picture is one number, $w(x_0)$, {prf:ref}`thm-weighted-optimum` has a plain reading. The posterior of $x_0$ goes with $q(x_0)\, q(x_t \mid x_0)$, so $E[w \epsilon \mid x_t]/E[w \mid x_t]$ is the mean noise for
# *other data*, of density
#
# $$
# q_w(x_0) = \frac{w(x_0)\, q(x_0)}{E[w(x_0)]} .
# $$ (eq:tilted-data)
#
# A picture of twice the weight becomes twice as frequent, relative to the others. Our album holds 150 digits in full contrast and 150 others, faint, in a fifth of it. The weight is $(1 + \lambda w)/(1 + \lambda)$, with the complexity $w$ of the clean picture relative to the album's average.

# %%
album = torch.cat([training[:150], 0.2 * training[150:300]]).double()
framed = F.pad(album, (1, 1, 1, 1), mode="replicate")
along = framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]
down = framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]
busy = (along**2 + down**2).sqrt().flatten(1)
busy, points = busy / busy.mean(), album.flatten(1)  # mean 1 over the album


def weighted(w):
    """The minimiser of E[w (e - eps)^2 | x_t] for data that is the album."""
    def eps_theta(x_t, t):
        abar = schedule.alpha_bar[t[0]]
        apart = torch.cdist(x_t.flatten(1), abar.sqrt() * points) ** 2
        chance = (-apart / (2 * (1 - abar))).softmax(1)
        x0_hat = (chance @ (w * points)) / (chance @ w)
        return unmix_eps(x_t, x0_hat.view_as(x_t), abar)
    return eps_theta

# %% tags=["hide-input"]
# checks eq:tilted-data
starts = draw(torch.empty(400, 1, 8, 8, dtype=torch.float64), generator)
tau, strong, sharp, rows = make_tau(1000, 40, "trailing"), {}, {}, []
for lam in (0, 1, 10):
    w = (1 + lam * busy) / (1 + lam)
    whole = w.mean(1, keepdim=True).expand_as(w)
    owed = (whole[:150, 0].sum() / whole[:, 0].sum()).item()
    for name, weight in (("picture", whole), ("pixel", w)):
        *_, last = ddim_path(weighted(weight), starts, schedule, tau)
        nearest = torch.cdist(last.x_s.flatten(1), points).argmin(1)
        strong[lam, name] = (nearest < 150).double().mean().item()
        sharp[lam, name] = busy[nearest].mean().item()
    share, by_pixel = strong[lam, "picture"], strong[lam, "pixel"]
    rows.append([lam, f"{owed:.2f}", f"{share:.2f}", f"{by_pixel:.2f}"])
    assert abs(strong[lam, "picture"] - owed) < 4 * (0.25 / 400) ** 0.5
Table(["λ", "strong, owed", "strong, a weight a picture", "a weight a pixel"], rows)

# %%
gain = sharp[10, "picture"] / sharp[0, "picture"] - 1
assert strong[10, "picture"] > strong[1, "picture"] > strong[0, "picture"] + 0.06
assert 0.37 < gain < 0.39

# %% [markdown]
# The columns are the share of digits in full contrast ("strong") in $q_w$, then among 400 samples (standard error 0.025) with one weight a picture, and with one for each pixel. At $\lambda = 10$ the perfectly trained model owes four strong digits for each faint one; in all rows the samples have a little less.
# The samples are 38% "sharper" then, which here means a more complex nearest picture of the album: such a measure applauds that the faint are left out. By {prf:ref}`thm-weighted-optimum` the best prediction of the mended loss stays in the row $\lambda = 0$ for every $\lambda$.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Code: the same pictures in four parts
# :label: ex-adaptive-parts
# *Code · two stars · 15 minutes*
#
# When memory is short one splits a batch of 64 into four parts of 16 and averages their losses (gradient accumulation). With the MSE nothing changes. What happens to the published term, and to the mended loss? Take equal pictures in every part, to see it exactly.
# Hand in, for each of the two, its value in four parts over its value for the whole batch: `check("ex-adaptive-parts", (published, mended))`.
# ```
#
# ````{solution} ex-adaptive-parts
# :class: dropdown
# The norm in {eq}`eq:published-complexity` is then over a quarter of the elements, so the weights, and the term, double. The mended loss normalises each picture by itself and does not change. A loss whose value depends on how much memory one has cannot be compared between papers.
#
# ```python
# import torch
# from ddim_edu.adaptive import adaptive_step_loss, mended_loss
# from ddim_edu.exercises import check
#
# g = torch.Generator().manual_seed(0)
# normal = lambda: torch.randn(16, 1, 8, 8, generator=g, dtype=torch.float64)
# x, e = normal().repeat(4, 1, 1, 1), normal().repeat(4, 1, 1, 1)
# zero, parts = torch.zeros_like(e), [slice(i, i + 16) for i in range(0, 64, 16)]
# mse = e.square().mean()
# whole = adaptive_step_loss(e, zero, x) - mse
# split = sum(adaptive_step_loss(e[p], zero[p], x[p]) - mse for p in parts) / 4
# assert torch.isclose(split, 2 * whole)
# mended = sum(mended_loss(e[p], zero[p], x[p]) for p in parts) / 4
# mended_whole = mended_loss(e, zero, x)
# assert torch.isclose(mended, mended_whole)
# assert check("ex-adaptive-parts", (split / whole, mended / mended_whole))
# ```
# ````
#
# ```{exercise} Derive: peaks made equal
# :label: ex-adaptive-tilt
# *Derive · two stars · 20 minutes*
#
# The mixture on the line has 30% of its data in the left peak. For which weight $w(x_0)$, a number for each peak, does the minimiser of $E[w\,(e - \epsilon)^2]$ generate the two peaks equally often? (Take the weight of the component that a point was drawn from.) Check that the weighted mean
# of the noise is the exact prediction for such data.
# Hand in a function `weights(shares)` for any number of peaks, up to a common factor: `check("ex-adaptive-tilt", weights)`.
# ```
#
# ````{solution} ex-adaptive-tilt
# :class: dropdown
# $w\, q$ has to be equal for both, so $w \propto 1/0.3$ on the left and $1/0.7$ on the right. Resampling rare data and weighting it are the same to a squared error. That is the right use of a weight of $x_0$: when other data is what one wants.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def weights(shares):
#     return 1 / shares
#
# schedule = NoiseSchedule.linear()
# means, variances = [[-1.0], [0.6]], [0.02, 0.05]
# equal = GaussianMixture([0.5, 0.5], means, variances, schedule)
# abar = schedule.alpha_bar[400]
# x_t = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]
# x_0 = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
# eps = (x_t - abar.sqrt() * x_0) / (1 - abar).sqrt()
# density = torch.zeros_like(x_0)  # of w(x_0) q(x_0)
# shares = torch.tensor([0.3, 0.7], dtype=torch.float64)
# for share, w, (mean,), variance in zip(shares, weights(shares), means, variances):
#     part = (-((x_0 - mean) ** 2) / (2 * variance)).exp() / variance**0.5
#     density += w * share * part
# posterior = density * (-(eps**2) / 2).exp()
# mean_noise = (posterior * eps).sum(1) / posterior.sum(1)
# assert torch.allclose(mean_noise, equal.eps(x_t, 400)[:, 0], atol=1e-8)
# assert check("ex-adaptive-tilt", weights)
# ```
# ````
#
# ```{exercise} Break: nothing but complexity
# :label: ex-adaptive-only
# *Break · two stars · 20 minutes*
#
# Drop the 1 in {eq}`eq:mended-loss`: weigh by $w(\hat x_0)$ alone. What does the loss say about the noise of pixels where $\hat x_0$ is flat? Take a picture whose left half is flat and compute the gradient. Then the same for the published term alone, without the MSE, with an error of 0.01 and of 1.
# Hand in the largest size of the gradient where the picture is flat (without the column beside the other half), and the size of the published term's gradient at an error of 1 over that at 0.01: `check("ex-adaptive-only", (flat, ratio))`.
# ```
#
# ````{solution} ex-adaptive-only
# :class: dropdown
# Where $w = 0$ every prediction costs nothing: the optimum is not unique, and the gradient there is 0. The 1 forbids that. The gradient of $c\,\lvert e \rvert$ has the other fault: it does not depend on the size of the error at all, so small errors are pushed as hard as large ones.
#
# ```python
# import torch
# from ddim_edu.adaptive import adaptive_step_loss, pixel_complexity
# from ddim_edu.exercises import check
#
# g = torch.Generator().manual_seed(0)
# x0_hat = torch.randn(1, 1, 8, 8, generator=g, dtype=torch.float64)
# x0_hat[..., :4] = 0.3
# e = torch.randn(1, 1, 8, 8, generator=g, dtype=torch.float64).requires_grad_()
# (slope,) = torch.autograd.grad((pixel_complexity(x0_hat) * e.square()).mean(), e)
# assert (slope[..., :3] == 0).all() and (slope[..., 4:] != 0).all()
#
# def push(size):
#     e = torch.full((1, 1, 8, 8), size, dtype=torch.float64).requires_grad_()
#     term = adaptive_step_loss(e, torch.zeros_like(e), x0_hat) - e.square().mean()
#     return torch.autograd.grad(term, e)[0]
#
# flat, ratio = slope[..., :3].abs().max(), push(1.0).abs().max() / push(0.01).abs().max()
# assert torch.allclose(push(0.01), push(1.0)) and push(1.0).abs().max() > 0
# assert check("ex-adaptive-only", (flat, ratio))
# ```
# ````
#
# ```{exercise} Measure: what pairing is worth
# :label: ex-adaptive-paired
# *Measure · two stars · 20 minutes*
#
# Let a run's result be the sum of what the seed does (standard deviation 1), what the loss does (0 or 0.5) and a remainder (standard deviation 0.2). With five seeds each, how often does a t-test at 5% find the difference, paired and unpaired?
# Hand in the two shares of, say, 2,000 simulated experiments with an effect of 0.5: `check("ex-adaptive-paired", (paired, unpaired))`.
# ```
#
# ````{solution} ex-adaptive-paired
# :class: dropdown
# The paired differences have standard deviation $0.2\sqrt 2$ and the effect is found in most experiments. Unpaired, the seeds' spread of 1 hides it nearly always.
#
# ```python
# import numpy as np
# from scipy import stats
# from ddim_edu.exercises import check
#
# rng = np.random.default_rng(0)
# seed = rng.normal(size=(2000, 5))
# first = seed + 0.2 * rng.normal(size=(2000, 5))
# second = seed + 0.5 + 0.2 * rng.normal(size=(2000, 5))
# paired = (stats.ttest_rel(first, second, axis=1).pvalue < 0.05).mean()
# unpaired = (stats.ttest_ind(first, second, axis=1).pvalue < 0.05).mean()
# assert paired > 0.8 and unpaired < 0.15
# assert check("ex-adaptive-paired", (paired, unpaired))
# ```
# ````
#
# ## Summary
#
# 1. The squares of the published weights add up to 1 over the batch. So, for $n$ pixel values, the term is at most $\lambda/\sqrt{n\,\text{MSE}}$ of the MSE: 0.16% for 64 pictures at S1's size and least loss. The term can only raise the least MSE, so a fall by 29% has another cause. The step size sits on its limit.
# 2. An L1 term of a size that matters moves the prediction from the mean towards the median, and DDIM then starves the rarer peak.
# 3. A weighted square keeps the optimum if weight and noise are uncorrelated given $x_t$. A weight that is a function of $x_t$ keeps it; a weight of the clean picture trains for other data.
# 4. Over five seeds the published term changed nothing that could be seen, and the mended loss made predictions worse at $\lambda = 1$ and 10. Min-SNR halved its own training loss, with worse plain MSE and better samples: losses in different units do not compare.
# 5. DDIM steps that adapt to an estimate of their own error were worse than `trailing` on both networks. Dealing out steps by complexity gained nothing that could be measured.
#
# **Next.** Chapter 9 builds the network that all of this trains.
