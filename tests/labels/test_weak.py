"""Weak labels hold what their supervision may see, and nothing more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.labels.weak import make_labels


def annotations() -> dict[str, Any]:
    mask = {"size": [4, 4], "counts": "55:"}
    row = {
        "image_id": 1,
        "category_id": 3,
        "bbox": [1, 1, 2, 3],
        "area": 5,
        "iscrowd": 0,
        "segmentation": mask,
    }
    return {
        "info": {},
        "images": [{"id": key, "file_name": f"{key}.png", "width": 4, "height": 4} for key in (1, 2)],
        "annotations": [
            {**row, "id": 10},
            {**row, "id": 11, "iscrowd": 1},
            {key: value for key, value in {**row, "id": 12}.items() if key != "segmentation"},
        ],
        "categories": [{"id": 3, "name": "thing"}],
    }


def test_boxes_reveal_nothing_of_the_masks() -> None:
    labels = make_labels(annotations(), "boxes")
    assert labels["annotations"] == [
        {"id": key, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 3], "area": 6, "iscrowd": crowd}
        for key, crowd in ((10, 0), (11, 1), (12, 0))
    ]
    assert labels["info"] == {"kind": "boxes", "left_out": {"crowds": 0, "without_mask": 0}}
    other = annotations()
    for row in other["annotations"]:
        row.update(area=1, segmentation={"size": [4, 4], "counts": "0@"})
    assert json.dumps(make_labels(other, "boxes")) == json.dumps(labels)


def test_masks_leave_out_and_count_annotations_without_one() -> None:
    labels = make_labels(annotations(), "masks")
    assert [row["id"] for row in labels["annotations"]] == [10]
    assert labels["annotations"][0]["segmentation"] == {"size": [4, 4], "counts": "55:"}
    assert labels["info"] == {"kind": "masks", "left_out": {"crowds": 1, "without_mask": 1}}


def test_images_without_annotations_stay() -> None:
    assert [row["id"] for row in make_labels(annotations(), "boxes")["images"]] == [1, 2]


def test_mask_labels_of_a_box_dataset_are_refused() -> None:
    boxes = annotations()
    for row in boxes["annotations"]:
        row.pop("segmentation", None)
    with pytest.raises(UserError, match=r"train\.json: has boxes but no masks.*boxinst.*preset coco-folder,"):
        make_labels(boxes, "masks", "train.json")


def test_no_annotations_give_an_empty_list() -> None:
    assert make_labels({**annotations(), "annotations": []}, "masks")["annotations"] == []
