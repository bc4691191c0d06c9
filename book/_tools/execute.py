"""Run chapters and store what they print: chapters/NN_slug.py (what one edits) -> NN_slug.ipynb (what is read and
shipped).

    python book/_tools/execute.py                           every chapter whose two files differ; names those that rest
                                                            on modules of ddim_edu that have changed since they ran
    python book/_tools/execute.py --all                     these too
    python book/_tools/execute.py --force chapters/01_forward.py    this one, whatever has changed
    python book/_tools/execute.py --check                   runs nothing; exit code 1 if a chapter is to be run
    python book/_tools/execute.py --accept                  runs nothing; outputs are right, `make chapters-test` says

Where only the text or the tags of cells were edited, the outputs are kept and nothing is run. Running twice gives the
same bytes: no timings, no versions are stored, and a cell keeps its id.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import rests_on
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    # what the kernel reports, without its version, which would change from machine to machine
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
CELL_TIMEOUT = 600  # seconds


class ChapterError(Exception):
    """A chapter that does not run; the message is one line and names the cell."""


def read_source(py: Path) -> nbformat.NotebookNode:
    """The cells of the text form, in order, without outputs."""
    notebook = jupytext.read(py, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def is_current(py: Path, ipynb: Path) -> bool:
    """Whether the notebook has the text form's cells and was run once from top to bottom."""
    if not ipynb.exists():
        return False
    source, stored = read_source(py).cells, nbformat.read(ipynb, as_version=4).cells
    counts = [cell.execution_count for cell in stored if cell.cell_type == "code"]
    return [_content(c) for c in source] == [_content(c) for c in stored] and counts == list(range(1, len(counts) + 1))


def execute(py: Path, ipynb: Path) -> None:
    """Run the text form from the top and write the notebook, whole or not at all.

    Raises:
        ChapterError: if a cell raises (and is not tagged raises-exception), runs too long or kills the kernel.
    """
    notebook = read_source(py)
    stored = nbformat.read(ipynb, as_version=4).cells if ipynb.exists() else []
    for cell, cell_id in zip(notebook.cells, _ids(notebook.cells, stored), strict=True):
        cell["id"] = cell_id
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,  # else prints are cut where the kernel happened to flush
        extra_arguments=["--log-level=ERROR"],  # the kernel's start-up chatter
        resources={"metadata": {"path": str(py.parent)}},  # as JupyterLab and nbval do
    )
    try:
        client.execute(cwd=str(py.parent))
    except CellExecutionError as error:
        raise ChapterError(f"{_where(py, notebook)}: {error.ename}: {_first_line(error.evalue)}") from None
    except CellTimeoutError:
        raise ChapterError(f"{_where(py, notebook)}: took longer than {CELL_TIMEOUT} s") from None
    except DeadKernelError:
        raise ChapterError(f"{_where(py, notebook)}: the kernel died (out of memory?)") from None
    shrink(notebook)
    _write(notebook, ipynb)


