"""The kit names every mistake of its catalogue and bugs seen in public, and raises no alarm over what is right."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ddim_edu.conformance import assert_conforms, check
from ddim_edu.conformance.__main__ import main
from ddim_edu.conformance.catalogue import BY_ID, MISTAKES, of_kind
from ddim_edu.conformance.contract import Refused
from ddim_edu.conformance.reference import build
from ddim_edu.sampler import ddim_path, ddim_step, invert
from ddim_edu.schedule import SPACINGS, NoiseSchedule, make_tau

ROOT = Path(__file__).parent.parent

# Different lines that make the same function: sqrt(abar_t) x_0 is (x_t - ...) undivided and so on; a negative root that
# is clamped is 0.
SAME = [
    {"signal-at-t", "x0-divides-at-s"},
    {"s-is-t", "x0-at-s"},  # without fresh noise
    {"sigma-zero", "sigma-second-swapped"},  # where negative roots are clamped
    {"end-in-01", "end-in-01-clipped"},  # on data within [-1, 1]
]


def same(a, b):
    return a == b or any({a, b} <= names for names in SAME)


def test_the_catalogue_is_large_and_each_entry_tells_a_story():
    assert len([m for m in MISTAKES if m.verdict == "wrong"]) >= 40
    assert len(BY_ID) == len(MISTAKES)
    for mistake in MISTAKES:
        assert mistake.change and mistake.yours and mistake.right and mistake.where and mistake.picture


# Every mistake is named in its own kind. A step's mistakes are looked for in samplers by the same search: a few of each
# sort will do there.
ALONE = [
    (kind, m)
    for kind in ("step", "sigma", "tau", "schedule", "invert")
    for m in of_kind(kind)
    if kind != "step" or "sigma" not in m.kinds
]
ALONE += [("sampler", m) for m in of_kind("sampler") if "step" not in m.kinds and "tau" not in m.kinds]
FEW = """direction-sigma sigma-no-root x0-sign last-step-abar-1 index-minus-one clip-without-eps noise-at-the-end
v-read-as-eps grid-too-many grid-ignores-S sigma-eta-ignored"""
ALONE += [("sampler", BY_ID[id]) for id in FEW.split()]


@pytest.mark.parametrize("kind, mistake", ALONE, ids=lambda value: getattr(value, "id", value))
def test_every_mistake_is_named(kind, mistake):
    for family in mistake.families if kind == "schedule" else ("linear",):
        verdict = check(build(kind, mistake.change, family=family), kind)
        assert verdict.verdict == mistake.verdict
        assert same(verdict.mistake, mistake.id), verdict.text()
        assert mistake.where in verdict.explanation or verdict.mistake != mistake.id


# -- what is right raises no alarm


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
    """smalldiffusion's step at gam = 1: down from sig to sig_low, noise up to sig_next = sig^(1 - mu) sig_low^mu."""
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


@pytest.mark.parametrize("kind, function, expected", RIGHT)
def test_no_false_alarm(kind, function, expected):
    verdict = check(function, kind)
    assert verdict.verdict == expected, verdict.text()
    assert_conforms(function, kind)


# -- bugs seen in public, reproduced from their descriptions


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


