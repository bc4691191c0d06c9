"""Models that open elsewhere: folders of diffusers and back, official files, ONNX; the same images there as here.

Comparisons through whole runs are in float64, with time embeddings in float64 too. On the cosine schedule the first
step of trailing spacing multiplies the rounding of a network, and of the embedding's float32 angles, by 20,291: float32
agrees there to 1e-3 only.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import sys

import pytest
import torch

from ddim_edu.commands import export, sample
from ddim_edu.commands.train import read_options
from ddim_edu.files import sha256_of
from ddim_edu.models import CheckpointError, load, save
from ddim_edu.models.convert import build_in_label, to_official
from ddim_edu.nets import unet
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.sampler import ddim_path
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.card import model_card, training_command
from ddim_edu.training.recipes import recipe_from_dict, recipe_to_dict

diffusers = pytest.importorskip("diffusers")
SHIPPED = ("digits", "fashion-mnist", "cifar10-tiny")
TINY = UNetConfig(
    image_size=8, image_channels=3, ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,), groups=4
)
SHIFTED = "time_mlp.0.weight"


def random_weights(config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(w.shape, generator=generator) for name, w in UNet(config).state_dict().items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoint and exported folder by name: shipped ones, two other predictions, and digits with 3 built in."""
    base = tmp_path_factory.mktemp("export")
    folders = {}
    for prediction in ("v", "x0"):
        path = base / f"{prediction}.safetensors"
        save(
            path,
            random_weights(TINY),
            TINY,
            NoiseSchedule.cosine(1000),
            prediction=prediction,
            recipe={"data": "data/pets"},
            step=7,
        )
        folders[prediction] = str(path)
    folders |= {name: name for name in SHIPPED}
    for name, source in folders.items():
        assert export.main([source, "--out", str(base / name)]) == 0
    assert export.main(["digits", "--label", "3", "--out", str(base / "three")]) == 0
    return {name: (load(source), base / name) for name, source in folders.items()} | {
        "three": (load("digits"), base / "three")
    }


@pytest.fixture
def float64_angles(monkeypatch):
    """Both libraries' time embedding: the same float32 frequencies, with angles, sines and cosines in float64."""

    def embedding(t, dim, *_, **__):
        half = dim // 2
        w = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / (half - 1)).double()
        return torch.cat([(t.double()[:, None] * w).sin(), (t.double()[:, None] * w).cos()], 1)

    monkeypatch.setattr(unet, "time_embedding", embedding)
    monkeypatch.setattr("diffusers.models.embeddings.get_timestep_embedding", embedding)


def noise_for(model, dtype, n=2):
    return torch.randn(n, *model.image_shape, generator=torch.Generator().manual_seed(5), dtype=dtype)


def ours(model, x_T, spacing, labels, steps=20, clip=1.0):
    with torch.no_grad():
        *_, last = ddim_path(model.eps_theta(labels), x_T, model.schedule, make_tau(1000, steps, spacing), clip=clip)
    return last.x_s


def in_float64(model):
    """A copy in float64; another test may use the model."""
    again = load(model.path)
    again.network.double()
    return again


def theirs_by_pipeline(folder, dtype, spacing, labels=None, steps=20, n=2):
    """diffusers' own pipeline; labels are bound to its network, since it passes none."""
    pipe = diffusers.DDIMPipeline.from_pretrained(folder, dtype=dtype)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing=spacing)
    pipe.set_progress_bar_config(disable=True)
    if labels is not None:
        plain = pipe.unet.forward
        pipe.unet.forward = lambda x, t: plain(x, t, class_labels=labels)
    how = {"num_inference_steps": steps, "use_clipped_model_output": True, "output_type": "pt"}
    return pipe(n, torch.Generator().manual_seed(5), **how).images * 2 - 1


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("name", [*SHIPPED, "v", "x0", "three"])
def test_the_same_noise_makes_the_same_images(made, float64_angles, name, spacing):
    model, folder = made[name]
    model = in_float64(model)
    labels = torch.tensor([3, 10]) if name in SHIPPED else None
    there = theirs_by_pipeline(folder, torch.float64, spacing, labels)
    here = ours(model, noise_for(model, torch.float64), spacing, 3 if name == "three" else labels)
    assert here.std() > 0.1 and there.dtype == torch.float64
    assert (there - here).abs().max() < 1e-5


@pytest.mark.parametrize("spacing, close", [("leading", 1e-5), ("trailing", 1e-3)])
def test_in_float32(made, spacing, close):
    model, folder = made["digits"]
    labels = torch.tensor([3, 10])
    there = theirs_by_pipeline(folder, torch.float32, spacing, labels)
    assert (there - ours(model, noise_for(model, torch.float32), spacing, labels)).abs().max() < close


