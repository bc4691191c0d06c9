"""Checkpoints rebuild a model from their file alone, and refuse what is not one."""

import json
import os
import subprocess
import sys

import pytest
import torch
from errors import one_line
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ddim_edu
from ddim_edu.models import CheckpointError, checkpoint, load, save, weights
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.schedule import NoiseSchedule

CONFIG = UNetConfig(
    image_size=8, image_channels=1, ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,), dropout=0.3, groups=4
)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = UNet(CONFIG).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return net


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / checkpoint.NAME
    save(path, net.state_dict(), CONFIG, NoiseSchedule.cosine(50), recipe={"lr": 0.5, "unet": {"ch": 8}}, step=7)
    return path


def refused(call, *words):
    one_line(call, *words, kind=CheckpointError)


def rewrite(path, about=None, tensors=None):
    """Tamper with a checkpoint."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    content = json.loads(metadata["ddim_edu"])
    content.update(about or {})
    save_file({**load_file(path), **(tensors or {})}, path, metadata={"ddim_edu": json.dumps(content)})


def test_a_model_rebuilds_from_its_file_alone(net, saved):
    loaded = load(saved)
    assert loaded.config == CONFIG and loaded.step == 7 and loaded.recipe == {"lr": 0.5, "unet": {"ch": 8}}
    assert loaded.image_shape == (1, 8, 8) and loaded.path == saved
    assert torch.equal(loaded.schedule.alpha_bar, NoiseSchedule.cosine(50).alpha_bar)
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([1, 50])
    assert torch.equal(loaded.model(x, t), net.eval()(x, t))


def test_a_run_folder_stands_for_its_checkpoint(saved):
    assert load(saved.parent).path == saved
    assert load(str(saved.parent)).path == saved


def test_the_file_says_what_it_is(saved):
    with safe_open(saved, framework="pt") as file:
        about = json.loads(file.metadata()["ddim_edu"])
    assert about["kind"] == "unet" and about["format"] == 1 and about["version"] == ddim_edu.__version__


def test_missing(tmp_path):
    refused(lambda: load(tmp_path / "nothing.safetensors"), "nothing.safetensors", "python -m ddim_edu.train")
    refused(lambda: load(tmp_path), tmp_path, checkpoint.NAME)


def test_a_shipped_model_goes_by_its_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "weights")
    refused(lambda: load("digits"), "digits", "python -m ddim_edu.train")
    (tmp_path / "weights").mkdir()
    os.replace(saved, tmp_path / "weights" / "digits.safetensors")
    assert load("digits").step == 7
    refused(lambda: load("digtis"), "digtis", "digits")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_truncated(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    refused(lambda: load(saved), saved, "cut short")


def test_another_kind_of_file(saved, tmp_path):
    (tmp_path / "text").write_text("not a checkpoint")
    refused(lambda: load(tmp_path / "text"), "text")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    refused(lambda: load(tmp_path / "other.pt"), "other.pt")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    refused(lambda: load(tmp_path / "foreign.safetensors"), "foreign.safetensors", "not a checkpoint of ddim_edu")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors", metadata={"format": "pt"})
    refused(lambda: load(tmp_path / "foreign.safetensors"), "not a checkpoint of ddim_edu")


@pytest.mark.parametrize(
    "about, says",
    [
        ({"kind": "vae"}, "vae"),
        ({"format": 2}, "format 2"),
        ({"config": {"ch": 8, "surprise": 1}}, "surprise"),
        ({"config": {"ch": 8, "groups": 3}}, "groups = 3"),
        ({"config": {**vars(CONFIG), "ch": 16}}, "does not fit together"),
        ({"config": None}, "does not fit together"),
    ],
)
def test_metadata_that_does_not_fit(saved, about, says):
    rewrite(saved, about)
    refused(lambda: load(saved), saved, says)


def test_tensors_that_do_not_fit(saved):
    rewrite(saved, tensors={"model.surprise": torch.zeros(2)})
    refused(lambda: load(saved), "does not fit together")


def test_betas_that_are_none(saved):
    rewrite(saved, tensors={"schedule.beta": torch.full((50,), 1.5, dtype=torch.float64)})
    refused(lambda: load(saved), "beta_1 = 1.5")


def test_a_write_that_fails_keeps_the_old_file(net, saved, full_disk):
    before = saved.read_bytes()
    with full_disk(len(before) - 1000), pytest.raises(OSError, match=saved.name):
        save(saved, net.state_dict(), CONFIG, NoiseSchedule.linear(20), step=8)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_loading_draws_no_random_number(saved):
    before = torch.get_rng_state()
    load(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_does_not_load_the_compiler():
    """It takes two seconds, which every command would begin with."""
    code = "import sys; from ddim_edu.models import load; load('digits'); print('torch._dynamo' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
