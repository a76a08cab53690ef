"""Batches of predictions and targets for Mask2Former's losses, and what the library makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from pipeline.methods.mask2former.criterion import MaskTargets
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses

Batch = tuple[list[QueryPredictions], list[MaskTargets]]
OURS = {"loss_cross_entropy": "loss_ce", "loss_mask": "loss_mask", "loss_dice": "loss_dice"}


def as_batch(arrays: dict[str, Tensor]) -> Batch:
    """Predictions (axis 0 of the vectors) and targets of three images."""
    pairs = zip(arrays["pred_logits"], arrays["pred_masks"], strict=True)
    targets = [MaskTargets(arrays[f"labels_{image}"], arrays[f"masks_{image}"]) for image in range(3)]
    return [QueryPredictions(*pair) for pair in pairs], targets


def drawn(counts: Sequence[int], queries: int = 7, classes: int = 4, layers: int = 3, seed: int = 0) -> Batch:
    """Smooth random predictions, and blobs as targets: `counts` of them per image, of 24 x 20 pixels."""
    draw = torch.Generator().manual_seed(seed)

    def smooth(*shape: int, size: tuple[int, int]) -> Tensor:
        coarse = 4 * torch.randn(*shape, 5, 4, generator=draw)
        return torch.nn.functional.interpolate(coarse.flatten(0, -4), size=size, mode="bilinear")

    predictions = [
        QueryPredictions(
            torch.randn(len(counts), queries, classes + 1, generator=draw),
            smooth(len(counts), queries, size=(12, 10)),
        )
        for _ in range(layers)
    ]
    targets = []
    for count in counts:
        labels = torch.randint(classes, (count,), generator=draw)
        targets.append(MaskTargets(labels, smooth(1, max(count, 1), size=(24, 20))[0, :count] > 0))
    return predictions, targets


def library_losses(batch: Batch, settings: QueryLosses) -> dict[str, Tensor]:
    """The weighted losses of transformers, under our names."""
    predictions, targets = batch
    config = Mask2FormerConfig(
        num_labels=predictions[0].class_logits.shape[-1] - 1,
        class_weight=settings.class_weight,
        mask_weight=settings.mask_weight,
        dice_weight=settings.dice_weight,
        no_object_weight=settings.no_object_weight,
        train_num_points=settings.points,
        oversample_ratio=settings.oversample,
        importance_sample_ratio=settings.importance,
    )
    weights = {
        "loss_cross_entropy": settings.class_weight,
        "loss_mask": settings.mask_weight,
        "loss_dice": settings.dice_weight,
    }
    final, *auxiliary = predictions
    losses = Mask2FormerLoss(config, weights)(
        final.mask_logits,
        final.class_logits,
        [target.masks.float() for target in targets],
        [target.labels for target in targets],
        [
            {"masks_queries_logits": part.mask_logits, "class_queries_logits": part.class_logits}
            for part in auxiliary
        ],
    )
    named = {}
    for name, loss in losses.items():
        kind = next(kind for kind in OURS if name.startswith(kind))
        named[OURS[kind] + name.removeprefix(kind)] = weights[kind] * loss
    return named
