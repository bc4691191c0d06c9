# %% [markdown]
# (ch-guidance-now)=
# # Guidance as it is done now
#
# **Question.** Chapter 14 left something open: guidance does not sample the density that it is derived from. What exactly is missing? And of the four repairs that are in use: do they repair that, and what do they buy at the same number of network calls?

# %% tags=["hide-input"]
import base64
import json
import math

import numpy as np
import torch

from ddim_edu.conventions import SCALES, interval_of_sigma, interval_of_steps
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.guidance import (
    Tilted,
    cfgpp_scale,
    decode_cfgpp,
    guided,
    guided_between,
    of_class,
    rescaled,
    tilting_weights,
)
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.plotting import COLOURS, figure
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_step, decode
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Clothes, one of each kind, from one noise in all rows, by 16 network calls each: the class alone; guidance at scale 5, nearly all white; and two of the repairs at the same scale: rescaled, hardly less white, and guided at the middle levels only, with greys and folds.", "name": "fig-guidance-repairs"}, "image": {"alt": "Four rows of the same ten clothes. First row: grey clothes with folds and shades. Second: nearly all white and flat. Third: much like the second, a little greyer. Fourth: grey and shaded as in the first row, with clearer edges."}} tags=["hide-input"]
found = json.loads(in_repository("results/guidance_now.json").read_text())["models"]
ROWS = {"class alone": "class 1", "plain, 5": "plain 5", "rescaled, 5": "rescale:0.7 5"}
ROWS["levels 200–700, 5"] = "interval:200-700 5"
fig, axes = figure(1, 4, height=2.9)
for ax, (name, key) in zip(axes, ROWS.items()):
    flat = base64.b64decode(found["fashion-mnist"]["pictures"][key])
    pictures = np.frombuffer(flat, dtype=np.uint8).reshape(10, 28, 28)
    ax.imshow(np.concatenate([*pictures], 1), cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    ax.grid(False)

# %% [markdown]
# Guidance at scale 5 presses everything to white. Rescaling changes little that one can see. Guiding only at the levels in the middle keeps shades and folds, and a classifier still sees the right kind in 98 of 100. Below: what guidance lacks, and by how much each repair helps.
#
# At the end of this chapter you will have checked
#
# - that guided samples lack a *weight*, which can be written down and computed on the way, and why weighting cures little;
# - guidance in an interval of levels, rescaling, autoguidance and CFG++, each by hand and against the package;
# - that a step of CFG++ is a step of plain guidance with another scale, which depends on the number of steps;
# - how scales and intervals of other programs translate;
# - fidelity against diversity of all of them at equal calls, on clothes and on faces in colour, with intervals.
#
# You need chapter 14, and of chapter 7 the flow.
#
# The chapter opens {py:mod}`ddim_edu.guidance` and {py:mod}`ddim_edu.guides`.

# %%
schedule = NoiseSchedule.linear()
generator = torch.Generator().manual_seed(0)
# On the plane: the class is the middle one of three clouds in a row, and of a fourth above it.
middles = [[-1.2, 0.0], [0.0, 0.0], [1.2, 0.0], [0.0, 1.3]]
plane = GaussianMixture([0.25] * 4, middles, 0.15, schedule)
inside = of_class(plane, 1)
tau = make_tau(1000, 100, "trailing")
noise = draw(torch.empty(1500, 2, dtype=torch.float64), generator)
cloud = {s: decode(guided(inside.eps, plane.eps, s), noise, schedule, tau) for s in (1.0, 2.0)}

# %% mystnb={"figure": {"caption": "On the plane, the class is the cloud at the origin; three others lie left, right and above. Lines: the tilted density that guidance is derived from, at half and at a tenth of its greatest value. Dots: what the guided sampler reaches. Left at scale 1, right at scale 2.", "name": "fig-guidance-plane"}, "image": {"alt": "Two square plots. Left: dots fill the two round contour lines around the origin. Right: the contour lines have become a little smaller and flat at the top, and the dots have shrunk to a narrow drop, half as wide as the outer line, that reaches down to it."}} tags=["hide-input"]
side = torch.linspace(-1.3, 1.3, 101, dtype=torch.float64)
grid = torch.cartesian_prod(side, side)
fig, axes = figure(2, height=3.3, sharey=True)
for ax, (s, dots) in zip(axes, cloud.items()):
    log = (1 - s) * plane.log_prob(grid) + s * inside.log_prob(grid)
    tilted = (log - log.max()).exp().view(101, 101).T
    ax.contour(side, side, tilted, levels=(0.1, 0.5), colors=COLOURS[1])
    ax.plot(dots[:, 0], dots[:, 1], ".", ms=1.5, alpha=0.5, color=COLOURS[0])
    ax.set(title=f"scale {s:.0f}", aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))

