"""Chapter 9, the U-Net."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, function, number, numbers
from ddim_edu.nets.unet import Attention, UNet, UNetConfig


@exercise("ex-unet-sight", "derive", stars=3, minutes=30, skill="networks")
def sight(answer: Any) -> None:
    """Pixel for pixel the right square, which for even rows lies to one side because the way down pads on one side."""

    def truth(o: int, middle: int = 10, pad: int = 2, low_pad: int = 0) -> Tensor:
        low, high = (o - 6) // 2 - middle, (o + 6) // 2 + middle
        return torch.tensor([2 * low - low_pad - 3, 2 * high + pad + 3], dtype=torch.float64)

    agree(
        answer,
        "interval(o)",
        truth,
        [(80,), (81,), (120,), (97,)],
        "Count again: how many convolutions are there on the way up, at half resolution, and on the way down?",
        (
            lambda o: torch.tensor([o - 30.0, o + 30.0]),
            "The width is right. But does a pixel of an even position see as far to both sides?",
        ),
        (
            lambda o: truth(o, pad=1, low_pad=1),
            "The width is right, the place is not: which pixels does position i of Downsample read?",
        ),
        (lambda o: truth(o, pad=0), "Downsample reads more than one pixel, too."),
        (lambda o: truth(o, middle=6), "At half resolution blocks are missing: up, middle and down have some each."),
        (lambda o: truth(o).flip(0), "The first row comes first: the two are swapped."),
        (
            lambda o: truth(o) + torch.tensor([0.0, 1.0]),
            "The last row is that which is still seen, not the one after it.",
        ),
        (lambda o: truth(o) - o, "These are distances from row o. The rows themselves are asked for."),
        (
            lambda o: truth(o) + torch.tensor([3.0, -3.0]),
            "At full resolution some are missing on the way down: a block and the first convolution.",
        ),
        (lambda o: truth(o, middle=8), "At half resolution a block is missing: up, middle and down have some each."),
    )


@cache
def _parameters(size: int, ch: int, mult: tuple[int, ...]) -> tuple[dict[str, int], set[str]]:
    """The number of each parameter of a network, and the names of those in its attention."""
    with torch.device("meta"):  # shapes and no numbers
        net = UNet(UNetConfig(image_size=size, ch=ch, ch_mult=mult))
    attention = [(name, module) for name, module in net.named_modules() if isinstance(module, Attention)]
    names = {f"{name}.{part}" for name, module in attention for part, _ in module.named_parameters()}
    return {name: p.numel() for name, p in net.named_parameters()}, names


@exercise("ex-unet-count", "code", stars=3, minutes=40, skill="networks")
def count(answer: Any) -> None:
    """Sums and products give the published numbers, and those of networks that nobody has published."""
    call = function(answer, "count(size, ch, mult)")
    for size, ch, mult in ((32, 64, (1, 2, 2, 2)), (16, 32, (1,)), (32, 32, (1, 3)), (64, 32, (2, 1, 4))):
        parameters, in_attention = _parameters(size, ch, mult)
        total, given = sum(parameters.values()), number(call(size, ch, mult), "what your function returned")
        if given == total:
            continue
        if given == 2 * total or 2 * given == total:
            raise Wrong(
                f"With size = {size}, ch = {ch}, mult = {mult} your function returned {given:,.0f}. Is "
                "everything counted once?"
            )
        said = f"With size = {size}, ch = {ch}, mult = {mult} your function returned {given:,.0f}. "
        for left_out, says in (
            (
                {name for name in parameters if name.endswith("bias")},
                "Every layer has a bias as well, one for each output channel.",
            ),
            (
                in_attention,
                "Attention has parameters as well: a norm, queries, keys and values, and a layer at its end.",
            ),
            (
                {name for name in in_attention if "mid" not in name},
                "Attention stands where the side is 16 as well, after each block.",
            ),
            (
                {name for name in parameters if "norm" in name},
                "The norms have parameters as well, a scale and a shift for each channel.",
            ),
        ):
            if left_out and given == total - sum(parameters[name] for name in left_out):
                raise Wrong(said + says)
        more = "few" if given < total else "many"
        raise Wrong(
            f"{said}That is too {more}. Which channels does a block on the way up receive, and which blocks need "
            "a shortcut?"
        )


@exercise("ex-unet-permutation", "derive", stars=2, minutes=20, skill="networks")
def permutation(answer: Any) -> None:
    """Attention and pointwise layers treat all positions alike; a 3 x 3 convolution, and with it a residual block, does
    not.
    """
    call = function(answer, "gap(layer)")

    class Ramp(nn.Module):
        """Adds to each column its number."""

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.arange(x.shape[-1], dtype=x.dtype)

    class Marks(nn.Module):
        """Adds 3 at some positions, which no usual permutation leaves in their places: the largest difference is 3."""

        def forward(self, x: Tensor) -> Tensor:
            places = torch.arange(x.shape[-1] * x.shape[-2]).view(x.shape[-2:])
            return x + 3 * ((places**2 + places // 5) % 7 < 3).to(x.dtype)

    layers = (
        ("an Attention", Attention(8, groups=4), True),
        ("a 1 x 1 convolution", nn.Conv2d(8, 8, 1), True),
        ("a 3 x 3 convolution", nn.Conv2d(8, 8, 3, padding=1), False),
        ("a layer that adds its number to each column", Ramp(), False),
        ("a layer that adds 3 at some of the positions", Marks(), False),
    )
    for what, layer, blind in layers:
        with torch.no_grad():
            gap = number(call(layer), "what your function returned")
        if isinstance(layer, Marks) and abs(gap - 3) > 1e-3 and gap > 1e-3:
            if abs(gap - 9) < 1e-2:
                raise Wrong(f"For {what} the gap came out as {gap:.3g}. It looks like the square of a difference.")
            less = "Is it the largest of them, and not their mean?" if gap < 3 else "Is it counted more than once?"
            raise Wrong(f"For {what} the gap came out as {gap:.3g}, and no two values differ by that. {less}")
        if gap < 0:
            raise Wrong(
                f"For {what} the gap came out as {gap:.3g}. It is a largest absolute difference, so never negative."
            )
        if blind and gap > 1e-3:
            raise Wrong(
                f"For {what} the gap came out as {gap:.3g}. Is one permutation of the positions applied to "
                "input and output?"
            )
        if not blind and gap < 1e-3:
            raise Wrong(
                f"For {what} the gap came out as {gap:.3g}. It knows its places; are positions permuted, and not "
                "channels or images?"
            )


@exercise("ex-unet-batch-norm", "break", stars=1, minutes=15, skill="networks")
def batch_norm(answer: Any) -> None:
    """With batch norm the prediction for one picture depends on its company in the batch; with group norm it is its
    own.
    """
    group, batch = numbers(answer, "group", "batch")
    said = f"group = {group:.3g}, batch = {batch:.3g}: "
    if group < 0 or batch < 0:
        raise Wrong(said + "the size of a change is not negative.")
    if group > 0.05 and batch < 1e-3:
        raise Wrong(said + "the two are swapped.")
    if not 0 <= group < 1e-3:
        raise Wrong(
            said
            + "look at the first. Is it the output for the same map in both batches, the one that was not made louder?"
        )
    if batch > 8:  # 0.8 to 1.5 in four measurements
        raise Wrong(
            said + "look at the second. Is it the change for the one map that is the same in both batches, not for "
            "the louder ones?"
        )
    if not batch > 0.05:
        raise Wrong(said + "look at the second. Are both norms replaced, and is the block in training mode?")
