r"""First phases for Griffin and Lim's method, better than random ones: each partial goes on with its own frequency.

Where a spectrum has a peak there is a partial, whose frequency lies between two of the transform's. From a frame to
the next it turns by as much as that frequency says, and takes the frequencies around the peak along (single pass
spectrogram inversion: Beauregard, Harish and Wyse 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor


def running_phases(magnitudes: Tensor) -> Tensor:
    r"""The phases of partials that run on.

    A peak's place is that of the parabola through it and its neighbours, in the logarithm, which is within a cent or
    two. A partial with k periods in a window of W samples turns by :math:`2 \pi k / 4` in a hop of W/4. Around a peak
    neighbouring frequencies have opposite signs, since the transform counts from the window's beginning and the
    partial's phase is that of its middle.

    Args:
        magnitudes: ``(B, W / 2 + 1, M)``, not negative.

    Returns:
        Radians, of the same shape.
    """
    _, bins, frames = magnitudes.shape
    level = magnitudes.clamp(min=1e-6).log()
    places = torch.arange(bins, device=magnitudes.device)
    before, after = level.roll(1, 1), level.roll(-1, 1)
    is_peak = (level >= before) & (level > after)
    is_peak[:, [0, -1]] = False
    bend = (before - 2 * level + after).clamp(max=-1e-6)
    exact = places[:, None] + 0.5 * (before - after) / bend
    owner = nearest_peak(is_peak)
    frequency = torch.where(is_peak.any(1, keepdim=True), exact.gather(1, owner), places[:, None].to(exact))
    phases, result = torch.zeros_like(level[..., 0]), []
    signs = torch.pi * (places % 2)
    for m in range(frames):
        # Every frequency takes the phase of its peak; the peak's is its own, run on.
        phases = (phases + torch.pi / 2 * frequency[..., m]).gather(1, owner[..., m])
        result.append(phases + signs + signs[owner[..., m]])
    return torch.stack(result, -1)


def nearest_peak(is_peak: Tensor) -> Tensor:
    """The number of the nearest peak, along the first axis after the batch.

    Args:
        is_peak: ``(B, K, M)`` bool.

    Returns:
        ``(B, K, M)`` int64: of two that are as near the lower one, and K - 1 where there is none.
    """
    bins = is_peak.shape[1]
    places = torch.arange(bins, device=is_peak.device)[:, None]
    lower = torch.where(is_peak, places, -4 * bins).cummax(1).values
    upper = torch.where(is_peak, places, 3 * bins).flip(1).cummin(1).values.flip(1)
    return torch.where(places - lower <= upper - places, lower, upper).clamp(0, bins - 1)
