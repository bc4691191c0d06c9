"""The built book in a real browser, page by page from file://: `make browser`, after `make book`.

Not part of a bare `pytest`, which builds no book: the tests here run where $SITE names the folder of a built site. A
machine without playwright or without a Chromium skips them and says so.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

SITE = os.environ.get("SITE")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

if not SITE:
    pytest.skip("no built book: SITE=_build/html pytest tests/test_site.py, or make browser", allow_module_level=True)
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

ROOT = Path(SITE).resolve()
# What Sphinx makes for search engines and machines; nobody reads a source page with the keyboard.
PAGES = sorted(
    p.relative_to(ROOT).as_posix()
    for p in ROOT.rglob("*.html")
    if not {"_static", "_modules"} & set(p.relative_to(ROOT).parts)
)
SETTINGS = ("live.html", "playground.html")  # pages whose addresses hold settings, #model=faces, beside anchors
PHONE, DESKTOP = {"width": 375, "height": 800}, {"width": 1280, "height": 900}
# One window for all pages: what a page adds to the browser is small beside its start.
HEAVIEST = 1_500_000  # bytes of a page with all that it loads
TIMEOUT = 120_000  # milliseconds; on a busy machine everything takes longer


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


# Commas and full stops that a line break has taken from the formula before them.
TORN = """() => [...document.querySelectorAll('span.unbroken')].filter(piece => {
    const mark = piece.lastChild, base = [...piece.querySelectorAll('.katex-base')].at(-1);
    const range = document.createRange();
    if (mark.nodeType !== Node.TEXT_NODE || !base) return false;
    range.selectNode(mark);
    return range.getBoundingClientRect().left < base.getBoundingClientRect().right - 3;
}).map(piece => piece.querySelector('annotation').textContent)"""


class Tab:
    """A page of the book, with what it said and asked for while it loaded."""

    def __init__(self, browser, name: str, viewport: dict, **context) -> None:
        self.context = browser.new_context(viewport=viewport, **context)
        self.context.set_default_timeout(TIMEOUT)
        self.page, self.errors, self.requests = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto((ROOT / name).as_uri())
        if self.page.locator("span.math, div.math").count():
            self.page.wait_for_function("document.documentElement.dataset.math")
            self.page.evaluate("document.fonts.ready")


@pytest.fixture
def open_page(browser):
    opened = []

    def go(name: str, viewport: dict = DESKTOP, **context) -> Tab:
        opened.append(Tab(browser, name, viewport, **context))
        return opened[-1]

    yield go
    for tab in opened:
        tab.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_from_a_folder(open_page, name):
    """No error of ours, no network, all mathematics typeset, with its commas, not heavy, not wider than a phone,
    nothing serious by axe.
    """
    tab = open_page(name, PHONE)
    assert not tab.errors
    assert {urlsplit(url).scheme for url in tab.requests} <= {"file", "data", "blob"}
    files = {unquote(urlsplit(url).path) for url in tab.requests if url.startswith("file:")}
    assert sum(Path(path).stat().st_size for path in files) <= HEAVIEST
    written, typeset = tab.page.locator("span.math, div.math").count(), tab.page.locator(".katex-html").count()
    assert typeset >= written and tab.page.locator(".katex-error").count() == 0
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert tab.page.evaluate(TORN) == []
    found = (
        axe.Axe()
        .run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        .response["violations"]
    )
    grave = [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} ({len(v['nodes'])})"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not grave
    tab.page.set_viewport_size(PHONE | {"width": 390})  # where lines end elsewhere
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("chapters/")][::4])
def test_the_dark_page_too(open_page, name):
    tab = open_page(name, DESKTOP, color_scheme="dark")
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not tab.errors  # before axe, which asks for the style sheets in a way that file:// forbids
    found = axe.Axe().run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    grave = [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} ({len(v['nodes'])})"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not grave


class Anchors(HTMLParser):
    """The ids of a page, and the links in it to pages of the same site."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links = Counter(), []
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids[attributes["id"]] += 1
        href = attributes.get("href") if tag == "a" else None
        if href and not urlsplit(href).scheme and not href.startswith("//"):
            self.links.append(href)


def test_every_link_and_anchor_inside_the_book_leads_somewhere():
    read = {path: Anchors(path) for path in ROOT.rglob("*.html") if "_static" not in path.parts}
    lost = []
    for path, page in read.items():
        for href in page.links:
            parts = urlsplit(href)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                lost.append(f"{path.relative_to(ROOT)}: {href}")
            elif (
                parts.fragment
                and not (
                    target.name in ("live.html", "playground.html") and "=" in parts.fragment
                )  # settings, no anchors
                and target in read
                and unquote(parts.fragment) not in read[target].ids
            ):
                lost.append(f"{path.relative_to(ROOT)}: {href}")
    assert not lost


