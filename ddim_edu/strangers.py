"""What is believed of a file that somebody else may have written: little.

JSON is read with bounds. And a checkpoint or a run folder may say what it was trained on, but a name in a file never
opens a place by itself: it would let whoever wrote the file point at private pictures, or at a module to import. It is
followed to

- what comes with the package, by its name;
- what lies beside the file, by a plain name;
- what the file also gives the hash of, if that is what lies there: whoever wrote the file had seen it already.

Everything else is named on the command line.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn

from ddim_edu.files import sha256_of
from ddim_edu.processes import is_first_process
from ddim_edu.streams import say

DEEPEST = 32  # lists and objects within one another
LONGEST = 20  # digits of a whole number: more than 64 bits have
LARGEST = 2**26  # bytes of a JSON file
PLAIN = re.compile(r"[^\s~.\\/:][^\\/:]*")  # a file's name alone
CODE = re.compile(r"[\w./-]+:[A-Za-z_]\w*")  # a class in a module
LOOKED_INTO = 100  # files of a folder whose contents count for its hash


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """JSON of whatever origin.

    Args:
        text: The text.
        finite: Whether NaN, Infinity and numbers that round to it are refused.

    Raises:
        ValueError: In one line, if it is no JSON, nested too deep, or holds a number that is none or has too many
            digits.
    """
    try:
        found = json.loads(
            text,
            parse_int=_whole,
            parse_float=_number if finite else float,
            parse_constant=_no_number if finite else float,
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _within(value)]
        if not level:
            return found
    raise ValueError("it is nested too deep")


def read_json(path: Path | str, *, finite: bool = True) -> Any:
    """The JSON in a file; see :func:`parse_json`.

    Raises:
        ValueError: As there, or if it is longer than any file of ours.
        OSError: If there is no such file, or it is none that can be read.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    return parse_json(content, finite=finite)


def open_regular(path: Path | str) -> Any:
    """A file opened for reading bytes; not a pipe or a device, which may never end.

    Raises:
        OSError: If there is no such file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "not a regular file", str(path))
    return file


def _within(value: Any) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits[:LONGEST])


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


# ---- places


def fingerprint(path: Path | str) -> str:
    """A hash of what lies at a path: of a file, all of it; of a folder, the names and sizes of its files, and the
    contents of a hundred of them, spread evenly. Links are not followed.

    Raises:
        OSError: If it can't be read, or is neither a file nor a folder.
    """
    path = Path(path)
    if not path.is_dir():
        open_regular(path).close()
        return sha256_of(path)
    files = sorted(_files(path))
    digest = hashlib.sha256("\n".join(f"{name}\t{size}" for name, size, _ in files).encode("utf8", "surrogateescape"))
    regular = [(name, size) for name, size, whether in files if whether]
    for name, _ in regular[:: max(1, len(regular) // LOOKED_INTO)]:
        with open_regular(path / name) as file:
            digest.update(hashlib.sha256(file.read(LARGEST)).digest())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, int, bool]]:
    """Name, size and whether it is a regular file, of all below a folder."""
    for inner, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):  # such as .DS_Store, which come and go
                about = os.lstat(os.path.join(inner, name))
                shown = Path(os.path.relpath(os.path.join(inner, name), folder)).as_posix()
                yield shown, about.st_size, stat.S_ISREG(about.st_mode)


def place_of(path: Path | str, near: Path | str) -> dict[str, str]:
    """Where something lies, to be written into a file and found again by :func:`find`.

    Args:
        path: A file or a folder.
        near: The folder of the file that will name it.

    Raises:
        OSError: If it can't be read.
    """
    path, near = Path(path).expanduser().resolve(), Path(near).resolve()
    place = {"absolute": str(path), "sha256": fingerprint(path)}
    try:
        return {**place, "relative": Path(os.path.relpath(path, near)).as_posix()}
    except ValueError:  # on another drive
        return place


def find(name: object, known: Collection[str], file: Path | str, place: object, remedy: str) -> str:
    """What a file names, where it may be followed; a line on stderr says what is read, if it does not come with the
    package.

    Args:
        name: What the file says.
        known: The names of what comes with the package.
        file: The file that says it.
        place: What the file gives as its place, from :func:`place_of`; anything else is none.
        remedy: What to do otherwise, for the message: ``"name it with --data"``.

    Returns:
        The name, or a path that is there.

    Raises:
        ValueError: In one line, if it is not followed.
    """
    if isinstance(name, str) and name in known:
        return name
    near = Path(file).parent
    found = None
    if isinstance(name, str) and PLAIN.fullmatch(name) and _is_there(near / name):
        found = near / name
    elif isinstance(place, dict):
        found = next((path for path in _places(place, near) if _holds(path, place.get("sha256"))), None)
    if found is None:
        why = "and where it lay is nothing with its content"
        if isinstance(name, str) and CODE.fullmatch(name):
            why = "and code is not imported for a file's word"
        raise ValueError(f"{file} names {str(name)[:200]!r}, which does not come along, {why}: {remedy}")
    path = os.path.abspath(found)
    if is_first_process():
        say(f"reading {path}, which {file} names", file=sys.stderr)
    return path


def _is_there(path: Path) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _places(place: dict[Any, Any], near: Path) -> Iterator[Path]:
    """What the file gives as places; none of a network."""
    for key in ("relative", "absolute"):
        said = place.get(key)
        if isinstance(said, str) and said and not said.startswith(("//", "\\\\")):
            yield Path(os.path.normpath(near / said))


def _holds(path: Path, sha256: object) -> bool:
    try:
        return _is_there(path) and fingerprint(path) == sha256
    except (OSError, ValueError):  # not readable, or no name at all
        return False
