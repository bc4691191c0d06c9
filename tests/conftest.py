"""What several test files share."""

from __future__ import annotations

from contextlib import contextmanager

import pytest


def pytest_collection_modifyitems(items):
    """A test that asks for a browser, by whatever fixture, has the marker ``browser``."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture
def full_disk():
    """The system refuses what would make a file longer than so many bytes, as a full disk does."""
    resource = pytest.importorskip("resource", reason="limits of files are POSIX's")

    @contextmanager
    def limit(most: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
