"""The direction: how much of the predicted noise is put back, and of what; and DDPM's step in the place of DDIM's."""

from ddim_edu.conformance.catalogue.mistake import INVERT, STEP, row, table

# fmt: off
DIRECTION = table(
    STEP, "sqrt(1 - abar_s - sigma^2) eps", "eq. 12, second term",
    row("direction-missing", "0 for the direction",
        "Every step lands on the predicted x_0, darkened: the state has no noise left for the network to find.",
        along=lambda v: 0.0),
    row("direction-sigma", "x_0 sqrt(abar_s) + sigma eps + sigma z",
        "At eta = 0 the picture never leaves the predicted x_0; above, it holds too little noise at every level.",
        along=lambda v: v.sigma),
    row("direction-forgets-sigma", "sqrt(1 - abar_s) eps",
        "Right at eta = 0. Above, the fresh noise comes on top of all of the old: pictures stay grainy.",
        along=lambda v: v.root(1 - v.abar_s)),
    row("direction-sigma-unsquared", "sqrt(1 - abar_s - sigma) eps",
        "Right at eta = 0. Above, too little noise is kept, and near the data the root is of a negative number.",
        along=lambda v: v.root(1 - v.abar_s - v.sigma)),
    row("direction-eta-squared", "sqrt(1 - abar_s - eta^2) eps",
        "At eta = 1 the root is of a negative number at every level.",
        along=lambda v: v.root(1 - v.abar_s - v.eta**2)),
    row("direction-eta-variance", "sqrt(1 - abar_s - eta sigma_1^2) eps, with sigma_1 the sigma of eta = 1",
        "Right at eta = 0 and 1. Between, eta is not squared: too little noise is kept.",
        along=lambda v: v.root(1 - v.abar_s - (v.sigma**2 / v.eta if v.eta else 0.0))),
    row("direction-no-root", "(1 - abar_s - sigma^2) eps",
        "Too little noise at every level: pictures turn smooth and pale.",
        along=lambda v: 1 - v.abar_s - v.sigma**2),
    row("direction-at-t", "sqrt(1 - abar_t - sigma^2) eps",
        "The state keeps the noise of the level that it has left: grain that never goes.",
        along=lambda v: v.root(1 - v.abar_t - v.sigma**2)),
    row("direction-difference", "(sqrt(1 - abar_s) - sigma) eps",
        "Right at eta = 0. Above, variances and deviations are mixed: too little noise.",
        along=lambda v: v.root(1 - v.abar_s) - v.sigma),
    row("direction-minus-variance", "(sqrt(1 - abar_s) - sigma^2) eps: the root's bracket closes too early",
        "Right at eta = 0. Above, a little too much noise is kept in most steps: grain.",
        along=lambda v: v.root(1 - v.abar_s) - v.sigma**2),
    row("direction-plus-sigma", "sqrt(1 - abar_s + sigma^2) eps",
        "Right at eta = 0. Above, noise grows where it should make room.",
        along=lambda v: v.root(1 - v.abar_s + v.sigma**2)),
    row("direction-signal", "sqrt(abar_s - sigma^2) eps",
        "abar stands for 1 - abar: almost no noise at the start, all of it at the end.",
        along=lambda v: v.root(v.abar_s - v.sigma**2)),
    row("direction-minus", "- sqrt(1 - abar_s - sigma^2) eps",
        "The noise changes its sign at every step, and the network chases it.",
        along=lambda v: -v.root(1 - v.abar_s - v.sigma**2)),
    row("direction-ddpm", "sqrt(1 - abar_s - sigma_1^2) eps whatever eta is, with sigma_1 the sigma of eta = 1",
        "Right at eta = 1. Below, noise is taken away and none is given back: blurred, pale pictures.",
        along=lambda v: v.root(1 - v.abar_s - (1 - v.abar_s) / (1 - v.abar_t) * (1 - v.abar_t / v.abar_s))),
    row("direction-one-minus-root", "(1 - sqrt(abar_s)) eps",
        "1 - sqrt(abar) stands for sqrt(1 - abar): too little noise at every level.",
        along=lambda v: 1 - v.root(v.abar_s)),
    row("direction-scaled", "sqrt(abar_s) sqrt(1 - abar_s - sigma^2) eps",
        "abar_s multiplies both terms: hardly any noise at the start.",
        along=lambda v: v.root(v.abar_s) * v.root(1 - v.abar_s - v.sigma**2)),
    row("direction-stepwise", "sqrt(1 - abar_s/abar_t ...) eps: sqrt(1 - abar_t/abar_s - sigma^2) eps",
        "The noise of one step in the place of all noise up to level s.",
        along=lambda v: v.root(1 - v.abar_t / v.abar_s - v.sigma**2)),
    row("direction-of-x0", "the direction multiplies the predicted x_0",
        "A ghost of the picture in the place of its noise.",
        eps_hat=lambda v: v.x0),
    row("direction-of-x", "the direction multiplies x_t",
        "The state's own signal is taken for noise, and counts twice.",
        eps_hat=lambda v: v.x),
    row("direction-of-z", "the direction multiplies fresh noise, not the predicted",
        "At eta = 0 too, every step forgets the noise of the last: nothing of DDIM's determinism is left.",
        eps_hat=lambda v: v.z),
)

