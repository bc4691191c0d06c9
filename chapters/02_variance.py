# %% [markdown]
# (ch-variance)=
# # The variance derivation
#
# **Question.** Training needs $x_t$ for millions of pictures and random levels $t$. Must we walk $t$ steps for each of them, or can we
# jump?

# %% tags=["hide-input"]
import time

import torch
import torch.nn.functional as F

from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.pictures import from_uint8
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import q_sample, q_step, unmix_x0
from ddim_edu.plotting import Table, figure, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.schedule import NoiseSchedule

# %% mystnb={"figure": {"caption": "One face on its way to noise. Above: a thousand small steps, of which six states are shown. Below: each picture made by a single line from the clean face. (Face after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-walk-jump"}, "image": {"alt": "Two rows of six coloured pictures of one drawn face at levels 0, 50, 150, 300, 500 and 1000, from clear to pure noise. Column by column the rows are equally noisy, with other specks."}} tags=["hide-input"]
linear, steps = NoiseSchedule.linear(), torch.Generator().manual_seed(0)
columns, face = (0, 50, 150, 300, 500, 1000), from_uint8(torch.from_numpy(shipped().pixels[45:46]))
walked, x = [face], face
for t in range(1, 1001):
    x = q_step(x, t, linear, draw(x, steps))
    if t in columns:
        walked.append(x)
jumped = [face] + [q_sample(face, t, linear, draw(face, steps)) for t in columns[1:]]
rows = {"t steps": torch.cat(walked), "one jump": torch.cat(jumped)}
picture_rows(rows, [f"t = {t}" for t in columns], width=7);

# %% [markdown]
# We can jump. In each column the two rows hold as much of the face and as much noise. Only the specks differ, because the two rows drew different random numbers. The lower row cost five lines of arithmetic, the upper one a thousand.
#
# The jump is one line, and this chapter derives it without leaving anything out, because every later formula of the book
# rests on it. At the end of this chapter you will have derived, and checked by running it,
#
# - that two steps collapse into one, and by induction any number do, and where independence is used;
# - that the jump gives the same distribution as the walk, in one line instead of a loop;
# - that variance 1 is kept, and what happens to data that does not have it;
# - what $x_T$ is, in numbers: how far from pure noise, and how much of the data it still carries;
# - what the signal-to-noise ratio says about the best possible guess of $x_0$, and why structure in the data makes a better one possible.
#
# The chapter opens {py:mod}`ddim_edu.forward`.

# %%
generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()

# %% [markdown]
# ## Three facts about random variables
#
# Everything below follows from three facts. Take random variables $X$ and $Y$ with finite variances.
#
# **Scaling.** $\operatorname{Var}(aX) = a^2 \operatorname{Var}(X)$, since $aX - E[aX] = a\,(X - E[X])$ and squaring gives $a^2$.
#
# **Adding.** Expand the square of $(X - E[X]) + (Y - E[Y])$ and take expectations:
#
# $$
# \operatorname{Var}(X + Y) = \operatorname{Var}(X) + \operatorname{Var}(Y) + 2 \operatorname{Cov}(X, Y) .
# $$ (eq:variance-sum)
#
# If $X$ and $Y$ are **independent**, $\operatorname{Cov}(X, Y) = E[X - E X]\; E[Y - E Y] = 0$ and the variances simply add. Means add with or without
# independence; variances add only because the covariance is 0, and independence is what guarantees that. The end of this chapter breaks it
# on purpose. The next fact needs independence too.
#
# **Staying Gaussian.** If $z$ and $z'$ are independent standard normals, then $a z + b z' \sim \mathcal N(0, a^2 + b^2)$. Mean and variance we know already; that the
# sum is *Gaussian* is geometry. The joint density of the pair is $\frac{1}{2\pi} e^{-(z^2 + z'^2)/2}$. It depends only on the distance from the origin, so a rotation
# of the plane does not change it. Put $c = \sqrt{a^2 + b^2}$. Then $(a z + b z')/c$ is the coordinate of the point $(z, z')$ along the unit vector $(a/c, b/c)$. Rotate that
# vector onto the first axis: what we have is the first coordinate of a rotated pair, and that is a standard normal, like $z$ itself.

# %%
n = 400_000
X = 2 * torch.randn(n, generator=generator, dtype=torch.float64)
Y = 3 * torch.randn(n, generator=generator, dtype=torch.float64)
error = (2 / n) ** 0.5  # standard error of a sample variance, as a share of it

independent = (X + Y).var().item()
dependent = (X + 1.5 * X).var().item()  # the second term has variance 9 as well
print(f"independent: {independent:.1f} (4 + 9 = 13)")
print(f"dependent:   {dependent:.1f} (2.5^2 * 4 = 25)")
# checks eq:variance-sum
assert abs(independent / 13 - 1) < 4 * error and abs(dependent / 25 - 1) < 4 * error

