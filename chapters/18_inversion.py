# %% [markdown]
# (ch-inversion)=
# # There and back, exactly
#
# **Question.** Encode a picture by DDIM run backwards and decode it: what comes back is a little off, and under guidance it is another picture. Why, what can be done about it, and what is it worth?

# %% tags=["hide-input"]
import base64
import json
from itertools import pairwise

import numpy as np
import torch
from torch.func import functional_call

from ddim_edu.data.named import digits
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.guidance import guided, of_class

# %% tags=["hide-input"]
from ddim_edu.inversion import (
    Pair,
    balanced_mixing,
    bdia_decode,
    bdia_encode,
    edict_decode,
    edict_encode,
    fixed_point_invert,
    fixed_point_iterates,
    record,
    replay,
)
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, figure
from ddim_edu.sampler import ddim_step, decode, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% tags=["hide-input"]
file = in_repository("results/inversion.json")
found = json.loads(file.read_text(encoding="utf8"))["models"]
shape = {"fashion-mnist": (4, 1, 28, 28), "faces": (4, 3, 32, 32)}


def unpack(text, name):
    flat = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return flat.reshape(shape[name]).transpose(0, 2, 3, 1)


# %% mystnb={"figure": {"caption": "Up and down under the same class, 20 steps each way. Top row: held-out pictures. Below: what comes back by DDIM without guidance, nearly the same; by DDIM with guidance at scale 7.5 both ways, with other folds, another mouth, other hair; and by BDIA with the same guidance, where no difference can be seen.", "name": "fig-inversion-back"}, "image": {"alt": "Eight pictures in four rows: clothes on the left, drawn faces on the right. Second row: much like the originals. Third row: clothes without folds, two faces that have become other faces. Last row: the originals again."}} tags=["hide-input"]
rows = {"picture": None, "DDIM": ("naive", 1.0), "DDIM, 7.5": ("naive", 7.5), "BDIA, 7.5": ("BDIA", 7.5)}
fig, axes = figure(8, 4, height=3.9)
for across, (title, key) in zip(axes, rows.items()):
    shown = []
    for name in shape:
        back = found[name]["back"]
        chosen = [r for r in back["rows"] if (r["way"], r["scale"]) == key] or [back]
        shown += list(unpack(chosen[0]["pictures"], name))
    for ax, image in zip(across, shown):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set(xticks=[], yticks=[])
    across[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
fig.align_ylabels();

# %% [markdown]
# Under guidance both ways DDIM loses the picture (third row). A walk that keeps *two* states brings it back (fourth row), off by $10^{-4}$ or less, which is rounding.
#
# At the end of this chapter you will have checked, by running it,
#
# - where the way back goes wrong, and why guidance makes it worse;
# - when the right state can be found by iteration: it depends on the length of the step, and on what the state leaves open of the data;
# - two maps that have an inverse whatever the network is, EDICT and BDIA, with round trips below $10^{-12}$ in float64;
# - by how much they magnify rounding, from a theorem with a proof of a few lines, and how to lose not even one bit;
# - what exactness is worth when a picture is edited, at equal cost. (Less than one would think.)
#
# You need chapters 7 and 14, and determinants.
#
# The chapter opens {py:mod}`ddim_edu.inversion` and {py:mod}`ddim_edu.apps.edit`.

# %%
print("root mean square error, mean of 8 pictures, float32")
for name in found:
    for scale in (1.0, 7.5):
        rows = [r for r in found[name]["back"]["rows"] if r["scale"] == scale]
        line = [f"{r['way']} {np.mean(r['error']):.1e}" for r in rows]
        print(f"{name:13s} {scale:3.1f}: " + ", ".join(line))

# %% [markdown]
# ## Why it does not come back
#
# Chapter 7's units: $\bar x = x/\sqrt{\bar\alpha}$, the clock $\nu$, and $h = \nu_t - \nu_s$ for the length of a step between a cleaner level $s$ and a noisier one $t$. (As $s$ is a level in this chapter, the scale of guidance is $w$.) With the noise held fixed, a step is undone by the same step with its levels exchanged:
#
# $$
# \bar x_s = \bar x_t - h\,\epsilon, \qquad \bar x_t = \bar x_s + h\,\epsilon .
# $$ (eq:step-undone)
#
# The trouble is the $\epsilon$. Down, it is $\epsilon_\theta(x_t, t)$. Up, $x_t$ is what we are looking for, and {py:func}`~ddim_edu.sampler.invert` takes $\epsilon_\theta(x_s, s)$ in its place. So a step up misses by $h$ times the change of the noise along that step. The change is about $h$ times the second derivative of the path, so the miss is of order $h^2$, and the misses of $S$ steps add up to order $1/S$. Guidance adds $w - 1$ times the difference of two predictions to the noise. That difference changes along the path as well, so the miss grows with $w$. More steps make it smaller, and never zero.
#
# On two exact classes in the plane, the root mean square error of a round trip:

# %%
# checks eq:step-undone
schedule = NoiseSchedule.linear()
generator = torch.Generator().manual_seed(0)
every = GaussianMixture([0.5, 0.5], [[-0.5, 0.2], [0.5, -0.2]], 0.2, schedule)
one = of_class(every, 0)
x_0 = one.sample(200, generator)
tau = make_tau(900, 10, "trailing")
abar = schedule.alpha_bar.tolist()
eps = one.eps(x_0, 300)
up = ddim_step(x_0, eps, abar[300], abar[500])
assert torch.allclose(ddim_step(up, eps, abar[500], abar[300]), x_0, atol=1e-14)


def under(scale):
    return guided(one.eps, every.eps, scale)


def naive(f, levels):
    return decode(f, invert(f, x_0, schedule, levels), schedule, levels)


# %%
for S in (10, 50, 250):
    levels = make_tau(900, S, "trailing")
    off = [(naive(under(w), levels) - x_0).square().mean().sqrt() for w in (1, 7.5)]
    print(f"S = {S:3d}: error {off[0]:.3f} without guidance, {off[1]:.3f} at scale 7.5")
    assert 1.5 * off[0] < off[1]

# %% [markdown]
# ## Looking for the right state
#
# The state that the step down would start from solves $\bar x_t = \bar x_s + h\,\epsilon_\theta(x_t, t)$. That equation suggests its own cure {cite}`pan2023aidi`: put a guess in on the right, get a better one on the left.
#
# $$
# \bar x_t^{(k+1)} = \bar x_s + h\,\epsilon_\theta\bigl(x_t^{(k)}, t\bigr) .
# $$ (eq:fixed-point)
#
# A gap between guess and solution is multiplied by $h$ times the derivative of the noise. Chapter 7's exercise {ref}`ex-ode-jacobian` gave that of the expected data, $\operatorname{Cov}(x_0 \mid \bar x)/\nu^2$, and the noise is $(\bar x - E[x_0 \mid \bar x])/\nu$. So for the exact predictor the gap is multiplied by the matrix
#
# $$
# \Bigl(1 - \frac{\nu_s}{\nu_t}\Bigr) \Bigl(I - \frac{\operatorname{Cov}(x_0 \mid \bar x_t)}{\nu_t^2}\Bigr) .
# $$ (eq:fixed-contraction)
#
# The search converges where all eigenvalues of this matrix are below 1 in size. The first factor is below 1, except for a step that ends in the data ($\nu_s = 0$), where it is 1. The eigenvalues of the second factor are $1 - \kappa/\nu_t^2$, where $\kappa$ is the variance of $x_0$ given $\bar x_t$ in some direction. Such a number leaves $[-1, 1]$ only if $\kappa > 2\nu_t^2$: if the state leaves more of the data open than the noise is wide. That happens between two peaks, where it is not yet settled to which of them a path will go.
#
# With guidance at scale $w$ the covariance becomes $w\operatorname{Cov}_c - (w - 1) \operatorname{Cov}$, of the class and of all data. Where a class leaves much less open than all data do, this has negative eigenvalues. Then the second factor is above 1, and it grows with $w$. So under guidance the search may be slow, or fail. The cells measure the largest eigenvalue, and what the iterations do, in two cases: the classes above, and a narrow one of three.

# %%
def jacobian(f, x, t):
    """Derivative of the noise by the state, (B, 2, 2)."""
    level = torch.full((len(x),), t)
    total = torch.autograd.functional.jacobian(lambda y: f(y, level).sum(0), x)
    return total.transpose(0, 1)


def largest(f, x, t, s):
    nu_t, nu_s = schedule.nsr[[t, s]].tolist()
    by_bar = (nu_t - nu_s) * abar[t] ** 0.5 * jacobian(f, x, t)
    return torch.linalg.eigvals(by_bar).abs().amax(1)


# %%
# checks eq:fixed-contraction
level, h = 400, 1e-5  # the covariance, from the predicted data, by differences
nu, root, eye = schedule.nsr[level].item(), abar[level] ** 0.5, torch.eye(2).double()


def mean(bar):
    return bar - nu * one.eps(root * bar, level)


some = x_0[:20] + nu * torch.randn(20, 2, generator=generator, dtype=torch.float64)
cov = torch.stack([(mean(some + h * e) - mean(some - h * e)) / (2 * h) for e in eye], 2) * nu**2
rate = torch.linalg.eigvals((1 - schedule.nsr[300] / nu) * (eye - cov / nu**2)).abs().amax(1)
assert torch.allclose(rate, largest(one.eps, root * some, level, 300), atol=1e-6)

# %%
def search(title, f, x_0, ks=(1, 10, 30, 100)):
    x, rates = x_0, []
    for s, t in pairwise(tau.tolist()):
        guesses = fixed_point_iterates(f, x, schedule, t, s)
        x = [next(guesses) for _ in range(301)][-1]  # the solution
        rates.append(largest(f, x, t, s).max().item())
    ends = [decode(f, fixed_point_invert(f, x_0, schedule, tau, k), schedule, tau) for k in ks]
    off = [(end - x_0).square().mean(1).sqrt() for end in ends]
    errors = " ".join(f"{e.square().mean().sqrt():.0e}" for e in off)
    late = [int((e > 0.01).sum()) for e in off]
    print(f"{title}: factor up to {max(rates):.2f}; errors {errors}; still off", *late)
    return max(rates), late


# %%
# checks eq:fixed-point
three = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule)
third = of_class(three, 0)
for name, everything, part in (("wide", every, one), ("narrow", three, third)):
    x = part.sample(200, torch.Generator().manual_seed(1))
    for w in (1.0, 7.5):
        rate, late = search(f"{name:6s} {w}", guided(part.eps, everything.eps, w), x)
        assert rate < 1 and late[-1] == 0
