# %% [markdown]
# (ch-training)=
# # Training the full models
#
# **Question.** $L_{\text{simple}}$ is one line, and a training run has some thirty settings. What turns that line into a model worth sampling from, and which of the settings
# matter?
#
# Chapter 3 trained a network for points in a loop of a dozen lines. The programs that train the models of papers are long, and it is hard to see what they add. So
# each addition is taken by itself here, and measured. At the end you will have checked
#
# - that a dozen lines do what this book's training program does, bit for bit;
# - where the shipped model begins to overfit, and what its loss is worth beside predictors that need no training;
# - what averaging the weights buys, and that a falling learning rate buys the same;
# - what mirrored levels, clipping, warm-up and weights of levels do to the loss and to its gradient;
# - that a run can be stopped, resumed and shared out without changing its result.
#
# The chapter opens {py:mod}`ddim_edu.lab.recipes` and {py:mod}`ddim_edu.lab.trainer`.

# %%
import copy
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import q_sample, unmix_x0
from ddim_edu.lab.checkpoint import load, training_log
from ddim_edu.lab.data import Shuffle, digits
from ddim_edu.lab.recipes import RECIPES, Recipe, recipe_from_dict
from ddim_edu.lab.trainer import Trainer, changes, ema_update
from ddim_edu.losses import draw_t, eps_error, loss_simple, min_snr_gamma
from ddim_edu.nets.points import PointNet
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.plotting import COLOURS, figure
from ddim_edu.sampler import draw, generator_for

# %% [markdown]
# ## A recipe read aloud
#
# Everything that decides what a run makes stands in one frozen dataclass, {py:class}`~ddim_edu.lab.recipes.Recipe`, and is saved beside the weights. Its defaults are the settings with which
# {cite:t}`ho2020ddpm` trained on CIFAR-10 and which the authors of DDIM took over: 800,000 steps of 128 images, Adam at $2 \cdot 10^{-4}$, gradients clipped to norm 1, weights averaged with decay 0.9999. So the recipe of the paper's
# model should have little to add to the defaults, and the one for digits more.

# %%
print("cifar10-128:", changes(Recipe(), RECIPES["cifar10-128"]))
print("digits:")
for line in changes(Recipe(), RECIPES["digits"]):
    if not line.startswith("unet"):
        print("  ", line)

# %% [markdown]
# In words: small pictures, so the cosine schedule, because the linear one spends its last third on levels where nothing of 8 × 8 pixels is left to be seen. Few steps, so a
# learning rate twenty times the paper's, which can't be kept up: it falls to 0 along half a cosine. A short run, so an average with a short memory: 0.995. Labels are hidden for one image in five, for a use that comes in chapter 14. The shipped model
# is that recipe with more patience:

# %%
MODELS = ("digits",)  # the shipped models of this chapter
shipped = {name: load(name) for name in MODELS}
for name, made in shipped.items():
    longer = changes(RECIPES[name], recipe_from_dict(made.recipe))
    print(name, *longer, sep="\n   ")

# %% [markdown]
# The learning rate of step $k = 0, 1, \dots, N - 1$ is a product of three factors: the highest rate $\lambda$, a straight rise over $w$ steps of **warm-up**, and a fall to the share $f$:
#
# $$
# \begin{aligned}
# \lambda_k = \lambda &\cdot \min\bigl(1, \tfrac{k+1}{w}\bigr) \\
#   &\cdot \bigl(f + (1 - f)\, \tfrac12 (1 + \cos \tfrac{\pi k}{N})\bigr) .
# \end{aligned}
# $$ (eq:learning-rate)

