"""Measure a model: ``python -m ddim_edu.evaluate {fid,reconstruction,table1,table2} CHECKPOINT ... --out FILE.json``.

``fid`` draws images and compares them with the training set; ``table1`` does it for a grid of eta and S, as the DDIM
paper's Table 1. ``reconstruction`` encodes and decodes held-out images; ``table2`` does it for the S of the paper's
Table 2. ``images DATA`` measures a data set's own images, with no model: what a sampler would score that draws from the
data. ``compare`` sets results side by side. Killed, each goes on where it was when it is called again. Exit codes: 0
done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import tyro

from ddim_edu.commands.options import CheckpointName, carry_out, closest, command_line, fail, parse, plain_warnings
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.data.named import class_names
from ddim_edu.files import replacing
from ddim_edu.measuring.features import features_for
from ddim_edu.measuring.fid import check_sizes, measure, measure_images, protocol_of
from ddim_edu.measuring.reconstruction import reconstruct
from ddim_edu.measuring.reference import real_images, reference_for, reference_images, sha256_of_images
from ddim_edu.measuring.result import ResultFile, differences, heading, read_result
from ddim_edu.measuring.tables import PAPER_TABLE1, PAPER_TABLE2, describe, table_of_etas, table_of_round_trips
from ddim_edu.models import load
from ddim_edu.processes import is_first_process, pick_device, progress
from ddim_edu.ranges import Checked, Clip, Eta, NotNegative, Positive
from ddim_edu.sampling import Sampler, Sampling, label_number
from ddim_edu.schedule import Spacing
from ddim_edu.streams import say

PROG = "python -m ddim_edu.evaluate"
RECONSTRUCTION_STEPS = (10, 20, 50, 100, 200, 500, 1000)
Number = Annotated[NotNegative, tyro.conf.arg(aliases=["-n"])]


@dataclass(frozen=True)
class Machine(Checked):
    """Where things are, and what computes."""

    subject: ClassVar[str]  # the option without a name, and what to say where it is missing
    without: ClassVar[str]
    tabled: ClassVar[bool] = False  # whether the result is a table, with a picture beside it
    remedies = Sampling.remedies

    # The result, as JSON. A command that was stopped goes on when it is called again with the same --out.
    out: Path = Path("result.json")
    # Where data sets lie, or are downloaded to; $DDIM_EDU_DATA, or else the folder data, if not given.
    data_dir: Path | None = None
    # Images in memory at a time; halved by itself when a GPU's memory is too small. 0 chooses: 1000 on a GPU and 250
    # elsewhere, and 50 for real images.
    batch: NotNegative = 0
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def batch_on(self, device: torch.device) -> int:
        """Images to draw at a time."""
        return self.batch or (1000 if device.type == "cuda" else 250)


@dataclass(frozen=True)
class OfModel(Machine):
    """What all commands take that measure a model."""

    subject = "checkpoint"
    without = "which model? name a run folder or a checkpoint: {prog} runs/digits"

    # A run folder, a checkpoint file, or the name of a shipped model.
    checkpoint: CheckpointName = ""
    # What it was trained on: a folder, or file:Class; by default what the checkpoint says, if it lies where it lay.
    data: str | None = None


@dataclass(frozen=True)
class Against(Machine):
    """What a comparison of sets of images takes."""

    # What is compared with: the training images, the test images, or an .npz file with mu and sigma.
    reference: str = "train"
    # By which features: inception (FID), or classifier, the small one that comes with the package for this data, or a
    # classifier's file. auto: the classifier for digits and Fashion-MNIST, inception for all else.
    features: str = "auto"
    # The weights of FID's network, in torch-fidelity's form (--features inception needs them).
    inception_weights: Path | None = None
    # Where features of real images are kept; $DDIM_EDU_CACHE, or else ~/.cache/ddim_edu, if not given.
    cache_dir: Path | None = None

    @property
    def kept(self) -> Path:
        """The folder where features of real images are kept."""
        return (self.cache_dir or default_cache_dir()) / "features"


@dataclass(frozen=True)
class Comparing(Against, OfModel):
    """What a comparison of a model's samples takes."""

    # How many images to draw; 0 takes 50,000 for FID and 5,000 for a small classifier's features. Fewer are marked as
    # an estimate: a Frechet distance depends on the number of samples.
    n: Number = 0
    # Arithmetic of the network: float32 or bf16; auto is bf16 on GPUs that have it.
    precision: Literal["auto", "float32", "bf16"] = "auto"

    def check(self) -> None:
        """A covariance needs two images."""
        if self.n == 1:
            raise ValueError("n = 1: give at least 2 images, which have a covariance, or 0")