# %%
for s, dots in cloud.items():
    log = (1 - s) * plane.log_prob(grid) + s * inside.log_prob(grid)
    share = log.softmax(0)[:, None]
    centre = (share * grid).sum(0)
    promised = (share * (grid - centre) ** 2).sum(0).sqrt()
    a, b = promised.tolist(), dots.std(0).tolist()
    print(f"scale {s:.0f}: sd promised {a[0]:.2f} {a[1]:.2f}, reached {b[0]:.2f} {b[1]:.2f}")
assert b[0] < 0.6 * a[0] and b[1] < a[1]

# %% [markdown]
# ## What is missing: a weight
#
# In {numref}`fig-guidance-plane`, at scale 2, the samples are half as wide as they should be across, and four fifths as wide upwards. Where does that come from? As in chapter 14, $s$ is the scale; where a step leads to another level, that is $t'$. Write $\ell_u$ and $\ell_c$ for the logarithms of the densities of all data and of the class, both seen under noise, in the units $\bar x = x_t/\sqrt{\bar\alpha_t}$ of chapter 7, where noise is added with variance $w = \nu^2$. Adding noise is diffusion: a density obeys $\partial_w q = \tfrac12 \Delta q$ (chapter 16), so its logarithm obeys $\partial_w \ell = \tfrac12 (\Delta \ell + |\nabla \ell|^2)$. Now take the tilted one *at each level*,
# $\ell = (1-s)\,\ell_u + s\,\ell_c$. The Laplacian is linear and the square is not:
#
# $$
# \begin{aligned}
# |\nabla \ell|^2 &= (1-s)\, |\nabla \ell_u|^2 + s\, |\nabla \ell_c|^2 \\
#   &\quad + s\,(s-1)\, |\nabla \ell_c - \nabla \ell_u|^2 .
# \end{aligned}
# $$
#
# So the tilted densities of the levels obey the equation of diffusion up to one term:
#
# $$
# \partial_w p = \tfrac12 \Delta p - \tfrac12\, s\,(s-1)\, |\nabla \ell_c - \nabla \ell_u|^2\, p .
# $$ (eq:guide-sink)
#
# The sampler's flow accounts for the first term: it moves mass, and makes or loses none. Nothing accounts for the second. For $s > 1$ it takes mass away on the way up, most where the two predictions differ most. So on the way down that mass has to be *given back*: a sample that comes down the guided flow has to carry the weight $W$ with
#
# $$
# \ln W = s\,(s-1) \int |\epsilon^*(x_t, c) - \epsilon^*(x_t)|^2\; d \ln \nu
# $$ (eq:guide-weight)
#
# along its way (each $\nabla\ell$ is $-\epsilon^*/\nu$, and $dw = 2\nu^2\, d\ln\nu$). The integrand is the square whose mean is what a label is worth {eq}`eq:guide-label-worth`. At $s = 0$ and 1 the weight is 1, so guidance is right. Beyond 1, samples whose class was in doubt on the way deserve *more* weight than they get. In other words, plain guidance prefers places where the class was never in doubt.
#
# Check it on the line, where the class lies between two others, on a grid of starts instead of random ones:

# %%
# checks eq:guide-weight, eq:guide-sink
line = GaussianMixture([0.4, 0.2, 0.4], [[-1.2], [0.0], [1.2]], 0.2, schedule)
one, tau_long = of_class(line, 1), make_tau(1000, 1000)
z = torch.linspace(-7, 7, 1401, dtype=torch.float64)[:, None]
print("  s   sd: reached  weighted  tilted   effective share")
for s in (1.5, 2.0, 3.0):
    x, log_W = tilting_weights(one.eps, line.eps, s, z, schedule, tau_long)
    start = -(z[:, 0] ** 2) / 2
    reached, weighted = start.softmax(0), (start + log_W).softmax(0)
    sd = [(p @ x[:, 0] ** 2).sqrt().item() for p in (reached, weighted)]
    sd.append(Tilted(line, 1, s).variance ** 0.5)
    share = 1 / (weighted**2 / reached).sum()
    print(f"{s:3.1f} {sd[0]:12.3f} {sd[1]:9.3f} {sd[2]:7.3f} {share:13.3f}")
    assert abs(sd[1] - sd[2]) < 0.25 * abs(sd[0] - sd[2])