def test_the_pipeline_passes_no_labels(made):
    """What the card says; once a pipeline passes them, the card should say so."""
    with pytest.raises(ValueError, match="class_labels should be provided"):
        diffusers.DDIMPipeline.from_pretrained(made["digits"][1])(num_inference_steps=1)


@pytest.mark.parametrize("name", [*SHIPPED, "v", "x0"])
def test_there_and_back(made, name, capsys):
    model, folder = made[name]
    for place in (folder, folder / "unet"):
        back = load(place)
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "recognised as a UNet2DModel" in line
    assert (back.config, back.prediction, back.recipe, back.step) == (
        model.config,
        model.prediction,
        model.recipe,
        model.step,
    )
    assert torch.equal(back.schedule.beta, model.schedule.beta)
    weights = back.network.state_dict()
    for name, value in model.network.state_dict().items():
        if name == SHIFTED:  # two rotations, each rounded to float32
            assert (weights[name] - value).abs().max() < 1e-6 * value.abs().max()
        else:
            assert torch.equal(weights[name], value), name


def test_a_label_that_is_built_in():
    model = load("digits")
    config, weights = build_in_label(model.config, model.network.state_dict(), 3)
    net = UNet(config).eval()
    net.load_state_dict(weights)
    x, t = noise_for(model, torch.float32), torch.tensor([1, 700])
    with torch.no_grad():
        torch.testing.assert_close(net(x, t), model.network(x, t, torch.tensor([3, 3])), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["digits", "v", "three"])
def test_the_card_and_its_code(made, name, monkeypatch):
    model, folder = made[name]
    card = (folder / "README.md").read_text(encoding="utf8")
    monkeypatch.chdir(folder)
    scope: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == (2 if name == "digits" else 1)
    for block in blocks:
        exec(block, scope)
        images = scope["images"]
        if torch.is_tensor(images):
            assert images.shape == (10, 1, 8, 8)
            x_T = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            assert (2 * images - 1 - ours(model, x_T, "trailing", torch.arange(10))).abs().max() < 1e-3
        else:
            assert images[0].size == (8, 8) and len(images) == (10 if name == "digits" else 8)
    assert f"{sum(p.numel() for p in model.network.parameters()):,} parameters" in card
    if name == "v":
        assert (
            "`pets`" in card
            and "whoever publishes this" in card
            and "No measurement" in card
            and "v_prediction" in card
        )
    else:
        assert "CC BY 4.0" in card and "python -m ddim_edu.train digits" in card


