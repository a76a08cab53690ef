"""Images with label maps, checked from end to end: what the readers of semantic datasets have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.coco import CheckedCoco
from pipeline.data.coco_images import FileReport, check_file
from pipeline.data.findings import Findings
from pipeline.data.images import ImageRecord
from pipeline.data.label_codes import VOID
from pipeline.data.masks import Size
from pipeline.data.packs import encode_map, write_pack
from pipeline.data.pixels import ImageError
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.params import Executor

Annotation = dict[str, Any]


class Scene(NamedTuple):
    """An image to check: its file below the images folder, and what its reader needs to find the labels.

    size: (height, width) that a record of the image says, where the labels are made at that size.
    """

    file_name: str
    labels: Any
    size: Size | None = None


class Labelled(NamedTuple):
    """(H, W) uint8 label map of classes and VOID, and objects: COCO annotations without ids."""

    values: NDArray[np.uint8]
    objects: list[Annotation]


# Reads the labels of a scene.  Raises ImageError or OSError for unusable ones.  Picklable.
ReadLabels = Callable[[Any], Labelled]


@dataclass(frozen=True)
class Split:
    """A checked split: the COCO dict, and how the label map of each image is read again.

    pixels: (256,) pixels of every value in all label maps; images: (256,) images that have the value.
    """

    checked: CheckedCoco
    read: ReadLabels
    labels: list[tuple[int, Any]]
    pixels: NDArray[np.int64]
    images: NDArray[np.int64]

    def write_maps(
        self, folder: Path, about: dict[str, Any], processes: int, executor: Executor = HERE
    ) -> None:
        """Write the label maps as a pack.  executor: where they are read.

        Raises UserError when a file has changed since the check.
        """
        encode = partial(_encode, self.read)
        maps = map_images(encode, self.labels, processes, f"storing {folder.name} maps", executor)
        write_pack(folder, maps, about)


class _Report(NamedTuple):
    image: FileReport
    objects: list[Annotation]
    counts: NDArray[np.int64]


def check_scenes(
    images: Path,
    scenes: Sequence[Scene],
    read: ReadLabels,
    categories: list[dict[str, Any]],
    classes: int,
    processes: int,
    source: object,
    executor: Executor = HERE,
) -> Split:
    """Decode every image and its label map once, on `processes` processes.

    Images are numbered from 1 in the order of `scenes`, those that cannot be used among them, which are left
    out and reported; so are, as values that are no class, those from `classes` to 254.  source: what to name
    in the reports; executor: where images are decoded.  Raises UserError when the images folder is
    missing or no image can be used.
    """
    if not images.is_dir():
        raise UserError(images, "", "the images folder is missing", "check the path in params.yaml")
    check = partial(_check, os.path.realpath(images), read, classes)
    reports = map_images(check, scenes, processes, "checking images", executor)
    findings = Findings(source)
    records: list[tuple[ImageRecord, int]] = []
    rows: list[Annotation] = []
    labels: list[tuple[int, Any]] = []
    pixels, with_value = np.zeros((2, 256), dtype=np.int64)
    for image_id, (scene, report) in enumerate(zip(scenes, reports, strict=True), 1):
        if report.image.problem:
            detail = f", {report.image.detail}" if report.image.detail else ""
            findings.add("image", "left out", report.image.problem, scene.file_name + detail)
            continue
        record = ImageRecord(image_id, scene.file_name, report.image.width, report.image.height)
        records.append((record, report.image.crc32))
        labels.append((image_id, scene.labels))
        pixels += report.counts
        with_value += report.counts > 0
        for row in report.objects:
            rows.append({**row, "id": len(rows) + 1, "image_id": image_id})
    if not records:
        raise UserError(source, "", f"none of its images can be used: {' | '.join(findings.lines())}")
    coco = {
        "info": {},
        "images": [asdict(record) for record, _ in records],
        "annotations": rows,
        "categories": categories,
    }
    return Split(CheckedCoco(coco, records, findings.lines()), read, labels, pixels, with_value)


def _check(images: str, read: ReadLabels, classes: int, scene: Scene) -> _Report:
    image, nothing = check_file(images, scene.file_name), np.zeros(256, dtype=np.int64)
    if image.problem:
        return _Report(image, [], nothing)
    try:
        if scene.size not in (None, (image.height, image.width)):  # before labels of such a size are made
            raise ImageError("its record has another size", _sizes(scene.size, image))
        labelled = read(scene.labels)
        if labelled.values.shape != (image.height, image.width):
            raise ImageError("its label map has another size", _sizes(labelled.values.shape, image))
        counts = np.bincount(labelled.values.ravel(), minlength=256)
        if unknown := (np.flatnonzero(counts[classes:VOID]) + classes).tolist():
            shown = ", ".join(map(str, unknown[:3])) + (" and more" if len(unknown) > 3 else "")
            raise ImageError("its label map has values that are no classes", shown)
        return _Report(image, labelled.objects, counts)
    except ImageError as error:
        report = FileReport(problem=error.problem, detail=error.detail)
    except FileNotFoundError:
        report = FileReport(problem="there is no label map for it")
    except OSError as error:
        report = FileReport(problem="its labels cannot be read", detail=str(error.strerror))
    return _Report(report, [], nothing)


def _sizes(size: tuple[int, ...], image: FileReport) -> str:
    return f"{size[1]}x{size[0]} and {image.width}x{image.height}"


def _encode(read: ReadLabels, item: tuple[int, Any]) -> tuple[int, bytes]:
    image_id, labels = item
    try:
        return image_id, encode_map(read(labels).values)
    except (ImageError, OSError) as error:
        raise UserError(
            "labels", f"image {image_id}", f"cannot be read any more: {error}", "run the same command again"
        ) from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without blanks around them; empty ones are left out.

    Raises UserError when it is missing, no text or has none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise UserError(path, "", problem, "check the path in params.yaml") from None
    except UnicodeDecodeError:
        raise UserError(path, "", "is not UTF-8 text", "write one image per line") from None
    kept = [line.strip() for line in lines if line.strip()]
    if not kept:
        raise UserError(path, "", "names no image", "write one image per line")
    return kept
