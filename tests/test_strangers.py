"""What strangers send is only data: bombs, names of private places, numbers that are none."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ddim_edu.commands import apply, evaluate, sample, sound, train
from ddim_edu.files import in_repository
from ddim_edu.forward import as_eps, predict
from ddim_edu.measuring.features import inception
from ddim_edu.measuring.result import read_result
from ddim_edu.models import CheckpointError, checkpoint, load, load_classifier, save
from ddim_edu.models.pickles import read_pickle
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.ranges import Range
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.strangers import LARGEST, fingerprint, parse_json, read_json
from ddim_edu.training.recipes import RECIPES, recipe_from_dict, recipe_to_dict
from ddim_edu.training.run_folder import RunFolder
from ddim_edu.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
CONFIG = UNetConfig(
    image_size=8, image_channels=1, ch=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), dropout=0.0, groups=4
)
RECIPE = replace(RECIPES["digits"], unet=CONFIG, batch=4, steps=2, T=20, save_every=1)


def tiny(path, *, recipe=None, config=CONFIG, change=lambda weights: weights, places=None):
    torch.manual_seed(0)
    weights = change({name: value.clone() for name, value in UNet(CONFIG).state_dict().items()})
    save(path, weights, config, NoiseSchedule.linear(20), recipe=recipe, places=places)
    return path


def tampered(path, about):
    """A checkpoint of few tensors whose metadata say this."""
    known = {"kind": "unet", "format": 1, "version": "1", "config": asdict(CONFIG), "recipe": {}, "step": 0}
    text = about if isinstance(about, str) else json.dumps({**known, **about})
    tensors = {"model.conv_in.weight": torch.zeros(8, 1, 3, 3), "schedule.beta": torch.full((20,), 0.1).double()}
    save_file(tensors, path, metadata={"ddim_edu": text})
    return path


def one_line(call, *words, error=ValueError):
    with pytest.raises(error) as found:
        call()
    message = str(found.value)
    assert "\n" not in message and len(message) < 500
    for word in words:
        assert str(word) in message, message


def refused(capsys, main, words, *says):
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ") and said.count("error:") == 1 and "Traceback" not in said
    for word in says:
        assert str(word) in said, said


# ---- bombs


BOMBS = {
    "blocks": {"num_res_blocks": 10**6},
    "many-blocks": {"num_res_blocks": 16, "ch": 2048, "groups": 1},
    "channels": {"ch": 2048},
    "more-channels": {"ch": 10**6, "groups": 1},
    "classes": {"classes": 100_000, "ch": 2048},
    "more-classes": {"classes": 10**9},
    "levels": {"ch_mult": [1] * 1000, "image_size": 2**10},
    "wide-levels": {"ch_mult": [64] * 8, "image_size": 1024},
    "size": {"image_size": 4096},
    "digits": {"image_size": 10**4000},
    "float": {"image_size": 1e308},
    "text": {"ch": "x" * 1000},
    "list": {"ch": [8]},
    "attention": {"image_size": 1024, "attn_resolutions": [1024]},
    "middle": {"image_size": 1024},
}
LIMITED = """
import resource, sys
from ddim_edu.models import CheckpointError, load
from ddim_edu.models.foreign import read
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 2**28, pages + 2**28))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[1:]:
    try:
        load(path)
        print("loaded", path)
    except CheckpointError as error:
        assert "\\n" not in str(error) and len(str(error)) < 600
    except MemoryError:
        print("memory", path)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_bombs_cost_no_memory(tmp_path):
    """256 MB are more than any of these files needs, and less than any of the networks they name."""
    paths = [tampered(tmp_path / f"{name}.safetensors", {"config": {**asdict(CONFIG), **bomb}})
             for name, bomb in BOMBS.items()]  # fmt: skip
    whole = tmp_path / "whole.safetensors"
    tiny(whole)
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, paths), str(whole)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0 and run.stdout.split() == ["loaded", str(whole)], run.stdout + run.stderr[-2000:]


@pytest.mark.parametrize("field", ["num_res_blocks", "ch", "classes", "image_size", "image_channels", "groups"])
def test_sizes_have_a_bound_that_is_said(field):
    one_line(lambda: replace(CONFIG, **{field: 10**7}), f"{field} = 10000000: give at most")
    one_line(lambda: replace(CONFIG, **{field: 10**4000}), f"{field} = a number of more than 30 digits")
    one_line(lambda: replace(CONFIG, **{field: 1e308}), f"{field} = 1e+308: give a whole number")


