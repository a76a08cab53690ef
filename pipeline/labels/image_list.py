"""A text file that names images, one per line, as published splits come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.values import show, show_name
from pipeline.errors import UserError

# What the names of one Cityscapes frame's files end in, beside their extension.
_PARTS = ("_leftImg8bit", "_gtFine_instanceIds", "_gtFine_labelIds", "_gtFine_polygons", "_gtFine_color")
_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".json")


def read_image_list(path: Path, images: Sequence[dict[str, Any]]) -> list[int]:
    """Ids of the images that a list names, in its order.

    images: COCO image records.  A line is a `file_name`, or just its last part, whose extension may be
    missing or another one; of Cityscapes, any file of the frame names it, as *_gtFine_instanceIds.png in the
    published lists.  Empty lines are skipped.  Raises UserError, with the line, for a name that fits no image
    or several, an image that is named twice, a list without names, and what is no text.
    """
    by_name = {row["file_name"]: row for row in images}
    by_frame: dict[str, list[dict[str, Any]]] = {}
    for row in images:
        by_frame.setdefault(_frame(row["file_name"]), []).append(row)
    found: dict[int, int] = {}
    for number, line in enumerate(_lines(path), 1):
        if name := line.strip():
            rows = [by_name[name]] if name in by_name else by_frame.get(_frame(name), [])
            image_id = _one(path, number, name, rows)
            if image_id in found:
                problem = f"{show_name(name)} is the image that line {found[image_id]} names"
                raise UserError(path, f"line {number}", problem, "name every image once")
            found[image_id] = number
    if not found:
        raise UserError(path, "", "names no image", "write one file name per line")
    return list(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(path, "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(path, "", "is not UTF-8 text", "write one file name per line") from None


def _frame(name: str) -> str:
    """A file name without folder, extension and Cityscapes' endings."""
    path = PurePosixPath(name)
    frame = path.stem if path.suffix.lower() in _EXTENSIONS else path.name
    ending = next((part for part in _PARTS if frame.endswith(part)), "")
    return frame.removesuffix(ending)


def _one(path: Path, number: int, name: str, rows: list[dict[str, Any]]) -> int:
    if not rows:
        problem = f"{show(name)} is none of the training images"
        raise UserError(path, f"line {number}", problem, "write the name as it is in the dataset")
    if len(rows) > 1:
        names = " and ".join(row["file_name"] for row in rows[:2])
        problem = f"{show(name)} may be {len(rows)} images, {names} among them"
        raise UserError(path, f"line {number}", problem, "write the folder, too")
    image_id: int = rows[0]["id"]
    return image_id
