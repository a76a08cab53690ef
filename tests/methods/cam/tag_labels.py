"""A label set of tags (and boxes) without a file, and small images for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from tests.engine.tiny_training import settings as training

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLASSES = ["background", "disc", "square"]
SIZES = {1: (24, 32), 2: (32, 24), 3: (24, 32), 4: (32, 32), 5: (24, 32)}  # (height, width)
TAGS = {1: (1,), 2: (2,), 3: (1, 2), 4: (), 5: (2,)}


@dataclass(frozen=True)
class TaggedRecord:
    id: int
    file_name: str
    width: int
    height: int
    tags: tuple[int, ...]


@dataclass(frozen=True)
class TagLabels:
    """What `SemanticLabels` offers of tags and boxes; boxes: image id -> (class, x1, y1, x2, y2) of each."""

    folder: Path
    images: dict[int, TaggedRecord]
    classes: list[str] = field(default_factory=lambda: list(CLASSES))
    given: dict[int, list[tuple[float, ...]]] = field(default_factory=dict)
    background: bool = True

    def boxes(self, image_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = np.array(self.given.get(image_id, []), dtype=np.float32).reshape(-1, 5)
        return rows[:, 0].astype(np.int64), rows[:, 1:]

    def crowds(self, image_id: int) -> NDArray[np.float32]:
        return np.zeros((0, 4), dtype=np.float32)


def tag_labels(folder: Path, tags: dict[int, tuple[int, ...]] = TAGS) -> TagLabels:
    return TagLabels(
        folder,
        {
            key: TaggedRecord(key, f"{key}.png", SIZES[key][1], SIZES[key][0], own)
            for key, own in tags.items()
        },
    )


def write_images(folder: Path) -> ImageStore:
    """Noise with a red disc for class 1 and a blue square for class 2."""

    def images() -> Iterator[tuple[ImageRecord, bytes]]:
        draw = np.random.default_rng(0)
        for key, (height, width) in SIZES.items():
            image = draw.integers(60, 120, (height, width, 3), dtype=np.uint8)  # BGR
            if 1 in TAGS[key]:
                cv2.circle(image, (8, 8), 6, (20, 20, 250), -1)
            if 2 in TAGS[key]:
                image[-12:, -12:] = (250, 20, 20)
            yield ImageRecord(key, f"{key}.png", width, height), cv2.imencode(".png", image)[1].tobytes()

    write_zip_store(folder, images())
    return ImageStore.open(folder)


def classifier_settings(**changes: object) -> params.TagClassifier:
    values = {
        "backbone": "small",
        "frozen_stages": 0,
        "frozen_batchnorm": False,
        "map_stride": 4,
        "output_stride": 4,
        "pixel_mean": MEAN,
        "pixel_std": STD,
    }
    return params.TagClassifier.model_validate(values | changes)


def cams_row(**train: object) -> params.Cams:
    return params.Cams(
        labels="tags",
        backbone="start",
        seed=3,
        classifier=classifier_settings(),
        augmentation=params.TagAugmentation(long_side=(28, 40), horizontal_flip=0.5, crop=32),
        train=training(**train),
        inference=params.CamInference(scales=(1.0, 1.5), mirror=True, stride=1, batch_size=2, threads=1),
    )


def boundary_settings(**changes: object) -> params.BoundaryNetwork:
    values = {
        "backbone": "small",
        "output_stride": 16,
        "stride": 4,
        "tap_channels": 8,
        "tap_groups": 4,
        "pixel_mean": MEAN,
        "pixel_std": STD,
    }
    return params.BoundaryNetwork.model_validate(values | changes)


CONFIDENT = params.ConfidentLabels(
    foreground=0.3,
    background=0.05,
    certainty=0.7,
    processes=1,
    dense_crf=params.DenseCrf(
        backend="pydensecrf",
        iterations=3,
        smoothness_std=3.0,
        smoothness_weight=3.0,
        appearance_std=50.0,
        appearance_color_std=5.0,
        appearance_weight=10.0,
    ),
)


def refined_row(**train: object) -> params.RefinedCams:
    return params.RefinedCams(
        cams="cams",
        labels="tags",
        backbone="start",
        seed=3,
        confident=CONFIDENT,
        network=boundary_settings(),
        augmentation=params.BoundaryAugmentation(scale=(0.8, 1.2), horizontal_flip=0.5, crop=32),
        radius=3.0,
        train=training(**train),
        walk=params.Walk(radius=3.0, power=4.0, squarings=3, mirror=True, batch_size=2, threads=1),
        stride=1,
    )
