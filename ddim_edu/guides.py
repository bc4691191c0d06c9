"""Guidance by its words, as commands take them: ``plain``, ``interval:200-700``, ``cfg++``, ``rescale:0.7``,
``auto:CHECKPOINT`` (chapter 19).

The formulas stand in :mod:`ddim_edu.guidance`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ddim_edu.forward import EpsTheta
from ddim_edu.guidance import check_interval, guided, guided_between, rescaled
from ddim_edu.ranges import closest
from ddim_edu.schedule import NoiseSchedule

KINDS = ("plain", "interval", "cfg++", "rescale", "auto")
FORMS = "plain, interval:200-700, cfg++, rescale:0.7 or auto:CHECKPOINT"


@dataclass(frozen=True)
class Guide:
    """A kind of guidance, without its scale.

    Attributes:
        kind: one of ``KINDS``.
        interval: of ``interval``: the lowest and the highest level that are guided.
        share: of ``rescale``.
        weaker: of ``auto``: the checkpoint that stands in the unconditional predictor's place.
    """

    kind: Literal["plain", "interval", "cfg++", "rescale", "auto"] = "plain"
    interval: tuple[int, int] = (1, 1)
    share: float = 0.0
    weaker: str = ""

    def predictor(
        self, conditional: EpsTheta, unconditional: EpsTheta, scale: float, schedule: NoiseSchedule
    ) -> EpsTheta:
        """The guided noise predictor; for ``auto``, ``unconditional`` is the weaker model's.

        Raises:
            ValueError: For ``cfg++``, which no noise predictor is, and as the functions of
                :mod:`ddim_edu.guidance`.
        """
        if self.kind == "cfg++":
            raise ValueError("guidance cfg++ takes steps of its own, of ddim: it is no noise predictor for other walks")
        if self.kind == "interval":
            return guided_between(conditional, unconditional, scale, self.interval, schedule)
        if self.kind == "rescale":
            return rescaled(conditional, unconditional, scale, self.share, schedule)
        return guided(conditional, unconditional, scale)


PLAIN = Guide()


def guide_named(words: str) -> Guide:
    """The guidance that some words name.

    Args:
        words: Such as ``"interval:200-700"``.

    Raises:
        ValueError: In one line, if they name none, or the interval is empty or the share outside 0..1.
    """
    kind, _, rest = words.partition(":")
    if words == "plain":
        return Guide("plain")
    if words == "cfg++":
        return Guide("cfg++")
    if kind == "interval":
        found = re.fullmatch(r"(\d{1,9})-(\d{1,9})", rest)
        if not found:
            raise ValueError(f"guidance {words}: give two levels, as in interval:200-700")
        low, high = int(found[1]), int(found[2])
        check_interval(low, high)
        return Guide("interval", (low, high))
    if kind == "rescale":
        try:
            share = float(rest)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise ValueError(f"guidance {words}: give a share from 0 to 1, as in rescale:0.7")
        return Guide("rescale", share=share)
    if kind == "auto":
        if not rest:
            raise ValueError(f"guidance {words}: name a weaker model, as in auto:runs/early")
        return Guide("auto", weaker=rest)
    raise ValueError(f"guidance {words!r} is unknown{closest(kind, KINDS)}; give {FORMS}")


def check_guide(guide: Guide, scale: float, T: int) -> None:
    """A check that a kind of guidance goes with a scale and a model's levels.

    Raises:
        ValueError: In one line, if it doesn't.
    """
    if guide.kind == "interval":
        check_interval(*guide.interval, T)
    if scale == 1 and guide.kind not in ("plain", "cfg++"):
        raise ValueError(f"guidance {guide.kind} at scale 1 changes nothing: give a scale, as in --scale 2")


def guide_of_walk(words: str) -> Guide:
    """:func:`guide_named`, for applications, which walk by a noise predictor of one model.

    Raises:
        ValueError: As there, and for ``cfg++`` and ``auto``.
    """
    guide = guide_named(words)
    if guide.kind in ("cfg++", "auto"):
        raise ValueError(f"guidance {words}: this command takes plain, interval:LOW-HIGH or rescale:SHARE")
    return guide
