"""Which of a teacher's detections becomes the pseudo mask of which box (arXiv 2210.05174, algorithm 1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

NONE = -1


def candidates(found: Tensor, boxes: Tensor, iou_threshold: float, *, reassign_first: bool) -> Tensor:
    """Which of an image's detections `match_boxes` may give to a box, whatever their confidence: (M,) bool.

    Without the others it matches as with them.  found: (M, 4) xyxy; boxes: (N, 4).
    """
    near: Tensor = (box_iou(found.float(), boxes.float()) >= iou_threshold).any(dim=1)
    if reassign_first:
        near[:1] = True  # the place of detection 0 has a meaning
    return near


def match_boxes(
    found: Tensor,
    confidence: Tensor,
    boxes: Tensor,
    *,
    iou_threshold: float,
    score_threshold: float,
    reassign_first: bool = False,
) -> Tensor:
    """The detection of each box, -1 without one: (N,) int64, on the device of `boxes`.

    found: (M, 4) xyxy; confidence: (M,), of which those below score_threshold are left out; boxes: (N, 4).
    The most confident detection chooses first, the first of equals: of the boxes that no other has taken, the
    one that it overlaps best (the last of equals), if that IoU is at least iou_threshold.  Classes play
    no part.

    reassign_first: a box that detection 0 has taken counts as free, so that a later one may take it away.
    The release does so; elsewhere detections come in the order of their unaware scores.
    """
    matched = np.full(len(boxes), NONE)
    overlaps = box_iou(boxes.float(), found.float()).T.cpu().numpy()  # (M, N)
    scores = confidence.cpu().numpy()
    asking = (scores >= score_threshold) & (overlaps >= iou_threshold).any(axis=1)
    least_taken = 1 if reassign_first else 0
    for detection in np.argsort(-scores, kind="stable"):
        if not asking[detection]:
            continue
        free = np.where(matched < least_taken, overlaps[detection], -1.0)
        best = len(free) - 1 - int(free[::-1].argmax())
        if free[best] >= iou_threshold:
            matched[best] = detection
    return torch.from_numpy(matched).to(boxes.device)