assert late[-2] > 0

# %% [markdown]
# Each row has the scale $w$; the largest factor at the solution, over 200 walks and all levels; the root mean square error of the round trip after 1, 10, 30 and 100 iterations a step; and how many walks are then still off by more than 0.01. The search arrives in all four cases. But under guidance the factor is nearer to 1, the error can grow at first, and after 30 iterations a step some walks are still lost. They need up to a hundred iterations, of two calls each, where the step down takes two calls.

# %% [markdown]
# ## EDICT: a pair that take turns
#
# {cite:t}`wallace2023edict` avoid the search. They carry *two* states. Each is moved by noise that is predicted in the *other*, which stays where it is meanwhile. So on the way back the same noise can be predicted again. One step down, with a number $p$ below 1:
#
# $$
# \begin{aligned}
# x' &= \mathrm{step}\bigl(x_t, \epsilon_\theta(y_t, t)\bigr), &
# y' &= \mathrm{step}\bigl(y_t, \epsilon_\theta(x', t)\bigr), \\
# x_s &= p\, x' + (1 - p)\, y', & y_s &= p\, y' + (1 - p)\, x_s .
# \end{aligned}
# $$ (eq:edict)
#
# The second line mixes the two; without it they would drift apart. Read the step backwards, last equation first. Each is solved for the one quantity that is still unknown:
#
# $$
# \begin{aligned}
# y' &= \bigl(y_s - (1 - p)\, x_s\bigr)/p, & x' &= \bigl(x_s - (1 - p)\, y'\bigr)/p, \\
# y_t &= \mathrm{step}^{-1}\bigl(y', \epsilon_\theta(x', t)\bigr), & x_t &= \mathrm{step}^{-1}\bigl(x', \epsilon_\theta(y_t, t)\bigr) .
# \end{aligned}
# $$ (eq:edict-inverse)
#
# No approximation was made, so this holds for every network. On the way up a picture starts as the pair $x = y = x_0$. The price is two calls a step. (In the authors' code $x$ and $y$ change places at every other step, so that neither is always first. The algebra is the same.)
#
# ## BDIA: the step before
#
# {cite:t}`zhang2023bdia` need one call a step. They keep the last two states of a single walk. Write $\mathrm{up}_i$ and $\mathrm{down}_i$ for the DDIM steps from level $\tau_i$ to its two neighbours, both by the noise $\epsilon_\theta(x_i)$. If DDIM were perfect, $\mathrm{up}_i$ would be $x_{i+1}$, which is known. So what it misses is known too, and a share $\gamma$ of it corrects the step down ($\gamma = 0$ is DDIM):
#
# $$
# x_{i-1} = \mathrm{down}_i + \gamma\,(x_{i+1} - \mathrm{up}_i) .
# $$ (eq:bdia)
#
# The noise is predicted in the middle state alone, which both directions know. So this can be solved for the state above:
#
# $$
# x_{i+1} = \mathrm{up}_i + (x_{i-1} - \mathrm{down}_i)/\gamma .
# $$ (eq:bdia-inverse)
#
# At $\gamma = 1$ the two are mirror images. The first step up, which has no state before it, is DDIM's. What is kept at the top is a pair here too, of two neighbouring states. ({cite:t}`wang2024belm` show that EDICT and BDIA are cases of one linear multi-step scheme, and choose its coefficients so that a step errs least.) Both by hand, against the package:

