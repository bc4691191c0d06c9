"""Write a process as a library does: ``python -m ddim_edu.translate``; see :mod:`ddim_edu.commands.translate`."""

from ddim_edu.streams import importing, run


def main() -> int:
    """The command, with the words of the process."""
    with importing():
        from ddim_edu.commands.translate import main

    return main()


if __name__ == "__main__":
    run(main)
