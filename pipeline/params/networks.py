"""Networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, Positive, Rate, Section, Share, Weight
from pipeline.params.query_losses import QueryLosses


class CondInst(Section):
    """CondInst (arXiv 2003.05664).  Defaults of the reference are in presets/coco.yaml."""

    architecture: Literal["condinst"]
    backbone: str  # `small` (own GroupNorm network), or any timm name that supports features_only
    frozen_stages: Annotated[int, Field(ge=0, le=5)]  # 2 = stem and first stage, as the reference
    frozen_batchnorm: bool
    drop_path: Share  # of the backbone's last block, rising from 0 at the first
    stride_in_1x1: bool  # of a ResNet's bottlenecks: MSRA's, while timm's have it in the 3x3 convolution
    deformable_stages: tuple[Annotated[int, Field(ge=2, le=5)], ...]  # of a ResNet: its 3x3 convolutions
    pixel_format: Literal["bgr", "rgb"]
    pixel_mean: tuple[float, float, float]  # in 0..255, in the order of pixel_format
    pixel_std: tuple[Rate, Rate, Rate]
    fpn_channels: Positive
    fpn_strides: tuple[Positive, ...]  # levels beyond the backbone's last are made by stride-2 convs
    sizes_of_interest: tuple[Positive, ...]  # per level; all but the last are also the range limits
    head_convs: Positive
    max_proposals: int  # on masks: random positives per process that get one; -1 = use topk_per_image
    topk_per_image: int  # on masks: best positives per image, shared by its objects; -1 = off
    mask_branch_levels: Positive
    mask_branch_channels: Positive
    mask_branch_convs: Count
    mask_branch_norm: Literal["batchnorm", "groupnorm"]
    mask_branch_skips: tuple[Positive, ...]  # strides of backbone features added after the tower
    mask_features: Positive
    mask_out_stride: Positive
    mask_head_channels: Positive
    mask_head_layers: Annotated[int, Field(ge=1)]
    relative_coordinates: bool

    @model_validator(mode="after")
    def _consistent(self) -> CondInst:
        if (self.max_proposals > 0) == (self.topk_per_image > 0):
            raise ValueError("set exactly one of max_proposals and topk_per_image, the other to -1")
        if len(self.sizes_of_interest) != len(self.fpn_strides):
            raise ValueError("sizes_of_interest needs one entry per entry of fpn_strides")
        _check_doubling("fpn_strides", self.fpn_strides)
        if any(stage <= self.frozen_stages for stage in self.deformable_stages):
            raise ValueError("deformable_stages must come after frozen_stages: shifts that stay 0 do nothing")
        if self.mask_branch_levels > len(self.fpn_strides):
            raise ValueError("mask_branch_levels exceeds the number of fpn_strides")
        if self.backbone == "small" and not {self.fpn_strides[0], *self.mask_branch_skips} <= {2, 4, 8, 16}:
            raise ValueError("the backbone small has maps of stride 2, 4, 8 and 16 only")
        if self.backbone == "small" and self.drop_path:
            raise ValueError("drop_path must be 0 with the backbone small, which has no such blocks")
        if self.backbone == "small" and (self.stride_in_1x1 or self.deformable_stages):
            raise ValueError("stride_in_1x1 must be false and deformable_stages [] with the backbone small")
        skips = self.fpn_strides[0], *sorted(self.mask_branch_skips, reverse=True)
        if any(fine >= coarse or coarse % fine for coarse, fine in pairwise(skips)):
            raise ValueError(
                "mask_branch_skips must divide each other and the first of fpn_strides, and be finer"
            )
        stride = skips[-1]
        if stride % self.mask_out_stride:
            raise ValueError(f"mask_out_stride must divide the mask branch's stride {stride}")
        return self


class AutoLabeler(Section):
    """MAL's mask auto-labeler (arXiv 2301.03992): an encoder of box crops and a decoder to one mask each."""

    architecture: Literal["autolabeler"]
    backbone: str  # `small` (own network), or a timm name: plain ViT, Swin or ConvNeXt
    stem: Literal["patch", "conv"]  # of a ViT; conv is the release's, which starts at random
    crop_size: Annotated[int, Field(ge=32)]  # side of the square crops, in pixels
    decoder: Literal["attention", "fully_connected", "fully_convolutional", "query"]
    head_convs: Annotated[int, Field(ge=2)]  # of the pixel head
    hidden_channels: Positive
    out_channels: Positive
    scale_by_size: bool  # small, medium and large objects at half, one and two times the resolution
    size_limits: tuple[Rate, Rate]  # box sides in image pixels where medium and large begin
    size_ranges: Literal["half_open", "open"]  # open: as released, a box on a limit gets no mask
    output_scale: Positive  # side of the logits over side of the token grid
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]

    @model_validator(mode="after")
    def _consistent(self) -> AutoLabeler:
        if self.backbone == "small" and self.stem != "patch":
            raise ValueError("stem must be patch: the backbone small has no patch projection to replace")
        if self.backbone == "small" and self.crop_size % 16:
            raise ValueError("crop_size must be a multiple of 16 with the backbone small")
        if self.size_limits[0] >= self.size_limits[1]:
            raise ValueError("size_limits must rise")
        return self


