"""Train a classifier that measures samples: ``python -m ddim_edu.commands.train_classifier digits``.

Writes the classifier's file (:mod:`ddim_edu.models.small`) and prints its accuracy on the images that were held out.
:mod:`ddim_edu.training.small` says how it is trained.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what); 130 stopped by Ctrl-C, nothing written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ddim_edu.commands.options import carry_out, parse, run
from ddim_edu.models.small import CLASSIFIER
from ddim_edu.streams import say
from ddim_edu.training.small import CLASSIFIERS, make

PROG = "python -m ddim_edu.commands.train_classifier"


@dataclass(frozen=True)
class ClassifierOptions:
    """What the command takes."""

    # Which one.
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME", help_behavior_hint="(required)")] = ""
    # Where to write; by default among the classifiers that come with the package.
    out: Path | None = None
    # Where data sets lie, or are downloaded to.
    data_dir: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after the command; those of the process if None.

    Returns:
        The exit code.
    """

    def work() -> None:
        words = sys.argv[1:] if arguments is None else arguments
        names = ", ".join(CLASSIFIERS)
        description = f"Train one of the classifiers that measure samples: {names}."
        options = parse(ClassifierOptions(), words, prog=PROG, description=description)
        if options.name not in CLASSIFIERS:
            raise ValueError(f"which classifier? name one of {names}: {PROG} digits")
        out, recipe = CLASSIFIER.place(options.name, options.out), CLASSIFIERS[options.name]
        say(make(recipe, out, recipe.load(options.data_dir)))

    return carry_out(work)


if __name__ == "__main__":
    run(main)
