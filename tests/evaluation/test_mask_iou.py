"""Mask IoU at ground-truth boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import UserError
from pipeline.evaluation.mask_iou import mask_iou_figures, object_mask_iou
from pipeline.evaluation.results import objects


def test_equals_counting_pixels(make_scene: Any) -> None:
    annotations, _, in_boxes = make_scene(2)
    ious = object_mask_iou(annotations, in_boxes[::-1])
    given = {entry["annotation_id"]: entry["segmentation"] for entry in in_boxes}
    own = objects(annotations)
    assert len(own) < len(annotations["annotations"])  # crowds are left out
    for iou, annotation in zip(ious, own, strict=True):
        a, b = (coco_mask.decode(rle) > 0 for rle in (annotation["segmentation"], given[annotation["id"]]))
        assert iou == pytest.approx((a & b).sum() / (a | b).sum())
    figures = mask_iou_figures(annotations, ious)
    assert figures["mean"] == pytest.approx(100 * ious.mean())
    small = [iou for iou, a in zip(ious, own, strict=True) if a["area"] <= 1024]
    assert figures["small"] == pytest.approx(100 * np.mean(small))
    second = [iou for iou, a in zip(ious, own, strict=True) if a["category_id"] == 9]
    assert figures["per_category"]["class 1"] == pytest.approx(100 * np.mean(second))


def test_sizes_and_categories_without_objects_are_none(make_scene: Any) -> None:
    annotations, _, _ = make_scene(2)
    empty = mask_iou_figures(annotations | {"annotations": []}, np.empty(0))
    assert {empty[key] for key in ("mean", "small", "medium", "large")} == {None}
    assert set(empty["per_category"].values()) == {None}


def test_two_empty_masks_have_iou_0(rle: Any) -> None:
    nothing = rle(np.zeros((5, 6), bool))
    annotations = {
        "images": [{"id": 1, "height": 5, "width": 6}],
        "annotations": [{"id": 4, "image_id": 1, "segmentation": nothing}],
    }
    entry = {"annotation_id": 4, "image_id": 1, "segmentation": nothing}
    assert object_mask_iou(annotations, [entry]).tolist() == [0.0]


def test_missing_entries_and_other_sizes_are_refused(make_scene: Any, rle: Any) -> None:
    annotations, _, in_boxes = make_scene(2)
    own = objects(annotations)[0]["id"]
    rest = [entry for entry in in_boxes if entry["annotation_id"] != own]
    with pytest.raises(UserError, match=rf"^in_boxes.json: annotation {own}: has no mask"):
        object_mask_iou(annotations, rest, "in_boxes.json")
    wrong = {"annotation_id": own, "segmentation": rle(np.ones((3, 4), bool))}
    with pytest.raises(UserError, match=r"its mask has size \[3, 4\]"):
        object_mask_iou(annotations, [*rest, wrong])
