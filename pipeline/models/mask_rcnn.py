"""Mask R-CNN (arXiv 1703.06870) on a pyramid (arXiv 1612.03144): torchvision's heads on our backbones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from pipeline import params
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.fpn import FPN
from pipeline.models.normalise import Normalise

# Overlap with an object above which an anchor or a proposal is positive, and below which it is negative;
# the share of positives in a draw; the overlap at which proposals suppress each other (Faster R-CNN,
# arXiv 1506.01497, and Fast R-CNN, arXiv 1504.08083).
_ANCHOR_IOU = (0.7, 0.3)
_ANCHOR_POSITIVES = 0.5
_PROPOSAL_NMS = 0.7
_ROI_IOU = (0.5, 0.5)
_ROI_POSITIVES = 0.25
_SAMPLES_PER_BIN = 2  # of RoIAlign, along each axis
_OUTWARD = torch.tensor([-0.5, -0.5, 0.5, 0.5])

Sizes = Sequence[tuple[int, int]]
Pyramid = dict[str, Tensor]
# Of an image and the boxes of its detections, (N, 4): those that get a mask, (n,) int64.
Places = Callable[[int, Tensor], Tensor]


@dataclass
class Regions:
    """The P proposals of a batch that were drawn and hold an object, image by image.

    images: (P,) int64 index into the batch, ascending; boxes: (P,) int64 index into the batch's
    concatenated boxes; quality: (P,) probability of the box's class, without gradient; logits: (P, M, M) of
    the mask of that class, on a grid over `areas`: (P, 4) xyxy, in pixels of the network's input.
    """

    images: Tensor
    boxes: Tensor
    areas: Tensor
    quality: Tensor
    logits: Tensor

    def __getitem__(self, chosen: Tensor) -> Regions:
        """The regions with the (N,) int64 indices `chosen`."""
        return Regions(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass
class Found:
    """Detections of one image, best score first, in pixels of the network's input, clipped to the image.

    boxes: (N, 4) xyxy; labels: (N,) int64 from 0; scores: (N,); masks: (N, M, M), the probability of the
    object on a grid over `areas`: (N, 4) xyxy, not clipped.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor
    areas: Tensor


