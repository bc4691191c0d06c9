"""A model as files that diffusers or a browser opens: ``python -m ddim_edu.export``.

It lives in :mod:`ddim_edu.commands.export`.
"""

from ddim_edu.streams import importing, run


def main() -> int:
    """The command, with the words of the process."""
    with importing():
        from ddim_edu.commands.export import main

    return main()


if __name__ == "__main__":
    run(main)
