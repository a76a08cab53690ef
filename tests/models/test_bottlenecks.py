"""Bottlenecks of ResNets: where the stride is, and deformable 3x3 convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, build_backbone, load_backbone
from pipeline.models.bottlenecks import ModulatedDeformableConv
from pipeline.weights import save_weights

RESNET = "resnet26"


def build(name: str = RESNET, frozen_stages: int = 0, **changes: Any) -> Backbone:
    torch.manual_seed(0)
    backbone = build_backbone(name, frozen_stages=frozen_stages, frozen_batchnorm=True, **changes)
    for path, buffer in backbone.network.named_buffers():
        if path.endswith("bn3.weight"):  # timm starts with blocks that add nothing
            nn.init.ones_(buffer)
    return backbone.eval()


def deformable(stride: int = 1, dilation: int = 1) -> tuple[nn.Conv2d, ModulatedDeformableConv]:
    torch.manual_seed(1)
    conv = nn.Conv2d(4, 6, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return conv, ModulatedDeformableConv(conv)


def maps() -> Tensor:
    return torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_it_starts_as_half_the_plain_convolution(stride: int, dilation: int) -> None:
    conv, module = deformable(stride, dilation)
    torch.testing.assert_close(module(maps()), conv(maps()) / 2)


def test_without_shifts_each_tap_is_weighted() -> None:
    conv, module = deformable(2)
    logits = torch.randn(9)
    with torch.no_grad():
        module.offset.bias[18:] = logits
    weighted = conv.weight * logits.sigmoid().reshape(3, 3)
    torch.testing.assert_close(module(maps()), F.conv2d(maps(), weighted, stride=2, padding=1))


def test_a_tap_is_moved_down_and_to_the_right() -> None:
    """Channels 2k and 2k + 1 of the shifts are (dy, dx) of tap k, as detectron2 and torchvision have them."""
    conv, module = deformable()
    with torch.no_grad():
        module.offset.bias[10:12] = torch.tensor([1.0, 2.5])  # of the tap right of the centre
    image = maps()
    padded = F.pad(image, (2, 6, 2, 6))
    taps = F.unfold(image, 3, padding=1).reshape(2, 4, 9, 7, 9)
    # Tap 5 of pixel (y, x) reads (y, x + 1) before, and (y + 1, x + 3.5) now: two pixels' mean.
    taps[:, :, 5] = (padded[..., 3:10, 5:14] + padded[..., 3:10, 6:15]) / 2
    expected = torch.einsum("ock,bckyx->boyx", conv.weight.flatten(2), taps) / 2
    torch.testing.assert_close(module(image), expected)


def test_gradients_are_those_of_finite_differences() -> None:
    _, module = deformable(2)
    module.double()
    torch.manual_seed(3)
    nn.init.normal_(module.offset.weight, std=0.1)
    nn.init.uniform_(module.offset.bias, 0.2, 0.4)  # away from whole pixels, where bilinear values bend
    image = torch.randn(1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    parameters = dict(module.named_parameters())

    def output(image: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (image,))

    assert torch.autograd.gradcheck(output, (image, *parameters.values()))


def test_half_precision_stays() -> None:
    _, module = deformable()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(maps()).dtype == torch.bfloat16


def test_every_block_of_the_stages_is_deformable() -> None:
    names = {
        name
        for name, part in build(deformable_stages=(3, 5)).network.named_modules()
        if isinstance(part, ModulatedDeformableConv)
    }
    assert names == {f"layer{stage}.{block}.conv2" for stage in (2, 4) for block in (0, 1)}


def test_weights_of_the_plain_network_are_loaded_around_the_shifts(tmp_path: Path) -> None:
    plain, image = build(), torch.randn(1, 3, 64, 96)
    save_weights(plain.network, tmp_path / "backbone.safetensors")
    torch.manual_seed(5)
    moved = build_backbone(RESNET, frozen_stages=2, frozen_batchnorm=True, deformable_stages=(3, 4, 5)).eval()
    load_backbone(moved, tmp_path / "backbone.safetensors")
    before = plain(image)
    with torch.no_grad():
        for stage in (2, 3, 4):
            for block in plain.network[f"layer{stage}"]:
                block.conv2.weight /= 2
    expected, found = plain(image), moved(image)
    assert not torch.allclose(expected[32], before[32])
    for stride in (4, 8, 16, 32):
        torch.testing.assert_close(found[stride], expected[stride], rtol=1e-4, atol=1e-5)


def test_shifts_learn() -> None:
    backbone = build(frozen_stages=2, deformable_stages=(3,))
    backbone(torch.randn(1, 3, 64, 64))[8].square().sum().backward()
    for block in backbone.network["layer2"]:
        assert all(value.grad.abs().sum() > 0 for value in block.conv2.offset.parameters())


def test_the_stride_is_in_the_first_convolution() -> None:
    plain, moved, image = build(), build(stride_in_1x1=True), torch.randn(1, 3, 64, 96)
    moved.network.load_state_dict(plain.network.state_dict())
    found = moved(image)
    assert torch.equal(found[4], plain(image)[4])
    block = moved.network["layer2"][0]
    x = F.relu(block.bn1(F.conv2d(found[4], block.conv1.weight, stride=2)))
    x = F.relu(block.bn2(F.conv2d(x, block.conv2.weight, padding=1)))
    x = block.bn3(F.conv2d(x, block.conv3.weight))
    x = F.relu(x + block.downsample[1](F.conv2d(found[4], block.downsample[0].weight, stride=2)))
    torch.testing.assert_close(moved.network["layer2"][1](x), found[8])
    assert not torch.allclose(found[8], plain(image)[8])


def test_both_together() -> None:
    backbone = build(stride_in_1x1=True, deformable_stages=(3,))
    first = backbone.network["layer2"][0]
    assert (first.conv1.stride, first.conv2.stride, first.conv2.offset.stride) == ((2, 2), 1, (1, 1))
    assert backbone(torch.randn(1, 3, 64, 64))[8].shape == (1, 512, 8, 8)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("small", {"stride_in_1x1": True}, "small: stride_in_1x1 is not possible: .*set it to false"),
        ("resnet18", {"deformable_stages": (3,)}, r"resnet18: deformable_stages \[3\] is .*set it to \[\]"),
        ("swin_tiny_patch4_window7_224", {"deformable_stages": (5,)}, "not the bottlenecks of a ResNet"),
    ],
)
def test_a_network_without_bottlenecks_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(name, **changes)
    assert "\n" not in str(caught.value)