# %% [markdown]
# ## Two steps by substitution
#
# Write again $\alpha_t = 1 - \beta_t$. The first two steps of the chain are
#
# $$
# \begin{aligned}
# x_1 &= \sqrt{\alpha_1}\, x_0 + \sqrt{1 - \alpha_1}\, z_1, \\
# x_2 &= \sqrt{\alpha_2}\, x_1 + \sqrt{1 - \alpha_2}\, z_2 .
# \end{aligned}
# $$
#
# Put the first into the second:
#
# $$
# x_2 = \sqrt{\alpha_1 \alpha_2}\; x_0 + \underbrace{\sqrt{\alpha_2 (1 - \alpha_1)}\; z_1 + \sqrt{1 - \alpha_2}\; z_2}_{\text{noise}} .
# $$ (eq:two-steps)
#
# $z_1$ and $z_2$ are independent standard normals, so by the three facts the noise is Gaussian with mean 0 and variance
#
# $$
# \begin{aligned}
# \alpha_2 (1 - \alpha_1) + (1 - \alpha_2) &= \alpha_2 - \alpha_1 \alpha_2 + 1 - \alpha_2 \\
#     &= 1 - \alpha_1 \alpha_2 .
# \end{aligned}
# $$ (eq:two-variances)
#
# The two $\alpha_2$ cancel, and what is left looks just like a single step whose "$\alpha$" is the product $\alpha_1\alpha_2$. By hand, with two large steps so that
# one can see something. The last two lines measure mean and variance of 400,000 draws, and allow four standard errors:

# %%
alpha_1, alpha_2 = 0.8, 0.5
weight_1 = (alpha_2 * (1 - alpha_1)) ** 0.5  # of z_1 in x_2
weight_2 = (1 - alpha_2) ** 0.5  # of z_2
# checks eq:two-steps, eq:two-variances
assert abs(weight_1**2 + weight_2**2 - (1 - alpha_1 * alpha_2)) < 1e-15

x_0, n = 1.5, 400_000
z_1, z_2 = torch.randn(2, n, generator=generator, dtype=torch.float64)
x_1 = alpha_1**0.5 * x_0 + (1 - alpha_1) ** 0.5 * z_1
x_2 = alpha_2**0.5 * x_1 + (1 - alpha_2) ** 0.5 * z_2
at_once = (alpha_1 * alpha_2) ** 0.5 * x_0 + weight_1 * z_1 + weight_2 * z_2
assert torch.allclose(x_2, at_once, atol=1e-12)
assert abs(x_2.mean() - 0.4**0.5 * x_0) < 4 * (0.6 / n) ** 0.5
assert abs(x_2.var() - 0.6) < 4 * 0.6 * (2 / n) ** 0.5

# %% [markdown]
# ```{warning}
# The index matters. With $\alpha_{t-1}$ in the place of $\alpha_t$, the first step would use an $\alpha_0$ that the chain does not define, and the last $\beta_T$ would
# never be applied. The page {doc}`/sources` measures this slip and its kin.
# ```
#
# ## Any number of steps, by induction
#
# ```{prf:theorem} The closed form
# :label: thm-closed-form
# Let $\bar\alpha_t = \prod_{i=1}^t \alpha_i$. For every $t = 1, \dots, T$ there is an $\epsilon_t \sim \mathcal N(0, I)$, made of $z_1, \dots, z_t$ only and so
# independent of $x_0$, with
#
# $$
# \begin{gathered}
# x_t = \sqrt{\bar\alpha_t}\; x_0 + \sqrt{1 - \bar\alpha_t}\; \epsilon_t, \quad\text{that is,} \\
# q(x_t \mid x_0) = \mathcal N\bigl(\sqrt{\bar\alpha_t}\; x_0,\; (1 - \bar\alpha_t)\, I\bigr) .
# \end{gathered}
# $$ (eq:closed-form)
# ```
#
# ```{prf:proof}
# For $t = 1$ this is the forward step {eq}`eq:forward-step`, with $\epsilon_1 = z_1$. Suppose it holds for $t - 1$. Then
#
# $$
# \begin{aligned}
# x_t &= \sqrt{\alpha_t}\, x_{t-1} + \sqrt{1 - \alpha_t}\, z_t \\
#     &= \sqrt{\alpha_t \bar\alpha_{t-1}}\; x_0 + \sqrt{\alpha_t (1 - \bar\alpha_{t-1})}\; \epsilon_{t-1} \\
#     &\quad + \sqrt{1 - \alpha_t}\; z_t .
# \end{aligned}
# $$
#
# The factor on $x_0$ is $\sqrt{\bar\alpha_t}$ by definition of the product. $z_t$ was drawn afresh, so it is independent of $\epsilon_{t-1}$; hence in every
# coordinate the noise is Gaussian with mean 0 and variance
#
# $$
# \begin{aligned}
# \alpha_t(1 - \bar\alpha_{t-1}) + 1 - \alpha_t &= 1 - \alpha_t \bar\alpha_{t-1} \\
#     &= 1 - \bar\alpha_t .
# \end{aligned}
# $$
#
# The coordinates of this noise are independent of
# one another, since each is made of the same coordinate of $z_1, \dots, z_t$ and all those numbers are independent. Divide the noise by $\sqrt{1 - \bar\alpha_t}$ and call the
# result $\epsilon_t$: it is $\mathcal N(0, I)$, made of $z_1, \dots, z_t$ only, and therefore independent of $x_0$.
# ```
#
# This is equation 4 of both {cite:t}`ho2020ddpm` and {cite:t}`song2021ddim` (the latter with $\alpha_t$ for $\bar\alpha_t$). Where the level is clear we write $\epsilon$ without
# an index.
#
# Note what the theorem does **not** say. $\epsilon_t$ and $\epsilon_{t+1}$ are different mixtures of the same $z_i$: each is standard normal, but they are neither equal nor
# independent. {ref}`Chapter 4 <ch-non-markov>` is built on this difference.
#
# ### Check by coefficients
#
# The proof is algebra, so the check can be algebra too: no sampling, so no luck. The chain is linear in $x_0, z_1, \dots, z_T$. Track the
# weight of each of them in $x_t$. One step scales all the weights by $\sqrt{\alpha_t}$ and sets that of $z_t$ to $\sqrt{\beta_t}$. The figure shows where the noise in $x_{1000}$ comes from in the end.

