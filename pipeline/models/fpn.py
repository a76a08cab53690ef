"""Feature pyramid network (arXiv 1612.03144), or with the extra coarse levels of FCOS (arXiv 1904.01355)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import UserError


class FPN(nn.Module):
    """One map of `channels` channels per stride, from a backbone's maps.

    in_channels: stride -> channels of the backbone.  The levels whose stride the backbone has get a 1x1
    lateral and a 3x3 output convolution, without norm, and are summed from coarse to fine after nearest
    enlargement.  coarser: how levels beyond the backbone's last are made: by stride-2 "convolutions" (FCOS),
    the first of the last such output, each further one of the ReLU of the level before it; or by taking
    every second pixel of the level before ("subsampling", the original).  Raises UserError when the finest
    stride, or one between two that exist, is missing in the backbone.
    """

    def __init__(
        self,
        in_channels: dict[int, int],
        channels: int,
        strides: Sequence[int],
        coarser: Literal["convolutions", "subsampling"] = "convolutions",
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.lateral_strides = tuple(stride for stride in strides if stride in in_channels)
        count = len(self.lateral_strides)
        if count == 0 or self.lateral_strides != self.strides[:count]:
            raise UserError(
                "params.yaml",
                f"fpn_strides {list(self.strides)}",
                "do not start with strides of the backbone",
                f"it has {sorted(in_channels)}",
            )
        self.lateral = nn.ModuleList(nn.Conv2d(in_channels[s], channels, 1) for s in self.lateral_strides)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(count))
        convolutions = self.strides[count:] if coarser == "convolutions" else ()
        self.extra = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in convolutions
        )
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)

    def forward(self, features: dict[int, Tensor]) -> list[Tensor]:
        """features: stride -> (B, C, H / stride, W / stride).  Returns (B, channels, h, w) per stride."""
        merged: list[Tensor] = []  # coarse to fine
        for stride, lateral in zip(reversed(self.lateral_strides), reversed(self.lateral), strict=True):
            level = lateral(features[stride])
            if merged:
                level = level + F.interpolate(merged[-1], size=level.shape[-2:], mode="nearest")
            merged.append(level)
        levels = [conv(level) for conv, level in zip(self.output, reversed(merged), strict=True)]
        for index, conv in enumerate(self.extra):
            levels.append(conv(levels[-1] if index == 0 else F.relu(levels[-1])))
        while len(levels) < len(self.strides):
            levels.append(levels[-1][..., ::2, ::2])
        return levels
