"""Train a model: ``python -m ddim_edu.train [RECIPE] [--field value ...] [--resume RUN]``.

Exit codes: 0 done; 2 called wrongly, or the loss blew up (one line on stderr says what); stopped with the checkpoint
written: 130 by Ctrl-C, 143 by SIGTERM, 129 by a terminal that hung up, 141 because nobody reads the output any more.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from ddim_edu.commands.options import carry_out, check_threads, closest, parse
from ddim_edu.models import checkpoint
from ddim_edu.processes import alone_together, once, pick_device
from ddim_edu.strangers import CODE
from ddim_edu.streams import nobody_reads, printable, say
from ddim_edu.training.recipes import RECIPES, Recipe
from ddim_edu.training.run_folder import RunFolder, claim_folder
from ddim_edu.training.threads import Threads
from ddim_edu.training.trainer import Trainer

DEFAULT = "digits"
PROG = "python -m ddim_edu.train"
SIGHUP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGPIPE = 13


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
    stopped: list[int] = []

    def work() -> None:
        name, options = read_options(arguments)
        check_threads(options.threads)
        device = pick_device(options.device)
        folder = options.resume or once(lambda: claim_folder(name, options.out), device)
        with alone_together(folder, device):
            trainer = begin(folder, options, device, named_in(arguments))
            try:
                train(trainer, stopped, options.threads)
            except KeyboardInterrupt:  # the second one, or one before the first step
                say(f"stopped without saving; {folder} keeps its last checkpoint, if it had one", file=sys.stderr)
                raise

    code = carry_out(work)
    return 128 + stopped[0] if stopped and not code else code


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
        options = read(RunFolder(options.resume).recipe())
    return name or DEFAULT, options


def named_in(arguments: Sequence[str]) -> set[str]:
    """Which of the data and the autoencoder the command line names: those that a file names are not all followed."""
    words = {word.split("=")[0] for word in arguments}
    return {name for name in ("data", "autoencoder") if f"--{name}" in words}


def begin(folder: Path, options: TrainOptions, device: torch.device, given: Collection[str] = ()) -> Trainer:
    """Begin or go on in a folder that is ours alone.

    Args:
        folder: The run folder.
        options: The options.
        device: Where to train.
        given: From :func:`named_in`.

    Raises:
        ValueError: If the run can't be begun or gone on with so.
    """
    how: dict[str, Any] = {"data_dir": options.data_dir, "tracker": options.tracker}
    with memory_for(
        f"not even the network and its data fit into the memory of {options.device}: lower --unet.ch, "
        "or train elsewhere"
    ):
        if options.resume is not None:
            return Trainer.resume(folder, device, options.recipe, given=given, **how)
        return Trainer.start(options.recipe, folder, device, **how)


def train(trainer: Trainer, stopped: list[int], threads: int = 0) -> None:
    """Train to the end, or until a signal says to stop.

    Args:
        trainer: The run.
        stopped: Filled with the signals that said so.
        threads: Number of CPU threads; 0 tries it out.

    Raises:
        ValueError: If the loss blew up, or there was not enough memory.
        OSError: If the disk is full.
    """
    recipe, started, before = trainer.recipe, time.perf_counter(), torch.get_num_threads()
    introduce(trainer)
    try:
        with (
            memory_for(
                f"out of memory with batch = {recipe.batch}: raise --accumulate (now {recipe.accumulate}), "
                "use --precision bf16, or lower --batch or --unet.ch"
            ),
            stop_signals(stopped),
        ):
            heldout = follow(trainer, stopped, threads)
    finally:
        torch.set_num_threads(before)
        trainer.close()
    if not trainer.folder.writes:
        return
    if stopped:
        resume = f"{PROG} --resume {quote(str(trainer.folder.path))}"
        if CODE.fullmatch(trainer.recipe.data):  # which is imported only where the command line names it
            resume += f" --data {quote(trainer.recipe.data)}"
        say(f"stopped at step {trainer.step:,}; to go on: {resume}", file=sys.stderr)
    else:
        say(f"done in {time.perf_counter() - started:.0f} s: held-out loss {heldout:.4f}")
        say_what_next(trainer)


def follow(trainer: Trainer, stopped: list[int], threads: int) -> float | None:
    """Train with a progress bar; when a signal has come, save and stop.

    Returns:
        The latest held-out loss.
    """
    recipe, heldout, loss, picker = trainer.recipe, None, float("nan"), None
    bar = tqdm(
        total=recipe.steps,
        initial=trainer.step,
        unit="step",
        mininterval=0.1 if sys.stderr.isatty() else 10.0,  # seconds; in a file every refresh is a line
        dynamic_ncols=True,
        disable=not trainer.folder.writes,
    )
    with bar:
        if threads:
            torch.set_num_threads(threads)
        elif trainer.device.type == "cpu":
            picker = Threads(trainer.model, trainer.precision, recipe.batch // recipe.accumulate)
        for record in trainer.run():
            bar.update()
            if picker:
                picker.after_step(trainer.step_seconds)
            if record.mean_loss is not None:
                loss = record.mean_loss
                bar.set_postfix_str(f"loss {loss:.4f}, {record.images_per_s:,.0f} images/s", refresh=False)
            if record.heldout_loss is not None:
                heldout = record.heldout_loss
                at = f"step {record.step:,}/{recipe.steps:,}"
                bar.write(printable(f"{at}: loss {loss:.4f}, held-out {heldout:.4f}, {record.grid}"))
                sys.stdout.flush()
                if nobody_reads() and not stopped:
                    stopped.append(SIGPIPE)
            if trainer.agree(bool(stopped)):
                stopped[:] = stopped or [signal.SIGINT]  # another process had it
                trainer.save()
                break
    return heldout


def introduce(trainer: Trainer) -> None:
    """Say what is trained, and where."""
    if not trainer.folder.writes:
        return
    recipe, processes = trainer.recipe, trainer.accelerator.num_processes
    parameters = sum(p.numel() for p in trainer.model.parameters())
    where = f"{trainer.device}" if processes == 1 else f"{processes} x {trainer.device.type}"
    size = f"{parameters:,} parameters, {len(trainer.data.train):,} images"
    say(f"{recipe.data}: {trainer.data.about()}")
    say(f"{trainer.folder.path}: {size}, {recipe.steps:,} steps of {recipe.batch} on {where}", flush=True)


def say_what_next(trainer: Trainer) -> None:
    """Name what a finished run has made, and the command that samples from it."""
    recipe, folder = trainer.recipe, trainer.folder.path
    say(f"samples     {folder / 'samples.png'}")
    say(f"checkpoint  {folder / checkpoint.NAME}")
    if recipe.autoencoder is None:
        S = trainer.teaching.student_steps(trainer.step) if trainer.teaching else min(20, recipe.T)
        how = f"--steps {S} --eta 0 -n 64 --out grid.png"
        say(f"next        python -m ddim_edu.sample {quote(str(folder))} {how}")
    else:
        say(f"next        python -m ddim_edu.apps sound {quote(str(folder))} -n 10 --out result.wav")


@contextmanager
def memory_for(otherwise: str) -> Iterator[None]:
    """Turn what torch and Python raise for want of memory, a GPU's or the machine's, into one line.

    Raises:
        ValueError: ``otherwise``, if there was not enough.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error):
            raise ValueError(otherwise) from None
        raise


@contextmanager
def stop_signals(received: list[int]) -> Iterator[None]:
    """Collect Ctrl-C, SIGTERM and a terminal's hang-up in a list, so that training ends between two steps.

    A second one ends it at once, but for hang-ups: shell and system each send one. What is ignored, as under ``nohup``,
    stays so.
    """

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_IGN if number == SIGHUP else before[number])

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM, SIGHUP)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
