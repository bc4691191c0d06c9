# %% [markdown]
# (ch-non-markov)=
# # The non-Markovian family
#
# **Question.** In {ref}`chapter 3 <ch-reverse>` the sampler goes from $x_t$ to $x_{t-1}$ as the forward chain would, by the posterior $q(x_{t-1} \mid x_t, x_0)$ that Bayes' rule gives. But the loss that trained the network
# never looks at two levels at once. Does the step have to be *this* one, or can the same network take others?

# %% tags=["hide-input"]
import torch
import torch.nn.functional as F

from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.pictures import from_uint8
from ddim_edu.exact import EmpiricalData, GaussianMixture
from ddim_edu.forward import q_sample, unmix_eps
from ddim_edu.models import load
from ddim_edu.plotting import Table, figure, picture_rows
from ddim_edu.posterior import ddpm_posterior, q_sigma, q_sigma_forward
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Three ways from noise to one face. Left: the face at level 150, as each of them passes through it. Right: the dotted column of the face, 64 pixels from top to bottom, at all levels from noise (right) to data (left). (Face after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-family-streaks"}, "image": {"alt": "Three rows. Left in each, the same drawn face under noise of equal strength. Right, a wide band that begins at its left with clear stripes of hair, skin, mouth and collar and is pure noise at its right. With no fresh noise the noise makes straight streaks along the whole band, with DDPM's noise short woolly ones, with the most noise none at all: it looks like snow on a screen."}} tags=["hide-input"]
walkers = torch.Generator().manual_seed(0)
linear, face = NoiseSchedule.linear(), from_uint8(torch.from_numpy(shipped().pixels[53:54]))
ways = {
    "no fresh\nnoise": lambda t: 0.0,
    "DDPM's\nnoise": lambda t: linear.sigma(t, t - 1, 1.0),
    "the most\nnoise": lambda t: (1 - linear.alpha_bar[t - 1]).sqrt(),
}
rows, column, gap = {}, 34, 6
for name, sigma in ways.items():
    x, seen = q_sample(face, 1000, linear, draw(face, walkers)), {}
    for t in range(1000, 1, -1):
        step = q_sigma(x, face, linear.alpha_bar[t], linear.alpha_bar[t - 1], sigma(t))
        x = step.mean + step.std * draw(x, walkers)
        if t == 151:
            whole = x
        if t % 4 == 2:
            seen[t - 1] = x[..., column : column + 1]  # levels 1, 5, 9, ...
    rows[name] = torch.cat([whole, torch.ones(1, 3, 64, gap), *reversed(seen.values())], -1)
fig, axes = picture_rows(rows, width=7)
fig.set_figheight(fig.get_figheight() + 0.65)  # for the words above and below
for ax in axes:
    for place in (column, 64 + gap + 150 / 4):
        ax.axvline(place, color="black", linestyle=":", linewidth=1.2)
axes[0].set_xticks([31.5, 64 + gap + 125], ["the face at t = 150", "its dotted column at all levels"], fontsize=12)
axes[0].tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
axes[-1].set_xticks([64 + gap + t / 4 for t in range(0, 1001, 250)], range(0, 1001, 250), fontsize=12)
axes[-1].set_xlabel("level t", fontsize=12);

# %% [markdown]
# Others are possible. At any one level, say at the dotted line, the three are equally noisy: no one could say which face on the left is whose. The ways differ. Above, each pixel keeps its noise to the end, as a streak; in the middle the noise is replaced little by little; below it is drawn
# anew at every level, like snow on a screen. Training sees levels, never ways, so it cannot tell the three apart. The middle one is DDPM's chain; the one without any chance in its steps is DDIM's.
#
# At the end of this chapter you will have checked, by running it,
#
# - that some or all of the noise found in $x_t$ can be used again at level $t-1$, with every level distributed as before;
# - that the members of this family differ in one number for each step, the correlation between the noises of two neighbouring levels;
# - what the forward process of a member is, and that it is a Markov chain for DDPM's choice and for no other;
# - how much fresh noise a step may add, and what goes wrong beyond;
# - that a trained network has the same loss on all of them.
#
# The chapter opens {py:mod}`ddim_edu.posterior`.

# %%
generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()  # T = 1000 levels

# %% [markdown]
# ## What training sees
#
# Recall how $L_\text{simple}$ is computed: draw a picture $x_0$, a level $t$ and a noise $\epsilon$, form $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$, and
# compare $\epsilon_\theta(x_t, t)$ with $\epsilon$. It is an average over levels, and each of its terms needs one level only. So, whatever the data, the loss depends only on
# the distributions $q(x_t \mid x_0)$, one for each $t$. These are called the **marginals**. The distribution of all levels together, $q(x_{1:T} \mid x_0)$,
# is called the **joint**. It contains the marginals and much more: how one level depends on another.
#
# Marginals do not determine a joint. Two standard normal numbers can be equal, or independent, or anything between. A sampler walks down from $x_T$ to the data. For this it needs to know how one level depends on another,
# and training does not fix that. Which joints have the right marginals?
#
# ## Use the noise again
#
# Stand at $x_t$, suppose $x_0$ is known, and look for an $x_s$ at some lower level $1 \le s < t$. It has to be $\sqrt{\bar\alpha_s}\, x_0$ plus Gaussian noise of variance $1 - \bar\alpha_s$.
# The data part is known. And noise is at hand as well, because $x_0$ and $x_t$ together say which noise $x_t$ contains:
#
# $$
# \epsilon_t = \frac{x_t - \sqrt{\bar\alpha_t}\; x_0}{\sqrt{1 - \bar\alpha_t}} .
# $$ (eq:found-noise)
#
# It is a draw from $\mathcal N(0, I)$ as good as any. We may use it again, or draw afresh, or take a part of each. Let the fresh part have standard deviation
# $\sigma$:
#
# $$
# x_s = \sqrt{\bar\alpha_s}\; x_0 + \underbrace{\sqrt{1 - \bar\alpha_s - \sigma^2}\; \epsilon_t}_{\text{found}} + \underbrace{\sigma z}_{\text{fresh}} ,
# $$ (eq:reuse-noise)
#
# with $z \sim \mathcal N(0, I)$ independent of $x_t$ and $x_0$. Variances of independent variables add, and $(1 - \bar\alpha_s - \sigma^2) + \sigma^2 = 1 - \bar\alpha_s$
# for every $\sigma$ that the root admits, from 0 to $\sqrt{1 - \bar\alpha_s}$. That is the idea of the DDIM paper {cite}`song2021ddim` in one line. As a distribution,
#
# $$
# \begin{gathered}
# q_\sigma(x_s \mid x_t, x_0) = \mathcal N\bigl(\mu_\sigma,\; \sigma^2 I\bigr), \quad\text{where} \\
# \mu_\sigma = \sqrt{\bar\alpha_s}\, x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\; \tfrac{x_t - \sqrt{\bar\alpha_t}\, x_0}{\sqrt{1 - \bar\alpha_t}} .
# \end{gathered}
# $$ (eq:q-sigma-step)
#
# For $s = t - 1$ this is the paper's equation 7. By hand, and with {py:func}`~ddim_edu.posterior.q_sigma`:

# %%
# checks eq:found-noise, eq:reuse-noise, eq:q-sigma-step
x_0, x_t, z = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
t, s, sigma = 500, 499, 0.3
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]

found = (x_t - abar_t.sqrt() * x_0) / (1 - abar_t).sqrt()
on_found = (1 - abar_s - sigma**2).sqrt()
by_hand = abar_s.sqrt() * x_0 + on_found * found + sigma * z

assert torch.allclose(found, unmix_eps(x_t, x_0, abar_t), rtol=1e-12)
step = q_sigma(x_t, x_0, abar_t, abar_s, sigma)
assert torch.allclose(by_hand, step.mean + step.std * z, rtol=1e-12)
assert torch.isclose(on_found**2 + step.std**2, 1 - abar_s, rtol=1e-12)

