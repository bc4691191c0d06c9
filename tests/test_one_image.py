"""What becomes of one image on its way to 8 bits in a square."""

import numpy as np
import pytest
from picture_files import noise, plain, write
from PIL import Image
from torchvision.transforms import functional as TF

from ddim_edu.data.decoding import read_image

pytestmark = pytest.mark.usefixtures("cache")


def test_pixels_that_need_no_change_stay_as_they_are(tmp_path):
    for ending in (".png", ".bmp", ".tif", ".ppm"):
        pixels = write(tmp_path / f"a{ending}")
        assert np.array_equal(read_image(tmp_path / f"a{ending}", size=8), pixels)
    Image.fromarray(noise(0)).save(tmp_path / "a.webp", lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.webp", size=8), noise(0).transpose(2, 0, 1))


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
