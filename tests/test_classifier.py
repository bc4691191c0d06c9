"""The classifiers that measure samples: the network, the files that come with the package, and how they are made."""

import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from errors import one_line
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ddim_edu.commands.train_classifier import main
from ddim_edu.data.batches import Shuffle, mirror, shifted
from ddim_edu.data.registry import load_data
from ddim_edu.models import CheckpointError, classifier_features, load, load_classifier, save_classifier, small
from ddim_edu.models.checkpoint import UNET
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig
from ddim_edu.nets.classifier import Classifier, ClassifierConfig
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.training.small import CLASSIFIERS, AutoencoderRecipe, ClassifierRecipe, train

CONFIG = ClassifierConfig(image_size=7, image_channels=2, channels=(4, 6), feature_size=5, classes=3, dropout=0.5)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_classifier(path, Classifier(CONFIG), data="made up", accuracy=0.25, training={"lr": 0.5})
    return path


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def rewrite(path, about=None, tensors=None):
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["ddim_edu"])
    content.update(about or {})
    save_file({**load_file(path), **(tensors or {})}, path, metadata={"ddim_edu": json.dumps(content)})


# ---------------------------------------------------------------- the network


def test_it_is_what_its_docstring_says():
    torch.manual_seed(0)
    net = Classifier(CONFIG)
    with torch.no_grad():
        for p in net.state_dict().values():
            p.copy_(
                torch.rand(p.shape) + 0.5 if p.is_floating_point() and p.ndim == 1 else p
            )  # norms that do something
    w = net.eval().state_dict()
    h = x = noise(11, 2, 7, 7)

    def norm(z, name):
        mean, var, weight, bias = (
            w[f"{name}.{part}"].view(-1, *[1] * (z.ndim - 2))
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (z - mean) / (var + 1e-5).sqrt() * weight + bias

    for i, stride in zip((0, 3, 6, 9), (2, 1, 2, 1)):
        h = F.silu(norm(F.conv2d(h, w[f"convolutions.{i}.weight"], stride=stride, padding=1), f"convolutions.{i + 1}"))
    assert h.shape == (11, 6, 2, 2)  # 7 pixels, halved twice and rounded up
    features = F.silu(norm(h.flatten(1) @ w["to_features.0.weight"].T, "to_features.1"))
    torch.testing.assert_close(net.features(x), features)
    torch.testing.assert_close(net(x), features @ w["to_logits.weight"].T + w["to_logits.bias"])
    assert (
        features.shape == (11, CONFIG.feature_size) and net(x).shape == (11, CONFIG.classes) and features.std() > 0.01
    )


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    net = Classifier(CONFIG)
    x = noise(11, 2, 7, 7)
    net.to_features[1].eval()  # of what differs in training, leave the dropout alone
    net.convolutions.eval()
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("shape", [(5, 1, 7, 7), (5, 2, 8, 8), (2, 7, 7), (5, 2, 7, 6)])
def test_images_of_another_shape(shape):
    one_line(lambda: Classifier(CONFIG)(noise(*shape)), shape, "(B, 2, 7, 7)")


@pytest.mark.parametrize(
    "field, value",
    [
        ("image_size", 0),
        ("image_channels", 0),
        ("feature_size", 0),
        ("classes", 1),
        ("channels", ()),
        ("channels", (4, 0)),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_configurations_that_make_no_network(field, value):
    one_line(lambda: ClassifierConfig(**{**vars(CONFIG), field: value}), field)


# ---------------------------------------------------------------- files


def test_a_classifier_rebuilds_from_its_file_alone(saved):
    loaded = load_classifier(saved)
    assert (
        loaded.model.config == CONFIG
        and loaded.data == "made up"
        and loaded.accuracy == 0.25
        and loaded.training == {"lr": 0.5}
    )
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    torch.manual_seed(0)
    for name, value in Classifier(CONFIG).state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value.half().to(value.dtype)), name


def test_what_is_no_classifier(saved, tmp_path):
    one_line(lambda: load_classifier("digtis"), "digtis", "digits, faces, faces-attributes, fashion-mnist")
    one_line(lambda: load_classifier(tmp_path / "nothing"), "nothing")
    one_line(lambda: load_classifier(tmp_path), tmp_path)
    one_line(lambda: load_classifier(UNET.folder / "digits.safetensors"), "'unet'", "'classifier'")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    one_line(lambda: load_classifier(tmp_path / "foreign.safetensors"), "not a classifier of ddim_edu")
    content = saved.read_bytes()
    for kept in (0, 50, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:kept])
        one_line(lambda: load_classifier(saved), saved, "cut short")


@pytest.mark.parametrize(
    "change, says",
    [
        ({"format": 2, "version": "9.9"}, "9.9"),
        ({"config": {"surprise": 1}}, "does not fit together"),
        ({"config": {**vars(CONFIG), "classes": 4}}, "does not fit together"),
        ({"accuracy": "high"}, "does not fit together"),
    ],
)
def test_metadata_that_does_not_fit(saved, change, says):
    rewrite(saved, change)
    one_line(lambda: load_classifier(saved), saved, says)


def test_tensors_that_do_not_fit(saved):
    rewrite(saved, tensors={"surprise": torch.zeros(1)})
    one_line(lambda: load_classifier(saved), "does not fit together")


def test_a_classifier_is_no_diffusion_model():
    assert small.CLASSIFIER.shipped() == sorted(CLASSIFIERS)
    for name in CLASSIFIERS:
        with pytest.raises(CheckpointError, match="'classifier'"):
            load(small.CLASSIFIER.find(name))


# ---------------------------------------------------------------- those that come with the package


@pytest.mark.parametrize(
    "name, least", [("digits", 0.98), ("fashion-mnist", 0.92), ("faces", 0.99), ("faces-attributes", 0.96)]
)
def test_shipped(name, least):
    file, recipe = load_classifier(name), CLASSIFIERS[name]
    assert file.path.stat().st_size < (1_200_000 if name == "faces-attributes" else 600_000)
    assert file.data == recipe.data
    assert (file.model.config.feature_size, file.model.config.dropout) == (recipe.feature_size, recipe.dropout)
    assert {**file.training, "channels": tuple(file.training["channels"])} == vars(CLASSIFIERS[name])
    assert file.accuracy >= least
    docs = " ".join(small.__doc__.split())
    assert f"{file.accuracy:.2%} of" in docs  # the table in the module's docstring


def test_accuracy_of_the_digits_is_what_their_file_says():
    file, data = load_classifier("digits"), load_data("digits")
    assert CLASSIFIERS["digits"].score(file.model, data) == file.accuracy
    # The held-out images were not trained on, so that their labels must matter: wrong ones are seen to be wrong.
    wrong = (file.model(data.floats(data.heldout)).argmax(1) == (data.heldout_labels + 1) % 10).double().mean()
    assert wrong < 0.05


def test_features_come_in_batches():
    x = noise(23, 1, 8, 8)
    whole = classifier_features(x, "digits")
    assert whole.shape == (23, 64) and whole.dtype == torch.float32
    assert torch.equal(whole, classifier_features(x, load_classifier("digits")))
    torch.testing.assert_close(classifier_features(x.double(), "digits", batch=5), whole, rtol=1e-5, atol=1e-5)
    assert whole.std(0).min() > 0


def test_features_of_nothing():
    one_line(lambda: classifier_features(noise(0, 1, 8, 8), "digits"), "no images")
    one_line(lambda: classifier_features(noise(2, 1, 9, 9), "digits"), "(2, 1, 9, 9)")
    one_line(lambda: classifier_features(noise(2, 1, 8, 8), "digits", batch=0), "batch = 0")
    one_line(lambda: classifier_features(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "digits"), "uint8")


# ---------------------------------------------------------------- training


def by_hand(recipe, data, network, rates, loss, fused):
    """A few steps of training, each with its rate, from the streams that :class:`Stream` names."""
    torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
    net = network().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01, fused=fused)
    order = Shuffle(len(data.train), recipe.batch, recipe.seed)
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        which = order(step)
        x, generator = data.floats(data.train[which]), generator_for(recipe.seed, Stream.STEP, step)
        optimizer.zero_grad()
        loss(net, x, data.train_labels[which], generator).backward()
        optimizer.step()
    return net


