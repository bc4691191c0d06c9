"""What a run computes on: threads, arithmetic, compiling; and its fair look at what is held out."""

import json
from dataclasses import replace

import pytest
import torch
from small_runs import NET, RECIPE, assert_same_weights, start, steps

from ddim_edu import precision
from ddim_edu.data.batches import fair_sample
from ddim_edu.nets.unet import UNet
from ddim_edu.training import heldout, machine
from ddim_edu.training import trainer as trainer_module
from ddim_edu.training.threads import Threads
from ddim_edu.training.trainer import Trainer


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "seconds, best",
    [
        ({1: 1.0, 2: 0.6, 4: 0.5, 6: 0.7}, 4),
        ({1: 1.0, 2: 0.95, 4: 1.1, 6: 0.99}, 1),  # a thread more for 5% is not worth it
        ({1: 1.0, 2: 9.0, 4: 9.0, 6: 0.2}, 6),
    ],
)
def test_the_number_of_threads_is_measured(monkeypatch, threads_restored, seconds, best):
    monkeypatch.setattr(Threads, "_time", lambda self, give_up: seconds[torch.get_num_threads()])
    picker = Threads(UNet(NET), "float32", 4, most=6)
    assert picker.number == torch.get_num_threads() == best


def test_threads_are_measured_again_when_the_machine_gets_busy(monkeypatch, threads_restored):
    seconds = {1: 1.0, 2: 0.6}
    monkeypatch.setattr(Threads, "_time", lambda self, give_up: seconds[torch.get_num_threads()])
    picker = Threads(UNet(NET), "float32", 4, most=2)

    def after(steps, took):
        for _ in range(steps):
            picker.after_step(took)
        return torch.get_num_threads()

    seconds[2] = 10.0
    assert after(20, took=0.7) == 2  # as fast as ever: left alone
    assert after(1, took=10.0) == 1
    seconds[2] = 0.6
    assert after(99, took=1.0) == 1
    assert after(1, took=1.0) == 2  # a long time with less than all: tried again


def test_trying_out_threads_leaves_the_run_as_it_is(tmp_path, threads_restored):
    trainer = start(tmp_path / "run")
    steps(trainer, 2)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    torch.manual_seed(5)
    Threads(trainer.model, "float32", 4, most=2)
    drawn = torch.randn(3)
    torch.manual_seed(5)
    assert torch.equal(torch.randn(3), drawn)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.step == 2


# ---------------------------------------------------------------- arithmetic, compiling, a fair look


def test_bf16_is_chosen_by_processor_size_and_trial(monkeypatch, tmp_path):
    cpu, large, small = torch.device("cpu"), UNet(replace(NET, ch=160)), UNet(NET)
    assert sum(w.numel() for w in large.parameters()) > precision.SMALL
    for units, speedup, plain, tried in (
        (True, 1.6, "bf16", "bf16"),
        (True, 1.05, "bf16", "float32"),
        (False, 1.6, "float32", "float32"),
    ):
        monkeypatch.setattr(precision, "has_bf16_units", lambda units=units: units)
        monkeypatch.setattr(precision, "speedup", lambda network, speedup=speedup: speedup)
        assert (
            precision.choose("auto", cpu, large) == plain and precision.choose("auto", cpu, large, trial=True) == tried
        )
        assert precision.choose("auto", cpu, small, trial=True) == "float32"
        assert precision.choose("bf16", cpu, small) == "bf16" and precision.choose("float32", cpu, large) == "float32"
    with pytest.raises(ValueError, match="precision = fp16 needs a GPU") as error:
        start(tmp_path / "half", replace(RECIPE, precision="fp16"))
    assert "\n" not in str(error.value)


def test_processors_say_what_they_have(tmp_path):
    lines = {
        "flags\t\t: fpu avx512_bf16 amx_tile": True,
        "Features\t: fp asimd bf16 i8mm": True,
        "flags : avx512f": False,
    }
    for line, there in lines.items():
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: bf16\n{line}\n")
        assert precision.has_bf16_units.__wrapped__(tmp_path / "cpuinfo") == there
    assert not precision.has_bf16_units.__wrapped__(tmp_path / "missing")


