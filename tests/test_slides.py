"""The figures as slides: every figure is there with its words, the pages stand alone, and the keys move."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "book" / "_tools"
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
TIMEOUT = 120_000  # milliseconds; on a busy machine everything takes longer
SIZES = {"laptop": (1366, 768), "phone": (390, 844), "side": (844, 390)}

# Runs the tool as its command does, and fails if it imports torch or opens a connection.
COMMAND = """
import runpy, socket, sys
sys.argv = sys.argv[1:]
def refused(*_):
    raise AssertionError("the network was asked")
socket.socket.connect = refused
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert "torch" not in sys.modules
    raise
"""


def call(*words):
    command = [sys.executable, "-c", COMMAND, TOOLS / "slides.py", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, encoding="utf8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    if not (ROOT / "node_modules" / "katex").exists():
        pytest.skip("KaTeX is not installed: make install")
    folder = tmp_path_factory.mktemp("made") / "slides"
    done = call(folder)
    assert done.returncode == 0, done.stderr
    return folder


class Slides(HTMLParser):
    """Of each slide its words and its images, as a list of attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self._inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "section":
            self.found.append({"id": attributes["id"], "images": [], "words": ""})
            self._inside = True
        if tag == "img":
            self.found[-1]["images"].append(attributes)

    def handle_endtag(self, tag):
        self._inside &= tag != "section"

    def handle_data(self, data):
        if self._inside:
            self.found[-1]["words"] += data


def test_every_figure_is_a_slide_with_its_alt_text_and_its_own_picture(made):
    names = {path.stem: 0 for path in CHAPTERS}
    for path in CHAPTERS:
        found = Slides((made / f"{path.stem}.html").read_text(encoding="utf8")).found
        number = int(path.stem[:2])
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        figures = [cell for cell in cells if "name" in cell["metadata"].get("mystnb", {}).get("figure", {})]
        assert [one["id"] for one in found] == [str(i + 1) for i in range(len(figures) + 2)]
        assert found[0]["words"].startswith(f"Chapter {number}") and found[0]["words"].rstrip().endswith("?")
        for i, (cell, slide) in enumerate(zip(figures, found[1:-1]), 1):
            about = cell["metadata"]["mystnb"]
            image, *cover = slide["images"]
            assert image["alt"] == about["image"]["alt"] and all(one["alt"] == "" for one in cover)
            png = next(out["data"]["image/png"] for out in cell["outputs"] if "data" in out)
            held = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
            assert held == base64.b64decode("".join(png))
            first = re.match(r"[^$*{`.]*", about["figure"]["caption"])[0].strip()
            assert slide["words"].lstrip().removeprefix("swipe → to see the rest").startswith(f"Figure {number}.{i}. ")
            assert first in slide["words"]
        assert found[-1]["words"].startswith("Summary") and not found[-1]["images"]
        assert "Next." not in found[-1]["words"]
        names[path.stem] = len(figures)
    assert sum(names.values()) > 100 and min(names.values()) >= 3


def test_roles_are_words_and_an_equation_that_a_caption_names_stands_below_it(made):
    for path in made.glob("[0-9]*.html"):
        for slide in Slides(path.read_text(encoding="utf8")).found:
            words = re.sub(r"\\\[.*?\\\]|\\\(.*?\\\)", "", slide["words"], flags=re.S)  # formulas, before they are set
            assert not re.search(r"\{[a-z:]+\}`|\]\(|\$|:label:|:::|\\", words), words
    found = Slides((made / "02_variance.html").read_text(encoding="utf8")).found
    words = next(slide["words"] for slide in found if "Variance of noisy faces" in slide["words"])
    assert "lines: (2.6)" in words and r"\[\operatorname{Var}(x_t)" in words and words.count("(2.6)") == 2


def test_the_pages_load_nothing_and_the_index_leads_to_all(made):
    spec = importlib.util.spec_from_file_location("check_offline", TOOLS / "check_offline.py")
    offline = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(offline)
    assert offline.check(made) == (len(CHAPTERS) + 1, [])
    for path in made.glob("*.html"):
        assert {address for _, address in offline.Page(path.read_text(encoding="utf8")).local} == set()  # nor beside it
    index = (made / "index.html").read_text(encoding="utf8")
    assert re.findall(r'href="([\w.]+)"', index) == [f"{path.stem}.html" for path in CHAPTERS]


def test_one_chapter_and_mistakes_of_users(made, tmp_path):
    done = call(tmp_path / "one", "chapters/07_ode.ipynb")
    assert done.returncode == 0, done.stderr
    one = tmp_path / "one" / "07_ode.html"
    assert one.read_bytes() == (made / "07_ode.html").read_bytes()
    assert sorted(path.name for path in one.parent.iterdir()) == ["07_ode.html", "index.html"]
    for words, says in [
        ((), "give a folder"),
        (("chapters/07_ode.ipynb",), "give a folder"),
        ((tmp_path / "two", "99_none"), "there is no chapter 99_none"),
    ]:
        done = call(*words)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "two").exists()


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def show(browser, made):
    pages = []

    def opened(name, size="laptop", scheme="light", **more):
        width, height = SIZES[size]
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        page.set_default_timeout(TIMEOUT)
        page.asked, page.faults = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.goto((made / name).as_uri())
        page.wait_for_function("document.documentElement.dataset.math && document.title.match(/^\\d+ · /)")
        page.evaluate("document.fonts.ready")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        assert page.faults == [] and all(re.match("file:|data:", address) for address in page.asked)
        page.close()


