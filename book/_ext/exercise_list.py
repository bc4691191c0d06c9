"""The teacher's page: the exercises of the chapters by chapter and by skill, with links, kind, difficulty and minutes.

Titles are read from the chapters, all else from the registry of :mod:`ddim_edu.exercises`. Where the two disagree there
is a warning at every build: an exercise without a check, a check without an exercise, other minutes below the title
than in the registry, a solution that does not end in its check. Chapters without any check are left out, so that a
chapter can be written before its checks are. ``python book/_ext/exercise_list.py`` prints the page's lists.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import nbformat
from docutils import nodes
from sphinx.util import logging

PAGE = "teaching"
MARK = "<!-- the exercises -->"  # in the page, where the lists go
EXERCISE = re.compile(
    r"^```\{exercise\} *(?P<title>[^\n]*)\n:label: *(?P<label>\S+)\n(?P<body>.*?)^```", flags=re.DOTALL | re.MULTILINE
)
META = re.compile(r"\A\*(?P<kind>\w+) · (?P<stars>[\w ]+) · (?P<minutes>\d+) minutes\*$", flags=re.MULTILINE)
SOLUTION = re.compile(r"^````\{solution\} *(?P<label>\S+)\n(?P<body>.*?)^````", flags=re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"^# +(.+?) *$", flags=re.MULTILINE)

log = logging.getLogger(__name__)


class Written(NamedTuple):
    """An exercise as it stands in a chapter."""

    label: str
    chapter: int
    title: str
    kind: str  # "" where the line below the title is missing
    stars: str
    minutes: int
    hands_in: bool  # the statement names its check
    checked: bool  # the solution asserts it


class Chapter(NamedTuple):
    stem: str
    title: str
    exercises: list[Written]


def read_chapter(path: Path) -> Chapter:
    """The exercises of one notebook, in their order."""
    text = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    solutions = {found["label"]: found["body"] for found in SOLUTION.finditer(text)}
    exercises = []
    for found in EXERCISE.finditer(text):
        label, meta = found["label"], META.search(found["body"])
        call = f'check("{label}",'
        line = (meta["kind"].lower(), meta["stars"], int(meta["minutes"])) if meta else ("", "", 0)
        checked = f"assert {call}" in solutions.get(label, "")
        exercises.append(
            Written(label, int(path.stem[:2]), found["title"].strip(), *line, call in found["body"], checked)
        )
    return Chapter(path.stem, TITLE.search(text)[1], exercises)


def scan(root: Path, stems: Iterable[str] | None = None) -> list[Chapter]:
    """The chapters below ``root``, by default all of them."""
    stems = sorted(path.stem for path in (root / "chapters").glob("[0-9]*.ipynb")) if stems is None else sorted(stems)
    return [read_chapter(root / "chapters" / f"{stem}.ipynb") for stem in stems]


def problems(chapters: list[Chapter], registry: dict) -> list[str]:
    """Where chapters and registry disagree, one line each."""
    from ddim_edu.exercises.core import STARS

    found, with_checks = [], {entry.chapter for entry in registry.values()}
    for stem, _, exercises in chapters:
        number = int(stem[:2])
        if number not in with_checks:
            continue
        for it in exercises:
            where, entry = f"chapters/{stem}: {it.label}", registry.get(it.label)
            if entry is None:
                found.append(f"{where} has no check in ddim_edu.exercises")
                continue
            registered = entry.kind, STARS[entry.stars - 1], entry.minutes
            if registered != (it.kind, it.stars, it.minutes):
                found.append(
                    f"{where} says {(it.kind, it.stars, it.minutes)} below its title, the registry {registered}"
                )
            if not it.title.startswith(f"{entry.kind.capitalize()}: "):
                found.append(
                    f"{where} has the title {it.title!r}, which should begin with '{entry.kind.capitalize()}: '"
                )
            if not it.hands_in:
                found.append(f'{where} does not say how to hand the answer in, check("{it.label}", ...)')
            if not it.checked:
                found.append(f'{where}: its solution has no assert check("{it.label}", ...)')
        order = [label for label, entry in registry.items() if entry.chapter == number]
        written = [it.label for it in exercises]
        found += [
            f"chapters/{stem}: {label} is in the registry, but not in the chapter"
            for label in order
            if label not in written
        ]
        if sorted(order) == sorted(written) and order != written:
            found.append(f"chapters/{stem}: the registry has its exercises in another order, {', '.join(order)}")
    return found


def markdown(chapters: list[Chapter], registry: dict) -> str:
    """The lists: a table for each chapter, then the same exercises by skill, easier ones first."""
    from ddim_edu.exercises.core import KINDS, SKILLS, STARS

    titles = {
        it.label: it.title.partition(": ")[2]
        for chapter in chapters
        for it in chapter.exercises
        if it.label in registry
    }
    known = [entry for label, entry in registry.items() if label in titles]

    def link(entry) -> str:
        return f"{{ref}}`{titles[entry.label]} <{entry.label}>`"

    counts = ", ".join(f"{sum(entry.kind == kind for entry in known)} {kind}" for kind in KINDS)
    hours = round(sum(entry.minutes for entry in known) / 60)
    lines = [f"There are {len(known)} exercises ({counts}), about {hours} hours of work in all.\n", "## By chapter\n"]
    for stem, title, exercises in chapters:
        here = [registry[it.label] for it in exercises if it.label in registry]
        if here:
            minutes = sum(entry.minutes for entry in here)
            lines += [
                f"### {int(stem[:2])} · {title}\n",
                f"{{doc}}`To the chapter </chapters/{stem}>`; {minutes} minutes in all.\n",
            ]
            lines += ["| exercise | skill | kind | stars | min |", "|---|---|---|---|---:|"]
            for e in here:
                lines.append(
                    f"| {link(e)} | {SKILLS[e.skill]} | {e.kind} | {shown(STARS[e.stars - 1])} | {e.minutes} |"
                )
            lines.append("")
    lines.append("## By skill\n")
    for skill, title in SKILLS.items():
        here = sorted(
            (entry for entry in known if entry.skill == skill), key=lambda entry: (entry.stars, entry.chapter)
        )
        if here:
            lines += [f"### {title}\n", "| exercise | chapter | kind | stars | min |", "|---|---:|---|---|---:|"]
            lines += [
                f"| {link(e)} | {e.chapter} | {e.kind} | {shown(STARS[e.stars - 1])} | {e.minutes} |" for e in here
            ]
            lines.append("")
    return "\n".join(lines)


def shown(stars: str) -> str:
    """ "two stars" as a reader sees it, and as a screen reader says it."""
    count = ("one star", "two stars", "three stars").index(stars) + 1
    return f'<span class="stars" role="img" aria-label="{stars} of three">{"★" * count}{"☆" * (3 - count)}</span>'


# ---------------------------------------------------------------- Sphinx


def light(app, doctree, docname: str) -> None:
    """In a chapter, the line below an exercise's title shows its stars."""
    if app.builder.format != "html" or not docname.startswith("chapters/"):
        return
    for emphasis in doctree.findall(nodes.emphasis):
        found = META.match(f"*{emphasis.astext()}*")
        if found and found["stars"] in ("one star", "two stars", "three stars"):
            before, _, after = emphasis.astext().partition(found["stars"])
            emphasis.children = []
            emphasis += [nodes.Text(before), nodes.raw("", shown(found["stars"]), format="html"), nodes.Text(after)]


def read(app, env, added, changed, removed) -> list[str]:
    """Scan, and have the page made anew: it depends on files that Sphinx does not watch, so this happens at every
    build.
    """
    from ddim_edu.exercises import registry

    stems = [name.removeprefix("chapters/") for name in env.found_docs if name.startswith("chapters/")]
    chapters = scan(Path(app.srcdir).parent, stems)
    for problem in problems(chapters, registry()):
        log.warning(problem)
    app.exercise_list = markdown(chapters, registry())
    return [PAGE]


def fill(app, docname: str, source: list[str]) -> None:
    """Put the lists into their page."""
    if docname == PAGE:
        source[0] = source[0].replace(MARK, app.exercise_list)


def setup(app):
    app.connect("env-get-outdated", read)
    app.connect("source-read", fill)
    app.connect("doctree-resolved", light)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    from ddim_edu.exercises import registry

    root = Path(__file__).resolve().parents[2]
    print(markdown(scan(root), registry()), *(said := problems(scan(root), registry())), sep="\n")
    sys.exit(bool(said))
