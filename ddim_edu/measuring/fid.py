"""Comparing a set of images with a reference: FID and its relatives, each with its whole protocol (chapter 11).

Images are a function of (seed, index), so that neither the batch size, nor the number of processes, nor a command that
was killed and called again changes which they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.data.pictures import to_uint8
from ddim_edu.measuring.features import INCEPTION, Features
from ddim_edu.measuring.metrics import frechet_distance, kid, precision_recall
from ddim_edu.measuring.reference import Parts, Reference, Statistics, about_images, kept_features, statistics_of
from ddim_edu.measuring.result import heading
from ddim_edu.processes import process_count
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampling import Sampler, Sampling


def protocol_of(drawn: Mapping[str, Any], features: Features, reference: Reference) -> dict[str, Any]:
    """All that a comparison of sets depends on: how the images came to be, by what and with what they are compared."""
    return {**drawn, "features": features.about, "reference": reference.about}


def measure(
    sampler: Sampler,
    sampling: Sampling,
    features: Features,
    reference: Reference,
    folder: Path,
    *,
    all_measures: bool = True,
    begin: Callable[[Mapping[str, Any]], object] = lambda head: None,
    tick: Callable[[int], object] = lambda n: None,
) -> dict[str, Any]:
    """Draw images, and compare them with the reference.

    Args:
        sampler: What draws.
        sampling: What to draw.
        features: What they are compared by.
        reference: What they are compared with, in the same features.
        folder: Where the features of the samples are kept until the end.
        all_measures: Also the kernel distance, precision and recall, where the reference's features are known.
        begin: Called with the head of the result before the work, such as
            :meth:`ddim_edu.measuring.result.ResultFile.begin`, which refuses to replace another measurement.
        tick: Called with the number of images done.

    Returns:
        The result: ``kind``, ``protocol``, ``result`` and ``cost``. With Inception's features the distances are
        ``fid``, by torch-fidelity, and ``kid``; with others ``classifier_distance`` and ``kernel_distance``.
    """
    began, in_features, n = time.perf_counter(), 0.0, sampling.n
    drawn = {"sampling": sampling.about(), **sampler.about(), "images": "clipped to [-1, 1], rounded to 8 bits"}
    protocol = protocol_of(drawn, features, reference)
    head = heading("fid", sampler.model, protocol, estimate=n < features.usual_n)
    begin(head)
    features.warn_of_few(n)
    parts = Parts(folder, {"model": head["model"], **protocol})

    def make(i: int, j: int) -> Tensor:
        nonlocal in_features
        images = to_uint8(sampler.draw(sampling, i, j))
        since = time.perf_counter()
        found = features.in_batches(images)
        in_features += time.perf_counter() - since
        return found

    fresh = sum(j - i for i, j in parts.missing(n))
    found = parts.fill(n, make, tick, sampler.device.type)
    seconds, on = time.perf_counter() - began, sampler.device
    cost = {
        "network_calls_per_image": sampler.calls_per_image(sampling),
        "images_drawn": fresh,
        "seconds": round(seconds, 3),
        "share_of_features": round(in_features / seconds, 3) if fresh else None,
        "processes": process_count(),
        "device": torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
    }
    result, how = _compared(found, features, reference, sampling.seed, all_measures)
    return head | {"protocol": protocol | how, "result": result, "cost": cost}


def measure_images(
    images: Tensor,
    name: str,
    sizes: Sequence[int],
    features: Features,
    reference: Reference,
    folder: Path,
    *,
    seed: int = 0,
    batch: int = 50,
    begin: Callable[[Mapping[str, Any]], object] = lambda head: None,
    tick: Callable[[int], object] = lambda n: None,
) -> dict[str, Any]:
    """Compare real images with the reference: what a model would score that draws from the data itself.

    The images are put in a random order first, so that any number of them is a fair sample. Features are computed of as
    many as are asked for, and kept: asking for more later computes only what is missing.

    Args:
        images: ``(M, C, H, W)`` uint8.
        name: What they are called in the protocol.
        sizes: How many to take, each in 2..M. Several show how the distance depends on the number.
        features: What they are compared by.
        reference: What they are compared with, in the same features.
        folder: Where to keep their features.
        seed: Of the order.
        batch: Images at a time.
        begin: As for :func:`measure`.
        tick: Called with the number of images done.

    Returns:
        The result, in the form of :func:`measure`, for the largest of the sizes; ``by_n`` holds a distance for each.

    Raises:
        ValueError: If there are fewer images than are asked for.
    """
    sizes = check_sizes(sizes, len(images), name)
    n, about = sizes[-1], about_images(images, name) | {"order": seed}
    drawn = {"sampling": {"real": about, "n": n}, "images": "rounded to 8 bits"}
    protocol = protocol_of(drawn, features, reference)
    head = heading("fid", None, protocol, estimate=n < min(features.usual_n, len(images)))
    begin(head)
    features.warn_of_few(sizes[0])
    images = images[torch.randperm(len(images), generator=generator_for(seed, Stream.REAL_ORDER))]
    found = kept_features(images, about, features, folder, n=n, batch=batch, tick=tick)
    key = features.distance_name
    by_n = [{"n": k, key: distance(statistics_of(found[:k]), reference.statistics, features)} for k in sizes[:-1]]
    result, how = _compared(found, features, reference, seed)
    by_n.append({"n": n, key: result[key]})
    return head | {"protocol": protocol | how, "result": result, "by_n": by_n}


def check_sizes(sizes: Sequence[int], count: int, name: str) -> list[int]:
    """The sizes in rising order, each once.

    Raises:
        ValueError: If one is not in 2..count.
    """
    sizes = sorted(set(sizes))
    if not 2 <= sizes[0] <= sizes[-1] <= count:
        raise ValueError(f"n = {', '.join(map(str, sizes))}: give numbers in 2..{count}, the images of {name}")
    return sizes


def _compared(
    found: Tensor, features: Features, reference: Reference, seed: int, all_measures: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What features of images are at from a reference, and the protocol's part on how that was found."""
    n, how = len(found), {}
    result: dict[str, Any] = {features.distance_name: distance(statistics_of(found), reference.statistics, features)}
    if all_measures and reference.features is not None:
        size = min(1000, n // 2, len(reference.features) // 2)
        subsets = {"subsets": 100, "subset_size": size}
        how = {
            "kernel_distance": subsets,
            "precision_recall": {"neighbours": 3, "samples": n, "reference": len(reference.features)},
        }
        if size >= 2:
            name = "kid" if features.name == INCEPTION else "kernel_distance"
            values = kid(found, reference.features, **subsets, generator=generator_for(seed, Stream.KID))
            result[name], result[f"{name}_standard_error"] = values
        if min(n, len(reference.features)) > 3:
            result["precision"], result["recall"] = _precision_recall(found, reference.features, features)
    return result, how


def distance(found: Statistics, reference: Statistics, features: Features) -> float:
    """The Frechet distance: torch-fidelity's for Inception's features, this package's own for others. (They agree; a
    test sees to it.)
    """
    if features.name != INCEPTION:
        return frechet_distance(*map(torch.from_numpy, (found.mu, found.sigma, reference.mu, reference.sigma)))
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    pair = ({"mu": s.mu, "sigma": s.sigma} for s in (found, reference))
    return fid_statistics_to_metric(*pair, False)[KEY_METRIC_FID]


def _precision_recall(found: Tensor, reference: Tensor, features: Features) -> tuple[float, float]:
    if features.name != INCEPTION:
        return precision_recall(reference, found)
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    out = prc_features_to_metric(
        found, reference, prc_neighborhood=3, prc_batch_size=2000, save_cpu_ram=True, verbose=False
    )
    return out[KEY_METRIC_PRECISION], out[KEY_METRIC_RECALL]
