"""A small GroupNorm network that learns within minutes on a CPU: the demo's backbone."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

STEM_CHANNELS = 16
STAGE_CHANNELS = (32, 64, 128)
_GROUPS = 8  # GroupNorm: batches of 8 small images are too few for batch statistics


class SmallBackbone(nn.Module):
    """Stem at stride 2, then stages at strides 4, 8, 16, each a stride-2 convolution and a residual block."""

    def __init__(self) -> None:
        super().__init__()
        widths = (STEM_CHANNELS, *STAGE_CHANNELS)
        self.channels = {2 << level: width for level, width in enumerate(widths)}
        self.stem = _conv_norm_relu(3, STEM_CHANNELS, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_conv_norm_relu(before, after, stride=2), _Residual(after))
            for before, after in pairwise(widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to one (B, C, H / stride, W / stride) map per entry of `channels`."""
        features = [self.stem(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class _Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv_norm_relu(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.norm(self.second(self.first(x)))
        return F.relu(x + residual)


def _conv_norm_relu(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, after), nn.ReLU(inplace=True))
