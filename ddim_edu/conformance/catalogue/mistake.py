"""A mistake of the catalogue, and the tables in which mistakes are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ddim_edu.conformance.reference import FAMILIES

STEP, SIGMA, LOOP, GRID = ("step", "sampler"), ("sigma", "step", "sampler"), ("sampler",), ("tau", "sampler")
INVERT, SCHEDULE = ("invert",), ("schedule",)


@dataclass(frozen=True)
class Mistake:
    """One known mistake.

    Attributes:
        id: its name, as ``--json`` writes it.
        kinds: the kinds of functions in which it is looked for.
        change: which line of the right formulas it replaces, by what.
        yours: the wrong formula, in this project's notation.
        right: what stands there instead.
        where: the equation.
        picture: what it does to a picture.
        verdict: ``"wrong"``, or ``"convention"`` for an honest difference.
        families: of a mistake in a schedule: in which it can happen.
    """

    id: str
    kinds: tuple[str, ...]
    change: Mapping[str, Callable] = field(repr=False)
    yours: str
    right: str
    where: str
    picture: str
    verdict: str = "wrong"
    families: tuple[str, ...] = FAMILIES

    @property
    def line(self) -> str:
        """Yours, what it should be, and where that stands."""
        verb = "It is a convention" if self.verdict == "convention" else "It should be"
        return f"Yours: {self.yours}. {verb}: {self.right} ({self.where})."

    @property
    def sentence(self) -> str:
        """The same, and what the picture shows."""
        return f"{self.line} {self.picture}"


def row(
    id: str,
    yours: str,
    picture: str,
    *,
    kinds: tuple[str, ...] = (),
    right: str = "",
    where: str = "",
    verdict: str = "wrong",
    families: tuple[str, ...] = FAMILIES,
    **change: Callable,
) -> Mistake:
    """A row of a :func:`table`: what is left out is the table's. ``change`` are the lines that the mistake replaces."""
    return Mistake(id, kinds, change, yours, right, where, picture, verdict, families)


def table(kinds: tuple[str, ...], right: str, where: str, *rows: Mistake) -> tuple[Mistake, ...]:
    """Mistakes in one line of the formulas, which share what should stand there and where that is written."""
    return tuple(replace(m, kinds=m.kinds or kinds, right=m.right or right, where=m.where or where) for m in rows)
