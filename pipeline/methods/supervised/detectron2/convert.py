"""Our samples as detectron2's inputs, and its outputs as ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from pipeline.methods.detection.inference import clip_masks, rescale_boxes
from pipeline.structures import Instances, Sample, Target


def to_input(sample: Sample) -> dict[str, Any]:
    """The dict of one image: RGB uint8, and the size that detections shall have."""
    height, width = sample.original_size
    image = sample.image.as_subclass(Tensor)
    return {"image": image, "height": height, "width": width, "image_id": sample.image_id}


def to_training_input(sample: Sample) -> dict[str, Any]:
    """`to_input`, and the objects as detectron2's Instances."""
    return to_input(sample) | {"instances": _objects(sample.target, _size(sample))}


def _objects(target: Target, size: tuple[int, int]) -> Any:
    from detectron2.structures import BitMasks, Boxes
    from detectron2.structures import Instances as Theirs

    return Theirs(
        size,
        gt_boxes=Boxes(target.boxes.as_subclass(Tensor)),
        gt_classes=target.labels,
        gt_masks=BitMasks(target.required_masks().as_subclass(Tensor)),
    )


def from_output(found: Any) -> Instances:
    """detectron2's Instances of one image, in original pixels, as ours."""
    return Instances(
        found.pred_boxes.tensor, found.pred_classes, found.scores, found.pred_masks.to(torch.bool)
    )


def given_boxes(sample: Sample, boxes: Tensor, found: Any) -> Any:
    """Boxes in original pixels as if detected, each with the class of the detection that overlaps it best.

    found: detectron2's Instances of the image, in pixels of the network's input.  Without any overlap the
    class is that of the best detection, without any detection it is 0.
    """
    from detectron2.structures import Boxes
    from detectron2.structures import Instances as Theirs

    boxes = rescale_boxes(boxes, sample.original_size, _size(sample))
    classes = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    if len(found.scores):
        classes = found.pred_classes[box_iou(boxes, found.pred_boxes.tensor).argmax(dim=1)]
    return Theirs(_size(sample), pred_boxes=Boxes(boxes), pred_classes=classes)


def paste(masks: Tensor, boxes: Tensor, original: tuple[int, int]) -> Tensor:
    """Masks (N, *original) bool within their boxes (N, 4) from (N, 1, M, M) probabilities over those."""
    from detectron2.layers import paste_masks_in_image

    whole: Tensor = paste_masks_in_image(masks[:, 0], boxes, original)
    return clip_masks(whole.to(torch.bool), boxes)


def _size(sample: Sample) -> tuple[int, int]:
    return int(sample.image.shape[-2]), int(sample.image.shape[-1])
