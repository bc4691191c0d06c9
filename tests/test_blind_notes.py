"""The blind test of generated notes: what is drawn is decided by the seed alone, answers are counted as they are."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest

from ddim_edu.data.notes import INSTRUMENTS, PITCHES, draw_note

spec = importlib.util.spec_from_file_location(
    "blind_notes", Path(__file__).parent.parent / "benchmarks" / "blind_notes.py"
)
blind = importlib.util.module_from_spec(spec)
spec.loader.exec_module(blind)


def test_every_instrument_is_asked_for_as_often():
    notes = blind.plan(0)
    assert len(set(notes)) == 36 and Counter(name for name, _ in notes) == dict.fromkeys(INSTRUMENTS, 4)
    assert all(pitch in PITCHES for _, pitch in notes)
    assert blind.plan(0) == notes != blind.plan(1)
    order = [name for name, _ in notes]
    assert order != sorted(order, key=INSTRUMENTS.index)
    for name in INSTRUMENTS:
        one, other = blind.held_out(name, 0)
        assert one != other and {draw_note(i, "heldout").instrument for i in (one, other)} == {name}


def test_answers_are_counted(tmp_path, capsys):
    key = {
        f"{i:02d}": {"instrument": name, "pitch": "C4"} for i, name in enumerate(("flute", "flute", "bell", "bar"), 1)
    }
    (tmp_path / "blind_key.json").write_text(json.dumps({"key": key, "seed": 0}))
    answers, out = tmp_path / "answers.json", tmp_path / "result.json"
    answers.write_text(json.dumps({"01": "flute", "02": "voice", "03": "bell"}))
    blind.score(tmp_path / "blind", answers, out)
    found = json.loads(out.read_text())
    assert (found["right"], found["n"]) == (2, 4) and found["taken"]["flute"] == ["flute", "voice"]
    assert found["taken"]["bar"] == [None] and found["seed"] == 0 and found["command"].startswith("python benchmarks/")
    # Wilson's interval by its formula: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z2 = 1.959964**2
    half = (z2 * (0.25 / 4 + z2 / 64)) ** 0.5
    assert [found["low"], found["high"]] == pytest.approx(
        [(0.5 + z2 / 8 - half) / (1 + z2 / 4), (0.5 + z2 / 8 + half) / (1 + z2 / 4)], abs=1e-5
    )
    assert capsys.readouterr().out.startswith("2 of 4 right")
    answers.write_text(json.dumps({"05": "flute"}))
    with pytest.raises(SystemExit, match="05: flute"):
        blind.score(tmp_path / "blind", answers, out)
