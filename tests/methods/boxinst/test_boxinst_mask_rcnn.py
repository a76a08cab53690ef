"""The losses of boxes on Mask R-CNN: what loops over pixels give, and what is learnt by them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.build import build_method
from pipeline.methods.color import rgb_to_lab
from pipeline.methods.detection.paste import logit_maps
from pipeline.methods.supervised.mask_rcnn import SupervisedMaskRCNN
from pipeline.models.mask_rcnn import MaskRCNN, Regions
from pipeline.params_file import load_params
from pipeline.structures import Sample, pad_images
from tests.mask_rcnn_settings import small_mask_rcnn
from tests.toy_instances import drawn, iou, total

NAMES = ["loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_prj", "loss_pairwise"]


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


def build(demo: params.Params, **changes: Any) -> BoxInst:
    """On a network with weights from a fixed seed; the pairwise loss has its whole weight from the start."""
    recipe = demo.methods["boxinst_mask_rcnn"]
    assert isinstance(recipe, params.BoxInst)
    recipe = recipe.model_copy(update={"pairwise_warmup": 1, **changes})
    torch.manual_seed(0)
    method = build_method(recipe, small_mask_rcnn(), 2, demo.predict, seed=0)
    assert isinstance(method, BoxInst)
    method.module.train()
    return method


def boxed(sample: Sample) -> Sample:
    """Without its masks."""
    sample.target.masks = None
    return sample


def losses(method: BoxInst, batch: list[Sample]) -> dict[str, Tensor]:
    torch.manual_seed(7)
    return method.losses(batch, 0)


def regions_of(method: BoxInst, batch: list[Sample]) -> Regions:
    """All regions that `losses` draws."""
    padded = pad_images([sample.image for sample in batch], 16)
    targets = [
        {"boxes": sample.target.boxes.as_subclass(Tensor), "labels": sample.target.labels} for sample in batch
    ]
    torch.manual_seed(7)
    regions: Regions = method.module(padded.images, padded.sizes, targets)[1]
    return regions


class Plain:
    """One region at a time, one pixel at a time, as the documentation says it; stride 2."""

    def __init__(self, logits: Tensor, roi: list[float], box: list[float], size: tuple[int, int]) -> None:
        self.logits, self.roi, self.box = logits.tolist(), roi, box
        self.rows, self.columns = range(1, size[0], 2), range(1, size[1], 2)

    def logit(self, y: int, x: int) -> float:
        left, top = (math.floor(min(self.roi[i], self.box[i])) for i in (0, 1))
        right, bottom = (math.floor(max(self.roi[i], self.box[i]) + 1) for i in (2, 3))
        if not (left <= x < right and top <= y < bottom):
            return -20.0
        side = len(self.logits)
        places = []
        for at, low, high in ((y, self.roi[1], self.roi[3]), (x, self.roi[0], self.roi[2])):
            places.append(min(max((at - low) / (high - low) * side - 0.5, 0.0), side - 1.0))
        (row, down), (column, across) = ((int(place), place % 1) for place in places)
        below, beside = min(row + 1, side - 1), min(column + 1, side - 1)
        upper = self.logits[row][column] * (1 - across) + self.logits[row][beside] * across
        lower = self.logits[below][column] * (1 - across) + self.logits[below][beside] * across
        return upper * (1 - down) + lower * down

    def in_box(self, y: int, x: int) -> bool:
        left, top = int(self.box[0]), int(self.box[1])
        return left <= x < int(self.box[2] + 1) and top <= y < int(self.box[3] + 1)

    def projection(self) -> float:
        """Of both axes."""
        value = 0.0
        for lines in (
            [[(y, x) for x in self.columns] for y in self.rows],
            [[(y, x) for y in self.rows] for x in self.columns],
        ):
            found = [1 / (1 + math.exp(-max(self.logit(*cell) for cell in line))) for line in lines]
            wanted = [float(any(self.in_box(*cell) for cell in line)) for line in lines]
            overlap = sum(f * w for f, w in zip(found, wanted, strict=True))
            value += 1 - 2 * overlap / (sum(f * f for f in found) + sum(wanted) + 1e-5)
        return value

    def pairwise(self, colors: Tensor, threshold: float) -> tuple[float, int]:
        """Sum over similar neighbours, and their number.  colors: (3, H / 2, W / 2) LAB."""
        value, count = 0.0, 0
        for y in self.rows:
            for x in self.columns:
                if not self.in_box(y, x):
                    continue
                for dy, dx in ((a, b) for a in (-2, 0, 2) for b in (-2, 0, 2) if (a, b) != (0, 0)):
                    if y + dy not in self.rows or x + dx not in self.columns:
                        continue
                    one, other = colors[:, y // 2, x // 2], colors[:, (y + dy) // 2, (x + dx) // 2]
                    if math.exp(-float((one - other).norm()) / 2) < threshold:
                        continue
                    p, q = (1 / (1 + math.exp(-self.logit(*at))) for at in ((y, x), (y + dy, x + dx)))
                    value -= math.log(p * q + (1 - p) * (1 - q))
                    count += 1
        return value, count


def test_losses_are_those_of_loops_over_pixels(demo: params.Params) -> None:
    method = build(demo)
    nn.init.normal_(method.module.mask_head.predictor.mask_fcn_logits.weight, std=1.0)  # masks of many values
    batch = [boxed(drawn(3)), boxed(drawn(4, size=(40, 64), objects=1))]
    found, regions = losses(method, batch), regions_of(method, batch)
    boxes = torch.cat([sample.target.boxes.as_subclass(Tensor) for sample in batch])
    padded = pad_images([sample.image for sample in batch], 16).images
    assert isinstance(method.settings, params.BoxInst)
    projections, sums, count = [], 0.0, 0
    for image, box, roi, logits in zip(
        regions.images, boxes[regions.boxes], regions.areas, regions.logits, strict=True
    ):
        plain = Plain(logits.detach(), roi.tolist(), box.tolist(), (64, 64))
        projections.append(plain.projection())
        colors = rgb_to_lab(F.avg_pool2d(padded[image][None], 2).floor())[0]
        inside = torch.arange(1, 64, 2) < batch[int(image)].image.shape[1]
        colors[:, ~inside] = 1e6  # the padding is like nothing
        one, number = plain.pairwise(colors, method.settings.color_threshold)
        sums, count = sums + one, count + number
    assert len(projections) > 4
    assert not torch.equal(regions.areas, boxes[regions.boxes])
    assert count > 1000
    assert float(found["loss_prj"].detach()) == pytest.approx(sum(projections) / len(projections), rel=1e-4)
    assert float(found["loss_pairwise"].detach()) == pytest.approx(sums / count, rel=1e-4)


@pytest.mark.parametrize("name", ["loss_prj", "loss_pairwise"])
def test_gradients_are_those_of_differences(demo: params.Params, name: str) -> None:
    method, batch, step = build(demo), [boxed(drawn(3))], 1e-2
    bias = method.module.mask_head.predictor.mask_fcn_logits.bias
    losses(method, batch)[name].backward()  # type: ignore[no-untyped-call]
    expected, gradient = [], bias.grad.clone()
    with torch.no_grad():
        for index in range(3):
            values = []
            for offset in (step, -2 * step):
                bias[index] += offset
                values.append(float(losses(method, batch)[name]))
            bias[index] += step
            expected.append((values[0] - values[1]) / (2 * step))
    assert expected[0] == 0 == gradient[0]  # of the background
    assert min(abs(value) for value in expected[1:]) > 1e-4
    torch.testing.assert_close(gradient, torch.tensor(expected), rtol=0.02, atol=1e-4)


def test_masks_are_not_looked_at(demo: params.Params) -> None:
    method = build(demo)
    with_masks, without = (losses(method, [one(drawn(3))]) for one in (lambda sample: sample, boxed))
    assert {name: float(loss.detach()) for name, loss in with_masks.items()} == {
        name: float(loss.detach()) for name, loss in without.items()
    }


def test_the_best_region_of_each_box_has_mask_losses(demo: params.Params) -> None:
    batch = [boxed(drawn(3)), boxed(drawn(4))]
    method = build(demo, topk_per_image=2)
    padded = pad_images([sample.image for sample in batch], 16)
    torch.manual_seed(7)
    learnt = method.segmenter.learn(method.module, padded, [sample.target for sample in batch], 0)
    regions = regions_of(method, batch)
    assert learnt.boxes.tolist() == [0, 1, 2, 3]
    assert learnt.images.tolist() == [0, 0, 1, 1]
    assert len(regions.boxes) > 4
    for box, found in enumerate(learnt.logits):
        own = (regions.boxes == box).nonzero()[:, 0]
        best = own[regions.quality[own].argmax()]
        around = batch[box // 2].target.boxes.as_subclass(Tensor)[box % 2]
        expected = logit_maps(
            regions.logits[best, None], regions.areas[best, None], around[None], (64, 64), 2
        )
        torch.testing.assert_close(found, expected[0])


@pytest.mark.parametrize("objects", [(2, 1), (1, 0), (0, 0)])
def test_losses_reach_every_parameter(demo: params.Params, objects: tuple[int, int]) -> None:
    """Also from images without objects: several processes could not average gradients otherwise."""
    method = build(demo)
    batch = [boxed(drawn(3, objects=objects[0])), boxed(drawn(4, size=(40, 64), objects=objects[1]))]
    found = losses(method, batch)
    assert [name for name in found if name.startswith("loss")] == NAMES
    total({name: found[name] for name in NAMES}).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in method.module.parameters())
    assert all(torch.isfinite(found[name]) for name in NAMES)
    if objects == (0, 0):
        assert float(found["loss_prj"].detach()) == float(found["loss_pairwise"].detach()) == 0


def test_predictions_are_those_of_the_supervised_method(demo: params.Params) -> None:
    method, samples = build(demo), [drawn(0, enlarged=2), drawn(1)]
    network = method.module
    assert isinstance(network, MaskRCNN)
    nn.init.normal_(network.roi_heads.box_predictor.cls_score.weight, std=0.5)  # or nothing is found
    recipe = demo.methods["supervised_mask_rcnn"]
    assert isinstance(recipe, params.Supervised)
    boxes = [torch.tensor([[10.0, 6, 60, 60]]), torch.zeros(0, 4)]
    ours, theirs = (
        one.predict_with_boxes(samples, boxes)
        for one in (method, SupervisedMaskRCNN(recipe, network, small_mask_rcnn()))
    )
    for found, expected in zip(ours[0], theirs[0], strict=True):
        assert len(found) > 3
        assert torch.equal(found.boxes, expected.boxes)
        assert torch.equal(found.masks, expected.masks)
    assert all(torch.equal(found, expected) for found, expected in zip(ours[1], theirs[1], strict=True))


def on_plain_ground(sample: Sample) -> Sample:
    """Noise has no similar neighbours, and nothing would hold the ground together."""
    sample.image[:, ~sample.target.required_masks().any(dim=0)] = 120
    return sample


@pytest.mark.slow
def test_discs_are_learnt_from_their_boxes(demo: params.Params) -> None:
    """A filled box has an IoU of pi / 4 with its disc."""
    method = build(demo, pairwise_warmup=40)
    batch = [boxed(on_plain_ground(drawn(seed))) for seed in range(4)]
    optimizer = torch.optim.AdamW(method.module.parameters(), lr=3e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=160)
    for step in range(160):
        found = method.losses(batch, step)
        optimizer.zero_grad()
        total({name: found[name] for name in NAMES}).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(method.module.parameters(), 5.0)
        optimizer.step()
        rates.step()
    overlaps = []
    for seed in range(4):
        sample = on_plain_ground(drawn(seed))
        (masks,) = method.predict_with_boxes([sample], [sample.target.boxes.as_subclass(Tensor)])[1]
        overlaps.append(iou(masks[0], sample.target.required_masks()[0]))
    assert min(overlaps) > 0.9
