"""The chapters' figures as slides, a file for each chapter that needs nothing beside it: `make slides`.

    python book/_tools/slides.py _build/slides                            all, and index.html
    python book/_tools/slides.py _build/slides chapters/07_ode.ipynb      this chapter's, and index.html

Made of what the notebooks hold, so nothing is run: a slide with the chapter's question, one for each figure with its
caption and the equations that it names, and one with the summary. KaTeX, its fonts and the pictures lie in the page.
Not nbconvert's slides: they show a notebook's cells, load reveal.js and MathJax from a CDN, and know none of the book's
numbers.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import blocks  # noqa: E402
import browser_code  # noqa: E402
import dark_figures  # noqa: E402
import references  # noqa: E402

EVERY = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
MATH = '<span class="math">\\({}\\)</span>'  # katex_math.js sets these
FORMULA = '<div class="math"><div class="formula">\\[{}\\]</div><span>{}</span></div>'  # and the number
ATTACHED = re.compile(r'[(\[“]*<span class="math">[^<]*</span>[^\s\w(<&]*')  # as in math_punctuation.py

MARKDOWN = MarkdownIt("commonmark").use(dollarmath_plugin)
MARKDOWN.renderer.rules["math_inline"] = lambda tokens, i, *_: MATH.format(html.escape(tokens[i].content.strip()))


def cells_of(path: Path) -> list[dict]:
    """A notebook's cells, each with its text in one piece."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def title(cells: list[dict]) -> str:
    return re.search(r"^# (.*)$", cells[0]["source"], re.M)[1]


def said(text: str, known: references.References, inline: bool = True) -> str:
    """MyST as HTML: roles in the book's words, and links to the web alone, since nothing else is beside the slides."""
    text = re.sub(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!https?:)[^()\s]*\)", r"\1", references.plain(text, known, ""))
    return ATTACHED.sub(
        r'<span class="unbroken">\g<0></span>', (MARKDOWN.renderInline if inline else MARKDOWN.render)(text)
    )


def equations() -> dict[str, str]:
    """The TeX of each labelled equation of the chapters."""
    texts = [cell["source"] for path in EVERY for cell in cells_of(path) if cell["cell_type"] == "markdown"]
    return {one["label"]: one["body"].strip() for text in texts for one in references.EQUATION.finditer(text)}


def formula(label: str, known: references.References, tex: dict[str, str]) -> str:
    body = tex[label] if r"\\" not in tex[label] else rf"\begin{{split}}{tex[label]}\end{{split}}"
    return FORMULA.format(html.escape(body), known.named[label][0])


def picture(cell: dict) -> str:
    """The figure that a cell drew, as an image that is readable in the dark too (:mod:`dark_figures`)."""
    data = next(out["data"]["image/png"] for out in cell["outputs"] if "image/png" in out.get("data", {}))
    data = "".join("".join(data).split())
    width, height, found = blocks.blocks(base64.b64decode(data))
    source = f'src="data:image/png;base64,{data}" width="{width}" height="{height}"'
    kind = dark_figures.PLOT if dark_figures.is_plot(cell["source"]) else dark_figures.BELOW
    shown = f'<img class="{kind}" alt="{html.escape(cell["metadata"]["mystnb"]["image"]["alt"])}" {source}>'
    if kind == dark_figures.BELOW:
        shape = dark_figures.path_round(width, height, found)
        shown += f'<img class="cover" style="clip-path: polygon({shape})" alt="" {source}>'
    return (
        f'<div class="room" style="--width: {width}; --height: {height}"><div class="picture">{shown}</div></div>'
        '<p class="rest" hidden>swipe → to see the rest</p>'
    )


