"""Settings that make the bare `pytest --nbval chapters/` the right command, from any folder."""

from __future__ import annotations

import os
import tempfile


def pytest_configure(config):
    option = config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    if not option.nbval_sanitize_with:
        option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")
    if not option.nbval_kernel_name:
        option.nbval_current_env = True  # this Python, whatever kernel "python3" names on the machine
    if option.nbval_cell_timeout == 2000:  # nbval's default, half an hour
        option.nbval_cell_timeout = 300

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads wait for each other on arrays as small as a chapter's
    os.environ.pop("MPLBACKEND", None)  # "agg" would make the kernels draw no figure at all
    profile = tempfile.TemporaryDirectory()  # kernels with IPython's defaults, and a history that goes away with them
    os.environ["IPYTHONDIR"] = profile.name
    config.add_cleanup(profile.cleanup)

    # nbval runs cells without history, and then IPython shows the value of a last line in spite of its semicolon.
    from nbval.kernel import RunningKernel

    def execute_cell_input(self, cell_input, allow_stdin=None):
        return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    RunningKernel.execute_cell_input = execute_cell_input