def at(page, number):
    """Wait for a slide; it alone is shown, and its number is in the address and said."""
    page.wait_for_function(f"document.getElementById('place').textContent.startsWith('{number} of ')")
    shown = page.evaluate(
        "[...document.querySelectorAll('.slide')].filter((s) => s.checkVisibility()).map((s) => s.id)"
    )
    assert shown == [str(number)]
    assert page.locator("#place").get_attribute("aria-live") == "polite"


def test_keys_clicks_and_the_address_move(show):
    page = show("07_ode.html")
    last = page.locator(".slide").count()
    at(page, 1)
    on = [("ArrowRight", 2), ("PageDown", 3), (" ", 4), ("Enter", 5), ("ArrowDown", 6)]
    back = [
        ("ArrowLeft", 5),
        ("PageUp", 4),
        ("Shift+ ", 3),
        ("End", last),
        ("PageDown", last),
        ("Home", 1),
        ("ArrowUp", 1),
    ]
    for key, to in on + back:
        page.keyboard.press(key)
        at(page, to)
        assert page.url.partition("#")[2] in (str(to), "")
    page.go_back()
    at(page, last)
    page.goto(page.url.partition("#")[0] + "#5")
    at(page, 5)
    page.mouse.click(900, 300)
    at(page, 6)
    page.mouse.click(100, 300)
    at(page, 5)
    page.locator("#on").click()
    at(page, 6)
    page.locator("#back").click()
    at(page, 5)
    page.goto(page.url.partition("#")[0] + "#99")
    at(page, last)
    page.goto(page.url.partition("#")[0] + "#nonsense")
    at(page, 1)


SWIPE = """([selector, by]) => {
  const box = document.querySelector(selector), y = box.getBoundingClientRect().top + 5, x = 200;
  for (const [name, clientX] of [["touchstart", x], ["touchend", x + by]]) {
    const touch = new Touch({ identifier: 1, target: box, clientX, clientY: y });
    const list = name === "touchend" ? [] : [touch];
    box.dispatchEvent(new TouchEvent(name, { bubbles: true, touches: list, changedTouches: [touch] }));
  }
}"""


def test_a_finger_moves_the_slides_and_a_wide_figure_first(show):
    page = show("07_ode.html", "phone", has_touch=True, is_mobile=True)
    page.evaluate(SWIPE, [".now h1", -120])
    at(page, 2)
    room = ".now .room"
    assert page.locator(".now .rest").is_visible()
    page.evaluate(SWIPE, [room, -120])  # there is more to see on the right
    at(page, 2)
    page.evaluate(f"document.querySelector('{room}').scrollLeft = 9999")
    page.evaluate(SWIPE, [room, -120])
    at(page, 3)
    page.evaluate(SWIPE, [".now figcaption", 120])
    at(page, 2)
    page.evaluate(SWIPE, [".now figcaption", 20])  # a tap that trembles
    at(page, 2)


MEASURE = """() => [...document.querySelectorAll('.slide')].map((slide) => {
  location.hash = slide.id;
  show();
  const image = slide.querySelector('img'), box = image?.getBoundingClientRect(), room = slide.querySelector('.room');
  const words = slide.querySelector('figcaption, h1, .summary');
  return {
    id: slide.id, letters: parseFloat(getComputedStyle(words).fontSize), top: box?.top ?? 0,
    tall: slide.scrollHeight - slide.clientHeight, wide: document.documentElement.scrollWidth - innerWidth,
    share: box ? box.height / innerHeight : 1, cut: box ? box.height - room.clientHeight : 0,
    across: box ? box.width / room.clientWidth : 1, scale: box ? box.width / image.naturalWidth : 1,
    shape: box ? box.width / box.height / (image.naturalWidth / image.naturalHeight) : 1,
    formulas: slide.querySelectorAll('.math').length - slide.querySelectorAll('.katex-html').length,
  };
})"""


@pytest.mark.parametrize("size", SIZES)
def test_slides_fit_and_are_large_enough(show, size):
    for name in ("09_unet.html", "21_music.html"):
        page = show(name, size)
        for row in page.evaluate(MEASURE):
            assert (
                row["wide"] <= 0
                and row["formulas"] == 0
                and row["top"] >= 0
                and row["cut"] < 2
                and abs(row["shape"] - 1) < 0.02
            ), row
            assert row["letters"] >= (22 if size == "laptop" else 18), row
            if size == "laptop":  # all of it at once, the figure across the slide or down half of it
                assert row["tall"] <= 0 and (row["share"] > 0.5 or row["across"] > 0.95), row
            else:  # letters of 9 points, 13.75 pixels, have ten, but where a phone on its side is too low
                assert row["scale"] > 0.72 or size == "side" and row["share"] > 0.6, row


def test_each_slide_is_printed_on_a_page(show):
    pypdf = pytest.importorskip("pypdf")
    page = show("05_sigma.html", scheme="dark")
    pages = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages
    words = [one.extract_text() for one in pages]
    assert len(pages) == page.locator(".slide").count() and "All chapters" not in "".join(words)
    assert words[0].startswith("Chapter 5") and all("Figure 5." in one for one in words[1:-1])
    assert words[-1].startswith("Summary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_nothing_serious_by_axe(show, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = show("02_variance.html", size, scheme)
    for number in (1, 2, 5, 7):
        page.evaluate(f"location.hash = {number}")
        at(page, number)
        assert axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"] == []


def test_in_the_dark_plots_are_turned_over_and_pictures_are_not(show):
    page = show("02_variance.html", scheme="dark")
    for number, is_covered in ((2, True), (3, False)):
        page.evaluate(f"location.hash = {number}")
        at(page, number)
        assert "invert" in page.evaluate("getComputedStyle(document.querySelector('.now img')).filter")
        assert page.locator(".now .cover").is_visible() if is_covered else page.locator(".now .cover").count() == 0
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.querySelector('.now img')).filter") == "none"
