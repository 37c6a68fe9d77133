"""One image file: any kind becomes square RGB, and a faulty one is named."""

import struct
import zlib

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


def halves(left, right, dtype=np.uint8):
    """An array of 10 x 20 with one value in its left half and another in its right one."""
    return np.repeat(np.array([[left] * 10 + [right] * 10], dtype), 10, axis=0)


def left_and_right(path):
    """Read an image of halves twice as wide as high: its middle has one half of each."""
    pixels = read_image(path, 10)
    return pixels[5, 1].tolist(), pixels[5, 8].tolist()


@pytest.mark.parametrize(
    ("pixels", "key", "dark"),
    [
        (np.stack([halves(200, 30), halves(10, 30), halves(0, 30)], axis=2), (200, 10, 0), 30),
        (halves(200, 30), 200, 30),
        (halves(51400, 7710, np.uint16), 51400, 30),
    ],
    ids=["RGB", "grey", "16 bits"],
)
def test_a_colour_that_is_declared_transparent_stands_on_white(tmp_path, pixels, key, dark):
    Image.fromarray(pixels).save(tmp_path / "keyed.png", transparency=key)
    assert left_and_right(tmp_path / "keyed.png") == ([255] * 3, [dark] * 3)


@pytest.mark.parametrize(
    ("pixels", "levels"),
    [
        (halves(0.2, 0.8, np.float32), (51, 204)),
        (halves(51.0, 204.0, np.float32), (51, 204)),
        (halves(51, 204, np.int32), (51, 204)),
        (halves(51 * 257, 204 * 257, np.int32), (51, 204)),
    ],
)
def test_wide_numbers_become_grey_levels(tmp_path, pixels, levels):
    Image.fromarray(pixels).save(tmp_path / "wide.tif")
    assert left_and_right(tmp_path / "wide.tif") == tuple([level] * 3 for level in levels)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (halves(0, 1 << 20, np.int32), r"integers from 0 to 1\.04858e\+06, not in 0 to 65535"),
        (halves(-5, 9, np.int32), "integers from -5 to 9"),
        (halves(-0.5, 1.0, np.float32), r"real numbers from -0\.5 to 1, not in 0 to 255"),
        (halves(0.0, 4000.0, np.float32), "real numbers from 0 to 4000"),
        (halves(np.nan, 1.0, np.float32), "real numbers from nan to nan"),
    ],
)
def test_numbers_of_which_nobody_knows_the_white_are_refused_by_name(tmp_path, pixels, words):
    Image.fromarray(pixels).save(tmp_path / "unclear.tif")
    with pytest.raises(ValueError, match=rf"unclear\.tif: {words}.*; expected an image"):
        read_image(tmp_path / "unclear.tif", 10)


def test_16_bit_colours_of_which_one_is_transparent_are_refused_by_name(tmp_path):
    def chunk(kind, content):
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    rows = b"".join(b"\0" + struct.pack(">30H", *[300] * 30) for _ in range(10))
    for key in (b"", chunk(b"tRNS", struct.pack(">3H", 1, 1, 1))):
        (tmp_path / "deep.png").write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 16, 2, 0, 0, 0))
            + key
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )
        if not key:
            assert (read_image(tmp_path / "deep.png", 8) == 1).all()
    with pytest.raises(ValueError, match=r"deep\.png: 16-bit colours of which one is transparent"):
        read_image(tmp_path / "deep.png", 8)


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


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
@pytest.mark.parametrize(
    "entries",
    [
        b"",
        # The length of the image, as text of which there is none; then: turned.
        b"\x08\0\0\0\x02\0" + struct.pack("<HHL4s", 256, 2, 2, b"9\0\0\0")
        + struct.pack("<HHLHH", 274, 3, 1, 6, 0) + b"\0" * 4,
    ],
    ids=["no entries", "a wrong one"],
)  # fmt: skip
def test_damaged_metadata_does_not_keep_the_pixels_back(tmp_path, name, entries):
    lying = np.zeros((20, 20, 3), np.uint8)
    lying[:, :10] = 255
    Image.fromarray(lying).save(tmp_path / name, exif=b"Exif\0\0II*\0" + entries)
    pixels = read_image(tmp_path / name, 20)
    turned = pixels[:8].min() > 200
    assert turned == bool(entries) and (turned or pixels[:, :8].min() > 200)
