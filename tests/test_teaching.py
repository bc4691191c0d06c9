"""Students: their training through the one trainer, what their files say, and what they are refused for."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_runs import PLAIN, run

from ddim_edu.commands import sample as sample_command
from ddim_edu.commands import train as train_command
from ddim_edu.forward import as_eps
from ddim_edu.models import CheckpointError, load, save
from ddim_edu.models.about import Student
from ddim_edu.sampler import ddim_path
from ddim_edu.sampling import Sampling
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.teaching import Teaching, stages
from ddim_edu.training.trainer import Trainer


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teaching") / "teacher"
    run(PLAIN, folder)
    return folder


@pytest.fixture(scope="module")
def taught(teacher, tmp_path_factory):
    """A run of progressive distillation, 8 to 4 to 2 steps in nine training steps."""
    recipe = replace(
        PLAIN, loss="progressive", teacher=str(teacher), teacher_steps=8, student_steps=2, steps=9, warmup=0
    )
    folder = tmp_path_factory.mktemp("teaching") / "student"
    return run(recipe, folder), folder, recipe


def test_stages_share_the_steps_and_the_last_has_two_shares():
    recipe = replace(RECIPES["digits-distill"], steps=1000, teacher_steps=16, student_steps=1)
    assert stages(recipe) == [(0, 8), (200, 4), (400, 2), (600, 1)]
    assert stages(replace(recipe, student_steps=4)) == [(0, 8), (333, 4)]
    assert stages(replace(recipe, loss="consistency")) == [(0, 1)]
    teaching = Teaching(recipe, recipe.noise_schedule(), torch.nn.Linear(1, 1))
    assert [teaching.student_steps(step) for step in (0, 200, 201, 600, 601, 1000)] == [8, 8, 4, 2, 1, 1]
    assert teaching.lr_at(200) == teaching.lr_at(0) > 100 * teaching.lr_at(199) / 10
    assert teaching.lr_at(600) > 0.9 * teaching.lr_at(0) and teaching.lr_at(999) < 1e-3 * teaching.lr_at(0)


def test_a_student_begins_as_its_teacher_and_each_stage_as_the_last_ones_end(teacher, tmp_path):
    recipe = replace(PLAIN, loss="progressive", teacher=str(teacher), teacher_steps=8, student_steps=2, steps=9)
    (tmp_path / "run").mkdir()
    trainer = Trainer.start(recipe, tmp_path / "run")
    first = load(teacher).network.state_dict()
    trainer.teaching.begin(0, trainer.model, trainer.averaged)
    for network in (trainer.model, trainer.averaged.module, trainer.teaching.network):
        assert all(torch.equal(value, first[name]) for name, value in network.state_dict().items())
    for record in trainer.run():
        if record.step == 3:  # the first stage is over
            ended = {name: value.clone() for name, value in trainer.averaged.module.state_dict().items()}
            assert all(torch.equal(v, first[n]) for n, v in trainer.teaching.network.state_dict().items())
        if record.step == 4:
            assert all(torch.equal(v, ended[n]) for n, v in trainer.teaching.network.state_dict().items())
            break
    assert not torch.equal(ended["conv_out.weight"], first["conv_out.weight"])


def test_the_loss_is_the_distance_from_two_of_the_samplers_steps(teacher, tmp_path):
    """The teacher's steps by ddim_path; v's error by hand. And a student that is its teacher has a loss of its own."""
    recipe = replace(PLAIN, loss="progressive", teacher=str(teacher), teacher_steps=8, student_steps=4, steps=9)
    (tmp_path / "run").mkdir()
    trainer = Trainer.start(recipe, tmp_path / "run")
    teaching, schedule = trainer.teaching, trainer.schedule
    teaching.begin(0, trainer.model, trainer.averaged)
    g = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 6, 1, 8, 8, generator=g)
    labels, t = torch.arange(6), torch.tensor([1, 12, 13, 26, 40, 50])
    tau, total = make_tau(50, 8), 0.0
    known = tau[::2]
    with torch.no_grad():
        for i, level in enumerate(t):
            k = int((known < level).sum())
            top, end = int(known[k]), int(known[k - 1])
            middle = int(tau[2 * k - 1])
            a = schedule.alpha_bar
            x = a[top].sqrt().float() * x_0[i : i + 1] + (1 - a[top]).sqrt().float() * eps[i : i + 1]
            said = as_eps(partial(teaching.network, labels=labels[i : i + 1]), "v", schedule)
            # ddim_path goes to 0: its first step is to the middle, then from there to the end
            one = next(ddim_path(said, x, schedule, [0, *([middle] if middle else []), top], clip=1.0)).x_s
            two = next(ddim_path(said, one, schedule, [0, *([end] if end else []), middle], clip=1.0)).x_s
            k_ = ((1 - a[end]) / (1 - a[top])).sqrt().float()
            target = (two - k_ * x) / (a[end].sqrt().float() - k_ * a[top].sqrt().float())
            v = (a[top].sqrt().float() * x - target) / (1 - a[top]).sqrt().float()
            total += (teaching.network(x, torch.tensor([top]), labels[i : i + 1]) - v).square().mean().item() / 6
    found = teaching.loss((trainer.model, trainer.averaged), x_0, t, eps, labels, 0).item()
    assert found == pytest.approx(total, rel=1e-2, abs=1e-7) and found > 0


def test_a_run_of_a_student_resumes_bit_for_bit(taught, tmp_path):
    _, whole, recipe = taught
    trainer = run(recipe, tmp_path / "run", n=5)  # within the second stage
    trainer.save()
    del trainer
    resumed = Trainer.resume(tmp_path / "run")
    for _ in resumed.run():
        pass
    ours, theirs = load(tmp_path / "run").network.state_dict(), load(whole).network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_resuming_opens_no_teacher(taught, tmp_path, monkeypatch):
    _, _, recipe = taught
    run(recipe, tmp_path / "run", n=4).save()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["recipe"]["teacher"] = "/nowhere/secret"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert Trainer.resume(tmp_path / "run").step == 4


def test_stages_do_not_move_on_resuming(taught, tmp_path):
    """Stages begin at steps 0, 3 ... of 9. In the last one, and there alone, the end may be another."""
    recipe = taught[2]
    (_, last) = (first for first, _ in stages(recipe))
    for done, steps in ((last, recipe.steps + 1), (last + 1, 3 * recipe.steps), (last - 1, recipe.steps + 1)):
        run(recipe, tmp_path / f"{done}", n=done).save()
        with pytest.raises(ValueError, match=f"steps 9 -> {steps}: at step {done} .*student"):
            Trainer.resume(tmp_path / f"{done}", recipe=replace(recipe, steps=steps))
    longer = Trainer.resume(tmp_path / f"{last + 1}", recipe=replace(recipe, steps=recipe.steps + 2))
    teacher = {name: value.clone() for name, value in longer.teaching.network.state_dict().items()}
    assert [record.step for record in longer.run()] == list(range(last + 2, recipe.steps + 3))
    assert all(torch.equal(value, teacher[name]) for name, value in longer.teaching.network.state_dict().items())
    with pytest.raises(ValueError, match=r"is finished.*--steps 13 goes on"):
        Trainer.resume(tmp_path / f"{last + 1}")
    Trainer.resume(tmp_path / f"{last + 1}", recipe=replace(recipe, steps=13))


def test_the_checkpoint_says_what_it_is_and_an_old_one_nothing(taught, teacher, tmp_path):
    trainer, folder, _ = taught
    assert load(folder).student == Student("progressive", 2, "teacher") and load(teacher).student is None
    assert trainer.samples(4).isfinite().all() and trainer.heldout_loss() > 0
    made = load(folder)
    how = {"prediction": "v", "recipe": made.recipe}
    for wrong in (
        {"taught": "progressive", "steps": 0, "teacher": "x"},
        {"steps": 1},
        {"taught": "sleep", "steps": 1, "teacher": "x"},
    ):
        save(tmp_path / "bad.safetensors", made.network.state_dict(), made.config, made.schedule, student=wrong, **how)
        with pytest.raises(CheckpointError, match="does not fit together"):
            load(tmp_path / "bad.safetensors")


def test_a_student_is_sampled_by_its_own_steps_only(taught, tmp_path, capsys):
    made = load(taught[1])
    assert made.sample(4).equal(made.sample(4, steps=2))
    wrong = "a student of teacher for 2 steps, and no noise predictor at other levels: give --steps 2"
    for options in ({"steps": 20}, {"steps": 1}, {"steps": 2, "eta": 1.0}, {"steps": 2, "spacing": "leading"},
                    {"steps": 2, "solver": "heun"}, {"steps": 2, "solver": "consistency"}):  # fmt: skip
        with pytest.raises(ValueError, match=wrong):
            Sampling(4, **options).check_with(made)
    with pytest.raises(CheckpointError, match="no path to follow"):
        made.with_paths()
    assert load("digits").with_paths()
    out = str(tmp_path / "grid.png")
    assert sample_command.main([str(taught[1]), "-n", "4", "--out", out]) == 0
    assert "S = 2" in capsys.readouterr().out
    assert sample_command.main([str(taught[1]), "-n", "4", "--steps", "20", "--out", out]) == 2
    said = capsys.readouterr().err
    assert wrong in said and said.strip().count("\n") == 0


def test_a_consistency_model_may_be_asked_again(teacher, tmp_path):
    recipe = replace(PLAIN, loss="consistency", teacher=str(teacher), teacher_steps=5, steps=2, save_every=2)
    run(recipe, tmp_path / "run")
    made = load(tmp_path / "run")
    assert made.student == Student("consistency", 1, "teacher")
    one, again = made.sample(4), made.sample(4, steps=3, solver="consistency")
    assert one.equal(made.sample(4, solver="consistency", steps=1)) and not one.equal(again)
    with pytest.raises(ValueError, match="give --steps 1 or --solver consistency"):
        made.sample(4, steps=3)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"prediction": "x0"}, "predicts v, and the student x0"),
        ({"unet": replace(PLAIN.unet, ch=16)}, "has unet.ch = 8, and the student 16"),
        ({"T": 60}, "another noise schedule"),
        ({"schedule": "linear"}, "another noise schedule"),
        ({"teacher": "nobody"}, "there is no checkpoint nobody"),
    ],
)
def test_teachers_that_do_not_fit(teacher, tmp_path, change, words):
    recipe = replace(PLAIN, loss="progressive", **{"teacher": str(teacher), **change})
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=words) as error:
        Trainer.start(recipe, tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_student_teaches_nobody_and_another_data_set_is_another_subject(taught, teacher, tmp_path):
    for change, words in (({"teacher": str(taught[1])}, "is a student itself"), ({"data": "x"}, "trained with data")):
        recipe = replace(PLAIN, loss="progressive", **{"teacher": str(teacher), **change})
        with pytest.raises(ValueError, match=words):
            Teaching(recipe, recipe.noise_schedule(), torch.nn.Linear(1, 1)).read_teacher(tmp_path)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"teacher": None}, "loss = progressive is of a student: name its --teacher"),
        ({"loss": "mse"}, "teacher = digits-v has no meaning for loss = mse"),
        ({"prediction": "eps"}, "prediction = eps: a student's first step"),
        ({"teacher_steps": 12}, "can't be halved"),
        ({"teacher_steps": 1}, "can't be halved"),
        ({"teacher_steps": 2048}, "give at most T = 1000"),
        ({"loss": "consistency", "student_steps": 2}, "goes with student_steps = 1"),
    ],
)
def test_recipes_of_students_that_make_no_sense(change, words):
    with pytest.raises(ValueError, match=words):
        replace(RECIPES["digits-distill"], **change)


def test_the_command_says_it_in_one_line(tmp_path, capsys):
    words = ["digits-distill", "--unet.ch", "16", "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert train_command.main(words) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "teacher digits" in said


def test_students_know_a_schedules_trailing_steps():
    for T in (1000, 50):
        for S in (1, 2, 4, 8):
            assert make_tau(T, 2 * S)[::2].equal(make_tau(T, S))
    assert NoiseSchedule.cosine().nsr[-1] > 1e4  # why students say v
