"""The annotations of a COCO file against its images and categories."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.findings import Findings
from pipeline.data.images import ImageRecord
from pipeline.data.masks import MaskError, Rle, Size, areas, extents, points_outside, rle_from_segmentation
from pipeline.data.values import is_id, is_number, show
from pipeline.errors import UserError

Annotation = dict[str, Any]
TOLERANCE = 1.0  # pixels by which rounding may put a box or a polygon outside its image
AGREEMENT = 0.5  # IoU of a box with the extent of its mask below which the two contradict each other
HUGE = 1e9  # pixels: more is a mistake, and differences would lose their precision
SLACK = 4.0  # pixels by which the edges of small boxes may differ whatever the IoU


def check_annotation_types(path: Path, rows: list[Any]) -> None:
    """Raise UserError for what makes all annotations untrustworthy: repeated ids, values of other types."""
    seen: set[int] = set()
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or not is_id(row.get("id")):
            raise UserError(
                path,
                f"annotations[{position}]",
                f"needs an id that is a whole number of at most 64 bits, and is {show(row)}",
                "give every record a number of its own",
            )
        if row["id"] in seen:
            where = f"annotation {row['id']}"
            raise UserError(path, where, "the id occurs twice in annotations", "number annotations uniquely")
        seen.add(row["id"])
        for key in ("image_id", "category_id"):
            if row.get(key) is not None and not is_id(row[key]):
                raise UserError(
                    path,
                    f"annotation {row['id']}",
                    f"{key} must be a whole number, and is {show(row[key])}",
                    "write the number without quotes or fraction",
                )
        box = row.get("bbox")
        if box is not None and not (isinstance(box, list) and all(map(is_number, box))):
            raise UserError(
                path,
                f"annotation {row['id']}",
                f"bbox must be a list of four numbers, and is {show(box)}",
                "write [x, y, width, height] in pixels",
            )


def clean_annotations(
    content: dict[str, Any], images: list[tuple[ImageRecord, int]], categories: set[int], findings: Findings
) -> list[Annotation]:
    """The usable annotations in the order of the file, with masks as compressed RLE or without a mask.

    content: the file, of which the types are checked; images: the usable ones.  What is left out, clipped
    or contradictory goes to `findings`.
    """
    sizes = {record.id: (record.height, record.width) for record, _ in images}
    listed = {row["id"] for row in content["images"]}
    kept = []
    for row in content["annotations"]:
        if _belongs(row, sizes, listed, categories, findings):
            box = _box(row, sizes[row["image_id"]], findings)
            if box is not None:
                kept.append(_annotation(row, box, sizes[row["image_id"]], findings))
    _report_missing_masks(content["annotations"], kept, findings)
    _report_contradictions(kept, findings)
    return kept


def _belongs(
    row: Annotation, sizes: dict[int, Size], listed: set[int], categories: set[int], findings: Findings
) -> bool:
    """Whether the annotation is of a usable image, a known category and a known kind."""
    image, category, crowd = row.get("image_id"), row.get("category_id"), row.get("iscrowd")
    if image in sizes and category in categories and crowd in (None, 0, 1):
        return True
    if image is None or category is None:
        problem, detail = "no image_id or no category_id", ""
    elif image not in listed:
        problem, detail = "image_id is not in images", f" with image_id {image}"
    elif image not in sizes:
        problem, detail = "its image was left out", f" of image {image}"
    elif category not in categories:
        problem, detail = f"category_id {category} is not in categories", ""
    else:
        problem, detail = "iscrowd is neither 0 nor 1", f" with {show(crowd)}"
    findings.add("annotation", "left out", problem, f"annotation {row['id']}{detail}")
    return False


def _box(row: Annotation, size: Size, findings: Findings) -> list[float] | None:
    """[x, y, width, height] with an area inside the image, cut to it where it reaches outside; or None."""

    def example() -> str:
        return f"annotation {row['id']} with bbox {show(row.get('bbox'))} in an image of {width}x{height}"

    height, width = size
    problem = _box_problem(row.get("bbox"), size)
    if problem:
        findings.add("annotation", "left out", problem, example())
        return None
    x, y, box_width, box_height = row["bbox"]
    right, bottom = x + box_width, y + box_height
    if min(x, y, width - right, height - bottom) >= -TOLERANCE:
        return [x, y, box_width, box_height]
    findings.add("box", "cut to its image", "it reaches outside by more than a pixel", example())
    x, y = max(x, 0), max(y, 0)
    return [x, y, min(right, width) - x, min(bottom, height) - y]


def _box_problem(box: list[float] | None, size: Size) -> str:
    if box is None:
        return "it has no bbox"
    if len(box) != 4:
        return "bbox must be the four numbers x, y, width, height"
    if not all(abs(value) < HUGE for value in box):  # NaN fails every comparison
        infinite = any(isinstance(value, float) and not math.isfinite(value) for value in box)
        return "bbox has a value that is not a finite number" if infinite else "bbox has an absurd value"
    if box[2] < 0 or box[3] < 0:
        return "bbox has a negative width or height"
    if box[2] == 0 or box[3] == 0:
        return "bbox has no width or no height"
    if box[0] >= size[1] or box[1] >= size[0] or box[0] + box[2] <= 0 or box[1] + box[3] <= 0:
        return "bbox lies outside the image"
    return ""


def _annotation(row: Annotation, box: list[float], size: Size, findings: Findings) -> Annotation:
    clean = {
        "id": row["id"],
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": box,
        "iscrowd": int(row.get("iscrowd") or 0),
    }
    mask = _mask(row, size, findings)
    if mask is not None:
        clean["segmentation"] = mask
    area = row.get("area")
    whole = box == row["bbox"] or mask is not None
    if is_number(area) and 0 < area <= size[0] * size[1] and whole:
        return {**clean, "area": area}
    if whole:
        findings.add(
            "annotation",
            "kept",
            "it has no usable area, so that of its mask or box is taken",
            f"annotation {row['id']} with area {show(area)}",
        )
    return {**clean, "area": box[2] * box[3] if mask is None else int(areas([mask])[0])}


def _mask(row: Annotation, size: Size, findings: Findings) -> Rle | None:
    segmentation = row.get("segmentation")
    if segmentation is None or segmentation == []:
        return None
    try:
        rle = rle_from_segmentation(segmentation, size)
    except MaskError as error:
        detail = f", {error.detail}" if error.detail else ""
        findings.add("mask", "left out, its box kept", error.problem, f"annotation {row['id']}{detail}")
        return None
    if points_outside(segmentation, size, TOLERANCE):
        findings.add(
            "mask",
            "cut to its image",
            "a polygon reaches outside by more than a pixel",
            f"annotation {row['id']}",
        )
    return rle


def _report_missing_masks(rows: list[Annotation], kept: list[Annotation], findings: Findings) -> None:
    """Where some annotations have masks, name those that never had one; none at all is a box data set."""
    if any("segmentation" in row for row in kept):
        given = {row["id"] for row in rows if row.get("segmentation") not in (None, [])}
        for row in kept:
            if row["id"] not in given:
                findings.add(
                    "annotation",
                    "kept for box supervision only",
                    "it has no mask, others do",
                    f"annotation {row['id']}",
                )


def _report_contradictions(kept: list[Annotation], findings: Findings) -> None:
    """Report boxes that are not around their masks, as when x, y, right, bottom is written by mistake."""
    rows = [row for row in kept if "segmentation" in row and not row["iscrowd"]]
    if not rows:
        return
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
    around = extents([row["segmentation"] for row in rows])
    boxes[:, 2:] += boxes[:, :2]
    around[:, 2:] += around[:, :2]
    sides = np.minimum(boxes[:, 2:], around[:, 2:]) - np.maximum(boxes[:, :2], around[:, :2])
    overlap = sides.clip(0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (around[:, 2:] - around[:, :2]).prod(1) - overlap
    wrong = (overlap < AGREEMENT * union) & (np.abs(boxes - around).max(1) > SLACK)
    for index in np.flatnonzero(wrong):
        row = rows[index]
        findings.add(
            "annotation",
            "kept",
            "the box is not around its mask; bbox must be x, y, width, height",
            f"annotation {row['id']} with bbox {show(row['bbox'])}",
        )
