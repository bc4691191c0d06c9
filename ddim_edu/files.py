"""Files that are either whole or not there.

A file is written under another name in the same folder, flushed to the disk, then renamed over its final name. Whoever
reads it, or comes back after a power cut, finds the old file or the new one, never half of one. The other name is a
random one, and made exclusively: no second writer has it, whatever machine it runs on, and no link can lie in wait for
it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

PREFIX = ".ddim_edu-"  # of temporary files: what a killed process leaves can be told from what is somebody's
LOSSES = {errno.EIO, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # of a write that did not reach the disk


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


def at_home(path: Path | str) -> Path:
    """A path with its ``~`` replaced by the user's folder.

    Raises:
        ValueError: If nobody knows where that is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: this system knows no such home folder, write the path in full") from None


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give the name of a temporary file to write; on leaving without an error it becomes ``path``.

    A file that is replaced keeps its mode. A link to a file stays one: the file is replaced. What is read-only stays.

    Args:
        path: The file to make or to replace. Its folder must exist.

    Yields:
        A name in the same folder and with the same ending (which writers take the format from).

    Raises:
        OSError: If the file can't be written, with the name of ``path``; what was there before stays.
    """
    path, temporary = Path(path), None
    try:
        real, mode = _to_replace(path)
        temporary = _new_file(real.parent, real.suffix, 0o666 if mode is None else 0o600)
        if mode is None:  # what the user's umask asks for; some writers make their files private
            mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        with _where_the_disk_can():
            os.chmod(temporary, mode)
        with open(temporary, "rb+") as file, _where_the_disk_can():
            os.fsync(file.fileno())
        os.replace(temporary, real)
    except OSError as error:
        if error.errno is None or not (error.filename is None or Path(error.filename).name.startswith(PREFIX)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the name that nobody gave
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is safe once the folder is on the disk
        with _where_the_disk_can():
            folder = os.open(real.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _to_replace(path: Path) -> tuple[Path, int | None]:
    """The file that a path stands for, and its mode; None if there is none yet.

    Raises:
        OSError: If it is no regular file, or read-only.
    """
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode = os.lstat(real).st_mode
    except FileNotFoundError:
        return real, None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):  # a link to itself, a pipe, a device
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if not mode & 0o222 or not os.access(real, os.W_OK):  # root may write everywhere, and is not to
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    return real, mode & 0o777


def _new_file(folder: Path, ending: str, mode: int) -> Path:
    """An empty file that was not there, under a name that nobody can guess.

    The name says nothing of the file that it will become: that one's may be as long as names can be.
    """
    ending = ending if len(os.fsencode(ending)) <= 32 else ""
    while True:
        path = folder / f"{PREFIX}{secrets.token_hex(8)}.tmp{ending}"
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode))
            return path


@contextmanager
def _where_the_disk_can() -> Iterator[None]:
    """Put up with network mounts that know no modes, or can't flush; but not with data that did not reach the disk."""
    try:
        yield
    except OSError as error:
        if error.errno in LOSSES:
            raise


def clear_left_over(folder: Path, seconds: float = 86_400) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Args:
        folder: The folder.
        seconds: How long nobody must have written to one.
    """
    for left in folder.glob(f"{PREFIX}*.tmp*"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > seconds:
                left.unlink(missing_ok=True)


def private_folder(folder: Path) -> None:
    """Make a folder, and those above it, that only its owner can look into. One that is there stays as it is."""
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def regular_size(path: Path) -> int:
    """The size of a file, in bytes.

    Raises:
        OSError: If there is none, or it is a link, a folder, a pipe or a device.
    """
    about = os.lstat(path)
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return about.st_size


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
        ValueError: If its folder does not exist or can't be written, or ``path`` is a folder, read-only, no regular
            file, or has a name that no file can have.
    """
    path = Path(path)
    try:
        real, _ = _to_replace(path)
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder: name a file in it, such as {path / 'grid.png'}") from None
    except NotADirectoryError:
        real = path
    except OSError as error:
        raise ValueError(f"can't write {path} ({first_line(error)}): choose another name") from None
    if not real.parent.is_dir():
        raise ValueError(
            f"there is no folder {real.parent} to write {real.name} into: make it first, or write elsewhere"
        )
    try:  # permission bits don't tell: a read-only disk, or being root, makes them lie
        with tempfile.TemporaryFile(dir=real.parent):
            pass
    except OSError as error:
        raise ValueError(f"can't write into {real.parent} ({error.strerror}): choose another place") from None
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
