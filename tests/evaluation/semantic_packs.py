"""Random label maps in packs, to evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.data.label_codes import VOID
from pipeline.data.packs import Pack, encode_map, write_pack

NAMES = ["background", "cat", "dog", "cow", "bus"]


def blocks(rng: np.random.Generator, classes: int, height: int, width: int, side: int = 5) -> np.ndarray:
    """(H, W) uint8 of square blocks of one class each."""
    coarse = rng.integers(0, classes, (-(-height // side), -(-width // side)))
    return np.kron(coarse, np.ones((side, side), int))[:height, :width].astype(np.uint8)


def worse(rng: np.random.Generator, labels: np.ndarray, classes: int, share: float) -> np.ndarray:
    """The labels with a share of pixels redrawn, and a class in the place of codes."""
    redrawn = (rng.random(labels.shape) < share) | (labels >= classes)
    return np.where(redrawn, rng.integers(0, classes, labels.shape), labels).astype(np.uint8)


def scenes(
    seed: int, images: int = 6, classes: int = 4, share: float = 0.3
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Image id -> ground truth with some void pixels, and a prediction; sizes differ."""
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for image_id in rng.permutation(100)[:images].tolist():
        labels = blocks(rng, classes, *rng.integers(12, 40, 2))
        labels[rng.random(labels.shape) < 0.05] = VOID
        truth[image_id], found[image_id] = labels, worse(rng, labels, classes, share)
    return truth, found


def pack(folder: Path, maps: Mapping[int, np.ndarray], names: list[str] = NAMES) -> Pack:
    write_pack(folder, ((image, encode_map(labels)) for image, labels in maps.items()), {"classes": names})
    return Pack(folder)
