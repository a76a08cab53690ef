"""Label files: read back as written, and checked, since a user may bring an own one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.masks import encode
from pipeline.errors import UserError
from pipeline.labels.label_file import Category, LabelFile

MASK = np.zeros((1, 6, 8), dtype=bool)
MASK[0, 1:3, 2:5] = True


def content(kind: str = "masks") -> dict[str, Any]:
    row = {"image_id": 2, "category_id": 90, "bbox": [2, 1, 3, 2], "area": 6, "iscrowd": 0}
    if kind == "masks":
        row["segmentation"] = encode(MASK)[0]
    return {
        "info": {"kind": kind},
        "images": [{"id": key, "file_name": f"{key}.png", "width": 8, "height": 6} for key in (5, 2)],
        "annotations": [{**row, "id": 31}, {**row, "id": 30, "category_id": 4}],
        "categories": [{"id": 90, "name": "b"}, {"id": 4, "name": "a"}],
    }


def read(folder: Path, value: Any) -> LabelFile:
    (folder / "labels.json").write_text(json.dumps(value))
    return LabelFile.read(folder / "labels.json")


def test_labels_are_contiguous_in_the_order_of_category_ids(tmp_path: Path) -> None:
    labels = read(tmp_path, content())
    assert labels.kind == "masks"
    assert labels.categories == [Category(4, "a"), Category(90, "b")]
    assert list(labels.images) == [2, 5]
    image = labels.images[2]
    assert image.annotation_ids.tolist() == [31, 30]
    assert image.labels.tolist() == [1, 0]
    assert image.boxes.tolist() == [[2, 1, 5, 3]] * 2
    assert (image.boxes.dtype, image.labels.dtype, image.size) == (np.float32, np.int64, (6, 8))
    assert image.rles == encode(np.repeat(MASK, 2, 0))


def test_an_image_without_annotations_has_empty_arrays(tmp_path: Path) -> None:
    image = read(tmp_path, content()).images[5]
    assert image.boxes.shape == (0, 4)
    assert image.labels.shape == (0,)
    assert image.rles == []


def test_a_box_file_has_no_masks(tmp_path: Path) -> None:
    labels = read(tmp_path, content("boxes"))
    assert labels.kind == "boxes"
    assert labels.images[2].rles is None


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_the_kind_of_a_file_from_elsewhere_is_told_by_its_annotations(tmp_path: Path, kind: str) -> None:
    value = content(kind)
    del value["info"]
    assert read(tmp_path, value).kind == kind


def test_crowds_and_empty_masks_are_no_instances(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0]["iscrowd"] = 1
    value["annotations"].append(
        {**value["annotations"][1], "id": 32, "segmentation": encode(np.zeros_like(MASK))[0]}
    )
    labels = read(tmp_path, value)
    assert labels.images[2].annotation_ids.tolist() == [30]
    assert labels.images[2].rles == encode(MASK)
    assert labels.left_out == (31, 32)


def test_crowds_in_a_box_file_are_no_instances(tmp_path: Path) -> None:
    value = content("boxes")
    value["annotations"][0]["iscrowd"] = 1
    labels = read(tmp_path, value)
    assert labels.images[2].annotation_ids.tolist() == [30]
    assert labels.left_out == (31,)
    value["annotations"][1]["iscrowd"] = 1
    assert read(tmp_path, value).annotated_images == 0


def first(key: str, value: Any, rows: str = "annotations") -> Callable[[dict[str, Any]], Any]:
    return lambda content: content[rows][0].__setitem__(key, value)


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no_images": (lambda c: c.pop("images"), "not a label file"),
    "annotations_text": (lambda c: c.__setitem__("annotations", "none"), "not a label file"),
    "no_categories": (lambda c: c["categories"].clear(), "the list is empty"),
    "kind": (lambda c: c["info"].__setitem__("kind", "tags"), "must be boxes or masks"),
    "mask_in_box_file": (lambda c: c["info"].__setitem__("kind", "boxes"), "31: has a mask"),
    "mask_missing": (lambda c: c["annotations"][0].pop("segmentation"), "31: has no mask"),
    "polygon": (first("segmentation", [[1, 1, 4, 1, 4, 3]]), "31: the mask is not a compressed"),
    "mask_damaged": (first("segmentation", {"size": [6, 8], "counts": "zz"}), "31: the compressed"),
    "mask_of_another_size": (first("segmentation", {"size": [8, 6], "counts": "zz"}), "31: .*another size"),
    "id_twice": (first("id", 30), "annotations: the id 30 occurs twice"),
    "image_twice": (first("id", 2, "images"), "images: the id 2 occurs twice"),
    "id_text": (first("id", "30"), "whole number"),
    "image_unknown": (first("image_id", 77), "31: image_id 77"),
    "category_unknown": (first("category_id", 1), "31: category_id 1"),
    "crowd_with_mask_in_box_file": (
        lambda c: (c["info"].update(kind="boxes"), c["annotations"][0].update(iscrowd=1)),
        "31: has a mask",
    ),
    "crowd_without_area": (
        lambda c: c["annotations"][0].update(iscrowd=1, bbox=[2, 1, 0, 2]),
        "31: bbox needs a width",
    ),
    "box_text": (first("bbox", ["2", 1, 3, 2]), "31: bbox must be the four numbers"),
    "box_three": (first("bbox", [2, 1, 3]), "31: bbox must be the four numbers"),
    "box_nan": (first("bbox", [2, 1, float("nan"), 2]), "31: bbox needs a width"),
    "box_empty": (first("bbox", [2, 1, 0, 2]), "31: bbox needs a width"),
    "box_outside": (first("bbox", [8, 1, 3, 2]), r"31: bbox \[8, 1, 3, 2\] lies outside"),
    "width": (first("width", 8.5, "images"), "image 5: width and height"),
    "name": (first("name", None, "categories"), "category 90: the name None"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    edit, message = FAULTS[name]
    value = content()
    edit(value)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, value)
    assert "labels.json" in str(caught.value)
    assert "\n" not in str(caught.value)
