"""Editing real images: by noise and back, by inversion and back, and from one model to another (chapters 14 and 18).

All functions walk part of the way up and come down by another predictor. :func:`renoise` goes up by noise (Meng et al.
2022, SDEdit): no two runs agree, and what the noise has drowned is invented anew. :func:`translate` goes up by the
deterministic sampler run backwards: the latent keeps what the image was, as far as the predictor explains it.
:func:`translate_exactly` goes up and down by a map that has an inverse, so that only the change of predictor shows.
``strength`` says how far up: the share of the steps, from 0 (nothing changes) to 1 (all the way).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, q_sample
from ddim_edu.inversion import bdia_decode, bdia_encode
from ddim_edu.randomness import Generators, draw
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import NoiseSchedule, check_eta, check_tau

DAMPING = 0.12  # of BDIA's old state over a whole walk; the way up magnifies rounding by its inverse, and no more


def first_steps(tau: Tensor | Sequence[int], strength: float) -> Tensor:
    """The part of tau that an edit of this strength walks: its first ``round(strength * S)`` steps.

    Returns:
        Between 1 (only the data: nothing to walk) and S + 1 levels.

    Raises:
        ValueError: if the strength is outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength = {strength} is outside 0..1; 0 changes nothing, 1 goes all the way to noise")
    tau = torch.as_tensor(tau)
    return tau[: round(strength * (len(tau) - 1)) + 1]


@torch.no_grad()
def renoise(
    eps_theta: EpsTheta,
    x_0: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    strength: float,
    *,
    eta: float | str = 0.0,
    generator: Generators = None,
    clip: float | None = None,
) -> Tensor:
    """Noise an image part of the way, and denoise it, under a class say (SDEdit; image-to-image).

    Args:
        eps_theta: the noise predictor for the way down, with a class or guidance bound to it.
        x_0: ``(B, ...)`` images.
        schedule: the noise schedule.
        tau: levels to visit.
        strength: how far up, as a share of the steps. 0 returns the images; 1 is nearly a new sample of the class, and
            quite one if ``alpha_bar[tau[-1]]`` is 0.
        eta: of the way down.
        generator: one for all, or one for each of the B.
        clip: as for :func:`ddim_edu.sampler.ddim_path`.

    Returns:
        ``(B, ...)``.

    Raises:
        ValueError: if the strength is outside 0..1, or as :func:`ddim_edu.sampler.ddim_path`.
    """
    check_tau(tau, schedule.T)
    if eta != "hat":
        check_eta(eta)
    part = first_steps(tau, strength)
    if len(part) == 1:
        return x_0.clone()
    x_t = q_sample(x_0, int(part[-1]), schedule, draw(x_0, generator))
    return decode(eps_theta, x_t, schedule, part, eta=eta, generator=generator, clip=clip)


@torch.no_grad()
def translate(
    encoder: EpsTheta,
    decoder: EpsTheta,
    x_0: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    strength: float = 1.0,
    *,
    decoder_schedule: NoiseSchedule | None = None,
    clip: float | None = None,
) -> Tensor:
    r"""Encode images by one predictor and decode them by another, both deterministically.

    With one model under two classes this is editing by inversion; with two models it is style transfer (Su et al. 2023,
    *Dual Diffusion Implicit Bridges*). Encoder and decoder may change places: that leads back, up to the error of the
    steps. With one and the same for both it reconstructs.

    Args:
        encoder: the noise predictor of what the images are.
        decoder: the noise predictor of what they are to become.
        x_0: ``(B, ...)`` images.
        schedule: the noise schedule of the encoder.
        tau: levels to visit, on both ways. On the cosine schedule let them end some levels below T: see
            :func:`ddim_edu.sampler.invert`.
        strength: how far up, as a share of the steps. Halfway, more of the image is kept than its latent keeps.
        decoder_schedule: of the decoder, if it was trained with another one of the same T; the two should agree on
            :math:`\bar\alpha` at the level where the ways meet.
        clip: of the way down, as for :func:`ddim_edu.sampler.ddim_path`.

    Returns:
        ``(B, ...)``.

    Raises:
        ValueError: if the strength is outside 0..1, or as :func:`ddim_edu.sampler.ddim_path`.

    Equations: eq:bridge-line, eq:bridge-gaussian
    """
    check_tau(tau, schedule.T)
    part = first_steps(tau, strength)
    if len(part) == 1:
        return x_0.clone()
    latent = invert(encoder, x_0, schedule, part)
    return decode(decoder, latent, schedule if decoder_schedule is None else decoder_schedule, part, clip=clip)


@torch.no_grad()
def translate_exactly(
    encoder: EpsTheta,
    decoder: EpsTheta,
    x_0: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    strength: float = 1.0,
    *,
    decoder_schedule: NoiseSchedule | None = None,
    gamma: float | None = None,
) -> Tensor:
    """As :func:`translate`, by BDIA's recurrence, which has an inverse: with the encoder as decoder the images return
    up to rounding, under guidance too.

    There is no clipping: a clipped step has no inverse.

    Args:
        encoder: the noise predictor of what the images are.
        decoder: the noise predictor of what they are to become.
        x_0: ``(B, ...)`` images in [-1, 1].
        schedule: the noise schedule of the encoder.
        tau: levels to visit, on both ways.
        strength: how far up, as a share of the steps.
        decoder_schedule: of the decoder, if it was trained with another one of the same T.
        gamma: as for :func:`ddim_edu.inversion.bdia_encode`; by default such that its power over the walk is
            ``DAMPING``, which is 0.9 at 20 steps. At 1 nothing damps what the other predictor does to the old state,
            and the pictures come out garish.

    Returns:
        ``(B, ...)``.

    Raises:
        ValueError: if an image is out of range, the strength is outside 0..1 or leaves a single step, or as
            :func:`ddim_edu.inversion.bdia_encode`.
    """
    check_tau(tau, schedule.T)
    low, high = (f(x_0).item() if x_0.numel() else 0.0 for f in (torch.min, torch.max))
    if not -1.001 <= low <= high <= 1.001:  # written so that nan is outside too; 0.001 for rounding
        raise ValueError(f"images between {low:.4g} and {high:.4g}: give them in [-1, 1]")
    part = first_steps(tau, strength)
    if len(part) == 1:
        return x_0.clone()
    if len(part) == 2:
        raise ValueError("an exact edit of one step changes nothing: give more steps, or more strength")
    gamma = DAMPING ** (1 / (len(part) - 1)) if gamma is None else gamma
    pair = bdia_encode(encoder, x_0, schedule, part, gamma)
    return bdia_decode(decoder, pair, schedule if decoder_schedule is None else decoder_schedule, part, gamma)
