# %% [markdown]
# (ch-restoration)=
# # Restoration: inpainting, super-resolution, colourisation
#
# **Question.** The models of this book have learnt one thing, to tell noise from pictures. They have never seen a picture with a hole, one that is too small, or one without its colours. Can they
# restore it all the same, and is what they return a fair answer?

# %% tags=["hide-input"]
import base64
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.integrate import quad, solve_ivp
from scipy.stats import wasserstein_distance

# %% tags=["hide-input"]
from ddim_edu.apps.operators import AveragePool, Grey, Mask
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.named import digits
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.forward import unmix_eps, unmix_x0
from ddim_edu.measuring.metrics import psnr
from ddim_edu.measuring.statistics import paired
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure, image_row, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Nine drawn faces that the model never saw: three without their right half, three with 16 times fewer pixels, three without colour. Below what is given stand two answers of one model, and last the truth. Faces: parts by Pablo Stanley (CC0), Micah Lanier, Johan Melin and Draftbit (CC BY 4.0), recoloured.", "name": "fig-restoration-teaser"}, "image": {"alt": "Four rows of nine small drawn faces. Top: three half faces beside grey, three in coarse blocks, three in grey. Second and third row: whole, sharp, coloured faces that agree with what is given and differ from each other in hair, eyes or colours. Bottom: the true faces, which are different again."}} tags=["hide-input"]
artist, faces = load("faces"), torch.from_numpy(shipped().pixels)
truth = F.avg_pool2d(faces.float() / 127.5 - 1, 2)[[1, 11, 37, 3, 21, 30, 36, 41, 59]]
left = torch.zeros(32, 32, dtype=torch.bool)
left[:, :16] = True
rows = {"given": [], "answer": [], "another": []}
for op, x in zip((Mask(left), AveragePool(4), Grey()), truth.split(3)):
    y, noise = op.forward(x), torch.Generator().manual_seed(3)
    twice, few = y.repeat(2, 1, 1, 1), make_tau(990, 20, "trailing")
    found = restore(artist.model, op, twice, artist.schedule, few, generator=noise, clip=1.0)
    for row, some in zip(rows.values(), (op.show(y), *found.split(3))):
        row.append(some.expand(-1, 3, -1, -1))
picture_rows({name: torch.cat(row) for name, row in rows.items()} | {"truth": truth});

# %% [markdown]
# One model, and no training for any of the three tasks. Each answer agrees with what is given, each is a whole face, and no two are alike: where nothing is known, the model makes something up.
#
# The first half of the question takes a line of linear algebra between two steps of the sampler. The second takes the rest of the chapter. At its end you will have checked
#
# - that a hole, lost detail and lost colour are three matrices with one treatment, and that the result agrees with what is given to four decimals;
# - that pasting the known pixels over the sampled ones, the simplest idea, is nearly the same method;
# - on two correlated pixels, in closed form, by how much the answers miss the truth, and what repetition buys;
# - how several answers to one question spread, against a posterior that is known;
# - how good restored pictures are beside guesses that need no diffusion model, and why decibels prefer a blur;
# - what the method makes of noise in what is given.
#
# The chapter opens {py:mod}`ddim_edu.apps.operators` and {py:mod}`ddim_edu.apps.restore`.

# %% [markdown]
# ## Three losses, three matrices
#
# Write a picture as a column $x$ of numbers. What is left of it is another column, $y = A x$, shorter than $x$:
#
# - **inpainting**: the rows of $A$ pick the known pixels;
# - **super-resolution** by a factor $f$: each row is the mean of $f \times f$ pixels;
# - **colourisation**: each row is a pixel's luma, $0.299$ red $+\, 0.587$ green $+\, 0.114$ blue.
#
# Infinitely many pictures agree with $y$. Since the rows of each $A$ are independent, $A A^\top$ can be inverted, and
#
# $$
# A^+ = A^\top (A A^\top)^{-1}
# $$ (eq:pseudo-inverse)
#
# is the **pseudo-inverse**: $A A^+ = I$, so that $A^+ y$ is one of the pictures that agree. It splits any picture in two,
#
# $$
# x = A^+ A\, x + (I - A^+ A)\, x .
# $$ (eq:range-null)
#
# The first part can be computed from $y = A x$ alone. The second is what $y$ says nothing about, as $A (I - A^+ A) = 0$. The parts are orthogonal, because $A^+ A$ is symmetric and is its own square.
# Nothing here needs a large matrix: $A A^\top$ is $I$, $I/f^2$ or $(0.299^2 + 0.587^2 + 0.114^2)\, I$. So $A^+$ puts known pixels in their places and zeros elsewhere, or repeats a pixel $f \times f$ times, or
# gives each channel a multiple of the luma. The package's operators do this; their matrices are only for checking:

# %%
# checks eq:pseudo-inverse, eq:range-null
generator, given = torch.Generator().manual_seed(0), []
known = torch.zeros(8, 8, dtype=torch.bool)
known[:4] = True  # the upper half
operators = {"hole": Mask(known), "small": AveragePool(2), "grey": Grey()}
for name, op in operators.items():
    every = torch.eye(192, dtype=torch.float64).view(192, 3, 8, 8)
    A = op.forward(every).flatten(1).T
    A = A[A.abs().sum(1) > 0]  # Mask keeps a row of zeros for each lost pixel
    A_plus = A.T @ torch.linalg.inv(A @ A.T)
    P = op.pseudo_inverse(op.forward(every)).flatten(1).T
    assert torch.allclose(A_plus @ A, P) and torch.allclose(P @ P, P)
    x = draw(torch.empty(192, dtype=torch.float64), generator)
    assert (A @ (x - P @ x)).abs().max() < 1e-12 and abs((P @ x) @ (x - P @ x)) < 1e-10
    given.append(f"{name} {len(A)}")
print("given of 3 × 8 × 8 = 192 numbers:", ", ".join(given))

# %% [markdown]
# Suppose someone has a guess $g$ of the whole picture that does not agree with $y$. What is the least change that makes it agree?
#
# ```{prf:theorem} The nearest picture that agrees
# :label: thm-nearest-image
# Of all $x$ with $A x = y$, the nearest to $g$ is
#
# $$
# \begin{aligned}
# g + A^+ &(y - A g) \\
#   &= A^+ y + (I - A^+ A)\, g .
# \end{aligned}
# $$ (eq:nearest-image)
# ```
#
# ```{prf:proof}
# Call it $x$. It agrees: $A x = A g + A A^+ (y - A g) = y$. Any other picture that agrees is $x + u$ with $A u = 0$. The change $x - g$ is $A^\top$ times something, $A^\top v$ say, so $u \cdot (x - g) = (A u) \cdot v = 0$, and
# by Pythagoras $\lVert x + u - g \rVert^2 = \lVert x - g \rVert^2 + \lVert u \rVert^2$.
# ```
#
# So the known part comes from $y$ and the unknown part from the guess. Zero as a guess gives $A^+ y$ itself; other guesses are the mean picture of the training set, or the training picture that agrees best. Such guesses will be the company that the diffusion model has to keep.

# %%
# checks eq:nearest-image
for op in operators.values():
    g, truth, other = draw(torch.empty(3, 1, 3, 8, 8).double(), generator)
    y = op.forward(truth)
    x = op.correct(g, y)
    assert torch.allclose(x, g + op.pseudo_inverse(y - op.forward(g)))
    hidden = g - op.pseudo_inverse(op.forward(g))
    assert torch.allclose(x, op.pseudo_inverse(y) + hidden)
    assert torch.allclose(op.forward(x), y)
    u = op.correct(other, y) - x  # another picture that agrees, minus x
    far, near = (x + u - g).square().sum(), (x - g).square().sum()
    assert torch.isclose(far, near + u.square().sum()) and u.norm() > 1

