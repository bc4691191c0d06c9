"""Names on a command line that stand for a function: one of ours, one of an installed package, or one in a file of the
user's.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from ddim_edu.files import first_line

Found = TypeVar("Found")


def named(name: str, ours: Mapping[str, Found], kind: str, group: str, *, imports: bool = True) -> Found | Callable:
    """What a name stands for.

    Args:
        name: One of ``ours``; or an entry point of an installed package; or ``module:function``, where the module is
            ``my_file`` for a ``my_file.py`` in the working directory, ``there/my_file.py`` for one elsewhere, or one of
            an installed package.
        ours: What this package has, by name.
        kind: What it is, for messages: ``"solver"``.
        group: The group of entry points: ``"ddim_edu.solvers"``.
        imports: Whether a module may be imported. Not for a name that a file says; only what the process has imported
            already, for a name of the command line, is found then.

    Raises:
        ValueError: In one line, if there is no such name, or the module can't be imported.
    """
    if name in ours:
        return ours[name]
    theirs = {point.name: point.value for point in entry_points(group=group)}
    module, colon, function = theirs.get(name, name).partition(":")
    folder, _, module = module.rpartition("/")
    module = module.removesuffix(".py")  # the file, as the conformance kit takes it
    if not (module and colon and function):
        known = ", ".join([*ours, *theirs])
        raise ValueError(f"there is no {kind} {name!r} (known: {known}; your own: file:name)")
    if not imports and module not in sys.modules:
        raise ValueError(f"{kind} = {name}: named by a file, and nothing is imported for that")
    found = getattr(_import(module, kind, name, folder) if imports else sys.modules[module], function, None)
    if not callable(found):
        raise ValueError(f"{kind} = {name}: {module} has no {function} to call")
    return found


def _import(module: str, kind: str, name: str, folder: str) -> object:
    here = os.path.abspath(folder)  # of none: the working directory
    sys.path.insert(0, here)  # an installed command, unlike python -m, doesn't look there
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises, or a script that ends itself
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        what = "no such file here, and no such package" if missing else f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{kind} = {name}: can't import {module} ({what})") from None
    finally:
        if here in sys.path:  # the file may have changed it
            sys.path.remove(here)
