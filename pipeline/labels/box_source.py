"""The box label file that pseudo-labels are made for: every annotation by its id, none of them in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.masks import Size
from pipeline.errors import UserError
from pipeline.labels.json_stream import elements
from pipeline.labels.label_file import no_label_file

BOX, SMALL, CROWD = range(3)  # what an annotation is

_ROW = np.dtype([("id", "i8"), ("offset", "i8"), ("length", "i4"), ("kind", "u1")])
_IMAGE = np.dtype([("id", "i8"), ("height", "i4"), ("width", "i4")])


class BoxSource:
    """An index of the annotations in a COCO json: where each one is, and what it is.

    About 40 bytes per annotation and 24 per image stay in memory.  The file must not change meanwhile.
    """

    def __init__(self, path: Path, min_side: float) -> None:
        """min_side: boxes that are not wider and higher than this, in pixels, are too small for a mask.

        Sides are those between float32 corners, as a `LabelFile` holds them: a model must find the same boxes
        too small.

        Raises UserError when the file is missing, is not in COCO format, or has an id twice.
        """
        self.path = path
        try:
            rows = np.fromiter(_rows(path, min_side), dtype=_ROW)
            images = np.fromiter(_images(path), dtype=_IMAGE)
        except (KeyError, TypeError, ValueError) as error:
            raise no_label_file(path, error) from None
        self._images = images[np.argsort(images["id"], kind="stable")]
        order = np.argsort(rows["id"], kind="stable")
        self._rows = rows[order]
        self._place = np.empty(len(rows), dtype=np.int64)  # of each annotation of the file in _rows
        self._place[order] = np.arange(len(rows))
        ids = self._rows["id"]
        if twice := ids[1:][ids[1:] == ids[:-1]].tolist():
            raise UserError(path, "annotations", f"the id {twice[0]} occurs twice")
        self._stream = path.open("rb")

    def __len__(self) -> int:
        return len(self._rows)

    def ids(self, kind: int) -> NDArray[np.int64]:
        """Ids of all annotations that are BOX, SMALL or CROWD, in file order."""
        place = self._place[self._rows["kind"][self._place] == kind]
        return np.asarray(self._rows["id"][place], dtype=np.int64)

    def row(self, annotation_id: int) -> dict[str, Any]:
        """The annotation as it stands in the file.  Raises KeyError for an id that is not in there."""
        place = _find(self._rows["id"], annotation_id)
        self._stream.seek(int(self._rows["offset"][place]))
        row: dict[str, Any] = json.loads(self._stream.read(int(self._rows["length"][place])))
        return row

    def size(self, image_id: int) -> Size:
        """(height, width) of an image.  Raises KeyError for an id that is not in the file."""
        image = self._images[_find(self._images["id"], image_id)]
        return int(image["height"]), int(image["width"])


def _find(ids: NDArray[np.int64], wanted: int) -> int:
    place = int(np.searchsorted(ids, wanted))
    if place == len(ids) or ids[place] != wanted:
        raise KeyError(wanted)
    return place


def _rows(path: Path, min_side: float) -> Iterator[tuple[int, int, int, int]]:
    for row, offset, length in elements(path, "annotations"):
        x, y, width, height = row["bbox"]
        thin = _side(x, width) <= min_side or _side(y, height) <= min_side
        yield row["id"], offset, length, CROWD if row.get("iscrowd") else SMALL if thin else BOX


def _side(start: float, length: float) -> np.float32:
    return np.float32(start + length) - np.float32(start)


def _images(path: Path) -> Iterator[tuple[int, int, int]]:
    for image, _, _ in elements(path, "images"):
        yield image["id"], image["height"], image["width"]
