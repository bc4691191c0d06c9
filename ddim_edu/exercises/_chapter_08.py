"""Chapter 8, the adaptive-step loss."""

from __future__ import annotations

from typing import Any

import torch

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, function, numbers, tensor


@exercise("ex-adaptive-parts", "code", stars=2, minutes=15, skill="losses")
def parts(answer: Any) -> None:
    """The published term depends on how a batch is cut, the mended loss does not: only one of them can be compared
    between machines.
    """
    published, mended = numbers(answer, "published", "mended")
    said = f"published = {published:.3g}, mended = {mended:.3g}: "
    if abs(published - 2) < 0.01 and abs(mended - 4) < 0.04:
        raise Wrong(said + "look at the second. The four parts' values are averaged, not added, as their losses are.")
    if published < 0 or mended < 0:
        raise Wrong(said + "both losses are positive. In which of the four is something subtracted?")
    if abs(published - 0.5) < 0.01:
        raise Wrong(said + "look at the first, which is the value in four parts over that of the whole batch.")
    if abs(published - 1) < 0.01 and abs(mended - 1) > 0.01:
        raise Wrong(said + "the two losses are swapped.")
    if abs(published - 4) < 0.02:
        raise Wrong(said + "look at the first. The four parts' values are averaged, not added, as their losses are.")
    if 1.01 < published < 1.9:
        raise Wrong(said + "look at the first. Was the MSE, which is the same in both, taken away from the loss?")
    if abs(published - 2) > 0.01:
        raise Wrong(said + "look at the first. Has every part the same pictures, and the same errors?")
    if abs(mended - 1) > 0.01:
        raise Wrong(said + "look at the second. Its weights are made picture by picture.")


@exercise("ex-adaptive-tilt", "derive", stars=2, minutes=20, skill="losses")
def tilt(answer: Any) -> None:
    """A weight that depends on the data changes the data: it is resampling by another name."""
    call = function(answer, "weights(shares)")

    def normalised(shares: torch.Tensor) -> torch.Tensor:
        given = tensor(call(shares), tuple(shares.shape), "what your function returned")
        if not bool((given > 0).all()):
            raise Wrong("A weight came out that is not positive.")
        return given / given.sum()

    cases = [(torch.tensor(shares, dtype=torch.float64),) for shares in ([0.3, 0.7], [0.2, 0.5, 0.3], [0.9, 0.1])]
    agree(
        normalised,
        "weights(shares)",
        lambda q: (1 / q) / (1 / q).sum(),
        cases,
        "(Weights are compared after division by their sum.) What has to be equal for all peaks, the weight or "
        "the weight times something?",
        (lambda q: q / q.sum(), "(After division by their sum.) This makes the common peak commoner."),
        (
            lambda q: torch.ones_like(q) / len(q),
            "(After division by their sum.) Equal weights leave the shares as they are.",
        ),
        (
            lambda q: q**-2 / (q**-2).sum(),
            "(After division by their sum.) That is too much: now the rare peak is the common one.",
        ),
        (
            lambda q: q**-0.5 / (q**-0.5).sum(),
            "(After division by their sum.) Not enough: is the weight squared somewhere, or the error only?",
        ),
        (
            lambda q: (-q.log()) / (-q.log()).sum(),
            "(After division by their sum.) The rare peak weighs more, but not in proportion.",
        ),
        (
            lambda q: q.flip(0) / q.sum(),
            "(After division by their sum.) Right for two peaks: each has the other's share. What of three?",
        ),
        (lambda q: (1 - q) / (1 - q).sum(), "(After division by their sum.) Right for two peaks, not for three."),
    )


@exercise("ex-adaptive-only", "break", stars=2, minutes=20, skill="losses")
def only(answer: Any) -> None:
    """Where the weight is 0 nothing is learned, and a loss in the size of the error pushes small errors as hard as
    large ones.
    """
    flat, ratio = numbers(answer, "flat", "ratio")
    said = f"flat = {flat:.3g}, ratio = {ratio:.3g}: "
    if flat < 0:
        raise Wrong(said + "the first is a size and not negative. Take the largest absolute value.")
    if flat > 0.5 and ratio < 1e-3:
        raise Wrong(said + "the two are swapped.")
    if ratio < 0:
        raise Wrong(said + "the second is a ratio of sizes and not negative.")
    if flat > 1e-9:
        raise Wrong(
            said + "look at the first. The weight is 0 where a pixel equals its neighbours, so leave the column next "
            "to the other half out; "
            "is the 1 gone from the weight?"
        )
    if abs(ratio - 2) < 0.02 or abs(ratio - 0.5) < 0.01:
        raise Wrong(
            said + "look at the second: is one picture in the numerator and another, or another number of them, in "
            "the denominator?"
        )
    if abs(ratio - 100) < 1 or abs(ratio - 0.01) < 1e-3:
        raise Wrong(
            said + "look at the second: that is how the gradient of a square behaves. Is it the published term's, "
            "without the MSE?"
        )
    if abs(ratio - 1) > 0.01:
        raise Wrong(
            said + "look at the second: the size of the term's gradient at an error of 1, over that at 0.01. Is the "
            "MSE taken away?"
        )


@exercise("ex-adaptive-paired", "measure", stars=2, minutes=20, skill="statistics")
def paired(answer: Any) -> None:
    """With the seed's share cancelled five runs are enough for an effect that unpaired runs hardly ever show."""
    together, apart = numbers(answer, "paired", "unpaired")
    said = f"paired = {together:.3g}, unpaired = {apart:.3g}: "
    if together < 0 or apart < 0:
        raise Wrong(said + "shares are not negative.")
    if together > 1 or apart > 1:
        raise Wrong(said + "these are counts or percentages. Hand in shares between 0 and 1.")
    if together < 0.1 and apart > 0.7:
        raise Wrong(said + "the two are swapped, or the other test is the paired one.")
    if abs(together - apart) < 0.1:
        raise Wrong(
            said
            + "there is no difference. Do both losses run from the same seeds, and does one test take the differences?"
        )
    if together > 0.97:
        raise Wrong(
            said + "look at the first. Are there five seeds, and is the effect 0.5? Nearly all experiments find "
            "what is larger."
        )
    if not 0.78 < together < 0.92:  # 0.8485 of 2,000 experiments, which is known to 0.008
        raise Wrong(
            said + "look at the first. Is the remainder drawn for each run, with standard deviation 0.2, and are there "
            "five seeds?"
        )
    if apart == 0:
        raise Wrong(
            said + "look at the second: it is small, but some of 2,000 unpaired experiments find it. Is a "
            "difference in either sense found?"
        )
    if not apart < 0.07:
        raise Wrong(
            said + "look at the second. Has the seed's part standard deviation 1, and is it another one for each seed?"
        )
