"""``python -m ddim_edu.apps``: see :mod:`ddim_edu.commands.apply`."""

from ddim_edu.commands.apply import main
from ddim_edu.commands.options import run

if __name__ == "__main__":
    run(main)
