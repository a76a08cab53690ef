"""Which of a teacher's predictions its student learns from (arXiv 2308.02668; numbers of the release)."""

from __future__ import annotations

import torch

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
    kept = (classes != no_object) & (confidences > settings.class_threshold)
    probabilities = predictions.mask_logits.sigmoid()
    kept &= probabilities.sum(dim=(2, 3)) > settings.area_threshold
    masks = probabilities > MASK_THRESHOLD
    if settings.drop_empty:
        kept &= masks.flatten(2).any(dim=2)
    # Which ones they are is asked once for the batch, as the host waits for the answer.
    chosen = kept.cpu()
    places, counts = chosen.flatten().nonzero()[:, 0].to(classes.device), chosen.sum(dim=1).tolist()
    labels, masks = classes.flatten()[places], masks.flatten(0, 1)[places]
    return [
        MaskTargets(*image)
        for image in zip(torch.split(labels, counts), torch.split(masks, counts), strict=True)
    ]
