"""Data sets with a name, their registry, and batches of them."""

import gzip
import pickle
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from picture_files import noise, one_line, write
from PIL import Image

from ddim_edu import plugins
from ddim_edu.commands import train
from ddim_edu.data import named as named_module
from ddim_edu.data.batches import Shuffle, mirror
from ddim_edu.data.named import SOURCES, digits
from ddim_edu.data.registry import known_source, load_data, load_data_for, source_of
from ddim_edu.data.source import Source
from ddim_edu.measuring.reference import reference_images
from ddim_edu.models import load, load_classifier
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.randomness import generator_for

pytestmark = pytest.mark.usefixtures("cache")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_digits_are_all_there_once():
    from sklearn.datasets import load_digits

    data = digits()
    assert data.train.shape == (1597, 1, 8, 8) and data.heldout.shape == (200, 1, 8, 8)
    assert data.train.dtype == torch.uint8 and data.top == 16
    together = torch.cat([data.train, data.heldout]).flatten(1).numpy()
    labels = torch.cat([data.train_labels, data.heldout_labels]).numpy()
    ours = sorted((*image.tolist(), int(label)) for image, label in zip(together, labels))
    original = load_digits()
    theirs = sorted((*image.astype(int).tolist(), int(label)) for image, label in zip(original.data, original.target))
    assert ours == theirs
    assert np.array_equal(original.images[0], data.heldout[0, 0].numpy())
    assert np.array_equal(original.images[1], data.train[0, 0].numpy())
    assert torch.bincount(data.heldout_labels).min() >= 10  # every class is held out


def test_floats_are_in_the_range_of_the_networks():
    data = load_data("digits")
    x = data.floats(data.train)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert torch.equal(x, data.train.double().div(8).sub(1).float())


def test_unknown_data_set():
    with pytest.raises(ValueError, match="digtis.*digits"):
        load_data("digtis")
    with pytest.raises(ValueError, match="no data set or folder ''"):
        load_data("", size=8)


@pytest.mark.parametrize("n, batch", [(10, 3), (10, 10), (7, 20), (1, 2)])
def test_shuffle_shows_every_image_once_an_epoch(n, batch):
    shuffle = Shuffle(n, batch, seed=5)
    seen = torch.cat([shuffle(step) for step in range(2 * n)])
    assert len(seen) == 2 * n * batch
    for epoch in seen.split(n):
        assert epoch.sort().values.tolist() == list(range(n))
    if n > 5:
        assert len({tuple(epoch.tolist()) for epoch in seen.split(n)}) > 1


def test_a_batch_is_a_function_of_seed_and_step():
    steps = [0, 7, 3, 100, 3]
    one, other = Shuffle(50, 8, seed=1), Shuffle(50, 8, seed=1)
    for step in range(101):  # in order
        one(step)
    assert all(torch.equal(one(step), other(step)) for step in steps)
    assert not torch.equal(one(0), Shuffle(50, 8, seed=2)(0))


