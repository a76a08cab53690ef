"""HED: holistically-nested edge detection (Xie and Tu, ICCV 2015, arXiv 1504.06375).

VGG-16 without its classifier; the last map of each of five blocks gives an edge map, and a 1x1 convolution
fuses the five.  Padding is 1 throughout, where the release pads by 35 and crops.

Tensors by name, each with `.weight` and `.bias`; C are 64, 128, 256, 512, 512:

| name | shape of the weight |
|---|---|
| conv1_1, conv1_2; conv2_1, conv2_2 | (C, previous C, 3, 3), BGR in |
| conv3_1 to conv3_3; conv4_1 to conv4_3; conv5_1 to conv5_3 | the same |
| score_dsn1 to score_dsn5 | (1, C, 1, 1) |
| score_final | (1, 5, 1, 1) |

A file may also have the names of the reimplementation `sniklaus/pytorch-hed` (moduleVggOne.0 and so on).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.backbones import check_tensors
from pipeline.state_dicts import State, read_state

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each block
MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)  # of ImageNet, 0 to 255
_BLOCKS = ("One", "Two", "Thr", "Fou", "Fiv")


class Hed(nn.Module):
    """Images (B, 3, H, W) RGB, 0 to 255 -> (B, H, W) probability of an edge, of any size."""

    mean: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        channels = 3
        for block, (width, depth) in enumerate(zip(widths, DEPTHS, strict=True), 1):
            for layer in range(1, depth + 1):
                self.add_module(f"conv{block}_{layer}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            self.add_module(f"score_dsn{block}", nn.Conv2d(width, 1, 1))
        self.score_final = nn.Conv2d(len(widths), 1, 1)
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        maps = images.flip(1) - self.mean
        sides = []
        for block, depth in enumerate(DEPTHS, 1):
            if block > 1:
                # Rounds up, as the release does: an odd image keeps its last row.
                maps = F.max_pool2d(maps, 2, ceil_mode=True)
            for layer in range(1, depth + 1):
                maps = F.relu(self.get_submodule(f"conv{block}_{layer}")(maps))
            side = self.get_submodule(f"score_dsn{block}")(maps)
            sides.append(F.interpolate(side, images.shape[-2:], mode="bilinear", align_corners=False))
        fused: Tensor = self.score_final(torch.cat(sides, 1))
        return fused.sigmoid()[:, 0]


def load_hed(path: Path, widths: Sequence[int] = WIDTHS) -> Hed:
    """A network in evaluation mode with the weights of a .safetensors file or a .pth state dict.

    Raises UserError when the file is missing, holds no state dict, or other tensors than those above.
    """
    network = Hed(widths)
    state = _own_names(read_state(path))
    check_tensors(network.state_dict(), state, path)
    network.load_state_dict(state)
    return network.eval()


def _own_names(state: State) -> State:
    renamed = {"moduleCombine.0": "score_final"}
    for block, (name, depth) in enumerate(zip(_BLOCKS, DEPTHS, strict=True), 1):
        renamed[f"moduleScore{name}"] = f"score_dsn{block}"
        first = 0 if block == 1 else 1  # behind the pooling
        renamed |= {
            f"moduleVgg{name}.{first + 2 * layer}": f"conv{block}_{layer + 1}" for layer in range(depth)
        }
    own = {}
    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        own[f"{renamed.get(module, module)}.{kind}"] = tensor
    return own
