"""Files in results/ are not only numbers that chapters read: where it takes seconds, one cell of a file is measured.

The protocol is the file's own. Not measured anew: ``table1_digits_1000*.json`` and the quadratic tables (the same code
with other steps, and 1,000 of them take minutes), ``fid_cifar10_train_test.json`` (it needs Inception's weights
and 10,000 pictures through them), ``heldout_sample.json`` (it needs CIFAR-10). Of these only the model is looked at.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from ddim_edu.lab.checkpoint import load
from ddim_edu.lab.data import load_data
from ddim_edu.lab.evaluation import Sampler, Sampling, model_about, protocol_of, real_images, reconstruct, reference_of
from ddim_edu.lab.features import small
from ddim_edu.lab.metrics import frechet_distance, mean_and_cov

ROOT = Path(__file__).parent.parent


def stored(name):
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf8"))


def cell(table, **key):
    (row,) = [row for row in table["rows"] if all(row[k] == v for k, v in key.items())]
    return row


FILES = sorted((ROOT / "results").glob("*.json"))
MODELS = [path.stem for path in FILES if isinstance(json.loads(path.read_text(encoding="utf8")).get("model"), dict)]


@pytest.mark.parametrize("name", MODELS)
def test_the_model_of_a_result_is_the_one_that_is_shipped(name):
    about = stored(name)["model"]
    assert about == model_about(load(about["checkpoint"])), "measure it again: " + stored(name)["command"]


def test_a_cell_of_table1_digits(tmp_path):
    """S = 5 without noise: 1,000 digits."""
    table, features = stored("table1_digits"), small("digits")
    asked = Sampling(n=1000, steps=5, eta=0.0, spacing="leading", seed=0)
    row = cell(table, spacing=asked.spacing, steps=asked.steps, eta=asked.eta, seed=asked.seed)
    sampler = Sampler(load("digits"), batch=250)
    reference = reference_of(real_images("digits", "train"), "digits train", features, tmp_path)
    protocol = protocol_of(sampler, asked, features, reference)
    for key in ("precision", "noise", "features", "reference"):
        assert protocol[key] == table["protocol"][key]
    for key in ("n", "clip", "label"):
        assert protocol["sampling"][key] == table["protocol"][key]
    found = features.compute(sampler.images(asked, 0, 1000))
    distance = frechet_distance(*mean_and_cov(found), *mean_and_cov(reference.features))
    assert distance == pytest.approx(row["value"], rel=5e-3)


def test_a_row_of_table2_digits():
    """Ten steps up and ten down for the 200 held-out digits."""
    table = stored("table2_digits")
    protocol, row = table["protocol"], cell(table, steps=10)
    how = {key: protocol[key] for key in ("spacing", "top", "clip")}
    (found,) = reconstruct(Sampler(load("digits"), batch=100), real_images("digits", "test"), [10], **how)
    assert found["error"] == pytest.approx(row["error"], rel=5e-3)
    assert found["median"] == pytest.approx(row["median"], rel=5e-3)
    assert found["standard_error"] == pytest.approx(row["standard_error"], rel=2e-2)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_first_clothes_of_a_row_of_accuracies(eta):
    """Picture i does not depend on how many are drawn. Of 20, three may change sides: rounding is magnified from T."""
    spec = importlib.util.spec_from_file_location("clothes", ROOT / "benchmarks" / "clothes.py")
    clothes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(clothes)
    row = cell(stored("accuracy_fashion-mnist"), steps=20, eta=eta)
    found = clothes.right(20, 20, eta)
    assert sum(a != b for a, b in zip(found, row["right"], strict=False)) <= 3 and len(row["right"]) == 150


def test_a_cell_of_table1_fashion_mnist_and_its_floor():
    """S = 5 without noise, 250 clothes; and 250 real ones. Most of the time goes to the features of the training set.

    The cell is one of ``leading``: from T on this model magnifies rounding; one of ``trailing`` came back 1.6% off.
    """
    try:
        data = load_data("fashion-mnist")
    except ValueError as error:
        pytest.skip(str(error))
    table, floor, features = stored("table1_fashion-mnist"), stored("floor_fashion-mnist"), small("fashion-mnist")
    of_train = torch.cat([features.compute(part) for part in data.train.split(500)]).double()
    whole = mean_and_cov(of_train)
    sampler = Sampler(load("fashion-mnist"), batch=50)
    asked = Sampling(n=250, steps=5, eta=0.0, spacing="leading", seed=0)
    row = cell(table, spacing="leading", steps=5, eta=0.0, seed=0)
    of_drawn = mean_and_cov(features.compute(sampler.images(asked, 0, 250)))
    assert frechet_distance(*of_drawn, *whole) == pytest.approx(row["value"], rel=5e-3)
    g, draws = torch.Generator().manual_seed(1), []
    for _ in range(floor["draws"]):
        rows = [(data.train_labels == c).nonzero()[:, 0] for c in range(10)]
        rows = torch.cat([r[torch.randperm(len(r), generator=g)[:25]] for r in rows])
        draws.append(frechet_distance(*mean_and_cov(of_train[rows]), *whole))
    found = torch.tensor(draws)
    error = floor["sd"] * (2 / floor["draws"]) ** 0.5  # of the difference: these are other draws of the same kind
    assert abs(found.mean() - floor["mean"]) < 4 * error
    assert 0.5 < found.std() / floor["sd"] < 2
