"""A model as files that diffusers or a browser opens: ``python -m ddim_edu.export``.

It lives in :mod:`ddim_edu.commands.export`.
"""

from ddim_edu.commands.export import main
from ddim_edu.commands.options import run

if __name__ == "__main__":
    run(main)
