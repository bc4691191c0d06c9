# %% [markdown]
# (ch-unet)=
# # The U-Net
#
# **Question.** What does a network need to look like to predict the noise in a picture, at every level, with one set of weights?

# %% tags=["hide-input"]
import time

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddim_edu.data.faces.dataset import shipped
from ddim_edu.data.named import digits
from ddim_edu.forward import q_sample, unmix_x0
from ddim_edu.models import load
from ddim_edu.nets.unet import Attention, Block, UNet, UNetConfig
from ddim_edu.plotting import Table, figure, picture_rows
from ddim_edu.randomness import draw
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.training.recipes import RECIPES

# %% tags=["hide-input"]
artist, levels = load("faces"), torch.tensor([30, 150, 300, 450, 600, 750, 850, 930])
face = F.avg_pool2d(torch.from_numpy(shipped().pixels[37:38]).float() / 127.5 - 1, 2)
noise = draw(torch.empty(8, 3, 32, 32), torch.Generator().manual_seed(1))
shown = torch.cat([q_sample(face, int(t), artist.schedule, e[None]) for t, e in zip(levels, noise)])
fine = [part for part in artist.network.up[-1] if isinstance(part, Block)]


def answer(cut=(), which=slice(0, 0)):
    """The noise that the network finds; blocks that are cut are given zeros there."""
    def zeros(_, args):
        args[0][:, which] = 0

    hooks = [block.register_forward_pre_hook(zeros) for block in cut]
    eps = artist.model(shown, levels)
    return eps, [hook.remove() for hook in hooks]

# %% mystnb={"figure": {"caption": "One face at eight levels (above), each seen by the same network in a single call. What it takes for noise, and the picture that is left without it. Below, the picture left when the network's finest maps get nothing by the direct links across, and when they get nothing from the coarse maps. Face: parts by Micah Lanier (CC BY 4.0), recoloured.", "name": "fig-unet-teaser"}, "image": {"alt": "Five rows of eight small pictures, levels 30 to 930. It sees: a face that drowns in coloured noise. Noise: coloured grain. Picture: the face, clean up to level 750, then other faces. Links cut: the face under noise that stays. Depth cut: a blur with the right colours, and from level 600 only dark patches."}} tags=["hide-input"]
abar = artist.schedule.alpha_bar[levels].float()[:, None, None, None]
whole = answer()[0]
links = answer(fine, slice(-48, None))[0]  # 48 channels come across, the others from below
depth = answer(fine[:1], slice(0, -48))[0]
rows = {"it sees": shown, "noise": whole, "picture": unmix_x0(shown, whole, abar)}
rows |= {"links cut": unmix_x0(shown, links, abar), "depth cut": unmix_x0(shown, depth, abar)}
picture_rows(rows, [str(t) for t in levels.tolist()]);

# %% [markdown]
# Two things, together. Without the finest links across, the network knows whom it sees and cannot tell which pixel is noise. Without its depth it smooths what is near, and sees no face. The last two pictures of the third row are other faces: at these levels nearly any face could stand behind the noise.
#
# So far $\epsilon_\theta$ was a formula, or a network that we called without looking inside. This chapter opens it. At the end you will have checked, by running it,
#
# - that a shipped model is sixteen parts that you can wire up yourself, and that yours gives the same numbers;
# - what flows through the skip connections, and what happens to the prediction when one of them is cut;
# - how the network is told $t$ and a class, and what it costs to tell it the wrong one;
# - what one pixel attends to, and how far one pixel of the answer sees;
# - where the parameters sit, where the work is done, and that the two are not the same place;
# - that the configurations of the published models give the published numbers of parameters.
#
# The chapter opens {py:mod}`ddim_edu.nets.unet`.

# %%
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# Two shipped models serve as specimens. The small one, for 8 × 8 digits, you know; its losses below are measured on the 200 digits that it never saw, always with the
# same noise, so that differences are not chance. The larger one makes 28 × 28 pictures of clothes and has more to look at. So that the chapter needs no download, the
# clothes are pictures that the model itself made, in 20 steps of DDIM.

# %%
small, data = load("digits"), digits()
images, classes = data.floats(data.heldout), data.heldout_labels
schedule, eps = small.schedule, draw(images, generator)


def losses(t, told=None, labels=None):
    """Squared error of each held-out digit at level t; the network hears told."""
    x_t = q_sample(images, t, schedule, eps)
    told = torch.full((len(x_t),), t if told is None else told)
    error = small.model(x_t, told, labels) - eps
    return error.square().flatten(1).mean(1)


# %%
large = load("fashion-mnist")
kinds = torch.arange(10).repeat(2)  # two of each class
clothes = sample(
    large.eps_theta(kinds),
    (20, *large.image_shape),
    large.schedule,
    make_tau(large.schedule.T, 20, "leading"),  # from 951, where no clip is needed
    generator=torch.Generator().manual_seed(0),
)

# %% [markdown]
# ## What is asked of it
#
# In: a picture $x_t$ and a level $t$. Out: a picture of the same size, the noise. At a low level $x_t$ is nearly clean, and the noise is what the eye would not
# notice: each pixel has to be compared with its neighbours, to full precision. At a high level next to nothing of the picture can be seen, and a good guess needs all of it
# at once: is this a shoe or a shirt? So the network needs **fine detail** and **far sight**, together.
#
# The network's material is **maps**: pictures with $C$ numbers per pixel, its *channels*. A 3 × 3 convolution makes from one map another. Each number of the new map is a linear function of the numbers in the 3 × 3 square around
# its pixel, in all channels; the coefficients, which are learnt, are the same at every pixel; outside of the picture it reads zeros.
#
# A stack of such convolutions at full resolution keeps the detail, but each adds one pixel of sight in each direction. Far sight is cheap on a small picture: halve the resolution and every
# convolution sees twice as far for a quarter of the work. But a small picture has lost the detail. The U-Net {cite}`ronneberger2015unet` does both. It goes down to small maps (the *contracting path*) and up again (the *expansive path*), and on the way up it is handed, at each resolution,
# the maps of the way down. {cite:t}`ho2020ddpm` made a noise predictor of it (their appendix B), and the DDIM paper uses the same network {cite}`song2021ddim`.
#
# ## The residual block
#
# Most of the network is one part, repeated. Let $a$ be the map that comes in, and $e$ a vector that says which level it is. With the activation $\operatorname{silu}(u) = u/(1 + \exp(-u))$, applied to each number, a block computes
#
# $$
# \begin{aligned}
# h &= \operatorname{conv}_1(\operatorname{silu}(\operatorname{norm}_1(a))) + W e + b, \\
# \text{out} &= a + \operatorname{conv}_2(\operatorname{silu}(\operatorname{norm}_2(h))) .
# \end{aligned}
# $$ (eq:res-block)
#
# The convolutions are 3 × 3. $W e + b$ is one number per channel, added to every pixel: this is where the block is told the level. The second line adds to what came in, so that the block has only a change to learn, a *residual* {cite}`he2016resnet`. Where the number of channels changes, the $a$ in that line goes through a 1 × 1 convolution, which is a matrix applied to each pixel.
#
# The norms are **group norms** {cite}`wu2018group`. The channels are divided into groups. Of all numbers $a_i$ of one group, at all its pixels, take the mean $m$ and the variance $v$, and put out
#
# $$
# \operatorname{norm}(a)_i = g_i\, \frac{a_i - m}{\sqrt{v + 10^{-6}}} + b_i ,
# $$ (eq:group-norm)
#
# with a learnt scale and shift, the same $g_i$ and $b_i$ for all pixels of a channel. The numbers that flow through the network keep a sensible size, whatever the level. Batch normalisation would, in training, take mean and variance over the *batch*. A batch mixes
# levels, and the prediction for one picture would depend on the others of its batch; an exercise shows it. With group norms the prediction does not:


