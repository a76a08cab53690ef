"""Predictions as COCO results: ids, geometry and masks of the files, whatever the method."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.masks import decode
from pipeline.files import write_json
from pipeline.labels.label_file import Category, LabelFile
from pipeline.labels.weak import make_labels
from pipeline.methods.prediction import predict_images
from pipeline.structures import Instances, Sample

CATEGORIES = [Category(7, "cup"), Category(9, "plate")]
SIZES = {3: (20, 30), 5: (24, 16), 8: (20, 30)}  # image id -> (height, width); 8 has no object


class Filler:
    """Finds the left half of every image as a plate, and fills the given boxes."""

    module: nn.Module = nn.Identity()

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        raise NotImplementedError

    def predict(self, samples: list[Sample]) -> list[Instances]:
        self.batches.append([(sample.image.shape[1], sample.image.shape[2]) for sample in samples])
        return [self._half(*sample.original_size) for sample in samples]

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        found = []
        for sample, given in zip(samples, boxes, strict=True):
            masks = torch.zeros(len(given), *sample.original_size, dtype=torch.bool)
            for mask, (x1, y1, x2, y2) in zip(masks, given.int().tolist(), strict=True):
                mask[y1:y2, x1:x2] = True
            found.append(masks)
        return self.predict(samples), found

    def _half(self, height: int, width: int) -> Instances:
        masks = torch.zeros(1, height, width, dtype=torch.bool)
        masks[:, :, : width // 2] = True
        box = torch.tensor([[0.0, 1.0, width / 2, height]])
        return Instances(box, torch.tensor([1]), torch.tensor([0.123456789]), masks)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    def png(height: int, width: int) -> bytes:
        buffer = io.BytesIO()
        PillowImage.fromarray(np.zeros((height, width, 3), np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    write_zip_store(
        tmp_path / "val",
        [(ImageRecord(key, f"{key}.png", w, h), png(h, w)) for key, (h, w) in SIZES.items()],
    )
    return ImageStore.open(tmp_path / "val")


@pytest.fixture
def boxes(tmp_path: Path) -> LabelFile:
    def row(number: int, image: int, box: list[int]) -> dict[str, object]:
        return {"id": number, "image_id": image, "category_id": 7, "bbox": box, "iscrowd": 0, "area": 1}

    crowd = row(50, 8, [1, 1, 9, 9]) | {"iscrowd": 1}  # no object to predict a mask for
    coco = {
        "images": [
            {"id": key, "file_name": f"{key}.png", "height": h, "width": w} for key, (h, w) in SIZES.items()
        ],
        "annotations": [row(11, 5, [2, 3, 4, 5]), row(10, 3, [0, 0, 9, 9]), row(40, 5, [8, 8, 8, 8]), crowd],
        "categories": [{"id": 9, "name": "plate"}, {"id": 7, "name": "cup"}],
    }
    write_json(tmp_path / "labels.json", make_labels(coco, "boxes"))
    return LabelFile.read(tmp_path / "labels.json")


def test_results_are_in_the_terms_of_the_annotation_file(
    store: ImageStore, boxes: LabelFile, predict_settings: params.Predict
) -> None:
    method = Filler()
    settings = predict_settings.model_copy(update={"short_side": 32, "max_side": 64, "batch_size": 2})
    found, in_boxes = predict_images(
        method, store, boxes, CATEGORIES, settings, torch.device("cpu"), name="filler"
    )
    assert method.batches == [[(32, 48), (48, 32)], [(32, 48)]]
    assert [row["image_id"] for row in found] == list(SIZES)
    assert {row["category_id"] for row in found} == {9}
    for row in found:
        height, width = SIZES[row["image_id"]]
        assert row["bbox"] == [0, 1, width / 2, height - 1]
        assert row["score"] == 0.123457
        mask = decode([row["segmentation"]], (height, width))[0]
        assert mask[:, : width // 2].all()
        assert not mask[:, width // 2 :].any()
    assert [(row["annotation_id"], row["image_id"]) for row in in_boxes] == [(10, 3), (11, 5), (40, 5)]
    for row, area in zip(in_boxes, (81, 20, 64), strict=True):
        assert decode([row["segmentation"]], SIZES[row["image_id"]]).sum() == area
