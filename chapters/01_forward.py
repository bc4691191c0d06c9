# %% [markdown]
# (ch-forward)=
# # The forward process
#
# **Question.** Everyone can ruin a photograph with noise. Why do diffusion models ruin it in a thousand small steps, when one large
# step would do?

# %% tags=["hide-input"]
import numpy as np
import torch
from sklearn.datasets import load_sample_image

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import q_step
from ddim_edu.plotting import COLOURS, Table, figure, image_row
from ddim_edu.randomness import draw
from ddim_edu.sampler import sample
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Left: data on a line, with two peaks, becomes noise in a thousand small steps (grey: its density; coloured: six walks). Middle: where a walk that is now at the dot was one small step before; a narrow bell describes it. Right: where a point at the same height was before one giant step that took it from data to noise; it was on either of two hills, and no bell (dashed) describes that.", "name": "fig-why-small"}, "image": {"alt": "Left, a grey density with two narrow bands at level 0 that merge into one broad band at level 1000, with six jagged walks over it and a black dot at level 200 between the bands. Middle, one narrow bell, solid and dashed line alike. Right, a solid line with two separate hills and a dashed wide bell that misses both."}} tags=["hide-input"]
linear, walkers = NoiseSchedule.linear(), torch.Generator().manual_seed(2)
hills = GaussianMixture([0.35, 0.65], [[-1.2], [0.65]], [0.02, 0.05], linear)
line = torch.linspace(-3, 3, 1201, dtype=torch.float64)
flow = torch.stack([hills.log_prob(line[:, None], t).exp() for t in range(0, 1001, 5)])
walks = [hills.sample(6, walkers)[:, 0]]
for t in range(1, 1001):
    walks.append(q_step(walks[-1], t, linear, draw(walks[-1], walkers)))
fig, (left, *pair) = figure(3, height=2.9)
left.imshow(flow.T**0.5, origin="lower", extent=(0, 1000, -3, 3), aspect="auto", cmap="Greys", vmax=1.1)
left.plot(torch.stack(walks), linewidth=0.6)
left.plot(200, -0.1, "o", color="black", markersize=7, markeredgecolor="white")
left.grid(False)
left.set(title="1,000 small steps", xlabel="level t", ylabel="x", xlim=(0, 1000), ylim=(-2.6, 2.6))
for ax, title, s, t in zip(pair, ("one small step before", "one giant step before"), (199, 0), (200, 1000)):
    kept = linear.alpha_bar[t] / linear.alpha_bar[s]
    bell = -((-0.1 - kept.sqrt() * line) ** 2) / (2 * (1 - kept))
    behind = (bell + hills.log_prob(line[:, None], s)).softmax(0) / (line[1] - line[0])
    mean = torch.trapezoid(line * behind, line)
    variance = torch.trapezoid((line - mean) ** 2 * behind, line)
    ax.plot(line, behind, label="exact")
    best = torch.distributions.Normal(mean, variance.sqrt()).log_prob(line).exp()
    ax.plot(line, best, "--", label="a bell")
    ax.set(title=title, xlabel="x", yticks=[], xlim=(-0.5, 0.3) if s else (-2.6, 2.6))
pair[0].legend(loc="upper left", fontsize=8);

# %% [markdown]
# A diffusion model learns to take the noise out again, and so to make new photographs out of noise alone. The small steps are for this way back. Where a walk was one small step ago is described by a narrow bell, and a bell is two numbers: a mean, which can be learnt, and a width, which is known. Where it was before one giant step is described by the data itself: here by two hills, for photographs by something that nobody can write down.
#
# **Try it.** Seven clusters in the plane, at all levels. Press play, then drag the level back. Colours tell where a point began; eight walks leave the dotted circle.
#
# <div class="plane" data-plane="forward">
#
# {doc}`/playground`
#
# </div>
#
# The answer decides the shape of everything that follows: a network will learn to walk this path backwards, so the path must be one
# that can be walked backwards. (A **network** is a function with many adjustable numbers; **training** adjusts them until a measure of
# its error, the **loss**, is small. A **sampler** is the procedure that walks back, from noise to new data.) At the end of this chapter you will have checked, by running it, that
#
# - one step keeps the variance at 1 exactly when the squares of its two coefficients add up to 1;
# - after $T$ steps so little of the data is left that our measurements cannot find it ({ref}`chapter 2 <ch-variance>` says exactly how little);
# - undoing one *small* step is a matter of a mean and a standard deviation, and undoing one *large* step is not;
# - a schedule copied without its number of steps fails without an error message.
#
# The chapter opens two files of the package: {py:mod}`ddim_edu.schedule` and {py:mod}`ddim_edu.forward`. All its random numbers come from generators
# with a fixed seed, so you will get the numbers that are printed here.

