"""CondInst (arXiv 2003.05664) as a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.dense import DenseOutputs, flatten_outputs
from pipeline.methods.detection.inference import (
    best_cells,
    chosen,
    clip_masks,
    decode_boxes,
    detect,
    enlarged,
    measured,
    original_boxes,
    rescale_boxes,
    thresholded,
)
from pipeline.methods.detection.losses import detection_losses
from pipeline.methods.detection.proposals import Choose, Positives, Proposals
from pipeline.methods.detection.segmenter import Found, Learnt, Size, Wanted
from pipeline.methods.detection.targets import (
    DetectionTargets,
    Locations,
    assign_targets,
    pyramid_locations,
    range_limits,
)
from pipeline.models.condinst import PADDING_DIVISOR, CondInstOutputs
from pipeline.models.dynamic_mask_head import dynamic_mask_logits
from pipeline.structures import PaddedBatch, Target

Centers = Callable[[Target, Size], Tensor]


class CondInstSegmenter:
    """Asks a network that is called with padded images and their sizes and returns CondInstOutputs."""

    padding_divisor = PADDING_DIVISOR

    def __init__(
        self,
        model: params.CondInst,
        num_classes: int,
        predict: params.Predict,
        *,
        centers: Centers,
        choose: Choose,
    ) -> None:
        """What methods differ in:

        centers: of a target and the padded size (H, W), the point (x, y) round which each box's positive
        locations lie, (N, 2); choose: the positives whose masks enter the mask losses.
        """
        self.model = model
        self.num_classes = num_classes
        self.inference = predict
        self.centers, self.choose = centers, choose

    # --- training ---------------------------------------------------------------------------------

    def learn(self, network: nn.Module, padded: PaddedBatch, targets: Sequence[Target], step: int) -> Learnt:
        """FCOS's losses, and the mask logits of the chosen positive locations."""
        outputs: CondInstOutputs = network(padded.images, padded.sizes)
        with torch.autocast(padded.images.device.type, enabled=False):
            locations, dense = self._locations(outputs), flatten_outputs(outputs)
            assigned = self._assigned(locations, targets, padded)
            proposals = self._proposals(dense, locations, assigned, step)
            return Learnt(
                detection_losses(dense, assigned),
                mask_logits(dense.mask_features, proposals, self.model),
                proposals.boxes,
                proposals.images,
                self.model.mask_out_stride,
            )

    def _locations(self, outputs: CondInstOutputs) -> Locations:
        shapes = [(int(level.shape[2]), int(level.shape[3])) for level in outputs.class_logits]
        return pyramid_locations(shapes, self.model.fpn_strides, outputs.mask_features.device)

    def _assigned(
        self, locations: Locations, targets: Sequence[Target], padded: PaddedBatch
    ) -> DetectionTargets:
        height, width = padded.images.shape[-2:]
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

    # --- prediction -------------------------------------------------------------------------------

    def see(self, network: nn.Module, padded: PaddedBatch) -> CondInstSeen:
        """The dense predictions of a batch."""
        outputs: CondInstOutputs = network(padded.images, padded.sizes)
        return CondInstSeen(
            self.model, self.inference, padded.sizes, self._locations(outputs), flatten_outputs(outputs)
        )


@dataclass
class CondInstSeen:
    """Dense predictions of a batch, whose images had the (height, width) `seen` before padding."""

    model: params.CondInst
    inference: params.Predict
    seen: list[Size]
    locations: Locations
    dense: DenseOutputs

    def find(self, sizes: Sequence[Size], *, soft: bool = False, wanted: Wanted | None = None) -> list[Found]:
        """Detections of each image, scaled to `sizes`."""
        results = []
        for index, part in enumerate(detect(self.dense, self.locations, self.inference)):
            boxes, kept = original_boxes(part.boxes, self.seen[index], sizes[index])
            places = chosen(index, boxes, kept, wanted)
            parts = self._probabilities(index, part.cells[places], sizes[index])
            masks, certainty = measured(parts, sizes[index], boxes.device, soft=soft)
            results.append(Found(boxes[places], part.labels[places], part.scores[places], masks, certainty))
        return results

    def fill(self, sizes: Sequence[Size], boxes: Sequence[Tensor]) -> list[Tensor]:
        """The mask of the location whose predicted box overlaps the given one best, clipped to that."""
        predicted = decode_boxes(self.dense.distances, self.locations)
        results = []
        for index, (size, part) in enumerate(zip(sizes, boxes, strict=True)):
            given = part.as_subclass(Tensor).to(predicted)
            cells = best_cells(predicted[index], rescale_boxes(given, size, self.seen[index]))
            masks = thresholded(self._probabilities(index, cells, size), size, given.device)
            results.append(clip_masks(masks, given))
        return results

    def _probabilities(self, image: int, cells: Tensor, size: Size) -> Iterator[Tensor]:
        """Mask probabilities of an image's locations `cells`, at `size`, some at a time."""
        images = torch.full_like(cells, image)
        proposals = _gather(self.dense, self.locations, images, cells, torch.full_like(cells, -1))
        logits = mask_logits(self.dense.mask_features, proposals, self.model)
        return enlarged(logits.sigmoid(), self.model.mask_out_stride, self.seen[image], size)


def mask_logits(features: Tensor, proposals: Proposals, model: params.CondInst) -> Tensor:
    """Masks of N proposals over the padded image: (N, H / mask_out_stride, W / mask_out_stride)."""
    sizes = torch.tensor(model.sizes_of_interest, dtype=torch.float32, device=features.device)
    return dynamic_mask_logits(
        features, proposals.parameters, proposals.points, sizes[proposals.levels], proposals.images, model
    )


def _gather(
    dense: DenseOutputs, locations: Locations, images: Tensor, cells: Tensor, boxes: Tensor
) -> Proposals:
    return Proposals(
        images, boxes, locations.levels[cells], locations.points[cells], dense.controller[images, cells]
    )
