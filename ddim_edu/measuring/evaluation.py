"""Measuring a model the way the field does, and saying exactly how (chapter 11).

Every result is a dictionary for JSON with the value, the whole protocol that it depends on, and what it cost. Two
results compare only if their protocols are the same but for the model: :func:`differences`. Images are a function of
(seed, index), so that neither the batch size, nor the number of processes, nor a command that was killed and called
again changes which they are.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ddim_edu import __version__
from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.data.registry import load_data, load_data_for
from ddim_edu.data.source import ImageData
from ddim_edu.files import sha256_of
from ddim_edu.measuring.features import (
    INCEPTION,
    Features,
    Parts,
    Statistics,
    read_statistics,
    sha256_of_images,
    statistics_of,
)
from ddim_edu.measuring.metrics import frechet_distance, kid, precision_recall, reconstruction_error
from ddim_edu.models.checkpoint import Checkpoint
from ddim_edu.processes import gather, process_count, process_index
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampler import ddim_path, invert
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import make_tau

FORMAT = 1  # of the results; raise it when an older reader would misread them

# DDIM's Table 1, CIFAR-10: FID by eta and S, of 50,000 samples against the training images.
PAPER_TABLE1 = {
    "0": {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16, 1000: 4.04},
    "0.2": {10: 14.04, 20: 7.11, 50: 4.77, 100: 4.25, 1000: 4.09},
    "0.5": {10: 16.66, 20: 8.35, 50: 5.25, 100: 4.46, 1000: 4.29},
    "1": {10: 41.07, 20: 18.36, 50: 8.01, 100: 5.78, 1000: 4.73},
    "hat": {10: 367.43, 20: 133.37, 50: 32.72, 100: 9.99, 1000: 3.17},
}
# DDIM's Table 2: squared error of the round trip for each dimension, CIFAR-10's test images in [0, 1].
PAPER_TABLE2 = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004, 500: 0.0001, 1000: 0.0001}


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with.

    Attributes:
        about: The reference's part of the protocol: name, number of images, hash.
        statistics: Mean and covariance of its features.
        features: ``(N, F)``, or None where only statistics are known.
    """

    about: dict[str, Any]
    statistics: Statistics
    features: Tensor | None = None


def reference_images(model: Checkpoint, which: Literal["train", "test"], data_dir: Path | str | None = None) -> Tensor:
    """The images that a model was trained on ("train"), or those of its data set that it was not ("test"), as its
    network sees them.

    Returns:
        ``(N, C, H, W)`` uint8.

    Raises:
        ValueError: If the checkpoint does not say what it was trained on, or the data is not to be had.
    """
    name, how = model.recipe.get("data"), {key: model.recipe[key] for key in ("crop", "max_bad") if key in model.recipe}
    if name is None:
        raise ValueError(f"{model.path} does not say what it was trained on: give the reference as an .npz file")
    return _part(name, load_data_for(model.config, name, data_dir=data_dir, **how), which)


def real_images(
    data: Path | str, which: Literal["train", "test"], data_dir: Path | str | None = None, **form: Any
) -> Tensor:
    """The images of a data set that are to train on ("train"), or the others ("test"), rounded to 8 bits.

    Args:
        data: A data set's name, or a folder of images.
        which: Which part.
        data_dir: Where data sets with a name lie.
        form: What else :func:`ddim_edu.data.registry.load_data` takes: size, channels, crop, max_bad.

    Returns:
        ``(N, C, H, W)`` uint8.

    Raises:
        ValueError: If the data is not to be had, or this part of it is empty.
    """
    return _part(data, load_data(data, data_dir=data_dir, **form), which)


def _part(name: Path | str, found: ImageData, which: Literal["train", "test"]) -> Tensor:
    images = found.train if which == "train" else found.heldout
    if not len(images):
        raise ValueError(f"{name} has no images to {which} on")
    return images if found.top == 255 else torch.cat([to_uint8(found.floats(part)) for part in images.split(1000)])


def reference_of(
    images: Tensor,
    name: str,
    features: Features,
    folder: Path,
    *,
    batch: int = 250,
    tick: Callable[[int], object] = lambda n: None,
) -> Reference:
    """The features of reference images, computed once and kept in a folder.

    Args:
        images: ``(N, C, H, W)`` uint8.
        name: What they are called in the protocol.
        features: What to compute.
        folder: Where to keep them.
        batch: Images at a time.
        tick: Called with the number of images done.

    Raises:
        ValueError: If there are no images.
    """
    if not len(images):
        raise ValueError(f"the reference {name} holds no images")
    about = {"name": name, "images": len(images), "sha256": sha256_of_images(images)}
    parts = Parts(folder / f"{about['sha256'][:16]}-{features.sha256[:16]}", about | {"features": features.sha256})
    _fill(parts, len(images), lambda i, j: _in_batches(features, images[i:j], batch), tick, "cpu")
    found = parts.read(len(images))
    return Reference(about, statistics_of(found), found)


