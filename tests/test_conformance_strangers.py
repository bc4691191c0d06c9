"""Code as people write it, in their own style: what is wrong is named, as a kind and not as a single line of the
catalogue, and what is right raises no alarm. Each function here is written out, so that nothing is shared with the kit.
"""

import math

import numpy as np
import pytest
import torch
from conformance_cases import BETA, down, even, full, rising, whole

from ddim_edu.conformance import check


def up(x, eps, a, b):
    return b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps


def sampler(levels_of, asked=lambda t, i, S: t, eta_of=lambda eta: eta, renew=lambda i: True, state=lambda x, x_T: x):
    """A loop over the levels that ``levels_of`` lists, the last of them included."""

    def sample(net, x_T, S, eta, abar):
        x, levels, eps = x_T, levels_of(len(abar) - 1, S), None
        for i, (t, s) in enumerate(zip(levels, levels[1:])):
            eps = net(state(x, x_T), full(x, asked(t, i, S))) if renew(i) else eps
            x = down(x, eps, abar[t], abar[s], eta_of(eta), torch.randn_like(x))
        return x

    return sample


def climb(levels_of, asked=lambda t, i: max(t, 1), renew=lambda i: True):
    def invert(net, x, S, abar):
        levels, eps = levels_of(len(abar) - 1, S), None
        for i, (t, s) in enumerate(zip(levels, levels[1:])):
            eps = net(x, full(x, asked(t, i))) if renew(i) else eps
            x = up(x, eps, abar[t], abar[s])
        return x

    return invert


