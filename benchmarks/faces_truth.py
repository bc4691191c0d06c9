"""What do a model's faces have, and is it new? Every attribute of a drawn face is known.

    python benchmarks/faces_truth.py [--out results/faces_truth.json]

Needs ``pip install "ddim_edu[faces]"``. A part that is in the file already is left alone, unless the weights are
others; so a run that was stopped goes on. The judge is the classifier ``faces-attributes``.

- judge: shares of the attributes of 3,000 held-out faces that it reads rightly, and of faces read without a mistake.
- sets: 1,000 faces each: drawn (S = 20, eta 0 and 1, image i of seed 0, styles in turn), held out, and of the training
  set, all read by the judge; and the held-out ones as they are. For each, how many attributes have to change until a
  face of the training set is reached (0: its combination is there), how far the frequencies of the values are from
  those of the training set (total variation, mean over the attributes of the styles), and how many values never come.
  Noses are left out of this and of what follows: at 32 pixels the judge reads three in five rightly.
  Beside the numbers, the first ten faces drawn with eta 0, for each the face of the training set that has most in
  common with it, and in which attributes they differ.
- styles: 100 latents, decoded in every style. How often two pictures of one latent have an attribute in common that
  both styles have with the same values; and two pictures of different latents.
- directions: faces of one style encoded. The mean latent of those that have an attribute minus that of those that
  don't (400 training faces), and the mean change of the latent when the attribute is added to a face and all else is
  kept (100 pairs, drawn for it), which is the true direction. Added once, twice and three times to the latents of 50
  held-out faces without it: how many have it then, and how many of the other attributes are as they were. Beside it,
  the same faces encoded and decoded, not moved. The first of them is kept as a picture.

Pictures are bytes in base64, 32 x 32 x 3 each, channels first.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddim_edu.apps.interpolate import direction, move
from ddim_edu.data.faces.attributes import ATTRIBUTES, attributes, edited, values
from ddim_edu.data.faces.dataset import HELDOUT_FROM, TRAIN
from ddim_edu.data.faces.drawing import render
from ddim_edu.data.faces.reading import places, read, truth
from ddim_edu.data.faces.styles import STYLES
from ddim_edu.data.pictures import from_uint8, to_text, to_uint8
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.novelty import fewest_changes, total_variation
from ddim_edu.measuring.result import model_about, sha256_of, versions
from ddim_edu.models import load, load_classifier
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import decode, invert
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import make_tau

N, S = 1000, 20
LATENTS = 100
STYLE = "micah"  # it has all of ADDED
ADDED = {"glasses": "round", "beard": "scruff", "earrings": "hoop"}
GROUP, PAIRS, MOVED, AMOUNTS, S_DECODE = 400, 100, 50, (1.0, 2.0, 3.0), 25
REAL = 990  # the level of latents of pictures: the last step of the cosine schedule is as long as all before
BATCH = 100
SHOWN = 10  # pictures that are kept
HAIR_COLOUR = ATTRIBUTES.index("hair colour")
UNREAD = "nose"  # of three kinds, a few pixels each: the judge guesses


class Lab:
    """The model, its judge and the faces."""

    def __init__(self) -> None:
        self.model, self.judge = load("faces"), load_classifier("faces-attributes")
        self.schedule = self.model.schedule
        self.tau = make_tau(self.schedule.T, S_DECODE, "trailing")
        self.tau_real = make_tau(REAL, S_DECODE, "trailing")
        self.data = load_data("faces", size=32, channels=3)

    @cached_property
    def held(self) -> Tensor:
        return self.data.floats(self.data.heldout)

    @cached_property
    def known(self) -> Tensor:
        """``(30000, A)``: what is in the faces to train on."""
        return noseless(truth(0, torch.arange(TRAIN)))

    @torch.no_grad()
    def seen(self, images: Tensor) -> Tensor:
        """``(N, A)``: what the judge sees in pictures in [-1, 1]."""
        return torch.cat([read(self.judge.model(part)) for part in images.split(500)])

    def look(self, images: Tensor) -> Tensor:
        """The same without noses."""
        return noseless(self.seen(images))

    def encode(self, images: Tensor, style: int) -> Tensor:
        """Latents of pictures of a style."""
        eps_theta, parts = self.model.eps_theta(style), images.split(BATCH)
        return torch.cat([invert(eps_theta, part, self.schedule, self.tau_real) for part in parts])

    def decode(self, x_T: Tensor, style: int, tau: Tensor) -> Tensor:
        """Pictures of latents in a style, as a file would hold them."""
        eps_theta = self.model.eps_theta(style)
        return as_saved([decode(eps_theta, part, self.schedule, tau) for part in x_T.split(BATCH)])


def noseless(table: Tensor) -> Tensor:
    """The table as if no style had noses."""
    table[:, ATTRIBUTES.index(UNREAD)] = -1
    return table


def as_saved(parts: list[Tensor]) -> Tensor:
    """Pictures rounded to 256 levels."""
    return from_uint8(to_uint8(torch.cat(parts)))


def judge(lab: Lab) -> dict[str, Any]:
    """How well the judge reads held-out faces."""
    true, found = truth(HELDOUT_FROM, torch.arange(len(lab.data.heldout))), lab.seen(lab.held)
    right, has = found == true, true >= 0
    shares = {a: right[has[:, i], i].double().mean().item() for i, a in enumerate(ATTRIBUTES)}
    return {"n": len(true), "right": shares, "all right": right.all(1).double().mean().item()}


def newness(lab: Lab, rows: Tensor) -> dict[str, Any]:
    """How new a set of faces is, and whether everything comes as often as it should."""
    changes, off, missing = fewest_changes(rows, lab.known), [], 0
    for style, attribute, place in places()[1:]:
        if attribute == UNREAD:
            continue
        column, label, n = ATTRIBUTES.index(attribute), list(STYLES).index(style), place.stop - place.start
        here, there = (table[table[:, 0] == label, column] for table in (rows, lab.known))
        off.append(total_variation(here, there, n))
        missing += len(set(there.tolist()) - set(here.tolist()))
    counts = torch.bincount(changes, minlength=8).tolist()
    return {"n": len(rows), "changes": counts, "total_variation": sum(off) / len(off), "missing": missing}


def pairs_of(lab: Lab, images: Tensor, rows: Tensor) -> dict[str, Any]:
    """Faces, those of the training set that are most like them, and what tells the two apart."""
    apart = (rows[:, None] != lab.known).sum(2) + 99 * (rows[:, None, 0] != lab.known[:, 0])
    nearest = apart.argmin(1)
    differ = [[a for a, x, y in zip(ATTRIBUTES, row, lab.known[n]) if x != y] for row, n in zip(rows, nearest)]
    pictures = {"drawn": to_text(images), "nearest": to_text(lab.data.floats(lab.data.train[nearest]))}
    return {**pictures, "numbers": nearest.tolist(), "differ": differ}


def sets(lab: Lab) -> dict[str, Any]:
    """Drawn, held-out and training faces."""
    sampler, found = Sampler(lab.model, 250, "float32"), {}
    for eta in (0.0, 1.0):
        images = as_saved([sampler.draw(Sampling(N, S, eta=eta))])
        rows = lab.look(images)
        found[f"drawn, eta = {eta:g}"] = newness(lab, rows)
        if eta == 0:
            found["shown"] = pairs_of(lab, images[:SHOWN], rows[:SHOWN])
    found["held out, read"] = newness(lab, lab.look(lab.held[:N]))
    found["held out, true"] = newness(lab, noseless(truth(HELDOUT_FROM, torch.arange(N))))
    found["training, read"] = newness(lab, lab.look(lab.data.floats(lab.data.train[:N])))
    return found


def shared(first: str, second: str) -> list[int]:
    """Columns of the attributes that two styles have with the same values."""
    return [
        i
        for i, a in enumerate(ATTRIBUTES)
        if i and a != UNREAD and values(first, a) and values(first, a) == values(second, a)
    ]


def styles(lab: Lab) -> dict[str, Any]:
    """The same latents in every style."""
    x_T = draw(torch.empty(LATENTS, *lab.model.image_shape), image_generators(0, 0, LATENTS))
    images = [lab.decode(x_T, label, lab.tau) for label in range(len(STYLES))]
    rows = [lab.look(part) for part in images]
    same: dict[str, list[Tensor]] = {}
    other: dict[str, list[Tensor]] = {}
    for i, first in enumerate(STYLES):
        for j, second in enumerate(list(STYLES)[:i]):
            for column in shared(first, second):
                for shift, found in ((0, same), (1, other)):
                    equal = rows[i][:, column] == rows[j].roll(shift, 0)[:, column]
                    found.setdefault(ATTRIBUTES[column], []).append(equal)
    mean = {name: {a: torch.cat(v).double().mean().item() for a, v in found.items()} for name, found in
            (("same latent", same), ("other latent", other))}  # fmt: skip
    as_asked = [(row[:, 0] == label).double().mean().item() for label, row in enumerate(rows)]
    pictures = [to_text(part[:SHOWN]) for part in images]
    return {"n": LATENTS, "as asked": as_asked, **mean, "pictures": pictures}


def directions(lab: Lab) -> dict[str, Any]:
    """Attributes added to latents."""
    label = list(STYLES).index(STYLE)
    numbers = torch.arange(label, len(STYLES) * (GROUP + 1), len(STYLES))[:GROUP]
    table, latents = noseless(truth(0, numbers)), lab.encode(lab.data.floats(lab.data.train[numbers]), label)
    held = torch.arange(label, len(lab.data.heldout), len(STYLES))
    held_rows, found = noseless(truth(HELDOUT_FROM, held)), {}
    for attribute, value in ADDED.items():
        column = ATTRIBUTES.index(attribute)
        has, coloured = (rows[:, i] > 0 for rows, i in ((table, column), (table, HAIR_COLOUR)))
        bare = torch.nonzero(~has & coloured).flatten()[:PAIRS]  # a bald face has no colour for a beard
        with_it = [render(edited(attributes([int(n)])[0], {attribute: value}), 32, 3) for n in numbers[bare]]
        pairs = lab.encode(from_uint8(torch.from_numpy(np.stack(with_it))), label)
        ways = {"means": direction(latents[has], latents[~has]), "pairs": direction(pairs, latents[bare])}
        chosen = torch.nonzero((held_rows[:, column] == 0) & (held_rows[:, HAIR_COLOUR] > 0)).flatten()[:MOVED]
        start, true = lab.encode(lab.held[held[chosen]], label), held_rows[chosen]
        others = torch.tensor([i for i in range(len(ATTRIBUTES)) if i != column and true[0, i] >= 0])

        def outcome(
            x_T: Tensor, true: Tensor = true, others: Tensor = others, column: int = column
        ) -> dict[str, float]:
            images = lab.decode(x_T, label, lab.tau_real)
            rows = lab.look(images)
            kept = (rows[:, others] == true[:, others]).double().mean().item()
            has = (rows[:, column] > 0).double().mean().item()
            return {"has it": has, "others kept": kept, "picture": to_text(images[:1])}

        found[attribute] = {
            "value": value,
            "norms": {name: way.norm().item() for name, way in ways.items()},
            "cosine": torch.cosine_similarity(*(way.flatten() for way in ways.values()), dim=0).item(),
            "not moved": outcome(start),
            **{
                name: [{"amount": amount, **outcome(move(start, way, amount))} for amount in AMOUNTS]
                for name, way in ways.items()
            },
        }
    return found


PARTS: tuple[Callable[[Lab], dict[str, Any]], ...] = (judge, styles, directions, sets)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/faces_truth.json"))
    out: Path = check_writable(parser.parse_args().out)
    lab = Lab()
    about = {"model": model_about(lab.model), "judge_sha256": sha256_of(lab.judge.path)}
    file: dict[str, Any] = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
    if {key: file.get(key) for key in about} != about:
        file = {"command": "python benchmarks/faces_truth.py", **about}
        file |= {"versions": versions() | {"python": platform.python_version()}}
    for part in PARTS:
        if part.__name__ not in file:
            file[part.__name__] = part(lab)
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(file, indent=1) + "\n", encoding="utf8")
            print(part.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
