"""The data set of drawn faces, of which every attribute is known; its cache, and the pictures that come along.

A face is a vector graphic put together from parts and colours: hair, eyes, mouth, glasses, clothes, and so on, in one
of a few styles, which are the classes. Face ``n`` is a function of its number alone: its attributes are drawn from a
table by a hash of ``n`` (:mod:`ddim_edu.data.faces.attributes`, which needs no other package and no pixels), then a
picture is drawn from the attributes (:mod:`ddim_edu.data.faces.drawing`). So what is in a picture is known and not
guessed, two faces are the same picture where their attributes are the same, and one attribute can be changed with all
others kept.

Attributes are drawn independently of each other and each evenly among its values, but that optional parts (a beard,
glasses) are there with the probability that the table gives. Only then a colour that nothing in the picture has is set
to ``none``, so that equal rows and equal pictures go together.

The parts are those of DiceBear's styles (package ``dicebear-styles``, read from there and not copied), each under the
licence that :mod:`ddim_edu.data.faces.styles` names; colours are that module's, the same for all styles, and parts that
make no good face at 32 pixels are left out. ``dicebear-core`` puts a drawing together, ``resvg-py`` makes pixels of it:
``pip install "ddim_edu[faces]"``. 64 pictures come with this package and need none of them.
"""

from __future__ import annotations

import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ddim_edu.data.cache import PixelCache
from ddim_edu.data.faces.attributes import attributes, described, encoded
from ddim_edu.data.faces.drawing import blocks_of, check_form, draw, versions
from ddim_edu.data.faces.styles import STYLES, credits
from ddim_edu.files import replacing
from ddim_edu.processes import progress

FORMAT = 1  # of the cache, the table and the hash: whoever changes what becomes of a number raises it
TRAIN, HELDOUT = 30_000, 3_000  # how many
HELDOUT_FROM = 1_000_000  # the numbers to train on are 0, 1, ..., those of held-out faces begin here
SHIPPED = 64

_HERE = Path(__file__).parents[2] / "faces"  # those that come with the package


class Faces(NamedTuple):
    """Faces to train on, then held-out ones.

    Attributes:
        pixels: ``(N, C, size, size)`` uint8; mapped from the cache, and then not to be written, if it is large.
        attributes: ``(N, A)`` int16, columns as in ``ATTRIBUTES``.
        n_train: How many are to train on.
        numbers: ``(N,)`` int64.
    """

    pixels: np.ndarray
    attributes: np.ndarray
    n_train: int
    numbers: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """``(N,)`` int64, which of ``STYLES``."""
        return self.attributes[:, 0].astype(np.int64)


def read_faces(
    size: int = 32,
    channels: int = 3,
    *,
    n_train: int = TRAIN,
    n_heldout: int = HELDOUT,
    cache_dir: Path | str | None = None,
    processes: int | None = None,
) -> Faces:
    """The data set, from the cache if it has been drawn before.

    Styles take turns, so that they are balanced in every stretch of either part.

    Args:
        size: Width and height, 16 to 256.
        channels: 3 or 1.
        n_train: Faces to train on, numbers 0, 1, ...
        n_heldout: Held-out faces, numbers from ``HELDOUT_FROM``.
        cache_dir: Where to keep the pixels; by default where :mod:`ddim_edu.data.cache` says.
        processes: How many draw at once; if None as many as there are cores, or fewer for few faces.

    Raises:
        ValueError: One line, if the packages are missing, there is no such size, or the cache can't be written.
    """
    check_form(size, channels)
    if not (0 < n_train <= HELDOUT_FROM and n_heldout > 0):
        raise ValueError(
            f"{n_train} faces to train on and {n_heldout} held out: give at least 1 of each, and at most "
            f"{HELDOUT_FROM:,}"
        )
    numbers = np.concatenate([np.arange(n_train), HELDOUT_FROM + np.arange(n_heldout)])
    about = {
        "format": FORMAT, "size": size, "channels": channels, "styles": list(STYLES), "versions": versions(),
        "train": n_train, "heldout": n_heldout,
    }  # fmt: skip
    table, shape = attributes(numbers), (len(numbers), channels, size, size)
    drawing = sha256(json.dumps(about).encode() + table.tobytes()).hexdigest()[:10]
    cache = PixelCache(cache_dir, f"faces-{size}x{size}x{channels}-{drawing}")

    def shape_of(said: dict[str, Any]) -> tuple[int, ...]:
        if {key: value for key, value in said.items() if key != "crc32"} != about:  # its name says that it is this
            raise ValueError
        return shape

    found = cache.read(shape_of, "drawing the faces again")
    if found is None:
        with (
            cache.writing(math.prod(shape), "the faces") as add,
            progress(len(numbers), "face", f"drawing faces of {size} x {size}") as bar,
        ):
            for _, block in blocks_of(numbers, size, channels, processes):
                add(block)
                bar.update(len(block))
        cache.vouch(about)
    return Faces(found[0] if found else cache.map(shape), table, n_train, numbers)


def shipped() -> Faces:
    """64 held-out faces of 64 x 64 that come with this package, styles in turn; nothing else is needed.

    Returns:
        :class:`Faces` with ``n_train`` 0.
    """
    said = json.loads((_HERE / "faces.json").read_text(encoding="utf8"))
    with Image.open(_HERE / "faces.png") as image:
        grid = np.asarray(image.convert("RGB"))
    side, columns = said["size"], grid.shape[1] // said["size"]
    pixels = grid.reshape(-1, side, columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
    table = np.stack([encoded(words) for words in said["faces"]])
    return Faces(np.ascontiguousarray(pixels), table, 0, np.array(said["numbers"], np.int64))


def _ship(folder: Path | None = None, size: int = 64) -> None:
    """Draw the pictures of :func:`shipped`: the first held-out ones, with what is in them in words.

    ``python -c "from ddim_edu.data.faces.dataset import _ship; _ship()"`` makes ``ddim_edu/faces`` anew.
    """
    folder = folder or _HERE
    numbers = HELDOUT_FROM + np.arange(SHIPPED)
    pixels, columns = draw(numbers, size), 8
    grid = pixels.reshape(-1, columns, 3, size, size).transpose(0, 3, 1, 4, 2).reshape(-1, columns * size, 3)
    said = {
        "credits": [credits(style) for style in STYLES],
        "drawn with": versions(),
        "size": size,
        "numbers": numbers.tolist(),
        "faces": [described(row) for row in attributes(numbers)],
    }
    with replacing(folder / "faces.png") as temporary:
        Image.fromarray(grid).save(temporary, optimize=True)
    with replacing(folder / "faces.json") as temporary:
        lines = ",\n".join(f" {json.dumps(face)}" for face in said.pop("faces"))
        head = json.dumps(said, indent=1, ensure_ascii=False)[:-2]
        temporary.write_text(f'{head},\n "faces": [\n{lines}\n ]\n}}\n', encoding="utf8")
