# %% [markdown]
# (ch-training)=
# # Training the full models
#
# **Question.** $L_{\text{simple}}$ is one line, and a training run has 44 settings. What turns that line into a model worth sampling from, and which of the settings
# matter?

# %% tags=["hide-input"]
import base64
import io
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddim_edu.data.named import digits
from ddim_edu.files import in_repository
from ddim_edu.losses import draw_t, loss_simple
from ddim_edu.models import load, training_log
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows
from ddim_edu.randomness import draw, generator_for
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.training.recipes import RECIPES, Recipe, changes, recipe_from_dict
from ddim_edu.training.trainer import Trainer

# %% mystnb={"figure": {"caption": "One run of the recipe `faces`, watched: what its averaged weights draw after 500, 1,000, 1,500 and 2,500 steps, from the same eight noises, and their loss on held-out faces. The last row is the model that is shipped. Faces: parts by Pablo Stanley (CC0), Micah Lanier, Johan Melin and Draftbit (CC BY 4.0), recoloured.", "name": "fig-training-growth"}, "image": {"alt": "Four rows of eight small drawn faces. After 500 steps smears with eyes; after 1,000 heads with ragged hair; after 1,500 almost all lines are closed; after 2,500 clean drawings. Each face keeps its pose, and most keep their colours, from row to row. Losses: 0.091, 0.065, 0.055, 0.047."}} tags=["hide-input"]
growth = json.loads(in_repository("results/growth.json").read_text())["strips"]
rows, log = {}, training_log("faces")
for step, text in growth.items():
    strip = torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(text)))))
    images = torch.stack(strip.permute(2, 0, 1).split(32, dim=2)).float() / 127.5 - 1
    loss = log["heldout_loss"][log["step"].index(int(step))]
    rows[f"{int(step):,} steps\nloss {loss:.3f}"] = images
picture_rows(rows);

# %% [markdown]
# From the first row to the last the loss halves, and smears become faces. From the last but one to the last it falls by less than 0.01, and hair, mouths and backgrounds still change.
#
# Chapter 3 trained a network in a dozen lines. The programs that train the models of papers are long. Each addition is taken by itself here, and measured. At the end you will have checked
#
# - that fifteen lines do what this book's training program does, bit for bit;
# - what the logs of three shipped models say, and where one of them begins to overfit;
# - what a loss of 0.12 is worth beside predictors that need no training, and what it means at each level;
# - what averaging the weights buys, and that a falling learning rate buys the same;
# - what mirrored levels, clipping, warm-up and weights of levels do to the loss and to its gradient;
# - that a run can be stopped, resumed and shared out without changing its result.
#
# The chapter opens {py:mod}`ddim_edu.training.recipes` and {py:mod}`ddim_edu.training.trainer`.

# %% [markdown]
# ## A recipe read aloud
#
# Everything that decides what a run makes stands in one frozen dataclass, {py:class}`~ddim_edu.training.recipes.Recipe`, and is saved beside the weights. Its defaults are the settings with which
# {cite:t}`ho2020ddpm` trained on CIFAR-10: 800,000 steps of 128 images, Adam at $2 \cdot 10^{-4}$, gradients clipped to norm 1, weights averaged with decay 0.9999. The DDIM paper's results on CIFAR-10 are sampled from that trained model,
# so `cifar10-128`, its recipe, should have little to add to the defaults.

# %%
settings = len(fields(Recipe)) - 1 + len(fields(UNetConfig))
assert settings == 44
print(f"{settings} settings; cifar10-128:", ", ".join(changes(Recipe(), RECIPES["cifar10-128"])))
linear, cosine = NoiseSchedule.linear(), NoiseSchedule.cosine()
print(f"SNR at level 667: linear {linear.snr[667]:.2f}, cosine {cosine.snr[667]:.2f}")
rows = [line.replace(" -> ", " ").split(" ") for line in changes(Recipe(), RECIPES["digits"])]
Table(["setting", "default", "digits"], [row for row in rows if "unet" not in row[0]])

# %% [markdown]
# In words (the fields of the network, `unet`, belong to chapter 9): small pictures, so the cosine schedule, because the linear one spends its last third on levels where next to nothing of 8 × 8 pixels is left. Few steps, so a
# learning rate twenty times the paper's, which can't be kept up: it falls to 0 along half a cosine. A short run, so an average with a short memory: 0.995. It predicts the velocity $v$ of {eq}`eq:error-scale` in place of the noise. The reason is the cosine schedule's last levels, which hold next to no picture: there an error in $\epsilon$ is multiplied by up to 20,000 on its way into the picture. The network is told the class of an image, except for one image in five, whose label is hidden, for a use that comes in {doc}`chapter 14 </chapters/14_conditioning>`.
#
# Three of the shipped models, `digits`, `fashion-mnist` and `cifar10-tiny`, are read here. How do they differ from the recipes of their names?

# %% tags=["hide-input"]
MODELS = ("digits", "fashion-mnist", "cifar10-tiny")
shipped = {name: load(name) for name in MODELS}
told = {k: changes(RECIPES[k], recipe_from_dict(made.recipe)) for k, made in shipped.items()}
print("as their recipes:", ", ".join(name for name in MODELS if not told[name]))
rows = [line.replace(" -> ", " ").split(" ") for line in told["digits"]]
Table(["setting of digits", "recipe", "shipped"], rows)

# %% [markdown]
# Two are their recipes to the letter: `fashion-mnist` for pictures of clothes, `cifar10-tiny` for CIFAR-10 shrunk to 16 × 16 pixels. The digits' run is longer, has some dropout, and still predicts the noise.
#
# The learning rate of step $k = 0, 1, \dots, N - 1$ is a product of three factors: the highest rate $\lambda$, a straight rise over $K$ steps of **warm-up**, and a fall to the share $f$:
#
# $$
# \begin{aligned}
# \lambda_k = \lambda &\cdot \min\bigl(1, \tfrac{k+1}{K}\bigr) \\
#   &\cdot \bigl(f + (1 - f)\, \tfrac12 (1 + \cos \tfrac{\pi k}{N})\bigr) .
# \end{aligned}
# $$ (eq:learning-rate)

