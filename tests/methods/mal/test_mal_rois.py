from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.methods.mal import rois
from tests.mal_vectors import arrays

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
LOW, HIGH = -10, 40


@st.composite
def boxes(draw: st.DrawFn, low: float = LOW, high: float = HIGH) -> NDArray[np.float32]:
    """(1, 4) float32, wider and higher than two pixels."""
    side = st.floats(2.5, high - low, width=32)
    x, y = draw(st.floats(low, high, width=32)), draw(st.floats(low, high, width=32))
    return np.array([[x, y, x + draw(side), y + draw(side)]], dtype=np.float32)


@st.composite
def regions(draw: st.DrawFn) -> rois.Region:
    left, top = draw(st.integers(LOW, HIGH)), draw(st.integers(LOW, HIGH))
    return left, top, left + draw(st.integers(1, 60)), top + draw(st.integers(1, 60))


def image(height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_training_regions_match_the_release() -> None:
    published = arrays("box_expand_train")
    margins = rois.draw_margins(
        published["uniform_margin"], published["uniform_gate"], tuple(published["theta"].tolist())
    )
    np.testing.assert_allclose(margins, published["margins"], rtol=1e-12, atol=0)
    np.testing.assert_array_equal(rois.expand(published["box"], margins), published["ext_box"])


def test_crops_wrap_round_as_in_the_release() -> None:
    published = arrays("crop_wraparound")
    for index, region in enumerate(published["boxes"].tolist()):
        np.testing.assert_array_equal(
            rois.crop(published["image"], tuple(region)), published[f"crop{index}"], strict=True
        )


def test_training_crops_match_the_release() -> None:
    published, size = arrays("crop_train"), (60, 80)
    side = int(published["size"])
    for index, region in enumerate(published["ext_box"].tolist()):
        found = rois.crop_image(published["image"], tuple(region), side)
        np.testing.assert_array_equal(found, published["crop"][index])
        mask = rois.crop_mask(published["box"][index], tuple(region), size, side, wrap=True)
        np.testing.assert_array_equal(mask, published["mask"][index])


def test_prediction_crops_match_the_release() -> None:
    published, size = arrays("crop_test"), (60, 80)
    side = int(published["size"])
    found = rois.expand_test(published["box"], float(published["test_margin"]))
    np.testing.assert_array_equal(found, published["ext_box"])
    for index, region in enumerate(found.tolist()):
        mask = rois.crop_mask(published["box"][index], tuple(region), size, side, wrap=False)
        np.testing.assert_array_equal(mask, published["boxmask"][index, 0])
        pixels = rois.crop_image(published["image"], tuple(region), side)
        normalised = ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)
        np.testing.assert_allclose(normalised, published["normalised"][index], rtol=1e-5, atol=1e-5)


@given(boxes(), st.integers(0, 2**32 - 1), st.sampled_from([(0.0, 0.0), (0.0, 1.2), (0.4, 2.0)]))
def test_a_region_contains_its_box(box: NDArray[np.float32], seed: int, limits: tuple[float, float]) -> None:
    train = rois.expand_train(box, np.random.default_rng(seed), limits)
    for region in (train, rois.expand_test(box, 0.6)):
        # float32 centres may round a box by one unit in the last place before it is rounded outwards
        assert (region[0, :2] <= np.floor(box[0, :2] + 1e-4)).all()
        assert (region[0, 2:] >= np.ceil(box[0, 2:] - 1e-4)).all()


@given(boxes(), st.integers(0, 2**32 - 1))
def test_margins_of_an_axis_share_one_gate(box: NDArray[np.float32], seed: int) -> None:
    """Each side grows by at most its own draw of half a side, both together by at most the larger one."""
    region = rois.expand_train(box, np.random.default_rng(seed), (0.0, 1.2))[0]
    sides = box[0, 2:] - box[0, :2]
    assert (region[2:] - region[:2] <= sides * 1.6 + 4).all()


def test_expansion_draws_from_its_generator_alone() -> None:
    box = np.array([[3, 4, 30, 40]], dtype=np.float32)
    one, two = (rois.expand_train(box, np.random.default_rng(5), (0.0, 1.2)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert rois.expand_train(box, np.random.default_rng(6), (0.0, 1.2)).tolist() != one.tolist()


@given(regions())
def test_a_crop_is_the_tiled_image_sliced(region: rois.Region) -> None:
    pixels = image()
    left, top, right, bottom = region
    tiled = np.tile(pixels, (5, 5, 1))
    expected = tiled[top + 30 : bottom + 30, left + 40 : right + 40]
    np.testing.assert_array_equal(rois.crop(pixels, region), expected, strict=True)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 10))
def test_a_crop_inside_is_a_slice(left: int, top: int, width: int, height: int) -> None:
    pixels = image()
    found = rois.crop(pixels, (left, top, left + width, top + height))
    np.testing.assert_array_equal(found, pixels[top : top + height, left : left + width])
    assert np.shares_memory(found, pixels)


@given(boxes(0, 25), regions(), st.integers(1, 50), st.booleans())
def test_a_mask_crop_is_that_of_the_mask_in_the_image(
    box: NDArray[np.float32], region: rois.Region, side: int, wrap: bool
) -> None:
    """Against the long way: paint the image's mask, crop it, resize it in two dimensions."""
    whole = np.zeros((30, 40), dtype=np.uint8)
    x0, y0, x1, y1 = (int(value) for value in box[0])
    whole[y0 : y1 + 1, x0 : x1 + 1] = 1
    cut = rois.crop(whole, region)
    if not wrap:
        tiles = np.zeros((5 * 30, 5 * 40), dtype=np.uint8)
        tiles[60:90, 80:120] = whole
        left, top, right, bottom = region
        cut = tiles[top + 60 : bottom + 60, left + 80 : right + 80]
    expected = np.asarray(Image.fromarray(cut).resize((side, side), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(rois.crop_mask(box[0], region, (30, 40), side, wrap=wrap), expected)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((2.9, 3.0, 5.0, 6.99), (3, 6), (2, 5)),
        ((-0.9, -0.5, 2.5, 1.5), (0, 1), (0, 2)),
        ((35.0, 25.0, 99.0, 39.0), (25, 39), (35, 39)),
    ],
)
def test_both_ends_of_a_box_are_in_its_mask(
    box: tuple[float, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    mask = rois.crop_mask(np.array(box, dtype=np.float32), (0, 0, 40, 40), (40, 40), 40, wrap=False)
    expected = np.zeros((40, 40), dtype=np.uint8)
    expected[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 1
    np.testing.assert_array_equal(mask, expected)
