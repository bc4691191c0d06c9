# %% [markdown]
# (ch-continuous)=
# # Time without steps
#
# **Question.** A thousand levels are a habit. What remains of the chain, of DDPM and of DDIM, if the levels lie ever closer? And the words of the years that followed, SDE, score, flow matching: do they name other models?

# %% tags=["hide-input"]
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import solve_banded

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.flow import (
    abar_of,
    as_eps_theta,
    as_velocity,
    eps_to_velocity,
    from_flow,
    gamma_of_flow,
    r_of,
    schedule_on,
    to_flow,
    velocity_to_eps,
)
from ddim_edu.forward import q_sample
from ddim_edu.losses import draw_t, gamma_of_sigma, loss_gamma, loss_simple
from ddim_edu.models import load
from ddim_edu.nets.points import PointNet
from ddim_edu.plotting import COLOURS, figure, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, decode
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% tags=["hide-input"]
generator = torch.Generator().manual_seed(0)
linear = NoiseSchedule.linear()
nsr, alpha_bar = linear.nsr, linear.alpha_bar
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], linear)

# %% mystnb={"figure": {"caption": "One density, two ways to live in it. Grey: the density of $x_t$, from noise (left) to data with peaks at −1 and 0.6 (right). Seven walkers follow the equation without noise (left) and the equation with noise (right). No single walk on the left is like one on the right, but at every level the crowds have the same density.", "name": "fig-continuous-flow"}, "image": {"alt": "Two panels with the same grey background, one broad band at level 1000 that splits into two narrow bands near level 0. Left: seven smooth lines that never cross. Right: seven jagged lines that cross often until the bands part."}} tags=["hide-input"]
line = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None]
background = torch.stack([peaks.log_prob(line, t).exp() for t in range(0, 1001, 5)])
crowd = draw(torch.empty(2_000, 1, dtype=torch.float64), generator)
crowd[:7] = torch.special.ndtri((torch.arange(7.0, dtype=torch.float64)[:, None] + 0.5) / 7)
walks, ends = {}, {}
for eta in (0.0, 1.0):
    walk = ddim_path(peaks.eps, crowd, linear, make_tau(1000, 1000), eta=eta, generator=generator)
    path = [crowd[:7]]
    for step in walk:
        path.append(step.x_s[:7])
    walks[eta], ends[eta] = torch.cat(path, 1).T, step.x_s
fig, axes = figure(2, height=4.2, sharey=True)
for ax, (eta, name) in zip(axes, ((0.0, "ODE: no noise"), (1.0, "SDE: noise all the way"))):
    ax.imshow(background.T ** 0.5, origin="lower", extent=(0, 1000, -3, 3), aspect="auto", cmap="Greys", vmax=1.3)
    ax.plot(range(1000, -1, -1), walks[eta], linewidth=0.8)
    ax.set(title=name, xlabel="level t", ylim=(-2.7, 2.7), xlim=(1000, 0))
    ax.grid(False)
axes[0].set(ylabel="$x_t$");

# %% [markdown]
# They name one process, in other units. On the left are paths of an ODE, a differential equation without noise: this is DDIM with steps too short to see. On the right are paths of an SDE, a differential equation with noise: this is DDPM with such steps. The grey density is the same in both. Flow matching will draw the left panel in other units.
#
# At the end of this chapter you will have checked, by running it,
#
# - which equation the chain tends to, and how fast;
# - in one computation, that every $\eta$ has the same marginals: $\eta$ is a dial on the noise of the paths, and the density does not notice;
# - why noise corrects: without it a wrong start is never forgotten, with it the gap falls at a rate that you can write down;
# - that two roads, the bound of chapter 3 and the matching of scores, lead to one loss;
# - that Euler's method in flow matching *is* the DDIM step, to 12 digits, and what flow matching does choose differently.
#
# You need chapter 7, a Taylor expansion and integration by parts.
#
# The chapter opens {py:mod}`ddim_edu.flow`.

# %%
for eta, x in ends.items():
    left = (x < -0.3).double().mean().item()
    print(f"eta {eta:.0f}: {left:.2f} of 2,000 walkers end in the left peak")
    assert abs(left - 0.3) < 4 * (0.3 * 0.7 / 2_000) ** 0.5

# %% [markdown]
# ## The chain with ever more steps
#
# Let the time $u = t/T$ run from 0 to 1, and write $\beta_t = \beta(u)/T$: with twice as many levels each step adds half as much. (DDPM's linear schedule is $\beta(u) = 0.1 + 19.9\,u$, read at $T = 1000$.) For small $\beta_t$, $\sqrt{1 - \beta_t} = 1 - \tfrac12\beta_t$ up to a multiple of $\beta_t^2$. With $h = 1/T$ the forward step {eq}`eq:forward-step`, $x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, z_t$, becomes
#
# $$
# x_t - x_{t-1} = -\tfrac12 \beta(u)\, x_{t-1}\, h + \sqrt{\beta(u)\, h}\; z_t + O(h^2) .
# $$ (eq:chain-limit)
#
# What stays of $T$ such steps when $T$ grows? $T$ leftovers of order $h^2$ add up to one of order $h$, and vanish. The drifts add up to an integral. And $T$ independent normal numbers of variance $\beta h$ add up to one whose *variance* is an integral, $\int \beta\, du$: the noise stays. The limit is called a **stochastic differential equation** (SDE):
#
# $$
# dx = -\tfrac12 \beta(u)\, x\, du + \sqrt{\beta(u)}\, dw .
# $$ (eq:vp-sde)
#
# It is shorthand for {eq}`eq:chain-limit` with small steps: $dw$ stands for $\sqrt{h}\, z_t$, a fresh normal number of variance $du$. The first term is the **drift**, where the state goes on average; the second the **diffusion**. {cite:t}`song2021sde` named this SDE variance preserving (VP). Two numbers of the limit can be read off. Each small step multiplies $\bar\alpha$ by $1 - \beta(u)h$, that is, takes $\beta(u)h$ from $\ln\bar\alpha$. So in the end
#
# $$
# \bar\alpha(u) = \exp\Bigl(-\int_0^u \beta(u')\, du'\Bigr) .
# $$ (eq:abar-limit)
#
# And along a *single* path the squares of the increments add up to the same integral, because a square is $\beta h z^2$ with mean $\beta h$, while the drift gives squares of order $h^2$ only. So the noise along a path has a definite amount. (Columns: gap of $\bar\alpha$; gap of the drift, at $u = \tfrac12$ and $x = 1$; sum of squares on one path, which tends to $\int_0^1 \beta\, du = 0.1 + 9.95 = 10.05$.)

