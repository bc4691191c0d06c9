"""The one kind of file in which networks are kept.

A safetensors file, whose tensors are the weights and whose metadata says in JSON what they are: the kind of network,
the format and version of ``ddim_edu`` that wrote it, and whatever is needed to build the network again. Checkpoints
(:mod:`ddim_edu.models.checkpoint`), classifiers (:mod:`ddim_edu.models.classifiers`) and autoencoders
(:mod:`ddim_edu.models.autoencoders`) are such files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ddim_edu import __version__
from ddim_edu.files import replacing

FORMAT = 1  # of the files written here; raise it when an older reader would misread them
KEY = "ddim_edu"  # the metadata's key: files without it are not ours


class CheckpointError(ValueError):
    """A file of weights that can't be used: missing, damaged, of another kind, or from a newer version."""


def find_shipped(folder: Path, name_or_path: Path | str, what: str) -> Path:
    """The file that a name or a path stands for.

    Args:
        folder: Where the files lie that come with the package.
        name_or_path: The name of one of those, or any file.
        what: What it is, for the error: ``"classifier"``.

    Raises:
        CheckpointError: If there is no such file.
    """
    shipped = sorted(file.stem for file in folder.glob("*.safetensors"))
    path = folder / f"{name_or_path}.safetensors" if str(name_or_path) in shipped else Path(name_or_path)
    if not path.is_file():
        raise CheckpointError(f"there is no {what} {name_or_path}: name one of {', '.join(shipped)}, or a file")
    return path


def write_weights(path: Path | str, kind: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a file; it is whole or not there.

    Args:
        path: The file to make or to replace.
        kind: What the network is: ``"unet"``.
        tensors: What to store, as it is.
        about: All that is needed to build the network again, as values that JSON can hold.
    """
    about = {"kind": kind, "format": FORMAT, "version": __version__, **about}
    # safetensors stores plain row-major tensors; networks on the CPU keep theirs channels-last.
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(
            save(tensors, metadata={KEY: json.dumps(about)})
        )  # save_file hides what the system says of a full disk


def read_weights(
    path: Path, kind: str, what: str, *, remedy: str = "copy it again"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file back.

    Args:
        path: The file.
        kind: What the network must be.
        what: The same in words, for errors: ``"a classifier"``.
        remedy: What to do about a damaged file.

    Returns:
        What it says about itself, and its tensors.

    Raises:
        CheckpointError: In one line, if it is damaged, of another kind, or from a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is not a safetensors file, or was cut short ({reason}): {remedy}") from None
    try:
        about = json.loads(metadata[KEY])
        found, version = about["kind"], about["format"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is a safetensors file, but not {what} of ddim_edu: it names no model") from None
    if found != kind:
        raise CheckpointError(f"{path} holds a {found!r}, not a {kind!r}")
    if version != FORMAT:
        writer = about.get("version")
        raise CheckpointError(
            f"{path} has format {version}, and this ddim_edu reads {FORMAT}: use the version that wrote it, {writer}"
        )
    return about, tensors


@contextmanager
def fitting_together(path: Path) -> Iterator[None]:
    """Around the building of a network from what :func:`read_weights` gave: what goes wrong there is the file's fault.

    Raises:
        CheckpointError: In one line, in place of the error that occurred.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path} does not fit together ({reason}): it was changed after it was written") from None


def fill(network: nn.Module, tensors: Mapping[str, Tensor], device: torch.device | str) -> None:
    """Give a new network its weights, and make it ready for use: in evaluation mode, without gradients.

    Args:
        network: The network; it may have been made on the meta device.
        tensors: Its ``state_dict()``; floating-point values of any precision become float32.
        device: Where to put it.

    Raises:
        RuntimeError: If the tensors are not its own.
    """
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, assign=True
    )
    network.to(device).requires_grad_(False).eval()
