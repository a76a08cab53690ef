"""From a grid of probabilities over a box to a mask of the original image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.detection.inference import MASK_THRESHOLD, MASKS_AT_ONCE


def paste_masks(
    probabilities: Tensor, boxes: Tensor, size: tuple[int, int], original: tuple[int, int]
) -> Tensor:
    """Masks (N, *original) bool from (N, M, M) probabilities on grids over their boxes.

    boxes: (N, 4) xyxy in pixels of the resized image of (height, width) `size`.  A pixel belongs to a mask
    when its centre lies in the box and the probability there, interpolated between the bins' centres (the
    outermost ones reach to the edge), exceeds one half.
    """
    masks = [torch.zeros(0, *original, dtype=torch.bool, device=probabilities.device)]
    for part, around in zip(
        torch.split(probabilities.float(), MASKS_AT_ONCE),
        torch.split(boxes.to(probabilities.device, torch.float32), MASKS_AT_ONCE),
        strict=True,
    ):
        x, in_columns = _places(around[:, 0], around[:, 2], size[1], original[1])
        y, in_rows = _places(around[:, 1], around[:, 3], size[0], original[0])
        shape = (len(part), *original)
        grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), dim=-1)
        values = F.grid_sample(part[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        masks.append((values > MASK_THRESHOLD) & in_rows[:, :, None] & in_columns[:, None, :])
    return torch.cat(masks)


def _places(low: Tensor, high: Tensor, size: int, original: int) -> tuple[Tensor, Tensor]:
    """Where the centres of the original pixels lie along one axis, and which of them lie in the box.

    Both (N, original); the places count from -1 at `low` to 1 at `high`.
    """
    centres = (torch.arange(original, device=low.device) + 0.5) * (size / original)
    low, length = low[:, None], (high - low).clamp(min=1e-6)[:, None]
    inside = (centres >= low) & (centres <= low + length)
    # RoIAlign, unless "aligned", has the pixels' centres at whole numbers; the targets come from it.
    return (centres - 0.5 - low) / length * 2 - 1, inside
