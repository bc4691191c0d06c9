"""A fixture for the tests of a project of yours.

One line in its ``conftest.py``::

    pytest_plugins = ["ddim_edu.conformance.pytest_plugin"]

and a test is::

    def test_my_step(conforms):
        conforms(my_step, "step")

It is not an entry point of the package, which would import torch into every pytest run of an environment.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddim_edu.conformance import assert_conforms


@pytest.fixture
def conforms() -> Callable:
    """:func:`~ddim_edu.conformance.kit.assert_conforms`: a failing test shows the kit's report."""
    return assert_conforms
