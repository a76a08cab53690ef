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
from pipeline.methods.mask2former.matching import match
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
        count = _mean_count(masks)
        losses = {}
        for index, (classes, logits) in enumerate(predictions):
            queries, objects = matches.queries[index], matches.objects[index]
            matched = _matched_classes(classes, torch.cat(labels), queries, objects)
            class_loss = classification_loss(classes, matched, settings.no_object_weight)
            logits = logits.flatten(0, 1)[queries]
            chosen = loss_points(logits, points.candidates[index], points.uniform[index], settings)
            values = sample(logits[:, None], chosen)[:, 0]
            cross_entropy, dice = point_losses(values, _object_values(masks, objects, chosen))
            suffix = f"_{index - 1}" if index else ""
            losses[f"loss_ce{suffix}"] = settings.class_weight * class_loss
            losses[f"loss_mask{suffix}"] = settings.mask_weight * (cross_entropy.sum() / count)
            losses[f"loss_dice{suffix}"] = settings.dice_weight * (dice.sum() / count)
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


def _mean_count(masks: Tensor) -> Tensor:
    """The number of objects that losses of masks are divided by: the mean over processes, at least 1."""
    return mean_over_processes(torch.tensor(float(len(masks)), device=masks.device)).clamp(min=1)


def _matched_classes(logits: Tensor, labels: Tensor, queries: Tensor, objects: Tensor) -> Tensor:
    """The class (B, Q) that each query is to predict.

    logits: (B, Q, K + 1); labels: (sum of n,) of all objects; queries, objects: (M,), the pairs.
    """
    classes = labels.new_full((logits.shape[0] * logits.shape[1],), logits.shape[2] - 1)
    classes[queries] = labels[objects]
    return classes.view(logits.shape[:2])


def _object_values(masks: Tensor, objects: Tensor, points: Tensor) -> Tensor:
    """Values (M, P) of the masks of `objects`, (M,), at their points, (M, P, 2).

    The points are sorted by object, as they are fewer than the pixels of a mask.
    """
    sorted_points = points.new_zeros(len(masks), *points.shape[1:])
    sorted_points[objects] = points
    return sample(masks[:, None], sorted_points)[:, 0][objects]
