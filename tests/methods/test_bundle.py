"""Building methods from params, and models on disk: what is trained is what predicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.tv_tensors import Image, Mask

from pipeline import params
from pipeline.errors import UserError
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.build import build_method
from pipeline.methods.bundle import load_bundle, save_bundle
from pipeline.methods.supervised.method import Supervised
from pipeline.params import load_params
from pipeline.structures import Category, Sample, Target, boxes_xyxy

CPU = torch.device("cpu")
CATEGORIES = [Category(7, "cup"), Category(9, "plate"), Category(30, "fork")]


def sample(height: int, width: int) -> Sample:
    """Noise with two objects, at half of its original size."""
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=draw)
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, 10:60, 10:50] = masks[1, 20:90, 40:100] = True
    boxes = boxes_xyxy(torch.tensor([[10.0, 10, 50, 60], [40, 20, 100, 90]]), (height, width))
    target = Target(boxes, torch.tensor([0, 2]), Mask(masks))
    return Sample(Image(image), target, 1, (2 * height, 2 * width))


@pytest.mark.slow
@pytest.mark.parametrize(("row", "kind"), [("supervised_1x", Supervised), ("boxinst_1x", BoxInst)])
def test_the_published_network_learns_and_predicts(root: Path, row: str, kind: type) -> None:
    """ResNet-50 as the COCO preset has it: one step reaches all that is to learn, and a mask comes out."""
    preset = load_params(root / "presets" / "coco.yaml")
    torch.manual_seed(0)
    method = build_method(preset.methods[row], preset.models["condinst_r50"], 3, preset.predict, seed=0)
    assert isinstance(method, kind)
    method.module.train()
    losses = method.losses([sample(96, 128)], 0)
    torch.stack([loss for name, loss in losses.items() if not name.startswith("metric_")]).sum().backward()
    learnt = {name for name, value in method.module.named_parameters() if value.grad is not None}
    fixed = {name for name, value in method.module.named_parameters() if not value.requires_grad}
    assert learnt | fixed == {name for name, _ in method.module.named_parameters()}
    assert {name.split(".")[2] for name in fixed} == {"conv1", "layer1"}
    (found,) = method.predict([sample(96, 128)])
    assert found.masks.shape[1:] == (192, 256)
    (masks,) = method.predict_in_boxes([sample(96, 128)], [torch.tensor([[20.0, 20, 100, 120]])])
    assert masks.shape == (1, 192, 256)


@pytest.fixture
def saved(
    root: Path, tmp_path: Path, tiny_model: params.CondInst, predict_settings: params.Predict
) -> tuple[Path, list[Tensor]]:
    """The folder of an untrained model, and what the model finds."""
    settings = load_params(root / "presets" / "coco.yaml").methods["boxinst_1x"]
    model = tiny_model.model_copy(update={"fpn_channels": 64})
    torch.manual_seed(0)
    method = build_method(settings, model, len(CATEGORIES), sensitive(predict_settings), seed=0)
    save_bundle(tmp_path, method.module, settings, model, CATEGORIES, train_images=5)
    (found,) = method.predict([sample(96, 128)])
    assert len(found)
    return tmp_path, [found.boxes, found.labels, found.scores, found.masks]


def sensitive(settings: params.Predict) -> params.Predict:
    """An untrained model is sure of nothing."""
    return settings.model_copy(update={"score_threshold": 0.0, "detections_per_image": 10})


def test_a_model_comes_back_with_its_classes(
    saved: tuple[Path, list[Tensor]], predict_settings: params.Predict
) -> None:
    folder, expected = saved
    method, categories = load_bundle(folder, sensitive(predict_settings), CPU)
    assert isinstance(method, BoxInst)
    assert categories == CATEGORIES
    assert not method.module.training
    (found,) = method.predict([sample(96, 128)])
    for got, wanted in zip((found.boxes, found.labels, found.scores, found.masks), expected, strict=True):
        assert torch.equal(got, wanted)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert about["parameters"] == sum(value.numel() for value in method.module.parameters())
    assert about["train_images"] == 5
    assert {"weakseg", "torch", "timm", "device"} <= set(about["environment"])


@pytest.mark.parametrize("change", [{"model": {}}, {"settings": {"kind": "unknown"}}, {"categories": [3]}])
def test_a_description_of_no_model_is_refused(
    saved: tuple[Path, list[Tensor]], predict_settings: params.Predict, change: dict[str, object]
) -> None:
    path = saved[0] / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(UserError, match="does not describe a model") as caught:
        load_bundle(saved[0], predict_settings, CPU)
    assert "\n" not in str(caught.value)