def saved_reference(path: Path | str, features: Features) -> Reference:
    """A reference of which only statistics are known.

    Raises:
        ValueError: If the file is no such thing, or of other features.
    """
    statistics = read_statistics(path)
    if len(statistics.mu) != features.size:
        raise ValueError(
            f"{path} holds {len(statistics.mu)} features, and {features.name} has {features.size}: it is of another network"
        )
    return Reference({"name": Path(path).name, "images": statistics.n, "sha256": sha256_of(path)}, statistics)


def protocol_of(sampler: Sampler, sampling: Sampling, features: Features, reference: Reference) -> dict[str, Any]:
    """All that a comparison depends on, as :func:`measure` writes it into its result."""
    return {
        "sampling": sampling.about(),
        **sampler.about(),
        "images": "clipped to [-1, 1], rounded to 8 bits",
        "features": {"name": features.name, "sha256": features.sha256, "size": features.size},
        "reference": reference.about,
    }


def measure(
    sampler: Sampler,
    sampling: Sampling,
    features: Features,
    reference: Reference,
    folder: Path,
    *,
    all_measures: bool = True,
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
        tick: Called with the number of images done.

    Returns:
        The result: ``kind``, ``protocol``, ``result`` and ``cost``. With Inception's features the distances are
        ``fid``, by torch-fidelity, and ``kid``; with others ``classifier_distance`` and ``kernel_distance``.
    """
    began = time.perf_counter()
    protocol = protocol_of(sampler, sampling, features, reference)
    parts = Parts(folder, {"model": model_about(sampler.model), **protocol})
    n, seconds = sampling.n, [0.0]

    def make(i: int, j: int) -> Tensor:
        images = to_uint8(sampler.draw(sampling, i, j))
        since = time.perf_counter()
        found = _in_batches(features, images, 250)
        seconds[0] += time.perf_counter() - since
        return found

    fresh = sum(j - i for i, j in parts.missing(n))
    _fill(parts, n, make, tick, sampler.device.type)
    drawn = time.perf_counter() - began
    found = parts.read(n)
    result, how = _compared(found, features, reference, sampling.seed, all_measures)
    protocol |= how
    return {
        "kind": "fid",
        "format": FORMAT,
        "model": model_about(sampler.model),
        "protocol": protocol,
        "estimate": n < features.usual_n,
        "result": result,
        "cost": {
            "network_calls_per_image": sampler.calls_per_image(sampling),
            "images_drawn": fresh,
            "seconds": round(drawn, 3),
            "share_of_features": round(seconds[0] / drawn, 3) if fresh else None,
            "processes": process_count(),
            "device": torch.cuda.get_device_name(sampler.device)
            if sampler.device.type == "cuda"
            else sampler.device.type,
        },
        "versions": versions(),
    }


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
        tick: Called with the number of images done.

    Returns:
        The result, in the form of :func:`measure`, for the largest of the sizes; ``by_n`` holds a distance for each.

    Raises:
        ValueError: If there are fewer images than are asked for.
    """
    sizes = check_sizes(sizes, len(images), name)
    about = {"name": name, "images": len(images), "sha256": sha256_of_images(images), "order": seed}
    images, n = images[torch.randperm(len(images), generator=generator_for(seed, Stream.REAL_ORDER))], sizes[-1]
    parts = Parts(
        folder / f"{about['sha256'][:16]}-{features.sha256[:16]}-{seed}", about | {"features": features.sha256}
    )
    _fill(parts, n, lambda i, j: _in_batches(features, images[i:j], batch), tick, "cpu")
    found = parts.read(n)
    by_n = [
        {"n": k, features.distance_name: distance(statistics_of(found[:k]), reference.statistics, features)}
        for k in sizes
    ]
    result, how = _compared(found, features, reference, seed, True, by_n[-1][features.distance_name])
    return {
        "kind": "fid",
        "format": FORMAT,
        "model": None,
        "protocol": {
            "sampling": {"real": about, "n": n},
            "images": "rounded to 8 bits",
            "features": {"name": features.name, "sha256": features.sha256, "size": features.size},
            "reference": reference.about,
            **how,
        },
        "estimate": n < min(features.usual_n, len(images)),
        "result": result,
        "by_n": by_n,
        "versions": versions(),
    }


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
    found: Tensor, features: Features, reference: Reference, seed: int, all_measures: bool, known: float | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What features of images are at from a reference, and the protocol's part on how that was found."""
    n, how = len(found), {}
    if known is None:
        known = distance(statistics_of(found), reference.statistics, features)
    result: dict[str, Any] = {features.distance_name: known}
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


def reconstruct(
    sampler: Sampler,
    images: Tensor,
    steps: Sequence[int],
    *,
    spacing: str = "trailing",
    top: int | None = None,
    clip: float | None = None,
    about: Mapping[str, Any] | None = None,
    tick: Callable[[int], object] = lambda n: None,
) -> Iterator[dict[str, Any]]:
    """The DDIM paper's section 5.4: images encoded by S steps of :func:`ddim_edu.sampler.invert`, and decoded by S
    steps of DDIM.

    Args:
        sampler: The model.
        images: ``(N, C, H, W)`` uint8.
        steps: Values of S.
        spacing: Of the levels; the default ends the way up, and starts the way down, at the highest.
        top: The highest level to use; by default the model's T.
        clip: Bound of the predicted image when decoding, or None.
        about: What the protocol says of the images.
        tick: Called with the number of images done.

    Yields:
        For each S a row: the mean squared error per dimension with images in [0, 1], its standard error over images,
        the median over images (a few that don't find back may make up most of the mean), and the protocol.
    """
    model, device = sampler.model, sampler.device
    top = top or model.schedule.T
    if not 1 <= top <= model.schedule.T:
        raise ValueError(f"top = {top}: give a level in 1..{model.schedule.T}")
    protocol = {
        "images": dict(about or {}) | {"n": len(images)},
        "spacing": spacing,
        "top": top,
        "clip": clip,
        "label": "any",
        "precision": sampler.precision,
        "error": "mean over pixels and channels of the squared difference, images in [0, 1]; not rounded to 8 bits",
    }
    for S in steps:
        began = time.perf_counter()
        tau = make_tau(top, S, spacing)
        errors: list[tuple[int, list[float]]] = []
        spans = [(i, min(i + sampler.batch, len(images))) for i in range(0, len(images), sampler.batch)]
        for i, j in spans[process_index() :: process_count()]:
            x_0 = from_uint8(images[i:j].to(device))
            eps_theta = sampler.eps_theta()
            x_T = invert(eps_theta, x_0, model.schedule, tau)
            for step in ddim_path(eps_theta, x_T, model.schedule, tau, clip=clip):
                back = step.x_s
            errors.append((i, reconstruction_error(back.cpu(), x_0.cpu()).tolist()))
            tick((j - i) * process_count())
        found = torch.tensor([e for _, part in sorted(gather(errors, device)) for e in part], dtype=torch.float64)
        yield {
            "steps": S,
            "error": found.mean().item(),
            "median": found.quantile(0.5).item(),
            "standard_error": found.std().item() / math.sqrt(len(found)) if len(found) > 1 else None,
            "protocol": protocol | {"steps": S},
            "cost": {"network_calls_per_image": 2 * S, "seconds": round(time.perf_counter() - began, 3)},
        }


def fit_power(steps: Sequence[int], errors: Sequence[float]) -> tuple[float, float]:
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


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In which fields of their protocols two results differ: ``"sampling.n: 1000 against 50000"``. Empty if they
    compare.
    """

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
        return found

    a, b = flat(one), flat(other)
    return [f"{name}: {a.get(name)} against {b.get(name)}" for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def model_about(model: Checkpoint) -> dict[str, Any]:
    """What a result says of the model."""
    return {
        "checkpoint": model.path.parent.name if model.path.name == "checkpoint.safetensors" else model.path.stem,
        "sha256": sha256_of(model.path),
        "step": model.step,
        "data": model.recipe.get("data"),
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"ddim_edu": __version__, "torch": torch.__version__}
    with contextlib.suppress(PackageNotFoundError):
        found["torch-fidelity"] = version("torch-fidelity")
    return found


def _fill(
    parts: Parts, n: int, make: Callable[[int, int], Tensor], tick: Callable[[int], object], device: torch.device | str
) -> None:
    """Make what is missing; of several processes each makes its share, and all wait for all."""
    missing = parts.missing(n)
    tick(n - sum(j - i for i, j in missing))
    for i, j in missing[process_index() :: process_count()]:
        parts.write(i, j, make(i, j))
        tick(min((j - i) * process_count(), n))
    gather([0], torch.device(device))
    if parts.missing(n):
        raise ValueError(f"{parts.folder} is not seen by all processes: give --out a folder that they share")


def _in_batches(features: Features, images: Tensor, batch: int) -> Tensor:
    return torch.cat([features.compute(part) for part in images.split(batch)])


def _precision_recall(found: Tensor, reference: Tensor, features: Features) -> tuple[float, float]:
    if features.name != INCEPTION:
        return precision_recall(reference, found)
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    out = prc_features_to_metric(
        found, reference, prc_neighborhood=3, prc_batch_size=2000, save_cpu_ram=True, verbose=False
    )
    return out[KEY_METRIC_PRECISION], out[KEY_METRIC_RECALL]
