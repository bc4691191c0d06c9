"""The pictures that move: their mathematics against the package, what the text says of them, and how they behave in a
browser.

The numbers need node, the behaviour Playwright and a Chromium; where one of these is missing, its tests are skipped and
say so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ddim_edu.exact import GaussianMixture
from ddim_edu.posterior import ddpm_posterior, q_sigma
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import SPACINGS, NoiseSchedule, make_tau
from ddim_edu.solvers import heun, heun_path

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "book" / "_static"
SCRIPTS = ("explore.js", "explore_math.js")  # in the order of the page: the second is loaded last
MAX_BYTES = 40_000  # every page loads them
CHAPTERS = {
    "forward-1d": "01_forward",
    "bayes": "03_reverse",
    "posterior": "04_non_markov",
    "paths-2d": "05_sigma",
    "spacings": "06_fewer_steps",
    "euler": "07_ode",
}
LINE = {"weights": [0.3, 0.7], "means": [[-1.0], [0.6]], "covs": [0.02, 0.05]}
PLANE = {"weights": [0.5, 0.3, 0.2], "means": [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], "covs": [0.03] * 3}
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def mixture(data: dict, schedule: NoiseSchedule) -> GaussianMixture:
    return GaussianMixture(data["weights"], data["means"], data["covs"], schedule)


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# ---------------------------------------------------------------- the files


def test_the_scripts_are_small_and_load_nothing():
    scripts = [(STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS]
    assert sum(len(script.encode()) for script in scripts) <= MAX_BYTES
    for script in scripts:
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\s*\(|\bimport\b .* from", script)


def containers(text: str) -> dict[str, str]:
    return dict(re.findall(r'<div class="explore" data-explore="([\w-]+)">\n\n(.*?)\n\n</div>', text, flags=re.DOTALL))


def test_every_widget_stands_in_its_chapter_with_words_in_its_place():
    script = (STATIC / "explore.js").read_text(encoding="utf-8")
    known = re.findall(r'^    "([\w-]+)": \{$', script, flags=re.MULTILINE)
    assert sorted(known) == sorted(CHAPTERS)
    found = {}
    for source in sorted((ROOT / "chapters").glob("*.py")):
        text = re.sub(r"^# ?", "", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, words in containers(text).items():
            found[name] = source.stem
            assert len(words.split()) > 10 and "{numref}`fig-" in words, (
                f"{name}: say what is missed and which figure shows it"
            )
        assert text.count("data-explore") == len(containers(text))
    assert found == CHAPTERS


# ---------------------------------------------------------------- the mathematics, in node

ASK = """
const m = require(process.argv[1]), ask = JSON.parse(require("fs").readFileSync(0, "utf8"));
const data = (d) => m.mixture(d.weights, d.means, d.covs), out = {};
const schedules = { linear: m.linear(), cosine: m.cosine(), "linear 50": m.linear(50), "cosine 50": m.cosine(50) };
out.schedules = Object.fromEntries(Object.entries(schedules).map(([name, s]) => [name, { abar: s.abar, nsr: s.nsr }]));
out.spacings = m.SPACINGS;
out.unnamed = m.makeTau(1000, 20);
const grids = (T, spacing) => Array.from({ length: T }, (_, i) => m.makeTau(T, i + 1, spacing));
out.tau = ask.sizes.map((T) => m.SPACINGS.map((spacing) => grids(T, spacing)));
out.eps = ask.eps.map(({ mix, x, abar }) => x.map((p) => m.eps(data(mix), p, abar)));
const line = (v, abar) => [m.density(data(ask.mix), v, abar), m.cdf(data(ask.mix), v, abar)];
out.line = ask.line.map(({ x, abar }) => x.map((v) => line(v, abar)));
out.ndtr = ask.ndtr.map(m.ndtr);
out.back = ask.shares.map((u) => m.invert(m.ndtr, u));
const table = m.inverseTable((x) => m.cdf(data(ask.mix), x, 1));
out.table = ask.shares.map(table);
out.sigma = ask.sigma.map(([t, s, eta]) => m.sigma(schedules.cosine.abar[t], schedules.cosine.abar[s], eta));
out.step = m.ddimStep(ask.step.x, ask.step.e, ask.step.abarT, ask.step.abarS, ask.step.sigma, ask.step.z);
out.walks = ask.walks.map(({ mix, schedule, x, tau, eta, noise }) => x.map((start, i) => {
  const numbers = noise ? noise.flatMap((step) => step[i]) : [];
  return m.ddimPath(data(mix), start, schedules[schedule], tau, eta, () => numbers.shift());
}));
const heun = (mix, schedule, tau) => (start) => m.heunPath(data(mix), start, schedules[schedule], tau);
out.heun = ask.walks.map(({ mix, schedule, x, tau }) => x.map(heun(mix, schedule, tau)));
const draw = m.normals(5), again = m.normals(5);
out.normals = Array.from({ length: 20000 }, () => draw());
out.repeats = Array.from({ length: 5 }, () => again());
console.log(JSON.stringify(out));
"""
SIZES = (1, 2, 7, 10, 1000)
EPS_LEVELS = (1, 50, 400, 900, 1000)


def make_questions() -> dict:
    g = torch.Generator().manual_seed(0)
    cosine, walks = NoiseSchedule.cosine(), []
    for mix, dim in ((LINE, 1), (PLANE, 2)):
        for schedule, spacing, S, eta in (
            ("linear", "leading", 20, 0.0),
            ("cosine", "quadratic", 12, 0.7),
            ("linear", "trailing", 30, 1.0),
        ):
            x = torch.randn(4, dim, generator=g, dtype=torch.float64)
            fresh = torch.Generator().manual_seed(S)
            noise = (
                [torch.randn(4, dim, generator=fresh, dtype=torch.float64).tolist() for _ in range(S - 1)]
                if eta
                else None
            )
            tau = make_tau(1000, S, spacing).tolist()
            walks.append({"mix": mix, "schedule": schedule, "x": x.tolist(), "tau": tau, "eta": eta, "noise": noise})
    points = {
        1: torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None],
        2: 2 * torch.randn(30, 2, generator=g, dtype=torch.float64),
    }
    x, e, z = torch.randn(3, 4, generator=g, dtype=torch.float64).tolist()
    return {
        "sizes": SIZES,
        "mix": LINE,
        "eps": [
            {"mix": mix, "x": points[dim].tolist(), "abar": cosine.alpha_bar[t].item()}
            for mix, dim in ((LINE, 1), (PLANE, 2))
            for t in EPS_LEVELS
        ],
        "line": [{"x": points[1][:, 0].tolist(), "abar": cosine.alpha_bar[t].item()} for t in (0, *EPS_LEVELS)],
        "ndtr": np.linspace(-9, 9, 181).tolist(),
        "shares": np.linspace(0.001, 0.999, 57).tolist(),
        "sigma": [[1000, 900, 1.0], [300, 299, 0.4], [2, 1, 1.0], [50, 0, 1.0]],
        "step": {"x": x, "e": e, "z": z, "abarT": 0.2, "abarS": 0.6, "sigma": 0.3},
        "walks": walks,
    }


@pytest.fixture(scope="module")
def asked() -> dict:
    return make_questions()


@pytest.fixture(scope="module")
def answers(asked) -> dict:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the scripts' mathematics cannot be run")
    run = subprocess.run(
        [node, "-e", ASK, str(STATIC / "explore_math.js")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_schedules(answers):
    for name, numbers in answers["schedules"].items():
        kind, _, T = name.partition(" ")
        ours = getattr(NoiseSchedule, kind)(int(T or 1000))
        np.testing.assert_allclose(numbers["abar"], ours.alpha_bar, **CLOSE)
        np.testing.assert_allclose(numbers["nsr"], ours.nsr, rtol=1e-9, atol=1e-7)  # 1 - abar cancels near the data


def test_tau_for_every_spacing_and_every_number_of_steps(answers):
    assert tuple(answers["spacings"]) == SPACINGS and answers["unnamed"] == make_tau(1000, 20).tolist()
    for T, rows in zip(SIZES, answers["tau"], strict=True):
        for spacing, row in zip(SPACINGS, rows, strict=True):
            for S, tau in enumerate(row, 1):
                assert tau == make_tau(T, S, spacing).tolist(), (T, S, spacing)


def test_the_exact_predictor(asked, answers):
    for question, answer in zip(asked["eps"], answers["eps"], strict=True):
        ours = mixture(question["mix"], NoiseSchedule.cosine()).eps_at(f64(question["x"]), question["abar"])
        np.testing.assert_allclose(answer, ours, **CLOSE)


def cdf(mix: GaussianMixture, x: torch.Tensor, abar: float) -> torch.Tensor:
    std = (abar * mix.covs[:, 0, 0] + 1 - abar).sqrt()
    return torch.special.ndtr((x[:, None] - abar**0.5 * mix.means[:, 0]) / std) @ mix.weights


def test_density_and_distribution_function(asked, answers):
    cosine = NoiseSchedule.cosine()
    mix = mixture(LINE, cosine)
    for t, question, answer in zip((0, *EPS_LEVELS), asked["line"], answers["line"], strict=True):
        x, answer = f64(question["x"]), np.array(answer)
        np.testing.assert_allclose(answer[:, 0], mix.log_prob(x[:, None], t).exp(), **CLOSE)
        np.testing.assert_allclose(answer[:, 1], cdf(mix, x, question["abar"]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(answers["ndtr"], torch.special.ndtr(f64(asked["ndtr"])), rtol=0, atol=1e-14)


def test_inverses(asked, answers):
    shares = f64(asked["shares"])
    np.testing.assert_allclose(answers["back"], torch.special.ndtri(shares), rtol=0, atol=1e-9)
    x = f64(answers["table"])
    near = (cdf(mixture(LINE, NoiseSchedule.linear()), x, 1.0) - shares).abs()
    assert near.max() < 1e-5


def test_sigma_and_one_step(asked, answers):
    cosine = NoiseSchedule.cosine()
    ours = [cosine.sigma(t, s, eta).item() for t, s, eta in asked["sigma"]]
    np.testing.assert_allclose(answers["sigma"], ours, **CLOSE)
    step = {name: f64(value) for name, value in asked["step"].items()}
    x0_hat = (step["x"] - (1 - step["abarT"]).sqrt() * step["e"]) / step["abarT"].sqrt()
    drawn = q_sigma(step["x"], x0_hat, step["abarT"], step["abarS"], step["sigma"])
    np.testing.assert_allclose(answers["step"], drawn.mean + drawn.std * step["z"], **CLOSE)


def test_whole_trajectories(asked, answers):
    for question, walked, by_heun in zip(asked["walks"], answers["walks"], answers["heun"], strict=True):
        schedule = getattr(NoiseSchedule, question["schedule"])()
        mix, x, tau = mixture(question["mix"], schedule), f64(question["x"]), question["tau"]
        S = len(tau) - 1
        path = ddim_path(mix.eps, x, schedule, tau, eta=question["eta"], generator=torch.Generator().manual_seed(S))
        ours = torch.stack([x] + [step.x_s for step in path], 1)
        np.testing.assert_allclose(walked, ours, **CLOSE)
        ours = torch.stack([x] + [step.x_s for step in heun_path(mix.eps, x, schedule, tau)], 1)
        np.testing.assert_allclose(by_heun, ours, **CLOSE)


def test_the_noise_is_normal_and_repeats(answers):
    x = np.array(answers["normals"])
    assert answers["repeats"] == answers["normals"][:5]
    n = len(x)
    assert abs(x.mean()) < 4 / n**0.5 and abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((np.abs(x) < 1).mean() - 0.6827) < 4 * (0.6827 * 0.3173 / n) ** 0.5
    assert abs((x[1:] * x[:-1]).mean()) < 4 / n**0.5


# ---------------------------------------------------------------- what the text beside a widget says


def test_the_peaks_merge_at_two_levels_and_at_one_alpha_bar():
    merged = {}
    for name in ("linear", "cosine"):
        schedule = getattr(NoiseSchedule, name)()
        mix = GaussianMixture([0.35, 0.65], [[-1.2], [0.65]], [0.02, 0.05], schedule)
        x = torch.linspace(-3, 3, 2001, dtype=torch.float64)[:, None]
        for t in range(100, 600):
            p = mix.log_prob(x, t)
            if int(((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])).sum()) == 1:
                merged[name] = t, schedule.alpha_bar[t].item()
                break
    assert merged["cosine"][0] - merged["linear"][0] > 150
    assert abs(merged["cosine"][1] - merged["linear"][1]) < 0.005


def test_ddpm_wanders_and_few_steps_end_too_close_to_the_centres():
    schedule, tau = NoiseSchedule.linear(), make_tau(1000, 50, "trailing")
    plane, g = mixture(PLANE, schedule), torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=g, dtype=torch.float64)
    detour = {}
    for eta in (0.0, 1.0):
        path = torch.stack([x] + [step.x_s for step in ddim_path(plane.eps, x, schedule, tau, eta=eta, generator=g)])
        detour[eta] = (path.diff(dim=0).norm(dim=2).sum(0) / (path[-1] - path[0]).norm(dim=1)).median().item()
    assert detour[0.0] < 1.5 and detour[1.0] > 10
    for eta in (0.0, 1.0):
        away = []
        for S in (10, 30, 100):
            *_, last = ddim_path(plane.eps, x, schedule, make_tau(1000, S, "trailing"), eta=eta, generator=g)
            away.append(torch.cdist(last.x_s, plane.means).amin(1).median().item())
        assert away[0] < away[1] < away[2] < 0.2039  # the data: sqrt(2 ln 2 * 0.03), the median of the radius


def test_expensive_steps_stay_on_the_clock_and_move_in_t():
    """Half of what the steps cost, each taken alone, lies below a level: another one for each schedule, at nearly the
    same nu.
    """
    fine, share, half = (
        torch.linspace(-6, 6, 4001, dtype=torch.float64),
        (torch.arange(40, dtype=torch.float64) + 0.5) / 40,
        {},
    )
    for schedule in (NoiseSchedule.linear(), NoiseSchedule.cosine()):
        mix, abar = mixture(LINE, schedule), schedule.alpha_bar
        for spacing in ("trailing", "quadratic"):
            tau, costs = make_tau(1000, 20, spacing).tolist(), []
            for s, t in pairwise(tau):
                x = torch.from_numpy(np.interp(share, cdf(mix, fine, abar[t].item()), fine))[:, None]
                lands = cdf(mix, ddim_step(x, mix.eps(x, t), abar[t], abar[s])[:, 0], abar[s].item())
                at_data = cdf(mix, fine, 1.0)
                costs.append(np.abs(np.interp(lands, at_data, fine) - np.interp(share, at_data, fine)).mean())
            below = np.cumsum([0, *costs]) / np.sum(costs)
            half.setdefault(spacing, []).append((np.interp(0.5, below, tau), np.interp(0.5, below, schedule.nsr[tau])))
    for linear, cosine in half.values():
        assert cosine[0] > 1.8 * linear[0] and abs(cosine[1] / linear[1] - 1) < 0.25


def test_heun_divides_by_four_only_where_its_last_step_is_short():
    schedule = NoiseSchedule.linear()
    mix = mixture(LINE, schedule)
    x = torch.special.ndtri((torch.arange(41, dtype=torch.float64) + 0.5) / 41)[:, None]
    fine = heun(mix.eps, x, schedule, make_tau(1000, 1000))
    factors, last = {}, {}
    for spacing in ("trailing", "quadratic-full"):
        taus = [make_tau(1000, S, spacing) for S in (32, 64)]
        coarse, twice = ((heun(mix.eps, x, schedule, tau) - fine).abs().mean() for tau in taus)
        factors[spacing], last[spacing] = coarse / twice, schedule.nsr[taus[1][1]]
    assert factors["trailing"] < 3.3 < 3.9 < factors["quadratic-full"]
    assert last["trailing"] > 4 * last["quadratic-full"]


# ---------------------------------------------------------------- in a browser

TIMEOUT = 120_000  # ms: the machine may be busy
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>widgets</title>
<meta name="viewport" content="width=device-width"><style>body {{ margin: 16px }}</style>
<link rel="stylesheet" href="{static}/book.css">{scripts}</head>
<body><main class="bd-article">{boxes}</main></body></html>"""