# %%
# checks eq:chain-limit, eq:abar-limit, eq:vp-sde
gaps = []
for T in (100, 1_000, 10_000):
    chain, u = NoiseSchedule.linear(T, 0.1 / T, 20 / T), torch.arange(T + 1).double() / T
    gap = (chain.alpha_bar - (-0.1 * u - 9.95 * u**2).exp()).abs().max()
    half = chain.beta[T // 2]
    drift = (((1 - half).sqrt() - 1) * T + half * T / 2).abs()
    x, squares, noise = torch.ones(()).double(), 0.0, draw(u, generator)
    for t in range(1, T + 1):
        new = (1 - chain.beta[t]).sqrt() * x + chain.beta[t].sqrt() * noise[t]
        x, squares = new, squares + (new - x) ** 2
    print(f"T {T:6d}: {gap:.5f} {drift:.5f} {squares:6.2f}")
    gaps.append([gap.item(), drift.item()])
assert np.allclose(np.divide(gaps[:-1], gaps[1:]), 10, rtol=0.05)  # order 1/T
assert abs(squares - 10.05) < 4 * 10.05 * (2.7 / T) ** 0.5

# %% [markdown]
# ## Itô's rule, by Taylor
#
# What does a function $f$ do along a noisy path? Take a small step $x' = x + a\,h + \sqrt{2Dh}\; z$ with drift $a$ and noise of variance $2Dh$. (The 2 spares one in all that follows.) Expand to second order:
#
# $$
# \begin{aligned}
# f(x') &= f + f'\,(a h + \sqrt{2Dh}\, z) \\
#       &\quad + \tfrac12 f''\,(a h + \sqrt{2Dh}\, z)^2 + \dots
# \end{aligned}
# $$
#
# Take the mean over $z$. The term with $\sqrt h$ vanishes, and of the square $2Dh\, z^2$ the mean $2Dh$ remains, *which is of the same order as the drift*. In several dimensions, with the Laplacian $\Delta$ of chapter 7,
#
# $$
# E\, f(x') = f + h\,(a \cdot \nabla f + D\, \Delta f) + O(h^2) .
# $$ (eq:ito)
#
# That is **Itô's rule**: noise moves the mean of $f$ where $f$ is curved. The mean over $z$ can be computed to many digits by a rule for Gaussian integrals; what {eq}`eq:ito` leaves over must fall to a quarter when $h$ is halved.

# %%
# checks eq:ito
nodes, weights = np.polynomial.hermite_e.hermegauss(40)
weights, x, a, D = weights / weights.sum(), 0.7, -1.3, 0.8
left = []
for h in (0.02, 0.01, 0.005):
    mean = weights @ np.sin(x + a * h + (2 * D * h) ** 0.5 * nodes)
    left.append(mean - np.sin(x) - h * (a * np.cos(x) - D * np.sin(x)))
print("left over:", " ".join(f"{value:.1e}" for value in left))
assert np.allclose(np.divide(left[:-1], left[1:]), 4, rtol=0.03)

# %% [markdown]
# From one path to a density $p$ is one integration by parts. The mean of $f$ over $p$ is $\int f p$. By {eq}`eq:ito` it changes at the rate $\int p\,(a \cdot \nabla f + D\,\Delta f)$. Move the derivatives from $f$ to $p$, which vanishes far out: one derivative changes the sign, two do not. What then stands beside $f$ must be the rate at which $p$ changes, as this holds for every $f$:
#
# $$
# \frac{\partial p}{\partial \text{time}} = -\nabla \cdot (a\, p) + D\, \Delta p ,
# $$ (eq:fokker-planck)
#
# the **Fokker–Planck equation**. Its first term is that of chapter 7's equation of a cloud, its second that of the heat equation.
#
# ## Every η at once
#
# In chapter 7's units, $\bar x = x/\sqrt{\bar\alpha}$ with the clock $\nu$, take a step by which $\nu$ changes by $\pm h$, up or down. Upwards the forward process only adds noise, and its variance $\nu^2$ grows by $2\nu h$. The flow of chapter 7 adds none, and moves by $\pm\epsilon^* h$. Here are both, and all between:
#
# $$
# \bar x' = \bar x + (\pm 1 - \eta^2)\, \epsilon^*\, h + \eta \sqrt{2 \nu h}\; z .
# $$ (eq:eta-sde)
#
# ```{prf:theorem} One density for every η
# :label: thm-eta-marginals
# Let $\eta \ge 0$ be any number, or any function of $\nu$. If $\bar x$ has the density $p_\nu$ of $x_0 + \nu\epsilon$ at the start and follows {eq}`eq:eta-sde` with $h \to 0$, up or down, then it has the density $p_\nu$ at every $\nu$ on its way.
# ```
#
# ```{prf:proof}
# Put $a = (\pm 1 - \eta^2)\, \epsilon^*$ and $D = \eta^2 \nu$ into {eq}`eq:fokker-planck`. By {eq}`eq:velocity`, $\epsilon^* p_\nu = -\nu \nabla p_\nu$. So
#
# $$
# \begin{aligned}
# -\nabla \cdot (a\, p_\nu) + D\, \Delta p_\nu &= (\pm 1 - \eta^2)\, \nu\, \Delta p_\nu + \eta^2 \nu\, \Delta p_\nu \\
#  &= \pm \nu\, \Delta p_\nu .
# \end{aligned}
# $$ (eq:eta-cancels)
#
# The $\eta^2$ cancel, and what is left is {eq}`eq:heat`, which $p_\nu$ satisfies. (With smooth coefficients the equation has one solution for a given start.)
# ```
#
# Read {eq}`eq:eta-sde` as two parts. One is the flow $\pm\epsilon^* h$ of chapter 7. The other, $-\eta^2 \epsilon^* h + \eta\sqrt{2\nu h}\, z$, pushes uphill in the density ($-\epsilon^* = \nu\nabla\ln p_\nu$) and spreads out again. Alone it is known as **Langevin dynamics**. On $p_\nu$ its two halves cancel. Let us call it the *churn*; {cite:t}`karras2022edm` split the process in this way. Three settings of the dial have names.
#
# - $\eta = 0$: the **probability-flow ODE**.
# - $\eta = 1$ upwards: the drift is 0, only noise is added. This is the forward process.
# - $\eta = 1$ downwards: the **reverse-time SDE**. {cite:t}`anderson1982reverse` found it, and proved more: its *paths*, as wholes, are distributed as the forward paths seen backwards. Among all $\eta$ only this one can have that ({ref}`ex-continuous-memory`).
#
# Now in the units of $x = \sqrt{\bar\alpha}\,\bar x$ and the time $u$. While $u$ falls by $du$, $\ln\bar\alpha$ grows by $\beta\,du$, so $\sqrt{\bar\alpha}$ by the share $\tfrac12\beta\,du$; and $\nu^2 = 1/\bar\alpha - 1$ falls by $2\nu h = \beta\,du/\bar\alpha$. With {eq}`eq:tweedie` the step down becomes
#
# $$
# dx = \Bigl(\frac{x}{2} + \frac{1 + \eta^2}{2}\, \nabla \ln q\Bigr) \beta(u)\, du + \eta \sqrt{\beta(u)}\; dw .
# $$ (eq:reverse-eta)
#
# (Here $du$ is the length of the step, a positive number.) And the sampler? In the units of $\bar x$ its step {eq}`eq:generative-step`, with the $\sigma$ of {eq}`eq:sigma-eta`, is
#
# $$
# \begin{gathered}
# \bar x_s = \bar x_t + \bigl(\sqrt{\nu_s^2 - \bar\sigma^2} - \nu_t\bigr)\, \hat\epsilon + \bar\sigma z, \\
# \bar\sigma^2 = \eta^2\, \frac{\nu_s^2}{\nu_t^2}\, (\nu_t^2 - \nu_s^2) .
# \end{gathered}
# $$ (eq:eta-step)
#
# With $h = \nu_t - \nu_s$ small, $\bar\sigma^2 \approx 2\eta^2\nu h$ and the bracket is $-(1 + \eta^2)\,h$: the step {eq}`eq:eta-sde` downwards. So **the sampler of chapter 5 is one discretisation of all these equations**: DDPM, at $\eta = 1$, of the reverse-time SDE, DDIM of the ODE. Taking {eq}`eq:reverse-eta` itself with small steps is another; it is called Euler–Maruyama's method. Per unit of time the sampler's step, {eq}`eq:eta-sde` and {eq}`eq:reverse-eta` must differ by less and less, in proportion to $1/T$. The cell checks it, and the algebra of {eq}`eq:eta-step` to 12 digits.

# %% tags=["hide-input"]
# checks eq:eta-step, eq:eta-sde, eq:reverse-eta
x = torch.tensor([[-0.8], [0.1], [1.2]]).double()
z = draw(x, generator)
for eta in (0.0, 0.6, 1.0):
    off = []
    for T in (1_000, 10_000):
        chain, t = NoiseSchedule.linear(T, 0.1 / T, 20 / T), T // 5
        abar_t, abar_s = chain.alpha_bar[[t, t - 1]]
        (nu, nu_s), beta, sigma = chain.nsr[[t, t - 1]], chain.beta[t], chain.sigma(t, t - 1, eta)
        eps, xbar = peaks.eps_at(x, abar_t), x / abar_t.sqrt()
        bar = eta * nu_s / nu * (nu**2 - nu_s**2).sqrt()
        by_hand = xbar + ((nu_s**2 - bar**2).sqrt() - nu) * eps + bar * z
        ours = ddim_step(x, eps, abar_t, abar_s, sigma, z)
        assert torch.allclose(ours, by_hand * abar_s.sqrt(), rtol=0, atol=1e-12)

        mean = ddim_step(x, eps, abar_t, abar_s, sigma, 0 * z)
        in_nu = (xbar - (1 + eta**2) * eps * (nu - nu_s)) * abar_s.sqrt()
        score = -eps / (1 - abar_t).sqrt()
        in_x = x + (x / 2 + (1 + eta**2) / 2 * score) * beta
        off.append([T * (mean - y).abs().max() for y in (in_nu, in_x)])
        stds = eta * (2 * nu * (nu - nu_s) * abar_s).sqrt(), eta * beta.sqrt()
        off[-1] += [T * (sigma**2 - std**2).abs() for std in stds]
    print(f"eta {eta:.1f}: mean {off[0][0]:.3f} {off[0][1]:.3f}, variance {off[0][2]:.3f} {off[0][3]:.3f}")
    assert all(big < 1e-9 or 9 < big / small < 11 for big, small in zip(*off))

# %% [markdown]
# (Printed for $T = 1000$, per unit of time: how far the mean of the sampler's step is from {eq}`eq:eta-sde` and from {eq}`eq:reverse-eta`, and its variance from both.) Now the theorem, first without samples. On the line, {eq}`eq:fokker-planck` can be solved: cut the line into small cells and keep account of what flows between neighbours. We solve it for {eq}`eq:reverse-eta`, with $B = -\ln\bar\alpha$ for the time ($dB = \beta\,du$), from the exact density at $t = 1000$ down to $t = 1$.

# %%
grid = torch.linspace(-5, 5, 1001, dtype=torch.float64)
dx, face = (grid[1] - grid[0]).item(), (grid[1:] + grid[:-1]) / 2


def flow_between(eta, abar):
    """The matrix of dp/dB, as three diagonals."""
    eps = peaks.eps_at(face[:, None], abar)[:, 0]
    a, D = face / 2 - (1 + eta**2) / 2 * eps / (1 - abar).sqrt(), eta**2 / 2
    out, back = (a / 2 + D / dx).numpy() / dx, (a / 2 - D / dx).numpy() / dx
    diagonals = np.zeros((3, len(grid)))  # through a face: out * p_left + back * p_right
    diagonals[0, 1:], diagonals[2, :-1] = -back, out
    diagonals[1, :-1] -= out
    diagonals[1, 1:] += back
    return diagonals


# %%
def solve(eta, p):
    """The densities at levels 1..1000, from p at 1000; Crank and Nicolson's method."""
    found = [p]
    for t in range(1000, 1, -1):
        abar_t, abar_s = alpha_bar[t], alpha_bar[t - 1]
        half = 0.5 * (abar_s / abar_t).log().item()
        step = half * flow_between(eta, (abar_t * abar_s).sqrt())
        change = step[1] * p
        change[:-1] += step[0, 1:] * p[1:]
        change[1:] += step[2, :-1] * p[:-1]
        step = np.array([[0], [1], [0]]) - step
        p = solve_banded((1, 1), step, p + change)
        found.append(p)
    return np.stack(found[::-1])


# %%
# checks eq:eta-cancels, eq:fokker-planck
truth = np.stack([peaks.log_prob(grid[:, None], t).exp() for t in range(1, 1001)])
for eta in (0.0, 0.5, 1.0):
    gap = np.abs(solve(eta, truth[-1]) - truth).max(1) / truth.max(1)
    print(f"eta {eta:.1f}: off by at most {gap.max():.1e} of the peak, at any level")
    assert gap.max() < 1e-3

# %% [markdown]
# Three different equations, and the same thousand densities. In the plane we let 2,000 walkers run through all 1,000 levels. At six levels the means of $\cos(k \cdot x)$ and $\sin(k \cdot x)$, for six wave vectors $k$, are compared with their exact values under the mixture. (The means of all such waves determine a density: they are its Fourier transform.)

# %%
# checks eq:eta-sde
means = [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]]
plane = GaussianMixture([0.5, 0.3, 0.2], means, 0.03, linear)
k, n = torch.tensor([[1, 0], [0, 1], [2, 1], [1, -2], [3, 0], [0, 4]]).double(), 2_000
for eta in (0.0, 0.5, 1.0):
    x_0, worst = plane.sample(n, generator), 0.0
    x, every = q_sample(x_0, 1000, linear, draw(x_0, generator)), range(1001)
    for step in ddim_path(plane.eps, x, linear, every, eta=eta, generator=generator):
        if step.s in (0, 20, 100, 300, 500, 700):
            abar = alpha_bar[step.s]
            fade = (-(abar * 0.03 + 1 - abar) * (k**2).sum(1) / 2).exp()
            for wave in (torch.cos, torch.sin):
                seen, exact = wave(step.x_s @ k.T), wave(abar.sqrt() * k @ plane.means.T) @ plane.weights
                worst = max(worst, ((seen.mean(0) - exact * fade) / seen.std(0)).abs().max().item() * n**0.5)
    print(f"eta {eta:.1f}: the worst of 72 means is off by {worst:.1f} standard errors")
    assert worst < 4.5

