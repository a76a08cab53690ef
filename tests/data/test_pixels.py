"""Every kind of image file becomes upright 8-bit RGB, or is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.pixels import ImageError, decode_image

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def test_rgb_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(pixels))).pixels, pixels)


def test_grey_is_repeated() -> None:
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(RAMP))).pixels, grey(RAMP))


def test_one_bit_is_black_and_white() -> None:
    bits = RAMP > 100
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(bits))).pixels, grey(bits.astype(np.uint8) * 255)
    )


@pytest.mark.parametrize(
    ("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32), ("PPM", np.uint16)]
)
def test_sixteen_bits_are_scaled_not_clipped(kind: str, dtype: type) -> None:
    wide = RAMP.astype(dtype) * 257
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(wide), kind)).pixels, grey(RAMP))


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_floats_are_of_0_to_1_or_of_0_to_255(scale: float) -> None:
    image = Image.fromarray((RAMP * scale).astype(np.float32))
    np.testing.assert_array_equal(decode_image(encoded(image, "TIFF")).pixels, grey(RAMP))


@pytest.mark.parametrize("values", [[[-1.0, 3.0]], [[0.0, 3000.0]], [[float("nan"), 1.0]]])
def test_floats_of_another_range_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(ImageError, match="floating point"):
        decode_image(encoded(Image.fromarray(np.array(values, np.float32)), "TIFF"))


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="more than 16 bits"):
        decode_image(encoded(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (40, 40, 40, 255))
    pixels = decode_image(encoded(image.convert(mode))).pixels
    np.testing.assert_array_equal(pixels, [[[255] * 3, [40] * 3]])


def test_a_transparent_colour_of_an_rgb_image_is_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 8, 7))
    np.testing.assert_array_equal(
        decode_image(encoded(image, transparency=(1, 2, 3))).pixels, [[[255] * 3, [9, 8, 7]]]
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int) -> None:
    stored = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.T,
        6: RAMP.T[::-1],
        7: RAMP.T[::-1, ::-1],
        8: RAMP.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif))
    assert decoded.orientation == orientation
    np.testing.assert_array_equal(decoded.pixels, grey(RAMP))


@pytest.mark.parametrize("value", [0, 9, 700])
def test_an_impossible_orientation_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(RAMP), exif=exif)).pixels, grey(RAMP))


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(ImageError, match="more than 10 pixels"):
        decode_image(encoded(Image.fromarray(RAMP)))


def test_every_cut_of_a_file_is_refused_and_nothing_else_is_raised() -> None:
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)))
    for length in range(0, len(data) - 30, 7):  # the last bytes hold no pixels
        with pytest.raises(ImageError):
            decode_image(data[:length])
