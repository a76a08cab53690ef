"""What LVIS (arXiv 1908.03195) has beyond COCO format: files named by URL, and what is known of an image.

Its annotators looked for some classes in each image only.  An image lists the classes that are certainly
absent (`neg_category_ids`) and those of which not every object is annotated (`not_exhaustive_category_ids`);
of any other class that it has no annotation of, nothing is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.data.values import is_id, is_text, show
from pipeline.errors import UserError

ABSENT, INCOMPLETE = LISTS = ("neg_category_ids", "not_exhaustive_category_ids")
FREQUENCIES = ("r", "c", "f")  # of a class: in at most 10 train images, at most 100, or more


def with_file_names(rows: list[Any]) -> list[Any]:
    """Image records; those without a file name get the last two parts of their `coco_url`.

    LVIS v1 names its files so alone: http://images.cocodataset.org/train2017/000000391895.jpg.  Its val has
    images of COCO's train too, so the folder belongs to the name.
    """
    return [_with_file_name(row) for row in rows]


def _with_file_name(row: Any) -> Any:
    if not isinstance(row, dict) or row.get("file_name") is not None or not is_text(row.get("coco_url")):
        return row
    return {**row, "file_name": "/".join(row["coco_url"].split("/")[-2:])}


def check_lists(path: Path, rows: list[dict[str, Any]]) -> None:
    """Raise UserError for image records whose lists of classes are no lists of ids."""
    for row in rows:
        for key in LISTS:
            value = row.get(key)
            if value is not None and not (isinstance(value, list) and all(map(is_id, value))):
                raise UserError(
                    path,
                    f"image {row['id']}",
                    f"{key} must be a list of category ids, and is {show(value)}",
                    "write the ids without quotes, [] for none",
                )


def known_classes(row: dict[str, Any]) -> dict[str, list[int]]:
    """Those of LISTS that an image record has."""
    return {key: row[key] for key in LISTS if row.get(key) is not None}


def class_frequency(row: dict[str, Any]) -> dict[str, str]:
    """The frequency of a category record, if it has one of LVIS."""
    return {"frequency": row["frequency"]} if row.get("frequency") in FREQUENCIES else {}
