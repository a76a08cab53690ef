"""A Mask2Former that is quick to train, for tests to vary."""

from __future__ import annotations

from typing import Any

from pipeline.params import Mask2Former, QueryLosses

PUBLISHED_LOSSES = QueryLosses(
    class_weight=2,
    mask_weight=5,
    dice_weight=5,
    no_object_weight=0.1,
    points=12544,
    oversample=3,
    importance=0.75,
)

_SMALL = Mask2Former(
    architecture="mask2former",
    backbone="small",
    frozen_stages=0,
    frozen_batchnorm=False,
    drop_path=0.0,
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_std=(58.395, 57.12, 57.375),
    pyramid="stages",
    feature_strides=(4, 8, 16, 32),
    hidden_channels=32,
    heads=4,
    encoder_layers=1,
    decoder_layers=2,
    encoder_ffn_channels=32,
    decoder_ffn_channels=64,
    queries=6,
    losses=PUBLISHED_LOSSES.model_copy(update={"points": 64}),
)


def small_mask2former(**changes: Any) -> Mask2Former:
    """Four levels on the backbone `small`; `changes` are validated."""
    return Mask2Former.model_validate({**_SMALL.model_dump(), **changes})
