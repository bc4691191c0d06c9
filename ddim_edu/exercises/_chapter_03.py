"""Chapter 3, learning to reverse."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ddim_edu.exact import GaussianMixture
from ddim_edu.exercises._chapter_02 import LEVELS
from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Unfit, Wrong, function, numbers, tensor
from ddim_edu.forward import eps_to_v, unmix_x0
from ddim_edu.schedule import NoiseSchedule


@exercise("ex-reverse-snr", "derive", stars=3, minutes=30, skill="posteriors")
def snr(answer: Any) -> None:
    """Each level of the bound counts the SNR that comes back, times the error of the predicted data."""

    def both(t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return t / (1 - t), s / (1 - s)

    def half(t: Tensor, s: Tensor) -> Tensor:
        snr_t, snr_s = both(t, s)
        return 0.5 * (snr_s - snr_t)

    agree(
        answer,
        "weight(abar_t, abar_s)",
        half,
        LEVELS,
        "Both means have the same term in x_t. Which factor has the rest, and what does the divergence do with it?",
        (
            lambda t, s: 2 * half(t, s),
            "There is a factor missing. How does the divergence of two Gaussians of the same variance begin?",
        ),
        (
            lambda t, s: half(t, s) * (1 - t) / t,
            "This is the weight of the error of the noise. Asked for is that of the data.",
        ),
        (
            lambda t, s: half(t, s) / 2,
            "There is a factor too many. How does the divergence of two Gaussians of the same variance begin?",
        ),
        (lambda t, s: 0.5 * (s - t), "These are alpha-bars. The noise of the two levels counts, too: what is an SNR?"),
        (
            lambda t, s: half(t, s).sqrt(),
            "Is the squared distance of the means divided by a variance or by a standard deviation?",
        ),
        (
            lambda t, s: 0.5 * (both(t, s)[1] / both(t, s)[0]),
            "The SNRs are right, and what is done with them is not: partial fractions.",
        ),
    )


@exercise("ex-reverse-gap", "measure", stars=3, minutes=45, skill="posteriors")
def gap(answer: Any) -> None:
    """With the larger variance the bound becomes tight as steps get finer; with the smaller one it does not: half of
    Euler's constant, 0.29 nats, is left in the limit."""
    if isinstance(answer, dict) and set(answer) == {16, 64, 256}:
        answer = [answer[T] for T in (16, 64, 256)]
    gaps = tensor(answer, (3, 2), turned=True)
    # By integrals over a grid. With 20,000 draws a gap has a standard error of 0.01 or less.
    right = torch.tensor([[0.5124, 0.2156], [0.6533, 0.0609], [0.5294, 0.0157]], dtype=torch.float64)
    allowed = torch.tensor([0.05, 0.03], dtype=torch.float64)
    said = f"The gaps are {[[round(v, 2) for v in row] for row in gaps.tolist()]}. "

    def like(wrong: Tensor, scale: float = 1.0) -> bool:
        return bool(((gaps - wrong).abs() <= scale * allowed).all())

    if like(right) and bool((gaps > 0).all()):
        return
    if bool((gaps < 0).all()):
        raise Wrong(
            said + "They are negative. A bound from below lies below: which of the two is to be subtracted from which?"
        )
    if bool((gaps < 0).any()):
        look = (
            ": here chance is larger than the gap. Take more draws, or a grid."
            if like(right)
            else " the log-likelihood. Is every level in the sum, t = 1 and T included?"
        )
        raise Wrong(f"{said}One is negative, but the bound lies below{look}")
    for wrong, scale, says in (
        (right / math.log(2), 1.44, "These are bits: is there a logarithm to base 2? Nats are asked for."),
        (2 * right, 2, "They are all off by one simple factor. Which terms of the bound begin with a half?"),
        (right / 2, 0.5, "They are all off by one simple factor. Which terms of the bound begin with a half?"),
        (right.flip(0), 1, "The rows are in the other order: T = 16 comes first."),
    ):
        if like(wrong, scale):
            raise Wrong(said + says)
    small, large = gaps.T
    if like(right.flip(1)) or bool((large > 0.4).all()) and not bool((small > 0.4).all()):
        look = "The first column is the one that closes. Are the two variances in the order that is asked for?"
    elif bool((small > 0.7).all()) and small[0] > 3:
        look = (
            "Look at the first column. Is it the cosine schedule, with beta_1 at t = 1 and a mixture with peaks at -1 "
            "and 0.6?"
        )
    elif not bool((small > 0.4).all()):
        look = "Look at the first column: with the smaller variance the levels t = 2, 3, ... cost something."
    elif not like(torch.stack([small, right[:, 1]], 1)):
        look = "Look at the second column: where the variances of two Gaussians differ, a logarithm comes in."
    else:
        look = (
            "Look at the first column: each level's error is divided by twice beta-tilde. Is the mixture the chapter's "
            "on the line?"
        )
    raise Wrong(said + look)


