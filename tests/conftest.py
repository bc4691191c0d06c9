"""What several test files share."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

FLAGS = """--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update
--disable-sync"""


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


@pytest.fixture(scope="module")
def browser():
    """A Chromium, if there is one. Files that look at the built site start their own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with api.sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        except api.Error as error:
            pytest.skip(f"no Chromium starts here: {str(error).splitlines()[0]}")
        yield running
        running.close()
