"""A boundary detector on the maps of a frozen backbone."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.models.backbones import Backbone, build_backbone, load_backbone
from pipeline.models.layers import resize_bilinear
from pipeline.models.normalise import Normalise
from pipeline.models.strides import keep_resolution


class BoundaryNetwork(nn.Module):
    """IRN's boundary branch (arXiv 1904.05044, section 4.1): every map reduced, brought to one size, and
    joined.

    The backbone is frozen: in training too it is in evaluation mode, and has no gradients.
    """

    def __init__(self, backbone: Backbone, settings: params.BoundaryNetwork) -> None:
        super().__init__()
        self.backbone, self.stride = backbone.requires_grad_(False), settings.stride
        width, groups = settings.tap_channels, settings.tap_groups
        self.taps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(groups, width))
            for channels in backbone.channels.values()
        )
        self.boundary = nn.Conv2d(width * len(self.taps), 1, 1)
        self.normalise = Normalise(settings.pixel_mean, settings.pixel_std)

    def train(self, mode: bool = True) -> BoundaryNetwork:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 to (B, ceil(H / stride), ceil(W / stride)) logits of a boundary.

        A finer map is pooled down as ResNet's stem is before its first stage: its tap is the stem after
        pooling.
        """
        size = (-(-images.shape[-2] // self.stride), -(-images.shape[-1] // self.stride))
        with torch.no_grad():
            maps = self.backbone.maps(self.normalise(images.float()))
        taps = [
            F.relu(resize_bilinear(tap(_pooled(feature, size)), *size))
            for tap, feature in zip(self.taps, maps, strict=True)
        ]
        logits: Tensor = self.boundary(torch.cat(taps, dim=1))
        return logits[:, 0]


def build_boundary_network(settings: params.BoundaryNetwork, start: Path | None = None) -> BoundaryNetwork:
    """The network, its backbone from the weights in `start`; others from torch's global generator.

    Raises UserError for a backbone that is not to be had, and for weights that do not fit.
    """
    backbone = build_backbone(settings.backbone, frozen_stages=0, frozen_batchnorm=True)
    if start is not None:
        load_backbone(backbone, start)
    keep_resolution(backbone, settings.output_stride, settings.backbone)
    return BoundaryNetwork(backbone, settings)


def _pooled(feature: Tensor, size: tuple[int, int]) -> Tensor:
    while feature.shape[-2] > size[0] or feature.shape[-1] > size[1]:
        feature = F.max_pool2d(feature, 3, stride=2, padding=1)
    return feature