# %% [markdown]
# ## One hook in the sampler
#
# A diffusion model makes a guess at every step, $\hat x_0$. {cite:t}`wang2023ddnm` replace it, at every step, by the nearest picture that agrees, and let the sampler go on from there (range/null-space correction;
# the method is called DDNM). As $x_t$ stays what it is, this book's sampler finds the noise anew from the corrected $\hat x_0$; their code keeps the noise that the network predicted. The last step of a sampler ends in $\hat x_0$, so the result agrees with $y$. Here is all of it,
# for eight held-out digits without their lower half:

# %%
data, net = digits(), load("digits")
training, heldout = data.floats(data.train), data.floats(data.heldout)
abar, tau = net.schedule.alpha_bar, make_tau(990, 50, "trailing")
op, x_0 = operators["hole"], heldout[:8]
y, levels = op.forward(x_0), tau.tolist()
noise = torch.Generator().manual_seed(1)
x = draw(x_0, noise)
for t, s in zip(levels[:0:-1], levels[-2::-1]):
    eps_hat = net.model(x, torch.full((8,), t))
    x0_hat = unmix_x0(x, eps_hat, abar[t]).clamp(-1, 1)
    x0_hat = x0_hat + op.pseudo_inverse(y - op.forward(x0_hat))  # the hook
    eps_hat = unmix_eps(x, x0_hat, abar[t])
    z = draw(x, noise) if s > 0 else None
    x = ddim_step(x, eps_hat, abar[t], abar[s], net.schedule.sigma(t, s, 1.0), z)

# %%
noise = torch.Generator().manual_seed(1)
how = {"generator": noise, "clip": 1.0}  # eta is 1 by default
by_package = restore(net.model, op, y, net.schedule, tau, **how)
assert torch.allclose(by_package, x, atol=1e-4)
assert (op.forward(x) - y).abs().max() < 1e-4 and (x - x_0).abs().max() > 0.5

# %% [markdown]
# The network is asked 50 times, and nothing in it knows of the hole. Now all three losses, each on a shipped model that never saw the pictures: the first digits held out, and the first pictures of the study below, from the test sets of Fashion-MNIST {cite}`xiao2017fashion`
# and, at 16 × 16, of CIFAR-10 {cite}`krizhevsky2009cifar`. They lie in `results/restoration.json`, so that this page needs no download.

# %% tags=["hide-input"]
path = in_repository("results/restoration.json")
study = json.loads(path.read_text(encoding="utf8"))["tasks"]


def pictures(task, n):
    about = study[task]["pictures"]
    raw = bytearray(base64.b64decode(about["base64"]))
    pixels = torch.frombuffer(raw, dtype=torch.uint8).view(about["shape"])
    return pixels[:n].float() / 127.5 - 1


clothes = pictures("fashion-mnist/upscale", 2)
photographs = pictures("cifar10-tiny/colourise", 2)
shown = {"hole": ("digits", op, heldout[:2])}
shown["small"] = ("fashion-mnist", AveragePool(4), clothes)
shown["grey"] = ("cifar10-tiny", Grey(), photographs)

# %%
answers, off = {}, {}
for name, (model, op, x_0) in shown.items():
    net, y = load(model), op.forward(x_0)
    noise = torch.Generator().manual_seed(2)
    twice = y.repeat(2, 1, 1, 1)  # two answers to each
    how = {"generator": noise, "clip": 1.0}
    found = restore(net.model, op, twice, net.schedule, tau, **how)
    off[name] = (op.forward(found) - twice).abs().max().item()
    columns = [x_0, op.show(y), op.pseudo_inverse(y), found[:2], found[2:]]
    answers[name] = torch.stack(columns, 1)  # (2 pictures, 5, C, H, W)
    assert off[name] < 1e-4
    assert (found[:2] - found[2:]).abs().amax((1, 2, 3)).min() > 0.1

# %% mystnb={"figure": {"caption": "Two pictures each with the lower half missing (digits), 16 times fewer pixels (Fashion-MNIST) and luma only (CIFAR-10, 16 × 16). For each: the truth, what is given, the pseudo-inverse, and two answers. Middle grey stands for 0; the pseudo-inverse of the luma is coloured because green counts most: greenish where the luma is above 0, violet where it is below.", "name": "fig-restoration-three"}, "image": {"alt": "Three rows of ten small pictures, two sets of five in each row. Top: handwritten digits, the same with a grey lower half twice, and two complete digits whose upper halves equal the given one. Middle: pieces of clothing, twice as seven by seven blocks, and two sharp versions that differ in detail. Bottom: small colour photographs, their grey version, a version in green and violet, and two versions with different plausible colours."}} tags=["hide-input"]
fig, axes = figure(10, 3, height=2.5)
names = ("truth", "given", "$A^+ y$", "answer", "answer")
for row, found in zip(axes, answers.values()):
    for ax, picture in zip(row, found.flatten(0, 1)):
        shades = ((picture + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
        ax.imshow(shades, cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
[ax.set_title(name, fontsize=9) for ax, name in zip(axes[0], names * 2)];

# %%
assert max(off.values()) < 1e-4
for found in answers.values():
    apart = (found[:, 3] - found[:, 4]).square().mean().sqrt().item()
    assert apart > 0.02
print("what is given is met to four decimals, and the two answers differ")

# %% [markdown]
# ## Pasting the known pixels
#
# For holes there is an older and simpler idea {cite}`song2021sde`: sample as ever, but before each call of the network put the known pixels, with noise of the level, over those of $x_t$. How different is that?
#
# Follow a known pixel through the method above. Its $\hat x_0$ is $y$ at every step, so the noise found in it is $e_t = (x_t - \sqrt{\bar\alpha_t}\, y)/\sqrt{1 - \bar\alpha_t}$, and a step makes
# $x_s = \sqrt{\bar\alpha_s}\, y + \sqrt{1 - \bar\alpha_s - \sigma^2}\; e_t + \sigma z$. This is the walk {eq}`eq:noise-walk` of chapter 4, with $\rho = \sqrt{1 - \sigma^2/(1 - \bar\alpha_s)}$:
#
# $$
# \begin{aligned}
# x_s &= \sqrt{\bar\alpha_s}\, y + \sqrt{1 - \bar\alpha_s}\; e_s, \\
# e_s &= \rho\, e_t + \sqrt{1 - \rho^2}\; z .
# \end{aligned}
# $$ (eq:known-pixels)
#
# So the network is shown the known pixels with the noise of the level here too. The two methods differ in one number: pasting draws new noise at each level, $\rho = 0$, while the correction lets the noise follow the sampler's walk,
# up to $\rho = 1$ at $\eta = 0$. (At the very start $x_T$ is pure noise, and $\sqrt{\bar\alpha_T}\, y$ is missing.) For a pair of correlated pixels, of which the first is known:

# %%
schedule = NoiseSchedule.linear()
abar, nsr = schedule.alpha_bar, schedule.nsr
first = Mask(torch.tensor([True, False]))
pair = Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]]), schedule)
y, ten = torch.tensor([[1.5, 0.0]]).double().expand(4000, 2), range(0, 1001, 100)

