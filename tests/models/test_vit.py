"""Plain vision transformers: positions as released, tokens as timm's, and names that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from pipeline.errors import UserError
from pipeline.models.backbones import build_maps
from pipeline.models.vit import ConvStem, PlainViT, resize_positions


def tiny(**changes: Any) -> VisionTransformer:
    torch.manual_seed(0)
    settings = {"embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    return VisionTransformer(**(settings | changes))


@pytest.mark.parametrize("crop", [64, 224, 512])
def test_positions_are_those_of_the_release(load_mal, crop: int) -> None:
    arrays = load_mal("pos_embed_interp")
    table = arrays["pos_embed"].requires_grad_()
    positions = resize_positions(table, crop // 16, crop // 16)
    (gradient,) = torch.autograd.grad((positions * arrays[f"cotangent_{crop}"]).sum(), table)
    torch.testing.assert_close(positions, arrays[f"out_{crop}"], rtol=0, atol=2e-5)
    torch.testing.assert_close(gradient, arrays[f"grad_{crop}"], rtol=0, atol=5e-5)


def test_positions_keep_full_precision_under_autocast(load_mal) -> None:
    table = load_mal("pos_embed_interp")["pos_embed"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(resize_positions(table, 32, 32), resize_positions(table.clone(), 32, 32))
        assert resize_positions(table, 32, 32).dtype == torch.float32


def test_tokens_are_timms_at_the_side_of_the_pretraining() -> None:
    vit = tiny().eval()
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        wanted = vit.forward_features(images)[:, 1:]
        (tokens,) = PlainViT(vit).eval()(images)
    assert tokens.shape == (2, 16, 14, 14)
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), wanted)


def test_the_trained_table_stays_as_it_is_whatever_the_crops() -> None:
    network = PlainViT(tiny())
    for crop in (64, 96):
        assert network(torch.rand(1, 3, crop, crop))[0].shape == (1, 16, crop // 16, crop // 16)
    assert network.pos_embed.shape == (1, 197, 16)


def test_a_block_of_pixels_is_the_token_of_its_row_and_column() -> None:
    network = PlainViT(tiny())
    network.blocks = nn.Identity()  # attention would carry the change everywhere
    images = torch.zeros(1, 3, 64, 64)
    plain = network(images)[0]
    images[:, :, 16:32, 48:64] = torch.rand(3, 16, 16)
    changed = (network(images)[0] - plain).abs().amax(dim=(0, 1)) > 1e-3
    assert changed.nonzero().tolist() == [[1, 3]]


def test_the_convolutional_stem_has_stride_16() -> None:
    stem = ConvStem(32)
    assert stem(torch.rand(1, 3, 64, 64)).shape == (1, 32, 4, 4)
    norms = [layer for layer in stem.modules() if isinstance(layer, nn.GroupNorm)]
    assert [(norm.num_groups, norm.num_channels, norm.eps) for norm in norms] == [
        (1, channels, 1e-6) for channels in (4, 8, 16, 32)
    ]


@pytest.mark.parametrize(("height", "width"), [(5, 9), (4, 3), (4, 5)])
def test_positions_of_any_rectangle_are_those_of_dinov2(height: int, width: int) -> None:
    table = torch.rand(1, 17, 8, generator=torch.Generator().manual_seed(0))
    cells = F.interpolate(
        table[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        scale_factor=((height + 0.1) / 4, (width + 0.1) / 4),
        mode="bicubic",
    )
    positions = resize_positions(table, height, width)
    torch.testing.assert_close(positions[:, 1:], cells.flatten(2).transpose(1, 2))
    assert torch.equal(positions[:, 0], table[:, 0])


def test_images_may_be_of_any_shape_and_patches_and_tables_of_any_side() -> None:
    vit = tiny(patch_size=14, img_size=70, init_values=1e-5).eval()  # as DINOv2's, but for the sizes
    images = torch.rand(2, 3, 42, 98)
    with torch.no_grad():
        (tokens,) = PlainViT(vit).eval()(images)
        every = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
        every = torch.cat((vit.cls_token.expand(2, -1, -1), every), dim=1)
        wanted = vit.norm(vit.blocks(every + resize_positions(vit.pos_embed, 3, 7)))[:, 1:]
    assert tokens.shape == (2, 16, 3, 7)
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), wanted)


@pytest.mark.parametrize(
    ("name", "stem", "message"),
    [
        ("deit_tiny_distilled_patch16_224", "patch", "no plain transformer.*dist_token"),
        ("vit_xsmall_patch16_clip_224", "patch", "no plain transformer.*norm_pre"),
        ("vit_tiny_patch16_nothing", "patch", "list names by"),
        ("vit_huge_patch14_224", "conv", "patches are of 14 pixels"),
        ("resnet10t", "conv", "set stem to patch"),
        ("small", "conv", "set stem to patch"),
    ],
)
def test_other_names_are_refused_in_one_line(name: str, stem: Any, message: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=message) as caught:
        build_maps(name, stem=stem)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_have_timms_names() -> None:
    name = "vit_tiny_patch16_224"
    with torch.device("meta"):
        own = build_maps(name).network.state_dict()
        assert own.keys() == timm.create_model(name, num_classes=0).state_dict().keys()
