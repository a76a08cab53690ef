"""Checks of COCO annotations: what is left out with a warning, what is mended, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import UserError
from tests.data.coco_folder import HEIGHT, POLYGON, WIDTH, Edit, first, read, without

LEFT_OUT: dict[str, tuple[Edit, str]] = {
    "no_image_id": (without("image_id"), "no image_id"),
    "no_category_id": (first("category_id", None), "no category_id"),
    "crowd_two": (first("iscrowd", 2), "iscrowd"),
    "crowd_text": (first("iscrowd", "0"), "iscrowd"),
    "no_bbox": (without("bbox"), "no bbox"),
    "bbox_null": (first("bbox", None), "no bbox"),
    "bbox_three": (first("bbox", [1, 2, 3]), "four numbers"),
    "bbox_five": (first("bbox", [1, 2, 3, 4, 5]), "four numbers"),
    "bbox_infinite": (first("bbox", [1, 2, float("inf"), 4]), "not a finite number"),
    "bbox_huge_int": (first("bbox", [1, 2, 10**400, 4]), "absurd"),
    "bbox_left_of_image": (first("bbox", [-30, 2, 10, 4]), "outside the image"),
    "bbox_touching_edge": (first("bbox", [WIDTH, 2, 10, 4]), "outside the image"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_one_unusable_annotation_is_left_out_and_named(folder: Path, name: str) -> None:
    edit, message = LEFT_OUT[name]
    checked = read(folder, edit)
    assert [row["id"] for row in checked.coco["annotations"]] == [12, 13]
    assert len(checked.images) == 2
    (line,) = checked.warnings
    assert "1 annotation left out" in line
    assert message in line
    assert "annotation 11" in line


PIXELS = WIDTH * HEIGHT
BAD_MASKS: dict[str, tuple[Any, str]] = {
    "flat_list": ([5, 5, 20, 5, 20, 15], "list of numbers inside"),
    "empty_polygon": ([[]], "three points"),
    "odd_polygon": ([[5, 5, 20, 5, 20, 15, 9]], "odd count"),
    "one_of_two_bad": ([POLYGON[0], [1, 1, 2, 2]], "three points"),
    "polygon_nan": ([[5, 5, 20, 5, 20, float("nan")]], "not a finite number"),
    "polygon_huge": ([[5, 5, 20, 5, 20, 10**400]], "not a finite number"),
    "polygon_text": ([[5, 5, 20, 5, 20, "15"]], "not a number"),
    "polygon_far_outside": ([[5, 5, 1e9, 5, 1e9, 1e9]], "far outside"),
    "polygon_outside": ([[50, 5, 60, 5, 60, 15, 50, 15]], "no pixel"),
    "text": ("5 5 20 5", "neither polygons nor run lengths"),
    "no_counts": ({"size": [HEIGHT, WIDTH]}, "no counts"),
    "no_size": ({"counts": [PIXELS]}, "size"),
    "size_swapped": ({"size": [WIDTH, HEIGHT], "counts": [100, 50, PIXELS - 150]}, "[40, 30] and [30, 40]"),
    "negative_run": ({"size": [HEIGHT, WIDTH], "counts": [100, -50, PIXELS - 50]}, "negative"),
    "float_run": ({"size": [HEIGHT, WIDTH], "counts": [100.0, 50, PIXELS - 150]}, "whole numbers"),
    "wrapping_runs": ({"size": [HEIGHT, WIDTH], "counts": [2**64, PIXELS]}, "whole numbers"),
    "all_background": ({"size": [HEIGHT, WIDTH], "counts": [PIXELS]}, "no pixel"),
    "garbage": ({"size": [HEIGHT, WIDTH], "counts": "not a mask é"}, "damaged"),
    "unfinished_string": ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "damaged"),
    "empty_string": ({"size": [HEIGHT, WIDTH], "counts": ""}, "damaged"),
    "number": ({"size": [HEIGHT, WIDTH], "counts": 4}, "whole numbers"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_an_unusable_mask_is_left_out_and_its_box_kept(folder: Path, name: str) -> None:
    segmentation, message = BAD_MASKS[name]
    checked = read(folder, first("segmentation", segmentation))
    assert ["segmentation" in row for row in checked.coco["annotations"]] == [False, True, True]
    (line,) = checked.warnings
    assert "1 mask left out, its box kept" in line
    assert message in line
    assert "annotation 11" in line


def test_a_box_beyond_the_edge_is_cut_and_reported_but_rounding_is_left(folder: Path) -> None:
    checked = read(folder, first("bbox", [20, 10, 30, 10]))
    assert checked.coco["annotations"][0]["bbox"] == [20, 10, 20, 10]
    assert any("cut to its image" in line and "annotation 11" in line for line in checked.warnings)
    rounded = read(folder, first("bbox", [5, 5, 35.4, 10]))
    assert rounded.coco["annotations"][0]["bbox"] == [5, 5, 35.4, 10]


def test_a_polygon_beyond_the_edge_is_cut_and_reported(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0].update(bbox=[30, 5, 10, 10], segmentation=[[30, 5, 50, 5, 50, 15, 30, 15]])

    checked = read(folder, edit)
    mask = coco_mask.decode(checked.coco["annotations"][0]["segmentation"])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 30:] = 1
    np.testing.assert_array_equal(mask, expected)
    assert "polygon reaches outside" in checked.warnings[0]


def test_corners_instead_of_sizes_are_reported(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        polygon = [15, 12, 25, 12, 25, 16, 15, 16]
        content["annotations"][0].update(bbox=[15, 12, 25, 16], segmentation=[polygon])

    checked = read(folder, edit)
    assert "bbox must be x, y, width, height" in checked.warnings[0]
    assert len(checked.coco["annotations"]) == 3


def test_annotations_without_a_mask_among_others_are_counted(folder: Path) -> None:
    checked = read(folder, without("segmentation"))
    assert "1 annotation kept for box supervision only" in checked.warnings[0]


@pytest.mark.parametrize("area", [None, 0, -5, float("nan"), "150", 10**400, 1e300, WIDTH * HEIGHT + 1])
def test_an_unusable_area_is_replaced_by_that_of_the_mask(folder: Path, area: Any) -> None:
    checked = read(folder, first("area", area))
    assert checked.coco["annotations"][0]["area"] == 150
    assert "no usable area" in checked.warnings[0]


def test_crowd_regions_may_be_polygons_and_iscrowd_may_be_absent(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = 1
        del content["annotations"][1]["iscrowd"]

    checked = read(folder, edit)
    assert [row["iscrowd"] for row in checked.coco["annotations"]] == [1, 0, 0]
    assert checked.warnings == []


def test_negative_and_64_bit_ids_come_back(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0]["id"] = 2**63 - 1
        content["categories"].append({"id": -4, "name": "<b>bold</b>"})
        content["annotations"][0]["category_id"] = -4

    row = read(folder, edit).coco["annotations"][0]
    assert (row["id"], row["category_id"]) == (2**63 - 1, -4)


def test_no_annotations_at_all_is_legal_but_none_usable_is_not(folder: Path) -> None:
    assert read(folder, lambda content: content["annotations"].clear()).coco["annotations"] == []
    with pytest.raises(UserError, match=r"none of its annotations can be used.*has no width"):
        read(folder, lambda content: [row.update(bbox=[1, 1, 0, 0]) for row in content["annotations"]])
