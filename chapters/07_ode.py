# %% [markdown]
# (ch-ode)=
# # The ODE inside
#
# **Question.** With $\sigma = 0$ the sampler draws no noise after $x_T$. The sampler is then a deterministic map from $x_T$ to $x_0$. Which map is it, and what can one do with this map that no stochastic sampler can?

# %% tags=["hide-input"]
import warnings

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.stats import linregress

from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.named import digits
from ddim_edu.data.pictures import from_uint8
from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.forward import q_sample, q_step
from ddim_edu.models import load
from ddim_edu.plotting import Table, figure, image_row, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "A held-out face, in 18 steps up to level 900, and down again from what was found there. First row: both ways without fresh noise. Below: down from the same place by DDPM, twice. The network is the model of faces that comes with the package. (Faces after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-ode-faces"}, "image": {"alt": "Three rows of coloured pictures. First row, seven pictures: a drawn face that turns to noise up to the middle, in which its outlines can still be seen, and from there back to the same face. Second and third row, from the middle on: two other faces that arise from the same noise."}} tags=["hide-input"]
model, walker = load("faces"), torch.Generator().manual_seed(0)
face = from_uint8(torch.from_numpy(shipped().pixels[1:2]))  # 64 x 64, in style 1
face = torch.nn.functional.avg_pool2d(face, 2)
levels, eps_of, abar = list(range(0, 901, 50)), model.eps_theta(1), model.schedule.alpha_bar
columns = (0, 300, 600, 900)
up, x = {0: face}, face
with torch.no_grad():
    for s, t in zip(levels, levels[1:]):
        up[t] = x = ddim_step(x, eps_of(x, torch.tensor([max(s, 1)])), abar[s], abar[t])
    rows = {}
    for name, eta in (("no fresh\nnoise", 0.0), ("DDPM", 1.0), ("DDPM\nagain", 1.0)):
        walk = ddim_path(eps_of, x, model.schedule, levels, eta=eta, generator=walker)
        down = {step.s: step.x_s for step in walk}
        left = [up[t] if eta == 0 else torch.ones_like(x) for t in columns[:-1]]
        rows[name] = torch.cat([*left, x, *(down[t] for t in columns[-2::-1])])
picture_rows(rows, [f"t = {t}" for t in (*columns, *columns[-2::-1])], width=7);

# %% [markdown]
# Without fresh noise the way can be walked in both directions: up to a noise that stands for this face, and down to the same face. With fresh noise the face is lost: from the same place DDPM comes down to another face each time. (In the middle outlines still shine through: what one finds there is not quite noise.)
#
# The map is the flow of an ordinary differential equation (ODE), and it can be run backwards: a picture can be encoded as the noise
# that would produce it. At the end of this chapter you will have checked, by running it,
#
# - that a DDIM step is one step of Euler's method, in a clock that chapter 2 has already met;
# - that the exact flow carries $q_T$ to the data, and that on the line it is the quantile map;
# - how fast the error falls with the number of steps, and where DDIM beats another discretisation of the same ODE and where it does not;
# - how well held-out digits survive the way up to noise and down again; that the noise so found, their *latents*, is *not* standard normal, and for which two reasons;
# - what a wrong schedule, clipping, and fresh noise do to all this.
#
# The chapter opens {py:mod}`ddim_edu.sampler` ({py:func}`~ddim_edu.sampler.invert`) and {py:mod}`ddim_edu.exact`.

# %%
generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()
nsr, alpha_bar = schedule.nsr, schedule.alpha_bar

# %% [markdown]
# ## Rescaling instead of shrinking
#
# Chapter 1 shrank the state before each addition of noise, so that the variance stays near 1, and remarked that one could rescale before
# each call of the network instead. Divide the closed form {eq}`eq:closed-form` by $\sqrt{\bar\alpha_t}$ and write
#
# $$
# \begin{gathered}
# \bar x_t = \frac{x_t}{\sqrt{\bar\alpha_t}}, \qquad \nu_t = \sqrt{\frac{1 - \bar\alpha_t}{\bar\alpha_t}}, \\
# \bar x_t = x_0 + \nu_t\, \epsilon_t .
# \end{gathered}
# $$ (eq:rescaled)
#
# The data keeps its size and the noise grows. $\nu_t$, known from chapter 6, is `schedule.nsr`, the root of the inverse SNR {eq}`eq:snr`. The chain itself
# becomes the one that chapter 1 turned down. From $\nu_t^2 = 1/\bar\alpha_t - 1$ follows $\beta_t/\bar\alpha_t = \nu_t^2 - \nu_{t-1}^2$. So the forward step {eq}`eq:forward-step`, divided by $\sqrt{\bar\alpha_t}$, is
#
# $$
# \bar x_t = \bar x_{t-1} + \sqrt{\nu_t^2 - \nu_{t-1}^2}\;\, z_t .
# $$ (eq:additive-chain)
#
# The network is given $x_t = \bar x_t/\sqrt{1 + \nu_t^2}$, because $\bar\alpha_t = 1/(1 + \nu_t^2)$. So shrinking at
# every step and rescaling before every call are one process in two units; {cite:t}`karras2022edm` work in the second. The next cell drives the two chains by the same noise:

# %%
# checks eq:rescaled, eq:additive-chain
x = draw(torch.empty(500, dtype=torch.float64), generator)
xbar = x.clone()
for t in range(1, schedule.T + 1):
    z = draw(x, generator)
    x = q_step(x, t, schedule, z)
    xbar = xbar + (nsr[t] ** 2 - nsr[t - 1] ** 2).sqrt() * z
    assert torch.allclose(x, xbar / (1 + nsr[t] ** 2).sqrt(), rtol=0, atol=1e-10)

assert torch.allclose(alpha_bar, 1 / (1 + nsr**2), rtol=1e-10, atol=0)
jump = q_sample(x, 500, schedule, z) / alpha_bar[500].sqrt()
assert torch.allclose(jump, x + nsr[500] * z, rtol=0, atol=1e-10)
assert abs(x.std() - 1) < 0.1 and 150 < xbar.std() < 160

# %% [markdown]
# ## A step of the sampler is a step of Euler
#
# Chapters 4 and 5 gave the step from $t$ down to $s$. With $\sigma = 0$ this step puts the predicted data and the predicted noise together again in the proportions of level $s$ (equation 12 of {cite:t}`song2021ddim`):
#
# $$
# x_s = \sqrt{\bar\alpha_s}\, \frac{x_t - \sqrt{1 - \bar\alpha_t}\; \hat\epsilon}{\sqrt{\bar\alpha_t}} + \sqrt{1 - \bar\alpha_s}\; \hat\epsilon .
# $$
#
# Divide by $\sqrt{\bar\alpha_s}$. On the right, the first term becomes $\bar x_t - \nu_t \hat\epsilon$ and the second $\nu_s \hat\epsilon$:
#
# $$
# \bar x_s = \bar x_t + (\nu_s - \nu_t)\; \epsilon_\theta(x_t, t) .
# $$ (eq:clock-step)
#
# This is equation 13 of the paper, and {eq}`eq:fewer-straight` of chapter 6, which read it as a straight line. The equation says: move along the direction $\epsilon_\theta$ for a time $\nu_s - \nu_t$ (negative on the
# way down). That is **Euler's method**, the simplest way to solve an ODE numerically, for the equation whose clock is $\nu$:
#
# $$
# \frac{d \bar x}{d \nu} = \epsilon_\theta\Bigl(\frac{\bar x}{\sqrt{1 + \nu^2}},\, t(\nu)\Bigr) ,
# $$ (eq:clock-ode)
#
# equation 14 of the paper, where $t(\nu)$ is the level whose clock shows $\nu$. The schedule has left the equation: $\nu$ names a level for any schedule, as the SNR did in chapter 2.
# A schedule and a choice of $\tau$ only decide where on the clock the solver stops to look.

# %%
# checks eq:clock-step
one = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
x_T = draw(torch.empty(400, 1, dtype=torch.float64), generator)
tau = make_tau(1000, 20, "trailing")  # 1000, 950, ..., 50, 0

