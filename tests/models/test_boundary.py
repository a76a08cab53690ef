"""The boundary detector on a frozen backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pipeline.models.boundary import build_boundary_network
from tests.methods.cam.tag_labels import boundary_settings


def test_only_the_branch_learns_and_the_backbone_stays_in_evaluation_mode() -> None:
    network = build_boundary_network(boundary_settings(backbone="resnet10t", output_stride=16)).train()
    assert network.taps.training
    assert not network.backbone.training
    learnt = {name.split(".")[0] for name, value in network.named_parameters() if value.requires_grad}
    assert learnt == {"taps", "boundary"}
    network(torch.zeros(1, 3, 64, 64)).sum().backward()
    assert network.boundary.weight.grad is not None


def test_logits_have_the_stride_rounded_up() -> None:
    network = build_boundary_network(boundary_settings())
    assert network(torch.zeros(2, 3, 30, 50)).shape == (2, 8, 13)


def test_the_stem_is_tapped_after_its_pooling() -> None:
    network = build_boundary_network(boundary_settings(backbone="resnet10t", output_stride=16)).eval()
    images = 255 * torch.rand(1, 3, 64, 64)
    settings = boundary_settings()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (settings.pixel_mean, settings.pixel_std))
    with torch.no_grad():
        maps = network.backbone.maps((images - mean) / std)
        pooled = F.max_pool2d(maps[0], 3, stride=2, padding=1)
        taps = [
            F.relu(F.interpolate(tap(feature), (16, 16), mode="bilinear", align_corners=False))
            for tap, feature in zip(network.taps, [pooled, *maps[1:]], strict=True)
        ]
        torch.testing.assert_close(
            network(images), network.boundary(torch.cat(taps, 1))[:, 0], atol=1e-4, rtol=1e-4
        )
