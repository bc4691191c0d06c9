r"""What a noise predictor is trained to minimise (chapters 3 and 5).

The level t and the noise eps are drawn by the caller and passed in: a loss here is a function, not a random number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, Prediction, predict, q_sample
from ddim_edu.schedule import NoiseSchedule


def draw_t(
    n: int,
    T: int,
    *,
    generator: torch.Generator | None = None,
    antithetic: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw levels uniformly from 1..T.

    Args:
        n: how many.
        T: number of levels.
        generator: where they come from; torch's own if None.
        antithetic: draw half of them and take the mirror images T + 1 - t for the rest, as the official DDIM code does.
            Each t is still uniform; low and high levels are balanced within a batch.
        device: where to put them.

    Returns:
        ``(n,)`` int64.

    Equations: eq:mirrored
    """
    drawn_on = device if generator is None else generator.device
    if not antithetic:
        return torch.randint(1, T + 1, (n,), generator=generator, device=drawn_on).to(device)
    half = torch.randint(1, T + 1, (n // 2 + 1,), generator=generator, device=drawn_on)
    return torch.cat([half, T + 1 - half])[:n].to(device)


def mixed_and_predicted(
    eps_theta: EpsTheta, x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule
) -> tuple[Tensor, Tensor]:
    """What every loss begins with: x_t, mixed of data and noise, and the noise predicted in it.

    Arguments and errors as for :func:`eps_error`.

    Returns:
        Both of the shape of ``x_0``.
    """
    if eps.shape != x_0.shape:
        raise ValueError(f"noise of shape {tuple(eps.shape)} for data of shape {tuple(x_0.shape)}; give the same shape")
    x_t = q_sample(x_0, t, schedule, eps)
    return x_t, predict(eps_theta, x_t, t)


def eps_error(eps_theta: EpsTheta, x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
    r"""Mean squared error of the predicted noise, for each member of the batch.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        t: ``(B,)`` int64 levels in 1..T.
        eps: the noise to mix in and to predict, same shape as ``x_0``.
        schedule: the noise schedule.

    Returns:
        ``(B,)``: the mean over all but the first axis.

    Raises:
        ValueError: if a t is outside 1..T, or the shapes of data, noise and prediction differ.
    """
    error = mixed_and_predicted(eps_theta, x_0, t, eps, schedule)[1] - eps
    return error.square().reshape(len(error), -1).mean(1)


def loss_simple(eps_theta: EpsTheta, x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
    r"""DDPM's :math:`L_{\text{simple}}` (DDPM eq. 14): every level counts the same.

    The mean over the batch of :func:`eps_error`, which has the arguments. (Eq. 14 and the official DDIM code
    sum over the coordinates; the mean is what DDPM's code takes, and its size does not depend on the number of pixels.)

    Equations: eq:l-simple
    """
    return eps_error(eps_theta, x_0, t, eps, schedule).mean()


def loss_gamma(
    eps_theta: EpsTheta, x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule, gamma: Tensor
) -> Tensor:
    r"""The weighted :math:`L_\gamma` (DDIM eq. 5), as a mean: an unbiased estimate of :math:`L_\gamma / (T d)` for
    uniform t.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        t: ``(B,)`` int64 levels in 1..T.
        eps: the noise, same shape as ``x_0``.
        schedule: the noise schedule.
        gamma: ``(T+1,)`` weights at least 0; ``gamma[0]`` is not used.

    Raises:
        ValueError: if gamma has another length or a negative weight.
    """
    # On a GPU a look at the weights would wait for the device at every step.
    if gamma.shape != schedule.beta.shape or (gamma.device.type == "cpu" and not bool((gamma[1:] >= 0).all())):
        raise ValueError(f"gamma of shape {tuple(gamma.shape)}; give T + 1 = {schedule.T + 1} weights, none negative")
    error = eps_error(eps_theta, x_0, t, eps, schedule)
    return (weight_at(gamma, t, error) * error).mean()


def weight_at(gamma: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """The weights ``(T+1,)`` looked up at levels t, ``(B,)``, in the type and on the device of ``like``."""
    gamma = gamma.to(like.dtype).to(like.device)  # cast before moving: some devices have no float64
    return gamma[t.to(torch.int64)]  # as an index, uint8 would be a mask


def gamma_of_sigma(schedule: NoiseSchedule, sigma: Tensor) -> Tensor:
    r"""The weights for which the variational objective :math:`J_\sigma` is :math:`L_\gamma` plus a constant (DDIM
    theorem 1).

    Each term of :math:`J_\sigma` is a KL divergence between two Gaussians of equal variance :math:`\sigma_t^2`, whose
    means differ in the x_0 they use. With :math:`k_t` what the mean of :math:`q_\sigma(x_{t-1} \mid x_t, x_0)`
    multiplies x_0 by,

    .. math:: \gamma_t = \frac{k_t^2}{2 \sigma_t^2}\, \frac{1 - \bar\alpha_t}{\bar\alpha_t}, \qquad
              k_t = \sqrt{\bar\alpha_{t-1}} - \sqrt{1 - \bar\alpha_{t-1} - \sigma_t^2}\,
              \sqrt{\frac{\bar\alpha_t}{1 - \bar\alpha_t}}

    for a squared error summed over coordinates. At t = 1 the mean is the prediction of x_0 itself, so :math:`k_1 = 1`.

    Args:
        schedule: the noise schedule.
        sigma: ``(T+1,)`` standard deviations, positive for t in 1..T (``sigma[0]`` is not used), with
            ``sigma[t]**2 <= 1 - alpha_bar[t-1]`` for t > 1.

    Returns:
        ``(T+1,)`` float64, ``gamma[0] == 0``.

    Raises:
        ValueError: if a sigma is not positive or too large.

    Equations: eq:gamma-of-sigma, eq:kl-to-mse, eq:fewer-kl
    """
    wrong = "sigma needs T + 1 values, for t = 1..T positive, and at most sqrt(1 - alpha_bar[t-1]) for t > 1"
    if sigma.shape != schedule.beta.shape:
        raise ValueError(wrong)
    abar_t, abar_s = schedule.alpha_bar[1:], schedule.alpha_bar[:-1]
    variance = sigma[1:].to(torch.float64) ** 2
    found = 1 - abar_s - variance
    if not bool((variance > 0).all()) or not bool((found[1:] > -1e-12).all()):
        raise ValueError(wrong)
    k = abar_s.sqrt() - found.clamp(min=0).sqrt() * (abar_t / (1 - abar_t)).sqrt()
    gamma = k**2 / (2 * variance) * (1 - abar_t) / abar_t
    return torch.cat([gamma.new_zeros(1), gamma])


def gamma_of_prediction(schedule: NoiseSchedule, prediction: Prediction) -> Tensor:
    r"""The weights for which :math:`L_\gamma`, a loss of the noise, is the plain squared error of what the network
    says.

    Given x_t, a prediction of v or of x_0 stands for one of the noise (:func:`ddim_edu.forward.said_to_eps`), and their
    errors are multiples of each other: :math:`\hat v - v = (\hat\epsilon - \epsilon)/\sqrt{\bar\alpha_t}` and
    :math:`\hat x_0 - x_0 = -\sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}\, (\hat\epsilon - \epsilon)`. So

    .. math:: \gamma_t = 1, \qquad \gamma_t = \frac{1}{\bar\alpha_t},
              \qquad \gamma_t = \frac{1 - \bar\alpha_t}{\bar\alpha_t}

    for eps, v and x_0. (As weights of the error of x_0 these are SNR, SNR + 1 and 1: Salimans and Ho 2022, section 4,
    name the first two.)

    Args:
        schedule: the noise schedule.
        prediction: what the network says.

    Returns:
        ``(T+1,)`` float64, ``gamma[0] == 0``.

    Raises:
        ValueError: if the prediction is unknown.

    Equations: eq:error-scale
    """
    abar = schedule.alpha_bar[1:]
    weights = {"eps": torch.ones_like(abar), "v": 1 / abar, "x0": (1 - abar) / abar}
    if prediction not in weights:
        raise ValueError(f"prediction = {prediction!r}: a network predicts eps, v or x0")
    return torch.cat([abar.new_zeros(1), weights[prediction]])


def min_snr_gamma(schedule: NoiseSchedule, cap: float = 5.0) -> Tensor:
    r"""The weights of min-SNR (Hang et al. 2023, *Efficient Diffusion Training via Min-SNR Weighting Strategy*):
    :math:`\gamma_t = \min(\operatorname{SNR}(t), c) / \operatorname{SNR}(t)`.

    Nearly clean levels, whose SNR is above the cap c, count less; all others count 1. Give them to :func:`loss_gamma`.
    As that is a loss of the noise, the weights are the same whatever the network says. (The paper weighs x_0's error by
    min(SNR, c), noise's by min(SNR, c)/SNR, v's by min(SNR, c)/(SNR + 1): one loss in three coordinates.)

    Args:
        schedule: the noise schedule.
        cap: c, positive; the paper's is 5.

    Returns:
        ``(T+1,)`` float64, ``gamma[0] == 0``.

    Raises:
        ValueError: if the cap is not positive.

    Equations: eq:min-snr
    """
    if not cap > 0:
        raise ValueError(f"cap = {cap}: give a positive number, such as 5")
    snr = schedule.snr[1:]
    return torch.cat([snr.new_zeros(1), snr.clamp(max=cap) / snr])
