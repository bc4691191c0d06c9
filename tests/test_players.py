"""The players of a page of the book: buttons with names and lengths, which play their own files and nothing before."""

from __future__ import annotations

import base64
import importlib.util
import io
import wave
from pathlib import Path

import numpy as np
import pytest

from ddim_edu.apps.keyboard import mulaw_wav
from ddim_edu.plotting import Players

ROOT = Path(__file__).parent.parent
RATE = 8000
LENGTHS = {"string": 0.7, "flute": 0.4, "the flute's tune, as the network plays it": 4.0}

spec = importlib.util.spec_from_file_location("sounds_apart", ROOT / "book" / "_ext" / "sounds_apart.py")
sounds_apart = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sounds_apart)


def tone(seconds: float, pitch: float = 440) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE)


def other_player(sound: np.ndarray) -> str:
    """A player as IPython's ``Audio`` writes it."""
    text = base64.b64encode(mulaw_wav(sound, RATE)).decode()
    return f'<audio controls="controls"><source src="data:audio/wav;base64,{text}" type="audio/wav" /></audio>'


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page as the book makes it: three players of ours, and two of IPython's with a line of text above each."""
    folder = tmp_path_factory.mktemp("page")
    ours = Players({name: tone(long, 200 + 100 * i) for i, (name, long) in enumerate(LENGTHS.items())}, RATE)
    others = "".join(
        f'<p>{name}</p><div class="output text_html">{other_player(tone(1.5, pitch))}</div>'
        for name, pitch in (("recorded", 300), ("made", 350))
    )
    body = (
        f'<div class="cell_output"><div class="output text_html">{ours._repr_html_()}</div></div>'
        f'<div class="cell_output">{others}</div>'
    )
    style, script = ((ROOT / "book" / "_ext" / f"sounds.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    colours = "--pst-color-text-muted: #48566b; --pst-color-text-base: #222; --pst-color-primary: #0a7d91"
    head = f'<meta charset="utf-8"><title>sounds</title><style>:root {{ {colours} }} {style}</style>'
    html = f'<!doctype html><html lang="en">{head}<main><h1>Sounds</h1>{body}</main><script>{script}</script></html>'
    page = folder / "page.html"
    page.write_text(sounds_apart.apart(html, folder / "_sounds", "_sounds/"), encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    yield page
    page.close()


def heard(page) -> str:
    """The file that plays."""
    return page.evaluate("[...document.querySelectorAll('audio')].filter(a => !a.paused).map(a => a.currentSrc).join()")


def test_the_length_is_read_off_the_file():
    for seconds in (0.5, 1.0, 1.2345):
        sound, file = tone(seconds), io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", ""))
            out.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
        for wav in (file.getvalue(), mulaw_wav(sound, RATE)):
            assert sounds_apart.seconds_of(wav) == pytest.approx(len(sound) / RATE)
    assert sounds_apart.seconds_of(b"RIFF") == sounds_apart.seconds_of(b"RIFF" + bytes(100)) == 0


def test_each_has_its_name_and_its_length_before_it_is_fetched(page):
    said = page.get_by_role("button").evaluate_all("all => all.map((e) => e.textContent)")
    names = {**LENGTHS, "recorded": 1.5, "made": 1.5}
    assert said == [f"Play {name} {long:.1f} s" for name, long in names.items()]
    assert page.get_by_role("button", name="Play string 0.7 s").count() == 1
    assert len(page.asked) == 1 and not page.errors  # the page itself
    assert page.locator("main p").count() == 0 and page.locator("audio:visible").count() == 0


def test_a_press_plays_its_own_sound_and_one_at_a_time(page):
    tune = page.get_by_role("button", name="the flute's tune")
    tune.click()
    page.locator(".sound.playing").wait_for()
    assert tune.evaluate("e => e.textContent").startswith("Stop the flute's")
    first = heard(page)
    (folder,) = {Path(url.removeprefix("file://")).parent for url in page.asked[1:]}
    file = folder / first.rpartition("/")[2]
    assert sounds_apart.seconds_of(file.read_bytes()) == 4.0
    made = page.get_by_role("button", name="made")
    made.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.sound.playing')?.textContent.includes(name)", arg="made")
    assert heard(page) not in ("", first) and "," not in heard(page)
    assert tune.evaluate("e => e.textContent").startswith("Play ")
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('.sound.playing')")
    assert heard(page) == "" and not page.errors
    page.get_by_role("button", name="flute 0.4 s").click()
    page.locator(".sound.playing").wait_for()
    page.locator(".sound.playing").wait_for(state="detached")  # it ends by itself


def test_a_file_that_is_missing_is_said(page):
    page.evaluate("document.querySelector('audio').src = '_sounds/gone.wav'")
    page.get_by_role("button", name="string").click()
    page.get_by_text("can’t be played").wait_for()


@pytest.mark.parametrize("width", [390, 1366])
def test_they_are_a_compact_grid(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    boxes = [button.bounding_box() for button in page.get_by_role("button").all()]
    assert all(box["height"] >= 44 and box["x"] + box["width"] <= width for box in boxes)
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[2]["y"] > boxes[1]["y"]  # a long name has a row of its own
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_that_a_screen_reader_trips_over(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    assert axe.Axe().run(page).response["violations"] == []
    page.get_by_role("button", name="recorded").click()
    page.locator(".sound.playing").wait_for()
    assert axe.Axe().run(page).response["violations"] == []


def test_without_scripts_there_are_the_browsers_own_players(browser, address):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        assert page.locator("audio[controls]").count() == 5 and page.get_by_text("recorded").is_visible()
