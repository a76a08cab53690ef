"""Points as a person clicks them: inside an object, rather in its middle than at its border."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

_DEEP = 0.5  # a click is at least this share of the largest distance to the border away from it


def distance_inside(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h, w) distance of each pixel of `mask` to the nearest pixel outside; the frame counts as outside."""
    return distance_to_false(np.pad(mask, 1))[1:-1, 1:-1]


def distance_to_false(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h, w) distance of each pixel to the nearest one that is False; there must be one.

    The same on every call: the last bit of OpenCV's roots depends on where in memory the array lies, so they
    are taken anew of the squares, which are whole numbers and can be told up to 1024 pixels.
    """
    near = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    exact = np.sqrt(np.rint(near**2)) if near.max() < 1000 else distance_transform_edt(mask)
    return np.asarray(exact, dtype=np.float32)


def click(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) x and y of up to `count` pixels of `mask`, all different; fewer if there are not as many.

    Each is drawn among the pixels that are deep inside, with a chance in proportion to the distance to the
    border and, after the first click, to the squared distance to the clicks before: people spread them.
    The first clicks are the same for any count.
    """
    depth = distance_inside(mask)
    y, x = np.nonzero(depth >= max(_DEEP * float(depth.max()), 0.5))
    places = np.stack([x, y], axis=1).astype(np.int64)
    depth_there = depth[y, x].astype(np.float64)
    apart = np.ones(len(places))
    clicks: list[int] = []
    while len(clicks) < min(count, len(places)):
        chance = np.cumsum(depth_there * apart)
        clicks.append(int(np.searchsorted(chance, rng.random() * chance[-1], side="right")))
        squared = ((places - places[clicks[-1]]) ** 2).sum(1).astype(np.float64)
        apart = squared if len(clicks) == 1 else np.minimum(apart, squared)
    return places[clicks]
