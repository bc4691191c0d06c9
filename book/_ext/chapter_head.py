"""Under each chapter's title: how long it takes, and the code behind it.

The reading time is an estimate from the page itself: prose at 150 words a minute, half a minute for a displayed formula
and a quarter of one for a cell of code that is not folded. The core path leaves out the sections that :mod:`deeper`
marks, and exercises; it may take at most 20 minutes. The running time was measured: ``python
book/_tools/time_chapters.py`` writes it to results/chapter_times.json. The files that a chapter opens are read off its
sentence "The chapter opens ...", so that the head cannot say something else than the text.
"""

from __future__ import annotations

import html
import json
from pathlib import Path

import deeper
import folds
from docutils import nodes
from sphinx.util import logging

OPENS = "The chapter opens"

CORE = 20  # minutes at most

log = logging.getLogger(__name__)


def minutes_to_read(doctree: nodes.document) -> int:
    """In steps of five minutes; exercises' solutions, folded code and outputs do not count."""
    return max(5, 5 * round(_minutes(doctree, "solution") / 5))


def core_minutes(doctree: nodes.document) -> float:
    """The same without the sections that are deeper, and without exercises, which say their own time."""
    return _minutes(doctree, "solution", "exercise", "exercise_enumerable", deeper.CLASS)


def _minutes(doctree: nodes.document, *without: str) -> float:
    words = formulas = cells = 0
    for paragraph in doctree.findall(nodes.paragraph):
        words += len(paragraph.astext().split()) if not _within(paragraph, "cell_output", *without) else 0
    for formula in doctree.findall(nodes.math_block):
        formulas += not _within(formula, *without)
    for cell in folds.code_cells(doctree):
        cells += not _within(cell, *without) and not folds.is_folded(cell)
    return words / 150 + formulas / 2 + cells / 4


def _within(node: nodes.Node, *classes: str) -> bool:
    while node is not None:
        if isinstance(node, nodes.Element) and set(classes) & {
            *node.get("classes", ()),
            type(node).__name__.removesuffix("_node"),
        }:
            return True
        node = node.parent
    return False


def opened(doctree: nodes.document) -> list[str]:
    """The modules that the chapter says it opens, without the package's name: ["schedule", "nets.unet"]."""
    for paragraph in doctree.findall(nodes.paragraph):
        if paragraph.astext().startswith(OPENS):
            names = [literal.astext() for literal in paragraph.findall(nodes.literal)]
            return [name.removeprefix("ddim_edu.") for name in names if name.startswith("ddim_edu.")]
    return []


def duration(seconds: float) -> str:
    """Such as "12 seconds"; in steps of five from 15 on."""
    seconds = max(1, round(seconds)) if seconds < 15 else 5 * round(seconds / 5)
    return f"{seconds} second{'s' * (seconds > 1)}"


def add(app, doctree, docname: str) -> None:
    if not docname.startswith("chapters/") or app.builder.format != "html":
        return
    modules = opened(doctree)
    if not modules:
        log.warning(f"{docname}: no paragraph says '{OPENS}' and names modules of the package")
    known, links = app.env.get_domain("py").modules, []
    for name in dict.fromkeys(modules):
        entry = known.get(f"ddim_edu.{name}")
        code = f"<code>{html.escape(name)}</code>"
        uri = app.builder.get_relative_uri(docname, entry.docname) if entry else ""
        links.append(f'<a class="reference internal" href="{uri}#{entry.node_id}">{code}</a>' if entry else code)
    times = json.loads((Path(app.srcdir).parent / "results" / "chapter_times.json").read_text(encoding="utf-8"))[
        "chapters"
    ]
    stem = docname.removeprefix("chapters/")
    facts, core = [f"about {minutes_to_read(doctree)} minutes to read"], round(core_minutes(doctree))
    if any(deeper.CLASS in section["classes"] for section in doctree.findall(nodes.section)):
        facts[0] += f", the core {core} (without what is marked deeper)"
    if core > CORE:
        log.warning(f"{docname}: the core path takes {core} minutes, at most {CORE}: mark sections in {deeper.FILE}")
    if stem in times:
        facts.append(f"{duration(times[stem]['cpu_seconds'])} to run")
    else:
        log.warning(
            f"results/chapter_times.json has no {stem}: python book/_tools/time_chapters.py chapters/{stem}.ipynb"
        )
    exercises = sum(type(node).__name__ in ("exercise_node", "exercise_enumerable_node") for node in doctree.findall())
    facts.append(f"{exercises} exercises")
    text = (
        f'<p class="chapter-facts">{" · ".join(facts).capitalize()}</p>\n'
        f'<p class="chapter-code">Code behind it: {", ".join(links)}</p>\n'
    )
    title = next(iter(doctree.findall(nodes.title)))
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", text, format="html"))


def setup(app):
    app.connect("doctree-resolved", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
