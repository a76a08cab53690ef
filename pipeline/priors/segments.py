"""An over-segmentation of every image of a split, as a pack of region ids."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore
from pipeline.data.packs import encode_map, write_pack
from pipeline.engine.lock import discard, only_process
from pipeline.engine.parallel import map_images
from pipeline.errors import UserError
from pipeline.labels.shards import Shards
from pipeline.models.hed import load_hed
from pipeline.priors.contours import ContourMap, built_in_contours, gradient_contours, read_contours
from pipeline.priors.hed_contours import hed_contours
from pipeline.priors.oversegmentation import oversegment

SHARD_IMAGES = 100  # what a kill loses at most


class _Made(NamedTuple):
    image_id: int
    segments: int
    png: bytes


def write_segments(
    store: ImageStore,
    settings: params.Segments,
    out: Path,
    *,
    checkpoint: Path,
    key: str,
    name: str,
    root: Path = Path(),
) -> dict[str, Any]:
    """Over-segment all images of `store` and write the pack `out`, (H, W) uint16 ids from 0 per image.

    The pack's `about`, which is returned: `images`, and the `fewest`, `mean` and `most` regions of an image.
    checkpoint: a folder for this work alone, from which one that was killed goes on to the same bytes, as
    long as `key` (a hash of all that matters) is the same; root: what paths in `settings` are relative to.
    Raises UserError for contour files or weights that are missing or do not fit.
    """
    _check(store, settings.contours, root)
    with only_process(checkpoint, name, "over-segmenting these images"):
        shards = Shards(checkpoint, key)
        counts = {made.image_id: made.segments for made in map(_parse, shards.lines())}
        remaining = [record for record in store.records if record.id not in counts]
        pending: list[str] = []
        segment = partial(_segment, store, settings, root)
        for made in map_images(segment, remaining, settings.processes, f"over-segment {name}"):
            counts[made.image_id] = made.segments
            pending.append(_line(made))
            if len(pending) == SHARD_IMAGES:
                shards.append(pending)
                pending = []
        if pending:
            shards.append(pending)
        about = _account(list(counts.values()))
        write_pack(out, ((made.image_id, made.png) for made in map(_parse, shards.lines())), about)
    discard(checkpoint)
    return about


def contours_of(
    image: NDArray[np.uint8], record: ImageRecord, contours: params.Contours, root: Path
) -> ContourMap:
    """The contour map of an (H, W, 3) uint8 RGB image."""
    match contours.kind:
        case "built_in":
            return built_in_contours(image, contours)
        case "gradient":
            return gradient_contours(image, contours)
        case "hed":
            return hed_contours(image, root / contours.path)
        case "files":
            return read_contours(_contour_file(record, contours, root), (record.height, record.width))


def _contour_file(record: ImageRecord, contours: params.ContourFiles, root: Path) -> Path:
    return root / contours.folder / PurePosixPath(record.file_name).with_suffix(".png")


def _segment(store: ImageStore, settings: params.Segments, root: Path, record: ImageRecord) -> _Made:
    image = store.read(record.id)
    ids = oversegment(contours_of(image, record, settings.contours, root), settings)
    return _Made(record.id, int(ids.max()) + 1, encode_map(ids))


def _check(store: ImageStore, contours: params.Contours, root: Path) -> None:
    """Find out before hours of work what is missing; a file's size is checked when its turn comes."""
    if contours.kind == "hed":
        load_hed(root / contours.path)
    if contours.kind == "files":
        missing = [
            file
            for file in (_contour_file(record, contours, root) for record in store.records)
            if not file.is_file()
        ]
        if missing:
            problem = f"file not found (the first of {len(missing)})"
            raise UserError(
                missing[0], "", problem, "every image needs a contour map: a grey PNG of its name"
            )


def _line(made: _Made) -> str:
    return f"{made.image_id} {made.segments} {base64.b64encode(made.png).decode('ascii')}"


def _parse(line: str) -> _Made:
    image_id, segments, data = line.split(" ")
    return _Made(int(image_id), int(segments), base64.b64decode(data))


def _account(counts: list[int]) -> dict[str, Any]:
    if not counts:
        return {"images": 0, "fewest": 0, "mean": 0.0, "most": 0}
    mean = round(sum(counts) / len(counts), 1)
    return {"images": len(counts), "fewest": min(counts), "mean": mean, "most": max(counts)}