# %%
# checks eq:learning-rate
for recipe in (RECIPES["digits"], RECIPES["cifar10-128"]):
    N, w, f = recipe.steps, recipe.warmup, recipe.lr_final
    for k in (0, w // 2, w, N // 2, N - 1):
        fall = f + (1 - f) * 0.5 * (1 + math.cos(math.pi * k / N))
        by_hand = recipe.lr * min(1, (k + 1) / w) * fall
        assert math.isclose(by_hand, recipe.lr_at(k), rel_tol=1e-12)

# %% [markdown]
# ## The loop by hand
#
# Take a recipe small enough for this page: the digits, a network of 16 channels without labels, twelve steps. What is random at a step is drawn from a generator that is a function of the seed and the step's number, and the order of the images is one, too. Nothing
# depends on what was drawn before; we shall need that.

# %%
net_config = UNetConfig(8, 1, 16, (1, 1), 1, (), dropout=0.0, groups=4)
tiny = replace(RECIPES["digits"], unet=net_config, steps=12, warmup=4)
tiny = replace(tiny, log_every=4, save_every=4, sample_every=12)
data, schedule = digits(), tiny.noise_schedule()
shuffle = Shuffle(len(data.train), tiny.batch, tiny.seed)


def drawn(step):
    """Images, levels and noise of a step."""
    g = generator_for(tiny.seed, 1, step)
    t = draw_t(tiny.batch, tiny.T, generator=g, antithetic=True)
    eps = torch.randn(tiny.batch, 1, 8, 8, generator=g)
    return data.floats(data.train[shuffle(step)]), t, eps


def new_network():
    torch.manual_seed(generator_for(tiny.seed, 2).initial_seed())
    return UNet(tiny.unet).to(memory_format=torch.channels_last)


# %% [markdown]
# Now the loop. Four lines of it are new against chapter 3: the gradient is **clipped** (scaled down to norm 1 if it is longer), the rate follows {eq}`eq:learning-rate`, and beside the weights $w_n$ an average $a_n$ of them is kept, an *exponential moving average* or **EMA**:
#
# $$
# a_n = d_n\, a_{n-1} + (1 - d_n)\, w_n, \quad d_n = \min\Bigl(d, \tfrac{1 + n}{10 + n}\Bigr) .
# $$ (eq:ema)
#
# Here $n$ counts from 0, and $a_0 = w_0$ are the weights after the first step. Samples are drawn with $a$; $w$ goes on training.

# %%
net = new_network()
average = copy.deepcopy(net)
optimizer = torch.optim.Adam(net.parameters(), fused=True)
losses, norms = [], []
for n in range(tiny.steps):
    loss = loss_simple(net, *drawn(n), schedule)
    optimizer.zero_grad()
    loss.backward()
    norms.append(clip_grad_norm_(net.parameters(), tiny.grad_clip))
    optimizer.param_groups[0]["lr"] = tiny.lr_at(n)
    optimizer.step()
    d = min(tiny.ema, (1 + n) / (10 + n)) if n else 0.0
    for a, w in zip(average.parameters(), net.parameters()):
        a.data.lerp_(w.data, 1 - d)
    losses.append(loss.detach())

# %% [markdown]
# {py:class}`~ddim_edu.lab.trainer.Trainer` has 600 lines: run folders, logs, checkpoints, several GPUs, mixed precision, readable errors. Its numbers should be the same, and not only nearly: every bit.

# %%
# checks eq:ema
folder = TemporaryDirectory()
whole = Path(folder.name) / "whole"
whole.mkdir()
trainer = Trainer.start(tiny, whole)
for record, loss in zip(trainer.run(), losses, strict=True):
    assert torch.equal(record.loss, loss)


def same(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


assert same(trainer.model, net) and same(trainer.averaged.module, average)
assert not same(average, net)

# %% [markdown]
# ## What the logs say
#
# Every shipped model comes with its log. The training loss in it is a mean over the batches since the last line, with the weights $w$ and with dropout on. The held-out loss belongs to the average $a$ without dropout, on images that training never saw,
# with the same 2,000 draws of image, level and noise at every look. So differences along the held-out curve are not sampling noise, but its height is known only as well as 2,000 draws can tell.

# %% mystnb={"figure": {"caption": "Loss during training, from the logs of the shipped models: on the batches (mean since the line before), and of the averaged weights on images held out.", "name": "fig-training-logs"}, "image": {"alt": "Loss against step on logarithmic axes. Both curves fall steeply for the first thousand steps and flatten out. The training curve is noisy and lies above the smooth held-out curve until it crosses it near the end, where the held-out curve is flat."}} tags=["hide-input"]
logs = {name: training_log(name) for name in MODELS}
fig, axes = figure(len(MODELS), height=2.6)
for ax, (name, log) in zip(np.atleast_1d(axes), logs.items()):
    step, held = np.array(log["step"]), np.array(log["heldout_loss"])
    looks = ~np.isnan(held)
    ax.plot(step, log["loss"], lw=0.8, label="training batches")
    ax.plot(step[looks], held[looks], ".-", label="held out, average")
    ax.set(title=name, xlabel="step", ylabel="loss", xscale="log", yscale="log")
    ax.set_yticks([0.1, 0.2, 0.4, 0.8], ["0.1", "0.2", "0.4", "0.8"])
    ax.minorticks_off()
    ax.legend();

# %%
for name, log in logs.items():
    step, loss = np.array(log["step"]), np.array(log["loss"])
    held = np.array(log["heldout_loss"])
    looks = ~np.isnan(held)
    lowest = np.nanargmin(held)
    fifth = len(loss) // 5
    print(f"{name}: held out {held[looks][0]:.3f} at step {step[looks][0]:.0f},")
    print(f"   lowest {held[lowest]:.4f} at {step[lowest]:.0f}, last {held[-1]:.4f}")
    print(f"   training, last fifth of the run {loss[-fifth:].mean():.3f}")
    assert held[lowest] <= held[-1] < 1.05 * held[lowest] < held[looks][0]
    assert loss[-fifth:].mean() < loss[-2 * fifth : -fifth].mean()

# %% [markdown]
# Overfitting shows as a held-out loss that turns and rises while the training loss goes on falling. Here it turns at three quarters of the run, by 0.3% up to the end: it begins, and there is no harm in it yet. The cure, if one were needed, is more dropout or fewer steps.
#
# ## What a loss is worth
#
# Is 0.12 good? A loss of this kind can't be judged alone, so give it company: predictors that need no training.
#
# - **Zero.** It errs by the variance of the noise, 1, at each level. This is also where every network starts, since its last layer begins at 0.
# - **The best multiple of $x_t$.** Let $m$ be the mean square of the data's pixels. Minimise $E(\epsilon - c\, x_t)^2 = 1 - 2 c \sqrt{1 - \bar\alpha_t} + c^2\, (\bar\alpha_t m + 1 - \bar\alpha_t)$ over $c$:
#
# $$
# \begin{aligned}
# c_t &= \frac{\sqrt{1 - \bar\alpha_t}}{\bar\alpha_t m + 1 - \bar\alpha_t}, \\
# \text{error} &= \frac{\bar\alpha_t m}{\bar\alpha_t m + 1 - \bar\alpha_t} .
# \end{aligned}
# $$ (eq:best-multiple)
#
# - **The best straight line** in all pixels together: the exact $\epsilon^*$ of a Gaussian with the mean and covariance of the training images.
# - **The memoriser**: the exact $\epsilon^*$ of the 1,597 training images themselves, as {py:class}`~ddim_edu.exact.EmpiricalData` has it. By {eq}`eq:error-split` no function has a lower *training* loss.

# %%
train, heldout = (data.floats(x) for x in (data.train, data.heldout))
flat, m = train.flatten(1).double(), train.double().square().mean()
line = Gaussian(flat.mean(0), flat.T.cov(correction=0), schedule)
memory = EmpiricalData(train, schedule)
model = shipped["digits"]


def predictions(x_t, t, labels):
    abar_t = schedule.alpha_bar[t][:, None, None, None]
    yield "zero", torch.zeros_like(x_t)
    yield "multiple", (1 - abar_t).sqrt() / (abar_t * m + 1 - abar_t) * x_t
    yield "line", line.eps(x_t.flatten(1).double(), t).view_as(x_t)
    yield "memoriser", memory.eps(x_t, t)
    yield "network", model.eps_theta(labels)(x_t, t)


# %% [markdown]
# 25 levels, evenly spread; at each the 200 held-out images and 200 of the training images, with fresh noise.

# %%
grid = torch.arange(20, 1000, 40)
sets = {"held out": (heldout, data.heldout_labels)}
sets["training"] = (train[::8], data.train_labels[::8])
g, errors = torch.Generator().manual_seed(0), {}
for kind, (x_0, labels) in sets.items():
    for t in grid:
        levels, eps = t.expand(len(x_0)), draw(x_0, g)
        x_t = q_sample(x_0, levels, schedule, eps)
        for name, guess in predictions(x_t, levels, labels):
            error = (guess - eps).double().square().flatten(1).mean(1)
            errors.setdefault((kind, name), []).append(error)
errors = {key: torch.stack(rows) for key, rows in errors.items()}

# %%
# checks eq:best-multiple
abar = schedule.alpha_bar[grid]
for kind, (x_0, _) in sets.items():
    own = x_0.double().square().mean()  # of these images; m is of all
    c = (1 - abar).sqrt() / (abar * m + 1 - abar)
    expected = 1 - 2 * c * (1 - abar).sqrt() + c**2 * (abar * own + 1 - abar)
    found = errors[kind, "multiple"]
    margin = 5 * found.std(1) / len(x_0) ** 0.5 + 1e-9
    assert ((found.mean(1) - expected).abs() < margin).all()
    assert ((abar * m / (abar * m + 1 - abar)) / expected - 1).abs().max() < 0.05

# %%
print("             zero  multiple   line  memoriser  network")
names = "zero", "multiple", "line", "memoriser", "network"
for kind in sets:
    means = [errors[kind, name].mean().item() for name in names]
    print(f"{kind:10s}" + "".join(f"{v:9.2f}" for v in means))
mean = {key: e.mean() for key, e in errors.items()}
assert mean["held out", "network"] < 0.8 * mean["held out", "line"]
assert mean["training", "memoriser"] < 0.6 * mean["training", "network"]
assert mean["held out", "memoriser"] > 1.5 * mean["held out", "network"]

# %% mystnb={"figure": {"caption": "Squared error of the predicted noise, level by level, on held-out digits. Left: all predictors. Right: network and memoriser, on held-out and on training images.", "name": "fig-training-levels"}, "image": {"alt": "Two plots of error against level. Left: all curves fall with the level; zero stays at 1, below it multiple, line and network in this order, and the memoriser leaves the network's curve at low levels and rises far above it. Right: the network's curves for both sets of images lie close together, while the memoriser's are far apart at low levels: near zero on training images, above one on held-out ones."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.7, sharey=True)
for name in names:
    left.plot(grid, errors["held out", name].mean(1), label=name)
for kind, style in (("held out", "-"), ("training", "--")):
    for name, colour in (("memoriser", COLOURS[3]), ("network", COLOURS[4])):
        curve = errors[kind, name].mean(1)
        right.plot(grid, curve, style, color=colour, label=f"{name}, {kind}")
left.set(xlabel="level t", ylabel="squared error", ylim=(0, 1.6))
right.set(xlabel="level t")
left.legend(fontsize=8)
right.legend(fontsize=8);
