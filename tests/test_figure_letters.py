"""How small a figure's letters are, as read off its code, against what matplotlib has drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from matplotlib.text import Text

from ddim_edu import plotting

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
figure_letters = pytest.importorskip("figure_letters")
TABLE1, TABLE2 = (sorted((ROOT / "results").glob(f"{name}_*.json"))[0] for name in ("table1", "table2"))


def drawn(source: str) -> float:
    """Points of the smallest letters in the figure that this code makes."""
    here = {
        "pictures": torch.zeros(2, 1, 4, 4),
        "table1": json.loads(TABLE1.read_text(encoding="utf-8")),
        "table2": json.loads(TABLE2.read_text(encoding="utf-8")),
    }
    exec(source, vars(plotting) | here)
    fig = plt.gcf()
    fig.canvas.draw()
    texts = [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = [text for ax in fig.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for text in axis.findobj(Text)]
    plt.close(fig)
    return min((text.get_fontsize() for text in texts if text not in hidden), default=0)


@pytest.mark.parametrize(
    "source",
    [
        "fig, ax = figure()\nax.plot([0, 1])",
        "fig, ax = figure()\nax.plot([0, 1], label='a')\nax.legend(fontsize=8)",
        "fig, ax = figure()\nax.set_title('a', fontsize=9)",
        "picture_rows({'a': pictures})",
        "picture_rows({'a': pictures, 'b': pictures}, ['left', 'right'])",
        "fig, axes = picture_rows({'a': pictures})\naxes[0].set_xlabel('level')",
        "fig, axes = picture_rows({'a': pictures})\naxes[0].set_xlabel('level', fontsize=12)",
        "image_row(pictures)",
        "image_row(pictures, ['left', 'right'])",
        "image_row(pictures, titles=['left', 'right'])",
        "fig, axes = image_row(pictures, ['left', 'right'])\n[ax.title.set_fontsize(9) for ax in axes]",
        "table1_figure(table1)",
        "table2_figure(table2)",
    ],
)
def test_the_smallest_letters_are_those_that_matplotlib_draws(source):
    assert figure_letters.letters(source) == drawn(source)


def test_code_that_draws_by_a_function_of_the_chapter_is_taken_for_small():
    assert figure_letters.letters("draw_by(net)") == figure_letters.UNKNOWN == figure_letters.letters("%%time\nx")


def test_rows_of_pictures_in_the_chapters_have_large_letters():
    found = {}
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "picture_rows(" in cell.source and cell.outputs:
                found[path.stem, cell.source[:60]] = figure_letters.letters(cell.source)
    assert len(found) >= 20 and {*found.values()} == {12}, found
