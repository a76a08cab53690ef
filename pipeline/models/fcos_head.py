"""The FCOS detection head (arXiv 1904.01355) with CondInst's controller, shared over pyramid levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASS_PRIOR = 0.01  # probability that every class starts with (focal loss, arXiv 1708.02002, section 4.1)


@dataclass
class HeadOutputs:
    """Dense predictions, one tensor per pyramid level.

    class_logits: (B, K, h, w); distances: (B, 4, h, w) to the left, top, right and bottom side, >= 0, in
    units of the level's stride; centerness: (B, 1, h, w) logits; controller: (B, P, h, w), the parameters
    of each location's mask head.
    """

    class_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    controller: list[Tensor]


class FCOSHead(nn.Module):
    """Two towers of 3x3 convolutions; the classes are read off one, all else off the other.

    parameters: length of the mask head's parameter vector; levels: number of pyramid levels.
    """

    def __init__(self, channels: int, num_classes: int, parameters: int, *, convs: int, levels: int) -> None:
        super().__init__()
        self.class_tower = _tower(channels, convs)
        self.box_tower = _tower(channels, convs)
        self.class_logits = _conv(channels, num_classes)
        # Distances, centre-ness and controller: one convolution takes two thirds of the time of three.
        self.box_widths = [4, 1, parameters]
        self.box_outputs = _conv(channels, sum(self.box_widths))
        self.scales = nn.Parameter(torch.ones(levels))
        assert self.class_logits.bias is not None
        nn.init.constant_(self.class_logits.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))

    def forward(self, pyramid: list[Tensor]) -> HeadOutputs:
        """pyramid: a (B, C, h, w) map per level."""
        outputs = HeadOutputs([], [], [], [])
        for level, scale in zip(pyramid, self.scales, strict=True):
            outputs.class_logits.append(self.class_logits(self.class_tower(level)))
            box_outputs = self.box_outputs(self.box_tower(level))
            distances, centerness, controller = torch.split(box_outputs, self.box_widths, dim=1)
            outputs.distances.append(F.relu(distances * scale))
            outputs.centerness.append(centerness)
            outputs.controller.append(controller)
        return outputs


def _tower(channels: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        # 32 groups, or as many as divide an unusual number of channels.
        norm = nn.GroupNorm(math.gcd(32, channels), channels)
        layers += [_conv(channels, channels), norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution with the normal (std 0.01) start of all of FCOS's layers."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
