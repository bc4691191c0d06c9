"""What the checks of all chapters share: the registry, the verdict, and how answers are read and compared.

A judge is a function that takes the answer and raises :class:`Wrong` if it is not right. It never raises anything else
because of what a reader hands in: :func:`number`, :func:`numbers`, :func:`tensor`, :func:`tensors` and :func:`function`
read answers and say what is amiss. What is right does not become wrong by its form: Python's numbers, fractions,
decimals, those of NumPy, PyTorch and SymPy, of any precision, alone or in lists, tuples and arrays, all become float64
tensors in one place.
"""

from __future__ import annotations

import difflib
import inspect
import linecache
import math
import traceback
from collections.abc import Callable, Sequence, ValuesView
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ("derive", "code", "break", "measure")
SKILLS = {
    "variances": "Adding variances",
    "levels": "Levels and SNR",
    "posteriors": "Posteriors",
    "samplers": "Samplers",
    "ode": "The ODE",
    "losses": "Losses",
    "networks": "Networks",
    "statistics": "Statistics",
}
STARS = ("one star", "two stars", "three stars")


class Wrong(Exception):
    """An answer that is not right; the message says in which direction to look."""

    reason = "wrong"


class Unfit(Wrong):
    """An answer of the wrong type or shape."""

    reason = "unfit"


class Raised(Wrong):
    """An answer that is a function and raised an exception of its own."""

    reason = "raised"


@dataclass(frozen=True)
class Exercise:
    """An exercise as the registry knows it.

    Attributes:
        label: of the exercise in the chapter, ``ex-forward-roots``.
        chapter: its number.
        kind: one of ``KINDS``.
        stars: difficulty, 1 to 3.
        minutes: an estimate of how long it takes.
        skill: a key of ``SKILLS``.
        established: what a right answer is told.
        judge: takes the answer, and raises :class:`Wrong` if it is not right.
    """

    label: str
    chapter: int
    kind: str
    stars: int
    minutes: int
    skill: str
    established: str
    judge: Callable[[Any], None]


@dataclass(frozen=True)
class Verdict:
    """What :func:`check` found; true where the answer is right, so that ``assert check(...)`` works.

    Attributes:
        label: of the exercise.
        reason: ``"right"``, ``"wrong"``, ``"unfit"`` (type or shape), ``"raised"`` (the reader's function did),
            ``"unknown"`` (no such exercise) or ``"stumbled"`` (the check itself failed on the answer).
        message: what was printed.
    """

    label: str
    reason: str
    message: str

    def __bool__(self) -> bool:
        return self.reason == "right"

    def _ipython_display_(self) -> None:
        """Nothing: the message was printed, and a cell that ends in check(...) should not say it twice."""


_REGISTRY: dict[str, Exercise] = {}


def exercise(label: str, kind: str, *, stars: int, minutes: int, skill: str) -> Callable:
    """Enter a judge into the registry, from a module whose name ends in its chapter's number.

    Args:
        label: of the exercise in the chapter.
        kind: one of ``KINDS``.
        stars: difficulty, 1 to 3.
        minutes: an estimate of how long it takes.
        skill: a key of ``SKILLS``.

    Raises:
        ValueError: if a value is not one of those allowed, the label is taken, or the judge has no docstring to tell a
            right answer.
    """

    def enter(judge: Callable[[Any], None]) -> Callable[[Any], None]:
        if kind not in KINDS or skill not in SKILLS or stars not in (1, 2, 3) or minutes < 1:
            raise ValueError(
                f"{label}: kind {kind!r}, skill {skill!r}, {stars} stars or {minutes} minutes: not one of those allowed"
            )
        if label in _REGISTRY:
            raise ValueError(f"{label} has a check already")
        if not judge.__doc__:
            raise ValueError(f"{label}: the docstring is what a right answer is told, and there is none")
        chapter = int(judge.__module__.rpartition("_")[2])
        _REGISTRY[label] = Exercise(label, chapter, kind, stars, minutes, skill, " ".join(judge.__doc__.split()), judge)
        return judge

    return enter


def registry() -> dict[str, Exercise]:
    """All exercises by label, in the order of the chapters."""
    return dict(sorted(_REGISTRY.items(), key=lambda item: item[1].chapter))


