"""What all baselines are: functions that give masks to boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.bool_]
MasksFromBoxes = Callable[[NDArray[np.uint8], NDArray[np.float64]], Masks]
"""Image (H, W, 3) uint8 RGB and boxes (N, 4) xyxy in pixels to masks (N, H, W)."""