# %%
# checks eq:known-pixels
hook = {"edit_x0": lambda x0_hat, t: first.correct(x0_hat, y)}
hook["generator"] = generator
for eta in (0.0, 1.0):
    x_T = draw(y, generator)
    path = ddim_path(pair.eps, x_T, schedule, ten, eta=eta, **hook)
    for step in list(path)[1:-1]:  # without the start, and the noiseless end
        e_t = unmix_eps(step.x_t, y, abar[step.t])[:, 0]
        e_s = unmix_eps(step.x_s, y, abar[step.s])[:, 0]
        sigma = schedule.sigma(step.t, step.s, eta)
        rho = (1 - sigma**2 / (1 - abar[step.s])).sqrt()
        assert abs((e_t * e_s).mean() - rho) < 6 / 4000**0.5
        assert abs(e_s.square().mean() - 1) < 6 * (2 / 4000) ** 0.5
        assert eta == 1 or torch.allclose(e_s, e_t, atol=1e-8)

# %% [markdown]
# Does the correlation matter for the result? On the pair, and on 200 held-out digits without their lower half, from this book's study of restored pictures (`benchmarks/restoration.py`; PSNR is a measure in decibels, defined below). The PSNR of a single answer is mostly chance, so the study averaged it over 16 answers to each digit:

# %%
fifty, means = make_tau(1000, 50, "trailing"), []
for method in (replace_known, restore):
    x = method(pair.eps, first, y, schedule, fifty, generator=generator)[:, 1]
    means.append(x.mean().item())
    error = x.std().item() / 4000**0.5
print(f"mean of the second pixel: {means[0]:.1f} and {means[1]:.1f}")
assert abs(means[0] - means[1]) < 5 * 2**0.5 * error

# %%
closely = study["digits/inpaint"]["closely"]
assert all((len(v["psnr"]), v["answers"]) == (200, 16) for v in closely.values())
base, against = closely["travel 1"]["psnr"], {}
for name, label in (("replace", "pasting"), ("travel 2", "two walks, see below")):
    against[label] = paired(closely[name]["psnr"], base)
one_each = (study["digits/inpaint"]["rows"][k]["psnr"]["each"] for k in ("replace", "travel 1"))
pasting, two_walks = against.values()
against["pasting, from one answer to each digit"] = paired(*one_each)
assert 0 < pasting.mean - pasting.half and pasting.p < 0.01  # pasting is better
assert two_walks.mean - two_walks.half > pasting.mean + pasting.half
rows = [(label, f"{gap.mean:+.2f} ± {gap.half:.2f}") for label, gap in against.items()]
Table(["minus correction", "PSNR, dB"], rows)

# %% [markdown]
# On the pair no difference is seen. On the digits pasting is *better*, by 0.3 dB; why, we cannot say. That is a third of what walking twice gains, an idea of the next section. (The interval from one answer to each digit shows nothing: neither a difference nor that there is none.) What the correction adds is not quality but reach: it treats every $A$ alike, and one cannot paste a mean of four pixels.
#
# ## Why the answers are off
#
# A fair answer would be a draw from $p(x_0 \mid y)$, the distribution of the pictures that agree, each as likely as the data makes it. Is that what comes out? Take two pixels where everything is known: means 0, variances 1, correlation $c$. The first is known to be $y$. Then
# the second is $\mathcal N(c\, y,\; 1 - c^2)$.
#
# Let $w = \bar\alpha_t$, and $\sqrt w\, \mu$ the mean of the second pixel of $x_t$ over many runs. The first one's is $\sqrt w\, y$ by {eq}`eq:known-pixels`. The covariance of $x_t$ has ones on the diagonal and $w c$ beside it, and that of $x_0$ with $x_t$ is $\sqrt w$ times the data's. For Gaussians of mean 0 the expectation of $x_0$ given $x_t$ is $\operatorname{Cov}(x_0, x_t) \operatorname{Cov}(x_t)^{-1} x_t$, so the best guess
# of the second pixel, which we grant the network, is on average
#
# $$
# E\, \hat x_0 = \frac{w}{1 - w^2 c^2} \bigl(c\, (1 - w)\, y + (1 - w c^2)\, \mu\bigr),
# $$
#
# and its distance from where the pixel stands is, after subtracting,
#
# $$
# \mu - E\, \hat x_0 = \frac{1 - w}{1 - w^2 c^2}\, (\mu - w\, c\, y) .
# $$ (eq:pull)
#
# There is the fault. At level $t$ the pixel is pulled **towards $w\,c\,y$ and not towards $c\,y$**. The network takes the known pixel for a noisy one, because it looks like one, and a noisy pixel is worth only a share $w$ of itself: the best guess of $x_0$ from $\sqrt w\, y$ alone is $w\, y$. That $y$ is known to the last digit is nowhere in what the network
# sees.
#
# The pull is right at the end, where $w = 1$. Is there time left to follow it? In the units of chapter 7 a pixel stands at $\hat x_0 + \nu_t \hat\epsilon$, and a step from $t$ to $s$ takes it to $\hat x_0 + \nu_s\, (\rho\, \hat\epsilon + \sqrt{1 - \rho^2}\, z)$ with the $\rho$ of {eq}`eq:known-pixels`. With $r = \nu_s/\nu_t$ and {eq}`eq:sigma-eta`, $\rho = \sqrt{1 - \eta^2 (1 - r^2)}$. So on average
#
# $$
# \mu_s - E\, \hat x_0 = r\, \sqrt{1 - \eta^2 (1 - r^2)}\; (\mu_t - E\, \hat x_0) .
# $$ (eq:mean-step)
#
# For a short step, $r = 1 - h$, the factor is $1 - (1 + \eta^2)\, h$ to first order. With full noise a step follows the pull twice as far as without.
#
# {cite:t}`lugmayr2022repaint` proposed to repeat: after a few steps from $t$ to $s$, a *stretch*, go back up by one draw of the forward process, walk down again, $n$ times in all. In the units of chapter 7 the forward process only adds noise {eq}`eq:additive-chain`, so $\mu$ stays, and $n$ short walks follow the pull $n$ times as
# far. It is called **time travel**, and it costs $n$ times the calls. All in one number,
#
# $$
# \kappa = \tfrac12\, n\, (1 + \eta^2) .
# $$
#
# ```{prf:theorem} How far the mean gets
# :label: thm-share-reached
# For short steps and stretches, $\mu$ as a function of $w$ follows
#
# $$
# \frac{d\mu}{dw} = -\kappa\, \frac{\mu - w\, c\, y}{w\, (1 - w^2 c^2)}
# $$ (eq:mean-flow)
#
# and at the end it is this share of the truth $c\, y$:
#
# $$
# \frac{\mu}{c\,y} = \kappa\, (1 - c^2)^{\kappa/2} \int_0^1 \frac{w^\kappa\, dw}{(1 - c^2 w^2)^{\kappa/2 + 1}} .
# $$ (eq:share-reached)
#
# For $\kappa = 1$, which is $\eta = 1$ without time travel, it is $\bigl(1 - \sqrt{1 - c^2}\bigr)/c^2$.
# ```
#
# ```{prf:proof}
# By {eq}`eq:mean-step`, $d\mu = 2\kappa\, (\mu - E\,\hat x_0)\, d\ln\nu$. From $w = 1/(1 + \nu^2)$ we have $dw = -2 w (1 - w)\, d\ln\nu$. Together with {eq}`eq:pull` this is {eq}`eq:mean-flow`. Multiply it by $M = w^\kappa (1 - c^2 w^2)^{-\kappa/2}$, whose
# logarithm has the derivative $\kappa/\bigl(w (1 - c^2 w^2)\bigr)$: then $d(M \mu)/dw = M\, \kappa\, c\, y/(1 - c^2 w^2)$. Integrate from 0, where $M = 0$, to 1 and divide by $M(1)$. For $\kappa = 1$ the integrand $w\, (1 - c^2 w^2)^{-3/2}$ is the derivative of $(1 - c^2 w^2)^{-1/2}/c^2$.
# ```

