"""What a run computes on: its processes, and whether its network is compiled."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

with warnings.catch_warnings():  # accelerate warns of optional packages that nobody asked for
    warnings.simplefilter("ignore")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import GradientAccumulationPlugin

from ddim_edu.files import first_line
from ddim_edu.nets.unet import UNet
from ddim_edu.precision import Precision, check, gradient_seconds, is_large
from ddim_edu.processes import check_environment, process_count
from ddim_edu.streams import say
from ddim_edu.training.recipes import Recipe

COMPILE_FROM = 3600  # seconds that a run should last on a CPU to be compiled there


def alone() -> bool:
    """Whether this process was started by itself, and not together with others."""
    return not os.environ.get("WORLD_SIZE", "").strip()


def join_processes(precision: Precision, folder: Path, device: torch.device, tracker: str | None) -> Accelerator:
    """The processes that take part, their devices and their arithmetic.

    Raises:
        ValueError: If the tracker is not installed, the device can't compute so, or the environment wants other
            things.
    """
    check_environment()
    check(precision, device)  # of a run that another machine began
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if alone():  # forget the settings of an earlier trainer of this process
        AcceleratorState._reset_state(reset_partial_state=True)
    if tracker is not None and tracker not in {str(t) for t in get_available_trackers()}:
        raise ValueError(f"tracker {tracker!r} is not installed or not known to accelerate: pip install {tracker}")
    accelerator = Accelerator(  # what it isn't given it reads in the environment
        cpu=device.type == "cpu",
        mixed_precision="no" if precision == "float32" else precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_backend="no",
        log_with=tracker,
        project_dir=folder,
    )
    found = accelerator.device.type, accelerator.num_processes
    if found != (device.type, process_count()):
        raise ValueError(
            f"accelerate takes {found[1]} processes on {found[0]}, and not {process_count()} on {device.type}: choose "
            f"--device {found[0]}, or unset ACCELERATE_USE_CPU and ACCELERATE_TORCH_DEVICE in the environment"
        )
    if tracker is not None:
        accelerator.init_trackers("tracker")
    return accelerator


def track(accelerator: Accelerator, step: int, values: Mapping[str, float], grid: Path | None) -> None:
    """Give a line of the log to the tracker, and a picture of samples to one that takes pictures this way."""
    accelerator.log(dict(values), step=step)
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard" and grid is not None:  # the others take images in ways of their own
            with Image.open(grid) as picture:
                tracker.log_images({"samples": np.asarray(picture)[None]}, step=step, dataformats="NHWC")


def batch_share(recipe: Recipe, processes: int) -> int:
    """Images of a batch that a process works off at once.

    Raises:
        ValueError: If the batch can't be shared out evenly.
    """
    parts = processes * recipe.accumulate
    if recipe.batch % parts:
        raise ValueError(
            f"batch = {recipe.batch} can't be shared out evenly: {processes} processes times "
            f"accumulate = {recipe.accumulate} is {parts}"
        )
    return recipe.batch // parts


def compiling_pays(recipe: Recipe, network: UNet, precision: Precision, device: torch.device, processes: int) -> bool:
    """Always on CUDA; on a CPU it takes minutes and gains a tenth, so for long runs of large networks only."""
    if device.type != "cpu":
        return device.type == "cuda"
    if processes > 1 or not is_large(network):
        return False
    each = min(gradient_seconds(network, precision) for _ in range(2)) / 4
    return each * recipe.batch * recipe.steps > COMPILE_FROM


def compiled(recipe: Recipe, network: UNet, precision: Precision, accelerator: Accelerator, batch: int) -> bool:
    """Compile a network where the recipe says so, or leaves it open and it pays; a first call shows whether this
    machine can.

    Args:
        recipe: What the run is.
        network: The plain network.
        precision: The arithmetic of the run.
        accelerator: What :func:`join_processes` gave.
        batch: Images that a process works off at once.

    Returns:
        Whether it is compiled; a machine that can't goes on without, and says so on stderr.

    Raises:
        ValueError: If the machine can't, and the recipe wants it.
    """
    device, processes = accelerator.device, accelerator.num_processes
    wanted = recipe.compile == "on"
    if not wanted and (recipe.compile == "off" or not compiling_pays(recipe, network, precision, device, processes)):
        return False
    try:
        if device.type == "cuda":  # a small function, which needs the same: the network's first call takes a minute
            torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
        network.compile()
        if device.type != "cuda":
            gradient_seconds(network, precision, batch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler's: no C++ compiler, no headers, no room in its cache
        network._compiled_call_impl, why_not = None, first_line(error, 100)
        if wanted:
            raise ValueError(f"compile = on: this machine can't ({why_not}): choose --compile off, or auto") from None
        if accelerator.is_main_process:
            say(f"not compiled, this machine can't ({why_not})", file=sys.stderr)
        return False
    return True
