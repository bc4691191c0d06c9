"""Stand-ins for torch and the like, so that the pages of the reference are made where none of these is installed.

To describe a function, autodoc imports its module, and the modules of the package import torch, numpy and others. Of
these the pages need names alone: annotations, bases, decorators, defaults. So, while the book is built, an import of
them gives an empty module. What one takes from it is an empty class that knows its name. This holds where the real
ones are installed too: one way to the pages, and the same bytes everywhere. (autodoc's own mocks are objects, not
classes: ``Tensor | None`` fails with them.)

The package need not be installed: its folder is put on the path. First among the extensions, before anything imports
what is stood in for.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
NAMES = frozenset(
    {
        "PIL", "accelerate", "cycler", "dicebear", "dicebear_styles", "einops", "matplotlib", "mido", "numpy", "onnx",
        "pytest", "resvg_py", "safetensors", "scipy", "sklearn", "torch", "torch_fidelity", "torchvision", "tqdm",
        "tyro",
    }
)  # fmt: skip


def _same(*_, **__):
    """Whatever is asked of an empty object, the answer is another one."""
    return Empty()


class Standing(type):
    """The type of the stand-in classes: whatever is taken from one, or given to it in brackets, is one again."""

    def __getattr__(cls, name: str) -> Standing:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _class(cls.__module__, f"{cls.__qualname__}.{name}")
        setattr(cls, name, made)
        return made

    def __getitem__(cls, item) -> Standing:
        return cls

    def __repr__(cls) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"


class Empty(metaclass=Standing):
    """The base of all: it takes any arguments, and as a decorator leaves what it decorates as it is."""

    def __init__(self, *_, **__) -> None:
        pass

    def __call__(self, *given, **_):
        return given[0] if len(given) == 1 and callable(given[0]) else self

    def __getattr__(self, name: str) -> Empty:
        if name.startswith("__"):
            raise AttributeError(name)
        return Empty()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = (
        __getitem__
    ) = _same


def _class(module: str, name: str) -> Standing:
    return Standing(name.rpartition(".")[2], (Empty,), {"__module__": module, "__qualname__": name})


class StandIn(ModuleType):
    """A module that has everything."""

    def __getattr__(self, name: str) -> Standing:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _class(self.__name__, name)
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for every module of the ``NAMES``."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in NAMES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module) -> None:
        pass


def stand_in() -> None:
    """From here on, in this process. Whoever has imported a real one already keeps it; the package gets none."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
            del sys.modules[name]
        sys.meta_path.insert(0, Finder())
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def setup(app):
    stand_in()
    from ddim_edu.ranges import Range

    Range.__repr__ = lambda self: f"Range({self})"  # in annotations; an address is another one at every build
    return {"parallel_read_safe": True, "parallel_write_safe": True}
