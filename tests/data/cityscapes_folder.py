"""A small folder in Cityscapes' layout, for tests that read or damage it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 24, 48
ROAD, CAR, RIDER, CARAVAN = 7, 26, 25, 29


def street() -> NDArray[np.uint16]:
    """(24, 48): road, two cars of which one is cut in two by a rider, a group of cars, a caravan."""
    ids = np.full((HEIGHT, WIDTH), ROAD, np.uint16)
    ids[2:8, 3:10] = 26000
    ids[10:20, 4:24] = 26001
    ids[8:22, 12:15] = 25000
    ids[0:4, 30:48] = CAR
    ids[12:20, 30:40] = 29000
    return ids


def frame_paths(folder: Path, split: str, frame: str) -> tuple[Path, Path]:
    """Image and annotation of CITY_SEQUENCE_FRAME."""
    city = frame.split("_")[0]
    return (
        folder / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png",
        folder / "gtFine" / split / city / f"{frame}_gtFine_instanceIds.png",
    )


def write_frame(folder: Path, split: str, frame: str, ids: NDArray[np.generic]) -> None:
    """A grey image whose level depends on the frame's name, and its annotation in the type of `ids`."""
    image, annotation = frame_paths(folder, split, frame)
    for path in (image, annotation):
        path.parent.mkdir(parents=True, exist_ok=True)
    level = sum(map(ord, split + frame)) % 256
    Image.fromarray(np.full((*ids.shape, 3), level, np.uint8)).save(image)
    Image.fromarray(ids).save(annotation)


def write_cityscapes(folder: Path) -> None:
    """Three frames of train in two cities, of which one is empty, and one of val."""
    write_frame(folder, "train", "ulm_000001_000019", street())
    write_frame(folder, "train", "ulm_000000_000019", np.full((HEIGHT, WIDTH), ROAD, np.uint16))
    write_frame(folder, "train", "bremen_000007_000019", street()[:, ::-1])
    write_frame(folder, "val", "lindau_000000_000019", street()[::-1])
