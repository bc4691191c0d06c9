"""An image file as whole numbers of a given size.

It is turned as its EXIF orientation says; of an animation the first frame is taken; transparent parts show white;
16-bit greys are scaled to 8 bits (:mod:`ddim_edu.data.greys`); palettes, CMYK and other colour spaces become RGB,
embedded colour profiles are ignored. Grey images become RGB with three equal channels, and colours become grey by ITU-R
BT.601's luma where one channel is asked for. Then the central square is resized, see :func:`cut_and_resize`.

A file can be anybody's. It goes to one of the decoders of ``FORMATS`` or to none, whatever its content names; it has to
be a regular file; and its size is looked at in its header, before memory is taken for its pixels.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddim_edu.data import greys
from ddim_edu.files import first_line

# What is opened: still images that Pillow decodes by itself, without a program beside it.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP")
MOST_PIXELS = 2**27  # 134 million: the largest photographs of today, and about a gigabyte while they are read
LARGE = 2**24  # pixels from which on images are decoded one at a time, whatever the number of threads
_one_at_a_time = threading.Lock()

# The official DDIM code's part of an aligned CelebA image, 178 x 218: 64 pixels to each side of (89, 121).
CROPS = {"celeba": ((178, 218), (25, 57, 153, 185))}  # (width, height), (left, upper, right, lower)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the EXIF orientation


def endings() -> set[str]:
    """The endings of the names of files in ``FORMATS``, in lower case with their dot."""
    return {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}


@contextmanager
def open_image(path: Path | str) -> Iterator[Image.Image]:
    """Open an image file of anybody's, as ``PIL.Image.open`` does; its pixels are not decoded yet.

    Raises:
        ValueError: If it is no regular file, or has more than ``MOST_PIXELS``.
        OSError: If there is no such file, or it is no image of ``FORMATS``. Pillow may raise others on damaged files.
    """
    with open(path, "rb", opener=_at_once) as file, _opened(file) as image:
        # A tile can be larger than the image.
        for width, height in [image.size, *(tile[1][2:] for tile in image.tile if tile[1])]:
            if width * height > MOST_PIXELS:
                raise _too_large(f"{width:,} x {height:,} pixels")
        yield image


def read_image(path: Path | str, *, size: int, channels: int = 3, crop: str | None = None) -> np.ndarray:
    """One image file, treated as those of a folder are.

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If it has no 8 or 16-bit pixels, or too many, or the crop does not fit it.
        OSError: If there is no such file, it is no image, or it ends too early. Pillow may raise others on damaged
            files.
    """
    with quietly():
        return decode(Path(path), size, channels, crop)[0]


@contextmanager
def quietly() -> Iterator[None]:
    """Without Pillow's warnings of odd metadata and large sizes, where the pixels are fine. Not for several threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS decides
        yield


def cut_and_resize(pixels: np.ndarray, size: int, channels: int, crop: str | None = None) -> np.ndarray:
    """Cut an image to a square and resize it.

    Without ``crop``, the largest central square becomes ``size`` x ``size``: the shorter side is resized to ``size``,
    and what the longer side has more is cut off evenly. The filter is Pillow's bicubic one, which is widened by the
    factor of the reduction, so that each pixel is a weighted mean of all those that it stands for (resampling without
    that makes patterns that aren't in the image, and makes FIDs hard to compare: Parmar, Zhang and Zhu, CVPR 2022).
    Smaller images are enlarged by the same filter.

    With ``crop="celeba"``, the part of an aligned CelebA image that the DDIM paper trains on, columns 25..152 and rows
    57..184, is cut out and then resized with Pillow's bilinear filter, widened likewise: both are the official code's
    choices.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)`` uint8.
        size: Width and height of the result.
        channels: 3 for RGB, 1 for grey.
        crop: None or ``"celeba"``.

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If the image has not the size that the crop is made for.
    """
    return _fit(Image.fromarray(pixels), size, channels, crop)


def decode(path: Path, size: int, channels: int, crop: str | None) -> tuple[np.ndarray, bool]:
    """As :func:`read_image`, and whether the file is one of colours."""
    with open_image(path) as image:
        large = image.width * image.height >= LARGE
        with _one_at_a_time if large else nullcontext():
            upright = greys.eight_bits(image, lambda: open_image(path))
            is_colour = image.mode not in ("1", "L", "LA", "La", "I") and not image.mode.startswith("I;16")
            turn = _turn(image)
            upright = upright if turn is None else upright.transpose(turn)
            if upright.has_transparency_data:
                upright = _on_white(upright)
            return _fit(upright, size, channels, crop), is_colour


def _at_once(path: str, flags: int) -> int:
    """Open a regular file; a pipe would have one wait for a writer, a device may never end."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("not a regular file")
    return handle


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:  # Pillow's own limit, which is higher
        raise _too_large("too many pixels") from None
    with image:
        yield image


def _too_large(what: str) -> ValueError:
    return ValueError(f"{what}, and {MOST_PIXELS / 1e6:.0f} million are read at most: make a smaller copy of it")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings a decoded image upright, by its EXIF orientation alone, whatever else stands in its EXIF."""
    try:
        return _TURNS.get(int(image.getexif().get(0x0112, 1)))
    except Exception:  # no EXIF that can be read
        return None


def _on_white(image: Image.Image) -> Image.Image:
    """An image with transparent parts, on white; a large one a few rows at a time, for the memory."""
    result, rows = Image.new("RGB", image.size), max(1, LARGE // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", part.size, "white"), part).convert("RGB"), (0, top))
    return result


def _fit(image: Image.Image, size: int, channels: int, crop: str | None) -> np.ndarray:
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if crop is not None:
        expected, box = CROPS[crop]
        if image.size != expected:
            raise ValueError(
                f"{image.width} x {image.height} pixels, where crop {crop!r} needs {expected[0]} x {expected[1]}"
            )
        image, box, resampling = image.crop(box), None, Image.Resampling.BILINEAR
    else:
        side, resampling = min(image.size), Image.Resampling.BICUBIC
        left, upper = (image.width - side) / 2, (image.height - side) / 2
        box = (left, upper, left + side, upper + side)
        if side == size:  # cut at whole pixels: there is nothing to resample
            box = (image.width - side) // 2, (image.height - side) // 2
            image, box = image.crop((*box, box[0] + side, box[1] + side)), None
    if image.size != (size, size):
        image = image.resize((size, size), resampling, box=box)
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def reason(path: Path, error: Exception) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "empty" if not path.stat().st_size else "not an image that is read here"
    said = first_line(error, 100)
    return said.lower() if getattr(error, "strerror", None) else said