# %% [markdown]
# ## Why noise corrects
#
# The theorem speaks of the right start. A sampler starts from $\mathcal N(0, I)$, and makes errors. So let a second density $\tilde p$ follow the same equation from a wrong start, and measure the gap by the divergence $\operatorname{KL}(\tilde p \Vert p_\nu)$.
#
# ```{prf:theorem} The gap
# :label: thm-gap
# While $\nu$ falls by a small $h$, the gap falls by
#
# $$
# \eta^2 \nu h\; E_{\tilde p}\, \Bigl\lVert \nabla \ln \frac{\tilde p}{p_\nu} \Bigr\rVert^2 .
# $$ (eq:gap-decay)
# ```
#
# ```{prf:proof}
# The flow moves both densities by one one-to-one map, under which the ratio $\tilde p/p$ at a moving point stays what it is: no change. The churn leaves $p_\nu$ as it is. By {eq}`eq:fokker-planck` with $\epsilon^* = -\nu\nabla\ln p$ it changes $\tilde p$ at the rate
#
# $$
# \eta^2\nu\, \nabla\cdot(\nabla\tilde p - \tilde p\,\nabla\ln p) = \eta^2\nu\, \nabla\cdot\Bigl(\tilde p\, \nabla\ln\frac{\tilde p}{p}\Bigr) .
# $$
#
# The gap, $\int \tilde p \ln\tfrac{\tilde p}{p}$, changes at the rate of $\tilde p$ times $\ln\tfrac{\tilde p}{p}$, integrated (the other term, $\int \partial\tilde p$, is 0). Integrate by parts once.
# ```
#
# So at $\eta = 0$ the gap never shrinks, and $\eta$ sets the speed at which it does: push and spread cancel on $p_\nu$ and on no other density. One case needs no computer. For data $\mathcal N(0, v)$ $\epsilon^* = \nu\bar x/(v + \nu^2)$ is a straight line, so the mean $m$ of $\tilde p$ obeys $dm/d\nu = (1 + \eta^2)\,\nu m/(v + \nu^2)$, and is in proportion to $(v + \nu^2)^{(1 + \eta^2)/2}$. Counted in standard deviations $\sqrt{v + \nu^2}$ of $p_\nu$, the gap shrinks from $\nu_T$ on by the factor
#
# $$
# \Bigl(\frac{v + \nu^2}{v + \nu_T^2}\Bigr)^{\eta^2/2} .
# $$ (eq:gap-gaussian)

