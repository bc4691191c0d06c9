# %% [markdown]
# (ch-reverse)=
# # Learning to reverse
#
# **Question.** The forward process ruins data. How is a network to learn the way back, and why does it end up being trained to predict
# noise, with a plain mean squared error?

# %% tags=["hide-input"]
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.forward import eps_to_score, eps_to_v, mix, q_sample, said_to_eps, unmix_x0
from ddim_edu.losses import draw_t, gamma_of_sigma, loss_simple
from ddim_edu.models import load
from ddim_edu.nets.points import PointNet
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows
from ddim_edu.posterior import ddpm_posterior
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, sample
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "A walk from noise to a face by the model of faces that comes with the package, in 25 steps of DDPM, of which eight are shown. Above: the state. Middle: the noise that the network finds in it. Below: what is left when that noise is taken out, a guess of the face. (Face after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-walk-back"}, "image": {"alt": "Three rows of eight coloured pictures. Above, pure noise in which a drawn face slowly appears. Middle, noise in every picture, at the end with the outlines of the face in it. Below, a blurred face at first, which becomes sharper from picture to picture and is a clear drawn face at the end."}} tags=["hide-input"]
shipped, walker = load("faces"), torch.Generator().manual_seed(0)
x_T = draw(torch.empty(1, *shipped.image_shape), walker)
with torch.no_grad():
    levels = make_tau(1000, 25, "trailing")
    steps = list(ddim_path(shipped.eps_theta(1), x_T, shipped.schedule, levels, eta=1.0, generator=walker))
kept = [step for step in steps if step.t in (1000, 920, 800, 680, 520, 360, 200, 40)]
rows = {
    "state": torch.cat([step.x_t / 1.3 for step in kept]),
    "noise": torch.cat([step.eps_hat / 1.3 for step in kept]),
    "guess": torch.cat([step.x0_hat for step in kept]),
}
picture_rows(rows, [f"t = {step.t}" for step in kept], width=7);

# %% [markdown]
# The network does one thing only: shown a picture and its level, it names the noise. That is enough. Noise taken out of the state leaves a guess of the face; the sampler goes a small step towards it, adds a little fresh noise and asks again. At first the guess is a blur, the
# mean of all faces that this state could hide.
#
# **Try it.** The same in the plane, with the best possible predictor. Press play.
#
# <div class="plane" data-plane="reverse">
#
# {doc}`/playground`
#
# </div>
#
# Every step of the road from "make the data likely" to "predict the noise" can be checked on a line or in the plane. At the end of this chapter you will have derived, and checked by running it,
#
# - where $x_{t-1}$ was, given $x_t$ **and** $x_0$: a Gaussian, by completing one square;
# - a lower bound on the log-likelihood that splits into one divergence per level and a last term, and how far below the log-likelihood it lies;
# - how each divergence becomes a squared error of the noise, with a weight that training then drops;
# - that the best noise prediction is a conditional mean, and the same thing as the score;
# - how close a network comes to it in seconds, and what it samples;
# - which variance the reverse step should have, and what happens without its noise.
#
# The chapter opens {py:mod}`ddim_edu.posterior`, {py:mod}`ddim_edu.losses` and {py:mod}`ddim_edu.nets.points`.

# %%
generator = torch.Generator().manual_seed(0)
schedule = NoiseSchedule.linear()


def number(x):
    return torch.tensor(x, dtype=torch.float64)


# %% [markdown]
# ## One square, completed
#
# {ref}`ch-forward` ended with Bayes' rule {eq}`eq:bayes-step`: what lies behind $x_t$ is the narrow bell $q(x_t \mid x_{t-1})$ times the density
# $q(x_{t-1})$ of *all* data at that level. The second factor is what nobody can write down. If $x_0$ is given too, it becomes
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
# Complete the square:
#
# $$
# -\tfrac12 A x^2 + B x = -\tfrac12 A\,(x - B/A)^2 + \tfrac12 B^2/A .
# $$
#
# The last term has no $x$ in it, so the density is that of $\mathcal N(B/A,\, 1/A)$.
# Multiply numerator and denominator by $b v$: $1/A = b v/(a^2 v + b)$ and $B/A = (a v y + b m)/(a^2 v + b)$.
# ```
#
# Insert $x = x_{t-1}$ with $m = \sqrt{\bar\alpha_{t-1}}\, x_0$ and $v = 1 - \bar\alpha_{t-1}$, and $y = x_t$ with $a = \sqrt{\alpha_t}$ and $b = \beta_t = 1 - \alpha_t$. The
# denominator becomes $\alpha_t - \bar\alpha_t + 1 - \alpha_t = 1 - \bar\alpha_t$, and $q(x_{t-1} \mid x_t, x_0)$, the **posterior** (the distribution of $x_{t-1}$ after $x_t$ has been seen), has
#
# $$
# \begin{aligned}
# \text{mean}\quad \tilde\mu &= \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t}\, x_0 + \frac{\sqrt{\alpha_t}\,(1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t}\, x_t, \\
# \text{variance}\quad \tilde\beta_t &= \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\, \beta_t .
# \end{aligned}
# $$ (eq:posterior-given-x0)
#
# These are equations 6 and 7 of {cite:t}`ho2020ddpm`. Nothing in the lemma needs neighbouring levels: for any $s < t$ put $s$ for $t - 1$ and $\bar\alpha_t/\bar\alpha_s$ for
# $\alpha_t$. The package has it as {py:func}`~ddim_edu.posterior.ddpm_posterior`. (The posterior's standard deviation $\sqrt{\tilde\beta_t}$ is `schedule.sigma(t, t-1, 1.0)`.)


# %%
def bayes(m, v, a, b):
    """x given y has mean slope * y + offset; returns slope, offset, variance."""
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
# That compares algebra with algebra. An independent witness: walk from $x_0 = 0.7$ to $x_{200}$ and on to $x_{500}$, and subtract from $x_{200}$ the straight line in
# $x_{500}$ that the lemma gives for its mean. If the lemma is right, what is left has mean 0, no correlation with $x_{500}$, and the lemma's variance. ($x_{200}$ and $x_{500}$ are jointly Gaussian, so no
# correlation means independence: the line has taken out all that $x_{500}$ tells.)

# %%
n, t, s = 200_000, 500, 200
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
kept = abar_t / abar_s
start = x_0.expand(n, 1)  # 0.7
x_s = q_sample(start, s, schedule, draw(start, generator))
x_t = mix(x_s, draw(x_s, generator), kept)

# %%
# checks eq:gaussian-bayes
m, v = abar_s.sqrt() * 0.7, 1 - abar_s
slope, offset, variance = bayes(m, v, kept.sqrt(), 1 - kept)
left_over = x_s - slope * x_t - offset
error = (variance / n) ** 0.5  # standard error of a mean
assert abs(left_over.mean()) < 4 * error
assert abs((left_over * x_t).mean()) < 4 * error * x_t.square().mean() ** 0.5
assert abs(left_over.var() / variance - 1) < 4 * (2 / n) ** 0.5


# %% mystnb={"figure": {"caption": "Bayes' rule for one coordinate, from level 200 to level 100, with $x_0 = 0.7$ and $x_{200} = -0.2$. What the data says about $x_{100}$ (its bell is $q(x_{100} \\mid x_0)$) times what $x_{200}$ says about it (read as a function of $x_{100}$) is a third bell, between the two and narrower than both: its standard deviation is 0.28, theirs are 0.32 and 0.60.", "name": "fig-three-bells"}, "image": {"alt": "Three bell curves over x at level 100. The one from the data is centred at 0.66, the one from the noisier state at minus 0.23 and wider; their product lies between them, nearer to the first, and is the tallest and narrowest."}} tags=["hide-input"]
abar_t, abar_s = schedule.alpha_bar[200], schedule.alpha_bar[100]
kept = abar_t / abar_s
grid = torch.linspace(-2, 2, 4001, dtype=torch.float64)
from_data = Normal(abar_s.sqrt() * 0.7, (1 - abar_s).sqrt())
data_says = from_data.log_prob(grid).exp()
step_up = Normal(kept.sqrt() * grid, (1 - kept).sqrt())
state_says = step_up.log_prob(number(-0.2)).exp()
product = data_says * state_says
names = "from $x_0$", "from $x_{200}$", "product"
fig, ax = figure(height=3.1)
for name, curve in zip(names, (data_says, state_says, product)):
    ax.plot(grid, curve / torch.trapezoid(curve, grid), label=name)
