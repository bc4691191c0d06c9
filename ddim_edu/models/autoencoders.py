"""Saved autoencoders, the first stage of latent diffusion.

A file like a classifier's (:mod:`ddim_edu.models.classifiers`), in the folder ``ddim_edu/weights/autoencoders``. Its
metadata holds the network's configuration, the data set with the names of its classes, how it was trained, and its
error on what was held out. ``python -m ddim_edu.commands.train_autoencoder NAME`` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.models.weightfile import fill, find_shipped, fitting_together, read_weights, write_weights
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig

KIND = "autoencoder"
SHIPPED = Path(__file__).parent.parent / "weights" / "autoencoders"


@dataclass(frozen=True, eq=False)
class SavedAutoencoder:
    """What :func:`load_autoencoder` returns.

    Attributes:
        model: The network, in evaluation mode and without gradients.
        data: The data set it was trained on.
        classes: Names of that data set's classes.
        error: Root mean square error of the held-out pictures, whose range is [-1, 1].
        training: How it was trained, as plain values.
        path: The file it came from.
    """

    model: Autoencoder
    data: str
    classes: tuple[str, ...]
    error: float
    training: dict[str, Any]
    path: Path

    @torch.no_grad()
    def encode(self, pictures: Tensor, batch: int = 250) -> Tensor:
        """Latents of any number of pictures in [-1, 1], on the model's device."""
        weights = next(self.model.parameters())
        return torch.cat([self.model.encode(part.to(weights)) for part in pictures.split(batch)])

    @torch.no_grad()
    def decode(self, latents: Tensor, batch: int = 250) -> Tensor:
        """Pictures of any number of latents, clamped to [-1, 1]."""
        weights = next(self.model.parameters())
        return torch.cat([self.model.decode(part.to(weights)).clamp(-1, 1) for part in latents.split(batch)])


def save_autoencoder(
    path: Path | str,
    model: Autoencoder,
    *,
    data: str,
    classes: tuple[str, ...],
    error: float,
    training: Mapping[str, Any],
) -> None:
    """Write an autoencoder's file, with the weights in float16; the file is whole or not there.

    Args:
        path: The file to make or to replace.
        model: The network.
        data: The data set it was trained on.
        classes: Names of its classes.
        error: Root mean square error on that set's held-out pictures.
        training: How it was trained, as values that JSON can hold.
    """
    # The statistics of the normalisation stay as they are: rounded, they would no longer be those of the latents.
    tensors = {
        name: value.half() if value.is_floating_point() and "running" not in name else value
        for name, value in model.state_dict().items()
    }
    about = {
        "config": asdict(model.config),
        "data": data,
        "classes": list(classes),
        "error": error,
        "training": dict(training),
    }
    write_weights(path, KIND, tensors, about)


def load_autoencoder(name_or_path: Path | str, device: torch.device | str = "cpu") -> SavedAutoencoder:
    """Read an autoencoder.

    Args:
        name_or_path: The name of one that comes with the package, such as ``"spoken-digits"``, or a file.
        device: Where to put it.

    Raises:
        ValueError: In one line, if there is no such autoencoder, or the file is damaged, of another kind, or from a
            newer version.
    """
    path = find_shipped(SHIPPED, name_or_path, KIND)
    about, tensors = read_weights(path, KIND, f"an {KIND}")
    with fitting_together(path):
        with torch.device("meta"):
            model = Autoencoder(AutoencoderConfig(**about["config"]))
        fill(model, tensors, device)
        model.to(memory_format=torch.channels_last)
        data, classes, error = str(about["data"]), tuple(about["classes"]), float(about["error"])
        return SavedAutoencoder(model, data, classes, error, dict(about["training"]), path)
