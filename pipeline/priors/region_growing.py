"""Partial labels spread by an over-segmentation alone: what can be had of them without learning."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from pipeline.data.label_codes import UNLABELLED, VOID

Bytes = NDArray[np.uint8]

_TO_SEED = 0.5  # weight of the tie between two seeds: below all others, so that it is kept


def grow_labels(labels: Bytes, regions: NDArray[np.uint16], pixels: Bytes, classes: int) -> Bytes:
    """(H, W) label map that gives every region one class; void pixels stay void.

    labels: (H, W) partial label map, values of `label_codes`; regions: (H, W) ids; pixels: (H, W, 3) uint8
    RGB; classes: how many there are.  A region takes the class of most of its labelled pixels, the lower one
    of two that are even.  Those without any follow by seeded region growing (Adams and Bischof, IEEE TPAMI
    1994), on regions in place of pixels and with the difference of neighbours: each joins the seed to which
    the minimum spanning forest of the neighbours ties it, the difference of two regions being the distance
    of their mean colours in CIELAB.  A region that no labelled one can reach, and an image without labels,
    stay UNLABELLED.
    """
    ids = np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
    count = int(ids.max()) + 1
    known = labels < classes
    votes = np.bincount(ids[known] * classes + labels[known], minlength=count * classes)
    votes = votes.reshape(count, classes)
    own = np.where(votes.any(axis=1), votes.argmax(axis=1), UNLABELLED).astype(np.uint8)
    grown = own if (own != UNLABELLED).all() or not known.any() else _grown(own, ids, pixels)
    return np.where(labels == VOID, VOID, grown[ids]).astype(np.uint8)


def _grown(own: Bytes, ids: NDArray[np.int64], pixels: Bytes) -> Bytes:
    """(n,) classes of regions, of which those with UNLABELLED in `own` follow their neighbours."""
    count, seeds = len(own), np.flatnonzero(own != UNLABELLED)
    pairs = _neighbours(ids, count)
    colors = _mean_colors(ids, count, pixels)
    weights = 1 + np.linalg.norm(colors[pairs[0]] - colors[pairs[1]], axis=1)
    root = np.full(len(seeds), count)  # all seeds are tied to one more node, and so no two to each other
    rows, columns = np.concatenate([pairs, np.stack([root, seeds])], axis=1)
    values = np.concatenate([weights, np.full(len(seeds), _TO_SEED)])
    graph = coo_array((values, (rows, columns)), shape=(count + 1, count + 1)).tocsr()
    tree = minimum_spanning_tree(graph)[:count, :count]
    trees = connected_components(tree, directed=False)[1]
    found = np.full(count, UNLABELLED, dtype=np.uint8)
    found[trees[seeds]] = own[seeds]
    return np.asarray(found[trees], dtype=np.uint8)


def _neighbours(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(2, m) pairs of regions that share an edge of a pixel, each once, the lower index first."""
    sides = [(ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])]
    codes = [np.minimum(a, b) * count + np.maximum(a, b) for a, b in sides]
    pairs = np.unique(np.concatenate([code.ravel() for code in codes]))
    first, second = pairs // count, pairs % count
    return np.stack([first, second])[:, first != second]


def _mean_colors(ids: NDArray[np.int64], count: int, pixels: Bytes) -> NDArray[np.float64]:
    """(n, 3) mean CIELAB colour of every region."""
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    sums = [np.bincount(ids.ravel(), weights=channel, minlength=count) for channel in lab.T]
    return np.stack(sums, axis=1) / np.bincount(ids.ravel(), minlength=count)[:, None]
