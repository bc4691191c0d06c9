"""Chapter 5, the sigma family."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ddim_edu.exact import GaussianMixture
from ddim_edu.exercises._chapter_02 import LEVELS
from ddim_edu.exercises.comparing import agree, expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Raised, Wrong, function, number, show, tensor
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import NoiseSchedule, make_tau


@exercise("ex-sigma-hat-gaussian", "derive", stars=2, minutes=20, skill="samplers")
def hat_gaussian(answer: Any) -> None:
    """For Gaussian data eta = 1 loses a little variance in every step, and what is missing is the difference to the
    larger noise.
    """
    agree(
        answer,
        "variance(abar_t, abar_s)",
        lambda t, s: t / s + (1 - s) / (1 - t) * (1 - t / s),
        LEVELS,
        "The step multiplies x_t, of variance 1, by a number and adds noise. Which number, and with which variance?",
        (
            lambda t, s: torch.ones_like(t),
            "This is what the larger noise, sigma-hat, does. The exercise asks what eta = 1 makes of it.",
        ),
        (lambda t, s: t / s, "This is the variance of the mean. Fresh noise is added to it."),
        (
            lambda t, s: (1 - s) / (1 - t) * (1 - t / s),
            "This is the fresh noise alone. The mean depends on x_t, which has variance 1.",
        ),
        (
            lambda t, s: (t / s).sqrt() + (1 - s) / (1 - t) * (1 - t / s),
            "By which factor does a number in front of x_t change the variance?",
        ),
        (lambda t, s: t / s + ((1 - s) / (1 - t) * (1 - t / s)).sqrt(), "Is sigma squared, where variances are added?"),
        (
            lambda t, s: t + (1 - s) / (1 - t) * (1 - t / s),
            "From s to t the signal shrinks by the quotient of the two alpha-bars, not by one.",
        ),
    )


@exercise("ex-sigma-loss", "derive", stars=1, minutes=15, skill="samplers")
def loss(answer: Any) -> None:
    """At that sigma nothing of the found noise is used: the step predicts the data, and noises it afresh."""
    agree(
        answer,
        "sigma(abar_s)",
        lambda s: (1 - s).sqrt(),
        [(0.3,), (0.8,), (0.05,), (0.99,)],
        "In k the found noise is subtracted from the root of abar_s. What must its factor be?",
        (lambda s: 1 - s, "This is the variance. Sigma is a standard deviation."),
        (lambda s: s.sqrt(), "This is the value of k that is asked for, not the sigma at which k takes it."),
        (lambda s: -(1 - s).sqrt(), "A standard deviation is not negative."),
        (
            lambda s: 1 - s.sqrt(),
            "Is the root of abar_s subtracted, or abar_s under the root?",
        ),
        (
            lambda s: torch.zeros_like(s),
            "At sigma = 0 all of the found noise is used, and k is smallest. Look at the other end.",
        ),
    )


@exercise("ex-sigma-both", "code", stars=2, minutes=25, skill="samplers")
def both(answer: Any) -> None:
    """Noise at high levels forgets a wrong start, and the rest of the way needs none: eta may change on the way."""
    like = "sampler(eps_theta, x_T, schedule, tau, generator)"
    call, schedule = function(answer, like), NoiseSchedule.linear()
    peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
    g, n = torch.Generator().manual_seed(0), 1_000
    x = torch.randn(n, 1, generator=g, dtype=torch.float64)

    # The states in which the predictor is called are the walk. What was drawn on the way is solved for, so it does not
    # matter how the sampler is written: as one loop, in two parts, or with a step of its own.
    tau, seen, found = make_tau(1000, 100, "trailing"), {}, {}

    def eps_theta(x_t: Tensor, t: Tensor | int) -> Tensor:
        level = int(torch.as_tensor(t).flatten()[0])
        seen[level], found[level] = x_t.detach().double().clone(), peaks.eps(x_t.detach().double(), level)
        return found[level].to(x_t.dtype)

    def walk(levels: Any) -> Tensor:
        seen.clear()
        return tensor(
            call(eps_theta, 0.3 + x, schedule, levels, torch.Generator().manual_seed(2)),
            (n, 1),
            "what your function returned",
        )

    try:
        end = walk(tau)
    except Raised:  # a sampler may have been written for a list
        try:
            end = walk(tau.tolist())
        except Raised:
            end = walk(tau)  # and says what it said first
    levels = tau.tolist()
    missing = [t for t in levels[1:] if t not in seen]
    if missing:
        raise Wrong(
            f"The predictor was not asked at level {missing[-1]}, though it stands in tau. Does the walk "
            "visit all of tau?"
        )
    seen[0] = end
    drawn, beside = _draws(seen, found, levels, schedule)
    _ddim_below_500(drawn)
    high = [drawn[t] for t in levels if t > 500]
    if max(float((a * b).mean()) for a, b in pairwise(high)) > 0.8:
        raise Wrong("Above level 500 the noise of one step is like that of the next. Is it drawn afresh in each step?")
    if _normal(high):
        return
    if _normal(list(beside.values())):
        raise Wrong(
            "Above level 500 all of the found noise is used, and fresh noise is added. Where is the room for it?"
        )
    *_, last = ddim_path(peaks.eps, 0.3 + x, schedule, tau)
    left = (end < -0.3).double().mean().item()
    says = _what_noise_there_is(end, last.x_s, beside)
    raise Wrong(f"From the wrong start {left:.1%} of the samples end in the left peak: {says}")


def _what_noise_there_is(end: Tensor, of_ddim: Tensor, beside: dict[int, Tensor]) -> str:
    if torch.allclose(end, of_ddim, atol=1e-4):
        return "this is pure DDIM. Is there noise above level 500?"
    if beside[510].abs().max() < 1e-3:
        return "the step that leaves level 510 has no noise. It leads to 500, but it leaves a level above 500."
    return "is the noise of eta = 1 added above level 500, sigma times a draw, neither more nor less?"


def _draws(
    seen: dict[int, Tensor], found: dict[int, Tensor], levels: list[int], schedule: NoiseSchedule
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """What a walk that turns to DDIM at level 500 drew, by the level that each step leaves.

    Args:
        seen: The states, by level, 0 included.
        found: What was predicted there.
        levels: The walk, upwards.
        schedule: Its schedule.

    Returns:
        The draws that explain the steps, below 501 what is over; and above 500 those that would, if all of the found
        noise were used.
    """
    drawn, beside = {}, {}
    for s, t in pairwise(levels):
        sigma = schedule.sigma(t, s, 1.0 if t > 500 else 0.0)
        step = partial(ddim_step, seen[t], found[t], schedule.alpha_bar[t], schedule.alpha_bar[s])
        rest = seen[s] - step(sigma, torch.zeros_like(seen[t]))
        drawn[t] = rest / sigma if sigma > 0 else rest
        if t > 500:
            beside[t] = (seen[s] - step()) / sigma
    return drawn, beside


def _ddim_below_500(drawn: dict[int, Tensor]) -> None:
    """A check that the steps from level 500 down are DDIM's, with nothing over.

    Raises:
        Wrong: if they are not.
    """
    off = [t for t, rest in drawn.items() if t <= 500 and rest.abs().max() > 1e-3]
    if off == [500]:
        raise Wrong("The step that leaves level 500 is off, though 500 is not above 500: eta is 0 there already.")
    if off:
        alike = len(off) > 1 and abs(torch.corrcoef(torch.cat([drawn[t] for t in off[-2:]], 1).T)[0, 1].item()) > 0.2
        says = "it is not what DDIM gives from there." if alike else "noise is added below level 500 as well."
        raise Wrong(f"From level {off[-1]} down the walk is not DDIM's: {says}")


def _normal(draws: list[Tensor]) -> bool:
    """Whether the mean squares are 1: together within five standard errors, each by itself within seven."""
    squares = torch.stack([z.square().mean() for z in draws])
    each = (2 / draws[0].numel()) ** 0.5
    return bool((squares.mean() - 1).abs() < 5 * each / len(squares) ** 0.5 and ((squares - 1).abs() < 7 * each).all())


@exercise("ex-sigma-same-noise", "break", stars=2, minutes=20, skill="variances")
def same_noise(answer: Any) -> None:
    """The same noise in every step adds up as lengths and not as squares, and the state runs away."""
    schedule = NoiseSchedule.linear()
    abar, from_z, fresh = schedule.alpha_bar, 0.0, 0.0
    t = torch.arange(1000, 500, -1)
    for sigma, kept in zip(schedule.sigma(t, t - 1, 1.0).tolist(), (abar[t] / abar[t - 1]).tolist()):
        from_z, fresh = kept**0.5 * from_z + sigma, kept * fresh + sigma**2
    expect(
        number(answer),
        math.sqrt(from_z**2 + (abar[1000] / abar[500]).item()),
        "Is eps the exact one for data N(0, 1), and is z the same tensor in each of the 500 steps?",
        (
            math.sqrt(fresh + (abar[1000] / abar[500]).item()),
            "this is the walk with fresh noise. One z, drawn before the loop.",
        ),
        (1.0, "this is the walk with fresh noise. One z, drawn before the loop."),
        rtol=0.08,  # 5 standard errors of 2,000 samples
    )


@exercise("ex-sigma-half", "measure", stars=2, minutes=25, skill="statistics")
def half(answer: Any) -> None:
    """Less than half of DDPM's noise forgets half of the wrong start; the other half of the mistake costs the larger
    part of the noise.
    """
    eta = number(answer)
    said = f"eta = {show(eta)}: "
    if eta < 0:
        raise Wrong(said + "eta is not negative.")
    if abs(eta - 0.5) < 0.005:
        raise Wrong(
            said + "half of eta is not half of the effect. Measure the share at several eta, and read off between them."
        )
    if 0.65 < eta < 1:
        raise Wrong(said + "there most of the error is gone. At which eta is half of it left, and not a small part?")
    if 0.1 < eta < 0.3:
        raise Wrong(
            said + "there most of the error is still left. Is the error the distance from 30%, and 0.3 the mean of x_T?"
        )
    if (
        not 0.3 <= eta <= 0.495
    ):  # 0.40 and 0.41 in two measurements; with 20,000 samples the standard error is about 0.02
        raise Wrong(
            said + "that is not it. The error is the distance of the left peak's share from 30%; at which eta is it "
            "half of that at 0?"
        )
