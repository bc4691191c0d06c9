# %% [markdown]
# (ch-measuring)=
# # Measuring samples
#
# **Question.** Two samplers draw pictures. Which draws better ones, and how far can the answer be trusted?

# %% tags=["hide-input"]
import json

import numpy as np
import torch
import torch.nn.functional as F

from ddim_edu.data.named import digits
from ddim_edu.data.pictures import from_text, to_uint8
from ddim_edu.files import in_repository
from ddim_edu.measuring.features import small
from ddim_edu.measuring.metrics import frechet_distance, kid, mean_and_cov, precision_recall
from ddim_edu.measuring.reconstruction import power_law_exponent
from ddim_edu.measuring.reference import real_images
from ddim_edu.measuring.statistics import paired, summary
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS, Table, figure, picture_rows, table1_figure, table2_figure
from ddim_edu.sampler import ddim_path, invert, sample
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import make_tau

# %% mystnb={"figure": {"caption": "The first eight of 250 pictures of clothes by three samplers, the same model and the same starts, 20 steps each. Beside each row stands the classifier distance of its 250 pictures from the training images, the smallest and the largest of three seeds. Smaller is nearer.", "name": "fig-measuring-teaser"}, "image": {"alt": "Three rows of eight grey pictures of clothes. Top, no noise on the way: mostly clean, two shirts torn. Middle, with DDPM's noise: all eight clean. Bottom, with the larger noise: grain all over, also on the black ground. The numbers beside them: 2.7 to 4.3, 1.9 to 2.1, 7.2 to 8.5."}} tags=["hide-input"]
table = json.loads(in_repository("results/table1_fashion-mnist.json").read_text())
judged, sampler = {}, Sampler(load("fashion-mnist"))
for eta, name in ((0.0, "η = 0"), (1.0, "η = 1"), ("hat", r"$\hat\sigma$")):
    cells = [r for r in table["rows"] if (r["spacing"], r["steps"], r["eta"]) == ("leading", 20, eta)]
    found = [r["value"] for r in cells]
    name += f"\n{min(found):.1f} to {max(found):.1f}"
    judged[name] = sampler.draw(Sampling(n=8, steps=20, eta=eta, spacing="leading"))
picture_rows(judged);

# %% [markdown]
# The number says what the eye says: grain is far from the data, and whole pictures are nearer than torn ones. But it changes with the seed, and other things move it more than a seed does.
#
# A trained model has no truth to be compared with, only data. The number that the field uses to compare two sets of pictures is called FID. At the end of this chapter you will have checked
#
# - that its formula is the least cost of moving one Gaussian into another, with a proof that a computer can follow;
# - how much of its value is due to the number of samples, by a formula and by measurement;
# - what the reference set, rounding and resizing do to it, each without any change of the model;
# - what it cannot see: a copied training set, and the shape of anything beyond mean and covariance;
# - the tables of the DDIM paper, repeated on the book's own model, and what in them is the same.
#
# The chapter opens {py:mod}`ddim_edu.measuring.metrics` and {py:mod}`ddim_edu.measuring.fid`.

# %%
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## The cost of moving a Gaussian
#
# Pixels are a poor place to compare pictures: the same digit, moved by one pixel, is far away. So a fixed network turns each picture into a vector of $F$ **features**, the numbers it
# computes just before it names a class, in the hope that pictures alike to the eye are near each other there. Each set of pictures becomes a cloud of points. How far are two clouds apart?
#
# One answer: the least cost of moving one into the other. Let $x$ be drawn from the first distribution and $y$ from the second, *together*, in any dependence one likes; a
# rule for drawing the pair is a **coupling**, and it says where each $x$ goes. Its cost is $E\lVert x - y\rVert^2$. The least cost of all couplings is the squared Wasserstein-2 distance. For two
# Gaussians it is known {cite}`dowson1982frechet,olkin1982distance`:
#
# ```{prf:theorem} Distance of two Gaussians
# :label: thm-frechet
# Between $\mathcal N(\mu_1, C_1)$ and $\mathcal N(\mu_2, C_2)$ the least cost is
#
# $$
# \begin{aligned}
# d^2 &= \lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{tr} C_1 + \operatorname{tr} C_2 \\
#     &\quad - 2 \operatorname{tr}\bigl(C_1^{1/2} C_2\, C_1^{1/2}\bigr)^{1/2} .
# \end{aligned}
# $$ (eq:frechet)
# ```
#
# ```{prf:proof}
# Let $K = E(x - \mu_1)(y - \mu_2)^\top$ be the covariance of $x$ with $y$ under some coupling. Multiplied out, the cost is
#
# $$
# \lVert \mu_1 - \mu_2\rVert^2 + \operatorname{tr} C_1 + \operatorname{tr} C_2 - 2 \operatorname{tr} K ,
# $$
#
# where only $\operatorname{tr} K$ can be chosen. How large
# can it be? Suppose that $C_1$ and $C_2$ are invertible (the general case is a limit), and scale: $u = C_1^{-1/2}(x - \mu_1)$ and $v = C_2^{-1/2}(y - \mu_2)$ have covariance $I$. With $R = E u v^\top$ we have $K = C_1^{1/2} R\, C_2^{1/2}$. For
# unit vectors $a$, $b$, by Cauchy–Schwarz, $\lvert a^\top R\, b\rvert = \lvert E (a^\top u)(v^\top b) \rvert \le 1$.
#
# Write $H = C_2^{1/2} C_1^{1/2} = \sum_i s_i\, a_i b_i^\top$, its singular value decomposition. Then
#
# $$
# \operatorname{tr} K = \operatorname{tr}(R H) = \sum_i s_i\, b_i^\top R\, a_i \le \sum_i s_i ,
# $$
#
# with equality for $R = \sum_i b_i a_i^\top$, which is a rotation or reflection: the coupling $u = R v$ has it. And $\sum_i s_i$ is the trace of $(H^\top H)^{1/2}$, where
# $H^\top H = C_1^{1/2} C_2 C_1^{1/2}$.
# ```
#
# The proof is a recipe. We follow it. The best $R$ must reach the formula, and no other $R$ may beat it.

# %%
def root(C):
    values, axes = torch.linalg.eigh(C)
    return (axes * values.sqrt()) @ axes.T


wide = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
mu_1, mu_2 = torch.randn(2, 6, generator=generator, dtype=torch.float64)
C_1, C_2 = wide @ wide.mT / 9
root_1, root_2 = root(C_1), root(C_2)
A, _, Bt = torch.linalg.svd(root_2 @ root_1)


# %%
# checks eq:frechet
def cost(R):
    fixed = (mu_1 - mu_2).square().sum() + C_1.trace() + C_2.trace()
    return fixed - 2 * (root_1 @ R @ root_2).trace()


formula = frechet_distance(mu_1, C_1, mu_2, C_2)
assert abs(cost(Bt.T @ A.T) - formula) < 1e-10
others = torch.randn(2_000, 6, 6, generator=generator, dtype=torch.float64)
others = torch.linalg.qr(others).Q  # rotations: R with all singular values 1
best = min(cost(R) for R in others)
print(f"formula {formula:.1f}, best of 2,000 other rotations {best:.1f}")
assert best > formula

# %% [markdown]
# **FID**, the Fréchet inception distance {cite}`heusel2017fid`, is {eq}`eq:frechet` for the means and covariances of the $F = 2048$ features that a certain Inception network computes: one set is the data, the other, by custom, 50,000 samples.
# Smaller is better.
#
# Features are not Gaussian, and the formula does not mind: it sees two moments. The proof needs Gaussians in one place only, where the best coupling has to exist. So for any two distributions with these moments, $d^2$ is a *lower bound* of the cost of moving.
# It can be 0 between distributions that have little in common:

# %%
normal = torch.special.ndtri((torch.arange(1000).double() + 0.5) / 1000)
coin = torch.sign(normal) * normal.square().mean().sqrt()
moving = (normal - coin).square().mean()  # in order: best on a line
pair = [mean_and_cov(v[:, None]) for v in (normal, coin)]
apart = frechet_distance(*pair[0], *pair[1])
print(f"a coin and a normal: distance {apart:.2f}, cost of moving one into the other {moving:.2f}")
assert apart < 1e-9 < 0.3 < moving