# %% [markdown]
# The weights lead from what is reached to what was promised, up to the error of the steps (the ends of the grid stretch far, and the sampler's mass thins there). The last column says what that costs. It is the share of samples that is left, effectively, when they are weighted: $1/E[W^2]$ for weights of mean 1. At scale 3 next to nothing is left. And a network's two predictions have errors, which the weight's exponent would add up over all pixels. So in practice guidance is left unweighted, and repairs are of
# another kind: they do not aim at the tilted density. (Methods that do aim at it carry such weights, and draw anew among several samples on the way {cite}`skreta2025fkc`.)
#
# ## Four repairs, by hand
#
# ### An interval of levels
#
# Chapter 14 found that the push is given high up. {cite:t}`kynkaanniemi2024interval` report that guidance is harmful at high noise, needless at low noise, and useful in the middle. So they guide in the middle only:
#
# $$
# s(t) = s \;\text{ for }\; l \le t \le h, \qquad s(t) = 1 \;\text{ elsewhere.}
# $$ (eq:guide-interval)
#
# Outside, one call of the network suffices. What is saved can be spent on steps.

# %%
# checks eq:guide-interval
some, s = torch.tensor([[-0.7], [0.2], [0.9]]).double(), 3.0
middle = guided_between(one.eps, line.eps, s, (200, 700), schedule)
for t in (100, 200, 700, 701):
    level = torch.full((3,), t)
    u, c = line.eps(some, level), one.eps(some, level)
    by_hand = u + s * (c - u) if 200 <= t <= 700 else c
    assert torch.allclose(middle(some, level), by_hand)
everywhere = guided_between(one.eps, line.eps, s, (1, 1000), schedule)
assert torch.equal(everywhere(some, level), guided(one.eps, line.eps, s)(some, level))

# %% [markdown]
# ### The size put back
#
# Guided predictions are larger than conditional ones, and so pictures come out over-exposed. {cite:t}`lin2024flawed` put the size back: with $y_s$ the guided prediction and $y_c$ the conditional one,
#
# $$
# \hat y = \Bigl(\varphi\, \frac{\mathrm{sd}(y_c)}{\mathrm{sd}(y_s)} + 1 - \varphi\Bigr)\, y_s ,
# $$ (eq:guide-rescale)
#
# where sd is taken over the pixels of one picture. Their network predicts $v$, which high up is nearly minus the picture: there the rule shrinks the predicted picture, which is what has become too large. diffusers applies it to whatever a network says. Of $\epsilon$ it does something else. High up, $\epsilon$ is nearly the noise itself, of size 1 with or without guidance, so little is put back. And where the factor is below 1, what becomes smaller is the predicted noise, so some real noise is left in the picture.

# %%
# checks eq:guide-rescale
three, level = plane.sample(3, generator), torch.full((3,), 400)
u, c = plane.eps(three, level), inside.eps(three, level)
pressed = u + s * (c - u)
ratio = c.std(1, keepdim=True) / pressed.std(1, keepdim=True)
by_hand = (0.7 * ratio + 0.3) * pressed
ours = rescaled(inside.eps, plane.eps, s, 0.7, schedule, of="eps")
assert torch.allclose(ours(three, level), by_hand)

# %% [markdown]
# ### Away from a worse self
#
# What else could stand in the place of the prediction without a class? {cite:t}`karras2024autoguidance` put there a smaller or less trained network, asked for *the same class*. Guidance then points from the worse prediction to the better one. It is the old formula with other predictors, {py:func}`~ddim_edu.guidance.guided` unchanged.
#
# When does that help? Suppose that the data are $\mathcal N(0, v)$ on the line, and both networks blur: the good one has learnt $v_1 > v$, the weak one $v_2 > v_1$. By {eq}`eq:guide-variances` the guided flow reaches
#
# $$
# v_2^{1-s}\, v_1^{\,s} = v \quad\text{at}\quad s = \frac{\ln (v_2/v)}{\ln (v_2/v_1)} .
# $$ (eq:guide-auto)
#
# So if both err in one direction, there is a scale that makes the error vanish; beyond it, samples become too narrow. If they err in different directions, guidance makes it worse. And nothing is pushed away from the other classes.

