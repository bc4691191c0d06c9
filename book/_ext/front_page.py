"""The first page's files, in the built site's folder ``front``, and what a message with a link shows.

A picture for such messages, and a page's own address, have to be absolute to be found from elsewhere, and where a site
will stand only its builder knows: ``BOOK_URL=https://example.org/ddim/ make book``. Without it no page claims an
address, and the picture is named relative to the page.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

FOLDER, CARD = "front", "card.png"
PARTS = ("hero.html",)  # what is read into the page, and not asked for by it
ABOUT = "Eight drawn faces as DDIM makes them, beside eight as DDPM does, from the same noise."
ADDRESS = re.compile(r'<meta property="og:(?:url|image[^"]*)"[^>]*>\s*')


def configure(app, config) -> None:
    site = os.environ.get("BOOK_URL", "")
    if site:
        config.html_baseurl = config.ogp_site_url = site.rstrip("/") + "/"


def tags(page: str, site: str) -> str:
    """What names the page's address, if it has one, and the picture.

    Args:
        page: Of the built site, such as ``chapters/01_forward.html``.
        site: Where the site stands, with a slash at its end; empty if that is not known.
    """
    home = site or "../" * page.count("/")
    address = f'<meta property="og:url" content="{site}{page}" />\n' if site else ""
    return (
        f'{address}<meta property="og:image" content="{home}{FOLDER}/{CARD}" />\n'
        '<meta property="og:image:width" content="1200" />\n<meta property="og:image:height" content="630" />\n'
        f'<meta property="og:image:alt" content="{ABOUT}" />\n'
        '<meta name="twitter:card" content="summary_large_image" />\n'
    )


def preview(app, pagename, templatename, context, doctree) -> None:
    if doctree is None:
        return
    found = ADDRESS.sub("", context.get("metatags", ""))
    context["metatags"] = found + tags(f"{pagename}.html", app.config.ogp_site_url or "")


def copy(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        out = Path(app.outdir) / FOLDER
        out.mkdir(exist_ok=True)
        for path in sorted((Path(app.srcdir) / FOLDER).iterdir()):
            if path.name not in PARTS:
                shutil.copyfile(path, out / path.name)


def setup(app):
    app.connect("config-inited", configure, priority=900)
    app.connect("html-page-context", preview, priority=900)  # after sphinxext-opengraph
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
