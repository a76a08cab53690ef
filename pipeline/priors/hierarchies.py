"""Hierarchies of regions, by higra: which regions join at which level."""

from __future__ import annotations

from typing import Any

import higra
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline import params
from pipeline.data.ultrametric import RegionTree, UltrametricMap, ranked
from pipeline.priors.contours import ContourMap
from pipeline.priors.watershed import pixel_graph, watershed_arcs

_FLOODED = {"area": higra.watershed_hierarchy_by_area, "volume": higra.watershed_hierarchy_by_volume}


def build_hierarchy(contours: ContourMap, hierarchy: params.Hierarchy) -> RegionTree:
    """The merges of an image's regions.

    Their levels are strengths in [0, 1] for mean boundaries, and areas or volumes for watersheds by these.
    """
    if hierarchy.kind == "mean_boundary":
        arcs = watershed_arcs(contours, hierarchy.oriented)
        if not len(arcs.strengths):
            return RegionTree(ranked(arcs.labels), np.zeros((0, 2), np.int64), np.zeros(0, np.float32))
        tree, levels = higra.binary_partition_tree_average_linkage(arcs.graph, arcs.strengths, arcs.lengths)
        return _region_tree(arcs.labels.astype(np.int32), *_merges(tree, levels))
    graph, weights = pixel_graph(contours.strength)
    pairs, levels = _merges(*_FLOODED[hierarchy.kind](graph, weights))
    labels = _joined(contours.strength.size, pairs[levels <= 0])
    pairs, levels = labels[pairs[levels > 0]], levels[levels > 0]
    return _region_tree(labels.reshape(contours.strength.shape), pairs, levels)


def without_small(tree: RegionTree, least: int) -> RegionTree:
    """Remove regions of fewer than `least` pixels: no level of what is returned has one, but a whole image.

    Each joins, from the start, the region with which it merges first in the hierarchy.
    """
    if least <= 1 or len(tree) == 1:
        return tree
    binary, edges = _binary(tree)
    sizes = np.bincount(tree.labels.ravel(), minlength=len(tree)).astype(np.float64)
    areas = higra.attribute_area(binary, vertex_area=sizes)
    smaller = np.asarray(higra.accumulate_parallel(binary, areas, higra.Accumulators.min))[len(tree) :]
    strengths = tree.strengths.copy()
    strengths[edges[smaller < least]] = 0
    return _region_tree(tree.labels, tree.pairs, strengths)


def ultrametric_map(tree: RegionTree) -> UltrametricMap:
    """The level at which neighbour pixels join, for every pair of them."""
    if len(tree) == 1:
        return UltrametricMap.of_labels(tree.labels)
    binary, edges = _binary(tree)
    ancestors = higra.LCAFast(binary)
    levels = np.concatenate((np.zeros(len(tree), np.float32), tree.strengths[edges]))

    def between(ends: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.float32]:
        found = ancestors.lca(ends.ravel().astype(np.int64), others.ravel().astype(np.int64))
        return np.asarray(levels[found], dtype=np.float32).reshape(ends.shape)

    labels = tree.labels
    return UltrametricMap(between(labels[:, :-1], labels[:, 1:]), between(labels[:-1], labels[1:]))


def _binary(tree: RegionTree) -> tuple[Any, NDArray[np.int64]]:
    """higra's binary tree, and for each of its inner nodes in order the merge that it is."""
    graph = higra.UndirectedGraph(len(tree))
    graph.add_edges(tree.pairs[:, 0], tree.pairs[:, 1])
    binary, _ = higra.bpt_canonical(graph, tree.strengths.astype(np.float64))
    return binary, np.asarray(higra.CptBinaryHierarchy.get_mst_edge_map(binary), dtype=np.int64)


def _merges(tree: Any, levels: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(M, 2) leaves that the inner nodes of higra's binary tree join, and the nodes' levels (M,)."""
    spanning = higra.CptBinaryHierarchy.get_mst(tree)
    pairs = np.stack([np.asarray(side, dtype=np.int64) for side in spanning.edge_list()[:2]], axis=1)
    return pairs, np.asarray(levels, dtype=np.float64)[tree.num_leaves() :]


def _joined(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return ranked(connected_components(graph, directed=False)[1])


def _region_tree(labels: NDArray[np.int32], pairs: NDArray[np.int64], levels: NDArray[Any]) -> RegionTree:
    order = np.argsort(levels, kind="stable")
    return RegionTree(labels, pairs[order].astype(np.int64), levels[order].astype(np.float32))