def slides(path: Path, known: references.References, tex: dict[str, str]) -> list[str]:
    """The slides of a chapter, in order, as HTML."""
    cells = cells_of(path)
    question = re.search(r"\*\*Question\.\*\* (.*?)(?:\n\n|\Z)", cells[0]["source"], re.S)[1]
    made = [
        f'<p class="number">Chapter {int(path.name[:2])}</p><h1>{said(title(cells), known)}</h1>'
        f'<p class="question">{said(question, known)}</p>'
    ]
    for cell in cells:
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if "caption" not in figure:
            continue
        caption, number = said(figure["caption"], known), known.named[figure["name"]][0]
        labels = dict.fromkeys(re.findall(r"\{eq\}`([^`]+)`", figure["caption"]))
        named = "".join(formula(label, known, tex) for label in labels)
        words = f"<figcaption><h2>{number}.</h2> {caption}{named}</figcaption>"
        made.append(f"<figure>{picture(cell)}{words}</figure>")
    last = next(cell["source"] for cell in reversed(cells) if "## Summary" in cell["source"])
    lines = last.partition("## Summary")[2].partition("**Next.**")[0]
    return [*made, f'<h2>Summary</h2><div class="summary">{said(lines, known, inline=False)}</div>']


def katex() -> tuple[str, list[str]]:
    """KaTeX's style sheet with its fonts in it; its script, and the book's own that sets a page."""
    package = browser_code.find("katex")

    def font(found: re.Match) -> str:
        data = base64.b64encode((package / "dist" / found[1]).read_bytes()).decode()
        return f'src:url(data:font/woff2;base64,{data}) format("woff2")'

    style, script = ((package / "dist" / f"katex.min.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    licence = (package / "LICENSE").read_text(encoding="utf-8")
    setting = (ROOT / "book" / "_ext" / "katex_math.js").read_text(encoding="utf-8")
    return re.sub(r"src:url\((fonts/[\w-]+\.woff2)\)[^}]*", font, style), [f"/*! KaTeX. {licence}*/\n{script}", setting]


def page(name: str, made: list[str]) -> str:
    """A chapter's file."""
    style, scripts = katex()
    css, js, form = ((HERE / f"slides.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html"))
    about = 'class="slide" tabindex="0" role="group" aria-roledescription="slide"'
    parts = [
        f'<section id="{i}" {about} aria-label="{i} of {len(made)}">{one}</section>' for i, one in enumerate(made, 1)
    ]
    run = "".join(f"<script>{script}</script>\n" for script in (*scripts, js))
    return form.format(title=html.escape(name), style=style + css, slides="\n".join(parts), scripts=run)


def contents(known: references.References) -> str:
    """The file that leads to the others."""
    lines = [f'<li><a href="{path.stem}.html">{said(title(cells_of(path)), known)}</a></li>' for path in EVERY]
    form, css = ((HERE / f"slides.{kind}").read_text(encoding="utf-8") for kind in ("html", "css"))
    form = re.sub(r"<nav.*</nav>", "", form.replace("<main>", '<main class="contents">'), flags=re.S)
    name = "The figures as slides"
    return form.format(title=name, style=css, slides=f"<h1>{name}</h1><ol>{''.join(lines)}</ol>", scripts="")


def main(argv: list[str] | None = None) -> int:
    given = [Path(word) for word in (sys.argv[1:] if argv is None else argv)]
    chapters = [ROOT / "chapters" / f"{path.stem}.ipynb" for path in given[1:]] or EVERY
    try:
        if not given or given[0].suffix or str(given[0]).startswith("-"):
            raise ValueError("give a folder, and chapters if not all are wanted: slides.py _build/slides")
        if unknown := [path.stem for path in chapters if path not in EVERY]:
            raise ValueError(f"there is no chapter {unknown[0]}")
        known, tex, files = references.References(), equations(), {}
        for path in chapters:
            files[path.stem] = page(title(cells_of(path)), slides(path, known, tex))
        given[0].mkdir(parents=True, exist_ok=True)
        for name, text in (files | {"index": contents(known)}).items():
            (given[0] / f"{name}.html").write_text(text, encoding="utf-8")
    except (ValueError, OSError) as error:  # among them browser_code.Missing
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"open {given[0] / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