# %%
weights = torch.zeros(schedule.T + 1, dtype=torch.float64)  # [0] of x_0, [i] of z_i
weights[0] = 1.0
for t in range(1, schedule.T + 1):
    weights *= schedule.alpha_step[t].sqrt()
    weights[t] = schedule.beta[t].sqrt()
    abar = schedule.alpha_bar[t]
    # checks eq:closed-form
    assert torch.isclose(weights[0], abar.sqrt(), rtol=1e-12)
    assert torch.isclose((weights[1:] ** 2).sum(), 1 - abar, rtol=1e-9)
assert 0.994 < (weights[701:] ** 2).sum() < 0.995

# %% mystnb={"figure": {"caption": "What the noise in $x_{1000}$ is made of: the squared weight of each $z_i$. The early draws have been shrunk away; 99.4% of it is younger than 300 steps.", "name": "fig-noise-weights"}, "image": {"alt": "Curve of the squared weight of each noise draw against its index i. Almost 0 up to 700, then rising ever more steeply to 0.02 at i = 1000."}} tags=["hide-input"]
fig, ax = figure(height=2.9)
ax.plot(range(1, 1001), weights[1:] ** 2)
ax.set(xlabel="index i of the draw $z_i$", ylabel="squared weight in $x_{1000}$");

# %% [markdown]
# ## The jump
#
# By hand it is one line. The package splits it in two: {py:func}`~ddim_edu.forward.mix` is the line itself, and {py:func}`~ddim_edu.forward.q_sample` looks up
# $\bar\alpha_t$ for each member of the batch.

# %%
images = from_uint8(torch.from_numpy(shipped().pixels))  # (64, 3, 64, 64) in [-1, 1]
t = torch.randint(1, 1001, (len(images),), generator=generator)  # a level each
eps = torch.randn(images.shape, generator=generator)

abar = schedule.alpha_bar[t].view(-1, 1, 1, 1)  # roots in float64: 1 - abar is small
by_hand = abar.sqrt().float() * images + (1 - abar).sqrt().float() * eps
# checks eq:closed-form
assert torch.allclose(by_hand, q_sample(images, t, schedule, eps), atol=1e-6)

# %% mystnb={"figure": {"caption": "Three faces at seven levels, each picture by one jump, and in each row always with the same noise. (Faces after Pablo Stanley, Micah Lanier and Draftbit, the last two CC BY 4.0; see {doc}`/using`.)", "name": "fig-jump"}, "image": {"alt": "Three rows of seven coloured pictures, a drawn face each, at levels 1, 50, 100, 200, 300, 500 and 1000, from clear to pure noise. Hair and face can be made out up to about level 300."}} tags=["hide-input"]
shown = torch.tensor([1, 50, 100, 200, 300, 500, 1000])
three = {}
for k, style in ((4, "open peeps"), (5, "micah"), (7, "personas")):
    face = from_uint8(torch.from_numpy(shipped().pixels[k : k + 1])).expand(7, -1, -1, -1)
    noise = torch.randn(face[:1].shape, generator=steps).expand(7, -1, -1, -1)
    three[style] = q_sample(face, shown, schedule, noise)
picture_rows(three, [f"t = {t}" for t in shown.tolist()], width=7);

# %% [markdown]
# How much of the picture is left at each level? Measure it on the 64 drawn faces that come with the package, 64 × 64 in colour. Let their numbers have variance $v_0$. Then $\operatorname{Cov}(x_t, x_0) = \sqrt{\bar\alpha_t}\, v_0$ and
# $\operatorname{Var}(x_t) = \bar\alpha_t v_0 + 1 - \bar\alpha_t$, so the correlation is $\sqrt{\bar\alpha_t v_0 / (\bar\alpha_t v_0 + 1 - \bar\alpha_t)}$: the root of the data's share in
# the variance.

# %%
v_0, rows = images.double().var().item(), []
for t in (1, 50, 100, 200, 300, 500, 700, 1000):
    abar = schedule.alpha_bar[t].item()
    expected = (abar * v_0 / (abar * v_0 + 1 - abar)) ** 0.5
    x_t = q_sample(images, t, schedule, eps)
    pair = torch.stack([x_t.flatten(), images.flatten()])
    measured = torch.corrcoef(pair)[0, 1].item()
    assert abs(measured - expected) < 4 / images.numel() ** 0.5
    rows.append([t, f"{measured:.2f}", f"{expected:.2f}"])
