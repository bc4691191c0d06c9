# %% [markdown]
# (ch-sigma)=
# # The sigma family
#
# **Question.** Chapter 4 has given a whole family of processes with the same marginals, one for each choice of $\sigma$. Which member should generate, and does each
# need a network of its own?

# %% tags=["hide-input"]
import json

import numpy as np
import torch

from ddim_edu.data.pictures import from_text
from ddim_edu.exact import GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import q_sample, unmix_x0
from ddim_edu.line import output_cdf, w1
from ddim_edu.losses import gamma_of_sigma, loss_gamma
from ddim_edu.models import load
from ddim_edu.plotting import Table, figure, picture_rows
from ddim_edu.posterior import ddpm_posterior, q_sigma
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, sample
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "One network, one start, 24 ways down: four members of the family (rows: $\\eta$ = 0, 0.5 and 1, and the larger noise $\\hat\\sigma$) and six numbers of steps S (columns). Only the first row keeps its face, and only the last has grain in short runs. Drawn by `benchmarks/strips.py` with the model of faces that comes with the package. (Faces after Pablo Stanley and, under CC BY 4.0, Micah Lanier, Johan Melin and Draftbit; see {doc}`/using`.)", "name": "fig-sigma-faces"}, "image": {"alt": "Four rows of six drawn faces. First row, no noise: the same face with black hair from 10 steps on, clean everywhere. Second and third row: clean faces, another one with almost every number of steps. Last row, the larger noise: coloured grain all over the faces with 5, 10 and 20 steps, and clean faces from 50 on."}} tags=["hide-input"]
stored = json.loads(in_repository("results/strips.json").read_text(encoding="utf8"))["rows"]
faces = {}
for row in stored:
    faces[row["eta"], row["S"]] = from_text(row["pictures"], 3, 32, 32)[:1]  # the first of four starts
shown = (5, 10, 20, 50, 100, 1000)
names = {0.0: "no noise\n(DDIM)", 0.5: "some", 1.0: "DDPM", "hat": "DDPM's\nlarger"}
rows = {name: torch.cat([faces[eta, S] for S in shown]) for eta, name in names.items()}
picture_rows(rows, [f"S = {S}" for S in shown], width=7);

# %% [markdown]
# No member needs a network of its own: one network drew all of these. Look down the first columns: with few steps DDPM's larger noise stays in the picture as grain. The other three rows are clean there, and which of them is best the eye cannot say; this chapter measures it where the truth is known. Look along the rows: without noise the start decides the face; with noise the face changes with the number of steps.
#
# **Try it.** The same choice in the plane. Turn $\eta$, the amount of fresh noise, from 0 to 1 and play again. Colours tell where a point ends: without noise each end has a region of starts; with noise the colours mix.
#
# <div class="plane" data-plane="sigma">
#
# {doc}`/playground`
#
# </div>
#
# At the end of this chapter you will have checked, by running it,
#
# - that one step of the sampler is a sum of three terms, and the whole sampler a loop of a few lines;
# - that one number $\eta$ leads from DDIM ($\eta = 0$) to DDPM ($\eta = 1$), and that the second is DDPM exactly;
# - that one trained network serves the whole family, with the weights that make the theorem true;
# - what fresh noise costs when steps are few, and what it repairs when a prediction is wrong;
# - why DDPM's larger noise $\hat\sigma$ ruins short runs and can win long ones.
#
# The chapter opens {py:mod}`ddim_edu.sampler` and {py:mod}`ddim_edu.exact`, and one function of {py:mod}`ddim_edu.losses`.

# %%
generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)

# %% [markdown]
# ## From a prediction to a step
#
# For any two levels $s < t$, a draw from chapter 4's posterior {eq}`eq:q-sigma-step` is a sum of three parts: the data, scaled as level $s$ has it; the noise found in $x_t$, scaled down; and
# fresh noise of standard deviation $\sigma$, which makes up the rest of the variance of level $s$. A sampler has $x_t$ but not $x_0$. It has a network that predicts the noise, $\hat\epsilon = \epsilon_\theta(x_t, t)$, and
# {eq}`eq:unmix` turns that into a prediction $\hat x_0$ of the data. The **generative step** draws from $q_\sigma(x_s \mid x_t, \hat x_0)$:
#
# $$
# \begin{aligned}
# x_s &= \sqrt{\bar\alpha_s}\; \underbrace{\frac{x_t - \sqrt{1 - \bar\alpha_t}\; \hat\epsilon}{\sqrt{\bar\alpha_t}}}_{\text{predicted } x_0} \\
#     &\quad + \underbrace{\sqrt{1 - \bar\alpha_s - \sigma^2}\;\, \hat\epsilon}_{\text{direction pointing to } x_t} + \underbrace{\sigma z}_{\text{random noise}} .
# \end{aligned}
# $$ (eq:generative-step)
#
# These are equations 9, 10 and 12 of {cite:t}`song2021ddim`, and the three names are theirs. The second term deserves its name: the first alone would land on the
# prediction itself, scaled to level $s$; the second goes part of the way back towards $x_t$.

# %%
# checks eq:generative-step
t, s, sigma = 600, 500, 0.3
x_0 = peaks.sample(5, generator)
x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
z, eps_hat = draw(x_0, generator), peaks.eps(x_t, t)
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]

x0_hat = (x_t - (1 - abar_t).sqrt() * eps_hat) / abar_t.sqrt()
towards_x_t = (1 - abar_s - sigma**2).sqrt() * eps_hat
by_hand = abar_s.sqrt() * x0_hat + towards_x_t + sigma * z
assert torch.allclose(by_hand, ddim_step(x_t, eps_hat, abar_t, abar_s, sigma, z))
drawn = q_sigma(x_t, x0_hat, abar_t, abar_s, sigma)
assert torch.allclose(by_hand, drawn.mean + drawn.std * z)

# %% [markdown]
# ## The sampler is a loop
#
# A sampler starts from $x_T \sim \mathcal N(0, I)$ and takes this step from level to level. The levels stand in a rising list $\tau$ that starts at 0, the data;
# {py:func}`~ddim_edu.schedule.make_tau` makes one with $S$ steps. (Chapter 6 asks why levels may be skipped and which to keep.) With $S = T$ every
# level is visited, and $s = t - 1$; with fewer, this list goes up to $T$ in equal steps (here of 50). The fresh noise of a step, `schedule.sigma(t, s, eta)`, and its argument `eta` are explained in the next section. The loop:

# %%
tau, eta, abar = make_tau(1000, 20), 0.7, schedule.alpha_bar
fresh = torch.Generator().manual_seed(1)
x = torch.randn(500, 1, generator=fresh, dtype=torch.float64)
levels = tau.tolist()
for i in reversed(range(len(levels) - 1)):
    t, s = levels[i + 1], levels[i]
    eps_hat = peaks.eps(x, torch.full((len(x),), t))
    sigma = schedule.sigma(t, s, eta).item()
    z = draw(x, fresh) if sigma > 0 else None
    x = ddim_step(x, eps_hat, abar[t], abar[s], sigma, z)

fresh = torch.Generator().manual_seed(1)
whole = sample(
    peaks.eps, (500, 1), schedule, tau, eta=eta, generator=fresh, dtype=x.dtype
)
assert torch.allclose(x, whole, rtol=0, atol=1e-12)

