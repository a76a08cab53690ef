"""The auto-labeler against the release's vectors: heads alone, then the whole network, with gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pipeline.models.autolabeler.encoders import LastMap
from pipeline.models.autolabeler.heads import InstanceHead, PixelHead
from pipeline.models.autolabeler.network import AutoLabeler
from pipeline.models.backbones import Backbone
from pipeline.models.vit import ConvStem, PlainViT
from tests.autolabeler_settings import published_autolabeler

# The release's names, ours; the first that fits counts.
NAMES = {
    "backbone.patch_embed.proj.3.3.": "encoder.backbone.network.patch_embed.project.",
    "backbone.patch_embed.proj.": "encoder.backbone.network.patch_embed.stages.",
    "backbone.": "encoder.backbone.network.",
    "roi_head.mlp1.": "decoder.instance_head.first.",
    "roi_head.mlp2.": "decoder.instance_head.second.",
    "mask_head.convs.0.conv.": "decoder.pixel_head.convs.0.",
    "mask_head.convs.1.conv.": "decoder.pixel_head.convs.1.",
    "mask_head.convs.2.conv.": "decoder.pixel_head.convs.2.",
    "mask_head.convs.3.conv.": "decoder.pixel_head.convs.3.",
}
# The spec's tolerances of the gradients of weights: rtol and atol, and of whole networks the share of a
# tensor's largest entry.
SHARE = 1e-4


def renamed(arrays: dict[str, Tensor], kind: str, names: dict[str, str]) -> dict[str, Tensor]:
    """The arrays `kind`.*, weights `w` or their gradients `g`, in our names."""
    result = {}
    for key, value in arrays.items():
        if key.startswith(f"{kind}."):
            key = key.removeprefix(f"{kind}.")
            old = next(old for old in names if key.startswith(old))
            result[names[old] + key.removeprefix(old)] = value
    return result


def check_head(head: nn.Module, arrays: dict[str, Tensor], names: dict[str, str], atol: float) -> None:
    head.load_state_dict(renamed(arrays, "w", names))
    x = arrays["x"].requires_grad_()
    out = head(x)
    (out * arrays["cotangent"]).sum().backward()
    torch.testing.assert_close(out, arrays["out"], rtol=0, atol=1e-5)
    wanted = renamed(arrays, "g", names) | {"x": arrays["grad_x"]}
    got = {name: parameter.grad for name, parameter in head.named_parameters()} | {"x": x.grad}
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=atol)


def test_instance_head(load_mal) -> None:
    names = {"mlp1.": "first.", "mlp2.": "second."}
    check_head(InstanceHead(10, 5), load_mal("instance_head"), names, atol=1e-6)


def test_pixel_head(load_mal) -> None:
    names = {f"convs.{index}.conv.": f"convs.{index}." for index in range(4)}
    check_head(PixelHead(10, 6, 5, convs=4), load_mal("pixel_head"), names, atol=5e-5)


def tiny(arrays: dict[str, Tensor], **changes: Any) -> AutoLabeler:
    """The vectors' network: 16 channels, the convolutional stem, heads of 8 channels."""
    weights = renamed(arrays, "w", NAMES)
    depth = len({name.split(".")[4] for name in weights if ".blocks." in name})
    vit = VisionTransformer(embed_dim=16, depth=depth, num_heads=int(arrays["heads"]), num_classes=0)
    backbone = Backbone(PlainViT(vit, ConvStem(16)), {16: 16}, {16: "norm"})
    model = published_autolabeler(crop_size=64, hidden_channels=8, out_channels=8, **changes)
    network = AutoLabeler(model, LastMap(backbone))
    network.load_state_dict(weights)
    return network


def areas(arrays: dict[str, Tensor]) -> Tensor:
    boxes = arrays["bbox"]
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("network_tiny", {"size_ranges": "open"}),
        ("network_tiny_fixed_scale", {"scale_by_size": False, "output_scale": 8}),
    ],
)
def test_network(load_mal, name: str, changes: dict[str, Any]) -> None:
    arrays = load_mal(name)
    network = tiny(arrays, **changes)
    torch.testing.assert_close(network.tokens(arrays["image"]), arrays["spatial"], rtol=0, atol=2e-5)
    logits = network(arrays["image"], areas(arrays))
    torch.testing.assert_close(logits[:, None], arrays["seg"], rtol=1e-4, atol=2e-6)
    (logits[:, None] * arrays["cotangent"]).sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    for key, wanted in renamed(arrays, "g", NAMES).items():
        torch.testing.assert_close(
            gradients[key], wanted, rtol=0, atol=SHARE * float(wanted.abs().max()), msg=key
        )


def test_boxes_on_a_limit_get_ordinary_logits_where_ranges_are_half_open(load_mal) -> None:
    arrays = load_mal("network_tiny")
    assert areas(arrays)[3:].tolist() == [1024, 9216]
    with torch.no_grad():
        logits = tiny(arrays)(arrays["image"], areas(arrays))
        above = tiny(arrays)(arrays["image"], areas(arrays) + 1)
    assert not arrays["seg"][3:].any()
    assert bool((logits[3:] != 0).any(dim=(1, 2)).all())
    torch.testing.assert_close(logits, above, rtol=0, atol=0)
    torch.testing.assert_close(logits[:3], arrays["seg"][:3, 0], rtol=1e-4, atol=2e-6)
