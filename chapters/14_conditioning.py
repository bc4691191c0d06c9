# %% [markdown]
# (ch-conditioning)=
# # Conditioning and editing
#
# **Question.** A model has learnt ten kinds of pictures. How does one ask it for one kind, how hard can one press, and how does one turn a picture that exists into one of another kind?

# %% tags=["hide-input"]
import json

import numpy as np
import torch
from scipy.integrate import quad

from ddim_edu.apps.edit import renoise, translate
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import q_sample
from ddim_edu.guidance import Tilted, guided, of_class
from ddim_edu.sampler import decode

# %% tags=["hide-input"]
from ddim_edu.data.faces.styles import STYLES
from ddim_edu.data.named import digits
from ddim_edu.data.pictures import from_text
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows
from ddim_edu.randomness import draw, image_generators
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Eight kinds of clothes from one noise, at four scales s of guidance. Along a row only the class asked for differs, down a column only the scale. At scale 0 the class is ignored, at 1 it is drawn as trained.", "name": "fig-guide-samples"}, "image": {"alt": "Four rows of eight grey pictures, columns named top, trousers, dress, sandal, shirt, sneaker, bag, boot. Scale 0: eight times the same shoe. Scale 1: a different kind in each column, the dress and the bag torn. Scale 3: every kind clear. Scale 8: glaring white, without shades."}} tags=["hide-input"]
wardrobe, kinds = load("fashion-mnist-v"), torch.tensor([0, 1, 3, 5, 6, 7, 8, 9])
start = draw(torch.empty(1, 1, 28, 28), torch.Generator().manual_seed(3))
same, few = start.repeat(8, 1, 1, 1), make_tau(1000, 12, "trailing")
pressed = {}
for s in (0, 1, 3, 8):
    eps_theta = guided(wardrobe.eps_theta(kinds), wardrobe.model, s)
    pressed[s] = decode(eps_theta, same, wardrobe.schedule, few)
names = "top trousers dress sandal shirt sneaker bag boot"
picture_rows({f"s = {s}": images for s, images in pressed.items()}, names.split());

# %% [markdown]
# All 32 pictures began as the same noise. The class asked for decides what it becomes, and the scale how hard one presses: a little too soft at 1, clear at 3, glaring at 8.
#
# At the end of this chapter you will have checked
#
# - that a network trained with hidden labels holds two predictors, and what their difference is worth;
# - what the scale of guidance is called elsewhere, and which published formula has a wrong sign;
# - that guided samples do not follow the density from which guidance is derived, and, for Gaussians, which one they follow;
# - what guidance buys and what it costs, on digits and on pictures of clothes, with intervals;
# - how much of a picture survives two ways of editing it, and when style transfer is optimal transport.
#
# The chapter opens {py:mod}`ddim_edu.guidance` and {py:mod}`ddim_edu.apps.edit`. Neither has a sampler of its own: they give the one sampler another $\epsilon_\theta$.

# %%
schedule = NoiseSchedule.linear()
generator = torch.Generator().manual_seed(0)
means, variances = [[-1.0], [0.6]], [0.02, 0.05]
line = GaussianMixture([0.3, 0.7], means, variances, schedule)
inside = of_class(line, 1)  # the right peak is the class

# %% [markdown]
# ## Two predictors in one network
#
# Data now comes in pairs of a picture $x_0$ and its class $c$, and the network gets the label as a third input. The best prediction is then $\epsilon^*(x_t, c) = E[\epsilon \mid x_t, c]$: the $\epsilon^*$ of the pictures of class $c$ alone. In the recipes of chapter 10
# the label of one image in five was hidden, that is, replaced by an eleventh label that means *any class*. Among those images nothing is known about $c$, so under the eleventh label the best prediction is $\epsilon^*(x_t) = E[\epsilon \mid x_t]$, that of all data. One network learns both
# {cite}`ho2022cfg`. Nothing in training ties the two together, but the truths are tied. The mean of a mean given more is the mean given less:
#
# $$
# \epsilon^*(x_t) = \sum_c q(c \mid x_t)\; \epsilon^*(x_t, c) .
# $$ (eq:guide-total)
#
# And by how much does a label lower the loss? The error $\epsilon - \epsilon^*(x_t, c)$ has mean 0 given $x_t$ and $c$, so it is uncorrelated with every function of these two, such as $\epsilon^*(x_t, c) - \epsilon^*(x_t)$. The sum of the two is $\epsilon - \epsilon^*(x_t)$. Square it and take the mean:
#
# $$
# \begin{aligned}
# E\, \lvert \epsilon - \epsilon^*(x_t) \rvert^2 &- E\, \lvert \epsilon - \epsilon^*(x_t, c) \rvert^2 \\
#   &= E\, \lvert \epsilon^*(x_t, c) - \epsilon^*(x_t) \rvert^2 .
# \end{aligned}
# $$ (eq:guide-label-worth)
#
# What the label is worth to the loss is the mean square of the difference of the two predictions. Keep that difference in mind: it is what guidance multiplies. On the two peaks on the line, each a class, both statements can be checked:

# %%
parts, n = [of_class(line, k) for k in (0, 1)], 4_000
counts = (1_200, 2_800)  # as the weights say
c = torch.arange(2).repeat_interleave(torch.tensor(counts))
x_0 = torch.cat([p.sample(k, generator) for p, k in zip(parts, counts)])

# %%
# checks eq:guide-total, eq:guide-label-worth
worth = []
for t in range(50, 1000, 50):
    eps = draw(x_0, generator)
    x_t = q_sample(x_0, t, schedule, eps)
    every = torch.cat([p.eps(x_t, t) for p in parts], 1)
    log_parts = torch.stack([p.log_prob(x_t, t) for p in parts], 1)
    posterior = (line.weights.log() + log_parts).softmax(1)
    without, told = line.eps(x_t, t), every.gather(1, c[:, None])
    assert torch.allclose(without[:, 0], (posterior * every).sum(1))
    gain = (eps - without) ** 2 - (eps - told) ** 2
    square = (told - without) ** 2
    assert abs((gain - square).mean()) < 5 * (gain - square).std() / n**0.5
    worth.append((t, gain.mean(), square.mean()))

# %% [markdown]
# For the shipped digits model the two sides need not agree: its two predictions are trained, not true. On the 200 held-out digits:

# %%
net, data = load("digits"), digits()
heldout, labels = data.floats(data.heldout), data.heldout_labels
told_net, by_net = net.eps_theta(labels), []
with torch.no_grad():
    for t in range(50, 1000, 50):
        levels, eps = torch.full((200,), t), draw(heldout, generator)
        x_t = q_sample(heldout, t, net.schedule, eps)
        without, told = net.model(x_t, levels), told_net(x_t, levels)
        gain = (eps - without) ** 2 - (eps - told) ** 2
        by_net.append((t, gain.mean(), (told - without).square().mean()))

# %% mystnb={"figure": {"caption": "What the label is worth at each level: by how much it lowers the squared error (line), and the mean square of the difference between the predictions with and without it (dots). Left, the two peaks on the line, exactly known. Right, the digits model on held-out digits.", "name": "fig-guide-worth"}, "image": {"alt": "Two plots against the level. Left: a line with dots on it rises steeply from near zero to a hump at level 200 and falls to zero at 700. Right: the same for digits, with the hump at level 600; the dots lie on the line or a little above it."}} tags=["hide-input"]
fig, axes = figure(2, height=2.5)
for ax, rows, name in zip(axes, (worth, by_net), ("two peaks", "digits")):
    t, gain, square = np.array(rows).T
    ax.plot(t, gain, label="gain in loss")
    ax.plot(t, square, "o", ms=4, label="difference squared")
    ax.set(title=name, xlabel="level t", ylim=(0, None))
