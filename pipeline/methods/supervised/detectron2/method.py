"""A Mask R-CNN or Cascade Mask R-CNN of detectron2, trained by our engine."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.inference import evaluating
from pipeline.methods.supervised.detectron2.convert import (
    from_output,
    given_boxes,
    paste,
    to_input,
    to_training_input,
)
from pipeline.structures import Instances, Sample


class SupervisedDetectron2:
    """The losses that the network itself computes, under detectron2's names.

    module: detectron2's GeneralizedRCNN, called with its dicts, returns the losses; the engine may wrap it.
    """

    module: nn.Module

    def __init__(self, settings: params.Supervised, network: nn.Module) -> None:
        self.module = network
        self.network: Any = network
        self.settings = settings

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step.

        Anchors and proposals are drawn from torch's global generator, which the engine seeds and restores.
        """
        from detectron2.utils.events import EventStorage

        inputs = [to_training_input(sample) for sample in self._load(batch)]
        with EventStorage(step):  # its heads count their samples there
            losses: dict[str, Tensor] = self.module(inputs)
        return {**losses, "loss_mask": self.settings.mask_weight * losses["loss_mask"]}

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections with masks for each image, in pixels of the original images."""
        empty = [sample.target.boxes.as_subclass(Tensor)[:0] for sample in samples]
        return self.predict_with_boxes(samples, empty)[0]

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image.  The mask is that of the class of the
        detection that overlaps the box best.
        """
        from detectron2.modeling.postprocessing import detector_postprocess

        with evaluating(self.network):
            samples = self._load(samples)
            device = next(self.network.parameters()).device
            boxes = [part.as_subclass(Tensor).to(device) for part in boxes]
            images = self.network.preprocess_image([to_input(sample) for sample in samples])
            features = self.network.backbone(images.tensor)
            proposals, _ = self.network.proposal_generator(images, features, None)
            found, _ = self.network.roi_heads(images, features, proposals, None)
            given = [given_boxes(*parts) for parts in zip(samples, boxes, found, strict=True)]
            given = self.network.roi_heads.forward_with_given_boxes(features, given)
            masks = [
                paste(part.pred_masks, around, sample.original_size)
                for part, around, sample in zip(given, boxes, samples, strict=True)
            ]
            detections = [
                from_output(detector_postprocess(part, *sample.original_size))
                for part, sample in zip(found, samples, strict=True)
            ]
        return detections, masks

    def _load(self, batch: list[Sample]) -> list[Sample]:
        device = next(self.network.parameters()).device
        return [sample.to(device) for sample in batch]