# %% [markdown]
# ## A small sister
#
# Inception is too large for a chapter that runs anywhere. For the 8 × 8 digits the package brings a small classifier with 64 features. The formula is the same. Its value in these features is **not FID**,
# and compares with nothing but values of its own kind. We call it the classifier distance.
#
# Two samplers will be on trial: DDIM with 10 steps and with 5, on the official code's levels (`leading`), as in most tables below. Both use the shipped model, and each draws 1,500 pictures, clipped and rounded to 8 bits, as pictures are saved. The class of each
# is drawn at random, so that the pictures are independent draws. The reference is the training set.

# %%
network = small("digits")
train, test = real_images("digits", "train"), real_images("digits", "test")
model, drawn = load("digits"), {}
for S in (10, 5):
    fresh, pictures = torch.Generator().manual_seed(0), []
    for classes in torch.randint(10, (3, 500), generator=fresh):
        x = sample(
            model.eps_theta(classes), (500, 1, 8, 8), model.schedule,
            make_tau(1000, S, "leading"), clip=1.0, generator=fresh,
        )  # fmt: skip
        pictures.append(to_uint8(x))
    drawn[S] = torch.cat(pictures)

# %%
of_train, of_test = network.compute(train), network.compute(test)
features = {S: network.compute(images) for S, images in drawn.items()}
reference = mean_and_cov(of_train)


# %%
def distance(features):
    return frechet_distance(*mean_and_cov(features), *reference)


def noisy(std, images=train):
    noise = std * torch.randn(images.shape, generator=generator)
    return network.compute(to_uint8(images / 127.5 - 1 + noise))


noises = {std: noisy(std) for std in (0.1, 0.2, 0.4)}
labels = digits().train_labels
sets = {f"training digits with noise {std}": found for std, found in noises.items()}
sets |= {"training digits without the 7s": of_train[labels != 7]}
sets |= {f"DDIM, {S} steps": found for S, found in features.items()}
worse = [distance(found) for found in noises.values()]
assert worse == sorted(worse) and distance(of_train[labels != 7]) > 2
assert distance(features[5]) > 1.3 * distance(features[10])
Table(["pictures", "distance"], [(name, f"{distance(found):.2f}") for name, found in sets.items()])

# %% [markdown]
# The distance rises when pictures get worse and when a class is missing, which is what one wants of it. By this measure ten steps are better than five. What else moves it?
#
# ## It measures N
#
# Take $N$ digits from the training set itself, at random and with replacement. That is the best sampler there can be. How far is it from the training set?

# %%
def some(features, n):
    return features[torch.randint(len(features), (n,), generator=generator)]


counts = (100, 150, 200, 400, 800)
scores = {n: [distance(some(of_train, n)) for _ in range(20)] for n in counts}
assert np.mean(scores[200]) > 1.2 * distance(features[5])
row = [f"{np.mean(values):.1f} ± {np.std(values):.1f}" for values in scores.values()]
Table(["", *(f"N = {n}" for n in counts)], [["distance", *row]])

# %% [markdown]
# At $N = 200$ the training set, measured against itself, scores worse than DDIM with 5 steps did at $N = 1500$. The *true* distance is 0. Sample means and covariances are off by chance, and being off in any direction counts as distance. The mean alone shows it:
# $E\lVert \hat\mu - \mu\rVert^2 = \operatorname{tr} C / N$. The covariance adds more.
#
# ```{prf:theorem} The bias of order 1/N
# :label: thm-frechet-bias
# Let $\hat\mu$ and $\hat C$ be mean and covariance of $N$ draws from $\mathcal N(\mu, C)$, and $\lambda_1, \dots, \lambda_F > 0$ the eigenvalues of $C$. Then, up to terms of higher order in $1/N$,
#
# $$
# \begin{gathered}
# E\, d^2 = \frac{b_\mu + b_C}{N}, \qquad b_\mu = \sum_i \lambda_i, \\
# b_C = \frac12 \sum_{i,j} (1 + \delta_{ij})\, \frac{\lambda_i \lambda_j}{\lambda_i + \lambda_j} .
# \end{gathered}
# $$ (eq:frechet-bias)
# ```
#
# ```{prf:proof}
# The mean is done. In the axes of $C$, let $\hat C = C + D$ with a small symmetric $D$. The root in {eq}`eq:frechet` is that of $C^2 + C^{1/2} D\, C^{1/2}$. Write it as $C + X + Y + \dots$ with $X$ of first order in $D$ and $Y$ of second, and square. First order:
# $CX + XC = C^{1/2} D\, C^{1/2}$, so $X_{ij} = \sqrt{\lambda_i\lambda_j}\, D_{ij} / (\lambda_i + \lambda_j)$ and $\operatorname{tr} X = \tfrac12 \operatorname{tr} D$. Second order: $CY + YC = -X^2$, so
#
# $$
# \operatorname{tr} Y = -\sum_{i,j} \frac{X_{ij}^2}{2\lambda_i} = -\frac14 \sum_{i,j} \frac{D_{ij}^2}{\lambda_i + \lambda_j} ,
# $$
#
# where the last form is the average of the sum and of itself with $i$ and $j$ exchanged. In $\operatorname{tr} C + \operatorname{tr} (C + D) - 2\operatorname{tr}(C + X + Y)$ all but $-2\operatorname{tr} Y$ cancels. Finally $E\, D_{ij}^2 = (1 + \delta_{ij})\lambda_i\lambda_j/(N-1)$, the variance of a sample covariance of normal draws.
# ```
#
# If the other set is a sample too, of $M$ pictures from the same distribution, its errors add: $1/N + 1/M$. For $C = I$ we get $b_\mu = F$ and $b_C = F(F+1)/4$: when many eigenvalues are of one size, nearly all of the bias comes from the covariance.

# %%
# checks eq:frechet-bias
def bias(C):
    v = torch.linalg.eigvalsh(C)
    pairs = v[:, None] * v / (v[:, None] + v)
    return v.sum().item(), ((pairs.sum() + pairs.diag().sum()) / 2).item()


assert np.allclose(bias(torch.eye(6).double()), (6, 6 * 7 / 4))
draws = mu_1 + torch.randn(400, 1000, 6, generator=generator).double() @ root(C_1)
found = np.array([frechet_distance(*mean_and_cov(x), mu_1, C_1) for x in draws])
error = found.std() / 400**0.5
print(f"measured {1000 * found.mean():.1f} / N, formula {sum(bias(C_1)):.1f} / N")
assert abs(found.mean() - sum(bias(C_1)) / 1000) < 5 * error

b_mu, b_C = bias(reference[1])
print(f"digits: b = {b_mu:.0f} + {b_C:.0f}")
for n, values in scores.items():
    off = np.mean(values) - (b_mu + b_C) / n
    assert abs(off) < 6 * np.std(values) / 20**0.5 + 0.1 * np.mean(values)

# %% [markdown]
# The digits' features are not normal, and the formula holds there too, within the scatter. There are three ways to live with the bias. **Compare at equal $N$**: then most of it is the same on both sides. **Take $N$ large**: 50,000, by custom.
# Or **extrapolate** {cite}`chong2020unbiased`: measure at several $N$, fit a line in $1/N$, and read off its value at $1/N = 0$.

# %%
def line(found, counts=(250, 300, 400, 600, 1000), repeats=10):
    """1/N and mean distance of subsets; value at 1/N = 0 and slope of a fit."""
    means, g = [], torch.Generator().manual_seed(1)  # the same for all
    for n in counts:
        subsets = [torch.randperm(1500, generator=g)[:n] for _ in range(repeats)]
        means.append(np.mean([distance(found[i]) for i in subsets]))
    n, means = np.array([*counts, 1500]), np.array([*means, distance(found)])
    slope, end = np.polyfit(1 / n, means, 1, w=n)
    return 1 / n, means, end, slope


lines = {S: line(found) for S, found in features.items()}

