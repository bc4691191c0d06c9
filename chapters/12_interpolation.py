# %% [markdown]
# (ch-interpolation)=
# # Interpolation and latent geometry
#
# **Question.** With $\eta = 0$ a picture is a function of its latent $x_T$, and by inversion nearly the other way round too. What lies half-way
# between two latents? And is it what lies half-way between two pictures?

# %% tags=["hide-input"]
import base64
import json

import numpy as np
import torch
from einops import rearrange
from scipy.special import gammaln
from torch.nn.functional import avg_pool2d
from torch.special import ndtr, ndtri

# %% tags=["hide-input"]
from ddim_edu.apps.interpolate import angle, lerp, slerp, square
from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.named import digits
from ddim_edu.data.pictures import from_text
from ddim_edu.exact import EmpiricalData, Gaussian, GaussianMixture
from ddim_edu.files import in_repository
from ddim_edu.measuring.metrics import sharpness
from ddim_edu.measuring.statistics import holm
from ddim_edu.models import load, load_classifier
from ddim_edu.plotting import Table, figure, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

# %% mystnb={"figure": {"caption": "Between two drawn faces, the first and the last of each row. Arc: frames decoded from latents along an arc. Line: from latents along the straight line. Cross-fade: means of the two pictures. Faces after drawings by Pablo Stanley (CC0), Micah Lanier, Johan Melin and Draftbit (CC BY 4.0).", "name": "fig-interpolation-teaser"}, "image": {"alt": "Three rows of eight small drawn faces in colour, all from the same first to the same last face. Arc: every frame is one clear face, laughing half-way. Line: the same faces with paler hair and skin in the middle. Cross-fade: both faces at once, as ghosts."}} tags=["hide-input"]
artist, shares = load("faces"), torch.linspace(0, 1, 8).tolist()
a, b = draw(torch.empty(2, 1, 3, 32, 32), torch.Generator().manual_seed(5))
rows = {}
for name, way in (("arc", slerp), ("line", lerp)):
    latents = torch.cat([way(a, b, u) for u in shares])
    rows[name] = decode(artist.model, latents, artist.schedule, make_tau(1000, 15))
ends = rows["arc"][:1], rows["arc"][-1:]
rows["cross-fade"] = torch.cat([lerp(*ends, u) for u in shares])
picture_rows(rows);

# %% [markdown]
# Half-way between two latents lies a whole face, and no mixture of two. The straight line leads to almost the same faces, a little pale: at the middle, "line or arc?" is a question of length alone. The mean of the two *pictures* shows both at once.
#
# At the end of this chapter you will have checked, by running it,
#
# - how long a latent is, and where the straight line between two of them leads;
# - what a latent that is too short decodes to: three predictors, three answers, and what a classifier notices of them;
# - that for Gaussian data interpolating latents is cross-fading pictures, and that on a line it is interpolating ranks;
# - why the latents of real pictures are too short, and that they should be left so;
# - what becomes of motion, of directions that stand for a class, and of all this when the sampler draws noise.
#
# The chapter opens {py:mod}`ddim_edu.apps.interpolate`.

# %%
generator = torch.Generator().manual_seed(0)
schedule, trained = NoiseSchedule.linear(), load("digits")
cosine, tau = trained.schedule, make_tau(990, 20, "trailing")

# %% [markdown]
# ## Line and arc
#
# A latent $x_T \sim \mathcal N(0, I)$ has $d$ coordinates, 64 for the digits. Each has mean square 1, so $E\lVert x_T \rVert^2 = d$. How far can the length stray from $\sqrt d$? Write
# $n = \lVert x_T \rVert$. Since $n + \sqrt d \ge \sqrt d$, and since the square of a normal number has variance 2,
#
# $$
# \begin{aligned}
# E\,(n - \sqrt d)^2 &= E\, \frac{(n^2 - d)^2}{(n + \sqrt d)^2} \\
#  &\le \frac{\operatorname{Var}(n^2)}{d} = \frac{2d}{d} = 2 .
# \end{aligned}
# $$ (eq:norm-bound)
#
# The bound does not grow with $d$. In 784 dimensions the length is 28, give or take one: latents lie in a thin shell, and the neighbourhood of the origin, where the density is highest, is never visited. (The exact
# value is $2d - 2\sqrt d\, E\,n$ with $E\,n = \sqrt 2\, \Gamma(\tfrac{d+1}{2})/\Gamma(\tfrac d2)$; it tends to $\tfrac12$.)

# %%
# checks eq:norm-bound
rows = []
for d in (1, 4, 64, 784):
    mean = 2**0.5 * np.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
    exact = 2 * d - 2 * d**0.5 * mean  # E (n - sqrt d)^2
    x = torch.randn(5_000, d, generator=generator, dtype=torch.float64)
    found = (x.norm(dim=1) - d**0.5).square()
    assert abs(found.mean() - exact) < 5 * found.std() / 5_000**0.5
    assert exact < 2
    rows.append((d, f"{mean:.2f}", f"{d**0.5:g}", f"{exact:.3f}"))
Table(["dimensions d", "mean length", "√d", "E (length − √d)²"], rows)

# %% [markdown]
# The straight line between two latents, or **lerp** (linear interpolation), leaves the shell. For independent $a, b \sim \mathcal N(0, I)$ each coordinate of $(1 - u)\,a + u\,b$, with $u$ from 0 to 1, has variance
#
# $$
# (1 - u)^2 + u^2 ,
# $$ (eq:lerp-variance)
#
# which is $\tfrac12$ half-way. The other way is along the arc of a circle, **slerp** (spherical linear interpolation, from computer animation {cite}`shoemake1985slerp`; for latents {cite}`white2016latents`; appendix D.5 of {cite:t}`song2021ddim`). With $\theta$ the angle between $a$ and $b$,
#
# $$
# \operatorname{slerp}(a, b; u) = \frac{\sin (1-u)\theta}{\sin\theta}\, a + \frac{\sin u\theta}{\sin\theta}\, b .
# $$ (eq:slerp)
#
# In many dimensions two draws are almost orthogonal: $a \cdot b$ has variance $d$, so $\cos\theta$ is about $1/\sqrt d$ in size. At $\theta = \pi/2$ the weights are $\cos \tfrac{\pi u}{2}$ and $\sin \tfrac{\pi u}{2}$, whose squares add up to 1, and a sum of
# independent normal vectors with such weights is standard normal again. So every point of the arc is, very nearly, as good a latent as the ends.
# Half-way the two methods even agree on the direction, because $\sin\tfrac\theta2/\sin\theta = 1/(2\cos\tfrac\theta2)$:
#
# $$
# \operatorname{slerp}(a, b; \tfrac12) = \frac{\operatorname{lerp}(a, b; \tfrac12)}{\cos \tfrac\theta2} .
# $$ (eq:same-direction)

# %%
# checks eq:lerp-variance, eq:slerp, eq:same-direction
a, b = torch.randn(2, 4_000, 64, generator=generator, dtype=torch.float64)
theta = angle(a, b)
print(f"angle {theta.mean():.3f} ± {theta.std():.3f} (sd); 1/√d = {1 / 8}")
rows = []
for u in (0.25, 0.5):
    line, arc = lerp(a, b, u), slerp(a, b, u)
    weight = [(v * theta).sin() / theta.sin() for v in (1 - u, u)]
    by_hand = weight[0][:, None] * a + weight[1][:, None] * b
    assert torch.allclose(arc, by_hand, rtol=0, atol=1e-12)
    for x, expected in ((line, (1 - u) ** 2 + u**2), (arc, 1.0)):
        rows.append((f"{'line' if x is line else 'arc'}, u = {u}", f"{x.var():.2f}", expected))
        assert abs(x.var() / expected - 1) < 0.03