# %%
# checks eq:learning-rate
for recipe in (RECIPES["digits"], RECIPES["cifar10-128"]):
    N, K, f = recipe.steps, recipe.warmup, recipe.lr_final
    for k in (0, K // 2, K, N // 2, N - 1):
        fall = f + (1 - f) * 0.5 * (1 + math.cos(math.pi * k / N))
        by_hand = recipe.lr * min(1, (k + 1) / K) * fall
        assert math.isclose(by_hand, recipe.lr_at(k), rel_tol=1e-12)

# %% [markdown]
# ## The loop by hand
#
# Take a recipe small enough for this page: the digits, a network of 16 channels without labels, twelve steps. What is random at a step is drawn from a generator that is seeded with the run's seed and the step's number; so is the order of the images. Nothing
# depends on what was drawn before; we shall need that.

# %%
import copy

from torch.nn.utils import clip_grad_norm_

from ddim_edu.data.batches import Shuffle

net_config = UNetConfig(8, 1, 16, (1, 1), 1, (), dropout=0.0, groups=4)
tiny = replace(RECIPES["digits"], unet=net_config, steps=12, warmup=4)
tiny = replace(tiny, prediction="eps")  # so that the loss is L_simple
tiny = replace(tiny, log_every=4, save_every=4, sample_every=12)
data, schedule = digits(), tiny.noise_schedule()
shuffle = Shuffle(len(data.train), tiny.batch, tiny.seed)


# %% tags=["hide-input"]
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
# Now the loop. Three things are new against chapter 3: the gradient is **clipped** (scaled down to norm 1 if it is longer), the rate warms up as in {eq}`eq:learning-rate`, and beside the weights $w_n$ an average $a_n$ of them is kept, an *exponential moving average* or **EMA**:
#
# $$
# \begin{aligned}
# a_n &= d_n\, a_{n-1} + (1 - d_n)\, w_n, \\
# d_n &= \min\Bigl(d, \tfrac{1 + n}{10 + n}\Bigr) .
# \end{aligned}
# $$ (eq:ema)
#
# Here $n$ counts from 0, and $a_0 = w_0$ are the weights after the first step. Samples are drawn with $a$; $w$ goes on training.

# %%
net = new_network()
average = copy.deepcopy(net)
optimizer = torch.optim.Adam(net.parameters(), fused=True)
losses = []
for n in range(tiny.steps):
    loss = loss_simple(net, *drawn(n), schedule)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(net.parameters(), tiny.grad_clip)
    optimizer.param_groups[0]["lr"] = tiny.lr_at(n)
    optimizer.step()
    d = min(tiny.ema, (1 + n) / (10 + n)) if n else 0.0
    for a, w in zip(average.parameters(), net.parameters()):
        a.data.lerp_(w.data, 1 - d)
    losses.append(loss.detach())

# %% [markdown]
# The file of {py:class}`~ddim_edu.training.trainer.Trainer` has more than 300 lines, and others stand beside it: run folders, logs, checkpoints, several GPUs, mixed precision, readable errors. Its numbers should be the same, and not only nearly: every bit.

# %%
# checks eq:ema
import inspect
from tempfile import TemporaryDirectory

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
assert len(inspect.getsource(inspect.getmodule(Trainer)).splitlines()) > 300

# %% [markdown]
# ## What the logs say
#
# Every shipped model comes with its log. The training loss in it is a mean over the batches since the line before, with the weights $w$, and with dropout if the recipe has it. The held-out loss belongs to the average $a$ without dropout, on images that training never saw:
# at most 400 of them, five times each, with levels and noise that are the same at every look. So the held-out curve is smooth, but its height depends on those draws.

# %% mystnb={"figure": {"caption": "Loss during training, from the logs of the shipped models: on the batches (mean since the line before), and of the averaged weights on images held out. The first steps lie above the frame.", "name": "fig-training-logs"}, "image": {"alt": "Three plots of loss against step, for digits, fashion-mnist and cifar10-tiny. All curves fall steeply at first and then flatten out; the training curve is noisy, the held-out curve smooth. For digits the training curve starts above the held-out curve and crosses it at about two thirds of the run; at the end the held-out curve is flat and the training curve still falls. For the others the held-out curve falls to the end."}} tags=["hide-input"]
logs = {name: training_log(name) for name in MODELS}
fig, axes = figure(len(MODELS), height=3.2)
for ax, (name, log) in zip(axes, logs.items()):
    step, held = np.array(log["step"]), np.array(log["heldout_loss"])
    looks = ~np.isnan(held)
    ax.plot(step, log["loss"], lw=0.8, label="training batches")
    ax.plot(step[looks], held[looks], ".-", label="held out, average")
    low = np.nanmin(held)
    ax.set(title=name, xlabel="step", ylim=(0.9 * low, 1.6 * low))
    ax.set_xticks(np.linspace(0, shipped[name].recipe["steps"], 3))
axes[0].set_ylabel("loss")
handles = axes[0].get_legend_handles_labels()
fig.legend(*handles, loc="outside upper center", ncols=2);

# %%
rows = []
for name, log in logs.items():
    loss, held = np.array(log["loss"]), np.array(log["heldout_loss"])
    looks = np.array(log["step"])[~np.isnan(held)]
    held, fifth = held[~np.isnan(held)], len(loss) // 5
    low, after = held.min(), loss[-fifth:].mean()
    rows.append((name, f"{held[0]:.3f}", f"{low:.4f}", f"{looks[held.argmin()]:.0f}"))
    rows[-1] += (f"{held[-1] / low - 1:.1%}", f"{after:.3f}")
    assert looks[0] == 500
    assert held[-1] < 1.01 * low and held[-1] < 0.95 * held[0]
    assert after < 1.02 * loss[-2 * fifth : -fifth].mean()
    if name == "digits":
        assert held[-1] > 1.002 * low and after < 0.99 * loss[-2 * fifth : -fifth].mean()
heads = "held out, step 500", "lowest", "at step", "end above it", "training, last fifth"
Table(["loss", *heads], rows)

# %% [markdown]
# Overfitting shows as a held-out loss that turns and rises while the training loss goes on falling. The digits turn at three quarters of the run, by 0.3% up to the end: unless that is chance, it begins, and there is no harm in it yet. The cure, if one were needed, is more dropout or fewer steps. Each of the 1,597 digits is seen 481 times.
# The other runs have 60,000 and 50,000 images and see each 9 and 19 times (a table near the end of the chapter has it); their held-out loss ends within 1% of its lowest.
#
# For `cifar10-tiny` the held-out curve lies 17% *below* the training curve. These logs are of the first 400 held-out images, and CIFAR-10 was read from a folder for each class: they are 400 airplanes. The same weights on 40 images of each class:

# %%
sample = json.loads(in_repository("results/heldout_sample.json").read_text())
assert sample["first"]["classes"] == 1 and sample["fair"]["classes"] == 10
tiny_log = logs["cifar10-tiny"]
late = np.mean(tiny_log["loss"][-fifth:])  # of the loop above, its last model
assert abs(sample["first"]["loss"] - tiny_log["heldout_loss"][-1]) < 5e-4
assert 0.16 < 1 - sample["first"]["loss"] / late < 0.18
assert abs(sample["fair"]["loss"] - late) < sample["fair"]["standard_error"]
seen = {name: sample[name] for name in ("first", "fair")}
rows = [(f"{name} 400", of["classes"], f"{of['loss']:.4f} ± {of['standard_error']:.4f}")
        for name, of in seen.items()]  # fmt: skip
Table(["images", "of classes", "held-out loss"], rows)

# %% [markdown]
# They are no easier than the training images. The trainer now draws as many of each class; the logs will follow with the next models. (An `assert` on a committed file guards these sentences, not the result.)
#
# What the curves can't say is which of the three models is the best. By {eq}`eq:error-split` each data set has a floor of its own, and for new pictures none of the three is known.
#
# ## What a loss is worth
#
# Is the 0.12 of the digits good? A loss of this kind can't be judged alone, so give it company: predictors that need no training.
#
# - **Zero.** It errs by the variance of the noise, 1, at each level. Networks that predict noise start here, since their last layer begins at 0, {eq}`eq:new-network-loss`.
# - **The best multiple of $x_t$.** Let $m$ be the mean square of the data's pixels. Put $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$ from {eq}`eq:closed-form` into $\epsilon - c\, x_t$; since $\epsilon$ has mean 0 and does not depend on $x_0$, the error of $c\, x_t$ in a pixel is, on average over the pixels,
#
#   $$
#   \begin{aligned}
#   E(\epsilon - c\, x_t)^2 = 1 &- 2 c \sqrt{1 - \bar\alpha_t} \\
#     &+ c^2\, (\bar\alpha_t m + 1 - \bar\alpha_t) ,
#   \end{aligned}
#   $$
#
#   least at
#
#   $$
#   \begin{aligned}
#   c_t &= \frac{\sqrt{1 - \bar\alpha_t}}{\bar\alpha_t m + 1 - \bar\alpha_t}, \\[1.2em]
#   \text{error} &= \frac{\bar\alpha_t m}{\bar\alpha_t m + 1 - \bar\alpha_t} .
#   \end{aligned}
#   $$ (eq:best-multiple)
#
#   (So the best multiple is the exact $\epsilon^*$ of a Gaussian with mean 0 and covariance $m I$.)
#
# - **The best straight line** in all pixels together: the exact $\epsilon^*$ of a Gaussian with the mean and covariance of the training images.
# - **The memoriser**: the exact $\epsilon^*$ of the 1,597 training images themselves, as {py:class}`~ddim_edu.exact.EmpiricalData` has it. By {eq}`eq:error-split` no function of $x_t$ and $t$ has a lower *training* loss.

# %%
from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import q_sample, unmix_x0

train, heldout = (data.floats(x) for x in (data.train, data.heldout))
flat, m = train.flatten(1).double(), train.double().square().mean()
line = Gaussian(flat.mean(0), flat.T.cov(correction=0), schedule)
multiple = Gaussian(torch.zeros(64), m, schedule)
memory = EmpiricalData(train, schedule)
model = shipped["digits"]


# %% tags=["hide-input"]
def predictions(x_t, t, labels):
    flat_x = x_t.flatten(1).double()
    yield "zero", torch.zeros_like(x_t)
    yield "multiple", multiple.eps(flat_x, t).view_as(x_t)
    yield "line", line.eps(flat_x, t).view_as(x_t)
    yield "memoriser", memory.eps(x_t, t)
    yield "network", model.model(x_t, t)
    yield "told class", model.eps_theta(labels)(x_t, t)


# %% [markdown]
# There are 25 levels, evenly spread, and at each the 200 held-out images and 100 of the training images, with fresh noise. The network is asked twice: with the label hidden, since the others don't know it either, and told the class, as in its log.

# %% tags=["hide-input"]
grid = torch.arange(20, 1000, 40)
sets = {"held out": (heldout, data.heldout_labels)}
sets["training"] = (train[::16], data.train_labels[::16])
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
names = "zero", "multiple", "line", "memoriser", "network", "told class"
mean = {key: e.mean() for key, e in errors.items()}
assert 0.5 < mean["held out", "network"] / mean["held out", "line"] < 0.65
assert mean["training", "memoriser"] < 0.6 * mean["training", "network"]
assert mean["held out", "memoriser"] > 1.2 > 2 * mean["held out", "network"]
assert mean["held out", "told class"] < 0.97 * mean["held out", "network"]
rows = [(name, *(f"{mean[kind, name]:.2f}" for kind in sets)) for name in names]
Table(["error of", *(f"{kind} images" for kind in sets)], rows)

# %% mystnb={"figure": {"caption": "Squared error of the predicted noise, level by level, on digits. Left: all predictors, on held-out images. Right: network (label hidden) and memoriser, on held-out and on training images.", "name": "fig-training-levels"}, "image": {"alt": "Two plots of error against level. Left: all curves fall with the level; zero stays at 1, below it multiple, line and network in this order; from level 600 on line and network run together and the network that is told the class lies below both. The memoriser leaves them at low levels and rises far above 1. Right: the network's curves for both sets of images lie close together, while the memoriser's are far apart at low levels: near zero on training images, above one on held-out ones."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=3.3, sharey=True)
colours = dict(zip(names, (*COLOURS[:5], COLOURS[6])))
for name in names:
    curve, style = errors["held out", name].mean(1), "--" if name == "told class" else "-"
    left.plot(grid, curve, style, color=colours[name], label=name)
for kind, style in (("held out", "-"), ("training", "--")):
    for name in ("memoriser", "network"):
        curve = errors[kind, name].mean(1)
        right.plot(grid, curve, style, color=colours[name], label=f"{name}, {kind}")
left.set(xlabel="level t", ylabel="squared error", ylim=(0, 2))
right.set(xlabel="level t")
left.legend(fontsize=8, ncols=2, loc="upper right")
right.legend(fontsize=8, loc="upper right");

# %% tags=["hide-input"]
by_level = {name: errors["held out", name].mean(1) for name in names}
rows = []
for t in (20, 100, 300, 500, 700, 900):
    i = int((grid == t).nonzero())
    row = [f"{by_level[name][i]:.3f}" for name in ("line", *names[4:])]
    grey = 255 / 2 * (by_level["network"][i] / schedule.snr[t]).sqrt()
    rows.append((t, *row, f"{grey:.0f}"))
part = by_level["network"][:6].sum() / by_level["network"].sum()
print(f"levels up to 220 make {part:.0%} of the network's loss")
Table(["level t", "error of the line", "network", "told class", "in x₀, greys of 255"], rows)

# %%
low, high = by_level["network"][0], by_level["network"][-3]
assert part > 0.5 and low > 3 * mean["held out", "network"] > 6 * high
assert high / schedule.snr[grid[-3]] > 50 * low / schedule.snr[20]
gain = {name: by_level[name] / by_level["network"] for name in ("line", "told class")}
assert gain["line"][0] > 1.4 and 0.9 < gain["line"][17] < 1.25
assert gain["told class"][0] > 0.97 and gain["told class"][17] < 2 / 3
assert by_level["memoriser"][0] > 5 * low

# %% [markdown]
# First, the mean. Without the label the network reaches 0.13, which is a good half of what the best straight line reaches, and the line is a respectable guess that is computed in no time: progress should be counted from 0.22, not from 1. More than half of the mean
# comes from the lowest quarter of the levels, where the noise can hardly be told from the pen's strokes and every predictor is bad; a model may get better everywhere else and its mean hardly move. Two runs can be compared by the mean, on the same data, schedule and draws;
# losses of different data sets or schedules can't.
#
# Second, the single levels. The error in the noise falls with $t$, and the same prediction's error in $x_0$, larger by the factor $1/\operatorname{SNR}(t)$ of {eq}`eq:error-scale`, grows. At $t = 20$ the network misses nearly half of the noise's variance, and yet its picture is right to 4 of 255 grey levels (root mean square). At $t = 900$ it misses less than 1%
# of the noise, and its picture errs by more than 60. So the loss at a low level is about the edges of strokes, and at a high level about which digit it will be. At $t = 700$ the network adds next to nothing to the straight line, until it is told the class. The label is worth nothing at $t = 20$, and more than a third of the loss at $t = 700$.
#
# Third, the floor of the *training* loss is known here, and it is the memoriser's 0.03. A network that reached it would be useless: by {eq}`eq:error-split` it would be the memoriser, which repeats training images and is on new ones worse than predicting zero. The model is worth sampling from because it does *not* reach
# the minimum of what it is trained on. A network of limited size, trained for limited time, fills the space between the images; early stopping and dropout hold it back from its goal.
#
# ## What averaging buys
#
# For points in the plane the floor is known for fresh data, so the excess over it, all that training can remove, can be watched. Take chapter 3's three clusters and a smaller network. Train it twice from the same weights on the same
# batches: once with a constant rate, once with half a cosine down to 0. Beside it run averages with different decays.

# %%
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ddim_edu.nets.points import PointNet
from ddim_edu.training.parts import ema_update

centres = [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]]
points = GaussianMixture([0.5, 0.3, 0.2], centres, 0.03, schedule)
g = torch.Generator().manual_seed(0)
x_0, t_all = points.sample(2_000, g), draw_t(2_000, schedule.T, generator=g)
x_t = q_sample(x_0, t_all, schedule, draw(x_0, g))
best = points.eps(x_t, t_all)