# %%
f, gamma, p = under(7.5), 0.8, 0.9
levels = tau.tolist()


def ask(x, t):
    return f(x, torch.full((len(x),), max(t, 1)))


def move(x, e, a, b):
    return ddim_step(x, e, abar[a], abar[b])


# %%
# checks eq:edict, eq:edict-inverse, eq:bdia, eq:bdia-inverse
x, y, before = x_0, x_0, x_0
now = move(x_0, ask(x_0, 0), 0, levels[1])
for i, (s, t) in enumerate(pairwise(levels)):
    y = (y - (1 - p) * x) / p
    x = (x - (1 - p) * y) / p
    y = move(y, ask(x, t), s, t)
    x = move(x, ask(y, t), s, t)
    if i:
        e = ask(now, s)
        before, now = now, move(now, e, s, t) + (before - move(now, e, s, levels[i - 1])) / gamma
both = *edict_encode(f, x_0, schedule, tau, p), *bdia_encode(f, x_0, schedule, tau, gamma)
for ours, theirs in zip(both, (x, y, now, before)):
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)

# %% [markdown]
# And the largest error of a round trip in float64, on the mixture and on three shipped networks:

# %%
def trips(f, x, schedule, tau):
    pair = edict_decode(f, edict_encode(f, x, schedule, tau), schedule, tau)
    ends = {"EDICT": torch.stack(pair), "BDIA": bdia_decode(f, bdia_encode(f, x, schedule, tau), schedule, tau)}
    return {k: (y - x).abs().max().item() for k, y in ends.items()}


# %%
data = digits()
cases = {"mixture": (x_0, schedule, under)}
for name, n in (("digits", 8), ("fashion-mnist", 1), ("faces", 1)):
    net = load(name)
    net.model.double()
    if name == "digits":
        x = data.floats(data.heldout[:n]).double()
    else:
        x = torch.tensor(unpack(found[name]["back"]["pictures"], name)[:n])
        x = x.permute(0, 3, 1, 2).double() / 127.5 - 1
    cases[name] = x, net.schedule, lambda w, net=net: guided(net.eps_theta(1), net.eps_theta(), w)
# %%
for name, (x, levels_of, way) in cases.items():
    for w in (1.0, 7.5):
        off = trips(way(w), x, levels_of, tau)
        print(f"{name:13s} scale {w}: " + ", ".join(f"{k} {v:.0e}" for k, v in off.items()))
        assert max(off.values()) < 1e-12

