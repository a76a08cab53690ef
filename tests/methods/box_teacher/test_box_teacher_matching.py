"""Which detection becomes the mask of which box: parity, the rule written out, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from pipeline.methods.box_teacher.matching import candidates, match_boxes
from pipeline.methods.box_teacher.pseudo_masks import match_masks
from pipeline.methods.detection.segmenter import Found

CASES = ["random", "index0_overwritten", "index1_kept", "tie", "score_thr", "iou_thr7", "nopred", "nogt"]


@pytest.mark.parametrize("case", CASES)
def test_weights_and_masks_match_the_release(load, released, case, monkeypatch):
    """The vectors give each detection's confidence and its weight apart."""
    arrays = load("pseudo_labeling", case)
    rule = released.model_copy(
        update={
            "iou_threshold": float(arrays["iou_thr"]),
            "score_threshold": float(arrays["score_thr"]),
        }
    )
    module = "pipeline.methods.box_teacher.pseudo_masks"
    monkeypatch.setattr(f"{module}.mask_aware_confidence", lambda scores, certainty: scores)
    monkeypatch.setattr(f"{module}.pseudo_mask_weights", lambda scores, certainty: certainty)
    found = Found(
        arrays["pred_boxes"],
        arrays["pred_classes"],
        arrays["pred_scores"],
        arrays["pred_masks"] > 0,
        arrays["pred_mask_score"],
    )
    labels = match_masks(found, arrays["gt_boxes"], rule)
    assert torch.equal(labels.weights, arrays["flags"])
    if arrays["gt_bitmasks"].numel():
        assert torch.equal(labels.masks, arrays["gt_bitmasks"] > 0)
    else:
        assert not labels.masks.any()


def test_the_slip_of_the_release_takes_a_mask_away(load):
    arrays = load("pseudo_labeling", "index0_overwritten")
    boxes = arrays["pred_boxes"], arrays["pred_scores"], arrays["gt_boxes"]
    limits = {"iou_threshold": float(arrays["iou_thr"]), "score_threshold": 0.0}
    kept, lost = (match_boxes(*boxes, **limits, reassign_first=slip) for slip in (False, True))
    assert 0 in kept.tolist()
    assert 0 not in lost.tolist()


def by_hand(found, scores, boxes, iou_threshold, score_threshold, slip):
    """Section 4 of the specification, one sentence after the other."""
    matched = [-1] * len(boxes)
    overlaps = box_iou(boxes, found).tolist()
    for detection in sorted(range(len(found)), key=lambda i: -float(scores[i])):
        if float(scores[detection]) < np.float32(score_threshold):
            continue
        best, largest = -1, -1.0
        for index in range(len(boxes)):
            taken = matched[index] > 0 if slip else matched[index] >= 0
            if not taken and overlaps[index][detection] >= largest:
                best, largest = index, overlaps[index][detection]
        if best >= 0 and largest >= iou_threshold:
            matched[best] = detection
    return matched


def drawn(seed: int, count: int) -> torch.Tensor:
    """Boxes on a coarse grid, so that equal overlaps and equal boxes occur."""
    draw = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 4, (count, 2), generator=draw)
    return torch.cat((corner, corner + torch.randint(1, 5, (count, 2), generator=draw)), dim=1).float()


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    found=st.integers(0, 12),
    boxes=st.integers(0, 6),
    iou_threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    score_threshold=st.sampled_from([0.0, 0.5, 1.0]),
    slip=st.booleans(),
)
def test_equals_the_rule_written_out(seed, found, boxes, iou_threshold, score_threshold, slip):
    predicted, given_boxes = drawn(seed, found), drawn(seed + 1, boxes)
    scores = torch.randint(0, 5, (found,), generator=torch.Generator().manual_seed(seed)) / 4
    matched = match_boxes(
        predicted,
        scores,
        given_boxes,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        reassign_first=slip,
    ).tolist()
    assert matched == by_hand(predicted, scores, given_boxes, iou_threshold, score_threshold, slip)
    near = candidates(predicted, given_boxes, iou_threshold, reassign_first=slip).nonzero()[:, 0]
    of_near = match_boxes(
        predicted[near],
        scores[near],
        given_boxes,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        reassign_first=slip,
    )
    assert [int(near[place]) if place >= 0 else -1 for place in of_near] == matched
    taken = [detection for detection in matched if detection >= 0]
    assert len(set(taken)) == len(taken)
    for index, detection in enumerate(matched):
        if detection >= 0:
            overlap = float(box_iou(given_boxes[index, None], predicted[detection, None]))
            assert overlap >= iou_threshold
            assert float(scores[detection]) >= score_threshold


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), found=st.integers(1, 9), boxes=st.integers(1, 5))
def test_the_order_of_detections_does_not_matter(seed, found, boxes):
    """With distinct scores, and without the slip, which looks at the numbers of detections."""
    draw = torch.Generator().manual_seed(seed)
    predicted, given_boxes, scores = (
        drawn(seed, found),
        drawn(seed + 1, boxes),
        torch.rand(found, generator=draw),
    )
    order = torch.randperm(found, generator=draw)
    limits = {"iou_threshold": 0.3, "score_threshold": 0.1}
    straight = match_boxes(predicted, scores, given_boxes, **limits)
    moved = match_boxes(predicted[order], scores[order], given_boxes, **limits)
    assert [order[i].item() if i >= 0 else -1 for i in moved.tolist()] == straight.tolist()
