"""Run lengths: round trips, and agreement with pycocotools wherever that is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from pipeline.data.masks import (
    MaskError,
    areas,
    check_rle,
    decode,
    encode,
    encode_box,
    encode_window,
    extents,
    points_outside,
    rle_from_segmentation,
)

MASKS = arrays.arrays(bool, st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_decode_undoes_encode(masks: np.ndarray) -> None:
    rles = encode(masks)
    np.testing.assert_array_equal(decode(rles, masks.shape[1:]), masks)
    np.testing.assert_array_equal(areas(rles), masks.sum((1, 2)))
    for rle in rles:
        check_rle(rle, masks.shape[1:])


@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
def test_both_forms_of_run_lengths_give_the_same_mask(mask: np.ndarray) -> None:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    runs = [0, *runs] if flat[0] else runs
    size = list(mask.shape)
    compressed = encode(mask[None])[0]
    assert rle_from_segmentation({"size": size, "counts": runs}, mask.shape) == compressed
    assert rle_from_segmentation(compressed, mask.shape) == compressed


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """A mask of at most 8 x 9 pixels, and the corner of a window of it."""
    mask = draw(arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 9))))
    return mask, draw(st.integers(0, mask.shape[1])), draw(st.integers(0, mask.shape[0]))


@given(windows(), st.integers(0, 9), st.integers(0, 8))
def test_a_window_is_encoded_as_its_whole_mask(
    value: tuple[np.ndarray, int, int], width: int, height: int
) -> None:
    mask, left, top = value
    window = mask[top : top + height, left : left + width]
    whole = np.zeros_like(mask)
    whole[top : top + height, left : left + width] = window
    assert encode_window(window, left, top, mask.shape) == encode(whole[None])[0]


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([2, 1, 3, 4], slice(1, 5), slice(2, 5)),
        ([2.5, 1.5, 1, 1], slice(1, 3), slice(2, 4)),  # each pixel that it touches
        ([3.2, 2.2, 0.1, 0.1], slice(2, 3), slice(3, 4)),
        ([-3, -2, 40, 4.5], slice(0, 3), slice(0, 9)),  # cut to the image
        ([8, 7, 1, 1], slice(7, 8), slice(8, 9)),
    ],
)
def test_a_box_is_the_pixels_that_it_touches(box: list[float], rows: slice, columns: slice) -> None:
    mask = np.zeros((8, 9), dtype=bool)
    mask[rows, columns] = True
    assert encode_box(box, (8, 9)) == encode(mask[None])[0]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.data())
def test_empty_runs_are_legal_and_removed(runs: list[int], data: st.DataObject) -> None:
    total = sum(runs)
    if not sum(runs[1::2]):
        return
    rle = rle_from_segmentation({"size": [total, 1], "counts": runs}, (total, 1))
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    np.testing.assert_array_equal(decode([rle], (total, 1))[0, :, 0], flat)
    rows = np.flatnonzero(flat)
    np.testing.assert_array_equal(extents([rle])[0], [0, rows[0], 1, rows[-1] + 1 - rows[0]])


@given(st.text(max_size=20))
def test_any_text_is_decoded_safely_or_refused(text: str) -> None:
    rle = {"size": [6, 5], "counts": text}
    try:
        check_rle(rle, (6, 5))
    except MaskError:
        return
    assert decode([rle], (6, 5)).shape == (1, 6, 5)


@pytest.mark.parametrize(
    "counts", ["", "zzzz", "1", "PPYo9", "\x01\x02", "0000000", "é", "P" * 40, "P" * 20 + "0"]
)
def test_damaged_text_is_refused(counts: str) -> None:
    with pytest.raises(MaskError):
        check_rle({"size": [20, 30], "counts": counts}, (20, 30))


@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.data())
def test_a_cut_mask_does_not_fill_its_image(mask: np.ndarray, data: st.DataObject) -> None:
    rle = encode(mask[None])[0]
    cut = rle["counts"][: data.draw(st.integers(0, len(rle["counts"]) - 1))]
    with pytest.raises(MaskError):
        check_rle({**rle, "counts": cut}, mask.shape)


def test_long_runs_pass() -> None:
    mask = np.zeros((1, 3000, 2000), dtype=bool)
    mask[0, :, 700:1500] = True
    check_rle(encode(mask)[0], (3000, 2000))


@given(st.lists(st.lists(st.floats(0, 30), min_size=6, max_size=6), min_size=1, max_size=3))
def test_polygons_are_united(polygons: list[list[float]]) -> None:
    parts = [coco_mask.decode(coco_mask.frPyObjects([polygon], 30, 30)[0]) for polygon in polygons]
    union = np.any(parts, axis=0)
    if union.any():
        np.testing.assert_array_equal(decode([rle_from_segmentation(polygons, (30, 30))], (30, 30))[0], union)
    else:
        with pytest.raises(MaskError, match="no pixel"):
            rle_from_segmentation(polygons, (30, 30))


def test_a_polygon_of_four_numbers_is_no_box() -> None:
    with pytest.raises(MaskError, match="three points"):
        rle_from_segmentation([[2, 2, 8, 8]], (10, 10))


def test_runs_that_wrap_round_to_the_right_sum_are_refused() -> None:
    runs = [2**39] * 2**10  # 2**49 in total; small enough each to pass for a run
    with pytest.raises(MaskError, match="do not add up"):
        rle_from_segmentation({"size": [1, 1], "counts": runs}, (1, 1))


def test_points_outside_has_a_margin() -> None:
    assert not points_outside([[0, 0, 20.5, 0, 5, -0.5]], (10, 20), 1)
    assert points_outside([[0, 0, 21.5, 0, 5, 5]], (10, 20), 1)
    assert points_outside([[0, 0, 5, 0, 5, 5], [0, 0, 5, 0, 5, -2]], (10, 20), 1)
    assert not points_outside({"size": [10, 20], "counts": "x"}, (10, 20), 1)


def test_more_masks_than_eight_bits_count() -> None:
    masks = np.zeros((300, 4, 5), dtype=bool)
    masks[:, 1:3, 1:3] = True
    np.testing.assert_array_equal(areas(encode(masks)), np.full(300, 4))
