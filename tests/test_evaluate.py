"""Measuring: the numbers are right, the protocol is whole, and a killed command goes on where it was."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ddim_edu.commands import evaluate
from ddim_edu.data.pictures import from_text, from_uint8, to_text, to_uint8
from ddim_edu.files import alone, sha256_of
from ddim_edu.measuring import fid
from ddim_edu.measuring.features import Features, inception, small
from ddim_edu.measuring.reconstruction import power_law_exponent, reconstruct
from ddim_edu.measuring.reference import (
    Parts,
    Statistics,
    read_statistics,
    real_images,
    reference_images,
    reference_of,
    statistics_of,
    write_statistics,
)
from ddim_edu.measuring.result import ResultFile, differences, read_result
from ddim_edu.models import load, save
from ddim_edu.nets.unet import UNet
from ddim_edu.randomness import image_generators
from ddim_edu.sampler import sample
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import make_tau
from ddim_edu.training.recipes import RECIPES, recipe_to_dict


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A checkpoint of an untrained digits network: small, and with an output that is not 0."""
    recipe = RECIPES["digits"]
    net = replace(recipe.unet, ch=8, groups=4)
    torch.manual_seed(0)
    weights = UNet(net).state_dict()
    weights = {name: w + 0.05 * torch.randn_like(w) for name, w in weights.items()}
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save(path, weights, net, replace(recipe, T=50).noise_schedule(), recipe=recipe_to_dict(recipe))
    return path


@pytest.fixture(scope="module")
def classifier():
    return small("digits")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DDIM_EDU_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def run(*words):
    return evaluate.main([str(w) for w in words])


def fid_of(path, out, *words):
    assert run("fid", path, "--out", out, "--device", "cpu", "--steps", 3, "-n", 150, "--batch", 64, *words) == 0
    return json.loads(out.read_text())


# ---------------------------------------------------------------- the numbers


def test_pictures_are_rounded_as_saved():
    x = torch.tensor([-3.0, -1.0, -0.999, 0.0, 1 / 127.5, 1.0, 2.0])
    assert to_uint8(x).tolist() == [0, 0, 0, 128, 128, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every)


def test_pictures_as_text():
    pixels = torch.randint(256, (4, 3, 6, 5), dtype=torch.uint8).transpose(2, 3)
    text = to_text(from_uint8(pixels))
    assert base64.b64decode(text)[:6] == bytes(pixels[0, 0].flatten().tolist())[:6]
    assert torch.equal(to_uint8(from_text(text, 3, 5, 6)), pixels)
    with pytest.raises(ValueError, match="whole number"):
        from_text(text, 3, 5, 7)


def test_a_set_against_itself_is_at_no_distance(classifier, tmp_path):
    images = reference_images(load("digits"), "train")
    reference = reference_of(images, "train", classifier, tmp_path)
    assert fid.distance(statistics_of(reference.features), reference.statistics, classifier) < 1e-3


def test_both_frechet_distances_are_one_formula():
    """torch-fidelity's, used for FID, and this package's."""
    pytest.importorskip("torch_fidelity")
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(20, 20, generator=g)
    a = statistics_of(torch.randn(500, 20, generator=g) @ mixing)
    b = statistics_of(torch.randn(500, 20, generator=g) @ mixing.T + 0.3)
    found = [fid.distance(a, b, Features(name, "", 20, 0, lambda x: x)) for name in ("inception", "classifier-x")]
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0] > 1


def test_the_images_are_those_of_the_sampler(tiny):
    """Whatever the batch: 3 steps of image 5 to 11, drawn by hand."""
    model = load(tiny)
    sampling = Sampling(n=20, steps=3, eta=0.5, seed=7)
    labels = torch.arange(5, 12) % 10
    x = sample(
        model.eps_theta(labels),
        (7, 1, 8, 8),
        model.schedule,
        make_tau(50, 3),
        eta=0.5,
        clip=1.0,
        generator=image_generators(7, 5, 12),
    )
    for batch in (3, 100):
        difference = Sampler(model, batch).draw(sampling, 5, 12) - x
        assert difference.abs().max() <= 1e-5  # convolutions of other batch sizes may round otherwise


