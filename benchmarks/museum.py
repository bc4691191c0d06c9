r"""The museum of real bugs: an appendix of the book, made from the conformance kit's own catalogue.

    python benchmarks/museum.py [--out results/museum.json] [--images book/images/museum] [--page book/museum.md]

For each exhibit it builds the right formulas with one line replaced by the catalogue's mistake, lets the kit judge that
function, draws what it does (400 points of a mixture in the plane, six digits of the shipped model, both from the same
noise as without the mistake), and writes the verdicts to results/ and the exhibits to the page, between its two
markers.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from museum_exhibits import EXHIBITS, Exhibit
from PIL import Image
from torch import Tensor

from ddim_edu.conformance import check
from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.reference import build
from ddim_edu.data.registry import load_data
from ddim_edu.exact import GaussianMixture
from ddim_edu.files import check_writable, replacing
from ddim_edu.models import load
from ddim_edu.plotting import COLOURS

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- exhibits: written by benchmarks/museum.py -->", "<!-- end of the exhibits -->"
POINTS, DIGITS, SEED = 400, 6, 3
DATA_SEED = 1  # of the pictures that inversions start from
FRAME = 1.25  # the plane is shown from -FRAME to FRAME


def network(eps: Callable, alpha_bar: np.ndarray, output: str, bound: float | None) -> Callable:
    """A predictor in float64 that says eps or x_0, with the x_0 that it stands for kept within ``bound``, as this
    book's samplers have it.

    No network knows level 0, where some inversions ask: they get the answer of level 1.
    """

    def said(x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(min=1)
        abar = torch.from_numpy(alpha_bar)[t].reshape(-1, *[1] * (x.ndim - 1))
        with torch.no_grad():
            noise = eps(x, t)
        if bound is None and output == "eps":
            return noise
        x_0 = (x - (1 - abar).sqrt() * noise) / abar.sqrt()
        x_0 = x_0 if bound is None else x_0.clamp(-bound, bound)
        return x_0 if output == "x0" else (x - abar.sqrt() * x_0) / (1 - abar).sqrt()

    return said


def run(
    exhibit: Exhibit, eps: Callable, start: Tensor, alpha_bar: np.ndarray, bound: float | None, *, mistaken: bool
) -> Tensor:
    """Samples from x_T; of an inversion, what the right sampler makes of its x_T. Fresh noise is the same with the
    mistake and without.
    """
    torch.manual_seed(SEED)
    if exhibit.kind == "invert":
        plain, T = network(eps, alpha_bar, "eps", None), len(alpha_bar) - 1
        # Some levels below T: see ddim_edu.sampler.invert.
        up = [int(t) for t in np.round(np.linspace(0, T - T // 100, exhibit.S + 1))]
        climb = {"tau": lambda v: up, **(exhibit.lines if mistaken else {})}
        x_T = build("invert", climb)(plain, start, exhibit.S, alpha_bar)
        return build("sampler", {"tau": lambda v: up[::-1]})(plain, x_T, exhibit.S, 0.0, alpha_bar)
    lines, right = exhibit.lines, exhibit.grid_lines
    clips = exhibit.id == "clip-without-eps"  # here the step does what the predictor does elsewhere
    if clips:
        right = BY_ID["clip-with-eps"].change
    output = exhibit.output if mistaken else "eps"
    said = network(eps, alpha_bar, output, None if clips else bound)
    return build("sampler", lines if mistaken else right)(said, start, exhibit.S, exhibit.eta, alpha_bar)


class Worlds:
    """The exact mixture and the shipped model, both in the model's schedule, and what walks start from."""

    def __init__(self) -> None:
        model = load("digits")
        self.alpha_bar = model.schedule.alpha_bar.double().numpy()
        self.mixture = GaussianMixture(torch.ones(2), torch.tensor([[-0.6, -0.35], [0.6, 0.35]]), 0.02, model.schedule)
        self.eps = {"plane": self.mixture.eps, "digits": lambda x, t: model.model(x.float(), t).double()}
        g = torch.Generator().manual_seed(SEED)
        self.noise = {
            "plane": torch.randn(POINTS, 2, generator=g, dtype=torch.float64),
            "digits": torch.randn(DIGITS, *model.image_shape, generator=g, dtype=torch.float64),
        }
        data = load_data("digits")
        rows = torch.randperm(len(data.heldout), generator=torch.Generator().manual_seed(DATA_SEED))[:DIGITS]
        self.data = {"plane": self.mixture.sample(POINTS, g), "digits": data.floats(data.heldout[rows]).double()}

    def show(self, exhibit: Exhibit) -> dict[str, tuple[Tensor, Tensor]]:
        """Without the mistake and with it, in both worlds."""
        start = self.data if exhibit.kind == "invert" else self.noise
        return {
            world: tuple(
                run(
                    exhibit,
                    self.eps[world],
                    start[world],
                    self.alpha_bar,
                    1.0 if world == "digits" else None,
                    mistaken=mistaken,
                )
                for mistaken in (False, True)
            )
            for world in start
        }


