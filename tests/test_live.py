"""The live sampler: the page's JavaScript and its exported networks against ddim_edu, in a real browser, from file://.

Uses the built book in _build/html if it is up to date; otherwise it builds this one page in a temporary folder.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import math
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch

from ddim_edu.apps.interpolate import angle, slerp
from ddim_edu.guidance import guided
from ddim_edu.models import load, load_classifier
from ddim_edu.randomness import draw
from ddim_edu.sampler import ddim_path, decode, invert
from ddim_edu.schedule import SPACINGS, make_tau

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
LIVE = BOOK / "live"
MODELS = ("digits", "fashion-mnist-v", "faces")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 120_000  # ms: the machine may be busy
TOLERANCE = 1e-3  # what was asked for; float32 in two libraries differs by much less


def module(path: Path):
    spec = importlib.util.spec_from_file_location(f"live_{path.stem}", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


sys.path.insert(0, str(BOOK / "_ext"))  # the extensions import one another
live_page = module(BOOK / "_ext" / "live_page.py")
load = cache(load)


# ---------------------------------------------------------------- the browser and the page


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine, so the live page is not tried; apt install chromium")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield found
        found.close()


def is_current(site: Path) -> bool:
    """Whether a built book holds this page as it is now."""
    page, kept = site / "live.html", ROOT / "_build" / "onnx"
    if not page.is_file() or page.stat().st_mtime < max(
        path.stat().st_mtime for path in (BOOK / "live.md", ROOT / "_config.yml")
    ):
        return False
    same = {name: (LIVE / name).read_text(encoding="utf-8") for name in live_page.OWN}
    same |= {f"{name}.js": live_page.network_script(BOOK, name, kept) for name in MODELS}
    same["runtime.js"] = live_page.runtime_script(kept)
    there = {path.name: path.read_text(encoding="utf-8") for path in (site / "live").iterdir()}
    return all(there.get(name) == text for name, text in same.items())


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    site = ROOT / "_build" / "html"
    if not is_current(site):
        folder = tmp_path_factory.mktemp("site")
        (folder / "_toc.yml").write_text("format: jb-book\nroot: live\n")
        program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
        command = [*program, "build", BOOK, "--toc", folder / "_toc.yml", "--path-output", folder, "-qq"]
        subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True)
        site = folder / "_build" / "html"
    return (site / "live.html").as_uri()


class Visit:
    """An open page, with what it asked for and what went wrong on it."""

    def __init__(self, browser, address: str, **how) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | how)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = address
        self.page.goto(address)

    def hear(self, message) -> None:
        """Chromium warns a page that asks for a graphics processor where there is none; no page can prevent that."""
        if message.type in ("error", "warning") and message.text != "No available adapters.":
            self.errors.append(message.text)

    def start(self, settings: str = "model=digits") -> None:
        """Start with what the address asks for; the smallest network is enough for most of what is tested."""
        self.page.evaluate("settings => history.replaceState(null, '', '#' + settings)", settings)
        self.page.click("text=Start the sampler")
        self.done("watch")

    def done(self, panel: str, before: str = "") -> str:
        """What a panel says, once it has run with the settings as they are and says something else than before."""
        self.page.locator(f"[data-live={panel}]").scroll_into_view_if_needed()
        box = f"document.querySelector('[data-live={panel}]')"
        said = f"{box}.querySelector('.live-status').innerText"
        self.page.wait_for_function(f"before => {box}.dataset.state === 'done' && {said} !== before", arg=before)
        return self.page.inner_text(f"[data-live={panel}] .live-status")

    def set(self, label: str, value: str) -> None:
        """Give a control a value, as a reader's hand would: with its event."""
        kind = "change" if self.page.get_by_label(label, exact=True).evaluate("e => e.tagName") == "SELECT" else "input"
        self.page.get_by_label(label, exact=True).evaluate(
            "(e, [value, kind]) => { e.value = value; e.dispatchEvent(new Event(kind)); }", [value, kind]
        )


@pytest.fixture
def visit(browser, address):
    opened = []

    def go(**how) -> Visit:
        opened.append(Visit(browser, address, **how))
        return opened[-1]

    yield go
    for one in opened:
        one.context.close()


@pytest.fixture(scope="module")
def page(browser, address):
    """A page for the mathematics alone, with what the tests below call."""
    opened = Visit(browser, address)
    opened.page.evaluate(
        """() => {
        const floats = (x) => Float32Array.from(x);
        window.run = async (name, job) => {
            const net = await LiveNetwork.load(name);
            const label = job.label ?? net.any, noises = (job.noises ?? []).map(floats);
            const eps = DDIM.guided(net.eps, label, net.any, job.scale ?? 1);
            const how = { eta: job.eta, clip: job.clip, noise: () => noises.shift() };
            const steps = (job.invert ? DDIM.invert : DDIM.path)(eps, floats(job.x), net.alphaBar, job.tau, how);
            const seen = [];
            for await (const { t, s, xt, x0, xs } of steps) seen.push({ t, s, xt: [...xt], x0: [...x0], xs: [...xs] });
            return { seen, left: noises.length };
        };
    }"""
    )
    yield opened.page
    opened.context.close()


# ---------------------------------------------------------------- the mathematics