def check(label: str, answer: Any) -> Verdict:
    """Whether an answer to an exercise is right; prints one line that says so, or in which direction to look.

    Nothing is raised for a wrong answer, so a notebook goes on. Functions are called on inputs that the check chooses,
    numbers among them as 0-d float64 tensors (``x**0.5``, ``x.sqrt()`` and ``math.sqrt(x)`` all work); torch's random
    state is as before afterwards.

    Args:
        label: of the exercise, ``"ex-forward-roots"``.
        answer: what the exercise asks for: a number, several, a tensor, or a function.

    Returns:
        A verdict that is true where the answer is right, and false otherwise.
    """
    verdict = _judge(label, answer)
    print(verdict.message)
    return verdict


def _judge(label: str, answer: Any) -> Verdict:
    found = _REGISTRY.get(label) if isinstance(label, str) else None
    if found is None:
        near = difflib.get_close_matches(str(label), _REGISTRY, n=3, cutoff=0.6)
        near = near[:1] if difflib.get_close_matches(str(label), near[:1], cutoff=0.9) else near
        instead = f"Did you mean {' or '.join(near)}?" if near else "The label stands in the exercise's last sentence."
        return Verdict(str(label), "unknown", f"There is no exercise {label!r}. {instead}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found.judge(answer)
    except Wrong as wrong:
        return Verdict(label, wrong.reason, f"{label}: not yet. {wrong}")
    except Exception as error:  # a kind of answer that nobody thought of
        told = f"the check does not know what to make of this answer ({type(error).__name__}). Compare it with what the exercise asks for."
        return Verdict(label, "stumbled", f"{label}: not yet; {told}")
    return Verdict(label, "right", f"{label}: right. {found.established}")


# ---------------------------------------------------------------- reading answers


def number(answer: Any, what: str = "the answer") -> float:
    """The answer as a finite float.

    Raises:
        Unfit: if it is not one number.
        Wrong: if it is infinite or nan.
    """
    if callable(answer):
        raise Unfit(f"A number is asked for, and {what} is a function. Call it, and hand in what it returns.")
    try:
        values = _as_tensor(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unfit(f"A number is asked for, and {what} is {_kind_of(answer)}.") from None
    if values.numel() != 1:
        raise Unfit(f"One number is asked for, and {what} has {values.numel()}, in the shape {tuple(values.shape)}.")
    value = values.item()
    if not math.isfinite(value):
        raise Wrong(
            f"{what.capitalize()} is {value}. Somewhere something is divided by 0, or a root of a negative number is taken."
        )
    return value


def numbers(answer: Any, *names: str) -> tuple[float, ...]:
    """Several named numbers, from a sequence in this order or a dict with these keys.

    Raises:
        Unfit: if there are more or fewer, or one of them is not a number.
    """
    asked = f"{len(names)} number{'s are' if len(names) > 1 else ' is'} asked for: {', '.join(names)}"
    return tuple(number(value, name) for name, value in zip(names, _several(answer, names, asked), strict=True))


def tensor(
    answer: Any, shape: Sequence[int | None] | None = None, what: str = "the answer", *, turned: bool = False
) -> Tensor:
    """The answer as a float64 tensor; a None in the shape stands for any size.

    Where one axis is asked for, axes of size 1 beside it do not matter.

    Args:
        answer: what was handed in.
        shape: the shape that is asked for; any without it.
        what: the name of the answer in messages.
        turned: whether a table with rows and columns exchanged is right, too; it is turned back.

    Raises:
        Unfit: if it is not made of numbers, or has another shape.
        Wrong: if a value is infinite or nan.
    """
    if callable(answer):
        raise Unfit(f"A tensor is asked for, and {what} is a function. Call it, and hand in what it returns.")
    try:
        values = _as_tensor(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unfit(f"A tensor is asked for, and {what} is {_kind_of(answer)}.") from None
    if shape is not None and len(shape) == 1 and values.ndim > 1 and values.shape.numel() == max(values.shape):
        values = values.flatten()
    if turned and not _fits(values.shape, shape) and _fits(values.shape[::-1], shape):
        values = values.T
    if not _fits(values.shape, shape):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise Unfit(
            f"{what.capitalize()} has the shape {tuple(values.shape)}; asked for is ({wanted}{',' if len(shape) == 1 else ''})."
        )
    if not bool(values.isfinite().all()):
        raise Wrong(f"{what.capitalize()} has values that are infinite or nan.")
    return values


def tensors(answer: Any, *names: str, shape: Sequence[int | None] | None = None) -> tuple[Tensor, ...]:
    """Several named tensors of one shape, from a sequence in this order, a dict with these keys, or an array.

    An array has them along its first axis; where they have one axis themselves, along its last is right, too.

    Raises:
        Unfit: if there are more or fewer, or one of them is not a tensor of that shape.
    """
    asked = f"{len(names)} tensors are asked for: {', '.join(names)}"
    vectors = shape is not None and len(shape) == 1
    if vectors and getattr(answer, "ndim", 0) == 2 and len(answer) != len(names) == answer.shape[1]:
        answer = answer.T
    if getattr(answer, "ndim", 2) < 2:
        raise Unfit(f"{asked}. The answer is {_kind_of(answer)}.")
    return tuple(tensor(value, shape, name) for value, name in zip(_several(answer, names, asked), names, strict=True))


def function(answer: Any, like: str) -> Callable:
    """The answer as a function whose exceptions become :class:`Raised`, with a message that says that they are its own.

    Args:
        answer: what was handed in.
        like: how it is called, ``"variance(abar_t, abar_s)"``; the names are used in messages.

    Raises:
        Unfit: if it cannot be called with as many arguments.
    """
    names = [name.strip() for name in like.partition("(")[2].rstrip(")").split(",")]
    if not callable(answer):
        raise Unfit(
            f"A function is asked for, {like}, and the answer is {_kind_of(answer)}. Hand in the function itself."
        )
    try:
        inspect.signature(answer).bind(*names)
    except TypeError:
        takes = str(inspect.signature(answer))
        raise Unfit(
            f"Your function takes {takes}; it is called as {like}, with {len(names)} arguments in this order."
        ) from None
    except ValueError:  # a builtin without a signature
        pass

    def call(*args: Any) -> Any:
        try:
            result = answer(*args)
        except Wrong:  # a judge's own function around the reader's has said it
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Raised(
                f"Your function raised {said} when it was called with {describe(names, args)}. The error comes from inside your "
                f"function{_where(answer, error)}; call it yourself with such values to see more."
            ) from None
        if result is None:
            raise Unfit("Your function returned None. Is there a return at its end?")
        return result

    return call


def describe(names: Sequence[str], args: Sequence[Any]) -> str:
    """Arguments for a message: ``t = 500, x of shape (3, 1)``."""
    large = [isinstance(value, Tensor) and value.numel() > 4 for value in args]
    shown = zip(names, args, large, strict=True)
    return ", ".join(
        f"{name} of shape {tuple(value.shape)}" if big else f"{name} = {show(value)}" for name, value, big in shown
    )


def show(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.numel() <= 4:
        flat = [f"{v:.4g}" for v in value.flatten().tolist()]
        return flat[0] if value.numel() == 1 else f"[{', '.join(flat)}]"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} that begins with {value.flatten()[0].item():.4g}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int | str | tuple | list) and len(repr(value)) <= 40:
        return repr(value)
    named = getattr(value, "__name__", None)
    return named if named and named != "<lambda>" else f"a {type(value).__name__}"


def _several(answer: Any, names: Sequence[str], asked: str) -> list:
    """The values that belong to the names, from a dict with these keys or anything that has an order."""
    if isinstance(answer, dict):
        if set(answer) != set(names):
            raise Unfit(f"{asked}. The keys of the dict are {', '.join(map(str, answer)) or 'none'}.")
        return [answer[name] for name in names]
    if isinstance(answer, set | frozenset):
        raise Unfit(f"{asked}, in this order. A set has none: hand in a tuple or a list.")
    if (
        len(names) == 1
        and not callable(answer)
        and (isinstance(answer, Tensor | np.ndarray) or not hasattr(answer, "__len__"))
    ):
        return [answer]
    if getattr(answer, "ndim", 1) > 1 and 1 in answer.shape and math.prod(answer.shape) == len(names):
        # a row or a column of numbers
        answer = answer.reshape(len(names))
    if isinstance(answer, str) or not hasattr(answer, "__len__") or getattr(answer, "ndim", 1) == 0:
        raise Unfit(f"{asked}. The answer is {_kind_of(answer)}.")
    if len(answer) != len(names):
        raise Unfit(f"{asked}. The answer has {len(answer)}.")
    return list(answer)


def _fits(shape: Sequence[int], wanted: Sequence[int | None] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(n in (None, m) for n, m in zip(wanted, shape, strict=True))


def _as_tensor(answer: Any) -> Tensor:
    """Any form of real numbers as a float64 tensor: the one place where answers become numbers.

    Raises:
        TypeError, ValueError, RuntimeError: if it is not made of real numbers, or not of a rectangle of them.
    """
    if isinstance(answer, Tensor):
        if answer.is_complex() or answer.dtype == torch.bool:
            raise TypeError
        return answer.detach().to("cpu", torch.float64)
    if isinstance(answer, np.ndarray | np.generic):
        if answer.dtype.kind in "iuf":
            return torch.from_numpy(np.array(answer, dtype=np.float64))
        if answer.dtype.kind != "O" or answer.ndim == 0:
            raise TypeError
        return _as_tensor(answer.tolist())
    if answer is None or isinstance(answer, str | bytes | bool | dict | set | frozenset | complex):
        raise TypeError
    if isinstance(answer, list | tuple | range | ValuesView):
        if all(type(value) in (int, float) for value in answer) and all(abs(value) < 1e300 for value in answer):
            return torch.tensor(list(answer), dtype=torch.float64)  # long lists in one piece
        parts = [_as_tensor(value) for value in answer]
        return torch.stack(parts) if parts else torch.zeros(0, dtype=torch.float64)
    if hasattr(answer, "tolist") or hasattr(answer, "__array__"):  # other libraries' arrays and matrices
        return _as_tensor(answer.tolist() if hasattr(answer, "tolist") else np.asarray(answer))
    if isinstance(answer, int | Fraction) and abs(answer) > 1e300:
        return torch.tensor(math.inf if answer > 0 else -math.inf, dtype=torch.float64)  # float() would raise
    return torch.tensor(float(answer), dtype=torch.float64)  # whatever has __float__: Decimal and SymPy's numbers, too


def _kind_of(answer: Any) -> str:
    if answer is None:
        return "None"
    if callable(answer):
        return "a function"
    if isinstance(answer, Tensor):
        return f"a tensor of shape {tuple(answer.shape)}"
    name = type(answer).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _where(answer: Callable, error: Exception) -> str:
    """The line of the reader's own code that an exception came through last."""
    code = getattr(answer, "__code__", None)
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if code is not None and f.filename == code.co_filename
    ]
    if not frames:
        return ""
    written = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f" (line {frames[-1].lineno}{f': {written}' if written else ''})"


# ---------------------------------------------------------------- comparing


def close(value: Any, truth: Any, rtol: float) -> bool:
    """Whether two arrays agree, up to ``rtol`` of the largest value of the truth."""
    value, truth = _as_tensor(value), _as_tensor(truth)
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
        if close(value, change(_as_tensor(truth)), rtol):
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
    names = [name.strip() for name in like.partition("(")[2].rstrip(")").split(",")]
    cases = [[torch.tensor(v, dtype=torch.float64) if isinstance(v, float) else v for v in case] for case in cases]
    given, right = [], [_as_tensor(truth(*case)) for case in cases]
    for case, target in zip(cases, right, strict=True):
        what = "what your function returned"
        result = call(*(v.clone() if isinstance(v, Tensor) else v for v in case))  # a function may work in place
        given.append(
            _as_tensor(number(result, what) if target.ndim == 0 else tensor(result, tuple(target.shape), what))
        )

    def all_close(others: Sequence[Tensor]) -> bool:
        return all(close(a, b, rtol) for a, b in zip(given, others, strict=True))

    off = [i for i, (a, b) in enumerate(zip(given, right, strict=True)) if not close(a, b, rtol)]
    if not off:
        return
    said = f"With {describe(names, cases[off[0]])} your function returned {show(given[off[0]])}. "
    for mistake, says in mistakes:
        if all_close([_as_tensor(mistake(*case)) for case in cases]):
            raise Wrong(said + says)
    for change, says in _USUAL:
        if all_close([change(target) for target in right]):
            raise Wrong(said + says)
    if _constant_factor(given, right, rtol):
        raise Wrong(
            said + "It is right up to a factor, which is the same in every case. Where does one come in, or get lost?"
        )
    if {"abar_t", "abar_s"} <= set(names):
        t, s = names.index("abar_t"), names.index("abar_s")
        swapped = [[case[s] if i == t else case[t] if i == s else v for i, v in enumerate(case)] for case in cases]
        if all_close([_as_tensor(truth(*case)) for case in swapped]):
            raise Wrong(
                f"{said}It looks as if s and t were swapped: abar_t belongs to the noisier end and is the smaller one."
            )
    some = (
        ""
        if len(off) == len(cases)
        else f"It is right in {len(cases) - len(off)} of {len(cases)} cases, but not in this one. "
    )
    raise Wrong(f"{said}{some}{look}")


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
