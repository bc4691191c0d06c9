"""Code that checks is folded under one slim line, so that a chapter reads as text and pictures.

In a chapter's code cells, the code is folded

- if it has an assert and prints nothing: "Checked: equations (4.1), (4.2) — 5 asserts";
- if it has an assert and prints; what it prints stays in view: "Computed and checked: equation (4.1) — 2 asserts";
- if it neither prints nor defines a function or a class, and so prepares for another: "Prepared — 7 lines";
- if it stands in a section that a first reading may leave out (:mod:`deeper`): "Code — 12 lines";
- if it has the tag ``hide-input``, as MyST-NB does it, under the same slim line: "Imports", "Code of the figure", "of
  the table" or "of the sounds".

The tag ``open`` keeps a cell open. What a cell draws stands above its fold, and above the folds of the cells before it
that print nothing and check no equation: the picture comes first. A fold is a ``<details>``: browsers open it by key,
by their search in the page, and for an address that leads into it. MyST-NB's own fold can't be used for all of them:
its line has a fixed name for screen readers, "Toggle hidden content". ``reading.js`` opens folds before the page is
printed.

The input of a cell that says ``# checks eq:name`` gets an anchor, to which the page of equations leads; "checks-",
chapter and name are its label.
"""

from __future__ import annotations

import ast
import functools
import html

import deeper
from docutils import nodes
from equation_index import CELL_TAG, LABEL
from sphinx.util.nodes import make_id

OPEN, HIDE = "tag_open", "tag_hide-input"  # the classes that MyST-NB makes of a cell's tags
SHOWS = {"Table(": "table", "Players(": "sounds", "Audio(": "sounds", "Keyboard.": "keyboard"}
CODE, INPUT, OUTPUT = "cell_code", "cell_code_source", "cell_code_output"


def code_cells(doctree: nodes.document):
    return list(doctree.findall(lambda node: isinstance(node, nodes.container) and node.get("nb_element") == CODE))


def source_of(cell: nodes.container) -> str:
    """Its code, also once MyST-NB has wrapped it; "" of a cell without."""
    for block in cell.findall(nodes.literal_block):
        if block.parent.get("nb_element") == INPUT:
            return block.astext()
    return ""


def labels_of(source: str) -> list[str]:
    """The equations that a cell says it checks: ["eq:one", "eq:two"]."""
    return list(dict.fromkeys(label for line in CELL_TAG.findall(source) for label in LABEL.findall(line)))


@functools.cache  # each cell is asked for by several extensions
def asserts(source: str) -> int:
    """How many assertions code has; 0 if it is no Python."""
    try:
        return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    except SyntaxError:
        return 0


@functools.cache
def defines(source: str) -> bool:
    """Whether code defines something at its top level."""
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(source).body)


def prints(cell: nodes.container) -> bool:
    return any(child.get("nb_element") == OUTPUT for child in cell.children if isinstance(child, nodes.Element))


def draws(cell: nodes.container) -> bool:
    """Whether a figure or a picture comes out of it."""
    outputs = [child for child in cell.children if isinstance(child, nodes.Element)]
    return any(list(child.findall(nodes.image)) for child in outputs if child.get("nb_element") == OUTPUT)


def is_deeper(node: nodes.Node) -> bool:
    while node is not None and not (isinstance(node, nodes.section) and deeper.CLASS in node["classes"]):
        node = node.parent
    return node is not None


def is_folded(cell: nodes.container) -> bool:
    """Whether the code of this cell is out of sight until one opens it."""
    if OPEN in cell["classes"]:
        return False
    source = source_of(cell)
    if HIDE in cell["classes"] or is_deeper(cell):
        return True
    return asserts(source) > 0 or not (prints(cell) or defines(source))