assert torch.allclose(arc, line / (theta / 2).cos()[:, None], rtol=0, atol=1e-12)
Table(["variance of a coordinate", "measured", "theory"], rows)

# %% [markdown]
# So at the middle, "line or arc?" is a question of length alone. The midpoint of a line between two draws is a draw from $\mathcal N(0, \tfrac12 I)$: *what does a model make of a latent that is too short, by the factor* $r = \sqrt{1/2}$? We ask an exact predictor first.
#
# ## What a Gaussian says: cross-fading
#
# ```{prf:theorem} For Gaussian data, decoding is affine
# :label: thm-affine-decoding
# Let the data be $\mathcal N(m, C)$ and the predictor exact. For every $\tau$, DDIM's map from latent to picture is
#
# $$
# D(x) = D(0) + A x
# $$ (eq:affine-decoding)
#
# with a matrix $A$. Hence, for any numbers $p$ and $q$,
#
# $$
# \begin{aligned}
# D(pa + qb) &= D(0) \\
#   &\quad {}+ p\,(D(a) - D(0)) \\
#   &\quad {}+ q\,(D(b) - D(0)) .
# \end{aligned}
# $$ (eq:cross-fade)
# ```
#
# ```{prf:proof}
# $q_t$ is Gaussian, so $\ln q_t$ is quadratic and, by {eq}`eq:tweedie`, $\epsilon^*$ is affine in $x_t$. A step {eq}`eq:clock-step` adds a multiple of it to a multiple of $x_t$, which is affine; so is a chain of affine maps. The second equation is $A(pa + qb) = p\,Aa + q\,Ab$.
# ```
#
# Take $p = 1 - u$, $q = u$: on the straight line $D(\operatorname{lerp})$ is the pixel-wise average of the two pictures, a **cross-fade**, whatever the picture shows. Half-way on the arc, $p = q \approx \sqrt{1/2}$: it is the same cross-fade with its contrast raised by $\sqrt2$, measured from the mean picture $D(0)$. And the latent $ra$ decodes to
# the picture of $a$ with its contrast multiplied by $r$. Short latents are pale pictures. We check it on the Gaussian that has the mean and covariance of the training digits. (Latents are drawn at level 990 in this chapter, since beyond it the cosine schedule multiplies every error, as {ref}`chapter 11 <ch-measuring>` saw.)

# %%
# checks eq:affine-decoding, eq:cross-fade
data = digits()
train, heldout = data.floats(data.train), data.floats(data.heldout)
flat = train.flatten(1).double()
one = Gaussian(flat.mean(0), flat.T.cov(), cosine)

def D(x):
    return decode(one.eps, x, cosine, tau)


a, b = torch.randn(2, 200, 64, generator=generator, dtype=torch.float64)
centre = D(torch.zeros(1, 64).double())
for p, q in ((0.5, 0.5), (0.5**0.5, 0.5**0.5), (0.3, 0.0), (-1.0, 2.0)):
    faded = centre + p * (D(a) - centre) + q * (D(b) - centre)
    assert torch.allclose(D(p * a + q * b), faded, rtol=0, atol=1e-9)
pale = D(lerp(a, b, 0.5)).var(0).mean() / D(a).var(0).mean()
print(f"variance of the lines' middles over that of the ends: {pale:.2f}")
assert abs(pale - 0.5) < 0.05 and (centre - flat.mean(0)).abs().max() < 0.05

# %% [markdown]
# A cross-fade of two digits is no digit. If films of latents show digits all the way, it is because the data is *not* Gaussian.
#
# ## What a line says: ranks
#
# On a line chapter 7 has the map for any data: $F_0(x_0) = F_T(x_T)$ {eq}`eq:quantile`. With $F_T = \Phi$, which the linear schedule makes true to three digits, latents are the *normal scores* of their pictures: each is the number below which a standard normal draw falls as often as
# data falls below $x_0$. So on the line through the latents of $x_0$ and $y_0$, the scores are interpolated:
#
# $$
# \begin{aligned}
# \Phi^{-1} F_0(D(\operatorname{lerp})) &= (1 - u)\, \Phi^{-1} F_0(x_0) \\
#   &\quad {}+ u\, \Phi^{-1} F_0(y_0) .
# \end{aligned}
# $$ (eq:normal-scores)
#
# Differentiating $F_0(D(x)) = F_T(x)$ gives the speed at which the picture changes as the latent moves, the slope of $D$:
#
# $$
# D'(x) = \frac{q_T(x)}{q_0(D(x))} .
# $$ (eq:inverse-density)
#
# Where data is dense, pictures change slowly. Where data is rare, they **hurry**. The gap between two kinds of data is crossed at the highest speed, and so hardly any frame of a film lies in it.

# %%
# checks eq:normal-scores, eq:inverse-density
peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
every = make_tau(1000, 1000)

def score(x):
    parts = ndtr((x - peaks.means[:, 0]) / peaks.covs[:, 0, 0].sqrt())
    return ndtri(parts @ peaks.weights)


x = torch.linspace(-2, 2, 81, dtype=torch.float64)[:, None]  # a line of latents
found, u = decode(peaks.eps, x, schedule, every), torch.linspace(0, 1, 81)
scores = score(found)
assert (scores - (1 - u) * scores[0] - u * scores[-1]).abs().max() < 0.02

# %%
def slopes(x, h=1e-7):
    """What is decoded from x, its slope by differences, and by the formula."""
    found = decode(peaks.eps, x, schedule, every)
    slope = (decode(peaks.eps, x + h, schedule, every) - found)[:, 0] / h
    return found, slope, (peaks.log_prob(x, 1000) - peaks.log_prob(found)).exp()


found, slope, speed = slopes(x)
within = int(((found > -0.6) & (found < 0)).sum())
off = (slope / speed - 1).abs().max()
print(f"81 latents: slope {slope.min():.1f} to {slope.max():.1f}, by the formula within {off:.0%};")
print(f"of them decode into the gap: {within}")
assert off < 0.1 and within == 0

# %% [markdown]
# None of the 81 latents decodes into the gap between the peaks, from −0.6 to 0. The claim is about the gap, so look there. The map is increasing: the gap's latents lie between the last one that decodes to less than −0.6 and the first one that decodes to more than 0.

# %%
inner, out = x, found
for n in (81, 401):
    left, right = inner[out < -0.6].max(), inner[out > 0].min()
    inner = torch.linspace(left.item(), right.item(), n, dtype=torch.float64)[:, None]
    out, steep, formula = slopes(inner)
wide = right - left
print(f"the gap, 0.6 wide, takes {wide:.2f} of the latents' line")
steepest, foreseen = (round(v.max().item(), -2) for v in (steep, formula))
off = (steep / formula - 1).abs().max()
print(f"slope there up to {steepest:,.0f}; by the formula {foreseen:,.0f}, off by up to {off:.0%}")
assert steep.max() > 300 * slope.max() and -0.6 < out[steep.argmax()] < 0
assert wide < 0.02 and (steep / formula - 1).abs().max() < 0.25

