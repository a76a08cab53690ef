"""Reading a label set of the semantic task: all that a stage knows of the annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import MOST_CLASSES, UNLABELLED
from pipeline.data.packs import Pack
from pipeline.data.values import is_id, is_text, show
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.label_file import LabelFile
from pipeline.params.semantic_labels import SemanticKind

WITHOUT_MAPS = ("tags", "boxes")
_REMEDY = "run `dvc repro` to make it anew"


@dataclass(frozen=True)
class LabelledImage:
    """One image of a label set; tags: indices of the classes that its annotation tells, ascending, none 0."""

    id: int
    file_name: str
    width: int
    height: int
    tags: tuple[int, ...]


@dataclass(frozen=True)
class SemanticLabels:
    """A label set: kind, names of the classes by pixel value, and images by id, in the order of ids.

    background: whether class 0 is a background; full scenes have none.  Picklable.
    """

    folder: Path
    kind: SemanticKind
    classes: tuple[str, ...]
    background: bool
    images: dict[int, LabelledImage]
    _maps: Pack | None = field(repr=False)
    _boxes: LabelFile | None = field(repr=False)
    _crowds: dict[int, NDArray[np.float32]] = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> SemanticLabels:
        """Open a folder with labels.json and, but for tags and boxes, maps/.

        A COCO file with boxes will do as well: background, then its categories sorted by id, are the classes.
        Raises UserError for a file that is missing or damaged, and where maps and images do not fit.
        """
        path = folder / "labels.json"
        content = read_json(path)
        try:
            return _open(folder, path, content)
        except (KeyError, TypeError, AttributeError) as error:
            problem = f"is not a label set ({type(error).__name__}: {error})"
            raise UserError(path, "", problem, _REMEDY) from None

    def partial_map(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W) label map of the codes in `label_codes`.

        Raises UserError for labels without maps, an unknown image, and a map that is damaged, of another size
        than its image or has values that are no classes.
        """
        if self._maps is None:
            problem = f"holds {self.kind}, which are no label maps"
            raise UserError(
                self.folder, f"image {image_id}", problem, "make maps of them first, as with CAMs"
            )
        values = self._maps.read(image_id)
        image = self.images[image_id]
        if values.dtype != np.uint8 or values.shape != (image.height, image.width):
            problem = f"the map is not an 8-bit one of {image.width}x{image.height}"
            raise UserError(self._maps.folder, f"image {image_id}", problem, _REMEDY)
        unknown = np.flatnonzero(np.bincount(values.ravel(), minlength=256)[len(self.classes) : UNLABELLED])
        if len(unknown):
            problem = f"the map has the value {unknown[0] + len(self.classes)}, and there are"
            problem += f" {len(self.classes)} classes"
            raise UserError(self._maps.folder, f"image {image_id}", problem, _REMEDY)
        return values

    def boxes(self, image_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(N,) classes and (N, 4) x1 y1 x2 y2 of an image's boxes, in pixels; no boxes of crowd regions.

        Raises UserError for labels of another kind.
        """
        labels = self._box_file(image_id).images[image_id]
        return labels.labels + int(self.background), labels.boxes

    def crowds(self, image_id: int) -> NDArray[np.float32]:
        """(N, 4) x1 y1 x2 y2 of an image's crowd regions: no objects to learn, and no background either.

        Raises UserError for labels of another kind.
        """
        self._box_file(image_id)
        return self._crowds.get(image_id, np.zeros((0, 4), dtype=np.float32))

    def _box_file(self, image_id: int) -> LabelFile:
        if self._boxes is None:
            problem = f"holds {self.kind}, and boxes are needed"
            raise UserError(self.folder, f"image {image_id}", problem, "name a label set of boxes")
        return self._boxes


def _open(folder: Path, path: Path, content: dict[str, Any]) -> SemanticLabels:
    info = content.get("info", {})
    kind = info.get("kind", "boxes" if "annotations" in content else None)
    if kind not in get_args(SemanticKind):
        problem = f"must be one of {', '.join(get_args(SemanticKind))}, and is {show(kind)}"
        raise UserError(path, "info.kind", problem, "semantic training takes no instance masks")
    boxes = LabelFile.read(path) if kind == "boxes" else None
    background = bool(info.get("background", True))
    names = content.get("classes")
    if names is None and boxes is not None:
        names = ["background", *(category.name for category in boxes.categories)]
    classes = _classes(path, names)
    if boxes is not None and len(boxes.categories) != len(classes) - background:
        raise UserError(path, "classes", "are not the background and the categories", _REMEDY)
    tags = None
    if boxes is not None:
        tags = {key: np.unique(image.labels + background).tolist() for key, image in boxes.images.items()}
    images = _images(path, content["images"], len(classes), tags)
    maps = None if kind in WITHOUT_MAPS else _maps(folder / "maps", images)
    crowds = _crowd_boxes(content["annotations"]) if boxes is not None else {}
    return SemanticLabels(folder, kind, classes, background, images, maps, boxes, crowds)


def _crowd_boxes(rows: list[dict[str, Any]]) -> dict[int, NDArray[np.float32]]:
    found: dict[int, list[list[float]]] = {}
    for row in rows:
        if row.get("iscrowd"):
            x, y, width, height = row["bbox"]
            found.setdefault(row["image_id"], []).append([x, y, x + width, y + height])
    return {image_id: np.array(boxes, dtype=np.float32) for image_id, boxes in found.items()}


def _classes(path: Path, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(map(is_text, names)):
        raise UserError(path, "classes", f"must be a list of names, and is {show(names)}", _REMEDY)
    if len(names) > MOST_CLASSES:
        raise UserError(path, "classes", f"are {len(names)}, and a label map holds {MOST_CLASSES}")
    return tuple(names)


def _images(
    path: Path, rows: list[dict[str, Any]], classes: int, tags: dict[int, list[int]] | None
) -> dict[int, LabelledImage]:
    images: dict[int, LabelledImage] = {}
    for row in rows:
        image_id, size = row["id"], (row["width"], row["height"])
        own = [tag for tag in tags[image_id] if tag] if tags is not None else row["tags"]
        if not is_id(image_id) or image_id in images:
            raise UserError(path, f"image {show(image_id)}", "its id is no whole number or occurs twice")
        if not all(type(side) is int and side > 0 for side in size):
            raise UserError(path, f"image {image_id}", "width and height must be whole numbers above 0")
        if not is_text(row["file_name"]):
            raise UserError(path, f"image {image_id}", f"file_name is {show(row['file_name'])}, and no text")
        if not all(type(tag) is int and 0 < tag < classes for tag in own) or own != sorted(set(own)):
            problem = f"tags must be indices of classes, ascending and none 0, and are {show(own)}"
            raise UserError(path, f"image {image_id}", problem, _REMEDY)
        images[image_id] = LabelledImage(image_id, row["file_name"], *size, tuple(own))
    if not images:
        raise UserError(path, "images", "there are none", _REMEDY)
    return dict(sorted(images.items()))


def _maps(folder: Path, images: dict[int, LabelledImage]) -> Pack:
    pack = Pack(folder)
    if pack.ids != list(images):
        raise UserError(folder, "", "has maps of other images than labels.json", _REMEDY)
    return pack
