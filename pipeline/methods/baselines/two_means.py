"""Two colours in the box: k-means with two clusters, one of which is the object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.methods.baselines.box_masks import Masks
from pipeline.methods.baselines.ellipse import ellipse

SURROUNDINGS = 0.1  # of the box's side, on each side of it: where the background's colours are looked at
LEAST_SURROUNDINGS = 2  # pixels
MOST_ITERATIONS = 100  # two clusters settle after about ten

Colors = NDArray[np.float32]  # (..., 3) CIELAB
Box = tuple[int, int, int, int]


def masks_from_boxes(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Masks:
    """(H, W, 3) uint8 RGB image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool masks inside the boxes.

    The pixels of a box are parted into two clusters by their colour (CIELAB, in which distances are about
    as people see them).  The box alone says which one is the object: the cluster that is more frequent in
    the box's inscribed ellipse than around it, that is, in the corners of the box and in a thin frame of
    the image outside of it.  No mask is looked at, and there is nothing random.

    The filled box is the answer where there are no two colours, as in a box of one pixel or of one colour.
    """
    height, width = image.shape[:2]
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, pixel_boxes(boxes, height, width), strict=True):
        mask[y1:y2, x1:x2] = _object(image, (int(x1), int(y1), int(x2), int(y2)))
    return masks


def _object(image: NDArray[np.uint8], box: Box) -> Masks:
    """(box height, box width) bool: the cluster that is the object, or all of the box."""
    left, top, right, bottom = _surroundings(box, image.shape[0], image.shape[1])
    crop = _lab(image[top:bottom, left:right])
    inside = (slice(box[1] - top, box[3] - top), slice(box[0] - left, box[2] - left))
    parted = two_means(crop[inside].reshape(-1, 3))
    if parted is None:
        return np.ones(crop[inside].shape[:2], dtype=bool)
    first = _nearer_to_first(crop, *parted)
    middle = np.zeros(first.shape, dtype=bool)
    middle[inside] = ellipse(box[3] - box[1], box[2] - box[0])
    around = first[~middle]
    first_is_object = not around.size or first[middle].mean() >= around.mean()
    found: Masks = first[inside] if first_is_object else ~first[inside]
    return found


def two_means(colors: Colors) -> tuple[Colors, Colors] | None:
    """The (3,) centres of two clusters of (N, 3) colours by Lloyd's algorithm; None for a single colour.

    Starts from the two sides of the mean along the direction of the largest variance, so equal colours
    give equal clusters.  Both clusters have members.
    """
    values = colors.astype(np.float64)
    around_mean = values - values.mean(axis=0)
    direction = np.linalg.eigh(around_mean.T @ around_mean)[1][:, -1]
    first = around_mean @ direction > 0
    for _ in range(MOST_ITERATIONS):
        if first.all() or not first.any():
            return None
        centers = values[first].mean(axis=0), values[~first].mean(axis=0)
        before, first = first, _nearer_to_first(values, *centers)
        if np.array_equal(before, first):
            break
    if first.all() or not first.any():
        return None
    return centers[0].astype(np.float32), centers[1].astype(np.float32)


def _nearer_to_first(colors: NDArray[np.floating], a: NDArray[np.floating], b: NDArray[np.floating]) -> Masks:
    """(...) bool of (..., 3) colours: nearer to `a` than to `b`."""
    nearer: Masks = (colors - (a + b) / 2) @ (a - b) > 0
    return nearer


def _lab(image: NDArray[np.uint8]) -> Colors:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def _surroundings(box: Box, height: int, width: int) -> Box:
    """The box with a thin frame, inside the image."""
    x1, y1, x2, y2 = box
    across = max(LEAST_SURROUNDINGS, round(SURROUNDINGS * (x2 - x1)))
    down = max(LEAST_SURROUNDINGS, round(SURROUNDINGS * (y2 - y1)))
    return max(0, x1 - across), max(0, y1 - down), min(width, x2 + across), min(height, y2 + down)
