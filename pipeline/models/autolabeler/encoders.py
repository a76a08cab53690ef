"""From box crops to one square map of features: the last map of a backbone, or several summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.models.backbones import SMALL, Backbone, Stem, build_maps
from pipeline.models.layers import resize_bilinear

_GRID_STRIDE = 16  # of the tokens, whatever the stride of a network with stages
_SUMMED_STRIDES, _SUMMED_CHANNELS = (4, 8, 16), 64


class Encoder(nn.Module):
    """A backbone and what makes one map of its maps.

    channels: of the map; stride: crop pixels per side of its cells; divisor: crop sides must be multiples.
    """

    def __init__(self, backbone: Backbone, channels: int, stride: int) -> None:
        super().__init__()
        self.backbone, self.channels, self.stride = backbone, channels, stride
        self.divisor = max(stride, *backbone.channels)


class LastMap(Encoder):
    """The coarsest map: a transformer's tokens; of a network with stages, enlarged to stride 16."""

    def __init__(self, backbone: Backbone) -> None:
        coarsest = max(backbone.channels)
        stride = coarsest if len(backbone.channels) == 1 else _GRID_STRIDE
        super().__init__(backbone, backbone.channels[coarsest], stride)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised crops to (B, channels, S / stride, S / stride)."""
        maps: dict[int, Tensor] = self.backbone(images)
        side = images.shape[-1] // self.stride
        return resize_bilinear(maps[max(maps)], side, side)


class SummedMaps(Encoder):
    """Maps of several strides, each projected to the same width, summed at the finest: for tiny crops.

    Stride 16 would leave 4 x 4 tokens of a crop of 64 pixels.
    """

    def __init__(self, backbone: Backbone, strides: Sequence[int], channels: int) -> None:
        super().__init__(backbone, channels, min(strides))
        self.strides = tuple(strides)
        self.projections = nn.ModuleList(nn.Conv2d(backbone.channels[s], channels, 1) for s in strides)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised crops to (B, channels, S / stride, S / stride)."""
        maps: dict[int, Tensor] = self.backbone(images)
        side = images.shape[-1] // self.stride
        parts = [
            resize_bilinear(project(maps[stride]), side, side)
            for stride, project in zip(self.strides, self.projections, strict=True)
        ]
        return torch.stack(parts).sum(dim=0)


def build_encoder(name: str, stem: Stem) -> Encoder:
    """The encoder on the backbone `name`: `small`, or timm's name of a plain ViT, a Swin or a ConvNeXt.

    It trains without drop path, as the release does.
    Raises UserError for a name of no use, or a stem that the backbone cannot have.
    """
    backbone = build_maps(name, stem=stem, drop_path=0.0)
    if name == SMALL:
        return SummedMaps(backbone, _SUMMED_STRIDES, _SUMMED_CHANNELS)
    return LastMap(backbone)
