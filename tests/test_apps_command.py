"""python -m ddim_edu.apps, as a user meets it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.apps.edit import renoise, translate
from ddim_edu.apps.operators import AveragePool, Mask
from ddim_edu.apps.restore import restore
from ddim_edu.commands import apply as command
from ddim_edu.commands import apply_inputs, apply_options
from ddim_edu.data.named import digits
from ddim_edu.data.pictures import save_grid
from ddim_edu.guidance import guided
from ddim_edu.measuring.metrics import psnr
from ddim_edu.models import load, load_classifier, save
from ddim_edu.models.checkpoint import NoisePredictor
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.randomness import image_generators
from ddim_edu.schedule import NoiseSchedule, make_tau

RESTORATIONS = ("inpaint", "upscale", "colourise")


def make_model(path, *, channels=1, classes=3, size=8, recipe=None):
    torch.manual_seed(0)
    config = UNetConfig(
        image_size=size,
        image_channels=channels,
        ch=8,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=(),
        dropout=0.0,
        groups=4,
        classes=classes,
    )
    model = UNet(config)
    for parameter in model.parameters():  # a new network predicts zeros, whatever the class
        torch.nn.init.normal_(parameter, std=0.15)
    save(path, model.state_dict(), config, NoiseSchedule.linear(T=60), recipe=recipe)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apps")
    return {
        "GREY": make_model(folder / "grey.safetensors", recipe={"data": "digits"}),
        "COLOUR": make_model(folder / "colour.safetensors", channels=3, classes=0),
        "NOCLASS": make_model(folder / "noclass.safetensors", classes=0),
        "BIG": make_model(folder / "big.safetensors", size=12),
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test in a folder of its own, with some image files."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, shape in (
        ("a", (8, 8)),
        ("b", (8, 8)),
        ("wide", (20, 30)),
        ("small", (4, 4)),
        ("colour", (8, 8, 3)),
        ("other", (8, 8, 3)),
    ):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(f"{name}.png")
    mask = np.zeros((8, 8), np.uint8)
    for name, white in (("black", slice(0)), ("white", slice(None)), ("mask", slice(2, 5))):
        mask[:] = 0
        mask[white] = 255
        Image.fromarray(mask).save(f"{name}.png")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "wide.png").read_bytes()[:300])


def run(models, line):
    return command.main([models.get(word, word) for word in line.split()])


def pixels(path="result.png"):
    return np.asarray(Image.open(path).convert("L")).astype(float)


def tile(row, column, path="result.png"):
    """One image of a grid, as it was enlarged: 8 pixels to 56."""
    return pixels(path)[2 + 58 * row : 58 + 58 * row, 2 + 58 * column : 58 + 58 * column]


@pytest.mark.parametrize(
    "line, columns, rows, says",
    [
        ("interpolate GREY --images a.png b.png --frames 3", 5, 1, ["1 rows of 3 frames", "arc"]),
        ("interpolate GREY -n 4 --frames 2 --along lerp", 4, 2, ["line"]),
        ("interpolate GREY --from-noise -n 6 --frames 4", 4, 3, ["3 rows"]),
        ("interpolate GREY --corners 4 --frames 3", 3, 3, ["square"]),
        ("interpolate GREY --corners 3 --frames 4 --label 2", 4, 4, ["triangle"]),
        ("reconstruct GREY --images a.png b.png", 2, 3, ["squared error"]),
        ("inpaint GREY -n 3 --answers 2", 3, 4, ["3 images", "2 answers", "dB"]),
        ("inpaint GREY -n 3 --mask mask.png --answers 1", 3, 3, ["1 answer;"]),
        ("inpaint GREY -n 3 --mask left --replace --answers 1", 3, 3, ["off what is given by at most 0"]),
        ("inpaint GREY -n 1 --eta hat", 1, 3, ["1 answer;"]),
        ("upscale GREY --images a.png --factor 4 --travel 1 --eta 0 --answers 2", 1, 4, ["1 images"]),
        ("upscale GREY --images small.png --factor 2 --answers 2", 1, 3, ["rows of 1"]),
        ("colourise COLOUR --images colour.png other.png --answers 2", 2, 4, ["2 images"]),
        ("edit GREY -n 4", 4, 2, ["classes in turn", "by invert", "strength 1,"]),
        ("edit GREY -n 2 --by noise", 2, 2, ["strength 0.6,"]),
        (
            "edit GREY -n 4 --target 2 0 --by noise --strength 0.4 --scale 1", 4, 3,
            ["class 2, 0", "by noise", "strength 0.4"],
        ),
        ("edit GREY -n 2 --by exact --source 1", 2, 2, ["by exact", "strength 1,"]),
        ("edit NOCLASS --images a.png --decoder GREY --target 1", 1, 2, ["class 1"]),
        ("edit GREY --images a.png --decoder NOCLASS --source 1", 1, 2, ["any class"]),
    ],
)  # fmt: skip
def test_each_application_writes_its_picture(models, capsys, line, columns, rows, says):
    assert run(models, f"{line} --steps 6") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and captured.out.startswith("result.png: ")
    for word in [*says, "S = 6"]:
        assert word in captured.out, captured.out
    assert pixels().shape == (58 * rows + 2, 58 * columns + 2)


def test_what_the_rows_hold(models):
    """Input above; then the input where it is known and grey elsewhere; then answers that agree where it is known, and
    differ elsewhere.
    """
    assert run(models, "inpaint GREY --images a.png --mask left --answers 2 --steps 6 --out big.png") == 0
    given, degraded, one, two = (tile(row, 0, "big.png") for row in range(4))
    for shown in (degraded, one, two):  # bicubic enlarging reaches two pixels far
        assert np.abs(shown - given)[:, 44:].max() <= 1
    assert np.abs(degraded[:, :14] - 127.5).max() <= 1
    assert np.abs(one - two)[:, :28].max() > 20 and np.abs(one - given)[:, :28].max() > 20


def test_noise_depends_on_seed_image_and_answer_only(models):
    for line, out in (("", "x.png"), ("--batch 1", "y.png"), ("--seed 1", "z.png")):
        assert run(models, f"inpaint GREY --images a.png b.png --answers 2 --steps 4 {line} --out {out}") == 0
    assert np.abs(pixels("x.png") - pixels("y.png")).max() <= 1
    assert np.abs(pixels("x.png") - pixels("z.png")).max() > 20
    assert run(models, "inpaint GREY --images a.png --answers 1 --steps 4 --out w.png") == 0
    assert np.abs(tile(2, 0, "w.png") - tile(2, 0, "x.png")).max() <= 1


def test_by_noise_each_class_gets_the_same_noise(models):
    """So that rows differ by their class alone: one class asked for twice gives one row twice."""
    assert run(models, "edit GREY --images a.png b.png --target 1 1 2 --by noise --steps 4") == 0
    for column in (0, 1):
        one, again, other = (tile(row, column) for row in (1, 2, 3))
        assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_batches_change_nothing_with_labels_for_each(models):
    for line, out in (("", "x.png"), ("--batch 3", "y.png")):
        assert run(models, f"edit GREY -n 4 --steps 4 --target 2 0 {line} --out {out}") == 0
    assert np.abs(pixels("x.png") - pixels("y.png")).max() <= 1


def test_held_out_images_are_taken_and_the_same_for_a_seed(models, capsys):
    assert run(models, "reconstruct GREY --steps 4") == 0
    assert "8 images" in capsys.readouterr().out
    first = pixels()
    held = digits()
    shown = {tuple((image.float() * 255 / 16).round().flatten().tolist()) for image in held.heldout}
    model = load(models["GREY"])
    for image in apply_inputs.pictures(model, apply_options.ReconstructOptions(n=5)):
        assert tuple(((image + 1) * 127.5).round().flatten().tolist()) in shown
    assert run(models, "reconstruct GREY --steps 4") == 0 and np.array_equal(pixels(), first)


def test_what_is_done_to_images_is_said(models, capsys):
    assert run(models, "reconstruct GREY --images wide.png a.png colour.png --steps 2") == 0
    err = capsys.readouterr().err
    assert "1 of 3 images: central squares resized to the model's 8 x 8 (wide.png was 30 x 20)" in err
    assert "1 of 3 images: colours made grey (luma) (colour.png)" in err
    assert run(models, "reconstruct COLOUR --images a.png --steps 2") == 0
    assert capsys.readouterr().err == ""
    assert run(models, "upscale GREY --images small.png --steps 2") == 0
    assert "4 x 4 pixels: taken as what is given" in capsys.readouterr().err


def test_where_the_levels_end(models):
    model = load(models["GREY"])  # T = 60
    for options, top in (
        (apply_options.InpaintOptions(), 60),
        (apply_options.InterpolateOptions(), 54),
        (apply_options.InterpolateOptions(from_noise=True), 60),
        (apply_options.EditOptions(by="noise"), 60),
        (apply_options.EditOptions(), 54),
        (apply_options.ReconstructOptions(top=7, steps=3), 7),
    ):
        assert command.levels(model, options)[-1] == top


def test_a_film_goes_there_and_back(models):
    assert run(models, "interpolate GREY --images a.png b.png --frames 5 --steps 4 --film f.gif") == 0
    with Image.open("f.gif") as film:
        assert film.n_frames == 8 and film.size == (224, 224)


@pytest.mark.parametrize(
    "line, says",
    [
        ("", ["which application?", "inpaint"]),
        ("inpiant GREY", ["inpiant", "did you mean inpaint?"]),
        ("inpaint", ["which model"]),
        ("inpaint nothing", ["nothing", "digits"]),
        ("inpaint GREY --stepz 4", ["--stepz", "did you mean --steps?"]),
        ("inpaint GREY --steps 0", ["steps = 0: give at least 1"]),
        ("inpaint GREY --steps 61", ["steps = 61", "top = 60"]),
        ("inpaint GREY --top 61", ["top = 61", "60"]),
        ("inpaint GREY --n -1", ["n = -1: give at least 0"]),
        ("inpaint GREY --n 300", ["n = 300", "200"]),
        ("inpaint GREY --batch 0", ["batch = 0: give at least 1"]),
        ("inpaint GREY --seed -1", ["seed = -1"]),
        ("inpaint GREY --clip 0", ["clip = 0: give a number above 0, such as 1, or off"]),
        ("inpaint GREY --label 3", ["label = 3", "0..2"]),
        ("inpaint GREY --label -1", ["label = -1"]),
        ("inpaint NOCLASS --images a.png --label 0", ["label = 0", "no classes"]),
        ("inpaint NOCLASS", ["--images"]),
        ("inpaint GREY --answers 0", ["answers = 0"]),
        ("inpaint GREY --travel 0", ["travel = 0"]),
        ("inpaint GREY --jump 0", ["jump = 0"]),
        ("inpaint GREY --eta 9 --replace", ["eta = 9"]),
        ("inpaint GREY --eta -1", ["eta = -1: give at least 0"]),
        ("inpaint GREY --eta 9", ["eta = 9"]),
        ("inpaint GREY --mask nowhere.png", ["no mask nowhere.png", "centre"]),
        ("inpaint GREY --mask wide.png", ["wide.png", "30 x 20", "8 x 8"]),
        ("inpaint GREY --mask black.png", ["black.png", "nothing"]),
        ("inpaint GREY --mask white.png", ["white.png", "everything"]),
        ("inpaint GREY --mask text.png", ["text.png", "not an image"]),
        ("inpaint GREY --images gone.png", ["no file gone.png"]),
        ("inpaint GREY --images text.png", ["text.png", "not an image"]),
        ("inpaint GREY --images cut.png", ["cut.png"]),
        ("inpaint GREY --images .", ["can't read ."]),
        ("inpaint GREY --out a.txt", ["a.txt", ".png"]),
        ("inpaint GREY --out no/a.png", ["no"]),
        ("inpaint GREY --device tpu9", ["tpu9"]),
        ("upscale GREY --factor 3", ["factor = 3", "2, 4, 8"]),
        ("upscale GREY --factor 1", ["factor = 1: give at least 2"]),
        ("upscale GREY --factor 0", ["factor = 0"]),
        ("colourise GREY --images a.png", ["grey images", "colour"]),
        ("interpolate GREY --images a.png", ["1 images", "pairs"]),
        ("interpolate GREY --images a.png b.png --corners 4", ["2 images", "4, the corners"]),
        ("interpolate GREY --corners 5", ["5"]),
        ("interpolate GREY --frames 1", ["frames = 1: give at least 2"]),
        ("interpolate GREY --corners 3 --along lerp", ["corners = 3"]),
        ("interpolate GREY --from-noise --images a.png", ["--images"]),
        ("interpolate GREY --film a.mp4", ["a.mp4", ".gif"]),
        ("interpolate GREY --film no/a.gif", ["no"]),
        ("interpolate GREY -n 3", ["3 images", "pairs"]),
        ("interpolate GREY --images a.png a.png --label 5", ["label = 5"]),
        ("edit GREY --target 3", ["target = 3", "0..2"]),
        ("edit GREY --source 7", ["source = 7"]),
        ("edit GREY --strength 2", ["strength = 2: give a number from 0 to 1, or auto"]),
        ("edit GREY --scale nan", ["scale = nan"]),
        ("edit GREY --by magic", ["magic"]),
        ("edit GREY --by exact --clip 0.5", ["clip = 0.5", "no inverse"]),
        ("edit GREY -n 1 --by exact --steps 1", ["one step"]),
        ("edit NOCLASS --images a.png --by exact", ["no classes", "--decoder"]),
        ("edit NOCLASS --images a.png", ["no classes", "--decoder"]),
        ("edit GREY --decoder BIG", ["12 x 12", "8 x 8"]),
        ("edit GREY --decoder NOCLASS --target 1", ["no classes", "--target"]),
        ("edit GREY --decoder nothing", ["nothing"]),
    ],
)
def test_it_refuses_in_one_line(models, capsys, monkeypatch, line, says):
    monkeypatch.setattr(NoisePredictor, "forward", lambda *_: pytest.fail("it asked the network"))
    assert run(models, line) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    for word in says:
        assert word in captured.err, captured.err
    assert not list(command.Path(".").glob("result.*"))


@pytest.mark.parametrize("name", command.COMMANDS)
def test_help(capsys, name):
    with pytest.raises(SystemExit) as stop:
        command.main([name, "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("--images", "--steps", "--out", "hundredths of T", *(["--travel"] if name in RESTORATIONS else [])):
        assert word in printed
    assert command.main(["--help"]) == 0 and name in capsys.readouterr().out


def test_ctrl_c_leaves_no_picture(models, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "decode", interrupt)
    assert run(models, "reconstruct GREY --images a.png") == 130
    assert not list(command.Path(".").glob("*result*"))


def test_the_real_command():
    process = subprocess.run(
        [sys.executable, "-m", "ddim_edu.apps", "inpiant"], capture_output=True, text=True, timeout=120
    )
    assert (
        process.returncode == 2
        and process.stdout == ""
        and process.stderr.startswith("error: ")
        and process.stderr.count("\n") == 1
    )


# ---------------------------------------------------------------- the shipped digits


@pytest.fixture(scope="module")
def shipped():
    data, model = digits(), load("digits")
    return (
        model,
        data.floats(data.heldout[:30]),
        data.heldout_labels[:30],
        make_tau(990, 20, "trailing"),
        load_classifier("digits").model,
    )


def test_digits_restored_are_better_than_what_is_given(shipped):
    """By little: a sample of what may be there errs by twice the variance of it, the mean of all that may be by once.
    Measured: 2.5 dB for the mask.
    """
    model, images, _, tau, _ = shipped
    centre = torch.ones(8, 8, dtype=torch.bool)
    centre[2:6, 2:6] = False
    for operator in (Mask(centre), AveragePool(2)):
        y = operator.forward(images)
        found = restore(
            model.model, operator, y, model.schedule, tau, generator=image_generators(0, 0, 30), travel=2, clip=1.0
        )
        assert (operator.forward(found) - y).abs().max() < 1e-4
        assert psnr(found.clamp(-1, 1), images).mean() > psnr(operator.show(y), images).mean() + 1


@torch.no_grad()
def test_digits_edited_are_of_the_class_asked_for(shipped):
    model, images, labels, tau, classifier = shipped
    to = (labels + 5) % 10
    down = guided(model.eps_theta(to), model.eps_theta(), 2.0)
    for found in (
        translate(model.eps_theta(labels), down, images, model.schedule, tau, 0.8, clip=1.0),
        renoise(down, images, model.schedule, tau, 0.8, generator=image_generators(1, 0, 30), clip=1.0),
    ):
        assert (classifier(found).argmax(1) == to).double().mean() > 0.8


def test_a_grid_has_the_columns_it_was_asked_for():
    save_grid(torch.zeros(7, 1, 8, 8), "grid.png", columns=5)
    assert Image.open("grid.png").size == (5 * 58 + 2, 2 * 58 + 2)
