"""Right implementations, and samplers with one thing to get wrong: what the tests of the conformance kit judge."""

import numpy as np
import torch

from ddim_edu.sampler import ddim_path, ddim_step, invert
from ddim_edu.schedule import SPACINGS, NoiseSchedule, make_tau


def schedule_of(alpha_bar):
    return NoiseSchedule.from_betas(1 - alpha_bar[1:] / alpha_bar[:-1])


def package_step(x_t, eps, t, s, eta, noise, alpha_bar):
    return ddim_step(x_t, eps, alpha_bar[t], alpha_bar[s], schedule_of(alpha_bar).sigma(t, s, eta), noise)


def package_sampler(spacing):
    def sampler(eps_theta, x_T, S, eta, alpha_bar):
        schedule = schedule_of(alpha_bar)
        *_, last = ddim_path(eps_theta, x_T, schedule, make_tau(schedule.T, S, spacing), eta=eta)
        return last.x_s

    return sampler


def package_invert(eps_theta, x_0, S, alpha_bar):
    return invert(eps_theta, x_0, schedule_of(alpha_bar), make_tau(len(alpha_bar) - 1, S, "trailing"))


def twelve_lines(eps_theta, x, S, eta, alpha_bar):
    T = len(alpha_bar) - 1
    tau = [round(T * (S - i) / S) for i in range(S + 1)]
    for t, s in zip(tau, tau[1:]):
        a, b = alpha_bar[t], alpha_bar[s]
        eps = eps_theta(x, torch.full((len(x),), t))
        x_0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        x = b.sqrt() * x_0 + (1 - b - sigma**2).sqrt() * eps
        if s > 0:
            x = x + sigma * torch.randn_like(x)
    return x


def in_float32(eps_theta, x, S, eta, alpha_bar):
    return twelve_lines(lambda x, t: eps_theta(x, t).float(), x.float(), S, eta, alpha_bar.float())


HIDDEN = np.random.default_rng(0)


def unheard(factor=1.0, shared=False):
    """A sampler whose noise comes from a generator of its own, which nobody can listen to."""

    def sampler(eps_theta, x, S, eta, alpha_bar):
        T = len(alpha_bar) - 1
        tau = [round(T * (S - i) / S) for i in range(S + 1)]
        for t, s in zip(tau, tau[1:]):
            noise = HIDDEN.standard_normal(x.shape[1:] if shared else x.shape)
            x = package_step(
                x, eps_theta(x, torch.full((len(x),), t)), t, s, eta, factor * torch.from_numpy(noise), alpha_bar
            )
        return x

    return sampler


def diffusers_sampler(eps_theta, x, S, eta, alpha_bar, **options):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        len(alpha_bar) - 1, trained_betas=(1 - alpha_bar[1:] / alpha_bar[:-1]).numpy(), clip_sample=False, **options
    )
    scheduler.set_timesteps(S)
    for t in scheduler.timesteps:
        x = scheduler.step(eps_theta(x, torch.full((len(x),), int(t) + 1)), t, x, eta=eta).prev_sample
    return x


def diffusers_object(name="DDIMScheduler", **options):
    import diffusers

    return lambda: getattr(diffusers, name)(**options)


# Other libraries' parametrisations, each bound as the help says.


def gam_mu_step(x, eps, sig, sig_next, mu, z):
    """smalldiffusion's step at gam = 1: from sig down to sig_low, then up to sig_next = sig^(1 - mu) sig_low^mu."""
    sig_low = sig_next if mu == 0 else (sig_next / sig ** (1 - mu)) ** (1 / mu)
    return x - (sig - sig_low) * eps + (sig_next**2 - sig_low**2).clamp(min=0).sqrt() * z


def mu_of(sig, sig_next, eta):
    """The mu of one step that is DDIM's eta: 0 (the same as 1) at eta = 0, 1/2 at eta = 1, and another for each step
    between.
    """
    if eta == 0 or sig_next == 0:
        return 0.0
    sig_low = sig_next * (1 - eta**2 * (1 - (sig_next / sig) ** 2)).sqrt()
    return float((sig_next / sig).log() / (sig_low / sig).log())


