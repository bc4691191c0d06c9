"""The playground in the plane: its numbers, read from a page in a browser, against the package, and how it behaves.

Needs Playwright and a Chromium; without them the tests are skipped and say so.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import predict
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import dpm_solver_2m_path, heun_path

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
PIECES = {
    "forward": "01_forward",
    "reverse": "03_reverse",
    "sigma": "05_sigma",
    "race": "07_ode",
    "continuous": "16_continuous",
}
CLUSTERS = [[-1.1, -0.6, 0.5, 0.17], [1.1, -0.5, 0.3, 0.17], [0.2, 1.1, 0.2, 0.17]]
CLOSE = {"rtol": 0, "atol": 1e-6}
TIMEOUT = 120_000  # ms: the machine may be busy
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>plane</title>
<meta name="viewport" content="width=device-width"><style>body {{ margin: 12px; font: 16px sans-serif }}</style>
<style>{style}</style>{scripts}</head>
<body><main class="bd-article"><h1>Plane</h1>{boxes}</main></body></html>"""


def scripts() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("plane_page", BOOK / "_ext" / "plane_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SCRIPTS


@pytest.fixture
def show(browser, tmp_path):
    """Open a page with a piece; a message in the console, or a request but for files, fails the test."""
    faults, contexts = [], []

    def open_page(name="page", width=1000, address="", height=844, **settings):
        box = f'<div class="plane" data-plane="{name}"><p>Words for {name}.</p></div>'
        files = [BOOK / "_static" / "explore_math.js", *(BOOK / "playground" / script for script in scripts())]
        tags = "".join(f'<script defer src="{path.as_uri()}"></script>' for path in files)
        style = (BOOK / "playground" / "plane.css").read_text(encoding="utf-8")
        path = tmp_path / "page.html"
        path.write_text(PAGE.format(style=style, scripts=tags, boxes=box), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "blob:", "data:")) or faults.append(r.url))
        page.goto(path.as_uri() + address)
        if settings.get("java_script_enabled", True):
            page.evaluate("window.at = document.querySelector('.plane').playground")
            page.wait_for_function("at.runs && !at.dirty")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


# ---------------------------------------------------------------- the numbers


def mixture(schedule: NoiseSchedule, clusters=CLUSTERS) -> GaussianMixture:
    c = torch.tensor(clusters, dtype=torch.float64)
    return GaussianMixture(c[:, 2], c[:, :2], c[:, 3] ** 2, schedule)


def euler(eps_theta, x, schedule, tau):
    """Euler in t, as chapter 7 writes it."""
    rate = -torch.gradient(schedule.alpha_bar.log())[0]
    yield x
    for t, s in zip(tau[1:].flip(0).tolist(), tau[:-1].flip(0).tolist(), strict=True):
        noise = (1 - schedule.alpha_bar[t]).sqrt()
        x = x + 0.5 * (t - s) * rate[t] * (x - predict(eps_theta, x, t) / noise)
        yield x


def walk(eps_theta, x, schedule, tau, eta, noise):
    """The sampler's loop with noise that is given."""
    yield x
    for t, s, z in zip(tau[1:].flip(0).tolist(), tau[:-1].flip(0).tolist(), noise, strict=True):
        abar, sigma = schedule.alpha_bar, schedule.sigma(t, s, eta).item()
        x = ddim_step(x, predict(eps_theta, x, t), abar[t].item(), abar[s].item(), sigma, z)
        yield x