# %%
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## One step
#
# Write $x_0$ for a data point: a photograph, a sound, a point in the plane, always as a vector of real numbers. The process makes
# $x_1$ from $x_0$, then $x_2$ from $x_1$, and so on up to $x_T$. The index $t$ is called the **level**: 0 is data, $T$ is noise.
#
# The obvious step adds noise: $x_t = x_{t-1} + b\, z$ with $z \sim \mathcal N(0, I)$ (independent standard normal numbers, one for each coordinate), fresh at every step and independent
# of everything before. It has an inconvenience. Variances of independent variables add, so after $T$ steps the variance has grown by $T b^2$, and a
# network would have to work on numbers of ever changing size. (One can rescale before each call of the network instead; {ref}`chapter 7 <ch-ode>`
# returns to this.) So we shrink before we add:
#
# $$
# x_t = a\, x_{t-1} + b\, z .
# $$
#
# Suppose each coordinate of $x_{t-1}$ has variance 1. Then the variance of $x_t$ is $a^2 + b^2$, and it stays 1 exactly if
# $a^2 + b^2 = 1$. One number fixes both coefficients. Diffusion models name $b^2$: it is $\beta_t$, the **share of the variance that step
# $t$ replaces by noise**, and it lies strictly between 0 and 1.
#
# ```{prf:definition} Forward step
# :label: def-forward-step
# For $t = 1, \dots, T$, with $z_t \sim \mathcal N(0, I)$ independent of each other and of $x_0$,
#
# $$
# \begin{gathered}
# x_t = \sqrt{1 - \beta_t}\; x_{t-1} + \sqrt{\beta_t}\; z_t, \quad\text{that is,} \\
# q(x_t \mid x_{t-1}) = \mathcal N\bigl(\sqrt{1 - \beta_t}\; x_{t-1},\; \beta_t I\bigr) .
# \end{gathered}
# $$ (eq:forward-step)
# ```
#
# This is equation 2 of {cite:t}`ho2020ddpm`, whose model is called **DDPM** (denoising diffusion probabilistic model). The letter $q$ is used for every distribution of this process. Since $x_t$ needs only
# $x_{t-1}$ and fresh noise, and not how $x_{t-1}$ came about, the sequence is a **Markov chain**. ({ref}`Chapter 4 <ch-non-markov>` will give that up, and
# there DDIM begins, the denoising diffusion implicit models of this book's title.)
#
# By hand, the step is one line; the package's {py:func}`~ddim_edu.forward.q_step` must agree with it.

# %%
schedule = NoiseSchedule.linear()  # DDPM's: T = 1000 levels
x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
z = torch.randn(3, 2, generator=generator, dtype=torch.float64)

t = 700
beta_t = schedule.beta[t]
by_hand = (1 - beta_t).sqrt() * x + beta_t.sqrt() * z

# checks eq:forward-step
assert torch.allclose(by_hand, q_step(x, t, schedule, z), rtol=1e-12)

# %% [markdown]
# What if the variance of $x_{t-1}$ is some other $v$? Then $x_t$ has variance $(1 - \beta_t)\, v + \beta_t$, which we can write
#
# $$
# \operatorname{Var} x_t - 1 = (1 - \beta_t)\,(v - 1) .
# $$ (eq:variance-pull)
#
# Each step shrinks the distance from 1 by the factor $1 - \beta_t$: the chain not only keeps variance 1, it **pulls** every other variance
# towards it. Start three clouds, one far too wide, one just right and one far too narrow, and follow them. (The sample variance of $n$
# Gaussian numbers with variance $v$ fluctuates by about $v\sqrt{2/n}$. Such a typical fluctuation is called the **standard error**, and the
# assertions of this book allow four to six of them.)

# %%
start = torch.tensor([9.0, 1.0, 0.04], dtype=torch.float64)  # three variances
n = 20_000
x = start.sqrt() * torch.randn(n, 3, generator=generator, dtype=torch.float64)
expected, variances = start.clone(), [x.var(0)]
for t in range(1, schedule.T + 1):
    x = q_step(x, t, schedule, draw(x, generator))  # fresh noise of the shape of x
    expected = (1 - schedule.beta[t]) * expected + schedule.beta[t]
    variances.append(x.var(0))
    # checks eq:variance-pull
    six_errors = 6 * (2 / n) ** 0.5
    assert torch.allclose(variances[-1], expected, rtol=six_errors)

# %% mystnb={"figure": {"caption": "Variance of three clouds of 20,000 points along the chain. Whatever it is at t = 0, it is pulled to 1.", "name": "fig-variance-pull"}, "image": {"alt": "Line plot of variance against t on a logarithmic axis. Curves that start at 9 and at 0.04 bend towards the flat curve at 1 and have met it by t = 800."}} tags=["hide-input"]
fig, ax = figure(height=2.4)
for column, v in enumerate(start):
    ax.plot(torch.stack(variances)[:, column], label=f"start {v:g}")
ax.set(xlabel="level t", ylabel="variance of $x_t$", yscale="log")
ax.legend();

