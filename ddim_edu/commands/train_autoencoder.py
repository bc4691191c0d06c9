"""Train the autoencoder of a latent diffusion: ``python -m ddim_edu.commands.train_autoencoder spoken-digits``.

Writes its file (:mod:`ddim_edu.models.autoencoders`) and prints its error on what was held out. It takes a folder, too: of
wav files, or of images of 64 x 64 pixels with ``--size 64``. The same machine, version of torch and number of threads
give the same file again.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C, nothing written.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ddim_edu.commands.options import fail, parse, run
from ddim_edu.data.batches import Shuffle, shifted
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.files import check_writable
from ddim_edu.models import autoencoders
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig
from ddim_edu.randomness import Stream, generator_for

PROG = "python -m ddim_edu.commands.train_autoencoder"

# Second word of the random streams' keys, after the seed; 0 is the shuffling of Shuffle.


@dataclasses.dataclass(frozen=True)
class AutoencoderRecipe:
    """How an autoencoder is trained: AdamW on the mean square error, with a learning rate that rises to ``lr`` over the
    first twentieth of the steps and falls to 0 along half a cosine.

    Raises:
        ValueError: If a value is out of range.
    """

    # The data set: its name, or a folder.
    data: str = "spoken-digits"
    # Passes over it.
    epochs: int = 16
    # Pictures per step.
    batch: int = 32
    # Highest learning rate.
    lr: float = 3e-3
    # AdamW's, per unit of learning rate.
    weight_decay: float = 0.01
    # Channels of the levels, each of which halves the side.
    channels: tuple[int, ...] = (16, 32, 64)
    # Channels of the latent.
    latent_channels: int = 8
    # Standard deviation of the noise that is added to the latents, whose own is 1.
    noise: float = 0.1
    # Pictures are moved left or right by up to so many pixels: sounds, in time.
    shift: int = 2
    # Everything random follows from it.
    seed: int = 0
    # CPU threads.
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("shift", 0), ("seed", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least {least}")
        if not self.lr > 0 or not self.weight_decay >= 0:
            raise ValueError(
                f"lr = {self.lr}, weight_decay = {self.weight_decay}: give a positive lr, and no negative weight_decay"
            )


def train_autoencoder(recipe: AutoencoderRecipe, data: ImageData) -> Autoencoder:
    """Train an autoencoder on the CPU.

    Args:
        recipe: How.
        data: The data set; its labels are not used.

    Returns:
        The network, in evaluation mode, its weights rounded to float16 as they will be saved, its latents normalised
        over the training set.
    """
    torch.set_num_threads(recipe.threads)
    _, channels, size, _ = data.train.shape
    config = AutoencoderConfig(size, channels, recipe.channels, recipe.latent_channels, recipe.noise)
    steps = max(1, recipe.epochs * len(data.train) // recipe.batch)
    order = Shuffle(len(data.train), recipe.batch, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
        model = Autoencoder(config).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    rise = max(1.0, 0.05 * steps)
    bar = tqdm(range(steps), unit="step", disable=None, leave=False)
    for step in bar:
        generator = generator_for(recipe.seed, Stream.STEP, step)
        x = data.floats(data.train[order(step)])
        if recipe.shift:
            right = torch.randint(-recipe.shift, recipe.shift + 1, (len(x),), generator=generator)
            x = shifted(x, torch.zeros_like(right), right)
        noise = torch.randn(len(x), *config.latent_shape, generator=generator)
        loss = F.mse_loss(model(x, noise), x)
        optimizer.zero_grad()
        loss.backward()
        rate = (
            (step + 1) / rise if step + 1 < rise else (1 + math.cos(math.pi * (step - rise) / (steps - rise + 1))) / 2
        )
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate
        optimizer.step()
        if step % 100 == 99:
            bar.set_postfix_str(f"root mean square error {loss.item() ** 0.5:.4f}", refresh=False)
    return _finish(model, data)


@torch.no_grad()
def _finish(model: Autoencoder, data: ImageData) -> Autoencoder:
    """Round the weights as they are saved, and normalise by the whole training set instead of the last batches."""
    for value in model.parameters():
        value.copy_(value.half())
    raw = torch.cat([model.encoder(data.floats(part)) for part in data.train.split(250)]).double()
    model.normalise.running_mean.copy_(raw.mean((0, 2, 3)))
    model.normalise.running_var.copy_(raw.var((0, 2, 3)))
    return model.eval()


@torch.no_grad()
def held_out_error(model: Autoencoder, data: ImageData) -> float:
    """Root mean square error of the held-out pictures."""
    model.eval()
    total = 0.0
    for part in data.heldout.split(250):
        x: Tensor = data.floats(part)
        total += F.mse_loss(model(x).clamp(-1, 1), x, reduction="sum").item()
    return (total / data.heldout.numel()) ** 0.5


@dataclasses.dataclass(frozen=True)
class _Options:
    # Where to write; for spoken-digits by default among what comes with the package.
    out: Path | None = None
    # Where data sets lie.
    data_dir: Path | None = None
    # For folders of images: the size to bring them to, in pixels.
    size: int | None = None
    # Passes over the data.
    epochs: int = AutoencoderRecipe.epochs
    # Channels of the latent.
    latent_channels: int = AutoencoderRecipe.latent_channels
    # Everything random follows from it.
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after the command; those of the process if None.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        name = words.pop(0) if words and not words[0].startswith("-") else None
        options = parse(
            _Options(), words, prog=f"{PROG} DATA", description="Train the autoencoder of a latent diffusion."
        )
        if name is None:
            raise ValueError(f"on what? name a data set or a folder: {PROG} spoken-digits")
        if options.out is None and name != "spoken-digits":
            raise ValueError(f"where to? name a file with --out, such as --out {Path(name).stem}.safetensors")
        if options.out is None:
            autoencoders.SHIPPED.mkdir(parents=True, exist_ok=True)
        out = check_writable(options.out or autoencoders.SHIPPED / f"{name}.safetensors")
        recipe = AutoencoderRecipe(name, options.epochs, latent_channels=options.latent_channels, seed=options.seed)
        data = load_data(recipe.data, data_dir=options.data_dir, size=options.size)
        AutoencoderConfig(
            data.train.shape[-1], data.train.shape[1], recipe.channels, recipe.latent_channels
        )  # whether it fits
    except (ValueError, OSError) as error:
        return fail(error)
    started = time.perf_counter()
    try:
        model = train_autoencoder(recipe, data)
    except KeyboardInterrupt:
        return 130
    seconds = time.perf_counter() - started
    error = held_out_error(model, data)
    training = dataclasses.asdict(recipe)
    try:
        autoencoders.save_autoencoder(
            out, model, data=recipe.data, classes=data.classes, error=error, training=training
        )
    except OSError as problem:
        return fail(f"can't write {out} ({problem.strerror or problem})")
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{out}: {parameters:,} parameters, root mean square error {error:.4f} on {len(data.heldout):,} held-out pictures in [-1, 1], "
        f"{seconds:.0f} s"
    )
    return 0


if __name__ == "__main__":
    run(main)
