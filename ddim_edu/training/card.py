"""The model card of an exported model: what it is, how it was made, what was measured, and code that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

from ddim_edu.data.registry import known_source
from ddim_edu.files import sha256_of
from ddim_edu.models import Checkpoint
from ddim_edu.models.checkpoint import UNET
from ddim_edu.models.foreign import PREDICTIONS
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.strangers import read_json
from ddim_edu.training.recipes import RECIPES, Recipe, recipe_from_dict

CARD = """\
---
library_name: diffusers
{licence}tags: [ddim, unconditional-image-generation]
---
# {name}

A `UNet2DModel` of {parameters:,} parameters with a `DDIMScheduler`, exported from a checkpoint of `ddim_edu` \
(`{file}`, sha256 `{sha256}`). It makes {channels}-channel images of {side}x{side} pixels in [-1, 1].

{labels}
## Use

{code}
Back in `ddim_edu`: `python -m ddim_edu.sample .`, or `load(".")` of `ddim_edu.models`.

## Settings

- The network predicts `{prediction}`; {T} levels, whose betas are in the scheduler's `trained_betas`.
- Steps are spaced `{spacing}`; `DDIMScheduler.from_pretrained(..., timestep_spacing="leading")` changes that.
- The predicted image is {clip}.
- `use_clipped_model_output=True` computes the noise anew from the clipped image, as `ddim_edu` does; diffusers' \
default doesn't.

## Data

{data}
## Training

{training}
## Measured

{measured}
## Limits

- Made with the code of a textbook, to learn from; nothing was checked beyond what stands above.
- Take a number of steps that divides the number of levels: for others, `DDIMScheduler` steps down by a rounded \
stride, which is not the distance of its own timesteps.
- In float32, samples that start at the last level differ in their last digits from those of `ddim_edu`: the \
prediction there multiplies the network's rounding by {nsr:,.0f}.
"""
NO_LABELS = """\
`DDIMPipeline` opens this folder, but passes no labels, and a `UNet2DModel` with classes refuses to work without them: \
so call network and scheduler in a loop.
"""
LOOP = """\
import torch
from diffusers import DDIMScheduler, UNet2DModel

