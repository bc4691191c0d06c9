"""The strip of piano keys: its sounds' format, what it says to a screen reader, and that a key plays its own sound."""

from __future__ import annotations

import base64
import importlib.util
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from ddim_edu.apps.keyboard import Keyboard, mulaw, mulaw_wav

ROOT = Path(__file__).parent.parent
RATE = 16_000
NAMES = ("string", "flute <1>")
KEYS = range(48, 73)


def expanded(data: bytes) -> np.ndarray:
    """G.711's table, from its eight chords: chord c has 16 steps of 2^(c+3), and begins at 2^(c+7) - 132."""
    found = []
    for byte in data:
        chord, step = (~byte >> 4) & 7, ~byte & 15
        size = (2 ** (chord + 7) + (step + 0.5) * 2 ** (chord + 3)) - 132
        found.append(-size if ~byte & 128 else size)
    return np.array(found) / 32768


def test_mu_law_is_within_half_a_step():
    x = np.concatenate([np.linspace(-0.99, 0.99, 4001), [0.0, 1e-5, -1e-5]])
    error = np.abs(expanded(mulaw(x)) - x)
    assert (error <= (np.abs(x) * 32768 + 132) / 32 / 32768 + 1 / 32768).all()
    tone = 0.3 * np.sin(np.arange(8000) / 7)
    noise = np.mean((expanded(mulaw(tone)) - tone) ** 2)
    assert 36 < 10 * np.log10(np.mean(tone**2) / noise) < 40  # decibels
    assert expanded(mulaw(np.array([2.0, -2.0]))) == pytest.approx([0.98, -0.98], abs=0.01)


def test_mu_law_is_that_of_others():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="Python 3.13 has none")
    x = np.arange(32768, dtype="<i2")  # negative ones are the same with the sign: audioop rounds these downwards
    assert mulaw(x / 32768) == audioop.lin2ulaw(x.tobytes(), 2)
    assert bytes(b ^ 128 for b in mulaw(x[1:] / 32768)) == mulaw(-x[1:] / 32768)


def test_the_wav_file_says_what_it_holds():
    for n in (101, 100):
        wav = mulaw_wav(np.zeros(n), RATE)
        assert wav[:4] == b"RIFF" and wav[8:12] == b"WAVE" and struct.unpack("<I", wav[4:8])[0] == len(wav) - 8
        place, chunks = 12, {}
        while place < len(wav):
            name, size = wav[place : place + 4], struct.unpack("<I", wav[place + 4 : place + 8])[0]
            chunks[name] = wav[place + 8 : place + 8 + size]
            place += 8 + size + size % 2
        assert place == len(wav) and list(chunks) == [b"fmt ", b"fact", b"data"]
        assert struct.unpack("<HHIIHHH", chunks[b"fmt "]) == (7, 1, RATE, RATE, 1, 8, 0)
        assert struct.unpack("<I", chunks[b"fact"])[0] == len(chunks[b"data"]) == n


def short_sounds() -> dict[str, dict[int, bytes]]:
    """A second of another tone for every key and instrument."""
    t = np.arange(RATE) / RATE
    return {
        name: {key: mulaw_wav(0.5 * np.sin(2 * np.pi * (key + 100 * i) * t), RATE) for key in KEYS}
        for i, name in enumerate(NAMES)
    }


@pytest.fixture(scope="module")
def strip() -> Keyboard:
    return Keyboard(short_sounds(), {"string": {48: 12.4, 49: -3.0, 50: None}})


def test_what_the_strip_says(strip):
    html = strip._repr_html_()
    assert repr(strip) == "piano keys, C3 to C5: string, flute <1>"
    labels = re.findall(r'<button type="button" data-midi="(\d+)" aria-label="([^"]+)" tabindex="(-?\d)"', html)
    assert [int(midi) for midi, _, _ in labels] == list(KEYS)
    assert [name for _, name, _ in labels][:4] == ["C3", "C sharp 3", "D3", "D sharp 3"] and labels[-1][1] == "C5"
    assert [place for _, _, place in labels] == ["0"] + ["-1"] * 24  # the tab key stops once
    assert html.count('class="black"') == 10 and html.count("<label>") == 2 and html.count(" checked") == 1
    assert html.count('<audio preload="none" hidden') == 50 and "<1>" not in html
    assert html.count("data-heard") == 2
    assert 'data-key="string 48" data-heard=": 12 cents too high"' in html
    assert 'data-key="string 49" data-heard=": 3 cents too low"' in html
    assert strip._repr_html_() == html


def test_a_strip_with_a_gap_is_refused():
    sound = mulaw_wav(np.zeros(8), RATE)
    for sounds, said in (
        ({}, "give one for every key"),
        ({"string": {48: sound, 50: sound}}, "give one for every key"),
        ({"string": {48: sound}, "flute": {49: sound}}, "flute has the keys"),
    ):
        with pytest.raises(ValueError, match=said):
            Keyboard(sounds)


