"""Filters in eight orientations.

Orientation j is the direction ACROSS a contour, at the angle j pi / 8 with x to the right and y down: 0 is a
vertical contour, 4 a horizontal one, 6 one that goes down to the right (Higra's convention).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ORIENTATIONS = 8
ANGLES = np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS
_RING = np.arange(2 * ORIENTATIONS) * np.pi / ORIENTATIONS  # directions from the centre of a disc


def _half_weights() -> Floats:
    """(16, 16): shares of the ring's directions in the one half (rows 0-7) and the other (8-15)."""
    ahead = np.cos(_RING - ANGLES[:, None])
    halves = np.sqrt(np.maximum(np.concatenate((ahead, -ahead)), 0).round(6))
    return np.asarray(halves / halves.sum(1, keepdims=True), dtype=np.float32)


_HALVES = _half_weights()


def half_disc_differences(words: Floats, radius: float) -> Floats:
    """(8, H, W) in [0, 1]: how different the histograms on the two sides of a pixel are (Pb, TPAMI 2004).

    words: (K, H, W) share of each bin at each pixel, adding up to 1; radius: of the disc, in pixels.  The
    result is the root of the chi-square difference.  A half disc is approximated by seven blurred spots on
    half a ring, so that the cost does not grow with the radius and the sixteen spots serve all orientations.
    """
    _, height, width = words.shape
    ring, blur = radius / 2, 0.48 * radius / 2
    offsets = np.rint(ring * np.stack((np.cos(_RING), np.sin(_RING)), axis=1)).astype(int)
    reach = int(np.abs(offsets).max())
    total = np.zeros((ORIENTATIONS, height * width), dtype=np.float32)
    spots = np.empty((len(_RING), height, width), dtype=np.float32)
    for word in words:
        smooth = cv2.copyMakeBorder(
            cv2.GaussianBlur(word, (0, 0), blur), *(reach,) * 4, borderType=cv2.BORDER_REPLICATE
        )
        for spot, (x, y) in zip(spots, offsets + reach, strict=True):
            spot[:] = smooth[y : y + height, x : x + width]
        sides = _HALVES @ spots.reshape(len(spots), -1)
        difference, both = sides[:ORIENTATIONS] - sides[ORIENTATIONS:], sides[:ORIENTATIONS]
        both += sides[ORIENTATIONS:]
        both += 1e-4
        np.square(difference, out=difference)
        difference /= both
        total += difference
    return np.asarray(np.sqrt(total / 2), dtype=np.float32).reshape(-1, height, width)


def slopes(values: Floats, sigma: float) -> Floats:
    """(8, H, W) steepness of (H, W) values in each direction, of their Gaussian blur, per pixel."""
    smooth, derivative = gaussian(sigma), gaussian_slope(sigma)
    across = cv2.sepFilter2D(values, cv2.CV_32F, derivative, smooth)
    down = cv2.sepFilter2D(values, cv2.CV_32F, smooth, derivative)
    cosines, sines = (part[:, None, None].astype(np.float32) for part in (np.cos(ANGLES), np.sin(ANGLES)))
    return np.abs(cosines * across + sines * down)


def along_lines(maps: Floats, length: float, width: float) -> Floats:
    """Average each of (8, H, W) maps along its contours: length, width: of the Gaussian, in pixels."""
    return np.stack(
        [
            cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
            for values, kernel in zip(maps, _lines(length, width), strict=True)
        ]
    )


@cache
def _lines(length: float, width: float) -> Floats:
    reach = int(np.ceil(1.5 * length))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    across = x * np.cos(ANGLES)[:, None, None] + y * np.sin(ANGLES)[:, None, None]
    along = y * np.cos(ANGLES)[:, None, None] - x * np.sin(ANGLES)[:, None, None]
    kernels = np.exp(-(np.square(across / width) + np.square(along / length)) / 2)
    return np.asarray(kernels / kernels.sum((1, 2), keepdims=True), dtype=np.float32)


def directed(strength: Floats) -> Floats:
    """(8, H, W) of an (H, W) map without orientations: its strength, less the more a ridge is turned.

    A ridge is crossed where the second derivative is most negative.  The map is smoothed by a triangle of
    radius 4 first, as SegSort's authors do for HED; the strength at another angle falls by |cos|.
    """
    triangle = np.convolve(np.ones(4), np.ones(4)).astype(np.float32)
    smooth = cv2.sepFilter2D(strength, cv2.CV_32F, triangle / triangle.sum(), triangle / triangle.sum())
    xx, yy, xy = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((2, 0), (0, 2), (1, 1)))
    # Twice the angle of the Hessian's most negative direction.
    doubled = np.arctan2(-2 * xy, yy - xx)
    turned = ANGLES[:, None, None] - doubled / 2
    return np.asarray(strength * np.abs(np.cos(turned)), dtype=np.float32)


def gaussian(sigma: float) -> Floats:
    """A Gaussian that adds up to 1, cut at three sigma."""
    x = np.arange(-int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma)) + 1)
    weights = np.exp(-np.square(x / sigma) / 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def gaussian_slope(sigma: float) -> Floats:
    """Its derivative, scaled so that a slope of 1 per pixel gives 1."""
    weights = gaussian(sigma)
    x = np.arange(len(weights), dtype=np.float32) - len(weights) // 2
    return np.asarray(x * weights / (np.square(x) @ weights))
