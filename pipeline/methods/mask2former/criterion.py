"""Mask2Former's losses: classes of all queries, masks of the matched ones, after every decoder layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.distributed import mean_over_processes
from pipeline.methods.dice import at_least_float32
from pipeline.methods.mask2former.matching import Matches, match
from pipeline.methods.mask2former.points import Points, draw_points, loss_points, sample
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses


@dataclass(frozen=True)
class MaskTargets:
    """The objects of one image.

    labels: (n,) int64 in [0, K); masks: (n, h, w) bool, which cover the whole padded image at any
    resolution that all images of the batch share.
    """

    labels: Tensor
    masks: Tensor


def mask2former_losses(
    predictions: Sequence[QueryPredictions], targets: Sequence[MaskTargets], settings: QueryLosses
) -> dict[str, Tensor]:
    """Weighted scalar losses by name: loss_ce, loss_mask, loss_dice of the first prediction, the network's
    last, and with the suffix _0, _1, ... of the others.

    predictions: of the same batch, one target per image.  Points are drawn from torch's global generator.
    Computed in float32.  All are NaN if a cost of the matching is not finite, so that a training stops.
    """
    with torch.autocast(predictions[0].mask_logits.device.type, enabled=False):
        predictions = [QueryPredictions(*map(at_least_float32, part)) for part in predictions]
        masks = torch.cat([target.masks for target in targets]).to(predictions[0].mask_logits.dtype)
        labels = [target.labels for target in targets]
        points = _draw(predictions, labels, settings)
        matches = match(predictions, labels, masks, points.matching, settings)
        mask_losses = _mask_losses(predictions, masks, points, matches, settings)
        losses = {}
        for index, prediction in enumerate(predictions):
            suffix = f"_{index - 1}" if index else ""
            classes = _matched_classes(prediction, torch.cat(labels), matches, index)
            class_loss = classification_loss(prediction.class_logits, classes, settings.no_object_weight)
            losses[f"loss_ce{suffix}"] = settings.class_weight * class_loss
            losses |= {f"{name}{suffix}": values[index] for name, values in mask_losses.items()}
    return losses if matches.finite else {name: loss * math.nan for name, loss in losses.items()}


def classification_loss(logits: Tensor, classes: Tensor, no_object_weight: float) -> Tensor:
    """Cross-entropy of logits (B, Q, K + 1) with classes (B, Q), K being no object: a scalar.

    A mean in which queries without an object weigh `no_object_weight` and the others 1.
    """
    weights = logits.new_ones(logits.shape[-1])
    weights[-1] = no_object_weight
    return F.cross_entropy(logits.transpose(1, 2), classes, weights)


def point_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice loss of N masks at P points, two of (N,).

    logits: (N, P); targets: (N, P) in [0, 1], soft at the edges of masks.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * targets).sum(dim=1)
    sizes = probabilities.sum(dim=1) + targets.sum(dim=1)
    return cross_entropy, 1 - (overlap + 1) / (sizes + 1)


def _draw(predictions: Sequence[QueryPredictions], labels: Sequence[Tensor], settings: QueryLosses) -> Points:
    images, queries = predictions[0].class_logits.shape[:2]
    matched = sum(min(len(part), queries) for part in labels)
    return draw_points(len(predictions), images, matched, settings, predictions[0].mask_logits.device)


def _matched_classes(prediction: QueryPredictions, labels: Tensor, matches: Matches, layer: int) -> Tensor:
    """The class (B, Q) that each query is to predict; labels: (sum of n,) of all objects."""
    images, queries, columns = prediction.class_logits.shape
    classes = labels.new_full((images * queries,), columns - 1)
    classes[matches.queries[layer]] = labels[matches.objects[layer]]
    return classes.view(images, queries)


def _mask_losses(
    predictions: Sequence[QueryPredictions],
    masks: Tensor,
    points: Points,
    matches: Matches,
    settings: QueryLosses,
) -> dict[str, list[Tensor]]:
    """Weighted losses of the matched masks, one of each kind per prediction.

    They are sums over the matched masks, divided by the number of objects: its mean over all processes.
    """
    shape = matches.queries.shape  # L, M
    count = torch.tensor(float(len(masks)), device=masks.device)
    count = mean_over_processes(count).clamp(min=1)
    logits = torch.cat(
        [
            part.mask_logits.flatten(0, 1)[queries]
            for part, queries in zip(predictions, matches.queries, strict=True)
        ]
    )
    chosen = loss_points(logits, points.candidates.flatten(0, 1), points.uniform.flatten(0, 1), settings)
    values = sample(logits[:, None], chosen)[:, 0]
    targets = _object_values(masks, matches.objects, chosen.view(*shape, settings.points, 2))
    cross_entropy, dice = point_losses(values, targets.flatten(0, 1))
    return {
        "loss_mask": [settings.mask_weight * (part.sum() / count) for part in cross_entropy.view(shape)],
        "loss_dice": [settings.dice_weight * (part.sum() / count) for part in dice.view(shape)],
    }


def _object_values(masks: Tensor, objects: Tensor, points: Tensor) -> Tensor:
    """Values (L, M, P) of the matched objects' masks; objects: (L, M); points: (L, M, P, 2).

    The points are sorted by object, which takes less memory than a copy of its mask for each prediction.
    """
    layers, _, number, _ = points.shape
    layer = torch.arange(layers, device=masks.device)[:, None]
    sorted_points = points.new_zeros(len(masks), layers, number, 2)
    sorted_points[objects, layer] = points
    values = sample(masks[:, None], sorted_points.flatten(1, 2)).view(len(masks), layers, number)
    return values[objects, layer]
