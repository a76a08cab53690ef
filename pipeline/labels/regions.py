"""What a person would mark in an image: objects, or connected parts of a class without known objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import BACKGROUND, MOST_CLASSES

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """Pixels to mark: (h, w) bool `mask` of the window at (left, top), of class `label`."""

    label: int
    left: int
    top: int
    mask: Mask

    @property
    def area(self) -> int:
        return int(self.mask.sum())


def find_objects(
    values: NDArray[np.uint8], instances: Sequence[tuple[int, Mask]], min_area: int, background: bool
) -> list[Region]:
    """Regions of at least `min_area` pixels of all classes but the background, larger ones first.

    values: (H, W) label map; instances: pairs of class and (H, W) mask.  Of a class with instances in this
    image, a region is what the label map shows of an instance; of any other, a connected part (8 neighbours).
    Of equally large ones, the lower class comes first, then the higher and the left one.
    """
    regions: list[Region] = []
    for label in classes_in(values):
        if background and label == BACKGROUND:
            continue
        shown = values == label
        own = [mask & shown for key, mask in instances if key == label]
        if own:
            regions += [region for mask in own if (region := _window(label, mask)) is not None]
        else:
            regions += connected_parts(label, shown)
    kept = [region for region in regions if region.area >= min_area]
    return sorted(kept, key=lambda region: (-region.area, region.label, region.top, region.left))


def find_background(values: NDArray[np.uint8], min_area: int) -> list[Region]:
    """The connected parts of the background with at least `min_area` pixels, larger ones first."""
    parts = connected_parts(BACKGROUND, values == BACKGROUND)
    kept = [region for region in parts if region.area >= min_area]
    return sorted(kept, key=lambda region: (-region.area, region.top, region.left))


def classes_in(values: NDArray[np.uint8]) -> list[int]:
    """The classes that have a pixel in a label map, ascending."""
    return np.flatnonzero(np.bincount(values.ravel(), minlength=256)[:MOST_CLASSES]).tolist()


def connected_parts(label: int, mask: Mask) -> list[Region]:
    """The parts of (H, W) `mask` whose pixels touch, also at corners."""
    _, ids, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    regions = []
    for key, (left, top, width, height, _) in enumerate(stats[1:].tolist(), 1):
        window = ids[top : top + height, left : left + width] == key
        regions.append(Region(label, left, top, window))
    return regions


def _window(label: int, mask: Mask) -> Region | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return Region(label, left, top, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())
