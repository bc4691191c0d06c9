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
def cache(tmp_path_factory, monkeypatch):
    """A cache folder for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DDIM_EDU_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of recordings: eight of each of four classes, two words by two speakers."""
    from sound_files import CLASSES, burst

    folder = tmp_path_factory.mktemp("recordings")
    for i, name in enumerate(f"{c.replace(' ', '_')}_{k}.wav" for c in CLASSES for k in range(8)):
        burst(folder / name, i)
    return folder


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
