"""Chapter 13, restoration."""

from __future__ import annotations

from typing import Any

import torch

from ddim_edu.apps.operators import AveragePool, Grey, Mask
from ddim_edu.exercises.comparing import agree, close, expect
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Unfit, Wrong, function, number, numbers, show, tensor


@exercise("ex-restoration-both", "derive", stars=2, minutes=25, skill="posteriors")
def both(answer: Any) -> None:
    """Where each loss has rows of one length at right angles, losses can be stacked and their inverses with them."""
    call = function(answer, "both(one, two)")
    first_four = torch.tensor([[True] * 4, [False] * 4, [True] * 4, [True] * 4])
    for one, two, size in ((Grey(), AveragePool(2), 4), (AveragePool(2), Mask(first_four), 8)):
        op = call(one, two)
        parts = [getattr(op, name, None) for name in ("forward", "pseudo_inverse")]
        if not all(map(callable, parts)):
            raise Unfit(
                "both(one, two) is to return an operator: an object with the methods forward(x) and pseudo_inverse(y)."
            )
        x = torch.randn(2, 3, size, size, dtype=torch.float64)
        y = two.forward(one.forward(x))
        names = f"{type(one).__name__} and then {type(two).__name__}: "
        lost = tensor(function(parts[0], "forward(x)")(x.clone()), tuple(y.shape), "what forward returned")
        if not close(lost, y, 1e-6):
            raise Wrong(f"{names}forward does not return what the two make of a picture, one after the other.")
        back = tensor(
            function(parts[1], "pseudo_inverse(y)")(y.clone()), tuple(x.shape), "what pseudo_inverse returned"
        )
        if close(back, one.pseudo_inverse(two.pseudo_inverse(y)), 1e-6):
            continue
        again = two.forward(one.forward(back))
        factor = ((again * y).sum() / y.square().sum()).item()
        if close(again, y, 1e-6):
            raise Wrong(
                f"{names}pseudo_inverse returned a picture that gives y, but not the smallest picture that does."
            )
        if close(again, -y, 1e-6):
            raise Wrong(f"{names}A A^+ y is minus y. The size is right and the sign is not.")
        if close(again, factor * y, 1e-6):
            raise Wrong(
                f"{names}A A^+ y is a multiple of y, but not y. Which factors do A_1 A_1^T and A_2 A_2^T leave?"
            )
        raise Wrong(f"{names}A A^+ y is not y. In which order are the losses undone?")


@exercise("ex-restoration-weak", "derive", stars=2, minutes=25, skill="posteriors")
def weak(answer: Any) -> None:
    """Every walk adds less than the one before: half of the way takes one walk with fresh noise, nine tenths of it take
    nine.
    """
    full, none = numbers(answer, "with eta = 1", "with eta = 0")
    if full < 0 or none < 0:
        raise Wrong(f"{show(full)} walks with eta = 1, {show(none)} with eta = 0: numbers of walks are not negative.")
    if full > none > 0:
        raise Wrong(
            f"{show(full)} walks with eta = 1, {show(none)} with eta = 0: which of the two follows the pull "
            "further in one walk?"
        )
    look = "Set the share for small c equal to 0.9 and solve for kappa. What is kappa for n walks?"
    expect(
        full,
        9,
        look,
        (10, "1 - 1/kappa is not the share, though it is close for many walks."),
        (18, "kappa has the factor 1 + eta^2. What is it here?"),
        (3, "set the share itself to 0.9, and solve for kappa."),
        (4.5, "is the share solved for kappa, and kappa for n?"),
        (0.9, "that is the share. How many walks reach it?"),
        what="n with eta = 1",
    )
    expect(
        none,
        18,
        look,
        (36, "is the factor 1 + eta^2 counted twice?"),
        (9, "without fresh noise a walk counts less. Put eta = 0 into kappa."),
        what="n with eta = 0",
    )


@exercise("ex-restoration-transpose", "break", stars=2, minutes=20, skill="posteriors")
def transpose(answer: Any) -> None:
    """The transpose corrects by the square of a row's length only, and the more pixels a mean has the less that is."""
    agree(
        answer,
        "left(f)",
        lambda f: torch.tensor(1 - 1 / f**2),
        [(2,), (3,), (4,)],
        "What is A A^T for means of f x f pixels? The disagreement A x - y is multiplied by 1 minus that.",
        (lambda f: torch.tensor(1 / f**2), "This is the share that the correction takes away."),
        (lambda f: torch.tensor(1 - 1 / f), "How many pixels has a square of side f?"),
        (
            lambda f: torch.tensor(1 - 1 / f**4),
            "A row of A has f^2 entries of 1/f^2. What is the sum of their squares?",
        ),
        (lambda f: torch.tensor(f**2 / (f**2 + 1)), "Nearly. A A^T is not subtracted here, but divided by."),
        (lambda f: torch.tensor(1 + 1 / f**2), "The correction makes the disagreement smaller, not larger: a sign."),
        (lambda f: torch.tensor((1 - 1 / f**2) ** 2), "This is what is left after two corrections, or of the square."),
        (lambda f: torch.tensor(1.0), "The correction does something, though too little."),
        (lambda f: torch.tensor(0.0), "That would be so with the right inverse."),
    )


@exercise("ex-restoration-stop", "code", stars=3, minutes=35, skill="samplers")
def stop(answer: Any) -> None:
    """Stopped where the chain's own means have that noise, answers err as what was given does, and each in its own
    way.
    """
    ratio = number(answer)
    said = f"{show(ratio)}: "
    if ratio < 0:
        raise Wrong(said + "a root mean square is not negative.")
    if ratio > 1.05:
        raise Wrong(said + "an average has no more noise than what it is made of. Which is divided by which?")
    if ratio > 0.9:  # exactly 1 where the last step is corrected
        raise Wrong(
            said + "the answers err alike, as they do where the last steps are corrected, too. They should not be."
        )
    if ratio > 0.785:
        raise Wrong(
            said + "they err more alike than they need to. Is the level that of a pixel, or that of a mean of four?"
        )
    if 0.5 < ratio < 0.58:
        raise Wrong(said + "this is a ratio of mean squares. The roots are to be divided.")
    if 0.33 < ratio < 0.4:
        raise Wrong(said + "half of what it could be. Are both errors taken against the same clean means?")
    if ratio < 0.66:  # 0.73 to 0.75 for three draws of the noise
        raise Wrong(
            said + "less than the chapter's network can do. Are these errors of the means, against the means of the "
            "true pictures?"
        )