# %%
# checks eq:pull, eq:mean-step
c, y_1, mu, t = 0.8, 1.5, 0.3, 400
w = abar[t]
state = w.sqrt() * torch.tensor([[y_1, mu]]).double()  # the mean of x_t
x0_hat = first.correct(unmix_x0(state, pair.eps(state, t), w), y[:1])
pull = (1 - w) / (1 - w**2 * c**2) * (mu - w * c * y_1)
assert torch.isclose(mu - x0_hat[0, 1], pull)
for s, eta in ((390, 0.0), (390, 1.0), (200, 0.7)):
    r, sigma = nsr[s] / nsr[t], schedule.sigma(t, s, eta)
    eps_hat = unmix_eps(state, x0_hat, w)
    x_s = ddim_step(state, eps_hat, w, abar[s], sigma, 0 * state)
    factor = r * (1 - eta**2 * (1 - r**2)).sqrt()
    left = x_s[0, 1] / abar[s].sqrt() - x0_hat[0, 1]
    assert torch.isclose(left, factor * (mu - x0_hat[0, 1]))

# %%
h = 1e-4
for eta in (0.0, 1.0):  # to first order in h
    exact = (1 - h) * (1 - eta**2 * (1 - (1 - h) ** 2)) ** 0.5
    assert abs(exact - (1 - (1 + eta**2) * h)) < 1e-7

# %%
def mean_reached(c, y, tau, eta, n):
    """mu at the end by eq:pull and eq:mean-step, each step walked n times."""
    mu, levels = 0.0, [int(t) for t in tau]
    for t, s in zip(levels[:0:-1], levels[-2::-1]):
        w, r = abar[t].item(), (nsr[s] / nsr[t]).item()
        for _ in range(n):
            x0_hat = mu - (1 - w) / (1 - w**2 * c**2) * (mu - w * c * y)
            mu = x0_hat + r * (1 - eta**2 * (1 - r**2)) ** 0.5 * (mu - x0_hat)
    return mu


def share(kappa, c):
    def inside(w):
        return w**kappa * (1 - c**2 * w**2) ** (-kappa / 2 - 1)
    return kappa * (1 - c**2) ** (kappa / 2) * quad(inside, 0, 1)[0]

# %%
# checks eq:mean-flow, eq:share-reached
def slope(w, mu, kappa):
    return -kappa * (mu - w * c * y_1) / (w * (1 - w**2 * c**2))


how = {"method": "LSODA", "rtol": 1e-8, "atol": 1e-10}
for kappa in (0.5, 1.0, 2.0, 10.0):
    found = solve_ivp(slope, (1e-4, 1 - 1e-9), [0.0], args=(kappa,), **how)
    end = found.y[0, -1]
    assert abs(end - c * y_1 * share(kappa, c)) < 1e-4
for c_ in (0.3, 0.8, 0.99):
    assert abs(share(1.0, c_) - (1 - (1 - c_**2) ** 0.5) / c_**2) < 1e-9

# %% [markdown]
# The table holds the theorem against the recursion `mean_reached` with 1,000 and with 50 steps, and against {py:func}`~ddim_edu.apps.restore.restore` itself with 50 (4,000 runs; the allowed error is five standard errors). The truth is $c\,y = 1.2$ with variance $0.36$.

# %%
reached, rows = {}, []
for eta, n in ((0.0, 1), (0.0, 2), (1.0, 1), (1.0, 2), (1.0, 5)):
    limit = c * y_1 * share(n * (1 + eta**2) / 2, c)
    many, few = (mean_reached(c, y_1, k, eta, n) for k in (range(1001), fifty))
    how = {"eta": eta, "travel": n, "jump": 1, "generator": generator}
    x = restore(pair.eps, first, y, schedule, fifty, **how)[:, 1]
    reached[eta, n] = x.mean().item()
    three = (f"{value:.3f}" for value in (limit, many, few))
    rows.append((f"η = {eta:.0f}, {n}", *three, f"{x.mean():.1f}", f"{x.var():.1f}"))
    assert abs(x.mean() - few) < 5 * (x.var() / 4000).sqrt()
    assert abs(many / limit - 1) < 0.006 and few < 1.002 * many
heads = "mean, theorem", "1000 steps", "50 steps", "50 steps, run", "variance, run"
Table(["walks", *heads], rows)

# %% mystnb={"figure": {"caption": "The share of the truth that the mean of the unknown pixel reaches, against the correlation of the two pixels. Lines: the theorem, for η = 0, for η = 1, and for η = 1 with time travel of 2 and 5 walks. Dots: 2,000 runs of 50 steps each, which fall a little short of the limit of short steps.", "name": "fig-restoration-share"}, "image": {"alt": "Four rising curves of the share reached against the correlation from 0 to 1. From the bottom: eta 0 starts at one third, eta 1 at one half, two walks at two thirds, five walks at five sixths; all rise slowly and reach 1 at correlation 1. Dots lie on the curves or slightly below."}} tags=["hide-input"]
fig, ax = figure(height=2.8)
cs = 1 - np.geomspace(0.99, 1e-3, 200)  # they rise steeply at the end
cases = [(0.0, 1, "η = 0"), (1.0, 1, "η = 1")]
cases, dots = [*cases, (1.0, 2, "2 walks"), (1.0, 5, "5 walks")], {}
for (eta, n, label), colour in zip(cases, COLOURS):
    limits = [share(n * (1 + eta**2) / 2, c_) for c_ in cs]
    ax.plot([*cs, 1], [*limits, 1], color=colour, label=label)
    for c_ in (0.5, 0.9):
        cov = torch.tensor([[1.0, c_], [c_, 1.0]])
        two = Gaussian(torch.zeros(2), cov, schedule)
        how = {"eta": eta, "travel": n, "jump": 1, "generator": generator}
        x = restore(two.eps, first, 2 * y[:2000], schedule, fifty, **how)[:, 1]
        found = x / (3 * c_)
        dots[eta, n, c_] = found.mean().item(), found.std().item() / 2000**0.5
        ax.plot(c_, found.mean(), "o", ms=4, color=colour)
ax.set(xlabel="correlation c", ylabel="share of c y reached", ylim=(0, 1.02))
ax.legend(loc="lower right", ncols=2);

# %%
for (eta, n, c_), (found, error) in dots.items():
    limit = share(n * (1 + eta**2) / 2, c_)
    assert 0.9 * limit - 5 * error < found < limit + 5 * error
kappas = (0.5, 1.0, 2.0, 5.0)
row = ["share of the way, c near 0", *(f"{share(kappa, 1e-3):.3f}" for kappa in kappas)]
Table(["", *(f"κ = {kappa:g}" for kappa in kappas)], [row])

# %% [markdown]
# Where 1.2 is the truth, the mean gets to 0.52 without noise and to 0.75 with $\eta = 1$; for weak correlations it covers a third of the way and a half. That is why `restore` has $\eta = 1$ as its default: two walks at $\eta = 0$ do the same at twice the price (both have $\kappa = 1$). The limit for weak correlations is $\kappa/(\kappa + 1)$, an exercise below, so that
# every further walk is worth less. The spread is off as well: it is too wide without time travel (0.5 for 0.36), and with 50 steps and five walks it has become a little too narrow, since each step loses variance, as chapter 5 found.
#
# ## Several answers
#
# What the observation leaves open may be a choice and not a shade. Take the mixture in the plane and let the first coordinate be $0.6$, halfway between two peaks at $(1, -0.4)$ and $(0.2, 1.1)$. Bayes' rule gives the second coordinate in closed form: each component keeps its share, $0.3$ and $0.2$, times its density at the observed value. The distances
# are equal, so the posterior is
#
# $$
# 0.6\; \mathcal N(-0.4,\, 0.03) + 0.4\; \mathcal N(1.1,\, 0.03),
# $$ (eq:two-answers)
#
# but for a trace of the third component.

