"""Partial labels from class activation maps, as SPML is trained on (arXiv 2105.00957, section 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.label_codes import BACKGROUND, UNLABELLED
from pipeline.data.pixel_boxes import pixel_boxes

Scores = NDArray[np.float32]
Labels = NDArray[np.uint8]


def background_score(maps: Scores, background: params.CamBackground) -> Scores:
    """(n, H, W) maps in [0, 1] to the (H, W) score of the background, which is in [0, 1] too.

    power: (1 - max) ** alpha, SEAM's and SPML's; without a class, the background is certain.
    """
    match background:
        case params.PowerBackground():
            return np.asarray((1 - maps.max(axis=0, initial=0)) ** background.alpha, dtype=np.float32)
        case params.ConstantBackground():
            return np.full(maps.shape[1:], background.score, dtype=np.float32)


def labels_from_tags(maps: Scores, tags: tuple[int, ...], settings: params.TagCamLabels) -> Labels:
    """The class of the greatest score at each pixel, UNLABELLED where that is below `least_score`.

    maps: (n, H, W) in [0, 1], of the classes `tags`; ties go to the background, then to the first class. With
    alpha 6, the greatest score is never below 0.2219, so that SPML's least score, 0.2, leaves no pixel out.
    """
    scores = np.concatenate([background_score(maps, settings.background)[None], maps])
    codes = np.array([BACKGROUND, *tags], dtype=np.uint8)
    labels: Labels = codes[scores.argmax(axis=0)]
    labels[scores.max(axis=0) < settings.least_score] = UNLABELLED
    return labels


def labels_from_boxes(
    maps: Scores,
    tags: tuple[int, ...],
    boxes: NDArray[np.floating],
    classes: NDArray[np.integer],
    crowds: NDArray[np.floating],
    threshold: float,
) -> Labels:
    """What the map of each box's class marks in it; UNLABELLED in the rest of it, background outside of all.

    maps: (n, H, W) in [0, 1], of the classes `tags`; boxes: (N, 4) x1 y1 x2 y2 in pixels; classes: (N,)
    indices of 1 or more; crowds: (M, 4) regions of which nobody says what is in them, UNLABELLED too.  In
    each box the map is rescaled to [0, 1], and pixels above `threshold` get the class.  Where boxes overlap,
    the greater rescaled value wins, then the smaller box.  A box in which the map is flat marks its inner
    half (of each side) with the least claim there is: any other box wins there.  A box of a class that is not
    in the tags has no map, and marks nothing.
    """
    height, width = maps.shape[1:]
    labels = np.full((height, width), BACKGROUND, dtype=np.uint8)
    claims = np.full((height, width), threshold, dtype=np.float32)
    extents = pixel_boxes(boxes, height, width)
    for left, top, right, bottom in (*pixel_boxes(crowds, height, width), *extents):
        labels[top:bottom, left:right] = UNLABELLED
    sizes = (extents[:, 2] - extents[:, 0]) * (extents[:, 3] - extents[:, 1])
    for index in np.argsort(sizes, kind="stable"):  # a larger box must claim more than a smaller one does
        if classes[index] not in tags:
            continue
        left, top, right, bottom = extents[index]
        claim = _claims(maps[tags.index(classes[index]), top:bottom, left:right], threshold)
        held = claims[top:bottom, left:right]
        wins = claim > held
        held[wins] = claim[wins]
        labels[top:bottom, left:right][wins] = classes[index]
    return labels


def _claims(part: Scores, threshold: float) -> Scores:
    """(h, w) of a map in a box, rescaled to [0, 1]; a flat one: just above `threshold` in its inner half."""
    low, high = part.min(), part.max()
    if high > low:
        return np.asarray((part - low) / (high - low), dtype=np.float32)
    inner = np.zeros_like(part)
    rows, columns = (slice(side // 4, side - side // 4) for side in part.shape)
    inner[rows, columns] = np.nextafter(np.float32(threshold), np.float32(2))
    return inner