class MaskRCNN(nn.Module):
    """The whole network.  Raises UserError when the backbone lacks the finest stride of the pyramid.

    padding_divisor: the padded sides of a batch must be multiples of it.  Anchors and proposals for the
    losses are drawn from torch's global generator of the device.
    """

    def __init__(
        self, model: params.MaskRCNN, num_classes: int, backbone: Backbone, predict: params.Predict
    ) -> None:
        """predict: the thresholds and limits of `detect`."""
        super().__init__()
        self.backbone = backbone
        self.fpn = FPN(backbone.channels, model.fpn_channels, model.fpn_strides, coarser="subsampling")
        self.normalise = Normalise(model.pixel_mean, model.pixel_std)
        self.rpn = _proposal_network(model, predict)
        self.roi_heads = _box_heads(model, self.fpn.lateral_strides, num_classes, predict)
        self.mask_head = _MaskHead(model, self.fpn.lateral_strides, num_classes)
        self.mask_margin = model.mask_margin
        self.padding_divisor = max(*backbone.channels, *model.fpn_strides)

    def forward(
        self, images: Tensor, sizes: Sizes, targets: list[dict[str, Tensor]]
    ) -> tuple[dict[str, Tensor], Regions]:
        """The losses of boxes and classes, and the masks that a method compares with what it knows of them.

        images: (B, 3, H, W) float RGB, 0..255; sizes: (height, width) of each within its padding; targets:
        per image boxes (N, 4) float32 xyxy and labels (N,) int64 from 0; N may be 0.  The losses are float32
        scalars: loss_objectness, _rpn_box, _class and _box.
        """
        # Class 0 of torchvision is the background.
        targets = [{**target, "labels": target["labels"] + 1} for target in targets]
        pyramid = self.pyramid(images, sizes)
        heads: Any = self.roi_heads
        with fast_roi_align(images.device):
            proposals, rpn_losses = self.rpn(ImageList(images, list(sizes)), pyramid, targets)
            rois, matched, labels, offsets = heads.select_training_samples(proposals, targets)
            class_logits, box_offsets = heads.box_predictor(
                heads.box_head(heads.box_roi_pool(pyramid, rois, list(sizes)))
            )
            class_loss, box_loss = fastrcnn_loss(class_logits, box_offsets, labels, offsets)
            regions = self._regions(pyramid, sizes, targets, rois, matched, labels, class_logits.detach())
        losses = {
            "loss_objectness": rpn_losses["loss_objectness"],
            "loss_rpn_box": rpn_losses["loss_rpn_box_reg"],
            "loss_class": class_loss,
            "loss_box": box_loss,
        }
        return losses, regions

    def _regions(
        self,
        pyramid: Pyramid,
        sizes: Sizes,
        targets: list[dict[str, Tensor]],
        rois: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        class_logits: Tensor,
    ) -> Regions:
        """Of the drawn rois, whose boxes are `matched`, those whose label is not the background."""
        objects = [part > 0 for part in labels]
        counts = [int(part.sum()) for part in objects]
        firsts = list(accumulate((len(target["boxes"]) for target in targets), initial=0))
        boxes = [part[kept] + first for part, kept, first in zip(matched, objects, firsts[:-1], strict=True)]
        areas = self._areas([part[kept] for part, kept in zip(rois, objects, strict=True)])
        every, classes = torch.cat(objects), torch.cat(labels)
        classes = classes[every]
        quality = class_logits[every].softmax(dim=1)[torch.arange(len(classes), device=every.device), classes]
        images = torch.arange(len(counts), device=every.device)
        return Regions(
            images.repeat_interleave(torch.tensor(counts, device=every.device)),
            torch.cat(boxes),
            torch.cat(areas),
            quality,
            self.mask_head(pyramid, areas, sizes, classes),
        )

    def pyramid(self, images: Tensor, sizes: Sizes) -> Pyramid:
        """Maps by stride, in float32: boxes are computed in the maps' precision, and half is too coarse."""
        levels = self.fpn(self.backbone(self.normalise(images, sizes)))
        return {str(s): level.float() for s, level in zip(self.fpn.strides, levels, strict=True)}

    def detect(
        self, pyramid: Pyramid, images: Tensor, sizes: Sizes, places: Places | None = None
    ) -> list[Found]:
        """Detections of each image, those at `places` or all; the module must be in evaluation mode."""
        with fast_roi_align(images.device):
            proposals, _ = self.rpn(ImageList(images, list(sizes)), pyramid)
            results, _ = self.roi_heads(pyramid, proposals, list(sizes))
            if places is not None:
                chosen = [places(image, found["boxes"]) for image, found in enumerate(results)]
                results = [
                    {name: values[kept] for name, values in found.items()}
                    for found, kept in zip(results, chosen, strict=True)
                ]
            boxes = [found["boxes"] for found in results]
            labels = [found["labels"] for found in results]
            areas = self._areas(boxes)
            masks = self._masks(pyramid, areas, sizes, torch.cat(labels))
        return [
            Found(around, classes - 1, found["scores"], *mask)
            for around, classes, found, *mask in zip(boxes, labels, results, masks, areas, strict=True)
        ]

    def masks_in_boxes(
        self, pyramid: Pyramid, boxes: list[Tensor], sizes: Sizes
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per image the (N, M, M) probabilities for each of the (N, 4) xyxy boxes, and the areas they cover.

        N may be 0; areas: (N, 4) xyxy, not clipped.  The mask is that of the class which the box head finds
        most likely in the box.
        """
        heads: Any = self.roi_heads
        with fast_roi_align(pyramid[str(self.fpn.strides[0])].device):
            logits, _ = heads.box_predictor(heads.box_head(heads.box_roi_pool(pyramid, boxes, list(sizes))))
            areas = self._areas(boxes)
            return self._masks(pyramid, areas, sizes, logits[:, 1:].argmax(dim=1) + 1), areas

    def _masks(self, pyramid: Pyramid, areas: list[Tensor], sizes: Sizes, labels: Tensor) -> list[Tensor]:
        logits = self.mask_head(pyramid, areas, sizes, labels)
        return list(logits.sigmoid().split([len(part) for part in areas]))

    def _areas(self, boxes: list[Tensor]) -> list[Tensor]:
        """What the masks of (N, 4) boxes cover: the boxes with their margins."""
        return [
            part + self.mask_margin * (part.roll(-2, 1) - part).abs() * _OUTWARD.to(part) for part in boxes
        ]


class _MaskHead(nn.Module):
    """The masks of regions: RoIAlign, convolutions, and a map of logits per class."""

    def __init__(self, model: params.MaskRCNN, strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels = model.mask_head_channels
        self.pool = _pool(strides, model.mask_pool)
        self.convs = MaskRCNNHeads(model.fpn_channels, (channels,) * model.mask_head_convs, 1)
        self.predictor = _in_float32(MaskRCNNPredictor(channels, channels, num_classes + 1))

    def forward(self, pyramid: Pyramid, areas: list[Tensor], sizes: Sizes, labels: Tensor) -> Tensor:
        """(N, M, M) logits of a class in each area, on a grid over it.

        areas: (n, 4) xyxy per image, N in all; labels: (N,) int64 from 1.
        """
        logits: Tensor = self.predictor(self.convs(self.pool(pyramid, areas, list(sizes))))
        return logits[torch.arange(len(labels), device=labels.device), labels]


def build_mask_rcnn(model: params.MaskRCNN, num_classes: int, predict: params.Predict) -> MaskRCNN:
    """Mask R-CNN on the backbone that `model` names, with random weights."""
    backbone = build_backbone(
        model.backbone, frozen_stages=model.frozen_stages, frozen_batchnorm=model.frozen_batchnorm
    )
    return MaskRCNN(model, num_classes, backbone, predict)


def _proposal_network(model: params.MaskRCNN, predict: params.Predict) -> nn.Module:
    levels = len(model.fpn_strides)
    anchors = AnchorGenerator(
        tuple((size,) for size in model.anchor_sizes), (tuple(model.anchor_ratios),) * levels
    )
    network: nn.Module = RegionProposalNetwork(
        anchors,
        _in_float32(RPNHead(model.fpn_channels, len(model.anchor_ratios))),
        *_ANCHOR_IOU,
        model.rpn_batch,
        _ANCHOR_POSITIVES,
        {"training": model.rpn_pre_nms, "testing": predict.pre_nms_topk},
        {"training": model.rpn_post_nms, "testing": predict.pre_nms_topk},
        _PROPOSAL_NMS,
    )
    return network


def _box_heads(
    model: params.MaskRCNN, strides: Sequence[int], num_classes: int, predict: params.Predict
) -> nn.Module:
    channels = model.box_head_channels
    heads: nn.Module = RoIHeads(
        _pool(strides, model.box_pool),
        TwoMLPHead(model.fpn_channels * model.box_pool**2, channels),
        _in_float32(FastRCNNPredictor(channels, num_classes + 1)),
        *_ROI_IOU,
        model.roi_batch,
        _ROI_POSITIVES,
        None,  # torchvision's weights of the box offsets: 10, 10, 5, 5
        predict.score_threshold,
        predict.nms_threshold.mask_rcnn,
        predict.detections_per_image,
    )
    return heads


def _pool(strides: Sequence[int], side: int) -> nn.Module:
    """RoIAlign on the level that fits the box (arXiv 1612.03144, equation 1)."""
    pool: Any = MultiScaleRoIAlign([str(stride) for stride in strides], side, _SAMPLES_PER_BIN)
    # Otherwise guessed from the sizes of the first batch, wrongly if most of a small image is padding.
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = LevelMapper(*(int(math.log2(stride)) for stride in (strides[0], strides[-1])))
    return pool  # type: ignore[no-any-return]


def _in_float32(module: nn.Module) -> nn.Module:
    """The module with outputs in float32 under autocast too, since boxes and losses follow from them."""
    module.register_forward_hook(_to_float32)
    return module


def _to_float32(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    return type(outputs)(_to_float32(module, inputs, part) for part in outputs)


@contextmanager
def fast_roi_align(device: torch.device) -> Iterator[None]:
    """On a GPU, torchvision's kernel and not the slow substitute that it takes for deterministic results.

    The kernel's forward pass is deterministic; its backward pass adds in varying order.
    """
    if device.type == "cpu":
        yield
        return
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