Table(["level t", "correlation with x₀", "expected"], rows)

# %% [markdown]
# The jump must give what the walk gives: not the same numbers, since it uses other noise, but the same distribution. Take one pixel
# value, $x_0 = 0.8$, send 100,000 copies down both roads to $t = 300$, and compare mean, variance and the whole distribution (the two-sample
# Kolmogorov–Smirnov distance; it exceeds $1.95\sqrt{2/n}$ once in a thousand times if the two are the same).

# %%
n, t, x_0 = 100_000, 300, 0.8
start = torch.full((n,), x_0, dtype=torch.float64)

clock = time.perf_counter()
walk = start
for i in range(1, t + 1):
    walk = q_step(walk, i, schedule, draw(walk, generator))
walk_seconds = time.perf_counter() - clock

jump_seconds = []
for _ in range(5):
    clock = time.perf_counter()
    jump = q_sample(start, t, schedule, draw(start, generator))
    jump_seconds.append(time.perf_counter() - clock)
assert walk_seconds > 50 * min(jump_seconds)  # 300 steps against one

# %%
mean, std = schedule.alpha_bar[t].sqrt() * x_0, (1 - schedule.alpha_bar[t]).sqrt()
# checks eq:closed-form
for road in (walk, jump):
    assert abs(road.mean() - mean) < 4 * std / n**0.5
    assert abs(road.var() - std**2) < 4 * std**2 * (2 / n) ** 0.5

values = torch.cat([walk, jump]).sort().values
walked = torch.searchsorted(walk.sort().values, values)
jumped = torch.searchsorted(jump.sort().values, values)
gap = (walked - jumped).abs().max() / n
assert gap < 1.95 * (2 / n) ** 0.5

# %% [markdown]
# Both roads agree: means, variances and distributions, within the limits. And the walk takes more than 50 times as long, as the timing cell asserts. On pictures it is {numref}`fig-walk-jump`.
#
# The line can be solved for either of its ingredients. Given $x_t$ and the noise, the data follows:
#
# $$
# x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\; \epsilon}{\sqrt{\bar\alpha_t}} .
# $$ (eq:unmix)
#
# A network that predicts $\epsilon$ therefore predicts $x_0$; this is equation 9 of {cite:t}`song2021ddim` and {py:func}`~ddim_edu.forward.unmix_x0`. (What happens with another factor on $\epsilon$ is on the page {doc}`/sources`.)

# %%
x_0, t = images.double(), 500
noise = torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
x_t = q_sample(x_0, t, schedule, noise)
abar_t = schedule.alpha_bar[t]
by_hand = (x_t - (1 - abar_t).sqrt() * noise) / abar_t.sqrt()

# checks eq:unmix
assert torch.allclose(by_hand, x_0, atol=1e-12)
assert torch.allclose(unmix_x0(x_t, noise, abar_t), by_hand, atol=1e-12)

# %% [markdown]
# ## Variance 1 is kept, and other variances are not
#
# Take variances in {eq}`eq:closed-form`. Data and noise are independent, so for each coordinate
#
# $$
# \operatorname{Var}(x_t) = \bar\alpha_t \operatorname{Var}(x_0) + (1 - \bar\alpha_t) .
# $$ (eq:variance-of-xt)
#
# This is 1 for all $t$ **if and only if** $\operatorname{Var}(x_0) = 1$. Data in $[-1, 1]$ has
# $\operatorname{Var}(x_0) \le E[x_0^2] \le 1$, with equality only if every value is $-1$ or $1$ and both are equally likely; real data stays below. Measure the faces over all their numbers
# together, as they are and scaled to variance 1 and 2. (Pick a face and a number of it at random: that is one random variable, its noise is independent of it, and the same formula holds.)

# %%
measured, expected, some = {}, {}, range(0, 1001, 50)
for name, scale in (("faces", 1.0), ("scaled to 1", v_0**-0.5), ("scaled to 2", (2 / v_0) ** 0.5)):
    measured[name], expected[name] = [], []
    for t in some:
        noise = torch.randn(images.shape, generator=generator)
        x_t = q_sample(scale * images, t, schedule, noise) if t else scale * images
        measured[name].append(x_t.double().var().item())
        abar = schedule.alpha_bar[t].item()
        expected[name].append(abar * scale**2 * v_0 + 1 - abar)

# %%
# checks eq:variance-of-xt
for name in measured:  # four standard errors of 786,432 numbers, below 0.002 each
    assert max(abs(m - e) for m, e in zip(measured[name], expected[name])) < 0.008
near = int((schedule.alpha_bar * (1 - v_0) < 0.05).nonzero()[0])
assert near == 504 and round(v_0, 2) == 0.34

# %% mystnb={"figure": {"caption": "Variance of noisy faces, whose numbers have variance 0.34, and of the same faces scaled to variance 1 and 2. Dots: measured; lines: {eq}`eq:variance-of-xt`. Only variance 1 stays; the others are pulled to it.", "name": "fig-variance-faces"}, "image": {"alt": "Variance against level t, three smooth lines with dots on them. One falls from 2, one stays at 1, one rises from 0.34; from about t = 600 on all three lie at 1."}} tags=["hide-input"]
fig, ax = figure(height=3.1)
for name in ("scaled to 2", "scaled to 1", "faces"):
    (line,) = ax.plot(some, expected[name], linewidth=1.2)
    ax.plot(some, measured[name], "o", color=line.get_color(), label=name)