@torch.no_grad()
def excess(predictor):
    guess = predictor(x_t.float(), t_all).double()
    return (guess - best).square().mean().item()


# %% tags=["hide-input"]
def train_points(recipe, rules):
    torch.manual_seed(0)
    net = PointNet(2, 64, 3)
    kept = {name: AveragedModel(net, multi_avg_fn=f) for name, f in rules.items()}
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    for k in range(recipe.steps):
        g = generator_for(0, 1, k)
        x, t = points.sample(128, g).float(), draw_t(128, 1000, generator=g)
        optimizer.param_groups[0]["lr"] = recipe.lr_at(k)
        optimizer.zero_grad()
        loss_simple(net, x, t, draw(x, g), schedule).backward()
        optimizer.step()
        for average in kept.values():
            average.update_parameters(net)
        yield k + 1, {"raw": net} | kept


# %% tags=["hide-input"]
rules = {f"{d}": ema_update(d) for d in (0.9, 0.99, 0.999)}
rules["0.9999, no rise"] = get_ema_multi_avg_fn(0.9999)
constant = replace(tiny, steps=1_200, lr=5e-3, warmup=0, lr_final=1.0)
falling, curves = replace(constant, lr_final=0.0), {}
for rate, recipe in (("constant", constant), ("falling", falling)):
    for k, nets in train_points(recipe, rules):
        if k % 100 == 0:
            for name, found in nets.items():
                curves.setdefault((rate, name), []).append(excess(found))

