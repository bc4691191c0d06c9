"""Formulas are set by KaTeX, whose files are copied from node_modules into the site, so that no page needs a network.

It is a quarter of MathJax in size and sets a chapter's formulas in a few hundredths of a second, before one begins to
read. A page gets the TeX as text; ``katex_math.js`` sets it when the page is there. Without scripts, the TeX itself is
what one reads. Not sphinxcontrib-katex: its style sheet and fonts come from a CDN, every page loads it, and it leaves
out how a formula breaks and how the keyboard reaches it.
"""

from __future__ import annotations

from pathlib import Path

import browser_code
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset
from sphinx.util.math import get_node_equation_number

FOLDER = "katex"  # in the built site's _static/
SCRIPTS = ("katex.min.js", "copy-tex.min.js", "katex_math.js")
STYLE = "katex.min.css"
# from KaTeX's package; copy-tex: a formula that one marks and copies arrives as TeX; fonts in the form that browsers of
# today ask for
TAKEN = ("LICENSE", f"dist/{STYLE}", "dist/katex.min.js", "dist/contrib/copy-tex.min.js", "dist/fonts/*.woff2")


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
        package, out = browser_code.find("katex"), Path(app.outdir, "_static", FOLDER)
        for pattern in TAKEN:
            for path in package.glob(pattern):
                copy_asset(path, out / "fonts" if path.parent.name == "fonts" else out)
        copy_asset(Path(__file__).with_suffix(".js"), out)


def setup(app):
    try:
        browser_code.find("katex")
    except browser_code.Missing as error:
        raise ExtensionError(str(error)) from None
    app.add_html_math_renderer("katex", (inline, None), (display, None))
    app.connect("html-page-context", load)
    app.connect("build-finished", copy, priority=400)  # before the style sheets are pruned
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
