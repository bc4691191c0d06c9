"""Training: a run that stops and resumes is the run that didn't, and nothing bad is ever saved."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from small_runs import NET, RECIPE, assert_same_weights, log, start, steps

from ddim_edu.losses import loss_gamma
from ddim_edu.models import checkpoint, load
from ddim_edu.training import trainer as trainer_module
from ddim_edu.training.parts import ema_update
from ddim_edu.training.recipes import changes
from ddim_edu.training.run_folder import COLUMNS, STATE, RunFolder
from ddim_edu.training.trainer import Trainer
from ddim_edu.training.watch import NonFiniteLoss


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run from start to end."""
    folder = tmp_path_factory.mktemp("trainer") / "whole"
    records = steps(start(folder))
    return folder, records


def test_the_run_folder(whole):
    folder, records = whole
    assert [r.step for r in records] == list(range(1, 13))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["checkpoint.safetensors", "config.json", "log.csv", "samples", "samples.png", STATE]
    )
    assert [p.name for p in (folder / "samples").iterdir()] == ["step_12.png"]
    config = json.loads((folder / "config.json").read_text())
    assert config["train_images"] == 1597 and config["recipe"]["batch"] == 16
    assert RunFolder(folder).recipe() == RECIPE


def test_what_the_files_hold_stays_what_older_runs_hold(whole):
    """Runs that are under way were begun by other versions: a name that changes here makes them unreadable."""
    folder, _ = whole
    ran_on = [
        "parameters",
        "train_images",
        "heldout_images",
        "data",
        "data_dir",
        "places",
        "device",
        "precision",
        "compiled",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert list(config) == ["recipe", *ran_on, "processes", "versions"]
    state = torch.load(folder / STATE, weights_only=True)
    assert list(state) == ["version", "recipe", "step", "model", "averaged", "optimizer", "scaler"]
    assert state["step"] == 12 and config["recipe"] == state["recipe"] | {"unet": config["recipe"]["unet"]}
    assert COLUMNS == ("step", "loss", "lr", "grad_norm", "images_per_s", "heldout_loss", "seconds")


def test_the_files_of_a_process_that_does_not_write(tmp_path):
    silent = RunFolder(tmp_path, writes=False)
    silent.write_config(RECIPE, {})
    silent.cut_log(0)
    silent.add_to_log([1, 0.5, 0.1, 1.0, 10.0, None, 2.0])
    assert not list(tmp_path.iterdir())


def test_lines_of_the_log(tmp_path):
    folder = RunFolder(tmp_path)
    folder.cut_log(0)
    for step in (3, 6, 9):
        folder.add_to_log([step, 1 / 3, 0.1, 1.0, 10.0, None, float(step)])
    with open(tmp_path / "log.csv", "a") as file:
        file.write("12,0.3,0.1")  # the power went
    assert [row["step"] for row in folder.log()] == ["3", "6", "9"]
    assert folder.log()[0]["loss"] == "0.333333" and folder.log()[0]["heldout_loss"] == ""
    folder.cut_log(6)
    assert [row["step"] for row in folder.log()] == ["3", "6"]


def test_the_log(whole):
    folder, records = whole
    rows = log(folder)
    assert tuple(rows[0]) == COLUMNS and [int(row["step"]) for row in rows] == [3, 6, 9, 12]
    for row in rows:
        window = [float(r.loss) for r in records if int(row["step"]) - 3 < r.step <= int(row["step"])]
        assert float(row["loss"]) == pytest.approx(sum(window) / 3, rel=1e-4)
        assert float(row["images_per_s"]) > 0
    assert [row["heldout_loss"] != "" for row in rows] == [False, False, False, True]
    assert float(rows[-1]["heldout_loss"]) == pytest.approx(records[-1].heldout_loss, rel=1e-4)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_the_checkpoint_holds_the_averaged_weights(whole):
    folder, _ = whole
    loaded = load(folder)
    assert loaded.step == 12 and loaded.config == NET and loaded.schedule.T == 50
    state = torch.load(folder / STATE, weights_only=True)
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, state["averaged"][f"module.{name}"])
    assert any(not torch.equal(value, state["model"][name]) for name, value in loaded.network.state_dict().items())


