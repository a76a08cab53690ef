"""From a grid over an area to the image: probabilities to masks, and logits to the maps of the losses."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.detection.inference import MASKS_AT_ONCE, thresholded

NOWHERE = -20.0  # logit of what a grid does not reach: no gradient, and no loss where nothing should be


def paste_masks(
    probabilities: Tensor, areas: Tensor, size: tuple[int, int], original: tuple[int, int]
) -> Tensor:
    """Masks (N, *original) bool of `pasted` probabilities."""
    return thresholded(pasted(probabilities, areas, size, original), original, probabilities.device)


def pasted(
    probabilities: Tensor, areas: Tensor, size: tuple[int, int], original: tuple[int, int]
) -> Iterator[Tensor]:
    """(n, *original) probabilities, n at a time, from (N, M, M) ones on grids over areas.

    areas: (N, 4) xyxy in pixels of the resized image of (height, width) `size`.  A pixel whose centre lies in
    the area has the probability there, interpolated between the bins' centres (the outermost ones reach to
    the edge); any other has 0.
    """
    for part, around in zip(
        torch.split(probabilities.float(), MASKS_AT_ONCE),
        torch.split(areas.to(probabilities.device, torch.float32), MASKS_AT_ONCE),
        strict=True,
    ):
        x, in_columns = _places(around[:, 0], around[:, 2], _centres(size[1], original[1], around.device))
        y, in_rows = _places(around[:, 1], around[:, 3], _centres(size[0], original[0], around.device))
        shape = (len(part), *original)
        grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), dim=-1)
        values = F.grid_sample(part[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        yield values * (in_rows[:, :, None] & in_columns[:, None, :])


def logit_maps(logits: Tensor, areas: Tensor, boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """(N, H / stride, W / stride) logits from (N, M, M) ones on grids over areas, for losses over the image.

    areas, and boxes of their objects: (N, 4) xyxy in pixels; size: (H, W) of the padded image, multiples of
    `stride`.  A cell stands for the pixel stride / 2, stride / 2 + stride, ... and has the logit at its
    centre, interpolated as in `pasted`.  What a box has more than its area has the outermost logits of the
    grid.  Outside the rectangle round both, to the pixel, the logit is NOWHERE.
    """
    side = logits.shape[-1]
    weights, reached = [], []
    for axis, length in enumerate(reversed(size)):
        points = torch.arange(stride // 2, length, stride, device=logits.device)
        low, high = areas[:, axis], areas[:, axis + 2]
        places, _ = _places(low, high, points + 0.5)
        bins = ((places + 1) / 2 * side - 0.5).clamp(0, side - 1)  # (N, cells), whole at bins' centres
        # Products of matrices need no grid of places per object, and add up gradients in a fixed order.
        weights.append((1 - (bins[:, :, None] - torch.arange(side, device=logits.device)).abs()).clamp(min=0))
        first = torch.minimum(low, boxes[:, axis]).floor()
        end = (torch.maximum(high, boxes[:, axis + 2]) + 1).floor()
        reached.append((points >= first[:, None]) & (points < end[:, None]))
    maps = weights[1] @ logits @ weights[0].transpose(1, 2)
    return torch.where(reached[1][:, :, None] & reached[0][:, None, :], maps, NOWHERE)


def _centres(size: int, original: int, device: torch.device) -> Tensor:
    """Where the centres of an axis' `original` pixels lie among the `size` pixels of the resized image."""
    return (torch.arange(original, device=device) + 0.5) * (size / original)


def _places(low: Tensor, high: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Where pixels with (L,) centres lie on grids between (N,) low and high, and which of them lie there.

    Both (N, L); the places count from -1 at `low` to 1 at `high`.
    """
    low, length = low[:, None], (high - low).clamp(min=1e-6)[:, None]
    inside = (centres >= low) & (centres <= low + length)
    # RoIAlign, unless "aligned", has the pixels' centres at whole numbers; the targets come from it.
    return (centres - 0.5 - low) / length * 2 - 1, inside
