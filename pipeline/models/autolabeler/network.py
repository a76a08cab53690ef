"""The auto-labeler: an encoder of box crops and a decoder to one mask each."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.errors import UserError
from pipeline.models.autolabeler.encoders import Encoder, build_encoder
from pipeline.models.autolabeler.fully_connected import FullyConnectedDecoder
from pipeline.models.autolabeler.pixel_decoders import AttentionDecoder, FullyConvolutionalDecoder
from pipeline.models.autolabeler.query_decoder import QueryDecoder
from pipeline.models.backbones import load_backbone

DECODERS = {
    "attention": AttentionDecoder,
    "fully_connected": FullyConnectedDecoder,
    "fully_convolutional": FullyConvolutionalDecoder,
    "query": QueryDecoder,
}


class AutoLabeler(nn.Module):
    """MAL's network (arXiv 2301.03992, sections 3.2 and 3.3), without losses.

    encoder: crops to a map; decoder: the map and the box areas to logits; mean, std: (3, 1, 1), of RGB
    values in 0..255.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: params.AutoLabeler, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder: nn.Module = DECODERS[model.decoder](model, encoder.channels)
        self.register_buffer("mean", torch.tensor(model.pixel_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(model.pixel_std)[:, None, None], persistent=False)

    def forward(self, images: Tensor, areas: Tensor) -> Tensor:
        """images: (B, 3, S, S) normalised crops; areas: (B,) of the boxes, in pixels of the whole image.

        Returns (B, o, o) logits: o = output_scale * n, with n the side of the encoder's map.
        """
        logits: Tensor = self.decoder(self.tokens(images), areas)
        return logits

    def tokens(self, images: Tensor) -> Tensor:
        """The encoder's map of (B, 3, S, S) normalised crops: (B, d, n, n)."""
        tokens: Tensor = self.encoder(images)
        return tokens

    def normalise(self, images: Tensor) -> Tensor:
        """(..., 3, H, W) RGB in 0..255, uint8 or float, to what `forward` takes."""
        return (images.float() - self.mean) / self.std


def build_autolabeler(model: params.AutoLabeler) -> AutoLabeler:
    """The network with random weights from torch's global generator.

    Raises UserError for a backbone of no use, a stem that it cannot have, or crops that do not fit it.
    """
    encoder = build_encoder(model.backbone, model.stem)
    if model.crop_size % encoder.divisor:
        raise UserError(
            "params.yaml",
            model.backbone,
            f"cannot divide crops of crop_size {model.crop_size} into cells of {encoder.divisor} pixels",
            f"use a multiple of {encoder.divisor}",
        )
    return AutoLabeler(model, encoder)


def load_encoder(network: AutoLabeler, path: Path) -> list[str]:
    """Fill the encoder's backbone from a backbone.safetensors file; an empty one changes nothing.

    Returns the names of the tensors that were left out: the patch projection, of a network with the
    convolutional stem.  Raises UserError when the file is missing, damaged or of another backbone.
    """
    return load_backbone(network.encoder.backbone, path)
