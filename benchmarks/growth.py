"""What a model draws while it trains: chapter 10 begins with these pictures.

    ddim-edu train faces && python benchmarks/growth.py runs/faces

The trainer draws a grid of 64 samples every ``sample_every`` steps: with the averaged weights, by DDIM in 20 steps, and
always from the same noise. This takes some of the 64 from the grids in a run's folder, at the size that the network
made them (the grids are enlarged), and writes them to results/growth.json. The run has to be the one whose weights are
shipped: its last pictures are made anew from those and compared.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.result import model_about
from ddim_edu.models import Checkpoint, load
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.training import grid

CHOSEN = (1, 6, 16, 22, 34, 41, 50, 59)  # two of each style: among 64, those that differ most to the eye
STEPS = (500, 1000, 1500, 2500)
CLOSE = 0.03  # of a range of 2: float16 weights, and grids that were enlarged and brought back


def from_grid(path: Path, size: int) -> Tensor:
    """The chosen samples of a grid of the trainer, ``(8, 3, size, size)`` in [-1, 1]."""
    with Image.open(path) as image:
        sheet = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1
    columns = round(grid.IMAGES**0.5)
    pitch = (sheet.shape[-1] - 2) // columns  # with the 2 pixels between pictures
    places = [(2 + pitch * (i // columns), 2 + pitch * (i % columns)) for i in CHOSEN]
    enlarged = torch.stack([sheet[:, y : y + pitch - 2, x : x + pitch - 2] for y, x in places])
    return F.interpolate(enlarged, size=(size, size), mode="area")


def made_anew(model: Checkpoint) -> Tensor:
    """The chosen samples by the shipped weights, as the trainer drew them, enlarged and brought back as from_grid."""
    size, classes = model.config.image_size, model.config.classes
    labels = torch.arange(grid.IMAGES) * classes // grid.IMAGES
    generator = generator_for(model.recipe["seed"], Stream.GRID)
    tau = make_tau(model.schedule.T, grid.STEPS)
    shape = (grid.IMAGES, *model.image_shape)
    found = sample(model.eps_theta(labels), shape, model.schedule, tau, generator=generator, clip=1.0)
    enlarged = F.interpolate(found[list(CHOSEN)], scale_factor=2, mode="bicubic").clamp(-1, 1)
    return F.interpolate(enlarged, size=(size, size), mode="area")


def packed(images: Tensor) -> str:
    """A strip of pictures as the text of a PNG file."""
    pixels = ((images + 1) * 127.5).round().to(torch.uint8)
    strip = pixels.permute(2, 0, 3, 1).flatten(1, 2).contiguous()
    file = io.BytesIO()
    Image.fromarray(strip.numpy()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str) -> Tensor:
    """The inverse of :func:`packed`, ``(8, 3, size, size)`` in [-1, 1]."""
    strip = torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(text)))))
    return torch.stack(strip.permute(2, 0, 1).split(strip.shape[0], dim=2)).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of the run")
    options = parser.parse_args()
    out, model = check_writable(Path("results/growth.json")), load("faces")
    size, steps = model.config.image_size, model.recipe["steps"]
    files = {step: options.run / "samples" / f"step_{step:0{len(str(steps))}d}.png" for step in STEPS}
    rows = {str(step): from_grid(file, size) for step, file in files.items()}
    apart = (rows[str(steps)] - made_anew(model)).abs().mean().item()
    print(f"last pictures, shipped weights against the run's: mean difference {apart:.4f}")
    if apart > CLOSE:
        raise SystemExit(f"{options.run} is not the run of the shipped weights; ship it first")
    protocol = {
        "chosen": CHOSEN, "sampler": f"DDIM, S = {grid.STEPS}, eta 0, clip 1, averaged weights, one noise for all steps"
    }  # fmt: skip
    result = {"command": "python benchmarks/growth.py runs/faces", "model": model_about(model), "protocol": protocol}
    result["apart"] = round(apart, 4)
    result["strips"] = {step: packed(images) for step, images in rows.items()}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
