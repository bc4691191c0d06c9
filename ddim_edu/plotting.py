"""Figures, in the book's one style (the only module that imports matplotlib).

Importing it changes nothing: the style is applied to the figures made here and to no others.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe and Ito's colours, which stay apart for colour-blind readers; yellow is left out, being too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

# Only what takes effect when axes are made: the rest is read when something is drawn, outside of this module.
STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 110,
    "font.size": 10,
    "grid.alpha": 0.25,
}


def figure(
    ncols: int = 1,
    nrows: int = 1,
    *,
    height: float = 2.6,
    width: float = 7.0,
    sharex: bool | Literal["row", "col"] = False,
    sharey: bool | Literal["row", "col"] = False,
) -> tuple[Figure, Any]:
    """An empty figure in the book's style.

    Args:
        ncols: axes side by side.
        nrows: rows of them.
        height: of the whole, in inches.
        width: of the whole, in inches; 7 is the width of a page's text.
        sharex: one x scale for all, for each row or for each column.
        sharey: the same for y.

    Returns:
        The figure and its axes, which are one or an array as ``matplotlib.pyplot.subplots`` gives it.
    """
    settings: Any = plt.rcParams
    before = {name: settings[name] for name in STYLE}
    settings.update(STYLE)
    try:  # not rc_context: it would also undo the `interactive` that a notebook's backend sets at the first figure
        return plt.subplots(nrows, ncols, figsize=(width, height), layout="constrained", sharex=sharex, sharey=sharey)
    finally:
        settings.update(before)


def image_row(images: Tensor, titles: Sequence[str] = (), *, width: float = 7.0) -> tuple[Figure, np.ndarray]:
    """Images side by side, black at -1 and white at +1; beyond that they saturate.

    Args:
        images: ``(N, C, H, W)`` with C 1 (grey) or 3 (colour), float.
        titles: one for each image, or none.
        width: of the whole, in inches.

    Returns:
        The figure and its N axes.

    Raises:
        ValueError: if the images have another number of axes or channels, or titles don't match in number.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images of shape {tuple(images.shape)}; give (N, C, H, W) with C = 1 or 3")
    n, _, h, w = images.shape
    if titles and len(titles) != n:
        raise ValueError(f"{len(titles)} titles for {n} images")
    fig, axes = figure(n, height=width / n * h / w + (0.3 if titles else 0), width=width)
    axes = np.atleast_1d(axes)
    for i, ax in enumerate(axes):
        picture = ((images[i].detach().cpu().float() + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
        ax.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
        if titles:
            ax.set_title(titles[i])
    return fig, axes


class Table:
    """Numbers with a heading over each column, as the last line of a notebook's cell shows them.

    Args:
        columns: The headings, with the units.
        rows: For each row as many cells, written as they are to be read; the first one names the row.

    Raises:
        ValueError: if a row has more or fewer cells than there are headings.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self.columns, self.rows = list(columns), [[str(cell) for cell in row] for row in rows]
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells under {len(self.columns)} headings: {row}")

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        wide = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, wide))).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        whole = "white-space: normal; overflow-wrap: normal"  # a heading breaks between words, a number nowhere
        head = "".join(f'<th scope="col" style="{whole}">{escape(name)}</th>' for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for name, *cells in self.rows
        )
        table = f'<table style="white-space: nowrap"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return f'<div tabindex="0" style="overflow-x: auto">{table}</div>'


class Players:
    """Sounds to listen to, side by side, as the last line of a notebook's cell shows them.

    Args:
        sounds: Name and samples, ``(n,)``. All are scaled by one factor, so that what is louder stays so.
        rate: Samples a second.
    """

    def __init__(self, sounds: Mapping[str, Any], rate: int) -> None:
        self.sounds, self.rate = {name: np.asarray(sound, dtype=np.float64) for name, sound in sounds.items()}, rate

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {len(sound) / self.rate:.1f} s" for name, sound in self.sounds.items())

    def _repr_html_(self) -> str:
        loudest = max((np.abs(sound).max(initial=0) for sound in self.sounds.values()), default=0) or 1
        players = "".join(
            f'<div><div>{escape(name)}</div><audio controls aria-label="{escape(name)}" style="width: 100%" '
            f'src="data:audio/wav;base64,{self._wav(sound / loudest)}"></audio></div>'
            for name, sound in self.sounds.items()
        )
        columns = "repeat(auto-fill, minmax(min(100%, 13rem), 1fr))"
        return f'<div style="display: grid; gap: 0.5rem; grid-template-columns: {columns}">{players}</div>'

    def _wav(self, sound: np.ndarray) -> str:
        """A wav file of 16 bits, as text."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, self.rate, 0, "NONE", ""))
            out.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
        return base64.b64encode(file.getvalue()).decode()


def table1_figure(table: Mapping[str, Any]) -> tuple[Figure, np.ndarray]:
    """A result of ``evaluate table1``: distance against S, a line for each eta, a panel for each spacing.

    Args:
        table: The result, as :mod:`ddim_edu.evaluate` writes it. Of several seeds, the mean and the smallest and
            largest are drawn.

    Returns:
        The figure and its axes.
    """
    rows = table["rows"]
    spacings = list(dict.fromkeys(row["spacing"] for row in rows))
    fig, axes = figure(len(spacings), height=3.0, sharey=True)
    axes = np.atleast_1d(axes)
    for ax, spacing in zip(axes, spacings):
        for eta in dict.fromkeys(row["eta"] for row in rows):
            cells: dict[int, list[float]] = {}
            for row in rows:
                if row["spacing"] == spacing and row["eta"] == eta:
                    cells.setdefault(row["steps"], []).append(row["value"])
            steps = sorted(cells)
            means = [float(np.mean(cells[S])) for S in steps]
            ends = zip(*[(m - min(cells[S]), max(cells[S]) - m) for S, m in zip(steps, means)])
            label = r"$\hat\sigma$" if eta == "hat" else rf"$\eta$ = {eta:g}"
            ax.errorbar(steps, means, yerr=list(ends), marker="o", markersize=4, capsize=2, label=label)
        ax.set(xscale="log", yscale="log", xlabel="steps S", title=f"{spacing} spacing")
        measured = sorted({row["steps"] for row in rows if row["spacing"] == spacing})
        ax.set_xticks(measured, [f"{S}" for S in measured], minor=False)
        ax.xaxis.minorticks_off()
    name = "FID" if table["distance"] == "fid" else "classifier distance"
    axes[0].set_ylabel(f"{name}{' (estimate)' if table['estimate'] else ''}")
    axes[-1].legend(fontsize=9)
    return fig, axes


def table2_figure(table: Mapping[str, Any]) -> tuple[Figure, Axes]:
    """A result of ``evaluate reconstruction`` or ``table2``: error against S, with the paper's numbers where the result
    quotes them.

    Bars are two standard errors over the images; a second line is the median, where the result holds it.

    Args:
        table: The result, as :mod:`ddim_edu.evaluate` writes it.

    Returns:
        The figure and its axes.
    """
    rows = table["rows"]
    fig, ax = figure(height=3.0)
    errors = [2 * (row["standard_error"] or 0.0) for row in rows]
    about, steps = table["model"]["checkpoint"], [r["steps"] for r in rows]
    lines = [ax.errorbar(steps, [r["error"] for r in rows], yerr=errors, marker="o", capsize=2, label=f"{about}, mean")]
    if all("median" in r for r in rows):
        lines += ax.plot(steps, [r["median"] for r in rows], "o-", markerfacecolor="white", label=f"{about}, median")
    for name, values in table.get("paper", {}).items():
        lines += ax.plot([int(S) for S in values], list(values.values()), "s--", label=f"the paper, {name}")
    ax.set(xscale="log", yscale="log", xlabel="steps S, there and back", ylabel="squared error per dimension")
    ax.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(lines), frameon=False, fontsize=9)
    return fig, ax


def picture_rows(
    rows: Mapping[str, Tensor], columns: Sequence[str] = (), *, width: float = 6.0
) -> tuple[Figure, np.ndarray]:
    """Rows of pictures, each with its name at the left, without gaps between pictures.

    The letters are large for the figure's width, so that they can still be read where a phone shows it at half its
    size.

    Args:
        rows: for each name, ``(N, C, H, W)`` with C 1 (grey) or 3 (colour), float, -1 black and +1 white; beyond that
            they saturate. N, H and W are the same in all rows.
        columns: what stands above each of the N columns, or nothing.
        width: of the whole, in inches.

    Returns:
        The figure and its axes, one for each row.

    Raises:
        ValueError: if a row has another shape than pictures have, or than the first row, or titles don't match.
    """
    first = next(iter(rows.values()))
    for name, row in rows.items():
        if row.ndim != 4 or row.shape[1] not in (1, 3) or row.shape[::2] != first.shape[::2]:
            raise ValueError(f"row {name!r} of shape {tuple(row.shape)}; give (N, C, H, W) as in the first row")
    n, _, h, w = first.shape
    if columns and len(columns) != n:
        raise ValueError(f"{len(columns)} titles for {n} columns")
    beside = 0.1 + 0.105 * max(len(line) for name in rows for line in name.splitlines())  # inches for the names
    tall = (width - beside) / n * h / w
    fig, axes = figure(nrows=len(rows), height=len(rows) * (tall + 0.09) + (0.3 if columns else 0), width=width)
    axes = np.atleast_1d(axes)
    for ax, (name, row) in zip(axes, rows.items()):
        tiles = ((row.detach().cpu().float() + 1) / 2).clamp(0, 1).permute(2, 0, 3, 1).reshape(h, n * w, -1).numpy()
        ax.imshow(tiles if tiles.shape[-1] == 3 else tiles[..., 0], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=12)
    if columns:
        axes[0].set_xticks([(i + 0.5) * w - 0.5 for i in range(n)], columns, fontsize=12)
        axes[0].tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    return fig, axes
