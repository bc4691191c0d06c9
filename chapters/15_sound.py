# %% [markdown]
# (ch-sound)=
# # Sound
#
# **Question.** Nothing in DDIM mentions pictures. Can it speak? And if it can: does inversion let us take a recording of *three* and have the same voice say *eight*?
#
# A second of telephone speech is 8,000 numbers, of which no single one means anything. This chapter looks for numbers that mean something, and lets DDIM loose on those. At its end you will have checked
#
# - that a sound is nearly a picture: 64 bands of pitch by 64 moments, and what is lost when it becomes one;
# - that the lost part, the phases, can be found again by two projections in turns, whose error can't rise;
# - that a small autoencoder shrinks the picture to an eighth, why its output must have variance 1, and what it blurs;
# - how often a word and a voice come out as they were asked for, as two classifiers hear it, at several $S$ and $\eta$;
# - what a recording's latent carries from one word or voice to another, and what it doesn't;
# - that latents with the right mean and variance are not yet sounds.
#
# The chapter opens {py:mod}`ddim_edu.apps.audio`, {py:mod}`ddim_edu.nets.autoencoder` and {py:mod}`ddim_edu.apps.sound`. Where it has something to play, there is a player in the page.

# %%
import json
from pathlib import Path

import torch
from IPython.display import Audio, display

from ddim_edu.apps import audio
from ddim_edu.apps.sound import Voices, listen
from ddim_edu.lab.checkpoint import load
from ddim_edu.lab.sounds import find_recording
from ddim_edu.plotting import COLOURS, figure
from ddim_edu.sampler import draw, generator_for, invert, sample
from ddim_edu.schedule import make_tau

# %% [markdown]
# ## A sound as a picture
#
# The data are the Free Spoken Digit Dataset {cite}`jackson2018fsdd`: the ten digits, said fifty times each by six speakers, 3,000 recordings of about half a second with 8,000 samples a second. Eight of its recordings come with this book. Here is one, of a *three*.

# %% tags=["nbval-ignore-output"]
NAMES = (
    "0_george_0 1_jackson_0 2_lucas_0 3_nicolas_0 4_theo_0 5_yweweler_0"
    " 7_theo_1 9_nicolas_1"
).split()
clips = [audio.fit(audio.read_wav(find_recording(name))) for name in NAMES]
sounds = torch.stack([clip.sound for clip in clips]).double()
THREE = NAMES.index("3_nicolas_0")
display(Audio(sounds[THREE].numpy(), rate=audio.RATE))

# %% [markdown]
# What we hear in it are not samples but pitches that come and go. The **short-time Fourier transform** shows them: cut out 512 samples (64 ms), fade them in and out by a Hann window $w$, take the discrete Fourier transform, move on by $H = 128$ samples, and so on. Frame $m$ at frequency $k$ is
#
# $$
# X_{k,m} = \sum_{n=0}^{511} w_n\, x_{n + mH}\, e^{-2 \pi i k n / 512} .
# $$
#
# Of its absolute value and its phase we keep the absolute value. Then there are two reductions, both taken from hearing. First, pitches are told apart by ratio rather than by difference, except for the low ones. The **mel scale** says so in a formula:
#
# $$
# \operatorname{mel}(f) = 2595 \log_{10}\Bigl(1 + \frac{f}{700\,\text{Hz}}\Bigr)
# $$ (eq:mel)
#
# On it 64 triangles $F_b$ stand side by side, each reaching to its neighbours' peaks, and the power in a band is $m_{b} = \sum_k F_{bk} |X_k|^2$. Second, loudness is heard by ratio too, so the power is taken in decibels below the loudest place, cut off at 60 (a thousandth of its amplitude) and brought to $[-1, 1]$:
#
# $$
# y = \max\Bigl(-1,\; 1 + \tfrac{1}{30} \cdot 10 \log_{10} \frac{m}{\max m}\Bigr)
# $$ (eq:log-mel)

