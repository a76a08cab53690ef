"""Filled boxes."""

from __future__ import annotations

import numpy as np

from pipeline.methods.baselines.fill import masks_from_boxes


def test_masks_are_the_boxes() -> None:
    boxes = np.asarray([[2, 1, 5, 9], [-4, 0, 40, 3]], dtype=float)
    masks = masks_from_boxes(np.zeros((10, 12, 3), np.uint8), boxes)
    assert masks.shape == (2, 10, 12)
    assert masks[0].sum() == 3 * 8
    assert masks[0, 1:9, 2:5].all()
    assert masks[1].sum() == 12 * 3


def test_no_boxes_no_masks() -> None:
    assert masks_from_boxes(np.zeros((10, 12, 3), np.uint8), np.empty((0, 4))).shape == (0, 10, 12)
