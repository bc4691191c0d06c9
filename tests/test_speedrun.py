"""The two-core speed run: every entry is a recipe and one change, a rehearsal writes a row, and the pieces do what they
say.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ddim_edu.data.named import digits
from ddim_edu.models import load
from ddim_edu.nets.unet import UNet
from ddim_edu.sampling import Sampler
from ddim_edu.schedule import NoiseSchedule

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # where a script finds its neighbours
import speedrun  # noqa: E402
import speedrun_judges as judges  # noqa: E402

sys.path.remove(str(BENCHMARKS))
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


@pytest.mark.parametrize("on", ["faces", "cifar10", "digits"])
def test_every_entry_is_a_recipe(on):
    for name, entry in speedrun.ENTRIES.items():
        if name == "muon" and not hasattr(torch.optim, "Muon"):
            continue
        recipe, asked = speedrun.resolve(name, on, classes=4)
        assert recipe.noise_schedule().T == 1000
        assert asked.about == entry.about and recipe.unet.classes == 4
        assert (recipe.data, recipe.seed) == (on, 0)


def test_one_change_each():
    names = list(speedrun.ENTRIES)
    assert len(names) >= 10
    for name, entry in speedrun.ENTRIES.items():
        assert entry.parent is None or names.index(entry.parent) < names.index(name), "parents come first"
        hooks = [hook for hook in speedrun.HOOKS if getattr(entry, hook)]
        # A learning rate goes with its batch, and attention and multipliers with the number of levels.
        changes = [*(["recipe"] if entry.recipe else []), *(["unet"] if entry.unet else []), *hooks]
        assert len(changes) == (0 if entry.parent is None else 1), name
        if entry.parent is not None and not hooks:
            assert speedrun.resolve(name)[0] != speedrun.resolve(entry.parent)[0], name


def test_children_inherit():
    recipe, _ = speedrun.resolve("dropout")
    assert (recipe.prediction, recipe.precision, recipe.unet.dropout) == ("v", "bf16", 0.1)
    recipe, entry = speedrun.resolve("min-snr", parent="space-to-depth")
    assert entry.to_depth and entry.parent == "space-to-depth" and recipe.weighting == "min-snr"
    assert (recipe.unet.image_size, recipe.unet.image_channels, recipe.unet.ch_mult) == (16, 12, (2, 3))


def test_shift_of_the_schedule():
    plain, (recipe, _) = NoiseSchedule.cosine(), speedrun.resolve("less-noise")
    apart = recipe.noise_schedule().snr[1:-1].log() - plain.snr[1:-1].log()  # beta is cut at the last level
    torch.testing.assert_close(apart, torch.full_like(apart, 2 * math.log(64 / 32)), rtol=0, atol=1e-6)


def test_space_to_depth_and_back():
    x = torch.arange(2 * 3 * 8 * 6).reshape(2, 3, 8, 6)
    deep = judges.to_depth(x)
    assert deep.shape == (2, 12, 4, 3)
    assert sorted(deep[0, :4, 0, 0].tolist()) == sorted(x[0, 0, :2, :2].flatten().tolist())
    assert torch.equal(judges.to_space(deep), x)


@needs_muon
def test_muon_moves_the_network_itself():
    recipe, _ = speedrun.resolve("muon", "digits", classes=10)
    torch.manual_seed(0)
    model = UNet(recipe.unet).to(memory_format=torch.channels_last)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = speedrun.Muon(model, 0.01)
    assert sum(p.numel() for part in optimizer.parts for p in part.param_groups[0]["params"]) == sum(
        p.numel() for p in model.parameters()
    )
    optimizer.param_groups[0]["lr"] = 0.5  # what the trainer sets
    optimizer.step()
    moved = {name: (p.detach() - before[name]) for name, p in model.named_parameters()}
    assert all(change.abs().max() > 0 for change in moved.values())
    kernel = moved["middle.0.res.conv1.weight"]
    scale = torch.linalg.svdvals(kernel.flatten(1).double())
    assert scale.max() / scale.min() < 3  # nearly orthogonal; that of random gradients in Adam's steps is far from it
    size = 0.5 * 0.2  # match_rms_adamw: the root mean square of a step is 0.2 lr
    assert size / 1.5 < kernel.square().mean().sqrt() < size * 1.5
    adam = moved["conv_in.weight"].abs()
    torch.testing.assert_close(adam, torch.full_like(adam, 0.5), rtol=1e-3, atol=0)


class Exact:
    """A checkpoint whose network knows the answer but for a tenth: its squared errors are known."""

    class config:
        classes = 10

    def __init__(self, schedule):
        self.schedule = schedule
        self.model = self.network = torch.nn.Linear(1, 1)

    def eps_theta(self, labels=None):
        def off(x_t, t):
            self.calls.append((t, labels))
            return self.answers.pop(0) + 0.1

        return off


same = NoiseSchedule.cosine()


@pytest.mark.parametrize("own", [same, NoiseSchedule.linear()])
def test_losses_by_level(own, monkeypatch):
    monkeypatch.setattr(judges, "HELDOUT", 100)
    base, data, model = NoiseSchedule.cosine(), digits(), Exact(own)
    model.calls, model.answers = [], []
    plain = torch.randn

    def noted(*args, **kwargs):
        model.answers.append(plain(*args, **kwargs))
        return model.answers[-1]

    monkeypatch.setattr(torch, "randn", noted)
    found = judges.heldout_losses(Sampler(model, 1), data, base, False)
    t = torch.cat([t for t, _ in model.calls])
    assert found["eps_loss"] == pytest.approx(0.01, rel=1e-4)
    assert found["eps_loss_by_level"] == pytest.approx([0.01] * 10, rel=1e-4)
    assert found["v_loss"] == pytest.approx((0.01 / own.alpha_bar[t]).mean().item(), rel=1e-4)
    log_snr, asked = own.snr[1:].log(), own.snr[t].log().sort().values
    wanted = base.snr[torch.linspace(1, 1000, len(t)).round().long()].log().sort().values
    inside = (wanted > log_snr[-1]) & (wanted < log_snr[0])
    assert inside.double().mean() > 0.7
    assert ((asked - wanted)[inside].abs() <= -log_snr.diff().min() / 2).all()
    if own is same:
        assert torch.equal(asked, wanted)
    assert torch.bincount(torch.cat([labels for _, labels in model.calls])).tolist() == [4 * 100 // 10] * 10


def timed(entry, parent, step, base_step, setup=0.0, on="faces"):
    steps, setups = ([x] if isinstance(x, float) else x for x in (step, setup))
    return {"on": on, "entry": entry, "parent": parent, "step": steps, "setup": setups, "base_step": base_step}


def test_as_many_steps_as_the_time_pays_for():
    rows = [
        timed("eps", None, 1.0, 1.0),
        timed("eps", None, 99.0, 99.0, on="cifar10"),
        timed("v", "eps", 1.07, 1.0),  # the same work: what was timed is chance
        timed("bf16", "v", 2.0, 1.0, setup=40.0),
        timed("warm-start", "bf16", [0.5, 4.0], 2.0, setup=[0.0, 8.0]),  # on a machine of half the speed
    ]
    asked = ("eps", "v", "bf16", "lr-4e-3", "warm-start")
    steps = {name: speedrun.steps_of(speedrun.ENTRIES[name], name, "faces", rows) for name in asked}
    assert steps == {
        "eps": [1440],
        "v": [1440],
        "bf16": [700],
        "lr-4e-3": [700],
        "warm-start": [1440, 538],
    }  # 360 / .25 and (1080 - 4) / 2
    with pytest.raises(ValueError, match="nobody has timed muon below bf16 on faces"):
        speedrun.steps_of(speedrun.ENTRIES["muon"], "muon", "faces", rows)


def test_speeds_are_those_of_the_steps(tmp_path, monkeypatch):
    now = [0.0]
    seconds = {"eps-None": 1.0, "warm-start-None-0": 0.25, "warm-start-None-1": 3.0}

    def fake(trainer):  # each step takes its time on this clock, the first one 10 seconds more
        cost = next(s for name, s in seconds.items() if trainer.folder.path.name.startswith(name))
        while True:
            trainer.step += 1
            now[0] += cost + 10 * (trainer.step == 1)
            yield

    monkeypatch.setattr(speedrun.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speedrun.Trainer, "run", fake)
    rows = speedrun.speeds([("eps", None), ("warm-start", None)], "digits", digits(), tmp_path)
    assert [(r["entry"], r["parent"], r["step"], r["setup"], r["base_step"]) for r in rows] == [
        ("eps", None, [1.0], [10.0], 1.0),
        ("warm-start", "bf16", [0.25, 3.0], [10.0, 10.0], 1.0),
    ]


def run(tmp_path, *words):
    return speedrun.main([*words, "--runs", str(tmp_path / "runs"), "--ledger", str(tmp_path / "ledger.json")])


@needs_muon
def test_rehearsal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(judges, "HELDOUT", 100)
    # All hooks in one run: each is a change of the one before it.
    monkeypatch.setitem(speedrun.ENTRIES, "horizons", replace(speedrun.ENTRIES["horizons"], parent="muon"))
    monkeypatch.setitem(speedrun.ENTRIES, "warm-start", replace(speedrun.ENTRIES["warm-start"], parent="horizons"))
    strip = tmp_path / "strip.png"
    assert (
        run(tmp_path, "space-to-depth", "--parent", "warm-start", "--tiny", "--steps", "40", "--strip", str(strip)) == 0
    )
    (row,) = speedrun.rows_of(tmp_path / "ledger.json")
    assert row["entry"] == "space-to-depth" and row["parent"] == "warm-start" and row["on"] == "digits"
    assert row["hooks"].keys() == set(speedrun.HOOKS) and "prediction eps -> v" in row["changes"]
    assert (row["limit"], row["train"]["steps"], row["train"]["images"]) == ("40 steps", 40, 64 * 40)
    assert (
        len(row["result"]["of_averages"]) == 6 and min(row["result"]["of_averages"].values()) == row["result"]["v_loss"]
    )
    assert len(row["result"]["v_loss_by_level"]) == 10 and 0 <= row["result"]["style_share"] <= 1
    assert strip.exists()
    capsys.readouterr()

    before = (tmp_path / "ledger.json").read_bytes()
    assert run(tmp_path, "space-to-depth", "--parent", "warm-start", "--tiny", "--steps", "40") == 2
    assert "has that row already" in capsys.readouterr().err and (tmp_path / "ledger.json").read_bytes() == before

    # A run that was killed while it was judged is judged, not trained again; rows are appended.
    (tmp_path / "ledger.json").write_text(json.dumps({"rows": [{**row, "entry": "another"}]}))
    monkeypatch.setattr(speedrun, "train", None)
    assert run(tmp_path, "space-to-depth", "--parent", "warm-start", "--tiny", "--steps", "40") == 0
    rows = speedrun.rows_of(tmp_path / "ledger.json")
    assert [r["entry"] for r in rows] == ["another", "space-to-depth"] and rows[1]["result"] == row["result"]


@pytest.mark.parametrize("name", ["eps", "warm-start"])
def test_learning_rate_falls_to_the_end(tmp_path, monkeypatch, name):
    rates, plain = [], speedrun.Trainer.train_step

    def noted(self):
        rates.append(self.lr_at(self.step))
        return plain(self)

    monkeypatch.setattr(speedrun.Trainer, "train_step", noted)
    recipe, entry = speedrun.resolve(name, "digits", classes=10)
    recipe = replace(recipe, warmup=1, batch=4, precision="float32")
    found = speedrun.train(recipe, entry, digits(), [2, 6] if name == "warm-start" else [8], tmp_path, None)
    assert found["steps"] == 8 and found["images"] == 32
    assert rates == pytest.approx([2e-3 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)])


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    recipe, entry = speedrun.resolve("v", "digits", classes=10)
    monkeypatch.setattr(speedrun, "SAVE_EVERY", 3)
    plain, steps = speedrun.Trainer.train_step, []

    def stopped(self):
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(self.step)
        return plain(self)

    speedrun.train(recipe, entry, digits(), [8], tmp_path / "whole", None)
    monkeypatch.setattr(speedrun.Trainer, "train_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        speedrun.train(recipe, entry, digits(), [8], tmp_path / "parts", None)
    steps.clear()
    monkeypatch.setattr(speedrun.Trainer, "train_step", lambda self: (steps.append(self.step), plain(self))[1])
    speedrun.train(recipe, entry, digits(), [8], tmp_path / "parts", None)
    assert steps == [3, 4, 5, 6, 7]
    whole, parts = (load(tmp_path / name).network.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_a_run_that_blows_up_is_a_row(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(
        speedrun.ENTRIES, "broken", speedrun.Entry("eps", "far too fast", {"lr": 1e30, "grad_clip": 1e30, "warmup": 1})
    )
    assert run(tmp_path, "broken", "--tiny", "--steps", "20") == 0
    (row,) = speedrun.rows_of(tmp_path / "ledger.json")
    assert "near step" in row["result"]["failed"] and row["train"] == {}
    capsys.readouterr()
    assert run(tmp_path, "--table") == 0
    assert "broken" in capsys.readouterr().out


def test_table(tmp_path, capsys):
    def row(entry, kid, v):
        result = {"v_loss": v, "eps_loss": 0.02, "style_share": 0.9} | (
            {"kid": kid, "kid_standard_error": 0.001} if kid else {}
        )
        return {
            "on": "faces",
            "entry": entry,
            "parent": None,
            "seed": 0,
            "train": {"steps": 1234, "images": 99_000},
            "result": result,
        }

    rows = [row("a", None, 0.1), row("b", 0.03, 0.2), row("c", 0.02, 0.3)]
    (tmp_path / "ledger.json").write_text(json.dumps({"rows": rows}))
    assert run(tmp_path, "--table") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["c", "b", "a"]
    assert lines[1].split()[2:] == ["0", "1,234", "99,000", "20.00", "+-", "1.00", "90.0%", "0.3000", "0.02000"]


def test_list(tmp_path, capsys):
    assert run(tmp_path, "--list") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(speedrun.ENTRIES)


@pytest.mark.parametrize(
    "words, says",
    [
        (["vv"], "did you mean v?"),
        (["v", "--parent", "bf17"], "did you mean bf16?"),
        (["v", "--on", "face"], "did you mean faces?"),
        (["v"], "--inception W.pth"),
        (["v", "--inception", "nowhere.pth"], "no Inception weights at nowhere.pth"),
        (["v", "--tiny", "--strip", "nowhere/x.png"], "there is no folder nowhere"),
        (["v", "--tiny", "--steps", "0"], "give a number of steps"),
        (["--speeds", "bf17"], "did you mean bf16?"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, says):
    assert run(tmp_path, *words) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "ledger.json").exists()


ROWS = speedrun.rows_of(ROOT / "results" / "speedrun.json")


def test_no_row_stands_twice():
    keys = [(row["on"], row["entry"], row["parent"], row["seed"]) for row in ROWS]
    assert ROWS and len(set(keys)) == len(keys) and {row["seed"] for row in ROWS} <= {0, 1}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['entry']}-{row['parent']}-{row['on']}-{row['seed']}")
def test_rows_are_of_the_entries_that_stand_here(row):
    """The recipe, the number of steps that its time pays for, and judges' figures that go together."""
    speeds = speedrun.rows_of(ROOT / speedrun.SPEEDS)
    classes = {"faces": 4, "cifar10": 10}[row["on"]]
    recipe, entry = speedrun.resolve(row["entry"], row["on"], row["parent"], classes)
    root = speedrun.resolve("eps", row["on"], classes=classes)[0]
    assert row["changes"] == speedrun.changes(root, recipe) and row["about"] == entry.about
    assert row["limit"] == f"{speedrun.BASES[row['on']][1]} s" and row["samples"] == judges.SAMPLES
    steps = speedrun.steps_of(entry, row["entry"], row["on"], speeds)
    assert (row["train"]["steps"], row["train"]["images"]) == (sum(steps), recipe.batch * sum(steps))
    found = row["result"]
    for name in ("v_loss", "eps_loss"):
        bins = found[f"{name}_by_level"]
        # Bins hold 399 to 401 draws each.
        assert len(bins) == judges.BINS and found[name] == pytest.approx(
            sum(bins) / judges.BINS, rel=2e-3
        )  # of 399 to 401
    assert all(
        v >= e > 0 for v, e in zip(found["v_loss_by_level"], found["eps_loss_by_level"])
    )  # v's is over alpha-bar
    assert found["kid"] > found["kid_standard_error"] > 0 and 0 < found["style_share"] <= 1
