"""Models for other libraries: ``python -m ddim_edu.export RUN_OR_CHECKPOINT --out FOLDER``.

The folder opens in diffusers as it is (``DDIMPipeline.from_pretrained``), and holds a model card. ``--format onnx``
writes the network as an ONNX file instead. The way back is :func:`ddim_edu.models.checkpoint.load`.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ddim_edu.commands.options import CheckpointName, carry_out, parse
from ddim_edu.data.named import class_names
from ddim_edu.files import replacing
from ddim_edu.models import Checkpoint, load
from ddim_edu.models.convert import build_in_label
from ddim_edu.models.foreign import write_diffusers
from ddim_edu.models.onnx_export import export
from ddim_edu.ranges import Checked, Clip, Positive
from ddim_edu.sampling import label_number
from ddim_edu.streams import say
from ddim_edu.training.card import model_card

PROG = "python -m ddim_edu.export"


@dataclasses.dataclass(frozen=True)
class ExportOptions(Checked):
    """What the command takes.

    Raises:
        ValueError: If a value is out of range.
    """

    remedies = {"clip": "such as 1, or off"}

    # A run folder, a checkpoint file, or the name of a shipped model.
    checkpoint: CheckpointName = ""
    # The folder to write, a new one or one written by this command; for onnx also a file that ends in .onnx.
    out: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(required)")] = None
    # diffusers: a folder that diffusers opens. onnx: the network alone, as the noise in x at level t = 1..T.
    format: Literal["diffusers", "onnx"] = "diffusers"
    # For models that know classes: build one in, by its number or name, or "any", so that DDIMPipeline works without
    # labels; "all" leaves the choice.
    label: int | str = "all"
    # The spacing of the steps in the scheduler's configuration.
    spacing: Literal["trailing", "leading", "linspace"] = "trailing"
    # The scheduler keeps the predicted image within [-clip, clip]; "off" lets it go where it goes.
    clip: Clip = 1.0
    # Where the results of python -m ddim_edu.evaluate lie; those that were measured with this model stand in its card.
    results: Path = Path("results")
    # Side of the images, for a .pth of the official code that doesn't show it.
    image_size: Positive | None = None

    def check(self) -> None:
        if self.format == "onnx" and self.label != "all":
            raise ValueError(f"label = {self.label}: an ONNX file takes labels as an input; leave it out")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.export``; those of the process if None.

    Returns:
        The exit code.
    """

    def work() -> None:
        words = sys.argv[1:] if arguments is None else arguments
        description = "Write a trained model in the form of another library."
        options = parse(ExportOptions(), words, prog=PROG, description=description)
        if not options.checkpoint:
            raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} runs/digits --out FOLDER")
        if options.out is None:
            raise ValueError(f"where to? name a folder: {PROG} {options.checkpoint} --out FOLDER")
        _check_out(options.out, options.format)
        model = load(options.checkpoint, image_size=options.image_size)
        say(write_onnx(model, options.out) if options.format == "onnx" else write_folder(model, options))

    return carry_out(work)


def write_onnx(model: Checkpoint, out: Path) -> str:
    """Write the ONNX file; a line that says what was written.

    Raises:
        ValueError: If ``onnx`` is not installed.
    """
    try:
        made = export(model)
    except ModuleNotFoundError as error:
        raise ValueError(error) from None
    path = out if out.suffix == ".onnx" else out / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(made)
    inputs = "x, t in 1..T and label" if model.config.classes else "x and t in 1..T"
    return f"{path}: {len(made) / 1e6:.2f} MB; takes {inputs}, gives eps"


def write_folder(model: Checkpoint, options: ExportOptions) -> str:
    """Write the folder of diffusers and its model card; a line that says how to open it.

    Raises:
        ValueError: If the model is none of pictures, knows no such class, or has what diffusers lacks.
    """
    config, weights = model.of_pictures().with_paths().config, model.network.state_dict()
    label = None
    if options.label != "all":
        if not config.classes:
            raise ValueError(f"label = {options.label}: {options.checkpoint} knows no classes; leave it out")
        named = label_number(options.label, class_names(model), ("any",))
        label = named if isinstance(named, int) else config.classes if named == "any" else -1
        if not 0 <= label <= config.classes:
            raise ValueError(f"label = {named}: {options.checkpoint} knows labels 0..{config.classes - 1}")
        config, weights = build_in_label(config, weights, label)
    clip = None if options.clip == "off" else options.clip
    how: dict[str, Any] = {"prediction": model.prediction, "spacing": options.spacing, "clip": clip}
    write_diffusers(
        options.out, config, weights, model.schedule, **how, about={"recipe": model.recipe, "step": model.step}
    )
    card = model_card(model, label=label, spacing=options.spacing, clip=clip, results=options.results)
    with replacing(options.out / "README.md") as temporary:
        temporary.write_text(card, encoding="utf8")
    opens = "UNet2DModel and DDIMScheduler open it" if config.classes else "DDIMPipeline opens it"
    return f"{options.out}: {opens} by from_pretrained; README.md has code that runs"


def _check_out(out: Path, form: str) -> None:
    """Refuse to write into what is not ours, before any work is done."""
    if form == "onnx" and out.suffix == ".onnx":
        if out.is_dir():
            raise ValueError(f"{out} is a folder: name a file")
        return
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder")
    if form == "diffusers" and out.is_dir() and any(out.iterdir()) and not (out / "model_index.json").is_file():
        raise ValueError(f"{out} holds other files: name a new folder, or one that this command has written")
