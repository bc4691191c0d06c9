"""Measure a model: ``python -m ddim_edu.evaluate``. It lives in :mod:`ddim_edu.commands.evaluate`."""

from ddim_edu.streams import importing, run


def main() -> int:
    """The command, with the words of the process."""
    with importing():
        from ddim_edu.commands.evaluate import main

    return main()


if __name__ == "__main__":
    run(main)
