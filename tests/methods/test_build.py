"""From params to a method that trains and predicts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.tv_tensors import Image, Mask

from pipeline import params
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.build import METHODS, build_method
from pipeline.methods.supervised.condinst import SupervisedCondInst
from pipeline.methods.supervised.mask_rcnn import SupervisedMaskRCNN
from pipeline.models.small_backbone import SmallBackbone
from pipeline.params_file import load_params
from pipeline.structures import Sample, Target, boxes_xyxy
from tests.mask_rcnn_settings import small_mask_rcnn


def test_the_table_is_what_params_allows() -> None:
    allowed = {(kind, name) for kind, names in params.ARCHITECTURES.items() for name in names}
    assert {*METHODS, ("mal", "autolabeler")} == allowed  # which build_labeler makes


def test_supervised_trains_what_the_model_names(root: Path) -> None:
    demo = load_params(root / "presets" / "demo.yaml")
    kinds = ((demo.models["condinst_small"], SupervisedCondInst), (small_mask_rcnn(), SupervisedMaskRCNN))
    for model, kind in kinds:
        method = build_method(demo.methods["supervised"], model, 3, demo.predict, seed=0)
        assert type(method) is kind


def test_the_start_goes_into_the_backbone_of_any_network(root: Path, tmp_path: Path) -> None:
    demo = load_params(root / "presets" / "demo.yaml")
    torch.manual_seed(5)
    start = SmallBackbone().state_dict()
    save_file(start, tmp_path / "start.safetensors")
    for model in (demo.models["condinst_small"], small_mask_rcnn()):
        settings, path = demo.methods["supervised"], tmp_path / "start.safetensors"
        method = build_method(settings, model, 3, demo.predict, seed=0, start=path)
        loaded = method.module.state_dict()
        assert all(torch.equal(loaded[f"backbone.network.{name}"], value) for name, value in start.items())


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
@pytest.mark.parametrize(("row", "kind"), [("supervised_1x", SupervisedCondInst), ("boxinst_1x", BoxInst)])
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
    boxes = torch.tensor([[20.0, 20, 100, 120]])
    (found,), (masks,) = method.predict_with_boxes([sample(96, 128)], [boxes])
    assert found.masks.shape[1:] == (192, 256)
    assert masks.shape == (1, 192, 256)