# %% [markdown]
# Same seed, same numbers. The sampler of chapter 1 was no more than this. The package writes the loop once, as a **generator** in Python's sense: {py:func}`~ddim_edu.sampler.ddim_path`
# yields a small record after each step (`t`, `s`, `x_t`, `eps_hat`, `x0_hat`, `x_s`) and waits until it is asked for the next. Whoever wants the whole path
# collects the records; {py:func}`~ddim_edu.sampler.sample` keeps the last. The network is called once a step. The last step has $\sigma = 0$, since $\bar\alpha_0 = 1$ leaves no
# room for noise, so a sampler always ends on a prediction $\hat x_0$.

# %%
start = torch.linspace(-1.8, 1.8, 13, dtype=torch.float64)[:, None]
tau = make_tau(1000, 100)
paths = {}
for eta in (0.0, 0.3, 1.0):
    steps = ddim_path(
        peaks.eps, start, schedule, tau, eta=eta, generator=generator
    )
    paths[eta] = torch.stack([start] + [step.x_s for step in steps])[..., 0]

# %% mystnb={"figure": {"caption": "Thirteen starts, walked down in 100 steps by three members of the family with the same exact predictor. Noise is on the left of each panel, data with peaks at −1 and 0.6 on the right.", "name": "fig-sigma-paths"}, "image": {"alt": "Three panels of thirteen paths each, from level 1000 on the left to 0 on the right, most ending near -1 or 0.6. At eta 0 the paths are smooth and never cross. At eta 0.3 they tremble, at eta 1 they are jagged and tangled until shortly before the end."}} tags=["hide-input"]
fig, axes = figure(3, height=3.3, sharey=True)
for ax, (eta, path) in zip(axes, paths.items()):
    ax.plot(tau.flip(0), path, linewidth=0.8)
    ax.set(title=rf"$\eta = {eta:g}$", xlabel="level t")
    ax.invert_xaxis()
axes[0].set(ylabel="$x_t$");

# %%
for eta, path in paths.items():
    swaps = int((path[-1].diff() < 0).sum())
    assert swaps == {0.0: 0, 0.3: 4, 1.0: 5}[eta]

# %% [markdown]
# At $\eta = 0$ the order stays: the result is a function of $x_T$, and on a line an increasing one. With noise some neighbouring pairs end the other way round, 4 of the 12 at $\eta = 0.3$ and 5 at $\eta = 1$: $x_T$ no longer decides alone ({ref}`ex-sigma-half` asks how much of $x_T$ is forgotten). Chapter 7 builds on
# this function of $x_T$; the section "Noise corrects" uses the forgetting.
#
# ## One number from DDIM to DDPM
#
# The range $0 \le \sigma^2 \le 1 - \bar\alpha_s$ is different for each level $s$. The paper (equation 16) chooses one $\sigma$ for every pair of levels by a single number $\eta$:
#
# $$
# \sigma_{t \to s}(\eta) = \eta\, \sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}}\, \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}} .
# $$ (eq:sigma-eta)
#
# ```{prf:theorem} DDPM is the member with eta = 1
# :label: thm-eta-one
# With $\sigma = \sigma_{t \to s}(1)$, $q_\sigma(x_s \mid x_t, x_0)$ is the posterior of the Markov chain of {ref}`ch-forward`.
# ```
#
# ```{prf:proof}
# $\sigma_{t \to s}(1)^2$ is {eq}`eq:ddpm-sigma`, the variance of that posterior. With it {eq}`eq:left-for-found` holds, so that $x_t$ has the same coefficient in both means. Averaged over
# $x_t$ given $x_0$, both means are $\sqrt{\bar\alpha_s}\,x_0$, so the coefficients of $x_0$ agree too.
# ```

# %%
# checks eq:sigma-eta
t = torch.randint(2, 1001, (200,), generator=generator)
s = (torch.rand(200, generator=generator) * (t - 1)).long() + 1  # 1 <= s < t
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
root = ((1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)).sqrt()
assert torch.allclose(0.7 * root, schedule.sigma(t, s, 0.7), rtol=1e-12)

x_t, x_0 = torch.randn(2, 200, 3, generator=generator, dtype=torch.float64)
ours = q_sigma(x_t, x_0, abar_t, abar_s, root)
theirs = ddpm_posterior(x_t, x_0, abar_t, abar_s)
assert torch.allclose(ours.mean, theirs.mean, atol=1e-10)
assert torch.allclose(ours.std, theirs.std, atol=1e-12)

# %% [markdown]
# **Try it.** The same loop in the plane, where $\epsilon^*$ of a mixture of three clusters leads each walk, on levels spread evenly from 1000 down. At $\eta = 0$ the paths are smooth, and a
# press on the button changes nothing, because no fresh noise is drawn. Raise $\eta$: from the same starts the walks now wander, and other noise takes them to other ends. Then set $S$
# to 100, and to 10: with 10 steps the ends lie closer to the centres than the data does. The section "What a step loses" explains it.
#
# <div class="explore" data-explore="paths-2d">
#
# On the book's web pages a picture stands here that moves with sliders for $\eta$ and $S$. {numref}`fig-sigma-paths` shows walks on a line for three values of $\eta$.
#
# </div>
#
# ## One objective for all
#
# Must each $\sigma$ have its own network? The natural objective seems to say so, for it contains $\sigma$. The model $p_\theta$ starts from $\mathcal N(0, I)$ and takes the steps
# {eq}`eq:generative-step`; only its last step, $p_\theta(x_0 \mid x_1) = \mathcal N(\hat x_0, \sigma_1^2 I)$, is given a width $\sigma_1 > 0$, so that data has a density. Write $\sigma_t$ for $\sigma_{t \to t-1}$. The
# joint {eq}`eq:q-sigma-joint` is a product of steps downwards. (For the Markov chain, chapter 3 had to find this form first.) So minus the variational bound {eq}`eq:elbo`, which the paper calls $J_\sigma$ (equation 11), falls apart as in {eq}`eq:three-terms`:
#
# $$
# \begin{aligned}
# J_\sigma &= \operatorname{KL}\bigl(q(x_T \mid x_0) \,\Vert\, \mathcal N(0, I)\bigr) \\
#  &\;\; - E \ln p_\theta(x_0 \mid x_1) \\
#  &\;\; + \sum_{t=2}^{T} E \operatorname{KL}\bigl(q_\sigma(\cdot \mid x_t, x_0) \,\Vert\, q_\sigma(\cdot \mid x_t, \hat x_0)\bigr)
# \end{aligned}
# $$
#
# with expectations over data and noise (the first term too). Compare $J_\sigma$ with the weighted error of the noise, $L_\gamma = \sum_t \gamma_t\, E \lVert \epsilon - \epsilon_\theta(x_t, t) \rVert^2$ (equation 5 of the paper).
#
# ```{prf:theorem} One objective, the paper's theorem 1
# :label: thm-one-objective
# For every $\sigma_1 > 0$ and all $\sigma_2, \dots, \sigma_T > 0$ in their ranges there are weights $\gamma_t$ and a constant $C$, which does not depend on the network, with
#
# $$
# J_\sigma(\epsilon_\theta) = L_\gamma(\epsilon_\theta) + C .
# $$ (eq:one-objective)
#
# Let $k_t$ be the coefficient of $x_0$ in the mean of $q_\sigma(x_{t-1} \mid x_t, x_0)$; at $t = 1$, where the mean is $\hat x_0$, it is 1. Then
#
# $$
# \begin{gathered}
# \gamma_t = \frac{k_t^2}{2\sigma_t^2}\, \frac{1 - \bar\alpha_t}{\bar\alpha_t}, \\
# k_t = \sqrt{\bar\alpha_{t-1}} - \sqrt{\frac{(1 - \bar\alpha_{t-1} - \sigma_t^2)\, \bar\alpha_t}{1 - \bar\alpha_t}} .
# \end{gathered}
# $$ (eq:gamma-of-sigma)
# ```
#
# ```{prf:proof}
# Two Gaussians with the same covariance $\sigma^2 I$ have divergence $\lVert \mu - \mu' \rVert^2 / (2\sigma^2)$. The two means differ only in $x_0$ against $\hat x_0$, so by
# $k_t (x_0 - \hat x_0)$. And since $x_t$ is the same in {eq}`eq:unmix` for the true and the predicted noise, $x_0 - \hat x_0 = \sqrt{(1-\bar\alpha_t)/\bar\alpha_t}\, (\hat\epsilon - \epsilon)$. That gives $\gamma_t$ for $t \ge 2$ (and at $\eta = 1$ the $\gamma_t$ of {eq}`eq:kl-to-mse`).
# At $t = 1$, in $d$ dimensions,
#
# $$
# \begin{aligned}
# -\ln p_\theta(x_0 \mid x_1) &= \frac{\lVert x_0 - \hat x_0\rVert^2}{2\sigma_1^2} \\
#   &\quad {}+ \frac d2 \ln(2\pi\sigma_1^2) .
# \end{aligned}
# $$
#
# The last term and the divergence at $T$ make $C$.
# ```
#
# The check: a short schedule, data with two peaks, and four predictors from perfect to useless. Every term is estimated from the same draws; since the
# identity holds for each draw, the two sides must agree up to rounding. (The divergence at $T$ is the same for all predictors and is left out of $J$ and of $C$.)

