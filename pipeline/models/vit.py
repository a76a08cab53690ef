"""A plain vision transformer as a map of tokens: timm's blocks, positions for any input."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:  # timm takes seconds to import
    from timm.models.vision_transformer import VisionTransformer

_STEM_STRIDE = 16
_PARTS = {"patch_embed", "cls_token", "pos_embed", "blocks", "norm"}
_POSITION_NUDGE = 0.1  # as released, of MAL and DINOv2: a table of side g is read in steps of g / (n + 0.1)


class PlainViT(nn.Module):
    """Vision transformer (arXiv 2010.11929) whose result is the map of its last, normalised tokens.

    The names of its tensors are timm's, DeiT's, MAE's and DINOv2's.  dim: channels of a token; patch: side
    of a token's square in pixels; side: of the table of positions, in tokens.

    Raises ValueError for a transformer with other parts: without class token, with more than one, with
    a norm before the blocks or none after them, or pre-trained on images that are not square.
    """

    def __init__(self, vit: VisionTransformer, stem: nn.Module | None = None) -> None:
        """vit: whose parts are taken over; stem: images to (B, dim, n, n) in place of its projection."""
        super().__init__()
        parts = {name.partition(".")[0] for name in vit.state_dict()} - {"head"}
        if parts != _PARTS:
            differing = ", ".join(sorted(parts ^ _PARTS))
            raise ValueError(f"it is no plain transformer with one class token (differing: {differing})")
        self.dim: int = vit.embed_dim
        self.patch: int = vit.patch_embed.patch_size[0]
        assert vit.cls_token is not None  # it is among the parts, as is the next
        assert vit.pos_embed is not None
        self.side = isqrt(vit.pos_embed.shape[1] - 1)
        if vit.pos_embed.shape[1] != 1 + self.side**2:
            raise ValueError("its positions are not those of a square and a class token")
        self.patch_embed = PatchProjection(vit.patch_embed.proj) if stem is None else stem
        self.cls_token: nn.Parameter = vit.cls_token
        self.pos_embed: nn.Parameter = vit.pos_embed
        self.blocks: nn.Module = vit.blocks
        self.norm: nn.Module = vit.norm

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images to one map (B, dim, H / patch, W / patch), in a list."""
        tokens: Tensor = self.patch_embed(images)
        shape = tokens.shape[-2:]
        tokens = tokens.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
        tokens = self.norm(self.blocks(tokens + resize_positions(self.pos_embed, *shape)))
        return [tokens[:, 1:].transpose(1, 2).reshape(-1, self.dim, *shape)]


class PatchProjection(nn.Module):
    """The standard stem: one linear map per patch, as a convolution."""

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, dim, S / patch, S / patch)."""
        tokens: Tensor = self.proj(images)
        return tokens


class ConvStem(nn.Module):
    """The stem of MAL's released code: four convolutions of stride 2, from `dim` / 8 channels to `dim`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (3, dim // 8, dim // 4, dim // 2, dim)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                    nn.GroupNorm(1, after, eps=1e-6),
                    nn.GELU(),
                )
                for before, after in pairwise(widths)
            )
        )
        self.project = nn.Conv2d(dim, dim, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, dim, S / 16, S / 16)."""
        tokens: Tensor = self.project(self.stages(images))
        return tokens


def conv_stem(vit: VisionTransformer) -> ConvStem:
    """A convolutional stem that fits a transformer.  Raises ValueError unless its patches are of 16."""
    patch = vit.patch_embed.patch_size[0]
    if patch != _STEM_STRIDE:
        raise ValueError(f"its patches are of {patch} pixels, and the convolutional stem's of {_STEM_STRIDE}")
    return ConvStem(vit.embed_dim)


def resize_positions(table: Tensor, height: int, width: int) -> Tensor:
    """(1, 1 + g * g, dim) positions, the class token's first, to (1, 1 + height * width, dim).

    Bicubic with scale factors (n + 0.1) / g, as the released code of MAL and DINOv2: that reads the table
    elsewhere than resizing would.  A table of the size asked for is returned as it is.
    """
    grid = isqrt(table.shape[1] - 1)
    if height == width == grid:
        return table
    rows, columns = _reading(table, grid, height), _reading(table, grid, width)
    with torch.autocast(table.device.type, enabled=False):
        cells = rows @ table[0, 1:].T.reshape(-1, grid, grid) @ columns.T
    return torch.cat((table[:, :1], cells.flatten(1).T[None]), dim=1)


def _reading(table: Tensor, grid: int, side: int) -> Tensor:
    """(side, grid): torch's own bicubic weights, of one axis.

    As two products, their gradient is the same on every run on a GPU too.
    """
    return F.interpolate(
        torch.eye(grid, dtype=table.dtype, device=table.device)[None, None],
        scale_factor=((side + _POSITION_NUDGE) / grid, 1.0),
        mode="bicubic",
    )[0, 0]
