"""LVIS's rules (arXiv 1908.03195): what counts where an image was searched for some classes only."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from pipeline.data.lvis import ABSENT, FREQUENCIES, INCOMPLETE, LISTS
from pipeline.errors import UserError
from pipeline.evaluation.coco import CocoEvaluation
from pipeline.evaluation.instances import Figures, mean_precision
from pipeline.evaluation.results import Annotations, Detection, percent

Pair = tuple[int, int]  # image id, category id


def check_lvis(annotations: Annotations, source: object = "annotations/val.json") -> None:
    """Raise UserError, naming `source` and the record, unless images and categories say what LVIS's do."""
    remedy = "set evaluate.protocol to coco, or import a json of LVIS for val"
    for image in annotations["images"]:
        for key in LISTS:
            if key not in image:
                raise UserError(source, f"image {image['id']}", f"has no {key}, as LVIS's have", remedy)
    for category in annotations["categories"]:
        if category.get("frequency") not in FREQUENCIES:
            problem = "has no frequency r, c or f, as LVIS's have"
            raise UserError(source, f"category {category['id']}", problem, remedy)


def judged(annotations: Annotations, detections: list[Detection], max_detections: int) -> list[Detection]:
    """The detections that count, in their order.

    Of each image the best `max_detections` over all classes (the first of equals), and of these the ones of
    classes that are known to be there, from an annotation, or known to be absent.
    """
    known = {(row["image_id"], row["category_id"]) for row in annotations["annotations"]} | _pairs(
        annotations, ABSENT
    )
    places: dict[int, list[int]] = defaultdict(list)
    for place, detection in enumerate(detections):
        places[detection["image_id"]].append(place)
    best: set[int] = set()
    for own in places.values():
        order = np.argsort([-detections[place]["score"] for place in own], kind="stable")
        best.update(own[index] for index in order[:max_detections])
    return [
        detection
        for place, detection in enumerate(detections)
        if place in best and (detection["image_id"], detection["category_id"]) in known
    ]


def incomplete(annotations: Annotations) -> set[Pair]:
    """Where objects lack annotations: a detection there that finds none is neither right nor wrong."""
    return _pairs(annotations, INCOMPLETE)


def ap_by_frequency(evaluation: CocoEvaluation, annotations: Annotations) -> Figures:
    """APr, APc and APf: AP in percent over the classes that are rare, common and frequent in LVIS's train."""
    frequency = {category["id"]: category["frequency"] for category in annotations["categories"]}
    own = np.array([frequency[category] for category in evaluation.category_ids])
    everything = evaluation.precision[..., 0]
    return {f"AP{letter}": percent(mean_precision(everything[:, :, own == letter])) for letter in FREQUENCIES}


def _pairs(annotations: dict[str, Any], key: str) -> set[Pair]:
    return {(image["id"], category) for image in annotations["images"] for category in image[key]}
