"""One training step and one sampling step against diffusers and lucidrains' denoising-diffusion-pytorch, as ratios.

    pip install denoising-diffusion-pytorch          # diffusers comes with the dev extra
    python benchmarks/bench_training.py [--recipe cifar10-64 cifar10-128] [--batch 16] [--rounds 7] [--device auto]
    [--out FILE.json]

diffusers' UNet2DModel is built in the shape of our U-Net, with the same number of parameters. lucidrains' Unet is a
class near it: the same channels and multipliers, two blocks a level and attention at 16x16 (its linear attention, which
it has at every level, is its own). A training step is what each project's own training script does: noise, loss,
gradient, clipping, optimiser, average of the weights. "eager" runs ours without torch.compile and in float32; "default"
is what python -m ddim_edu.train does on this device in a run of less than an hour. Peers run as their scripts do
without further options (float32, contiguous, eager), and once more with bf16 autocast, as a knowing user would run
them. All are timed in turn within each round, so that a busy machine slows them alike; the figures are medians over the
rounds of the ratio within a round, with the smallest and the largest.

Goal: never slower than the fastest peer eagerly, at least 1.3x by default. Where that is missed, the ten costliest
operations of our step are printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddim_edu.losses import draw_t, loss_simple
from ddim_edu.models.convert import to_diffusers
from ddim_edu.nets.unet import UNet
from ddim_edu.precision import choose, has_bf16_units
from ddim_edu.processes import pick_device
from ddim_edu.sampler import ddim_step
from ddim_edu.training.parts import ema_update
from ddim_edu.training.recipes import RECIPES, Recipe

Step = Callable[[], None]


def in_bf16(device: torch.device, enabled: bool = True) -> torch.autocast:
    """Within it, layers compute in bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def ours(recipe: Recipe, x_0: Tensor, *, default: bool) -> tuple[Step, Step, nn.Module]:
    """A training step, a sampling step and the network; ``default`` as the command runs it, otherwise eagerly in
    float32.
    """
    device = x_0.device
    schedule = recipe.noise_schedule()
    if device.type != "mps":
        schedule = schedule.to(device)
    model = UNet(recipe.unet).to(device, memory_format=torch.channels_last).train()
    averaged = AveragedModel(model, multi_avg_fn=ema_update(recipe.ema)).requires_grad_(False).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=device.type in ("cpu", "cuda"))
    if default and device.type == "cuda":
        model.compile()
    precision = in_bf16(device, default and choose(recipe.precision, device, model, trial=True) == "bf16")

    def train() -> None:
        t = draw_t(len(x_0), recipe.T, antithetic=True, device=device)
        optimizer.zero_grad(set_to_none=True)
        with precision:
            loss = loss_simple(model, x_0, t, torch.randn_like(x_0), schedule)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
        optimizer.step()
        averaged.update_parameters(model)

    t = torch.full((len(x_0),), 500, device=device)

    @torch.no_grad()
    def draw() -> None:
        with precision:
            eps = averaged(x_0, t)
        ddim_step(x_0, eps, schedule.alpha_bar[500], schedule.alpha_bar[450], 0.0, None)

    return train, draw, model


def diffusers_peer(recipe: Recipe, x_0: Tensor, *, bf16: bool) -> tuple[Step, Step, nn.Module]:
    """diffusers' unconditional example: UNet2DModel, DDPMScheduler, AdamW, EMAModel."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    device = x_0.device
    config, _ = to_diffusers(recipe.unet, UNet(recipe.unet).state_dict())
    model = UNet2DModel(**config).to(device).train()
    noising = DDPMScheduler(num_train_timesteps=recipe.T)
    ema = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)

    def train() -> None:
        noise = torch.randn_like(x_0)
        t = torch.randint(0, recipe.T, (len(x_0),), device=device)
        with in_bf16(device, bf16):
            said = model(noising.add_noise(x_0, noise, t), t).sample
        loss = nn.functional.mse_loss(said.float(), noise.float())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(model.parameters())

    sampler = DDIMScheduler(num_train_timesteps=recipe.T)
    sampler.set_timesteps(20)

    @torch.no_grad()
    def draw() -> None:
        model.eval()
        with in_bf16(device, bf16):
            said = model(x_0, 500).sample
        sampler.step(said.float(), 500, x_0)
        model.train()

    return train, draw, model


def lucidrains_peer(recipe: Recipe, x_0: Tensor, *, bf16: bool) -> tuple[Step, Step, nn.Module]:
    """denoising-diffusion-pytorch's README: Unet, GaussianDiffusion, Adam, EMA."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    device = x_0.device
    size, levels = recipe.unet.image_size, recipe.unet.resolutions
    full = tuple(r in recipe.unet.attn_resolutions for r in levels)
    model = Unet(dim=recipe.unet.ch, dim_mults=recipe.unet.ch_mult, full_attn=full, dropout=recipe.unet.dropout).to(
        device
    )
    diffusion = GaussianDiffusion(
        model, image_size=size, timesteps=recipe.T, objective="pred_noise", beta_schedule="linear"
    ).to(device)
    ema = EMA(diffusion, beta=0.995, update_every=10).to(device)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    pictures = (x_0 + 1) / 2

    def train() -> None:
        with in_bf16(device, bf16):
            loss = diffusion(pictures)
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update()

    t = torch.full((len(x_0),), 500, device=device)

    @torch.no_grad()
    def draw() -> None:
        model.eval()
        with in_bf16(device, bf16):
            diffusion.model_predictions(x_0, t, clip_x_start=True)
        model.train()

    return train, draw, model


