"""The commands, as a user meets them: what they make, what they print, and how they say no."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn.modules.module import register_module_forward_pre_hook

from ddim_edu.commands import sample, train
from ddim_edu.files import alone
from ddim_edu.models import load
from ddim_edu.models import save as save_model
from ddim_edu.nets.unet import UNet
from ddim_edu.sampling import Sampler
from ddim_edu.schedule import SPACINGS
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.run_folder import RunFolder

TINY = (
    "--unet.ch 8 --unet.groups 4 --unet.ch-mult 1 2 --unet.num-res-blocks 1 --unet.attn-resolutions 4 "
    "--batch 8 --T 40 --steps 4 --sample-every 2 --save-every 2 --log-every 1"
).split()  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder made by the command, with default naming."""
    before, folder = os.getcwd(), tmp_path_factory.mktemp("commands")
    os.chdir(folder)
    try:
        assert train.main(TINY) == 0
    finally:
        os.chdir(before)
    return folder / "runs" / "digits"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def refused(capsys, main, arguments, *says):
    """Exit code 2 and one line on stderr that holds the given words."""
    code, printed = main(arguments), capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed.err
    for word in says:
        assert str(word) in printed.err, printed.err


def test_training_leaves_a_run_folder(run):
    assert {p.name for p in run.iterdir()} == {
        "checkpoint.safetensors",
        "config.json",
        "log.csv",
        "samples",
        "samples.png",
        "state.pt",
    }
    assert {p.name for p in (run / "samples").iterdir()} == {"step_2.png", "step_4.png"}
    recipe = RunFolder(run).recipe()
    assert (recipe.T, recipe.unet.ch_mult, recipe.lr) == (40, (1, 2), RECIPES["digits"].lr)
    assert load(run).step == 4


def test_training_says_where_things_are_and_what_comes_next(capsys):
    assert train.main(["digits", *TINY, "--out", "here"]) == 0
    captured = capsys.readouterr()
    assert "loss " in captured.err and "images/s" in captured.err and "4/4" in captured.err  # the bar
    printed = captured.out
    for word in ("held-out", "here/samples.png", "here/checkpoint.safetensors", "python -m ddim_edu.sample here"):
        assert word in printed
    next_command = printed.strip().splitlines()[-1].split("ddim_edu.sample ")[1].split()
    assert sample.main(next_command) == 0


def test_nothing_is_overwritten(run, monkeypatch, capsys):
    monkeypatch.chdir(run.parent.parent)
    before = {p: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert train.main(TINY) == 0 and train.main(TINY) == 0
    assert sorted(p.name for p in run.parent.iterdir()) == ["digits", "digits-2", "digits-3"]
    assert before == {p: p.read_bytes() for p in before}
    capsys.readouterr()
    refused(capsys, train.main, [*TINY, "--out", str(run)], run, "not empty", "--resume")
    assert before == {p: p.read_bytes() for p in before}


def test_resuming_goes_on(run, capsys):
    arguments = ["--resume", str(run.parent / "copy"), "--steps", "6"]
    shutil.copytree(run, run.parent / "copy")
    assert train.main(arguments) == 0
    assert load(run.parent / "copy").step == 6 and RunFolder(run.parent / "copy").recipe().steps == 6
    capsys.readouterr()
    shutil.rmtree(run.parent / "copy")


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("digts", ["digts", "did you mean digits?"]),
        ("cifar", ["cifar", "digits"]),
        ("--stepz 5", ["--stepz", "did you mean --steps?"]),
        ("--unet.chanels 5", ["--unet.chanels"]),
        ("--batch_sise 5", ["--batch_sise", "--batch"]),
        ("--steps five", ["--steps five", "whole number"]),
        ("--steps 1.5", ["1.5", "whole number"]),
        ("--lr fast", ["--lr fast", "number"]),
        ("--steps", ["--steps"]),
        ("--steps 0", ["steps = 0"]),
        ("--lr -1", ["lr = -1"]),
        ("--schedule quadratic", ["quadratic", "cosine"]),
        ("--unet.groups 7", ["groups = 7"]),
        ("--unet.ch-mult 1 2 2 2 2", ["image_size = 8"]),
        ("--unet.image-channels 3", ["image_channels = 3", "1 x 8 x 8"]),
        ("--device tpu9", ["tpu9"]),
        ("digits digits", ["'digits'"]),
        ("--threads -1", ["threads = -1"]),
        ("--resume nowhere", ["nowhere"]),
        ("--resume", ["--resume"]),
    ],
)
def test_training_refuses(capsys, arguments, says):
    refused(capsys, train.main, arguments.split(), *says)
    assert not any(p.is_file() for p in Path(".").rglob("*"))