# %%
def norm(a, part):
    h = a.reshape(len(a), part.num_groups, -1)
    m, v = h.mean(2, keepdim=True), h.var(2, correction=0, keepdim=True)
    h = ((h - m) / (v + 1e-6).sqrt()).reshape(a.shape)
    return h * part.weight[:, None, None] + part.bias[:, None, None]


# %%
block = small.network.down[0][0].res  # the first block of the small network
a = torch.randn(2, 32, 8, 8, generator=generator)
e = torch.randn(2, 128, generator=generator)
h = block.conv1(F.silu(norm(a, block.norm1))) + block.time(e)[:, :, None, None]
out = a + block.conv2(F.silu(norm(h, block.norm2)))
# checks eq:res-block
assert torch.allclose(out, block(a, e), atol=1e-4)
# checks eq:group-norm
assert torch.allclose(norm(a, block.norm1), block.norm1(a), atol=1e-5)
assert torch.allclose(norm(5 * a, block.norm1), norm(a, block.norm1), atol=1e-4)
levels = torch.full((200,), 300)
alone = small.model(images[:1], levels[:1])
assert torch.allclose(small.model(images, levels)[:1], alone, atol=1e-4)

# %% [markdown]
# ### A new network says nothing
#
# The second convolution of every block starts at **zero**. A new block therefore hands on its input as it is (or through the 1 × 1 convolution), and so does a stack of them, however deep. The last convolution of the whole network starts at zero as well, so
# that a new network predicts $\epsilon_\theta = 0$. Its loss is then the variance of the noise, at every level:
#
# $$
# E\, \lVert \epsilon - 0 \rVert^2 / d = 1 \quad\text{for } \epsilon \in \mathbb R^d .
# $$ (eq:new-network-loss)
#
# Remember this 1. It is what a network scores that knows nothing, and any loss above it is worse than silence.

# %%
new = UNet(small.config)
x_t = q_sample(images, levels, schedule, eps)
assert new(x_t, levels).abs().max() == 0
first = new.down[0][0].res
assert torch.equal(first(a, e), a)

silence = eps.square().mean()
error = (2 / eps.numel()) ** 0.5  # standard error; the variance of eps^2 is 2
# checks eq:new-network-loss
assert abs(silence - 1) < 4 * error
print(f"loss of a new network {silence:.2f}")
print(f"of the trained one    {losses(300).mean():.2f}")

# %% [markdown]
# ## Down and up again, by hand
#
# Here are all parts of the small network: two resolutions, 8 × 8 and 4 × 4, and 32 channels everywhere. `Downsample` is a convolution that is computed at every second pixel of every second row, `Upsample` repeats each pixel in a 2 × 2 square and convolves. `Attention` and what `time` and `label` do are explained below. The blocks on the way up take
# 64 channels, because two maps are laid on top of each other: one that comes up from below, and one from the way down.


# %%
from ddim_edu.nets.unet import Downsample, ResBlock, Upsample, time_embedding


def res(channels_in):
    return ResBlock(channels_in, 32, 128, groups=8, dropout=0.0)


# %%
net = nn.Module()
net.time = nn.Sequential(nn.Linear(32, 128), nn.SiLU(), nn.Linear(128, 128))
net.label = nn.Embedding(11, 128)  # ten digits and "any"
net.conv_in = nn.Conv2d(1, 32, 3, padding=1)
net.fine_down, net.shrink, net.coarse_down = res(32), Downsample(32), res(32)
net.middle_1, net.attention, net.middle_2 = res(32), Attention(32, 8), res(32)
net.coarse_up_1, net.coarse_up_2, net.grow = res(64), res(64), Upsample(32)
net.fine_up_1, net.fine_up_2 = res(64), res(64)
net.norm_out = nn.GroupNorm(8, 32, eps=1e-6)
net.conv_out = nn.Conv2d(32, 1, 3, padding=1)

# %% [markdown]
# And this is the wiring. Read it as a walk down to the 4 × 4 maps, where it turns, and up. `a`, `b`, `c` and `d` are the **skip connections**: they are made on the way down and read once more on the way up, the last one first.


# %%
def predict(net, x_t, t, labels):
    e = F.silu(net.time(time_embedding(t, 32)) + net.label(labels))
    a = net.conv_in(x_t)  # 8 x 8
    b = net.fine_down(a, e)  # 8 x 8
    c = net.shrink(b, e)  # 4 x 4
    d = net.coarse_down(c, e)  # 4 x 4
    h = net.middle_2(net.attention(net.middle_1(d, e)), e)  # 4 x 4
    h = net.coarse_up_1(torch.cat([h, d], 1), e)  # 4 x 4
    h = net.coarse_up_2(torch.cat([h, c], 1), e)  # 4 x 4
    h = net.grow(h, e)  # 8 x 8
    h = net.fine_up_1(torch.cat([h, b], 1), e)  # 8 x 8
    h = net.fine_up_2(torch.cat([h, a], 1), e)  # 8 x 8
    return net.conv_out(F.silu(net.norm_out(h)))


# %% [markdown]
# The parts were made in the order in which {py:class}`~ddim_edu.nets.unet.UNet` makes its own, so the weights of the shipped model can be copied over one by one.

# %%
weights = small.network.state_dict().values()
net.load_state_dict(dict(zip(net.state_dict(), weights, strict=True)))
net.requires_grad_(False)

any_digit = torch.full((200,), 10)
for labels in (any_digit, classes):
    ours = predict(net, x_t, levels, labels)
    assert torch.allclose(ours, small.model(x_t, levels, labels), atol=1e-4)
count = sum(p.numel() for p in net.parameters())
print(f"{len(list(net.children()))} parts, {count:,} parameters")
assert count == sum(p.numel() for p in small.model.parameters())

# %% [markdown]
# ## What the skip connections carry
#
# A *hook* is a function that torch calls whenever a certain part has run. It lets us look at the maps without touching the network. The larger model has three resolutions, with one block each on the way down and two on the way up. Look at the map that each block of the way down hands over, and at the map that the way up has made two blocks later.

# %% tags=["hide-input"]
def watch(parts, call, given=False):
    """What each part puts out during one call, or what it is given."""
    seen, hooks = {}, []
    for name, part in parts.items():

        def keep(_, args, out, name=name):
            seen[name] = args[0] if given else out

        hooks.append(part.register_forward_hook(keep))
    call()
    for hook in hooks:
        hook.remove()
    return seen


