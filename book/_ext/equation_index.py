"""The page of equations: what implements each labelled equation of the chapters, and what tests it.

Three kinds of tags are read, from the files' text alone (nothing is imported or run):

- a line ``Equations: eq:one, eq:two`` in the docstring of a function, class or method of the package: it implements
  these;
- the same line in the docstring of a test function: it tests them;
- a comment ``# checks eq:one, eq:two`` in a chapter's code cell that has an assert: nbval runs the cell, so it tests
  them. Where the package has no function for an equation, a step of a derivation say, the cell's own code is the code
  too.

An equation without code or without a test, a tag for an equation that does not exist and a tagged cell without an
assert are warnings, at every build. ``python book/_ext/equation_index.py`` prints the index, so that one sees what is
still to be tagged.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import nbformat
from sphinx.util import logging

PAGE = "equations"
MARK = "<!-- the index -->"  # in the page, where the index goes
LABEL = re.compile(r"eq:[\w-]+")
EQUATION = re.compile(r"\$\$(.*?)\$\$(?:[ ]*\((eq:[\w-]+)\))?", flags=re.DOTALL)
DOCSTRING_TAG = re.compile(r"^[ \t]*Equations:[ \t]*(.*)$", flags=re.MULTILINE)
FENCE = re.compile(r"^(`{3,}).*?^\1", flags=re.DOTALL | re.MULTILINE)  # in it, '# ' begins a comment
HEADING = re.compile(r"^#{1,4} +(.+?) *$", flags=re.MULTILINE)
CELL_TAG = re.compile(r"#[ \t]*checks[ \t]+(eq:.*)$", flags=re.MULTILINE)

log = logging.getLogger(__name__)


class Equation(NamedTuple):
    label: str
    tex: str
    chapter: str  # "02_variance"


class Tag(NamedTuple):
    label: str
    kind: str  # "code", "test" or "cell"
    file: str  # "ddim_edu/forward.py", "tests/test_forward.py", "chapters/02_variance.ipynb"
    name: str  # of the function; of a cell, the heading above it


@dataclass
class Index:
    titles: dict[str, str] = field(default_factory=dict)  # of the chapters, in their order
    equations: list[Equation] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # one line each

    def of(self, label: str, kind: str) -> list[Tag]:
        return [tag for tag in self.tags if (tag.label, tag.kind) == (label, kind)]


def scan(root: Path, chapters: Iterable[str] | None = None) -> Index:
    """Read chapters, package and tests below ``root``; ``chapters`` are the stems to read, by default all."""
    index = Index()
    stems = sorted(path.stem for path in (root / "chapters").glob("*.ipynb")) if chapters is None else chapters
    for stem in stems:
        read_chapter(root / "chapters" / f"{stem}.ipynb", index)
    for folder, kind in (("ddim_edu", "code"), ("tests", "test")):
        for path in sorted((root / folder).rglob("*.py")):
            read_docstrings(path, kind, root, index)

    labels = [equation.label for equation in index.equations]
    index.problems += [
        f"{label}: two equations have this label" for label in sorted(set(labels)) if labels.count(label) > 1
    ]
    for tag in index.tags:
        if tag.label not in labels:
            index.problems.append(f"{tag.file}: {tag.name!r} is tagged {tag.label}, but no equation has this label")
    for label, _, chapter in index.equations:
        cells = index.of(label, "cell")
        if not index.of(label, "code") and not any(Path(cell.file).stem == chapter for cell in cells):
            index.problems.append(
                f"chapters/{chapter}: {label} has no code; tag a docstring of the package, or check it in a cell"
            )
        if not index.of(label, "test") and not cells:
            index.problems.append(
                f"chapters/{chapter}: {label} has no test; write '# checks {label}' in a cell, or tag a test"
            )
    return index


def read_chapter(path: Path, index: Index) -> None:
    """Add a chapter's title, its equations and the tags of its cells."""
    file, heading = f"chapters/{path.name}", ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            index.equations.extend(
                Equation(label, tex.strip(), path.stem) for tex, label in EQUATION.findall(cell.source) if label
            )
            for heading in HEADING.findall(FENCE.sub("", cell.source)):
                index.titles.setdefault(path.stem, heading)
        elif cell.cell_type == "code" and (written := CELL_TAG.findall(cell.source)):
            index.tags.extend(Tag(label, "cell", file, heading) for label in labels_in(written, file, index))
            asserts = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Assert)]
            if all(isinstance(node.test, ast.Constant) for node in asserts):
                index.problems.append(
                    f"{file}: a cell says '# checks {written[0]}' but asserts nothing that could fail"
                )