def test_the_card_shows_what_was_measured_with_this_file(made, tmp_path):
    model, _ = made["digits"]
    rows = [
        {"spacing": "leading", "steps": 10, "eta": 0.0, "seed": seed, "value": value}
        for seed, value in enumerate((1.0, 2.0))
    ]
    protocol = {"n": 1000, "features": {"name": "some-classifier"}, "reference": {"name": "digits train"}}
    found = {"kind": "table1", "model": {"sha256": sha256_of(model.path)}, "protocol": protocol, "rows": rows}
    text = model_card(model, results=tmp_path)
    assert "No measurement of this very file" in text
    for name, content in {
        "a": found,
        "b": found | {"rows": [rows[0] | {"seed": 2, "value": 6.0}]},
        "other": {**found, "model": {"sha256": "0"}, "rows": []},
        "list": [1],
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    text = model_card(model, results=tmp_path)
    assert (
        "| leading | 10 | 3 |" in text
        and "some-classifier, 1,000 images against digits train" in text
        and "No measurement" not in text
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_the_training_command_asks_for_the_recipe(name):
    recipe = load(name).recipe
    _, options = read_options(shlex.split(training_command(recipe)))
    assert recipe_to_dict(options.recipe) == recipe_to_dict(recipe_from_dict(recipe))


def test_sampling_from_a_folder(made, tmp_path, capsys):
    pictures = []
    for source in ("digits", made["digits"][1]):
        pictures.append(tmp_path / f"{len(pictures)}.png")
        how = ["--steps", "4", "--spacing", "leading", "-n", "3", "--device", "cpu", "--precision", "float32"]
        assert sample.main([str(source), *how, "--out", str(pictures[-1])]) == 0
    assert "labels 0..9, with 10, the last, as any class" in capsys.readouterr().err
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


# ---------------------------------------------------------------- folders that were not written here


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A folder as diffusers writes it, and its network; the scheduler is one of other names and defaults."""
    folder = tmp_path_factory.mktemp("strangers") / "whole"
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        downsample_padding=0, attention_head_dim=None, flip_sin_to_cos=False, freq_shift=1, norm_num_groups=4,
        norm_eps=1e-6, num_class_embeds=4,
    ).eval()  # fmt: skip
    diffusers.DDPMPipeline(
        net, diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    ).save_pretrained(folder)
    return folder, net


@pytest.fixture
def copied(strangers, tmp_path):
    return shutil.copytree(strangers[0], tmp_path / "copy")


def change(path, **fields):
    about = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in about.items() if value != "gone"}))


@pytest.mark.parametrize("flat", [False, True])
def test_a_folder_that_diffusers_wrote(strangers, copied, capsys, flat):
    if flat:  # as older ones are
        for path in [*(copied / "unet").iterdir(), *(copied / "scheduler").iterdir()]:
            path.rename(copied / path.name)
        (copied / "model_index.json").unlink()
        tensors = strangers[1].state_dict()
        torch.save(tensors, copied / "diffusion_pytorch_model.bin")
        (copied / "diffusion_pytorch_model.safetensors").unlink()
    model = load(copied)
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and "labels 0..2, with 3, the last, as any class; it predicts v" in said
        and "squaredcos_cap_v2" in said
    )
    assert (model.prediction, model.config.classes, model.recipe) == ("v", 3, {})
    torch.testing.assert_close(model.schedule.alpha_bar, NoiseSchedule.cosine(1000).alpha_bar)
    x, t, labels = torch.randn(2, 1, 8, 8), torch.tensor([1, 1000]), torch.tensor([0, 3])
    with torch.no_grad():
        there = strangers[1](x, t - 1, class_labels=labels).sample
        torch.testing.assert_close(model.network(x, t, labels), there, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "fields, alpha_bar",
    [
        ({"beta_schedule": "linear"}, NoiseSchedule.linear().alpha_bar),
        (
            {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.01},
            NoiseSchedule.scaled_linear(1000, 0.001, 0.01).alpha_bar,
        ),
        ({"beta_schedule": "gone", "num_train_timesteps": 100}, NoiseSchedule.linear(100).alpha_bar),
        ({"trained_betas": [0.1, 0.2]}, NoiseSchedule.from_betas([0.1, 0.2]).alpha_bar),
    ],
)
def test_betas_of_a_scheduler(copied, fields, alpha_bar):
    change(copied / "scheduler" / "scheduler_config.json", **fields)
    assert torch.equal(load(copied).schedule.alpha_bar, alpha_bar)


@pytest.mark.parametrize(
    "file, fields, says",
    [
        (
            "unet/config.json",
            {"_class_name": "UNet2DConditionModel"},
            "holds a UNet2DConditionModel: only a UNet2DModel",
        ),
        ("unet/config.json", {"norm_eps": 1e-5}, "norm_eps = 1e-05: our U-Net has only 1e-06"),
        ("unet/config.json", {"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]}, "down_block_types"),
        ("unet/config.json", {"layers_per_block": 2}, "lack"),
        ("unet/config.json", {"norm_num_groups": "many"}, "can't be read"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
        ("unet/config.json", {"num_class_embeds": 1}, "one more than there are classes"),
        ("model_index.json", {"vqvae": ["diffusers", "VQModel"]}, "a pipeline with vqvae"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "FlowMatchEulerDiscreteScheduler"},
            "is a FlowMatchEulerDiscreteScheduler",
        ),
        ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}, "beta_schedule = 'sigmoid'"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type = 'flow'"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1, 1.0]}, "beta_2 = 1"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "x"}, "num_train_timesteps = x"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(copied, tmp_path, capsys, file, fields, says):
    change(copied / file, **fields)
    assert sample.main([str(copied), "--out", str(tmp_path / "a.png")]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and said.startswith("error: ")


@pytest.mark.parametrize(
    "file, content, says",
    [
        ("unet/config.json", "[1]", "holds no fields"),
        ("unet/config.json", "{", "as JSON"),
        ("unet/diffusion_pytorch_model.safetensors", None, "no diffusion_pytorch_model.safetensors"),
        ("unet/diffusion_pytorch_model.safetensors", "short", "cut short"),
        ("scheduler/scheduler_config.json", None, "no scheduler_config.json"),
        ("unet/config.json", None, "no unet/config.json"),
    ],
)
def test_files_that_are_damaged_or_missing(copied, file, content, says):
    (copied / file).unlink()
    if content:
        (copied / file).write_text(content)
    with pytest.raises(CheckpointError, match=says) as error:
        load(copied)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- the official code's files


class Evil:
    def __reduce__(self):
        return (print, ("this should not be run",))


def test_an_official_file(tmp_path, capsys):
    config = UNetConfig(
        image_size=32, image_channels=3, ch=32, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=(16,), dropout=0.0
    )
    plain, averaged = (to_official(config, random_weights(config, seed)) for seed in (1, 2))
    path = tmp_path / "ckpt.pth"
    parallel = [{f"module.{name}": value for name, value in state.items()} for state in (plain, averaged)]
    torch.save([parallel[0], {"state": {}, "param_groups": [{"lr": 2e-4}]}, 1, 5000, parallel[1]], path)
    model = load(path)
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and "recognised as a training state (its averaged weights) of the official DDIM code" in said
    )
    assert (model.config, model.step, model.prediction) == (config, 5000, "eps")
    assert torch.equal(model.schedule.beta, NoiseSchedule.linear(1000).beta)
    x, t = torch.randn(1, 3, 32, 32), torch.tensor([500])
    net = UNet(config).eval()
    net.load_state_dict(random_weights(config, 2))
    with torch.no_grad():
        torch.testing.assert_close(model.network(x, t), net(x, t - 1), rtol=1e-4, atol=1e-4)
    torch.save(plain, tmp_path / "model.ckpt")
    out = str(tmp_path / "a.png")
    assert sample.main([str(tmp_path / "model.ckpt"), "--steps", "1", "-n", "1", "--out", out]) == 0
    assert "as a state dict of the official" in capsys.readouterr().err

    for content, says in (
        (Evil(), "holds more than tensors"),
        ([1, 2], "neither a state dict"),
        ({"a": torch.ones(1)}, "not those of"),
    ):
        torch.save(content, path)
        assert sample.main([str(path), "--out", out]) == 2
        out_, err = capsys.readouterr()
        assert says in err and err.count("\n") == 1 and "should not be run" not in out_ + err


def test_the_size_of_an_official_files_images_can_be_given(tmp_path, capsys):
    config = UNetConfig(
        image_size=8, image_channels=1, ch=32, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=(), dropout=0.0
    )
    path, out = tmp_path / "a.pth", tmp_path / "a.png"
    torch.save(to_official(config, random_weights(config)), path)
    assert sample.main([str(path), "--out", str(out)]) == 2
    assert "--image-size" in capsys.readouterr().err
    assert sample.main([str(path), "--out", str(out), "--image-size", "8", "--steps", "1", "-n", "1"]) == 0
    assert load(path, image_size=8).config == config


# ---------------------------------------------------------------- ONNX and refusals


@pytest.mark.parametrize("name", ["v", "digits"])
def test_onnx(made, tmp_path, name, capsys):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model, _ = made[name]
    assert export.main([str(model.path), "--format", "onnx", "--out", str(tmp_path)]) == 0
    assert str(tmp_path / "model.onnx") in capsys.readouterr().out
    inputs = {"x": noise_for(model, torch.float32), "t": torch.tensor([3, 900])}
    if model.config.classes:
        inputs["label"] = torch.tensor([3, 10])
    run = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx"))
    (eps,) = run.run(None, {key: value.numpy() for key, value in inputs.items()})
    with torch.no_grad():
        expected = model.model(inputs["x"], inputs["t"], inputs.get("label"))
    torch.testing.assert_close(torch.from_numpy(eps), expected, rtol=1e-4, atol=1e-4)


def test_onnx_that_is_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert export.main(["digits", "--format", "onnx", "--out", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err == "error: writing ONNX needs the package onnx: pip install onnx\n"


@pytest.mark.parametrize(
    "words, says",
    [
        ([], "which model"),
        (["digits"], "where to"),
        (["digits", "--out", "{full}"], "holds other files"),
        (["digits", "--out", "{full}/a"], "is a file"),
        (["digits", "--out", "{full}", "--format", "onnx", "--label", "3"], "takes labels as an input"),
        (["digits", "--out", "{new}", "--label", "11"], "knows labels 0..9"),
        (["digits", "--out", "{new}", "--clip", "-1"], "clip = -1"),
        (["digits", "--out", "{new}", "--spacing", "quadratic"], "quadratic"),
        (["spoken-digits", "--out", "{new}"], "latents of sounds"),
        (["nothing", "--out", "{new}"], "there is no checkpoint nothing"),
        (["{wide}", "--out", "{new}"], "ch_mult = (2, 2)"),
        (["{wide}", "--out", "{new}", "--label", "any"], "knows no classes"),
    ],
)
def test_refusals_are_one_line(tmp_path, capsys, words, says):
    full, new, wide = tmp_path / "full", tmp_path / "new", tmp_path / "wide.safetensors"
    full.mkdir()
    (full / "a").touch()
    config = UNetConfig(
        image_size=4, image_channels=1, ch=4, ch_mult=(2, 2), num_res_blocks=1, attn_resolutions=(), groups=4
    )
    save(wide, UNet(config).state_dict(), config, NoiseSchedule.linear(10))
    assert export.main([word.format(full=full, new=new, wide=wide) for word in words]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not new.exists()
