"""Oriented filters: the convention of angles, and what two sides of a pixel differ in."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.priors.oriented import (
    ANGLES,
    ORIENTATIONS,
    along_lines,
    directed,
    gaussian,
    gaussian_slope,
    half_disc_differences,
    slopes,
)

SIDE = 41
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE // 2


def step(orientation: int) -> np.ndarray:
    """1 on one side of a line through the centre, which is crossed at that orientation."""
    angle = ANGLES[orientation]
    return np.clip(X * np.cos(angle) + Y * np.sin(angle) + 0.5, 0, 1).astype(np.float32)


def ridge(orientation: int) -> np.ndarray:
    angle = ANGLES[orientation]
    return np.exp(-np.square(X * np.cos(angle) + Y * np.sin(angle)) / 4).astype(np.float32)


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_all_agree_on_what_an_orientation_is(orientation: int) -> None:
    values = step(orientation)
    centre = (slice(None), SIDE // 2, SIDE // 2)
    words = np.stack([values, 1 - values])
    found = (
        slopes(values, 1.2)[centre],
        half_disc_differences(words, 10.0)[centre],
        directed(ridge(orientation))[centre],
        along_lines(np.tile(ridge(orientation), (ORIENTATIONS, 1, 1)), 5.0, 0.8)[centre],
    )
    assert [int(values.argmax()) for values in found] == [orientation] * 4


def test_sides_without_a_common_word_differ_by_one_and_equal_sides_by_none() -> None:
    left = (X < 0).astype(np.float32)
    found = half_disc_differences(np.stack([left, 1 - left]), 10.0)
    assert found[0, 20, 20] > 0.8  # the spots next to the border reach over it
    assert max(found[:, :, :5].max(), found[:, :, -5:].max()) < 1e-6
    assert 0 <= found.min() <= found.max() <= 1


def test_a_slope_of_one_per_pixel_is_one() -> None:
    found = slopes(X.astype(np.float32), 1.5)[:, 20, 20]
    np.testing.assert_allclose(found, np.abs(np.cos(ANGLES)), atol=1e-5)
    np.testing.assert_allclose(gaussian(1.5).sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(gaussian_slope(1.5).sum(), 0, atol=1e-6)


def test_a_map_without_orientations_keeps_its_strength_across_its_ridge() -> None:
    found = directed(ridge(0))
    assert found[0, 20, 20] == pytest.approx(1, abs=1e-3)
    assert found[4, 20, 20] == pytest.approx(0, abs=1e-3)


def test_lines_keep_what_is_long_and_lower_what_is_a_dot() -> None:
    dot = np.zeros((SIDE, SIDE), np.float32)
    dot[20, 20] = 1
    line = (X == 0).astype(np.float32)
    for_line = along_lines(np.tile(line, (ORIENTATIONS, 1, 1)), 5.0, 0.8)[0, 20, 20]
    for_dot = along_lines(np.tile(dot, (ORIENTATIONS, 1, 1)), 5.0, 0.8)[0, 20, 20]
    assert for_line > 5 * for_dot