ax.set(xlabel="level t", ylabel="variance", ylim=(0, 2.1))
ax.legend();

# %% [markdown]
# So the variance of the faces approaches 1 but never has it: it stays more than 5% below 1 up to level 503.
#
# ## What $x_T$ is
#
# How small is $\bar\alpha_T$? From $1 - \beta \le e^{-\beta}$ we get a bound that needs no product:
#
# $$
# \bar\alpha_T = \prod_{t=1}^{T} (1 - \beta_t) \;\le\; \exp\Bigl(-\sum_{t=1}^{T} \beta_t\Bigr) .
# $$ (eq:abar-bound)
#
# For the linear schedule the sum is $10.05$, the bound $4.3 \cdot 10^{-5}$ and the product $4.0 \cdot 10^{-5}$. It is not zero, and cannot be while every $\beta_t$ is
# below 1. So $q(x_T \mid x_0) = \mathcal N(\sqrt{\bar\alpha_T}\, x_0, (1 - \bar\alpha_T) I)$ is **not** the standard normal. It is only close to it, and we can say how close.
# We use the **KL divergence** of $q(x_T \mid x_0)$ from $\mathcal N(0, I)$ ({ref}`chapter 1 <ch-forward>`): the mean, over draws from the first, of the difference of the two log densities. Its unit is the **nat**, which goes with the natural logarithm. For $X \sim \mathcal N(m, v)$ it is
#
# $$
# \begin{aligned}
# E\bigl[-\tfrac12 \ln v - \tfrac{(X-m)^2}{2v} &+ \tfrac{X^2}{2}\bigr] \\
#     &= \tfrac12(v + m^2 - 1 - \ln v) .
# \end{aligned}
# $$
#
# The coordinates are independent, so their divergences add; each contributes
#
# $$
# \tfrac12 \bigl( (1 - \bar\alpha_T) + \bar\alpha_T\, x_0^2 - 1 - \ln(1 - \bar\alpha_T) \bigr) \approx \tfrac12\, \bar\alpha_T\, x_0^2 ,
# $$ (eq:prior-kl)
#
# since $-\ln(1 - u) = u + u^2/2 + \dots$, so that what is left out is about $\bar\alpha_T^2/4$.
#
# A more tangible number beside it: show someone who knows the very picture $x_0$ either its $x_T$ or pure noise, each in half of the cases. How often does the best possible
# test tell them apart? The two differ by a shift of the mean, of length $\sqrt{\bar\alpha_T}\, \lVert x_0 \rVert$ (their spreads differ by 0.002%, which we neglect). Only the coordinate
# along the shift tells them apart, and cutting it halfway is right with probability $\Phi(\text{shift}/2)$, where $\Phi$ is the standard normal's distribution function.

# %%
x_0, abar_T = images.double(), schedule.alpha_bar[-1]
bound = torch.exp(-schedule.beta.sum())
# checks eq:abar-bound, eq:prior-kl
assert abar_T < bound and abs(schedule.beta.sum() - 10.05) < 1e-9

formula = 0.5 * (-abar_T + abar_T * x_0**2 - torch.log1p(-abar_T))
noisy = torch.distributions.Normal(abar_T.sqrt() * x_0, (1 - abar_T).sqrt())
pure = torch.distributions.Normal(0.0, 1.0)
assert torch.allclose(formula, torch.distributions.kl_divergence(noisy, pure), atol=1e-12)

