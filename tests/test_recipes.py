"""Recipes: values that fit, and their way to JSON and back."""

import json
from dataclasses import fields, replace

import pytest

from ddim_edu.lab.recipes import RECIPES, Recipe, recipe_from_dict, recipe_to_dict
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.schedule import NoiseSchedule


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
        {"T": 0}, {"steps": 0}, {"batch": 0}, {"batch": -1}, {"log_every": 0}, {"sample_every": 0}, {"save_every": 0}, {"warmup": -1},
        {"seed": -1}, {"lr": 0.0}, {"lr": -1e-3}, {"lr": float("nan")}, {"lr": float("inf")}, {"grad_clip": 0.0}, {"lr_final": 1.5},
        {"ema": 1.0}, {"ema": -0.1}, {"ema": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range(change):
    with pytest.raises(ValueError) as error:
        replace(RECIPES["digits"], **change)
    (name, value), message = *change.items(), str(error.value)
    assert message.startswith(f"{name} = {value}: give") and "\n" not in message


def test_unknown_fields_of_a_stored_recipe():
    stored = recipe_to_dict(RECIPES["digits"])
    for changed in ({**stored, "colour": 1}, {**stored, "unet": {**stored["unet"], "colour": 1}}):
        with pytest.raises(ValueError, match="no field 'colour'"):
            recipe_from_dict(changed)
    with pytest.raises(ValueError, match="wrong type"):
        recipe_from_dict({**stored, "lr": "fast"})


def test_learning_rate_rises_then_falls():
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
    [("linear", NoiseSchedule.linear), ("scaled-linear", NoiseSchedule.scaled_linear), ("cosine", NoiseSchedule.cosine)],
)
def test_the_schedule_by_its_name(name, make):
    schedule = Recipe(schedule=name, T=30).noise_schedule()
    assert schedule.T == 30 and schedule.beta.equal(make(30).beta)
