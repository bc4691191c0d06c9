"""All commands behind one name: ``ddim-edu train ...``, or ``python -m ddim_edu train ...``."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "train": "train a model",
    "sample": "draw images from a trained model",
    "evaluate": "measure a model, and compare results",
    "apps": "interpolate, restore, edit, speak",
    "conformance": "name the bug in a DDIM step, sampler, inversion, sigma, grid or schedule",
    "translate": "the same process in the conventions of other libraries",
    "export": "a model as files that diffusers or a browser opens",
}


def main() -> int:
    """Run the command that the first word names, with the words after it.

    Returns:
        The exit code: the command's own, or 2 with one line if there is no such command.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(
            "usage: ddim-edu COMMAND ...\n\n"
            + "\n".join(f"  {command:13s}{text}" for command, text in COMMANDS.items())
        )
        print("\nddim-edu COMMAND --help says more; python -m ddim_edu.COMMAND is the same.")
        return 0
    if name not in COMMANDS:
        print(f"error: there is no command {name!r} (known: {', '.join(COMMANDS)})", file=sys.stderr)
        return 2
    sys.argv = [f"ddim-edu {name}", *sys.argv[2:]]
    runpy.run_module(
        f"ddim_edu.{name}", run_name="__main__", alter_sys=True
    )  # the types of options are looked up in __main__
    return 0


if __name__ == "__main__":
    sys.exit(main())
