"""How answers are read: any form of numbers, tensors and functions, and what is said of those that do not fit.

What a reader hands in never raises anything but :class:`Wrong`: :func:`number`, :func:`numbers`, :func:`tensor`,
:func:`tensors` and :func:`function` say what is amiss. What is right does not become wrong by its form: Python's
numbers, fractions, decimals, those of NumPy, PyTorch and SymPy, of any precision, alone or in lists, tuples and arrays,
all become float64 tensors in one place, :func:`as_tensor`.
"""

from __future__ import annotations

import inspect
import linecache
import math
import traceback
from collections.abc import Callable, Sequence, ValuesView
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Wrong(Exception):
    """An answer that is not right; the message says in which direction to look."""

    reason = "wrong"


class Unfit(Wrong):
    """An answer of the wrong type or shape."""

    reason = "unfit"


class Raised(Wrong):
    """An answer that is a function and raised an exception of its own."""

    reason = "raised"


def number(answer: Any, what: str = "the answer") -> float:
    """The answer as a finite float.

    Raises:
        Unfit: if it is not one number.
        Wrong: if it is infinite or nan.
    """
    if callable(answer):
        raise Unfit(f"A number is asked for, and {what} is a function. Call it, and hand in what it returns.")
    try:
        values = as_tensor(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unfit(f"A number is asked for, and {what} is {_kind_of(answer)}.") from None
    if values.numel() != 1:
        raise Unfit(f"One number is asked for, and {what} has {values.numel()}, in the shape {tuple(values.shape)}.")
    value = values.item()
    if not math.isfinite(value):
        raise Wrong(
            f"{what.capitalize()} is {value}. Somewhere something is divided by 0, or a root of a negative number "
            "is taken."
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
        values = as_tensor(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unfit(f"A tensor is asked for, and {what} is {_kind_of(answer)}.") from None
    if shape is not None and len(shape) == 1 and values.ndim > 1 and values.shape.numel() == max(values.shape):
        values = values.flatten()
    if turned and not _fits(values.shape, shape) and _fits(values.shape[::-1], shape):
        values = values.T
    if not _fits(values.shape, shape):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise Unfit(
            f"{what.capitalize()} has the shape {tuple(values.shape)}; asked for is "
            f"({wanted}{',' if len(shape) == 1 else ''})."
        )
    if not bool(values.isfinite().all()):
        raise Wrong(f"{what.capitalize()} has values that are infinite or nan. Is a root of a negative number taken?")
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


def argument_names(like: str) -> list[str]:
    """The names of the arguments in ``"variance(abar_t, abar_s)"``."""
    return [name.strip() for name in like.partition("(")[2].rstrip(")").split(",")]


def function(answer: Any, like: str) -> Callable:
    """The answer as a function whose exceptions become :class:`Raised`, with a message that says that they are its own.

    Args:
        answer: what was handed in.
        like: how it is called, ``"variance(abar_t, abar_s)"``; the names are used in messages.

    Raises:
        Unfit: if it cannot be called with as many arguments.
    """
    names = argument_names(like)
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
                f"Your function raised {said} when it was called with {describe(names, args)}. The error comes "
                "from inside your "
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


def as_tensor(answer: Any) -> Tensor:
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
        return as_tensor(answer.tolist())
    if answer is None or isinstance(answer, str | bytes | bool | dict | set | frozenset | complex):
        raise TypeError
    if isinstance(answer, list | tuple | range | ValuesView):
        if all(type(value) in (int, float) for value in answer) and all(abs(value) < 1e300 for value in answer):
            return torch.tensor(list(answer), dtype=torch.float64)  # long lists in one piece
        parts = [as_tensor(value) for value in answer]
        return torch.stack(parts) if parts else torch.zeros(0, dtype=torch.float64)
    if hasattr(answer, "tolist") or hasattr(answer, "__array__"):  # other libraries' arrays and matrices
        return as_tensor(answer.tolist() if hasattr(answer, "tolist") else np.asarray(answer))
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