# %% mystnb={"figure": {"caption": "Excess over the exact $\\epsilon^*$ while a network for points trains, of its weights (raw) and of their averages. Left: constant learning rate. Right: the rate falls to 0 along half a cosine. The last average has a constant decay from the first step on.", "name": "fig-training-ema"}, "image": {"alt": "Two plots of excess against step, logarithmic. Left: the raw weights jump up and down around 0.02; the averages fall smoothly, decay 0.9 to about 0.012, decays 0.99 and 0.999 together to about 0.006; the average of 0.9999 without rise stays near 0.6, at the top. Right: the same at first, but raw and averaged weights meet near 0.005 at the end."}} tags=["hide-input"]
fig, axes = figure(2, height=3.1, sharey=True)
at = range(100, 1_201, 100)
for (kind, name), curve in curves.items():
    ax = axes[int(kind == "falling")]
    look = {"color": COLOURS[6]} if name == "raw" else {}
    ax.plot(at, curve, "--" if name == "0.999" else "-", label=name, **look)
    ax.set(title=f"{kind} rate", xlabel="step", yscale="log")
axes[0].set_ylabel("excess")
handles = axes[0].get_legend_handles_labels()
fig.legend(*handles, loc="outside right upper", title="decay");

# %%
end = {key: np.mean(curve[-4:]) for key, curve in curves.items()}
raw = end["constant", "raw"]
final = curves["falling", "raw"][-1]
bought = {d: raw / end["constant", d] for d in ("0.9", "0.99", "0.999")}
print(f"the largest decay after 1,200 steps: {1_200 / 1_209:.3f}")
assert 1.3 < bought["0.9"] < 2 and abs(bought["0.99"] - 3) < 0.4
assert abs(raw / final - 3.7) < 0.5  # what the falling rate buys
assert 0.7 < curves["falling", "0.99"][-1] / final < 1.3
over = [f"{bought['0.9']:.1f}", f"{bought['0.99']:.0f}", f"{bought['0.999']:.0f}"]
over.append(f"{raw / final:.0f}")
heads = "average 0.9", "average 0.99", "average 0.999", "raw, falling rate"
Table(["excess, constant rate", *(f"over {name}" for name in heads)], [["raw weights", *over]])

# %% [markdown]
# With a constant rate the raw weights never settle: each batch kicks them about, and their excess stays about three times as large as that of an average over a hundred steps. With a rate that falls to 0 the kicks die out by themselves, and at the end raw and averaged weights are as good as each other. So the average is not magic: it takes out
# the jitter of a rate that is too high to stop at, and lets one stop at any time; DDPM's constant rate needs it, a falling rate much less. (Decays 0.99 and 0.999 coincide because $d_n$ in {eq}`eq:ema` has only reached 0.993 after 1,200 steps. The curve at the top is for the end of this chapter.)
#
# Why it works is seen by writing {eq}`eq:ema` out for a constant $d$:
#
# $$
# a_n = d^n a_0 + (1 - d) \sum_{k=1}^{n} d^{\,n-k}\, w_k .
# $$ (eq:ema-weights)
#
# The weight of a step falls by half every $\ln 2/(1 - d)$ steps or so: 69 for $d = 0.99$, 6,931 for DDPM's 0.9999. If the $w_k$ were independent draws around one point, of variance $V$, the average's variance would tend to the sum of the squared weights,
#
# $$
# \operatorname{Var}(a_n) \to (1 - d)^2 \sum_{j \ge 0} d^{\,2j}\, V = \frac{1 - d}{1 + d}\, V .
# $$ (eq:ema-variance)
#
# Near its minimum the excess is quadratic in the weights, so jitter adds to it in proportion to that variance, and decay 0.9 would divide what it adds by 19. It divided the excess by less than 2, for two reasons. Real steps are not independent draws: the weights wander, and an average helps only over times longer than the wandering. And part of the excess is no jitter but what has not been learnt yet, which no average removes.

# %%
# checks eq:ema-weights, eq:ema-variance
d, n = 0.9, 200
g = torch.Generator().manual_seed(0)
w = torch.randn(n + 1, 20_000, generator=g, dtype=torch.float64)  # V = 1
a = w[0]
for k in range(1, n + 1):
    a = d * a + (1 - d) * w[k]
powers = d ** torch.arange(n - 1, -1, -1, dtype=torch.float64)
assert torch.allclose(a, d**n * w[0] + (1 - d) * powers @ w[1:])
expected = (1 - d) / (1 + d)
assert abs(a.var() / expected - 1) < 5 * (2 / 20_000) ** 0.5
half = {d: math.log(2) / -math.log(d) for d in (0.99, 0.9999)}
print("; ".join(f"decay {d}: half the weight in {n:,.0f} steps" for d, n in half.items()))

