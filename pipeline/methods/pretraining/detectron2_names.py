"""Names that networks built on detectron2 give to the tensors of a backbone."""

from __future__ import annotations

import re

from torch import Tensor

from pipeline.models.backbones import Backbone
from pipeline.models.detectron2 import resnet_name


def backbone_names(backbone: Backbone) -> dict[str, str]:
    """detectron2's name -> ours, both within the backbone, of every tensor of a ResNet or a Swin.

    A ResNet's names include those of deformable convolutions, which any of its 3x3 ones may be.
    """
    own: dict[str, Tensor] = backbone.network.state_dict()
    if any(name.startswith("layers_") for name in own):  # timm's Swin
        return {_swin_name(name): name for name in own}
    names = list(own)
    for name in own:
        if name.endswith(".conv2.weight"):
            names += [name.replace(".weight", f".offset.{part}") for part in ("weight", "bias")]
    return {resnet_name(name): name for name in names}


def _swin_name(name: str) -> str:
    """The original's name of a Swin's tensor: merging ends a stage there, and begins the next one in timm."""
    parts = re.fullmatch(r"layers_(\d)\.(.*)", name)
    if parts is None:
        return name
    stage = int(parts[1]) - parts[2].startswith("downsample.")
    return f"layers.{stage}.{parts[2]}"
