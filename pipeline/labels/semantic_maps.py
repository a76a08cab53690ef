"""Label maps of the semantic task from instance masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import BACKGROUND, MOST_CLASSES, VOID
from pipeline.data.masks import Size, decode
from pipeline.data.packs import encode_map, write_pack
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.files import replacing_folder
from pipeline.labels.weak import is_usable
from pipeline.params.executor import Executor

Coco = dict[str, Any]
Row = dict[str, Any]


def semantic_classes(coco: Coco, source: object = "annotations") -> list[str]:
    """Names by pixel value: background, then the categories sorted by id.

    Raises UserError for more categories than 8 bits can tell; `source` names the annotations in it.
    """
    rows = sorted(coco["categories"], key=lambda row: int(row["id"]))
    if len(rows) >= MOST_CLASSES:
        raise UserError(
            source,
            "",
            f"has {len(rows)} categories, and a label map holds {MOST_CLASSES - 1} beside the background",
            "train instances with it, or leave out rare categories",
        )
    return ["background", *(row["name"] for row in rows)]


def write_semantic_maps(
    coco: Coco, folder: Path, processes: int, source: object = "annotations", executor: Executor = HERE
) -> None:
    """Paint every image of a checked COCO dict into the pack `folder`, on `processes` processes or on
    the executor's.

    Raises UserError as `semantic_classes`; then nothing is written.
    """
    about = {"classes": semantic_classes(coco, source), "background": True}
    rows = rows_by_image(coco)
    images = sorted(coco["images"], key=lambda image: int(image["id"]))
    items = [(image["id"], (image["height"], image["width"]), rows[image["id"]]) for image in images]
    paint_one = partial(_paint_image, class_index(coco))
    painted = map_images(paint_one, items, processes, "painting label maps", executor)
    with replacing_folder(folder) as temporary:
        write_pack(temporary, painted, about)


def class_index(coco: Coco) -> dict[int, int]:
    """Category id -> pixel value."""
    return {key: place for place, key in enumerate(sorted(row["id"] for row in coco["categories"]), 1)}


def rows_by_image(coco: Coco) -> dict[int, list[Row]]:
    """Image id -> its annotations, in the order of the file."""
    rows: dict[int, list[Row]] = {image["id"]: [] for image in coco["images"]}
    for row in coco["annotations"]:
        rows[row["image_id"]].append(row)
    return rows


def _paint_image(index: dict[int, int], item: tuple[int, Size, list[Row]]) -> tuple[int, bytes]:
    image_id, size, rows = item
    return image_id, encode_map(paint(rows, index, size))


def paint(rows: Sequence[Row], index: dict[int, int], size: Size) -> NDArray[np.uint8]:
    """(H, W) label map of an image of (height, width) `size`; index: category id -> pixel value.

    Larger objects are painted first, so that what lies on them shows; of equally large ones, those with the
    lower id.  Crowd regions and objects without a usable mask are void wherever no object is painted: their
    mask if there is one, else their box, since nobody can say which pixels of it are theirs.
    """
    values = np.full(size, BACKGROUND, dtype=np.uint8)
    usable = [row for row in rows if is_usable(row, "masks")]
    for row in rows:
        if not is_usable(row, "masks"):
            values[_unknown(row, size)] = VOID
    masks = decode([row["segmentation"] for row in usable], size)
    areas = masks.sum((1, 2)).tolist()
    for place in sorted(range(len(usable)), key=lambda place: (-areas[place], usable[place]["id"])):
        values[masks[place]] = index[usable[place]["category_id"]]
    return values


def _unknown(row: Row, size: Size) -> NDArray[np.bool_] | tuple[slice, slice]:
    if "segmentation" in row:
        mask: NDArray[np.bool_] = decode([row["segmentation"]], size)[0]
        return mask
    x, y, width, height = row["bbox"]
    return (
        slice(max(math.floor(y), 0), max(math.ceil(y + height), 0)),
        slice(max(math.floor(x), 0), max(math.ceil(x + width), 0)),
    )