# %%
# checks eq:guide-auto
v, v_1, v_2 = 1.0, 1.2, 1.6
strong, weak = (Gaussian(torch.zeros(1), w, schedule) for w in (v_1, v_2))
best = math.log(v_2 / v) / math.log(v_2 / v_1)
for s in (1.0, best, 3.0):
    eps_theta = guided(strong.eps, weak.eps, s)
    end = decode(eps_theta, torch.ones(1, 1).double(), schedule, tau_long)
    print(f"s = {s:.2f}: variance {end.item() ** 2:.2f}")
    assert abs(end.item() ** 2 - v_2 ** (1 - s) * v_1**s) < 0.02
assert torch.allclose(guided(one.eps, one.eps, 3.0)(some, level), one.eps(some, level))

# %% [markdown]
# ### Noised again without guidance
#
# A step of DDIM uses the predicted noise twice, to find $\hat x_0$ and to noise it again. {cite:t}`chung2024cfgpp` guide the first use only. With $\hat\epsilon$ guided by a scale $\lambda$ from 0 to 1, their **CFG++** is
#
# $$
# x_{t'} = \sqrt{\bar\alpha_{t'}}\; \hat x_0(\hat\epsilon) + \sqrt{1 - \bar\alpha_{t'}}\; \epsilon_\theta(x_t) .
# $$ (eq:guide-cfgpp)
#
# This needs a step of its own, {py:func}`~ddim_edu.guidance.cfgpp_path`: a wrapped $\epsilon_\theta$ says one noise, and here are two. But how different is it? In $\bar x$ both steps move by the same multiple of $\epsilon_u$. Of $\epsilon_c - \epsilon_u$ plain guidance adds $-s\,(\nu_t - \nu_{t'})$ times, and CFG++ $-\lambda\, \nu_t$ times. So one step of CFG++ *is* a step of plain guidance, with the scale
#
# $$
# s = \lambda\, \frac{\nu_t}{\nu_t - \nu_{t'}} .
# $$ (eq:guide-cfgpp-scale)
#
# It is $\lambda$ at the last step, where $\nu_{t'} = 0$, and larger before.

# %%
# checks eq:guide-cfgpp, eq:guide-cfgpp-scale
x, lam, abar = noise[:5], 0.4, schedule.alpha_bar.tolist()
for t, lower in zip(reversed(tau[1:].tolist()), reversed(tau[:-1].tolist())):
    level = torch.full((5,), t)
    u, c = plane.eps(x, level), inside.eps(x, level)
    x_0 = (x - (1 - abar[t]) ** 0.5 * (u + lam * (c - u))) / abar[t] ** 0.5
    y = abar[lower] ** 0.5 * x_0 + (1 - abar[lower]) ** 0.5 * u
    s = cfgpp_scale(lam, t, lower, schedule)
    assert torch.allclose(y, ddim_step(x, u + s * (c - u), abar[t], abar[lower]))
    x = y
ours = decode_cfgpp(inside.eps, plane.eps, noise[:5], schedule, tau, scale=lam)
assert torch.allclose(x, ours)

# %%
for S in (10, 20, 50):
    levels = make_tau(1000, S, "trailing").tolist()
    high, mid = len(levels) - 1, len(levels) // 2
    at = [cfgpp_scale(1.0, levels[i], levels[i - 1], schedule) for i in (high, mid, 1)]
    print(f"S = {S:3d}: lambda 1 is a scale of {at[0]:.1f} first, {at[1]:.1f} half-way, {at[2]:.0f} last")

