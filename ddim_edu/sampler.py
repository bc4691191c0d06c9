r"""The one sampler: every eta, every sub-sequence of steps, and inversion (chapters 5 to 7).

DDPM, DDIM and all between them are one loop over one step, :func:`ddim_step`. Applications reach into it at two places
only: they wrap ``eps_theta`` (guidance, labels) or pass ``edit_x0`` (clipping, restoration).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, add_scaled, predict, unmix_eps, unmix_x0
from ddim_edu.posterior import step_coefficients
from ddim_edu.randomness import Generators, draw
from ddim_edu.schedule import NoiseSchedule, check_eta, check_tau


@dataclass(frozen=True)
class Step:
    """One step of the sampler, as :func:`ddim_path` yields it.

    Attributes:
        t: the level left.
        s: the level reached.
        x_t: ``(B, ...)`` the state left.
        eps_hat: the noise predicted in it (after clipping or editing of ``x0_hat``, where there is any).
        x0_hat: the data predicted from it.
        x_s: the state reached.
    """

    t: int
    s: int
    x_t: Tensor
    eps_hat: Tensor
    x0_hat: Tensor
    x_s: Tensor


def ddim_step(
    x_t: Tensor,
    eps: Tensor,
    abar_t: float | Tensor,
    abar_s: float | Tensor,
    sigma: float | Tensor = 0.0,
    noise: Tensor | None = None,
    *,
    x0_hat: Tensor | None = None,
) -> Tensor:
    r"""One step from level t to level s (DDIM eq. 12).

    .. math:: x_s = \sqrt{\bar\alpha_s}\, \frac{x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon}{\sqrt{\bar\alpha_t}}
              + \sqrt{1 - \bar\alpha_s - \sigma^2}\; \epsilon + \sigma z

    That is :func:`ddim_edu.posterior.q_sigma` with the prediction of x_0 in the place of x_0. With sigma = 0 it runs in
    both directions: s > t is a step of the inversion.

    Args:
        x_t: ``(B, ...)``.
        eps: predicted noise in x_t, same shape.
        abar_t: level of ``x_t``, in (0, 1].
        abar_s: level to reach, in [0, 1].
        sigma: standard deviation of the fresh noise, ``0 <= sigma**2 <= 1 - abar_s``.
        noise: z, standard normal, same shape; may be None where sigma is 0.
        x0_hat: the predicted data, which is the fraction above, where the caller has it already.

    Raises:
        ValueError: if sigma is outside its range, or positive without ``noise``.

    Equations: eq:generative-step, eq:clock-step
    """
    if x0_hat is None:
        x0_hat = unmix_x0(x_t, eps, abar_t)
    if noise is None:
        _check_no_noise_is_needed(sigma)
    # sqrt(abar_s), sqrt(1 - abar_s - sigma^2) and sigma; and the sum signal * x0_hat + reused * eps + fresh * noise
    signal, reused, fresh = step_coefficients(abar_s, sigma, x_t)
    return add_scaled(signal * x0_hat, (reused, eps), (fresh, noise))


def ddim_path(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float | str = 0.0,
    generator: Generators = None,
    clip: float | None = None,
    edit_x0: Callable[[Tensor, int], Tensor] | None = None,
) -> Iterator[Step]:
    r"""Walk from x_T at level ``tau[-1]`` down to the data, one :class:`Step` at a time (DDIM section 4).

    The network is called once a step. Gradients are recorded where the caller records them; :func:`sample` does not.

    Args:
        eps_theta: ``eps_theta(x_t, t) -> eps`` with x_t ``(B, ...)`` and t ``(B,)`` int64 in 1..T.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule that ``eps_theta`` was trained with.
        tau: ``(S+1,)`` strictly increasing levels from 0; see :func:`ddim_edu.schedule.make_tau`.
        eta: 0 is DDIM, 1 is DDPM, between and above as DDIM eq. 16; ``"hat"`` is DDPM's larger noise: the mean of eta =
            1 with noise :meth:`~ddim_edu.schedule.NoiseSchedule.sigma_hat`, none at the last step.
        generator: where fresh noise comes from; a sequence of B generators gives each member of the batch its own, so
            that a sample does not depend on the batch it was drawn in. Not used at eta = 0.
        clip: if given, predicted data is clamped to [-clip, clip] and the predicted noise recomputed to agree with it.
        edit_x0: if given, ``edit_x0(x0_hat, t)`` replaces the predicted data (after clipping), and the noise likewise.

    Raises:
        ValueError: if tau, eta or clip is out of range, or ``eps_theta`` returns another shape.
    """
    levels, sigma, noise_scales = _plan(schedule, tau, eta)
    abar, edit = schedule.alpha_bar.tolist(), clip_then_edit(clip, edit_x0)
    noise = _noise_of_steps(x_T, noise_scales, generator)

    def move(x_t: Tensor, t: int, s: int) -> Step:
        eps_hat, x0_hat = estimate(eps_theta, x_t, t, abar[t], edit)
        x_s = ddim_step(x_t, eps_hat, abar[t], abar[s], sigma[s], next(noise), x0_hat=x0_hat)
        return Step(t, s, x_t, eps_hat, x0_hat, x_s)

    return walk(move, x_T, levels)


def estimate(
    eps_theta: EpsTheta,
    x_t: Tensor,
    t: int,
    abar_t: float | Tensor,
    edit_x0: Callable[[Tensor, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The noise and the data that a model sees in x_t; together they make up x_t, at each level and after every edit.

    Args:
        eps_theta: the noise predictor.
        x_t: ``(B, ...)``.
        t: its level, 1..T.
        abar_t: of this level.
        edit_x0: if given, ``edit_x0(x0_hat, t)`` replaces the predicted data, and the noise is found anew.

    Returns:
        ``eps_hat`` and ``x0_hat``, of the shape of ``x_t``.

    Raises:
        ValueError: if ``eps_theta`` returns another shape.
    """
    eps_hat = predict(eps_theta, x_t, t)
    x0_hat = unmix_x0(x_t, eps_hat, abar_t)
    if edit_x0 is not None:
        x0_hat = edit_x0(x0_hat, t)
        eps_hat = unmix_eps(x_t, x0_hat, abar_t)
    return eps_hat, x0_hat


