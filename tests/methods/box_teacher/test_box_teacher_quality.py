"""What a training keeps of its teacher's masks, and how they are compared with masks that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.tv_tensors import Mask

from pipeline import params
from pipeline.data.dataset import plain_sample
from pipeline.data.masks import decode, encode
from pipeline.data.transforms import augment
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.methods.box_teacher.kept import BATCHES, is_kept, kept_rows
from pipeline.methods.box_teacher.pseudo_masks import PseudoMasks
from pipeline.methods.box_teacher.quality import pseudo_mask_quality
from tests.box_teacher_settings import make_method, make_views, settings
from tests.taught_settings import IMAGES, SIDE, square

SEED = 5


def annotations() -> dict[str, Any]:
    """The masks of the images of `make_boxes`, in another order."""
    rows = [
        {"id": 10 * key, "image_id": key, "segmentation": encode(square(key)[None])[0]}
        for key in range(IMAGES, 0, -1)
    ]
    images = [{"id": key, "height": SIDE, "width": SIDE} for key in range(1, IMAGES + 1)]
    return {"images": images, "annotations": rows}


def save(folder: Path, taught: params.BoxTeacher, rows: list[dict[str, Any]]) -> Path:
    write_json(folder / "model.json", {"settings": taught.model_dump(mode="json")})
    write_json(folder / "pseudo_masks.json", rows)
    return folder


def augmented(root: Path, **changes: Any) -> params.BoxTeacher:
    taught = settings(root)
    return taught.model_copy(update={"augmentation": taught.augmentation.model_copy(update=changes)})


def seen_truth(image_id: int, key: tuple[int, int], taught: params.BoxTeacher) -> Tensor:
    """The true mask as a run on masks would see it in the sample of that key."""
    sample = plain_sample(np.zeros((SIDE, SIDE, 3), np.uint8), image_id)
    sample.target.masks = Mask(torch.from_numpy(square(image_id)[None]))
    index, draw = key
    seen = augment(sample, taught.augmentation, np.random.default_rng((SEED, draw, index)))
    return seen.target.required_masks().as_subclass(Tensor)


@pytest.mark.parametrize(
    ("every", "kept"), [(10, [6, 7, 8, 9, 16, 17]), (2, list(range(18))), (1, list(range(18)))]
)
def test_the_last_steps_before_a_checkpoint_are_kept(every: int, kept: list[int]) -> None:
    assert [step for step in range(18) if is_kept(step, every)] == kept
    assert BATCHES == 4


@pytest.mark.parametrize("changes", [{}, {"crop": (28, 40)}, {"short_sides": (48,), "max_side": 48}])
def test_true_masks_have_an_iou_of_100_whatever_the_geometry(
    root: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    taught = augmented(root, **changes)
    views, rows = make_views(tmp_path, taught, SEED), []
    for draw in range(6):
        item = views[draw, draw]
        masks = seen_truth(item.image_id, (draw, draw), taught)
        rows += kept_rows(0, [item], [PseudoMasks(masks, torch.tensor([0.5]))])
    folder = save(tmp_path / "model", taught, rows)
    assert pseudo_mask_quality(folder, annotations(), SEED) == [
        {"step": 3, "boxes": 6, "accepted": 100.0, "weight": 0.5, "compared": 6, "mask_iou": 100.0}
    ]
    (other,) = pseudo_mask_quality(folder, annotations(), SEED + 1)
    assert other["mask_iou"] < 90


def test_what_lies_outside_the_box_is_not_kept(root: Path, tmp_path: Path) -> None:
    """The student learns a mask cut to its box, so that is what is measured."""
    taught = augmented(root, horizontal_flip=0.0, vertical_flip=0.0, transpose=0.0)
    everywhere = PseudoMasks(torch.ones(1, SIDE, SIDE), torch.ones(1))
    (row,) = kept_rows(0, [make_views(tmp_path, taught, SEED)[0, 0]], [everywhere])
    (mask,) = decode([row["boxes"][0]["mask"]], (SIDE, SIDE))
    rows, columns = mask.nonzero()
    assert (rows.min(), rows.max()) == (1, 15), "the box is 2, 1, 12, 14, and rasterised with its last pixel"
    assert (columns.min(), columns.max()) == (2, 14)
    assert mask.sum() == 15 * 13


def test_shares_and_means_are_of_the_group_of_steps(root: Path, tmp_path: Path) -> None:
    """Half a mask, a box without, an empty one, and an object that has no mask to compare with."""
    taught = augmented(root, horizontal_flip=0.0, vertical_flip=0.0, transpose=0.0)
    views = make_views(tmp_path, taught, SEED)
    half = torch.from_numpy(square(1)[None].copy())
    half[:, :8] = False  # rows 1 to 7 of 1 to 14
    nothing = torch.zeros(1, SIDE, SIDE)
    given = [(half, 1.0), (nothing, 0.0), (nothing, 0.5), (half.float(), 0.75)]
    steps = [0, 1, 2, 3]
    rows = []
    for step, (mask, weight) in zip(steps, given, strict=True):
        labels = PseudoMasks(mask, torch.tensor([weight]))
        rows += kept_rows(step, [views[step, step]], [labels])
    truth = annotations()
    next(row for row in truth["annotations"] if row["id"] == 40)["segmentation"] = None
    first, second = pseudo_mask_quality(save(tmp_path / "model", taught, rows), truth, SEED)
    assert first == {
        "step": 3,
        "boxes": 3,
        "accepted": pytest.approx(200 / 3, abs=1e-3),
        "weight": 0.75,
        "compared": 2,
        "mask_iou": 25.0,
    }
    assert (second["step"], second["accepted"], second["compared"]) == (6, 100.0, 0)
    assert second["mask_iou"] is None
    assert pseudo_mask_quality(save(tmp_path / "none", taught, []), truth, SEED) == []


def test_annotations_of_other_images_are_refused(root: Path, tmp_path: Path) -> None:
    taught = settings(root)
    views = make_views(tmp_path, taught, SEED)
    labels = PseudoMasks(torch.zeros(1, SIDE, SIDE, dtype=torch.bool), torch.zeros(1))
    folder = save(tmp_path / "model", taught, kept_rows(0, [views[0, 0]], [labels]))
    truth = annotations()
    truth["annotations"] = truth["annotations"][:-1]
    with pytest.raises(UserError, match=r"pseudo_masks\.json: image 1: has boxes of other annotations"):
        pseudo_mask_quality(folder, truth, SEED)
    write_json(folder / "model.json", {"settings": {"kind": "boxinst"}})
    with pytest.raises(UserError, match=r"model\.json: is of the method boxinst, which has no"):
        pseudo_mask_quality(folder, truth, SEED)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"size": None}, r"0\.size: "),
        ({"key": [-1, 0]}, r"0\.key\.0: "),
        ({"boxes": [{"weight": 0.5}]}, r"0\.boxes\.0\.annotation_id: Field required"),
        ({"boxes": [{"annotation_id": 10, "weight": 0.5, "mask": {}}]}, r"row 0: the mask is not"),
        (
            {"boxes": [{"annotation_id": 10, "weight": 0.5, "mask": {"size": [9, 9], "counts": "]"}}]},
            r"row 0: ",
        ),
    ],
)
def test_a_damaged_row_is_one_line(root: Path, tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    taught = settings(root)
    views = make_views(tmp_path, taught, SEED)
    labels = PseudoMasks(torch.zeros(1, SIDE, SIDE, dtype=torch.bool), torch.zeros(1))
    (row,) = kept_rows(0, [views[0, 0]], [labels])
    folder = save(tmp_path / "model", taught, [{**row, **changes}])
    with pytest.raises(UserError, match=rf"pseudo_masks\.json: {what}") as caught:
        pseudo_mask_quality(folder, annotations(), SEED)
    assert "\n" not in str(caught.value)


def test_the_method_keeps_its_teachers_masks_and_goes_on_with_them(root: Path, tmp_path: Path) -> None:
    taught = settings(root, train={"checkpoint_every": 6})
    method, views = make_method(root, taught), make_views(tmp_path, taught, SEED)
    method.module.train()
    for step in range(4):
        method.losses([views[step, step], views[step + 1, step]], step)
    rows = method.records()["pseudo_masks.json"]
    assert [row["step"] for row in rows] == [2, 2, 3, 3]
    assert [row["image_id"] for row in rows] == [3, 4, 4, 5]
    assert [box["annotation_id"] for row in rows for box in row["boxes"]] == [30, 40, 40, 50]
    assert all(tuple(box["mask"]["size"]) == row["size"] for row in rows for box in row["boxes"])
    again = make_method(root, taught)
    again.recall(method.memory())
    assert again.records() == method.records()
