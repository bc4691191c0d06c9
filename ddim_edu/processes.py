"""Several processes, as torchrun and ``accelerate launch`` start them. What they share is accelerate's
business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ddim_edu.files import alone
from ddim_edu.streams import printable

OTHER_LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # accelerate would follow them
# Settings of accelerate's that are given explicitly, or looked at when it has read them; all others are refused.
GIVEN = re.compile(
    "ACCELERATE_(MIXED_PRECISION|GRADIENT_ACCUMULATION_STEPS|DYNAMO_.*|USE_CPU|TORCH_DEVICE|.*DEBUG.*|CPU_AFFINITY|"
    "LOG_LEVEL|.*_RICH)"
)
NOTHING = {"", "0", "false", "no", "none"}


def process_count() -> int:
    """How many processes were started together."""
    return _launched("WORLD_SIZE", 1)


def process_index() -> int:
    """Which of them this is, from 0."""
    return _launched("RANK", 0)


def check_environment() -> None:
    """A check that the environment says of processes what can be followed, and of training nothing that recipes say.

    Variables of launchers that are empty are removed: accelerate takes them for numbers.

    Raises:
        ValueError: In one line, with the variable's name.
    """
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        if not os.environ.get(name, "something").strip():
            del os.environ[name]
    process_index()
    if process_count() > 1 and "LOCAL_RANK" not in os.environ:
        raise ValueError(
            f"WORLD_SIZE = {process_count()}, and no LOCAL_RANK: start the processes with torchrun, or unset WORLD_SIZE"
        )
    others = [name for name in OTHER_LAUNCHERS if process_count() == 1 and _launched(name, 1) > 1]
    others += [
        name
        for name, value in os.environ.items()
        if name.startswith("ACCELERATE_") and value.lower() not in NOTHING and not GIVEN.fullmatch(name)
    ]
    if others:
        name = min(others)
        how = "start the processes with torchrun" if name in OTHER_LAUNCHERS else "the recipe says how to train"
        raise ValueError(f"{name} = {os.environ[name]} in the environment is not followed: unset it, {how}")


def _launched(name: str, least: int) -> int:
    """A number that a launcher has put into the environment; ``least`` if there is none."""
    value = os.environ.get(name, "").strip() or str(least)
    if not value.isdecimal() or int(value) < least:
        raise ValueError(f"{name} = {value} in the environment: give a whole number from {least}, or unset it")
    return int(value)


def is_first_process() -> bool:
    """Whether this process writes files and speaks."""
    rank = os.environ.get("RANK", "").strip()
    return not rank.isdecimal() or int(rank) == 0  # who has none that can be read may say so


def progress(total: int, unit: str, what: str | None = None, *, done: int = 0) -> tqdm:
    """A progress bar on stderr, to be used with ``with``: only in a terminal and in the first process, gone at the end.

    Args:
        total: How many there are to do.
        unit: What is counted: ``"image"``.
        what: What is being done, before the bar.
        done: How many are done already.
    """
    quiet = None if is_first_process() else True  # None: only where stderr is a terminal
    return tqdm(
        total=total,
        initial=done,
        desc=what and printable(what),
        unit=f" {unit}",
        disable=quiet,
        leave=False,
        dynamic_ncols=True,
    )


def counted(function: Callable[..., Any], tick: Callable[[], object]) -> Callable[..., Any]:
    """The same function, which calls ``tick`` after each call of its own: a noise predictor that moves a bar on."""

    def ticking(*arguments: Any) -> Any:
        result = function(*arguments)
        tick()
        return result

    return ticking


def pick_device(name: str = "auto") -> torch.device:
    """The device that this process computes on: of several processes on GPUs, each has its own.

    Args:
        name: ``"auto"`` takes a GPU if there is one; otherwise a name that torch knows, such as ``"cpu"`` or
            ``"cuda:1"``.

    Raises:
        ValueError: If the name is unknown, this machine has no such device, or :func:`check_environment` finds
            something.
    """
    check_environment()
    if name == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind in there if there[kind]), "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and process_count() > 1:
            device = torch.device("cuda", _launched("LOCAL_RANK", 0))
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(f"device {name!r} is not usable here: try auto or cpu") from None
    return device


def once(make: Callable[[], Any], device: torch.device) -> Any:
    """Call a function in the first process only, and give its result to all.

    Args:
        make: What to call; its result can be pickled.
        device: The kind of device that the processes compute on.

    Raises:
        ValueError: In every process, if it raised one in the first.
    """
    if process_count() == 1:
        return make()
    gathered = gather([_attempt(make)] if is_first_process() else [], device)
    result, error = gathered[0]
    if error is not None:
        raise ValueError(error)
    return result


@contextmanager
def alone_together(folder: Path | str, device: torch.device) -> Iterator[None]:
    """:func:`ddim_edu.files.alone` for all processes that were started together: the first one holds the folder.

    Args:
        folder: The folder.
        device: The kind of device that the processes compute on.

    Raises:
        ValueError: In every process, if one that was not started with them has it.
    """
    with ExitStack() as stack:
        once(lambda: stack.enter_context(alone(folder)), device)
        yield


def gather(values: list[Any], device: torch.device) -> list[Any]:
    """Put the lists of all processes one behind the other, in every process."""
    if process_count() == 1:
        return values
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState(cpu=device.type == "cpu")
    return gather_object(values)


def _attempt(make: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return make(), None
    except (ValueError, OSError) as error:
        return None, str(error)
