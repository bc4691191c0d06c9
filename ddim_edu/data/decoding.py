"""An image file as whole numbers of a given size.

It is turned as its EXIF orientation says; of an animation the first frame is taken; transparent parts show white;
16-bit greys are scaled to 8 bits (Pillow's own conversion may clip them); palettes, CMYK and other colour spaces become
RGB, embedded colour profiles are ignored. Grey images become RGB with three equal channels, and colours become grey by
ITU-R BT.601's luma where one channel is asked for. Then the central square is resized, see :func:`cut_and_resize`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddim_edu.files import first_line

# The official DDIM code's part of an aligned CelebA image, 178 x 218: 64 pixels to each side of (89, 121).
CROPS = {"celeba": ((178, 218), (25, 57, 153, 185))}  # (width, height), (left, upper, right, lower)


def read_image(path: Path | str, *, size: int, channels: int = 3, crop: str | None = None) -> np.ndarray:
    """One image file, treated as those of a folder are.

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If it has no 8 or 16-bit pixels, or the crop does not fit it.
        OSError: If there is no such file, it is no image, or it ends too early. Pillow may raise others on damaged
            files.
    """
    return decode(Path(path), size, channels, crop)[0]


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
    with Image.open(path) as image:
        image.load()
        form, is_colour = image.format, image.mode not in ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            image = _eight_bits(image, is_png=form == "PNG")
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return _fit(image, size, channels, crop), is_colour


def _fit(image: Image.Image, size: int, channels: int, crop: str | None) -> np.ndarray:
    image = image.convert("L" if channels == 1 else "RGB")
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


def _eight_bits(image: Image.Image, *, is_png: bool) -> Image.Image:
    """16-bit grey values 0..65535 as 0..255. Some versions of Pillow open a 16-bit PNG as if it had 32."""
    if image.mode in ("I", "F") and not is_png:
        raise ValueError("32-bit pixels, whose range is not known: convert it to 8 or 16 bits")
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def reason(path: Path, error: Exception) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "empty" if not path.stat().st_size else "not an image that Pillow knows"
    said = first_line(error, 100)
    return said.lower() if getattr(error, "strerror", None) else said
