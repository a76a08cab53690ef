"""What all methods that train a CondInst share: detection losses, choice of proposals, prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.dense import DenseOutputs, flatten_outputs
from pipeline.methods.detection.inference import (
    best_cells,
    clip_masks,
    decode_boxes,
    detect,
    evaluating,
    original_boxes,
    original_masks,
    rescale_boxes,
)
from pipeline.methods.detection.losses import detection_losses
from pipeline.methods.detection.proposals import Positives, Proposals
from pipeline.methods.detection.targets import (
    DetectionTargets,
    Locations,
    assign_targets,
    pyramid_locations,
    range_limits,
)
from pipeline.models.condinst import PADDING_DIVISOR, CondInstOutputs
from pipeline.models.dynamic_mask_head import dynamic_mask_logits
from pipeline.structures import Instances, PaddedBatch, Sample, Target, pad_images


class CondInstMethod(ABC):
    """A method of the engine's protocol; a subclass adds its mask losses.

    module: called with padded images and their sizes, returns CondInstOutputs; the engine may wrap it.
    """

    def __init__(
        self, module: nn.Module, model: params.CondInst, num_classes: int, predict: params.Predict
    ) -> None:
        self.module = module
        self.model = model
        self.num_classes = num_classes
        self.inference = predict

    # --- what a method adds ---------------------------------------------------------------------

    @abstractmethod
    def centers(self, target: Target, padded_size: tuple[int, int]) -> Tensor:
        """Point (x, y) round which each box's positive locations lie: (N, 2).  padded_size: (H, W)."""

    @abstractmethod
    def choose(self, positives: Positives, step: int) -> Tensor:
        """Ascending indices of the positives whose masks enter the mask losses."""

    @abstractmethod
    def mask_losses(
        self, logits: Tensor, proposals: Proposals, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        """Losses of the proposals' mask logits, (N, H / mask_out_stride, W / mask_out_stride); N may be 0.

        batch: on the module's device; padded: its images, raw, the (H, W) of which the logits cover.
        """

    # --- training ---------------------------------------------------------------------------------

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step, which counts from 0."""
        batch, padded = self._load(batch)
        outputs: CondInstOutputs = self.module(padded.images, padded.sizes)
        with torch.autocast(padded.images.device.type, enabled=False):
            locations, dense = self._locations(outputs), flatten_outputs(outputs)
            targets = self._targets(locations, batch, padded)
            proposals = self._proposals(dense, locations, targets, step)
            logits = self._mask_logits(dense.mask_features, proposals)
            return detection_losses(dense, targets) | self.mask_losses(logits, proposals, batch, padded, step)

    def after_step(self, step: int) -> None:  # noqa: B027 (most methods have nothing to do here)
        """Nothing happens between steps."""

    def _load(self, batch: list[Sample]) -> tuple[list[Sample], PaddedBatch]:
        device = next(self.module.parameters()).device
        batch = [sample.to(device) for sample in batch]
        return batch, pad_images([sample.image for sample in batch], PADDING_DIVISOR)

    def _locations(self, outputs: CondInstOutputs) -> Locations:
        shapes = [(int(level.shape[2]), int(level.shape[3])) for level in outputs.class_logits]
        return pyramid_locations(shapes, self.model.fpn_strides, outputs.mask_features.device)

    def _targets(self, locations: Locations, batch: list[Sample], padded: PaddedBatch) -> DetectionTargets:
        height, width = padded.images.shape[-2:]
        targets = [sample.target for sample in batch]
        return assign_targets(
            locations,
            [target.boxes.as_subclass(Tensor) for target in targets],
            [target.labels for target in targets],
            [self.centers(target, (height, width)) for target in targets],
            limits=range_limits(self.model.sizes_of_interest),
            num_classes=self.num_classes,
        )

    def _proposals(
        self, dense: DenseOutputs, locations: Locations, targets: DetectionTargets, step: int
    ) -> Proposals:
        images, cells = (targets.boxes >= 0).nonzero(as_tuple=True)
        boxes = targets.boxes[images, cells]
        with torch.no_grad():
            quality = dense.class_logits[images, cells].sigmoid().amax(dim=1)
            quality = quality * dense.centerness[images, cells].sigmoid()
        chosen = self.choose(Positives(images, boxes, quality), step)
        return _gather(dense, locations, images[chosen], cells[chosen], boxes[chosen])

    def _mask_logits(self, features: Tensor, proposals: Proposals) -> Tensor:
        sizes = torch.tensor(self.model.sizes_of_interest, dtype=torch.float32, device=features.device)
        return dynamic_mask_logits(
            features,
            proposals.parameters,
            proposals.points,
            sizes[proposals.levels],
            proposals.images,
            self.model,
        )

    # --- prediction -------------------------------------------------------------------------------

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections with masks for each image, in pixels of the original images."""
        with evaluating(self.module):
            return self._detections(samples, *self._run(samples))

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image.  The mask is that of the location
        whose predicted box overlaps the given one best.
        """
        with evaluating(self.module):
            run = self._run(samples)
            return self._detections(samples, *run), self._masks_in_boxes(samples, boxes, *run)

    def _detections(
        self, samples: list[Sample], padded: PaddedBatch, locations: Locations, dense: DenseOutputs
    ) -> list[Instances]:
        found = detect(dense, locations, self.inference)
        results = []
        for index, (sample, size, part) in enumerate(zip(samples, padded.sizes, found, strict=True)):
            boxes, kept = original_boxes(part.boxes, size, sample.original_size)
            masks = self._masks(dense, locations, index, part.cells[kept], size, sample.original_size)
            results.append(Instances(boxes[kept], part.labels[kept], part.scores[kept], masks))
        return results

    def _masks_in_boxes(
        self,
        samples: list[Sample],
        boxes: list[Tensor],
        padded: PaddedBatch,
        locations: Locations,
        dense: DenseOutputs,
    ) -> list[Tensor]:
        predicted = decode_boxes(dense.distances, locations)
        results = []
        for index, (sample, size, given) in enumerate(zip(samples, padded.sizes, boxes, strict=True)):
            given = given.as_subclass(Tensor).to(predicted)
            cells = best_cells(predicted[index], rescale_boxes(given, sample.original_size, size))
            masks = self._masks(dense, locations, index, cells, size, sample.original_size)
            results.append(clip_masks(masks, given))
        return results

    def _run(self, samples: list[Sample]) -> tuple[PaddedBatch, Locations, DenseOutputs]:
        _, padded = self._load(samples)
        outputs: CondInstOutputs = self.module(padded.images, padded.sizes)
        return padded, self._locations(outputs), flatten_outputs(outputs)

    def _masks(
        self,
        dense: DenseOutputs,
        locations: Locations,
        image: int,
        cells: Tensor,
        size: tuple[int, int],
        original: tuple[int, int],
    ) -> Tensor:
        """Masks (N, *original) bool of an image's locations `cells`."""
        images = torch.full_like(cells, image)
        proposals = _gather(dense, locations, images, cells, torch.full_like(cells, -1))
        logits = self._mask_logits(dense.mask_features, proposals)
        return original_masks(logits.sigmoid(), self.model.mask_out_stride, size, original)


def _gather(
    dense: DenseOutputs, locations: Locations, images: Tensor, cells: Tensor, boxes: Tensor
) -> Proposals:
    return Proposals(
        images, boxes, locations.levels[cells], locations.points[cells], dense.controller[images, cells]
    )
