"""How answers are compared with the truth, and which mistake one looks like that is not it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.reading import Wrong, argument_names, as_tensor, describe, function, number, show, tensor


def close(value: Any, truth: Any, rtol: float) -> bool:
    """Whether two arrays agree, up to ``rtol`` of the largest value of the truth."""
    value, truth = as_tensor(value), as_tensor(truth)
    return value.shape == truth.shape and bool(
        ((value - truth).abs() <= rtol * truth.abs().max().clamp(min=1e-12)).all()
    )


def expect(
    value: float, truth: float, look: str, *mistakes: tuple[float, str], rtol: float = 0.005, what: str = ""
) -> None:
    """Pass if a number is the truth; otherwise say which mistake it looks like, or where to look.

    Args:
        value: as it was handed in.
        truth: the right one.
        look: the direction to look in, where no mistake is recognised. It must not say the answer.
        mistakes: numbers that come out of typical mistakes, each with its own direction.
        rtol: relative margin.
        what: the name of the number, where there are several.

    Raises:
        Wrong: if it is not the truth.
    """
    if close(value, truth, rtol):
        return
    given = f"{f'{what} = ' if what else ''}{show(value)}: "
    for wrong, says in mistakes:
        if close(value, wrong, rtol):
            raise Wrong(given + says)
    for change, says in _USUAL:
        if close(value, change(as_tensor(truth)), rtol):
            raise Wrong(given + says[0].lower() + says[1:])
    raise Wrong(f"{given}that is not it. {look}")


def agree(
    answer: Any,
    like: str,
    truth: Callable,
    cases: Sequence[Sequence],
    look: str,
    *mistakes: tuple[Callable, str],
    rtol: float = 1e-4,
) -> None:
    """Pass if a function agrees with the truth on all cases; otherwise say which mistake it looks like, or where to
    look.

    Args:
        answer: what was handed in.
        like: how the function is called, ``"variance(abar_t, abar_s)"``.
        truth: a function of the same arguments.
        cases: the arguments of each call. Floats are passed as 0-d float64 tensors.
        look: as for :func:`expect`.
        mistakes: functions that make a typical mistake, each with its own direction.
        rtol: relative margin, of the largest value of a result.

    Raises:
        Wrong: if it does not agree somewhere, or returns what is not a number or not of the right shape.
    """
    call = function(answer, like)
    names = argument_names(like)
    cases = [[torch.tensor(v, dtype=torch.float64) if isinstance(v, float) else v for v in case] for case in cases]
    given, right = [], [as_tensor(truth(*case)) for case in cases]
    for case, target in zip(cases, right, strict=True):
        what = "what your function returned"
        result = call(*(v.clone() if isinstance(v, Tensor) else v for v in case))  # a function may work in place
        given.append(as_tensor(number(result, what) if target.ndim == 0 else tensor(result, tuple(target.shape), what)))

    off = [i for i, (a, b) in enumerate(zip(given, right, strict=True)) if not close(a, b, rtol)]
    if not off:
        return
    if (hint := _recognised(given, right, names, cases, truth, mistakes, rtol)) is None:
        partly = f"It is right in {len(cases) - len(off)} of {len(cases)} cases, but not in this one. "
        hint = (partly if len(off) < len(cases) else "") + look
    raise Wrong(f"With {describe(names, cases[off[0]])} your function returned {show(given[off[0]])}. {hint}")


def _recognised(
    given: Sequence[Tensor],
    right: Sequence[Tensor],
    names: Sequence[str],
    cases: Sequence[Sequence],
    truth: Callable,
    mistakes: Sequence[tuple[Callable, str]],
    rtol: float,
) -> str | None:
    """What to say of the mistake that explains all results of a function; None if none does."""

    def explains(others: Sequence[Tensor]) -> bool:
        return all(close(a, b, rtol) for a, b in zip(given, others, strict=True))

    for mistake, says in mistakes:
        if explains([as_tensor(mistake(*case)) for case in cases]):
            return says
    for change, says in _USUAL:
        if explains([change(target) for target in right]):
            return says
    if _constant_factor(given, right, rtol):
        return "It is right up to a factor, which is the same in every case. Where does one come in, or get lost?"
    if {"abar_t", "abar_s"} <= set(names):
        t, s = names.index("abar_t"), names.index("abar_s")
        swapped = [[case[s] if i == t else case[t] if i == s else v for i, v in enumerate(case)] for case in cases]
        if explains([as_tensor(truth(*case)) for case in swapped]):
            return "It looks as if s and t were swapped: abar_t belongs to the noisier end and is the smaller one."
    return None


def _constant_factor(given: Sequence[Tensor], right: Sequence[Tensor], rtol: float) -> bool:
    """Whether several results are one and the same positive multiple of the right ones."""
    flat, target = (torch.cat([value.flatten() for value in values]) for values in (given, right))
    factor = (flat * target).sum() / target.square().sum()
    varied = not bool(target.isclose(target[0]).all())
    return varied and bool(factor > 0) and all(close(a, factor * b, rtol) for a, b in zip(given, right, strict=True))


_TWO = "It is off by a simple factor. Is something counted twice, or only half of it?"

_USUAL: tuple[tuple[Callable[[Tensor], Tensor], str], ...] = (
    (lambda v: -v, "The size is right and the sign is not."),
    (lambda v: v**2, "It looks like the square of what is asked for: a variance where a standard deviation was meant?"),
    (
        lambda v: v.abs().sqrt(),
        "It looks like the square root of what is asked for: a standard deviation where a variance was meant?",
    ),
    (
        lambda v: 1 / v,
        "It looks like the reciprocal of what is asked for. Which of the two quantities is divided by which?",
    ),
    (lambda v: 2 * v, _TWO),
    (lambda v: v / 2, _TWO),
)
