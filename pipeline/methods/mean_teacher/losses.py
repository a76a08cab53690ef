"""What a student's predictions cost that differ from its teacher's labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.methods.mask2former.criterion import MaskTargets, mask2former_losses
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses


def unlabelled_losses(
    predictions: Sequence[QueryPredictions],
    labels: Sequence[MaskTargets],
    settings: QueryLosses,
    weight: float,
) -> dict[str, Tensor]:
    """Mask2Former's losses with pseudo-labels as targets, `weight` times each: "loss_ce_unlabelled", ...

    predictions: of every layer, the final one's first, for one batch; labels: of each of its images.  An
    image without a pseudo-label teaches all its queries that there is no object.  The number of masks that
    divides the mask losses is that of these pseudo-labels alone.
    """
    losses = mask2former_losses(predictions, labels, settings)
    return {f"{name}_unlabelled": weight * loss for name, loss in losses.items()}


def label_counts(labels: Sequence[MaskTargets]) -> dict[str, Tensor]:
    """What the log shows of a batch's pseudo-labels: their number per image, the share of images without."""
    counts = torch.tensor([float(len(image.labels)) for image in labels])
    return {
        "metric_pseudo_masks": counts.mean(),
        "metric_without_pseudo_masks": (counts == 0).float().mean(),
    }
