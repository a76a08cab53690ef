"""Mask IoU at ground-truth boxes: how good a run's masks are when the box is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.errors import UserError
from pipeline.evaluation.results import (
    AREAS,
    REMEDY,
    Annotations,
    category_names,
    mask_problem,
    objects,
    percent,
)


def object_mask_iou(
    annotations: Annotations, in_boxes: list[dict[str, Any]], source: object = "in_boxes.json"
) -> NDArray[np.float64]:
    """(N,) IoU in [0, 1] of every object (crowds left out, file order) with the mask given for its box.

    in_boxes: entries {annotation_id, image_id, segmentation as compressed RLE}.  Two empty masks have IoU
    0.  Raises UserError, naming `source`, for an object without an entry or a mask of another size.
    """
    sizes = {image["id"]: [image["height"], image["width"]] for image in annotations["images"]}
    given = {entry["annotation_id"]: entry["segmentation"] for entry in in_boxes}
    ious = []
    for annotation in objects(annotations):
        mask = given.get(annotation["id"])
        problem = mask_problem(mask, sizes[annotation["image_id"]])
        if problem:
            raise UserError(source, f"annotation {annotation['id']}", problem, REMEDY)
        ious.append(float(coco_mask.iou([mask], [annotation["segmentation"]], [0])[0, 0]))
    return np.asarray(ious, dtype=np.float64)


def mask_iou_figures(annotations: Annotations, ious: NDArray[np.float64]) -> dict[str, Any]:
    """Mean mask IoU in percent: all objects, by size and by category; None where there is no object.

    ious: (N,) of `object_mask_iou`.  An area on the limit of two sizes counts in both, as in COCO.
    """
    own = objects(annotations)
    areas = np.asarray([annotation["area"] for annotation in own], dtype=np.float64)
    categories = np.asarray([annotation["category_id"] for annotation in own], dtype=np.int64)
    figures: dict[str, Any] = {"mean": _mean(ious)}
    for name, (low, high) in AREAS.items():
        figures[name] = _mean(ious[(areas >= low) & (areas <= high)])
    figures["per_category"] = {
        name: _mean(ious[categories == category]) for category, name in category_names(annotations).items()
    }
    return figures


def _mean(ious: NDArray[np.float64]) -> float | None:
    return percent(float(ious.mean())) if ious.size else None
