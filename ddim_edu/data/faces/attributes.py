"""What is in a drawn face: a function of its number, without drawing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from ddim_edu.data.faces.styles import COLOURS, STYLES

# The columns of every table of attributes.
ATTRIBUTES = (
    "style", "background", "skin", "hair", "hair colour", "long hair", "expression", "eyes", "brows", "nose", "mouth",
    "beard", "glasses", "earrings", "clothes", "clothes colour",
)  # fmt: skip


@cache
def values(style: str, attribute: str) -> tuple[str, ...]:
    """Names of what an attribute can be in a style: value ``i`` of a table is entry ``i``; empty if the style does not
    have it.

    Args:
        style: A key of ``STYLES``.
        attribute: One of ``ATTRIBUTES``.
    """
    if attribute not in ATTRIBUTES:
        raise ValueError(f"faces have no attribute {attribute!r}; known: {', '.join(ATTRIBUTES)}")
    if style not in STYLES:
        raise ValueError(f"there is no style {style!r}; known: {', '.join(STYLES)}")
    if attribute == "style":
        return tuple(STYLES)
    if attribute in COLOURS:
        return tuple(COLOURS[attribute])
    part = STYLES[style].parts.get(attribute)
    if part is None:
        return ()
    return part.variants if part.probability == 1 else ("none", *part.variants)


def attributes(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """What is in the faces of these numbers, without drawing them.

    Args:
        numbers: ``(N,)`` whole numbers, at least 0.

    Returns:
        ``(N, A)`` int16, a column for each of ``ATTRIBUTES``: which of :func:`values` it is, and -1 where the style has
        none.
    """
    numbers = np.asarray(numbers, dtype=np.int64).reshape(-1)
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"faces have the numbers 0, 1, ..., and not {numbers.min()}")
    table = np.full((len(numbers), len(ATTRIBUTES)), -1, np.int16)
    table[:, 0] = numbers % len(STYLES)
    for label, (name, style) in enumerate(STYLES.items()):
        rows = np.flatnonzero(table[:, 0] == label)
        for column, attribute in enumerate(ATTRIBUTES[1:], start=1):
            count = len(values(name, attribute))
            u = _uniform(numbers[rows], column)
            if attribute == "hair colour":  # its first value, none, comes from what is drawn beside it
                table[rows, column] = 1 + np.floor(u * (count - 1))
            elif (part := style.parts.get(attribute)) is not None and part.probability < 1:
                p = part.probability
                table[rows, column] = np.where(u < p, 1 + np.floor(u / p * (count - 1)), 0)
            elif count:
                table[rows, column] = np.floor(u * count)
        table[rows] = _plain(name, table[rows])
    return table


def _uniform(numbers: np.ndarray, column: int) -> np.ndarray:
    """Numbers in [0, 1) by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), entry ``64 n + column`` of its sequence
    from 0.
    """
    z = (numbers.astype(np.uint64) * np.uint64(64) + np.uint64(column + 1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _plain(name: str, table: np.ndarray) -> np.ndarray:
    """Hair colours as they are seen: those that no hair and no beard shows become ``none``; black ink is black."""
    style, table = STYLES[name], table.copy()
    hair, colour, beard = (ATTRIBUTES.index(a) for a in ("hair", "hair colour", "beard"))
    names = values(name, "hair")
    bare = np.isin(table[:, hair], [names.index(v) for v in style.bare])
    if style.beard_coloured:
        bare &= table[:, beard] == 0
    table[bare, colour] = 0
    table[np.isin(table[:, hair], [names.index(v) for v in style.black]), colour] = values(name, "hair colour").index(
        "black"
    )
    return table


def described(row: np.ndarray) -> dict[str, str]:
    """A row of :func:`attributes` in words: attribute to value, without those that the style does not have."""
    style = tuple(STYLES)[row[0]]
    return {a: values(style, a)[i] for a, i in zip(ATTRIBUTES, row, strict=True) if i >= 0}


def encoded(words: Mapping[str, str]) -> np.ndarray:
    """The row, ``(A,)`` int16, of what :func:`described` says.

    Raises:
        ValueError: If an attribute is missing or unknown, has no such value, or the hair can't have its colour.
    """
    row = _row(words)
    style, colour = words["style"], ATTRIBUTES.index("hair colour")
    probe = row.copy()
    probe[colour] = max(1, row[colour])
    plain = _plain(style, probe[None])[0]
    if row[colour] == 0 and plain[colour] != 0:
        raise ValueError(f"a face of the style {style} with hair = {words['hair']!r} shows a hair colour: give one")
    if plain[colour] != row[colour]:
        is_so = values(style, "hair colour")[plain[colour]]
        raise ValueError(
            f"hair = {words['hair']!r} of the style {style} has the hair colour {is_so!r}, not {words['hair colour']!r}"
        )
    return row


def _row(words: Mapping[str, str]) -> np.ndarray:
    style = words.get("style", "")
    row = np.full(len(ATTRIBUTES), -1, np.int16)
    for attribute, value in words.items():
        known = values(style, attribute)
        if not known:
            raise ValueError(f"faces of the style {style} have no {attribute!r}")
        if value not in known:
            raise ValueError(f"{attribute} = {value!r}: faces of the style {style} have {', '.join(known)}")
        row[ATTRIBUTES.index(attribute)] = known.index(value)
    missing = [a for a in ATTRIBUTES if a not in words and values(style, a)]
    if missing:
        raise ValueError(f"a face of the style {style} needs {', '.join(missing)}")
    return row


def edited(row: np.ndarray, changes: Mapping[str, str]) -> np.ndarray:
    """A face with some attributes changed and all others kept.

    Args:
        row: ``(A,)``, of :func:`attributes`.
        changes: Attribute to new value. Where hair goes its colour goes too; where it comes, its colour is to be given
            as well.

    Returns:
        ``(A,)`` int16.

    Raises:
        ValueError: If the style has no such attribute or value, a style is to be changed, or the hair can't have its
            colour.
    """
    words = described(row)
    if changes.get("style", words["style"]) != words["style"]:
        raise ValueError("an edit keeps the style: other styles have other parts")
    words |= changes
    new = _row(words)
    if "hair colour" not in changes:
        new = _plain(words["style"], new[None])[0]
    return encoded(described(new))