# %% [markdown]
# Is the posterior {eq}`eq:posterior-given-x0` one of these $q_\sigma$? Its variance, with $1 - \bar\alpha_t/\bar\alpha_s$ for the $\beta$ of the step, is
#
# $$
# \sigma_\text{DDPM}^2 = \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t} \Bigl(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\Bigr) .
# $$ (eq:ddpm-sigma)
#
# Put it under the root of {eq}`eq:reuse-noise`. Since $1 - \bar\alpha_t - (1 - \bar\alpha_t/\bar\alpha_s) = \tfrac{\bar\alpha_t}{\bar\alpha_s}(1 - \bar\alpha_s)$, what is left for the found noise is
#
# $$
# 1 - \bar\alpha_s - \sigma_\text{DDPM}^2 = \frac{\bar\alpha_t\, (1 - \bar\alpha_s)^2}{\bar\alpha_s\, (1 - \bar\alpha_t)} ,
# $$ (eq:left-for-found)
#
# so that $x_t$ gets the factor $\sqrt{\bar\alpha_t/\bar\alpha_s}\,(1 - \bar\alpha_s)/(1 - \bar\alpha_t)$, the one it has in DDPM's posterior. The factor on $x_0$
# then agrees too, because both means, averaged over $x_t$, must give $\sqrt{\bar\alpha_s}\, x_0$. DDPM is the member with this $\sigma$. In the package it is
# `schedule.sigma(t, s, 1.0)`; {ref}`chapter 5 <ch-sigma>` is about the 1.0.

