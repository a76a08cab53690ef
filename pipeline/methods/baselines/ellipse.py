"""The inscribed ellipse of the box: what a box says of a roundish object, without looking at the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.methods.baselines.box_masks import Masks


def masks_from_boxes(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Masks:
    """(H, W, 3) image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool: the ellipse touching all four sides.

    A pixel belongs to the ellipse if its centre does.  Never empty: the pixels in the middle always belong.
    """
    height, width = image.shape[:2]
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, pixel_boxes(boxes, height, width), strict=True):
        mask[y1:y2, x1:x2] = ellipse(int(y2 - y1), int(x2 - x1))
    return masks


def ellipse(height: int, width: int) -> Masks:
    """(height, width) bool: true where the pixel's centre lies in the ellipse inscribed in that rectangle."""
    down = (2 * np.arange(height) + 1 - height) / height
    across = (2 * np.arange(width) + 1 - width) / width
    inside: Masks = down[:, None] ** 2 + across**2 <= 1
    return inside
