"""The playground in the plane: its scripts are copied to the built site's folder ``playground``, and a page that shows
a piece of it, a ``<div class="plane" data-plane="...">``, loads them.

They are classic scripts, in this order: modules can't be loaded from file://. What they compute with,
``explore_math.js``, is on every page. A chapter, whose piece is far down, loads them when the reader comes near.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

FOLDER = "playground"
SCRIPTS = tuple(f"plane{part}.js" for part in ("_math", "_state", "_draw", "_parts", "_keep", "_hands", ""))
STYLE = "plane.css"
MARK = 'data-plane="'


# scripts that a script adds run in their order if they are not async
NEAR = """<script>window.addEventListener("load", () => {
  const near = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    near.disconnect();
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: "%s" }));
    for (const src of %s) document.head.append(Object.assign(document.createElement("script"), { src, async: false }));
  }, { rootMargin: "1500px" });
  for (const box of document.querySelectorAll(".plane[data-plane]")) near.observe(box);
});</script>"""


def load(app, pagename, templatename, context, doctree) -> None:
    if app.builder.format != "html" or MARK not in context.get("body", ""):
        return
    folder = "../" * pagename.count("/") + FOLDER
    files = [f"{folder}/{name}" for name in SCRIPTS]
    if pagename == FOLDER:
        tags = "".join(f'<script defer src="{name}"></script>' for name in files)
        context["body"] += f'<link rel="stylesheet" href="{folder}/{STYLE}">{tags}'
    else:
        context["body"] += NEAR % (f"{folder}/{STYLE}", json.dumps(files))


def copy(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        source, out = Path(app.srcdir) / FOLDER, Path(app.outdir) / FOLDER
        out.mkdir(exist_ok=True)
        for name in (*SCRIPTS, STYLE):
            shutil.copyfile(source / name, out / name)


def setup(app):
    app.connect("html-page-context", load)
    app.connect(
        "build-finished", copy, priority=400
    )  # before the style sheets are pruned, which looks for words in scripts
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
