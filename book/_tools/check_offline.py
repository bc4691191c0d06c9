"""Fail if a page of a built site would load anything from the network, or a file that is not there.

    python book/_tools/check_offline.py _build/html

Reads what a browser would act on by itself: loading attributes and <link> in the pages, url() and @import in style
sheets, and in scripts the calls that fetch a literal address. Links that a reader may click are left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# the attributes that load when the page is shown, for any tag but the ones in LINKS
LOADING = ("src", "srcset", "poster", "data", "background", "imagesrcset", "archive", "manifest", "ping")
LINKS = ("a", "area", "base", "form")  # their href is followed on a click only
QUIET_RELS = {
    "alternate",
    "author",
    "canonical",
    "help",
    "index",
    "genindex",
    "license",
    "next",
    "prev",
    "search",
    "up",
}
REMOTE = r"(?:https?:|wss?:|ftp:)?//"
IS_REMOTE = re.compile(rf"\s*{REMOTE}", re.IGNORECASE)

CSS = re.compile(rf"""(?:url\(\s*|@import\s+)["']?\s*({REMOTE}[^"')\s;]+)""", re.IGNORECASE)
QUOTED = rf"""["'`]({REMOTE}[^"'`]*)"""
SCRIPT = re.compile(
    rf"""\bimport\s*\(\s*{QUOTED}"""
    rf"""|\b(?:import|export)\b[^;"'`()]*{QUOTED}"""
    rf"""|\b(?:fetch|importScripts|sendBeacon)\s*\(\s*{QUOTED}"""
    rf"""|\bnew\s+(?:Worker|SharedWorker|WebSocket|EventSource|Request)\s*\(\s*{QUOTED}"""
    rf"""|\.open\s*\(\s*["'`][A-Za-z]+["'`]\s*,\s*{QUOTED}"""
    rf"""|\.src\s*=\s*{QUOTED}"""
    rf"""|["'`]({REMOTE}[^"'`\s]+\.(?:m?js|css|wasm|json|woff2?|ttf|onnx)(?:[?#][^"'`]*)?)["'`]""",
    re.IGNORECASE,
)


def in_css(text: str) -> Iterator[str]:
    """Remote addresses that a style sheet loads."""
    for match in CSS.finditer(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)):
        yield match.group(1)


def in_script(text: str) -> Iterator[str]:
    """Remote addresses that a script loads, as far as they stand in it literally."""
    for match in SCRIPT.finditer(text):
        yield next(address for address in match.groups() if address)


class Page(HTMLParser):
    """Collects, from one page, the remote loads as ``(line, what)`` and the local files that it loads as ``(line,
    address)``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.remote: list[tuple[int, str]] = []
        self.local: list[tuple[int, str]] = []
        self._inside = ""  # "script" or "style"
        self._is_code = True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in ("script", "style"):
            self._inside = tag
            kind = attributes.get("type", "").lower()
            self._is_code = kind in ("", "module", "importmap") or "javascript" in kind
        for name in LOADING:
            if name in attributes:
                self._load(tag, name, attributes[name])
        if tag == "link":
            rels = set(attributes.get("rel", "").lower().split())
            if not rels or rels - QUIET_RELS:
                self._load(tag, f"rel={attributes.get('rel')} href", attributes.get("href", ""))
        elif tag not in LINKS:  # <image>, <use> and their like in an inline SVG
            for name in ("href", "xlink:href"):
                if name in attributes:
                    self._load(tag, name, attributes[name])
        if tag == "base" and IS_REMOTE.match(attributes.get("href", "")):
            self._add(tag, "href", attributes["href"])
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            self._load(tag, "refresh", attributes.get("content", "").partition("=")[2].strip("'\" "))
        for address in in_css(attributes.get("style", "")):
            self._add(tag, "style", address)
        for name, value in attributes.items():
            if name.startswith("on"):
                for address in in_script(value):
                    self._add(tag, name, address)
        if "srcdoc" in attributes:
            inner = Page(attributes["srcdoc"])
            self.remote += [(self.getpos()[0], f"in srcdoc: {what}") for _, what in inner.remote]

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            for address in in_css(data):
                self._add("style", "", address)
        elif self._inside == "script" and self._is_code:
            for address in in_script(data):
                self._add("script", "", address)

    def _load(self, tag: str, name: str, value: str) -> None:
        # srcset is a list: "a.png 1x, b.png 2x"
        parts = [part.split()[0] for part in value.split(", ") if part.split()] if "srcset" in name else [value.strip()]
        for address in parts:
            if IS_REMOTE.match(address):
                self._add(tag, name, address)
            elif address and not re.match(r"(?:data|blob|about|javascript|mailto):|#", address, re.IGNORECASE):
                self.local.append((self.getpos()[0], address))

    def _add(self, tag: str, name: str, address: str) -> None:
        self.remote.append((self.getpos()[0], f"<{tag}> {name} {address[:120]}".replace("  ", " ")))


def check(site: Path) -> tuple[int, list[str]]:
    """Number of pages read, and a line for each load from the network and each missing file."""
    faults, pages = [], 0
    for path in sorted(site.rglob("*")):
        kind = path.suffix.lower()
        if not path.is_file() or kind not in (".html", ".htm", ".svg", ".css", ".js", ".mjs"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        name = path.relative_to(site)
        if kind == ".css":
            faults += [f"{name}: loads {address[:120]}" for address in in_css(text)]
        elif kind in (".js", ".mjs"):
            faults += [f"{name}: loads {address[:120]}" for address in in_script(text)]
        else:
            page = Page(text)
            pages += kind != ".svg"
            faults += [f"{name}:{line}: loads {what}" for line, what in page.remote]
            for line, address in page.local:
                local = unquote(urlsplit(address).path)
                is_template = "{{" in local  # the theme ships some in _static
                if local and not is_template and not (path.parent / local).exists():
                    faults.append(f"{name}:{line}: there is no file {address[:120]}")
    return pages, faults


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(
            f"give the folder of a built site, such as _build/html (got {' '.join(arguments) or 'nothing'})",
            file=sys.stderr,
        )
        return 2
    pages, faults = check(Path(arguments[0]))
    if not pages:
        print(f"{arguments[0]} holds no page; build the book first", file=sys.stderr)
        return 2
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{pages} pages, {len(faults)} faults" if faults else f"{pages} pages, no loads from the network")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
