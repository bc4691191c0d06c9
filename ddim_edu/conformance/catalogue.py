r"""Known mistakes: each replaces one line of :mod:`ddim_edu.conformance.reference`, and says what that does.

``abar_t`` and ``abar_s`` are alpha-bar at the level left and at the level reached. Equation numbers are those of the
DDIM paper (whose alpha is our alpha-bar) unless another is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

STEP, SIGMA, LOOP, GRID = ("step", "sampler"), ("sigma", "step", "sampler"), ("sampler",), ("tau", "sampler")
INVERT, SCHEDULE, EVERYWHERE = ("invert",), ("schedule",), ("step", "sampler", "invert")


@dataclass(frozen=True)
class Mistake:
    """One known mistake.

    Attributes:
        id: its name, as ``--json`` writes it.
        kinds: the kinds of functions in which it is looked for.
        change: which line of the right formulas it replaces, by what.
        yours: the wrong formula, in this project's notation.
        right: what stands there instead.
        where: the equation.
        picture: what it does to a picture.
        verdict: ``"wrong"``, or ``"convention"`` for an honest difference.
        families: of a mistake in a schedule: in which it can happen.
    """

    id: str
    kinds: tuple[str, ...]
    change: Mapping[str, Callable] = field(repr=False)
    yours: str
    right: str
    where: str
    picture: str
    verdict: str = "wrong"
    families: tuple[str, ...] = ("linear", "scaled-linear", "cosine")

    @property
    def sentence(self) -> str:
        """Yours, what it should be, where that stands, and what the picture shows."""
        verb = "It is a convention" if self.verdict == "convention" else "It should be"
        return f"Yours: {self.yours}. {verb}: {self.right} ({self.where}). {self.picture}"


def _mistakes() -> list[Mistake]:
    found: list[Mistake] = []

    def add(
        id,
        kinds,
        yours,
        right,
        where,
        picture,
        verdict="wrong",
        families=("linear", "scaled-linear", "cosine"),
        **change,
    ):
        found.append(Mistake(id, kinds, change, yours, right, where, picture, verdict, families))

    # -- the direction: how much of the predicted noise is put back
    # ------------------------------------------------------------------
    right, where = "sqrt(1 - abar_s - sigma^2) eps", "eq. 12, second term"
    for id, yours, picture, along in [
        ("direction-missing", "0 for the direction",
         "Every step lands on the predicted x_0, darkened: the state has no noise left for the network to find.", lambda v: 0.0),
        ("direction-sigma", "x_0 sqrt(abar_s) + sigma eps + sigma z",
         "At eta = 0 the picture never leaves the predicted x_0; above, it holds too little noise at every level.", lambda v: v.sigma),
        ("direction-forgets-sigma", "sqrt(1 - abar_s) eps",
         "Right at eta = 0. Above, the fresh noise comes on top of all of the old: pictures stay grainy.", lambda v: v.root(1 - v.abar_s)),
        ("direction-sigma-unsquared", "sqrt(1 - abar_s - sigma) eps",
         "Right at eta = 0. Above, too little noise is kept, and near the data the root is of a negative number.",
         lambda v: v.root(1 - v.abar_s - v.sigma)),
        ("direction-eta-squared", "sqrt(1 - abar_s - eta^2) eps",
         "At eta = 1 the root is of a negative number at every level.", lambda v: v.root(1 - v.abar_s - v.eta**2)),
        ("direction-eta-variance", "sqrt(1 - abar_s - eta sigma_1^2) eps, with sigma_1 the sigma of eta = 1",
         "Right at eta = 0 and 1. Between, eta is not squared: too little noise is kept.",
         lambda v: v.root(1 - v.abar_s - (v.sigma**2 / v.eta if v.eta else 0.0))),
        ("direction-no-root", "(1 - abar_s - sigma^2) eps", "Too little noise at every level: pictures turn smooth and pale.",
         lambda v: 1 - v.abar_s - v.sigma**2),
        ("direction-at-t", "sqrt(1 - abar_t - sigma^2) eps", "The state keeps the noise of the level that it has left: grain that never goes.",
         lambda v: v.root(1 - v.abar_t - v.sigma**2)),
        ("direction-difference", "(sqrt(1 - abar_s) - sigma) eps", "Right at eta = 0. Above, variances and deviations are mixed: too little noise.",
         lambda v: v.root(1 - v.abar_s) - v.sigma),
        ("direction-plus-sigma", "sqrt(1 - abar_s + sigma^2) eps", "Right at eta = 0. Above, noise grows where it should make room.",
         lambda v: v.root(1 - v.abar_s + v.sigma**2)),
        ("direction-signal", "sqrt(abar_s - sigma^2) eps", "abar stands for 1 - abar: almost no noise at the start, all of it at the end.",
         lambda v: v.root(v.abar_s - v.sigma**2)),
        ("direction-minus", "- sqrt(1 - abar_s - sigma^2) eps", "The noise changes its sign at every step, and the network chases it.",
         lambda v: -v.root(1 - v.abar_s - v.sigma**2)),
        ("direction-ddpm", "sqrt(1 - abar_s - sigma_1^2) eps whatever eta is, with sigma_1 the sigma of eta = 1",
         "Right at eta = 1. Below, noise is taken away and none is given back: blurred, pale pictures.",
         lambda v: v.root(1 - v.abar_s - (1 - v.abar_s) / (1 - v.abar_t) * (1 - v.abar_t / v.abar_s))),
        ("direction-scaled", "sqrt(abar_s) sqrt(1 - abar_s - sigma^2) eps", "abar_s multiplies both terms: hardly any noise at the start.",
         lambda v: v.root(v.abar_s) * v.root(1 - v.abar_s - v.sigma**2)),
        ("direction-stepwise", "sqrt(1 - abar_s/abar_t ...) eps: sqrt(1 - abar_t/abar_s - sigma^2) eps",
         "The noise of one step in the place of all noise up to level s.", lambda v: v.root(1 - v.abar_t / v.abar_s - v.sigma**2)),
    ]:  # fmt: skip
        add(id, STEP, yours, right, where, picture, along=along)
    for id, yours, picture, eps_hat in [
        ("direction-of-x0", "the direction multiplies the predicted x_0", "A ghost of the picture in the place of its noise.", lambda v: v.x0),
        ("direction-of-x", "the direction multiplies x_t", "The state's own signal is taken for noise, and counts twice.", lambda v: v.x),
        ("direction-of-z", "the direction multiplies fresh noise, not the predicted",
         "At eta = 0 too, every step forgets the noise of the last: nothing of DDIM's determinism is left.", lambda v: v.z),
    ]:  # fmt: skip
        add(id, STEP, yours, right, where, picture, eps_hat=eps_hat)

    # -- sigma: the standard deviation of the fresh noise
    # ----------------------------------------------------------------------------
    right, where = "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) sqrt(1 - abar_t/abar_s)", "eq. 16"
    beta = "DDPM's beta in the place of its beta-tilde: "
    for id, yours, picture, sigma in [
        ("sigma-no-root", "sigma = eta (1 - abar_s)/(1 - abar_t) (1 - abar_t/abar_s), without the root",
         "The variance stands for the deviation: hardly any fresh noise, and eta = 1 is no DDPM.",
         lambda v: v.eta * (1 - v.abar_s) / (1 - v.abar_t) * (1 - v.abar_t / v.abar_s)),
        ("sigma-variance", "sigma^2 where sigma is asked for", "Far too little fresh noise, though the formula's letters are all there.",
         lambda v: v.eta**2 * (1 - v.abar_s) / (1 - v.abar_t) * (1 - v.abar_t / v.abar_s)),
        ("sigma-first-no-root", "sigma = eta (1 - abar_s)/(1 - abar_t) sqrt(1 - abar_t/abar_s)", "Too little fresh noise, most of all near the data.",
         lambda v: v.eta * (1 - v.abar_s) / (1 - v.abar_t) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-second-no-root", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) (1 - abar_t/abar_s)", "Too little fresh noise, most of all in short steps.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * (1 - v.abar_t / v.abar_s)),
        ("sigma-beta", "sigma = eta sqrt(1 - abar_t/abar_s)", beta + "noise in the last step too, and more than level s holds in long steps.",
         lambda v: v.eta * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-beta-one-step", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t) beta_t), with the beta of a single level",
         "Right where s = t - 1. In longer steps far too little fresh noise.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar[v.t] / v.abar[v.t - 1])),
        ("sigma-root-beta", "sigma = eta sqrt(beta_t), with the beta of a single level", beta + "and of one level, whatever the step's length.",
         lambda v: v.eta * v.root(1 - v.abar[v.t] / v.abar[v.t - 1])),
        ("sigma-levels-swapped", "t and s exchanged in sigma = eta sqrt((1 - abar_t)/(1 - abar_s)) sqrt(1 - abar_s/abar_t)",
         "The second root is of a negative number.",
         lambda v: v.eta * v.root((1 - v.abar_t) / (1 - v.abar_s)) * v.root(1 - v.abar_s / v.abar_t)),
        ("sigma-first-swapped", "sigma = eta sqrt((1 - abar_t)/(1 - abar_s)) sqrt(1 - abar_t/abar_s)",
         "More fresh noise than level s holds; in the last step a division by 0.",
         lambda v: v.eta * v.root((1 - v.abar_t) / (1 - v.abar_s)) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-second-swapped", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) sqrt(1 - abar_s/abar_t)", "The second root is of a negative number.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_s / v.abar_t)),
        ("sigma-eta-squared", "eta^2 in the place of eta", "Right at eta = 0 and 1. Between, too little fresh noise.",
         lambda v: v.eta**2 * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-eta-root", "sqrt(eta) in the place of eta", "Right at eta = 0 and 1. Between, too much fresh noise: eta is taken for the paper's eta squared, as azula has it.",
         lambda v: v.eta**0.5 * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-eta-as-mu", "eta/2 read as smalldiffusion's mu",
         "Right at eta = 0 and 1. Between, another family of processes: (gam, mu) is not eta.", lambda v: _sigma_of_mu(v)),
        ("sigma-eta-ignored", "eta is not used: sigma is that of eta = 1", "Noise is added at eta = 0 too, where the sampler should be deterministic.",
         lambda v: v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-zero", "sigma = 0 whatever eta is", "Right at eta = 0. Above, DDIM comes out where DDPM was asked for.", lambda v: 0.0),
        ("sigma-one-factor", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t))", "Nearly as much fresh noise as one level holds in all, at every step.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t))),
        ("sigma-all-of-s", "sigma = eta sqrt(1 - abar_s)", "At eta = 1 all noise of level s is fresh: each step forgets the last.",
         lambda v: v.eta * v.root(1 - v.abar_s)),
        ("sigma-all-of-t", "sigma = eta sqrt(1 - abar_t)", "More fresh noise than level s holds: the direction's root is of a negative number, "
         "and a clamp there hides it.", lambda v: v.eta * v.root(1 - v.abar_t)),
        ("sigma-no-denominator", "sigma = eta sqrt(1 - abar_s) sqrt(1 - abar_t/abar_s)", "Too little fresh noise, most of all near the data.",
         lambda v: v.eta * v.root(1 - v.abar_s) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-product", "sigma = eta sqrt((1 - abar_s)(1 - abar_t)) sqrt(1 - abar_t/abar_s)", "A product stands for the quotient: too little fresh noise near the data.",
         lambda v: v.eta * v.root((1 - v.abar_s) * (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-signal-ratio", "sigma = eta sqrt(abar_s/abar_t ...): abar for 1 - abar in the first root", "More fresh noise than there is room for.",
         lambda v: v.eta * v.root(v.abar_s / v.abar_t) * v.root(1 - v.abar_t / v.abar_s)),
        ("sigma-difference", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) sqrt(abar_s - abar_t)", "The ratio of the two levels is taken for their difference.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(v.abar_s - v.abar_t)),
        ("sigma-brackets", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) sqrt((1 - abar_t)/abar_s)", "Brackets around 1 - abar_t: nearly all noise is fresh.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root((1 - v.abar_t) / v.abar_s)),
        ("sigma-no-minus", "sigma = eta sqrt((1 - abar_s)/(1 - abar_t)) sqrt(abar_t/abar_s)", "What a step keeps is taken for what it replaces.",
         lambda v: v.eta * v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(v.abar_t / v.abar_s)),
    ]:  # fmt: skip
        add(id, SIGMA, yours, right, where, picture, sigma=sigma)

    # -- the predicted x_0
    # -----------------------------------------------------------------------------------------------------------
    right, where = "x_0 = (x_t - sqrt(1 - abar_t) eps)/sqrt(abar_t)", "eq. 9"
    for id, yours, picture, x0_hat in [
        ("x0-roots-swapped", "x_0 = (x_t - sqrt(abar_t) eps)/sqrt(1 - abar_t)", "At high levels next to all of the noise stays in.",
         lambda v: (v.x - v.root(v.abar_t) * v.eps) / v.root(1 - v.abar_t)),
        ("x0-at-s", "x_0 = (x_t - sqrt(1 - abar_s) eps)/sqrt(abar_s): s for t", "The prediction is that of the level reached: noise is left in at every step.",
         lambda v: (v.x - v.root(1 - v.abar_s) * v.eps) / v.root(v.abar_s)),
        ("x0-divides-at-s", "x_0 = (x_t - sqrt(1 - abar_t) eps)/sqrt(abar_s)", "The prediction is too small: pictures turn grey.",
         lambda v: (v.x - v.root(1 - v.abar_t) * v.eps) / v.root(v.abar_s)),
        ("x0-noise-at-s", "x_0 = (x_t - sqrt(1 - abar_s) eps)/sqrt(abar_t)", "A part of the noise stays in, and is blown up by the division.",
         lambda v: (v.x - v.root(1 - v.abar_s) * v.eps) / v.root(v.abar_t)),
        ("x0-two-levels", "x_0 = x_t/sqrt(abar_t) - eps/sqrt(abar_s)", "The noise taken away has not the size of the noise that is there.",
         lambda v: v.x / v.root(v.abar_t) - v.eps / v.root(v.abar_s)),
        ("x0-sign", "x_0 = (x_t + sqrt(1 - abar_t) eps)/sqrt(abar_t)", "Noise is doubled where it should go.",
         lambda v: (v.x + v.root(1 - v.abar_t) * v.eps) / v.root(v.abar_t)),
        ("x0-not-divided", "x_0 = x_t - sqrt(1 - abar_t) eps", "The prediction is too small by sqrt(abar_t): the picture never gets its contrast.",
         lambda v: v.x - v.root(1 - v.abar_t) * v.eps),
        ("x0-multiplied", "x_0 = (x_t - sqrt(1 - abar_t) eps) sqrt(abar_t)", "The prediction is too small by abar_t: grey pictures.",
         lambda v: (v.x - v.root(1 - v.abar_t) * v.eps) * v.root(v.abar_t)),
        ("x0-divides-no-root", "x_0 = (x_t - sqrt(1 - abar_t) eps)/abar_t", "The prediction is too large by 1/sqrt(abar_t): values explode in the first step.",
         lambda v: (v.x - v.root(1 - v.abar_t) * v.eps) / v.abar_t),
        ("x0-noise-no-root", "x_0 = (x_t - (1 - abar_t) eps)/sqrt(abar_t)", "Not all of the noise is taken away: grain, above all at low levels.",
         lambda v: (v.x - (1 - v.abar_t) * v.eps) / v.root(v.abar_t)),
        ("x0-noise-unscaled", "x_0 = (x_t - eps)/sqrt(abar_t)", "More noise is taken away than there is, above all at low levels: negative grain.",
         lambda v: (v.x - v.eps) / v.root(v.abar_t)),
        ("x0-noise-one-minus-root", "x_0 = (x_t - (1 - sqrt(abar_t)) eps)/sqrt(abar_t)", "1 - sqrt(abar) stands for sqrt(1 - abar): too little noise is taken away.",
         lambda v: (v.x - (1 - v.root(v.abar_t)) * v.eps) / v.root(v.abar_t)),
        ("x0-brackets", "x_0 = x_t - sqrt(1 - abar_t)/sqrt(abar_t) eps: only the noise is divided", "Values explode at high levels.",
         lambda v: v.x - v.root(1 - v.abar_t) / v.root(v.abar_t) * v.eps),
        ("x0-brackets-signal", "x_0 = x_t/sqrt(abar_t) - sqrt(1 - abar_t) eps: only x_t is divided", "Nearly all noise stays in at high levels, blown up.",
         lambda v: v.x / v.root(v.abar_t) - v.root(1 - v.abar_t) * v.eps),
        ("x0-beta", "x_0 = (x_t - beta_t/sqrt(1 - abar_t) eps)/sqrt(alpha_t): DDPM's mean of x_{t-1} taken for x_0",
         "One step's worth of noise is taken away in the place of all.",
         lambda v: (v.x - (1 - v.abar_t / v.abar_s) / v.root(1 - v.abar_t) * v.eps) / v.root(v.abar_t / v.abar_s)),
    ]:  # fmt: skip
        at_data = id not in (
            "x0-roots-swapped",
            "x0-beta",
        )  # these divide by 0 at the data, from where an inversion starts
        add(id, STEP + (INVERT if at_data else ()), yours, right, where, picture, x0_hat=x0_hat)
    add("v-read-as-eps", STEP + INVERT, "the network's output is read as a velocity v: x_0 = sqrt(abar_t) x_t - sqrt(1 - abar_t) v",
        "it is eps: " + right, where, "Wrong colours and noise at once; nothing is recognisable.",
        x0_hat=lambda v: v.root(v.abar_t) * v.x - v.root(1 - v.abar_t) * v.eps,
        eps_hat=lambda v: v.root(v.abar_t) * v.eps + v.root(1 - v.abar_t) * v.x)  # fmt: skip
    add("v-read-as-eps-half", STEP + INVERT, "x_0 is computed as if the network gave v, the direction as if it gave eps",
        "it is eps in both: " + right, where, "The two halves of the step disagree on what they are made of.",
        x0_hat=lambda v: v.root(v.abar_t) * v.x - v.root(1 - v.abar_t) * v.eps)  # fmt: skip
    add("x0-read-as-eps", STEP, "the network's output is read as x_0", "it is eps: " + right, where,
        "Pure noise comes out: the network's noise is taken for the picture.",
        x0_hat=lambda v: v.eps, eps_hat=lambda v: (v.x - v.root(v.abar_t) * v.eps) / v.root(1 - v.abar_t))  # fmt: skip
    add("x0-read-as-eps-half", STEP + INVERT, "the network's output stands both for x_0 and for eps", "it is eps: " + right, where,
        "Pure noise comes out.", x0_hat=lambda v: v.eps)  # fmt: skip

    # -- where the predicted x_0 is put
    # ----------------------------------------------------------------------------------------------
    right, where = "sqrt(abar_s) x_0", "eq. 12, first term"
    for id, yours, picture, signal in [
        ("signal-at-t", "sqrt(abar_t) x_0: t for s", "The picture is held at the contrast of the level that was left.", lambda v: v.root(v.abar_t)),
        ("signal-missing", "x_0 without sqrt(abar_s)", "Too much contrast from the first step on: saturated pictures.", lambda v: 1.0),
        ("signal-no-root", "abar_s x_0", "Too little contrast on the way: grey pictures.", lambda v: v.abar_s),
        ("signal-noise", "sqrt(1 - abar_s) x_0", "1 - abar stands for abar: the picture fades as it should appear.", lambda v: v.root(1 - v.abar_s)),
        ("signal-one-step", "sqrt(abar_s/abar_{s-1}) x_0: DDPM's alpha for alpha-bar", "Too much contrast from the first step on.",
         lambda v: v.root(v.abar[v.s] / v.abar[max(v.s - 1, 0)])),
        ("signal-minus-sigma", "sqrt(abar_s - sigma^2) x_0", "Right at eta = 0. Above, contrast pays for the fresh noise.", lambda v: v.root(v.abar_s - v.sigma**2)),
    ]:  # fmt: skip
        add(id, STEP + (() if id.endswith("sigma") else INVERT), yours, right, where, picture, signal=signal)

    # -- the fresh noise
    # -------------------------------------------------------------------------------------------------------------
    right, where = "sigma z with z standard normal", "eq. 12, third term"
    for id, yours, picture, fresh in [
        ("noise-missing", "no fresh noise", "Above eta = 0 room is made for fresh noise that never comes: blurred, pale pictures.", lambda v: 0.0),
        ("noise-variance", "sigma^2 z", "The variance for the deviation: too little fresh noise, blurred pictures.", lambda v: v.sigma**2),
        ("noise-root", "sqrt(sigma) z", "Too much fresh noise: grain.", lambda v: v.root(v.sigma)),
        ("noise-eta", "eta z", "Fresh noise of full size at every step: the last picture is noise.", lambda v: v.eta),
        ("noise-eta-twice", "eta sigma z, where sigma has its eta already", "Right at eta = 0 and 1. Between, too little fresh noise.", lambda v: v.eta * v.sigma),
        ("noise-unscaled", "z without sigma", "The last picture is noise.", lambda v: 1.0),
        ("noise-all", "sqrt(1 - abar_s) z", "All of level s's noise is added to what was kept: grain.", lambda v: v.root(1 - v.abar_s)),
        ("noise-ddpm", "the sigma of eta = 1 times z, whatever eta is", "Noise at eta = 0 too; right at eta = 1.",
         lambda v: v.root((1 - v.abar_s) / (1 - v.abar_t)) * v.root(1 - v.abar_t / v.abar_s)),
        ("noise-beta", "eta sqrt(1 - abar_t/abar_s) z beside a direction that leaves room for sigma",
         "DDPM's larger noise (the paper's sigma-hat at eta = 1): the last step adds noise too.", lambda v: v.eta * v.root(1 - v.abar_t / v.abar_s)),
        ("noise-beta-but-last", "eta sqrt(1 - abar_t/abar_s) z beside a direction that leaves room for sigma, none in the last step",
         "DDPM's larger noise, the paper's sigma-hat at eta = 1: good with all T steps, grain with few.",
         lambda v: v.eta * v.root(1 - v.abar_t / v.abar_s) if v.s else 0.0),
        ("noise-at-the-end", "fresh noise is added in the last step too, of the size that level 1 has",
         "Every picture carries a fine grain.", lambda v: v.sigma if v.s else v.eta * v.root(1 - v.abar[1])),
        ("noise-at-the-end-beta", "fresh noise is added in the last step too, eta sqrt(1 - abar_t) of it",
         "Every picture carries grain, the more the fewer the steps.", lambda v: v.sigma if v.s else v.eta * v.root(1 - v.abar_t)),
    ]:  # fmt: skip
        add(id, STEP, yours, right, where, picture, fresh=fresh)
    add("noise-minus", STEP, "- sigma z", "the sign of z, which is as likely as its opposite", where, "The same distribution.",
        "convention", fresh=lambda v: -v.sigma)  # fmt: skip
    add("noise-is-eps", STEP, "the predicted noise stands for the fresh noise", right, where,
        "Right at eta = 0. Above, too much of the old noise and nothing random.", z=lambda v: v.eps)  # fmt: skip
    for id, yours, picture, draw in [
        ("noise-reused", "the same z at every step", "Above eta = 0 the steps' noises add up in place of averaging: blotches that all steps share.",
         lambda v: v.kept.setdefault("z", torch.randn_like(v.x))),
        ("noise-reseeded", "the generator is seeded anew at every step, so that z is the same at each", "Blotches that all steps share.",
         lambda v: torch.randn(v.x.shape, dtype=v.x.dtype, generator=torch.Generator().manual_seed(0))),
        ("noise-per-batch", "one z for the whole batch", "Pictures of one batch share their noise, and look alike the more the larger eta is.",
         lambda v: torch.randn_like(v.x[:1]).expand_as(v.x)),
        ("noise-per-image", "one number z for all pixels of a picture", "Above eta = 0 brightness flickers, and grain is missing.",
         lambda v: torch.randn(len(v.x), *[1] * (v.x.ndim - 1), dtype=v.x.dtype).expand_as(v.x)),
        ("noise-shared", "one number z for several elements of a picture (a whole row or channel)", "Stripes: above eta = 0 rows or channels flicker as one.",
         lambda v: torch.randn(*v.x.shape[:-1], 1, dtype=v.x.dtype).expand_as(v.x)),
        ("noise-uniform", "z from the uniform distribution on [0, 1)", "Every step adds brightness: pictures drift to white.", lambda v: torch.rand_like(v.x)),
        ("noise-is-x-T", "x_T again for z", "Above eta = 0 the start shines through all steps.", lambda v: v.x_T),
    ]:  # fmt: skip
        add(
            id,
            LOOP,
            yours,
            "fresh standard normal noise for every element, picture and step",
            where,
            picture,
            draw=draw,
        )

    # -- the last step
    # ---------------------------------------------------------------------------------------------------------------
    add("last-step-abar-1", STEP, "the last step ends at abar_1", "abar_0 = 1: the last step returns the predicted x_0", "eq. 12 with alpha_0 = 1",
        "A trace of noise, of deviation sqrt(1 - abar_1), stays in every picture.",
        abar_s=lambda v: v.abar[max(v.s, 1)])  # fmt: skip
    add("last-step-abar-T", STEP, "the last step reads alpha_bar[-1], which is abar_T",
        "abar_0 = 1", "eq. 12 with alpha_0 = 1", "The last step turns the picture back into noise.",
        abar_s=lambda v: v.abar[v.s] if v.s else v.abar[-1])  # fmt: skip
    add("last-step-abar-0", STEP, "the last step ends at abar = 0", "abar_0 = 1", "eq. 12 with alpha_0 = 1", "The last step returns the predicted noise.",
        abar_s=lambda v: v.abar[v.s] if v.s else np.float64(0))  # fmt: skip
    add("last-step-skipped", STEP, "the last step returns x_t as it is", "the predicted x_0", "eq. 12 with alpha_0 = 1",
        "The noise of the last level visited stays in the picture.", x_s=lambda v: v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z if v.s else v.x)  # fmt: skip

    # -- which alpha-bar
    # -------------------------------------------------------------------------------------------------------------
    right, where = "abar_t = alpha_bar[t], with level 0, the data, at index 0", "the contract; eq. 12"
    for id, yours, picture, at in [
        ("index-minus-one", "alpha_bar[t-1] and alpha_bar[s-1]", "Every level is taken for the one below; the last step reads alpha_bar[-1] = abar_T.",
         lambda v, t: v.abar[t - 1]),
        ("index-minus-one-kept", "alpha_bar[t-1] and alpha_bar[s-1], 1 at the data", "Every level is taken for the one below: a little noise is left in.",
         lambda v, t: v.abar[max(t - 1, 0)]),
        ("index-plus-one", "alpha_bar[t+1] and alpha_bar[s+1]", "Every level is taken for the one above; the last step ends at abar_1.",
         lambda v, t: v.abar[min(t + 1, v.T)]),
        ("index-plus-one-but-last", "alpha_bar[t+1] and alpha_bar[s+1], 1 at the data", "Every level is taken for the one above: a little too much noise is taken away.",
         lambda v, t: v.abar[min(t + 1, v.T)] if t else v.abar[0]),
        ("alpha-for-alpha-bar", "alpha_t = abar_t/abar_{t-1} in the place of alpha-bar", "One step's share for all steps': next to no noise is ever taken away.",
         lambda v, t: v.abar[t] / v.abar[max(t - 1, 0)]),
        ("root-read-as-alpha-bar", "sqrt(alpha_bar) in the place of alpha_bar", "A root too many: noise is left in.", lambda v, t: np.sqrt(v.abar[t])),
        ("alpha-bar-squared", "alpha_bar^2 in the place of alpha_bar", "A root too few: values explode at high levels.", lambda v, t: v.abar[t] ** 2),
        ("one-minus-alpha-bar", "1 - alpha_bar in the place of alpha_bar", "Signal and noise exchange their roles.", lambda v, t: 1 - v.abar[t]),
        ("levels-reversed", "alpha_bar read from its other end, alpha_bar[T - t]", "The first step is taken for the last.", lambda v, t: v.abar[v.T - t]),
    ]:  # fmt: skip
        # Two of them put 0 under a root's fraction at one end of a walk: NaN, which names nothing.
        kinds = {"levels-reversed": ("step", "invert"), "one-minus-alpha-bar": STEP}.get(id, STEP + INVERT)
        add(id, kinds, yours, right, where, picture,
            abar_t=lambda v, at=at: at(v, v.t), abar_s=lambda v, at=at: at(v, v.s))  # fmt: skip
    for id, kinds, yours, picture, change in [
        ("index-t-minus-one", STEP, "alpha_bar[t-1] for abar_t", "The level left is taken for the one below: a little noise is left in.",
         dict(abar_t=lambda v: v.abar[v.t - 1])),
        ("index-t-plus-one", STEP, "alpha_bar[t+1] for abar_t", "The level left is taken for the one above.", dict(abar_t=lambda v: v.abar[min(v.t + 1, v.T)])),
        ("index-s-minus-one", STEP, "alpha_bar[s-1] for abar_s", "The level reached is taken for the one below; the last step reads alpha_bar[-1] = abar_T.",
         dict(abar_s=lambda v: v.abar[v.s - 1])),
        ("index-s-minus-one-kept", STEP, "alpha_bar[s-1] for abar_s, 1 at the data", "The level reached is taken for the one below.",
         dict(abar_s=lambda v: v.abar[max(v.s - 1, 0)])),
        ("index-s-plus-one", STEP, "alpha_bar[s+1] for abar_s", "The level reached is taken for the one above: noise is left in the last picture.",
         dict(abar_s=lambda v: v.abar[v.s + 1])),
        ("s-is-t-minus-one", STEP, "alpha_bar[t-1] for abar_s, however long the step is",
         "Steps that skip levels move the state by one level only: noise stays in.", dict(abar_s=lambda v: v.abar[v.t - 1])),
        ("s-and-t-swapped", STEP + INVERT, "abar_t and abar_s exchanged", "Steps go up where they should go down.",
         dict(abar_t=lambda v: v.abar[v.s], abar_s=lambda v: v.abar[v.t])),
        ("s-is-t", STEP + INVERT, "abar_t for abar_s", "The state never moves: noise comes out.", dict(abar_s=lambda v: v.abar[v.t])),
    ]:  # fmt: skip
        add(id, kinds, yours, right, where, picture, **change)

    # -- clipping
    # --------------------------------------------------------------------------------------------------------------------
    add("clip-without-eps", STEP, "x_0 is clamped to [-1, 1], and eps is left as it was",
        "eps recomputed from the clamped x_0, so that both belong to x_t", "eq. 12; chapter 6",
        "x_t is no longer what x_0 and eps say it is: with few steps, colours saturate.", x0=lambda v: v.x0_hat.clip(-1, 1))  # fmt: skip
    add("clip-with-eps", STEP, "x_0 is clamped to [-1, 1], and eps recomputed to agree", "clipping, for data in [-1, 1]", "no equation; chapter 6",
        "Right for pictures in [-1, 1].", "convention", x0=lambda v: v.x0_hat.clip(-1, 1),
        eps_hat=lambda v: (v.x - v.root(v.abar_t) * v.x0) / v.root(1 - v.abar_t))  # fmt: skip
    add("clip-at-the-end", STEP, "the result of the last step is clamped to [-1, 1]", "a clamp of finished pictures", "no equation",
        "Right for pictures in [-1, 1].", "convention", x0=lambda v: v.x0_hat if v.s else v.x0_hat.clip(-1, 1))  # fmt: skip
    for id, yours, change in [
        ("end-in-01", "the result is (x_0 + 1)/2", lambda v: v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z if v.s else (v.x0 + 1) / 2),
        ("end-in-01-clipped", "the result is (x_0 + 1)/2, clamped to [0, 1]",
         lambda v: v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z if v.s else ((v.x0 + 1) / 2).clip(0, 1)),
    ]:  # fmt: skip
        add(id, LOOP, yours, "pictures to look at, in [0, 1]; the contract asks for x_0 itself", "no equation", "Right, in another range.",
            "convention", x_s=change)  # fmt: skip
    add("clip-the-state", STEP, "x_s is clamped to [-1, 1] at every step", "the clamp belongs on the predicted x_0: x_s is noise in part", "eq. 12",
        "Noise loses its tails at every step: flat, posterised pictures.",
        x_s=lambda v: (v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z).clip(-1, 1))  # fmt: skip
    add("clip-eps", STEP, "eps is clamped to [-1, 1]", "no clamp: a third of all normal numbers is outside", "eq. 12",
        "A third of the noise is underestimated, and stays.", x0_hat=lambda v: (v.x - v.root(1 - v.abar_t) * v.eps.clip(-1, 1)) / v.root(v.abar_t),
        eps_hat=lambda v: v.eps.clip(-1, 1))  # fmt: skip
    add("clip-to-01", STEP, "x_0 is clamped to [0, 1]", "data is in [-1, 1]", "the contract", "Everything dark is cut off.", x0=lambda v: v.x0_hat.clip(0, 1))  # fmt: skip
    add("clip-to-01-with-eps", STEP, "x_0 is clamped to [0, 1], and eps recomputed to agree", "data is in [-1, 1]", "the contract", "Everything dark is cut off.",
        x0=lambda v: v.x0_hat.clip(0, 1), eps_hat=lambda v: (v.x - v.root(v.abar_t) * v.x0) / v.root(1 - v.abar_t))  # fmt: skip

    # -- the levels visited
    # ----------------------------------------------------------------------------------------------------------
    add("stride-recomputed", LOOP, "s = t - T//S, computed beside the list of levels", "s is the next level of the list", "section 4.2",
        "Where the list has another stride, x_s stands at a level that the network is not asked about: blur or grain.",
        abar_s=lambda v: v.abar[max(v.t - v.T // v.S, 0)])  # fmt: skip
    right, where = "S distinct levels in 1..T, the first of them T", "section 4.2 and appendix D.2"
    for id, kinds, yours, picture, tau in [
        ("grid-too-many", GRID, "more levels than S: every (T//S)-th", "More calls than were paid for; where S does not divide T, tables at the same S lie.",
         lambda v: [*range(1, v.T + 1, v.T // v.S)][::-1] + [0]),
        ("grid-too-few", GRID, "S points including the data, and so S - 1 steps", "One call fewer than asked.",
         lambda v: [*np.round(np.linspace(v.T, 0, v.S)).astype(int)]),
        ("grid-stops-at-1", LOOP, "the walk ends at level 1", "The last step, to the data, is missing: a trace of noise stays.",
         lambda v: [*np.round(np.linspace(v.T, 1, v.S)).astype(int)]),
        ("grid-zero-based", GRID, "levels counted from 0: 0 to T - 1", "Every level is taken for the one below it, and the data is taken for a level of noise.",
         lambda v: [*(np.round(v.T - np.arange(v.S) * (v.T / v.S)).astype(int) - 1), 0]),
        ("grid-zero-based-leading", GRID, "levels counted from 0, leading: 0, k, 2k, ...", "Every level is taken for the one below it, and the data is taken for a level of noise.",
         lambda v: [*(np.arange(v.S)[::-1] * (v.T // v.S)), 0]),
        ("grid-repeats", GRID, "a level is visited twice", "A call is wasted: the step between equal levels moves nothing.",
         lambda v: [*np.round(v.T - np.arange(v.S) * (v.T / v.S)).astype(int)[[0, 0, *range(1, v.S - 1)]], 0]),
        ("grid-beyond-T", GRID, "a level above T", "The network is asked about a level it has never seen, or the index is out of range.",
         lambda v: [*(np.arange(v.S)[::-1] * (v.T // v.S) + v.T // v.S + 1), 0]),
        ("grid-starts-at-T-minus-1", GRID, "starts at T - 1", "x_T is taken for a state of the level below: off by one.",
         lambda v: [*np.round(np.linspace(v.T - 1, 1, v.S)).astype(int), 0]),
        ("grid-starts-below-T", GRID, "starts below T though the grid is not a leading one", "x_T, pure noise, is taken for a state that still has signal: grey, blurred pictures.",
         lambda v: [*np.round(np.linspace(0.8 * v.T, 1, v.S)).astype(int), 0]),
        ("grid-ignores-S", GRID, "all T levels whatever S is", "T calls.", lambda v: [*range(v.T, -1, -1)]),
        ("grid-rises", LOOP, "visited from the data upwards", "The levels come in the order of an inversion: noise stays noise.",
         lambda v: [*np.round(v.T - np.arange(v.S)[::-1] * (v.T / v.S)).astype(int), 0]),
        ("grid-not-monotone", GRID, "levels in no order", "Steps go up and down.", lambda v: [v.T, *np.round(np.arange(1, v.S) * (v.T / v.S)).astype(int), 0]),
        ("grid-cut-by-int", GRID, "levels that bunch at the data: the last ones repeat 1, 2, 3, ... without spacing", "Most calls are spent where nothing changes.",
         lambda v: [v.T, *range(v.S - 1, -1, -1)]),
    ]:  # fmt: skip
        add(id, kinds, yours, right, where, picture, tau=tau)

    # -- how the network is asked
    # ----------------------------------------------------------------------------------------------------
    right, where = "eps_theta(x_t, t) with the level t of x_t", "eq. 12; the contract"
    for id, yours, picture, asked in [
        ("asked-at-index", "the network is asked at the index of the step, 0..S-1, not at its level", "The network thinks that x_t is nearly clean: noise stays.",
         lambda v: v.S - 1 - v.i),
        ("asked-at-index-1", "the network is asked at the number of the step, 1..S, not at its level", "The network thinks that x_t is nearly clean: noise stays.",
         lambda v: v.S - v.i),
        ("asked-at-count", "the network is asked at the count of steps done, not at its level", "The network thinks that pure noise is nearly clean.", lambda v: v.i),
        ("asked-at-s", "the network is asked at s, the level to be reached", "The network underestimates the noise at every step: grain.", lambda v: v.s),
        ("asked-zero-based", "the network, which counts levels from 1, is asked at t - 1", "Off by one level; the last call is at 0, a level that it does not know.", lambda v: v.t - 1),
        ("asked-plus-one", "the network is asked at t + 1", "Off by one level; the first call is beyond T.", lambda v: v.t + 1),
        ("asked-normalised", "the network is asked at t/T, a number in 0..1", "Every state is taken for a nearly clean one.", lambda v: v.t / v.T),
        ("asked-reversed", "the network is asked at T - t", "Pure noise is taken for clean data.", lambda v: v.T - v.t),
        ("asked-always-T", "the network is asked at T at every step", "All noise is assumed to the end: blur.", lambda v: v.T),
    ]:  # fmt: skip
        add(id, LOOP, yours, right, where, picture, asked=asked)
    add("start-ignored", LOOP, "x_T is not used: the walk starts from noise drawn inside", "the walk starts from the x_T that was given", "section 5.3",
        "The same x_T gives another picture each time: no interpolation, no reconstruction.", start=lambda v: torch.randn_like(v.x_T))  # fmt: skip
    add("start-scaled", LOOP, "x_T is multiplied by sqrt(1 - abar_T)", "x_T as it is: standard normal", "section 4.1",
        "Next to nothing where abar_T is small.", "convention", start=lambda v: v.x_T * (1 - v.abar[v.T]) ** 0.5)  # fmt: skip

    # -- inversion
    # -------------------------------------------------------------------------------------------------------------------
    right, where = "at the level t that is being left, upwards (Euler's method for eq. 14)", "section 4.3"
    for id, yours, picture, change in [
        ("invert-asked-at-end", "the network is asked at s, the level being reached, with the x of level t",
         "Still of first order, but the noise predicted is not that of x_t: pictures come back less exactly.", dict(asked=lambda v: v.s)),
        ("invert-asked-at-index", "the network is asked at the index of the step, not at its level", "The network thinks that everything is nearly clean: x_T is no noise.",
         dict(asked=lambda v: v.i)),
        ("invert-asked-at-index-1", "the network is asked at the number of the step, not at its level", "The network thinks that everything is nearly clean.", dict(asked=lambda v: v.i + 1)),
        ("invert-asked-zero-based", "the network, which counts levels from 1, is asked at t - 1", "Off by one level.", dict(asked=lambda v: max(v.t - 1, 0))),
        ("invert-asked-reversed", "the network is asked at T - t: the list runs the wrong way", "Clean data is taken for noise.", dict(asked=lambda v: max(v.T - v.t, 1))),
        ("invert-starts-at-abar-1", "the first step takes x_0 for a state at abar_1", "A trace of noise is assumed in clean data: a small error at once.",
         dict(abar_t=lambda v: v.abar[max(v.t, 1)])),
        ("invert-downwards", "the sampler's way, from T down", "The data is denoised as if it were noise: no latent at all.",
         dict(tau=lambda v: [*np.round(v.T - np.arange(v.S) * (v.T / v.S)).astype(int), 0])),
        ("invert-direction-minus", "- sqrt(1 - abar_s) eps", "The noise changes its sign at every step.", dict(along=lambda v: -v.root(1 - v.abar_s))),
        ("invert-direction-missing", "0 for the direction", "x_T is the data, scaled down.", dict(along=lambda v: 0.0)),
        ("invert-direction-at-t", "sqrt(1 - abar_t) eps: t for s", "Too little noise at every level.", dict(along=lambda v: v.root(1 - v.abar_t))),
        ("invert-direction-no-root", "(1 - abar_s) eps", "Too little noise at low levels.", dict(along=lambda v: 1 - v.abar_s)),
        ("invert-noise", "fresh noise in every step up: noising, not inversion", "x_T does not know the picture: decoding gives another one.",
         dict(abar_s=lambda v: v.abar[v.s], x_s=lambda v: v.root(v.abar_s / v.abar_t) * v.x + v.root(1 - v.abar_s / v.abar_t) * v.z, draw=lambda v: torch.randn_like(v.x))),
        ("invert-stops-short", "the last step, to the first level that the sampler starts from, is missing", "x_T is not at the level from which it will be decoded.",
         dict(tau=lambda v: [0, *np.round(v.T - np.arange(v.S)[::-1] * (v.T / v.S)).astype(int)][:-1])),
        ("invert-clip", "x_0 is clamped to [-1, 1] on the way up", "The way up is no longer the way down: where it cuts, pictures don't come back.", dict(x0=lambda v: v.x0_hat.clip(-1, 1))),
        ("invert-stride-recomputed", "the level left is taken as s - T//S, beside the list of levels", "Where the list has another stride, x stands at a level that the network is not asked about.",
         dict(abar_t=lambda v: v.abar[max(v.s - v.T // v.S, 0)])),
    ]:  # fmt: skip
        add(id, INVERT, yours, right, where, picture, **change)

    # -- schedules
    # -------------------------------------------------------------------------------------------------------------------
    right, where = "alpha_bar_t = prod_{i <= t} (1 - beta_i), alpha_bar_0 = 1", "DDPM eq. 4"
    for id, yours, picture, change in [
        ("schedule-alpha", "alpha_t = 1 - beta_t, not multiplied up", "x_T keeps nearly all signal: the network never learns from noise.", dict(kept=lambda v: v.alpha)),
        ("schedule-cumprod-of-beta", "the cumulative product of beta", "No signal from the first level on.", dict(kept=lambda v: np.cumprod(v.beta))),
        ("schedule-beta", "beta itself", "It rises where alpha_bar falls.", dict(kept=lambda v: v.beta)),
        ("schedule-cumsum", "1 - the cumulative sum of beta", "It falls below 0.", dict(kept=lambda v: 1 - np.cumsum(v.beta))),
        ("schedule-root", "sqrt(alpha_bar)", "A root too many: half of the signal's decibels stay at T.", dict(kept=lambda v: np.sqrt(np.cumprod(v.alpha)))),
        ("schedule-squared", "alpha_bar^2: squared twice", "Signal is lost twice as fast.", dict(kept=lambda v: np.cumprod(v.alpha) ** 2)),
        ("schedule-noise", "1 - alpha_bar", "It rises where alpha_bar falls.", dict(kept=lambda v: 1 - np.cumprod(v.alpha))),
        ("schedule-reversed", "alpha_bar in the reverse order", "It rises where alpha_bar falls.", dict(kept=lambda v: np.cumprod(v.alpha)[::-1])),
        ("schedule-cumprod-twice", "the cumulative product of alpha_bar", "No signal after a few levels.", dict(kept=lambda v: np.cumprod(np.cumprod(v.alpha)))),
        ("schedule-beta-reversed", "beta falls from its last value to its first", "Nearly all signal is gone after the first levels.", dict(beta=lambda v: type(v)(
            {k: f for k, f in v._formulas.items() if k != "beta"} | {"beta": _family_beta}, T=v.T, family=v.family).beta[::-1])),
        ("schedule-shifted", "alpha_bar of the level before: 1 twice, or T numbers that begin with 1", "Every level is taken for the one below; alpha_bar_T is missing.",
         dict(kept=lambda v: np.concatenate([[1.0], np.cumprod(v.alpha)[:-1]]))),
        ("schedule-no-data-level", "alpha_bar[0] is not 1: the first of T + 1 noisy levels", "The last step ends at a level that still has noise.",
         dict(alpha_bar=lambda v: np.cumprod(1 - type(v)(v._formulas, T=v.T + 1, family=v.family).beta))),
        ("schedule-zero-end", "alpha_bar_T is 0", "The first step divides by sqrt(alpha_bar_T): NaN, or a picture blown up without bound.",
         dict(alpha_bar=lambda v: 1 - np.arange(v.T + 1) / v.T)),
        ("schedule-float16", "computed in float16", "Digits are lost: levels coincide.", dict(alpha_bar=lambda v: _in(np.float16, v))),
    ]:  # fmt: skip
        add(id, SCHEDULE, yours, right, where, picture, **change)
    add("schedule-beta-not-squared", SCHEDULE, "the roots of beta are not squared", "beta = linspace(sqrt(beta_1), sqrt(beta_T), T)^2", "latent diffusion's schedule",
        "All signal is gone after a tenth of the levels.", families=("scaled-linear",), beta=lambda v: np.linspace(*v.root_ends, v.T))  # fmt: skip
    add("schedule-beta-squared-twice", SCHEDULE, "beta squared twice", "beta = linspace(sqrt(beta_1), sqrt(beta_T), T)^2", "latent diffusion's schedule",
        "x_T keeps nearly all signal.", families=("scaled-linear",), beta=lambda v: np.linspace(*v.root_ends, v.T) ** 4)  # fmt: skip
    add("schedule-linear-squared", SCHEDULE, "linspace(beta_1, beta_T, T)^2: squared, but the roots of the ends were not taken",
        "beta = linspace(sqrt(beta_1), sqrt(beta_T), T)^2", "latent diffusion's schedule", "x_T keeps nearly all signal.",
        families=("scaled-linear",), beta=lambda v: np.linspace(0.00085, 0.012, v.T) ** 2)  # fmt: skip
    cosine = ("cosine",)
    add("cosine-without-cut", SCHEDULE, "the cosine goes to 0 at T: beta is not cut at 0.999", "beta_t = min(1 - f_t/f_{t-1}, 0.999)", "Nichol and Dhariwal 2021, eq. 17",
        "The first step divides by sqrt(alpha_bar_T), which is 0 but for rounding: NaN, or a picture blown up 10^16 times.", families=cosine,
        cut=lambda v: 1 - v.cosine[1:] / v.cosine[:-1])  # fmt: skip
    add("cosine-not-squared", SCHEDULE, "f = cos, not cos^2", "f_t = cos^2(...)", "Nichol and Dhariwal 2021, eq. 17", "The root of the schedule: too much signal at every level.",
        families=cosine, cosine=lambda v: np.cos((np.arange(v.T + 1) / v.T + 0.008) / 1.008 * np.pi / 2))  # fmt: skip
    add("cosine-not-halved", SCHEDULE, "cos^2(pi ...) without the half", "f_t = cos^2((t/T + 0.008)/1.008 pi/2)", "Nichol and Dhariwal 2021, eq. 17",
        "It falls to 0 at T/2 and rises again.", families=cosine, alpha_bar=lambda v: (lambda f: f / f[0])(np.cos((np.arange(v.T + 1) / v.T + 0.008) / 1.008 * np.pi) ** 2))  # fmt: skip
    add("cosine-not-normalised", SCHEDULE, "f_t without the division by f_0", "alpha_bar_t = f_t/f_0", "Nichol and Dhariwal 2021, eq. 17",
        "alpha_bar_0 is not 1: the data is taken for a noisy level.", families=cosine, alpha_bar=lambda v: np.concatenate([v.cosine[:1], np.cumprod(1 - v.cut) * v.cosine[0]]))  # fmt: skip
    add("schedule-float32", SCHEDULE, "computed in float32, which the tail of the cosine does not bear", right + ", in float64", "chapter 1",
        "The last levels, which divide by sqrt(alpha_bar), are off.", families=cosine, alpha_bar=lambda v: _in(np.float32, v))  # fmt: skip
    return found


def _sigma_of_mu(v):
    """smalldiffusion's fresh noise with mu = eta/2, in the clock n = sqrt((1 - abar)/abar)."""
    n_t, n_s, mu = v.root((1 - v.abar_t) / v.abar_t), v.root((1 - v.abar_s) / v.abar_s), v.eta / 2
    kept = (n_s / n_t**mu) ** (1 / (1 - mu))
    return v.root(v.abar_s) * v.root(n_s**2 - kept**2)


def _family_beta(v):
    return {
        "linear": lambda: np.linspace(1e-4, 0.02, v.T),
        "scaled-linear": lambda: np.linspace(*v.root_ends, v.T) ** 2,
        "cosine": lambda: v.cut,
    }[v.family]()


def _in(dtype, v):
    """alpha-bar with every intermediate result rounded to a shorter type."""
    if v.family == "cosine":
        u = (np.arange(v.T + 1, dtype=dtype) / dtype(v.T) + dtype(0.008)) / dtype(1.008) * dtype(np.pi / 2)
        f = np.cos(u) ** 2
        beta = np.minimum(dtype(1) - f[1:] / f[:-1], dtype(0.999))
    else:
        beta = np.asarray(v.beta, dtype=dtype)
    return np.concatenate([[1.0], np.cumprod(dtype(1) - beta, dtype=dtype)]).astype(np.float64)


MISTAKES: tuple[Mistake, ...] = tuple(_mistakes())
BY_ID: Mapping[str, Mistake] = {mistake.id: mistake for mistake in MISTAKES}


def of_kind(kind: str) -> list[Mistake]:
    """The mistakes that a function of this kind can have."""
    return [mistake for mistake in MISTAKES if kind in mistake.kinds]
