"""How good pseudo-labels are: their masks against those of the training annotations, object by object."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.masks import areas
from pipeline.errors import UserError
from pipeline.evaluation.intervals import Floats, Weights, bootstrap, interval, weighted_mean
from pipeline.evaluation.mask_iou import mask_iou_figures, object_mask_iou
from pipeline.evaluation.results import Annotations, mask_problem, objects, percent

STABILITY = 1e-6  # of the released metric: added to unions and to counts
OBJECT = ("image_id", "category_id", "bbox")  # what a pseudo-label repeats of the object it was made for
REMEDY = "run `dvc repro` to label the boxes of these annotations"
FIGURES = ("mask_iou", "half", "all_objects", "class_mean", "interval")


def pseudo_label_figures(
    annotations: Annotations, labels: Annotations, settings: params.Evaluate, source: object = "labels.json"
) -> dict[str, Any]:
    """Compare the masks of a pseudo-label file with the ground truth; figures in percent, ready for JSON.

    annotations: COCO json with ground-truth masks, on some or all of the objects or on none; labels: COCO
    json of pseudo-labels.  A pseudo-label belongs to the object whose annotation id it has, and to no other:
    its image, class and box must be that object's.  Crowd regions count in neither.  Returns

    * objects, labelled (those with a pseudo-label), missing (ids without one, as too small a box has none),
      empty (ids with an empty pseudo-mask, which counts as IoU 0), without_truth (how many objects have no
      ground-truth mask) and compared (how many have both masks);
    * mask_iou: mean IoU over the compared objects, by size (COCO's, of the ground truth's area) and by
      category; half: the share of them with IoU 0.5 or more; all_objects: mean IoU if an object without a
      pseudo-label counts as 0; class_mean: the release's figure, see `class_mean_iou`;
    * interval: 95 % bootstrap intervals over images, of mask_iou and half;
    * not_computed: what is missing or holds for a part of the objects only, and why.

    A figure that is undefined is None; without any ground-truth mask the figures are absent.  Raises
    UserError, naming `source`, for labels that belong to other annotations, and for damaged masks.
    """
    own = objects(annotations)
    made = _checked(annotations, own, objects(labels), source)
    known = [row for row in own if row.get("segmentation")]
    compared = [row for row in known if row["id"] in made]
    missing = [row["id"] for row in own if row["id"] not in made]
    entries = [{"annotation_id": key, "segmentation": row["segmentation"]} for key, row in made.items()]
    ious = object_mask_iou({**annotations, "annotations": compared}, entries, source)
    figures: dict[str, Any] = {
        "objects": len(own),
        "labelled": len(made),
        "missing": missing,
        "empty": [key for key, row in made.items() if not areas([row["segmentation"]])[0]],
        "without_truth": len(own) - len(known),
        "compared": len(compared),
        "not_computed": _not_computed(len(own), len(known)),
    }
    if not known:
        return figures
    figures["mask_iou"] = mask_iou_figures({**annotations, "annotations": compared}, ious)
    figures["half"] = _mean(ious >= 0.5)
    figures["all_objects"] = percent(float(ious.sum() / len(known)))
    predicted = [made[row["id"]]["segmentation"] for row in compared]
    figures["class_mean"] = percent(class_mean_iou(compared, predicted, ious))
    figures["interval"] = _intervals(annotations, compared, ious, settings)
    return figures


def class_mean_iou(
    truth: list[dict[str, Any]], predicted: list[dict[str, Any]], ious: NDArray[np.float64]
) -> float:
    """Mean over the classes with objects of the classes' mean IoU, in [0, 1], as MAL's release defines it.

    truth: annotations with category_id and mask; predicted: the mask given to each (compressed RLEs); ious:
    their IoUs.  Specification of MAL, section 9: IoU = intersection / (union + 1e-6), and a class's mean is
    the sum of its IoUs / (its count + 1e-6).  NaN without objects.
    """
    pixels = areas([row["segmentation"] for row in truth]) + areas(predicted)
    union = pixels / (1 + ious)  # of sets with IoU i: |a| + |b| = (1 + i) |a or b|
    adjusted = ious * union / (union + STABILITY)
    categories = np.asarray([row["category_id"] for row in truth], dtype=np.int64)
    means = [
        adjusted[categories == category].sum() / ((categories == category).sum() + STABILITY)
        for category in np.unique(categories)
    ]
    return float(np.mean(means)) if means else float("nan")


def _checked(
    annotations: Annotations, own: list[dict[str, Any]], labels: list[dict[str, Any]], source: object
) -> dict[int, dict[str, Any]]:
    """Annotation id -> pseudo-label.

    Raises UserError for a second one of an object, for one of no object or of another image, class or box,
    and for a damaged mask.
    """
    truth = {row["id"]: row for row in own}
    sizes = {image["id"]: [image["height"], image["width"]] for image in annotations["images"]}
    made: dict[int, dict[str, Any]] = {}
    for row in labels:
        if problem := _problem(row, truth, made, sizes):
            raise UserError(source, f"annotation {row.get('id')}", problem, REMEDY)
        made[row["id"]] = row
    return made


def _problem(
    row: dict[str, Any],
    truth: dict[int, dict[str, Any]],
    made: Collection[int],
    sizes: dict[int, list[int]],
) -> str:
    """Why a pseudo-label cannot be compared, or ""."""
    key = row.get("id")
    if key not in truth:
        return "is no object of the annotations"
    if key in made:
        return "occurs twice"
    for name in OBJECT:
        if row.get(name) != truth[key][name]:
            return f"has {name} {row.get(name)}, and the annotations say {truth[key][name]}"
    return mask_problem(row.get("segmentation"), sizes[row["image_id"]])


def _not_computed(objects: int, known: int) -> list[str]:
    lacking = objects - known
    if known and lacking:
        return [f"figures leave out {lacking} of {objects} objects, which have no ground-truth mask"]
    reason = f"needs ground-truth masks, which all {objects} objects lack"
    return [f"{figure}: {reason}" for figure in FIGURES] if not known else []


def _intervals(
    annotations: Annotations,
    compared: list[dict[str, Any]],
    ious: NDArray[np.float64],
    settings: params.Evaluate,
) -> dict[str, list[float] | None]:
    place = {image["id"]: index for index, image in enumerate(annotations["images"])}
    images = np.asarray([place[row["image_id"]] for row in compared], dtype=np.int64)
    values = {"mask_iou": ious, "half": (ious >= 0.5).astype(np.float64)}

    def figures(weights: Weights) -> Floats:
        return np.stack([weighted_mean(of_objects, images, weights) for of_objects in values.values()])

    # A training set may have a hundred thousand images: their resamples are never all in memory.
    drawn = bootstrap(figures, len(place), settings.bootstrap_samples, settings.bootstrap_seed)
    return dict(zip(values, map(interval, drawn), strict=True))


def _mean(values: NDArray[np.bool_]) -> float | None:
    return percent(float(values.mean())) if values.size else None