# %%
# checks eq:mel, eq:log-mel
x = torch.nn.functional.pad(sounds, (256, 256))  # silence beyond the ends
frames = x.unfold(1, 512, 128) * torch.hann_window(512).double()
X = torch.fft.rfft(frames).mT
assert X.shape == (8, 257, 64) and (X - audio.stft(sounds)).abs().max() < 1e-4
f = torch.tensor([0.0, 700.0, 4000.0]).double()
by_hand = 2595 * torch.log10(1 + f / 700)
torch.testing.assert_close(audio.hertz_to_mel(f), by_hand)
m = audio.mel_filters() @ X.abs() ** 2
loudest = m.amax((1, 2), keepdim=True)
y = (1 + 10 / 30 * torch.log10(m / loudest)).clamp(min=-1)[:, None]
torch.testing.assert_close(audio.log_mel(sounds), y, atol=1e-4, rtol=0)
print(f"{sounds.shape[1]:,} samples -> {y[0].numel():,} numbers")

# %% mystnb={"figure": {"caption": "A recording of *three*. Above, its 8,064 samples, which tell the eye when there is sound and little else; below, its log-mel spectrogram. The dark bars that move are resonances of the mouth; how they move is the word.", "name": "fig-three"}, "image": {"alt": "Two plots over one second. Above, a waveform that is silent, swells after 0.1 seconds, and dies out at 0.4 seconds. Below, a picture of 64 bands by 64 moments: a faint patch in the high bands at the beginning, then dark horizontal bars in the low bands and a bar that rises to the middle bands, then nothing."}} tags=["hide-input"]
fig, axes = figure(1, 2, height=3.6, sharex=True)
seconds = torch.arange(sounds.shape[1]) / audio.RATE
axes[0].plot(seconds, sounds[THREE], lw=0.5)
axes[0].set(ylabel="sample", xlim=(0, 1))
extent = (-0.008, 63.5 * 128 / 8000, -0.5, 63.5)
axes[1].imshow(y[THREE, 0], origin="lower", aspect="auto", extent=extent, cmap="Greys")
axes[1].set(xlabel="seconds", ylabel="band")
axes[1].grid(False);

# %%
quiet = (y == -1).double().mean((1, 2, 3))
for name, share in zip(NAMES, quiet):
    print(f"{name:12} {share:.0%} of the picture is silence")
assert ((quiet > 0.2) & (quiet < 0.9)).all()

# %% [markdown]
# The picture doesn't depend on how loud the recording was. Its 4,096 numbers are a grey image, as far as a network is concerned.
#
# ## Back again: bands
#
# The way back has two gaps. From 64 bands to 257 frequencies many answers fit; we want one that is nowhere negative. {cite:t}`lee2001nmf` found an update that stays positive without being told to, and never raises $\|F p - m\|$:
#
# $$
# p \leftarrow p \cdot \frac{F^\top m}{F^\top F p}
# $$ (eq:lee-seung)

# %%
# checks eq:lee-seung
F = audio.mel_filters()
bands = 10 ** (3 * (y[:, 0] - 1)) * (y[:, 0] > -1)  # the floor stands for silence
p = torch.ones(8, 257, 64).double() * bands.mean(1, keepdim=True)
errors = []
for _ in range(100):
    errors.append((F @ p - bands).norm() / bands.norm())
    p = p * (F.T @ bands) / (F.T @ F @ p).clamp(min=1e-12)
torch.testing.assert_close(audio.magnitude(y), p.sqrt(), atol=1e-6, rtol=0)
assert all(b <= a for a, b in zip(errors, errors[1:]))
print(f"error of the bands: {errors[0]:.2f}, after 100 updates {errors[-1]:.3f}")