SEEN = [
    # what a review of a course notebook found, and what the notebook had before (jsboige/CoursIA 16158)
    ("step", step_with(along=lambda a_t, a_s, eta, std: std**2), "direction-sigma"),
    ("step", step_with(sigma=lambda a_t, a_s, eta: eta * (1 - a_t).sqrt()), "sigma-all-of-t"),
    # the list of earlier alphas starts at alphas_cumprod[0] (lllyasviel/ControlNet 587, Stability-AI/stablediffusion
    # 345)
    ("step", step_with(end=1), "last-step-abar-1"),
    ("scheduler", diffusers_object(set_alpha_to_one=False), "last-step-abar-1"),
    # encode() shows the network the index of the step (Stability-AI/stablediffusion 226 and 231)
    ("invert", plain_climb(lambda t, s, i: i), "invert-asked-at-index"),
    # the level before is T//S below, whatever the list says (huggingface/diffusers 9261, 11347, 12633, 14357)
    ("scheduler", diffusers_object(timestep_spacing="linspace"), "stride-recomputed"),
    ("scheduler", diffusers_object(timestep_spacing="trailing"), "stride-recomputed"),
    ("sampler", lambda *a: diffusers_sampler(*a, timestep_spacing="linspace"), "stride-recomputed"),
    # noise predicted at the level reached, used with the alphas of the level left (huggingface/diffusers 5832, 10695)
    ("invert", plain_climb(lambda t, s, i: s), "invert-asked-at-end"),
    ("scheduler", diffusers_object("DDIMInverseScheduler", timestep_spacing="trailing"), "invert-stride-recomputed"),
    # eta is not squared in the direction (inbarhub/DDPM_inversion 12)
    (
        "step",
        step_with(along=lambda a_t, a_s, eta, std: 1 - a_s - (std**2 / eta if eta else 0)),
        "direction-eta-variance",
    ),
    # the walk ends at index 0, which is level 1 (rohitg00/ai-engineering-from-scratch 43)
    ("sampler", loop(step=step_with(end=1)), "last-step-abar-1"),
    # abar_{t-1} for the level reached, though steps skip levels (Kitsunetic/SDF-Diffusion 5)
    ("step", lambda x, e, t, s, eta, z, a: package_step(x, e, t, t - 1, eta, z, a), "s-is-t-minus-one"),
    # the network predicts x_0, and the direction takes that for eps (huggingface/diffusers 1486, 2094)
    ("step", x0_for_eps, "x0-read-as-eps-half+"),
    # every (T//S)-th index: another number of steps than asked (the official code; labml)
    ("tau", lambda T, S: range(1, T + 1, T // S), "grid-too-many"),
    # an offset of 1 at S = T asks beyond the table (CompVis/latent-diffusion 136, huggingface/diffusers 10003,
    # invoke-ai/InvokeAI 415)
    ("tau", lambda T, S: np.arange(S) * (T // S) + 2, "grid-beyond-T"),
    # a level comes twice (huggingface/diffusers 8730)
    (
        "sampler",
        loop(tau=lambda T, S: [T, T - T // S, *(T - i * (T // S) for i in range(1, S - 1)), 0], step=step_with()),
        "grid-repeats",
    ),
    # beta for beta-tilde (jhbastek/PhysicsInformedDiffusionModels 4)
    ("sigma", lambda t, s, eta, a: eta * (1 - a[t] / a[s]) ** 0.5, "sigma-beta"),
    # the last sigma is that of level 1, not 0 (smalldiffusion's own list of sigmas)
    ("sampler", smalldiffusion_sampler(end=1), "last-step-abar-1"),
    # azula's eta is the paper's squared: given the same number it is another process
    ("step", azula_step, "sigma-eta-root"),
    # sigma's root is missing (a slide deck among this project's sources)
    ("sigma", lambda t, s, eta, a: eta * (1 - a[s]) / (1 - a[t]) * (1 - a[t] / a[s]), "sigma-no-root"),
]  # fmt: skip


@pytest.mark.parametrize("kind, function, name", SEEN, ids=[name for _, _, name in SEEN])
def test_bugs_seen_in_public_are_named(kind, function, name):
    verdict = check(function, kind)
    assert verdict.verdict == "wrong"
    assert verdict.mistake == name or (name.endswith("+") and verdict.mistake and name[:-1] in verdict.mistake), (
        verdict.text()
    )
    with pytest.raises(AssertionError, match="WRONG"):
        assert_conforms(function, kind)


def test_arrays_are_found_or_said():
    assert "numpy" in check(numpy_step, "step").oracles["arrays"]["said"]
    assert check(numpy_step, "step", "numpy").verdict == "right"
    failed = check(numpy_step, "step", "torch")
    assert failed.verdict == "wrong" and "numpy arrays only" in failed.explanation
    wrong = check(lambda x, e, *rest: numpy_step(x, 0 * e, *rest), "step")
    assert wrong.verdict == "wrong" and wrong.oracles["runs"]["passed"]
    with pytest.raises(Refused, match="choose one of torch, numpy, jax"):
        check(numpy_step, "step", "cupy")
    if not importlib.util.find_spec("jax"):
        with pytest.raises(Refused, match="jax is not installed"):
            check(numpy_step, "step", "jax")


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed")
def test_jax_arrays():
    def step(x, eps, t, s, eta, z, a):
        import jax

        if not isinstance(x, jax.Array):
            raise TypeError("jax arrays only")
        jnp = jax.numpy
        sigma = eta * jnp.sqrt((1 - a[s]) / (1 - a[t]) * (1 - a[t] / a[s]))
        return (
            jnp.sqrt(a[s]) * (x - jnp.sqrt(1 - a[t]) * eps) / jnp.sqrt(a[t])
            + jnp.sqrt(1 - a[s] - sigma**2) * eps
            + sigma * z
        )

    assert check(step, "step").verdict == check(step, "step", "jax").verdict == "right"


def test_two_mistakes_at_once_are_named():
    step = step_with(
        along=lambda a_t, a_s, eta, std: 1 - a_s + 0 * std,
        sigma=lambda a_t, a_s, eta: eta**2 * ((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)).sqrt(),
    )
    assert check(step, "step").mistake == "direction-forgets-sigma+sigma-eta-squared"
    # a mistake in each step, and one in the levels asked about
    both = loop(asked=lambda t, s, i: t - 1, step=step_with(sigma=lambda a_t, a_s, eta: eta * (1 - a_s).sqrt()))
    assert check(both, "sampler").mistake == "asked-zero-based+sigma-all-of-s"


def test_noise_that_cannot_be_overheard_is_judged_by_its_moments():
    verdict = check(unheard(0.8), "sampler")
    assert verdict.verdict == "wrong" and "deviation 0.7" in verdict.explanation
    assert check(unheard(shared=True), "sampler").mistake == "noise-per-batch"


def test_a_walk_that_does_not_converge_is_seen():
    verdict = check(lambda net, x, S, eta, a: twelve_lines(net, x, 13 if 20 < S < 100 else S, eta, a), "sampler")
    assert (
        verdict.verdict == "wrong"
        and not verdict.oracles["order"]["passed"]
        and "a ratio of 1.00" in verdict.explanation
    )


def test_moments_of_many_samples_are_seen():
    def sampler(eps_theta, x, S, eta, a):
        factor = 0.9 if len(x) > 100 else 1.0
        return loop(step=lambda x, e, t, s, eta, z, a: package_step(x, e, t, s, eta, factor * z, a))(
            eps_theta, x, S, eta, a
        )

    verdict = check(sampler, "sampler")
    assert verdict.verdict == "wrong" and not verdict.oracles["moments at eta = 1"]["passed"], verdict.text()
    assert verdict.oracles["order"]["passed"] and "standard errors away" in verdict.explanation


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_right_sampler_is_of_first_order_whatever_its_levels(spacing):
    oracles = check(package_sampler(spacing), "sampler").oracles
    assert oracles["order"]["passed"] and oracles["moments at eta = 1"]["passed"]


def test_a_batch_that_is_normalised_is_seen():
    verdict = check(loop(step=lambda x, e, *rest: package_step(x, e / e.std(), *rest)), "sampler")
    assert verdict.verdict == "wrong" and verdict.mistake is None


def test_where_no_mistake_fits_the_failing_case_can_be_pasted(capsys):
    verdict = check(lambda x, e, t, s, eta, z, a: 1.01 * package_step(x, e, t, s, eta, z, a), "step")
    assert verdict.verdict == "wrong" and verdict.mistake is None
    code = verdict.explanation.split("\n", 1)[1]
    names = {}
    exec(code, names)
    a = NoiseSchedule.linear().alpha_bar
    ours = package_step(names["x_t"], names["eps"], names["t"], names["s"], names["eta"], names["noise"], a).item()
    yours, right = (float(word) for word in code.rsplit("# yours: ", 1)[1].split("   right: "))
    assert math.isclose(ours, right, rel_tol=1e-8) and math.isclose(yours, 1.01 * right, rel_tol=1e-8)


# -- the command

FILE = """
def right(x_t, eps, t, s, eta, noise, alpha_bar):
    a, b = alpha_bar[t], alpha_bar[s]
    sigma = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
    return b ** 0.5 * (x_t - (1 - a) ** 0.5 * eps) / a ** 0.5 + (1 - b - sigma ** 2) ** 0.5 * eps + sigma * noise

def wrong(x_t, eps, t, s, eta, noise, alpha_bar):
    a, b = alpha_bar[t], alpha_bar[s]
    sigma = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
    return b ** 0.5 * (x_t - (1 - a) ** 0.5 * eps) / a ** 0.5 + sigma * eps + sigma * noise

def leading(T, S):
    return [1 + i * (T // S) for i in range(S)]

def too_short(x_t, eps):
    return x_t
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf8")
    return path


def test_the_command_answers_with_its_exit_code_and_json(mine, tmp_path, capsys):
    out, report = tmp_path / "verdict.json", tmp_path / "verdict.md"
    for name, kind, code, verdict, mistake in [
        ("right", "step", 0, "right", None),
        ("wrong", "step", 1, "wrong", "direction-sigma"),
        ("leading", "tau", 0, "convention", "grid-leading"),
    ]:
        assert main([f"{mine}:{name}", "--kind", kind, "--json", str(out), "--report", str(report)]) == code
        written = json.loads(out.read_text())
        assert set(written) == {"verdict", "mistake", "explanation", "oracles"}
        assert (written["verdict"], written["mistake"]) == (verdict, mistake)
        assert all(set(oracle) == {"passed", "said"} for oracle in written["oracles"].values())
        assert verdict.upper() in capsys.readouterr().out and verdict in report.read_text()
    page = tmp_path / "verdict.html"
    main([f"{mine}:wrong", "--kind", "step", "--report", str(page), "--arrays", "torch"])
    html = page.read_text(encoding="utf8")
    assert html.startswith("<!doctype html>") and "direction-sigma" in html and "<strong>failed</strong>" in html
    assert "http" not in html and "<script" not in html  # needs no other file
    assert "&lt;x&gt;" in check(lambda x, e, t, s, eta, z, a: x, "step").html("<x>")
    capsys.readouterr()
    main([f"{mine}:wrong", "--kind", "step"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "x_0 sqrt(abar_s) + sigma eps + sigma z" in said
        and "eq. 12" in said
        and "never leaves the predicted x_0" in said
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["{}:nothing", "--kind", "step"], "has no function nothing; it has right, wrong"),
        (["{}x.py:right", "--kind", "step"], "there is no such file"),
        (["{}", "--kind", "step"], "FILE.py:FUNCTION"),
        (["{}:right", "--kind", "walk"], "invalid choice"),
        (["{}:right"], "--kind"),
        (["{}:too_short", "--kind", "step"], "can't be called as f(x_t, eps, t, s, eta, noise, alpha_bar)"),
        (["{}:right", "--kind", "step", "--json", "/no/such/folder/v.json"], "/no/such/folder/v.json"),
    ],
)
def test_a_wrong_call_is_one_line_and_2(mine, capsys, arguments, says):
    assert main([argument.replace("{}", str(mine)) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and says in said


def test_the_kit_as_a_process(mine):
    done = subprocess.run(
        [sys.executable, "-m", "ddim_edu.conformance", f"{mine}:wrong", "--kind", "step"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "[direction-sigma]" in done.stdout and not done.stderr


@pytest.mark.slow
def test_the_fixture_in_a_project_of_its_own(mine, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ddim_edu.conformance.pytest_plugin"]\n', encoding="utf8")
    tests = "import mine\n" + "".join(
        f"def test_{n}(conforms):\n    conforms(mine.{n}, 'step')\n" for n in ("right", "wrong")
    )
    (tmp_path / "test_mine.py").write_text(tests, encoding="utf8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "test_mine.py",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout and "[direction-sigma]" in done.stdout, (
        done.stdout + done.stderr
    )


def test_what_is_wrong_is_seen_in_the_table_too():
    """A reader of the list alone finds the reason: the pair of numbers differs, and reused noise fails."""

    def inside(t, s, eta, alpha_bar):
        a, b = alpha_bar[t], alpha_bar[s]
        return (eta * (1 - b) / (1 - a) * (1 - a / b)) ** 0.5

    verdict = check(inside, "sigma")
    found, right = verdict.oracles["DDIM eq. 16"]["said"].split(" = ")[1].split(", should be ")
    assert verdict.mistake == "sigma-eta-root" and abs(float(found) - float(right)) > 0.1

    def once(eps_theta, x_T, S, eta, alpha_bar):
        x, z, levels = x_T, torch.randn_like(x_T), [round(i * 1000 / S) for i in range(S, -1, -1)]
        for t, s in zip(levels, levels[1:]):
            eps = eps_theta(x, torch.full((len(x),), t))
            a, b = alpha_bar[t], alpha_bar[s]
            sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
            x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b - sigma**2) ** 0.5 * eps + sigma * z
        return x

    verdict = check(once, "sampler")
    assert verdict.mistake == "noise-reused" and [name for name, o in verdict.oracles.items() if not o["passed"]] == [
        "fresh noise"
    ]
