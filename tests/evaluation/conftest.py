"""Random annotations and predictions to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

Scene = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]


def _rle(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def _ellipse(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    ry, rx = rng.uniform(2, height / 2), rng.uniform(2, width / 2)
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    mask[min(int(cy), height - 1), min(int(cx), width - 1)] = True
    return mask


def _shift(mask: np.ndarray, rng: np.random.Generator, amount: int) -> np.ndarray:
    dy, dx = rng.integers(-amount, amount + 1, 2)
    return np.roll(mask, (dy, dx), axis=(0, 1))


def _make(
    seed: int,
    images: int = 12,
    categories: int = 3,
    size: int = 120,
    crowds: bool = True,
    ties: bool = True,
    most: int = 8,
) -> Scene:
    """Every 5th image has no object, every 7th no detection; ids neither start at 1 nor are contiguous."""
    rng = np.random.default_rng(seed)
    ids = [3 * index + 5 for index in range(images)]
    names = [{"id": 7 * index + 2, "name": f"class {index}"} for index in range(categories)]
    annotations, detections, in_boxes = [], [], []
    for index, image in enumerate(ids):
        height = size + 8 * (index % 3)
        for _ in range(0 if index % 5 == 4 else rng.integers(1, most)):
            mask = _ellipse(rng, height, size)
            category = names[rng.integers(categories)]["id"]
            crowd = int(crowds and rng.random() < 0.15)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image,
                    "category_id": category,
                    "segmentation": _rle(mask),
                    "area": float(mask.sum()),
                    "iscrowd": crowd,
                    "bbox": coco_mask.toBbox(_rle(mask)).tolist(),
                }
            )
            in_boxes.append(
                {
                    "annotation_id": len(annotations) - 1,
                    "image_id": image,
                    "segmentation": _rle(_shift(mask, rng, 4)),
                }
            )
            for _ in range(0 if index % 7 == 6 else rng.integers(0, 4)):
                shifted = _shift(mask, rng, 6)
                score = round(rng.random(), 1) if ties else rng.random()
                guess = names[rng.integers(categories)]["id"] if rng.random() < 0.1 else category
                detections.append(
                    {
                        "image_id": image,
                        "score": float(score),
                        "segmentation": _rle(shifted),
                        "category_id": guess,
                        "bbox": coco_mask.toBbox(_rle(shifted)).tolist(),
                    }
                )
    records = [
        {"id": image, "height": size + 8 * (index % 3), "width": size, "file_name": f"{image}.png"}
        for index, image in enumerate(ids)
    ]
    return {"images": records, "annotations": annotations, "categories": names}, detections, in_boxes


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Function of a seed -> annotations, detections, masks in the ground-truth boxes."""
    return _make


@pytest.fixture(scope="session")
def rle() -> Callable[[np.ndarray], dict[str, Any]]:
    """Function (H, W) bool -> compressed RLE."""
    return _rle
