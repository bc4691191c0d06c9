"""Measure a model: ``python -m ddim_edu.evaluate {fid,reconstruction,table1,table2} CHECKPOINT ... --out FILE.json``
.

``fid`` draws images and compares them with the training set; ``table1`` does it for a grid of eta and S, as the DDIM
paper's Table 1. ``reconstruction`` encodes and decodes held-out images; ``table2`` does it for the S of the paper's
Table 2. ``images DATA`` measures a data set's own images, with no model: what a sampler would score that draws from the
data. ``compare`` sets results side by side. Killed, each goes on where it was when it is called again. Exit codes: 0
done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from tqdm import tqdm

from ddim_edu.commands.options import closest, fail, parse
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.data.registry import known_source
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring import evaluation
from ddim_edu.measuring.evaluation import PAPER_TABLE1, PAPER_TABLE2, Reference
from ddim_edu.measuring.features import DOWNLOAD, Features, inception, sha256_of_images, small
from ddim_edu.models.checkpoint import Checkpoint, load, pick_device
from ddim_edu.processes import alone_together, is_first_process, own_device
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import make_tau

PROG = "python -m ddim_edu.evaluate"
RECONSTRUCTION_STEPS = (10, 20, 50, 100, 200, 500, 1000)
Spacing = Literal["leading", "linspace", "trailing", "quadratic", "quadratic-full"]
Checkpoint_ = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT", help_behavior_hint="(required)")
]


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where things are, and what computes."""

    # The result, as JSON. A command that was stopped goes on when it is called again with the same --out.
    out: Path = Path("result.json")
    # Where data sets lie, or are downloaded to; $DDIM_EDU_DATA, or else the folder data, if not given.
    data_dir: Path | None = None
    # Images in memory at a time; halved by itself when a GPU's memory is too small. 0 takes 1000 on a GPU and 250
    # elsewhere.
    batch: int = 0
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 0:
            raise ValueError(f"batch = {self.batch}: give a number of images, or 0")


@dataclasses.dataclass(frozen=True)
class Common(Machine):
    """What all commands take that measure a model."""

    # A run folder, a checkpoint file, or the name of a shipped model.
    checkpoint: Checkpoint_ = ""


@dataclasses.dataclass(frozen=True)
class Against(Common):
    """What a comparison of sets of images takes."""

    # How many images to draw; 0 takes 50,000 for FID and 5,000 for a small classifier's features. Fewer are marked as
    # an estimate: a Frechet distance depends on the number of samples.
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 0
    # What is compared: the training images, the test images, or an .npz file with mu and sigma.
    reference: str = "train"
    # By which features: inception (FID), or classifier, the small one that comes with the package for the model's data,
    # or a classifier's file. auto: the classifier for digits and Fashion-MNIST, inception for all else.
    features: str = "auto"
    # The weights of FID's network, in torch-fidelity's form (--features inception needs them).
    inception_weights: Path | None = None
    # Keep the predicted image within [-clip, clip] at every step; "off" lets it go where it goes.
    clip: float | Literal["off"] = 1.0
    # For models that know classes: the classes in "turn", "any" for none, or one class.
    label: int | Literal["turn", "any"] = "turn"
    # Image i of a seed is always the same. table1 counts up from it.
    seed: int = 0
    # Arithmetic of the network: float32 or bf16; auto is bf16 on GPUs that have it.
    precision: Literal["auto", "float32", "bf16"] = "auto"
    # Where features of reference images are kept; $DDIM_EDU_CACHE, or else ~/.cache/ddim_edu, if not given.
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 0 or self.n == 1:
            raise ValueError(f"n = {self.n}: give at least 2 images, which have a covariance, or 0")


@dataclasses.dataclass(frozen=True)
class FidOptions(Against):
    """Draw images, and compare them with the training set."""

    # Number of sampling steps S.
    steps: int = 50
    # 0 is DDIM (deterministic), 1 is DDPM, "hat" is DDPM with its larger noise.
    eta: float | Literal["hat"] = 0.0
    # Which of the T levels the steps visit. The default starts at T; the paper's CIFAR-10 results need quadratic.
    spacing: Spacing = "trailing"


