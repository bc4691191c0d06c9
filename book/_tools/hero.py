"""The runs that the first page plays, book/front/: DDIM and DDPM with the ``faces`` network, from the same noise.

    python book/_tools/hero.py            # a minute or two on two cores

The rule, so that nothing is picked: seeds 0 to 7, style = seed modulo 4, ten calls each, trailing. The noise is that of
the live page (`DDIM.normals` in book/live/ddim.js), so a seed there ends in the same face. DDPM is run three times from
each start, with fresh noise of the seeds k, k + 1000 and k + 2000; DDIM once, since it would be the same again.

Writes ``paths.webp``, all states (a row of tiles for each run of each seed, in columns the states from noise to face;
lossy, as they are moving), ``ddim.png`` and ``ddpm.png``, the ends without loss, and ``card.png``, what a message with
a link to the book shows.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ddim_edu.models import load
from ddim_edu.sampler import ddim_step
from ddim_edu.schedule import make_tau

OUT = Path(__file__).resolve().parents[1] / "front"
SEEDS, CALLS, RUNS, COLUMNS, SIDE = range(8), 10, 3, 4, 32
WORD = 0xFFFFFFFF


def normals(seed: int, count: int) -> np.ndarray:
    """The first normal numbers of a seed, as ``DDIM.normals(seed)(count)`` in book/live/ddim.js gives them.

    Args:
        seed: Any whole number; its last 32 bits count.
        count: An even number.
    """
    state, drawn = seed & WORD, []
    for _ in range(8 + count):  # mulberry32, of which the first eight are dropped
        state = (state + 0x6D2B79F5) & WORD
        z = ((state ^ state >> 15) * (state | 1)) & WORD
        z ^= (z + ((z ^ z >> 7) * (z | 61) & WORD)) & WORD
        drawn.append((z ^ z >> 14) / 2**32)
    first, second = np.array(drawn[8:]).reshape(-1, 2).T
    radius, turn = np.sqrt(-2 * np.log(1 - first)), 2 * math.pi * second  # Box and Muller
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).ravel().astype(np.float32)


def states(saved, seeds, eta: float, noise_seeds, calls: int = CALLS) -> Tensor:
    """All states of a run, ``(calls + 1, B, C, H, W)``: the loop of the live page, predicted pictures clipped."""
    shape = (len(seeds), *saved.image_shape)
    size = math.prod(saved.image_shape)
    x = torch.from_numpy(np.stack([normals(2 * k, size) for k in seeds])).view(shape)
    draws = np.stack([normals(2 * k + 1, size * (calls - 1)) for k in noise_seeds]) if eta else None
    eps_theta = saved.eps_theta(torch.tensor([k % saved.config.classes for k in seeds]))
    abar, tau = saved.schedule.alpha_bar.tolist(), make_tau(saved.schedule.T, calls, "trailing").tolist()
    seen = [x]
    for i, (t, s) in enumerate(zip(tau[:0:-1], tau[-2::-1])):
        with torch.no_grad():
            eps = eps_theta(x, torch.full((len(x),), t))
        x0 = ((x - math.sqrt(1 - abar[t]) * eps) / math.sqrt(abar[t])).clamp(-1, 1)
        eps = (x - math.sqrt(abar[t]) * x0) / math.sqrt(1 - abar[t])
        sigma = saved.schedule.sigma(t, s, eta) if eta and s else 0.0
        noise = torch.from_numpy(draws[:, i * size : (i + 1) * size]).view(shape) if sigma else None
        x = ddim_step(x, eps, abar[t], abar[s], sigma, noise, x0_hat=x0)
        seen.append(x)
    return torch.stack(seen)


def pixels(x: Tensor) -> np.ndarray:
    """``(..., C, H, W)`` in [-1, 1] to ``(..., H, W, C)`` bytes; what is beyond is cut."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1).numpy()


def sheet(tiles: np.ndarray, columns: int, gap: int) -> Image.Image:
    """Tiles ``(N, H, W, C)`` in rows of ``columns``, with a transparent gap between them."""
    rows = -(-len(tiles) // columns)
    step = tiles.shape[1] + gap
    picture = Image.new("RGBA", (columns * step - gap, rows * step - gap))
    for i, tile in enumerate(tiles):
        picture.paste(Image.fromarray(tile), (i % columns * step, i // columns * step))
    return picture


def card(ddim: np.ndarray, ddpm: np.ndarray, path: Path) -> None:
    """1200 x 630 pixels: the title above the two ends of the runs."""
    picture = Image.new("RGB", (1200, 630), "white")
    for left, tiles in ((80, ddim), (628, ddpm)):
        ends = sheet(tiles, COLUMNS, 1)
        ends = ends.resize((3 * ends.width + 99, round((3 * ends.width + 99) * ends.height / ends.width)), 0)
        picture.paste(ends, (left, 220), ends)
    folder = Path(__import__("matplotlib").get_data_path()) / "fonts" / "ttf"
    large, small = (ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size) for size in (52, 30))
    pen = ImageDraw.Draw(picture)
    pen.text((80, 62), "Denoising Diffusion Implicit Models", "#1f2937", large)
    pen.text((80, 136), "A textbook that runs: from the same noise, in ten calls,", "#4b5563", small)
    for left, text in ((80, "DDIM, without chance"), (628, "DDPM, with fresh noise")):
        pen.text((left, 500), text, "#1f2937", small)
    picture.save(path, optimize=True)


def main() -> None:
    saved = load("faces")
    runs = [states(saved, SEEDS, 0.0, SEEDS)]
    runs += [states(saved, SEEDS, 1.0, [k + 1000 * run for k in SEEDS]) for run in range(RUNS)]
    OUT.mkdir(exist_ok=True)
    shown = [pixels(run) for run in runs]  # (S + 1, seeds, H, W, C) each
    tiles = np.concatenate([run.swapaxes(0, 1).reshape(-1, SIDE, SIDE, 3) for run in shown])
    sheet(tiles, CALLS + 1, 0).convert("RGB").save(OUT / "paths.webp", quality=82, method=6)
    for name, run in (("ddim", shown[0]), ("ddpm", shown[1])):
        sheet(run[-1], COLUMNS, 1).save(OUT / f"{name}.png", optimize=True)
    card(shown[0][-1], shown[1][-1], OUT / "card.png")


if __name__ == "__main__":
    main()
