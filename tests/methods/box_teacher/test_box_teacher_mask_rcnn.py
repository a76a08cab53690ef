"""BoxTeacher on Mask R-CNN: labels, losses on them, and what is learnt."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.box_teacher.pseudo_masks import PseudoMasks
from pipeline.methods.box_teacher.views import LabelledViews
from pipeline.methods.build import build_method
from pipeline.params_file import load_params
from pipeline.structures import pad_images
from tests.mask_rcnn_settings import small_mask_rcnn
from tests.toy_instances import drawn, iou, total

BOX_LOSSES = ["loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_prj", "loss_pairwise"]
NAMES = [*BOX_LOSSES, "loss_mask", "loss_mask_affinity"]


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


def build(demo: params.Params, **changes: Any) -> BoxTeacher:
    """On networks with weights from a fixed seed; the ramp is over at once."""
    recipe = demo.methods["box_teacher_mask_rcnn"]
    assert isinstance(recipe, params.BoxTeacher)
    view = params.TeacherView(short_side=64, max_side=64)
    recipe = recipe.model_copy(update={"warmup": 1, "teacher": view, **changes})
    torch.manual_seed(0)
    # The bound of what is learnt was found with as many, and the demo's own number changes with its cost.
    predict = demo.predict.model_copy(update={"pre_nms_topk": 1000})
    method = build_method(recipe, small_mask_rcnn(), 2, predict, seed=0)
    assert isinstance(method, BoxTeacher)
    method.module.train()
    return method


def decided(method: BoxTeacher) -> BoxTeacher:
    """With weights that find something, and masks of many values."""
    nn.init.normal_(method.networks.student.roi_heads.box_predictor.cls_score.weight, std=0.5)
    nn.init.normal_(method.networks.student.mask_head.predictor.mask_fcn_logits.weight, std=1.0)
    return method


def views(seed: int, objects: int = 2) -> LabelledViews:
    """On plain ground, whose neighbours are similar, and without masks; the student sees it darker."""
    sample = drawn(seed, objects=objects)
    sample.image[:, ~sample.target.required_masks().any(dim=0)] = 120
    sample.target.masks, sample.target.annotation_ids = None, torch.arange(objects)
    darker = (sample.image.as_subclass(Tensor).float() * 0.8).byte()
    return LabelledViews(sample, darker, (seed, 0))


def losses(method: BoxTeacher, batch: list[LabelledViews]) -> dict[str, Tensor]:
    torch.manual_seed(7)
    return method.losses(batch, 0)


def test_losses_on_pseudo_masks_are_those_of_the_definition(
    demo: params.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, batch = decided(build(demo)), [views(3), views(4)]
    masks = [drawn(seed).target.required_masks().as_subclass(Tensor) for seed in (3, 4)]
    masks[0][0, :, 20:] = True  # what lies outside the box does not count
    weights = torch.tensor([[0.5, 0.25], [0.0, 0.75]])
    given = [PseudoMasks(*pair) for pair in zip(masks, weights, strict=True)]
    monkeypatch.setattr(method, "label", lambda batch: given)
    found = losses(method, batch)
    padded = pad_images([part.strong for part in batch], 16)
    torch.manual_seed(7)
    targets = [part.weak.target for part in batch]
    learnt = method.segmenter.learn(method.module, padded, targets, 0)
    pixel, affinity, taught = 0.0, 0.0, 0
    for logits, box in zip(learnt.logits.detach(), learnt.boxes.tolist(), strict=True):
        x1, y1, x2, y2 = targets[box // 2].boxes[box % 2].tolist()
        points = torch.arange(1, 64, 2)
        inside = (
            ((points >= int(y1)) & (points <= int(y2)))[:, None] & (points >= int(x1)) & (points <= int(x2))
        )
        mask = masks[box // 2][box % 2, 1::2, 1::2] & inside
        weight, p = float(weights.flatten()[box]), logits.sigmoid()
        taught += weight > 0
        pixel += weight * float(1 - 2 * (p * mask).sum() / ((p * p).sum() + mask.sum() + 1e-5))
        smooth = (mask + nn.functional.avg_pool2d(mask[None].float(), 3, 1, 1)[0]) / 2
        terms = []
        for y, x in inside.nonzero().tolist():
            for other in product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                if other == (y, x) or not (0 <= other[0] < 32 and 0 <= other[1] < 32):
                    continue
                s, t = smooth[y, x], smooth[other]
                if s * t + (1 - s) * (1 - t) >= 0.5:
                    same = p[y, x] * p[other] + (1 - p[y, x]) * (1 - p[other])
                    terms.append(-float(same.log()))
        affinity += weight * sum(terms) / len(terms)
    assert 0 < taught < len(learnt.boxes)
    assert float(found["loss_mask"].detach()) == pytest.approx(0.5 * pixel / taught, rel=1e-4)
    assert float(found["loss_mask_affinity"].detach()) == pytest.approx(0.1 * affinity / taught, rel=1e-4)


def test_labels_are_masks_that_the_teacher_finds_in_the_boxes(demo: params.Params) -> None:
    """Other proposals than the teacher's own are far from any box here, so boxes are taken from these."""
    method, (sample,) = decided(build(demo)), [views(3).weak]
    method.networks.update_teacher(0, 0.9)
    with torch.no_grad():
        seen = method.segmenter.see(method.networks.teacher, pad_images([sample.image], 16))
        (found,) = seen.find([(64, 64)])
    chosen = (found.scores * found.certainty).argmax()
    sample.target.boxes[0] = found.boxes[chosen]
    (label,) = method.label([sample])
    assert found.masks[chosen].any()
    assert torch.equal(label.masks[0], found.masks[chosen])
    expected = (found.scores[chosen].sqrt() * found.certainty[chosen]).sqrt()
    assert float(label.weights[0]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("objects", [(2, 1), (1, 0), (0, 0)])
def test_losses_reach_the_whole_student_and_nothing_of_the_teacher(
    demo: params.Params, objects: tuple[int, int]
) -> None:
    method = decided(build(demo))
    found = losses(method, [views(3, objects[0]), views(4, objects[1])])
    assert [name for name in found if name.startswith("loss")] == NAMES
    total({name: found[name] for name in NAMES}).backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(found[name]) for name in NAMES)
    assert all(parameter.grad is not None for parameter in method.networks.student.parameters())
    assert all(parameter.grad is None for parameter in method.networks.teacher.parameters())