# %%
# checks eq:gap-gaussian
v, start = 0.05, torch.full((1, 1), 0.3).double()  # x_T from N(0.3, 1)
gaussian, spread = Gaussian(torch.zeros(1), v, linear), (v + nsr**2).sqrt()
for eta in (0.0, 0.5, 1.0):
    m = start
    for t in range(1000, 0, -1):  # the mean of x, so z = 0
        sigma = linear.sigma(t, t - 1, eta)
        m = ddim_step(m, gaussian.eps(m, t), alpha_bar[t], alpha_bar[t - 1], sigma, 0 * m)
    gap_T = start / alpha_bar[-1].sqrt() / spread[-1]
    expected = (gap_T * (v / (v + nsr[-1] ** 2)) ** (eta**2 / 2)).item()
    found = m.item() / v**0.5
    print(f"eta {eta:.1f}: off by {found:.5f} standard deviations, expected {expected:.5f}")
    assert abs(found / expected - 1) < 0.01

# %% [markdown]
# For the two peaks, the solver from above starts at $\mathcal N(0.3, 1)$, chapter 5's wrong start. In its units the rate is $\tfrac12\eta^2 E_{\tilde p}\lVert\nabla\ln(\tilde p/q)\rVert^2$ per unit of $B$.

# %%
# checks eq:gap-decay
wrong, gap, predicted = {}, {}, {}
B = -alpha_bar[1:].log().numpy()
first = torch.distributions.Normal(0.3, 1.0).log_prob(grid).exp().numpy()
for eta in (0.0, 0.3, 0.5, 1.0):
    p = wrong[eta] = solve(eta, first)
    log = np.log(np.maximum(p, 1e-30) / truth)
    gap[eta] = (p * log).sum(1) * dx
    rate = eta**2 / 2 * (p * np.gradient(log, dx, axis=1) ** 2).sum(1) * dx
    lost = np.diff(B) * (rate[1:] + rate[:-1]) / 2
    predicted[eta] = gap[eta][-1] - np.append(np.cumsum(lost[::-1])[::-1], 0)
    shown = [f"{max(gap[eta][t - 1], 0):.4f}" for t in (1000, 700, 400, 100, 1)]
    print(f"eta {eta:.1f}: gap", " ".join(shown))
    assert np.abs(gap[eta] - predicted[eta]).max() < 0.01 * gap[eta][-1]
assert gap[0.0][0] > 0.99 * gap[0.0][-1] and gap[1.0][0] < 1e-4

# %% mystnb={"figure": {"caption": "A wrong start, $\\mathcal N(0.3, 1)$, without noise (left) and with noise (middle), computed on the grid. Grey: the true density. Lines: below them lie 10, 20, 40, 60, 80 and 90% of the crowd (solid) and of the truth (dotted). Without noise the crowd stays shifted to the end, and too much of it goes to the right peak. Right: the gap; dots are the theorem's.", "name": "fig-continuous-gap"}, "image": {"alt": "Left and middle: a grey density that splits into two bands from level 1000 to 0, with six solid and six dotted lines. Left, the solid lines lie above the dotted ones all the way. Middle, they meet by level 600. Right: the gap on a logarithmic scale; a flat line for eta 0, and falling ones that are steeper for larger eta."}} tags=["hide-input"]
fig, axes = figure(3, height=4.0)
def below(p):
    return [np.interp(q, np.cumsum(p) * dx, grid) for q in (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)]


inside, levels = (grid > -3) & (grid < 3), range(1, 1001)
for ax, eta, name in zip(axes, (0.0, 1.0), ("ODE, wrong start", "SDE, wrong start")):
    ax.imshow(truth[:, inside].T ** 0.5, origin="lower", extent=(1, 1000, -3, 3), aspect="auto", cmap="Greys", vmax=2)
    ax.plot(levels, [below(p) for p in wrong[eta]], color=COLOURS[0], linewidth=1.2)
    ax.plot(levels, [below(p) for p in truth], ":", color=COLOURS[1], linewidth=1.2)
    ax.set(title=name, xlabel="level t", xlim=(1000, 1), ylim=(-2, 2.2), xticks=(1000, 500, 1))
    ax.grid(False)
for (eta, row), colour, at, up in zip(gap.items(), COLOURS, (400, 400, 400, 690), (1.3, 0.45, 0.35, 1.3)):
    axes[2].plot(levels, np.maximum(row, 1e-7), color=colour)
    axes[2].plot(levels[::60], np.maximum(predicted[eta][::60], 1e-7), ".", color=colour, markersize=4)
    axes[2].text(at, row[at] * up, rf"$\eta = {eta:g}$", color=colour, fontsize=9)
axes[2].set(title="KL from the truth", xlabel="level t", yscale="log", ylim=(1e-5, 0.2))
axes[2].set(xlim=(1000, 1), xticks=(1000, 500, 1));

# %%
crowds = {"truth": truth, "ODE": wrong[0.0], "SDE": wrong[1.0]}
share = {name: p[0][grid > -0.3].sum() * dx for name, p in crowds.items()}
print("in the right peak:", ", ".join(f"{name} {s:.3f}" for name, s in share.items()))
assert abs(share["SDE"] - 0.7) < 0.002 and share["ODE"] > 0.77

# %% [markdown]
# This is the reason for what chapter 5 saw: early mistakes vanish, and after a late one there is too little noise to come. Forgetting has a price: each step of finite length errs, and more so with noise ({eq}`eq:lost-variance`). Which $\eta$ is best depends on which error is larger.
#
# **Try it.** The same in the plane, from a start that is shifted by 0.8. Play, and watch the two gaps; then turn $\eta$ down.
#
# <div class="plane" data-plane="continuous">
#
# {doc}`/playground`
#
# </div>
#
# ## One process, many units
#
# The state is a mixture of data and noise, and only their ratio $\nu$ matters. Everything else is a choice of units, $x = c\,(x_0 + \nu\,\epsilon)$:
#
# | name | scale $c$ | noise $c\,\nu$ |
# |---|---|---|
# | variance preserving (DDPM, DDIM) | $\sqrt{\bar\alpha}$ | $\sqrt{1 - \bar\alpha}$ |
# | variance exploding (EDM; chapter 7's $\bar x$) | $1$ | $\nu$ |
# | linear path (flow matching) | $1 - r$ | $r$ |
#
# In the third row scale and noise add up to 1. So
#
# $$
# r = \frac{\nu}{1 + \nu}, \qquad y = \frac{\bar x}{1 + \nu} = \frac{x_t}{\sqrt{\bar\alpha_t} + \sqrt{1 - \bar\alpha_t}} .
# $$ (eq:flow-units)
#
# (Chapter 7 ran the first two with the same noise, and got the same states.) A noise *schedule* says which $\nu$ is called which time, and nothing more. For the cosine schedule, $\sqrt{\bar\alpha} = \cos\varphi$ with nearly even steps of $\varphi$, so that $r = \sin\varphi/(\sin\varphi + \cos\varphi)$: the time of flow matching and the time of the cosine schedule are never more than 0.06 apart.

