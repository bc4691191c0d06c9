"""The built book as one zip file, the same bytes for the same book.

python book/_tools/pack.py _build/html _build/site.zip
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

SPARED = (".buildinfo", ".doctrees")  # Sphinx's own


def pack(site: Path, out: Path) -> int:
    """Write the files of ``site`` to ``out``, in the folder ``ddim``.

    Returns:
        Number of files.
    """
    files = [path for path in sorted(site.rglob("*")) if path.is_file() and path.name not in SPARED]
    partial = out.with_name(out.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            entry = zipfile.ZipInfo(f"ddim/{path.relative_to(site).as_posix()}")  # of 1980, as all its dates are
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(entry, path.read_bytes())
    partial.replace(out)
    return len(files)


if __name__ == "__main__":
    site, out = map(Path, sys.argv[1:])
    if not (site / "index.html").is_file():
        sys.exit(f"error: there is no book in {site}: make book")
    print(f"{out}: {pack(site, out)} files, {out.stat().st_size / 1e6:.0f} MB; unpack it and open ddim/index.html")
