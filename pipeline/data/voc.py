"""Pascal VOC 2012 (Everingham et al.) in its own layout, and SBD (Hariharan et al., ICCV 2011).

    ImageSets/Segmentation/{train,val}.txt     names of images, one per line
    JPEGImages/NAME.jpg
    SegmentationClass/NAME.png                 palette: 0 background, 1 to 20 classes, 255 void
    SegmentationObject/NAME.png                palette: objects from 1, 255 void
    Annotations/NAME.xml                       boxes

SBD has `cls/NAME.mat` and `inst/NAME.mat`, without void pixels.  Of an image that both have, VOC's own maps
are taken.  Objects come from masks where there are any, else from boxes.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.ndimage import find_objects

from pipeline.data.images import leaves_folder, read_inside
from pipeline.data.label_codes import BACKGROUND, VOID
from pipeline.data.label_png import decode_label_png
from pipeline.data.masks import encode_window
from pipeline.data.pixels import ImageError
from pipeline.data.scenes import Annotation, Labelled, Scene, Split, check_scenes, read_lines
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.params import Executor

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
CATEGORIES = [{"id": key, "name": name} for key, name in enumerate(CLASSES, 1)]
_LISTS = "ImageSets/Segmentation"


@dataclass(frozen=True)
class VocLabels:
    """Reads the labels of an image by its name.  folder, extra: real paths; extra may be ""."""

    folder: str
    extra: str

    def __call__(self, name: str) -> Labelled:
        values = self._values(name)
        return Labelled(values, self._objects(name, values))

    def _values(self, name: str) -> NDArray[np.uint8]:
        own = _read(self.folder, f"SegmentationClass/{name}.png")
        if own is not None:
            return decode_label_png(own)
        for file, decode in ((f"cls/{name}.mat", _decode_classes), (f"{name}.png", decode_label_png)):
            data = _read(self.extra, file) if self.extra else None
            if data is not None:
                return decode(data)
        raise FileNotFoundError(name)

    def _objects(self, name: str, values: NDArray[np.uint8]) -> list[Annotation]:
        ids = _read(self.folder, f"SegmentationObject/{name}.png")
        if ids is not None:
            return objects_of(decode_label_png(ids), values)
        ids = _read(self.extra, f"inst/{name}.mat") if self.extra else None
        if ids is not None:
            return objects_of(_decode_mat(ids, "GTinst"), values)
        boxes = _read(self.folder, f"Annotations/{name}.xml")
        return [] if boxes is None else read_boxes(boxes, (values.shape[0], values.shape[1]))


def read_voc(
    folder: Path, extra: Path | None, split: str, processes: int, executor: Executor = HERE
) -> Split:
    """Read and check `split`, train, train_aug or val; every file is read once, on `processes` processes
    or on the executor's.

    Images are numbered from 1 in the order of their names.  Raises UserError for a folder or list that is
    missing, names that leave the folder or occur twice, and when no image can be used.
    """
    names = split_names(folder, extra, split)
    read = VocLabels(os.path.realpath(folder), "" if extra is None else os.path.realpath(extra))
    scenes = [Scene(f"{name}.jpg", name) for name in names]
    images = folder / "JPEGImages"
    source = f"{folder} ({split})"
    return check_scenes(images, scenes, read, CATEGORIES, len(CLASSES) + 1, processes, source, executor)


def split_names(folder: Path, extra: Path | None, split: str) -> list[str]:
    """Sorted names of the images of a split; see `VocSbdFolder` for train_aug."""
    lists = folder / _LISTS
    if split != "train_aug":
        return sorted(_names(lists / f"{split}.txt"))
    for file in (lists / "train_aug.txt", lists / "trainaug.txt"):
        if file.exists():
            return sorted(_names(file))
    if extra is None or not (extra / "train.txt").exists():
        remedy = "put the list there, or give the folder `dataset` of SBD as extra"
        raise UserError(lists / "train_aug.txt", "", "file not found", remedy)
    sbd = {*_names(extra / "train.txt"), *_names(extra / "val.txt"), *_names(lists / "train.txt")}
    return sorted(sbd - _names(lists / "val.txt"))


def _names(path: Path) -> set[str]:
    """What the lines name: the first word's file without folder and ending, as authors' lists have them."""
    names: set[str] = set()
    for line in read_lines(path):
        word = line.split()[0]
        name = PurePosixPath(word).name.removesuffix(".jpg")
        if problem := leaves_folder(name):
            raise UserError(path, repr(word), problem, "write names of images")
        if name in names:
            raise UserError(path, name, "occurs twice", "name every image once")
        names.add(name)
    return names


def _read(folder: str, name: str) -> bytes | None:
    try:
        return read_inside(folder, name)
    except FileNotFoundError:
        return None


def objects_of(ids: NDArray[np.uint8], values: NDArray[np.uint8]) -> list[Annotation]:
    """The objects of (H, W) `ids`, by id, each of the class that most of its pixels have in `values`.

    Raises ImageError for an object that is nowhere of a class.
    """
    if ids.shape != values.shape:
        sizes = f"{ids.shape[1]}x{ids.shape[0]} and {values.shape[1]}x{values.shape[0]}"
        raise ImageError("its maps of classes and of objects have other sizes", sizes)
    objects = []
    marked = np.where(ids == VOID, 0, ids).astype(np.int32)
    for key, place in enumerate(find_objects(marked), 1):
        if place is None:
            continue
        window = marked[place] == key
        counts = np.bincount(values[place][window], minlength=256)[: len(CLASSES) + 1]
        counts[BACKGROUND] = 0
        if not counts.any():
            raise ImageError(
                "its map of objects has an object where that of classes has none", f"object {key}"
            )
        rows, columns = place
        size = (ids.shape[0], ids.shape[1])
        objects.append(
            {
                "category_id": int(counts.argmax()),
                "bbox": [columns.start, rows.start, window.shape[1], window.shape[0]],
                "area": int(window.sum()),
                "iscrowd": 0,
                "segmentation": encode_window(window, columns.start, rows.start, size),
            }
        )
    return objects


def read_boxes(data: bytes, size: tuple[int, int]) -> list[Annotation]:
    """The boxes of an annotation XML for an image of (height, width) `size`.

    VOC counts pixels from 1 and a box's last ones belong to it.  Objects marked difficult, which VOC's
    evaluation does not count, become crowd regions, which COCO's does not count either.  Raises ImageError.
    """
    objects = []
    for node in parse_xml(data).iter("object"):
        name, box = node.findtext("name", ""), node.find("bndbox")
        try:
            sides = (
                [float(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax")]
                if box is not None
                else []
            )
            left, top, right, bottom = sides
        except ValueError:
            raise ImageError("its XML has an object without a box of four numbers", name) from None
        if name not in CLASSES:
            raise ImageError("its XML has a class that VOC does not have", name)
        left, top = max(left - 1, 0.0), max(top - 1, 0.0)
        width, height = min(right, size[1]) - left, min(bottom, size[0]) - top
        if not (width > 0 and height > 0):
            raise ImageError("its XML has a box without an area in the image", name)
        objects.append(
            {
                "category_id": CLASSES.index(name) + 1,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": int(node.findtext("difficult", "0").strip() == "1"),
            }
        )
    return objects


class _Builder(ElementTree.TreeBuilder):
    """Elements of a file without a document type, which alone can declare entities."""

    def doctype(self, *_: str | None) -> None:
        raise ImageError("its XML has declarations (<!DOCTYPE ...), which no annotation needs")


def parse_xml(data: bytes) -> ElementTree.Element:
    """The root of an XML file.  Raises ImageError for damage, and for entities, which can grow endlessly."""
    try:
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=_Builder()))
    except ImageError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ImageError("its XML is damaged", str(error)) from None


def _decode_classes(data: bytes) -> NDArray[np.uint8]:
    return _decode_mat(data, "GTcls")


def _decode_mat(data: bytes, name: str) -> NDArray[np.uint8]:
    """The field Segmentation of the struct `name` in a MATLAB file of SBD.  Raises ImageError."""
    try:
        content: Any = loadmat(io.BytesIO(data), variable_names=[name])
        values = np.asarray(content[name]["Segmentation"][0, 0])
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        problem = f"its MATLAB file has no {name}.Segmentation, or is damaged"
        raise ImageError(problem, f"{type(error).__name__}: {error}") from None
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not np.isin(values, np.arange(256)).all():
        raise ImageError(f"{name}.Segmentation in its MATLAB file is no map of values up to 255")
    return values.astype(np.uint8)
