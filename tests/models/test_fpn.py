from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pipeline.errors import UserError
from pipeline.models.fpn import FPN


def test_strides_and_odd_sizes():
    fpn = FPN({4: 3, 8: 4, 16: 5, 32: 6}, 7, (8, 16, 32, 64, 128))
    features = {
        4: torch.randn(2, 3, 40, 56),
        8: torch.randn(2, 4, 20, 28),
        16: torch.randn(2, 5, 10, 14),
        32: torch.randn(2, 6, 5, 7),
    }
    sizes = [tuple(level.shape) for level in fpn(features)]
    assert sizes == [(2, 7, 20, 28), (2, 7, 10, 14), (2, 7, 5, 7), (2, 7, 3, 4), (2, 7, 2, 2)]


def test_coarse_features_reach_finer_levels_and_not_the_other_way():
    fpn = FPN({8: 2, 16: 2}, 4, (8, 16, 32))
    features = {8: torch.randn(1, 2, 8, 8), 16: torch.randn(1, 2, 4, 4)}
    before = fpn(features)
    coarse = fpn(features | {16: features[16] + 1})
    fine = fpn(features | {8: features[8] + 1})
    assert [torch.equal(a, b) for a, b in zip(before, coarse, strict=True)] == [False, False, False]
    assert [torch.equal(a, b) for a, b in zip(before, fine, strict=True)] == [False, True, True]


def test_last_level_is_made_of_the_positive_part_of_the_one_before():
    fpn = FPN({8: 2}, 4, (8, 16, 32))
    p3, p4, p5 = fpn({8: torch.randn(1, 2, 8, 8)})
    torch.testing.assert_close(p4, fpn.extra[0](p3))
    torch.testing.assert_close(p5, fpn.extra[1](p4.clamp(min=0)))


def test_coarser_levels_by_subsampling_have_no_weights():
    fpn = FPN({8: 2}, 4, (8, 16, 32), coarser="subsampling")
    p3, p4, p5 = fpn({8: torch.randn(1, 2, 9, 8)})
    assert torch.equal(p4, p3[..., ::2, ::2])
    assert torch.equal(p5, F.max_pool2d(p4, 1, stride=2))
    assert len(fpn.extra) == 0


def test_strides_the_backbone_lacks_are_named():
    with pytest.raises(UserError, match=r"params.yaml: fpn_strides \[4, 8\]: .*it has \[8, 16\]"):
        FPN({8: 2, 16: 2}, 4, (4, 8))
    with pytest.raises(UserError, match="backbone"):
        FPN({8: 2, 32: 2}, 4, (8, 16, 32))
