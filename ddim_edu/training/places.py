"""Where the data and the autoencoder of a run lie: written into its files, found again on resuming, and what else a run
folder says that is looked at before anything is built after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ddim_edu.data.named import DOWNLOADS, SOURCES
from ddim_edu.data.source import default_data_dir
from ddim_edu.files import sha256_of
from ddim_edu.models import checkpoint
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.strangers import find, fingerprint, place_of
from ddim_edu.training.recipes import Recipe
from ddim_edu.training.run_folder import CONFIG, RunFolder


def places_of(recipe: Recipe, near: Path | str, data: bool = True) -> dict[str, Any]:
    """Where what a recipe names lies, and its hash: what a run's files say of it, see :mod:`ddim_edu.strangers`.

    Args:
        recipe: The recipe, whose data have been read.
        near: The run folder.
        data: Whether the data were read from where the recipe says.
    """
    places: dict[str, Any] = {}
    path = Path(recipe.data).expanduser()
    if data and recipe.data not in SOURCES and path.exists():
        places["data"] = place_of(path, near)
    if recipe.autoencoder is not None:
        path = AUTOENCODER.find(recipe.autoencoder)
        shipped = recipe.autoencoder in AUTOENCODER.shipped()
        places["autoencoder"] = {"sha256": sha256_of(path)} if shipped else place_of(path, near)
    return places


def located(recipe: Recipe, file: Path, places: Any, given: Collection[str]) -> Recipe:
    """A run's recipe with the places where its data and its autoencoder lie now.

    Args:
        recipe: The recipe.
        file: The file that says it.
        places: What the file says as their places, from :func:`places_of`.
        given: Which of ``data`` and ``autoencoder`` are not the file's word, but the command line's.

    Raises:
        ValueError: In one line, if one may not be followed, or is not what the run was trained with.
    """
    places = places if isinstance(places, dict) else {}
    found = {}
    for name, known in (("data", SOURCES), ("autoencoder", AUTOENCODER.shipped())):
        said, place = getattr(recipe, name), places.get(name)
        if said is None:
            continue
        if name not in given:
            said = find(said, known, file, place, f"name it with --{name}")
        path = Path(said).expanduser()
        if name == "autoencoder":
            path = AUTOENCODER.find(said)
        wanted = place.get("sha256") if isinstance(place, dict) else None
        if wanted is not None and said not in SOURCES and path.exists() and fingerprint(path) != wanted:
            raise ValueError(f"{said} is not the {name} that the run was trained with: its content is another")
        found[name] = said
    return replace(recipe, **found)


def moves(old: Recipe, new: Recipe) -> dict[str, str]:
    """Which of data and autoencoder a changed recipe names elsewhere: ``{"data": "other/place"}``. What comes with the
    package has no place, and to change it is no move."""
    known = {"data": SOURCES, "autoencoder": AUTOENCODER.shipped()}
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in known}
    return {
        name: there
        for name, (here, there) in pairs.items()
        if here != there and None not in (here, there) and not {here, there} & {*known[name]}
    }


def to_go_on(run: RunFolder, recipe: Recipe | None, given: Collection[str]) -> tuple[Recipe, Recipe, dict[str, Any]]:
    """What a run goes on with, before anything is built or loaded.

    Args:
        run: The run's folder.
        recipe: The run's recipe with changes, or None for none; arguments as for
            :meth:`ddim_edu.training.trainer.Trainer.resume`.
        given: Which of ``data`` and ``autoencoder`` the command line names.

    Returns:
        The recipe; the same with the places where data and autoencoder lie now; and what ``config.json`` says.

    Raises:
        ValueError: In one line, if the folder holds no run, or the recipe changes what may not change.
    """
    config, old = run.config(), run.recipe()
    moved: dict[str, Any] = {} if recipe is None else moves(old, recipe)
    like_old = recipe and replace(recipe, **{name: getattr(old, name) for name in moved})
    recipe = replace(run.recipe_to_go_on(like_old), **moved)
    lies = located(recipe, run.path / CONFIG, config.get("places"), {*given, *moved})
    check_stored(run.path, recipe)
    return recipe, lies, config


@contextmanager
def data_dir_of(config: Mapping[str, Any], given: Path | str | None) -> Iterator[Path | str | None]:
    """Where data sets lie while a run is resumed: what is given, or else what its ``config.json`` says, if that is
    there; then nothing is downloaded into it.

    Raises:
        ValueError: If the file says something that is no folder.
    """
    said = config.get("data_dir")
    if given is not None or said is None or not isinstance(said, str):
        yield given
        return
    if Path(said).resolve() == default_data_dir().resolve():
        yield None
        return
    if said.startswith(("//", "\\\\")) or not Path(said).is_dir():
        raise ValueError(f"the run read its data sets from {said}, which is not there: give --data-dir")
    before = DOWNLOADS.set(False)
    try:
        yield said
    finally:
        DOWNLOADS.reset(before)


def check_stored(folder: Path, recipe: Recipe) -> None:
    """A check that a run's checkpoint is of the network that its ``config.json`` describes, before one is built.

    Raises:
        ValueError: If it is of another; none that is missing, which is said later.
    """
    path = folder / checkpoint.NAME
    if path.is_file():
        about, _ = checkpoint.UNET.read(path)
        told = about.get("config")
        if isinstance(told, dict):  # a file may be older than a field of today's
            told = plain(asdict(UNetConfig())) | {"dropout": 0} | {k: v for k, v in told.items() if k != "dropout"}
        if told != {**plain(asdict(recipe.unet)), "dropout": 0}:
            raise ValueError(f"{path} is of another network than {folder / 'config.json'} describes: start a new run")


def plain(value: Any) -> Any:
    """Values as JSON gives them back: tuples as lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}


def check_state(optimizer: torch.optim.Optimizer) -> None:
    """A check that an optimiser's state, which torch takes as it is, fits its weights.

    Raises:
        ValueError: If it doesn't.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            for name, value in optimizer.state.get(weight, {}).items():
                if not isinstance(value, torch.Tensor) or value.shape not in (weight.shape, torch.Size()):
                    raise ValueError(f"the optimiser's {name} does not fit the network")