def expected(asked: dict, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    schedule = getattr(NoiseSchedule, asked["schedule"])()
    tau, exact = make_tau(1000, asked["S"], asked["spacing"]), mixture(schedule)
    wrong = {
        "exact": exact.eps,
        "wave": lambda x, t: exact.eps(x, t) + 0.15 * (4 * x).sin(),
        "short": lambda x, t: 0.95 * exact.eps(x, t),
        "equal": mixture(schedule, [[*c[:2], 1, c[3]] for c in CLUSTERS]).eps,
    }
    eps = wrong[asked["predictor"]]
    if asked["solver"] == "euler":
        return torch.stack([*euler(eps, x, schedule, tau)])
    if asked["eta"] > 0:
        return torch.stack([*walk(eps, x, schedule, tau, asked["eta"], noise)])
    path = {"ddim": ddim_path, "heun": heun_path, "2m": dpm_solver_2m_path}[asked["solver"]]
    return torch.stack([x] + [step.x_s for step in path(eps, x, schedule, tau)])


ASKED = [
    {"solver": solver, "S": S, "eta": eta, "spacing": spacing, "schedule": schedule, "predictor": kind, "start": start}
    for solver, S, eta, spacing, schedule, kind, start in (
        ("ddim", 20, 0, "trailing", "linear", "exact", "right"),
        ("ddim", 30, 0.7, "quadratic", "cosine", "exact", "wide"),
        ("ddim", 50, 1, "leading", "linear", "wave", "shifted"),
        ("2m", 12, 0, "trailing", "linear", "exact", "right"),
        ("2m", 15, 0, "quadratic-full", "cosine", "short", "narrow"),
        ("heun", 10, 0, "linspace", "linear", "equal", "right"),
        ("euler", 8, 0, "trailing", "linear", "exact", "right"),
        ("euler", 10, 0, "leading", "cosine", "exact", "right"),
    )
]
RUN = """asked => {
    asked = { ...planeState.DEFAULTS, N: 40, seed: 3, ...asked };
    const run = planeMath.solve(asked), draw = planeMath.freshNoise(3, 40), n = run.states[0].length;
    const noise = Array.from({ length: asked.S }, () => Array.from({ length: n }, draw));
    return { states: run.states, levels: run.levels, noise, gaps: planeMath.gaps(run), mix: run.mix };
}"""


def pairs(values) -> torch.Tensor:
    x = torch.tensor(values, dtype=torch.float64)
    return x.reshape(*x.shape[:-1], -1, 2)


@pytest.mark.parametrize("asked", ASKED, ids=lambda a: f"{a['solver']}-{a['S']}-{a['eta']}-{a['spacing']}")
def test_every_state_is_the_packages(show, asked):
    found = show(reduced_motion="reduce").evaluate(RUN, asked)
    states = pairs(found["states"])
    assert found["levels"] == make_tau(1000, asked["S"], asked["spacing"]).flip(0).tolist()
    ours = expected(asked, states[0], pairs(found["noise"]))
    np.testing.assert_allclose(states, ours, **CLOSE)
    assert (states[0] - states[0, 0]).norm(dim=1)[:8].max() == 0  # the start that is followed, eight times
    assert (states[-1, 1] - states[-1, 0]).norm() > 0 or asked["eta"] == 0


def sliced(exact: GaussianMixture, x: torch.Tensor, abar: float) -> float:
    """Mean over 8 directions of the area between two distribution functions, on the same 301 points, by sorting."""
    grid, total = np.linspace(-6, 6, 301), 0.0
    for turn in range(8):
        u = np.array([math.cos(math.pi * turn / 8), math.sin(math.pi * turn / 8)])
        below = np.searchsorted(np.sort(x.numpy() @ u), grid, side="right") / len(x)
        std = (abar * exact.covs[:, 0, 0] + 1 - abar).sqrt()
        z = (torch.from_numpy(grid)[:, None] - abar**0.5 * (exact.means @ torch.from_numpy(u))) / std
        total += 0.04 * np.abs(below - (torch.special.ndtr(z) @ exact.weights).numpy()).sum()
    return total / 8


def test_the_gap_is_a_distance_between_distribution_functions(show):
    found = show(reduced_motion="reduce").evaluate(RUN, ASKED[0])
    schedule = NoiseSchedule.linear()
    exact = mixture(schedule)
    for level, state, gap in zip(found["levels"], pairs(found["states"]), found["gaps"], strict=True):
        assert abs(sliced(exact, state[8:], schedule.alpha_bar[level].item()) - gap) < 1e-6


def test_the_gap_vanishes_for_true_draws_and_is_the_shift_for_shifted_ones(show):
    page, exact = show(reduced_motion="reduce"), mixture(NoiseSchedule.linear())
    x = exact.sample(50_000, torch.Generator().manual_seed(0))
    ask = "x => planeMath.gap(planeMath.mixture(planeState.DEFAULTS.clusters), x, 1, 0)"
    assert page.evaluate(ask, x.flatten().tolist()) < 0.01
    shift = page.evaluate(ask, (x + torch.tensor([0.3, 0.0])).flatten().tolist())
    mean = np.abs(np.cos(np.pi * np.arange(8) / 8)).mean()
    assert abs(shift - 0.3 * mean) < 0.01


def test_between_levels_a_point_is_where_a_shorter_step_would_end(show):
    page, schedule = show(reduced_motion="reduce"), NoiseSchedule.linear()
    found = page.evaluate(RUN, ASKED[0])
    ask = """level => { const run = planeMath.solve({ ...planeState.DEFAULTS, N: 40, seed: 3, S: 20 });
        const [a, f, b, g] = planeMath.between(run, level); return a.map((v, i) => f * v + g * b[i]); }"""
    x, abar = pairs(found["states"])[6], schedule.alpha_bar
    eps = mixture(schedule).eps(x, 700)
    for level in (699, 683, 651, 650):
        shorter = ddim_step(x, eps, abar[700].item(), abar[level].item())
        np.testing.assert_allclose(pairs(page.evaluate(ask, level)), shorter, **CLOSE)


def test_forwards_each_level_has_its_density(show):
    page = show("forward", reduced_motion="reduce")
    gaps, levels = page.evaluate("[at.runs[0].gaps, at.runs[0].levels]")
    assert levels[0] == 1000 and levels[-1] == 0 and max(gaps) < 0.09  # 400 points, each with its own noise
    assert page.evaluate("at.level") == 1000 and page.evaluate("at.forward")


def test_what_the_page_says_of_its_settings_holds(show):
    page = show(reduced_motion="reduce")
    ask = "o => planeMath.gaps(planeMath.solve({ ...planeState.DEFAULTS, N: 2000, ...o })).at(-1)"

    def gap(**settings):
        return page.evaluate(ask, settings)

    assert gap(S=6, solver="euler") < min(gap(S=6), gap(S=6, solver="2m"), gap(S=6, eta=1))
    narrow = {"S": 20, "spacing": "quadratic-full", "clusters": [[*c[:3], 0.05] for c in CLUSTERS]}
    assert gap(**narrow, solver="2m") < gap(**narrow) < gap(**narrow, solver="euler")
    assert gap(S=100, start="shifted") > 0.35 and gap(S=100, start="shifted", eta=1) < 0.08
    assert gap(S=100, predictor="wave") > 3 * gap(S=100, predictor="wave", eta=0.5)
    assert all(gap(S=100, predictor="equal", eta=eta) > 0.15 for eta in (0, 0.5, 1))


def test_an_address_says_all_and_nonsense_is_left_out(show):
    page = show(reduced_motion="reduce")
    back = page.evaluate(
        """() => { const s = { ...planeState.DEFAULTS, view: "race", S: 8, eta: 0.35, seed: 77, start: "wide",
            followed: [0.5, -1], clusters: [[1, 2, 0.5, 0.2], [-1, 0, 2, 0.1]] };
            return [s, { ...planeState.DEFAULTS, ...planeState.read(planeState.write(s)) }]; }"""
    )
    assert back[0] == back[1]
    nonsense = "#S=7000&eta=2&view=x&solver=__proto__&seed=-1&from=1,b&data=1,2;3&t=1e9&S="
    assert page.evaluate("a => planeState.read(a)", nonsense) == {}
    assert page.evaluate("planeState.read('#data=99,-99,1e9,1e-9').clusters") == [[2.4, -2.4, 5, 0.04]]


# ---------------------------------------------------------------- the page


def test_it_moves_by_itself_and_stands_when_asked(show):
    page = show()
    begun = page.evaluate("at.level")
    page.wait_for_function("begun => at.level < begun - 20", arg=begun)
    page.get_by_role("button", name="Pause").click()
    assert page.evaluate("!at.playing") and page.get_by_role("button", name="Play").is_visible()
    page.get_by_role("slider", name="Time").press("Home")
    page.wait_for_function("at.level === 1000 && document.querySelector('.plane-now').textContent === 'level 1000'")


def test_a_walk_ends_at_its_own_level_however_that_is_rounded(show):
    """L - L * 120 / 120 may be below 0, where there is no state; such levels come up some times in a run."""
    page = show("forward")
    levels = np.random.default_rng(0).uniform(0, 1000, 2000)
    beyond = levels[levels - levels * 120 / 120 < 0]
    assert len(beyond) > 20
    page.evaluate("at.play(false)")
    page.evaluate("levels => { for (at.level of levels) at.draw(); }", beyond.tolist())


def test_it_is_still_where_motion_is_not_wanted(show):
    page = show(reduced_motion="reduce")
    assert page.evaluate("!at.playing && at.level === 0")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("!at.frame && at.level === 0")


def test_a_ring_is_dragged_and_the_address_follows(show):
    page = show(reduced_motion="reduce")
    box = page.get_by_role("button", name="Cluster 1 at").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    scale = page.evaluate("planeDraw.scaleOf(at.plan.places[0])")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.2 * scale, y)
    page.mouse.move(x + 0.5 * scale, y - 0.25 * scale)
    page.mouse.up()
    moved = page.evaluate("at.state.clusters[0]")
    np.testing.assert_allclose(moved, [-0.6, -0.35, 0.5, 0.17], atol=0.02)
    page.wait_for_function("location.hash.includes('data=')")
    page.wait_for_function("at.runs[0].asked.clusters[0][0] === at.state.clusters[0][0] && at.runs[0].asked.N === 2000")
    page.reload()
    page.wait_for_function("document.querySelector('.plane').playground?.runs")
    assert page.evaluate("document.querySelector('.plane').playground.state.clusters[0]") == moved


