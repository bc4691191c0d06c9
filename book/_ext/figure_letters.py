"""How small a figure's letters are, read off the code that drew it, so that a phone can show it as small as they allow.

A figure's image gets a class, ``letters-9`` for letters of 9 points; ``letters-0`` says that there are none. The script
of the pages (``figures.js``) makes an image on a phone as narrow as leaves them ten pixels. A size that code names
counts wherever it is used; what it does not name is matplotlib's own, or that of :mod:`ddim_edu.plotting`.
"""

from __future__ import annotations

import ast
from pathlib import Path

from docutils import nodes
from folds import code_cells, source_of

# points of the smallest letters of what these functions draw; tests/test_figure_letters.py measures them
MADE = {"figure": 10, "image_row": 0, "picture_rows": 12, "table1_figure": 9, "table2_figure": 9}
TITLES = 12  # of a row of images that has some
WRITES = {"annotate", "colorbar", "legend", "set_xlabel", "set_xticks", "set_ylabel", "set_yticks", "suptitle", "text"}
DEFAULT = 10  # what these write if no size is named
UNKNOWN = 9  # a figure that a function of the chapter itself has drawn


def _number(node: ast.expr | None) -> float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) else None


def letters(source: str) -> float:
    """Points of the smallest letters that this code writes into a figure; 0 if it writes none."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:
        return UNKNOWN
    made, written = [], []
    for call in calls:
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        size = _number(call.args[0] if name == "set_fontsize" and call.args else named.get("fontsize"))
        if size is not None:
            written.append(size)
        elif name in WRITES:
            written.append(DEFAULT)
        if name in MADE:
            titled = name == "image_row" and ("titles" in named or len(call.args) > 1)
            made.append(TITLES if titled else MADE[name])
    if not made:
        return UNKNOWN
    return min((size for size in made + written if size), default=0)


def mark(app, doctree) -> None:
    if Path(app.env.docname).parts[0] != "chapters":
        return
    for cell in code_cells(doctree):
        points = letters(source_of(cell))
        for image in cell.findall(nodes.image):
            image["classes"].append(f"letters-{points:g}".replace(".", "-"))


def setup(app):
    app.connect("doctree-read", mark, priority=400)  # before a second image is put over the first (dark_figures.py)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
