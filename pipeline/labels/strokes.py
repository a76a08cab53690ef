"""Scribbles as a person draws them: one stroke through the middle of an object, along its longest extent.

A stroke is the longest way through the inner part of a region (a longest path of its skeleton, found as a
cheapest path that shuns the border), smoothed, with the slow wobble of a hand.  It never leaves the region.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from pipeline.labels.clicks import distance_inside, distance_to_false
from pipeline.labels.partial_maps import draw_line

_CELLS = 1200  # a region is looked at in about as many cells: enough for a stroke, and quick
_KEEP_OFF = (0.2, 0.45)  # how far the ends keep off the border: range, as a share of the largest depth
_SHORTEST_END = 0.85  # an end is drawn among the places with this share of the longest way
_SPACING = 4.0  # pixels between the corners of a stroke
_WOBBLE = 0.15  # deviation of the hand, as a share of the depth, at first; less if that leaves the region
_STEADY = 0.015  # largest deviation, as a share of the length
_BEND = 0.06  # of the length: bends that are shorter are smoothed away, and the hand makes none

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]  # (n, 2) x, y


def draw_stroke(mask: Mask, rng: np.random.Generator, longest: float = np.inf) -> NDArray[np.int64]:
    """(n, 2) x and y of the corners of a stroke through (h, w) `mask`, n >= 1; all its pixels are in `mask`.

    longest: pixels; of a longer stroke a part is drawn.  The mask must have a pixel.
    """
    depth = distance_inside(mask)
    way = _cut(_longest_way(mask, depth, rng), longest, rng)
    if len(way) == 1:
        return way
    even = _resample(way.astype(np.float64), 1.0)
    sigma = max(2.0, _BEND * len(even))
    smooth = _smooth(even, sigma)
    noise = _smooth(rng.normal(size=even.shape), sigma)
    noise /= max(float(noise.std()), 1e-9)
    room = np.minimum(_depth_at(depth, smooth), _STEADY / _WOBBLE * len(even))[:, None]
    for wobble in (_WOBBLE, _WOBBLE / 2, 0.0):
        stroke = even_corners(smooth + wobble * room * noise)
        if _stays_inside(stroke, mask):
            return stroke
    for narrower in (sigma / 3, 1.0):
        stroke = even_corners(_smooth(even, narrower))
        if _stays_inside(stroke, mask):
            return stroke
    return way


def part_of(stroke: NDArray[np.int64], length: float, place: float) -> NDArray[np.int64]:
    """The consecutive corners that are `length` (in [0, 1]) of a stroke; one corner for 0.

    place: in [0, 1], around which point of the stroke; with one place, shorter parts lie in longer ones.
    """
    kept = int(length * (len(stroke) - 1) + 0.5) + 1
    start = int(place * (len(stroke) - kept) + 1e-9)
    return stroke[start : start + kept]


def without_stroke(mask: Mask, stroke: NDArray[np.int64]) -> Mask:
    """What of `mask` is left for another stroke: nothing nearer than half the largest depth to this one."""
    line = draw_line((mask.shape[0], mask.shape[1]), stroke)
    near = distance_to_false(line == 0) <= 0.5 * float(distance_inside(mask).max())
    return np.logical_and(mask, ~near)


def _cut(way: NDArray[np.int64], longest: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Consecutive corners of a way over at most `longest` pixels, from anywhere in it; at least one."""
    along = _lengths(way)
    if along[-1] <= longest:
        return way
    start = int(np.searchsorted(along, rng.uniform(0, along[-1] - longest)))
    return way[start : max(int(np.searchsorted(along, along[start] + longest, side="right")), start + 1)]