@dataclass(frozen=True)
class FidOptions(Comparing, Sampling):
    """Draw images, and compare them with the training set."""

    # Number of sampling steps S.
    steps: Positive = 50


@dataclass(frozen=True)
class Table1Options(Comparing):
    """A grid of eta and S, as the DDIM paper's Table 1."""

    tabled = True

    # Values of S.
    steps: tuple[Positive, ...] = (10, 20, 50, 100, 1000)
    # Values of eta; hat is DDPM's larger noise.
    etas: tuple[Eta, ...] = (0.0, 0.2, 0.5, 1.0, "hat")
    # Spacings; the paper used quadratic for CIFAR-10 and leading ("linear") for CelebA.
    spacings: tuple[Spacing, ...] = ("quadratic",)
    # How many seeds, for intervals.
    seeds: Positive = 1
    # The first seed; image i of a seed is always the same.
    seed: NotNegative = 0
    # Keep the predicted image within [-clip, clip] at every step; "off" lets it go where it goes.
    clip: Clip = 1.0
    # For models that know classes: the classes in "turn", "any" for none, or one class by its number or name.
    label: int | str = "turn"

    def check(self) -> None:
        """A table has cells."""
        super().check()
        for name in ("steps", "etas", "spacings"):
            if not getattr(self, name):
                raise ValueError(f"--{name} names none: the table would be empty")


@dataclass(frozen=True)
class ReconstructionOptions(OfModel):
    """Encode held-out images by the deterministic sampler run backwards, and decode them again."""

    tabled = True

    # Values of S. Of these, the ones beyond the highest level are replaced by it; yours never are.
    steps: tuple[Positive, ...] = RECONSTRUCTION_STEPS
    # How many held-out images; 0 takes all.
    n: Number = 0
    # Which of the levels the steps visit. The default ends the way up, and starts the way down, at the highest.
    spacing: Spacing = "trailing"
    # The highest level to use; 0 is the model's T. The last levels of the cosine schedule multiply a network's error:
    # 990 avoids them.
    top: NotNegative = 0
    # Bound of the predicted image when decoding, or off, as in the paper.
    clip: Clip = "off"
    # Arithmetic of the network: float32, or bf16, whose rounding shows at large S.
    precision: Literal["float32", "bf16"] = "float32"

    def check(self) -> None:
        """A table has rows."""
        if not self.steps:
            raise ValueError("--steps names none: the table would be empty")


@dataclass(frozen=True)
class ImagesOptions(Against):
    """Compare the images of a data set, with no model, with the other part of the same data set or with saved
    statistics.
    """

    subject = "data"
    without = "which images? name a data set or a folder: {prog} cifar10"

    # A data set's name, such as cifar10, or a folder of images.
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA", help_behavior_hint="(required)")] = ""
    # Which part of it: the images to train on, or the test images.
    part: Literal["train", "test"] = "test"
    # How many, the first of a random order; 0 takes all. Several numbers show how the distance depends on them.
    n: Annotated[tuple[NotNegative, ...], tyro.conf.arg(aliases=["-n"])] = (0,)
    # Width and height to bring the images to; 0 keeps the data set's own. A folder needs one.
    size: NotNegative = 0
    # Of the random order.
    seed: NotNegative = 0

    def check(self) -> None:
        """There are numbers of images."""
        if not self.n:
            raise ValueError("--n names none: give numbers of images, or 0 for all")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.evaluate``; those of the process if None.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = [*COMMANDS, "compare"]
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name is None and {"-h", "--help"} & set(words):
        print(f"usage: {PROG} {{{','.join(known)}}} ...\n\n{__doc__}\nTheir options: {PROG} fid --help, and so on.")
        return 0
    if name not in known:
        what = f"there is no command {name!r}{closest(name, known)}" if name else "which measurement?"
        return fail(f"{what} (known: {', '.join(known)})")
    if name == "compare":
        return carry_out(lambda: compare(words))
    (kind, measurement), prog = COMMANDS[name], f"{PROG} {name}"

    def work() -> None:
        options = parse(kind(), words, prog=prog, description=kind.__doc__ or "")
        if not getattr(options, kind.subject):
            raise ValueError(kind.without.format(prog=prog))
        command = command_line(prog, options, positional=kind.subject, without=ELSEWHERE)
        file = ResultFile(options.out, name, command, picture=kind.tabled)
        device = pick_device(options.device)
        with file.alone(device), plain_warnings():
            measurement(options, file, device)

    return carry_out(work, "stopped; the same command goes on where it was")


