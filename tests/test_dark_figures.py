"""Which parts of a figure are pictures: blocks found by the standard library alone, against what Pillow drew."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

EXT = Path(__file__).parents[1] / "book" / "_ext"
sys.path.insert(0, str(EXT))  # the extensions import one another


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, EXT / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, made)
    spec.loader.exec_module(made)
    return made


blocks = module("blocks")
dark_figures = module("dark_figures")
PICTURES = [(60, 30, 124, 94), (128, 30, 192, 94), (60, 110, 192, 150)]


def drawn(mode: str) -> bytes:
    """A white figure with three pictures of noise, two lines of letters beside them, an axis and a bar of colours."""
    image, noise = Image.new("RGB", (260, 200), "white"), np.random.default_rng(0)
    for left, top, right, bottom in PICTURES:
        cut = Image.fromarray(noise.integers(0, 240, (bottom - top, right - left, 3), dtype=np.uint8))
        image.paste(cut, (left, top))
    pen = ImageDraw.Draw(image)
    pen.text((4, 40), "no fresh\nnoise", fill="black")
    pen.text((70, 8), "t = 300", fill="black")
    pen.line([(60, 160), (60, 190), (190, 190)], fill="black")  # an axis is as large as its panel
    pen.rectangle([210, 30, 219, 129], fill=(90, 20, 200))
    file = io.BytesIO()
    image.quantize(64).save(file, "PNG") if mode == "P" else image.convert(mode).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_blocks_are_the_pictures_and_no_letters(mode):
    width, height, found = blocks.blocks(drawn(mode))
    assert (width, height) == (260, 200)
    ours = {block for block in found if block[3] <= 150}
    assert ours == {*PICTURES, (210, 30, 220, 130)}


def test_every_way_to_write_a_row_is_read():
    """The rows of a PNG may be written as differences, each in one of five ways: all of them, against Pillow."""
    seen = set()
    for level, scale in ((0, 255), (6, 3), (9, 40)):
        noise = np.random.default_rng(level).integers(0, scale, (80, 90, 3)).cumsum(axis=level % 2) % 250
        file = io.BytesIO()
        Image.fromarray(noise.astype(np.uint8)).save(file, "PNG", compress_level=level)
        raw = blocks.zlib.decompress(b"".join(chunks(file.getvalue())))
        above, rows = bytes(270), []
        for y in range(80):
            seen.add(raw[y * 271])
            above = blocks._unfiltered(raw[y * 271], raw[y * 271 + 1 : (y + 1) * 271], above, 3)
            rows.append(list(above))
        assert (np.array(rows).reshape(80, 90, 3) == noise).all()
    assert len(seen) >= 3  # what Pillow chooses


def chunks(png: bytes):
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            yield png[at + 8 : at + 8 + size]
        at += 12 + size


def test_what_is_no_such_file_is_an_error_and_a_path_goes_round_the_blocks():
    grey = io.BytesIO()
    Image.new("L", (30, 30)).save(grey, "PNG")
    for file, said in ((b"GIF89a" + bytes(40), "no PNG"), (grey.getvalue(), "another kind")):
        with pytest.raises(ValueError, match=said):
            blocks.blocks(file)
    path = dark_figures.path_round(200, 100, [(20, 10, 60, 50)])
    assert path == "0% 0%, 10% 10%, 30% 10%, 30% 50%, 10% 50%, 10% 10%, 0% 0%"