# %% [markdown]
# ## Mirrored levels
#
# The official code draws half of a batch's levels and takes $T + 1 - t$ for the other half. The error depends strongly on $t$, and a low level, with its large error, is now balanced by a high one. Let $e(t)$ be an image's error
# at a random level, $V$ its variance and $\rho$ the correlation of $e(t)$ and $e(T + 1 - t)$, with independent images and noise. If a batch of $n$ is $n/2$ independent pairs, then by {eq}`eq:variance-sum`
#
# $$
# \operatorname{Var}(\text{loss}) = \frac n2 \cdot \frac{2 V + 2 \rho V}{n^2} = \frac{V}{n}\,(1 + \rho) .
# $$ (eq:mirrored)
#
# (The official code, and {py:func}`~ddim_edu.losses.draw_t` with it, draws $n/2 + 1$ levels and mirrors $n/2 - 1$ of them. Two stay without a partner, a detail that is left out here.)

# %%
from ddim_edu.losses import eps_error

# checks eq:mirrored
g, n = torch.Generator().manual_seed(0), 2_000
t = draw_t(64, schedule.T, generator=g, antithetic=True)
assert (t[:31] + t[33:] == schedule.T + 1).all()
first = draw_t(n, schedule.T, generator=g)
pair = []
for t in (first, schedule.T + 1 - first):
    x_0 = train[torch.randint(len(train), (n,), generator=g)]
    pair.append(eps_error(model.model, x_0, t, draw(x_0, g), schedule).double())
rho = torch.corrcoef(torch.stack(pair))[0, 1]
V = torch.cat(pair).var()
batches = torch.stack(pair).view(2, -1, 4).mean((0, 2))  # 500 batches of 8
assert abs(batches.var() / (V / 8 * (1 + rho)) - 1) < 5 * (2 / 500) ** 0.5
assert -0.7 < rho < -0.3
print(f"correlation {rho:.1f}: the loss's variance falls to {1 + rho:.1f} of it")

# %% [markdown]
# So the printed loss is quieter. But training follows the gradient, and nothing says that gradients at mirrored levels cancel. Measure its variance, summed over all weights, for the network of points and batches of 64:


# %%
def gradient_variance(net, antithetic, rounds=300):
    g, found = torch.Generator().manual_seed(0), []
    for _ in range(rounds):
        x = points.sample(64, g).float()
        t = draw_t(64, schedule.T, generator=g, antithetic=antithetic)
        loss = loss_simple(net, x, t, draw(x, g), schedule)
        grad = torch.autograd.grad(loss, list(net.parameters()))
        found.append(torch.cat([part.flatten() for part in grad]))
    return torch.stack(found).var(0).sum()


net = nets["raw"]  # at the end of the second training
ratio = gradient_variance(net, True) / gradient_variance(net, False)
assert 0.75 < ratio < 1.33
print("mirrored or not, the gradient's variance is the same within a third")

# %% [markdown]
# Here mirroring quiets the curve on the screen and leaves the gradient about as noisy as it was. At least it costs nothing.
#
# ## A sum, a mean and a clip
#
# The official DDIM code sums the squared error over the coordinates; DDPM's takes the mean. One is the other times the number of coordinates $D$, 64 for digits and 3,072 for CIFAR-10, and Adam does not care: it divides the gradient by its own recent size. But between the gradient and Adam stands the clip, and it
# does care: after the first steps a gradient of the mean is seldom longer than 1, and one that is $D$ times as long nearly always. The norms of the shipped runs stand in their logs, and the start of a run can be watched.

# %%
rows = []
for name, log in logs.items():
    norm, D = np.array(log["grad_norm"]), math.prod(shipped[name].image_shape)
    norm = norm[np.array(log["step"]) > shipped[name].recipe["warmup"]]
    rows.append((name, f"{norm.min():.2f} to {norm.max():.2f}", f"{D * norm.min():.0f}"))
    assert norm.max() < 1 < D * norm.min()
Table(["gradient's norm after the warm-up", "loss a mean", "loss a sum: at least"], rows)

# %%
D = train[0].numel()
net, clipped = new_network(), {"mean": 0, "sum": 0}
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for step in range(40):
    optimizer.zero_grad()
    loss_simple(net, *drawn(step), schedule).backward()
    length = clip_grad_norm_(net.parameters(), math.inf)  # only measures it
    optimizer.step()
    for kind, factor in (("mean", 1), ("sum", D)):
        clipped[kind] += int(factor * length > 1)
assert clipped["mean"] < 25 and clipped["sum"] == 40
print("of the first 40 steps, the sum has clipped all, the mean fewer than 25")

# %% [markdown]
# With the mean the clip catches the first steps and exceptional batches. With the sum it is nearly always active and has become a normalisation: each batch gets a gradient of length 1. So *clip at 1.0* names two different settings. What is the difference worth? Twenty steps of Adam on points, with the loss times CIFAR's factor 3,072, with and without the clip, against the same
# steps with the mean:

# %% tags=["hide-input"]
def after(factor, clip):
    torch.manual_seed(0)
    net = PointNet(2, 32, 2).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for k in range(20):
        g = generator_for(0, 1, k)
        x, t = points.sample(64, g), draw_t(64, 1000, generator=g)
        optimizer.zero_grad()
        (factor * loss_simple(net, x, t, draw(x, g), schedule)).backward()
        clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
    return torch.cat([w.detach().flatten() for w in net.parameters()])


# %%
plain = after(1, math.inf)
way = (plain - after(0, math.inf)).norm()
apart = {c: (after(3072, c) - plain).norm() / way for c in (math.inf, 1.0)}
print("end points apart, as a share of the way:", end=" ")
print(f"Adam alone {apart[math.inf]:.1%}, with the clip {apart[1.0]:.0%}")
assert apart[math.inf] < 0.005 < 0.02 < apart[1.0] < 0.1

# %% [markdown]
# Adam alone all but ignores the factor (what is left is its $10^{-8}$ in the denominator), and even the permanent clip bends the way by only a few per cent here.
#
# ### Warm-up
#
# Adam's division by the gradient's recent size {cite}`kingma2015adam` has a price at the start, when there is no recent past: in its first step *every* weight moves by the full learning rate, however small its gradient (as long as it stands out from the $10^{-8}$).

# %%
torch.manual_seed(0)
net = PointNet(2, 32, 2).double()
torch.nn.init.normal_(net.out.weight)  # so that all layers get a gradient
before = torch.cat([w.detach().flatten() for w in net.parameters()])
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
x, t = points.sample(64, g), draw_t(64, 1000, generator=g)
loss_simple(net, x, t, draw(x, g), schedule).backward()
grad = torch.cat([w.grad.flatten() for w in net.parameters()]).abs()
optimizer.step()
step = torch.cat([w.detach().flatten() for w in net.parameters()]) - before
used = grad > 1e-4
assert torch.allclose(step[used].abs(), torch.tensor(1e-3).double(), rtol=1e-3)
most = grad[used].max() / grad[used].min()
print(f"largest gradient over the smallest above 1e-4: {most:.0e}")

