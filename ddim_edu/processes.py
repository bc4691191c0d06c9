"""Several processes, as torchrun and ``accelerate launch`` start them. What they share is accelerate's
business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ddim_edu.files import alone


def process_count() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first_process() -> bool:
    """Whether this process writes files and speaks."""
    return process_index() == 0


def progress(total: int, unit: str, what: str | None = None, *, done: int = 0) -> tqdm:
    """A progress bar on stderr, to be used with ``with``: only in a terminal and in the first process, gone at the end.

    Args:
        total: How many there are to do.
        unit: What is counted: ``"image"``.
        what: What is being done, before the bar.
        done: How many are done already.
    """
    quiet = None if is_first_process() else True  # None: only where stderr is a terminal
    return tqdm(total=total, initial=done, desc=what, unit=f" {unit}", disable=quiet, leave=False, dynamic_ncols=True)


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
        ValueError: If the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind in there if there[kind]), "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and process_count() > 1:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
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