# %%
# checks eq:flow-units
x_0, eps = draw(torch.empty(2, 1000, 2).double(), generator)
t = torch.arange(1, 1001)
abar, nu, r = alpha_bar[t], nsr[t], r_of(alpha_bar[t])
x_t, y = q_sample(x_0, t, linear, eps), (1 - r)[:, None] * x_0 + r[:, None] * eps
pairs = [(to_flow(x_t, abar), y), (from_flow(y, abar), x_t), (abar_of(r), abar)]
pairs += [(r, nu / (1 + nu)), (y, x_t / abar.sqrt()[:, None] / (1 + nu)[:, None])]
assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in pairs)
cosine, times = NoiseSchedule.cosine(), torch.arange(1001) / 1000
apart = {s: (r_of(s.alpha_bar) - times).abs().max().item() for s in (cosine, linear)}
gaps = [f"{apart[s]:.3f}" for s in (cosine, linear)]
print("r and t/T apart by at most", " (cosine), ".join(gaps), "(linear)")
assert apart[cosine] < 0.06 < 0.2 < apart[linear]

# %% [markdown]
# ## Two roads to one loss
#
# Chapter 3 came to the squared error of the noise from a bound on the likelihood. The SDE needs the score $\nabla\ln q_t$, and one can simply try to match it with a network $s_\theta$. The score of $q_t$ is not known, but that of $q(x_t \mid x_0)$ is: $-\epsilon/\sqrt{1 - \bar\alpha_t}$. {cite:t}`vincent2011connection` showed that the second will do:
#
# $$
# \begin{aligned}
# E\, \lVert s_\theta(x_t) - \nabla\ln q(x_t \mid x_0) \rVert^2 &= E\, \lVert s_\theta(x_t) - \nabla \ln q_t(x_t) \rVert^2 \\
#  &\quad + \text{const}.
# \end{aligned}
# $$ (eq:score-matching)
#
# For by {eq}`eq:tweedie` the mean of $\nabla\ln q(x_t \mid x_0)$ given $x_t$ is $\nabla\ln q_t(x_t)$, and a squared error splits into the distance from the mean and the spread around it, as in {eq}`eq:error-split`. Put $s_\theta = -\epsilon_\theta/\sqrt{1-\bar\alpha_t}$: the left side is $E\lVert\epsilon_\theta - \epsilon\rVert^2/(1 - \bar\alpha_t)$, the loss of chapter 3 with a weight. The other road ends in the same place. In the limit of many levels the weights of the bound, $\gamma_t$ of {eq}`eq:gamma-of-sigma` at $\eta = 1$, tend to
#
# $$
# \gamma_t \to \frac{\tfrac12 \beta(u)\, du}{1 - \bar\alpha_t} ,
# $$ (eq:bound-limit)
#
# so minus the bound is $\tfrac12\int \beta(u)\, E\lVert s_\theta - \nabla\ln q\rVert^2\, du$ plus a constant: the rate of {eq}`eq:gap-decay` at $\eta = 1$, with the network's error in place of the wrong start's.

# %%
# checks eq:score-matching
x_0, t = peaks.sample(400_000, generator), 200
eps = draw(x_0, generator)
x_t, var = q_sample(x_0, t, linear, eps), 1 - alpha_bar[t]
score, known = -peaks.eps(x_t, t) / var.sqrt(), -eps / var.sqrt()
for name, guess in {"0.8 of it": 0.8 * score, "zero": 0 * x_t, "-x": -x_t}.items():
    const = (guess - known).square() - (guess - score).square()
    off = const.mean() - (known - score).square().mean()
    error = (const - (known - score).square()).std() / len(x_0) ** 0.5
    print(f"{name:9s} const {const.mean():.2f}")
    assert abs(off) < 4 * error

# %%
# checks eq:bound-limit
for T in (100, 1_000, 10_000):
    chain, middle = NoiseSchedule.linear(T, 0.1 / T, 20 / T), T // 2
    sigma = chain.sigma(torch.arange(2, T + 1), torch.arange(1, T), 1.0)
    gamma = gamma_of_sigma(chain, torch.cat([sigma[:1], sigma[:1], sigma]))[middle]
    ratio = gamma / (chain.beta[middle] / 2 / (1 - chain.alpha_bar[middle]))
    print(f"T {T:6d}: weight over its limit {ratio:.4f}")
    assert 10 / T < ratio - 1 < 13 / T

# %% [markdown]
# ## Flow matching
#
# A newer recipe {cite}`lipman2023flow,liu2023rectified,albergo2023interpolants` speaks of no chain and no score. Join each picture to a noise by a straight line,
#
# $$
# y_r = (1 - r)\, x_0 + r\, \epsilon, \qquad \frac{dy_r}{dr} = \epsilon - x_0 ,
# $$ (eq:linear-path)
#
# train a network $u_\theta(y, r)$ to say the velocity $\epsilon - x_0$, by squared error, and generate by solving $dy/dr = u_\theta$ from $r = 1$ to 0. (The papers' times differ; some have noise at 0.) The best answer is $u^* = E[\epsilon - x_0 \mid y]$. Since $x_0 = (y - r\epsilon)/(1 - r)$, noise and velocity translate:
#
# $$
# u = \frac{\epsilon - y}{1 - r}, \qquad \epsilon = y + (1 - r)\, u .
# $$ (eq:flow-velocity)
#
# And $y$ is the third row of the table: the same process. (The lines join independent pairs, and cross. The flow has one velocity at each point, the mean over all lines through it, and its paths cannot cross.)

# %% mystnb={"figure": {"caption": "Left: the straight lines that flow matching trains on, each from a picture to an independent noise, here for the two peaks on the line. Right: the paths of the flow that it learns.", "name": "fig-continuous-lines"}, "image": {"alt": "Two plots against r from 1 (noise) to 0 (data). Left, forty straight lines that cross one another and end near -1 or 0.6. Right, fifteen smooth curves that do not cross; they run towards a point between the peaks first, and bend apart to the two peaks below r = 0.5."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=3.8, sharey=True)
x_0 = peaks.sample(40, generator)
left.plot((0, 1), torch.cat([x_0, draw(x_0, generator)], 1).T, linewidth=0.7)
fifteen, u = torch.special.ndtri((torch.arange(15.0).double()[:, None] + 0.5) / 15), as_velocity(peaks.eps_at)
times, paths = torch.linspace(0.999, 0, 400).double(), [fifteen]
for r_t, r_s in pairwise(times.tolist()):
    paths.append(paths[-1] + (r_s - r_t) * u(paths[-1], r_t))
right.plot(times, torch.cat(paths, 1).T, linewidth=0.9)
for ax, name in ((left, "pairs"), (right, "the flow")):
    ax.set(title=name, xlabel="r", xlim=(1, 0), ylim=(-2.6, 2.6))
left.set(ylabel="$y_r$");

# %%
one_step = fifteen - 0.999 * u(fifteen, 0.999)
print(f"one step from r = 0.999: to {one_step.min():.3f} .. {one_step.max():.3f}")
assert (one_step - 0.12).abs().max() < 0.01 and (paths[-1].diff(dim=0) > 0).all()

# %% [markdown]
# One long step takes every start to nearly the same place, 0.12, the mean of the data. So the paths of the flow are not straight; in flow matching "straight" is said of the lines that join the pairs.
#
# Now the ODE. Is it DDIM's? Differentiate $y = \bar x/(1 + \nu)$ along $d\bar x = \epsilon^* d\nu$, with $dr = d\nu/(1 + \nu)^2$: the result is $(1 + \nu)\,\epsilon^* - \bar x = (\epsilon^* - y)/(1 - r) = u^*$. So it is the same ODE. The steps are the same, too:
#
# ```{prf:theorem} Euler in r is DDIM
# :label: thm-flow-euler
# For any network, and any two times $r_t$ and $r_s$, the step of Euler's method
#
# $$
# y_s = y_t + (r_s - r_t)\, \hat u
# $$ (eq:flow-euler)
#
# is the DDIM step with $\sigma = 0$, in the units of $y$.
# ```
#
# ```{prf:proof}
# With $\hat u = \hat\epsilon - \hat x_0$ and $y_t = (1 - r_t)\,\hat x_0 + r_t\,\hat\epsilon$ the right side is $(1 - r_s)\,\hat x_0 + r_s\,\hat\epsilon$.
# That is predicted data and predicted noise in the proportions of level $s$, which is what the DDIM step makes.
# ```
#
# The proof works in every unit in which both proportions are straight lines in time. The units of $\bar x$ are another such, with the proportions 1 and $\nu$ and the time $\nu$. We try the theorem on a grid of random times, with a predictor that is wrong on purpose, and then on the book's faces: a network that was trained as chapter 10 does, without any $r$, and is sampled as flow matching.