# %% [markdown]
# The more steps, the larger the scale: a step gets shorter and its push does not. What that leads to is shown under *What breaks*.
#
# ## One knob, more numbers
#
# The table of chapter 14 goes on. `SCALES` in `ddim_edu/conventions.py` has the conversions, which the cell checks.
#
# | where | its number | here |
# |---|---|---|
# | Ho and Salimans | $w$ | $s = 1 + w$ |
# | diffusers, guiders, original formulation | $g$ | $s = 1 + g$ |
# | the other guiders, autoguidance in Karras et al. | $w$ | $s = w$ |
# | CFG++ | $\lambda$ | {eq}`eq:guide-cfgpp-scale`, for each step |
# | interval of Kynkäänniemi et al. | noise levels $\sigma$ | the levels $t$ whose $\nu_t$ lies in it |
# | diffusers, guiders, `start`, `stop` | shares of the steps, from the top | levels of these steps |
# | rescaling, `guidance_rescale` | $\varphi$ | the same; 0 is off |

# %%
assert SCALES["ho-salimans"](2.0) == SCALES["diffusers-original"](2.0) == 3.0
assert SCALES["karras-autoguidance"](2.0) == SCALES["diffusers"](2.0) == 2.0
low, high = interval_of_sigma(schedule, 0.3, 3.0)
print(f"sigma 0.3 to 3 is t = {low} to {high} of the linear schedule")
assert schedule.nsr[low - 1] < 0.3 <= schedule.nsr[low]
assert schedule.nsr[high] <= 3.0 < schedule.nsr[high + 1]
few = make_tau(1000, 10, "trailing")
print("steps 0.2 to 0.8 of ten leave the levels", *interval_of_steps(few, 0.2, 0.8))

# %% [markdown]
# ## On exact predictors
#
# With predictions that are exact there is nothing to improve at scale 1: it samples the class. So whatever guidance does there is a distortion, and one can see which kind. The class between two others, at scale 3 and 100 steps:

# %%
z = torch.special.ndtri((torch.arange(400.0).double()[:, None] + 0.5) / 400)
many = make_tau(1000, 100, "trailing")
ends = {"class": decode(one.eps, z, schedule, many)}
ends["plain"] = decode(guided(one.eps, line.eps, 3.0), z, schedule, many)
ends["interval"] = decode(middle, z, schedule, many)
low_only = guided_between(one.eps, line.eps, 3.0, (1, 300), schedule)
ends["low levels"] = decode(low_only, z, schedule, many)
broader = GaussianMixture([1.0], [[0.0]], 0.4, schedule)
ends["auto"] = decode(guided(one.eps, broader.eps, 3.0), z, schedule, many)
ends["CFG++"] = decode_cfgpp(one.eps, line.eps, z, schedule, many, scale=0.2)
print(f"truth      sd {one.covs.sqrt().item():.3f}")
for name, x in ends.items():
    print(f"{name:10s} sd {x.std().item():.3f}")
sd = {name: x.std() for name, x in ends.items()}
assert sd["plain"] < sd["low levels"] < sd["interval"] < sd["class"]

# %% [markdown]
# Each guided row is narrower than the class, and guidance at some of the levels narrows less than guidance at all of them. (*interval* is 200 to 700, and *low levels* 1 to 300.) Which levels matter depends on where the class is in doubt. The peaks of chapter 14 stand apart, and were pushed high up. These three overlap even without noise, and the lowest 300 levels alone push more than the 500 in the middle. So no interval is right for all data. Even autoguidance (here with a broader Gaussian as the weaker model) narrows what was right, since the better model has no error left to
# remove. What guidance does for networks is to correct *their* errors, and that has to be measured.
#
# ## Measured at equal calls
#
# `benchmarks/guidance_now.py` drew clothes and faces (whose classes are four styles of drawing) with 16 calls of a network for each image: the class alone in 16 steps, guidance in 8, guidance at levels 200 to 700 in 11, of which five take two calls. The measures are chapter 14's; *beyond* is the share of pixel values outside 1.1 times their range. Behind ± stands half a 95% interval by the jackknife over five seeds. The weaker models of autoguidance have a ninth and a thirty-fifth of the parameters, and 800 and 250 steps of training; the command stands in the file.

# %%
NAMES = ("accuracy", "precision", "recall", "spread")


def cell(row, name):
    return f"{row[name]['value']:.2f} ± {summary(row[name]['pseudo']).half:.2f}"