def leading(T, S):
    return [1 + i * (T // S) for i in range(S)][::-1]


def stale(net, x, S, eta, abar):
    """The network is asked after the update, and its answer used in the next step."""
    levels, old = whole(len(abar) - 1, S), None
    for t, s in zip(levels, levels[1:]):
        eps = net(x, full(x, t))
        x = down(x, eps if old is None else old, abar[t], abar[s], eta, torch.randn_like(x))
        old = eps
    return x


def noise_from_the_second_step(net, x, S, eta, abar):
    levels = whole(len(abar) - 1, S)
    for i, (t, s) in enumerate(zip(levels, levels[1:])):
        x = down(x, net(x, full(x, t)), abar[t], abar[s], eta, torch.randn_like(x) if i > 0 else 0.0)
    return x


def noised_anew(x, eps, t, s, eta, z, abar):
    return abar[s] ** 0.5 * (x - (1 - abar[t]) ** 0.5 * eps) / abar[t] ** 0.5 + (1 - abar[s]) ** 0.5 * z


def bracket(x, eps, t, s, eta, z, abar):
    a, b = abar[t], abar[s]
    sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
    return b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + ((1 - b) ** 0.5 - sigma**2) * eps + sigma * z


def ancestral(x, eps, t, s, eta, z, abar):
    beta = 1 - abar[t] / abar[t - 1]
    return (x - beta / (1 - abar[t]) ** 0.5 * eps) / (1 - beta) ** 0.5 + (beta**0.5 * z if s else 0.0)


def jump(x, eps, t, s, eta, z, abar):
    beta = 1 - abar[t] / abar[s]
    return (x - beta / (1 - abar[t]) ** 0.5 * eps) / (1 - beta) ** 0.5 + (beta**0.5 * z if s else 0.0)


def swapped_at_s(net, x, S, abar):
    levels = rising(len(abar) - 1, S)
    for t, s in zip(levels, levels[1:]):
        eps = net(x, full(x, max(t, 1)))
        x_0 = (x - (1 - abar[t]) ** 0.5 * eps) / abar[t] ** 0.5
        x = (1 - abar[s]) ** 0.5 * x_0 + abar[s] ** 0.5 * eps
    return x


def from_level_1(net, x, S, abar):
    """From level 1, T//S at a time, beyond which nothing is."""
    T = len(abar) - 1
    for t in leading(T, S)[::-1]:
        x = up(x, net(x, full(x, t)), abar[t], abar[min(t + T // S, T)])
    return x


def f(u, s=0.008, below=1.008):
    return np.cos((u + s) / below * np.pi / 2) ** 2


def climbing_angle(T):
    kept = [1.0]
    for t in range(T):
        kept.append(kept[-1] * (1 - min(1 - f((t + 1) / T, below=1) / f(t / T, below=1), 0.999)))
    return kept


GRIDS = {"even": even, "leading": leading, "linspace": lambda T, S: np.linspace(T, 40, S).round().astype(int).tolist()}
WRONG = {
    # a walk without its last step, whatever its levels
    **{
        f"short, {name}": ("sampler", sampler(grid), "grid-stops-short")
        for name, grid in GRIDS.items()
        if name != "leading"
    },
    "short, to 1": ("sampler", sampler(leading), "grid-stops-at-1"),
    "ends at 20": ("sampler", sampler(lambda T, S: np.linspace(T, 20, S + 1).round().astype(int)), "grid-stops-short"),
    # the network is not asked about the state of each step
    "once, up": ("invert", climb(rising, renew=lambda i: i == 0), "network-once"),
    "once, down": ("sampler", sampler(whole, renew=lambda i: i == 0), "network-once"),
    "every second, up": ("invert", climb(rising, renew=lambda i: i % 2 == 0), "network-every-second"),
    "every second, down": ("sampler", sampler(whole, renew=lambda i: i % 2 == 0), "network-every-second"),
    "always x_T": ("sampler", sampler(whole, state=lambda x, x_T: x_T), "shown-the-start"),
    "the last answer": ("sampler", stale, "answer-of-the-step-before"),
    # an inversion without its first step, or without its last
    "late": ("invert", climb(lambda T, S: even(T, S)[::-1]), "invert-starts-late"),
    "late, leading": ("invert", climb(lambda T, S: leading(T, S)[::-1]), "invert-starts-late"),
    "early": ("invert", climb(lambda T, S: rising(T, S)[:-1]), "invert-stops-short"),
    "from 1": ("invert", from_level_1, "invert-starts-at-abar-1"),
    # an index for a level, with and without another mistake
    "index": ("sampler", sampler(whole, lambda t, i, S: S - 1 - i), "asked-at-index"),
    **{
        f"index, eta = 1, {name}": (
            "sampler",
            sampler(lambda T, S, grid=grid: [*grid(T, S), 0], lambda t, i, S: S - 1 - i, lambda eta: 1.0),
            "asked-at-index+sigma-eta-ignored",
        )
        for name, grid in GRIDS.items()
        if name != "linspace"
    },
    # a cosine that is not divided by f(0), not cut, or neither, with the data's level and without, in both precisions
    "neither": ("schedule", lambda T: f(np.arange(T + 1) / T), "cosine-without-cut+cosine-not-normalised"),
    "neither, from 1": ("schedule", lambda T: f(np.arange(1, T + 1) / T), "cosine-without-cut+cosine-not-normalised"),
    "neither, float32": (
        "schedule",
        lambda T: torch.cos((torch.arange(T + 1) / T + 0.008) / 1.008 * math.pi / 2) ** 2,
        "cosine-without-cut+cosine-not-normalised",
    ),
    "not cut": ("schedule", lambda T: f(np.arange(T + 1) / T) / f(0), "cosine-without-cut"),
    "not cut, from 1": ("schedule", lambda T: f(np.arange(1, T + 1) / T) / f(0), "cosine-without-cut"),
    "angle": ("schedule", climbing_angle, "cosine-no-denominator"),
    "log": ("schedule", lambda T: [1.0, *np.cumsum(np.log(1 - np.linspace(*BETA, T)))], "schedule-log"),
    "squared": ("schedule", lambda T: [1.0, *np.cumprod(1 - np.linspace(*BETA, T) ** 2)], "schedule-beta-squared"),
    # steps
    "noised anew": ("step", noised_anew, "renoised"),
    "bracket": ("step", bracket, "direction-minus-variance"),
    "ancestral": ("step", ancestral, "ddpm-one-level"),
    "jump": ("step", jump, "ddpm-jump"),
    "t - 1": (
        "step",
        lambda x, eps, t, s, eta, z, abar: down(x, eps, abar[t], abar[t - 1], eta, z),
        "s-is-t-minus-one",
    ),
    "swapped at s": ("invert", swapped_at_s, "signal-noise+invert-direction-signal"),
    "no noise at first": ("sampler", noise_from_the_second_step, "noise-skipped"),
    "bracket around all": (
        "step",
        lambda x, eps, t, s, eta, z, a: (
            a[s] ** 0.5 * down(x, eps, a[t], a[s], eta, z)
            + (a[s] ** 0.5 - a[s]) * (x - (1 - a[t]) ** 0.5 * eps) / a[t] ** 0.5
        ),
        "all-terms-scaled",
    ),
    "x for x_0": (
        "step",
        lambda x, eps, t, s, eta, z, a: (
            down(x, eps, a[t], a[s], eta, z) + a[s] ** 0.5 * (x - (x - (1 - a[t]) ** 0.5 * eps) / a[t] ** 0.5)
        ),
        "x0-is-x",
    ),
    # the rest
    "first root at t - 1": (
        "sigma",
        lambda t, s, eta, a: eta * math.sqrt((1 - a[t - 1]) / (1 - a[t]) * (1 - a[t] / a[s])),
        "sigma-first-t-minus-one",
    ),
    "every S-th": ("tau", lambda T, S: list(range(T, 0, -S)), "grid-every-S-th"),
    "product": (
        "sigma",
        lambda t, s, eta, a: eta * math.sqrt((1 - a[s]) / (1 - a[t]) * (1 - a[t] * a[s])),
        "sigma-second-product",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_named_and_seen(name):
    kind, function, mistake = WRONG[name]
    verdict = check(function, kind)
    assert (verdict.verdict, verdict.mistake) == ("wrong", mistake), verdict.text()
    assert any(not oracle["passed"] for oracle in verdict.oracles.values())
    count = mistake.count("+") + 1
    assert verdict.explanation.count("Yours: ") == count == verdict.explanation.count("It should be: ")


# -- what is said is true


def test_the_end_of_a_short_walk_is_told():
    verdict = check(sampler(even), "sampler")
    assert verdict.explanation.startswith("At S = 10 it ends at level 100.")
    assert not verdict.oracles["ends at the data"]["passed"]


def test_where_only_the_levels_asked_are_wrong_no_step_is_blamed():
    """Far from what the network knows, x_t and eps are all but parallel, and their coefficients mean nothing."""
    verdict = check(sampler(whole, lambda t, i, S: S - 1 - i), "sampler")
    failed = [name for name, oracle in verdict.oracles.items() if not oracle["passed"]]
    assert failed == ["levels asked"], verdict.text()


def test_a_number_that_is_too_small_is_not_said_to_lie_outside():
    verdict = check(lambda T: np.cos(np.arange(T + 1) / T * np.pi / 2) ** 2, "schedule")  # 3.7e-33 at T
    assert verdict.mistake == "schedule-zero-end" and "below 1e-12" in verdict.explanation
    assert verdict.oracles["in (0, 1)"]["passed"]
    assert "below 1e-12" in verdict.oracles["can be divided by"]["said"]
    assert not verdict.oracles["can be divided by"]["passed"]
    assert "can be divided by" not in check(lambda T: 0.99 ** np.arange(T + 1), "schedule").oracles


def test_of_two_mistakes_nothing_is_said_that_holds_for_one_alone():
    """A formula that is "right at eta = 0" is not where the other is wrong there."""

    def step(x, eps, t, s, eta, z, abar):
        a, b = abar[t], abar[s]
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
        return b**0.5 * (x + (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps + sigma * z

    verdict = check(step, "step")
    assert verdict.mistake == "direction-forgets-sigma+x0-sign"
    assert verdict.explanation.startswith("2 mistakes at once. 1. ") and "Right at" not in verdict.explanation


def test_a_mistake_in_one_level_is_corrected_in_that_level():
    from ddim_edu.conformance.catalogue.levels import INDEX

    for mistake in INDEX:
        assert [f"{line} = " in mistake.right for line in ("abar_t", "abar_s")] == [
            line in mistake.change for line in ("abar_t", "abar_s")
        ], mistake.id


def term(of_step, scale=lambda a, b, sigma: 1.0):
    """A step with one of its three terms multiplied."""

    def step(x, eps, t, s, eta, z, abar):
        a, b = abar[t], abar[s]
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
        terms = [b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5, (1 - b - sigma**2) ** 0.5 * eps, sigma * z]
        terms[of_step] = terms[of_step] * scale(a, b, sigma)
        return sum(terms)

    return step


@pytest.mark.parametrize(
    "which, name", [(0, "the first, sqrt"), (1, "the second, the direction"), (2, "the third, the fresh")]
)
def test_of_an_unknown_mistake_the_term_is_told(which, name):
    verdict = check(term(which, lambda a, b, sigma: 1.03 + 0.5 * b), "step")
    assert verdict.mistake is None and f"one alone is wrong, {name}" in verdict.explanation, verdict.text()


def test_of_an_answer_that_is_scaled_the_factor_is_told():
    verdict = check(lambda x, eps, t, s, eta, z, a: down(x, 1.1 * eps, a[t], a[s], eta, z), "step")
    assert "the coefficient of eps is 1.1 times the right one" in verdict.explanation, verdict.text()
    both = check(lambda x, eps, t, s, eta, z, a: 1.01 * down(x, eps, a[t], a[s], eta, z), "step")
    assert "alone is wrong" not in both.explanation and "times the right" not in both.explanation
