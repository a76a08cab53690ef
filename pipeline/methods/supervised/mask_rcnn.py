"""Mask R-CNN trained on instance masks (arXiv 1703.06870), or on pseudo-masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from pipeline import params
from pipeline.methods.detection.mask_rcnn import MaskRCNNSegmenter
from pipeline.methods.detection.proposals import every_one
from pipeline.methods.detection.segmenter_method import SegmenterPrediction
from pipeline.models.mask_rcnn import MaskRCNN, Regions, fast_roi_align
from pipeline.structures import Sample


class SupervisedMaskRCNN(SegmenterPrediction):
    """The five losses of Mask R-CNN.  The masks that they compare with are cut out by RoIAlign.

    module: the network, which the engine may wrap.
    """

    module: nn.Module
    segmenter: MaskRCNNSegmenter

    def __init__(self, settings: params.Supervised, network: MaskRCNN, model: params.MaskRCNN) -> None:
        super().__init__(MaskRCNNSegmenter(model, network.padding_divisor, choose=every_one))
        self.module = network
        self.settings = settings

    @property
    def predictor(self) -> nn.Module:
        return self.module

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step.

        Anchors and proposals are drawn from torch's global generator, which the engine seeds and restores.
        """
        batch, padded = self._load(batch)
        targets = [sample.target for sample in batch]
        masks = [target.required_masks().as_subclass(Tensor) for target in targets]
        losses, regions = self.segmenter.regions(self.module, padded, targets, step)
        return losses | {"loss_mask": self.settings.mask_weight * mask_loss(regions, masks)}

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""


def mask_loss(regions: Regions, masks: list[Tensor]) -> Tensor:
    """Cross entropy of the regions' masks, mean over all cells (arXiv 1703.06870, section 3).

    masks: (n, h, w) bool of the objects of each image.  Returns a float32 scalar; without regions a zero that
    stays connected to the logits.
    """
    if len(regions.areas) == 0:
        return regions.logits.sum()
    targets, first = [], 0
    with fast_roi_align(regions.logits.device):
        for index, part in enumerate(masks):
            own = regions.images == index
            objects = regions.boxes[own] - first
            targets.append(
                project_masks_on_boxes(part, regions.areas[own], objects, regions.logits.shape[-1])
            )
            first += len(part)
    return F.binary_cross_entropy_with_logits(regions.logits, torch.cat(targets))
