"""The first use of a glossary's word in each chapter leads to the glossary, and shows the meaning on hover and on
focus.

Nothing is written in the chapters for this: after they are read, the first occurrence of each term in a paragraph is
made into a link. Headings, captions, code, formulas, links and folded solutions are left alone. Not sphinx-tippy: it
gives tips to links that are there and makes none, and its two scripts come from a CDN.
"""

from __future__ import annotations

import functools
import html
import re

from docutils import nodes

PAGE = "glossary"
FIRST = re.compile(r"[^ ’'-]*")
ALONE = {"score"}  # not in the plural: "it scores 1" is another word
KEEP_OUT = (
    nodes.title,
    nodes.caption,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.reference,
    nodes.table,
    nodes.strong,
)


def terms(env) -> dict[str, tuple[str, str]]:
    """Term -> (its id on the page, the first sentence or two of its meaning)."""
    if hasattr(env.app, "glossary_terms"):
        return env.app.glossary_terms
    found = env.app.glossary_terms = {}
    for item in env.get_doctree(PAGE).findall(nodes.definition_list_item):
        meaning = item.children[-1].astext().split(" See ")[0].strip()
        for term in item.findall(nodes.term):
            found[term.astext()] = (term["ids"][0], " ".join(meaning.split()))
    return found


@functools.cache
def pattern(term: str) -> re.Pattern:
    """Finds the term, also in the plural or with a capital where a sentence begins; abbreviations as they are."""
    stem = re.escape(term).replace("\\ ", "[ -]").replace("’", "['’]")
    if term[0].islower():
        stem = f"[{term[0]}{term[0].upper()}]{stem[1:]}"
    plural = "" if term in ALONE else "(?:e?s)?"
    return re.compile(rf"(?<![\w-]){stem}{plural}(?![\w-]|['’]s)")


def may_hold(text: str, term: str) -> bool:
    """Whether it is worth looking for the term in a text in small letters: its first word is there."""
    return FIRST.match(term.lower())[0] in text


def link(app, doctree, docname: str) -> None:
    if not docname.startswith("chapters/") or app.builder.format != "html":
        return
    page = app.builder.get_relative_uri(docname, PAGE)
    wanted = sorted(terms(app.env).items(), key=lambda item: -len(item[0]))  # "noise schedule" before "schedule"
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.paragraph | nodes.emphasis | nodes.inline) or _inside(text, KEEP_OUT):
            continue
        pieces: list[nodes.Node] = [text]
        small = text.lower()
        for term, (anchor, meaning) in [entry for entry in wanted if may_hold(small, entry[0])]:
            for i, piece in enumerate(pieces):
                match = pattern(term).search(piece) if isinstance(piece, nodes.Text) else None
                if match:
                    tip = f'<span class="meaning" role="tooltip">{html.escape(meaning)}</span>'
                    made = f'<span class="term"><a href="{page}#{anchor}">{html.escape(match[0])}</a>{tip}</span>'
                    raw = nodes.raw("", made, format="html")
                    pieces[i : i + 1] = [nodes.Text(piece[: match.start()]), raw, nodes.Text(piece[match.end() :])]
                    wanted.remove((term, (anchor, meaning)))
                    break
        if len(pieces) > 1:
            text.parent.replace(text, [piece for piece in pieces if piece.astext()])


def _inside(node: nodes.Node, kinds: tuple) -> bool:
    while node is not None:
        if isinstance(node, kinds) or "solution" in type(node).__name__:
            return True
        node = node.parent
    return False


def setup(app):
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
