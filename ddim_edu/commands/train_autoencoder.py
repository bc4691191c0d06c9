"""Train the autoencoder of a latent diffusion: ``python -m ddim_edu.commands.train_autoencoder spoken-digits``.

Writes its file (:mod:`ddim_edu.models.small`) and prints its error on what was held out. It takes a folder, too: of wav
files, or of images of 64 x 64 pixels with ``--size 64``. :mod:`ddim_edu.training.small` says how it is trained.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C, nothing written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ddim_edu.commands.options import carry_out, parse, run
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.streams import say
from ddim_edu.training.small import AutoencoderRecipe, make

PROG = "python -m ddim_edu.commands.train_autoencoder"


@dataclass(frozen=True)
class AutoencoderOptions:
    """What the command takes."""

    # A data set, or a folder.
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA", help_behavior_hint="(required)")] = ""
    # Where to write; for spoken-digits and notes by default among what comes with the package.
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
    seed: int = AutoencoderRecipe.seed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after the command; those of the process if None.

    Returns:
        The exit code.
    """

    def work() -> None:
        words = sys.argv[1:] if arguments is None else arguments
        description = "Train the autoencoder of a latent diffusion."
        options = parse(AutoencoderOptions(), words, prog=PROG, description=description)
        if not options.data:
            raise ValueError(f"on what? name a data set or a folder: {PROG} spoken-digits")
        if options.out is None and options.data not in ("spoken-digits", "notes"):
            raise ValueError(f"where to? name a file with --out, such as --out {Path(options.data).stem}.safetensors")
        out = AUTOENCODER.place(options.data, options.out)
        changed: dict[str, Any] = {
            "epochs": options.epochs,
            "latent_channels": options.latent_channels,
            "seed": options.seed,
        }
        recipe = AutoencoderRecipe(options.data, **changed)
        say(make(recipe, out, recipe.load(options.data_dir, size=options.size)))

    return carry_out(work)


if __name__ == "__main__":
    run(main)
