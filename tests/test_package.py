"""The package as it is installed elsewhere: its version, its metadata, and the files that it brings along."""

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import ddim_edu
from ddim_edu.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Everything that comes with the package, opened from wherever the package lies.
READ = """
from ddim_edu.data import faces, recordings, source
from ddim_edu.models import autoencoders, checkpoint, classifiers
import ddim_edu, pathlib, sys
home = pathlib.Path(ddim_edu.__file__).parent
assert home.is_relative_to(sys.argv[1]), home
for module, read in ((checkpoint, checkpoint.load), (classifiers, classifiers.load_classifier),
                     (autoencoders, autoencoders.load_autoencoder)):
    names = sorted(path.stem for path in module.SHIPPED.glob("*.safetensors"))
    assert names
    for name in names:
        read(name)
        print(module.__name__, name)
print("faces", len(faces.shipped()[0]))
print("recordings", len(list(recordings.SHIPPED.glob("*.wav"))))
"""


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


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A function that runs Python where the built wheel is the only ddim_edu there is."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("setuptools is older than 77, which the build needs")
    folder = tmp_path_factory.mktemp("wheel")
    for name in [f"ddim_edu/{name}" for name in tracked("ddim_edu")] + ["pyproject.toml", "README.md", "LICENSE"]:
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes())
    build = f"import setuptools.build_meta as build; print(build.build_wheel({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", build], cwd=folder / "source", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.site, run.folder = site, folder
    return run


@pytest.mark.slow
def test_the_wheel_runs_its_commands_elsewhere(elsewhere):
    (metadata,) = elsewhere.site.glob("*.dist-info/METADATA")
    about = email.message_from_string(metadata.read_text(encoding="utf-8"))
    assert about["Version"] == ddim_edu.__version__ and about["License-Expression"] == "MIT"
    assert about["Summary"] and about.get_all("Classifier") and about["Keywords"]
    (scripts,) = elsewhere.site.glob("*.dist-info/entry_points.txt")
    assert "ddim-edu = ddim_edu.__main__:main" in scripts.read_text(encoding="utf-8")
    door = "from ddim_edu.__main__ import main; import sys; sys.exit(main())"  # what the script `ddim-edu` does
    for name in COMMANDS:
        assert "usage" in elsewhere("-c", door, name, "--help").lower()
    elsewhere("-c", door, "sample", "digits", "-n", "4", "--steps", "2", "--out", "four.png")
    assert (elsewhere.folder / "four.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_wheel_brings_along_what_the_package_reads(elsewhere):
    said = elsewhere("-c", READ, str(elsewhere.site)).splitlines()
    weights = {name for name in tracked("ddim_edu") if name.endswith(".safetensors")}
    assert len(said) == len(weights) + 2 and "recordings 8" in said and "faces 64" in said