def read_docstrings(path: Path, kind: str, root: Path, index: Index) -> None:
    """Add the tags in the docstrings of one file of the package ("code") or of the tests ("test")."""
    file = path.relative_to(root).as_posix()
    for name, docstring in definitions(ast.parse(path.read_text(encoding="utf-8"))):
        written = DOCSTRING_TAG.findall(docstring)
        if written and kind == "test" and not name.rpartition(".")[2].startswith("test"):
            index.problems.append(f"{file}: {name} is tagged, but pytest does not run it")
        index.tags.extend(Tag(label, kind, file, name) for label in labels_in(written, f"{file}: {name}", index))


def definitions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and docstring of every function, class and method, in the order of the file."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{prefix}{node.name}.")


def labels_in(written: list[str], where: str, index: Index) -> list[str]:
    """The labels of some tags; what is not a label is a problem."""
    parts = {part.strip(): None for text in written for part in text.split(",")}
    index.problems += [f"{where}: {part!r} in a tag is not eq:name" for part in parts if not LABEL.fullmatch(part)]
    return [part for part in parts if LABEL.fullmatch(part)]


def markdown(index: Index) -> str:
    """The index: for each chapter a list of its equations, each with its code and its tests."""
    lines, before = [], ""
    for label, tex, chapter in index.equations:
        if chapter != before:
            lines += [f"\n## Chapter {int(chapter[:2])}: {index.titles.get(chapter, '')}\n"]
            before = chapter
        own, others = [], []
        for tag in index.of(label, "cell"):
            stem = Path(tag.file).stem
            whose = "the chapter’s own cell" if stem == chapter else f"a cell of chapter {int(stem[:2])}"
            place = f"checks-{stem}-{label.removeprefix('eq:')}"  # folds.py gives the cell this label
            (own if stem == chapter else others).append(f"{{ref}}`{whose} <{place}>` under “{tag.name}”")
        tests = [f"`{tag.file.removeprefix('tests/')}::{tag.name}`" for tag in index.of(label, "test")]
        dotted = [f"{tag.file.removesuffix('.py').replace('/', '.')}.{tag.name}" for tag in index.of(label, "code")]
        code = [f"{{py:obj}}`{name.partition('.')[2]} <{name}>`" for name in dotted]
        rows = {"Code": list(dict.fromkeys(code or own)), "Tests": list(dict.fromkeys(tests + own + others))}
        if rows["Code"] == rows["Tests"]:
            rows = {"Code and test": rows["Code"]}
        lines += [f"{{eq}}`{label}` `{label}`", ":   $$", *(f"    {line}" for line in tex.splitlines()), "    $$\n"]
        lines += ["    " + "\\\n    ".join(f"{what}: {', '.join(of) or 'none'}" for what, of in rows.items()) + "\n"]
    return "\n".join(lines)


# ---------------------------------------------------------------- Sphinx


def read(app, env, added, changed, removed) -> list[str]:
    """Scan, and have the page made anew: it depends on files that Sphinx does not watch, so this happens at every
    build.
    """
    stems = [name.removeprefix("chapters/") for name in env.found_docs if name.startswith("chapters/")]
    app.equation_index = scan(Path(app.srcdir).parent, sorted(stems))
    for problem in app.equation_index.problems:
        log.warning(problem)
    return [PAGE]


def fill(app, docname: str, source: list[str]) -> None:
    """Put the index into its page."""
    if docname == PAGE:
        source[0] = source[0].replace(MARK, markdown(app.equation_index))


def compare(app, env) -> None:
    """Sphinx knows the chapters' equations too: none may have escaped the scan."""
    indexed = {equation.label for equation in app.equation_index.equations}
    for label, (docname, _) in env.get_domain("math").equations.items():
        if docname.startswith("chapters/") and label not in indexed:
            log.warning(f"{docname}: {label} is not in the index of equations; write its label as $$ ... $$ (eq:name)")


def link(app, what, name, obj, options, lines: list[str]) -> None:
    """On the pages of the reference, tags become links to the equations."""
    tags = [line for line in lines if DOCSTRING_TAG.match(line)]
    if tags:
        labels = [label.strip() for line in tags for label in DOCSTRING_TAG.match(line)[1].split(",")]
        lines[:] = [line for line in lines if line not in tags]
        lines += ["", f":Equations: {', '.join(f':eq:`{label}`' for label in labels)}", ""]


def setup(app):
    app.connect("env-get-outdated", read)
    app.connect("source-read", fill)
    app.connect("env-check-consistency", compare)
    app.connect("autodoc-process-docstring", link, priority=600)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    found = scan(Path(__file__).resolve().parents[2])
    print(markdown(found), *found.problems, sep="\n")
    sys.exit(bool(found.problems))