# %% [markdown]
# At the rarest place the picture moves hundreds of times as fast as at any of the 81 latents. (There the formula is off by a fifth: it is exact for infinitely short steps, and a thousand are not enough where the slope changes so fast.)
#
# In many dimensions there is no such formula, but the pattern is the same. Along arcs between drawn latents, digits change little in most frames and much in a few: those in which they become another digit. (`benchmarks/interpolation.py` measured this and the tables below; ± is half an interval of 95%.)

# %%
path = in_repository("results/interpolation.json")
study = json.loads(path.read_text(encoding="utf8"))["models"]


def pm(pair, digits=2):
    return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"


def having(piece):
    return [(name, of[piece]) for name, of in study.items() if piece in of]


moves = study["digits"]["speed"]
assert moves["where_class_changes"][0] > 2 * moves["elsewhere"][0]
turns, head = moves["turning"], f"{moves['pairs']} arcs of {moves['frames']} frames"
rows = [(f"where the class changes, on {turns}", pm(moves["where_class_changes"], 3))]
Table([head, "rms change of a frame"], [*rows, ("elsewhere", pm(moves["elsewhere"], 3))])

# %% mystnb={"figure": {"caption": "Left: the decoded value along a line of latents, data with peaks at −1 and 0.6 (grey: its density, sideways). The gap is crossed in a leap. Right: three arcs between drawn latents of the digits model, and by how much the picture changes from frame to frame; dots mark frames where the classifier's answer changes. One of the arcs never changes its digit.", "name": "fig-interpolation-speed"}, "image": {"alt": "Left, an increasing curve with two flat stretches near -1 and 0.6 and a steep rise between them, beside a grey density with two humps. Right, three irregular lines of small height; two have narrow peaks, on which most dots sit, and one has neither peak nor dot."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.7)
at = torch.linspace(-1.6, 1.4, 200, dtype=torch.float64)[:, None]
density = peaks.log_prob(at).exp()
left.fill_betweenx(at[:, 0], 2 - density, 2, color="0.85")
left.plot(x, found)
left.set(xlabel="latent", ylabel="decoded", xlim=(-2, 2))
judge, frames = load_classifier("digits").model, 33
ends = draw(torch.empty(6, 1, 8, 8), torch.Generator().manual_seed(4))
shares = torch.linspace(0, 1, frames).tolist()
for k in range(3):
    a, b = ends[2 * k : 2 * k + 2, None]
    arc = torch.cat([slerp(a, b, v) for v in shares])
    pictures = decode(trained.model, arc, cosine, tau)
    change = pictures.diff(dim=0).square().mean((1, 2, 3)).sqrt()
    turns = judge(pictures).argmax(1).diff() != 0
    middle = (np.array(shares[1:]) + shares[:-1]) / 2
    right.plot(middle, change, lw=1)
    right.plot(middle[turns], change[turns], "o", ms=4, color=f"C{k}")
right.set(xlabel="u", ylabel="change per frame");

# %%
leap = change.max() / change.median()
right = (judge(heldout).argmax(1) == data.heldout_labels).double().mean()
print(f"last arc: largest change over median {leap:.0f}; held-out digits judged right {right:.0%}")
assert leap > 3 and right > 0.95

# %% [markdown]
# ## Too short: three answers
#
# Back to the latent $r x_T$ with $r < 1$. One Gaussian makes it pale. Real data is closer to a mixture, so let the truth be one: for each class of digits a Gaussian with the mean and covariance of its training images, and the exact predictor of that. Beside it, the digits model, and as a judge the classifier of the last cell. The variance is that of a pixel over the pictures. **Sharpness** is the mean square of the discrete Laplacian (four neighbours minus four times the pixel, pictures in $[0, 1]$): detail raises it, blur and paleness lower it.

# %%
classes = [flat[data.train_labels == k] for k in range(10)]
mean = torch.stack([x.mean(0) for x in classes])
cov = torch.stack([x.T.cov() + 1e-4 * torch.eye(64) for x in classes])
ten = GaussianMixture(torch.ones(10), mean, cov, cosine)

def exact_eps(x, t):
    return ten.eps(x.flatten(1), t).view_as(x)


z, short, rows = draw(torch.empty(100, 1, 8, 8), generator), {}, []
for name, eps_theta in (("mixture", exact_eps), ("network", trained.model)):
    for r in (0.5, 0.5**0.5, 1.0):
        short[name, r] = x = decode(eps_theta, r * z, cosine, tau)
        said = judge(x.clamp(-1, 1)).argmax(1)
        eights, spread = (said == 8).double().mean(), x.var(0).mean()
        three = eights, spread, sharpness(x.clamp(-1, 1)).mean()
        rows.append((f"{name}, r = {r:.2f}", *(f"{value:.2f}" for value in three)))
Table(["predictor, length", "share of eights", "variance", "sharpness"], rows)

# %%
def eights(name, r):
    return (judge(short[name, r].clamp(-1, 1)).argmax(1) == 8).double().mean()


def spread(name, r):
    return short[name, r].var(0).mean()


def crisp(name, r):
    return sharpness(short[name, r].clamp(-1, 1)).mean()


for name in ("mixture", "network"):
    assert spread(name, 0.5) < spread(name, 0.5**0.5) < spread(name, 1.0)
    assert eights(name, 0.5) > eights(name, 1.0)
assert crisp("mixture", 0.5) < 0.7 * crisp("mixture", 1.0)
assert crisp("network", 0.5) > 0.85 * crisp("network", 1.0)
zero = [decode(e, 0 * z[:1], cosine, tau) for e in (exact_eps, trained.model)]
print("r = 0 decodes to", *(judge(x.clamp(-1, 1)).argmax().item() for x in zero), end="; ")
nearest = (mean - flat.mean(0)).norm(dim=1).argsort()
print("classes, nearest mean to that of all first:", *nearest.tolist())

# %% [markdown]
# As $r$ falls, all latents move towards one point, the origin, and all pictures towards one picture. For both predictors that is an 8, the digit whose class mean is nearest to the mean of all digits. The variety of the pictures falls for both, for the network less. But the mixture's pictures turn pale, with half of their sharpness at $r = 0.5$, and the network's pictures
# keep their sharpness: the network has never seen a pale digit.
#
# Now the same with the Fashion-MNIST model, 28 × 28 pixels.

# %%
clothes = load("fashion-mnist")
z28, rows = draw(torch.empty(10, 1, 28, 28), torch.Generator().manual_seed(5)), []
for r in (0.5**0.5, 0.85, 1.0):
    short["clothes", r] = x = decode(clothes.model, r * z28, cosine, tau)
    rows.append((f"r = {r:.2f}", f"{spread('clothes', r):.3f}", f"{x.mean():.2f}"))
assert spread("clothes", 0.5**0.5) < 0.1 * spread("clothes", 1.0)
assert torch.equal(clothes.schedule.alpha_bar, cosine.alpha_bar)
Table(["clothes", "variance over pictures", "mean grey value"], rows)