def walk(move: Callable[[Tensor, int, int], Step], x_T: Tensor, levels: Sequence[int]) -> Iterator[Step]:
    """One step after another, from the first level to the last.

    A generator does nothing before its first step is asked for. So a path checks its arguments, and then returns this:
    what is wrong with them is said at the call.

    Args:
        move: ``move(x_t, t, s)`` makes the step from level t to s.
        x_T: ``(B, ...)`` the state at the first level.
        levels: in the order in which to visit them.
    """
    x_t = x_T
    for t, s in pairwise(levels):
        step = move(x_t, t, s)
        yield step
        x_t = step.x_s


@torch.no_grad()
def sample(
    eps_theta: EpsTheta,
    shape: Sequence[int],
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float | str = 0.0,
    generator: Generators = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    clip: float | None = None,
    edit_x0: Callable[[Tensor, int], Tensor] | None = None,
) -> Tensor:
    """Draw new data: x_T from the standard normal, then :func:`ddim_path` to its end.

    Args:
        eps_theta: the noise predictor.
        shape: of the result, ``(B, ...)``.
        schedule: the noise schedule.
        tau: levels to visit.
        eta: 0 is DDIM, 1 is DDPM, ``"hat"`` DDPM's larger noise.
        generator: one for all, or one for each of the B; x_T is drawn from it first.
        device: where to compute.
        dtype: type of x.
        clip: as in :func:`ddim_path`.
        edit_x0: as in :func:`ddim_path`.

    Returns:
        ``shape``: x_0.

    Raises:
        ValueError: as :func:`ddim_path`, and if there are not as many generators as samples.
    """
    x_T = draw(torch.empty(tuple(shape), dtype=dtype, device=device), generator)
    return decode(eps_theta, x_T, schedule, tau, eta=eta, generator=generator, clip=clip, edit_x0=edit_x0)