# %% tags=["hide-input"]
downs = {("down", i): stage[0] for i, stage in enumerate(large.network.down)}
ups = {("up", 2 - i): stage[1] for i, stage in enumerate(large.network.up)}
twenty, t = torch.full((20,), 300), 300
noise = draw(clothes, generator)
noisy = q_sample(clothes, t, large.schedule, noise)
maps = watch(downs | ups, lambda: large.model(noisy, twenty, kinds))

# %% mystnb={"figure": {"caption": "The U, drawn with maps of the larger network for one picture at level 300. Left, the way down; right, the way up; of each map two of its channels, those that vary most over the picture, and above them the numbers of channels, rows and columns. The arrows across are three of its six skip connections: each hands the whole map on its left to the first of the two blocks on its right; shown there is what the second has made of it.", "name": "fig-unet-maps"}, "image": {"alt": "A diagram in the form of a U. At the top left a noisy picture of a piece of clothing, with the clean picture below it; at the top right noise, which is the prediction. Between them pairs of grey maps, 28, 14 and 7 pixels a side from top to bottom, go down on the left and up on the right, joined by arrows: down and up along the sides, across at each resolution, and at the bottom through a box named middle. The fine maps of the way down are full of grain, the coarse ones show a few patches."}} tags=["hide-input"]
which = 7
said = large.model(noisy, twenty, kinds)
fig, ax = figure(height=4.9)
ax.set_axis_off()


def show(picture, x, y, side, limits=(None, None)):
    """A picture of that side, centred at (x, y)."""
    box = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    ax.imshow(picture, cmap="gray", extent=box, vmin=limits[0], vmax=limits[1])


def arrow(start, end, **more):
    style = {"arrowstyle": "-|>", "lw": 1.5, "color": "#0072B2", **more}
    ax.annotate("", end, start, arrowprops=style)


rows = {0: (4.2, 1.0), 1: (2.6, 0.8), 2: (1.2, 0.6)}  # height and side of the maps
for (way, i), h in maps.items():
    (y, side), x = rows[i], 2.45 if way == "down" else 5.25
    spread = h[which].flatten(1).std(1)
    for j, channel in enumerate(spread.topk(2).indices):
        show(h[which, channel], x + (j - 0.5) * (side + 0.05), y, side)
    n, channels = h.shape[-1], h.shape[1]
    title = f"{channels} × {n} × {n}"
    ax.text(x, y + side / 2 + 0.05, title, ha="center", va="bottom")
    if way == "down":
        arrow((x + side + 0.1, y), (5.25 - side - 0.1, y), color="#D55E00")
        ax.text(3.85, y + 0.06, "skip", ha="center", va="bottom")
    if i:
        below, above = y + side / 2 + 0.28, rows[i - 1][0] - rows[i - 1][1] / 2 - 0.06
        arrow(*((x, above), (x, below))[:: 1 if way == "down" else -1])
for picture, title, x, y in (
    (noisy, "$x_t$", 0.5, 4.2),
    (clothes, "clean", 0.5, 2.6),
    (said, r"$\epsilon_\theta(x_t, t)$", 7.2, 4.2),
):
    show(picture[which, 0], x, y, 1.0, (-1.5, 1.5))
    ax.text(x, y + 0.55, title, ha="center", va="bottom")
arrow((1.03, 4.2), (1.4, 4.2))
arrow((6.3, 4.2), (6.67, 4.2))
box = {"boxstyle": "round", "fc": "white", "ec": "#0072B2"}
ax.text(3.85, 0.3, "middle: block, attention, block", ha="center", va="center", bbox=box)
arrow((2.45, 0.84), (2.75, 0.48))
arrow((4.95, 0.48), (5.25, 0.84))
ax.set(xlim=(-0.05, 7.75), ylim=(0.05, 5.05));

# %% [markdown]
# What comes up from below and what comes across lie on top of each other when a block of the way up reads them. So the last channels that it reads are the map of the way down, number for number:

# %%
firsts = {i: stage[0] for i, stage in enumerate(reversed(large.network.up))}
reads, rows = watch(firsts, lambda: large.model(noisy, twenty, kinds), given=True), []
for i, read in reads.items():
    handed = maps["down", i]
    assert torch.equal(read[:, -handed.shape[1] :], handed)
    n, channels, across = read.shape[-1], read.shape[1], handed.shape[1]
    rows.append((f"{n} × {n}", channels, across))
assert sum(isinstance(part, Block) for part in large.network.up.modules()) == 6
Table(["map", "channels that are read", "of them from across"], rows)

# %% [markdown]
# How much of the *noise* is in the maps of the way down, and how much of the *picture*? Fit a linear function, by least squares: from the channels at one position of a map to the pixels that this position covers (1, 4 or 16 of them), once of the noise and once of the clean picture. Fit it on fifteen of the pictures, each with four draws of noise, and report the share of the variance
# that it explains on the other five.


# %%
def readable(h, target):
    """Share of the target's variance that a linear fit reads off the map h."""
    p = target.shape[-1] // h.shape[-1]
    rows = rearrange(h, "b c h w -> (b h w) c").double()
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    target = rearrange(target, "b 1 (h p) (w q) -> (b h w) (p q)", p=p, q=p)
    target, cut = target.double(), len(rows) * 3 // 4
    line = torch.linalg.lstsq(rows[:cut], target[:cut]).solution
    rest = target[cut:]
    return 1 - ((rows[cut:] @ line - rest).square().mean() / rest.var()).item()


# %%
many = clothes.repeat_interleave(4, 0)
many_noise = draw(many, generator)
many_noisy = q_sample(many, t, large.schedule, many_noise)
seen = watch(downs, lambda: large.model(many_noisy, twenty.repeat(4)))
share = {h.shape[-1]: (readable(h, many_noise), readable(h, many)) for h in seen.values()}
assert share[28][0] > share[14][0] + 0.1 > share[7][0] + 0.2
assert share[7][0] < 0.2 and all(picture > 0.6 for _, picture in share.values())
rows = [(f"{n} × {n}", *(f"{round(v, 1) + 0.0:.1f}" for v in both)) for n, both in share.items()]
Table(["map", "share of the noise explained", "of the picture"], rows)

# %% [markdown]
# Most of the noise stands in the finest map and next to nothing of it in the coarsest, while the picture can be read off all three. The 7 × 7 map would have room for the noise (96 channels × 49 positions are six times the 784 pixels), but training has filled it with what the picture is. The answer needs both, the noisy pixels and the knowledge of what they show. The two
# meet on the way up: the pixels come through the skip connections, the knowledge from below.
#
# ### Cutting them
#
# Back to the small network, whose losses can be measured. Its blocks on the way up read 64 channels, the first half from below, the second half from the skip connection. Another kind of hook edits what a part is given. With it we replace the map of one skip connection: by zeros, or, in each channel, by the map's average over pictures and positions. Then we measure the loss.

# %%
parts = [part for stage in small.network.up for part in stage]
up_blocks = [part for part in parts if isinstance(part, Block)]
names = "d (4 x 4)", "c (4 x 4)", "b (8 x 8)", "a (8 x 8)"
cut_at = 50, 300, 700


def cutter(how):
    def hook(_, args):
        below, skip = args[0].chunk(2, 1)
        left = skip.mean((0, 2, 3), keepdim=True) if how == "average" else 0
        return torch.cat([below, torch.zeros_like(skip) + left], 1), args[1]

    return hook


