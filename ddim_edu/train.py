"""Train a model: ``python -m ddim_edu.train``. It lives in :mod:`ddim_edu.commands.train`."""

from ddim_edu.commands.options import run
from ddim_edu.commands.train import main

if __name__ == "__main__":
    run(main)