def test_search_finds_a_word(open_page):
    tab = open_page("search.html")
    tab.page.goto((ROOT / "search.html").as_uri() + "?q=inversion")
    tab.page.wait_for_selector("#search-results li a")
    hits = tab.page.locator("#search-results li a").all_text_contents()
    assert any("ODE" in hit for hit in hits), hits


@pytest.mark.parametrize(
    ("question", "heading", "excerpt"),
    [
        ("eta", "", "η"),
        ("ᾱ", "", "ᾱ"),
        ("alpha_bar", "", "ᾱ"),
        ("exercise 3.2", "Exercise 3.2", ""),
        ("sigma", "", "σ"),
    ],
)
def test_search_finds_symbols_and_exercises_and_shows_where(open_page, question, heading, excerpt):
    tab = open_page("search.html")
    tab.page.goto((ROOT / "search.html").as_uri() + f"?q={question}")
    tab.page.wait_for_selector(".search-summary:not(:empty)")
    first = tab.page.locator("#search-results li").first
    assert heading in first.locator("a").inner_text()
    assert len(first.locator(".context").inner_text()) > 40
    assert excerpt in "".join(tab.page.locator("#search-results .context").all_inner_texts())
    assert not tab.errors


def test_search_lists_chapters_in_their_order(open_page):
    tab = open_page("search.html")
    tab.page.goto((ROOT / "search.html").as_uri() + "?q=summary")
    tab.page.wait_for_selector(".search-summary:not(:empty)")
    found = tab.page.locator("#search-results li a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    chapters = [int(link[9:11]) for link in found if link.startswith("chapters/") and link.endswith("#summary")]
    assert len(chapters) > 10 and chapters == sorted(chapters)


def test_the_meaning_of_a_word_appears_on_focus_and_on_hover(open_page):
    page = open_page("chapters/08_adaptive.html").page
    term = page.locator(".term").first
    meaning = term.locator(".meaning")
    assert not meaning.is_visible()
    term.locator("a").focus()
    assert meaning.is_visible() and len(meaning.text_content()) > 20
    page.locator(".bd-article h1").first.click()
    assert not meaning.is_visible()
    term.hover()
    assert meaning.is_visible()


def test_the_site_is_small_enough_to_carry():
    sizes = {path: path.stat().st_size for path in ROOT.rglob("*") if path.is_file()}
    faces = sizes.pop(ROOT / "live" / "faces.js")
    assert sum(sizes.values()) < 40e6  # with the other networks
    assert faces < 10.1e6
    heavy = {p.name: n for p, n in sizes.items() if p.suffix == ".html" and n > 1.5e6}
    assert not heavy


def test_a_figure_that_a_phone_shrinks_opens_in_full_size(open_page):
    name = "chapters/08_adaptive.html"
    link = open_page(name, PHONE).page.locator("#fig-adaptive-ablation a.larger")
    assert link.get_attribute("href").endswith(".png") and link.locator("img").get_attribute("alt")
    assert open_page(name).page.locator("#fig-adaptive-ablation a.larger").count() == 0  # there it is large already


def test_a_wide_figure_says_that_it_can_be_swiped_until_it_was(open_page):
    page = open_page("chapters/04_non_markov.html", PHONE, has_touch=True, is_mobile=True).page
    box = page.locator(".wide-figure.more-right").first
    hint = page.locator(".wide-hint:has(+ .wide-figure)").first
    box.wait_for()
    assert hint.is_visible() and hint.inner_text().startswith("swipe → to see the rest, tap")
    assert hint.bounding_box()["y"] + hint.bounding_box()["height"] <= box.bounding_box()["y"]
    height = page.evaluate("document.documentElement.scrollHeight")
    box.evaluate("e => (e.scrollLeft = 60)")
    hint.wait_for(state="hidden")
    assert page.evaluate("document.documentElement.scrollHeight") == height  # nothing moves
    wide = open_page("chapters/04_non_markov.html").page
    wide.wait_for_function("document.querySelector('.bd-article figure img').complete")
    assert not wide.locator(".wide-hint:visible").count()


def test_without_scripts_a_figure_is_as_wide_as_the_phone(browser):
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    page = context.new_page()
    page.goto((ROOT / "chapters" / "07_ode.html").as_uri())
    assert page.locator("#fig-ode-faces img.turned").bounding_box()["width"] <= PHONE["width"]
    context.close()


def test_nothing_lies_over_the_text_of_a_phone(open_page):
    page = open_page("chapters/04_non_markov.html", PHONE).page
    for y in (3000, 2500):  # the button to the top comes when one scrolls up
        page.evaluate(
            "y => new Promise(done => { addEventListener('scroll', done, { once: true }); scrollTo(0, y); })", y
        )
    assert not page.locator("#pst-back-to-top").is_visible()


def test_the_head_of_a_chapter_says_what_its_core_leaves_out(open_page):
    page = open_page("chapters/04_non_markov.html", PHONE).page
    assert "(without what is marked deeper)" in page.locator(".chapter-facts").inner_text()


def test_the_search_says_a_pages_title_once(open_page):
    tab = open_page("search.html")
    tab.page.goto((ROOT / "search.html").as_uri() + "?q=forward")
    tab.page.wait_for_selector(".search-summary:not(:empty)")
    found = [text.split(" > ") for text in tab.page.locator("#search-results li a").all_inner_texts()]
    assert ["1. The forward process"] in found
    assert not [parts for parts in found if len(parts) == 2 and parts[1].lstrip("0123456789. ") == parts[0]]


def test_in_the_dark_players_stand_on_the_pages_own_ground(open_page):
    page = open_page("chapters/21_music.html", color_scheme="dark").page
    box = page.locator(".cell_output .text_html:has(audio)").first
    style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).padding]"
    assert box.evaluate(style) == ["rgba(0, 0, 0, 0)", "0px"]


