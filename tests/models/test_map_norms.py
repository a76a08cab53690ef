"""A Swin under CondInst: normalised maps, frozen stages, drop path."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor

from pipeline.models.condinst import CondInst, build_condinst
from tests.condinst_settings import published_condinst

SWIN = "swin_tiny_patch4_window7_224"


@pytest.fixture(scope="module")
def network() -> CondInst:
    torch.manual_seed(0)
    model = published_condinst(
        backbone=SWIN, frozen_stages=2, drop_path=0.2, fpn_channels=32, head_convs=1, mask_branch_channels=8
    )
    return build_condinst(model, 3)


def images() -> Tensor:
    return torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(1)) * 255


def test_maps_are_normalised_over_their_channels_before_the_pyramid(network: CondInst) -> None:
    seen: list[dict[int, Tensor]] = []
    hook = network.fpn.register_forward_pre_hook(lambda _, inputs: seen.append(dict(inputs[0])))
    network.eval()
    try:
        with torch.no_grad():
            network(images(), [(128, 192)])
            maps = network.backbone(network.normalise(images(), [(128, 192)]))
    finally:
        hook.remove()
    assert network.fpn.lateral_strides == (8, 16, 32)
    assert torch.equal(seen[0][4], maps[4])
    for stride in (8, 16, 32):
        wanted = F.layer_norm(maps[stride].permute(0, 2, 3, 1), maps[stride].shape[1:2])
        torch.testing.assert_close(seen[0][stride], wanted.permute(0, 3, 1, 2))
        assert not torch.allclose(seen[0][stride], maps[stride], atol=0.1)


def test_patch_embedding_and_first_stage_are_frozen(network: CondInst) -> None:
    names = [name for name, value in network.named_parameters() if not value.requires_grad]
    prefixes = ("backbone.network.patch_embed.", "backbone.network.layers_0.")
    assert names == [name for name, _ in network.named_parameters() if name.startswith(prefixes)]
    assert names


def test_blocks_are_dropped_at_a_rate_that_rises_but_not_where_it_is_frozen(network: CondInst) -> None:
    rates = [
        part.drop_prob
        for name, part in network.named_modules()
        if isinstance(part, DropPath) and name.endswith("drop_path2")
    ]
    rising = torch.linspace(0, 0.2, 12).tolist()  # over 2, 2, 6 and 2 blocks; the very first has none to drop
    assert rates == pytest.approx([0.0, *rising[2:]])


def test_other_backbones_have_no_such_norms() -> None:
    model = published_condinst(backbone="resnet26", fpn_channels=32, head_convs=1, mask_branch_channels=8)
    assert len(build_condinst(model, 3).backbone_norms) == 0