# %% [markdown]
# ## What they magnify instead
#
# The errors above are not all near $10^{-16}$, where the rounding of float64 is. A map can have an exact inverse and still magnify what rounding puts in. By how much it magnifies *volumes* does not depend on the network:
#
# ```{prf:theorem} Volumes of pairs
# :label: thm-pair-volumes
# One step of BDIA multiplies volumes of pairs, in $2D$ dimensions, by $\gamma^D$. A walk of $S$ steps of EDICT from $\bar\alpha_T$ to the data multiplies them by
#
# $$
# \bigl(p^{2S}/\bar\alpha_T\bigr)^D .
# $$ (eq:pair-volumes)
# ```
#
# ```{prf:proof}
# BDIA takes the pair $(x_i, x_{i+1})$ to $(F(x_i) + \gamma x_{i+1},\, x_i)$, with the matrix of derivatives $\begin{pmatrix} F' & \gamma I \\ I & 0 \end{pmatrix}$, whose determinant is $\pm\gamma^D$ whatever $F'$ is. EDICT changes one state at a time. First $x$ is multiplied by $a = \sqrt{\bar\alpha_s/\bar\alpha_t}$, and a function of $y$ is added, which shears and leaves volumes as they are; then $y$ likewise. Each mixing multiplies one state by $p$ and adds a multiple of the other. So a step multiplies volumes by $(a p)^{2D}$, and the product of all $a^2$ is $1/\bar\alpha_T$.
# ```
#
# Why do volumes matter? When both states of a pair move together they do what the flow does: in a direction where data has the variance $v$, unit noise shrinks by the factor $\sqrt v$. The rest of the volume must be in the *gap* between the states. So on the way down a gap is multiplied by about $\gamma^S/\sqrt v$ in BDIA and by $p^{2S}/(\bar\alpha_T \sqrt v)$ in EDICT, and rounding comes back that much larger. On the way up a gap is divided by the same numbers. In BDIA with $\gamma = 1$ the number of steps drops out. EDICT keeps the volume for
#
# $$
# p = \bar\alpha_T^{\,1/(2S)} ,
# $$ (eq:edict-balance)
#
# which is the package's default. The authors take 0.93, with 50 steps of Stable Diffusion's schedule (and their networks run in float64). The rule gives about the same there, and for few steps something quite different. The cells print the largest growth of a small change of the pair on the way down, for 5, 10, 20, 50, 100 and 200 steps, then the rule's $p$.

# %%
def growth(run, S, v=0.05):
    """Largest growth of a small change of the pair, from the top to the data, and the volume."""
    exact, tau = Gaussian(torch.zeros(1), v, schedule), make_tau(1000, S, "trailing")
    basis = Pair(torch.tensor([[1.0], [0.0]]).double(), torch.tensor([[0.0], [1.0]]).double())
    matrix = torch.stack([torch.as_tensor(part)[:, 0] for part in run(exact.eps, basis, tau)])
    return torch.linalg.svdvals(matrix).max().item(), torch.linalg.det(matrix).abs().item()


# %%
def edict(f, pair, tau, p=None):
    return edict_decode(f, pair, schedule, tau, p)


def bdia(f, pair, tau, gamma=1.0):
    """The last two states, level 1 of tau and the data."""
    low = make_tau(1000, len(tau) - 1, "trailing").tolist()
    before, x = pair
    for u, t, s in zip(low[::-1], low[-2::-1], low[-3::-1]):
        e = f(x, torch.full((2,), t))
        missed = before - ddim_step(x, e, abar[t], abar[u])
        before, x = x, ddim_step(x, e, abar[t], abar[s]) + gamma * missed
    return x, before


# %%
# checks eq:pair-volumes, eq:edict-balance
WAYS = {
    "EDICT, p = 0.93": lambda *a: edict(*a, 0.93),
    "EDICT, balanced": edict,
    "BDIA, γ = 1": bdia,
    "BDIA, γ = 0.9": lambda *a: bdia(*a, 0.9),
}
steps, grown = (5, 10, 20, 50, 100, 200), {}
for name, run in WAYS.items():
    values = [growth(run, S) for S in steps]
    p = {"EDICT, p = 0.93": 0.93, "BDIA, γ = 0.9": 0.9}.get(name)
    for S, (_, volume) in zip(steps, values):
        law = 1.0 if p is None else p ** (2 * S) / abar[1000] if "EDICT" in name else p ** (S - 1)
        assert abs(volume / law - 1) < 1e-6
    grown[name] = [value for value, _ in values]
    print(f"{name:16s}", " ".join(f"{g:9.2g}" for g in grown[name]))
# %%
for name, process in (("linear", schedule), ("Stable Diffusion", NoiseSchedule.scaled_linear())):
    rule = [f"{balanced_mixing(process, make_tau(1000, S)):.2f}" for S in (10, 50)]
    print(f"balanced p, {name}: {rule[0]} in 10 steps, {rule[1]} in 50")