# %% [markdown]
# ## The schedule
#
# The list $\beta_1, \dots, \beta_T$ is the **noise schedule**. It is chosen, not learnt. {cite:t}`ho2020ddpm` take $T = 1000$ and let
# $\beta_t$ rise in equal steps from $10^{-4}$ to $0.02$: tiny steps where the picture is still a picture, larger ones where it is nearly
# noise. Two more names will be used on every page: for the share of the variance that one step keeps, and for the share that all steps
# up to $t$ have kept together:
#
# $$
# \alpha_t = 1 - \beta_t, \qquad \bar\alpha_t = \prod_{i=1}^{t} \alpha_i, \qquad \bar\alpha_0 = 1 .
# $$ (eq:alpha-bar)
#
# ```{warning}
# The DDIM paper {cite}`song2021ddim` writes $\alpha_t$ for what DDPM, and this book, call $\bar\alpha_t$. Mixing the two is the most
# common mistake in texts on this subject. Here a bare $\alpha$ never stands for the product, and the code has no variable called
# `alpha` at all: it says `alpha_step` and `alpha_bar`.
# ```

# %%
beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)  # from beta_1

alpha_bar = [1.0]  # index 0 is the data
for b in beta.tolist():
    alpha_bar.append(alpha_bar[-1] * (1 - b))
alpha_bar = torch.tensor(alpha_bar, dtype=torch.float64)

# checks eq:alpha-bar
assert torch.allclose(alpha_bar, schedule.alpha_bar, rtol=1e-12)
assert torch.equal(beta, schedule.beta[1:]) and schedule.beta[0] == 0
some = {t: round(alpha_bar[t].item(), 5) for t in (1, 500, 1000)}
assert some == {1: 0.9999, 500: 0.07859, 1000: 0.00004}

# %% [markdown]
# After the first step all but a ten-thousandth of the data's variance is left, after 500 steps 8%, after 1,000 steps 0.004%. Note the convention, which saves many off-by-one errors: arrays have length $T + 1$ and index 0 is the data. Level $t$ stands at index
# $t$. (Many libraries store $\beta_1$ at index 0, and their "timestep 0" is our level 1.)
#
# Why the product matters: each step multiplies the factor on $x_0$ by $\sqrt{\alpha_t}$, so after $t$ steps it is $\sqrt{\bar\alpha_t}$. For the noise,
# hold $x_0$ fixed: its variance is 0, and {eq}`eq:variance-pull` applied $t$ times gives $\operatorname{Var} x_t = 1 - \bar\alpha_t$.

# %% mystnb={"figure": {"caption": "DDPM's linear schedule. Left: the share of variance that each step replaces. Right: the factor that is left on the data, and the standard deviation of the noise, at each level; from level 260 on the noise is the larger.", "name": "fig-schedule"}, "image": {"alt": "Two line plots against t. Left: beta rises in a straight line from 0.0001 to 0.02. Right: the square root of alpha-bar falls from 1 to almost 0 while the square root of one minus alpha-bar rises from 0 to almost 1; they cross near t = 260."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.4)
left.plot(range(1, 1001), schedule.beta[1:])
left.set(xlabel="level t", ylabel=r"$\beta_t$")
right.plot(schedule.alpha_bar.sqrt(), label=r"$\sqrt{\bar\alpha_t}$, data")
noise_std = (1 - schedule.alpha_bar).sqrt()
right.plot(noise_std, label=r"$\sqrt{1-\bar\alpha_t}$, noise")
right.set(xlabel="level t")
right.legend(loc="center right", bbox_to_anchor=(1, 0.62));

# %%
crossing = int((schedule.alpha_bar < 0.5).nonzero()[0])
assert crossing == 260

# %% [markdown]
# ## A photograph along the chain
#
# A real photograph: a square of 256 × 256 pixels, of which every second row and column is kept (128 × 128), scaled to mean 0 and variance 1. (The models of this book use
# $[-1, 1]$; unit variance is used here because then {eq}`eq:variance-pull` says that the variance never moves. Variance and correlation
# run over the pixels of this one photograph.)

# %%
pixels = load_sample_image("flower.jpg")[100:356:2, 190:446:2]
photo = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double()  # (1, 3, 128, 128)
photo = (photo - photo.mean()) / photo.std()

shown, x = {0: photo}, photo
for t in range(1, schedule.T + 1):
    x = q_step(x, t, schedule, draw(x, generator))
    if t in (50, 150, 300, 500, 1000):
        shown[t] = x

# %% mystnb={"figure": {"caption": "One photograph on its way through the chain. At level 500 the eye still finds the flower, at 1000 nothing.", "name": "fig-photo-chain"}, "image": {"alt": "A row of six pictures of an orange dahlia at levels 0, 50, 150, 300, 500 and 1000: clear, a little grainy, grainy, a flower behind noise, a flower in heavy noise, and pure noise."}} tags=["hide-input"]
image_row(torch.cat(list(shown.values())) / 2, [f"t = {t}" for t in shown]);