# %% tags=["hide-input"]
rows, nats, right = [], [], []
for side in (8, 16, 32, 64):  # means over 64 faces
    small = F.avg_pool2d(x_0, 64 // side)
    formula = 0.5 * (-abar_T + abar_T * small**2 - torch.log1p(-abar_T))
    nats.append(formula.flatten(1).sum(1).mean().item())
    shift = abar_T.sqrt() * small.flatten(1).norm(dim=1) / (1 - abar_T).sqrt()
    right.append(torch.special.ndtr(shift / 2).mean().item())
    rows.append([f"{side} × {side}", f"{3 * side**2:,}", f"{nats[-1]:.2g}", f"{right[-1]:.1%}"])
assert 0.119 < nats[-1] < 0.12 and 0.0014 < nats[0] < 0.0016
assert 0.59 < right[-1] < 0.60 and 0.51 < right[0] < 0.512
Table(["faces of", "numbers", "divergence in nats", "best test is right"], rows)

# %% [markdown]
# Faces shrunk to 8 × 8 are practically lost in $x_T$. But the divergence grows with the number of pixels, and at 64 × 64 six answers of ten are right, where guessing gives five. In a 256 × 256 colour picture the mean of all 196,608 numbers has a noise
# of standard deviation $1/\sqrt{196608} = 0.0023$, and a mean brightness of 1 shifts it by $\sqrt{\bar\alpha_T} = 0.0064$, nearly three times as much: this $x_T$ still tells how bright the picture was. The schedule of latent diffusion models leaves a factor on $x_0$ more than ten times
# DDPM's. (Their $x_0$ is not a picture but a smaller array that stands for one, so the noise of its mean is larger; the shift still exceeds it.) Models trained on it have trouble with very dark or very bright pictures {cite}`lin2024flawed`.

# %%
ddpm = abar_T.sqrt().item()
latent = NoiseSchedule.scaled_linear().alpha_bar[-1].sqrt().item()
noise_of_mean = 196608**-0.5
assert ddpm > 2 * noise_of_mean and latent > 10 * ddpm
rows = ["DDPM", f"{ddpm:.4f}"], ["latent diffusion", f"{latent:.4f}"]
Table(["schedule", "shift of the mean of x_T by brightness 1"], rows)

# %% [markdown]
# ## Signal to noise
#
# For data of variance 1, the data part of $x_t$ has variance $\bar\alpha_t$ and the noise part $1 - \bar\alpha_t$. Their quotient gives one number for each level:
#
# $$
# \operatorname{SNR}(t) = \frac{\bar\alpha_t}{1 - \bar\alpha_t}, \qquad \operatorname{SNR}(0) = \infty .
# $$ (eq:snr)
#
# It falls strictly, so it names levels as well as $t$ does, and it does so for *any* schedule: two schedules with the same SNR at their levels make equally
# noisy pictures. The square root of its inverse, $\sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}$, is `schedule.nsr`; in {ref}`chapter 7 <ch-ode>` it will be the clock of a
# differential equation.

# %% mystnb={"figure": {"caption": "Signal-to-noise ratio of two schedules. Below the dotted line the noise has more variance than data of variance 1: from level 260 on with the linear schedule, from 497 on with the cosine.", "name": "fig-snr"}, "image": {"alt": "Two falling curves of the signal-to-noise ratio on a logarithmic axis against t. The linear schedule crosses 1 at t = 260 and ends near 0.00004; the cosine schedule stays higher until the last few levels, crosses 1 at t = 497, and plunges below 0.00000001 at the end."}} tags=["hide-input"]
fig, ax = figure(height=3.1)
for name, made in (("linear", schedule), ("cosine", NoiseSchedule.cosine())):
    ax.plot(range(1, 1001), made.snr[1:], label=name)
ax.axhline(1, color="gray", linestyle=":")
ax.set(xlabel="level t", ylabel="SNR", yscale="log")
ax.legend();

# %%
for first, made in ((260, schedule), (497, NoiseSchedule.cosine())):
    assert torch.allclose(made.snr[1:], made.nsr[1:] ** -2, rtol=1e-9)
    assert (made.snr.diff() < 0).all()
    assert int((made.snr < 1).nonzero()[0]) == first

# %% [markdown]
# ### What the SNR says about the best guess
#
# The SNR also says how well $x_0$ can be guessed. Let the data be standard normal, $x_0 \sim \mathcal N(0, 1)$, and ask for the best guess of $x_0$ from $x_t$ in mean square. Let
# $w = \sqrt{1 - \bar\alpha_t}\, x_0 - \sqrt{\bar\alpha_t}\, \epsilon$. The pair $(x_t, w)$ is the pair $(x_0, \epsilon)$ rotated and mirrored, so $x_t$ and $w$ are independent standard normals too, and
# $x_0 = \sqrt{\bar\alpha_t}\, x_t + \sqrt{1 - \bar\alpha_t}\, w$. For any guess $g$ made from $x_t$ the
# cross term vanishes, because $w$ is independent of $x_t$ and has mean 0: $E[(x_0 - g)^2] = E[(\sqrt{\bar\alpha_t}\, x_t - g)^2] + (1 - \bar\alpha_t)$. So the best guess is
# $E[x_0 \mid x_t] = \sqrt{\bar\alpha_t}\, x_t$, and its error is
#
# $$
# E\bigl[(x_0 - E[x_0 \mid x_t])^2\bigr] = 1 - \bar\alpha_t = \frac{1}{1 + \operatorname{SNR}(t)} .
# $$ (eq:best-error)
#
# For this data no network, however large, does better. For other data of mean 0 and variance 1 a network can. The guess $\sqrt{\bar\alpha_t}\, x_t$ is off by
# $(1 - \bar\alpha_t)\, x_0 - \sqrt{\bar\alpha_t (1 - \bar\alpha_t)}\; \epsilon$, so its error is still $(1 - \bar\alpha_t)^2 + \bar\alpha_t (1 - \bar\alpha_t) = 1 - \bar\alpha_t$. The best guess is at least as good,
# and structure in the data can make it better. Compare with two narrow peaks. The package has the best noise predictor in closed form for both,
# {py:class}`~ddim_edu.exact.Gaussian` and {py:class}`~ddim_edu.exact.GaussianMixture`, and {eq}`eq:unmix` turns its prediction into one of $x_0$.

# %% tags=["hide-input"]
gaussian = Gaussian(torch.zeros(1), 1.0, schedule)
peaks = GaussianMixture([0.5, 0.5], [[-0.98], [0.98]], 1 - 0.98**2, schedule)
n, rows = 100_000, []
for t in (50, 150, 260):
    best = 1 / (1 + schedule.snr[t].item())
    rows.append([t, f"{best:.3f}"])
    for name, source in (("Gaussian", gaussian), ("two peaks", peaks)):
        x_0 = source.sample(n, generator)
        x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
        x0_hat = unmix_x0(x_t, source.eps(x_t, t), schedule.alpha_bar[t])
        squared = (x_0 - x0_hat) ** 2
        margin = 4 * squared.std() / n**0.5
        rows[-1].append(f"{squared.mean():.3f}")
        # checks eq:best-error
        assert squared.mean() + margin < best or name == "Gaussian"
        assert abs(squared.mean() - best) < margin or name == "two peaks"
Table(["level t", "1/(1 + SNR)", "error, Gaussian", "error, two peaks"], rows)

# %% [markdown]
# The Gaussian's error is $1/(1 + \operatorname{SNR})$, within the sampling error. With two peaks the guess is better: about two fifths of the error are gone at levels 50 and 150, but less than
# a tenth at level 260, where the noise has blurred the peaks into each other.
#
# ## What breaks: the same noise twice
#
# The proof used that $z_t$ is *fresh*. A plausible optimisation, or a generator that is re-seeded inside the loop, draws one $z$ and uses it at every
# step. Every single step still looks right. But now all the noise terms are multiples of the same $z$, the covariance in {eq}`eq:variance-sum` is as large
# as it can be, and it is the weights themselves that add up, not their squares.

# %%
n = 50_000
z = torch.randn(n, generator=generator, dtype=torch.float64)
x = torch.zeros(n, dtype=torch.float64)
for t in range(1, schedule.T + 1):
    x = q_step(x, t, schedule, z)  # the same z again

predicted = weights[1:].sum() ** 2
print(f"standard deviation of x_T: {x.std():.1f} instead of 1")
assert abs(x.var() / predicted - 1) < 6 * (2 / n) ** 0.5 and x.std() > 10

# %% [markdown]
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: from any level to any other
# :label: ex-variance-s-to-t
# *Derive · two stars · 15 minutes*
#
# For $0 \le s < t$, show that
#
# $$
# \begin{aligned}
# q(x_t \mid x_s) = \mathcal N\bigl(&\sqrt{\bar\alpha_t/\bar\alpha_s}\; x_s, \\
#     &(1 - \bar\alpha_t/\bar\alpha_s)\, I\bigr) .
# \end{aligned}
# $$
#
# Then check, with the weights of a walk from
# $s = 200$ to $t = 500$, that the noise has that variance. Which function of the package gives its square root?
# Hand in a function `variance(abar_t, abar_s)` that returns the variance of $x_t$ given $x_s$: `check("ex-variance-s-to-t", variance)`.
# ```
#
# ````{solution} ex-variance-s-to-t
# :class: dropdown
# A walk from $s$ to $t$ is a walk that starts at $x_s$, with the schedule $\beta_{s+1}, \dots, \beta_t$ and draws $z_{s+1}, \dots, z_t$ that are independent of $x_s$, so {prf:ref}`thm-closed-form` holds with the product
# $\alpha_{s+1} \cdots \alpha_t = \bar\alpha_t/\bar\alpha_s$ in place of $\bar\alpha_t$. The square root is DDPM's $\hat\sigma$, `schedule.sigma_hat(t, s)`.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def variance(abar_t, abar_s):
#     return 1 - abar_t / abar_s
#
# schedule, s, t = NoiseSchedule.linear(), 200, 500
# weights = torch.zeros(t + 1, dtype=torch.float64)
# for i in range(s + 1, t + 1):
#     weights *= schedule.alpha_step[i].sqrt()
#     weights[i] = schedule.beta[i].sqrt()
# walked = (weights**2).sum()
# assert torch.isclose(walked, variance(schedule.alpha_bar[t], schedule.alpha_bar[s]), rtol=1e-10)
# assert torch.isclose(walked.sqrt(), schedule.sigma_hat(t, s), rtol=1e-10)
# assert check("ex-variance-s-to-t", variance)
# ```
# ````
#
# ```{exercise} Derive: how alike are two levels?
# :label: ex-variance-covariance
# *Derive · two stars · 20 minutes*
#
# Given $x_0$, show that $\operatorname{Cov}(x_s, x_t) = \sqrt{\bar\alpha_t/\bar\alpha_s}\,(1 - \bar\alpha_s)$ for $1 \le s < t$. What is the correlation of the noise in $x_{200}$ with the noise in
# $x_{201}$? And in $x_{500}$? Use it to explain the remark after {prf:ref}`thm-closed-form`.
# Hand in a function `correlation(abar_t, abar_s)`: `check("ex-variance-covariance", correlation)`.
# ```
#
# ````{solution} ex-variance-covariance
# :class: dropdown
# By the previous exercise $x_t = \sqrt{\bar\alpha_t/\bar\alpha_s}\, x_s$ plus noise that is independent of $x_s$, so the covariance is $\sqrt{\bar\alpha_t/\bar\alpha_s} \operatorname{Var}(x_s \mid x_0)$.
# Dividing by the two standard deviations gives $\sqrt{\operatorname{SNR}(t)/\operatorname{SNR}(s)}$. Neighbours share nearly all of their noise:
# 0.994 between levels 200 and 201, but 0.21 between 200 and 500. It lies strictly between 0 and 1, so the two noises are neither independent nor equal.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample, q_step
# from ddim_edu.schedule import NoiseSchedule
#
# def correlation(abar_t, abar_s):
#     return (abar_t / (1 - abar_t) * (1 - abar_s) / abar_s) ** 0.5
#
# schedule = NoiseSchedule.linear()
# abar = schedule.alpha_bar
# assert abs(correlation(abar[201], abar[200]) - 0.994) < 1e-3
# assert abs(correlation(abar[500], abar[200]) - 0.210) < 1e-3
#
# g, n = torch.Generator().manual_seed(0), 20_000  # and by walking
# normal = lambda: torch.randn(n, generator=g, dtype=torch.float64)
# x_s = q_sample(torch.zeros(n, dtype=torch.float64), 200, schedule, normal())
# x_t = x_s
# for t in range(201, 501):
#     x_t = q_step(x_t, t, schedule, normal())
# walked = torch.corrcoef(torch.stack([x_s, x_t]))[0, 1]
# assert abs(walked - correlation(abar[500], abar[200])) < 4 / n**0.5
# assert check("ex-variance-covariance", correlation)
# ```
# ````
#
# ```{exercise} Code: noise to a wanted SNR
# :label: ex-variance-wanted-snr
# *Code · one star · 10 minutes*
#
# Write a function that returns the level of a schedule whose SNR is nearest to a wanted one on a logarithmic scale. Which level of the cosine schedule is as
# noisy as level 300 of the linear one? Check that the two have nearly the same $\bar\alpha$.
# Hand in the function, `level_of(schedule, snr)`: `check("ex-variance-wanted-snr", level_of)`.
# ```
#
# ````{solution} ex-variance-wanted-snr
# :class: dropdown
# Level 563. SNR and $\bar\alpha$ determine each other, so equal SNR means equally noisy pictures.
#
# ```python
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def level_of(schedule, snr):
#     return 1 + int((schedule.snr[1:].log() - snr.log()).abs().argmin())
#
# linear, cosine = NoiseSchedule.linear(), NoiseSchedule.cosine()
# t = level_of(cosine, linear.snr[300])
# assert t == 563
# assert abs(cosine.alpha_bar[t] - linear.alpha_bar[300]) < 1e-3
# assert check("ex-variance-wanted-snr", level_of)
# ```
# ````
#
# ```{exercise} Break: noise of the wrong shape
# :label: ex-variance-shape
# *Break · one star · 10 minutes*
#
# Draw the noise for a batch of images with shape $(B, 1, 1, 1)$ instead of $(B, C, H, W)$. Broadcasting accepts it without a word. What is the variance of a pixel
# of $x_T$ (level 1000 of the linear schedule) across many images, and what is it across the pixels of one image? Measure both with the 1,597 digits of 8 × 8 that scikit-learn brings along, `digits()` of {py:mod}`ddim_edu.data.named` (the second as the mean over the images), and hand them in: `check("ex-variance-shape", (across, within))`.
# ```
#
# ````{solution} ex-variance-shape
# :class: dropdown
# Each pixel by itself is right: variance 1 across images. Within an image all pixels got the same number, so the noise is a change of
# brightness, and the variance across pixels is only what is left of the picture, about $\bar\alpha_T$ times its own. Moments of single coordinates do not see
# that coordinates have stopped being independent.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample
# from ddim_edu.data.named import digits
# from ddim_edu.schedule import NoiseSchedule
#
# data, schedule = digits(), NoiseSchedule.linear()
# images = data.floats(data.train)
# g = torch.Generator().manual_seed(0)
# eps = torch.randn(len(images), 1, 1, 1, generator=g)
# x_T = q_sample(images, 1000, schedule, eps)
# across = x_T[:, 0, 4, 4].var()
# assert abs(across - 1) < 4 * (2 / len(images)) ** 0.5
# within, own = (x.double().flatten(1).var(1) for x in (x_T, images))
# assert torch.allclose(within, schedule.alpha_bar[-1] * own, rtol=1e-3)
# assert check("ex-variance-shape", (across, within.mean()))
# ```
# ````

#
# ## Summary
#
# 1. Two Gaussian steps make one: the variances $\alpha_2(1 - \alpha_1)$ and $1 - \alpha_2$ add up to $1 - \alpha_1\alpha_2$, because the draws are independent.
# 2. By induction $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$: training jumps to any level in one line.
# 3. The same line solved for $x_0$ turns a prediction of the noise into a prediction of the data.
# 4. Variance 1 is kept if the data has it. $x_T$ is not pure noise: it keeps next to nothing of a face of 8 × 8, and at most 0.12 nats of one of 64 × 64.
# 5. $\operatorname{SNR} = \bar\alpha_t/(1 - \bar\alpha_t)$ names a level for any schedule. For Gaussian data of variance 1 the best possible error is $1/(1 + \operatorname{SNR})$;
#    structured data can be guessed better.
#
# **Next.** {ref}`Chapter 3 <ch-reverse>` turns around and learns the way back. In the package, read {py:mod}`ddim_edu.forward` whole: it is short, and the
# posterior, the sampler and the losses are built from it.
