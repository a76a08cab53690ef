"""An over-segmentation of every image of a split, as a pack of region ids."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import decode, encode_map
from pipeline.engine.lock import discard, only_process
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.models.hed import load_hed
from pipeline.priors.contours import ContourMap, built_in_contours, gradient_contours, read_contours
from pipeline.priors.hed_contours import hed_contours
from pipeline.priors.oversegmentation import oversegment


def write_segments(
    store: ImageStore,
    settings: params.Segments,
    out: Path,
    *,
    checkpoint: Path,
    key: str,
    name: str,
    root: Path = Path(),
    executor: params.Executor = HERE,
) -> dict[str, Any]:
    """Over-segment all images of `store` and write the pack `out`, (H, W) uint16 ids from 0 per image.

    The pack's `about`, which is returned: `images`, and the `fewest`, `mean` and `most` regions of an image.
    checkpoint: a folder for this work alone, from which one that was killed goes on to the same bytes, as
    long as `key` (a hash of all that matters) is the same; root: what paths in `settings` are relative to;
    executor: see map_images.  Raises UserError for contour files or weights that are missing or do not fit.
    """
    _check(store, settings.contours, root)
    with only_process(checkpoint, name, "over-segmenting these images"):
        writer = PackWriter((record.id for record in store.records), checkpoint, key)
        left = set(writer.remaining)
        remaining = [record for record in store.records if record.id in left]
        segment = partial(_segment, store, settings, root)
        made = map_images(segment, remaining, settings.processes, f"over-segment {name}", executor)
        for record, png in zip(remaining, made, strict=True):
            writer.add(record.id, png)
        about = _account([int(decode(data).max()) + 1 for _, data in writer.members()])
        writer.finish(out, about)
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
    return root / contours.path / PurePosixPath(record.file_name).with_suffix(".png")


def _segment(store: ImageStore, settings: params.Segments, root: Path, record: ImageRecord) -> bytes:
    contours = contours_of(store.read(record.id), record, settings.contours, root)
    return encode_map(oversegment(contours, settings))


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


def _account(counts: list[int]) -> dict[str, Any]:
    if not counts:
        return {"images": 0, "fewest": 0, "mean": 0.0, "most": 0}
    mean = round(sum(counts) / len(counts), 1)
    return {"images": len(counts), "fewest": min(counts), "mean": mean, "most": max(counts)}