xbar, close = x_T / alpha_bar[1000].sqrt(), {"rtol": 0, "atol": 1e-12}
for step in ddim_path(one.eps, x_T, schedule, tau):  # eta = 0
    x = xbar * alpha_bar[step.t].sqrt()
    eps = one.eps(x, step.t)
    xbar = xbar + (nsr[step.s] - nsr[step.t]) * eps
    by_package = ddim_step(x, eps, alpha_bar[step.t], alpha_bar[step.s])
    assert torch.allclose(by_package, xbar * alpha_bar[step.s].sqrt(), **close)
    assert torch.allclose(step.x_s, xbar * alpha_bar[step.s].sqrt(), **close)

# %% [markdown]
# Two things follow at once. If the data is a single point $m$, the noise in $\bar x_t = m + \nu_t \epsilon$ is known exactly, the right-hand side of {eq}`eq:clock-ode` is constant along the path, and DDIM is exact *in one step* (checked below). And a path bends only because the $x_0$ that one expects changes along it. Where $\nu$ is much larger than the data is wide, that change hardly shows in $\epsilon^*$, and paths are almost straight.
#
# ## What the exact flow does
#
# Let $p_\nu$ be the density of $x_0 + \nu\epsilon$, and use the best predictor $\epsilon^*$. By {eq}`eq:tweedie`, $\epsilon^* = -\sqrt{1 - \bar\alpha_t}\, \nabla \ln q_t$. In the
# new units a gradient is $\sqrt{\bar\alpha_t}$ times as large, since $x = \sqrt{\bar\alpha_t}\, \bar x$, so that
#
# $$
# \epsilon^* = -\nu\, \nabla \ln p_\nu(\bar x) .
# $$ (eq:velocity)
#
# ```{prf:theorem} The flow carries the marginals
# :label: thm-ode-marginals
# If $\bar x$ is distributed as $p_\nu$ at $\nu = \nu_T$ and follows $d\bar x/d\nu = \epsilon^*$, then it is distributed as $p_\nu$ at every $\nu > 0$.
# ```
#
# ```{prf:proof}
# Raising $\nu^2$ by a small $h$ adds an independent $\sqrt h\, z$. Expand $p_\nu(x - \sqrt h\, z)$ to second order in $\sqrt h$ and take the mean over $z$: the first
# order vanishes and the second gives $\partial p/\partial(\nu^2) = \tfrac12 \Delta p$, where the **Laplacian** $\Delta$ is the sum of the second derivatives. Since $d(\nu^2) = 2\nu\, d\nu$,
#
# $$
# \frac{\partial p_\nu}{\partial \nu} = \nu\, \Delta p_\nu .
# $$ (eq:heat)
#
# A cloud of points of density $p$ that moves with velocity $u$ changes as $\partial p/\partial\nu = -\nabla \cdot (p\, u)$: what flows out of a small box is missing in it. (The **divergence of a field**, $\nabla \cdot$, adds up the derivative of each coordinate of the field along that coordinate; it has nothing to do with the divergence of two distributions.) Put $p = p_\nu$ and $u = \epsilon^* = -\nu \nabla \ln p_\nu = -\nu \nabla p_\nu/p_\nu$. The right-hand side is $\nabla \cdot (\nu \nabla p_\nu) = \nu\, \Delta p_\nu$, which is {eq}`eq:heat`. So
# $p_\nu$ satisfies the equation of the cloud; with a smooth velocity that equation has one solution for a given start.
# ```
#
# So the deterministic sampler may be trusted for one reason: it approximates this flow. For mixtures $p_\nu$ can be written down. On the line, differences
# stand in for the derivatives in {eq}`eq:velocity` and {eq}`eq:heat`. In the plane, automatic differentiation gives the gradient, and the cell tests the equation of the cloud. The method {py:meth}`~ddim_edu.exact.GaussianMixture.eps_at` gives $\epsilon^*$ between the levels.

# %%
# checks eq:velocity, eq:heat
def density(x, nu):
    """Of x_0 + nu eps, for the mixture on the line."""
    std = (one.covs[:, 0, 0] + nu**2).sqrt()
    parts = torch.distributions.Normal(one.means[:, 0], std)
    return (one.weights * parts.log_prob(x[:, None]).exp()).sum(1)


x, nu, h = torch.linspace(-2, 2, 9, dtype=torch.float64), 0.4, 1e-3
p, up, down = density(x, nu), density(x + h, nu), density(x - h, nu)
in_time = (density(x, nu + h) - density(x, nu - h)) / (2 * h)
assert torch.allclose(in_time, nu * (up - 2 * p + down) / h**2, atol=1e-4)

velocity = -nu * (up - down) / (2 * h) / p
abar = 1 / (1 + nu**2)
eps = one.eps_at(abar**0.5 * x[:, None], abar)[:, 0]
assert torch.allclose(velocity, eps, atol=1e-4) and eps.abs().max() > 1

# %%
plane = GaussianMixture(
    [0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule
)
x, eye = torch.cartesian_prod(x, x).requires_grad_(), torch.eye(2).double()


def log_p(x, nu):
    covs = plane.covs + nu**2 * eye
    parts = torch.distributions.MultivariateNormal(plane.means, covs)
    return (plane.weights.log() + parts.log_prob(x[:, None])).logsumexp(1)


# %%
# checks eq:velocity, eq:heat
def current(y):
    """p u, with u the velocity eps*."""
    return log_p(y, nu).exp()[:, None] * plane.eps_at(abar**0.5 * y, abar)


(score,) = torch.autograd.grad(log_p(x, nu).sum(), x)
found = plane.eps_at(abar**0.5 * x, abar)
assert torch.allclose(found, -nu * score, rtol=0, atol=1e-9)
out = sum((current(x + h * e) - current(x - h * e)) @ e for e in eye)
in_time = log_p(x, nu + h).exp() - log_p(x, nu - h).exp()
assert torch.allclose(in_time / (2 * h), -out / (2 * h), atol=1e-4)

# %% [markdown]
# ### One Gaussian: a closed form
#
# Let a coordinate of the data be $\mathcal N(m, v)$. Then $p_\nu = \mathcal N(m, v + \nu^2)$, so by {eq}`eq:velocity` $\epsilon^* = \nu\,(\bar x - m)/(v + \nu^2)$. The ODE separates into
# $d(\bar x - m)/(\bar x - m) = \nu\, d\nu/(v + \nu^2)$, and integrating both sides gives
#
# $$
# \bar x(\nu) = m + (\bar x(\nu_T) - m)\, \sqrt{\frac{v + \nu^2}{v + \nu_T^2}} .
# $$ (eq:gaussian-flow)
#
# The number of standard deviations from the mean never changes. Before a numerical solver serves as truth, test it where truth is known.
# `solve_ivp` chooses its own steps: an estimate of each step's error stays below $10^{-10}$. We stop at $\nu = 10^{-4}$ and take one Euler step to 0, whose error is of the order of $10^{-8}$.

# %%
def flow(exact, xbar, start):
    """The ODE's solution at nu = 0, by an adaptive solver."""
    def velocity(nu, y):
        y, abar = torch.from_numpy(y).view_as(xbar), 1 / (1 + nu**2)
        return exact.eps_at(y * abar**0.5, abar).flatten().numpy()

    end, y = 1e-4, xbar.flatten().numpy()
    found = solve_ivp(velocity, (start, end), y, "DOP853", rtol=1e-10, atol=1e-10)
    y = found.y[:, -1]
    return torch.from_numpy(y - end * velocity(end, y)).view_as(xbar)

# %%
# checks eq:gaussian-flow, eq:clock-ode
m, v = torch.tensor([0.5, -1.0]).double(), torch.tensor([0.6, 0.05]).double()
gaussian = Gaussian(m, v, schedule)
x_T = draw(torch.empty(400, 2, dtype=torch.float64), generator)
xbar_T = x_T / alpha_bar[-1].sqrt()
closed = m + (xbar_T - m) * (v / (v + nsr[-1] ** 2)).sqrt()

assert torch.allclose(flow(gaussian, xbar_T, nsr[-1].item()), closed, rtol=0, atol=1e-6)
for S, most in ((100, 0.06), (1000, 0.006)):
    tau = make_tau(1000, S, "trailing")
    *_, last = ddim_path(gaussian.eps, x_T, schedule, tau)
    assert abs((last.x_s - closed).abs().max() / most - 1) < 0.1

# %% [markdown]
# ## Paths do not cross
#
# For $\nu > 0$ the velocity is smooth, so through each point passes one path: two paths that meet at some $\nu$ are the same path. The flow is therefore
# **one-to-one**. On the line this says more. Paths that cannot cross keep their order, so the map $x_T \mapsto x_0$ is increasing; and it carries
# $q_T$ to the data. Only one increasing map does that: the share of the data below $x_0$ must be the share of $q_T$ below $x_T$. With the distribution functions $F_T$ and $F_0$,
#
# $$
# F_0(x_0) = F_T(x_T), \quad\text{that is,}\quad x_0 = F_0^{-1}\bigl(F_T(x_T)\bigr) ,
# $$ (eq:quantile)
#
# the **quantile map**, which chapter 6 took for its truth.

# %% tags=["hide-input"]
# checks eq:quantile
def share_below(x, abar):
    std = (abar * one.covs[:, 0, 0] + 1 - abar).sqrt()
    z = (x - abar.sqrt() * one.means[:, 0]) / std
    return (one.weights * torch.special.ndtr(z)).sum(1)


x_T = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None]
F_T = share_below(x_T, alpha_bar[-1])
truth = flow(one, x_T / alpha_bar[-1].sqrt(), nsr[-1].item())
assert (share_below(truth, alpha_bar[0]) - F_T).abs().max() < 1e-6
rows = []
for S in (3, 10, 100, 1000):
    *_, last = ddim_path(one.eps, x_T, schedule, make_tau(1000, S, "trailing"))
    off = (share_below(last.x_s, alpha_bar[0]) - F_T).abs().max()
    rows.append([S, f"{off:.3f}"])
    assert (last.x_s.diff(dim=0) > 0).all()  # the order is kept
