"""``python -m ddim_edu.apps``: see :mod:`ddim_edu.apps.command`."""

from ddim_edu.apps.command import main
from ddim_edu.commandline import run

if __name__ == "__main__":
    run(main)