@dataclasses.dataclass(frozen=True)
class Table1Options(Against):
    """A grid of eta and S, as the DDIM paper's Table 1."""

    # Values of S.
    steps: tuple[int, ...] = (10, 20, 50, 100, 1000)
    # Values of eta; hat is DDPM's larger noise.
    etas: tuple[float | Literal["hat"], ...] = (0.0, 0.2, 0.5, 1.0, "hat")
    # Spacings; the paper used quadratic for CIFAR-10 and leading ("linear") for CelebA.
    spacings: tuple[Spacing, ...] = ("quadratic",)
    # How many seeds, for intervals.
    seeds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1:
            raise ValueError(f"seeds = {self.seeds}: give at least 1")
        for name in ("steps", "etas", "spacings"):
            if not getattr(self, name):
                raise ValueError(f"--{name} names none: the table would be empty")


@dataclasses.dataclass(frozen=True)
class ReconstructionOptions(Common):
    """Encode held-out images by the deterministic sampler run backwards, and decode them again."""

    # Values of S. Of these, the ones beyond the highest level are replaced by it; yours never are.
    steps: tuple[int, ...] = RECONSTRUCTION_STEPS
    # How many held-out images; 0 takes all.
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 0
    # Which of the levels the steps visit. The default ends the way up, and starts the way down, at the highest.
    spacing: Spacing = "trailing"
    # The highest level to use; 0 is the model's T. The last levels of the cosine schedule multiply a network's error:
    # 990 avoids them.
    top: int = 0
    # Bound of the predicted image when decoding, or off, as in the paper.
    clip: float | Literal["off"] = "off"
    # Arithmetic of the network: float32, or bf16, whose rounding shows at large S.
    precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 0 or self.top < 0 or not self.steps:
            raise ValueError(
                f"n = {self.n}, top = {self.top}, steps = {self.steps}: give at least 0, and at least one S"
            )


@dataclasses.dataclass(frozen=True)
class ImagesOptions(Machine):
    """Compare the images of a data set, with no model, with the other part of the same data set or with saved
    statistics.
    """

    # A data set's name, such as cifar10, or a folder of images.
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA", help_behavior_hint="(required)")] = ""
    # Which part of it: the images to train on, or the test images.
    part: Literal["train", "test"] = "test"
    # How many, the first of a random order; 0 takes all. Several numbers show how the distance depends on them.
    n: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["-n"])] = (0,)
    # What they are compared with: the part to train on, the test part, or an .npz file with mu and sigma.
    reference: str = "train"
    # By which features: inception (FID), or classifier, the small one that comes with the package for this data, or a
    # classifier's file. auto: the classifier for digits and Fashion-MNIST, inception for all else.
    features: str = "auto"
    # The weights of FID's network, in torch-fidelity's form (--features inception needs them).
    inception_weights: Path | None = None
    # Width and height to bring the images to; 0 keeps the data set's own. A folder needs one.
    size: int = 0
    # Of the random order.
    seed: int = 0
    # Where features of images are kept; $DDIM_EDU_CACHE, or else ~/.cache/ddim_edu, if not given.
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.n or min(self.n) < 0:
            raise ValueError(f"n = {', '.join(map(str, self.n)) or 'nothing'}: give numbers of images, or 0 for all")
        if self.seed < 0 or self.size < 0:
            raise ValueError(f"seed = {self.seed}, size = {self.size}: give at least 0")


