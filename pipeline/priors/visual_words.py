"""Words of an image: a few typical values of its pixels, to which every pixel belongs by degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SAMPLES = 5000  # pixels from which the words are learnt
ITERATIONS = 6  # of k-means: the words change little afterwards
FAR = 0.985  # a new word starts at this quantile of the distances: the farthest pixel is often noise


def learn_words(maps: Floats, count: int) -> Floats:
    """(count, D) k-means centres of the pixels of (D, H, W) maps, the same for the same maps.

    Starts farthest-first instead of at random.  Flat images give equal words, which does no harm.
    """
    pixels = maps.reshape(len(maps), -1).T
    pixels = np.ascontiguousarray(pixels[:: max(1, len(pixels) // SAMPLES)])
    words = _spread_out(pixels, count)
    for _ in range(ITERATIONS):
        nearest = _distances(words, pixels.T).argmin(0)
        sizes = np.bincount(nearest, minlength=count)[:, None]
        sums = np.stack([np.bincount(nearest, values, count) for values in pixels.T], axis=1)
        words = np.where(sizes > 0, sums / np.maximum(sizes, 1), words).astype(np.float32)
    return words


def soft_words(maps: Floats, words: Floats, width: float) -> Floats:
    """(count, H, W) how much each pixel of (D, H, W) maps belongs to each word; adds up to 1.

    width: of the squared distance at which the degree falls to 1/e.
    """
    degrees = _distances(words, maps.reshape(len(maps), -1))
    degrees -= degrees.min(0)
    np.exp(np.divide(degrees, -width, out=degrees), out=degrees)
    degrees /= degrees.sum(0)
    return degrees.reshape(-1, *maps.shape[1:])


def _spread_out(pixels: Floats, count: int) -> Floats:
    words = [pixels.mean(0)]
    place = int((len(pixels) - 1) * FAR)
    nearest = np.square(pixels - words[0]).sum(1)
    for _ in range(count - 1):
        words.append(pixels[np.argpartition(nearest, place)[place]])
        np.minimum(nearest, np.square(pixels - words[-1]).sum(1), out=nearest)
    return np.stack(words)


def _distances(words: Floats, columns: Floats) -> Floats:
    """(count, N) squared distances of (D, N) columns, less what is the same for all words."""
    return np.asarray(np.square(words).sum(1)[:, None] - 2 * (words @ columns))
