"""Keep the icons that the pages use.

The theme loads all two thousand icons of Font Awesome on every page, 1.5 MB of script, and shows about fifteen. Here
the others leave the script. The same icons come as fonts too, for what style sheets draw: these keep the signs that the
sheets name. Source maps, which only a debugger asks for, leave the site, and the theme's translations, which Sphinx
reads in the theme's own folder. (sphinx-favicon is about the one icon of the
site, which the theme's ``html_favicon`` could set as well.)
"""

from __future__ import annotations

import re
import shutil
from logging import WARNING, getLogger
from pathlib import Path

from fontTools import subset, ttLib
from sphinx.util import logging

SCRIPT = Path("_static", "scripts", "fontawesome.js")
# One icon, as the script writes it: "arrow-up":[384,512,[8593],"f062","M214 ..."]
ICON = re.compile(
    r'("?)([a-z0-9][a-z0-9-]*)\1:(\[\d+,\d+,(\[[^\]]*\]),"[0-9a-f]+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\]),?'
)
USED = re.compile(r"\bfa-([a-z0-9][a-z0-9-]*)")

log = logging.getLogger(__name__)
getLogger("fontTools").setLevel(WARNING)  # each of its steps would be a line of the build


def shown(site: Path) -> set[str]:
    """The names that stand in pages and scripts: all icons in use, and some classes that are no icons."""
    files = [
        *site.rglob("*.html"),
        *(p for p in site.rglob("*.js") if p.name != SCRIPT.name and p.stat().st_size < 1e6),
    ]
    return {name for path in files for name in USED.findall(path.read_text(encoding="utf-8", errors="replace"))}


def without(script: str, keep: set[str]) -> str:
    """The script without the icons that neither by name nor by another name are in ``keep``."""

    def one(match: re.Match) -> str:
        names = {match[2], *re.findall(r'"([a-z0-9-]+)"', match[4])}
        return match[0] if names & keep else ""

    # the last icon of a list has no comma of its own: one may be left over, which JavaScript allows at an object's end
    return ICON.sub(one, script)


def signs(css: str) -> set[int]:
    """The code points of icons that a style sheet names, as themselves or escaped."""
    escaped = {int(code, 16) for code in re.findall(r"\\([0-9a-fA-F]{4})", css)}
    return {code for code in escaped | {ord(letter) for letter in css} if 0xE000 <= code <= 0xF8FF}


def prune_fonts(site: Path) -> None:
    """The fonts of icons with few signs, in the one form that can be written without more tools."""
    sheets = {path: path.read_text(encoding="utf-8") for path in site.joinpath("_static").rglob("*.css")}
    keep = set().union(*map(signs, sheets.values()))
    for path in site.joinpath("_static").rglob("webfonts/*.ttf"):
        font, only = ttLib.TTFont(path, recalcTimestamp=False), subset.Subsetter()
        only.populate(unicodes=keep)
        only.subset(font)
        font.save(path)
        path.with_suffix(".woff2").unlink(missing_ok=True)
    for path, css in sheets.items():
        without_form = re.sub(r'url\([^()]*/webfonts/[^()]*\.woff2\) ?format\("woff2"\),', "", css)
        if without_form != css:
            path.write_text(without_form, encoding="utf-8")


def prune(app, exception):
    path = Path(app.outdir) / SCRIPT
    if exception is not None or app.builder.name != "html" or not path.exists():
        return
    script = path.read_text(encoding="utf-8")
    if len(ICON.findall(script)) > 1000:  # not pruned by an earlier build
        short = without(script, shown(Path(app.outdir)))
        if "arrow-up" in script and len(short) < len(script) / 4:
            path.write_text(short, encoding="utf-8")
        else:
            log.warning("the theme's icons are written in another way than icons_prune.py reads; they stay as they are")
    prune_fonts(Path(app.outdir))
    for leftover in Path(app.outdir, "_static").rglob("*.map"):
        leftover.unlink()
    shutil.rmtree(Path(app.outdir, "_static", "locales"), ignore_errors=True)


def setup(app):
    app.connect("build-finished", prune, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
