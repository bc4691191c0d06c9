"""In which arithmetic a network computes: float32, or mixed with bf16 where that is faster.

Weights, their averages and the optimiser stay in float32, and so do norms (:class:`ddim_edu.nets.unet.Norm`) and what
turns a network's words into noise (:func:`ddim_edu.forward.said_to_eps`). Convolutions and products of matrices are
what bf16 makes faster.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta
from ddim_edu.nets.unet import UNet

Precision = Literal["float32", "bf16", "fp16"]

UNITS = {"avx512_bf16", "amx_bf16", "bf16"}  # what Linux calls processors' bf16 units; the last is Arm's
SMALL = 1_000_000  # parameters below which the casts cost about what the units gain: 273,057 gained 6% in training
WORTH = 1.05  # the least gain for which to leave float32; a trial of four images shows less than a batch gains


@cache
def has_bf16_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor computes in bf16, as Linux tells; False where nobody tells."""
    try:
        lines = cpuinfo.read_text(encoding="utf8", errors="replace").splitlines()
    except OSError:
        return False
    return any(UNITS & set(line.split()) for line in lines if line.lower().startswith(("flags", "features")))


def choose(
    asked: Precision | Literal["auto"], device: torch.device, network: UNet, *, trial: bool = False
) -> Precision:
    """The arithmetic to compute in.

    Args:
        asked: ``"auto"`` is bf16 on GPUs that have it, and on CPUs that have units for it, for networks of a million
            parameters or more.
        device: Where to compute.
        network: What is to compute.
        trial: On a CPU, ask for a short trial of training steps too. A run writes down what it found. A measurement
            that may be stopped and called again has to come to the same answer, and does without.

    Raises:
        ValueError: If torch can't compute so on the device.
    """
    if asked != "auto":
        check(asked, device)
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "float32"
    if device.type != "cpu" or not is_large(network) or not has_bf16_units():
        return "float32"
    return "bf16" if not trial or speedup(network) > WORTH else "float32"


def check(precision: Precision, device: torch.device) -> None:
    """A check that torch can compute so on a device.

    Raises:
        ValueError: If it can't.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f"precision = fp16 needs a GPU, and this is {device.type}: use one, or choose float32, bf16 or auto"
        )
    if device.type == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported():
            raise ValueError("precision = bf16: this GPU has no bf16, choose fp16, float32 or auto")
        return
    try:
        with autocast(device.type, precision):
            pass
    except RuntimeError:
        raise ValueError(
            f"precision = {precision}: torch can't compute so on {device.type}, choose float32 or auto"
        ) from None


def is_large(network: UNet) -> bool:
    """Whether its layers are large enough that what surrounds them costs little."""
    return sum(w.numel() for w in network.parameters()) >= SMALL


def speedup(network: UNet) -> float:
    """How many times less work the gradient of a few images is in bf16 than in float32: the best of five of each, in
    turn.

    In processor seconds: by the clock on the wall, a machine that is busy for a moment would decide for the whole run.
    """
    seconds = [
        [gradient_seconds(network, precision, clock=time.process_time) for precision in ("float32", "bf16")]
        for _ in range(5)
    ]
    full, half = map(min, zip(*seconds))
    return full / half


def gradient_seconds(
    network: UNet, precision: Precision, batch: int = 4, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds, by some clock, that the gradient of a batch takes; the network is left as it is."""
    config, like = network.config, next(network.parameters())
    x = torch.zeros(batch, config.image_channels, config.image_size, config.image_size, device=like.device)
    labels = torch.zeros(batch, dtype=torch.int64, device=like.device) if config.classes else None
    began = clock()
    with torch.random.fork_rng(devices=[]), autocast(like.device.type, precision):  # dropout draws
        said = network(x, torch.ones(batch, dtype=torch.int64, device=like.device), labels)
    torch.autograd.grad(said.float().square().mean(), list(network.parameters()), allow_unused=True)
    return clock() - began


def autocast(device_type: str, precision: Precision) -> contextlib.AbstractContextManager:
    """Within it, layers compute in that arithmetic."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device_type, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def in_precision(eps_theta: EpsTheta, precision: Precision) -> EpsTheta:
    """A noise predictor whose network computes in that arithmetic; what comes out is in the type of x_t."""
    if precision == "float32":
        return eps_theta

    def cast(x_t: Tensor, t: Tensor) -> Tensor:
        with autocast(x_t.device.type, precision):
            return eps_theta(x_t, t).to(x_t.dtype)

    return cast