@torch.no_grad()
def decode(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    *,
    eta: float | str = 0.0,
    generator: Generators = None,
    clip: float | None = None,
    edit_x0: Callable[[Tensor, int], Tensor] | None = None,
) -> Tensor:
    """The data that x_T stands for: :func:`ddim_path` to its end.

    With eta = 0 it is a function of x_T, and undoes :func:`invert` up to the error of the steps; for Gaussian data and
    its exact predictor an affine one. With eta > 0 it is not a function of x_T, unless the noise is held fixed too.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` the state at level ``tau[-1]``.
        schedule: the noise schedule.
        tau: levels to visit.
        eta, generator, clip, edit_x0: as for :func:`ddim_path`.

    Returns:
        ``(B, ...)`` x_0.

    Raises:
        ValueError: as :func:`ddim_path`.

    Equations: eq:affine-decoding
    """
    return end_of(ddim_path(eps_theta, x_T, schedule, tau, eta=eta, generator=generator, clip=clip, edit_x0=edit_x0))


def end_of(path: Iterable[Step]) -> Tensor:
    """Where a path arrives, ``(B, ...)``. Unlike a list of its steps, this keeps only one at a time."""
    for step in path:
        x = step.x_s
    return x


@torch.no_grad()
def invert(eps_theta: EpsTheta, x_0: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int]) -> Tensor:
    r"""Encode data as the x_T that the deterministic sampler would decode to it (DDIM sections 4.3 and 5.4).

    The same step with sigma = 0, upwards. The noise is predicted at the level being left, so that this is Euler's
    method for the same ODE; at t = 0, where a network knows no level, it is asked for level 1. Inverting and sampling
    with the same tau returns to the start up to an error that falls with the step size (chapter 7). On the cosine
    schedule let tau end some levels below T: the last of its steps in the ODE's clock is longer than all others
    together, and a network's error is multiplied by its length.

    Args:
        eps_theta: the noise predictor.
        x_0: ``(B, ...)`` data.
        schedule: the noise schedule.
        tau: levels to visit, as for sampling.

    Returns:
        ``(B, ...)`` x at level ``tau[-1]``.

    Warns:
        UserWarning: with the remedy, where tau's last step in the clock is more than 20 times as long as all others
            together.

    Equations: eq:clock-step
    """
    levels = check_tau(tau, schedule.T)
    _warn_of_the_last_step(schedule, levels)
    abar = schedule.alpha_bar.tolist()
    x = x_0
    for t, s in pairwise(levels):  # s > t: upwards
        eps = predict(eps_theta, x, max(t, 1))
        x = ddim_step(x, eps, abar[t], abar[s])
    return x