# %%
short = NoiseSchedule.from_betas(torch.linspace(0.02, 0.5, 10))
data = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], short)
x_0 = data.sample(2_000, generator)
first = torch.tensor([0.0, 0.1], dtype=torch.float64)  # sigma_0 is not used
abar, t, printed = short.alpha_bar, torch.arange(2, 11), {}
noises = torch.randn(11, 2_000, 1, generator=generator, dtype=torch.float64)
predictors = {
    "exact": data.eps,
    "half of it": lambda x, t: 0.5 * data.eps(x, t),
    "plus a wave": lambda x, t: data.eps(x, t) + 0.3 * torch.sin(3 * x),
    "always zero": lambda x, t: 0 * x,
}


# %%
def bound(eps_theta, sigma):
    """J_sigma without its first term; the divergences are torch's."""
    total, normal = 0.0, torch.distributions.Normal
    for t in range(1, 11):
        abar_t, abar_s = short.alpha_bar[t], short.alpha_bar[t - 1]
        x_t = q_sample(x_0, t, short, noises[t])
        x0_hat = unmix_x0(x_t, eps_theta(x_t, torch.full((2_000,), t)), abar_t)
        if t == 1:
            total += -normal(x0_hat, sigma[1]).log_prob(x_0).mean()
        else:
            one = normal(*q_sigma(x_t, x_0, abar_t, abar_s, sigma[t]))
            two = normal(*q_sigma(x_t, x0_hat, abar_t, abar_s, sigma[t]))
            total += torch.distributions.kl_divergence(one, two).mean()
    return total.item()


# %%
def weighted(eps_theta, gamma):
    """L_gamma, a sum over t of the package's estimate."""
    total, full = 0.0, torch.ones(2_000, dtype=torch.int64)
    for t in range(1, 11):
        total += loss_gamma(eps_theta, x_0, t * full, noises[t], short, gamma)
    return total.item()


# %% tags=["hide-input"]
# checks eq:one-objective, eq:gamma-of-sigma
rows = []
for eta in (1.0, 0.3):
    sigma = torch.cat([first, short.sigma(t, t - 1, eta)])
    found = (1 - abar[:-1] - sigma[1:] ** 2).clamp(min=0)
    k = abar[:-1].sqrt() - (found * short.snr[1:]).sqrt()
    gamma = gamma_of_sigma(short, sigma)
    by_hand = k**2 / (2 * sigma[1:] ** 2) / short.snr[1:]
    assert torch.allclose(gamma[1:], by_hand) and k[0] == 1
    printed[eta] = torch.cat([first[:1], 1 / (2 * sigma[1:] ** 2 * abar[1:])])
    for name, f in predictors.items():
        J, L = bound(f, sigma), weighted(f, gamma)
        rows.append([name, f"{eta:g}", f"{J:.2f}", f"{L:.2f}", f"{J - L:.4f}"])
        assert abs(J - L - np.log(2 * np.pi * 0.1**2) / 2) < 1e-9
Table(["predictor", "η", "J", "L", "J − L"], rows)

# %% [markdown]
# One constant for all predictors, and here even for both $\sigma$, because $\sigma_1$ is the same. The proof names it: $\tfrac12 \ln(2\pi \cdot 0.1^2)$.
#
# ```{warning}
# In appendix B of the paper the weights are $\gamma_t = 1/(2 d\, \sigma_t^2\, \alpha_t)$, with its $\alpha_t$ our $\bar\alpha_t$ and $d$ the dimension. Beside the $d$, that leaves out $k_t^2\,(1 - \bar\alpha_t)$:
# the difference of the means is written without its factor $k_t$, and $x_0 - \hat x_0$ without its factor $\sqrt{1 - \bar\alpha_t}$. The theorem stands, with other weights; with these $J - L$ depends on the predictor:
# ```

# %% tags=["hide-input"]
sigma = torch.cat([first, short.sigma(t, t - 1, 1.0)])
gaps = {
    name: bound(f, sigma) - weighted(f, printed[1.0])
    for name, f in predictors.items()
}
assert max(gaps.values()) - min(gaps.values()) > 50  # no constant
Table(["predictor", "J − L"], [[name, f"{gap:.1f}"] for name, gap in gaps.items()])

# %% [markdown]
# The theorem still leaves a different $\gamma$ for each $\sigma$. Now suppose that the parameters are **not shared** across levels, as if each $t$ had its own network. Then each
# term of $L_\gamma$ is minimised by itself, a positive factor does not move its minimum, and the best predictor is the same for every $\gamma$: the
# conditional mean $\epsilon^*$ of chapter 3. So $\gamma = 1$ will do, which is DDPM's $L_\text{simple}$ {eq}`eq:l-simple`, and one network trained with it serves every $\sigma$. A real network shares its
# parameters. There the weights decide which levels get the better fit when not all can be fitted. The smallest example: the predictor
# $\epsilon_\theta = c\, x_t$, with a $c_t$ for each level, or one $c$ for all.

# %% tags=["hide-input"]
abar, c = short.alpha_bar[1:], torch.linspace(0, 1.5, 1501, dtype=torch.float64)
second = data.weights @ (data.means**2 + data.covs[:, 0])[:, 0]  # E[x_0^2]
cross = (1 - abar).sqrt()  # E[eps x_t]
square = abar * second + 1 - abar  # E[x_t^2]
error = 1 - 2 * cross * c[:, None] + square * c[:, None] ** 2  # (1501, 10)
weights = {"all 1": torch.ones(10)}
for eta in (1.0, 0.3):
    sigma = torch.cat([first, short.sigma(t, t - 1, eta)])
    weights[f"eta {eta:g}"] = gamma_of_sigma(short, sigma)[1:]
