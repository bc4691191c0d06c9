"""What a first visitor stumbled over in the built book: first page, heads of chapters, what is wider than a phone.

Like tests/test_site.py, which it takes its browser from, it runs where $SITE names the folder of a built site.
"""

from __future__ import annotations

import re

import pytest
import test_site
from test_site import PHONE, ROOT, TIMEOUT

browser, open_page = test_site.browser, test_site.open_page
LAPTOP, TALL = {"width": 1366, "height": 768}, {"width": 390, "height": 844}

# Where all parts of the first page's moving pictures stand, and what comes after them.
PLACES = """() => [...document.querySelectorAll('.hero > *, .hero figcaption, .bd-article h2')].map(part => {
    const box = part.getBoundingClientRect();
    return [Math.round(box.top + scrollY), Math.round(box.height)];
}).join(" ")"""
EDGES = """() => [...document.querySelectorAll(".bd-article section")]
    .filter(section => !section.closest(".exercise, .solution, .proof, .admonition")).flatMap(section =>
        [...section.querySelectorAll(":scope > p, :scope > .cell :is(figure img, figcaption, pre, table)")])
    .filter(e => e.checkVisibility()).map(e => Math.round(e.getBoundingClientRect().left))"""
SILENT = """() => [...document.querySelectorAll(".bd-article table")].map(table => table.parentElement)
    .filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 2)
    .filter(box => !box.matches(".more-right") || !box.previousElementSibling?.matches(".wide-hint")
        || !box.previousElementSibling.checkVisibility()).length"""


@pytest.mark.parametrize("width", [320, 390, 768, 1366])
def test_nothing_jumps_while_the_first_page_moves(browser, width):
    """Through a whole run and into the next one, by its own clock; and it is as high as it is without scripts."""
    heights = {}
    for scripts in (True, False):
        context = browser.new_context(viewport={"width": width, "height": 844}, java_script_enabled=scripts)
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.clock.install()
        page.goto((ROOT / "index.html").as_uri())
        if scripts:
            page.wait_for_function("document.querySelector('.hero').dataset.frame")
            places, words = set(), set()
            for _ in range(60):  # 15 seconds
                places.add(page.evaluate(PLACES))
                words.add(page.locator(".hero-count").inner_text())
                page.clock.run_for(250)
            assert len(places) == 1 and len(words) == 11 and {"Pure noise", "Step 10 of 10"} <= words
        heights[scripts] = page.locator(".hero").bounding_box()["height"]
        context.close()
    assert heights[True] == pytest.approx(heights[False], abs=1)


def test_the_first_screen_says_for_whom_the_book_is_and_has_its_buttons(open_page):
    page = open_page("index.html", TALL).page
    said = page.locator(".front-lead").all_inner_texts()
    words = "third-year students", "calculus", "probability", "Python", "denoising diffusion probabilistic", "latent"
    for word in words:
        assert word in " ".join(said)
    for button in page.locator(".hero-button").all():
        assert button.bounding_box()["y"] + 44 < 844
    assert page.locator(".hero-side").first.bounding_box()["y"] + 200 < 844  # faces move there


def test_a_page_has_one_name_on_the_first_page_in_the_contents_and_as_its_title(open_page):
    page = open_page("index.html").page
    contents = {
        link.get_attribute("href"): link.inner_text() for link in page.locator(".bd-sidebar-primary .bd-links a").all()
    }
    cards = page.locator(".cards .sd-card")
    for k in range(cards.count()):
        href = cards.nth(k).locator("a").get_attribute("href")
        name = cards.nth(k).locator(".sd-card-title").inner_text()
        assert name == contents[href]
        title = re.search(r"<title>(.*?) &#8212;", (ROOT / href).read_text(encoding="utf-8"))
        assert title[1].replace("&#39;", "'") == name
    assert cards.count() == 23


def test_the_head_of_a_chapter_names_the_code_that_the_chapter_says_it_opens(open_page):
    page = open_page("chapters/08_adaptive.html").page
    links = page.locator(".chapter-code a")
    assert links.all_text_contents() == ["adaptive", "measuring.statistics", "solvers"]
    assert links.nth(1).get_attribute("href").endswith("#module-ddim_edu.measuring.statistics")
    assert "minutes to read" in page.locator(".chapter-facts").text_content()


@pytest.mark.parametrize("name", ["04_non_markov", "08_adaptive", "17_fewer_calls"])
def test_the_button_for_all_code_stands_beside_words(open_page, name):
    """At the width of a laptop, where it once stood on a line of its own."""
    page = open_page(f"chapters/{name}.html", LAPTOP).page
    button, words = page.locator(".all-code").bounding_box(), page.locator(".chapter-code a").last.bounding_box()
    assert abs(button["y"] + button["height"] / 2 - words["y"] - words["height"] / 2) < 6


def test_a_picture_comes_before_its_code(open_page):
    page = open_page("chapters/04_non_markov.html").page
    cell = page.locator("div.cell:has(#fig-family-streaks)")
    assert cell.locator("summary").all_inner_texts() == ["Imports", "Code of the figure"]
    figure, first = cell.locator("figure").bounding_box(), page.locator("div.cell").first.bounding_box()
    assert figure["y"] - first["y"] < 4
    lines = {cell.locator("summary").nth(k).bounding_box()["y"] for k in (0, 1)}
    assert len(lines) == 1 and lines.pop() > figure["y"] + figure["height"] - 10


@pytest.mark.parametrize("name", ["01_forward", "04_non_markov", "07_ode", "21_music"])
def test_text_pictures_and_code_begin_at_one_edge(open_page, name):
    page = open_page(f"chapters/{name}.html", LAPTOP).page
    lefts = page.evaluate(EDGES)
    assert len(lefts) > 20 and max(lefts) - min(lefts) <= 4  # code has a border of its own


@pytest.mark.parametrize("name", ["04_non_markov", "08_adaptive"])
def test_a_wide_table_says_that_it_can_be_swiped(open_page, name):
    page = open_page(f"chapters/{name}.html", PHONE).page
    page.locator(".bd-article .wide-hint + :has(> table)").first.wait_for()
    assert page.evaluate(SILENT) == 0


def test_rows_of_pictures_fit_a_phone_but_for_a_little(open_page):
    """What they need for letters of ten pixels, and no more; those of 6 inches are seen whole."""
    page = open_page("chapters/17_fewer_calls.html", TALL).page
    whole = page.locator("#fig-calls-teaser .wide-figure")
    whole.wait_for()
    assert whole.evaluate("e => e.scrollWidth <= e.clientWidth") and whole.bounding_box()["width"] <= 390
    page = open_page("chapters/04_non_markov.html", TALL).page
    box = page.locator("#fig-family-streaks .wide-figure.more-right")
    box.wait_for()
    assert box.evaluate("e => e.scrollWidth") <= 430 and box.bounding_box()["x"] == 0
