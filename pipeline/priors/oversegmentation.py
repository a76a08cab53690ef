"""Over-segmentations: a hierarchy of regions, cut at a strength or at a count, without small regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.ultrametric import RegionTree, ranked
from pipeline.priors.contours import ContourMap
from pipeline.priors.hierarchies import build_hierarchy, without_small


def oversegment(contours: ContourMap, settings: params.Segments) -> NDArray[np.uint16]:
    """(H, W) region ids, 0.. in the order of their first pixels; every region is 4-connected.

    Small regions are removed from the hierarchy before it is cut, so that a count is of regions that are
    large enough: levels of a mean-boundary hierarchy leave slivers beside large regions.
    """
    tree = without_small(build_hierarchy(contours, settings.hierarchy), settings.min_region)
    return cut(tree, settings.cut, settings.most)


def cut(tree: RegionTree, where: params.Cut, most: int) -> NDArray[np.uint16]:
    """(H, W) region ids at a level, or as many as asked for where the hierarchy has them; at most `most`.

    Where a level leaves more than `most` regions, the weakest borders go first until it does not.
    """
    removed = tree.joined(0.0)  # merges of no strength are none: they are a region
    if where.kind == "level":
        joined = max(tree.joined(where.level), len(tree) - most)
    else:
        joined = max(removed, len(tree) - min(where.count, most))
    return ranked(tree.merged(joined)[tree.labels]).astype(np.uint16)
