"""Which of a teacher's predictions its student learns from (arXiv 2308.02668; numbers of the release)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline import params
from pipeline.methods.mask2former.criterion import MaskTargets
from pipeline.models.mask2former.predictions import QueryPredictions

MASK_THRESHOLD = 0.5  # of a pixel's probability, above which it belongs to the mask


@torch.no_grad()
def pseudo_masks(predictions: QueryPredictions, settings: params.PseudoMasks) -> list[MaskTargets]:
    """The pseudo-labels of each image, in the order of the queries, at the resolution of the mask logits.

    A query is kept whose likeliest class is an object with a probability above class_threshold, and whose
    mask has a soft area, the sum of its probabilities, above area_threshold.  Overlaps and duplicates stay.
    Such a mask may still have no pixel above one half; drop_empty leaves it out.
    """
    confidences, classes = predictions.class_logits.softmax(dim=-1).max(dim=-1)
    no_object = predictions.class_logits.shape[-1] - 1
    sure = (classes != no_object) & (confidences > settings.class_threshold)
    return [
        _of_image(labels[kept], logits[kept].sigmoid(), settings)
        for labels, logits, kept in zip(classes, predictions.mask_logits, sure, strict=True)
    ]


def _of_image(labels: Tensor, probabilities: Tensor, settings: params.PseudoMasks) -> MaskTargets:
    """labels: (n,); probabilities: (n, h, w), both of the queries that are sure of their class."""
    large = probabilities.sum(dim=(1, 2)) > settings.area_threshold
    labels, masks = labels[large], probabilities[large] > MASK_THRESHOLD
    if settings.drop_empty:
        seen = masks.flatten(1).any(dim=1)
        labels, masks = labels[seen], masks[seen]
    return MaskTargets(labels, masks)