assert off < 0.005
Table(["steps S", "share below x₀ off by at most"], rows)

# %% mystnb={"figure": {"caption": "Thirteen starts, sent down by DDIM (left) and by DDPM (middle), all 1,000 levels, data with peaks at −1 and 0.6. DDIM's paths never cross, and the lowest four end in the left peak, which holds three tenths of the data. DDPM's wander, all twelve pairs of neighbours cross, and where one ends is not decided by its start. Right: DDIM's paths in the ODE's own units; beyond $\\nu = 2$ a slope changes by 0.15 at most.", "name": "fig-ode-paths"}, "image": {"alt": "Three plots of paths. Left, against t: thirteen smooth curves that keep their order and split into two bundles near 0. Middle, against t: thirteen jagged, tangled lines that end in the same two bundles. Right, rescaled state against the clock: a fan of curves, nearly straight lines beyond 1, that bend into two points at 0."}} tags=["hide-input"]
shares = (torch.arange(13, dtype=torch.float64)[:, None] + 0.5) / 13
starts = torch.special.ndtri(shares)
paths = {}
for eta in (0.0, 1.0):
    seed = torch.Generator().manual_seed(1)
    tau = make_tau(1000, 1000)
    walk = ddim_path(one.eps, starts, schedule, tau, eta=eta, generator=seed)
    states = [starts] + [step.x_s for step in walk]
    paths[eta] = torch.cat(states, 1).T.flip(0)  # [t] is at level t
fig, (left, middle, right) = figure(3, height=3.5)
for ax, eta, name in ((left, 0.0, "DDIM"), (middle, 1.0, "DDPM")):
    ax.plot(paths[eta], linewidth=0.9)
    ax.set(title=name, xlabel="level t", ylabel="$x_t$")
    ax.set(ylim=(-3.2, 3.2), xticks=(0, 500, 1000))
near = nsr < 3
rescaled = paths[0.0] / alpha_bar.sqrt()[:, None]
right.plot(nsr[near], rescaled[near], linewidth=0.9)
right.set(title="DDIM, rescaled", ylim=(-6, 6))
right.set(xlabel=r"clock $\nu$", ylabel=r"$\bar x$");

# %%
crossings = {}
for eta, path in paths.items():
    crossings[eta] = int((path.diff(dim=1) < 0).any(0).sum())
assert crossings == {0.0: 0, 1.0: 12}
assert (paths[0.0][0] < -0.2).tolist() == [True] * 4 + [False] * 9

slope = rescaled.diff(dim=0) / nsr.diff()[:, None]
bend, far = (s.amax(0) - s.amin(0) for s in (slope, slope[nsr[1:] > 2]))
assert far.max() < 0.2 < 1 < bend.max()

# %% [markdown]
# Even three steps kept the order. The mean of {eq}`eq:rescaled` given $x_t$ says that
# $\epsilon^* = (\bar x_t - E[x_0 \mid x_t])/\nu_t$. Put this into {eq}`eq:clock-step`: a step is a weighted mean of where one is and where the data is expected,
#
# $$
# \bar x_s = r\, \bar x_t + (1 - r)\, E[x_0 \mid x_t], \qquad r = \frac{\nu_s}{\nu_t} .
# $$ (eq:weighted-step)
#
# By {eq}`eq:velocity`, $E[x_0 \mid x_t] = \bar x + \nu^2 \nabla \ln p_\nu(\bar x)$. The **Jacobian** of a map is the matrix of its first derivatives. Differentiating a second time shows that the Jacobian of $E[x_0 \mid x_t]$ is the covariance of $x_0$ given $x_t$ over $\nu_t^2$ ({ref}`ex-ode-jacobian`), so the Jacobian of the step is
#
# $$
# r\, I + (1 - r)\, \operatorname{Cov}(x_0 \mid x_t)/\nu_t^2 .
# $$ (eq:step-jacobian)
#
# Going down to a level above 0, $0 < r < 1$. The matrix is symmetric and its eigenvalues are at least $r$. Integrate the matrix along the segment from one point $a$ to another, $b$: the step takes these points to $a'$ and $b'$ with
#
# $$
# (b' - a') \cdot (b - a) \ge r\, \lVert b - a \rVert^2 > 0 ,
# $$ (eq:step-apart)
#
# so $a'$ and $b'$ are different points. With the exact predictor **every step down to a level above 0 is one-to-one, whatever its size and the number of dimensions**. Going up, $r > 1$ and the second term is negative. A long step can then **fold**: it can take two points to one.

# %%
t, x_0 = 300, torch.linspace(-3, 3, 6001, dtype=torch.float64)
xbar = torch.tensor([-0.4, -0.2, 0.1]).double()
bell = -((xbar[:, None] - x_0) ** 2) / (2 * nsr[t] ** 2)
given = (bell + one.log_prob(x_0[:, None])).softmax(1)  # of x_0, given xbar
mean = (given * x_0).sum(1)
variance = (given * x_0**2).sum(1) - mean**2

def go(y, s):
    x = y[:, None] * alpha_bar[t].sqrt()
    x = ddim_step(x, one.eps(x, t), alpha_bar[t], alpha_bar[s])
    return x[:, 0] / alpha_bar[s].sqrt()

# %%
# checks eq:weighted-step, eq:step-jacobian
h = 1e-5
for s in (100, 600):  # down and up
    r = nsr[s] / nsr[t]
    assert torch.allclose(go(xbar, s), r * xbar + (1 - r) * mean, rtol=0, atol=1e-9)
    slope = (go(xbar + h, s) - go(xbar - h, s)) / (2 * h)
    assert torch.allclose(slope, r + (1 - r) * variance / nsr[t] ** 2, atol=1e-6)
    assert (slope.min() > 1.8 * r) == (s == 100) and (slope.max() < 0.8 * r) == (s == 600)

# %%
# checks eq:step-apart
line = torch.linspace(-3, 3, 31, dtype=torch.float64)
points = torch.cartesian_prod(line, line)  # 961 points in the plane, as x_t
for t, s in ((1000, 1), (500, 50), (200, 100)):
    image = ddim_step(points, plane.eps(points, t), alpha_bar[t], alpha_bar[s])
    for k in (1, 31, 400):  # neighbours in both directions, and far apart
        before = (points - points.roll(k, 0)) / alpha_bar[t].sqrt()
        after = (image - image.roll(k, 0)) / alpha_bar[s].sqrt()
        least = nsr[s] / nsr[t] * (before**2).sum(1)
        assert ((after * before).sum(1) >= 0.999 * least).all()

