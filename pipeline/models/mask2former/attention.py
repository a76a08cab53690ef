"""The deformable attention of the pixel decoder, in place of transformers', which takes more time for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as LibraryDeformableAttention,
)

LEVELS, POINTS = 3, 4  # maps that the pixel decoder attends to, samples of each per head


def sample_levels(values: Tensor, grids: Sequence[Tensor], weights: Tensor, shapes: Sequence[Any]) -> Tensor:
    """The core of deformable attention (arXiv 2010.04159, equation 3): weighted readings of several maps.

    values: (B, S, heads, d), the cells of all maps, one map after the other; shapes: (h, w) of each;
    grids: per map (B, heads, N, P, 2), x and y in [-1, 1] from edge to edge, outside of which all is 0;
    weights: (B, N, heads, maps, P).  Returns (B, N, heads * d).

    Map by map, since all readings at once take more memory traffic than the readings themselves.
    """
    batch, _, heads, channels = values.shape
    cells = [height * width for height, width in shapes]
    result: Tensor | None = None
    parts = torch.split(values, cells, dim=1)
    for level, (part, grid, shape) in enumerate(zip(parts, grids, shapes, strict=True)):
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, *shape)
        readings = F.grid_sample(maps, grid.flatten(0, 1), align_corners=False)
        shares = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        weighted = (readings * shares).sum(dim=-1)
        result = weighted if result is None else result + weighted
    assert result is not None, "there is at least one map"
    return result.view(batch, heads * channels, -1).transpose(1, 2)


class DeformableAttention(LibraryDeformableAttention):
    """Attention of each cell to a few readings of each map, at learned offsets from the cell.

    Its start is that of Deformable DETR: each head looks in a direction of its own, one to four cells far,
    with equal weights.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, heads, LEVELS, POINTS)
        angles = torch.arange(heads) * (2 * torch.pi / heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, POINTS + 1)[:, None]
        with torch.no_grad():
            offsets = (directions[:, None, None] * steps).expand(-1, LEVELS, -1, -1)
            self.sampling_offsets.bias.copy_(offsets.flatten())
        for zero in (self.sampling_offsets.weight, *self.attention_weights.parameters()):
            nn.init.zeros_(zero)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: Sequence[tuple[int, int]],
        **unused: Any,
    ) -> tuple[Tensor, None]:
        """Attend from every cell of all maps to all maps; by the library's names.

        hidden_states, position_embeddings: (B, S, C) of the cells; reference_points: (B, S, maps, 2), x and y
        of their places in [0, 1].  The library's mask of padding is unused: nothing is ever masked.
        """
        queries = hidden_states + position_embeddings
        each = (*queries.shape[:2], self.n_heads)
        values = self.value_proj(hidden_states).view(*each, -1)
        offsets = self.sampling_offsets(queries).view(*each, LEVELS, POINTS, 2)
        weights = self.attention_weights(queries).view(*each, -1).softmax(dim=-1).view(*each, LEVELS, POINTS)
        centres = 2 * reference_points[:1, :, :1, None] - 1  # the same in all images and maps
        grids = [
            _grid(centres, offsets[:, :, :, level], shape) for level, shape in enumerate(spatial_shapes_list)
        ]
        return self.output_proj(sample_levels(values, grids, weights, spatial_shapes_list)), None


def _grid(centres: Tensor, offsets: Tensor, shape: tuple[int, int]) -> Tensor:
    """(1, S, 1, 1, 2) in [-1, 1] and (B, S, heads, P, 2) in cells of a map to (B, heads, S, P, 2)."""
    height, width = shape
    # By numbers, as a tensor of sizes would first have to be copied to the device.
    x = torch.add(centres[..., 0], offsets[..., 0], alpha=2 / width)
    y = torch.add(centres[..., 1], offsets[..., 1], alpha=2 / height)
    return torch.stack((x.transpose(1, 2), y.transpose(1, 2)), dim=-1)
