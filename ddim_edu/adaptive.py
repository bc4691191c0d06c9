r"""The adaptive step: a complexity map, a step size and a loss, as a source published them, and mended (chapter 8).

The source adds to DDIM a weight for every pixel, high where a picture changes quickly. Its three formulas stand here as
published: :func:`complexity`, :func:`adaptive_step_size`, :func:`adaptive_step_loss`. Chapter 8 shows why they can't do
what is claimed of them. :func:`pixel_complexity` and :func:`mended_loss` do what they were meant to do. For steps that
adapt to the error of the sampler itself, which none of these measures, see :mod:`ddim_edu.solvers`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ddim_edu.forward import EpsTheta, unmix_x0
from ddim_edu.losses import mixed_and_predicted
from ddim_edu.schedule import NoiseSchedule

PUBLISHED_LAMBDA = 0.1  # the source's
MENDED_LAMBDA = 1.0  # of a pixel's weight, as much comes from its complexity as from its being a pixel


def complexity(x: Tensor) -> Tensor:
    r"""The published complexity map.

    With the differences to the right and downwards, :math:`d_x = x * [[-1, 1], [0, 0]]` and :math:`d_y = x * [[-1, 0],
    [1, 0]]` in each channel, and zeros around the picture,

    .. math:: c = \frac{g}{\lVert g \rVert_2 + 10^{-8}}, \qquad g = \sqrt{d_x^2 + d_y^2},

    where the norm is over **all** elements of the batch. So the map is a row and a column larger than the picture, at
    its entry (i, j) compares pixel (i - 1, j - 1) with its right and lower neighbours, sees the frame of zeros as an
    edge, and shrinks as one over the root of the number of its elements.

    Args:
        x: ``(B, C, H, W)`` pictures.

    Returns:
        ``(B, C, H + 1, W + 1)``, at least 0, with squares that add up to 1; all 0 for pictures that are all 0.

    Raises:
        ValueError: If x is not four-dimensional, or empty.

    Equations: eq:published-complexity
    """
    _check_pictures(x)
    if x.dtype in (torch.float16, torch.bfloat16):  # there 1e-8 is 0, and 0 / 0 no number
        return complexity(x.float()).to(x.dtype)
    kernels = x.new_tensor([[[-1.0, 1.0], [0.0, 0.0]], [[-1.0, 0.0], [1.0, 0.0]]])
    channels = x.shape[1]
    along, down = (F.conv2d(x, kernel.expand(channels, 1, 2, 2), padding=1, groups=channels) for kernel in kernels)
    size = torch.hypot(along, down)
    return size / (size.norm() + 1e-8)


def adaptive_step_size(
    complexity: Tensor, base_step: float = 1.0, min_step: float = 0.0, max_step: float = 10.0
) -> Tensor:
    r"""The published step size, :math:`\min(\max(b / c,\, s_{\min}),\, s_{\max})`, for every pixel.

    Where the complexity is 0 the quotient is infinite and the step is ``max_step``.

    Args:
        complexity: at least 0, such as :func:`complexity` gives; any shape.
        base_step: b, positive.
        min_step: the smallest step, at least 0.
        max_step: the largest step, finite.

    Returns:
        The shape of ``complexity``.

    Raises:
        ValueError: If b is not positive and finite, or the limits are not ``0 <= min_step <= max_step < inf``.

    Equations: eq:published-step
    """
    if not 0 < base_step < math.inf:
        raise ValueError(f"base_step = {base_step}: give a positive number")
    if not 0 <= min_step <= max_step < math.inf:
        raise ValueError(f"min_step = {min_step} and max_step = {max_step}: give 0 <= min_step <= max_step, finite")
    return (base_step / complexity).clamp(min_step, max_step)


def adaptive_step_loss(eps_hat: Tensor, eps: Tensor, x: Tensor, lam: float = PUBLISHED_LAMBDA) -> Tensor:
    r"""The published loss,

    .. math:: L = \operatorname{mean}\bigl((\hat\epsilon - \epsilon)^2\bigr)
                  + \lambda \operatorname{mean}\bigl(c\, \lvert \hat\epsilon - \epsilon \rvert\bigr),

    with the :func:`complexity` c of x brought to the size of the error by bilinear interpolation.

    Args:
        eps_hat: ``(B, C, H, W)`` predicted noise.
        eps: the noise, same shape.
        x: the pictures that complexity is taken from, same shape, without a gradient of its own; the training here
            takes the clean ones, x_0.
        lam: the weight of the second term, at least 0.

    Returns:
        0-d.

    Raises:
        ValueError: If lam is negative or not finite, or the shapes differ.

    Equations: eq:published-loss
    """
    _check_loss(eps_hat, eps, x, lam)
    error = eps_hat - eps
    weight = F.interpolate(complexity(x.detach()), size=error.shape[-2:], mode="bilinear", align_corners=False)
    return error.square().mean() + lam * (weight * error.abs()).mean()


def pixel_complexity(x: Tensor) -> Tensor:
    r"""How busy a picture is at each of its pixels, relative to the rest of it.

    Central differences, :math:`d_x[i, j] = (x[i, j+1] - x[i, j-1]) / 2` and likewise down, with the outermost pixels
    repeated beyond the border; then the root of the sum of their squares over both directions and all channels, divided
    by its mean over the picture. What this mends of :func:`complexity`: the map lies on the pixels, the frame is no
    edge, its mean is 1 for each picture whatever its size, its contrast and its neighbours in the batch, and all
    channels of a pixel weigh the same.

    Args:
        x: ``(B, C, H, W)`` pictures.

    Returns:
        ``(B, 1, H, W)``, at least 0, of mean 1 for each picture; all 1 where a picture is constant.

    Raises:
        ValueError: If x is not four-dimensional, or empty.

    Equations: eq:pixel-complexity
    """
    _check_pictures(x)
    framed = F.pad(x, (1, 1, 1, 1), mode="replicate")
    along = (framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]) / 2
    down = (framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]) / 2
    # Divided by the largest before the root, so that neither tiny nor huge contrasts leave the range of float32.
    largest = torch.maximum(along.abs(), down.abs()).amax((1, 2, 3), keepdim=True)
    size = ((along / largest).square() + (down / largest).square()).sum(1, keepdim=True).sqrt()
    return torch.where(largest > 0, size / size.mean((2, 3), keepdim=True), 1.0)


def mended_loss(eps_hat: Tensor, eps: Tensor, x0_hat: Tensor, lam: float = MENDED_LAMBDA) -> Tensor:
    r"""A squared error that minds busy places more,

    .. math:: L = \operatorname{mean}\Bigl(\frac{1 + \lambda\, w}{1 + \lambda}\, (\hat\epsilon - \epsilon)^2\Bigr),

    with the :func:`pixel_complexity` w of the network's own prediction of x_0. The weights have mean 1 in every
    picture, so L stays on the scale of the MSE, and they are a function of what the network sees. Therefore the best
    prediction stays :math:`E[\epsilon \mid x_t]`; with the complexity of the clean picture it would not, as noise and
    picture are dependent once x_t is known (chapter 8).

    Args:
        eps_hat: ``(B, C, H, W)`` predicted noise.
        eps: the noise, same shape.
        x0_hat: the picture that complexity is taken from, same shape; no gradient goes through it. It must be a
            function of x_t alone: :func:`ddim_edu.forward.unmix_x0` of x_t and ``eps_hat``.
        lam: 0 is the plain MSE; at 1 (the default) half of the weight is complexity's; the larger, the more. At least
            0.

    Returns:
        0-d.

    Raises:
        ValueError: If lam is negative or not finite, or the shapes differ.

    Equations: eq:mended-loss
    """
    _check_loss(eps_hat, eps, x0_hat, lam)
    weight = (1 + lam * pixel_complexity(x0_hat.detach())) / (1 + lam)
    return (weight * (eps_hat - eps).square()).mean()


def loss_adaptive(
    eps_theta: EpsTheta,
    x_0: Tensor,
    t: Tensor,
    eps: Tensor,
    schedule: NoiseSchedule,
    kind: Literal["published", "mended"],
    lam: float | None = None,
) -> Tensor:
    """What the recipes' ``--loss`` names, with the arguments of :func:`ddim_edu.losses.loss_simple`.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, C, H, W)`` pictures.
        t: ``(B,)`` int64 levels in 1..T.
        eps: the noise to mix in and to predict, same shape as ``x_0``.
        schedule: the noise schedule.
        kind: :func:`adaptive_step_loss` with the complexity of x_0, or :func:`mended_loss`.
        lam: lambda; by default the source's 0.1, or 1 for the mended loss.

    Returns:
        0-d.

    Raises:
        ValueError: If the kind is unknown, lam is negative or not finite, or as :func:`ddim_edu.losses.eps_error`.
    """
    if kind not in ("published", "mended"):
        raise ValueError(f"kind = {kind!r}: give published or mended")
    x_t, eps_hat = mixed_and_predicted(eps_theta, x_0, t, eps, schedule)
    if kind == "published":
        return adaptive_step_loss(eps_hat, eps, x_0, PUBLISHED_LAMBDA if lam is None else lam)
    x0_hat = unmix_x0(x_t, eps_hat.detach(), schedule.abar(t))
    return mended_loss(eps_hat, eps, x0_hat, MENDED_LAMBDA if lam is None else lam)


def _check_pictures(x: Tensor) -> None:
    if x.ndim != 4 or x.numel() == 0:
        raise ValueError(f"pictures of shape {tuple(x.shape)}; give (B, C, H, W), none of them 0")


def _check_loss(eps_hat: Tensor, eps: Tensor, x: Tensor, lam: float) -> None:
    if not 0 <= lam < math.inf:
        raise ValueError(f"lambda = {lam}: give a number that is at least 0")
    if not eps_hat.shape == eps.shape == x.shape:
        raise ValueError(
            f"eps_hat {tuple(eps_hat.shape)}, eps {tuple(eps.shape)} and x {tuple(x.shape)} differ in shape"
        )
