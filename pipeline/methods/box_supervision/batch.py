"""The losses of boxes for the proposals of one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.methods.box_supervision.losses import pairwise_loss, projection_loss
from pipeline.methods.box_supervision.targets import box_masks, image_pairs
from pipeline.methods.detection.segmenter import Learnt
from pipeline.params import BoxLosses
from pipeline.structures import PaddedBatch, Sample


def box_losses(
    learnt: Learnt,
    batch: Sequence[Sample],
    padded: PaddedBatch,
    settings: BoxLosses,
    factor: float,
) -> dict[str, Tensor]:
    """ "loss_prj" and "loss_pairwise" with their weights, and what the log shows of the pairs.

    batch: on the device of the logits; padded: its images, raw, in the colours that are compared; factor:
    on the pairwise loss.
    """
    masks = box_masks_of(batch, padded, learnt.stride)[learnt.boxes]
    losses = {"loss_prj": settings.projection_weight * projection_loss(learnt.logits, masks)}
    if settings.pairwise_weight == 0:
        return losses | {"loss_pairwise": learnt.logits.new_zeros(())}
    pairs = image_pairs(batch, padded, learnt.stride, settings)
    loss, share = pairwise_loss(
        learnt.logits, masks, pairs, learnt.images, dilation=settings.pairwise_dilation
    )
    return losses | {
        "loss_pairwise": settings.pairwise_weight * factor * loss,
        "metric_pair_share": share,
        "metric_pairwise_warmup": learnt.logits.new_tensor(factor),
    }


def box_masks_of(batch: Sequence[Sample], padded: PaddedBatch, stride: int) -> Tensor:
    """`box_masks` of all boxes of a batch: (G, H / stride, W / stride) bool."""
    height, width = padded.images.shape[-2:]
    boxes = torch.cat([sample.target.boxes.as_subclass(Tensor) for sample in batch])
    return box_masks(boxes, (height, width), stride)
