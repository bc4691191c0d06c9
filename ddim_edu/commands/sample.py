"""Draw images: ``python -m ddim_edu.sample RUN_OR_CHECKPOINT --steps 20 --eta 0 -n 64 --out grid.png``.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what).
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from ddim_edu.commands.options import fail, parse
from ddim_edu.data.source import check_picture, save_grid
from ddim_edu.models import Checkpoint, load
from ddim_edu.models.precision import choose, in_precision
from ddim_edu.processes import gather, is_first_process, pick_device, process_count, process_index
from ddim_edu.randomness import image_generators
from ddim_edu.sampler import ddim_path
from ddim_edu.sampler import sample as draw
from ddim_edu.schedule import check_eta, make_tau

PROG = "python -m ddim_edu.sample"


@dataclasses.dataclass(frozen=True)
class SampleOptions:
    """What the command takes.

    Raises:
        ValueError: If a value is out of range.
    """

    # A run folder, a checkpoint file, or the name of a shipped model; also a folder of diffusers, or a .pth of the
    # official code.
    checkpoint: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT", help_behavior_hint="(required)")
    ] = ""
    # Number of sampling steps S, from 1 to the model's T.
    steps: int = 20
    # 0 is DDIM (deterministic), 1 is DDPM, "hat" is DDPM with its larger noise.
    eta: float | Literal["hat"] = 0.0
    # Which of the T levels the steps visit. The default asks the network at level T first, whose noise is what sampling
    # starts from; leading is the official code's, and starts below T.
    spacing: Literal["leading", "linspace", "trailing", "quadratic", "quadratic-full"] = "trailing"
    # How many images.
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    # The picture to write; its ending says the format.
    out: Path = Path("samples.png")
    # Image i of a seed is the same image whatever --n, --batch and the device are.
    seed: int = 0
    # Keep the predicted image within [-clip, clip] at every step; "off" lets it go where it goes. Where the first step
    # leaves from nearly pure noise (cosine schedule, spacings that start at T), samples need it; elsewhere it changes
    # little.
    clip: float | Literal["off"] = 1.0
    # For models that know classes: the class to draw, or "turn" for each in turn, or "any" to leave it open.
    label: int | Literal["turn", "any"] = "turn"
    # Images in memory at a time.
    batch: int = 256
    # Side of the images, for a .pth of the official code that doesn't show it.
    image_size: int | None = None
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"
    # Arithmetic of the network. auto: bf16 on GPUs that have it, and on processors with units for it where the network
    # is large.
    precision: Literal["auto", "float32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        for name in ("n", "batch", "image_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least 1")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: give at least 0")
        if self.eta != "hat":
            check_eta(self.eta)
        if self.clip != "off" and not self.clip > 0:
            raise ValueError(f"clip = {self.clip}: give a positive number, such as 1, or off")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.sample``; those of the process if None.

    Returns:
        The exit code.
    """
    try:  # all that a user can get wrong is found here, before the work
        options = parse(
            SampleOptions(),
            sys.argv[1:] if arguments is None else arguments,
            prog=PROG,
            description="Draw images from a trained model and write them as one picture.",
        )
        if not options.checkpoint:
            raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} runs/digits")
        check_picture(options.out)
        model = load(options.checkpoint, pick_device(options.device), image_size=options.image_size).of_pictures()
        if isinstance(options.label, int) and not 0 <= options.label < model.config.classes:
            known = f"labels 0..{model.config.classes - 1}" if model.config.classes else "no classes"
            raise ValueError(f"label = {options.label}: {options.checkpoint} knows {known}")
        choose(options.precision, next(model.network.parameters()).device, model.network)
        tau = make_tau(model.schedule.T, options.steps, options.spacing)
        ddim_path(
            model.model, torch.empty(0), model.schedule, tau, eta=options.eta
        )  # checks that eta fits; takes no step
    except (ValueError, OSError) as error:
        return fail(error)
    started = time.perf_counter()
    try:
        images = draw_images(model, tau, options)
    except KeyboardInterrupt:
        return 130
    seconds = time.perf_counter() - started
    if not is_first_process():
        return 0
    try:
        save_grid(images, options.out)
    except OSError as error:
        return fail(f"can't write {options.out} ({error.strerror or error})")
    print(
        f"{options.out}: {options.n} images in {seconds:.2f} s ({options.n / seconds:,.0f} images/s), S = {options.steps}, "
        f"eta = {options.eta:{'' if options.eta == 'hat' else 'g'}}, {options.spacing} spacing, {options.steps} network calls each"
    )
    return 0


def draw_images(model: Checkpoint, tau: Tensor, options: SampleOptions) -> Tensor:
    """The images of the options, a batch at a time; of several processes, each draws its share.

    Returns:
        ``(n, C, H, W)`` on the CPU, the same in every process.
    """
    device = next(model.network.parameters()).device
    precision = choose(options.precision, device, model.network)
    clip = None if options.clip == "off" else options.clip
    parts = []
    with tqdm(total=options.n, unit="image", disable=None if is_first_process() else True, leave=False) as bar:
        for start in list(range(0, options.n, options.batch))[process_index() :: process_count()]:
            stop = min(start + options.batch, options.n)
            generators = image_generators(options.seed, start, stop)
            labels = None if options.label == "any" or not model.config.classes else options.label
            if labels == "turn":
                labels = torch.arange(start, stop, device=device) % model.config.classes
            shape = (stop - start, *model.image_shape)
            eps_theta = in_precision(model.eps_theta(labels), precision)
            images = draw(
                eps_theta, shape, model.schedule, tau, eta=options.eta, generator=generators, device=device, clip=clip
            )
            parts.append((start, images.cpu()))
            bar.update((stop - start) * process_count())
    return torch.cat([images for _, images in sorted(gather(parts, device), key=lambda part: part[0])])