axes[0].legend(fontsize=9);

# %%
lines = []
for name, rows in (("two peaks", worth), ("digits", by_net)):
    t, gain, square = np.array(rows).T
    lines.append((name, f"t = {t[gain.argmax()]:.0f}", f"{square.sum() / gain.sum():.1f}"))
    assert gain.max() > 5 * gain[0] and 0.6 < square.sum() / gain.sum() < 1.7
Table(["data", "gain is largest near", "difference squared, over the gain"], lines)

# %% [markdown]
# At low levels the picture shows what it is, at the highest it shows nothing yet; in between the label tells something. The network comes near to {eq}`eq:guide-label-worth` without ever having been asked to.
#
# ## Guidance
#
# Which way does the difference point? Bayes' rule says $q_t(x \mid c) = q_t(x)\, q_t(c \mid x)/q(c)$. Take logarithms and gradients with respect to $x$; $q(c)$ drops out. By {eq}`eq:tweedie` each $\epsilon^*$ is $-\sqrt{1 - \bar\alpha_t}$ times such a gradient:
#
# $$
# \begin{gathered}
# \epsilon^*(x_t, c) - \epsilon^*(x_t) \\
# = -\sqrt{1 - \bar\alpha_t}\; \nabla \ln q_t(c \mid x_t) .
# \end{gathered}
# $$ (eq:guide-bayes)
#
# Subtracting it moves $x_t$ to where class $c$ becomes more likely. {cite:t}`dhariwal2021beat` trained a classifier on noisy pictures for this gradient, and found that samples look more like their class if it is multiplied by a number larger than 1. {cite:t}`ho2022cfg`
# saw that two predictions already hold it. Their **classifier-free guidance**, in the convention of this book:
#
# $$
# \hat\epsilon = \epsilon_\theta(x_t) + s\, \bigl(\epsilon_\theta(x_t, c) - \epsilon_\theta(x_t)\bigr) .
# $$ (eq:guidance)
#
# At scale $s = 0$ the class is ignored, at 1 it is taken as trained, and beyond 1 the prediction goes on in the same direction. Except at 0 and 1 each step calls the network twice. (In this chapter $s$ is the scale; the level that a step reaches does not occur.)

# %%
# checks eq:guide-bayes, eq:guidance
x, t, h, s = torch.linspace(-1.5, 1.5, 7).double()[:, None], 400, 1e-5, 3.0


def log_share(x):
    """ln q_t(c | x), but for a constant."""
    return inside.log_prob(x, t) - line.log_prob(x, t)


slope = (log_share(x + h) - log_share(x - h)) / (2 * h)
root = (1 - schedule.alpha_bar[t]).sqrt()
eps_u, eps_c = line.eps(x, t), inside.eps(x, t)
assert torch.allclose(eps_c[:, 0] - eps_u[:, 0], -root * slope, atol=1e-6)
levels, theirs = torch.full((7,), t), eps_u + s * (eps_c - eps_u)
assert torch.allclose(guided(inside.eps, line.eps, s)(x, levels), theirs)

# %% [markdown]
# ### One knob, many numbers
#
# A scale of 3 in one program is a scale of 2 in another. Imagen and Stable Diffusion are large models that paint what a text asks for, diffusers is a library of such models, and labml a collection of annotated implementations. With $\epsilon_u$ and $\epsilon_c$ for the two predictions:
#
# | where | prediction | our $s$ |
# |---|---|---|
# | Ho and Salimans, eq. 6 | $(1 + w)\,\epsilon_c - w\,\epsilon_u$ | $1 + w$ |
# | Dhariwal and Nichol, classifier on top of $\epsilon_u$ | $\epsilon_u - g \sqrt{1 - \bar\alpha_t}\, \nabla \ln q(c \mid x_t)$ | $g$ |
# | the same on top of $\epsilon_c$ | $\epsilon_c - g \sqrt{1 - \bar\alpha_t}\, \nabla \ln q(c \mid x_t)$ | $1 + g$ |
# | Imagen {cite}`saharia2022imagen`, eq. 2 | $w\, \epsilon_c + (1 - w)\, \epsilon_u$ | $w$ |
# | Stable Diffusion, `unconditional_guidance_scale` | $\epsilon_u + g\, (\epsilon_c - \epsilon_u)$ | $g$ |
# | diffusers, pipelines, `guidance_scale` | the same if $g > 1$, else $\epsilon_c$ | $g$, at least 1 |
# | diffusers, guiders, `use_original_formulation` | $\epsilon_c + g\, (\epsilon_c - \epsilon_u)$ | $1 + g$ |
# | labml, code, `uncond_scale` | $\epsilon_u + s\, (\epsilon_c - \epsilon_u)$ | $s$ |
# | labml, formula in its text | $s\, \epsilon_c + (s - 1)\, \epsilon_u$ | none |

# %%
def classifier(g):
    return -g * root * slope[:, None]


def package(s):
    return guided(inside.eps, line.eps, s)(x, levels)


for w in (0.5, 1.0, 2.0, 7.5):
    ho = (1 + w) * eps_c - w * eps_u
    original = eps_c + w * (eps_c - eps_u)
    for ours in (ho, original, eps_c + classifier(w)):
        assert torch.allclose(ours, package(1 + w), atol=1e-5)
    imagen = w * eps_c + (1 - w) * eps_u
    for ours in (imagen, eps_u + classifier(w)):
        assert torch.allclose(ours, package(w), atol=1e-5)

# %%
told = {}
for g in (0.0, 0.5, 1.0, 3.0):
    pipeline = eps_u + g * (eps_c - eps_u) if g > 1 else eps_c
    assert torch.allclose(pipeline, package(max(g, 1.0)))
    labml = g * eps_c + (g - 1) * eps_u
    told[g] = "right" if torch.allclose(labml, package(g)) else "wrong"
Table(["scale", *(f"{g:g}" for g in told)], [["labml's text", *told.values()]])

