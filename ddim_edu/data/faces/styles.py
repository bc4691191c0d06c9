"""The styles of drawn faces: their parts, where these are from, and the colours that all have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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
    "red": "e2504f", "yellow": "f2b632", "green": "4caf6d", "blue": "3f74e8", "purple": "8a5bd0", "white": "f4f4f4",
    "black": "2b2d33",
}  # fmt: skip
COLOURS = {"background": BACKGROUND, "skin": SKIN, "hair colour": {"none": ""} | HAIR, "clothes colour": CLOTHES}


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
                "bangs cornrows grayBun grayMedium grayShort mediumBangs2 mohawk short4 afro bantuKnots buns dreads1 "
                "flatTop longBangs longCurly medium2 pomp short1 bun hatBeanie hijab turban noHair2",
            ),
            "expression": _part(
                "expression",
                "awe calm cheeky concerned cute driven eatingHappy explaining eyesClosed hectic lovingGrin1 rage "
                "serious smile smileBig smileLOL solemn suspicious tired veryAngry",
            ),
            "beard": _part("facialHair", "chin full full2 full3 goatee1 moustache1 moustache3 moustache6", 0.1),
            "glasses": _part("accessories", "glasses glasses2 glasses3 glasses5 sunglasses", 0.2),
        },
        colours={"skin": ("skin",), "hair colour": ("headContrast",), "clothes colour": ("clothing",)},
        options={"scale": 1.06, "translateY": 2, "maskProbability": 0},
        black=frozenset(
            "afro bantuKnots buns dreads1 flatTop longBangs longCurly medium2 pomp short1 bun hatBeanie".split()
        ),
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
            "scale": 1.12, "translateY": 4, "earsVariant": "attached", "glassesColor": "000000",
            "earringColor": "f4d150", "eyeShadowColor": "d2eff3",
        },
        bare=frozenset({"mrClean"}),
    ),
    "toon-head": Style(
        "ToonHead", "https://www.figma.com/community/file/1589627891082866389", "Johan Melin",
        "https://www.johanmelin.com", *_CC_BY,
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
        "Personas by Draftbit", "https://personas.draftbit.com/", "Draftbit - draftbit.com", "https://draftbit.com/",
        *_CC_BY,
        parts={
            "hair": _part(
                "hair",
                "balding bobBangs bobCut bunUndercut buzzcut curly curlyBun curlyHighTop extraLong fade long mohawk "
                "pigtails shortCombover shortComboverChops sideShave straightBun bald beanie cap",
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
        f'{style}: faces from parts of "{s.title}" ({s.source}) by {s.creator} ({s.creator_url}), '
        f"{s.licence} ({s.licence_url}), by way of DiceBear; recoloured, enlarged, and some parts left out"
    )
