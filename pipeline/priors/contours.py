"""Contour strength of images: built in, by a network with local weights, or from the user's own files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.priors.oriented import directed

Floats = NDArray[np.float32]

LINE_LENGTH, LINE_WIDTH = 4.0, 0.6  # of the Gaussian along a contour, in pixels


@dataclass(frozen=True)
class ContourMap:
    """strength: (H, W) float32 in [0, 1]; oriented: (8, H, W) of the orientations of oriented.py, or None."""

    strength: Floats
    oriented: Floats | None

    def directed(self) -> Floats:
        """(8, H, W): the detector's own orientations, or those of the map's ridges where it has none."""
        return directed(self.strength) if self.oriented is None else self.oriented


# Logistic regression on ridge pixels of bsds-mini/train against the share of annotators with a boundary
# within 2.5 pixels, weights held at 0 or above.
_BIAS = {}
