"""Boundary AP against boundaries computed by distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.evaluation.boundary import boundary_figures
from pipeline.evaluation.coco import evaluate_coco


def boundary(mask: np.ndarray, ratio: float) -> np.ndarray:
    """Pixels with a pixel outside of the mask, or of the image, within a square of the given radius."""
    height, width = mask.shape
    radius = max(1, round(ratio * float(np.hypot(height, width))))
    padded = np.pad(mask, radius)
    inner = np.ones_like(mask)
    for y in range(2 * radius + 1):
        for x in range(2 * radius + 1):
            inner &= padded[y : y + height, x : x + width]
    return mask & ~inner


def overlap(a: np.ndarray, b: np.ndarray, crowd: bool) -> float:
    union = (a if crowd else a | b).sum()
    return (a & b).sum() / union if union else 0.0


@pytest.mark.parametrize("ratio", [0.005, 0.02, 0.06])
def test_overlap_is_the_smaller_of_mask_and_boundary_iou(make_scene: Any, ratio: float) -> None:
    annotations, detections, _ = make_scene(0, images=6, size=70, ties=False)
    overlaps = evaluate_coco(annotations, detections, "boundary", 100, boundary_dilation=ratio).overlaps
    compared = 0
    for (image, category), ious in overlaps.items():
        mine = [d for d in detections if (d["image_id"], d["category_id"]) == (image, category)]
        mine = sorted(mine, key=lambda d: -d["score"])
        theirs = [
            a for a in annotations["annotations"] if (a["image_id"], a["category_id"]) == (image, category)
        ]
        for row, detection in enumerate(mine):
            for column, annotation in enumerate(theirs):
                a, b = (
                    coco_mask.decode(item["segmentation"]).astype(bool) for item in (detection, annotation)
                )
                crowd = bool(annotation["iscrowd"])
                wanted = overlap(a, b, crowd)
                if not crowd:
                    wanted = min(wanted, overlap(boundary(a, ratio), boundary(b, ratio), False))
                assert ious[row, column] == pytest.approx(wanted, abs=1e-12)
                compared += 1
    assert compared > 20


def test_coarse_masks_lose_boundary_ap(rle: Any) -> None:
    """A 60 x 60 square against one that is 2 pixels larger on each side: IoU .88, boundary IoU .35."""
    true, coarse = np.zeros((2, 100, 100), bool)
    true[20:80, 20:80] = coarse[18:82, 18:82] = True
    record = {"image_id": 1, "category_id": 1, "bbox": [20, 20, 60, 60]}
    annotations = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [record | {"id": 1, "area": 3600, "iscrowd": 0, "segmentation": rle(true)}],
    }
    found = [record | {"score": 1.0, "segmentation": rle(coarse)}]
    exact = [record | {"score": 1.0, "segmentation": rle(true)}]
    assert boundary_figures(annotations, found, 100, 0.02)["AP50"] == 0
    assert boundary_figures(annotations, exact, 100, 0.02)["AP"] == pytest.approx(100)
    assert boundary_figures(annotations, found, 100, 0.5)["AP"] == pytest.approx(80)


def test_threads_do_not_change_the_figures(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(1)
    assert boundary_figures(annotations, detections, 100, 0.02, processes=1) == boundary_figures(
        annotations, detections, 100, 0.02, processes=3
    )
