"""The method as a whole: the release's labels, losses and gradients, and batches out of the ordinary."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.methods.box_supervision.batch import box_masks_of
from pipeline.methods.box_supervision.targets import color_similarity, pooled_lab, valid_pixels
from pipeline.methods.box_teacher.affinity import mask_affinity
from pipeline.methods.box_teacher.confidence import mask_aware_confidence, pseudo_mask_weights
from pipeline.methods.box_teacher.pseudo_masks import on_grid, teacher_images
from pipeline.methods.box_teacher.views import LabelledViews
from pipeline.structures import Sample, Target, boxes_xyxy, pad_images
from tests.condinst_vectors import gradients_by_reference_name

LOSSES = [
    "loss_fcos_cls",
    "loss_fcos_loc",
    "loss_fcos_ctr",
    "loss_prj",
    "loss_pairwise",
    "loss_mask",
    "loss_mask_affinity",
]


def step_of(load) -> int:
    return int(load("end_to_end_inputs")["iter_seen_by_loss"]) - 1


def test_the_teacher_finds_what_the_release_finds(load, close, build, batch):
    inputs, expected, method = load("end_to_end_inputs"), load("end_to_end_expected"), build()
    weak = [views.weak for views in batch]
    images = teacher_images([sample.image for sample in weak], method.settings.teacher, 32)
    assert images.sizes == [tuple(inputs[f"teacher_hw_{index}"].tolist()) for index in range(2)]
    assert images.images.shape[-2:] == tuple(inputs["teacher_padded_hw"].tolist())
    with torch.no_grad():
        seen = method.segmenter.see(method.networks.teacher, images)
    found = seen.find([tuple(sample.image.shape[1:]) for sample in weak])
    for index, part in enumerate(found):
        scores = mask_aware_confidence(part.scores, part.certainty)
        order, stored = scores.argsort(descending=True), expected[f"teacher_scores_{index}"]
        theirs = stored.argsort(descending=True)
        close(scores[order], stored[theirs], rtol=1e-3)
        weights = pseudo_mask_weights(part.scores, part.certainty)
        close(weights.sort().values, expected[f"teacher_mask_score_{index}"].sort().values, rtol=1e-3)
        close(part.boxes[order], expected[f"teacher_boxes_{index}"][theirs], rtol=1e-3, share=1e-3)
        pixels = part.masks.flatten(1).sum(dim=1)[order]
        wanted = expected[f"teacher_mask_pixels_{index}"][theirs]
        assert ((pixels - wanted).abs() <= (0.005 * wanted).clamp(min=3)).all()


def test_labels_of_the_boxes_match_the_release(load, close, build, batch):
    expected, method = load("end_to_end_expected"), build()
    weak = [views.weak for views in batch]
    padded = pad_images([sample.image for sample in weak], 32)
    labels, boxes = method.label(weak), box_masks_of(weak, padded, 4)
    masks = on_grid(labels, boxes, tuple(padded.images.shape[-2:]), 4)
    valid = valid_pixels(weak, padded, 4, method.settings.bottom_pixels_removed)
    similarity = color_similarity(pooled_lab(padded.images, 4), valid, 3, 2)
    first = 0
    for index, image in enumerate(labels):
        part = slice(first, first + len(image.weights))
        first = part.stop
        close(image.weights, expected[f"pseudo_weights_{index}"], rtol=1e-3)
        assert torch.equal(boxes[part], expected[f"box_bitmasks_{index}"] > 0)
        stored = expected[f"pseudo_bitmasks_{index}"].float()
        differ = (masks[part] != stored).flatten(1).sum(dim=1)
        assert (differ <= 0.005 * masks[0].numel()).all()
        close(mask_affinity(stored, valid[index, None], 3, 2), expected[f"mask_affinity_{index}"], rtol=1e-4)
        torch.testing.assert_close(
            similarity[index, None], expected[f"color_similarity_{index}"], rtol=0, atol=2e-4
        )


def test_training_losses_match_the_release(load, close, build, batch):
    expected, losses = load("end_to_end_expected"), build().losses(batch, step_of(load))
    for name in LOSSES:
        close(losses[name], expected[name], rtol=1e-3)
    assert 0 < float(losses["metric_accepted_share"]) <= 1
    assert 0 < float(losses["metric_pseudo_mask_weight"]) < 1


def test_gradients_and_the_teachers_statistics_match_the_release(load, close, build, batch):
    arrays, method = load("end_to_end_grads"), build()
    for maps in method.networks.student.pyramid:
        maps.requires_grad_()
    losses = method.losses(batch, step_of(load))
    total = torch.stack([losses[name] for name in LOSSES]).sum()
    close(total, arrays["total_loss"], rtol=1e-3)
    total.backward()
    for level, maps in enumerate(method.networks.student.pyramid, start=3):
        close(maps.grad, arrays[f"grad_student_p{level}"], rtol=1e-2, share=1e-4)
    ours = gradients_by_reference_name(method.networks.student.heads)
    stored = [key for key in arrays if key.startswith("grad.")]
    assert len(stored) > 30
    for key in stored:
        if key.endswith("tower.0.bias") and "mask_branch" not in key:
            # What passes a norm with one channel per group is the rounding error of a zero.
            assert float(arrays[key].abs().max()) < 1e-6 > float(ours[key.removeprefix("grad.")].abs().max())
        else:
            close(ours[key.removeprefix("grad.")], arrays[key], rtol=1e-2, share=1e-4)
    statistics = [key for key in arrays if key.startswith("teacher_state_after.")]
    state = method.networks.teacher.heads.state_dict()
    assert len(statistics) == 10
    for key in statistics:
        close(state[key.removeprefix("teacher_state_after.")], arrays[key], rtol=1e-3)
    assert not any(parameter.requires_grad for parameter in method.networks.teacher.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {"projection_weight": 1.01},
        {"pairwise_weight": 1.01},
        {"pairwise_size": 5},
        {"pairwise_dilation": 1},
        {"color_threshold": 0.25},
        {"warmup": 9900},
        {"bottom_pixels_removed": 0},
        {"topk_per_image": 16},
        {"teacher_statistics": "running"},
        {"teacher_mask": "float"},
        {"iou_threshold": 0.9},
        {"score_threshold": 0.9},
        {"pseudo_mask_weight": 0.51},
        {"affinity_weight": 0.101},
        {"affinity_threshold": -1.0},
        {"normalize_by": "weights"},
    ],
)
def test_every_setting_matters(load, build, batch, changes):
    """Parity would not hold with any setting off its released value."""
    expected, losses = load("end_to_end_expected"), build(**changes).losses(batch, step_of(load))
    ours, stored = (torch.stack([source[name].detach() for name in LOSSES]) for source in (losses, expected))
    assert ((ours - stored).abs() > 1e-3 * stored).any()


def empty(views: LabelledViews) -> LabelledViews:
    size = tuple(views.weak.image.shape[1:])
    none = torch.zeros(0, dtype=torch.int64)
    target = Target(boxes_xyxy(torch.zeros(0, 4), size), none, annotation_ids=none)
    sample = Sample(views.weak.image, target, views.image_id, views.weak.original_size)
    return replace(views, weak=sample)


def test_images_without_boxes(build, batch):
    """No box in one image, then in both: losses are finite and those of masks stay in the graph."""
    method = build()
    losses = method.losses([batch[0], empty(batch[1])], 5000)
    assert all(torch.isfinite(losses[name]) for name in LOSSES)
    losses = method.losses([empty(views) for views in batch], 5000)
    assert losses["metric_accepted_share"].isnan()
    masks = [losses[name] for name in LOSSES[3:]]
    assert [loss.item() for loss in masks] == [0, 0, 0, 0]
    torch.stack(masks).sum().backward()
    assert float(method.networks.student.heads.mask_branch.project.weight.grad.abs().max()) == 0


def test_a_teacher_that_finds_nothing_leaves_the_losses_of_boxes(build, batch):
    method = build(score_threshold=1.0)
    losses = method.losses(batch, 5000)
    assert losses["loss_mask"].item() == losses["loss_mask_affinity"].item() == 0
    assert losses["metric_accepted_share"].item() == 0
    assert losses["metric_pseudo_mask_weight"].isnan()
    assert losses["loss_prj"].item() > 0 < losses["loss_pairwise"].item()
    method.segmenter.inference = method.segmenter.inference.model_copy(update={"score_threshold": 1.0})
    assert method.losses(batch, 5000)["metric_accepted_share"].item() == 0


def test_the_mean_projection_has_its_weight_and_the_ramp(build, batch):
    assert "loss_avg" not in build().losses(batch, 4999)
    losses = [
        float(build(mean_projection_weight=weight).losses(batch, step)["loss_avg"].detach())
        for weight, step in ((0.1, 4999), (0.1, 9999), (0.2, 9999))
    ]
    assert losses == pytest.approx([losses[0], 2 * losses[0], 4 * losses[0]], rel=1e-5)
    assert losses[0] > 0


def test_the_teacher_predicts_with_rescored_detections(build, batch):
    method = build()
    method.networks.student.pyramid = [torch.zeros_like(maps) for maps in method.networks.student.pyramid]
    weak = [views.weak for views in batch]
    (found, _), boxes = method.predict(weak), [part.target.boxes for part in weak]
    assert len(found) > 10
    assert (found.scores.diff() <= 0).all()
    assert method.networks.student.training
    assert sum(part.training for part in method.networks.teacher.modules()) > 0, "its batch norms"
    with torch.no_grad():
        method.networks.eval()
        plain = method.segmenter.see(method.networks.teacher, pad_images([s.image for s in weak], 32))
        sizes = [sample.original_size for sample in weak]
        some = plain.find(sizes, soft=True, wanted=lambda image, boxes: torch.arange(len(boxes)) % 3 == image)
        wholes = plain.find(sizes, soft=True)
        plain = plain.find(sizes)[0]
    for image, (part, whole) in enumerate(zip(some, wholes, strict=True)):
        for kept, all_of_them in zip(vars(part).values(), vars(whole).values(), strict=True):
            torch.testing.assert_close(kept, all_of_them[image::3])
    expected = (plain.scores * plain.certainty).sqrt()
    torch.testing.assert_close(found.scores, expected.sort(descending=True).values)
    assert not torch.equal(found.scores, plain.scores)
    _, masks = method.predict_with_boxes(weak, boxes)
    assert [part.shape for part in masks] == [
        (len(b), *s.original_size) for b, s in zip(boxes, weak, strict=True)
    ]


def test_the_student_is_shown_the_strong_view_and_its_losses_the_weak_one(build, batch, monkeypatch):
    method = build()
    shown: list[Tensor] = []
    learn = method.segmenter.learn

    def watched(network, padded, targets, step):
        shown.append(padded.images)
        return learn(network, padded, targets, step)

    monkeypatch.setattr(method.segmenter, "learn", watched)
    grey = [replace(views, strong=torch.full_like(views.strong, 7)) for views in batch]
    losses, expected = method.losses(grey, 100), build().losses(batch, 100)
    assert shown[0][0, :, :100, :140].unique().tolist() == [7]
    for name in LOSSES:  # the student's features are given, so only labels and colours could differ
        assert losses[name].item() == expected[name].item()


def test_the_teacher_computes_in_float32_whatever_the_student_does(build, batch):
    """Under autocast, which the engine's wrapper would bring about the student, labels are the same."""
    weak = [views.weak for views in batch]
    expected = build().label(weak)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = build().label(weak)
        losses = build().losses(batch, 100)
    for one, other in zip(labels, expected, strict=True):
        assert torch.equal(one.weights, other.weights)
        assert torch.equal(one.masks, other.masks)
    assert all(losses[name].dtype == torch.float32 for name in LOSSES)
    assert all(torch.isfinite(losses[name]) for name in LOSSES)


def test_a_few_steps_lower_the_loss(build, batch):
    method = build()
    optimizer = torch.optim.SGD(method.networks.student.parameters(), lr=1e-3)
    totals = []
    for _ in range(4):
        losses = method.losses(batch, 9999)
        total = torch.stack([losses[name] for name in LOSSES]).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]