def few_digits():
    data = load_data("digits")
    return dataclasses.replace(data, train=data.train[:64], train_labels=data.train_labels[:64])


def equal(parameters, others):
    for (name, ours), theirs in zip(parameters, others):
        assert torch.equal(ours, theirs.half().float()), name


def test_a_classifier_is_trained_as_its_recipe_says():
    data = few_digits()
    recipe = ClassifierRecipe("digits", epochs=5, batch=32, channels=(4, 6), feature_size=5, mirror=True, seed=3)
    # Ten steps: up within a fifth of them, then half a cosine, whose top is the third.
    rates = [3e-3 * rate for rate in (0.5, *((1 + math.cos(math.pi * k / 8)) / 2 for k in range(-1, 8)))]

    def loss(net, x, y, generator):
        x = shifted(x, *torch.randint(-1, 2, (2, len(x)), generator=generator))
        return F.cross_entropy(net(mirror(x, torch.rand(len(x), generator=generator) < 0.5)), y)

    config = ClassifierConfig(8, 1, (4, 6), 5, 10, dropout=0.2)
    with torch.random.fork_rng(devices=[]):
        net = by_hand(recipe, data, lambda: Classifier(config), rates, loss, fused=False)
    equal(train(recipe, data).named_parameters(), net.parameters())


