"""COCO's evaluation through faster-coco-eval: precision curves and overlaps, without its printed summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from pipeline.evaluation.results import AREAS, Annotations, Detection

Kind = Literal["mask", "box", "boundary"]

IOU_TYPES = {"mask": "segm", "box": "bbox", "boundary": "boundary"}
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # IoU, as COCO
RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO samples the precision curve


@dataclass(frozen=True)
class CocoEvaluation:
    """What one evaluation leaves behind.

    precision: (10 IoU thresholds, 101 recalls, K categories, 4 sizes: all, small, medium, large), in
    [0, 1], NaN where there is no object of that category and size.  overlaps: (image id, category id) ->
    (detections, annotations) IoU; detections best score first, at most the detection limit, annotations in
    file order; only pairs that have both.  image_ids, category_ids: ascending.
    """

    precision: NDArray[np.float64]
    overlaps: dict[tuple[int, int], NDArray[np.float64]]
    image_ids: list[int]
    category_ids: list[int]


def evaluate_coco(
    annotations: Annotations,
    detections: list[Detection],
    kind: Kind,
    max_detections: int,
    *,
    lvis: bool = False,
    boundary_dilation: float = 0.02,
    processes: int = 1,
) -> CocoEvaluation:
    """Evaluate detections that `results.check_detections` accepted.

    max_detections: the limit per image and category, best scores first (COCO: 100; one limit for all
    figures, where pycocotools silently keeps 100 for its sizes).  lvis: whether they count by LVIS's rules,
    for annotations that `check_lvis` accepted and detections that `judged` chose.  boundary_dilation: width
    of the boundary band as a share of the image diagonal.  processes: threads for mask and boundary work.
    """
    truth = COCO(_truth(annotations, with_masks=kind != "box"))
    found = truth.loadRes([_result(detection, kind) for detection in detections])
    evaluator = COCOeval_faster(
        truth,
        found,
        IOU_TYPES[kind],
        lvis_style=lvis,
        ranges={k: list(v) for k, v in AREAS.items()},
        boundary_dilation_ratio=boundary_dilation,
        boundary_cpu_count=processes,
        rle_iou_max_workers=processes,
    )
    evaluator.params.maxDets = [max_detections]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"], dtype=np.float64)[..., 0]
    overlaps = {
        (int(image), int(category)): np.asarray(iou, dtype=np.float64)
        for (image, category), iou in evaluator.ious.items()
        if len(iou)
    }
    return CocoEvaluation(
        np.where(precision < 0, np.nan, precision),
        overlaps,
        [int(image) for image in evaluator.params.imgIds],
        [int(category) for category in evaluator.params.catIds],
    )


def _truth(annotations: Annotations, with_masks: bool) -> dict[str, Any]:
    """A copy for the evaluator, which writes into what it gets.

    Annotations are numbered anew from 1: COCO's matching takes the id 0 for "unmatched".
    """
    keys = ["image_id", "category_id", "bbox", "area", *(["segmentation"] if with_masks else [])]
    records = [
        {key: annotation[key] for key in keys} | {"id": number, "iscrowd": int(annotation.get("iscrowd", 0))}
        for number, annotation in enumerate(annotations["annotations"], start=1)
    ]
    return {
        "images": [dict(image) for image in annotations["images"]],
        "annotations": records,
        "categories": [dict(category) for category in annotations["categories"]],
    }


def _result(detection: Detection, kind: Kind) -> Detection:
    """What one kind of figure may see of a detection.

    Masks come without their box: given both, COCO's tools size the detection by the box, and APs, APm
    and APl would no longer be comparable with published ones.
    """
    geometry = "bbox" if kind == "box" else "segmentation"
    return {key: detection[key] for key in ("image_id", "category_id", "score", geometry)}