# %% [markdown]
# labml's text has a plus where a minus belongs, which is right at $s = 1$ only. Where both predictions are the same $\epsilon$, it returns $(2s - 1)\,\epsilon$. Its code is right; an exercise runs the text.
#
# ## What guidance samples
#
# By {eq}`eq:guide-bayes`, the guided prediction at one level is the score of $q_t(x)\, q_t(c \mid x)^s$ (times $-\sqrt{1 - \bar\alpha_t}$, and up to a constant factor of the density). So it is tempting to say, and often said, that the samples follow the **tilted** density
#
# $$
# p_s(x) \propto q(x)\, q(c \mid x)^s \propto q(x)^{1-s}\, q(x \mid c)^s .
# $$ (eq:guide-tilted)
#
# The sampler, however, needs more than a score at each level. Chapter 7's flow ends at the data because its scores belong to *one* density seen under more and more noise. Here that would be $p_s$ with noise added. But the guided score belongs to a density that had its noise added first and was tilted then, and the two
# operations don't commute. For Gaussians one can say what comes out instead. (A Gaussian class within Gaussian data: let $c$ be a noisy measurement of $x$.)
#
# ```{prf:theorem} Guidance between two Gaussians
# :label: thm-guided-gaussians
# Let all data be $\mathcal N(m, v)$ on the line, the class $\mathcal N(m_c, v_c)$, and
#
# $$
# h(\nu) = (v + \nu^2)^{(1 - s)/2}\, (v_c + \nu^2)^{s/2} .
# $$
#
# The flow {eq}`eq:clock-ode` of the guided exact prediction leads from $\bar x_T$ at $\nu_T$ to
#
# $$
# \begin{aligned}
# x_0 &= m + \frac{h(0)}{h(\nu_T)}\, (\bar x_T - m) \\
#   &\quad + s\, (m_c - m) \int_0^{\nu_T} \frac{h(0)\, \nu\, d\nu}{h(\nu)\, (v_c + \nu^2)} .
# \end{aligned}
# $$ (eq:guide-flow)
#
# If $\bar x_T$ has variance $\nu_T^2$, then as $\nu_T$ grows the variance of $x_0$ tends to that on the left, while $p_s$ has that on the right:
#
# $$
# v^{1-s}\, v_c^{\,s} \qquad\text{and}\qquad \Bigl(\frac{1-s}{v} + \frac{s}{v_c}\Bigr)^{-1} .
# $$ (eq:guide-variances)
# ```
#
# ```{prf:proof}
# With $y = \bar x - m$ and {eq}`eq:velocity` for both Gaussians, the guided flow is
#
# $$
# \frac{dy}{d\nu} = \frac{(1-s)\, \nu\, y}{v + \nu^2} + \frac{s\, \nu\, (y - m_c + m)}{v_c + \nu^2} .
# $$
#
# It is linear in $y$, and without the constant $m_c - m$ its solutions are the multiples of $h$, as $\nu/(v + \nu^2)$ is the derivative of $\tfrac12 \ln(v + \nu^2)$. Put $y = h u$: then $du/d\nu = -s\,\nu\, (m_c - m)/(h\, (v_c + \nu^2))$, and integrating
# from $\nu_T$ down to 0 gives {eq}`eq:guide-flow`. As $\nu_T$ grows, $h(\nu_T)/\nu_T \to 1$, so the variance tends to $h(0)^2$. The logarithm of $p_s$ is quadratic, with second derivative $-(1-s)/v - s/v_c$.
# ```
#
# Two cases are worth knowing. If $v_c = v$, both results are $\mathcal N(m + s\,(m_c - m),\, v)$ (do the integral), and guidance does what it promises; it is the limit of a class that says little, as a class that says something has $v_c < v$. If $m_c = m$ and $v_c < v$, then for every $s > 1$ the guided variance is the smaller one (Bernoulli's inequality for $(v/v_c)^s$), so samples are *less* diverse than even the tilted density.
# {cite:t}`bradley2024cfg` gave the case $v = 2$, $v_c = 1$, for DDIM and for DDPM, and showed what guidance with DDPM's noise is in the limit of small steps: DDIM for the class, corrected by **Langevin dynamics** (small steps up the gradient of a log density, with noise added) on a tilted density of another exponent.

# %%
def flow_ends(m, v, m_c, v_c, s, x_T):
    """The two variances, and the theorem's end of x_T."""

    def h(nu):
        return (v + nu**2) ** ((1 - s) / 2) * (v_c + nu**2) ** (s / 2)

    top = schedule.nsr[-1].item()
    xbar = x_T / schedule.alpha_bar[-1].sqrt()
    pull = quad(lambda u: h(0) * u / h(u) / (v_c + u * u), 0, top, limit=500)[0]
    x_0 = m + h(0) / h(top) * (xbar - m) + s * (m_c - m) * pull
    return h(0) ** 2, 1 / ((1 - s) / v + s / v_c), x_0


x_T = torch.tensor([[-1.5], [0.0], [2.0]]).double()
tau = make_tau(1000, 1000)

# %%
# checks eq:guide-flow, eq:guide-variances
rows, heads = [], ("mean, guided", "tilted", "variance, guided", "tilted")
for m, v, m_c, v_c in ((0, 2, 0, 1), (0, 1, 0.8, 1), (0, 1, 0.8, 0.3)):
    everything = Gaussian(torch.tensor([float(m)]), v, schedule)
    one = Gaussian(torch.tensor([float(m_c)]), v_c, schedule)
    for s in (1.0, 3.0):
        got, tilted, ends = flow_ends(m, v, m_c, v_c, s, x_T)
        x = decode(guided(one.eps, everything.eps, s), x_T, schedule, tau)
        assert torch.allclose(x, ends, atol=0.02)
        # x is linear in x_T, and x_T = 0 leads to the mean
        sd = ((x[2] - x[0]) / (x_T[2] - x_T[0])).item()
        assert abs(sd**2 / got - 1) < 0.02
        centre = tilted * ((1 - s) * m / v + s * m_c / v_c)
        assert v != v_c or abs(x[1].item() - centre) < 0.02
        four = (f"{value:.2f}" for value in (x[1].item() + 0, centre, sd**2, tilted))
        rows.append((f"{v}, {v_c:g}, {s:g}", *four))
Table(["v, v_c, s", *heads], rows)

# %% [markdown]
# The first pair of rows has equal means, the second equal variances, the third neither. So at scale 3 the tilted density is sampled in the second only. For any data, guidance is right at scales 0 and 1.
#
# ### Where the samples go
#
# The two peaks of this chapter hardly overlap. Given a point, its class is certain, $q(c \mid x)$ is 0 or 1, and the tilted density is the class itself *at every scale* above 0. On the line the flow is increasing (chapter 7), so the density of its ends can be had without any counting: send the quantiles of the standard normal down. The second example has a class
# between two others, with overlap: weights 0.4, 0.2, 0.4, means $-1.2$, 0, $1.2$, variances 0.2.

# %%
three = GaussianMixture([0.4, 0.2, 0.4], [[-1.2], [0.0], [1.2]], 0.2, schedule)
shares = (torch.arange(200, dtype=torch.float64)[:, None] + 0.5) / 200
starts, tau = torch.special.ndtri(shares), make_tau(1000, 200, "trailing")
ends, truth = {}, {}
for name, mixture in (("two peaks", line), ("middle", three)):
    one = of_class(mixture, 1)
    for s in (1, 2, 4, 10):
        eps_theta = guided(one.eps, mixture.eps, s)
        ends[name, s] = decode(eps_theta, starts, schedule, tau)[:, 0]
        truth[name, s] = Tilted(mixture, 1, s)

# %% mystnb={"figure": {"caption": "Densities on the line: what guidance is derived from (dashed, the tilted density) and what it samples (full). Left, the class is the right one of two peaks that do not overlap: the tilted density is the class at every scale, the samples move away from the other peak. Right, the class lies between two others. Scale 4 is left out on the right, where the guided curve is too narrow to draw.", "name": "fig-guide-tilted"}, "image": {"alt": "Two plots of densities. Left: one dashed bell at 0.6 for all scales, and full curves of scales 1, 2 and 4, the first on the dashed bell, the others narrower and further to the right. Right: around 0, dashed bells that become narrower with scale 1 and 2; the full curve of scale 2 is more than three times as high as its dashed one."}} tags=["hide-input"]
fig, axes = figure(2, height=2.8)
for ax, name, scales in zip(axes, ("two peaks", "middle"), ((1, 2, 4), (1, 2))):
    for s, colour in zip(scales, COLOURS):
        x, tilted = ends[name, s], truth[name, s]
        middles, density = (x[1:] + x[:-1]) / 2, 1 / 200 / x.diff()
        ax.plot(middles, density, color=colour, label=f"s = {s}")
        near = tilted.density > 1e-3
        ax.plot(tilted.x[near], tilted.density[near], "--", color=colour)
    ax.set(title=name, xlabel="x")
