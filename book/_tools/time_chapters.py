"""Measure how long each chapter runs, for the line under its title.

    python book/_tools/time_chapters.py                              all
    python book/_tools/time_chapters.py chapters/01_forward.ipynb    this one; the others keep their times

Written to results/chapter_times.json: processor seconds of the notebook's kernel on one thread, its start included,
which is about what it takes on a machine with nothing else to do.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "results" / "chapter_times.json"


def spent() -> float:
    """Processor seconds of this process's finished children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(path: Path) -> float:
    """Run a notebook, in a kernel of its own, and forget what it printed."""
    notebook, before = nbformat.read(path, as_version=4), spent()
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    return spent() - before


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if missing := [name for name in arguments if not Path(name).is_file()]:
        print(f"{missing[0]}: no such notebook", file=sys.stderr)
        return 2
    os.environ["OMP_NUM_THREADS"] = "1"
    everything = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
    paths = [Path(name).resolve() for name in arguments] or everything
    times = json.loads(OUT.read_text(encoding="utf-8"))["chapters"] if OUT.exists() else {}
    for path in paths:
        times[path.stem] = {
            "cpu_seconds": round(cpu_seconds(path), 1),
            "machine": platform.processor() or platform.machine(),
        }
        print(f"{path.stem:24}{times[path.stem]['cpu_seconds']:6.1f} s", flush=True)
        ordered = {p.stem: times[p.stem] for p in everything if p.stem in times}
        about = {"command": "python book/_tools/time_chapters.py", "threads": 1, "chapters": ordered}
        temporary = OUT.with_suffix(".part")
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        temporary.replace(OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