# %% [markdown]
# ## The same ODE in another clock
#
# Yang Song and others {cite}`song2021sde` describe the forward process in continuous time, with $\beta(t) = -\tfrac{d}{dt} \ln \bar\alpha(t)$, and show that an ODE has the same
# marginals, the **probability-flow ODE**. Written with $\epsilon^*$ it is
#
# $$
# \frac{dx}{dt} = -\frac{\beta(t)}{2} \Bigl(x - \frac{\epsilon^*(x, t)}{\sqrt{1 - \bar\alpha(t)}}\Bigr) .
# $$ (eq:flow-in-t)
#
# It is {eq}`eq:clock-ode` in other units. Since $\tfrac{d}{dt} \sqrt{\bar\alpha} = -\tfrac{\beta}{2} \sqrt{\bar\alpha}$, the term $-\tfrac\beta2 x$ cancels when
# we differentiate $\bar x = x/\sqrt{\bar\alpha}$, and what is left is $\tfrac{d\bar x}{dt} = \epsilon^* \beta/(2\sqrt{\bar\alpha(1 - \bar\alpha)})$. The factor of $\epsilon^*$ is $d\nu/dt$: differentiate $\nu^2 = 1/\bar\alpha - 1$ to get $2\nu\, \tfrac{d\nu}{dt} = \beta/\bar\alpha$. (Proposition 1 of the DDIM paper states the equivalence for the variance-exploding
# form, which is {eq}`eq:clock-ode`.)
#
# The ODE is the same, but Euler's method depends on the clock. The method takes the right-hand side for constant during a step, and what is constant in one clock is not in another.
# Besides DDIM's {eq}`eq:clock-step` there are Euler in $\nu^2$, which is equation 15 of the DDIM paper, and Euler in $t$:
#
# $$
# \bar x_s = \bar x_t + \frac{\nu_s^2 - \nu_t^2}{2 \nu_t}\; \epsilon_\theta(x_t, t) ,
# $$ (eq:euler-square)
#
# $$
# x_s = x_t + \frac{(t - s)\, \beta(t)}{2} \Bigl(x_t - \frac{\epsilon_\theta(x_t, t)}{\sqrt{1 - \bar\alpha_t}}\Bigr) .
# $$ (eq:euler-t)
#
# For $t - s$ small all three agree to first order. We take the mixture in the plane, 200 starts, and the median distance from the truth at $t = 0$. (The median, because
# a few starts lie so close to a watershed between two peaks that at small $S$ they end in the wrong one.)

# %%
rate = -torch.gradient(alpha_bar.log())[0]  # beta(t), by central differences

def euler(exact, x_T, tau, clock):
    """Euler's method in the clock nu, nu^2 or t, for the same ODE."""
    x = x_T
    for t, s in zip(tau.flip(0)[:-1].tolist(), tau.flip(0)[1:].tolist()):
        eps, abar = exact.eps(x, t), alpha_bar[t]
        if clock == "t":
            x = x + 0.5 * (t - s) * rate[t] * (x - eps / (1 - abar).sqrt())
        else:
            gap = nsr[s] - nsr[t]
            if clock == "nu^2":
                gap = (nsr[s] ** 2 - nsr[t] ** 2) / (2 * nsr[t])
            x = (x / abar.sqrt() + gap * eps) * alpha_bar[s].sqrt()
    return x

# %% tags=["hide-input"]
# checks eq:euler-square, eq:euler-t, eq:flow-in-t
x_T = draw(torch.empty(200, 2, dtype=torch.float64), generator)
truth = flow(plane, x_T / alpha_bar[-1].sqrt(), nsr[-1].item())
steps, error, rows = (10, 20, 50, 100, 200, 500), {}, []
for clock in ("nu", "nu^2", "t"):
    error[clock] = []
    for S in steps:
        x = euler(plane, x_T, make_tau(1000, S, "trailing"), clock)
        error[clock].append((x - truth).norm(dim=1).median().item())
    fit = linregress(np.log(steps[2:]), np.log(error[clock][2:]))
    rows.append([clock, f"{error[clock][0]:.2f}", f"{fit.slope:.2f} ± {fit.stderr:.3f}"])
    assert abs(fit.slope + 1) < 0.2
assert error["nu^2"][0] > 10 * error["nu"][0] > 10 * error["t"][0]
names = {"nu": "ν: DDIM", "nu^2": "ν², equation 15", "t": "t"}
rows = [[names[clock], *rest] for clock, *rest in rows]
Table(["Euler's clock", "error at S = 10", "slope"], rows)

# %% mystnb={"figure": {"caption": "Median distance between a solver's $x_0$ and the ODE's, for a mixture of three Gaussians in the plane, against the number of steps: three clocks, one equation. All have order 1 (the dotted line falls as $1/S$), with very different constants.", "name": "fig-ode-order"}, "image": {"alt": "Log-log plot of error against steps from 10 to 500. Three falling lines, in the end parallel to a dotted line of slope minus one. Euler in nu squared lies highest, starting above 1; DDIM lies more than ten times lower at 10 steps; Euler in t lies lowest, about half of DDIM."}} tags=["hide-input"]
fig, ax = figure(height=3.6)
names = {"nu^2": r"Euler in $\nu^2$ (eq. 15)", "nu": r"Euler in $\nu$: DDIM"}
names["t"] = "Euler in t"
for (clock, name), marker in zip(names.items(), "s^o"):
    ax.plot(steps, error[clock], marker=marker, markersize=4, label=name)
ax.plot(steps, [0.3 / S for S in steps], ":", color="gray", label="slope −1")
ax.set(xscale="log", yscale="log", xlabel="steps S", ylabel="error at t = 0")
ax.legend();

# %% [markdown]
# The fit covers $S \ge 50$. All three slopes are within 0.1 of the limit $-1$: the order is 1. The DDIM paper expects its step to differ from equation 15 "in fewer
# sampling steps", and it does: with ten steps equation 15 is more than ten times worse. Equation 15 takes $\epsilon_\theta/\nu$ for constant, which is wrong even for a single point.
#
# **Try it.** Four ways down the same equation, at equal calls, with their errors. Press play, then change $S$.
#
# <div class="plane" data-plane="race">
#
# {doc}`/playground`
#
# </div>
#
# The lowest curve surprises: Euler in $t$ beats DDIM here (why: {ref}`ch-fewer-calls`). Is that a law? In {eq}`eq:flow-in-t`, the bracket vanishes for data
# $\mathcal N(0, I)$, where $\epsilon^* = \sqrt{1 - \bar\alpha}\, x$: nothing moves and Euler in $t$ is exact in one step. DDIM is exact for a single point. Our mixture, with the variances 0.81 and 0.46, is nearer to $\mathcal N(0, I)$. The 1,597 training digits are isolated points in 64 dimensions, and some of their pixels are nearly constant. The cell takes ten steps on each; the error is the median over 40 starts of the root mean square over coordinates.

# %%
data = digits()
points = data.floats(data.train).double().flatten(1)
sources = {
    "one point": Gaussian(0.5 * torch.ones(2), 0.0, schedule),
    "N(0, I)": Gaussian(torch.zeros(2), 1.0, schedule),
    "mixture": plane,
    "digits": EmpiricalData(points, schedule),
}
mean = plane.weights @ plane.means
variances = plane.weights @ (plane.means - mean) ** 2 + 0.03
assert len(points) == 1597 and variances.numpy().round(2).tolist() == [0.81, 0.46]

# One step from 1000 to 0: DDIM for a point, Euler in t for N(0, I).
one_step, x_T = torch.tensor([0, 1000]), torch.ones(1, 2, dtype=torch.float64)
for name, clock, end in (("one point", "nu", 0.5), ("N(0, I)", "t", 1.0)):
    assert torch.allclose(euler(sources[name], x_T, one_step, clock), end * x_T)