def test_tau_is_make_tau(page):
    numbers = [*range(1, 101), 128, 250, 333, 500, 750, 999, 1000]
    ours = {
        f"{T} {S} {spacing}": make_tau(T, S, spacing).tolist()
        for T in (900, 1000)
        for S in numbers
        if S <= T
        for spacing in SPACINGS
    }
    theirs = page.evaluate(
        "keys => keys.map(k => { const [T, S, how] = k.split(' '); return DDIM.makeTau(+T, +S, how); })", list(ours)
    )
    assert theirs == list(ours.values())
    assert page.evaluate("DDIM.SPACINGS") == list(SPACINGS)
    assert page.evaluate("[1, 7, 20].map(S => DDIM.makeTau(1000, S))") == [
        make_tau(1000, S).tolist() for S in (1, 7, 20)
    ]


def test_slerp_and_the_angle(page):
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(2, 1, 64, generator=generator, dtype=torch.float64)
    for end in (b, a + 1e-4 * b, a.clone()):
        for u in (0.0, 0.3, 1.0):
            found = page.evaluate("([a, b, u]) => [...DDIM.slerp(a, b, u)]", [a[0].tolist(), end[0].tolist(), u])
            assert torch.allclose(torch.tensor(found, dtype=torch.float64), slerp(a, end, u)[0], atol=1e-6)
        found = page.evaluate("([a, b]) => DDIM.angle(a, b)", [a[0].tolist(), end[0].tolist()])
        assert found == pytest.approx(angle(a, end).item(), abs=1e-9)


def test_the_noise_is_normal_and_a_function_of_the_seed(page):
    many = torch.tensor(page.evaluate("[...DDIM.normals(0)(100001)]"), dtype=torch.float64)
    assert len(many) == 100_001
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # within 5 standard errors
        assert abs((many**power).mean() - expected) < 5 * math.sqrt(variance / len(many))
    assert abs((many[1:] * many[:-1]).mean()) < 5 / math.sqrt(len(many))
    streams = torch.tensor(page.evaluate("Array.from({length: 200}, (_, seed) => [...DDIM.normals(seed)(64)])"))
    assert (
        streams.corrcoef().fill_diagonal_(0).abs().max() < 0.65
    )  # 20,000 pairs of seeds, each with a standard deviation of 1/8
    assert page.evaluate("DDIM.normals(7)(5).join() === DDIM.normals(7)(9).slice(0, 5).join()")


# S, spacing, highest level, eta, class, guidance, clip
PATHS = [
    (1, "leading", 1000, 0.0, 3, 1.0, 1.0),
    (10, "leading", 1000, 0.0, None, 1.0, None),
    (30, "quadratic", 1000, 0.4, 7, 3.0, 1.0),
    (20, "trailing", 990, 0.0, 3, 1.0, 1.0),
    (12, "linspace", 990, 1.0, None, 1.0, 1.0),
    (15, "quadratic-full", 990, 1.0, 9, 0.0, 1.0),
    (20, "trailing", 1000, 0.0, 3, 1.0, 1.0),
]


RUNS = [(name, *path) for name in MODELS for path in (PATHS if name != "faces" else PATHS[1:5:3])]


@pytest.mark.parametrize(("name", "S", "spacing", "top", "eta", "label", "scale", "clip"), RUNS)
def test_a_whole_trajectory_is_that_of_ddim_edu(page, name, S, spacing, top, eta, label, scale, clip):
    """All states and all predicted pictures, on the same x_T and the same noises.

    At T = 1000 the cosine schedule holds the picture under 20,000 times as much noise, and the prediction of x_0 from
    there multiplies the rounding of the network by this number: torch in float32 is up to 5e-3 from torch in float64
    too. The last row shows that this passes; the other rows start where float32 means something, at the latest at level
    990 (64 times as much noise).
    """
    model = load(name)
    tau = make_tau(top, S, spacing)
    x_T = torch.randn(1, *model.image_shape, generator=torch.Generator().manual_seed(S))
    generator = torch.Generator().manual_seed(1)
    noises = [draw(x_T, generator).flatten().tolist() for _ in range(S - 1)] if eta else []  # none at the last step
    job = {
        "x": x_T.flatten().tolist(),
        "tau": tau.tolist(),
        "eta": eta,
        "label": label,
        "scale": scale,
        "clip": clip,
        "noises": noises,
    }
    found = page.evaluate("([name, job]) => run(name, job)", [name, job])
    eps_theta = model.eps_theta() if label is None else guided(model.eps_theta(label), model.eps_theta(), scale)
    with torch.no_grad():
        steps = list(
            ddim_path(
                eps_theta, x_T, model.schedule, tau, eta=eta, generator=torch.Generator().manual_seed(1), clip=clip
            )
        )
    assert found["left"] == 0 and [(one["t"], one["s"]) for one in found["seen"]] == [
        (step.t, step.s) for step in steps
    ]
    for one, step in zip(found["seen"], steps):
        ours = {"xt": step.x_t, "x0": step.x0_hat, "xs": step.x_s}
        off = {which: (torch.tensor(one[which]) - state.flatten()).abs().max().item() for which, state in ours.items()}
        if step.t == 1000 and tau[-1] == 1000:
            assert off["x0"] < 5e-6 * model.schedule.nsr[1000], (step.t, off)
        elif tau[-1] == 1000:
            assert max(off.values()) < 10 * TOLERANCE, (step.t, off)
        else:
            assert max(off.values()) < TOLERANCE, (step.t, off)
    if tau[-1] == 1000:
        assert off["xs"] < TOLERANCE  # the sample itself


