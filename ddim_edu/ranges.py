"""Dataclasses of options that refuse what is out of range, whoever builds them: a command line, a file or a line of
Python; and the known word that an unknown one was meant for.

A range stands where the type stands, and nowhere else::

    @dataclass(frozen=True)
    class Options(Checked):
        steps: Positive = 20
        label_dropout: Share = 0.0
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints


class Range:
    """What a number has to be: at least ``least``, at most ``most``, and finite.

    Args:
        least: the smallest number allowed.
        most: the largest; None for no limit.
        above: whether ``least`` itself is not allowed.
        below: whether ``most`` itself is not allowed.
    """

    def __init__(self, least: float, most: float | None = None, *, above: bool = False, below: bool = False) -> None:
        self.least, self.most, self.above, self.below = least, most, above, below

    def __contains__(self, value: float) -> bool:
        if isinstance(value, int) and abs(value) >= 2**63:  # no float, and no integer of torch's, holds such a number
            return False
        enough = value > self.least if self.above else value >= self.least  # False for nan
        if self.most is None:
            return enough and math.isfinite(value)
        return enough and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        """The rest of a sentence that begins with "give": ``at least 1``."""
        if self.most is not None:
            most = f"{self.most:,}" if isinstance(self.most, int) else f"{self.most:g}"
            to = " to below" if self.below else " up to" if self.above else " to"
            return f"a number {'above' if self.above else 'from'} {self.least:g}{to} {most}"
        return f"a number above {self.least:g}" if self.above else f"at least {self.least:g}"


Positive = Annotated[int, Range(1)]
NotNegative = Annotated[int, Range(0)]
AboveZero = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]


Eta = Annotated[float, Range(0)] | Literal["hat"]
"""0 is DDIM (deterministic), 1 is DDPM, ``"hat"`` is DDPM with its larger noise."""
Clip = Annotated[float, Range(0, above=True)] | Literal["off"]
"""The bound of the predicted data at every step, or none."""


class Checked:
    """A dataclass that checks, when it is built, every field whose type names a :class:`Range`.

    A field may be optional, a choice of types, or a tuple; the range holds for the numbers in it. What depends on two
    fields belongs into :meth:`check`.

    Raises:
        ValueError: In one line, with the field's name and what it may be.
    """

    remedies: ClassVar[dict[str, str]] = {}
    """What to say after a range, by field, such as ``{"clip": "or off"}``."""

    def __post_init__(self) -> None:
        for name, (ranges, words) in _ranges(type(self)).items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple | list) else (value,):
                if isinstance(number, str | None) and number not in words:  # of a file: a command line has its types
                    raise ValueError(f"{name} = {number!r}: give {ranges[0]}")
                if isinstance(number, bool) or not isinstance(number, int | float):
                    continue
                if not any(number in one for one in ranges):
                    also = f", {self.remedies[name]}" if name in self.remedies else ""
                    also = ", and less than 2**63" if number >= 2**63 else also
                    raise ValueError(f"{name} = {_shown(number)}: give {ranges[0]}{also}")
        self.check()

    def check(self) -> None:
        """What depends on more than one field; ranges have been checked.

        Raises:
            ValueError: In one line.
        """


def _shown(number: float) -> str:
    if isinstance(number, float):
        return f"{number:g}"
    return str(number) if abs(number) < 10**30 else "a number of more than 30 digits"


@cache
def _ranges(options: type) -> dict[str, tuple[list[Range], list[str | None]]]:
    """The fields whose types name ranges: these, and the words, or None, that may stand there instead."""
    hints = get_type_hints(options, include_extras=True)
    found = {name: list(_within(hint)) for name, hint in hints.items()}
    return {
        name: ([one for one in parts if isinstance(one, Range)], [one for one in parts if not isinstance(one, Range)])
        for name, parts in found.items()
        if any(isinstance(one, Range) for one in parts)
    }


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; a list may stand for a tuple, and a whole number for another."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return fits(value, inner[0])
    if kind in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is tuple:
        return isinstance(value, tuple | list) and all(fits(one, inner[0]) for one in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _within(hint: Any) -> Iterator[Any]:
    """The ranges in a type, the words of its choices, and None where it is optional."""
    if get_origin(hint) is Annotated:
        yield from (one for one in hint.__metadata__ if isinstance(one, Range))
        yield from _within(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType, tuple, list):
        for inner in get_args(hint):
            yield from _within(inner)
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    elif hint is type(None):
        yield None


def closest(word: str, known: Iterable[str]) -> str:
    """``; did you mean x?`` with the nearest of the known words, or nothing if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
