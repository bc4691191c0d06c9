"""Keep a full stop with the formula before it.

Browsers may break a line on either side of an inline formula, also where a comma follows without a blank. Here the
formula and what is attached to it become one unbreakable piece.
"""

from __future__ import annotations

import re

from docutils import nodes


def attach(app, doctree, docname):
    for math in list(doctree.findall(nodes.math)):
        parent = math.parent
        place = parent.index(math)
        after = parent[place + 1] if place + 1 < len(parent) else None
        before = parent[place - 1] if place else None
        tail = re.match(r"[^\s\w(]+", after) if isinstance(after, nodes.Text) else None
        head = re.search(r"[(\[“]+$", before) if isinstance(before, nodes.Text) else None
        if not tail and not head:
            continue
        piece = nodes.inline(classes=["unbroken"])
        if head:
            parent.replace(before, nodes.Text(before[: head.start()]))
            piece += nodes.Text(head[0])
        parent.replace(math, piece)
        piece += math
        if tail:
            parent.replace(after, nodes.Text(after[tail.end() :]))
            piece += nodes.Text(tail[0])


def setup(app):
    app.connect("doctree-resolved", attach)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