# %%
# checks eq:two-answers
plane = GaussianMixture(
    [0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule
)
line = torch.linspace(-2.5, 3, 5501, dtype=torch.float64)
joint = plane.log_prob(torch.stack([torch.full_like(line, 0.6), line], 1)).exp()
posterior = joint / joint.sum() / (line[1] - line[0])
stated = GaussianMixture([0.6, 0.4], [[-0.4], [1.1]], 0.03, schedule)
assert (posterior - stated.log_prob(line[:, None]).exp()).abs().max() < 1e-3

y = torch.tensor([[0.6, 0.0]]).double().expand(2000, 2)
truth, found = stated.sample(20_000, generator)[:, 0], {}
for n in (1, 2, 5, 10):
    how = {"travel": n, "generator": generator}
    found[n] = restore(plane.eps, first, y, schedule, fifty, **how)[:, 1]

# %%
off, rows, upper = {}, [], {n: (x > 0.35).double().mean().item() for n, x in found.items()}
for n, x in found.items():
    off[n] = wasserstein_distance(x.numpy(), truth.numpy())
    error = (upper[n] * (1 - upper[n]) / 2000) ** 0.5
    rows.append((n, f"{upper[n]:.2f} ± {2 * error:.2f}", f"{off[n]:.2f}"))
rows.append(("truth", f"{(truth > 0.35).double().mean():.2f}", ""))
assert upper[1] < 0.31 < 0.4 and upper[10] > upper[1] + 0.05 and upper[10] < 0.4
assert off[10] < 0.65 * off[1] and upper[10] - upper[1] > 0.4 * (0.4 - upper[1])
Table(["walks", "share of the upper peak", "Wasserstein-1 distance"], rows)

# %% mystnb={"figure": {"caption": "The open coordinate of the mixture when the other is 0.6: the posterior (black) and histograms of 2,000 answers without time travel and with ten walks.", "name": "fig-restoration-mixture"}, "image": {"alt": "Two histograms with the same black curve, which has a higher peak at -0.4 and a lower one at 1.1. Left, one walk: the left bars overshoot the curve and the right ones reach about two thirds of it. Right, ten walks: the right bars reach the curve, the left ones still overshoot it a little; both groups are narrower than the curve's peaks."}} tags=["hide-input"]
fig, axes = figure(2, height=2.4, sharey=True)
for ax, n in zip(axes, (1, 10)):
    bins = np.linspace(-1.2, 1.8, 61)
    ax.hist(found[n].numpy(), bins, density=True, color=COLOURS[4])
    ax.plot(line, posterior, color="black", lw=1.2)
    ax.set(title=f"{n} walk{'s' if n > 1 else ''}", xlabel="second coordinate")
    ax.set_xlim(-1.2, 1.8)
axes[0].set_ylabel("density");

# %%
rows = []
for n in (1, 10):
    peak = (found[n] > 0.35)
    means = [found[n][part].mean().item() for part in (~peak, peak)]
    wide = [found[n][part].std().item() for part in (~peak, peak)]
    between = ((found[n] > 0.13) & (found[n] < 0.57)).double().mean()
    rows.append((n, *(f"{v:.1f}" for v in means), *(f"{v:.2f}" for v in wide)))
    assert max(wide) < 0.17 and between < 0.02
    assert abs(means[0] + 0.4) < 0.05 and abs(means[1] - 1.1) < 0.06
print(f"true width of a peak {0.03**0.5:.2f}")
Table(["walks", "lower peak at", "upper at", "lower's width", "upper's"], rows)

# %% [markdown]
# Each answer is a plausible one: next to nothing lies between the peaks, and both are where they should be. But **how often** each is given is wrong: a quarter of the answers name the upper peak, where two in five should. At high levels the noise still leaves room for the third component, the largest one, whose second coordinate is low, and what is decided there stays decided. Time
# travel reopens the decision and makes up half of what is missing. (The peaks are also too narrow, as samples of 50 steps are.) So a single answer deserves more trust than the frequencies of many.
#
# ## Two hundred pictures a task
#
# How good are the restored pictures? The first measure is the **peak signal-to-noise ratio**. With the mean squared error MSE per pixel, for pictures in $[0, 1]$,
#
# $$
# \text{PSNR} = -10 \log_{10} \text{MSE} \quad\text{in decibels (dB)};
# $$ (eq:psnr)
#
# half the mean squared error is 3 dB more. The second is SSIM {cite}`wang2004ssim`, which compares means, variances and correlations in small windows (11 × 11 pixels, 7 × 7 for digits) and is 1 for equal pictures. The rivals are guesses $g$ made to agree by {eq}`eq:nearest-image`:
#
# - $g = 0$, which is the pseudo-inverse;
# - the mean picture of the training set (for colours, its mean colour);
# - the training picture that agrees best with $y$ (nearest neighbour);
# - the best **straight line**, which predicts all pixels from $y$ by least squares on the training set;
# - bicubic interpolation for small pictures, the grey picture for grey ones.
#
# "2 walks" is one answer with time travel $n = 2$, the default of `python -m ddim_edu.apps`; $\eta = 1$, stretches of 5 steps, and 50 levels (25 for the two larger models), so that $n$ walks cost $50\,n$ calls of the network. "2 walks, mean of 4" is the average of four answers. Means and 95% intervals over 200 pictures; + and − mark who is better or worse than "2 walks", picture by picture, with $p < 0.05$ after Holm's correction (chapter 8):

# %%
# checks eq:psnr
x_0 = heldout[:20]
x = (x_0 + 0.1 * draw(x_0, generator)).clamp(-1, 1)
mse = ((x - x_0) / 2).double().square().mean((1, 2, 3))
assert torch.allclose(psnr(x, x_0), -10 * mse.log10())
assert abs(-10 * math.log10(0.5) - 3) < 0.02

# %%
tasks = list(study)
order = dict.fromkeys(name for task in tasks for name in study[task]["rows"])
labels = {name: name.replace("travel 1", "1 walk") for name in order}
for name in order:
    for n in (2, 5):
        labels[name] = labels[name].replace(f"travel {n}", f"{n} walks")
labels["replace"] = "pasting"

# %% tags=["hide-input"]
def cell(row, measure, places):
    """Mean and interval; + better than "2 walks", - worse, at 5% by Holm."""
    found = row[measure]
    test = found.get("difference", {"p_holm": 1})
    mark = "" if test["p_holm"] > 0.05 else " +" if test["mean"] > 0 else " −"
    return f"{found['mean']:.{places}f} ± {found['half']:.{places}f}{mark}"


# %% tags=["hide-input"]
short = {"fashion-mnist": "clothes", "cifar10-tiny": "photos"}
short |= {"inpaint": "hole", "upscale": "small", "colourise": "colour"}


def table(measure, places):
    heads = (", ".join(short.get(part, "digits") for part in k.split("/")) for k in tasks)
    rows = []
    for name in order:
        cells = (study[task]["rows"].get(name) for task in tasks)
        rows.append((labels[name], *(cell(c, measure, places) if c else "" for c in cells)))
    return Table([{"psnr": "PSNR, dB", "ssim": "SSIM"}[measure], *heads], rows)


table("psnr", 1)

# %%
table("ssim", 2)

# %% [markdown]
# Some of these rows are close. A gap that is not marked is not a gap of 0, so the next cell has the intervals.

# %% tags=["hide-input"]
differences = {}


def gap(task, better, worse, which=slice(None)):
    each = study[task]["rows"]
    pair = (np.array(each[k]["psnr"]["each"])[which] for k in (better, worse))
    differences[task, better, worse] = found = paired(*pair)
    return found


# %%
hole, small = "digits/inpaint", "fashion-mnist/upscale"
open_ = [gap(hole, "mean picture", "travel 2"), gap(small, "straight line", "travel 2")]
open_.append(gap(hole, "straight line", "travel 2, mean of 4"))
assert all(abs(found.mean) < found.half < 0.7 for found in open_)
ahead = gap("digits/upscale", "straight line", "travel 2")
assert 0 < ahead.mean - ahead.half and ahead.mean < 1
assert abs(open_[1].mean) + open_[1].half < 0.5 and open_[2].mean + open_[2].half < 0.6
rows = [(f"{task}: {labels[a]} minus {labels[b]}", f"{d.mean:+.1f} ± {d.half:.1f}")
        for (task, a, b), d in differences.items()]  # fmt: skip
Table(["", "PSNR, dB"], rows)

# %% [markdown]
# **In decibels the model loses.** It is ahead of the pseudo-inverse and of bicubic interpolation. (On digits with a hole, its distance to the mean picture could be 0.) But with a hole or lost colours the straight line, which is solved in seconds, beats an answer by 2 to 4 dB, and so does the nearest neighbour where there is a hole. On small pictures the line is ahead by less than 1 dB (digits), or the two are within half a decibel of each other (clothes, where SSIM prefers the answer).
# Time travel helps, as the theorem lets one expect: one walk is behind two in all three comparisons, in two of them after the correction, and with 16 answers to each digit, above, beyond doubt. Five walks are ahead of one on the digits. And one entry of the table shows a trap of means of decibels: the grey picture as a guess of the colours.

# %%
rows = study["digits/inpaint"]["rows"]
five, one = (rows[f"travel {n}"]["psnr"]["each"] for n in (5, 1))
gain = paired(five, one)
assert gain.p < 0.001

grey = np.array(study["cifar10-tiny/colourise"]["rows"]["grey"]["psnr"]["each"])
some = f"{(grey > 100).sum()} of 200 pictures above 100 dB"
print(f"grey: {some}; mean without them {grey[grey < 100].mean():.1f} dB")
without = gap("cifar10-tiny/colourise", "grey", "straight line", grey < 100)
assert 0 < (grey > 100).sum() < 10 and abs(without.mean) < without.half < 1
two = {"digits/inpaint: 5 walks minus 1": gain}
two["photos without them: grey minus straight line"] = without
Table(["", "PSNR, dB"], [(name, f"{d.mean:+.1f} ± {d.half:.1f}") for name, d in two.items()])

# %% [markdown]
# A few of the photographs have no colour themselves. There the grey picture errs by rounding only, above 100 dB, and lifts the mean of all by almost 3 dB. Without these photographs no difference to the straight line is seen, and the last line says how large one could be.
#
# So is a regression all one needs? Look at the pictures it makes. **Sharpness** is the mean square of the discrete Laplacian (four neighbours minus four times the pixel), as in chapter 12. Here it is relative to that of the true pictures.

# %% mystnb={"figure": {"caption": "Sharpness of restored pictures, relative to the true ones (dotted), against PSNR with 95% intervals, for three of the five tasks. Right is nearer to the truth pixel by pixel; the dotted line is as sharp as the truth.", "name": "fig-restoration-plane"}, "image": {"alt": "Three scatter plots of sharpness against PSNR. In the first two a circle for two walks lies far above the diamond of the straight line, which is to its right in the first and level with it in the second; the nearest neighbour's square is highest and to the right of both. In the third all lie between 0.7 and 1: circle and diamond at the same height, the diamond to the right, the square to the left and lower."}} tags=["hide-input"]
fig, axes = figure(3, height=3.6, sharey=True)
drawn = ("digits/inpaint", "fashion-mnist/upscale", "cifar10-tiny/colourise")
kinds = {"nearest neighbour": ("s", 1), "straight line": ("D", 2)}
kinds |= {"pseudo-inverse": ("x", 3), "mean picture": ("v", 3)}
kinds |= {"mean colour": ("v", 3), "bicubic": ("^", 4), "grey": ("^", 4)}
kinds |= {"travel 2": ("o", 0)}
kinds |= {"travel 2, mean of 4": ("*", 0), "travel 2, mean of 2": ("*", 0)}
seen = {}
for ax, task in zip(axes, drawn):
    for name, row in study[task]["rows"].items():
        if name in kinds:
            mark, colour = kinds[name]
            x, bar = row["psnr"]["mean"], row["psnr"]["half"]
            look = {"fmt": mark, "ms": 6, "color": COLOURS[colour]}
            dot = ax.errorbar(x, row["sharpness"], xerr=bar, **look)
            seen[labels[name]] = dot
    ax.axhline(1, ls=":", color="gray")
    ax.set(title=task, xlabel="PSNR in dB")
axes[0].set_ylabel("sharpness, truth = 1")
handles = list(seen.values()), list(seen)
fig.legend(*handles, loc="outside lower center", ncols=4, fontsize=8);

# %%
lines = []
for task in tasks:
    rows = study[task]["rows"]
    soft, sharp = (rows[k]["sharpness"] for k in ("straight line", "travel 2"))
    lines.append((task, f"{soft:.2f}", f"{sharp:.2f}"))
    if "colour" not in task:
        assert soft < 0.7 < sharp < 1.1
        near, ours = rows["nearest neighbour"], rows["travel 2"]
        assert near["sharpness"] > ours["sharpness"]
        assert all(near[k]["mean"] > ours[k]["mean"] for k in ("psnr", "ssim"))
Table(["sharpness, over that of the true pictures", "the line", "an answer"], lines)

# %%
lines, names = [], ("travel 1", "travel 2", "travel 5", "nearest neighbour", "straight line")
for task in ("digits/inpaint", "fashion-mnist/inpaint"):
    rows = study[task]["rows"]
    found = [f"{rows[k]['distance']:.1f}" if k in rows else "" for k in names]
    lines.append((task, f"{study[task]['truth']['distance']:.1f}", *found))
    assert rows["travel 2"]["distance"] < rows["travel 1"]["distance"]
    assert rows["nearest neighbour"]["distance"] < rows["travel 2"]["distance"]
    assert rows["travel 2"]["distance"] < 0.7 * rows["straight line"]["distance"]
heads = "true pictures", *(labels[k] for k in names)
Table(["distance to the training pictures", *heads], lines)

# %% [markdown]
# On digits and clothes the line's pictures are blurred, with 11 to 63% of the sharpness; an answer has 71 to 97% of it. (The luma of a photograph, which is given, holds nearly all of its detail, so colours hardly matter here.) The last cell has a judge that compares whole sets and not pairs, the classifier distance of {ref}`chapter 11 <ch-measuring>`: by it the answers lie far closer to real pictures than the line's, and every further walk brings them closer. One rival is ahead of the answers by nearly all of these measures
# on digits and clothes, and behind by none: the nearest neighbour. It is sharp because it is a real picture. The 200 digits were written by the writers of the other 1,597, and among 60,000 small pictures of clothes one is often near. With colours the nearest neighbour is 3 dB behind an answer. Large pictures were not measured.

# %% [markdown]
# ## What decibels ask for
#
# Let $x_0$ be a draw from $p(x_0 \mid y)$, $m = E[x_0 \mid y]$ and $V = E\, \lVert x_0 - m \rVert^2$. A guess $g$ that knows only $y$ errs by $V + \lVert g - m \rVert^2$ in mean square, so the best guess is the mean, and the mean of many sharp pictures is a blurred one. What does a perfect sampler get? Average $k$ of its answers, $\bar x = (x_1 + \dots + x_k)/k$, each an independent
# draw from the same posterior. Then $\lVert \bar x - m \rVert^2$ is $V/k$ on average, and
#
# $$
# E\, \lVert x_0 - \bar x \rVert^2 = \bigl(1 + \tfrac1k\bigr)\, V .
# $$ (eq:mean-of-answers)
#
# A single perfect answer has twice the error of the mean: **it pays 3 dB for being a picture.** {cite:t}`blau2018perception` show that some such price is unavoidable. The same line gives a test of the spread that needs no known posterior. Let $v$ be the variance of the $k$ answers (with the divisor $k - 1$), summed over the pixels. If they are fair, its mean is $V$ and
#
# $$
# E\, \bigl(1 + \tfrac1k\bigr)\, v = E\, \lVert x_0 - \bar x \rVert^2 .
# $$ (eq:fair-spread)
#
# On the mixture both can be tried with fair draws, for pairs $(x_0, y)$ drawn from the data:

# %%
x_0 = plane.sample(4000, generator)
variance, m = 0.03, plane.means


def chances_of(y):
    """Of the three components, given the first coordinate."""
    away = (y[:, None] - m[:, 0]) ** 2 / (2 * variance)
    return (plane.weights.log() - away).softmax(1)


def fair(y):
    """A draw of the second coordinate, given the first."""
    k = torch.multinomial(chances_of(y), 1, generator=generator)[:, 0]
    return m[k, 1] + variance**0.5 * draw(y, generator)


# %%
# checks eq:mean-of-answers, eq:fair-spread
drawn = torch.stack([fair(x_0[:, 0]) for _ in range(8)])
mean = chances_of(x_0[:, 0]) @ m[:, 1]
V, rows = (x_0[:, 1] - mean).square().mean(), []
for k in (1, 2, 4, 8):
    each = (x_0[:, 1] - drawn[:k].mean(0)).square()
    error = each.std() / 4000**0.5
    rows.append((k, f"{each.mean() / V:.2f} ± {2 * error / V:.2f}", f"{1 + 1 / k:.2f}"))
    assert abs(each.mean() - (1 + 1 / k) * V) < 6 * error
    if k > 1:
        spread = (1 + 1 / k) * drawn[:k].var(0)
        assert abs((spread - each).mean()) < 5 * (spread - each).std() / 4000**0.5
Table(["mean of answers", "error over V", "expected"], rows)

# %% [markdown]
# And the models' answers, of the study (the mean of 1 is that over the single answers):

# %% tags=["hide-input"]
rows = []
for task in tasks:
    for name, found in study[task]["several"].items():
        curve = {row["answers"]: f"{row['psnr']['mean']:.1f}" for row in found["curve"]}
        ratio, half = found["spread_over_error"].values()
        curve = [curve.get(k, "") for k in range(1, 5)]
        rows.append((f"{task}, {labels[name]}", *curve, f"{ratio:.2f} ± {half:.2f}"))
heads = "PSNR of 1, dB", "mean of 2", "of 3", "of 4", "spread / error"
Table(["answers", *heads], rows)

# %% [markdown]
# As {eq}`eq:mean-of-answers` says, averaging pays: of the $10 \log_{10} (2/1.25) = 2.0$ dB that four fair answers would gain, the digits gain 1.7 (hole) and 1.6 (small). With a hole, the mean of four and the straight line are at most 0.6 dB apart, by the intervals above; on small pictures the mean of four is ahead. It has lost its sharpness on the way. The last column compares the two sides of {eq}`eq:fair-spread`. On digits it lies above 1: the answers vary more than
# what they don't know, as they did on the pair of pixels. For colours it is below: the model paints two answers more alike than either is like the truth, which is overconfident. Neither can be seen in a single picture.
#
# ## What breaks: noise in what is given
#
# All this holds for a $y$ without noise. Add noise of standard deviation $\sigma_y = 0.3$ to what is given of 40 digits, and restore as before.

# %%
net, op, s = load("digits"), AveragePool(2), 0.3
x_0 = heldout[::5]
y_clean = op.forward(x_0)
y_noisy = y_clean + s * draw(y_clean, torch.Generator().manual_seed(3))
restored, noise = {}, []
for name, y in (("clean", y_clean), ("noisy", y_noisy)):
    how = {"generator": torch.Generator().manual_seed(4), "clip": 1.0}
    restored[name] = restore(net.model, op, y, net.schedule, tau, **how)
    kept = op.forward(restored[name]) - y_clean
    noise.append(f"{name} {kept.std():.2f}")
print("noise in the means of the result:", ", ".join(noise))
assert (kept - (y_noisy - y_clean)).abs().max() < 1e-4

# %% mystnb={"figure": {"caption": "Two digits: the truth, means of 2 × 2 pixels, their restoration; the same means with noise, and their restoration, in which the means have all of that noise.", "name": "fig-restoration-noise"}, "image": {"alt": "A row of ten small pictures, five for each of two digits. The third of each five is a clean digit on black; the fourth is a coarse picture with random grey blocks, and the fifth a ragged shape on a ground that is not black but spotted."}} tags=["hide-input"]
shown = [x_0, op.show(y_clean), restored["clean"]]
shown += [op.show(y_noisy), restored["noisy"]]
titles = ("truth", "given", "result", "noisy", "result")
fig, axes = image_row(torch.stack(shown, 1)[1:3].flatten(0, 1), titles * 2)
[ax.title.set_fontsize(9) for ax in axes];

# %%
quality = {k: psnr(x.clamp(-1, 1), x_0) for k, x in restored.items()}
worse = (quality["clean"] - quality["noisy"]).mean().item()
print(f"the noise costs {worse:.0f} dB")
assert worse > 1

# %% [markdown]
# The noise stands in the result to the last digit: the one thing that a denoiser was made for does not happen, since the correction puts back at every step what the network took out. The price of exact agreement is exact agreement with errors. An exercise looks at a remedy, and {cite:t}`wang2023ddnm` have one that knows the size of the noise.
# Methods that follow the gradient of $\ln p(y \mid x_t)$ {cite}`chung2023dps` need neither a pseudo-inverse nor a $y$ without noise. With the exact gradient their answers would be fair, which would mend {eq}`eq:pull` too; they approximate it, at the price of a derivative through the network in each step.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: two losses at once
# :label: ex-restoration-both
# *Derive · two stars · 25 minutes*
#
# A picture has lost its colours and then half of its size, $A = A_2 A_1$. In general $(A_2 A_1)^+ \ne A_1^+ A_2^+$. Show that they are equal here, and write the operator. What would fail if a hole came first and the mean of $2 \times 2$ pixels second?
# Hand in a function or class `both(one, two)` that makes the operator out of those of $A_1$ and $A_2$: `check("ex-restoration-both", both)`.
# ```
#
# ````{solution} ex-restoration-both
# :class: dropdown
# With $A_1 A_1^\top = a I$ and $A_2 A_2^\top = b I$ we have $A A^\top = a b\, I$ and $A^+ = A_1^\top A_2^\top/(a b) = A_1^+ A_2^+$. A hole keeps rows of zeros (or its edge runs through the squares), so that $A_2$'s squares are only partly filled: $A A^\top$ is then diagonal but no multiple of $I$, and each square needs its own factor.
#
# ```python
# import torch
# from ddim_edu.apps.operators import AveragePool, Grey, Mask, Operator
# from ddim_edu.exercises import check
#
# class Both(Operator):
#     def __init__(self, one, two):
#         self.one, self.two = one, two
#     def forward(self, x):
#         return self.two.forward(self.one.forward(x))
#     def pseudo_inverse(self, y):
#         return self.one.pseudo_inverse(self.two.pseudo_inverse(y))
#
# def matrices(op):
#     every = torch.eye(48, dtype=torch.float64).view(48, 3, 4, 4)
#     A = op.forward(every).flatten(1).T
#     P = op.pseudo_inverse(op.forward(every)).flatten(1).T  # A+ A
#     return P, torch.linalg.pinv(A) @ A
#
# ours, right = matrices(Both(Grey(), AveragePool(2)))
# assert torch.allclose(ours, right)
# hole = torch.ones(4, 4, dtype=torch.bool)
# hole[0, 0] = False
# ours, right = matrices(Both(Mask(hole), AveragePool(2)))
# assert not torch.allclose(ours, right, atol=0.05)
# assert check("ex-restoration-both", Both)
# ```
# ````
#
# ```{exercise} Derive: weak correlations
# :label: ex-restoration-weak
# *Derive · two stars · 25 minutes*
#
# Show that the share {eq}`eq:share-reached` tends to $\kappa/(\kappa + 1)$ as $c \to 0$, and to 1 as $\kappa \to \infty$. How many walks does $\eta = 1$ need for 90% at $c \to 0$? What would $\eta = 0$ need?
# Hand in both numbers of walks: `check("ex-restoration-weak", (with_noise, without))`.
# ```
#
# ````{solution} ex-restoration-weak
# :class: dropdown
# At $c = 0$ the integrand is $w^\kappa$. For the second, {eq}`eq:mean-flow` with a large $\kappa$ keeps $\mu$ close to $w c y$, which ends at $c y$. $\kappa = 9$: nine walks with $\eta = 1$, where $\kappa = n$, and 18 with $\eta = 0$.
#
# ```python
# from scipy.integrate import quad
# from ddim_edu.exercises import check
#
# def share(kappa, c):
#     inside = lambda w: w**kappa * (1 - c**2 * w**2) ** (-kappa / 2 - 1)
#     return kappa * (1 - c**2) ** (kappa / 2) * quad(inside, 0, 1)[0]
#
# for kappa in (0.5, 1, 2, 9):
#     assert abs(share(kappa, 1e-4) - kappa / (kappa + 1)) < 1e-6
# assert abs(share(9, 1e-4) - 0.9) < 1e-6
# assert all(share(100, c) > 0.99 for c in (0.1, 0.5, 0.9))
# assert check("ex-restoration-weak", (9, 18))
# ```
# ````
#
# ```{exercise} Break: the transpose for the inverse
# :label: ex-restoration-transpose
# *Break · two stars · 20 minutes*
#
# Someone writes $A^\top$ where $A^+$ belongs, for means of $2 \times 2$ pixels. By how much does $\hat x_0$ disagree with $y$ after one correction, and what becomes of the result of a sampler of $S$ steps?
# Hand in the share of the disagreement that is left after one correction, for means of $f \times f$ pixels, as a function `left(f)`: `check("ex-restoration-transpose", left)`.
# ```
#
# ````{solution} ex-restoration-transpose
# :class: dropdown
# $A A^\top = I/4$, so the disagreement shrinks by the factor $1 - \tfrac14$ only. The last step of the sampler starts from a fresh guess of the network, so nothing accumulates: whatever that guess misses, three quarters of it remain. Nothing looks broken; only a check of $A x = y$ shows it.
#
# ```python
# import torch
# from ddim_edu.apps.operators import AveragePool
# from ddim_edu.exercises import check
#
# class Slip(AveragePool):
#     def pseudo_inverse(self, y):
#         return super().pseudo_inverse(y) / 4
#
# def left(f):
#     return 1 - 1 / f**2
#
# g = torch.Generator().manual_seed(0)
# x, truth = torch.randn(2, 5, 1, 8, 8, generator=g, dtype=torch.float64)
# right, slip = AveragePool(2), Slip(2)
# y = right.forward(truth)
# before = right.forward(x) - y
# assert torch.allclose(right.forward(slip.correct(x, y)) - y, left(2) * before)
# assert torch.allclose(right.forward(right.correct(x, y)), y)
# assert check("ex-restoration-transpose", left)
# ```
# ````
#
# ```{exercise} Code: stop in time
# :label: ex-restoration-stop
# *Code · three stars · 35 minutes*
#
# In the units of chapter 7 a pixel of the chain has noise $\nu_t$, and a mean of four has $\nu_t/2$. Where $\nu_t = 2\sigma_y$, the noisy means are means of a state of the chain. So correct down to that level only, and let the sampler take out the rest of the noise. Use {py:func}`~ddim_edu.sampler.sample` with `edit_x0`, on the noisy means of
# this chapter, for four answers to each of 20 digits. How much noise is left in the means of one answer, and of the average of four?
#
# Take noise of size $\sigma_y = 0.3$ and 50 steps with $\eta = 1$, and hand in the noise in the average of four (the root of the mean square of its error), divided by that in one answer: `check("ex-restoration-stop", ratio)`.
# ```
#
# ````{solution} ex-restoration-stop
# :class: dropdown
# One answer is now a plausible digit, but its means are hardly nearer to the truth than the noisy ones: it is one draw of what could have given $y$, and errs as $y$ does. The average of four has less noise, as {eq}`eq:mean-of-answers` says of any draws.
#
# ```python
# import torch
# from ddim_edu.apps.operators import AveragePool
# from ddim_edu.exercises import check
# from ddim_edu.data.named import digits
# from ddim_edu.models import load
# from ddim_edu.sampler import sample
# from ddim_edu.schedule import make_tau
#
# data, net, op, s = digits(), load("digits"), AveragePool(2), 0.3
# x_0, tau = data.floats(data.heldout)[::10], make_tau(990, 50, "trailing")
# g = torch.Generator().manual_seed(3)
# clean = op.forward(x_0)
# y = (clean + s * torch.randn(clean.shape, generator=g)).repeat(4, 1, 1, 1)
#
# def hook(x0_hat, t):
#     return op.correct(x0_hat, y) if net.schedule.nsr[t] > 2 * s else x0_hat
#
# how = {"eta": 1.0, "clip": 1.0, "generator": g, "edit_x0": hook}
# x = sample(net.model, (80, 1, 8, 8), net.schedule, tau, **how)
# answers = op.forward(x).unflatten(0, (4, 20))
# one = (answers - clean).square().mean().sqrt()
# four = (answers.mean(0) - clean).square().mean().sqrt()
# assert 0.8 * s < one < 1.2 * s and four < 0.9 * one
# assert check("ex-restoration-stop", four / one)
# ```
# ````
#
# ## Summary
#
# 1. A loss is a matrix $A$. The nearest picture to a guess that agrees with $y = A x$ is $A^+ y + (I - A^+ A)\, g$; put into the sampler as the correction of $\hat x_0$, it restores with any model and no training.
# 2. Pasting noisy known pixels is the same method with another correlation of its noises, for holes only. On digits it is ahead by 0.3 dB.
# 3. The answers agree with $y$ exactly and are not draws of $p(x_0 \mid y)$: at level $t$ the network counts what is known for a share of itself. On two pixels the mean reaches the share {eq}`eq:share-reached`, and $n$ walks of each stretch and $\eta = 1$ raise it.
# 4. PSNR prefers the mean, and a fair draw pays 3 dB against it. Here no single answer is seen to beat a straight line in decibels, nor, on digits and clothes, the nearest neighbour. The line's pictures are blurred, the answers sharp.
# 5. The method believes $y$: noise in it is reproduced to the last digit.
#
# **Next.** {ref}`Chapter 14 <ch-conditioning>` asks for pictures of a class, and changes pictures that are whole. In the package, read {py:mod}`ddim_edu.apps.operators`: a new kind of loss needs two methods.