@pytest.fixture
def show(browser, tmp_path):
    """Open a page with the given widgets; any message in the console, or any request but for files, fails the test."""
    faults, pages = [], []

    def open_page(*names, width=1000, **settings):
        boxes = "".join(f'<div class="explore" data-explore="{name}"><p>Words for {name}.</p></div>' for name in names)
        scripts = "".join(f'<script src="{(STATIC / name).as_uri()}"></script>' for name in SCRIPTS)
        path = tmp_path / "page.html"
        path.write_text(PAGE.format(static=STATIC.as_uri(), scripts=scripts, boxes=boxes), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, **settings)
        page.set_default_timeout(TIMEOUT)
        pages.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or faults.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not faults


def words(page) -> str:
    """The text, once the page has drawn all that it was asked for: a slow machine draws a frame later."""
    page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return page.locator(".explore-text").inner_text()


def changed(page, before: str) -> str:
    """The text, once it is another."""
    page.wait_for_function("before => document.querySelector('.explore-text').innerText !== before", arg=before)
    return words(page)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_widget_answers_to_mouse_and_keyboard(show, name):
    page = show(name)
    assert not page.get_by_text(f"Words for {name}.").is_visible()
    assert (
        page.locator(".explore-picture").get_attribute("role") == "img"
        and page.locator(".explore-picture path").count() > 5
    )
    assert "nan" not in page.locator(".explore-picture").inner_html().lower()
    assert "NaN" not in words(page) and "undefined" not in words(page)
    for slider in page.locator("input[type=range]").all():
        label = page.locator(f"label[for='{slider.get_attribute('id')}']").inner_text()
        assert label.strip() and slider.evaluate("s => s.labels.length") == 1
        box = slider.bounding_box()
        before = words(page)
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
        before = changed(page, before)
        told = slider.get_attribute("aria-valuetext")
        slider.focus()
        page.keyboard.press("Home")
        changed(page, before)
        assert slider.get_attribute("aria-valuetext") not in (told, None)
        assert slider.locator("xpath=following-sibling::span").inner_text() == slider.get_attribute("aria-valuetext")
        assert "nan" not in page.locator(".explore-picture").inner_html().lower()
        page.mouse.click(
            box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2
        )  # at an end the others may not matter
    for choice in page.locator("select").all():
        before = words(page)
        choice.focus()
        page.keyboard.press("ArrowDown")
        changed(page, before)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_widget_fits_a_phone(show, name):
    page = show(name, width=375, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for field in page.locator("input, select, button").all():
        assert field.bounding_box()["height"] >= 44
    edge = page.locator(".explore").bounding_box()
    for text in page.locator(".explore-picture text").all():
        box = text.bounding_box()
        assert box["x"] >= edge["x"] - 1 and box["x"] + box["width"] <= edge["x"] + edge["width"] + 1, text.inner_html()
    page.set_viewport_size({"width": 1000, "height": 900})
    page.wait_for_function("document.querySelector('.explore-picture').clientWidth > 600")


def test_fresh_noise_matters_only_where_there_is_some(show):
    page = show("paths-2d")
    picture = page.locator(".explore-picture")
    still = picture.inner_html()
    before = words(page)
    page.get_by_role("button", name="New fresh noise").click()
    assert words(page) == before and picture.inner_html() == still
    page.get_by_label("η").press("End")
    before = changed(page, before)
    page.get_by_role("button", name="New fresh noise").press("Enter")
    changed(page, before)
    assert picture.inner_html() != still


def test_the_errors_of_the_spacings_are_the_packages(show):
    """The numbers of chapter 6's table: 200 quantiles of the standard normal, walked down."""
    page = show("spacings")
    printed = dict(re.findall(r"(leading|linspace|trailing|quadratic|quadratic-full) (\d\.\d{4})", words(page)))
    linear = NoiseSchedule.linear()
    mix, share = mixture(LINE, linear), (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    truth = torch.from_numpy(np.interp(share, cdf(mix, x, 1.0), x))
    for spacing in SPACINGS:
        *_, last = ddim_path(mix.eps, torch.special.ndtri(share)[:, None], linear, make_tau(1000, 10, spacing))
        assert abs((last.x_s[:, 0] - truth).abs().mean().item() - float(printed[spacing])) < 6e-5


def test_the_third_bell_is_the_packages_posterior(show):
    page, schedule = show("bayes"), NoiseSchedule.linear()
    for key, s in (("Home", 1), ("End", 199)):
        before = words(page)
        page.get_by_label("level s").press(key)
        text = changed(page, before)
        ours = ddpm_posterior(f64([[-0.2]]), f64([[0.7]]), schedule.alpha_bar[200], schedule.alpha_bar[s])
        std, mean = re.search(r"(\d\.\d\d) together.*Mean (−?\d\.\d\d)", text, flags=re.DOTALL).groups()
        assert abs(float(std) - ours.std) < 0.0051 and abs(float(mean.replace("−", "-")) - ours.mean) < 0.0051


def test_play_moves_the_level_unless_less_motion_is_wanted(show):
    page = show("forward-1d")
    before = words(page)
    page.get_by_role("button", name="Play").click()
    changed(page, before)
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("button", name="Play").is_visible()
    page = show("forward-1d", reduced_motion="reduce")
    assert page.get_by_role("button").count() == 0 and page.locator("input[type=range]").count() == 1


def test_light_and_dark_differ_and_paper_gets_the_words(show):
    page = show(*CHAPTERS)
    colour = "getComputedStyle(document.querySelector('.ex-line.ex-c0')).stroke"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) != light
    page.emulate_media(media="print")
    for name in CHAPTERS:
        assert page.get_by_text(f"Words for {name}.").is_visible()
    assert not page.locator(".explore-live").first.is_visible()


def test_without_scripts_the_words_stay(show):
    page = show("forward-1d", java_script_enabled=False)
    assert page.get_by_text("Words for forward-1d.").is_visible()
    page = show("a-name-that-no-script-knows")
    assert page.get_by_text("Words for a-name-that-no-script-knows.").is_visible()


def test_the_text_is_announced_when_the_slider_rests(show):
    page = show("posterior")
    text = page.locator(".explore-text")
    assert text.get_attribute("aria-live") == "polite" and text.get_attribute("aria-busy") is None
    watch = (
        "new MutationObserver(() => said.push(text.getAttribute('aria-busy')))"
        ".observe(text, {attributeFilter: ['aria-busy']})"
    )
    text.evaluate(f"text => {{ window.said = []; {watch}; }}")
    page.get_by_label("σ (share)").press("End")
    page.wait_for_function("said.includes(null)")
    assert page.evaluate("said") == ["true", None]
