"""Runs that begin with another model's weights: what is taken over, and what is refused."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from small_runs import PLAIN, run

from ddim_edu.commands import train as train_command
from ddim_edu.files import sha256_of
from ddim_edu.models import load
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.nets.unet import UNet
from ddim_edu.training.beginning import check_alike, relabelled
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.trainer import Trainer


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beginning") / "before"
    run(PLAIN, folder)
    return folder


def test_it_begins_with_the_averaged_weights_and_says_so(before, tmp_path):
    (tmp_path / "run").mkdir()
    trainer = Trainer.start(replace(PLAIN, init_from=str(before), seed=5, lr=1e-3), tmp_path / "run")
    wanted = load(before).network.state_dict()
    for network in (trainer.model, trainer.averaged.module):
        assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())
    assert trainer.heldout_loss() == pytest.approx(
        Trainer.resume(before, recipe=replace(PLAIN, steps=9)).heldout_loss(), rel=1e-6
    )
    list(trainer.run())
    place = load(tmp_path / "run").places["init_from"]
    assert place["sha256"] == sha256_of(load(before).path)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["places"]["init_from"] == place


def test_a_shipped_model_goes_on(tmp_path):
    recipe = replace(RECIPES["digits"], init_from="digits", prediction="eps", steps=1)
    (tmp_path / "run").mkdir()
    trainer = Trainer.start(recipe, tmp_path / "run")
    wanted = load("digits").network.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.places["init_from"] == {"sha256": sha256_of(load("digits").path)}  # it lies nowhere in particular


@pytest.mark.parametrize("had, has", [(10, 0), (10, 3), (0, 3), (10, 10), (0, 0)])
def test_with_other_labels_it_begins_as_any_class_did(had, has):
    torch.manual_seed(0)
    old, new = (UNet(replace(PLAIN.unet, classes=n)).eval() for n in (had, has))
    for weights in old.parameters():  # the last layer begins at 0
        torch.nn.init.normal_(weights, std=0.3)
    new.load_state_dict(relabelled(old.state_dict(), has))
    x_t, t = torch.randn(4, 1, 8, 8), torch.tensor([1, 10, 30, 50])
    plain = old(x_t, t)
    torch.testing.assert_close(new(x_t, t), plain, rtol=1e-5, atol=1e-5)
    for label in range(has):
        labels = torch.full((4,), label)
        wanted = old(x_t, t, labels) if had == has else plain
        torch.testing.assert_close(new(x_t, t, labels), wanted, rtol=1e-5, atol=1e-5)
    if had == has == 10:
        assert not torch.allclose(new(x_t, t, torch.zeros(4).long()), plain, atol=1e-2)  # labels do something


def test_stopped_and_resumed_it_ends_at_the_same_weights_and_opens_no_file(before, tmp_path):
    recipe = replace(PLAIN, init_from=str(before), seed=1)
    run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "parts", n=3).save()
    config = json.loads((tmp_path / "parts" / "config.json").read_text())
    place = config["places"]["init_from"]
    config["recipe"]["init_from"] = "/nowhere/secret"
    (tmp_path / "parts" / "config.json").write_text(json.dumps(config))
    list(Trainer.resume(tmp_path / "parts").run())
    whole, parts = load(tmp_path / "whole"), load(tmp_path / "parts")
    theirs = parts.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in whole.network.state_dict().items())
    assert parts.places["init_from"] == place


@pytest.mark.parametrize(
    "change, words",
    [
        ({"init_from": "nobody"}, "there is no checkpoint nobody"),
        ({"init_from": "digits-distill"}, "is a student of .* for 1 step"),
        ({"prediction": "eps"}, "predicts v, and the run eps: they have to be the same"),
        ({"unet": replace(PLAIN.unet, ch=16)}, "has unet.ch = 8, and the run 16: the run begins with its weights"),
        ({"schedule": "linear"}, "another noise schedule than linear, T = 50"),
        ({"T": 60}, "another noise schedule than cosine, T = 60"),
    ],
)
def test_what_does_not_fit_is_one_line(before, tmp_path, change, words):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=words) as error:
        Trainer.start(replace(PLAIN, **{"init_from": str(before), **change}), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_latents_of_another_autoencoder_are_another_subject():
    model = load("spoken-digits")
    recipe = replace(RECIPES["spoken-digits"], unet=model.config, prediction=model.prediction)
    check_alike(recipe, model, "it", "the run", classes=True)
    with pytest.raises(ValueError, match="it was trained with autoencoder = spoken-digits, and the run with notes"):
        check_alike(replace(recipe, autoencoder="notes"), model, "it", "the run", classes=True)
    with pytest.raises(ValueError, match="it has unet.classes = 60, and the run 3"):
        check_alike(replace(recipe, unet=replace(model.config, classes=3)), model, "it", "the run", classes=True)


def test_autoencoders_are_compared_by_content(tmp_path, monkeypatch):
    """A file of the same name may be another autoencoder, and one of another name the same."""
    recipe, model = RECIPES["notes"], load("notes")
    for folder, name in (("a", "notes"), ("b", "spoken-digits")):
        (tmp_path / folder).mkdir()
        shutil.copy(AUTOENCODER.find(name), tmp_path / folder / "ae.safetensors")
    here = replace(model, recipe={**model.recipe, "autoencoder": "ae.safetensors"})
    here = replace(here, places={"autoencoder": {"sha256": sha256_of(AUTOENCODER.find("notes"))}})
    own = replace(recipe, unet=model.config, prediction=model.prediction, autoencoder="ae.safetensors")
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(ValueError, match="it was trained with autoencoder = ae.safetensors, and the run with"):
        check_alike(own, here, "it", "the run", classes=True)
    monkeypatch.chdir(tmp_path / "a")
    for name in ("ae.safetensors", str(tmp_path / "a" / "ae.safetensors"), "notes"):
        check_alike(replace(own, autoencoder=name), here, "it", "the run", classes=True)


def test_a_student_begins_with_its_teacher():
    with pytest.raises(ValueError, match="init_from = digits: a student begins with the weights of its --teacher"):
        replace(RECIPES["digits-distill"], init_from="digits")


def test_the_command(before, tmp_path, capsys):
    words = ["digits", "--init-from", str(before), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert train_command.main(words) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "has unet.ch = 8, and the run 32" in said