# %% mystnb={"figure": {"caption": "How much a small change of the pair at the top grows on the way down to data of variance 0.05 (lines), and the largest error of a round trip up and down in float32, in units of its rounding (dots). Where a line is high the dots follow it; at 200 steps, where a gap shrinks by far more than the lines show, they are high again.", "name": "fig-inversion-growth"}, "image": {"alt": "Growth against number of steps, both on logarithmic axes. The line of EDICT with mixing 0.93 starts in the tens of thousands and falls below 1 at 100 steps. Balanced EDICT falls from two hundred to 5, BDIA with gamma 1 stays near 4, and with gamma 0.9 falls below 1. The dots lie near the lines, but for those of mixing 0.93 and gamma 0.9 at 200 steps, which are at several hundred thousand."}} tags=["hide-input"]
v, rounding = 0.05, 2.0**-24
narrow = Gaussian(torch.zeros(1), v, schedule)
sample = narrow.sample(500, generator).float()
fig, ax = figure(1, height=3.0)
single = {}
for name, colour in zip(WAYS, COLOURS):
    single[name] = []
    for S in steps:
        walk = (schedule, make_tau(1000, S, "trailing"))
        p = 0.93 if "0.93" in name else None
        if "EDICT" in name:
            back = edict_decode(narrow.eps, edict_encode(narrow.eps, sample, *walk, p), *walk, p).x
        else:
            g = 0.9 if "0.9" in name else 1.0
            back = bdia_decode(narrow.eps, bdia_encode(narrow.eps, sample, *walk, g), *walk, g)
        single[name].append((back - sample).abs().max().item())
    ax.plot(steps, grown[name], color=colour, label=name)
    ax.plot(steps, np.array(single[name]) / rounding, "o", color=colour, ms=4)
ax.set(xscale="log", yscale="log", xlabel="steps S", ylabel="growth", ylim=(1e-3, 1e7))
ax.legend(loc="lower left", ncols=2, fontsize=9);

# %%
for name in WAYS:
    print(f"{name:16s}", " ".join(f"{e:8.0e}" for e in single[name]))

# %% [markdown]
# (The dots as errors, for the same numbers of steps.) The dots follow the lines where a line is high: rounding made near the top grows on the way down. Where the gap's own factor is far below 1 (a line stops at $\sqrt v = 0.22$, the flow's), the way *up* magnifies instead. The states of the pair run apart, the latent holds large numbers, and their rounding is large too: after 200 steps with $p = 0.93$ or $\gamma = 0.9$ the picture is off by 0.02. What a $\gamma < 1$ or a small $p$ saves on the way down is paid on the way up.
#
# ### Not one bit
#
# In floating point $(b + c) - c$ is not $b$, since the sum is rounded. Among the multiples of $2^{-12}$ it is, as long as they are below $2^{12}$ (float32 has 24 bits). At $\gamma = 1$ BDIA adds $\mathrm{down}_i - \mathrm{up}_i$ to an old state. Round this *increment* to a multiple of $2^{-12}$, and let the picture lie on that grid. On the way back the same increment is computed from the same middle state, and taken off. With a float32 network, under guidance, the picture comes back bit for bit. (The network must give the same answer both times, so one machine and one batch for both ways.)

# %%
net, grid = load("digits"), 2.0**-12
labels = data.heldout_labels[:50]
pictures = (data.floats(data.heldout[:50]) / grid).round() * grid
f, alpha = guided(net.eps_theta(labels), net.eps_theta(), 7.5), net.schedule.alpha_bar.tolist()


@torch.no_grad()
def walk(before, x, levels):
    """Up or down, according to the order of the levels."""
    for a, t, b in zip(levels, levels[1:], levels[2:]):
        e = f(x, torch.full((50,), t))
        change = ddim_step(x, e, alpha[t], alpha[b]) - ddim_step(x, e, alpha[t], alpha[a])
        before, x = x, before + (change / grid).round() * grid
    return before, x


# %%
with torch.no_grad():
    first = ddim_step(pictures, f(pictures, torch.ones(50).long()), 1.0, alpha[levels[1]])
below, top = walk(pictures, (first / grid).round() * grid, levels)
_, again = walk(top, below, levels[::-1])
walk_of = (net.schedule, tau)
plain = bdia_decode(f, bdia_encode(f, pictures, *walk_of), *walk_of)
off = (plain - pictures).abs().max()
print(f"off by {off:.0e} without the grid; with it {int((again != pictures).sum())} pixels differ")
assert torch.equal(again, pictures) and off > 0

# %% [markdown]
# ## Two more ways
#
# **Null-text optimisation** {cite}`mokady2023null` repairs the way down instead. It walks up without guidance, where inversion is nearly right, and keeps all states of that walk. On the way down, under guidance, it changes the embedding of the *empty* text at each step, until the guided step meets the kept state. The network stays as it is; a latent and one embedding a step are stored. A step costs up to ten passes forward and backward instead of two calls. Our networks have such an embedding, that of *any class*. One held-out digit, ten steps, ten passes of Adam for each:

# %%
name = "network.label_embedding.weight"
table = dict(net.model.named_parameters())[name].detach()
x, own = data.floats(data.heldout[:1]), net.eps_theta(labels[:1])
states = [x] + [invert(own, x, net.schedule, tau[: i + 1]) for i in range(1, 11)]
y, null = states[-1], table[10].clone().requires_grad_()
for (s, t), goal in zip(list(pairwise(levels))[::-1], states[-2::-1]):
    level, optimiser = torch.tensor([t]), torch.optim.Adam([null], lr=0.05)
    for _ in range(10):
        weights = {name: torch.cat([table[:10], null[None]])}
        e = functional_call(net.model, weights, (y, level))
        y_s = ddim_step(y, e + 7.5 * (own(y, level) - e), alpha[t], alpha[s])
        optimiser.zero_grad()
        (y_s - goal).square().mean().backward()
        optimiser.step()
    y = y_s.detach()

