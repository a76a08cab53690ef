"""BoxInst (arXiv 2012.02310): CondInst trained on boxes alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.boxinst.losses import pairwise_loss, projection_loss, warmup
from pipeline.methods.boxinst.targets import (
    box_centroids,
    box_masks,
    color_similarity,
    pooled_lab,
    similar_pairs,
    valid_masks,
)
from pipeline.methods.detection.condinst_method import CondInstMethod
from pipeline.methods.detection.proposals import Positives, Proposals, topk_per_box
from pipeline.structures import PaddedBatch, Sample, Target


class BoxInst(CondInstMethod):
    """Detection losses, and the projection and pairwise losses of the proposals' masks."""

    def __init__(
        self,
        settings: params.BoxInst,
        network: nn.Module,
        model: params.CondInst,
        num_classes: int,
        predict: params.Predict,
    ) -> None:
        super().__init__(network, model, num_classes, predict)
        self.settings = settings

    def centers(self, target: Target, padded_size: tuple[int, int]) -> Tensor:
        return box_centroids(target.boxes.as_subclass(Tensor), padded_size)

    def choose(self, positives: Positives, step: int) -> Tensor:
        return topk_per_box(positives, self.settings.topk_per_image)

    def mask_losses(
        self, logits: Tensor, proposals: Proposals, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        height, width = padded.images.shape[-2:]
        boxes = torch.cat([sample.target.boxes.as_subclass(Tensor) for sample in batch])
        masks = box_masks(boxes[proposals.boxes], (height, width), self.model.mask_out_stride)
        losses = {"loss_prj": self.settings.projection_weight * projection_loss(logits, masks)}
        if self.settings.pairwise_weight == 0:
            return losses | {"loss_pairwise": logits.new_zeros(())}
        pairs = self.pairs(batch, padded)
        loss, share = pairwise_loss(
            logits, masks, pairs, proposals.images, dilation=self.settings.pairwise_dilation
        )
        factor = warmup(step, self.settings.pairwise_warmup)
        return losses | {
            "loss_pairwise": self.settings.pairwise_weight * factor * loss,
            "metric_pair_share": share,
            "metric_pairwise_warmup": logits.new_tensor(factor),
        }

    def pairs(self, batch: list[Sample], padded: PaddedBatch) -> Tensor:
        """Similar pairs of the images: (B, pairwise_size^2 - 1, H / out stride, W / out stride) bool."""
        height, width = padded.images.shape[-2:]
        stride, settings = self.model.mask_out_stride, self.settings
        valid = valid_masks(
            padded.sizes,
            [sample.original_size[0] for sample in batch],
            (height, width),
            stride,
            settings.bottom_pixels_removed,
            padded.images.device,
        )
        similarity = color_similarity(
            pooled_lab(padded.images, stride), valid, settings.pairwise_size, settings.pairwise_dilation
        )
        return similar_pairs(similarity, settings.color_threshold)
