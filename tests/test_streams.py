"""Processes in the world: streams that are closed, full or unread, signals, environments of launchers, containers."""

from __future__ import annotations

import ast
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import torch
from PIL import Image

from ddim_edu.commands import options, train
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.files import at_home
from ddim_edu.processes import check_environment, pick_device, process_count
from ddim_edu.streams import Outlet, guarded, importing, nobody_reads, printable, say
from ddim_edu.training import machine
from ddim_edu.training.trainer import Trainer

PACKAGE = Path(options.__file__).parents[1]
SAMPLE = ["-m", "ddim_edu.sample", "digits", "-n", "2", "--steps", "1", "--device", "cpu", "--out", "out.png"]
TRAIN = (
    "-m ddim_edu.train digits --device cpu --threads 1 --batch 4 --unet.ch 8 --unet.groups 8 --log-every 1 "
    "--save-every 100000"
).split()
posix = pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")
SHIFTS = "ru_RU\x1b]0;owned\x07\u202e"  # a terminal's title, and text that runs backwards


def shell(words, how, folder, **environment):
    """A command with redirections, as a shell starts it."""
    line = " ".join(["exec", '"$0"', '"$@"', how])
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", **environment}
    call = ["sh", "-c", line, sys.executable, *words]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def step_of(run):
    return torch.load(run / "state.pt", weights_only=True)["step"]


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain é 漢字", "plain é 漢字"),
        ("a\nerror: forged", r"a\nerror: forged"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("\udcff.png", r"\udcff.png"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text, shown, capsys):
    assert printable(text) == shown
    say(text, "two", sep="\n")
    options.fail(ValueError(text))
    assert capsys.readouterr() == (f"{shown}\ntwo\n", f"error: {shown}\n")


def test_every_line_goes_through_say():
    """``print`` is for texts of our own: the usage of commands."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "streams.py" or "exercises" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                if not ("usage: " in ast.unparse(node) or path.name in ("__main__.py", "translate.py")):
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_a_name_in_an_error_forges_no_line(tmp_path, capsys):
    from ddim_edu.commands import sample

    assert sample.main([f"{tmp_path}/x\nerror: {SHIFTS}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error and "\u202e" not in error


@posix
@pytest.mark.parametrize(
    "how, code",
    [
        (">&-", 0),  # as asked for
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2>/dev/full", 0),  # nothing that was asked for is lost
        (">/dev/full", 2),
    ],
)
def test_streams_that_take_nothing(how, code, tmp_path):
    if "full" in how and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = shell(SAMPLE, how, tmp_path)
    assert done.returncode == code and (tmp_path / "out.png").stat().st_size > 100
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") == (code == 2)


@posix
def test_nobody_reads_what_a_command_says(tmp_path):
    process = subprocess.Popen(
        [sys.executable, *SAMPLE], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
    process.stderr.close()
    assert (tmp_path / "out.png").stat().st_size > 100


@posix
def test_an_encoding_that_can_not_hold_a_name(tmp_path):
    for encoding, name in (("ascii", "é.png"), ("latin1", "漢.png")):
        done = shell([*SAMPLE, "--out", name], "", tmp_path, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, "") and (tmp_path / name).exists()
        assert done.stdout.startswith(name.encode(encoding, "backslashreplace").decode() + ": 2 images")


@posix
def test_training_into_a_full_stream_goes_on_to_the_end(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = shell([*TRAIN, "--steps", "6", "--sample-every", "2", "--out", "run"], ">/dev/full 2>err", tmp_path)
    assert done.returncode == 2 and step_of(tmp_path / "run") == 6
    assert "error: the output can't be written (No space left on device)" in (tmp_path / "err").read_text()
    done = shell([*TRAIN, "--steps", "3", "--out", "closed"], ">&- 2>&-", tmp_path)
    assert done.returncode == 0 and step_of(tmp_path / "closed") == 3


@posix
def test_training_that_nobody_reads_any_more_saves_and_stops(tmp_path):
    """At 7e13358 the steps since the last checkpoint were lost."""
    words = [*TRAIN, "--steps", "100000", "--sample-every", "40", "--out", "run"]
    done = shell(words, "2>err | head -2", tmp_path)
    assert done.stdout.startswith("digits: ") and "\nrun: " in done.stdout and done.stdout.count("\n") == 2
    assert step_of(tmp_path / "run") == 40 and "Traceback" not in (tmp_path / "err").read_text()
    assert "stopped at step 40; to go on: python -m ddim_edu.train --resume run" in (tmp_path / "err").read_text()


@posix
@pytest.mark.parametrize("ignored", [False, True], ids=["a terminal that hangs up", "nohup"])
def test_a_hang_up(ignored, tmp_path):
    """It saves, though shell and system each send one; what ``nohup`` started goes on."""

    def before():
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    words = [sys.executable, *TRAIN, "--steps", "100000", "--sample-every", "100000", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "err", "w") as err:
        process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=err, stderr=err, preexec_fn=before)
    log = tmp_path / "run" / "log.csv"
    try:
        for _ in range(600):
            if process.poll() is not None or (log.exists() and log.read_text().count("\n") > 3):
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        if ignored:
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + (signal.SIGTERM if ignored else signal.SIGHUP)
    finally:
        process.kill()
    last = int(log.read_text().splitlines()[-1].split(",")[0])
    assert step_of(tmp_path / "run") == last > 2


def interrupted(words, begun, folder, **environment):
    """Ctrl-C for a command once ``begun(lines)`` is true of what it has printed: all its lines, and its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *words],  # a line for each module, by which one knows how far it is
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", **environment},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    with process:
        try:
            lines = [next(process.stdout)]
            while not begun(lines):
                lines.append(next(process.stdout))
            os.killpg(process.pid, signal.SIGINT)
            lines += process.stdout
            # If the exception came up through a text that was executed, Python ends by the signal: 130 to a shell.
            return lines, 130 if process.wait(60) == -signal.SIGINT else process.returncode
        finally:
            process.kill()


