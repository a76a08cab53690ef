"""The gallery's images: the best, median and worst of one row, and what every row predicts in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.data.images import ImageStore
from pipeline.evaluation.per_image import in_box_quality, per_image_quality
from pipeline.evaluation.picking import pick_images
from pipeline.evaluation.results import Annotations, Detection, category_names, objects
from pipeline.report.data import Rank, Scene, Shape
from pipeline.report.sampling import spread_evenly


@dataclass(frozen=True)
class Predictions:
    """What a row predicts: reads its detections or, with in_boxes, its masks for the ground-truth boxes."""

    read: Callable[[], list[dict[str, Any]]]
    in_boxes: bool = False


def best_detections(annotations: Annotations, detections: list[Detection]) -> list[Detection]:
    """Of each image the N detections with the best scores, N being the number of its objects.

    That shows every row by the same rule, whatever the range of its scores.
    """
    wanted: dict[int, int] = defaultdict(int)
    for annotation in objects(annotations):
        wanted[annotation["image_id"]] += 1
    found: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        found[detection["image_id"]].append(detection)
    return [
        detection
        for image in sorted(wanted)
        for detection in sorted(found[image], key=lambda item: -item["score"])[: wanted[image]]
    ]


def boxes_with_masks(annotations: Annotations, in_boxes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The masks given for the objects' boxes, each with image, class and box of its object; no score."""
    given = {entry["annotation_id"]: entry["segmentation"] for entry in in_boxes}
    return [
        {key: item[key] for key in ("image_id", "category_id", "bbox")} | {"segmentation": given[item["id"]]}
        for item in objects(annotations)
        if item["id"] in given
    ]


def sample_images(items: Iterable[dict[str, Any]], count: int) -> dict[int, Rank]:
    """At most `count` images of annotations, evenly spread over their ids, where none can be called best."""
    images = sorted({item["image_id"] for item in items})
    return dict.fromkeys(spread_evenly(images, count), "sample")


def make_scenes(
    annotations: Annotations,
    store: ImageStore,
    rows: Mapping[str, Predictions],
    ranked_by: str,
    count: int,
) -> tuple[Scene, ...]:
    """The gallery: `count` images of each rank by the quality of the row `ranked_by`.

    With ranked_by "" they are 3 * `count` images that are spread evenly.  One row is read at a time.
    """
    if not count or not rows:
        return ()
    ranks: Mapping[int, Rank] = sample_images(objects(annotations), 3 * count)
    if ranked_by:
        ranks = pick_images(_shown(annotations, rows[ranked_by])[1], count)
    chosen = {
        **annotations,
        "annotations": [item for item in annotations["annotations"] if item["image_id"] in ranks],
    }
    shown = {name: _shown(chosen, row) for name, row in rows.items()}
    names, images = category_names(annotations), {item["id"]: item for item in annotations["images"]}
    return tuple(
        Scene(
            image,
            images[image]["file_name"],
            rank,
            store.read(image),
            make_shapes(names, [item for item in chosen["annotations"] if item["image_id"] == image]),
            {
                name: make_shapes(names, [item for item in found if item["image_id"] == image])
                for name, (found, _) in shown.items()
            },
            {
                name: 100 * quality[image] if image in quality else None
                for name, (_, quality) in shown.items()
            },
        )
        for image, rank in ranks.items()
    )


def _shown(annotations: Annotations, row: Predictions) -> tuple[list[dict[str, Any]], dict[int, float]]:
    """What the gallery shows of a row, and its quality in [0, 1] per image."""
    read = row.read()
    if row.in_boxes:
        return boxes_with_masks(annotations, read), in_box_quality(annotations, read)
    found = best_detections(annotations, read)
    return found, per_image_quality(annotations, found, 0.0)


def make_shapes(names: dict[int, str], items: list[dict[str, Any]]) -> tuple[Shape, ...]:
    """Annotations or detections as shapes.  names: category id -> name."""
    return tuple(_shape(names[item["category_id"]], item) for item in items)


def _shape(category: str, item: dict[str, Any]) -> Shape:
    mask = item.get("segmentation")
    x, y, width, height = item["bbox"]
    return Shape(
        category,
        (float(x), float(y), float(width), float(height)),
        np.asarray(coco_mask.decode(mask), dtype=bool) if mask else None,
        item.get("score"),
        bool(item.get("iscrowd", 0)),
    )