rows = []
for name, w in weights.items():
    own, shared = c[(w * error).argmin(0)], c[(w * error).sum(1).argmin()]
    rows.append([name, f"{own[4]:.2f}", f"{shared:.2f}"])
    assert torch.allclose(own, cross / square, atol=6e-4)  # the grid of c
Table(["weights", "c of level 5 alone", "one c for all"], rows)

# %% [markdown]
# With one $c$ for all levels the answer depends on the weights. So "no retraining" is a theorem about networks that can fit every level, and an approximation
# for the others. (At $\sigma = 0$ the weights are infinite and there is no bound to speak of; the minimum per level stays where it is.)
#
# ## What a step loses
#
# If the network is the same, the members of the family differ only in how they use it. Take a perfect predictor, and one step from $t$ to $s$. Under $q_\sigma$, $x_s$ is $k\, x_0$ plus a multiple of $x_t$ plus $\sigma z$,
# where $k$ is $k_t$ of {eq}`eq:gamma-of-sigma` with $s$ in place of $t - 1$. Given $x_t$, the true $x_0$ is still uncertain, so the truth has variance
#
# $$
# \operatorname{Var}(x_s \mid x_t) = \sigma^2 + k^2 \operatorname{Var}(x_0 \mid x_t) .
# $$ (eq:lost-variance)
#
# For DDPM's $\sigma$ this is {eq}`eq:reverse-variance`. The sampler puts the number $\hat x_0 = E[x_0 \mid x_t]$ in the place of $x_0$ and produces only $\sigma^2$. **Each step loses** $k^2 \operatorname{Var}(x_0 \mid x_t)$. And $k$ grows with $\sigma$, because
# a step that uses less of the found noise must lean more on $x_0$ itself ({ref}`ex-sigma-loss`). So inside the $\eta$ family DDIM loses least in a step, DDPM more; long steps, with their larger $k$, lose more than short ones. (What is lost can also be given back as noise, and that leaves the family: {ref}`ch-fewer-calls`.)
# The check uses the law of total variance: the lost variance, averaged over $x_t$, is what is missing from $1 - \bar\alpha_s + \bar\alpha_s \operatorname{Var}(x_0)$ after the step.
# From level 500 to 400 that is 0.018 for DDIM and 0.045 for DDPM. (Up to chance, for which the assert allows 0.002.)

# %%
# checks eq:lost-variance
t, s, n = 500, 400, 1_000_000
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
x_0 = peaks.sample(n, generator)
x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
eps_hat = peaks.eps(x_t, t)
x0_hat = unmix_x0(x_t, eps_hat, abar_t)
spread = (x0_hat - x_0).square().mean()  # E Var(x_0 | x_t)
for eta in (0.0, 1.0):
    sigma = schedule.sigma(t, s, eta)
    k = abar_s.sqrt() - ((1 - abar_s - sigma**2) * abar_t / (1 - abar_t)).sqrt()
    true = q_sigma(x_t, x_0, abar_t, abar_s, sigma).mean.var() + sigma**2
    ours = q_sigma(x_t, x0_hat, abar_t, abar_s, sigma).mean.var() + sigma**2
    assert abs(k**2 * spread - {0.0: 0.018, 1.0: 0.045}[eta]) < 0.001
    assert abs(true - ours - k**2 * spread) < 0.002

# %% [markdown]
# ### Noise costs
#
# How much does that matter after all steps? On a line this can be computed without samples. A sampler's state is described by its distribution function, the share of mass to the left of each point. The noiseless part of a step moves the points and leaves these shares as they are, because
# the new position grows with $x_t$. Fresh noise replaces each share by a Gaussian average of those around it. {py:func}`ddim_edu.line.output_cdf` follows this from the start to the end. The result is compared with the data by the **Wasserstein-1 distance**: the least mean distance that the mass of one distribution must travel to become the other.
#
# In what follows the levels are those of the official code, `make_tau(1000, S, "leading")`, because the paper's tables, which come below, were made with its lists. They start below $T$ (at 901 for $S = 10$) and end with level 1. The end will turn out to matter.

# %%
def outcome(eps_theta, S, eta, start=0.0, spacing="leading"):
    """Points, and the share of the sampler's output to the left of each."""
    tau = make_tau(1000, S, spacing)
    # without noise, starts near -0.5 go to either peak: take more of them there
    return output_cdf(eps_theta, schedule, tau, eta, start=start, centre=-0.5)


# %% [markdown]
# First a check against plain sampling. If the computed distribution is right, the largest gap between it and the shares of $n$ samples stays below $1.95/\sqrt n$ in 999 of 1,000 cases (Kolmogorov and Smirnov).

# %%
n = 50_000
x, cdf = outcome(peaks.eps, 20, 1.0)
tau = make_tau(1000, 20, "leading")
drawn = sample(peaks.eps, (n, 1), schedule, tau, eta=1.0, generator=generator)
ordered = drawn[:, 0].sort().values.double()
share = torch.searchsorted(ordered, x) / n
assert (share - cdf).abs().max() < 1.95 / n**0.5

counts = (10, 20, 50, 100, 200)
exact, etas = {}, (0.0, 0.5, 1.0)
for eta in etas:
    exact[eta] = [w1(peaks, *outcome(peaks.eps, S, eta)) for S in counts]


# %% [markdown]
# ### Noise corrects
#
# A trained network is not exact. Two deliberate faults: a predictor with a systematic error, $\epsilon^* + 0.05 \sin 4x_t$, and a start from the wrong distribution,
# $\mathcal N(0.3, 1)$. What the deterministic sampler is given, it carries to the end. Fresh noise replaces part of the state at every step, and part of the mistake should go with it.

# %%
def wavy(x, t):
    return peaks.eps(x, t) + 0.05 * torch.sin(4 * x)


wave, shifted = {}, {}
for eta in etas:
    wave[eta] = [w1(peaks, *outcome(wavy, S, eta)) for S in counts]
    shifted[eta] = [w1(peaks, *outcome(peaks.eps, S, eta, 0.3)) for S in counts]

# %% mystnb={"figure": {"caption": "Distance of the sampler's output from the data against the number of steps, for three members of the family, computed without samples. Left: exact predictor. Middle: predictor with a systematic error. Right: exact predictor, start shifted by 0.3.", "name": "fig-sigma-errors"}, "image": {"alt": "Three log-log plots of the distance against S from 10 to 200, each with three curves. Left: all fall, eta 1 lies above eta 0 and eta 0.5 everywhere. Middle: eta 0 stays almost flat above 0.1; eta 0.5 and eta 1 lie below it and fall. Right: eta 0 is flat near 0.2, eta 1 falls steadily to below 0.02."}} tags=["hide-input"]
fig, axes = figure(3, height=3.5, sharey=True)
for ax, (title, errors) in zip(axes, {"exact": exact, "wrong predictor": wave, "wrong start": shifted}.items()):
    for (eta, row), style in zip(errors.items(), ("o-", "s--", "^:")):
        ax.plot(counts, row, style, label=rf"$\eta = {eta:g}$", markersize=4)
    ax.set(title=title, xlabel="steps S", xscale="log", yscale="log")
axes[0].set(ylabel="Wasserstein-1")
axes[0].legend();

# %% tags=["hide-input"]
rows = []
for title, errors in {"exact": exact, "predictor": wave, "start": shifted}.items():
    for eta in etas:
        rows.append([title, f"{eta:g}", *(f"{e:.3f}" for e in errors[eta])])
