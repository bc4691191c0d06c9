"""The first page: the runs it plays are what its script computes, its cards have pictures, its addresses are right."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.models import load
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import make_tau

BOOK = Path(__file__).parents[1] / "book"


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


hero, cards = module(BOOK / "_tools" / "hero.py"), module(BOOK / "_tools" / "cards.py")
front_page = module(BOOK / "_ext" / "front_page.py")


def tile(name: str, seed: int) -> np.ndarray:
    """A face of a sheet of ends."""
    x, y = seed % hero.COLUMNS * (hero.SIDE + 1), seed // hero.COLUMNS * (hero.SIDE + 1)
    picture = np.asarray(Image.open(BOOK / "front" / name).convert("RGB"))
    return picture[y : y + hero.SIDE, x : x + hero.SIDE].astype(int)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_noise_is_that_of_the_live_page():
    program = (
        "const D = require(process.argv[1]); console.log(JSON.stringify([0, 9, 2001].map(s => [...D.normals(s)(30)])))"
    )
    said = subprocess.run(["node", "-e", program, BOOK / "live" / "ddim.js"], capture_output=True, check=True).stdout
    for seed, theirs in zip((0, 9, 2001), json.loads(said)):
        assert np.abs(hero.normals(seed, 30) - np.array(theirs)).max() < 1e-6


def start(seed: int) -> torch.Tensor:
    return torch.from_numpy(hero.normals(2 * seed, 3 * hero.SIDE**2)).view(1, 3, hero.SIDE, hero.SIDE)


def check(x: torch.Tensor, name: str, seed: int) -> None:
    off = np.abs(hero.pixels(x)[0].astype(int) - tile(name, seed))
    assert off.max() <= 3 and off.mean() < 0.1  # of 255


@pytest.mark.slow
def test_ddims_face_is_what_the_package_draws():
    saved = load("faces")
    with torch.no_grad():
        tau = make_tau(1000, hero.CALLS, "trailing")
        *_, last = ddim_path(saved.eps_theta(5 % 4), start(5), saved.schedule, tau, clip=1.0)
    check(last.x_s, "ddim.png", 5)


@pytest.mark.slow
def test_ddpms_face_is_what_the_posterior_draws():
    """By DDPM's own form: a mean between the predicted picture and the state, and the variance beside it."""
    saved, x, size = load("faces"), start(2), 3 * hero.SIDE**2
    fresh = torch.from_numpy(hero.normals(2 * 2 + 1, size * 9)).view(9, *x.shape)
    eps_theta, abar, tau = saved.eps_theta(2), saved.schedule.alpha_bar, make_tau(1000, hero.CALLS, "trailing").tolist()
    for i, (t, s) in enumerate(zip(tau[:0:-1], tau[-2::-1])):
        with torch.no_grad():
            eps = eps_theta(x, torch.tensor([t])).double()
        x0 = ((x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()).clamp(-1, 1)
        kept = abar[t] / abar[s]
        mean = (abar[s].sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - abar[s]) * x) / (1 - abar[t])
        std = ((1 - abar[s]) / (1 - abar[t]) * (1 - kept)).sqrt()
        x = (mean + std * fresh[i] if s else mean).float()
    check(x, "ddpm.png", 2)


def test_the_two_ends_are_other_faces():
    for seed in hero.SEEDS:
        assert np.abs(tile("ddim.png", seed) - tile("ddpm.png", seed)).mean() > 10


def test_all_states_are_there():
    with Image.open(BOOK / "front" / "paths.webp") as picture:
        assert picture.size == ((hero.CALLS + 1) * hero.SIDE, (1 + hero.RUNS) * len(hero.SEEDS) * hero.SIDE)
    about = (BOOK / "front" / "hero.html").read_text(encoding="utf-8")
    for name, number in (("calls", hero.CALLS), ("seeds", len(hero.SEEDS)), ("runs", hero.RUNS)):
        assert f'data-{name}="{number}"' in about


def test_every_card_has_a_picture():
    text = (BOOK / "index.md").read_text(encoding="utf-8")
    named = re.findall(r"^:img-top: (\S+)$", text, re.MULTILINE)
    links = re.findall(r"^:link: (\S+)$", text, re.MULTILINE)
    assert len(named) == len(links) > 16 and len(set(named)) == len(named)
    for name in named:
        with Image.open(BOOK / name) as picture:
            assert picture.size == cards.SIZE
    assert sum(path.stat().st_size for path in (BOOK / "images" / "cards").iterdir()) < 300_000


def test_a_figure_that_is_gone_is_named(monkeypatch):
    monkeypatch.setitem(cards.CUTS, "01", ("fig-gone", (0, 0, 1, 1)))
    with pytest.raises(KeyError, match="has no figure 'fig-gone'"):
        cards.chapter(next((BOOK.parent / "chapters").glob("01_*.ipynb")))


def test_addresses_are_absolute_where_the_site_has_one():
    there = front_page.tags("chapters/01_forward.html", "https://example.org/ddim/")
    assert 'property="og:url" content="https://example.org/ddim/chapters/01_forward.html"' in there
    assert 'property="og:image" content="https://example.org/ddim/front/card.png"' in there
    here = front_page.tags("chapters/01_forward.html", "")
    assert "og:url" not in here and 'property="og:image" content="../front/card.png"' in here
    assert 'content="front/card.png"' in front_page.tags("index.html", "")
    with Image.open(BOOK / "front" / "card.png") as picture:
        assert picture.size == (1200, 630)
