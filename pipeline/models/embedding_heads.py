"""From a backbone's maps to one map of embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.models.layers import cell_means, resize_bilinear

DILATIONS = (6, 12, 18, 24)
BINS = (1, 2, 3, 6)
PSP_CHANNELS = 512
Maps = Mapping[int, Tensor]


class DeepLabHead(nn.Module):
    """Four dilated 3x3 convolutions with bias, added up (DeepLab v2, arXiv 1606.00915)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, maps: Maps) -> Tensor:
        """{stride: (B, inputs, h, w)} to (B, outputs, h, w)."""
        return torch.stack([branch(maps[self.stride]) for branch in self.branches]).sum(dim=0)


class PSPHead(nn.Module):
    """Means of the whole map, of its quarters, ninths and 36ths beside it (PSPNet, arXiv 1612.01105).

    In training a batch needs two images: the whole map's mean is one value, which one image has no variance
    of.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.pools = nn.ModuleList(nn.Sequential(*_conv_norm_relu(inputs, PSP_CHANNELS, 1)) for _ in BINS)
        wide = inputs + len(BINS) * PSP_CHANNELS
        self.last = nn.Sequential(
            *_conv_norm_relu(wide, PSP_CHANNELS, 3), nn.Conv2d(PSP_CHANNELS, outputs, 1)
        )

    def forward(self, maps: Maps) -> Tensor:
        """{stride: (B, inputs, h, w)} to (B, outputs, h, w)."""
        features = maps[self.stride]
        size = (features.shape[2], features.shape[3])
        means = [
            resize_bilinear(pool(cell_means(features, bins, bins)), *size)
            for pool, bins in zip(self.pools, BINS, strict=True)
        ]
        embeddings: Tensor = self.last(torch.cat([features, *means], dim=1))
        return embeddings


class PyramidHead(nn.Module):
    """A 3x3 convolution with bias on each map, enlarged to the finest one and added up: the demo's head."""

    def __init__(self, channels: Mapping[int, int], outputs: int, finest: int) -> None:
        """channels: stride -> channels of the backbone's maps; finer ones than `finest` are not read."""
        super().__init__()
        self.strides = tuple(stride for stride in sorted(channels) if stride >= finest)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[stride], outputs, 3, padding=1) for stride in self.strides
        )

    def forward(self, maps: Maps) -> Tensor:
        """{stride: map} to (B, outputs, h, w) of the finest stride."""
        parts = [conv(maps[stride]) for stride, conv in zip(self.strides, self.convs, strict=True)]
        size = (parts[0].shape[2], parts[0].shape[3])
        return torch.stack([resize_bilinear(part, *size) for part in parts]).sum(dim=0)


def _conv_norm_relu(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