assert all(a < b < c for a, b, c in zip(*exact.values()))  # noise costs
assert all(b < min(a, c) for a, b, c in list(zip(*wave.values()))[:4])
assert all(a > max(b, c) for a, b, c in zip(*wave.values()))
assert all(a > b > c for a, b, c in zip(*shifted.values()))
Table(["fault", "η", *(f"S = {S}" for S in counts)], rows)

# %% [markdown]
# With the exact predictor the order is the same at each of these $S$: less noise, less error. With either fault $\eta = 0$ is the worst. From the wrong start $\eta = 1$
# is the best, and with the wrong predictor $\eta = 0.5$ beats both ends up to $S = 100$.
#
# If fresh noise helps because it replaces part of the state, and with it part of an old mistake, it should help against early mistakes and not against late ones, after which little noise is left to come. So let the predictor be wrong at high levels only, then at low
# levels only. And let it be exact for the *wrong data*, with half of the mass in each peak.

# %%
def early(x, t):
    return torch.where(t[:, None] > 500, wavy(x, t), peaks.eps(x, t))


def late(x, t):
    return torch.where(t[:, None] <= 200, wavy(x, t), peaks.eps(x, t))


half = GaussianMixture([0.5, 0.5], [[-1.0], [0.6]], [0.02, 0.05], schedule)
ends = {"right": [exact[eta][-1] for eta in etas]}
for name, f in {"early": early, "late": late, "half": half.eps}.items():
    ends[name] = [w1(peaks, *outcome(f, 200, eta)) for eta in etas]

# %% tags=["hide-input"]
right, noisy = np.array(ends["right"]), ends["early"][1:]
assert abs(noisy - right[1:]).max() < 0.001 and ends["early"][0] > 10 * right[0]
assert max(ends["late"]) < 1.4 * min(ends["late"])
assert min(ends["half"]) > 0.31  # the two data are 0.2 * 1.6 = 0.32 apart
rows = [[name, *(f"{e:.3f}" for e in row)] for name, row in ends.items()]
Table(["mistake", "η = 0", "η = 0.5", "η = 1"], rows)

# %% [markdown]
# (With 200 steps.) The early mistake is forgotten: with noise the distance is that of the right predictor, without it more than ten times as large. With the late mistake all three end at nearly the same distance. And against the
# wrong data noise does nothing: every member makes the wrong data.
#
# ## DDPM's larger noise
#
# {cite:t}`ho2020ddpm` also sampled with more noise, $\hat\sigma_{t \to s} = \sqrt{1 - \bar\alpha_t/\bar\alpha_s}$, and left the rest of the $\eta = 1$ step alone. The second term of {eq}`eq:generative-step`
# makes room for $\sigma^2$ and not for $\hat\sigma^2$. So, given $x_0$ and the right prediction, level $s$ receives
#
# $$
# \begin{gathered}
# \operatorname{Var}(x_s \mid x_0) = 1 - \bar\alpha_s + \bigl(\hat\sigma^2 - \sigma_{t \to s}(1)^2\bigr), \\
# \hat\sigma^2 - \sigma_{t \to s}(1)^2 = k^2\, (1 - \bar\alpha_t) ,
# \end{gathered}
# $$ (eq:hat-excess)
#
# where $k = \sqrt{\bar\alpha_s}\,(1 - \bar\alpha_t/\bar\alpha_s)/(1 - \bar\alpha_t)$ is the coefficient of $x_0$ at $\eta = 1$. (Both sides of the second line are $(\bar\alpha_s - \bar\alpha_t)^2 / (\bar\alpha_s (1 - \bar\alpha_t))$.)
#
# Why would one do that? By {eq}`eq:lost-variance` a step at $\eta = 1$ loses the variance $k^2\operatorname{Var}(x_0 \mid x_t)$; $\hat\sigma$ adds $k^2 (1 - \bar\alpha_t)$. What counts is the ratio of the two variances,
#
# $$
# \frac{\text{lost}}{\text{added}} = \frac{\operatorname{Var}(x_0 \mid x_t)}{1 - \bar\alpha_t} .
# $$ (eq:lost-over-added)
#
# At a ratio of 1 $\hat\sigma$ adds just what was lost. That is the case of standard normal data ({ref}`ex-sigma-hat-gaussian`). At a ratio of 0 nothing was lost, and all that is added is error. That is the case of data that is a single point. They are the two cases of chapter 3, and DDPM's own reasons for the two choices. Real data lie between. How large is the error for a single point?

# %% tags=["hide-input"]
# checks eq:hat-excess
rows = []
for S in (10, 20, 50, 100, 1000):
    s, t = make_tau(1000, S, "leading")[1:3]  # the last step that adds noise
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    sigma, larger = schedule.sigma(t, s, 1.0), schedule.sigma_hat(t, s)
    found = ((1 - abar_s - sigma**2) / (1 - abar_t)).sqrt()  # on x_t, given x_0
    variance = found**2 * (1 - abar_t) + larger**2
    excess = larger**2 - sigma**2
    k = abar_s.sqrt() * (1 - abar_t / abar_s) / (1 - abar_t)
    assert torch.isclose(excess, k**2 * (1 - abar_t), rtol=1e-10)
    assert torch.isclose(variance, 1 - abar_s + excess, rtol=1e-10)
    made, told = variance**0.5, (1 - abar_s) ** 0.5
    rows.append([S, f"{made:.3f}", f"{told:.3f}"])
Table(["steps S", "noise of the state", "noise that the network is told"], rows)

# %% [markdown]
# In the worst case, a single point, with $S = 10$ the last prediction is made on a state with noise of standard deviation 0.32, by a network that is told 0.01. At $S = 1000$ it is 0.013 against 0.01. That surplus cannot be seen: one grey level of 256 is 0.008.
#
# Here is the paper's comparison on data whose truth we know: two narrow peaks, of standard deviation 0.03, and an exact predictor.
# In thousandths:

# %% tags=["hide-input"]
narrow = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], 0.03**2, schedule)
columns, table, ends = (10, 20, 50, 100, 1000), {}, {}
for eta in (0.0, 0.2, 0.5, 1.0, "hat"):
    ends[eta] = {S: outcome(narrow.eps, S, eta) for S in columns}
    table[eta] = [w1(narrow, *end) for end in ends[eta].values()]

ours = np.array(list(table.values()))
assert (np.diff(ours[:, :3], axis=0) > 0.0003).all()  # every row worse
assert ours[:, 4].argmin() == 4 and ours[4, 0] > 2.5 * ours[3, 0]
rows = [[eta, *(f"{1000 * e:.1f}" for e in row)] for eta, row in table.items()]
Table(["η", *(f"S = {S}" for S in columns)], rows)

# %% [markdown]
# The paper's Table 1 for CIFAR-10 (all of it: {doc}`/sources`), in FID (a distance between sets of pictures, chapter 11; smaller is better). Only the shape can be compared.
#
# | $S$ | 10 | 20 | 50 | 100 | 1000 |
# |---|---|---|---|---|---|
# | $\eta = 0$ | 13.36 | 6.84 | 4.67 | 4.16 | 4.04 |
# | $0.2$ | 14.04 | 7.11 | 4.77 | 4.25 | 4.09 |
# | $0.5$ | 16.66 | 8.35 | 5.25 | 4.46 | 4.29 |
# | $1$ | 41.07 | 18.36 | 8.01 | 5.78 | 4.73 |
# | $\hat\sigma$ | 367.43 | 133.37 | 32.72 | 9.99 | 3.17 |
#
# In our table the order of the rows is the paper's up to $S = 50$, and the column $S = 1000$ has the paper's surprise: $\hat\sigma$, by far the worst at first, is the best. Our
# predictor is exact, so the reason cannot be that noise corrects. What is wrong with the peaks? We measure the share of the left one and the width (half of the central 68%) of the right one. For $S = 1000$ we
# also take $\hat\sigma$ for $t \le 10$ only, and $\eta = 1$ above.

