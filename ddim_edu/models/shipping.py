"""Models that come with the package: put among them, and how they were trained."""

from __future__ import annotations

import csv
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ddim_edu.files import first_line, replacing
from ddim_edu.models.checkpoint import NAME, UNET, find, load, save
from ddim_edu.models.weights import CheckpointError


def ship(run: Path | str, name: str | None = None) -> Path:
    """Put a trained model among those that come with the package, so that ``load(name)`` finds it: its averaged weights
    in float16, and its training log beside them. (Float16 rounds a weight by 0.05% at most: less than the last steps of
    training moved it.)

    Args:
        run: The run folder.
        name: What to call it; by default as the folder.

    Returns:
        The file of the weights.
    """
    run = Path(run)
    made = load(run / NAME)
    path = UNET.place(name or run.name)
    about: dict[str, Any] = {"prediction": made.prediction, "recipe": made.recipe, "step": made.step}
    # A hash says which data it was; where that lay on the machine that trained is nobody's business.
    places = {name: {"sha256": place["sha256"]} for name, place in made.places.items() if "sha256" in place}
    about |= {"classes": made.classes, "places": places, "student": made.student and asdict(made.student)}
    save(path, made.network.state_dict(), made.config, made.schedule, **about, dtype=torch.float16)
    with replacing(path.with_suffix(".csv")) as temporary:
        shutil.copyfile(run / "log.csv", temporary)
    return path


def training_log(name: str) -> dict[str, list[float]]:
    """The training log of a shipped model: a list for each column of ``log.csv``, with nan where a line holds nothing.

    Raises:
        CheckpointError: If there is no such model, or it came without a log.
    """
    path = find(name).with_suffix(".csv")
    if not path.is_file():
        raise CheckpointError(f"{name} came without a training log")
    with open(path, newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {column: [float(row[column] or "nan") for row in rows] for column in rows[0]}
    except (IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no training log ({first_line(error)})") from None
