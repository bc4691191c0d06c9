"""Formulas are set by KaTeX, whose files lie in book/katex, so that no page needs a network.

It is a quarter of MathJax in size and sets a chapter's formulas in a few hundredths of a second, before one begins to
read. A page gets the TeX as text; ``katex_math.js`` sets it when the page is there. Without scripts, the TeX itself is
what one reads.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.util.fileutil import copy_asset
from sphinx.util.math import get_node_equation_number

FOLDER = "katex"  # in book/, and in the built site's _static/
SCRIPTS = ("katex.min.js", "copy-tex.min.js", "katex_math.js")
STYLE = "katex.min.css"


def inline(self, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(rf"\({self.encode(node.astext())}\)</span>")
    raise nodes.SkipNode


def display(self, node: nodes.math_block) -> None:
    """The formula, and before it the number if it has one; lines that end in a double backslash are aligned at their
    ``&``.
    """
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    tex = self.encode(node.astext().strip())
    if r"\\" in tex and not node["nowrap"]:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    self.body.append(rf'<div class="formula">\[{tex}\]</div></div>' + "\n")
    raise nodes.SkipNode


def load(app, pagename, templatename, context, doctree) -> None:
    if app.builder.format == "html" and app.env.get_domain("math").has_equations(pagename):
        app.add_css_file(f"{FOLDER}/{STYLE}")
        for name in SCRIPTS:
            app.add_js_file(f"{FOLDER}/{name}", loading_method="defer")


def copy(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        copy_asset(Path(app.srcdir, FOLDER), Path(app.outdir, "_static", FOLDER))


def setup(app):
    app.add_html_math_renderer("katex", (inline, None), (display, None))
    app.connect("html-page-context", load)
    app.connect("build-finished", copy, priority=400)  # before the style sheets are pruned
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
