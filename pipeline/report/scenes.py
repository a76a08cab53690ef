"""The gallery's images: the best, median and worst of one row, and what every row predicts in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.data.images import ImageStore
from pipeline.evaluation.per_image import per_image_quality
from pipeline.evaluation.results import Annotations, Detection, category_names, objects
from pipeline.report.data import Scene, Shape

Rank = Literal["best", "median", "worst"]


def pick_images(quality: Mapping[int, float], count: int) -> dict[int, Rank]:
    """Image id -> why it is shown: `count` each of the best, the median and the worst, no image twice.

    Ties go to the smaller id.  With fewer than 3 * `count` images, there are fewer of each kind.
    """
    order = sorted(quality, key=lambda image: (-quality[image], image))
    count = min(count, len(order) // 3) if len(order) >= 3 else min(count, len(order))
    best = order[:count]
    worst = [image for image in order[::-1][:count][::-1] if image not in best]
    rest = [image for image in order if image not in best and image not in worst]
    start = max(0, (len(rest) - count) // 2)
    ranks: dict[int, Rank] = dict.fromkeys(best, "best")
    return ranks | dict.fromkeys(rest[start:start + count], "median") | dict.fromkeys(worst, "worst")


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
    return [detection for image in sorted(wanted)
            for detection in sorted(found[image], key=lambda item: -item["score"])[:wanted[image]]]


def make_scenes(annotations: Annotations, store: ImageStore, rows: Mapping[str, Callable[[], list[Detection]]],
                ranked_by: str, count: int) -> tuple[Scene, ...]:
    """The gallery.  rows: row -> reads its detections, one row in memory at a time; ranked_by: one of them."""
    if not count or ranked_by not in rows:
        return ()
    ranks = pick_images(per_image_quality(annotations, best_detections(annotations, rows[ranked_by]()), 0.0), count)
    chosen = {**annotations, "annotations": [item for item in annotations["annotations"] if item["image_id"] in ranks]}
    shown = {name: best_detections(chosen, read()) for name, read in rows.items()}
    quality = {name: per_image_quality(chosen, found, 0.0) for name, found in shown.items()}
    names, images = category_names(annotations), {item["id"]: item for item in annotations["images"]}
    return tuple(
        Scene(image, images[image]["file_name"], rank, store.read(image),
              _shapes(names, [item for item in chosen["annotations"] if item["image_id"] == image]),
              {name: _shapes(names, [item for item in found if item["image_id"] == image])
               for name, found in shown.items()},
              {name: 100 * values[image] for name, values in quality.items()})
        for image, rank in ranks.items())


def _shapes(names: dict[int, str], items: list[dict[str, Any]]) -> tuple[Shape, ...]:
    return tuple(_shape(names[item["category_id"]], item) for item in items)


def _shape(category: str, item: dict[str, Any]) -> Shape:
    mask = item.get("segmentation")
    x, y, width, height = item["bbox"]
    return Shape(category, (float(x), float(y), float(width), float(height)),
                 np.asarray(coco_mask.decode(mask), dtype=bool) if mask else None,
                 item.get("score"), bool(item.get("iscrowd", 0)))
