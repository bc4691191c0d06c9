"""The one kind of file in which networks are kept, and how all of them are found, read, built and written.

A safetensors file, whose tensors are the weights and whose metadata says in JSON what they are: the kind of network,
its configuration, the format and version of ``ddim_edu`` that wrote it, and whatever that kind needs besides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ddim_edu import __version__
from ddim_edu.files import check_writable, first_line, replacing
from ddim_edu.strangers import parse_json

SHIPPED = Path(__file__).parent.parent / "weights"  # what comes with the package
FORMAT = 1  # of the files written here; raise it when an older reader would misread them
KEY = "ddim_edu"  # the metadata's key: files without it are not ours

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config")


class CheckpointError(ValueError):
    """A file of weights that can't be used: missing, damaged, of another kind, or from a newer version."""


@dataclass(frozen=True)
class Kind:
    """A kind of network that is kept in files.

    Attributes:
        name: What files call it: ``"unet"``.
        what: What users call it: ``"a checkpoint"``.
        within: Where those lie that come with the package: a folder in ``SHIPPED``.
        maker: The command that makes one.
    """

    name: str
    what: str
    within: str
    maker: str

    @property
    def folder(self) -> Path:
        """Where those lie that come with the package."""
        return SHIPPED / self.within

    def shipped(self) -> list[str]:
        """The names of those that come with the package."""
        return sorted(file.stem for file in self.folder.glob("*.safetensors"))

    def find(self, name_or_path: Path | str) -> Path:
        """The file that a name or a path stands for.

        Args:
            name_or_path: The name of one that comes with the package, or any file.

        Raises:
            CheckpointError: If there is no such file.
        """
        names, path = self.shipped(), Path(name_or_path)
        if str(name_or_path) in names:
            return self.folder / f"{name_or_path}.safetensors"
        if not path.is_file():
            raise CheckpointError(
                f"there is no {self.what.split()[1]} {name_or_path}: name a file, or one that is shipped "
                f"({', '.join(names) or 'none'}); python -m {self.maker} makes one"
            )
        return path

    def place(self, name: str, out: Path | None = None) -> Path:
        """Where to write: ``out``, or among those that come with the package.

        Raises:
            ValueError: If nothing can be written there.
        """
        if out is None:
            self.folder.mkdir(parents=True, exist_ok=True)
        return check_writable(out or self.folder / f"{name}.safetensors")

    def write(self, path: Path | str, tensors: Mapping[str, Tensor], config: Any, **about: Any) -> None:
        """Write a file; it is whole or not there.

        Args:
            path: The file to make or to replace.
            tensors: What to store, as it is.
            config: The network's configuration, a dataclass.
            about: What else is to be known, as values that JSON can hold.
        """
        said = {"kind": self.name, "format": FORMAT, "version": __version__, "config": asdict(config), **about}
        content = to_bytes(tensors, {KEY: json.dumps(said)})
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
        """What a file says about itself, and its tensors. What goes wrong while they are put together is the file's
        fault, and raised as such.

        Raises:
            CheckpointError: In one line, if it is damaged, of another kind, or from a newer version, or does not fit
                together.
        """
        about, tensors = self.read(path)
        try:
            yield about, tensors
        except CheckpointError:
            raise
        except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
            raise CheckpointError(
                f"{path} does not fit together ({first_line(error)}): it was changed after it was written"
            ) from None

    def read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a file says about itself, and its tensors as they are.

        Raises:
            CheckpointError: In one line, if it is damaged, of another kind, or from a newer version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # mapped, not read yet
        except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path} is not a safetensors file, or was cut short ({first_line(error)}): copy it again, or make it "
                f"with python -m {self.maker}"
            ) from None
        try:
            about = parse_json(metadata[KEY])
            found, version = about["kind"], about["format"]
        except (KeyError, TypeError):
            raise CheckpointError(
                f"{path} is a safetensors file, but not {self.what} of ddim_edu: it names no model"
            ) from None
        except ValueError as error:
            raise CheckpointError(f"{path} can't be understood ({first_line(error)}): copy it again") from None
        if found != self.name:
            raise CheckpointError(f"{path} holds a {str(found)[:50]!r}, not a {self.name!r}")
        if version != FORMAT:
            raise CheckpointError(
                f"{path} has format {str(version)[:50]}, and this ddim_edu reads {FORMAT}: "
                f"use the version that wrote it, {str(about.get('version'))[:50]}"
            )
        return about, tensors


def build(
    network: Callable[[Config], Network], config: Config, weights: Mapping[str, Tensor], device: torch.device | str
) -> Network:
    """A network ready for use: in evaluation mode, without gradients. Torch's random numbers stay where they were.

    It is built without memory of its own, and its weights are those given: a configuration that asks for more than they
    are costs nothing.

    Args:
        network: Its class.
        config: Its configuration.
        weights: Its ``state_dict()``; floating-point values of any precision become float32.
        device: Where to put it.

    Raises:
        ValueError: If the weights are not its own, or are not finite numbers.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _Uninitialised():
        made = network(config)
    made.load_state_dict(checked(weights, made.state_dict()), assign=True)
    return made.to(device).requires_grad_(False).eval()


def checked(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float32, if they are those of a network and finite.

    Args:
        weights: Tensors by name.
        wanted: The network's own, whose values don't matter.

    Raises:
        ValueError: In one line, if names, shapes or types are others, or a value is not a finite number.
    """
    for what, names in (("missing", wanted.keys() - weights.keys()), ("too many", weights.keys() - wanted.keys())):
        if names:
            raise ValueError(f"{len(names)} tensors are {what}, such as {min(names)[:100]}")
    full = {}
    for name, like in wanted.items():
        value = weights[name]
        if value.shape != like.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, and the network wants {tuple(like.shape)}")
        if value.is_floating_point() != like.is_floating_point() or value.is_complex():
            raise ValueError(f"{name} is of type {value.dtype}, and the network wants {like.dtype}")
        full[name] = value.float() if value.is_floating_point() else value.to(like.dtype)
        # A sum is a fifth of the work of looking at each; finite numbers may overflow it.
        if not full[name].sum().isfinite() and not full[name].isfinite().all():
            raise ValueError(f"{name} holds values that are not finite numbers")
    return full


class _Uninitialised(TorchFunctionMode):
    """Layers made within have no first weights. On the meta device those of an embedding would load torch's compiler,
    which takes two seconds."""

    def __torch_function__(
        self, called: Callable, types: object, arguments: tuple = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if getattr(called, "__module__", None) == "torch.nn.init":
            return options.get("tensor", arguments[0] if arguments else None)
        return called(*arguments, **options)


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file. (Its own ``save_file`` hides what the system says of a full disk.)"""
    # It holds plain row-major tensors, and networks on the CPU keep theirs channels-last.
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return save(plain, metadata=dict(metadata))
