"""SPML's networks: an embedding of every pixel, and a classifier of embeddings (arXiv 2105.00957)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.dilated import build_dilated
from pipeline.models.embedding_heads import DeepLabHead, PSPHead, PyramidHead
from pipeline.models.layers import resize_bilinear
from pipeline.models.normalise import Normalise

STRIDE = 4  # of the embeddings
DIVISOR = 16  # of the sides that every backbone takes


class PixelEmbedding(nn.Module):
    """Backbone and head, whose map is enlarged to stride 4."""

    def __init__(self, backbone: Backbone, head: nn.Module, normalise: Normalise, channels: int) -> None:
        super().__init__()
        self.backbone, self.head, self.normalise, self.channels = backbone, head, normalise, channels

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images, H and W multiples of 16, to (B, channels, H / 4, W / 4)."""
        embeddings: Tensor = self.head(self.backbone(images))
        return resize_bilinear(embeddings, images.shape[2] // STRIDE, images.shape[3] // STRIDE)


class PixelClassifier(nn.Module):
    """Unit length, 3x3 convolution to twice the channels, norm, ReLU, dropout, 1x1 convolution to logits."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv2d(2 * channels, classes, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, channels, h, w) of any length to logits (B, classes, h, w)."""
        unit = F.normalize(embeddings, dim=1, eps=1e-12)
        hidden = self.dropout(F.relu(self.norm(self.conv(unit))))
        logits: Tensor = self.last(hidden)
        return logits


class ClassifiedEmbedding(nn.Module):
    """An embedding and its classifier.  detached: the classifier's gradient does not reach the embedding."""

    def __init__(self, embedding: PixelEmbedding, classifier: PixelClassifier, *, detached: bool) -> None:
        super().__init__()
        self.embedding, self.classifier, self.detached = embedding, classifier, detached

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalised images to embeddings (B, d, h, w) and logits (B, C, h, w) of stride 4."""
        embeddings = self.embedding(images)
        return embeddings, self.classifier(embeddings.detach() if self.detached else embeddings)


class FrozenEmbedding(ClassifiedEmbedding):
    """The embedding fixed and in evaluation mode; the classifier learns."""

    def __init__(self, embedding: PixelEmbedding, classifier: PixelClassifier) -> None:
        super().__init__(embedding.requires_grad_(False), classifier, detached=True)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.embedding.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            embeddings: Tensor = self.embedding(images)
        return embeddings, self.classifier(embeddings)


def build_pixel_embedding(model: params.PixelEmbedding) -> PixelEmbedding:
    """The network of `model`, initialised at random from torch's global generator.

    Raises UserError for a backbone that timm does not know or that cannot be dilated.
    """
    channels = model.embedding_channels
    head: nn.Module
    if model.head == "pyramid":
        backbone = build_backbone(model.backbone, frozen_stages=model.frozen_stages, frozen_batchnorm=False)
        head = PyramidHead(backbone.channels, channels, STRIDE)
    else:
        backbone = build_dilated(
            model.backbone,
            frozen_stages=model.frozen_stages,
            frozen_statistics=model.frozen_statistics,
            batchnorm_momentum=model.batchnorm_momentum,
        )
        ((stride, inputs),) = backbone.channels.items()
        head = (DeepLabHead if model.head == "deeplab" else PSPHead)(inputs, channels, stride)
    return PixelEmbedding(backbone, head, Normalise(model.pixel_mean, model.pixel_std), channels)


def padded_size(height: int, width: int, least: Sequence[int] = (0, 0)) -> tuple[int, int]:
    """The smallest sides that hold (height, width) and `least` and that the network takes."""
    rows, columns = (
        -(-max(side, low) // DIVISOR) * DIVISOR for side, low in zip((height, width), least, strict=True)
    )
    return rows, columns