for model, of in found.items():
    about = of["protocol"]
    print(f"{model}: {about['seeds']} x {about['n']} images each")
    print(f"{'':18s}" + "".join(f"{name:>14s}" for name in NAMES) + "  beyond")
    for way, row in of["pieces"].items():
        cells = "".join(f"{cell(row, name):>14s}" for name in NAMES)
        print(f"{way:18s}{cells}{row['beyond']:8.0%}")

# %% mystnb={"figure": {"caption": "Fidelity against diversity at 16 calls: precision over spread, with 95% intervals, clothes (left) and faces (right). Further up is better, further right only up to 1, the spread of the data. Each line is one way of guidance, begins at the class alone, and has the scale written at its points. On the clothes the interval stays near the class alone, and plain guidance goes far to the left.", "name": "fig-guidance-trade"}, "image": {"alt": "Two plots of precision against spread. From a common point, the class alone, plain guidance and rescaling lead to the left, to less spread, the interval stays nearer, and the last point of autoguidance lies to the right; on faces it falls to a precision of 0.3. Most intervals overlap."}} tags=["hide-input"]
KINDS = ("plain", "interval:200-700", "cfg++", "auto", "rescale:0.7")
fig, axes = figure(2, height=3.8)
for ax, (model, of) in zip(axes, found.items()):
    rows = of["pieces"]
    for kind, colour, mark in zip(KINDS, COLOURS, "osD^v"):
        mine = {"": rows["class 1"]} | {k.split()[1]: r for k, r in rows.items() if k.startswith(kind + " ")}
        x, y = ([r[n]["value"] for r in mine.values()] for n in ("spread", "precision"))
        dx, dy = ([summary(r[n]["pseudo"]).half for r in mine.values()] for n in ("spread", "precision"))
        ax.errorbar(x, y, dy, dx, color=colour, label=kind, fmt=mark + "-", ms=4, lw=1.2, elinewidth=0.4)
        ax.plot(x, y, mark, ms=4, color=colour, zorder=4)
        for scale, *place in zip(mine, x, y):
            box = {"pad": 0.5, "color": "white", "alpha": 0.8}
            ax.annotate(scale, place, (4, 4), textcoords="offset points", fontsize=9, color=colour, bbox=box)
    ax.set(title=model.replace("fashion-mnist", "clothes"), xlabel="spread within a class", ylabel="precision")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9);

# %%
tests, gains = {}, {}
for model, of in found.items():
    rows = of["pieces"]
    for way in rows:
        if way not in ("plain 2", "class 1"):
            for name in ("precision", "spread"):
                pair = [rows[w][name]["pseudo"] for w in (way, "plain 2")]
                tests[model, way, name] = paired(*pair).p
                gains[model, way, name] = rows[way][name]["value"] - rows["plain 2"][name]["value"]
sure = [k for k, p in holm(tests).items() if p < 0.05]
print(f"against plain guidance at scale 2: {len(sure)} of {len(tests)} beyond chance")
for key in sure:
    print(f"{key[0]:14s} {key[1]:18s} {key[2]:9s} {gains[key]:+.2f}")

# %%
clothes = found["fashion-mnist"]["pieces"]
beyond = {way: clothes[way]["beyond"] for way in clothes}
print({way: f"{beyond[way]:.2%}" for way in ROWS.values()})
assert max(beyond["interval:200-700 5"], beyond["rescale:0.7 5"]) < beyond["plain 5"] / 4
wider = ("interval:200-700 2", "interval:200-700 5", "auto 1.5")
assert all(("fashion-mnist", way, "spread") in sure for way in wider)
assert not any(k[2] == "precision" for k in sure if k[0] == "fashion-mnist")
white = {way: np.mean(clothes[way]["means"]) for way in ROWS.values()}
print({way: f"{mean:.2f}" for way, mean in white.items()})
# %%
wider = paired(*(clothes[way]["spread"]["pseudo"] for way in ("rescale:0.7 5", "plain 5")))
print(f"clothes at scale 5: rescaling adds {wider.mean:.2f} ± {wider.half:.2f} of spread to plain guidance")
levels, cosine = make_tau(990, 8, "trailing").tolist(), NoiseSchedule.cosine()
at = [cfgpp_scale(0.2, t, lower, cosine) for lower, t in zip(levels, levels[1:])]
print(f"CFG++ at 0.2 in eight steps: scales of {min(at):.1f} to {max(at):.1f}")
assert wider.mean > wider.half and max(at) < 1

