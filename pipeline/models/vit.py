"""A plain vision transformer as a map of tokens: timm's blocks, positions for any square input."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

PRETRAINING_SIDE = 224  # pixels; with it, patches of 16 have 14 x 14 positions
_STEM_STRIDE = 16
_PARTS = {"patch_embed", "cls_token", "pos_embed", "blocks", "norm"}
_POSITION_NUDGE = 0.1  # as released: the table is sampled in steps of 14 / (n + 0.1), not 14 / n


class PlainViT(nn.Module):
    """Vision transformer (arXiv 2010.11929) whose result is the map of its last, normalised tokens.

    The names of its tensors are timm's, DeiT's and MAE's.  dim: channels of a token; patch: side of a
    token's square in pixels.

    Raises ValueError for a transformer with other parts: without class token, with more than one, with
    a norm before the blocks or none after them, or of another pre-training side than 224.
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
        table = PRETRAINING_SIDE // self.patch
        assert vit.cls_token is not None  # it is among the parts, as is the next
        assert vit.pos_embed is not None
        if vit.pos_embed.shape[1] != 1 + table**2:
            raise ValueError(f"its positions are not those of {PRETRAINING_SIDE} pixels, {table} x {table}")
        self.patch_embed = PatchProjection(vit.patch_embed.proj) if stem is None else stem
        self.cls_token: nn.Parameter = vit.cls_token
        self.pos_embed: nn.Parameter = vit.pos_embed
        self.blocks: nn.Module = vit.blocks
        self.norm: nn.Module = vit.norm

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised images to one map (B, dim, S / patch, S / patch), in a list."""
        tokens: Tensor = self.patch_embed(images)
        side = tokens.shape[-1]
        if tokens.shape[-2] != side:
            raise ValueError(f"images must be square, and these are {tuple(images.shape[-2:])}")
        tokens = tokens.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
        tokens = self.norm(self.blocks(tokens + resize_positions(self.pos_embed, side)))
        return [tokens[:, 1:].transpose(1, 2).reshape(-1, self.dim, side, side)]


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


def resize_positions(table: Tensor, side: int) -> Tensor:
    """(1, 1 + g * g, dim) positions, the class token's first, to (1, 1 + side * side, dim).

    Bicubic with the scale factor (side + 0.1) / g, as MAL's released code: that reads the table elsewhere
    than resizing to side x side would.  A table of the side asked for is returned as it is.
    """
    grid = round((table.shape[1] - 1) ** 0.5)
    if side == grid:
        return table
    # torch's own bicubic weights, of one axis: as two products, their gradient is the same on every run
    # on a GPU too.
    axis = F.interpolate(
        torch.eye(grid, dtype=table.dtype, device=table.device)[None, None],
        scale_factor=((side + _POSITION_NUDGE) / grid, 1.0),
        mode="bicubic",
    )[0, 0]
    with torch.autocast(table.device.type, enabled=False):
        cells = axis @ table[0, 1:].T.reshape(-1, grid, grid) @ axis.T
    return torch.cat((table[:, :1], cells.flatten(1).T[None]), dim=1)
