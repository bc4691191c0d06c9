"""What goes into the wheel, and what it says of itself. tests/test_main.py builds it and runs it elsewhere."""

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import ddim_edu

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked(folder: str) -> set[str]:
    """What git has in a folder, relative to it; without git, what lies there."""
    found = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout: which files belong to the package is not known")
    return {name.removeprefix(f"{folder}/") for name in found.stdout.split("\n") if name}


def test_every_file_of_the_package_is_in_the_wheel():
    """setuptools takes the modules of folders that have an __init__.py, and the files that the patterns name."""
    files = tracked("ddim_edu")
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["ddim_edu"]
    package = ROOT / "ddim_edu"
    taken = {str(path.relative_to(package)) for pattern in patterns for path in package.glob(pattern)}
    data = {name for name in files if not name.endswith(".py")}
    assert data <= taken and "py.typed" in data
    for pattern in patterns:  # a pattern that has lost its files
        assert any(package.glob(pattern)), pattern
    folders = {str(Path(name).parent) for name in files - data}
    assert {folder for folder in folders if f"{folder}/__init__.py".removeprefix("./") not in files} == set()


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"] and "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ddim_edu.__version__"}
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"\n## {ddim_edu.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_citation_has_what_its_schema_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    assert citation["authors"] == PROJECT["project"]["authors"] and citation["license"] == PROJECT["project"]["license"]
    for work in citation["references"]:
        assert {"type", "title", "authors"} <= set(work)
    assert citation["keywords"] == PROJECT["project"]["keywords"]
