"""Cityscapes (arXiv 1604.01685) in its own layout: images, and instances as values of 16-bit PNG files.

    leftImg8bit/SPLIT/CITY/FRAME_leftImg8bit.png
    gtFine/SPLIT/CITY/FRAME_gtFine_instanceIds.png

A pixel of the k-th object of a class has the value 1000 * class + k.  A value below 1000 is a class itself:
of pixels without objects, or of a group in which nobody could tell the objects apart.
"""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from pipeline.data.coco import CheckedCoco
from pipeline.data.coco_images import FileReport, check_file
from pipeline.data.findings import Findings
from pipeline.data.images import ImageRecord, read_inside
from pipeline.data.masks import encode_window
from pipeline.data.pixels import ImageError
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.params import Executor

# The classes that are evaluated as objects.  29 and 30, caravan and trailer, have objects, too, but are not.
THINGS = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
CLASSES = range(34)  # of pixels
WITH_OBJECTS = range(24, 34)
GROUPS_BELOW = 1000

_IMAGE, _INSTANCES = "_leftImg8bit.png", "_gtFine_instanceIds.png"

Annotation = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """One frame: its image, or the problem with that or the annotation; and its objects and groups."""

    image: FileReport
    objects: tuple[Annotation, ...] = ()


def read_cityscapes(
    images: Path, annotations: Path, processes: int, executor: Executor = HERE
) -> CheckedCoco:
    """Read and check a split of Cityscapes; every file is read once.

    processes, executor: where; see map_images.

    images, annotations: the folders SPLIT below leftImg8bit and gtFine.  Images are numbered from 1 in the
    order of their names, those that cannot be used among them; the id of an annotation is 100 000 times that
    of its image plus its value in the file.  Groups are crowd regions.  Images that cannot be used are left
    out and reported.  Raises UserError when a folder is missing or no frame can be used.
    """
    names, findings = _frame_names(images, annotations)
    check = partial(read_frame, os.path.realpath(images), os.path.realpath(annotations))
    frames = map_images(check, names, processes, "checking images", executor)
    records: list[tuple[ImageRecord, int]] = []
    rows: list[Annotation] = []
    for image_id, (name, frame) in enumerate(zip(names, frames, strict=True), 1):
        if frame.image.problem:
            example = f"{name}, {frame.image.detail}" if frame.image.detail else name
            findings.add("image", "left out", frame.image.problem, example)
            continue
        record = ImageRecord(image_id, name, frame.image.width, frame.image.height)
        records.append((record, frame.image.crc32))
        rows += [{**row, "id": 100_000 * image_id + row["id"], "image_id": image_id} for row in frame.objects]
    if not records:
        raise UserError(images, "", f"none of its images can be used: {' | '.join(findings.lines())}")
    coco = {
        "info": {},
        "images": [asdict(record) for record, _ in records],
        "annotations": rows,
        "categories": [{"id": key, "name": name} for key, name in THINGS.items()],
    }
    return CheckedCoco(coco, records, findings.lines())


def _frame_names(images: Path, annotations: Path) -> tuple[list[str], Findings]:
    """CITY/FRAME_leftImg8bit.png of all frames, sorted, and findings on annotations without an image."""
    for needed in (images, annotations):
        if not needed.is_dir():
            remedy = "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip in one folder"
            raise UserError(needed, "", "the folder is missing", remedy)
    names, findings = _names(images, _IMAGE), Findings(images)
    if not names:
        raise UserError(images, "", f"holds no CITY/*{_IMAGE}", "check the path in params.yaml")
    known = {name.removesuffix(_IMAGE) for name in names}
    for name in _names(annotations, _INSTANCES):
        if name.removesuffix(_INSTANCES) not in known:
            findings.add("annotation file", "left out", f"there is no *{_IMAGE} for it", name)
    return names, findings


def _names(folder: Path, ending: str) -> list[str]:
    """CITY/FILE of every file with that ending, sorted; hidden ones are not Cityscapes'."""
    found = folder.glob(f"*/*{ending}")
    return sorted(f"{path.parent.name}/{path.name}" for path in found if not path.name.startswith("."))


def read_frame(images: str, annotations: str, name: str) -> Frame:
    """Read one frame; an unusable one is reported, not raised.

    images, annotations: the real paths of the two folders; name: the image's, below the first.
    """
    image = check_file(images, name)
    if image.problem:
        return Frame(image)
    try:
        ids = decode_ids(read_inside(annotations, name.removesuffix(_IMAGE) + _INSTANCES))
        if ids.shape != (image.height, image.width):
            sizes = f"{ids.shape[1]}x{ids.shape[0]} and {image.width}x{image.height}"
            raise ImageError("its annotation has another size", sizes)
        return Frame(image, tuple(find_instances(ids)))
    except ImageError as error:
        report = FileReport(problem=error.problem, detail=error.detail)
    except FileNotFoundError:
        report = FileReport(problem=f"there is no *{_INSTANCES} for it")
    except OSError as error:
        report = FileReport(problem="its annotation cannot be read", detail=str(error.strerror))
    return Frame(report)


def decode_ids(data: bytes) -> NDArray[np.uint16]:
    """(H, W) uint16 values of a 16-bit grey PNG.  Raises ImageError for any other file."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "I;16":
                raise ImageError("its annotation is not a 16-bit grey PNG", f"Pillow's mode {image.mode}")
            return np.asarray(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise ImageError("its annotation is no PNG, or incomplete or damaged", str(error)) from None


def find_instances(ids: NDArray[np.uint16]) -> list[Annotation]:
    """The objects and groups of THINGS in an image of (H, W) values, by value, which is their id.

    Masks are compressed RLE of exactly the pixels with the value.  Raises ImageError for values that
    Cityscapes does not have.
    """
    areas = np.bincount(ids.ravel())
    values = np.flatnonzero(areas).tolist()
    if unknown := [value for value in values if not _is_known(value)]:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        shown = f"{', '.join(map(str, unknown[:3]))}{more}"
        raise ImageError("its annotation has values that are no ids of Cityscapes", shown)
    places = find_objects(ids.astype(np.int32))
    return [
        _annotation(ids, value, int(areas[value]), *places[value - 1])
        for value in values
        if _class(value) in THINGS
    ]


def _class(value: int) -> int:
    return value if value < GROUPS_BELOW else value // 1000


def _is_known(value: int) -> bool:
    return value in CLASSES if value < GROUPS_BELOW else _class(value) in WITH_OBJECTS


def _annotation(ids: NDArray[np.uint16], value: int, area: int, rows: slice, columns: slice) -> Annotation:
    window = ids[rows, columns] == value
    return {
        "id": value,
        "category_id": _class(value),
        "bbox": [columns.start, rows.start, window.shape[1], window.shape[0]],
        "area": area,
        "iscrowd": int(value < GROUPS_BELOW),
        "segmentation": encode_window(window, columns.start, rows.start, (ids.shape[0], ids.shape[1])),
    }