def said(lines):
    return [line for line in lines if not line.startswith("import time:")]


@posix
@pytest.mark.parametrize(
    "door, module",
    [("ddim_edu.evaluate", "torch.version"), ("ddim_edu", "torch.types"), ("ddim_edu.evaluate", "ddim_edu.processes")],
)
def test_ctrl_c_while_a_command_imports(door, module, tmp_path):
    """A traceback at 7e13358, or a library's that took the exception for an import that failed."""
    words = ["-m", door, "sample" if door == "ddim_edu" else "fid", "digits", "--out", "out.json"]
    lines, code = interrupted(words, lambda lines: lines[-1].endswith(f" {module}\n"), tmp_path)
    assert (said(lines), code) == ([], 130) and not list(tmp_path.iterdir())


def test_ctrl_c_is_what_it_was_after_the_imports():
    with importing():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for what a shell has put into the background
    try:
        with importing():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    thread = Thread(target=lambda: importing().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_ctrl_c_while_a_folder_is_decoded(tmp_path):
    """Nothing is left of the pixels, of the run, or of temporary files."""
    images, cache = tmp_path / "images", tmp_path / "cache"
    images.mkdir()
    Image.effect_noise((1500, 1500), 60).save(images / "0.png")
    for i in range(1, 1000):
        os.link(images / "0.png", images / f"{i}.png")

    def begun(lines):
        if not any("ddim_edu.commands.train\n" in line for line in lines):
            return False
        for _ in range(6000):
            if any(path.name.endswith(".pixels") for path in cache.glob("**/.*")):
                return True
            time.sleep(0.01)
        return pytest.fail("nothing is decoded")

    words = [*TRAIN, "--data", "images", "--unet.classes", "0", "--out", "run"]
    lines, code = interrupted(words, begun, tmp_path, DDIM_EDU_CACHE=str(cache))
    assert (said(lines), code) == ([], 130)
    assert not (tmp_path / "run").exists() and not list(cache.glob("**/*"))


@posix
@pytest.mark.parametrize("module", ["torch._dynamo.", "sympy"])
def test_ctrl_c_while_the_optimiser_is_made(module, tmp_path):
    """Torch then loads its compiler, for seconds. Nothing is left of the run."""

    def begun(lines):
        return module in lines[-1] and any("ddim_edu.commands.train\n" in line for line in lines)

    lines, code = interrupted([*TRAIN, "--out", "run"], begun, tmp_path)
    assert (said(lines), code) == ([], 130) and not (tmp_path / "run").exists()


def test_an_outlet_keeps_quiet_after_the_first_error():
    class Gone(io.StringIO):
        tries = 0

        def write(self, text):
            self.tries += 1
            raise BrokenPipeError

    gone = Gone()
    outlet = Outlet(gone)
    assert outlet.write("a") == 1 and outlet.write("b") == 1 and gone.tries == 1
    outlet.flush()
    assert isinstance(outlet.lost, BrokenPipeError) and Outlet(None).write("x") == 1
    closed = io.StringIO()
    closed.close()
    outlet = Outlet(closed)
    outlet.write("x")
    assert isinstance(outlet.lost, ValueError)


def test_a_guarded_program_asks_its_own_streams(monkeypatch):
    before = sys.stdout
    with guarded():
        assert isinstance(sys.stdout, Outlet) and not nobody_reads()
        inner = sys.stdout
        with guarded():
            assert sys.stdout is inner
        inner.lost = BrokenPipeError()
        assert nobody_reads() and options.ended(0) == 141 and options.ended(2) == 2
    assert sys.stdout is before


def test_help_in_a_terminal_of_five_columns(tmp_path):
    for columns in ("5", "1"):
        done = shell(["-m", "ddim_edu.sample", "--help"], "", tmp_path, COLUMNS=columns)
        assert done.returncode == 0 and "--spacing" in done.stdout


# Environments


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_of_a_launcher_is_none(value, monkeypatch, tmp_path):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, value)
    assert process_count() == 1 and machine.alone()
    pick_device("cpu")
    assert not {"WORLD_SIZE", "RANK", "LOCAL_RANK"} & {*os.environ}


