"""Several processes do what one does: the same losses, the same weights, the same images, and one of them writes."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.commands import sample, train
from ddim_edu.models import load
from ddim_edu.processes import pick_device

NET = (
    "--unet.ch 8 --unet.groups 4 --unet.ch-mult 1 2 --unet.num-res-blocks 1 --unet.attn-resolutions 4 --unet.classes 10"
)
# A learning rate that is small but moves; float32 sums in another order then stay within 1e-5 for these few steps.
RUN = f"digits {NET} --batch 16 --T 40 --steps 6 --log-every 1 --sample-every 3 --save-every 3 --lr 1e-3 --flip".split()

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed"),
    pytest.mark.slow,
]


def torchrun(*arguments, processes=2):
    """Run a module in several processes on this machine's CPU, and return what they printed together."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same run by one process, by one process in two parts, and by two processes."""
    root = tmp_path_factory.mktemp("processes")
    assert train.main([*RUN, "--out", str(root / "one"), "--device", "cpu", "--threads", "1"]) == 0
    assert (
        train.main([*RUN, "--out", str(root / "parts"), "--device", "cpu", "--threads", "1", "--accumulate", "2"]) == 0
    )
    done = torchrun("ddim_edu.train", *RUN, "--out", str(root / "two"), "--device", "cpu", "--threads", "1")
    assert done.returncode == 0, done.stderr
    return root, done


def losses(folder):
    with open(folder / "log.csv", newline="", encoding="utf8") as file:
        return np.array([[float(row["loss"]), float(row["grad_norm"])] for row in csv.DictReader(file)])


@pytest.mark.parametrize("other", ["parts", "two"])
def test_the_losses_and_the_weights_are_those_of_one_process(folders, other):
    root, _ = folders
    np.testing.assert_allclose(losses(root / other), losses(root / "one"), rtol=1e-5)
    one, two = (load(root / name).network.state_dict() for name in ("one", other))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)


def test_one_process_writes_and_speaks(folders):
    root, done = folders
    assert sorted(p.name for p in (root / "two").rglob("*")) == sorted(p.name for p in (root / "one").rglob("*"))
    assert done.stdout.count("done in") == 1 and done.stdout.count("2 x cpu") == 1
    assert len(losses(root / "two")) == 6


def test_the_images_are_those_of_one_process(folders, monkeypatch):
    root, _ = folders
    monkeypatch.chdir(root)
    draw = ["one", "--steps", "4", "--eta", "1", "-n", "7", "--batch", "2", "--label", "3", "--device", "cpu"]
    assert sample.main([*draw, "--out", "one.png"]) == 0
    done = torchrun("ddim_edu.sample", *draw, "--out", "two.png")
    assert done.returncode == 0 and done.stdout.count("two.png: 7 images in ") == 1, done.stderr
    assert np.array_equal(np.asarray(Image.open("one.png")), np.asarray(Image.open("two.png")))


def test_a_mistake_is_reported_once(folders):
    root, _ = folders
    done = torchrun("ddim_edu.train", *RUN, "--out", str(root / "one"))
    assert done.returncode != 0 and done.stderr.count("error: ") == 1 and "not empty" in done.stderr


def test_a_batch_that_can_not_be_shared_out(tmp_path, capsys):
    assert train.main([*RUN, "--out", str(tmp_path / "run"), "--accumulate", "3"]) == 2
    assert "batch = 16" in capsys.readouterr().err


def test_devices():
    assert pick_device("cpu").type == "cpu" and pick_device("auto").type in ("cpu", "cuda", "mps")
    for wrong in ("gpu", "cuda:99", "", "meta"):
        with pytest.raises(ValueError, match="not usable here"):
            pick_device(wrong)


def test_of_several_processes_each_has_its_own_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: asked.append(device) or torch.ones(shape))
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert pick_device("cuda") == torch.device("cuda:2") and pick_device("cpu") == torch.device("cpu")
    assert asked == [torch.device("cuda:1"), torch.device("cuda:2"), torch.device("cpu")]  # each tried
