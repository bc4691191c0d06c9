"""Data, batches and pictures."""

import gzip
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter
from hashlib import blake2b
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from ddim_edu import plugins
from ddim_edu.commands import train
from ddim_edu.data import cache as cache_module
from ddim_edu.data import decoding, layout
from ddim_edu.data import folder as folder_module
from ddim_edu.data import named as named_module
from ddim_edu.data.batches import Shuffle, mirror
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.data.decoding import read_image
from ddim_edu.data.named import SOURCES, digits
from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.data.registry import known_source, load_data, load_data_for, source_of
from ddim_edu.data.source import Source
from ddim_edu.data.walk import File, Found
from ddim_edu.files import alone, check_writable, replacing
from ddim_edu.measuring.reference import reference_images
from ddim_edu.models import load, load_classifier
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.randomness import generator_for

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DDIM_EDU_CACHE", str(folder))
    return folder


def noise(seed, height=8, width=8, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(path, seed=0, **form):
    """A picture of noise, and its pixels as (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = noise(seed, **form)
    Image.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


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


def picture(path):
    return np.asarray(Image.open(path).convert("L")).astype(float)


def test_grid_shows_the_images_in_reading_order(tmp_path):
    levels = torch.tensor([-1.0, 1.0, 0.0, 5.0, -5.0])
    save_grid(levels[:, None, None, None].expand(-1, 1, 8, 8), tmp_path / "grid.png", side=16)
    seen = picture(tmp_path / "grid.png")
    assert seen.shape == (2 * 18 + 2, 3 * 18 + 2)  # 3 x 2 cells of 16 pixels, lines of 2
    centres = [seen[10 + 18 * r, 10 + 18 * c] for r in range(2) for c in range(3)]
    assert centres == pytest.approx([0, 255, 127.5, 255, 0, 0.3 * 255], abs=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.png"]


def test_grid_in_squares_keeps_the_pixels(tmp_path):
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_grid(x, tmp_path / "grid.png", side=8, smooth=False)
    image = np.asarray(Image.open(tmp_path / "grid.png")).astype(float)
    inner = image if image.shape[:2] == (8, 8) else image[2:-2, 2:-2]
    expected = ((x[0] + 1) / 2 * 255).permute(1, 2, 0).numpy()
    for dy in (0, 1):
        for dx in (0, 1):
            np.testing.assert_allclose(inner[dy::2, dx::2], expected, atol=0.51)


def test_large_images_keep_their_size(tmp_path):
    save_grid(torch.zeros(4, 3, 64, 64), tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").size == (2 * 66 + 2, 2 * 66 + 2)


@pytest.mark.parametrize(
    "name, says", [("grid.txt", "grid.txt"), ("grid", ".png"), ("no/grid.png", "no folder"), (".", "picture")]
)
def test_pictures_that_cannot_be_written(tmp_path, name, says):
    with pytest.raises(ValueError) as error:
        check_picture(tmp_path / name)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written():
    if os.name != "posix" or not os.path.isdir("/proc/self"):
        pytest.skip("needs a folder that even the superuser can't write")
    with pytest.raises(ValueError, match="/proc/self"):
        check_writable("/proc/self/grid.png")


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        check_writable(tmp_path)


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_replacing_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_a_folder_is_held_by_one_process(tmp_path):
    folder = tmp_path / "parts"
    with alone(folder):
        with pytest.raises(ValueError, match="another process is at work in .*parts"), alone(folder):
            raise AssertionError
        code = f"from ddim_edu.files import alone; alone({str(folder)!r}).__enter__()"
        held = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert held.returncode == 1 and b"another process" in held.stderr
        assert folder.is_dir()  # the one that was refused took nothing away
    assert not folder.exists()  # nothing was put into it
    with pytest.raises(KeyboardInterrupt), alone(folder):
        (folder / "kept").touch()
        raise KeyboardInterrupt
    with alone(folder):  # free again, with what it holds
        assert (folder / "kept").exists()


# ---- what becomes of one image


def test_pixels_that_need_no_change_stay_as_they_are(tmp_path):
    for ending in (".png", ".bmp", ".tif", ".ppm"):
        pixels = write(tmp_path / f"a{ending}")
        assert np.array_equal(read_image(tmp_path / f"a{ending}", size=8), pixels)
    Image.fromarray(noise(0)).save(tmp_path / "a.webp", lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.webp", size=8), noise(0).transpose(2, 0, 1))


def plain(value, mode="RGB", size=(8, 8)):
    return Image.new(mode, size, value)


def palette(transparency):
    image = plain(7, "P")
    image.putpalette([0, 0, 0] * 7 + [10, 200, 30])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def sixteen_bits(value):
    return Image.fromarray(np.full((8, 8), value, np.uint16))


@pytest.mark.parametrize(
    "image, name, colour, grey",
    [
        (plain((10, 200, 30)), "a.png", (10, 200, 30), 124),  # luma: 0.299 R + 0.587 G + 0.114 B
        (plain((10, 200, 30)), "a.jpg", (10, 200, 30), 124),
        (plain((10, 200, 30)), "a.webp", (10, 200, 30), 124),
        (plain(77, "L"), "a.png", (77,) * 3, 77),
        (plain(77, "L"), "a.JPEG", (77,) * 3, 77),
        (plain(1, "1"), "a.png", (255,) * 3, 255),
        (sixteen_bits(65535), "a.png", (255,) * 3, 255),
        (sixteen_bits(25700), "a.png", (100,) * 3, 100),  # 257 times as much; a conversion by Pillow may clip it
        (sixteen_bits(128), "a.png", (0,) * 3, 0),
        (sixteen_bits(129), "a.png", (1,) * 3, 1),  # rounded
        (sixteen_bits(25700), "a.tif", (100,) * 3, 100),
        (palette(None), "a.png", (10, 200, 30), 124),
        (palette(7), "a.png", (255,) * 3, 255),  # transparent: white
        (plain((10, 200, 30, 255), "RGBA"), "a.png", (10, 200, 30), 124),
        (plain((10, 200, 30, 0), "RGBA"), "a.png", (255,) * 3, 255),
        (plain((100, 51), "LA"), "a.png", (224,) * 3, 224),  # a fifth of 100 on four fifths of white
        (plain((255, 0, 255, 0), "CMYK"), "a.jpg", (0, 255, 0), 150),
        (plain((10, 200, 30), "RGB"), "a.gif", (10, 200, 30), 124),
    ],
    ids=lambda v: "" if not isinstance(v, str) else v,
)
def test_every_kind_of_image_becomes_8_bits_of_colour_or_grey(tmp_path, image, name, colour, grey):
    image.save(tmp_path / name)
    tolerance = 4 if name.endswith((".jpg", ".webp")) else 1
    expected = np.broadcast_to(np.reshape(colour, (3, 1, 1)), (3, 8, 8))
    np.testing.assert_allclose(read_image(tmp_path / name, size=8).astype(int), expected, atol=tolerance - 1)
    np.testing.assert_allclose(
        read_image(tmp_path / name, size=8, channels=1).astype(int), np.full((1, 8, 8), grey), atol=tolerance
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_photographs_are_turned_upright(tmp_path, name):
    image = plain((0, 0, 0), size=(16, 8))
    image.paste((255, 255, 255), (8, 0, 16, 8))  # the right half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: what is on the right is then below
    image.save(tmp_path / name, exif=exif)
    upright = read_image(tmp_path / name, size=8).astype(int)
    assert upright[:, :3].max() < 60 and upright[:, -3:].min() > 195


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [plain(value, "L") for value in (50, 150, 250)]
    for name in ("a.gif", "a.tif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert read_image(tmp_path / name, size=8).mean() == 50


def test_32_bit_pixels_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="32-bit"):
        read_image(tmp_path / "a.tif", size=8)


def test_reduction_is_antialiased(tmp_path):
    board = np.indices((32, 32)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "a.png")
    small = read_image(tmp_path / "a.png", size=16, channels=1)[0].astype(int)
    assert np.abs(small[1:-1, 1:-1] - 127.5).max() <= 0.5  # every second pixel would be all black, or all white
    x = np.arange(256)
    stripes = np.broadcast_to(127.5 + 127.5 * np.cos(2 * np.pi * x * 100 / 256), (256, 256))  # too fine for 64 pixels
    Image.fromarray(stripes.round().astype(np.uint8)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png", size=64, channels=1)[0, 4:-4, 4:-4].std() < 3


@pytest.mark.parametrize("height, width, size", [(20, 40, 10), (40, 20, 10), (21, 60, 7), (8, 8, 16), (30, 30, 30)])
def test_shorter_side_then_central_square(tmp_path, height, width, size):
    write(tmp_path / "a.png", height=height, width=width)
    with Image.open(tmp_path / "a.png") as image:
        resized = TF.resize(image, size, TF.InterpolationMode.BICUBIC)
        expected = np.asarray(TF.center_crop(resized, size)).transpose(2, 0, 1)
    found = read_image(tmp_path / "a.png", size=size)
    assert found.shape == (3, size, size)
    if (width - height) * size // height % 2 == 0:  # otherwise the square begins between two pixels
        np.testing.assert_allclose(found.astype(int), expected, atol=1)


def test_the_square_is_cut_from_the_middle(tmp_path):
    pixels = write(tmp_path / "wide.png", height=8, width=13)
    assert np.array_equal(read_image(tmp_path / "wide.png", size=8), pixels[:, :, 2:10])
    pixels = write(tmp_path / "high.png", height=14, width=8)
    assert np.array_equal(read_image(tmp_path / "high.png", size=8), pixels[:, 3:11])


def test_the_celeba_crop_is_the_official_codes(tmp_path):
    pixels = write(tmp_path / "a.png", height=218, width=178)
    assert np.array_equal(
        read_image(tmp_path / "a.png", size=128, crop="celeba"), pixels[:, 121 - 64 : 121 + 64, 89 - 64 : 89 + 64]
    )
    with Image.open(
        tmp_path / "a.png"
    ) as image:  # the official code, in words: crop(top 57, left 25, 128 x 128), then Resize(64)
        expected = np.asarray(TF.resize(TF.crop(image, 57, 25, 128, 128), 64)).transpose(2, 0, 1)
    assert np.array_equal(read_image(tmp_path / "a.png", size=64, crop="celeba"), expected)
    write(tmp_path / "b.png", height=64, width=64)
    with pytest.raises(ValueError, match="64 x 64 pixels, where crop 'celeba' needs 178 x 218"):
        read_image(tmp_path / "b.png", size=64, crop="celeba")


# ---- folders


def by_lot(names, n):
    """Which of the files of a class are held out: by the documented hash of their names, reckoned here once more."""
    return sorted(sorted(range(len(names)), key=lambda i: blake2b(names[i].encode()).hexdigest())[:n])


def test_a_flat_folder(tmp_path):
    pixels = {i: write(tmp_path / f"{i:03d}.png", i) for i in range(101)}
    data = load_data(tmp_path, size=8)
    lots = by_lot([f"{i:03d}.png" for i in range(101)], 3)
    assert lots != sorted(range(0, 101, 50))
    assert data.top == 255 and data.classes == (tmp_path.name,)
    assert data.train.shape == (98, 3, 8, 8) and data.train.dtype == torch.uint8
    for images, labels, numbers in (
        (data.heldout, data.heldout_labels, lots),
        (data.train, data.train_labels, [i for i in range(101) if i not in lots]),
    ):
        assert np.array_equal(images.numpy(), np.stack([pixels[i] for i in numbers]))
        assert labels.dtype == torch.int64 and not labels.any() and len(labels) == len(images)
    with pytest.raises(ValueError, match="size"):
        load_data(tmp_path)


def test_at_most_10000_are_held_out(monkeypatch):
    monkeypatch.setattr(layout, "HELDOUT_MOST", 4)
    names = [f"{i:04d}.png" for i in range(999)]
    found = Found([File(name, 1, 1) for name in names])
    monkeypatch.setattr(layout, "walk", lambda folder: found)
    listing = layout.list_images(Path("."), "old")
    assert [file.name for file in listing.files[listing.n_train :]] == ["0000.png", "0250.png", "0500.png", "0750.png"]
    listing = layout.list_images(Path("."))
    assert [file.name for file in listing.files[listing.n_train :]] == [names[i] for i in by_lot(names, 4)]
    assert len(listing.files) == 999 and len({file.name for file in listing.files}) == 999


def test_a_folder_of_classes(tmp_path):
    for k, name in enumerate(["dog", "cat", "Ant"]):
        for i in range(40):
            write(tmp_path / name / "deeper" / f"{i}.png", 100 * k + i) if i % 2 else write(
                tmp_path / name / f"{i}.png", 100 * k + i
            )
    data = load_data(str(tmp_path), size=8)
    assert data.classes == ("Ant", "cat", "dog")
    assert torch.bincount(torch.cat([data.train_labels, data.heldout_labels])).tolist() == [40, 40, 40]
    assert data.heldout_labels.tolist() == [0, 1, 2]  # one of each 40
    seeds = {tuple(noise(100 * k + i).transpose(2, 0, 1).ravel()): 2 - k for k in range(3) for i in range(40)}
    for image, label in zip(data.train, data.train_labels):
        assert seeds[tuple(image.ravel().tolist())] == label


@pytest.mark.parametrize("name", ["test", "heldout", "val"])
def test_a_folder_in_parts(tmp_path, name):
    for k, animal in enumerate(["cat", "dog"]):
        for i in range(5):
            write(tmp_path / "train" / animal / f"{i}.png", 10 * k + i)
    held = write(tmp_path / name / "dog" / "x.png", 99)
    write(tmp_path / "masks" / "not-for-training.png", 98)
    data = load_data(tmp_path, size=8)
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5 and data.heldout_labels.tolist() == [1]
    assert np.array_equal(data.heldout.numpy()[0], held) and data.classes == ("cat", "dog")
    write(tmp_path / name / "cow" / "x.png")
    with pytest.raises(ValueError, match="the class 'cow'"):
        load_data(tmp_path, size=8)
    shutil.rmtree(tmp_path / name)
    shutil.rmtree(tmp_path / "masks")
    assert load_data(tmp_path, size=8).heldout_labels.tolist() == [0, 1]  # of each class one
    write(tmp_path / name / "x.png")
    with pytest.raises(ValueError, match=f"classes in only one of 'train' and '{name}'"):
        load_data(tmp_path, size=8)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(ValueError, match="no images in a folder for training: call that 'train'"):
        load_data(tmp_path, size=8)


def test_flat_parts(tmp_path):
    for i in range(3):
        write(tmp_path / "train" / f"{i}.png", i)
    held = write(tmp_path / "test" / "0.png", 9)
    data = load_data(tmp_path, size=8)
    assert len(data.train) == 3 and np.array_equal(data.heldout.numpy()[0], held) and len(data.classes) == 1


def test_what_is_no_image_is_passed_over_and_counted(tmp_path, capsys):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    for name in (".hidden.png", ".thumbnails/a.png", "notes.txt", "b.heic", "v1.0/README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(load_data(tmp_path, size=8).train) == 2
    said = capsys.readouterr().err
    assert "3 other files" in said and ".heic (1)" in said and ".txt (1)" in said and "no ending (1)" in said
    load_data(tmp_path, size=8)
    assert capsys.readouterr().err == ""  # said once, when they were decoded; and there is no bar where nobody looks


def test_links_are_followed_but_not_in_circles(tmp_path):
    try:
        os.symlink(tmp_path, tmp_path / "circle", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    for i in range(3):
        write(tmp_path / "a" / f"{i}.png", i)
    write(tmp_path / "c" / "0.png", 9)
    os.symlink(tmp_path / "a", tmp_path / "b", target_is_directory=True)
    data = load_data(tmp_path, size=8)
    assert data.classes == ("a", "c") and len(data.train) == 3 and len(data.heldout) == 1
    assert "read once: b is a, circle is ." in data.taken_as
    os.symlink(tmp_path / "nothing.png", tmp_path / "a" / "9.png")
    with pytest.raises(ValueError, match="a/9.png.*no such file"):
        load_data(tmp_path, size=8)


def test_colour_and_grey(tmp_path, capsys):
    write(tmp_path / "0.png", channels=1)
    write(tmp_path / "1.png")
    write(tmp_path / "2.png")
    assert load_data(tmp_path, size=8, channels=3).train.shape == (2, 3, 8, 8)
    assert capsys.readouterr().err == ""
    data = load_data(tmp_path, size=8, channels=1)
    assert data.train.shape == (2, 1, 8, 8)
    assert "2 of 3 images" in (said := capsys.readouterr().err) and "grey" in said and said.count("\n") == 1
    luma = (noise(0) @ [0.299, 0.587, 0.114]).round()
    np.testing.assert_allclose(data.train[1, 0], luma, atol=1)  # 1.png: the last is held out


def test_celeba_hq_layout(tmp_path):
    """A flat folder of images of 256 x 256, as the recipe reads them."""
    for i in range(3):
        write(tmp_path / f"{i:05d}.png", i, height=256, width=256)
    data = load_data(tmp_path, size=256)
    assert data.train.shape == (2, 3, 256, 256) and np.array_equal(
        data.train[0].numpy(), noise(1, 256, 256).transpose(2, 0, 1)
    )


def test_celeba_layout(tmp_path):
    for i in range(1, 4):
        write(tmp_path / "img_align_celeba" / f"{i:06d}.png", i, height=218, width=178)
    data = load_data(tmp_path, size=64, crop="celeba")
    assert data.train.shape == (2, 3, 64, 64) and data.heldout.shape == (1, 3, 64, 64)
    assert np.array_equal(
        data.train[1], read_image(tmp_path / "img_align_celeba" / "000003.png", size=64, crop="celeba")
    )
    write(tmp_path / "img_align_celeba" / "odd.png")
    with pytest.raises(ValueError, match="odd.png .8 x 8 pixels, where crop"):
        load_data(tmp_path, size=64, crop="celeba")


@pytest.mark.parametrize(
    "options, says",
    [
        ({"size": 0}, "size = 0"),
        ({"size": 8, "channels": 2}, "channels = 2"),
        ({"size": 8, "crop": "celebb"}, "crop 'celebb'.*celeba"),
        ({"size": 8, "max_bad": 1.0}, "max_bad = 1"),
        ({"size": 8, "max_bad": -0.1}, "max_bad = -0.1"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, says):
    write(tmp_path / "0.png")
    with pytest.raises(ValueError, match=says) as error:
        load_data(tmp_path, **options)
    one_line(error)


def test_folders_that_hold_nothing_to_train_on(tmp_path):
    def refuses(path, says):
        with pytest.raises(ValueError, match=says) as error:
            load_data(path, size=8)
        assert str(path) in one_line(error)

    refuses(tmp_path / "missing", "no data set or folder")
    refuses(tmp_path, "holds no images")
    (tmp_path / "notes.txt").write_text("x")
    refuses(tmp_path, "no images .but 1 other files: .txt")
    refuses(tmp_path / "notes.txt", "is a file: unpack")
    write(tmp_path / "0.png")
    refuses(tmp_path, "none to hold out")
    write(tmp_path / "1.png")
    assert len(load_data(tmp_path, size=8).train) == 1
    write(tmp_path / "sub" / "2.png")
    refuses(tmp_path, "beside folders of images .0.png and sub/2.png")


# ---- images that can't be read


def test_unreadable_images_are_named_and_never_dropped_silently(tmp_path, cache, capsys):
    for i in range(60):
        write(tmp_path / f"{i:02d}.png", i)
    whole = (tmp_path / "07.png").read_bytes()
    (tmp_path / "07.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "08.png").write_bytes(b"")
    (tmp_path / "09.jpg").write_text("not an image")
    Image.fromarray(noise(0, 64, 64)).save(
        tmp_path / "50.png", format="jpeg"
    )  # another content than its name says: fine
    whole = (tmp_path / "50.png").read_bytes()
    (tmp_path / "51.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError) as error:
        load_data(tmp_path, size=8)
    said = one_line(error)
    assert (
        "4 of 61 images" in said and "07.png (" in said and "08.png (empty)" in said and "09.jpg (not an image" in said
    )
    assert "51.png" not in said and "max_bad = 0.07" in said
    [listed] = cache.glob("*.bad.txt")
    assert str(listed) in said
    assert [line.split("\t")[0] for line in listed.read_text().splitlines()] == ["07.png", "08.png", "09.jpg", "51.png"]
    with pytest.raises(ValueError, match="4 of 61"):
        load_data(tmp_path, size=8, max_bad=0.06)
    capsys.readouterr()
    data = load_data(tmp_path, size=8, max_bad=0.07)
    said = capsys.readouterr().err
    assert "left out" in said and "07.png" in said and said.count("\n") == 1
    assert (len(data.train), len(data.heldout)) == (55, 2)
    names = sorted([*(f"{i:02d}.png" for i in range(60)), "09.jpg"])
    held = {names[i] for i in by_lot(names, 2)}
    left = [i for i in range(60) if i not in (7, 8, 51) and f"{i:02d}.png" not in held]
    assert np.array_equal(data.train[6], noise(left[6]).transpose(2, 0, 1))
    assert len(data.train_labels) == 55
    for name in ("07.png", "08.png", "09.jpg", "51.png"):
        (tmp_path / name).unlink()
    assert len(load_data(tmp_path, size=8).train) == 55
    assert not list(cache.glob("*.bad.txt"))


def test_a_folder_of_which_nothing_can_be_read(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_text("x")
    with pytest.raises(ValueError, match="3 of 3 images .*repair or remove them$"):
        load_data(tmp_path, size=8, max_bad=0.99)


def test_a_file_that_could_not_be_read_for_a_while(tmp_path, monkeypatch):
    """A permission, or a disk that is mended: the file's time of modification stays the same."""
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    read = decoding.decode

    def denied(path, *form):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return read(path, *form)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode", denied)
        for _ in range(2):
            with pytest.raises(ValueError, match="1.png .permission denied"):
                load_data(tmp_path, size=8)
        assert len(load_data(tmp_path, size=8, max_bad=0.5).train) == 1
    assert len(load_data(tmp_path, size=8).train) == 2


# ---- the cache


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that have been decoded."""
    names, decode = [], folder_module._Decoded._decode
    monkeypatch.setattr(
        folder_module._Decoded, "_decode", lambda self, file: names.append(file.name) or decode(self, file)
    )
    return names


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip((one.train, one.heldout), (other.train, other.heldout)))


def test_images_are_decoded_once(tmp_path, decoded, cache):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    first = load_data(tmp_path, size=8)
    assert sorted(decoded) == [f"{i}.png" for i in range(5)]
    assert same(load_data(tmp_path, size=8), first) and len(decoded) == 5
    load_data(tmp_path, size=4)
    load_data(tmp_path, size=8, channels=1)
    assert len(decoded) == 15
    assert same(load_data(tmp_path, size=8), first) and len(decoded) == 15  # each has a file of its own
    assert len(list(cache.glob("*.pixels"))) == 3 and not [p for p in cache.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("how", ["content", "time", "name", "more", "less"])
def test_a_changed_folder_is_decoded_again(tmp_path, decoded, cache, how):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    load_data(tmp_path, size=8)
    if how == "content":
        write(tmp_path / "3.png", 99, height=9)
    elif how == "time":  # the same size, but written later
        os.utime(tmp_path / "3.png", (time.time() + 10,) * 2)
    elif how == "name":
        (tmp_path / "3.png").rename(tmp_path / "9.png")
    elif how == "more":
        write(tmp_path / "9.png", 9)
    else:
        (tmp_path / "3.png").unlink()
    decoded.clear()
    data = load_data(tmp_path, size=8)
    assert len(decoded) == len(data.train) + len(data.heldout) == {"more": 6, "less": 4}.get(how, 5)
    assert len(list(cache.glob("*.pixels"))) == 1  # over the old one


def test_another_format_of_the_cache_is_not_trusted(tmp_path, decoded, monkeypatch):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    load_data(tmp_path, size=8)
    monkeypatch.setattr(folder_module, "FORMAT", 10**6)
    load_data(tmp_path, size=8)
    assert len(decoded) == 6


@pytest.mark.parametrize("in_memory", [2**30, 0])
@pytest.mark.parametrize("how", ["short", "long", "bit", "json", "list", "number", "no json", "no pixels"])
def test_a_damaged_cache_is_not_trusted(tmp_path, decoded, cache, capsys, monkeypatch, how, in_memory):
    monkeypatch.setattr(cache_module, "IN_MEMORY", in_memory)
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    first = load_data(tmp_path, size=8)
    expected = first.train.clone()
    [pixels], [about] = cache.glob("*.pixels"), cache.glob("*.json")
    content = pixels.read_bytes()
    del first
    if how in ("short", "long"):
        pixels.write_bytes(content[:-1] if how == "short" else content + b"x")
    elif how == "bit":
        pixels.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif how == "json":
        about.write_text(about.read_text()[:50])
    elif how in ("list", "number"):
        about.write_text({"list": "[1]", "number": about.read_text().replace('"bad": []', '"bad": 3')}[how])
    else:
        (about if how == "no json" else pixels).unlink()
    data = load_data(tmp_path, size=8)
    assert len(decoded) == 10 and torch.equal(data.train, expected) and pixels.read_bytes() == content
    assert ("damaged" in capsys.readouterr().err) == (not how.startswith("no"))
    load_data(tmp_path, size=8)
    assert len(decoded) == 10


def test_interrupted_decoding_leaves_nothing(tmp_path, cache, monkeypatch):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)

    def decode(self, file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder_module._Decoded, "_decode", decode)
        load_data(tmp_path, size=8)
    assert list(cache.iterdir()) == []
    assert len(load_data(tmp_path, size=8).train) == 4


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("when", ["decoding", "between the two files"])
def test_killed_decoding_leaves_nothing_that_is_trusted(tmp_path, cache, decoded, when):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    code = """
import os, signal, sys
from ddim_edu.data import cache, folder
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "decoding":
    decode = folder._Decoded._decode
    folder._Decoded._decode = lambda self, file: die() if file.name == "3.png" else decode(self, file)
else:
    dumps = cache.json.dumps
    cache.json.dumps = lambda value: die() if "crc32" in value else dumps(value)
folder.read_folder(sys.argv[1], size=8)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), when], capture_output=True, text=True)
    assert run.returncode == -9, run.stderr
    left = sorted(cache.iterdir())
    if when == "decoding":
        assert [p.suffix for p in left] == [".pixels"] and left[0].name.startswith(".")
    else:
        assert [p.suffix for p in left] == [".json", ".pixels"] and left[0].name.startswith(".")
    data = load_data(tmp_path, size=8)
    [held] = by_lot([f"{i}.png" for i in range(5)], 1)
    assert len(decoded) == 5 and np.array_equal(data.train[3], noise(4 - (held == 4)).transpose(2, 0, 1))
    assert left[0].exists()  # another process may be writing it
    os.utime(left[0], (time.time() - 100_000,) * 2)
    write(tmp_path / "9.png")
    load_data(tmp_path, size=8)
    assert not left[0].exists()


