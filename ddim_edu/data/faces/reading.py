"""What a network says is in drawn faces, and what is: the answers have the form of a table of attributes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ddim_edu.data.faces.attributes import ATTRIBUTES, attributes, values
from ddim_edu.data.faces.styles import STYLES


@cache
def places() -> tuple[tuple[str, str, slice], ...]:
    """Where the logit of each value of each attribute stands: first those of the styles, then all attributes of each
    style in turn.

    Returns:
        ``(style, attribute, places)``; the first is ``("", "style", ...)``.
    """
    found, at = [("", "style", slice(0, len(STYLES)))], len(STYLES)
    for style in STYLES:
        for attribute in ATTRIBUTES[1:]:
            if count := len(values(style, attribute)):
                found.append((style, attribute, slice(at, at + count)))
                at += count
    return tuple(found)


def read(logits: Tensor) -> Tensor:
    """The likeliest style of each face, and the likeliest value of each attribute that the style has.

    Args:
        logits: ``(N, L)``, at :func:`places`.

    Returns:
        ``(N, A)`` int64, a column for each of ``ATTRIBUTES``, -1 where the style has none.
    """
    (_, _, first), *others = places()
    table = torch.full((len(logits), len(ATTRIBUTES)), -1)
    table[:, 0] = logits[:, first].argmax(1)
    for style, attribute, place in others:
        rows = table[:, 0] == list(STYLES).index(style)
        table[rows, ATTRIBUTES.index(attribute)] = logits[rows, place].argmax(1)
    return table


def truth(first: int, which: Tensor) -> Tensor:
    """What is in the faces of the numbers ``first + which``: ``(N, A)`` int64, as :func:`read` gives it."""
    return torch.from_numpy(attributes(first + which.numpy())).long()
