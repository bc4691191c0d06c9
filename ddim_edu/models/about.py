"""What a checkpoint says of its model beside the weights, and checks of it: the file may be anybody's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Student:
    """What a model is that makes several steps of a teacher in one (chapter 20): it is no noise predictor at any level.

    Attributes:
        taught: How: progressive or consistency.
        steps: The sampling steps it was taught to take, with the spacing trailing; of a consistency model 1, and more
            with the solver consistency.
        teacher: The name of the model that it was taught by.
    """

    taught: str
    steps: int
    teacher: str

    def __str__(self) -> str:
        return f"a student of {self.teacher} for {self.steps} step{'s' if self.steps > 1 else ''}"


def plain_recipe(recipe: Any) -> dict[str, Any]:
    """The recipe in a file, if what is used of it is what it should be; the rest is only shown.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(recipe, dict):
        raise ValueError("its recipe is none")
    for name in ("data", "autoencoder", "crop"):
        if not isinstance(recipe.get(name), str | None):
            raise ValueError(f"its recipe has {name} = {str(recipe[name])[:50]}, which is no text")
    for name in ("max_bad", "label_dropout"):
        if isinstance(recipe.get(name, 0.0), bool) or not isinstance(recipe.get(name, 0.0), int | float):
            raise ValueError(f"its recipe has {name} = {str(recipe[name])[:50]!r}, which is no number")
    return dict(recipe)


def whole_step(step: Any) -> int:
    """The number of training steps in a file.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**63:
        raise ValueError(f"its step is {str(step)[:50]!r}")
    return step


def student_of(found: Any, T: int) -> Student | None:
    """What a file says of a student; None if nothing.

    Args:
        found: The fields of :class:`Student`.
        T: The number of levels.

    Raises:
        ValueError: If it is no student.
    """
    if found is None:
        return None
    made = Student(**found)
    if isinstance(made.steps, bool) or not isinstance(made.steps, int) or not 1 <= made.steps <= T:
        raise ValueError(f"it is a student of {str(made.steps)[:50]!r} steps")
    if made.taught not in ("progressive", "consistency") or not isinstance(made.teacher, str):
        raise ValueError(f"it is a student taught by {str(made.taught)[:50]!r}")
    return made


def class_names_of(found: Any, classes: int) -> tuple[str, ...]:
    """Class names as a file gives them.

    Raises:
        ValueError: If there is not one for each of the network's classes; none at all will do.
    """
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise ValueError("its class names are no list of names")
    if found and len(found) != classes:
        raise ValueError(f"it names {len(found)} classes, and its network has {classes}")
    return tuple(found)
