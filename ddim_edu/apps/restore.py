r"""Restoration: an image from what is left of it, by a model that never saw the damage (chapter 13).

:func:`restore` samples as ever, and edits one thing: at every step the predicted x_0 is replaced by the nearest image
that agrees with the observation, :meth:`ddim_edu.apps.operators.Operator.correct` (range/null-space correction; Wang,
Yu and Zhang 2023, DDNM). As the last step ends in the predicted x_0 itself, the result gives the observation exactly.
What the observation leaves open is the model's to fill in, and another seed fills it in otherwise.

**What it is not.** These are not samples of the posterior :math:`p(x_0 \mid y)`. At level t the model is shown an x_t
whose observed part is y with that level's noise, and predicts the rest from it as if the noise hid y. On a Gaussian
with mean 1.2 and variance 0.36 given y, 50 steps with eta = 1 reach a mean of 0.72, and 1.06 with travel = 5 (with eta
= 0, 0.52 and 0.98). Chapter 13 derives the limit of short steps, 0.75 and 1.10 (0.52 and 1.00): the mean is always
drawn towards too little.

**Time travel** (Lugmayr et al. 2022, RePaint, section 4.2): after a stretch of ``jump`` steps, go back up by the
forward process, which is one draw of noise, and walk the stretch again, ``travel`` times in all. The open part then has
time to come to agree with the observed part. It costs ``travel`` times the network calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ddim_edu.apps.operators import Mask, Operator
from ddim_edu.forward import EpsTheta, mix
from ddim_edu.randomness import Generators, draw
from ddim_edu.sampler import ddim_path, end_of, sample
from ddim_edu.schedule import NoiseSchedule, check_tau


@torch.no_grad()
def restore(
    eps_theta: EpsTheta,
    operator: Operator,
    y: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float | str = 1.0,
    generator: Generators = None,
    travel: int = 1,
    jump: int = 5,
    clip: float | None = None,
) -> Tensor:
    """Images that give the observations ``y``.

    For several answers to one observation, repeat it in the batch: each member gets noise of its own.

    Args:
        eps_theta: the noise predictor.
        operator: what was done to the images.
        y: ``(B, ...)`` the observations.
        schedule: the noise schedule.
        tau: levels to visit.
        eta: 1 by default. With 0 the noise that x_T holds in the observed part stays there on all levels, and the model
            has to fit the rest to it. (The noise predicted is recomputed from the corrected x_0, as everywhere in this
            sampler. DDNM's code keeps the network's, and its eta is the share of fresh noise.)
        generator: one for all, or one for each of the B.
        travel: how often each stretch is walked; 1 is no time travel.
        jump: steps in a stretch. The topmost is shorter where ``jump`` does not divide S.
        clip: bound of the predicted x_0 before it is corrected. The result may leave it by what the correction adds.

    Returns:
        ``(B, ...)`` images x with ``operator.forward(x) == y`` up to rounding. S * travel network calls.

    Raises:
        ValueError: if travel or jump is below 1, or as :func:`ddim_edu.sampler.ddim_path`.

    Equations: eq:share-reached
    """
    if travel < 1 or jump < 1:
        raise ValueError(f"travel = {travel}, jump = {jump}: give at least 1 of each; travel = 1 is no time travel")
    levels = check_tau(tau, schedule.T)
    abar = schedule.alpha_bar.tolist()
    x = draw(operator.pseudo_inverse(y), generator)  # of the shape of the images
    how: dict[str, Any] = {
        "eta": eta,
        "generator": generator,
        "clip": clip,
        "edit_x0": lambda x0_hat, t: operator.correct(x0_hat, y),
    }
    ends = range(0, len(levels) - 1, jump)
    for end in reversed(ends):
        top = min(end + jump, len(levels) - 1)
        for walk in range(travel):
            if walk > 0:  # back up, from level s to level t: q(x_t | x_s) keeps this share of the variance
                x = mix(x, draw(x, generator), abar[levels[top]] / abar[levels[end]])
            path = ddim_path(eps_theta, x, schedule, levels[: top + 1], **how)
            x = end_of(islice(path, top - end))  # the rest of the way is not walked
    return x


@torch.no_grad()
def replace_known(
    eps_theta: EpsTheta,
    mask: Mask,
    y: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float | str = 1.0,
    generator: Generators = None,
    clip: float | None = None,
) -> Tensor:
    r"""The simplest inpainting: at each level put the known pixels, with noise, in the place of the sampled ones.

    (Song et al. 2021, *Score-Based Generative Modeling through SDEs*; RePaint without its time travel.) What stands in
    x_t at the known pixels matters only to the network, so it suffices to change what the network is shown, and to put
    the known pixels into the result.

    Next to :func:`restore` with the same mask there is only one difference: here the known pixels get fresh noise at
    each level, there the noise follows the sampler's own path, so that x_t and x_s agree on it.

    Args:
        eps_theta: the noise predictor.
        mask: which pixels are known.
        y: ``(B, ...)`` images; only their known pixels are looked at.
        schedule: the noise schedule.
        tau: levels to visit.
        eta: as for :func:`ddim_edu.sampler.sample`.
        generator: one for all, or one for each of the B.
        clip: as for :func:`ddim_edu.sampler.sample`.

    Returns:
        ``(B, ...)`` images with the known pixels of ``y``.

    Equations: eq:known-pixels
    """
    known = mask.known.to(y.device)

    def seen(x_t: Tensor, t: Tensor) -> Tensor:
        return eps_theta(torch.where(known, mix(y, draw(y, generator), schedule.abar(t)), x_t), t)

    mask.forward(y)  # the check of its shape
    x = sample(seen, y.shape, schedule, tau, eta=eta, generator=generator, device=y.device, dtype=y.dtype, clip=clip)
    return torch.where(known, y, x)
