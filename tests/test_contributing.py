"""CONTRIBUTING and README say what is there: every room, files that exist, and examples that run."""

import re
from pathlib import Path

import pytest
import torch
from test_layers import LAYERS

from ddim_edu.models.checkpoint import load
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_tree_names_every_room_from_the_ground_up():
    table = TEXT.partition("| room |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)/?`", line.split("|")[1]) for line in table.splitlines()[2:]]
    named = [name for row in rows for name in row]
    assert sorted(named) == sorted(name for layer in LAYERS for name in layer)
    height = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    assert [height[name] for name in named] == sorted(height[name] for name in named)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "CHANGELOG.md"])
def test_the_files_that_are_named_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = {*re.findall(r"`([\w./-]+\.(?:py|md|json|yml))`", text), *re.findall(r"\]\(([^):#]+)\)", text)}
    mine = {"mine.py", "one.json", "other.json", "conftest.py"}  # the reader's own
    missing = [
        name
        for name in sorted(named - mine)
        if "NN_" not in name
        and "_NN" not in name
        and not any((folder / name).exists() for folder in (ROOT, ROOT / "ddim_edu", ROOT / "book"))
    ]
    assert not missing


def test_the_solver_of_ten_lines_is_ddim():
    solver, _ = BLOCKS
    here: dict = {}
    exec(solver, here)
    model = load("digits")
    eps, tau = model.eps_theta(3), make_tau(model.schedule.T, 4)
    x_T = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = here["euler"](eps, x_T, model.schedule, tau)
        expected = sample(eps, x_T.shape, model.schedule, tau, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, expected)


def test_the_data_set_of_ten_lines_is_one(tmp_path, monkeypatch):
    from ddim_edu.data.registry import load_data

    (tmp_path / "stripes_of_contributing.py").write_text(BLOCKS[1])
    monkeypatch.chdir(tmp_path)
    data = load_data("stripes_of_contributing:Stripes")
    assert data.train.shape == (900, 1, 8, 8) and len(data.heldout_labels) == 100
    first = data.train[data.train_labels == 0][0, 0]
    assert (first == first[:, :1]).all() and not (first == first[:1]).all()  # stripes across: a row is of one value