WHOLE = table(
    STEP, "sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) eps + sigma z", "eq. 12",
    row("all-terms-scaled", "sqrt(abar_s) (x_0 + sqrt(1 - abar_s - sigma^2) eps + sigma z): a bracket around all terms",
        "abar_s multiplies the noise too: hardly any at the start.",
        along=lambda v: v.root(v.abar_s) * v.root(1 - v.abar_s - v.sigma**2),
        fresh=lambda v: v.root(v.abar_s) * v.sigma),
    row("ratio-on-x-only", "sqrt(abar_s/abar_t) x_t + (sqrt(1 - abar_s - sigma^2) - sqrt(1 - abar_t)) eps + sigma z",
        "The ratio multiplies x_t and not its noise: most of the noise stays in.",
        kinds=STEP + INVERT,
        x_s=lambda v: (
            v.root(v.abar_s / v.abar_t) * v.x
            + (v.root(1 - v.abar_s - v.sigma**2) - v.root(1 - v.abar_t)) * v.eps + v.fresh * v.z)),
)

DDPM = table(
    STEP, "one step of DDIM from t to s, with its eta", "eq. 12",
    row("renoised", "sqrt(abar_s) x_0 + sqrt(1 - abar_s) z: the predicted x_0 is noised anew, and eps is thrown away",
        "All of level s's noise is fresh, at eta = 0 too: nothing of DDIM's determinism is left.",
        along=lambda v: 0.0, fresh=lambda v: v.root(1 - v.abar_s)),
    row("ddpm-one-level", "DDPM's step from t to t - 1, with noise of variance beta_t, whatever s and eta are",
        "With few steps the state is moved by a level where it should be moved by many: noise stays in.",
        x_s=lambda v: _ddpm_mean(v, v.abar[v.t - 1]) + (_root_beta(v) * v.z if v.s else 0.0)),
    row("ddpm-one-level-to-the-end", "DDPM's step from t to t - 1, with noise of variance beta_t in the last step too",
        "With few steps the state is moved by a level where it should be moved by many, and pictures carry grain.",
        x_s=lambda v: _ddpm_mean(v, v.abar[v.t - 1]) + _root_beta(v) * v.z),
    row("ddpm-jump", "DDPM's step with beta = 1 - abar_t/abar_s and noise of that variance, whatever eta is",
        "Noise at eta = 0 too, and more of it in a long step than level s holds.",
        x_s=lambda v: _ddpm_mean(v, v.abar_s) + (v.root(1 - v.abar_t / v.abar_s) * v.z if v.s else 0.0)),
)
# fmt: on


def _ddpm_mean(v, abar_s):
    """DDPM's mean of the level reached, its eq. 11."""
    alpha = v.abar_t / abar_s
    return (v.x - (1 - alpha) / v.root(1 - v.abar_t) * v.eps) / v.root(alpha)


def _root_beta(v):
    """DDPM's larger sigma, of a single level."""
    return v.root(1 - v.abar[v.t] / v.abar[v.t - 1])
