"""Arcs between watershed regions: their angles, and strengths at their own orientation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.priors.contours import ContourMap
from pipeline.priors.watershed import watershed_arcs

Y, X = np.mgrid[:40, :60]


def ridge(distance: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(distance) / 8).astype(np.float32)


@pytest.mark.parametrize(
    ("distance", "orientation"),
    [(X - 29.5, 0), (Y - 19.5, 4), ((X - Y - 10.2) / 2**0.5, 6), ((X + Y - 49.7) / 2**0.5, 2)],
)
def test_an_arc_reads_the_map_of_its_own_orientation(distance: np.ndarray, orientation: int) -> None:
    """The arc's ridge in all maps, of the strength (j + 1) / 10: which one is read shows the angle."""
    strengths = np.arange(1, 9, dtype=np.float32) / 10
    strength = ridge(distance)
    contours = ContourMap(strength, strengths[:, None, None] * strength)
    arcs = watershed_arcs(contours, oriented=True)
    assert len(arcs.strengths) == 1
    plain = watershed_arcs(contours, oriented=False).strengths[0]
    assert arcs.strengths[0] / plain == pytest.approx(strengths[orientation], abs=0.02)


def test_an_arc_across_a_strong_contour_loses_what_is_not_its_own() -> None:
    """A weak horizontal border ends at a strong vertical contour, whose strength it has near its end."""
    strong, weak = ridge(X - 29.5), 0.2 * ridge(Y - 19.5) * (X < 29)
    oriented = np.zeros((8, 40, 60), np.float32)
    oriented[0], oriented[4] = strong, weak
    contours = ContourMap(np.maximum(strong, weak).astype(np.float32), oriented)
    plain, own = (watershed_arcs(contours, oriented=value) for value in (False, True))
    np.testing.assert_array_equal(plain.labels, own.labels)
    assert len(own.strengths) == 3
    assert own.strengths.min() < 0.21 < plain.strengths.min()
    assert sorted(own.lengths.tolist()) == [20.0, 20.0, 30.0]


@pytest.mark.parametrize(("size", "orientation"), [((40, 1), 4), ((1, 40), 0)])
def test_images_one_pixel_wide_or_high_have_arcs_across(size: tuple[int, int], orientation: int) -> None:
    strength = np.zeros(40, np.float32)
    strength[20] = 0.9
    strength = strength.reshape(size)
    strengths = np.arange(1, 9, dtype=np.float32) / 10
    contours = ContourMap(strength, strengths[:, None, None] * strength)
    own, plain = (watershed_arcs(contours, oriented=value).strengths for value in (True, False))
    assert own / plain == pytest.approx(strengths[orientation])


def test_one_region_has_no_arcs() -> None:
    arcs = watershed_arcs(ContourMap(np.full((5, 6), 0.3, np.float32), None), oriented=True)
    assert arcs.labels.max() == 0
    assert len(arcs.strengths) == len(arcs.lengths) == 0