def fid(options: FidOptions, file: ResultFile, device: torch.device) -> None:
    """One comparison, written as one result."""
    model = load(options.checkpoint, device).of_pictures()
    data = options.data or str(model.recipe.get("data"))
    features = features_for(options.features, data, options.inception_weights, device)
    options = options.with_number(class_names(model))
    options.check_with(model)
    # All samplings of a model without classes are one, and so is their protocol.
    label = options.label if model.config.classes else "any"
    sampling = replace(options, n=options.n or features.usual_n, label=label)
    sampler = Sampler(model, options.batch_on(device), options.precision)
    real = partial(reference_images, model, data_dir=options.data_dir, data=options.data)
    reference = reference_for(options.reference, real, data, features, options.kept)
    with progress(sampling.n, "image", "drawing") as bar:
        result = measure(sampler, sampling, features, reference, file.parts, begin=file.begin, tick=bar.update)
    file.finish(result)
    show(file, *describe(result))


def table1(options: Table1Options, file: ResultFile, device: torch.device) -> None:
    """Every cell of the grid, written after each; cells that the file already holds are not measured again."""
    model = load(options.checkpoint, device).of_pictures()
    data = options.data or str(model.recipe.get("data"))
    features = features_for(options.features, data, options.inception_weights, device)
    n, label = options.n or features.usual_n, label_number(options.label, class_names(model))
    cells = [
        Sampling(n, steps, eta, spacing, options.clip, options.seed + k, label)
        for spacing in options.spacings
        for steps in options.steps
        for eta in options.etas
        for k in range(options.seeds)
    ]
    for cell in cells:
        cell.check_with(model)
    if not model.config.classes:
        cells = [replace(cell, label="any") for cell in cells]
    sampler = Sampler(model, options.batch_on(device), options.precision)
    real = partial(reference_images, model, data_dir=options.data_dir, data=options.data)
    reference = reference_for(options.reference, real, data, features, options.kept)
    drawn = {"n": n, "clip": cells[0].bound, "label": cells[0].label, **sampler.about()}
    about = {"distance": features.distance_name, "estimate": n < features.usual_n}
    paper = {"cifar10 fid": PAPER_TABLE1}
    file.begin(heading("table1", model, protocol_of(drawn, features, reference), **about, paper=paper))
    keys = [{name: getattr(cell, name) for name in ("spacing", "steps", "eta", "seed")} for cell in cells]
    missing = file.missing(keys)
    with progress(len(cells) * n, "image", "table 1", done=(len(cells) - len(missing)) * n) as bar:
        for key, cell in zip(keys, cells):
            if key not in missing:
                continue
            folder = file.parts / "-".join(str(value) for value in key.values())
            found = measure(sampler, cell, features, reference, folder, all_measures=False, tick=bar.update)
            row = {**key, "value": found["result"][features.distance_name], "cost": found["cost"]}
            file.add(row, made_from=folder)
    file.finish(file.table)
    show(file, table_of_etas(file.table))


