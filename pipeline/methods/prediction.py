"""A trained method's output on a set of images, as COCO results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline import params
from pipeline.data.dataset import PlainImages
from pipeline.data.images import ImageStore
from pipeline.data.masks import encode
from pipeline.engine.devices import reproducible
from pipeline.engine.protocol import Method
from pipeline.labels.label_file import Category, LabelFile
from pipeline.methods.bundle import load_bundle
from pipeline.methods.mal.labeling import label_given_boxes
from pipeline.structures import Instances, Sample

Records = list[dict[str, Any]]


def predict_run(
    model: Path,
    task: Literal["instances", "masks_in_boxes"],
    store: ImageStore,
    boxes: LabelFile,
    settings: params.Predict,
    device: torch.device,
    name: str,
    network: Literal["student", "teacher"],
) -> tuple[Records | None, Records]:
    """Predict with the trained model in the folder `model` on every image of `store`.

    network: which one predicts, of a model that has both.  Returns COCO results, None from a run that
    detects nothing, and records of (annotation_id, image_id, segmentation) for the given boxes.  Raises
    UserError for a model that does not fit.
    """
    if task == "masks_in_boxes":
        return None, label_given_boxes(model, store, boxes, settings.labeling, device=device, name=name)
    with reproducible(settings.threads):
        method, categories = load_bundle(model, settings, device, network)
        return predict_images(method, store, boxes, categories, settings, device, name)


def predict_images(
    method: Method[Any],
    store: ImageStore,
    boxes: LabelFile,
    categories: list[Category],
    settings: params.Predict,
    device: torch.device,
    name: str,
) -> tuple[Records, Records]:
    """Detect objects, and segment the object of each given box, in every image of `store`.

    Returns COCO results (image_id, category_id as in the annotation file, bbox, score, segmentation) and
    records of (annotation_id, image_id, segmentation), images in the order of the store.
    """
    detections: Records = []
    in_boxes: Records = []
    with torch.inference_mode():
        for batch in _batches(store, settings, name):
            batch = [sample.to(device) for sample in batch]
            given = [_boxes(boxes, sample.image_id, device) for sample in batch]
            for sample, found, masks in zip(batch, *method.predict_with_boxes(batch, given), strict=True):
                detections += _results(sample.image_id, found, categories)
                in_boxes += _masks_in_boxes(boxes, sample.image_id, masks)
    return detections, in_boxes


def _batches(store: ImageStore, settings: params.Predict, name: str) -> Iterator[list[Sample]]:
    images = PlainImages(store, settings.short_side, settings.max_side)
    indices = range(0, len(images), settings.batch_size)
    for first in tqdm(indices, desc=f"predict {name}", unit="batch", mininterval=1):
        yield [images[index] for index in range(first, min(first + settings.batch_size, len(images)))]


def _boxes(boxes: LabelFile, image_id: int, device: torch.device) -> Tensor:
    labels = boxes.images.get(image_id)
    return (
        torch.zeros(0, 4, device=device) if labels is None else torch.as_tensor(labels.boxes, device=device)
    )


def _results(image_id: int, found: Instances, categories: list[Category]) -> Records:
    rles = encode(found.masks.cpu().numpy())
    rows = zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), rles, strict=True)
    return [
        {
            "image_id": image_id,
            "category_id": categories[label].id,
            "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(score, 6),
            "segmentation": rle,
        }
        for (x1, y1, x2, y2), label, score, rle in rows
    ]


def _masks_in_boxes(boxes: LabelFile, image_id: int, masks: Tensor) -> Records:
    labels = boxes.images.get(image_id)
    if labels is None:
        return []
    pairs = zip(labels.annotation_ids.tolist(), encode(masks.cpu().numpy()), strict=True)
    return [{"annotation_id": id_, "image_id": image_id, "segmentation": rle} for id_, rle in pairs]
