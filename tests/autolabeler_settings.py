"""MAL's auto-labeler as published, for tests to vary."""

from __future__ import annotations

from typing import Any

from pipeline.params import AutoLabeler

_PUBLISHED = AutoLabeler(
    architecture="autolabeler",
    backbone="vit_base_patch16_224.mae",
    stem="patch",
    crop_size=512,
    decoder="attention",
    head_convs=4,
    hidden_channels=256,
    out_channels=256,
    scale_by_size=True,
    size_limits=(32.0, 96.0),
    size_ranges="half_open",
    output_scale=4,
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_std=(58.395, 57.12, 57.375),
)


def published_autolabeler(**changes: Any) -> AutoLabeler:
    """The default of paper and release, with the standard patch projection; `changes` are not validated."""
    return _PUBLISHED.model_copy(update=changes)


def small_autolabeler(**changes: Any) -> AutoLabeler:
    """On the demo's encoder, for crops of 64 pixels."""
    small = {"backbone": "small", "crop_size": 64, "hidden_channels": 8, "out_channels": 8, "output_scale": 2}
    return published_autolabeler(**(small | changes))