def round_trips(options: ReconstructionOptions, file: ResultFile, device: torch.device) -> None:
    """Rows of S, written after each, but for those that the file holds; ``table2`` has the paper's numbers beside."""
    model = load(options.checkpoint, device).of_pictures().with_paths()
    top = options.top or model.schedule.T
    steps = options.steps
    if steps == RECONSTRUCTION_STEPS:
        steps = tuple(sorted({min(S, top) for S in steps}))
    images = reference_images(model, "test", options.data_dir, options.data)
    if options.n > len(images):
        raise ValueError(f"n = {options.n}: {model.recipe['data']} holds out {len(images):,} images")
    images = images[: options.n or len(images)]
    how: dict[str, Any] = {
        "spacing": options.spacing,
        "top": top,
        "clip": None if options.clip == "off" else options.clip,
    }
    about = {"name": "test", "n": len(images), "sha256": sha256_of_images(images)}
    protocol = {"images": about, **how, "precision": options.precision}
    paper = {"paper": {"cifar10": PAPER_TABLE2}} if file.name == "table2" else {}
    file.begin(heading(file.name, model, protocol, **paper))
    left = [row["steps"] for row in file.missing([{"steps": S} for S in steps])]
    sampler = Sampler(model, options.batch_on(device), options.precision)
    with progress(len(left) * len(images), "image", "reconstructing") as bar:
        for row in reconstruct(sampler, images, left, **how, tick=bar.update):
            file.add(row, sort_by="steps")
    file.write(file.table)
    show(file, table_of_round_trips(file.table))


def images(options: ImagesOptions, file: ResultFile, device: torch.device) -> None:
    """A data set's own images against a reference, written as one result."""
    form: dict[str, Any] = {"size": options.size} if options.size else {}
    real = partial(real_images, options.data, data_dir=options.data_dir, **form)
    pixels, name, batch = real(options.part), f"{options.data} {options.part}", options.batch or 50
    sizes = check_sizes([n or len(pixels) for n in options.n], len(pixels), name)
    features = features_for(options.features, options.data, options.inception_weights, device)
    reference = reference_for(options.reference, real, options.data, features, options.kept, batch=batch)
    # More images of the same kind are the same measurement, taken further.
    begin = partial(file.begin, free=("protocol.sampling.n",))
    how: dict[str, Any] = {"seed": options.seed, "batch": batch, "begin": begin}
    with progress(sizes[-1], "image", options.part) as bar:
        result = measure_images(pixels, name, sizes, features, reference, options.kept, **how, tick=bar.update)
    file.write(result)
    show(file, *describe(result))


def compare(words: Sequence[str]) -> None:
    """Results of ``fid`` side by side, with a warning where their protocols differ.

    Raises:
        ValueError: If a file is no such result.
    """
    if {"-h", "--help"} & {*words}:
        print(f"usage: {PROG} compare ONE.json OTHER.json ...\n\n{(compare.__doc__ or '').splitlines()[0]}")
        return
    if len(words) < 2 or words[0].startswith("-"):
        raise ValueError(f"compare what? {PROG} compare ONE.json OTHER.json ...")
    results = [read_result(path) for path in words]
    for path, result in zip(words, results):
        if result.get("kind") != "fid":
            raise ValueError(f"{path} is a result of {result.get('kind')}: compare takes those of fid")
    for path, result in zip(words, results):
        try:
            say(f"{path}: " + "; ".join(describe(result)))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration):
            raise ValueError(f"{path} is a damaged result: measure again, to another file") from None
    for path, result in zip(words[1:], results[1:]):
        differs = differences(results[0]["protocol"], result["protocol"])
        if differs:
            say(f"warning: {words[0]} and {path} don't compare: {'; '.join(differs)}", file=sys.stderr)


COMMANDS: dict[str, tuple[type[Machine], Callable[[Any, ResultFile, torch.device], None]]] = {
    "fid": (FidOptions, fid),
    "reconstruction": (ReconstructionOptions, round_trips),
    "table1": (Table1Options, table1),
    "table2": (ReconstructionOptions, round_trips),
    "images": (ImagesOptions, images),
}
# Options that say where things are, not what is measured.
ELSEWHERE = ("checkpoint", "data", "batch", "device", "data_dir", "cache_dir", "inception_weights")


def show(file: ResultFile, *lines: str) -> None:
    """Draw the picture beside a table, and print a result and where it is; of several processes, the first does."""
    if not is_first_process():
        return
    lines = (*(line for part in lines for line in part.splitlines()), f"result      {file.path}")
    if file.picture:
        from ddim_edu import plotting  # matplotlib takes a second to import

        draw = plotting.table1_figure if file.name == "table1" else plotting.table2_figure
        with replacing(file.picture) as temporary:
            draw(file.table)[0].savefig(temporary)
        lines += (f"picture     {file.picture}",)
    say(*lines, sep="\n")
