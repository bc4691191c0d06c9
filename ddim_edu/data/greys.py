"""Pixels of other depths than 8 bits, and transparent colours, where Pillow's own conversion would lose or twist them.

Black becomes 0 and white 255, whatever stands for them in the file:

- greys of 16 bits, of PNG, PGM, JPEG 2000 and TIFF, and of 12 bits in TIFF, from 0 to the largest number;
- signed greys of 8 and 16 bits in TIFF, from the smallest number to the largest (the default of TIFF 6.0's tags
  SMinSampleValue and SMaxSampleValue);
- greys of TIFF in which 0 is white (PhotometricInterpretation 0).

A PNG can name one colour that is transparent, with as many bits as its pixels have (PNG specification, section 11.3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from PIL import Image

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _SIGNED = 0, 2


def eight_bits(image: Image.Image, again: Callable[[], AbstractContextManager[Image.Image]]) -> Image.Image:
    """An image with 8 bits for each channel, black at 0, and its transparency as Pillow understands it.

    Args:
        image: As opened, not decoded yet.
        again: Opens it once more.

    Raises:
        ValueError: If its pixels are of 32 bits.
    """
    tile = image.tile[0] if image.tile else None
    image.load()
    if image.format == "PNG" and "transparency" in image.info and tile is not None:
        seen = _transparent(image, tile, again)
        if seen is not None:
            return seen
    if image.format == "TIFF" and len(image.getbands()) == 1:
        return _of_tiff(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):  # by Pillow's version
        return Image.fromarray(_scaled(np.asarray(image), 65535))
    return _not_32_bits(image)


def _of_tiff(image: Image.Image) -> Image.Image:
    tags = image.tag_v2
    bits, white_is_zero = tags.get(_BITS, (1,))[0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    if image.mode.startswith("I;16") or (image.mode == "I" and bits == 16):
        values = np.asarray(image).astype(np.int64 if signed else np.uint32)
        top = 2**bits - 1
        if signed:
            values += 2 ** (bits - 1)
        pixels = _scaled(values, top)
        return Image.fromarray(255 - pixels if white_is_zero else pixels)
    if image.mode == "L" and signed:
        return Image.fromarray(np.asarray(image) ^ 128)  # -128 .. 127, which Pillow takes for 0 .. 255
    return _not_32_bits(image)


def _scaled(values: np.ndarray, top: int) -> np.ndarray:
    """Numbers 0..top as the nearest of 0..255."""
    values = values.astype(np.uint32)
    values *= 255
    values += top // 2
    values //= top
    return values.clip(max=255).astype(np.uint8)


def _not_32_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels, whose range is not known: convert it to 8 or 16 bits")
    return image


def _transparent(image: Image.Image, tile: tuple, again: Callable) -> Image.Image | None:
    """A PNG whose transparent colour Pillow would miss, with an alpha channel; None if it has no such colour."""
    colour, depth = image.info["transparency"], tile[3]
    if depth in ("L", "L;2", "L;4"):  # the colour in the file's numbers, the pixels spread over 0..255
        top = 2 ** int(depth[2:] or 8) - 1
        image.info["transparency"] = (colour & top) * (255 // top)
    elif depth == "RGB":
        image.info["transparency"] = tuple(part & 255 for part in colour)
    elif depth == "I;16B":
        values = np.asarray(image)
        grey = Image.fromarray(_scaled(values, 65535))
        grey.putalpha(Image.fromarray(_opaque(values != colour)))
        return grey
    elif depth == "RGB;16B":  # of which Pillow keeps the upper halves; read in the other order, it keeps the lower
        with again() as other:
            codec, extents, offset, _ = tile
            other.tile = [(codec, extents, offset, "RGB;16L")]
            other.load()
            differs = np.zeros((image.height, image.width), bool)
            for band, part in enumerate(colour):
                differs |= np.asarray(image.getchannel(band)) != part >> 8
                differs |= np.asarray(other.getchannel(band)) != part & 255
        image.putalpha(Image.fromarray(_opaque(differs)))
        return image
    return None


def _opaque(where: np.ndarray) -> np.ndarray:
    return where.astype(np.uint8) * 255
