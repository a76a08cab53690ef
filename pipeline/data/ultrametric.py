"""Hierarchies of regions as an ultrametric contour map: how strong the border between neighbour pixels is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

Strengths = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class UltrametricMap:
    """The edges of the double-size map (2h + 1, 2w + 1) of Arbelaez et al. (TPAMI 2011); all else follows.

    right: (h, w - 1), strength between (y, x) and (y, x + 1); down: (h - 1, w), between (y, x) and
    (y + 1, x).  0 inside a base region.  The regions of level t are the 4-connected components of pixels
    whose edges are at most t.
    """

    right: Strengths
    down: Strengths

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return self.right.shape[0], self.down.shape[1]

    @classmethod
    def of_labels(cls, labels: NDArray[np.integer]) -> UltrametricMap:
        """One level: strength 1 between pixels of different labels (h, w)."""
        right, down = (np.diff(labels.astype(np.int64), axis=axis) != 0 for axis in (1, 0))
        return cls(right.astype(np.float32), down.astype(np.float32))

    def corners(self) -> Strengths:
        """(h, w): largest edge at the lower right corner of each pixel, the map that boundary scores read.

        Cells [2::2, 2::2] of the double-size map.  It is for pixels on contours, not for regions: its
        lines are a pixel wide and belong to no side.
        """
        corners = np.zeros(self.shape, dtype=np.float32)
        corners[:, :-1] = self.right
        for part, edges in (
            (corners[:-1], self.down),
            (corners[:-1, :-1], self.right[1:]),
            (corners[:-1, :-1], self.down[:, 1:]),
        ):
            np.maximum(part, edges, out=part)
        return corners

    def labels(self, level: float = 0.0) -> Labels:
        """(h, w) regions of a level, 0.. in the order of their first pixels."""
        index = np.arange(self.right.shape[0] * self.down.shape[1]).reshape(self.shape)
        joined_right, joined_down = self.right <= level, self.down <= level
        ends = np.concatenate((index[:, :-1][joined_right], index[:-1][joined_down]))
        others = np.concatenate((index[:, 1:][joined_right], index[1:][joined_down]))
        _, labels = connected_components(
            coo_array((np.ones(len(ends), dtype=np.int8), (ends, others)), shape=(index.size, index.size)),
            directed=False,
        )
        return ranked(labels).reshape(self.shape)


def ranked(labels: NDArray[np.signedinteger]) -> Labels:
    """Dense labels 0.. in the order in which the given ones first appear, of the same shape."""
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(values), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(values), dtype=np.int32)
    return rank[inverse].reshape(labels.shape)


@dataclass(frozen=True)
class RegionTree:
    """Base regions of an ultrametric map, and the merges that join them.

    labels: (h, w) base regions; pairs: (M, 2) regions that a merge joins, M = regions - 1; strengths: (M,)
    ascending levels of the merges.
    """

    labels: Labels
    pairs: NDArray[np.int64]
    strengths: Strengths

    @classmethod
    def of(cls, ultrametric: UltrametricMap) -> RegionTree:
        labels = ultrametric.labels()
        ends = np.concatenate((labels[:, :-1].ravel(), labels[:-1].ravel()))
        others = np.concatenate((labels[:, 1:].ravel(), labels[1:].ravel()))
        strengths = np.concatenate((ultrametric.right.ravel(), ultrametric.down.ravel()))
        between = ends != others
        ends, others, strengths = ends[between], others[between], strengths[between]
        low, high = np.minimum(ends, others).astype(np.int64), np.maximum(ends, others)
        count = int(labels.max()) + 1
        order = np.argsort(low * count + high, kind="stable")
        keys = (low * count + high)[order]
        starts = np.flatnonzero(np.r_[True, np.diff(keys) > 0]) if len(keys) else np.zeros(0, np.int64)
        weakest = np.minimum.reduceat(strengths[order], starts) if len(keys) else strengths
        graph = coo_array((weakest, (keys[starts] // count, keys[starts] % count)), shape=(count, count))
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        ascending = np.argsort(tree.data, kind="stable")
        pairs = np.stack((tree.row, tree.col), axis=1)[ascending].astype(np.int64)
        return cls(labels, pairs, tree.data[ascending].astype(np.float32))

    def __len__(self) -> int:
        return len(self.pairs) + 1

    def counts(self, levels: NDArray[np.floating]) -> NDArray[np.int64]:
        """(L,) regions at each level."""
        return len(self) - np.searchsorted(self.strengths, levels, side="right")

    def joined(self, level: float) -> int:
        """How many merges, from the first one on, lie at or below a level."""
        return int(np.searchsorted(self.strengths, np.float32(level), side="right"))

    def merged(self, joined: int) -> Labels:
        """(regions,) dense label of every base region after the first `joined` merges."""
        pairs = self.pairs[:joined]
        graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(self),) * 2)
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)