# %% [markdown]
# ## Back again: phases
#
# Now there are absolute values $A$, and no phases. Random ones don't do: frames overlap by three quarters, so that each sample belongs to four frames, and these must agree on it. Most arrays of complex numbers are the transform of *no* sound. {cite:t}`griffin1984` asked which sound comes nearest.
#
# ```{prf:lemma} The nearest sound
# :label: lem-nearest-sound
# Let $Y$ be any spectra and $v_m$ the inverse Fourier transform of its frame $m$, placed where that frame stands. The sound whose transform lies nearest to $Y$ is
#
# $$
# x_n = \frac{\sum_m w_{n - mH}\, v_{m,n}}{\sum_m w_{n - mH}^2} .
# $$ (eq:least-squares-sound)
# ```
#
# ```{prf:proof}
# The discrete Fourier transform keeps squared distances up to a constant factor (Parseval), so the squared distance is, up to that factor, $\sum_m \sum_n (w_{n-mH} x_n - v_{m,n})^2$. Each $x_n$ has its own part of the sum, a parabola; {eq}`eq:least-squares-sound` is where its derivative is 0.
# ```
#
# (In that distance all 512 frequencies count. The 257 that are kept stand for all, the others being their conjugates; {py:func}`~ddim_edu.apps.audio.norm` counts them.)
#
# Call the transform $G$ and the map of the lemma $G^\dagger$. Then $P_1 = G G^\dagger$ takes any spectra to the nearest *consistent* ones. A second map takes them to the nearest that have the wanted absolute values, $P_2(C) = A \cdot C/|C|$. **Griffin and Lim's method** is both in turns:
#
# $$
# C_n = P_1(P_2(C_{n-1}))
# $$ (eq:griffin-lim)
#
# ```{prf:theorem} The error never rises
# :label: thm-griffin-lim
# The distance $\| |C_n| - A \|$ of the magnitudes from the wanted ones doesn't grow with $n$.
# ```
#
# ```{prf:proof}
# Write $B_n = P_2(C_n)$. Replacing magnitudes and keeping phases moves each number by the difference of the magnitudes, so $\| |C_n| - A \| = \|C_n - B_n\|$. Next, $C_{n+1}$ is the consistent point nearest to $B_n$, and $C_n$ is another consistent point: $\|C_{n+1} - B_n\| \le \|C_n - B_n\|$. Last, $B_{n+1}$ is the point with magnitudes $A$ nearest to $C_{n+1}$, and $B_n$ another such: $\|C_{n+1} - B_{n+1}\| \le \|C_{n+1} - B_n\|$.
# ```
#
# The sets with magnitudes $A$ are circles, not convex, so that the error may stop falling anywhere. {cite:t}`perraudin2013` overshoot, which gives up the theorem and ends nearer as a rule:
#
# $$
# \begin{aligned}
# C_n &= P_1(P_2(T_{n-1})), \\
# T_n &= C_n + \gamma\, (C_n - C_{n-1}), \quad \gamma = 0.99 .
# \end{aligned}
# $$ (eq:fast-griffin-lim)

# %%
# checks eq:least-squares-sound
g = torch.Generator().manual_seed(0)
Y = torch.polar(audio.stft(sounds).abs(), 6.2832 * torch.rand(X.shape, generator=g).double())
v = torch.fft.irfft(Y.mT, n=512)  # drops what no real sound has
w = torch.hann_window(512).double()
total, squares = torch.zeros(8, 8576).double(), torch.zeros(8576).double()
for i in range(64):
    total[:, 128 * i : 128 * i + 512] += w * v[:, i]
    squares[128 * i : 128 * i + 512] += w**2
nearest = (total / squares.clamp(min=1e-12))[:, 256:-256]
assert (nearest - audio.istft(Y)).abs().max() < 1e-5

# %%
# checks eq:griffin-lim, eq:fast-griffin-lim
A, histories = audio.stft(sounds).abs(), {}
for gamma in (0.0, 0.99):
    path = audio.griffin_lim_path(A, 30, gamma, torch.Generator().manual_seed(0))
    turns = torch.rand(A.shape, generator=torch.Generator().manual_seed(0), dtype=A.dtype)
    B, before, history = torch.polar(A, 2 * torch.pi * turns), None, []
    for found in path:
        C = audio.stft(audio.istft(B))
        assert (audio.stft(found) - C).abs().max() < 1e-6
        history.append(audio.norm(C.abs() - A) / audio.norm(A))
        T = C if before is None else C + gamma * (C - before)
        B, before = A * T / T.abs().clamp(min=1e-300), C
    histories[gamma] = torch.stack(history)
assert (histories[0.0].diff(dim=0) < 1e-9).all()  # the theorem

# %% mystnb={"figure": {"caption": "Relative distance of the magnitudes from the wanted ones, against the number of turns, for the eight recordings (thin lines) and their mean. Griffin and Lim's method goes down only; the fast one overshoots, wobbles, and ends lower.", "name": "fig-phases"}, "image": {"alt": "Two bundles of falling curves on a logarithmic axis against 0 to 30 turns, starting together at about 0.5. The bundle of Griffin and Lim's method flattens out early; the bundle of the fast method goes on falling and ends clearly lower."}} tags=["hide-input"]
fig, ax = figure(height=2.8)
for (gamma, history), colour in zip(histories.items(), COLOURS):
    ax.plot(history, color=colour, lw=0.5, alpha=0.5)
    name = "fast, 0.99" if gamma else "Griffin and Lim, 0"
    ax.plot(history.mean(1), color=colour, label=f"{name}")
