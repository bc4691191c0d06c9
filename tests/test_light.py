"""The book is built without torch: what stands in for it, what is installed, and that the pages are the same."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "book" / "_ext")]
import stand_ins  # noqa: E402

PINS = re.compile(r"^([\w.-]+)==([^\s;\\]+)", flags=re.MULTILINE)


def test_everything_that_the_package_imports_is_stood_in_for():
    found = set()
    for path in (ROOT / "ddim_edu").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    assert found - set(sys.stdlib_module_names) - {"ddim_edu"} == stand_ins.NAMES


def test_all_modules_can_be_read_with_stand_ins():
    program = """
import importlib, pkgutil, sys
import stand_ins
stand_ins.stand_in()
import ddim_edu
for module in pkgutil.walk_packages(ddim_edu.__path__, "ddim_edu."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert not hasattr(sys.modules["torch"], "__file__")
import inspect, typing
import torch
from torch import Tensor, nn
from ddim_edu.nets.unet import UNet
from ddim_edu.sampler import sample
assert issubclass(UNet, nn.Module) and repr(nn.Module) == "torch.nn.Module"
assert typing.get_type_hints(UNet.forward)["labels"] == Tensor | None
assert "schedule: 'NoiseSchedule'" in str(inspect.signature(sample))
@torch.no_grad()
def f(): return 3
assert f() == 3 and inspect.getsource(sample)
print("read")
"""
    where = os.environ | {"PYTHONPATH": str(ROOT / "book" / "_ext")}
    done = subprocess.run([sys.executable, "-c", program], env=where, capture_output=True, text=True)
    assert done.stdout == "read\n", done.stderr


def test_what_pages_need_is_pinned_as_everything_is_and_by_hashes():
    light = (ROOT / "book" / "requirements.txt").read_text(encoding="utf-8")
    full = set(PINS.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")))
    assert set(PINS.findall(light)) <= full
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {name for name, _ in PINS.findall(light)}
    assert {re.split("[<>=]", name)[0] for name in extras["site"]} <= names
    assert not names & {"torch", "numpy", "matplotlib", "onnx", "jupyterlab"}
    for entry in re.split(r"\n(?=\w)", light.strip()):
        assert "--hash=sha256:" in entry, entry
    assert "http" not in light


def test_everything_can_be_installed_by_hashes():
    """`make install HASHES=1`: the versions of constraints.txt, each with the hashes of its files."""
    hashed = (ROOT / "book" / "requirements-dev.txt").read_text(encoding="utf-8")
    pinned = set(PINS.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")))
    assert set(PINS.findall(hashed)) == pinned and "torch" in {name for name, _ in pinned}
    entries = re.split(r"\n(?=\w)", hashed.strip())
    assert len(entries) >= len(pinned) and all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "http:" not in hashed and "https:" not in hashed
    make = subprocess.run(["make", "-n", "install", "HASHES=1", "VENV=none"], cwd=ROOT, capture_output=True, text=True)
    assert 'install.sh "python3" "none" hashed' in make.stdout


@pytest.mark.slow
def test_without_torch_the_pages_are_the_same_to_the_byte(tmp_path):
    """Two builds of some pages: here as it is, by several processes; and by one, where only what book/requirements.txt
    names can be imported.
    """
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: live\nchapters:\n"
        "- file: glossary\n- file: api/commands\n- file: api/nets\n- file: chapters/03_reverse\n"
        "- file: api/losses\n- file: notation\n- file: parts/use\n"  # several processes read from six pages on
    )
    hidden = """
import importlib.abc, importlib.metadata, re, sys
from pathlib import Path
lines = Path(sys.argv.pop(1)).read_text(encoding="utf-8").splitlines()
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
there = {plain(line.partition("==")[0]) for line in lines if "==" in line} | {"pip", "setuptools"}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        owners = OWNERS.get(name.partition(".")[0])
        if owners and not there & {plain(owner) for owner in owners}:
            raise ModuleNotFoundError(f"hidden: {name}", name=name)
OWNERS = importlib.metadata.packages_distributions()
OWNERS.pop("ddim_edu", None)
sys.meta_path.insert(0, Hide())
found = importlib.metadata.entry_points
def entry_points(**which):  # what is hidden has no plugins either, such as the lexers that Pygments looks for
    groups = [which.pop("group")] if "group" in which else sorted(found().groups)
    given = [one for group in groups for one in found(group=group, **which)]
    return importlib.metadata.EntryPoints(one for one in given if one.dist is None or plain(one.dist.name) in there)
importlib.metadata.entry_points = entry_points
"""
    start = "from jupyter_book.cli.main import main; main()"
    sites = {}
    for seed, (name, before) in enumerate({"as it is": [start], "light": [hidden + start]}.items()):
        given = [str(ROOT / "book" / "requirements.txt")] if name == "light" else []
        out = tmp_path / name.replace(" ", "-")
        command = [sys.executable, "-c", *before, *given, "build", str(ROOT / "book"), "-qq"]
        command += ["--toc", str(tmp_path / "_toc.yml"), "--path-output", str(out)]
        where = os.environ | {"PYTHONHASHSEED": str(seed), "BOOK_JOBS": "1" if name == "light" else "3"}
        done = subprocess.run(command, cwd=ROOT, env=where, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        site = out / "_build" / "html"
        sites[name] = {
            path.relative_to(site): path.read_bytes()
            for path in site.rglob("*")
            if path.is_file() and path.name != ".buildinfo"  # Sphinx's note of its settings, which hold paths
        }
    one, other = sites.values()
    assert one.keys() == other.keys() and len(one) > 50
    assert [str(name) for name in one if one[name] != other[name]] == []


def test_a_packed_book_is_the_same_bytes_at_any_time(tmp_path):
    spec = importlib.util.spec_from_file_location("pack", ROOT / "book" / "_tools" / "pack.py")
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    site = tmp_path / "html"
    (site / "live").mkdir(parents=True)
    for name in ("index.html", "live/page.js", ".buildinfo"):
        (site / name).write_text(name * 100)
    assert pack.pack(site, tmp_path / "a.zip") == 2
    os.utime(site / "index.html", (0, 0))
    pack.pack(site, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    packed = zipfile.ZipFile(tmp_path / "a.zip")
    assert packed.namelist() == ["ddim/index.html", "ddim/live/page.js"]
    assert packed.read("ddim/live/page.js").decode() == "live/page.js" * 100


def test_sections_of_a_page_for_the_search():
    import search_texts

    page = r"""<p>no</p><article class="bd-article"><section id="a"><h1>3. One<a class="headerlink">#</a></h1>
    <p>with \(\bar\alpha_t\) and \(\eta\)</p><div class="cell_output">42</div>
    <section id="b"><h2>3.1. Two</h2><p>words</p><div class="exercise admonition" id="ex-c">
    <p class="admonition-title"><span>Exercise 3.2 </span> (Code: it)</p><section id="exercise-content"><p>do</p>
    </section></div></section></section><dl><dt id="ddim_edu.f"><code>f</code>(x)</dt><dd>maps</dd>
    <dt id="term-x">x<a class="headerlink">#</a></dt><dd>a word</dd></dl></article>"""
    rows = search_texts.sections(page)
    assert rows[0] == ["a", "3. One", "with ᾱ_t and η"] and rows[1] == ["b", "3.1. Two", "words"]
    assert rows[2] == ["ex-c", "Exercise 3.2 (Code: it)", "do"]
    assert rows[3:] == [["ddim_edu.f", "ddim_edu.f", "maps"], ["term-x", "x", "a word"]]
    assert json.dumps(rows)
