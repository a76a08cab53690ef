"""Quality of single images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.evaluation.mask_iou import object_mask_iou
from pipeline.evaluation.per_image import in_box_quality, per_image_quality
from pipeline.evaluation.results import objects


def test_perfect_detections_have_quality_1_and_none_0(make_scene: Any) -> None:
    annotations, _, _ = make_scene(1)
    perfect = [a | {"score": 0.9} for a in objects(annotations)]
    quality = per_image_quality(annotations, perfect)
    assert set(quality) == {a["image_id"] for a in objects(annotations)}
    assert list(quality) == sorted(quality)
    assert set(quality.values()) == {1.0}
    assert set(per_image_quality(annotations, []).values()) == {0.0}
    assert set(per_image_quality(annotations, [d | {"score": 0.2} for d in perfect]).values()) == {0.0}
    assert set(per_image_quality(annotations, perfect, score_threshold=0.95).values()) == {0.0}


def test_mean_over_objects_of_the_best_detection(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(2, ties=False)
    for image, quality in per_image_quality(annotations, detections, 0.0).items():
        best = []
        for truth in (a for a in objects(annotations) if a["image_id"] == image):
            pairs = [
                (d["segmentation"], truth["segmentation"])
                for d in detections
                if (d["image_id"], d["category_id"]) == (image, truth["category_id"])
            ]
            best.append(max((float(coco_mask.iou([d], [t], [0])[0, 0]) for d, t in pairs), default=0.0))
        assert quality == pytest.approx(sum(best) / len(best))


def test_boxes_stand_in_where_masks_are_missing(make_scene: Any) -> None:
    annotations, _, _ = make_scene(1)
    bare = [a | {"segmentation": None} for a in annotations["annotations"]]
    found = [a | {"score": 1.0} for a in annotations["annotations"]]
    assert set(per_image_quality(annotations | {"annotations": bare}, found).values()) == {1.0}


def test_masks_in_boxes_are_judged_by_their_own_object(make_scene: Any) -> None:
    annotations, _, in_boxes = make_scene(2)
    own = objects(annotations)
    ious = object_mask_iou(annotations, in_boxes)
    quality = in_box_quality(annotations, in_boxes)
    assert list(quality) == sorted({a["image_id"] for a in own})
    for image, value in quality.items():
        theirs = [iou for a, iou in zip(own, ious, strict=True) if a["image_id"] == image]
        assert value == pytest.approx(np.mean(theirs))


def test_without_ground_truth_masks_those_in_boxes_have_no_quality(make_scene: Any) -> None:
    annotations, _, in_boxes = make_scene(1)
    annotations["annotations"][0] |= {"segmentation": None}
    assert in_box_quality(annotations, in_boxes).keys() == per_image_quality(annotations, []).keys()
    for annotation in annotations["annotations"]:
        annotation["segmentation"] = None
    assert in_box_quality(annotations, in_boxes) == {}
