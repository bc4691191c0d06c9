"""The chapters in JupyterLab, with cross-references in words: a contents manager on top of jupytext's, for ``lab.py``.

On disk a chapter keeps its roles, in both of its files, since the book is made of them. A notebook that is opened gets
links with the book's numbers in their place (:func:`references.linked`), and a notebook that is saved gets its roles
back: opening and saving changes no cell.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_ext"))
import references  # noqa: E402

CHAPTER = re.compile(r"chapters/(\d+_\w+)\.(ipynb|py)")


class Readable(jupytext.AsyncTextFileContentsManager):
    """Chapters are shown in words and saved with roles; all other files are as they are."""

    async def get(self, path, content=True, type=None, format=None, **more):
        model = await super().get(path, content, type, format, **more)
        here = CHAPTER.fullmatch(path.strip("/"))
        if here and content and model["type"] == "notebook":
            known = references.References(Path(self.root_dir))
            for cell in model["content"]["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = references.linked(cell["source"], known, f"{here[1]}.ipynb")
        return model

    async def save(self, model, path=""):
        if CHAPTER.fullmatch(path.strip("/")) and model["type"] == "notebook" and model.get("content"):
            for cell in model["content"]["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = references.unlinked("".join(cell["source"]))
        return await super().save(model, path)