# %% [markdown]
# How much of the photograph is left? Measure it: the correlation, over all 49,152 numbers, between $x_t$ and $x_0$. Only the factor
# on $x_0$ can produce correlation, since all noise is independent of $x_0$, and this factor is $\sqrt{\bar\alpha_t}$. With
# unit variances the correlation must then be $\sqrt{\bar\alpha_t}$ too, up to a sampling error of about $1/\sqrt{49152} = 0.0045$.

# %% tags=["hide-input"]
rows = []
for t, x in shown.items():
    measured = np.corrcoef(x.flatten(), photo.flatten())[0, 1]
    expected = schedule.alpha_bar[t].sqrt().item()
    rows.append([t, f"{measured:.3f}", f"{expected:.3f}"])
    assert abs(measured - expected) < 4 * 0.0045 and abs(x.var() - 1) < 0.03
Table(["level t", "correlation with the photograph", "expected"], rows)

# %% [markdown]
# At $t = 500$ more than a quarter of the correlation is left. At $t = 1000$ what is left is as small as the sampling error: these
# pixels cannot tell it from nothing.
#
# ## A density along the chain
#
# A picture shows one sample. To see the **distribution** move, take data on a line, drawn from a mixture of two narrow Gaussians. Noise
# turns a Gaussian into a Gaussian, so the density $q(x_t)$ is a mixture of two Gaussians at every level and can be written down; the
# package has it as {py:class}`~ddim_edu.exact.GaussianMixture`. We run the chain on samples and compare the histogram with the
# formula. (We write $q_t$ for the density $q(x_t)$.)

# %%
two_peaks = GaussianMixture(
    weights=[0.35, 0.65], means=[[-1.2], [0.65]], covs=[0.02, 0.05], schedule=schedule
)
n = 20_000
x = two_peaks.sample(n, generator)
levels, clouds = (0, 60, 200, 400, 1000), {0: x}
for t in range(1, schedule.T + 1):
    x = q_step(x, t, schedule, draw(x, generator))
    if t in levels:
        clouds[t] = x

# %% mystnb={"figure": {"caption": "A density with two peaks on its way to the standard normal. Bars: 20,000 samples sent through the chain step by step. Line: the exact density at that level. Each panel has its own vertical scale.", "name": "fig-density-chain"}, "image": {"alt": "Five histograms with an exact density line on top, at levels 0, 60, 200, 400 and 1000. Two sharp peaks widen, move together, merge at level 400 and become the bell curve at level 1000. The line follows the bars everywhere."}} tags=["hide-input"]
fig, axes = figure(5, height=1.9, sharex=True)
grid = torch.linspace(-3, 3, 301, dtype=torch.float64)
for ax, t in zip(axes, levels):
    values = clouds[t].flatten().numpy()
    ax.hist(values, bins=60, range=(-3, 3), density=True, color=COLOURS[4])
    ax.plot(grid, two_peaks.log_prob(grid[:, None], t).exp(), color=COLOURS[1])
    ax.set(title=f"t = {t}", yticks=[])

# %% [markdown]
# "The line follows the bars" can be made a number. The Kolmogorov–Smirnov distance is the largest gap between two cumulative
# distribution functions, here that of the samples and that of the formula. If the samples do come from the formula, it exceeds
# $1.95/\sqrt n$, here 0.0138, in one case out of a thousand. All five distances are below it.

# %%
fine = torch.linspace(-6, 6, 4001, dtype=torch.float64)
for t in levels:
    density = two_peaks.log_prob(fine[:, None], t).exp()
    exact_cdf = torch.cumulative_trapezoid(density, fine)
    ordered = clouds[t].flatten().sort().values
    sample_cdf = torch.searchsorted(ordered, fine[1:]) / n
    distance = (sample_cdf - exact_cdf).abs().max().item()
    assert distance < 1.95 / n**0.5

# %% [markdown]
# **Try it.** The picture below has all levels. It draws $x_t$ as the sum that it is: what is left of the data, $\sqrt{\bar\alpha_t}\; x_0$, plus noise of standard deviation
# $\sqrt{1 - \bar\alpha_t}$. Follow how one part shrinks to a spike while the other grows from one. Then find the level at which the two peaks become one, for the linear schedule and
# for the cosine (another common schedule; an exercise below writes it down). The two levels are far apart. Are the two $\bar\alpha_t$?
#
# <div class="explore" data-explore="forward-1d">
#
# On the book's web pages a picture stands here that moves with a slider for the level. {numref}`fig-density-chain` shows five of its levels.
#
# </div>
#
# ## Points in the plane: what is forgotten, and when
#
# The next data set has seven clusters on a circle. Colour each point by the cluster it came from and let the chain run.

# %%
angle = torch.arange(7, dtype=torch.float64) * 2 * torch.pi / 7
centres = 1.3 * torch.stack([angle.cos(), angle.sin()], 1)
ring = GaussianMixture(torch.ones(7), centres, 0.1**2, schedule)
n = 2_000
cluster = torch.randint(7, (n,), generator=generator)
x = centres[cluster] + 0.1 * draw(centres[cluster], generator)
levels, clouds = (0, 100, 200, 400, 1000), {0: x}
for t in range(1, schedule.T + 1):
    x = q_step(x, t, schedule, draw(x, generator))
    if t in levels:
        clouds[t] = x

