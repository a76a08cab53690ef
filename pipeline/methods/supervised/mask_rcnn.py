"""Mask R-CNN trained on instance masks (arXiv 1703.06870), or on pseudo-masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from pipeline import params
from pipeline.methods.detection.inference import evaluating, original_boxes, rescale_boxes
from pipeline.methods.detection.paste import paste_masks
from pipeline.models.mask_rcnn import MaskRCNN, Pyramid, Regions, fast_roi_align
from pipeline.structures import Instances, PaddedBatch, Sample, Target, pad_images


class SupervisedMaskRCNN:
    """The five losses of Mask R-CNN.  The masks that they compare with are cut out by RoIAlign.

    module: called with padded images, their sizes and targets, returns losses and masks of regions; the
    engine may wrap it.
    """

    module: nn.Module

    def __init__(self, settings: params.Supervised, network: MaskRCNN) -> None:
        self.module = self.network = network
        self.settings = settings

    # --- training ---------------------------------------------------------------------------------

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step.

        Anchors and proposals are drawn from torch's global generator, which the engine seeds and restores.
        """
        batch, padded = self._load(batch)
        masks = [sample.target.required_masks().as_subclass(Tensor) for sample in batch]
        losses, regions = self.module(padded.images, padded.sizes, [_tensors(part.target) for part in batch])
        return {**losses, "loss_mask": self.settings.mask_weight * mask_loss(regions, masks)}

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""

    def _load(self, batch: list[Sample]) -> tuple[list[Sample], PaddedBatch]:
        device = next(self.module.parameters()).device
        batch = [sample.to(device) for sample in batch]
        return batch, pad_images([sample.image for sample in batch], self.network.padding_divisor)

    # --- prediction -------------------------------------------------------------------------------

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections with masks for each image, in pixels of the original images."""
        with evaluating(self.network):
            return self._detections(samples, *self._run(samples))

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image; N may be 0.  The mask is that of the
        class which the box head finds most likely in the box.
        """
        with evaluating(self.network):
            padded, pyramid = self._run(samples)
            detections = self._detections(samples, padded, pyramid)
            return detections, self._masks_in_boxes(samples, boxes, padded, pyramid)

    def _run(self, samples: list[Sample]) -> tuple[PaddedBatch, Pyramid]:
        _, padded = self._load(samples)
        return padded, self.network.pyramid(padded.images, padded.sizes)

    def _detections(self, samples: list[Sample], padded: PaddedBatch, pyramid: Pyramid) -> list[Instances]:
        results = []
        found = self.network.detect(pyramid, padded.images, padded.sizes)
        for sample, size, part in zip(samples, padded.sizes, found, strict=True):
            boxes, kept = original_boxes(part.boxes, size, sample.original_size)
            masks = paste_masks(part.masks[kept], part.boxes[kept], size, sample.original_size)
            results.append(Instances(boxes[kept], part.labels[kept], part.scores[kept], masks))
        return results

    def _masks_in_boxes(
        self, samples: list[Sample], boxes: list[Tensor], padded: PaddedBatch, pyramid: Pyramid
    ) -> list[Tensor]:
        given = [
            rescale_boxes(part.as_subclass(Tensor).to(padded.images), sample.original_size, size)
            for sample, part, size in zip(samples, boxes, padded.sizes, strict=True)
        ]
        masks = self.network.masks_in_boxes(pyramid, given, padded.sizes)
        return [
            paste_masks(part, around, size, sample.original_size)
            for sample, part, around, size in zip(samples, masks, given, padded.sizes, strict=True)
        ]


def mask_loss(regions: Regions, masks: list[Tensor]) -> Tensor:
    """Cross entropy of the regions' masks, mean over all cells (arXiv 1703.06870, section 3).

    masks: (n, h, w) bool of the objects of each image.  Returns a float32 scalar; without regions a zero that
    stays connected to the logits.
    """
    if len(regions.rois) == 0:
        return regions.logits.sum()
    targets, first = [], 0
    with fast_roi_align(regions.logits.device):
        for index, part in enumerate(masks):
            own = regions.images == index
            objects = regions.boxes[own] - first
            targets.append(project_masks_on_boxes(part, regions.rois[own], objects, regions.logits.shape[-1]))
            first += len(part)
    return F.binary_cross_entropy_with_logits(regions.logits, torch.cat(targets))


def _tensors(target: Target) -> dict[str, Tensor]:
    """Boxes and labels as plain tensors: torchvision's heads know no other."""
    return {"boxes": target.boxes.as_subclass(torch.Tensor), "labels": target.labels}