def test_what_is_measured_starts_at_level_T(tiny):
    """By default, the network is first asked at T. Tables of published numbers keep the spacing that they name."""
    model, seen = load(tiny), []
    model.model.register_forward_pre_hook(lambda _, given: seen.append(given[1].unique().tolist()))
    sampler = Sampler(model, 4)
    sampler.draw(Sampling(n=4, steps=3))
    assert seen == [[t] for t in make_tau(50, 3, "trailing")[1:].flip(0).tolist()] and seen[0] == [50]
    seen.clear()
    list(reconstruct(sampler, reference_images(model, "test")[:4], [3], top=40))
    assert max(seen) == seen[3] == [40]  # three calls on the way up, and the first on the way down
    assert evaluate.FidOptions().spacing == evaluate.ReconstructionOptions().spacing == "trailing"
    assert evaluate.Table1Options().spacings == ("quadratic",)


def test_reconstruction_by_hand(tiny):
    """x_0 to x_T and back with the step written out."""
    model = load(tiny)
    images = reference_images(model, "test")[:9]
    (row,) = reconstruct(Sampler(model, 4), images, [4])
    abar, tau = model.schedule.alpha_bar, [0, *make_tau(50, 4)[1:].tolist()]
    x_0 = images.float() / 127.5 - 1
    x = x_0

    def move(x, level, t, s):
        eps = model.model(x, torch.full((len(x),), level))
        x0_hat = (x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()
        return (abar[s].sqrt() * x0_hat + (1 - abar[s]).sqrt() * eps).float()

    for t, s in zip(tau[:-1], tau[1:]):
        x = move(x, max(t, 1), t, s)
    for t, s in zip(tau[:0:-1], tau[-2::-1]):
        x = move(x, t, t, s)
    errors = ((x - x_0) / 2).double().square().mean((1, 2, 3))
    assert row["error"] == pytest.approx(errors.mean().item(), rel=1e-3)
    assert row["standard_error"] == pytest.approx(errors.std().item() / 3, rel=1e-3)
    assert row["median"] == pytest.approx(sorted(errors.tolist())[4], rel=1e-3)


def test_power_law():
    p, se = power_law_exponent([10, 20, 50, 100], [3 / S**2 for S in (10, 20, 50, 100)])
    assert p == pytest.approx(2) and se < 1e-6
    p, se = power_law_exponent([1, 2, 4], [8.0, 3.0, 2.0])
    x, y = np.log([1, 2, 4]), np.log([8, 3, 2])
    assert p == pytest.approx(-np.polyfit(x, y, 1)[0])
    with pytest.raises(ValueError, match="needs three"):
        power_law_exponent([1, 2], [1.0, 0.5])


# ---------------------------------------------------------------- results, and going on


def test_the_result_says_how_it_was_measured(tiny, tmp_path, capsys):
    result = fid_of(tiny, tmp_path / "r.json", "--eta", 0.5, "--spacing", "quadratic", "--seed", 3)
    assert result["protocol"]["sampling"] == {
        "n": 150, "steps": 3, "eta": 0.5, "spacing": "quadratic", "clip": 1.0, "seed": 3, "label": "turn",
    }  # fmt: skip
    assert result["protocol"]["features"]["name"] == "classifier-digits" and len(result["model"]["sha256"]) == 64
    assert result["protocol"]["reference"]["images"] == 1597 and result["estimate"] is True
    assert set(result["result"]) == {
        "classifier_distance", "kernel_distance", "kernel_distance_standard_error", "precision", "recall",
    }  # fmt: skip
    assert "fid" not in result["result"]
    assert result["cost"]["network_calls_per_image"] == 3 and result["cost"]["images_drawn"] == 150
    captured = capsys.readouterr()
    assert "not FID" in captured.out and "estimate" in captured.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json"]


class Killed(BaseException):
    pass


def test_a_killed_command_goes_on(tiny, tmp_path, monkeypatch):
    """The second call draws only what is missing, and finds what one call would have found."""
    monkeypatch.setattr(Parts, "SIZE", 40)
    whole = fid_of(tiny, tmp_path / "whole.json")
    real, drawn = Sampler.draw, []

    def dies(self, sampling, start, stop):
        if len(drawn) == 2:
            raise Killed
        drawn.append(start)
        return real(self, sampling, start, stop)

    monkeypatch.setattr(Sampler, "draw", dies)
    with pytest.raises(Killed):
        fid_of(tiny, tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists() and (tmp_path / "r.json.parts").is_dir()
    monkeypatch.setattr(Sampler, "draw", real)
    assert (
        run("fid", tiny, "--out", tmp_path / "r.json", "--device", "cpu", "--steps", 4, "-n", 150) == 2
    )  # another protocol
    result = fid_of(tiny, tmp_path / "r.json")
    assert result["cost"]["images_drawn"] == 70 and result["result"] == whole["result"]


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_one_result_is_measured_by_one_command(tiny, tmp_path, capsys):
    out = tmp_path / "r.json"
    with alone(tmp_path / "r.json.parts"):
        for name in ("fid", "table1", "table2"):
            capsys.readouterr()
            assert run(name, tiny, "--out", out, "--device", "cpu", "--steps", 2, "-n", 20) == 2
            printed = capsys.readouterr()
            assert (
                printed.out == ""
                and printed.err.startswith("error: another process is at work in")
                and printed.err.count("\n") == 1
            )
        assert run("fid", tiny, "--out", tmp_path / "other.json", "--device", "cpu", "--steps", 2, "-n", 20) == 0


def test_several_processes_find_the_same(tiny, tmp_path):
    one = fid_of(tiny, tmp_path / "one.json")
    words = ["fid", tiny, "--out", tmp_path / "two.json", "--device", "cpu", "--steps", 3, "-n", 150, "--batch", 64]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "ddim_edu.evaluate",
    ]
    root = Path(__file__).parent.parent
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    code = (
        "import sys, ddim_edu.measuring.reference as f, ddim_edu.evaluate as e; f.Parts.SIZE = 40; sys.exit(e.main())"
    )
    script = tmp_path / "small_parts.py"
    script.write_text(code)
    command[-2:] = [str(script)]
    done = subprocess.run([*command, *map(str, words)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["cost"]["processes"] == 2 and done.stdout.count("not FID)") == 1
    for name, value in one["result"].items():
        assert two["result"][name] == pytest.approx(value, rel=1e-4), name


def test_table1_goes_on_cell_by_cell(tiny, tmp_path, monkeypatch, capsys):
    out = tmp_path / "t.json"
    words = ["table1", tiny, "--out", out, "--device", "cpu", "-n", 70, "--seeds", 2]
    words += ["--steps", 2, 3, "--etas", 0, "hat", "--spacings", "leading", "quadratic"]
    measured, real, most = [], fid.measure, 5

    def counted(sampler, sampling, *args, **kwargs):
        if len(measured) == most:
            raise Killed
        assert not list((tmp_path / "t.json.parts").iterdir())  # features of 25 cells would fill a disk
        measured.append((sampling.spacing, sampling.steps, sampling.eta, sampling.seed))
        return real(sampler, sampling, *args, **kwargs)

    monkeypatch.setattr(evaluate, "measure", counted)
    with pytest.raises(Killed):
        run(*words)
    assert len(json.loads(out.read_text())["rows"]) == 5
    first, measured[:], most = list(measured), [], 100
    assert run(*words) == 0
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 16 and len(measured) == 11 and not set(first) & set(measured)
    assert (
        json.loads(out.read_text())["command"].startswith("python -m ddim_edu.evaluate table1")
        and "&&" not in out.read_text()
    )
    assert {(r["spacing"], r["steps"], r["eta"], r["seed"]) for r in rows} == {*first, *measured}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.png"]
    lone = Sampling(n=70, steps=3, eta="hat", spacing="quadratic", seed=1)
    reference = reference_of(reference_images(load(tiny), "train"), "digits train", small("digits"), tmp_path / "ref")
    again = real(Sampler(load(tiny), 250), lone, small("digits"), reference, tmp_path / "parts")
    (row,) = [r for r in rows if (r["spacing"], r["steps"], r["eta"], r["seed"]) == ("quadratic", 3, "hat", 1)]
    assert row["value"] == pytest.approx(again["result"]["classifier_distance"], rel=1e-6)
    text = capsys.readouterr().out
    assert "quadratic" in text and "eta = hat" in text and "estimate" in text
    words[words.index("-n") + 1] = 71
    assert run(*words) == 2
    assert "measured otherwise (protocol.n: 70 against 71)" in capsys.readouterr().err


def test_table2_shows_the_paper_beside(tiny, tmp_path, capsys):
    out = tmp_path / "t.json"
    words = ["table2", tiny, "--out", out, "--device", "cpu", "-n", 20, "--top", 45]
    assert run(*words, "--steps", 20, 10) == 0
    printed = capsys.readouterr().out
    assert "0.014" in printed and "median" in printed
    before = json.loads(out.read_text())
    assert [row["steps"] for row in before["rows"]] == [10, 20]
    assert run(*words, "--steps", 5, 20) == 0  # 20 is there already
    after = json.loads(out.read_text())
    assert [row["steps"] for row in after["rows"]] == [5, 10, 20] and after["rows"][1:] == before["rows"]
    first, second = after["command"].split(" && ")  # neither makes all rows
    assert first == before["command"] and "--steps 5 20" in second
    assert run(*words, "--steps", 5, 10, 20) == 0
    assert (
        json.loads(out.read_text())["command"].count("--steps 5 10 20") == 1
        and "&&" not in json.loads(out.read_text())["command"]
    )
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_steps_by_default_end_at_the_highest_level(tiny, tmp_path, capsys):
    out = tmp_path / "t.json"
    words = ["table2", tiny, "--out", out, "--device", "cpu", "-n", 4, "--top", 45]
    assert run(*words) == 0
    assert [row["steps"] for row in json.loads(out.read_text())["rows"]] == [10, 20, 45]
    assert run(*words, "--steps", 10, 50) == 2  # what was asked for is never replaced
    assert "45" in capsys.readouterr().err


def test_results_of_different_protocols_do_not_compare(tiny, tmp_path, capsys):
    fid_of(tiny, tmp_path / "a.json")
    shutil.copy(tmp_path / "a.json", tmp_path / "b.json")
    assert run("compare", tmp_path / "a.json", tmp_path / "b.json") == 0
    assert "warning" not in capsys.readouterr().err.replace("warning: 150", "")
    fid_of(tiny, tmp_path / "c.json", "--seed", 1)
    capsys.readouterr()
    assert run("compare", tmp_path / "a.json", tmp_path / "c.json") == 0
    assert "don't compare: sampling.seed: 0 against 1" in capsys.readouterr().err
    old = json.loads((tmp_path / "a.json").read_text()) | {"format": 0}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert run("compare", tmp_path / "a.json", tmp_path / "old.json") == 2
    assert "has format 0" in capsys.readouterr().err


def test_the_command_of_a_result_can_be_run_again(tiny, tmp_path):
    """Also where names have blanks, and where shells would read more than a name."""
    folder = tmp_path / "my results; $HOME"
    folder.mkdir()
    (folder / "my model").mkdir()
    model = shutil.copy(tiny, folder / "my model" / "it's mine.safetensors")
    result = fid_of(model, folder / "r 1.json", "--clip", "off", "--label", 3)
    python, *words = shlex.split(result["command"])
    assert (python, *words[:3]) == ("python", "-m", "ddim_edu.evaluate", "fid") and str(model) in words
    (folder / "r 1.json").unlink()
    assert run(*words[2:]) == 0
    again = json.loads((folder / "r 1.json").read_text())
    assert again["command"] == result["command"] and again["protocol"] == result["protocol"]
    assert again["result"] == pytest.approx(result["result"], rel=1e-4)  # batches of another size
    shell = subprocess.run(["sh", "-c", f'printf "%s\\n" {result["command"]}'], capture_output=True, text=True)
    assert shell.stdout.splitlines() == [python, *words]


def test_another_solver_is_another_protocol(tiny, tmp_path, capsys):
    result = fid_of(tiny, tmp_path / "r.json", "--solver", "heun")
    assert result["protocol"]["sampling"]["solver"] == "heun" and " --solver heun" in result["command"]
    assert result["cost"]["network_calls_per_image"] > 3 and "solver heun" in capsys.readouterr().out
    assert run("fid", tiny, "--out", tmp_path / "r.json", "--device", "cpu", "--steps", 3, "-n", 150) == 2
    assert "protocol.sampling.solver: heun against None" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["table1_digits", "table2_digits"])
def test_tables_of_older_versions_are_gone_on_with(name, tmp_path, monkeypatch):
    """A file of results/ holds all rows that are asked for: none is measured again, and only the command is new."""
    out = tmp_path / f"{name}.json"
    shutil.copy(ROOT / "results" / f"{name}.json", out)
    before = json.loads(out.read_text())
    monkeypatch.setattr(evaluate, "measure", lambda *_, **__: pytest.fail("measured again"))
    monkeypatch.setattr(Sampler, "eps_theta", lambda *_, **__: pytest.fail("measured again"))
    for command in before["command"].split(" && "):
        words = shlex.split(command)[3:]
        words[words.index("--out") + 1] = str(out)
        assert run(*words, "--device", "cpu") == 0
    after = json.loads(out.read_text())
    assert after["rows"] == before["rows"] and after["protocol"] == before["protocol"]
    assert all(f" --out {out} " in one for one in after["command"].split(" && ")[-1:])


def test_parts_of_older_versions_are_gone_on_with(tiny, classifier, tmp_path):
    """What a folder of parts says, and where features of real images lie, is as it was."""
    model = load(tiny)
    images = reference_images(model, "test")
    reference = reference_of(images, "digits test", classifier, tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    about = reference.about
    assert kept.name == f"{about['sha256'][:16]}-{classifier.sha256[:16]}"
    assert json.loads((kept / "protocol.json").read_text()) == {
        "name": "digits test", "images": 200, "sha256": about["sha256"], "features": classifier.sha256,
    }  # fmt: skip
    assert [path.name for path in kept.glob("*.npy")] == ["0000000-0000200.npy"]
    fid.measure(Sampler(model, 50), Sampling(n=70, steps=2), classifier, reference, tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / "protocol.json").read_text()) == {
        "model": {"checkpoint": "tiny", "sha256": sha256_of(tiny), "step": 0, "data": "digits"},
        "sampling": {
            "n": 70, "steps": 2, "eta": 0.0, "spacing": "trailing", "clip": 1.0, "seed": 0, "label": "turn",
        },
        "precision": "float32",
        "noise": "generators on cpu, one for each image",
        "images": "clipped to [-1, 1], rounded to 8 bits",
        "features": {"name": "classifier-digits", "sha256": classifier.sha256, "size": 64},
        "reference": about,
    }  # fmt: skip


TABLE2 = "python -m ddim_edu.evaluate table2"


def commands_of_table(path, command, wanted):
    """What a table of the rows ``wanted`` says of its commands, after one more."""
    file = ResultFile(path, "table2", command)
    file.begin({"kind": "table2", "format": 1, "model": None, "protocol": {"n": 1}})
    for key in file.missing([{"steps": S} for S in wanted]):
        file.add({**key, "error": 0.0, "standard_error": None}, sort_by="steps")
    file.write(file.table)
    return read_result(path)["command"]


def test_a_table_names_all_commands_that_made_its_rows(tmp_path):
    """One that makes all rows stands alone; blanks and && in names join nothing."""
    commands = partial(commands_of_table, tmp_path / "t.json")
    one, two, other, all_rows = (f"{TABLE2} {words}" for words in ("one", "two 'a && b'", "b", "all"))
    assert commands(one, [10, 5]) == one
    assert commands(two, [20]) == f"{one} && {two}"
    assert commands(two, [20]) == f"{one} && {two}"
    assert commands(one, [5, 10]) == f"{one} && {two}"
    assert commands(other, [20]) == f"{one} && {two} && {other}"
    assert [row["steps"] for row in read_result(tmp_path / "t.json")["rows"]] == [5, 10, 20]
    assert commands(all_rows, [5, 10, 20]) == all_rows


@pytest.mark.parametrize(
    "before",
    [
        "touch pwned",
        f"{TABLE2} a; touch pwned",
        f"{TABLE2} a && touch pwned",
        f"touch pwned && {TABLE2} a",
        f"{TABLE2} a | sh",
        f"{TABLE2} a & touch pwned",
        f"{TABLE2} a\ntouch pwned",
        f"{TABLE2} a > pwned",
        f"{TABLE2} $(touch pwned)",
        f"{TABLE2} 'a",
        f"{TABLE2} a &&",
        f"{TABLE2} a 'x\x1b[2J'",
        "",
        "python -m ddim_edu.evaluate table1 a",
        "python -m ddim_edu.conformance pwned.py",
        "python -m ddim_edu.evaluate_pwned table2 a",
    ],
)
def test_the_command_of_a_stranger_is_not_gone_on_with(before, tmp_path):
    """It would stand in front of ours, joined by &&, and be run by who pastes both."""
    path = tmp_path / "t.json"
    commands_of_table(path, f"{TABLE2} a", [5])
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": before}))
    stored = path.read_bytes()
    with pytest.raises(ValueError, match=r"t.json names a command that is not .* table2 alone: choose another --out"):
        commands_of_table(path, f"{TABLE2} b", [10])
    assert path.read_bytes() == stored


def test_the_command_of_a_stranger_is_quoted_anew(tmp_path):
    """What a shell would expand, or run, within a word is a plain word in what is written."""
    path, names = tmp_path / "t.json", ["`touch", "pwned`", "$HOME", "~", "*", "{a,b}", "!x", "a'b", "#c"]
    commands_of_table(path, f"{TABLE2} a", [5])
    before = f"{TABLE2} `touch pwned` $HOME ~ * {{a,b}} !x a\\'b #c"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": before}))
    after = commands_of_table(path, f"{TABLE2} b", [10])
    assert after == f"{shlex.join([*TABLE2.split(), *names])} && {TABLE2} b"
    line = after.replace(TABLE2, "printf '%s\\n'")
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [*names, "b"] and [file.name for file in tmp_path.iterdir()] == ["t.json"]


def test_a_hostile_command_is_one_line_and_exit_code_2(tiny, tmp_path, capsys):
    out = tmp_path / "t.json"
    words = ["table2", tiny, "--out", out, "-n", 3, "--device", "cpu", "--steps"]
    assert run(*words, 1) == 0
    out.write_text(json.dumps({**json.loads(out.read_text()), "command": "touch pwned"}))
    capsys.readouterr()
    assert run(*words, 2) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out} names a command that is not ") and said.count("\n") == 1


def test_differences():
    one = {"a": 1, "b": {"c": 2, "d": [1]}}
    assert differences(one, json.loads(json.dumps(one))) == []
    assert differences(one, {"a": 1, "b": {"c": 3, "d": [1]}, "e": 4}) == ["b.c: 2 against 3", "e: None against 4"]


# ---------------------------------------------------------------- images with no model


def images_of(out, *words):
    assert run("images", "digits", "--out", out, "--device", "cpu", *words) == 0
    return json.loads(out.read_text())


def test_images_against_themselves_and_the_other_part(tmp_path, classifier, capsys):
    same = images_of(tmp_path / "same.json", "--part", "train", "--reference", "train")
    assert same["result"]["classifier_distance"] < 1e-3 and same["protocol"]["sampling"]["n"] == 1597
    assert same["result"]["precision"] == same["result"]["recall"] == 1
    assert "not FID" in capsys.readouterr().out and same["model"] is None
    other = images_of(tmp_path / "other.json")
    train, test = (classifier.compute(real_images("digits", part)) for part in ("train", "test"))
    by_hand = fid.distance(statistics_of(test), statistics_of(train), classifier)
    assert other["result"]["classifier_distance"] == pytest.approx(by_hand, rel=1e-4)
    assert other["command"] == f"python -m ddim_edu.evaluate images digits --out {tmp_path / 'other.json'}"


def test_more_images_later_compute_only_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Parts, "SIZE", 50)
    real, computed = Features.in_batches, []

    def counted(features, images, batch):
        computed.append(len(images))
        return real(features, images, batch)

    monkeypatch.setattr(Features, "in_batches", counted)
    words = ["--cache-dir", tmp_path / "cache", "--seed", 3]
    few = images_of(tmp_path / "r.json", "-n", 100, *words)
    assert sum(computed) == 1597 + 100
    computed.clear()
    more = images_of(tmp_path / "r.json", "-n", 150, 100, 0, *words)
    assert sum(computed) == 100
    assert [row["n"] for row in more["by_n"]] == [100, 150, 200] and more["by_n"][0] == few["by_n"][0]
    values = [row["classifier_distance"] for row in more["by_n"]]
    assert values[0] > values[1] > values[2] == more["result"]["classifier_distance"]
    assert images_of(tmp_path / "s.json", "-n", 100, *words[:-1], 4)["by_n"] != few["by_n"]  # another order
    for changed, said in (("--seed", "real.order: 4 against 3"), ("--part", "real.images: 200 against 1597")):
        other = ["images", "digits", "--out", tmp_path / ("s.json" if changed == "--seed" else "r.json"), *words]
        assert run(*other, *(["--part", "train"] if changed == "--part" else []), "--device", "cpu") == 2
        assert said in capsys.readouterr().err


