"""What the two-core speed run judges by (speedrun.md): errors on held-out images by level, KID, and the share of
asked-for classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ddim_edu.data.batches import fair_sample
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.data.pictures import to_uint8
from ddim_edu.data.source import ImageData
from ddim_edu.losses import eps_error
from ddim_edu.measuring.features import inception
from ddim_edu.measuring.metrics import kid
from ddim_edu.measuring.reference import reference_of
from ddim_edu.models import checkpoint, load_classifier
from ddim_edu.randomness import generator_for
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import NoiseSchedule

SAMPLES, S = 2000, 20
REFERENCE = 5000  # training images that samples are compared with: Inception sees about twelve a second
HELDOUT, DRAWS, BINS = 1000, 4, 10  # held-out images, levels for each, bins of levels
_HELDOUT, _REFERENCE, _KID = 801, 802, 803  # second words of the keys of what is drawn for the judges


def to_depth(images: Tensor) -> Tensor:
    """``(B, C, 2H, 2W)`` -> ``(B, 4C, H, W)``: the four pixels of each square as channels."""
    return rearrange(images, "b c (h p) (w q) -> b (c p q) h w", p=2, q=2)


def to_space(images: Tensor) -> Tensor:
    """Undo :func:`to_depth`."""
    return rearrange(images, "b (c p q) h w -> b c (h p) (w q)", p=2, q=2)


def heldout_losses(sampler: Sampler, data: ImageData, base: NoiseSchedule, deep: bool) -> dict[str, Any]:
    """Squared errors of predicted noise and velocity on held-out images, in bins of levels.

    Images, noise and noise levels are the same for all entries: levels are those of ``base``, and a model with another
    schedule is asked at its own level of the nearest log-SNR. The error of v is that of eps over the root of alpha-bar.
    """
    generator, labels, own = generator_for(0, _HELDOUT), data.heldout_labels, sampler.model.schedule
    chosen = fair_sample(labels, HELDOUT, generator).repeat(DRAWS)
    t = torch.linspace(1, base.T, len(chosen)).round().long()[torch.randperm(len(chosen), generator=generator)]
    nearest = (own.snr[1:].log() - base.snr[t].log()[:, None]).abs().argmin(1) + 1
    errors = []
    for part, levels in zip(chosen.split(200), nearest.split(200)):
        x_0 = data.floats(data.heldout[part])
        eps = torch.randn(x_0.shape, generator=generator)
        x_0, eps = (to_depth(x) if deep else x for x in (x_0, eps))
        errors.append(eps_error(sampler.eps_theta(labels[part]), x_0, levels, eps, own))
    found, bins, result = torch.cat(errors).double(), (t - 1) * BINS // base.T, {}
    for name, values in (("v_loss", found / own.alpha_bar[nearest]), ("eps_loss", found)):
        result[name] = values.mean().item()
        result[f"{name}_by_level"] = [values[bins == b].mean().item() for b in range(BINS)]
    return result


@torch.no_grad()
def judge(
    files: list[Path], on: str, base: NoiseSchedule, deep: bool, data: ImageData, n: int, weights: Path | None
) -> dict[str, Any]:
    """All that the ledger says of a trained network, in float32, whatever it was trained in.

    Args:
        files: Its weights; of several averages, the one of the least held-out v-loss is sampled from.
        on: The data set.
        base: The schedule whose levels the losses are taken at.
        deep: Whether the network's images went through :func:`to_depth`.
        data: The images.
        n: How many samples to draw.
        weights: Inception's; None does without KID.
    """
    samplers = {file.stem: Sampler(checkpoint.load(file), 250, "float32") for file in files}
    losses = {name: heldout_losses(sampler, data, base, deep) for name, sampler in samplers.items()}
    best = min(losses, key=lambda name: losses[name]["v_loss"])
    result = losses[best] | ({"of_averages": {k: v["v_loss"] for k, v in losses.items()}} if len(files) > 1 else {})
    images = to_uint8(samplers[best].draw(Sampling(n, S)))
    images = to_space(images) if deep else images
    if on != "cifar10":  # no classifier of photographs comes along
        seen = torch.cat([load_classifier(on).model(x.float() / 127.5 - 1).argmax(1) for x in images.split(500)])
        result["style_share"] = (seen == torch.arange(n) % len(data.classes)).double().mean().item()
    if weights is not None:
        features = inception(weights)
        chosen = torch.randperm(len(data.train), generator=generator_for(0, _REFERENCE))[:REFERENCE]
        about = f"{on}, {len(chosen):,} training images"
        reference = reference_of(data.train[chosen], about, features, default_cache_dir() / "features", batch=50)
        found = torch.cat([features.compute(x) for x in images.split(50)])
        form = {"subsets": 100, "subset_size": min(1000, n // 2), "generator": generator_for(0, _KID)}
        result["kid"], result["kid_standard_error"] = kid(found, reference.features, **form)
    return result
