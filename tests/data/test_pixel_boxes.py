"""Boxes on the pixel grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.data.pixel_boxes import pixel_boxes

NUMBERS = st.floats(-300, 300, width=32)
SIDES = st.integers(1, 90)


@given(boxes=arrays(np.float32, (5, 4), elements=NUMBERS), height=SIDES, width=SIDES)
def test_every_box_becomes_pixels_inside_the_image(boxes: np.ndarray, height: int, width: int) -> None:
    x1, y1, x2, y2 = pixel_boxes(boxes, height, width).T
    assert (x1 >= 0).all()
    assert (y1 >= 0).all()
    assert (x1 < x2).all()
    assert (y1 < y2).all()
    assert (x2 <= width).all()
    assert (y2 <= height).all()


@given(boxes=arrays(np.int64, (5, 2, 2), elements=st.integers(0, 40)))
def test_whole_pixels_stay_as_they_are(boxes: np.ndarray) -> None:
    ordered = np.sort(boxes, axis=1).reshape(5, 4)
    ordered = ordered[(ordered[:, 0] < ordered[:, 2]) & (ordered[:, 1] < ordered[:, 3])]
    np.testing.assert_array_equal(pixel_boxes(ordered.astype(float), 40, 40), ordered)


def test_edges_are_rounded_and_thin_boxes_keep_the_pixel_of_their_centre() -> None:
    boxes = np.asarray([[1.4, 2.6, 7.5, 9.2], [3.1, 4.0, 3.3, 9.0], [50.0, 50.0, 60.0, 60.0]])
    assert pixel_boxes(boxes, 20, 30).tolist() == [[1, 3, 8, 9], [3, 4, 4, 9], [29, 19, 30, 20]]
