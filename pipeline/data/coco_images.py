"""The image records of a COCO file against the image files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.findings import Findings
from pipeline.data.images import ImageRecord, is_inside, leaves_folder, read_inside
from pipeline.data.pixels import ImageError, decode_image
from pipeline.data.values import is_id, is_number, is_text, show, show_name
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.params import Executor

TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


@dataclass(frozen=True)
class FileReport:
    """One image file: its upright size, EXIF orientation and CRC-32, or the problem with it."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    crc32: int = 0
    problem: str = ""
    detail: str = ""


def check_image_types(path: Path, rows: list[Any]) -> None:
    """Raise UserError for records that make the whole list untrustworthy: ids and file names."""
    names: dict[int, Any] = {}
    files: dict[PurePosixPath, int] = {}
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or not is_id(row.get("id")):
            raise UserError(
                path,
                f"images[{position}]",
                f"needs an id that is a whole number of at most 64 bits, and is {show(row)}",
                "give every record a number of its own",
            )
        image_id, name = row["id"], row.get("file_name")
        if image_id in names:
            raise UserError(
                path,
                f"image {image_id}",
                f"the id occurs twice, for {show(names[image_id])} and {show(name)}",
                "number images uniquely, in the annotations too",
            )
        names[image_id] = name
        _check_name(path, image_id, name)
        _check_sides(path, row)
        if name is not None and files.setdefault(PurePosixPath(name), image_id) != image_id:
            raise UserError(
                path,
                f"images {files[PurePosixPath(name)]} and {image_id}",
                f"both name the file {show(name)}",
                "join their annotations under one image id",
            )


def clean_images(
    path: Path,
    rows: list[dict[str, Any]],
    folder: Path,
    processes: int,
    executor: Executor,
    findings: Findings,
) -> list[tuple[ImageRecord, int]]:
    """The usable images with the CRC-32 of their files, sorted by id; the others go to `findings`.

    Raises UserError when the folder is missing or a file name leads out of it through a link.
    """
    if not folder.is_dir():
        raise UserError(folder, "", "the images folder is missing", "check the path in params.yaml")
    rows, real = sorted(rows, key=lambda row: row["id"]), os.path.realpath(folder)
    for row in rows:
        if row.get("file_name") is None:
            findings.add(
                "image", "left out", "the record has no file_name and no coco_url", f"image {row['id']}"
            )
        elif not is_inside(real, row["file_name"]):
            raise UserError(
                path,
                f"image {row['id']}",
                f"{show(row['file_name'])} is a link that leaves the images folder {folder}",
                "put the image itself there",
            )
    named = [row for row in rows if row.get("file_name") is not None]
    reports = check_files(folder, [row["file_name"] for row in named], processes, executor)
    checked = [_image(row, report, findings) for row, report in zip(named, reports, strict=True)]
    return [image for image in checked if image is not None]


def check_files(
    folder: Path, names: list[str], processes: int, executor: Executor = HERE
) -> Iterator[FileReport]:
    """Read and decode every file once; reports in the order of `names`, with a progress bar."""
    check = partial(check_file, os.path.realpath(folder))
    return map_images(check, names, processes, "checking images", executor)


def check_file(folder: str, name: str) -> FileReport:
    """Read, decode and sum up one file; an unusable one is reported, not raised."""
    try:
        data = read_inside(folder, name)
        decoded = decode_image(data)
    except ImageError as error:
        return FileReport(problem=error.problem, detail=error.detail)
    except FileNotFoundError:
        return FileReport(problem="the file is missing")
    except OSError as error:
        return FileReport(problem="the file cannot be read", detail=str(error.strerror))
    height, width = decoded.pixels.shape[:2]
    return FileReport(width, height, decoded.orientation, zlib.crc32(data))


def _image(row: dict[str, Any], report: FileReport, findings: Findings) -> tuple[ImageRecord, int] | None:
    example = f"{show_name(row['file_name'])} (image {row['id']})"
    if report.problem:
        detail = f", {report.detail}" if report.detail else ""
        findings.add("image", "left out", report.problem, example + detail)
        return None
    if row.get("width") is None or row.get("height") is None:
        findings.add("image", "kept", "the record has no size, so the file's is taken", example)
    found = (report.width, report.height)
    wanted = tuple(
        size if row.get(key) is None else row[key]
        for key, size in zip(("width", "height"), found, strict=True)
    )
    if wanted != found:
        findings.add("image", "left out", *_size_problem(wanted, report, example))
        return None
    if report.orientation in (2, 3, 4) or (report.orientation in TURNED and found[0] == found[1]):
        findings.add(
            "image",
            "kept",
            "turned by its EXIF orientation; the annotations must be meant for the"
            " upright image, which its size cannot tell",
            example,
        )
    return ImageRecord(row["id"], row["file_name"], *found), report.crc32


def _size_problem(wanted: tuple[Any, ...], report: FileReport, example: str) -> tuple[str, str]:
    """Kind and example of a record whose size is not the upright size of its file."""
    sizes = f"{example}: record {wanted[0]}x{wanted[1]}, file {report.width}x{report.height}"
    if report.orientation in TURNED and wanted == (report.height, report.width):
        return (
            "the record has the size of the stored pixels, and the EXIF orientation turns them, so it is"
            " unclear for which the annotations are meant",
            sizes,
        )
    return "the size in the record is not the size of the file", sizes


def _check_name(path: Path, image_id: int, name: Any) -> None:
    if name is None:
        return  # left out later, with its annotations
    if not is_text(name):
        problem = f"file_name must be text, and is {show(name)}"
        raise UserError(path, f"image {image_id}", problem, "write the name of the file in the images folder")
    problem = leaves_folder(name)
    if problem:
        raise UserError(
            path,
            f"image {image_id}",
            f"file_name {show(name)} {problem}",
            "file names are relative to the images folder",
        )


def _check_sides(path: Path, row: dict[str, Any]) -> None:
    for key in ("width", "height"):
        if row.get(key) is not None and not is_number(row[key]):
            problem = f"{key} must be a number, and is {show(row[key])}"
            raise UserError(path, f"image {row['id']}", problem, "write its pixels without quotes")
