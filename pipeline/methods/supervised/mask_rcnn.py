"""Mask R-CNN trained on instance masks (arXiv 1703.06870), or on pseudo-masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.inference import evaluating, original_boxes, rescale_boxes
from pipeline.methods.detection.paste import paste_masks
from pipeline.models.mask_rcnn import MaskRCNN, Pyramid
from pipeline.structures import Instances, PaddedBatch, Sample, Target, pad_images


class SupervisedMaskRCNN:
    """The five losses of Mask R-CNN.  The masks that they compare with are cut out by RoIAlign.

    module: called with padded images, their sizes and targets, returns the losses; the engine may wrap it.
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
        targets = [_tensors(sample.target) for sample in batch]
        losses: dict[str, Tensor] = self.module(padded.images, padded.sizes, targets)
        return {**losses, "loss_mask": self.settings.mask_weight * losses["loss_mask"]}

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


def _tensors(target: Target) -> dict[str, Tensor]:
    """The target as plain tensors: torchvision's heads know no other."""
    return {
        "boxes": target.boxes.as_subclass(torch.Tensor),
        "labels": target.labels,
        "masks": target.required_masks().as_subclass(torch.Tensor),
    }
