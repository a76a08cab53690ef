"""A teacher's masks of the boxes that its student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline import params
from pipeline.data.transforms import resized_size
from pipeline.methods.box_teacher.confidence import mask_aware_confidence, pseudo_mask_weights
from pipeline.methods.box_teacher.matching import NONE, match_boxes
from pipeline.methods.detection.mask_targets import sample_masks
from pipeline.methods.detection.segmenter import Found
from pipeline.models.layers import resize_bilinear
from pipeline.structures import PaddedBatch, pad_images


@dataclass
class PseudoMasks:
    """What the teacher says of the N boxes of one image.

    masks: (N, H, W) bool, or float32 probabilities, at the size of the student's image; weights: (N,) float32
    in [0, 1].  Both are 0 where there is none.
    """

    masks: Tensor
    weights: Tensor


def teacher_images(images: Sequence[Tensor], view: params.TeacherView, divisor: int) -> PaddedBatch:
    """Images (3, H, W), uint8 or float, at the teacher's scale, not antialiased, and padded."""
    views = []
    for image in images:
        size = (int(image.shape[-2]), int(image.shape[-1]))
        wanted = resized_size(size, view.short_side, view.max_side)
        views.append(resize_bilinear(image.as_subclass(Tensor).float()[None], *wanted)[0])
    return pad_images(views, divisor)


def match_masks(found: Found, boxes: Tensor, settings: params.BoxTeacher) -> PseudoMasks:
    """Give each of the (N, 4) boxes of an image the mask of the detection that is matched to it."""
    matched = match_boxes(
        found.boxes,
        mask_aware_confidence(found.scores, found.certainty),
        boxes,
        iou_threshold=settings.iou_threshold,
        score_threshold=settings.score_threshold,
        reassign_first=settings.reassign_first,
    )
    weights = torch.zeros(len(boxes), device=boxes.device)
    masks = torch.zeros(len(boxes), *found.masks.shape[1:], dtype=found.masks.dtype, device=boxes.device)
    taken = matched != NONE
    chosen = matched[taken]
    weights[taken] = pseudo_mask_weights(found.scores[chosen], found.certainty[chosen])
    masks[taken] = found.masks[chosen]
    return PseudoMasks(masks, weights)


def on_grid(labels: Sequence[PseudoMasks], box_masks: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The pseudo masks of a batch at the sample points of the logits, cut to their boxes.

    box_masks: (G, H / stride, W / stride) bool, of all boxes; size: (H, W) of the padded batch.  Returns
    float32 of the same shape.
    """
    return sample_masks([image.masks for image in labels], size, stride) * box_masks
