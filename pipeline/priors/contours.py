"""Contour strength of images: built in, by a network with local weights, or from the user's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.errors import UserError
from pipeline.priors.contour_cues import STEPS, contour_cues, scaled_lab
from pipeline.priors.oriented import ORIENTATIONS, along_lines, directed, slopes
from pipeline.priors.spectral import spectral_contours

Floats = NDArray[np.float32]

LINE_LENGTH, LINE_WIDTH = 5.0, 0.8  # of the Gaussian along a contour, in pixels


@dataclass(frozen=True)
class ContourMap:
    """strength: (H, W) float32 in [0, 1]; oriented: (8, H, W) of the orientations of oriented.py, or None."""

    strength: Floats
    oriented: Floats | None

    def directed(self) -> Floats:
        """(8, H, W): the detector's own orientations, or those of the map's ridges where it has none."""
        return directed(self.strength) if self.oriented is None else self.oriented


# Weights of the cues by number of scales: logistic regression on ridge pixels of bsds-mini/train (BSDS-500)
# against the share of annotators with a boundary within 2.5 pixels, weights held at 0 or above.
# They are of an earlier fit; those that benchmarks/contour_weights.py fits anew differ by 0.15 at most.
_WEIGHTS: dict[int, dict[str, float]] = {
    1: {"step": 0.38, "color": 1.41, "color-5": 3.45, "texture-5": 1.7},
    2: {
        "step": 0.43,
        "color": 2.22,
        "color-5": 1.34,
        "texture-5": 1.4,
        "color-10": 2.04,
        "texture-10": 0.3,
    },
    3: {
        "step": 0.46,
        "color": 2.15,
        "color-5": 1.78,
        "texture-5": 1.47,
        "color-10": 0.94,
        "texture-10": 0.0,
        "color-20": 1.13,
        "texture-20": 0.37,
    },
}
_BIASES = {1: -5.24, 2: -5.66, 3: -5.9}


def built_in_contours(image: NDArray[np.uint8], settings: params.BuiltInContours) -> ContourMap:
    """Probability of a boundary that a person would draw, of an (H, W, 3) uint8 RGB image.

    The same image gives the same map.
    """
    size = image.shape[:2]
    weights, evidence = _WEIGHTS[settings.scales], np.full((ORIENTATIONS, *size), _BIASES[settings.scales])
    evidence = evidence.astype(np.float32)
    sums: dict[tuple[int, ...], Floats] = {}
    for name, cue in contour_cues(image, settings.words, settings.scales).items():
        sums[cue.shape] = sums.get(cue.shape, 0) + np.float32(weights[name]) * cue
    for part in sums.values():
        for total, values in zip(evidence, part, strict=True):
            total += cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    oriented = along_lines(1 / (1 + np.exp(-evidence)), LINE_LENGTH, LINE_WIDTH)
    if settings.spectral:
        share = np.float32(settings.spectral)
        oriented = (1 - share) * oriented + share * spectral_contours(oriented.max(0))
    return ContourMap(oriented.max(0), oriented)


def gradient_contours(image: NDArray[np.uint8], settings: params.GradientContours) -> ContourMap:
    """Steepness of brightness and colour together, 1 - exp(-10 steepness), of an (H, W, 3) uint8 RGB image.

    On photographs far below `built_in_contours`; it takes a twentieth of the time, and follows the borders
    of small objects more closely.
    """
    squares = sum(np.square(slopes(channel, settings.sigma)) for channel in scaled_lab(image))
    oriented = np.asarray(1 - np.exp(-STEPS * np.sqrt(squares)), dtype=np.float32)
    return ContourMap(oriented.max(0), oriented)


def read_contours(path: Path, size: tuple[int, int]) -> ContourMap:
    """A user's contour map: a PNG of one channel, 8 or 16 bit, 0 to white.

    size: (H, W) of its image.  Raises UserError when the file is missing or is no such map.
    """
    try:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    except cv2.error:  # of a header with more pixels than OpenCV reads
        values = None
    if values is None:
        problem = "is no image that can be read" if path.is_file() else "file not found"
        raise UserError(path, "", problem, "a contour map is a grey PNG named as its image")
    if values.ndim != 2:
        raise UserError(path, "", f"has {values.shape[2]} channels", "save contour maps as grey images")
    if values.dtype not in (np.uint8, np.uint16):
        raise UserError(
            path, "", f"has pixels of type {values.dtype}", "save contour maps as PNG, 8 or 16 bit"
        )
    if values.shape != size:
        raise UserError(
            path,
            "",
            f"is {values.shape[1]} x {values.shape[0]} pixels, and its image {size[1]} x {size[0]}",
            "save contour maps at the size of the (upright) image",
        )
    white = 65535 if values.dtype == np.uint16 else 255
    return ContourMap(np.asarray(values, dtype=np.float32) / np.float32(white), None)
