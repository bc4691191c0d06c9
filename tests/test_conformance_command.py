"""The kit on a command line, as a process, and as a fixture in the tests of another project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddim_edu.conformance import check
from ddim_edu.conformance.__main__ import main

ROOT = Path(__file__).parent.parent
FILE = """
def right(x_t, eps, t, s, eta, noise, alpha_bar):
    a, b = alpha_bar[t], alpha_bar[s]
    sigma = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
    return b ** 0.5 * (x_t - (1 - a) ** 0.5 * eps) / a ** 0.5 + (1 - b - sigma ** 2) ** 0.5 * eps + sigma * noise

def wrong(x_t, eps, t, s, eta, noise, alpha_bar):
    a, b = alpha_bar[t], alpha_bar[s]
    sigma = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
    return b ** 0.5 * (x_t - (1 - a) ** 0.5 * eps) / a ** 0.5 + sigma * eps + sigma * noise

def leading(T, S):
    return [1 + i * (T // S) for i in range(S)]

def too_short(x_t, eps):
    return x_t
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf8")
    return path


def test_the_command_answers_with_its_exit_code_and_json(mine, tmp_path, capsys):
    out, report = tmp_path / "verdict.json", tmp_path / "verdict.md"
    for name, kind, code, verdict, mistake in [
        ("right", "step", 0, "right", None),
        ("wrong", "step", 1, "wrong", "direction-sigma"),
        ("leading", "tau", 0, "convention", "grid-leading"),
    ]:
        assert main([f"{mine}:{name}", "--kind", kind, "--json", str(out), "--report", str(report)]) == code
        written = json.loads(out.read_text())
        assert set(written) == {"verdict", "mistake", "explanation", "oracles"}
        assert (written["verdict"], written["mistake"]) == (verdict, mistake)
        assert all(set(oracle) == {"passed", "said"} for oracle in written["oracles"].values())
        assert verdict.upper() in capsys.readouterr().out and verdict in report.read_text()
    page = tmp_path / "verdict.html"
    main([f"{mine}:wrong", "--kind", "step", "--report", str(page), "--arrays", "torch"])
    html = page.read_text(encoding="utf8")
    assert html.startswith("<!doctype html>") and "direction-sigma" in html and "<strong>failed</strong>" in html
    assert "http" not in html and "<script" not in html  # needs no other file
    assert "&lt;x&gt;" in check(lambda x, e, t, s, eta, z, a: x, "step").html("<x>")
    capsys.readouterr()
    main([f"{mine}:wrong", "--kind", "step"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "x_0 sqrt(abar_s) + sigma eps + sigma z" in said
        and "eq. 12" in said
        and "never leaves the predicted x_0" in said
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["{}:nothing", "--kind", "step"], "has no function nothing; it has right, wrong"),
        (["{}x.py:right", "--kind", "step"], "there is no such file"),
        (["{}", "--kind", "step"], "FILE.py:FUNCTION"),
        (["{}:right", "--kind", "walk"], "invalid choice"),
        (["{}:right"], "--kind"),
        (["{}:too_short", "--kind", "step"], "can't be called as f(x_t, eps, t, s, eta, noise, alpha_bar)"),
        (["{}:right", "--kind", "step", "--json", "/no/such/folder/v.json"], "/no/such/folder/v.json"),
    ],
)
def test_a_wrong_call_is_one_line_and_2(mine, capsys, arguments, says):
    assert main([argument.replace("{}", str(mine)) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and says in said


def test_the_kit_as_a_process(mine):
    done = subprocess.run(
        [sys.executable, "-m", "ddim_edu.conformance", f"{mine}:wrong", "--kind", "step"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "[direction-sigma]" in done.stdout and not done.stderr


@pytest.mark.slow
def test_the_fixture_in_a_project_of_its_own(mine, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ddim_edu.conformance.pytest_plugin"]\n', encoding="utf8")
    tests = "import mine\n" + "".join(
        f"def test_{n}(conforms):\n    conforms(mine.{n}, 'step')\n" for n in ("right", "wrong")
    )
    (tmp_path / "test_mine.py").write_text(tests, encoding="utf8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "test_mine.py",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout and "[direction-sigma]" in done.stdout, (
        done.stdout + done.stderr
    )
