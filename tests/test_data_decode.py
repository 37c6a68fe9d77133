"""One image file: any kind becomes square RGB, and a faulty one is named."""

import numpy as np
import pytest
from PIL import Image

from tinysmooth.data import read_image


def test_the_shorter_side_is_fitted_and_the_longer_cropped_evenly(tmp_path):
    """Three stripes of equal width: the crop keeps the middle and half of each neighbour."""
    stripes = np.zeros((30, 60, 3), np.uint8)
    stripes[:, 20:40] = 255
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    row = read_image(tmp_path / "wide.png", 30)[15, :, 0].astype(int)
    np.testing.assert_array_equal(row[:3], 0)
    np.testing.assert_array_equal(row[8:22], 255)
    np.testing.assert_array_equal(row[-3:], 0)
    np.testing.assert_array_equal(row, row[::-1])


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "RGBA", "I;16"])
def test_every_kind_of_image_becomes_rgb(tmp_path, mode):
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    path = tmp_path / "image"
    if mode == "I;16":
        Image.fromarray(np.full((20, 20), 51400, np.uint16)).save(path, kind)
    else:
        image = Image.new("RGB", (20, 20), (200, 200, 200))
        (image.quantize(16) if mode == "P" else image.convert(mode)).save(path, kind)
    pixels = read_image(path, 16)
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    if mode != "1":
        assert abs(int(pixels[8, 8, 0]) - 200) <= 3
        assert np.ptp(pixels[8, 8].astype(int)) <= 3


def test_what_is_transparent_stands_on_white(tmp_path):
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", 8) == 255).all()


def test_photographs_are_turned_upright(tmp_path):
    lying = np.zeros((20, 20, 3), np.uint8)
    lying[:, :10] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left is up
    Image.fromarray(lying).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "turned.jpg", 20)
    assert pixels[:8].min() > 240 and pixels[12:].max() < 15


def test_odd_metadata_is_no_reason_to_warn_or_to_skip(tmp_path):
    path = tmp_path / "odd.jpg"
    Image.new("RGB", (20, 20), (9, 9, 9)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0bad")
    assert read_image(path, 8).max() < 20


def test_a_large_jpeg_decoded_small_looks_like_itself(tmp_path):
    ramp = np.linspace(0, 255, 400).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[None, :, None], (400, 400, 3)).copy())
    image.save(tmp_path / "large.jpg", quality=95)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(read_image(tmp_path / "large.jpg", 16).astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty file"), (b"GIF89a", "x: .*expected an image")]
)
def test_read_image_names_what_is_wrong(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=f"read_image: .*{words}"):
        read_image(tmp_path / "x", 16)


def test_read_image_refuses_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="read_image: .*gone.png is not a file"):
        read_image(tmp_path / "gone.png", 16)
    with pytest.raises(TypeError, match="path is a int"):
        read_image(3, 16)
