"""The networks of the live page, as the book writes them without torch and onnx: against both."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from ddim_edu.models import checkpoint
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.schedule import NoiseSchedule

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import network_file  # noqa: E402
import protobuf  # noqa: E402

CONFIGS = {
    "no classes, an odd embedding": UNetConfig(8, 1, 9, (1, 2), 1, (), 0.1, 3, 0),
    "attention everywhere": UNetConfig(8, 3, 8, (1, 1, 2), 1, (8, 4, 2), 0.0, 4, 3),
    "one level": UNetConfig(5, 2, 8, (2,), 1, (), 0.0, 8, 1),
    "two blocks a level": UNetConfig(12, 1, 12, (1, 2, 1), 2, (6,), 0.0, 4, 10),
    "squares of pixels": UNetConfig(12, 2, 8, (1, 2), 1, (2,), 0.0, 4, 3, patch=3),
}


def make(path: Path, config: UNetConfig, prediction: str = "eps", dtype=None, T: int = 1000) -> Path:
    """A network whose last layers are not zero either, or half of it would be untested."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(value.shape, generator=generator) / max(value[0].numel(), 4) ** 0.5
        for name, value in UNet(config).state_dict().items()
    }
    checkpoint.save(path, weights, config, NoiseSchedule.cosine(T), prediction=prediction, dtype=dtype)
    return path


def run(made: bytes, x, t, label=None) -> torch.Tensor:
    given = {"x": x.numpy(), "t": t.numpy()} | ({} if label is None else {"label": label.numpy()})
    (eps,) = reference.ReferenceEvaluator(onnx.load_from_string(made)).run(None, given)
    return torch.from_numpy(np.asarray(eps))


def difference(path: Path, B: int) -> tuple[float, float]:
    """The largest distance from torch, and the largest number of torch."""
    saved, made = checkpoint.load(path), network_file.onnx(network_file.read(path))
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    generator = torch.Generator().manual_seed(B)
    x, T = torch.randn(B, *saved.image_shape, generator=generator), saved.schedule.T
    t = torch.tensor([1, T, *torch.randint(1, T + 1, (B,), generator=generator).tolist()])[:B]
    label = torch.randint(0, saved.config.classes + 1, (B,), generator=generator) if saved.config.classes else None
    with torch.no_grad():
        expected = saved.model(x, t, label)
    found = run(made, x, t, label)
    assert found.shape == expected.shape and found.dtype == torch.float32
    return (found - expected).abs().max().item(), expected.abs().max().item()


@pytest.mark.parametrize(("name", "prediction"), list(product(CONFIGS, ["eps", "v", "x0"])))
def test_it_is_the_network_of_torch(tmp_path, name, prediction):
    path = make(tmp_path / "net.safetensors", CONFIGS[name], prediction)
    for B in (1, 3):
        off, size = difference(path, B)
        assert off < 2e-5 * max(size, 1) and size > 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_type(tmp_path, dtype):
    path = make(tmp_path / "net.safetensors", CONFIGS["attention everywhere"], "v", dtype)
    off, size = difference(path, 2)
    assert off < 2e-5 * max(size, 1)


@pytest.mark.parametrize("name", [*checkpoint.UNET.shipped()])
def test_the_shipped_networks(name):
    off, size = difference(checkpoint.find(name), 1 if name in ("cifar10", "cifar10-tiny", "faces", "faces-64") else 2)
    assert off < 2e-5 and size > 1


def test_a_network_without_a_weight_or_of_another_kind_is_refused(tmp_path):
    path = make(tmp_path / "net.safetensors", CONFIGS["one level"])
    network = network_file.read(path)
    del network.tensors["middle.1.conv1.bias"]
    with pytest.raises(KeyError, match="middle.1.conv1.bias"):
        network_file.onnx(network)
    with pytest.raises(ValueError, match="'energy'"):
        network_file.onnx(network_file.read(path)._replace(prediction="energy"))
    with pytest.raises(ValueError, match="no U-Net"):
        network_file.read(next((ROOT / "ddim_edu" / "weights" / "classifiers").glob("*.safetensors")))


def test_levels_and_frequencies_are_those_of_the_package():
    saved, network = checkpoint.load("digits"), network_file.read(checkpoint.find("digits"))
    assert network.alpha_bar == saved.schedule.alpha_bar.tolist()
    assert network.config.__dict__ == {
        name: list(v) if isinstance(v, tuple) else v for name, v in vars(saved.config).items()
    }
    for dim in (8, 9, 24, 48, 128):
        half = dim // 2
        exponents = -np.log(10_000).astype(np.float32) * np.arange(half, dtype=np.float32) / np.float32(half - 1)
        assert np.abs(np.array(network_file.frequencies(dim)) / np.exp(exponents) - 1).max() < 2**-23


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)])
def test_numbers_are_written_as_onnx_writes_them(number):
    theirs = onnx.AttributeProto(name="n", i=number, type=onnx.AttributeProto.INT)
    assert onnx.AttributeProto.FromString(protobuf.attribute("n", number)) == theirs


def test_every_kind_of_setting():
    made = protobuf.node("Op", ["a", ""], ["b"], {"f": 0.5, "s": "floor", "ints": [0, -1, 300]})
    theirs = onnx.helper.make_node("Op", ["a", ""], ["b"], f=0.5, s="floor", ints=[0, -1, 300])
    found = onnx.NodeProto.FromString(made)
    assert found == theirs or {a.name: onnx.helper.get_attribute_value(a) for a in found.attribute} == {
        a.name: onnx.helper.get_attribute_value(a) for a in theirs.attribute
    }
