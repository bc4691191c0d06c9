"""The small pictures on the first page's cards, book/images/cards/NN.webp: cuttings from the chapters' own figures.

    python book/_tools/cards.py           # again after `make chapters`; seconds

A chapter that has no line in CUTS shows the middle of its first figure. Two cards belong to no chapter: the live page's
is the end of the runs on the first page (hero.py), the playground's is drawn here, with an exact predictor.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "book" / "images" / "cards"
SIZE = (352, 198)  # twice what a card is wide, as screens have it

# chapter: the figure's name, and the part of it that is shown: left, top, right, bottom, as shares
CUTS = {
    "01": ("fig-photo-chain", (0.335, 0.2, 0.66, 1)),
    "02": ("fig-walk-jump", (0.13, 0.12, 0.72, 1)),
    "03": ("fig-walk-back", (0.43, 0.1, 1, 1)),
    "04": ("fig-family-streaks", (0.12, 0.07, 0.965, 0.88)),
    "05": ("fig-sigma-faces", (0.13, 0.08, 0.7, 1)),
    "06": ("fig-fewer-faces", (0.1, 0.06, 1, 0.52)),
    "07": ("fig-ode-faces", (0.486, 0.09, 0.99, 0.68)),
    "08": ("fig-adaptive-answer", (0.615, 0.03, 1, 0.83)),
    "09": ("fig-unet-teaser", (0.165, 0.06, 1, 0.8)),
    "10": ("fig-training-growth", (0.18, 0, 1, 1)),
    "11": ("fig-measuring-teaser", (0.17, 0, 0.79, 1)),
    "12": ("fig-interpolation-teaser", (0.17, 0, 0.75, 1)),
    "13": ("fig-restoration-teaser", (0.13, 0, 0.9, 1)),
    "14": ("fig-guide-samples", (0.1, 0.08, 1, 1)),
    "15": ("fig-sound-teaser", (0, 0, 0.67, 1)),
    "16": ("fig-continuous-flow", (0.085, 0.06, 0.98, 0.88)),
    "17": ("fig-calls-teaser", (0.15, 0, 1, 1)),
    "18": ("fig-inversion-back", (0.108, 0, 1, 1)),
    "19": ("fig-guidance-repairs", (0.18, 0, 0.85, 1)),
    "20": ("fig-one-step-digits", (0.175, 0.27, 0.665, 1)),
    "21": ("fig-music-transfer", (0.508, 0.12, 0.992, 1)),
}


def figures(notebook: Path) -> dict[str, Image.Image]:
    """The stored pictures of a chapter by their names, in the chapter's order; nameless ones by a number."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", str(len(found)))
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGBA")
                found[name] = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return found


def chapter(notebook: Path) -> Image.Image:
    """The cutting for a chapter's card.

    Raises:
        KeyError: In one line, if the chapter has no figure of the name in CUTS.
    """
    found = figures(notebook)
    number = notebook.name[:2]
    name, share = CUTS.get(number, (next(iter(found), ""), (0, 0, 1, 1)))
    if name not in found:
        raise KeyError(f"{notebook.name} has no figure {name!r}: give another in CUTS of book/_tools/cards.py")
    picture = found[name]
    box = [round(part * length) for part, length in zip(share, picture.size * 2)]
    return ImageOps.fit(picture.crop(tuple(box)), SIZE, Image.Resampling.LANCZOS)


def live() -> Image.Image:
    """Faces in their own pixels."""
    ends = Image.open(ROOT / "book" / "front" / "ddim.png").convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", ends.size, "white"), ends).convert("RGB")
    return ImageOps.fit(picture, SIZE, Image.Resampling.NEAREST)


def playground() -> Image.Image:
    """Two hundred particles on their way from noise to three clusters, by DDIM with the exact predictor."""
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ddim_edu.exact import GaussianMixture
    from ddim_edu.sampler import ddim_path
    from ddim_edu.schedule import NoiseSchedule, make_tau

    means = torch.tensor([[-2.6, -0.5], [0.3, 1.1], [2.5, -0.7]], dtype=torch.float64)
    schedule = NoiseSchedule.cosine(1000)
    exact = GaussianMixture(torch.ones(3), means, 0.09, schedule)
    start = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps = list(ddim_path(exact.eps, start, schedule, make_tau(1000, 60, "trailing")))
    paths = torch.stack([start] + [step.x_s for step in steps])
    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="#0f1b33")
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot(paths[:, :, 0], paths[:, :, 1], color="#7fb2ff", linewidth=0.5, alpha=0.35)
    axes.scatter(*paths[-1].T, s=5, color="#ffb347", zorder=2)
    axes.set(xlim=(-4, 4), ylim=(-2.25, 2.25))
    canvas.draw()
    return Image.fromarray(__import__("numpy").asarray(canvas.buffer_rgba())).convert("RGB")


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    made = {"live": live, "playground": playground}
    made |= {p.name[:2]: lambda p=p: chapter(p) for p in sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))}
    for name, make in made.items():
        try:
            make().save(OUT / f"{name}.webp", quality=78, method=6)
        except KeyError as error:
            print(error.args[0], file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
