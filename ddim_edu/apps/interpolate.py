r"""The geometry of latents: what lies between two of them, and which way an attribute lies (chapter 12).

The deterministic sampler makes the image a function of x_T, :func:`~ddim_edu.sampler.decode`, and
:func:`~ddim_edu.sampler.invert` goes back. So whatever one does to vectors can be done to images. One thing is to be
minded: x_T is a draw from the standard normal, whose norm in D dimensions is within about one of :math:`\sqrt{D}`. The
network has seen no others. A straight line between two draws passes the origin at :math:`\sqrt{D/2}`; :func:`slerp`
goes round it.

Latents are ``(B, ...)``; each member of the batch is taken as one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, per_sample
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import NoiseSchedule


def lerp(a: Tensor, b: Tensor, u: float | Tensor) -> Tensor:
    """The point of the straight line from a to b: ``(1 - u) a + u b``.

    Args:
        a: ``(B, ...)``.
        b: same shape.
        u: a number; or ``(B,)``, one for each member.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_same(a, b)
    u = _each(u, a)
    return per_sample(1 - u, a) * a + per_sample(u, b) * b


def slerp(a: Tensor, b: Tensor, u: float | Tensor) -> Tensor:
    r"""The point of the arc from a to b (Shoemake 1985; DDIM, appendix D.5).

    .. math:: \frac{\sin((1 - u)\, \theta)}{\sin \theta}\, a + \frac{\sin(u\, \theta)}{\sin \theta}\, b,
              \qquad \theta \text{ the angle between } a \text{ and } b

    Between vectors of one norm it keeps that norm and goes at constant speed. Between nearly parallel ones it becomes
    the straight line. Outside 0..1 it goes on along the circle.

    Args:
        a: ``(B, ...)``.
        b: same shape.
        u: a number; or ``(B,)``, one for each member.

    Raises:
        ValueError: if the shapes differ, a vector is zero, or two are opposite: then no arc is the shortest.

    Equations: eq:slerp, eq:same-direction
    """
    _check_same(a, b)
    u = _each(u, a)
    theta = angle(a, b)
    if bool((theta > torch.pi - 1e-6).any()):
        raise ValueError("two latents are opposite: every arc from one to the other is as short")

    def share(v: Tensor) -> Tensor:
        """sin(v theta) / sin(theta), v where theta = 0. torch's sinc(z) is sin(pi z) / (pi z), and 1 at 0."""
        return v * torch.sinc(v * theta / torch.pi) / torch.sinc(theta / torch.pi)

    return per_sample(share(1 - u), a) * a + per_sample(share(u), b) * b


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between a and b, 0..pi, as ``(B,)`` float64 on the CPU; exact near both ends, where the arc cosine is
    not (Kahan).

    Raises:
        ValueError: if a vector is zero.
    """
    a, b = (x.flatten(1).cpu().to(torch.float64) for x in (a, b))
    norms = [x.norm(dim=1, keepdim=True) for x in (a, b)]
    if not bool(((torch.cat(norms) > 0) & torch.cat(norms).isfinite()).all()):
        raise ValueError("a latent is zero, infinite or not a number: it has no direction")
    a, b = a / norms[0], b / norms[1]
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


def square(a: Tensor, b: Tensor, c: Tensor, d: Tensor, n: int) -> Tensor:
    """The square spanned by four latents, by :func:`slerp` along its left and right sides and then between them.

    The order matters a little: the arcs of a sphere don't make a parallelogram.

    Args:
        a, b, c, d: each of the shape of one latent: upper left, upper right, lower left, lower right.
        n: points along each side, at least 2.

    Returns:
        ``(n, n, ...)``: rows from top to bottom, in each from left to right; the corners are a, b, c and d.

    Raises:
        ValueError: as :func:`slerp`, and if n < 2.
    """
    u = _fractions(n)
    left, right = (slerp(_times(x, n), _times(y, n), u) for x, y in ((a, c), (b, d)))
    across = slerp(left.repeat_interleave(n, 0), right.repeat_interleave(n, 0), u.repeat(n))
    return across.unflatten(0, (n, n))


def triangle(a: Tensor, b: Tensor, c: Tensor, n: int) -> Tensor:
    """The triangle spanned by three latents, by :func:`slerp` along its two sides from a, and then between them.

    Args:
        a, b, c: each of the shape of one latent.
        n: points along each side, at least 2.

    Returns:
        ``(n (n + 1) / 2, ...)``: row 0 is a; row i has i + 1 points, from the side a-b to the side a-c; the last goes
            from b to c.

    Raises:
        ValueError: as :func:`slerp`, and if n < 2.
    """
    u = _fractions(n)
    left, right = (slerp(_times(a, n), _times(x, n), u) for x in (b, c))
    row = torch.arange(n).repeat_interleave(torch.arange(n) + 1)
    place = torch.cat([torch.arange(i + 1, dtype=torch.float64) / max(i, 1) for i in range(n)])
    return slerp(left[row], right[row], place)


def between(
    eps_theta: EpsTheta,
    a: Tensor,
    b: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    fractions: Sequence[float] | Tensor,
    *,
    along: Callable[[Tensor, Tensor, float], Tensor] = slerp,
    clip: float | None = None,
) -> Tensor:
    """Images between two real ones: both are inverted, and points between their latents decoded.

    Where the fraction is 0 or 1, what comes out is the reconstruction of an image, not the image.

    Args:
        eps_theta: the noise predictor. It is asked for 2B images at a time on the way up and for UB on the way down, so
            bind one class for all to it, or none.
        a: ``(B, ...)`` images.
        b: same shape.
        schedule: the noise schedule.
        tau: levels to visit. On the cosine schedule let them end some levels below T; see
            :func:`ddim_edu.sampler.invert`.
        fractions: U numbers; 0 is a, 1 is b.
        along: :func:`slerp` or :func:`lerp`.
        clip: as for :func:`ddim_edu.sampler.ddim_path`, on the way down.

    Returns:
        ``(U, B, ...)``.

    Raises:
        ValueError: if the shapes differ, there are no fractions, or as ``along`` and
            :func:`ddim_edu.sampler.ddim_path`.
    """
    _check_same(a, b)
    if len(fractions) == 0:
        raise ValueError("no fractions: give at least one number, such as 0.5")
    from_a, from_b = invert(eps_theta, torch.cat([a, b]), schedule, tau).chunk(2)
    points = torch.stack([along(from_a, from_b, float(u)) for u in fractions])
    return decode(eps_theta, points.flatten(0, 1), schedule, tau, clip=clip).unflatten(0, points.shape[:2])


def direction(having: Tensor, lacking: Tensor) -> Tensor:
    """Which way an attribute lies: the mean latent of images that have it minus the mean of those that lack it.

    Args:
        having: ``(N, ...)`` latents.
        lacking: ``(M, ...)`` latents.

    Returns:
        Of the shape of one latent.

    Raises:
        ValueError: if one of the two groups is empty.
    """
    if not len(having) or not len(lacking):
        raise ValueError(
            f"{len(having)} latents that have it and {len(lacking)} that lack it: give at least one of each"
        )
    return having.mean(0) - lacking.mean(0)


def move(x_T: Tensor, way: Tensor, amount: float | Tensor, *, keep_norm: bool = True) -> Tensor:
    """Latents moved along a direction.

    Args:
        x_T: ``(B, ...)``.
        way: of the shape of one latent, such as :func:`direction` gives.
        amount: a number, or ``(B,)``; 1 adds the direction once, a negative one takes the attribute away.
        keep_norm: scale the result back to the norm that x_T had, so that it stays where latents are.

    Returns:
        ``(B, ...)``.

    Raises:
        ValueError: if a latent arrives at zero, and its norm is to be kept.
    """
    moved = x_T + per_sample(_each(amount, x_T), x_T) * way
    if not keep_norm:
        return moved
    before, after = (x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1)) for x in (x_T, moved))
    if not bool((after > 0).all()):
        raise ValueError("a latent was moved to zero, which has no direction to be scaled in; choose another amount")
    return moved * (before / after)


def _each(u: float | Tensor, x: Tensor) -> Tensor:
    """One number, or one for each member of the batch, as float64 on the CPU: some devices don't know that type."""
    u = u.cpu().to(torch.float64) if isinstance(u, Tensor) else torch.tensor(u, dtype=torch.float64)
    if u.ndim > 1 or (u.ndim == 1 and len(u) not in (1, len(x))):
        raise ValueError(f"{tuple(u.shape)} numbers for a batch of {len(x)}; give one, or one for each")
    return u


def _check_same(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"latents of shapes {tuple(a.shape)} and {tuple(b.shape)}; give two of the same shape")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"latents of types {a.dtype} and {b.dtype}: give floats")


def _fractions(n: int) -> Tensor:
    if n < 2:
        raise ValueError(f"n = {n}: a side has at least 2 points")
    return torch.linspace(0, 1, n, dtype=torch.float64)


def _times(x: Tensor, n: int) -> Tensor:
    return x.expand(n, *x.shape)
