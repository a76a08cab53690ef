"""Images of one bright disc per box, and a labeler small enough to learn them in seconds."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.labels.label_file import LabelFile
from pipeline.params_file import load_params

SIDE = 64
RADIUS = 12
CENTERS = {1: [(20, 20), (44, 40)], 2: [(30, 34)], 3: [(16, 44), (40, 16)]}  # image id -> (x, y)


def disc(center: tuple[int, int]) -> NDArray[np.bool_]:
    """(SIDE, SIDE) bool."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside: NDArray[np.bool_] = (columns - center[0]) ** 2 + (rows - center[1]) ** 2 < RADIUS**2
    return inside


def make_store(folder: Path) -> ImageStore:
    def images() -> Iterator[tuple[ImageRecord, bytes]]:
        draw = np.random.default_rng(0)
        for image_id, centers in CENTERS.items():
            pixels = draw.integers(20, 40, (SIDE, SIDE, 3), dtype=np.uint8)
            for center in centers:
                pixels[disc(center)] += np.array([150, 100, 20], dtype=np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            yield ImageRecord(image_id, f"{image_id}.png", SIDE, SIDE), stream.getvalue()

    write_zip_store(folder, images())
    return ImageStore.open(folder)


def make_boxes(path: Path, extra: list[dict[str, Any]] | None = None) -> LabelFile:
    """The discs' boxes as a box label file; annotation ids are 10 * image id + place."""
    rows = [
        {
            "id": 10 * image_id + place,
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "area": 4 * RADIUS**2,
        }
        | {"bbox": [x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS]}
        for image_id, centers in CENTERS.items()
        for place, (x, y) in enumerate(centers)
    ]
    content = {
        "info": {"kind": "boxes", "left_out": {}},
        "images": [{"id": key, "file_name": f"{key}.png", "width": SIDE, "height": SIDE} for key in CENTERS],
        "annotations": rows + (extra or []),
        "categories": [{"id": 1, "name": "disc"}],
    }
    path.write_text(json.dumps(content))
    return LabelFile.read(path)


def settings(root: Path, **changes: Any) -> tuple[params.Mal, params.AutoLabeler, params.Labeling]:
    """The demo's, smaller and without refinement; changes: of the training."""
    demo = load_params(root / "presets" / "demo.yaml")
    mal, model = demo.methods["mal"], demo.models["autolabeler_small"]
    assert isinstance(mal, params.Mal)
    assert isinstance(model, params.AutoLabeler)
    train = mal.train.model_copy(update={"steps": 60, "batch_size": 4, "warmup_steps": 5, **changes})
    mal = mal.model_copy(update={"train": train, "mil_warmup": 5, "crf_warmup": 10})
    model = model.model_copy(update={"crop_size": 32, "hidden_channels": 16, "out_channels": 16})
    return mal, model, demo.predict.labeling.model_copy(update={"batch_size": 2, "refine": "none"})
