"""Arrays out of an .npz file that can be anybody's."""

from __future__ import annotations

import math
import zipfile

import numpy as np


def read_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of real numbers, of which the header is looked at before memory is taken for the rest.

    Args:
        archive: An ``.npz`` file.
        name: The array's name in it.
        shape: Its largest shape; the number of axes has to be the same.

    Raises:
        ValueError: If it is of something else, larger, or not whole.
        KeyError: If there is none of that name. A damaged archive raises nearly anything.
    """
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is an array of version {version[0]}")
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        found, by_columns, dtype = read_header(file)
        if dtype.kind not in "fiu" or dtype.hasobject:
            raise ValueError(f"{name} holds {dtype}, not real numbers")
        if len(found) != len(shape) or any(n > most for n, most in zip(found, shape)):
            raise ValueError(f"{name} has the shape {found}")
        size = math.prod(found) * dtype.itemsize
        content = file.read(size)
        if len(content) != size or file.read(1):  # the second reads to the end, where the checksum is compared
            raise ValueError(f"{name} is not as long as it says")
    return np.frombuffer(content, dtype).reshape(found, order="F" if by_columns else "C")
