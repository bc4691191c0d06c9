"""Write a process as a library does: ``python -m ddim_edu.translate``; see :mod:`ddim_edu.commands.translate`."""

from ddim_edu.commands.options import run
from ddim_edu.commands.translate import main

if __name__ == "__main__":
    run(main)