def measures(shown: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """How far apart the two are: root mean square over the pixels, over the points; and how many points are off the
    figure.
    """
    return {
        "digits_rms": round((shown["digits"][1] - shown["digits"][0]).square().mean().sqrt().item(), 4),
        "plane_rms": round((shown["plane"][1] - shown["plane"][0]).square().mean().sqrt().item(), 4),
        "points_outside": int((~(shown["plane"][1].abs() <= FRAME).all(1)).sum()),
    }


def draw(shown: Mapping[str, tuple[Tensor, Tensor]], path: Path) -> None:
    """The figure of an exhibit: 760 x 272 pixels, of which a phone shows half; letters are 25 pixels high for that
    reason.
    """
    width, height, letters = 760, 272, 25
    fig = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    points = dict(fontsize=letters * 0.72, va="center", ha="left")

    def box(x: float, y: float, w: float, h: float) -> plt.Axes:
        return fig.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

    plane = box(4, 4, 262, 262)
    for x, colour, size in zip(shown["plane"], COLOURS, (6, 3.5)):
        few = len(x.mul(20).round().unique(dim=0)) < 10  # a heap, which would be lost among the others
        plane.plot(
            *x.T.numpy(), "o", color=colour, markersize=14 if few else size, alpha=0.5 if size > 5 else 1.0, mew=0
        )
    plane.set(xlim=(-FRAME, FRAME), ylim=(-FRAME, FRAME), xticks=[], yticks=[])
    for spine in plane.spines.values():
        spine.set_color("#888888")
    for row, (images, word, colour) in enumerate(zip(shown["digits"], ("right", "with the bug"), COLOURS)):
        fig.text(284 / width, 1 - (18 + 136 * row) / height, word, color=colour, **points)
        for i, image in enumerate(images):
            ax = box(284 + 79 * i, 36 + 136 * row, 75, 94)
            ax.imshow(
                ((image[0] + 1) / 2).clamp(0, 1).nan_to_num(0.5).numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto"
            )
            ax.set_axis_off()
    png = io.BytesIO()
    fig.savefig(png, dpi=100)
    plt.close(fig)
    with replacing(path) as temporary:
        Image.open(png).convert("RGB").quantize(200, dither=Image.Dither.NONE).save(
            temporary, format="PNG", optimize=True
        )


# -- the page


def judged(exhibit: Exhibit) -> dict:
    """What results/ holds of an exhibit, but for what its figure measures."""
    return {
        "id": exhibit.id,
        "kind": exhibit.kind,
        "S": exhibit.S,
        "eta": exhibit.eta,
        **check(exhibit.function(), exhibit.kind).as_dict(),
    }


def block(exhibit: Exhibit, stored: Mapping, number: int) -> str:
    """An exhibit as the page shows it."""
    caught = ", ".join(f"`{name}`" for name, oracle in stored["oracles"].items() if not oracle["passed"])
    outside = stored["measured"]["points_outside"]
    off = f" {outside} of {POINTS} points lie outside of the figure." if outside else ""
    what = "round trip of" if exhibit.kind == "invert" else "walk of"
    lines = [
        f"## {number}. {exhibit.title}", "",
        "Seen", ":   " + "; ".join(source.markdown for source in exhibit.sources) + ".", f"    {exhibit.said}", "",
        "Wrong", ":   $$", f"    {exhibit.wrong}", "    $$", "",
        "Right", ":   $$", f"    {exhibit.right}", "    $$", "",
        f"```{{figure}} images/museum/{exhibit.id}.png", f":alt: {exhibit.alt}", ":width: 570px", "",
        f"A {what} {exhibit.S} steps at $\\eta = {exhibit.eta:g}$. {exhibit.seen}{off} Root mean square difference of "
        f"the digits' pixels, which run from $-1$ to $1$: {stored['measured']['digits_rms']:.2g}.", "```", "",
        "Caught by", f":   {caught}", "",
        "The kit says", ":   ```{code-block} text", "    :class: wrapped", "",
        f"    {stored['kind']}: {stored['verdict'].upper()}  [{stored['mistake']}]", f"    {stored['explanation']}",
        "    ```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def exhibits(results: Mapping) -> str:
    """All that stands between the page's markers."""
    stored = {row["id"]: row for row in results["exhibits"]}
    return "\n".join(block(exhibit, stored[exhibit.id], i) for i, exhibit in enumerate(EXHIBITS, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "museum.json")
    parser.add_argument("--images", type=Path, default=ROOT / "book" / "images" / "museum")
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "museum.md")
    options = parser.parse_args()
    check_writable(options.out)
    options.images.mkdir(parents=True, exist_ok=True)
    worlds, rows = Worlds(), []
    for exhibit in EXHIBITS:
        shown = worlds.show(exhibit)
        draw(shown, options.images / f"{exhibit.id}.png")
        rows.append({**judged(exhibit), "measured": measures(shown)})
        print(f"{exhibit.id:24} {rows[-1]['verdict']:10} {rows[-1]['mistake']:24} {rows[-1]['measured']}", flush=True)
    result = {
        "command": "python benchmarks/museum.py",
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "exhibits": rows,
    }
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    before, _, rest = options.page.read_text(encoding="utf8").partition(BEGIN)
    with replacing(options.page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n\n{exhibits(result)}\n{END}{rest.partition(END)[2]}", encoding="utf8")


if __name__ == "__main__":
    main()
