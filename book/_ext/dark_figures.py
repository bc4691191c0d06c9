"""In dark mode, plots are shown light on dark; pictures are left as they are.

A figure that is made of lines, dots and letters on white can be turned over by the style sheet: light and dark change
places, hues stay. A photograph or a digit can't: it would be a negative. Which of the two a figure is, the code that
drew it says; the style sheet does the rest, by the class that its image gets here.
"""

from __future__ import annotations

from docutils import nodes

PICTURES = ("imshow", "image_row", "picture_rows", "pcolormesh")  # what draws pictures
PLOT = "plot"


def is_plot(source: str) -> bool:
    """Whether code draws lines, dots and letters alone."""
    return "figure(" in source and not any(word in source for word in PICTURES)


def mark(app, doctree) -> None:
    for cell in doctree.findall(lambda node: isinstance(node, nodes.container) and "cell" in node["classes"]):
        source = "\n".join(
            block.astext() for block in cell.findall(nodes.literal_block) if "python" in block.get("language", "python")
        )
        if is_plot(source):
            for image in cell.findall(nodes.image):
                image["classes"].append(PLOT)


def setup(app):
    app.connect("doctree-read", mark)
    return {"version": "1", "parallel_read_safe": True}
