"""The quoted numbers that chapters read, from the file that the page of sources is held to.

    python benchmarks/quoted.py [--out results/quoted.json]

Nothing is measured: ``results`` and ``ddpm`` of book/quotes.yml, as JSON. Needs PyYAML, of the book's extra.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from ddim_edu.files import check_writable, replacing

QUOTES = Path(__file__).parent.parent / "book" / "quotes.yml"
ABOUT = (
    "Quoted, not measured. What the project's texts call reconstruction loss is the training MSE of eps. The last row "
    "is the one row of S1's table. The numbers of samples, the reference and the seeds are not among what is quoted."
)


def quoted() -> dict:
    """What goes into the file."""
    quotes = yaml.safe_load(QUOTES.read_text(encoding="utf-8"))
    about = {"kind": "quoted", "about": ABOUT, "command": "python benchmarks/quoted.py"}
    return {**about, "sources": quotes["results"], "ddpm": quotes["ddpm"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/quoted.json"))
    out = check_writable(parser.parse_args().out)
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(quoted(), indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
