"""Measure a model: ``python -m ddim_edu.evaluate``. It lives in :mod:`ddim_edu.commands.evaluate`."""

from ddim_edu.commands.evaluate import main
from ddim_edu.commands.options import run

if __name__ == "__main__":
    run(main)
