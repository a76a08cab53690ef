"""Backbones at another resolution: maps of the new strides by the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, build_backbone
from pipeline.models.strides import cut_off, keep_resolution, measured_strides


def build(name: str) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, frozen_stages=0, frozen_batchnorm=True).eval()


@pytest.mark.parametrize(
    ("name", "output_stride", "strides"),
    [
        ("small", 4, [2, 4, 4, 4]),
        ("small", 8, [2, 4, 8, 8]),
        ("small", 16, [2, 4, 8, 16]),
        ("resnet10t", 16, [2, 4, 8, 16, 16]),  # with means in its shortcuts
        ("resnet18", 8, [2, 4, 8, 8, 8]),
        ("mobilenetv3_small_050", 16, [2, 4, 8, 16, 16]),
    ],
)
def test_strides_are_taken_out_beyond_the_output_stride(
    name: str, output_stride: int, strides: list[int]
) -> None:
    backbone = build(name)
    tensors = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    keep_resolution(backbone, output_stride, name)
    assert measured_strides(backbone) == strides
    after = backbone.network.state_dict()
    assert after.keys() == tensors.keys()
    assert all(torch.equal(after[key], value) for key, value in tensors.items())


def test_maps_before_the_change_stay_and_later_ones_are_finer() -> None:
    plain, finer, image = build("resnet10t"), build("resnet10t"), torch.randn(1, 3, 64, 96)
    keep_resolution(finer, 8, "resnet10t")
    with torch.no_grad():
        before, after = plain.maps(image), finer.maps(image)
    for old, new in zip(before[:3], after[:3], strict=True):
        torch.testing.assert_close(old, new)
    assert after[4].shape == (1, before[4].shape[1], 8, 12)


def test_a_backbone_that_cannot_do_without_is_refused() -> None:
    with pytest.raises(UserError, match="convnext_atto: its maps would have the strides"):
        keep_resolution(build("convnext_atto"), 16, "convnext_atto")


@pytest.mark.parametrize(("name", "stride"), [("small", 4), ("resnet10t", 8), ("mobilenetv3_small_050", 8)])
def test_stages_beyond_are_cut_off(name: str, stride: int) -> None:
    whole, cut, image = build(name), build(name), torch.randn(1, 3, 64, 64)
    cut_off(cut, stride)
    assert max(cut.channels) == stride
    with torch.no_grad():
        kept, maps = whole.maps(image), cut.maps(image)
    assert len(maps) == len(cut.channels)
    for new, old in zip(maps, kept[: len(maps)], strict=True):
        torch.testing.assert_close(new, old)

    def weights(module: nn.Module) -> int:
        return sum(value.numel() for value in module.state_dict().values())

    assert weights(cut) < 0.5 * weights(whole)


def test_nothing_is_cut_behind_the_last_map() -> None:
    backbone = build("small")
    names = list(backbone.network.state_dict())
    cut_off(backbone, 16)
    assert list(backbone.network.state_dict()) == names
