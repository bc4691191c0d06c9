"""Which alpha-bar a step reads, and the last of them."""

import numpy as np

from ddim_edu.conformance.catalogue.mistake import INVERT, STEP, row, table


def _both(at):
    """The same mistake at both ends of a step: ``at`` reads alpha-bar at a level."""
    return {"abar_t": lambda v: at(v, v.t), "abar_s": lambda v: at(v, v.s)}


# fmt: off
LAST_STEP = table(
    STEP, "abar_0 = 1: the last step returns the predicted x_0", "eq. 12 with alpha_0 = 1",
    row("last-step-abar-1", "the last step ends at abar_1",
        "A trace of noise, of deviation sqrt(1 - abar_1), stays in every picture.",
        abar_s=lambda v: v.abar[max(v.s, 1)]),
    row("last-step-abar-T", "the last step reads alpha_bar[-1], which is abar_T",
        "The last step turns the picture back into noise.",
        abar_s=lambda v: v.abar[v.s] if v.s else v.abar[-1]),
    row("last-step-abar-0", "the last step ends at abar = 0",
        "The last step returns the predicted noise.",
        abar_s=lambda v: v.abar[v.s] if v.s else np.float64(0)),
    row("last-step-skipped", "the last step returns x_t as it is",
        "The noise of the last level visited stays in the picture.",
        x_s=lambda v: v.signal * v.x0 + v.along * v.eps_hat + v.fresh * v.z if v.s else v.x),
)

INDEX = (
    *table(
        STEP + INVERT, "abar_t = alpha_bar[t] and abar_s = alpha_bar[s], with level 0, the data, at index 0",
        "the contract; eq. 12",
        row("index-minus-one", "alpha_bar[t-1] and alpha_bar[s-1]",
            "Every level is taken for the one below; the last step reads alpha_bar[-1] = abar_T.",
            **_both(lambda v, t: v.abar[t - 1])),
        row("index-minus-one-kept", "alpha_bar[t-1] and alpha_bar[s-1], 1 at the data",
            "Every level is taken for the one below: a little noise is left in.",
            **_both(lambda v, t: v.abar[max(t - 1, 0)])),
        row("index-plus-one", "alpha_bar[t+1] and alpha_bar[s+1]",
            "Every level is taken for the one above; the last step ends at abar_1.",
            **_both(lambda v, t: v.abar[min(t + 1, v.T)])),
        row("index-plus-one-but-last", "alpha_bar[t+1] and alpha_bar[s+1], 1 at the data",
            "Every level is taken for the one above: a little too much noise is taken away.",
            **_both(lambda v, t: v.abar[min(t + 1, v.T)] if t else v.abar[0])),
        row("alpha-for-alpha-bar", "alpha_t = abar_t/abar_{t-1} in the place of alpha-bar",
            "One step's share for all steps': next to no noise is ever taken away.",
            **_both(lambda v, t: v.abar[t] / v.abar[max(t - 1, 0)])),
        row("root-read-as-alpha-bar", "sqrt(alpha_bar) in the place of alpha_bar",
            "A root too many: noise is left in.",
            **_both(lambda v, t: np.sqrt(v.abar[t]))),
        row("alpha-bar-squared", "alpha_bar^2 in the place of alpha_bar",
            "A root too few: values explode at high levels.",
            **_both(lambda v, t: v.abar[t] ** 2)),
        row("one-minus-alpha-bar", "1 - alpha_bar in the place of alpha_bar",
            "Signal and noise exchange their roles.",
            kinds=STEP,  # 0 under a root's fraction at the data: NaN, which names nothing
            **_both(lambda v, t: 1 - v.abar[t])),
        row("levels-reversed", "alpha_bar read from its other end, alpha_bar[T - t]",
            "The first step is taken for the last.",
            kinds=("step", *INVERT),  # the same in a sampler's first step
            **_both(lambda v, t: v.abar[v.T - t])),
        row("s-and-t-swapped", "abar_t and abar_s exchanged",
            "Steps go up where they should go down.",
            abar_t=lambda v: v.abar[v.s], abar_s=lambda v: v.abar[v.t]),
    ),
    *table(
        STEP, "abar_t = alpha_bar[t], t being the level left", "the contract; eq. 12",
        row("index-t-minus-one", "alpha_bar[t-1] for abar_t",
            "The level left is taken for the one below: a little noise is left in.",
            abar_t=lambda v: v.abar[v.t - 1]),
        row("index-t-plus-one", "alpha_bar[t+1] for abar_t",
            "The level left is taken for the one above.",
            abar_t=lambda v: v.abar[min(v.t + 1, v.T)]),
    ),
    *table(
        STEP, "abar_s = alpha_bar[s], s being the level reached, the next one of the list", "the contract; eq. 12",
        row("index-s-minus-one", "alpha_bar[s-1] for abar_s",
            "The level reached is taken for the one below; the last step reads alpha_bar[-1] = abar_T.",
            abar_s=lambda v: v.abar[v.s - 1]),
        row("index-s-minus-one-kept", "alpha_bar[s-1] for abar_s, 1 at the data",
            "The level reached is taken for the one below.",
            abar_s=lambda v: v.abar[max(v.s - 1, 0)]),
        row("index-s-plus-one", "alpha_bar[s+1] for abar_s",
            "The level reached is taken for the one above: noise is left in the last picture.",
            abar_s=lambda v: v.abar[v.s + 1]),
        row("s-is-t-minus-one", "alpha_bar[t-1] for abar_s, however long the step is",
            "Steps that skip levels move the state by one level only: noise stays in.",
            abar_s=lambda v: v.abar[v.t - 1]),
        row("s-is-t", "abar_t for abar_s",
            "The state never moves: noise comes out.",
            kinds=STEP + INVERT, abar_s=lambda v: v.abar[v.t]),
    ),
)
