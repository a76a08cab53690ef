"""The fully connected ablation decoder (MAL, Table 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.models.layers import resize_bilinear

_POOLED = 7  # the paper gives no input size; the whole map would need a billion weights
_HIDDEN = 2048
_MASK_SIDE = 64


class FullyConnectedDecoder(nn.Module):
    """Two linear layers from the map, averaged to 7 x 7, to a mask of 64 x 64, whatever the object's size."""

    def __init__(self, model: params.AutoLabeler, channels: int) -> None:
        """channels: of the encoder's map."""
        super().__init__()
        self.first = nn.Linear(channels * _POOLED**2, _HIDDEN)
        self.second = nn.Linear(_HIDDEN, _MASK_SIDE**2)
        self.output_scale = model.output_scale

    def forward(self, tokens: Tensor, areas: Tensor) -> Tensor:
        """tokens: (B, channels, n, n); areas: not used.  (B, o, o) logits with o = output_scale * n."""
        side = self.output_scale * tokens.shape[-1]
        hidden = F.relu(self.first(F.adaptive_avg_pool2d(tokens, _POOLED).flatten(1)))
        masks: Tensor = self.second(hidden).reshape(-1, 1, _MASK_SIDE, _MASK_SIDE)
        return resize_bilinear(masks, side, side)[:, 0]
