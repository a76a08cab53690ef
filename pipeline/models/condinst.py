"""CondInst (arXiv 2003.05664): backbone, pyramid, detection head with controller, mask branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline import params
from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.dynamic_mask_head import parameter_count
from pipeline.models.fcos_head import FCOSHead, HeadOutputs
from pipeline.models.fpn import FPN
from pipeline.models.map_norms import map_norms, over_channels
from pipeline.models.mask_branch import MaskBranch
from pipeline.models.normalise import Normalise

PADDING_DIVISOR = 32  # padded sizes are multiples of it: down to this stride, every map fits exactly


@dataclass
class CondInstOutputs(HeadOutputs):
    """Dense predictions per pyramid level, and mask_features: (B, C, H / mask stride, W / mask stride)."""

    mask_features: Tensor

    def float(self) -> CondInstOutputs:
        """The same in float32, in which losses and boxes are computed whatever the network ran in."""
        return CondInstOutputs(
            [level.float() for level in self.class_logits],
            [level.float() for level in self.distances],
            [level.float() for level in self.centerness],
            [level.float() for level in self.controller],
            self.mask_features.float(),
        )


class CondInstHeads(nn.Module):
    """Everything after the pyramid.  skip_channels: backbone channels by stride, for the mask branch."""

    def __init__(self, model: params.CondInst, num_classes: int, skip_channels: Mapping[int, int]) -> None:
        super().__init__()
        self.fcos_head = FCOSHead(
            model.fpn_channels,
            num_classes,
            parameter_count(model),
            convs=model.head_convs,
            levels=len(model.fpn_strides),
        )
        self.mask_branch = MaskBranch(
            model.fpn_channels,
            model.mask_branch_channels,
            model.mask_features,
            levels=model.mask_branch_levels,
            convs=model.mask_branch_convs,
            norm=model.mask_branch_norm,
            stride=model.fpn_strides[0],
            skips={s: skip_channels[s] for s in model.mask_branch_skips},
        )

    def forward(self, pyramid: list[Tensor], features: Mapping[int, Tensor]) -> CondInstOutputs:
        """pyramid: a (B, C, h, w) map per FPN stride; features: the backbone's maps by stride."""
        return CondInstOutputs(
            **vars(self.fcos_head(pyramid)), mask_features=self.mask_branch(pyramid, features)
        )


class CondInst(nn.Module):
    """The whole network.  Raises UserError when the backbone lacks a stride that `model` asks for.

    A Swin's maps are normalised before the pyramid, as in BoxTeacher (arXiv 2210.05174).
    """

    def __init__(self, model: params.CondInst, num_classes: int, backbone: Backbone) -> None:
        super().__init__()
        missing = set(model.mask_branch_skips) - set(backbone.channels)
        if missing:
            raise UserError(
                "params.yaml",
                f"mask_branch_skips {list(model.mask_branch_skips)}",
                f"the backbone has no map of stride {min(missing)}",
                f"it has {sorted(backbone.channels)}",
            )
        self.backbone = backbone
        self.fpn = FPN(backbone.channels, model.fpn_channels, model.fpn_strides)
        # Called as a part of the backbone, for they learn at its rate.
        self.backbone_norms = map_norms(
            model.backbone, [backbone.channels[stride] for stride in self.fpn.lateral_strides]
        )
        self.heads = CondInstHeads(model, num_classes, backbone.channels)
        self.normalise = Normalise(
            model.pixel_mean, model.pixel_std, reverse_channels=model.pixel_format == "bgr"
        )

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> CondInstOutputs:
        """images: (B, 3, H, W) float RGB, 0..255; sizes: (height, width) of each within its padding."""
        features = self.backbone(self.normalise(images, sizes))
        if self.backbone_norms:
            for stride, norm in zip(self.fpn.lateral_strides, self.backbone_norms, strict=True):
                features[stride] = over_channels(norm, features[stride])
        return self.heads(self.fpn(features), features)  # type: ignore[no-any-return]


def build_condinst(model: params.CondInst, num_classes: int) -> CondInst:
    """CondInst on the backbone that `model` names, with random weights."""
    backbone = build_backbone(
        model.backbone,
        frozen_stages=model.frozen_stages,
        frozen_batchnorm=model.frozen_batchnorm,
        drop_path=model.drop_path,
        stride_in_1x1=model.stride_in_1x1,
        deformable_stages=model.deformable_stages,
    )
    return CondInst(model, num_classes, backbone)