# %%
f = guided(own, net.eps_theta(), 7.5)
rest = {"naive": decode(f, invert(f, x, *walk_of), *walk_of), "up without guidance": decode(f, states[-1], *walk_of)}
rest["null optimised"] = y
for title, end in rest.items():
    print(f"{title:20s} {(end - x).square().mean().sqrt():.3f}")
assert (y - x).norm() < (rest["up without guidance"] - x).norm()

# %% [markdown]
# So the repaired way down ends far nearer to the digit than guidance without repair does (*up without guidance*), and that nearer than guidance both ways (*naive*); all are root mean square errors.
#
# **Writing it down.** Chapter 7's exercise {ref}`ex-ode-record` drew states of all levels and solved for the noise between them. In general: take *any* states $x_t$, and note what each step misses,
#
# $$
# m_s = x_s - \mu_\theta(x_t), \qquad\text{then replay}\qquad x_s = \mu_\theta(x_t) + m_s .
# $$ (eq:record)
#
# The replay is exact by bookkeeping: $S$ pictures of notes instead of one latent. {cite:t}`huberman2024edit` draw each state with noise of its own (*DDPM inversion*); {cite:t}`wu2023cyclediffusion` draw the top one, and each next one from the posterior given the one above and $x_0$ (*CycleDiffusion*). Replayed under another class, the notes carry the picture over.

# %%
# checks eq:record
for chained in (False, True):
    notes = record(under(7.5), x_0, schedule, tau, chained=chained, generator=generator)
    off = (replay(under(7.5), notes, schedule, tau) - x_0).abs().max()
    x = notes.x_T
    for missed, (s, t) in zip(notes.missed, list(pairwise(levels))[::-1]):
        sigma = schedule.sigma(t, s, 1.0)
        e = under(7.5)(x, torch.full((200,), t))
        x = ddim_step(x, e, abar[t], abar[s], sigma, torch.zeros_like(x)) + missed
    assert off < 1e-12 and torch.allclose(x, x_0, rtol=0, atol=1e-12)

# %% [markdown]
# ## What it is worth: editing
#
# Up under the picture's own class (scale 1), down under another (scale 2). If inversion is exact, all that changes is the class's doing. Does it show? Every way gets 60 calls of the network for a picture, and a step down takes two. So exactness is paid in steps: the naive way has 20 steps, BDIA too, EDICT ten. *EDICT* has the balanced $p$, *EDICT 0.93* the paper's; *BDIA* has $\gamma = 1$, and *BDIA 0.9* is damped; *fixed point* makes two iterations a step; *noise* is chapter 14's renoising. Three measures:
#
# - **success**: the shipped classifier sees the new class;
# - **identity**: the cosine between the classifier's features before and after, each less its class's mean (0: unrelated);
# - **outside**: PSNR over the half of the pixels where the predictions for the two classes differ least on noised pictures, the same half for every way.

# %%
TOP = 900
for name, of in found.items():
    print(f"{name}: {of['protocol']['n']} pictures, up to level {TOP}")
    print(f"{'':15s}  S   success       identity       outside, dB")
    for r in of["rows"]:
        if r["top"] == TOP:
            m = [summary(r[k]) for k in ("success", "identity", "outside")]
            cells = f"{m[0].mean:.2f} ± {m[0].half:.2f}   {m[1].mean:+.2f} ± {m[1].half:.2f}"
            print(f"{r['way']:15s} {r['S']:2d}   {cells}   {m[2].mean:4.1f} ± {m[2].half:.1f}")

# %% [markdown]
# Each way against the naive one, picture by picture, with Holm's correction over all tests of a model:

# %%
beyond = {}
for name, of in found.items():
    rows = {r["way"]: r for r in of["rows"] if r["top"] == TOP}
    keys = ("success", "identity", "outside")
    tests = {f"{w}: {k}": paired(rows[w][k], rows["naive"][k]) for w in rows if w != "naive" for k in keys}
    p = holm({title: test.p for title, test in tests.items()})
    print(f"{name}, beyond chance against naive:")
    beyond[name] = {title: test for title, test in tests.items() if p[title] < 0.05}
    for title, test in beyond[name].items():
        print(f"  {title} {test.mean:+.2f} ± {test.half:.2f}")

# %% mystnb={"figure": {"caption": "Success against what is kept outside the edit, at 60 calls a picture. The left end of each line goes up to level 900, the right end to 700 (digits: 500). Better is higher and further right: DDPM inversion is at the upper edge, and no pair, EDICT or BDIA, is clearly above the naive way.", "name": "fig-inversion-edit"}, "image": {"alt": "Three plots of success against PSNR outside the edit, for digits, clothes and faces. On each, points of eight ways. Going less far up keeps more and succeeds less often; the ways lie close to each other, with plain noise furthest left."}} tags=["hide-input"]
KEPT = ("noise", "naive", "fixed point", "EDICT", "BDIA", "BDIA 0.9", "DDPM inversion", "CycleDiffusion")
fig, axes = figure(3, height=3.4, sharey=True)
for ax, (name, of) in zip(axes, found.items()):
    for way, marker, colour in zip(KEPT, "ox+s^<vD", ("#777777", *COLOURS)):
        rows = [r for r in of["rows"] if r["way"] == way]
        x, y = ([np.mean(r[k]) for r in rows] for k in ("outside", "success"))
        ax.plot(x, y, marker + "-", ms=5, lw=0.9, color=colour, label=way)
    ax.set(title=name.replace("fashion-mnist", "clothes"), xlabel="outside, dB", ylim=(-0.05, 1.1))
