"""A user's own weak annotations as a label set: ScribbleSup's strokes, and partial label maps.

ScribbleSup (Lin et al., CVPR 2016) has one XML file per image: a `polygon` per stroke with its class as `tag`
and the `point`s, `X` and `Y` each, that the pen went through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.findings import Findings
from pipeline.data.images import leaves_folder, read_inside
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.label_png import decode_label_png
from pipeline.data.masks import Size
from pipeline.data.packs import encode_map
from pipeline.data.pixels import ImageError
from pipeline.data.voc import parse_xml
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.labels.partial_maps import Mark, draw_marks
from pipeline.labels.regions import classes_in
from pipeline.labels.strokes import even_corners, part_of
from pipeline.labels.weak_semantic import Given, generator, marked, tags_of, write_label_set
from pipeline.params.executor import Executor
from pipeline.params.semantic_labels import PartialMapFolder, ScribbleFolder

Row = dict[str, Any]

# What ScribbleSup calls the classes of VOC where it does not use their names.
SHORT_NAMES = {
    "plane": "aeroplane",
    "bike": "bicycle",
    "table": "diningtable",
    "plant": "pottedplant",
    "monitor": "tvmonitor",
}


class _Item(NamedTuple):
    """The record of an image, and the file of its labels, relative to their folder."""

    image: Row
    file: str


class _Read(NamedTuple):
    given: Given
    problem: str = ""
    detail: str = ""


def write_own_labels(
    row: ScribbleFolder | PartialMapFolder,
    root: Path,
    images: Sequence[Row],
    classes: list[str],
    background: bool,
    folder: Path,
    executor: Executor = HERE,
) -> list[str]:
    """Write the label set `folder` from each image's NAME.xml (strokes) or NAME.png (maps); returns warnings.

    root: the repository; images: records of the training images; classes: by pixel value; executor: where
    files are read.  An image whose file is missing or unusable stays in the set without labels, and is
    reported.  A file lies below the folder as its image does below that of the images, or in it without
    those folders.  Raises UserError when the folder of the files is missing, has one for no image or one for
    two; then `folder` is not changed.
    """
    source = _folder(row.path, root)
    real = os.path.realpath(source)
    read: Callable[[_Item], _Read]
    if isinstance(row, ScribbleFolder):
        kind, ending, read = "scribbles", ".xml", partial(_read_strokes, real, row, classes)
        made = {"source": "scribblesup", **row.model_dump(exclude={"processes", "path"})}
    else:
        kind, ending, read = row.kind, ".png", partial(_read_map, real, row.value_255, len(classes))
        made = {"source": "partial_maps", "value_255": row.value_255}
    items = _items(source, images, ending)
    return _write(source, kind, made, items, classes, background, read, row.processes, folder, executor)


def _folder(path: str, root: Path) -> Path:
    if problem := leaves_folder(path):
        remedy = "link the data into the repository: ln -s /where/it/is data/NAME"
        raise UserError("params.yaml", "path", f"{path!r} {problem}", remedy)
    if not (root / path).is_dir():
        raise UserError(root / path, "", "the folder is missing", "check the path in params.yaml")
    return root / path


def _write(
    source: Path,
    kind: str,
    made: Row,
    items: list[_Item],
    classes: list[str],
    background: bool,
    read: Callable[[_Item], _Read],
    processes: int,
    folder: Path,
    executor: Executor,
) -> list[str]:
    findings = Findings(source)

    def given() -> Iterator[tuple[Row, Given]]:
        results = map_images(read, items, processes, "reading labels", executor)
        for (image, _), result in zip(items, results, strict=True):
            if result.problem:
                example = f"{image['file_name']}, {result.detail}" if result.detail else image["file_name"]
                findings.add("image", "left without labels", result.problem, example)
            yield image, result.given

    write_label_set(folder, kind, made, classes, background, given())
    return findings.lines()


def _items(source: Path, images: Sequence[Row], ending: str) -> list[_Item]:
    """The images by id, each with its file, whether it exists or not."""
    items: list[_Item] = []
    owners: dict[str, str] = {}
    for image in sorted(images, key=lambda image: int(image["id"])):
        path = PurePosixPath(image["file_name"]).with_suffix(ending)
        file = str(path) if (source / path).exists() else path.name
        items.append(_Item(image, file))
        if not (source / file).exists():
            continue
        if owners.setdefault(file, image["file_name"]) != image["file_name"]:
            problem = f"is the file of {owners[file]} and of {image['file_name']}"
            raise UserError(source / file, "", problem, "put it into the folder that its image has")
    if not owners:
        remedy = f"its files must have the names of the training images, and end with {ending}"
        raise UserError(source, "", "has a file for no image of the dataset", remedy)
    return items


def _size(image: Row) -> Size:
    return image["height"], image["width"]


def _nothing(image: Row, problem: str, detail: str = "") -> _Read:
    values = np.full(_size(image), UNLABELLED, dtype=np.uint8)
    return _Read(Given([], [], encode_map(values)), problem, detail)


def _guarded(image: Row, read: Callable[[], Given]) -> _Read:
    try:
        return _Read(read())
    except ImageError as error:
        return _nothing(image, error.problem, error.detail)
    except FileNotFoundError:
        return _nothing(image, "there is no file of labels for it")
    except OSError as error:
        return _nothing(image, "its labels cannot be read", str(error.strerror))


def _read_strokes(folder: str, row: ScribbleFolder, classes: list[str], item: _Item) -> _Read:
    image = item.image

    def read() -> Given:
        strokes = strokes_of(read_inside(folder, item.file), classes, _size(image))
        marks: list[Mark] = []
        for place, (label, stroke) in enumerate(strokes):
            if row.length < 1:  # people leave corners at uneven distances
                rng = generator(row.seed, image["id"], place)
                stroke = part_of(even_corners(stroke.astype(np.float64)), row.length, rng.random())
            marks.append((label, stroke))
        rows = [{"class": label, "stroke": stroke.tolist()} for label, stroke in marks]
        return marked(draw_marks(_size(image), marks, row.radius), marks, rows)

    return _guarded(image, read)


def strokes_of(data: bytes, classes: Sequence[str], size: Size) -> list[Mark]:
    """Class and (n, 2) x, y corners of the strokes in an XML file of ScribbleSup, in its order.

    classes: names by pixel value.  Pixels are counted from 1 in the file, as the script does by which SPML's
    scribbles were made.  Corners outside the image, which some files have, are left out, and so is a stroke
    that has no other.  Raises ImageError for damage and unknown classes.
    """
    index = {name: key for key, name in reversed(list(enumerate(classes)))}
    marks: list[Mark] = []
    for node in parse_xml(data).iter("polygon"):
        tag = (node.findtext("tag") or "").strip()
        label = index.get(tag, index.get(SHORT_NAMES.get(tag, "")))
        if label is None:
            raise ImageError("its XML has a class that the dataset does not have", tag)
        try:
            corners = [[float(point.findtext(key, "")) for key in ("X", "Y")] for point in node.iter("point")]
        except ValueError:
            raise ImageError("its XML has a point that is not two numbers", tag) from None
        places = np.array(corners, dtype=np.float64).reshape(-1, 2) - 1
        inside = ((places > -0.5) & (places < np.array(size[::-1]) - 0.5)).all(1)
        if inside.any():
            marks.append((label, np.floor(places[inside] + 0.5).astype(np.int64)))
    return marks


def _read_map(folder: str, value_255: str, classes: int, item: _Item) -> _Read:
    image = item.image

    def read() -> Given:
        values = decode_label_png(read_inside(folder, item.file))
        if values.shape != _size(image):
            sizes = f"{values.shape[1]}x{values.shape[0]} and {image['width']}x{image['height']}"
            raise ImageError("its label map has another size", sizes)
        values = coded(values, classes, value_255)
        return Given(tags_of(classes_in(values)), [], encode_map(values))

    return _guarded(image, read)


def coded(values: NDArray[np.uint8], classes: int, value_255: str) -> NDArray[np.uint8]:
    """A partial map of SPML's authors in the codes of `label_codes`: above the classes all is UNLABELLED."""
    table = np.full(256, UNLABELLED, dtype=np.uint8)
    table[:classes] = np.arange(classes)
    if value_255 == "void":
        table[255] = VOID
    return table[values]
