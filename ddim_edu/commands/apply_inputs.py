"""What the applications are given: images from files or from those held out, and masks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.commands.apply_options import Common
from ddim_edu.data.decoding import open_image, quietly, read_image, reason
from ddim_edu.data.pictures import from_uint8
from ddim_edu.data.registry import trained_on
from ddim_edu.measuring.reference import reference_images
from ddim_edu.models import Checkpoint
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.streams import say

SIDES = ("left", "right", "top", "bottom", "centre", "random")


def pictures(model: Checkpoint, options: Common) -> Tensor:
    """The images of the options: files, or some of those held out, the same for a seed.

    Returns:
        ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Raises:
        ValueError: If they can't be had.
    """
    if options.images:
        return read_files(options.images, model.config.image_size, model.config.image_channels)
    data = options.data or trained_on(model, "name images with --images, or --data")
    held, wanted = reference_images(model, "test", options.data_dir, data), options.wanted
    if wanted > len(held):
        raise ValueError(f"n = {wanted}: {data} holds out {len(held):,} images")
    chosen = torch.randperm(len(held), generator=generator_for(options.seed, Stream.APPLY))[:wanted]
    return from_uint8(held[chosen])


def read_files(paths: Sequence[Path], size: int, channels: int) -> Tensor:
    """Image files as a model takes them; a line on stderr says what was changed.

    Returns:
        ``(N, channels, size, size)`` in [-1, 1].

    Raises:
        ValueError: If a file can't be read.
    """
    found, resized, grey = [], [], []
    for path in paths:
        width, height = size_of(path)
        found.append(pixels_of(path, size, channels))
        if (width, height) != (size, size):
            resized.append(f"{path} was {width} x {height}")
        if channels == 1 and not is_grey(path):
            grey.append(str(path))
    for those, what in (
        (resized, f"central squares resized to the model's {size} x {size}"),
        (grey, "colours made grey (luma)"),
    ):
        if those:
            first = f"{those[0]}{', ...' if len(those) > 1 else ''}"
            say(f"{len(those)} of {len(paths)} images: {what} ({first})", file=sys.stderr)
    return from_uint8(torch.stack(found))


def pixels_of(path: Path, size: int, channels: int) -> Tensor:
    """An image file as a model takes it, ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If it can't be read.
    """
    try:
        return torch.tensor(read_image(path, size=size, channels=channels))
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise unreadable(path, error) from None


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file.

    Raises:
        ValueError: If it can't be read.
    """
    try:
        with quietly(), open_image(path) as image:
            return image.size
    except Exception as error:  # as above
        raise unreadable(path, error) from None


def is_grey(path: Path) -> bool:
    """Whether an image file, which can be read, holds no colours."""
    with quietly(), open_image(path) as image:
        if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
            return True
        red, green, blue = image.convert("RGB").split()
        return red.tobytes() == green.tobytes() == blue.tobytes()


def unreadable(path: Path, error: Exception) -> ValueError:
    """What to say of a file that can't be read."""
    if isinstance(error, FileNotFoundError):
        return ValueError(f"there is no file {path}")
    return ValueError(f"can't read {path} ({reason(path, error)})")


def missing_of(mask: str, size: int, seed: int) -> Tensor:
    """Which pixels a mask takes away.

    Args:
        mask: One of ``SIDES``, or an image file that is white where pixels are missing.
        size: Side of the model's images.
        seed: Of a random mask.

    Returns:
        ``(size, size)`` bool.

    Raises:
        ValueError: If it is of another size than the model's images, or takes away nothing or everything.
    """
    missing = torch.zeros(size, size, dtype=torch.bool)
    half, quarter = size // 2, size // 4
    if mask == "random":
        missing = torch.rand(size, size, generator=generator_for(seed, Stream.MASK)) < 0.75
    elif mask in SIDES:
        middle = slice(quarter, size - quarter)
        rows, columns = {
            "left": (slice(None), slice(half)),
            "right": (slice(None), slice(half, None)),
            "top": (slice(half), slice(None)),
            "bottom": (slice(half, None), slice(None)),
            "centre": (middle, middle),
        }[mask]
        missing[rows, columns] = True
    else:
        if not Path(mask).exists():
            raise ValueError(f"there is no mask {mask}: name an image file, or one of {', '.join(SIDES)}")
        width, height = size_of(Path(mask))
        if (width, height) != (size, size):
            raise ValueError(
                f"the mask {mask} has {width} x {height} pixels: make it {size} x {size}, as the model's images are"
            )
        missing = pixels_of(Path(mask), size, 1)[0] > 127
    if not missing.any():
        raise ValueError(f"the mask {mask} takes away nothing: make white what is to be filled in")
    if missing.all():
        raise ValueError(f"the mask {mask} takes away everything: make black what is known")
    return missing
