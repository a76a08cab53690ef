"""Decoders on the pixel head, at a resolution that follows the object's size."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.models.autolabeler.heads import InstanceHead, PixelHead
from pipeline.models.autolabeler.sizes import AS_IT_IS, Scale, SizeGroups
from pipeline.models.layers import resize_bilinear


class PixelDecoder(nn.Module, ABC):
    """The pixel head on the encoder's map, at half, one or two times its side; a subclass makes logits.

    With n the map's side, the logits of small, medium and large objects have sides n, 2 n and 4 n before
    they are resized to output_scale * n.  Without `scale_by_size`, all have 2 n.
    """

    def __init__(self, model: params.AutoLabeler, channels: int) -> None:
        """channels: of the encoder's map."""
        super().__init__()
        self.pixel_head = PixelHead(channels, model.hidden_channels, model.out_channels, model.head_convs)
        self.sizes = SizeGroups(model) if model.scale_by_size else None
        self.output_scale = model.output_scale

    def forward(self, tokens: Tensor, areas: Tensor) -> Tensor:
        """tokens: (B, channels, n, n); areas: (B,) of the boxes, in image pixels.

        Returns (B, o, o) logits with o = output_scale * n.
        """
        if self.sizes is None:
            return self._at(tokens, AS_IT_IS)
        return self.sizes.apply(tokens, areas, self._at)

    def _at(self, tokens: Tensor, scale: Scale) -> Tensor:
        side = tokens.shape[-1]
        inner, outer = max(1, int(side * scale.factor)), self.output_scale * side
        pixels: Tensor = self.pixel_head(resize_bilinear(tokens, inner, inner))
        logits = self.logits(pixels, tokens)
        return resize_bilinear(logits[:, None], outer, outer)[:, 0] * scale.weight

    @abstractmethod
    def logits(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """pixels: (b, out_channels, h, w) of the pixel head; tokens: (b, channels, n, n).  (b, h, w)."""


class AttentionDecoder(PixelDecoder):
    """MAL's own: the product of one vector per crop with every pixel's (section 3.3)."""

    def __init__(self, model: params.AutoLabeler, channels: int) -> None:
        super().__init__(model, channels)
        self.instance_head = InstanceHead(channels, model.out_channels)

    def logits(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """(b, h, w), without scale or bias."""
        return torch.einsum("bc,bchw->bhw", self.instance_head(tokens), pixels)


class FullyConvolutionalDecoder(PixelDecoder):
    """Ablation (MAL, Table 3): a 1x1 convolution, the same for all crops, in place of the vector per crop."""

    def __init__(self, model: params.AutoLabeler, channels: int) -> None:
        super().__init__(model, channels)
        self.classify = nn.Conv2d(model.out_channels, 1, 1)

    def logits(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """(b, h, w)."""
        logits: Tensor = self.classify(pixels)
        return logits[:, 0]
