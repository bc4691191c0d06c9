"""In dark mode, plots are shown light on dark; of figures with pictures the ground and the letters, not the pictures.

A figure that is made of lines, dots and letters on white can be turned over by the style sheet: light and dark change
places, hues stay. A photograph or a digit can't: it would be a negative. Which of the two a figure is, the code that
drew it says; the style sheet does the rest, by the class that its image gets here. A figure with pictures gets a second
image of the same file over the first, cut to where its pictures lie (:mod:`blocks`): the first is turned over, and the
second, shown in the dark alone, covers the pictures with themselves.
"""

from __future__ import annotations

from pathlib import Path

import blocks
from docutils import nodes
from sphinx.util import logging

PICTURES = ("imshow", "image_row", "picture_rows", "pcolormesh")  # what draws pictures
PLOT = "plot"
BELOW = "turned"  # the image under its own pictures

log = logging.getLogger(__name__)


def is_plot(source: str) -> bool:
    """Whether code draws lines, dots and letters alone."""
    return "figure(" in source and not any(word in source for word in PICTURES)


def path_round(width: int, height: int, found: list[blocks.Block]) -> str:
    """What ``clip-path`` needs to leave these blocks of an image: there and back from its corner to each in turn."""
    points = []
    for left, top, right, bottom in found:
        corners = (left, top), (right, top), (right, bottom), (left, bottom), (left, top)
        points += [(0, 0), *corners]
    return ", ".join(f"{100 * x / width:.4g}% {100 * y / height:.4g}%" for x, y in [*points, (0, 0)])


def cover(image: nodes.image, file: Path) -> None:
    """Put the pictures of an image over it."""
    try:
        width, height, found = blocks.blocks(file.read_bytes())
    except (OSError, ValueError) as error:
        log.warning(f"{file.name}: its pictures were not found, and it stays as it is in the dark: {error}")
        return
    above = image.deepcopy()
    above["alt"], above["ids"], above["names"] = "", [], []
    image["classes"].append(BELOW)
    shape = path_round(width, height, found)
    opening = nodes.raw("", '<span class="covered">', format="html")
    between = nodes.raw("", f'<span class="cover" style="clip-path: polygon({shape})">', format="html")
    closing = nodes.raw("", "</span></span>", format="html")
    image.parent.replace(image, [opening, image, between, above, closing])


def mark(app, doctree) -> None:
    for cell in doctree.findall(lambda node: isinstance(node, nodes.container) and "cell" in node["classes"]):
        source = "\n".join(
            block.astext() for block in cell.findall(nodes.literal_block) if "python" in block.get("language", "python")
        )
        for image in list(cell.findall(nodes.image)):
            if is_plot(source):
                image["classes"].append(PLOT)
            elif image["uri"].endswith(".png"):
                cover(image, Path(app.srcdir, image["uri"]))


def setup(app):
    app.connect("doctree-read", mark)
    return {"version": "2", "env_version": 2, "parallel_read_safe": True}  # another one: all pages are read anew
