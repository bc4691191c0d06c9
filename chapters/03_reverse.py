# %% [markdown]
# (ch-reverse)=
# # Learning to reverse
#
# **Question.** The forward process ruins data. How is a network to learn the way back, and why does it end up being trained to predict
# noise, with a plain mean squared error?
#
# The road from "make the data likely" to "predict the noise" has six steps, and each of them can be checked on a line, where every
# distribution has a formula. At the end of this chapter you will have derived, and checked by running it,
#
# - where $x_{t-1}$ was, given $x_t$ **and** $x_0$: a Gaussian, by completing one square;
# - a lower bound on the log-likelihood that splits into one divergence per level, and what it lacks;
# - how each divergence becomes a squared error of the noise, with a weight that training then drops;
# - that the best noise prediction is a conditional mean, and the same thing as the score;
# - how close a network comes to it after some seconds of training, and what it samples;
# - which variance the reverse step should have, and what happens without its noise.
#
# The chapter opens {py:mod}`ddim_edu.posterior`, {py:mod}`ddim_edu.losses` and {py:mod}`ddim_edu.nets.points`.

# %%
import torch
from torch.distributions import Normal, kl_divergence

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import eps_to_score, eps_to_v, mix, q_sample, q_step, unmix_x0
from ddim_edu.losses import draw_t, gamma_of_sigma, loss_simple
from ddim_edu.nets.points import PointNet
from ddim_edu.plotting import COLOURS, figure
from ddim_edu.posterior import ddpm_posterior
from ddim_edu.sampler import draw, sample
from ddim_edu.schedule import NoiseSchedule, make_tau

generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()


def number(x):
    return torch.tensor(x, dtype=torch.float64)


# %% [markdown]
# ## One square, completed
#
# {ref}`ch-forward` ended with Bayes' rule {eq}`eq:bayes-step`: what lies behind $x_t$ is the narrow bell $q(x_t \mid x_{t-1})$ times the density
# $q(x_{t-1})$ of *all* data at that level. The second factor is what nobody can write down. But if we are told $x_0$ as well, it becomes
# $q(x_{t-1} \mid x_0)$, and that is a Gaussian by {prf:ref}`thm-closed-form`. Coordinates are independent then, so one coordinate is enough.
#
# ```{prf:lemma} Two Gaussians make one
# :label: lem-two-gaussians
# Let $x \sim \mathcal N(m, v)$ and, given $x$, let $y \sim \mathcal N(a x, b)$ with $b > 0$. Then, given $y$, $x$ is Gaussian with
#
# $$
# \text{mean } \frac{a v\, y + b\, m}{a^2 v + b}, \qquad \text{variance } \frac{b\, v}{a^2 v + b} .
# $$ (eq:gaussian-bayes)
# ```
#
# ```{prf:proof}
# If $v = 0$, $x$ is $m$, as the formula says. Let $v > 0$. By Bayes' rule the logarithm of the density of $x$ given $y$ is, up to terms without $x$,
#
# $$
# \begin{aligned}
# -\frac{(y - a x)^2}{2 b} &- \frac{(x - m)^2}{2 v} \\
#   &= -\tfrac12 A x^2 + B x + \text{const}, \\
# A &= \frac{a^2}{b} + \frac1v, \qquad B = \frac{a y}{b} + \frac m v .
# \end{aligned}
# $$
#
# Complete the square: $-\tfrac12 A x^2 + B x = -\tfrac12 A\,(x - B/A)^2 + \tfrac12 B^2/A$. The last term has no $x$ in it, so the density is that of $\mathcal N(B/A,\, 1/A)$.
# Multiply numerator and denominator by $b v$: $1/A = b v/(a^2 v + b)$ and $B/A = (a v y + b m)/(a^2 v + b)$.
# ```
#
# Now insert $x = x_{t-1}$ with $m = \sqrt{\bar\alpha_{t-1}}\, x_0$ and $v = 1 - \bar\alpha_{t-1}$, and $y = x_t$ with $a = \sqrt{\alpha_t}$ and $b = \beta_t = 1 - \alpha_t$. The
# denominator becomes $\alpha_t - \bar\alpha_t + 1 - \alpha_t = 1 - \bar\alpha_t$, and $q(x_{t-1} \mid x_t, x_0)$ has
#
# $$
# \begin{aligned}
# \text{mean}\quad \tilde\mu &= \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t}\, x_0 + \frac{\sqrt{\alpha_t}\,(1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t}\, x_t, \\
# \text{variance}\quad \tilde\beta_t &= \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\, \beta_t .
# \end{aligned}
# $$ (eq:posterior-given-x0)
#
# These are equations 6 and 7 of {cite:t}`ho2020ddpm`. Nothing in the lemma needs neighbouring levels: for any $s < t$ put $s$ for $t - 1$ and $\bar\alpha_t/\bar\alpha_s$ for
# $\alpha_t$. The package has it as {py:func}`~ddim_edu.posterior.ddpm_posterior`. (Its standard deviation $\sqrt{\tilde\beta_t}$ is `schedule.sigma(t, t-1, 1.0)`; chapter 5 says
# what the third argument is for.)