# %% [markdown]
# Warm-up keeps those blind steps short until Adam's averages are filled. The average by which it divides (decay 0.999) looks back over a thousand steps, so DDPM's 5,000 are generous, and the digits' 50 to 200 are what a short run can spare.
#
# ## Weights of levels
#
# $L_{\text{simple}}$ counts levels alike, but levels do not pull alike. Min-SNR {cite}`hang2023minsnr` caps the pull of the low ones with the weights $\gamma_t = \min(\operatorname{SNR}(t), c)/\operatorname{SNR}(t)$ and $c = 5$. Multiply by the first line of {eq}`eq:error-scale` to see what is capped:
#
# $$
# \gamma_t\, \lVert \epsilon - \hat\epsilon \rVert^2 = \min\bigl(\operatorname{SNR}(t), c\bigr)\; \lVert x_0 - \hat x_0 \rVert^2 ,
# $$ (eq:min-snr)
#
# and what is capped at $c$ is the weight of the error in $x_0$. Since $\gamma_t$ multiplies the loss, it multiplies the gradient of its level by the same number.

# %% tags=["hide-input"]
from ddim_edu.losses import min_snr_gamma

gamma, g, rows = min_snr_gamma(schedule), torch.Generator().manual_seed(0), []
model.model.requires_grad_(True)
weights = list(model.model.parameters())
levels = (10, 50, 100, 200, 400, 600, 800)
for t in levels:
    x_0, t = train[::25], torch.full((64,), t)
    loss = loss_simple(model.model, x_0, t, draw(x_0, g), schedule)
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    rows.append(sum(w.square().sum() for w in grads if w is not None).sqrt())
model.model.requires_grad_(False)
rows = torch.stack(rows).double()

# %% mystnb={"figure": {"caption": "Length of the gradient of the loss at single levels, for the shipped digits model and 64 training images: with all weights 1, and times the weights of min-SNR.", "name": "fig-training-min-snr"}, "image": {"alt": "Gradient length against level on logarithmic axes. With weights 1 it lies between 0.04 and 0.4 and is largest at the lowest level. With min-SNR it is the same from level 400 on, and falls to a thousandth at level 10."}} tags=["hide-input"]
fig, ax = figure(height=2.8)
ax.plot(levels, rows, ".-", label="$L_{simple}$")
ax.plot(levels, rows * gamma[list(levels)], ".--", label="min-SNR, cap 5")
ax.set(xlabel="level t", ylabel="gradient length", xscale="log", yscale="log")
ax.legend();

# %%
# checks eq:min-snr
x_0, t = train[:500].double(), draw_t(500, 1000, generator=g)
eps = draw(x_0, g)
x_t, snr = q_sample(x_0, t, schedule, eps), schedule.snr[t]
eps_hat = line.eps(x_t.flatten(1), t).view_as(x_t)
x0_hat = unmix_x0(x_t, eps_hat, schedule.alpha_bar[t][:, None, None, None])
of_eps = (eps - eps_hat).square().flatten(1).sum(1)
of_x0 = (x_0 - x0_hat).square().flatten(1).sum(1)
assert torch.allclose(gamma[t] * of_eps, snr.clamp(max=5) * of_x0)
share = (gamma[1:] < 1).double().mean()
print(f"levels with a weight below 1: {share:.0%}", end="; ")
print(f"weight at t = 10: {gamma[10]:.4f}")
weighted = rows * gamma[list(levels)]
assert rows[:5].max() < 3 * rows[:5].min() and rows[0] > 5 * rows[-1]
assert weighted[0] < weighted[4] / 30

# %% [markdown]
# Unweighted, the pull stays within a factor of 2.3 up to level 400 and is an eighth at 800, although no predictor does well at the lowest levels. Min-SNR weakens the pull of the lowest quarter of the levels, and at $t = 10$ leaves 0.3% of it. Whether the samples get better by it is not measured here; it takes a measure of samples, which {doc}`chapter 11 </chapters/11_measuring>` builds. In a recipe it is one word, `weighting="min-snr"`.
#
# ## To stop, resume and share out
#
# A run of days will be interrupted. The checkpoint holds $w$, $a$, Adam's averages and the number of the step; since all that is random is a function of the seed and that number, nothing else is needed. Kill the tiny run at step 6, two steps after its last checkpoint, and go on:

# %%
halted = Path(folder.name) / "halted"
halted.mkdir()
for record in Trainer.start(tiny, halted).run():
    if record.step == 6:
        break  # as if killed: nothing is saved
resumed = Trainer.resume(halted)
assert resumed.step == 4
list(resumed.run())
assert same(resumed.model, trainer.model)
assert same(resumed.averaged, trainer.averaged)

# %% [markdown]
# Bit for bit, again. (On the same machine with the same number of threads: additions in another order round differently.)
#
# The mean over a batch is the mean of the means over its equal parts, and so is its gradient. That one fact makes large training possible. Parts can be worked off one after the other when memory is short (`--accumulate 4`), or at the same time on several GPUs, which then exchange gradients. In both cases `batch` is the **global** batch,
# that of all parts together, and the recipe's result stays the same, but for the order of additions (and, where there is dropout, for the units it hits):

# %%
parts = replace(tiny, accumulate=4, steps=1)
grads = []
for name, recipe in (("one", replace(tiny, steps=1)), ("four", parts)):
    (Path(folder.name) / name).mkdir()
    trained = Trainer.start(recipe, Path(folder.name) / name)
    list(trained.run())
    found = [w.grad.flatten() for w in trained.model.parameters()]
    grads.append(torch.cat(found))
folder.cleanup()
assert grads[0].norm() > 0.1
assert (grads[0] - grads[1]).abs().max() < 1e-6
print("one part or four: gradients agree to 1e-6")

# %% [markdown]
# The commands for eight GPUs in one machine, and for two such machines (run on each, with its own rank):
#
# ```console
# $ torchrun --nproc-per-node 8 -m ddim_edu.train cifar10-128
# $ torchrun --nnodes 2 --nproc-per-node 8 --node-rank 0 \
#     --master-addr HOST --master-port 29500 \
#     -m ddim_edu.train celeba-hq-256
# ```
#
# Each process draws the levels and noises of the whole batch from the same generator and takes its part, so none needs a seed of its own; the package's tests hold two processes against one. On eight GPUs each one sees 16 of the 128 images of a step. Programs that count the batch *per GPU* would make that 1,024 with the same command; then the number of steps and the learning rate of the paper mean something else.
#
# ### Half the bits
#
# On GPUs that have it, the network computes in **bf16**: the exponent of a 32-bit float with 8 bits of precision instead of 24. Products run faster, and each rounds by up to one part in 256. A network bears that, because the roundings are many and independent. A sum of small changes doesn't: a weight of 1 that is moved by $10^{-3}$
# does not move at all. That is why weights, Adam's averages and the EMA stay in float32, and the loss is computed there.

# %%
one = torch.ones(1, dtype=torch.bfloat16)
assert (one + 1e-3 == 1).all() and (one + 1 / 128 > 1).all()
x_0, t = train[:200], draw_t(200, 1000, generator=g)
eps = draw(x_0, g)
exact = loss_simple(model.model, x_0, t, eps, schedule)
with torch.autocast("cpu", torch.bfloat16):
    rough = loss_simple(model.model, x_0, t, eps, schedule)
