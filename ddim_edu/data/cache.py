"""Pixels that are made once and kept: a file of raw uint8, and beside it a JSON file that vouches for it.

Both lie in the folder ``$DDIM_EDU_CACHE``, or else ``~/.cache/ddim_edu`` (below ``$XDG_CACHE_HOME`` if that is set).
The JSON file holds the checksum of the pixels and is written last, so that what a killed run leaves is never trusted.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddim_edu.files import at_home, check_writable, clear_left_over, private_folder, replacing
from ddim_edu.streams import say

REMEDY = "choose another folder with the environment variable DDIM_EDU_CACHE"
IN_MEMORY = 2**30  # bytes of pixels that are read whole; more are mapped, and read where they are needed


def default_cache_dir() -> Path:
    """Where pixels are kept: ``$DDIM_EDU_CACHE``, or else the folder ``ddim_edu`` in the user's folder for caches.

    Raises:
        ValueError: If nobody knows the user's folder.
    """
    own = os.environ.get("DDIM_EDU_CACHE")
    if own:
        return at_home(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddim_edu"
    except RuntimeError:
        raise ValueError(f"there is no home folder to keep pixels in: {REMEDY}") from None


def make_cache_folder(folder: Path) -> None:
    """Make a folder of the cache. It may come to hold what somebody keeps private elsewhere, so it is its owner's
    alone; but one that was there already, and that the environment or an option names, is as its owner wants it.
    """
    private_folder(folder)
    if not os.environ.get("DDIM_EDU_CACHE") and default_cache_dir() in (folder, *folder.parents):
        with suppress(OSError):  # older versions let all read in it
            default_cache_dir().chmod(0o700)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PixelCache:
    """One pair of files.

    Args:
        folder: Where they lie; by default where :func:`default_cache_dir` says.
        stem: Their name without an ending. It has to tell apart what else is kept there.
    """

    def __init__(self, folder: Path | str | None, stem: str) -> None:
        self.folder = Path(folder) if folder is not None else default_cache_dir()
        self.pixels, self.about = self.folder / f"{stem}.pixels", self.folder / f"{stem}.json"
        self._crc = 0

    def read(
        self, shape_of: Callable[[dict[str, Any]], tuple[int, ...] | None], again: str
    ) -> tuple[np.ndarray, dict[str, Any]] | None:
        """The pixels and what was written of them, if they are whole.

        Args:
            shape_of: The shape that pixels so described must have; None if they are of something else.
            again: What is done if they are damaged, for a line on stderr.

        Returns:
            None if they must be made.
        """
        try:
            about = json.loads(self.about.read_text(encoding="utf8"))
            shape = shape_of(about)
            if shape is None:
                return None
            if self.pixels.stat().st_size == math.prod(shape):
                pixels = self._map(shape)
                if zlib.crc32(pixels.reshape(-1)) == about["crc32"]:
                    return pixels, about
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        say(f"the cache {self.pixels} is damaged: {again}", file=sys.stderr)
        return None

    @contextmanager
    def writing(self, size: int, what: str) -> Iterator[Callable[[np.ndarray], None]]:
        """Replace the pixels; :meth:`vouch` for them afterwards.

        Args:
            size: Bytes that there will be at most.
            what: What they are, for an error: ``"the faces"``.

        Yields:
            A function that adds pixels, uint8, to those that are there.

        Raises:
            ValueError: If the folder can't be written, or the disk is too full.
        """
        self._prepare(size, what)
        with replacing(self.pixels) as temporary, open(temporary, "wb") as out:
            self._crc = 0

            def add(pixels: np.ndarray) -> None:
                self._crc = zlib.crc32(pixels, self._crc)
                out.write(pixels)

            yield add

    def vouch(self, about: Mapping[str, Any]) -> None:
        """Say what the pixels are that have been written; the checksum comes to it."""
        with replacing(self.about) as temporary:
            temporary.write_text(json.dumps({**about, "crc32": self._crc}) + "\n", encoding="utf8")

    def map(self, shape: tuple[int, ...]) -> np.ndarray:
        """The pixels that were just written, in a shape; mapped, and then not to be written, if there are more than
        ``IN_MEMORY``.

        Raises:
            ValueError: If they are not there any more: another process makes others in the same folder.
        """
        with suppress(OSError, ValueError):
            pixels = self._map(shape)
            if zlib.crc32(pixels.reshape(-1)) == self._crc:
                return pixels
        raise ValueError(f"{self.pixels} was replaced by another process meanwhile: start again")

    def _map(self, shape: tuple[int, ...]) -> np.ndarray:
        if not shape[0]:
            return np.empty(shape, np.uint8)
        if math.prod(shape) <= IN_MEMORY:
            return np.fromfile(self.pixels, np.uint8).reshape(shape)
        return np.memmap(self.pixels, np.uint8, mode="r", shape=shape)

    def _prepare(self, size: int, what: str) -> None:
        """Make the folder, clear away what killed runs have left in it, and see that there is room."""
        try:
            make_cache_folder(self.folder)
            check_writable(self.pixels)
            clear_left_over(self.folder)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"can't write the cache folder {self.folder} ({reason}): {REMEDY}") from None
        free = shutil.disk_usage(self.folder).free
        if size > free:
            raise ValueError(
                f"{what} need {size / 1e9:.1f} GB in {self.folder}, where {free / 1e9:.1f} are free: {REMEDY}"
            )