@exercise("ex-reverse-v", "code", stars=1, minutes=10, skill="samplers")
def any_target(answer: Any) -> None:
    """The sampler sees one kind of callable, so a network may predict whatever can be solved for the noise."""
    schedule = NoiseSchedule.linear()
    peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)

    def v_network(x_t: Tensor, t: Tensor) -> Tensor:
        return eps_to_v(peaks.eps(x_t, t), x_t, schedule.abar(t))

    wrapped = function(answer, "wrap(v_network, schedule)")(v_network, schedule)
    if not callable(wrapped):
        raise Unfit(
            "Your function has to return a function, eps_theta(x_t, t), that the sampler can call at every step."
        )
    x_t, t = torch.randn(6, 1, dtype=torch.float64), torch.tensor([1, 30, 200, 500, 800, 1000])
    given = tensor(function(wrapped, "eps_theta(x_t, t)")(x_t, t), (6, 1), "what eps_theta returned")
    eps, v, abar = peaks.eps(x_t, t), v_network(x_t, t), schedule.abar(t)
    for wrong, says in (
        (v, "It returned v itself. The sampler takes what it gets for noise."),
        (unmix_x0(x_t, eps, abar), "It returned the predicted data. The sampler wants the predicted noise."),
        (-eps, "It returned the noise with the wrong sign. Put v = 0 into your formula: how is x_t made of eps then?"),
        (eps_to_v(v, x_t, abar), "It went from noise to v once more. The conversion is needed in the other direction."),
    ):
        if torch.allclose(given, wrong, atol=1e-5):
            raise Wrong(says)
    for wrong, says in (
        (2 * eps, "It is off by a simple factor at every level. Put v = 0 into your formula, and then x_t = 0."),
        (
            abar.sqrt()[:, None] * v - (1 - abar).sqrt()[:, None] * x_t,
            "A sign is wrong, or two: put v = 0 into your formula, and then x_t = 0.",
        ),
        ((1 - abar).sqrt()[:, None] * v + abar.sqrt()[:, None] * x_t, "The two roots are in each other's place."),
        (
            abar[:, None] * v + (1 - abar)[:, None] * x_t,
            "The factors are not alpha-bar and 1 minus alpha-bar, but their roots.",
        ),
    ):
        if torch.allclose(given, wrong, atol=1e-5):
            raise Wrong(f"At level 500 the noise came out wrong. {says}")
    if not torch.allclose(given, eps, atol=1e-4):
        at = int((given - eps).abs().argmax())
        raise Wrong(
            f"At level {int(t[at])} the noise came out wrong. Write down x_t and v in terms of x_0 and eps, and "
            "eliminate x_0."
        )


@exercise("ex-reverse-root", "break", stars=2, minutes=25, skill="samplers")
def root(answer: Any) -> None:
    """Taken as a variance, the root makes the cloud three times too wide on its way, and it ends where there is no
    data.
    """
    widest, lost = numbers(answer, "widest", "lost")
    said = f"widest = {widest:.3g}, lost = {lost:.3g}: "
    if 0.9 < widest < 1.25 and abs(lost) < 0.5:
        raise Wrong(
            said + "this is the right walk. Which power of DDPM's standard deviation is the slide's standard deviation?"
        )
    if 7 < widest < 13 and abs(lost / 11.7 - 1) < 0.25:
        raise Wrong(said + "look at the width: this is a variance, and a standard deviation is asked for.")
    if 8 < widest < 15 and 2 < lost < 4:
        raise Wrong(said + "the two are swapped.")
    if not 2.5 < widest < 3.5:
        raise Wrong(
            said + "look at the width. A variance is printed, so z is multiplied by its root; take the largest of all "
            "levels."
        )
    if lost < -5:
        raise Wrong(said + "look at the second number: which of the two walks ends where the data is likelier?")
    if 9.5 < lost < 14:  # 11.0 to 12.4 in seven measurements with 500 to 2,000 samples
        return
    if 14 < lost < 19.5:
        raise Wrong(said + "look at the second number: are these bits? The mean log density is in nats.")
    if 100 < lost:
        raise Wrong(
            said + "look at the second number: the mean over the samples, not their sum, of one logarithm each."
        )
    raise Wrong(
        said
        + "look at the second number, the mean log density of the final samples: that of the right walk minus S4's."
    )
