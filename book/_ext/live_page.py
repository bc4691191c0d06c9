"""What the page that samples in the browser needs beside it, in the built site's folder ``live``.

The page's own scripts are copied. What is large becomes scripts too, since a page from file:// can load nothing else:
``runtime.js`` holds ONNX Runtime, and NAME.js a network with its schedule and its classes. The page asks for them on a
click. Networks are written anew when their weights or the writer have changed; ``_build/onnx`` keeps what was made.
ONNX Runtime comes from node_modules. Its package holds no licence, so the text of its repository stands here.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import browser_code
import network_file
import protobuf
from sphinx.errors import ExtensionError

PAGE = "live"
OWN = (
    "ddim.js",
    "kernels.js",
    "webgpu.js",
    "network.js",
    "parts.js",
    "page.js",
    "panels.js",
    "page.css",
    "LICENSE-onnxruntime-web.txt",
)
CHECKS = "checks.json"  # what torch says to an example, against which a page holds a graphics processor
DIGITS = [str(digit) for digit in range(10)]
CLASSES = {
    "faces": ["Open Peeps", "Micah", "ToonHead", "Personas"],
    "digits": DIGITS,
    "digits-v": DIGITS,  # the teacher and its student, whose one call the page shows beside the teacher's twenty
    "digits-distill": DIGITS,
    "fashion-mnist-v": [  # predicts v, and draws better in few steps
        "T-shirt",
        "trousers",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ],
}


def text_of(binary: bytes) -> str:
    """base64 of gzip, the same text for the same bytes."""
    return base64.b64encode(gzip.compress(binary, 9, mtime=0)).decode()


def digest(path: Path) -> str:
    """The first half of the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def script(name: str, **contents) -> str:
    """A classic script that leaves its contents in ``window.liveFiles``."""
    return f"(window.liveFiles ??= {{}})[{json.dumps(name)}] = {json.dumps(contents)};\n"


def once(name: str, sources: list[Path], make: Callable[[], str], kept: Path) -> str:
    """What ``make()`` returned when the sources were last changed; ``kept`` holds it."""
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    path = kept / f"{name}-{key}.js"
    if not path.is_file():
        made = make()
        kept.mkdir(parents=True, exist_ok=True)
        for old in kept.glob(f"{name}-*.js"):
            old.unlink()
        path.write_text(made, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def network_script(book: Path, name: str, kept: Path) -> str:
    """The script of one network, from the folder ``kept`` if nothing has changed since."""
    weights = book.parent / "ddim_edu" / "weights" / f"{name}.safetensors"
    checks = book / PAGE / CHECKS
    sources = [weights, checks, Path(network_file.__file__), Path(protobuf.__file__), Path(__file__)]

    def make() -> str:
        network = network_file.read(weights)
        check = json.loads(checks.read_text(encoding="utf-8")).get(name, {})
        if check.pop("weights", None) != digest(weights):
            check = None  # made for other weights: then the page uses no graphics processor
        assert len(CLASSES[name]) == network.config.classes
        about = {
            "side": network.config.image_size,
            "channels": network.config.image_channels,
            "classes": CLASSES[name],
            "alphaBar": network.alpha_bar,
            "check": check,
        }
        return script(name, **about, onnx=text_of(network_file.onnx(network)))

    return once(name, sources, make, kept)


def runtime_script(kept: Path) -> str:
    """The script of ONNX Runtime, from the folder ``kept`` if nothing has changed since. Its bundle names a source map
    that is not there; without that line no browser asks for it.
    """
    folder = browser_code.find("onnxruntime-web") / "dist"
    bundle, wasm = folder / "ort.wasm.bundle.min.mjs", folder / "ort-wasm-simd-threaded.wasm"

    def make() -> str:
        module = bundle.read_text(encoding="utf-8").partition("\n//# sourceMappingURL=")[0]
        return script("runtime", module=module, wasm=text_of(wasm.read_bytes()))

    return once("runtime", [bundle, wasm, Path(__file__)], make, kept)


def write(app, exception) -> None:
    if exception is not None or app.builder.format != "html" or PAGE not in app.env.found_docs:
        return
    book, out = Path(app.srcdir), Path(app.outdir) / PAGE
    source = book / PAGE
    out.mkdir(exist_ok=True)
    for name in OWN:
        shutil.copyfile(source / name, out / name)
    kept = book.parent / "_build" / "onnx"
    files = {}
    try:
        files["runtime"] = runtime_script(kept)
        for name in CLASSES:
            files[name] = network_script(book, name, kept)
    except browser_code.Missing as error:
        raise ExtensionError(str(error)) from None
    for old in out.glob("*.js"):
        if old.stem not in files and old.name not in OWN:
            old.unlink()  # a network that an earlier build showed
    for name, text in files.items():
        path = out / f"{name}.js"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
