"""All figures of one run: each seed by itself, and the mean over seeds.

AP, boundary AP, mask IoU, their intervals and retention are all in percent (0 to 100); a figure that is
undefined, such as AP of large objects where there are none, is None (JSON null).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.evaluation.boundary import boundary_figures
from pipeline.evaluation.coco import CocoEvaluation, evaluate_coco
from pipeline.evaluation.comparison import SeedMatches, mean_figures, seed_spread
from pipeline.evaluation.instances import ap_by_category, ap_figures
from pipeline.evaluation.intervals import interval, resample_images
from pipeline.evaluation.lvis import ap_by_frequency, check_lvis, incomplete, judged
from pipeline.evaluation.mask_iou import mask_iou_figures, object_mask_iou
from pipeline.evaluation.matches import Matches, match, without_detections
from pipeline.evaluation.results import (
    Annotations,
    Detection,
    category_names,
    check_detections,
    have_masks,
    mean_over_seeds,
    objects,
    with_masks,
    without_mask,
)

Metrics = dict[str, Any]


def evaluate_run(
    annotations: Annotations,
    detections: list[Detection] | None,
    in_boxes: list[dict[str, Any]] | None,
    settings: params.Evaluate,
    *,
    processes: int = 1,
) -> tuple[Metrics, Matches]:
    """Evaluate one seed's predictions; returns its figures and what the bootstrap needs.

    annotations: COCO json of val; detections: COCO results, or None of a run that gives masks to given
    boxes; in_boxes: masks given for ground-truth boxes, or None without them; processes: threads.  Metrics:
    box {AP, AP50, AP75, APs, APm, APl}, mask {the same}, boundary {AP, AP50, AP75}, mask_iou {mean, small,
    medium, large, per_category}, per_category_AP, interval {AP, AP50, mask_iou}, headline, images, objects,
    detections, not_computed; by LVIS's protocol, box and mask have APr, APc and APf too.  Without
    any ground-truth mask, there are box figures alone, intervals and per_category_AP belong to the boxes
    (`headline`), and not_computed says what is missing; objects that lack a mask while others have one count
    as not found, and not_computed says how many.  Without detections there is mask_iou
    alone, which is then the headline, and with neither no figure at all.  Raises UserError for predictions
    that do not fit the annotations, and for annotations that LVIS's protocol cannot judge.
    """
    missing, masks = without_mask(annotations), have_masks(annotations)
    annotations = with_masks(annotations)
    metrics: Metrics = {
        "images": len(annotations["images"]),
        "objects": len(objects(annotations)),
    }
    metrics["not_computed"] = _not_computed(
        metrics["objects"], missing, masks, detections is not None, in_boxes is not None
    )
    ious = np.full(metrics["objects"], np.nan)
    if in_boxes is not None and masks:
        ious = object_mask_iou(annotations, in_boxes)
        metrics["mask_iou"] = mask_iou_figures(annotations, ious)
    if detections is None:
        metrics["headline"] = "mask_iou"
        matches = without_detections(annotations, ious)
    else:
        found, matches = _detection_figures(annotations, detections, ious, settings, masks, processes)
        metrics |= found
    metrics["interval"] = _intervals({0: matches}, settings)
    return metrics, matches


def _detection_figures(
    annotations: Annotations,
    detections: list[Detection],
    ious: NDArray[np.float64],
    settings: params.Evaluate,
    masks: bool,
    processes: int,
) -> tuple[Metrics, Matches]:
    """What only a run that detects has; masks: whether they can be judged."""
    check_detections(annotations, detections, masks=masks)
    limit, lvis = settings.max_detections, settings.protocol == "lvis"
    metrics: Metrics = {"headline": "mask" if masks else "box", "detections": len(detections)}
    if lvis:
        check_lvis(annotations)
        detections = judged(annotations, detections, limit)

    def figures(kind: Literal["box", "mask"]) -> CocoEvaluation:
        found = evaluate_coco(annotations, detections, kind, limit, lvis=lvis, processes=processes)
        metrics[kind] = ap_figures(found) | (ap_by_frequency(found, annotations) if lvis else {})
        return found

    headline = figures("box")
    if masks:
        headline = figures("mask")
        metrics["boundary"] = boundary_figures(
            annotations, detections, limit, settings.boundary_dilation, processes, lvis=lvis
        )
    metrics["per_category_AP"] = ap_by_category(headline, category_names(annotations))
    unpunished = incomplete(annotations) if lvis else ()
    return metrics, match(headline, annotations, detections, limit, ious, unpunished)


def _not_computed(total: int, missing: int, masks: bool, detects: bool, in_boxes: bool) -> list[str]:
    """One line per missing figure, with the reason; missing: how many of `total` objects have no mask."""
    lines = [] if detects else ["AP: the run gives masks to given boxes and detects nothing"]
    figures = ("mask", "boundary", "mask_iou") if detects else ("mask_iou",)
    if not masks:
        reason = f"needs ground-truth masks, which {missing} of {total} objects lack"
        lines += [f"{figure}: {reason}" for figure in figures]
    elif missing:
        named = ", ".join(figures)
        lines.append(f"{named} of {missing} of {total} objects: without a mask they count as missed")
    if masks and not in_boxes:
        lines.append("mask_iou: there are no masks for the ground-truth boxes")
    return lines


def _intervals(seeds: SeedMatches, settings: params.Evaluate) -> dict[str, list[float] | None]:
    images = len(next(iter(seeds.values())).image_ids)
    weights = resample_images(images, settings.bootstrap_samples, settings.bootstrap_seed)
    return {name: interval(values) for name, values in mean_figures(seeds, weights).items()}


def summarise_seeds(metrics: dict[int, Metrics], matches: SeedMatches, settings: params.Evaluate) -> Metrics:
    """The figures of a run with several seeds, in the layout of `evaluate_run`.

    Every number is the mean over seeds (None where a seed has none); intervals are bootstrapped for the
    mean over seeds; `seeds` holds the headline figure of every seed with smallest, largest and standard
    deviation, and `per_seed` the metrics of each.
    """
    summary = mean_over_seeds(metrics) | {"seeds": seed_spread(matches)}
    if len(metrics) > 1:
        summary["interval"] = _intervals(matches, settings)
    return summary
