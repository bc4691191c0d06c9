"""Folders of recordings, the autoencoder of a latent diffusion, training in its space, and the command that speaks."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import torch
from errors import one_line
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.io import wavfile
from sound_files import CLASSES, burst

from ddim_edu.apps.edit import translate
from ddim_edu.apps.voices import Voices, listen
from ddim_edu.commands import apply as command
from ddim_edu.commands import evaluate, sample, sound, train_autoencoder
from ddim_edu.data.batches import shifted
from ddim_edu.data.recordings import SHIPPED, find_recording, read_sounds, split_classes
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import LatentData, encoded
from ddim_edu.data.spectrograms import FRAMES, LENGTH, log_mel, pad_or_trim, read_wav
from ddim_edu.models import load, load_autoencoder, load_classifier, save, save_autoencoder, small
from ddim_edu.models.weights import SHIPPED as WEIGHTS
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.randomness import generator_for
from ddim_edu.sampler import sample as draw
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.strangers import place_of
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.small import CLASSIFIERS, AutoencoderRecipe, by_part, train
from ddim_edu.training.trainer import Trainer

CONFIG = AutoencoderConfig(image_size=64, image_channels=1, channels=(8, 8, 8), latent_channels=2, noise=0.1)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A small autoencoder that was not trained."""
    path = tmp_path_factory.mktemp("autoencoder") / "small.safetensors"
    torch.manual_seed(0)
    save_autoencoder(path, Autoencoder(CONFIG).eval(), data="made up", classes=CLASSES, error=0.5, training={"lr": 0.5})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory, first):
    path = tmp_path_factory.mktemp("model") / "voices.safetensors"
    return make_model(path, 4, {"autoencoder": str(first)})


def make_model(path, classes, recipe):
    torch.manual_seed(0)
    config = UNetConfig(8, 2, 8, (1,), 1, (), dropout=0.0, groups=4, classes=classes)
    net = UNet(config)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    places = {"autoencoder": place_of(recipe["autoencoder"], path.parent)} if "autoencoder" in recipe else {}
    save(path, net.state_dict(), config, NoiseSchedule.cosine(60), recipe=recipe, places=places)
    return path


# ---- folders


def test_a_folder_of_named_recordings(recordings):
    found = read_sounds(recordings)
    assert found.classes == CLASSES and found.pixels.shape == (32, 1, 64, 64) and found.pixels.dtype == np.uint8
    assert found.n_train == 12 and np.bincount(found.labels).tolist() == [8] * 4  # 0 to 4 of each are held out
    assert found.labels[:12].tolist() == sorted(found.labels[:12].tolist())
    picture = log_mel(pad_or_trim(read_wav(recordings / "yes_ann_6.wav")).sound[None])[0]
    where = 2 * 3 + 1  # numbers 5, 6, 7 of the third class
    assert np.abs(found.pixels[where] / 127.5 - 1 - picture.numpy()).max() <= 0.51 / 127.5
    assert split_classes(found.classes) == (("no", "yes"), ("ann", "bob"))
    assert split_classes(("a b", "a c", "d b")) == split_classes(()) == ((), ())
    assert split_classes(("no", "yes")) == (("no", "yes"), ("",)) and split_classes(("a",)) == (("a",), ("",))


def test_an_archive_holds_the_same(recordings, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in recordings.iterdir():
            archive.write(file, f"inner/{file.name}")
    one, other = read_sounds(recordings), read_sounds(tmp_path / "all.zip")
    assert (
        np.array_equal(one.pixels, other.pixels)
        and np.array_equal(one.labels, other.labels)
        and one.classes == other.classes
    )


def test_a_folder_without_such_names_has_one_class(tmp_path):
    for i in range(4):
        burst(tmp_path / f"{i}.wav", i)
    data = load_data(tmp_path)
    assert len(data.train) == 3 and len(data.heldout) == 1 and data.classes == (tmp_path.name,)
    assert not data.train_labels.any()
    burst(tmp_path / "no_ann_3.wav", 9)
    one_line(lambda: load_data(tmp_path), "0.wav", "no_ann_3.wav", "name all")


def test_bad_recordings(tmp_path, capsys):
    for i in range(5):
        burst(tmp_path / f"{i}.wav", i, seconds=0.2 if i else 2.0)
    burst(tmp_path / "silent.wav", 0, silent=True)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "notes.txt").write_text("not read")
    one_line(lambda: read_sounds(tmp_path), "2 of 7", "silent.wav", "max_bad")
    capsys.readouterr()
    assert len(read_sounds(tmp_path, max_bad=0.3).labels) == 5
    said = capsys.readouterr().err
    assert "1 of 7 recordings" in said and "trimmed" in said and "left out" in said
    (tmp_path / "only").mkdir()
    burst(tmp_path / "only" / "a.wav", 0)
    one_line(lambda: read_sounds(tmp_path / "only"), "1 recordings")
    (tmp_path / "none").mkdir()
    one_line(lambda: read_sounds(tmp_path / "none"), "no wav files")