# %% [markdown]
# (The last lines of the second cell: shares beyond the range, and the mean pixel, from −1 to 1, in the four rows of the first figure.) What can be said of two hundred clothes and forty faces a row?
#
# - On the clothes the **interval** keeps much more spread than plain guidance at 2, at either scale, beyond chance, and its recall is higher. Its precision is lower by 0.04 to 0.06, within chance; at scale 5 its accuracy is no less. On the faces it points the same way, within chance. So it costs nothing that these tables can tell from chance, and no second network.
# - **Autoguidance** at 1.5 does nearly as well on the clothes, and on the faces too. At 3 it goes too far: on the clothes 9% of the values leave the range, and the faces leave their kind. The weaker networks here are *much* weaker, and their errors need not point where the better network's do. {cite:t}`karras2024autoguidance` choose theirs with care.
# - **CFG++** at 0.2 is less than the class alone: {eq}`eq:guide-cfgpp-scale` makes it a scale below 1 at each of the eight steps. Its 0.5 is as accurate as the class alone and narrower.
# - **Rescaling**, against plain guidance at the same scale 5: the values beyond the range all but vanish, and spread comes back, as much as plain guidance has at 2. The clothes are hardly less white. The interval, which is not about size, does better in all three: the push is given high up, and so is the harm.
#
# In a command: `ddim-edu sample faces --scale 3 --guidance interval:200-700`; the others are `cfg++` (with scales of 0 to 1), `rescale:0.7`, and `auto:` with a run folder or a checkpoint. `ddim-edu apps edit` and `sound` take the interval and rescaling.
#
# ## What breaks: more steps
#
# A method for an ODE errs less with more steps. CFG++ is no such method. By {eq}`eq:guide-cfgpp-scale` each step pushes by $\lambda \nu_t$ times the difference of the two predictions, however short it is. So the whole push grows with the number of steps:

# %%
widths = []
for S in (10, 50, 250, 1000):
    steps = make_tau(1000, S, "trailing")
    plain = decode(guided(one.eps, line.eps, 2.0), z, schedule, steps).std()
    plus = decode_cfgpp(one.eps, line.eps, z, schedule, steps, scale=0.2).std()
    widths.append(plus.item())
    print(f"S = {S:4d}: sd {plain:.3f} by plain guidance at 2, {plus:.4f} by CFG++ at 0.2")
assert widths == sorted(widths, reverse=True) and widths[-1] < 0.2 * widths[0]

