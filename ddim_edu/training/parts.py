"""What a run is made of before its first step: the data, the network, its optimiser, and the rule of its average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddim_edu.data.registry import load_data_for
from ddim_edu.data.source import ImageData, encoded
from ddim_edu.losses import gamma_of_prediction, min_snr_gamma
from ddim_edu.models import load_autoencoder
from ddim_edu.nets.unet import UNet
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.training.recipes import Recipe


def training_data(
    recipe: Recipe, device: torch.device, data_dir: Path | str | None, data: ImageData | None = None
) -> ImageData:
    """What the network of a recipe sees: the images that it names, or what its autoencoder makes of them.

    Args:
        recipe: The recipe.
        device: Where to have them, if they fit there.
        data_dir: Where data sets lie.
        data: The images, where they are in memory already.
    """
    first = None if recipe.autoencoder is None else load_autoencoder(recipe.autoencoder, device)
    if data is None:
        like = recipe.unet if first is None else first.model.config
        how: dict[str, Any] = {
            "data_dir": data_dir,
            "crop": recipe.crop,
            "max_bad": recipe.max_bad,
            "layout": recipe.layout,
        }
        data = load_data_for(like, recipe.data, **how).to(device)
    return data if first is None else encoded(data, first)


def check_fit(recipe: Recipe, data: ImageData) -> None:
    """A check that a recipe's network takes images like these.

    Raises:
        ValueError: If their shape or number of classes is another.
    """
    net, shape, classes = recipe.unet, tuple(data.train.shape[1:]), len(data.classes)
    if shape != (net.image_channels, net.image_size, net.image_size):
        raise ValueError(
            f"unet.image_channels = {net.image_channels} and unet.image_size = {net.image_size} don't fit the data set "
            f"{recipe.data!r}, whose images are {shape[0]} x {shape[1]} x {shape[2]}"
        )
    if net.classes and classes != net.classes:
        better = classes if classes > 1 else 0
        raise ValueError(f"unet.classes = {net.classes}, but the data set has {classes}: set --unet.classes {better}")


def new_network(recipe: Recipe) -> UNet:
    """The network before the first step, its weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's own generator
        torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
        # Measured on two cores with the digits' network: channels-last convolutions are a third faster.
        return UNet(recipe.unet).to(memory_format=torch.channels_last)


def gamma_of_levels(recipe: Recipe, schedule: NoiseSchedule) -> Tensor:
    """The weights of the levels in the loss of predicted noise, as the recipe weighs them."""
    if recipe.weighting == "min-snr":
        return min_snr_gamma(schedule)
    return gamma_of_prediction(schedule, "eps" if recipe.weighting == "eps" else recipe.prediction)


def new_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of the recipe, for all weights of a network."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def ema_update(decay: float) -> Any:
    """The averaging rule for :class:`torch.optim.swa_utils.AveragedModel`.

    After n updates the decay is ``min(decay, (1 + n) / (10 + n))``: without that rise the average would remember the
    first weights for some multiple of ``1 / (1 - decay)`` steps, which is most of a short run. Buffers are copied, not
    averaged.

    Equations: eq:ema, eq:ema-weights, eq:ema-variance, eq:ema-rise
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n: Tensor | int) -> None:
        d = min(decay, (1 + int(n)) / (10 + int(n)))
        torch._foreach_lerp_(averaged, current, 1 - d)

    return update
