"""Maps for Mask2Former: of stages, of more than there are stages, and of a transformer's tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.mask2former.pyramids import StagePyramid, TokenPyramid, build_pyramid

STRIDES = (4, 8, 16, 32)


class Tokens(nn.Module):
    """A stand-in for a transformer with patches of 14: each token is the mean of its square."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append(tuple(images.shape[-2:]))
        return [F.avg_pool2d(images, 14)]


def pyramid(resampling: str) -> tuple[Backbone, TokenPyramid]:
    torch.manual_seed(0)
    backbone = Backbone(Tokens(), {14: 3}, {14: "norm"})
    built = build_pyramid(resampling, "a transformer", backbone, STRIDES, 32)
    assert isinstance(built, TokenPyramid)
    return backbone, built


@pytest.mark.parametrize(
    ("resampling", "side", "grown", "cells"),
    [
        ("nearest", 56, 70, (14, 7, 3, 1)),  # an exact multiple grows, too
        ("nearest", 64, 70, (16, 8, 4, 2)),
        ("bilinear", 56, 56, (14, 7, 4, 2)),
        ("bilinear", 64, 70, (16, 8, 4, 2)),
    ],
)
def test_sizes_are_those_of_the_variant(
    resampling: str, side: int, grown: int, cells: tuple[int, ...]
) -> None:
    backbone, tokens = pyramid(resampling)
    maps = tokens(backbone, torch.rand(2, 3, side, 2 * side))
    assert backbone.network.seen[0][0] == grown
    assert [level.shape[-2] for level in maps] == list(cells)
    assert [level.shape[1] for level in maps] == tokens.channels == [128, 256, 512, 1024]


def nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="nearest")


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("resize", [nearest, bilinear])
def test_maps_are_the_tokens_resampled_and_projected(resize: Callable[..., Tensor]) -> None:
    """In the order of Guided Distillation's text; ours projects first, which is the same and less work."""
    backbone, tokens = pyramid(resize.__name__)
    images = torch.rand(2, 3, 64, 96)
    map14 = F.avg_pool2d(resize(images, (70, 98)), 14)
    for level, project, stride in zip(
        tokens(backbone, images), tokens.backbone_projections, STRIDES, strict=True
    ):
        wanted = project(resize(map14, (64 // stride, 96 // stride)))
        torch.testing.assert_close(level, wanted, rtol=1e-5, atol=1e-5)


def test_stages_are_taken_as_they_are_and_further_ones_made() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
    stages = StagePyramid("small", backbone, STRIDES, 32)
    images = torch.rand(1, 3, 64, 96)
    maps, features = stages(backbone, images), backbone(images)
    assert [level.shape[1] for level in maps] == stages.channels == [32, 64, 128, 32]
    for level, stride in zip(maps, (4, 8, 16), strict=False):
        assert torch.equal(level, features[stride])
    assert maps[3].shape == (1, 32, 2, 3)


def test_a_swins_maps_are_normalised() -> None:
    torch.manual_seed(0)
    name = "swin_tiny_patch4_window7_224"
    backbone = build_backbone(name, frozen_stages=0, frozen_batchnorm=False).eval()
    stages = StagePyramid(name, backbone, STRIDES, 32)
    images = torch.rand(1, 3, 64, 96)
    for level, given in zip(stages(backbone, images), backbone(images).values(), strict=True):
        torch.testing.assert_close(
            level, F.layer_norm(given.permute(0, 2, 3, 1), given.shape[1:2]).permute(0, 3, 1, 2)
        )
