"""`make lab`: a server begun as it begins one, asked over its own interface."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BEGINS = "book/_tools/lab.py", "book/_tools/readable.py"
pytest.importorskip("jupyterlab")
jupytext = pytest.importorskip("jupytext")


@pytest.fixture
def server(tmp_path):
    """Of a small copy of the repository; gives a function that asks it."""
    names = ["pyproject.toml", "book/references.bib", "book/_ext/references.py", *BEGINS]
    every = [path.relative_to(ROOT).as_posix() for path in (ROOT / "chapters").glob("[0-9]*.ipynb")]
    for name in [*names, "chapters/01_forward.py", *every]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--IdentityProvider.token=t",
    ]
    home = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "c"), "JUPYTER_DATA_DIR": str(tmp_path / "d")}
    with open(tmp_path / "log", "w") as log:
        started = subprocess.Popen(
            [sys.executable, tmp_path / "book/_tools/lab.py", *options], env=home, stdout=log, stderr=log
        )

    def ask(path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": "token t", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/{path}", data, headers, method="GET" if data is None else "PUT"
        )
        return json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60))

    try:
        for _ in range(300):
            try:
                ask("status")
                break
            except (urllib.error.URLError, OSError):
                assert started.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.3)
        ask.log = tmp_path / "log"
        ask.root = tmp_path
        yield ask
    finally:
        started.terminate()
        started.wait(30)


TWO = "01_forward.ipynb", "01_forward.py"


def cells(root: Path) -> list[list[str]]:
    """What stands in the cells of the chapter's two files."""
    return [[cell.source for cell in jupytext.read(root / "chapters" / name).cells] for name in TWO]


@pytest.mark.slow
def test_saving_a_chapter_writes_both_files_and_the_list_shows_notebooks_alone(server):
    listed = [entry["name"] for entry in server("contents/chapters")["content"]]
    assert sorted(listed) == sorted(path.name for path in (ROOT / "chapters").glob("[0-9]*.ipynb"))
    before = cells(server.root)
    notebook = server("contents/chapters/01_forward.ipynb")["content"]
    texts = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    assert any('](02_variance.ipynb "{ref}' in text for text in texts) and not any("{eq}`" in text for text in texts)
    save = {"type": "notebook", "format": "json", "content": notebook}
    server("contents/chapters/01_forward.ipynb", save)
    assert cells(server.root) == before
    notebook = server("contents/chapters/01_forward.ipynb")["content"]
    notebook["cells"][1]["source"] += "\nA sentence of a test."
    server("contents/chapters/01_forward.ipynb", {"type": "notebook", "format": "json", "content": notebook})
    for name in TWO:
        assert "A sentence of a test." in (server.root / "chapters" / name).read_text(encoding="utf-8"), name
    assert "chapters/01_forward.ipynb" in server.log.read_text()