folder = "."  # where this file lies
unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
scheduler.set_timesteps({steps})
labels = torch.arange({classes})  # {classes} would be any class
x = torch.randn(len(labels), {channels}, {side}, {side}, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    for t in scheduler.timesteps:
        said = unet(x, t, class_labels=labels).sample
        x = scheduler.step(said, t, x, use_clipped_model_output=True).prev_sample
images = (x / 2 + 0.5).clamp(0, 1)  # ({classes}, {channels}, {side}, {side})
"""
PIPELINE = """\
import torch
from diffusers import DDIMPipeline

folder = "."  # where this file lies
pipe = DDIMPipeline.from_pretrained(folder)
generator = torch.Generator().manual_seed(0)
images = pipe(8, generator, num_inference_steps={steps}, use_clipped_model_output=True).images
"""
BOUND = """\
from functools import partial
from diffusers import DDIMPipeline

pipe = DDIMPipeline.from_pretrained(folder)
pipe.unet.forward = partial(pipe.unet.forward, class_labels=labels)
images = pipe(len(labels), num_inference_steps={steps}, use_clipped_model_output=True).images
"""


def model_card(
    model: Checkpoint,
    *,
    label: int | None = None,
    spacing: str = "trailing",
    clip: float | None = 1.0,
    results: Path | None = None,
) -> str:
    """The text of ``README.md`` for a folder of diffusers.

    Args:
        model: What was exported.
        label: The class that was built into the weights, if one was.
        spacing: The spacing that the scheduler was written with.
        clip: The clipping that it was written with.
        results: A folder of the JSON files that ``python -m ddim_edu.evaluate`` writes; those of this very file are
            shown.
    """
    config, path = model.config, model.path
    shipped = path.parent == UNET.folder
    return CARD.format(
        licence="license: mit\n" if shipped else "",
        name=path.stem if shipped else path.parent.name,
        parameters=sum(p.numel() for p in model.network.parameters()),
        file=path.name,
        sha256=sha256_of(path)[:16],
        channels=config.image_channels,
        side=config.image_size,
        labels=_labels(config.classes, label),
        code=_code(config, config.classes if label is None else 0),
        prediction={ours: theirs for theirs, ours in PREDICTIONS.items()}[model.prediction],
        T=model.schedule.T,
        spacing=spacing,
        clip=f"kept within [-{clip:g}, {clip:g}]" if clip else "not clipped",
        data=_data(model.recipe),
        training=_training(model),
        measured=_measured(path, results),
        nsr=model.schedule.nsr[-1].item(),
    )


def training_command(recipe: Mapping[str, Any]) -> str | None:
    """The words after ``python -m ddim_edu.train`` that ask for a recipe: the nearest name, and what is different.

    Args:
        recipe: A recipe as a checkpoint holds it; fields that it lacks have their defaults.

    Returns:
        The words, or None where this version knows no such recipe.
    """
    try:
        wanted = recipe_from_dict(recipe)
    except ValueError:
        return None
    name, words = min(
        ((name, _difference(known, wanted)) for name, known in RECIPES.items()), key=lambda pair: len(pair[1])
    )
    return " ".join([name, *words])


def _difference(known: Recipe, wanted: Recipe) -> list[str]:
    words = []
    for prefix, a, b in (("--", known, wanted), ("--unet.", known.unet, wanted.unet)):
        for field in fields(a):
            old, new, option = getattr(a, field.name), getattr(b, field.name), field.name.replace("_", "-")
            if old == new or field.name == "unet":
                continue
            if isinstance(new, bool):
                words.append(prefix + ("" if new else "no-") + option)
            else:
                words.append(" ".join([prefix + option, *map(str, new if isinstance(new, tuple) else [new])]))
    return words


def _code(config: UNetConfig, classes: int) -> str:
    """Code that makes images, by a loop where the network takes labels, which ``DDIMPipeline`` doesn't pass."""
    values = {"steps": 20, "classes": classes, "channels": config.image_channels, "side": config.image_size}
    if not classes:
        return _python(PIPELINE.format(**values))
    bound = "Or bind the labels, and the pipeline runs too:\n"
    return "\n".join([NO_LABELS, _python(LOOP.format(**values)), bound, _python(BOUND.format(**values))])


def _python(code: str) -> str:
    return f"```python\n{code}```\n"


def _labels(classes: int, label: int | None) -> str:
    if not classes:
        return "It takes no labels.\n"
    if label is None:
        return f"It takes labels 0..{classes - 1}, and {classes} for any class (`num_class_embeds = {classes + 1}`).\n"
    return f"Built in is {'any class' if label == classes else f'class {label}'}: it takes no labels.\n"


def _data(recipe: Mapping[str, Any]) -> str:
    name = recipe.get("data")
    source = known_source(name)
    if source.about:
        return f"`{name}`: {source.about}. Licence of the data: {source.licence}.\n"
    if name is None:
        return "Not recorded in the checkpoint.\n"
    return (
        f"A folder of images, `{Path(str(name)).name}`. The checkpoint says nothing of their licence: whoever "
        f"publishes this, adds it.\n"
    )


def _training(model: Checkpoint) -> str:
    if not model.recipe:
        return "Not recorded in the checkpoint.\n"
    words = training_command(model.recipe)
    if words is None:
        return f"{model.step:,} steps, with this recipe:\n\n```json\n{json.dumps(model.recipe)}\n```\n"
    return (
        f"{model.step:,} steps, from the settings in the checkpoint:\n\n```console\n$ python -m ddim_edu.train "
        f"{words}\n```\n"
    )


def _measured(path: Path, results: Path | None) -> str:
    """Tables of the results that were measured with this very file."""
    sha256 = sha256_of(path)
    distances: dict[str, list[Mapping[str, Any]]] = {}  # the rows of table 1, by what was measured
    parts = []
    for file in sorted(results.glob("*.json")) if results is not None and results.is_dir() else ():
        try:
            found = read_json(file, finite=False)
            if (found.get("model") or {}).get("sha256") != sha256:
                continue
            if found["kind"] == "table1":
                distances.setdefault(_distance(found), []).extend(found["rows"])
            elif found["kind"] == "table2":
                rows = [f"| {row['steps']} | {row['error']:.3g} |" for row in found["rows"]]
                head = "Mean square error of encoding and decoding again:\n"
                parts.append("\n".join([head, "| S | error |", "|---|---|", *rows, ""]))
            elif found["kind"] == "fid":
                parts.append(f"{_distance(found)}: {found['result']['value']:.4g}\n")
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # another kind of JSON
    parts = [*(_table1(distance, rows) for distance, rows in distances.items()), *parts]
    return "\n".join(parts) if parts else "No measurement of this very file was at hand.\n"


def _distance(found: Mapping[str, Any]) -> str:
    protocol = found["protocol"]
    small = found.get("distance") == "classifier_distance"
    distance = "Distance in the features of a small classifier, not FID" if small else "Distance"
    against = f"{protocol['features']['name']}, {protocol['n']:,} images against {protocol['reference']['name']}"
    return f"{distance} ({against}; lower is better)"


def _table1(distance: str, rows: Sequence[Mapping[str, Any]]) -> str:
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        cells.setdefault((row["spacing"], row["steps"]), {}).setdefault(f"{row['eta']}", []).append(row["value"])
    etas = list(dict.fromkeys(eta for row in cells.values() for eta in row))
    lines = [f"{distance}, mean over seeds:\n", f"| spacing | S | {' | '.join(f'eta = {eta}' for eta in etas)} |"]
    lines.append("|---" * (2 + len(etas)) + "|")
    for (spacing, steps), row in sorted(cells.items()):
        means = [f"{fmean(row[eta]):.4g}" if eta in row else "" for eta in etas]
        lines.append(f"| {spacing} | {steps} | {' | '.join(means)} |")
    return "\n".join([*lines, ""])
