"""The notebooks that pages offer for download: without outputs, in plain Markdown, and with a cell in front that says
what they need.

Sphinx copies each chapter's notebook as it is. Its outputs stand on the page already, and would be an eighth of the
site once more; whoever downloads a notebook runs it. (nbstripout does this too, for git; here it is one list.) Away
from the repository a chapter would stop at its first import, or much later at a file of results. And what shows
notebooks elsewhere knows no MyST: cross-references become words and links (:mod:`references`).
"""

from __future__ import annotations

import json
from pathlib import Path

import references

NEEDS = """\
# This notebook needs the package ddim_edu and the files of the book's repository.
# In a clone of it: pip install -e '.[book]'
try:
    from ddim_edu.files import in_repository

    in_repository("results")
except (ImportError, FileNotFoundError):
    raise SystemExit("Missing: ddim_edu. In a clone of the book's repository run: pip install -e '.[book]'") from None
"""


def for_download(notebook: str, name: str, known: references.References) -> str:
    """The text of a notebook whose cells have not been run, behind a cell that looks for what they need.

    Args:
        notebook: As it is stored.
        name: Of its file.
        known: What the labels of the book are called.
    """
    content = json.loads(notebook)
    first = {"cell_type": "code", "id": "needs", "metadata": {}, "source": NEEDS.rstrip().splitlines(keepends=True)}
    content["cells"].insert(0, first)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
            figure = cell["metadata"].get("mystnb", {}).get("figure", {})
            if "caption" in figure:
                figure["caption"] = references.plain(figure["caption"], known, name)
        elif cell["cell_type"] == "markdown":
            cell["source"] = references.plain("".join(cell["source"]), known, name).splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def strip(app, error) -> None:
    """After the build."""
    if error is None and app.builder.name == "html":
        known = references.References()
        for path in sorted(Path(app.outdir, "_sources").rglob("*.ipynb")):
            path.write_text(for_download(path.read_text(encoding="utf-8"), path.name, known), encoding="utf-8")


def setup(app):
    app.connect("build-finished", strip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