@pytest.mark.parametrize(
    "name, value",
    [
        ("WORLD_SIZE", "two"),
        ("WORLD_SIZE", "0"),
        ("WORLD_SIZE", "4"),  # and no LOCAL_RANK: a quarter of the work would be done
        ("RANK", "-1"),
        ("OMPI_COMM_WORLD_SIZE", "2"),
        ("ACCELERATE_USE_FSDP", "true"),
        ("ACCELERATE_USE_DEEPSPEED", "1"),
        ("ACCELERATE_SOMETHING_NEW", "yes"),
    ],
)
def test_what_the_environment_must_not_say(name, value, monkeypatch, capsys):
    for other in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    assert train.main(["--steps", "1", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {name} = {value}") and error.count("\n") == 1


def test_what_accelerate_launch_sets_is_no_mistake(monkeypatch):
    for name, value in {
        "ACCELERATE_MIXED_PRECISION": "no",
        "ACCELERATE_USE_CPU": "False",
        "ACCELERATE_DYNAMO_BACKEND": "NO",
        "ACCELERATE_DYNAMO_MODE": "default",
        "ACCELERATE_CPU_AFFINITY": "1",
        "ACCELERATE_USE_FSDP": "false",
    }.items():
        monkeypatch.setenv(name, value)
    check_environment()


def test_the_environment_changes_no_weight(monkeypatch, tmp_path):
    """ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4 divided every gradient, and was recorded nowhere."""
    from ddim_edu.training.recipes import RECIPES, replace

    unet = replace(RECIPES["digits"].unet, ch=8)
    recipe = replace(RECIPES["digits"], unet=unet, steps=2, batch=4, sample_every=2, precision="float32")

    def gradient(folder):
        (tmp_path / folder).mkdir()
        trainer = Trainer.start(recipe, tmp_path / folder)
        trainer.train_step()
        return torch.cat([w.grad.flatten() for w in trainer.model.parameters()])

    plain = gradient("plain")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    assert torch.equal(gradient("with"), plain) and plain.norm() > 0


def test_fp16_without_a_gpu_is_refused_on_resuming_too(tmp_path, capsys):
    """A run that a GPU began: at 7e13358 it went on in float32, and was recorded as fp16."""
    words = ["--steps", "2", "--batch", "4", "--unet.ch", "8", "--unet.groups", "8", "--device", "cpu"]
    run = tmp_path / "run"
    assert train.main([*words, "--out", str(run)]) == 0
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace('"precision": "float32"', '"precision": "fp16"'))
    assert train.main(["--resume", str(run), "--steps", "4", "--device", "cpu"]) == 2
    assert "precision = fp16 needs a GPU" in capsys.readouterr().err
    (run / "config.json").write_text(config.replace('"precision": "float32"', '"precision": "int8"'))
    assert train.main(["--resume", str(run), "--steps", "4", "--device", "cpu"]) == 2
    assert train.main([*words, "--precision", "fp16", "--out", str(tmp_path / "new")]) == 2


def test_no_home(monkeypatch):
    """A container with a user id that nobody knows."""

    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("DDIM_EDU_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(ValueError, match="no home folder.*DDIM_EDU_CACHE"):
        default_cache_dir()
    with pytest.raises(ValueError, match="no such home folder"):
        at_home("~/x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="another user is for root")
def test_an_unknown_user_without_a_home_draws(tmp_path):
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:3]:
        if os.stat(folder).st_mode & 0o005 != 0o005:
            os.chmod(folder, 0o755)

    def other():
        os.setgid(54321)
        os.setuid(54321)

    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent)}
    how = {"cwd": tmp_path, "env": environment, "preexec_fn": other, "capture_output": True, "text": True}
    try:
        subprocess.run([sys.executable, "-c", "import ddim_edu"], check=True, **how)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("Python or the package can't be read by others here")
    done = subprocess.run([sys.executable, *SAMPLE], **how)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_compiling_without_a_compiler(monkeypatch, capsys):
    """``--compile on`` says it in one line, on a GPU too, where a small function is tried first."""
    from types import SimpleNamespace

    def no_compiler(*_, **__):
        def call(*_):
            raise RuntimeError("Failed to find C compiler. Please specify via CC.\nmore\nlines")

        return call

    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: None)
    network = SimpleNamespace(_compiled_call_impl=None)
    accelerator = SimpleNamespace(device=torch.device("cuda"), num_processes=1, is_main_process=True)
    recipe = SimpleNamespace(compile="on")
    with pytest.raises(ValueError, match="Failed to find C compiler. Please specify via CC.*--compile off") as error:
        machine.compiled(recipe, network, "float32", accelerator, 4)
    assert "\n" not in str(error.value)
    recipe.compile = "auto"
    assert machine.compiled(recipe, network, "float32", accelerator, 4) is False
    assert capsys.readouterr().err.startswith("not compiled, this machine can't (Failed to find C compiler")