def test_the_teacher_predicts_with_rescored_detections(demo: params.Params) -> None:
    method = decided(build(demo))
    method.networks.update_teacher(0, 0.9)
    nn.init.zeros_(method.networks.student.fpn.output[0].weight)
    sample = drawn(0, enlarged=2)
    (found,), (masks,) = method.predict_with_boxes([sample], [torch.tensor([[10.0, 6, 60, 60]])])
    assert method.networks.student.training
    method.networks.eval()
    with torch.no_grad():
        seen = method.segmenter.see(method.networks.teacher, pad_images([sample.image], 16))
        (plain,) = seen.find([(128, 128)])
        (whole,) = seen.find([(128, 128)], soft=True)
        (some,) = seen.find(
            [(128, 128)], soft=True, wanted=lambda _, boxes: torch.arange(len(boxes)) % 3 == 1
        )
    assert len(found) > 3
    for kept, all_of_them in zip(vars(some).values(), vars(whole).values(), strict=True):
        torch.testing.assert_close(kept, all_of_them[1::3])
    expected = (plain.scores * plain.certainty).sqrt().sort(descending=True)
    torch.testing.assert_close(found.scores, expected.values)
    assert torch.equal(found.masks, plain.masks[expected.indices])
    assert masks.shape == (1, 128, 128)


@pytest.mark.slow
def test_discs_are_learnt_and_the_teacher_labels_them(demo: params.Params) -> None:
    """A filled box has an IoU of pi / 4 with its disc."""
    method, batch = build(demo, warmup=40, teacher_momentum=0.9), [views(seed) for seed in range(4)]
    optimizer = torch.optim.AdamW(method.networks.student.parameters(), lr=3e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=200)
    for step in range(200):
        found = method.losses(batch, step)
        optimizer.zero_grad()
        total({name: found[name] for name in NAMES}).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(method.networks.student.parameters(), 5.0)
        optimizer.step()
        rates.step()
    assert float(found["metric_accepted_share"]) == 1
    assert float(found["metric_pseudo_mask_weight"]) > 0.8
    for seed, label in enumerate(method.label([part.weak for part in batch])):
        assert iou(label.masks[0], drawn(seed).target.required_masks()[0]) > 0.87
