"""DensePose's annotations of COCO 2014 (Gueler et al., CVPR 2018): 14 body parts, as masks and as points.

An annotation is a person.  `dp_masks` holds 14 run-length masks of 256x256, or nothing for a part that does
not show, stretched over the person's box; `dp_x` and `dp_y` are points in that frame, from 0 to 255, and
`dp_I` is the surface patch of each, 1 to 24, of which most parts have two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.coco_images import check_image_types
from pipeline.data.label_codes import BACKGROUND, VOID
from pipeline.data.masks import MaskError, Size, check_rle, decode, rle_from_segmentation
from pipeline.data.pixels import ImageError
from pipeline.data.scenes import Labelled, Scene, Split, check_scenes
from pipeline.data.values import is_number, show
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.labels.json_stream import elements
from pipeline.params import Executor

PARTS = (
    *("torso", "right hand", "left hand", "left foot", "right foot", "right thigh", "left thigh"),
    *("right leg", "left leg", "left arm", "right arm", "left forearm", "right forearm", "head"),
)
CATEGORIES = [{"id": key, "name": name} for key, name in enumerate(PARTS, 1)]
# Part of each of the patches 1 to 24 (DensePose's own table).
PART_OF_PATCH = (1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 14)
_FRAME = 256
_KEEP = ("id", "bbox", "dp_masks", "dp_x", "dp_y", "dp_I", "iscrowd", "segmentation")

Row = dict[str, Any]


def read_densepose(json_path: Path, images: Path, processes: int, executor: Executor = HERE) -> Split:
    """Read and check a split; every image is decoded once, on `processes` processes
    or on the executor's.

    Images are numbered from 1 in the order of their names.  The COCO dict has no annotations, as parts are no
    objects, and the annotators' points under "points": rows of image_id, class, x, y.  Persons without
    `dp_masks` are void.  The file is read piece by piece: most of it is coordinates that nothing here needs.
    Raises UserError for a file that is no such thing, and when no image can be used.
    """
    rows = [element.value for element in elements(json_path, "images")]
    check_image_types(json_path, rows)
    if not rows:
        raise UserError(json_path, "images", "there are none", "give a file in DensePose's format")
    if nameless := [row["id"] for row in rows if row.get("file_name") is None]:
        problem = "has no file_name, which DensePose gives every image"
        raise UserError(json_path, f"image {nameless[0]}", problem, "name its file in the images folder")
    sizes = {row["id"]: (row.get("height"), row.get("width")) for row in rows}
    persons: dict[int, list[Row]] = {image_id: [] for image_id in sizes}
    annotated = False
    for row in _persons(json_path):
        if row["image_id"] in persons:
            persons[row["image_id"]].append({key: row[key] for key in _KEEP if key in row})
            annotated |= "dp_masks" in row
    if not annotated:
        raise UserError(json_path, "annotations", "none has dp_masks", "give a file in DensePose's format")
    ordered = sorted(rows, key=lambda row: str(row["file_name"]))
    scenes = [_scene(row["file_name"], sizes[row["id"]], persons[row["id"]]) for row in ordered]
    classes = len(PARTS) + 1
    split = check_scenes(images, scenes, read_labels, CATEGORIES, classes, processes, json_path, executor)
    split.checked.coco["points"] = [
        {"image_id": image_id, "class": part, "x": x, "y": y}
        for image_id, (size, own) in split.labels
        for person in own
        if "dp_masks" in person
        for part, x, y in points_of(person, size)
    ]
    return split


def _scene(file_name: str, size: tuple[Any, Any], persons: list[Row]) -> Scene:
    return Scene(file_name, (size, persons), size if _is_size(size) else None)


def _is_size(size: tuple[Any, Any]) -> bool:
    return all(type(side) is int and side > 0 for side in size)


def _persons(path: Path) -> Iterator[Row]:
    for position, (row, _, _) in enumerate(elements(path, "annotations")):
        if not isinstance(row, dict) or type(row.get("image_id")) is not int:
            raise UserError(path, f"annotations[{position}]", "has no image_id that is a whole number")
        yield row


def read_labels(item: tuple[Size, list[Row]]) -> Labelled:
    """The label map of an image from its (height, width) and its persons, larger ones first.

    Raises ImageError for a person whose masks, points or box cannot be used.
    """
    size, persons = item
    if not _is_size(size):
        raise ImageError("its record has no size", show(size))
    values = np.full(size, BACKGROUND, dtype=np.uint8)
    for person in persons:
        if "dp_masks" not in person:
            values[_body(person, size)] = VOID
    posed = [person for person in persons if "dp_masks" in person]
    for person in sorted(posed, key=lambda person: -_box(person)[2] * _box(person)[3]):
        points_of(person, size)  # wrong points make an image as unusable as wrong masks
        left, top, width, height = _frame(person)
        rows, columns = _seen(top, height, size[0]), _seen(left, width, size[1])
        parts = _parts(person)[np.ix_(_places(rows, top, height), _places(columns, left, width))]
        window = values[rows.start : rows.stop, columns.start : columns.stop]
        window[parts > 0] = parts[parts > 0]
    return Labelled(values, [])


def points_of(person: Row, size: Size) -> list[tuple[int, int, int]]:
    """Part, x and y in pixels of the points that were set on a person; none outside the image.

    Raises ImageError for points that are no numbers or of no patch.
    """
    columns = [person.get(key, []) for key in ("dp_I", "dp_x", "dp_y")]
    if not all(isinstance(column, list) and all(map(is_number, column)) for column in columns):
        raise ImageError("a person has points that are not numbers", _name(person))
    patches, x, y = (np.array(column, dtype=np.float64) for column in columns)
    if not len(patches) == len(x) == len(y) or not np.isfinite([*x, *y]).all():
        raise ImageError("a person has points that are not complete", _name(person))
    if not np.isin(patches, np.arange(1, len(PART_OF_PATCH) + 1)).all():
        raise ImageError("a person has points on a patch that is not 1 to 24", _name(person))
    left, top, width, height = _frame(person)
    columns_there = _pixels(x, left, width)
    rows_there = _pixels(y, top, height)
    inside = (columns_there >= 0) & (columns_there < size[1]) & (rows_there >= 0) & (rows_there < size[0])
    parts = np.array(PART_OF_PATCH)[patches.astype(np.int64) - 1]
    return list(
        zip(parts[inside].tolist(), columns_there[inside].tolist(), rows_there[inside].tolist(), strict=True)
    )


def _seen(start: int, length: int, side: int) -> range:
    """The pixels of an image's side that a box from `start` covers."""
    return range(max(start, 0), max(min(start + length, side), 0))