# %%
# checks eq:flow-euler, eq:flow-velocity, eq:linear-path
times = 0.99 * torch.rand(30, generator=generator, dtype=torch.float64).sort().values
random = schedule_on(times)  # a schedule whose levels are these times


def wavy(x, abar):
    return plane.eps_at(x, abar) + 0.1 * torch.sin(3 * x)


velocity, start = as_velocity(wavy), draw(torch.empty(500, 2).double(), generator)
walk = ddim_path(lambda x, t: wavy(x, random.abar(t)), start, random, range(31))
y, all_times = to_flow(start, random.alpha_bar[-1]), [0.0, *times.tolist()]
for step, (r_t, r_s) in zip(walk, pairwise(all_times[::-1]), strict=True):
    y = y + (r_s - r_t) * velocity(y, r_t)
    ours = to_flow(step.x_s, random.alpha_bar[step.s])
    assert torch.allclose(y, ours, rtol=0, atol=1e-12)
print("30 random steps agree to 12 digits")

# %%
digit_noise = draw(torch.empty(60, 1, 8, 8), generator)  # for later
artist, seeds = load("faces"), torch.Generator().manual_seed(4)
noise, styles = draw(torch.empty(8, 3, 32, 32), seeds), torch.arange(8) % 4
r, abar = r_of(artist.schedule.alpha_bar), artist.schedule.alpha_bar
even = torch.linspace(0, r[990], 11, dtype=torch.float64)
tau = torch.searchsorted(r, even).clamp(max=990)  # ten nearly even steps of r
net, y = artist.eps_theta(styles), to_flow(noise, abar[990])
for s, t in reversed(list(pairwise(tau.tolist()))):
    eps = net(from_flow(y, abar[t]), torch.full((8,), t))
    y = y + (r[s] - r[t]).float() * eps_to_velocity(eps, y, r[t])
by_ddim = decode(net, noise, artist.schedule, tau)
assert (y - by_ddim).abs().max() < 1e-3  # float32

# %% mystnb={"figure": {"caption": "Eight faces, two of each style, by ten Euler steps of flow matching and by ten DDIM steps, with the shipped network. The pictures are the same to three digits. Faces: parts by Pablo Stanley (CC0), Micah Lanier, Johan Melin and Draftbit (CC BY 4.0), recoloured.", "name": "fig-continuous-faces"}, "image": {"alt": "Two rows of eight small drawn faces in colour. The upper row and the lower row show the same eight faces."}} tags=["hide-input"]
picture_rows({"Euler in r": y, "DDIM": by_ddim});

# %% [markdown]
# **Names.** *Rectified flow* {cite}`liu2023rectified` is the same line and loss; its second idea is to train again on pairs (noise, what the flow made of it), which straightens the paths ({ref}`ex-continuous-reflow`). *Stochastic interpolants* {cite}`albergo2023interpolants` allow any curve between any two densities; $a(r)\,x_0 + b(r)\,\epsilon$ with Gaussian $\epsilon$ is another row of this table.
#
# ## What is left to choose
#
# If process and sampler are the same, three choices remain: what the network says, which levels count how much in the loss, and where the sampler stops. By {eq}`eq:flow-velocity` an error of the velocity is one of the noise over $1 - r = 1/(1 + \nu)$, and $d\nu = (1+\nu)^2\,dr$. So the loss of flow matching, with $r$ drawn evenly, is
#
# $$
# \int_0^1 E \lVert u_\theta - u \rVert^2\, dr = \int_0^\infty E \lVert \hat\epsilon - \epsilon \rVert^2\, d\nu .
# $$ (eq:flow-loss)
#
# **Flow matching is DDPM's loss with the clock for a ruler**: where DDPM averages over $dt$, it averages over $d\nu$. What is that good for? DDIM's step multiplies an error of the noise by the length $\nu_t - \nu_s$, and its longest steps are those at high $\nu$. There $d\nu$ is long too, so the new loss gives more weight to the errors that the sampler magnifies most.

# %%
# checks eq:flow-loss
top = r_of(alpha_bar[-1])  # flow matching's grid, up to the linear schedule's last level
evenly = schedule_on(top * torch.arange(1, 1001).double() / 1000)
gamma, x_0 = gamma_of_flow(evenly), plane.sample(2_000, generator)
t, eps = draw_t(2_000, 1000, generator=generator), draw(x_0, generator)
r = r_of(evenly.alpha_bar[t])
y = (1 - r)[:, None] * x_0 + r[:, None] * eps
guess = as_velocity(wavy)(y, r)
plain = (guess - (eps - x_0)).square().mean()
as_noise = loss_gamma(lambda x, t: wavy(x, evenly.abar(t)), x_0, t, eps, evenly, gamma)
assert torch.isclose(plain, as_noise, rtol=1e-10)
nu = evenly.nsr
per_step = gamma[1:-1] * (top / 1000) / ((nu[2:] - nu[:-2]) / 2)
assert (per_step - 1).abs()[:900].max() < 1e-3  # gamma dr = d nu

# %% [markdown]
# Two small networks, alike but for this. One says $\epsilon$ and has DDPM's loss on the linear schedule; the other says $u$, with $r$ drawn evenly. (1,000 steps each, a few seconds.)

# %%
def say_eps(net, x_0, t, eps):
    return loss_simple(net, x_0, t, eps, linear)


def say_velocity(net, x_0, t, eps):
    r = (top * t[:, None] / 1000).float()
    return (net((1 - r) * x_0 + r * eps, t) - (eps - x_0)).square().mean()


# %%
def train(loss):
    torch.manual_seed(0)
    net = PointNet(dim=2, width=96, depth=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1_000)
    for _ in range(1_000):
        x_0 = plane.sample(512, generator).float()
        t = draw_t(512, 1000, generator=generator)
        optimizer.zero_grad()
        loss(net, x_0, t, draw(x_0, generator)).backward()
        optimizer.step()
        rate.step()
    return net.requires_grad_(False)


eps_net, velocity_net = train(say_eps), train(say_velocity)

# %% [markdown]
# Each can be asked at any level of either grid: it is given the nearest of the levels that it was trained on, and answers in its own target. {py:func}`~ddim_edu.flow.as_eps_theta` makes a noise predictor of the second. The samplers take ten DDIM steps, even in $t$ (trailing levels of the linear schedule) or even in $r$; the error is the median distance from 1,000 steps with the exact predictor.

# %%
def predictors(schedule):
    def of_eps_net(x, t):
        level = torch.searchsorted(nsr, schedule.nsr[t]).clamp(1, 1000)
        return eps_net(x.float(), level).double()

    def u_theta(y, r):
        level = (1000 * r / top).round().long().clamp(1, 1000)
        return velocity_net(y.float(), level).double()

    exact = GaussianMixture(plane.weights, plane.means, 0.03, schedule).eps
    of_u_net = as_eps_theta(u_theta, schedule)
    return {"exact": exact, "says eps": of_eps_net, "says u": of_u_net}


# %%
off, start = {}, draw(torch.empty(1_000, 2).double(), generator)
for grid_name, schedule in (("even t", linear), ("even r", evenly)):
    ways = predictors(schedule)
    best = decode(ways["exact"], start, schedule, make_tau(1000, 1000))
    for name, eps_theta in ways.items():
        end = decode(eps_theta, start, schedule, make_tau(1000, 10))
        off[name, grid_name] = (end - best).norm(dim=1).median().item()
