"""A clone on somebody's machine: ends of lines, and an install that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def git(*words, cwd=ROOT):
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no clone, or there is no git")
    return done.stdout


def test_a_clone_with_autocrlf_has_scripts_that_run(tmp_path):
    """The attributes that stand here, in a repository that turns all ends of lines."""
    git("init", "-q", str(tmp_path))
    names = ["book/_tools/install.sh", "Makefile", "ddim_edu/files.py", "pyproject.toml"]
    for name in [".gitattributes", *names]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git("config", "core.autocrlf", "true", cwd=tmp_path)
    git("add", "-A", cwd=tmp_path)
    for name in names:
        (tmp_path / name).unlink()
    git("checkout", "-q", "--", ".", cwd=tmp_path)
    for name in names:
        assert b"\r" not in (tmp_path / name).read_bytes(), name


def test_all_scripts_have_lf():
    for line in git("ls-files", "--eol").splitlines():
        kinds, name = line.split("\t")
        if not name.startswith("ddim_edu/weights/"):  # logs, in the form that training writes
            assert "crlf" not in kinds and "mixed" not in kinds, line


@pytest.fixture
def python(tmp_path):
    """A Python whose venvs can be made and whose installs fail."""
    path = tmp_path / "python"
    path.write_text(
        '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin" "$3/lib"; touch "$3/pyvenv.cfg" "$3/lib/half"\n'
        'printf "#!/bin/sh\\nexit 1\\n" > "$3/bin/python"; chmod +x "$3/bin/python"; fi\n'
    )
    path.chmod(0o755)
    return path


@posix
def test_an_install_that_fails_deletes_nothing_of_others(python, tmp_path):
    script = ROOT / "book" / "_tools" / "install.sh"

    def install(venv):
        return subprocess.run(["sh", script, python, venv], cwd=tmp_path, capture_output=True, text=True)

    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    for left in (None, ".unfinished"):  # a file of that name is no licence
        if left:
            (photos / left).touch()
        for _ in range(2):
            done = install(photos)
            assert done.returncode == 1 and "is no venv" in done.stderr and (photos / "a.jpg").exists()
    others = tmp_path / "others"  # a venv of somebody's whose Python is gone
    others.mkdir()
    (others / "pyvenv.cfg").touch()
    (others / "lib").mkdir()
    for _ in range(2):
        assert install(others).returncode == 1 and (others / "lib").exists()
    new = tmp_path / "new"
    assert install(new).returncode == 1 and (new / "lib" / "half").exists()
    (new / "lib" / "half of a package").touch()
    (new / "notes.txt").touch()
    assert "the install failed" in install(new).stderr
    assert (new / "notes.txt").exists() and not (new / "lib" / "half of a package").exists()