# %%
whole = [losses(t).mean().item() for t in cut_at]
table = {"nothing": whole}
for how in ("zeros", "average"):
    for name, part in zip(names, up_blocks):
        hook = part.register_forward_pre_hook(cutter(how))
        table[f"{name}, {how}"] = [losses(t).mean().item() for t in cut_at]
        hook.remove()

# %%
for name in names[:2]:  # the coarse ones
    assert all(a < 1.1 * b for a, b in zip(table[f"{name}, zeros"], whole))
assert all(value > 0.9 for value in table["a (8 x 8), zeros"])
assert table["b (8 x 8), zeros"][0] > 2 * whole[0]
lost = [cut - left for cut, left in zip(table["b (8 x 8), zeros"], whole)]
assert lost[0] > 5 * max(lost[1:])
worse = zip(table["a (8 x 8), average"][:2], table["a (8 x 8), zeros"])
assert all(average > 1.2 * zeros for average, zeros in worse)
rows = [(name, *(f"{value:.2f}" for value in row)) for name, row in table.items()]
Table(["loss without", *(f"t = {t}" for t in cut_at)], rows)

# %% [markdown]
# Three things can be read off this table, and not all of them were expected.
#
# - Without `a`, the very first map, the network is as bad as silence, or worse. `a` is $x_t$ seen through one convolution, and the answer is, up to a factor, $x_t$ minus the part of it that is picture. At level 700 that part is small: whoever answers $x_t$ itself, without any network, has a loss of 0.16 there.
# - Without `b` it is the *low* level that suffers most: comparing a pixel with its neighbours is what the fine blocks are for.
# - The skip connections between the 4 × 4 maps could go, and one would hardly notice. The letter U is drawn with equal rungs, but its rungs are not equally busy. (That is said of this network, *after* training. One that had been trained without them would have found other ways.)
#
# The average seems to be a milder cut than zeros. Where `a` is cut, at levels 50 and 300, it is the harsher one. The reason is the norm in the block that reads `a`. Half of its groups hold nothing but the skip connection's channels, and {eq}`eq:group-norm` brings whatever stands there to a spread of 1. So constants that say nothing
# come out as loud as a signal, while zeros stay zeros.

# %%
first = watch({"a": small.network.conv_in}, lambda: losses(300))["a"]
average = first.mean((0, 2, 3)).view(4, 8)  # four groups of the norm
spread = average.std(1).max()
print(f"spread of a {first.std():.1f}, of averages {spread:.1f} at most")
parrot = (q_sample(images, 700, schedule, eps) - eps).square().mean()
print(f"loss at level 700 of the answer x_t: {parrot:.2f}")
blown_up = F.group_norm(average.view(1, 32, 1, 1), 4).view(4, 8)
assert spread < 0.9 * first.std() and blown_up.std(1, correction=0).min() > 0.99

# %% [markdown]
# ## How the network is told $t$
#
# A level is a whole number from 1 to 1000. From that one number a linear layer could make straight lines only, and the network may need a channel that is busy around level 80 and quiet elsewhere. So the level is written down in many scales at once, like the time on the hands of a clock: with $K$ frequencies from 1 down to $1/10000$,
#
# $$
# \begin{gathered}
# \psi(t) = (\sin \omega_1 t, \dots, \sin \omega_K t, \\
# \quad \cos \omega_1 t, \dots, \cos \omega_K t), \\
# \omega_k = 10000^{-(k-1)/(K-1)} .
# \end{gathered}
# $$ (eq:time-embedding)
#
# {cite:t}`vaswani2017attention` introduced it, with slightly other frequencies, for the positions of words. The scalar product of two such embeddings depends on the distance of the levels only, by $\cos(u - v) = \cos u \cos v + \sin u \sin v$:
#
# $$
# \psi(t) \cdot \psi(s) = \sum_{k=1}^{K} \cos\bigl(\omega_k (t - s)\bigr) .
# $$ (eq:time-distance)
#
# With $s = t$ it is $K$: all embeddings have the same length. Two linear layers, each followed by a SiLU, make of $\psi(t)$ the vector $e$ that every residual block receives.

# %%
t = torch.arange(1, 1001)
K = 16
omega = 10_000 ** (-torch.arange(K, dtype=torch.float64) / (K - 1))
angles = t[:, None] * omega
by_hand = torch.cat([angles.sin(), angles.cos()], 1)
# checks eq:time-embedding
embedded = time_embedding(t, 2 * K).double()
assert torch.allclose(by_hand, embedded, atol=1e-4)  # the package's are float32

products = by_hand @ by_hand.T
# checks eq:time-distance
formula = (omega * (t[:, None, None] - t[:, None])).cos().sum(2)
assert torch.allclose(products, formula, atol=1e-9)

# %% mystnb={"figure": {"caption": "Left: the time embedding with 32 entries at the first 200 levels, one row per entry, white +1 and black -1; sines above, cosines below, the fast hands at the top of each half. Right: likeness of the embeddings of two levels (their scalar product divided by $K$) against the distance of the levels.", "name": "fig-time-embedding"}, "image": {"alt": "Left: 32 rows of stripes against t; the rows at the top of each half have short waves, further down the waves become longer until a row is constant. Right: a jagged curve that starts at 1, falls steeply to about 0.6 within ten levels and then slowly, to around 0.3 at distances of several hundred."}} tags=["hide-input"]
fig, (left, right) = figure(2, height=2.5)
shown = {"aspect": "auto", "interpolation": "nearest", "cmap": "gray"}
left.imshow(embedded[:200].T, extent=(0.5, 200.5, 32, 0), **shown)
left.set(xlabel="level t", ylabel="entry")
left.grid(False)
right.plot(t - 1, products[0] / K)
right.set(xlabel="distance of two levels", ylabel="likeness", ylim=(-0.2, 1.05));

# %%
bands = ((1, 9), (10, 99), (100, 399), (400, 999))
likeness = [products[0, low : high + 1].mean() / K for low, high in bands]
assert likeness == sorted(likeness, reverse=True)
rows = [(f"{low} to {high}", f"{mean:.2f}") for (low, high), mean in zip(bands, likeness)]
Table(["levels apart", "mean likeness"], rows)

# %% [markdown]
# This helps one set of weights to serve all levels. Neighbouring levels ask nearly the same question, and their embeddings are much alike, so what is learnt at one level serves others. Distant levels ask different questions, and on average their embeddings are less alike. (The fast hands come round again and make the curve jagged; the network is free to listen to the slow ones.) Does the trained network
# use it? Give it digits at level 100, 400 and 700, and *lie* about the level.

# %%
told = [1, 25, 50, *range(100, 1001, 75)]
lied = {t: [losses(t, s).mean().item() for s in told] for t in (100, 400, 700)}