axes[0].legend(fontsize=9);

# %%
rows = []
for (name, s), x in ends.items():
    tilted = truth[name, s]
    below = torch.cumulative_trapezoid(tilted.density, tilted.x)
    share = np.interp(x, tilted.x[1:], below)  # of the tilted density below x
    apart = np.abs(share - shares[:, 0].numpy()).max()
    sd, centre = tilted.variance**0.5, abs(x.mean().item())  # none is negative
    rows.append((f"{name}, s = {s}", f"{centre:.2f}", f"{abs(tilted.mean):.2f}"))
    rows[-1] += (f"{x.std().item():.3f}", f"{sd:.3f}", f"{apart:.2f}")
    assert apart < 0.02 if s == 1 else apart > 0.15
assert ends["middle", 4].std() < 0.05 * truth["middle", 4].variance ** 0.5
Table(["", "mean, guided", "tilted", "sd, guided", "tilted", "shares apart"], rows)

# %%
# checks eq:guide-tilted
tilted, s = truth["middle", 2], 2
x = tilted.x[:, None]
log_tilted = (1 - s) * three.log_prob(x) + s * of_class(three, 1).log_prob(x)
by_hand = log_tilted.exp() / torch.trapezoid(log_tilted.exp(), tilted.x)
assert torch.allclose(by_hand, tilted.density, atol=1e-8)

# %% [markdown]
# (*apart* is the largest difference between the two distribution functions.) At scale 4 the samples of the right peak lie about one of its standard deviations too far to the right, although the class of all these points is certain. Where were they pushed? High up, where noise makes the peaks overlap and the
# class can still be doubted. Further down the peaks come apart, the guidance falls silent, and the flow leaves each point at that edge of the class to which it was pushed. Guidance at some of the levels alone shows it:

# %%
def guided_between(low, high, s=4):
    pressed = guided(inside.eps, line.eps, s)

    def eps_theta(x, t):
        return pressed(x, t) if low < int(t[0]) <= high else inside.eps(x, t)

    return decode(eps_theta, starts, schedule, tau)[:, 0].mean().item()


shift = {}
for low, high in ((0, 1000), (200, 1000), (0, 200), (0, 100)):
    shift[low, high] = guided_between(low, high) - 0.6
assert shift[200, 1000] > 3 * shift[0, 200] > 3 * shift[0, 100]
heads = (f"{low} < t ≤ {high}" for low, high in shift)
row = ["the mean moves by", *(f"{moved:.2f}" for moved in shift.values())]
Table(["guided at", *heads], [row])

# %% [markdown]
# Guidance is a push away from the other classes, given while the picture cannot yet be seen. What it does to trained models has to be measured.
#
# ## The trade, measured
#
# `benchmarks/conditioning.py` drew samples of two shipped models, of digits and of clothes (Fashion-MNIST); DDIM with $S$ = 20, each image from the same noise at all scales. It measured
#
# - **accuracy**: the share in which the package's classifier sees the class asked for (on real held-out images it is right in 99.0% and 92.3%);
# - **precision** and **recall** in that classifier's features: the share of samples that lie near some real image, and the share of real images that lie near some sample. Near means within the distance to a third neighbour of one's own kind {cite}`kynkaanniemi2019precision`. Recall is what *covering* the data means here;
# - **spread**: the variance of the pixels within a class, over that of the training images (at scale 0, where the class is ignored, that of all samples);
# - **distance**: the Fréchet distance (chapter 11) to the training images in the classifier's features, a small relative of the FID and not comparable with it.
#
# The row *real* puts other real images in the samples' place. The numbers depend on the number of images, so compare within a model only. Behind ± stands half a 95% interval, from leaving out each tenth of the samples in turn (the jackknife); the reference is taken as given. (The digits of the row *real* are among the training images, so their distance says nothing.)

# %% tags=["hide-input"]
found = json.loads(in_repository("results/conditioning.json").read_text())["models"]
NAMES = ("accuracy", "precision", "recall", "spread", "distance")


def scale_rows(model):
    pieces = found[model]["pieces"]
    rows = {tuple(k.split()): v for k, v in pieces.items()}
    return {k[1]: v for k, v in rows.items() if k[0] == "guidance"}


def cell(measured):
    return f"{measured['value']:.2f} ± {summary(measured['pseudo']).half:.2f}"


def against(row, other, name):
    """A difference and half its interval; both scales have the same noises."""
    half = paired(row[name]["pseudo"], other[name]["pseudo"]).half
    return row[name]["value"] - other[name]["value"], half


# %% tags=["hide-input"]
rows = []
for model in ("digits", "fashion-mnist"):
    about = found[model]["protocol"]["guidance"]
    print(f"{model}: {about['n']} samples a scale")
    for scale, row in scale_rows(model).items():
        rows.append((f"{model}, {scale}", *(cell(row[name]) for name in NAMES)))
Table(["model, scale", *NAMES], rows)

