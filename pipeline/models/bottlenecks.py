"""Variants of a ResNet's bottleneck blocks: which convolution has the stride, and which are deformable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UserError

_TAPS = 9  # of a 3x3 convolution


class ModulatedDeformableConv(nn.Module):
    """A 3x3 convolution whose taps are moved and weighted by what the input says (arXiv 1811.11168, Eq. 1).

    `weight` is the plain convolution's.  `offset`, a convolution of the same window and stride, gives per
    output pixel and tap a shift (dy, dx), and after all shifts the logit of a weight.  It starts at zero, as
    detectron2's: no shifts, every weight one half, hence half of what the plain convolution gives.  One
    set of shifts holds for all channels.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Take over the weight of `conv`, a bottleneck's 3x3 convolution: it has no bias, and keeps sizes."""
        super().__init__()
        self.weight = conv.weight
        self.stride, self.dilation = conv.stride[0], conv.dilation[0]
        self.offset = nn.Conv2d(
            conv.in_channels, 3 * _TAPS, 3, self.stride, padding=self.dilation, dilation=self.dilation
        )
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride), sizes rounded up."""
        from torchvision.ops import deform_conv2d  # here, as torchvision imports a compiler: a second

        offset = self.offset(maps)
        # Places are too coarse in half precision; the result has the precision of a plain convolution's.
        exact = torch.promote_types(maps.dtype, torch.float32)
        shifts, logits = offset.to(exact).split([2 * _TAPS, _TAPS], dim=1)
        with torch.autocast(maps.device.type, enabled=False):
            result: Tensor = deform_conv2d(
                maps.to(exact),
                shifts,
                self.weight.to(exact),
                stride=self.stride,
                padding=self.dilation,
                dilation=self.dilation,
                mask=torch.sigmoid(logits),
            )
        return result.to(offset.dtype)


def stride_in_first(network: nn.Module, name: str) -> None:
    """Move the stride of every bottleneck from its 3x3 convolution to the 1x1 one before it.

    The original ResNets (MSRA) have it there, timm's do not; all weights keep their shapes and names.
    Raises UserError when the network, called `name`, has no block with a stride to move.
    """
    strided = [block for _, block in _bottlenecks(network) if block.conv2.stride != (1, 1)]
    if not strided:
        raise _no_bottlenecks(name, "stride_in_1x1", "set it to false")
    for block in strided:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def deform(network: nn.Module, ends: Mapping[int, str], name: str, stages: Sequence[int]) -> tuple[str, ...]:
    """Make the 3x3 convolution of every bottleneck in these stages deformable.

    ends: stride -> name of the module in `network` that yields the map; stages: 2 to 5, those that lead to
    the map of stride 2**stage.  Returns the prefixes of the names of all tensors that this adds.
    Raises UserError when the network, called `name`, has no bottlenecks in one of the stages.
    """
    for stage in stages:
        inside = f"{ends.get(2**stage)}."
        blocks = [block for path, block in _bottlenecks(network) if path.startswith(inside)]
        if not blocks:
            raise _no_bottlenecks(name, f"deformable_stages {list(stages)}", "set it to []")
        for block in blocks:
            block.conv2 = ModulatedDeformableConv(block.conv2)
    modules = network.named_modules()
    return tuple(f"{path}.offset." for path, part in modules if isinstance(part, ModulatedDeformableConv))


def _bottlenecks(network: nn.Module) -> Iterator[tuple[str, Any]]:
    from timm.models.resnet import Bottleneck  # here, as timm takes seconds to import

    return ((path, block) for path, block in network.named_modules() if isinstance(block, Bottleneck))


def _no_bottlenecks(name: str, key: str, remedy: str) -> UserError:
    problem = f"{key} is not possible: its blocks are not the bottlenecks of a ResNet"
    return UserError("params.yaml", name, problem, f"{remedy}, or choose a network such as resnet50")
