"""Masks of a part of the training images: a label set like any other, and the images without labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.labels.draws import labelled_size, published_suffix, stratified_order, uniform_order
from pipeline.labels.image_list import read_image_list
from pipeline.labels.weak import is_usable, make_labels
from pipeline.params import Split, SplitList

Coco = dict[str, Any]


@dataclass(frozen=True)
class LabelSplit:
    """labels: COCO dict with the labelled images and their masks alone; unlabelled: image ids; figures: how
    much of the dataset is labelled."""

    labels: Coco
    unlabelled: list[int]
    figures: dict[str, Any]


def make_split(annotations: Coco, row: Split | SplitList, root: Path, source: object) -> LabelSplit:
    """The split of a checked COCO dict, which `source` names in messages; root: the repository.

    Images without objects are drawn like any other: nobody knows before labelling.  Raises UserError for a
    share that is less than an image, a list that does not fit the dataset, and masks that are missing.
    """
    if isinstance(row, Split):
        chosen = _drawn(annotations, row, source)
    else:
        chosen = set(read_image_list(root / row.path, annotations["images"]))
    labels = make_labels(_part(annotations, chosen), "masks", source)
    labels["info"]["split"] = _described(row, len(chosen), len(annotations["images"]))
    unlabelled = [
        image["id"] for image in annotations["images"] if row.pool == "all" or image["id"] not in chosen
    ]
    return LabelSplit(labels, unlabelled, _figures(annotations, labels, unlabelled))


def _drawn(annotations: Coco, row: Split, source: object) -> set[int]:
    ids = sorted(image["id"] for image in annotations["images"])
    size = labelled_size(row.percent, len(ids), source)
    if row.rule == "uniform":
        order = uniform_order(len(ids), row.seed)
    else:
        classes: dict[int, set[int]] = {image_id: set() for image_id in ids}
        for annotation in annotations["annotations"]:
            if is_usable(annotation, "masks"):
                classes[annotation["image_id"]].add(annotation["category_id"])
        order = stratified_order(list(classes.values()), row.seed)
    return {ids[place] for place in order[:size].tolist()}


def _part(annotations: Coco, chosen: Collection[int]) -> Coco:
    """The chosen images and their annotations, with all categories, so that class numbers stay."""
    images = [row for row in annotations["images"] if row["id"] in chosen]
    rows = [row for row in annotations["annotations"] if row["image_id"] in chosen]
    return {**annotations, "images": images, "annotations": rows}


def _described(row: Split | SplitList, images: int, of: int) -> dict[str, Any]:
    """What the label file says of its making."""
    described = {**row.model_dump(), "images": images, "of": of}
    if isinstance(row, Split) and row.rule == "uniform":
        described["published_suffix"] = published_suffix(row.percent)
    return described


def _figures(annotations: Coco, labels: Coco, unlabelled: list[int]) -> dict[str, Any]:
    images, of = len(labels["images"]), len(annotations["images"])
    there = {row["category_id"] for row in labels["annotations"]}
    known = {row["category_id"] for row in annotations["annotations"] if is_usable(row, "masks")}
    names = {row["id"]: row["name"] for row in annotations["categories"]}
    return {
        "images": images,
        "of": of,
        "percent": 100 * images / of,
        "with_objects": len({row["image_id"] for row in labels["annotations"]}),
        "objects": len(labels["annotations"]),
        "unlabelled": len(unlabelled),
        "classes": len(there),
        "missing_classes": [names[key] for key in sorted(known - there)],
    }
