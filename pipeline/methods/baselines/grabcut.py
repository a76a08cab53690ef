"""GrabCut in boxes (Rother et al., SIGGRAPH 2004), OpenCV's implementation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.methods.baselines.box_masks import Masks

MARGIN = 0.5  # of the box, on each side: the surroundings that GrabCut learns the background from
LEAST_MARGIN = 8  # pixels
LEAST_SIDE = 3  # pixels; nothing can be told apart in a smaller box


def masks_from_boxes(image: NDArray[np.uint8], boxes: NDArray[np.floating], iterations: int) -> Masks:
    """(H, W, 3) uint8 RGB image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool masks inside the boxes.

    Each box is cut out with a margin of half its width and height on each side (8 pixels at least): what
    lies farther away tells little about its background, and work stays in proportion to the box.  Outside
    of the box is background for certain; inside, GrabCut starts from "probably object" and alternates
    `iterations` times between colour models and a graph cut.  The filled box is the answer where there is
    nothing to cut: a box under 3 pixels wide or high, a box that leaves no surroundings (it covers the
    image), or a cut that finds no object.  Deterministic: every box starts from the same random state.
    """
    height, width = image.shape[:2]
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, pixel_boxes(boxes, height, width), strict=True):
        mask[y1:y2, x1:x2] = _cut(image, (int(x1), int(y1), int(x2), int(y2)), iterations)
    return masks


def _cut(image: NDArray[np.uint8], box: tuple[int, int, int, int], iterations: int) -> Masks:
    """(box height, box width) bool: the object in the box, or all of it."""
    x1, y1, x2, y2 = box
    filled = np.ones((y2 - y1, x2 - x1), dtype=bool)
    left, top, right, bottom = _surroundings(box, image.shape[0], image.shape[1])
    everything = (left, top, right, bottom) == box
    if min(filled.shape) < LEAST_SIDE or everything or iterations == 0:
        return filled
    crop = np.ascontiguousarray(image[top:bottom, left:right, ::-1])  # OpenCV's order is BGR
    labels = np.full(crop.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    labels[inside] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)  # its k-means start is random
    unused, background, foreground = (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(crop, labels, unused, background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    found = labels[inside] == cv2.GC_PR_FGD
    return found if found.any() else filled


def _surroundings(box: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """The box with its margin, inside the image."""
    x1, y1, x2, y2 = box
    across = max(LEAST_MARGIN, round(MARGIN * (x2 - x1)))
    down = max(LEAST_MARGIN, round(MARGIN * (y2 - y1)))
    return max(0, x1 - across), max(0, y1 - down), min(width, x2 + across), min(height, y2 + down)