def test_keys_do_what_hands_do(show):
    page = show(reduced_motion="reduce")
    ring = page.get_by_role("button", name="Cluster 2 at")
    ring.press("ArrowRight")
    ring.press("Shift+ArrowUp")
    assert page.evaluate("at.state.clusters[1].slice(0, 2)") == [1.15, -0.25]
    ring.press("+")
    ring.press(".")
    assert page.evaluate("at.state.clusters[1].slice(2)") == [0.345, 0.187]
    page.get_by_role("slider", name="width").press("Home")
    assert page.evaluate("at.state.clusters[1][3]") == 0.04
    page.get_by_role("button", name="Add a cluster").click()
    assert page.evaluate("at.state.clusters.length") == 4
    page.get_by_role("button", name="Cluster 4 at").press("Delete")
    assert page.evaluate("at.state.clusters.length") == 3
    page.get_by_role("button", name="The start that is followed").press("ArrowLeft")
    assert page.evaluate("at.state.followed") == [1.75, 1.3]


def test_a_finger_taps_twice_for_a_cluster_and_there_is_an_end(show):
    page = show(width=390, has_touch=True, reduced_motion="reduce")
    box = page.locator(".plane canvas").bounding_box()
    for i in range(7):
        page.mouse.dblclick(box["x"] + 40 + 25 * i, box["y"] + box["height"] - 30)
    assert page.evaluate("at.state.clusters.length") == 8
    page.wait_for_function("document.querySelector('[data-act=add]').disabled")


