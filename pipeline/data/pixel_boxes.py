"""Boxes on the pixel grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pixel_boxes(boxes: NDArray[np.floating], height: int, width: int) -> NDArray[np.int64]:
    """(N, 4) x1 y1 x2 y2 in pixels, any real numbers -> (N, 4) whole pixels inside the image, end excluded.

    Edges are rounded to the nearest pixel edge.  A box that would lose all its pixels by that keeps the
    one pixel that its centre lies in (the nearest one, if that is outside the image).
    """
    values = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    limits = np.asarray([width, height, width, height])
    edges = np.clip(np.floor(values + 0.5), 0, limits).astype(np.int64)
    centres = np.floor((values[:, :2] + values[:, 2:]) / 2)
    pixels = np.clip(centres, 0, limits[:2] - 1).astype(np.int64)
    empty = edges[:, 2:] <= edges[:, :2]
    edges[:, :2] = np.where(empty, pixels, edges[:, :2])
    edges[:, 2:] = np.where(empty, pixels + 1, edges[:, 2:])
    return edges
