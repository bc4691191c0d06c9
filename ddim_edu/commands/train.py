"""Train a model: ``python -m ddim_edu.train [RECIPE] [--field value ...] [--resume RUN]``.

Exit codes: 0 done; 2 called wrongly, or the loss blew up (one line on stderr says what); 130 stopped by Ctrl-C,
checkpoint written.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tqdm import tqdm

from ddim_edu.commands.options import check_threads, closest, fail, parse
from ddim_edu.files import check_writable
from ddim_edu.models import checkpoint
from ddim_edu.processes import alone_together, once, pick_device
from ddim_edu.training.recipes import RECIPES, Recipe
from ddim_edu.training.trainer import Threads, Trainer, read_recipe

DEFAULT = "digits"
PROG = "python -m ddim_edu.train"


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What the command takes: where and on what to train, and every field of the recipe."""

    # Folder for the run, new or empty. By default the first free one of runs/RECIPE, runs/RECIPE-2, ...
    out: Path | None = None
    # A run folder to go on with, from its last checkpoint and with its own recipe.
    resume: Path | None = None
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"
    # Where data sets lie, or are downloaded to; $DDIM_EDU_DATA, or else the folder data, if not given.
    data_dir: Path | None = None
    # A tracker of accelerate's to log to besides log.csv, such as tensorboard (see it with: tensorboard --logdir RUN).
    tracker: str | None = None
    # CPU threads; 0 tries out which number is fastest, and again when the machine gets busy. A fixed number repeats a
    # run bit for bit.
    threads: int = 0
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = dataclasses.field(
        default=RECIPES[DEFAULT], metadata={"flat": True}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.train``; those of the process if None.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        name, options = read_options(arguments)
        check_threads(options.threads)
        device = pick_device(options.device)
        folder = options.resume or once(lambda: claim_folder(name, options.out), device)
        with alone_together(folder, device):
            return run_in(folder, options, device)
    except (ValueError, OSError) as error:
        return fail(error)


def run_in(folder: Path, options: TrainOptions, device: torch.device) -> int:
    """Begin or go on in a folder that is ours alone, and train to the end.

    Raises:
        ValueError: If the run can't be begun or gone on with so.
    """
    how = {"data_dir": options.data_dir, "tracker": options.tracker}
    try:
        if options.resume is not None:
            trainer = Trainer.resume(folder, device, options.recipe, **how)
        else:
            trainer = Trainer.start(options.recipe, folder, device, **how)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return fail(
            f"not even the network and its data fit into the memory of {options.device}: lower --unet.ch, or train elsewhere"
        )
    try:
        return train(trainer, options.threads)
    except KeyboardInterrupt:  # the second one, or one before the first step
        print(f"stopped without saving; {trainer.folder} keeps its last checkpoint, if it had one", file=sys.stderr)
        return 130


def read_options(arguments: Sequence[str]) -> tuple[str, TrainOptions]:
    """The recipe's name and the options.

    Raises:
        ValueError: One line, for anything that does not fit.
    """
    words = list(arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name is not None and name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}{closest(name, RECIPES)} (known: {', '.join(RECIPES)})")

    def read(recipe: Recipe) -> TrainOptions:
        return parse(
            TrainOptions(recipe=recipe),
            words,
            prog=f"{PROG} [RECIPE]",
            description=f"Train a model. RECIPE is one of: {', '.join(RECIPES)} (default: {DEFAULT}). "
            "Below are its fields; each can be set.",
        )

    options = read(RECIPES[name or DEFAULT])
    if options.resume is not None:
        if name is not None:
            raise ValueError(f"--resume goes on with the recipe of {options.resume}: leave out {name!r}")
        if options.out is not None:
            raise ValueError(f"--resume goes on in {options.resume}: leave out --out {options.out}")
        options = read(read_recipe(options.resume))
    return name or DEFAULT, options


def claim_folder(name: str, out: Path | None) -> Path:
    """Make the run folder: ``out``, or the first free one of runs/NAME, runs/NAME-2, ...

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


def train(trainer: Trainer, threads: int = 0) -> int:
    """Train to the end, with a progress bar.

    Args:
        trainer: The run.
        threads: Number of CPU threads; 0 tries it out.

    Returns:
        The exit code.
    """
    recipe, folder = trainer.recipe, trainer.folder
    parameters = sum(p.numel() for p in trainer.model.parameters())
    size = f"{parameters:,} parameters, {len(trainer.data.train):,} images"
    if trainer.writes:
        processes = trainer.accelerator.num_processes
        where = f"{trainer.device}" if processes == 1 else f"{processes} x {trainer.device.type}"
        print(f"{folder}: {size}, {recipe.steps:,} steps of {recipe.batch} on {where}", flush=True)
    started, heldout, loss = time.perf_counter(), None, float("nan")
    threads_before = torch.get_num_threads()
    between = 0.1 if sys.stderr.isatty() else 10.0  # seconds; in a file every refresh is a line
    bar = tqdm(
        total=recipe.steps,
        initial=trainer.step,
        unit="step",
        mininterval=between,
        dynamic_ncols=True,
        disable=not trainer.writes,
    )
    try:
        with bar, stop_signals() as stopped:
            if threads:
                torch.set_num_threads(threads)
            picker = Threads(trainer) if trainer.device.type == "cpu" and not threads else None
            for record in trainer.run():
                bar.update()
                if picker:
                    picker.after_step()
                if record.mean_loss is not None:
                    loss = record.mean_loss
                    bar.set_postfix_str(f"loss {loss:.4f}, {record.images_per_s:,.0f} images/s", refresh=False)
                if record.heldout_loss is not None:
                    heldout = record.heldout_loss
                    bar.write(
                        f"step {record.step:,}/{recipe.steps:,}: loss {loss:.4f}, held-out {heldout:.4f}, {record.grid}"
                    )
                    sys.stdout.flush()
                if trainer.agree(bool(stopped)):
                    stopped = stopped or [signal.SIGINT]
                    trainer.save()
                    break
    except (ValueError, OSError) as error:  # the loss blew up, or the disk is full
        return fail(error)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return fail(
            f"out of memory with batch = {recipe.batch}: raise --accumulate (now {recipe.accumulate}), use --precision bf16, "
            f"or lower --batch or --unet.ch"
        )
    finally:
        torch.set_num_threads(threads_before)
        trainer.close()
    if stopped and not trainer.writes:
        return 128 + stopped[0]
    if stopped:
        print(f"stopped at step {trainer.step:,}; to go on: {PROG} --resume {folder}", file=sys.stderr)
        return 128 + stopped[0]
    if not trainer.writes:
        return 0
    print(f"done in {time.perf_counter() - started:.0f} s: held-out loss {heldout:.4f}")
    print(f"samples     {folder / 'samples.png'}")
    print(f"checkpoint  {folder / checkpoint.NAME}")
    if recipe.autoencoder is None:
        print(
            f"next        python -m ddim_edu.sample {folder} --steps {min(20, recipe.T)} --eta 0 -n 64 --out grid.png"
        )
    else:
        print(f"next        python -m ddim_edu.apps sound {folder} -n 10 --out result.wav")
    return 0


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that there was not enough memory, a GPU's or the machine's."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that training ends between two steps; a second Ctrl-C ends it at once."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
