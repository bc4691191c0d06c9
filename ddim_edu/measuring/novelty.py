"""Is what a model draws new? For pictures of which every attribute is known or read, the question has an answer."""

from __future__ import annotations

import torch
from torch import Tensor


def fewest_changes(rows: Tensor, known: Tensor) -> Tensor:
    """In how many attributes each row differs from the row of ``known`` that is most like it.

    0 says that the very same combination is known: of a training set, that a picture repeats one of it. Rows are
    compared with those of the same style only, whose attributes are the same ones.

    Args:
        rows: ``(N, A)`` integers, the style first, as :func:`ddim_edu.data.faces.reading.read` gives them.
        known: ``(M, A)``.

    Returns:
        ``(N,)`` int64; ``A`` where no known row has the style.

    Raises:
        ValueError: If the tables are not of the same width.
    """
    if rows.ndim != 2 or known.ndim != 2 or rows.shape[1] != known.shape[1]:
        raise ValueError(f"tables of shapes {tuple(rows.shape)} and {tuple(known.shape)}: give two of the same width")
    found = torch.full((len(rows),), rows.shape[1])
    for style in rows[:, 0].unique():
        own, others = rows[:, 0] == style, known[known[:, 0] == style]
        if len(others):
            parts = rows[own].split(64)
            found[own] = torch.cat([(part[:, None] != others).sum(2).amin(1) for part in parts])
    return found


def total_variation(values: Tensor, reference: Tensor, n: int) -> float:
    """Half the sum of the differences between how often each of the values 0 to n - 1 comes in two sets: 0 where they
    come equally often, 1 where the sets have none in common.

    Args:
        values: ``(N,)`` integers in ``[0, n)``.
        reference: ``(M,)``, likewise.
        n: How many values there are.

    Raises:
        ValueError: If a set is empty.
    """
    if not len(values) or not len(reference):
        raise ValueError("a set without values has no frequencies")
    shares = (torch.bincount(v, minlength=n).double() / len(v) for v in (values, reference))
    return (next(shares) - next(shares)).abs().sum().item() / 2