class MaskRCNN(Section):
    """Mask R-CNN (arXiv 1703.06870) with a pyramid; losses and heads are torchvision's."""

    architecture: Literal["mask_rcnn"]
    backbone: str
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    frozen_batchnorm: bool
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]
    fpn_channels: Positive
    fpn_strides: tuple[Positive, ...]
    anchor_sizes: tuple[Rate, ...]  # side in pixels, one per level
    anchor_ratios: tuple[Rate, ...]
    rpn_pre_nms: Positive  # proposals per level before NMS, in training
    rpn_post_nms: Positive  # and after it
    rpn_batch: Positive  # anchors per image in the RPN's losses
    roi_batch: Positive  # proposals per image in the box losses
    box_pool: Positive  # side of the RoIAlign grid
    box_head_channels: Positive  # of the two fully connected layers
    mask_pool: Positive
    mask_head_channels: Positive
    mask_head_convs: Positive
    mask_margin: Weight  # what the grid of a mask has more than its box, in box sides, both ends together
    mask_out_stride: Positive  # of the maps that methods on boxes lay masks out on

    @model_validator(mode="after")
    def _consistent(self) -> MaskRCNN:
        if self.fpn_strides[-1] % self.mask_out_stride:
            raise ValueError("mask_out_stride must divide the coarsest of fpn_strides")
        if len(self.anchor_sizes) != len(self.fpn_strides):
            raise ValueError("anchor_sizes needs one entry per entry of fpn_strides")
        _check_doubling("fpn_strides", self.fpn_strides)
        if self.backbone == "small" and self.fpn_strides[0] not in (2, 4, 8, 16):
            raise ValueError("the backbone small has maps of stride 2, 4, 8 and 16 only")
        return self


class Mask2Former(Section):
    """Mask2Former (arXiv 2112.01527).  `losses` are its own, so that all methods that train it share them."""

    architecture: Literal["mask2former"]
    backbone: str  # `small`, or a timm name: ResNet, Swin, ConvNeXt, plain ViT, DINOv2
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    frozen_batchnorm: bool
    drop_path: Share  # of the backbone's last block, rising from 0 at the first; 0.3 as published, of Swin
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]
    pyramid: Literal["stages", "nearest", "bilinear"]  # nearest, bilinear: of a plain transformer's tokens
    feature_strides: tuple[Positive, Positive, Positive, Positive]  # of the masks; of the three attended to
    hidden_channels: Annotated[int, Field(gt=0, multiple_of=32)]  # the norms have 32 groups
    heads: Positive
    encoder_layers: Positive
    decoder_layers: (
        Positive  # layers; the predictions are one more, and their number is what the release sets
    )
    encoder_ffn_channels: Positive
    decoder_ffn_channels: Positive
    queries: Positive
    losses: QueryLosses

    @model_validator(mode="after")
    def _consistent(self) -> Mask2Former:
        _check_doubling("feature_strides", self.feature_strides)
        if self.hidden_channels % self.heads:
            raise ValueError("hidden_channels must be a multiple of heads")
        if self.backbone == "small" and self.feature_strides[0] not in (2, 4, 8, 16):
            raise ValueError("the backbone small has maps of stride 2, 4, 8 and 16 only")
        if self.backbone == "small" and self.pyramid != "stages":
            raise ValueError("pyramid must be stages with the backbone small")
        if self.backbone == "small" and self.drop_path:
            raise ValueError("drop_path must be 0 with the backbone small, which has no such blocks")
        return self


def _check_doubling(key: str, strides: tuple[int, ...]) -> None:
    if any(b != 2 * a for a, b in pairwise(strides)):
        raise ValueError(f"{key} must double from level to level")


class Detectron2(Section):
    """A network of detectron2's model zoo, if detectron2 is installed; its config names all but this."""

    architecture: Literal["detectron2"]
    backbone: str  # a ResNet of timm with the config's layers, whose weights the network starts from
    config: Annotated[
        str, Field(pattern=r"\.yaml$")
    ]  # COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml, for example
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]


Model = Annotated[
    CondInst | MaskRCNN | Mask2Former | Detectron2 | AutoLabeler, Field(discriminator="architecture")
]