# %% mystnb={"figure": {"caption": "Fidelity against diversity. Accuracy and precision (left), recall and spread within a class (right) against the scale, with 95% intervals. Full lines: digits. Dashed: Fashion-MNIST.", "name": "fig-guide-trade"}, "image": {"alt": "Two plots against the scale from 0 to 10. Left: accuracy rises steeply from a tenth at scale 0 to near one at scale 1 to 2 and stays; precision is high throughout. Right: recall and spread fall with the scale, for both data sets."}} tags=["hide-input"]
fig, axes = figure(2, height=2.9)
for model, style in (("digits", "o-"), ("fashion-mnist", "s--")):
    rows = {float(k): v for k, v in scale_rows(model).items() if k != "real"}
    for i, name in enumerate(NAMES[:4]):
        y = [row[name]["value"] for row in rows.values()]
        bar = [summary(row[name]["pseudo"]).half for row in rows.values()]
        look = {"color": COLOURS[i], "ms": 4, "lw": 1.2, "capsize": 2}
        label = f"{name}, {'digits' if model == 'digits' else 'clothes'}"
        axes[i // 2].errorbar(list(rows), y, bar, fmt=style, label=label, **look)
for ax in axes:
    ax.set(xlabel="scale s", xscale="symlog", ylim=(0, 1.7))
    ax.set_xticks((0, 1, 2, 5, 10), (0, 1, 2, 5, 10))
    ax.minorticks_off()
    ax.legend(fontsize=8)
fig.align_ylabels();

# %%
tests, gains = {}, {}
for model in ("digits", "fashion-mnist"):
    rows = scale_rows(model)
    for scale in ("3", "10"):
        for name in NAMES:
            pair = rows[scale], rows["1"]
            tests[model, scale, name] = paired(*(row[name]["pseudo"] for row in pair))
            gains[model, scale, name] = against(*pair, name)
beyond_chance = {k: p < 0.05 for k, p in holm({k: t.p for k, t in tests.items()}).items()}

# %%
against_one = {}
for (model, scale, name), (gain, half) in gains.items():
    mark = " *" if beyond_chance[model, scale, name] else ""
    key = f"{model}, {scale}"
    against_one.setdefault(key, [key]).append(f"{gain:+.2f} ± {half:.2f}{mark}")
for model in ("digits", "fashion-mnist"):
    sure = [(scale, "spread") for scale in ("3", "10")] + [("10", "recall")]
    assert all(beyond_chance[model, *k] and gains[model, *k][0] < 0 for k in sure)
clothes = {name for name in NAMES if beyond_chance["fashion-mnist", "3", name]}
assert clothes == {"accuracy", "spread"}  # not precision, not recall
print("minus scale 1; * p < 0.05 after Holm's correction for all twenty")
Table(["model, scale", *NAMES], against_one.values())

# %% [markdown]
# On the digits the label alone nearly suffices. From scale 0 to 1 the accuracy rises from chance to 98%, the distance is smallest at 1, and more guidance only puts the last 2% right. On the clothes a quarter of the samples at scale 1 is taken for another class, and guidance is worth having: at scale 3 the accuracy is 99%, more than real clothes reach. (More than real is no triumph. A shirt that could be a coat is
# data, too.) Precision is higher there by 0.07 ± 0.05; among twenty comparisons that is within chance. Both models pay in diversity. At scale 3 the spread has fallen by a fifth, well beyond chance. Recall falls too: on the digits at 3 and 10, on the clothes surely at 10 only, to less than half. The distance, which sees both sides, rises from scale 1 on for the digits, and for the clothes it is about the same at 1 and 3 and larger at 10. So which scale is best depends on the use. Accuracy alone would have called 10 as good as 3.
#
# (The digits' spread is below 1 without guidance, too. Twenty deterministic steps lose some variance, as an exercise in chapter 7 found.)
#
# What do such samples look like? {numref}`fig-guide-samples` showed it on clothes. How many of its pixels have left their range?

# %%
beyond = {s: (x.abs() > 1.1).double().mean().item() for s, x in pressed.items()}
print("; ".join(f"scale {s}: {share:.0%}" for s, share in beyond.items()))
assert beyond[8] > 0.02 > beyond[1]

# %% [markdown]
# At scale 1 the dress and the bag are torn, at 3 they are whole. At 8 shades turn to white, and pixels leave their range; the last section comes back to it.
#
# ## Editing by noise
#
# A picture $x_0$ of class $a$ is to become one of class $b$ and keep what it can. The simplest way needs no new idea {cite}`meng2022sdedit`: noise the picture up to some level with {eq}`eq:closed-form`, and come down under class $b$. The **strength** is the share of the steps that are walked: at 0 the picture stays, at 1 next to nothing of it is left and a new
# sample of $b$ comes out. In between, what is larger than the noise stays: the rough layout survives, the detail is invented anew. In the package that is {py:func}`~ddim_edu.apps.edit.renoise`, and by hand three lines:

# %%
target, tau = (labels + 5) % 10, make_tau(990, 20, "trailing")
x, some = heldout[:20], image_generators(1, 0, 20)
down = guided(net.eps_theta(target[:20]), net.eps_theta(), 2.0)
part = tau[: round(0.6 * 20) + 1]  # strength 0.6
x_t = q_sample(x, int(part[-1]), net.schedule, draw(x, some))
by_hand = decode(down, x_t, net.schedule, part)
again = image_generators(1, 0, 20)
edited = renoise(down, x, net.schedule, tau, 0.6, generator=again)
assert torch.equal(edited, by_hand)

# %% [markdown]
# ## Editing without chance
#
# The other way uses chapter 7: encode the picture by running the flow of class $a$ upwards, and decode the latent by the flow of class $b$. The method is deterministic on both ways, and if encoder and decoder change places it leads back. The two flows may also belong to two models, trained apart, that share nothing but the noise at the
# top. {cite:t}`su2023ddib` call this *dual diffusion implicit bridges* and transfer style with it: encode with a model of one domain, decode with a model of the other.
#
# Look first. Ten latents, each decoded in the four styles of the drawn faces:

# %% mystnb={"figure": {"caption": "Ten latents, one a column, decoded as each of four classes by the model of faces, 25 steps, $\\eta = 0$: the first ten of 100, none left out (`benchmarks/faces_truth.py`). (Faces after Pablo Stanley and, under CC BY 4.0, Micah Lanier, Johan Melin and Draftbit; see {doc}`/using`.)", "name": "fig-edit-styles"}, "image": {"alt": "Four rows of ten drawn faces; each row is another way of drawing. Down a column the ground keeps its colour, the skin is light or dark in most rows alike, and hair and clothes often have one colour; hair cuts and mouths differ."}} tags=["hide-input"]
styles = json.loads(in_repository("results/faces_truth.json").read_text())["styles"]
pictures = (from_text(text, 3, 32, 32) for text in styles["pictures"])
picture_rows(dict(zip(STYLES, pictures)));

# %% [markdown]
# All that is in a drawn face is known, and a classifier reads it: {py:mod}`ddim_edu.data.faces.reading`. So what a latent brings along can be counted. How often have two faces of one latent, in two styles, a colour in common, and how often two faces of different latents?

# %% tags=["hide-input"]
names, ways = ("background", "clothes colour", "skin", "hair colour"), ("same latent", "other latent")
assert all(1.9 < styles[ways[0]][a] / styles[ways[1]][a] < 4.1 for a in names)
rows = [(a, *(f"{styles[way][a]:.0%}" for way in ways)) for a in names]
Table(["colour in common", *ways], rows)

# %% [markdown]
# Each colour comes along two to four times as often as by chance. What map does that?
#
# On the line we know. Each flow is the quantile map {eq}`eq:quantile`, so up by $A$ and down by $B$ is
#
# $$
# x \mapsto F_B^{-1}\bigl(F_A(x)\bigr) :
# $$ (eq:bridge-line)
#
# who was the tenth in a hundred in $A$ becomes the tenth in a hundred in $B$. (The two $q_T$ are taken as equal; both are nearly standard normal.) That is also the way to carry $A$'s mass to $B$'s with the least total squared distance, **optimal transport**: on the line it keeps the order.
#
# In more dimensions let $A$ and $B$ be $\mathcal N(m_A, C_A)$ and $\mathcal N(m_B, C_B)$. {eq}`eq:gaussian-flow` holds along each axis of a covariance, so up and down together, for large $\nu_T$, give
#
# $$
# x \mapsto m_B + C_B^{1/2}\, C_A^{-1/2}\, (x - m_A) ,
# $$ (eq:bridge-gaussian)
#
# which does carry $A$ to $B$: $C_B^{1/2} C_A^{-1/2} C_A\, C_A^{-1/2} C_B^{1/2} = C_B$. The optimal map between Gaussians is known. It is linear too, and its matrix is symmetric:
#
# $$
# C_A^{-1/2} \bigl(C_A^{1/2}\, C_B\, C_A^{1/2}\bigr)^{1/2} C_A^{-1/2} .
# $$
#
# A product of symmetric matrices is symmetric only if they commute. Then the two maps are one (both are the symmetric root of $C_B C_A^{-1}$). Otherwise style transfer is not optimal transport, though it may come close.

# %%
# checks eq:bridge-line
def share_below(mixture, x):
    z = (x - mixture.means[:, 0]) / mixture.covs[:, 0, 0].sqrt()
    return (mixture.weights * torch.special.ndtr(z)).sum(1)


x_A, tau = line.sample(400, generator), make_tau(1000, 250, "trailing")
x_B = translate(line.eps, three.eps, x_A, schedule, tau)
off = (share_below(three, x_B) - share_below(line, x_A)).abs().max()
back = translate(three.eps, line.eps, x_B, schedule, tau)
returned = (back - x_A).abs().mean()
assert (x_B[x_A[:, 0].argsort()].diff(dim=0) > 0).all()  # in order
print(f"shares differ by at most {off:.3f}; there and back {returned:.2f}")
assert off < 0.02 and returned < 0.05

# %%
# checks eq:bridge-gaussian
def root_of(C):
    values, vectors = torch.linalg.eigh(C)
    return vectors * values.sqrt() @ vectors.T


C_A = torch.tensor([[1.0, 0.0], [0.0, 0.02]]).double()
C_B = torch.tensor([[0.51, 0.45], [0.45, 0.41]]).double()  # long along a diagonal
A, B = (Gaussian(torch.zeros(2), C, schedule) for C in (C_A, C_B))
R, x = root_of(C_A), A.sample(1000, generator)
moved = translate(A.eps, B.eps, x, schedule, make_tau(1000, 500, "trailing"))
bridge = root_of(C_B) @ R.inverse()
best = R.inverse() @ root_of(R @ C_B @ R) @ R.inverse()
assert (moved - x @ bridge.T).norm(dim=1).mean() < 0.02
cost = [(x @ M.T - x).square().sum(1).mean() for M in (bridge, best)]
print(f"mean squared distance: bridge {cost[0]:.2f}, optimal {cost[1]:.2f}")
assert torch.allclose(best @ C_A @ best, C_B) and cost[0] > 1.3 * cost[1]

# %% [markdown]
# For pictures no such closed form is known; the classes of one model can serve as domains. Ten held-out digits, each made into the class five further, by noise and by {py:func}`~ddim_edu.apps.edit.translate`. (Inversion uses levels up to 900 only, since the last levels of the cosine schedule multiply errors, as chapter 7 said.)

# %%
ten = torch.stack([(labels == c).nonzero()[0, 0] for c in range(10)])
x, a, b = heldout[ten], labels[ten], target[ten]
down = guided(net.eps_theta(b), net.eps_theta(), 2.0)
high, low = make_tau(990, 30, "trailing"), make_tau(900, 30, "trailing")
rows = {"original": x}
for strength in (0.4, 0.6, 0.8):
    gen = image_generators(1, 0, 10)
    way = {"generator": gen, "clip": 1.0}
    back = renoise(down, x, net.schedule, high, strength, **way)
    rows[f"noise {strength}"] = back
bridge = translate(net.eps_theta(a), net.eps_theta(b), x, net.schedule, low)
rows["inversion"] = bridge

# %% mystnb={"figure": {"caption": "Ten held-out digits (top), each to be turned into the digit five further: by noise at three strengths (scale 2), and by inversion (strength 1, scale 1).", "name": "fig-edit-digits"}, "image": {"alt": "Five rows of ten small grey digits. Top: 0 to 9. Row two, little noise: mostly the originals, distorted. Rows three and four: more and more of them are the digits 5 to 9 and 0 to 4. Bottom, inversion: mostly the digits 5 to 9 and 0 to 4, in the slant and thickness of the originals."}} tags=["hide-input"]
fig, axes = figure(10, 5, height=3.8)
for across, (name, images) in zip(axes, rows.items()):
    for ax, image in zip(across, images):
        ax.imshow(image[0].clamp(-1, 1), cmap="gray", vmin=-1, vmax=1)
        ax.set(xticks=[], yticks=[])
    across[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
fig.align_ylabels();

# %%
changed = {k: ((y - x) / 2).square().mean().item() for k, y in rows.items()}
print("squared change:", ", ".join(f"{k} {v:.2f}" for k, v in changed.items()))
assert changed["noise 0.4"] < changed["noise 0.8"]

# %% [markdown]
# Now the measurement. For 200 held-out digits (50 steps) and 40 pictures of clothes (20 steps), each with a target class other than its own: **success**, the share in which the classifier sees the target; **change**, the squared distance to the original, over that between the original and real pictures of its target (1 means: as far as unrelated); and what an editor would hope to keep, the amount of **ink**,
# the **slant** and the **width** of the picture, as the correlation over the pictures between before and after, each relative to its class's mean.

# %% tags=["hide-input"]
def edits(model, by, scale):
    rows, kind = found[model]["pieces"].values(), (by, scale, False)
    return [r for r in rows if (r.get("by"), r.get("scale"), "calls" in r) == kind]


KEPT = ("ink", "slant", "width")


def edit_row(r):
    won, moved = summary(r["successes"]), summary(r["changes"])
    cells = (f"{m.mean:.2f} ± {m.half:.2f}" for m in (won, moved))
    name = f"{r['by']}, {r['scale']:.0f}, {r['strength']:.1f}"
    return name, *cells, *(f"{r[k]:.2f}" for k in KEPT)


KINDS = ("noise", 1), ("noise", 2), ("invert", 1), ("invert", 2)
HEADS = "success", "change", *KEPT
tables = {
    model: Table(
        [f"{model}, {found[model]['protocol']['edit']['n']} pictures: by, scale, strength", *HEADS],
        [edit_row(r) for by, scale in KINDS for r in edits(model, by, scale)],
    )
    for model in ("digits", "fashion-mnist")
}
tables["digits"]

# %% tags=["hide-input"]
tables["fashion-mnist"]

# %% [markdown]
# Which way is better? The rows of the tables cost unequal numbers of network calls: inversion walks up and down, and guidance calls the network twice a step. So compare at **one price**, 60 calls a picture. Noise at strength 0.6 and scale 2 costs that (30 steps down). Inversion was run again in 60 calls, with fewer steps, at three strengths a scale.
# The next cell takes the strength whose success is nearest to that of noise, and compares picture by picture.

# %%
noised = next(r for r in edits("digits", "noise", 2) if r["strength"] == 0.6)
again = [r for r in found["digits"]["pieces"].values() if "calls" in r]
nearest, tests = {}, {}
for scale in (1, 2):
    rows = [r for r in again if r["scale"] == scale]
    nearest[scale] = min(rows, key=lambda r: abs(r["success"] - noised["success"]))
    for what in ("successes", "changes"):
        tests[scale, what] = paired(nearest[scale][what], noised[what])
p = holm({k: test.p for k, test in tests.items()})

# %%
print(f"noise: success {noised['success']:.2f}, change {noised['change']:.2f}")
rows = {s: [f"scale {s}, strength {nearest[s]['strength']}"] for s in (1, 2)}
for (scale, what), test in tests.items():
    sure = "beyond chance" if p[scale, what] < 0.05 else "within chance"
    rows[scale].append(f"{test.mean:+.2f} ± {test.half:.2f}, {sure}")
assert {r["calls"] for r in again} == {60} == {2 * round(0.6 * 50)}
assert all(p[s, "successes"] > 0.05 > p[s, "changes"] for s in (1, 2))
assert all(tests[s, "changes"].mean < 0 for s in (1, 2))
WAYS = ("noise", 2), ("invert", 1), ("invert", 2)
assert list(tests) == [(s, what) for s in (1, 2) for what in ("successes", "changes")]
Table(["inversion minus noise", "success", "change"], rows.values())

# %% mystnb={"figure": {"caption": "Editing: success against change, with 95% intervals. The strength rises along each curve from left to right. Better is higher and further left.", "name": "fig-edit-trade"}, "image": {"alt": "Two plots of success against change, for digits and clothes. Each has three rising curves: by noise at scale 2, and by inversion at scales 1 and 2."}} tags=["hide-input"]
fig, axes = figure(2, height=2.9, sharey=True)
for ax, model in zip(axes, ("digits", "fashion-mnist")):
    for (by, scale), style in zip(WAYS, ("o-", "s--", "^:")):
        rows = edits(model, by, scale)
        won = [summary(r["successes"]) for r in rows]
        moved = [summary(r["changes"]) for r in rows]
        x, y = ([m.mean for m in of] for of in (moved, won))
        look = {"fmt": style, "ms": 4, "lw": 1.2, "capsize": 2}
        look |= {"xerr": [m.half for m in moved], "yerr": [m.half for m in won]}
        ax.errorbar(x, y, **look, label=f"{by}, s = {scale}")
    ax.set(title=model, xlabel="change", ylim=(-0.05, 1.1))
axes[0].set_ylabel("success")
axes[1].legend(fontsize=9);

# %%
ends_of = [edits("digits", by, scale)[-1] for by, scale in WAYS]
assert all(r["success"] > 0.9 and r["ink"] < 0.1 for r in ends_of[:1])
assert all(r["success"] > 0.9 and r["ink"] > 0.6 for r in ends_of[1:])
rows = [edit_row(edits("fashion-mnist", by, scale)[-1]) for by, scale in WAYS]
Table(["clothes: by, scale, strength", *HEADS], rows)

# %% [markdown]
# At one price, and where about as many edits succeed, inversion changes the digits less than noise does, at either scale. In the figure, where prices differ, both curves of inversion lie above that of noise.
#
# What is kept stands in the last three columns of the tables. Read these columns only in rows with high success. They compare an edited picture with the mean of its target class, and in the other rows most pictures do not belong to that class yet.
# At full strength noise makes a new sample. The new sample keeps nothing: its correlations are 0.1 or less. The latent carries ink, slant and width over to the new class, most of all the ink, 0.7. Noise at strength 0.6 keeps as much of the slant and half as much of the ink.
#
# The clothes show the limits. A bag and a pair of trousers differ in their whole outline, which is settled at the highest levels. Below full strength most edits leave the class as it was, by either way. At full strength noise makes a new sample, which keeps nothing, and inversion at scale 1 reaches the target in about half of 40 cases; guidance on the way down raises that to four in five.
#
# From class $a$ to $b$ and back to $a$ the exact flows would restore the picture. With 50 steps each way the network's do so in part only: the squared error is a seventh of that between unrelated digits, as the next section prints.
#
# On pictures of one's own: `python -m ddim_edu.apps edit digits --images a.png --target 3 7`, by inversion, or by noise with `--by noise`; `--decoder` names another model to decode with.
#
# ## What breaks: pressing harder
#
# **Samples.** Guidance has no notion of *enough*. In the theorem the variance $v\,(v_c/v)^s$ falls to 0 as $s$ grows, and of the class in the middle a scale of 10 leaves a point. Nothing stops a network either, until the picture is saved and its pixels are cut to their range:

# %%
rows = []
for name in ("two peaks", "middle"):
    sd = [ends[name, s].std().item() for s in (1, 10)]
    rows.append((f"{name}: standard deviation", f"{sd[0]:.2f}", f"{sd[1]:.4f}"))
for model in ("digits", "fashion-mnist"):
    one, most = (scale_rows(model)[scale] for scale in ("1", "10"))
    worse, half = against(most, one, "precision")
    rows.append((f"{model}: pixels beyond 1.1", f"{one['beyond']:.1%}", f"{most['beyond']:.1%}"))
    rows.append((f"{model}: change of precision", "", f"{worse:+.2f} ± {half:.2f}"))
    assert most["beyond"] > one["beyond"] + 0.05
Table(["", "scale 1", "scale 10"], rows)

# %% [markdown]
# **Editing real pictures.** To edit a picture by a prompt or a label one encodes it and decodes it under guidance. Take the mildest edit: the class stays its own. Then nothing should change, and at scale 1 nothing does. With guidance on the way down only, the picture does not come back: the decoder pushes, and the encoder has not pulled. With the same guidance
# on both ways the two are one flow again, and only the steps err. But the guided flow squeezes harder on the way down. So it stretches as hard on the way up, and small errors grow.

# %% tags=["hide-input"]
pieces = found["digits"]["pieces"]
error = {k[5:]: summary(v["errors"]) for k, v in pieces.items() if "errors" in v}
error["from 1 1"] = error["same 1"]
rows = []
for s in (1, 2, 3, 5):
    ways = (error[f"{way} {s}"] for way in ("same", "from 1"))
    cells = (f"{1000 * e.mean:.1f} ± {1000 * e.half:.1f}" for e in ways)
    rows.append((f"scale {s}", *cells))
cycle = error["cycle 1"]
unrelated = ((heldout - heldout.roll(1, 0)) / 2).square().mean()
rows.append(("to another class and back, scale 1", f"{1000 * cycle.mean:.0f}", ""))
rows.append(("two unrelated digits", f"{1000 * unrelated:.0f}", ""))
heads = "guided on both ways", "on the way down"
Table(["squared error of 100 digits, thousandths", *heads], rows)

# %%
assert 25 < error["from 1 2"].mean / error["same 1"].mean < 60
assert cycle.mean > 100 * error["same 1"].mean

# %% [markdown]
# Encoding at 1 and decoding at 2 errs by forty times the error of scale 1, and by more at each scale after. One flow for both ways does better up to scale 3, and at 5 there is little to choose. The inversions measured above went up at scale 1, so part of the change that they make at scale 2 is this error. Editing methods for large models spend their effort on this gap {cite}`mokady2023null`.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the same with DDPM's noise
# :label: ex-guide-ddpm
# *Derive · three stars · 45 minutes*
#
# In the theorem's setting with $m_c = m = 0$, find the variance of what the sampler with $\eta = 1$ ends at, for infinitely many steps. Use $w = \nu^2$ as the clock: a step down of size $dw$ moves $\bar x$ by the guided score, $-\hat\epsilon/\nu$, times $dw$ and adds noise of variance $dw$. Check $v = 2$, $v_c = 1$, $s = 3$ with 1,000 steps. Is it nearer to the tilted density?
# Hand in the variance as a function `variance(v, v_c, s)`: `check("ex-guide-ddpm", variance)`.
# ```
#
# ````{solution} ex-guide-ddpm
# :class: dropdown
# The guided score is $-k(w)\,\bar x$ with $k = (1-s)/(v + w) + s/(v_c + w) = \frac{d}{dw} \ln h^2$. In a step down, $\bar x$ is multiplied by $1 - k\,dw$ and gets variance $dw$, so the variance $P$ obeys $dP/dw = 2kP - 1$, and $P(0) = h(0)^4 \int_0^\infty h^{-4}\, dw$ (the start adds nothing in the limit). With
# $z = (v + w)/(v_c + w)$ the integral is elementary, and for $r = v/v_c$ the variance is $v_c\,(r - r^{2 - 2s})/((2s - 1)(r - 1))$: here 0.39, between DDIM's 0.25 and the tilted 0.5. Fresh noise forgets part of the early push.
#
# ```python
# import torch
# from ddim_edu.guidance import guided
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule
#
# def variance(v, v_c, s):
#     r = v / v_c
#     return v_c * (r - r ** (2 - 2 * s)) / ((2 * s - 1) * (r - 1))
#
# schedule, n, s = NoiseSchedule.linear(), 4000, 3.0
# everything = Gaussian(torch.zeros(1), 2.0, schedule)
# inside = Gaussian(torch.zeros(1), 1.0, schedule)
# formula = variance(2.0, 1.0, s)
# eps_theta = guided(inside.eps, everything.eps, s)
# g = torch.Generator().manual_seed(0)
# x = sample(eps_theta, (n, 1), schedule, range(1001), eta=1.0, generator=g)
# assert abs(x.var() / formula - 1) < 5 * (2 / n) ** 0.5
# assert 0.25 < formula < 0.5
# assert check("ex-guide-ddpm", variance)
# ```
# ````
#
# ```{exercise} Code: sample the tilted density after all
# :label: ex-guide-langevin
# *Code · two stars · 30 minutes*
#
# At level 1 there is next to no noise, and the guided prediction is the score of nearly $p_s$. Langevin dynamics, $x \leftarrow x + \tfrac{\delta}{2}\, \nabla \ln p(x) + \sqrt\delta\, z$ over and over with a small $\delta$, has $p$ as its end. Start it at guided samples of two Gaussians with mean 0, $v = 2$, $v_c = 1$, $s = 3$, and watch the variance.
# Hand in the variances before the walk and after it: `check("ex-guide-langevin", (before, after))`.
# ```
#
# ````{solution} ex-guide-langevin
# :class: dropdown
# The variance rises from 0.25 to the tilted 0.5. For pictures this is no cure: with peaks far apart the walk would take ages from one to another, which is what the noise levels were for.
#
# ```python
# import torch
# from ddim_edu.guidance import guided
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule, n, delta = NoiseSchedule.linear(), 4000, 0.05
# everything = Gaussian(torch.zeros(1), 2.0, schedule)
# inside = Gaussian(torch.zeros(1), 1.0, schedule)
# eps_theta = guided(inside.eps, everything.eps, 3.0)
# g, tau = torch.Generator().manual_seed(0), make_tau(1000, 200, "trailing")
# x = sample(eps_theta, (n, 1), schedule, tau, generator=g, dtype=torch.float64)
# before = x.var()
# assert abs(before - 0.25) < 0.03
# one, root = torch.ones(n, dtype=torch.int64), (1 - schedule.alpha_bar[1]).sqrt()
# for _ in range(200):
#     z = torch.randn(n, 1, generator=g, dtype=torch.float64)
#     x = x - delta / 2 * eps_theta(x, one) / root + delta**0.5 * z
# assert abs(x.var() - 0.5) < 5 * 0.5 * (2 / n) ** 0.5 + 0.02
# assert check("ex-guide-langevin", (before, x.var()))
# ```
# ````
#
# ```{exercise} Code: the generator as a classifier
# :label: ex-guide-classifier
# *Code · two stars · 25 minutes*
#
# By {eq}`eq:guide-label-worth` the right label lowers the error. So hide a picture's label, noise the picture at a few levels, and try all ten labels: which predicts the noise best? How often is that right for 30 held-out digits?
# Hand in that share: `check("ex-guide-classifier", right)`.
# ```
#
# ````{solution} ex-guide-classifier
# :class: dropdown
# Nearly always, although the network never saw a question of this kind. All labels are tried on the same noises, or the noises' differences would drown the labels'. Middle levels tell most, as the first figure of the chapter says.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample
# from ddim_edu.data.named import digits
# from ddim_edu.models import load
#
# net, data = load("digits"), digits()
# x, labels = data.floats(data.heldout[:30]), data.heldout_labels[:30]
# g, errors = torch.Generator().manual_seed(0), torch.zeros(30, 10)
# with torch.no_grad():
#     for t in (300, 500, 600, 700, 800):
#         eps, levels = torch.randn(x.shape, generator=g), torch.full((30,), t)
#         x_t = q_sample(x, t, net.schedule, eps)
#         for c in range(10):
#             guess = net.eps_theta(c)(x_t, levels)
#             errors[:, c] += (guess - eps).square().mean((1, 2, 3))
# right = (errors.argmin(1) == labels).double().mean()
# assert right > 0.85
# assert check("ex-guide-classifier", right)
# ```
# ````
#
# ```{exercise} Break: the plus that should be a minus
# :label: ex-guide-sign
# *Break · two stars · 25 minutes*
#
# Sample the two peaks on the line with the formula in labml's text at $s = 1$ and $s = 1.5$, in 100 steps. What is left of the class? Explain it by the flow of one Gaussian.
# Hand in the standard deviations of one class's samples at the two scales: `check("ex-guide-sign", (at_1, at_1_5))`.
# ```
#
# ````{solution} ex-guide-sign
# :class: dropdown
# At $s = 1$ all is well. At 1.5 the two predictions add up to twice the noise where they agree, so the sampler takes away twice what is there. For one Gaussian the flow $d\bar x/d\nu = 2 \epsilon^*$ has the solutions $m + C\,(v + \nu^2)$, without the root of {eq}`eq:gaussian-flow`. From a start of size $\nu_T$ it ends within about $v/\nu_T$ of the mean: all samples
# are one picture. No error is raised.
#
# ```python
# import torch
# from ddim_edu.guidance import of_class
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule, tau = NoiseSchedule.linear(), make_tau(1000, 100, "trailing")
# line = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# one, spread = of_class(line, 1), {}
# for s in (1.0, 1.5):
#     def eps_theta(x, t):
#         return s * one.eps(x, t) + (s - 1) * line.eps(x, t)
#
#     g = torch.Generator().manual_seed(0)
#     x = sample(eps_theta, (500, 1), schedule, tau, generator=g, dtype=torch.float64)
#     spread[s] = x.std().item()
# assert 0.18 < spread[1.0] < 0.25 and spread[1.5] < 0.05 * spread[1.0]
# assert check("ex-guide-sign", (spread[1.0], spread[1.5]))
# ```
# ````
#
# ## Summary
#
# 1. Hiding the label now and then trains two predictors in one network. The mean square of their difference is what the label is worth to the loss, and its direction is that in which the class becomes more likely.
# 2. Guidance multiplies the difference by $s$: 0 ignores the class, 1 takes it as trained. Other programs count from another zero; one formula in circulation has a wrong sign.
# 3. Guided samples do not follow $q(x)\, q(c \mid x)^s$. Between Gaussians of one mean DDIM reaches the variance $v^{1-s} v_c^s$; in general guidance pushes early, while the class can still be doubted.
# 4. Measured, guidance buys accuracy where the label alone leaves doubt (clothes more than digits), and pays with recall and spread. At scale 10 samples leave the range of pixels.
# 5. Editing by noise invents anew what the noise drowned. Up by one flow and down by another carries the place of a picture among its kind over to the other kind: on the line the optimal transport, elsewhere not; under guidance not even the way back is exact.
#
# **Next.** {ref}`Chapter 15 <ch-sound>` puts guidance and inversion to work on sound; {ref}`chapter 19 <ch-guidance-now>` goes on with guidance. In the package, read {py:func}`ddim_edu.guidance.guided` and {py:func}`ddim_edu.apps.edit.translate`: together they are a page.
