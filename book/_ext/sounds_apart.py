"""Sounds as files beside the pages, where a notebook's output holds them as text.

A page then weighs what is read of it; a sound is fetched from the site's own folder when its button is pressed. (Sphinx
does this for pictures, and for nothing else.) How long it is stands in the page, and ``sounds.js`` makes a button of
each player, with name and length.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
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
        long = "" if " hidden" in found[1] else f' data-seconds="{seconds_of(sound):.2f}"'
        return f"{found[1]}{prefix}{name}{found[3]}{long}"

    return re.sub(r"<audio\b(?![^>]*\bpreload=)", '<audio preload="none"', SOUND.sub(file, html))


def seconds_of(wav: bytes) -> float:
    """How long a wav file plays: the length of its samples over the bytes of a second. 0 if it is none."""
    place, rate = 12, 0
    while place + 8 <= len(wav):
        name, size = wav[place : place + 4], struct.unpack("<I", wav[place + 4 : place + 8])[0]
        if name == b"fmt ":
            rate = struct.unpack("<I", wav[place + 16 : place + 20])[0]
        elif name == b"data" and rate:
            return size / rate
        place += 8 + size + size % 2
    return 0.0


def load(app, pagename, templatename, context, doctree) -> None:
    """A page with players gets what makes buttons of them."""
    if app.builder.format == "html" and "<audio" in context.get("body", ""):
        here = Path(__file__)
        app.add_js_file(None, body=here.with_name("sounds.js").read_text(encoding="utf-8"))
        context["metatags"] += f"<style>{here.with_name('sounds.css').read_text(encoding='utf-8')}</style>\n"


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
    app.connect("html-page-context", load)
    app.connect("build-finished", move)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
