"""Chapter 1, the forward process."""

from __future__ import annotations

import math
from typing import Any

import torch

from ddim_edu.exercises.comparing import agree, expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, function, number, tensor
from ddim_edu.schedule import NoiseSchedule


@exercise("ex-forward-no-shrink", "derive", stars=1, minutes=10, skill="variances")
def no_shrink(answer: Any) -> None:
    """Without the shrinking every step adds its beta, and at the end the noise has eleven times the variance of the
    data: the shrinking is what keeps x_t in one range.
    """
    beta = NoiseSchedule.linear().beta
    expect(
        number(answer),
        1 + beta.sum().item(),
        "What does the variance of a sum do when the terms are independent? Count all the terms of the sum.",
        (beta.sum().item(), "this is the variance of the added noise alone. What else is in x_T?"),
        (
            (1 + beta.sqrt().sum().item()),
            "here standard deviations were added. Of independent terms, which quantity adds up?",
        ),
        (
            1 + beta.sqrt().sum().item() ** 2,
            "here standard deviations were added. Of independent terms, which quantity adds up?",
        ),
        (1.0, "that is the variance with the shrinking. Without it nothing holds the variance down."),
        (21.0, "is the sum of an arithmetic series its number of terms times its last one?"),
        rtol=0.02,  # samples will do
    )


@exercise("ex-forward-forget", "derive", stars=1, minutes=15, skill="variances")
def forget(answer: Any) -> None:
    """The distance of the variance from 1 shrinks by the factor alpha-bar, whatever it was at the start."""
    agree(
        answer,
        "variance(v_0, abar_t)",
        lambda v_0, abar: 1 + abar * (v_0 - 1),
        [(9.0, 0.5), (0.05, 0.9), (1.0, 0.3), (4.0, 0.01), (2.5, 1.0)],
        "Try the two ends: with abar_t = 1 nothing has happened yet, with abar_t = 0 all is forgotten.",
        (lambda v_0, abar: abar * v_0, "This is what is left of the data's variance. Noise has been added, too."),
        (
            lambda v_0, abar: abar * (v_0 - 1),
            "This is the distance of the variance from 1; the variance itself is asked for.",
        ),
        (
            lambda v_0, abar: 1 + abar.sqrt() * (v_0 - 1),
            "Does one step change the distance by the factor of x, or of its variance?",
        ),
        (
            lambda v_0, abar: v_0 + abar * (1 - v_0),
            "The two ends are swapped: with abar_t = 1 nothing has happened yet.",
        ),
        (lambda v_0, abar: v_0 + 1 - abar, "The noise is added, but the data is not shrunk."),
        (
            lambda v_0, abar: 1 + abar**2 * (v_0 - 1),
            "alpha-bar was squared on the way. It is a factor of variances already.",
        ),
        (
            lambda v_0, abar: 1 - abar * (v_0 - 1),
            "From which side does the variance come: is it above 1 or below, if it was so at the start?",
        ),
    )


