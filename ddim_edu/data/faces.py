"""Drawn faces, of which every attribute is known.

A face is a vector graphic put together from parts and colours: hair, eyes, mouth, glasses, clothes, and so on, in one
of a few styles, which are the classes. Face ``n`` is a function of its number alone: its attributes are drawn from a
table by a hash of ``n`` (:func:`attributes`, which needs no other package and no pixels), then a picture is drawn from
the attributes (:func:`render`). So what is in a picture is known and not guessed, two faces are the same picture where
their attributes are the same, and one attribute can be changed with all others kept (:func:`edited`).

Attributes are drawn independently of each other and each evenly among its values, but that optional parts (a beard,
glasses) are there with the probability that the table gives. Only then a colour that nothing in the picture has is set
to ``none``, so that equal rows and equal pictures go together.

The parts are those of DiceBear's styles (package ``dicebear-styles``, read from there and not copied), each under the
licence that ``STYLES`` names and :func:`credits` writes out; colours are this module's, the same for all styles, and
parts that make no good face at 32 pixels are left out. ``dicebear-core`` puts a drawing together, ``resvg-py`` makes
pixels of it: ``pip install "ddim_edu[faces]"``. 64 pictures come with this package and need none of them
(:func:`shipped`).
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from ddim_edu.data.folder import IN_MEMORY, default_cache_dir
from ddim_edu.files import check_writable, replacing

FORMAT = 1  # of the cache, the table and the hash: whoever changes what becomes of a number raises it
TRAIN, HELDOUT = 30_000, 3_000  # how many
HELDOUT_FROM = 1_000_000  # the numbers to train on are 0, 1, ..., those of held-out faces begin here
SIZES = (16, 256)
SHIPPED = 64
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")

_BLOCK = 64  # faces that a process draws before it hands them on
_ALONE = 1000  # for as many faces another process is worth its start, two seconds of imports

BACKGROUND = {"sky": "b6e3f4", "lavender": "cfc6f2", "rose": "ffd5dc", "cream": "fff1cc", "mint": "ccefd8"}
SKIN = {"pale": "f9d3b4", "light": "eab088", "tan": "cf8d5c", "brown": "a65f38", "dark": "6b4734"}
HAIR = {
    "black": "2a1c18",
    "brown": "6f4226",
    "ginger": "c8571f",
    "blond": "e3b655",
    "grey": "a9a5ab",
    "pink": "f07fa8",
    "blue": "4a8fdc",
}
CLOTHES = {
    "red": "e2504f", "yellow": "f2b632", "green": "4caf6d", "blue": "3f74e8", "purple": "8a5bd0", "white": "f4f4f4", "black": "2b2d33",
}  # fmt: skip
_COLOURS = {"background": BACKGROUND, "skin": SKIN, "hair colour": {"none": ""} | HAIR, "clothes colour": CLOTHES}

# The columns of every table of attributes.
ATTRIBUTES = (
    "style", "background", "skin", "hair", "hair colour", "long hair", "expression", "eyes", "brows", "nose", "mouth", "beard", "glasses",
    "earrings", "clothes", "clothes colour",
)  # fmt: skip


class Part(NamedTuple):
    """A part of a face.

    Attributes:
        component: Its name in the style file.
        variants: Those that are drawn.
        probability: That it is there at all; below 1, its first value is ``none``.
    """

    component: str
    variants: tuple[str, ...]
    probability: float = 1.0


@dataclass(frozen=True)
class Style:
    """A style: where it is from, and what is drawn of it.

    Attributes:
        title: Of the original work.
        source: Where that is found.
        creator: Who made it.
        creator_url: A page of theirs.
        licence: Its name.
        licence_url: Its text.
        parts: Attribute to part.
        colours: Attribute to the colours of the style file that it sets.
        options: What is the same in all faces: where the face is in the frame, colours and parts that are no attribute.
        black: Variants of hair that are black ink, whatever the hair colour.
        bare: Variants of hair that show no hair.
        beard_coloured: Whether a beard has the colour of the hair; otherwise it is black ink.
    """

    title: str
    source: str
    creator: str
    creator_url: str
    licence: str
    licence_url: str
    parts: Mapping[str, Part]
    colours: Mapping[str, tuple[str, ...]]
    options: Mapping[str, object]
    black: frozenset[str] = field(default_factory=frozenset)
    bare: frozenset[str] = field(default_factory=frozenset)
    beard_coloured: bool = True


_CC0 = ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")
_CC_BY = ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/")


def _part(component: str, variants: str, probability: float = 1.0) -> Part:
    return Part(component, tuple(variants.split()), probability)


STYLES: dict[str, Style] = {
    "open-peeps": Style(
        "Open Peeps", "https://www.openpeeps.com/", "Pablo Stanley", "https://twitter.com/pablostanley", *_CC0,
        parts={
            "hair": _part(
                "head",
                "bangs cornrows grayBun grayMedium grayShort mediumBangs2 mohawk short4 afro bantuKnots buns dreads1 flatTop longBangs "
                "longCurly medium2 pomp short1 bun hatBeanie hijab turban noHair2",
            ),
            "expression": _part(
                "expression",
                "awe calm cheeky concerned cute driven eatingHappy explaining eyesClosed hectic lovingGrin1 rage serious smile smileBig "
                "smileLOL solemn suspicious tired veryAngry",
            ),
            "beard": _part("facialHair", "chin full full2 full3 goatee1 moustache1 moustache3 moustache6", 0.1),
            "glasses": _part("accessories", "glasses glasses2 glasses3 glasses5 sunglasses", 0.2),
        },
        colours={"skin": ("skin",), "hair colour": ("headContrast",), "clothes colour": ("clothing",)},
        options={"scale": 1.06, "translateY": 2, "maskProbability": 0},
        black=frozenset("afro bantuKnots buns dreads1 flatTop longBangs longCurly medium2 pomp short1 bun hatBeanie".split()),
        bare=frozenset("hijab turban noHair2".split()),
        beard_coloured=False,
    ),
    "micah": Style(
        "Avatar Illustration System", "https://www.figma.com/community/file/829741575478342595", "Micah Lanier",
        "https://dribbble.com/micahlanier", *_CC_BY,
        parts={
            "hair": _part("hair", "dannyPhantom dougFunny fonze full mrT pixie turban mrClean"),
            "eyes": _part("eyes", "eyes eyesShadow round smiling smilingShadow"),
            "brows": _part("eyebrows", "down eyelashesDown eyelashesUp up"),
            "nose": _part("nose", "curve pointed tound"),
            "mouth": _part("mouth", "frown laughing nervous pucker sad smile smirk surprised"),
            "beard": _part("facialHair", "beard scruff", 0.1),
            "glasses": _part("glasses", "round square", 0.25),
            "earrings": _part("earrings", "hoop stud", 0.25),
            "clothes": _part("clothes", "collared crew open"),
        },
        colours={"skin": ("base",), "hair colour": ("hair", "facialHair"), "clothes colour": ("shirt",)},
        options={
            "scale": 1.12, "translateY": 4, "earsVariant": "attached", "glassesColor": "000000", "earringColor": "f4d150",
            "eyeShadowColor": "d2eff3",
        },
        bare=frozenset({"mrClean"}),
    ),
    "toon-head": Style(
        "ToonHead", "https://www.figma.com/community/file/1589627891082866389", "Johan Melin", "https://www.johanmelin.com", *_CC_BY,
        parts={
            "hair": _part("hair", "bun sideComed spiky undercut"),
            "long hair": _part("rearHair", "longStraight longWavy neckHigh shoulderHigh", 0.5),
            "eyes": _part("eyes", "bow happy humble wide wink"),
            "brows": _part("eyebrows", "angry happy neutral raised sad"),
            "mouth": _part("mouth", "agape angry laugh sad smile"),
            "beard": _part("beard", "chin chinMoustache fullBeard longBeard moustacheTwirl", 0.15),
            "clothes": _part("clothes", "dress openJacket shirt tShirt turtleNeck"),
        },
        colours={"skin": ("skin",), "hair colour": ("hair",), "clothes colour": ("clothes",)},
        options={"scale": 1.12, "translateY": 3},
    ),
    "personas": Style(
        "Personas by Draftbit", "https://personas.draftbit.com/", "Draftbit - draftbit.com", "https://draftbit.com/", *_CC_BY,
        parts={
            "hair": _part(
                "hair",
                "balding bobBangs bobCut bunUndercut buzzcut curly curlyBun curlyHighTop extraLong fade long mohawk pigtails "
                "shortCombover shortComboverChops sideShave straightBun bald beanie cap",
            ),
            "eyes": _part("eyes", "glasses happy open sleep sunglasses wink"),
            "nose": _part("nose", "mediumRound smallRound wrinkles"),
            "mouth": _part("mouth", "bigSmile frown lips smile smirk surprise"),
            "beard": _part("facialHair", "beardMustache goatee pyramid shadow soulPatch walrus", 0.1),
            "clothes": _part("clothes", "checkered rounded small squared"),
        },
        colours={"skin": ("skin",), "hair colour": ("hair", "facialHair"), "clothes colour": ("clothing",)},
        options={"scale": 1.28, "translateY": 4},
        bare=frozenset({"bald", "beanie", "cap"}),
    ),
}  # fmt: skip


def credits(style: str) -> str:
    """The line of attribution of a style, which CC BY asks for wherever its pictures are shown."""
    s = STYLES[style]
    return (
        f'{style}: faces from parts of "{s.title}" ({s.source}) by {s.creator} ({s.creator_url}), {s.licence} ({s.licence_url}), '
        "by way of DiceBear; recoloured, enlarged, and some parts left out"
    )


# ---- attributes


@cache
def values(style: str, attribute: str) -> tuple[str, ...]:
    """Names of what an attribute can be in a style: value ``i`` of a table is entry ``i``; empty if the style does not
    have it.

    Args:
        style: A key of ``STYLES``.
        attribute: One of ``ATTRIBUTES``.
    """
    if attribute not in ATTRIBUTES:
        raise ValueError(f"faces have no attribute {attribute!r}; known: {', '.join(ATTRIBUTES)}")
    if style not in STYLES:
        raise ValueError(f"there is no style {style!r}; known: {', '.join(STYLES)}")
    if attribute == "style":
        return tuple(STYLES)
    if attribute in _COLOURS:
        return tuple(_COLOURS[attribute])
    part = STYLES[style].parts.get(attribute)
    if part is None:
        return ()
    return part.variants if part.probability == 1 else ("none", *part.variants)


def attributes(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """What is in the faces of these numbers, without drawing them.

    Args:
        numbers: ``(N,)`` whole numbers, at least 0.

    Returns:
        ``(N, A)`` int16, a column for each of ``ATTRIBUTES``: which of :func:`values` it is, and -1 where the style has
        none.
    """
    numbers = np.asarray(numbers, dtype=np.int64).reshape(-1)
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"faces have the numbers 0, 1, ..., and not {numbers.min()}")
    table = np.full((len(numbers), len(ATTRIBUTES)), -1, np.int16)
    table[:, 0] = numbers % len(STYLES)
    for label, (name, style) in enumerate(STYLES.items()):
        rows = np.flatnonzero(table[:, 0] == label)
        for column, attribute in enumerate(ATTRIBUTES[1:], start=1):
            count = len(values(name, attribute))
            u = _uniform(numbers[rows], column)
            if attribute == "hair colour":  # its first value, none, comes from what is drawn beside it
                table[rows, column] = 1 + np.floor(u * (count - 1))
            elif (part := style.parts.get(attribute)) is not None and part.probability < 1:
                p = part.probability
                table[rows, column] = np.where(u < p, 1 + np.floor(u / p * (count - 1)), 0)
            elif count:
                table[rows, column] = np.floor(u * count)
        table[rows] = _plain(name, table[rows])
    return table


def _uniform(numbers: np.ndarray, column: int) -> np.ndarray:
    """Numbers in [0, 1) by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), entry ``64 n + column`` of its sequence
    from 0.
    """
    z = (numbers.astype(np.uint64) * np.uint64(64) + np.uint64(column + 1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _plain(name: str, table: np.ndarray) -> np.ndarray:
    """Hair colours as they are seen: those that no hair and no beard shows become ``none``, hair of black ink is black."""
    style, table = STYLES[name], table.copy()
    hair, colour, beard = (ATTRIBUTES.index(a) for a in ("hair", "hair colour", "beard"))
    names = values(name, "hair")
    bare = np.isin(table[:, hair], [names.index(v) for v in style.bare])
    if style.beard_coloured:
        bare &= table[:, beard] == 0
    table[bare, colour] = 0
    table[np.isin(table[:, hair], [names.index(v) for v in style.black]), colour] = values(name, "hair colour").index(
        "black"
    )
    return table


def described(row: np.ndarray) -> dict[str, str]:
    """A row of :func:`attributes` in words: attribute to value, without those that the style does not have."""
    style = tuple(STYLES)[row[0]]
    return {a: values(style, a)[i] for a, i in zip(ATTRIBUTES, row, strict=True) if i >= 0}


def encoded(words: Mapping[str, str]) -> np.ndarray:
    """The row, ``(A,)`` int16, of what :func:`described` says.

    Raises:
        ValueError: If an attribute is missing or unknown, has no such value, or the hair can't have its colour.
    """
    row = _row(words)
    style, colour = words["style"], ATTRIBUTES.index("hair colour")
    probe = row.copy()
    probe[colour] = max(1, row[colour])
    plain = _plain(style, probe[None])[0]
    if row[colour] == 0 and plain[colour] != 0:
        raise ValueError(f"a face of the style {style} with hair = {words['hair']!r} shows a hair colour: give one")
    if plain[colour] != row[colour]:
        is_so = values(style, "hair colour")[plain[colour]]
        raise ValueError(
            f"hair = {words['hair']!r} of the style {style} has the hair colour {is_so!r}, not {words['hair colour']!r}"
        )
    return row


def _row(words: Mapping[str, str]) -> np.ndarray:
    style = words.get("style", "")
    row = np.full(len(ATTRIBUTES), -1, np.int16)
    for attribute, value in words.items():
        known = values(style, attribute)
        if not known:
            raise ValueError(f"faces of the style {style} have no {attribute!r}")
        if value not in known:
            raise ValueError(f"{attribute} = {value!r}: faces of the style {style} have {', '.join(known)}")
        row[ATTRIBUTES.index(attribute)] = known.index(value)
    missing = [a for a in ATTRIBUTES if a not in words and values(style, a)]
    if missing:
        raise ValueError(f"a face of the style {style} needs {', '.join(missing)}")
    return row


def edited(row: np.ndarray, changes: Mapping[str, str]) -> np.ndarray:
    """A face with some attributes changed and all others kept.

    Args:
        row: ``(A,)``, of :func:`attributes`.
        changes: Attribute to new value. Where hair goes its colour goes too; where it comes, its colour is to be given
            as well.

    Returns:
        ``(A,)`` int16.

    Raises:
        ValueError: If the style has no such attribute or value, a style is to be changed, or the hair can't have its
            colour.
    """
    words = described(row)
    if changes.get("style", words["style"]) != words["style"]:
        raise ValueError("an edit keeps the style: other styles have other parts")
    words |= changes
    new = _row(words)
    if "hair colour" not in changes:
        new = _plain(words["style"], new[None])[0]
    return encoded(described(new))


# ---- pixels


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
    """What is handed to DiceBear for a row of :func:`attributes`: every part and every colour, nothing left to chance."""
    words = described(row)
    style = STYLES[words["style"]]
    result: dict[str, object] = {"seed": "0", "backgroundColor": BACKGROUND[words["background"]], **style.options}
    for attribute, part in style.parts.items():
        there = words[attribute] != "none"
        result[f"{part.component}Probability"] = 100 if there else 0
        if there:
            result[f"{part.component}Variant"] = words[attribute]
    for attribute, names in style.colours.items():
        colour = _COLOURS[attribute][words[attribute]] or HAIR["black"]  # where it says none, nothing has it
        result |= {f"{name}Color": colour for name in names}
    return result


def render(row: np.ndarray, size: int, channels: int = 3) -> np.ndarray:
    """Draw one face.

    Args:
        row: ``(A,)``, of :func:`attributes` or :func:`edited`.
        size: Width and height, 16 to 256.
        channels: 3 for RGB, 1 for grey (ITU-R BT.601's luma).

    Returns:
        ``(channels, size, size)`` uint8.

    Raises:
        ValueError: If the packages are missing, or there is no such size.
    """
    _check(size, channels)
    _need()
    import resvg_py
    from dicebear import Avatar

    svg = Avatar(_definition(tuple(STYLES)[row[0]]), options(row)).to_string()
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _check(size: int, channels: int) -> None:
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
    for start, block in _drawn(np.asarray(numbers, np.int64), size, channels, processes):
        result[start : start + len(block)] = block
    return result


def _drawn(numbers: np.ndarray, size: int, channels: int, processes: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of faces in order, each with where it begins.

    Processes are new interpreters that write to a pipe: unlike those of ``multiprocessing`` they neither copy this one
    with its threads nor run the caller's script again.
    """
    _check(size, channels)
    versions()  # here, once, rather than in every process
    blocks = [numbers[i : i + _BLOCK] for i in range(0, len(numbers), _BLOCK)]
    count = min(processes or min(_cpus(), len(numbers) // _ALONE), len(blocks))
    if count <= 1:
        for i, block in enumerate(blocks):
            yield i * _BLOCK, np.stack([render(row, size, channels) for row in attributes(block)])
        return
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    code = "from ddim_edu.data.faces import _work; _work()"
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


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- the data set


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
        cache_dir: Where to keep the pixels; by default where :mod:`ddim_edu.data.folder` does.
        processes: How many draw at once; if None as many as there are cores, or fewer for few faces.

    Raises:
        ValueError: One line, if the packages are missing, there is no such size, or the cache can't be written.
    """
    _check(size, channels)
    if not (0 < n_train <= HELDOUT_FROM and n_heldout > 0):
        raise ValueError(
            f"{n_train} faces to train on and {n_heldout} held out: give at least 1 of each, and at most {HELDOUT_FROM:,}"
        )
    numbers = np.concatenate([np.arange(n_train), HELDOUT_FROM + np.arange(n_heldout)])
    about = {
        "format": FORMAT, "size": size, "channels": channels, "styles": list(STYLES), "versions": versions(), "train": n_train,
        "heldout": n_heldout,
    }  # fmt: skip
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    table = attributes(numbers)
    drawing = sha256(json.dumps(about).encode() + table.tobytes()).hexdigest()[:10]
    path = folder / f"faces-{size}x{size}x{channels}-{drawing}.pixels"
    shape = (len(numbers), channels, size, size)
    if not _whole(path, about, shape):
        _fill(path, about, numbers, processes)
    return Faces(_map(path, shape), table, n_train, numbers)


def _whole(path: Path, about: dict, shape: tuple[int, ...]) -> bool:
    """Whether the cache has these pixels as they were written."""
    try:
        said = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
        crc = said.pop("crc32")
        if (
            said == about
            and path.stat().st_size == math.prod(shape)
            and zlib.crc32(_map(path, shape).reshape(-1)) == crc
        ):
            return True
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    print(f"the cache {path} is damaged: drawing the faces again", file=sys.stderr)
    return False


def _fill(path: Path, about: dict, numbers: np.ndarray, processes: int | None) -> None:
    size, channels = about["size"], about["channels"]
    remedy = "choose another folder with the environment variable DDIM_EDU_CACHE"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
        for left in path.parent.glob(f".{path.stem}.*.tmp.*"):  # of killed runs
            if time.time() - left.stat().st_mtime > 86_400:
                left.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"can't write the cache folder {path.parent} ({reason}): {remedy}") from None
    need, free = len(numbers) * channels * size**2, shutil.disk_usage(path.parent).free
    if need > free:
        raise ValueError(
            f"the faces need {need / 1e9:.1f} GB in {path.parent}, where {free / 1e9:.1f} are free: {remedy}"
        )
    crc = 0
    with (
        replacing(path) as temporary,
        open(temporary, "wb") as out,
        tqdm(total=len(numbers), desc=f"drawing faces of {size} x {size}", unit=" faces", disable=None) as bar,
    ):
        for _, block in _drawn(numbers, size, channels, processes):
            crc = zlib.crc32(block, crc)
            out.write(block)
            bar.update(len(block))
    with replacing(path.with_suffix(".json")) as temporary:  # last: it vouches for the pixels
        temporary.write_text(json.dumps(about | {"crc32": crc}) + "\n", encoding="utf8")


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if math.prod(shape) <= IN_MEMORY:
        return np.fromfile(path, np.uint8).reshape(shape)
    return np.memmap(path, np.uint8, mode="r", shape=shape)


# ---- those that come with the package


_HERE = Path(__file__).parent.parent / "faces"


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

    ``python -c "from ddim_edu.data.faces import _ship; _ship()"`` makes ``ddim_edu/faces`` anew.
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