off = abs(rough - exact) / exact
stored = abs(exact.bfloat16().float() - exact) / exact
assert off < 0.01 and stored <= 1 / 256
print("bf16 in the network changes the loss by less than 1%")

# %% [markdown]
# ## Budgets
#
# What the paper's model has seen, and what ours have:

# %%
runs = {"cifar10-128": RECIPES["cifar10-128"]}
runs |= {name: recipe_from_dict(made.recipe) for name, made in shipped.items()}
sizes = {"digits": len(data.train), "fashion-mnist": 60_000}  # CIFAR-10: 50,000
rows = []
for name, recipe in runs.items():
    seen = recipe.steps * recipe.batch
    epochs = seen / sizes.get(name, 50_000)
    rows.append((name, f"{recipe.steps:,}", recipe.batch, f"{seen:,}", f"{epochs:,.0f}"))
    assert seen == 102_400_000 if name == "cifar10-128" else seen < 1_024_000
a_second = {"cifar10-128": 21, "celeba-hq-256": 2.2}  # steps on a TPU v3-8
hours = {name: RECIPES[name].steps / rate / 3_600 for name, rate in a_second.items()}
print("DDPM's hours:", ", ".join(f"{name} {n:.0f}" for name, n in hours.items()))
Table(["run", "steps", "batch", "images", "epochs"], rows)

# %% [markdown]
# An **epoch** is as many images as the training set has. The paper's model has seen a hundred million images, each of its training images two thousand times, every other time mirrored; ours have seen less than a hundredth of that. The hours are those of a TPU v3-8, which {cite:t}`ho2020ddpm` liken to eight V100
# graphics cards: their appendix B gives 21 steps a second for CIFAR-10 and 2.2 for 256 × 256 pixels.
#
# ## What breaks: an average that remembers
#
# By {eq}`eq:ema` the decay rises with $n$. Leave that out, $d_n = 0.9999$ from the first step, as codes for long runs do. By {eq}`eq:ema-weights` the all but untrained $a_0$ then keeps the weight $d^n$. With the rise, as long as the minimum is $(1 + k)/(10 + k)$, its weight is
#
# $$
# \prod_{k=1}^{n} \frac{1 + k}{10 + k} = \frac{10!}{(n + 2)(n + 3) \cdots (n + 10)} ,
# $$ (eq:ema-rise)
#
# which falls like $n^{-9}$. The average reaches back over a fixed share of the run, about a tenth (the first exercise has it exactly). The rise ends when $(1 + n)/(10 + n) = d$, at about $n = 9/(1 - d)$.

# %%
# checks eq:ema-rise
n, d = 1_200, 0.9999
k = torch.arange(1, n + 1, dtype=torch.float64)
with_rise = ((1 + k) / (10 + k)).prod().item()
tail = math.prod(range(n + 2, n + 11))
assert math.isclose(with_rise, math.factorial(10) / tail, rel_tol=1e-9)
ends = (10 * d - 1) / (1 - d)
print(f"after {n} steps the first weights count {d**n:.0%}", end=", ")
print(f"with the rise {with_rise:.0e}")
print(f"the rise to {d} ends at step {ends:,.0f}")
print(f"after 12,000 steps without it {d**12_000:.0%} would be left")
bad = curves["constant", "0.9999, no rise"][-1]
assert bad > 40 * curves["constant", "0.999"][-1] and bad > 10 * raw
untrained = best.square().mean()  # a new network predicts 0
assert 0.67 < bad / untrained < 1 and d**800_000 < 1e-30

