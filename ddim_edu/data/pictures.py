"""Pictures: between [-1, 1], which networks take and make, and 8 bits, which files hold."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddim_edu.files import check_writable, replacing

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they are saved: clipped, and rounded to the nearest of 256 levels."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Images of 256 levels as float32 in [-1, 1]; :func:`to_uint8` gives them back."""
    return images.float() / 127.5 - 1


def to_text(images: Tensor) -> str:
    """Pictures for a JSON file: the bytes of ``to_uint8(images)`` in base64."""
    return base64.b64encode(to_uint8(images).contiguous().numpy().tobytes()).decode("ascii")


def from_text(text: str, *shape: int) -> Tensor:
    """Undo :func:`to_text`: ``(N, *shape)`` float32 in [-1, 1].

    Args:
        text: From :func:`to_text`.
        shape: Of one picture.

    Raises:
        ValueError: If the text holds no whole number of such pictures.
    """
    pixels = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
    if len(pixels) % math.prod(shape):
        raise ValueError(f"{len(pixels)} bytes are no whole number of pictures of {shape}")
    return from_uint8(pixels.view(-1, *shape))


def check_picture(path: Path | str) -> Path:
    """Make sure that a picture can be written at ``path``, before the work of making it.

    Returns:
        ``path`` as a Path.

    Raises:
        ValueError: If its ending names no kind of picture, or its folder is missing or can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise ValueError(f"{path} does not end like a picture: use one of {' '.join(PICTURE_ENDINGS)}")
    return check_writable(path)


def save_grid(
    images: Tensor, path: Path | str, *, columns: int | None = None, side: int = 56, smooth: bool = True
) -> None:
    """Write images as one picture, in a grid that is about square or has a given number of columns.

    Args:
        images: ``(N, C, H, W)`` in [-1, 1], C = 1 or 3; values outside are clipped.
        path: The picture; its ending names the format.
        columns: Images in a row; by default about as many as there are rows.
        side: Images narrower than this are enlarged by the least whole factor that makes them as wide.
        smooth: Enlarge by bicubic interpolation; False shows each pixel as a square. An 8x8 digit in squares is hard to
            read: the eye sees the edges of the squares before the stroke.

    Raises:
        ValueError: If the name has no picture's ending, or a value is not finite: it would look black.
    """
    from torchvision.utils import make_grid, save_image  # a second of imports

    path = check_picture(path)
    factor = max(1, math.ceil(side / images.shape[-1]))
    pixels = images.detach().float().cpu()
    if not bool(pixels.isfinite().all()):
        raise ValueError(f"the pictures for {path} hold values that are not finite: a smaller scale, or a clip, helps")
    if factor > 1:
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bicubic" if smooth else "nearest")
    pixels = (pixels.clamp(-1, 1) + 1) / 2
    grid = make_grid(pixels, nrow=columns or math.ceil(math.sqrt(len(pixels))), padding=2, pad_value=0.3)
    with replacing(path) as temporary:
        save_image(grid, temporary)