def _places(pixels: range, start: int, length: int) -> NDArray[np.int64]:
    """From pixels of a box to those of the frame that is stretched over it, as OpenCV's nearest neighbour."""
    exact = (np.arange(pixels.start, pixels.stop) - start) * (1 / (length / _FRAME))
    return np.asarray(np.minimum(np.floor(exact), _FRAME - 1), dtype=np.int64)


def _pixels(places: NDArray[np.float64], start: int, length: int) -> NDArray[np.int64]:
    """From the frame's 0..255 to pixels of the image; the frame's end is in the box's last pixel."""
    exact = start + places / (_FRAME - 1) * length
    return np.floor(np.minimum(exact, start + length - 1)).astype(np.int64)


def _parts(person: Row) -> NDArray[np.uint8]:
    """(256, 256) parts in the person's frame; where masks overlap, the later part, as in DensePose's code."""
    masks, frame = person["dp_masks"], (_FRAME, _FRAME)
    if not isinstance(masks, list) or len(masks) != len(PARTS):
        raise ImageError("a person has dp_masks that are not 14 masks", _name(person))
    parts = np.zeros(frame, dtype=np.uint8)
    for part, rle in enumerate(masks, 1):
        if rle:
            try:
                check_rle(rle, frame)
            except MaskError as error:
                raise ImageError(
                    "a person has a mask that cannot be used", f"{_name(person)}, {error}"
                ) from None
            parts[decode([rle], frame)[0]] = part
    return parts


def _body(person: Row, size: Size) -> NDArray[np.bool_] | tuple[slice, slice]:
    """Where a person is of whom nobody marked the parts: the mask if it can be used, else the box."""
    try:
        mask: NDArray[np.bool_] = decode([rle_from_segmentation(person.get("segmentation"), size)], size)[0]
        return mask
    except MaskError:
        left, top, width, height = _frame(person)
        return slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0))


def _frame(person: Row) -> tuple[int, int, int, int]:
    """The box in whole pixels: x, y, width, height, at least one pixel each."""
    x, y, width, height = _box(person)
    return round(x), round(y), max(round(width), 1), max(round(height), 1)


def _box(person: Row) -> tuple[float, float, float, float]:
    box = person.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) and abs(v) < 1e5 for v in box):
        raise ImageError("a person has no box of four numbers", _name(person))
    return box[0], box[1], box[2], box[3]


def _name(person: Row) -> str:
    return f"annotation {show(person.get('id'))}"
