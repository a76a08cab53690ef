"""Methods of the engine's protocol whose network is a segmenter: what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipeline.methods.detection.inference import evaluating
from pipeline.methods.detection.segmenter import Found, Learnt, Segmenter
from pipeline.structures import Instances, PaddedBatch, Sample, pad_images


class SegmenterPrediction(ABC):
    """Prediction with the network `predictor`."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    @property
    @abstractmethod
    def predictor(self) -> nn.Module:
        """The network that predicts."""

    def instances(self, found: Found) -> Instances:
        """Detections with the scores that are reported, best first."""
        return Instances(found.boxes, found.labels, found.scores, found.masks)

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections with masks for each image, in pixels of the original images."""
        return self.predict_with_boxes(samples, [])[0]

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image; N may be 0.
        """
        sizes = [sample.original_size for sample in samples]
        with evaluating(self.predictor):
            seen = self.segmenter.see(self.predictor, self._load(samples)[1])
            found = [self.instances(part) for part in seen.find(sizes)]
            return found, seen.fill(sizes, boxes) if boxes else []

    def _load(self, batch: list[Sample]) -> tuple[list[Sample], PaddedBatch]:
        device = next(self.predictor.parameters()).device
        batch = [sample.to(device) for sample in batch]
        return batch, pad_images([sample.image for sample in batch], self.segmenter.padding_divisor)


class SegmenterMethod(SegmenterPrediction):
    """Detection losses and prediction of one network; a subclass adds its mask losses.

    module: the network that `segmenter` asks; the engine may wrap it.
    """

    def __init__(self, module: nn.Module, segmenter: Segmenter) -> None:
        super().__init__(segmenter)
        self.module = module

    @property
    def predictor(self) -> nn.Module:
        return self.module

    @abstractmethod
    def mask_losses(
        self, learnt: Learnt, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        """Losses of the proposals' mask logits.

        batch: on the module's device; padded: its images, raw.
        """

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step, which counts from 0."""
        batch, padded = self._load(batch)
        learnt = self.segmenter.learn(self.module, padded, [sample.target for sample in batch], step)
        with torch.autocast(padded.images.device.type, enabled=False):
            return learnt.losses | self.mask_losses(learnt, batch, padded, step)

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""
