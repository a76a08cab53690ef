"""The smoothness kernel of a dense CRF: a Gaussian over places alone, the same for all images of a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.priors.crf.lattice import LatticeKernel

REACH = 4  # stds: what lies beyond is less than 1e-4 of a Gaussian
LATTICE_STD = 2.0  # from which on a lattice has so much fewer points than pixels that it is faster

Kernel = Callable[[Tensor], Tensor]


def places(height: int, width: int, images: int, device: torch.device) -> Tensor:
    """(2, images x H x W) float32: x and y of every pixel."""
    rows = torch.arange(height, dtype=torch.float32, device=device)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.float32, device=device).expand(height, width)
    return torch.stack([columns, rows]).view(2, -1).repeat(1, images)


@lru_cache(maxsize=4)
def smoothness_kernel(
    images: int, height: int, width: int, std: float, weight: float, device: torch.device
) -> Kernel:
    """exp(-distance^2 / (2 std^2)), normalised symmetrically, times weight: of (images x H x W, C) values."""
    if std < LATTICE_STD:
        return _Convolution(images, height, width, std, weight, device)
    return LatticeKernel(places(height, width, images, device) / std, weight, images)


class _Convolution:
    """The exact kernel, row by row and column by column."""

    def __init__(
        self, images: int, height: int, width: int, std: float, weight: float, device: torch.device
    ) -> None:
        self._shape = (images, height, width, -1)
        self._reach = min(math.ceil(REACH * std), max(height, width) - 1)
        offsets = torch.arange(-self._reach, self._reach + 1, dtype=torch.float32, device=device)
        self._taps = torch.exp(-0.5 * (offsets / std) ** 2)
        self._weight = weight
        scale = self._mass(height)[:, None].rsqrt() * self._mass(width).rsqrt()
        self._scale = scale.view(-1, 1).repeat(images, 1)

    def _mass(self, length: int) -> Tensor:
        """(length,) row sums of the kernel along one axis."""
        ones = self._taps.new_ones(1, 1, length)
        return F.conv1d(ones, self._taps[None, None], padding=self._reach)[0, 0]

    def __call__(self, values: Tensor) -> Tensor:
        channels = values.shape[1]
        maps = (values * self._scale).view(self._shape).permute(0, 3, 1, 2)
        across = self._taps.expand(channels, 1, 1, -1)
        down = (self._weight * self._taps)[:, None].expand(channels, 1, -1, 1)
        maps = F.conv2d(maps, across, padding=(0, self._reach), groups=channels)
        maps = F.conv2d(maps, down, padding=(self._reach, 0), groups=channels)
        return maps.permute(0, 2, 3, 1).reshape(values.shape).mul_(self._scale)