# %% mystnb={"figure": {"caption": "Ten latents of the digits model and ten of the Fashion-MNIST model, multiplied by r (at the left) and decoded. Each column keeps its direction. Rows with r = 0.71 are what straight lines between draws have in the middle.", "name": "fig-interpolation-norms"}, "image": {"alt": "Six rows of ten small grey pictures. Three rows of digits, all clean, with r 0.5, 0.71 and 1; in some columns the digit differs from row to row. Three rows of clothes: at r 1 bright and detailed, at 0.85 dark and flat, mostly of the same kind, at 0.71 almost black."}} tags=["hide-input"]
fig, axes = figure(1, 6, height=4.9)
rows = [("network", r) for r in (0.5, 0.5**0.5, 1.0)]
rows += [("clothes", r) for r in (0.5**0.5, 0.85, 1.0)]
for ax, key in zip(axes, rows):
    row = rearrange(short[key][:10], "n 1 h w -> h (n w)")
    ax.imshow((row + 1) / 2, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], ylabel=f"{key[1]:.2g}")
    ax.grid(False)
fig.align_ylabels();

# %% [markdown]
# The clothes go out. That is more than contrast times 0.7, so {eq}`eq:cross-fade` does not explain it. Look at the first step. Nearly all of $x_T$ is noise, and a predictor should say $\hat\epsilon \approx x_T$ at any length. Suppose it says $(1 + \delta)\, x_T$ instead. By {eq}`eq:unmix`
#
# $$
# \begin{aligned}
# \hat x_0 &= \frac{1 - \sqrt{1 - \bar\alpha_T}\,(1 + \delta)}{\sqrt{\bar\alpha_T}}\; x_T \\
#   &\approx -\delta\, \nu_T\, x_T .
# \end{aligned}
# $$ (eq:overshoot)
#
# With $\nu = 64$, the clock at level 990 where we start, an error of a hundredth in the scale of the noise is an error of 0.64 in the picture: too much noise is taken away, what is left is shorter still, and the next step meets an even stranger input. (So the state becomes too short. That it ends in black, of all pictures, we only observe.) So we measure $\delta$, by regression of the prediction on $r x_T$.

# %%
def overshoot(eps_theta, x):
    eps = eps_theta(x, torch.full((len(x),), 990))
    return ((eps * x).sum() / x.square().sum() - 1).item(), eps


# %%
# checks eq:overshoot
abar, nu = cosine.alpha_bar[990], cosine.nsr[990].item()
made, rows = [("mixture", exact_eps, z), ("digits", trained.model, z)], []
for name, eps_theta, x in [*made, ("clothes", clothes.model, z28)]:
    delta = [overshoot(eps_theta, r * x)[0] for r in (0.5**0.5, 0.85, 1.0)]
    said = (f"{round(d, 3) + 0.0:+.3f}" for d in delta)  # no -0.000
    rows.append((name, *said))
delta, eps = overshoot(clothes.model, 0.5**0.5 * z28)
x0_hat = (0.5**0.5 * z28 - (1 - abar).sqrt() * eps) / abar.sqrt()
found = (x0_hat * z28).sum() / z28.square().sum() * 2**0.5
exact = (1 - (1 - abar).sqrt() * (1 + delta)) / abar.sqrt()
print(f"clothes: predicted x_0 against x_T, slope {found:.1f}, by the formula {-delta * nu:.1f}")
assert abs(found - exact) < 0.1 and abs(found + delta * nu) < 0.1
Table(["δ", "r = 0.71", "r = 0.85", "r = 1"], rows)

# %% [markdown]
# The exact predictor's $\delta$ is small at every length. A network has hardly seen more than one length. The network for clothes, given noise of length 20, predicts noise that is longer, as if drawn to the length 28 that it knows. The network for digits hardly does so. We cannot say why. One difference is known: lengths around 8 are spread wider (by 9%) than lengths around 28 (by 2.5%).

# %% tags=["hide-input"]
def from_data(row):
    return "{:.1f} ({:.1f})".format(*row["classifier_distance"])


rows, heads = [], ("confidence", "sharpness", "variance", "distance (se)")
for name, block in having("norms"):
    assert all(row["n"] == 200 for row in block["rows"])
    for row in [*block["rows"], block["real"] | {"r": "real"}]:
        r = row["r"] if row["r"] == "real" else f"r = {row['r']:.2f}"
        seen = pm(row["confidence"]), pm(row["sharpness"])
        rows.append((f"{name}, {r}", *seen, f"{row['variance']:.3f}", from_data(row)))
Table(["200 latents", *heads], rows)

# %% [markdown]
# (Confidence is the classifier's largest probability. The distance is the classifier distance of {ref}`chapter 11 <ch-measuring>` between such a set and the training images, with its standard error. It depends on the number of images, so compare it within a block only. The last row is held-out images.) For the digits the classifier's confidence goes *up* as latents get shorter, and sharpness hardly moves: one by one, the pictures in the middle of a straight line are as good as any. The loss shows only in the set of pictures: its variance falls, and at $r = 0.5$ the set is farther from the data.
# GANs are sampled from shortened latents on purpose, to trade variety for typical pictures {cite}`brock2019biggan`. With the clothes the classifier is about as sure of black pictures as of those at full length. **Confidence does not measure quality.**
#
# ## Three or four corners
#
# Arcs make a square too: {py:func}`~ddim_edu.apps.interpolate.square` goes along its left and right sides and then across, {py:func}`~ddim_edu.apps.interpolate.triangle` does the same from three corners. The flat alternative, the mean of four latents, is a draw from $\mathcal N(0, \tfrac14 I)$ and only half as long as it should be.

# %%
corners = draw(torch.empty(4, 1, 28, 28), torch.Generator().manual_seed(3))
grid = square(*corners, 5)
frames = decode(clothes.model, grid.flatten(0, 1), clothes.schedule, tau)
norms = ", ".join(f"{norm:.1f}" for norm in corners.flatten(1).norm(dim=1))
middle, mean = grid[2, 2].norm().item(), corners.mean(0).norm().item()
print(f"lengths: corners {norms}; middle {middle:.1f}; mean of the corners {mean:.1f}")
assert abs(middle - 28) < 2.5 and abs(mean - 14) < 1.5

# %% mystnb={"figure": {"caption": "A square spanned by four drawn latents (its corners) of the Fashion-MNIST model, decoded in 20 steps.", "name": "fig-interpolation-square"}, "image": {"alt": "A grid of five by five grey pictures of clothes. The corners are four different pieces; from each to the next the pictures change in small steps, with quick changes of kind in between."}} tags=["hide-input"]
tiles = rearrange(frames, "(r c) 1 h w -> (r h) (c w)", c=5)
fig, ax = figure(height=3.6)
ax.imshow((tiles + 1) / 2, cmap="gray", vmin=0, vmax=1)
ax.set_axis_off();

# %%
change = frames.unflatten(0, (5, 5)).diff(dim=1).square().mean((2, 3, 4)).sqrt()
assert change.max() > 2 * change.min()
rows = [(i, *(f"{v:.2f}" for v in row)) for i, row in enumerate(change, 1)]
Table(["rms change, row", *(f"{i} to {i + 1}" for i in range(1, 5))], rows)

