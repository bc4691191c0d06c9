"""Bounds of what determines the shape of a network, so that a file can't ask for one that no machine holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_LEVELS = 8
MOST_CLASSES = 100_000


def check_bounds(config: Any, bounds: Mapping[str, tuple[int, int]]) -> None:
    """A check that fields of a configuration are whole numbers, or lists of them, within bounds.

    Args:
        config: The configuration.
        bounds: By field, the least and the most. A field that is a tuple may have ``MOST_LEVELS`` of them.

    Raises:
        ValueError: In one line, with the field's name and what it may be.
    """
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if isinstance(value, tuple) and len(value) > MOST_LEVELS:
            raise ValueError(f"{name} has {len(value)} numbers: give at most {MOST_LEVELS}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int):
                raise ValueError(f"{name} = {_short(value)}: give a whole number")
            if number < least:
                raise ValueError(f"{name} = {_short(value)}: give at least {least}")
            if number > most:
                raise ValueError(f"{name} = {_short(value)}: give at most {most:,}")


def check_share(config: Any, name: str) -> None:
    """A check that a field is a number in [0, 1).

    Raises:
        ValueError: If it is not.
    """
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} = {_short(value)}: give a probability in [0, 1)")


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    if isinstance(value, tuple) and any(isinstance(one, int) and abs(one) >= 10**30 for one in value):
        return "numbers of more than 30 digits"
    return f"{value!r}"[:100]