@pytest.mark.parametrize(
    ("name", "S", "label"),
    [*((name, *case) for name in MODELS[:2] for case in ((10, None), (40, 3))), ("faces", 10, 3)],
)
def test_inversion_is_that_of_ddim_edu(page, name, S, label):
    model = load(name)
    tau = make_tau(900, S, "trailing")
    x_0 = torch.rand(1, *model.image_shape, generator=torch.Generator().manual_seed(S)) * 2 - 1
    job = {"x": x_0.flatten().tolist(), "tau": tau.tolist(), "label": label, "invert": True}
    found = page.evaluate("([name, job]) => run(name, job)", [name, job])["seen"]
    assert [(one["t"], one["s"]) for one in found] == list(pairwise(tau.tolist()))
    for k in range(1, S + 1, 3):  # after its first k steps
        ours = invert(model.eps_theta(label), x_0, model.schedule, tau[: k + 1]).flatten()
        assert (torch.tensor(found[k - 1]["xs"]) - ours).abs().max() < TOLERANCE


def test_what_the_page_says_of_a_single_step_from_T():
    model = load("digits")
    assert model.schedule.nsr[-1].item() == pytest.approx(20_291, abs=1)
    x_T = torch.randn(50, *model.image_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (step,) = ddim_path(model.eps_theta(3), x_T, model.schedule, make_tau(1000, 1, "trailing"), clip=1.0)
    assert (step.x_s.abs() == 1).float().mean() > 0.95
    with torch.no_grad():
        (step,) = ddim_path(model.eps_theta(3), x_T, model.schedule, make_tau(1000, 1, "leading"), clip=None)
    assert (step.x_s - x_T).square().mean() < 0.1


@pytest.mark.parametrize(("name", "label"), [("fashion-mnist-v", 9), ("faces", 1)])
def test_those_that_predict_v_say_about_the_mean_of_the_class(name, label):
    """One step from T: nearly the same from every noise, hardly cut, and near the mean of what many steps draw."""
    model, S = load(name), 10
    assert model.prediction == "v"
    x_T = torch.randn(16, *model.image_shape, generator=torch.Generator().manual_seed(0))
    eps_theta = model.eps_theta(label)
    with torch.no_grad():
        (step,) = ddim_path(eps_theta, x_T, model.schedule, make_tau(1000, 1, "trailing"), clip=1.0)
    once = step.x_s
    drawn = decode(eps_theta, x_T, model.schedule, make_tau(1000, S), clip=1.0)
    mean = drawn.mean(0)
    assert (once.abs() == 1).float().mean() < 0.2
    assert (once - once.mean(0)).square().mean() < 0.1 * (drawn - mean).square().mean()
    assert (once.mean(0) - mean).square().mean() < 0.25 * (mean - mean.mean()).square().mean()


# ---------------------------------------------------------------- the page


def test_the_page_draws_threes_without_an_error_or_the_network(visit):
    one = visit()
    page = one.page
    before = {url for url in one.asked if urlsplit(url).scheme == "file"}
    assert not any(
        "/live/" + name in url for url in before for name in ("runtime.js", *(f"{name}.js" for name in MODELS))
    )
    sizes = {url: Path(unquote(urlsplit(url).path)).stat().st_size for url in before}
    shared = ("/_static/", "/searchindex.js")  # every page of the book loads these
    assert sum(size for url, size in sizes.items() if not any(part in url for part in shared)) < 200_000

    page.evaluate(
        "document.querySelector('[data-live=watch]')"
        ".addEventListener('sampled', e => (window.samples ??= []).push(e.detail))"
    )
    one.start()
    # Two seconds on a quiet machine with two cores; a busy one gets more time.
    assert float(page.locator("[data-live=start]").get_attribute("data-first")) < 30_000
    assert page.get_by_label("Class", exact=True).input_value() == "3"
    assert page.get_by_label("Spacing of the steps", exact=True).input_value() == "trailing"
    assert (
        page.inner_text(".live-film > div:first-child").strip() == "t = 1000"
    )  # the network is asked at level T first
    for seed in range(10):
        one.set("Seed of the noise", str(seed))
        page.wait_for_function("seed => window.samples?.at(-1)?.seed === seed", arg=seed)
    samples = {sample["seed"]: sample["x"] for sample in page.evaluate("window.samples")}
    images = torch.tensor([samples[seed] for seed in range(10)]).view(10, 1, 8, 8)
    assert (load_classifier("digits").model(images).argmax(1) == 3).sum() >= 9
    for panel in ("compare", "between", "hole", "draw"):
        assert one.done(panel)
    one.set("Network", "fashion-mnist-v")
    page.wait_for_function(
        "document.querySelector('[aria-label=\"Settings of the sampler\"]').textContent.includes('ankle boot')"
    )
    one.done("draw")
    one.done("watch")
    assert "class ankle boot" in page.inner_text("[data-live=watch] .live-status")
    assert one.errors == []
    assert {urlsplit(url).scheme for url in one.asked} <= {"file", "blob"}


def test_a_run_that_was_overtaken_stops(visit):
    one = visit()
    one.start()
    one.set("Steps S", "100")
    for seed in (11, 12, 13):
        one.set("Seed of the noise", str(seed))
    said = one.done("watch")
    assert said.endswith("class 3, seed 13.") and said.startswith("100 steps")
    place = one.page.get_by_label("Step", exact=True)
    assert place.get_attribute("max") == "100" and place.input_value() == "100"
    assert place.get_attribute("aria-valuetext") == "100 of 100, t = 0"
    one.set("Step", "0")
    assert place.get_attribute("aria-valuetext") == "0 of 100, t = 1000"


def test_by_keyboard_alone(visit):
    one = visit()
    page = one.page
    page.evaluate("history.replaceState(null, '', '#model=digits')")
    page.get_by_role("button", name="Start the sampler").focus()
    page.keyboard.press("Enter")
    one.done("watch")
    reached = []
    for _ in range(60):  # from the first setting, where the focus went; formulas and links of the text are on the way
        reached += page.evaluate(
            "(e => e.closest('[data-live]') ? [e.ariaLabel ?? e.labels?.[0]?.textContent ?? e.textContent] : [])"
            "(document.activeElement)"
        )
        page.keyboard.press("Tab")
    wanted = ["Class", "Steps S", "Noise η", "Seed of the noise", "New seed"]
    wanted += ["More: other pictures, spacing, guidance, length", "Step", "▶ Run again", "↓ Save strip", "Copy link"]
    wanted += ["▶ Draw ten digits", "Place on the way", "Along", "Second seed"]
    assert reached[: len(wanted)] == wanted
    assert reached[len(wanted)].startswith("Picture to paint a hole in")
    assert reached[len(wanted) + 3].startswith("Drawing board")
    assert "Steps up, and down" in reached[len(wanted) + 4 :]

    page.get_by_label("Steps S", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert one.done("watch").startswith("21 steps")
    one.done("draw")
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    one.done("draw")
    panel = page.locator("[data-live=draw]")
    cleared = panel.get_attribute("data-turn")
    page.locator("[data-live=draw] .live-board").focus()
    for key in ("ArrowUp", "Space", "ArrowUp", "Space", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.inner_text("[data-live=draw] .live-spoken") == "row 3, column 4"
    # What the panel says may be the same again, to the digits that it shows; that it ran again is what is asked here.
    page.wait_for_function(
        "before => (({ state, turn }) => state === 'done' && turn !== before)"
        "(document.querySelector('[data-live=draw]').dataset)",
        arg=cleared,
    )


def test_on_a_phone_everything_fits_and_has_a_name(visit):
    one = visit(viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    page = one.page
    one.start()
    page.locator(".live-more summary").click()
    for panel in ("compare", "between", "hole", "draw"):
        one.done(panel)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    small = page.evaluate(
        """() => [...document.querySelectorAll('[data-live] :is(button, select, input)')]
            .filter(e => e.getBoundingClientRect().height < 44 || e.getBoundingClientRect().width < 44)
            .map(e => e.labels?.[0]?.textContent ?? e.textContent)"""
    )
    assert small == []
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('[data-live] :is(button, select, input, canvas)')]
            .filter(e => !(e.labels?.[0]?.textContent || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert nameless == []
    board = page.locator("[data-live=draw] .live-board")
    board.scroll_into_view_if_needed()
    before = one.done("draw")
    board.evaluate("e => e.scrollIntoView({ block: 'end' })")  # the settings lie over the upper part of the window
    box = board.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.9)
    one.done("draw", before)


def test_at_the_end_the_samples_stand_alone_and_the_slider_brings_the_rest_back(visit):
    one = visit()
    page = one.page
    one.start("model=digits&S=6&seed=4")
    four = page.locator("[data-live=watch] .live-four")
    figures, hint = four.locator("figure"), four.locator(".live-end")
    assert [figures.nth(k).is_visible() for k in range(4)] == [True, True, False, False]
    assert figures.nth(0).inner_text() == "DDIM: the sample" and figures.nth(1).inner_text() == "DDPM: the sample"
    assert hint.is_visible() and "Drag the slider back" in hint.inner_text()
    pixels = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    ends = [torch.tensor(figures.nth(k).locator("canvas").evaluate(pixels)) for k in range(4)]
    off = [(ends[i] - ends[j]).abs().max() for i, j in ((0, 2), (1, 3), (0, 1))]
    assert max(off[:2]) <= 1 < off[2]  # which is why; a rounding may fall to either side
    height = four.bounding_box()["height"]
    one.set("Step", "5")
    assert not hint.is_visible() and all(figures.nth(k).is_visible() for k in range(4))
    assert figures.nth(2).inner_text() == "DDIM: predicted x0" and four.bounding_box()["height"] == height


def test_on_a_phone_the_slider_stands_between_the_pictures_and_nothing_moves_under_it(visit):
    one = visit(**PHONE)
    one.start("model=digits&S=6&seed=4")
    four = one.page.locator("[data-live=watch] .live-four")
    four.evaluate("e => e.scrollIntoView()")
    figures, hint, slider = four.locator("figure"), four.locator(".live-end"), four.get_by_label("Step", exact=True)
    assert slider.evaluate(SEEN) and hint.evaluate(SEEN)
    assert hint.inner_text() == "Drag the slider back to see every step." and hint.bounding_box()["height"] < 30

    def tops() -> list[float]:
        rest = [
            slider,
            one.page.get_by_role("button", name="Run again"),
            one.page.locator("[data-live=watch] .live-film"),
        ]
        return [e.bounding_box()["y"] for e in (*figures.all(), *rest)]

    ended = tops()
    assert ended[0] == ended[1] < ended[4] < ended[2] == ended[3] < ended[5]
    assert all(figures.nth(k).is_visible() for k in range(4))
    one.set("Step", "3")
    assert not hint.is_visible() and tops() == ended


def test_the_ring_of_the_focus_is_clear_of_the_labels_and_no_address_moves_the_focus(visit):
    one = visit(**PHONE | {"reduced_motion": "no-preference"})
    page = one.page
    one.start()  # by a press: the focus goes to the first setting
    assert page.evaluate("document.activeElement.labels[0].textContent") == "Class"
    for name in ("Class", "Steps S", "Noise η", "Seed of the noise"):
        page.keyboard.press("Shift")  # whoever uses keys sees the ring
        control = page.get_by_label(name, exact=True)
        control.focus()
        width, offset = control.evaluate(
            "e => [getComputedStyle(e).outlineWidth, getComputedStyle(e).outlineOffset].map(parseFloat)"
        )
        label = control.evaluate("e => e.labels[0].getBoundingClientRect().bottom")
        assert width == 3 and control.bounding_box()["y"] - width - offset >= label
    other = visit()
    other.page.goto(other.address + "#model=digits&run=1")
    other.page.reload()
    other.done("watch")
    assert other.page.evaluate("document.activeElement === document.body")


def test_who_is_seen_to_be_here_finds_the_network_warm_and_its_numbers_the_same(visit):
    watched = "document.querySelector('[data-live=watch]').addEventListener('sampled', e => (window.sample = e.detail))"
    found = []
    for ahead in (True, False):
        one = visit()
        page = one.page
        assert not any("/live/runtime.js" in url for url in one.asked)  # nobody is here yet
        page.evaluate(watched)
        page.evaluate("history.replaceState(null, '', '#model=digits&S=20')")
        if ahead:
            page.mouse.move(300, 300)
            page.wait_for_function("Number(document.querySelector('[data-live=start]').dataset.warm) >= 12")
        page.evaluate("document.querySelector('.live-start').click()")  # without a pointer that would be seen
        one.done("watch")
        assert (page.locator("[data-live=start]").get_attribute("data-warm") is not None) == ahead
        found.append(page.evaluate("window.sample"))
    assert found[0] == found[1] and len(found[0]["x"]) == 64


def test_a_press_ends_the_warming(visit):
    one = visit()
    one.page.evaluate("history.replaceState(null, '', '#model=faces&S=1')")
    one.page.mouse.move(300, 300)
    start = one.page.locator("[data-live=start]")
    assert start.get_attribute("data-warm") == "0"
    one.page.click("text=Start the sampler")
    one.done("watch")
    assert int(start.get_attribute("data-warm")) <= 1  # at most the call that was under way


def test_who_asks_for_little_data_is_sent_nothing_ahead(browser, address):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
    page = context.new_page()
    page.goto(address)
    page.mouse.move(300, 300)
    page.get_by_role("button", name="Start the sampler").focus()
    assert page.locator("[data-live=start]").get_attribute("data-warm") is None
    context.close()


def test_the_next_round_is_asked_for_before_this_one_is_looked_at(page):
    """So that the workers have something to do while the page draws; and none is asked for once a run is overtaken."""
    calls = page.evaluate(
        """async () => {
        const alphaBar = [1, 0.9, 0.5, 0.1], jobs = [{ xT: new Float32Array(4).fill(1), tau: [0, 1, 2, 3] }], seen = [];
        let asked = 0, wanted = true;
        const eps = async (xs) => (asked++, xs.map((x) => x.map((v) => v / 2)));
        for await (const _ of DDIM.together(eps, jobs, alphaBar, () => wanted)) {
            seen.push(asked);
            wanted = seen.length < 2;
        }
        return [seen, asked];
    }"""
    )
    assert calls == [[2, 3, 3], 3]
    ended = page.evaluate(
        """async () => {
        let asked = 0, wanted = false;
        const eps = async (xs) => (asked++, xs), jobs = [{ xT: new Float32Array(4), tau: [0, 1, 2, 3] }];
        for await (const _ of DDIM.together(eps, jobs, [1, 0.9, 0.5, 0.1], () => wanted)) break;
        return asked;
    }"""
    )
    assert ended == 1


def test_without_scripts_and_on_paper_there_is_a_picture_and_a_sentence(visit):
    one = visit(java_script_enabled=False)
    assert one.page.locator("figure.live-static img").is_visible()
    assert one.page.get_by_text("With scripts switched off").is_visible()
    assert not one.page.get_by_text("Start the sampler").is_visible()
    other = visit()
    other.start()
    assert not other.page.locator("figure.live-static").is_visible()
    other.page.emulate_media(media="print")
    assert other.page.locator("figure.live-static img").is_visible()
    assert not other.page.get_by_label("Class", exact=True).is_visible()


def test_a_missing_file_is_named(visit, address, tmp_path):
    site = Path(unquote(urlsplit(address).path)).parent
    (tmp_path / "live").mkdir()
    for name in ("live.html", *(f"live/{name}" for name in live_page.OWN)):
        shutil.copyfile(site / name, tmp_path / name)
    one = visit()
    one.page.goto((tmp_path / "live.html").as_uri())
    one.page.click("text=Start the sampler")
    one.page.wait_for_selector("text=is missing beside this page")
    assert one.page.get_by_role("button", name="Start the sampler").is_enabled()


# ---------------------------------------------------------------- together, the address, what one does by hand


def test_paths_that_walk_together_are_the_paths_alone(page):
    """Of different lengths, with and without chance, one with a hole: the same numbers, in the longest one's calls."""
    off = page.evaluate(
        """async () => {
        const net = await LiveNetwork.load("digits"), xT = DDIM.normals(4)(net.size);
        const noise = () => { const draw = DDIM.normals(9); return () => draw(net.size); };
        const hole = (x0) => x0.map((v, i) => (i < 20 ? 0.5 : v));
        const jobs = [[1, 0], [5, 1], [9, 0.5], [3, 0]].map(([S, eta]) =>
            ({ xT, tau: DDIM.makeTau(990, S), eta, noise: noise(), edit: S === 9 ? hole : null }));
        let calls = 0, last;
        const eps = DDIM.guidedAll((...job) => (calls++, net.eps(...job)), 3, net.any, 2);
        for await (last of DDIM.together(eps, jobs, net.alphaBar));
        const alone = DDIM.guided(net.eps, 3, net.any, 2), worst = [];
        for (const [k, job] of jobs.entries()) {
            const end = await DDIM.endOf(DDIM.path(alone, xT, net.alphaBar, job.tau, { ...job, noise: noise() }));
            worst.push(Math.max(...end.map((v, i) => Math.abs(v - last[k].xs[i]))));
        }
        return [calls, ...worst];
    }"""
    )
    assert off[0] == 9 and max(off[1:]) < 1e-4


def test_the_address_holds_the_settings_and_back_works(visit):
    one = visit()
    page = one.page
    page.evaluate(
        "document.querySelector('[data-live=watch]')"
        ".addEventListener('sampled', e => (window.samples ??= []).push(e.detail))"
    )
    one.start("model=digits&class=7&S=12&eta=0.5&seed=41&length=90")
    values = {"Class": "7", "Steps S": "12", "Noise η": "0.5", "Seed of the noise": "41", "Length of x_T": "90"}
    for name, value in values.items():
        assert page.get_by_label(name, exact=True).input_value() == value
    page.get_by_label("Seed of the noise", exact=True).fill("42")
    page.get_by_label("Seed of the noise", exact=True).press("Tab")
    page.wait_for_function("location.hash.includes('seed=42') && window.samples.at(-1).seed === 42")
    page.get_by_role("button", name="Save strip").scroll_into_view_if_needed()
    one.done("watch")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save strip").click()
    assert waiting.value.suggested_filename == "ddim-digits-seed42-S12.png"
    link = page.evaluate("location.href")
    page.go_back()
    page.wait_for_function("window.samples.at(-1).seed === 41 && location.hash.includes('seed=41')")
    other = visit()
    other.page.goto(link)
    other.page.reload()
    other.page.evaluate(
        "document.querySelector('[data-live=watch]').addEventListener('sampled', e => (window.samples = [e.detail]))"
    )
    other.page.click("text=Start the sampler")
    other.done("watch")
    other.page.wait_for_function("window.samples")
    first = [sample for sample in page.evaluate("window.samples") if sample["seed"] == 42][-1]
    assert other.page.evaluate("window.samples[0].x") == first["x"]


def test_buttons_of_the_text_set_what_it_speaks_of(visit):
    one = visit()
    one.start()
    before = one.done("watch")
    known = one.page.get_by_label("Network", exact=True).evaluate("e => [...e.options].map(o => o.value)")
    wanted = one.page.locator("button[data-set^='model=']").evaluate_all("all => all.map(e => e.dataset.set.slice(6))")
    assert len(wanted) == 3 and set(wanted) <= set(known)
    one.page.locator("button[data-set='length=70']").click()
    one.page.wait_for_function("location.hash.includes('length=70')")
    assert one.page.get_by_label("Length of x_T", exact=True).input_value() == "70"
    one.page.locator("button[data-set^='S=1&spacing=leading']").click()
    assert one.done("watch", before).startswith("1 step of each")
    assert one.page.get_by_label("Spacing of the steps", exact=True).input_value() == "leading"


def test_every_button_of_the_text_sets_what_it_says_and_no_more(visit):
    """A model has classes of its own, so that a class comes with it. More says what is set in it, and stays shut."""
    one = visit()
    one.start("model=digits&class=3&S=7&seed=9&eta=0.5&spacing=linspace&scale=2&length=110")
    page, said = one.page, "[...new URLSearchParams(location.hash.slice(1))]"
    assert page.inner_text(".live-more summary") == "More: spacing linspace, guidance 2, length 110 %"
    buttons = page.locator("button[data-set]").all()
    assert len(buttons) > 15
    for button in buttons:
        wanted = dict(pair.split("=") for pair in button.get_attribute("data-set").split("&"))
        before = dict(page.evaluate(said))
        button.evaluate("e => e.click()")
        page.wait_for_function(
            "text => document.querySelector(`button[data-set='${text}']`).ariaPressed === 'true'",
            arg=button.get_attribute("data-set"),
        )
        page.wait_for_function(
            "wanted => Object.entries(wanted).every(([k, v]) => location.hash.includes(`${k}=${v}`))", arg=wanted
        )
        changed = {key for key, value in page.evaluate(said) if before[key] != value}
        assert changed <= set(wanted) | ({"class"} if "model" in wanted else set()), button.inner_text()
    assert page.locator(".live-more").get_attribute("open") is None
    assert page.inner_text(".live-more summary") == "More: length 120 %"


def test_more_closes_when_one_reads_on_and_nothing_moves(visit):
    one = visit(viewport={"width": 1366, "height": 768})
    one.start()
    page = one.page
    page.locator(".live-more summary").click()
    assert page.get_by_label("Network", exact=True).is_visible()
    page.evaluate("location.hash = '#between-two-noises'")
    page.wait_for_function("!document.querySelector('.live-more').open")
    page.wait_for_function(f"({SEEN})(document.querySelector('#between-two-noises h2'))")
    assert page.locator("[data-live=start]").evaluate("e => e.getBoundingClientRect().bottom") < 200
    page.locator(".live-more summary").click()  # whoever opens it here wants it here
    assert page.get_by_label("Network", exact=True).is_visible()
    selected = page.get_by_label("Network", exact=True)
    assert max(map(len, selected.locator("option").all_inner_texts())) <= 16  # and none is cut


# Whether an element is whole in the window, and nothing lies over its middle or its corners.
SEEN = """e => { const { left, top, right, bottom } = e.getBoundingClientRect();
    const points = [[left + 4, top + 4], [(left + right) / 2, (top + bottom) / 2], [right - 4, bottom - 4]];
    return top >= 0 && bottom <= innerHeight
        && points.every(([x, y]) => e.contains(document.elementFromPoint(x, y))); }"""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}


def test_on_a_phone_what_a_button_of_the_text_does_is_seen_where_it_was_pressed(visit):
    one = visit(**PHONE)
    page = one.page
    one.start()
    page.locator(".live-more summary").tap()
    assert page.locator(".live-more").get_attribute("open") is not None
    button = page.locator("button[data-set='length=70']")
    button.evaluate("e => e.scrollIntoView({ block: 'end' })")  # what comes below it is out of sight
    button.tap()
    mirror = page.locator("p:has(button[data-set='length=70']) + .live-mirror")
    mirror.wait_for()
    page.wait_for_function(
        """() => { const boxes = ['[data-live=watch]', '.live-mirror'].map(box => document.querySelector(box));
        const [from, to] = boxes.map(box => box.querySelector('canvas').toDataURL());
        return boxes[0].dataset.state === 'done' && from === to; }"""
    )
    assert page.locator(".live-more").get_attribute("open") is None  # it would lie over what is asked for
    assert page.get_by_label("Length of x_T", exact=True).input_value() == "70"
    assert all(canvas.evaluate(SEEN) for canvas in mirror.locator("canvas").all())
    assert button.evaluate("e => e === document.activeElement || document.activeElement === document.body")
    assert button.get_attribute("aria-pressed") == "true" and "20 steps of each" in mirror.inner_text()
    before, place = mirror.locator("canvas").first.evaluate("e => e.toDataURL()"), page.evaluate("scrollY")
    page.locator("button[data-set='length=120']").tap()
    page.wait_for_function("before => document.querySelector('.live-mirror canvas').toDataURL() !== before", arg=before)
    assert abs(page.evaluate("scrollY") - place) <= 1  # heights are no whole pixels
    assert button.get_attribute("aria-pressed") == "false"
    page.locator("button[data-set='eta=1']").evaluate("e => e.scrollIntoView({ block: 'end' })")
    page.locator("button[data-set='eta=1']").tap()
    page.wait_for_function(
        "document.querySelector('[data-live=compare]').dataset.state === 'done' && location.hash.includes('eta=1')"
    )
    assert page.locator("[data-live=compare] .live-film").evaluate(SEEN)
    mirror.get_by_role("button", name="The steps").tap()
    assert page.locator("[data-live=watch] .live-pictures").evaluate(SEEN)


def test_a_heading_that_one_is_led_to_is_not_under_the_settings(visit):
    one = visit(**PHONE)
    one.start()
    one.page.evaluate("location.hash = '#between-two-noises'")
    heading = one.page.locator("#between-two-noises h2")
    one.page.wait_for_function("scrollY > 500")
    assert heading.evaluate(SEEN)
    assert (
        one.page.get_by_label("Network", exact=True).input_value() == "digits"
    )  # the address of a heading sets nothing
    one.page.set_viewport_size({"width": 844, "height": 390})  # on its side there is no room for a bar
    assert one.page.locator("[data-live=start]").evaluate("e => getComputedStyle(e).position") == "static"


def test_an_address_that_was_sent_earlier_shows_clothes(visit):
    one = visit()
    one.start("model=fashion-mnist&class=5&S=3")
    assert one.page.get_by_label("Network", exact=True).input_value() == "fashion-mnist-v"
    assert "class sandal" in one.page.inner_text("[data-live=watch] .live-status") and "fashion-mnist-v" in one.page.url


def test_what_is_known_stays_and_a_hole_is_filled(visit):
    one = visit()
    page = one.page
    page.evaluate(
        "document.querySelector('[data-live=hole]').addEventListener('filled', e => (window.filled = e.detail))"
    )
    one.start()
    said = one.done("hole")
    assert "a smudge may stay" in page.locator("section:has(> [data-live=hole])").inner_text()
    found = {name: torch.tensor(value) for name, value in page.evaluate("window.filled").items()}
    known = found["mask"] == 0
    assert 0 < known.sum() < 64
    for x in found["filled"]:
        assert torch.equal(x[known], found["whole"][known]) and not torch.equal(x, found["whole"])
    page.locator("[data-live=hole] .live-board").focus()
    page.keyboard.press("Delete")  # the pen stands in the hole
    page.wait_for_function("open => window.filled.mask.reduce((a, b) => a + b) === open - 1", arg=int((~known).sum()))
    one.done("hole", said)
    page.get_by_role("button", name="Eraser").first.click()
    assert page.get_by_role("button", name="Eraser").first.get_attribute("aria-pressed") == "true"


def test_one_press_shows_one_call_and_twenty_from_one_noise(visit):
    """The student's call and the teacher's walk, as ddim_edu makes them from the noise that the page drew."""
    one = visit()
    page = one.page
    one.start()
    panel = page.locator("[data-live=once]")
    panel.evaluate("box => box.addEventListener('drawn', e => (window.drawn = e.detail))")
    page.get_by_role("button", name="Draw ten digits").click()
    said = one.done("once")
    assert said.startswith("Ten digits by one call in ") and "by 20 calls in " in said and said.endswith("noise 1.")
    found = page.evaluate("window.drawn")
    x_T, labels = torch.tensor(found["starts"]).view(10, 1, 8, 8), torch.arange(10)
    student, teacher = load("digits-distill"), load("digits-v")
    ways = {"student": (student, 1, 1e-2), "teacher": (teacher, 20, 1e-2), "blurred": (teacher, 1, 1e-2)}
    for name, (model, S, tolerance) in ways.items():
        tau = make_tau(1000, S)
        ours = decode(model.eps_theta(labels), x_T, model.schedule, tau, clip=1.0)
        assert (torch.tensor(found[name]).view_as(ours) - ours).abs().max() < tolerance, name
    names = [canvas.get_attribute("aria-label") for canvas in panel.locator("canvas").all()]
    assert len(names) == 30 and names[3] == "student, 1 call: a 3" and names[13] == "teacher, 20 calls: a 3"
    page.get_by_role("button", name="Draw ten digits").click()
    assert one.done("once", said).endswith("noise 2.")
    assert page.evaluate("window.drawn.starts[0]") != found["starts"][0] and one.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1366, "height": 768}, {"width": 390, "height": 844}])