def test_generators_are_functions_of_their_key():
    def draw(*key):
        return tuple(torch.randn(4, generator=generator_for(*key)).tolist())

    keys = [(0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1), (0,), (1, 1, 0), (2**40, 1, 0), (0, 1, 2**40)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(3, 1, 4) == draw(3, 1, 4)


# ---- flips


def test_images_are_mirrored_where_it_is_asked():
    images = torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before, which = images.clone(), torch.tensor([True, False, False, True, True, False])
    flipped = mirror(images, which)
    assert flipped.dtype == torch.uint8 and torch.equal(images, before)
    for i, mirrored in enumerate(which):
        expected = torch.from_numpy(images[i].numpy()[:, :, ::-1].copy()) if mirrored else images[i]
        assert torch.equal(flipped[i], expected)


# ---- data sets with a name


def fashion_files(folder, zipped=True):
    """Four files in the published format, with 6 and 4 images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for part, rows in (("train", slice(0, 6)), ("t10k", slice(6, 10))):
        n = len(images[rows])
        contents = {
            "images-idx3": bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 28, 0, 0, 0, 28]) + images[rows].tobytes(),
            "labels-idx1": bytes([0, 0, 8, 1, 0, 0, 0, n]) + bytes(range(n)),
        }
        for kind, content in contents.items():
            name = f"{part}-{kind}-ubyte"
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return images


@pytest.fixture
def small_fashion(monkeypatch, tmp_path):
    monkeypatch.setattr(named_module, "FASHION_MNIST_SHAPES", ((6, 28, 28), (6,), (4, 28, 28), (4,)))
    monkeypatch.setattr(named_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")


@pytest.mark.parametrize(
    "place", ["data", "data/fashion-mnist", "data/FashionMNIST", "data/FashionMNIST/raw", "debian"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_is_found(tmp_path, small_fashion, place, zipped):
    images = fashion_files(tmp_path / place, zipped)
    data = load_data("fashion-mnist", data_dir=tmp_path / "data")
    assert np.array_equal(data.train[:, 0], images[:6]) and np.array_equal(data.heldout[:, 0], images[6:])
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4, 5] and data.heldout_labels.tolist() == [0, 1, 2, 3]
    assert data.train_labels.dtype == torch.int64 and len(data.classes) == 10 and data.classes[9] == "Ankle boot"


def test_fashion_mnist_in_another_form(tmp_path, small_fashion, monkeypatch):
    images = fashion_files(tmp_path)
    monkeypatch.setenv("DDIM_EDU_DATA", str(tmp_path))
    data = load_data("fashion-mnist", size=14, channels=3)
    assert data.train.shape == (6, 3, 14, 14) and torch.equal(data.train[:, 0], data.train[:, 2])
    expected = Image.fromarray(images[0]).resize((14, 14), Image.Resampling.BICUBIC)
    assert np.array_equal(data.train[0, 0], np.asarray(expected))


def test_damaged_fashion_mnist(tmp_path, small_fashion, monkeypatch):
    fashion_files(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[:-100], b"", gzip.compress(gzip.decompress(whole)[:-5]), gzip.compress(b"x" * 100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.gz is damaged") as error:
            load_data("fashion-mnist", data_dir=tmp_path)
        one_line(error)
    path.write_bytes(whole)
    monkeypatch.setattr(named_module, "FASHION_MNIST_SHAPES", ())
    with pytest.raises(ValueError, match="not those of Fashion-MNIST"):
        load_data("fashion-mnist", data_dir=tmp_path)


def test_fashion_mnist_is_downloaded_if_it_is_nowhere(tmp_path, small_fashion, monkeypatch, capsys):
    from torchvision.datasets import FashionMNIST

    def download(self):
        print("Downloading")
        fashion_files(Path(self.raw_folder), zipped=False)

    monkeypatch.setattr(FashionMNIST, "download", download)
    assert len(load_data("fashion-mnist", data_dir=tmp_path / "new").train) == 6
    assert capsys.readouterr().out == ""  # a command's own words go there


@pytest.mark.parametrize("name, dataset", [("fashion-mnist", "FashionMNIST"), ("cifar10", "CIFAR10")])
def test_no_network(tmp_path, small_fashion, monkeypatch, name, dataset):
    import torchvision.datasets

    def download(self):
        raise URLError("no route")

    monkeypatch.setattr(getattr(torchvision.datasets, dataset), "download", download)
    with pytest.raises(ValueError, match=f"{name} is not in .*no route.*: put .* there") as error:
        load_data(name, data_dir=tmp_path)
    assert str(tmp_path) in one_line(error)


CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar_folder(folder):
    """Three images a class to train on and one held out."""
    for k, name in enumerate(CIFAR_CLASSES):
        for i in range(4):
            write(
                folder / "cifar10" / ("test" if i == 3 else "train") / name / f"{i}.png",
                10 * k + i,
                height=32,
                width=32,
            )


def cifar_batches(folder, monkeypatch):
    """The same images in the published layout, classes mixed."""
    import torchvision.datasets.cifar as module

    monkeypatch.setattr(module, "check_integrity", lambda *args: True)
    folder = folder / "cifar-10-batches-py"
    folder.mkdir()
    train = [(i, k) for i in range(3) for k in range(10)]
    held = [(3, k) for k in range(10)]
    for name, items in [(f"data_batch_{b + 1}", train[6 * b : 6 * b + 6]) for b in range(5)] + [("test_batch", held)]:
        pixels = np.stack([noise(10 * k + i, 32, 32).transpose(2, 0, 1).ravel() for i, k in items])
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [k for _, k in items]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR_CLASSES)}))


def bag(images, labels):
    return Counter((image.numpy().tobytes(), int(label)) for image, label in zip(images, labels))


@pytest.mark.parametrize("form", [{}, {"size": 16}, {"size": 16, "channels": 1}])
def test_both_layouts_of_cifar10_hold_the_same_images(tmp_path, monkeypatch, form):
    monkeypatch.setattr(named_module, "CIFAR10_COUNTS", (30, 10, 10))
    cifar_folder(tmp_path / "a")
    (tmp_path / "b").mkdir()
    cifar_batches(tmp_path / "b", monkeypatch)
    one, other = (load_data("cifar10", data_dir=tmp_path / place, **form) for place in "ab")
    size, channels = form.get("size", 32), form.get("channels", 3)
    assert one.train.shape == (30, channels, size, size) and one.classes == other.classes == CIFAR_CLASSES
    assert bag(one.train, one.train_labels) == bag(other.train, other.train_labels)
    assert bag(one.heldout, one.heldout_labels) == bag(other.heldout, other.heldout_labels)


def test_half_of_cifar10_is_not_cifar10(tmp_path):
    cifar_folder(tmp_path)
    with pytest.raises(ValueError, match=r"30 \+ 10 images of 10 classes, and CIFAR-10 has 50,000 \+ 10,000") as error:
        load_data("cifar10", data_dir=tmp_path)
    one_line(error)


@pytest.mark.parametrize("options", [{"size": 16}, {"channels": 3}, {"crop": "celeba"}])
def test_digits_come_in_one_form(options):
    with pytest.raises(ValueError) as error:
        load_data("digits", **options)
    assert "digits" in one_line(error)
    assert load_data("digits", size=8, channels=1).classes == tuple("0123456789")


# ---- the registry


def test_what_is_known_of_a_data_set_is_so(tmp_path):
    from torchvision.datasets import FashionMNIST

    for name, source in SOURCES.items():
        assert source.about and source.licence != Source.licence, name
        assert source.judge is None or load_classifier(source.judge).model.config.image_size == source.size
    assert SOURCES["fashion-mnist"].classes == tuple(FashionMNIST.classes)
    assert source_of("digits").judge == "digits" and source_of("faces").judge is None
    write(tmp_path / "0.png")
    for gone in (tmp_path, tmp_path / "gone", None, "", "no_such_module:Data"):
        assert type(known_source(gone)) is Source


def test_a_source_comes_in_the_form_of_a_network_if_it_can(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    assert load_data_for(UNetConfig(16, 1), tmp_path).train.shape == (2, 1, 16, 16)
    assert load_data_for(UNetConfig(16, 3), "digits").train.shape[1:] == (1, 8, 8)


STRIPES = """
import torch
from ddim_edu.data.source import ImageData, Source

class Stripes(Source):
    size, channels, classes = 8, 1, ("across", "down")

    def load(self, data_dir, form):
        lines = torch.randint(0, 256, (600, 1, 1, 8), generator=torch.Generator().manual_seed(0)).expand(-1, 1, 8, 8)
        labels = torch.arange(600) % 2
        images = torch.where(labels[:, None, None, None] == 1, lines, lines.mT).to(torch.uint8)
        return ImageData(images[:500], images[500:], labels[:500], labels[500:], classes=self.classes)
"""


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file with a data source in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_stripes.py").write_text(STRIPES)
    yield
    sys.modules.pop("my_stripes", None)


def test_a_source_outside_of_the_package(own_file, tmp_path, capsys):
    small = "--steps 2 --batch 4 --unet.ch 8 --unet.classes 2 --sample-every 2 --save-every 2 --threads 1".split()
    assert train.main(["digits", "--data", "my_stripes:Stripes", *small, "--out", "run"]) == 0, capsys.readouterr().err
    model = load("run")
    assert model.recipe["data"] == "my_stripes:Stripes"
    with pytest.raises(ValueError, match="name it with --data"):  # a file of somebody's imports nothing
        reference_images(model, "test")
    held = reference_images(model, "test", data="my_stripes:Stripes")
    assert held.shape == (100, 1, 8, 8) and (held[1::2] == held[1::2, :, :1]).all()
    assert load_data("my_stripes:Stripes", size=8).classes == ("across", "down")
    for name, words in (
        ("my_stripes:torch", "has no torch to call"),
        ("my_stripes:ImageData", "derive it from ddim_edu.data.source.Source"),
        ("my_strpies:Stripes", "can't import my_strpies"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            load_data(name)
        one_line(error)
    for asked in ({"size": 16}, {"channels": 3}, {"crop": "celeba"}):
        with pytest.raises(ValueError, match="my_stripes:Stripes"):
            load_data("my_stripes:Stripes", **asked)


def test_an_installed_package_gives_a_source_a_name(own_file, monkeypatch):
    point = EntryPoint("stripes", "my_stripes:Stripes", "ddim_edu.data")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    assert load_data("stripes").classes == ("across", "down")
    with pytest.raises(ValueError, match="no data set or folder 'strips' .known: digits, .*, stripes"):
        load_data("strips")


def test_a_source_that_does_not_keep_its_promise(own_file, monkeypatch):
    monkeypatch.setattr(type(source_of("my_stripes:Stripes")), "size", 16)
    with pytest.raises(ValueError, match="are 8 x 8 in grey, and should be 16 x 16 in grey") as error:
        load_data("my_stripes:Stripes")
    one_line(error)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"train": lambda d: d.train.float() / 255},
            r"train of .* is torch.float32 of .*: give torch.uint8, \(N",
        ),
        ({"heldout": lambda d: d.heldout[:, 0]}, r"heldout of .* is torch.uint8 of shape \(100, 8, 8\)"),
        ({"heldout": lambda d: d.heldout[:0]}, "heldout of .* holds no images"),
        ({"train_labels": lambda d: d.train_labels + 1}, r"train_labels of .* are 1..2: give 0..1"),
        ({"heldout_labels": lambda d: d.heldout_labels - 1}, r"heldout_labels of .* are -1..0: give 0..1"),
        ({"train_labels": lambda d: d.train_labels.float()}, "train_labels of .* are torch.float32 .*give torch.int64"),
        ({"train_labels": lambda d: d.train_labels[:400]}, r"shape \(400,\): give torch.int64, \(500,\)"),
        ({"top": lambda d: 16}, r"train of .* goes up to \d+, beyond top = 16"),
    ],
)
def test_what_a_source_must_not_load(own_file, monkeypatch, capsys, change, words):
    """A label too many would train as *any class*, floats as black."""
    cls = type(source_of("my_stripes:Stripes"))
    whole = cls.load
    wrong = lambda *a: replace(d := whole(*a), **{name: of(d) for name, of in change.items()})  # noqa: E731
    monkeypatch.setattr(cls, "load", wrong)
    with pytest.raises(ValueError, match=words) as error:
        load_data("my_stripes:Stripes")
    one_line(error)
    monkeypatch.setattr(cls, "load", lambda *a: None)
    with pytest.raises(ValueError, match="loaded NoneType: give an ImageData"):
        load_data("my_stripes:Stripes")


# ---- the real things, where they are at hand


@pytest.mark.skipif(
    not named_module.DEBIAN_FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)
def test_the_real_fashion_mnist(tmp_path):
    data = load_data("fashion-mnist", data_dir=tmp_path)
    assert data.train.shape == (60_000, 1, 28, 28) and data.heldout.shape == (10_000, 1, 28, 28)
    assert (
        torch.bincount(data.train_labels).tolist() == [6000] * 10
        and torch.bincount(data.heldout_labels).tolist() == [1000] * 10
    )
    assert data.train.float().mean() / 255 == pytest.approx(
        0.2860, abs=1e-4
    )  # the value that everybody normalises with


@pytest.mark.skipif(not (SHARED / "cifar10-test.zip").is_file(), reason="needs ../shared/data/cifar10-test.zip")
def test_real_cifar10_images(tmp_path):
    with zipfile.ZipFile(SHARED / "cifar10-test.zip") as archive:
        names = sorted(archive.namelist())
        for name in [n for k in CIFAR_CLASSES for n in [n for n in names if f"/{k}/" in n and n.endswith(".webp")][:4]]:
            archive.extract(name, tmp_path)
    data = load_data(tmp_path / "cifar10" / "test", size=32)
    assert (
        data.classes == CIFAR_CLASSES
        and torch.bincount(torch.cat([data.heldout_labels, data.train_labels])).tolist() == [4] * 10
    )
    with Image.open(tmp_path / "cifar10" / "test" / "airplane" / "0001.webp") as image:
        assert np.array_equal(data.train[0].permute(1, 2, 0), np.asarray(image))
