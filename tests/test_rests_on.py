"""Which chapters an edit in the package may concern: what counts as a change, and how far it is followed."""

import ast
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_tools"))
import execute  # noqa: E402
import rests_on  # noqa: E402

CODE = '''"""A module."""
import math

class Level:
    """A level."""
    t: int = 3

    def above(self, by=1):
        """The level above."""
        return self.t + by  # up
'''


def digest(code):
    return rests_on.digest(ast.parse(code))


@pytest.mark.parametrize(
    "before, after",
    [
        ('"""A module."""', '"""Another text."""'),
        ('"""A level."""\n', '"""A longer\n    text."""\n'),
        ('        """The level above."""\n', ""),
        ("  # up", ""),
        ("self.t + by", "(\n            self.t\n            + by\n        )"),
    ],
)
def test_text_does_not_count(before, after):
    assert before in CODE and digest(CODE.replace(before, after)) == digest(CODE)


@pytest.mark.parametrize(
    "before, after",
    [
        ("self.t + by", "self.t - by"),
        ("t: int = 3", "t: int = 4"),
        ("t: int = 3", "t: int = 3.0"),
        ("by=1", "by=2"),
        ("import math", "import cmath"),
        ("self.t + by", "self.t + by, 0"),
        ("return self.t + by", "yield self.t + by"),
        ("return self.t", "'no docstring, since it is not the first'\n        return self.t"),
    ],
)
def test_code_counts(before, after):
    assert before in CODE and digest(CODE.replace(before, after)) != digest(CODE)


def test_where_a_list_ends_counts():
    assert digest("if a:\n    b()\n    c()\n") != digest("if a:\n    b()\nc()\n")


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Two chapters on a package of three modules, of which the first chapter needs two."""
    files = {
        "ddim_edu/__init__.py": "__version__ = 1",
        "ddim_edu/low.py": "x = 1",
        "ddim_edu/room/__init__.py": "",
        "ddim_edu/room/high.py": "def f():\n    from ddim_edu.low import x\n    return x",
        "ddim_edu/other.py": "y = 1",
        "chapters/01_a.py": "# %%\nfrom ddim_edu.room.high import f\n",
        "chapters/02_b.py": "# %%\nimport ddim_edu.other\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(rests_on, "PACKAGE", tmp_path / "ddim_edu")
    monkeypatch.setattr(rests_on, "STORED", tmp_path / "chapter_hashes.json")
    monkeypatch.setattr(execute, "CHAPTERS", tmp_path / "chapters")
    rests_on._read.cache_clear()
    monkeypatch.setattr(rests_on, "_read", rests_on._read.__wrapped__)
    return tmp_path


def test_a_change_is_followed_to_the_chapters_that_rest_on_it(book):
    first, second = sorted((book / "chapters").glob("*.py"))
    assert list(rests_on.modules(first)) == ["ddim_edu.low", "ddim_edu.room.high"]
    rests_on.remember([first, second])
    assert not rests_on.changed(first) and not rests_on.changed(second)
    (book / "ddim_edu" / "low.py").write_text("x = 2")
    assert rests_on.changed(first) == ["ddim_edu.low"] and not rests_on.changed(second)
    (book / "ddim_edu" / "low.py").write_text("x = 1  # as before")
    (book / "ddim_edu" / "other.py").write_text("import ddim_edu.low\ny = 1")
    assert not rests_on.changed(first) and rests_on.changed(second) == ["ddim_edu.low", "ddim_edu.other"]
    second.unlink()
    rests_on.remember([first])
    assert list(rests_on.stored()) == ["01_a"]


def test_the_command_says_what_may_be_stale_and_runs_it_when_asked(book, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(execute, "is_current", lambda py, ipynb: True)
    monkeypatch.setattr(execute, "execute", lambda py, ipynb: ran.append(py.stem))

    def said(*words):
        code = execute.main(list(words))
        return code, capsys.readouterr().out

    assert said("--check")[0] == 1
    assert said("--accept") == (0, "") and said("--check") == (0, "") and not ran
    (book / "ddim_edu" / "low.py").write_text("x = 2")
    assert said("--check") == (1, "01_a.py: rests on what has changed: ddim_edu.low\n")
    code, text = said()
    assert code == 0 and "01_a.py: nothing edited; rests on what has changed: ddim_edu.low; --all runs it" in text
    assert not ran and said("--check")[0] == 1  # it is still said the next time
    assert said("--all")[0] == 0 and ran == ["01_a"]
    assert said("--check") == (0, "") and said("--all")[0] == 0 and ran == ["01_a"]


def test_every_chapter_has_its_hashes():
    stored = json.loads((ROOT / "results" / "chapter_hashes.json").read_text(encoding="utf-8"))
    assert {*stored} == {path.stem for path in (ROOT / "chapters").glob("[0-9]*.py")}
    assert all("ddim_edu.schedule" in hashes for hashes in stored.values())
