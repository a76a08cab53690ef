"""Partial labels from maps: the rules by hand, and what must hold of any maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.label_codes import BACKGROUND, UNLABELLED
from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.priors.cam_labels import background_score, labels_from_boxes, labels_from_tags

NO_BOXES = np.zeros((0, 4), dtype=np.float32)


def settings(alpha: float = 6.0, least: float = 0.2) -> params.TagCamLabels:
    return params.TagCamLabels(
        kind="cam_tags",
        cams="cams",
        labels="tags",
        background=params.PowerBackground(kind="power", alpha=alpha),
        least_score=least,
        processes=1,
    )


def from_boxes(
    maps: NDArray[np.float32], tags: tuple[int, ...], *rows: tuple[float, ...]
) -> NDArray[np.uint8]:
    """rows: class, x1, y1, x2, y2."""
    values = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return labels_from_boxes(maps, tags, values[:, 1:], values[:, 0].astype(np.int64), NO_BOXES, 0.5)


def test_background_is_a_power_of_what_the_greatest_map_leaves() -> None:
    maps = np.array([[[0.0, 0.5]], [[0.25, 0.1]]], dtype=np.float32)
    power = params.PowerBackground(kind="power", alpha=2.0)
    np.testing.assert_allclose(background_score(maps, power), [[0.5625, 0.25]])
    constant = params.ConstantBackground(kind="constant", score=0.25)
    np.testing.assert_allclose(background_score(maps, constant), [[0.25, 0.25]])
    assert background_score(maps[:0], power).tolist() == [[1, 1]]


def test_best_of_background_and_classes_where_it_is_good_enough() -> None:
    maps = np.array([[[0.1, 0.5, 0.4, 0.0]], [[0.2, 0.3, 0.9, 0.0]]], dtype=np.float32)
    # (1 - max)^6: 0.262, 0.016, 0.000001, 1
    assert labels_from_tags(maps, (3, 7), settings()).tolist() == [[0, 3, 7, 0]]
    assert labels_from_tags(maps, (3, 7), settings(least=0.3)).tolist() == [[UNLABELLED, 3, 7, 0]]
    assert labels_from_tags(maps, (3, 7), settings(least=0.6)).tolist() == [[UNLABELLED, UNLABELLED, 7, 0]]


def test_published_settings_label_every_pixel() -> None:
    """The better of m and (1 - m)^6 is never below 0.2."""
    maps = np.linspace(0, 1, 10001, dtype=np.float32).reshape(1, 1, -1)
    assert not (labels_from_tags(maps, (1,), settings()) == UNLABELLED).any()


def test_an_image_without_tags_is_background() -> None:
    assert not labels_from_tags(np.zeros((0, 3, 4), dtype=np.float32), (), settings()).any()


def test_maps_are_rescaled_in_their_box() -> None:
    maps = np.zeros((1, 3, 6), dtype=np.float32)
    maps[0, 1] = [0.9, 0.10, 0.2, 0.24, 0.3, 0.9]
    made = from_boxes(maps[:, 1:2], (4,), (4, 1, 0, 5, 1))  # columns 1 to 4: 0.10 to 0.30 become 0 to 1
    assert made.tolist() == [[0, UNLABELLED, UNLABELLED, 4, 4, 0]]


def test_the_greater_rescaled_value_wins_where_boxes_overlap() -> None:
    maps = np.array([[[0.0, 0.6, 1.0, 0.8]], [[0.0, 0.9, 0.4, 1.0]]], dtype=np.float32)
    whole = (0.0, 0.0, 4.0, 1.0)
    assert from_boxes(maps, (1, 2), (1, *whole), (2, *whole)).tolist() == [[UNLABELLED, 2, 1, 2]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_smaller_box_wins_where_values_are_equal(order: tuple[int, int]) -> None:
    maps = np.array([[[0.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0, 0.0]]], dtype=np.float32)
    rows = ((1, 0, 0, 4, 1), (2, 1, 0, 4, 1))
    assert from_boxes(maps, (1, 2), *(rows[index] for index in order))[0, 2] == 2


def test_a_flat_map_marks_the_inner_half_and_yields() -> None:
    maps = np.full((2, 8, 8), 0.3, dtype=np.float32)
    alone = from_boxes(maps, (1, 2), (1, 0, 0, 8, 8))
    expected = np.full((8, 8), UNLABELLED)
    expected[2:6, 2:6] = 1
    np.testing.assert_array_equal(alone, expected)
    maps[1, 3, 3], maps[1, 4, 4] = 0.31, 0.0  # now it is not flat: its box claims up to 1 there
    assert from_boxes(maps, (1, 2), (1, 0, 0, 8, 8), (2, 1, 1, 7, 7))[3, 3] == 2


def test_a_box_of_a_class_without_a_map_stays_unlabelled_and_crowds_too() -> None:
    maps = np.ones((1, 2, 4), dtype=np.float32)
    assert from_boxes(maps, (1,), (2, 0, 0, 2, 2)).tolist() == [[UNLABELLED] * 2 + [0] * 2] * 2
    crowds = np.array([[3.0, 0.0, 4.0, 2.0]], dtype=np.float32)
    made = labels_from_boxes(maps, (1,), NO_BOXES, np.zeros(0, dtype=np.int64), crowds, 0.5)
    assert made.tolist() == [[0, 0, 0, UNLABELLED]] * 2


tags_and_maps = st.lists(st.integers(1, 20), max_size=3, unique=True).flatmap(
    lambda tags: st.tuples(
        st.just(tuple(sorted(tags))),
        hnp.arrays(np.float32, (len(tags), 6, 9), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])),
    )
)


@given(drawn=tags_and_maps, alpha=st.floats(0.5, 30), least=st.floats(0, 1), constant=st.booleans())
def test_no_label_beyond_the_tags(drawn: Any, alpha: float, least: float, constant: bool) -> None:
    tags, maps = drawn
    row = settings(alpha, least)
    if constant:
        row = row.model_copy(update={"background": params.ConstantBackground(kind="constant", score=least)})
    assert set(np.unique(labels_from_tags(maps, tags, row))) <= {BACKGROUND, UNLABELLED, *tags}


@given(
    drawn=tags_and_maps,
    corners=st.lists(st.tuples(*[st.floats(-3, 12)] * 4, st.integers(1, 20)), max_size=4),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_classes_lie_in_boxes_of_their_own_and_background_outside(
    drawn: Any, corners: Any, threshold: float
) -> None:
    tags, maps = drawn
    boxes = np.array(
        [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d, _ in corners], dtype=np.float32
    ).reshape(-1, 4)
    classes = np.array([row[4] for row in corners], dtype=np.int64)
    made = labels_from_boxes(maps, tags, boxes, classes, NO_BOXES, threshold)
    inside = np.zeros((6, 9), dtype=bool)
    own = {tag: np.zeros((6, 9), dtype=bool) for tag in range(21)}
    for (left, top, right, bottom), index in zip(pixel_boxes(boxes, 6, 9), classes, strict=True):
        inside[top:bottom, left:right] = True
        own[int(index)][top:bottom, left:right] = True
    np.testing.assert_array_equal(made == BACKGROUND, ~inside)
    for label in set(np.unique(made).tolist()) - {BACKGROUND, UNLABELLED}:
        assert label in tags
        assert own[label][made == label].all()
    order = np.random.default_rng(0).permutation(len(boxes))
    again = labels_from_boxes(maps, tags, boxes[order], classes[order], NO_BOXES, threshold)
    areas = np.prod(pixel_boxes(boxes, 6, 9)[:, 2:] - pixel_boxes(boxes, 6, 9)[:, :2], axis=1)
    if len(set(areas.tolist())) == len(areas):
        np.testing.assert_array_equal(again, made, "the order of the boxes makes no difference")