# %% mystnb={"figure": {"caption": "2,000 points in seven clusters, coloured by the cluster they started in. The shape is lost first: at level 400 the cloud as a whole is round, yet its colours are not quite mixed. At the end they are.", "name": "fig-ring"}, "image": {"alt": "Five scatter plots at levels 0, 100, 200, 400 and 1000. Seven tight coloured clusters on a circle spread, overlap with their neighbours, and end as one round cloud in which the colours are mixed."}} tags=["hide-input"]
fig, axes = figure(5, height=1.75, sharex=True, sharey=True)
for ax, t in zip(axes, levels):
    ax.scatter(*clouds[t].T, c=[COLOURS[k] for k in cluster], s=1.5)
    ax.set(title=f"t = {t}", aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
    ax.set(xticks=[], yticks=[])

# %% [markdown]
# Two numbers say what the colours say. First: someone who knows the seven centres is shown $x_t$ and must name the cluster. Since all clusters are
# equally likely, round and equally wide, the best strategy is to name the nearest shrunken centre $\sqrt{\bar\alpha_t}\, m_k$; how often is that right? Second: how far is $q(x_t)$ as a
# whole from the standard normal? Its Kullback–Leibler divergence $\operatorname{KL}(q_t \,\|\, \mathcal N(0, I)) =
# E_{q_t}[\ln q_t(x) - \ln \varphi(x)]$, where $\varphi$ is the standard normal density, is 0 only if the two are the same. We estimate it by the
# mean over the points, with its standard error. (The divergence itself is never negative, but an estimate of a divergence near 0 may fall a little below.)

# %% tags=["hide-input"]
accuracy, kl, rows = {}, {}, []
for t, x in clouds.items():
    named = torch.cdist(x, schedule.alpha_bar[t].sqrt() * centres).argmin(1)
    accuracy[t] = (named == cluster).double().mean().item()
    log_normal = -0.5 * (x**2).sum(1) - np.log(2 * np.pi)
    gap = ring.log_prob(x, t) - log_normal
    kl[t], error = gap.mean().item(), (gap.std() / n**0.5).item()
    kl_text = f"{round(kl[t], 3) + 0.0:.3f} ± {error:.3f}"
    rows.append([t, f"{accuracy[t]:.0%}", kl_text])

assert accuracy[0] > 0.99 and accuracy[400] > 0.2
assert abs(accuracy[1000] - 1 / 7) < 4 * (6 / 49 / n) ** 0.5
assert kl[0] > kl[100] > kl[200] > 0.02 and abs(kl[400]) < 0.01
Table(["level t", "cluster named correctly", "KL divergence"], rows)

# %% [markdown]
# The shape of the cloud and the origin of its points are forgotten at different speeds. At $t = 400$ the divergence is below 0.01, so the cloud as a whole looks like
# $\mathcal N(0, I)$, while a point still betrays its cluster twice as often as chance would. At $t = 1000$ that is gone too: the guess is right one
# time in seven. So a sampler may start from $\mathcal N(0, I)$: it needs to know nothing about the data to begin. That is the first half of the forward process's job.
#
# ## Why small steps
#
# The second half is to be reversible. If $x_t$ is distributed as $q(x_t)$ and $x_{t-1}$ is drawn from $q(x_{t-1} \mid x_t)$, then $x_{t-1}$ is
# distributed as $q(x_{t-1})$. So a walk that undoes one step after the other, from $x_T$ to $x_0$, ends in a new draw of the data. What does
# undoing one step ask for? Bayes' rule gives the distribution:
#
# $$
# q(x_{t-1} \mid x_t) \;\propto\; q(x_t \mid x_{t-1})\; q(x_{t-1}) .
# $$ (eq:bayes-step)
#
# The first factor is the Gaussian of {eq}`eq:forward-step`. Here $x_t$ is given and it is read as a function of $x_{t-1}$: a bell around
# $x_t/\sqrt{1-\beta_t} \approx x_t$, of width about $\sqrt{\beta_t}$. The second is the density of all
# data at level $t-1$: for photographs, hopelessly complicated. But if the bell is *narrow*, only the small piece of
# $q(x_{t-1})$ under it matters, and a small piece of a smooth curve looks, in its logarithm, like a straight line. A Gaussian times the
# exponential of a straight line is a Gaussian, shifted: the straight line moves the bell but does not change its width, so the variance stays
# about $\beta_t$, which we chose. To undo a small step, **a mean and a standard deviation are enough**. If the
# bell is wide, it sees several peaks and no Gaussian will do.
#
# On the line we can compute {eq}`eq:bayes-step` on a grid, for one small step of the schedule and for one giant step from data straight to
# noise. In both cases we look at what lies behind a point $x_t = -0.1$ between the two peaks.

# %%
def reverse(s, t, x_t):
    """The density of x_s given x_t, and the Gaussian with its mean and variance."""
    kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]  # one step with beta = 1 - kept
    log_bell = -0.5 * (x_t - kept.sqrt() * fine) ** 2 / (1 - kept)
    log_product = log_bell + two_peaks.log_prob(fine[:, None], s)
    density = log_product.softmax(0) / (fine[1] - fine[0])
    mean = torch.trapezoid(fine * density, fine)
    variance = torch.trapezoid((fine - mean) ** 2 * density, fine)
    gaussian = torch.distributions.Normal(mean, variance.sqrt()).log_prob(fine).exp()
    return density, gaussian, variance


