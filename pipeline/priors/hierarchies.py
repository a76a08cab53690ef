"""Hierarchies of regions, by higra: which regions join at which level."""

from __future__ import annotations

from typing import Any, Literal

import higra
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline import params
from pipeline.data.ultrametric import RegionTree, UltrametricMap, ranked
from pipeline.priors.contours import ContourMap
from pipeline.priors.watershed import Arcs, pixel_graph, watershed_arcs


def build_hierarchy(contours: ContourMap, hierarchy: params.Hierarchy) -> RegionTree:
    """The merges of the regions of the watershed of an image's contours.

    Their levels are strengths in [0, 1] for mean boundaries, and areas (pixels) or volumes (pixels times
    strength) for watersheds by these.
    """
    if contours.strength.size == 1:  # higra dies of a graph without edges
        return _one_region((1, 1))
    if hierarchy.kind == "mean_boundary":
        arcs = watershed_arcs(contours, hierarchy.oriented)
        if not len(arcs.strengths):
            return _one_region(arcs.labels.shape)
        tree, levels = higra.binary_partition_tree_average_linkage(arcs.graph, arcs.strengths, arcs.lengths)
        return _region_tree(arcs, higra.saliency(tree, levels, arcs.graph, handle_rag=False))
    return _flooded(contours, hierarchy.kind)


def _flooded(contours: ContourMap, kind: Literal["area", "volume"]) -> RegionTree:
    """The hierarchy of `higra.watershed_hierarchy_by_area` or `_by_volume`, in two thirds of its time.

    higra builds a second tree of all pixels by the levels found here; those above 0 are few, and the edges
    at which they stand already join the regions that are kept.
    """
    pixels, weights = pixel_graph(contours.strength)
    binary, altitudes = higra.bpt_canonical(pixels, weights)
    leaves = binary.num_leaves()
    sizes = higra.attribute_area(binary, vertex_area=np.ones(leaves))
    if kind == "volume":
        sizes = higra.attribute_volume(binary, altitudes, sizes)
    # A node as high as its parent is a part of a flat zone, and no region; nor is a single pixel.
    sizes = np.where(altitudes == altitudes[binary.parents()], 0.0, sizes)
    sizes[:leaves] = 0
    largest = higra.accumulate_and_max_sequential(binary, sizes, np.zeros(leaves), higra.Accumulators.max)
    levels = np.asarray(higra.accumulate_parallel(binary, largest, higra.Accumulators.min))[leaves:]
    edges = np.asarray(higra.CptBinaryHierarchy.get_mst_edge_map(binary), dtype=np.int64)
    ends, others = (np.asarray(side, dtype=np.int64)[edges] for side in pixels.edge_list()[:2])
    inside, between = levels <= 0, np.flatnonzero(levels > 0)
    joined = (np.ones(int(inside.sum()), dtype=np.int8), (ends[inside], others[inside]))
    _, labels = connected_components(coo_array(joined, shape=(leaves, leaves)), directed=False)
    labels = ranked(labels)
    merges = between[np.argsort(levels[between], kind="stable")]  # of equal ones, the weaker edge first
    pairs = np.stack((labels[ends[merges]], labels[others[merges]]), axis=1).astype(np.int64)
    return RegionTree(labels.reshape(contours.strength.shape), pairs, levels[merges].astype(np.float32))


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
    order = np.argsort(strengths, kind="stable")
    return RegionTree(tree.labels, tree.pairs[order], strengths[order])


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


def _one_region(shape: tuple[int, ...]) -> RegionTree:
    return RegionTree(np.zeros(shape, np.int32), np.zeros((0, 2), np.int64), np.zeros(0, np.float32))


def _binary(tree: RegionTree) -> tuple[Any, NDArray[np.int64]]:
    """higra's binary tree, and for each of its inner nodes in order the merge that it is."""
    graph = higra.UndirectedGraph(len(tree))
    graph.add_edges(tree.pairs[:, 0], tree.pairs[:, 1])
    binary, _ = higra.bpt_canonical(graph, tree.strengths.astype(np.float64))
    return binary, np.asarray(higra.CptBinaryHierarchy.get_mst_edge_map(binary), dtype=np.int64)


def _region_tree(arcs: Arcs, levels: NDArray[np.float64]) -> RegionTree:
    """levels: (E,) at which the two ends of each arc become one region.

    Of several arcs at which two regions merge, the weakest one stands for the merge: it decides with which
    part of its neighbour a small region goes.
    """
    order = np.lexsort((arcs.strengths, levels))
    ranks = np.empty(len(order))
    ranks[order] = np.arange(len(order))
    binary, _ = higra.bpt_canonical(arcs.graph, ranks)
    edges = np.asarray(higra.CptBinaryHierarchy.get_mst_edge_map(binary), dtype=np.int64)
    ends, others = (np.asarray(side, dtype=np.int64)[edges] for side in arcs.graph.edge_list()[:2])
    return RegionTree(arcs.labels, np.stack((ends, others), axis=1), levels[edges].astype(np.float32))