# %% tags=["hide-input"]
ten, off, rows = make_tau(1000, 10, "trailing"), {}, []
for name, source in sources.items():
    dim = 64 if name == "digits" else 2
    start = draw(torch.empty(40, dim, dtype=torch.float64), generator)
    exact = flow(source, start / alpha_bar[-1].sqrt(), nsr[-1].item())
    rms = {}
    for c in error:
        rms[c] = (euler(source, start, ten, c) - exact).square().mean(1).sqrt()
    off[name] = {c: rms[c].median().item() for c in error}
    rows.append([name, *(f"{off[name][c]:.3f}" for c in error)])
Table(["data", "error, Euler in ν: DDIM", "in ν²", "in t"], rows)

# %%
right, wrong = torch.cdist(exact, points).argmin(1), {}  # the digit nearest to each end
for c in error:
    nearest = torch.cdist(euler(source, start, ten, c), points).argmin(1)
    wrong[c] = int((nearest != right).sum())
assert wrong["nu"] == 7 and wrong["t"] == 3

# %%
assert off["one point"]["nu"] < 1e-6 < 0.01 < off["one point"]["t"]
assert off["N(0, I)"]["t"] < 1e-6 < 0.01 < off["N(0, I)"]["nu"]
assert off["mixture"]["t"] < off["mixture"]["nu"] < 0.2 * off["mixture"]["nu^2"]
assert off["digits"]["nu"] < 0.2 * off["digits"]["t"] and wrong["nu"] < 12
assert all(o["nu^2"] > 5 * max(o["nu"], o["t"]) for o in off.values())

# %% [markdown]
# So neither clock is always the better one. On the digits DDIM's typical start hits the right one almost exactly, since its last step goes straight to $E[x_0 \mid x_t]$, where Euler in $t$ stops a little beside it;
# a few starts of either (7 of 40 for DDIM, 3 for Euler in $t$) end nearest to another digit. What all three share is order 1; methods of higher order on this ODE are in {py:mod}`ddim_edu.solvers`.
#
# **Try it.** Heun's method makes DDIM's step, asks for the noise once more at the step's end, and then makes the step anew with the mean of the two predictions; only the last step,
# to the data, is plain DDIM, because no network knows level 0. On the left is one start in the ODE's own units, where a step of DDIM is a straight piece along the velocity at its right end. The
# border between the two peaks is near the start $-0.5$; move across it. The picture opens with six even steps, and there Heun's method is the *worse* one: from this start it misses by twice as much as DDIM, in eleven calls instead of six. The order counts for short steps only, and the last of these reaches from level 167 to the data. Take
# more, and read off what twice the steps do to the mean error of each method. A method of order 2 should divide it by four. Does Heun's, when the levels are even in $t$, and when they are dense near the data?
#
# <div class="explore" data-explore="euler">
#
# On the book's web pages a picture stands here that moves with sliders for $S$ and the start. {numref}`fig-ode-order` shows the error of DDIM against the number of steps, without Heun's method.
#
# </div>
#
# ## Up again: inversion
#
# An ODE has no preferred direction. {py:func}`~ddim_edu.sampler.invert` takes {eq}`eq:clock-step` with $s > t$: it starts at a data point and ends near the $x_T$ that decodes to this point. The end is called the **latent**. The noise is predicted at the level being left, as in any Euler step. No network knows level 0, so there it is asked for the noise of level 1.
#
# The way up and the way down are not exact inverses of each other. For one step of length $h$ on the clock, the way up uses the velocity at the lower end, the way down the velocity at the upper end. The two velocities differ by about $h$ times their rate of change, so the pair of steps misses by about $h^2$. A trip has $S$ pairs with $h \propto 1/S$: the trip misses by about $1/S$, and the *squared* error should fall as
# $1/S^2$. We test this on the mixture in the plane.

# %%
def round_trip(eps_theta, x_0, schedule, tau, **how):
    latent = invert(eps_theta, x_0, schedule, tau)
    *_, last = ddim_path(eps_theta, latent, schedule, tau, **how)
    return latent, last.x_s

# %%
x_0 = plane.sample(400, generator)
trips = (10, 20, 50, 100, 200, 500)
mean_error, median_error = [], []
for S in trips:
    _, back = round_trip(plane.eps, x_0, schedule, make_tau(1000, S, "trailing"))
    squared = (back - x_0).square().mean(1)
    mean_error.append(squared.mean().item())
    median_error.append(squared.median().item())
for name, errors in (("median", median_error), ("mean", mean_error)):
    fit = linregress(np.log(trips[2:]), np.log(errors[2:]))  # S >= 50
    assert abs(fit.slope - {"median": -1.92, "mean": -0.65}[name]) < 0.05
    assert name == "mean" or abs(fit.slope + 2) < 0.3
worst = squared.topk(4).values.sum() / squared.sum()
assert worst > 0.97  # of the mean at S = 500

# %% [markdown]
# For the typical point the exponent is near $-2$: the median falls with a slope of $-1.92$. The mean falls less regularly, with $-0.65$, since a few points rule it: at $S = 500$ four of the 400 make 98% of it. And the way up has a second fault, which {eq}`eq:step-jacobian` announced: a long step up folds. Send an ordered grid of $x_0$ between and around the two peaks of the mixture on the line upwards, and count the neighbours that change places.

# %% tags=["hide-input"]
grid = torch.linspace(-2, 2, 4001, dtype=torch.float64)[:, None]
folds, rows = {}, []
for S in (10, 50, 200):
    latent = invert(one.eps, grid, schedule, make_tau(1000, S, "trailing"))
    folds[S] = int((latent.diff(dim=0) < 0).sum())
    rows.append([S, folds[S]])
assert folds[10] > 50 and folds[200] == 0
Table(["steps up", "pairs of 4,000 out of order"], rows)

# %% [markdown]
# ### Held-out digits, and the paper's table
#
# Now the trained network, with its cosine schedule, and digits that it has never seen. First, how far does the clock move between the last levels?

# %% tags=["hide-input"]
trained = load("digits")
cosine, eps_theta = trained.schedule, trained.model
last_levels = (900, 998, 999, 1000)
rows = [[t, f"{cosine.nsr[t]:.1f}", f"{cosine.alpha_bar[t]:.1e}"] for t in last_levels]
Table(["level t", "clock ν", "ᾱ"], rows)

# %%
pictures = data.floats(data.heldout)[::8]  # 25 of them
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    _, back = round_trip(eps_theta, pictures, cosine, make_tau(1000, 20, "trailing"))
print(str(told[0].message).split(":")[0])
error = ((back - pictures) / 2).square().mean()
assert error > 10

# %% [markdown]
# The last of the thousand steps is thirty times as long as all the others together. Euler multiplies the network's error at level 1000 by that length, and grey values between 0 and 1
# come back with a mean squared error above 10; `invert` warns of it. So we stop at level 900, where the clock shows 6.4 and the picture still enters $x_t$ with the factor $\sqrt{0.024} = 0.15$. The error is measured as in the
# DDIM paper's Table 2, per pixel with images in $[0, 1]$; the paper's numbers are for the CIFAR-10 test set.

# %% tags=["hide-input"]
def per_picture(x):
    """The squared error of each picture, per pixel, in grey values of [0, 1]."""
    return ((x - pictures) / 2).square().flatten(1).mean(1)


paper = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004}
paper |= {500: 0.0001, 1000: 0.0001}
ours, latents, returned, rows = {}, {}, {}, []
for S in (10, 20, 50, 100, 200):
    tau = torch.linspace(0, 900, S + 1).round().long()
    latents[S], returned[S] = round_trip(eps_theta, pictures, cosine, tau)
    each = per_picture(returned[S])
    ours[S] = each.mean().item()
    error = each.std().item() / len(each) ** 0.5
    rows.append([S, f"{ours[S]:.1e} ± {error:.0e}", f"{paper[S]:.1e}"])
assert ours[200] < ours[50] < ours[20] and ours[200] < 1e-3
Table(["steps S each way", "squared error, digits", "CIFAR-10, the paper"], rows)

# %%
used = [S for S in ours if S >= 20]
fit = linregress(np.log(used), np.log([ours[S] for S in used]))
theirs = linregress(np.log(list(ours)), np.log([paper[S] for S in ours]))
assert abs(fit.slope + 1.89) < 0.03 and abs(theirs.slope + 1.19) < 0.03

