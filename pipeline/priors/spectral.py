"""Globalisation: contours that separate whole parts of an image (Arbelaez et al., TPAMI 2011, 3.2)."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh, splu

from pipeline.priors.oriented import ORIENTATIONS, slopes

Floats = NDArray[np.float32]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

STRIDE = 4  # the clustering works on an image reduced by this
RADIUS = 3  # of the neighbours of a pixel there
SOFTNESS = 0.1  # a contour of this strength between two pixels lowers their affinity to 1/e
VECTORS = 9
_SHIFT = 1e-4  # makes the Laplacian invertible


def spectral_contours(strength: Floats) -> Floats:
    """(8, H, W) in [0, 1] from an (H, W) map of contour strength in [0, 1]; 0 for images of a few pixels.

    The normalised Laplacian of affinities by intervening contour has eigenvectors that are smooth but for the
    image's main borders; their slopes, divided by the root of the eigenvalue, are added.  The scale is
    relative: the strongest percent of the pixels has 1.  The same input gives the same result.
    """
    height, width = strength.shape
    small = (-(-width // STRIDE), -(-height // STRIDE))
    # A thin contour must not vanish in the average.
    widened = cv2.dilate(strength, np.ones((3, 3), np.uint8))
    reduced = np.asarray(cv2.resize(widened, small, interpolation=cv2.INTER_AREA), dtype=np.float32)
    total = np.zeros((ORIENTATIONS, *reduced.shape), dtype=np.float32)
    if reduced.size < 4 * VECTORS:
        return np.zeros((ORIENTATIONS, height, width), dtype=np.float32)
    for value, vector in zip(*_eigenvectors(_affinities(reduced)), strict=True):
        flat = vector.reshape(reduced.shape)
        flat = (flat - flat.min()) / max(float(np.ptp(flat)), 1e-12)
        total += slopes(flat.astype(np.float32), 0.8) / np.float32(np.sqrt(max(value, 1e-5)))
    full = np.stack([cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR) for values in total])
    scale = float(np.quantile(full.max(0), 0.99))
    return np.asarray(np.minimum(full / max(scale, 1e-6), 1), dtype=np.float32)


def _affinities(strength: Floats) -> scipy.sparse.coo_array:
    """exp(-strongest pixel between / SOFTNESS) of all pairs within RADIUS, both ways."""
    ones, others, weights = (np.concatenate(part) for part in zip(*_pairs(strength), strict=True))
    places = (np.concatenate((ones, others)), np.concatenate((others, ones)))
    return scipy.sparse.coo_array((np.tile(weights, 2), places), shape=(strength.size,) * 2)


def _pairs(strength: Floats) -> Iterator[Pairs]:
    height, width = strength.shape
    index = np.arange(strength.size).reshape(height, width)
    for dy in range(min(RADIUS, height - 1) + 1):
        for dx in range(-min(RADIUS, width - 1), min(RADIUS, width - 1) + 1):
            if (dy == 0 and dx <= 0) or dx * dx + dy * dy > RADIUS * RADIUS:
                continue
            steps = max(abs(dx), dy)
            left, right = max(0, -dx), width - max(0, dx)
            between = [
                strength[y : height - dy + y, left + x : right + x]
                for y, x in ((round(dy * k / steps), round(dx * k / steps)) for k in range(steps + 1))
            ]
            strongest = np.maximum.reduce(between).ravel().astype(np.float64)
            others = index[dy:, left + dx : right + dx]
            yield index[: height - dy, left:right].ravel(), others.ravel(), np.exp(-strongest / SOFTNESS)


def _eigenvectors(affinity: scipy.sparse.coo_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(VECTORS - 1,) smallest eigenvalues but the first, and their vectors (VECTORS - 1, N)."""
    size = affinity.shape[0]
    inverse_root = 1 / np.sqrt(np.asarray(affinity.sum(0)).ravel())
    scaling = scipy.sparse.diags_array(inverse_root)
    identity = scipy.sparse.eye_array(size)
    shifted = ((1 + _SHIFT) * identity - scaling @ affinity @ scaling).tocsc()
    factors = splu(
        shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    inverse = LinearOperator((size, size), matvec=factors.solve, dtype=np.float64)
    start = 1 + 1e-3 * np.cos(np.arange(size))  # neither random nor itself the first eigenvector
    values, vectors = eigsh(inverse, k=VECTORS, which="LM", v0=start, tol=1e-3, ncv=2 * VECTORS + 4)
    order = np.argsort(-values, kind="stable")[1:]
    return 1 / values[order] - _SHIFT, (vectors[:, order] * inverse_root[:, None]).T
