"""Inscribed ellipses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.methods.baselines.ellipse import masks_from_boxes
from pipeline.methods.baselines.fill import masks_from_boxes as fill


def test_the_ellipse_of_a_large_box_has_its_area_and_touches_its_sides() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    mask = masks_from_boxes(image, np.asarray([[20.0, 30, 220, 130]]))[0]
    assert mask.sum() == pytest.approx(np.pi * 100 * 50, rel=1e-3)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (20, 219, 30, 129)


def test_a_small_ellipse_pixel_by_pixel() -> None:
    mask = masks_from_boxes(np.zeros((4, 4, 3), np.uint8), np.asarray([[0.0, 0, 4, 4]]))[0]
    assert mask.astype(int).tolist() == [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]


@given(boxes=arrays(np.float64, (4, 4), elements=st.floats(-20, 60)))
def test_masks_stay_in_their_box_and_are_never_empty(boxes: np.ndarray) -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    masks, filled = masks_from_boxes(image, boxes), fill(image, boxes)
    assert masks.any(axis=(1, 2)).all()
    assert not (masks & ~filled).any()


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_an_ellipse_is_symmetric(height: int, width: int) -> None:
    mask = masks_from_boxes(np.zeros((40, 40, 3), np.uint8), np.asarray([[0, 0, width, height]], float))[0]
    part = mask[:height, :width]
    np.testing.assert_array_equal(part, part[::-1])
    np.testing.assert_array_equal(part, part[:, ::-1])