def smalldiffusion_step(x, eps, t, s, eta, z, a):
    sig = (1 / a - 1).sqrt()
    return a[s].sqrt() * gam_mu_step(x / a[t].sqrt(), eps, sig[t], sig[s], mu_of(sig[t], sig[s], eta), z)


def smalldiffusion_sampler(end):
    def sampler(eps_theta, x, S, eta, a):
        T = len(a) - 1
        levels, sig = [*(round(T * (1 - i / S)) for i in range(S)), end], (1 / a - 1).sqrt()
        x = x / a[T].sqrt()
        for t, s in zip(levels, levels[1:]):
            eps = eps_theta(a[t].sqrt() * x, torch.full((len(x),), t))
            x = gam_mu_step(x, eps, sig[t], sig[s], mu_of(sig[t], sig[s], eta), torch.randn_like(x))
        return a[end].sqrt() * x

    return sampler


def azula_step(x, eps, t, s, eta_squared, z, a):
    alpha, sigma = a.sqrt(), (1 - a).sqrt()
    tau = (eta_squared * (1 - (alpha[t] / alpha[s] * sigma[s] / sigma[t]) ** 2)).clip(0, 1)
    mean = (x - sigma[t] * eps) / alpha[t]  # its denoiser's answer
    return alpha[s] * mean + sigma[s] * (1 - tau).sqrt() / sigma[t] * (x - alpha[t] * mean) + sigma[s] * tau.sqrt() * z


def azula_sampler(eps_theta, x, S, eta, a):
    levels = (torch.linspace(1, 0, S + 1, dtype=torch.float64) * (len(a) - 1)).round().long().tolist()
    for t, s in zip(levels, levels[1:]):
        x = azula_step(x, eps_theta(x, torch.full((len(x),), t)), t, s, eta**2, torch.randn_like(x), a)
    return x


def lucidrains_like(clip):
    """Levels from 0, -1 the data, as in lucidrains' denoising-diffusion-pytorch; clipping recomputes eps."""

    def sampler(eps_theta, x, S, eta, alpha_bar):
        a = alpha_bar[1:]
        levels = torch.linspace(-1, len(a) - 1, S + 1).int().tolist()[::-1]
        for t, s in zip(levels, levels[1:]):
            eps = eps_theta(x, torch.full((len(x),), t) + 1)
            x_0 = (x - (1 - a[t]).sqrt() * eps) / a[t].sqrt()
            if clip:
                x_0 = x_0.clamp(-1, 1)
                eps = (x - a[t].sqrt() * x_0) / (1 - a[t]).sqrt()
            if s < 0:
                return x_0
            sigma = eta * ((1 - a[t] / a[s]) * (1 - a[s]) / (1 - a[t])).sqrt()
            x = x_0 * a[s].sqrt() + (1 - a[s] - sigma**2).sqrt() * eps + sigma * torch.randn_like(x)

    return sampler


def numpy_step(x, eps, t, s, eta, z, a):
    if not all(isinstance(given, np.ndarray) for given in (x, eps, z, a)):
        raise TypeError("numpy arrays only")
    sigma = eta * np.sqrt((1 - a[s]) / (1 - a[t]) * (1 - a[t] / a[s]))
    return (
        np.sqrt(a[s]) * (x - np.sqrt(1 - a[t]) * eps) / np.sqrt(a[t]) + np.sqrt(1 - a[s] - sigma**2) * eps + sigma * z
    )


def numpy_sampler(step):
    def sampler(eps_theta, x, S, eta, a):
        tau = [round((len(a) - 1) * (S - i) / S) for i in range(S + 1)]
        for t, s in zip(tau, tau[1:]):
            x = step(x, eps_theta(x, np.full(len(x), t)), t, s, eta, np.random.standard_normal(x.shape), a)
        return x

    return sampler


