"""A search that works from a folder: it shows where the words stand, and finds symbols and the numbers of exercises.

Sphinx's own asks for each page that it found, to cut an excerpt from it, which a browser refuses to a page of file://.
Here the texts of all sections are written into one script, ``_static/search_texts.js``, which the page of the search
alone loads, and ``search.js`` looks into them. They are read from the finished pages, where exercises have their
numbers. Signs of formulas become letters: ``\\bar\\alpha`` is ᾱ, ``\\eta`` is η.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup, SoupStrainer

FILE = "search_texts.js"
NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi varphi chi "
    "psi omega Delta Sigma Omega Phi Psi Theta Lambda"
)
GREEK = dict(zip(NAMES.split(), "αβγδεεζηθκλμνξπρστφφχψωΔΣΩΦΨΘΛ"))
LEFT_OUT = "script, style, nav, button, .headerlink, .cell_output, .toctree-wrapper, .viewcode-link, .cell_input"
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]


def plain(text: str) -> str:
    """Formulas as one reads them, where that takes no more than letters; no white space twice."""
    text = re.sub(r"\\bar\s*\{?\s*\\alpha\s*\}?", "ᾱ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda found: GREEK.get(found[1], " "), text)
    return " ".join(re.sub(r"\\.|[{}$¶#]", " ", text).split())


def sections(page: str) -> list[list[str]]:
    """The sections, exercises, words and functions of a page in order: [anchor, heading, text of its own]."""
    soup = BeautifulSoup(page, "html.parser", parse_only=SoupStrainer("article"))
    for element in soup.select(LEFT_OUT):
        element.decompose()
    found = []
    # inner ones come after outer ones, so from the end: what has been taken is in no other
    for element in reversed(soup.select("section[id], div.exercise[id], dt[id]")):
        anchor = element["id"]
        if element.name == "dt":
            body = element.find_next_sibling("dd")
            # a word of the glossary has its own name, a function its full one
            title = plain(element.extract().get_text(" ")) if anchor.startswith("term-") else anchor
            found.append([anchor, title, plain(body.extract().get_text(" ")) if body else ""])
            continue
        heading = element.find(HEADINGS, recursive=False) or element.find(class_="admonition-title")
        if heading is not None:
            title = plain(heading.extract().get_text(" ").replace("( ", "("))
            found.append([anchor, title, plain(element.extract().get_text(" "))])
    return found[::-1]


def write(app, exception) -> None:
    if exception is not None or app.builder.name != "html":
        return
    pages = []
    for name in _in_order(app.env):
        path = Path(app.outdir, f"{name}.html")
        if path.is_file():
            rows = sections(path.read_text(encoding="utf-8"))
            pages.append([f"{name}.html", plain(app.env.titles[name].astext()), rows])
    text = f"window.searchTexts = {json.dumps(pages, ensure_ascii=False, separators=(',', ':'))};\n"
    Path(app.outdir, "_static", FILE).write_text(text, encoding="utf-8")


def _in_order(env) -> list[str]:
    """The pages as one leafs through them; those of no table of contents last."""
    order, ahead = [], [env.config.root_doc]
    while ahead:
        name = ahead.pop(0)
        if name not in order:
            order.append(name)
            ahead = [*env.toctree_includes.get(name, ()), *ahead]
    return [*order, *sorted(env.found_docs - set(order))]


def add(app, pagename, templatename, context, doctree) -> None:
    """The page of the search gets the script."""
    if pagename == "search":
        app.add_js_file(None, body=Path(__file__).with_name("search.js").read_text(encoding="utf-8"))


def setup(app):
    app.connect("html-page-context", add)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
