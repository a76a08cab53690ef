"""A student and a teacher that train in milliseconds, on scenes of 32 pixels, for tests to vary."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.masks import encode
from pipeline.labels.label_file import LabelFile
from pipeline.labels.unlabelled import write_unlabelled
from pipeline.methods.build import build_method
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.methods.mean_teacher.pairs import Pairs
from pipeline.params_file import load_params
from tests.mask2former_settings import small_mask2former

SIDE = 32
IMAGES = 9  # ids 1 to 9, of which 1 to 4 have labels
LABELLED = 4
STEPS = 8
BURN_IN = 3
MODEL = small_mask2former(hidden_channels=32, heads=2, decoder_layers=1, decoder_ffn_channels=32, queries=5)
# Anything the untrained teacher says is a label, so that every step has some.
GENEROUS = params.PseudoMasks(class_threshold=0.0, area_threshold=0.0, drop_empty=False)


def settings(root: Path, kind: str = "guided_distillation", **changes: Any) -> params.Taught:
    """The demo's of that kind, smaller; changes: of the method, or `train`: of the training."""
    method = load_params(root / "presets" / "demo.yaml").methods[kind]
    assert isinstance(method, params.Taught)
    train = {"steps": STEPS, "batch_size": 2, "warmup_steps": 1, "checkpoint_every": 3, "log_every": 2}
    augmentation = method.augmentation.model_copy(update={"short_sides": (SIDE,), "max_side": SIDE})
    return method.model_copy(
        update={
            "burn_in": BURN_IN,
            "teacher_momentum": 0.9,
            "pseudo_masks": GENEROUS,
            "train": method.train.model_copy(update=train | changes.pop("train", {})),
            "augmentation": augmentation,
            **changes,
        }
    )


def make_method(root: Path, settings: params.Taught, seed: int = 0) -> MeanTeacher:
    """Two classes; the student's and the teacher's weights are drawn from `seed`, and differ."""
    torch.manual_seed(seed)
    predict = load_params(root / "presets" / "demo.yaml").predict
    method = build_method(settings, MODEL, 2, predict, seed)
    assert isinstance(method, MeanTeacher)
    method.networks.teacher.load_state_dict(
        build_method(settings, MODEL, 2, predict, seed).module.student.state_dict()  # type: ignore[union-attr]
    )
    return method


def make_store(folder: Path) -> ImageStore:
    """Noise with a bright square, whose place and brightness are the image's own."""

    def images() -> Iterator[tuple[ImageRecord, bytes]]:
        draw = np.random.default_rng(0)
        for image_id in range(1, IMAGES + 1):
            pixels = draw.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
            pixels[square(image_id)] += np.uint8(90 + 10 * image_id)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            yield ImageRecord(image_id, f"{image_id}.png", SIDE, SIDE), stream.getvalue()

    write_zip_store(folder, images())
    return ImageStore.open(folder)


def square(image_id: int) -> np.ndarray:
    """(SIDE, SIDE) bool."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[image_id : image_id + 14, 2 * image_id : 2 * image_id + 12] = True
    return mask


def make_labels(folder: Path, unlabelled: range = range(1, IMAGES + 1)) -> tuple[LabelFile, Path]:
    """Masks of the first images, alternately of two classes, and the list of images without labels."""
    rows = [
        {
            "id": 10 * image_id,
            "image_id": image_id,
            "category_id": 1 + image_id % 2,
            "iscrowd": 0,
            "area": 168,
            "bbox": [2 * image_id, image_id, 12, 14],
            "segmentation": encode(square(image_id)[None])[0],
        }
        for image_id in range(1, LABELLED + 1)
    ]
    content = {
        "info": {"kind": "masks"},
        "images": [
            {"id": key, "file_name": f"{key}.png", "width": SIDE, "height": SIDE}
            for key in range(1, LABELLED + 1)
        ],
        "annotations": rows,
        "categories": [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(content))
    write_unlabelled(folder / "unlabelled.json", unlabelled)
    return LabelFile.read(folder / "labels.json"), folder / "unlabelled.json"


def make_pairs(folder: Path, settings: params.Taught, seed: int = 0, taught_from: int = 0) -> Pairs:
    """The pairs of a store and a label set that are made in `folder`."""
    labels, unlabelled = make_labels(folder / "labels")
    return Pairs(make_store(folder / "train"), labels, unlabelled, settings, seed, taught_from)
