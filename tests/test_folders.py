"""Folders and pictures as the world has them: layouts, hold-out, depths, damage and bombs."""

import json
import os
import resource
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.commands import apply, evaluate, sample, train
from ddim_edu.data import decoding, layout
from ddim_edu.data import folder as folder_module
from ddim_edu.data.decoding import FORMATS, open_image, read_image
from ddim_edu.data.registry import load_data
from ddim_edu.data.walk import walk
from ddim_edu.measuring.reference import Statistics, read_statistics, write_statistics
from ddim_edu.models import load
from ddim_edu.models.checkpoint import save
from ddim_edu.sampling import Sampling, label_number

PACKAGE = Path(__file__).resolve().parents[1] / "ddim_edu"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DDIM_EDU_CACHE", str(folder))
    return folder


def put(folder, *names):
    """Small pictures, all different."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), (37 * i + 11) % 256).save(path)


def many(folder, classes, n=3):
    put(folder, *(f"{name}/{i}.png" for name in classes for i in range(n)))


def refused(*words, folder, **how):
    with pytest.raises(ValueError) as error:
        load_data(folder, size=8, **how)
    said = str(error.value)
    assert "\n" not in said and all(word in said for word in words), said
    return said


def names_of(listing):
    files = [file.name for file in listing.files]
    return files[: listing.n_train], files[listing.n_train :]


# ---- what is a part, and what a class


def test_a_class_called_train_hides_no_other(tmp_path):
    many(tmp_path, ["bus", "car", "train"])
    refused("bus, car", "--layout parts", "--layout classes", folder=tmp_path)
    data = load_data(tmp_path, size=8, layout="classes")
    assert data.classes == ("bus", "car", "train") and len(data.train) == 6 and len(data.heldout) == 3
    data = load_data(tmp_path, size=8, layout="parts")
    assert data.classes == (tmp_path.name,) and len(data.train) == 2 and len(data.heldout) == 1
    assert "not read: bus (3), car (3)" in data.taken_as


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "train2017", "train-set", "training_data"])
@pytest.mark.parametrize(
    "held",
    [
        "test",
        "Test",
        "testing",
        "val",
        "VALID",
        "validation",
        "dev",
        "val2017",
        "test_images",
        "held-out",
        "evaluation",
    ],
)
def test_parts_by_any_of_their_names(tmp_path, train, held):
    many(tmp_path / train, ["cat", "dog"])
    many(tmp_path / held, ["dog"], 2)
    listing = layout.list_images(tmp_path)
    trained, kept = names_of(listing)
    assert len(trained) == 6 and all(name.startswith(f"{train}/") for name in trained)
    assert kept == [f"{held}/dog/{i}.png" for i in range(2)]
    assert listing.classes == ("cat", "dog") and listing.labels == [0] * 3 + [1] * 5
    assert f"'{train}' to train on, '{held}' held out" in listing.taken_as


def test_of_several_parts_held_out_the_first_in_order(tmp_path):
    many(tmp_path, ["train", "val", "Test", "dev", "masks"])
    listing = layout.list_images(tmp_path)
    assert names_of(listing)[1] == ["Test/0.png", "Test/1.png", "Test/2.png"]
    assert "not read: dev (3), masks (3), val (3)" in listing.taken_as


@pytest.mark.parametrize(
    "folders, words",
    [
        (["train", "masks"], ["'train'", "masks", "--layout parts", "--layout classes"]),
        (["train", "Training", "test"], ["both Training, train", "--layout classes"]),
        (["train", "val", "valid"], ["both val, valid"]),
        (["test", "cat"], ["'test'", "for training", "--layout classes"]),
        (["Validation"], ["'Validation'", "for training"]),
        (["seg_train", "seg_test"], ["seg_train", "seg_test", "parts", "--layout classes"]),
        (["trainA", "trainB", "testA", "testB"], ["trainA", "testB", "--layout classes"]),
        (["train", "."], ["the images beside it", "--layout parts"]),
        (["cat/train", "cat/test", "dog/train", "dog/test"], ["parts inside of cat", "--layout classes"]),
        (["images/train", "images/val"], ["images", "if that is all"]),
        (["train/train", "train/val"], ["parts inside of train", "--layout parts"]),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, folders, words):
    many(tmp_path, folders)
    said = refused(*words, folder=tmp_path)
    option = "parts" if "--layout parts" in said else "classes" if "--layout classes" in said else "auto"
    if folders not in (["train", "Training", "test"], ["train", "val", "valid"]):
        assert len(load_data(tmp_path, size=8, layout=option).train)  # the remedy works


def test_classes_are_not_taken_for_parts(tmp_path):
    many(tmp_path, ["trainers", "testament", "devil", "valley", "contest", "test tube"])
    assert load_data(tmp_path, size=8).classes == tuple(
        sorted(["trainers", "testament", "devil", "valley", "contest", "test tube"])
    )


def test_a_layout_is_one_that_is_known(tmp_path):
    many(tmp_path, ["a"])
    refused("no layout 'clases'", "classes", folder=tmp_path, layout="clases")
    refused("for folders of images", folder="digits", layout="classes")


# ---- the order of classes


@pytest.mark.parametrize(
    "names, expected",
    [
        ([str(i) for i in range(12)], [str(i) for i in range(12)]),
        (["10", "9", "-1", "0.5", "0.25"], ["-1", "0.25", "0.5", "9", "10"]),
        (["c10", "c2", "c1"], ["c1", "c2", "c10"]),
        (["dog", "Ant", "cat"], ["Ant", "cat", "dog"]),
        (["1", "b", "10", "2"], ["1", "2", "10", "b"]),
        (["01", "1", "2"], ["01", "1", "2"]),
    ],
)
def test_numbers_are_sorted_as_numbers(names, expected):
    assert layout.sorted_names(names) == expected


def test_classes_with_numbers_are_labelled_in_their_order(tmp_path):
    many(tmp_path, [str(i) for i in range(12)])
    listing = layout.list_images(tmp_path)
    assert all(int(file.name.split("/")[0]) == label for file, label in zip(listing.files, listing.labels))
    old = layout.list_images(tmp_path, "old")
    assert old.classes[:4] == ("0", "1", "10", "11")  # what old checkpoints were trained with
    assert names_of(old)[1] == ["0/0.png"]


# ---- what is held out


def test_every_class_has_images_to_train_on(tmp_path):
    many(tmp_path, ["one"], 1)
    many(tmp_path, ["two"], 2)
    many(tmp_path, ["many"], 101)
    data = load_data(tmp_path, size=8)
    assert data.counts() == {"many": (98, 3), "one": (1, 0), "two": (1, 1)}
    assert "3 classes: many 98 + 3, one 1 + 0, two 1 + 1" in data.about() and "\n" not in data.about()


def test_what_is_held_out_is_a_lot_that_nothing_moves(tmp_path):
    many(tmp_path, ["a", "b"], 200)
    held = set(names_of(layout.list_images(tmp_path))[1])
    assert len(held) == 8
    numbers = sorted(int(name.split("/")[1][:-4]) for name in held if name.startswith("a/"))
    assert numbers != [0, 50, 100, 150] and len(set(np.diff(numbers))) > 1
    assert numbers != sorted(int(name.split("/")[1][:-4]) for name in held if name.startswith("b/"))
    put(tmp_path, "a/new.png", "b/new.png")  # as a 201st image asks for one more, each class has five now
    assert held <= set(names_of(layout.list_images(tmp_path))[1])


def test_what_cannot_be_held_out_is_refused(tmp_path):
    many(tmp_path, ["a", "b", "c"], 1)
    refused("none to hold out", "one class at least two images", folder=tmp_path)


def test_a_class_of_which_nothing_can_be_read(tmp_path):
    many(tmp_path, ["a", "b"], 20)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.png").write_text("x")
    refused("no image of the class 'c'", folder=tmp_path, max_bad=0.5)


def test_a_lot_that_falls_on_what_cannot_be_read(tmp_path):
    put(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / names_of(layout.list_images(tmp_path))[1][0]).write_text("x")
    refused("no image to hold out", "can be read: repair or remove", folder=tmp_path, max_bad=0.5)


def test_folders_without_images_are_named(tmp_path, capsys):
    many(tmp_path, ["a", "b"])
    (tmp_path / "cow").mkdir()
    (tmp_path / "cow" / "0.heic").write_text("x")
    assert "no images in cow" in load_data(tmp_path, size=8).taken_as
    many(tmp_path / "parts" / "train", ["a", "b"])
    (tmp_path / "parts" / "train" / "c").mkdir()
    (tmp_path / "parts" / "test").mkdir()
    assert "no images in test, train/c" in load_data(tmp_path / "parts", size=8).taken_as


# ---- the cache


def cached(cache):
    return {path.name: json.loads(path.read_text())["key"] for path in cache.glob("*.json")}


def test_caches_stay_where_nothing_is_read_otherwise(tmp_path, cache, monkeypatch):
    for part in ("train", "test"):
        for i in range(3):
            (tmp_path / part / "10").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / part / "10" / f"{i}.webp", lossless=True)
    load_data(tmp_path, size=8, layout="old")
    before = cached(cache)
    monkeypatch.setattr(folder_module._Decoded, "build", None)  # not called
    load_data(tmp_path, size=8)
    assert cached(cache) == before


def test_caches_of_another_reading_are_not_used(tmp_path, cache):
    many(tmp_path, ["a", "b"], 60)
    for how in ("old", "auto", "old"):
        data = load_data(tmp_path, size=8, layout=how)
        fresh = load_data(tmp_path, size=8, layout=how, cache_dir=tmp_path / ".other")
        assert torch.equal(data.train, fresh.train) and torch.equal(data.heldout, fresh.heldout)


# ---- what is said, and where it is kept


SMALL = "--unet.ch 8 --unet.image-size 8 --unet.image-channels 1 --steps 2 --batch 4 --sample-every 2 --save-every 2"


def trained(tmp_path, folder, *more):
    return train.main(
        ["digits", "--data", str(folder), *SMALL.split(), "--threads", "1", "--out", str(tmp_path / "run"), *more]
    )


def test_what_was_taken_as_what_is_said_once_and_kept(tmp_path, capsys):
    many(tmp_path / "data", [str(i) for i in range(12)], 4)
    assert trained(tmp_path, tmp_path / "data", "--unet.classes", "12") == 0
    said = capsys.readouterr().out.splitlines()
    [line] = [line for line in said if "held out" in line and "classes" in line]
    assert line == said[0] and "a class for each folder" in line and "36 images to train on + 12 held out" in line
    assert "12 classes: 0 3 + 1, 1 3 + 1, 2 3 + 1" in line
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert list(config["data"]["classes"]) == [str(i) for i in range(12)]
    assert config["data"]["classes"]["10"] == [3, 1] and "a class for each folder" in config["data"]["taken_as"]
    assert load(tmp_path / "run").classes == tuple(str(i) for i in range(12))


def test_the_option_that_chooses_is_one_of_training(tmp_path, capsys, monkeypatch):
    many(tmp_path / "data", ["bus", "car", "train"])
    assert trained(tmp_path, tmp_path / "data", "--unet.classes", "3") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--layout classes" in error
    assert trained(tmp_path, tmp_path / "data", "--unet.classes", "3", "--layout", "classes") == 0
    assert load(tmp_path / "run").classes == ("bus", "car", "train")
    capsys.readouterr()
    picture = str(tmp_path / "bus.png")
    draw = [str(tmp_path / "run"), "--steps", "1", "-n", "2", "--out", picture, "--label"]
    assert sample.main([*draw, "bus"]) == 0
    one = Path(picture).read_bytes()
    assert sample.main([*draw, "0"]) == 0 and Path(picture).read_bytes() == one
    drawn, check = [], Sampling.check_with
    monkeypatch.setattr(Sampling, "check_with", lambda self, model: drawn.append(self.label) or check(self, model))
    assert sample.main([*draw, "train"]) == sample.main([*draw, "1"]) == 0 and drawn == [2, 1]
    capsys.readouterr()
    assert sample.main([*draw, "buss"]) == 2
    assert "did you mean bus?" in capsys.readouterr().err


def test_old_runs_go_on_as_they_were_read(tmp_path, capsys):
    many(tmp_path / "data", [str(i) for i in range(12)], 4)
    assert trained(tmp_path, tmp_path / "data", "--unet.classes", "12", "--layout", "old") == 0
    config = tmp_path / "run" / "config.json"
    about = json.loads(config.read_text())
    assert list(about["data"]["classes"])[:3] == ["0", "1", "10"]
    del about["recipe"]["layout"], about["data"]  # as version 0.1.0 wrote it
    config.write_text(json.dumps(about))
    assert train.main(["--resume", str(tmp_path / "run"), "--steps", "4", "--threads", "1"]) == 0, (
        capsys.readouterr().err
    )
    about = json.loads(config.read_text())
    assert about["recipe"]["layout"] == "old" and list(about["data"]["classes"])[:3] == ["0", "1", "10"]


# ---- labels by name


def test_labels_by_number_and_by_name():
    animals = ("cat", "dog", "any", "name:x")
    for said, number in [
        ("dog", 1),
        (1, 1),
        ("name:any", 2),
        ("turn", "turn"),
        ("name:x", 3),
        ("number:3", 3),
        ("name:dog", 1),
    ]:
        assert label_number(said, animals) == number
    assert label_number("cat", ()) == "cat"  # then the check of the label says what is wrong
    with pytest.raises(ValueError, match="did you mean dog"):
        label_number("dogs", animals)
    with pytest.raises(ValueError, match="name of class 2, and can be meant as the word any: write name:any"):
        label_number("any", animals)
    from_one = ("1", "2", "3")
    for said, number in [("name:1", 0), ("number:1", 1), (0, 0)]:
        assert label_number(said, from_one) == number
    with pytest.raises(ValueError, match="name of class 1, and can be meant as 2: write name:2 or number:2"):
        label_number(2, from_one)
    assert [label_number(i, tuple("0123456789")) for i in range(10)] == list(range(10))
    assert Sampling(label="dog").with_number(animals).label == 1


def test_names_of_shipped_models_are_those_of_their_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("Sneaker", "7"):
        assert sample.main(["fashion-mnist", "--steps", "1", "-n", "1", "--label", label, "--out", f"{label}.png"]) == 0
    assert Path("Sneaker.png").read_bytes() == Path("7.png").read_bytes()


def test_class_names_that_do_not_fit_are_refused(tmp_path):
    model = load("digits")
    for i, classes in enumerate((["a"], [1] * 10, "0123456789")):
        about = {"classes": list(classes), "recipe": model.recipe}
        if classes == "0123456789":
            save(tmp_path / "good.safetensors", model.network.state_dict(), model.config, model.schedule, **about)
            assert load(tmp_path / "good.safetensors").classes == tuple("0123456789")
            continue
        save(tmp_path / f"{i}.safetensors", model.network.state_dict(), model.config, model.schedule, **about)
        with pytest.raises(ValueError, match="does not fit together"):
            load(tmp_path / f"{i}.safetensors")
    assert model.classes == ()


# ---- pictures: what they look like


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, width, height, depth, colour, rows, transparent=None):
    """A PNG written byte by byte; ``rows`` are the bytes of all rows."""
    stride = len(rows) // height
    lines = b"".join(b"\0" + rows[i * stride : (i + 1) * stride] for i in range(height))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    if transparent is not None:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    parts += [chunk(b"IDAT", zlib.compress(lines, 9)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def tiff(path, values, *, photometric=1, sample_format=1, bits=None, order="<", extra=()):
    """A grey TIFF in one strip, written byte by byte; ``values`` is an array, or the bytes of 4 x 4 pixels."""
    content = values if isinstance(values, bytes) else values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits = bits or values.dtype.itemsize * 8
    height, width = (4, 4) if isinstance(values, bytes) else values.shape
    tags = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
        (277, 3, 1), (278, 3, height), (279, 4, len(content)), (339, 3, sample_format), *extra,
    ]  # fmt: skip
    entries = b""
    for tag, kind, value in sorted(tags):
        packed = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value]))
        entries += struct.pack(order + "HHI", tag, kind, 1) + packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(content))
    path.write_bytes(head + content + struct.pack(order + "H", len(tags)) + entries + bytes(4))


def grey_of(path, size=4):
    return read_image(path, size=size, channels=1)[0].astype(int)


LEVELS = np.linspace(0, 65535, 16).round().astype(np.uint16).reshape(4, 4)  # 0, 4369, ...: 17 of 255 each
SEVENTEENS = np.arange(16).reshape(4, 4) * 17


@pytest.mark.parametrize("order", "<>")
def test_16_bit_greys_of_tiff(tmp_path, order):
    path = tmp_path / "a.tif"
    tiff(path, LEVELS, order=order)
    assert np.array_equal(grey_of(path), SEVENTEENS)
    tiff(path, (LEVELS.astype(np.int32) - 32768).astype(np.int16), sample_format=2, order=order)
    assert np.array_equal(grey_of(path), SEVENTEENS)


def test_tiff_in_which_zero_is_white(tmp_path):
    path = tmp_path / "a.tif"
    tiff(path, 65535 - LEVELS, photometric=0)
    assert np.array_equal(grey_of(path), SEVENTEENS)
    tiff(path, (255 - SEVENTEENS).astype(np.uint8), photometric=0)
    assert np.array_equal(grey_of(path), SEVENTEENS)
    for compression in ("tiff_deflate", "tiff_lzw"):
        Image.fromarray(LEVELS).save(path, compression=compression)
        assert np.array_equal(grey_of(path), SEVENTEENS)
        content = path.read_bytes()
        entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
        assert content.count(entry) == 1
        path.write_bytes(content.replace(entry, struct.pack("<HHIHH", 262, 3, 1, 0, 0)))
        assert np.array_equal(grey_of(path), 255 - SEVENTEENS)


def test_other_depths_of_tiff(tmp_path):
    path = tmp_path / "a.tif"
    tiff(path, (SEVENTEENS - 128).astype(np.int8), sample_format=2)
    assert np.array_equal(grey_of(path), SEVENTEENS)
    twelve = [v * 273 for v in range(16)]  # of 4095
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(twelve[::2], twelve[1::2]))
    tiff(path, packed, bits=12)
    assert np.array_equal(grey_of(path), SEVENTEENS)
    for values, sample_format in ((np.zeros((4, 4), np.int32), 2), (np.zeros((4, 4), np.float32), 3)):
        tiff(path, values, sample_format=sample_format)
        with pytest.raises(ValueError, match="32-bit pixels.*convert it to 8 or 16 bits"):
            grey_of(path)


@pytest.mark.parametrize("top", [65535, 4095, 1000, 255, 15])
def test_greys_of_pgm(tmp_path, top):
    values = np.linspace(0, top, 16).round().astype(int)
    content = values.astype(">u2" if top > 255 else "u1").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5\n4 4\n%d\n" % top + content)
    expected = (values * 255 / top).round().reshape(4, 4)
    assert np.abs(grey_of(tmp_path / "a.pgm") - expected).max() <= (0 if top in (65535, 255, 15) else 1)


def test_16_bit_png_with_a_transparent_grey(tmp_path):
    png(tmp_path / "a.png", 4, 4, 16, 0, LEVELS.astype(">u2").tobytes(), [4369 * 3])
    expected = SEVENTEENS.copy()
    expected[0, 3] = 255
    assert np.array_equal(grey_of(tmp_path / "a.png"), expected)


def test_16_bit_png_with_a_transparent_colour(tmp_path):
    rows = np.zeros((2, 2, 3), ">u2")
    rows[0, 0] = 0x1234, 0x5678, 0x9ABC
    rows[0, 1] = 0x1234, 0x5678, 0x9ABD  # the same upper halves: not the transparent colour
    rows[1, 0] = 0x1200, 0x5600, 0x9A00
    png(tmp_path / "a.png", 2, 2, 16, 2, rows.tobytes(), [0x1234, 0x5678, 0x9ABC])
    found = read_image(tmp_path / "a.png", size=2).transpose(1, 2, 0).tolist()
    assert found == [[[255] * 3, [0x12, 0x56, 0x9A]], [[0x12, 0x56, 0x9A], [0, 0, 0]]]


@pytest.mark.parametrize(
    "depth, rows, expected",
    [
        (1, b"\x40\x80", [[0, 255], [255, 0]]),
        (2, b"\x70\xd0", [[85, 255], [255, 85]]),
        (4, b"\x5a\xf5", [[85, 170], [255, 85]]),
        (8, b"\x55\xaa\xff\x55", [[85, 170], [255, 85]]),
    ],
)
def test_a_transparent_grey_of_few_bits(tmp_path, depth, rows, expected):
    for transparent, shown in ((2**depth - 1, 255), (0 if depth == 1 else 85 * (2**depth - 1) // 255, 255)):
        png(tmp_path / "a.png", 2, 2, depth, 0, rows, [transparent])
        seen = [[shown if v == transparent * 255 // (2**depth - 1) else v for v in row] for row in expected]
        assert grey_of(tmp_path / "a.png", 2).tolist() == seen


def rotated(path, *entries, order=">"):
    """A JPEG whose right half is white, with these entries (tag, type, count, value) of EXIF beside its orientation, 6:
    shown turned by 90 degrees clockwise.
    """
    image = Image.new("L", (16, 8))
    image.paste(255, (8, 0, 16, 8))
    tags = sorted([(0x0112, 3, 1, struct.pack(order + "HH", 6, 0)), *entries])
    ifd = struct.pack(order + "H", len(tags))
    ifd += b"".join(struct.pack(order + "HHI", *tag[:3]) + tag[3] for tag in tags) + bytes(4)
    exif = b"Exif\0\0" + (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8) + ifd
    image.save(path, exif=exif + struct.pack(order + "ii", -1, 0) * 4)


BROKEN = [
    (0x011A, 5, 1, struct.pack(">I", 38)),  # XResolution: -1 / 0
    (0x011A, 10, 1, struct.pack(">I", 38)),
    (0x011A, 2, 4, b"dpi\0"),  # text where a number belongs
    (0x0128, 2, 4, b"cm.\0"),
    (0x011A, 5, 1, struct.pack(">I", 99_999)),  # beyond the end
    (0x8769, 4, 1, struct.pack(">I", 77_777)),  # an EXIF directory beyond the end
    (0x8769, 2, 4, b"abc\0"),
    (0x8825, 4, 1, struct.pack(">I", 8)),  # a GPS directory that is the first one
    (0x0131, 99, 1, bytes(4)),  # a type that does not exist
    (0x010F, 2, 2**31 - 1, struct.pack(">I", 8)),  # two gigabytes of a maker's name
]


@pytest.mark.parametrize("entry", BROKEN)
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_the_orientation_is_read_alone(tmp_path, entry, name):
    rotated(tmp_path / name, entry)
    upright = grey_of(tmp_path / name, 8)
    assert upright[:3].max() < 60 and upright[-3:].min() > 195


def test_an_upright_tiff_with_a_broken_tag(tmp_path):
    for extra in ([(282, 5, 999_999)], [(296, 2, 0)], [(34665, 4, 77_777)]):
        tiff(tmp_path / "a.tif", np.arange(16, dtype=np.uint8).reshape(4, 4) * 17, extra=[(274, 3, 3), *extra])
        assert np.array_equal(grey_of(tmp_path / "a.tif"), SEVENTEENS[::-1, ::-1])


# ---- pictures of strangers


def test_every_image_is_opened_by_given_decoders():
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text().splitlines():
            assert "Image.open(" not in line or "formats=" in line, f"{path}: {line}"


def test_no_decoder_starts_another_program(tmp_path):
    assert not {"EPS", "WMF", "FITS", "GRIB", "HDF5", "BUFR"} & set(FORMATS) and set(FORMATS) <= set(Image.OPEN)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    put(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "a.png").write_bytes(eps)
    (tmp_path / "b.eps").write_bytes(eps)
    said = refused("a.png (not an image", "1 of 4 images", folder=tmp_path)
    assert "b.eps" not in said


def flat_png(path, width, height, colour=6):
    channels = {0: 1, 2: 3, 6: 4}[colour]
    packer = zlib.compressobj(9)
    line = bytes(1 + channels * width)
    content = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), chunk(b"IDAT", content)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))


@pytest.mark.parametrize("width, height", [(13_000, 13_000), (20_000, 20_000), (2**31 - 1, 2), (60_000, 60_000)])
def test_sizes_are_bounded_from_the_header(tmp_path, width, height):
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IDAT", b"x") + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="134 million are read at most: make a smaller copy") as error:
        read_image(tmp_path / "a.png", size=8)
    assert "\n" not in str(error.value)


def test_a_bomb_takes_no_memory(tmp_path):
    """170 megapixels with an alpha channel in 660 kB: 2.7 GB while it was read, for each core."""
    flat_png(tmp_path / "0.png", 13_000, 13_000)
    assert (tmp_path / "0.png").stat().st_size < 1_000_000
    for i in range(1, 4):
        os.link(tmp_path / "0.png", tmp_path / f"{i}.png")
    code = (
        "import resource, sys; from ddim_edu.data.registry import load_data\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))\n"
        "try: load_data(sys.argv[1], size=8)\n"
        "except ValueError as error: print(error)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=120)
    assert "4 of 4 images" in run.stdout and "make a smaller copy" in run.stdout, run.stderr
    assert int(run.stdout.split()[-1]) < 1_200_000  # kB


def test_a_large_photograph_is_read_without_a_word(tmp_path, capsys, recwarn):
    flat_png(tmp_path / "a.png", 10_000, 10_000, colour=0)
    assert read_image(tmp_path / "a.png", size=8, channels=1).max() == 0
    for name in ("b.png", "c.png"):
        put(tmp_path, name)
    assert len(load_data(tmp_path, size=8, channels=1).train) == 2
    assert capsys.readouterr() == ("", "") and not recwarn.list


def test_transparency_of_large_images_is_the_same(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 256, (64, 48, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png", size=16)
    monkeypatch.setattr(decoding, "LARGE", 48 * 7)
    assert np.array_equal(read_image(tmp_path / "a.png", size=16), whole)


# ---- folders of strangers


def test_only_regular_files_are_read(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(60)))
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("/dev/zero", tmp_path / "zero.png")
    os.symlink("/dev/null", tmp_path / "z.png")
    said = refused("3 of 63 images", "pipe.png (not a regular file)", "zero.png (not a regular file)", folder=tmp_path)
    assert "z.png (not a regular file)" in said
    data = load_data(tmp_path, size=8, max_bad=0.5)
    assert len(data.train) + len(data.heldout) == 60
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(ValueError, match="not a regular file"), open_image(tmp_path / name):
            raise AssertionError


def test_links_that_double_are_read_once(tmp_path):
    for i in range(40):
        put(tmp_path, f"{i}/a.png")
        for name in ("left", "right"):
            os.symlink(f"../{i + 1}" if i < 39 else "../0", tmp_path / str(i) / name)
    found = walk(tmp_path)  # 2^40 ways through it
    assert len(found.files) == 40 and len(found.folders) == 40 and len(found.again) == 80
    assert sorted(file.name for file in found.files) == sorted(f"{i}/a.png" for i in range(40))


def test_a_link_to_itself_is_a_bad_entry(tmp_path):
    put(tmp_path, "0.png", "1.png", "2.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    os.symlink("loop", tmp_path / "loop")
    refused("1 of 4 images", "loop.png (too many levels of symbolic links)", folder=tmp_path)
    assert len(load_data(tmp_path, size=8, max_bad=0.25).train) == 2


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    many(tmp_path, ["a", "b", "closed", "lost+found"])
    scandir = os.scandir

    def denied(path):
        if Path(path).name in ("closed", "lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    refused("1 of 7 images", "closed/ (permission denied)", "max_bad = 0.2", folder=tmp_path)
    assert load_data(tmp_path, size=8, max_bad=0.2).classes == ("a", "b")
    (tmp_path / "closed").rename(tmp_path / ".closed")
    assert load_data(tmp_path, size=8).classes == ("a", "b")  # lost+found is the system's own


# ---- other things than images


def test_a_stray_wav_file_among_images(tmp_path, capsys):
    put(tmp_path, *(f"{i}.png" for i in range(20)))
    (tmp_path / "stray.wav").write_bytes(b"RIFF")
    assert len(load_data(tmp_path, size=8).train) == 19
    assert "1 other files: .wav (1); not read as images" in capsys.readouterr().err


def test_a_zip_of_images(tmp_path):
    put(tmp_path, "0.png", "1.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "0.png", "in/0.png")
        archive.write(tmp_path / "1.png", "in/1.png")
    with pytest.raises(ValueError, match="a.zip.*png .2.: unpack it"):
        load_data(tmp_path / "a.zip")
    for name in ("0.png", "1.png"):
        (tmp_path / name).unlink()
    refused("unpack the archive", folder=tmp_path)


# ---- statistics of strangers


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def header(shape, dtype="<f8"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_statistics_come_back(tmp_path):
    a = np.random.default_rng(0).normal(size=(20, 5))
    there = Statistics(a.mean(0), np.cov(a, rowvar=False), 20)
    write_statistics(tmp_path / "s.npz", there)
    back = read_statistics(tmp_path / "s.npz")
    assert np.array_equal(back.mu, there.mu) and np.array_equal(back.sigma, there.sigma) and back.n == 20
    npz(tmp_path / "f.npz", mu=there.mu.astype(np.float32), sigma=np.asfortranarray(there.sigma))
    back = read_statistics(tmp_path / "f.npz")
    assert np.allclose(back.mu, there.mu) and np.array_equal(back.sigma, there.sigma) and back.n is None
    assert back.mu.dtype == np.float64


@pytest.mark.parametrize("arrays", [
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array([10, 20])},
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.zeros((2, 2))},
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array(-4)},
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array(2.5)},
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array("many")},
    {"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array(np.nan)},
    {"mu": np.zeros(3)},
    {"mu": np.zeros((3, 1)), "sigma": np.eye(3)},
    {"mu": np.zeros(()), "sigma": np.eye(3)},
    {"mu": np.zeros(0), "sigma": np.zeros((0, 0))},
    {"mu": np.zeros(3), "sigma": np.eye(4)},
    {"mu": np.zeros(3) + 1j, "sigma": np.eye(3)},
    {"mu": np.array([1, None], object), "sigma": np.eye(2)},
    {"mu": np.array(["a", "b"]), "sigma": np.eye(2)},
    {"mu": np.zeros(2), "sigma": np.array([[1.0, 5.0], [-5.0, 1.0]])},
    {"mu": np.zeros(2), "sigma": -np.eye(2)},
    {"mu": np.zeros(2), "sigma": np.array([[1.0, 2.0], [2.0, 1.0]])},
    {"mu": np.zeros(2), "sigma": np.array([[1.0, 5e-4], [0.0, 1.0]])},
    {"mu": np.full(2, np.inf), "sigma": np.eye(2)},
])  # fmt: skip
def test_what_are_no_statistics(tmp_path, arrays):
    npz(tmp_path / "s.npz", **arrays)
    with pytest.raises(ValueError, match="s.npz") as error:
        read_statistics(tmp_path / "s.npz")
    assert "\n" not in str(error.value)


def test_files_that_are_no_statistics(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = npz(tmp_path / "good.npz", mu=np.arange(64.0), sigma=np.eye(64), n=9).read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    contents = {
        "cut": good[: len(good) // 2], "empty": b"", "page": b"<html><body>404</body></html>",
        "array": (tmp_path / "array.npy").read_bytes(), "pickle": b"\x80\x04N.", "ended": good[:-1],
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        assert evaluate.main(["fid", "digits", "--reference", f"{name}.npz", "--out", "r.json"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith("error: ") and f"{name}.npz" in error
    for name in ("array.npy", "."):
        assert evaluate.main(["fid", "digits", "--reference", name, "--out", "r.json"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_flipped_bits_in_statistics(tmp_path):
    whole = npz(tmp_path / "s.npz", mu=np.arange(8.0), sigma=np.eye(8), n=9).read_bytes()
    good = read_statistics(tmp_path / "s.npz")
    for at in range(0, len(whole) * 8, 5):
        content = bytearray(whole)
        content[at // 8] ^= 1 << at % 8
        (tmp_path / "s.npz").write_bytes(content)
        try:
            found = read_statistics(tmp_path / "s.npz")
        except ValueError as error:
            assert "\n" not in str(error)
        else:  # a bit that says nothing of the numbers, or the name of n
            assert np.array_equal(found.mu, good.mu) and np.array_equal(found.sigma, good.sigma)
            assert found.n in (None, 9)


def test_statistics_that_unpack_to_gigabytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("mu", "(22000,)"), ("sigma", "(22000, 22000)")):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(header(shape))
                for _ in range(64):
                    file.write(bytes(2**20))
    with zipfile.ZipFile(tmp_path / "lie.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", header("(99999999999999999999,)"))
        archive.writestr("sigma.npy", header("(-1, -1)"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2**28, before[1]))
    try:
        for name in ("bomb.npz", "lie.npz"):
            with pytest.raises(ValueError, match="mu has the shape"):
                read_statistics(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_apps_open_pictures_alike(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    flat_png(tmp_path / "bomb.png", 13_000, 13_000)
    (tmp_path / "ps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    for name, words in (("pipe.png", "not a regular file"), ("bomb.png", "smaller copy"), ("ps.png", "not an image")):
        assert apply.main(["inpaint", "digits", "--images", name, "--out", "o.png"]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert stat.S_ISFIFO(os.stat("pipe.png").st_mode)


CASES = Path(__file__).parents[2] / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_cases_that_were_reported():
    for name in ("pgm16.pgm", "tiff16_whiteiszero.tif", "tiff_int16signed.tif"):
        found = grey_of(CASES / name, 32)
        assert found[0, 0] == 64 and found.max() == 191, name  # dark on the left, light on the right
    turned = read_image(CASES / "exif_rational_minus1_0.jpg", size=8)
    with Image.open(CASES / "exif_rational_minus1_0.jpg") as image:
        upright = image.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(turned, decoding.cut_and_resize(np.asarray(upright), 8, 3))
    for name in ("truncated.npz", "html.npz"):
        with pytest.raises(ValueError, match=name):
            read_statistics(CASES / name)
