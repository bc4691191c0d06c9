"""Recipes: values that fit, and their way to JSON and back."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.training.recipes import RECIPES, Recipe, recipe_from_dict, recipe_to_dict


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    assert recipe_from_dict(json.loads(json.dumps(recipe_to_dict(RECIPES[name])))) == RECIPES[name]


@pytest.mark.parametrize("cls", [Recipe, UNetConfig])
def test_every_field_is_explained(cls):
    """The comment above a field is its help text."""
    import inspect

    lines = [line.strip() for line in inspect.getsource(cls).splitlines()]
    for field in fields(cls):
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{field.name}: ")]
        assert lines[at - 1].startswith("# "), f"{cls.__name__}.{field.name} has no comment"


@pytest.mark.parametrize(
    "change",
    [
        {"T": 0}, {"steps": 0}, {"batch": 0}, {"batch": -1}, {"log_every": 0}, {"sample_every": 0}, {"save_every": 0},
        {"warmup": -1}, {"seed": -1}, {"lr": 0.0}, {"lr": -1e-3}, {"lr": float("nan")}, {"lr": float("inf")},
        {"grad_clip": 0.0}, {"lr_final": 1.5},
        {"ema": 1.0}, {"ema": -0.1}, {"ema": float("nan")}, {"accumulate": 0},
        {"max_bad": 1.0}, {"max_bad": -0.1}, {"label_dropout": 1.5}, {"label_dropout": -0.1}, {"weight_decay": -1.0},
        {"T": 1_000_001}, {"lr_final": -0.1}, {"grad_clip": float("inf")}, {"label_dropout": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range(change):
    with pytest.raises(ValueError) as error:
        replace(RECIPES["digits"], **change)
    (name, value), message = *change.items(), str(error.value)
    assert message.startswith(f"{name} = {value:{'' if isinstance(value, int) else 'g'}}: give") and "\n" not in message


def test_the_ends_of_the_ranges_fit_and_are_named():
    recipe = replace(RECIPES["digits"], max_bad=0.0, ema=0.0, lr_final=1.0, label_dropout=1.0, T=1_000_000, warmup=0)
    for change, words in (
        ({"T": 1_000_001}, "a number from 1 to 1,000,000"),
        ({"ema": 1.0}, "a number from 0 to below 1, such as 0.999"),
        ({"label_dropout": 1.5}, "a number from 0 to 1"),
        ({"lr": 0.0}, "a number above 0"),
        ({"steps": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=f"give {words}$"):
            replace(recipe, **change)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"loss": "mended", "lam": -1.0}, "lam = -1: give at least 0"),
        ({"loss": "published", "lam": float("nan")}, "lam = nan: give"),
        ({"loss": "published", "lam": float("inf")}, "lam = inf: give"),
        ({"lam": 0.5}, "lam = 0.5 has no meaning for loss = mse"),
        ({"loss": "published", "weighting": "min-snr"}, "weighting = min-snr goes with loss = mse only"),
    ],
)
def test_losses_and_their_lambda(change, words):
    with pytest.raises(ValueError, match=words):
        replace(RECIPES["digits-adaptive"], **{"loss": "mse", **change})


@pytest.mark.parametrize("name", ["digits", "fashion-mnist", "cifar10-64"])
def test_adaptive_recipes_change_the_loss_only(name):
    assert replace(RECIPES[f"{name}-adaptive"], loss="mse") == replace(RECIPES[name], prediction="eps")
    assert RECIPES[f"{name}-adaptive"].loss == "published"


def test_unknown_fields_of_a_stored_recipe():
    stored = recipe_to_dict(RECIPES["digits"])
    for changed in ({**stored, "colour": 1}, {**stored, "unet": {**stored["unet"], "colour": 1}}):
        with pytest.raises(ValueError, match="no field 'colour'"):
            recipe_from_dict(changed)
    for value in ("fast", None):
        with pytest.raises(ValueError, match=f"lr = '?{value}'?: a value of the wrong type"):
            recipe_from_dict({**stored, "lr": value})
    assert recipe_from_dict({**stored, "lam": None}).lam is None  # may be left open
    with pytest.raises(ValueError, match="wrong type"):
        recipe_from_dict({**stored, "unet": {**stored["unet"], "ch_mult": 3}})


def test_learning_rate_rises_then_falls():
    """Equations: eq:learning-rate"""
    recipe = Recipe(steps=100, warmup=10, lr=0.5, lr_final=0.1)
    assert recipe.lr_at(0) == pytest.approx(0.05, rel=1e-3)
    assert recipe.lr_at(9) == pytest.approx(0.5, rel=0.03)
    assert recipe.lr_at(50) == pytest.approx(0.5 * (1 + 0.1) / 2)
    assert recipe.lr_at(99) == pytest.approx(0.05, rel=0.01)
    rates = [recipe.lr_at(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
    constant = replace(recipe, lr_final=1.0, warmup=0)
    assert {constant.lr_at(step) for step in range(100)} == {0.5}


@pytest.mark.parametrize(
    "name, make",
    [
        ("linear", NoiseSchedule.linear),
        ("scaled-linear", NoiseSchedule.scaled_linear),
        ("cosine", NoiseSchedule.cosine),
    ],
)
def test_the_schedule_by_its_name(name, make):
    schedule = Recipe(schedule=name, T=30).noise_schedule()
    assert schedule.T == 30 and schedule.beta.equal(make(30).beta)


@pytest.mark.parametrize(
    "name, count",
    [
        ("digits", 273_057), ("digits-distill", 273_057), ("fashion-mnist-distill", 1_429_417),
        ("fashion-mnist", 1_429_417), ("cifar10-tiny", 2_538_595), ("cifar10-64", 8_952_067), ("notes", 658_136),
        ("cifar10-128", 35_746_307), ("celeba-64", 78_700_803), ("celeba-hq-256", 113_673_219),
    ],
)  # fmt: skip
def test_the_networks_are_those_of_the_readme(name, count):
    with torch.device("meta"):
        model = UNet(RECIPES[name].unet)
    assert sum(p.numel() for p in model.parameters()) == count
    readme = (Path(__file__).parent.parent / "book" / "using.md").read_text(encoding="utf8")
    assert f"`{name}`" in readme and f"{count:,}" in readme


def test_the_papers_settings():
    """DDPM's appendix B and the official DDIM configurations."""
    for name in ("cifar10-128", "cifar10-64", "celeba-64", "celeba-hq-256"):
        recipe = RECIPES[name]
        assert (recipe.schedule, recipe.T, recipe.grad_clip, recipe.ema, recipe.flip) == (
            "linear",
            1000,
            1.0,
            0.9999,
            True,
        )
        assert recipe.unet.num_res_blocks == 2 and recipe.unet.attn_resolutions == (16,) and recipe.unet.groups == 32
    cifar = RECIPES["cifar10-128"]
    assert (cifar.batch, cifar.lr, cifar.steps, cifar.unet.dropout) == (128, 2e-4, 800_000, 0.1)
    large = RECIPES["celeba-hq-256"]
    assert (large.batch, large.lr, large.unet.dropout, large.unet.image_size) == (64, 2e-5, 0.0, 256)
    assert RECIPES["celeba-64"].crop == "celeba"
