"""Over-segmentations for people: images with their regions' borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.report.indexed_png import indexed_png
from pipeline.report.panels import panel_size

COLUMNS = 3
LONG_SIDE = 288  # pixels of a panel
GAP = 8  # pixels of white between panels
BORDER = (255, 60, 0)  # RGB: seen on most photographs


class Segmented(NamedTuple):
    """An (H, W, 3) uint8 RGB image and its (H, W) region ids."""

    image: NDArray[np.uint8]
    ids: NDArray[np.uint16]


def segments_figure(scenes: Sequence[Segmented], columns: int = COLUMNS) -> bytes:
    """PNG bytes of a sheet of the images with region borders, row by row; the same for the same scenes.

    Raises ValueError without a scene.
    """
    if not scenes:
        raise ValueError("no scenes to draw")
    columns = min(columns, len(scenes))
    panels = [with_borders(*scene) for scene in scenes]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    cell = max(panel.shape[1] for panel in panels)
    strips = [_beside(row, columns, cell) for row in rows]
    sheet = np.concatenate([part for strip in strips for part in (strip, _white(GAP, strip.shape[1]))][:-1])
    return indexed_png(sheet)


def with_borders(image: NDArray[np.uint8], ids: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(h, w, 3) RGB at the size of a panel, with a line a pixel wide between regions."""
    height, width = panel_size(ids.shape[0], ids.shape[1], LONG_SIDE)
    enlarges = height > ids.shape[0]
    smoothing = cv2.INTER_NEAREST if enlarges else cv2.INTER_AREA
    picture = cv2.resize(image, (width, height), interpolation=smoothing)
    regions = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    border = np.zeros((height, width), dtype=bool)
    border[:, :-1] |= regions[:, 1:] != regions[:, :-1]
    border[:-1] |= regions[1:] != regions[:-1]
    picture[border] = BORDER
    return np.asarray(picture, np.uint8)


def _beside(panels: list[NDArray[np.uint8]], columns: int, cell: int) -> NDArray[np.uint8]:
    """One row of the sheet: every panel at the top left of its cell, `cell` pixels wide."""
    height = max(panel.shape[0] for panel in panels)
    strip = _white(height, columns * cell + (columns - 1) * GAP)
    for place, panel in enumerate(panels):
        left = place * (cell + GAP)
        strip[: panel.shape[0], left : left + panel.shape[1]] = panel
    return strip


def _white(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, dtype=np.uint8)
