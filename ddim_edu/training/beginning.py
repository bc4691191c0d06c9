"""The weights that a run begins with, where they are another model's: fine-tuning, and students (teaching.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddim_edu.files import sha256_of
from ddim_edu.models import Checkpoint, load
from ddim_edu.models.checkpoint import UNET
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.strangers import place_of
from ddim_edu.training.recipes import Recipe


def lies_at(model: Checkpoint, near: Path) -> dict[str, str]:
    """What a run's files say of a model that they name, see :mod:`ddim_edu.strangers`; a shipped one has a hash alone.

    Args:
        model: The model.
        near: The run folder.
    """
    return {"sha256": sha256_of(model.path)} if model.path.parent == UNET.folder else place_of(model.path, near)


def check_alike(recipe: Recipe, model: Checkpoint, name: str, run: str, *, classes: bool) -> None:
    """A check that a run can begin with the weights of a model.

    Args:
        recipe: The run's.
        model: The model.
        name: What a message calls it, such as ``"teacher digits-v"``.
        run: What it calls the run, such as ``"the student"``.
        classes: Whether the labels have to be the same.

    Raises:
        ValueError: In one line, if network, noise schedule or prediction are not the same.
    """
    if model.prediction != recipe.prediction:
        raise ValueError(f"{name} predicts {model.prediction}, and {run} {recipe.prediction}: they have to be the same")
    wanted, found = (replace(config, dropout=0.0) for config in (recipe.unet, model.config))
    for field in vars(wanted):
        ours, theirs = getattr(wanted, field), getattr(found, field)
        if ours != theirs and (classes or field != "classes"):
            raise ValueError(f"{name} has unet.{field} = {theirs}, and {run} {ours}: {run} begins with its weights")
    own = recipe.noise_schedule()
    if own.T != model.schedule.T or not torch.allclose(own.beta, model.schedule.beta, rtol=1e-6, atol=0):
        raise ValueError(f"{name} was trained with another noise schedule than {recipe.schedule}, T = {recipe.T}")
    theirs = model.recipe.get("autoencoder")
    if not _same_autoencoder(recipe.autoencoder, theirs, model.places.get("autoencoder")):
        raise ValueError(f"{name} was trained with autoencoder = {theirs}, and {run} with {recipe.autoencoder}")


def _same_autoencoder(ours: str | None, theirs: str | None, place: Any) -> bool:
    """Whether two autoencoders are one: by content, where the model's file says it, or else by name."""
    said = place.get("sha256") if isinstance(place, dict) else None
    if ours is None or theirs is None or said is None:
        return ours == theirs
    return sha256_of(AUTOENCODER.find(ours)) == said


def model_before(recipe: Recipe) -> Checkpoint | None:
    """The model that ``recipe.init_from`` names; None if it names none.

    Raises:
        ValueError: In one line, if there is no such model, or its weights don't fit the run.
    """
    if recipe.init_from is None:
        return None
    name = f"init_from {recipe.init_from}"
    found = load(recipe.init_from)
    if found.student is not None:
        raise ValueError(f"{name} is {found.student}, and no noise predictor at most levels: begin with its teacher")
    check_alike(recipe, found, name, "the run", classes=False)
    return found


def take_weights(model: Checkpoint, classes: int, *networks: nn.Module) -> None:
    """Give networks with so many classes the weights of a model from :func:`model_before`."""
    for network in networks:
        network.load_state_dict(relabelled(model.network.state_dict(), classes))


def relabelled(weights: dict[str, Tensor], classes: int) -> dict[str, Any]:
    """The weights of a :class:`~ddim_edu.nets.unet.UNet` with another number of classes.

    With the same number they are as they are. Otherwise all new classes begin as *any class*; a network that loses its
    labels gets what they added for it into the bias before.

    Args:
        weights: Those of the network, by name.
        classes: The number of classes to have; 0 for a network without labels.
    """
    weights, table, bias = dict(weights), "label_embedding.weight", "time_mlp.2.bias"
    rows = weights.pop(table, torch.zeros_like(weights[bias])[None])
    if not classes:
        return weights | {bias: weights[bias] + rows[-1]}
    return weights | {table: rows if len(rows) == classes + 1 else rows[-1:].repeat(classes + 1, 1)}