# %% [markdown]
# On the square, too, pictures change in leaps: the largest step of the top row, 0.45, is the one from a shoe to a shirt.
#
# ## Between two real pictures
#
# For pictures that nobody drew a latent for, there is inversion: {py:func}`~ddim_edu.apps.interpolate.between` encodes both and decodes points between. We work below level 900, as chapter 7 had to. There it found such latents too short. By how much, and why?
#
# Take a Gaussian again, and of it a direction in which the data has mean 0 and variance $v$. With $\epsilon^* = \nu\,\bar x/(v + \nu^2)$ (chapter 7), the step {eq}`eq:clock-step` upwards from $t$ to $s$ multiplies $\bar x$ by a number. Over all steps, with $t' = \max(t, 1)$ since at level 0 the noise of level 1
# is asked for, the latents have in that direction the mean square
#
# $$
# \bar\alpha_{\tau_S}\, v \prod_{(t, s)} \Bigl(1 + (\nu_s - \nu_t)\, \frac{\nu_{t'}}{v + \nu_{t'}^2}\Bigr)^2 .
# $$ (eq:latent-size)
#
# (We have put $\sqrt{\bar\alpha_1} = 1$.) With infinitely many steps it would be nearly 1: by {eq}`eq:gaussian-flow`, $\bar\alpha (v + \nu^2)$. With $S$ steps it is less. Averaged over the eigenvalues $v$ of a data set's covariance it predicts, from the data alone, what the *network's* latents should measure.

# %%
# checks eq:latent-size
axes, nsr = torch.linalg.eigvalsh(flat.T.cov()).clamp(min=1e-9), cosine.nsr
gauss, rows = Gaussian(torch.zeros(64), axes, cosine), []
for S in (20, 50, 200):
    levels = make_tau(900, S, "trailing")
    t, s = levels[:-1], levels[1:]
    at = nsr[t.clamp(min=1)][:, None]
    grown = 1 + (nsr[s] - nsr[t])[:, None] * at / (axes + at**2)
    size = cosine.alpha_bar[900] * axes * grown.prod(0) ** 2
    latent = invert(gauss.eps, axes.sqrt()[None], cosine, levels)[0]
    assert torch.allclose(latent**2, size, rtol=1e-3)
    rows.append((f"S = {S}", *(f"{v.mean():.2f}" for v in (size, size[48:], size[:16]))))
Table(["mean square of latents", "all", "widest quarter", "narrowest"], rows)

# %% tags=["hide-input"]
rows = []
for name, block in having("real"):
    for row in block["by_S"]:
        both = pm(row["mean_square"]), f"{row['predicted']:.2f}"
        rows.append((f"{name}, S = {row['S']}", row["n"], *both))
    quarters = ", ".join(f"{v:.2f}" for v in block["quarters"])
    print(f"{name}: by quarters, widest first, {quarters}; length {pm(block['norm'], 1)},"
          f" √d {block['root_dims']:.0f}; angle {pm(block['angle'])}")
Table(["mean square of latents", "images", "measured", "predicted"], rows)

# %%
memory = EmpiricalData(flat, cosine)
points = flat[::16]  # 100 training images; the memoriser knows no others
latent = invert(memory.eps, points, cosine, levels)  # S = 200
size = latent.square().mean()
print(f"the memoriser's latents, S = 200: mean square {size:.2f}")
assert size < 0.2

rows = {name: block["by_S"] for name, block in having("real")}
for name, most in (("digits", 0.25), ("fashion-mnist", 0.1)):
    for row in rows[name]:
        assert abs(row["predicted"] - row["mean_square"][0]) < most

# %% [markdown]
# The formula knows no network, and yet it predicts most of the length. Long steps near the data take off part of the length, most of it in the narrow directions, as chapter 7 saw pixel by pixel. On Fashion-MNIST the predictions are right to 0.04, though they rise a little faster with $S$ than the measured values. On the digits they rise as the measured values do, and are too high by about 0.17 at each $S$. The last cell says where the rest may be. A memoriser,
# for which the data is 1,597 points with no width, leaves a tenth of the mean square. A latent's length measures *how wide the model thinks the data is, right there*, and a network that has seen each digit 481 times (12,000 steps of 64) may think it narrower than a Gaussian does. (That is a reading of three numbers, not a proof.)
#
# What does it mean for interpolation? The angle between two latents is again near $\pi/2$, and an arc keeps the length of its ends. But that length is 6 instead of 8, or 23 instead of 28. Should one stretch such latents to $\sqrt d$, where the model expects them?

# %% tags=["hide-input"]
rows = []
for name, block in having("real"):
    off = {"images": "", "reconstructions": pm(block["roundtrip"], 3)}
    off["stretched"] = pm(block["stretched"], 3)
    for kind, error in off.items():
        seen = block[f"of_{kind}"]
        rows.append((f"{name}, {kind}", seen["n"], error, pm(seen["sharpness"]), from_data(seen)))
Table(["", "number", "error", "sharpness", "distance (se)"], rows)

# %% [markdown]
# No. Stretched latents decode to pictures that are farther from the originals, four times as far for the digits and twice for clothes, and the clothes have more than twice the detail of real ones: {eq}`eq:cross-fade` with $p > 1$. Most of what is missing is missing in narrow directions, which the way down presses flat again. The shell of radius $\sqrt d$ is a statement about draws. For latents that were found,
# the arc should keep the length that they have, and slerp does.
#
# ### What lies half-way
#
# The middles, of pairs from two classes: half-way on the arc, half-way on the straight line, and the mean of the two pictures. "Third class" is the share that the classifier takes for neither end.

# %% tags=["hide-input"]
rows, heads = [], ("pairs", "confidence", "sharpness", "third class", "distance (se)")
for name, block in having("real"):
    for way in ("slerp", "lerp", "pixels"):
        seen = block[f"middle_{way}"]
        values = (pm(seen[what]) for what in ("confidence", "sharpness", "third_class"))
        rows.append((f"{name}, {way}", seen["n"], *values, from_data(seen)))
Table(["two classes, half-way", *heads], rows)

# %%
found, ps, rows = dict(having("real")), {}, []
for name, block in found.items():
    rows.append([name])
    for what in ("confidence", "sharpness"):
        mean, half, ps[name, what] = block[f"{what}_slerp_minus_lerp"]
        rows[-1].append(f"{mean:+.3f} ± {half:.3f}")
corrected = max(holm(ps).values())
print(f"largest p after Holm's correction: {corrected:.3f}")
assert corrected < 0.05
Table(["slerp minus lerp", "confidence", "sharpness"], rows)

# %% mystnb={"figure": {"caption": "Between two faces that the model never saw: along the arc and along the straight line between their latents (20 steps each way), and the cross-fade of the two pictures. The first two rows are nearly the same. Faces: parts by Micah Lanier (CC BY 4.0) and Pablo Stanley (CC0), recoloured.", "name": "fig-interpolation-real"}, "image": {"alt": "Three rows of seven small drawn faces. In the first two a face in a red turban, looking right, turns violet, and from the fourth picture on is another with grey, then blue hair and an open mouth. In the third both are there at once, half transparent."}} tags=["hide-input"]
drawn, few = torch.from_numpy(shipped().pixels[[36, 41]]), make_tau(900, 20, "trailing")
a, b = avg_pool2d(drawn.float() / 127.5 - 1, 2)[:, None]
z_a, z_b = invert(artist.model, torch.cat([a, b]), artist.schedule, few)[:, None]
shares = torch.linspace(0, 1, 7).tolist()
rows = {}
for name, way in (("arc", slerp), ("line", lerp)):
    between = torch.cat([way(z_a, z_b, v) for v in shares])
    rows[name] = decode(artist.model, between, artist.schedule, few)
