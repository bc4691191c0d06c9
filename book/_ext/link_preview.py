"""What a search engine, or a message with a link, says of a page.

For a chapter, what its card on the first page says; for other pages, their first sentences that hold no formula.
sphinxext-opengraph would take the first words as they come, with the TeX of their formulas, cut in the middle of a
word.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes

LONGEST = 200  # characters; more is not shown
FORMULA = "\ufffc"  # the object replacement character
MEANING, TAG = re.compile(r'<span class="meaning".*?</span>', re.DOTALL), re.compile(r"<[^>]*>")


CARD = re.compile(r"^:link: (chapters/\S+)\n(?::.*\n)*([^:\n].*)\n", re.MULTILINE)


def cards(index: str) -> dict[str, str]:
    """The chapters that the first page names, each with the sentence on its card."""
    return dict(CARD.findall(index))


def preview(doctree: nodes.document) -> str:
    """Whole sentences without formulas, from the first paragraphs of a page; empty if there are none."""
    said = ""
    for paragraph in doctree.findall(nodes.paragraph):
        copy = paragraph.deepcopy()
        for formula in list(copy.findall(nodes.math)):
            formula.parent.replace(formula, nodes.Text(FORMULA))
        for term in list(copy.findall(nodes.raw)):  # of the glossary, with its meaning (glossary_tips.py)
            term.parent.replace(term, nodes.Text(TAG.sub("", MEANING.sub("", term.astext()))))
        text = " ".join(copy.astext().split()).removeprefix("What this part answers. ")
        for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", text):
            if FORMULA in sentence or not sentence.endswith((".", "?", "!")):
                continue
            if len(said) + len(sentence) < LONGEST:
                said = f"{said} {sentence}".strip()
            elif said:
                return said
    return said


def add(app, pagename, templatename, context, doctree) -> None:
    if doctree is None:
        return
    said = cards(Path(app.srcdir, "index.md").read_text(encoding="utf-8")).get(pagename) or preview(doctree)
    if said:
        context["meta"] = {**(context.get("meta") or {}), "og:description": html.escape(said)}
        context["metatags"] += f'<meta name="description" content="{html.escape(said)}" />\n'


def setup(app):
    app.connect("html-page-context", add, priority=400)  # before sphinxext-opengraph
    return {"parallel_read_safe": True, "parallel_write_safe": True}
