"""Round trips: images encoded by the deterministic sampler run backwards, and decoded again (chapters 7 and 11)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ddim_edu.data.pictures import from_uint8
from ddim_edu.measuring.metrics import reconstruction_error
from ddim_edu.processes import gather, process_count, process_index
from ddim_edu.sampler import ddim_path, invert
from ddim_edu.sampling import Sampler
from ddim_edu.schedule import make_tau


def reconstruct(
    sampler: Sampler,
    images: Tensor,
    steps: Sequence[int],
    *,
    spacing: str = "trailing",
    top: int | None = None,
    clip: float | None = None,
    tick: Callable[[int], object] = lambda n: None,
) -> Iterator[dict[str, Any]]:
    """The DDIM paper's section 5.4: images encoded by S steps of :func:`ddim_edu.sampler.invert`, and decoded by S
    steps of DDIM. Models that know classes are asked for any.

    Args:
        sampler: The model.
        images: ``(N, C, H, W)`` uint8.
        steps: Values of S.
        spacing: Of the levels; the default ends the way up, and starts the way down, at the highest.
        top: The highest level to use; by default the model's T.
        clip: Bound of the predicted image when decoding, or None.
        tick: Called with the number of images done.

    Yields:
        For each S a row: the mean squared error per dimension with images in [0, 1], not rounded to 8 bits; its
        standard error over images; the median over images (a few that don't find back may make up most of the mean).

    Raises:
        ValueError: If ``top`` is no level of the model, or there are no levels of that spacing.
    """
    model, device, most, others = sampler.model, sampler.device, sampler.model.schedule.T, process_count()
    top = top or most
    if not 1 <= top <= most:
        raise ValueError(f"top = {top}: give a level in 1..{most}")
    walks = [(S, make_tau(top, S, spacing)) for S in steps]  # all are checked before any work
    spans = [(i, min(i + sampler.batch, len(images))) for i in range(0, len(images), sampler.batch)]
    for S, tau in walks:
        began = time.perf_counter()
        errors: list[tuple[int, list[float]]] = []
        for at in range(0, len(spans), others):
            turn = spans[at : at + others]  # a batch for each process
            for i, j in turn[process_index() :][:1]:
                x_0 = from_uint8(images[i:j].to(device))
                eps_theta = sampler.eps_theta()
                x_T = invert(eps_theta, x_0, model.schedule, tau)
                for step in ddim_path(eps_theta, x_T, model.schedule, tau, clip=clip):
                    back = step.x_s
                errors.append((i, reconstruction_error(back.cpu(), x_0.cpu()).tolist()))
            tick(sum(j - i for i, j in turn))
        found = torch.tensor([e for _, part in sorted(gather(errors, device)) for e in part], dtype=torch.float64)
        yield {
            "steps": S,
            "error": found.mean().item(),
            "median": found.quantile(0.5).item(),
            "standard_error": found.std().item() / math.sqrt(len(found)) if len(found) > 1 else None,
            "cost": {"network_calls_per_image": 2 * S, "seconds": round(time.perf_counter() - began, 3)},
        }


def power_law_exponent(steps: Sequence[int], errors: Sequence[float]) -> tuple[float, float]:
    """How errors fall with S: the exponent p of error = c / S^p by least squares of the logarithms, and its standard
    error.

    Raises:
        ValueError: If there are fewer than three positive errors.
    """
    if len(steps) < 3 or not all(e > 0 for e in errors):
        raise ValueError(
            f"{len(steps)} errors, of which {sum(e > 0 for e in errors)} are positive: a power law needs three"
        )
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (list(steps), list(errors)))
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    rest = y - slope * x
    return -slope.item(), ((rest @ rest) / (len(steps) - 2) / (x @ x)).sqrt().item()
