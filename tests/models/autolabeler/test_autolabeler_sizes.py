"""Objects by size: the limits, and a mixed batch beside its single crops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.autolabeler.sizes import SCALES, Scale, SizeGroups
from tests.autolabeler_settings import published_autolabeler

SMALL, MEDIUM, LARGE, NONE = range(4)


@pytest.mark.parametrize(
    ("area", "half_open", "open_"),
    [
        (0.0, SMALL, NONE),
        (1.0, SMALL, SMALL),
        (1023.5, SMALL, SMALL),
        (1024.0, MEDIUM, NONE),
        (1024.5, MEDIUM, MEDIUM),
        (9215.5, MEDIUM, MEDIUM),
        (9216.0, LARGE, NONE),
        (9216.5, LARGE, LARGE),
        (1e7, LARGE, LARGE),
    ],
)
def test_ranges(area: float, half_open: int, open_: int) -> None:
    for ranges, wanted in (("half_open", half_open), ("open", open_)):
        groups = SizeGroups(published_autolabeler(size_ranges=ranges))
        assert groups.index(torch.tensor([area])).tolist() == [wanted]


def test_scales_are_those_of_the_paper() -> None:
    assert [(scale.factor, scale.weight) for scale in SCALES] == [(0.5, 1), (1, 1), (2, 1), (1, 0)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([500.0, 1024.0, 3000.0, 9216.0, 20000.0]), min_size=1, max_size=9))
def test_each_crop_is_computed_once_at_its_scale_and_stays_in_place(areas: list[float]) -> None:
    groups = SizeGroups(published_autolabeler(size_ranges="open"))
    tokens = torch.arange(len(areas), dtype=torch.float32)[:, None, None, None].expand(-1, 1, 2, 2)
    calls: list[Scale] = []

    def compute(part: Tensor, scale: Scale) -> Tensor:
        calls.append(scale)
        return part[:, 0] * 10 + SCALES.index(scale)

    result = groups.apply(tokens, torch.tensor(areas), compute)[:, 0, 0]
    index = groups.index(torch.tensor(areas))
    assert result.tolist() == [10 * position + group for position, group in enumerate(index.tolist())]
    assert calls == [SCALES[group] for group in sorted(set(index.tolist()))], "one call per size that occurs"
