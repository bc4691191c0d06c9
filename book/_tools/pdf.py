"""The whole book as one PDF, printed by a Chromium from the built pages: `make pdf`. No TeX is needed.

    python book/_tools/pdf.py _build/html _build/ddim.pdf

Needs a Chromium on the machine, and playwright and pypdf, which come with the dev extra. The order is that of the table
of contents; the reference of the package is left out, being for looking things up.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import yaml

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LEFT_OUT = ("api/", "live")


def pages(toc: Path) -> list[str]:
    """The names of the book's pages, in order."""
    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    named = [contents["root"], *(chapter["file"] for part in contents["parts"] for chapter in part["chapters"])]
    return [name for name in named if not name.startswith(LEFT_OUT)]


def print_pages(site: Path, names: list[str], folder: Path, chromium: str) -> list[tuple[str, Path]]:
    """Print each page into a file of the folder; its title and that file."""
    from playwright.sync_api import sync_playwright

    printed = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(300_000)
        for i, name in enumerate(names):
            page.goto((site / f"{name}.html").resolve().as_uri())
            page.wait_for_load_state("load")
            page.evaluate("document.fonts.ready")
            out = folder / f"{i:03d}.pdf"
            margin = {"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"}
            page.pdf(path=out, format="A4", margin=margin, print_background=True)
            printed.append((page.locator("h1").first.inner_text().replace("#", "").strip(), out))
            print(f"{name}", flush=True)
        browser.close()
    return printed


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 2:
        print(
            "give the folder of the built book and the file to write: pdf.py _build/html _build/ddim.pdf",
            file=sys.stderr,
        )
        return 2
    site, out = Path(arguments[0]), Path(arguments[1])
    if not (site / "index.html").is_file():
        print(f"{site} holds no book; `make book` builds it", file=sys.stderr)
        return 2
    chromium = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        print(
            f"no Chromium on this machine (looked for {', '.join(BROWSERS)}); any browser prints a single page",
            file=sys.stderr,
        )
        return 2
    from pypdf import PdfWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = PdfWriter()
        for title, path in print_pages(site, pages(Path(__file__).parents[1] / "_toc.yml"), Path(folder), chromium):
            writer.append(path, outline_item=title)
        writer.add_metadata({"/Title": "Denoising Diffusion Implicit Models: a textbook that runs"})
        temporary = out.with_suffix(".part")
        with open(temporary, "wb") as file:
            writer.write(file)
        temporary.replace(out)
        print(f"{out}: {len(writer.pages)} pages, {out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