@pytest.fixture
def page(strip, browser, tmp_path):
    """The strip in a page as the book makes it, and what it has asked for."""
    spec = importlib.util.spec_from_file_location("sounds_apart", ROOT / "book" / "_ext" / "sounds_apart.py")
    apart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(apart)
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>keys</title>'
    html = apart.apart(head + f"<main><h1>keys</h1>{strip._repr_html_()}</main>", tmp_path / "_sounds", "_sounds/")
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 375, "height": 800})
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    page.close()


def sounded(page, name, midi):
    """Whether the newest file that the page asked for is that of a key, and plays."""
    page.wait_for_function(
        "key => { const a = document.querySelector(`audio[data-key='${key}']`); return !a.paused && a.readyState > 0 }",
        arg=f"{name} {midi}",
    )
    wav = short_sounds()[name][midi]
    return Path(page.asked[-1].removeprefix("file://")).read_bytes() == wav


def test_a_key_plays_its_own_sound(page):
    assert len(page.asked) == 1 and page.evaluate("document.documentElement.scrollWidth") <= 375
    boxes = [key.bounding_box() for key in page.locator(".note-octaves button").all()]
    assert all(box["width"] >= 24 and box["height"] >= 24 for box in boxes)  # as WCAG 2.2 wants
    page.get_by_role("button", name="D sharp 4").click()
    assert sounded(page, "string", 63) and len(page.asked) == 2
    page.get_by_label("flute <1>").check()
    page.get_by_role("button", name="C5", exact=True).click()
    assert sounded(page, "flute <1>", 72)
    assert page.locator(".note-said").inner_text() == "flute <1>, C5" and not page.errors


@pytest.mark.parametrize("width", [375, 1000])
def test_all_white_keys_are_as_wide(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    kinds = {"white": ":not(.black)", "black": ".black"}
    boxes = {
        kind: [key.bounding_box() for key in page.locator(f".note-octaves button{which}").all()]
        for kind, which in kinds.items()
    }
    for kind, count in (("white", 15), ("black", 10)):
        widths = [box["width"] for box in boxes[kind]]
        assert len(widths) == count and max(widths) - min(widths) < 0.1
    rows = {round(box["y"]) for box in boxes["white"]}
    assert len(rows) == (2 if width == 375 else 1)
    assert page.locator(".note-help").bounding_box()["y"] < min(rows)  # what to do is said before


def test_a_pressed_key_covers_no_other(page):
    """A white key that has the focus keeps off the black ones beside it."""
    page.get_by_role("button", name="C4", exact=True).focus()
    black = page.get_by_role("button", name="C sharp 4").bounding_box()
    at = "([x, y]) => document.elementFromPoint(x, y).getAttribute('aria-label')"
    for x in (black["x"] + 2, black["x"] + black["width"] - 2):
        assert page.evaluate(at, [x, black["y"] + 20]) == "C sharp 4"


def test_keys_without_a_mouse(page):
    for key in ("Tab", "ArrowRight", "ArrowLeft", "Tab"):
        page.keyboard.press(key)  # to the instruments, to the second and back, to the keys
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "C3" and len(page.asked) == 1
    for press, name, midi in (
        ("ArrowRight", "C sharp 3", 49), ("End", "C5", 72), ("ArrowLeft", "B4", 71), ("Home", "C3", 48),
        ("f", "F4", 65), ("w", "C sharp 4", 61), ("Enter", "C sharp 4", 61),
    ):  # fmt: skip
        page.keyboard.press(press)
        assert page.evaluate(focused) == name and sounded(page, "string", midi)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")  # there is none
    assert page.evaluate(focused) == "C3"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator(".note-said").inner_text() == "string, C3: 12 cents too high" and not page.errors


def test_keys_by_touch_and_with_a_screen_reader(page, browser):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    assert axe.Axe().run(page).response["violations"] == []
    with browser.new_context(has_touch=True, viewport={"width": 375, "height": 800}) as context:
        phone = context.new_page()
        phone.goto(page.url)
        phone.asked = []
        phone.on("request", lambda request: phone.asked.append(request.url))
        phone.get_by_role("button", name="G3", exact=True).tap()
        assert sounded(phone, "string", 55) and len(phone.asked) == 1


def test_stored_keys_are_read():
    wav = mulaw_wav(np.zeros(8), RATE)
    key = {"wav": base64.b64encode(wav).decode(), "cents": 1.5, "heard": "flute"}
    found = Keyboard.stored({"keys": {"flute": {"60": key, "61": key | {"cents": None}}}})
    assert found.sounds == {"flute": {60: wav, 61: wav}} and found.cents == {"flute": {60: 1.5, 61: None}}
