"""Draw images from a trained model: ``python -m ddim_edu.sample``. It lives in :mod:`ddim_edu.commands.sample`."""

from ddim_edu.commands.options import run
from ddim_edu.commands.sample import main

if __name__ == "__main__":
    run(main)
