"""The museum of real bugs: the page says what the kit says today, of bugs that have a source, with figures that are
there.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "book" / "museum.md").read_text(encoding="utf8")
STORED = json.loads((ROOT / "results" / "museum.json").read_text(encoding="utf8"))
ROWS = {row["id"]: row for row in STORED["exhibits"]}

sys.path.insert(0, str(ROOT / "benchmarks"))  # where a script finds its neighbours
spec = importlib.util.spec_from_file_location("museum", ROOT / "benchmarks" / "museum.py")
museum = importlib.util.module_from_spec(spec)
sys.modules["museum"] = museum  # where its dataclasses look for themselves
spec.loader.exec_module(museum)
sys.path.remove(str(ROOT / "benchmarks"))


def outcome(row):
    """A verdict without the figures of its oracles, whose last digits are the machine's."""
    oracles = {name: oracle["passed"] for name, oracle in row["oracles"].items()}
    return {key: row[key] for key in ("kind", "S", "eta", "verdict", "mistake", "explanation")} | {"oracles": oracles}


def test_there_are_at_least_twelve_and_all_of_them_are_stored():
    assert len(museum.EXHIBITS) >= 12
    assert [exhibit.id for exhibit in museum.EXHIBITS] == list(ROWS)
    assert STORED["command"] == "python benchmarks/museum.py" and set(STORED["versions"]) == {"torch", "numpy"}


def test_the_page_shows_what_is_stored():
    _, _, rest = PAGE.partition(museum.BEGIN)
    shown, end, _ = rest.partition(museum.END)
    assert end and shown.strip() == museum.exhibits(STORED).strip(), "run: " + STORED["command"]


@pytest.mark.parametrize("exhibit", museum.EXHIBITS, ids=lambda exhibit: exhibit.id)
def test_the_kit_says_of_it_what_is_stored(exhibit):
    judged = museum.judged(exhibit)
    assert outcome(judged) == outcome(ROWS[exhibit.id])
    assert judged["verdict"] == "wrong" and judged["mistake"] == exhibit.id
    assert any(not oracle["passed"] for oracle in judged["oracles"].values())
    assert judged["explanation"] in PAGE


@pytest.mark.parametrize("exhibit", museum.EXHIBITS, ids=lambda exhibit: exhibit.id)
def test_it_was_seen_somewhere(exhibit):
    assert exhibit.sources and exhibit.said
    for source in exhibit.sources:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository) and source.number > 0
        assert date(2020, 10, 6) <= date.fromisoformat(source.date)  # the day of the DDIM paper
        assert source.markdown in PAGE


def test_every_figure_exists_is_small_and_is_described():
    figures = re.findall(r"```\{figure\} (images/museum/\S+)\n:alt: (.+)\n", PAGE)
    assert [name for name, _ in figures] == [f"images/museum/{exhibit.id}.png" for exhibit in museum.EXHIBITS]
    for name, alt in figures:
        path = ROOT / "book" / name
        assert path.stat().st_size < 60_000 and Image.open(path).width == 760
        assert len(alt) > 40
    assert sorted(path.stem for path in (ROOT / "book" / "images" / "museum").iterdir()) == sorted(ROWS)