@pytest.mark.parametrize("at", [4, 6])
def test_kill_and_resume_is_no_interruption(whole, tmp_path, at):
    """Bit for bit, with dropout, whether it stopped at a checkpoint or two steps after one."""
    folder = tmp_path / "run"
    steps(start(folder), at)  # and nothing more: as if killed
    torch.manual_seed(123)  # a new process has another random state
    resumed = Trainer.resume(folder)
    assert resumed.step == 4
    records = steps(resumed)
    assert [r.step for r in records] == list(range(5, 13))
    assert_same_weights(folder, whole[0])
    assert [row["step"] for row in log(folder)] == ["3", "6", "9", "12"]
    assert [row["loss"] for row in log(folder)][-1] == log(whole[0])[-1]["loss"]


def test_stopping_at_will_and_saving(whole, tmp_path):
    folder = tmp_path / "run"
    trainer = start(folder)
    steps(trainer, 7)
    trainer.save()
    steps(Trainer.resume(folder))
    assert_same_weights(folder, whole[0])


def test_another_seed_is_another_run(whole, tmp_path):
    records = steps(start(tmp_path / "run", replace(RECIPE, seed=1)), 1)
    assert float(records[0].loss) != float(whole[1][0].loss)


def test_training_learns(tmp_path):
    recipe = replace(
        RECIPE, unet=replace(NET, dropout=0.0), steps=60, batch=64, lr=1e-2, T=1000, sample_every=60, save_every=60
    )
    trainer = start(tmp_path / "run", recipe)
    before = trainer.heldout_loss()
    assert before == pytest.approx(1.0, abs=0.02)  # a new network predicts 0, and the noise has variance 1
    records = steps(trainer)
    assert records[-1].heldout_loss == trainer.heldout_loss() < 0.6


def test_training_does_not_touch_the_callers_random_numbers(tmp_path):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    steps(start(tmp_path / "run", replace(RECIPE, unet=replace(NET, dropout=0.0))), 2)
    assert torch.equal(torch.randn(3), expected)


def test_the_average_is_what_its_formula_says():
    """Equations: eq:ema"""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    average, expected = [weights[0].clone()], weights[0].clone()
    for n in range(1, 30):
        ema_update(0.6)(average, [weights[n]], torch.tensor(n))
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weights[n]
    torch.testing.assert_close(average[0], expected)


def averaged(decay, weights):
    """The average after the last of some weights, each of which is a row."""
    average = [weights[0].clone()]
    for n in range(1, len(weights)):
        ema_update(decay)(average, [weights[n]], torch.tensor(n))
    return average[0]


