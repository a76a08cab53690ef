"""Which query is to predict which object: the least total cost, one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.methods.mask2former.points import sample
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses


@dataclass(frozen=True)
class Matches:
    """Pairs of queries and objects of a batch, by image and then by query, for each of L predictions.

    queries: (L, M) int64, image * Q + query; objects: (L, M) int64, counted through all of the images;
    finite: whether all costs were numbers; if not, the pairs mean nothing.
    """

    queries: Tensor
    objects: Tensor
    finite: bool


@torch.no_grad()
def match(
    predictions: Sequence[QueryPredictions],
    labels: Sequence[Tensor],
    masks: Tensor,
    points: Tensor,
    settings: QueryLosses,
) -> Matches:
    """Match every prediction of a batch of B images with its objects.

    labels: (n,) int64 per image; masks: (sum of n, h, w) float, those of all images in the same order;
    points: (L, B, P, 2).  An image with more objects than queries leaves some unmatched.
    The costs of all predictions and images go to the CPU together, where the pairs are found.
    """
    counts = [len(part) for part in labels]
    costs = match_costs(predictions, labels, masks, points, settings).cpu().numpy()
    queries = predictions[0].class_logits.shape[1]
    finite = all(np.isfinite(costs[:, image, :, :count]).all() for image, count in enumerate(counts))
    pairs = [_pairs(layer, counts, queries) for layer in np.nan_to_num(costs)]
    device = masks.device
    rows, columns = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*pairs, strict=True))
    return Matches(rows, columns, finite)


def match_costs(
    predictions: Sequence[QueryPredictions],
    labels: Sequence[Tensor],
    masks: Tensor,
    points: Tensor,
    settings: QueryLosses,
) -> Tensor:
    """Costs (L, B, Q, n), n that of the image with most objects; columns beyond an image's own mean nothing.

    Arguments as of `match`.  class_weight * (-probability of the object's class) + mask_weight *
    cross-entropy + dice_weight * dice loss, the latter two at the points.
    """
    counts = [len(part) for part in labels]
    image_of = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(points.device)
    classes = pad_sequence(list(labels), batch_first=True)
    costs = []
    for (logits, mask_logits), places in zip(predictions, points, strict=True):
        values = sample(masks[:, None], places[image_of])[:, 0]
        targets = pad_sequence(list(torch.split(values, counts)), batch_first=True)
        cross_entropy, dice = pair_costs(sample(mask_logits, places), targets)
        of_class = logits.softmax(dim=-1).gather(2, classes[:, None].expand(-1, logits.shape[1], -1))
        costs.append(
            settings.mask_weight * cross_entropy
            - settings.class_weight * of_class
            + settings.dice_weight * dice
        )
    return torch.stack(costs)


def pair_costs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice loss of each query with each object: two of (..., Q, n).

    logits: (..., Q, P); targets: (..., n, P) in [0, 1].
    """
    transposed, points = targets.transpose(-1, -2), logits.shape[-1]
    # The cross-entropy softplus(x) - x t is linear in t, so it needs no second product for 1 - t.
    cross_entropy = (F.softplus(logits).sum(-1, keepdim=True) - logits @ transposed) / points
    probabilities = logits.sigmoid()
    sizes = probabilities.sum(-1, keepdim=True) + targets.sum(-1)[..., None, :]
    dice = 1 - (2 * probabilities @ transposed + 1) / (sizes + 1)
    return cross_entropy, dice


def _pairs(
    costs: NDArray[np.float32], counts: Sequence[int], queries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pairs of one prediction, counted through the batch.  costs: (B, Q, n)."""
    rows, columns, first = [], [], 0
    for image, count in enumerate(counts):
        row, column = linear_sum_assignment(costs[image, :, :count])
        rows.append(row + image * queries)
        columns.append(column + first)
        first += count
    return np.concatenate(rows), np.concatenate(columns)
