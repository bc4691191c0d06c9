"""Keep the style rules that the pages can use.

The theme's style sheet is all of Bootstrap, 400 kB on every page, and four fifths of its rules are for classes that no
page of the book has. Here a rule leaves if it names a class or an id that stands in no page and in no script. What it
asks of attributes, of elements, or inside ``:is()`` and ``:not()``, is not looked at: a rule too many costs some bytes,
a rule too few would be seen.
"""

from __future__ import annotations

import re
from pathlib import Path

import tinycss2

LARGE = 20_000  # bytes; smaller sheets are not worth it
DATA = 1_000_000  # a script above this holds a network
GROUPS = ("media", "supports", "layer", "container")  # at-rules that hold rules
WORD = re.compile(r"[A-Za-z_][\w-]*")
BINARY = re.compile(r"[A-Za-z0-9+/=]{200,}")  # in base64, where every short word turns up by chance


def words(site: Path) -> set[str]:
    """Every word of every page and script, and so every class that a page has or a script may give."""
    pages = [
        *site.rglob("*.html"),
        *(p for p in site.rglob("*.js") if p.name != "searchindex.js" and p.stat().st_size < DATA),
    ]
    texts = (BINARY.sub(" ", path.read_text(encoding="utf-8", errors="replace")) for path in pages)
    return {word for text in texts for word in WORD.findall(text)}


def _matches(selector: list, known: set[str]) -> bool:
    """Whether all classes and ids that a selector names are known."""
    named = [token.value for token in selector if token.type == "hash"]
    named += [b.value for a, b in zip(selector, selector[1:]) if a == "." and b.type == "ident"]
    return set(named) <= known


def _selectors(prelude: list) -> list[list]:
    """The parts of a selector list."""
    parts: list[list] = [[]]
    for token in prelude:
        if token == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def pruned(rules: list, known: set[str]) -> str:
    """The rules that can match a page in which only the ``known`` words are classes or ids.

    Args:
        rules: What tinycss2 has parsed.
        known: Names of classes and ids; more do no harm.
    """
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [tinycss2.serialize(s).strip() for s in _selectors(rule.prelude) if _matches(s, known)]
            if selectors:
                kept.append(",".join(selectors) + "{" + tinycss2.serialize(rule.content).strip() + "}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in GROUPS and rule.content is not None:
            inside = pruned(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), known)
            if inside:
                kept.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inside}}}")
        elif rule.type != "comment":
            kept.append(rule.serialize())
    return "\n".join(kept)


def prune(app, exception) -> None:
    if exception is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    known = words(site)
    for path in sorted(site.joinpath("_static").rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        if len(text) > LARGE and path.parent.name != "katex":  # whose script makes its classes as it goes
            path.write_text(
                pruned(tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True), known),
                encoding="utf-8",
            )


def setup(app):
    app.connect(
        "build-finished", prune, priority=800
    )  # after all is copied, and before the icons: style sheets say which are shown
    return {"parallel_read_safe": True, "parallel_write_safe": True}
