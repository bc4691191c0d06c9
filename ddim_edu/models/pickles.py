"""``.pth``, ``.pt`` and ``.ckpt``: what torch writes, read as plain values and tensors and nothing else.

``torch.load(weights_only=True)`` runs no foreign code, but it makes what a file asks for: arrays of any length, tensors
that repeat four bytes for gigabytes, and zipped zeros. All of that is looked for here first.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.files import first_line
from ddim_edu.strangers import open_regular

# What the files of networks and optimisers are made of, apart from torch's storages.
MADE_BY = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_parameter",
    "torch Size",
    "torch device",
}
LONGEST = 2**24  # bytes of a pickle: names, numbers, and the shapes of tensors


def read_pickle(path: Path | str, device: torch.device | str = "cpu") -> Any:
    """What a file of torch holds.

    Args:
        path: The file.
        device: Where to put its tensors.

    Raises:
        ValueError: In one line, if it is no such file, is damaged, or asks for more than it holds.
        OSError: If it can't be read.
    """
    with open_regular(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        try:
            if zipfile.is_zipfile(file):
                _check_zip(file, size)
            elif size:
                file.seek(0)
                _check_pickles(file)
            file.seek(0)
            with warnings.catch_warnings():  # about pickles of other kinds; the error says all
                warnings.simplefilter("ignore")
                found = torch.load(file, map_location=device, weights_only=True)
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(f"it is damaged ({first_line(error, 100)})") from None
        except _Foreign as error:
            raise ValueError(str(error)) from None
        except pickle.UnpicklingError:
            raise ValueError("it holds more than tensors, or is damaged; nothing else is read") from None
        except Exception as error:  # unpicklers raise anything
            raise ValueError(f"it was cut short, or is no file of weights ({first_line(error, 100)})") from None
    storages: dict[int, int] = {}
    total = 0
    for tensor in tensors_in(found):
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise ValueError("it holds tensors of another kind than arrays of numbers")
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        total += tensor.numel() * tensor.element_size()
    if total > max(size, sum(storages.values())):
        raise ValueError("its tensors are larger than what it holds")
    return found


class _Foreign(Exception):
    """What is not looked at further."""


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in dictionaries and lists within one another."""
    todo, seen = [value], set()
    while todo:
        one = todo.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            todo += one.values() if isinstance(one, dict) else one


def _check_zip(file: Any, size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise _Foreign("it is compressed, which torch's files are not")
        if sum(entry.file_size for entry in entries) > size:
            raise _Foreign("its parts are larger than the whole")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > LONGEST:
                    raise _Foreign("it holds more than tensors")
                _check_globals(io.BytesIO(archive.read(entry)))


def _check_pickles(file: Any) -> None:
    """The older layout: a number, a version, what the machine was like, the content, the names of the storages, and
    then their bytes."""
    for _ in range(5):
        _check_globals(file)


def _check_globals(file: Any) -> None:
    """Refuse what would call something else than the makers of tensors."""
    for code, argument, position in pickletools.genops(file):
        if position is not None and position > 4 * LONGEST:
            raise _Foreign("it holds more than tensors")
        if code.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            storage = module in ("torch", "torch.storage") and name.endswith("Storage")
            dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
            if not (storage or dtype or argument in MADE_BY):
                raise _Foreign(f"it holds more than tensors ({str(argument)[:60]!r}); nothing else is read")
        elif code.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
            raise _Foreign("it holds more than tensors; nothing else is read")
