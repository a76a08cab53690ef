"""Mask2Former (arXiv 2112.01527): a backbone, a pixel decoder and a decoder of queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.models.mask2former.pyramids import build_pyramid
from pipeline.models.normalise import Normalise


class Mask2Former(nn.Module):
    """The whole network.

    padding_divisor: the padded sides of a batch must be multiples of it.
    Raises UserError for a pyramid that does not fit the backbone, and when that lacks the finest stride that
    `model` asks for.
    """

    def __init__(self, model: params.Mask2Former, num_classes: int, backbone: Backbone) -> None:
        super().__init__()
        # Here, as transformers takes a second to import, and most processes have no use for it.
        from pipeline.models.mask2former.decoders import PixelDecoder, QueryDecoder

        self.normalise = Normalise(model.pixel_mean, model.pixel_std)
        self.backbone = backbone
        self.pyramid = build_pyramid(
            model.pyramid, model.backbone, backbone, model.feature_strides, model.hidden_channels
        )
        self.pixel_decoder = PixelDecoder(model, self.pyramid.channels)
        self.query_decoder = QueryDecoder(model)
        self.class_predictor = nn.Linear(model.hidden_channels, num_classes + 1)
        # A pyramid of tokens resizes the images itself.
        coarsest = max(backbone.channels) if model.pyramid == "stages" else 1
        self.padding_divisor = max(coarsest, *model.feature_strides)

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[QueryPredictions]:
        """images: (B, 3, H, W) float RGB, 0..255; sizes: (height, width) of each within its padding.

        Returns the final layer's predictions first, then the auxiliary ones in the decoder's order: those
        of the bare learned queries, of the first layer, and so on.
        """
        maps = self.pyramid(self.backbone, self.normalise(images, sizes))
        # As the original: places are too coarse in half precision.
        with torch.autocast(images.device.type, enabled=False):
            pixels = self.pixel_decoder([level.float() for level in maps])
        decoded = self.query_decoder(pixels.multi_scale_features, pixels.mask_features)
        *auxiliary, final = (
            QueryPredictions(self.class_predictor(queries.transpose(0, 1)).float(), masks.float())
            for queries, masks in zip(
                decoded.intermediate_hidden_states, decoded.masks_queries_logits, strict=True
            )
        )
        return [final, *auxiliary]


def build_mask2former(model: params.Mask2Former, num_classes: int) -> Mask2Former:
    """Mask2Former on the backbone that `model` names, with random weights.

    Raises UserError for a backbone of no use, one that lacks the finest stride, or one that the pyramid, the
    frozen stages or the drop path do not fit.
    """
    backbone = build_backbone(
        model.backbone,
        frozen_stages=model.frozen_stages,
        frozen_batchnorm=model.frozen_batchnorm,
        single_map=True,
        drop_path=model.drop_path,
    )
    return Mask2Former(model, num_classes, backbone)
