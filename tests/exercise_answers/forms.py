"""Forms of an answer: numbers, tables and functions as readers may have them, and what several tables share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import sympy
import torch
from torch import Tensor


def numbers(*values: float, names: tuple[str, ...] = ()) -> list:
    """Numbers in all forms that a reader may have them in."""
    exact, forms = [Fraction(v) for v in values], []
    forms += [tuple(map(float, values)), [torch.tensor(v, dtype=torch.float64) for v in values], tuple(exact)]
    forms += [
        tuple(Decimal(str(float(v))) for v in values),
        tuple(sympy.Float(float(v)) for v in values),
        tuple(map(np.float32, values)),
    ]
    values = tuple(map(float, values))
    forms += [np.array(values, dtype=np.float32), np.array(values), torch.tensor(values), np.array(exact, dtype=object)]
    forms += [torch.tensor(values, dtype=torch.float64, requires_grad=True)]
    if len(values) > 1:
        forms += [np.array(values)[:, None], torch.tensor(values)[None], sympy.Matrix(values), [[v] for v in values]]
    else:
        forms += [value for (value,) in forms[:6]] + [
            sympy.Rational(exact[0].numerator, exact[0].denominator),
            np.array(values[0]),
            torch.tensor(values[0]),
        ]
    if all(float(v).is_integer() for v in values):
        whole = [int(v) for v in values]
        forms += [np.array(whole), torch.tensor(whole), whole if len(values) > 1 else whole[0]]
    return forms + ([dict(zip(names, values))] if names else [])


def tables(rows: list) -> list:
    """A table in all forms."""
    exact = [[Fraction(v) for v in row] for row in rows]
    forms = [
        rows,
        [tuple(row) for row in rows],
        np.array(rows),
        np.array(rows, dtype=np.float32),
        torch.tensor(rows),
        exact,
    ]
    return [
        *forms,
        [torch.tensor(row) for row in rows],
        np.array(exact, dtype=object),
        sympy.Matrix(exact),
        np.array(rows).T,
    ]


def convert(value, kind: Callable):
    if isinstance(value, Tensor) and value.is_floating_point():
        return kind(value)
    return value


def taking(kind: Callable, f: Callable) -> Callable:
    """The function with its arguments converted first."""
    return lambda *args: f(*(convert(value, kind) for value in args))


def giving(kind: Callable, f: Callable) -> Callable:
    """The function with its result converted."""
    return lambda *args: kind(f(*args))


def scalar_functions(f: Callable, *others: Callable, rational: bool = False) -> list:
    """A formula made of operators, in all forms of its arguments and results, and other ways to write it."""
    forms = [
        f,
        taking(float, f),
        taking(lambda v: v.float(), f),
        taking(lambda v: v.numpy(), f),
        taking(lambda v: np.float32(v), f),
    ]
    forms += [
        giving(lambda v: [float(v)], f),
        giving(lambda v: np.array([float(v)]), f),
        giving(lambda v: Fraction(float(v)), f),
    ]
    forms += [
        giving(lambda v: Decimal(float(v)), f),
        giving(lambda v: torch.tensor(float(v)), f),
        taking(lambda v: sympy.Float(float(v)), f),
    ]
    forms += [functools.partial(f)] + ([taking(lambda v: Fraction(float(v)), f)] if rational else [])
    return forms + list(others)


def array_functions(f: Callable, *others: Callable) -> list:
    """A function of tensors, with results of all forms."""
    forms = [
        f,
        taking(lambda v: v.float(), f),
        giving(lambda v: torch.as_tensor(v).tolist(), f),
        giving(lambda v: torch.as_tensor(v).numpy(), f),
    ]
    forms += [
        giving(lambda v: torch.as_tensor(v).float().numpy(), f),
        giving(lambda v: torch.as_tensor(v).requires_grad_(), f),
    ]
    return forms + list(others)
