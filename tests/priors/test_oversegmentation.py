"""Hierarchies and their cuts: connected regions, dense ids, no small ones, never too many."""

from __future__ import annotations

from typing import Any

import cv2
import higra
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError

from pipeline import params
from pipeline.data.ultrametric import RegionTree
from pipeline.priors.contours import ContourMap
from pipeline.priors.hierarchies import build_hierarchy, ultrametric_map, without_small
from pipeline.priors.oversegmentation import oversegment

KINDS: list[dict[str, Any]] = [
    {"kind": "mean_boundary", "oriented": False},
    {"kind": "mean_boundary", "oriented": True},
    {"kind": "area"},
    {"kind": "volume"},
]
COUNT: dict[str, Any] = {"kind": "count", "count": 6}
LEVEL: dict[str, Any] = {"kind": "level", "level": 0.3}


def rules(**changes: Any) -> params.Segments:
    given = {
        "contours": {"kind": "files", "path": "contours"},
        "hierarchy": KINDS[0],
        "cut": COUNT,
        "min_region": 0,
        "most": 1000,
        "processes": 1,
    }
    return params.FileSegments.model_validate({**given, **changes})


def hierarchy(kind: dict[str, Any]) -> params.Hierarchy:
    return TypeAdapter(params.Hierarchy).validate_python(kind)


def blobs(seed: int = 0, size: tuple[int, int] = (48, 64)) -> ContourMap:
    noise = np.random.default_rng(seed).random(size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return ContourMap((smooth - smooth.min()) / np.ptp(smooth), None)


def is_dense_and_connected(ids: np.ndarray) -> bool:
    parts = sum(
        cv2.connectedComponents((ids == one).astype(np.uint8), connectivity=4)[0] - 1
        for one in np.unique(ids)
    )
    return np.unique(ids).tolist() == list(range(ids.max() + 1)) and parts == ids.max() + 1


STRENGTHS = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]),
)


@settings(deadline=None, max_examples=60)
@given(STRENGTHS, st.sampled_from(KINDS), st.integers(0, 12), st.integers(1, 12), st.integers(1, 9))
def test_regions_are_connected_dense_large_enough_and_not_too_many(
    strength: np.ndarray, kind: dict[str, Any], least: int, count: int, most: int
) -> None:
    cut = {"kind": "count", "count": min(count, most)}
    ids = oversegment(ContourMap(strength, None), rules(hierarchy=kind, cut=cut, min_region=least, most=most))
    assert ids.dtype == np.uint16
    assert ids.shape == strength.shape
    assert is_dense_and_connected(ids)
    assert ids.max() < most
    if ids.max():
        assert np.bincount(ids.ravel()).min() >= least
    assert ids.flat[0] == 0  # in the order of their first pixels


@settings(deadline=None, max_examples=60)
@given(STRENGTHS, st.sampled_from(KINDS[:2]), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(1, 6))
def test_a_level_leaves_at_most_so_many(
    strength: np.ndarray, kind: dict[str, Any], level: float, most: int
) -> None:
    cut = {"kind": "level", "level": level}
    free = oversegment(ContourMap(strength, None), rules(hierarchy=kind, cut=cut))
    bound = oversegment(ContourMap(strength, None), rules(hierarchy=kind, cut=cut, most=most))
    assert bound.max() + 1 == min(free.max() + 1, most)
    # Coarser, not another one: no region of the free cut is split.
    assert len(np.unique(free.astype(np.int64) * 1000 + bound)) == free.max() + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_is_met_where_the_hierarchy_has_it(kind: dict[str, Any]) -> None:
    for count in (1, 2, 17):
        ids = oversegment(blobs(), rules(hierarchy=kind, cut={"kind": "count", "count": count}))
        assert ids.max() + 1 == count


def test_mean_boundaries_are_higra_s() -> None:
    contours = blobs()
    found = ultrametric_map(build_hierarchy(contours, hierarchy(KINDS[0])))
    graph = higra.get_4_adjacency_graph((48, 64))
    weights = higra.weight_graph(graph, contours.strength.astype(np.float64), higra.WeightFunction.mean)
    tree, levels = higra.mean_pb_hierarchy(graph, weights, (48, 64))
    double = higra.graph_4_adjacency_2_khalimsky(graph, higra.saliency(tree, levels))
    np.testing.assert_allclose(found.right, double[::2, 1::2], atol=1e-6)
    np.testing.assert_allclose(found.down, double[1::2, ::2], atol=1e-6)


@pytest.mark.parametrize("kind", ["area", "volume"])
def test_watershed_levels_are_higra_s(kind: str) -> None:
    contours = blobs()
    found = ultrametric_map(build_hierarchy(contours, hierarchy({"kind": kind})))
    graph = higra.get_4_adjacency_graph((48, 64))
    weights = higra.weight_graph(graph, contours.strength.astype(np.float64), higra.WeightFunction.mean)
    tree, levels = getattr(higra, f"watershed_hierarchy_by_{kind}")(graph, weights)
    double = higra.graph_4_adjacency_2_khalimsky(graph, higra.saliency(tree, levels))
    np.testing.assert_allclose(found.right, double[::2, 1::2], rtol=1e-6)
    np.testing.assert_allclose(found.down, double[1::2, ::2], rtol=1e-6)


def test_a_level_separates_what_is_stronger_and_joins_what_is_equal() -> None:
    """Three columns of pixels with borders of 0.4 and 0.8 between them, as means of two pixels."""
    strength = np.repeat([[0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.8, 0.8, 0.0, 0.0]], 6, axis=0).astype(np.float32)
    counts = [
        int(oversegment(ContourMap(strength, None), rules(cut={"kind": "level", "level": level})).max()) + 1
        for level in (0.39, np.float32(0.4).item(), 0.79, 0.9)
    ]
    assert counts == [3, 2, 2, 1]


def test_a_small_region_joins_the_neighbour_behind_its_weakest_border() -> None:
    labels = np.array([[0, 0, 0, 1, 2, 2, 2]] * 3, dtype=np.int32)
    for borders, joins in (((0.3, 0.6), 0), ((0.7, 0.6), 2)):
        pairs = np.array([[0, 1], [1, 2]])[np.argsort(borders)]
        tree = RegionTree(labels, pairs, np.sort(np.float32(borders)))
        found = without_small(tree, 4)
        ids = found.merged(found.joined(0.0))
        assert ids[1] == ids[joins]
        assert len(set(ids.tolist())) == 2
        assert found.strengths[-1] == np.float32(max(borders))


def test_one_region_is_never_too_small() -> None:
    flat = ContourMap(np.zeros((2, 3), np.float32), None)
    for kind in KINDS:
        assert not oversegment(flat, rules(hierarchy=kind, min_region=100)).any()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hierarchy": {"kind": "area"}, "cut": LEVEL}, "cut.kind must be count"),
        ({"cut": {"kind": "count", "count": 2000}}, "must not exceed most"),
        ({"most": 70000}, "less than or equal to 65536"),
        ({"cut": {"kind": "level", "level": 1.5}}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        rules(**changes)
