"""Mask2Former's two decoders: the modules of transformers, started and computed as in the original."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerSinePositionEmbedding,
    Mask2FormerTransformerModule,
)

from pipeline import params
from pipeline.models.mask2former.attention import DeformableAttention

_TABLES = 12  # of positions that are kept: three maps of four sizes of images


class Positions(Mask2FormerSinePositionEmbedding):
    """The library's positions of a map's cells, kept for the sizes seen last.

    The library keeps one table, and each pass needs those of three maps, so it would make every one anew.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(num_position_features=channels // 2, normalize=True)

    def forward(
        self, shape: torch.Size, device: torch.device | str, dtype: torch.dtype, mask: Tensor | None = None
    ) -> Tensor:
        """(B, C, h, w) for maps of `shape`, the same in all images; nothing is ever masked."""
        batch, _, height, width = shape
        return _table(2 * self.num_position_features, height, width, device, dtype).expand(batch, -1, -1, -1)


@lru_cache(maxsize=_TABLES)
def _table(channels: int, height: int, width: int, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    # Not in inference mode, whose tensors would be of no use to a training after it.
    with torch.inference_mode(False):
        made: Tensor = Mask2FormerSinePositionEmbedding(channels // 2, normalize=True)(
            torch.Size((1, channels, height, width)), device, dtype
        )
    return made


class PixelDecoder(Mask2FormerPixelDecoder):
    """From maps to features of pixels: deformable attention over three maps, a pyramid step to the finest."""

    def __init__(self, model: params.Mask2Former, channels: Sequence[int]) -> None:
        """channels: of the maps, fine to coarse."""
        super().__init__(_config(model), feature_channels=list(channels))
        self.position_embedding = Positions(model.hidden_channels)
        for layer in self.encoder.layers:
            layer.self_attn = DeformableAttention(model.hidden_channels, model.heads)
        self._start()
        self.train()

    def train(self, mode: bool = True) -> PixelDecoder:
        """As any module's; but the layers of the encoder always count as in evaluation.

        In training, the library makes the host wait for a check of their outputs, and puts large numbers
        in place of infinite ones, so that a diverged training would go on.  All else is the same.
        """
        super().train(mode)
        for layer in self.encoder.layers:
            layer.training = False
        return self

    def _start(self) -> None:
        """Draw the weights as the original does; the library would draw them from other distributions."""
        nn.init.normal_(self.level_embed)
        parts: Any = self  # whose modules mypy does not know
        for layer in parts.encoder.layers:
            nn.init.xavier_uniform_(layer.fc1.weight)
            nn.init.xavier_uniform_(layer.fc2.weight)
        for convolution, _ in parts.input_projections:
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        for convolution, *_ in (*parts.lateral_convolutions, *parts.output_convolutions):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        nn.init.kaiming_uniform_(self.mask_projection.weight, a=1)
        nn.init.zeros_(parts.mask_projection.bias)


class QueryDecoder(Mask2FormerTransformerModule):
    """From features of pixels to queries and their masks, by attention within the masks found so far."""

    def __init__(self, model: params.Mask2Former) -> None:
        super().__init__(model.hidden_channels, _config(model))
        self.position_embedder = Positions(model.hidden_channels)
        for layer in self.decoder.layers:
            self._start(layer)

    @staticmethod
    def _start(layer: Any) -> None:
        """As the original; torch's own start of linear layers and embeddings is that of all the rest."""
        fused = 2**-0.5  # the original draws the weights of queries, keys and values as one matrix
        attention = layer.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            nn.init.xavier_uniform_(linear.weight, gain=fused)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(attention.out_proj.bias)
        for linear in (attention.out_proj, layer.cross_attn.out_proj, layer.fc1, layer.fc2):
            nn.init.xavier_uniform_(linear.weight)


def _config(model: params.Mask2Former) -> Mask2FormerConfig:
    """What the library's modules read of a configuration."""
    return Mask2FormerConfig(
        feature_size=model.hidden_channels,
        mask_feature_size=model.hidden_channels,
        hidden_dim=model.hidden_channels,
        encoder_layers=model.encoder_layers,
        encoder_feedforward_dim=model.encoder_ffn_channels,
        decoder_layers=model.decoder_layers + 1,  # the library counts predictions
        dim_feedforward=model.decoder_ffn_channels,
        num_attention_heads=model.heads,
        num_queries=model.queries,
        feature_strides=list(model.feature_strides),
        common_stride=model.feature_strides[0],
        dropout=0.0,  # as published; the library would skip layers at this rate and fail
    )
