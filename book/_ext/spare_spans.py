"""Code in as few tags as its colours need.

Pygments puts each name, bracket and blank of a program into a tag of its own, a third of the reference's weight. The
theme's two styles, light and dark, show most of them alike. Here one tag of the class of names goes round a block, and
inside it stands in a tag only what either style shows in another way; of several classes that look alike in both, one.
A block with a visible piece that has no look of its own, and so takes that of the page, is written as Pygments does it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pygments.formatters import HtmlFormatter
from pygments.styles import get_style_by_name
from pygments.token import STANDARD_TYPES, Name, _TokenType

GROUND = Name
STYLES = ("pygments_light_style", "pygments_dark_style")  # options of the theme


def looks(styles: list) -> dict[_TokenType, tuple]:
    """How each kind of token looks in all the styles; kinds that some style says nothing about are left out."""
    found = {}
    for kind, name in STANDARD_TYPES.items():
        said = [style.style_for_token(kind) for style in styles]
        if name and all(any(one.values()) for one in said):
            found[kind] = tuple(tuple(one.items()) for one in said)
    return found


def classes(known: dict[_TokenType, tuple]) -> dict[_TokenType, str]:
    """The class of each kind of token: the shortest of those that look like it, and none for what looks like names."""
    named: dict[tuple, list[str]] = {}
    for kind, look in known.items():
        named.setdefault(look, []).append(STANDARD_TYPES[kind])
    ground = known.get(GROUND)
    return {
        kind: "" if look == ground else min(named[look], key=lambda name: (len(name), name))
        for kind, look in known.items()
    }


def formatter(styles: list) -> type[HtmlFormatter]:
    """A formatter for pages that know these styles."""
    short = classes(looks(styles))

    class Spare(HtmlFormatter):
        def format_unencoded(self, tokensource, outfile) -> None:
            tokens = list(tokensource)
            plain = self.nowrap or self.noclasses or self.classprefix or GROUND not in short
            self.spare = not plain and all(kind in short or value.isspace() for kind, value in tokens)
            super().format_unencoded(iter(tokens), outfile)

        def _get_css_classes(self, ttype) -> str:
            return short.get(ttype, "") if self.spare else super()._get_css_classes(ttype)

        def _wrap_pre(self, inner) -> Iterator[tuple[int, str]]:
            pieces = super()._wrap_pre(inner)
            if not self.spare:
                yield from pieces
                return
            opening = next(pieces)[1]
            yield 0, opening.replace("<span></span>", f'<span class="{STANDARD_TYPES[GROUND]}">')
            last = next(pieces)
            for piece in pieces:
                yield last
                last = piece
            yield 0, f"</span>{last[1]}"

    return Spare


def use(app) -> None:
    if app.builder.format != "html" or not getattr(app.builder, "theme", None):
        return
    given = app.builder.theme.get_options() | app.builder.theme_options
    names = [given.get(name) for name in STYLES]
    if all(names):
        app.builder.highlighter.formatter = formatter([get_style_by_name(name) for name in names])


def setup(app):
    app.connect("builder-inited", use)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