def test_images_compare_with_samples(tiny, tmp_path, capsys):
    fid_of(tiny, tmp_path / "a.json")
    images_of(tmp_path / "b.json", "-n", 150)
    capsys.readouterr()
    assert run("compare", tmp_path / "a.json", tmp_path / "b.json") == 0
    captured = capsys.readouterr()
    assert (
        "images of digits test themselves" in captured.out
        and "sampling.real.name: None against digits test" in captured.err
    )


ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("table*.json")), ids=lambda path: path.stem)
def test_committed_tables_are_of_the_models_that_are_shipped(path):
    """Who replaces weights has to measure again."""
    result = read_result(path)
    shipped = ROOT / "ddim_edu" / "weights"
    assert result["model"]["sha256"] == sha256_of(shipped / f"{result['model']['checkpoint']}.safetensors")
    features = result["protocol"].get("features")
    if features:
        assert features["sha256"] == sha256_of(
            shipped / "classifiers" / f"{features['name'].removeprefix('classifier-')}.safetensors"
        )
    assert all(f" --{word} " in result["command"] for word in ("out", "steps"))


def test_committed_fid_of_real_images_is_the_known_one():
    result = read_result(ROOT / "results" / "fid_cifar10_train_test.json")
    values = {row["n"]: row["fid"] for row in result["by_n"]}
    assert values[1000] == pytest.approx(30.946, abs=1e-2) and list(values.values()) == sorted(
        values.values(), reverse=True
    )
    assert values.get(10_000, 3.1508) == pytest.approx(3.1508, abs=5e-4)  # all test images against all training images


