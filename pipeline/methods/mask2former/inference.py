"""From the predictions of queries to instances, as published, and to masks for given boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from pipeline.methods.detection.inference import MASKS_AT_ONCE, clip_masks, evaluating
from pipeline.models.mask2former.network import Mask2Former
from pipeline.structures import Instances, PaddedBatch, Sample, mask_boxes, pad_images

Size = tuple[int, int]  # (height, width)
AREA_EPSILON = 1e-6  # of the mean over a mask that may be empty


def detect(network: Mask2Former, samples: list[Sample], limit: int) -> list[Instances]:
    """The best `limit` detections of each image, in pixels of the original images.

    A detection is a query with a class, so a query may be detected as several; its score is the probability
    of the class times the mean probability of the mask's pixels.  No threshold and no suppression of
    overlaps; empty masks are left out, and boxes are those of the masks.
    """
    return [
        _instances(classes, masks, quality, limit) for classes, masks, quality in _segment(network, samples)
    ]


def detect_and_fill(
    network: Mask2Former, samples: list[Sample], boxes: Sequence[Tensor], limit: int
) -> tuple[list[Instances], list[Tensor]]:
    """Detections as `detect`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

    boxes: (N, 4) xyxy per image, in pixels of the original image; N may be 0.  The mask is that of the query
    whose own box overlaps the given one best; of equal ones, the most likely object's.  None overlapping,
    it is empty.
    """
    detections, filled = [], []
    for given, (classes, masks, quality) in zip(boxes, _segment(network, samples), strict=True):
        detections.append(_instances(classes, masks, quality, limit))
        filled.append(_masks_in_boxes(classes, masks, given.as_subclass(Tensor).to(classes)))
    return detections, filled


def _segment(network: Mask2Former, samples: list[Sample]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each image: class probabilities (Q, K), masks (Q, H, W) bool of its original size, quality (Q,).

    One image after the other, so that no more full-size masks are held than those of one.
    """
    device = next(network.parameters()).device
    padded = pad_images([sample.image.to(device) for sample in samples], network.padding_divisor)
    with evaluating(network):
        prediction = network(padded.images, padded.sizes)[0]
    for index, sample in enumerate(samples):
        probabilities = prediction.class_logits[index].softmax(dim=-1)[:, :-1]
        masks, quality = _full_masks(prediction.mask_logits[index], padded, index, sample.original_size)
        yield probabilities, masks, quality


def _full_masks(logits: Tensor, padded: PaddedBatch, index: int, original: Size) -> tuple[Tensor, Tensor]:
    """Masks (Q, *original) bool where the enlarged logits (Q, h, w) are positive, and their quality (Q,).

    quality: the mean probability of the mask's pixels.
    """
    height, width = padded.sizes[index]
    masks, quality = [], []
    for part in torch.split(logits[None], MASKS_AT_ONCE, dim=1):
        full = _resize(part, padded.images.shape[-2:])[..., :height, :width]
        full = _resize(full, original)[0]
        positive = full > 0
        inside = torch.where(positive, full.sigmoid(), 0).sum((1, 2))
        quality.append(inside / (positive.sum((1, 2)) + AREA_EPSILON))
        masks.append(positive)
    return torch.cat(masks), torch.cat(quality)


def _resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    if logits.shape[-2:] == tuple(size):
        return logits  # as the interpolation would give them, to the bit
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def _instances(classes: Tensor, masks: Tensor, quality: Tensor, limit: int) -> Instances:
    values, pairs = classes.flatten().topk(min(limit, classes.numel()))
    queries, labels = pairs // classes.shape[1], pairs % classes.shape[1]
    scores = values * quality[queries]
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > 0]
    queries = queries[order]
    chosen = masks[queries]
    return Instances(mask_boxes(chosen), labels[order], scores[order], chosen)


def _masks_in_boxes(classes: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    likely = classes.amax(dim=1).argsort(descending=True, stable=True)
    overlaps: Tensor = box_iou(boxes, mask_boxes(masks[likely]))
    best = likely[overlaps.argmax(dim=1)]  # the first of equal ones
    return clip_masks(masks[best], boxes)
