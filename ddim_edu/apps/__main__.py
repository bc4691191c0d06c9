"""``python -m ddim_edu.apps``: see :mod:`ddim_edu.apps.command`."""

import sys

from ddim_edu.apps.command import main

if __name__ == "__main__":
    sys.exit(main())