def measure(step: Step, device: torch.device, repeats: int) -> float:
    """Seconds per step."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    wait()
    return (time.perf_counter() - began) / repeats


def matmul_peak(device: torch.device) -> float:
    """Floating-point operations per second of a large bf16 product: what this GPU really does."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    return 2 * 8192**3 / min(measure(lambda: a @ b, device, 10) for _ in range(5))


def train_flops(recipe: Recipe, images: int) -> float:
    """Floating-point operations of a training step, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    model = UNet(replace(recipe.unet, dropout=0.0))
    x = torch.randn(1, recipe.unet.image_channels, recipe.unet.image_size, recipe.unet.image_size)
    with FlopCounterMode(display=False) as counter:
        model(x, torch.tensor([5])).sum().backward()
    return counter.get_total_flops() * images


def main() -> int:
    """Print the ratios.

    Returns:
        0, or 1 if a goal was missed.
    """
    parser = argparse.ArgumentParser(description="Training and sampling steps against peers, in one run.")
    parser.add_argument("--recipe", nargs="+", default=["cifar10-64", "cifar10-128"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=1, help="steps per timing; raise it on a GPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if importlib.util.find_spec("denoising_diffusion_pytorch") is None:
        parser.error("one of the peers is not installed: pip install denoising-diffusion-pytorch")
    device = pick_device(options.device)
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    result = {
        "device": where,
        "torch": torch.__version__,
        "batch": options.batch,
        "rounds": options.rounds,
        "recipes": {},
    }
    result = {"command": shlex.join(["python", "benchmarks/bench_training.py", *sys.argv[1:]])} | result
    print(f"{where}, torch {torch.__version__}, batch {options.batch}, {options.rounds} rounds")
    missed = False
    if device.type == "cpu":
        print(f"this processor has {'' if has_bf16_units() else 'no '}units for bf16")
    for name in options.recipe:
        recipe = RECIPES[name]
        torch.manual_seed(0)
        size = recipe.unet.image_size
        x_0 = torch.rand(options.batch, recipe.unet.image_channels, size, size, device=device) * 2 - 1
        made = {
            "ours, eager": ours(recipe, x_0, default=False),
            "ours, default": ours(recipe, x_0, default=True),
        }
        for peer, make in (("diffusers", diffusers_peer), ("lucidrains", lucidrains_peer)):
            made |= {peer: make(recipe, x_0, bf16=False), f"{peer}, bf16": make(recipe, x_0, bf16=True)}
        peers = [k for k in made if not k.startswith("ours")]
        found = result["recipes"][name] = {
            "parameters": {k: sum(p.numel() for p in v[2].parameters()) for k, v in made.items()}
        }
        for which, what in enumerate(("training", "sampling")):
            seconds: dict[str, list[float]] = {k: [] for k in made}
            for _round in range(options.rounds + 2):  # two to warm up
                for k, v in made.items():
                    seconds[k].append(measure(v[which], device, options.repeats))
            seconds = {k: v[2:] for k, v in seconds.items()}
            fastest = min(peers, key=lambda k: statistics.median(seconds[k]))
            print(f"\n{name}, a {what} step (fastest peer: {fastest})")
            found[what] = {"seconds": seconds, "fastest_peer": fastest}
            for k, v in seconds.items():
                ratios = sorted(theirs / own for theirs, own in zip(seconds[fastest], v))
                middle = statistics.median(ratios)
                found[what][k] = {
                    "images_per_s": options.batch / statistics.median(v),
                    "ratio": middle,
                    "spread": [ratios[0], ratios[-1]],
                }
                print(
                    f"  {k:16s} {options.batch / statistics.median(v):9.1f} images/s   "
                    f"{middle:.2f}x the fastest peer ({ratios[0]:.2f} to {ratios[-1]:.2f})   "
                    f"{found['parameters'][k]:,} parameters"
                )
            short = found[what]["ours, eager"]["ratio"] < 1 or found[what]["ours, default"]["ratio"] < 1.3
            missed |= short
            if short:
                print("  below the goal; what our default step spends its time on:")
                with torch.profiler.profile() as profile:
                    made["ours, default"][which]()
                by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
                print(profile.key_averages().table(sort_by=by, row_limit=10, max_name_column_width=48))
        if device.type == "cuda":
            peak = matmul_peak(device)
            rate = train_flops(recipe, options.batch) / statistics.median(found["training"]["seconds"]["ours, default"])
            found["share_of_matmul_peak"] = rate / peak
            print(
                f"  training runs at {rate / 1e12:.0f} of the {peak / 1e12:.0f} TFLOP/s of a large bf16 product: "
                f"{rate / peak:.0%}"
            )
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf8")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
