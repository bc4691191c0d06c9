"""Folders of images: which are taken, which are held out, and those that can't be read."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import by_lot, noise, one_line, write
from PIL import Image

from ddim_edu.data import decoding, layout
from ddim_edu.data.decoding import read_image
from ddim_edu.data.registry import load_data
from ddim_edu.data.walk import File, Found

pytestmark = pytest.mark.usefixtures("cache")


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
