"""Which sections of a chapter a first reading may leave out: ``book/deeper.yml`` lists them, and their headings and
their lines in the page's contents say "deeper". All others are the chapter's core path.

A file beside the chapters and no mark in them: JupyterLab and jupytext know no form of a heading that carries a class.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util import logging

FILE, CLASS = "deeper.yml", "deeper"

log = logging.getLogger(__name__)


def load(book: Path) -> dict[str, list[str]]:
    """Stem of a chapter -> anchors of its deeper sections."""
    return yaml.safe_load((book / FILE).read_text(encoding="utf-8"))


def mark(app, doctree) -> None:
    """Give these sections their class."""
    docname = app.env.docname
    if not docname.startswith("chapters/"):
        return
    app.env.note_dependency(str(Path(app.srcdir, FILE)))
    named = load(Path(app.srcdir)).get(docname.removeprefix("chapters/"), [])
    sections = {id_: section for section in doctree.findall(nodes.section) for id_ in section["ids"]}
    for name in named:
        if name in sections:
            sections[name]["classes"].append(CLASS)
        else:
            log.warning(f"book/{FILE}: {docname} has no section {name!r}; it has {', '.join(sections)}")


def show(app, doctree, docname: str) -> None:
    """Put the word beside the headings."""
    if app.builder.format == "html":
        for section in doctree.findall(nodes.section):
            if CLASS in section["classes"]:
                title = section.next_node(nodes.title)
                title += nodes.raw("", ' <span class="deeper-mark">deeper</span>', format="html")


def setup(app):
    app.connect("doctree-read", mark)
    app.connect("doctree-resolved", show, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