# %% mystnb={"figure": {"caption": "Left: classifier distance of N pictures from the training digits, against 1/N. Dots are means over random choices; the lines through the two samplers' dots are fits, whose left ends are the values for infinitely many pictures; the dashed line is the formula's bias, computed and not fitted. Right: FID of N of CIFAR-10's test images against its 50,000 training images, with the true Inception network and no model.", "name": "fig-measuring-n"}, "image": {"alt": "Two panels. Left, dots that rise with 1/N, from 0 to 0.005: DDIM with 5 steps on top, DDIM with 10 steps below it, each with a line through its dots, and the training digits close to a dashed line that starts at 0. The three lines are nearly parallel; from both solid ones the dots stray in the same way, most at the largest 1/N. Right, a falling line of FID against N on logarithmic axes."}} tags=["hide-input"]
cifar = json.loads(in_repository("results/fid_cifar10_train_test.json").read_text())
fid_of = {row["n"]: row["fid"] for row in cifar["by_n"]}
fig, (ax, right) = figure(2, height=3.0)
for (S, (x, means, end, slope)), colour in zip(reversed(lines.items()), COLOURS):
    ax.plot(x, means, "o", markersize=4, color=colour, label=f"DDIM, {S} steps")
    ax.plot([0, x[0]], [end, end + slope * x[0]], color=colour, linewidth=1)
n = np.array(counts[2:])
ax.plot(1 / n, [np.mean(scores[i]) for i in n], "o", markersize=4, color=COLOURS[2], label="training digits")
ax.plot([0, 0.005], [0, 0.005 * (b_mu + b_C)], "k--", linewidth=1, label="bias, formula")
ax.set(xlabel="1 / N", ylabel="classifier distance", ylim=(0, 2.1), xticks=[0, 0.002, 0.004])
ax.legend(fontsize=9, loc="upper left")
right.plot(list(fid_of), list(fid_of.values()), "o-", markersize=4)
right.set(xscale="log", yscale="log", xlabel="N", ylabel="FID")
right.set_xticks(list(fid_of), [f"{n:,}" for n in fid_of], minor=False)
right.set_yticks(list(fid_of.values()), [f"{v:.1f}" for v in fid_of.values()])
right.minorticks_off()
right.set_title("real CIFAR-10 images", fontsize=10);

# %%
rows = []
for S, (_, means, end, slope) in lines.items():
    four = means[0], means[-1], end, slope / (b_mu + b_C)
    rows.append((S, *(f"{value:.1f}" for value in four)))
    assert abs(slope / (b_mu + b_C) - 1) < 0.3
assert lines[10][2] < lines[5][2] and lines[10][1][0] > 2 * lines[5][1][-1]
Table(["steps", "distance at N = 250", "1,500", "infinity", "slope over the formula's b"], rows)

# %% [markdown]
# The lines are nearly parallel, and their slope is nearly the formula's (which holds at distance 0). So $N$ moves both samplers alike, and what remains at the left end is their own. (The dots stray alike: subsets take the same places in both sets, and pictures at a place share their start.) Do not compare across $N$: with 250 pictures the better sampler scores more than twice as high as the worse one with 1,500.
#
# The right panel is the real thing, measured once, with the Inception weights: CIFAR-10's own test pictures against its training pictures.

# %%
points, ends = list(fid_of.items()), []
for (n, fid), (m, better) in zip(points, points[1:]):
    ends.append(better - (fid - better) / (1 / n - 1 / m) / m)
    assert fid > 1.3 * better
assert ends[0] > 2 * ends[1] > 0 > ends[2]
assert max(ends[3:]) < 1 and round(fid_of[10_000], 2) == 3.15
assert cifar["protocol"]["reference"]["name"] == "cifar10-train-inception.npz"
ends = [*(f"{end:.1f}" for end in ends), ""]
rows = [(f"{n:,}", f"{value:.2f}", end) for (n, value), end in zip(points, ends)]
Table(["real pictures", "FID", "the line to the next ends at"], rows)

# %% [markdown]
# Photographs have such FIDs. A published FID without its $N$ says little. A thousand pictures are fewer than the 2048 features: $\hat C$ is singular, higher orders count, and the curve against $1/N$ is no line. The lines through neighbouring points end at values that do not agree, one of them below 0, which no distance is. Only from 2,500 pictures on do they end near 0: extrapolation needs more pictures than features. The last value, 3.15, is no yardstick for papers: their numbers are, by custom, of 50,000 samples, and $1/N + 1/M$ is then a third of what it is here ($M$ = 50,000).
#
# ### What chance does
#
# The spread above, the number behind ±, is what changes from seed to seed. It is about a third of the bias and falls with it. So a result that repeats well over seeds may still be far from the truth, since all seeds share the bias; and a
# difference smaller than the spread is no evidence. One more thing moves bias and spread: a sampler that knows classes can draw them **in turn**, so that their shares are exact, which those of independent draws are not.

