"""A sampling process as a library writes it: ``python -m ddim_edu.translate diffusers --steps 20``.

It prints JSON, or, for ``table``, the table of the book's page on notation. Exit codes: 0 done; 2 called wrongly (one
line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from ddim_edu.commands.options import carry_out, parse
from ddim_edu.conventions import LIBRARIES, Process, table
from ddim_edu.ranges import AboveZero, Checked, Positive, Range, closest
from ddim_edu.schedule import Spacing
from ddim_edu.streams import say

PROG = "python -m ddim_edu.translate"
KNOWN = "{" + ",".join([*LIBRARIES, "table"]) + "}"


@dataclasses.dataclass(frozen=True)
class TranslateOptions(Checked):
    """What the command takes."""

    # Whose words; table prints that of the book's page on notation.
    library: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar=KNOWN, help_behavior_hint="(required)"),
    ] = ""
    # The noise schedule.
    schedule: Literal["linear", "scaled-linear", "cosine"] = "linear"
    # Number of levels.
    T: Annotated[Positive, tyro.conf.arg(aliases=["-T"])] = 1000
    # Number of sampling steps S.
    steps: Positive = 50
    # Which levels the steps visit.
    spacing: Spacing = "leading"
    # 0 is DDIM, 1 is DDPM.
    eta: Annotated[float, Range(0)] = 0.0
    # What the network gives.
    predicts: Literal["eps", "v", "x0"] = "eps"
    # The bound to which the predicted x_0 is clamped, with eps recomputed.
    clip: AboveZero | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``python -m ddim_edu.translate``; those of the process if None.

    Returns:
        The exit code.
    """
    return carry_out(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(words: Sequence[str]) -> None:
    what = "The same sampling process, written as a library writes it, as JSON."
    o = parse(TranslateOptions(), words, prog=PROG, description=what)
    known = [*LIBRARIES, "table"]
    if o.library not in known:
        what = f"there is no library {o.library!r}{closest(o.library, known)}" if o.library else "whose words?"
        raise ValueError(f"{what} (known: {', '.join(known)})")
    if o.library == "table":
        print(table(), end="")
    else:
        process = Process(o.schedule, o.T, o.steps, o.spacing, o.eta, o.predicts, o.clip)
        say(json.dumps(LIBRARIES[o.library](process)))
