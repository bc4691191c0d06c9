"""The kit names every mistake of its catalogue and bugs seen in public, and raises no alarm over what is right."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from conformance_cases import (
    RIGHT,
    azula_step,
    diffusers_object,
    diffusers_sampler,
    loop,
    numpy_step,
    package_sampler,
    package_step,
    plain_climb,
    smalldiffusion_sampler,
    step_with,
    twelve_lines,
    unheard,
    x0_for_eps,
)

from ddim_edu.conformance import assert_conforms, check
from ddim_edu.conformance.catalogue import BY_ID, MISTAKES, of_kind
from ddim_edu.conformance.contract import Refused
from ddim_edu.conformance.reference import build
from ddim_edu.schedule import SPACINGS, NoiseSchedule

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
        shown = [name for name, oracle in verdict.oracles.items() if not oracle["passed"]]
        assert shown or verdict.verdict == "convention", verdict.text()


@pytest.mark.parametrize("kind, function, expected", RIGHT)
def test_no_false_alarm(kind, function, expected):
    verdict = check(function, kind)
    assert verdict.verdict == expected, verdict.text()
    assert_conforms(function, kind)


# -- bugs seen in public, reproduced from their descriptions

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
    ("step", step_with(along=lambda a_t, a_s, eta, std: 1 - a_s - (std**2 / eta if eta else 0)),
     "direction-eta-variance"),
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
    ("sampler", loop(tau=lambda T, S: [T, *(T - i * (T // S) for i in (1, *range(1, S - 1))), 0], step=step_with()),
     "grid-repeats"),
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