def test_what_the_average_makes_of_independent_weights():
    """Equations: eq:ema-variance"""
    d, size = 0.6, 20_000
    w = torch.randn(60, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(averaged(d, w).var() / ((1 - d) / (1 + d)) - 1) < 5 * (2 / size) ** 0.5


def test_how_much_of_each_step_is_left_in_the_average():
    """While the decay rises the first weights fade as a quotient of factorials; once it is constant, weights fade by
    it.

    Equations: eq:ema-weights, eq:ema-rise
    """
    n, shares = 50, torch.eye(51, dtype=torch.float64)  # the average of unit vectors: the share of each step
    first = averaged(0.9999, shares)[0]
    assert first.item() == pytest.approx(math.factorial(10) / math.prod(range(n + 2, n + 11)), rel=1e-12)
    left = averaged(0.1, shares)  # (1 + n) / (10 + n) is above 0.1 from the first update on
    expected = 0.9 * 0.1 ** torch.arange(n, -1, -1, dtype=torch.float64)
    expected[0] /= 0.9
    torch.testing.assert_close(left, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("how", ["loss", "weights"])
def test_a_loss_that_blows_up_stops_training_and_keeps_the_last_good_checkpoint(tmp_path, how):
    folder = tmp_path / "run"
    trainer = start(folder)
    run = trainer.run()
    for _ in range(4):
        next(run)
    good = {name: (folder / name).read_bytes() for name in (checkpoint.NAME, STATE)}
    parameter = trainer.model.conv_in.weight
    if how == "loss":
        parameter.data.fill_(float("nan"))
        with pytest.raises(NonFiniteLoss) as error:
            list(run)
    else:  # found when saving, before a loss has shown it
        trainer.averaged.module.conv_in.weight.data[0] = float("inf")
        with pytest.raises(NonFiniteLoss) as error:
            trainer.save()
    message = str(error.value)
    assert "\n" not in message and "step 4" in message and "--lr" in message
    assert good == {name: (folder / name).read_bytes() for name in good}


def test_a_learning_rate_that_is_far_too_high_ends_in_one_error(tmp_path):
    trainer = start(tmp_path / "run", replace(RECIPE, lr=1e30, warmup=0))
    with pytest.raises(NonFiniteLoss, match="no checkpoint had been written"):
        steps(trainer)
    assert not (tmp_path / "run" / checkpoint.NAME).exists()


def test_data_that_does_not_fit_the_network(tmp_path):
    for net, says in (
        (replace(NET, image_channels=3), "image_channels = 3"),
        (replace(NET, image_size=16), "image_size = 16"),
    ):
        with pytest.raises(ValueError, match=says):
            start(tmp_path / says, replace(RECIPE, unet=net))


def test_what_can_not_be_resumed(whole, tmp_path):
    with pytest.raises(ValueError, match="finished.*--steps 24"):
        Trainer.resume(whole[0])
    with pytest.raises(ValueError, match="not a run folder"):
        Trainer.resume(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a run folder"):
        Trainer.resume(tmp_path)
    folder = tmp_path / "run"
    trainer = start(folder)
    with pytest.raises(ValueError, match="before its first checkpoint"):
        Trainer.resume(folder)
    steps(trainer, 4)
    with pytest.raises(ValueError, match="lr 0.003 -> 1.0"):
        Trainer.resume(folder, recipe=replace(RECIPE, lr=1.0))
    Trainer.resume(folder, recipe=replace(RECIPE, steps=20, log_every=1))
    content = (folder / STATE).read_bytes()
    for damaged in (content[:1000], b"", b"garbage" * 100):
        (folder / STATE).write_bytes(damaged)
        with pytest.raises(ValueError, match="can't be read") as error:
            Trainer.resume(folder)
        assert "\n" not in str(error.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="can't be understood"):
        Trainer.resume(folder)


def test_what_differs_is_named_field_by_field(tmp_path):
    folder = tmp_path / "run"
    steps(start(folder), 4)
    changed = replace(RECIPE, lr=1.0, batch=32, unet=replace(NET, ch=16), steps=99)
    with pytest.raises(ValueError) as error:
        Trainer.resume(folder, recipe=changed)
    for words in ("lr 0.003 -> 1.0", "batch 16 -> 32", "unet.ch 8 -> 16"):
        assert words in str(error.value)
    assert "steps 12" not in str(error.value) and "\n" not in str(error.value)
    assert changes(RECIPE, RECIPE) == []


CONDITIONAL = replace(RECIPE, unet=replace(NET, classes=10, dropout=0.0))


def seen_labels(tmp_path, monkeypatch, recipe, n=1):
    """The labels that the network was given in the first n steps, in order of the images."""
    trainer, seen = start(tmp_path / "run", recipe), []
    forward = trainer.model.forward
    monkeypatch.setattr(
        trainer.model, "forward", lambda x_t, t, labels: (seen.append(labels.clone()), forward(x_t, t, labels))[1]
    )
    for _ in range(n):
        trainer.train_step()
        trainer.step += 1
    return trainer, seen


def test_labels_belong_to_their_images(tmp_path, monkeypatch):
    trainer, (labels,) = seen_labels(tmp_path, monkeypatch, replace(CONDITIONAL, label_dropout=0.0))
    assert torch.equal(labels, trainer.data.train_labels[trainer.shuffle(0)])


def test_a_share_of_the_labels_is_hidden(tmp_path, monkeypatch):
    recipe = replace(CONDITIONAL, label_dropout=0.3, batch=400)
    trainer, seen = seen_labels(tmp_path, monkeypatch, recipe, 2)
    true = torch.cat([trainer.data.train_labels[trainer.shuffle(step)] for step in (0, 1)])
    labels = torch.cat(seen)
    hidden = labels == trainer.model.null_label
    assert torch.equal(labels[~hidden], true[~hidden])
    assert abs(hidden.double().mean() - 0.3) < 4 * (0.3 * 0.7 / 800) ** 0.5
    assert not torch.equal(hidden[:400], hidden[400:])


def test_more_labels_than_classes(tmp_path):
    with pytest.raises(ValueError, match="unet.classes = 9"):
        start(tmp_path / "run", replace(RECIPE, unet=replace(NET, classes=9)))


def first_images(tmp_path, monkeypatch, name, recipe):
    seen = []

    def watched(eps_theta, x_0, *rest):
        seen.append(x_0)
        return loss_gamma(eps_theta, x_0, *rest)

    monkeypatch.setattr(trainer_module, "loss_gamma", watched)
    start(tmp_path / name, recipe).train_step()
    return seen[0]


def test_half_of_the_images_are_mirrored(tmp_path, monkeypatch):
    recipe = replace(RECIPE, batch=200)
    plain = first_images(tmp_path, monkeypatch, "plain", recipe)
    flipped = first_images(tmp_path, monkeypatch, "flipped", replace(recipe, flip=True))
    as_it_was = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped == plain.flip(-1)).flatten(1).all(1)
    assert (as_it_was | mirrored).all()
    assert abs(mirrored.double().mean() - 0.5) < 4 * 0.5 / 200**0.5


@pytest.mark.parametrize("lam", [None, 0.5])
@pytest.mark.parametrize("kind", ["published", "mended"])
def test_the_adaptive_step_in_training(kind, lam, tmp_path):
    """The first loss is that of a network whose last layer is zero, eps_hat = 0, for which both can be computed from
    the data alone.
    """
    recipe = replace(RECIPE, steps=2, loss=kind, lam=lam)
    (first, _), (plain, _) = (
        steps(start(tmp_path / kind, recipe)),
        steps(start(tmp_path / "mse", replace(RECIPE, steps=2))),
    )
    term = first.loss - plain.loss
    if kind == "published":  # at most lambda times the mean of c, which is below 1 / sqrt(16 * 9 * 9), times |eps|
        assert 0 < term < (0.1 if lam is None else lam) / 36
    else:  # weights of mean 1, beside errors that are x_t's noise: as large as the MSE, but not the same
        assert 0 < abs(term) < 0.2 * plain.loss
    assert RunFolder(tmp_path / kind).recipe() == recipe


def test_min_snr_weights_the_loss(tmp_path):
    uniform, weighted = (
        start(tmp_path / name, replace(RECIPE, weighting=name, unet=replace(NET, dropout=0.0))).train_step()[1]
        for name in ("uniform", "min-snr")
    )
    # A new network predicts 0, so that the loss is the mean square of the noise; the weights are at most 1.
    assert 0.2 < weighted / uniform < 0.95


@pytest.mark.parametrize(
    "change", [{"optimizer": "adamw", "weight_decay": 0.5}, {"precision": "bf16"}, {"compile": "on"}]
)
def test_other_ways_to_train(tmp_path, change):
    if "compile" in change and shutil.which("c++") is None:
        pytest.skip("torch.compile needs a compiler here")
    recipe = replace(RECIPE, steps=3, sample_every=3, save_every=3, unet=replace(NET, dropout=0.0))
    plain = [float(r.loss) for r in steps(start(tmp_path / "plain", recipe))]
    trainer = start(tmp_path / "other", replace(recipe, **change))
    other = [float(r.loss) for r in steps(trainer)]
    tolerance = {"precision": 2e-2, "compile": 1e-4, "optimizer": 1e-6}[next(iter(change))]
    assert other[0] == pytest.approx(plain[0], rel=tolerance)  # the first loss is the same, but for rounding
    assert all(v < 2 for v in other)
    names = load(tmp_path / "other").network.state_dict().keys()
    assert names == load(tmp_path / "plain").network.state_dict().keys()
    if "compile" in change:  # where the weights may come out the same, to the bit
        assert trainer.model._compiled_call_impl is not None
    else:
        one, two = (load(tmp_path / name).network.conv_in.weight for name in ("plain", "other"))
        assert not torch.equal(one, two)


def test_weight_decay_is_adamws(tmp_path):
    trainer = start(tmp_path / "run", replace(RECIPE, optimizer="adamw", weight_decay=0.25))
    assert type(trainer.optimizer) is torch.optim.AdamW and trainer.optimizer.param_groups[0]["weight_decay"] == 0.25
    assert type(start(tmp_path / "adam").optimizer) is torch.optim.Adam


def test_a_tracker_gets_the_log_and_the_samples(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    folder.mkdir()
    trainer = Trainer.start(RECIPE, folder, tracker="tensorboard")
    records = steps(trainer)
    trainer.close()
    (events,) = {path.parent for path in folder.rglob("events.out.tfevents*")}
    found = EventAccumulator(str(events)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [3, 6, 9, 12]
    assert found.Scalars("heldout_loss")[0].value == pytest.approx(records[-1].heldout_loss, rel=1e-5)
    assert [event.step for event in found.Images("samples")] == [12]
    with pytest.raises(ValueError, match="tracker 'nosuch'"):
        Trainer.start(RECIPE, folder, tracker="nosuch")


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path, full_disk):
    folder = tmp_path / "run"
    trainer = start(folder)
    steps(trainer, 4)
    good = {name: (folder / name).read_bytes() for name in (checkpoint.NAME, STATE)}
    with full_disk(len(good[checkpoint.NAME]) - 1000), pytest.raises(OSError, match=checkpoint.NAME):
        steps(trainer)
    assert good == {name: (folder / name).read_bytes() for name in good}
    assert not list(folder.glob(".*tmp*"))
