"""Saved autoencoders, the first stage of latent diffusion (floor 3).

A file like a classifier's (:mod:`ddim_edu.lab.classifiers`), in the folder ``ddim_edu/weights/autoencoders``. Its metadata holds the
network's configuration, the data set with the names of its classes, how it was trained, and its error on what was held out.
``python -m ddim_edu.lab.train_autoencoder NAME`` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ddim_edu import __version__
from ddim_edu.files import replacing
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig

FORMAT = 1  # of the files written here; raise it when an older reader would misread them
KEY = "ddim_edu"  # the metadata's key: files without it are not ours
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
    path: Path | str, model: Autoencoder, *, data: str, classes: tuple[str, ...], error: float, training: Mapping[str, Any]
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
        name: value.detach().to("cpu", torch.float16 if value.is_floating_point() and "running" not in name else None).contiguous()
        for name, value in model.state_dict().items()
    }
    about = {
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "config": asdict(model.config),
        "data": data,
        "classes": list(classes),
        "error": error,
        "training": dict(training),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={KEY: json.dumps(about)})


def load_autoencoder(name_or_path: Path | str, device: torch.device | str = "cpu") -> SavedAutoencoder:
    """Read an autoencoder.

    Args:
        name_or_path: The name of one that comes with the package, such as ``"spoken-digits"``, or a file.
        device: Where to put it.

    Raises:
        ValueError: In one line, if there is no such autoencoder, or the file is damaged, of another kind, or from a newer version.
    """
    shipped = sorted(file.stem for file in SHIPPED.glob("*.safetensors"))
    path = SHIPPED / f"{name_or_path}.safetensors" if str(name_or_path) in shipped else Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"there is no autoencoder {name_or_path}: name one of {', '.join(shipped)}, or a file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a safetensors file, or was cut short ({reason}): copy it again") from None
    try:
        about = json.loads(metadata[KEY])
        kind, version = about["kind"], about["format"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is a safetensors file, but not an autoencoder of ddim_edu: it names no model") from None
    if kind != KIND:
        raise ValueError(f"{path} holds a {kind!r}, not an {KIND!r}")
    if version != FORMAT:
        writer = about.get("version")
        raise ValueError(f"{path} has format {version}, and this ddim_edu reads {FORMAT}: use the version that wrote it, {writer}")
    try:
        with torch.device("meta"):
            model = Autoencoder(AutoencoderConfig(**about["config"]))
        weights = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        model.load_state_dict(weights, assign=True)
        data, classes, error = str(about["data"]), tuple(about["classes"]), float(about["error"])
        training = dict(about["training"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} does not fit together ({reason}): it was changed after it was written") from None
    model = model.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()
    return SavedAutoencoder(model, data, classes, error, training, path)
