"""A COCO annotation file and its image folder, checked from end to end.

Two verdicts.  What makes the file as a whole untrustworthy (no JSON, a missing list, an id that occurs
twice, a value of the wrong type, a file name that leaves its folder) is refused with a UserError.  What is
wrong with one image, annotation or mask leaves out that one and is reported.  Nothing is changed in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.coco_annotations import check_annotation_types, clean_annotations
from pipeline.data.coco_images import check_image_types, clean_images
from pipeline.data.findings import Findings
from pipeline.data.images import ImageRecord
from pipeline.data.lvis import check_lists, class_frequency, known_classes, with_file_names
from pipeline.data.user_json import read_user_json
from pipeline.data.values import is_id, is_text, show
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.params import Executor


@dataclass(frozen=True)
class CheckedCoco:
    """coco: COCO dict with ids as in the file, masks as compressed RLE, no mask where there is none usable,
    and what LVIS adds to images and categories;
    images: sorted by id, each with the CRC-32 of its file; warnings: one line per kind of finding."""

    coco: dict[str, Any]
    images: list[tuple[ImageRecord, int]]
    warnings: list[str]


def read_coco(json_path: Path, image_folder: Path, processes: int, executor: Executor = HERE) -> CheckedCoco:
    """Read and check a COCO file; every image file is read once and decoded, on `processes` processes.

    Images that cannot be used are left out with their annotations, unusable annotations by themselves, and
    of an annotation with an unusable mask the box is kept.  Raises UserError as the module says, and when
    no image, or none of the annotations, is left.
    """
    content = _load(json_path)
    categories = _categories(json_path, content["categories"])
    content["images"] = with_file_names(content["images"])
    check_image_types(json_path, content["images"])
    check_lists(json_path, content["images"])
    check_annotation_types(json_path, content["annotations"])
    findings = Findings(json_path)
    images = clean_images(json_path, content["images"], image_folder, processes, executor, findings)
    annotations = clean_annotations(content, images, {row["id"] for row in categories}, findings)
    warnings = findings.lines()
    if not images:
        raise UserError(json_path, "", f"none of its images can be used: {' | '.join(warnings)}")
    if content["annotations"] and not annotations:
        raise UserError(json_path, "", f"none of its annotations can be used: {' | '.join(warnings)}")
    known = {row["id"]: known_classes(row) for row in content["images"]}
    records = [
        {"id": record.id, "file_name": record.file_name, "width": record.width, "height": record.height}
        | known[record.id]
        for record, _ in images
    ]
    coco = {"info": {}, "images": records, "annotations": annotations, "categories": categories}
    return CheckedCoco(coco, images, warnings)


def _load(path: Path) -> dict[str, Any]:
    """The file as an object with the three lists of COCO; `images` and `categories` are not empty."""
    content = read_user_json(path)
    if not isinstance(content, dict):
        raise UserError(
            path,
            "",
            "is not in COCO format: the top level must be an object with images,"
            f" annotations and categories, and is {show(content)}",
            "give the annotation file of the data set, not a list of results",
        )
    for key in ("categories", "images", "annotations"):
        if key not in content:
            raise UserError(
                path, "", f"{key} is missing, and COCO format needs it", "add the list, [] if empty"
            )
        if not isinstance(content[key], list):
            raise UserError(path, key, f"must be a list, and is {show(content[key])}", "export it again")
        if not content[key] and key != "annotations":
            raise UserError(
                path, "", f"the data set has no {key}: the list is empty", f"add {key} to the file"
            )
    return content


def _categories(path: Path, rows: list[Any]) -> list[dict[str, Any]]:
    """Categories in the order of the file, with id, name and, if it is LVIS's, frequency."""
    seen: set[int] = set()
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or not is_id(row.get("id")):
            raise UserError(
                path,
                f"categories[{position}]",
                f"needs an id that is a whole number of at most 64 bits, and is {show(row)}",
                "give every record a number of its own",
            )
        where, name = f"category {row['id']}", row.get("name")
        if row["id"] in seen:
            raise UserError(path, where, "the id occurs twice in categories", "number categories uniquely")
        if not is_text(name) or not name.strip():
            raise UserError(path, where, f"the name must be text, and is {show(name)}", "name the category")
        seen.add(row["id"])
    return [{"id": row["id"], "name": row["name"], **class_frequency(row)} for row in rows]