def test_a_cache_that_can_not_be_written(tmp_path, monkeypatch, cache):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="can't write the cache folder.*DDIM_EDU_CACHE") as error:
            load_data(tmp_path, size=8, cache_dir=place)
        one_line(error)
    usage = shutil.disk_usage(cache)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda place: usage._replace(free=500))
    with pytest.raises(ValueError, match="need 0.0 GB .*DDIM_EDU_CACHE"):
        load_data(tmp_path, size=8)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DDIM_EDU_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("DDIM_EDU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "ddim_edu"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_cache_dir() == tmp_path / ".cache" / "ddim_edu"


def test_a_large_set_is_mapped(tmp_path, monkeypatch):
    for i in range(6):
        write(tmp_path / f"{i}.png", i)
    small = load_data(tmp_path, size=8)
    monkeypatch.setattr(cache_module, "IN_MEMORY", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = load_data(tmp_path, size=8)
        assert isinstance(folder_module.read_folder(tmp_path, size=8).pixels, np.memmap)
        assert same(mapped, small)
        indices = torch.tensor([4, 0, 0, 2])
        batch = mapped.batch(indices, "cpu")
    assert (
        batch.dtype == torch.uint8
        and torch.equal(batch, small.train[indices])
        and torch.equal(small.batch(indices), batch)
    )
    batch.zero_()  # a batch is the caller's own
    assert same(mapped, small)


def test_data_move_to_a_device_only_if_they_fit(tmp_path):
    data = digits()  # 1,797 images of 64 bytes
    moved = data.to("meta", limit=1797 * 64)
    assert moved.train.is_meta and moved.heldout_labels.is_meta and moved.classes == data.classes and moved.top == 16
    assert data.to("meta", limit=1797 * 64 - 1) is data
    assert data.to("meta").train.is_meta and not data.to("cpu").train.is_meta
    assert data.batch(torch.tensor([1, 2]), "meta").shape == (2, 1, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_cuda_device():
    data, indices = digits(), torch.tensor([5, 3, 3])
    expected = data.train[indices]
    for place in (data, data.to("cuda")):
        for i in (indices, indices.cuda()):
            batch = place.batch(i, "cuda")
            assert batch.is_cuda and torch.equal(batch.cpu(), expected)


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
        ("my_stripes:torch", "has no function torch"),
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