ax.set(xlabel="turns", ylabel="relative error", yscale="log")
ax.legend(title=r"momentum $\gamma$");

# %%
RESULTS = json.loads(Path("../results/spoken_digits.json").read_text())
for gamma, history in histories.items():
    print(f"momentum {gamma}: {history[0].mean():.2f} -> {history[-1].mean():.2f}")
assert (histories[0.99][-1] < histories[0.0][-1]).all()
print("\n60 held-out recordings, after 60 turns:")
for name, rows in RESULTS["phases"].items():
    if name != "about":
        row = rows[-1]
        print(f"  {name:29} {row['mean']:.3f} ± {2 * row['se']:.3f}")

# %% [markdown]
# The last two lines of that table start from the magnitudes that {eq}`eq:lee-seung` guessed from bands, which no sound has exactly; so they end higher. What does it sound like? First the recording, then what came back from its picture alone.

# %% tags=["nbval-ignore-output"]
def play(pictures):
    generator = torch.Generator().manual_seed(0)
    for found in audio.to_sound(pictures.float(), generator=generator):
        display(Audio(found.numpy(), rate=audio.RATE))


display(Audio(sounds[THREE].numpy(), rate=audio.RATE))
play(y[THREE, None])

# %% [markdown]
# ## A smaller space
#
# DDIM could be run on the picture itself. It would spend most of its work on fine grain that the ear forgives, at 4,096 numbers a step. A **latent diffusion** {cite}`rombach2022ldm` makes two models of one: an autoencoder, which learns to shrink and to enlarge, and a diffusion on what it shrank to. Ours has three levels of convolutions each way and turns $1 \times 64 \times 64$ into $8 \times 8 \times 8$.
#
# The schedule supposes data of variance 1: what level $t$ has kept is $\bar\alpha_t$ times the variance of the data against $1 - \bar\alpha_t$ of noise. Latents twice as large would pass through the same noise as if the schedule began later. So the encoder's raw output $h$ is normalised, for each of the 8 channels, over the training set:
#
# $$
# z = \frac{h - \operatorname{mean}(h)}{\sqrt{\operatorname{Var}(h)}}
# $$ (eq:unit-latents)
#
# And in training a little noise, of standard deviation 0.1, is added to $z$ before it is decoded. A sampled latent is never quite right, and the decoder learns here not to mind.

# %%
# checks eq:unit-latents
voices = Voices(load("spoken-digits"))
first = voices.autoencoder
pictures = y.float()
with torch.no_grad():
    h = first.model.encoder(pictures)
normalise = first.model.normalise
mean, var = normalise.running_mean, normalise.running_var
z = (h - mean[:, None, None]) / (var[:, None, None] + normalise.eps).sqrt()
latents = first.encode(pictures)
torch.testing.assert_close(z, latents, atol=1e-4, rtol=1e-4)
row = RESULTS["autoencoder"]
for part, (centre, spread) in row["latent_mean_std"].items():
    print(f"latents, {part:9}: mean {abs(centre):.2f}, standard deviation {spread:.2f}")
assert abs(row["latent_mean_std"]["training"][1] - 1) < 0.02

# %%
unit = row["decibels_per_unit"]
for name in ("rmse", "rmse_components", "rmse_mean_picture"):
    value = row[name]
    error, margin = unit * value["mean"], 2 * unit * value["se"]
    print(f"{name:18} {error:5.2f} ± {margin:.2f} dB   n = {value['n']}")
assert row["rmse"]["mean"] < row["rmse_mean_picture"]["mean"]
print(f"{row['parameters']:,} parameters")

# %% [markdown]
# The autoencoder's error on held-out recordings stands first, in decibels. Second comes the best that *straight lines* do with as many numbers: 512 principal components of the training pictures. Third, the error of a model that always answers with the mean picture. PCA_SENTENCE

# %% mystnb={"figure": {"caption": "Four recordings (above) and what the autoencoder makes of them (below). The bars stay where they are; the grain between them is smoothed away.", "name": "fig-autoencoder"}, "image": {"alt": "Four spectrograms in a row above and the same four, slightly blurred, below. The bars of the voices are in the same places; fine vertical and horizontal texture is missing below."}} tags=["hide-input"]
with torch.no_grad():
    decoded = first.decode(latents)
