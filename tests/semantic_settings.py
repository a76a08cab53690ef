"""Parameters of small trainings of semantic segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.data.semantic_samples import SemanticImages
from tests.engine import tiny_training

CLASSES = 3
SIDE = 48


def pixel_embedding(**changes: Any) -> params.PixelEmbedding:
    values: dict[str, Any] = {
        "architecture": "pixel_embedding",
        "backbone": "small",
        "head": "pyramid",
        "embedding_channels": 8,
        "frozen_stages": 0,
        "frozen_statistics": False,
        "batchnorm_momentum": 3e-4,
        "pixel_mean": (123.675, 116.28, 103.53),
        "pixel_std": (58.395, 57.12, 57.375),
    }
    return params.PixelEmbedding.model_validate(values | changes)


def augmentation(**changes: Any) -> params.SemanticAugmentation:
    values: dict[str, Any] = {
        "scale_range": (0.5, 1.5),
        "horizontal_flip": 0.5,
        "swapped_classes": (),
        "crop": (SIDE, SIDE),
        "grey_probability": 0.0,
        "blur_probability": 0.0,
        "blur_sigma": (0.1, 5.0),
    }
    return params.SemanticAugmentation.model_validate(values | changes)


def training(**changes: Any) -> params.Training:
    values: dict[str, Any] = {
        "optimizer": "caffe_sgd",
        "learning_rate": 0.03,
        "weight_decay": 5e-4,
        "norm_weight_decay": 5e-4,
        "schedule": "poly_or_warmup",
        "warmup_start": 0.1,
        "clip_norm": 0.0,
        "batch_size": 4,
        "steps": 8,
    }
    settings: params.Training = tiny_training.settings(**(values | changes))
    return settings


def relation(concentration: float, weight: float) -> dict[str, float]:
    return {"concentration": concentration, "weight": weight}


def spml(train: dict[str, Any] | None = None, **changes: Any) -> params.Spml:
    values: dict[str, Any] = {
        "kind": "spml",
        "annotation": relation(6.0, 1.0),
        "cooccurrence": relation(8.0, 0.3),
        "similarity": relation(16.0, 0.1),
        "affinity": relation(12.0, 0.0),
        "affinity_threshold": 0.95,
        "skip_untagged": False,
        "similarity_location": True,
        "color_features": False,
        "joint_weight": 1.0,
        "grid": 3,
        "iterations": 5,
        "memory_steps": 2,
        "joint_classifier": True,
        "dropout": 0.5,
        "train": training(**(train or {})),
        "augmentation": augmentation(),
    }
    return params.Spml.model_validate(values | changes)


def densepose(**changes: Any) -> params.Spml:
    """The variant of DensePose, with its affinity term on."""
    values: dict[str, Any] = {
        "cooccurrence": relation(8.0, 0.0),
        "affinity": relation(12.0, 0.5),
        "similarity_location": False,
        "color_features": True,
        "joint_weight": 0.1,
        "memory_steps": 0,
        "joint_classifier": False,
    }
    return spml(**(values | changes))


def classifier(train: dict[str, Any] | None = None, **changes: Any) -> params.PixelClassifier:
    values: dict[str, Any] = {
        "kind": "pixel_classifier",
        "dropout": 0.0,
        "train": training(**(train or {})),
        "augmentation": augmentation(),
    }
    return params.PixelClassifier.model_validate(values | changes)


def supervised(train: dict[str, Any] | None = None, **changes: Any) -> params.SupervisedSemantic:
    values: dict[str, Any] = {
        "kind": "supervised_semantic",
        "dropout": 0.0,
        "train": training(**(train or {})),
        "augmentation": augmentation(),
    }
    return params.SupervisedSemantic.model_validate(values | changes)


def inference(**changes: Any) -> params.SemanticInference:
    values: dict[str, Any] = {"scales": (1.0,), "mirror": True, "crop": 48, "stride": 48}
    return params.SemanticInference.model_validate(values | changes)


def walk(**changes: Any) -> params.RandomWalk:
    values: dict[str, Any] = {"stride": 8, "sharpness": 5.0, "power": 20, "squarings": 2}
    return params.RandomWalk.model_validate(values | changes)


def retrieval(**changes: Any) -> params.Retrieval:
    values: dict[str, Any] = {
        "grid": 4,
        "iterations": 5,
        "neighbours": 3,
        "memory_scales": (1.0,),
        "scales": (1.0,),
        "mirror": True,
        "floor": 0.15,
    }
    return params.Retrieval.model_validate(values | changes)


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (48, 64, 3) of a red square, odd ones, or a green one on blue, and its classes (48, 64)."""
    rng = np.random.default_rng(index)
    top, left = rng.integers(0, 24, 2)
    labels = np.zeros((48, 64), np.uint8)
    labels[top : top + 20, left : left + 24] = 2 - index % 2
    colors = np.array([[40, 40, 160], [180, 40, 40], [40, 170, 40]])
    pixels = colors[labels] + rng.integers(-20, 21, (48, 64, 3))
    return pixels.astype(np.uint8), labels


def write_scenes(folder: Path, count: int = 6) -> None:
    """Pictures, their label maps, partial ones (a dot of each class) and regions, of images 1 to `count`."""
    pictures, full, partial, regions = [], [], [], []
    for index in range(1, count + 1):
        pixels, labels = scene(index)
        dots = np.full_like(labels, UNLABELLED)
        for label in np.unique(labels):
            ys, xs = np.nonzero(labels == label)
            middle = len(ys) // 2
            dots[max(ys[middle] - 2, 0) : ys[middle] + 3, max(xs[middle] - 2, 0) : xs[middle] + 3] = label
        cells = np.arange(48)[:, None] // 12 * 8 + np.arange(64) // 12
        png = bytes(cv2.imencode(".png", pixels[..., ::-1])[1])
        pictures.append((ImageRecord(index, f"{index}.png", 64, 48), png))
        full.append((index, encode_map(labels)))
        partial.append((index, encode_map(np.where(labels == dots, dots, UNLABELLED).astype(np.uint8))))
        regions.append((index, encode_map((cells * 2 + (labels > 0)).astype(np.uint16))))
    write_zip_store(folder / "images", pictures)
    for name, maps in (("full", full), ("partial", partial), ("regions", regions)):
        write_pack(folder / name, maps, {})


def images(
    folder: Path,
    labels: str = "partial",
    with_regions: bool = True,
    settings: params.SemanticAugmentation | None = None,
    seed: int = 0,
) -> SemanticImages:
    """The samples of `write_scenes`."""
    maps = Pack(folder / labels)
    return SemanticImages(
        ImageStore.open(folder / "images"),
        maps,
        {index: [2 - index % 2] for index in maps.ids},
        Pack(folder / "regions") if with_regions else None,
        settings or augmentation(),
        CLASSES,
        seed,
    )