cases = {
    "one small step, 200 to 199": reverse(199, 200, -0.1),
    "one giant step, 1000 to 0": reverse(0, 1000, -0.1),
}

# %% [markdown]
# First, is the rule right? We count. Of 400,000 pairs $(x_0, x_{300})$ keep those whose $x_{300}$ is within 0.02 of $-1$: how many of them come from the
# left peak, which holds 35% of the data? The sampling error of this share is about 0.7%.

# %%
other = torch.Generator().manual_seed(1)
x_0 = two_peaks.sample(400_000, other)[:, 0]
kept = schedule.alpha_bar[300]  # one step with beta = 1 - kept, as above
x_300 = kept.sqrt() * x_0 + (1 - kept).sqrt() * draw(x_0, other)
behind = x_0[(x_300 + 1).abs() < 0.02]
counted = (behind < 0).double().mean().item()

density, _, _ = reverse(0, 300, -1.0)
by_rule = torch.trapezoid(density[fine < 0], fine[fine < 0]).item()
# checks eq:bayes-step
assert abs(counted - by_rule) < 4 * (by_rule * (1 - by_rule) / len(behind)) ** 0.5
print(f"from the left peak: {counted:.0%} by counting, {by_rule:.0%} by the rule")

# %% mystnb={"figure": {"caption": "What lies behind $x_t = -0.1$. For a small step the exact distribution and a Gaussian are one curve. For a giant step the Gaussian with the right mean and variance puts much of its mass where there is no data. The scales differ: the left plot is about 0.5 wide, the right one about 7.", "name": "fig-small-steps"}, "image": {"alt": "Two plots of densities. Left, a small step: the exact density and the dashed Gaussian coincide in one narrow bell. Right, a giant step: the exact density has two separate peaks while the dashed Gaussian is one wide bell with its middle between them."}} tags=["hide-input"]
fig, axes = figure(2, height=2.3)
for ax, (title, (density, gaussian, _)) in zip(axes, cases.items()):
    seen = gaussian > 1e-3 * gaussian.max()
    ax.plot(fine[seen], density[seen], label="exact")
    ax.plot(fine[seen], gaussian[seen], "--", label="Gaussian")
    ax.set(title=title, yticks=[])
axes[1].legend();

# %% [markdown]
# How far is the Gaussian from the exact density? We take the total variation distance, half the area between the two curves. It is the largest difference in probability that the
# two distributions give to any event; 0 is equality, 1 is no overlap. Beside it stands the variance, which for the small step should be near $\beta_{200} = 0.0041$.

# %% tags=["hide-input"]
rows = []
for title, (density, gaussian, variance) in cases.items():
    distance = 0.5 * torch.trapezoid((density - gaussian).abs(), fine).item()
    rows.append([title, f"{distance:.3f}", f"{variance:.4f}"])
    if "small" in title:
        assert distance < 0.01 and abs(variance / schedule.beta[200] - 1) < 0.01
    else:
        assert distance > 0.3
Table(["", "total variation", "variance"], rows)

# %% [markdown]
# There is the answer to the question of this chapter. One large step destroys just as well, but unless the data itself is Gaussian only small steps can be undone by something
# as simple as a Gaussian, and a Gaussian whose variance is known leaves the network one thing to learn: a mean. (And is a thousand
# network calls per picture not slow? It is. {ref}`Chapter 6 <ch-fewer-steps>` takes far fewer steps than the forward process has, and DDIM is the reason that
# this works.)
#
# ## What breaks: the same ends with fewer steps
#
# Suppose you want a fast experiment, set `T = 100`, and keep `beta_start` and `beta_end`. No error is raised, and the
# samples come out wrong, because the chain now stops long before it has forgotten the data.

# %%
short = NoiseSchedule.linear(T=100)  # still from 1e-4 to 0.02
x = photo
for t in range(1, short.T + 1):
    x = q_step(x, t, short, draw(x, generator))
left_over = np.corrcoef(x.flatten(), photo.flatten())[0, 1]
print(f"correlation of x_T with the photograph: {left_over:.2f}")
print(f"share of the photograph in its variance: {short.alpha_bar[-1]:.0%}")
assert left_over > 0.5

