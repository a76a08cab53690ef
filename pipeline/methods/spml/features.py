"""What the clustering starts from and what it sees beside the embedding: a grid, places, colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL = 5  # side of the colour filter
LEAST_RANGE = 1e-4  # far below one grey level: an image of one colour has no features, not rounding errors


def grid_clusters(height: int, width: int, grid: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W) int64 initial clusters: cell (y, x) of a `grid` of (rows, columns) has the id y + rows * x."""
    rows, columns = (
        torch.linspace(0, cells - 1, length, device=device).round().long()
        for cells, length in zip(grid, (height, width), strict=True)
    )
    return rows[:, None] + grid[0] * columns


def location_features(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W, 2) float32, y then x, each from -0.5 to 0.5 between the first and the last cell."""
    y, x = (torch.linspace(0, 1, length, device=device) - 0.5 for length in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)


def color_kernel(device: torch.device) -> Tensor:
    """(3, 1, 5, 5) filter of the colours: the distance from the centre over the sum of all distances.

    The release calls it Gaussian; as computed there, the centre has weight 0 and the corners the largest.
    """
    steps = torch.arange(KERNEL, device=device, dtype=torch.float32) - (KERNEL - 1) / 2
    distances = (steps[:, None] ** 2 + steps**2).sqrt()
    return (distances / distances.sum()).expand(3, 1, KERNEL, KERNEL)


def color_features(images: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W, 3) of normalised images (B, 3, h, w): filtered, resized, in -1..1 round each image's mean."""
    smooth = F.conv2d(images, color_kernel(images.device).to(images.dtype), groups=3)
    colors = F.interpolate(smooth, size=(height, width), mode="bilinear", align_corners=False)
    colors = colors - colors.mean(dim=(2, 3), keepdim=True)
    largest = colors.abs().amax(dim=(2, 3), keepdim=True).clamp(min=LEAST_RANGE)
    return (colors / largest).permute(0, 2, 3, 1)
