"""One name for all commands."""

import os
import subprocess
import sys

import pytest

from ddim_edu.__main__ import COMMANDS


def ddim_edu(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ddim_edu", *words], capture_output=True, text=True, timeout=300, env=environment
    )


def test_it_lists_its_commands_and_refuses_others():
    listed = ddim_edu()
    assert listed.returncode == 0 and all(f"\n  {name} " in listed.stdout for name in COMMANDS)
    wrong = ddim_edu("trian")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "no command 'trian'" in wrong.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there(name):
    helped = ddim_edu(name, "--help")
    assert helped.returncode == 0 and "usage" in helped.stdout.lower() and not helped.stderr


def test_the_commands_exit_code_is_kept():
    refused = ddim_edu("sample", "no-such-model")
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