def test_nothing_serious_by_axe_after_a_run(visit, scheme, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    one = visit(viewport=size, color_scheme=scheme)
    one.start()
    for panel in ("compare", "between", "hole", "draw"):
        one.done(panel)
    assert one.errors == []
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = axe.Axe().run(one.page, options=rules).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


# ---------------------------------------------------------------- the export, without a browser


def test_the_exported_file_keeps_the_float16_of_the_checkpoint(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    export_onnx = module(BOOK / "_tools" / "export_onnx.py")
    assert export_onnx.main(["digits", "--out", str(tmp_path)]) == 0
    assert "digits.onnx: 0.6" in capsys.readouterr().out
    graph = onnx.load(tmp_path / "digits.onnx").graph
    assert [value.name for value in graph.input] == ["x", "t", "label"] and [value.name for value in graph.output] == [
        "eps"
    ]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in [*graph.input, *graph.output]} == {"B"}
    halves = sum(math.prod(weight.dims) for weight in graph.initializer if weight.data_type == onnx.TensorProto.FLOAT16)
    assert halves > 0.99 * sum(weight.numel() for weight in load("digits").model.parameters())
    assert export_onnx.main(["cifar10-missing", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_network_scripts_are_made_once(tmp_path):
    pytest.importorskip("onnx")
    text = live_page.network_script(BOOK, "digits", tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text("kept")
    assert live_page.network_script(BOOK, "digits", tmp_path) == "kept"
    made = json.loads(text.partition(" = ")[2].rstrip(";\n"))
    assert torch.tensor(made["alphaBar"], dtype=torch.float64).equal(load("digits").schedule.alpha_bar)
    assert made["side"] == 8 and made["classes"] == list("0123456789")


def test_the_script_of_onnx_runtime_holds_the_packages_files(tmp_path):
    text = live_page.runtime_script(tmp_path)
    made = json.loads(text.partition(" = ")[2].rstrip(";\n"))
    dist = ROOT / "node_modules" / "onnxruntime-web" / "dist"
    assert gzip.decompress(base64.b64decode(made["wasm"])) == (dist / "ort-wasm-simd-threaded.wasm").read_bytes()
    assert (dist / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8").startswith(made["module"])
    assert "sourceMappingURL" not in made["module"] and len(text) < 20e6
