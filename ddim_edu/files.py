"""Files that are either whole or not there.

A file is written under another name in the same folder, flushed to the disk, then renamed over its final name. Whoever
reads it, or comes back after a power cut, finds the old file or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None


def first_line(error: BaseException, most: int = 150) -> str:
    """What an error of another library says, short enough to stand in a line of ours.

    Args:
        error: The error. One of the system's gives its reason without number and path.
        most: Characters to keep at most.
    """
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(said).splitlines()[0][:most]


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give the name of a temporary file to write; on leaving without an error it becomes ``path``.

    Args:
        path: The file to make or to replace. Its folder must exist.

    Yields:
        A name in the same folder and with the same ending (which writers take the format from).

    Raises:
        OSError: If the file can't be written, with the name of ``path``; what was there before stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask asks for; some writers make their files private
        yield temporary
        os.chmod(temporary, mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the name that nobody gave
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is safe once the folder is on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def alone(folder: Path | str) -> Iterator[None]:
    """Let no second process that asks the same work in a folder meanwhile.

    The lock is the operating system's: it goes with the process, however that ends, and leaves no file behind. A folder
    that is not there is made, and goes again if nothing was put into it. Where the system or the disk knows no such
    locks, nothing is locked.

    Args:
        folder: The folder. The one above it must exist.

    Raises:
        ValueError: If another process has it.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another process is at work in {folder}: wait for its end, or choose another --out"
                ) from None
            except OSError:
                pass
        try:
            yield
        finally:
            with suppress(OSError):  # it holds something, or is gone already
                folder.rmdir()
    finally:
        if handle is not None:
            os.close(handle)


def check_writable(path: Path | str) -> Path:
    """Make sure, before any work is done, that a file can be written at ``path``.

    Args:
        path: The file that will be written.

    Returns:
        ``path`` as a Path.

    Raises:
        ValueError: If its folder does not exist or can't be written, or ``path`` is itself a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it, such as {path / 'grid.png'}")
    if not path.parent.is_dir():
        raise ValueError(
            f"there is no folder {path.parent} to write {path.name} into: make it first, or write elsewhere"
        )
    try:  # permission bits don't tell: a read-only disk, or being root, makes them lie
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"can't write into {path.parent} ({error.strerror}): choose another place") from None
    return path


def in_repository(name: str) -> Path:
    """A file or folder of the book's repository, such as ``results/quoted.json``: found from the working directory,
    from where the running script lies, or from where this package does.

    Raises:
        FileNotFoundError: If none of these is in the repository.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    for start in (Path.cwd(), Path(script or ".").resolve().parent, Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "chapters").is_dir() and (folder / name).exists():
                return folder / name
    raise FileNotFoundError(f"{name} is not found: work in the repository of the book")
