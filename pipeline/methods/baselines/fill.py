"""The floor of box supervision: the mask is the filled box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.methods.baselines.box_masks import Masks


def masks_from_boxes(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Masks:
    """(H, W, 3) image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool, true inside each box.

    Never empty: a box narrower than a pixel keeps one.
    """
    height, width = image.shape[:2]
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, pixel_boxes(boxes, height, width), strict=True):
        mask[y1:y2, x1:x2] = True
    return masks
