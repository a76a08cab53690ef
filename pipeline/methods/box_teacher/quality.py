"""How good the masks were that a teacher gave its student, by masks that the training never saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torchvision.tv_tensors import Image, Mask

from pipeline.data.masks import MaskError, check_rle, decode
from pipeline.data.transforms import augment
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.methods.box_teacher.rows import Row, group_end
from pipeline.params import Augmentation, BoxTeacher
from pipeline.params_file import tuples
from pipeline.structures import Sample, Target, boxes_xyxy

REMEDY = "train it again on these annotations"
_ROWS = TypeAdapter(list[Row])


def pseudo_mask_quality(folder: Path, annotations: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """Figures of the kept pseudo masks of a trained model, one row per group of steps before a checkpoint.

    folder: of the model; annotations: COCO json of the training images, with masks; seed: of the training.
    A row has step (done by the end of the group), boxes (how many), accepted (the share of them with a
    pseudo mask, in percent), weight (mean of these masks), compared (how many objects of these have a mask to
    compare with) and mask_iou (mean over those, in percent).  A figure of nothing is None.

    The masks are turned, resized and cut as the student's images were, which are functions of the sample's
    key.  Raises UserError for a model of another method, and for rows that fit no annotation.
    """
    settings, path = _settings(folder / "model.json"), folder / "pseudo_masks.json"
    rows = _rows(path)
    truth = {annotation["id"]: annotation for annotation in annotations["annotations"]}
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row["image_id"] not in sizes or any(box["annotation_id"] not in truth for box in row["boxes"]):
            raise UserError(path, f"image {row['image_id']}", "has boxes of other annotations", REMEDY)
        groups.setdefault(group_end(row["step"], settings.train.checkpoint_every), []).append(row)
    return [
        _figures(step, group, truth, sizes, settings.augmentation, seed)
        for step, group in sorted(groups.items())
    ]


def _settings(path: Path) -> BoxTeacher:
    described = read_json(path)
    settings = described.get("settings") if isinstance(described, dict) else None
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if kind != "box_teacher":
        raise UserError(path, "", f"is of the method {kind}, which has no teacher's masks of boxes", REMEDY)
    try:
        return BoxTeacher.model_validate(tuples(settings))
    except ValidationError as error:
        raise UserError(path, "settings", _first(error), "train it again") from None


def _rows(path: Path) -> list[Row]:
    try:
        rows = _ROWS.validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(path, "", _first(error), "train it again") from None
    for index, row in enumerate(rows):
        try:
            for box in row["boxes"]:
                if box["mask"] is not None:
                    check_rle(box["mask"], row["size"])
        except MaskError as error:
            raise UserError(path, f"row {index}", str(error), "train it again") from None
    return rows


def _first(error: ValidationError) -> str:
    """The first of its mistakes: where it is and what."""
    item = error.errors()[0]
    return f"{'.'.join(map(str, item['loc']))}: {item['msg']}"


def _figures(
    step: int,
    rows: Iterable[Row],
    truth: Mapping[int, dict[str, Any]],
    sizes: Mapping[int, tuple[int, int]],
    augmentation: Augmentation,
    seed: int,
) -> dict[str, Any]:
    weights, ious = [], []
    for row in rows:
        weights += [box["weight"] for box in row["boxes"]]
        given, objects = [], []
        for box in row["boxes"]:
            mask, true_mask = box["mask"], truth[box["annotation_id"]].get("segmentation")
            if mask is not None and true_mask:
                given.append(mask)
                objects.append(true_mask)
        if given:
            masks = _as_seen(objects, sizes[row["image_id"]], row, augmentation, seed)
            ious += [_iou(*pair) for pair in zip(masks, decode(given, row["size"]), strict=True)]
    taken = [weight for weight in weights if weight > 0]
    return {
        "step": step,
        "boxes": len(weights),
        "accepted": round(100 * len(taken) / len(weights), 4) if weights else None,
        "weight": round(fmean(taken), 6) if taken else None,
        "compared": len(ious),
        "mask_iou": round(100 * fmean(ious), 4) if ious else None,
    }


def _as_seen(
    rles: list[dict[str, Any]], size: tuple[int, int], row: Row, augmentation: Augmentation, seed: int
) -> NDArray[np.bool_]:
    """Masks of an image of (height, width) `size` as the student saw it: (N, *row["size"]) bool.

    The chance is that of `LabelledImages`; pixels play no part in it.
    """
    masks = Mask(torch.from_numpy(decode(rles, size)))
    boxes = boxes_xyxy(torch.zeros(len(rles), 4), size)
    target = Target(boxes, torch.zeros(len(rles), dtype=torch.int64), masks)
    sample = Sample(Image(torch.zeros(3, *size, dtype=torch.uint8)), target, row["image_id"], size)
    index, draw = row["key"]
    seen = augment(sample, augmentation, np.random.default_rng((seed, draw, index)))
    found: NDArray[np.bool_] = seen.target.required_masks().as_subclass(Tensor).numpy()
    if found.shape[1:] != row["size"]:
        raise UserError("pseudo_masks.json", f"image {row['image_id']}", "has another size", REMEDY)
    return found


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of two masks; 0 of two empty ones."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0
