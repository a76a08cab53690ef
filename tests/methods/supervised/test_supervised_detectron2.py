"""The way to detectron2 and back: samples, losses, detections and masks in given boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.tv_tensors import Image, Mask

from pipeline import params
from pipeline.labels.label_file import Category
from pipeline.methods.build import build_method
from pipeline.methods.supervised.detectron2.catalog import dataset_dicts, register
from pipeline.methods.supervised.detectron2.method import SupervisedDetectron2
from pipeline.params_file import load_params
from pipeline.structures import Sample, Target, boxes_xyxy
from tests.fake_detectron2 import BitMasks, Boxes, Network, install
from tests.models.test_detectron2 import zoo


@pytest.fixture
def recipe(root: Path) -> params.Supervised:
    found = load_params(root / "presets" / "demo.yaml").methods["supervised"]
    assert isinstance(found, params.Supervised)
    return found.model_copy(update={"mask_weight": 0.5})


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch, recipe: params.Supervised) -> SupervisedDetectron2:
    install(monkeypatch)
    return SupervisedDetectron2(recipe, Network())


def sample(image_id: int, objects: int = 1) -> Sample:
    """16 x 24 pixels; the original has twice the height and three times the width."""
    size = (16, 24)
    image = torch.arange(3 * 16 * 24, dtype=torch.int64).view(3, *size).to(torch.uint8)
    masks = torch.zeros(objects, *size, dtype=torch.bool)
    masks[:, 4:12, 2:10] = True
    boxes = boxes_xyxy(torch.tensor([[2.0, 4, 10, 12]] * objects), size)
    return Sample(Image(image), Target(boxes, torch.ones(objects).long(), Mask(masks)), image_id, (32, 72))


def test_samples_become_its_dicts(method: SupervisedDetectron2) -> None:
    batch = [sample(5, 2), sample(6, 0)]
    losses = method.losses(batch, 7)
    network: Any = method.module
    first, second = network.inputs
    assert (first["image_id"], first["height"], first["width"]) == (5, 32, 72)
    assert first["image"].dtype == torch.uint8
    assert torch.equal(first["image"], batch[0].image.as_subclass(Tensor))
    objects = first["instances"]
    assert objects.image_size == (16, 24)
    assert isinstance(objects.gt_boxes, Boxes)
    assert isinstance(objects.gt_masks, BitMasks)
    assert type(objects.gt_boxes.tensor) is Tensor
    assert objects.gt_classes.tolist() == [1, 1]
    assert second["instances"].gt_masks.tensor.shape == (0, 16, 24)
    assert network.iterations == [7]
    mean = losses["loss_cls"].detach()
    assert float(losses["loss_mask"].detach()) == pytest.approx(0.5 * 2 * float(mean))


def test_detections_are_in_original_pixels(method: SupervisedDetectron2) -> None:
    method.module.train()
    found = method.predict([sample(1), sample(2)])
    assert method.module.training
    assert len(found) == 2
    assert found[0].boxes.tolist() == [[6, 8, 30, 24]]
    assert found[0].labels.tolist() == [1]
    assert found[0].masks.shape == (1, 32, 72)
    assert found[0].masks.dtype == torch.bool


def test_masks_in_given_boxes_take_one_pass_and_stay_inside(method: SupervisedDetectron2) -> None:
    given = torch.tensor([[6.0, 8, 30, 24], [60, 2, 69, 10]])
    found, (inside, none) = method.predict_with_boxes([sample(1), sample(2)], [given, given[:0]])
    network: Any = method.module
    assert network.backbone.passes == 1
    assert network.roi_heads.given[0].pred_boxes.tensor.tolist() == [[2, 4, 10, 12], [20, 1, 23, 5]]
    assert network.roi_heads.given[0].pred_classes.tolist() == [1, 1]
    assert inside.shape == (2, 32, 72)
    assert inside[0].sum() == 24 * 16
    assert inside[1].sum() == 9 * 8
    assert none.shape == (0, 32, 72)
    assert none.dtype == torch.bool
    assert found[0].boxes.tolist() == [[6, 8, 30, 24]]


def test_without_detections_given_boxes_have_the_first_class(method: SupervisedDetectron2) -> None:
    network: Any = method.module
    network.roi_heads.nothing = True
    found, (inside,) = method.predict_with_boxes([sample(1)], [torch.tensor([[6.0, 8, 30, 24]])])
    assert len(found[0]) == 0
    assert found[0].masks.shape == (0, 32, 72)
    assert network.roi_heads.given[0].pred_classes.tolist() == [0]
    assert inside.any()


def test_missing_masks_are_named(method: SupervisedDetectron2) -> None:
    boxes_alone = sample(1)
    boxes_alone.target.masks = None
    with pytest.raises(ValueError, match="needs masks"):
        method.losses([boxes_alone], 0)


def test_a_run_names_it_by_its_architecture(
    monkeypatch: pytest.MonkeyPatch, root: Path, recipe: params.Supervised
) -> None:
    install(monkeypatch)
    predict = load_params(root / "presets" / "demo.yaml").predict
    assert isinstance(build_method(recipe, zoo(), 3, predict, seed=0), SupervisedDetectron2)


class Store:
    """Two images, of which the second has no label."""

    class Record:
        def __init__(self, id_: int) -> None:
            self.id, self.height, self.width = id_, 16, 24

    records = (Record(3), Record(4))

    def path(self, image_id: int) -> Path:
        return Path("images") / f"{image_id}.png"


def labels(kind: str) -> Any:
    import numpy as np

    from pipeline.labels.label_file import ImageLabels, LabelFile

    rles: Any = [{"size": [16, 24], "counts": "abc"}] if kind == "masks" else None
    image = ImageLabels(np.array([1]), np.array([[1, 2, 5, 7]], np.float32), np.array([1]), rles, (16, 24))
    categories = [Category(7, "cat"), Category(90, "dog")]
    return LabelFile(Path("labels.json"), kind, categories, {3: image})  # type: ignore[arg-type]


def test_a_dataset_is_registered_with_its_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogs = install(monkeypatch)
    store: Any = Store()
    register("mine", store, labels("masks"))
    first, second = catalogs.DatasetCatalog["mine"]()
    assert (first["file_name"], first["image_id"], first["height"]) == ("images/3.png", 3, 16)
    assert first["annotations"] == [
        {
            "bbox": [1, 2, 5, 7],
            "bbox_mode": 0,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": {"size": [16, 24], "counts": "abc"},
        }
    ]
    assert second["annotations"] == []
    assert catalogs.MetadataCatalog["mine"].thing_classes == ["cat", "dog"]
    assert catalogs.MetadataCatalog["mine"].thing_dataset_id_to_contiguous_id == {7: 0, 90: 1}
    assert "segmentation" not in dataset_dicts(store, labels("boxes"))[0]["annotations"][0]


@pytest.mark.slow
def test_the_real_networks_learn_and_predict(root: Path, recipe: params.Supervised) -> None:
    pytest.importorskip("detectron2", reason="needs detectron2, an optional back end")
    predict = load_params(root / "presets" / "demo.yaml").predict
    for config in (zoo().config, "Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml"):
        method = build_method(recipe, zoo(config=config), 3, predict, seed=0)
        method.module.train()
        losses = method.losses([sample(1), sample(2, 0)], 0)
        torch.stack(list(losses.values())).sum().backward()
        assert any(parameter.grad is not None for parameter in method.module.parameters())
        box = torch.tensor([[6.0, 8, 30, 24]])
        found, masks = method.predict_with_boxes([sample(1), sample(2)], [box, box[:0]])
        assert [len(part) for part in masks] == [1, 0]
        assert found[0].masks.shape[1:] == (32, 72)
