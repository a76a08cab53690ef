"""Points as people click them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from pipeline.labels.clicks import click, distance_inside

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(lambda mask: bool(mask.any()))


@given(mask=MASKS, count=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_clicks_are_different_pixels_deep_inside_and_fewer_clicks_come_first(
    mask: NDArray[np.bool_], count: int, seed: int
) -> None:
    points = click(mask, count, np.random.default_rng(seed))
    assert 1 <= len(points) <= count
    assert len({tuple(point) for point in points.tolist()}) == len(points)
    depth = distance_inside(mask)
    assert (depth[points[:, 1], points[:, 0]] >= depth.max() / 2).all()
    assert mask[points[:, 1], points[:, 0]].all()
    np.testing.assert_array_equal(click(mask, 1, np.random.default_rng(seed)), points[:1])


@given(mask=MASKS)
def test_distances_are_exact(mask: NDArray[np.bool_]) -> None:
    y, x = np.nonzero(~np.pad(mask, 1))
    rows, columns = np.indices(mask.shape) + 1
    squares = (rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2
    np.testing.assert_array_equal(distance_inside(mask), np.sqrt(squares.min(-1)).astype(np.float32))


def test_distances_beyond_what_roots_tell_are_exact_too() -> None:
    inside = distance_inside(np.ones((2101, 2101), dtype=bool))
    assert inside[1050, 1050] == 1051
    assert inside[1000, 900] == 901


def test_the_frame_is_a_border() -> None:
    np.testing.assert_array_equal(
        distance_inside(np.ones((3, 3), dtype=bool)), [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    )


def test_clicks_spread_over_a_long_object() -> None:
    mask = np.ones((9, 200), dtype=bool)
    gaps = [np.ptp(click(mask, 2, np.random.default_rng(seed))[:, 0]) for seed in range(200)]
    alone = [click(mask, 1, np.random.default_rng(seed))[0, 0] for seed in range(400)]
    by_chance = np.abs(np.diff(np.array(alone).reshape(-1, 2))).mean()
    assert np.mean(gaps) > 1.2 * by_chance


def test_there_are_no_more_clicks_than_pixels() -> None:
    assert len(click(np.ones((1, 2), dtype=bool), 5, np.random.default_rng(0))) == 2
