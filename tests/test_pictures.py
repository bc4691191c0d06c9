"""Pictures that are written: grids, and files that are there whole or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.files import alone, check_writable, replacing

pytestmark = pytest.mark.usefixtures("cache")


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


def test_what_is_not_finite_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        save_grid(torch.full((1, 1, 8, 8), float("nan")), tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


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