def test_the_published_networks_are_within_bounds():
    for recipe in RECIPES.values():
        assert recipe_from_dict(json.loads(json.dumps(recipe_to_dict(recipe)))) == recipe


def test_a_network_is_built_without_first_weights():
    """What costs most for a large one; and what a bomb would have filled the memory with."""
    from ddim_edu.models.weights import build

    weights = UNet(CONFIG).state_dict()
    built = build(UNet, CONFIG, weights, "cpu")
    assert all(torch.equal(built.state_dict()[name], value) for name, value in weights.items())
    one_line(lambda: build(UNet, replace(CONFIG, ch=2048), {}, "cpu"), "missing")


@pytest.mark.parametrize(
    "about, says",
    [
        ('{"kind": ' + "[" * 100_000, "nested too deep"),
        ('{"kind": ' + "[" * 50 + "]" * 50 + "}", "nested too deep"),
        ('{"step": Infinity}', "Infinity is not a finite number"),
        ('{"step": 1e999}', "1e999 is not a finite number"),
        ('{"step": ' + "9" * 4000 + "}", "4000 digits"),
        ("[]", "names no model"),
        ({"step": -1}, "its step is '-1'"),
        ({"step": 1.5}, "its step is '1.5'"),
        ({"recipe": []}, "its recipe is none"),
        ({"recipe": {"data": ["x"]}}, "its recipe has data"),
        ({"recipe": {"max_bad": "x"}}, "its recipe has max_bad"),
        ({"places": []}, "its places are none"),
        ({"prediction": {}}, "predicts"),
        ({"config": []}, "does not fit together"),
    ],
)
def test_metadata_that_is_none(tmp_path, about, says):
    one_line(lambda: load(tampered(tmp_path / "a.safetensors", about)), says, error=CheckpointError)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda w: {**w, "conv_in.bias": w["conv_in.bias"] * float("nan")}, "not finite"),
        (lambda w: {**w, "conv_in.bias": w["conv_in.bias"] - float("inf")}, "not finite"),
        (lambda w: {**w, "conv_in.bias": w["conv_in.bias"].to(torch.complex64)}, "complex64"),
        (lambda w: {**w, "conv_in.bias": w["conv_in.bias"].to(torch.int64)}, "int64"),
        (lambda w: {**w, "conv_in.bias": w["conv_in.bias"][:3]}, "has shape (3,)"),
        (lambda w: {**w, "more": w["conv_in.bias"].clone()}, "too many"),
    ],
)
def test_weights_that_are_none(tmp_path, capsys, change, says):
    path = tiny(tmp_path / "a.safetensors", change=change)
    one_line(lambda: load(path), "does not fit together", says, error=CheckpointError)
    refused(capsys, sample.main, [path, "--out", tmp_path / "a.png"], says)
    assert not (tmp_path / "a.png").exists()


def test_large_weights_are_finite(tmp_path):
    """Their sum is not."""
    path = tiny(tmp_path / "a.safetensors", change=lambda w: {**w, "conv_in.bias": torch.full((8,), 3e38)})
    assert load(path).network.conv_in.bias[0] == torch.tensor(3e38)


def test_a_classifier_of_a_stranger(tmp_path):
    about = {"kind": "classifier", "config": {"image_size": 8, "image_channels": 1, "channels": [4096] * 9,
                                              "feature_size": 10, "classes": 2}}  # fmt: skip
    one_line(lambda: load_classifier(tampered(tmp_path / "a.safetensors", about)), "channels has 9 numbers")
    about["config"] |= {"channels": [4096] * 2, "feature_size": 65_536, "image_size": 1024}
    one_line(lambda: load_classifier(tampered(tmp_path / "a.safetensors", about)), "missing")


# ---- JSON, recipes, results


