"""The networks of the live page on a graphics processor, by WebGPU, against torch and against WebAssembly.

In Chromium, whose SwiftShader stands in for the processor; a page of the scripts alone, so that no book need be built.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from ddim_edu.models import load
from ddim_edu.sampler import decode
from ddim_edu.schedule import make_tau

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
LIVE = BOOK / "live"
sys.path.insert(0, str(BOOK / "_ext"))
import live_page  # noqa: E402

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
EMULATED = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
PATIENCE = 120_000  # ms: the machine may be busy
TOLERANCE = 1e-3
load = functools.cache(load)


@pytest.fixture(scope="module")
def launch():
    """A Chromium with some flags, started once."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine; apt install chromium")
    with playwright.sync_playwright() as driver:

        @functools.cache
        def start(*flags):
            return driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-quic", *flags])

        yield start


@pytest.fixture(scope="module")
def browser(launch):
    """One with WebGPU."""
    return launch(*EMULATED)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The parts of the live page that its scripts need, as one file beside them."""
    folder = tmp_path_factory.mktemp("live")
    html = "\n".join(re.findall(r"```\{raw\} html\n(.*?)```", (BOOK / "live.md").read_text(encoding="utf-8"), re.S))
    (folder / "live.html").write_text(f"<!doctype html><meta charset=utf-8><section>{html}</section>")
    out, kept = folder / "live", ROOT / "_build" / "onnx"
    out.mkdir()
    for name in live_page.OWN:
        shutil.copyfile(LIVE / name, out / name)
    (out / "runtime.js").write_text(live_page.runtime_script(kept))
    for name in live_page.CLASSES:
        (out / f"{name}.js").write_text(live_page.network_script(BOOK, name, kept))
    return (folder / "live.html").as_uri()


@pytest.fixture
def visit(address):
    """Open the page in a browser: the page, with what it asked for and what went wrong."""
    contexts = []

    def go(browser):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()


# One call of a network: its answers, and what ran it.
CALL = """async ([name, x, ts, labels, wanted]) => {
    LiveNetwork.prefer(wanted);
    const network = await LiveNetwork.load(name), size = network.size;
    const xs = ts.map((_, i) => Float32Array.from(x.slice(i * size, (i + 1) * size)));
    const found = await network.eps(xs, ts, labels);
    return { eps: found.map(one => [...one]), engine: network.engine, why: network.why };
}"""


def pictures(name: str, count: int) -> torch.Tensor:
    return torch.randn(count, *load(name).image_shape, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", live_page.CLASSES)
def test_a_network_says_what_torch_says(visit, browser, name):
    """At three levels at once, with labels, and then with another number of pictures."""
    model, page = load(name), visit(browser)
    T, classes = model.schedule.T, model.config.classes
    for ts, labels in (([1, T // 3, T], [classes, 2, 0]), ([T - 10], [1])):
        x = pictures(name, len(ts))
        found = page.evaluate(CALL, [name, x.flatten().tolist(), ts, labels, "webgpu"])
        assert found["engine"] == "WebGPU", found["why"]
        with torch.no_grad():
            expected = model.eps_theta(torch.tensor(labels))(x, torch.tensor(ts))
        off = (torch.tensor(found["eps"]).view_as(expected) - expected).abs().max().item()
        print(name, len(ts), off)
        assert off < TOLERANCE
    assert not any("runtime" in url for url in page.asked) and not page.errors  # WebAssembly was not needed
