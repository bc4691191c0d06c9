"""What lies below a folder: its files, and each folder in it once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ddim_edu.files import first_line

SYSTEMS_OWN = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "__MACOSX")  # folders that nobody put there


class File(NamedTuple):
    """A file below a folder.

    Attributes:
        name: Its name below the folder, with "/".
        size: In bytes.
        mtime_ns: When it was last changed.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass
class Found:
    """What :func:`walk` finds.

    Attributes:
        files: All files, and what is no folder, such as a pipe or a link to nothing.
        folders: Names of the folders below, with "/".
        unreadable: Folders that can't be listed, and why.
        again: Folders that were met before under another name, and that name.
    """

    files: list[File] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    again: list[tuple[str, str]] = field(default_factory=list)


def walk(folder: Path) -> Found:
    """All files below a folder, of which none is opened.

    Links are followed, and each folder is listed once, however many links lead to it: under its own name if it lies
    here, or else under the first link's. Names that start with a dot are passed over, and so are ``SYSTEMS_OWN``.

    Raises:
        OSError: If the folder itself can't be listed.
    """
    found = Found()
    seen: dict[tuple[int, int], str] = {}
    todo: list[tuple[str, str]] = [(str(folder), "")]
    links: list[tuple[str, str]] = []
    while todo or links:
        place, prefix = todo.pop() if todo else links.pop(0)  # all that lies here before what links lead to
        try:
            status = os.stat(place)
            own = status.st_dev, status.st_ino
            if own in seen:
                found.again.append((prefix.rstrip("/"), seen[own].rstrip("/") or "."))
                continue
            seen[own] = prefix
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise
            found.unreadable.append((prefix.rstrip("/"), first_line(error).lower()))
            continue
        if prefix:
            found.folders.append(prefix.rstrip("/"))
        for entry in entries:
            name = prefix + entry.name
            if entry.name[0] == "." or entry.name in SYSTEMS_OWN:
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else todo).append((entry.path, name + "/"))
            else:
                found.files.append(_file(entry, name))
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that is closed: reading it will say so
        return False


def _file(entry: os.DirEntry[str], name: str) -> File:
    try:
        status = entry.stat()
    except OSError:  # a link to nothing, or to itself
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile, or on a disk that fails
            return File(name, 0, 0)
    return File(name, status.st_size, status.st_mtime_ns)
