"""Colours of the classes of label maps: those of the report's classes, then paler and darker ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.report.palette import RUNS

SHADES = (0.0, 0.45, -0.4, 0.7, -0.65)  # of each round through the palette: towards white, or towards black
VOID_COLOR = (255, 255, 255)


def class_shades(classes: Sequence[str], background: bool) -> NDArray[np.uint8]:
    """(C, 3) RGB of classes by index; black for a background, which is drawn by leaving the image as it is.

    The first ones are those of `gallery.class_colors`: a class of objects has one colour in all galleries.
    """
    colors = np.zeros((len(classes), 3), dtype=np.uint8)
    for place in range(len(classes) - background):
        shade = SHADES[place // len(RUNS) % len(SHADES)]
        colors[place + background] = _shaded(RUNS[place % len(RUNS)], shade)
    return colors


def _shaded(value: str, shade: float) -> NDArray[np.uint8]:
    rgb = np.array([int(value[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)
    end = 255.0 if shade > 0 else 0.0
    return np.rint(rgb + (end - rgb) * abs(shade)).astype(np.uint8)
