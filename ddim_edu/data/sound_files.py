"""The wav files of a folder or of a zip archive, whatever lies there: links in circles, pipes, archives that unpack to
gigabytes.

Names are those below the folder, with "/", without the folders that all share. Those that begin with a dot are passed
over, as are folders that begin with ``_``, such as Speech Commands' ``_background_noise_``.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from PIL import Image

from ddim_edu.data.layout import counts
from ddim_edu.data.wav import MOST_BYTES
from ddim_edu.files import first_line

MOST_RATIO = 100  # of an archive's files to the archive: recordings shrink to a half, digital silence to a thousandth
ALWAYS = 2**24  # bytes that any archive may unpack to
MOST_LIST = 2**20  # bytes of a list of names
Place = TypeVar("Place")  # a path, or an entry of an archive
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


class SoundFiles(ABC, Generic[Place]):
    """What a folder or an archive holds.

    Attributes:
        path: The folder or archive.
        names: Names of the wav files, sorted.
        texts: Names of the ``.txt`` files in the same place as the folders of the wav files.
        others: How many other files there are, by ending.
        top: Name of the last of the folders that all share; that of ``path`` if there is none.
        skipped: Folders that were passed over although they hold wav files, such as ``_background_noise_``.
    """

    def __init__(self, path: Path, found: dict[str, Place]) -> None:
        self.path = path
        wavs, others, skipped = {}, {}, set()
        for name, what in found.items():
            parts = name.split("/")
            if any(part.startswith((".", "__MACOSX")) or not part for part in parts):
                continue
            hidden = [part for part in parts[:-1] if part.startswith("_")]
            if name.lower().endswith(".wav"):
                if hidden:
                    skipped.add(hidden[0])
                else:
                    wavs[name] = what
            else:
                others[name] = what
        shared = _shared([name.split("/")[:-1] for name in wavs])
        self.names = sorted(name[len(shared) :] for name in wavs)
        self._found = {name[len(shared) :]: what for name, what in wavs.items()}
        self.texts = {}
        for name, what in others.items():
            if name.startswith(shared) and "/" not in name[len(shared) :] and name.lower().endswith(".txt"):
                self.texts[name[len(shared) :]] = what
        self.others = Counter(ending_of(name) for name in others)
        self.skipped = tuple(sorted(skipped))
        self.top = shared.strip("/").rpartition("/")[2] or path.resolve().stem

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A wav file to read.

        Raises:
            ValueError: In a few words, if it can't be.
        """

    @abstractmethod
    def _lines(self, what: Place) -> bytes: ...

    def lines(self, name: str) -> list[str]:
        """The lines of one of ``texts``; none if it can't be read."""
        try:
            return self._lines(self.texts[name]).decode("utf8", errors="replace").split()
        except Exception:  # damaged archives raise nearly anything
            return []


class _Folder(SoundFiles[str]):
    def open(self, name: str) -> BinaryIO:
        path = self._found[name]
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError("not a regular file")
            return open(path, "rb")
        except OSError as error:
            raise ValueError(first_line(error)) from None

    def _lines(self, what: str) -> bytes:
        with open(what, "rb") as file:
            return file.read(MOST_LIST) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


class _Archive(SoundFiles[zipfile.ZipInfo]):
    def __init__(self, path: Path, archive: zipfile.ZipFile, found: dict[str, zipfile.ZipInfo]) -> None:
        super().__init__(path, found)
        self.archive = archive

    def open(self, name: str) -> BinaryIO:
        info = self._found[name]
        if info.file_size > MOST_BYTES:
            raise ValueError(f"{info.file_size:,} bytes, more than is read")
        try:
            with self.archive.open(info) as file:
                return io.BytesIO(file.read(MOST_BYTES))
        except MemoryError:
            raise
        except Exception as error:  # the reader raises nearly anything on damaged archives
            raise ValueError(f"damaged in the archive: {first_line(error, 80)}") from None

    def _lines(self, what: zipfile.ZipInfo) -> bytes:
        with self.archive.open(what) as file:
            return file.read(MOST_LIST)


