from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_convert

from pipeline.methods.detection.dense import DenseOutputs, _flatten
from pipeline.methods.detection.losses import (
    box_loss,
    centerness_loss,
    centerness_targets,
    detection_losses,
    focal_loss,
    giou,
)
from pipeline.methods.detection.targets import assign_targets, pyramid_locations, range_limits

STRIDES = (8, 16, 32, 64, 128)


def test_iou_and_centerness_match_reference(load, close):
    arrays = load("iou_losses")
    predicted, target = arrays["pred_ltrb"].requires_grad_(), arrays["target_ltrb"]
    quality = centerness_targets(target)
    close(quality, arrays["ctrness_targets"])
    iou, generalised = giou(predicted, target)
    close(iou, arrays["iou"])
    close(generalised, arrays["giou"])
    loss = box_loss(predicted, target, quality)
    close(loss, arrays["loss_giou"])
    loss.backward()
    close(predicted.grad, arrays["grad_giou"], rtol=1e-3, share=2e-5)


@pytest.mark.parametrize("case", ["batch2", "nopos", "emptyimg"])
def test_detection_losses_match_reference(load, close, case):
    arrays = load("fcos_losses", case)
    count, (height, width) = int(arrays["num_images"]), arrays["HW"].tolist()
    boxes = [arrays[f"boxes_{index}"].reshape(-1, 4) for index in range(count)]
    outputs = {
        name: [arrays[f"{name}_{level}"].requires_grad_() for level in range(5)]
        for name in ("logits", "reg", "ctrness")
    }
    shapes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    targets = assign_targets(
        pyramid_locations(shapes, STRIDES),
        boxes,
        [arrays[f"classes_{index}"] for index in range(count)],
        [box_convert(image, "xyxy", "cxcywh")[:, :2] for image in boxes],
        limits=range_limits((64, 128, 256, 512, 1024)),
        num_classes=6,
    )
    dense = DenseOutputs(
        _flatten(outputs["logits"]),
        _flatten(outputs["reg"]),
        _flatten(outputs["ctrness"]).squeeze(2),
        torch.empty(0),
        torch.empty(0),
    )
    assert int((targets.boxes >= 0).sum()) == int(arrays["num_pos"])
    losses = detection_losses(dense, targets)
    for name, loss in losses.items():
        close(loss, arrays[name])
    sum(losses.values()).backward()
    for name, levels in outputs.items():
        for level, maps in enumerate(levels):
            close(maps.grad, arrays[f"grad_{name}_{level}"], rtol=1e-3, share=2e-5)


def test_focal_loss_by_hand():
    """One location, p = 1/2 for both classes: 1/4 of the cross entropy, weighted by alpha and 1 - alpha."""
    object_loss = focal_loss(torch.zeros(1, 2), torch.tensor([1]))
    assert float(object_loss) == pytest.approx(math.log(2) / 4)
    background = focal_loss(torch.zeros(1, 2), torch.tensor([2]))
    assert float(background) == pytest.approx(2 * 0.75 * math.log(2) / 4)


def test_focal_loss_is_finite_for_sure_mistakes():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([1]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.25 * 200 + 0.75 * 200)
    assert torch.isfinite(logits.grad).all()


def test_perfect_boxes_cost_nothing():
    distances = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 5.0, 1.0]])
    assert float(box_loss(distances, distances, torch.ones(2))) == 0
    assert centerness_targets(distances).tolist() == pytest.approx([math.sqrt(1 / 6), 1.0])


def test_gradients_by_finite_difference():
    torch.manual_seed(0)
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 3, 0])
    assert torch.autograd.gradcheck(lambda value: focal_loss(value, labels), (logits,))
    predicted = (torch.rand(6, 4, dtype=torch.float64) * 3).requires_grad_()
    target, weights = torch.rand(6, 4, dtype=torch.float64) * 3 + 0.1, torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda value: box_loss(value, target, weights), (predicted,))
    assert torch.autograd.gradcheck(
        lambda value: centerness_loss(value, weights), (logits[:, 0].detach().clone().requires_grad_(),)
    )
