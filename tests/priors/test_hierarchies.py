"""Watersheds by area and volume are those of higra."""

from __future__ import annotations

import higra
import numpy as np
import pytest

from pipeline import params
from pipeline.data.ultrametric import UltrametricMap
from pipeline.priors.contours import ContourMap
from pipeline.priors.hierarchies import build_hierarchy, ultrametric_map
from tests.bsds_mini import hierarchy

SHAPE = (23, 31)
REFERENCE = {"area": higra.watershed_hierarchy_by_area, "volume": higra.watershed_hierarchy_by_volume}


def by_higra(strength: np.ndarray, kind: str) -> UltrametricMap:
    pixels = higra.get_4_adjacency_graph(SHAPE)
    weights = higra.weight_graph(pixels, strength.astype(np.float64), higra.WeightFunction.mean)
    levels = higra.saliency(*REFERENCE[kind](pixels, weights), pixels)
    ends, others = (np.asarray(side) for side in pixels.edge_list()[:2])
    right = others - ends == 1
    height, width = SHAPE
    return UltrametricMap(
        levels[right].reshape(height, width - 1).astype(np.float32),
        levels[~right].reshape(height - 1, width).astype(np.float32),
    )


@pytest.mark.parametrize("kind", ["area", "volume"])
@pytest.mark.parametrize("values", [2, 5, 1000])  # few: flat zones at every height
def test_floods_are_those_of_higra(kind: str, values: int) -> None:
    strength = np.random.default_rng(values).integers(0, values, SHAPE).astype(np.float32) / values
    rule: params.Hierarchy = hierarchy({"kind": kind})
    made = ultrametric_map(build_hierarchy(ContourMap(strength, None), rule))
    wanted = by_higra(strength, kind)
    assert len(np.unique(wanted.right)) > 3
    np.testing.assert_array_equal(made.right, wanted.right)
    np.testing.assert_array_equal(made.down, wanted.down)


@pytest.mark.parametrize("kind", ["area", "volume"])
def test_a_flat_image_is_one_region(kind: str) -> None:
    tree = build_hierarchy(ContourMap(np.full(SHAPE, 0.5, np.float32), None), hierarchy({"kind": kind}))
    assert len(tree) == 1
    assert (tree.labels == 0).all()