# %%
def in_turn(n):
    of_class = [of_train[labels == c] for c in range(10)]
    return distance(torch.cat([some(rows, n // 10) for rows in of_class]))


for values in scores.values():
    assert 0.15 < np.std(values) / np.mean(values) < 0.7
turns = [in_turn(400) for _ in range(20)]
by_chance = scores[400]
gap = np.mean(by_chance) - np.mean(turns)
assert gap > 0.8 * (distance(features[5]) - distance(features[10])) > 0
row = [f"{np.mean(values):.2f} ± {np.std(values):.2f}" for values in (turns, by_chance)]
Table(["400 digits", "classes in turn", "as they come"], [["distance", *row]])

# %% [markdown]
# This difference is one of protocol, not of quality. So the order of the classes goes into the protocol that {py:mod}`ddim_edu.evaluate` writes beside each number: how many pictures, of which classes, which seed, how drawn and rounded, against which set, by which weights.
#
# ## What it is measured against
#
# **The reference.** With a test set as reference, a model is compared with pictures that it was not trained on. That is the fairer question, but the set is smaller, so its bias $b/M$ is larger. Numbers against the two sets do not compare. DDPM's authors gave both
# {cite}`ho2020ddpm` for one set of samples:

# %%
held_out, rows = mean_and_cov(of_test), []
for S, found in features.items():
    against = frechet_distance(*mean_and_cov(found), *held_out)
    rows.append((f"{S} steps", f"{distance(found):.2f}", f"{against:.2f}"))
    assert abs(against - distance(found) - (b_mu + b_C) / len(test)) < 0.3
print(f"the formula's bias for M = {len(test)}: {(b_mu + b_C) / len(test):.2f}")
quoted = json.loads(in_repository("results/quoted.json").read_text())
of_sets = [quoted["ddpm"][f"fid against the {kind} set"] for kind in ("training", "test")]
rows.append(("DDPM, FID", *of_sets))
Table(["", "against the training set", "the test set"], rows)

# %% [markdown]
# For our samplers nearly all of the difference is the bias of a small reference, and says nothing of the model.
#
# **Resizing.** Inception takes 299 × 299 pixels, so every picture is resized, and data sets often were once before. Filters differ {cite}`parmar2022clean`. Here the *training digits themselves* are enlarged to 16 × 16 and brought back to 8 × 8 by several filters.

# %%
large = F.interpolate(train.float(), size=16, mode="bicubic")
filters = (("bicubic", False), ("nearest", None), ("area", None), ("bilinear", True))
resized = {}
for mode, smooth in filters:
    options = {} if smooth is None else {"antialias": smooth}
    back = F.interpolate(large, size=8, mode=mode, **options)
    resized[mode] = distance(network.compute(back.clamp(0, 255).round().byte()))
assert resized["bilinear"] > resized["area"] > distance(features[10])
assert resized["nearest"] > distance(features[10]) > resized["bicubic"]
Table(["filter on the way back", *resized], [["distance", *(f"{v:.2f}" for v in resized.values())]])

# %% [markdown]
# Three of these four copies of the training set are farther from it than DDIM with 10 steps. If the pictures of a model and those of its reference went through different filters on the way to the network, the distance measures the filters too.
#
# **Rounding to fewer grey levels.** The digits have 17, samples have 256. What if samples are rounded further?


# %%
def row_of(images):
    """Digits side by side, with grey between them."""
    return torch.cat(list(F.pad(images[:, 0], (0, 1), value=90)), 1)


def rounded(images, levels):
    step = 255 / (levels - 1)
    return ((images.float() / step).round() * step).round().byte()


coarse = {n: rounded(drawn[10], n) for n in (256, 17, 5, 3)}
assert torch.equal(coarse[256], drawn[10])
grades = {n: distance(network.compute(x)) for n, x in coarse.items() if n < 256}
grades = {256: distance(features[10]), **grades}

# %% mystnb={"figure": {"caption": "Ten samples of DDIM with 10 steps, as drawn (256 grey levels) and rounded to 17, 5 and 3 levels. On the right of each row the classifier distance of 1,500 such samples.", "name": "fig-measuring-levels"}, "image": {"alt": "Four rows of the same ten digits of 8 by 8 pixels. The first three rows look almost alike, in the row with 5 levels the shades are slightly harder, and with 3 levels strokes are blocky. The distances beside the rows fall from the first row to the third, and jump at the fourth."}} tags=["hide-input"]
fig, axes = figure(1, 4, height=3.3)
for ax, (n, images) in zip(axes, coarse.items()):
    ax.imshow(row_of(images[:10]), cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[], ylabel=f"{n} levels")
    ax.grid(False)
    ax.text(1.01, 0.5, f"{grades[n]:.3f}", transform=ax.transAxes, va="center")
fig.align_ylabels();

# %%
assert grades[5] < 0.8 * grades[256] and grades[3] > grades[256]
Table(["grey levels", *map(str, grades)], [["distance", *(f"{v:.2f}" for v in grades.values())]])

# %% [markdown]
# Rounding to 17 brings the samples nearer to the data, which is no surprise, as the data has 17. Rounding to *five* brings them nearer still. Nothing improved, and a table would show a gain of a third.
#
# ## What it cannot see
#
# Nothing is nearer to the training set than the training set. A model that had memorised it would be hard to beat, and a distance between sets cannot tell it from a good one. One has to look: which training picture is the **nearest neighbour** of each sample, and how far is it?

# %%
pixels = train.flatten(1).float() / 255


def nearest(images):
    gaps = torch.cdist(images.flatten(1).float() / 255, pixels)
    return gaps.min(1)


rows = []
for name, images in (("samples", drawn[10]), ("test digits", test)):
    parts = nearest(images).values.quantile(torch.tensor([0.05, 0.5, 0.95]))
    rows.append((name, *(f"{p:.2f}" for p in parts)))
median = [nearest(x).values.median() for x in (drawn[10], test)]
assert 0.8 < median[0] / median[1] < 1.25
copies = network.compute(train[torch.randperm(1597, generator=generator)[:1500]])
print(f"distance of 1,500 training digits: {distance(copies):.2f}")
assert distance(copies) < 0.2 * distance(features[10])
assert nearest(train.flip(3)).values.median() > median[1]  # mirrored
Table(["to the nearest training digit", "5% below", "median", "95% below"], rows)

# %% [markdown]
# Samples are as far from the training set as held-out digits are: no sign of copying. But pixels miss changed copies: mirrored training digits lie farther away, as the cell asserts. Of drawn faces everything is known, and a network reads it. In how many attributes does a face differ from the one of 30,000 that is most like it?

# %% mystnb={"figure": {"caption": "The first ten faces by DDIM, 20 steps, and below each the training face that has most in common with it. The number above says in how many attributes the two differ (ground, skin, hair and its colour, eyes, mouth, beard, glasses, clothes and theirs, ...), as the classifier `faces-attributes` reads them. A colour between two is read as one of them. Of held-out faces it reads each attribute rightly in 92% (mouths) to 100% (styles); noses, at 60%, are left out (`benchmarks/faces_truth.py`). (Faces after Pablo Stanley and, under CC BY 4.0, Micah Lanier, Johan Melin and Draftbit; see {doc}`/using`.)", "name": "fig-measuring-neighbours"}, "image": {"alt": "Two rows of ten small drawn faces. Each face below has the style of the one above and most of its parts; hair, ground or eyes differ. The numbers above, one to three, count the differences."}} tags=["hide-input"]
truth = json.loads(in_repository("results/faces_truth.json").read_text())
found, right = truth["sets"], truth["judge"]["right"]
shown, nose = found.pop("shown"), right.pop("nose")
assert nose < 0.61 and min(right.values()) == right["mouth"] > 0.92
pairs = {say: from_text(shown[key], 3, 32, 32) for say, key in (("DDIM", "drawn"), ("nearest", "nearest"))}
picture_rows(pairs, [str(len(differ)) for differ in shown["differ"]], width=7);

# %% tags=["hide-input"]
heads = ["1,000 faces differ in", *"0123", "4 or more", "frequencies off by", "values missing"]
rows = []
for name, of in found.items():
    counts = of["changes"]
    shares = [*counts[:4], sum(counts[4:])]
    rows.append((name.replace("drawn, eta", "model, η"), *shares, f"{of['total_variation']:.3f}", of["missing"]))
repeats = {name: of["changes"][0] for name, of in found.items()}
assert repeats["drawn, eta = 0"] == 7 and repeats["held out, true"] == 9
assert repeats["training, read"] > 900
Table(heads, rows)

# %% [markdown]
# Seven of the model's thousand faces repeat a combination of the training set. Of held-out ones, read alike, twelve do (nine in truth): parts are few enough. If the model copied, it would look like the last row. So its faces are as new as new ones. But they are not evenly spread: the frequencies of hair cuts, beards and the like are off by 0.13, where chance gives 0.05, and four values never come.
#
# ## Two other measures
#
# **KID** {cite}`binkowski2018kid` compares the sets by a *kernel* $k(x, y)$, a similarity of two feature vectors: similarity within the sets minus similarity between them,
#
# $$
# \begin{aligned}
# \text{KID} &= \frac{1}{n(n-1)} \sum_{i \ne j} \bigl( k(x_i, x_j) + k(y_i, y_j) \bigr) \\
#            &\quad - \frac{2}{n^2} \sum_{i, j} k(x_i, y_j), \\
# k(x, y) &= \bigl(x \cdot y / F + 1\bigr)^3 .
# \end{aligned}
# $$ (eq:kid)
#
# It has **no bias**. Each term of each sum is $k$ of two *independent* draws (this is why $i = j$ is left out), so its mean does not depend on $n$; if both distributions are the same, the three means cancel. The price is a number with little intuition, and one that may be negative.

# %%
# checks eq:kid
def by_hand(x, y):
    k, n = (lambda a, b: (a @ b.T / 64 + 1) ** 3), len(x)
    within = k(x, x).fill_diagonal_(0).sum() + k(y, y).fill_diagonal_(0).sum()
    return (within / (n * (n - 1)) - 2 * k(x, y).mean()).item()


x, y = features[5][:600].double(), of_train[:600].double()
seeded = torch.Generator().manual_seed(5)
chosen = [[torch.randperm(600, generator=seeded)[:300] for _ in "xy"] for _ in "12"]
expected = np.mean([by_hand(x[i], y[j]) for i, j in chosen])
options = {"subsets": 2, "subset_size": 300}
ours = kid(x, y, **options, generator=torch.Generator().manual_seed(5))[0]
assert abs(ours - expected) < 1e-9

# %%
off = []
for n in (100, 400):
    pairs = [(some(of_train, n), some(of_train, n)) for _ in range(40)]
    values = [by_hand(a.double(), b.double()) for a, b in pairs]
    mean, error = np.mean(values), np.std(values) / 40**0.5
    assert abs(mean) < 5 * error
    off.append(f"{1e3 * np.std(values):.0f} at N = {n}")
print("KID of the training set with itself, one draw, in thousandths: ±", ", ".join(off))
of_S = {
    S: kid(found, of_train, subsets=50, subset_size=500, generator=generator)
    for S, found in features.items()
}
assert all(abs(value) < 4 * error for value, error in of_S.values())

# %%
def exchanged(x, y, times=400):
    """KID of whole sets, and its values with the labels exchanged at random."""
    both, n, m = torch.cat([x, y]).double(), len(x), len(y)
    k = ((both @ both.T / 64 + 1) ** 3).fill_diagonal_(0)
    s = torch.zeros(n + m, times + 1, dtype=torch.float64)  # 1 for x, 0 for y
    s[:n, 0] = 1
    for i in range(1, times + 1):
        s[torch.randperm(n + m, generator=seeded)[:n], i] = 1
    of_x, of_y = (s * (k @ s)).sum(0), ((1 - s) * (k @ (1 - s))).sum(0)
    within = of_x / (n * (n - 1)) + of_y / (m * (m - 1))
    values = within - 2 * ((1 - s) * (k @ s)).sum(0) / (n * m)
    return values[0], values[1:]


# %%
chance, rows = {}, []
for S, found in features.items():
    value, others = exchanged(found, of_train)
    chance[S] = (others >= value).double().mean().item()
    usual = f"{round(1e3 * of_S[S][0])} ± {1e3 * of_S[S][1]:.0f}"
    rows.append((S, usual, *(f"{1e3 * v:.0f}" for v in (value, others.std())), f"{chance[S]:.0%}"))
assert chance[5] < 0.03 and chance[10] > 0.2
heads = "KID, thousandths", "all pictures at once", "sd by exchange", "exchanges as large"
Table(["DDIM, steps", *heads], rows)

# %% [markdown]
# In the first column ± is the standard error of a finite number of pictures. Where both are alike it is too large, by the factor $\sqrt{1 + N/n}$ for sets of $N$ and subsets of $n$: here by 2. By this ±, KID tells neither set from data. The other columns have a sharper test. If samples and data were alike, exchanging them at random would not matter. The third column says how KID scatters over 400 exchanges, the last how often it is as large as without. One as large as that of 5 steps is rare; that of 10 steps is common.
#
# **Precision and recall** {cite}`kynkaanniemi2019precision` split the question: do the samples look like data, and is all of the data covered? Around each real picture lies a ball that reaches to its third-nearest real neighbour. With $B$ the union of these balls and $x_1, \dots, x_N$ the samples,
#
# $$
# \text{precision} = \frac{1}{N} \sum_{i} \mathbf 1[x_i \in B] ,
# $$ (eq:precision)
#
# and recall is the same with the two sets exchanged.

# %%
# checks eq:precision
def covered(points, centres):
    gaps = torch.cdist(centres.double(), centres.double())
    radii = gaps.sort(1).values[:, 3]  # 0 is the centre itself
    inside = torch.cdist(points.double(), centres.double()) <= radii
    return inside.any(1).double().mean().item()


ours = covered(features[10], of_train), covered(of_train, features[10])
assert np.allclose(ours, precision_recall(of_train, features[10]), atol=2e-3)


# %%
found = {}


def ten_times(name, draw_set):
    """Mean precision and recall of 200 pictures, over ten draws."""
    rows = [precision_recall(of_train, draw_set()) for _ in range(10)]
    found[name] = np.mean(rows, 0)
    return found[name]


def draw_200(features):
    return lambda: features[torch.randperm(len(features), generator=generator)[:200]]


# %%
ten_times("DDIM, 10 steps", draw_200(features[10]))
whole = ten_times("training digits", draw_200(of_train))
lacking = ten_times("without the 7s", draw_200(of_train[labels != 7]))
near = ten_times("with noise 0.2", lambda: draw_200(noisy(0.2))())
clean = ten_times("test digits", draw_200(of_test))
far = ten_times("test digits with noise 0.2", lambda: noisy(0.2, test))
assert lacking[0] > 0.99 and 0.03 < whole[1] - lacking[1] < 0.15
assert abs(near[0] - clean[0]) < 0.05 and far[0] < clean[0] - 0.06
rows = [(name, *(f"{value:.2f}" for value in pair)) for name, pair in found.items()]
Table(["200 pictures", "precision", "recall"], rows)

# %% [markdown]
# Each row is of 200 pictures, since both numbers depend on how many there are. Without the 7s precision is perfect and recall is lower by about the share of the 7s: one number could not have said which side was wrong.
#
# Training digits with noise of 0.2 score like clean test digits. But they are copies: each lies near its original, which is in the reference. On test digits, which have no original there, the same noise costs about a tenth of the precision. Copies flatter precision, as they flatter the distance.
#
# ## Reading somebody's table
#
# Here is what the sources of this book report (they call the training loss "reconstruction loss"):

# %%
quoted = quoted["sources"]
plain, adaptive = quoted[0]["fid"], quoted[3]["fid"]
print(f"with the adaptive step: {adaptive / plain:.2f} times the FID")
assert adaptive > 1.5 * plain
assert max(fid_of.values()) - min(fid_of.values()) > adaptive - plain
rows = [(row["model"], f"{row['fid']:.2f}", row["loss"]) for row in quoted]
Table(["model of the sources", "FID", "loss"], rows)

# %% [markdown]
# S1, the source of {doc}`chapter 8 </chapters/08_adaptive>`, presents its adaptive-step term as an improvement, because the loss is lower. Its table has one row, with FID 21.87; the 11.81 of the same network stands in S0 and S3. Side by side the FID is almost doubled, and lower is better. If both numbers were measured in the same way, the pictures with the term were
# worse (one run does not say that the term did it). But no source says how they were measured. Compare with the real photographs above: a change of $N$ alone, with no model at all, moves the FID by more than these two differ. So the number is no evidence *for* the term, and without $N$, reference and seeds
# weak evidence against it.
#
# ## The paper's Table 1
#
# Now our own. Each number: 1,000 digits, classes in turn, in the given number of steps, against the 1,597 training digits, in the classifier's features. All of it, with the protocol and the commands, is in `results/`; the chapter only reads it, and shows the columns that are measured for all five rows. Behind ± stands half a 95% interval {eq}`eq:t-interval`, from three seeds.

# %%
def result(name):
    return json.loads(in_repository(f"results/{name}.json").read_text())


table, cells, ETAS = result("table1_digits"), {}, (0.0, 0.2, 0.5, 1.0, "hat")
files = sorted(path.stem for path in in_repository("results").glob("table1_digits*.json"))
every = [row for name in files for row in result(name)["rows"]]
for row in sorted(every, key=lambda row: row["seed"]):
    key = row["spacing"], row["eta"], row["steps"]
    cells.setdefault(key, []).append(row["value"])
columns = {name: [] for name in ("leading", "quadratic")}
for name, S in sorted({(name, S) for name, _, S in cells}):
    if all((name, eta, S) in cells for eta in ETAS):
        columns[name].append(S)
assert columns["leading"] == [5, 10, 20, 50, 100, 1000]
assert columns["quadratic"] == [5, 10, 20, 50, 100]


# %%
def ours(spacing, eta, S):
    return np.mean(cells[spacing, eta, S])


SIGNS = {eta: "σ̂" if eta == "hat" else f"η = {eta:g}" for eta in ETAS}
rows, every = [], columns["leading"]
for name, steps in columns.items():
    for eta in ETAS:
        three = {S: summary(cells[name, eta, S]) for S in steps}
        shown = {S: f"{of.mean:.2f} ± {of.half:.2f}" for S, of in three.items()}
        rows.append((f"{name}, {SIGNS[eta]}", *(shown.get(S, "") for S in every)))
assert {len(values) for values in cells.values()} == {3}  # seeds
Table(["ours, not FID", *(f"S = {S}" for S in every)], rows)

# %% tags=["hide-input"]
paper = table["paper"]["cifar10 fid"]
rows = []
for eta, row in paper.items():
    sign = "σ̂" if eta == "hat" else f"η = {eta}"
    rows.append((sign, *(f"{value:.2f}" for value in row.values())))
Table(["the paper's FID, CIFAR-10, quadratic", *(f"S = {S}" for S in paper["0"])], rows)

# %% mystnb={"figure": {"caption": "The classifier distance of the digits model against the number of steps, for five choices of noise and two spacings. Both axes are logarithmic. Where there are several seeds, dots are means and bars reach from the smallest to the largest.", "name": "fig-measuring-table1"}, "image": {"alt": "Two panels with lines against the number of steps on logarithmic axes. Left, leading spacing: the lines fall, then flatten; that of sigma-hat starts far above the others, falls most steeply and is below that of eta 1 from S = 50 on; 0.5, 0.2 and 0 lie close together at the bottom. Right, quadratic spacing: sigma-hat falls steeply from the top to below all others, while the line of eta 0 falls a little, then rises again and ends on top."}} tags=["hide-input"]
every = [row for name in files for row in result(name)["rows"]]
shown = [row for row in every if row["steps"] in columns[row["spacing"]]]
table1_figure({**table, "rows": shown})[0];

# %%
rows = []
for S in (10, 20):
    pairs = zip(cells["leading", 0.0, S], cells["leading", 1.0, S])
    each = sorted(noise / none for none, noise in pairs)
    theirs, hat = (paper[eta][str(S)] / paper["0"][str(S)] for eta in ("1", "hat"))
    assert each[0] > 1.2
    order = [ours("leading", eta, S) for eta in (0.0, 0.5, 1.0, "hat")]
    assert order == sorted(order)
    mine = f"{each[0]:.1f} to {each[-1]:.1f}", f"{order[3] / order[0]:.0f}"
    rows.append((f"S = {S}", mine[0], f"{theirs:.1f}", mine[1], f"{hat:.0f}"))
heads = "η = 1: ours, seed by seed", "the paper's", "σ̂: ours", "the paper's"
Table(["over the distance at η = 0", *heads], rows)

# %%
scatter = max(np.std(values, ddof=1) / np.mean(values) for values in cells.values())
print(f"seeds scatter by up to {scatter:.0%} of a number")
for eta in (0.0, 1.0):
    worst = [int(np.argmax(cells["leading", eta, S])) for S in columns["leading"]]
    print(f"eta {eta:g}, worst seed in each column: {worst}")
    assert (len(set(worst)) == 1) == (eta == 0)
low, middle, high = sorted(cells["leading", 0.0, 1000])
print(f"eta 0, S 1000: {low:.2f}, {middle:.2f}, {high:.2f}")
assert high > 1.6 * middle
assert paper["hat"]["50"] > 4 * paper["1"]["50"]

# %%
for eta in ETAS:
    assert ours("leading", eta, 5) > ours("leading", eta, 10) > ours("leading", eta, 20)
for S, low, high in ((50, "hat", 1.0), (5, 0.5, 0.0)):  # seed by seed
    pairs = zip(cells["leading", low, S], cells["leading", high, S])
    assert all(better < worse for better, worse in pairs)
spread = {}
for S in columns["leading"]:
    column = [ours("leading", eta, S) for eta in ETAS]
    spread[S] = max(column) / min(column)
    assert S < 50 or spread[S] < 2
heads = (f"S = {S}" for S in spread)
Table(["", *heads], [["worst row over best row", *(f"{v:.1f}" for v in spread.values())]])

# %%
chance = [in_turn(1000) for _ in range(20)]
floor = np.mean(chance)
print(f"1,000 training digits themselves: {floor:.2f} ± {np.std(chance):.2f}")
assert ours("leading", 0.0, 50) < floor + 3 * np.std(chance)
assert paper["hat"]["1000"] == min(row["1000"] for row in paper.values())

# %%
trio, apart, rows = ((0.5, 0.0), (1.0, 0.0), ("hat", 1.0)), {}, []
for S in columns["leading"]:
    for one, other in trio:
        pair = cells["leading", one, S], cells["leading", other, S]
        apart[one, other, S] = paired(*pair)
    three = (apart[*names, S] for names in trio)
    rows.append((f"S = {S}", *(f"{d.mean:.3f} ± {d.half:.2f}" for d in three)))
clear = {key: d for key, d in apart.items() if abs(d.mean) > d.half}
late = {key for key in clear if key[2] >= 50}
assert late == {("hat", 1.0, 100)} and apart["hat", 1.0, 100].mean < 0
assert {(0.5, 0.0, 5), (1.0, 0.0, 10)} <= set(clear) and (1.0, 0.0, 20) not in clear
assert apart[0.5, 0.0, 5].mean < 0 < apart[1.0, 0.0, 10].mean
heads = (f"{SIGNS[one]} minus {SIGNS[other]}" for one, other in trio)
Table(["seed by seed, 95%", *heads], rows)

# %% [markdown]
# The seeds first. With $\eta = 0$ the same seed is the worst in every column, and at 1000 steps nearly twice as far as the others: DDIM's picture is a function of its start, so an unlucky set of 1,000 starts stays unlucky. With $\eta = 1$ another seed is the worst up to 50 steps, and then the order changes.
#
# What the seed does to both rows cancels in their difference, so the last cell takes differences seed by seed. Three seeds make wide intervals all the same: from $S = 50$ on, one of nine leaves out 0, and the others support no order of the rows. (Of eighteen intervals about one leaves out 0 by chance.)
#
# Now the paper's claims, as shapes. *DDIM is ahead of $\eta = 1$ when steps are few*: yes, at $S = 10$ and 20 in every seed (at 20 the interval includes 0), and by ratios of the same size as on CIFAR-10. With other pictures, features, schedule and spacing that is partly luck. *$\hat\sigma$ collapses*: yes, though less deeply. *More steps help every row*: yes, until a row is flat, near the floor,
# the distance of 1,000 training digits themselves. DDIM is about there at $S = 50$.
# *With many steps the rows meet*: from $S = 50$ on they lie within a factor of two (each number contains the floor). Two things are not the paper's. $\hat\sigma$ is ahead of $\eta = 1$, as on the wide peaks of chapter 5: at $S = 50$ in every seed (the interval includes 0), at $S = 100$ by the interval. On CIFAR-10 it has four times the FID of $\eta = 1$ at 50. And at $S = 5$, $\eta = 0.5$ is better than no noise. Both hold for one model.
#
# The paper's numbers for CIFAR-10 come from *quadratic* spacing, which ends at $0.8\,T$. Does it help here?

# %%
S, rows = 20, []
for spacing in ("leading", "quadratic"):
    three = [ours(spacing, eta, S) for eta in (0.0, 0.5, "hat")]
    rows.append((spacing, *(f"{value:.2f}" for value in three)))
signal = model.schedule.alpha_bar[800].sqrt()
print(f"share of the picture at level 800: {signal:.2f}")
assert three[0] > 2 * ours("leading", 0.0, S) and three[0] > 1.5 * max(three[1:])
row = [ours("quadratic", 0.0, S) for S in columns["quadratic"][1:]]
assert row == sorted(row)
assert ours("quadratic", "hat", 50) < floor + 2 * np.std(chance)
Table(["S = 20", "η = 0", "η = 0.5", "σ̂"], rows)

# %% [markdown]
# Quadratic spacing does harm DDIM here, and turns the order round: even $\hat\sigma$ is ahead of it. Under the cosine schedule level 800 still holds part of the picture (the factor $\sqrt{\bar\alpha_t}$ is printed), and a start from pure noise is wrong there, as {doc}`chapter 6 </chapters/06_fewer_steps>` found with exact predictors. DDIM keeps the mistake; noise forgets part of it, as in chapter 5. More steps do not help DDIM: with quadratic spacing its row rises
# from 10 steps to 100, while that of $\hat\sigma$ comes down to the floor.
#
# The Fashion-MNIST model shows the same more strongly. Its table is smaller: three seeds of 250 pictures a cell.

# %%
clothes, files = {}, in_repository("results").glob("table1_fashion-mnist*.json")
every = [row for path in sorted(files) for row in result(path.stem)["rows"]]
for row in sorted(every, key=lambda row: row["seed"]):
    key = row["spacing"], row["eta"], row["steps"]
    clothes.setdefault(key, []).append(row["value"])
assert all(len(values) == 3 for values in clothes.values())
every, rows = (5, 10, 20, 50, 100), []
sizes = {"leading": every, "quadratic": every, "trailing": every[:3]}
for spacing, known in sizes.items():
    for eta in ETAS if spacing != "trailing" else (0.0, 1.0):
        means = [f"{np.mean(clothes[spacing, eta, S]):.1f}" for S in known]
        rows.append((f"{spacing}, {SIGNS[eta]}", *means, *[""] * (5 - len(known))))
Table(["clothes", *(f"S = {S}" for S in every)], rows)

# %%
real = result("floor_fashion-mnist")
print(f"250 real ones, classes in turn: {real['mean']:.1f} ± {real['sd']:.1f}")
half = {S: summary(clothes["leading", 0.0, S]).half for S in every}
for S in sizes["leading"]:
    pairs = zip(clothes["leading", 1.0, S], clothes["leading", 0.0, S])
    assert all(noise < none for noise, none in pairs)
left = dict.fromkeys(every, "")
for S, start in ((5, 801), (10, 901), (20, 951)):
    assert make_tau(1000, S, "leading")[-1] == start
    left[S] = f"{model.schedule.alpha_bar[start].sqrt():.2f}"
pairs = zip(clothes["trailing", 1.0, 20], clothes["trailing", 0.0, 20])
assert all(noise < none for noise, none in pairs)
rows = [("95% of η = 0: ±", *(f"{h:.1f}" for h in half.values()))]
rows.append(("of the picture left at the start", *left.values()))
Table(["leading", *(f"S = {S}" for S in every)], rows)

# %%
rows = []
for S in (5, 10, 20):
    lead = {}
    for spacing in ("leading", "trailing"):
        none, noise = (np.mean(clothes[spacing, eta, S]) for eta in (0.0, 1.0))
        lead[spacing] = none - noise
        assert none / noise < (2 if spacing == "leading" else 1.3)
    rows.append((f"S = {S}", *(f"{lead[spacing]:.1f}" for spacing in lead)))
    assert lead["trailing"] < 0.5 * lead["leading"]
few = clothes["trailing", 0.0, 5], clothes["leading", 0.0, 20]
assert np.mean(few[0]) < 1.25 * np.mean(few[1])
Table(["η = 1 is ahead by", "leading", "trailing"], rows)

# %%
at_50 = [np.mean(clothes["quadratic", eta, 50]) for eta in ETAS]
assert at_50[0] > at_50[2] > at_50[3] and min(at_50) > 15 * real["mean"]
flat = [np.mean(clothes["quadratic", 0.0, S]) for S in sizes["quadratic"]]
assert max(flat) < 1.06 * min(flat)
accuracy, right = result("accuracy_fashion-mnist"), {}
for row in accuracy["rows"]:
    right[row["steps"], row["eta"]] = [int(one) for one in row["right"]]
rows = [("real", f"{accuracy['accuracy_on_real']:.2f}", "", "")]
for S in (20, 50):
    gap = paired(right[S, 1.0], right[S, 0.0])
    two = (f"{np.mean(right[S, eta]):.2f}" for eta in (0.0, 1.0))
    rows.append((f"S = {S}", *two, f"{gap.mean:.2f} ± {gap.half:.2f}"))
    assert (gap.mean > gap.half) == (S == 50)
assert abs(gap.mean - 1 / 7) < 0.01
Table(["clothes told right", "η = 0", "η = 1", "more, 95%"], rows)

# %% [markdown]
# With `leading` spacing $\eta = 1$ is better than $\eta = 0$ in every column and every seed, against the first of the paper's claims. The start explains a part of it. The first level of `leading` still holds a share of the picture, so that pure noise is wrong there, and fresh noise forgets the mistake. `trailing` starts at $T$. With it DDIM's five steps are about
# as good as twenty by `leading`, and the lead of $\eta = 1$ is less than half of what it was. With `quadratic` no number of steps here mends DDIM's start: its row is flat, and only noise helps. Before one compares samplers, both have to start where the noise is.
#
# The start does not explain all. With `trailing`, where it is right, $\eta = 1$ is still ahead in every seed at 20 steps. The last cell has a second witness: 150 clothes by `trailing`, classes in turn, and the share of them that the shipped classifier takes for what they were asked to be.
# At 50 steps $\eta = 1$ has about a seventh of the 150 more right, and the interval, over pairs of the same start, leaves out 0. At 20 steps the interval includes 0.
# So fresh noise mends more than a wrong start, as it did with a wrong predictor in chapter 5.
#
# ## The paper's Table 2
#
# The round trip of {doc}`chapter 7 </chapters/07_ode>`, $x_0 \to x_T \to x_0$ on the 200 test digits, per dimension and with pictures in $[0, 1]$. The walk turns round at level 990; beyond that the cosine schedule multiplies every error of the network.

# %% tags=["hide-input"]
table2 = result("table2_digits")
theirs = next(iter(table2["paper"].values()))
by, rows = {row["steps"]: row for row in table2["rows"]}, []
for S, row in by.items():
    share, paper_s = row["standard_error"] / row["error"], theirs.get(str(S), "")
    mean, median = f"{row['error']:.1e}", f"{row['median']:.1e}"
    rows.append((f"S = {S}", mean, f"{share:.0%}", median, paper_s))

few = [S for S in by if S <= 100]
ours_, typical = ([by[S][key] for S in few] for key in ("error", "median"))
series = {"mean": ours_, "median": typical}
series["the paper's mean"] = [theirs[str(S)] for S in few]
powers = {name: power_law_exponent(few, errors)[0] for name, errors in series.items()}
print("to S = 100:", ", ".join(f"{k} as S^-{v:.1f}" for k, v in powers.items()))
Table(["digits, there and back", "mean", "±", "median", "the paper's mean"], rows)

# %% [markdown]
# The column ± is the standard error as a share of the mean. A first-order method has an error proportional to $1/S$, so its square should fall as $1/S^2$. The mean does not, here or in the paper, whose exponent is about the same. Our standard errors say why: if one of the 200 pictures had all of the error,
# the share would be exactly 100%. From $S = 100$ on it is nearly that, but for $S = 500$, where no digit is lost and the mean is hundreds of times smaller than on either side. The **median** is the error of the typical digit. It falls as $1/S^2$ and from $S = 100$ faster, at 500 to below $10^{-6}$, and at 990 no further.

# %% mystnb={"figure": {"caption": "Error of the round trip against the number of steps each way: mean and median over the 200 held-out digits for our model, and the mean of the paper's CIFAR-10 model. Bars are two standard errors of the mean.", "name": "fig-measuring-table2"}, "image": {"alt": "Three lines on logarithmic axes. The paper's falls on top and levels off from S = 500. Our mean lies below it and falls about as fast until S = 200, drops far down at S = 500 and is back up, above the paper's, at S = 990; its bars reach down to the bottom. Our median lies lowest and falls most steeply, until S = 500."}} tags=["hide-input"]
table2_figure(table2)[0];

# %%
assert 0.7 < powers["mean"] < 1.5 and 0.7 < powers["the paper's mean"] < 1.5
assert 1.7 < powers["median"] < 2.3 and by[990]["median"] < 1e-6
for S in (100, 200, 990):
    assert by[S]["standard_error"] > 0.85 * by[S]["error"] > 85 * by[500]["error"]

images = test.float() / 127.5 - 1
tau = make_tau(990, 20, "leading")  # as the table
x_T = invert(model.model, images, model.schedule, tau)
*_, last = ddim_path(model.model, x_T, model.schedule, tau)
each = ((last.x_s - images) / 2).square().mean((1, 2, 3)).sort().values
worst = each[-5:].sum() / each.sum()
print(f"S = 20: mean {each.mean():.4f}, median {each.median():.4f}; of the worst five {worst:.1f}")
assert each[-5:].sum() > 0.25 * each.sum()
assert abs(each.mean() / by[20]["error"] - 1) < 0.01

# %% [markdown]
# So the typical digit obeys the rule, and from $S = 100$ on one digit in 200 decides the mean, if one is lost. Whether the paper's mean falls slowly for the same reason cannot be said: its table has no medians and no standard errors.
#
# ## What breaks: a byte that overflows
#
# Between sampler and measure stands one line that makes bytes. What a sampler makes without clipping leaves $[-1, 1]$ a little. Leave out the clamp, and in some libraries 256 becomes 0: the whitest pixels turn black.

# %%
x = last.x_s  # the 200 pictures that made the round trip
right = to_uint8(x)
wrong = (((x + 1) * 127.5).round().int() % 256).byte()
share = (right != wrong).double().mean()
scores_ = [distance(network.compute(images)) for images in (right, wrong)]
print(f"{share:.0%} of the pixels differ; distance {scores_[0]:.1f} becomes {scores_[1]:.1f}")
assert scores_[1] > 2 * scores_[0]

# %% [markdown]
# One pixel in a hundred, and the model is the same. Look at the pictures that were measured before you blame a network.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: covariances that commute
# :label: ex-measuring-commute
# *Derive · two stars · 20 minutes*
#
# Show that {eq}`eq:frechet` becomes $\lVert \mu_1 - \mu_2\rVert^2 + \sum_i (\sqrt{\lambda_i} - \sqrt{\kappa_i})^2$ if $C_1$ and $C_2$ have the same eigenvectors, with eigenvalues $\lambda_i$ and $\kappa_i$. What is it in one dimension?
# Hand in a function `distance(mu_1, mu_2, lam, kappa)` of four vectors, the means along the common axes and the eigenvalues: `check("ex-measuring-commute", distance)`.
# ```
#
# ````{solution} ex-measuring-commute
# :class: dropdown
# In the common axes all matrices are diagonal, and $(C_1^{1/2} C_2 C_1^{1/2})^{1/2}$ has the entries $\sqrt{\lambda_i \kappa_i}$. So $\lambda_i + \kappa_i - 2\sqrt{\lambda_i\kappa_i}$ remains. In one dimension: $(\mu_1 - \mu_2)^2 + (\sigma_1 - \sigma_2)^2$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.measuring.metrics import frechet_distance
#
# def distance(mu_1, mu_2, lam, kappa):
#     means = (mu_1 - mu_2).square().sum()
#     return means + (lam.sqrt() - kappa.sqrt()).square().sum()
#
# g = torch.Generator().manual_seed(0)
# axes = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64)).Q
# first, second = torch.rand(2, 5, generator=g, dtype=torch.float64)
# C_1, C_2 = axes @ first.diag() @ axes.T, axes @ second.diag() @ axes.T
# zero = torch.zeros(5)
# expected = distance(zero, zero, first, second)
# assert abs(frechet_distance(zero, C_1, zero, C_2) - expected) < 1e-12
# assert check("ex-measuring-commute", distance)
# ```
# ````
#
# ```{exercise} Derive: the bias in one dimension
# :label: ex-measuring-bias
# *Derive · two stars · 20 minutes*
#
# For $\mathcal N(0, \sigma^2)$ derive the bias $\tfrac32 \sigma^2 / N$ directly from $(\hat\mu - \mu)^2 + (\hat\sigma - \sigma)^2$, and compare with {eq}`eq:frechet-bias`.
# Hand in its two parts, the mean's and the standard deviation's, as a function `parts(sigma, N)`: `check("ex-measuring-bias", parts)`.
# ```
#
# ````{solution} ex-measuring-bias
# :class: dropdown
# $E(\hat\mu - \mu)^2 = \sigma^2/N$. And $\hat\sigma - \sigma \approx (\hat\sigma^2 - \sigma^2)/(2\sigma)$ with $\operatorname{Var} \hat\sigma^2 \approx 2\sigma^4/N$ gives $\sigma^2/(2N)$. In the formula, $b_\mu = \lambda$ and $b_C = \tfrac12 \cdot 2 \cdot \lambda^2/(2\lambda) = \lambda/2$.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def parts(sigma, N):
#     return sigma**2 / N, sigma**2 / (2 * N)
#
# g = torch.Generator().manual_seed(0)
# x = 3 * torch.randn(20_000, 100, generator=g, dtype=torch.float64)
# found = x.mean(1).square(), (x.std(1) - 3).square()
# for part, expected in zip(found, parts(3, 100)):
#     error = part.std() / 20_000**0.5
#     assert abs(part.mean() - expected) < 6 * error + 0.02 * expected
# assert check("ex-measuring-bias", parts)
# ```
# ````
#
# ```{exercise} Code: KID with a bias
# :label: ex-measuring-kid
# *Code · two stars · 25 minutes*
#
# Keep the terms $i = j$ in {eq}`eq:kid` and divide by $n^2$. How large is the bias for two samples of the same distribution? Check it with $\mathcal N(0, I)$ in 8 dimensions.
# Hand in the bias as a function `bias(same, other, n)` of $E\,k(x, x)$ and $E\,k(x, x')$: `check("ex-measuring-kid", bias)`.
# ```
#
# ````{solution} ex-measuring-kid
# :class: dropdown
# The mean within a set becomes $\bigl(n\,E k(x, x) + n(n-1)\, E k(x, x')\bigr)/n^2$. It exceeds $E k(x, x')$ by $\bigl(E k(x, x) - E k(x, x')\bigr)/n$, for both sets.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def bias(same, other, n):
#     return 2 * (same - other) / n
#
# g, n = torch.Generator().manual_seed(0), 50
# k = lambda a, b: (a @ b.mT / 8 + 1) ** 3
# x, y = torch.randn(2, 4_000, n, 8, generator=g, dtype=torch.float64)
# biased = k(x, x).mean((1, 2)) + k(y, y).mean((1, 2)) - 2 * k(x, y).mean((1, 2))
# same = (x.square().sum(-1) / 8 + 1) ** 3
# expected = bias(same.mean(), k(x, y).mean(), n)
# error = biased.std() / 4_000**0.5
# assert abs(biased.mean() - expected) < 6 * error
# assert check("ex-measuring-kid", bias)
# ```
# ````
#
# ```{exercise} Break: the best of many
# :label: ex-measuring-best
# *Break · one star · 15 minutes*
#
# A paper reports the best of ten seeds, its competitor a single run. Both samplers are perfect. With 400 draws from $\mathcal N(0, I)$ in 8 dimensions for each run, how often does the paper win?
# Hand in the share for the best of any number of seeds, as a function `wins(k)`: `check("ex-measuring-best", wins)`.
# ```
#
# ````{solution} ex-measuring-best
# :class: dropdown
# All eleven distances have the same distribution, so the single run is the least with probability 1/11. The paper wins in ten of eleven cases.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov
#
# def wins(k):
#     return k / (k + 1)
#
# g, mu, C = torch.Generator().manual_seed(0), torch.zeros(8), torch.eye(8)
# won, trials = 0, 100
# for _ in range(trials):
#     runs = [mean_and_cov(torch.randn(400, 8, generator=g)) for _ in range(11)]
#     values = [frechet_distance(*run, mu, C) for run in runs]
#     won += min(values[:10]) < values[10]
# assert abs(won / trials - wins(10)) < 4 * (10 / 121 / trials) ** 0.5
# assert check("ex-measuring-best", wins)
# ```
# ````
#
# ## Summary
#
# 1. FID is the least cost of moving one Gaussian into another, between means and covariances of features. It sees two moments and nothing else.
# 2. Its value from $N$ samples is too large by $b/N$, where $b$ follows from the eigenvalues of the covariance. Compare at equal $N$, or extrapolate to $1/N = 0$.
# 3. Reference, resizing, rounding and the order of classes move it without any change of the model. A number needs its protocol.
# 4. It cannot see copies: look at nearest neighbours. KID has no bias; precision and recall say which side is wrong.
# 5. DDIM beats $\eta = 1$ on the digits when steps are few, and $\hat\sigma$ collapses; on the clothes $\eta = 1$ is ahead, in part because of where the spacing starts. The round trip's error falls as $1/S^2$ for the typical digit, while single digits decide the mean.
#
# **Next.** Chapter 12 uses what only a deterministic sampler has, a space of starts to move about in. In the package, read {py:mod}`ddim_edu.measuring.metrics`, and try `python -m ddim_edu.evaluate compare` on two results of different protocols.