def shrink(notebook: nbformat.NotebookNode) -> None:
    """Store the figures with 256 colours each, where that is smaller: pictures of noise in colour shrink to a third."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if text := output.get("data", {}).get("image/png"):
                small = fewer_colours(base64.b64decode(text))
                output["data"]["image/png"] = base64.b64encode(small).decode()


def fewer_colours(png: bytes) -> bytes:
    """A picture with the 256 colours that suit it best; as it was if it is transparent somewhere, or already small."""
    with Image.open(io.BytesIO(png)) as image:
        if image.mode == "P" or image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
            return png
        found = io.BytesIO()
        image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            found, "PNG", optimize=True
        )
    return min(found.getvalue(), png, key=len)


def edit_text(py: Path, ipynb: Path) -> bool:
    """Bring an edited text, or a cell's tags, into the notebook and keep its outputs; False if any code was edited: it
    must run again.
    """
    if not ipynb.exists():
        return False
    notebook, stored = read_source(py), nbformat.read(ipynb, as_version=4).cells
    ran = [cell for cell in stored if cell.cell_type == "code"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    once = [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    if not once or [cell.source.rstrip() for cell in ran] != [cell.source.rstrip() for cell in code]:
        return False
    for cell, cell_id in zip(notebook.cells, _ids(notebook.cells, stored), strict=True):
        cell["id"] = cell_id
    for cell, before in zip(code, ran, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    _write(notebook, ipynb)
    return True


def _write(notebook: nbformat.NotebookNode, ipynb: Path) -> None:
    """Whole or not at all."""
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel has added its version
    partial = ipynb.with_name(f".{ipynb.name}.partial")
    partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    os.replace(partial, ipynb)


def _content(cell: nbformat.NotebookNode) -> tuple:
    meta = cell.metadata
    return cell.cell_type, cell.source.rstrip(), list(meta.get("tags", [])), dict(meta.get("mystnb", {}))


def _ids(cells: list, stored: list) -> list[str]:
    """An id for each cell: the stored one where the cell is the same or was edited in place, else one made from its
    text.
    """
    ids: list[str | None] = [None] * len(cells)
    match = difflib.SequenceMatcher(None, [_key(c) for c in stored], [_key(c) for c in cells], autojunk=False)
    for _, old_start, old_end, new_start, new_end in match.get_opcodes():
        for old, new in zip(range(old_start, old_end), range(new_start, new_end), strict=False):
            ids[new] = stored[old].get("id")
    taken = set(filter(None, ids))
    for index, cell in enumerate(cells):
        salt = 0
        while ids[index] is None:
            candidate = hashlib.sha256(f"{salt} {_key(cell)}".encode()).hexdigest()[:8]
            if candidate not in taken:
                ids[index] = candidate
                taken.add(candidate)
            salt += 1
    return ids


def _key(cell: nbformat.NotebookNode) -> str:
    return f"{cell.cell_type} {cell.source.rstrip()}"


def _where(py: Path, notebook: nbformat.NotebookNode) -> str:
    """file:line of the code cell that failed: the last one that was started."""
    started = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and _was_started(cell)]
    index = started[-1] if started else 0
    source = notebook.cells[index].source
    line = py.read_text(encoding="utf-8").find(source)
    number = py.read_text(encoding="utf-8").count("\n", 0, line) + 1 if line >= 0 else 0
    return f"{py.name}:{number}: cell {index + 1} ({_first_line(source)[:60]!r})"


def _was_started(cell: nbformat.NotebookNode) -> bool:
    return cell.execution_count is not None or any(o.output_type == "error" for o in cell.outputs)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path, help=".py files (default: all of chapters/)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--all", action="store_true", help="run also those that rest on modules that have changed")
    how.add_argument("--force", action="store_true", help="run them whatever has changed")
    how.add_argument("--check", action="store_true", help="run nothing; say what is to be run, exit code 1 if any is")
    how.add_argument("--accept", action="store_true", help="run nothing; take the outputs for those of today's modules")
    arguments = parser.parse_args(argv)
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # as conftest.py has it for nbval: the order of a sum's terms stays the same
    os.environ.pop("MPLBACKEND", None)  # "agg" would make figures vanish
    profile = tempfile.TemporaryDirectory()  # IPython with its defaults, not the user's
    os.environ["IPYTHONDIR"] = profile.name
    paths = [p.resolve().with_suffix(".py") for p in arguments.chapters] or sorted(CHAPTERS.glob("[0-9]*.py"))
    for py in paths:
        if not py.is_file():
            print(f"{py}: no such chapter; give a .py file of {CHAPTERS.name}/", file=sys.stderr)
            return 2
    if arguments.accept:
        rests_on.remember(paths)
        return 0
    codes = [_bring_up_to_date(py, arguments) for py in paths]
    return max(codes)


def _bring_up_to_date(py: Path, arguments: argparse.Namespace) -> int:
    """Do with one chapter what the arguments say; 1 if it failed, or, with --check, if it is to be run."""
    ipynb, changed = py.with_suffix(".ipynb"), rests_on.changed(py)
    about = f"rests on what has changed: {', '.join(changed)}"
    if arguments.check:
        edited = not is_current(py, ipynb)
        if edited or changed:
            print(f"{py.name}: {'edited' if edited else about}")
        return int(edited or bool(changed))
    if not arguments.force and not (arguments.all and changed):
        kept = (
            "nothing edited" if is_current(py, ipynb) else "text edited, outputs kept" if edit_text(py, ipynb) else ""
        )
        if kept:
            print(f"{py.name}: {kept}{f'; {about}; --all runs it' if changed else ''}")
            return 0
    try:
        execute(py, ipynb)
    except ChapterError as error:
        print(error, file=sys.stderr)
        return 1
    rests_on.remember([py])
    print(f"{py.name}: executed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
