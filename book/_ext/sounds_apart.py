"""Sounds as files beside the pages, where a notebook's output holds them as text.

A page then weighs what is read of it; a sound is fetched from the site's own folder when its button is pressed. (Sphinx
does this for pictures, and for nothing else.)
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

FOLDER = "_sounds"
SOUND = re.compile(r'(<(?:audio|source)\b[^>]*\bsrc=")data:audio/(?:x-)?wav;base64,([^"]+)(")')


def apart(html: str, folder: Path, prefix: str) -> str:
    """A page whose sounds are files of the folder, which is prefix from where the page lies."""

    def file(found: re.Match) -> str:
        sound = base64.b64decode(found[2])
        name = f"{hashlib.sha256(sound).hexdigest()[:16]}.wav"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(sound)
        return f"{found[1]}{prefix}{name}{found[3]}"

    return re.sub(r"<audio\b(?![^>]*\bpreload=)", '<audio preload="none"', SOUND.sub(file, html))


def move(app, error) -> None:
    """After the build."""
    if error is None and app.builder.name == "html":
        root = Path(app.outdir)
        for page in sorted(root.rglob("*.html")):
            html = page.read_text(encoding="utf-8")
            if "data:audio/" in html:
                prefix = "../" * (len(page.relative_to(root).parts) - 1) + f"{FOLDER}/"
                page.write_text(apart(html, root / FOLDER, prefix), encoding="utf-8")


def setup(app):
    app.connect("build-finished", move)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