# %%
def bayes(m, v, a, b):
    """x given y: its mean is slope * y + offset. Returns slope, offset, variance."""
    total = a**2 * v + b
    return a * v / total, b * m / total, b * v / total


# checks eq:posterior-given-x0
x_0, x_t = number([[0.7]]), number([[-0.4]])
for t, s in ((500, 499), (500, 200), (2, 1), (1000, 1)):
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    a, b = (abar_t / abar_s).sqrt(), 1 - abar_t / abar_s
    slope, offset, variance = bayes(abar_s.sqrt() * x_0, 1 - abar_s, a, b)
    package = ddpm_posterior(x_t, x_0, abar_t, abar_s)
    assert torch.allclose(slope * x_t + offset, package.mean, rtol=1e-9)
    assert torch.isclose(variance, package.std**2, rtol=1e-9)
    assert torch.isclose(variance, schedule.sigma(t, s, 1.0) ** 2, rtol=1e-9)

# %% [markdown]
# That compares algebra with algebra. Samples are an independent witness: walk from $x_0 = 0.7$ to $x_{200}$ and on to $x_{500}$, then fit a straight line that
# guesses $x_{200}$ from $x_{500}$. If the lemma is right, the line's slope and offset are those of the mean, and what the line leaves over has the variance.

# %%
# checks eq:gaussian-bayes
n, t, s = 200_000, 500, 200
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
kept = abar_t / abar_s
slope, offset, variance = bayes(abar_s.sqrt() * 0.7, 1 - abar_s, kept.sqrt(), 1 - kept)
start = x_0.expand(n, 1)  # 0.7
x_s = q_sample(start, s, schedule, draw(start, generator))
x_t = mix(x_s, draw(x_s, generator), kept)
left_over = x_s - slope * x_t - offset
for name, measured, error in (
    ("mean of what is left", left_over.mean(), (variance / n) ** 0.5),
    ("its covariance with x_t", (left_over * x_t).mean(), (variance / n) ** 0.5),
    ("its variance - formula", left_over.var() - variance, variance * (2 / n) ** 0.5),
):
    assert abs(measured) < 4 * error, name
print(f"variance {left_over.var():.3f}, formula {variance:.3f}")
print(f"its root {variance.sqrt():.3f}, which S4 prints as the variance")
assert abs(left_over.var() - variance.sqrt()) > 0.2

# %% mystnb={"figure": {"caption": "Bayes' rule for one coordinate, from level 200 to level 100, with $x_0 = 0.7$ and $x_{200} = -0.2$. What the data says about $x_{100}$ (its bell is $q(x_{100} \\mid x_0)$) times what $x_{200}$ says about it (read as a function of $x_{100}$) is a third bell, between the two and narrower than both.", "name": "fig-three-bells"}, "image": {"alt": "Three bell curves over x at level 100. The one from the data is centred at 0.66, the one from the noisier state at minus 0.21 and wider; their product lies between them, nearer to the first, and is the tallest and narrowest."}} tags=["hide-input"]
abar_t, abar_s = schedule.alpha_bar[200], schedule.alpha_bar[100]
kept = abar_t / abar_s
grid = torch.linspace(-2, 2, 4001, dtype=torch.float64)
from_data = Normal(abar_s.sqrt() * 0.7, (1 - abar_s).sqrt())
from_state = Normal(kept.sqrt() * grid, (1 - kept).sqrt()).log_prob(number(-0.2)).exp()
product = from_data.log_prob(grid).exp() * from_state
curves = {"from $x_0$": from_data.log_prob(grid).exp(), "from $x_{200}$": from_state, "product": product}
fig, ax = figure(height=2.3)
for name, curve in curves.items():
    ax.plot(grid, curve / torch.trapezoid(curve, grid), label=name)
ax.set(xlabel="$x_{100}$", yticks=[], xlim=(-1.6, 1.6))
ax.legend();

# %%
posterior = ddpm_posterior(number([[-0.2]]), x_0, abar_t, abar_s)
density = product / torch.trapezoid(product, grid)
bell = Normal(posterior.mean.squeeze(), posterior.std).log_prob(grid).exp()
assert torch.allclose(density, bell, atol=1e-6)
print(f"mean {posterior.mean.item():.2f}, standard deviation {posterior.std:.2f}")
print(f"the other two: {from_data.stddev:.2f} and {((1 - kept) / kept).sqrt():.2f}")

