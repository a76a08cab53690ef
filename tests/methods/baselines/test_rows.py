"""A baseline as a row of the comparison."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.methods.baselines.rows import apply_baseline, masks_from_boxes

IMAGES = {
    number: np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for number in range(10)
}
STORE = SimpleNamespace(read=IMAGES.__getitem__)
DETECTIONS = [
    {
        "image_id": image,
        "category_id": 2,
        "bbox": [3.0 + image, 4.5, 20.0, 15.25],
        "score": 0.1 * image,
        "segmentation": {"size": [40, 50], "counts": "other"},
    }
    for image in (9, 2, 5, 2)
]
LABELS = {
    "annotations": [
        {"id": 8, "image_id": 5, "category_id": 1, "bbox": [1, 2, 10, 11]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 9]},
    ]
}


@pytest.mark.parametrize("kind", ["fill", "grabcut"])
def test_boxes_and_scores_stay_and_masks_are_new(kind: Any) -> None:
    found, given = apply_baseline(kind, 1, STORE, DETECTIONS, LABELS, 1)
    keys = ("image_id", "category_id", "bbox", "score")
    assert [[d[key] for key in keys] for d in found] == [[d[key] for key in keys] for d in DETECTIONS]
    for detection in found:
        x, y, w, h = detection["bbox"]
        boxes = np.asarray([[x, y, x + w, y + h]])
        mask = masks_from_boxes(kind, 1)(IMAGES[detection["image_id"]], boxes)[0]
        np.testing.assert_array_equal(coco_mask.decode(detection["segmentation"]), mask)
    assert [(entry["annotation_id"], entry["image_id"]) for entry in given] == [(8, 5), (3, 7)]
    if kind == "fill":
        assert [int(coco_mask.area(entry["segmentation"])) for entry in given] == [110, 450]


def test_processes_do_not_change_the_result() -> None:
    assert apply_baseline("grabcut", 1, STORE, DETECTIONS, LABELS, 1) == apply_baseline(
        "grabcut", 1, STORE, DETECTIONS, LABELS, 2
    )


def test_nothing_detected() -> None:
    assert apply_baseline("fill", 0, STORE, [], {"annotations": []}, 1) == ([], [])
