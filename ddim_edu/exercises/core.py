"""The registry of exercises, and the verdict on an answer.

A judge is a function that takes the answer and raises :class:`~ddim_edu.exercises.reading.Wrong` if it is not right.
:mod:`ddim_edu.exercises.reading` makes numbers of what a reader hands in; :mod:`ddim_edu.exercises.comparing` holds
them against the truth.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ddim_edu.exercises.reading import Wrong

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
        judge: takes the answer, and raises :class:`~ddim_edu.exercises.reading.Wrong` if it is not right.
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
    numbers among them as 0-d float64 tensors (``x**0.5``, ``x.sqrt()`` and ``math.sqrt(x)`` all work), whole ones as
    integers; torch's random state is as before afterwards.

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
        told = (
            f"the check does not know what to make of this answer ({type(error).__name__}). Compare it with "
            "what the exercise asks for."
        )
        return Verdict(label, "stumbled", f"{label}: not yet; {told}")
    return Verdict(label, "right", f"{label}: right. {found.established}")