# %% mystnb={"figure": {"caption": "Squared error of a round trip against the number of steps, each in the units of its data. The mixture's median and the digits fall about as $1/S^2$ (dotted), the paper's CIFAR-10 numbers more slowly. The standard errors of the digits (over 25 images) are smaller than the dots.", "name": "fig-ode-roundtrip"}, "image": {"alt": "Log-log plot of squared error against steps from 10 to 1000. The curves of the mixture and of the digits fall parallel to a dotted line of slope minus two; the paper's points fall along a flatter line and level out at 0.0001."}} tags=["hide-input"]
fig, ax = figure(height=3.6)
bars = [per_picture(returned[S]).std() / 25**0.5 for S in ours]
ax.plot(list(paper), list(paper.values()), "s-", ms=4, label="CIFAR-10, paper")
ax.plot(trips, median_error, "^-", ms=4, label="mixture, median")
digit_errors = list(ours.values())
ax.errorbar(list(ours), digit_errors, bars, fmt="o-", ms=4, label="digits")
ax.plot(trips, [0.3 / S**2 for S in trips], ":", color="gray", label="slope −2")
ax.set(xscale="log", yscale="log", xlabel="steps S", ylabel="squared error")
ax.legend();

# %% [markdown]
# From 20 steps on the digits nearly follow the $1/S^2$ of the argument: the slope is $-1.89$. The paper's numbers do not: up to $S = 200$ their exponent is near $-1.2$ (at 500 and 1000 rounding leaves the same single digit).
# We cannot say why.

# %% mystnb={"figure": {"caption": "Two held-out digits, their latents at level 900 (200 steps), and what comes back after 10, 20 and 200 steps each way.", "name": "fig-ode-latents"}, "image": {"alt": "A row of ten small grey pictures, five for each of two handwritten digits: the digit, a picture that looks like noise, and three reconstructions that look like the digit, the first slightly off."}} tags=["hide-input"]
shown = []
for i in (3, 6):
    shown += [pictures[i], latents[200][i]]
    shown += [returned[S][i] for S in (10, 20, 200)]
image_row(torch.stack(shown), ["digit", "latent", "S=10", "S=20", "S=200"] * 2);

# %% [markdown]
# ### Is the latent noise?
#
# If the network were $\epsilon^*$ and the steps infinitely short, {prf:ref}`thm-ode-marginals` read upwards would carry $q_1$, the pictures with the noise of level 1, to $q_{900}$, nearly standard normal. The theorem says nothing of the pictures themselves, at $\nu = 0$. These digits take 17 grey values. We call a pixel **lively** if its variance over the 25 pictures exceeds 0.1, and otherwise **quiet**: quiet pixels are exactly black in nine of ten cases. Such data have no density, and a map carries finitely many values to finitely many. So we send up both: the pictures themselves, and those with the noise of level 1 (standard deviation 0.006), the latter from level 1 on, in even and in 199 "fine" steps: every level up to 100, then every eighth. We compare the latents with what they should be like: the same pictures sent up by {eq}`eq:closed-form` with fresh noise. Each number is a mean over the 25 images with its standard error; "neighbours" is the mean product of a pixel and the one to its right.

# %%
def describe(x):
    x, wide = x.double().squeeze(1), pictures.var(0).squeeze(0) > 0.1
    rows = {
        "mean": x.mean((1, 2)),
        "mean square": x.square().mean((1, 2)),
        "neighbours": (x[:, :, 1:] * x[:, :, :-1]).mean((1, 2)),
        "norm": x.flatten(1).norm(dim=1),
        "square, lively pixels": x[:, wide].square().mean(1),
        "square, quiet pixels": x[:, ~wide].square().mean(1),
    }
    return {k: (r.mean().item(), r.std().item() / 5) for k, r in rows.items()}

# %%
def up(x, levels):
    """Deterministic steps from the first of the levels to the last."""
    for s, t in zip(levels[:-1], levels[1:]):
        eps = eps_theta(x, torch.full((len(x),), max(int(s), 1)))
        x = ddim_step(x, eps, cosine.alpha_bar[s], cosine.alpha_bar[t])
    return x


alone = torch.Generator().manual_seed(1)
first = q_sample(pictures, 1, cosine, draw(pictures, alone))
fine = torch.cat([torch.arange(100), torch.arange(100, 901, 8)])
ways = {S: torch.linspace(1, 900, S + 1).round().long() for S in (20, 200)}
above = {S: up(first, tau) for S, tau in ways.items()} | {"fine": up(first, fine[1:])}
fresh = q_sample(pictures, 900, cosine, draw(pictures, generator))
found = {f"S = {S}": describe(latents[S]) for S in (20, 200)}
found |= {f"q_1, {S}": describe(above[S]) for S in above}
found["q(x_900)"] = describe(fresh)

# %% tags=["hide-input"]
rows = []
for row in found["S = 20"]:
    rows.append([row, *(f"{f[row][0]:.2f} ± {f[row][1]:.2f}" for f in found.values())])
quiet, chance = zip(*(f["square, quiet pixels"] for f in found.values()))
assert quiet[0] < quiet[1] < 0.5 * quiet[-1]  # the pictures themselves
assert quiet[2] < quiet[3] < quiet[4]  # from level 1
assert abs(quiet[4] - quiet[5]) < 3 * (chance[4] ** 2 + chance[5] ** 2) ** 0.5
wide = pictures.var(0).squeeze(0) > 0.1
black = (pictures.squeeze(1)[:, ~wide] == -1).float().mean()
assert len(pictures.unique()) == 17 and black > 0.85
Table(["", *found], rows)

# %% [markdown]
# With 200 steps the mean is nearly right, neighbours are hardly correlated, and the lively pixels have about the right size. But the latents of pictures ("S = 20", "S = 200") are **not**
# standard normal: they are too short, mostly in the quiet pixels. From level 1 ("q_1") nothing is missing after the fine steps. There are two causes.
#
# **Long steps.** {eq}`eq:gaussian-flow` says what they do. A coordinate of variance
# $v$ that starts one standard deviation from its mean follows $\bar x - m = \sqrt{v + \nu^2}$. The slope of this path is 0 at the data and nearly 1 once $\nu$ is several times $\sqrt v$. Where $v$ is tiny, the slope rises within the first step up. Euler uses the slope at the lower end for the whole step, and so arrives too close to the mean. Later steps do not make up for the loss: for $\nu$ well above $\sqrt v$ we have $\epsilon^* = (\bar x - m)/\nu$, a straight line that keeps the ratio of $\bar x - m$ to $\nu$.
#
# **No density.** How much do long steps explain? The next cell gives Gaussian pixels the means and variances of the quiet ones, and sends them up with the same schedule and levels and their exact predictor:

# %%
known = data.floats(data.train).squeeze(1)[:, ~wide].double()
centre, v = known.mean(0), known.var(0).clamp(min=1e-8)
pixels = Gaussian(centre, torch.diag(v), cosine)
x_0 = centre + v.sqrt() * torch.randn(1000, len(v), generator=alone).double()
smooth = {}
for S, is_ in zip((20, 200), quiet):
    tau = torch.linspace(0, 900, S + 1).round().long()
    smooth[S] = invert(pixels.eps, x_0, cosine, tau).square().mean().item()
    assert 0.25 < is_ / smooth[S] < 0.4
assert abs(smooth[20] - 0.45) < 0.03 and abs(smooth[200] - 0.75) < 0.03

# %% [markdown]
# With the same variances and a density, the mean square comes to 0.45 in 20 steps and to 0.75 in 200, on its way to 1. What these numbers lack is the work of long steps. The digits stay at about a third of them, at either number of steps: that is the work of the missing density. Data that are to be encoded as noise need a density; the noise of level 1 gives them one.
#
# So a good round trip says little about the latents, and little about the opposite trip, from noise to a picture and back. That one misses by much: with 200 even steps more than twice as far as with 200 fine ones, with 50 more than three times. In the quiet pixels the decoder shrinks all noise to nearly nothing, and the encoder finds it again only in short steps. (Five noises; unrelated noise would miss by 2.)