# %% [markdown]
# This posterior is what a sampler would draw from if it knew $x_0$. It does not; the model below will have to put a guess there.
#
# ## A bound that can be computed
#
# The model walks down. It starts from $p(x_T) = \mathcal N(0, I)$ and takes Gaussian steps $p_\theta(x_{t-1} \mid x_t) = \mathcal N(\mu_\theta(x_t, t),\, \sigma_t^2 I)$, where a network
# gives the mean and we choose the variance. We want the data to be likely, so $\ln p_\theta(x_0)$ should be large. But $p_\theta(x_0)$ is an integral over all paths $x_{1:T}$ that
# end in $x_0$. Multiply and divide by $q(x_{1:T} \mid x_0)$ and the integral is an expectation over *forward* paths, which we can draw. The logarithm is concave, so by
# Jensen's inequality it can only be lowered by moving it inside:
#
# $$
# \begin{aligned}
# \ln p_\theta(x_0) &= \ln E_q\Bigl[\frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid x_0)}\Bigr] \\
#   &\ge E_q\Bigl[\ln \frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid x_0)}\Bigr] = \operatorname{ELBO}(x_0) .
# \end{aligned}
# $$ (eq:elbo)
#
# The name is short for *evidence lower bound*. What is lost? Since $p_\theta(x_{0:T}) = p_\theta(x_0)\, p_\theta(x_{1:T} \mid x_0)$, exactly
#
# $$
# \ln p_\theta(x_0) - \operatorname{ELBO}(x_0) = \operatorname{KL}\bigl(q(x_{1:T} \mid x_0) \,\Vert\, p_\theta(x_{1:T} \mid x_0)\bigr) ,
# $$ (eq:elbo-gap)
#
# never negative, and zero if the model, too, would have come to $x_0$ along the paths of the forward process. So pushing the bound up does one of two good things: the
# data becomes more likely, or the model's way becomes the forward process's way reversed.
#
# ### One divergence per level
#
# An expectation of a logarithm of products is a sum of $2T + 1$ terms; a rearrangement makes it readable. The forward step knows nothing of $x_0$, so we may add it to the
# condition, $q(x_t \mid x_{t-1}) = q(x_t \mid x_{t-1}, x_0)$, and then turn the step around by Bayes' rule, for $t \ge 2$:
#
# $$
# q(x_t \mid x_{t-1}) = q(x_{t-1} \mid x_t, x_0)\; \frac{q(x_t \mid x_0)}{q(x_{t-1} \mid x_0)} .
# $$ (eq:step-turned)
#
# Multiply over $t = 2, \dots, T$ and the fractions telescope to $q(x_T \mid x_0)/q(x_1 \mid x_0)$, whose denominator cancels the step $t = 1$. Hence
#
# $$
# q(x_{1:T} \mid x_0) = q(x_T \mid x_0) \prod_{t=2}^{T} q(x_{t-1} \mid x_t, x_0) .
# $$
#
# Put this and $p_\theta(x_{0:T}) = p(x_T) \prod_t p_\theta(x_{t-1} \mid x_t)$ into {eq}`eq:elbo` and pair factors of the same variable. In each pair take the expectation over $x_{t-1}$ first,
# with $x_t$ held: that is a divergence. This is equation 5 of {cite:t}`ho2020ddpm`:
#
# $$
# \begin{aligned}
# -\operatorname{ELBO} &= L_T + \sum_{t=2}^{T} L_{t-1} + L_0 , \\
# L_T &= \operatorname{KL}\bigl(q(x_T \mid x_0) \,\Vert\, p(x_T)\bigr), \\
# L_{t-1} &= E\, \operatorname{KL}\bigl(q(x_{t-1} \mid x_t, x_0) \,\Vert\, p_\theta(x_{t-1} \mid x_t)\bigr), \\
# L_0 &= -E \ln p_\theta(x_0 \mid x_1) .
# \end{aligned}
# $$ (eq:three-terms)
#
# $L_T$ has no parameters: it is {eq}`eq:prior-kl`, small by the choice of schedule. Each $L_{t-1}$ compares the model's step with the posterior of the last section, Gaussian with
# Gaussian. For $X \sim \mathcal N(m_1, v_1)$ the mean of the difference of the log densities is, since $E(X - m_2)^2 = v_1 + (m_1 - m_2)^2$,
#
# $$
# \begin{aligned}
# \operatorname{KL}\bigl(\mathcal N(m_1, v_1) &\,\Vert\, \mathcal N(m_2, v_2)\bigr) \\
#   &= \frac12 \Bigl(\ln \frac{v_2}{v_1} + \frac{v_1 + (m_1 - m_2)^2}{v_2} - 1\Bigr) .
# \end{aligned}
# $$ (eq:kl-gaussians)
#
# ### The bound on a line, to the last digit
#
# Take data $x_0 \sim \mathcal N(0.5, 0.3)$ and six large steps. Now {prf:ref}`lem-two-gaussians` also gives the **true** reverse step $q(x_{t-1} \mid x_t)$: use it with the mean and variance
# of $x_{t-1}$ itself, from {eq}`eq:closed-form` and {eq}`eq:variance-of-xt`. Its mean is a straight line in $x_t$. Let four models share that line. They differ in the variance of their steps
# ($\tilde\beta_t$; $\beta_t$; the true one) and the last also in its start, which is $q(x_T)$ instead of $\mathcal N(0, 1)$. At $t = 1$ we have $\tilde\beta_1 = 0$, a step without a density, so the
# first model uses $\beta_1$ there.

