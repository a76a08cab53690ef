"""Mask2Former trained on instance masks (arXiv 2112.01527), or on pseudo-masks."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline import params
from pipeline.methods.mask2former.criterion import mask2former_losses
from pipeline.methods.mask2former.inference import detect, detect_and_fill
from pipeline.methods.mask2former.targets import padded_targets
from pipeline.models.mask2former.network import Mask2Former
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.structures import Instances, Sample, pad_images

MASK_LOSSES = ("loss_mask", "loss_dice")


class SupervisedMask2Former:
    """The losses of Mask2Former after every decoder layer.

    module: called with padded images and their sizes, returns predictions; the engine may wrap it.
    """

    module: nn.Module

    def __init__(
        self,
        settings: params.Supervised,
        network: Mask2Former,
        model: params.Mask2Former,
        predict: params.Predict,
    ) -> None:
        self.module = self.network = network
        self.settings = settings
        self.query_losses = model.losses
        self.limit = predict.detections_per_image

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step; those of masks are multiplied by `mask_weight`.

        Points are drawn from torch's global generator, which the engine seeds and restores.
        """
        device = next(self.module.parameters()).device
        batch = [sample.to(device) for sample in batch]
        padded = pad_images([sample.image for sample in batch], self.network.padding_divisor)
        height, width = padded.images.shape[-2:]
        targets = padded_targets([sample.target for sample in batch], (height, width))
        predictions: list[QueryPredictions] = self.module(padded.images, padded.sizes)
        losses = mask2former_losses(predictions, targets, self.query_losses)
        return {
            name: self.settings.mask_weight * loss if name.startswith(MASK_LOSSES) else loss
            for name, loss in losses.items()
        }

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections with masks for each image, in pixels of the original images."""
        return detect(self.network, samples, self.limit)

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image; N may be 0.  The mask is that of the
        query whose own box overlaps the given one best.
        """
        return detect_and_fill(self.network, samples, boxes, self.limit)