# %%
def look(name, x, cdf):
    share = np.interp(-0.2, x, cdf)
    part = share + (1 - share) * np.array([0.1587, 0.8413])
    low, high = np.interp(part, cdf, x)
    print(f"{name:10s} share {share:.4f} width {(high - low) / 2:.4f}")
    return (high - low) / 2


print("data       share 0.3000 width 0.0300")
width = {
    (eta, S): look(f"{eta!s:3s}, {S:4d}", *ends[eta][S])
    for S in (100, 1000)
    for eta in (1.0, "hat")
}

# %%
mostly = outcome(narrow.eps, 1000, lambda t: "hat" if t <= 10 else 1.0)
regained = look("t <= 10", *mostly) - width[1.0, 1000]
print(f"distance {1000 * w1(narrow, *mostly):.1f}")
assert regained > 0.75 * (width["hat", 1000] - width[1.0, 1000])
assert w1(narrow, *mostly) < table[1.0][4] / 2
assert abs(width["hat", 1000] - 0.03) < 0.0005 and width[1.0, 1000] < 0.028

# checks eq:lost-over-added
v, abar = 0.03**2, schedule.alpha_bar
one = GaussianMixture([1.0], [[0.0]], v, schedule)  # a peak by itself
for t in (2, 10, 50):
    ratio = v / (abar[t] * v + 1 - abar[t])
    at = torch.linspace(-1, 1, 3, dtype=torch.float64)[:, None]
    slope = unmix_x0(at, one.eps(at, t), abar[t]).diff(dim=0)[0, 0]
    left = slope * (1 - abar[t]) / abar[t].sqrt()  # Var(x_0 | x_t), from the slope
    assert torch.isclose(left / (1 - abar[t]), ratio)
    print(f"t = {t:3d}: lost over added, within a peak {ratio:.2f}")

# %%
x = torch.linspace(-5, 5, 2001, dtype=torch.float64)[:, None]
for t in (50, 200):  # in truth, on average over x_t: E Var(x_0 | x_t)
    abar, at = schedule.alpha_bar[t], narrow.log_prob(x, t).exp()
    x0_hat = unmix_x0(x, narrow.eps(x, torch.full((len(x),), t)), abar)[:, 0]
    second = (narrow.weights * (narrow.means[:, 0] ** 2 + 0.03**2)).sum()
    left = second - (at * x0_hat**2).sum() / at.sum()  # E x_0^2 - E x0_hat^2
    print(f"t = {t:3d}: lost over added, both peaks {left / (1 - abar):.2f}")
    assert abs(left / (1 - abar) - {50: 0.03, 200: 0.64}[t]) < 0.02

# %% [markdown]
# The width is what differs. A thousand small losses of variance leave the peaks too narrow at $\eta = 1$, and $\hat\sigma$ gives the width back. Most of that happens in the last ten levels, and the ratio {eq}`eq:lost-over-added` shows why. Within one peak of variance $v$, $\operatorname{Var}(x_0 \mid x_t) = v\,(1 - \bar\alpha_t)/(\bar\alpha_t v + 1 - \bar\alpha_t)$ (two Gaussians multiplied),
# so the ratio is $v/(\bar\alpha_t v + 1 - \bar\alpha_t)$. It is large at $t = 2$, a third at $t = 10$, and small at $t = 50$. (Higher up, where $x_t$ may have come from either peak, it is large again, 0.64 at $t = 200$.) Where the ratio is small $\hat\sigma$ adds too much, and later steps remove it. After the last noisy step no step can: at $S = 100$ its noise (0.046) is wider than the peaks (0.03),
# and the width shows it.
#
# At $S = 100$ $\hat\sigma$ has drawn level with $\eta = 1$, which in the paper it has not. The share has a part in it: with $\eta = 1$ almost 0.005 of the mass is in the wrong peak, a distance of 1.6 away.
# So the details depend on the data and on the measure. For a real network the corrections of "Noise corrects" may come on top; this table cannot tell how much.
#
# Does it matter that these peaks are so narrow? The wider peaks from above say yes: there, $\hat\sigma$ is already better than $\eta = 1$ from $S = 20$ on.

# %% tags=["hide-input"]
wide = [w1(peaks, *outcome(peaks.eps, S, "hat")) for S in counts]
assert wide[0] > exact[1.0][0]
assert all(a < b for a, b in zip(wide[1:], exact[1.0][1:]))
rows = ["1", *(f"{e:.3f}" for e in exact[1.0])], ["hat", *(f"{e:.3f}" for e in wide)]
Table(["η", *(f"S = {S}" for S in counts)], rows)

# %% [markdown]
# And the last jump, to level 1? The package's own list, `trailing`, has none: its last noisy step ends at level $T/S$. The narrow peaks again, in thousandths, for $S = 10$ to 100:

# %% tags=["hide-input"]
own = {1.0: [], "hat": []}
for eta, row in own.items():
    ends_ = [outcome(narrow.eps, S, eta, spacing="trailing") for S in columns[:4]]
    row += [w1(narrow, *end) for end in ends_]
s, t = make_tau(1000, 10)[1:3]
excess = schedule.sigma_hat(t, s) ** 2 - schedule.sigma(t, s, 1.0) ** 2
told = (1 - schedule.alpha_bar[s]) ** 0.5
assert abs((told**2 + excess) ** 0.5 / told - 1.7) < 0.03
assert all(larger < one for larger, one in zip(own["hat"], own[1.0]))
rows = [[eta, *(f"{1000 * e:.1f}" for e in row)] for eta, row in own.items()]
Table(["η", *(f"S = {S}" for S in columns[:4])], rows)

# %% [markdown]
# With these levels $\hat\sigma$ is ahead of $\eta = 1$ at every $S$. So on this data it is the last jump that ruins the short runs of $\hat\sigma$. With $S = 10$ and that jump, the prediction that becomes the sample is made on a state with 32 times the noise that the network is told of; without it, with 1.7 times.
#
# ## On a trained network
#
# The shipped model of 8 × 8 digits was trained once, with all weights 1. Three samplers use it, with ten steps of `leading` and the same start. (From $T$, where the other list starts, this model's pixels would have to be clipped; chapter 6 shows it.) Pixels of the data lie in
# $[-1, 1]$; how far does a pixel stray outside, on average?

# %%
digits = load("digits")
tau, made = make_tau(digits.schedule.T, 10, "leading"), {}
for eta in (0.0, 1.0, "hat"):
    fresh, shape = torch.Generator().manual_seed(0), (100, 1, 8, 8)
    made[eta] = sample(
        digits.model, shape, digits.schedule, tau, eta=eta, generator=fresh
    )

