"""One name for all commands."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ddim_edu.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["scripts"]


def ddim_edu(*words, run=("-m", "ddim_edu"), **how):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **how.pop("env", {})}
    command = [sys.executable, *run, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, **how)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as others install it, unpacked in a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("ddim_edu", "pyproject.toml", "README.md", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    build = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('.')"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True, timeout=300)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_it_lists_its_commands_and_refuses_others():
    listed = ddim_edu()
    assert listed.returncode == 0 and all(f"\n  {name} " in listed.stdout for name in COMMANDS)
    wrong = ddim_edu("trian")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "did you mean train?" in wrong.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there(name):
    helped = ddim_edu(name, "--help")
    assert helped.returncode == 0 and "usage" in helped.stdout.lower() and not helped.stderr


def test_the_commands_exit_code_is_kept():
    refused = ddim_edu("sample", "no-such-model")
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


def test_the_wheel_holds_all_files(wheel):
    listed = subprocess.run(["git", "ls-files", "ddim_edu"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    missing = [name for name in listed if (ROOT / name).exists() and not (wheel / name).is_file()]
    assert listed and not missing


LINES = [
    "train digits --steps 1 --threads 1 --out run",
    "sample digits -n 1 --steps 1",
    "evaluate reconstruction digits -n 2 --steps 2 --out result.json",
    "apps reconstruct digits -n 2 --steps 2",
    "apps sound --steps 1",
    "conformance step.py:step --kind step",
    "translate book",
    "export digits --out folder",
]
STEP = """
from ddim_edu.sampler import ddim_step

def step(x_t, eps, t, s, eta, noise, alpha_bar):
    a, b = alpha_bar[t], alpha_bar[s]
    return ddim_step(x_t, eps, a, b, eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5, noise)
"""
ALL = """
import importlib, sys
for line in {lines}:
    sys.argv = ["ddim-edu", *line.split()]
    try:
        code = getattr(importlib.import_module({module!r}), {function!r})()
    except SystemExit as stop:
        code = stop.code
    assert code == 0, (line, code)
assert sys.modules["ddim_edu"].__file__.startswith({wheel!r})
print("all done")
"""


def test_the_wheel_runs_every_command(wheel, tmp_path):
    """Elsewhere, by the entry point that pyproject names; in one process, which imports torch once."""
    assert {line.split()[0] for line in LINES} == set(COMMANDS)
    (tmp_path / "step.py").write_text(STEP)
    module, function = SCRIPTS["ddim-edu"].split(":")
    code = ALL.format(lines=LINES, module=module, function=function, wheel=str(wheel))
    done = ddim_edu(run=("-c", code), cwd=tmp_path, env={"PYTHONPATH": str(wheel)})
    assert done.returncode == 0 and done.stdout.endswith("all done\n"), done.stderr