RIGHT = [
    ("step", package_step, "right"),
    (
        "step",
        lambda x, e, t, s, eta, z, a: package_step(x.float(), e.float(), t, s, eta, z.float(), a.float()),
        "right",
    ),
    ("sampler", twelve_lines, "right"),
    ("sampler", in_float32, "right"),
    ("step", smalldiffusion_step, "right"),
    ("sampler", smalldiffusion_sampler(end=0), "right"),
    ("step", lambda x, e, t, s, eta, z, a: azula_step(x, e, t, s, eta**2, z, a), "right"),
    ("sampler", azula_sampler, "right"),
    ("sampler", lucidrains_like(clip=False), "right"),
    ("sampler", lucidrains_like(clip=True), "convention"),
    ("step", numpy_step, "right"),
    ("sampler", numpy_sampler(numpy_step), "right"),
    ("sampler", unheard(), "right"),
    ("sampler", diffusers_sampler, "convention"),
    *(
        ("sampler", package_sampler(spacing), "convention" if spacing in ("leading", "quadratic") else "right")
        for spacing in SPACINGS
    ),
    ("invert", package_invert, "right"),
    ("sigma", lambda t, s, eta, a: schedule_of(a).sigma(t, s, eta), "right"),
    *(
        (
            "tau",
            lambda T, S, spacing=spacing: make_tau(T, S, spacing),
            "convention" if spacing in ("leading", "quadratic") else "right",
        )
        for spacing in SPACINGS
    ),
    ("schedule", lambda T: NoiseSchedule.linear(T).alpha_bar, "right"),
    ("schedule", lambda T: NoiseSchedule.cosine(T).alpha_bar.numpy(), "right"),
    ("schedule", lambda T: NoiseSchedule.scaled_linear(T).alpha_bar.tolist(), "right"),
    ("schedule", lambda T: torch.linspace(0, 2.5, T + 1, dtype=torch.float64).square().neg().exp(), "right"),
    ("schedule", lambda T: NoiseSchedule.linear(T).alpha_bar[1:], "convention"),
    ("scheduler", diffusers_object(), "convention"),
    ("scheduler", diffusers_object(prediction_type="v_prediction", beta_schedule="scaled_linear"), "convention"),
    ("scheduler", diffusers_object("DDIMInverseScheduler"), "convention"),
    ("scheduler", diffusers_object("DDPMScheduler"), "convention"),
]

# -- with one thing to get wrong


def loop(tau=None, asked=lambda t, s, i: t, step=package_step):
    """A sampler with one thing to get wrong."""

    def sampler(eps_theta, x, S, eta, alpha_bar):
        T = len(alpha_bar) - 1
        levels = tau(T, S) if tau else [round(T * (S - i) / S) for i in range(S + 1)]
        for i, (t, s) in enumerate(zip(levels, levels[1:])):
            x = step(x, eps_theta(x, torch.full((len(x),), asked(t, s, i))), t, s, eta, torch.randn_like(x), alpha_bar)
        return x

    return sampler


def step_with(sigma=None, along=None, end=None):
    def step(x, eps, t, s, eta, z, a):
        a_t, a_s = a[t], a[s] if s or end is None else a[end]
        std = sigma(a_t, a_s, eta) if sigma else eta * ((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)).sqrt()
        room = along(a_t, a_s, eta, std) if along else 1 - a_s - std**2
        return a_s.sqrt() * (x - (1 - a_t).sqrt() * eps) / a_t.sqrt() + room.clamp(min=0).sqrt() * eps + std * z

    return step


def x0_for_eps(x, x_0, t, s, eta, z, a):
    """The network's output is x_0, and stays in eps's place in the direction."""
    return a[s].sqrt() * x_0 + (1 - a[s]).clamp(min=0).sqrt() * x_0


def plain_climb(asked):
    def up(eps_theta, x, S, alpha_bar):
        T = len(alpha_bar) - 1
        tau = [0, *(1 + i * (T // S) for i in range(S))]
        for i, (t, s) in enumerate(zip(tau, tau[1:])):
            a, b = alpha_bar[t], alpha_bar[s]
            eps = eps_theta(x, torch.full((len(x),), asked(t, s, i)))
            x = b.sqrt() * (x - (1 - a).sqrt() * eps) / a.sqrt() + (1 - b).sqrt() * eps
        return x

    return up


# -- written out, sharing nothing with the kit

BETA = (1e-4, 0.02)  # the ends of the linear schedule


def full(x, t):
    return torch.full((len(x),), int(t))


def even(T, S):
    return [round(T * (S - i) / S) for i in range(S)]


def down(x, eps, a, b, eta=0.0, z=0.0):
    sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
    return b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b - sigma**2) ** 0.5 * eps + sigma * z


def whole(T, S):
    return [*even(T, S), 0]


def rising(T, S):
    return whole(T, S)[::-1]