def test_a_resumed_run_keeps_its_arithmetic(tmp_path, monkeypatch):
    """A trial may come out otherwise the second time; the weights must not."""
    recipe = replace(RECIPE, steps=4, save_every=2, sample_every=4)
    monkeypatch.setattr(trainer_module, "choose", lambda *_, **__: "bf16")
    steps(start(tmp_path / "whole", recipe))
    for record in start(tmp_path / "cut", recipe).run():
        if record.step == 3:
            break
    monkeypatch.setattr(trainer_module, "choose", lambda *_, **__: "float32")
    resumed = Trainer.resume(tmp_path / "cut")
    assert resumed.precision == "bf16" and resumed.step == 2
    steps(resumed)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert config["precision"] == "bf16" and config["compiled"] is False
    del config["precision"]  # as older versions wrote it, which trained in float32 on CPUs
    (tmp_path / "cut" / "config.json").write_text(json.dumps(config))
    assert Trainer.resume(tmp_path / "cut", recipe=replace(recipe, steps=6)).precision == "float32"


def test_norms_compute_in_float32_under_bf16():
    net, seen = UNet(NET), []
    for module in net.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.register_forward_hook(lambda _, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        said = net(torch.randn(2, *[NET.image_channels, NET.image_size, NET.image_size]), torch.tensor([1, 2]))
    assert said.dtype == torch.bfloat16 and set(seen) == {torch.float32}


@pytest.mark.parametrize("how", ["auto", "on"])
def test_a_machine_that_can_not_compile(tmp_path, monkeypatch, capsys, how):
    monkeypatch.setattr(machine, "COMPILE_FROM", 0)
    monkeypatch.setattr(machine, "is_large", lambda network: True)

    def no_compiler(network, precision, batch=4):
        if batch > 4:
            raise RuntimeError("No working C++ compiler found\nand a long story")
        return 1.0

    monkeypatch.setattr(machine, "gradient_seconds", no_compiler)
    recipe = replace(RECIPE, compile=how, steps=2)
    if how == "on":
        with pytest.raises(ValueError, match=r"compile = on: this machine can't \(No working C\+\+ compiler found\)"):
            start(tmp_path / "a", recipe)
        return
    trainer = start(tmp_path / "a", recipe)
    steps(trainer)
    assert not trainer.compiled and capsys.readouterr().err.startswith("not compiled, this machine can't (No working")


def test_neither_short_runs_nor_small_networks_are_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(UNet, "compile", lambda self: None)
    assert not start(tmp_path / "a", replace(RECIPE, steps=10**9)).compiled
    monkeypatch.setattr(machine, "is_large", lambda network: True)
    assert not start(tmp_path / "b", RECIPE).compiled and start(tmp_path / "c", replace(RECIPE, steps=10**9)).compiled


def test_the_held_out_images_are_a_fair_sample_of_a_sorted_folder(tmp_path, monkeypatch):
    labels = torch.arange(10).repeat_interleave(100)  # as a folder lists them
    chosen = fair_sample(labels, 55, torch.Generator().manual_seed(0))
    assert len(chosen.unique()) == 55 and set(labels[chosen].bincount().tolist()) == {5, 6}
    assert (chosen % 100).float().mean() > 20  # and not the first of each class
    rare = torch.tensor([0] * 50 + [1] * 3)
    assert rare[fair_sample(rare, 20, torch.Generator().manual_seed(0))].bincount().tolist() == [17, 3]
    assert fair_sample(labels, 5000, torch.Generator()).tolist() == list(range(1000))  # all, in their order
    monkeypatch.setattr(heldout, "MOST", 50)
    data = start(tmp_path / "a").data
    order = data.heldout_labels.argsort(stable=True)
    data = replace(data, heldout=data.heldout[order], heldout_labels=data.heldout_labels[order])
    found = heldout.HeldOut(data, 50)
    assert found.labels.bincount(minlength=10).tolist() == [5 * heldout.DRAWS] * 10
    first, *between, last = found.t.bincount(minlength=51)[1:].tolist()
    assert set(between) == {5, 6} and first == last == 3  # evenly from 1 to T
    images = data.floats(data.heldout)
    for image, label in zip(found.x_0[:50], found.labels[:50]):
        assert label in data.heldout_labels[(images == image).flatten(1).all(1)]
