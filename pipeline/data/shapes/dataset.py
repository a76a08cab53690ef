"""The dataset `shapes`: scenes of two disjoint splits, drawn in parallel, written as a prepared/ folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline import params
from pipeline.data.images import ImageRecord, write_zip_store
from pipeline.data.masks import areas, encode, extents
from pipeline.data.prepare import write_split, write_summary
from pipeline.data.shapes.outlines import class_names
from pipeline.data.shapes.scene import generate_scene

# Second entry of every seed: whatever the first is, no split ever holds a scene of another.
STREAMS = {"train": 0, "val": 1, "pretraining": 2, "pretraining_val": 3}

Drawn = tuple[bytes, list[dict[str, Any]]]  # PNG file, annotations that lack id and image_id


def generate(shapes: params.Shapes, out: Path) -> dict[str, Any]:
    """Draw the dataset and write `out`: <split>/images.json and zips, annotations, summary.json.

    The bytes depend on train, val, size, seed and hard alone, and a larger split starts with the images
    of a smaller one.  Returns the summary.
    """
    splits = {"train": shapes.train, "val": shapes.val}
    annotated = {split: _write(shapes, split, count, out) for split, count in splits.items()}
    return write_summary(out, annotated, [])


def generate_split(shapes: params.Shapes, split: str, count: int) -> Iterator[Drawn]:
    """Yield the first `count` scenes of a split in order, drawn by `shapes.processes` processes."""
    draw = partial(_draw, shapes.seed, STREAMS[split], shapes.size, shapes.hard)
    if shapes.processes == 1:
        yield from map(draw, range(count))
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads the caller runs.
    with ProcessPoolExecutor(shapes.processes, get_context("spawn"), _start_worker) as pool:
        yield from pool.map(draw, range(count), chunksize=16)


def _start_worker() -> None:
    """One thread each; Ctrl-C reaches all processes of a terminal, and the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _draw(seed: int, stream: int, size: int, hard: bool, index: int) -> Drawn:
    scene = generate_scene((seed, stream, index), size, hard)
    rles = encode(scene.masks)
    annotations = [
        {"category_id": int(label) + 1, "segmentation": rle, "bbox": box, "area": area, "iscrowd": 0}
        for label, rle, box, area in zip(
            scene.labels, rles, extents(rles).tolist(), areas(rles).tolist(), strict=True
        )
    ]
    return _png(scene.image), annotations


def _png(image: NDArray[np.uint8]) -> bytes:
    """Fast compression: noise hardly compresses, however long one tries."""
    _, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(data)


def _write(shapes: params.Shapes, split: str, count: int, out: Path) -> dict[str, Any]:
    """Write the images and the annotations of one split; returns the annotations."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def stored() -> Iterator[tuple[ImageRecord, bytes]]:
        drawn = generate_split(shapes, split, count)
        progress = tqdm(drawn, f"drawing {split}", count, unit="image", disable=None)
        for image_id, (data, rows) in enumerate(progress, 1):
            record = ImageRecord(image_id, f"{image_id:06d}.png", shapes.size, shapes.size)
            images.append(
                {
                    "id": record.id,
                    "file_name": record.file_name,
                    "width": record.width,
                    "height": record.height,
                }
            )
            for row in rows:
                annotations.append({**row, "id": len(annotations) + 1, "image_id": image_id})
            yield record, data

    write_zip_store(out / split, stored())
    names = class_names(shapes.hard)
    coco = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in enumerate(names, 1)],
    }
    write_split(out, split, coco)
    return coco