# %% [markdown]
# In {numref}`fig-training-ema` that average ends with more than 40 times the excess of an average with the rise, and more than 10 times that of the raw weights that it is made from. It is more than two thirds of what a network has that was never trained. The training loss shows nothing of it, since it belongs to the raw weights; the samples are drawn with the average. After 800,000 steps it does not matter, as $0.9999^{800000}$ is below $10^{-30}$. It is
# the short trial run that looks broken, and the fault will be looked for everywhere else.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the span of an average
# :label: ex-training-span
# *Derive · three stars · 25 minutes*
#
# With a constant decay $d$ and $n \to \infty$, how many steps old are the weights in the average, in the mean, if each $w_k$ counts with its weight in {eq}`eq:ema-weights`? And while $d_n = (1 + n)/(10 + n)$?
# Hand in the first answer as a function `age(d)`: `check("ex-training-span", age)`.
# ```
#
# ````{solution} ex-training-span
# :class: dropdown
# The age $j = n - k$ has the weight $(1 - d)\, d^j$, so its mean is $d/(1 - d)$: 9,999 steps for $d = 0.9999$. During the rise let $A_n$ be the mean age. A step makes all that is there one step older and adds $w_n$ of age 0: $A_n = d_n\,(A_{n-1} + 1)$. Try $A_n = c\,(n + 1)$:
# $c\,(n + 1) = \frac{1 + n}{10 + n}\,(c\, n + 1)$ gives $c\,(10 + n) = c\, n + 1$, so $c = 1/10$. It really begins with $A_0 = 0$ and not $1/10$, but a difference is multiplied by $d_n$ at each step and dies out as in {eq}`eq:ema-rise`. The average is a tenth as old as the run.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def age(d):
#     return d / (1 - d)
#
# d = 0.99
# j = torch.arange(20_000, dtype=torch.float64)
# assert abs(((1 - d) * d**j * j).sum() - age(d)) < 1e-6
#
# rising = 0.0
# for n in range(1, 5_001):
#     rising = (1 + n) / (10 + n) * (rising + 1)
# assert abs(rising / (n + 1) - 0.1) < 1e-3
# assert check("ex-training-span", age)
# ```
# ````
#
# ```{exercise} Derive: the loss of a fresh network
# :label: ex-training-fresh
# *Derive · one star · 15 minutes*
#
# A new network predicts 0. Where noise is predicted: show that its loss on a batch of $n$ images of $D$ pixels has mean 1 and standard deviation $\sqrt{2/(nD)}$. Why does a first loss far from 1 mean that something is wrong? Check it with the network of the recipe `digits`, read as one of noise.
# Hand in the standard deviation as a function `spread(n, D)`: `check("ex-training-fresh", spread)`.
# ```
#
# ````{solution} ex-training-fresh
# :class: dropdown
# The loss is the mean of $nD$ squares of standard normals; each has mean 1 and variance 2. Nothing else enters: neither the data nor the levels. A first loss of 1.3, say, means that the noise to be predicted is not standard normal, or that the network does not start at 0.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.data.named import digits
# from ddim_edu.training.recipes import RECIPES
# from ddim_edu.losses import draw_t, loss_simple
# from ddim_edu.nets.unet import UNet
# from ddim_edu.randomness import draw
#
# def spread(n, D):
#     return (2 / (n * D)) ** 0.5
#
# recipe, data = RECIPES["digits"], digits()
# g, net = torch.Generator().manual_seed(0), UNet(recipe.unet)
# x_0 = data.floats(data.train[:64])
# t = draw_t(64, recipe.T, generator=g)
# with torch.no_grad():
#     loss = loss_simple(net, x_0, t, draw(x_0, g), recipe.noise_schedule())
# assert abs(loss - 1) < 5 * spread(64, x_0[0].numel())
# assert check("ex-training-fresh", spread)
# ```
# ````
#
# ```{exercise} Code: one batch, two batches
# :label: ex-training-batch
# *Code · two stars · 25 minutes*
#
# A batch of 64 is to be worked off in two parts, of 48 and 16 images. Each part's mean loss is weighted by 1/2. Show with a network for points that the gradient is wrong, and mend it. Why does the package ask for equal parts instead?
# Hand in a function `whole(losses, sizes)` that returns the loss of the batch from the mean losses of its parts, two tensors: `check("ex-training-batch", whole)`.
# ```
#
# ````{solution} ex-training-batch
# :class: dropdown
# The mean over the batch is $\frac{48}{64}$ of one mean plus $\frac{16}{64}$ of the other; with halves, an image of the smaller part counts three times as much. Equal parts need no weights, and no process waits for another.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.losses import draw_t, loss_simple
# from ddim_edu.nets.points import PointNet
# from ddim_edu.randomness import draw
# from ddim_edu.schedule import NoiseSchedule
#
# def whole(losses, sizes):
#     return (losses * sizes).sum() / sizes.sum()
#
# g, schedule = torch.Generator().manual_seed(0), NoiseSchedule.cosine()
# net = PointNet(2, 32, 2).double()
# torch.nn.init.ones_(net.out.weight)
# x = torch.randn(64, 2, generator=g, dtype=torch.float64)
# t, eps = draw_t(64, 1000, generator=g), draw(x, g)
#
# def gradient(combine, *parts):
#     losses = torch.stack([loss_simple(net, x[p], t[p], eps[p], schedule) for p in parts])
#     sizes = torch.tensor([p.stop - p.start for p in parts])
#     grads = torch.autograd.grad(combine(losses, sizes), list(net.parameters()))
#     return torch.cat([v.flatten() for v in grads])
#
# first, second = slice(0, 48), slice(48, 64)
# truth = gradient(whole, slice(0, 64))
# wrong = gradient(lambda losses, sizes: losses.mean(), first, second)
# assert torch.allclose(gradient(whole, first, second), truth, atol=1e-10)
# assert (wrong - truth).norm() > 0.02 * truth.norm()
# assert check("ex-training-batch", whole)
# ```
# ````
#
# ```{exercise} Break: noise that comes back
# :label: ex-training-same-noise
# *Break · two stars · 30 minutes*
#
# Somebody seeds the generator inside the loop, with the same number at every step, "to make the run reproducible". Train a network for points so, and with {py:func}`~ddim_edu.randomness.generator_for` and the step's number. What do the two training losses say, and what do the losses on fresh draws say?
# Take the mixture in the plane, the cosine schedule, and 500 steps with 128 points. Hand in the last training loss of the first network, its loss on 5,000 fresh draws, and that of the second: `check("ex-training-same-noise", (own, unseen, honest))`.
# ```
#
# ````{solution} ex-training-same-noise
# :class: dropdown
# The network gets the same 128 points, levels and noises at every step and learns them by heart: its training loss falls below the floor of the data, which no honest predictor can do on fresh draws, and its loss on fresh draws is worse than the other's. Reproducible is not the same as repeated.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.losses import draw_t, loss_simple
# from ddim_edu.nets.points import PointNet
# from ddim_edu.randomness import draw, generator_for
# from ddim_edu.schedule import NoiseSchedule
#
# schedule = NoiseSchedule.cosine()
# centres = [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]]
# points = GaussianMixture([0.5, 0.3, 0.2], centres, 0.03, schedule)
#
# def batch(n, *key):
#     g = generator_for(0, *key)
#     x = points.sample(n, g).float()
#     return x, draw_t(n, 1000, generator=g), draw(x, g)
#
# result = {}
# for name in ("same", "fresh"):
#     torch.manual_seed(0)
#     net = PointNet(2, 64, 3)
#     optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
#     for k in range(500):
#         key = 0 if name == "same" else k
#         loss = loss_simple(net, *batch(128, 1, key), schedule)
#         optimizer.zero_grad()
#         loss.backward()
#         optimizer.step()
#     with torch.no_grad():
#         fresh = loss_simple(net, *batch(5_000, 2), schedule)
#     result[name] = loss.item(), fresh.item()
# x, t, eps = batch(5_000, 2)
# floor = loss_simple(points.eps, x.double(), t, eps.double(), schedule).item()
# assert result["same"][0] < 0.5 * floor < result["fresh"][0]
# assert result["same"][1] > 1.5 * result["fresh"][1]
# assert check("ex-training-same-noise", (*result["same"], result["fresh"][1]))
# ```
# ````
#
# ```{exercise} Measure: a difference of one per cent
# :label: ex-training-tell
# *Measure · three stars · 30 minutes*
#
# Two models' losses differ by 1%. Each is measured on batches of 64 held-out digits, with levels and noises drawn afresh for each batch and each model. How many batches must each see before the difference is twice its standard error? Measure how
# much the error of a single picture varies with the shipped model, `load("digits")`; the rest is arithmetic. Guess first. Hand in the number of batches: `check("ex-training-tell", n)`.
# ```
#
# ````{solution} ex-training-tell
# :class: dropdown
# About 1,300. The standard deviation $s$ of a picture's error is as large as its mean $m$, since the levels differ so much. The difference of two means over $64\,n$ pictures has the standard error $s \sqrt{2/(64\, n)}$, and twice that is to be $0.01\, m$. Giving both models the same pictures, levels and noises
# costs nothing, and pairs them as in chapter 8.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample
# from ddim_edu.data.named import digits
# from ddim_edu.models import load
# from ddim_edu.losses import draw_t
# from ddim_edu.randomness import draw
#
# data, trained = digits(), load("digits")
# g = torch.Generator().manual_seed(0)
# x_0 = data.floats(data.heldout).repeat(8, 1, 1, 1)
# t, eps = draw_t(len(x_0), 1000, generator=g), draw(x_0, g)
# with torch.no_grad():
#     guess = trained.model(q_sample(x_0, t, trained.schedule, eps), t)
# errors = (guess - eps).square().flatten(1).mean(1)
# ratio = errors.std() / errors.mean()
# assert 0.9 < ratio < 1.15
# n = 2 * (2 * ratio / 0.01) ** 2 / 64
# assert check("ex-training-tell", n)
# ```
# ````

#
# ## Summary
#
# 1. Fifteen lines train a diffusion model; the program around them does not change a bit of the result.
# 2. A loss means something beside its company (zero, the best straight line, the memoriser) and at its level: low levels are about edges, high ones about which picture it will be. What minimises the training loss is worthless.
# 3. What matters: that the learning rate falls, or that the weights are averaged, each doing the other's work; and that the average's decay rises from a low value, or a short run samples with untrained weights.
# 4. What hardly mattered here: mirrored levels quiet the printed loss and not the gradient; a clip at 1 is a safety with the mean and a normalisation with the sum, and Adam absorbs most of the difference.
# 5. If all that is random is a function of seed and step, a run can be stopped, resumed and shared out, and stays the same run.
#
# **Next.** Chapter 11 asks how good samples are, in a number, and how that number deceives. In the package, read {py:meth}`ddim_edu.training.trainer.Trainer.run` and the step below it: the loop of this page is in there.