# %% [markdown]
# A sampler would start from $\mathcal N(0, I)$ and hand the network an $x_T$ of a kind that it never saw in training: there, 36% of the
# variance of $x_T$ was picture. What matters is the *product* of all $1 - \beta_t$. With ten times fewer steps, $\beta_t$ must be about ten
# times larger.

# %%
mended = NoiseSchedule.linear(T=100, beta_start=1e-3, beta_end=0.2)
assert mended.alpha_bar[-1] < 1e-4 < 0.3 < short.alpha_bar[-1]

# %% [markdown]
# To see the damage, let a sampler walk back ({ref}`chapter 5 <ch-sigma>` explains how, and what `eta` is) with the best guess of the noise that there is: for a mixture of Gaussians it is
# known exactly, so whatever goes wrong is the schedule's fault. One data point in ten lies in the left peak.

# %%
share = {}
for name, made in (("same ends", short), ("mended", mended)):
    rare = GaussianMixture([0.1, 0.9], [[-1.2], [0.65]], 0.03, made)
    tau = make_tau(100, 100)  # all levels
    x = sample(rare.eps, (20_000, 1), made, tau, eta=1.0, generator=generator)
    share[name] = (x < -0.3).double().mean().item()
    print(f"{name:9s}: {share[name]:.1%} of the samples in the peak of 10% of the data")
assert share["same ends"] > 0.14 and abs(share["mended"] - 0.1) < 0.02

# %% [markdown]
# The mended schedule is not perfect either: its share is about three standard errors (0.2% each) below 10%. A hundred steps are still a little coarse for
# undoing each one with a Gaussian of preset width; {ref}`chapter 6 <ch-fewer-steps>` measures this.