# %%
noise, missed = draw(pictures, generator)[:5], {}
even = {S: torch.linspace(0, 900, S + 1).round().long() for S in (200, 50)}
for S, tau in ({"200, fine": fine} | even).items():
    *_, last = ddim_path(eps_theta, noise, cosine, tau)
    again = invert(eps_theta, last.x_s, cosine, tau)
    missed[S] = (again - noise).square().mean().item()
    print(f"S = {S}: noise to noise {missed[S]:.2f}", end="")
    print(f", picture to picture {ours[S] * 4:.0e}" if S in ours else "")
    assert missed[S] > 100 * ours.get(S, ours[200])
assert missed["200, fine"] < missed[200] < 0.8 * missed[50] < 0.8
assert missed["200, fine"] < min(missed[200] / 2, missed[50] / 3)

# %% [markdown]
# (The factor 4 brings the first error to the units of the second, the range $[-1, 1]$.)
#
# ## What a stochastic sampler cannot do
#
# With $\eta = 1$ the latent decides little, as chapter 6 measured, so a picture cannot be encoded in the latent alone. The next cell decodes the latent of a real digit with fresh noise:

# %% mystnb={"figure": {"caption": "One latent, decoded in 50 steps. Left, the digit that was encoded and its decoding with η = 0. The other six are decodings of the same latent with η = 1.", "name": "fig-ode-stochastic"}, "image": {"alt": "A row of eight small grey pictures. The first two show the same handwritten digit. The other six show various digits."}} tags=["hide-input"]
latent = latents[50][3:4]
*_, kept = ddim_path(eps_theta, latent, cosine, tau)
copies = latent.expand(6, -1, -1, -1).clone()
*_, lost = ddim_path(eps_theta, copies, cosine, tau, eta=1.0, generator=generator)
titles = ["digit", "η = 0"] + ["η = 1"] * 6
image_row(torch.cat([pictures[3:4], kept.x_s, lost.x_s]), titles);

# %% [markdown]
# More steps do not help. Two unrelated digits differ by 0.14 in mean square; what comes back differs by 0.13 with 10 steps and by 0.14 with 50. On the mixture unrelated draws differ by 1.3, and what comes back by 1.2 with 10 steps and by 1.3 with 100.

# %%
unrelated = ((pictures - pictures.roll(1, 0)) / 2).square().mean().item()
for S in (10, 50):
    tau = torch.linspace(0, 900, S + 1).round().long()
    noisy = {"eta": 1.0, "generator": generator}
    *_, last = ddim_path(eps_theta, latents[S], cosine, tau, **noisy)
    gone = ((last.x_s - pictures) / 2).square().mean().item()
    assert 0.125 < gone < 0.145 and abs(unrelated - 0.14) < 0.005
    assert gone > 0.4 * unrelated > 5 * ours[S]

# %%
x_0 = plane.sample(500, generator)
apart = (x_0 - x_0.roll(1, 0)).square().mean().item()
for S in (10, 100):
    tau = make_tau(1000, S, "trailing")
    _, back = round_trip(plane.eps, x_0, schedule, tau, **noisy)
    gone = (back - x_0).square().mean().item()
    assert gone > 0.7 * apart and 1.15 < gone < 1.35 and abs(apart - 1.3) < 0.05

# %% [markdown]
# The encoding is lost. It can be kept: record the noise of every step beside $x_T$, and replay it. Then $S$ latents of the size of the picture stand for one picture; editing methods
# use them {cite}`huberman2024edit`; {ref}`ex-ode-record` does it.
#
# ## What breaks: the wrong clock, and clipping
#
# {prf:ref}`thm-ode-marginals` needs one clock for both directions. The next cell encodes the digits with the $\bar\alpha$ of the linear schedule, a likely slip where it is set in two places, and decodes with the cosine on which the network was trained. No error is raised.

# %%
tau = torch.linspace(0, 900, 51).round().long()
slip = invert(eps_theta, pictures, schedule, tau)  # linear
*_, last = ddim_path(eps_theta, slip, cosine, tau)
broken = per_picture(last.x_s).mean().item()
assert abs(broken - 0.23) < 0.005
assert broken > 0.4 * unrelated and broken > 100 * ours[50]

# %% [markdown]
# What comes back is off by 0.23, further than an unrelated digit (0.14); with the right clock it was off by 0.00009. The second suspect is clipping the predicted $x_0$ to $[-1, 1]$, which many samplers do by default. A step that clips is no Euler step of {eq}`eq:clock-ode`. The damage depends on the data: the mixture in the plane has points beyond 1, which a clipped last step cannot reach, however many steps there are; pixels live inside $[-1, 1]$.

# %% tags=["hide-input"]
rows = []
for S in (50, 200):
    levels = make_tau(1000, S, "trailing")
    latent, free = round_trip(plane.eps, x_0, schedule, levels)
    *_, last = ddim_path(plane.eps, latent, schedule, levels, clip=1.0)
    clipped, free = ((y - x_0).square().mean().item() for y in (last.x_s, free))
    rows.append([f"mixture, S = {S}", f"{free:.0e}", f"{clipped:.0e}"])
assert clipped > 5 * free

*_, last = ddim_path(eps_theta, latents[50], cosine, tau, clip=1.0)
clipped = per_picture(last.x_s).mean().item()
rows.append(["digits, S = 50", f"{ours[50]:.1e}", f"{clipped:.1e}"])
assert 0.3 < clipped / ours[50] < 3
Table(["squared error", "without clipping", "with"], rows)

