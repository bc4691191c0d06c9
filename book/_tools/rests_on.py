"""What a chapter's outputs rest on: the modules of ddim_edu that it imports, and those that these import.

``results/chapter_hashes.json`` holds a hash of each, as it was when the chapter was executed. So after an edit in the
package one sees which chapters it may concern. The hash is one of the code: comments, docstrings, lengths of lines do
not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ddim_edu"
STORED = ROOT / "results" / "chapter_hashes.json"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source(module: str) -> Path | None:
    """The file of a module of the package. The package's own __init__, which holds the version alone, is none."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    found = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return found if found.is_file() and module.startswith("ddim_edu.") else None


def imports(tree: ast.AST) -> set[str]:
    """The modules of the package that a file imports, in functions too."""
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in named if source(name)}


def digest(tree: ast.AST) -> str:
    """A hash of the code, the same for every Python that reads it."""
    return hashlib.sha256("\n".join(_words(tree)).encode()).hexdigest()[:12]


def _words(value: object) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield type(value).__name__
        for name, part in ast.iter_fields(value):
            if part not in (None, []) and name != "type_comment":  # newer Pythons have fields that are mostly empty
                if (
                    name == "body"
                    and isinstance(value, DOCUMENTED)
                    and ast.get_docstring(value, clean=False) is not None
                ):
                    part = part[1:]
                yield name
                yield from _words(part)
    elif isinstance(value, list):
        for part in value:
            yield from _words(part)
        yield "end"
    else:
        yield repr(value)


@cache
def _read(path: Path) -> tuple[str, frozenset[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return digest(tree), frozenset(imports(tree))


def modules(chapter: Path) -> dict[str, str]:
    """Hashes of the modules that a chapter rests on.

    Args:
        chapter: The chapter's .py. Solutions are text, so that exercises are none of them.

    Returns:
        Name -> hash, sorted by name.
    """
    found: dict[str, str] = {}
    ahead = imports(ast.parse(chapter.read_text(encoding="utf-8")))
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name], further = _read(source(name))
            ahead |= further
    return dict(sorted(found.items()))


def stored() -> dict[str, dict[str, str]]:
    """Chapter -> hashes of its modules when it was executed."""
    return json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {}


def changed(chapter: Path) -> list[str]:
    """Modules that have changed since the chapter was executed, that it has come to rest on, or no longer does."""
    before, now = stored().get(chapter.stem, {}), modules(chapter)
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def remember(chapters: list[Path]) -> None:
    """Store the hashes as they are; chapters that are gone leave."""
    there = {path.stem for path in chapters[0].parent.glob("[0-9]*.py")} if chapters else set()
    kept = {stem: hashes for stem, hashes in stored().items() if stem in there}
    kept |= {chapter.stem: modules(chapter) for chapter in chapters}
    lines = ",\n".join(f" {json.dumps(stem)}: {json.dumps(kept[stem])}" for stem in sorted(kept))
    partial = STORED.with_name(f".{STORED.name}.partial")
    partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    os.replace(partial, STORED)
