"""Mask R-CNN (arXiv 1703.06870) as a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.inference import (
    chosen,
    clip_masks,
    measured,
    original_boxes,
    rescale_boxes,
)
from pipeline.methods.detection.paste import logit_maps, paste_masks, pasted
from pipeline.methods.detection.proposals import Choose, Positives
from pipeline.methods.detection.segmenter import Found, Learnt, Size, Wanted
from pipeline.models.mask_rcnn import MaskRCNN, Pyramid, Regions
from pipeline.structures import PaddedBatch, Target


class MaskRCNNSegmenter:
    """Asks a `MaskRCNN`."""

    def __init__(self, model: params.MaskRCNN, padding_divisor: int, *, choose: Choose) -> None:
        """choose: the positives, regions that were drawn, whose masks enter the mask losses."""
        self.model = model
        self.padding_divisor = padding_divisor
        self.choose = choose

    # --- training ---------------------------------------------------------------------------------

    def learn(self, network: nn.Module, padded: PaddedBatch, targets: Sequence[Target], step: int) -> Learnt:
        """The losses of boxes and classes, and the masks of the chosen regions, laid out over the image."""
        losses, regions = self.regions(network, padded, targets, step)
        boxes = torch.cat([target.boxes.as_subclass(Tensor) for target in targets])[regions.boxes]
        height, width = padded.images.shape[-2:]
        stride = self.model.mask_out_stride
        with torch.autocast(padded.images.device.type, enabled=False):
            logits = logit_maps(regions.logits, regions.areas, boxes, (height, width), stride)
        return Learnt(losses, logits, regions.boxes, regions.images, stride)

    def regions(
        self, network: nn.Module, padded: PaddedBatch, targets: Sequence[Target], step: int
    ) -> tuple[dict[str, Tensor], Regions]:
        """The losses of boxes and classes, and the chosen regions, their masks on their own grids."""
        losses, drawn = network(padded.images, padded.sizes, [_tensors(target) for target in targets])
        return losses, drawn[self.choose(Positives(drawn.images, drawn.boxes, drawn.quality), step)]

    # --- prediction -------------------------------------------------------------------------------

    def see(self, network: nn.Module, padded: PaddedBatch) -> MaskRCNNSeen:
        """The pyramid of a batch."""
        assert isinstance(network, MaskRCNN)  # what predicts is never wrapped
        return MaskRCNNSeen(network, padded, network.pyramid(padded.images, padded.sizes))


@dataclass
class MaskRCNNSeen:
    """The pyramid of a padded batch, and the network whose heads look at it."""

    network: MaskRCNN
    padded: PaddedBatch
    pyramid: Pyramid

    def find(self, sizes: Sequence[Size], *, soft: bool = False, wanted: Wanted | None = None) -> list[Found]:
        """Detections of each image, scaled to `sizes`."""
        seen, results = self.padded.sizes, []

        def places(image: int, boxes: Tensor) -> Tensor:
            return chosen(image, *original_boxes(boxes, seen[image], sizes[image]), wanted)

        found = self.network.detect(self.pyramid, self.padded.images, seen, places)
        for part, before, size in zip(found, seen, sizes, strict=True):
            boxes, _ = original_boxes(part.boxes, before, size)
            masks, certainty = measured(
                pasted(part.masks, part.areas, before, size), size, boxes.device, soft=soft
            )
            results.append(Found(boxes, part.labels, part.scores, masks, certainty))
        return results

    def fill(self, sizes: Sequence[Size], boxes: Sequence[Tensor]) -> list[Tensor]:
        """The mask of the class which the box head finds most likely in the box."""
        given = [
            rescale_boxes(part.as_subclass(Tensor).to(self.padded.images), size, seen)
            for part, size, seen in zip(boxes, sizes, self.padded.sizes, strict=True)
        ]
        found = self.network.masks_in_boxes(self.pyramid, given, self.padded.sizes)
        return [
            clip_masks(paste_masks(part, area, seen, size), box.as_subclass(Tensor).to(area))
            for part, area, box, seen, size in zip(*found, boxes, self.padded.sizes, sizes, strict=True)
        ]


def _tensors(target: Target) -> dict[str, Tensor]:
    """Boxes and labels as plain tensors: torchvision's heads know no other."""
    return {"boxes": target.boxes.as_subclass(Tensor), "labels": target.labels}
