"""The clustering score over boxes: what counts, and that masks lie where their crops do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from pipeline.data.masks import encode
from pipeline.labels.label_file import Category
from pipeline.methods import bundle
from pipeline.methods.build import build_labeler
from pipeline.methods.mal.crops import placed_crop
from pipeline.methods.mal.separation import _cropped, measure_separation, over_seeds
from tests.methods.mal.toy_labeling import CENTERS, SIDE, disc, make_boxes, make_store, settings


@pytest.fixture
def figures(root: Path, tmp_path: Path) -> Any:
    mal, network, labeling = settings(root)
    torch.manual_seed(0)
    method = build_labeler(mal, network, epoch_steps=1)
    bundle.save_bundle(tmp_path / "model", method.module, mal, network, [Category(1, "disc")], 3)
    store, boxes = make_store(tmp_path / "val"), make_boxes(tmp_path / "boxes.json")

    def measure(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return measure_separation(
            tmp_path / "model",
            store,
            boxes,
            {"annotations": rows},
            labeling,
            device=torch.device("cpu"),
            name="mal",
        )

    return measure


def rows() -> list[dict[str, Any]]:
    return [
        {"id": 10 * image_id + place, "segmentation": encode(disc(center)[None])[0]}
        for image_id, centers in CENTERS.items()
        for place, center in enumerate(centers)
    ]


def test_boxes_with_two_sides_count(figures: Any) -> None:
    found = figures(rows())
    assert (found["boxes"], found["without_mask"], found["one_sided"]) == (5, 0, 0)
    assert 0 < found["clustering_score"] < 4


def test_a_box_without_a_mask_or_with_one_side_does_not_count(figures: Any) -> None:
    changed = rows()
    del changed[0]["segmentation"]
    changed[1]["segmentation"] = encode(np.zeros((1, SIDE, SIDE), dtype=bool))[0]
    found = figures(changed)
    assert (found["boxes"], found["without_mask"], found["one_sided"]) == (3, 1, 1)


def test_nothing_to_count_is_no_score(figures: Any) -> None:
    assert figures([])["clustering_score"] is None


def test_the_score_over_seeds_is_their_mean() -> None:
    counts = {"boxes": 5, "without_mask": 1, "one_sided": 0}
    found = over_seeds({1: {"clustering_score": 0.6, **counts}, 0: {"clustering_score": 0.4, **counts}})
    assert found == {"clustering_score": 0.5, **counts, "seeds": {"0": 0.4, "1": 0.6}}
    nothing = over_seeds({0: {"clustering_score": None, **counts}})
    assert (nothing["clustering_score"], nothing["seeds"]) == (None, {"0": None})


def test_a_mask_is_cropped_where_its_image_is() -> None:
    """A crop that leaves the image: the mask seen through it is the bright part of the image."""
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[2:12, 0:9] = 255
    crop = placed_crop(pixels, np.array([0, 2, 9, 12], dtype=np.float32), 32, 0.6, 1, 1)
    rle = coco_mask.encode(np.asfortranarray((pixels[..., 0] > 0).astype(np.uint8)))
    mask = _cropped({"size": [20, 30], "counts": rle["counts"].decode()}, crop)
    seen = crop.image[0].numpy() > 127
    assert crop.region[0] < 0
    assert (mask.astype(bool) != seen).mean() < 0.02
