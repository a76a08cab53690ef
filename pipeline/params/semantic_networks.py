"""Networks that give every pixel an embedding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Rate, Section


class PixelEmbedding(Section):
    """SPML's network (arXiv 2105.00957, section 4): a dilated ResNet and a head, enlarged to stride 4.

    deeplab, pspnet: on the last map of a ResNet of stride 8; pyramid: of the small backbone, whose maps of
    stride 4, 8 and 16 it adds up.  The published stem of three convolutions is timm's `resnet101s`.
    """

    architecture: Literal["pixel_embedding"]
    backbone: str  # `small`, or a timm ResNet
    head: Literal["deeplab", "pspnet", "pyramid"]
    embedding_channels: Annotated[int, Field(gt=0)]
    frozen_stages: Annotated[int, Field(ge=0, le=2)]  # 2 = stem and first stage, as the release
    frozen_statistics: bool  # of the frozen stages' batch norms; the release's drift
    batchnorm_momentum: Annotated[float, Field(gt=0, le=1)]  # weight of the new statistic, in the backbone
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]

    @model_validator(mode="after")
    def _head_fits(self) -> PixelEmbedding:
        if (self.backbone == "small") != (self.head == "pyramid"):
            raise ValueError("head must be pyramid with the backbone small, and deeplab or pspnet otherwise")
        return self
