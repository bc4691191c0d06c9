"""``python -m ddim_edu.conformance FILE.py:FUNCTION --kind step``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ddim_edu.commands.options import fail, run
from ddim_edu.conformance.contract import ARRAYS, SIGNATURES, Refused, listen, load
from ddim_edu.conformance.kit import KINDS, check
from ddim_edu.files import replacing
from ddim_edu.streams import say

HELP = """Judge a step, a sampler, an inversion, a sigma, a grid of levels, a schedule or a scheduler; name its bug.

The function is imported from a file and called as

{signatures}

x_t, eps, noise are torch tensors (B, ...) in float64; t > s >= 0 are levels, 0 the data; alpha_bar has T + 1
numbers, alpha_bar[0] == 1; eps_theta(x, t) takes t as an int tensor (B,) in 1..T. A function with other arguments is
bound by two lines in a file of yours:

  from their.module import their_step
  step = lambda x_t, eps, t, s, eta, noise, a: their_step(eps, x_t, a[t], a[s], eta * eta, noise)

Levels counted from 0 are t - 1 here, and alphas_cumprod is alpha_bar[1:]. A function that fails with torch tensors is
given numpy arrays, then jax arrays where jax is installed; --arrays says which at once. eta is the paper's: azula's is
eta * eta here, and smalldiffusion's (gam, mu) is (1, 0) at eta = 0 and (1, 1/2) at eta = 1, with
x_t / sqrt(alpha_bar[t]) for its state.

Exit code: 0 right, or a convention that is named; 1 wrong; 2 called wrongly."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise Refused(f"{message} (--help explains)")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    signatures = "\n".join(f"  --kind {kind:9}  {text}" for kind, text in SIGNATURES.items())
    parser = _Parser(prog="python -m ddim_edu.conformance", description=HELP.format(signatures=signatures),
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("target", metavar="FILE.py:FUNCTION", help="or package.module:function")
    parser.add_argument("--kind", required=True, choices=list(KINDS), help="what it is")
    parser.add_argument(
        "--arrays", choices=ARRAYS, help="what the function takes (default: torch, else what it runs with)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict there, as JSON")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write the verdict there, for a pull request: .html, else Markdown"
    )
    try:
        options = parser.parse_args(arguments)
        listen()  # before the file binds torch's functions to names of its own
        verdict = check(load(options.target), options.kind, options.arrays)
        web = options.report is not None and options.report.suffix.lower() in (".html", ".htm")
        for path, text in (
            (options.json, json.dumps(verdict.as_dict(), indent=1) + "\n"),
            (options.report, verdict.html(options.target) if web else verdict.markdown(options.target)),
        ):
            if path is not None:
                with replacing(path) as file:
                    file.write_text(text, encoding="utf8")
    except (Refused, OSError) as error:
        return fail(error)
    say(*verdict.text(options.target).splitlines(), sep="\n")
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