shown = (0, 1, THREE, 5)
fig, axes = figure(4, 2, height=3.6)
for column, i in enumerate(shown):
    for ax, picture in zip(axes[:, column], (pictures[i, 0], decoded[i, 0])):
        ax.imshow(picture, origin="lower", cmap="Greys", vmin=-1, vmax=1)
        ax.set_axis_off()
    axes[0, column].set_title(NAMES[i][:-2].replace("_", ", "));

# %%
error = (decoded - pictures).square().mean((1, 2, 3)).sqrt() * unit
print(f"these eight: {error.min():.1f} to {error.max():.1f} dB")
assert (error < 2 * unit * row["rmse"]["mean"] + 2).all()

# %% [markdown]
# ## Who judges
#
# An error in decibels doesn't say whether a word is still that word. Two small classifiers do ({py:mod}`ddim_edu.lab.classifiers`), one trained to tell the ten words, one the six speakers, on real training recordings. A measuring device must be tested first. Each row of this table is about the same 300 held-out recordings; brackets are 95% intervals for a share (Wilson's).

# %%
def told(judged):
    parts = []
    for what in ("word", "speaker", "both"):
        s = judged[what]
        parts.append(f"{s['share']:6.1%} [{s['low']:.0%}, {s['high']:.0%}]")
    return "  ".join(parts)


print(" " * 28 + "word                speaker             both")
for name, judged in RESULTS["judges"].items():
    if name != "about":
        print(f"{name:26}  {told(judged)}")
assert RESULTS["judges"]["real"]["both"]["share"] > 0.8

# %% [markdown]
# JUDGES_SENTENCE
#
# ## Speaking
#
# The diffusion is a U-Net as in chapter 9, on 8 × 8 "pixels" of 8 "channels". It is told a class, as the digits' model is; the class is now a pair, $6 \cdot \text{word} + \text{speaker}$, sixty in all. So one of the two can be changed while the other stays. For a new sound: draw noise, sample a latent with DDIM, decode it.

# %%
labels = torch.tensor([voices.label("7", "lucas"), voices.label("2", "theo")])
noise = [generator_for(0, 15, i) for i in range(2)]
tau = make_tau(voices.top(0.99), 20, "trailing")
model = voices.model
z = sample(model.eps_theta(labels), (2, 8, 8, 8), model.schedule, tau, generator=noise)
noise = [generator_for(0, 15, i) for i in range(2)]
spoken = voices.speak(labels, 2, 20, generator=noise)
assert torch.equal(first.decode(z), spoken)

# %% tags=["nbval-ignore-output"]
play(spoken)

# %% [markdown]
# That was *seven* by Lucas and *two* by Theo, if all went well; ask your own ears. The classifiers' answers for 300 new sounds, five of each class:

# %%
print(" S  eta  scale   word                speaker             both")
for r in RESULTS["spoken"]["rows"]:
    print(f"{r['S']:2}  {r['eta']}    {r['scale']}     {told(r)}")
best = {(r["S"], r["eta"], r["scale"]): r for r in RESULTS["spoken"]["rows"]}
through = best[50, 0, 1]["through sound"]
print(f"the fourth row, through sound:  {told(through)}")

# %%
print("                  spread in a class   nearest in training")
rows = {"real, held out": RESULTS["spoken"]["real"], "S = 50, eta = 0": best[50, 0, 1]}
rows |= {"S = 50, eta = 1": best[50, 1, 1], "S = 20, scale 4": best[20, 0, 4]}
for name, r in rows.items():
    s, near = r["spread"], r["nearest"]
    print(f"{name:16}   {s['mean']:.3f} ± {2 * s['se']:.3f}       {near['mean']:.3f} ± {2 * near['se']:.3f}")

# %% [markdown]
# SPOKEN_SENTENCE
#
# ## Another word, the same voice
#
# Now for what only a deterministic sampler can do. Take a recording, go up to its $x_T$ under the class that it is of, and come down under another: {py:func}`ddim_edu.apps.edit.translate`, in the space of latents.

# %%
def changed(picture, source, target, S=25):
    tau = make_tau(voices.top(0.9), S, "trailing")
    z = first.encode(picture)
    x_T = invert(model.eps_theta(source), z, model.schedule, tau)
    down = model.eps_theta(target)
    shape = x_T.shape
    x = x_T
    from ddim_edu.sampler import ddim_path

    for step in ddim_path(down, x_T, model.schedule, tau):
        x = step.x_s
    assert x.shape == shape
    return first.decode(x)