@exercise("ex-forward-cosine", "code", stars=2, minutes=20, skill="levels")
def cosine(answer: Any) -> None:
    """This is the cosine schedule of NoiseSchedule.cosine, number for number, for every T that was tried."""
    call = function(answer, "beta(T)")
    for T in (10, 1000, 37):
        given, truth = tensor(call(T), (None,), "what your function returned"), NoiseSchedule.cosine(T).beta[1:]
        if len(given) == T + 1:
            raise Wrong(
                f"With T = {T} your function returned {T + 1} numbers. beta_1 to beta_T are T: one for each step."
            )
        if len(given) != T:
            raise Wrong(f"With T = {T} your function returned {len(given)} numbers. beta_1 to beta_T are T.")
        # In float32 betas err by 5e-7 at low levels and by 3e-5 just before the cap, where alpha-bar is nearly 0.
        allowed = 1e-6 + 5e-4 * truth.where(truth < 0.999, 0)
        off = ((given - truth).abs() > allowed).nonzero().flatten() + 1
        if len(off) == 0:
            continue
        u = torch.arange(T + 1, dtype=torch.float64) / T
        said = f"With T = {T}, beta_{int(off[0])} came out as {given[off[0] - 1]:.4g}. "
        if off.tolist() == [T]:
            raise Wrong(said + "All others are right. The last step would leave no signal at all: what prevents that?")
        for f, says in (
            (torch.cos((u + 0.008) / 1.008 * torch.pi / 2), "Is the cosine squared?"),
            (torch.cos(u * torch.pi / 2) ** 2, "What became of the small offset, 0.008?"),
            (
                torch.cos((u + 0.008) * torch.pi / 2) ** 2,
                "With the offset the argument has to be divided by something.",
            ),
        ):
            if torch.allclose(given, (1 - f[1:] / f[:-1]).clamp(max=0.999), atol=1e-5):
                raise Wrong(said + says)
        abar = NoiseSchedule.cosine(T).alpha_bar
        for wrong, says in (
            (abar[1:], "These are the alpha-bars. A beta is what one step takes away."),
            (abar[:-1], "These are the alpha-bars, from level 0 on. A beta is what one step takes away."),
            (1 - abar[1:], "This is what all steps up to t take away. A beta is what one step takes away."),
            (1 - truth, "These are the shares that a step keeps; beta is what it replaces."),
            (truth.sqrt(), "These are the factors of the noise. A beta is a variance."),
            (2 * truth, "It is off by a simple factor, of every beta."),
            (-truth, "The size is right and the sign is not."),
            (truth.flip(0), "The order is reversed: beta_1, next to the data, comes first."),
            (torch.cat([truth[:1], truth[:-1]]), "They stand one place too late. Which two alpha-bars make beta_1?"),
            (
                torch.cat([torch.zeros(1, dtype=truth.dtype), truth[:-1]]),
                "They stand one place too late. Which two alpha-bars make beta_1?",
            ),
        ):
            if torch.allclose(given, wrong, atol=1e-5):
                raise Wrong(said + says)
        raise Wrong(said + "Compare alpha-bar first, then the step from alpha-bar to beta.")


@exercise("ex-forward-roots", "break", stars=2, minutes=15, skill="variances")
def roots(answer: Any) -> None:
    """Without the roots the walk forgets the data and its scale as well: for small beta hardly anything is left."""
    agree(
        answer,
        "variance(beta)",
        lambda b: b / (2 - b),
        [(0.02,), (0.5,), (0.1,), (0.9,)],
        "A fixed point is a variance that the step does not change. How do the two factors of the step act on a "
        "variance?",
        (
            lambda b: torch.ones_like(b),
            "That is where the step with its roots leads. Here the factors are 1 - beta and beta themselves.",
        ),
        (lambda b: b**2, "That is the noise of one step. The state that it is added to has a variance as well."),
        (lambda b: b**2 / (1 - (1 - b)), "Both factors act on the variance squared, that of the state too."),
        (lambda b: b / (2 + b), "Nearly. Expand the square of 1 - beta once more."),
        (
            lambda b: b / 2,
            "Nearly: that is so for small beta. What becomes of the square of beta in the square of 1 - beta?",
        ),
        (
            lambda b: b / (1 - b),
            "By which factor does a step change the variance of the state, if it changes the state by 1 - beta?",
        ),
    )


@exercise("ex-forward-lineup", "measure", stars=2, minutes=25, skill="statistics")
def lineup(answer: Any) -> None:
    """Below that level most of these noisy digits still tell which of 1,597 pictures they were: what no single pixel
    could say, sixty-four do.
    """
    level = number(answer)
    if level < 0:
        raise Wrong(f"{level:.4g} is negative. Levels run from 1 to 1000.")
    if 0 < level < 1:
        raise Wrong(
            f"{level:.4g} is a share. Asked for is the level at which the share of right answers falls below one half."
        )
    # Three draws of noise for all pictures crossed one half at 234, 238 and 239; with 400 pictures a standard error is
    # about 6 levels.
    if not 210 <= level <= 258:
        early = (
            "the pictures were still recognised there more often"
            if level < 210
            else "well before it more than half were mistaken"
        )
        if math.isclose(level, 260, abs_tol=1):
            early = "that is where noise outweighs data of variance 1. Measure instead of computing"
        raise Wrong(
            f"Level {level:.0f} is not it: {early}. Is the noise drawn afresh for each picture, with the factor "
            "sqrt(1 - abar_t), and "
            "is each noisy picture compared with all of the clean ones?"
        )