def _longest_way(mask: Mask, depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) x, y of pixels; consecutive ones can be joined by a line inside the mask."""
    side = _cell_side(mask, float(depth.max()))
    cells = _whole_cells(mask, side)
    deep = depth[side // 2 :: side, side // 2 :: side][: cells.shape[0], : cells.shape[1]]
    cells &= deep >= rng.uniform(*_KEEP_OFF) * float(deep[cells].max())
    graph, rows, columns, depths = _graph(cells, deep, diagonals=side == 1)
    # The part with the most cells; the deepest cell of it is where both ends are sought from.
    _, part = connected_components(graph, directed=False)
    own = part == np.bincount(part).argmax()
    middle = int(np.flatnonzero(own)[depths[own].argmax()])
    end = _far_from(graph, middle, rng)
    other = _far_from(graph, end, rng)
    costly = graph.copy()
    first = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    shallow = float(depths.max()) / np.minimum(depths[first], depths[graph.indices])
    costly.data = graph.data * shallow**2
    _, before = dijkstra(costly, directed=False, indices=end, return_predecessors=True)
    way = [other]
    while way[-1] != end:
        way.append(int(before[way[-1]]))
    chosen = np.array(way)
    return np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.int64) * side + side // 2


def _cell_side(mask: Mask, deepest: float) -> int:
    """Pixels per side of a cell, for about _CELLS cells.

    The cell with the deepest pixel must be whole; the diagonal of a cell is 1.42 sides.
    """
    return max(1, min(int(np.sqrt(mask.sum() / _CELLS)), int(deepest / 1.5)))


def _whole_cells(mask: Mask, side: int) -> Mask:
    """(h // side, w // side): the cells all of whose pixels are in the mask."""
    height, width = (length // side for length in mask.shape)
    cells = mask[: height * side, : width * side].reshape(height, side, width, side)
    return np.asarray(cells.all(axis=(1, 3)), dtype=bool)


def _graph(
    cells: Mask, deep: NDArray[np.float32], diagonals: bool
) -> tuple[csr_array, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Neighbours among the cells with their distance; rows, columns and depths of the nodes.

    diagonals: whether cells that touch at a corner alone are neighbours; a line through the corner of large
    cells would leave the mask.
    """
    rows, columns = np.nonzero(cells)
    node = np.full(cells.shape, -1, dtype=np.int64)
    node[rows, columns] = np.arange(len(rows))
    framed = np.pad(node, 1, constant_values=-1)
    starts, ends, lengths = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = framed[rows + 1 + down, columns + 1 + right]
        found = other >= 0
        if down and right and not diagonals:
            found &= (framed[rows + 2, columns + 1] >= 0) & (framed[rows + 1, columns + 1 + right] >= 0)
        starts.append(np.flatnonzero(found))
        ends.append(other[found])
        lengths.append(np.full(int(found.sum()), np.hypot(down, right)))
    pairs = (np.concatenate(starts), np.concatenate(ends))
    graph = csr_array((np.concatenate(lengths), pairs), shape=(len(rows), len(rows)))
    return graph, rows, columns, deep[rows, columns].astype(np.float64)


def _far_from(graph: csr_array, start: int, rng: np.random.Generator) -> int:
    """A node to which the shortest way from `start` is about as long as to any."""
    ways = dijkstra(graph, directed=False, indices=start)
    ways[~np.isfinite(ways)] = -1
    return int(rng.choice(np.flatnonzero(ways >= _SHORTEST_END * ways.max())))


def _lengths(points: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) length of the polyline up to each of its corners."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])


def _resample(points: Points, spacing: float) -> Points:
    """Points every `spacing` along the polyline, both ends among them."""
    along = _lengths(points)
    places = np.linspace(0, along[-1], max(round(along[-1] / spacing), 1) + 1)
    return np.stack([np.interp(places, along, points[:, axis]) for axis in (0, 1)], axis=1)


def _smooth(points: Points, sigma: float) -> Points:
    smooth: Points = gaussian_filter1d(points, sigma, axis=0, mode="nearest")
    return smooth


def _pixels(points: Points) -> NDArray[np.int64]:
    """The pixels in which points lie; a pixel reaches half a pixel to either side."""
    return np.asarray(np.floor(points + 0.5), dtype=np.int64)


def even_corners(points: Points) -> NDArray[np.int64]:
    """(n, 2) pixels every few pixels along the polyline (m, 2), both ends among them, none twice in a row."""
    return _without_repeats(_pixels(_resample(points, _SPACING)))


def _without_repeats(points: NDArray[np.int64]) -> NDArray[np.int64]:
    moved = np.concatenate([[True], (np.diff(points, axis=0) != 0).any(1)])
    return np.asarray(points[moved], dtype=np.int64)


def _depth_at(depth: NDArray[np.float32], points: Points) -> NDArray[np.float64]:
    x, y = _pixels(points).T
    there = depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)]
    return np.asarray(there, dtype=np.float64)


def _stays_inside(stroke: NDArray[np.int64], mask: Mask) -> bool:
    """Whether every pixel of the line through the corners is in the mask."""
    if (stroke < 0).any() or (stroke >= (mask.shape[1], mask.shape[0])).any():
        return False
    line = draw_line((mask.shape[0], mask.shape[1]), stroke)
    return not (line.view(bool) & ~mask).any()