def test_json_of_whatever_origin(tmp_path):
    assert parse_json('{"a": [1, 2.5, null, "x"]}') == {"a": [1, 2.5, None, "x"]}
    assert parse_json(f"[{2**63}]") == [2**63]
    for text, says in (("[NaN]", "NaN"), ("[" * 40 + "]" * 40, "too deep"), ("{", "Expecting"), ("[-1e400]", "finite")):
        one_line(lambda text=text: parse_json(text), says)
    assert str(parse_json("[NaN]", finite=False)) == "[nan]"
    (tmp_path / "a.json").write_bytes(b" " * (LARGEST + 1))
    one_line(lambda: read_json(tmp_path / "a.json"), "bytes")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        one_line(lambda: read_json(tmp_path / "pipe"), "not a regular file", error=OSError)
        one_line(lambda: read_json("/dev/zero"), "not a regular file", error=OSError)


WRONG_FIELDS = [
    ("data", ["x"]), ("data", 7), ("flip", 1), ("steps", 1.5), ("steps", "2"), ("lr", True), ("lr", []),
    ("lr", float("inf")), ("steps", 10**4000), ("batch", 10**9), ("loss", 3), ("lam", "x"), ("crop", {}),
    ("seed", 2**70), ("T", 1e308), ("unet", []), ("unet", None), ("unet", {"ch_mult": 3}), ("unet", {"dropout": "x"}),
    ("unet", {"ch": "x"}),
]  # fmt: skip


@pytest.mark.parametrize("field, value", WRONG_FIELDS, ids=str)
def test_recipes_of_other_types(field, value):
    stored = recipe_to_dict(RECIPES["digits"])
    unet = {**stored["unet"], **value} if field == "unet" and isinstance(value, dict) else value
    one_line(lambda: recipe_from_dict({**stored, field: unet}))
    one_line(lambda: recipe_from_dict([stored]))


def test_a_range_and_a_number_without_end():
    assert 10**4000 not in Range(0) and -(10**4000) not in Range(0) and 2**62 in Range(0)


@pytest.mark.parametrize(
    "change",
    [{"rows": {}}, {"rows": [1]}, {"rows": [{"steps": "x"}]}, {"rows": [{}]}, {"protocol": []}, {"model": "x"},
     {"kind": []}, {"command": 3}],
)  # fmt: skip
def test_results_that_are_damaged(tmp_path, change):
    good = json.loads((ROOT / "results" / "table1_digits_1000.json").read_text())
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**good, **change}))
    one_line(lambda: read_result(path), "damaged result", next(iter(change)))


def test_every_stored_result_is_still_read():
    known = [path for path in (ROOT / "results").glob("*.json") if '"format"' in path.read_text()[:200]]
    assert len(known) > 5
    for path in known:
        assert read_result(path)["format"] == 1


def test_a_damaged_result_is_not_compared(tmp_path, capsys):
    good = json.loads((ROOT / "results" / "fid_cifar10_train_test.json").read_text())
    for change in ({"result": {}}, {"result": []}, {"result": {"fid": "x"}}, {"by_n": 3}, {"protocol": {}}):
        (tmp_path / "a.json").write_text(json.dumps({**good, **change}))
        refused(capsys, evaluate.main, ["compare", tmp_path / "a.json", tmp_path / "a.json"], "damaged")
    (tmp_path / "a.json").write_text("[" * 100_000)
    refused(capsys, evaluate.main, ["compare", tmp_path / "a.json", tmp_path / "a.json"])


# ---- pickles


class Filled:
    """What a pickle may ask for within weights_only: 10 GB of zeros."""

    def __reduce__(self):
        return bytearray, (10**10,)


class Call:
    def __reduce__(self):
        return print, ("x",)


def test_pickles(tmp_path):
    path = tmp_path / "a.pth"
    good = {"a": torch.arange(4.0), "list": [torch.zeros(2), 3, None, "x"]}
    for legacy in (False, True):
        torch.save(good, path, _use_new_zipfile_serialization=not legacy)
        assert torch.equal(read_pickle(path)["a"], good["a"])
        for bad in (Filled(), Call(), {"a": [Filled()]}):
            torch.save(bad, path, _use_new_zipfile_serialization=not legacy)
            one_line(lambda: read_pickle(path), "holds more than tensors")
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    one_line(lambda: read_pickle(path), "larger than what it holds")
    for content in (b"", b"x", b"\x80\x02", b"PK\x03\x04", pickle.dumps(3), b"[" * 1000):
        path.write_bytes(content)
        one_line(lambda: read_pickle(path))
    torch.save({"a": torch.zeros(10**6)}, path)
    packed = tmp_path / "b.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert packed.stat().st_size < 10_000
    one_line(lambda: read_pickle(packed), "compressed")