# %% mystnb={"figure": {"caption": "The four starts of `benchmarks/strips.py`, ten steps each, by the model of faces: DDIM ($\\eta = 0$), DDPM ($\\eta = 1$) and DDPM with the larger noise $\\hat\\sigma$. Only the larger noise leaves grain. (Faces after Pablo Stanley and, under CC BY 4.0, Micah Lanier, Johan Melin and Draftbit; see {doc}`/using`.)", "name": "fig-sigma-ten"}, "image": {"alt": "Three rows of four drawn faces, 32 by 32 pixels. The rows for eta 0 and eta 1 show clean faces on plain grounds, the row for sigma-hat shows faces with coloured grain all over."}} tags=["hide-input"]
every = {}
for row in stored:
    if row["S"] == 10 and row["eta"] != 0.5:
        every[row["eta"]] = from_text(row["pictures"], 3, 32, 32)
names = {0.0: "η = 0", 1.0: "η = 1", "hat": "larger"}
picture_rows({name: every[eta] for eta, name in names.items()}, width=6.0);

# %% tags=["hide-input"]
outside, rows = {}, []
for eta, x in made.items():
    each = outside[eta] = (x.abs() - 1).clamp(min=0).flatten(1).mean(1)
    rows.append([eta, f"{each.mean():.4f} ± {each.std() / 10:.4f}"])
assert outside["hat"].mean() > 3 * max(outside[0.0].mean(), outside[1.0].mean())
Table(["η", "mean of a pixel beyond −1 or 1"], rows)

# %% [markdown]
# The excess is visible as grain on the faces, and measurable on the digits. (Clipping $\hat x_0$ to $[-1, 1]$, as the official code does for $\hat\sigma$ only, would hide it from this number.)
#
# ## What breaks: a square too many
#
# The root in {eq}`eq:sigma-eta` is $\sigma$. It is easily taken for $\sigma^2$ (one text does so: {doc}`/sources`). The noise is then $\sqrt{\sigma(1)}$, which is larger, since $\sigma(1) < 1$. Does this noise stay in its range? Where it does not, the direction term has the root of a negative number. The package refuses. A code that sets the negative number to 0 goes on,
# and level $s$ gets variance $\sigma^2$ instead of $1 - \bar\alpha_s$. The slip is out of range at 54 of the 999 steps.

# %% tags=["hide-input"]
t = torch.arange(2, 1001)
abar_s = schedule.alpha_bar[t - 1]
slip = schedule.sigma(t, t - 1, 1.0).sqrt()
beyond = slip**2 > 1 - abar_s
rows = [
    [s, f"{slip[s - 1] ** 2:.4f}", f"{1 - abar_s[s - 1]:.4f}"] for s in (1, 10, 50, 100)
]
assert beyond.sum() == 54 and beyond[:40].all() and slip[0] ** 2 > 50 * (1 - abar_s[0])

refused = False
try:
    abar = schedule.alpha_bar
    ddim_step(x_t, eps_hat, abar[2], abar[1], slip[0], 0 * x_t)
except ValueError:
    refused = True
assert refused
Table(["to level", "variance of the slipped noise", "variance of the level"], rows)

# %%
abar, rms = schedule.alpha_bar.tolist(), {}
levels = make_tau(1000, 100, "leading").tolist()
for name, power in (("right", 1.0), ("slipped", 0.5)):
    fresh = torch.Generator().manual_seed(0)
    x = torch.randn(2_000, 1, generator=fresh, dtype=torch.float64)
    for s, t in reversed(list(zip(levels, levels[1:]))):
        eps_hat, sigma = narrow.eps(x, t), schedule.sigma(t, s, 1.0).item() ** power
        direction = max(1 - abar[s] - sigma**2, 0.0) ** 0.5  # "mended"
        x = abar[s] ** 0.5 * unmix_x0(x, eps_hat, abar[t]) + direction * eps_hat
        x = x + sigma * draw(x, fresh)
    off = (x - narrow.means[:, 0]).abs().min(1).values
    rms[name] = off.square().mean().sqrt().item()
assert abs(rms["slipped"] - 0.1) < 0.005 and abs(rms["right"] - 0.02) < 0.005