# %% [markdown]
# The class itself has 0.447. Plain guidance settles, once the steps are short enough. CFG++ goes from 0.75, less guided than the class alone, to a single point. A scale of CFG++ says nothing without the number of steps: whoever changes one has to change the other.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the scale that undoes a blur
# :label: ex-guidance-blur
# *Derive · one star · 10 minutes*
#
# A network has learnt the variance $v_1$ where the data have $v$, and an early checkpoint of it $v_2$. Which scale of autoguidance samples the data? Hand in `scale(v, v_1, v_2)`: `check("ex-guidance-blur", scale)`.
# ```
#
# ````{solution} ex-guidance-blur
# :class: dropdown
# From {eq}`eq:guide-auto`, by logarithms. It is 1 for $v_1 = v$, as it should be.
#
# ```python
# import math
# from ddim_edu.exercises import check
#
# def scale(v, v_1, v_2):
#     return math.log(v_2 / v) / math.log(v_2 / v_1)
#
# assert scale(1.0, 1.0, 2.0) == 1.0
# assert check("ex-guidance-blur", scale)
# ```
# ````
#
# ```{exercise} Derive: CFG++ in steps of equal ratio
# :label: ex-guidance-ratio
# *Derive · two stars · 15 minutes*
#
# Let all steps shrink the clock by one factor: $S$ of them lead from $\nu = a$ to $\nu = b$ (a last one, to 0, comes after). Which scale $\lambda$ of CFG++ equals plain guidance at the scale $s$ in each of them? Hand in `lam(s, a, b, S)`: `check("ex-guidance-ratio", lam)`.
# ```
#
# ````{solution} ex-guidance-ratio
# :class: dropdown
# The ratio of a step is $r = (b/a)^{1/S}$, so $\lambda = s\,(1 - r)$ by {eq}`eq:guide-cfgpp-scale`. For many steps that is $s \ln(a/b)/S$: who doubles the steps has to halve $\lambda$.
#
# ```python
# from ddim_edu.exercises import check
#
# def lam(s, a, b, S):
#     return s * (1 - (b / a) ** (1 / S))
#
# assert abs(lam(3.0, 100.0, 0.1, 1000) * 1000 / (3.0 * 6.9078) - 1) < 0.01
# assert check("ex-guidance-ratio", lam)
# ```
# ````
#
# ```{exercise} Code: what an interval costs
# :label: ex-guidance-calls
# *Code · one star · 10 minutes*
#
# Write how many calls of the network an image costs, given the levels `tau` from 0 to the top, as `make_tau` makes them, and an interval from `low` to `high`, ends included. Hand in `calls(tau, low, high)`: `check("ex-guidance-calls", calls)`.
# ```
#
# ````{solution} ex-guidance-calls
# :class: dropdown
# A step is guided by the level that it *leaves*, so 0 is never asked.
#
# ```python
# from ddim_edu.exercises import check
#
# def calls(tau, low, high):
#     return sum(2 if low <= t <= high else 1 for t in tau[1:])
#
# assert calls([0, 100, 200, 300], 200, 300) == 5
# assert check("ex-guidance-calls", calls)
# ```
# ````
#
# ```{exercise} Break: weights without a variance
# :label: ex-guidance-infinite
# *Break · two stars · 20 minutes*
#
# All data are $\mathcal N(0, 2)$ on the line and the class $\mathcal N(0, 1)$. From {eq}`eq:guide-variances` find the weight of a sample that ends at $x_0$, up to a factor, without any integral. From which scale $s > 1$ on is the mean of its square infinite? Hand in that scale: `check("ex-guidance-infinite", s)`.
# ```
#
# ````{solution} ex-guidance-infinite
# :class: dropdown
# The flow reaches $\mathcal N(0, r)$ with $r = 2^{1-s}$, and the tilted density is $\mathcal N(0, \tau)$ with $\tau = 2/(1 + s)$. A weight that leads from one to the other is their quotient, $W \propto \exp\bigl(\tfrac12 x_0^2\,(1/r - 1/\tau)\bigr)$. The mean of $W^2$ is an integral of $\exp\bigl(-\tfrac12 x_0^2\,(2/\tau - 1/r)\bigr)$,
# finite while $2/\tau > 1/r$, that is $1 + s > 2^{s-1}$. At $s = 3$ both sides are 4. From there on the weighted mean still tends to the truth, but its error has no variance, and no interval can be given for it.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.guidance import tilting_weights
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule, s = NoiseSchedule.linear(), 3.0
# every, one = (Gaussian(torch.zeros(1), v, schedule) for v in (2.0, 1.0))
# starts = torch.tensor([[0.0], [2.0]]).double()
# x, log_W = tilting_weights(one.eps, every.eps, s, starts, schedule, make_tau(1000, 1000))
# r, tilted = 2 ** (1 - s), 2 / (1 + s)
# slope = (1 / r - 1 / tilted) / 2
# assert abs((log_W[1] - log_W[0]) / x[1, 0] ** 2 - slope) < 0.05 * slope
# assert 2 / tilted == 1 / r
# assert check("ex-guidance-infinite", s)
# ```
# ````
#
# ## Summary
#
# 1. Tilted densities of different levels obey diffusion up to a sink. Guided samples lack the weight that makes up for it; with it they follow the tilted density, and few of them count.
# 2. An interval guides only at the levels where that is worth a second call. Rescaling puts the size of a prediction back, which does what it is meant to for $v$ and not for $\epsilon$.
# 3. Autoguidance points away from a weaker self. Where both err in one direction some scale removes the error; a model that is right it makes too narrow.
# 4. CFG++ is plain guidance with the scale $\lambda \nu_t/(\nu_t - \nu_{t'})$: its number means nothing without that of the steps.
# 5. Compare at equal calls and with intervals: on these small models most differences are within chance. What stands out, on the clothes: an interval of levels and mild autoguidance keep more spread than plain guidance, at about the same accuracy.
#
# **Next.** {ref}`Chapter 14 <ch-conditioning>` is where this began. In the package, read {py:func}`ddim_edu.guidance.tilting_weights`, which is the theorem in ten lines.
