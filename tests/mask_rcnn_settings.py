"""A Mask R-CNN that is quick to train, for tests to vary."""

from __future__ import annotations

from typing import Any

from pipeline.params import MaskRCNN

_SMALL = MaskRCNN(
    architecture="mask_rcnn",
    backbone="small",
    frozen_stages=0,
    frozen_batchnorm=False,
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_std=(58.395, 57.12, 57.375),
    fpn_channels=16,
    fpn_strides=(4, 8, 16),
    anchor_sizes=(16, 32, 64),
    anchor_ratios=(0.5, 1.0, 2.0),
    rpn_pre_nms=100,
    rpn_post_nms=50,
    rpn_batch=32,
    roi_batch=16,
    box_pool=5,
    box_head_channels=32,
    mask_pool=7,
    mask_head_channels=16,
    mask_head_convs=1,
    mask_margin=0.0,
    mask_out_stride=2,
)


def small_mask_rcnn(**changes: Any) -> MaskRCNN:
    """Three levels on the backbone `small`; `changes` are not validated."""
    return _SMALL.model_copy(update=changes)
