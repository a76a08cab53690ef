"""What tells a contour: steps of brightness, and histograms of colour and texture that differ on two sides.

After the Pb detector of Martin, Fowlkes and Malik (TPAMI 2004) and gPb (Arbelaez et al., TPAMI 2011), with
two changes: colours are an image's own words instead of a histogram per Lab channel, and large discs are
measured in reduced images.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.priors.oriented import gaussian, gaussian_slope, half_disc_differences, slopes
from pipeline.priors.visual_words import learn_words, soft_words

Floats = NDArray[np.float32]

_LAB_SCALES = np.array([0.01, 0.015, 0.015], dtype=np.float32)[:, None, None]  # colour counts more than light
_COLOR_WIDTH, _TEXTURE_WIDTH = 0.008, 0.15  # of words, in squared units of the two spaces
_FAINT = 0.03  # filter responses below are noise: their size counts by its logarithm in units of this
STEPS = 10.0  # brightness from 0 to 1 over a tenth of a pixel: brings slopes near 1


def contour_cues(image: NDArray[np.uint8], words: int, scales: int) -> dict[str, Floats]:
    """Cues of an (H, W, 3) uint8 RGB image: name -> (8, h, w) float32, mostly in [0, 1].

    The cues are at full size (`step`, `color`) and, for discs of radius 5, 10 and 20 pixels (the first
    `scales` of them), `color-5`, `texture-5` and so on at half size or, for the last, a quarter of it; sides
    are rounded up.  words: how many words of colour and of texture an image has.
    """
    lab = scaled_lab(image)
    half = halved(lab)
    palette = learn_words(half, words)
    filtered = halved(_texture(lab[0]))
    bins = {
        "color": soft_words(half, palette, _COLOR_WIDTH),
        "texture": soft_words(filtered, learn_words(filtered, words), _TEXTURE_WIDTH),
    }
    cues = {
        "step": STEPS * slopes(lab[0], 1.2),
        "color": half_disc_differences(soft_words(lab, palette, _COLOR_WIDTH), 5.0),
    }
    for radius in (5, 10, 20)[:scales]:
        if radius == 20:
            bins = {name: halved(maps) for name, maps in bins.items()}
        for name, maps in bins.items():
            cues[f"{name}-{radius}"] = half_disc_differences(maps, 5.0 if radius == 5 else 10.0)
    return cues


def halved(maps: Floats) -> Floats:
    """(C, H, W) -> (C, ceil(H / 2), ceil(W / 2)), averaged."""
    size = ((maps.shape[2] + 1) // 2, (maps.shape[1] + 1) // 2)
    return np.stack([cv2.resize(values, size, interpolation=cv2.INTER_AREA) for values in maps])


def scaled_lab(image: NDArray[np.uint8]) -> Floats:
    """(3, H, W) float32 Lab of an RGB image, brightness in [0, 1] and colours about [-1.5, 1.5]."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.ascontiguousarray(np.moveaxis(lab, 2, 0)) * _LAB_SCALES


def _texture(brightness: Floats) -> Floats:
    """(12, H, W): second derivatives and slopes at two scales, as a direction times a damped size."""
    responses = []
    for sigma in (1.0, 2.0):
        smooth, slope = gaussian(sigma), gaussian_slope(sigma)
        curve = np.convolve(slope, slope)[len(slope) // 2 : -(len(slope) // 2)]
        xx, yy, xy, x, y = (
            sigma**power * cv2.sepFilter2D(brightness, cv2.CV_32F, *kernels)
            for power, kernels in (
                (2, (curve, smooth)),
                (2, (smooth, curve)),
                (2, (slope, slope)),
                (1, (slope, smooth)),
                (1, (smooth, slope)),
            )
        )
        size = np.hypot(x, y) + 1e-6
        responses += [xx + yy, xx - yy, 2 * xy, size, (x * x - y * y) / size, 2 * x * y / size]
    maps = np.stack(responses).astype(np.float32)
    size = np.sqrt(np.square(maps).sum(0))
    return np.asarray(maps * (np.log1p(size / _FAINT) / np.maximum(size, 1e-6)), dtype=np.float32)
