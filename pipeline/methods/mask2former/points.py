"""Points at which masks are compared, in place of all of their pixels (PointRend, arXiv 1912.08193).

A point is (x, y) in [-1, 1], from edge to edge of a mask of whatever resolution.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params import QueryLosses


class Points(NamedTuple):
    """Uniform random points for L predictions of B images with M matched masks.

    matching: (L, B, P, 2), at which an image's costs are measured; candidates: (L, M, C, 2), among which
    those of the losses are chosen; uniform: (L, M, U, 2), those that the losses use as they are.
    """

    matching: Tensor
    candidates: Tensor
    uniform: Tensor


def draw_points(layers: int, images: int, masks: int, settings: QueryLosses, device: torch.device) -> Points:
    """All random points of one training step, from torch's global generator.

    The order is that of the reference: layer after layer the points of the matching, the candidates, the
    uniform ones.  None depends on a prediction, so one call draws them all.
    """
    shapes = (
        (images, settings.points, 2),
        (masks, int(settings.points * settings.oversample), 2),
        (masks, settings.points - _uncertain(settings), 2),
    )
    sizes = [rows * points * 2 for rows, points, _ in shapes]
    numbers = torch.rand(layers, sum(sizes), device=device).mul_(2).sub_(1)
    parts = torch.split(numbers, sizes, dim=1)
    return Points(*(part.reshape(layers, *shape) for part, shape in zip(parts, shapes, strict=True)))


def loss_points(logits: Tensor, candidates: Tensor, uniform: Tensor, settings: QueryLosses) -> Tensor:
    """The points at which the losses of N masks are measured: (N, P, 2), without gradient.

    logits: (N, h, w); candidates: (N, C, 2), of which the `importance` with the least |logit| are taken;
    uniform: (N, U, 2), the others.
    """
    with torch.no_grad():
        values = sample(logits[:, None], candidates)[:, 0]
        chosen = _least(values.abs(), _uncertain(settings))
        uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat((uncertain, uniform), dim=1)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Values (N, C, P) of maps (N, C, h, w) at points (N, P, 2).

    Bilinear between the centres of the cells, and towards 0 beyond the outermost ones.
    """
    return F.grid_sample(maps, points[:, :, None].to(maps.dtype), align_corners=False)[..., 0]


def _least(values: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the least of (N, C) values, none below 0, in rising order."""
    if values.device.type != "cpu":
        return values.topk(count, dim=1, largest=False).indices
    # torch.topk moves pairs of value and index, which took a third of the criterion's time.  The bits of
    # a value are a number that a key can start with, and for keys numpy has vector instructions.
    keys = values.float().view(torch.int32).to(torch.int64)
    keys.bitwise_left_shift_(32).bitwise_or_(torch.arange(values.shape[1]))
    numbers = keys.numpy()
    numbers.partition(count - 1, axis=1)
    least = np.sort(numbers[:, :count], axis=1)
    return torch.from_numpy(least).bitwise_and_(0xFFFFFFFF)


def _uncertain(settings: QueryLosses) -> int:
    return int(settings.importance * settings.points)
