"""Training and prediction samples."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.data.dataset import LabelledImages, PlainImages
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.masks import encode
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.params import Augmentation

SIZES = {1: (20, 30), 2: (24, 16), 3: (10, 10)}  # (height, width); image 3 has no annotation
STILL = Augmentation(
    short_sides=(10,),
    max_side=100,
    scale_range=(1.0, 1.0),
    horizontal_flip=0.0,
    vertical_flip=0.0,
    transpose=0.0,
    crop=(),
    pad_value=0,
    colors="as_they_are",
)
MOVING = STILL.model_copy(update={"short_sides": (10, 16), "horizontal_flip": 0.5, "transpose": 0.5})


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    def images() -> Any:
        for key, (height, width) in SIZES.items():
            stream = io.BytesIO()
            Image.fromarray(np.full((height, width, 3), 40 * key, np.uint8)).save(stream, format="PNG")
            yield ImageRecord(key, f"{key}.png", width, height), stream.getvalue()

    write_zip_store(tmp_path / "train", images())
    return ImageStore.open(tmp_path / "train")


def labels(folder: Path, kind: str = "masks", **changes: Any) -> LabelFile:
    rows = []
    for key, image in ((11, 1), (12, 1), (13, 2)):
        height, width = SIZES[image]
        mask = np.zeros((1, height, width), dtype=bool)
        mask[0, 2:10, 4:12] = True
        row = {"id": key, "image_id": image, "category_id": 5, "bbox": [4, 2, 8, 8], "area": 64, "iscrowd": 0}
        rows.append({**row, "segmentation": encode(mask)[0]} if kind == "masks" else row)
    value = {
        "info": {"kind": kind},
        "images": [
            {"id": key, "file_name": f"{key}.png", "width": width, "height": height}
            for key, (height, width) in SIZES.items()
        ],
        "annotations": rows,
        "categories": [{"id": 5, "name": "thing"}],
        **changes,
    }
    (folder / "labels.json").write_text(json.dumps(value))
    return LabelFile.read(folder / "labels.json")


def test_a_sample_has_what_the_label_file_says(store: ImageStore, tmp_path: Path) -> None:
    dataset = LabelledImages(store, labels(tmp_path), STILL, 0)
    assert len(dataset) == 2
    np.testing.assert_allclose(dataset.aspect_ratios, [1.5, 16 / 24])
    assert [classes.tolist() for classes in dataset.classes] == [[0, 0], [0]]
    sample = dataset[0, 0]
    assert (sample.image_id, sample.original_size) == (1, (20, 30))
    assert sample.image.shape == (3, 10, 15)
    assert sample.image.dtype == torch.uint8
    assert (sample.image == 40).all()
    assert sample.target.boxes.tolist() == [[2, 1, 6, 5]] * 2
    assert sample.target.labels.tolist() == [0, 0]
    assert sample.target.masks is not None
    assert sample.target.masks.dtype == torch.bool
    assert sample.target.masks.sum((1, 2)).tolist() == [16, 16]


def test_box_labels_give_no_masks(store: ImageStore, tmp_path: Path) -> None:
    assert LabelledImages(store, labels(tmp_path, "boxes"), STILL, 0)[0, 0].target.masks is None


def test_a_sample_depends_on_seed_draw_and_index_alone(store: ImageStore, tmp_path: Path) -> None:
    def look(seed: int, draw: int) -> tuple[torch.Size, list[list[float]]]:
        sample = LabelledImages(store, labels(tmp_path), MOVING, seed)[0, draw]
        return sample.image.shape, sample.target.boxes.tolist()

    assert look(3, 8) == look(3, 8)
    assert len({str(look(3, draw)) for draw in range(40)}) == 8  # 2 sizes, flipped or not, transposed or not
    assert [look(3, draw) for draw in range(9)] != [look(4, draw) for draw in range(9)]


def test_using_a_sample_does_not_change_the_next(store: ImageStore, tmp_path: Path) -> None:
    dataset = LabelledImages(store, labels(tmp_path), STILL.model_copy(update={"short_sides": (20,)}), 0)
    first = dataset[0, 0]
    first.image.as_subclass(Tensor).zero_()
    first.target.boxes.as_subclass(Tensor).zero_()
    assert (dataset[0, 0].image == 40).all()
    assert dataset[0, 0].target.boxes.tolist() == [[4, 2, 12, 10]] * 2


def test_a_pickled_dataset_gives_the_same_samples(store: ImageStore, tmp_path: Path) -> None:
    dataset = LabelledImages(store, labels(tmp_path), MOVING, 0)
    sample, again = dataset[1, 5], pickle.loads(pickle.dumps(dataset))[1, 5]
    assert torch.equal(sample.image, again.image)
    assert torch.equal(sample.target.boxes, again.target.boxes)


def test_no_annotation_is_refused(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.json: no image has an annotation"):
        LabelledImages(store, labels(tmp_path, annotations=[]), STILL, 0)


@pytest.mark.parametrize(
    ("account", "says"),
    [
        (
            {"empty": [11, 12, 13], "too_small": [14]},
            r"all 3 masks of the pseudo-labels weak are empty.*; change thresholds or refine in"
            r" pseudo_labels\.weak\.labeling",
        ),
        (
            {"empty": [], "too_small": [14, 15]},
            r"the pseudo-labels weak have no mask: .* \(2 are too small\); annotate the train images with",
        ),
    ],
)
def test_empty_pseudo_labels_are_no_missing_annotations(
    store: ImageStore, tmp_path: Path, account: dict[str, list[int]], says: str
) -> None:
    folder = tmp_path / "weak"
    folder.mkdir()
    rows = [
        {"id": key, "image_id": 1, "category_id": 5, "bbox": [4, 2, 8, 8], "area": 64, "iscrowd": 0}
        | {"segmentation": encode(np.zeros((1, *SIZES[1]), dtype=bool))[0]}
        for key in account["empty"]
    ]
    info = {"kind": "masks", "source": "pseudo", "account": account}
    with pytest.raises(UserError, match=says):
        LabelledImages(store, labels(folder, annotations=rows, info=info), STILL, 0)


def test_labels_of_other_images_are_refused(store: ImageStore, tmp_path: Path) -> None:
    images = [{"id": 9, "file_name": "9.png", "width": 4, "height": 4}]
    with pytest.raises(UserError, match=r"labels\.json: image 9: is not in"):
        LabelledImages(store, labels(tmp_path, annotations=[], images=images), STILL, 0)


def test_labels_of_another_size_are_refused(store: ImageStore, tmp_path: Path) -> None:
    images = [{"id": key, "file_name": f"{key}.png", "width": 32, "height": 32} for key in SIZES]
    with pytest.raises(UserError, match=r"image 1: is for \[height, width\] \[32, 32\].*\[20, 30\]"):
        LabelledImages(store, labels(tmp_path, "boxes", images=images), STILL, 0)[0, 0]


def test_plain_images_are_all_images_without_targets(store: ImageStore) -> None:
    dataset = PlainImages(store, 10, 12)
    assert [dataset[index].image_id for index in range(len(dataset))] == [1, 2, 3]
    sample = dataset[0]
    assert sample.image.shape == (3, 8, 12)
    assert sample.original_size == (20, 30)
    assert sample.target.boxes.shape == (0, 4)
    assert len(sample.target.labels) == 0
