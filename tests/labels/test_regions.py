"""What there is to mark in an image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.labels.regions import Region, classes_in, find_background, find_objects

MAPS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 2, UNLABELLED, VOID]),
)


def whole(region: Region, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    height, width = region.mask.shape
    mask[region.top : region.top + height, region.left : region.left + width] = region.mask
    return mask


@given(values=MAPS, background=st.booleans())
def test_regions_share_out_every_class_and_touch_no_other(
    values: NDArray[np.uint8], background: bool
) -> None:
    regions = find_objects(values, [], 1, background) + (find_background(values, 1) if background else [])
    count = np.zeros((3, *values.shape), dtype=int)
    for region in regions:
        assert region.mask.any(0).all() or region.mask.any(0)[[0, -1]].all()  # the window is tight
        count[region.label] += whole(region, values.shape)
    for label in range(3):
        np.testing.assert_array_equal(count[label], values == label)
    areas = [region.area for region in find_objects(values, [], 1, background)]
    assert areas == sorted(areas, reverse=True)


@given(values=MAPS)
def test_small_regions_are_overlooked(values: NDArray[np.uint8]) -> None:
    everything = find_objects(values, [], 1, background=False)
    kept = find_objects(values, [], 4, background=False)
    assert [region.area for region in kept] == [region.area for region in everything if region.area >= 4]


def test_an_instance_is_what_the_map_shows_of_it_and_other_classes_are_connected_parts() -> None:
    values = np.array([[1, 1, 2, 1], [1, 1, 2, 1], [0, 0, 0, 3], [0, 3, 0, 0]], dtype=np.uint8)
    first, second = np.zeros((2, 4, 4), dtype=bool)
    first[:2] = True  # the object of class 2 lies on it
    second[:2, 2] = True
    hidden = np.zeros((4, 4), dtype=bool)
    hidden[2, 0] = True  # shows as background
    regions = find_objects(values, [(1, first), (2, second), (1, hidden)], 1, background=True)
    assert [(region.label, region.area) for region in regions] == [(1, 6), (2, 2), (3, 1), (3, 1)]
    assert (regions[0].left, regions[0].top) == (0, 0)
    np.testing.assert_array_equal(regions[0].mask, [[1, 1, 0, 1]] * 2)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    assert [region.area for region in find_objects(np.eye(3, dtype=np.uint8), [], 1, True)] == [3]


def test_classes_are_those_with_a_pixel_and_codes_are_none() -> None:
    assert classes_in(np.array([[7, 0], [UNLABELLED, VOID]], dtype=np.uint8)) == [0, 7]