def test_folders_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    refused(capsys, train.main, ["--out", "file"], "file")
    refused(capsys, train.main, ["--out", "file/run"], "file")
    (tmp_path / "runs").write_text("")
    refused(capsys, train.main, [], "runs")
    if os.path.isdir("/proc/self"):
        refused(capsys, train.main, ["--out", "/proc/self/run"], "/proc/self/run")


def test_resuming_refuses(capsys, run):
    refused(capsys, train.main, ["--resume", str(run)], "finished", "--steps")
    refused(capsys, train.main, ["digits", "--resume", str(run)], "leave out 'digits'")
    refused(capsys, train.main, ["--resume", str(run), "--out", "x"], "--out x")
    refused(capsys, train.main, ["--resume", str(run), "--lr", "1"], "lr 0.004 -> 1.0")


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_a_run_is_trained_by_one_process(capsys, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with alone(run):
        refused(capsys, train.main, ["--resume", str(run), "--steps", "8"], "another process is at work in", run)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_loss_that_blows_up(capsys):
    assert train.main([*TINY, "--lr", "1e30", "--warmup", "0", "--out", "run"]) == 2
    *_, last = capsys.readouterr().err.splitlines()  # below the progress bar
    assert last.startswith("error: the ") and "training stopped" in last and "--lr" in last


@pytest.mark.parametrize("command", [train, sample])
def test_help_shows_options_and_defaults(capsys, command):
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    words = (
        ["--steps", "min-snr", "--unet.classes", str(RECIPES["digits"].lr), "digits"]
        if command is train
        else ["--eta", "DDIM", "trailing", "leading", "--spacing", "64", "hat", "off"]
    )
    assert all(word in printed for word in words)


def test_sampling_writes_the_picture_it_was_asked_for(capsys, run):
    assert (
        sample.main([str(run), "--steps", "5", "--eta", "0", "--spacing", "quadratic", "-n", "5", "--out", "a.png"])
        == 0
    )
    printed = capsys.readouterr().out
    for word in ("a.png", "5 images", "S = 5", "eta = 0", "quadratic", "images/s", "5 network calls"):
        assert word in printed
    assert Image.open("a.png").size == (3 * 58 + 2, 2 * 58 + 2)


@pytest.fixture
def levels():
    """What every U-Net is asked: the levels of each call, without repeats."""
    seen = []

    def note(module, given):
        if isinstance(module, UNet):
            seen.append(given[1].unique().tolist())

    hook = register_module_forward_pre_hook(note)
    yield seen
    hook.remove()


def test_sampling_starts_at_level_T(levels, run):
    assert sample.main([str(run), "--steps", "3", "-n", "2"]) == 0
    assert levels == [[40], [27], [13]]
    levels.clear()
    assert sample.main([str(run), "--steps", "3", "-n", "2", "--spacing", "leading"]) == 0
    assert levels == [[27], [14], [1]]


def test_the_grids_of_training_start_at_level_T(levels):
    assert train.main([*TINY, "--batch", "16", "--out", "here"]) == 0
    grids = [one[0] for one in levels if len(one) == 1]
    assert grids[-40:] == 2 * list(
        range(40, 0, -2)
    )  # 20 steps after every second of four; before them, trials of what fits


def test_an_image_depends_on_seed_and_index_only(run):
    def images(*more):
        options = sample.parse(
            sample.SampleOptions(), [str(run), "--steps", "4", "--eta", "1", *more], prog="", description=""
        )
        return Sampler(load(run), options.batch).draw_together(options)

    five = images("-n", "5")
    torch.testing.assert_close(images("-n", "5", "--batch", "2"), five, rtol=0, atol=1e-5)
    torch.testing.assert_close(images("-n", "3"), five[:3], rtol=0, atol=1e-5)
    other = images("-n", "5", "--seed", "1")
    assert torch.pdist(torch.cat([five, other]).flatten(1)).min() > 0.1


@pytest.mark.parametrize("eta, spacing", [("hat", "leading"), ("0.5", "quadratic-full"), *(("1", s) for s in SPACINGS)])
def test_every_eta_and_spacing_is_accepted(run, eta, spacing):
    assert sample.main([str(run), "--steps", "3", "--eta", eta, "--spacing", spacing, "-n", "1", "--clip", "1"]) == 0
    assert np.asarray(Image.open("samples.png")).std() > 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("", ["which model"]),
        ("nothing", ["nothing", "ddim_edu.train"]),
        ("RUN --steps 0", ["steps = 0", "at least 1"]),
        ("RUN --steps 41", ["S = 41", "40"]),
        ("RUN --steps few", ["--steps few"]),
        ("RUN --eta -1", ["eta = -1"]),
        ("RUN --eta 7", ["eta = 7", "at most 1\n"]),
        ("RUN --eta nan", ["eta = nan"]),
        ("RUN --eta big", ["--eta big: give FLOAT|{hat}"]),
        ("RUN --spacing even", ["even", "leading"]),
        ("RUN -n 0", ["n = 0"]),
        ("RUN --batch 0", ["batch = 0"]),
        ("RUN --seed -1", ["seed = -1"]),
        ("RUN --clip 0", ["clip = 0"]),
        ("RUN --clip on", ["on"]),
        ("RUN --out no/such/folder/a.png", ["no/such/folder"]),
        ("RUN --out a.txt", ["a.txt", ".png"]),
        ("RUN --out .", [".png"]),
        ("RUN --device tpu9", ["tpu9"]),
        ("RUN --etta 0", ["--etta", "did you mean --eta?"]),
        ("RUN more", ["more"]),
    ],
)
def test_sampling_refuses(capsys, run, monkeypatch, arguments, says):
    monkeypatch.setattr(Sampler, "draw", lambda *_: pytest.fail("it began to work"))
    refused(capsys, sample.main, [str(run) if word == "RUN" else word for word in arguments.split()], *says)


