"""The formulas of other pages that a page refers to by number, as data in the page: ``reading.js`` shows them in place.

Formulas of the page itself are there already. The TeX is that of the page of equations.
"""

from __future__ import annotations

import json

from docutils import nodes
from folds import make_equation_id


def add(app, doctree, docname: str) -> None:
    if app.builder.format != "html":
        return
    known = {make_equation_id(label): tex for label, tex, _ in app.equation_index.equations}
    named = {node.get("refuri", "").partition("#")[2] for node in doctree.findall(nodes.reference)}
    found = {name: " ".join(known[name].split()) for name in sorted(named & set(known))}
    if found:
        data = json.dumps(found, ensure_ascii=False).replace("</", "<\\/")
        doctree += nodes.raw("", f'<script type="application/json" id="equations">{data}</script>', format="html")


def setup(app):
    app.connect("doctree-resolved", add)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
