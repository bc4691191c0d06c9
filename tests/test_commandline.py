"""Options from dataclasses, and errors of one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from ddim_edu.commands.options import check_threads, closest, distinct, fail, option_names, parse


@dataclass(frozen=True)
class Inner:
    width: int = 3  # how wide


@dataclass(frozen=True)
class Outer:
    """An example."""

    # How many.
    many: int = 1
    ratio: float = 0.5
    kind: Literal["round", "square"] = "round"
    long_name: tuple[int, ...] = (1, 2)
    inner: Inner = Inner()

    def __post_init__(self):
        if self.many < 0:
            raise ValueError("many is negative")


def read(*words):
    return parse(Outer(ratio=0.25), words, prog="example", description="An example.")


def test_options():
    assert read() == Outer(ratio=0.25)
    changed = read("--many", "2", "--kind", "square", "--long-name", "4", "--inner.width", "5")
    assert changed == replace(Outer(ratio=0.25), many=2, kind="square", long_name=(4,), inner=Inner(5))
    assert read("--long_name", "7").long_name == (7,)
    assert option_names(Outer()) == ["--many", "--ratio", "--kind", "--long-name", "--inner.width"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    "words, message",
    [
        ("--many few", "--many few: give a whole number"),
        ("--ratio half", "--ratio half: give a number"),
        ("--inner.width 1.5", "--inner.width 1.5: give a whole number"),
        ("--kind oval", "'oval'"),
        ("--many", "--many"),
        ("--many -1", "many is negative"),
        ("--mani 1", "there is no option --mani; did you mean --many?"),
        ("--inner.widht 1", "did you mean --inner.width?"),
        ("--zzz=1", "there is no option --zzz ("),
        ("word", "'word'"),
    ],
)
def test_errors_are_one_line(words, message, encoding, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    with pytest.raises(ValueError) as error:
        read(*words.split())
    text = str(error.value)
    assert message in text and "\n" not in text
    assert not any(c in text for c in "│╭╰─") and "--help" not in text.replace("(--help lists all)", "").replace(
        "see --help", ""
    )
    assert capsys.readouterr().err == ""


def test_closest():
    assert closest("digts", ["digits", "cifar"]) == "; did you mean digits?"
    assert closest("zzz", ["digits", "cifar"]) == ""


def test_fail(capsys):
    assert fail("no") == 2
    assert capsys.readouterr().err == "error: no\n"


def test_an_output_that_nobody_reads_is_no_error():
    """As in ``... | true``: no traceback, and the exit code that the shell knows for it."""
    code = "from ddim_edu.commands.options import run; run(lambda: print('x' * 10**6) or 0)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
    process.stderr.close()


def test_no_file_is_written_twice_or_over_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (one, two), absolute = (type(tmp_path)(name) for name in ("a.png", "b.png")), tmp_path / "a.png"
    distinct([one, two, None], [None])
    with pytest.raises(ValueError, match="twice"):
        distinct([one, absolute])
    with pytest.raises(ValueError, match="is read too"):
        distinct([two, one], [absolute])


def test_more_threads_than_a_machine_can_run():
    check_threads(0)
    check_threads(os.cpu_count())
    for wrong in (-1, 9999):
        with pytest.raises(ValueError, match="threads = "):
            check_threads(wrong)
