"""BoxInst (arXiv 2012.02310): a segmenter trained on boxes alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.box_supervision.losses import pairwise_loss, projection_loss, warmup
from pipeline.methods.box_supervision.targets import box_masks, image_pairs
from pipeline.methods.detection.segmenter import Learnt, Segmenter
from pipeline.methods.detection.segmenter_method import SegmenterMethod
from pipeline.structures import PaddedBatch, Sample


class BoxInst(SegmenterMethod):
    """Detection losses, and the projection and pairwise losses of the proposals' masks."""

    def __init__(self, settings: params.BoxInst, network: nn.Module, segmenter: Segmenter) -> None:
        super().__init__(network, segmenter)
        self.settings = settings

    def mask_losses(
        self, learnt: Learnt, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        height, width = padded.images.shape[-2:]
        logits, settings = learnt.logits, self.settings
        boxes = torch.cat([sample.target.boxes.as_subclass(Tensor) for sample in batch])
        masks = box_masks(boxes[learnt.boxes], (height, width), learnt.stride)
        losses = {"loss_prj": settings.projection_weight * projection_loss(logits, masks)}
        if settings.pairwise_weight == 0:
            return losses | {"loss_pairwise": logits.new_zeros(())}
        pairs = image_pairs(batch, padded, learnt.stride, settings)
        loss, share = pairwise_loss(logits, masks, pairs, learnt.images, dilation=settings.pairwise_dilation)
        factor = warmup(step, settings.pairwise_warmup)
        return losses | {
            "loss_pairwise": settings.pairwise_weight * factor * loss,
            "metric_pair_share": share,
            "metric_pairwise_warmup": logits.new_tensor(factor),
        }
