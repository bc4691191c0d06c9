"""Which code of a chapter is folded, and what the line above it says; which sections are deeper."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
chapter_head = pytest.importorskip("chapter_head")
import deeper  # noqa: E402
import exercise_list  # noqa: E402
import folds  # noqa: E402


def cell(source: str, printed: str = "", *tags: str) -> nodes.container:
    made = nodes.container(nb_element=folds.CODE, classes=["cell", *(f"tag_{tag}" for tag in tags)])
    made += nodes.container("", nodes.literal_block(source, source), nb_element=folds.INPUT, classes=["cell_input"])
    if printed:
        made += nodes.container(
            "", nodes.literal_block(printed, printed), nb_element=folds.OUTPUT, classes=["cell_output"]
        )
    return made


@pytest.mark.parametrize(
    ("source", "printed", "tags", "folded"),
    [
        ("assert 1 == x", "", (), True),
        ("x = 1", "", (), True),
        ("x = 1", "", ("open",), False),
        ("class A:\n    x = 1", "", (), False),
        ("print(x)", "1", (), False),
        ("print(x)\nassert x == 1", "1", (), True),
        ("def f(x):\n    return x\n\n\nassert f(1) == 1\nprint(f(1))", "1", (), True),
        ("def f(x):\n    return x\n\n\nassert f(1) == 1", "", (), True),
        ("assert 1 == x", "", ("open",), False),
        ("import torch", "", ("hide-input",), True),
        ("print(1)  # assert nothing", "1", (), False),
    ],
)
def test_what_only_checks_is_folded(source, printed, tags, folded):
    assert folds.is_folded(cell(source, printed, *tags)) == folded


def test_in_a_deeper_section_all_code_is_folded_but_for_open_cells():
    plain, kept = cell("print(x)", "1"), cell("print(x)", "1", "open")
    nodes.section("", nodes.section("", plain, kept), classes=[deeper.CLASS])
    assert folds.is_folded(plain) and not folds.is_folded(kept)


def test_a_picture_stands_above_its_code_and_above_what_prepares_it(monkeypatch):
    imports, other = cell("import torch", "", "hide-input"), cell("print(x)", "1")
    checks = cell("assert x  # checks eq:one")
    figure = cell("figure()", "", "hide-input")
    figure += nodes.container("", nodes.figure("", nodes.image(uri="a.png")), nb_element=folds.OUTPUT)
    page = nodes.section("", other, checks, imports, figure)
    document = new_document("page")
    document += page
    monkeypatch.setattr(folds, "number_of", lambda env, label: "1.1")
    folds.fold(SimpleNamespace(builder=SimpleNamespace(format="html"), env=None), document, "chapters/01_x")
    assert page.children == [other, checks, figure]
    assert figure.children[0]["nb_element"] == folds.OUTPUT
    written = [node.astext() for node in figure.findall(lambda n: isinstance(n, nodes.raw | nodes.literal_block))]
    assert [text for text in written if "<" not in text] == ["import torch", "figure()"]
    assert [re.sub(".*<summary>|</summary>", "", text) for text in written if "summary" in text] == [
        "Imports", "Code of the figure",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "has_output", "hidden", "numbers", "line"),
    [
        ("assert x\nassert y", False, False, ["4.1", "4.2"], "Checked: equations (4.1), (4.2) — 2 asserts"),
        ("assert x", False, False, [], "Checked — 1 assert"),
        ("assert x\nprint(x)", True, False, ["4.1"], "Computed and checked: equation (4.1) — 1 assert"),
        ("import torch", False, True, [], "Imports"),
        ("figure()", True, True, [], "Code of the figure"),
        ("Table(heads, rows)", True, True, [], "Code of the table"),
        ("Players(heard, 16_000)", True, True, [], "Code of the sounds"),
        ("x = 1\ny = 2", False, False, [], "Prepared — 2 lines"),
        ("print(x)", True, False, [], "Code — 1 line"),
    ],
)
def test_the_line_says_what_is_inside(source, has_output, hidden, numbers, line):
    assert folds.summary(source, has_output, hidden, numbers) == line


def test_the_equations_of_a_cell_are_read_once_each():
    assert folds.labels_of("# checks eq:one, eq:two\nx = 1  # checks eq:one\n") == ["eq:one", "eq:two"]


def test_the_core_leaves_out_what_is_deeper_and_exercises():
    document = new_document("page")
    document += nodes.paragraph("", "word " * 1500)
    document += nodes.section("", nodes.paragraph("", "word " * 3000), classes=[deeper.CLASS])
    document += nodes.container("", nodes.paragraph("", "word " * 600), classes=["exercise"])
    document += [cell("print(x)", "1") for _ in range(8)] + [cell("assert x") for _ in range(40)]
    assert chapter_head.core_minutes(document) == 10 + 2
    assert chapter_head.minutes_to_read(document) == 35  # 10 + 20 + 4 + 2


def test_the_list_of_deeper_sections_names_chapters_and_their_own_headings():
    for stem, names in deeper.load(ROOT / "book").items():
        cells = nbformat.read(ROOT / "chapters" / f"{stem}.ipynb", as_version=4).cells
        titles = [
            nodes.make_id(line.lstrip("# ").replace("$", ""))
            for cell in cells
            if cell.cell_type == "markdown"
            for line in cell.source.splitlines()
            if line.startswith("##")
        ]
        assert names and len(set(names)) == len(names) and set(names) <= set(titles)


@pytest.mark.parametrize(("stars", "drawn"), [("one star", "★☆☆"), ("three stars", "★★★")])
def test_difficulty_is_drawn_and_still_said(stars, drawn):
    assert f'aria-label="{stars} of three">{drawn}<' in exercise_list.shown(stars)
