"""Draw images: ``python -m ddim_edu.sample RUN_OR_CHECKPOINT --steps 20 --eta 0 -n 64 --out grid.png``.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ddim_edu.commands.options import CheckpointName, Count, carry_out, parse, plain_warnings
from ddim_edu.data.named import class_names
from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.models import load
from ddim_edu.models.checkpoint import weaker_of
from ddim_edu.processes import is_first_process, pick_device
from ddim_edu.ranges import Positive
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.streams import say

PROG = "python -m ddim_edu.sample"


@dataclasses.dataclass(frozen=True)
class SampleOptions(Sampling):
    """What the command takes: which samples, of what, and where they go.

    Raises:
        ValueError: If a value is out of range.
    """

    # A run folder, a checkpoint file, or the name of a shipped model; also a folder of diffusers, or a .pth of the
    # official code.
    checkpoint: CheckpointName = ""
    # How many images.
    n: Count = 64
    # The picture to write; its ending says the format.
    out: Path = Path("samples.png")
    # Images in memory at a time; halved by itself when a GPU's memory is too small.
    batch: Positive = 256
    # Side of the images, for a .pth of the official code that doesn't show it.
    image_size: Positive | None = None
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"
    # Arithmetic of the network. auto: bf16 on GPUs that have it, and on processors with units for it where the network
    # is large.
    precision: Literal["auto", "float32", "bf16"] = "auto"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.sample``; those of the process if None.

    Returns:
        The exit code.
    """
    return carry_out(lambda: sample(sys.argv[1:] if arguments is None else arguments))


def sample(arguments: Sequence[str]) -> None:
    """Draw the images, write the picture, and say in one line how they were drawn.

    Raises:
        ValueError: In one line, for what a user can get wrong: before the work, but for an error of a solver.
        OSError: If the picture can't be written.
    """
    description = "Draw images from a trained model and write them as one picture."
    options = parse(SampleOptions(), arguments, prog=PROG, description=description)
    if not options.checkpoint:
        raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} runs/digits")
    check_picture(options.out)
    device = pick_device(options.device)
    model = load(options.checkpoint, device, image_size=options.image_size).of_pictures()
    options = options.with_number(class_names(model))
    if model.student is not None and not any(word.split("=")[0] == "--steps" for word in arguments):
        options = dataclasses.replace(options, steps=model.student.steps)
    options.check_with(model)
    weaker = weaker_of(options.guidance, device)
    # Compiling takes longer than a grid.
    sampler = Sampler(model, options.batch, options.precision, compile=False, weaker=weaker)
    started = time.perf_counter()
    with plain_warnings():
        images = sampler.draw_together(options)
    seconds = time.perf_counter() - started
    if not is_first_process():
        return
    try:
        save_grid(images, options.out)
    except OSError as error:
        raise ValueError(f"can't write {options.out} ({error.strerror or error})") from None
    walk = f"eta = {options.eta:{'' if options.eta == 'hat' else 'g'}}, {options.spacing} spacing"
    walk += "" if options.scale == 1 else f", scale = {options.scale:g}"
    walk += "" if options.guidance == "plain" else f", guidance {options.guidance}"
    walk += "" if options.solver == "ddim" else f", solver {options.solver}"
    say(
        f"{options.out}: {options.n} images in {seconds:.2f} s ({options.n / seconds:,.0f} images/s), "
        f"S = {options.steps}, {walk}, {sampler.calls_per_image(options):g} network calls each"
    )