# %%
toy = NoiseSchedule.from_betas([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
toy_data = Gaussian([0.5], 0.3, toy)
beta, abar = toy.beta, toy.alpha_bar
levels = torch.arange(2, 7)
sigma = torch.cat([beta[:2].sqrt(), toy.sigma(levels, levels - 1, 1.0)])  # [0]: not used

true_step = {
    t: bayes(abar[t - 1].sqrt() * 0.5, abar[t - 1] * 0.3 + 1 - abar[t - 1], (1 - beta[t]).sqrt(), beta[t])
    for t in range(1, 7)
}
standard = Normal(number(0.0), number(1.0))
q_T = Normal(abar[6].sqrt() * 0.5, (abar[6] * 0.3 + 1 - abar[6]).sqrt())
models = {  # name: (steps of (slope, offset, variance), start)
    "small": ({t: (*step[:2], sigma[t] ** 2) for t, step in true_step.items()}, standard),
    "large": ({t: (*step[:2], beta[t]) for t, step in true_step.items()}, standard),
    "true": (true_step, standard),
    "true, from q_T": (true_step, q_T),
}

# %% [markdown]
# A walk down with linear means and Gaussian noise stays Gaussian, so $\ln p_\theta(x_0)$ is exact: carry mean and variance through the six steps.


# %%
def log_likelihood(steps, start, x_0):
    mean, variance = start.mean, start.variance
    for t in range(6, 0, -1):
        slope, offset, fresh = steps[t]
        mean, variance = slope * mean + offset, slope**2 * variance + fresh
    return Normal(mean, variance.sqrt()).log_prob(x_0)


# %% [markdown]
# The bound comes twice, from unrelated code. Once as the expectation in {eq}`eq:elbo`, by walking up and adding logarithms along each path:


# %%
def along_paths(steps, start, x_0):
    """ln p/q for one forward path from each x_0."""
    x, total = x_0, 0.0
    for t in range(1, 7):
        x_t = q_step(x, t, toy, draw(x, generator))
        slope, offset, fresh = steps[t]
        down = Normal(slope * x_t + offset, fresh.sqrt()).log_prob(x)
        up = Normal((1 - beta[t]).sqrt() * x, beta[t].sqrt()).log_prob(x_t)
        total, x = total + down - up, x_t
    return total + start.log_prob(x)


# %% [markdown]
# And once as the sum {eq}`eq:three-terms`, without any sampling of paths: the difference of the two means is a straight line in $x_t$, so the expectation of its square follows from
# the mean and variance of $x_t$ given $x_0$.


# %%
def terms(steps, start, x_0):
    """L_T, ..., L_0 for each x_0."""
    found = [kl_divergence(Normal(abar[6].sqrt() * x_0, (1 - abar[6]).sqrt()), start)]
    for t in range(6, 0, -1):
        v, kept = 1 - abar[t - 1], 1 - beta[t]
        k, c, w = bayes(abar[t - 1].sqrt() * x_0, v, kept.sqrt(), beta[t])
        slope, offset, fresh = steps[t]
        mean = (k - slope) * abar[t].sqrt() * x_0 + c - offset
        square = mean**2 + (k - slope) ** 2 * (1 - abar[t])
        if t > 1:
            found.append(0.5 * ((fresh / w).log() + (w + square) / fresh - 1))
        else:
            found.append(0.5 * ((2 * torch.pi * fresh).log() + square / fresh))
    return torch.stack(found)


# %%
# checks eq:elbo, eq:elbo-gap, eq:three-terms
x_0 = toy_data.sample(50_000, generator)[:, 0]
print("                  ln p(x_0)   by terms   by paths           gap")
for name, (steps, start) in models.items():
    exact, bound = log_likelihood(steps, start, x_0), -terms(steps, start, x_0).sum(0)
    paths = along_paths(steps, start, x_0)
    error = (paths - bound).std() / len(x_0) ** 0.5
    gap = (exact - bound).clamp(min=0).mean()
    print(f"{name:15s} {exact.mean():10.3f} {bound.mean():10.3f}", end="   ")
    print(f"{paths.mean():7.3f} ± {error:.3f} {gap:9.3f}")
    assert (exact - bound).min() > -1e-12  # for every single x_0
    assert abs((paths - bound).mean()) < 4 * error + 1e-12
assert (paths - toy_data.log_prob(x_0[:, None])).abs().max() < 1e-12

# %% [markdown]
# Two computations of the bound agree within the sampling error (it is that of the mean over paths; the assertion allows four of them), and no gap is negative, for any of
# the 50,000 points. The last row is the surprise: its standard error is 0. If the model is the forward process reversed, the ratio $p_\theta(x_{0:T})/q(x_{1:T} \mid x_0)$
# is $q(x_0)$ on *every* path, and the bound is tight path by path, as {eq}`eq:elbo-gap` says it must be. The first row shows the price of a step that is too sure of itself: a variance that is too small
# costs more than one that is too large.

# %%
# checks eq:step-turned, eq:kl-gaussians
for t in (2, 4, 6):
    x_s, x_t, x = draw(x_0[:3], generator), draw(x_0[:3], generator), x_0[:3]
    step = Normal((1 - beta[t]).sqrt() * x_s, beta[t].sqrt()).log_prob(x_t)
    back = ddpm_posterior(x_t, x, abar[t], abar[t - 1])
    to_t, to_s = (Normal(abar[i].sqrt() * x, (1 - abar[i]).sqrt()) for i in (t, t - 1))
    turned = Normal(*back).log_prob(x_s) + to_t.log_prob(x_t) - to_s.log_prob(x_s)
    assert torch.allclose(step, turned, atol=1e-10)
    m_1, v_1, m_2, v_2 = back.mean, back.std**2, x_s, beta[t]
    formula = 0.5 * ((v_2 / v_1).log() + (v_1 + (m_1 - m_2) ** 2) / v_2 - 1)
    assert torch.allclose(formula, kl_divergence(Normal(*back), Normal(m_2, v_2.sqrt())))

# %% [markdown]
# ## From divergences to a squared error
#
# With both variances equal to $\sigma_t^2 = \tilde\beta_t$, {eq}`eq:kl-gaussians` keeps only the means, $L_{t-1} = E \lVert \tilde\mu - \mu_\theta \rVert^2 / 2\sigma_t^2$. With another fixed
# $\sigma_t$ a constant is added that no training can change. So the network has to match a mean (DDPM, equation 8).
#
# Which part of that mean is unknown? $\tilde\mu$ mixes $x_t$, which the network is given, and $x_0$, which it is not. By {eq}`eq:unmix`, $x_0$ is $x_t$ and the noise. Put that in; the factor
# on $x_t$ becomes $(\beta_t + \alpha_t - \bar\alpha_t)/\bigl(\sqrt{\alpha_t}(1 - \bar\alpha_t)\bigr) = 1/\sqrt{\alpha_t}$, and
#
# $$
# \tilde\mu = \frac{1}{\sqrt{\alpha_t}} \Bigl( x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\, \epsilon \Bigr) .
# $$ (eq:mean-from-eps)
#
# Only $\epsilon$ is missing. Let the network predict it, and give $\mu_\theta$ the same form with $\epsilon_\theta(x_t, t)$ for $\epsilon$ (DDPM, equation 11). Then $x_t$ drops out of the difference of the means:
#
# $$
# \begin{gathered}
# L_{t-1} = \gamma_t\, E\, \lVert \epsilon - \epsilon_\theta(x_t, t) \rVert^2 + \text{const}, \\
# \gamma_t = \frac{\beta_t^2}{2 \sigma_t^2\, \alpha_t\, (1 - \bar\alpha_t)} .
# \end{gathered}
# $$ (eq:kl-to-mse)
#
# That is DDPM's equation 12. It holds for $t = 1$ too, where $\tilde\mu = x_0$ and the constant is the $\tfrac12 \ln 2\pi\sigma_1^2$ of each coordinate. The package computes the weights in
# {py:func}`~ddim_edu.losses.gamma_of_sigma`, written for any posterior of the family of chapter 4.
#
# In the toy this can be seen draw by draw. The lines that its models share must then be {eq}`eq:mean-from-eps` with the best possible prediction $\epsilon^* = E[\epsilon \mid x_t]$ in the place of $\epsilon$: $x_{t-1}$'s
# mean given $x_t$ is the mean of $\tilde\mu$ over what $\epsilon$ may have been, and $\tilde\mu$ is linear in $\epsilon$.

# %%
# checks eq:mean-from-eps, eq:kl-to-mse
gamma = beta[1:] ** 2 / (2 * sigma[1:] ** 2 * (1 - beta[1:]) * (1 - abar[1:]))
assert torch.allclose(gamma, gamma_of_sigma(toy, sigma)[1:])
steps, x_0 = models["small"][0], toy_data.sample(1_000, generator)
for t in range(1, 7):
    eps = draw(x_0, generator)
    x_t = q_sample(x_0, t, toy, eps)
    target = ddpm_posterior(x_t, x_0, abar[t], abar[t - 1]).mean
    weight = beta[t] / (1 - abar[t]).sqrt()
    assert torch.allclose(target, (x_t - weight * eps) / (1 - beta[t]).sqrt())
    slope, offset, fresh = steps[t]
    mean_error = (target - slope * x_t - offset) ** 2 / (2 * fresh)
    eps_error = gamma[t - 1] * (eps - toy_data.eps(x_t, t)) ** 2
    assert torch.allclose(mean_error, eps_error)

# %% [markdown]
# Now the step that the chapter's question asks about. DDPM **drops the weights** $\gamma_t$ and averages over levels drawn uniformly from $1, \dots, T$ (equation 14):
#
# $$
# L_{\text{simple}} = E_{t,\, x_0,\, \epsilon}\, \lVert \epsilon - \epsilon_\theta(x_t, t) \rVert^2 .
# $$ (eq:l-simple)
#
# This is {py:func}`~ddim_edu.losses.loss_simple`, up to a factor: it takes the mean over the coordinates instead of the sum. All of training is the line it computes: jump, predict, compare.

# %%
# checks eq:l-simple
points = GaussianMixture(
    [0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule
)
each = 400  # draws at each of the 1,000 levels; kept for the rest of the chapter
t_all = torch.arange(1, 1001).repeat_interleave(each)
x_0 = points.sample(len(t_all), generator)
eps = draw(x_0, generator)
x_t = q_sample(x_0, t_all, schedule, eps)
best = points.eps(x_t, t_all)  # exact: the data is a mixture of three Gaussians

simple = loss_simple(points.eps, x_0, t_all, eps, schedule)
assert torch.isclose(2 * simple, (eps - best).square().sum(1).mean())
print(f"L_simple of the best possible prediction, per coordinate: {simple:.3f}")

# %% [markdown]
# ### What was dropped
#
# $L_{\text{simple}}$ is not the bound. How different are they? Take the data just drawn, three clusters in the plane under DDPM's schedule, and the best possible predictor, and ask how much each level contributes to either.

# %%
levels = torch.arange(2, 1001)
sigma = schedule.sigma(levels, levels - 1, 1.0)
sigma = torch.cat([schedule.beta[:2].sqrt(), sigma])  # sqrt(beta_1) at t = 1
gamma = gamma_of_sigma(schedule, sigma)[1:]
floor = (eps - best).square().mean(1).view(1000, each).mean(1)  # of each level
shares = {"bound": (gamma * floor).cumsum(0), "$L_{simple}$": floor.cumsum(0)}
shares = {name: total / total[-1] for name, total in shares.items()}

# %% mystnb={"figure": {"caption": "Left: the weight that the bound gives to the squared error of each level. Right: share of the levels up to $t$ in the whole sum, for the best possible predictor on three clusters.", "name": "fig-weights"}, "image": {"alt": "Two line plots against t on logarithmic axes. Left: the weight is about 0.5 at the first levels, falls to 0.005 near level 350 and rises a little to 0.01. Right: the bound's cumulative share reaches one half before level 10, that of L simple only between 100 and 200."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.4)
left.plot(range(1, 1001), gamma)
left.set(xlabel="level t", ylabel=r"$\gamma_t$", xscale="log", yscale="log")
for name, share in shares.items():
    right.plot(range(1, 1001), share, label=name)
right.set(xlabel="level t", ylabel="share of levels 1..t", xscale="log")
right.legend();

# %%
for name, share in shares.items():
    half = int((share > 0.5).nonzero()[0]) + 1
    print(f"{name:12s} half of the sum by t = {half:3d}, first ten levels {share[9]:.0%}")
print(f"largest weight over smallest: {gamma.max() / gamma.min():.0f}")
assert shares["bound"][9] > 0.5 > 5 * shares["$L_{simple}$"][9]
assert gamma[1:10].min() > 5 * gamma[100:].max()

# %% [markdown]
# More than half of the bound sits in the first ten levels, where the eye would hardly see the noise. $L_{\text{simple}}$ counts every level the same, so relative to the bound it gives small $t$ far
# less weight. What that means, fairly stated:
#
# - At each level the best prediction is the same under both. With a network that could fit every level perfectly, the weights would not matter. They decide where a network of limited size and a
#   training of limited length spend themselves.
# - A lower $L_{\text{simple}}$ is no promise of a higher likelihood. In DDPM's own table 1, training on the bound gives the better code length on CIFAR-10 (at most 3.70 bits per dimension, against 3.75) and
#   $L_{\text{simple}}$ by far the better FID, the usual distance between sets of images (3.17, against 13.51).
# - So the derivation explains *what* is predicted and why a squared error. That all levels count the same is a choice that turned out well for pictures.
#
# ## What the best prediction is
#
# Let $\epsilon^* = E[\epsilon \mid x_t]$ and let $g$ be any function of $x_t$. Write $\epsilon - g = (\epsilon - \epsilon^*) + (\epsilon^* - g)$. Given $x_t$ the second bracket is fixed and the first has mean 0, so the
# cross term vanishes:
#
# $$
# E \lVert \epsilon - g \rVert^2 = \underbrace{E \lVert \epsilon - \epsilon^* \rVert^2}_{\text{floor}} + \underbrace{E \lVert \epsilon^* - g \rVert^2}_{\text{excess}} .
# $$ (eq:error-split)
#
# The **floor** is a property of the data and the level; no network gets below it. Only the **excess** can be trained away, and it is 0 for $g = \epsilon^*$ alone.
#
# This conditional mean is an old acquaintance. The density of $x_t$ is $q_t(x) = \int q(x_0)\, \mathcal N(x;\, \sqrt{\bar\alpha_t}\, x_0,\, (1 - \bar\alpha_t) I)\, dx_0$. Differentiate under the
# integral: the Gaussian gets a factor $-(x - \sqrt{\bar\alpha_t}\, x_0)/(1 - \bar\alpha_t)$, which is $-\epsilon/\sqrt{1 - \bar\alpha_t}$ for the noise that leads from $x_0$ to $x$. Divide by $q_t(x)$, and the integral is an expectation over $x_0$ given $x_t = x$:
#
# $$
# \nabla \ln q_t(x) = -\frac{E[\epsilon \mid x_t = x]}{\sqrt{1 - \bar\alpha_t}} .
# $$ (eq:tweedie)
#
# The left side is called the **score**: the direction in which the density of noisy data grows. The formula is named after Tweedie {cite}`efron2011tweedie`; that regression on noise learns the score was found by
# {cite:t}`vincent2011connection`, and diffusion models were built on it by {cite:t}`song2019score`. A noise predictor points *away* from the data, the score towards it. Automatic differentiation of the density is the independent
# check.

# %%
# checks eq:tweedie
for t in (1, 100, 500, 1000):
    x = points.sample(500, generator)
    x = q_sample(x, t, schedule, draw(x, generator)).requires_grad_()
    (score,) = torch.autograd.grad(points.log_prob(x, t).sum(), x)
    by_mean = -points.eps(x, t) / (1 - schedule.alpha_bar[t]).sqrt()
    assert torch.allclose(score, by_mean, rtol=1e-8, atol=1e-10)
    assert torch.equal(eps_to_score(points.eps(x, t), schedule.alpha_bar[t]), by_mean)

# %% [markdown]
# ### Four targets, one function
#
# Instead of the noise a network may predict $x_0$, the score, or the velocity $v = \sqrt{\bar\alpha_t}\, \epsilon - \sqrt{1 - \bar\alpha_t}\, x_0$ {cite}`salimans2022distillation`. Given $x_t$, each is a straight line in
# $\epsilon$, so a prediction of one is a prediction of all, and their squared errors differ by a known factor:
#
# $$
# \begin{aligned}
# \lVert x_0 - \hat x_0 \rVert^2 &= \tfrac{1}{\operatorname{SNR}(t)}\, \lVert \epsilon - \hat\epsilon \rVert^2, \\
# \lVert v - \hat v \rVert^2 &= \tfrac{1}{\bar\alpha_t}\, \lVert \epsilon - \hat\epsilon \rVert^2, \\
# \lVert \text{score error} \rVert^2 &= \tfrac{1}{1 - \bar\alpha_t}\, \lVert \epsilon - \hat\epsilon \rVert^2 .
# \end{aligned}
# $$ (eq:error-scale)
#
# (The score error is that of $-\hat\epsilon/\sqrt{1 - \bar\alpha_t}$ against $-\epsilon/\sqrt{1 - \bar\alpha_t}$.)
#
# | target | package | near $t = 0$ | near $t = T$ |
# |---|---|---|---|
# | $\epsilon$ | | cannot be guessed | nearly $x_t$ itself |
# | $x_0$ | {py:func}`~ddim_edu.forward.unmix_x0` | nearly $x_t$ itself | at best the mean of the data |
# | $v$ | {py:func}`~ddim_edu.forward.eps_to_v` | nearly $\epsilon$ | nearly $-x_0$ |
# | score | {py:func}`~ddim_edu.forward.eps_to_score` | numbers of size $1/\sqrt{1 - \bar\alpha_t}$ | nearly $-x_t$ |
#
# The floors, measured for the three clusters with the exact $\epsilon^*$:

# %%
# checks eq:error-scale
print("   t      eps       x_0         v     score      1/SNR")
for t in (1, 10, 100, 300, 1000):
    here, a = t_all == t, schedule.alpha_bar[t]
    x, e, e_hat = x_t[here], eps[here], best[here]
    eps_floor = (e - e_hat).square().mean()
    found = [eps_floor]
    for convert, factor in (
        (lambda y: unmix_x0(x, y, a), 1 / schedule.snr[t]),
        (lambda y: eps_to_v(y, x, a), 1 / a),
        (lambda y: eps_to_score(y, a), 1 / (1 - a)),
    ):
        found.append((convert(e) - convert(e_hat)).square().mean())
        assert torch.isclose(found[-1], factor * eps_floor, rtol=1e-6)
    print(f"{t:4d}" + "".join(f"{f:10.2g}" for f in found), f"{1 / schedule.snr[t]:10.2g}")
slip = 0.01 / schedule.snr[1000].sqrt()
print(f"a slip of 0.01 in eps at t = 1000 is one of {slip:.1f} in x_0")

# %% [markdown]
# Read the columns. At $t = 1$ the noise is a hundredth of a unit in clusters of width 0.17: nothing distinguishes it from the data, and the floor of $\epsilon$ is nearly 1, its variance. At $t = 1000$ nearly all of $x_t$ *is*
# noise, and the floor is tiny. Yet the same prediction seen as one of $x_0$ is multiplied by $1/\operatorname{SNR}$, about 25,000: a slip of 0.01 in $\hat\epsilon$ is one of 1.6 in $\hat x_0$. The column of $v$ is the one without
# extremes, at either end. To train on $x_0$ with equal weights, then, is to train on $\epsilon$ with weights $1/\operatorname{SNR}$: the choice of target is another choice of weights.

# %% [markdown]
# ## A network for points
#
# Now learn $\epsilon^*$ from samples alone. {py:class}`~ddim_edu.nets.points.PointNet` is a multilayer perceptron of three hidden layers that is told the level by sines and cosines of $t$. The whole of DDPM's training
# (its algorithm 1) is in the loop: draw data, draw levels, draw noise, take a step down the loss.

# %%
torch.manual_seed(0)  # the network's first weights
net = PointNet(dim=2, width=128, depth=3)
n_steps, batch = 2_000, 512
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)

for _ in range(n_steps):
    x = points.sample(batch, generator).float()
    t = draw_t(batch, schedule.T, generator=generator)
    loss = loss_simple(net, x, t, draw(x, generator), schedule)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    rate.step()

# %% [markdown]
# A training loss alone says little: is 0.16 good? Here {eq}`eq:error-split` can be taken apart, because the floor is known. On the 400,000 fresh draws from above:

# %%
# checks eq:error-split
with torch.no_grad():
    guess = net(x_t.float(), t_all).double()
print("   levels      loss    floor    excess")
for low, high in ((1, 10), (11, 50), (51, 200), (201, 500), (501, 1000), (1, 1000)):
    here = (t_all >= low) & (t_all <= high)
    parts = [eps - guess, eps - best, best - guess]
    loss, lowest, excess = (p[here].square().mean(1) for p in parts)
    cross = loss - lowest - excess
    assert abs(cross.mean()) < 4 * cross.std() / len(cross) ** 0.5
    print(f"{low:4d}..{high:4d} {loss.mean():8.2f} {lowest.mean():8.2f} {excess.mean():9.4f}")
assert excess.mean() < 0.02 < 0.1 < lowest.mean()  # over all levels

# %% mystnb={"figure": {"caption": "The trained network, level by level (means over 20 levels). Left: its loss lies on the floor. Right: what it lacks, the excess, on a logarithmic scale.", "name": "fig-floor"}, "image": {"alt": "Two plots against t. Left: dots on a line that starts near 0.9, falls to 0.3 at level 100, has a shoulder of 0.35 near level 200 and falls to 0 by level 700. Right: the excess, about 0.01 at the first levels and below 0.001 at most levels above 300."}} tags=["hide-input"]
binned = [(p.square().mean(1)).view(50, -1).mean(1) for p in parts]
middle = torch.arange(50) * 20 + 10.5
fig, (left, right) = figure(2, height=2.4)
left.plot(middle, binned[1], label="floor")
left.plot(middle, binned[0], ".", label="network's loss")
left.set(xlabel="level t", ylabel="squared error")
left.legend()
right.plot(middle, binned[2], color=COLOURS[2])
right.set(xlabel="level t", ylabel="excess", yscale="log");

# %%
share = (binned[2] / binned[0]).max().item()
early = binned[2][0] / binned[2][15:].mean()
print(f"the excess is at most {share:.0%} of the loss in any bin up to level 500")
print(binned[2]); print(binned[2]/binned[0]); print(binned[1])
