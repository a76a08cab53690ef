"""The query-based ablation decoder (MAL, Table 3), in the manner of Mask2Former (arXiv 2112.01527)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.models.autolabeler.pixel_decoders import PixelDecoder
from pipeline.models.layers import resize_bilinear

_WIDTH, _HEADS, _FEED_FORWARD, _LAYERS = 256, 8, 2048, 3


class QueryDecoder(PixelDecoder):
    """One learned query that attends to the map where its own mask is; the mask is its product with V.

    The map's cells carry no positions but those that the encoder gave them.  The paper reports no usable
    result of this decoder.
    """

    def __init__(self, model: params.AutoLabeler, channels: int) -> None:
        super().__init__(model, channels)
        self.query = nn.Parameter(torch.empty(1, 1, _WIDTH))
        nn.init.normal_(self.query)
        self.project = nn.Linear(channels, _WIDTH)
        self.layers = nn.ModuleList(_QueryLayer() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.embed = nn.Sequential(
            nn.Linear(_WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, model.out_channels),
        )

    def logits(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """(b, h, w): those of the query after the last layer."""
        cells = self.project(tokens.flatten(2).transpose(1, 2))
        query = self.query.expand(len(tokens), -1, -1)
        for layer in self.layers:
            query = layer(query, cells, self._hidden(query, pixels, tokens.shape[-1]))
        return self._product(query, pixels)

    def _product(self, query: Tensor, pixels: Tensor) -> Tensor:
        return torch.einsum("bc,bchw->bhw", self.embed(self.norm(query[:, 0])), pixels)

    @torch.no_grad()
    def _hidden(self, query: Tensor, pixels: Tensor, side: int) -> Tensor:
        """(b, side * side) bool: cells outside of the query's mask; none where the mask is empty."""
        logits = resize_bilinear(self._product(query, pixels)[:, None], side, side)
        hidden = logits.flatten(1) < 0
        return hidden & ~hidden.all(dim=1, keepdim=True)


class _QueryLayer(nn.Module):
    """Attention to the cells, attention among the queries, two linear layers; a norm after each."""

    def __init__(self) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.own = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.first = nn.Linear(_WIDTH, _FEED_FORWARD)
        self.second = nn.Linear(_FEED_FORWARD, _WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(3))

    def forward(self, query: Tensor, cells: Tensor, hidden: Tensor) -> Tensor:
        """query: (b, 1, width); cells: (b, n, width); hidden: (b, n) bool, cells not to look at."""
        seen, _ = self.cross(query, cells, cells, key_padding_mask=hidden, need_weights=False)
        query = self.norms[0](query + seen)
        seen, _ = self.own(query, query, query, need_weights=False)
        query = self.norms[1](query + seen)
        result: Tensor = self.norms[2](query + self.second(F.relu(self.first(query))))
        return result
