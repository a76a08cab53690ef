"""The list of unlabelled images beside a split's label file: image ids, and nothing about objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.data.values import is_id, show
from pipeline.errors import UserError
from pipeline.files import read_json, write_json


def write_unlabelled(path: Path, image_ids: Sequence[int]) -> None:
    """Write {"images": [ids]}, sorted."""
    write_json(path, {"images": sorted(image_ids)}, indent=None)


def read_unlabelled(path: Path) -> list[int]:
    """The image ids of the list, in its order.

    Raises UserError when the file is missing, holds anything but a list of ids, or an id twice.
    """
    content = read_json(path)
    ids = content.get("images") if isinstance(content, dict) else None
    if not isinstance(ids, list) or set(content) != {"images"}:
        raise UserError(path, "", 'must be {"images": [ids]}', "run `dvc repro` to make it anew")
    seen: set[int] = set()
    for value in ids:
        if not is_id(value):
            raise UserError(path, "images", f"an id must be a whole number, and one is {show(value)}")
        if value in seen:
            raise UserError(path, "images", f"the id {value} occurs twice")
        seen.add(value)
    return ids
