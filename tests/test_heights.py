"""What a chapter's height is made of, in the built book: pictures early, code folded. `make browser` runs it.

    SITE=_build/html python tests/test_heights.py      # a table of all chapters, as JSON

Measured in a browser at the widths of a laptop and of a phone, folded as a page opens: the share of code and printed
output, the share of figures with their captions, and where the first figure begins, in screens.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

SITE = os.environ.get("SITE")
CHAPTERS = sorted(path.stem for path in (Path(__file__).parents[1] / "chapters").glob("[0-9]*.ipynb"))
WIDTHS = {"laptop": {"width": 1366, "height": 768}, "phone": {"width": 390, "height": 844}}
CODE, FIGURES = 0.30, 0.12  # at most, at least, of the height at the laptop's width
FIRST = {"laptop": 2.0, "phone": 3.0}  # screens above the first figure, at most
CORE = 20  # minutes
LINE = 70, 75  # characters of a full line, the middle one of a chapter
LETTERS = 10  # pixels of the smallest letters of a wide figure on a phone

# Chapters that miss a target, how far they are allowed to, and why.
LONG = "its code is the subject: functions that define something, and tables of what was measured"
EXCEPTIONS: dict[tuple[str, str], tuple[float, str]] = {
    ("17_fewer_calls", "code"): (0.325, LONG),
}

MEASURE = """() => {
  const article = document.querySelector("article.bd-article");
  const tall = (element) => element.getBoundingClientRect().height, whole = tall(article);
  const outer = (selector) => [...article.querySelectorAll(selector)].filter(
    (element) => !element.parentElement.closest(selector) && element.checkVisibility() && tall(element) > 0);
  const figures = outer("figure, .explore, .plane, .cell_output img").filter(
    (element) => element.matches("img") || element.querySelector("img, svg, canvas"));
  const sum = (elements) => elements.reduce((height, element) => height + tall(element), 0);
  let code = sum(outer("div.highlight").filter((block) => !block.closest("div.cell")));
  for (const cell of outer("div.cell")) code += tall(cell) - sum(figures.filter((figure) => cell.contains(figure)));
  const facts = document.querySelector(".chapter-facts").textContent;
  return {
    height: Math.round(whole), code: code / whole, figures: sum(figures) / whole,
    first: (figures[0].getBoundingClientRect().top + scrollY) / innerHeight,
    core: +(facts.match(/the core (\\d+)/) ?? facts.match(/About (\\d+)/))[1],
    letters: Math.min(99, ...[...article.querySelectorAll(".wide-figure img:not(.cover img, .letters-0)")].map(
      (image) => image.clientWidth / image.naturalWidth * +image.className.match(/letters-(\\d+)/)[1] * 110 / 72)),
  };
}"""

# Characters of full lines of paragraphs without formulas: all but the last line of each.
LINES = """() => {
  const found = [], range = document.createRange();
  for (const paragraph of document.querySelectorAll(".bd-article section > p:not(.chapter-facts)")) {
    if (paragraph.querySelector(".math")) continue;
    const walker = document.createTreeWalker(paragraph, NodeFilter.SHOW_TEXT), lines = {};
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
      if (text.parentElement.closest(".meaning")) continue;
      for (let i = 0; i < text.length; i++) {
        range.setStart(text, i);
        range.setEnd(text, i + 1);
        const box = range.getBoundingClientRect();
        if (box.height) lines[Math.round(box.bottom / 8)] = (lines[Math.round(box.bottom / 8)] ?? 0) + 1;
      }
    }
    found.push(...Object.values(lines).slice(0, -1));
  }
  return found.filter((count) => count > 40).sort((a, b) => a - b);
}"""


def opened(browser, site: Path, stem: str, viewport: dict):
    page = browser.new_page(viewport=viewport)
    page.set_default_timeout(120_000)
    page.goto((site / "chapters" / f"{stem}.html").resolve().as_uri())
    page.wait_for_function("document.documentElement.dataset.math")
    page.evaluate("document.fonts.ready")
    return page


def measured(browser, site: Path, stem: str) -> dict[str, dict]:
    """What ``MEASURE`` says at both widths."""
    rows = {}
    for name, viewport in WIDTHS.items():
        page = opened(browser, site, stem, viewport)
        rows[name] = page.evaluate(MEASURE)
        if name == "laptop":
            rows["lines"] = page.evaluate(LINES)
        page.close()
    return rows


def missed(stem: str, rows: dict[str, dict]) -> list[str]:
    """The targets that a chapter misses, each with what it is and what it should be."""
    laptop, phone = rows["laptop"], rows["phone"]
    first = "the first figure begins after {0:.1f} screens of a"
    checks = {
        "code": (laptop["code"], CODE, "code and printed output take {0:.1%} of the height, at most {1:.1%}"),
        "figures": (-laptop["figures"], -FIGURES, "figures take {0:.1%} of the height, at least {1:.1%}"),
        "first": (laptop["first"], FIRST["laptop"], f"{first} laptop, {{1:.1f}} allowed"),
        "phone": (phone["first"], FIRST["phone"], f"{first} phone, {{1:.1f}} allowed"),
        "core": (laptop["core"], CORE, "the core path takes {0} minutes, at most {1}"),
    }
    found = []
    for name, (value, target, text) in checks.items():
        allowed, reason = EXCEPTIONS.get((stem, name), (None, ""))
        limit = target if allowed is None else (-allowed if name == "figures" else allowed)
        if value > limit:
            found.append(f"{stem}: {text.format(abs(value), abs(limit))}")
        elif allowed is not None and value < target - 0.03 * abs(target):
            found.append(f"{stem}: {name} is {abs(value):.3f} and needs no exception any more ({reason})")
    return found


if SITE:
    pytest.importorskip("playwright.sync_api")

needs_site = pytest.mark.skipif(not SITE, reason="no built book: SITE=_build/html pytest tests/test_heights.py")


@needs_site
@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_chapter_shows_more_than_it_prints(browser, stem):
    rows = measured(browser, Path(SITE), stem)
    lines = rows["lines"]
    assert not missed(stem, rows)
    assert LINE[0] <= lines[len(lines) // 2] <= LINE[1]
    assert rows["phone"]["letters"] >= LETTERS


def test_a_target_that_is_missed_is_named_with_its_size(monkeypatch):
    row = {"code": 0.3, "figures": 0.12, "first": 2.0, "core": 20}
    assert missed("01_x", {"laptop": row, "phone": row | {"first": 3.0}}) == []
    worse = {"code": 0.45, "figures": 0.08, "first": 2.1, "core": 21}
    said = missed("01_x", {"laptop": worse, "phone": worse | {"first": 3.1}})
    assert len(said) == 5 and said[0] == (
        "01_x: code and printed output take 45.0% of the height, at most 30.0%"
    ) and "figures take 8.0% of the height, at least 12.0%" in said[1]  # fmt: skip
    monkeypatch.setitem(EXCEPTIONS, ("01_x", "figures"), (0.08, "few pictures"))
    assert len(missed("01_x", {"laptop": worse, "phone": row})) == 3
    good = row | {"figures": 0.2}
    assert "needs no exception" in missed("01_x", {"laptop": good, "phone": good})[0]


def main() -> None:
    """Print all chapters' figures."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        rows = {stem: measured(browser, Path(SITE), stem) for stem in CHAPTERS}
        browser.close()
    for row in rows.values():
        row["line"] = row["lines"][len(row.pop("lines")) // 2] if row["lines"] else 0
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
