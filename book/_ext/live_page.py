"""What the page that samples in the browser needs beside it, in the built site's folder ``live``.

The page's own scripts are copied. What is large becomes scripts too, since a page from file:// can load nothing else:
``runtime.js`` holds ONNX Runtime, and NAME.js a network with its schedule and its classes. The page asks for them on a
click. Networks are exported anew when their weights or the exporter have changed; ``_build/onnx`` keeps what was made.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from pathlib import Path

from sphinx.util import logging

PAGE = "live"
OWN = ("ddim.js", "network.js", "page.js", "page.css")
CLASSES = {
    "digits": [str(digit) for digit in range(10)],
    "fashion-mnist": [
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

log = logging.getLogger(__name__)


def text_of(binary: bytes) -> str:
    """base64 of gzip, the same text for the same bytes."""
    return base64.b64encode(binary if binary[:2] == b"\x1f\x8b" else gzip.compress(binary, 9, mtime=0)).decode()


def script(name: str, **contents) -> str:
    """A classic script that leaves its contents in ``window.liveFiles``."""
    return f"(window.liveFiles ??= {{}})[{json.dumps(name)}] = {json.dumps(contents)};\n"


def network_script(book: Path, name: str, kept: Path) -> str:
    """The script of one network, from the folder ``kept`` if nothing has changed since."""
    from ddim_edu.models import checkpoint, onnx_export

    package = Path(checkpoint.__file__).parents[1]
    sources = [checkpoint.find(name), package / "nets" / "unet.py", Path(onnx_export.__file__), Path(__file__)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    path = kept / f"{name}-{key}.js"
    if not path.is_file():
        saved = checkpoint.load(name)
        assert len(CLASSES[name]) == saved.config.classes
        about = {
            "side": saved.config.image_size,
            "classes": CLASSES[name],
            "alphaBar": saved.schedule.alpha_bar.tolist(),
        }
        made = script(name, **about, onnx=text_of(onnx_export.export(saved)))
        kept.mkdir(parents=True, exist_ok=True)
        for old in kept.glob(f"{name}-*.js"):
            old.unlink()
        path.write_text(made, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def runtime_script(folder: Path) -> str:
    """The script of ONNX Runtime. Its bundle names a source map that is not there; without that line no browser asks
    for it.
    """
    bundle = (folder / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8").partition("\n//# sourceMappingURL=")[0]
    return script("runtime", module=bundle, wasm=text_of((folder / "ort-wasm-simd-threaded.wasm.gz").read_bytes()))


def write(app, exception) -> None:
    if exception is not None or app.builder.format != "html" or PAGE not in app.env.found_docs:
        return
    book, out = Path(app.srcdir), Path(app.outdir) / PAGE
    source = book / PAGE
    out.mkdir(exist_ok=True)
    for name in OWN:
        shutil.copyfile(source / name, out / name)
    shutil.copyfile(source / "onnxruntime-web" / "LICENSE", out / "LICENSE-onnxruntime-web.txt")
    files = {"runtime": runtime_script(source / "onnxruntime-web")}
    try:
        for name in CLASSES:
            files[name] = network_script(book, name, book.parent / "_build" / "onnx")
    except ModuleNotFoundError as error:
        log.warning(f"the live page gets no networks: {error.name} is not installed; make install brings it")
    for name, text in files.items():
        path = out / f"{name}.js"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
