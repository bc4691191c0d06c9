"""``python -m ddim_edu.apps``: see :mod:`ddim_edu.commands.apply`."""

from ddim_edu.streams import importing, run


def main() -> int:
    """The command, with the words of the process."""
    with importing():
        from ddim_edu.commands.apply import main

    return main()


if __name__ == "__main__":
    run(main)
