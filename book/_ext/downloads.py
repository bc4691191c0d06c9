"""The notebooks that pages offer for download, without their outputs.

Sphinx copies each chapter's notebook as it is. Its outputs stand on the page already, and would be an eighth of the
site once more; whoever downloads a notebook runs it. (nbstripout does this too, for git; here it is one list.)
"""

from __future__ import annotations

import json
from pathlib import Path


def without_outputs(notebook: str) -> str:
    """The text of a notebook whose cells have not been run."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def strip(app, error) -> None:
    """After the build."""
    if error is None and app.builder.name == "html":
        for path in sorted(Path(app.outdir, "_sources").rglob("*.ipynb")):
            path.write_text(without_outputs(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app):
    app.connect("build-finished", strip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
