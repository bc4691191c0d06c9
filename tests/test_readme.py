"""Every command of README is run, or asked whether it would run; one that nobody tries here is a failure."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n(.*?)```", TEXT, flags=re.DOTALL)
LINES = [line.removeprefix("$ ").partition(" #")[0].strip() for block in CONSOLE for line in block.splitlines()]
COMMANDS = [part.strip() for line in LINES for part in line.split("&&")]
INLINE = re.findall(r"`((?:python -m|make|uv|pip|ddim-edu) [^`]+)`", TEXT)
SHORTER = {"train": ["--steps", "3", "--log-every", "1", "--sample-every", "3"]}  # the same command, stopped early
HELP = ("ddim_edu.evaluate", "ddim_edu.conformance", "ddim_edu.apps")  # with files of the reader's own


def run(command: list, folder: Path) -> str:
    where = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=where, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


def attempt(command: str, folder: Path) -> None:
    """Run a command, as far as that takes seconds and no network."""
    words = shlex.split(command)
    if words[0] == "make":
        if shutil.which("make"):
            assert run(["make", "-n", *words[1:]], ROOT)
    elif words[0] == "ddim-edu":
        run([sys.executable, "-m", "ddim_edu", *words[1:], *SHORTER.get(words[1], [])], folder)
    elif words[:2] == ["python", "-m"]:
        run([sys.executable, "-m", words[2], *(["--help"] if words[2] in HELP else words[3:])], folder)
    elif words[:2] == ["python3", "-m"] or words[0] == ".":
        assert words in (["python3", "-m", "venv", ".venv"], [".", ".venv/bin/activate"])
    elif words[0] == "pip":
        for name in (name for flag, name in zip(words, words[1:]) if flag in ("-r", "-c")):
            assert (ROOT / name).is_file()
        assert "[dev]" in command or "-r" in words or words[2:] == ["."]
    elif words[0] == "python":
        compile((ROOT / words[1]).read_text(encoding="utf-8"), words[1], "exec")
    elif words[0] == "jupyter-book":  # tests/test_light.py builds with it
        assert words[1:] == ["build", "book"]
    elif words[0] == "uv":  # asks a registry, so what it ends in is what is tried
        if words[1] == "run":
            attempt(" ".join(words[2:]), folder)
        else:
            assert words[1:] == ["pip", "install", "--torch-backend", "cpu", "."]
    else:
        pytest.fail(f"README names {command!r}, and no test runs it")


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted({*COMMANDS, *INLINE}))
def test_commands(tmp_path, command):
    attempt(command, tmp_path)


def test_readme_is_half_as_long_as_it_was_and_has_a_picture():
    assert len(TEXT.split()) < 1100 and re.search(r"!\[[^\]]+\]\(book/images/", TEXT)


@pytest.mark.slow
def test_the_code_runs():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    here: dict = {}
    exec(code, here)
    assert here["pictures"].shape == (16, 1, 28, 28) and here["pictures"].abs().max() <= 1
    means = here["x"].mean(0)  # of 0.3 at (-1, 0) and 0.7 at (1, 0.5)
    assert abs(means[0] - 0.4) < 0.15 and abs(means[1] - 0.35) < 0.1
