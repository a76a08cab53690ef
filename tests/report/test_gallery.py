"""Overlays: which pixel gets which colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import make_data, make_row

from pipeline.report.data import Scene, Shape
from pipeline.report.gallery import (
    count_objects,
    data_uri,
    errors_overlay,
    flatten,
    objects_overlay,
    row_note,
    shown_image,
)
from pipeline.report.palette import FALSE_ALARM, HIT, MISS

SIZE = 12


def square(category: str, left: int, width: int, *, masked: bool = True, crowd: bool = False) -> Shape:
    """Rows 2 to 9, columns left to left + width."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:10, left : left + width] = True
    return Shape(category, (left, 2, width, 8), mask if masked else None, crowd=crowd)


def scene(*truth: Shape) -> Scene:
    image = np.full((SIZE, SIZE, 3), 100, np.uint8)
    return Scene(1, "a.png", "best", image, truth, {}, {})


def pixel(overlay: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    """Colour at the middle of an original pixel."""
    factor = overlay.shape[0] // SIZE
    return tuple(
        int(value) for value in overlay[row * factor + factor // 2, column * factor + factor // 2, :3]
    )


def test_hit_miss_and_false_alarm() -> None:
    overlay = errors_overlay(scene(square("star", 0, 6)), (square("star", 3, 6),))
    assert pixel(overlay, 5, 1) == MISS
    assert pixel(overlay, 5, 4) == HIT
    assert pixel(overlay, 5, 7) == FALSE_ALARM
    assert overlay[0, 0, 3] == 0


def test_a_small_object_is_not_hidden_by_a_large_one_whatever_the_order() -> None:
    small, large = square("star", 4, 2), square("L", 0, 12)
    colors = {"star": "#ff0000", "L": "#0000ff"}
    first, second = (
        objects_overlay(scene(*shapes), shapes, colors) for shapes in ((small, large), (large, small))
    )
    np.testing.assert_array_equal(first, second)
    assert pixel(first, 5, 4) == (255, 0, 0)
    assert pixel(first, 5, 9) == (0, 0, 255)


def test_a_wrong_class_is_a_false_alarm_not_a_hit() -> None:
    overlay = errors_overlay(scene(square("star", 0, 6)), (square("L", 0, 6),))
    assert pixel(overlay, 5, 3) == FALSE_ALARM


def test_a_crowd_is_neither_missed_nor_a_false_alarm() -> None:
    overlay = errors_overlay(scene(square("star", 0, 6, crowd=True)), ())
    assert not overlay.any()
    overlay = errors_overlay(scene(square("star", 0, 6, crowd=True)), (square("star", 0, 6),))
    assert pixel(overlay, 5, 3) == (0, 0, 0)


def test_an_object_without_mask_is_outlined_by_its_box() -> None:
    overlay = objects_overlay(scene(), (square("star", 3, 6, masked=False),), {"star": "#0072b2"})
    assert pixel(overlay, 5, 6) == (0, 0, 0)
    assert (overlay[overlay[:, :, 3] == 255][:, :3] == 255).all()
    assert (overlay[:, :, 3] == 255).any()


def test_large_images_are_reduced_and_flatten_fits_the_overlay() -> None:
    large = Scene(1, "a.jpg", "best", np.zeros((800, 400, 3), np.uint8), (), {}, {})
    assert shown_image(large).shape == (384, 192, 3)
    assert flatten(large, errors_overlay(large, ())).shape == (384, 192, 3)


@pytest.mark.parametrize(("side", "kind"), [(96, "png"), (300, "jpeg")])
def test_large_photos_are_stored_as_jpeg(side: int, kind: str) -> None:
    assert data_uri(np.zeros((side, side, 3), np.uint8)).startswith(f"data:image/{kind};base64,")


def test_objects_are_counted_without_crowds() -> None:
    shapes = (square("b", 0, 1), square("a", 0, 1), square("b", 0, 1), square("c", 0, 1, crowd=True))
    assert count_objects(shapes) == [("b", 2), ("a", 1)]


def test_the_note_says_how_good_a_row_is_and_which_boxes_have_no_mask() -> None:
    data = make_data(scenes=0)
    found = (square("star", 0, 6), square("star", 0, 0), square("L", 0, 0))
    shown = replace(scene(), predictions={"mal": found, "oracle": found}, quality={"oracle": 71.6})
    assert row_note(data, shown, make_row("oracle")) == "72 % mean IoU"
    assert row_note(data, shown, make_row("mal")) == "2 boxes without a mask"
    one = replace(shown, predictions={"mal": found[:2]}, quality={"mal": 50.0})
    assert row_note(data, one, make_row("mal")) == "50 % mean IoU, 1 box without a mask"
    boxes = replace(data, rows=(replace(make_row("oracle"), headline="box_AP"),))
    assert row_note(boxes, shown, boxes.rows[0]) == "72 % mean box IoU"
