"""Label maps of datasets are read as indices."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.label_png import decode_label_png
from pipeline.data.pixels import ImageError


def png(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


@given(values=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_palette_and_grey_give_their_values(values: NDArray[np.uint8]) -> None:
    image = Image.fromarray(values)
    np.testing.assert_array_equal(decode_label_png(png(image)), values)
    image = Image.fromarray(values, mode="P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    np.testing.assert_array_equal(decode_label_png(png(image, transparency=0)), values)


def test_a_palette_of_few_bits_gives_indices() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    image = Image.fromarray(values, mode="P")
    image.putpalette(bytes(range(255, 243, -1)))
    data = png(image, bits=2)
    assert data[24] == 2
    np.testing.assert_array_equal(decode_label_png(data), values)


GREY = Image.fromarray(np.zeros((4, 5), np.uint8))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not a PNG"),
        (b"\xff\xd8\xff", "is not a PNG"),
        (png(GREY.convert("RGB")), "shows colours instead of classes: Pillow's mode RGB, not P or L"),
        (png(GREY.convert("LA")), "shows colours"),
        (png(GREY.convert("1")), "grey PNG of another depth than 8 bits: 1 bits"),
        (png(Image.fromarray(np.zeros((4, 5), np.uint16))), "grey PNG of another depth than 8 bits: 16 bits"),
        (png(GREY)[:-20], "incomplete or damaged"),
        (png(GREY)[:20], "incomplete or damaged"),
    ],
)
def test_anything_else_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        decode_label_png(data)