def sound_files(path: Path) -> SoundFiles:
    """The wav files of a folder or of an archive.

    Raises:
        ValueError: In one line, if there are none, or the archive can't be read or would unpack to too much.
        OSError: If the folder can't be listed.
    """
    if path.is_dir():
        found: SoundFiles = _Folder(path, walk(path))
    elif not path.exists():
        raise ValueError(f"there is no folder {path}")
    elif path.suffix.lower() == ".wav":
        raise ValueError(f"{path} is one recording: name the folder that holds several")
    else:
        found = _Archive(path, *_unzip(path))
    if found.names:
        return found
    kind, unpacked = ("archive", "unpack it, and name the folder") if path.is_file() else ("folder", "name a folder")
    if images(found.others):
        raise ValueError(f"{path} holds no wav files but {counts(found.others)}: {unpacked}, for a data set of images")
    held = f" but {counts(found.others)}" if found.others else ""
    others = f", and passes over those in {found.skipped[0]}" if found.skipped else ""
    raise ValueError(f"{path} holds no wav files{held}{others}: name a {kind} of recordings")


def walk(folder: Path, most: int | None = None) -> dict[str, str]:
    """Paths of all files below a folder, by their names below it; each folder once, however many links lead there.

    Args:
        folder: The folder.
        most: Stop after so many.

    Raises:
        OSError: If the folder itself can't be listed. One below that can't be holds nothing.
    """
    files: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    todo = [(str(folder), "")]
    while todo:
        place, prefix = todo.pop()
        try:
            own = os.stat(place)
            if (own.st_dev, own.st_ino) in seen:
                continue
            seen.add((own.st_dev, own.st_ino))
            with os.scandir(place) as listed:
                entries = list(listed) if most is None else list(islice(listed, 2 * most))
        except OSError:
            if not prefix:
                raise
            continue
        deeper = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself: a bad file, of which reading says so
                is_folder = False
            if is_folder:
                deeper.append((entry.path, f"{prefix}{entry.name}/"))
            else:
                files[prefix + entry.name] = entry.path
                if most is not None and len(files) >= most:
                    return files
        todo += deeper
    return files


def ending_of(name: str) -> str:
    """The ending of a file's name with its dot, in small letters."""
    return os.path.splitext(name)[1].lower() or "no ending"


def images(endings: Counter[str]) -> int:
    """How many of these files are images, by their ending."""
    known = Image.registered_extensions()
    return sum(n for ending, n in endings.items() if ending in known)


def _unzip(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """An archive, and what it says of its files by name."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("not a regular file")
        archive = zipfile.ZipFile(path)
    except MemoryError:
        raise
    except Exception as error:  # the reader raises nearly anything on damaged archives
        raise ValueError(f"{path} is not a zip archive that can be read ({first_line(error, 80)})") from None
    inside = {info.filename.replace("\\", "/"): info for info in archive.infolist() if not info.is_dir()}
    size, unpacked = path.stat().st_size, sum(info.file_size for info in archive.infolist())
    if unpacked > max(ALWAYS, MOST_RATIO * size):
        raise ValueError(
            f"{path} would unpack from {size:,} to {unpacked:,} bytes, which no recordings do: it is not read"
        )
    if any(info.flag_bits & 1 for info in inside.values()):
        raise ValueError(f"{path} is encrypted: unpack it with its password, and name the folder")
    odd = [info for info in inside.values() if info.compress_type not in _PACKINGS]
    if odd:
        raise ValueError(
            f"{path} is packed in a way that is not read here (number {odd[0].compress_type}): unpack it, and name the "
            "folder, or pack it again as plain zip"
        )
    return archive, inside


def _shared(folders: list[list[str]]) -> str:
    """The folders that all names begin with, ``"a/b/"``."""
    shared = os.path.commonprefix(folders)
    return "".join(f"{part}/" for part in shared)
