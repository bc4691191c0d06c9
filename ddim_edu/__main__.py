"""All commands behind one name: ``ddim-edu train ...``, or ``python -m ddim_edu train ...``."""

from __future__ import annotations

import importlib
import sys

from ddim_edu.ranges import closest
from ddim_edu.streams import importing, run

COMMANDS = {
    "train": ("ddim_edu.commands.train", "train a model"),
    "sample": ("ddim_edu.commands.sample", "draw images from a trained model"),
    "evaluate": ("ddim_edu.commands.evaluate", "measure a model, and compare results"),
    "apps": ("ddim_edu.commands.apply", "interpolate, restore, edit, speak"),
    "conformance": (
        "ddim_edu.conformance.__main__",
        "name the bug in a DDIM step, sampler, inversion, sigma, grid or schedule",
    ),
    "translate": ("ddim_edu.commands.translate", "the same process in the conventions of other libraries"),
    "export": ("ddim_edu.commands.export", "a model as files that diffusers or a browser opens"),
}


def main() -> int:
    """Run the command that the first word names, with the words after it.

    Returns:
        The exit code, if no command was run: 0 after the list of them, or 2 with one line if there is no such command.

    Raises:
        SystemExit: At the end of a command, with its exit code.
    """
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: ddim-edu COMMAND ...\n")
        print("\n".join(f"  {command:13s}{text}" for command, (_, text) in COMMANDS.items()))
        print("\nddim-edu COMMAND --help says more; python -m ddim_edu.COMMAND is the same.")
        return 0
    if name not in COMMANDS:
        known = f"{closest(name, COMMANDS)} (known: {', '.join(COMMANDS)})"
        print(f"error: there is no command {name!r}{known}", file=sys.stderr)
        return 2

    def command() -> int:
        with importing():
            module = importlib.import_module(COMMANDS[name][0])
        return module.main(words)

    run(command)


if __name__ == "__main__":
    sys.exit(main())
