"""The detection losses of FCOS: focal loss, centre-ness weighted GIoU loss, centre-ness loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.distributed import mean_over_processes
from pipeline.methods.detection.dense import DenseOutputs
from pipeline.methods.detection.targets import DetectionTargets

FOCAL_ALPHA = 0.25  # arXiv 1708.02002
FOCAL_GAMMA = 2.0
LEAST_CENTERNESS_SUM = 1e-6


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid focal loss, summed over locations and classes (arXiv 1708.02002, equation 5).

    logits: (..., K); labels: (...) int64 in [0, K], K being background.  Returns a scalar.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    hit = labels[..., None] == classes
    # Each entry is a binary choice with signed logit s: -log p = softplus(-s), 1 - p = sigmoid(-s).
    wrong = torch.where(hit, -logits, logits)
    alpha = hit * (2 * FOCAL_ALPHA - 1) + (1 - FOCAL_ALPHA)
    return (alpha * wrong.sigmoid() ** FOCAL_GAMMA * F.softplus(wrong)).sum()


def centerness_targets(distances: Tensor) -> Tensor:
    """sqrt(min/max of left, right * min/max of top, bottom): (N, 4) positive distances -> (N,) in [0, 1]."""
    across, down = distances[:, 0::2], distances[:, 1::2]
    ratio = (across.amin(1) / across.amax(1)) * (down.amin(1) / down.amax(1))
    return ratio.sqrt()


def giou(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv 1902.09630) of boxes given by distances from one common point.

    predicted, target: (N, 4) left, top, right, bottom in units of the stride.  Returns two (N,) tensors.
    FCOS's IoU is (intersection + 1) / (union + 1), in these units; the enclosing term has no such 1.
    """
    overlap = torch.minimum(predicted, target)
    hull = torch.maximum(predicted, target)
    intersection, enclosing = _area(overlap), _area(hull)
    union = _area(predicted) + _area(target) - intersection
    iou = (intersection + 1) / (union + 1)
    return iou, iou - (enclosing - union) / enclosing


def _area(distances: Tensor) -> Tensor:
    left, top, right, bottom = distances.unbind(dim=1)
    return (left + right) * (top + bottom)


def box_loss(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Sum over N positives of weight * (1 - GIoU).  predicted, target: (N, 4); weights: (N,)."""
    return (weights * (1 - giou(predicted, target)[1])).sum()


def centerness_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy, summed.  logits: (N,); targets: (N,) in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


def detection_losses(dense: DenseOutputs, targets: DetectionTargets) -> dict[str, Tensor]:
    """The three losses of a batch, normalised over all processes: FCOS (arXiv 1904.01355, equation 2).

    Without any positive location the box and centre-ness losses are zero, and still part of the graph.
    """
    positive = targets.boxes >= 0
    wanted = targets.distances[positive]
    quality = centerness_targets(wanted)
    count = mean_over_processes(positive.sum().float()).clamp(min=1)
    total_quality = mean_over_processes(quality.sum()).clamp(min=LEAST_CENTERNESS_SUM)
    return {
        "loss_fcos_cls": focal_loss(dense.class_logits, targets.labels) / count,
        "loss_fcos_loc": box_loss(dense.distances[positive], wanted, quality) / total_quality,
        "loss_fcos_ctr": centerness_loss(dense.centerness[positive], quality) / count,
    }