def test_inception_weights_that_are_none(tmp_path):
    pytest.importorskip("torch_fidelity")
    for state, says in (({}, "missing"), ([], "no state dict"), ({"a": torch.zeros(2)}, "missing")):
        torch.save(state, tmp_path / "w.pth")
        one_line(lambda: inception(tmp_path / "w.pth"), "holds no weights", says)


def test_other_inception_weights_are_said_to_be_so(tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    from ddim_edu.measuring import features

    torch.manual_seed(0)
    state = features._without_loading(module.FeatureExtractorInceptionV3).state_dict()
    path = tmp_path / "w.pth"
    torch.save(state, path)
    with pytest.warns(UserWarning, match="other weights than the published ones"):
        assert inception(path).about["published"] is False
    assert features.Features("inception", "", 2048, 1, len).about == {"name": "inception", "sha256": "", "size": 2048}
    name = next(name for name, value in state.items() if value.is_floating_point())
    torch.save({**state, name: state[name] * float("nan")}, path)
    one_line(lambda: inception(path), "not finite")


# ---- places


def pictures(folder, n=6, grey=100):
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new("L", (8, 8), grey + i).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A folder of pictures that nobody is to look into; the working directory is another."""
    monkeypatch.setenv("DDIM_EDU_CACHE", str(tmp_path / "cache"))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    return pictures(tmp_path / "private", grey=200)


@pytest.mark.parametrize("words", [[], ["--data-dir", "."]])
def test_a_checkpoint_that_names_a_private_folder(private, tmp_path, capsys, words):
    evil = {"absolute": str(private), "relative": "../private", "sha256": "0" * 64}
    for data in (str(private), "../private", "~/Pictures", "//host/share", "my_module:Class", "os:system", "."):
        path = tiny(tmp_path / "there" / "a.safetensors", recipe={"data": data}, places={"data": evil})
        made = [path, "--out", "a.png", "--steps", "1", *words]
        refused(capsys, apply.main, ["reconstruct", *made], "does not come along", "--images")
        measured = ["reconstruction", path, "--out", "a.json", "--steps", "1", *words]
        refused(capsys, evaluate.main, measured, "does not come along", "--data")
        assert sample.main([str(word) for word in [path, "--out", "b.png", "--steps", "1", "-n", "1"]]) == 0
        assert not Path("a.png").exists() and not (tmp_path / "cache").exists()


def test_nothing_is_imported_for_a_file(private, tmp_path, capsys):
    Path("evil.py").write_text("open('ran', 'w')\n")
    path = tiny(tmp_path / "there" / "a.safetensors", recipe={"data": "evil:Class"})
    refused(capsys, evaluate.main, ["fid", path, "--out", "a.json", "--steps", "1", "-n", "2"])
    refused(capsys, apply.main, ["reconstruct", path, "--out", "a.png", "--steps", "1"])
    assert not Path("ran").exists() and "evil" not in sys.modules


def test_the_command_line_may_name_it(private, tmp_path, capsys):
    path = tiny(tmp_path / "there" / "a.safetensors", recipe={"data": "elsewhere"})
    words = ["reconstruct", path, "--out", "a.png", "--steps", "1", "-n", "1", "--data", private]
    assert apply.main([str(word) for word in words]) == 0 and Path("a.png").exists()


def test_what_lies_beside_a_checkpoint_is_read_and_said(private, tmp_path, capsys):
    pictures(tmp_path / "sent" / "pictures")
    path = tiny(tmp_path / "sent" / "a.safetensors", recipe={"data": "pictures"})
    words = ["reconstruct", path, "--out", "a.png", "--steps", "1", "-n", "1"]
    assert apply.main([str(word) for word in words]) == 0
    assert f"reading {tmp_path / 'sent' / 'pictures'}, which {path} names" in capsys.readouterr().err
    (tmp_path / "sent" / "link").symlink_to(private)
    tiny(path, recipe={"data": "link"})
    refused(capsys, apply.main, words, "does not come along")


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.safetensors", "//host/share/a", "file:Class"])
def test_a_checkpoint_that_names_an_autoencoder(private, tmp_path, capsys, name):
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    path = tiny(tmp_path / "there" / "a.safetensors", recipe={"data": "spoken-digits", "autoencoder": name})
    refused(capsys, sound.main, [path, "--out", "a.wav"], "does not come along", "--autoencoder")


def test_another_autoencoder_of_that_name(private, tmp_path, capsys):
    place = {"autoencoder": {"sha256": "0" * 64}}
    recipe = {"data": "spoken-digits", "autoencoder": "spoken-digits"}
    path = tiny(tmp_path / "there" / "a.safetensors", recipe=recipe, places=place)
    refused(capsys, sound.main, [path, "--out", "a.wav"], "another autoencoder")


def start(folder, data, steps=1, **how):
    folder.mkdir(parents=True)
    trainer = Trainer.start(replace(RECIPE, data=str(data), label_dropout=0.0), folder, **how)
    for record in trainer.run():
        if record.step == steps:
            break
    return folder


def change_config(run, **fields):
    config = json.loads((run / "config.json").read_text())
    for name, value in fields.items():
        (config["recipe"] if name in config["recipe"] else config)[name] = value
    (run / "config.json").write_text(json.dumps(config))


def test_a_run_that_names_a_private_folder(private, tmp_path, capsys):
    pictures(Path("mine"))
    run = start(tmp_path / "there" / "run", "mine")
    for data in (str(private), "../../private", "//host/share", "evil:Class"):
        change_config(run, data=data, places={"data": {"absolute": str(private), "sha256": fingerprint("mine")}})
        refused(capsys, train.main, ["--resume", run], "does not come along", "--data")
    change_config(run, data="mine", places={})
    refused(capsys, train.main, ["--resume", run], "does not come along", "--data")
    assert train.main(["--resume", str(run), "--data", "mine"]) == 0


def test_a_run_is_found_again_from_elsewhere(private, tmp_path, monkeypatch, capsys):
    pictures(Path("imgs"))
    start(tmp_path / "there" / "run", "imgs")
    monkeypatch.chdir(tmp_path)
    assert train.main(["--resume", "there/run"]) == 0
    assert f"reading {tmp_path}/there/imgs" in capsys.readouterr().err
    os.rename("there", "moved")  # with all that lies about it
    assert train.main(["--resume", "moved/run", "--steps", "3"]) == 0
    assert load("moved/run").recipe["data"] == "imgs"
    assert load("moved/run").places["data"]["sha256"] == fingerprint("moved/imgs")
    os.rename("moved/imgs", "away")
    refused(
        capsys,
        train.main,
        ["--resume", "moved/run", "--steps", "4"],
        "where it lay is nothing with its content",
        "--data",
    )
    assert train.main(["--resume", "moved/run", "--steps", "4", "--data", "away"]) == 0
    # what is read afterwards without a word of the command line
    assert evaluate.main(["reconstruction", "moved/run", "--out", "r.json", "--steps", "1", "--device", "cpu"]) == 0


def test_another_folder_of_the_same_count(private, tmp_path, monkeypatch, capsys):
    pictures(Path("imgs"))
    start(tmp_path / "there" / "run", "imgs")
    pictures(tmp_path / "other" / "imgs", grey=10)
    monkeypatch.chdir(tmp_path / "other")
    refused(capsys, train.main, ["--resume", tmp_path / "there" / "run", "--data", "imgs"], "not the data")
    os.rename(tmp_path / "there" / "imgs", tmp_path / "there" / "gone")
    os.rename(tmp_path / "other" / "imgs", tmp_path / "there" / "imgs")
    refused(capsys, train.main, ["--resume", tmp_path / "there" / "run"], "where it lay is nothing with its content")
    refused(capsys, train.main, ["--resume", tmp_path / "there" / "run", "--data", "digits"], "may change")


def test_code_is_asked_of_the_command_line(private, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = start(tmp_path / "run", "digits")
    change_config(run, data="src.py:Stripes")
    refused(capsys, train.main, ["--resume", run], "code is not imported for a file's word: name it with --data")


def test_a_run_older_than_a_field_of_the_network_goes_on(private, tmp_path, capsys):
    """As those from before UNetConfig.patch."""
    run = start(tmp_path / "run", "digits")
    text = (run / "config.json").read_text()
    config = json.loads(text)
    del config["recipe"]["unet"]["patch"]
    (run / "config.json").write_text(json.dumps(config))
    with safe_open(run / checkpoint.NAME, "pt") as file:
        about, tensors = json.loads(file.metadata()["ddim_edu"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    for saved in (about["config"], about["recipe"]["unet"]):
        del saved["patch"]
    save_file(tensors, run / checkpoint.NAME, metadata={"ddim_edu": json.dumps(about)})
    assert train.main(["--resume", str(run)]) == 0
    capsys.readouterr()
    about["config"]["ch"] = 16
    save_file(tensors, run / checkpoint.NAME, metadata={"ddim_edu": json.dumps(about)})
    refused(capsys, train.main, ["--resume", run, "--steps", "3"], "another network")


def test_a_data_dir_in_a_file_makes_nothing(private, tmp_path, monkeypatch, capsys):
    run = start(tmp_path / "there" / "run", "digits", data_dir=tmp_path)
    for there in (str(tmp_path / "new"), "//host/share"):
        change_config(run, data_dir=there)
        refused(capsys, train.main, ["--resume", run], "not there", "--data-dir")
    change_config(run, data_dir=str(tmp_path))
    assert train.main(["--resume", str(run)]) == 0
    change_config(run, data_dir=str(private), data="cifar10")
    before = sorted(private.iterdir())
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    refused(capsys, train.main, ["--resume", run, "--steps", "4"], "cifar10 is not in", "--data-dir")
    assert sorted(private.iterdir()) == before and not (tmp_path / "new").exists()


def test_a_run_whose_network_is_a_bomb(private, tmp_path, capsys):
    run = start(tmp_path / "there" / "run", "digits")
    stored = RunFolder(run).config()["recipe"]
    change_config(run, unet={**stored["unet"], "ch": 2048})
    refused(capsys, train.main, ["--resume", run], "another network")
    (run / "config.json").write_text("[" * 100_000)
    refused(capsys, train.main, ["--resume", run], "can't be understood")


def test_an_optimiser_state_that_does_not_fit(private, tmp_path, capsys):
    run = start(tmp_path / "there" / "run", "digits")
    state = torch.load(run / "state.pt", weights_only=True)
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
    torch.save(state, run / "state.pt")
    refused(capsys, train.main, ["--resume", run], "does not fit")


# ---- what models return


class Output:
    sample = torch.zeros(2, 1)


@pytest.mark.parametrize(
    "returned, says",
    [
        ((torch.zeros(2, 1), torch.zeros(2, 1)), "a tuple of 2"),
        ([torch.zeros(2, 1)], "a list of 1"),
        (Output(), "an object of Output, whose .sample is a tensor"),
        (None, "None"),
        (np.zeros((2, 1)), "an object of ndarray"),
    ],
)
def test_a_model_that_returns_no_tensor(returned, says):
    one_line(lambda: predict(lambda x, t: returned, torch.zeros(2, 1), 1), f"returned {says}", "a tensor like x_t")
    eps_theta = as_eps(lambda x, t: returned, "v", NoiseSchedule.linear(5))
    one_line(lambda: eps_theta(torch.zeros(2, 1), torch.tensor([1, 2])), f"returned {says}")


# ---- the repository


def test_chapters_find_the_repository(tmp_path, monkeypatch):
    for place in (ROOT, ROOT / "chapters", tmp_path):
        monkeypatch.chdir(place)
        assert in_repository("results/quoted.json").resolve() == ROOT / "results" / "quoted.json"
    with pytest.raises(FileNotFoundError):
        in_repository("results/nothing.json")
    for chapter in (ROOT / "chapters").glob("[0-9]*"):
        assert '"..' not in chapter.read_text(encoding="utf8").replace('\\"', '"'), chapter.name


# ---- at random


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
def test_files_changed_at_random(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, ROOT / "tests" / "fuzz.py", "--count", "50", "--seed", "1", "--keep", tmp_path]
    run = subprocess.run(words, capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "300 files, 0 findings" in run.stdout


def test_a_header_of_a_stranger_asks_for_no_more_than_the_file(tmp_path):
    """safetensors' own check, which ours stand on."""
    header = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, "__metadata__": {"ddim_edu": "{}"}}
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    one_line(lambda: load(tmp_path / "a.safetensors"), "cut short")
    assert checkpoint.NAME == "checkpoint.safetensors"
