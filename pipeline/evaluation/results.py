"""What evaluation reads: COCO annotations and COCO results, checked before any figure is computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np

from pipeline.data.masks import MEDIUM_AREA, SMALL_AREA, MaskError, check_rle, encode
from pipeline.errors import UserError

Annotations = dict[str, Any]  # COCO json: images, annotations (masks as compressed RLE), categories
Detection = dict[str, Any]  # COCO result: image_id, category_id, bbox [x, y, w, h], score, segmentation

AREAS = {"small": (0.0, SMALL_AREA), "medium": (SMALL_AREA, MEDIUM_AREA), "large": (MEDIUM_AREA, 1e10)}
"""COCO's object sizes: area in square pixels, both ends included."""

REMEDY = "make the predictions again for these annotations"


def objects(annotations: Annotations) -> list[dict[str, Any]]:
    """The annotations that count as objects: all but crowds, in file order."""
    return [annotation for annotation in annotations["annotations"] if not annotation.get("iscrowd", 0)]


def without_mask(annotations: Annotations) -> int:
    """How many objects have no mask."""
    return sum(not annotation.get("segmentation") for annotation in objects(annotations))


def have_masks(annotations: Annotations) -> bool:
    """Whether masks can be judged: some objects have one, or there are no objects at all."""
    wanted = objects(annotations)
    return not wanted or without_mask(annotations) < len(wanted)


def with_masks(annotations: Annotations) -> Annotations:
    """The same with an empty mask for what has none, if some objects have masks; else unchanged.

    Nothing overlaps an empty mask, so its object counts and is never found.  COCO's and LVIS's own evaluation
    take an object like this whose polygon holds no pixel.
    """
    lacking = any(not annotation.get("segmentation") for annotation in annotations["annotations"])
    if not lacking or not have_masks(annotations):
        return annotations
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}

    def completed(annotation: dict[str, Any]) -> dict[str, Any]:
        if annotation.get("segmentation"):
            return annotation
        empty = np.zeros((1, *sizes[annotation["image_id"]]), dtype=bool)
        return annotation | {"segmentation": encode(empty)[0]}

    return annotations | {"annotations": [completed(row) for row in annotations["annotations"]]}


def category_names(annotations: Annotations) -> dict[int, str]:
    """Category id -> name, ids ascending; the id is added to a name that occurs twice."""
    categories = sorted(annotations["categories"], key=lambda category: category["id"])
    uses = Counter(category["name"] for category in categories)
    return {
        category["id"]: category["name"]
        if uses[category["name"]] == 1
        else f"{category['name']} ({category['id']})"
        for category in categories
    }


def defined(value: float) -> float | None:
    """The value for JSON; None (null) for NaN, which means that the figure is undefined."""
    return None if math.isnan(value) else float(value)


def percent(fraction: float) -> float | None:
    """A fraction as percent for JSON; None for NaN."""
    return defined(100.0 * fraction)


def mean_over_seeds(metrics: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The mean of every number over seeds, and `per_seed`, the metrics of each by its seed as text.

    The intervals of one seed stay; those of several are left out, since their mean is no interval.
    """
    first = metrics[min(metrics)]
    summary = {
        key: mean_metrics([seed[key] for seed in metrics.values()]) for key in first if key != "interval"
    }
    if len(metrics) == 1:
        summary["interval"] = first["interval"]
    return summary | {"per_seed": {str(seed): values for seed, values in sorted(metrics.items())}}


def mean_metrics(values: list[Any]) -> Any:
    """Mean of numbers, key by key in tables; what is no number is the same for all seeds."""
    if isinstance(values[0], dict):
        return {key: mean_metrics([value[key] for value in values]) for key in values[0]}
    if any(value is None for value in values):
        return None
    numbers = all(isinstance(value, int | float) for value in values)
    return float(np.mean(values)) if numbers and len(set(values)) > 1 else values[0]


def check_detections(
    annotations: Annotations, detections: list[Detection], *, masks: bool, source: object = "detections.json"
) -> None:
    """Raise UserError, naming `source` and the entry, for a detection that cannot be evaluated.

    That is: a missing key, an image or category that the annotations do not have, a score or box that is
    not finite, a negative box side and, with `masks`, a mask that is damaged or not of its image's size.
    """
    sizes = {image["id"]: [image["height"], image["width"]] for image in annotations["images"]}
    categories = {category["id"] for category in annotations["categories"]}
    for index, detection in enumerate(detections):
        problem = _problem(detection, sizes, categories, masks)
        if problem:
            raise UserError(source, f"entry {index}", problem, REMEDY)


def _problem(
    detection: Detection, sizes: dict[int, list[int]], categories: Collection[int], masks: bool
) -> str:
    missing = [key for key in ("image_id", "category_id", "score", "bbox") if key not in detection]
    if missing:
        return f"has no {', '.join(missing)}"
    size = sizes.get(detection["image_id"])
    if size is None:
        return f"image id {detection['image_id']} is not in the annotations"
    if detection["category_id"] not in categories:
        return f"category id {detection['category_id']} is not in the annotations"
    if not _finite(detection["score"]):
        return f"score {detection['score']} is not a finite number"
    box = detection["bbox"]
    if len(box) != 4 or not all(map(_finite, box)) or min(box[2:]) < 0:
        return f"bbox {box} is not [x, y, width, height] of finite numbers with sides of 0 or more"
    return mask_problem(detection.get("segmentation"), size) if masks else ""


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def mask_problem(mask: Any, size: list[int]) -> str:
    """What is wrong with a predicted mask for an image of [height, width] `size`; "" if nothing."""
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return "has no mask as compressed RLE"
    if list(mask["size"]) != size:
        return f"its mask has size {list(mask['size'])}, and its image {size} (height, width)"
    try:
        check_rle(mask, (size[0], size[1]))
    except MaskError as error:
        return f"its mask is damaged: {error}"
    return ""