def test_stereo_and_other_rates_become_clips(tmp_path):
    rng = np.random.default_rng(0)
    for i, rate in enumerate((44_100, 16_000)):
        wavfile.write(tmp_path / f"{i}.wav", rate, rng.normal(size=(rate // 2, 2)).astype(np.float32) * 0.1)
    assert read_sounds(tmp_path).pixels.shape == (2, 1, 64, 64)


def test_the_data_set_by_its_name(recordings, tmp_path, monkeypatch):
    one_line(
        lambda: load_data("spoken-digits", data_dir=tmp_path), "spoken-digits is not in", "free-spoken-digit-dataset"
    )
    (tmp_path / "spoken-digits").symlink_to(recordings)
    data = load_data("spoken-digits", data_dir=tmp_path)
    assert len(data.train) == 12 and len(data.heldout) == 20
    one_line(lambda: load_data("spoken-digits", data_dir=tmp_path, size=32), "64 x 64")
    monkeypatch.setenv("DDIM_EDU_DATA", str(tmp_path))
    assert torch.equal(load_data("spoken-digits").train, data.train)


def test_classes_by_one_part_of_their_names(recordings):
    data = load_data(recordings)
    words, speakers = by_part(data, 0), by_part(data, 1)
    assert words.classes == ("no", "yes") and speakers.classes == ("ann", "bob")
    assert torch.equal(words.train_labels, data.train_labels // 2) and torch.equal(
        speakers.heldout_labels, data.heldout_labels % 2
    )
    one_line(lambda: by_part(data, 2), "no part 2")


def test_shipped_recordings():
    files = sorted(SHIPPED.glob("*.wav"))
    assert 6 <= len(files) <= 8 and sum(file.stat().st_size for file in files) < 100_000
    assert all(int(file.stem.split("_")[2]) < 5 for file in files), "one that was trained on"
    assert find_recording("3_nicolas_0") == SHIPPED / "3_nicolas_0.wav" and find_recording("x.wav").name == "x.wav"
    for file in files:
        clip = pad_or_trim(read_wav(file))
        assert len(clip.sound) == LENGTH and clip.notes == ()


# ---- the autoencoder


def test_shapes_and_their_errors():
    net = Autoencoder(CONFIG).eval()
    x = torch.rand(3, 1, 64, 64)
    assert CONFIG.latent_shape == (2, 8, 8) and net.encode(x).shape == (3, 2, 8, 8) and net(x).shape == x.shape
    one_line(lambda: net.encode(torch.rand(3, 1, 32, 32)), "(3, 1, 32, 32)", "64")
    one_line(lambda: net.decode(torch.rand(3, 1, 8, 8)), "(3, 1, 8, 8)")
    for change in ({"channels": (8, 9)}, {"channels": ()}, {"image_size": 60}, {"noise": -1.0}, {"latent_channels": 0}):
        one_line(lambda change=change: dataclasses.replace(CONFIG, **change), next(iter(change)))


def test_latents_of_the_training_set_are_normalised(recordings):
    """Equations: eq:unit-latents"""
    data = load_data(recordings)
    recipe = AutoencoderRecipe("made up", epochs=2, batch=6, channels=(8, 8, 8), latent_channels=2)
    net = train(recipe, data)
    assert not net.training
    with torch.no_grad():
        raw, z = (f(data.floats(data.train)) for f in (net.encoder, net.encode))
    for channel in range(2):
        own = raw[:, channel].double()
        by_hand = (own - own.mean()) / (own.var() + 1e-5).sqrt()
        torch.testing.assert_close(z[:, channel].double(), by_hand, atol=1e-4, rtol=1e-4)
    again = train(recipe, data)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))


def test_training_lowers_the_error(recordings):
    data = load_data(recordings)
    recipe = AutoencoderRecipe("made up", epochs=20, batch=6, channels=(8, 8, 8), latent_channels=2)
    short, long = (train(dataclasses.replace(recipe, epochs=e), data) for e in (1, 20))
    errors = [recipe.score(net, data) for net in (short, long)]
    assert errors[1] < 0.8 * errors[0], errors


def test_a_saved_autoencoder_comes_back(first, tmp_path):
    torch.manual_seed(0)
    net, back = Autoencoder(CONFIG).eval(), load_autoencoder(first)
    assert (back.classes, back.error, back.data, back.training) == (CLASSES, 0.5, "made up", {"lr": 0.5})
    x = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(back.encode(x), net.encode(x), atol=0.01, rtol=0.01)  # weights are kept in float16
    torch.testing.assert_close(
        back.decode(back.encode(x), batch=2), back.decode(back.encode(x, batch=1)), atol=1e-4, rtol=0
    )
    assert back.decode(50 * torch.randn(1, 2, 8, 8)).abs().max() <= 1
    assert not any(p.requires_grad for p in back.model.parameters())


def test_files_that_are_no_autoencoder(first, tmp_path):
    one_line(lambda: load_autoencoder("nothing"), "there is no autoencoder nothing")
    (tmp_path / "text.safetensors").write_text("text")
    one_line(lambda: load_autoencoder(tmp_path / "text.safetensors"), "not a safetensors file")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    one_line(lambda: load_autoencoder(tmp_path / "other.safetensors"), "names no model")
    with safe_open(first, framework="pt") as file:
        about = json.loads(file.metadata()["ddim_edu"])
    for change, word in (
        ({"kind": "unet"}, "holds a 'unet'"),
        ({"format": 9}, "format 9"),
        ({"config": {}}, "does not fit together"),
    ):
        save_file(
            load_file(first), tmp_path / "changed.safetensors", metadata={"ddim_edu": json.dumps({**about, **change})}
        )
        one_line(lambda: load_autoencoder(tmp_path / "changed.safetensors"), word)


def test_the_command_that_trains_it(recordings, tmp_path, capsys, monkeypatch):
    out = tmp_path / "own.safetensors"
    assert train_autoencoder.main([str(recordings), "--epochs", "1", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: " in said and "20 held-out pictures" in said
    assert load_autoencoder(out).classes == CLASSES
    for words, expected in (
        ([], "on what?"),
        ([str(recordings)], "where to?"),
        (["nowhere", "--out", str(out)], "there is no data set"),
    ):
        assert train_autoencoder.main(words) == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1


def test_shipped_autoencoder_is_good():
    """On the recordings that come along, which it was not trained on."""
    shipped = load_autoencoder("spoken-digits")
    pictures = torch.cat([log_mel(pad_or_trim(read_wav(file)).sound[None]) for file in sorted(SHIPPED.glob("*.wav"))])
    latents = shipped.encode(pictures)
    error = (shipped.decode(latents) - pictures).square().mean().sqrt().item()
    assert error < 1.5 * shipped.error < 0.3
    assert 0.5 < latents.std() < 2
    sizes = [p.stat().st_size for p in WEIGHTS.rglob("spoken-*.safetensors")]
    assert len(sizes) == 4 and sum(sizes) < 5_000_000


# ---- diffusion in its space


def test_training_on_latents(recordings, first, tmp_path):
    data = load_data(recordings)
    latents = encoded(data, load_autoencoder(first))
    assert isinstance(latents, LatentData) and latents.train.shape == (12, 2, 8, 8)
    assert torch.equal(latents.floats(latents.train), latents.train) and torch.equal(
        latents.train_labels, data.train_labels
    )
    assert latents.pictures(latents.heldout).shape == (20, 1, 64, 64)
    recipe = dataclasses.replace(
        RECIPES["spoken-digits"],
        data=str(recordings),
        autoencoder=str(first),
        unet=UNetConfig(8, 2, 8, (1,), 1, (), dropout=0.0, groups=4, classes=4),
        T=30,
        steps=3,
        batch=4,
        log_every=1,
        sample_every=3,
        save_every=3,
    )
    trainer = Trainer.start(recipe, tmp_path)
    assert torch.equal(trainer.data.train, latents.train)
    records = list(trainer.run())
    assert records[-1].grid.is_file() and np.isfinite(records[-1].heldout_loss)
    made = load(tmp_path)
    assert made.recipe["autoencoder"] == str(first) and made.image_shape == (2, 8, 8)
    one_line(
        lambda: Trainer.start(dataclasses.replace(recipe, autoencoder="nothing"), tmp_path), "there is no autoencoder"
    )
    one_line(
        lambda: Trainer.start(dataclasses.replace(recipe, unet=UNetConfig(8, 3, 8, (1,), 1, (), groups=4)), tmp_path),
        "don't fit",
    )


def test_what_needs_pictures_says_so(model, tmp_path, capsys):
    for main, words, out in (
        (sample.main, [], "a.png"),
        (command.main, ["reconstruct"], "a.png"),
        (evaluate.main, ["table2"], "a.json"),
    ):
        assert main([*words, str(model), "--out", str(tmp_path / out)]) == 2
        assert "makes latents of sounds, not pictures" in capsys.readouterr().err


def test_speaking_is_sampling_then_decoding(model):
    voices = Voices(load(model))
    assert (voices.words, voices.speakers) == (("no", "yes"), ("ann", "bob")) and voices.label("yes", "ann") == 2
    labels = torch.tensor([0, 3])
    found = voices.speak(labels, 2, 5, generator=torch.Generator().manual_seed(0))
    tau = make_tau(59, 5, "trailing")
    own = load(model)
    z = draw(
        own.eps_theta(labels), (2, 2, 8, 8), own.schedule, tau, generator=torch.Generator().manual_seed(0), clip=4.0
    )
    assert torch.equal(found, voices.autoencoder.decode(z))
    assert found.shape == (2, 1, 64, FRAMES)


def test_changing_is_translating(model, recordings):
    voices, own = Voices(load(model)), load(model)
    picture = log_mel(pad_or_trim(read_wav(recordings / "no_ann_0.wav")).sound[None])
    found = voices.change(picture, 0, 2, 5)
    z = translate(
        own.eps_theta(0),
        own.eps_theta(2),
        voices.autoencoder.encode(picture),
        own.schedule,
        make_tau(54, 5, "trailing"),
    )
    assert torch.equal(found, voices.autoencoder.decode(z))
    coded = voices.autoencoder.decode(voices.autoencoder.encode(picture))
    assert torch.equal(voices.change(picture, 0, 2, 5, strength=0.0), coded)
    assert not torch.equal(voices.change(picture, 0, 2, 5, scale=3.0), found)


# ---- the command


@pytest.fixture
def here(tmp_path, monkeypatch, recordings, model):
    monkeypatch.chdir(tmp_path)
    burst("long.wav", 1, seconds=3.0)
    burst("silent.wav", 1, silent=True)
    wavfile.write("stereo.wav", 44_100, (np.random.default_rng(0).normal(size=(9000, 2)) * 3000).astype(np.int16))
    (tmp_path / "text.wav").write_text("text")
    (tmp_path / "no_ann_0.wav").write_bytes((recordings / "no_ann_0.wav").read_bytes())
    return lambda line: command.main(["sound", str(model), "--steps", "3", *line.split()])


def test_speaking(here, capsys):
    assert here("--word yes --speaker bob --out a.wav --picture a.png") == 0
    said = capsys.readouterr().out
    assert "a.wav: yes bob (1 sound)" in said and said.count("\n") == 1
    rate, samples = wavfile.read("a.wav")
    assert rate == 8000 and len(samples) == LENGTH and samples.dtype == np.int16
    assert here("-n 3 --out three.wav --eta 1 --scale 2") == 0
    assert "no ann, yes bob, no ann" in capsys.readouterr().out  # words and speakers in turn
    assert len(wavfile.read("three.wav")[1]) == 3 * LENGTH + 2 * sound.PAUSE
    assert here("--word yes --speaker bob --out again.wav") == 0
    assert np.array_equal(wavfile.read("again.wav")[1], samples)
    assert here("--word yes --speaker bob --out other.wav --seed 1") == 0
    assert not np.array_equal(wavfile.read("other.wav")[1], samples)


def test_changing(here, capsys):
    assert here("--input no_ann_0.wav --word yes --out b.wav --picture b.png") == 0
    assert "no ann -> yes ann" in capsys.readouterr().out
    assert here("--input no_ann_0.wav --speaker bob") == 0
    assert "no ann -> no bob" in capsys.readouterr().out
    assert here("--input stereo.wav --from-word no --from-speaker bob --word yes") == 0
    captured = capsys.readouterr()
    assert "no bob -> yes bob" in captured.out
    assert "2 channels mixed down to one" in captured.err and "resampled from 44100 Hz" in captured.err
    assert here("--input long.wav --from-word no --from-speaker bob") == 0
    assert "trimmed to the first 0.94" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, words",
    [
        ("--word maybe", "there is no word 'maybe' (known: no, yes)"),
        ("--word ye", "did you mean yes?"),
        ("--speaker carl", "there is no speaker 'carl'"),
        ("--input none.wav", "there is no file none.wav"),
        ("--input text.wav", "text.wav is not a wav file"),
        ("--input silent.wav", "silent.wav: the recording is silent"),
        ("--input stereo.wav", "--from-word and --from-speaker"),
        ("--input no_ann_0.wav --word nay", "there is no word 'nay'"),
        ("--input no_ann_0.wav -n 2", "one sound"),
        ("--from-word no", "name it with --input"),
        ("--out a.mp3", "use .wav"),
        ("--out nowhere/a.wav", "there is no folder"),
        ("--picture a.txt", "does not end like a picture"),
        ("-n 0", "n = 0: give a number from 1 to 1,000"),
        ("-n 1001", "n = 1001"),
        ("--strength 2", "strength = 2: give a number from 0 to 1"),
        ("--eta -1", "eta = -1"),
        ("--seed -1", "seed = -1"),
        ("--steps 0", "steps = 0: give at least 1"),
        ("--steps 60", "S = 60"),
        ("--wrod yes", "did you mean --word?"),
    ],
)
def test_mistakes_are_one_line(here, capsys, line, words):
    assert here(line) == 2
    error = capsys.readouterr().err
    mistakes = [said for said in error.splitlines() if not said.startswith("reading ")]  # its autoencoder
    assert len(mistakes) == 1 and words in mistakes[0], error


def test_other_models(here, first, tmp_path, capsys):
    pictures = make_model(tmp_path / "pictures.safetensors", 4, {"data": "digits"})
    assert command.main(["sound", str(pictures)]) == 2
    assert "makes pictures" in capsys.readouterr().err
    plain = make_model(tmp_path / "plain.safetensors", 0, {"autoencoder": str(first)})
    assert command.main(["sound", str(plain), "--steps", "2", "-n", "2"]) == 0
    assert command.main(["sound", str(plain), "--steps", "2", "--input", "long.wav"]) == 0
    odd = make_model(tmp_path / "odd.safetensors", 5, {"autoencoder": str(first)})
    assert command.main(["sound", str(odd), "--steps", "2"]) == 2
    assert "5 classes" in capsys.readouterr().err


def test_help_and_the_list_name_it(capsys):
    assert command.main(["--help"]) == 0
    assert "sound" in capsys.readouterr().out
    assert command.main(["sonud"]) == 2
    assert "did you mean sound?" in capsys.readouterr().err


def test_a_model_of_words_of_several_words_speaks(tmp_path, capsys):
    torch.manual_seed(0)
    for file, classes in (("pairs", ("turn_left ann", "turn_right ann")), ("words", ("turn_left", "yes"))):
        save_autoencoder(
            tmp_path / f"{file}.safetensors", Autoencoder(CONFIG).eval(), data="", classes=classes, error=1, training={}
        )
        net = make_model(
            tmp_path / f"{file}-net.safetensors", 2, {"autoencoder": str(tmp_path / f"{file}.safetensors")}
        )
        word = "turn left" if file == "pairs" else "turn_left"
        line = ["sound", str(net), "--steps", "2", "--out", str(tmp_path / "a.wav"), "--word"]
        assert command.main([*line, word]) == 0
        assert command.main([*line, "turn"]) == 2
        assert f"{word}" in capsys.readouterr().err


# ---- what is shipped


def test_the_shipped_model_says_what_it_is_told(tmp_path, capsys):
    voices = Voices(load("spoken-digits"))
    labels = torch.arange(60)
    pictures = voices.speak(labels, 60, 20, scale=2, generator=[generator_for(0, 9, i) for i in range(60)])
    words, speakers = listen(pictures)
    assert (words == labels // 6).double().mean() > 0.8 and (speakers == labels % 6).double().mean() > 0.8
    for name in ("spoken-word", "spoken-speaker"):
        file = load_classifier(name)
        assert {**file.training, "channels": tuple(file.training["channels"])} == vars(CLASSIFIERS[name])
        assert file.accuracy > 0.9 and f"{file.accuracy:.2%} of" in " ".join(small.__doc__.split())
    out = tmp_path / "a.wav"
    assert command.main(["sound", "--input", "3_nicolas_0", "--word", "8", "--steps", "5", "--out", str(out)]) == 0
    assert "3 nicolas -> 8 nicolas" in capsys.readouterr().out and out.is_file()


def test_shifting_moves_time_alone():
    x = torch.rand(2, 1, 4, 5)
    moved = shifted(x, torch.tensor([0, 0]), torch.tensor([2, -1]))
    assert torch.equal(moved[0, :, :, 2:], x[0, :, :, :3]) and (moved[0, :, :, :2] == -1).all()
    assert torch.equal(moved[1, :, :, :4], x[1, :, :, 1:]) and (moved[1, :, :, 4:] == -1).all()
