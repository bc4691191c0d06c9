"""The page of equations: every equation has code and a test, and a gap is seen."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"book_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


index = load(ROOT / "book" / "_ext" / "equation_index.py")

TEXT = """# A title

$$
x = 1
$$ (eq:one)

Not numbered: $$ y = 2 $$ and in the text $z$.

```{prf:theorem}
$$
x = 2
$$ (eq:two)
```"""
FENCED = "## A part with $x$\n\n````{solution} ex\n```python\n# no heading\nassert True\n```\n````"
CODE = '''
def one():
    """One.

    Equations: eq:one
    """


class Two:
    def go(self):
        """Equations: eq:two, eq:one"""
'''
TESTS = 'def test_one():\n    """Equations: eq:one"""\n'
CELL = "x = 2\n# checks eq:two\nassert x == 2"


def book(folder: Path, text=TEXT, cell=CELL, code=CODE, tests=TESTS) -> Path:
    """A book of one chapter, one module and one file of tests."""
    new = nbformat.v4
    notebook = new.new_notebook(
        cells=[new.new_markdown_cell(text), new.new_markdown_cell(FENCED), new.new_code_cell(cell)]
    )
    for name, content in (
        ("chapters/01_x.ipynb", nbformat.writes(notebook)),
        ("ddim_edu/lab/numbers.py", code),
        ("tests/test_numbers.py", tests),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_the_book_has_no_gap():
    found = index.scan(ROOT)
    assert found.problems == []
    assert len(found.equations) >= 14 and len(found.titles) >= 2


def test_code_tests_and_cells_are_found(tmp_path):
    found = index.scan(book(tmp_path))
    assert found.problems == [] and found.titles == {"01_x": "A title"}
    assert [(e.label, e.tex, e.chapter) for e in found.equations] == [
        ("eq:one", "x = 1", "01_x"),
        ("eq:two", "x = 2", "01_x"),
    ]
    assert [(tag.label, tag.kind, tag.name) for tag in found.tags] == [
        ("eq:two", "cell", "A part with $x$"),
        ("eq:one", "code", "one"),
        ("eq:two", "code", "Two.go"),
        ("eq:one", "code", "Two.go"),
        ("eq:one", "test", "test_one"),
    ]


def test_the_page_names_them(tmp_path):
    page = index.markdown(index.scan(book(tmp_path)))
    assert page == index.markdown(index.scan(tmp_path))
    assert "## Chapter 1: A title" in page and "{eq}`eq:one` `eq:one`\n:   $$\n    x = 1\n    $$" in page
    assert (
        "Code: {py:obj}`lab.numbers.one <ddim_edu.lab.numbers.one>`, "
        "{py:obj}`lab.numbers.Two.go <ddim_edu.lab.numbers.Two.go>`" in page
    )
    assert "Tests: `test_numbers.py::test_one`\n" in page
    assert "Tests: {ref}`the chapter’s own cell <checks-01_x-two>` under “A part with $x$”\n" in page


def test_a_cell_is_code_where_the_package_has_none(tmp_path):
    found = index.scan(book(tmp_path, code=CODE.replace("eq:two, ", "")))
    assert found.problems == []
    assert "Code and test: {ref}`the chapter’s own cell <checks-01_x-two>` under" in index.markdown(found)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"code": '"""Nothing."""'}, "chapters/01_x: eq:one has no code"),
        ({"tests": ""}, "chapters/01_x: eq:one has no test"),
        ({"cell": "x = 2"}, "chapters/01_x: eq:two has no test"),
        (
            {"tests": TESTS.replace("eq:one", "eq:one, eq:gone")},
            "tests/test_numbers.py: 'test_one' is tagged eq:gone, but no",
        ),
        (
            {"code": CODE.replace("eq:two", "eq:two, eq:gone")},
            "ddim_edu/lab/numbers.py: 'Two.go' is tagged eq:gone, but no",
        ),
        (
            {"cell": CELL.replace("eq:two", "eq:two, eq:gone")},
            "chapters/01_x.ipynb: 'A part with $x$' is tagged eq:gone, but no",
        ),
        (
            {"cell": "# checks eq:two\nprint('assert')"},
            "chapters/01_x.ipynb: a cell says '# checks eq:two' but asserts nothing",
        ),
        (
            {"cell": "# checks eq:two\nassert True"},
            "chapters/01_x.ipynb: a cell says '# checks eq:two' but asserts nothing",
        ),
        (
            {"cell": CELL.replace("eq:two", "eq:two and three")},
            "chapters/01_x.ipynb: 'eq:two and three' in a tag is not eq:name",
        ),
        ({"code": CODE.replace("eq:two", "12")}, "ddim_edu/lab/numbers.py: Two.go: '12' in a tag is not eq:name"),
        (
            {"tests": TESTS + TESTS.replace("test_one", "helper")},
            "tests/test_numbers.py: helper is tagged, but pytest does not run it",
        ),
        ({"text": TEXT + "\n\n$$ z $$ (eq:one)"}, "eq:one: two equations have this label"),
    ],
)
def test_a_gap_is_a_problem_of_one_line(tmp_path, parts, problem):
    problems = index.scan(book(tmp_path, **parts)).problems
    assert any(p.startswith(problem) for p in problems), problems
    assert len(problems) <= 2 and all("\n" not in p for p in problems)


def test_another_chapters_cell_tests_but_is_not_the_code(tmp_path):
    book(tmp_path, cell="x = 2", code=CODE.replace("eq:two, ", ""))
    new = nbformat.v4
    other = new.new_notebook(cells=[new.new_markdown_cell("# Later"), new.new_code_cell(CELL)])
    (tmp_path / "chapters" / "02_y.ipynb").write_text(nbformat.writes(other), encoding="utf-8")
    found = index.scan(tmp_path)
    assert len(found.problems) == 1 and "eq:two has no code" in found.problems[0]
    assert "Tests: {ref}`a cell of chapter 2 <checks-02_y-two>` under “Later”" in index.markdown(found)
    assert index.scan(tmp_path, ["02_y"]).equations == []


def test_a_docstring_links_to_its_equations():
    lines = ["What it does.", "", ":param x: a number", "Equations: eq:one, eq:two", ""]
    index.link(None, "function", "f", None, None, lines)
    assert lines == ["What it does.", "", ":param x: a number", "", "", ":Equations: :eq:`eq:one`, :eq:`eq:two`", ""]
    index.link(None, "function", "f", None, None, untagged := ["Equations of motion."])
    assert untagged == ["Equations of motion."]


def test_problems_are_warnings_of_every_build(tmp_path, caplog):
    class App:
        srcdir = book(tmp_path, tests="") / "book"

    class Env:
        found_docs = {"index", "equations", "chapters/01_x"}

        @staticmethod
        def get_domain(name):
            return type(
                "Domain",
                (),
                {"equations": {"eq:one": ("chapters/01_x", 1), "missed": ("chapters/01_x", 2), "own": ("notes", 3)}},
            )

    for _ in range(2):
        caplog.clear()
        assert index.read(App, Env, set(), set(), set()) == ["equations"]
        index.compare(App, Env)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "eq:one has no test" in caplog.text and "missed is not in the index" in caplog.text
    source = [f"before\n{index.MARK}\nafter"]
    index.fill(App, "other", source)
    assert index.MARK in source[0]
    index.fill(App, "equations", source)
    assert "{eq}`eq:one`" in source[0] and index.MARK not in source[0]


def test_the_page_has_the_place():
    assert (ROOT / "book" / f"{index.PAGE}.md").read_text(encoding="utf-8").count(index.MARK) == 1
