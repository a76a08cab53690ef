"""Four maps for Mask2Former: of a backbone with stages, or of the one map of a plain transformer.

In the releases of Mask2Former and Guided Distillation, a Swin's last norms and a transformer's projections
are parts of the backbone.  They are called so here too, for they learn at its rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone
from pipeline.models.layers import resize_bilinear
from pipeline.models.map_norms import map_norms, over_channels

_FINEST_CHANNELS = 128  # of a transformer's maps, doubling with each: Guided Distillation (arXiv 2308.02668)


class StagePyramid(nn.Module):
    """The maps of a backbone's stages; further ones by convolutions of stride 2, each of the map before it.

    channels: of the maps, fine to coarse.  A Swin's maps are normalised first, as usual for detection.
    Raises UserError when the backbone lacks the finest stride.
    """

    def __init__(self, name: str, backbone: Backbone, strides: Sequence[int], hidden_channels: int) -> None:
        """name: of the backbone; hidden_channels: of the maps beyond the backbone's last."""
        super().__init__()
        self.strides = [stride for stride in strides if stride in backbone.channels]
        own = len(self.strides)
        if not own or list(strides[:own]) != self.strides:
            raise UserError(
                "params.yaml",
                name,
                f"feature_strides {list(strides)} do not start with strides of the backbone",
                f"it has {sorted(backbone.channels)}",
            )
        self.channels = [backbone.channels[stride] for stride in self.strides]
        self.backbone_norms = map_norms(name, self.channels)
        self.coarser = nn.ModuleList()
        for _ in strides[own:]:
            convolution = nn.Conv2d(self.channels[-1], hidden_channels, 3, stride=2, padding=1)
            self.coarser.append(convolution)
            self.channels.append(hidden_channels)

    def forward(self, backbone: Backbone, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images to (B, C, H / stride, W / stride) per stride, fine to coarse."""
        features = backbone(images)
        maps = [features[stride] for stride in self.strides]
        if self.backbone_norms:
            maps = [over_channels(norm, level) for norm, level in zip(self.backbone_norms, maps, strict=True)]
        for convolution in self.coarser:
            maps.append(convolution(maps[-1]))
        return maps


class TokenPyramid(nn.Module):
    """The last, normalised tokens of a plain transformer, resampled and projected for each stride.

    `nearest` is Guided Distillation's way: the image grows to the next larger multiple of the patch, even
    if it is one, and both it and the tokens are resampled to the nearest cell, the maps' sizes rounded
    down.  `bilinear` resamples both bilinearly, an image of fitting size stays, and sizes are rounded up.
    """

    def __init__(
        self, backbone: Backbone, strides: Sequence[int], resampling: Literal["nearest", "bilinear"]
    ) -> None:
        super().__init__()
        ((self.patch, width),) = backbone.channels.items()
        self.strides, self.nearest = list(strides), resampling == "nearest"
        self.channels = [_FINEST_CHANNELS << level for level in range(len(strides))]
        self.backbone_projections = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in self.channels)

    def forward(self, backbone: Backbone, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images to (B, C, H / stride, W / stride) per stride, fine to coarse."""
        height, width = images.shape[-2:]
        (tokens,) = backbone(self._resize(images, self._fitting(height), self._fitting(width))).values()
        # The projection and the resampling may change places, and there are fewer tokens than cells.
        return [
            self._resize(project(tokens), self._cells(height, stride), self._cells(width, stride))
            for project, stride in zip(self.backbone_projections, self.strides, strict=True)
        ]

    def _fitting(self, side: int) -> int:
        return (side // self.patch + 1) * self.patch if self.nearest else _ceil(side, self.patch) * self.patch

    def _cells(self, side: int, stride: int) -> int:
        return side // stride if self.nearest else _ceil(side, stride)

    def _resize(self, maps: Tensor, height: int, width: int) -> Tensor:
        return F.interpolate(maps, (height, width)) if self.nearest else resize_bilinear(maps, height, width)


def build_pyramid(
    kind: Literal["stages", "nearest", "bilinear"],
    name: str,
    backbone: Backbone,
    strides: Sequence[int],
    hidden_channels: int,
) -> StagePyramid | TokenPyramid:
    """The maps of the backbone `name`.

    Raises UserError for a kind that does not fit the backbone, and when that lacks the finest stride.
    """
    plain = len(backbone.channels) == 1
    if plain == (kind == "stages"):
        problem, remedy = (
            ("is a plain transformer without stages", "set pyramid to nearest or bilinear")
            if plain
            else ("has stages, whose maps need no resampling", "set pyramid to stages")
        )
        raise UserError("params.yaml", name, problem, remedy)
    if kind == "stages":
        return StagePyramid(name, backbone, strides, hidden_channels)
    return TokenPyramid(backbone, strides, kind)


def _ceil(side: int, divisor: int) -> int:
    return -(-side // divisor)