# %%
# checks eq:ddpm-sigma, eq:left-for-found
sigma = schedule.sigma(t, s, 1.0)
variance = (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
assert torch.isclose(sigma**2, variance, rtol=1e-12)
left = abar_t * (1 - abar_s) ** 2 / (abar_s * (1 - abar_t))
assert torch.isclose(1 - abar_s - sigma**2, left, rtol=1e-12)

ours = q_sigma(x_t, x_0, abar_t, abar_s, sigma)
ddpm = ddpm_posterior(x_t, x_0, abar_t, abar_s)
assert torch.allclose(ours.mean, ddpm.mean, rtol=1e-10)
assert torch.isclose(ours.std, ddpm.std, rtol=1e-10)

# %% [markdown]
# ## The joint
#
# From now on $s = t - 1$, and $\sigma_t$ is the $\sigma$ of the step from $t$ to $t - 1$. (No formula of one step uses that the two levels are neighbours; {ref}`chapter 6 <ch-fewer-steps>` builds on that.)
#
# ```{prf:definition} The family
# :label: def-family
# For a list $\sigma_2, \dots, \sigma_T$ with $0 \le \sigma_t^2 \le 1 - \bar\alpha_{t-1}$, let
#
# $$
# \begin{gathered}
# q_\sigma(x_{1:T} \mid x_0) = \\
# q_\sigma(x_T \mid x_0) \prod_{t=2}^{T} q_\sigma(x_{t-1} \mid x_t, x_0), \\
# q_\sigma(x_T \mid x_0) = \mathcal N\bigl(\sqrt{\bar\alpha_T}\; x_0,\; (1 - \bar\alpha_T)\, I\bigr),
# \end{gathered}
# $$ (eq:q-sigma-joint)
#
# with the factors {eq}`eq:q-sigma-step` (equations 6 and 7 of {cite:t}`song2021ddim`).
# ```
#
# Read it as a recipe: given $x_0$, draw $x_T$, then $x_{T-1}$, and so on down to $x_1$. This process runs **from noise to data**, with the data known from the start. It is no sampler,
# since it needs $x_0$. It describes what a sampler will imitate once a network's guess takes the place of $x_0$.
#
# The product begins at $t = 2$, because that is the step that makes $x_1$. A factor for $t = 1$ would draw $x_0$, which is given. So there is no $\sigma_1$ here.
# (A model, which has to make $x_0$ itself, needs a last step of its own; that is chapter 5's.)
#
# Three members are compared throughout the chapter: no fresh noise, DDPM's, and as much fresh noise as the level holds.

# %%
def three(schedule):
    """Three lists of sigma; index t is the step from t to t - 1."""
    t = torch.arange(2, schedule.T + 1)
    sigmas = {
        "sigma = 0": torch.zeros(len(t), dtype=torch.float64),
        "DDPM's sigma": schedule.sigma(t, t - 1, 1.0),
        "largest sigma": (1 - schedule.alpha_bar[t - 1]).sqrt(),
    }
    return {name: torch.cat([torch.zeros(2), v]) for name, v in sigmas.items()}


members = three(schedule)


# %%
def walk_down(x_0, sigma, schedule):
    """Draw x_T, ..., x_1 given x_0, and hand out each with its level."""
    x = q_sample(x_0, schedule.T, schedule, draw(x_0, generator))
    yield schedule.T, x
    for t in range(schedule.T, 1, -1):
        abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
        step = q_sigma(x, x_0, abar_t, abar_s, sigma[t])
        x = step.mean + step.std * draw(x_0, generator)
        yield t - 1, x


# %% [markdown]
# ## Every level keeps its distribution
#
# ```{prf:lemma} Same marginals
# :label: lem-same-marginals
# For every list $\sigma_2, \dots, \sigma_T$ in the range, every $x_0$ and every $t = 1, \dots, T$,
#
# $$
# q_\sigma(x_t \mid x_0) = \mathcal N\bigl(\sqrt{\bar\alpha_t}\; x_0,\; (1 - \bar\alpha_t)\, I\bigr) .
# $$ (eq:same-marginals)
# ```
#
# ```{prf:proof}
# By induction from $T$ downwards. For $t = T$ it is part of the definition. Suppose it holds for $t$. Then, given $x_0$, the found noise $\epsilon_t$ of {eq}`eq:found-noise` is
# $\mathcal N(0, I)$. The fresh $z$ of the step to $t - 1$ is $\mathcal N(0, I)$ and independent of it. By {eq}`eq:reuse-noise` each coordinate of $x_{t-1}$ is
# $\sqrt{\bar\alpha_{t-1}}\, x_0$ plus a sum of two independent Gaussians of mean 0. Such a sum is Gaussian with mean 0 (chapter 2), and its variance is
#
# $$
# (1 - \bar\alpha_{t-1} - \sigma_t^2) + \sigma_t^2 = 1 - \bar\alpha_{t-1} .
# $$
#
# The coordinates are independent of one another, since those of $\epsilon_t$ and $z$ are. That is the statement for $t - 1$.
# ```
#
# This is Lemma 1 of the paper. $\sigma_t$ is gone from the result. Three checks follow, each of a different kind.
#
# **By coefficients.** Given $x_0$, every $x_t$ is a weighted sum of $x_0$, the noise $\epsilon_T$ in $x_T$, and the fresh draws of the steps so far. Track all the weights, for 20 lists of $\sigma$
# drawn at random from the whole range, the two extremes among them.

# %%
# checks eq:same-marginals
T, abar = schedule.T, schedule.alpha_bar
share = torch.rand(20, T + 1, generator=generator, dtype=torch.float64)
share[0], share[1] = 0, 1  # sigma_t as a share of the largest one
weights = torch.zeros(20, T + 1, dtype=torch.float64)  # [:, 0] of x_0
weights[:, 0], weights[:, T] = abar[T].sqrt(), (1 - abar[T]).sqrt()

for t in range(T, 1, -1):
    on_xt = ((1 - abar[t - 1]) * (1 - share[:, t] ** 2) / (1 - abar[t])).sqrt()
    weights *= on_xt[:, None]
    weights[:, 0] += abar[t - 1].sqrt() - on_xt * abar[t].sqrt()
    weights[:, t - 1] = share[:, t] * (1 - abar[t - 1]).sqrt()  # of the fresh z
    assert torch.allclose(weights[:, 0], abar[t - 1].sqrt(), rtol=1e-9)
    variance = (weights[:, 1:] ** 2).sum(1)
    assert torch.allclose(variance, 1 - abar[t - 1], rtol=1e-9)

# %% [markdown]
# **By drawing.** Send 20,000 copies of $x_0 = 0.8$ down through all thousand levels for each of the three members, and compare mean and variance with {eq}`eq:same-marginals` at seven levels,
# allowing five standard errors. The loop also keeps what the next section needs, the sum of the squared steps of each path.

# %%
n = 20_000
x_0 = torch.full((n,), 0.8, dtype=torch.float64)
clouds, walks, squares = {}, {}, dict.fromkeys(members, 0.0)
for name, sigma in members.items():
    clouds[name], walks[name], before = {}, [], None
    for t, x in walk_down(x_0, sigma, schedule):
        if before is not None:
            squares[name] = squares[name] + (x - before) ** 2
        before = x
        walks[name].append(x[:200].clone())
        if t in (1000, 500, 300, 299, 100, 10, 1):
            clouds[name][t] = x

# %%
# checks eq:same-marginals
off = []  # in standard errors
for seen in clouds.values():
    for t, x in seen.items():
        mean, variance = abar[t].sqrt() * 0.8, 1 - abar[t]
        off.append(abs(x.mean() - mean) / (variance / n).sqrt())
        off.append(abs(x.var() / variance - 1) / (2 / n) ** 0.5)
assert len(off) == 42 and max(off) < 5

# %% mystnb={"figure": {"caption": "The same for one number instead of a face. Above: four walks of each member from noise (right) to the data value 0.8 (left), and in grey where 95% of all walks are. Below: all 20,000 walks at level 300, and one black curve, the same in all three.", "name": "fig-family-paths"}, "image": {"alt": "Three columns. Above, x at level t against t from 0 to 1000, each with the same grey band that widens from 0.8 on the left. sigma = 0: four smooth curves that fan out. DDPM's sigma: four jagged lines like random walks. The largest sigma: four lines that fill the band like static. Below, three histograms at level 300, all under the same bell curve."}} tags=["hide-input"]
low, high = (abar[1:].sqrt() * 0.8 + k * (1 - abar[1:]).sqrt() for k in (-2, 2))
line = torch.linspace(-3, 3, 200, dtype=torch.float64)
at_300 = torch.distributions.Normal(abar[300].sqrt() * 0.8, (1 - abar[300]).sqrt())
fig, axes = figure(3, 2, height=4.6, sharey="row")
for ax, below, (name, walk) in zip(*axes, walks.items()):
    four = walk[0].argsort()[[10, 68, 132, 190]]  # far apart at the start
    ax.fill_between(range(1, T + 1), low, high, alpha=0.15, color="gray", linewidth=0)
    ax.plot(range(T, 0, -1), torch.stack([x[four] for x in walk]), linewidth=0.6, alpha=0.9)
    ax.axvline(300, color="black", linewidth=1, linestyle=":")
    ax.set(title=name, xlabel="level t", ylim=(-2.4, 2.6))
    below.hist(clouds[name][300], bins=40, range=(-3, 3), density=True, alpha=0.45)
    below.plot(line, at_300.log_prob(line).exp(), color="black", linewidth=1.2)
    below.set(xlabel="x at level 300")
axes[0, 0].set(ylabel="x")
axes[1, 0].set(ylabel="density");

# %% [markdown]
# **With data.** Now let $x_0$ come from a mixture of two peaks, for which the package knows $q(x_t)$ exactly. If every $q_\sigma(x_t \mid x_0)$ is right, then so is their average over the data.
# The Kolmogorov–Smirnov distance compares whole distributions, and as in chapter 1 it must stay below $1.95/\sqrt n$.

# %%
two_peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
data = two_peaks.sample(n, generator)
levels = (600, 300, 100, 10)
noisy = {
    name: {t: x for t, x in walk_down(data, sigma, schedule) if t in levels}
    for name, sigma in members.items()
}

# %%
# checks eq:same-marginals
fine, gaps = torch.linspace(-6, 6, 4001, dtype=torch.float64), []
for t in levels:
    density = two_peaks.log_prob(fine[:, None], t).exp()
    exact_cdf = torch.cumulative_trapezoid(density, fine)
    for name in members:
        ordered = noisy[name][t].flatten().sort().values
        cdf = torch.searchsorted(ordered, fine[1:]) / n
        gaps.append((cdf - exact_cdf).abs().max())
assert len(gaps) == 12 and max(gaps) < 1.95 / n**0.5

# %% [markdown]
# **Try it.** One step, for $x_0 = 0.8$, and from $t$ to $t - 50$ so that there is something to see. The first slider gives $\sigma$ as a share of the largest. Each line runs from an $x_t$ on
# the left to the mean of $q_\sigma(x_s \mid x_t, x_0)$ on the right; for one of them, in orange, the whole bell is drawn, and the third slider chooses it. At $\sigma = 0$ the found noise decides
# everything. As $\sigma$ rises the lines draw together and the bell widens, until at the largest $\sigma$ every $x_t$ is sent to the same distribution. The draws from all
# $x_t$ together keep their shape throughout, and the bar keeps its length: only the border between found and fresh noise moves.
#
# <div class="explore" data-explore="posterior">
#
# On the book's web pages a picture stands here that moves with sliders for $\sigma$, for the level and for the noise in $x_t$. {numref}`fig-family-paths` shows whole paths for three
# choices of $\sigma$.
#
# </div>
#
# ## What differs: the correlation of two noises
#
# Each level alone is the same in all members. What $\sigma$ decides is how two levels depend on each other. Write both in terms of their noise, and divide the noise part of
# {eq}`eq:reuse-noise` by $\sqrt{1 - \bar\alpha_{t-1}}$:
#
# $$
# \begin{gathered}
# \epsilon_{t-1} = \rho_t\, \epsilon_t + \sqrt{1 - \rho_t^2}\; z, \\
# \rho_t = \sqrt{\frac{1 - \bar\alpha_{t-1} - \sigma_t^2}{1 - \bar\alpha_{t-1}}} .
# \end{gathered}
# $$ (eq:noise-walk)
#
# In the first line neither schedule nor data is left. Given $x_0$, a member of the family is a sequence of standard normals, each made from the one before, and $\rho_t$ is **the
# correlation between $\epsilon_t$ and $\epsilon_{t-1}$**. Choosing $\sigma_t$ in its range means choosing $\rho_t$ between 0 and 1:
#
# - no fresh noise, $\sigma_t = 0$: $\rho_t = 1$, and all levels share one noise. This is DDIM's choice.
# - as much as possible, $\sigma_t^2 = 1 - \bar\alpha_{t-1}$: $\rho_t = 0$, and every level has a noise of its own.
#
# DDPM lies between. Divide {eq}`eq:left-for-found` by $1 - \bar\alpha_{t-1}$:
#
# $$
# \rho_t = \sqrt{\frac{\bar\alpha_t\, (1 - \bar\alpha_{t-1})}{\bar\alpha_{t-1}\, (1 - \bar\alpha_t)}} = \sqrt{\frac{\operatorname{SNR}(t)}{\operatorname{SNR}(t-1)}} .
# $$ (eq:ddpm-rho)
#
# It is above 0.99 for more than 80% of the levels, and least at the first ones, where the noise that a step adds is not small beside what is there already. Chapter 2 remarked that in the chain $\epsilon_t$ and $\epsilon_{t+1}$ are
# neither equal nor independent, and {ref}`ex-variance-covariance` found this very correlation. Now we see what it is: a property of the chain, not of the marginals. DDIM has the same marginals and makes the two noises equal.

# %%
# checks eq:noise-walk, eq:ddpm-rho
def rho(sigma, t):
    room = 1 - abar[t - 1]
    return ((room - sigma[t] ** 2) / room).clamp(min=0).sqrt()


every = torch.arange(2, T + 1)
snr_ratio = (schedule.snr[every] / schedule.snr[every - 1]).sqrt()
assert torch.allclose(rho(members["DDPM's sigma"], every), snr_ratio, rtol=1e-9)
assert (snr_ratio > 0.99).double().mean() > 0.8 and snr_ratio.argmin() == 0

for name, sigma in members.items():
    eps = [unmix_eps(clouds[name][t], x_0, abar[t]) for t in (300, 299)]
    measured = torch.corrcoef(torch.stack(eps))[0, 1]
    expected = rho(sigma, 300)
    assert abs(measured - expected) < 5 * (1 - expected**2) / n**0.5 + 1e-9

# %% [markdown]
# The same as a number for a whole path of {numref}`fig-family-paths`: the sum of all squared steps $(x_{t-1} - x_t)^2$. Take the expected square of {eq}`eq:reuse-noise` minus $x_t$: a shift of the mean squared, plus the
# variances of the two levels, minus twice their covariance $\rho_t \sqrt{(1 - \bar\alpha_t)(1 - \bar\alpha_{t-1})}$.

# %% tags=["hide-input"]
signal, spread, rows = abar.sqrt(), (1 - abar).sqrt(), []
for name, sigma in members.items():
    shift = 0.8 * (signal[1:-1] - signal[2:])
    covariance = rho(sigma, every) * spread[1:-1] * spread[2:]
    both = spread[1:-1] ** 2 + spread[2:] ** 2
    expected = (shift**2 + both - 2 * covariance).sum()
    error = squares[name].std() / n**0.5
    assert abs(squares[name].mean() - expected) < 5 * error
    numbers = *rho(sigma, torch.tensor([300, 2])), squares[name].mean()
    rows.append([name, *(f"{v:.3f}" for v in numbers)])
assert abs(squares["DDPM's sigma"].mean() / schedule.beta.sum() - 1) < 0.01
Table(["", "ρ at t = 300", "ρ at t = 2", "sum of squared steps"], rows)

# %% [markdown]
# DDPM's sum is within 1% of the sum of all $\beta_t$, which is 10.05 (chapter 2): upwards, each step adds fresh noise of that variance. Without fresh noise the curves are smooth and the sum is close to 0.
# With the largest $\sigma$ the covariance is 0, and each step contributes the variances of both levels.
#
# The same on pictures. Each row below is one walk, for the same face (one of 64 drawn faces that come with the package). Within a single column the rows cannot be told apart. Along a row they can: in the first, the same
# grain fades as the face appears; in the last, every picture has a grain of its own.

# %%
faces = from_uint8(torch.from_numpy(shipped().pixels[:4]))  # (4, 3, 64, 64)
columns = (300, 200, 100, 50)
rows = {
    name: {t: x for t, x in walk_down(faces, sigma, schedule) if t in columns}
    for name, sigma in members.items()
}

# %% mystnb={"figure": {"caption": "One face, three members of the family. Within one column nothing tells the rows apart. Along the top row the noise stays, along the middle row a part of it is replaced from column to column, and along the bottom row it is new every time. (Face after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-family-faces"}, "image": {"alt": "A grid of coloured pictures of one drawn face, three rows and four columns for levels 300, 200, 100 and 50. All become clearer to the right. In the top row the specks stay in their places; in the bottom row they are different in each picture."}} tags=["hide-input"]
shown = {}
for name, row in rows.items():
    shown[name.replace(" sigma", "\nsigma")] = torch.cat([x[1:2] for x in row.values()])
picture_rows(shown, [f"t = {t}" for t in columns], width=5);

# %% [markdown]
# The table has the correlation between the noises of neighbouring columns by the formula; over four such faces the measured ones agree. Between levels further apart than one step, the correlations of
# the steps multiply ({ref}`ex-family-distance`).

# %% tags=["hide-input"]
between = [f"{t} and {s}" for t, s in zip(columns, columns[1:])]
lines = []
for name, sigma in members.items():
    eps = [unmix_eps(rows[name][t], faces, abar[t]).flatten() for t in columns]
    lines.append([name])
    for i, (t, s) in enumerate(zip(columns, columns[1:])):
        expected = rho(sigma, torch.arange(s + 1, t + 1)).prod()
        measured = torch.corrcoef(torch.stack(eps[i : i + 2]))[0, 1]
        error = (1 - expected**2) / faces.numel() ** 0.5
        assert abs(measured - expected) < 5 * error + 1e-4
        lines[-1].append(f"{expected:.2f}")
Table(["correlation between", *between], lines)

# %% [markdown]
# ## The forward process that belongs to it
#
# The family is drawn downwards. Which forward step, from $x_{t-1}$ to $x_t$, goes with it? Bayes' rule, all given $x_0$ (equation 8 of the paper):
#
# $$
# q_\sigma(x_t \mid x_{t-1}, x_0) = \frac{q_\sigma(x_{t-1} \mid x_t, x_0)\; q_\sigma(x_t \mid x_0)}{q_\sigma(x_{t-1} \mid x_0)} .
# $$ (eq:q-sigma-bayes)
#
# All three on the right are Gaussians. Given $x_0$, a level and its noise differ by a shift and a scale only, and in terms of the noises $e = \epsilon_t$ and $e' = \epsilon_{t-1}$ the three are
# short. For $\rho_t < 1$ their exponents, with a minus for the denominator, add up in one coordinate to $-\tfrac12$ times the left-hand side of
#
# $$
# \frac{(e' - \rho_t e)^2}{1 - \rho_t^2} + e^2 - e'^2 = \frac{(e - \rho_t e')^2}{1 - \rho_t^2} .
# $$ (eq:noise-swap)
#
# (Multiply by $1 - \rho_t^2$ and expand: both sides become $e^2 - 2\rho_t e e' + \rho_t^2 e'^2$.) As a function of $e$ the right-hand side belongs to $\mathcal N(\rho_t e', 1 - \rho_t^2)$. So upwards the noise walks as it does downwards: $\epsilon_t = \rho_t\, \epsilon_{t-1} + \sqrt{1 - \rho_t^2}\; z'$. For
# $\rho_t = 1$ there is no density, but nothing to show either: $\epsilon_t = \epsilon_{t-1}$ reads the same in both directions. Put back into $x_t$:
#
# $$
# \begin{gathered}
# q_\sigma(x_t \mid x_{t-1}, x_0) = \mathcal N\bigl(a_t\, x_{t-1} + c_t\, x_0,\; \kappa_t^2 I\bigr), \\
# \begin{aligned}
# a_t &= \rho_t \sqrt{(1 - \bar\alpha_t)/(1 - \bar\alpha_{t-1})}, \\
# c_t &= \sqrt{\bar\alpha_t} - a_t \sqrt{\bar\alpha_{t-1}}, \\
# \kappa_t^2 &= (1 - \bar\alpha_t)(1 - \rho_t^2) = \tfrac{1 - \bar\alpha_t}{1 - \bar\alpha_{t-1}}\, \sigma_t^2 .
# \end{aligned}
# \end{gathered}
# $$ (eq:q-sigma-forward)
#
# This is {py:func}`~ddim_edu.posterior.q_sigma_forward`. To check {eq}`eq:q-sigma-bayes` at every step at once, multiply it over $t = 2, \dots, T$; the marginals telescope. What is left says
# that the densities of a whole walk, taken downwards from $x_T$ or upwards from $x_1$, have the same product, at any ten points. We use a coarse schedule of ten levels from here on: its steps are large, so effects are easy to see.

# %%
# checks eq:q-sigma-joint, eq:q-sigma-bayes
coarse = NoiseSchedule.cosine(10)
ab, x_0 = coarse.alpha_bar, torch.tensor([0.8], dtype=torch.float64)
x = torch.randn(11, 1, generator=generator, dtype=torch.float64)  # any points


def log_density(point, mean, std):
    return torch.distributions.Normal(mean, std).log_prob(point)


for share in (0.1, 0.5, 0.9):  # sigma_t as a share of the largest
    down = log_density(x[10], ab[10].sqrt() * x_0, (1 - ab[10]).sqrt())
    up = log_density(x[1], ab[1].sqrt() * x_0, (1 - ab[1]).sqrt())
    for t in range(10, 1, -1):
        step = ab[t], ab[t - 1], share * (1 - ab[t - 1]).sqrt()
        down = down + log_density(x[t - 1], *q_sigma(x[t], x_0, *step))
        up = up + log_density(x[t], *q_sigma_forward(x[t - 1], x_0, *step))
    assert torch.allclose(down, up, rtol=1e-10)

# %% [markdown]
# And the coefficients by hand:

# %%
# checks eq:noise-swap, eq:q-sigma-forward
def forward_coefficients(t, sigma):
    """a_t, c_t and kappa_t on the coarse schedule."""
    rho_t = ((1 - ab[t - 1] - sigma**2) / (1 - ab[t - 1])).clamp(min=0).sqrt()
    a = rho_t * ((1 - ab[t]) / (1 - ab[t - 1])).sqrt()
    c = ab[t].sqrt() - a * ab[t - 1].sqrt()
    return a, c, ((1 - ab[t]) * (1 - rho_t**2)).sqrt()


a, c, kappa = forward_coefficients(5, 0.3)
step = q_sigma_forward(x[4], x_0, ab[5], ab[4], 0.3)
assert torch.allclose(step.mean, a * x[4] + c * x_0, rtol=1e-10)
assert torch.isclose(step.std, kappa, rtol=1e-10)

e, e_below, r = 0.9, -0.2, 0.7  # any numbers
swapped = (e_below - r * e) ** 2 / (1 - r**2) + e**2 - e_below**2
assert abs(swapped - (e - r * e_below) ** 2 / (1 - r**2)) < 1e-12

# %% [markdown]
# ### Markov for one sigma only
#
# A Markov chain moves on from $x_{t-1}$ without asking how it got there. Here the next mean contains $c_t\, x_0$: even after $x_{t-1}$ is known, the process
# still looks at the data, unless $c_t = 0$.
#
# ```{prf:theorem} One Markov chain in the family
# :label: thm-one-markov
# Let $x_0$ be drawn from data with more than one value, and $x_1, \dots, x_T$ from $q_\sigma(x_{1:T} \mid x_0)$. Then $x_0, x_1, \dots, x_T$ is a Markov chain if and only if $c_t = 0$ for every
# $t = 2, \dots, T$, and
#
# $$
# \begin{aligned}
# c_t = 0 &\iff \rho_t^2 = \frac{\operatorname{SNR}(t)}{\operatorname{SNR}(t-1)} \\
#     &\iff \sigma_t = \sigma_\text{DDPM} .
# \end{aligned}
# $$ (eq:no-pull)
#
# In that case it is the chain of chapter 1.
# ```
#
# ```{prf:proof}
# $c_t = 0$ says $a_t = \sqrt{\bar\alpha_t/\bar\alpha_{t-1}}$. Solved for $\rho_t$, that is {eq}`eq:ddpm-rho`, and $\rho_t$ determines $\sigma_t$. This is {eq}`eq:no-pull`.
#
# Given $x_0$, the walk downwards draws each level from the one above it alone: a Markov chain. Read upwards it is one too, for a chain is Markov if the levels on either side of any level are
# independent given that level, and this knows no direction. So given $x_0$ and $x_{t-1}$, the levels $x_1, \dots, x_{t-2}$ say nothing more about $x_t$. If all $c_t$ are 0, then $x_0$ says nothing more either, and
# the whole sequence is Markov. Its step is $x_t = \sqrt{\alpha_t}\, x_{t-1}$ plus noise of variance
#
# $$
# \kappa_t^2 = 1 - \bar\alpha_t - \alpha_t (1 - \bar\alpha_{t-1}) = 1 - \alpha_t = \beta_t ,
# $$
#
# the forward step {eq}`eq:forward-step`. (The step to $x_1$ is that one in every member.)
#
# Now suppose some $c_t \neq 0$. The density of $x_{t-1}$ given $x_0$ is nowhere 0, so after $x_{t-1}$ is seen, more than one value of $x_0$ is still possible. Different values give $x_t$
# different means. So $x_t$ depends on $x_0$ beyond $x_{t-1}$, and the sequence is not Markov.
# ```
#
# How strong is the dependence? Measure it by the **partial correlation** of $x_t$ and $x_0$ given $x_{t-1}$: predict both from $x_{t-1}$ by a straight line and correlate what the lines miss.
# Take standard normal data, so that all is jointly Gaussian; then the partial correlation is 0 exactly if $x_t$ and $x_0$ are independent given $x_{t-1}$. What the line misses of
# $x_0$ has variance $1 - \bar\alpha_{t-1}$ by {eq}`eq:best-error`. What it misses of $x_t$ is $c_t$ times that miss, plus the fresh noise. So
#
# $$
# \begin{aligned}
# \operatorname{Corr}(x_t, x_0 \mid x_{t-1}) &= m_t \big/ \sqrt{m_t^2 + \kappa_t^2} , \\
# m_t &= c_t \sqrt{1 - \bar\alpha_{t-1}} .
# \end{aligned}
# $$ (eq:partial-corr)

# %%
n = 50_000
x_0 = torch.randn(n, generator=generator, dtype=torch.float64)
most, ddpm = three(coarse)["largest sigma"], three(coarse)["DDPM's sigma"]
partial = {}
for share in [k / 8 for k in range(9)] + ["DDPM"]:
    sigma = ddpm if share == "DDPM" else share * most
    level = {t: x for t, x in walk_down(x_0, sigma, coarse) if t in (4, 5)}
    r = torch.corrcoef(torch.stack([level[5], x_0, level[4]]))
    scale = ((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)).sqrt()
    partial[share] = (r[0, 1] - r[0, 2] * r[1, 2]) / scale

# %%
# checks eq:no-pull, eq:partial-corr
for share, measured in partial.items():
    sigma = ddpm if share == "DDPM" else share * most
    _, c, kappa = forward_coefficients(5, sigma[5])
    m = c * (1 - ab[4]).sqrt()
    expected = m / (m**2 + kappa**2).sqrt()
    error = (1 - expected**2) / n**0.5
    assert abs(measured - expected) < 5 * error + 1e-6
    assert (abs(c) < 1e-12) == (share == "DDPM")
for t in range(2, 11):
    assert abs(forward_coefficients(t, ddpm[t])[1]) < 1e-12
crossing = next(k / 8 for k in range(9) if partial[k / 8] > 0)
assert crossing - 1 / 8 < ddpm[5] / most[5] < crossing

# %% mystnb={"figure": {"caption": "Partial correlation of $x_5$ and $x_0$ given $x_4$, on a schedule of ten levels. Dots: measured, each with a standard error below 0.005. Line: {eq}`eq:partial-corr`. Only at DDPM's sigma does the forward process stop looking at the data.", "name": "fig-family-partial"}, "image": {"alt": "Partial correlation against sigma as a share of the largest sigma. The curve starts at minus 1 for sigma 0, rises, crosses 0 at 0.68 where a vertical dotted line marks DDPM's sigma, and ends near 0.5. Nine measured dots lie on it."}} tags=["hide-input"]
fig, ax = figure(height=3.4)
shares = torch.linspace(0, 1, 201, dtype=torch.float64)
_, c, kappa = forward_coefficients(5, shares * most[5])
m = c * (1 - ab[4]).sqrt()
ax.plot(shares, m / (m**2 + kappa**2).sqrt(), label="formula")
dots = [value for share, value in partial.items() if share != "DDPM"]
ax.plot([k / 8 for k in range(9)], dots, "o", label="measured")
ax.axvline(ddpm[5] / most[5], color="gray", linestyle=":")
ax.text(ddpm[5] / most[5] - 0.01, 0.3, "DDPM's", color="gray", ha="right")
ax.set(xlabel=r"$\sigma_5$ as a share of the largest")
ax.set(ylabel="partial correlation")
ax.legend(loc="lower right");

# %% [markdown]
# Here DDPM's $\sigma$ is 0.68 of the largest. The sign has a reason. With less fresh noise than DDPM's, $\rho_t$ and with it $a_t$ are larger: $x_{t-1}$ comes in with a larger factor, for the sake of the noise in it, and
# brings more data along than level $t$ should have. So $c_t$ is negative and takes the excess away. With more fresh noise it is the other way round. One of the texts on the page {doc}`/sources` (S4) says of this process that $x_t$ "keeps injecting itself at each iteration". What comes in at every step is $x_0$;
# that $x_t$ depends on $x_{t-1}$ is true of every chain.
#
# ### What is deterministic at sigma 0
#
# Another of them (S2) says that with $\sigma = 0$ "the forward process becomes deterministic". As it stands, that cannot be: $x_t$ given $x_0$ still has the variance $1 - \bar\alpha_t$. What holds is
# that $\kappa_t = 0$: given $x_0$ **and** $x_{t-1}$, and for $t > 1$, the next level is known. All chance is in one noise, and $x_1$ already contains it. The paper says
# it with these conditions (section 4.1). Measure what is left unknown of $x_5$, and of $x_1$, as a standard deviation:

# %%
level = {t: x for t, x in walk_down(x_0, 0 * most, coarse) if t in (1, 4, 5)}
a, c, _ = forward_coefficients(5, 0 * most[5])
r = torch.corrcoef(torch.stack([level[5], level[4]]))[0, 1]
unknown = {
    "x_5 given x_0 and x_4": (level[5] - a * level[4] - c * x_0).std(),
    "x_5 given x_4 alone": level[5].std() * (1 - r**2).sqrt(),
    "x_5 given x_0 alone": (level[5] - ab[5].sqrt() * x_0).std(),
    "x_1 given x_0": (level[1] - ab[1].sqrt() * x_0).std(),
}
angle = ab.sqrt().arccos()  # cos^2 + sin^2 = 1: data and noise of a level
expected = 0, (angle[5] - angle[4]).sin(), angle[5].sin(), angle[1].sin()
for (what, measured), value in zip(unknown.items(), expected):
    print(f"{what:22s} {measured:.3f}")
    assert abs(measured - value) < 5 * value / (2 * n) ** 0.5 + 1e-12

# %% [markdown]
# Nothing is left unknown only if both $x_0$ and $x_4$ are given.
#
# ## How much fresh noise
#
# The root in {eq}`eq:reuse-noise` sets the range:
#
# $$
# 0 \le \sigma_t^2 \le 1 - \bar\alpha_{t-1} .
# $$ (eq:sigma-range)
#
# At the lower end all of the found noise is used. At the upper end none is: the level holds a variance of $1 - \bar\alpha_{t-1}$, all of it is fresh, and $x_{t-1}$ is
# independent of $x_t$ given $x_0$. DDPM's $\sigma$ always lies inside: by {eq}`eq:ddpm-sigma` its square is the upper end times $(1 - \bar\alpha_t/\bar\alpha_{t-1})/(1 - \bar\alpha_t)$, which
# is below 1 because $\bar\alpha_t/\bar\alpha_{t-1} > \bar\alpha_t$.
#
# DDPM also uses a larger noise, $\hat\sigma^2 = 1 - \bar\alpha_t/\bar\alpha_s$ for a step from $t$ to $s$ (for neighbours, $\beta_t$). It leaves the range when
#
# $$
# \hat\sigma^2 > 1 - \bar\alpha_s \iff \bar\alpha_t < \bar\alpha_s^2 .
# $$ (eq:sigma-hat-beyond)
#
# For $t = 2$, $s = 1$ this reads $\alpha_2 < \alpha_1$, that is $\beta_2 > \beta_1$: with every schedule that starts out rising, $\hat\sigma$ is beyond the range there. Compare all steps, and also ten large steps
# over the same schedule, 901, 801, ..., 1, as the official code takes them (`"leading"`; {ref}`chapter 6 <ch-fewer-steps>` has others):

# %%
# checks eq:sigma-range, eq:sigma-hat-beyond
taus = {S: make_tau(1000, S, "leading") for S in (1000, 10)}
steps = {S: (tau[2:], tau[1:-1]) for S, tau in taus.items()}
for S, (t, s) in steps.items():  # all but the last step, which ends at 0
    room = (1 - abar[s]).sqrt()
    assert (schedule.sigma(t, s, 1.0) < room).all()
    beyond = schedule.sigma_hat(t, s) > room
    assert torch.equal(beyond, abar[t] < abar[s] ** 2)
    assert t[beyond].tolist() == ([2] if S == 1000 else [101, 201, 301])
    excess_of = (schedule.sigma_hat(t, s) / room).max()
    assert round(float(excess_of), 1) == (1.1 if S == 1000 else 32.4)

one = torch.ones(1, 1, dtype=torch.float64)
for x_t in (-5 * one, 5 * one):  # at the upper end x_t has no influence
    edge = q_sigma(x_t, one, abar[300], abar[299], (1 - abar[299]).sqrt())
    assert torch.allclose(edge.mean, abar[299].sqrt() * one)

# %% mystnb={"figure": {"caption": "The range of $\\sigma$ (shaded), DDPM's $\\sigma$ and its larger $\\hat\\sigma$, for steps between neighbouring levels and for ten large steps. DDPM's $\\sigma$ is always inside. $\\hat\\sigma$ leaves the range at the end of the walk, and with large steps by far.", "name": "fig-family-range"}, "image": {"alt": "Two logarithmic plots against t. A shaded area below a rising line is the range. Left, neighbouring levels: both of DDPM's curves run inside, and the larger one pokes out at t = 2. Right, ten steps: DDPM's sigma is inside at all points, while sigma-hat is above the line at 101, 201 and 301."}} tags=["hide-input"]
fig, axes = figure(2, height=3.6)
for ax, (S, (t, s)), mark in zip(axes, steps.items(), ("", "o-")):
    room = (1 - abar[s]).sqrt()
    ax.fill_between(t, 0 * room + 3e-3, room, alpha=0.12, color="gray")
    ax.plot(t, room, color="gray", label="largest")
    for values, label in (
        (schedule.sigma(t, s, 1.0), r"DDPM's $\sigma$"),
        (schedule.sigma_hat(t, s), r"$\hat\sigma$"),
    ):
        ax.plot(t, values, mark, markersize=3.5, label=label)
    ax.set(title=f"{S} steps", xlabel="level t", yscale="log", ylim=(5e-3, 1.5))
axes[0].set(xscale="log", ylabel=r"$\sigma$")
axes[1].legend(loc="lower right");

# %% [markdown]
# With a thousand steps only the step from 2 to 1 is beyond the range, by a factor of 1.1. With ten steps three are, those from 301, 201 and 101, by a factor of up to 32.
#
# How then can a sampler use $\hat\sigma$? By not putting it under the root. With `eta="hat"` the sampler keeps the mean that belongs to DDPM's $\sigma$ and adds noise of standard deviation $\hat\sigma$ to it (none at the last step), as DDPM
# does. No root fails. But given $x_0$ the variances no longer add up: each step leaves $\hat\sigma^2 - \sigma_\text{DDPM}^2$ too much, so **this process is not a member of the family**, even
# where $\hat\sigma$ is small enough. To see it, give the sampler a data set of one point, for which the predictor knows $x_0$. {py:func}`~ddim_edu.sampler.ddim_path` is the loop inside
# {py:func}`~ddim_edu.sampler.sample` and hands out its steps one by one. Compare the variance of the noise at level 1, before the last step, with what it should be.

# %%
def excess(S):
    """Variance of the noise at level 1 with sigma-hat, in units of 1 - abar_1."""
    value = 1.0
    for t, s in zip(*(levels.flip(0) for levels in steps[S])):
        kept = 1 - abar[s] - schedule.sigma(t, s, 1.0) ** 2
        value = (kept * value + schedule.sigma_hat(t, s) ** 2) / (1 - abar[s])
    return value


point = EmpiricalData(torch.tensor([[0.8]], dtype=torch.float64), schedule)
x_T = draw(torch.empty(5_000, 1, dtype=torch.float64), generator)

# %%
for S, tau in taus.items():
    for eta, expected in ((1.0, 1.0), ("hat", excess(S))):
        path = ddim_path(
            point.eps, x_T, schedule, tau, eta=eta, generator=generator
        )
        for step in path:
            x_1 = step.x_t  # in the end: where the last step began, at level 1
        ratio = x_1.var() / (1 - abar[1])
        assert abs(ratio / expected - 1) < 5 * (2 / len(x_T)) ** 0.5
    print(f"{S:4d} steps: {expected:.1f} times what is right")

# %% [markdown]
# With a thousand steps the noise at level 1 has nearly twice the variance that it should have, but that is only $1 - \bar\alpha_1 = 10^{-4}$. With ten steps the factor is
# about a thousand.
#
# One point is the extreme case. A predictor that does *not* know $x_0$ makes errors, and the extra noise can make up for what they leave out: for standard normal data {ref}`chapter 3 <ch-reverse>` found $\hat\sigma$ exactly right.
# Table 1 of {cite:t}`song2021ddim` shows both sides. There $\hat\sigma$ has by far the worst FID at ten steps, and the best at a thousand.
#
# ## What breaks: more noise than fits
#
# What if a step adds twice DDPM's $\sigma$? The package refuses. In a step written by hand the number under the root is negative and the result "nan", and two repairs
# come to mind: clamp the number at 0, or take its absolute value. Both run. Neither gives the marginals. On the coarse schedule, where twice DDPM's $\sigma$ is too much at every
# step, follow the variance of the noise, which should be 1 throughout:

# %%
refused = ""
try:
    q_sigma(one, one, ab[5], ab[4], 2 * ddpm[5])
except ValueError as error:
    refused = str(error)
print(refused.partition(",")[0])
assert "outside" in refused and (2 * ddpm > most)[2:].all()

# %%
for name, repair in (("clamp", lambda v: v.clamp(min=0)), ("abs", torch.abs)):
    eps, expected = draw(x_0, generator), 1.0
    for t in range(10, 1, -1):
        left = repair(1 - ab[t - 1] - (2 * ddpm[t]) ** 2) / (1 - ab[t - 1])
        fresh = 2 * ddpm[t] / (1 - ab[t - 1]).sqrt()
        eps = left.sqrt() * eps + fresh * draw(eps, generator)
        expected = left * expected + fresh**2
        assert abs(eps.var() / expected - 1) < 5 * (2 / n) ** 0.5
        assert expected > 1.5
    print(f"{name:5s}: variance {expected:.1f} at level 1")

# %% [markdown]
# With absolute values the excess is much larger, since each step also passes on a part of the excess before it. A network would be shown $x_t$ of a kind that it never saw in training. With the
# thousand levels of the linear schedule the same mistake is easier to miss: there twice DDPM's $\sigma$ is beyond the range at the last four steps of the walk only, from level 5 down, where the noise has a standard deviation below 0.03.

# %%
twice = 2 * members["DDPM's sigma"][every]
too_much = every[twice > members["largest sigma"][every]].tolist()
assert too_much == [2, 3, 4, 5] and (1 - abar[5]).sqrt() < 0.03

# %% [markdown]
# ## Training cannot tell
#
# A predictor is a function of $(x_t, t)$: at a given $x_t$ it answers the same, whichever member $x_t$ came from. What could differ is which pairs of $x_t$ and $\epsilon_t$ come up, and how often.
# {prf:ref}`lem-same-marginals` says that it does not. So the loss at every level is the same for all members. First for the best predictor of the mixture, on the points drawn
# above, next to points that were made as training makes them, by one jump. (The losses may differ by five standard errors of their difference, which is less than 0.1 everywhere.)

# %% tags=["hide-input"]
rows = []
for t in levels:
    jump = q_sample(data, t, schedule, draw(data, generator))
    losses = [
        (two_peaks.eps(x, t) - unmix_eps(x, data, abar[t])) ** 2
        for x in (jump, *(noisy[name][t] for name in members))
    ]
    for loss in losses[1:]:
        error = ((loss.var() + losses[0].var()) / len(data)).sqrt()
        assert abs(loss.mean() - losses[0].mean()) < 5 * error < 0.1
    rows.append([f"t = {t}", *(f"{loss.mean():.2f}" for loss in losses)])
Table(["loss of the best predictor", "by one jump", *members], rows)

# %% [markdown]
# Then for a trained network, the model of drawn faces of 32 × 32 that comes with the package, on faces that it never saw. It was trained by jumps, on the cosine schedule. The
# standard error of each loss is below 0.01, and the three agree with the jump's within five standard errors of the difference.

# %%
images = F.avg_pool2d(from_uint8(torch.from_numpy(shipped().pixels[:16])), 2)  # (16, 3, 32, 32)
trained = load("faces")
predictor = trained.eps_theta()
shown = (900, 600, 300, 100)
squared = {}
for name, sigma in three(trained.schedule).items():
    for t, x in walk_down(images, sigma, trained.schedule):
        if t in shown:
            eps = unmix_eps(x, images, trained.schedule.alpha_bar[t])
            eps_hat = predictor(x, torch.full((len(x),), t))
            squared[name, t] = (eps_hat - eps).square().flatten(1).mean(1)

# %% tags=["hide-input"]
rows = []
for t in shown:
    eps = draw(images, generator)
    x = q_sample(images, t, trained.schedule, eps)
    eps_hat = predictor(x, torch.full((len(x),), t))
    reference = (eps_hat - eps).square().flatten(1).mean(1)  # one an image
    losses = [reference, *(squared[name, t] for name in members)]
    for loss in losses:
        gap = loss - reference
        assert loss.std() / len(images) ** 0.5 < 0.01
        assert abs(gap.mean()) <= 5 * gap.std() / len(images) ** 0.5
    rows.append([f"t = {t}", *(f"{loss.mean():.3f}" for loss in losses)])
Table(["loss of the network", "by one jump", *members], rows)

# %% [markdown]
# So one trained network serves every member. Chapter 3 came to $L_\text{simple}$ by way of a variational bound for DDPM's chain; that the bounds of the other members lead to it as well is shown in {ref}`chapter 5 <ch-sigma>`.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: two levels far apart
# :label: ex-family-distance
# *Derive · two stars · 20 minutes*
#
# Given $x_0$, show that the correlation of $\epsilon_s$ and $\epsilon_t$, $s < t$, is $\rho_{s+1} \rho_{s+2} \cdots \rho_t$. What is it for DDPM's $\sigma$? If every $\sigma_t$ is half the largest,
# after how many steps is the correlation below 0.1?
# Hand in a function `correlation(fraction, n)`: over `n` steps, if every $\sigma$ is that fraction of the largest: `check("ex-family-distance", correlation)`.
# ```
#
# ````{solution} ex-family-distance
# :class: dropdown
# By {eq}`eq:noise-walk` $\epsilon_s = \rho_{s+1} \epsilon_{s+1} + {}$fresh noise that is independent of $\epsilon_t$, so $\operatorname{Cov}(\epsilon_s, \epsilon_t) = \rho_{s+1} \operatorname{Cov}(\epsilon_{s+1}, \epsilon_t)$; repeat until
# $\operatorname{Cov}(\epsilon_t, \epsilon_t) = 1$. For DDPM the quotients telescope to $\sqrt{\operatorname{SNR}(t)/\operatorname{SNR}(s)}$, as chapter 2 found by walking upwards. With half the largest $\sigma$ each
# $\rho$ is $\sqrt{1 - 1/4} = 0.866$, and $0.866^{17} = 0.087$ is the first power below 0.1: 17 steps, whatever the schedule.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def correlation(fraction, n):
#     return (1 - fraction**2) ** (n / 2)
#
# schedule, s, t = NoiseSchedule.linear(), 200, 500
# i = torch.arange(s + 1, t + 1)
# rho = (1 - schedule.sigma(i, i - 1, 1.0) ** 2 / (1 - schedule.alpha_bar[i - 1])).sqrt()
# assert torch.isclose(rho.prod(), (schedule.snr[t] / schedule.snr[s]).sqrt(), rtol=1e-9)
# assert correlation(0.5, 17) < 0.1 < correlation(0.5, 16)
#
# g, n = torch.Generator().manual_seed(0), 20_000  # and by walking
# start = eps = torch.randn(n, generator=g, dtype=torch.float64)
# for _ in range(17):
#     eps = 0.75**0.5 * eps + 0.5 * torch.randn(n, generator=g, dtype=torch.float64)
# measured = torch.corrcoef(torch.stack([start, eps]))[0, 1]
# assert abs(measured - correlation(0.5, 17)) < 5 / n**0.5
# assert check("ex-family-distance", correlation)
# ```
# ````
#
# ```{exercise} Derive: the other root
# :label: ex-family-minus
# *Derive · two stars · 15 minutes*
#
# A square has two roots. Replace $\sqrt{1 - \bar\alpha_s - \sigma^2}$ in {eq}`eq:reuse-noise` by its negative. Which part of the proof of {prf:ref}`lem-same-marginals` changes? What does a path with
# $\sigma = 0$ look like?
# Hand in the new mean of $x_s$ as a function `mean(x_t, x_0, abar_t, abar_s, sigma)`: `check("ex-family-minus", mean)`.
# ```
#
# ````{solution} ex-family-minus
# :class: dropdown
# None: only the square of that factor enters the variance. So these processes have the right marginals too, and the family is not everything that training allows.
# All $\rho_t$ are negative now. With $\sigma = 0$ the noise changes its sign at each step, and $x_t$ jumps between two curves, one above and one below $\sqrt{\bar\alpha_t}\, x_0$: the two are mirror images, and which one it is on depends on whether $t$ is even.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import mix, unmix_eps
# from ddim_edu.schedule import NoiseSchedule
#
# def mean(x_t, x_0, abar_t, abar_s, sigma):
#     eps = unmix_eps(x_t, x_0, abar_t)
#     return abar_s.sqrt() * x_0 - (1 - abar_s - sigma**2).sqrt() * eps
#
# abar = NoiseSchedule.linear().alpha_bar
# g, n = torch.Generator().manual_seed(0), 20_000
# x_0 = torch.full((n,), 0.8, dtype=torch.float64)
# noise = torch.randn(n, generator=g, dtype=torch.float64)
# x = mix(x_0, noise, abar[1000])
# for t in range(1000, 1, -1):
#     x = mean(x, x_0, abar[t], abar[t - 1], 0)
#     flips = 1001 - t
# assert torch.allclose(unmix_eps(x, x_0, abar[1]), (-1) ** flips * noise, rtol=1e-6)
# assert abs(x.var() / (1 - abar[1]) - 1) < 5 * (2 / n) ** 0.5
# assert check("ex-family-minus", mean)
# ```
# ````
#
# ```{exercise} Code: the same joint, drawn upwards
# :label: ex-family-upwards
# *Code · two stars · 20 minutes*
#
# Draw $x_1$ from its marginal and walk up with {py:func}`~ddim_edu.posterior.q_sigma_forward`, on `NoiseSchedule.cosine(10)` with every $\sigma_t$ at 60% of the largest. Check the marginal of $x_{10}$ and the correlation
# between the noises at levels 1 and 10.
# Hand in these noises, `first` at level 1 and `last` at level 10, for at least 100,000 walks: `check("ex-family-upwards", (first, last))`.
# ```
#
# ````{solution} ex-family-upwards
# :class: dropdown
# Each $\rho$ is $\sqrt{1 - 0.36} = 0.8$, so the correlation over nine steps is $0.8^9 = 0.134$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import mix, unmix_eps
# from ddim_edu.posterior import q_sigma_forward
# from ddim_edu.schedule import NoiseSchedule
#
# abar = NoiseSchedule.cosine(10).alpha_bar
# g, n = torch.Generator().manual_seed(0), 100_000
# normal = lambda: torch.randn(n, generator=g, dtype=torch.float64)
# x_0, first = torch.full((n,), 0.8, dtype=torch.float64), normal()
# x = mix(x_0, first, abar[1])
# for t in range(2, 11):
#     sigma = 0.6 * (1 - abar[t - 1]).sqrt()
#     step = q_sigma_forward(x, x_0, abar[t], abar[t - 1], sigma)
#     x = step.mean + step.std * normal()
# last = unmix_eps(x, x_0, abar[10])
# assert abs(last.mean()) < 5 / n**0.5 and abs(last.var() - 1) < 5 * (2 / n) ** 0.5
# assert abs(torch.corrcoef(torch.stack([first, last]))[0, 1] - 0.8**9) < 5 / n**0.5
# assert check("ex-family-upwards", (first, last))
# ```
# ````
#
# ```{exercise} Break: a sigma that looks
# :label: ex-family-looks
# *Break · two stars · 15 minutes*
#
# May $\sigma$ depend on the data or on the state? In one coordinate, take one step with $\sigma = 0$ where the found noise is negative and the largest $\sigma$ where it is positive. Compute mean and variance of the new noise. Then
# let $\sigma$ depend on the sign of $x_0$ instead. Hand in mean and variance of the first case: `check("ex-family-looks", (mean, variance))`.
# ```
#
# ````{solution} ex-family-looks
# :class: dropdown
# The lemma is a statement for each $x_0$, so $\sigma$ may depend on $x_0$. It may not depend on $x_t$: negative noise is kept and positive noise is replaced by a fresh draw, so the mean becomes
# $E[\epsilon\, 1_{\epsilon < 0}] = -1/\sqrt{2\pi} = -0.40$. The mean square is $\tfrac12 + \tfrac12 = 1$, so the variance is $1 - 1/(2\pi) = 0.84$.
#
# ```python
# import math
# import torch
# from ddim_edu.exercises import check
#
# g, n = torch.Generator().manual_seed(0), 100_000
# x_0, found, z = torch.randn(3, n, generator=g, dtype=torch.float64)
# new = torch.where(found > 0, z, found)  # sigma looks at x_t
# assert abs(new.mean() + 1 / math.sqrt(2 * math.pi)) < 5 / n**0.5
# assert abs(new.var() - (1 - 1 / (2 * math.pi))) < 0.02
# assert check("ex-family-looks", (new.mean(), new.var()))
# new = torch.where(x_0 > 0, z, found)  # sigma looks at x_0
# assert abs(new.mean()) < 5 / n**0.5 and abs(new.var() - 1) < 5 * (2 / n) ** 0.5
# ```
# ````

#
# ## Summary
#
# 1. Training uses the marginals $q(x_t \mid x_0)$ only. How the levels hang together is free.
# 2. Given $x_0$, the noise found in $x_t$ can be used again at a lower level, with fresh noise of any $0 \le \sigma^2 \le 1 - \bar\alpha_s$ added and its
#    variance taken from the found part. Every level keeps its distribution (Lemma 1 of the paper).
# 3. The members differ in the correlation $\rho_t$ of neighbouring noises: 1 for $\sigma = 0$, $\sqrt{\operatorname{SNR}(t)/\operatorname{SNR}(t-1)}$ for DDPM, 0 for the largest $\sigma$.
# 4. The forward process of a member looks at $x_0$ as well as at $x_{t-1}$. Only DDPM's does not, and it is the only Markov chain.
# 5. More fresh noise than the range allows changes the marginals given $x_0$, and so does adding noise of size $\hat\sigma$ to DDPM's mean.
#
# **Next.** {ref}`Chapter 5 <ch-sigma>` puts a network's guess in the place of $x_0$ and turns every member into a sampler. In the package, read {py:mod}`ddim_edu.posterior`: its function `q_sigma`
# returns the mean, which is the two terms of {eq}`eq:reuse-noise` that are not fresh, and the size of the fresh one.