# %% [markdown]
# ## Exercises
#
# Solutions are folded, and the tests of this book run them. Before you unfold one, have your own answer judged: run `from ddim_edu.exercises import check`, then the call with which a
# statement ends. It prints whether the answer is right, and if it is not, in which direction to look. Functions are called with numbers of the check's own choice: 0-d tensors, or plain integers for whole numbers.
# The line below a title names kind and difficulty, one to three stars, and about how long it takes.
#
# ```{exercise} Derive: no shrinking
# :label: ex-forward-no-shrink
# *Derive · one star · 10 minutes*
#
# Leave out the shrinking: $x_t = x_{t-1} + \sqrt{\beta_t}\, z_t$. What is the variance of $x_T$ for data of variance 1 and the linear schedule?
# Compute it on paper (an arithmetic series), then check it with samples.
# Hand in the number: `check("ex-forward-no-shrink", v)`.
# ```
#
# ````{solution} ex-forward-no-shrink
# :class: dropdown
# Independent variances add: $\operatorname{Var} x_T = 1 + \sum_t \beta_t = 1 + 1000 \cdot (10^{-4} + 0.02)/2 = 11.05$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# beta = NoiseSchedule.linear().beta
# g = torch.Generator().manual_seed(0)
# n = 20_000
# x = torch.randn(n, generator=g)
# for b in beta[1:].tolist():
#     x = x + b**0.5 * torch.randn(n, generator=g)
# assert abs(1 + beta.sum() - 11.05) < 1e-9
# assert abs(x.var() - 11.05) < 4 * 11.05 * (2 / n) ** 0.5
# assert check("ex-forward-no-shrink", 1 + beta.sum())
# ```
# ````
#
# ```{exercise} Derive: how fast a wrong variance is forgotten
# :label: ex-forward-forget
# *Derive · one star · 15 minutes*
#
# Use {eq}`eq:variance-pull` to show that $\operatorname{Var} x_t - 1 = \bar\alpha_t\, (\operatorname{Var} x_0 - 1)$. From which level on is a start
# variance of 9 within 1% of 1?
# Hand in a function `variance(v_0, abar_t)` that returns $\operatorname{Var} x_t$: `check("ex-forward-forget", variance)`.
# ```
#
# ````{solution} ex-forward-forget
# :class: dropdown
# Apply {eq}`eq:variance-pull` $t$ times: the factors $1 - \beta_i$ multiply to $\bar\alpha_t$. We need $8\, \bar\alpha_t < 0.01$, so from level 813 on.
#
# ```python
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def variance(v_0, abar_t):
#     return 1 + abar_t * (v_0 - 1)
#
# alpha_bar = NoiseSchedule.linear().alpha_bar
# t = int((variance(9, alpha_bar) < 1.01).nonzero()[0])
# assert t == 813
# assert check("ex-forward-forget", variance)
# ```
# ````
#
# ```{exercise} Code: the cosine schedule
# :label: ex-forward-cosine
# *Code · two stars · 20 minutes*
#
# {cite:t}`nichol2021improved` set $\bar\alpha_t = f(t)/f(0)$ with $f(t) = \cos^2\bigl(\frac{t/T + 0.008}{1.008} \cdot \frac{\pi}{2}\bigr)$ and recover
# $\beta_t = 1 - \bar\alpha_t/\bar\alpha_{t-1}$, capped at 0.999. Write it and compare it with `NoiseSchedule.cosine`. From which level on does noise
# outweigh data of variance 1?
# Hand in a function `beta(T)` that returns $\beta_1, \dots, \beta_T$: `check("ex-forward-cosine", beta)`.
# ```
#
# ````{solution} ex-forward-cosine
# :class: dropdown
# Noise outweighs data from level 497 of 1000 on; with the linear schedule it does from 260 on. The cosine spends its levels more evenly.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def beta(T):
#     u = torch.arange(T + 1, dtype=torch.float64) / T
#     f = torch.cos((u + 0.008) / 1.008 * torch.pi / 2) ** 2
#     return (1 - f[1:] / f[:-1]).clamp(max=0.999)
#
# ours = NoiseSchedule.cosine(1000)
# assert torch.allclose(ours.beta[1:], beta(1000))
# assert int((ours.alpha_bar < 0.5).nonzero()[0]) == 497
# assert check("ex-forward-cosine", beta)
# ```
# ````
#
# ```{exercise} Break: the roots left out
# :label: ex-forward-roots
# *Break · two stars · 15 minutes*
#
# A frequent slip is $x_t = (1 - \beta_t)\, x_{t-1} + \beta_t\, z_t$, the step without its square roots. To which variance does it pull when $\beta_t$
# is a constant $\beta$? Find the fixed point, then run it with $\beta = 0.02$.
# Hand in that variance as a function `variance(beta)`: `check("ex-forward-roots", variance)`.
# ```
#
# ````{solution} ex-forward-roots
# :class: dropdown
# A fixed point satisfies $v = (1-\beta)^2 v + \beta^2$, so $v = \beta^2/(2\beta - \beta^2) = \beta/(2 - \beta)$: about 0.01 instead of 1. The data is
# forgotten, but so is its scale.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def variance(beta):
#     return beta / (2 - beta)
#
# b, n = 0.02, 20_000
# g = torch.Generator().manual_seed(0)
# x = torch.randn(n, generator=g)
# for _ in range(1000):
#     x = (1 - b) * x + b * torch.randn(n, generator=g)
# assert abs(x.var() / variance(b) - 1) < 4 * (2 / n) ** 0.5
# assert check("ex-forward-roots", variance)
# ```
# ````
#
# ```{exercise} Measure: a line-up of digits
# :label: ex-forward-lineup
# *Measure · two stars · 25 minutes*
#
# Take the pictures of {py:func}`~ddim_edu.data.named.digits` (`data = digits()`, then `data.floats(data.train)`), noise them to level $t$ of the linear schedule and ask for each which of them it was: the one whose $\sqrt{\bar\alpha_t}\, x_0$ is nearest to $x_t$. From
# about which level on is the answer right for less than half of them? Guess before you measure; the first 400 pictures, each compared with all, will do. Hand in the level: `check("ex-forward-lineup", t)`.
# ```
#
# ````{solution} ex-forward-lineup
# :class: dropdown
# From about 240 on, a little before noise outweighs data of variance 1 (level 260). What no single pixel could say, sixty-four together do: they tell 1,597 pictures apart half of the time.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample
# from ddim_edu.data.named import digits
# from ddim_edu.schedule import NoiseSchedule
#
# data, schedule = digits(), NoiseSchedule.linear()
# x = data.floats(data.train).flatten(1)
# some, g = x[:400], torch.Generator().manual_seed(0)
#
# def share(t):
#     x_t = q_sample(some, t, schedule, torch.randn(some.shape, generator=g))
#     shrunk = schedule.alpha_bar[t].sqrt().float() * x
#     return (torch.cdist(x_t, shrunk).argmin(1) == torch.arange(400)).float().mean().item()
#
# assert share(140) > 0.8 and share(300) < 0.35
# t = next(t for t in range(100, 400, 10) if share(t) < 0.5)
# assert check("ex-forward-lineup", t)
# ```
# ````

#
# ## Summary
#
# 1. One step is $x_t = \sqrt{1-\beta_t}\, x_{t-1} + \sqrt{\beta_t}\, z_t$; its two squared coefficients add up to 1, so variance 1 stays and any other is
#    pulled to 1.
# 2. The schedule is a list of $\beta_t$; what counts is the product $\bar\alpha_t$ of all $1 - \beta_i$ up to $t$.
# 3. At $t = T$ hardly anything of the data is left ($\bar\alpha_T = 4 \cdot 10^{-5}$), so sampling can start from $\mathcal N(0, I)$.
# 4. Steps are small so that undoing one needs no more than a Gaussian, of known width.
# 5. A schedule belongs to its $T$: the same ends with fewer steps leave a picture in the noise.
#
# **Next.** {ref}`ch-variance` replaces the loop over $t$ by one line. In the package, read {py:mod}`ddim_edu.schedule`, then
# {py:func}`ddim_edu.forward.q_step`.