ax.set(xlabel="$x_{100}$", yticks=[], xlim=(-1.6, 1.6))
ax.legend();

# %%
posterior = ddpm_posterior(number([[-0.2]]), x_0, abar_t, abar_s)
density = product / torch.trapezoid(product, grid)
bell = Normal(posterior.mean.squeeze(), posterior.std).log_prob(grid).exp()
assert torch.allclose(density, bell, atol=1e-6)
others = from_data.stddev, ((1 - kept) / kept).sqrt()
assert posterior.std < min(others)

# %% [markdown]
# A sampler that knew $x_0$ would draw from this posterior. No sampler does; the model below puts a guess in its place.
#
# **Try it.** Move the level $s$ between the data and level 200. Near 200 the bell from $x_{200}$ is narrow and the product follows it, almost whatever $x_0$ is. Near the data the bell from $x_0$ is the narrow one. The product's width does not change when you move $x_{200}$.
#
# <div class="explore" data-explore="bayes">
#
# On the book's web pages a picture stands here that moves with sliders for $s$ and $x_{200}$. {numref}`fig-three-bells` shows it for $s = 100$.
#
# </div>
#
# ## A bound that can be computed
#
# The model walks down. It starts from $p(x_T) = \mathcal N(0, I)$ and takes Gaussian steps $p_\theta(x_{t-1} \mid x_t) = \mathcal N(\mu_\theta(x_t, t),\, \sigma_t^2 I)$, where a network
# with adjustable numbers $\theta$ gives the mean and we choose the variance. We want the data to be likely, so $\ln p_\theta(x_0)$ should be large. But $p_\theta(x_0)$ is an integral over all paths $x_{1:T} = (x_1, \dots, x_T)$ that
# end in $x_0$. Multiply and divide by $q(x_{1:T} \mid x_0)$ and the integral is an expectation over *forward* paths, which we can draw. **Jensen's inequality** says that the logarithm of a mean is at
# least the mean of the logarithms, because the graph of the logarithm lies above its chords:
#
# $$
# \begin{aligned}
# \ln p_\theta(x_0) &= \ln E_q\Bigl[\frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid x_0)}\Bigr] \\
#   &\ge E_q\Bigl[\ln \frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid x_0)}\Bigr] = \operatorname{ELBO}(x_0) .
# \end{aligned}
# $$ (eq:elbo)
#
# The name is short for *evidence lower bound*. What is lost? The **divergence** $\operatorname{KL}(f \Vert g)$ of {ref}`chapter 1 <ch-forward>` is the mean of $\ln(f/g)$ over draws from $f$. Since $p_\theta(x_{0:T}) = p_\theta(x_0)\, p_\theta(x_{1:T} \mid x_0)$, exactly
#
# $$
# \begin{aligned}
# \ln p_\theta(x_0) &- \operatorname{ELBO}(x_0) \\
#   &= \operatorname{KL}\bigl(q(x_{1:T} \mid x_0) \,\Vert\, p_\theta(x_{1:T} \mid x_0)\bigr) ,
# \end{aligned}
# $$ (eq:elbo-gap)
#
# never negative, and zero exactly if those of the model's walks that end in $x_0$ are distributed like the forward process's paths from $x_0$. So pushing the bound up does at least one of two good things: the data becomes more likely, or the model's way comes closer to the forward process's way reversed.
#
# ### One divergence per level
#
# The bound is a mean of logarithms. Regroup one of them, the one of a single path, line by line:
#
# $$
# \ln \frac{p_\theta(x_{0:T})}{q(x_{1:T} \mid x_0)} = \ln \frac{p(x_T) \prod_{t=1}^{T} p_\theta(x_{t-1} \mid x_t)}{\prod_{t=1}^{T} q(x_t \mid x_{t-1})}
# $$ (eq:elbo-steps)
#
# A sum, with the step $t = 1$ apart:
#
# $$
# \begin{aligned}
# = \ln p(x_T) &+ \sum_{t=2}^{T} \ln \frac{p_\theta(x_{t-1} \mid x_t)}{q(x_t \mid x_{t-1})} \\
#   &+ \ln \frac{p_\theta(x_0 \mid x_1)}{q(x_1 \mid x_0)}
# \end{aligned}
# $$ (eq:elbo-apart)
#
# In each fraction of the sum, the model steps down and $q$ steps up. Turn $q$ around. The forward step knows nothing of $x_0$, so $x_0$ may join the condition, $q(x_t \mid x_{t-1}) = q(x_t \mid x_{t-1}, x_0)$. Bayes' rule then says, for $t \ge 2$,
#
# $$
# q(x_t \mid x_{t-1}) = q(x_{t-1} \mid x_t, x_0)\; \frac{q(x_t \mid x_0)}{q(x_{t-1} \mid x_0)} .
# $$ (eq:step-turned)
#
# Each term of the sum becomes two:
#
# $$
# \begin{aligned}
# = \ln p(x_T) &+ \sum_{t=2}^{T} \ln \frac{p_\theta(x_{t-1} \mid x_t)}{q(x_{t-1} \mid x_t, x_0)} \\
#   &+ \sum_{t=2}^{T} \ln \frac{q(x_{t-1} \mid x_0)}{q(x_t \mid x_0)} \\
#   &+ \ln \frac{p_\theta(x_0 \mid x_1)}{q(x_1 \mid x_0)}
# \end{aligned}
# $$ (eq:elbo-turned)
#
# In the second sum each numerator cancels the denominator of the term before. What is left is $\ln q(x_1 \mid x_0) - \ln q(x_T \mid x_0)$. The first of these cancels against the denominator in the last line; the second joins $\ln p(x_T)$:
#
# $$
# \begin{aligned}
# = \ln \frac{p(x_T)}{q(x_T \mid x_0)} &+ \sum_{t=2}^{T} \ln \frac{p_\theta(x_{t-1} \mid x_t)}{q(x_{t-1} \mid x_t, x_0)} \\
#   &+ \ln p_\theta(x_0 \mid x_1)
# \end{aligned}
# $$ (eq:elbo-regrouped)
#
# Now every fraction compares two densities of the *same* variable. Take the mean over paths and change the sign. The first term is a divergence. A term of the sum depends on $x_{t-1}$ and $x_t$. Its average over $x_{t-1}$, with $x_t$ held, is a divergence as well; the average over $x_t$ given $x_0$ then is the $E$ below. This is equation 5 of {cite:t}`ho2020ddpm`:
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
# \begin{gathered}
# \operatorname{KL}\bigl(\mathcal N(m_1, v_1) \,\Vert\, \mathcal N(m_2, v_2)\bigr) \\
# = \frac12 \Bigl(\ln \frac{v_2}{v_1} + \frac{v_1 + (m_1 - m_2)^2}{v_2} - 1\Bigr) .
# \end{gathered}
# $$ (eq:kl-gaussians)
#
# ### The bound on a line, to the last digit
#
# Take data $x_0 \sim \mathcal N(0.5, 0.3)$ and six large steps. Now {prf:ref}`lem-two-gaussians` also gives the **true** reverse step $q(x_{t-1} \mid x_t)$: use it with the mean and variance
# of $x_{t-1}$ itself, from {eq}`eq:closed-form` and {eq}`eq:variance-of-xt`. Its mean is a straight line in $x_t$. Let four models share that line. The models differ in the variance of their steps: "small" has $\tilde\beta_t$, "large" has $\beta_t$, the other two have the true one. The last differs also in its start, which is $q(x_T)$ instead of $\mathcal N(0, 1)$. At $t = 1$ we have $\tilde\beta_1 = 0$, a step without a density, so the
# first model uses $\beta_1$ there.

