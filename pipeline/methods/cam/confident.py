"""Labels where class activation maps are sure: what the boundary detector is trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.label_codes import BACKGROUND, UNLABELLED
from pipeline.priors.crf.inference import dense_crf


def confident_labels(
    image: NDArray[np.uint8],
    maps: NDArray[np.float32],
    tags: tuple[int, ...],
    settings: params.ConfidentLabels,
) -> NDArray[np.uint8]:
    """(H, W) labels: the class of sure pixels, BACKGROUND where that is sure, UNLABELLED elsewhere.

    image: (H, W, 3) uint8 RGB; maps: (n, H, W) in [0, 1], of the classes `tags`.  The best of maps and
    background is taken twice, with a high and with a low constant score of the background, and smoothed by a
    dense CRF as labels of a certainty.  Sure are the classes of the first, and the background of both (IRN,
    arXiv 1904.05044, as released).
    """
    codes = np.array([BACKGROUND, *tags], dtype=np.uint8)
    high, low = (
        codes[_smoothed(image, maps, score, settings)] for score in (settings.foreground, settings.background)
    )
    labels = high.copy()
    labels[(high == BACKGROUND) & (low != BACKGROUND)] = UNLABELLED
    return labels


def _smoothed(
    image: NDArray[np.uint8], maps: NDArray[np.float32], background: float, settings: params.ConfidentLabels
) -> NDArray[np.int64]:
    """(H, W) places in [background, *maps]."""
    scores = np.concatenate([np.full((1, *maps.shape[1:]), background, dtype=np.float32), maps])
    best: NDArray[np.int64] = scores.argmax(axis=0)
    if not best.any():  # background alone, which no CRF would change
        return best
    others = (1 - settings.certainty) / len(maps)
    probabilities = np.full(scores.shape, others, dtype=np.float32)
    np.put_along_axis(probabilities, best[None], settings.certainty, axis=0)
    return np.asarray(dense_crf(image, probabilities, settings.dense_crf).argmax(axis=0), dtype=np.int64)
