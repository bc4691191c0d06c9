"""The networks of the live page on a graphics processor, by WebGPU, against torch and against WebAssembly.

In Chromium, whose SwiftShader stands in for the processor; a page of the scripts alone, so that no book need be built.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from ddim_edu.models import checkpoint, load
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.sampler import decode
from ddim_edu.schedule import NoiseSchedule, make_tau

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
LIVE = BOOK / "live"
sys.path.insert(0, str(BOOK / "_ext"))
import live_page  # noqa: E402
import network_file  # noqa: E402

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEPT = ROOT / "_build" / "onnx"
EMULATED = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
PATIENCE = 120_000  # ms: the machine may be busy
TOLERANCE = 1e-3  # what was asked for, and what the page refuses a processor by
CLOSE = 1e-5  # what the page says of Chromium's emulated one
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


def site(folder: Path, names, runtime: str) -> str:
    """The parts of the live page that its scripts need, as one file beside them: its address."""
    html = "\n".join(re.findall(r"```\{raw\} html\n(.*?)```", (BOOK / "live.md").read_text(encoding="utf-8"), re.S))
    (folder / "live.html").write_text(f"<!doctype html><meta charset=utf-8><section>{html}</section>")
    out = folder / "live"
    out.mkdir()
    for name in live_page.OWN:
        shutil.copyfile(LIVE / name, out / name)
    (out / "runtime.js").write_text(runtime)
    for name in names:
        (out / f"{name}.js").write_text(live_page.network_script(BOOK, name, KEPT))
    return (folder / "live.html").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return site(tmp_path_factory.mktemp("live"), live_page.CLASSES, live_page.runtime_script(KEPT))


# In place of ONNX Runtime, which takes seconds to start: it answers 42 to everything.
STUB = """export const env = { wasm: {} };
export class Tensor { constructor(type, data) { this.data = data; } }
const run = async ({ x }) => ({ eps: { data: x.data.fill(42) } });
export const InferenceSession = { create: async () => ({ run }) };"""


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    runtime = live_page.script("runtime", module=STUB, wasm=live_page.text_of(b""))
    return site(tmp_path_factory.mktemp("stubbed"), ["digits"], runtime)


@pytest.fixture
def visit(address):
    """Open the page in a browser: the page, with what it asked for and what went wrong."""
    contexts = []

    def go(browser, address=address):
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
    """At several levels at once, with labels; and the smallest with another number of pictures after that."""
    model, page = load(name), visit(browser)
    T, classes = model.schedule.T, model.config.classes
    calls = [([1, T // 3, T], [classes, 2, 0]) if name != "faces" else ([T // 3, T], [classes, 2])]
    if name.startswith("digits"):
        calls.append(([T - 10], [1]))
    for ts, labels in calls:
        x = pictures(name, len(ts))
        found = page.evaluate(CALL, [name, x.flatten().tolist(), ts, labels, "webgpu"])
        assert found["engine"] == "WebGPU", found["why"]
        with torch.no_grad():
            expected = model.eps_theta(torch.tensor(labels))(x, torch.tensor(ts))
        assert (torch.tensor(found["eps"]).view_as(expected) - expected).abs().max() < CLOSE
    assert not any("runtime" in url for url in page.asked) and not page.errors  # WebAssembly was not needed


# Networks that the page does not show, with every operation that book/_ext/network_file.py writes.
OTHERS = {
    "no classes, an odd embedding": (UNetConfig(8, 1, 9, (1, 2), 1, (), 0.1, 3, 0), "x0"),
    "attention everywhere": (UNetConfig(8, 3, 8, (1, 1, 2), 1, (8, 4, 2), 0.0, 4, 3), "v"),
    "two blocks a level": (UNetConfig(12, 1, 12, (1, 2, 1), 2, (6,), 0.0, 4, 10), "eps"),
}
OPEN = """async ([onnx, how]) => {
    const bytes = Uint8Array.from(atob(onnx), letter => letter.charCodeAt(0));
    return LiveWebGPU.open(bytes, { ...how, software: true }).then(() => "fine", error => error.message);
}"""


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_forms(visit, browser, stubbed, tmp_path, name):
    """The page itself compares them with what torch says, in all numbers; and finds a number that was changed."""
    config, prediction = OTHERS[name]
    generator, net = torch.Generator().manual_seed(0), UNet(config)
    weights = {
        name: torch.randn(value.shape, generator=generator) / max(value[0].numel(), 4) ** 0.5
        for name, value in net.state_dict().items()
    }
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, weights, config, NoiseSchedule.cosine(1000), prediction=prediction)
    saved, made = checkpoint.load(path), network_file.onnx(network_file.read(path))
    ts, labels = [200, 700, 1000], [0, config.classes, 1] if config.classes else [0, 0, 0]
    x = torch.tensor([1.4 * math.sin(i * i) for i in range(3 * math.prod(saved.image_shape))])
    with torch.no_grad():
        given = (torch.tensor(labels),) if config.classes else ()
        eps = saved.model(x.view(3, *saved.image_shape), torch.tensor(ts), *given).flatten().tolist()
    page = visit(browser, stubbed)
    how = {"channels": config.image_channels, "side": config.image_size}
    found = []
    for wrong in (0, 0.002):
        eps[-1] += wrong
        check = {"ts": ts, "labels": labels, "step": 1, "eps": eps}
        found.append(page.evaluate(OPEN, [base64.b64encode(made).decode(), how | {"check": check}]))
    assert found[0] == "fine" and "off by 0.0020" in found[1]


PATH = """async ([name, x, label, tau, wanted]) => {
    LiveNetwork.prefer(wanted);
    const network = await LiveNetwork.load(name), seen = [];
    const eps = DDIM.guided(network.eps, label, network.any);
    for await (const step of DDIM.path(eps, Float32Array.from(x), network.alphaBar, tau)) seen.push([...step.xs]);
    return { seen, engine: network.engine };
}"""


def test_a_whole_trajectory_is_that_of_webassembly_and_of_torch(visit, browser):
    """All states of 20 steps from T, where rounding is multiplied by 20,000 and then cut; see tests/test_live.py."""
    name, S = "digits-v", 20
    model, page, x, tau = load(name), visit(browser), pictures(name, 1), make_tau(1000, S)
    job = [name, x.flatten().tolist(), 3, tau.tolist()]
    by = {wanted: page.evaluate(PATH, [*job, wanted]) for wanted in ("webgpu", "wasm")}
    assert [by[wanted]["engine"] for wanted in by] == ["WebGPU", "WebAssembly"]
    ours, theirs = (torch.tensor(by[wanted]["seen"]) for wanted in by)
    with torch.no_grad():
        expected = decode(model.eps_theta(3), x, model.schedule, tau, clip=1.0).flatten()
    assert len(ours) == S and (ours - theirs).abs().max() < CLOSE and (ours[-1] - expected).abs().max() < CLOSE


# ---------------------------------------------------------------- WebAssembly in workers


def test_workers_share_the_pictures_of_a_call(visit, launch):
    """Five of them, by a worker for each core, up to four; by the page itself without workers, or with workers that
    fail. All say what torch says, each picture in its place.
    """
    model, x, ts, labels = load("digits"), pictures("digits", 5), [7, 70, 300, 700, 900], [3, 10, 0, 1, 2]
    with torch.no_grad():
        expected = model.eps_theta(torch.tensor(labels))(x, torch.tensor(ts))
    fails = "window.Worker = class { postMessage() { this.onerror({}); } terminate() {} }"
    for prevented in ("", "delete window.Worker", fails):
        page = visit(launch())
        page.evaluate(f"void ({prevented or 0})")  # or the class would be called
        found = page.evaluate(CALL, ["digits", x.flatten().tolist(), ts, labels, "wasm"])
        assert (torch.tensor(found["eps"]).view_as(expected) - expected).abs().max() < CLOSE
        cores = page.evaluate("navigator.hardwareConcurrency")
        assert len(page.workers) == (0 if prevented else min(4, cores)) and not page.errors


# ---------------------------------------------------------------- where it can't be used


def one_call(page, name="digits", wanted="auto"):
    """What one call gives, which has to be right whatever computes it: (what computed, why)."""
    x = pictures(name, 2)
    found = page.evaluate(CALL, [name, x.flatten().tolist(), [7, 700], [3, 10], wanted])
    with torch.no_grad():
        expected = load(name).eps_theta(torch.tensor([3, 10]))(x, torch.tensor([7, 700]))
    assert (torch.tensor(found["eps"]).view_as(expected) - expected).abs().max() < TOLERANCE
    return found["engine"], found["why"]


def test_without_webgpu_or_where_it_is_emulated_webassembly_computes(visit, browser, launch):
    page = visit(launch("--disable-gpu"))  # as in all other tests of the book
    for wanted in ("auto", "webgpu"):
        engine, why = one_call(page, wanted=wanted)
        assert engine == "WebAssembly" and "WebGPU" in why
    assert one_call(page, wanted="wasm") == ("WebAssembly", "") and not page.errors
    assert one_call(visit(browser)) == ("WebAssembly", "WebGPU is emulated here, which is slower")


# A page where something is wrong with the network's file or with the processor, before or while it is used.
BROKEN = {
    "another cosine": """LiveWebGPU.open = (open => (bytes, how) => {
        const text = [...bytes].map(byte => String.fromCharCode(byte)).join('');
        bytes = bytes.slice();
        bytes.set(new TextEncoder().encode('Tan'), text.indexOf('\\x22\\x03Cos') + 2);
        return open(bytes, how);
    })(LiveWebGPU.open)""",
    "a file that is cut": "LiveWebGPU.open = (open => (bytes, how) => open(bytes.slice(0, -9), how))(LiveWebGPU.open)",
    "no file": "LiveWebGPU.open = (open => (bytes, how) => open(bytes.slice(0, 0), how))(LiveWebGPU.open)",
    "another answer": """LiveWebGPU.open = (open => (bytes, how) => {
        how.check.eps[20] += 0.002;
        return open(bytes, how);
    })(LiveWebGPU.open)""",
    "no answer": "LiveWebGPU.open = (open => (bytes, how) => open(bytes, { ...how, check: null }))(LiveWebGPU.open)",
    "no adapter": "GPU.prototype.requestAdapter = async () => null",
    "no device": "GPUAdapter.prototype.requestDevice = async () => { throw new Error('the device is busy') }",
    "a program that is refused": "LiveKernels.conv = LiveKernels.conv.replace('sum +=', 'summ +=')",
    "too many threads": "GPUComputePassEncoder.prototype.dispatchWorkgroups = (dispatch => function () { "
    "return dispatch.call(this, 70000); })(GPUComputePassEncoder.prototype.dispatchWorkgroups)",
    "a step that is refused": "GPUDevice.prototype.createBindGroup = (create => function (how) { "
    "return create.call(this, { ...how, entries: how.entries.slice(1) }); })(GPUDevice.prototype.createBindGroup)",
}
WHY = {
    "another cosine": "no kernel for Tan",
    "a file that is cut": "cut",
    "no file": "no network",
    "another answer": "off by 0.0020",
    "no answer": "there is nothing to compare",
    "no adapter": "no graphics processor",
    "no device": "busy",
    "a program that is refused": "",
    "too many threads": "",
    "a step that is refused": "",
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_goes_wrong_leads_to_webassembly(visit, browser, stubbed, case):
    page = visit(browser, stubbed)
    page.evaluate(f"void ({BROKEN[case]})")  # or the function would be called
    found = page.evaluate(CALL, ["digits", [0.0] * 64, [7], [3], "webgpu"])
    assert found["engine"] == "WebAssembly" and found["why"] and WHY[case] in found["why"]
    assert found["eps"] == [[42] * 64]


def test_a_processor_that_is_lost_on_the_way_is_replaced(visit, browser):
    page = visit(browser)
    page.evaluate(
        """void (GPUAdapter.prototype.requestDevice = (request => async function () {
        return (window.device = await request.call(this));
    })(GPUAdapter.prototype.requestDevice))"""
    )
    assert one_call(page, wanted="webgpu") == ("WebGPU", "")
    page.evaluate("device.destroy(), device.lost.then(() => null)")
    engine, why = one_call(page, wanted="webgpu")
    assert engine == "WebAssembly" and why
    assert one_call(page, "digits-v", "webgpu") == ("WebGPU", "")  # the next network finds a new one
    assert not page.errors


# ---------------------------------------------------------------- the page, and what is stored with it


def test_the_page_says_what_runs_it_and_lets_one_choose(visit, browser):
    page = visit(browser)
    page.evaluate("history.replaceState(null, '', '#model=digits&S=2&run=webgpu')")
    page.click("text=Start the sampler")
    said = "document.querySelector('[data-live=watch] .live-status')?.innerText"
    page.wait_for_function(f"{said}?.includes(' on WebGPU: ')")
    page.click(".live-more summary")
    assert page.get_by_label("Computed by", exact=True).input_value() == "webgpu"
    assert "Runs on: WebGPU." in page.inner_text(".live-more")
    assert "run=" not in page.url or "S=2" in page.url
    page.get_by_label("Computed by", exact=True).select_option("auto")
    page.wait_for_function(f"{said}?.includes(' on WebAssembly: ')")
    assert "Runs on: WebAssembly, since WebGPU is emulated here, which is slower." in page.inner_text(".live-more")
    assert not page.errors


@pytest.mark.parametrize("name", live_page.CLASSES)
def test_the_stored_answers_are_those_of_the_shipped_weights(name):
    """After new weights: python book/_tools/live_checks.py."""
    stored = json.loads((LIVE / live_page.CHECKS).read_text(encoding="utf-8"))
    assert set(stored) == set(live_page.CLASSES)
    found, model = stored[name], load(name)
    assert found["weights"] == live_page.digest(ROOT / "ddim_edu" / "weights" / f"{name}.safetensors")
    ts, count = torch.tensor(found["ts"]), len(found["ts"]) * math.prod(model.image_shape)
    x = torch.tensor([1.4 * math.sin(i * i) for i in range(count)]).view(len(ts), *model.image_shape)
    with torch.no_grad():
        eps = model.eps_theta(torch.tensor(found["labels"]))(x, ts).flatten()
    places = torch.arange(len(found["eps"])) * found["step"] % count
    assert len(places.unique()) == 48 and (eps[places] - torch.tensor(found["eps"])).abs().max() < 1e-5


def test_a_page_without_a_stored_answer_for_its_weights_says_so(tmp_path):
    """So that weights that were replaced without it are run by WebAssembly."""
    book = tmp_path / "book"
    (book / "live").mkdir(parents=True)
    weights = tmp_path / "ddim_edu" / "weights"
    weights.mkdir(parents=True)
    shutil.copy(ROOT / "ddim_edu" / "weights" / "digits.safetensors", weights)
    stored = json.loads((LIVE / live_page.CHECKS).read_text(encoding="utf-8"))
    for expected in (False, True):
        if not expected:
            (book / "live" / live_page.CHECKS).write_text(json.dumps({"digits": stored["digits"] | {"weights": "0"}}))
        else:
            (book / "live" / live_page.CHECKS).write_text(json.dumps(stored))
        text = live_page.network_script(book, "digits", tmp_path / "kept")
        made = json.loads(text.partition(" = ")[2].rstrip(";\n"))
        assert bool(made["check"]) is expected
