"""Pixels of drawn faces."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from ddim_edu.data.cache import cores
from ddim_edu.data.faces.attributes import attributes, described
from ddim_edu.data.faces.styles import BACKGROUND, COLOURS, HAIR, STYLES

SIZES = (16, 256)
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")

_BLOCK = 64  # faces that a process draws before it hands them on
_ALONE = 1000  # for as many faces another process is worth its start, two seconds of imports


def _need() -> None:
    try:
        import dicebear  # noqa: F401
        import dicebear_styles  # noqa: F401
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f'faces are drawn by packages that are not there ({error.name}): pip install "ddim_edu[faces]"'
        ) from None


def versions() -> dict[str, str]:
    """Of the packages that draw."""
    _need()
    return {name: metadata.version(name) for name in PACKAGES}


@cache
def _definition(style: str):
    import dicebear
    import dicebear_styles

    path = Path(next(iter(dicebear_styles.__path__))) / f"{style}.json"
    try:
        return dicebear.Style(json.loads(path.read_text(encoding="utf8")))
    except (OSError, ValueError):
        raise ValueError(
            f"the package dicebear-styles {metadata.version('dicebear-styles')} has no style {style}"
        ) from None


def options(row: np.ndarray) -> dict[str, object]:
    """What is handed to DiceBear for a row of attributes: every part and every colour, nothing left to chance."""
    words = described(row)
    style = STYLES[words["style"]]
    result: dict[str, object] = {"seed": "0", "backgroundColor": BACKGROUND[words["background"]], **style.options}
    for attribute, part in style.parts.items():
        there = words[attribute] != "none"
        result[f"{part.component}Probability"] = 100 if there else 0
        if there:
            result[f"{part.component}Variant"] = words[attribute]
    for attribute, names in style.colours.items():
        colour = COLOURS[attribute][words[attribute]] or HAIR["black"]  # where it says none, nothing has it
        result |= {f"{name}Color": colour for name in names}
    return result


def render(row: np.ndarray, size: int, channels: int = 3) -> np.ndarray:
    """Draw one face.

    Args:
        row: ``(A,)``, of ``attributes`` or ``edited`` (:mod:`ddim_edu.data.faces.attributes`).
        size: Width and height, 16 to 256.
        channels: 3 for RGB, 1 for grey (ITU-R BT.601's luma).

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If the packages are missing, or there is no such size.
    """
    check_form(size, channels)
    _need()
    import resvg_py
    from dicebear import Avatar

    svg = Avatar(_definition(tuple(STYLES)[row[0]]), options(row)).to_string()
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def check_form(size: int, channels: int) -> None:
    """A check that faces can be drawn so.

    Raises:
        ValueError: If they can't.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size = {size}: faces are drawn with {SIZES[0]} to {SIZES[1]} pixels")
    if channels not in (1, 3):
        raise ValueError(f"channels = {channels}: images have 1 (grey) or 3 (red, green, blue)")


def draw(numbers: Sequence[int] | np.ndarray, size: int, channels: int = 3, processes: int | None = None) -> np.ndarray:
    """The faces of these numbers, ``(N, channels, size, size)`` uint8.

    Args:
        numbers: ``(N,)`` whole numbers, at least 0.
        size: Width and height, 16 to 256.
        channels: 3 or 1.
        processes: How many draw at once; if None as many as there are cores, or fewer for few faces. It changes nothing
            but the time.
    """
    result = np.empty((len(numbers), channels, size, size), np.uint8)
    for start, block in blocks_of(np.asarray(numbers, np.int64), size, channels, processes):
        result[start : start + len(block)] = block
    return result


def blocks_of(numbers: np.ndarray, size: int, channels: int, processes: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of faces in order, each with where it begins.

    Processes are new interpreters that write to a pipe: unlike those of ``multiprocessing`` they neither copy this one
    with its threads nor run the caller's script again.
    """
    check_form(size, channels)
    versions()  # here, once, rather than in every process
    blocks = [numbers[i : i + _BLOCK] for i in range(0, len(numbers), _BLOCK)]
    count = min(processes or min(cores(), len(numbers) // _ALONE), len(blocks))
    if count <= 1:
        for i, block in enumerate(blocks):
            yield i * _BLOCK, np.stack([render(row, size, channels) for row in attributes(block)])
        return
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    code = "from ddim_edu.data.faces.drawing import _work; _work()"
    workers = []
    try:
        for p in range(count):
            errors = tempfile.TemporaryFile()
            worker = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
            workers.append((worker, errors))
            job = {"size": size, "channels": channels, "blocks": [block.tolist() for block in blocks[p::count]]}
            with suppress(BrokenPipeError):  # it died: what it said is read below
                worker.stdin.write(json.dumps(job).encode())
            with suppress(BrokenPipeError):
                worker.stdin.close()
        for i, block in enumerate(blocks):
            worker, errors = workers[i % count]
            shape = (len(block), channels, size, size)
            data = worker.stdout.read(math.prod(shape))
            if len(data) < math.prod(shape):
                worker.wait()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise ValueError(
                    f"a process that draws faces ended early: {said[-1] if said else f'exit code {worker.returncode}'}"
                )
            yield i * _BLOCK, np.frombuffer(data, np.uint8).reshape(shape)
    finally:
        for worker, errors in workers:
            worker.kill()
            worker.stdout.close()
            worker.wait()
            errors.close()


def _work() -> None:
    """What such a process does: a job of JSON comes in, pixels go out."""
    job = json.load(sys.stdin)
    for block in job["blocks"]:
        for row in attributes(block):
            sys.stdout.buffer.write(render(row, job["size"], job["channels"]))
        sys.stdout.buffer.flush()
