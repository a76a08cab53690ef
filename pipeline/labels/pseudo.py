"""Pseudo-labels: masks that a model made for given boxes, as a COCO json that any trainer reads.

The record of an annotation and what becomes of the others follow section 8, step 5, of the specification of
MAL (arXiv 2301.03992): `area` is that of the box, empty masks are kept, crowd regions are copied, boxes that
are too small get no mask and are left out.  A crowd region without a mask gets that of its filled box, as
pycocotools fails on an annotation that has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.masks import Rle, areas, check_rle, encode_box
from pipeline.files import replacing
from pipeline.labels.box_source import BOX, CROWD, SMALL, BoxSource
from pipeline.labels.json_stream import List, elements, members
from pipeline.labels.shards import Shards


class Labelled(NamedTuple):
    """The mask that a model gave to an annotation's box, and how sure it is of it.

    rle: compressed, of the image's size; score: any finite number, usually in [0, 1].
    """

    annotation_id: int
    rle: Rle
    score: float


class PseudoLabels:
    """Takes masks in any number, a chunk at a time, and makes one label file of them.

    Masks go to shards in the folder `resume`; a labelling that was killed goes on after the last shard with
    the masks that remain.  Chunks are never split between shards, so a model that labels the same chunks in
    the same order gives the same bytes, killed or not.  Memory does not grow with the masks; an index of
    the boxes (some 50 bytes each) is what remains in it.
    """

    def __init__(
        self, source: Path, resume: Path, key: str, *, min_side: float, shard_boxes: int = 1000
    ) -> None:
        """source: the box label file; key: a hash of all that decides the masks; min_side: see BoxSource.

        Only the holder of the lock of `resume` may do this.  Raises UserError when `source` cannot be used.
        """
        self._source, self._shard_boxes, self._min_side = BoxSource(source, min_side), shard_boxes, min_side
        self._shards = Shards(resume, key)
        self._wanted = self._source.ids(BOX)
        self._sorted = np.sort(self._wanted)
        self._done = np.zeros(len(self._wanted), dtype=bool)  # in the order of _sorted
        self._empty: list[int] = []
        self._pending: list[str] = []
        for line in self._shards.lines():
            row = json.loads(line)
            self._claim(row["id"])
            self._note_if_empty(row)

    @property
    def remaining(self) -> NDArray[np.int64]:
        """(N,) ids of the annotations that still need a mask, in the order of the box label file."""
        missing = ~self._done[np.searchsorted(self._sorted, self._wanted)]
        return self._wanted[missing]

    def add(self, chunk: Iterable[Labelled]) -> None:
        """Store the masks of a chunk; they are on disk at the end of a shard.

        Raises ValueError (MaskError is one) for an annotation that is not in `remaining`, a mask that is
        damaged or not of its image's size, and a score that is not finite.
        """
        for annotation_id, rle, score in chunk:
            self._claim(annotation_id)
            row = self._source.row(annotation_id)
            check_rle(rle, self._source.size(row["image_id"]))
            x, y, width, height = row["bbox"]
            made = {
                "area": width * height,
                "bbox": [x, y, width, height],
                "iscrowd": 0,
                "score": float(score),
                "segmentation": {"counts": rle["counts"], "size": rle["size"]},
            }
            self._pending.append(_dump(row | made))
            self._note_if_empty(row | made)
        if len(self._pending) >= self._shard_boxes:
            self._flush()

    def finish(self, folder: Path, info: dict[str, Any]) -> dict[str, Any]:
        """Write `folder`/labels.json, and `folder`/results.json, the masks alone in COCO's results format.

        info: what made the masks (model, thresholds, ...), kept under `info` with the account that is
        returned: annotations of the box file, labelled among them, ids of those with an `empty` mask and of
        those `too_small` for one, how many crowd regions were copied, and what the box file says was left out
        of it before.  Raises ValueError while masks remain to be made.
        """
        if self._pending:
            self._flush()
        if len(rest := self.remaining):
            raise ValueError(f"{len(rest)} annotations have no mask yet, the first is {rest[0]}")
        fields = members(self._source.path)
        described = fields.get("info")
        account = {
            "annotations": len(self._source),
            "labelled": len(self._wanted),
            "empty": sorted(self._empty),
            "too_small": sorted(self._source.ids(SMALL).tolist()),
            "crowds_copied": len(self._source.ids(CROWD)),
            "left_out_before": described.get("left_out", {}) if isinstance(described, dict) else {},
        }
        stated = {"kind": "masks", "source": "pseudo", "min_side": self._min_side, "account": account}
        texts: dict[str, str | Iterator[str]] = {
            key: self._list(key) if isinstance(value, List) else _dump(value) for key, value in fields.items()
        }
        texts |= {"info": _dump({**info, **stated}), "annotations": self._annotations()}
        with replacing(folder / "labels.json") as temporary:
            _write(temporary, texts)
        with replacing(folder / "results.json") as temporary:
            _write(temporary, self._results())
        return account

    def _flush(self) -> None:
        self._shards.append(self._pending)
        self._pending = []

    def _claim(self, annotation_id: int) -> None:
        place = int(np.searchsorted(self._sorted, annotation_id))
        if place == len(self._sorted) or self._sorted[place] != annotation_id:
            raise ValueError(f"annotation {annotation_id} is no box that needs a mask")
        if self._done[place]:
            raise ValueError(f"annotation {annotation_id} has a mask already")
        self._done[place] = True

    def _note_if_empty(self, row: dict[str, Any]) -> None:
        if not areas([row["segmentation"]])[0]:
            self._empty.append(row["id"])

    def _annotations(self) -> Iterator[str]:
        yield from self._shards.lines()
        for crowd in self._source.ids(CROWD):
            row = self._source.row(int(crowd))
            filled = encode_box(row["bbox"], self._source.size(row["image_id"]))
            yield _dump({"segmentation": filled} | row)

    def _list(self, key: str) -> Iterator[str]:
        return (_dump(element.value) for element in elements(self._source.path, key))

    def _results(self) -> Iterator[str]:
        keys = ("bbox", "category_id", "image_id", "score", "segmentation")
        for line in self._shards.lines():
            row = json.loads(line)
            yield _dump({key: row[key] for key in keys})


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _write(path: Path, content: dict[str, str | Iterator[str]] | Iterator[str]) -> None:
    """Write a JSON object whose members are texts or lists of texts, by sorted key; or a list of texts."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        if isinstance(content, dict):
            for index, key in enumerate(sorted(content)):
                stream.write(f"{',' if index else '{'}{_dump(key)}:")
                text = content[key]
                stream.writelines([text] if isinstance(text, str) else _array(text))
            stream.write("}")
        else:
            stream.writelines(_array(content))
        stream.write("\n")


def _array(texts: Iterable[str]) -> Iterator[str]:
    yield "["
    for index, text in enumerate(texts):
        yield f",{text}" if index else text
    yield "]"