def test_quoted_numbers_are_those_of_the_page_of_sources():
    quoted = json.loads((ROOT / "results" / "quoted.json").read_text())
    page = (
        (ROOT / "book" / "sources.md")
        .read_text(encoding="utf-8")
        .replace("\u2013", "-")
        .partition("## Quoted results")[2]
    )
    for row in quoted["sources"]:
        assert f"| {row['model']} | {row['fid']:.2f} | {row['loss']} |" in page
    assert len(quoted["sources"]) == 4


# ---------------------------------------------------------------- references and Inception


def test_saved_statistics_are_a_reference(tiny, classifier, tmp_path):
    images = reference_images(load(tiny), "test")
    reference = reference_of(images, "test", classifier, tmp_path / "features")
    write_statistics(tmp_path / "s.npz", reference.statistics)
    by_file = fid_of(tiny, tmp_path / "a.json", "--reference", tmp_path / "s.npz")
    by_name = fid_of(tiny, tmp_path / "b.json", "--reference", "test")
    assert by_file["result"]["classifier_distance"] == pytest.approx(by_name["result"]["classifier_distance"], rel=1e-9)
    assert "precision" in by_name["result"] and "precision" not in by_file["result"]
    assert by_file["protocol"]["reference"]["images"] == 200


def test_reference_features_are_computed_once(tiny, classifier, tmp_path):
    images = reference_images(load(tiny), "test")
    first = reference_of(images, "test", classifier, tmp_path)
    refuses = replace(classifier, compute=lambda x: pytest.fail("computed again"))
    assert torch.equal(reference_of(images, "test", refuses, tmp_path).features, first.features)