# %%
toy = NoiseSchedule.from_betas([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
toy_data = Gaussian([0.5], 0.3, toy)
beta, abar = toy.beta, toy.alpha_bar
levels = torch.arange(2, 7)
sigma = toy.sigma(levels, levels - 1, 1.0)
sigma = torch.cat([beta[:2].sqrt(), sigma])  # sqrt(beta_1) at t = 1; [0] unused
m, v = abar.sqrt() * 0.5, abar * 0.3 + 1 - abar  # mean and variance of each x_t

true, small, large = {}, {}, {}  # each step is (slope, offset, variance)
for t in range(1, 7):
    true[t] = bayes(m[t - 1], v[t - 1], (1 - beta[t]).sqrt(), beta[t])
    small[t] = (*true[t][:2], sigma[t] ** 2)
    large[t] = (*true[t][:2], beta[t])

normal, q_T = Normal(number(0.0), number(1.0)), Normal(m[6], v[6].sqrt())
models = {"small": (small, normal), "large": (large, normal)}
models |= {"true": (true, normal), "true, from q_T": (true, q_T)}

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
def ln_p(steps, start, x):
    """Of the model's walk down x[6], ..., x[0]."""
    total = start.log_prob(x[6])
    for t in range(1, 7):
        slope, offset, fresh = steps[t]
        bell = Normal(slope * x[t] + offset, fresh.sqrt())
        total = total + bell.log_prob(x[t - 1])
    return total


def ln_q(x):
    """Of the forward process's walk up x[1], ..., x[6], given x[0]."""
    kept = (1 - beta).sqrt()
    bells = [Normal(kept[t] * x[t - 1], beta[t].sqrt()) for t in range(1, 7)]
    return sum(bell.log_prob(state) for bell, state in zip(bells, x[1:]))


# %%
def along_paths(steps, start, x_0):
    """ln p/q for one forward path from each x_0."""
    x = [x_0]
    for t in range(1, 7):
        x.append(mix(x[-1], draw(x_0, generator), 1 - beta[t]))  # a forward step
    return ln_p(steps, start, x) - ln_q(x)


# %% [markdown]
# And once as the sum {eq}`eq:three-terms`, without any sampling of paths: the difference of the two means is a straight line in $x_t$, so the expectation of its square follows from
# the mean and variance of $x_t$ given $x_0$.


# %%
def terms(steps, start, x_0):
    """L_T, ..., L_0 for each x_0."""
    m, v = [a.sqrt() * x_0 for a in abar], 1 - abar  # of x_t given x_0
    found = [kl_divergence(Normal(m[6], v[6].sqrt()), start)]
    for t in range(6, 0, -1):
        k, c, w = bayes(m[t - 1], v[t - 1], (1 - beta[t]).sqrt(), beta[t])
        slope, offset, fresh = steps[t]
        mean = (k - slope) * m[t] + c - offset
        square = mean**2 + (k - slope) ** 2 * v[t]
        if t > 1:
            found.append(0.5 * ((fresh / w).log() + (w + square) / fresh - 1))
        else:
            found.append(0.5 * ((2 * torch.pi * fresh).log() + square / fresh))
    return torch.stack(found)


# %% [markdown]
# First the regrouping: on one path, its four lines are one number.


# %%
def pieces(steps, x):
    """Logarithms of the densities of a path's steps up, its steps down, the jumps and the posteriors, by level."""
    up, down, jump, back = {}, {}, {}, {}
    for t, (slope, offset, fresh) in steps.items():
        up[t] = Normal((1 - beta[t]).sqrt() * x[t - 1], beta[t].sqrt()).log_prob(x[t])
        down[t] = Normal(slope * x[t] + offset, fresh.sqrt()).log_prob(x[t - 1])
        jump[t] = Normal(abar[t].sqrt() * x[0], (1 - abar[t]).sqrt()).log_prob(x[t])
        posterior = ddpm_posterior(x[t], x[0], abar[t], abar[t - 1])
        back[t] = Normal(*posterior).log_prob(x[t - 1]) if t > 1 else None
    return up, down, jump, back


# %%
# checks eq:elbo-steps, eq:elbo-apart, eq:elbo-turned, eq:elbo-regrouped
path = [0.7, 0.4, -0.2, 0.9, 0.1, -1.3, 0.6]  # any numbers: it holds on each path
path = [number(x) for x in path]
for steps, start in models.values():
    up, down, jump, back = pieces(steps, path)
    top, last = start.log_prob(path[6]), down[1] - up[1]
    middle = sum(down[t] - back[t] for t in range(2, 7))
    found = [top + sum(down.values()) - sum(up.values())]
    found.append(top + sum(down[t] - up[t] for t in range(2, 7)) + last)
    jumps = sum(jump[t - 1] - jump[t] for t in range(2, 7))
    found.append(top + middle + jumps + last)
    found.append(top - jump[6] + middle + down[1])
    same = ln_p(steps, start, path) - ln_q(path)
    assert torch.allclose(torch.stack(found), same, rtol=1e-12)

# %% tags=["hide-input"]
# checks eq:elbo, eq:three-terms
x_0 = toy_data.sample(50_000, generator)[:, 0]
rows = []
for name, (steps, start) in models.items():
    exact = log_likelihood(steps, start, x_0)
    bound = -terms(steps, start, x_0).sum(0)
    paths = along_paths(steps, start, x_0)
    error = (paths - bound).std() / len(x_0) ** 0.5
    gap = (exact - bound).clamp(min=0).mean()
    numbers = f"{exact.mean():.3f}", f"{bound.mean():.3f}"
    rows.append([name, *numbers, f"{paths.mean():.3f} ± {error:.3f}", f"{gap:.3f}"])
    assert (exact - bound).min() > -1e-12  # for every single x_0
    assert abs((paths - bound).mean()) < 4 * error + 1e-12
assert (paths - toy_data.log_prob(x_0[:, None])).abs().max() < 1e-12
Table(["nats", "ln p(x₀)", "bound by terms", "bound by paths", "gap"], rows)

# %% [markdown]
# Two computations of the bound agree within the sampling error, and no gap is negative, for any of
# the 50,000 points. The last row is the surprise: its standard error is 0. If the model is the forward process reversed, the ratio $p_\theta(x_{0:T})/q(x_{1:T} \mid x_0)$
# is $q(x_0)$ on *every* path, so the bound is tight path by path. The first row shows the price of a step that is too sure of itself: here the variance that is too small
# costs four times as much as the one that is too large.
#
# Is the gap the divergence that {eq}`eq:elbo-gap` says? Given $x_0$, a path $x_1, \dots, x_6$ has a Gaussian density in six dimensions under $q$, and another under $p_\theta$: the latter is $p_\theta(x_{0:T})$ over $p_\theta(x_0)$, a factor without $x_{1:T}$. The logarithm of a Gaussian density is a quadratic function, and its slope and curvature at 0 give the Gaussian's mean and covariance.

# %%
# checks eq:elbo-gap
def over_paths(ln_density):
    zero = torch.zeros(6, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(ln_density, zero)
    curve = -torch.autograd.functional.hessian(ln_density, zero)
    mean = torch.linalg.solve(curve, slope)
    return MultivariateNormal(mean, precision_matrix=curve)


one = number(0.7)  # x_0
q_paths = over_paths(lambda x: ln_q([one, *x]))
for model in models.values():
    p_paths = over_paths(lambda x, model=model: ln_p(*model, [one, *x]))
    gap = log_likelihood(*model, one) + terms(*model, one).sum()
    apart = kl_divergence(q_paths, p_paths)
    assert torch.isclose(gap, apart, rtol=1e-9, atol=1e-12)

# %% [markdown]
# {eq}`eq:step-turned` and {eq}`eq:kl-gaussians`, used on the way, at single points:

# %%
# checks eq:step-turned, eq:kl-gaussians
def given_x0(t):  # the jump q(x_t | x_0)
    return Normal(abar[t].sqrt() * x, (1 - abar[t]).sqrt())


x, x_s, x_t = x_0[:3], draw(x_0[:3], generator), draw(x_0[:3], generator)
for t in (2, 4, 6):
    step = Normal((1 - beta[t]).sqrt() * x_s, beta[t].sqrt()).log_prob(x_t)
    back = Normal(*ddpm_posterior(x_t, x, abar[t], abar[t - 1]))
    turned = back.log_prob(x_s) + given_x0(t).log_prob(x_t)
    assert torch.allclose(step, turned - given_x0(t - 1).log_prob(x_s))
    v_1, v_2, apart = back.variance, beta[t], back.mean - x_s
    formula = 0.5 * ((v_2 / v_1).log() + (v_1 + apart**2) / v_2 - 1)
    assert torch.allclose(formula, kl_divergence(back, Normal(x_s, v_2.sqrt())))

# %% [markdown]
# ## From divergences to a squared error
#
# With both variances equal to $\sigma_t^2 = \tilde\beta_t$, {eq}`eq:kl-gaussians` keeps only the means, $L_{t-1} = E \lVert \tilde\mu - \mu_\theta \rVert^2 / 2\sigma_t^2$. With another fixed $\sigma_t$ there is also a constant, which no training can change. So the network has to match a mean (DDPM, equation 8).
#
# Which part of that mean is unknown? $\tilde\mu$ mixes $x_t$, which the network is given, and $x_0$, which it is not. By {eq}`eq:unmix`, $x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon)/\sqrt{\bar\alpha_t}$. Put that in; the factor
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
# {py:func}`~ddim_edu.losses.gamma_of_sigma`, written for any posterior of the family of {ref}`chapter 4 <ch-non-markov>`.
#
# For the data on a line, {eq}`eq:kl-to-mse` holds draw by draw. The straight line that the four models share must be {eq}`eq:mean-from-eps` with the best possible prediction $\epsilon^* = E[\epsilon \mid x_t]$ in the place of $\epsilon$. For the mean of $x_{t-1}$ given $x_t$ is
# the mean of $\tilde\mu$ over the noises that may have led to $x_t$, and $\tilde\mu$ is linear in $\epsilon$.

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
# {py:func}`~ddim_edu.losses.loss_simple` computes this, up to a factor: the function takes the mean over the coordinates instead of the sum. All of training is in it: jump, predict, compare.

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
assert round(simple.item(), 3) == 0.157  # for each coordinate

# %% [markdown]
# ### What was dropped
#
# $L_{\text{simple}}$ is not the bound. How different are they? Take the data just drawn, three clusters in the plane under DDPM's schedule, and the best possible predictor, and ask how much each level contributes to the sum of the
# squared errors, weighted as in the bound or not. (The bound's constants are the same for every network and are left out.)

# %%
levels = torch.arange(2, 1001)
sigma = schedule.sigma(levels, levels - 1, 1.0)
sigma = torch.cat([schedule.beta[:2].sqrt(), sigma])  # sqrt(beta_1) at t = 1
gamma = gamma_of_sigma(schedule, sigma)[1:]
floor = (eps - best).square().mean(1).view(1000, each).mean(1)  # of each level
shares = {"bound": (gamma * floor).cumsum(0), "L_simple": floor.cumsum(0)}
shares = {name: total / total[-1] for name, total in shares.items()}

# %% mystnb={"figure": {"caption": "Left: the weight that the bound gives to the squared error of each level. Right: share of the levels up to $t$ in the sum of all squared errors, weighted (bound) or not ($L_{\\text{simple}}$), for the best possible predictor on three clusters. The bend at $t = 2$ is there because the variance of the last step is $\\beta_1$ instead of $\\tilde\\beta_1 = 0$.", "name": "fig-weights"}, "image": {"alt": "Two line plots against t on logarithmic axes. Left: the weight is about 0.5 at the first levels, falls to 0.005 near level 350 and rises a little to 0.01. Right: the bound's cumulative share reaches one half before level 10, that of L simple only between 100 and 200."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=3.2)
left.plot(range(1, 1001), gamma)
left.set(xlabel="level t", ylabel=r"$\gamma_t$", xscale="log", yscale="log")
for name, share in shares.items():
    right.plot(range(1, 1001), share, label=name)
right.set(xlabel="level t", ylabel="share of levels 1..t", xscale="log")
right.legend();

# %%
for name, share in shares.items():
    half = int((share > 0.5).nonzero()[0]) + 1
    assert half == {"bound": 8, "L_simple": 170}[name]
assert shares["bound"][9] > 0.5 > 5 * shares["L_simple"][9]
assert gamma[1:10].min() > 5 * gamma[100:].max()

# %% [markdown]
# More than half of the bound's weighted error sits in the first ten levels of a thousand, those with the least noise; of $L_{\text{simple}}$ half lies below level 170. $L_{\text{simple}}$ counts every level the same, so relative to the bound it gives small $t$ far
# less weight. What that means:
#
# - At each level the best prediction is the same under both. The weights decide
#   on which levels a network of limited size does well after a training of limited length.
# - A lower $L_{\text{simple}}$ is no promise of a higher likelihood. In table 1 of {cite:t}`ho2020ddpm`, training on the bound gives the better code length on CIFAR-10 (the bound in bits for each number of the picture: 3.70, against 3.75) and
#   $L_{\text{simple}}$ by far the better FID, the usual distance between sets of images (3.17, against 13.51).
# - So the derivation explains *what* is predicted and why a squared error. That all levels count the same is a choice.
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
# This conditional mean is also the gradient of a log density. The density of $x_t$ is $q_t(x) = \int q(x_0)\, \mathcal N(x;\, \sqrt{\bar\alpha_t}\, x_0,\, (1 - \bar\alpha_t) I)\, dx_0$. Differentiate under the
# integral: the Gaussian gets a factor $-(x - \sqrt{\bar\alpha_t}\, x_0)/(1 - \bar\alpha_t)$, which is $-\epsilon/\sqrt{1 - \bar\alpha_t}$ for the noise that leads from $x_0$ to $x$. Divide by $q_t(x)$, and the integral is an expectation over $x_0$ given $x_t = x$:
#
# $$
# \nabla \ln q_t(x) = -\frac{E[\epsilon \mid x_t = x]}{\sqrt{1 - \bar\alpha_t}} .
# $$ (eq:tweedie)
#
# The left side is called the **score**: the direction in which the density of noisy data grows. The formula is named after Tweedie {cite}`efron2011tweedie`; that regression on noise learns the score was found by
# {cite:t}`vincent2011connection`, and diffusion models were built on it by {cite:t}`song2019score`. The predicted noise points *away* from the data, the score towards it.
#
# The two sides can be computed independently of each other. On a line, the mean of $\epsilon = (x - \sqrt{\bar\alpha_t}\, x_0)/\sqrt{1 - \bar\alpha_t}$ given $x_t = x$ is a sum over a fine grid of $x_0$, with weights
# $q(x_0)\, q(x_t = x \mid x_0)$. The gradient is left to automatic differentiation.

# %%
# checks eq:tweedie
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
grid = torch.linspace(-3, 3, 20_001, dtype=torch.float64)  # of x_0
for t in (1, 100, 500, 1000):
    abar_t = schedule.alpha_bar[t]
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None].requires_grad_()
    (score,) = torch.autograd.grad(peaks.log_prob(x, t).sum(), x)
    behind = ((x - abar_t.sqrt() * grid) / (1 - abar_t).sqrt()).detach()
    weights = (peaks.log_prob(grid[:, None]) - behind**2 / 2).softmax(1)
    mean = (weights * behind).sum(1, keepdim=True)
    by_mean = -mean / (1 - abar_t).sqrt()
    assert torch.allclose(score, by_mean, rtol=1e-7, atol=1e-9)

# %% [markdown]
# The package's exact predictors use {eq}`eq:tweedie`: a mixture's score has a short formula. For the three clusters:

# %%
for t in (1, 100, 500, 1000):
    x = points.sample(500, generator)
    x = q_sample(x, t, schedule, draw(x, generator)).requires_grad_()
    (score,) = torch.autograd.grad(points.log_prob(x, t).sum(), x)
    abar_t = schedule.alpha_bar[t]
    by_mean = -points.eps(x, t) / (1 - abar_t).sqrt()
    assert torch.allclose(score, by_mean, rtol=1e-8, atol=1e-10)
    assert torch.allclose(eps_to_score(points.eps(x, t), abar_t), by_mean)

# %% [markdown]
# ### Four targets, one function
#
# Instead of the noise a network may predict $x_0$, the score, or the velocity $v = \sqrt{\bar\alpha_t}\, \epsilon - \sqrt{1 - \bar\alpha_t}\, x_0$ {cite}`salimans2022distillation` (no longer a variance). Given $x_t$, each of the four is a straight line in $\epsilon$. So a prediction of one (written with a hat) is a prediction of all, and the squared errors differ by a known factor:
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
# Seen from $x_t$, the targets at the two ends are:
#
# | target | package | near $t = 0$ | near $t = T$ |
# |---|---|---|---|
# | $\epsilon$ | | cannot be guessed | nearly $x_t$ itself |
# | $x_0$ | {py:func}`~ddim_edu.forward.unmix_x0` | nearly $x_t$ itself | at best the mean of the data |
# | $v$ | {py:func}`~ddim_edu.forward.eps_to_v` | nearly $\epsilon$ | nearly $-x_0$ |
# | score | {py:func}`~ddim_edu.forward.eps_to_score` | numbers of size $1/\sqrt{1 - \bar\alpha_t}$ | nearly $-x_t$ |
#
# The floors, measured for the three clusters with the exact $\epsilon^*$:

# %% tags=["hide-input"]
# checks eq:error-scale
rows = []
for t in (1, 10, 100, 300, 1000):
    x_0 = points.sample(50_000, generator)
    drawn, abar_t = draw(x_0, generator), schedule.alpha_bar[t]
    x = mix(x_0, drawn, abar_t)
    pair = drawn, points.eps(x, t)
    of_x0 = [unmix_x0(x, e, abar_t) for e in pair]
    of_v = [eps_to_v(e, x, abar_t) for e in pair]
    of_score = [eps_to_score(e, abar_t) for e in pair]
    errors = [(a - b).square().mean() for a, b in (pair, of_x0, of_v, of_score)]
    expected = number([1, 1 / schedule.snr[t], 1 / abar_t, 1 / (1 - abar_t)])
    assert torch.allclose(torch.stack(errors) / errors[0], expected, rtol=1e-6)
    rows.append([t, *(f"{error:.2g}" for error in errors)])
Table(["level t", "ε", "x₀", "v", "score"], rows)

# %% [markdown]
# At $t = 1$ the noise is a hundredth of a unit in clusters of standard deviation $\sqrt{0.03} = 0.17$: nothing tells it from the width of the cluster, and the floor of $\epsilon$ is nearly 1, its variance. At $t = 1000$ nearly all of $x_t$ *is* noise, and the floor is tiny. Yet the same prediction, seen as one of $x_0$, has an error $1/\operatorname{SNR}$ times as large. The column of $v$ is the one without
# extremes. To train on $x_0$ with equal weights, then, is to train on $\epsilon$ with weights $1/\operatorname{SNR}$: the choice of target is another choice of weights.
#
# Which target is better? Let a network err by 0.01 in what it says ({py:func}`~ddim_edu.forward.said_to_eps` makes it $\epsilon$). In the predicted picture, under the cosine schedule, that becomes:

# %% tags=["hide-input"]
# checks eq:error-scale
cosine = NoiseSchedule.cosine()
rows = []
for t in (100, 500, 900, 980, 1000):
    abar_t = cosine.alpha_bar[t]
    x_0, drawn = number([[0.5, -0.2]]), number([[-1.0, 0.7]])  # any picture, any noise
    x = mix(x_0, drawn, abar_t)
    right = {"eps": drawn, "v": eps_to_v(drawn, x, abar_t)}
    off = {}
    for says, said in right.items():
        eps_hat = said_to_eps(said + 0.01, x, abar_t, says)
        off[says] = (unmix_x0(x, eps_hat, abar_t) - x_0).abs().mean()
    assert torch.isclose(off["eps"], 0.01 * cosine.nsr[t], rtol=1e-4)
    assert torch.isclose(off["v"], 0.01 * (1 - abar_t).sqrt(), rtol=1e-4)
    rows.append([t, f"{off['eps']:.3f}", f"{off['v']:.4f}"])
Table(["level t", "off in x₀, ε said", "off in x₀, v said"], rows)

# %% [markdown]
# At level 1000 the slip in $\epsilon$ has become one of 200. So $v$ suits schedules that end in nearly pure noise; {ref}`chapter 6 <sec-fewer-start>` compares trained networks.

# %% [markdown]
# ## A network for points
#
# Learn $\epsilon^*$ from samples alone. {py:class}`~ddim_edu.nets.points.PointNet` is a multilayer perceptron (linear maps, with a fixed curve applied to every number in between) of three hidden layers. It is told the level by sines and cosines of $t$. The whole of DDPM's training
# (its algorithm 1) is in the loop: draw data, draw levels, draw noise, take a step down the loss.

# %%
torch.manual_seed(0)  # the network's first weights
net = PointNet(dim=2, width=128, depth=3)
n_steps, batch = 1_500, 512
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
# Over all levels the trained network's loss is 0.16, as the next cell asserts. Here {eq}`eq:error-split` can be taken apart, because the floor is known. We use the 400,000 draws from above. (Processors differ in last digits, which training magnifies. So the network's numbers are printed as limits that it keeps.)

# %% tags=["hide-input"]
# checks eq:error-split
with torch.no_grad():
    guess = net(x_t.float(), t_all).double()
rows = []
limits = {(1, 10): 0.04, (11, 50): 0.01, (51, 200): 0.01}
limits |= {(201, 500): 0.002, (501, 1000): 0.001, (1, 1000): 0.003}
for (low, high), limit in limits.items():
    here = (t_all >= low) & (t_all <= high)
    parts = [eps - guess, eps - best, best - guess]
    loss, lowest, excess = (p[here].square().mean(1) for p in parts)
    cross = loss - lowest - excess
    assert abs(cross.mean()) < 4 * cross.std() / len(cross) ** 0.5
    assert excess.mean() < limit
    rows.append([f"{low} to {high}", f"{lowest.mean():.2f}", f"below {limit}"])
assert round(loss.mean().item(), 2) == 0.16
Table(["levels", "floor", "excess of the network"], rows)

# %% mystnb={"figure": {"caption": "The trained network, level by level (means over 20 levels). Left: its loss lies on the floor. Right: what it lacks, the excess, on a logarithmic scale.", "name": "fig-floor"}, "image": {"alt": "Two plots against t. Left: dots on a line that starts near 0.95, falls to 0.3 at level 100, rises to 0.4 near level 200 and falls to 0 by level 700. Right: the excess, between 0.001 and 0.01 up to level 300 and near 0.0001 from level 400 on."}} tags=["hide-input"]
binned = [(p.square().mean(1)).view(50, -1).mean(1) for p in parts]
middle = torch.arange(50) * 20 + 10.5
fig, (left, right) = figure(2, height=3.2)
left.plot(middle, binned[1], label="floor")
left.plot(middle, binned[0], ".", label="network's loss")
left.set(xlabel="level t", ylabel="squared error")
left.legend()
right.plot(middle, binned[2], color=COLOURS[2])
right.set(xlabel="level t", ylabel="excess", yscale="log");

# %%
share = (binned[2] / binned[0])[:25].max().item()  # up to level 500
noise = (1 - schedule.alpha_bar).sqrt()
assert share < 0.06 and binned[2][0] > 5 * binned[2][25:].mean()
assert binned[1][-1] < 1e-4 and binned[1][-1] < binned[2][-1]
assert binned[1][4] < 0.3 and binned[1][10] > 0.39  # the dip, and after it
assert noise[100] < 0.33 and noise[210] > 0.6

# %% [markdown]
# So 0.16 is not a mediocre loss but nearly the best there is, and a loss of nearly 1 at the first levels is no failure. The dip of the floor near level 100, to 0.29, has a reason: the noise, of standard deviation 0.32, is wider than a cluster and narrower than the gaps between them,
# so it is plain which cluster a point came from, and most of its noise can be read off. At level 210 the noise has 0.61, and the clusters overlap.
#
# By {eq}`eq:tweedie` a noise predictor is a field of arrows. Compare the network's with the exact ones: on the data they differ by less than 8% at level 300, 15% at level 100.

# %% mystnb={"figure": {"caption": "The score times $\\sqrt{1 - \\bar\\alpha_t}$, exact ($-\\epsilon^*$) and predicted ($-\\epsilon_\\theta$), over noisy data (grey). The arrows point to where noisy data is denser; the two fields differ visibly only where there is no data.", "name": "fig-arrows"}, "image": {"alt": "Two plots of arrows on a grid over a grey cloud of points, at levels 100 and 300. At level 100 the arrows turn towards three clusters, at 300 towards one blurred cloud. Blue exact arrows and orange predicted arrows nearly coincide, except in the corners at level 100."}} tags=["hide-input"]
side = torch.linspace(-2.2, 2.2, 12, dtype=torch.float64)
mesh = torch.cartesian_prod(side, side)
fig, axes = figure(2, height=3.4, sharex=True, sharey=True)
for ax, t in zip(axes, (100, 300)):
    ax.scatter(*x_t[t_all == t].T, s=3, color="0.75")
    fields = {"exact": points.eps(mesh, t)}
    with torch.no_grad():
        fields["network"] = net(mesh.float(), torch.full((len(mesh),), t))
    for (name, field), colour in zip(fields.items(), COLOURS):
        look = {"color": colour, "scale": 45, "width": 0.005, "label": name}
        ax.quiver(*mesh.T, *-field.T, **look)
    ax.set(title=f"t = {t}", aspect="equal", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
arrows = axes[0].get_legend_handles_labels()
fig.legend(*arrows, loc="outside right upper");

# %%
far = number([[-2.2, 2.2], [2.2, 2.2], [2.2, -2.2]])  # three empty corners
for t, limit in ((300, 0.08), (100, 0.15)):
    here, off = t_all == t, (best - guess)[t_all == t]
    on_data = (off.square().mean() / best[here].square().mean()).sqrt()
    exact = points.eps(far, t)
    with torch.no_grad():
        gap = net(far.float(), torch.full((3,), t)) - exact
    in_corners = (gap.square().mean() / exact.square().mean()).sqrt()
    assert on_data < limit
assert in_corners > 1.2 * on_data  # now t = 100

# %% [markdown]
# ## Walking back
#
# One number is still ours to choose: the variance of a reverse step. The posterior tells us which values make sense. Given $x_t$, two things spread $x_{t-1}$: the posterior's own variance, and our not knowing $x_0$. Let $k_t$ be the factor of $x_0$ in {eq}`eq:posterior-given-x0`. By the law of total variance, in each coordinate
#
# $$
# \begin{gathered}
# \operatorname{Var}(x_{t-1} \mid x_t) = \tilde\beta_t + k_t^2 \operatorname{Var}(x_0 \mid x_t), \\
# k_t = \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t} .
# \end{gathered}
# $$ (eq:reverse-variance)
#
# The average of this over $x_t$ is also the best $\sigma_t^2$ {cite}`bao2022analytic`: around the best mean, it makes $L_{t-1}$ least. For the mean of {eq}`eq:kl-gaussians` has derivative 0 at $v_2 = v_1 + E(m_1 - m_2)^2$.
# If the data is a single point, nothing is unknown and the answer is $\tilde\beta_t$. If it is standard normal, $\operatorname{Var}(x_0 \mid x_t) = 1 - \bar\alpha_t$ by {eq}`eq:best-error`, and the sum is
# $\beta_t\,(1 - \bar\alpha_{t-1} + \bar\alpha_{t-1}\beta_t)/(1 - \bar\alpha_t) = \beta_t$, DDPM's other choice. For a variance of $x_0$ up to 1 the **average over $x_t$** lies between the two, because the straight-line guess of {ref}`chapter 2 <ch-variance>` alone
# leaves at most $1 - \bar\alpha_t$. At a single $x_t$ the variance may be larger: where $x_t$ could have come from either of two peaks, much more is unknown. Again everything holds for any $s < t$, and one large step, from level 200 to 100, shows it best.

# %%
n, t, s = 200_000, 200, 100
abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
kept = abar_t / abar_s
low, high = schedule.sigma(t, s, 1.0) ** 2, 1 - kept
k = abar_s.sqrt() * (1 - kept) / (1 - abar_t)
point, bell = Gaussian([0.4], 0.0, schedule), Gaussian([0.0], 1.0, schedule)

# %% tags=["hide-input"]
# checks eq:reverse-variance
names, rows = ("a point", "two peaks", "normal"), []
for name, source in zip(names, (point, peaks, bell)):
    x_0 = source.sample(n, generator)
    x_s = q_sample(x_0, s, schedule, draw(x_0, generator))
    state = mix(x_s, draw(x_0, generator), kept)
    x0_hat = unmix_x0(state, source.eps(state, t), abar_t)
    mean = ddpm_posterior(state, x0_hat, abar_t, abar_s).mean
    spread, unknown = (x_s - mean).square().mean(), (x_0 - x0_hat).square().mean()
    margin = 6 * (2 / n) ** 0.5
    assert abs(spread / (low + k**2 * unknown) - 1) < margin
    assert low * (1 - margin) < spread < high * (1 + margin)
    rows.append([name, f"{spread:.3f}"])
rows = [["least, of the posterior", f"{low:.3f}"], *rows, ["β of the step", f"{high:.3f}"]]
Table(["data", "variance of x₁₀₀ given x₂₀₀"], rows)

# %% [markdown]
# Those are averages. Here is the variance at each $x_{200}$ of the two peaks, by sums over a grid of $x_0$:

# %%
at = torch.linspace(-4, 4, 1_601, dtype=torch.float64)[:, None]  # x_200
of_x0 = grid[::10]
unlikely = (at - abar_t.sqrt() * of_x0) ** 2 / 2 / (1 - abar_t)
weights = (peaks.log_prob(of_x0[:, None]) - unlikely).softmax(1)
mean = (weights * of_x0).sum(1, keepdim=True)
variance = low + k**2 * (weights * (of_x0 - mean) ** 2).sum(1)
mass = peaks.log_prob(at, t).exp()
mass = mass / mass.sum()
assert low < mass @ variance < high and variance.min() > low
assert mass[variance > high].sum() > 0.2 and variance.max() > 1.4 * high

# %%
ratio = schedule.sigma(levels, levels - 1, 1.0) ** 2 / schedule.beta[2:]
first = int(levels[ratio > 0.99][0])
assert ratio[0] < 0.5 and first == 168 and schedule.beta[first] < 0.00345

# %% [markdown]
# At 30% of the $x_{200}$ the variance is above $\beta$, by up to a half. So no single number is right at every $x_{200}$. For DDPM's thousand small steps the two extremes differ by more than 1% only below level 168, and there both are at most 0.0034. (The bound notices all the same: {ref}`ex-reverse-gap`.) In
# {py:func}`~ddim_edu.sampler.sample`, `eta=1` takes the standard deviation $\sqrt{\tilde\beta}$ and `eta="hat"` takes $\hat\sigma = \sqrt\beta$, both around the mean {eq}`eq:mean-from-eps`, and both without noise at the last step.
#
# Now walk. The network knows the data only through the loss; the exact predictor runs beside it as a control.

# %%
n, tau = 4_000, make_tau(1000, 1000)  # every level
walks = {"data": points.sample(n, generator)}
for name, predictor in (("exact", points.eps), ("network", net)):
    x = sample(predictor, (n, 2), schedule, tau, eta=1.0, generator=generator)
    walks[name] = x.double()


# %%
def cluster_shares(x):
    """Share of each cluster, its standard error, and the spread within."""
    nearest = torch.cdist(x, points.means).argmin(1)
    share = nearest.bincount(minlength=3) / len(x)
    width = (x - points.means[nearest]).square().mean().sqrt().item()
    return share, (share * (1 - share) / len(x)).sqrt(), width


# %% tags=["hide-input"]
rows = []
for name, x in walks.items():
    share, error, width = cluster_shares(x)
    off = (share - points.weights).abs()
    assert abs(width / 0.03**0.5 - 1) < 0.1
    assert (off < 4 * error).all()  # the network's as the others'
    if name != "network":  # whose digits depend on the processor
        text = [f"{w:.2f} ± {e:.2f}" for w, e in zip(share, error)]
        rows.append([name, *text, f"{width:.2f}"])
Table(["", "share of cluster 1", "of 2", "of 3", "spread within"], rows)

# %% mystnb={"figure": {"caption": "4,000 points each: drawn from the data, and sampled by a thousand steps down from pure noise with the exact predictor and with the network.", "name": "fig-samples"}, "image": {"alt": "Three scatter plots that look alike: three round clusters, the largest at the lower left, one at the lower right, the smallest at the top. The network's plot has a few more stray points between clusters."}} tags=["hide-input"]
fig, axes = figure(3, height=2.5, sharex=True, sharey=True)
for ax, (name, x) in zip(axes, walks.items()):
    ax.scatter(*x.T, s=1)
    ax.set(title=name, aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.6, 2.0))

# %%
strays = {}
for name, x in walks.items():
    nearest = torch.cdist(x, points.means).min(1).values
    strays[name] = (nearest > 0.6).double().mean()
assert max(strays["data"], strays["exact"]) < 0.0025
assert strays["exact"] < strays["network"] < 0.03

# %% [markdown]
# The weights 0.5, 0.3 and 0.2 are met within four standard errors, each of at most 0.01. The clusters have the right width within 10%. Nobody told the network any of these numbers. Its excess shows in one place: more of the network's points than of the control's lie far from every centre (further than 0.6: below 3%, against 0.2% of the data's).
#
# ## What breaks: the mean without the noise
#
# The loss trains a mean. So why not walk along the means and leave out the fresh noise? Take the exact predictor, so that only the missing noise can be at fault.

# %%
x = torch.randn(1_000, 2, generator=generator, dtype=torch.float64)
seen = {1000: x}
for t in range(1000, 0, -1):
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    x0_hat = unmix_x0(x, points.eps(x, t), abar_t)
    x = ddpm_posterior(x, x0_hat, abar_t, abar_s).mean  # and no noise
    if t - 1 in (400, 200, 0):
        seen[t - 1] = x

# %% mystnb={"figure": {"caption": "A walk along the means only, with the exact predictor (orange), over what it should look like (grey). The cloud has shrunk to a dot long before the clusters part, and all of it goes to one of them.", "name": "fig-no-noise"}, "image": {"alt": "Four scatter plots at levels 1000, 400, 200 and 0. At 1000 the orange points cover the grey ones. At 400 and 200 all orange points sit in one small spot inside the wide grey cloud. At 0 they form a small blob inside one of three grey clusters."}} tags=["hide-input"]
fig, axes = figure(4, height=2.1, sharex=True, sharey=True)
for ax, (t, cloud) in zip(axes, seen.items()):
    right = points.sample(1_000, generator)
    right = q_sample(right, t, schedule, draw(right, generator)) if t else right
    ax.scatter(*right.T, s=1, color="0.75")
    ax.scatter(*cloud.T, s=1, color=COLOURS[1])
    ax.set(title=f"t = {t}", aspect="equal", xlim=(-3, 3), ylim=(-3, 3))

# %%
share, _, width = cluster_shares(seen[0])
shrunk = (schedule.alpha_bar[1000] / schedule.alpha_bar[400]).sqrt()
at_400 = seen[400].std(0).max()
assert share.max() == 1 and width < 0.05 and abs(at_400 / shrunk - 1) < 0.2

# %% [markdown]
# All end in one cluster, with a spread of 0.03 where 0.17 is right. What went wrong is arithmetic. Where $x_t$ looks standard normal, the best prediction is $\epsilon^* = \sqrt{1 - \bar\alpha_t}\, x_t$, and {eq}`eq:mean-from-eps` becomes
# $\sqrt{\alpha_t}\, x_t$: a mean step *shrinks*, as a forward step does. It needs $\beta_t$ of fresh variance to make up for that. From level 1000 to 400 the factors multiply to
# $\sqrt{\bar\alpha_{1000}/\bar\alpha_{400}}$; what was a cloud of spread 1 is a dot of 0.014, long before the clusters part. A mean is not a draw. (The deterministic sampler of {ref}`chapter 5 <ch-sigma>` draws no noise either, and
# does not collapse: its mean is another one, which keeps the noise that it finds in $x_t$.)

# %% [markdown]
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the bound in terms of the SNR
# :label: ex-reverse-snr
# *Derive · three stars · 30 minutes*
#
# With $\sigma_t^2 = \tilde\beta_t$, show that for $t \ge 2$
#
# $$
# \begin{aligned}
# L_{t-1} = \tfrac12 \bigl(&\operatorname{SNR}(t-1) - \operatorname{SNR}(t)\bigr) \\
#   &\cdot E\, \lVert x_0 - \hat x_0 \rVert^2 .
# \end{aligned}
# $$
#
# So the bound counts, at each step, how much signal comes back and how well it was foreseen {cite}`kingma2021vdm`.
# Hand in a function `weight(abar_t, abar_s)` that returns the factor before the mean squared error, with $s = t - 1$: `check("ex-reverse-snr", weight)`.
# ```
#
# ````{solution} ex-reverse-snr
# :class: dropdown
# The means of the two Gaussians are {eq}`eq:posterior-given-x0` with $x_0$ and with $\hat x_0$; the terms in $x_t$ cancel. So
# $L_{t-1} = \frac{k_t^2}{2 \tilde\beta_t} E \lVert x_0 - \hat x_0 \rVert^2$ with $k_t = \sqrt{\bar\alpha_{t-1}}\, \beta_t/(1 - \bar\alpha_t)$, and
# $k_t^2/\tilde\beta_t = \bar\alpha_{t-1} \beta_t / \bigl((1 - \bar\alpha_{t-1})(1 - \bar\alpha_t)\bigr)$. The numerator is $\bar\alpha_{t-1} - \bar\alpha_t$, and
# $\frac{p - r}{(1 - p)(1 - r)} = \frac{p}{1 - p} - \frac{r}{1 - r}$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.losses import gamma_of_sigma
# from ddim_edu.schedule import NoiseSchedule
#
# def weight(abar_t, abar_s):
#     return 0.5 * (abar_s / (1 - abar_s) - abar_t / (1 - abar_t))
#
# schedule = NoiseSchedule.linear()
# t = torch.arange(2, 1001)
# sigma = torch.cat([schedule.beta[:2].sqrt(), schedule.sigma(t, t - 1, 1.0)])
# on_x0 = gamma_of_sigma(schedule, sigma)[2:] * schedule.snr[2:]  # eps error = SNR * x_0 error
# derived = weight(schedule.alpha_bar[2:], schedule.alpha_bar[1:-1])
# assert torch.allclose(on_x0, derived, rtol=1e-6)
# assert check("ex-reverse-snr", weight)
# ```
# ````
#
# ```{exercise} Measure: does the gap close as T grows?
# :label: ex-reverse-gap
# *Measure · three stars · 45 minutes*
#
# For the two peaks on a line, at $-1$ and 0.6, with the exact $\epsilon^*$, compute how far the bound lies below $E \ln q(x_0)$ for cosine schedules with 16, 64 and 256 levels. Do it for $\sigma_t^2 = \tilde\beta_t$ and for
# $\sigma_t^2 = \beta_t$ (with $\beta_1$ at $t = 1$ in both cases). Sums over a grid of points are exact here; of draws it takes 20,000. Explain what you see with {eq}`eq:reverse-variance`. Which of the two gaps closes?
# Hand in the gaps, a row for each $T$, with $\tilde\beta_t$ in the first column: `check("ex-reverse-gap", gaps)`.
# ```
#
# ````{solution} ex-reverse-gap
# :class: dropdown
# With $\beta_t$ the gap closes: a fourfold $T$ divides it by more than 3. With $\tilde\beta_t$ it does not: it is 0.53 nats at $T = 256$ and 0.39 at $T = 1024$. Small steps see the data as smooth (chapter 1), so the true variance of a step tends to $\beta_t$. At the first
# levels $\tilde\beta_t$ stays below it, however many levels there are: for large $T$ the noise $1 - \bar\alpha_t$ grows there like $t$, so $r = \beta_t/\tilde\beta_t$ tends to $t/(t - 1)$. Each level costs $\frac12(r - 1 - \ln r)$, and with these $r$ the costs of
# $t = 2, 3, \dots$ add up to $\gamma/2 = 0.289$, half of Euler's constant: that is the limit of the gap. It comes from the levels with the least noise, so a picture would hardly show it.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.schedule import NoiseSchedule
#
# x, gaps = torch.linspace(-8, 8, 2001, dtype=torch.float64)[:, None], {}
# for T in (16, 64, 256, 1024):
#     schedule = NoiseSchedule.cosine(T)
#     beta, abar = schedule.beta, schedule.alpha_bar
#     peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
#
#     def mean(values, t):  # over q_t, by a sum over the grid
#         return 0.008 * (peaks.log_prob(x, t).exp() * values.flatten()).sum()
#
#     L_T = 0.5 * (abar[T] * (mean(x**2, 0) - 1) - torch.log1p(-abar[T]))
#     small = large = mean(peaks.log_prob(x), 0) + L_T
#     for t in range(1, T + 1):
#         error = 1 - mean(peaks.eps(x, t) ** 2, t)  # that of E[eps | x_t]
#         apart = beta[t] ** 2 / (1 - beta[t]) / (1 - abar[t]) * error
#         if t == 1:
#             L_0 = 0.5 * (2 * torch.pi * beta[1]).log() + apart / (2 * beta[1])
#             small, large = small + L_0, large + L_0
#         else:
#             v = schedule.sigma(t, t - 1, 1.0) ** 2
#             small = small + apart / (2 * v)
#             large = large + 0.5 * ((beta[t] / v).log() + (v + apart) / beta[t] - 1)
#     gaps[T] = small.item(), large.item()
# assert gaps[16][1] > 3 * gaps[64][1] > 9 * gaps[256][1] > 27 * gaps[1024][1] > 0
# assert abs(gaps[256][0] - 0.53) < 0.005 and abs(gaps[1024][0] - 0.39) < 0.005
# n = torch.arange(1, 1_000_001, dtype=torch.float64)  # t - 1
# limit = 0.5 * (1 / n - torch.log1p(1 / n)).sum().item()
# assert abs(limit - 0.5772157 / 2) < 1e-6
# assert 0 < gaps[1024][0] - limit < 0.5 * (gaps[256][0] - limit)
# assert check("ex-reverse-gap", [gaps[T] for T in (16, 64, 256)])
# ```
# ````
#
# ```{exercise} Code: any target will do
# :label: ex-reverse-v
# *Code · one star · 10 minutes*
#
# Suppose that a network predicts $v$. Wrap it so that {py:func}`~ddim_edu.sampler.sample` can use it, and check with the exact $v$ of a mixture that the samples are the same, draw by draw.
# Hand in a function `wrap(v_network, schedule)` that returns what the sampler calls, a function of `x_t` and `t`: `check("ex-reverse-v", wrap)`.
# ```
#
# ````{solution} ex-reverse-v
# :class: dropdown
# The sampler sees one kind of callable. {py:func}`~ddim_edu.forward.v_to_eps` solves the definition of $v$ for $\epsilon$.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.forward import eps_to_v, v_to_eps
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
#
# def v_network(x_t, t):  # stands for a trained one
#     return eps_to_v(peaks.eps(x_t, t), x_t, schedule.abar(t))
#
# def wrap(v_network, schedule):
#     return lambda x_t, t: v_to_eps(v_network(x_t, t), x_t, schedule.abar(t))
#
# draws = []
# for predictor in (peaks.eps, wrap(v_network, schedule)):
#     g = torch.Generator().manual_seed(0)
#     x = sample(predictor, (500, 1), schedule, make_tau(1000, 100), eta=1.0, generator=g, dtype=torch.float64)
#     draws.append(x)
# assert torch.allclose(*draws, atol=1e-8)
# assert check("ex-reverse-v", wrap)
# ```
# ````
#
# ```{exercise} Break: a root too many
# :label: ex-reverse-root
# *Break · two stars · 25 minutes*
#
# The slide deck S4 of the page {doc}`/sources` prints $\sigma_t^2 = \sqrt{\tfrac{1 - \bar\alpha_s}{1 - \bar\alpha_t} \bigl(1 - \tfrac{\bar\alpha_t}{\bar\alpha_s}\bigr)}$ as the variance that gives DDPM. Take it at its word in
# DDPM's loop with the exact predictor of two peaks. How wide does the cloud become on its way down, and how likely are the samples under the data's density?
# Hand in the largest standard deviation on the way, and by how much the samples' mean log density lies below that of the right walk: `check("ex-reverse-root", (widest, lost))`.
# ```
#
# ````{solution} ex-reverse-root
# :class: dropdown
# The root is $\sqrt{\tilde\beta_t}$, the standard deviation. As a variance it is about ten times too large for the steps of the linear schedule, since $\tilde\beta_t$ is about 0.01. The cloud grows to a standard deviation of 3 where it should
# have about 1, and the samples end where there is no data: their mean log density is below that of the right walk by more than 5 nats.
#
# ```python
# import torch
# from ddim_edu.exact import GaussianMixture
# from ddim_edu.exercises import check
# from ddim_edu.forward import unmix_x0
# from ddim_edu.posterior import ddpm_posterior
# from ddim_edu.randomness import draw
# from ddim_edu.schedule import NoiseSchedule
#
# schedule = NoiseSchedule.linear()
# peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
# g, widest, fit = torch.Generator().manual_seed(0), {}, {}
# for name, power in (("right", 1.0), ("S4", 0.5)):
#     x, widest[name] = torch.randn(2_000, 1, generator=g, dtype=torch.float64), 0.0
#     for t in range(1000, 0, -1):
#         abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
#         x0_hat = unmix_x0(x, peaks.eps(x, t), abar_t)
#         step = ddpm_posterior(x, x0_hat, abar_t, abar_s)
#         x = step.mean + step.std**power * draw(x, g)
#         widest[name] = max(widest[name], x.std().item())
#     fit[name] = peaks.log_prob(x).mean().item()
# assert widest["right"] < 1.2 and 2.5 < widest["S4"] < 3.5
# lost = fit["right"] - fit["S4"]
# assert lost > 5
# assert check("ex-reverse-root", (widest["S4"], lost))
# ```
# ````

#
# ## Summary
#
# 1. Given $x_t$ and $x_0$, $x_{t-1}$ is Gaussian; its mean and variance come from one completed square.
# 2. The log-likelihood has a lower bound: minus the sum of one divergence per level and a last term. What the bound lacks is itself a divergence. In the Gaussian case that divergence can be made zero.
# 3. Between Gaussians of fixed variance, matching distributions is matching means. The only unknown in the mean is the noise: hence a squared error of $\epsilon$, with weights $\gamma_t$.
#    $L_{\text{simple}}$ drops the weights and is not the bound.
# 4. The best prediction is $E[\epsilon \mid x_t] = -\sqrt{1 - \bar\alpha_t}\, \nabla \ln q_t$. Its error is a floor that belongs to the data; only the excess can be trained away. $x_0$, $v$ and the score are the same prediction in other units.
# 5. Averaged over $x_t$, the variance of a reverse step lies between $\tilde\beta_t$ and $\beta_t$ if the data's variance is at most 1; at a single $x_t$ it may exceed $\beta_t$. Without its noise, DDPM's step collapses the cloud.
#
# **Next.** {ref}`Chapter 4 <ch-non-markov>` asks which forward processes share the jump $q(x_t \mid x_0)$ and finds a whole family, of which this chapter's posterior is one member. In the package, read
# {py:mod}`ddim_edu.losses`, then {py:func}`ddim_edu.posterior.ddpm_posterior`.