exact_t, exact_r = off["exact", "even t"], off["exact", "even r"]
print(f"exact predictor, 10 steps: {exact_t:.3f} (even t), {exact_r:.3f} (even r)")

# %%
print("10 steps, error:  even t  even r")
limits = {"says eps": (0.15, 0.20), "says u": (0.15, 0.08)}
for name, (even_t, even_r) in limits.items():
    print(f"{name:9s}   below {even_t:.2f}    {even_r:.2f}")
    assert off[name, "even t"] < even_t and off[name, "even r"] < even_r
assert exact_r < 0.6 * exact_t
assert off["says u", "even r"] < 0.7 * off["says u", "even t"]
assert 0.7 < off["says eps", "even t"] / off["says u", "even t"] < 1.4
assert off["says eps", "even r"] > 1.3 * off["says u", "even r"]
assert off["says eps", "even r"] > 0.7 * off["says eps", "even t"]

# %%
nu = 10 ** (1 + torch.rand(4_000, generator=generator, dtype=torch.float64))
x_0, abar = plane.sample(4_000, generator), 1 / (1 + nu**2)
x = abar.sqrt()[:, None] * x_0 + (1 - abar).sqrt()[:, None] * draw(x_0, generator)
r, y, best = r_of(abar), to_flow(x, abar), plane.eps_at(x, abar)
of_u = velocity_net(y.float(), (1000 * r / top).round().long()).double()
of_eps = eps_net(x.float(), torch.searchsorted(nsr, nu)).double()
excess = [(of_eps - best), (velocity_to_eps(of_u, y, r) - best)]
excess = [error.square().mean().item() for error in excess]
print("nu from 10 to 100: excess above 1e-4 (says eps), below 1e-5 (says u)")
assert excess[0] > 1e-4 > 1e-5 > excess[1]
first_t, first_r = nsr[900].item(), evenly.nsr[900].item()
print(f"first step, from nu {nsr[-1]:.0f}: to {first_t:.0f} or {first_r:.0f}")

# %% [markdown]
# On the grid even in $t$ the two networks do about as well as each other. Even steps of $r$ halve the error of the exact predictor, which was never trained: **that gain belongs to the grid**. The network that says $u$ shares in it. The one that says $\epsilon$ gains little or nothing, and the reason is the loss: above $\nu = 10$ its excess over the best error is small, but more than ten times the other's, and the long first step multiplies it. (One kind of data, one seed, small networks: a mechanism, no ranking.) And the shipped digits? Their network was trained on the cosine schedule, whose even $t$ is nearly an even $r$. Even so, ten even steps of $r$ come nearer to what fifty steps make:

# %%
trained = load("digits")
best, errors = decode(trained.model, digit_noise, trained.schedule, make_tau(990, 50)), []
for levels in (make_tau(990, 10), tau):
    end = decode(trained.model, digit_noise, trained.schedule, levels)
    errors.append((end - best).square().mean((1, 2, 3)))
nearer = int((errors[1] < errors[0]).sum())
print("even r is nearer for more than 42 of 60 digits")
assert nearer > 42  # by chance 30, give or take 4

# %% [markdown]
# ## What breaks: units, and the direction of time
#
# Who moves between the two vocabularies makes two mistakes. One feeds $y$ to a network that expects $x_t$; the other mixes papers with noise at 0 and noise at 1. Neither raises an error.

# %%
right, width, share = as_velocity(plane.eps_at), {}, {}
slips = {
    "right": right,
    "y for x_t": lambda y, r: eps_to_velocity(plane.eps_at(y, abar_of(r)), y, r),
    "1 - r for r": lambda y, r: right(y, 1 - r),
}
times = torch.linspace(top.item(), 0, 201, dtype=torch.float64)
for name, u in slips.items():
    y = start
    for r_t, r_s in pairwise(times):
        y = y + (r_s - r_t) * u(y, r_t)
    near = (y[:, None] - plane.means).norm(dim=2).min(1)
    width[name] = near.values.square().mean().sqrt().item()
    share[name] = (near.indices == 0).double().mean().item()

# %%
print("             width of a cluster  share of the largest")
for name in slips:
    print(f"{name:12s} {width[name]:18.2f}  {share[name]:20.2f}")
assert abs(width["right"] / 0.06**0.5 - 1) < 0.1 and abs(share["right"] - 0.5) < 0.05
assert width["y for x_t"] > 2 * width["right"]
assert width["1 - r for r"] > 1.3 * width["right"] and share["1 - r for r"] < 0.4

