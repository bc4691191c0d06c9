"""Keep the part of MathJax that the pages use.

sphinx-mathjax-offline copies all of MathJax into every build, 18 MB. The pages load tex-chtml.js, which fetches its fonts and,
for the rarer TeX commands, an extension. The rest (other input and output formats, speech) is never asked for.
"""

from __future__ import annotations

from pathlib import Path

KEEP = ("tex-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")


def prune(app, exception):
    root = Path(app.outdir, "_static", "mathjax")
    if exception is None and root.is_dir():
        for path in sorted(root.rglob("*"), reverse=True):  # files before the folders they are in
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif not path.relative_to(root).as_posix().startswith(KEEP):
                path.unlink()


def setup(app):
    app.connect("build-finished", prune, priority=900)  # after the copy
    return {"parallel_read_safe": True, "parallel_write_safe": True}