def summary(source: str, has_output: bool, hidden: bool, numbers: list[str]) -> str:
    """The line that one sees of a folded cell.

    Args:
        source: The cell's code.
        has_output: It prints or draws, and this stays in view.
        hidden: It was folded by its tag.
        numbers: Of the equations that it checks, such as "4.1".
    """
    count = asserts(source)
    if not count:
        if all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body):
            return "Imports"
        lines = len(source.splitlines())
        if hidden and has_output:
            return f"Code of the {next((what for made, what in SHOWS.items() if made in source), 'figure')}"
        what = "Code" if has_output or hidden or defines(source) else "Prepared"
        return f"{what} — {lines} line{'s' * (lines > 1)}"
    what = "Computed and checked" if has_output else "Checked"
    if numbers:
        what += f": equation{'s' * (len(numbers) > 1)} " + ", ".join(f"({number})" for number in numbers)
    return f"{what} — {count} assert{'s' * (count > 1)}"


# ---------------------------------------------------------------- Sphinx


def number_of(env, label: str) -> str:
    """An equation's number as pages show it, such as "4.1"."""
    docname, plain = env.get_domain("math").equations.get(label, ("", 0))
    numbers = env.toc_fignumbers.get(docname, {}).get("displaymath", {}).get(make_equation_id(label), ())
    return ".".join(map(str, numbers)) or str(plain or label)


def make_equation_id(label: str) -> str:
    return nodes.make_id(f"equation-{label}")


def anchor(app, doctree) -> None:
    """Give inputs that check equations an anchor, and the page of equations a label for it."""
    docname = app.env.docname
    if not docname.startswith("chapters/"):
        return
    stem, labels = docname.removeprefix("chapters/"), app.env.get_domain("std").anonlabels
    for cell in code_cells(doctree):
        for label in labels_of(source_of(cell)):
            name = f"checks-{stem}-{label.removeprefix('eq:')}"
            if name not in labels or labels[name][0] != docname:
                place = next(child for child in cell.children if child.get("nb_element") == INPUT)
                id_ = make_id(app.env, doctree, "checks", label.removeprefix("eq:"))
                place["ids"].append(id_)
                labels[name] = docname, id_


def fold(app, doctree, docname: str) -> None:
    if not docname.startswith("chapters/") or app.builder.format != "html":
        return
    for cell in code_cells(doctree):
        source = source_of(cell)
        if not source or not is_folded(cell):
            continue
        numbers = [number_of(app.env, label) for label in labels_of(source)]
        line = summary(source, prints(cell), HIDE in cell["classes"], numbers)
        place = next(node for node in cell.findall(nodes.container) if node.get("nb_element") == INPUT)
        outer = place if place.parent is cell else place.parent  # MyST-NB's own fold
        kind = "fold checks" if asserts(source) else "fold"
        before = f'<details class="{kind}"><summary>{html.escape(line)}</summary>'
        cell.replace(outer, [nodes.raw("", before, format="html"), place, nodes.raw("", "</details>", format="html")])
        cell["classes"].append("folded")
    for cell in code_cells(doctree):
        if "folded" in cell["classes"] and draws(cell):
            below(cell)


def below(cell: nodes.container) -> None:
    """Move the fold of a cell under what the cell draws, and those of the cells before it that only prepare."""
    pieces = [piece for piece in cell.children if piece.get("nb_element") != OUTPUT]
    siblings = cell.parent.children
    while (at := siblings.index(cell)) and prepares(siblings[at - 1]):
        pieces = siblings[at - 1].children + pieces
        cell.parent.remove(siblings[at - 1])
    outputs = [piece for piece in cell.children if piece.get("nb_element") == OUTPUT]
    row = [nodes.raw("", '<div class="folds">', format="html"), *pieces, nodes.raw("", "</div>", format="html")]
    cell.children = []
    cell.extend([*outputs, *row])


def prepares(node: nodes.Node) -> bool:
    """Whether a node is a folded cell that prints nothing and checks no equation, which stands above it."""
    return (
        isinstance(node, nodes.container)
        and "folded" in node["classes"]
        and not prints(node)
        and not labels_of(source_of(node))
    )


def setup(app):
    app.connect("doctree-read", anchor)
    app.connect("doctree-resolved", fold)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
