"""Files that previews are made of: images with their regions, maps and labels; image 2 has no tag."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.packs import encode_map, encode_scores, write_pack
from pipeline.files import write_json

SIZES = {1: (20, 30), 2: (30, 20), 3: (24, 24)}  # image id: (height, width)
TAGS: dict[int, tuple[int, ...]] = {1: (1,), 2: (), 3: (1, 2)}
CLASSES = ["background", "cat", "dog"]
FIGURES = {"images": 3, "fewest": 2, "mean": 2.5, "most": 3}


def write_store(folder: Path, sizes: dict[int, tuple[int, int]] = SIZES) -> ImageStore:
    """Grey images."""
    write_zip_store(
        folder,
        (
            (ImageRecord(key, f"{key}.png", width, height), _png(height, width))
            for key, (height, width) in sizes.items()
        ),
    )
    return ImageStore.open(folder)


def write_regions(folder: Path, sizes: dict[int, tuple[int, int]] = SIZES) -> None:
    """A left and a right half of each image."""
    halves = {key: np.zeros(size, np.uint16) for key, size in sizes.items()}
    for ids in halves.values():
        ids[:, ids.shape[1] // 2 :] = 1
    write_pack(folder, ((key, encode_map(ids)) for key, ids in halves.items()), FIGURES)


def write_cams(folder: Path, tags: dict[int, tuple[int, ...]] = TAGS) -> None:
    """Maps of a quarter of the images' size, each 0.5 everywhere."""
    write_pack(
        folder,
        (
            (key, encode_scores(np.full((len(own), SIZES[key][0] // 4, SIZES[key][1] // 4), 0.5, np.float16)))
            for key, own in tags.items()
        ),
        {"classes": CLASSES},
    )


def write_labels(folder: Path, tags: dict[int, tuple[int, ...]] = TAGS) -> None:
    """A label set as class activation maps are made into: unlabelled but for one row of background."""
    maps = {key: np.full(SIZES[key], UNLABELLED, np.uint8) for key in tags}
    for labels in maps.values():
        labels[0] = 0
    write_pack(folder / "maps", ((key, encode_map(labels)) for key, labels in maps.items()), {})
    images = [
        {
            "id": key,
            "file_name": f"{key}.png",
            "width": SIZES[key][1],
            "height": SIZES[key][0],
            "tags": list(own),
        }
        for key, own in tags.items()
    ]
    info = {"kind": "cam_tags", "figures": {"images": len(tags), "labelled": 0.25}}
    write_json(folder / "labels.json", {"info": info, "classes": CLASSES, "images": images})


def _png(height: int, width: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((height, width, 3), 90, np.uint8))[1])