# %% [markdown]
# On the digits clipping does next to nothing. Clipping breaks inversion where the data reach beyond the range, or the predictions on the way to them do.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the Jacobian of the expected data
# :label: ex-ode-jacobian
# *Derive · three stars · 30 minutes*
#
# Show that the derivative of $E[x_0 \mid \bar x]$ with respect to $\bar x = x_0 + \nu\epsilon$ is $\operatorname{Cov}(x_0 \mid \bar x)/\nu^2$. Start from
# $E[x_0 \mid \bar x] = \sum_i w_i x_i$ for data that is a finite set of points $x_i$. Check it with {py:class}`~ddim_edu.exact.EmpiricalData`.
# Hand in a function `jacobian(y, points, nu)` for $\bar x = y$, a vector: `check("ex-ode-jacobian", jacobian)`.
# ```
#
# ````{solution} ex-ode-jacobian
# :class: dropdown
# The weights are $w_i \propto e^{-|\bar x - x_i|^2/(2\nu^2)}$ and sum to 1. The logarithm's gradient is $\nabla \ln w_i = (x_i - \bar x)/\nu^2$ minus the mean of the same over $w$, so
# $\nabla w_i = w_i (x_i - E[x_0 \mid \bar x])/\nu^2$, and $\sum_i x_i\, (\nabla w_i)^\top$ is the covariance over $\nu^2$.
#
# ```python
# import torch
# from ddim_edu.exact import EmpiricalData
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# def jacobian(y, points, nu):
#     w = (-((y - points) ** 2).sum(1) / (2 * nu**2)).softmax(0)
#     away = points - w @ points
#     return (w[:, None] * away).T @ away / nu**2
#
# g = torch.Generator().manual_seed(0)
# points = torch.randn(30, 2, generator=g, dtype=torch.float64)
# data, nu, h = EmpiricalData(points, NoiseSchedule.linear()), 0.7, 1e-5
# abar = 1 / (1 + nu**2)
# mean = lambda y: y - nu * data.eps_at(abar**0.5 * y, abar)
# y, eye = torch.tensor([[0.3, -0.2]]).double(), torch.eye(2).double()
# columns = [(mean(y + h * e) - mean(y - h * e))[0] / (2 * h) for e in eye]
# assert torch.allclose(torch.stack(columns, 1), jacobian(y[0], points, nu), atol=1e-8)
# assert check("ex-ode-jacobian", jacobian)
# ```
# ````
#
# ```{exercise} Derive: the variance that ten steps lose
# :label: ex-ode-lost-variance
# *Derive · two stars · 25 minutes*
#
# For data $\mathcal N(0, v)$ a DDIM step multiplies $\bar x$ by a number. Find it, and from it the variance of what $S$ steps make of $x_T \sim \mathcal N(0, 1)$. How much of the variance is
# lost with 10 steps of the linear schedule (trailing) for $v = 1$ and $v = 0.05$? Check with samples.
# Hand in the variance of the samples as a function `variance(v, nu)` of the clock at the levels visited, `nu[0] = 0` to `nu[S]`: `check("ex-ode-lost-variance", variance)`.
# ```
#
# ````{solution} ex-ode-lost-variance
# :class: dropdown
# With $\epsilon^* = \nu \bar x/(v + \nu^2)$ the factor is $1 + (\nu_s - \nu_t)\, \nu_t/(v + \nu_t^2)$. The variance is the squared product of the factors over $\bar\alpha_T$. 31% is lost
# for $v = 1$, and 73% for $v = 0.05$: few deterministic steps make samples that are too close to the mean.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def variance(v, nu):
#     factor = (1 + (nu[:-1] - nu[1:]) * nu[1:] / (v + nu[1:] ** 2)).prod()
#     return factor**2 * (1 + nu[-1] ** 2)
#
# schedule, tau, n = NoiseSchedule.linear(), make_tau(1000, 10, "trailing"), 20_000
# g = torch.Generator().manual_seed(0)
# for v, left in ((1.0, 0.69), (0.05, 0.27)):
#     expected = variance(v, schedule.nsr[tau])
#     exact = Gaussian(torch.zeros(1), v, schedule)
#     x = sample(exact.eps, (n, 1), schedule, tau, generator=g)
#     assert abs(x.var() / expected - 1) < 5 * (2 / n) ** 0.5
#     assert abs(expected / v - left) < 0.005
# assert check("ex-ode-lost-variance", variance)
# ```
# ````
#
# ```{exercise} Code: a latent for DDPM
# :label: ex-ode-record
# *Code · three stars · 40 minutes*
#
# Encode $x_0$ for the sampler with $\eta = 1$: draw any states $x_{\tau_i}$ by {eq}`eq:closed-form`, then solve each step for the noise $z$ that leads from one to the next. (The
# last step adds no noise, so it needs a different idea: which $x_{\tau_1}$ leads to $x_0$? It suffices here that $\tau_1 = 1$, of the `leading` levels, is close.) Replay the noises. How well does $x_0$ come back with 50 steps?
# Hand in what solves a step for its noise, `noise_of(x_t, x_s, eps, abar_t, abar_s, sigma)`: `check("ex-ode-record", noise_of)`.
# ```
#
# ````{solution} ex-ode-record
# :class: dropdown
# A step is $x_s = \mu(x_t) + \sigma z$, so $z = (x_s - \mu(x_t))/\sigma$. The replay passes through the drawn states exactly. Only the last step, from level 1, is a guess, and it misses by less than $\sqrt{\beta_1} = 0.01$ (root mean square). Since any draws will do, the noises
# so found need not look like fresh noise.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.forward import q_sample
# from ddim_edu.sampler import ddim_step
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def noise_of(x_t, x_s, eps, abar_t, abar_s, sigma):
#     mean = ddim_step(x_t, eps, abar_t, abar_s, sigma, torch.zeros_like(x_t))
#     return (x_s - mean) / sigma
#
# schedule, g = NoiseSchedule.linear(), torch.Generator().manual_seed(0)
# data = GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.5]], 0.03, schedule)
# x_0, tau = data.sample(300, g), make_tau(1000, 50, "leading").tolist()
# normal = lambda: torch.randn(x_0.shape, generator=g, dtype=torch.float64)
# drawn = {t: q_sample(x_0, t, schedule, normal()) for t in tau[1:]} | {0: x_0}
#
# def of_step(x, t, s):
#     return data.eps(x, t), schedule.alpha_bar[t], schedule.alpha_bar[s], schedule.sigma(t, s, 1.0)
#
# pairs = list(zip(tau[:0:-1], tau[-2::-1]))
# recorded = {t: noise_of(drawn[t], drawn[s], *of_step(drawn[t], t, s)) for t, s in pairs if s > 0}
# x = drawn[tau[-1]]
# for t, s in pairs:
#     x = ddim_step(x, *of_step(x, t, s), recorded.get(t))
# assert (x - x_0).square().mean().sqrt() < 0.01
# assert check("ex-ode-record", noise_of)
# ```
# ````
#
# ```{exercise} Break: equal steps on the clock
# :label: ex-ode-equal-steps
# *Break · two stars · 25 minutes*
#
# If $\nu$ is the clock, why not take equal steps of it? Build a schedule with 50 levels whose $\nu_t$ rise in equal steps from 0.02 to the linear schedule's $\nu_T$ (from $\bar\alpha = 1/(1 + \nu^2)$, by
# `NoiseSchedule.from_betas`), and compare its error with that of 50 trailing levels. Then try equal steps of $\nu^{1/7}$, the choice of {cite:t}`karras2022edm`.
# Hand in the median errors, for the mixture in the plane and against all 1,000 levels: `check("ex-ode-equal-steps", (equal, seventh, trailing))`.
# ```
#
# ````{solution} ex-ode-equal-steps
# :class: dropdown
# Equal steps spend nearly all of themselves where paths are straight: the second level lies at $\nu = 3.2$, beyond all the bends, and the error is about 0.8, as large as the data's own spread. Equal
# steps of $\nu^{1/7}$ are dense near the data and do about as well as the trailing levels.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.sampler import ddim_path
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# linear = NoiseSchedule.linear()
# means = [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]]
# g = torch.Generator().manual_seed(0)
# x_T = torch.randn(300, 2, generator=g, dtype=torch.float64)
#
# def end(schedule, tau):
#     exact = GaussianMixture([0.5, 0.3, 0.2], means, 0.03, schedule)
#     *_, last = ddim_path(exact.eps, x_T, schedule, tau)
#     return last.x_s
#
# def own(power):
#     ends = 0.02 ** (1 / power), linear.nsr[-1].item() ** (1 / power)
#     nu = torch.linspace(*ends, 50, dtype=torch.float64) ** power
#     abar = torch.cat([torch.ones(1), 1 / (1 + nu**2)])
#     return NoiseSchedule.from_betas(1 - abar[1:] / abar[:-1])
#
# truth = end(linear, make_tau(1000, 1000))
# off = lambda x: (x - truth).norm(dim=1).median().item()
# trailing = off(end(linear, make_tau(1000, 50, "trailing")))
# equal, seventh = (off(end(own(power), range(51))) for power in (1, 7))
# assert 3.1 < own(1).nsr[2] < 3.3 and equal > 0.5
# assert seventh < 1.5 * trailing < 0.05
# assert check("ex-ode-equal-steps", (equal, seventh, trailing))
# ```
# ````

#
# ## Summary
#
# 1. In the units $\bar x = x/\sqrt{\bar\alpha}$, a DDIM step with $\sigma = 0$ is an Euler step of $d\bar x = \epsilon_\theta\, d\nu$, with $\nu = \sqrt{(1 - \bar\alpha)/\bar\alpha}$ as the clock.
# 2. The exact flow carries $q_T$ to the data and is one-to-one; on the line it is the quantile map. With the exact predictor, a step down to any level above 0 is one-to-one at every step size.
# 3. The error falls as $1/S$. Euler in other clocks solves the same ODE with the same order. With few steps, the DDIM paper's equation 15 is far worse; Euler in $t$ is better or worse, depending on the data.
# 4. Run upwards, the sampler encodes data. The squared round-trip error of held-out digits falls about as $1/S^2$, the paper's numbers about as $1/S^{1.2}$. Latents of pictures are too short, mostly in the quiet pixels: long steps are one cause, grey values without a density the other.
# 5. Inversion needs the same clock both ways, an unclipped step where data leaves the range, and no fresh noise. With $\eta = 1$ next to nothing of the encoding is left.
#
# **Next.** Chapter 8 turns to an idea of one of this project's sources, a loss with an adaptive step. In the package, read {py:func}`~ddim_edu.sampler.invert`, then
# {py:meth}`~ddim_edu.exact.GaussianMixture.eps_at`.
