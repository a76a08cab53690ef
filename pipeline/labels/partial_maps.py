"""Points and strokes as partial label maps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import UNLABELLED
from pipeline.data.masks import Size

Mark = tuple[int, NDArray[np.int64]]  # a class, and (n, 2) x and y of a point or of the corners of a stroke


def draw_marks(size: Size, marks: Iterable[Mark], radius: int) -> NDArray[np.uint8]:
    """(H, W) partial label map of an image of (height, width) `size`.

    A disc of `radius` pixels (dx^2 + dy^2 <= radius^2) moves along each mark, as SPML dilates points by 6 and
    scribbles by 3; its release does not say whether by a disc or a square.  Nothing holds the disc back at
    the border of an object: who draws does not know where it is.  Where marks overlap, the later one wins.
    All else is UNLABELLED, and nothing is VOID: which pixels do not count is known to full masks alone.
    """
    values = np.full(size, UNLABELLED, dtype=np.uint8)
    for label, corners in marks:
        left, top = np.maximum(corners.min(0) - radius, 0)
        right, bottom = np.minimum(corners.max(0) + radius + 1, (size[1], size[0]))
        if right <= left or bottom <= top:
            continue  # outside the image
        shape = (int(bottom - top) + 2 * radius, int(right - left) + 2 * radius)
        line = draw_line(shape, corners - (left - radius, top - radius))
        thick = cv2.dilate(line, _disc(radius)) if radius else line
        inner = thick[radius : radius + bottom - top, radius : radius + right - left]
        values[top:bottom, left:right][inner > 0] = label
    return values


def draw_line(shape: Size, corners: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(height, width) `shape` of 0, and 1 on the lines between consecutive (n, 2) x, y `corners`.

    One corner is a pixel, of which OpenCV draws nothing.  What lies outside is left out.
    """
    line = np.zeros(shape, dtype=np.uint8)
    if len(corners) > 1:
        cv2.polylines(line, [corners.astype(np.int32).reshape(-1, 1, 2)], isClosed=False, color=1)
    elif (corners >= 0).all() and (corners < (shape[1], shape[0])).all():
        line[corners[0, 1], corners[0, 0]] = 1
    return line


@lru_cache
def _disc(radius: int) -> NDArray[np.uint8]:
    offsets = np.arange(-radius, radius + 1) ** 2
    return (offsets[:, None] + offsets[None, :] <= radius**2).astype(np.uint8)
