"""What holds for every chapter: its two files agree, it ran, it reads as a chapter should, and its exercises' solutions
are right.

A solution's code is the ```python block that the reader sees inside the {solution} directive. It runs here on its own,
in a fresh namespace, so it must import what it uses and assert what it claims.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import pytest

SOURCES = sorted((Path(__file__).parent.parent / "chapters").glob("*.py"))
MAX_CODE_LINES = 15
WORDS = (1200, 3200)
REMARKS = {"note", "warning", "tip", "important", "admonition", "margin"}


class Directive(NamedTuple):
    name: str  # "exercise", or "python" for a plain code fence
    argument: str
    body: str


def fences(markdown: str) -> Iterator[Directive]:
    """The fenced blocks of a text at its outermost level; call it again on a body to go inside."""
    opening, body = None, []
    for line in markdown.splitlines():
        if opening is None:
            opening = re.match(r"\s*(?P<fence>`{3,}|:{3,})\s*\{?(?P<name>[\w:.+-]*)\}?\s*(?P<argument>.*)", line)
            body = []
        elif line.strip() == opening["fence"]:
            yield Directive(opening["name"], opening["argument"].strip(), "\n".join(body))
            opening = None
        else:
            body.append(line)
    assert opening is None, f"a fence that never closes: {opening[0]}"


def prose(markdown: str) -> str:
    """What one reads on the way: no mathematics, labels, code, exercises or solutions, but remarks, theorems and
    proofs.
    """
    for block in fences(markdown):
        kept = prose(block.body) if block.name in REMARKS or block.name.startswith("prf:") else ""
        markdown = markdown.replace(f"{block.argument}\n{block.body}", f"\n{kept}", 1)
    markdown = re.sub(r"^\s*(`{3,}|:{3,}|:\w+:|\([\w:-]+\)=).*$", "", markdown, flags=re.MULTILINE)
    return re.sub(r"\$\$.*?\$\$|\$[^$]+\$", " ", markdown, flags=re.DOTALL)


def count_words(markdown: str) -> int:
    return len(re.findall(r"[^\W\d_][\w'’-]*", prose(markdown)))


def option(body: str, name: str) -> str | None:
    found = re.search(rf"^:{name}:\s*(\S.*)$", body, flags=re.MULTILINE)
    return found[1].strip() if found else None


def text_of(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def code_blocks(solution: Directive) -> list[str]:
    return [inner.body for inner in fences(solution.body) if inner.name == "python" or inner.argument == "python"]


def claims_something(code: str) -> bool:
    """Whether the code has an assert that could fail."""
    return any(
        isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant) for node in ast.walk(ast.parse(code))
    )


def all_solutions() -> list:
    found = []
    for source in SOURCES:
        for directive in fences(text_of(jupytext.read(source, fmt="py:percent"))):
            if directive.name == "solution":
                blocks = code_blocks(directive)
                found += [
                    pytest.param(block, id=f"{directive.argument}-{i}" if len(blocks) > 1 else directive.argument)
                    for i, block in enumerate(blocks, 1)
                ]
    return found


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def source(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def notebook(source: Path) -> nbformat.NotebookNode:
    path = source.with_suffix(".ipynb")
    assert path.exists(), f"{source.name} was never executed; run make chapters"
    return nbformat.read(path, as_version=4)


def test_there_are_chapters_with_solutions_to_run():
    assert len(SOURCES) >= 2 and len(all_solutions()) >= 3 * len(SOURCES)


def test_the_two_files_agree(source, notebook):
    def contents(cell):
        return cell.cell_type, cell.source.rstrip(), tags(cell), dict(cell.metadata.get("mystnb", {}))

    written, stored = jupytext.read(source, fmt="py:percent").cells, notebook.cells
    for number, (ours, theirs) in enumerate(zip(written, stored, strict=False), 1):
        assert contents(ours) == contents(theirs), f"cell {number} differs; edit the .py, then run make chapters"
    assert len(written) == len(stored), "run make chapters"


def test_ran_once_from_top_to_bottom(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run make chapters"


def test_left_no_error_and_no_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"{output.text} from\n{cell.source}"
            assert output.output_type != "error" or "raises-exception" in tags(cell), cell.source


def pictures_of(cell: nbformat.NotebookNode) -> list[str]:
    return [kind for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]


def test_every_figure_is_there(notebook):
    for cell in code_cells(notebook):
        if "figure" in cell.metadata.get("mystnb", {}):  # nbval would not miss it: it compares with what is stored
            assert pictures_of(cell), f"a caption, but no figure:\n{cell.source}"


def test_every_picture_has_a_text_in_its_place(notebook):
    for cell in code_cells(notebook):
        pictures = pictures_of(cell)
        if pictures:
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip(), (
                f"no image.alt:\n{cell.source}"
            )
    for alt in re.findall(r"!\[([^\]]*)\]\(", text_of(notebook)):
        assert alt.strip(), "a markdown image without alt text"
    for directive in fences(text_of(notebook)):
        if directive.name in ("figure", "image"):
            assert option(directive.body, "alt"), f"{{{directive.name}}} {directive.argument} has no :alt:"


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) <= MAX_CODE_LINES or "hide-input" in tags(cell), f"{len(lines)} lines:\n{cell.source}"


def test_has_the_parts_of_a_chapter(notebook):
    text = text_of(notebook)
    assert re.match(r"\([\w:-]+\)=\s*\n# \S", notebook.cells[0].source), "begin with a label and a title"
    assert "**Question.**" in notebook.cells[0].source, "ask the question right below the title"
    headings = re.findall(r"^## (.*?)\s*$", text, flags=re.MULTILINE)
    assert headings[-2:] == ["Exercises", "Summary"]
    assert any(heading.startswith("What breaks") for heading in headings)
    assert "{raw}" not in text, "JupyterLab shows {raw} as text"


def test_every_exercise_has_a_solution(notebook):
    blocks = list(fences(text_of(notebook)))
    exercises = [option(block.body, "label") for block in blocks if block.name == "exercise"]
    solutions = [block.argument for block in blocks if block.name == "solution"]
    assert len(exercises) >= 3 and len(set(exercises)) == len(exercises)
    assert solutions == exercises, "a solution follows each exercise, in the same order"
    assert all(option(block.body, "class") == "dropdown" for block in blocks if block.name == "solution"), (
        "fold solutions"
    )
    assert any(code_blocks(block) for block in blocks if block.name == "solution"), "no solution has code to run"


def test_is_neither_a_note_nor_a_treatise(notebook):
    words = count_words(text_of(notebook))
    assert WORDS[0] <= words <= WORDS[1], f"{words} words of prose"


@pytest.mark.parametrize("code", all_solutions())
def test_solution_is_right(code, request):
    assert claims_something(code), "a solution asserts what it claims"
    exec(compile(code, f"<{request.node.callspec.id}>", "exec"), {"__name__": "solution"})


# The parsing above decides what is tested at all, so it is tested too.

TEXT = """Two words $x + y$ here.

```{warning}
And $z$ three more.
```

```{exercise} A title
:label: ex-one
Not counted.
```

````{solution} ex-one
:class: dropdown
Nor this.
```python
assert 1 + 1 == 2
```
````
"""


def test_parsing_finds_nested_code():
    _, exercise, solution = fences(TEXT)
    assert (exercise.name, exercise.argument, option(exercise.body, "label")) == ("exercise", "A title", "ex-one")
    assert (solution.name, solution.argument) == ("solution", "ex-one")
    assert code_blocks(solution) == ["assert 1 + 1 == 2"]
    assert count_words(TEXT) == 6
    with pytest.raises(AssertionError, match="never closes"):
        list(fences("```python\nassert False"))


def test_an_assertion_that_cannot_fail_is_none():
    assert claims_something("x = 1\nassert x == 1")
    assert not claims_something("assert True") and not claims_something("print('assert')")
