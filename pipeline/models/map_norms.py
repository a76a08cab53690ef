"""The last norms of a Swin's maps, which detectors put between the backbone and what follows it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.models.backbones import is_one_of_timm


def map_norms(name: str, channels: Sequence[int]) -> nn.ModuleList:
    """A layer norm for each of the maps of the backbone `name`, if that is a Swin; none of others.

    channels: of the maps.
    """
    swin = is_one_of_timm(name, ("swin_transformer",))
    return nn.ModuleList(nn.LayerNorm(width) for width in channels if swin)


def over_channels(norm: nn.Module, maps: Tensor) -> Tensor:
    """(B, C, h, w), normalised over its channels."""
    normed: Tensor = norm(maps.permute(0, 2, 3, 1))
    return normed.permute(0, 3, 1, 2)