axes[0].set_ylabel("success")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9);

# %%
clothes = {(r["way"], r["top"]): r for r in found["fashion-mnist"]["rows"]}
for key in (("EDICT", 900), ("naive", 700)):
    r = clothes[key]
    print(f"clothes, {key[0]} up to {key[1]}:", end=" ")
    print(", ".join(f"{k} {np.mean(r[k]):.2f}" for k in ("success", "identity", "outside")))
tests = beyond["digits"]
assert tests["BDIA: outside"].mean < 0 < tests["EDICT: outside"].mean
assert all(t.mean < 0 for of in beyond.values() for k, t in of.items() if "success" in k)

# %% [markdown]
# Beyond chance no way succeeds more often than the naive one, and on the clothes EDICT and BDIA succeed less often. BDIA at $\gamma = 1$, which returns every picture, keeps *less* outside the edit than naive inversion on digits and faces, beyond chance. Why? Under another class the old state that it adds to belongs to another path, and nothing damps the difference. One sees it:

# %% mystnb={"figure": {"caption": "Held-out faces (top) made into another style by naive inversion, by BDIA at $\\gamma = 1$, which leaves speckles, and by BDIA at 0.9, where they are faint. All three ways cost the same calls.", "name": "fig-inversion-damped"}, "image": {"alt": "Four drawn faces in four rows. Second row: faces of another style, smooth. Third row: the same kind of faces under speckles of bright colours, with a ragged halo. Last row: smooth faces again, with a faint halo."}} tags=["hide-input"]
edited = {r["way"]: r["pictures"] for r in found["faces"]["rows"] if "pictures" in r}
rows = {"picture": found["faces"]["back"]["pictures"], "naive": edited["naive"]}
rows |= {"BDIA, γ = 1": edited["BDIA"], "BDIA, γ = 0.9": edited["BDIA 0.9"]}
fig, axes = figure(1, 4, height=3.6)
for ax, (title, packed) in zip(axes, rows.items()):
    ax.imshow(np.concatenate([*unpack(packed, "faces")], 1))
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    ax.grid(False)
# %%
for name, of in found.items():
    rows = {r["way"]: r for r in of["rows"] if r["top"] == TOP}
    gain = paired(rows["BDIA 0.9"]["outside"], rows["BDIA"]["outside"])
    print(f"{name:13s} damping keeps {gain.mean:+.1f} ± {gain.half:.1f} dB more outside the edit")
    assert gain.mean > gain.half
    gap = paired(rows["DDPM inversion"]["outside"], rows["naive"]["outside"])
    print(f"{'':13s} DDPM inversion keeps {gap.mean:+.1f} ± {gap.half:.1f} dB against naive")
    assert np.mean(rows["DDPM inversion"]["success"]) >= np.mean(rows["noise"]["success"])

# %% [markdown]
# At $\gamma = 1$ a step hands the gap between its two states on in full, with its sign turned; what the change of class has put into the gap is never lost, and after 20 steps there are colours that no face has. With $\gamma = 0.9$ a gap is multiplied by $-0.9$ at each step and an eighth of it is left at the end. Then BDIA keeps what naive inversion keeps on digits and faces; on the clothes it keeps 2 dB more and succeeds less often (0.54 against 0.84). The round trip is exact all the same; the way up magnifies rounding by 8. So the command damps, by $\gamma^S = 0.12$ whatever the number of steps.
#
# EDICT with the balanced $p$ keeps the most, and on the clothes it rarely reaches the new class. The naive way gives the same for the same calls if it goes less far up: up to level 700 it succeeds about as rarely and keeps about as much (the cell below {numref}`fig-inversion-edit`). EDICT with the paper's $p$, which is far from balanced at ten steps, keeps less than the balanced one in all three, and succeeds no more often.
#
# DDPM inversion looks best, though its success against the naive way is within chance. From level 900 it reaches the new class at least as often as plain noise, and what it keeps can't be told from what naive inversion keeps, at the same price. A likely reason: noise noted at every level ties the edit to the picture at every level; a latent is a tie at the top alone.
#
# Two cautions. Sixteen faces leave wide intervals. And the identity is small everywhere, since the classifier's features were trained to forget all but the class.
#
# So naive inversion, encoded *without* guidance, is not what limits these edits. Exactness is worth its price where the picture itself has to return: under guidance both ways, or where an edit is to be undone.
#
# On pictures of one's own, by damped BDIA: `python -m ddim_edu.apps edit faces --by exact --target 2 --images mine.png`.
#
# ## What breaks: half a pair, and clipping
#
# The latent of an exact map is the *pair*. What if one keeps one state of the two, and starts the other from it, as one would from fresh noise? Or clips the predicted picture on the way down, as most samplers do? (Digits, 10 steps, guidance 7.5, float32; root mean square errors, where pixels are in $[-1, 1]$.)

# %%
f = guided(net.eps_theta(labels), net.eps_theta(), 7.5)
two, turns = bdia_encode(f, pictures, *walk_of), edict_encode(f, pictures, *walk_of)


def clipped(x_t, t):
    a = net.schedule.alpha_bar[t].view(-1, 1, 1, 1).float()
    seen = ((x_t - (1 - a).sqrt() * f(x_t, t)) / a.sqrt()).clamp(-1, 1)
    return (x_t - a.sqrt() * seen) / (1 - a).sqrt()


