"""CondInst as published, for tests to vary."""

from __future__ import annotations

from typing import Any

from pipeline.params import CondInst

_PUBLISHED = CondInst(
    architecture="condinst",
    backbone="small",
    frozen_stages=0,
    frozen_batchnorm=False,
    drop_path=0.0,
    stride_in_1x1=False,
    deformable_stages=(),
    pixel_format="bgr",
    pixel_mean=(103.53, 116.28, 123.675),
    pixel_std=(1.0, 1.0, 1.0),
    fpn_channels=256,
    fpn_strides=(8, 16, 32, 64, 128),
    sizes_of_interest=(64, 128, 256, 512, 1024),
    head_convs=4,
    max_proposals=-1,
    topk_per_image=64,
    mask_branch_levels=3,
    mask_branch_channels=128,
    mask_branch_convs=4,
    mask_branch_norm="batchnorm",
    mask_branch_skips=(),
    mask_features=16,
    mask_out_stride=4,
    mask_head_channels=8,
    mask_head_layers=3,
    relative_coordinates=True,
)


def published_condinst(**changes: Any) -> CondInst:
    """BoxInst's CondInst with a small backbone; `changes` are not validated."""
    return _PUBLISHED.model_copy(update=changes)
