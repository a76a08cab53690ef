"""Scribbles as people draw them."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from pipeline.labels.partial_maps import draw_line
from pipeline.labels.strokes import draw_stroke, part_of, without_stroke

NOISE = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(lambda mask: bool(mask.any()))


@st.composite
def shapes(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Thick lines with corners, and ellipses, of up to 300 pixels: what objects look like."""
    mask = np.zeros((draw(st.integers(4, 300)), draw(st.integers(4, 300))), dtype=np.uint8)
    corners = st.tuples(st.integers(0, mask.shape[1] - 1), st.integers(0, mask.shape[0] - 1))
    line = draw(st.lists(corners, min_size=2, max_size=4))
    cv2.polylines(mask, [np.array(line, dtype=np.int32)], False, 1, thickness=draw(st.integers(1, 30)))
    if draw(st.booleans()):
        axes = (draw(st.integers(1, 100)), draw(st.integers(1, 100)))
        cv2.ellipse(mask, draw(corners), axes, draw(st.integers(0, 180)), 0, 360, 1, -1)
    return mask.astype(bool)


def pixels(stroke: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return draw_line((mask.shape[0], mask.shape[1]), stroke).astype(bool)


@settings(deadline=None)
@given(mask=st.one_of(NOISE, shapes()), seed=st.integers(0, 2**32 - 1))
def test_a_stroke_never_leaves_its_object(mask: NDArray[np.bool_], seed: int) -> None:
    stroke = draw_stroke(mask, np.random.default_rng(seed))
    assert stroke.dtype == np.int64
    drawn = pixels(stroke, mask)
    assert drawn.any()
    assert not (drawn & ~mask).any()
    np.testing.assert_array_equal(stroke, draw_stroke(mask, np.random.default_rng(seed)))


def test_a_stroke_stays_on_an_object_as_thin_as_a_line() -> None:
    rng = np.random.default_rng(3)
    for seed in range(200):
        mask = np.zeros(rng.integers(4, 60, 2), dtype=np.uint8)
        corners = rng.integers(0, mask.shape[::-1], (3, 2)).astype(np.int32)
        cv2.polylines(mask, [corners], False, 1, thickness=1 + seed % 2)
        longest = 20.0 if seed % 3 else np.inf
        drawn = pixels(
            draw_stroke(mask.astype(bool), np.random.default_rng(seed), longest), mask.astype(bool)
        )
        assert not (drawn & (mask == 0)).any()


@given(
    corners=st.integers(1, 60),
    lengths=st.lists(st.floats(0, 1), min_size=2, max_size=5),
    place=st.floats(0, 1),
)
def test_shorter_parts_lie_in_longer_ones(corners: int, lengths: list[float], place: float) -> None:
    stroke = np.stack([np.arange(corners)] * 2, axis=1)
    parts = [set(part_of(stroke, length, place)[:, 0].tolist()) for length in sorted(lengths)]
    for shorter, longer in pairwise(parts):
        assert shorter <= longer
    for length, part in zip(sorted(lengths), parts, strict=True):
        assert len(part) == int(length * (corners - 1) + 0.5) + 1
    assert len(part_of(stroke, 0, place)) == 1
    np.testing.assert_array_equal(part_of(stroke, 1, place), stroke)


@pytest.mark.parametrize("seed", range(5))
def test_a_stroke_runs_along_the_middle_of_a_long_object(seed: int) -> None:
    mask = np.zeros((60, 300), dtype=bool)
    mask[10:50] = True
    stroke = draw_stroke(mask, np.random.default_rng(seed))
    assert np.ptp(stroke[:, 0]) > 180
    assert abs(stroke[:, 1].mean() - 29.5) < 5
    assert 12 < stroke[:, 1].min() <= stroke[:, 1].max() < 47


def test_a_stroke_follows_a_bent_object() -> None:
    mask = np.zeros((200, 200), dtype=np.uint8)
    cv2.ellipse(mask, (100, 100), (80, 80), 0, 0, 270, 1, 21)  # three quarters of a ring
    stroke = draw_stroke(mask.astype(bool), np.random.default_rng(0))
    length = np.hypot(*np.diff(stroke, axis=0).T).sum()
    assert length > 0.7 * 1.5 * np.pi * 80


def test_of_a_long_stroke_a_part_is_drawn() -> None:
    stroke = draw_stroke(np.ones((40, 400), dtype=bool), np.random.default_rng(0), longest=100)
    assert 80 < np.hypot(*np.diff(stroke, axis=0).T).sum() < 110


def test_the_next_stroke_keeps_away_from_the_first() -> None:
    mask = np.ones((100, 100), dtype=bool)
    stroke = draw_stroke(mask, np.random.default_rng(0))
    rest = without_stroke(mask, stroke)
    y, x = np.nonzero(rest)
    nearest = np.hypot(x[:, None] - stroke[:, 0], y[:, None] - stroke[:, 1]).min()
    assert nearest > 24
    assert rest.any()