# %%
broken = {
    "BDIA, the pair": bdia_decode(f, two, *walk_of),
    "BDIA, one state": bdia_decode(f, two.x, *walk_of),
    "BDIA, clipped down": bdia_decode(clipped, two, *walk_of),
    "EDICT, the pair": edict_decode(f, turns, *walk_of).x,
    "EDICT, one state": edict_decode(f, turns.x, *walk_of).x,
}
off = {k: (y - pictures).square().mean().sqrt().item() for k, y in broken.items()}
for title, value in off.items():
    print(f"{title:20s} {value:.1e}")
assert max(off["BDIA, the pair"], off["EDICT, the pair"]) < 1e-3
assert min(v for k, v in off.items() if "pair" not in k) > 0.02

# %% [markdown]
# Nothing is left of the pictures. A state that was guessed is off, and the way down hands the gap on or magnifies it. A clipped step down is not the inverse of the step up, so it misses, and every miss goes into the gap too. Exact inversion needs both states, and no clipping.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the search on Gaussian data
# :label: ex-inversion-contraction
# *Derive · two stars · 20 minutes*
#
# Data is $\mathcal N(0, v)$ on the line. By which factor does one iteration {eq}`eq:fixed-point` shrink the distance to the solution? Is there a step so long that it diverges?
# Hand in the size of the factor, `factor(v, nu_t, nu_s)`: `check("ex-inversion-contraction", factor)`.
# ```
#
# ````{solution} ex-inversion-contraction
# :class: dropdown
# The noise is $\epsilon^* = \nu_t \bar x/(v + \nu_t^2)$, so a gap is multiplied by $h\,\nu_t/(v + \nu_t^2)$ with $h = \nu_t - \nu_s$. That is below 1 for every step.
#
# ```python
# from ddim_edu.exercises import check
#
# def factor(v, nu_t, nu_s):
#     return (nu_t - nu_s) * nu_t / (v + nu_t**2)
#
# assert factor(0.3, 100.0, 0.0) < 1
# assert check("ex-inversion-contraction", factor)
# ```
# ````
#
# ```{exercise} Derive: EDICT's gap
# :label: ex-inversion-gap
# *Derive · one star · 15 minutes*
#
# Leave out the network and the steps, and keep EDICT's mixing. By how much do $S$ steps *up* multiply the gap $x - y$?
# Hand in `growth(p, S)`: `check("ex-inversion-gap", growth)`.
# ```
#
# ````{solution} ex-inversion-gap
# :class: dropdown
# With $x = y + d$ the first line gives $y + p\,d$, the second $y + (1 - p)\,p\,d$. The gap is now $p\,d - (1 - p)\,p\,d = p^2 d$. Upwards it is divided by $p^2$, $S$ times. For $p = 0.93$ and 1,000 steps that is $10^{63}$.
#
# ```python
# from ddim_edu.exercises import check
#
# def growth(p, S):
#     return p ** (-2 * S)
#
# x, y, p = 1.3, 1.0, 0.9
# x = p * x + (1 - p) * y
# y = p * y + (1 - p) * x
# assert abs(0.3 / (x - y) - growth(p, 1)) < 1e-9
# assert check("ex-inversion-gap", growth)
# ```
# ````
#
# ```{exercise} Code: bit for bit
# :label: ex-inversion-bits
# *Code · two stars · 25 minutes*
#
# Write the step of BDIA at $\gamma = 1$ that loses nothing: from the old state `before`, on a grid of width `grid`, and the two DDIM steps `down` and `up` from the middle one. Why would it not do to round the new state?
# Hand in `step(before, down, up, grid)`: `check("ex-inversion-bits", step)`.
# ```
#
# ````{solution} ex-inversion-bits
# :class: dropdown
# Round the change. If the new state were rounded, the way back would know the rounded sum only, and which old state it came from would depend on digits that are gone. With `before` on the grid the two happen to be the same number in exact arithmetic; off the grid they are not.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def step(before, down, up, grid):
#     return before + grid * torch.round((down - up) / grid)
#
# g = torch.Generator().manual_seed(0)
# before, down, up = torch.randn(3, 1000, generator=g)
# grid = 2.0**-12
# before = (before / grid).round() * grid
# assert torch.equal(step(step(before, down, up, grid), up, down, grid), before)
# assert check("ex-inversion-bits", step)
# ```
# ````
#
# ## Summary
#
# 1. A step with its noise held fixed can be undone. Naive inversion fails because it predicts the noise in the wrong state, and guidance makes the miss larger.
# 2. The right state is a fixed point. The search for it converges where the noise is wide against what the state leaves open of the data; under guidance that takes many more calls, if it converges.
# 3. EDICT and BDIA have an inverse whatever the network is: they carry pairs of states, and predict each noise in a state that both directions know.
# 4. What they do to volume is fixed: $\gamma^D$ a step, or $(p^{2S}/\bar\alpha_T)^D$. It says how much rounding grows, and which $p$ to take. On a grid BDIA loses not a bit.
# 5. At 60 calls a picture exactness does not make better edits: EDICT keeps more and succeeds less often, BDIA keeps less than naive inversion unless it is damped, and DDPM inversion succeeds as often as plain noise while it keeps as much as naive inversion.
#
# **Next.** In the package, read {py:func}`~ddim_edu.inversion.bdia_decode`, then {py:func}`~ddim_edu.apps.edit.translate_exactly`.