def test_in_the_dark_plots_are_turned_over_and_pictures_are_not(open_page):
    page = open_page("chapters/08_adaptive.html", color_scheme="dark").page
    style = "e => getComputedStyle(e).filter"
    assert "invert" in page.locator("#fig-adaptive-ablation img").evaluate(style)
    figure = page.locator("#fig-adaptive-maps")
    assert "invert" in figure.locator("img.turned").evaluate(style)  # its ground and its letters
    assert "invert" not in figure.locator(".cover img").evaluate(style)


@pytest.mark.parametrize(("name", "figure"), [("07_ode", "ode-faces"), ("17_fewer_calls", "calls-teaser")])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1366, "height": 768}], ids=["phone", "laptop"])
def test_in_the_dark_pictures_have_no_frame_and_keep_their_colours(open_page, name, figure, viewport):
    """The ground of the figure is the page's own, and its first picture is what the light page shows."""
    looks = {}
    for scheme in ("light", "dark"):
        page = open_page(f"chapters/{name}.html", viewport, color_scheme=scheme).page
        image = page.locator(f"#fig-{figure} .covered")
        image.evaluate("e => e.scrollIntoView({ block: 'center' })")
        looks[scheme] = Image.open(io.BytesIO(image.screenshot())).convert("RGB")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        size, shape = image.bounding_box(), image.locator(".cover").get_attribute("style")
    corner = looks["dark"].getpixel((1, 1))
    assert max(abs(a - int(b)) for a, b in zip(corner, re.findall(r"\d+", ground))) <= 6
    x, y = np.array(re.findall(r"([\d.]+)%", shape), float).reshape(-1, 2).T / 100  # the path: corner, first block, ...
    left, right, top, bottom = x[1] * size["width"], x[2] * size["width"], y[1] * size["height"], y[3] * size["height"]
    first = (int(left) + 2, int(top) + 2, min(int(right) - 2, 280), int(bottom) - 2)  # on a phone the right edge fades
    light, dark = (np.asarray(looks[scheme].crop(first), float).reshape(-1) for scheme in ("light", "dark"))
    assert np.corrcoef(light, dark)[0, 1] > 0.9  # of a negative it is -1


def test_next_leads_through_the_book_in_order(open_page):
    """Each part's page stands before the chapters of the part."""
    order = {
        "index": "live",
        "live": "playground",
        "playground": "mathematics",
        "parts/mathematics": "01_forward",
        "chapters/08_adaptive": "models",
        "chapters/11_measuring": "use",
    }
    for name, after in order.items():
        assert after in open_page(f"{name}.html").page.locator("a.right-next").get_attribute("href")


def test_the_first_page_moves_until_it_is_stopped(open_page):
    page = open_page("index.html", PHONE).page
    frame = "document.querySelector('.hero').dataset.frame"
    page.wait_for_function(f"{frame} === '3'")
    page.wait_for_function(f"{frame} === '10'")
    page.wait_for_function("document.querySelector('.hero').dataset.run === '1'")  # DDPM anew
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()
    canvases = page.locator(".hero canvas")
    assert canvases.count() == 2 and all(canvases.nth(k).get_attribute("aria-label") for k in (0, 1))
    assert page.evaluate("document.documentElement.scrollHeight") <= 3 * 844
    page.get_by_role("link", name="Run it").click()
    assert "live.html#" in page.url