# Options that say where things are, not what is measured.
MACHINE = ("checkpoint", "data", "batch", "device", "data_dir", "cache_dir", "inception_weights")
COMMANDS: dict[str, type[Machine]] = {
    "fid": FidOptions,
    "reconstruction": ReconstructionOptions,
    "table1": Table1Options,
    "table2": ReconstructionOptions,
    "images": ImagesOptions,
}


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
    try:
        if name == "compare":
            return compare(words)
        options = parse(COMMANDS[name](), words, prog=f"{PROG} {name}", description=COMMANDS[name].__doc__ or "")
        if isinstance(options, ImagesOptions):
            if not options.data:
                raise ValueError(f"which images? name a data set or a folder: {PROG} images cifar10")
            check_out(options.out, name)
            with alone_together(parts_folder(options.out), own_device(pick_device(options.device))), plain_warnings():
                images(options)
            return 0
        if not options.checkpoint:
            raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} {name} runs/digits")
        check_out(options.out, name)
        model = load(options.checkpoint, own_device(pick_device(options.device))).of_pictures()
        with alone_together(parts_folder(options.out), own_device(pick_device(options.device))), plain_warnings():
            {"fid": fid, "table1": table1, "reconstruction": reconstruction, "table2": table2}[name](model, options)
    except (ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        if is_first_process():
            print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def fid(model: Checkpoint, options: FidOptions) -> None:
    """One comparison, written as one result.

    Raises:
        ValueError: One line, for what can't be measured so.
    """
    features = pick_features(model, options)
    sampling = sampling_of(model, options, features, options.steps, options.eta, options.spacing, options.seed)
    sampler = Sampler(model, batch_of(options, model), options.precision)
    reference = pick_reference(model, options, features)
    if options.out.exists():
        about = {
            "model": evaluation.model_about(model),
            "protocol": evaluation.protocol_of(sampler, sampling, features, reference),
        }
        same_measurement(options.out, read_result(options.out), about)
    note_small_n(sampling.n, features)
    parts = parts_folder(options.out)
    with bar(sampling.n, "drawing") as tick:
        result = evaluation.measure(sampler, sampling, features, reference, parts, tick=tick)
    if not is_first_process():
        return
    write(options.out, result)
    shutil.rmtree(parts)
    for line in describe(result):
        print(line)
    print(f"result      {options.out}")


def table1(model: Checkpoint, options: Table1Options) -> None:
    """Every cell of the grid, written after each; cells that the file already holds are not measured again.

    Raises:
        ValueError: One line, for what can't be measured so.
    """
    features = pick_features(model, options)
    sampler = Sampler(model, batch_of(options, model), options.precision)
    cells = [
        sampling_of(model, options, features, S, eta, spacing, options.seed + k)
        for spacing in options.spacings
        for S in options.steps
        for eta in options.etas
        for k in range(options.seeds)
    ]
    reference = pick_reference(model, options, features)
    note_small_n(cells[0].n, features)
    about = {
        "kind": "table1",
        "format": evaluation.FORMAT,
        "model": evaluation.model_about(model),
        "distance": features.distance_name,
        "estimate": cells[0].n < features.usual_n,
        "paper": {"cifar10 fid": PAPER_TABLE1},
        "protocol": {
            "n": cells[0].n,
            "clip": cells[0].bound,
            "label": cells[0].label,
            **sampler.about(),
            "features": {"name": features.name, "sha256": features.sha256, "size": features.size},
            "reference": reference.about,
        },
        "command": command_of("table1", options),
        "versions": evaluation.versions(),
    }
    found = rows_so_far(options.out, about)
    parts = parts_folder(options.out)
    keys = ("spacing", "steps", "eta", "seed")
    asked = {tuple(getattr(cell, k) for k in keys) for cell in cells}
    about["command"] = command_so_far(
        options.out, about["command"], {tuple(row[k] for k in keys) for row in found} <= asked
    )
    with bar(len(cells) * cells[0].n, "table 1") as tick:
        for cell in cells:
            key = {k: getattr(cell, k) for k in keys}
            if any(all(row[k] == v for k, v in key.items()) for row in found):
                tick(cell.n)
                continue
            folder = parts / "-".join(str(v) for v in key.values())
            result = evaluation.measure(sampler, cell, features, reference, folder, all_measures=False, tick=tick)
            found.append({**key, "value": result["result"][features.distance_name], "cost": result["cost"]})
            if is_first_process():
                write(options.out, {**about, "rows": found})
                shutil.rmtree(folder)
    if is_first_process():
        shutil.rmtree(parts, ignore_errors=True)
        write(options.out, {**about, "rows": found})  # where nothing was left to measure, the command may be new
        print(table_of_etas(found, about))
        draw(options.out, lambda plotting: plotting.table1_figure({**about, "rows": found})[0])


def reconstruction(model: Checkpoint, options: ReconstructionOptions, kind: str = "reconstruction") -> None:
    """Rows of S, written after each; those that the file already holds are not measured again.

    Raises:
        ValueError: One line, for what can't be measured so.
    """
    top = options.top or model.schedule.T
    if top > model.schedule.T:
        raise ValueError(f"top = {top}: {options.checkpoint} has the levels 1..{model.schedule.T}")
    steps = options.steps
    if steps == RECONSTRUCTION_STEPS:
        steps = tuple(sorted({min(S, top) for S in steps}))
    for S in steps:
        make_tau(top, S, options.spacing)  # the check, before any work
    images = evaluation.reference_images(model, "test", options.data_dir)
    if options.n > len(images):
        raise ValueError(f"n = {options.n}: {model.recipe['data']} holds out {len(images):,} images")
    images = images[: options.n or len(images)]
    clip = None if options.clip == "off" else options.clip
    about = {
        "kind": kind,
        "format": evaluation.FORMAT,
        "model": evaluation.model_about(model),
        "protocol": {
            "images": {"name": "test", "n": len(images), "sha256": sha256_of_images(images)},
            "spacing": options.spacing,
            "top": top,
            "clip": clip,
            "precision": options.precision,
        },
        "command": command_of(kind, options),
        "versions": evaluation.versions(),
    }
    if kind == "table2":
        about["paper"] = {"cifar10": {str(S): value for S, value in PAPER_TABLE2.items()}}
    found = rows_so_far(options.out, about)
    done = {row["steps"] for row in found}
    about["command"] = command_so_far(options.out, about["command"], done <= set(steps))
    sampler = Sampler(model, batch_of(options, model), options.precision)
    left = [S for S in steps if S not in done]
    with bar(len(left) * len(images), "reconstructing") as tick:
        rows = evaluation.reconstruct(
            sampler, images, left, spacing=options.spacing, top=top, clip=clip, about={"name": "test"}, tick=tick
        )
        for row in rows:
            found = sorted([*found, {k: v for k, v in row.items() if k != "protocol"}], key=lambda r: r["steps"])
            if is_first_process():
                write(options.out, {**about, "rows": found})
    if is_first_process():
        write(options.out, {**about, "rows": found})
        print(table_of_reconstructions(found, kind))
        draw(options.out, lambda plotting: plotting.table2_figure({**about, "rows": found})[0])


def table2(model: Checkpoint, options: ReconstructionOptions) -> None:
    """:func:`reconstruction`, with the paper's numbers beside ours."""
    reconstruction(model, options, "table2")


def images(options: ImagesOptions) -> None:
    """A data set's own images against a reference, written as one result.

    Raises:
        ValueError: One line, for what can't be measured so.
    """
    form = {"size": options.size} if options.size else {}
    batch, folder, name = options.batch or 50, cache_of(options), f"{options.data} {options.part}"
    command = command_of("images", options)
    before = read_result(options.out).get("command", "") if options.out.exists() else command
    if without_n(before) != without_n(command):  # more images of the same kind are the same measurement, taken further
        raise ValueError(f"{options.out} holds another measurement ({before}): choose another --out")
    pixels = evaluation.real_images(options.data, options.part, options.data_dir, **form)
    sizes = evaluation.check_sizes([n or len(pixels) for n in options.n], len(pixels), name)
    features = features_of(options, options.data, own_device(pick_device(options.device)))
    if options.reference in ("train", "test"):
        others = evaluation.real_images(options.data, options.reference, options.data_dir, **form)
        about = f"{options.data} {options.reference}"
        with bar(len(others), "reference") as tick:
            reference = evaluation.reference_of(others, about, features, folder, batch=batch, tick=tick)
    else:
        reference = evaluation.saved_reference(check_reference(options.reference), features)
    note_small_n(sizes[0], features)
    with bar(sizes[-1], options.part) as tick:
        result = evaluation.measure_images(
            pixels, name, sizes, features, reference, folder, seed=options.seed, batch=batch, tick=tick
        )
    if not is_first_process():
        return
    write(options.out, result | {"command": command})
    for line in describe(result):
        print(line)
    print(f"result      {options.out}")


def compare(words: Sequence[str]) -> int:
    """Results of ``fid`` side by side, with a warning where their protocols differ.

    Raises:
        ValueError: If a file is no such result.
    """
    if {"-h", "--help"} & {*words}:
        print(f"usage: {PROG} compare ONE.json OTHER.json ...\n\n{(compare.__doc__ or '').splitlines()[0]}")
        return 0
    if len(words) < 2 or words[0].startswith("-"):
        raise ValueError(f"compare what? {PROG} compare ONE.json OTHER.json ...")
    results = []
    for path in words:
        result = read_result(Path(path))
        if result.get("kind") != "fid":
            raise ValueError(f"{path} is a result of {result.get('kind')}: compare takes those of fid")
        results.append(result)
    for path, result in zip(words, results):
        print(f"{path}: " + "; ".join(describe(result)))
    for path, result in zip(words[1:], results[1:]):
        differs = evaluation.differences(results[0]["protocol"], result["protocol"])
        if differs:
            print(f"warning: {words[0]} and {path} don't compare: {'; '.join(differs)}", file=sys.stderr)
    return 0


def pick_features(model: Checkpoint, options: Against) -> Features:
    """The network whose features are compared.

    Raises:
        ValueError: If it can't be had; the line says how to get it.
    """
    return features_of(options, str(model.recipe.get("data")), next(model.model.parameters()).device)


def features_of(options: Against | ImagesOptions, data: str, device: torch.device) -> Features:
    """The features that the options ask for, for images of this data set.

    Raises:
        ValueError: If they can't be had.
    """
    name = options.features
    judge = known_source(data).judge
    if name == "auto":
        name = judge or "inception"
    if name == "inception":
        if options.inception_weights is None:
            raise ValueError(
                f"FID needs the weights of its network: download {DOWNLOAD}, and name the file with --inception-weights"
            )
        return inception(options.inception_weights, device)
    return small((judge or data) if name == "classifier" else name, device)


def pick_reference(model: Checkpoint, options: Against, features: Features) -> Reference:
    """What samples are compared with, its features computed if need be.

    Raises:
        ValueError: If it can't be had, or does not fit.
    """
    if options.reference not in ("train", "test"):
        return evaluation.saved_reference(check_reference(options.reference), features)
    images = evaluation.reference_images(model, options.reference, options.data_dir)
    with bar(len(images), "reference") as tick:
        return evaluation.reference_of(
            images, f"{model.recipe['data']} {options.reference}", features, cache_of(options), tick=tick
        )


def check_reference(name: str) -> str:
    """The name of a file of statistics.

    Raises:
        ValueError: If it isn't one.
    """
    if Path(name).suffix != ".npz":
        raise ValueError(f"reference {name!r}: give train, test, or an .npz file with mu and sigma")
    return name


def cache_of(options: Against | ImagesOptions) -> Path:
    """Where features of real images are kept."""
    return (options.cache_dir or default_cache_dir()) / "features"


def sampling_of(
    model: Checkpoint, options: Against, features: Features, steps: int, eta: float | str, spacing: str, seed: int
) -> Sampling:
    """The sampling of the options.

    Raises:
        ValueError: If the model can't be sampled so.
    """
    sampling = Sampling(options.n or features.usual_n, steps, eta, spacing, options.clip, seed, options.label)
    sampling.check_with(model)
    return sampling if model.config.classes else dataclasses.replace(sampling, label="any")


def batch_of(options: Common, model: Checkpoint) -> int:
    """Images at a time."""
    return options.batch or (1000 if next(model.model.parameters()).device.type == "cuda" else 250)


def describe(result: dict[str, Any]) -> list[str]:
    """A result of ``fid`` in a few lines."""
    sampling, values = result["protocol"]["sampling"], result["result"]
    name = next(iter(values))
    title = (
        "FID"
        if name == "fid"
        else f"Frechet distance in the features of {result['protocol']['features']['name']} (not FID)"
    )
    mark = f" (an estimate from {sampling['n']:,} images)" if result["estimate"] else ""
    if "real" in sampling:
        how = f"images of {sampling['real']['name']} themselves"
    else:
        how = f"S = {sampling['steps']}, eta = {sampling['eta']}, {sampling['spacing']} spacing"
    lines = [
        f"{title}: {values[name]:.4f}{mark}, {sampling['n']:,} images against {result['protocol']['reference']['name']}, {how}"
    ]
    lines += [f"first {row['n']:,}: {row[name]:.4f}" for row in result.get("by_n", [])[:-1]]
    for key, word in (("kid", "KID"), ("kernel_distance", "kernel distance in the same features (not KID)")):
        if key in values:
            lines.append(f"{word}: {values[key]:.6f} +- {values[key + '_standard_error']:.6f}")
    if "precision" in values:
        lines.append(f"precision {values['precision']:.4f}, recall {values['recall']:.4f}")
    return lines


def table_of_etas(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The grid as text, a row for each eta; means over seeds."""
    steps = sorted({row["steps"] for row in rows})
    lines = [f"{about['distance']}{', an estimate' if about['estimate'] else ''}, n = {about['protocol']['n']:,}"]
    for spacing in dict.fromkeys(row["spacing"] for row in rows):
        lines.append(f"{spacing:>16}" + "".join(f"{f'S = {S}':>12}" for S in steps))
        for eta in dict.fromkeys(row["eta"] for row in rows):
            line = f"{f'eta = {eta}':>16}"
            for S in steps:
                cell = [r["value"] for r in rows if (r["spacing"], r["eta"], r["steps"]) == (spacing, eta, S)]
                line += f"{sum(cell) / len(cell):12.4f}" if cell else f"{'':12}"
            lines.append(line)
    return "\n".join(lines)


def table_of_reconstructions(rows: list[dict[str, Any]], kind: str) -> str:
    """The rows as text."""
    lines = [
        f"{'S':>6}{'error':>14}{'standard error':>18}{'median':>14}"
        + (f"{'paper, CIFAR-10':>20}" if kind == "table2" else "")
    ]
    for row in rows:
        line = f"{row['steps']:6}{row['error']:14.6f}{row['standard_error'] or float('nan'):18.6f}{row.get('median', float('nan')):14.6f}"
        lines.append(line + (f"{PAPER_TABLE2.get(row['steps'], ''):>20}" if kind == "table2" else ""))
    return "\n".join(lines)


def rows_so_far(out: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a file already holds.

    Raises:
        ValueError: If it holds something else, or rows of another protocol.
    """
    if not out.exists():
        return []
    before = read_result(out)
    if before.get("kind") != about["kind"]:
        raise ValueError(f"{out} is a result of {before.get('kind')}, not of {about['kind']}: choose another --out")
    same_measurement(out, before, about)
    return before["rows"]


def same_measurement(out: Path, before: dict[str, Any], about: dict[str, Any]) -> None:
    """A check that what a file holds was measured as is about to be.

    Raises:
        ValueError: If it was measured otherwise: it is not replaced.
    """
    wanted = json.loads(json.dumps({"model": about["model"], "protocol": about["protocol"]}))
    found = {
        "model": before.get("model"),
        "protocol": {k: v for k, v in before.get("protocol", {}).items() if k in wanted["protocol"]},
    }
    differs = evaluation.differences(found, wanted)
    if differs:
        raise ValueError(f"{out} was measured otherwise ({'; '.join(differs)}): choose another --out")


def check_out(out: Path, name: str) -> None:
    """A check, before any work, that the result can be written, and that nothing of another kind is lost by it.

    Raises:
        ValueError: If it can't, or the file is not a result of this command.
    """
    if out.suffix.lower() != ".json":
        raise ValueError(f"{out} does not end like a result: use .json")
    check_writable(out)
    kind = "fid" if name == "images" else name
    if out.exists():
        found = read_result(out).get("kind")
        if found != kind:
            raise ValueError(f"{out} is a result of {found}, not of {name}: choose another --out")
    elif name in ("table1", "table2", "reconstruction") and out.with_suffix(".png").exists():
        raise ValueError(
            f"{out.with_suffix('.png')}, where the picture of the table goes, exists: choose another --out"
        )


def command_so_far(out: Path, command: str, covers: bool) -> str:
    """The command line that makes a table again: this one where it covers all rows, and otherwise with those before it."""
    before = "" if covers or not out.exists() else read_result(out).get("command", "")
    return " && ".join(dict.fromkeys([*before.split(" && "), command])) if before else command


def read_result(path: Path) -> dict[str, Any]:
    """A result file.

    Raises:
        ValueError: In one line, if it is none, or of another version.
    """
    try:
        result = json.loads(path.read_text(encoding="utf8"))
        version = result["format"]
    except OSError as error:
        raise ValueError(f"can't read {path} ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} exists and is not a result of {PROG}: choose another file") from None
    if version != evaluation.FORMAT:
        raise ValueError(f"{path} has format {version}, and this ddim_edu reads {evaluation.FORMAT}: measure again")
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result; the file is whole or not there."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


def draw(out: Path, make: Callable[[Any], Any]) -> None:
    """The picture beside a table."""
    from ddim_edu import plotting  # matplotlib takes a second to import

    path = out.with_suffix(".png")
    with replacing(path) as temporary:
        make(plotting).savefig(temporary)
    print(f"result      {out}\npicture     {path}")


def parts_folder(out: Path) -> Path:
    """Where a command that draws for long keeps what it has."""
    return out.with_name(out.name + ".parts")


def note_small_n(n: int, features: Features) -> None:
    """A word to the user about numbers of samples that are too small."""
    if n <= features.size:
        warnings.warn(
            f"{n:,} images for {features.size:,} features: their covariance is singular, and the distance measures n more than the "
            f"images; {features.usual_n:,} are customary",
            stacklevel=2,
        )
    elif n < features.usual_n:
        warnings.warn(
            f"{n:,} images instead of {features.usual_n:,}: an estimate, to be compared at equal n only", stacklevel=2
        )


def command_of(name: str, options: Common | ImagesOptions) -> str:
    """The command line that makes a result again."""
    words = [PROG, name, options.data if isinstance(options, ImagesOptions) else options.checkpoint]
    default = type(options)()
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in MACHINE or value == getattr(default, field.name):
            continue
        words += [
            f"--{field.name.replace('_', '-')}",
            *([str(v) for v in value] if isinstance(value, tuple) else [str(value)]),
        ]
    return " ".join(words)


def without_n(command: str) -> str:
    """A command line without its numbers of images."""
    return re.sub(r" --n( \d+)+", "", command)


@contextmanager
def bar(total: int, what: str) -> Any:
    """A progress bar with the time left; of several processes, the first shows it."""
    with tqdm(
        total=total,
        unit="image",
        desc=what,
        dynamic_ncols=True,
        disable=None if is_first_process() else True,
        leave=False,
    ) as shown:
        yield lambda n: shown.update(min(n, shown.total - shown.n)) if shown.total else None


@contextmanager
def plain_warnings() -> Any:
    """Warnings as one line on stderr, from the first process only."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        if is_first_process():
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