# Of an element's words.
WIDTH = "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect().width }"
INSIDE = (
    "e => (({ top, bottom, height }) => height > 0 && top >= 0 && bottom <= innerHeight)(e.getBoundingClientRect())"
)


@pytest.mark.parametrize("height", [844, 667])
def test_on_a_phone_a_tapped_ring_shows_its_controls_beside_the_plane(show, height):
    page = show(width=390, height=height, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.get_by_role("button", name="Cluster 1 at").tap()
    for part in ("weight", "width"):
        slider = page.locator(".plane-cluster").get_by_role("slider", name=part)
        assert slider.evaluate(INSIDE)
    assert page.locator(".plane-stage").evaluate(INSIDE) and page.locator(".plane-scrub").evaluate(INSIDE)


def test_on_a_laptop_the_plane_its_time_and_its_controls_are_seen_together(show):
    page = show(width=1000, height=620, reduced_motion="reduce")  # what a window of 1366 x 768 leaves below the title
    page.get_by_role("button", name="Cluster 1 at").click()
    for part in (".plane-stage", ".plane-scrub", ".plane-views", ".plane-cluster", ".plane-side > .plane-controls"):
        assert page.locator(part).evaluate(INSIDE), part


@pytest.mark.parametrize("width", [1000, 390])
def test_nothing_in_the_controls_runs_together(show, width):
    page = show(width=width, height=844, reduced_motion="reduce")
    assert page.locator('[data-field="eta"]').text_content().split() == ["noise", "η", "0.00"]
    row = page.locator('[data-field="eta"]')
    label, value = (row.locator(part).bounding_box() for part in ("label", "output"))
    assert value["x"] - (label["x"] + row.locator("label").evaluate(WIDTH)) >= 6
    boxes = [e.bounding_box() for e in page.locator(".plane-side > .plane-controls").locator("select, button").all()]
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            across = max(one["x"] - other["x"] - other["width"], other["x"] - one["x"] - one["width"])
            down = max(one["y"] - other["y"] - other["height"], other["y"] - one["y"] - one["height"])
            assert max(across, down) >= 6


def test_the_race_has_four_lanes_and_names_their_gaps(show):
    page = show(address="#view=race&S=6", reduced_motion="reduce")
    page.wait_for_function("at.runs[0].asked.N === 2000")
    said = page.locator(".plane-text").inner_text()
    gaps = page.evaluate("at.runs.map(run => [run.name, run.gaps.at(-1)])")
    assert [name for name, _ in gaps] == ["Euler in t", "DDIM", "2M", "DDPM"]
    for name, gap in gaps:
        assert f"{name} {gap:.3f}" in said
    assert "6 calls each" in said
    page.evaluate("location.hash = '#S=50&eta=1'")
    page.wait_for_function("at.runs.length === 1 && at.runs[0].asked.S === 50 && at.runs[0].asked.eta === 1")


def test_what_cannot_be_set_in_a_race_looks_so_and_the_charts_title_has_a_ground(show):
    page = show(address="#view=race&S=6", reduced_motion="reduce")
    look = "e => [e.disabled, getComputedStyle(e).opacity]"
    solver, eta = (page.get_by_label(name, exact=True).evaluate(look) for name in ("solver", "noise η"))
    assert solver == eta and solver[0] and float(solver[1]) < 0.5
    assert page.get_by_label("start", exact=True).evaluate(look) == [False, "1"]
    title = page.locator(".plane-chart text").last
    assert title.text_content() == "gap: how far the crowd is from the truth"
    assert (
        title.evaluate(
            "e => (s => s.paintOrder.startsWith('stroke') && parseFloat(s.strokeWidth))(getComputedStyle(e))"
        )
        > 4
    )
    assert title.bounding_box()["x"] > page.locator(".plane-chart").bounding_box()["x"]


def test_the_right_start_is_called_correct_and_links_sent_earlier_work(show):
    page = show(address="#start=right&predictor=wave", reduced_motion="reduce")
    start = page.get_by_label("start", exact=True)
    assert start.evaluate("e => [e.value, e.selectedOptions[0].text]") == ["right", "correct"]
    assert page.evaluate("at.state.start") == "right" and page.evaluate("at.state.predictor") == "wave"


@pytest.mark.parametrize("width", [1000, 390])
def test_no_control_moves_when_a_ring_is_chosen(show, width):
    page = show(width=width, reduced_motion="reduce")
    ask = """() => [...document.querySelectorAll('.plane-side > .plane-controls, .plane-more, .plane-keep')]
        .map(e => e.getBoundingClientRect().y - document.querySelector('.plane').getBoundingClientRect().y)"""
    before = page.evaluate(ask)
    page.get_by_role("button", name="Cluster 1 at").click()
    assert page.locator(".plane-cluster").get_by_role("slider", name="weight").is_visible()
    assert page.evaluate(ask) == before


def test_the_chart_is_as_wide_as_its_slider_also_where_the_style_comes_late(show):
    page = show(reduced_motion="reduce")
    page.locator(".plane-time").evaluate("e => { e.style.gridTemplateColumns = '200px minmax(0, 1fr)' }")
    page.wait_for_function(
        "document.querySelector('.plane-chart').clientWidth === document.querySelector('.plane-scrub').clientWidth"
    )


@pytest.mark.parametrize("act, ending", [("Save picture", ".png"), ("Save film", (".webm", ".mp4"))])
def test_a_picture_and_a_film_can_be_saved(show, tmp_path, act, ending):
    page = show(width=390, address="#S=5&t=300", accept_downloads=True)
    with page.expect_download() as waiting:
        page.get_by_role("button", name=act).click()
    name, path = waiting.value.suggested_filename, tmp_path / "kept"
    waiting.value.save_as(path)
    assert name.endswith(ending) and path.stat().st_size > 5_000
    start = path.read_bytes()[:8]
    assert start.startswith((b"\x89PNG", b"\x1a\x45\xdf\xa3")) or start[4:8] == b"ftyp"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_serious_by_axe_and_no_wider_than_the_screen(show, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = show(width=width, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", scheme)
    if scheme == "dark":
        page.add_style_tag(content="html { background: #14181e; color: #eee }")
    page.locator(".plane-more summary").click()
    page.get_by_role("button", name="Cluster 1 at").focus()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"][:150]) for v in found if v["impact"] in ("serious", "critical")]
    for field in page.locator(".plane select, .plane input:not([type=radio]), .plane button:visible").all():
        assert field.bounding_box()["height"] >= 44


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_runs_and_stands_in_its_chapter(show, name):
    source = (ROOT / "chapters" / f"{PIECES[name]}.py").read_text(encoding="utf-8")
    notebook = json.loads((ROOT / "chapters" / f"{PIECES[name]}.ipynb").read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert re.findall(r'data-plane="([\w-]+)"', source) == re.findall(r'data-plane="([\w-]+)"', prose) == [name]
    page = show(name, width=390, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "NaN" not in page.locator(".plane").inner_html()
    assert not page.get_by_text(f"Words for {name}.").is_visible()


def test_a_wrong_start_stays_without_noise_and_goes_with_it(show):
    ode, sde = show("continuous", reduced_motion="reduce").evaluate("at.runs.map(run => run.gaps)")
    assert 0.45 < ode[0] < 0.55 and ode[-1] > 0.35
    assert abs(sde[0] - ode[0]) < 1e-9 and sde[-1] < 0.1


def test_without_scripts_and_on_paper_the_words_stay(show):
    assert show(java_script_enabled=False).get_by_text("Words for page.").is_visible()
    page = show(reduced_motion="reduce")
    page.emulate_media(media="print")
    assert page.get_by_text("Words for page.").is_visible() and not page.locator(".plane-live").is_visible()


def test_the_files_are_short_and_load_nothing():
    for name in scripts():
        text = (BOOK / "playground" / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\s*\(|\bimport\b .* from", text)