# %% mystnb={"figure": {"caption": "Loss on held-out digits against the level that the network is told, for three true levels (dots). The grey line is what a network scores that predicts nothing.", "name": "fig-wrong-level"}, "image": {"alt": "Three curves, each with a single minimum, which lies at the true level 100, 400 or 700. Told a level far too low, the loss rises to between 1.5 and 2, well above the grey line at 1; told one too high it rises more slowly."}} tags=["hide-input"]
fig, ax = figure(height=2.6)
for t, row in lied.items():
    (line,) = ax.plot(told, row, label=f"true level {t}")
    ax.plot(t, row[told.index(t)], "o", color=line.get_color())
ax.axhline(1, color="grey", lw=1)
ax.set(xlabel="level that the network is told", ylabel="loss", ylim=(0, None))
ax.legend(loc="upper right", ncols=3, fontsize=8);

# %%
rows = []
for t, row in lied.items():
    best = told[row.index(min(row))]
    rows.append((t, f"{min(row):.2f}", best))
    assert best == t and row[0] > 1
off_by_one = losses(400, 399).mean() / losses(400).mean()
assert abs(off_by_one - 1) < 0.01
Table(["true level", "least loss", "when told"], rows)

# %% [markdown]
# Of the levels tried, the true one gives the smallest loss each time. Being told 399 in place of 400 changes it by less than a hundredth, and a gross lie can be worse than silence. What does the network say when it is lied to?

# %%
def says(t, told):
    x_t = q_sample(images, t, schedule, eps)
    return small.model(x_t, torch.full((200,), told))


def correlation(x, y):
    return torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1].item()


rows = []
for t, told in ((700, 700), (700, 1), (100, 100), (100, 1000)):
    out = says(t, told)
    rows.append((t, told, f"{out.std():.1f}", f"{correlation(out, images):.2f}"))
assert says(700, 1).std() > 1.5 and correlation(says(100, 1000), images) > 0.8
assert 0.9 < says(700, 700).std() < 1.1 > says(100, 100).std()
Table(["true level", "told", "spread of the answer", "its correlation with x₀"], rows)

# %% [markdown]
# Told that there is little noise, the network takes all that it finds for something faint and blows it up to size: its answer has twice the spread that noise has. Told that there is nothing but noise, it hands back what it sees, which is the picture.
#
# ### Labels
#
# A label enters by the same door. Each class has a learnt vector, added to the vector of the level before the last SiLU, and there is one more row for **any class**, the *null label*. In training some of the labels are replaced by it (a fifth of them for this model), so that one network learns to predict with the label and without. The vectors start at zero: a new network treats all classes alike. How much does it help to know the digit?

# %%
wrong, lines = (classes + 1) % 10, []
assert small.recipe["label_dropout"] == 0.2
assert new.label_embedding.weight.abs().max() == 0
for t in (50, 300, 700):
    rows = [losses(t, labels=labels) for labels in (classes, any_digit, wrong)]
    lines.append((t, *(f"{row.mean():.3f}" for row in rows)))
    if t > 50:
        for less, more in zip(rows, rows[1:]):  # the same pictures and noise
            gap = more - less
            assert gap.mean() > 2 * gap.std() / 200**0.5
assert rows[0].mean() < 2 / 3 * rows[1].mean()  # at level 700
assert torch.equal(losses(300), losses(300, labels=any_digit))
Table(["level t", "loss, true label", "any", "wrong"], lines)

# %% [markdown]
# At level 50 the digit can be seen, and the label says little that is new. At level 700 it hardly can, and knowing it takes a third or more off the loss. {doc}`Chapter 14 </chapters/14_conditioning>` builds on the difference of the two predictions.
#
# ## What one pixel attends to
#
# Convolutions pass news from neighbour to neighbour. **Attention** lets every position ask all others directly. From the normed map each position $i$ computes, by a 1 × 1 convolution, three vectors of $C$ numbers, a query $q_i$, a key $k_i$ and a value $v_i$ (the customary letters; this $q$ is no distribution). It receives a mixture $r_i$ of the values of all $n$ positions:
#
# $$
# r_i = \sum_{j=1}^{n} w_{ij}\, v_j, \quad w_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt C)}{\sum_l \exp(q_i \cdot k_l / \sqrt C)} .
# $$ (eq:attention)
#
# The weights are positive and sum to 1; this way of making them is called *softmax*. (The root keeps the exponents moderate: a sum of $C$ uncorrelated terms of variance 1 has variance $C$.) A 1 × 1 convolution of $r$, which starts at zero, is added to the map.

# %%
attention = large.network.middle[0].attention
before = {"map": large.network.middle[0].res}
before = watch(before, lambda: large.model(noisy, twenty, kinds))["map"]
q, k, v = rearrange(
    attention.qkv(attention.norm(before)), "b (n c) h w -> n b (h w) c", n=3
)
scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
weights = scores.softmax(-1)  # (20, 49, 49)
mixed = rearrange(weights @ v, "b (h w) c -> b c h w", h=7)
# checks eq:attention
received = attention(before) - before
assert torch.allclose(attention.project(mixed), received, atol=1e-4)
assert torch.allclose(weights.sum(-1), torch.ones(20, 49), atol=1e-5)

# %% mystnb={"figure": {"caption": "What four positions of the 7 × 7 map in the middle of the larger network attend to. Left, the clean picture; the network sees it at level 300. Each map belongs to the position marked with a cross and shows that position's 49 weights, the largest in white.", "name": "fig-attention"}, "image": {"alt": "A row of five small pictures: a clean piece of clothing, and four coarse maps of 7 by 7 squares, each with a cross at one square. Few squares of each map are bright, and many of these are far from the cross."}} tags=["hide-input"]
fig, axes = figure(5, height=1.6)
axes[0].imshow(clothes[which, 0], cmap="gray", vmin=-1, vmax=1)
for ax, (row, column) in zip(axes[1:], ((1, 1), (3, 3), (3, 5), (6, 2))):
    ax.imshow(weights[which, 7 * row + column].view(7, 7), cmap="gray", vmin=0)
    ax.plot(column, row, "x", color="#D55E00", ms=8, mew=2)
for ax in axes:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)

# %%
row, column = torch.arange(49) // 7, torch.arange(49) % 7
apart = (row[:, None] - row).abs(), (column[:, None] - column).abs()
apart = torch.maximum(*apart)
near = (weights * (apart <= 1)).sum(-1).mean()
equal = (apart <= 1).double().mean()
print(f"weight on itself and neighbours {near:.2f}; if all were equal {equal:.2f}")
effective = (-(weights * weights.log()).sum(-1)).exp().mean()
print(f"positions listened to, by the entropy: {effective:.0f} of 49")
assert abs(near - equal) < 0.05 and effective < 49 / 3

# %% [markdown]
# Each position listens to some others and not to all. A way to count them is the exponential of the weights' entropy, $\exp(-\sum_j w_{ij} \ln w_{ij})$: it is 49 if all weights are equal, and 1 if one of them is all. Here it is less than a third of 49 on average. The choice is not made by nearness: a position and its neighbours, which a convolution could have asked, get about the weight that they would get if all were equal.
#
# The price: $n$ positions have $n^2$ weights. At 7 × 7 these are 2,401. At 16 × 16, where the published networks have attention, it is 65,536 weights a picture; at 256 × 256 it would be $2^{32}$. That is why attention stands at the bottom of the U.
#
# ## How far it sees
#
# Which pixels of $x_t$ can change one pixel of the answer? They are its **receptive field**. Take the gradient of that pixel with respect to $x_t$, in networks with random weights and one block for each resolution, and measure the side of the square where it is not zero. Three questions: what do the coarse resolutions add, what does attention add, what do the norms add?