rows["cross-fade"] = torch.cat([lerp(a, b, v) for v in shares])
picture_rows(rows);

# %%
apart = (rows["arc"][3] - rows["line"][3]).square().mean().sqrt()
from_fade = (rows["arc"][3] - rows["cross-fade"][3]).square().mean().sqrt()
print(f"middles: arc from line {apart:.2f}, arc from cross-fade {from_fade:.2f}")
assert apart < from_fade

# %% [markdown]
# On the arc, the pictures half-way are about as near to the data as reconstructions are, and cross-fades are not. What about the straight line? On digits it does little harm: its middles are a little less sharp and get a little *more* confidence, the pattern of the shortened latents above. On clothes it does what the theorem for Gaussian data said: half the sharpness, less confidence, four times the distance
# to the data, no nearer than a cross-fade. So the length matters, on clothes far more than on digits.
#
# The column to remember is "third class", and the picture to remember is the fourth of the faces: grey hair, which neither end has. Of the pictures half-way between two digits, about a third are *neither*, and of those between two clothes 40%. The arc leads through whatever happens to lie between two addresses. Nothing in it knows what its ends mean.
#
# ## Directions that stand for something
#
# Let $w$ be the mean latent of pictures of class $B$ minus that of class $A$ ({py:func}`~ddim_edu.apps.interpolate.direction`). Adding $w$ to the latent of an $A$ ({py:func}`~ddim_edu.apps.interpolate.move`; it restores the length afterwards) might make it a $B$: such arithmetic is known from other generative models {cite}`white2016latents`. {prf:ref}`thm-affine-decoding` supplies the null hypothesis.
# For Gaussian data, $D(x + w) = D(x) + A w$, and $A w$ is the difference of the two mean pictures, up to the error of the round trip. Then nothing would be gained over adding *that* to the pixels. So we do both. 200 held-out images, each sent to one other class; the means come from the training images; success is the classifier's word.

# %% tags=["hide-input"]
rows, heads = [], ("success", "as before", "sharpness", "distance (se)")
for name, block in having("classes"):
    print(f"{name}: {block['n']} images, means of {block['train']}")
    for row in block["rows"]:
        if row["amount"] > 0:
            seen = (pm(row[k]) for k in ("success", "kept", "sharpness"))
            rows.append((f"{name}, {row['amount']:.0f} in {row['kind']}", *seen, from_data(row)))
Table(["amount", *heads], rows)

# %% [markdown]
# At first sight directions work: with twice the direction added, the classifier takes 162 of 200 digits for the wanted class. At second sight, adding mean *pixels* works better by this measure. The latents buy the look. At the amount 1, sums of pixels are blurred (sharpness 0.81; real digits have 1.04) and far from the data. Moved latents give digits that are as sharp as reconstructions, and as near to the data.
# At the amounts 2 and 3 neither way is nearer to the data than the other, but the pixels' sums are overdrawn, and the latents' digits are not. With clothes, latents succeed as often as pixels and end nearer to the data. The direction says *which* class, in pixels as in latents; the decoder turns the sum into a picture.

# %% [markdown]
# ### A direction that is known
#
# Drawn faces allow more than a classifier's word. Draw a face again with glasses, all else kept: the change of its latent is what glasses are, for this face. **Pairs** takes the mean of 100 such changes, **means** the difference of two groups' means, as above. Then a network reads every attribute of 50 held-out faces that had no glasses.

# %% mystnb={"figure": {"caption": "A held-out face, encoded, moved and decoded: not at all, then once, twice and three times along the difference of group means, and as often along the mean change of pairs. The rows add glasses, a beard, and earrings. The first of 50 faces in each row (`benchmarks/faces_truth.py`). (Faces after Micah Lanier, CC BY 4.0; see {doc}`/using`.)", "name": "fig-interpolation-known"}, "image": {"alt": "Three rows of seven drawn faces. Glasses: a face with long pink hair; dark glasses appear along the means, which also darken the skin and turn the ground green, and clear ones along the pairs, which keep more. Beard: along the means the skin darkens and the mouth laughs, no beard; along the pairs a beard comes at the third step, with another hair cut and ground. Earrings: hardly anything changes but a small ring."}} tags=["hide-input"]
known = json.loads(in_repository("results/faces_truth.json").read_text())["directions"]
ways, rows, heads = ("means", "pairs"), {}, ["0", *(f"{w} {n}" for w in ("means", "pairs") for n in "123")]
for attribute, found in known.items():
    moved = [found["not moved"], *found["means"], *found["pairs"]]
    rows[attribute] = torch.cat([from_text(of["picture"], 3, 32, 32) for of in moved])
picture_rows(rows, heads, width=7);

# %% tags=["hide-input"]
cells = []
for attribute, found in known.items():
    for way in ways:
        row = [found["not moved"], *found[way]]
        seen = (f"{of['has it']:.0%}, {of['others kept']:.0%}" for of in row)
        cells.append([f"{attribute}, {way}", *seen])
    assert all(p["others kept"] > m["others kept"] for p, m in zip(found["pairs"], found["means"]))
beard = known["beard"]
assert known["glasses"]["means"][0]["has it"] > 0.8 and known["earrings"]["means"][1]["has it"] == 1
assert beard["means"][2]["has it"] < 0.3 and beard["pairs"][2]["has it"] > 0.9
Table(["have it, rest kept", "not moved", "once", "twice", "three times"], cells)

# %% [markdown]
# Glasses are a direction: added once, five in six faces wear them, and most of what survives the way there and back stays. Earrings take twice the length. A beard comes only by pairs, which add one kind; the bearded group has two, and their mean is neither. Pairs keep more of the rest, with earrings hardly so. Moving further costs the face.
#
# ## What breaks: motion
#
# A film has frames missing, and interpolating latents looks like the way to fill them in. Test it where the answer is known: a picture shifted to the left, and to the right, by one pixel (digits) or three (clothes). The frame half-way is the picture unshifted.

# %%
rows, ways = [], ("arc", "cross-fade", "first frame")
for name, block in having("shift"):
    mean, half, p = block["arc_minus_cross_fade"]
    errors = (pm(block["error"][way]) for way in ways)
    about = f"{name}, {block['n']} by ± {block['by']}"
    rows.append((about, *errors, f"{mean:+.3f} ± {half:.3f}", f"{p:.0e}"))
    assert mean - half > 0 and block["S"] == 50
Table(["rms error, S = 50", *ways, "arc minus cross-fade", "p"], rows)

# %% mystnb={"figure": {"caption": "Top: a held-out piece of clothing shifted left, in the middle, and shifted right, with gaps where frames are missing. Below: seven frames along the arc between the latents of the first and the last.", "name": "fig-interpolation-shift"}, "image": {"alt": "Two rows of small pictures of trousers. Top: three sharp copies, at the left, in the middle and at the right, with grey gaps between them. Bottom: seven frames; the first and last show trousers left and right, those in the middle are blurred, wider, and seem to have three legs."}} tags=["hide-input"]
def unpack(text, size):
    pixels = np.frombuffer(base64.b64decode(text), np.uint8)
    return torch.tensor(pixels).float().view(-1, size, size) / 255