def _warn_of_the_last_step(schedule: NoiseSchedule, levels: list[int]) -> None:
    """Say so where an inversion ends in one huge step of the clock, whose error no other step can be as large as."""
    clock = schedule.nsr.tolist()
    before, top = levels[-2:]
    # Data has size 1, and so has the clock where signal and noise are of one size: a first step up to there is fine.
    limit = 20 * max(clock[before], 1.0)
    if clock[top] - clock[before] > limit:
        good = top - max(1, schedule.T // 100)
        warnings.warn(
            f"the last step of this inversion, from level {before} to {top}, takes the clock sqrt((1 - abar)/abar) "
            f"from {clock[before]:.3g} to {clock[top]:.3g}, and its error is as large as it is long: let tau end "
            f"lower, as in make_tau({good}, S), or take more steps",
            stacklevel=4,  # past torch's no_grad, to the line that called invert
        )


def _plan(
    schedule: NoiseSchedule, tau: Tensor | Sequence[int], eta: float | str
) -> tuple[list[int], dict[int, float], list[float]]:
    """The levels of a walk, falling; sigma of the step to each; and what standard normal noise is multiplied by first.

    All are plain numbers: nothing in the loop waits for a device.
    """
    levels = check_tau(tau, schedule.T)[::-1]
    larger = eta == "hat"
    eta = 1.0 if larger else check_eta(eta)
    schedule, t, s = schedule.to("cpu"), torch.tensor(levels[:-1]), torch.tensor(levels[1:])
    sigma, room = schedule.sigma(t, s, eta), (1 - schedule.alpha_bar[s]).sqrt()
    if bool((sigma > room * (1 + 1e-9)).any()):
        most = eta * (room / sigma)[sigma > 0].min().item()
        raise ValueError(
            f"eta = {eta} asks for more fresh noise than a level holds; with these steps it can be at most {most:.4g}"
        )
    # The larger noise leaves the mean that eta = 1 has: sigma stays, and the noise grows.
    scale = schedule.sigma_hat(t, s) / sigma if larger else torch.ones_like(sigma)
    return levels, dict(zip(levels[1:], sigma.tolist())), torch.where(sigma > 0, scale, 0).tolist()


def check_clip(clip: float | None) -> None:
    """Refuse a bound of predicted data that is none.

    Raises:
        ValueError: unless it is None or a number above 0.
    """
    if clip is not None and not clip > 0:  # written so that nan fails too
        raise ValueError(f"clip = {clip} is not a number > 0; use None for no clipping, 1.0 for images in [-1, 1]")


def clip_data(x0_hat: Tensor, clip: float | None) -> Tensor:
    """Predicted data within [-clip, clip]; as it is where clip is None."""
    if clip is None:
        return x0_hat
    bound = min(clip, torch.finfo(x0_hat.dtype).max)  # torch refuses a number that the type doesn't have
    return x0_hat.clamp(-bound, bound)


def clipped(eps_theta: EpsTheta, clip: float, schedule: NoiseSchedule) -> EpsTheta:
    """A noise predictor whose predicted data stays within [-clip, clip], for solvers that don't clip: but for rounding,
    what ``clip`` does in :func:`ddim_path`.
    """

    def eps(x_t: Tensor, t: Tensor) -> Tensor:
        abar = schedule.abar(t)
        return unmix_eps(x_t, clip_data(unmix_x0(x_t, eps_theta(x_t, t), abar), clip), abar)

    return eps


def clip_then_edit(
    clip: float | None, edit_x0: Callable[[Tensor, int], Tensor] | None = None
) -> Callable[[Tensor, int], Tensor] | None:
    """What a path does to the predicted data, for :func:`estimate`; None if nothing.

    Raises:
        ValueError: as :func:`check_clip`.
    """
    if clip is None or clip is False:
        return edit_x0
    check_clip(clip)
    if edit_x0 is None:
        return lambda x0_hat, t: clip_data(x0_hat, clip)
    return lambda x0_hat, t: edit_x0(clip_data(x0_hat, clip), t)


def _noise_of_steps(x: Tensor, scales: list[float], generator: Generators) -> Iterator[Tensor | None]:
    """Fresh noise for one step after another, each drawn when it is asked for; None where its scale is 0."""
    standard = _standard_noise(x, generator)
    for scale in scales:
        noise = next(standard) if scale else None
        yield noise if noise is None or scale == 1 else scale * noise


def _standard_noise(like: Tensor, generator: Generators) -> Iterator[Tensor]:
    """Noise without end. Where each member has its own generator, 16 draws are made at a time: calls are dear."""
    while generator is None or isinstance(generator, torch.Generator):
        yield draw(like, generator)
    while True:
        yield from draw(like[:, None].expand(-1, 16, *like.shape[1:]), generator).unbind(1)


def _check_no_noise_is_needed(sigma: float | Tensor) -> None:
    if bool((sigma != 0).any()) if isinstance(sigma, Tensor) else sigma != 0:
        raise ValueError("sigma > 0 needs noise: pass standard normal noise of the shape of x_t")