def test_an_autoencoder_is_trained_as_its_recipe_says():
    data = few_digits()
    recipe = AutoencoderRecipe("digits", epochs=2, batch=32, channels=(8,), latent_channels=2, noise=0.3, seed=3)
    rates = [3e-3 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(-1, 3)]

    def loss(net, x, y, generator):
        right = torch.randint(-2, 3, (len(x),), generator=generator)
        x = shifted(x, torch.zeros_like(right), right)
        return F.mse_loss(net(x, torch.randn(len(x), 2, 4, 4, generator=generator)), x)

    config = AutoencoderConfig(8, 1, (8,), 2, noise=0.3)
    with torch.random.fork_rng(devices=[]):
        net = by_hand(recipe, data, lambda: Autoencoder(config), rates, loss, fused=True)
    equal(train(recipe, data).named_parameters(), net.parameters())


def test_the_rates_of_both_end_near_nothing():
    for recipe in (CLASSIFIERS["digits"], AutoencoderRecipe()):
        for steps in (2, 40):
            rates = [recipe.rate(step, steps) for step in range(steps)]
            assert all(0 < rate <= 1 for rate in rates), rates
        assert rates[-1] < 0.01 and max(rates) > 0.99


def test_images_are_shifted_by_whole_pixels():
    x = noise(4, 2, 5, 6)
    down, right = torch.tensor([0, 1, -2, 5]), torch.tensor([0, -1, 2, 0])
    expected = torch.full_like(x, -1.0)
    for b, (d, r) in enumerate(zip(down.tolist(), right.tolist())):
        for i in range(5):
            for j in range(6):
                if 0 <= i - d < 5 and 0 <= j - r < 6:
                    expected[b, :, i, j] = x[b, :, i - d, j - r]
    assert torch.equal(shifted(x, down, right), expected)


def test_the_command_makes_the_same_file_twice(tmp_path, monkeypatch, capsys):
    recipe = ClassifierRecipe("digits", epochs=3, batch=64, channels=(8, 16), mirror=True)
    monkeypatch.setitem(CLASSIFIERS, "digits", recipe)
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    threads = torch.get_num_threads()
    try:
        for file in files:
            torch.manual_seed(len(file.name) * 7)  # does not matter
            assert main(["digits", "--out", str(file)]) == 0
            torch.rand(3)
    finally:
        torch.set_num_threads(threads)
    assert files[0].read_bytes() == files[1].read_bytes()
    made = load_classifier(files[0])
    assert made.accuracy > 0.7 and f"{made.accuracy:.2%}" in capsys.readouterr().out
    assert CLASSIFIERS["digits"].score(made.model, load_data("digits")) == made.accuracy  # after rounding to float16


def test_the_command_called_wrongly(tmp_path, capsys):
    for words, says in (
        ([], "which classifier?"),
        (["letters"], "which classifier?"),
        (["digits", "--out", str(tmp_path / "missing" / "a")], "missing"),
        (["digits", "--epochs", "3"], "--epochs"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and says in error, error


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert not stop.value.code and "fashion-mnist" in capsys.readouterr().out


@pytest.mark.parametrize(
    "field, value", [("epochs", 0), ("batch", 1), ("shift", -1), ("lr", 0.0), ("weight_decay", -1.0), ("threads", 0)]
)
def test_recipes_that_train_nothing(field, value):
    one_line(lambda: ClassifierRecipe(**{**vars(CLASSIFIERS["digits"]), field: value}), field)
