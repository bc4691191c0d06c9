"""Show ../chapters to Sphinx as book/chapters.

JupyterLab and nbval want the chapters in a folder of their own, and Sphinx reads nothing outside book/. So each build
links them in, or copies them where links are not allowed (Windows without developer mode). The link is not committed:
git on Windows would check it out as a text file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.errors import ExtensionError

MARK = ".copied-by-mount_chapters"  # in a folder that we made and may therefore delete


def mount(book: Path) -> Path:
    """Make ``book/chapters`` show what ``book/../chapters`` holds now."""
    source, mounted = book.parent / "chapters", book / "chapters"
    if not source.is_dir():
        raise ExtensionError(f"there are no chapters: {source} is not a folder")
    if mounted.is_symlink():
        if mounted.exists() and mounted.samefile(source):
            return mounted
        mounted.unlink()
    elif mounted.is_dir():
        if not (mounted / MARK).exists():
            raise ExtensionError(f"{mounted} is in the way; move your files to {source} and delete it")
        shutil.rmtree(mounted)  # a copy from the last build: old chapters must not live on in it
    try:
        mounted.symlink_to(Path("..") / "chapters", target_is_directory=True)
    except OSError:
        shutil.copytree(source, mounted, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        (mounted / MARK).touch()
    return mounted


def setup(app):
    mount(Path(app.srcdir))  # at once: Sphinx lists its sources right after loading the extensions
    return {"parallel_read_safe": True, "parallel_write_safe": True}
