"""A search that works from a folder: it shows where the words stand, and finds symbols and the numbers of exercises.

Sphinx's own asks for each page that it found, to cut an excerpt from it, which a browser refuses to a page of file://.
Here the texts of all sections are written into one script, ``_static/search_texts.js``, which the page of the search
alone loads, and ``search.js`` looks into them. They are read from the finished pages, where exercises have their
numbers. Signs of formulas become letters: ``\\bar\\alpha`` is ᾱ, ``\\eta`` is η.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import in_parallel

FILE = "search_texts.js"
NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi varphi chi "
    "psi omega Delta Sigma Omega Phi Psi Theta Lambda"
)
GREEK = dict(zip(NAMES.split(), "αβγδεεζηθκλμνξπρστφφχψωΔΣΩΦΨΘΛ"))
LEFT_OUT = frozenset(
    "script style nav button .headerlink .cell_output .toctree-wrapper .viewcode-link .cell_input".split()
)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # elements without an end


def plain(text: str) -> str:
    """Formulas as one reads them, where that takes no more than letters; no white space twice."""
    text = re.sub(r"\\bar\s*\{?\s*\\alpha\s*\}?", "ᾱ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda found: GREEK.get(found[1], " "), text)
    return " ".join(re.sub(r"\\.|[{}$¶#]", " ", text).split())


class Element:
    """A tag with what stands in it: other elements, and texts."""

    def __init__(self, name: str, attributes: dict[str, str | None], parent: Element | None = None) -> None:
        self.name, self.id, self.parent = name, attributes.get("id") or "", parent
        self.classes = (attributes.get("class") or "").split()
        self.inside: list[Element | str] = []

    def elements(self) -> Iterator[Element]:
        """All below it, in the order of the page."""
        for child in self.inside:
            if isinstance(child, Element):
                yield child
                yield from child.elements()

    def texts(self) -> Iterator[str]:
        for child in self.inside:
            yield from [child] if isinstance(child, str) else child.texts()

    def take(self) -> str:
        """Its text, which is no longer in the page then."""
        self.parent.inside.remove(self)
        return plain(" ".join(self.texts()))

    def heading(self) -> Element | None:
        own = [child for child in self.inside if isinstance(child, Element) and child.name in HEADINGS]
        return next((one for one in own or self.elements() if own or "admonition-title" in one.classes), None)

    def description(self) -> Element | None:
        """What follows a ``dt``."""
        after = self.parent.inside[self.parent.inside.index(self) + 1 :]
        return next((one for one in after if isinstance(one, Element) and one.name == "dd"), None)


class Article(HTMLParser):
    """The article of a page without what is left out. A fifth of the time that BeautifulSoup takes for it, which was a
    third of the time for the whole site.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = self.here = Element("", {})
        self.out: list[str] = []  # what is open of a part that is left out
        start, end = page.find("<article"), page.rfind("</article>")
        self.feed(page[start:end] if 0 <= start < end else "")
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        new = Element(tag, dict(attrs), self.here)
        if self.out or tag in LEFT_OUT or not LEFT_OUT.isdisjoint(f".{name}" for name in new.classes):
            self.out += [tag] * (tag not in VOID)
            return
        self.here.inside.append(new)
        if tag not in VOID:
            self.here = new

    def handle_endtag(self, tag: str) -> None:
        if self.out:
            while tag in self.out and self.out.pop() != tag:
                pass
            return
        above: Element | None = self.here
        while above and above.name != tag:
            above = above.parent
        self.here = above.parent if above and above.parent else self.here

    def handle_data(self, data: str) -> None:
        if not self.out:
            self.here.inside.append(data)


def sections(page: str) -> list[list[str]]:
    """The sections, exercises, words and functions of a page in order: [anchor, heading, text of its own]."""
    wanted = [
        element
        for element in Article(page).root.elements()
        if element.id
        and (element.name in ("section", "dt") or (element.name == "div" and "exercise" in element.classes))
    ]
    found = []
    # inner ones come after outer ones, so from the end: what has been taken is in no other
    for element in reversed(wanted):
        if element.name == "dt":
            body = element.description()
            # a word of the glossary has its own name, a function its full one
            title = element.take() if element.id.startswith("term-") else element.id
            found.append([element.id, title, body.take() if body else ""])
            continue
        heading = element.heading()
        if heading is not None:
            title = heading.take().replace("( ", "(")
            found.append([element.id, title, element.take()])
    return found[::-1]


def sections_of(path: Path) -> list[list[str]]:
    return sections(path.read_text(encoding="utf-8"))


def write(app, exception) -> None:
    if exception is not None or app.builder.name != "html":
        return
    names = [name for name in _in_order(app.env) if Path(app.outdir, f"{name}.html").is_file()]
    rows = in_parallel.each(sections_of, [Path(app.outdir, f"{name}.html") for name in names])
    pages = [[f"{name}.html", plain(app.env.titles[name].astext()), found] for name, found in zip(names, rows)]
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
