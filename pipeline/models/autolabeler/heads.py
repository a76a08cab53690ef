"""The two heads of the attention decoder: a vector per crop, and a vector per pixel (MAL, section 3.3)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.layers import resize_bilinear


class InstanceHead(nn.Module):
    """K: global average, linear, ReLU, linear.  (The paper: maximum and one layer; this is the release.)"""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs)."""
        vectors: Tensor = self.second(F.relu(self.first(tokens.mean(dim=(2, 3)))))
        return vectors


class PixelHead(nn.Module):
    """V: 3x3 convolutions, ReLU after every one; the last works on twice the resolution."""

    def __init__(self, channels: int, hidden: int, outputs: int, convs: int) -> None:
        super().__init__()
        widths = [channels, *[hidden] * (convs - 1), outputs]
        self.convs = nn.ModuleList(_conv(before, after) for before, after in pairwise(widths))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs, 2 h, 2 w), none below 0."""
        height, width = maps.shape[-2:]
        for conv in self.convs[:-1]:
            maps = F.relu(conv(maps))
        return F.relu(self.convs[-1](resize_bilinear(maps, 2 * height, 2 * width)))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
