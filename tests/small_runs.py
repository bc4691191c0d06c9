"""Small runs of the trainer, for its tests."""

import csv
from dataclasses import replace

import torch

from ddim_edu.models import load
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.trainer import Trainer

NET = UNetConfig(
    image_size=8, image_channels=1, ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), dropout=0.2, groups=4
)
RECIPE = replace(RECIPES["digits"], prediction="eps", unet=NET, batch=16, steps=12, warmup=2, lr=3e-3, T=50)
RECIPE = replace(RECIPE, log_every=3, sample_every=12, save_every=4)
# Labels and no dropout: for those that begin with another run's weights, or learn from it.
PLAIN = replace(
    RECIPES["digits"], unet=replace(NET, dropout=0.0, classes=10), batch=16, steps=6, warmup=2, T=50, log_every=3,
    sample_every=12, save_every=3,
)  # fmt: skip


def run(recipe, folder, n=None):
    folder.mkdir(parents=True)
    trainer = Trainer.start(recipe, folder)
    for record in trainer.run():
        if record.step == n:
            break
    return trainer


def start(folder, recipe=RECIPE):
    folder.mkdir()
    return Trainer.start(recipe, folder)


def steps(trainer, n=None):
    records = []
    for record in trainer.run():
        records.append(record)
        if len(records) == n:
            break
    return records


def log(folder):
    with open(folder / "log.csv", newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def assert_same_weights(one, other):
    ours, theirs = load(one).network.state_dict(), load(other).network.state_dict()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
