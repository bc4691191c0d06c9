"""Where in a recording the sound is: by the energy of short frames, so that faint noise, an offset or a click beside a
word are not taken for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

FRAME, HOP = 160, 80  # samples of 1/8000 s: frames of 20 ms, every 10 ms
CLICK = 9  # frames whose median is taken: what lasts less than half of them, 40 ms, is a click
ABOVE = 4.0  # how far a frame with sound lies above the noise, as a ratio of powers: 6 dB
SHARES = (2e-4, 0.25)  # of the loudest frame's power: below the first is no sound, above the second there is
ZEROS = 1e-10  # power of half a step of 16 bits: frames below were filled in by a program, and show no noise
MARGIN = 10  # frames kept around it, for soft beginnings and ends
PAUSE = 25  # quiet frames that part two sounds
QUIET = 0.02  # of the loudest sample: what stays below at the ends goes as well


def find_sound(sound: Tensor, room: int) -> tuple[int, int, bool]:
    """The part of a recording to keep where there is no room for all of it.

    What is quiet at its ends goes first, by single samples. If what is left is still too long, and its beginning would
    not hold the sound that the frames show, that sound is taken: of several with pauses between, the one that is loud
    for longest, and its neighbours while they fit.

    Args:
        sound: ``(L,)`` without an offset and not silent.
        room: Samples.

    Returns:
        First sample, the sample after the last, and whether no other sound was left out. The part may be longer than
        ``room``.
    """
    simple = _loud(sound, 0, len(sound))
    if simple[1] - simple[0] <= room:
        return *simple, True
    spans, alone = _spans(sound), True
    start, stop = _loud(sound, spans[0][0], spans[-1][1])
    if stop - start > room and len(spans) > 1:
        (start, stop), alone = _most(sound, spans, room), False
    return (*simple, True) if simple[0] <= start and stop <= simple[0] + room else (start, stop, alone)


def _spans(sound: Tensor) -> list[tuple[int, int]]:
    """Where the sounds are that have pauses between, first and last samples with a margin."""
    energy = _energy(sound)
    heard = energy > ZEROS
    noise = energy[heard].quantile(0.1).item() if heard.any() else 0.0
    least, most = (share * energy.max().item() for share in SHARES)
    active = torch.nonzero(energy > min(max(ABOVE * noise, least), most))[:, 0].tolist()
    if not active:  # clicks alone
        return [(0, len(sound))]
    begin = [b for a, b in zip([-PAUSE - 1, *active], active) if b - a > PAUSE]
    end = [a for a, b in zip(active, [*active[1:], active[-1] + PAUSE + 1]) if b - a > PAUSE]
    return [(max(0, (a - MARGIN) * HOP), min(len(sound), (b + MARGIN) * HOP + FRAME)) for a, b in zip(begin, end)]


def _most(sound: Tensor, spans: list[tuple[int, int]], room: int) -> tuple[int, int]:
    """The one of several parts that is loud for longest, with its neighbours while they fit."""
    loud = _energy(sound).sqrt()
    first = last = max(range(len(spans)), key=lambda i: loud[spans[i][0] // HOP : spans[i][1] // HOP].sum().item())
    kept = _loud(sound, *spans[first])
    while True:
        for a, b in ((first, last + 1), (first - 1, last)):
            wider = _loud(sound, spans[a][0], spans[b][1]) if a >= 0 and b < len(spans) else (0, room + 1)
            if wider[1] - wider[0] <= room:
                kept, first, last = wider, a, b
                break
        else:
            return kept


def _energy(sound: Tensor) -> Tensor:
    """The power of each frame around its own mean, without clicks: ``(frames,)`` float64."""
    frames = torch.nn.functional.pad(sound.double(), (0, FRAME)).unfold(0, FRAME, HOP)
    power = frames.var(-1, correction=0)
    around = torch.nn.functional.pad(power, (CLICK // 2, CLICK // 2)).unfold(0, CLICK, 1)
    return around.median(-1).values


def _loud(sound: Tensor, start: int, stop: int) -> tuple[int, int]:
    """The same part without what is quiet at its ends."""
    part = sound[start:stop].abs()
    loud = torch.nonzero(part > QUIET * part.max())[:, 0]
    return start + int(loud[0]), start + int(loud[-1]) + 1
