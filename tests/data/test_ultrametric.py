"""Ultrametric maps: regions of a level, and the tree of their merges, agree with a flood fill."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.data.ultrametric import RegionTree, UltrametricMap, ranked

STRENGTHS = st.sampled_from([0.0, 0.25, 0.5, 0.75])


@st.composite
def maps(draw: Any) -> UltrametricMap:
    height, width = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    right = draw(arrays(np.float32, (height, width - 1), elements=STRENGTHS))
    down = draw(arrays(np.float32, (height - 1, width), elements=STRENGTHS))
    return UltrametricMap(right, down)


def flooded(ultrametric: UltrametricMap, level: float) -> np.ndarray:
    """Labelling at double size, as the specification asks: odd cells are pixels, those between are edges."""
    height, width = ultrametric.shape
    joined = np.zeros((2 * height + 1, 2 * width + 1), dtype=np.uint8)
    joined[1::2, 1::2] = 1
    joined[1::2, 2:-1:2] = ultrametric.right <= level
    joined[2:-1:2, 1::2] = ultrametric.down <= level
    return cv2.connectedComponents(joined, connectivity=4)[1][1::2, 1::2]


@given(maps(), STRENGTHS)
def test_regions_are_those_of_the_double_size_map(ultrametric: UltrametricMap, level: float) -> None:
    labels = ultrametric.labels(level)
    np.testing.assert_array_equal(labels, ranked(flooded(ultrametric, level)))
    tree = RegionTree.of(ultrametric)
    merged = tree.merged(tree.joined(level))[tree.labels]
    np.testing.assert_array_equal(ranked(merged), labels)
    assert tree.counts(np.array([level]))[0] == labels.max() + 1


def test_corners_are_the_strongest_of_their_edges() -> None:
    right = np.array([[0.1], [0.2], [0.9]], dtype=np.float32)
    down = np.array([[0.3, 0.0], [0.0, 0.0]], dtype=np.float32)
    expected = np.array([[0.3, 0.0], [0.9, 0.0], [0.9, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(UltrametricMap(right, down).corners(), expected)


def test_a_label_map_has_edges_between_different_labels() -> None:
    labels = np.array([[4, 4, 0], [4, 1, 0]], dtype=np.uint16)
    ultrametric = UltrametricMap.of_labels(labels)
    np.testing.assert_array_equal(ultrametric.labels(0.5), [[0, 0, 1], [0, 2, 1]])
    np.testing.assert_array_equal(ultrametric.right, [[0, 1], [1, 1]])
    np.testing.assert_array_equal(ultrametric.down, [[0, 1, 0]])
