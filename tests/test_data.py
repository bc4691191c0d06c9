"""Data, batches and pictures."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.files import check_writable, replacing
from ddim_edu.lab.data import Shuffle, check_picture, digits, load_data, save_grid
from ddim_edu.sampler import generator_for


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


@pytest.mark.parametrize("name, says", [("grid.txt", "grid.txt"), ("grid", ".png"), ("no/grid.png", "no folder"), (".", "picture")])
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
