"""Which neighbouring pixels a pseudo mask holds together (BoxTeacher, arXiv 2210.05174, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.box_supervision.neighbours import facing, neighbour_offsets

SMOOTHING = 3  # side of the window whose mean is mixed in


def mask_affinity(masks: Tensor, valid: Tensor, size: int, dilation: int) -> Tensor:
    """Noise-reduced affinity of each pixel i to its neighbours k: (N, size^2 - 1, H, W) float32 in [0, 1].

    masks: (N, H, W) in [0, 1]; valid: (N, H, W) bool, or (1, H, W) for all.  Neighbours are in the order of
    `neighbour_offsets`.  With s the mean of the mask and of its mean over 3 x 3 pixels (beyond the border 0),
    the affinity is s_i s_k + (1 - s_i)(1 - s_k); 0 where the neighbour is invalid or outside the map.
    """
    masks = masks.float()
    padding = SMOOTHING // 2
    mean = F.avg_pool2d(masks[:, None], SMOOTHING, stride=1, padding=padding)[:, 0]
    smooth = (masks + mean) / 2
    offsets = neighbour_offsets(size, dilation)
    height, width = masks.shape[-2:]
    affinity = masks.new_zeros(len(masks), len(offsets), height, width)
    for j, (dy, dx) in enumerate(offsets[: len(offsets) // 2]):
        (rows, far_rows), (columns, far_columns) = facing(height, dy), facing(width, dx)
        near, far = smooth[:, rows, columns], smooth[:, far_rows, far_columns]
        equal = near * far + (1 - near) * (1 - far)
        affinity[:, j, rows, columns] = equal * valid[:, far_rows, far_columns]
        affinity[:, -1 - j, far_rows, far_columns] = equal * valid[:, rows, columns]
    return affinity


def affine_pairs(affinity: Tensor, threshold: float) -> Tensor:
    """Pairs that the affinity loss holds together: affinity at or above the threshold, bool.

    Threshold -1 takes the affinities themselves as weights of the pairs: they are returned as they are.
    """
    return affinity if threshold == -1 else affinity >= threshold