def test_sampling_refuses_what_is_no_checkpoint(capsys, run):
    content = (run / "checkpoint.safetensors").read_bytes()
    open("cut.safetensors", "wb").write(content[:-100])
    refused(capsys, sample.main, ["cut.safetensors"], "cut.safetensors", "cut short")
    save_file({"w": torch.zeros(1)}, "foreign.safetensors")
    refused(capsys, sample.main, ["foreign.safetensors"], "not a checkpoint of ddim_edu")


def python(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_exit_codes_of_the_real_commands():
    processes = [python("ddim_edu.train", "digts"), python("ddim_edu.sample", "nothing")]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_ctrl_c_keeps_what_was_done(tmp_path):
    process = python(
        "ddim_edu.train",
        *TINY,
        "--steps",
        "100000",
        "--save-every",
        "100000",
        "--sample-every",
        "100000",
        "--out",
        "run",
    )
    log, deadline = tmp_path / "run" / "log.csv", time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "--resume run" in err
    step = load("run").step
    assert step >= 3
    assert train.main(["--resume", "run", "--steps", str(step + 2)]) == 0
    assert load("run").step == step + 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["T"] == 40


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a signal")
def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    """SIGKILL at some moment; what the resumed run ends with is what a run that was left alone ends with."""
    # Checkpoints at every second step: the kill falls into the writing of one as likely as not.
    arguments = [
        *TINY,
        "--steps",
        "40",
        "--sample-every",
        "20",
        "--threads",
        "1",
        "--unet.dropout",
        "0.1",
        "--device",
        "cpu",
    ]
    process = python("ddim_edu.train", *arguments, "--out", "killed")
    checkpoint, deadline = tmp_path / "killed" / "state.pt", time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    step = load("killed").step  # whole, whenever the kill came
    assert 2 <= step < 40
    assert train.main(["--resume", "killed", "--threads", "1", "--device", "cpu"]) == 0
    assert train.main([*arguments, "--out", "whole"]) == 0
    killed, whole = (load(name).network.state_dict() for name in ("killed", "whole"))
    assert all(torch.equal(killed[name], value) for name, value in whole.items())
    logs = [
        [line.split(",")[:4] for line in (tmp_path / name / "log.csv").read_text().splitlines()]
        for name in ("killed", "whole")
    ]
    assert logs[0] == logs[1]


def test_a_disk_that_is_full(capsys, tmp_path, full_disk):
    assert train.main([*TINY, "--out", "run"]) == 0
    names = "checkpoint.safetensors", "state.pt"
    for name in names:
        before = {name: (tmp_path / "run" / name).read_bytes() for name in names}
        capsys.readouterr()
        with full_disk(len(before[name]) - 1000):
            assert train.main(["--resume", "run", "--steps", "8", "--sample-every", "100"]) == 2
        err = capsys.readouterr().err
        assert re.search(rf"^error: \[Errno \d+\] .*: 'run/{name}'$", err, flags=re.MULTILINE), err
        assert (tmp_path / "run" / name).read_bytes() == before[name]
        assert not [path.name for path in (tmp_path / "run").iterdir() if ".tmp" in path.name]
    assert train.main(["--resume", "run", "--steps", "8"]) == 0


def test_out_of_memory_says_what_to_lower(capsys, monkeypatch):
    def out_of_memory(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr("ddim_edu.training.trainer.Trainer.train_step", out_of_memory)
    assert train.main([*TINY, "--out", "run", "--threads", "1"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        last.startswith("error: out of memory")
        and "--accumulate" in last
        and "--precision bf16" in last
        and "batch = 8" in last
    )


def test_a_gpu_that_is_not_there(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    refused(capsys, train.main, [*TINY, "--device", "cuda"], "'cuda' is not usable here")
    assert not Path("runs").exists()


def test_a_class_can_be_asked_for(capsys, run):
    assert train.main([*TINY, "--unet.classes", "0", "--out", "plain"]) == 0
    capsys.readouterr()
    refused(capsys, sample.main, ["plain", "--label", "1"], "label = 1", "no classes")
    refused(capsys, sample.main, [str(run), "--label", "10"], "label = 10", "0..9")
    model, generator = (
        load(run),
        torch.Generator().manual_seed(0),
    )  # four steps of training have not told the classes apart
    weights = {name: torch.randn(w.shape, generator=generator) * 0.1 for name, w in model.network.state_dict().items()}
    save_model("random.safetensors", weights, model.config, model.schedule)
    pictures = []
    for label in (["--label", "any"], ["--label", "1"], ["--label", "2"]):
        assert sample.main(["random.safetensors", "-n", "2", "--steps", "4", *label]) == 0
        pictures.append(np.asarray(Image.open("samples.png")))
    assert all(not np.array_equal(pictures[i], pictures[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_classes_are_drawn_in_turn(run):
    model, generator = load(run), torch.Generator().manual_seed(0)
    weights = {name: torch.randn(w.shape, generator=generator) * 0.1 for name, w in model.network.state_dict().items()}
    save_model("random.safetensors", weights, model.config, model.schedule)
    model = load("random.safetensors")
    turn = model.sample(12, steps=2, batch=5)
    for i in (0, 3, 11):
        torch.testing.assert_close(model.sample(12, steps=2, label=i % 10)[i], turn[i], rtol=0, atol=1e-5)
    assert not torch.allclose(model.sample(12, steps=2, label="any"), turn, atol=1e-3)