# %% tags=["hide-input"]
def side(resolutions, without, n=160):
    """Side of the receptive field of the middle pixel, in a picture of n x n."""
    torch.manual_seed(0)
    shape = {"image_size": n, "image_channels": 1, "ch": 4, "groups": 4}
    shape |= {"num_res_blocks": 1, "attn_resolutions": (), "dropout": 0.0}
    net = UNet(UNetConfig(**shape, ch_mult=(1,) * resolutions))
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    for module in list(net.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, without):
                setattr(module, name, nn.Identity())
    x = torch.randn(1, 1, n, n, requires_grad=True)
    middle = net(x, torch.tensor([500]))[0, 0, n // 2, n // 2]
    return (torch.autograd.grad(middle, x)[0] != 0).any(2).sum().item()


# %%
sides = [side(resolutions, (Attention, nn.GroupNorm)) for resolutions in (1, 2, 3)]
assert sides == [25, 61, 133]
with_attention, with_norms = side(1, nn.GroupNorm, 40), side(1, Attention, 40)
assert with_attention == with_norms == 40
rows = [(f"{n}, convolutions alone", across) for n, across in zip((1, 2, 3), sides)]
rows += [("1, and attention", "all 40"), ("1, and norms", "all 40")]
Table(["resolutions", "pixels across that one pixel sees"], rows)

# %% [markdown]
# Each resolution more than doubles the sight. And here is a surprise: strictly speaking a single resolution without attention sees everything too, through the mean and variance of its norms. But those are two numbers per group; they can say "it is a bright picture", not "there is a heel down there". What a network can see is one question, and what it looks at is another. In the *trained* network the size of the gradient answers the second.

# %%
def gradient(t, told):
    """Mean size of the gradient of the middle pixel, at level t, told a level."""
    x = q_sample(clothes, t, large.schedule, noise).requires_grad_()
    middle = large.model(x, torch.full((20,), told))[:, 0, 14, 14]
    return torch.autograd.grad(middle.sum(), x)[0][:, 0].abs().mean(0)


seen = {t: gradient(t, t) for t in (30, 300, 900)}

# %% mystnb={"figure": {"caption": "Size of the gradient of one predicted pixel (in the middle) with respect to every pixel of $x_t$, mean over 20 pictures, at three levels of the larger network. The grey scale is logarithmic.", "name": "fig-gradients"}, "image": {"alt": "Three square maps of 28 by 28 pixels with a bright pixel in the middle. At level 30 the brightness falls off quickly around it, most slowly along its row and column; the higher the level, the broader and flatter is the glow around the bright middle."}} tags=["hide-input"]
fig, axes = figure(3, height=2.4)
for ax, (t, size) in zip(axes, seen.items()):
    ax.imshow((size / size.max()).log10(), cmap="gray", vmin=-3.5, vmax=0)
    ax.set(xticks=[], yticks=[], title=f"t = {t}")
    ax.grid(False)

# %%
row, column = torch.arange(28)[:, None] - 14, torch.arange(28) - 14
distance = torch.maximum(row.abs(), column.abs())
seen |= {"300, told 30": gradient(300, 30), "300, told 900": gradient(300, 900)}
far = {}
for t, size in seen.items():  # without the middle pixel itself
    far[t] = (size[distance > 6].sum() / size[distance > 0].sum()).item()
assert far[900] > far[300] + 0.05 > far[30] + 0.1
assert far["300, told 900"] > far["300, told 30"] + 0.05 > far[30] + 0.1
Table(["level t", "gradient beyond 6 pixels"], [(t, f"{v:.2f}") for t, v in far.items()])

# %% [markdown]
# The numbers are the share of the gradient (its middle left out) that falls on pixels more than 6 rows or columns away. The higher the level, the farther the network looks. The level that it is told is one reason: given the same $x_{300}$, it looks farther when told 900 than when told 30. The picture is another: told 30 each time, it looks farther at $x_{300}$ than at $x_{30}$. That is the answer to the chapter's question in one line: one set of weights that looks near or far, as the level and the picture ask.
#
# ## What each part costs
#
# A 3 × 3 convolution with $C$ channels in and $C'$ channels out has $9\,C\,C'$ weights (and $C'$ numbers to add), and uses each of them once per pixel of what it puts out. So its work, counted in multiplications with an addition, is the number of its weights times that of its pixels. Count both in the larger network, by stages. Torch has a counter of its own, `FlopCounterMode`; ours has to agree with it.


# %%
def cost(net):
    """Multiply-adds a picture, of each convolution or linear layer and in all."""
    cfg, counts = net.config, {}
    x = torch.zeros(1, cfg.image_channels, cfg.image_size, cfg.image_size)
    kinds = nn.Conv2d | nn.Linear
    layers = {n: m for n, m in net.named_modules() if isinstance(m, kinds)}
    device = net.conv_in.weight.device  # "meta" has shapes and no numbers
    with FlopCounterMode(display=False) as witness:
        t = torch.ones(1, dtype=torch.long, device=device)
        outs = watch(layers, lambda: net(x.to(device), t))
    for name, out in outs.items():
        counts[name] = layers[name].weight.numel() * out[0, 0].numel()
    return counts, witness.get_total_flops() / 2


# %%
counts, total = cost(large.network)
print(f"{total / 1e6:.1f} million multiply-adds a picture")
beside = total - sum(counts.values())  # attention: 2 n^2 C
assert beside == 2 * 49**2 * 96

# %%
stages = {"embeddings": ("time_mlp", "label_embedding"), "conv_in": ("conv_in",)}
stages |= {f"down {28 // 2**i:2d}": (f"down.{i}.",) for i in range(3)}
stages |= {"middle 7": ("middle",)}
stages |= {f"up {7 * 2**i:4d}": (f"up.{i}.",) for i in range(3)}
stages |= {"norm, conv_out": ("norm_out", "conv_out")}
size, work = {}, {}
for stage, names in stages.items():
    mine = large.network.named_parameters()
    size[stage] = sum(p.numel() for n, p in mine if n.startswith(names))
    work[stage] = sum(c for n, c in counts.items() if n.startswith(names))

assert sum(size.values()) == sum(p.numel() for p in large.model.parameters())
assert sum(work.values()) == sum(counts.values())
rows = [(s, f"{size[s]:,}", f"{work[s] / 1e6:.1f}") for s in stages]
Table(["stage", "weights", "multiply-adds, millions"], rows)

# %%
rows = []
for pixels in (7, 14, 28):
    names = [stage for stage in size if stage.endswith(f" {pixels}")]
    of_size = sum(size[n] for n in names) / sum(size.values())
    of_work = sum(work[n] for n in names) / total
    rows.append((f"{pixels} × {pixels}", f"{of_size:.0%}", f"{of_work:.0%}"))
    assert 0.2 < of_work < 0.5
Table(["resolution", "of the weights", "of the work"], rows)

# %% [markdown]
# A weight at 28 × 28 is used 784 times a picture, one at 7 × 7 only 49 times. In this network the number of channels doubles whenever the resolution is halved: four times the weights on a quarter of the pixels. So all resolutions have work of the same order, but most of the parameters are at the bottom. (An `Upsample` works at the finer resolution, and is counted with the stage that it ends. Attention's own work, $2 n^2 C$, is half a million here.) Does the clock agree? Take the time of the blocks at 28 × 28, by hooks, as a share of a whole call.

# %%
fine = [large.network.down[0][0], *large.network.up[2]]
fine_parameters = sum(p.numel() for part in fine for p in part.parameters())
begun, spent, hooks = [], [], []


def start(part, args):
    begun.append(time.perf_counter())


def stop(part, args, out):
    spent.append(time.perf_counter() - begun[-1])


for part in fine:
    hooks.append(part.register_forward_pre_hook(start))
    hooks.append(part.register_forward_hook(stop))

# %%
clock = time.perf_counter()
for _ in range(3):
    large.model(noisy, twenty, kinds)
whole_time = time.perf_counter() - clock
for hook in hooks:
    hook.remove()
of_parameters = fine_parameters / sum(size.values())
print(f"blocks at 28 x 28: {of_parameters:.0%} of the parameters")
assert sum(spent) / whole_time > 4 * of_parameters

# %% [markdown]
# Their share of the time is more than four times their share of the parameters; the cell asserts it, and prints no seconds, which belong to a machine. If a model is to have more parameters and not much more work, it grows at the bottom.
#
# ## The networks of the papers
#
# They are the same {py:class}`~ddim_edu.nets.unet.UNet` with other numbers. From the official DDIM code, and for the last column from DDPM:
#
# | | CIFAR-10 | CelebA | CelebA-HQ |
# |---|---|---|---|
# | pixels | 32 × 32 | 64 × 64 | 256 × 256 |
# | channels `ch` | 128 | 128 | 128 |
# | `ch_mult` | 1, 2, 2, 2 | 1, 2, 2, 2, 4 | 1, 1, 2, 2, 4, 4 |
# | dropout | 0.1 | 0.1 | 0 |
#
# All have two residual blocks for each resolution (three on the way up), attention at 16 × 16 and in the middle, group norms with 32 groups, and no labels. Dropout is a protection against learning by heart: in training each number between norm and second convolution is set to 0 with that probability. The sources of this book also train the first one with 64 channels. To count, no memory is needed: on torch's device `meta` a tensor has a shape and no contents.

# %%
published = {"cifar10-64": 8_952_067, "cifar10-128": 35_746_307}
published |= {"celeba-64": 78_700_803, "celeba-hq-256": 113_673_219}
found, rows = {}, []
for name, parameters in published.items():
    with torch.device("meta"):
        network = UNet(RECIPES[name].unet)
    count = sum(p.numel() for p in network.parameters())
    giga = cost(network)[1] / 1e9
    rows.append((name, f"{count:,}", f"{giga:.1f}"))
    assert count == parameters
    found[name] = count, giga
ratios = [b / a for a, b in zip(found["cifar10-128"], found["celeba-hq-256"])]
assert 3 < ratios[0] < 3.5 and 38 < ratios[1] < 42
Table(["recipe", "parameters", "multiply-adds, 10⁹ a picture"], rows)

# %% [markdown]
# Parameters and work part again. From CIFAR-10 to CelebA-HQ the parameters triple and the work grows fortyfold: there are 64 times as many pixels, and the second resolution has 128 channels in place of 256. One sample in 1000 steps costs a thousand times the last column; this is the arithmetic behind the wish for fewer steps.
#
# ## What breaks: $t$ in other units
#
# Some codes count time from 0 to 1, others in levels. Nothing in the arithmetic objects if one is handed to the other: sines take any number. So take the network that we wired by hand, with the trained weights, and tell it $t/T$ where it expects $t$.


# %%
def fraction(x_t, t):
    return predict(net, x_t, t / 1000, torch.full((len(x_t),), 10))


rows = []
for t in (50, 300, 700):
    x_t = q_sample(images, t, schedule, eps)
    bad = (fraction(x_t, torch.full((200,), t)) - eps).square().mean().item()
    good = losses(t).mean().item()
    rows.append((t, f"{good:.2f}", f"{bad:.2f}"))
    assert bad > 1 > good
Table(["level t", "loss, told t", "told t/T"], rows)

# %%
made = {}
for name, model in (("right", small.model), ("t/T", fraction)):
    fresh, tau = torch.Generator().manual_seed(0), make_tau(1000, 20, "leading")
    made[name] = sample(model, (50, 1, 8, 8), schedule, tau, generator=fresh)

# %% mystnb={"figure": {"caption": "Twenty steps of DDIM from the same ten starts. Top: the network is told $t$. Bottom: it is told $t/T$.", "name": "fig-wrong-units"}, "image": {"alt": "Two rows of ten small grey pictures. The top row shows handwritten digits, the bottom row hard black and white shapes that resemble none."}} tags=["hide-input"]
fig, axes = figure(1, 2, height=1.75)
for ax, (name, x) in zip(axes, made.items()):
    ax.imshow(torch.cat(list(x[:10]), 2)[0], cmap="gray", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[], ylabel="$t$" if name == "right" else "$t/T$")
    ax.grid(False)

# %%
known = data.floats(data.train).flatten(1)
away = {}
for name, x in made.items():
    away[name] = torch.cdist(x.flatten(1), known).amin(1).mean()
assert away["t/T"] > 1.5 * away["right"]
rows = [(told, f"{gap:.1f}") for told, gap in zip(("t", "t/T"), away.values())]
Table(["the network is told", "distance to the nearest training digit"], rows)

# %% [markdown]
# All fractions lie between 0 and 1, so the network believes that there is no noise, at whatever level: its loss is worse than silence at all three levels, and the samples are no digits. No exception, no warning, and the shapes are right. A loss above 1 is the alarm, and costs one line to look at.
#
# ## Exercises
#
# Check your answers: `from ddim_edu.exercises import check`.
#
# ```{exercise} Derive: sixty-one pixels
# :label: ex-unet-sight
# *Derive · three stars · 30 minutes*
#
# With convolutions only and one block for each resolution, a pixel's receptive field is a square of 61 × 61 where there are two resolutions. Derive it. Walk back from one pixel of the answer: which convolutions does it pass at full resolution, what do doubling and `Downsample` (which pads on the right and below only) do to an interval of positions, and how many convolutions are there at half resolution?
# Hand in a function `interval(o)` that returns the first and the last row that row `o` of the answer sees, far from the border: `check("ex-unet-sight", interval)`.
# ```
#
# ````{solution} ex-unet-sight
# :class: dropdown
# From pixel $o$ back: the last convolution, two blocks of two, and the convolution of `Upsample` widen by 6 on each side: $[o - 6, o + 6]$. Halving: from $\lfloor (o-6)/2 \rfloor$ to $\lfloor (o+6)/2 \rfloor$. At half resolution there are two blocks on the way up, two in the middle and one on the way down, ten convolutions: 10 more on each side. Position $i$ of `Downsample` reads pixels $2i$ to $2i + 2$. One block and the first convolution
# add 3 on each side.
#
# ```python
# from ddim_edu.exercises import check
#
# def interval(o):
#     low, high = o - 6, o + 6
#     low, high = low // 2, high // 2  # Upsample repeats: pixel p comes from p // 2
#     low, high = low - 10, high + 10
#     low, high = 2 * low, 2 * high + 2
#     return low - 3, high + 3
#
# low, high = interval(80)
# assert high - low + 1 == 61
# assert 12 * 2 + 1 == 25  # one resolution: twelve convolutions in a row
# assert check("ex-unet-sight", interval)
# ```
# ````
#
# ```{exercise} Code: count without building
# :label: ex-unet-count
# *Code · three stars · 40 minutes*
#
# Write a function that computes the number of parameters of a {py:class}`~ddim_edu.nets.unet.UNet` without labels from `ch`, `ch_mult` and `image_size` (two blocks for each resolution, attention at 16 × 16 and in the middle, three colours), with nothing but sums and products. It should give the published numbers.
# Hand in the function, `count(size, ch, mult)`: `check("ex-unet-count", count)`.
# ```
#
# ````{solution} ex-unet-count
# :class: dropdown
# The only care is for the skip connections: the list of their channels is filled on the way down and emptied on the way up.
#
# ```python
# from ddim_edu.exercises import check
#
# def count(size, ch, mult):
#     conv = lambda i, o: 9 * i * o + o
#     attention = lambda c: 2 * c + (3 * c * c + 3 * c) + (c * c + c)
#     def res(i, o):
#         shortcut = 0 if i == o else i * o + o
#         return 2 * i + conv(i, o) + (4 * ch * o + o) + 2 * o + conv(o, o) + shortcut
#
#     total = (4 * ch * ch + 4 * ch) + (16 * ch * ch + 4 * ch) + conv(3, ch)
#     skips, c, last = [ch], ch, len(mult) - 1
#     for level, m in enumerate(mult):
#         for _ in range(2):
#             total += res(c, m * ch) + (size >> level == 16) * attention(m * ch)
#             c = m * ch
#             skips.append(c)
#         if level < last:
#             total += conv(c, c)
#             skips.append(c)
#     total += 2 * res(c, c) + attention(c)
#     for level in range(last, -1, -1):
#         for _ in range(3):
#             o = mult[level] * ch
#             total += res(c + skips.pop(), o) + (size >> level == 16) * attention(o)
#             c = o
#         total += conv(c, c) if level else 0
#     return total + 2 * c + conv(c, 3)
#
# assert count(32, 64, (1, 2, 2, 2)) == 8_952_067
# assert count(32, 128, (1, 2, 2, 2)) == 35_746_307
# assert count(64, 128, (1, 2, 2, 2, 4)) == 78_700_803
# assert count(256, 128, (1, 1, 2, 2, 4, 4)) == 113_673_219
# assert check("ex-unet-count", count)
# ```
# ````
#
# ```{exercise} Derive: attention does not know where it is
# :label: ex-unet-permutation
# *Derive · two stars · 20 minutes*
#
# Show that attention {eq}`eq:attention` commutes with any permutation of the positions: permute the pixels of the map, and the result is permuted in the same way and otherwise unchanged. Check it with an `Attention` of your own (only {py:class}`~ddim_edu.nets.unet.UNet` sets its last layer to zero). Does a residual block have that property?
# Hand in a function `gap(layer)`, the largest absolute difference between `layer` after a permutation and before it, on a random map of 8 channels and 7 × 7 pixels: `check("ex-unet-permutation", gap)`.
# ```
#
# ````{solution} ex-unet-permutation
# :class: dropdown
# A 1 × 1 convolution treats each position alike, and the norm's mean and variance are sums over positions. With $\pi$ a permutation, the new weights are $w_{\pi(i)\pi(j)}$, and in the sum over $j$ the order of the terms does not matter. So attention sees *what* is at other positions and not *where* they are; whatever it knows of places must be in the vectors. The 3 × 3 convolutions have no such symmetry. They compare neighbours, and the zeros around the map tell them where the border is.
#
# ```python
# import torch
# from ddim_edu.exercises import check
# from ddim_edu.nets.unet import Attention, ResBlock
#
# torch.manual_seed(0)
# order = torch.randperm(49)
# permute = lambda x: x.flatten(2)[..., order].view_as(x)
#
# def gap(layer):
#     x = torch.randn(2, 8, 7, 7)
#     return (layer(permute(x)) - permute(layer(x))).abs().max().item()
#
# e = torch.randn(2, 16)
# attention, block = Attention(8, groups=4), ResBlock(8, 8, 16, 4, 0.0)
# assert gap(attention) < 1e-4
# assert gap(lambda x: block(x, e)) > 0.1
# assert check("ex-unet-permutation", gap)
# ```
# ````
#
# ```{exercise} Break: batch norm in place of group norm
# :label: ex-unet-batch-norm
# *Break · one star · 15 minutes*
#
# Replace the two norms of a residual block by `nn.BatchNorm2d`, in training mode. Compute the output for one map, in a batch with its equals and in a batch with maps that are ten times as large, as maps from another level may be. Compare with the group norm.
# Hand in the largest change of the output, with group norm and with batch norm: `check("ex-unet-batch-norm", (group, batch))`.
# ```
#
# ````{solution} ex-unet-batch-norm
# :class: dropdown
# With batch norm the output for the same map changes, because mean and variance are shared with the company. With group norm it stays.
#
# ```python
# import torch
# from torch import nn
# from ddim_edu.exercises import check
# from ddim_edu.nets.unet import ResBlock
#
# torch.manual_seed(0)
# grouped, batched = ResBlock(8, 8, 16, 4, 0.0), ResBlock(8, 8, 16, 4, 0.0)
# batched.norm1, batched.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
# x, e = torch.randn(6, 8, 5, 5), torch.zeros(6, 16)
# loud = torch.cat([x[:1], 10 * x[1:]])
# changes = {}
# for name, block in (("group", grouped), ("batch", batched)):
#     changes[name] = (block(x, e)[0] - block(loud, e)[0]).abs().max().item()
# assert changes["group"] < 1e-4 and changes["batch"] > 0.1
# assert check("ex-unet-batch-norm", (changes["group"], changes["batch"]))
# ```
# ````

#
# ## Summary
#
# 1. A U-Net goes down to small maps, where sight is far and work is cheap, and up again; skip connections hand over the detail. Sixteen parts and twelve lines of wiring equal the shipped model.
# 2. The finest skip connection carries the noise and cannot be cut; in the small model the coarsest can.
# 3. Sines and cosines of $t$ tell each block the level. The loss is least where the network is told the truth, and a gross lie can be worse than silence. A label is one more vector, the null label another.
# 4. Convolutions see a bounded square, attention and the norms see everything; the trained network looks far when it is told that there is much noise.
# 5. Most parameters sit at the coarse resolutions, while the work is spread over all of them. A new network predicts zero and has loss 1.
#
# **Next.** {doc}`Chapter 10 </chapters/10_training>` trains it. In the package, read {py:mod}`ddim_edu.nets.unet` from {py:class}`~ddim_edu.nets.unet.UNetConfig` down: you have met every part.