# %% [markdown]
# The right sampler ends at a root mean square distance of 0.02 from the nearest peak, the slipped one at 0.10; in the data it is 0.03. At high levels, where it stays in range, the slip does no harm to the marginals: every $\sigma$ in range is a member of the family. Near the data its noise is more than the level can hold.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the larger noise is right for Gaussian data
# :label: ex-sigma-hat-gaussian
# *Derive · two stars · 20 minutes*
#
# Let the data be $\mathcal N(0, 1)$, where $\epsilon^* = \sqrt{1-\bar\alpha_t}\, x_t$. Show that a step with $\hat\sigma$ takes variance 1 to variance 1, whatever $t$ and $s$. What does $\eta = 1$ make of it?
# Hand in the variance after a step with $\eta = 1$ from variance 1, as a function `variance(abar_t, abar_s)`: `check("ex-sigma-hat-gaussian", variance)`.
# ```
#
# ````{solution} ex-sigma-hat-gaussian
# :class: dropdown
# $\hat x_0 = \sqrt{\bar\alpha_t}\, x_t$, and the $\eta = 1$ mean is $\bigl(\sqrt{\bar\alpha_s \bar\alpha_t} + \sqrt{\bar\alpha_t/\bar\alpha_s}\,(1 - \bar\alpha_s)\bigr) x_t = \sqrt{\bar\alpha_t/\bar\alpha_s}\, x_t$ (use {eq}`eq:left-for-found`).
# Its variance $\bar\alpha_t/\bar\alpha_s$ and $\hat\sigma^2$ add up to 1. With $\sigma(1) < \hat\sigma$ the variance falls below 1.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def variance(abar_t, abar_s):
#     kept = abar_t / abar_s
#     return kept + (1 - abar_s) / (1 - abar_t) * (1 - kept)
#
# schedule = NoiseSchedule.linear()
# abar, tau = schedule.alpha_bar, make_tau(1000, 10).tolist()
# after = {"eta 1": 1.0, "hat": 1.0}
# for s, t in reversed(list(zip(tau[1:], tau[2:]))):
#     sigma, larger = schedule.sigma(t, s, 1.0), schedule.sigma_hat(t, s)
#     a = (abar[s] * abar[t]).sqrt() + ((1 - abar[s] - sigma**2) * (1 - abar[t])).sqrt()
#     # the found noise is sqrt(1 - abar_t) x_t
#     assert torch.isclose(a, (abar[t] / abar[s]).sqrt())
#     assert torch.isclose(a**2 + sigma**2, variance(abar[t], abar[s]))
#     after["eta 1"] = a**2 * after["eta 1"] + sigma**2
#     after["hat"] = a**2 * after["hat"] + larger**2
# assert abs(after["hat"] - 1) < 1e-12 and after["eta 1"] < 0.95
# assert check("ex-sigma-hat-gaussian", variance)
# ```
# ````
#
# ```{exercise} Derive: who loses least
# :label: ex-sigma-loss
# *Derive · one star · 15 minutes*
#
# Show that the coefficient $k$ in {eq}`eq:lost-variance` grows with $\sigma$, and that at $\sigma = 0$ it is positive. At which $\sigma$ is it $\sqrt{\bar\alpha_s}$, and what does the step do there?
# Hand in that $\sigma$ as a function `sigma(abar_s)`: `check("ex-sigma-loss", sigma)`.
# ```
#
# ````{solution} ex-sigma-loss
# :class: dropdown
# $k = \sqrt{\bar\alpha_s} - \sqrt{1-\bar\alpha_s-\sigma^2}\,\sqrt{\operatorname{SNR}(t)}$ and the root falls with $\sigma$. At $\sigma = 0$, $k = \sqrt{1-\bar\alpha_s}\,(\sqrt{\operatorname{SNR}(s)} - \sqrt{\operatorname{SNR}(t)}) > 0$. At
# $\sigma^2 = 1-\bar\alpha_s$ the found noise is thrown away: the step predicts $x_0$ and noises it afresh.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def sigma(abar_s):
#     return (1 - abar_s) ** 0.5
#
# schedule = NoiseSchedule.linear()
# abar_t, abar_s = schedule.alpha_bar[500], schedule.alpha_bar[400]
# variance = torch.linspace(0, 1, 101, dtype=torch.float64) * sigma(abar_s) ** 2
# k = abar_s.sqrt() - ((1 - abar_s - variance).clamp(min=0) * schedule.snr[500]).sqrt()
# assert (k.diff() > 0).all() and k[0] > 0 and torch.isclose(k[-1], abar_s.sqrt())
# assert check("ex-sigma-loss", sigma)
# ```
# ````
#
# ```{exercise} Code: noise only where it helps
# :label: ex-sigma-both
# *Code · two stars · 25 minutes*
#
# Write a sampler with $\eta = 1$ in steps that leave a level $t > 500$ and $\eta = 0$ below. Start it from $\mathcal N(0.3, 1)$ with $S = 100$, and compare the share of samples in the left peak (30% of the data) with that of pure DDIM.
# Hand in the function, `sampler(eps_theta, x_T, schedule, tau, generator)`, which returns $x_0$: `check("ex-sigma-both", sampler)`.
# ```
#
# ````{solution} ex-sigma-both
# :class: dropdown
# The noise at high levels forgets the wrong start, and the deterministic rest loses little variance.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.randomness import draw
# from ddim_edu.sampler import ddim_step
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def sampler(eps_theta, x_T, schedule, tau, generator, eta_above=1.0):
#     x, abar, tau = x_T, schedule.alpha_bar, [int(t) for t in tau]
#     for s, t in reversed(list(zip(tau, tau[1:]))):
#         sigma = schedule.sigma(t, s, eta_above if t > 500 else 0.0)
#         eps = eps_theta(x, torch.full((len(x),), t))
#         x = ddim_step(x, eps, abar[t], abar[s], sigma, draw(x, generator))
#     return x
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# g, n, tau = torch.Generator().manual_seed(0), 5_000, make_tau(1000, 100)
#
# def share(eta_above):
#     x_T = 0.3 + torch.randn(n, 1, generator=g, dtype=torch.float64)
#     x_0 = sampler(peaks.eps, x_T, schedule, tau, g, eta_above)
#     return (x_0 < -0.3).double().mean().item()
#
# error = (0.3 * 0.7 / n) ** 0.5
# assert abs(share(1.0) - 0.3) < 6 * error < abs(share(0.0) - 0.3)
# assert check("ex-sigma-both", sampler)
# ```
# ````
#
# ```{exercise} Break: the same noise at every step
# :label: ex-sigma-same-noise
# *Break · two stars · 20 minutes*
#
# Sample with $\eta = 1$ and $S = 1000$, but draw one $z$ and use it at every step. Data: $\mathcal N(0, 1)$. What is the standard deviation of $x$ at level 500?
# Hand in the number: `check("ex-sigma-same-noise", std)`.
# ```
#
# ````{solution} ex-sigma-same-noise
# :class: dropdown
# 17 instead of 1. By the exercise above, a step is $x_s = a\,x_t + \sigma z$ with $a = \sqrt{\bar\alpha_t/\bar\alpha_s}$. With one $z$ for all steps its contributions add as lengths and not as squares, as in {ref}`ch-variance`.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
# from ddim_edu.sampler import ddim_step
#
# schedule, n = NoiseSchedule.linear(), 2_000
# abar, g = schedule.alpha_bar, torch.Generator().manual_seed(0)
# x, z = torch.randn(2, n, generator=g, dtype=torch.float64)
# from_z = 0.0  # the coefficient of z in x
# for t in range(1000, 500, -1):
#     eps = (1 - abar[t]).sqrt() * x
#     sigma = schedule.sigma(t, t - 1, 1.0)
#     x = ddim_step(x, eps, abar[t], abar[t - 1], sigma, z)
#     from_z = (abar[t] / abar[t - 1]).sqrt() * from_z + sigma
# expected = (from_z**2 + abar[1000] / abar[500]).sqrt()
# assert round(expected.item()) == 17
# assert abs(x.std() / expected - 1) < 5 * (0.5 / n) ** 0.5
# assert check("ex-sigma-same-noise", x.std())
# ```
# ````
#
# ```{exercise} Measure: half of a mistake forgotten
# :label: ex-sigma-half
# *Measure · two stars · 25 minutes*
#
# Start from $\mathcal N(0.3, 1)$ in place of $\mathcal N(0, 1)$, with $S = 100$ and the exact predictor of the mixture on the line. At $\eta = 0$ the left peak gets less than its 30%. At which $\eta$ is that error half as large? Take 20,000 samples and steps of 0.1, and read off between
# them. Hand in the number: `check("ex-sigma-half", eta)`.
# ```
#
# ````{solution} ex-sigma-half
# :class: dropdown
# At about 0.4. The share rises slowly at first (at $\eta = 0.3$ more than 60% of the error is left), and at $\eta = 0.8$ less than 15% of it is left to forget.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import ddim_path
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule, tau = NoiseSchedule.linear(), make_tau(1000, 100)
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
#
# def error(eta):
#     g = torch.Generator().manual_seed(0)
#     x_T = 0.3 + torch.randn(20_000, 1, generator=g, dtype=torch.float64)
#     *_, last = ddim_path(peaks.eps, x_T, schedule, tau, eta=eta, generator=g)
#     return 0.3 - (last.x_s < -0.3).double().mean().item()
#
# errors = {eta: error(eta) for eta in (0.0, 0.3, 0.4, 0.5, 0.8)}
# assert errors[0.3] > 0.6 * errors[0.0] and errors[0.8] < 0.15 * errors[0.0]
# low = 0.4 if errors[0.4] > errors[0.0] / 2 else 0.3
# high = round(low + 0.1, 1)
# left = (errors[low] - errors[0.0] / 2) / (errors[low] - errors[high])
# assert check("ex-sigma-half", low + 0.1 * left)
# ```
# ````

#
# ## Summary
#
# 1. A step is predicted $x_0$, plus direction pointing to $x_t$, plus fresh noise; the sampler is a loop over it, and `ddim_path` is that loop as a generator.
# 2. $\eta$ scales the noise: 0 is DDIM, a function of $x_T$; 1 is DDPM, exactly.
# 3. $J_\sigma = L_\gamma + C$ with weights that contain $k_t^2$; if every level can be fitted, the weights do not matter, so one network serves all.
# 4. A step loses $k^2 \operatorname{Var}(x_0 \mid x_t)$ of variance, more with more noise: inside the $\eta$ family, few steps with a good network ask for $\eta = 0$. Fresh noise also wears early mistakes away, so with a faulty prediction or start more noise can be better.
# 5. $\hat\sigma$ adds $k^2 (1 - \bar\alpha_t)$, which is right for standard normal data and, on average, too much for data of smaller variance (chapter 3). In short runs on narrow data that end with a jump to level 1 the excess is what one sees; in long runs $\hat\sigma$ can be the best.
#
# **Next.** Chapter 6 asks which levels to visit, and why any may be left out. In the package, read {py:mod}`ddim_edu.sampler`: at its centre is the loop of this chapter.