strip = study["fashion-mnist"]["shift"]["strip"]
truth, made = (unpack(strip[k], 28) for k in ("truth", "latents"))
empty = torch.full((2, 28, 28), 0.8)
first = torch.cat([truth[:1], empty, truth[1:2], empty, truth[2:]])
fig, axes = figure(1, 2, height=2.3)
for ax, row, name in zip(axes, (first, made), ("truth", "arc")):
    ax.imshow(rearrange(row, "n h w -> h (n w)"), cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], ylabel=name)
    ax.grid(False)
fig.align_ylabels();

# %%
place, three = torch.arange(28) - 13.5, (truth[0], made[3], truth[2])
centres = [(x.sum(0) @ place / x.sum()).item() for x in three]
error = (made[3] - truth[1]).square().mean().sqrt() * 2
shown = ", ".join(f"{c:.1f}" for c in centres)
print(f"centres of mass of first, middle, last: {shown}; error of the middle {error:.2f}")

# %% [markdown]
# The frame on the arc is **worse than the cross-fade**, for digits and for clothes, and in the figure it makes the same mistake: both ends are there at once, and the trousers have a third leg. Part of the error is that of the round trip, which pictures moved aside do not survive well: look at the two ends of the row. (These trousers are a hard case. The error of their middle is 0.62; the mean over all pictures is 0.41.) To move a thing is to add light in some pixels and take it away in others, and half a movement is not half of each. A Gaussian can do no better, by {eq}`eq:cross-fade`. These networks do not either;
# pictures moved to the side are also unlike what they were trained on. Frame interpolation needs a model that is told about motion, or trained on films.
#
# ## One latent, several samplers
#
# If $x_T$ is to be a picture's address, it should not depend on the number of steps. Decode 200 latents with different $S$, each against the finest.

# %% tags=["hide-input"]
rows = []
for name, block in having("steps"):
    print(f"{name}: {block['n']} latents; unrelated pictures {pm(block['unrelated'])} apart")
    for row in block["by_S"]:
        seen = pm(row["distance"], 3), pm(row["same_class"])
        rows.append((f"{name}, S = {row['S']} from {block['reference']}", *seen))
Table(["one latent, two numbers of steps", "distance", "same class"], rows)

# %% [markdown]
# With twenty steps, 93% of the latents already show the digit that they show after a hundred, and up to there the distance falls in proportion to $1/S$, as chapter 7's order demands. Clothes are slower, but not different. The DDIM paper calls this consistency: one can search with few steps and render with many.
#
# Now noise. For data $\mathcal N(0, I)$ everything can be computed: at $\eta = 1$ an exercise of chapter 5 found a step to be $x_s = \sqrt{\bar\alpha_t/\bar\alpha_s}\, x_t + \sigma z$. The factors multiply up, and two latents walked down *with the same noise* end at (with $D_1$ for the decoder at $\eta = 1$)
#
# $$
# D_1(a) - D_1(b) = \sqrt{\bar\alpha_{\tau_S}}\; (a - b) ,
# $$ (eq:forgotten)
#
# whatever the number of steps. With the linear schedule's $T$ the factor is 0.006. At $\eta = 0$ it tends to 1 as $S$ grows. So at $\eta = 1$ the latent has nothing to say; the picture is in the noise.

# %%
# checks eq:forgotten
normal = Gaussian(torch.zeros(1), 1.0, schedule)
a, b = torch.randn(2, 200, 1, generator=generator, dtype=torch.float64)
factor = schedule.alpha_bar[1000].sqrt()

def run(x, S, eta):
    how = {"eta": eta, "generator": torch.Generator().manual_seed(1)}
    return decode(normal.eps, x, schedule, make_tau(1000, S, "trailing"), **how)


rows = []
for S in (5, 50):
    still, noisy = ((run(a, S, e) - run(b, S, e)) / (a - b) for e in (0.0, 1.0))
    assert torch.allclose(noisy, factor, rtol=1e-9)
    rows.append((f"S = {S}", f"{still.mean():.3f}", f"{noisy.mean():.4f}"))
Table(["of a difference is left", "η = 0", "η = 1"], rows)

# %% [markdown]
# On the trained model, 30 pairs of latents and seven frames between them, in 20 steps. **Fresh** noise for each frame; one **shared** noise for all; or noise that is **interpolated** too, from that of one end to that of the other, each step's by slerp.

# %% tags=["hide-input"]
block = study["digits"]["noise"]
rows = []
for name, row in block["rows"].items():
    seen = row["step"], row["largest"], row["ends"]
    rows.append((name.replace("eta 0", "η = 0"), *map(pm, seen)))
heads = "from frame to frame", "largest", "from end to end"
Table([f"rms change, {block['pairs']} pairs", *heads], rows)

# %% tags=["hide-input"]
rows = []
for row in study["digits"]["steps"]["by_eta"]:
    assert row["S"] == 50
    seen = row["two_noises"], row["same_class"], row["from_eta_0"]
    rows.append((f"η = {row['eta']:g}", *map(pm, seen)))
Table(["one latent, S = 50", "between two noises", "same class", "from η = 0"], rows)

# %% mystnb={"figure": {"caption": "Seven frames between two drawn latents with η = 0, and with η = 1 and fresh, shared or interpolated noise.", "name": "fig-interpolation-noise"}, "image": {"alt": "Four rows of seven small digits. The first row changes from one digit to another by way of a few. The second row shows seven unrelated digits. The third row shows the same digit seven times. The fourth row begins with that digit and changes into another."}} tags=["hide-input"]
fig, axes = figure(1, 4, height=4.2)
for ax, (name, text) in zip(axes, block["strip"].items()):
    tiles = rearrange(unpack(text, 8), "n h w -> h (n w)")
    ax.imshow(tiles, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], ylabel=name)
    ax.grid(False)
fig.align_ylabels();

# %%
rows = block["rows"]
assert rows["shared"]["ends"][0] < 0.2 * rows["eta 0"]["ends"][0]
assert rows["fresh"]["step"][0] > 2 * rows["eta 0"]["step"][0]
assert rows["interpolated"]["step"][0] < 1.5 * rows["eta 0"]["step"][0]

