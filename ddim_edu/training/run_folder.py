"""The folder of a run: what training writes, and reads back to go on. Every file is whole or not there.

::

    config.json             the recipe, and what it ran on
    log.csv                 a line every ``log_every`` steps
    checkpoint.safetensors  the averaged weights: what one samples from
    state.pt                the rest of the state, for resuming
    samples.png             the latest grid of samples; samples/ has all of them
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ddim_edu import __version__
from ddim_edu.data.named import SOURCES
from ddim_edu.data.pictures import save_grid
from ddim_edu.files import check_writable, first_line, regular_size, replacing
from ddim_edu.models import checkpoint
from ddim_edu.models.pickles import read_pickle
from ddim_edu.precision import Precision
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.strangers import parse_json
from ddim_edu.training.recipes import Recipe, changes, recipe_from_dict, recipe_to_dict

CONFIG, LOG, STATE = "config.json", "log.csv", "state.pt"
COLUMNS = ("step", "loss", "lr", "grad_norm", "images_per_s", "heldout_loss", "seconds")
MOST = {CONFIG: 2**20, LOG: 2**28}  # bytes; a log of ten million steps in lines of ten has 80 MB
# What may differ between a run and its continuation: how long and how often, but nothing that the weights so far depend
# on.
MAY_CHANGE = ("steps", "log_every", "sample_every", "save_every")


def claim_folder(name: str, out: Path | None = None) -> Path:
    """Make a run folder: ``out``, or the first free one of runs/NAME, runs/NAME-2, ...

    Raises:
        ValueError: If ``out`` exists and holds something, or a folder can't be made.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            if any(out.iterdir()):
                raise ValueError(f"{out} exists and is not empty: choose another --out, or go on with --resume {out}")
            return check_writable(out / checkpoint.NAME).parent
        for i in count(1):
            folder = Path("runs") / (name if i == 1 else f"{name}-{i}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                if not Path("runs").is_dir():
                    raise
    except OSError as error:
        raise ValueError(
            f"can't write the run folder {error.filename} ({error.strerror}): choose another --out"
        ) from None
    raise AssertionError("count() does not end")


class RunFolder:
    """A run folder, as the process that writes it and those that don't see it.

    Args:
        path: The folder, which exists.
        writes: Whether this process is the one that writes; in the others all that writes does nothing.
    """

    def __init__(self, path: Path | str, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes

    def config(self) -> dict[str, Any]:
        """What ``config.json`` says: ``recipe``, ``train_images``, ``data_dir``, ``precision`` and what else it ran on.

        Raises:
            ValueError: If the folder holds no run, or what no run writes, or the file can't be read.
        """
        try:
            config = parse_json(self._read_text(CONFIG))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{self.path} is not a run folder: it holds no {CONFIG}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise self._unclear(error) from None
        if not isinstance(config, dict) or not isinstance(config.get("recipe", {}), dict):
            raise self._unclear("it is no object of JSON, or its recipe is none")
        precision = config.get("precision")
        if precision is not None and precision not in get_args(Precision):
            raise self._unclear(f"precision = {precision}")
        return config

    def check(self) -> None:
        """A check that the folder holds files and folders only, and a log of numbers: a run is data, whoever sends it.
        Through a link, what is written into the folder would go elsewhere; and a device has no end.

        Raises:
            ValueError: If it holds anything else.
        """
        folders = [self.path]
        while folders:
            for entry in _entries(folders.pop()):
                if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                    what = "link" if entry.is_symlink() else "pipe or device"
                    raise ValueError(f"{entry.path} is a {what}, which no run writes: remove it, or start a new run")
                if entry.is_dir():
                    folders.append(Path(entry.path))
        self.log()

    def _read_text(self, name: str) -> str:
        """A file of the folder, if it is one, and no larger than such files are.

        Raises:
            OSError: If it can't be read.
            ValueError: If it is too large, or no text.
        """
        path = self.path / name
        if regular_size(path) > MOST[name]:
            raise ValueError(f"it is larger than {MOST[name] / 1e6:,.0f} MB")
        return path.read_text(encoding="utf8")

    def recipe(self) -> Recipe:
        """The run's recipe.

        Raises:
            ValueError: If the folder holds no run, or the file can't be understood.
        """
        config = self.config()
        try:
            recipe = recipe_from_dict(config["recipe"])
            # Folders were read otherwise before the recipe said how.
            old = "layout" not in config["recipe"] and recipe.data not in SOURCES
            return replace(recipe, layout="old") if old else recipe
        except (KeyError, TypeError, ValueError) as error:
            raise self._unclear(error) from None

    def _unclear(self, error: Exception | str) -> ValueError:
        why = first_line(error) if isinstance(error, Exception) else error
        return ValueError(f"{self.path / CONFIG} can't be understood ({why}): start a new run")

    def recipe_to_go_on(self, changed: Recipe | None) -> Recipe:
        """The recipe to resume with: the run's, or one that differs from it in fields of ``MAY_CHANGE`` only.

        Raises:
            ValueError: If it differs in others, or the folder holds no run.
        """
        old = self.recipe()
        self.check()
        if changed is None:
            return old
        like_old = replace(changed, **{name: getattr(old, name) for name in MAY_CHANGE})
        if like_old != old:
            raise ValueError(
                f"on resuming, only {', '.join(MAY_CHANGE)} may change, not {'; '.join(changes(old, like_old))}: "
                "start a new run instead"
            )
        return changed

    def write_config(self, recipe: Recipe, ran_on: Mapping[str, Any]) -> None:
        """Write ``config.json``: the recipe, and what it runs on."""
        if not self.writes:
            return
        (self.path / "samples").mkdir(exist_ok=True)
        with replacing(self.path / CONFIG) as temporary:
            config = {"recipe": recipe_to_dict(recipe), **ran_on}
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")

    def log(self) -> list[dict[str, str]]:
        """The lines of the log; one that was cut short is left out.

        Raises:
            ValueError: If there is more in it than a run writes: columns, and numbers in them.
        """
        path = self.path / LOG
        try:
            lines = list(csv.reader(self._read_text(LOG).splitlines()))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(f"{path} can't be understood ({first_line(error)}): start a new run") from None
        if lines[:1] != [[*COLUMNS]]:
            raise ValueError(f"{path} has other columns than {', '.join(COLUMNS)}: start a new run")
        rows = []
        for number, values in enumerate(lines[1:], 2):
            row = dict(zip(COLUMNS, values))
            if len(values) <= len(COLUMNS) and not row.get("seconds"):
                continue  # cut short
            if len(values) != len(COLUMNS) or not all(map(_is_number, row.values())) or not row["step"].isdecimal():
                raise ValueError(f"{path}, line {number}: not the numbers that a run writes, start a new run")
            rows.append(row)
        return rows

    def cut_log(self, step: int) -> None:
        """Leave the lines up to a step: with 0, an empty log."""
        rows = [row for row in self.log() if int(row["step"]) <= step]
        if not self.writes:
            return
        with replacing(self.path / LOG) as temporary, open(temporary, "w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def add_to_log(self, values: Sequence[int | float | None]) -> None:
        """Add a line: a value for each of ``COLUMNS``, None for none."""
        if not self.writes:
            return
        line = ["" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in values]
        with open(self.path / LOG, "a", newline="", encoding="utf8") as file:
            csv.writer(file).writerow(line)

    def write_checkpoint(
        self,
        weights: Mapping[str, Tensor],
        recipe: Recipe,
        schedule: NoiseSchedule,
        step: int,
        classes: Sequence[str] = (),
        places: Mapping[str, Any] | None = None,
        student: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``checkpoint.safetensors``: the averaged weights, and how to sample with them."""
        about: dict[str, Any] = {"prediction": recipe.prediction, "recipe": recipe_to_dict(recipe), "step": step}
        about |= {"classes": classes, "places": places, "student": student}
        checkpoint.save(self.path / checkpoint.NAME, weights, recipe.unet, schedule, **about)

    def write_state(self, recipe: Recipe, step: int, parts: Mapping[str, Any]) -> None:
        """Write ``state.pt``: the step, and the states of the network, its average and the optimiser."""
        state = {"version": __version__, "recipe": recipe_to_dict(recipe), "step": step, **parts}
        with replacing(self.path / STATE) as temporary, open(temporary, "wb") as file:
            torch.save(state, file)  # into a file: given a name, torch hides what the system says

    @contextmanager
    def state(self, device: torch.device) -> Iterator[dict[str, Any]]:
        """Read ``state.pt``, and put what is in it in place within this block.

        Raises:
            ValueError: If there is none, or anything goes wrong in the block: then it is not the state of this run.
        """
        path = self.path / STATE
        if not path.is_file():
            raise ValueError(f"{self.path} holds no {STATE}: it stopped before its first checkpoint, start anew")
        try:
            state = read_pickle(path, device)
            _check_tensors(state)
            yield state
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise ValueError(
                f"{path} can't be read ({first_line(error, 100).strip(' (:')}): the run can't be resumed; a new one "
                f"can begin with its weights, --init-from {self.path}"
            ) from None

    def write_grid(self, images: Tensor, name: str) -> Path:
        """Write a picture of samples, and once more as the latest.

        Args:
            images: ``(n, C, H, W)`` in [-1, 1].
            name: The file's name in ``samples/``.

        Returns:
            The picture's file.
        """
        path = self.path / "samples" / name
        for each in (path, self.path / "samples.png"):
            save_grid(images.nan_to_num(), each)  # what is not finite stops the run elsewhere
        return path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise ValueError(f"{folder} can't be read ({first_line(error)}): is it a run folder?") from None


def _is_number(text: str) -> bool:
    """Whether a value of the log is one that :meth:`RunFolder.add_to_log` writes: a number, or nothing."""
    return not text or re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e[+-]?[0-9]{1,3})?|nan|-?inf", text) is not None


def _check_tensors(state: Any) -> None:
    """A check that no tensor of a state says that it is larger than its content, and would be once it is copied.

    Raises:
        ValueError: If one does.
    """
    if isinstance(state, torch.Tensor):
        if state.layout != torch.strided or state.untyped_storage().nbytes() < state.numel() * state.element_size():
            raise ValueError("a tensor in it is larger than what there is of it")
    elif isinstance(state, Mapping | list | tuple):
        for value in state.values() if isinstance(state, Mapping) else state:
            _check_tensors(value)
