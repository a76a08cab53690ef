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
from pydantic import ValidationError
from torch import nn

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.engine.loop import fit
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.methods.mal import crops
from tests.engine.tiny_training import settings as training
from tests.labeling_settings import RELEASED

SIZES = {1: (60, 80), 2: (40, 50), 3: (10, 10)}  # (height, width); image 3 has no annotation
BOXES = {
    11: (1, [10, 10, 30, 20]),
    12: (1, [0, 0, 20, 20]),
    13: (2, [5.5, 4.25, 30, 30]),
    14: (2, [5, 5, 2, 30]),  # too thin, and too small
    15: (2, [5, 5, 10, 10]),  # 100 square pixels: not more than min_area
    16: (1, [0, 0, 50, 50]),  # 2500: not less than max_area
}


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    draw = np.random.default_rng(0)

    def images() -> Any:
        for key, (height, width) in SIZES.items():
            pixels = draw.integers(0, 256, (height // 5, width // 5, 3), dtype=np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).resize((width, height)).save(stream, format="PNG")
            yield ImageRecord(key, f"{key}.png", width, height), stream.getvalue()

    write_zip_store(tmp_path / "train", images())
    return ImageStore.open(tmp_path / "train")


def labels(folder: Path, boxes: dict[int, tuple[int, list[float]]] = BOXES, **changes: Any) -> LabelFile:
    value = {
        "info": {"kind": "boxes"},
        "images": [
            {"id": key, "file_name": f"{key}.png", "width": width, "height": height}
            for key, (height, width) in SIZES.items()
        ],
        "annotations": [
            {"id": key, "image_id": image, "category_id": 5, "bbox": box, "area": 1, "iscrowd": 0}
            for key, (image, box) in boxes.items()
        ],
        "categories": [{"id": 5, "name": "thing"}],
        **changes,
    }
    (folder / "labels.json").write_text(json.dumps(value))
    return LabelFile.read(folder / "labels.json")


def mal(augmentation: dict[str, Any] | None = None, **changes: Any) -> params.Mal:
    values = {
        "kind": "mal",
        "min_area": 100.0,
        "max_area": 2500.0,
        "min_side": 2.0,
        "test_expand": 0.6,
        "mil_weight": 4.0,
        "crf_weight": 0.5,
        "mil_warmup": 0,
        "crf_warmup": 0,
        "mean_field": {"kernel": 3, "zeta": 0.1, "iterations": 1, "clamp": (0.1, 0.9)},
        "teacher_momentum": 0.996,
        "teacher_start": "copy",
        "augmentation": {
            "expand_min": 0.0,
            "expand_max": 1.2,
            "horizontal_flip": 0.5,
            "jitter": (0.4, 0.4, 0.2, 0.1),
            "jitter_probability": 0.5,
            "grey_probability": 0.2,
            "blur_probability": 0.5,
            "blur_radius": (0.1, 2.0),
        }
        | (augmentation or {}),
        "train": training(),
    }
    return params.Mal.model_validate(values | changes)


STILL = {
    "expand_max": 0.0,
    "horizontal_flip": 0.0,
    "jitter_probability": 0.0,
    "grey_probability": 0.0,
    "blur_probability": 0.0,
}


def same(one: crops.CropSample | crops.PlacedCrop, two: crops.CropSample | crops.PlacedCrop) -> bool:
    return all(
        torch.equal(value, vars(two)[name]) if isinstance(value, torch.Tensor) else value == vars(two)[name]
        for name, value in vars(one).items()
    )


def test_a_sample_is_one_box(store: ImageStore, tmp_path: Path) -> None:
    dataset = crops.BoxCrops(store, labels(tmp_path), mal(STILL), 24, 0)
    assert len(dataset) == 3
    sample = dataset[0, 7]
    assert (sample.image_id, sample.annotation_id, sample.area) == (1, 11, 600.0)
    for image in (sample.student, sample.teacher):
        assert (image.shape, image.dtype) == ((3, 24, 24), torch.uint8)
    # Without a margin the region is the box and the pixel that is added at the far ends.
    cut = Image.fromarray(store.read(1)[10:31, 10:41]).resize((24, 24), Image.Resampling.BICUBIC)
    assert torch.equal(sample.teacher, torch.from_numpy(np.array(cut)).permute(2, 0, 1))
    assert torch.equal(sample.student, sample.teacher)
    assert (sample.box.shape, sample.box.dtype) == ((24, 24), torch.uint8)
    assert sample.box.all()
    assert dataset[2, 0].area == 900.0


def test_small_large_and_thin_boxes_are_counted(store: ImageStore, tmp_path: Path) -> None:
    """All limits are strict: boxes 14, 15 and 16 lie on them."""
    dataset = crops.BoxCrops(store, labels(tmp_path), mal(), 16, 0)
    counts = dataset.counts
    assert (counts.used, counts.thin, counts.small, counts.large, counts.dropped) == (3, 1, 1, 1, 3)
    used = {dataset[index, 0].annotation_id for index in range(len(dataset))}
    assert used == {11, 12, 13}
    wider = crops.BoxCrops(store, labels(tmp_path), mal(min_area=99.9, max_area=2500.1, min_side=1.9), 16, 0)
    assert (wider.counts.used, wider.counts.small) == (5, 1)
    assert wider.announcement == "1 of 6 boxes are left out: 1 of at most min_area 99.9 square pixels"
    every = crops.BoxCrops(store, labels(tmp_path), mal(min_area=1.0, max_area=1e9, min_side=1.0), 16, 0)
    assert every.announcement == ""


def test_nothing_left_says_what_was_dropped_and_why(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"labels\.json: none of its 6 boxes can be trained on:"
        r" 1 at most min_side 2 pixels wide or high, 4 of at most min_area 2000 square pixels,"
        r" 1 of at least max_area 2400 square pixels; change",
    ):
        crops.BoxCrops(store, labels(tmp_path), mal(min_area=2000.0, max_area=2400.0), 16, 0)
    with pytest.raises(UserError, match="no image has an annotation"):
        crops.BoxCrops(store, labels(tmp_path, {}), mal(), 16, 0)


def test_a_sample_depends_on_seed_draw_and_index_alone(store: ImageStore, tmp_path: Path) -> None:
    one, two = (crops.BoxCrops(store, labels(tmp_path), mal(), 16, 3) for _ in range(2))
    two = pickle.loads(pickle.dumps(two))
    two[2, 1]
    assert same(one[0, 5], two[0, 5])
    other = crops.BoxCrops(store, labels(tmp_path), mal(), 16, 4)
    assert not same(one[0, 5], other[0, 5])
    assert not same(one[0, 5], one[0, 6])
    assert not torch.equal(one[0, 5].teacher, one[1, 5].teacher)


def test_a_flip_turns_both_images_and_the_box(store: ImageStore, tmp_path: Path) -> None:
    box = {1: (1, [2.0, 10.0, 30.0, 20.0])}  # reaches out of the image, where the crop wraps round
    plain, turned = (
        crops.BoxCrops(
            store, labels(tmp_path, box), mal(STILL | {"expand_max": 1.2, "horizontal_flip": chance}), 32, 0
        )
        for chance in (0.0, 1.0)
    )
    for draw in range(5):
        one, two = plain[0, draw], turned[0, draw]
        for name in ("student", "teacher", "box"):
            assert torch.equal(getattr(one, name).flip(-1), getattr(two, name))


@pytest.mark.parametrize("chance", ["jitter_probability", "grey_probability", "blur_probability"])
def test_the_student_alone_is_disturbed(store: ImageStore, tmp_path: Path, chance: str) -> None:
    still, moved = (
        crops.BoxCrops(
            store, labels(tmp_path), mal(STILL | {"blur_radius": (1.0, 2.0), chance: probability}), 24, 0
        )
        for probability in (0.0, 1.0)
    )
    students = [moved[0, draw].student for draw in range(3)]
    for draw, student in enumerate(students):
        sample = still[0, draw]
        assert torch.equal(moved[0, draw].teacher, sample.teacher)
        assert not torch.equal(student, sample.teacher)
        if chance == "grey_probability":
            assert torch.equal(student[0], student[1])
            luma = (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * sample.teacher).sum(0)
            assert (student[0] - luma).abs().max() <= 1
        if chance == "blur_probability":
            assert student.float().diff().abs().sum() < sample.teacher.float().diff().abs().sum()
    if chance != "grey_probability":
        assert not torch.equal(students[0], students[1])


@pytest.mark.parametrize("probability", [0.2, 0.5])
def test_each_disturbance_comes_as_often_as_set(
    store: ImageStore, tmp_path: Path, probability: float
) -> None:
    grey = crops.BoxCrops(store, labels(tmp_path), mal(STILL | {"grey_probability": probability}), 8, 0)
    students = [grey[0, draw].student for draw in range(300)]
    share = np.mean([torch.equal(student[0], student[1]) for student in students])
    assert share == pytest.approx(probability, abs=0.1)


def chroma(image: torch.Tensor) -> torch.Tensor:
    return (image.amax(0) - image.amin(0)).mean()


@pytest.mark.parametrize(("index", "changed"), enumerate(("brightness", "contrast", "saturation", "hue")))
def test_jitter_keeps_within_its_strength(
    store: ImageStore, tmp_path: Path, index: int, changed: str
) -> None:
    jitter = [0.0] * 4
    jitter[index] = 0.25
    still = crops.BoxCrops(store, labels(tmp_path), mal(STILL), 24, 0)[0, 0].teacher.float()
    moving = mal(STILL | {"jitter": tuple(jitter), "jitter_probability": 1.0})
    dataset = crops.BoxCrops(store, labels(tmp_path), moving, 24, 0)
    students = [dataset[0, draw].student.float() for draw in range(20)]
    measure = {"brightness": torch.mean, "contrast": torch.std}.get(changed, chroma)
    spreads = [float(measure(student) / measure(still)) for student in students]
    if changed == "hue":  # value and chroma stay, but for rounding through 8 bits
        assert spreads == pytest.approx([1.0] * 20, abs=0.05)
        assert max(float((student - still).abs().mean()) for student in students) > 10
    else:
        assert 0.7 < min(spreads) < 0.9
        assert 1.1 < max(spreads) < 1.3


def test_moving_a_sample_keeps_what_it_is(store: ImageStore, tmp_path: Path) -> None:
    device = torch.device("meta")
    sample = crops.BoxCrops(store, labels(tmp_path), mal(), 16, 0)[0, 0]
    moved = sample.to(device)
    assert {moved.student.device, moved.teacher.device, moved.box.device} == {device}
    assert (moved.area, moved.image_id, moved.annotation_id) == (600.0, 1, 11)


def test_prediction_crops_are_all_but_the_thinnest_in_order(store: ImageStore, tmp_path: Path) -> None:
    dataset = crops.LabelingCrops(store, labels(tmp_path), mal(), 24)
    found = [dataset[index] for index in range(len(dataset))]
    assert [crop.annotation_id for crop in found] == [11, 12, 16, 13, 15]
    assert [crop.image_id for crop in found] == [1, 1, 1, 2, 2]
    # 30 x 20 at (10, 10): 0.3 of half a side at either end, and the pixel that is added at the far ends.
    assert found[0].region == (5, 7, 46, 34)
    assert (found[0].size, found[0].area) == ((60, 80), 600.0)
    assert found[0].image.shape == (3, 24, 24)
    # Box 12 lies in a corner: the crop shows the opposite side there, the box mask does not.
    assert found[1].region == (-3, -3, 24, 24)
    assert not found[1].box[:2].any()
    assert not found[1].box[:, :2].any()
    assert found[1].image[:, :2].any()


def test_an_image_is_decoded_once_for_its_boxes(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = ImageStore.read
    monkeypatch.setattr(ImageStore, "read", lambda self, key: (reads.append(key), read(self, key))[1])
    dataset = crops.LabelingCrops(store, labels(tmp_path), mal(), 24)
    for index in range(len(dataset)):
        dataset[index]
    assert reads == [1, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_prediction_crops_come_in_batches(store: ImageStore, tmp_path: Path, workers: int) -> None:
    dataset = crops.LabelingCrops(store, labels(tmp_path), mal(), 24)
    labeling = RELEASED.model_copy(update={"batch_size": 2, "workers": workers})
    batches = list(crops.read_crops(dataset, [0, 2, 3, 4], labeling, "label"))
    assert [[crop.annotation_id for crop in batch] for batch in batches] == [[11, 16], [13, 15]]
    assert all(same(crop, dataset[index]) for crop, index in zip(batches[1], [3, 4], strict=True))


@pytest.mark.parametrize("kind", ["train", "test"])
def test_labels_that_do_not_fit_the_images_are_refused(store: ImageStore, tmp_path: Path, kind: str) -> None:
    def first(labels: LabelFile) -> object:
        if kind == "train":
            return crops.BoxCrops(store, labels, mal(), 16, 0)[0, 0]
        return crops.LabelingCrops(store, labels, mal(), 16)[0]

    other = [{"id": key, "file_name": f"{key}.png", "width": 90, "height": 90} for key in SIZES]
    with pytest.raises(UserError, match=r"image 1: is for \[height, width\] \[90, 90\]"):
        first(labels(tmp_path, images=other))
    other.append({"id": 9, "file_name": "9.png", "width": 90, "height": 90})
    with pytest.raises(UserError, match=r"image 9: is not in"):
        first(labels(tmp_path, images=other))


def test_grouping_or_repeating_crops_is_refused() -> None:
    with pytest.raises(ValidationError, match="group_by_aspect must be false"):
        mal(train=training(group_by_aspect=True))
    with pytest.raises(ValidationError, match="repeat_threshold must be 0"):
        mal(train=training(repeat_threshold=0.1))


class Brightness:
    """Learns the mean brightness of a crop: what the engine needs to train on `CropSample`s."""

    def __init__(self) -> None:
        self.module: nn.Module = nn.Linear(3 * 8 * 8, 1)
        self.seen: list[int] = []

    def losses(self, batch: list[crops.CropSample], step: int) -> dict[str, torch.Tensor]:
        self.seen += [sample.annotation_id for sample in batch]
        inputs = torch.stack([sample.student.flatten() / 255 for sample in batch])
        return {"loss_square": (self.module(inputs)[:, 0] - inputs.mean(1)).square().mean()}

    def after_step(self, step: int) -> None:
        pass


def test_the_engine_trains_on_crops(
    store: ImageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = Brightness()
    dataset = crops.BoxCrops(store, labels(tmp_path), mal(), 8, 0)
    recipe = training(duration="epochs", steps=2, warmup_steps=1, batch_size=2)
    result = fit(method, dataset, recipe, seed=0, checkpoint=tmp_path / "c", key="k", name="crops")
    assert [row["step"] for row in result.history] == [3]
    assert sorted(method.seen) == [11, 11, 12, 12, 13, 13]
    assert "crops: 3 of 6 boxes are left out: 1 at most min_side 2 pixels wide" in capsys.readouterr().err
