"""A BoxTeacher that trains in milliseconds, on scenes of 32 pixels, for tests to vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pipeline import params
from pipeline.labels.label_file import LabelFile
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.box_teacher.views import TwoViews
from pipeline.methods.build import build_method
from pipeline.params_file import load_params
from tests.taught_settings import IMAGES, SIDE, make_store

STEPS = 8


def settings(root: Path, **changes: Any) -> params.BoxTeacher:
    """The demo's, smaller; changes: of the method, or `train`: of the training."""
    method = load_params(root / "presets" / "demo.yaml").methods["box_teacher"]
    assert isinstance(method, params.BoxTeacher)
    train = {"steps": STEPS, "batch_size": 2, "warmup_steps": 1, "checkpoint_every": 3, "log_every": 2}
    augmentation = method.augmentation.model_copy(update={"short_sides": (SIDE,), "max_side": SIDE})
    return method.model_copy(
        update={
            "warmup": 4,
            "teacher": params.TeacherView(short_side=SIDE, max_side=SIDE),
            "iou_threshold": 0.0,  # whatever the untrained teacher finds is a mask of some box
            "train": method.train.model_copy(update=train | changes.pop("train", {})),
            "augmentation": augmentation,
            **changes,
        }
    )


def make_method(root: Path, settings: params.BoxTeacher, seed: int = 0) -> BoxTeacher:
    """Two classes; the weights are drawn from `seed`, and detections need no score."""
    torch.manual_seed(seed)
    demo = load_params(root / "presets" / "demo.yaml")
    predict = demo.predict.model_copy(update={"score_threshold": 0.0, "detections_per_image": 10})
    method = build_method(settings, demo.models["condinst_small"], 2, predict, seed)
    assert isinstance(method, BoxTeacher)
    return method


def make_boxes(folder: Path) -> LabelFile:
    """A box for each image's square, alternately of two classes."""
    rows = [
        {
            "id": 10 * image_id,
            "image_id": image_id,
            "category_id": 1 + image_id % 2,
            "iscrowd": 0,
            "area": 168,
            "bbox": [2 * image_id, image_id, 12, 14],
        }
        for image_id in range(1, IMAGES + 1)
    ]
    content = {
        "info": {"kind": "boxes"},
        "images": [
            {"id": key, "file_name": f"{key}.png", "width": SIDE, "height": SIDE}
            for key in range(1, IMAGES + 1)
        ],
        "annotations": rows,
        "categories": [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(content))
    return LabelFile.read(folder / "labels.json")


def make_views(folder: Path, settings: params.BoxTeacher, seed: int = 0) -> TwoViews:
    """The samples of a store and a label set that are made in `folder`."""
    return TwoViews(make_store(folder / "train"), make_boxes(folder / "labels"), settings, seed)
