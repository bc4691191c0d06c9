"""Train a model: ``python -m ddim_edu.train``. It lives in :mod:`ddim_edu.commands.train`."""

from ddim_edu.streams import importing, run


def main() -> int:
    """The command, with the words of the process."""
    with importing():
        from ddim_edu.commands.train import main

    return main()


if __name__ == "__main__":
    run(main)