# %% [markdown]
# The samples still look like data. The first slip makes the clusters more than twice as wide, the second also loses their proportions. Only a test against a known truth tells.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the velocity of a Gaussian
# :label: ex-continuous-velocity
# *Derive · one star · 15 minutes*
#
# Let the data be $\mathcal N(0, v)$ in each coordinate. Find the best velocity $u^*(y, r) = E[\epsilon - x_0 \mid y]$ of flow matching. Where is it 0?
# Hand in a function `velocity(y, r, v)`: `check("ex-continuous-velocity", velocity)`.
# ```
#
# ````{solution} ex-continuous-velocity
# :class: dropdown
# $y$ and $\epsilon - x_0$ are jointly Gaussian with mean 0, so the best guess is $y$ times covariance over variance: $\operatorname{Cov}(\epsilon - x_0, y) = r - (1 - r)\,v$ and $\operatorname{Var} y = (1-r)^2 v + r^2$. The velocity changes sign at $r = v/(1 + v)$: above, the crowd contracts on its way to the data, below it spreads again.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.flow import as_velocity
# from ddim_edu.schedule import NoiseSchedule
#
# def velocity(y, r, v):
#     return (r - (1 - r) * v) / ((1 - r) ** 2 * v + r**2) * y
#
# y = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
# for v in (0.05, 1.0):
#     exact = as_velocity(Gaussian(torch.zeros(1), v, NoiseSchedule.linear()).eps_at)
#     for r in (0.1, 0.5, 0.9):
#         assert torch.allclose(exact(y, r), velocity(y, r, v), rtol=0, atol=1e-12)
# assert check("ex-continuous-velocity", velocity)
# ```
# ````
#
# ```{exercise} Code: DDIM on a circle
# :label: ex-continuous-angle
# *Code · two stars · 20 minutes*
#
# In the variance preserving units put $\sqrt{\bar\alpha} = \cos\varphi$ and take $\varphi$ for the time. The velocity is $v = dx/d\varphi = \cos\varphi\, \epsilon - \sin\varphi\, x_0$, chapter 3's $v$. Write the DDIM step from $\varphi$ down to $\varphi - h$ with $x$, $\hat v$ and $h$ alone. Is it Euler's step?
# Hand in a function `step(x, v, h)`: `check("ex-continuous-angle", step)`.
# ```
#
# ````{solution} ex-continuous-angle
# :class: dropdown
# $\cos(\varphi - h)\,\hat x_0 + \sin(\varphi - h)\,\hat\epsilon = x \cos h - \hat v \sin h$: a turn by the angle $h$. Euler's step is $x - h\,\hat v$. The two agree to first order only, since here the proportions are not straight lines in time. Euler's step leaves the circle.
#
# ```python
# import math
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.forward import eps_to_v, mix
# from ddim_edu.sampler import ddim_step
#
# def step(x, v, h):
#     return x * math.cos(h) - v * math.sin(h)
#
# g = torch.Generator().manual_seed(0)
# x_0, eps = torch.randn(2, 50, 3, generator=g, dtype=torch.float64)
# for phi, h in ((1.2, 0.5), (0.7, 0.7), (1.5, 0.01)):
#     t, s = math.cos(phi) ** 2, math.cos(phi - h) ** 2
#     x_t = mix(x_0, eps, t)
#     v = eps_to_v(eps, x_t, t)
#     ours, euler = step(x_t, v, h), x_t - h * v
#     assert torch.allclose(ours, ddim_step(x_t, eps, t, s), rtol=0, atol=1e-12)
#     assert (ours - euler).abs().max() > 0.1 * h**2
# assert check("ex-continuous-angle", step)
# ```
# ````
#
# ```{exercise} Break: the spread without the push
# :label: ex-continuous-spread
# *Break · two stars · 30 minutes*
#
# A slip: noise of $\eta = 1$ is added on the way down, but the drift stays that of $\eta = 0$. In {eq}`eq:eta-sde`: $\bar x' = \bar x - \epsilon^* h + \sqrt{2\nu h}\, z$. The data is $\mathcal N(0, v)$, the start right, with variance $v + \nu_T^2$. Which variance do the samples have, in the limit of small steps?
# Hand in a function `variance(v, nu_T)`: `check("ex-continuous-spread", variance)`.
# ```
#
# ````{solution} ex-continuous-spread
# :class: dropdown
# The variance $V$ obeys $dV/d\nu = 2\nu V/(v + \nu^2) - 2\nu$ (the minus, because $\nu$ falls). With $w = v + \nu^2$ that is $dV/dw = V/w - 1$, so $d(V/w)/dw = -1/w$, and $V/w$ grows from 1 to $1 + \ln\bigl((v + \nu_T^2)/v\bigr)$. At $v = 0.05$ and the linear schedule's $\nu_T = 157$ the variance is 14 times too large.
#
# ```python
# import math
# import torch
# from ddim_edu.exercises import check
#
# def variance(v, nu_T):
#     return v * (1 + math.log((v + nu_T**2) / v))
#
# v, nu_T = 0.05, 157.0
# nu = torch.logspace(math.log10(nu_T), -5, 200_001, dtype=torch.float64).tolist()
# V = v + nu_T**2
# for t, s in zip(nu, nu[1:]):
#     V = V * (1 - (t - s) * t / (v + t**2)) ** 2 + t**2 - s**2
# assert abs(V / variance(v, nu_T) - 1) < 1e-3 and 14 < V / v < 15
# assert check("ex-continuous-spread", variance)
# ```
# ````
#
# ```{exercise} Derive: who remembers like the forward process
# :label: ex-continuous-memory
# *Derive · three stars · 40 minutes*
#
# Every $\eta$ has the same density at each $\nu$. The *paths* differ. Let the data be $\mathcal N(0, v)$ and run {eq}`eq:eta-sde` down from $\nu = b$ to $\nu = a < b$, from the right start. Find the correlation of $\bar x$ at $b$ with $\bar x$ at $a$. For which $\eta$ is it that of the forward process, where $\bar x_b = \bar x_a + \text{noise}$?
# Hand in a function `correlation(a, b, v, eta)`: `check("ex-continuous-memory", correlation)`.
# ```
#
# ````{solution} ex-continuous-memory
# :class: dropdown
# Given $\bar x_b$, the mean obeys $dm/d\nu = (1 + \eta^2)\,\nu m/(v + \nu^2)$, so it arrives as $\bar x_b\,\bigl((v + a^2)/(v + b^2)\bigr)^{(1 + \eta^2)/2}$. Times the standard deviation at $b$, over that at $a$: the correlation is $\bigl((v + a^2)/(v + b^2)\bigr)^{\eta^2/2}$, the factor of {eq}`eq:gap-gaussian`. Forwards the covariance is $v + a^2$ and the correlation $\sqrt{(v + a^2)/(v + b^2)}$. So $\eta = 1$, and no other.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.randomness import draw
# from ddim_edu.sampler import ddim_path
# from ddim_edu.schedule import NoiseSchedule
#
# def correlation(a, b, v, eta):
#     return ((v + a**2) / (v + b**2)) ** (eta**2 / 2)
#
# schedule, g, v, n = NoiseSchedule.linear(), torch.Generator().manual_seed(0), 0.5, 20_000
# exact = Gaussian(torch.zeros(1), v, schedule)
# abar, nu = schedule.alpha_bar, schedule.nsr
# for eta in (0.0, 0.5, 1.0):
#     x = (abar[500] * v + 1 - abar[500]).sqrt() * torch.randn(n, 1, generator=g, dtype=torch.float64)
#     for step in ddim_path(exact.eps, x, schedule, range(501), eta=eta, generator=g):
#         if step.s == 200:
#             found = torch.corrcoef(torch.cat([x, step.x_s], 1).T)[0, 1]
#     assert abs(found - correlation(nu[200], nu[500], v, eta)) < 0.03
# assert check("ex-continuous-memory", correlation)
# ```
# ````
#
# ```{exercise} Measure: straightened
# :label: ex-continuous-reflow
# *Measure · two stars · 25 minutes*
#
# Data: the chapter's two peaks on the line. Let $Q$ be the map of the exact flow from the noise at $r = 1$ to the data, the quantile map {eq}`eq:quantile`. Take *one* Euler step from $r = 1$ to 0: first with the best velocity for independent pairs $(\epsilon, x_0)$, then with the best one for the pairs $(\epsilon, Q(\epsilon))$ of rectified flow's second round. Measure both times the mean squared distance of the result from $Q(\epsilon)$.
# Hand in both numbers: `check("ex-continuous-reflow", (first, second))`.
# ```
#
# ````{solution} ex-continuous-reflow
# :class: dropdown
# At $r = 1$ the state is the noise alone. In the first round $u^* = \epsilon - E[x_0]$, and every start lands on the mean: the distance is the variance of the data. In the second $u^* = \epsilon - Q(\epsilon)$ is known at $r = 1$, and the step lands on $Q(\epsilon)$. And since $(1 - r)\,Q(\epsilon) + r\,\epsilon$ rises with $\epsilon$, the lines of the second round do not cross at any $r$: the new flow *is* these lines.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], NoiseSchedule.linear())
# x = torch.linspace(-2.5, 2.5, 50_001, dtype=torch.float64)
# below = torch.special.ndtr((x[:, None] - peaks.means[:, 0]) / peaks.covs[:, 0, 0].sqrt()) @ peaks.weights
# share = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
# eps, Q = torch.special.ndtri(share), x[torch.searchsorted(below, share)]
#
# def one_step(velocity):
#     return (eps - velocity - Q).square().mean().item()
#
# first, second = one_step(eps - peaks.weights @ peaks.means[:, 0]), one_step(eps - Q)
# for r in (0.1, 0.5, 0.9):
#     assert (((1 - r) * Q + r * eps).diff() > 0).all()
# assert abs(first - 0.5786) < 1e-3 and second < 1e-12
# assert check("ex-continuous-reflow", (first, second))
# ```
# ````

#
# ## Summary
#
# 1. With ever more levels the chain becomes an SDE: a drift, and noise whose squares add up. The gap falls as $1/T$.
# 2. Flow, $\pm\epsilon^*$, and churn, $\eta^2$ times push and spread, make every process of the family. The churn leaves $p_\nu$ as it is, so all $\eta$ have the same marginals: $\eta = 0$ is the ODE, $\eta = 1$ the time-reversed SDE. DDIM and DDPM are their discretisations.
# 3. The flow carries a wrong density along with its gap; the churn closes the gap at the rate $\eta^2\nu$ times a squared score difference.
# 4. VP, VE and flow matching's line are one process in three units. Bound and score matching lead to the same squared error of the noise; only weights differ.
# 5. Euler's method in flow matching's $r$ is the DDIM step, for any network and any grid. Its loss is the noise's error with $d\nu$ for a ruler; loss weight, output and grid are what is left to choose.
#
# **Next.** Read {py:mod}`ddim_edu.flow` in the package: it is this chapter's table of units, as functions.
