"""Mask2Former (arXiv 2112.01527): our backbones, the pixel and the query decoder of transformers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from pipeline import params
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.models.normalise import Normalise


class Mask2FormerHeads(Mask2FormerPreTrainedModel):  # type: ignore[no-untyped-call]
    """Everything after the backbone; the library draws its weights."""

    def __init__(self, config: Mask2FormerConfig, channels: Sequence[int], num_classes: int) -> None:
        """channels: of the maps, fine to coarse."""
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, feature_channels=list(channels))
        self.query_decoder = Mask2FormerTransformerModule(config.feature_size, config)
        self.class_predictor = nn.Linear(config.hidden_dim, num_classes + 1)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, maps: Sequence[Tensor]) -> list[QueryPredictions]:
        """maps: (B, C, h, w), fine to coarse.  Returns the predictions of the queries, then of each layer."""
        pixels = self.pixel_decoder(maps, output_hidden_states=False)
        decoded = self.query_decoder(
            multi_scale_features=pixels.multi_scale_features, mask_features=pixels.mask_features
        )
        return [
            QueryPredictions(self.class_predictor(states.transpose(0, 1)).float(), masks.float())
            for states, masks in zip(
                decoded.intermediate_hidden_states, decoded.masks_queries_logits, strict=True
            )
        ]


class Mask2Former(nn.Module):
    """The whole network.  Raises ValueError when the backbone lacks the finest stride that `model` asks for.

    padding_divisor: the padded sides of a batch must be multiples of it.
    """

    def __init__(self, model: params.Mask2Former, num_classes: int, backbone: Backbone) -> None:
        super().__init__()
        strides = model.feature_strides
        own = [stride for stride in strides if stride in backbone.channels]
        if list(strides[: len(own)]) != own or not own:
            raise ValueError(
                f"feature_strides {list(strides)} do not start with strides of the backbone,"
                f" which has {sorted(backbone.channels)}"
            )
        self.backbone = backbone
        self.normalise = Normalise(model.pixel_mean, model.pixel_std)
        channels = [backbone.channels[stride] for stride in own]
        self.coarser = nn.ModuleList()
        for _ in strides[len(own) :]:
            self.coarser.append(nn.Conv2d(channels[-1], model.hidden_channels, 3, stride=2, padding=1))
            channels.append(model.hidden_channels)
        self.heads = Mask2FormerHeads(_config(model), channels, num_classes)
        self.strides = tuple(own)
        self.padding_divisor = max(*backbone.channels, *strides)

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[QueryPredictions]:
        """images: (B, 3, H, W) float RGB, 0..255; sizes: (height, width) of each within its padding.

        Returns the final layer's predictions first, then the auxiliary ones in the decoder's order: those
        of the bare learned queries, of the first layer, and so on.
        """
        features = self.backbone(self.normalise(images, sizes))
        maps = [features[stride] for stride in self.strides]
        for convolution in self.coarser:
            maps.append(convolution(maps[-1]))
        *auxiliary, final = self.heads(maps)
        return [final, *auxiliary]


def build_mask2former(model: params.Mask2Former, num_classes: int) -> Mask2Former:
    """Mask2Former on the backbone that `model` names, with random weights."""
    backbone = build_backbone(
        model.backbone, frozen_stages=model.frozen_stages, frozen_batchnorm=model.frozen_batchnorm
    )
    return Mask2Former(model, num_classes, backbone)


def _config(model: params.Mask2Former) -> Mask2FormerConfig:
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
    )
