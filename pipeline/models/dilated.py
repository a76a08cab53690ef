"""Residual networks whose last stages are dilated instead of strided (DeepLab, arXiv 1606.00915)."""

from __future__ import annotations

from typing import Any, cast

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, is_one_of_timm
from pipeline.models.freezing import freeze_stages
from pipeline.models.frozen_batchnorm import BATCH_NORMS

STRIDE = 8


def build_dilated(
    name: str, *, frozen_stages: int, frozen_statistics: bool, batchnorm_momentum: float
) -> Backbone:
    """timm's ResNet `name` with one map of stride 8, initialised at random from torch's global generator.

    The third and fourth stage have dilation 2 and 4, and their first blocks half of it.  timm's `resnet101s`
    has SPML's stem of three convolutions (64, 64, 128).  frozen_stages: 1 = the stem, 2 = the first stage,
    too, whose batch statistics drift unless frozen_statistics; batchnorm_momentum: weight of the new
    statistic, everywhere.  Raises UserError for a name that is no ResNet of timm's.
    """
    import timm  # takes seconds, and few stages build such a network

    if not timm.is_model(name) or not is_one_of_timm(name, ("resnet",)):
        remedy = "choose one such as resnet101s or resnet50, or small with the head pyramid"
        raise UserError("params.yaml", name, "is not a ResNet that timm knows, which can be dilated", remedy)
    network = timm.create_model(name, features_only=True, output_stride=STRIDE, out_indices=(4,))
    levels = cast(Any, network.feature_info).info
    ends = {level["reduction"]: level["module"] for level in reversed(levels)}
    if frozen_stages:
        freeze_stages(network, ends, name, frozen_stages, statistics=frozen_statistics)
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            module.momentum = batchnorm_momentum
    return Backbone(network, {STRIDE: levels[4]["num_chs"]}, {STRIDE: levels[4]["module"]})