def test_inception_is_torch_fidelitys(tmp_path):
    """With random weights, kept in half precision as the file for carrying is: the same features as torch-fidelity's
    own loading.

    Ours have their normalisations fused into the convolutions, so these must not be those of a fresh network, which do
    nothing.
    """
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    from ddim_edu.measuring.features import _without_loading

    torch.manual_seed(0)
    blank = _without_loading(module.FeatureExtractorInceptionV3)
    state = {
        name: value.half().float() if value.is_floating_point() else value for name, value in blank.state_dict().items()
    }
    for name, value in state.items():
        if ".bn." in name and value.is_floating_point():
            value.copy_((value + 0.3 * torch.rand(value.shape)).half())
    path, half = tmp_path / "w.pth", tmp_path / "half.pth"
    torch.save(state, path)
    torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, half)
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = module.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(path))(images)[0]
    ours = inception(half)
    torch.testing.assert_close(ours.compute(images), theirs, rtol=1e-4, atol=1e-5)
    assert theirs.std() > 1e-3
    assert ours.compute(images[:, :1]).shape == (2, 2048) and ours.distance_name == "fid"


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "which measurement? (known: fid, reconstruction, table1, table2, images, compare)"),
        (("fidd", "x"), "there is no command 'fidd'; did you mean fid?"),
        (("fid",), "which model?"),
        (("fid", "nowhere"), "there is no checkpoint nowhere"),
        (("fid", "{tiny}", "--features", "inception"), "FID needs the weights of its network: download https://"),
        (
            ("fid", "{tiny}", "--features", "inception", "--inception-weights", "no.pth"),
            "there are no Inception weights at no.pth",
        ),
        (
            ("fid", "{tiny}", "--features", "inception", "--inception-weights", "{tiny}"),
            "holds no weights of torch-fidelity's",
        ),
        (("fid", "{tiny}", "--features", "nothing"), "there is no classifier nothing"),
        (("fid", "{tiny}", "--reference", "both"), "give train, test, or an .npz file"),
        (("fid", "{tiny}", "--reference", "no.npz"), "there are no statistics at no.npz"),
        (("fid", "{tiny}", "--reference", "{bad}"), "is not an .npz file with mu and sigma"),
        (("fid", "{tiny}", "--reference", "{other}"), "holds 3 features, and classifier-digits has 64"),
        (("fid", "{tiny}", "--label", "10"), "label = 10"),
        (("fid", "{tiny}", "--steps", "51"), "51"),
        (("fid", "{tiny}", "-n", "-1"), "n = -1"),
        (("fid", "{tiny}", "--eta", "-1"), "eta"),
        (("fid", "{tiny}", "--out", "/nowhere/r.json"), "/nowhere"),
        (("table1", "{tiny}", "--seeds", "0"), "seeds = 0"),
        (("table2", "{tiny}", "--top", "51"), "51"),
        (("reconstruction", "{tiny}", "--steps", "60"), "60"),
        (("images",), "which images?"),
        (("images", "nowhere"), "there is no data set or folder 'nowhere'"),
        (("images", "digits", "-n", "201"), "n = 201: give numbers in 2..200, the images of digits test"),
        (("images", "digits", "-n", "-1"), "n = -1"),
        (("images", "digits", "--reference", "both"), "give train, test, or an .npz file"),
        (("images", "digits", "--features", "inception"), "FID needs the weights of its network"),
        (("compare", "one.json"), "compare what?"),
        (("compare", "{bad}", "{bad}"), "is not a result of"),
    ],
)
def test_one_line_for_what_is_wrong(words, message, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.npz").write_text("nothing of the kind")
    write_statistics(tmp_path / "other.npz", Statistics(np.zeros(3), np.eye(3), 10))
    names = {"tiny": tiny, "bad": tmp_path / "bad.npz", "other": tmp_path / "other.npz"}
    assert (
        run(*[w.format(**names) for w in words], *(["--device", "cpu"] if words and words[0] != "compare" else [])) == 2
    )
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_statistics_must_be_finite(tmp_path):
    write_statistics(tmp_path / "s.npz", Statistics(np.array([np.nan]), np.eye(1)))
    with pytest.raises(ValueError, match="not finite"):
        read_statistics(tmp_path / "s.npz")


def test_measure_needs_a_folder_of_its_own_protocol(tiny, classifier, tmp_path):
    sampler = Sampler(load(tiny), 50)
    reference = reference_of(reference_images(load(tiny), "test"), "test", classifier, tmp_path / "ref")
    fid.measure(sampler, Sampling(n=70, steps=2), classifier, reference, tmp_path / "parts")
    with pytest.raises(ValueError, match="parts of another protocol"):
        fid.measure(sampler, Sampling(n=70, steps=3), classifier, reference, tmp_path / "parts")


def test_nothing_else_is_replaced(tmp_path, capsys):
    """Neither files of others, nor a measurement by another."""
    picture, text, table = tmp_path / "a.png", tmp_path / "a.json", tmp_path / "t.json"
    picture.write_text("mine")
    text.write_text("mine")
    (tmp_path / "t.png").write_text("mine")
    for out, words in ((picture, "use .json"), (text, "not a result")):
        assert run("fid", "digits", "-n", 20, "--steps", 1, "--out", out) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and out.read_text() == "mine"
    assert run("table1", "digits", "-n", 20, "--steps", 1, "--out", table) == 2
    assert "t.png" in capsys.readouterr().err

    out = tmp_path / "r.json"
    assert run("fid", "digits", "-n", 20, "--steps", 1, "--out", out) == 0
    before = out.read_bytes()
    capsys.readouterr()
    assert run("fid", "digits", "-n", 21, "--steps", 1, "--out", out) == 2
    assert "measured otherwise" in capsys.readouterr().err and out.read_bytes() == before
    assert run("fid", "digits", "-n", 20, "--steps", 1, "--out", out) == 0  # the same once more


@pytest.mark.parametrize(
    "words, said",
    [
        (("fid", "digits", "-n", 1), "at least 2"),
        (("table1", "digits", "--etas"), "--etas"),
        (("table1", "digits", "--steps"), "--steps"),
        (("reconstruction", "digits", "--steps", 2, "-n", 99999), "holds out 200"),
        (("reconstruction", "digits", "--top", -3), "top = -3"),
        (("reconstruction", "digits", "--clip", 0), "clip = 0: give a number above 0, such as 1, or off"),
        (("table1", "digits", "--etas", 0, -1), "etas = -1: give at least 0"),
        (("images", "digits", "-n"), "--n names none"),
        (("reconstruction", "digits", "--top", 1001), "1..1000"),
    ],
)
def test_measurements_that_cannot_be_are_one_line(tmp_path, capsys, words, said):
    assert run(*words, "--out", tmp_path / "x.json") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_compare_has_help(capsys):
    assert run("compare", "--help") == 0
    assert "compare ONE.json" in capsys.readouterr().out
