"""Watershed regions of a contour map, and how strong the arcs between them are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import higra
import numpy as np
from numpy.typing import NDArray

from pipeline.data.ultrametric import ranked
from pipeline.priors.contours import ContourMap
from pipeline.priors.oriented import ORIENTATIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PIECE = 8  # pixels: arcs are straight within the cells of a grid of this size


@dataclass(frozen=True)
class Arcs:
    """labels: (h, w) regions from 0; graph: higra's, of the regions; strengths, lengths: of its edges."""

    labels: NDArray[np.int32]
    graph: Any
    strengths: Floats
    lengths: Floats


def pixel_graph(strength: NDArray[np.float32]) -> tuple[Any, Floats]:
    """higra's graph of 4 neighbours, and its edges' weights: the mean of the two pixels."""
    graph = higra.get_4_adjacency_graph(strength.shape)
    return graph, higra.weight_graph(graph, strength.astype(np.float64), higra.WeightFunction.mean)


def watershed_arcs(contours: ContourMap, oriented: bool) -> Arcs:
    """Regions of the watershed of the strength, and the mean strength of the arcs between them.

    oriented: read the strength at each arc's own orientation (oriented watershed, Arbelaez et al., TPAMI
    2011).  A pixel close to a strong contour has some of its strength whatever way the arc through it runs;
    at the arc's own orientation it has not.
    """
    pixels, weights = pixel_graph(contours.strength)
    labels = ranked(np.asarray(higra.labelisation_watershed(pixels, weights), dtype=np.int32))
    arcs = mean_arcs(pixels, weights, labels)
    if not oriented:
        return arcs
    arc_of = np.asarray(higra.CptRegionAdjacencyGraph.get_edge_map(arcs.graph), dtype=np.int64)
    crossing = arc_of >= 0
    ends, others = (np.asarray(side, dtype=np.int64)[crossing] for side in pixels.edge_list()[:2])
    values = _at_own_orientation(contours.directed(), ends, others, arc_of[crossing])
    sums = np.bincount(arc_of[crossing], values, len(arcs.strengths))
    return replace(arcs, strengths=sums / arcs.lengths)


def mean_arcs(pixels: Any, weights: Floats, labels: NDArray[np.int32]) -> Arcs:
    """The regions' graph; an arc's strength is the mean weight of the pixel edges that cross it."""
    graph = higra.make_region_adjacency_graph_from_labelisation(pixels, labels)
    strengths = higra.rag_accumulate_on_edges(graph, higra.Accumulators.mean, weights)
    lengths = higra.rag_accumulate_on_edges(graph, higra.Accumulators.sum, np.ones_like(weights))
    return Arcs(labels, graph, np.asarray(strengths), np.asarray(lengths))


def _at_own_orientation(oriented: NDArray[np.float32], ends: Ints, others: Ints, arcs: Ints) -> Floats:
    """(E,) strength between pixels `ends` and `others`, between the two nearest orientations."""
    place = _across(ends, others, arcs, oriented.shape[2]) * (ORIENTATIONS / np.pi)
    lower = np.floor(place).astype(np.int64)
    share = place - lower
    maps = oriented.reshape(ORIENTATIONS, -1)
    at = [(maps[j % ORIENTATIONS, ends] + maps[j % ORIENTATIONS, others]) / 2 for j in (lower, lower + 1)]
    return np.asarray((1 - share) * at[0] + share * at[1], dtype=np.float64)


def _across(ends: Ints, others: Ints, arcs: Ints, width: int) -> Floats:
    """(E,) angle across the contour at each crossing, in [0, pi].

    That of the straight line through the crossings of the same arc in the same cell of a grid, by least
    squares; where these are too few for a line, the direction of the crossings themselves.
    """
    sideways = others // width == ends // width
    x, y = ends % width + 0.5 * sideways, ends // width + 0.5 * ~sideways
    cells = (np.stack((arcs, y // PIECE, x // PIECE))).astype(np.int64)
    sizes = cells.max(1, initial=0) + 1
    piece = np.unique((cells[0] * sizes[1] + cells[1]) * sizes[2] + cells[2], return_inverse=True)[1]
    count = np.bincount(piece)
    dx, dy = (values - (np.bincount(piece, values) / count)[piece] for values in (x, y))
    xx, yy, xy = (np.bincount(piece, product) for product in (dx * dx, dy * dy, dx * dy))
    line = np.arctan2(2 * xy, xx - yy) / 2 + np.pi / 2
    upright = np.where(2 * np.bincount(piece, sideways) > count, 0.0, np.pi / 2)
    return np.asarray(np.where(count < 3, upright, line)[piece] % np.pi)
