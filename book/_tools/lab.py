"""JupyterLab on the chapters: `make lab`.

    python book/_tools/lab.py [OPTIONS OF JUPYTER LAB]

It starts in the repository's root, since jupytext finds the settings of its pairs there (pyproject.toml), and no higher
than where the server began: begun in chapters/, it would save the notebook and leave the .py as it was. The list of
files shows folders and notebooks alone, and chapter 1 is open. Cross-references are links with the book's numbers
(readable.py); a JupyterLab begun by other means shows the labels of other notebooks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = ["__pycache__", ".*", "*.py", "*.pyc", "*~", "*.toml", "*.txt", "*.json", "*.yml", "*.md", "*.cff", "Makefile",
          "LICENSE", "conftest.py", "node_modules", "_build", "*.egg-info"]  # fmt: skip


def arguments(options: list[str]) -> list[str]:
    """What JupyterLab is told."""
    first = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))[0].relative_to(ROOT).as_posix()
    settings = [f"--ServerApp.root_dir={ROOT}", f"--ContentsManager.hide_globs={HIDDEN}"]
    return [*settings, "--ServerApp.contents_manager_class=readable.Readable", *options, first]


if __name__ == "__main__":
    from jupyterlab.labapp import LabApp

    os.chdir(ROOT)
    # in this process, whose path has this folder: the kernels' has not
    LabApp.launch_instance(argv=arguments(sys.argv[1:]))
