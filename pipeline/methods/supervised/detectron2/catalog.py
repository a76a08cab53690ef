"""Our datasets under detectron2's names, for its own tools."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipeline.data.images import ImageStore
from pipeline.labels.label_file import ImageLabels, LabelFile


def register(name: str, store: ImageStore, labels: LabelFile) -> None:
    """Enter images and labels into detectron2's catalogs, so that its viewers and evaluators find them.

    Training and prediction here do not need it.  Images in the zips of a procedural dataset have a name
    there and cannot be opened by detectron2.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    DatasetCatalog.register(name, partial(dataset_dicts, store, labels))
    MetadataCatalog.get(name).set(
        thing_classes=[category.name for category in labels.categories],
        thing_dataset_id_to_contiguous_id={
            category.id: index for index, category in enumerate(labels.categories)
        },
    )


def dataset_dicts(store: ImageStore, labels: LabelFile) -> list[dict[str, Any]]:
    """One record per image of the store, in detectron2's standard format, with RLE masks if there are any."""
    return [
        {
            "file_name": str(store.path(record.id)),
            "image_id": record.id,
            "height": record.height,
            "width": record.width,
            "annotations": _annotations(labels.images.get(record.id)),
        }
        for record in store.records
    ]


def _annotations(labels: ImageLabels | None) -> list[dict[str, Any]]:
    from detectron2.structures import BoxMode

    if labels is None:
        return []
    rows = [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": label, "iscrowd": 0}
        for box, label in zip(labels.boxes.tolist(), labels.labels.tolist(), strict=True)
    ]
    if labels.rles is not None:
        rows = [row | {"segmentation": rle} for row, rle in zip(rows, labels.rles, strict=True)]
    return rows
