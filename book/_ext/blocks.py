"""Where the pictures of a figure lie: the blocks of a PNG that white lines separate, without the letters beside them.

A figure of pictures is white, with rows of pictures and with words. Cut along white rows and columns, again and again,
it falls into blocks; those as large as a picture are pictures or panels with axes, the small ones are letters. Written
with the standard library alone, since the book is built without Pillow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SMALLEST = 24  # pixels, both ways: letters are smaller
LINES = 45  # what is lower than this may be two lines of letters, which leave more of their block white than
FULL = 0.6
BAR = 0.75  # a narrow bar of colours, with its ticks, is fuller than any letters
WHITE = 250  # of 255, in each channel: the ground
GAP = 2  # white rows or columns that part two blocks

Block = tuple[int, int, int, int]  # left, top, right, bottom; the last two not included


def blocks(png: bytes) -> tuple[int, int, list[Block]]:
    """The width and height of a PNG file, and its large blocks.

    Raises:
        ValueError: It is interlaced, or of a kind that matplotlib and Pillow do not write.
    """
    width, height, rows = _ink(png)
    found = []
    for block in _cut(rows, width, (0, 0, width, height)):
        left, top, right, bottom = block
        area, large = (right - left) * (bottom - top), min(right - left, bottom - top) >= SMALLEST
        if area < SMALLEST**2:
            continue
        inked = sum(_part(rows, width, block, y).bit_count() for y in range(top, bottom))
        if (large and (bottom - top >= LINES or inked >= FULL * area)) or inked >= BAR * area:
            found.append(block)
    return width, height, found


def _ink(png: bytes) -> tuple[int, int, list[int]]:
    """Each row as a number whose bits, the leftmost pixel first, say where it is not white."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 33:
        raise ValueError("no PNG")
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    channels = {2: 3, 3: 1, 6: 4}.get(kind)
    if channels is None or depth != 8 or interlaced:
        raise ValueError("a PNG of another kind")
    data, palette, at = b"", b"", 8
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        data, palette, at = data + body * (name == b"IDAT"), body if name == b"PLTE" else palette, at + 12 + size
    if kind == 3:
        light = [min(palette[i : i + 3]) >= WHITE for i in range(0, len(palette), 3)]
    else:
        light = [value >= WHITE for value in range(256)]
    table = bytes(49 - light[i] if i < len(light) else 49 for i in range(256))  # "0" where it is white, else "1"
    rows, above = [], bytes(width * channels)
    raw, stride = zlib.decompress(data), width * channels + 1
    for y in range(height):
        above = _unfiltered(raw[y * stride], raw[y * stride + 1 : (y + 1) * stride], above, channels)
        marks, row = above.translate(table), 0
        for c in range(min(channels, 3)):  # how clear a pixel is says nothing of it
            row |= int(marks[c::channels], 2)
        rows.append(row)
    return width, height, rows


def _unfiltered(how: int, line: bytes, above: bytes, step: int) -> bytes:
    """A row of a PNG, each byte of which may be written as its difference from those beside and above it."""
    if how == 0:
        return line
    if how == 2:
        return bytes((x + up) & 255 for x, up in zip(line, above))
    out = bytearray(step) + bytearray(line)  # a pixel of zeros at the left
    for i in range(len(line)):
        left, up, corner = out[i], above[i], above[i - step] if i >= step else 0
        if how == 1:
            guess = left
        elif how == 3:
            guess = (left + up) // 2
        else:
            a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = left if a <= b and a <= c else up if b <= c else corner
        out[i + step] = (out[i + step] + guess) & 255
    return bytes(out[step:])


def _part(rows: list[int], width: int, block: Block, y: int) -> int:
    left, _, right, _ = block
    return rows[y] >> (width - right) & (1 << right - left) - 1


def _runs(marks: list[bool]) -> list[tuple[int, int]]:
    """From and to of what white gaps separate."""
    found: list[tuple[int, int]] = []
    for i, mark in enumerate(marks):
        if mark and found and i - found[-1][1] < GAP:
            found[-1] = found[-1][0], i + 1
        elif mark:
            found.append((i, i + 1))
    return found


def _cut(rows: list[int], width: int, block: Block) -> Iterator[Block]:
    left, top, right, bottom = block
    parts = [_part(rows, width, block, y) for y in range(top, bottom)]
    column = 0
    for part in parts:
        column |= part
    across = _runs([part > 0 for part in parts])
    along = _runs([bit == "1" for bit in f"{column:0{right - left}b}"]) if column else []
    inner = [(left + a, top + c, left + b, top + d) for c, d in across for a, b in along]
    if inner == [block]:
        yield block
    else:
        for one in inner:
            yield from _cut(rows, width, one)
