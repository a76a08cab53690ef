"""Reading a label file: everything that a training stage knows of the annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.masks import MaskError, Rle, Size, areas, check_rle
from pipeline.data.values import is_id, is_number, is_text, show
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.weak import Kind


@dataclass
class Category:
    """A class of the dataset: `id` as in the annotation file, `name` for people."""

    id: int
    name: str


@dataclass(frozen=True)
class ImageLabels:
    """Labels of one image of (height, width) `size`.

    annotation_ids: (N,) int64; boxes: (N, 4) float32, x1 y1 x2 y2 in pixels; labels: (N,) int64, index into
    the categories sorted by id; rles: N compressed RLEs, or None in a box label file.
    """

    annotation_ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    rles: list[Rle] | None
    size: Size


@dataclass(frozen=True)
class LabelFile:
    """A label file: its kind, its categories sorted by id, and the labels of every image by image id.

    left_out: ids of the annotations that are no instances to train on or to predict in: crowd regions, and
    pseudo-labels with an empty mask, in which no method could find a centre or a shape.
    """

    path: Path
    kind: Kind
    categories: list[Category]
    images: dict[int, ImageLabels]
    left_out: tuple[int, ...] = ()

    @property
    def annotated_images(self) -> int:
        """How many images have an annotation."""
        return sum(len(image.labels) > 0 for image in self.images.values())

    @classmethod
    def read(cls, path: Path) -> LabelFile:
        """Read and check a label file, since a user may put an own one in its place.

        Raises UserError for what is not COCO format, repeated ids, unknown images and categories, impossible
        boxes, and masks that are missing, do not fit, or stand in a box label file.  Of crowd regions in a
        mask label file, the mask is not looked at.
        """
        content = read_json(path)
        try:
            return _read(path, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise no_label_file(path, error) from None


def no_label_file(path: Path, error: Exception) -> UserError:
    """The mistake of a file in which reading a label file met `error`."""
    return UserError(
        path,
        "",
        f"is not a label file in COCO format ({type(error).__name__}: {error})",
        "run `dvc repro` to make it anew",
    )


def _read(path: Path, content: dict[str, Any]) -> LabelFile:
    categories = _categories(path, content["categories"])
    kind = _kind(path, content)
    sizes = _sizes(path, content["images"])
    rows: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in sorted(sizes)}
    index = {category.id: position for position, category in enumerate(categories)}
    _check_ids(path, "annotations", content["annotations"])
    left_out = []
    for row in content["annotations"]:
        problem = _problem(row, kind, sizes, index)
        if problem:
            raise UserError(path, f"annotation {row['id']}", problem)
        if row.get("iscrowd") or (kind == "masks" and not areas([row["segmentation"]])[0]):
            left_out.append(row["id"])
        else:
            rows[row["image_id"]].append(row)
    images = {image_id: _labels(group, kind, sizes[image_id], index) for image_id, group in rows.items()}
    return LabelFile(path, kind, categories, images, tuple(left_out))


def _kind(path: Path, content: dict[str, Any]) -> Kind:
    """As the file says; of a file that does not say it, masks if its annotations have them."""
    stated = content.get("info", {}).get("kind")
    if stated is None:
        return "masks" if any("segmentation" in row for row in content["annotations"]) else "boxes"
    if stated == "masks":
        return "masks"
    if stated == "boxes":
        return "boxes"
    raise UserError(path, "info.kind", f"must be boxes or masks, and is {show(stated)}")


def _categories(path: Path, rows: list[dict[str, Any]]) -> list[Category]:
    _check_ids(path, "categories", rows)
    if not rows:
        raise UserError(path, "categories", "the list is empty")
    for row in rows:
        if not is_text(row["name"]):
            raise UserError(path, f"category {row['id']}", f"the name {show(row['name'])} is not text")
    return [Category(row["id"], row["name"]) for row in sorted(rows, key=lambda row: int(row["id"]))]


def _sizes(path: Path, rows: list[dict[str, Any]]) -> dict[int, Size]:
    _check_ids(path, "images", rows)
    for row in rows:
        if not all(type(row[key]) is int and row[key] > 0 for key in ("width", "height")):
            raise UserError(path, f"image {row['id']}", "width and height must be whole numbers above 0")
    return {row["id"]: (row["height"], row["width"]) for row in rows}


def _check_ids(path: Path, what: str, rows: list[dict[str, Any]]) -> None:
    seen: set[int] = set()
    for row in rows:
        if not is_id(row["id"]):
            raise UserError(path, what, f"an id must be a whole number, and one is {show(row['id'])}")
        if row["id"] in seen:
            raise UserError(path, what, f"the id {row['id']} occurs twice")
        seen.add(row["id"])


def _problem(row: dict[str, Any], kind: Kind, sizes: dict[int, Size], index: dict[int, int]) -> str:
    """What makes an annotation unusable, or ""."""
    if row["image_id"] not in sizes:
        return f"image_id {show(row['image_id'])} is not in images"
    if row["category_id"] not in index:
        return f"category_id {show(row['category_id'])} is not in categories"
    problem = _box_problem(row["bbox"], sizes[row["image_id"]])
    if problem or kind == "boxes":
        return problem or ("has a mask, and this is a box label file" if "segmentation" in row else "")
    if row.get("iscrowd"):
        return ""
    if "segmentation" not in row:
        return "has no mask, and this is a mask label file"
    try:
        check_rle(row["segmentation"], sizes[row["image_id"]])
    except MaskError as error:
        return str(error)
    return ""


def _box_problem(box: Any, size: Size) -> str:
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"bbox must be the four numbers x, y, width, height, and is {show(box)}"
    if not (0 < box[2] < 1e9 and 0 < box[3] < 1e9):
        return f"bbox needs a width and a height above 0, and is {show(box)}"
    if not (-box[2] < box[0] < size[1] and -box[3] < box[1] < size[0]):
        return f"bbox {show(box)} lies outside its image of {size[1]}x{size[0]}"
    return ""


def _labels(rows: list[dict[str, Any]], kind: Kind, size: Size, index: dict[int, int]) -> ImageLabels:
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return ImageLabels(
        annotation_ids=np.array([row["id"] for row in rows], dtype=np.int64),
        boxes=boxes.astype(np.float32),
        labels=np.array([index[row["category_id"]] for row in rows], dtype=np.int64),
        rles=[row["segmentation"] for row in rows] if kind == "masks" else None,
        size=size,
    )