def test_where_motion_is_not_wanted_the_first_page_stands_still(open_page):
    for how in ({"reduced_motion": "reduce"}, {"java_script_enabled": False}):
        page = open_page("index.html", **how).page
        stills = page.locator(".hero img")
        assert stills.count() == 2 and page.locator(".hero canvas").count() == 0
        for k in (0, 1):
            assert stills.nth(k).evaluate("e => e.complete && e.naturalWidth") == 131 and stills.nth(k).get_attribute(
                "alt"
            )


def test_the_title_stands_once_in_the_first_page_and_once_beside_it(open_page):
    page = open_page("index.html").page
    assert page.title() == "Denoising Diffusion Implicit Models: a textbook that runs"
    shown = page.evaluate(
        """title => [...document.querySelectorAll("body *")].filter(element => element.checkVisibility() &&
            element.getClientRects().length && [...element.childNodes].some(node =>
                node.nodeType === Node.TEXT_NODE && node.textContent.includes(title)))
            .map(element => element.tagName)""",
        "Denoising Diffusion Implicit Models",
    )
    assert shown == ["P", "H1"]


def test_a_chapter_loads_its_piece_of_the_plane_when_one_comes_near(open_page):
    tab = open_page("chapters/16_continuous.html")
    assert not any("playground/plane" in url for url in tab.requests)
    tab.page.locator(".plane[data-plane]").scroll_into_view_if_needed()
    tab.page.wait_for_function("document.querySelector('.plane').playground?.runs")
    assert not tab.errors
    assert tab.page.locator(".plane canvas").is_visible()


def test_an_equations_link_opens_the_fold_that_it_leads_to(open_page):
    page = open_page("equations.html").page
    page.locator('a[href*="04_non_markov.html#checks-"]').first.click()
    page.wait_for_url("**/04_non_markov.html#checks-*")
    name = page.url.partition("#")[2]
    fold = page.locator(f"details.fold:has([id='{name}'])")
    assert fold.evaluate("e => e.open") and fold.locator("pre").is_visible()
    assert fold.locator("summary").inner_text().startswith("Checked: equation")
    assert fold.locator("button.copybtn").count() == 1


def test_all_code_opens_and_closes_by_key(open_page):
    page = open_page("chapters/04_non_markov.html").page
    fold = page.locator("details.checks").first
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator("pre").is_visible()
    button = page.get_by_role("button", name="Show all code")
    button.click()
    assert page.locator("details.fold:not([open])").count() == 0
    button.click()
    assert page.locator("details.fold[open]").count() == 0


def test_checks_are_printed_open(open_page):
    page = open_page("chapters/04_non_markov.html").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.checks:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.checks[open]").count() == 0


@pytest.mark.parametrize("where", ['href^="#equation-"', 'href*=".html#equation-"'], ids=["own page", "another page"])
def test_the_number_of_a_formula_shows_it_by_touch_and_on_focus(open_page, where):
    page = open_page("chapters/04_non_markov.html", PHONE, has_touch=True, is_mobile=True).page
    link, before = page.locator(f".bd-article a.reference[{where}]").first, page.url
    link.tap()
    note = page.locator(".formula-note")
    assert note.is_visible() and note.locator(".katex-html").count() == 1 and page.url == before
    page.keyboard.press("Escape")
    assert note.count() == 0
    link.tap()
    link.tap()
    page.wait_for_url("**#equation-*")  # the second tap follows


def test_the_meaning_of_a_word_appears_by_touch(open_page):
    page = open_page("chapters/08_adaptive.html", PHONE, has_touch=True, is_mobile=True).page
    term, before = page.locator(".term").first, page.url
    term.locator("a").tap()
    assert term.locator(".meaning").is_visible() and page.url == before
    box = term.locator(".meaning").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    term.locator("a").tap()
    page.wait_for_url("**/glossary.html#*")


def test_wide_code_wraps_on_demand(open_page):
    page = open_page("chapters/04_non_markov.html", PHONE).page
    page.get_by_role("button", name="Show all code").click()
    block = page.locator("div.highlight:has(.wrap-code)").first
    pre = block.locator("pre")
    assert pre.evaluate("e => e.scrollWidth > e.clientWidth && e.classList.contains('more-right')")
    text, button = pre.bounding_box(), block.locator(".wrap-code").bounding_box()
    assert button["y"] >= text["y"] + text["height"]  # under the code, not over it
    block.locator(".wrap-code").click()
    assert pre.evaluate("e => e.scrollWidth <= e.clientWidth && !e.classList.contains('more-right')")


def test_deeper_sections_say_so_in_the_page_and_in_its_contents(open_page):
    page = open_page("chapters/04_non_markov.html").page
    marked = page.locator("section.deeper > :is(h2, h3) .deeper-mark")
    assert marked.count() == 3 == page.locator(".deeper-link").count()
    assert ", the core " in page.locator(".chapter-facts").text_content()