# %% [markdown]
# With fresh noise, neighbouring frames are as different as unrelated pictures: there is no film. With shared noise there is a film, of one picture: the ends are as good as equal, which is {eq}`eq:forgotten` at work far from Gaussian data. The latent of the stochastic sampler is *all* of its noise, $S$ times as long, and interpolated as a whole it gives films like those of $\eta = 0$. Nor does a small $\eta$ help: at 0.2, two noises lead from one latent to two different digits in about half of the cases.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: the middle of several
# :label: ex-interpolation-middle
# *Derive · two stars · 20 minutes*
#
# What is the variance of $\sum_i w_i x_i$ for independent standard normal $x_i$ and weights that sum to 1? Which weights make it least, and how long is that point? Which multiple of it is a standard normal draw?
# Hand in the multiple as a function `multiple(w)` of the weights, a tensor: `check("ex-interpolation-middle", multiple)`.
# ```
#
# ````{solution} ex-interpolation-middle
# :class: dropdown
# $\sum w_i^2$. Since $\sum (w_i - \tfrac1k)^2 = \sum w_i^2 - \tfrac1k \ge 0$, it is least, $\tfrac1k$, at equal weights; the length is about $\sqrt{d/k}$. Dividing by $\sqrt{\sum w_i^2}$ makes it standard normal, for any weights.
#
# ```python
# import torch
# from ddim_edu.exercises import check
#
# def multiple(w):
#     return 1 / w.norm()
#
# g = torch.Generator().manual_seed(0)
# x = torch.randn(4, 2_000, 784, generator=g, dtype=torch.float64)
# for w in ([0.25] * 4, [0.4, 0.3, 0.2, 0.1], [1.2, -0.2, 0.0, 0.0]):
#     w = torch.tensor(w).double()
#     point = torch.einsum("k,knd->nd", w, x)
#     assert abs(point.var() / w.square().sum() - 1) < 0.01
#     assert w.square().sum() >= 0.25 - 1e-12
#     assert abs((multiple(w) * point).norm(dim=1).mean() / 28 - 1) < 0.01
# assert check("ex-interpolation-middle", multiple)
# ```
# ````
#
# ```{exercise} Derive: data of two points
# :label: ex-interpolation-two-points
# *Derive · two stars · 15 minutes*
#
# Let the data be $-1$ and $1$, each as likely. What is $D$, and what does a film between the latents $-2$ and $1$ show? Where does the formula {eq}`eq:inverse-density` put the speed?
# Hand in the share of the film that shows $-1$, for any two latents $a < 0 < b$, as a function `share(a, b)`: `check("ex-interpolation-two-points", share)`.
# ```
#
# ````{solution} ex-interpolation-two-points
# :class: dropdown
# The increasing map that carries a symmetric $q_T$ to the two points is the sign. The film shows $-1$ for two thirds of its length and then 1: between the points there is no data, and the gap is crossed at infinite speed.
#
# ```python
# import torch
# from ddim_edu.exact import EmpiricalData
# from ddim_edu.exercises import check
# from ddim_edu.sampler import decode
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# def share(a, b):
#     return a / (a - b)
#
# schedule = NoiseSchedule.linear()
# data = EmpiricalData(torch.tensor([[-1.0], [1.0]]).double(), schedule)
# film = torch.linspace(-2, 1, 301, dtype=torch.float64)[:, None]
# film = film[film[:, 0].abs() > 0.05]
# shown = decode(data.eps, film, schedule, make_tau(1000, 200, "trailing"))
# assert (shown - film.sign()).abs().max() < 1e-3
# assert abs((shown < 0).double().mean() - share(-2, 1)) < 0.02
# assert check("ex-interpolation-two-points", share)
# ```
# ````
#
# ```{exercise} Measure: how far until it is another digit?
# :label: ex-interpolation-how-far
# *Measure · two stars · 25 minutes*
#
# Replace $a$ by $\cos\phi\; a + \sin\phi\; b$ with an independent $b$: a random step of angle $\phi$ that stays in the shell. For the digits model and $S = 10$, at which angle do half of the digits become others? (Use the classifier, and 100 latents.)
# Hand in the angle in degrees: `check("ex-interpolation-how-far", phi)`.
# ```
#
# ````{solution} ex-interpolation-how-far
# :class: dropdown
# Sooner than one might think: at 10° four in five are the same, at 30° a little more than half, at 60° a quarter, and at 90°, where nothing of $a$ is left, one in nine: chance, among ten digits. So half have changed at about 35°, although $\cos 35° = 0.82$ says that the latents are still much alike.
#
# ```python
# import torch
# from math import cos, radians, sin
# from ddim_edu.exercises import check
# from ddim_edu.models import load, load_classifier
# from ddim_edu.sampler import decode
# from ddim_edu.schedule import make_tau
#
# model, judge = load("digits"), load_classifier("digits").model
# g, tau = torch.Generator().manual_seed(0), make_tau(990, 10, "trailing")
# a, b = torch.randn(2, 100, 1, 8, 8, generator=g)
# said = lambda x: judge(decode(model.model, x, model.schedule, tau)).argmax(1)
# first, kept = said(a), {}
# for phi in (10, 30, 35, 60, 90):
#     moved = cos(radians(phi)) * a + sin(radians(phi)) * b
#     kept[phi] = (said(moved) == first).double().mean().item()
# half = min(kept, key=lambda phi: abs(kept[phi] - 0.5))
# assert kept[10] > 0.7 > kept[30] > 0.4 > kept[60] > 0.12 and kept[90] < 0.2
# assert check("ex-interpolation-how-far", half)
# ```
# ````
#
# ```{exercise} Break: a straight line through the noise
# :label: ex-interpolation-straight-noise
# *Break · two stars · 25 minutes*
#
# In the film with interpolated noise, go along straight lines instead: lerp for $x_T$ and for each step's noise. What is the variance of the middle frames for data $\mathcal N(0, I)$ with $\eta = 1$, and what with slerp's weights at a right angle?
# Hand in both as shares of the variance at the film's ends: `check("ex-interpolation-straight-noise", (line, arc))`.
# ```
#
# ````{solution} ex-interpolation-straight-noise
# :class: dropdown
# For Gaussian data the picture is affine in $x_T$ *and* in all the noises together, so it fades like a latent: half the variance along lines, all of it with weights whose squares add up to 1.
#
# ```python
# import torch
# from ddim_edu.exact import Gaussian
# from ddim_edu.exercises import check
# from ddim_edu.sampler import ddim_step
# from ddim_edu.schedule import NoiseSchedule, make_tau
#
# schedule, S, n = NoiseSchedule.linear(), 50, 20_000
# data, abar = Gaussian(torch.zeros(1), 1.0, schedule), schedule.alpha_bar
# tau = make_tau(1000, S, "trailing").tolist()
# g = torch.Generator().manual_seed(0)
# one, other = torch.randn(2, S + 1, n, 1, generator=g, dtype=torch.float64)
#
# def end(noise):
#     x = noise[0]
#     for i, (s, t) in enumerate(reversed(list(zip(tau, tau[1:])))):
#         sigma = schedule.sigma(t, s, 1.0)
#         x = ddim_step(x, data.eps(x, t), abar[t], abar[s], sigma, noise[i + 1])
#     return x.var()
#
# ends, line, arc = end(one), end((one + other) / 2), end((one + other) / 2**0.5)
# assert abs(line / ends - 0.5) < 0.03 and abs(arc / ends - 1) < 0.05
# assert check("ex-interpolation-straight-noise", (line / ends, arc / ends))
# ```
# ````
#
# ## Summary
#
# 1. A drawn latent has length $\sqrt d$ to within about one. A straight line between two passes at $\sqrt{d/2}$, the arc stays near $\sqrt d$; half-way, the two differ in length only.
# 2. For Gaussian data decoding is affine: interpolated latents are cross-fades, the arc's with full contrast. On a line, normal scores are interpolated, and pictures change fastest where data is rarest.
# 3. Latents that are too short decode to pale pictures (a Gaussian), to less varied ones (digits), or to darkness (clothes), where the network misjudges a length that it was not trained on. A classifier is surer of the shortened digits than of the others, and as sure of black clothes as of drawn ones.
# 4. Latents of real pictures are too short because the steps near the data are long and the data narrow. They should not be stretched. A third of what lies half-way between two digits is a third digit, and motion is not found at all.
# 5. From twenty steps on, their number hardly changes what a latent stands for. With $\eta = 1$ it stands for nothing; all noise together does.
#
# **Next.** {ref}`Chapter 13 <ch-restoration>` restores pictures of which a part is missing. In the package, read {py:mod}`ddim_edu.apps.interpolate`; `python -m ddim_edu.apps interpolate` makes such pictures, and films with `--film`, from image files of your own.
