"""One quality figure per image, to pick the best, median and worst for a gallery."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.evaluation.mask_iou import object_mask_iou
from pipeline.evaluation.results import Annotations, Detection, have_masks, objects, with_masks


def per_image_quality(
    annotations: Annotations, detections: list[Detection], score_threshold: float = 0.3
) -> dict[int, float]:
    """Image id -> mean over its objects of the best overlap with a detection of the same category.

    In [0, 1]; overlaps are mask IoUs, or box IoUs when no object has a mask.  Detections
    below `score_threshold` do not count, an object that none overlaps counts 0.  Images without objects
    are left out; ids ascending.
    """
    geometry = "segmentation" if have_masks(annotations) else "bbox"
    annotations = with_masks(annotations)
    found: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for detection in detections:
        if detection["score"] >= score_threshold:
            found[detection["image_id"], detection["category_id"]].append(detection[geometry])
    wanted: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for annotation in objects(annotations):
        wanted[annotation["image_id"], annotation["category_id"]].append(annotation[geometry])
    best: dict[int, list[float]] = defaultdict(list)
    for pair, truths in wanted.items():
        best[pair[0]].extend(_best(found[pair], truths))
    return {image: float(np.mean(best[image])) for image in sorted(best)}


def in_box_quality(annotations: Annotations, in_boxes: list[dict[str, Any]]) -> dict[int, float]:
    """Image id -> mean over its objects of the IoU in [0, 1] with the mask given for their box.

    in_boxes: as for `object_mask_iou`, whose UserError it raises.  Images without objects are left out; ids
    ascending; empty when no object has a mask.
    """
    if not have_masks(annotations):
        return {}
    annotations = with_masks(annotations)
    ious: dict[int, list[float]] = defaultdict(list)
    own = objects(annotations)
    for annotation, iou in zip(own, object_mask_iou(annotations, in_boxes), strict=True):
        ious[annotation["image_id"]].append(float(iou))
    return {image: float(np.mean(ious[image])) for image in sorted(ious)}


def _best(found: list[Any], truths: list[Any]) -> NDArray[np.float64]:
    """(len(truths),) largest IoU of each of `truths` with one of `found`."""
    if not found:
        return np.zeros(len(truths))
    return np.asarray(coco_mask.iou(found, truths, [0] * len(truths)).max(axis=0), dtype=np.float64)
